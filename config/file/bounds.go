package file

import (
	"fmt"
	"io"
	"strings"
)

// Bounds of a file. They hold before anything is parsed: the toml module recurses with the
// nesting, keeps the whole path of every key, and needs a hundred times the memory of the text.
const (
	maxFileSize = 16 << 20 // bytes
	maxNesting  = 16       // tables and lists around a value; the deepest key there is has six
	maxPath     = 256      // bytes of a key as it is written, with the tables that it is in
	maxEntries  = 1 << 20  // keys, tables and list elements
)

// readText reads a file to its end, but not further than it may be long: it may be a pipe or
// a device that has no end.
func readText(name string, r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return "", fmt.Errorf("config: read %s: %w", name, err)
	}
	if len(text) > maxFileSize {
		return "", Faults{{File: name, Line: 1,
			Message: fmt.Sprintf("the file is larger than the %d MB that a topology may have", maxFileSize>>20)}}
	}
	return string(text), nil
}

// checkBounds walks over a document without recursion and finds where it exceeds a bound.
// It understands strings and comments, so that it counts what the toml module would. Behind the first
// thing that is no TOML its counts mean nothing, but the module does not come that far either.
func checkBounds(doc string) (line int, excess string) {
	s := boundScanner{text: doc, line: 1}
	s.startLine()
	for s.pos < len(s.text) && s.excess == "" {
		s.step()
	}
	return s.line, s.excess
}

// A place is how deep something is, and how long the path to it.
type place struct{ depth, size int }

// A boundScanner is in the middle of a document.
type boundScanner struct {
	text      string
	pos, line int
	entries   int
	table     place   // of the pairs below the last header
	at        place   // of the key, with its dots, or value that is being read
	outside   []place // of the list or inline table around, for each open bracket
	brackets  []byte  // the same, which one
	inKey     bool    // before the equals sign, or in a header
	inHeader  bool
	blank     bool // nothing of the statement has been read yet
	excess    string
}

// startLine begins a statement.
func (s *boundScanner) startLine() {
	s.at, s.inKey, s.inHeader, s.blank = s.table, true, false, true
}

// step reads one character, string or comment.
func (s *boundScanner) step() {
	from, c := s.pos, s.text[s.pos]
	s.pos++
	switch c {
	case '\n':
		s.line++
		if len(s.brackets) == 0 {
			s.startLine()
		}
		return
	case ' ', '\t', '\r':
		return
	case '#':
		if n := strings.IndexByte(s.text[s.pos:], '\n'); n >= 0 {
			s.pos += n
		} else {
			s.pos = len(s.text)
		}
		return
	case '"', '\'':
		lines := s.skipString(c)
		defer func() { s.line += lines }() // a fault is where the string begins
	case '[', '{':
		s.open(c)
	case ']', '}':
		s.close()
	case '=':
		if s.inKey && !s.inHeader {
			s.inKey = false
			s.count()
		}
	case ',':
		s.next()
	case '.':
		if s.inKey {
			s.deeper()
		}
	}
	s.blank = false
	if s.inKey {
		s.longer(s.pos - from)
	}
}

// open enters a header, a list or an inline table.
func (s *boundScanner) open(c byte) {
	if c == '[' && s.inKey && len(s.brackets) == 0 && (s.blank || s.inHeader) {
		if s.blank {
			s.at = place{depth: 1}
			s.count()
		}
		s.inHeader = true
		return
	}
	s.outside, s.brackets = append(s.outside, s.at), append(s.brackets, c)
	s.inKey = c == '{'
	s.count()
	s.deeper()
}

// close leaves what open has entered.
func (s *boundScanner) close() {
	if s.inHeader {
		s.table = s.at
		return
	}
	if n := len(s.brackets) - 1; n >= 0 {
		s.at, s.inKey = s.outside[n], false
		s.outside, s.brackets = s.outside[:n], s.brackets[:n]
	}
}

// next goes on behind a comma.
func (s *boundScanner) next() {
	n := len(s.brackets) - 1
	if n < 0 {
		return
	}
	s.count()
	s.at = s.outside[n]
	s.at.depth++
	s.inKey = s.brackets[n] == '{'
}

func (s *boundScanner) deeper() {
	if s.at.depth++; s.at.depth > maxNesting {
		s.excess = fmt.Sprintf("more than %d tables and lists inside each other", maxNesting)
	}
}

func (s *boundScanner) longer(n int) {
	if s.at.size += n; s.at.size > maxPath {
		s.excess = fmt.Sprintf("a key has more than %d bytes, with the tables that it is in", maxPath)
	}
}

func (s *boundScanner) count() {
	if s.entries++; s.entries > maxEntries {
		s.excess = fmt.Sprintf("the file has more than %d keys, tables and list elements", maxEntries)
	}
}

// skipString reads the rest of a string whose first quote has been read, and says how many
// line ends it holds. A string that is not closed ends with its line, or with the text.
func (s *boundScanner) skipString(quote byte) (lines int) {
	quotes := string(quote)
	if triple := strings.Repeat(quotes, 3); strings.HasPrefix(s.text[s.pos-1:], triple) && !s.inKey {
		quotes = triple
		s.pos += 2
	}
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '\n' && len(quotes) == 1:
			return lines
		case c == '\n':
			lines++
		case c == '\\' && quote == '"':
			if s.pos++; s.pos < len(s.text) && s.text[s.pos] == '\n' {
				if len(quotes) == 1 {
					return lines
				}
				lines++
			}
		case strings.HasPrefix(s.text[s.pos:], quotes):
			s.pos += len(quotes)
			// A multi-line string may end in quotes of its own: up to five in a row.
			for extra := 0; len(quotes) == 3 && extra < 2 && strings.HasPrefix(s.text[s.pos:], quotes[:1]); extra++ {
				s.pos++
			}
			return lines
		}
	}
	return lines
}
