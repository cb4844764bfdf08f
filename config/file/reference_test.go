package file_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/taprouter/taprouter/config/file"
)

const referenceFile = "../../examples/reference.toml"

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReferenceIsComplete: every key that the parser knows is in the reference.
// Where tables of one kind stand in several places, each key has to be in one.
func TestReferenceIsComplete(t *testing.T) {
	var raw map[string]any
	if _, err := toml.Decode(reference(t), &raw); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	indexes := regexp.MustCompile(`\[\d+\]`)
	paths("", raw, func(p string) { shown[indexes.ReplaceAllString(p, "")] = true })

	type key struct{ kind, key string }
	known := map[key]bool{}
	file.KnownKeys(func(kind, name, path string) {
		id := key{kind, name}
		known[id] = known[id] || shown[path]
	})
	if len(known) < 100 {
		t.Errorf("only %d keys known", len(known))
	}
	for id, ok := range known {
		if !ok {
			t.Errorf("%s: no key %s of %s", referenceFile, id.key, id.kind)
		}
	}
}

// parseIn reads the reference, which names a file beside it.
func parseIn(t *testing.T, text string) *file.Topology {
	t.Helper()
	f, err := file.ReadIn("f", filepath.Dir(referenceFile), strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Topology()
}

// keyLine is a line of the reference: the key, its value, what the comment says
// of its default.
var keyLine = regexp.MustCompile(`^\s*(\w+)\s*= .*# \[(required|default|default: [^\]]+)\]`)

// TestReferenceDefaults takes every key away in turn and sees whether what its
// comment says of the default is true.
func TestReferenceDefaults(t *testing.T) {
	text := reference(t)
	whole := dump(t, parseIn(t, text))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		code := strings.TrimSpace(line)
		if code == "" || code[0] == '#' || code[0] == '[' || strings.HasPrefix(code, "interfaces") {
			continue
		}
		found := keyLine.FindStringSubmatch(line)
		if found == nil {
			t.Errorf("%s:%d: does not say what the default is: %s", referenceFile, i+1, line)
			continue
		}
		lines[i] = ""
		read, err := file.ReadIn("f", filepath.Dir(referenceFile), strings.NewReader(strings.Join(lines, "\n")), nil)
		lines[i] = line
		var without *file.Topology
		if err == nil {
			without = read.Topology()
		}
		switch key, is := found[1], found[2]; {
		case is == "required" && err == nil:
			t.Errorf("%s:%d: %s is not required", referenceFile, i+1, key)
		case is == "required":
		case is == "default" && (err != nil || dump(t, without) != whole):
			t.Errorf("%s:%d: the value of %s is not the default (%v)", referenceFile, i+1, key, err)
		case is == "default":
		case err != nil:
			// Something else may rely on the key; itself, it must not be missed.
			if strings.Contains(err.Error(), key+" is missing") {
				t.Errorf("%s:%d: %s is required: %v", referenceFile, i+1, key, err)
			}
		case dump(t, without) == whole:
			t.Errorf("%s:%d: the value of %s is the default", referenceFile, i+1, key)
		}
	}
}
