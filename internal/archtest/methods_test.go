package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// mostMethods is how many methods a type of package router, or of its internal packages, may have.
// A type with more has become the place where everything goes.
const mostMethods = 30

func TestMethodsOfATypeAreFew(t *testing.T) {
	types := 0
	for name, p := range packages(t) {
		if name != "router" && !strings.HasPrefix(name, "router/internal/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go")) // those of every platform
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				countMethods(t, file, count)
			}
		}
		for typ, n := range count {
			types++
			if n > mostMethods {
				t.Errorf("%s.%s has %d methods, more than %d: a part of it is a type of its own", name, typ, n,
					mostMethods)
			}
		}
	}
	if types == 0 {
		t.Error("no type with a method was found")
	}
}

// countMethods adds the methods that a file declares to the counts of their types.
func countMethods(t *testing.T, path string, count map[string]int) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
			count[receiver(fn.Recv.List[0].Type)]++
		}
	}
}

// receiver is the name of a receiver's type, without a pointer and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
