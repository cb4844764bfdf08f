package router

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

const architecture = "../ARCHITECTURE.md"

// TestStages holds together the names and the order of the stages: the type Stage, the list of calls in forward,
// the table of forwardTraced, and the table in ARCHITECTURE.md.
func TestStages(t *testing.T) {
	var want, names []string
	for _, s := range Stages() {
		names = append(names, s.String())
		if s != StageSwitch { // which is no function of a router
			want = append(want, s.String())
		}
	}
	if got := tableOf(t, "| stage | job |"); !slices.Equal(firsts(got), names) {
		t.Errorf("ARCHITECTURE.md has the stages\n     %v\nwant %v", firsts(got), names)
	}
	file := parseGo(t, "internal/ip/forward.go")
	if got := listedCalls(t, funcOf(t, file, "forward")); !slices.Equal(got, want) {
		t.Errorf("forward calls\n     %v\nwant %v", got, want)
	}
	traced := funcOf(t, parseGo(t, "internal/ip/trace.go"), "forwardTraced")
	if got := tabledStages(t, traced); !slices.Equal(got, want) {
		t.Errorf("forwardTraced runs\n     %v\nwant %v", got, want)
	}
}

// listedCalls are the stages that forward calls. Each call must name the same stage for its drops.
func listedCalls(t *testing.T, fn *ast.FuncDecl) []string {
	t.Helper()
	var calls, named []string
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.Ident:
			if name, ok := strings.CutPrefix(f.Name, "stage"); ok {
				calls = append(calls, strings.ToLower(name))
			}
		case *ast.SelectorExpr:
			if stage, ok := call.Args[0].(*ast.SelectorExpr); ok && f.Sel.Name == "At" {
				named = append(named, strings.ToLower(strings.TrimPrefix(stage.Sel.Name, "Stage")))
			}
		}
		return true
	})
	if !slices.Equal(calls, named) {
		t.Errorf("forward calls %v, but its drops are of %v", calls, named)
	}
	return calls
}

// tabledStages are the stages in the table of forwardTraced. Each row must name the function of its stage.
func tabledStages(t *testing.T, fn *ast.FuncDecl) []string {
	t.Helper()
	var all []string
	ast.Inspect(fn, func(n ast.Node) bool {
		row, ok := n.(*ast.CompositeLit)
		if !ok || len(row.Elts) != 3 {
			return true
		}
		stage, run := row.Elts[0].(*ast.SelectorExpr).Sel.Name, row.Elts[1].(*ast.Ident).Name
		if "s"+strings.TrimPrefix(stage, "S") != run {
			t.Errorf("the row of %s runs %s", stage, run)
		}
		all = append(all, strings.ToLower(strings.TrimPrefix(stage, "Stage")))
		return true
	})
	return all
}

func parseGo(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func funcOf(t *testing.T, file *ast.File, name string) *ast.FuncDecl {
	t.Helper()
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name {
			return fn
		}
	}
	t.Fatalf("there is no function %s", name)
	return nil
}

// tableOf returns the rows of the table in ARCHITECTURE.md that begins with a line.
func tableOf(t *testing.T, head string) []string {
	t.Helper()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+head+"\n")
	if !ok {
		t.Fatalf("ARCHITECTURE.md has no table %q", head)
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	return strings.Split(table, "\n")[1:]
}

// firsts are the first cells of rows.
func firsts(rows []string) []string {
	var all []string
	for _, row := range rows {
		all = append(all, strings.TrimSpace(strings.Split(row, "|")[1]))
	}
	return all
}

const dropTable = "| drop reason | stages | meaning |"

// TestGoldenDropReasons holds the table of drop reasons in ARCHITECTURE.md to verdict.go: the name, the
// stages, and the comment of each. go test -update writes the table anew.
func TestGoldenDropReasons(t *testing.T) {
	var reasons, comments []string
	ast.Inspect(parseGo(t, "internal/verdict/verdict.go"), func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Drop") {
			reasons = append(reasons, v.Names[0].Name)
			comments = append(comments, strings.TrimSpace(v.Comment.Text()))
		}
		return true
	})
	if len(reasons) != int(verdict.NumDropReasons) {
		t.Fatalf("found %d reasons, there are %d", len(reasons), verdict.NumDropReasons)
	}
	var want []string
	names := map[string]bool{}
	for id, r := range reasons {
		var stages []string
		for _, s := range DropReason(id).Stages() {
			stages = append(stages, s.String())
		}
		name := DropReason(id).String()
		if len(stages) == 0 || name == "" || names[name] || comments[id] == "" {
			t.Errorf("%s: name %q, stages %v, comment %q", r, name, stages, comments[id])
		}
		names[name] = true
		want = append(want, fmt.Sprintf("| %s | %s | %s |", name, strings.Join(stages, ", "), comments[id]))
	}
	got := tableOf(t, dropTable)
	if slices.Equal(got, want) {
		return
	}
	if !*update {
		t.Errorf("the table of drop reasons in ARCHITECTURE.md is not what verdict.go says: make golden writes it anew")
		return
	}
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	now := strings.Replace(string(text), strings.Join(got, "\n"), strings.Join(want, "\n"), 1)
	if err := os.WriteFile(architecture, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The stage of a drop is where the packet ended, also where several stages drop for the same reason.
func TestDropsByStage(t *testing.T) {
	topo := tutorial()
	r := &topo.Routers[0]
	r.RPFilter, r.Gateway.NextHop = "strict", netip.Addr{}
	topo.Networks = append(topo.Networks, file.Network{Name: "alone", MTU: 1500})
	l := newLessonOf(t, topo)
	offload := make([]byte, tap.HeaderLen)
	offload[1] = 77 // no such super-frame
	const badOption = " ipopts 07020000"
	for _, c := range []struct {
		stage          Stage
		reason         DropReason
		network, frame string
		header         []byte
	}{
		{StageParse, DropOffload, "vlan101", "udp 172.16.101.3:1 > 172.16.100.9:53 len 1", offload},
		{StageParse, DropReversePath, "vlan101", "udp 198.51.100.1:1 > 172.16.100.9:53 len 1" + badOption, nil},
		{StageParse, DropMartianSource, "vlan101", "udp 127.0.0.1:1 > 172.16.100.9:53 len 1" + badOption, nil},
		{StageParse, DropMartianDest, "vlan101", "udp 172.16.101.3:1 > 127.0.0.1:53 len 1" + badOption, nil},
		{StageParse, DropBroadcast, "vlan101", "udp 172.16.101.3:1 > 224.0.0.1:53 len 1" + badOption, nil},
		{StageConntrack, DropReversePath, "vlan101", "udp 198.51.100.1:1 > 172.16.100.9:53 len 1", nil},
		{StageConntrack, DropMartianSource, "vlan101", "udp 127.0.0.1:1 > 172.16.100.9:53 len 1", nil},
		{StageConntrack, DropMartianDest, "vlan101", "udp 172.16.101.3:1 > 127.0.0.1:53 len 1", nil},
		{StageConntrack, DropBroadcast, "vlan101", "udp 172.16.101.3:1 > 224.0.0.1:53 len 1", nil},
		{StageRoute, DropMartianDest, "vlan101", "udp 172.16.101.3:1 > 169.254.9.9:53 len 1", nil},
		{StageRoute, DropBroadcast, "vlan101", "udp 172.16.101.3:1 > 172.16.100.255:53 len 1", nil},
		{StageSwitch, DropBroadcast, "alone", "arp who-has 192.0.2.1 tell 192.0.2.2", nil},
	} {
		eth, err := nettest.Parse(c.frame)
		if err != nil {
			t.Fatal(err)
		}
		to := packet.Broadcast
		if c.network != "alone" {
			to = l.routerMAC(c.network)
		}
		nettest.SetMACs(eth, packet.MAC{2, 9}, to)
		if c.header == nil {
			c.header = make([]byte, tap.HeaderLen)
		}
		before := l.w.Stats.DroppedAt
		l.putFrame(c.network, append(slices.Clone(c.header), eth...))
		want := before
		want[c.stage][c.reason]++
		if got := l.w.Stats.DroppedAt; got != want {
			t.Errorf("%s: want one drop more at %v: %v, got %v", c.frame, c.stage, c.reason, l.stats().DropsAt)
		}
	}
}

// TestVerdictsAreExportedAgain holds the constants of router/verdict.go to those of package verdict: each is there,
// by the same name.
func TestVerdictsAreExportedAgain(t *testing.T) {
	exported := func(path string) map[string]string {
		all := map[string]string{}
		ast.Inspect(parseGo(t, path), func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || !v.Names[0].IsExported() || strings.HasPrefix(v.Names[0].Name, "Num") {
				return true
			}
			all[v.Names[0].Name] = ""
			if len(v.Values) == 1 {
				if s, ok := v.Values[0].(*ast.SelectorExpr); ok {
					all[v.Names[0].Name] = s.Sel.Name
				}
			}
			return true
		})
		return all
	}
	want, got := exported("internal/verdict/verdict.go"), exported("verdict.go")
	internal := map[string]bool{"Next": true, "HandedOver": true} // no frame ends with them
	for name := range want {
		if _, ok := got[name]; !ok && !internal[name] {
			t.Errorf("package router has no %s", name)
		}
	}
	for name, of := range got {
		if name != of {
			t.Errorf("%s is verdict.%s", name, of)
		}
	}
	if len(got) < int(verdict.NumDropReasons) {
		t.Errorf("only %d names were found", len(got))
	}
}
