package main

import (
	"bufio"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

const root = "../../"

// document reads one of the project's texts.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the indented blocks of a text, without the indentation.
func blocks(text string) []string {
	var all []string
	var b strings.Builder
	for line := range strings.Lines(text + "\nend") {
		switch code, is := strings.CutPrefix(line, "    "); {
		case is:
			b.WriteString(code)
		case strings.TrimSpace(line) == "" && b.Len() > 0:
			b.WriteString("\n")
		case b.Len() > 0:
			all = append(all, strings.TrimSpace(b.String())+"\n")
			b.Reset()
		}
	}
	return all
}

// The topology that the README shows is right by itself, and is the beginning of a lesson that
// goes as it should.
func TestTopologyOfTheREADME(t *testing.T) {
	var shown string
	for _, b := range blocks(document(t, "README.md")) {
		if strings.HasPrefix(b, "[[network]]") {
			shown = b
		}
	}
	if shown == "" {
		t.Fatal("the README shows no topology")
	}
	if status, out, errs := invoke(t, "check", write(t, shown)); status != 0 || !strings.Contains(out, "is valid") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if !strings.Contains(document(t, "examples/first.toml"), "\n\n"+shown+"\n") {
		t.Errorf("examples/first.toml does not begin with:\n%s", shown)
	}
	if status, out, errs := invoke(t, "lab", examples+"first.toml"); status != 0 ||
		!strings.Contains(out, "all as expected") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

// A command or file that the README names exists.
func TestCommandsOfTheREADME(t *testing.T) {
	text := document(t, "README.md")
	for _, m := range regexp.MustCompile(`(?:taprouter|\./taprouter) (lab|run|check|conform|version)\b`).
		FindAllStringSubmatch(text, -1) {
		if status, _, errs := invoke(t, m[1], "--help"); status != 0 {
			t.Errorf("%s: status %d\n%s", m[0], status, errs)
		}
	}
	named := regexp.MustCompile(`examples/[a-z0-9./-]+|\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1)
	if len(named) < 10 {
		t.Fatalf("%d files found in the README: %q", len(named), named)
	}
	for _, m := range named {
		path := m[0]
		if m[1] != "" {
			path = m[1]
		}
		if _, err := os.Stat(root + path); err != nil {
			t.Errorf("the README names %s: %v", path, err)
		}
	}
	makefile := document(t, "Makefile")
	for _, m := range regexp.MustCompile("`make ([a-z-]+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(makefile, "\n"+m[1]+":") {
			t.Errorf("the README says %s, which the Makefile does not have", m[0])
		}
	}
}

// Each method in the README's tables is a method of a Control or an engine, and has the same parameters there.
func TestMethodsOfTheREADME(t *testing.T) {
	changes, engine, n := reflect.TypeFor[*control.Control](), reflect.TypeFor[*router.Engine](), 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)\\((.*?)\\) ").
		FindAllStringSubmatch(document(t, "README.md"), -1) {
		n++
		method, ok := engine.MethodByName(m[1])
		if !ok {
			method, ok = changes.MethodByName(m[1])
		}
		if !ok {
			t.Errorf("the README names the method %s", m[1])
			continue
		}
		if want, got := parameters(m[2]), method.Type.NumIn()-1; got != want {
			t.Errorf("%s takes %d parameters; the README shows %d", m[1], got, want)
		}
	}
	if n < 8 {
		t.Errorf("only %d methods found", n)
	}
}

// parameters counts the parameters of a list in Go.
func parameters(list string) int {
	if list == "" {
		return 0
	}
	return strings.Count(list, ",") + 1
}

// A document is read in an editor, too: its lines end by column 120. Only a table's row may be longer.
func TestLinesOfDocumentsEndInTime(t *testing.T) {
	const most = 120
	files := []string{"README.md", "ARCHITECTURE.md", "examples/README.md", "examples/105-106-openstack.md",
		"bench/README.md", "bench/results/README.md", "nat/CONFORMANCE.md"}
	for _, name := range files {
		text, lines := bufio.NewScanner(strings.NewReader(document(t, name))), 0
		for ; text.Scan(); lines++ {
			n := utf8.RuneCountInString(text.Text())
			if n > most && !strings.HasPrefix(text.Text(), "|") {
				t.Errorf("%s:%d: %d characters, want at most %d", name, lines+1, n, most)
			}
		}
		if lines < 20 {
			t.Errorf("%s: %d lines found", name, lines)
		}
	}
}

// A table's cell is read in an editor, too: it has at most two lines of 120 columns.
func TestCellsAreShort(t *testing.T) {
	const most = 2 * 120
	files := []string{"README.md", "ARCHITECTURE.md", "examples/README.md", "examples/105-106-openstack.md",
		"bench/README.md"}
	for _, name := range files {
		text, cells := bufio.NewScanner(strings.NewReader(document(t, name))), 0
		for line := 1; text.Scan(); line++ {
			if !strings.HasPrefix(text.Text(), "|") {
				continue
			}
			for cell := range strings.SplitSeq(strings.Trim(text.Text(), "|"), "|") {
				cells++
				if n := utf8.RuneCountInString(strings.TrimSpace(cell)); n > most {
					t.Errorf("%s:%d: a cell of %d characters: make it a list below the table, or two rows", name, line,
						n)
				}
			}
		}
		if cells < 10 {
			t.Errorf("%s: %d cells found", filepath.Base(name), cells)
		}
	}
}
