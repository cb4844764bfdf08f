package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayConvert are the packages that may convert between packet.Addr and integers, so that the meaning of
// an address is known in these places only. Tests of every package may: they number addresses.
var mayConvert = []string{"internal/packet"}

// Only packages that may convert between packet.Addr and integers do.
func TestAddressesAreNotNumbers(t *testing.T) {
	c := newAddrChecker(t)
	for name, p := range packages(t) {
		switch found := c.conversions(t, p); {
		case slices.Contains(mayConvert, name):
			if len(found) == 0 {
				t.Errorf("%s converts no address; it need not be allowed to", name)
			}
		default:
			for _, at := range found {
				t.Errorf("%v: a conversion between packet.Addr and an integer", at)
			}
		}
	}
}

// An addrChecker finds conversions between packet.Addr and integers.
type addrChecker struct {
	fset *token.FileSet
	imp  types.Importer
}

// newAddrChecker reads types from what the compiler has written of each package.
func newAddrChecker(t *testing.T) *addrChecker {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	return &addrChecker{fset, importer.ForCompiler(fset, "gc", open)}
}

// conversions are where a package, without its tests, converts.
func (c *addrChecker) conversions(t *testing.T, p pkg) (found []token.Position) {
	t.Helper()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	if _, err := (&types.Config{Importer: c.imp}).Check(p.ImportPath, c.fset, files, info); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && info.Types[call.Fun].IsType() {
				to, from := info.TypeOf(call), info.TypeOf(call.Args[0])
				if isAddr(to) || isAddr(from) && isInteger(to) {
					found = append(found, c.fset.Position(call.Pos()))
				}
			}
			return true
		})
	}
	return found
}

// isAddr reports whether a type is packet.Addr or a pointer to it.
func isAddr(t types.Type) bool {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == "Addr" && n.Obj().Pkg().Path() == module+"/internal/packet"
}

// isInteger reports whether a type is made of integers, or a pointer to it is.
func isInteger(t types.Type) bool {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsInteger != 0
}
