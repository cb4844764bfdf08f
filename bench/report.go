package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (r row) format(v float64) string { return strconv.FormatFloat(v, 'f', r.Digits, 64) }

// A group is the rows of one part of the table, with the contestants that have values there.
type group struct {
	title string
	rows  []*measuredRow
	who   []string
}

// groups are the parts of the table, in the order in which they were met.
func (r *results) groups() []group {
	var all []group
	for _, k := range r.Rows {
		i := slices.IndexFunc(all, func(g group) bool { return g.title == k.Group })
		if i < 0 {
			i = len(all)
			all = append(all, group{title: k.Group})
		}
		all[i].rows = append(all[i].rows, k)
	}
	for i := range all {
		g := &all[i]
		for _, who := range r.Contestants {
			takesPart := func(k *measuredRow) bool { return len(k.Values[who]) > 0 || k.Failed[who] > 0 }
			if slices.ContainsFunc(g.rows, takesPart) {
				g.who = append(g.who, who)
			}
		}
	}
	return all
}

// table writes the results as Markdown.
func (r *results) table(plots bool) string {
	var s strings.Builder
	for _, g := range r.groups() {
		fmt.Fprintf(&s, "\n## %s\n\n", g.title)
		if note := notes[g.title]; note != "" {
			s.WriteString(note + "\n\n")
		}
		s.WriteString("| | unit |")
		for _, who := range g.who {
			fmt.Fprintf(&s, " %s |", who)
		}
		s.WriteString("\n|---|---|" + strings.Repeat("---:|", len(g.who)) + "\n")
		for _, k := range g.rows {
			unit := k.Unit
			if k.Lower {
				unit += " (less is better)"
			}
			fmt.Fprintf(&s, "| %s | %s |", k.Title, strings.TrimSpace(unit))
			for _, who := range g.who {
				s.WriteString(" " + r.cell(k, who) + " |")
			}
			s.WriteString("\n")
		}
		s.WriteString(r.scattered(g))
		if plots {
			fmt.Fprintf(&s, "\n![%s](%s)\n", g.title, g.file())
		}
	}
	return s.String()
}

// compared are the numbers by which a contestant is judged in a row, and how they are written: its ratios, or its
// values where nothing is there to compare with.
func (r *results) compared(k *measuredRow, who string) (numbers []float64, format func(float64) string) {
	if ratios := r.ratios(k, who); len(ratios) > 0 {
		return ratios, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	}
	return k.Values[who].measured(), k.format
}

// cell is a median, and the median of its ratios to the yardstick's in the same rounds, with their spread. Where there
// are two modes, the cell has a median of each.
func (r *results) cell(k *measuredRow, who string) string {
	failed := ""
	if n := k.Failed[who]; n > 0 {
		failed = fmt.Sprintf("; %d failed", n)
	}
	values := k.Values[who].measured()
	if len(values) == 0 {
		return "-" + failed
	}
	numbers, format := r.compared(k, who)
	compares := len(r.ratios(k, who)) > 0
	s := spreadOf(numbers)
	ends := fmt.Sprintf("(%s-%s)", format(s.sorted[0]), format(s.sorted[len(s.sorted)-1]))
	text := k.format(median(values))
	switch {
	case s.modes > 0:
		low, high := s.sorted[:s.modes], s.sorted[s.modes:]
		modes := fmt.Sprintf("two modes: **%s** in %d, **%s** in %d %s", format(median(low)), len(low),
			format(median(high)), len(high), ends)
		if compares {
			modes = text + ", " + modes
		}
		text = modes
	case compares:
		text += fmt.Sprintf(", **%s** %s", format(median(numbers)), ends)
	case who != kernel{}.name() || k.Ratio:
		text += " " + ends
	}
	return text + failed
}

// scattered lists all runs of a group where a median would hide something.
func (r *results) scattered(g group) string {
	var s strings.Builder
	for _, k := range g.rows {
		for _, who := range g.who {
			numbers, format := r.compared(k, who)
			lie := spreadOf(numbers)
			if !lie.shown() {
				continue
			}
			what := "ratio"
			if len(r.ratios(k, who)) == 0 {
				what = strings.TrimSpace(k.Unit)
			}
			var list []string
			for i, v := range lie.sorted {
				if i > 0 && i == lie.modes {
					list = append(list, "‖")
				}
				list = append(list, format(v))
			}
			fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", k.Title, who, what, strings.Join(list, " "))
		}
	}
	if s.Len() == 0 {
		return ""
	}
	return "\nRuns that scatter, all of them, sorted:\n\n| | | | |\n|---|---|---|---|\n" + s.String()
}

// said is what a command prints; "?" if it fails.
func said(args ...string) string {
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}

// revision is the commit that is measured. A former report makes no other tree of it.
func revision() string {
	at := said("git", "describe", "--always")
	if said("git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results") != "" {
		at += "-dirty"
	}
	return at
}

// here describes this run of the program.
func (b *bench) here() piece {
	model := "?"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	version, _, _ := strings.Cut(said("uname", "-r"), "-")
	return piece{
		Date: time.Now().UTC().Format("2006-01-02"), Revision: revision(), Processors: runtime.NumCPU(), Model: model,
		Linux: version, Go: runtime.Version(), CC: b.defaultCC, Runs: b.runs, Few: b.few(), Time: b.time,
	}
}

func (p piece) String() string {
	return fmt.Sprintf("%s at revision %s: %d processors (%s), Linux %s, %s,\n"+
		"default congestion control %s; rounds: %d, of %v each; of other routers and rows that take long: %d", p.Date,
		p.Revision, p.Processors, p.Model, p.Linux, p.Go, p.CC, p.Runs, p.Time, p.Few)
}

// conditions say where and how it was measured.
func (r *results) conditions() string {
	var s strings.Builder
	if len(r.Pieces) == 1 {
		fmt.Fprintf(&s, "Measured %s.\n", r.Pieces[0])
	} else {
		s.WriteString("Measured in several runs of the program:\n\n")
		for i, p := range r.Pieces {
			fmt.Fprintf(&s, "* %s.\n  Rows: %s\n", p, r.titles(i))
		}
		s.WriteString("\n")
	}
	s.WriteString("The contestants come in turn, in another order each round.\n" +
		"A cell holds the median and, in bold, the median of the ratios to the kernel's value in the same round,\n" +
		"with the least and the greatest ratio. Where there is nothing to compare with, it has the values' spread.\n" +
		"Where the runs have two modes, it has the median of each, and how many runs were there.\n")
	return s.String()
}

// titles are the groups of which rows come from one run of the program, and the number of these rows.
func (r *results) titles(piece int) string {
	var list []string
	for _, g := range r.groups() {
		n := 0
		for _, k := range g.rows {
			if k.Piece == piece {
				n++
			}
		}
		switch n {
		case 0:
		case len(g.rows):
			list = append(list, g.title)
		default:
			list = append(list, fmt.Sprintf("%s (%d of %d)", g.title, n, len(g.rows)))
		}
	}
	return strings.Join(list, "; ") + "."
}

// report prints the table. If a directory was named, it keeps the values there, and writes the table with the plots.
func (b *bench) report() error {
	r := &b.results
	fmt.Print(r.conditions(), r.table(false))
	if b.out == "" {
		return nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := r.save(b.out); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(b.out, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old { // also of groups that are no more
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for _, g := range r.groups() {
		if err := r.plot(g, filepath.Join(b.out, g.file())); err != nil {
			return err
		}
	}
	var s bytes.Buffer
	fmt.Fprintf(&s, "# Results\n\n[How to read them](../README.md). All values are in [%[1]s](%[1]s).\n\n%s%s",
		resultsFile, r.conditions(), r.table(true))
	return os.WriteFile(filepath.Join(b.out, "README.md"), s.Bytes(), 0o644)
}

// file is the name of the group's plot.
func (g group) file() string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(g.title))
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return strings.Trim(name, "-") + ".svg"
}
