package file

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// A Fault is one thing wrong with a topology, or, in [Topology.Warnings], one
// thing that is allowed but unwise.
type Fault struct {
	File    string // name given to Parse; may be empty
	Line    int    // 1 for the first line; 0: the topology was made by hand
	Path    string // key path, such as network[0].subnet[1].gateway
	Message string // names the object and the fault
}

// String gives the fault in the form FILE:LINE: MESSAGE, as [config.Fault.String] does.
func (f Fault) String() string {
	return config.Fault{Source: config.Source{File: f.File, Line: f.Line}, Message: f.Message}.String()
}

// Faults is everything wrong with a topology, sorted by line. It is never
// returned empty.
type Faults []Fault

// Error lists the faults, one per line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// A report collects faults and knows where in the file a key stands.
type report struct {
	file     string
	lines    lineIndex       // nil for a topology made by hand
	bad      map[string]bool // paths with a value that could not be read
	within   map[string]bool // bad, and every path around one of them
	muted    map[string]bool // paths of which all has been said
	mutedIn  map[string]bool // muted, and every path around one of them
	single   map[string]bool // paths of single tables where a list of them belongs
	first    bool            // the values are as the file has them, no default is filled in yet
	beside   reader          // reads the files that the file names; nil: it may name none
	schema   keyNames        // every key there is; kept here because the schema refers to its readers
	faults   Faults
	known    map[Fault]bool // faults and warnings, without their paths
	found    int            // faults, also the ones beyond maxFaults
	warnings Faults
	warned   int // as found
	compared int // see maxCompared

	repeated map[[2]string]bool // the list and the name of tables that share the name, which only those with an id may
}

// maxFaults bounds the faults that are reported for one file. A reader needs no more, and each
// takes memory.
const maxFaults = 1000

// full says whether the report is full: faults that are found from now on are only counted.
func (r *report) full() bool { return r.found >= maxFaults }

// err returns the faults as an error, nil when there are none. Faults found on
// the same line stay in the order in which they were found.
func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	return bounded(r.faults, r.found, "faults")
}

// sortedWarnings returns the warnings, sorted as the faults are.
func (r *report) sortedWarnings() Faults { return bounded(r.warnings, r.warned, "warnings") }

// bounded sorts faults, and says how many there are that it does not list.
func bounded(fs Faults, found int, what string) Faults {
	sortFaults(fs)
	if more := found - len(fs); more > 0 {
		last := fs[len(fs)-1]
		fs = append(fs, Fault{File: last.File, Line: last.Line, Message: fmt.Sprintf("and %d more %s", more, what)})
	}
	return fs
}

func sortFaults(fs Faults) {
	slices.SortStableFunc(fs, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}

// line finds the line of a path, or else of the closest thing around it: a key
// that is missing is missing in its table.
func (r *report) line(path string) int {
	for ; path != ""; path = parentPath(path) {
		if n, ok := r.lineAt(path); ok {
			return n
		}
	}
	return 1
}

// lineAt is the line of exactly this path. A single table in the place of a list is
// the list's first element.
func (r *report) lineAt(path string) (int, bool) {
	if n, ok := r.lines[path]; ok || len(r.single) == 0 {
		return n, ok
	}
	n, ok := r.lines[r.asWritten(path)]
	return n, ok
}

// asWritten takes the indexes out of a path that the file does not have.
func (r *report) asWritten(path string) string {
	const first = "[0]"
	for from := 0; ; {
		i := strings.Index(path[from:], first)
		if i < 0 {
			return path
		}
		if from += i; r.single[path[:from]] {
			path = path[:from] + path[from+len(first):]
		} else {
			from += len(first)
		}
	}
}

// spoil notes that the value of a path could not be read.
func (r *report) spoil(path string) {
	r.bad[path] = true
	for ; !r.within[path]; path = parentPath(path) {
		r.within[path] = true
	}
}

// list is the key of the list that a table is in.
func (s scope) list() string {
	list, _, _ := strings.Cut(s.path[strings.LastIndexByte(s.path, '.')+1:], "[")
	return list
}

// root is the scope of the file.
func (s scope) root() scope { return s.r.root() }

// doubtful says whether the value of key, or anything in it, could not be read or refers to nothing.
func (s scope) doubtful(key string) bool {
	return s.spoiledIn(key) || s.r.mutedIn[joinPath(s.path, key)]
}

// mute has no more faults reported about a key, because its fault has been reported.
func (s scope) mute(key string) {
	path := joinPath(s.path, key)
	s.r.muted[path] = true
	for ; !s.r.mutedIn[path]; path = parentPath(path) {
		s.r.mutedIn[path] = true
	}
}

// spoiled says whether path, or a table around it, could not be read. Its value is not the file's
// then, so no fault of the value is reported.
func (r *report) spoiled(path string) bool {
	for ; path != ""; path = parentPath(path) {
		if r.bad[path] {
			return true
		}
	}
	return false
}

// LineOf returns the line of a key in the topology's file, counted from 1. The path is like
// step[0].expect[1]. If the key is not there, it is the line of the closest table around it. It
// is 0 for a topology made by hand.
func (t *Topology) LineOf(path string) int {
	if t.lines == nil {
		return 0
	}
	return newReport(t).line(path)
}

// root is the scope of the topology itself.
func (r *report) root() scope {
	s := scope{r: r, indexed: r.lines != nil}
	if s.indexed {
		s.line = 1
	}
	return s
}

// A scope is one table of the topology: where it stands and what to call it.
type scope struct {
	r       *report
	path    string
	subject string // such as: router "r1": gateway
	line    int
	indexed bool // the report's line index knows this table
}

// fault reports that the value of key (empty: the table itself) is wrong.
func (s scope) fault(key, format string, args ...any) {
	s.faultIn(key, func() string { return s.message(format, args) })
}

// faultIn is fault with the whole message, subject included.
func (s scope) faultIn(key string, message func() string) {
	path := joinPath(s.path, key)
	if s.reported(key) {
		return
	}
	if s.r.full() {
		s.r.found++
		return
	}
	f := Fault{File: s.r.file, Line: s.lineOf(key), Path: path, Message: message()}
	if s.r.isNew(f) {
		s.r.found++
		s.r.faults = append(s.r.faults, f)
	}
}

// reported says whether all has been said about the value of key.
func (s scope) reported(key string) bool {
	path := joinPath(s.path, key)
	return s.r.spoiled(path) || s.r.muted[path]
}

// isNew says whether a fault or warning is found for the first time. A fault that two checks find counts once.
func (r *report) isNew(f Fault) bool {
	f.Path = ""
	if r.known[f] {
		return false
	}
	if r.known == nil {
		r.known = map[Fault]bool{}
	}
	r.known[f] = true
	return true
}

// warn reports that the value of key is allowed but unwise.
func (s scope) warn(key, format string, args ...any) {
	s.warnIn(key, func() string { return s.message(format, args) })
}

// warnIn is warn with the whole message, subject included.
func (s scope) warnIn(key string, message func() string) {
	if s.r.warned >= maxFaults {
		s.r.warned++
		return
	}
	f := Fault{File: s.r.file, Line: s.lineOf(key), Path: joinPath(s.path, key), Message: message()}
	if s.r.isNew(f) {
		s.r.warned++
		s.r.warnings = append(s.r.warnings, f)
	}
}

// message writes a message without letting the texts of a file make it too long.
func (s scope) message(format string, args []any) string {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = clip(text, maxText)
		}
	}
	text := fmt.Sprintf(format, args...)
	if s.subject != "" {
		text = s.subject + ": " + text
	}
	return text
}

func (s scope) lineOf(key string) int {
	if !s.indexed {
		return s.line
	}
	return s.r.line(joinPath(s.path, key))
}

// given says whether the file has the key: a zero that the file has is not a zero that stands for the
// default. A topology made by hand cannot tell the two apart.
func (s scope) given(key string) bool {
	_, ok := s.r.lineAt(joinPath(s.path, key))
	return ok && s.r.first && s.indexed
}

// spoiled says whether the value of key could not be read.
func (s scope) spoiled(key string) bool { return s.r.spoiled(joinPath(s.path, key)) }

// spoiledIn says whether the value of key (empty: the table), or anything in it,
// could not be read.
func (s scope) spoiledIn(key string) bool {
	path := joinPath(s.path, key)
	return s.r.within[path] || s.r.spoiled(path)
}

// child is the scope of the one table under key. line is the one that the
// object itself remembers.
func (s scope) child(key string, line int) scope {
	subject := key
	if s.subject != "" {
		subject = s.subject + ": " + key
	}
	return s.enter(key, subject, line)
}

// item is the scope of the i-th of n tables under key, called kind and id.
func (s scope) item(key, kind, id string, i, n, line int) scope {
	subject := fmt.Sprintf("%s %s", kind, label(id, i))
	switch {
	case kind == "subnet":
		// A subnet has no name of its own; its network's is what people know.
		subject = strings.Replace(s.subject, "network", "subnet", 1)
		if n > 1 {
			subject += fmt.Sprintf(" #%d", i+1)
		}
	case s.subject != "":
		subject = s.subject + ": " + subject
	}
	return s.enter(indexKey(key, i), subject, line)
}

// enter makes the scope. Someone may have changed the lists of a parsed
// topology before validating it again: the index is trusted only where it
// agrees with the object.
func (s scope) enter(key, subject string, line int) scope {
	path := joinPath(s.path, key)
	return scope{
		r: s.r, path: path, subject: subject, line: line,
		indexed: s.indexed && s.r.line(path) == line,
	}
}
