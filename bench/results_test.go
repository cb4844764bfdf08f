package main

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	r := results{Contestants: []string{"kernel", "taprouter", "other"}}
	up, down := row{Group: "a", Title: "up", Unit: "k/s"},
		row{Group: "b", Title: "down", Unit: "us", Lower: true, Digits: 1}
	for i, v := range []float64{10, 20, 30} {
		r.add(up, "kernel", i, v)
		r.add(up, "taprouter", i, v*float64(i+1))
	}
	r.add(down, "taprouter", 0, 7)
	r.fail(down, "taprouter")
	r.fail(down, "other")
	r.add(row{Group: "a", Title: "again", Unit: "k/s"}, "other", 0, 1)
	want := `
## a

| | unit | kernel | taprouter | other |
|---|---|---:|---:|---:|
| up | k/s | 20 | 40, **2.00** (1.00-3.00) | - |
| again | k/s | - | - | 1 (1-1) |

## b

| | unit | taprouter | other |
|---|---|---:|---:|
| down | us (less is better) | 7.0 (7.0-7.0); 1 failed | -; 1 failed |
`
	if got := r.table(false); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

// A ratio is of one round. A value whose yardstick failed in that round has none, and does not take another round's.
func TestRatiosAreOfOneRound(t *testing.T) {
	var r results
	k := row{Group: "g", Title: "t"}
	for i, v := range []float64{10, 20, 30, 40} {
		r.add(k, "taprouter", i, v)
	}
	for _, i := range []int{0, 2, 3} {
		r.add(k, "kernel", i, 10*float64(i+1))
	}
	if got, want := r.ratios(r.Rows[0], "taprouter"), []float64{1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.add(k, "late", 3, 20)
	if got, want := r.ratios(r.Rows[0], "late"), []float64{0.5}; !slices.Equal(got, want) {
		t.Errorf("measured in the last round only: %v, want %v", got, want)
	}
	if got := r.ratios(r.Rows[0], "kernel"); got != nil {
		t.Errorf("the yardstick's own ratios: %v", got)
	}
}

// A row with a yardstick of its own is compared with the same contestant's values there, and not with the kernel's.
func TestRatiosOverAnotherRow(t *testing.T) {
	r := results{Contestants: []string{"kernel", "taprouter"}}
	plain := row{Group: "g", Title: "plain", Unit: "k/s"}
	tags := row{Group: "g", Title: "tags", Unit: "k/s", Over: "plain"}
	for i := range 3 {
		r.add(plain, "taprouter", i, 100)
		r.add(tags, "taprouter", i, 90+float64(i))
		r.add(tags, "kernel", i, 1)
	}
	if got, want := r.cell(r.find("g", "tags"), "taprouter"), "91, **0.91** (0.90-0.92)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := r.cell(r.find("g", "plain"), "taprouter"), "100 (100-100)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		modes  int
		wide   bool
	}{
		{"close together", []float64{0.9, 0.91, 0.92, 0.93, 0.95, 0.96, 0.97, 1}, 0, false},
		{"evenly wide", []float64{1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.4}, 0, true},
		{"two modes, in any order", []float64{0.9, 0.3, 0.92, 0.31, 0.95, 0.9, 0.33, 0.94}, 3, true},
		{"two modes that are near each other", []float64{1, 1.01, 1.02, 1.03, 1.3, 1.31, 1.32, 1.33}, 4, false},
		{"two modes too near to matter", []float64{1, 1.01, 1.02, 1.03, 1.2, 1.21, 1.22, 1.23}, 0, false},
		{"one outlier is no mode", []float64{0.3, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96}, 0, true},
		{"two of eight are a mode", []float64{0.3, 0.31, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96}, 2, true},
		{"too few to tell", []float64{0.3, 0.31, 0.9, 0.91, 0.92}, 0, false},
		{"nothing but zeros", []float64{0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
		{"zeros and one", []float64{0, 0, 0, 0, 0, 0, 0, 20}, 0, true},
		{"none", nil, 0, false},
	} {
		s := spreadOf(c.values)
		if s.modes != c.modes || s.wide != c.wide || s.shown() != (c.wide || c.modes > 0) {
			t.Errorf("%s: %+v, want modes %d, wide %v", c.name, s, c.modes, c.wide)
		}
		if !slices.IsSorted(s.sorted) || len(s.sorted) != len(c.values) {
			t.Errorf("%s: sorted: %v", c.name, s.sorted)
		}
	}
}

// Where the runs have two modes, neither the cell nor the list below the table hides one of them.
func TestModesAreShown(t *testing.T) {
	r := results{Contestants: []string{"kernel", "taprouter"}}
	k := row{Group: "g", Title: "VIP", Unit: "Gbit/s", Digits: 1}
	for i, v := range []float64{9, 3, 9.1, 3.1, 9.2, 9.3, 3.2, 9.4} {
		r.add(k, "kernel", i, 10)
		r.add(k, "taprouter", i, v)
	}
	table := r.table(false)
	for _, want := range []string{
		"| 10.0 | 9.1, two modes: **0.31** in 3, **0.92** in 5 (0.30-0.94) |",
		"| VIP | taprouter | ratio | 0.30 0.31 0.32 ‖ 0.90 0.91 0.92 0.93 0.94 |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in\n%s", want, table)
		}
	}
	if strings.Contains(table, "| VIP | kernel |") {
		t.Errorf("the kernel's runs do not scatter:\n%s", table)
	}
}

// sample are results with missing rounds, failures and two runs of the program.
func sample() results {
	r := results{Pieces: []piece{{Date: "2026-11-30", Revision: "abc", Runs: 8, Few: 3, Time: time.Second},
		{Date: "2026-12-01", Revision: "abd", Runs: 4, Few: 3, Time: 2 * time.Second}},
		Contestants: []string{"kernel", "taprouter"}}
	k := row{Group: "g", Title: "one", Unit: "k/s", Digits: 2}
	r.add(k, "kernel", 0, 1.25)
	r.add(k, "kernel", 2, 1.5)
	r.fail(k, "kernel")
	r.add(k, "taprouter", 1, 2)
	r.add(row{Group: "g", Title: "two", Lower: true, Ratio: true, Over: "one"}, "taprouter", 0, 3)
	r.Rows[1].Piece = 1
	return r
}

func TestResultsAreKept(t *testing.T) {
	dir := t.TempDir()
	want := sample()
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Rows[0].Values["kernel"]; len(v) != 3 || v[0] != 1.25 || !math.IsNaN(v[1]) || v[2] != 1.5 {
		t.Errorf("the kernel's rounds: %v", v)
	}
	if !reflect.DeepEqual(got.Pieces, want.Pieces) || !reflect.DeepEqual(got.Contestants, want.Contestants) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for i, k := range got.Rows {
		if k.row != want.Rows[i].row || k.Piece != want.Rows[i].Piece ||
			!reflect.DeepEqual(k.Failed, want.Rows[i].Failed) {
			t.Errorf("%+v, want %+v", k, want.Rows[i])
		}
	}
	if a, b := got.conditions()+got.table(true), want.conditions()+want.table(true); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	if none, err := readResults(t.TempDir()); err != nil || len(none.Rows) != 0 {
		t.Errorf("of nothing: %v, %v", none, err)
	}
	for _, text := range []string{"{", `{"rows":[{"title":"x","piece":1}]}`} {
		if err := os.WriteFile(filepath.Join(dir, resultsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readResults(dir); err == nil || !strings.Contains(err.Error(), resultsFile) {
			t.Errorf("%s: %v, which does not name the file", text, err)
		}
	}
}

// Rows that are measured again replace the old ones; a run of the program of which nothing is left is not told of.
func TestResultsOfSeveralRuns(t *testing.T) {
	newer := results{Pieces: []piece{{Date: "2026-12-02", Revision: "abe", Runs: 8}},
		Contestants: []string{"kernel", "x"}}
	newer.add(row{Group: "g", Title: "two"}, "kernel", 0, 7)
	newer.add(row{Group: "new", Title: "three"}, "x", 0, 8)
	newer.merge(sample())
	newer.sort([]row{{Group: "g", Title: "one"}, {Group: "g", Title: "two"}})
	var got []string
	for _, k := range newer.Rows {
		got = append(got, k.Title+" "+newer.Pieces[k.Piece].Revision)
	}
	if want := []string{"one abc", "two abe", "three abe"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := []string{"kernel", "x", "taprouter"}; !slices.Equal(newer.Contestants, want) {
		t.Errorf("contestants %q, want %q", newer.Contestants, want)
	}
	if v := newer.find("g", "two").Values; len(v) != 1 || v["kernel"][0] != 7 {
		t.Errorf("the row that was measured again: %v", v)
	}
	if len(newer.Pieces) != 2 {
		t.Errorf("runs of the program: %+v", newer.Pieces)
	}
	same := results{Pieces: []piece{newer.Pieces[1]}}
	same.add(row{Group: "g", Title: "four"}, "kernel", 0, 1)
	same.merge(newer)
	if len(same.Pieces) != 2 || same.find("g", "four").Piece != same.find("g", "one").Piece ||
		same.find("g", "two").Piece == same.find("g", "one").Piece {
		t.Errorf("runs of the program, two of them under the same conditions: %+v", same.Pieces)
	}
	newer = sample()
	newer.add(row{Group: "new", Title: "three"}, "x", 0, 8)
	text := newer.conditions()
	for _, want := range []string{
		"2026-11-30 at revision abc", "g (1 of 2); new.", "2026-12-01 at revision abd", "g (1 of 2).",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestParseIperf(t *testing.T) {
	got, err := parseIperf([]byte(`{"end":{"sum_sent":{"bits_per_second":9e9},
		"sum_received":{"seconds":1.5,"bits_per_second":8e9}}}`))
	if err != nil || got.Rate != 8e9 || got.Seconds != 1.5 {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		`{"error":"unable to connect"}`:                     "unable to connect",
		`{"end":{"sum_received":{"bits_per_second":0}}}`:    "nothing was received",
		"iperf3: interrupt":                                 "invalid character",
		`{"end":{"sum_sent":{"bits_per_second":9000000}}} `: "nothing was received",
	} {
		if _, err := parseIperf([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Each row has one measurement, each row that is compared with another one has it, and both come in the same rounds.
func TestMeasurements(t *testing.T) {
	b := &bench{runs: 8, time: time.Second, defaultCC: "bbr"}
	seen := map[string]measurement{}
	for _, m := range b.measurements() {
		for _, k := range m.rows {
			name := k.Group + ": " + k.Title
			if _, twice := seen[name]; twice {
				t.Errorf("%s is measured twice", name)
			}
			seen[name] = m
		}
	}
	compared := 0
	for name, m := range seen {
		for _, k := range m.rows {
			if k.Over == "" {
				continue
			}
			compared++
			if over, ok := seen[k.Group+": "+k.Over]; !ok || !over.mode.together(m.mode) {
				t.Errorf("%s is compared with %q, in other rounds or not at all", name, k.Over)
			}
		}
	}
	if compared != 3 {
		t.Errorf("%d rows are compared with others", compared)
	}
}

// Others than taprouter and its yardstick take part where they know how, and less often; variants in rows about GRO.
func TestContest(t *testing.T) {
	b := &bench{runs: 8, contestants: []contestant{kernel{}, kernel{groOff: true}, taprouterOn{},
		taprouterOn{groOff: true}, taprouterOn{raw: true}, peer{title: "peer"}, haproxy{}}}
	names := func(m measurement) (all []string) {
		for _, c := range b.contest(m) {
			all = append(all, c.name())
		}
		return all
	}
	for _, c := range []struct {
		who   string
		takes func(contestant) bool
		want  string
	}{
		{".", nil, "kernel; taprouter; taprouter, raw on veth; peer"},
		{".", isVariant, "kernel; kernel, GRO off; taprouter; taprouter, gro off; taprouter, raw on veth"},
		{".", isOurs, "taprouter; taprouter, raw on veth"},
		{".", isWeb, "kernel; taprouter; taprouter, raw on veth; HAProxy, TCP mode"},
		{"raw", isYardstickOrOurs, "kernel; taprouter, raw on veth"},
	} {
		b.who = regexp.MustCompile(c.who)
		if got := strings.Join(names(measurement{takes: c.takes}), "; "); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for c, want := range map[contestant]int{kernel{}: 8, taprouterOn{raw: true}: 8, peer{title: "peer"}: 3} {
		if got := b.often(measurement{}, c); got != want {
			t.Errorf("%s: %d times, want %d", c.name(), got, want)
		}
	}
	if got := b.often(measurement{runs: 20}, kernel{}); got != 20 {
		t.Errorf("a row of 20 runs: %d", got)
	}
}

// A plot has a dot for each value, also on the outermost bars.
func TestPlotShowsAllRuns(t *testing.T) {
	r := results{Contestants: []string{"kernel", "taprouter", "other"}}
	const runs = 8
	for _, title := range []string{"one", "two"} {
		for i := range runs {
			for _, who := range r.Contestants {
				r.add(row{Group: "g", Title: title, Unit: "k/s"}, who, i, float64(10+i))
			}
		}
	}
	file := filepath.Join(t.TempDir(), "g.svg")
	if err := r.plot(r.groups()[0], file); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(string(svg), "fill-opacity:0.69"), 2*3*runs; got != want {
		t.Errorf("%d dots, want %d\n%s", got, want, svg)
	}
}
