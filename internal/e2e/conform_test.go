//go:build linux

package e2e_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The conformance suite plays on TAPs and on Linux: taprouter fails nothing there, and
// Linux what it is known not to do, so that its column is known to be live.
func TestConform(t *testing.T) {
	need(t, "nft")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "conform", "--target", "tap,kernel")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%v\n%s", time.Since(start).Round(time.Second), out)
	if code := exitCode(err); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	table := conformTable(t, string(out))
	count := map[string]int{}
	for id, row := range table {
		for column, outcome := range row {
			count[column+" "+outcome]++
			if column != "Linux" && outcome != "ok" && outcome != "skipped" {
				t.Errorf("%s, %s: %s", id, column, outcome)
			}
		}
	}
	if len(table) < 50 || count["taprouter ok"] != len(table) || count["on TAPs ok"] < len(table)*3/4 ||
		count["Linux ok"] < len(table)/3 {
		t.Errorf("of %d checks: %v", len(table), count)
	}
	for id, want := range map[string]string{
		"U4/parity": "FAILED", "U9/hairpin shows the external endpoint": "FAILED", "A4/defends": "FAILED",
		"U3/no sharing": "ok", "R1/time exceeded": "ok", "R12/longest prefix": "ok", "U5/119 s": "skipped",
	} {
		if got := table[id]["Linux"]; got != want {
			t.Errorf("%s on Linux: %q, want %q", id, got, want)
		}
	}
}

// conformTable reads the table: outcomes by check and column.
func conformTable(t *testing.T, out string) map[string]map[string]string {
	t.Helper()
	lines := strings.Split(out, "\n")
	columns := []string{"CHECK", "LEVEL", "SOURCE", "taprouter", "on TAPs", "Linux"}
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i] = strings.Index(lines[0], name); at[i] < 0 {
			t.Fatalf("the table has no column %q: %s", name, lines[0])
		}
	}
	table := map[string]map[string]string{}
	for _, line := range lines[1:] {
		if line == "" {
			break // reasons follow
		}
		row := map[string]string{}
		for i := 3; i < len(columns); i++ {
			row[columns[i]] = strings.Fields(line[at[i]:] + " ?")[0]
		}
		table[strings.TrimSpace(line[:at[1]])] = row
	}
	return table
}
