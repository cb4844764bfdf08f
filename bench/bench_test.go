package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/bench/load"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "load" { // the traffic tools are this program, too
		os.Exit(load.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// One short round of everything that needs a world of its own kind: every contestant
// does something in every mode, and what comes out is a table with plots.
func TestOneRound(t *testing.T) {
	for _, tool := range []string{"ip", "iperf3", "nft", "sysctl"} {
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			if os.Getenv("CI") == "true" {
				t.Fatalf("missing: root and %s", tool)
			}
			t.Skipf("missing: root and %s", tool)
		}
	}
	b := &bench{runs: 1, time: 300 * time.Millisecond, out: t.TempDir(), interrupted: make(chan os.Signal),
		only: regexp.MustCompile("(SNAT|VIP), received|floating IP, TCP connect|new UDP|HTTP requests, each"),
		who:  regexp.MustCompile(".")}
	if err := b.prepare(); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(b.dir)
	spawnProcesses()
	if err := b.compare(); err != nil {
		t.Fatal(err)
	}
	if err := b.report(); err != nil {
		t.Fatal(err)
	}
	rows, plotted := 4, 2
	if webTools() { // they are not everywhere
		rows, plotted = 6, 3
	}
	for _, k := range b.results.rows {
		for _, c := range b.contestants {
			if web := strings.HasPrefix(k.group, "HTTP"); web && !isWeb(c) || !web && !routes(c) {
				continue
			}
			if v := b.results.values[k][c.name()]; len(v) != 1 || v[0] <= 0 {
				t.Errorf("%s: %s: %s: %v", k.group, k.title, c.name(), v)
			}
		}
	}
	if n := len(b.results.rows); n != rows {
		t.Errorf("%d rows", n)
	}
	table, err := os.ReadFile(filepath.Join(b.out, "README.md"))
	if err != nil || !strings.Contains(string(table), "| VIP, received by a socket | k/s |") {
		t.Errorf("%v\n%s", err, table)
	}
	if plots, _ := filepath.Glob(filepath.Join(b.out, "*.svg")); len(plots) != plotted {
		t.Errorf("plots: %v", plots)
	}
}

func TestTable(t *testing.T) {
	b := &bench{contestants: []contestant{kernel{}, taprouterOn{}, peer{title: "other"}}}
	up, down := row{group: "a", title: "up", unit: "k/s"},
		row{group: "b", title: "down", unit: "us", lower: true, digits: 1}
	for i, v := range []float64{10, 20, 30} {
		b.results.add(up, "kernel", v)
		b.results.add(up, "taprouter", v*float64(i+1))
	}
	b.results.add(down, "taprouter", 7)
	b.results.add(row{group: "a", title: "again", unit: "k/s"}, "other", 1)
	want := `
## a

| | unit | kernel | taprouter | other |
|---|---|---:|---:|---:|
| up | k/s | 20 | 40, **2.00** (1.00-3.00) | - |
| again | k/s | - | - | 1 (1-1) |

## b

| | unit | taprouter |
|---|---|---:|
| down | us (less is better) | 7.0 (7.0-7.0) |
`
	if got := b.table(false); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}
