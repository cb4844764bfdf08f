package file_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/taprouter/taprouter/config/file"
)

func TestIndexLines(t *testing.T) {
	tests := []struct {
		name, doc string
		want      map[string]int
	}{
		{"empty", "", map[string]int{}},
		{"only blanks", " \t\n# comment\n\n", map[string]int{}},
		{"pairs", "a = 1\n\n# b = 2\nb = 3 # c = 4\n", map[string]int{"a": 1, "b": 4}},
		{"byte order mark", "\ufeffa = 1", map[string]int{"a": 1}},
		{"UTF-16's byte order mark", "\xff\xfea = 1", map[string]int{"a": 1}},
		{"carriage returns", "a = 1\r\nb = 'x'\r\n[c]\r\nd = 2020-01-01 10:00:00\r\n",
			map[string]int{"a": 1, "b": 2, "c": 3, "c.d": 4}},
		{"tables", "[a]\nx = 1\n[a.b.c]\ny = 2\n[a.b]\nz = 3", map[string]int{
			"a": 1, "a.x": 2, "a.b": 5, "a.b.c": 3, "a.b.c.y": 4, "a.b.z": 6,
		}},
		{"lists of tables", "[[n]]\nx = 1\n[[n.s]]\n[[n.s]]\ny = 2\n[n.t]\n[[n]]\n[[n.s]]\n[n.s.u]\nv=1",
			map[string]int{
				"n": 1, "n[0]": 1, "n[0].x": 2, "n[0].s": 3, "n[0].s[0]": 3, "n[0].s[1]": 4, "n[0].s[1].y": 5,
				"n[0].t": 6,
				"n[1]":   7, "n[1].s": 8, "n[1].s[0]": 8, "n[1].s[0].u": 9, "n[1].s[0].u.v": 10,
			}},
		{"spaced header", "[ a . 'b' ]\nx = 1\n[[ c ]] # [[c]]\n",
			map[string]int{"a": 1, "a.b": 1, "a.b.x": 2, "c": 3, "c[0]": 3}},
		{"dotted keys", "a.b = 1\na . c.d = 2", map[string]int{"a": 1, "a.b": 1, "a.c": 2, "a.c.d": 2}},
		{"quoted keys", `"a b" = 1` + "\n'c.d' = 2\n\"e\\\"f\" = 3\n\"g\" = 4\n\"\\u00e9\\x41\\e\\\\x41\" = 5",
			map[string]int{
				`"a b"`: 1, `"c.d"`: 2, `"e\"f"`: 3, "g": 4, `"éA\x1b\\x41"`: 5,
			}},
		{"lists", "a = [\n  1, # one\n  [2,\n  3],\n\n  { x = 1,\n y = 2 },\n]\nb = []", map[string]int{
			"a": 1, "a[0]": 2, "a[1]": 3, "a[1][0]": 3, "a[1][1]": 4, "a[2]": 6, "a[2].x": 6, "a[2].y": 7, "b": 9,
		}},
		{"inline tables", "a = { b.c = [1, 2], 'd' = {} }\ne = 1", map[string]int{
			"a": 1, "a.b": 1, "a.b.c": 1, "a.b.c[0]": 1, "a.b.c[1]": 1, "a.d": 1, "e": 2,
		}},
		{"strings", `a = "x # \" ] } = [[n]]"` + "\nb = '\\'\nc = '#'\nd = \"\"\ne = ''\nf = 1", map[string]int{
			"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6,
		}},
		{"multi-line strings", "a = \"\"\"\nb = 1\n\\\"\"\" \"\"\"\nc = '''\n'\n''\n[d]'''\ne = \"\"\"\"x\"\"\"\"\"\n" +
			"f = ''''''\ng = 1", map[string]int{
			"a": 1, "c": 4, "e": 8, "f": 9, "g": 10,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var raw map[string]any
			if _, err := toml.Decode(strings.TrimPrefix(tt.doc, "\ufeff"), &raw); err != nil {
				t.Fatalf("the case is no TOML: %v", err)
			}
			got := file.IndexLines(tt.doc)
			if !maps.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// paths lists the paths of everything in a decoded document.
func paths(at string, raw any, add func(string)) {
	if at != "" {
		add(at)
	}
	switch x := raw.(type) {
	case map[string]any:
		for key, v := range x {
			paths(file.JoinPath(at, file.PathKey(key)), v, add)
		}
	case []map[string]any:
		for i, v := range x {
			paths(file.IndexKey(at, i), v, add)
		}
	case []any:
		for i, v := range x {
			paths(file.IndexKey(at, i), v, add)
		}
	}
}

// FuzzLines holds the index to what the toml module makes of a document: the
// same paths, and lines that exist.
func FuzzLines(f *testing.F) {
	for _, file := range []string{"testdata/vip.toml", "testdata/lab.toml", "../../examples/reference.toml"} {
		doc, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(doc))
	}
	for _, tt := range faultCases() {
		f.Add(tt.text)
	}
	f.Add("a = \"\"\"\nb = 1\n\\\"\"\" \"\"\"\nc = '''\n'\n''\n[d]'''\ne = \"\"\"\"x\"\"\"\"\"\nf = ''''''\ng = 1")
	f.Add("a = [\n  1, # one\n  [2,\n  3],\n\n  { x = 1,\n y = 2 },\n]\n\"\\x41\\e\" = []")
	f.Add("[[n]]\nx.y = 1\n[[n.s]]\n[[n.s]]\n[n.t]\n[[n]]\n[[n.s]]\n[n.s.u]\nv=1")
	f.Fuzz(func(t *testing.T, doc string) {
		index := file.IndexLines(doc) // ends, whatever the text
		var raw map[string]any
		if strings.HasPrefix(doc, "\ufeff") {
			return // Parse takes the mark off
		}
		if _, err := toml.Decode(doc, &raw); err != nil {
			return
		}
		want := map[string]bool{}
		paths("", raw, func(p string) { want[p] = true })
		for p := range want {
			if line := index[p]; line < 1 || line > 1+strings.Count(doc, "\n") {
				t.Errorf("%s is in line %d", p, line)
			}
		}
		for p := range index {
			if !want[p] {
				t.Errorf("%s is in the index, but not in the document; it has %v", p, slices.Sorted(maps.Keys(want)))
			}
		}
	})
}

// A program finds the line of a key in its file. For a key that is not there, it finds the line of
// the table around it.
func TestLineOf(t *testing.T) {
	topology := parse(t, blue+"[[step]]\ndo = \"wait 1s\"\ntimes = 2\nexpect = [\n  \"a\",\n  \"b\",\n]\n")
	step := topology.Steps[0].Line
	for path, want := range map[string]int{
		"step[0]": step, "step[0].do": step + 1, "step[0].within": step, "step[0].expect": step + 3,
		"step[0].expect[0]": step + 4, "step[0].expect[1]": step + 5, "pool[0].name": 1,
	} {
		if got := topology.LineOf(path); got != want {
			t.Errorf("%s: line %d, want %d", path, got, want)
		}
	}
	if got := (&file.Topology{}).LineOf("step[0]"); got != 0 {
		t.Errorf("by hand: line %d", got)
	}
}
