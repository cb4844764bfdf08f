package conform

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// items are the requirements that nat/CONFORMANCE.md answers, in its order.
func items() []string {
	ids := []string{"U1", "U2", "U3", "U3a"}
	number := func(prefix string, from, to int) {
		for i := from; i <= to; i++ {
			ids = append(ids, fmt.Sprint(prefix, i))
		}
	}
	number("U", 4, 14)
	number("T", 1, 17)
	number("I", 1, 13)
	number("C", 1, 16)
	number("R", 1, 33)
	number("A", 1, 7)
	ids = append(ids, "D1", "V6")
	number("L2-", 1, 6)
	number("H", 1, 5)
	number("K", 1, 10)
	number("F", 1, 8)
	number("B", 1, 18)
	return ids
}

// TestDocument compares nat/CONFORMANCE.md with what there is: every item stands
// there once and is answered, every test that it names exists, and it says of which
// items there are checks.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../nat/CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	for _, check := range Checks() {
		item, _, _ := strings.Cut(check.ID(), "/")
		checked[item] = true
	}
	tests := testNames(t)
	var seen []string
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "item" {
			continue
		}
		item, answer := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		seen = append(seen, item)
		if answer == "" {
			t.Errorf("%s is not answered", item)
		}
		named := map[string]bool{}
		for _, name := range strings.Split(strings.TrimSpace(cells[4]), ", ") {
			named[name] = true
			switch {
			case name == "" || name == "conform":
			case strings.HasSuffix(name, ".txt"):
				if _, err := os.Stat(filepath.Join("../testdata", name)); err != nil {
					t.Errorf("%s: no scenario %s", item, name)
				}
			case !tests[name]:
				t.Errorf("%s: no test %q", item, name)
			}
		}
		if strings.Contains(answer, "**met**") && named[""] {
			t.Errorf("%s is met, shown by nothing", item)
		}
		if named["conform"] != checked[item] {
			t.Errorf("%s: says that there are checks: %t; there are: %t", item, named["conform"], checked[item])
		}
		delete(checked, item)
	}
	for item := range checked {
		t.Errorf("%s has checks, and no row", item)
	}
	if want := items(); !slices.Equal(seen, want) {
		t.Errorf("the items are\n%q, want\n%q", seen, want)
	}
}

// testNames is every test and fuzz function of the module.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil &&
				(strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				names[fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
