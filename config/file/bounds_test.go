package file_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/taprouter/taprouter/config/file"
)

// endless gives bytes without end, as /dev/zero does, and counts them.
type endless struct{ given int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.given += len(p)
	return len(p), nil
}

// excessive are texts that exceed a bound, with the line where they do and a word of the fault.
func excessive() map[string]struct {
	text string
	line int
	want string
} {
	type c = struct {
		text string
		line int
		want string
	}
	const deep = "more than 16 tables and lists"
	rep := strings.Repeat
	return map[string]c{
		"lists":                    {"\na = " + rep("[", 200_000), 2, deep},
		"lists by lines":           {"a = " + rep("[\n", 17), 17, deep},
		"closed lists":             {"a = " + rep("[", 17) + rep("]", 17), 1, deep},
		"inline tables":            {"x = 1\n\na = " + rep("{a=", 200_000), 3, deep},
		"lists of tables":          {"a = " + rep("[{a=", 9), 1, deep},
		"a dotted key":             {"a" + rep(".a", 17) + " = 1", 1, deep},
		"a header":                 {"[a" + rep(".a", 16) + "]", 1, deep},
		"a header of a list":       {"# [\n[[ a" + rep(" . a", 16) + "]]", 2, deep},
		"a key in a header's":      {"[a" + rep(".a", 7) + "]\nb" + rep(".b", 9) + " = 1", 2, deep},
		"a key in an inline table": {"a = {\nb = 1,\nb" + rep(".'b.'", 16) + " = 1}", 3, deep},
		"the second in a list":     {"a = [[[1], []], " + rep("[", 16), 1, deep},
		"behind strings": {"a = \"\"\"\n[[\\\"\"\"\"\"\"\nb = '''\n'\\'''''\nc = '\\'\nd=\"\\\\\"\ne = " +
			rep("[", 17), 7, deep},
		"behind a comment":  {"a = [ # ]]] '\n" + rep("[", 16) + "]", 2, deep},
		"a long key":        {"\n" + rep("a", 257) + " = 1", 2, "more than 256 bytes"},
		"a long quoted key": {"'" + rep("a", 1<<20) + "' = 1", 1, "more than 256 bytes"},
		"a long header":     {"\n[" + rep("a", 200) + "." + rep("b", 60) + "]", 2, "more than 256 bytes"},
		"a long path":       {"[" + rep("a", 200) + "]\na = {" + rep("b", 60) + " = 1}", 2, "more than 256 bytes"},
		"many elements":     {"\na = [" + rep("1,", 1<<20) + "]", 2, "more than 1048576 keys"},
		"many tables":       {rep("[[router]]\n", 1<<20+1), 1<<20 + 1, "more than 1048576 keys"},
		"many keys":         {rep("a=1\n", 1<<20+1), 1<<20 + 1, "more than 1048576 keys"},
		"size":              {"#" + rep(" ", 16<<20), 1, "larger than the 16 MB"},
	}
}

// A text that would cost much to parse is refused before it is parsed, with its line.
func TestBounds(t *testing.T) {
	for name, c := range excessive() {
		_, err := file.Parse("f", strings.NewReader(c.text))
		if want := fmt.Sprintf("f:%d: ", c.line); err == nil || !strings.HasPrefix(err.Error(), want) ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.200v; want %s...%s", name, err, want, c.want)
		}
	}
	zero := &endless{}
	if _, err := file.Parse("f", zero); err == nil || !strings.Contains(err.Error(), "larger than the 16 MB") ||
		zero.given > 32<<20 {
		t.Errorf("after %d bytes: %v", zero.given, err)
	}
	if _, err := file.Parse("f", io.LimitReader(zero, 16<<20)); err == nil || strings.Contains(err.Error(), "larger") {
		t.Errorf("16 MB: %v", err)
	}
}

// Text that is just within the bounds comes to the parser.
func TestWithinBounds(t *testing.T) {
	rep := strings.Repeat
	for name, text := range map[string]string{
		"lists":          "a = " + rep("[", 16) + rep("]", 16),
		"lists of lists": "a = [" + rep("[[[]]],", 1000) + "]",
		"inline tables":  "a = " + rep("{a=", 16) + "1" + rep("}", 16),
		"dotted":         "a" + rep(".a", 16) + " = 1",
		"dots in values": "a = [" + rep("1.5,", 100) + "]\nb = 'a.b" + rep(".a", 1000) + "'",
		"header":         "[a" + rep(".a", 15) + "]\nb = 1",
		"strings": "a = '" + rep("[{", 1000) + "'\nb = \"\\\"" + rep("[", 1000) + "\"\nc = '''\n" +
			rep("[\n", 100) + "'''",
		"quoted keys":       "'" + rep("[.", 100) + "' = 1\n\"\\\"" + rep("{.", 100) + "\" = 1",
		"comments":          "# " + rep("[", 1000) + "\na = 1 # " + rep("[", 1000),
		"tables in a row":   rep("[[a.b.c]]\nx = {y = {z = [1]}}\n", 1000),
		"trailing comma":    "a = [\n" + rep("[[1,],],\n", 1000) + "]",
		"keys in a row":     "[" + rep("a", 200) + "]\n" + "b = [" + rep("{ccc = 1}, ", 1000) + "]",
		"two quotes at end": `a = """x"""""` + "\nb = " + rep("[", 16) + rep("]", 16),
	} {
		if line, excess := file.CheckBounds(text); excess != "" {
			t.Errorf("%s: line %d: %s", name, line, excess)
		}
		var raw map[string]any
		if _, err := toml.Decode(text, &raw); err != nil {
			t.Errorf("the case %s is no TOML: %v", name, err)
		}
	}
}

// depthOf is the most tables and lists that are around something, in what the toml module
// made of a document.
func depthOf(raw any) (most int) {
	deeper := func(v any) {
		switch v.(type) {
		case map[string]any, []any, []map[string]any:
			most = max(most, 1+depthOf(v))
		}
	}
	switch x := raw.(type) {
	case map[string]any:
		for _, v := range x {
			deeper(v)
		}
	case []any:
		for _, v := range x {
			deeper(v)
		}
	case []map[string]any: // of headers, whose list and table count as one; of a list of inline tables, as two
		for _, v := range x {
			most = max(most, depthOf(v))
		}
	}
	return most
}

// FuzzBounds: whatever the toml module has accepted, it has not nested deeper than the bound,
// for the module recurses.
func FuzzBounds(f *testing.F) {
	for _, tt := range faultCases() {
		f.Add(tt.text)
	}
	for _, c := range excessive() {
		if len(c.text) < 1000 {
			f.Add(c.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		line, excess := file.CheckBounds(text)
		if line < 1 || line > 1+strings.Count(text, "\n") {
			t.Fatalf("line %d", line)
		}
		if excess != "" || strings.HasPrefix(text, "\ufeff") || strings.HasPrefix(text, "\xff") ||
			strings.HasPrefix(text, "\xfe") {
			return
		}
		var raw map[string]any
		if _, err := toml.Decode(text, &raw); err != nil {
			return
		}
		if depth := depthOf(raw); depth > 16 {
			t.Errorf("%d tables and lists inside each other are not found", depth)
		}
	})
}

// A file full of faults is answered in time that grows with its size, and with a bounded list.
func TestManyFaults(t *testing.T) {
	var bad strings.Builder
	for i := range 2_000 {
		fmt.Fprintf(&bad, "[[network]]\nname = \"n%d\"\nmtu = \"x\"\n[network.subnet]\ncidr = \"10.0.0.0/24\"\n", i)
		fmt.Fprintf(&bad, "[[router]]\nname = \"r%d\"\ninterfaces = [\"m%d\"]\n", i, i)
	}
	_, err := file.Parse("f", strings.NewReader(bad.String()))
	lines := strings.Split(fmt.Sprint(err), "\n")
	if last := lines[len(lines)-1]; len(lines) != 1001 || !strings.HasSuffix(last, " and 5000 more faults") {
		t.Errorf("%d lines, the last: %s", len(lines), last)
	}
}
