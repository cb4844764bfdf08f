package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A row is one line of the table: a measured quantity and its unit.
type row struct {
	Group  string `json:"group"` // heads a part of the table, and is a plot
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	Lower  bool   `json:"lower,omitempty"` // less is better
	Ratio  bool   `json:"ratio,omitempty"` // a ratio already
	Digits int    `json:"digits,omitempty"`
	// Over is the title of a row of the same group. Values are compared with the same contestant's there; else with
	// the kernel's in this row.
	Over string `json:"over,omitempty"`
}

// rounds are one contestant's values in a row, one for each round. NaN stands for a round in which it was not
// measured, or failed.
type rounds []float64

// MarshalJSON writes null for a value that is missing.
func (r rounds) MarshalJSON() ([]byte, error) {
	list := make([]*float64, len(r))
	for i := range r {
		if !math.IsNaN(r[i]) {
			list[i] = &r[i]
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *rounds) UnmarshalJSON(b []byte) error {
	var list []*float64
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*r = make(rounds, len(list))
	for i, v := range list {
		(*r)[i] = math.NaN()
		if v != nil {
			(*r)[i] = *v
		}
	}
	return nil
}

// measured are the values that are there, in the order of the rounds.
func (r rounds) measured() []float64 {
	return slices.DeleteFunc(slices.Clone(r), math.IsNaN)
}

// ratios are the values divided by a yardstick's of the same rounds.
func (r rounds) ratios(yardstick rounds) []float64 {
	var all []float64
	for i := range min(len(r), len(yardstick)) {
		if v := r[i] / yardstick[i]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			all = append(all, v)
		}
	}
	return all
}

// A measuredRow is a row with its values.
type measuredRow struct {
	row
	Piece  int               `json:"piece"` // index of the run of the program that measured it
	Values map[string]rounds `json:"values"`
	Failed map[string]int    `json:"failed,omitempty"` // how many rounds of a contestant failed
}

// A piece is one run of the program: where, when and how it measured.
type piece struct {
	Date       string        `json:"date"`
	Revision   string        `json:"revision"`
	Processors int           `json:"processors"`
	Model      string        `json:"model"`
	Linux      string        `json:"linux"`
	Go         string        `json:"go"`
	CC         string        `json:"congestion_control"` // the machine's default
	Runs       int           `json:"runs"`
	Few        int           `json:"few"` // of rows and contestants that are measured less often
	Time       time.Duration `json:"time"`
}

// results are all values of one or several runs of the program. They are what a report is made of.
type results struct {
	Pieces      []piece        `json:"pieces"`
	Contestants []string       `json:"contestants"` // in the order of the columns
	Rows        []*measuredRow `json:"rows"`
}

// find returns a row, or nil.
func (r *results) find(group, title string) *measuredRow {
	i := slices.IndexFunc(r.Rows, func(k *measuredRow) bool { return k.Group == group && k.Title == title })
	if i < 0 {
		return nil
	}
	return r.Rows[i]
}

// of returns a row, which is made if there is none.
func (r *results) of(k row) *measuredRow {
	m := r.find(k.Group, k.Title)
	if m == nil {
		m = &measuredRow{row: k, Values: map[string]rounds{}, Failed: map[string]int{}}
		r.Rows = append(r.Rows, m)
	}
	return m
}

// add notes a value. Rounds count from 0.
func (r *results) add(k row, who string, round int, v float64) {
	m := r.of(k)
	for len(m.Values[who]) <= round {
		m.Values[who] = append(m.Values[who], math.NaN())
	}
	m.Values[who][round] = v
}

// fail notes that a contestant has no value in a round, because it failed.
func (r *results) fail(k row, who string) { r.of(k).Failed[who]++ }

// ratios are a contestant's values in a row divided by their yardstick's; none if the row has no yardstick.
func (r *results) ratios(k *measuredRow, who string) []float64 {
	switch {
	case k.Ratio:
		return nil
	case k.Over != "":
		if other := r.find(k.Group, k.Over); other != nil {
			return k.Values[who].ratios(other.Values[who])
		}
		return nil
	case who == kernel{}.name():
		return nil
	}
	return k.Values[who].ratios(k.Values[kernel{}.name()])
}

// merge adds what older results have beyond these. A row that was measured anew replaces the old one.
func (r *results) merge(older results) {
	first := len(r.Pieces)
	r.Pieces = append(r.Pieces, older.Pieces...)
	for _, k := range older.Rows {
		if r.find(k.Group, k.Title) == nil {
			k.Piece += first
			r.Rows = append(r.Rows, k)
		}
	}
	for _, who := range older.Contestants {
		if !slices.Contains(r.Contestants, who) {
			r.Contestants = append(r.Contestants, who)
		}
	}
	r.dropUnused()
}

// dropUnused forgets the runs of the program of which no row is left. Runs under the same conditions are one.
func (r *results) dropUnused() {
	var kept []piece
	number := map[int]int{}
	for i, p := range r.Pieces {
		if !slices.ContainsFunc(r.Rows, func(k *measuredRow) bool { return k.Piece == i }) {
			continue
		}
		same := slices.Index(kept, p)
		if same < 0 {
			same = len(kept)
			kept = append(kept, p)
		}
		number[i] = same
	}
	r.Pieces = kept
	for _, k := range r.Rows {
		k.Piece = number[k.Piece]
	}
}

// sort puts rows in the order of a full run. Those that it does not know come last, in their group and in all.
func (r *results) sort(rows []row) {
	place := func(is func(row) bool) int {
		if i := slices.IndexFunc(rows, is); i >= 0 {
			return i
		}
		return len(rows)
	}
	slices.SortStableFunc(r.Rows, func(a, b *measuredRow) int {
		of := func(k *measuredRow) (group, title int) {
			return place(func(o row) bool { return o.Group == k.Group }),
				place(func(o row) bool { return o.Group == k.Group && o.Title == k.Title })
		}
		ag, at := of(a)
		bg, bt := of(b)
		return cmp.Or(cmp.Compare(ag, bg), cmp.Compare(at, bt))
	})
}

// resultsFile is where the values are kept, in the directory of the report.
const resultsFile = "results.json"

// readResults reads what a directory has; it may have none.
func readResults(dir string) (results, error) {
	var r results
	file := filepath.Join(dir, resultsFile)
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	for _, k := range r.Rows {
		if k.Piece < 0 || k.Piece >= len(r.Pieces) {
			return r, fmt.Errorf("%s: row %q of a run that is not in it", file, k.Title)
		}
		if k.Values == nil {
			k.Values = map[string]rounds{}
		}
		if k.Failed == nil {
			k.Failed = map[string]int{}
		}
	}
	return r, nil
}

// save writes the results, a row in a line.
func (r *results) save(dir string) error {
	var s bytes.Buffer
	s.WriteString("{\n")
	for _, part := range []struct {
		name string
		v    any
	}{{"pieces", r.Pieces}, {"contestants", r.Contestants}} {
		b, err := json.Marshal(part.v)
		if err != nil {
			return err
		}
		fmt.Fprintf(&s, "%q: %s,\n", part.name, b)
	}
	s.WriteString("\"rows\": [\n")
	for i, k := range r.Rows {
		b, err := json.Marshal(k)
		if err != nil {
			return err
		}
		s.Write(b)
		if i < len(r.Rows)-1 {
			s.WriteByte(',')
		}
		s.WriteByte('\n')
	}
	s.WriteString("]\n}\n")
	return os.WriteFile(filepath.Join(dir, resultsFile), s.Bytes(), 0o644)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// A spread is how the values of several runs lie.
type spread struct {
	sorted []float64
	modes  int  // index of the first value of the upper of two modes; 0: there is one mode
	wide   bool // the largest is more than wideSpread times the smallest
}

const (
	enoughToTell = 6    // so many values say something of how they lie
	wideSpread   = 1.5  // largest over smallest
	gapOfModes   = 0.4  // the least gap between two modes, as a part of all the range
	modesApart   = 1.25 // largest over smallest, with two modes
)

// spreadOf looks how values lie. Two modes have a wide gap between them, and each has two values at least: a single
// outlier is no mode.
func spreadOf(v []float64) spread {
	s := spread{sorted: slices.Sorted(slices.Values(v))}
	n := len(s.sorted)
	if n < enoughToTell {
		return s
	}
	least, most := s.sorted[0], s.sorted[n-1]
	s.wide = most > wideSpread*least
	if most <= modesApart*least {
		return s
	}
	widest := gapOfModes * (most - least)
	for i := 2; i <= n-2; i++ {
		if gap := s.sorted[i] - s.sorted[i-1]; gap > widest {
			s.modes, widest = i, gap
		}
	}
	return s
}

// shown reports whether a median would hide something.
func (s spread) shown() bool { return s.wide || s.modes > 0 }
