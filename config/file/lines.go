package file

import (
	"regexp"
	"strconv"
	"strings"
)

// A lineIndex holds the line of every key, table and list element of a TOML
// document by its path: network[0].subnet[1].cidr. A table's line is the line of
// its header, or of its first mention when it has none.
//
// The toml module tells positions of syntax errors only, hence this second,
// much simpler reading. It relies on the module having accepted the document.
// Its result for a broken document is unspecified, but it always ends.
type lineIndex map[string]int

// indexLines reads a document that the toml module accepted.
func indexLines(doc string) lineIndex {
	s := lineScanner{text: doc, line: 1, index: lineIndex{}, tables: map[string]int{}}
	s.document()
	return s.index
}

// joinPath appends a key, or an index such as [2], to a path.
func joinPath(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "" || key[0] == '[':
		return path + key
	}
	return path + "." + key
}

func indexKey(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// parentPath cuts off the last key or index.
func parentPath(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// pathKey writes a key so that no character in it can be taken for the path's.
func pathKey(key string) string {
	if bareKey.MatchString(key) {
		return key
	}
	return strconv.Quote(key)
}

// withoutMark takes a byte order mark off: also UTF-16's, which the toml module
// reads over.
func withoutMark(doc string) string {
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if rest, ok := strings.CutPrefix(doc, mark); ok {
			return rest
		}
	}
	return doc
}

// A lineScanner walks through a document once, counting lines.
type lineScanner struct {
	text   string // the part that is not read yet
	line   int
	index  lineIndex
	tables map[string]int // how many [[tables]] each path has so far
}

// document reads headers and pairs until the end.
func (s *lineScanner) document() {
	s.text = withoutMark(s.text)
	table := ""
	for s.skipBlank(); s.text != ""; s.skipBlank() {
		if s.text[0] == '[' {
			table = s.header()
		} else {
			s.pair(table)
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the path that the pairs below it
// belong to.
func (s *lineScanner) header() string {
	line := s.line
	many := strings.HasPrefix(s.text, "[[")
	s.text = strings.TrimLeft(s.text, "[")
	keys := s.keys()
	s.text = strings.TrimLeft(s.text, "]")
	path := ""
	for i, key := range keys {
		path = joinPath(path, key)
		last := i == len(keys)-1
		if many && last {
			s.seen(path, line)
			s.tables[path]++
		}
		// A header names the list. The keys below it belong to the list's newest element.
		if n := s.tables[path]; n > 0 {
			path = indexKey(path, n-1)
		}
		s.seen(path, line)
	}
	s.index[path] = line
	return path
}

// seen notes the line of a path unless it is known already.
func (s *lineScanner) seen(path string, line int) {
	if _, ok := s.index[path]; !ok {
		s.index[path] = line
	}
}

// pair reads a key, perhaps a dotted one, and its value.
func (s *lineScanner) pair(table string) {
	line := s.line
	path := table
	for _, key := range s.keys() {
		path = joinPath(path, key)
		s.seen(path, line)
	}
	s.skipBlank()
	s.text = strings.TrimPrefix(s.text, "=")
	s.skipBlank()
	s.value(path)
}

// keys reads a dotted key, each part as it is written in a path.
func (s *lineScanner) keys() []string {
	var keys []string
	for {
		s.skipSpace()
		keys = append(keys, s.key())
		s.skipSpace()
		if !strings.HasPrefix(s.text, ".") {
			return keys
		}
		s.text = s.text[1:]
	}
}

// key reads one bare or quoted key.
func (s *lineScanner) key() string {
	if s.text != "" && (s.text[0] == '"' || s.text[0] == '\'') {
		raw := s.quoted(s.text[:1])
		return pathKey(unquoteKey(raw))
	}
	n := strings.IndexAny(s.text, " \t\r\n.=[]{},#\"'")
	switch {
	case n < 0:
		n = len(s.text)
	case n == 0:
		n = 1 // not a key at all: step over it, so that the scan ends
	}
	return pathKey(s.take(n))
}

var hexEscape = regexp.MustCompile(`(\\\\)|\\x([0-9a-fA-F]{2})|\\e`)

// unquoteKey gives the text of a quoted key. TOML's escapes are Go's, except
// that \x is a code point and \e exists.
func unquoteKey(raw string) string {
	text := raw[1 : len(raw)-1]
	if raw[0] == '\'' {
		return text
	}
	raw = hexEscape.ReplaceAllStringFunc(raw, func(esc string) string {
		switch {
		case esc == `\\`:
			return esc
		case esc == `\e`:
			return `\u001b`
		}
		return `\u00` + esc[2:]
	})
	if unquoted, err := strconv.Unquote(raw); err == nil {
		return unquoted
	}
	return text
}

// value reads one value; its path is noted already.
func (s *lineScanner) value(path string) {
	switch {
	case strings.HasPrefix(s.text, `"""`), strings.HasPrefix(s.text, `'''`):
		s.quoted(s.text[:3])
	case strings.HasPrefix(s.text, `"`), strings.HasPrefix(s.text, `'`):
		s.quoted(s.text[:1])
	case strings.HasPrefix(s.text, "["):
		s.list(path)
	case strings.HasPrefix(s.text, "{"):
		s.inlineTable(path)
	default:
		n := strings.IndexAny(s.text, ",]}#\n")
		if n < 0 {
			n = len(s.text)
		}
		s.take(n)
	}
}

// list reads [a, b]; every element has a line of its own.
func (s *lineScanner) list(path string) {
	s.take(1)
	for i := 0; ; i++ {
		if s.skipBlank(); s.closes(']') {
			return
		}
		element := indexKey(path, i)
		s.index[element] = s.line
		s.value(element)
		s.separator(']')
	}
}

// inlineTable reads {a = 1, b = 2}.
func (s *lineScanner) inlineTable(path string) {
	s.take(1)
	for {
		if s.skipBlank(); s.closes('}') {
			return
		}
		s.pair(path)
		s.separator('}')
	}
}

// closes reads the closing bracket, or the end of the text.
func (s *lineScanner) closes(bracket byte) bool {
	if s.text == "" {
		return true
	}
	if s.text[0] == bracket {
		s.take(1)
		return true
	}
	return false
}

// separator reads the comma between two elements. Anything but a comma or the
// closing bracket cannot be in an accepted document; it is stepped over.
func (s *lineScanner) separator(bracket byte) {
	if s.skipBlank(); s.text != "" && s.text[0] != bracket {
		s.take(1)
	}
}

// quoted reads a string in the given quotes and returns it with them.
func (s *lineScanner) quoted(quotes string) string {
	end := len(quotes)
	for end < len(s.text) && !strings.HasPrefix(s.text[end:], quotes) {
		if s.text[end] == '\\' && quotes[0] == '"' {
			end++ // the next character cannot end the string
		}
		end++
	}
	end = min(end+len(quotes), len(s.text))
	// A multi-line string may end in quotes of its own: up to five in a row.
	for extra := 0; len(quotes) == 3 && extra < 2 && strings.HasPrefix(s.text[end:], quotes[:1]); extra++ {
		end++
	}
	if raw := s.take(end); len(raw) > len(quotes) {
		return raw
	}
	return quotes + quotes
}

// skipBlank skips white space, line ends and comments.
func (s *lineScanner) skipBlank() {
	for s.text != "" {
		switch s.text[0] {
		case ' ', '\t', '\r', '\n':
			s.take(1)
		case '#':
			n := strings.IndexByte(s.text, '\n')
			if n < 0 {
				n = len(s.text)
			}
			s.take(n)
		default:
			return
		}
	}
}

// skipSpace skips white space within a line.
func (s *lineScanner) skipSpace() { s.text = strings.TrimLeft(s.text, " \t") }

// take reads n bytes, which may hold line ends.
func (s *lineScanner) take(n int) string {
	n = min(n, len(s.text))
	taken := s.text[:n]
	s.text = s.text[n:]
	s.line += strings.Count(taken, "\n")
	return taken
}
