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
	for _, tool := range []string{"ip", "iperf3", "nft", "sysctl", "ethtool"} {
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			if os.Getenv("CI") == "true" {
				t.Fatalf("missing: root and %s", tool)
			}
			t.Skipf("missing: root and %s", tool)
		}
	}
	only := "(SNAT|VIP), received|floating IP, TCP connect|one host|HTTP requests, each|MTU.*1 stream, cubic|" +
		"Tags: small|busy neighbor"
	b := &bench{runs: 1, time: 300 * time.Millisecond, out: t.TempDir(), interrupted: make(chan os.Signal),
		only: regexp.MustCompile(only), who: regexp.MustCompile(".")}
	if err := b.prepare(); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(b.dir)
	spawnProcesses()
	b.results.Pieces = []piece{b.here()}
	for _, c := range b.contestants {
		b.results.Contestants = append(b.results.Contestants, c.name())
	}
	if err := b.finish(results{}, b.compare()); err != nil {
		t.Fatal(err)
	}
	rows, plots := 0, map[string]bool{}
	for _, m := range b.measurements() {
		if !b.only.MatchString(m.String()) {
			continue
		}
		for _, k := range m.rows {
			rows++
			plots[k.Group] = true
			found := b.results.find(k.Group, k.Title)
			if found == nil {
				t.Errorf("%s: %s: no row", k.Group, k.Title)
				continue
			}
			for _, c := range b.contest(m) {
				if v := found.Values[c.name()]; len(v) != 1 || !(v[0] > 0) {
					t.Errorf("%s: %s: %s: %v", k.Group, k.Title, c.name(), v)
				}
			}
		}
	}
	if least := 9; rows < least || len(b.results.Rows) != rows {
		t.Errorf("%d rows of %d, want at least %d", len(b.results.Rows), rows, least)
	}
	table, err := os.ReadFile(filepath.Join(b.out, "README.md"))
	if err != nil || !strings.Contains(string(table), "| VIP, received by a socket | k/s |") {
		t.Errorf("%v\n%s", err, table)
	}
	if got, _ := filepath.Glob(filepath.Join(b.out, "*.svg")); len(got) != len(plots) {
		t.Errorf("plots: %v, want those of %v", got, plots)
	}
	kept, err := readResults(b.out)
	if err != nil || kept.table(true) != b.results.table(true) {
		t.Errorf("%v; the table of the values that are kept:\n%s", err, kept.table(true))
	}
}
