package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/taprouter/taprouter/config"
)

// Open reads the file at path. An error is [Faults], or says why the file could not be read.
func Open(path string) (*File, error) { return OpenWith(path, nil) }

// OpenWith is Open for a file that has further physical networks, such as those of a command line. They are the file's
// as if it had them.
func OpenWith(path string, more []PhysicalNetwork) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	return read(path, f, more, readsFrom(filepath.Dir(path)))
}

// Load is Open for the tables alone.
func Load(path string) (*Topology, error) { return tablesOf(Open(path)) }

// Parse is Read for the tables alone.
func Parse(name string, r io.Reader) (*Topology, error) { return tablesOf(Read(name, r)) }

func tablesOf(f *File, err error) (*Topology, error) {
	if err != nil {
		return nil, err
	}
	return f.topology, nil
}

// Read reads a topology file to its end and checks it. The name stands for the file in messages; it may be empty. An
// error is [Faults], unless reading itself failed. The text may not name other files (user_data_file): it has no place
// where they could be, and whoever sent it need not have the right to read them.
//
// Read takes at most 16 MB, 16 tables and lists inside each other, 256 bytes of a
// key's path and 1048576 keys, tables and list elements; more of any is a fault. A router has at most 65533 interfaces.
// A few lines may stand for many objects, which have bounds, too: 262144 devices of physical networks, counted for each
// network; 262144 subnets, counted for each router; 1048576 members, counted for each VIP.
// In a file with more than 1000 faults, further overlaps count once for each subnet.
func Read(name string, r io.Reader) (*File, error) { return ReadWith(name, r, nil) }

// ReadWith is Read for a file that has further physical networks, as OpenWith is Open.
func ReadWith(name string, r io.Reader, more []PhysicalNetwork) (*File, error) {
	return read(name, r, more, nil)
}

// ReadIn is ReadWith for a text whose place is known: files that it names are those of a directory.
func ReadIn(name, dir string, r io.Reader, more []PhysicalNetwork) (*File, error) {
	return read(name, r, more, readsFrom(dir))
}

// ReadKept is Read for a text that was valid when it was kept. It reads no other file: what those said that it names is
// not known, so the State of the result lacks it.
func ReadKept(name string, r io.Reader) (*File, error) {
	return read(name, r, nil, func(string) (string, error) { return "", nil })
}

// read reads a topology file. beside reads the files that it names; nil: it may name none.
func read(name string, r io.Reader, more []PhysicalNetwork, beside reader) (*File, error) {
	text, err := readText(name, r)
	if err != nil {
		return nil, err
	}
	doc := withoutMark(text)
	if line, excess := checkBounds(doc); excess != "" {
		return nil, Faults{{File: name, Line: line, Message: excess}}
	}
	var raw map[string]any
	if _, err := toml.Decode(doc, &raw); err != nil {
		return nil, Faults{syntaxFault(name, doc, err)}
	}
	f := decode(name, doc, raw, beside)
	f.text = text
	f.topology.PhysicalNetworks = append(f.topology.PhysicalNetworks, more...)
	f.check()
	if err := f.report.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// decode reads what the toml module made of a document.
func decode(name, doc string, raw map[string]any, beside reader) *File {
	t := &Topology{File: name, lines: indexLines(doc)}
	rep := newReport(t)
	rep.first, rep.beside = true, beside
	topologyKeys.decode(rep.root(), raw, t)
	t.inheritClamp(rep)
	return &File{name: name, topology: t, report: rep}
}

// check checks a file that was decoded. Faults go to the report.
func (f *File) check() {
	f.declared, f.instances, f.state = f.topology.check(f.report)
}

// check checks a topology. If it is valid it is filled in. The instances that check returns are not filled in.
func (t *Topology) check(rep *report) (*declarations, []Instance, *config.State) {
	c := newChecker(t, rep)
	c.identify()
	c.run()
	instances := slices.Clone(t.Instances)
	ds := t.declarations(rep)
	d := config.Empty().Edit()
	s := ds.check(d, rep)
	if s != nil {
		c.checkPlaces(s, ds)
	} else {
		c.checkPlaces(d, ds)
	}
	if rep.found == 0 {
		t.fill(s)
		c.warnInstanceGateways(s)
		c.warnMembers()
	}
	t.Warnings = rep.sortedWarnings()
	return ds, instances, s
}

// Validate fills in every default that is not set yet and checks everything,
// as Parse does for a file. An error is [Faults]; the topology then has nothing but its
// IDs filled in. A valid topology may be validated again, which changes nothing.
//
// Validate writes to the topology: no other goroutine may use it meanwhile.
func (t *Topology) Validate() error {
	t.unshare()
	rep := newReport(t)
	t.check(rep)
	return rep.err()
}

func newReport(t *Topology) *report {
	return &report{
		file: t.File, lines: t.lines, schema: topologyKeys,
		bad: map[string]bool{}, within: map[string]bool{}, muted: map[string]bool{}, mutedIn: map[string]bool{},
		single: map[string]bool{}, repeated: map[[2]string]bool{},
	}
}

// blank is a report about the same file in which nothing has been found.
func (r *report) blank() *report {
	return &report{
		file: r.file, lines: r.lines, schema: r.schema, bad: r.bad, within: r.within, muted: r.muted,
		mutedIn: r.mutedIn, single: r.single, repeated: r.repeated,
	}
}

// syntaxFault finds the line of what the toml module did not understand. Its
// own line is one too high where the text ends early; its offset is right.
func syntaxFault(name, doc string, err error) Fault {
	f := Fault{File: name, Line: 1, Message: err.Error()}
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		f.Line = 1 + strings.Count(doc[:max(0, min(pe.Position.Start, len(doc)))], "\n")
		f.Message = strings.TrimSuffix(pe.Message, ".")
	}
	return f
}

// inheritClamp gives a router's own nat table the global mss_clamp where it
// does not say. Other settings show by being zero that they are not set.
func (t *Topology) inheritClamp(rep *report) {
	for i := range t.Routers {
		own := t.Routers[i].NAT
		if own == nil {
			continue
		}
		if _, given := rep.lines[joinPath(indexKey("router", i), "nat.mss_clamp")]; !given {
			own.MSSClamp = t.NAT.MSSClamp
		}
	}
}
