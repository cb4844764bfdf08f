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

// results are all values, by row and contestant, in the order of the runs.
type results struct {
	rows   []row
	values map[row]map[string][]float64
}

func (r *results) add(k row, who string, v float64) {
	if r.values == nil {
		r.values = map[row]map[string][]float64{}
	}
	if r.values[k] == nil {
		r.values[k] = map[string][]float64{}
		r.rows = append(r.rows, k)
	}
	r.values[k][who] = append(r.values[k][who], v)
}

func (r row) format(v float64) string { return strconv.FormatFloat(v, 'f', r.digits, 64) }

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// ratios are the values of each run divided by the kernel's in the same run.
func ratios(values, kernel []float64) []float64 {
	var all []float64
	for i := range min(len(values), len(kernel)) {
		all = append(all, values[i]/kernel[i])
	}
	return all
}

// A group is the rows of one part of the table, with the contestants that have values there.
type group struct {
	title string
	rows  []row
	who   []string
}

// groups are the parts of the table, in the order in which they were met.
func (b *bench) groups() []group {
	var all []group
	for _, k := range b.results.rows {
		i := slices.IndexFunc(all, func(g group) bool { return g.title == k.group })
		if i < 0 {
			i = len(all)
			all = append(all, group{title: k.group})
		}
		all[i].rows = append(all[i].rows, k)
	}
	for i := range all {
		g := &all[i]
		for _, c := range b.contestants {
			if slices.ContainsFunc(g.rows, func(k row) bool { return len(b.results.values[k][c.name()]) > 0 }) {
				g.who = append(g.who, c.name())
			}
		}
	}
	return all
}

// table writes the results as Markdown.
func (b *bench) table(plots bool) string {
	var s strings.Builder
	for _, g := range b.groups() {
		fmt.Fprintf(&s, "\n## %s\n\n| | unit |", g.title)
		for _, who := range g.who {
			fmt.Fprintf(&s, " %s |", who)
		}
		s.WriteString("\n|---|---|" + strings.Repeat("---:|", len(g.who)) + "\n")
		for _, k := range g.rows {
			unit := k.unit
			if k.lower {
				unit += " (less is better)"
			}
			fmt.Fprintf(&s, "| %s | %s |", k.title, strings.TrimSpace(unit))
			for _, who := range g.who {
				s.WriteString(" " + b.cell(k, who) + " |")
			}
			s.WriteString("\n")
		}
		if plots {
			fmt.Fprintf(&s, "\n![%s](%s)\n", g.title, g.file())
		}
	}
	return s.String()
}

// cell is a median, and the median of its ratios to the kernel's in the same run
// with their spread.
func (b *bench) cell(k row, who string) string {
	v := b.results.values[k][who]
	if len(v) == 0 {
		return "-"
	}
	text := k.format(median(v))
	r := ratios(v, b.results.values[k][kernel{}.name()])
	switch {
	case who == kernel{}.name() && !k.ratio:
		return text
	case len(r) == 0 || k.ratio:
		return fmt.Sprintf("%s (%s-%s)", text, k.format(slices.Min(v)), k.format(slices.Max(v)))
	}
	return fmt.Sprintf("%s, **%.2f** (%.2f-%.2f)", text, median(r), slices.Min(r), slices.Max(r))
}

// conditions say where and how it was measured.
func (b *bench) conditions() string {
	said := func(args ...string) string {
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			return "?"
		}
		return strings.TrimSpace(string(out))
	}
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
	return fmt.Sprintf("Measured %s at revision %s: %d processors (%s), Linux %s, %s,\n"+
		"default congestion control %s; %d runs of %v each, the contestants in turn.\n"+
		"A cell holds the median and, in bold, the median of the ratios to the kernel's value in the same run,\n"+
		"with the spread of the ratios. Where the kernel has no value, the cell has the spread of the values.\n",
		time.Now().UTC().Format("2006-01-02"), said("git", "describe", "--always", "--dirty"), runtime.NumCPU(), model,
		version,
		runtime.Version(), b.defaultCC, b.runs, b.time)
}

// report prints the table, and writes it with the plots if a directory was named.
func (b *bench) report() error {
	conditions := b.conditions() // before the plots change the tree
	fmt.Print(conditions, b.table(false))
	if b.out == "" {
		return nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	for _, g := range b.groups() {
		if err := b.plot(g, filepath.Join(b.out, g.file())); err != nil {
			return err
		}
	}
	var s bytes.Buffer
	s.WriteString("# Results\n\n[How to read them](../README.md).\n\n" + conditions + b.table(true))
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
