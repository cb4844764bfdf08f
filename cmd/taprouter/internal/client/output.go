package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// listOptions choose how a list is printed.
type listOptions struct {
	Format         string   `short:"f" enum:"csv,json,table,value,yaml" default:"table" placeholder:"FORMAT" group:"Output:" help:"How to print: table, json, yaml, csv or value."`
	Column         []string `short:"c" sep:"none" placeholder:"COLUMN" group:"Output:" help:"Print this column only; repeat it for more."`
	SortColumn     []string `sep:"none" placeholder:"COLUMN" group:"Output:" help:"Sort by this column; repeat it for more, the first one counts most."`
	SortAscending  bool     `xor:"sort" group:"Output:" help:"Sort upwards, as without this."`
	SortDescending bool     `xor:"sort" group:"Output:" help:"Sort downwards."`
	Quote          string   `enum:"all,minimal,none,nonnumeric" default:"nonnumeric" placeholder:"WHAT" group:"Output:" help:"What csv quotes: all, minimal, none or nonnumeric."`
	PrintEmpty     bool     `group:"Output:" help:"Print the table's head though it has no rows."`
	tableOptions
}

// showOptions choose how one object is printed.
type showOptions struct {
	Format string   `short:"f" enum:"json,table,value,yaml" default:"table" placeholder:"FORMAT" group:"Output:" help:"How to print: table, json, yaml or value."`
	Column []string `short:"c" sep:"none" placeholder:"COLUMN" group:"Output:" help:"Print this column only; repeat it for more."`
	tableOptions
}

// tableOptions are those of lists and of single objects.
type tableOptions struct {
	Noindent bool `group:"Output:" help:"Print json in one line."`
	MaxWidth int  `env:"CLIFF_MAX_TERM_WIDTH" placeholder:"COLUMNS" group:"Output:" help:"Make the table this narrow; 0 for as wide as it needs."`
	FitWidth bool `env:"CLIFF_FIT_WIDTH" group:"Output:" help:"Make the table as narrow as the terminal."`
}

// A sheet is what a command prints: columns and rows.
type sheet struct {
	columns []column
	rows    [][]cell
}

// choose leaves the columns that were asked for, in their own order.
func (s *sheet) choose(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var keep []int
	for i, c := range s.columns {
		if slices.Contains(names, c.name) {
			keep = append(keep, i)
		}
	}
	if len(keep) == 0 {
		return inItsWords("No recognized column names in %s. Recognized columns are %s.", pythonList(names),
			pythonTuple(s.columns))
	}
	columns := make([]column, len(keep))
	for i, k := range keep {
		columns[i] = s.columns[k]
	}
	s.columns = columns
	for r, cells := range s.rows {
		chosen := make([]cell, len(keep))
		for i, k := range keep {
			chosen[i] = cells[k]
		}
		s.rows[r] = chosen
	}
	return nil
}

func pythonList(names []string) string {
	var list []any
	for _, n := range names {
		list = append(list, n)
	}
	return pythonText(list)
}

func pythonTuple(columns []column) string {
	var all []string
	for _, c := range columns {
		var b strings.Builder
		quotePython(&b, c.name)
		all = append(all, b.String())
	}
	if len(all) == 1 {
		return "(" + all[0] + ",)"
	}
	return "(" + strings.Join(all, ", ") + ")"
}

// sort orders the rows by columns, the first one being the most important. Unknown ones are passed over.
func (s *sheet) sort(names []string, descending bool) {
	for _, name := range slices.Backward(names) {
		i := slices.IndexFunc(s.columns, func(c column) bool { return c.name == name })
		if i < 0 {
			continue
		}
		slices.SortStableFunc(s.rows, func(a, b []cell) int {
			c := compareValues(a[i].value, b[i].value)
			if descending {
				return -c
			}
			return c
		})
	}
}

// compareValues orders numbers by size and all else as text; null comes last.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(fmt.Sprint(a == nil), fmt.Sprint(b == nil)) // false before true
	}
	x, isX := a.(json.Number)
	y, isY := b.(json.Number)
	if isX && isY {
		p, _ := x.Float64() // 0 is as good as any for what is no number
		q, _ := y.Float64()
		return cmp.Compare(p, q)
	}
	return cmp.Compare(pythonText(a), pythonText(b))
}

// printList prints a list.
func printList(w io.Writer, s *sheet, opt *listOptions) error {
	s.sort(opt.SortColumn, opt.SortDescending)
	if err := s.choose(opt.Column); err != nil {
		return err
	}
	switch opt.Format {
	case "json":
		return printJSON(w, s.objects(), opt.Noindent)
	case "yaml":
		list := []any{}
		for _, o := range s.objects() {
			list = append(list, o.(*object).sorted())
		}
		return printYAML(w, list)
	case "csv":
		return printCSV(w, s, opt.Quote)
	case "value":
		for _, cells := range s.rows {
			words := make([]string, len(cells))
			for i, c := range cells {
				words[i] = safe(pythonText(c.machine()))
			}
			if _, err := fmt.Fprintln(w, strings.Join(words, " ")); err != nil {
				return err
			}
		}
		return nil
	}
	return printTable(w, s, &opt.tableOptions, opt.PrintEmpty)
}

// printOne prints one object.
func printOne(w io.Writer, s *sheet, opt *showOptions) error {
	if err := s.choose(opt.Column); err != nil {
		return err
	}
	switch opt.Format {
	case "json":
		return printJSON(w, s.objects()[0], opt.Noindent)
	case "yaml":
		return printYAML(w, s.objects()[0])
	case "value":
		for _, c := range s.rows[0] {
			if _, err := fmt.Fprintln(w, safe(pythonText(c.machine()))); err != nil {
				return err
			}
		}
		return nil
	}
	turned := &sheet{columns: []column{{name: "Field"}, {name: "Value"}}}
	for i, c := range s.columns {
		value := s.rows[0][i]
		turned.rows = append(turned.rows, []cell{{value: c.name}, {value: pythonText(value.human()), form: form{}}})
	}
	return printTable(w, turned, &opt.tableOptions, false)
}

// objects is the rows for programs.
func (s *sheet) objects() []any {
	all := []any{}
	for _, cells := range s.rows {
		o := newObject()
		for i, c := range cells {
			o.set(s.columns[i].name, c.machine())
		}
		all = append(all, o)
	}
	return all
}

func printJSON(w io.Writer, v any, oneLine bool) error {
	indent := 2
	if oneLine {
		indent = 0
	}
	if list, ok := v.([]any); ok {
		v = list
	}
	_, err := fmt.Fprintln(w, jsonText(v, indent))
	return err
}

// printCSV prints a list as Python's csv module does.
func printCSV(w io.Writer, s *sheet, quote string) error {
	head := make([]string, len(s.columns))
	for i, c := range s.columns {
		head[i] = csvField(c.name, false, quote)
	}
	if _, err := fmt.Fprintln(w, strings.Join(head, ",")); err != nil {
		return err
	}
	for _, cells := range s.rows {
		fields := make([]string, len(cells))
		for i, c := range cells {
			text := pythonText(c.machine())
			if c.value == nil && !c.formatted() {
				text = ""
			}
			fields[i] = csvField(safe(text), isNumeric(c.value) && !c.formatted(), quote)
		}
		if _, err := fmt.Fprintln(w, strings.Join(fields, ",")); err != nil {
			return err
		}
	}
	return nil
}

// isNumeric reports whether Python takes a value for a number.
func isNumeric(v any) bool {
	switch v.(type) {
	case json.Number, bool:
		return true
	}
	return false
}

func csvField(text string, number bool, quote string) string {
	special := strings.ContainsAny(text, "\",\n\r\\")
	switch {
	case quote == "none":
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `,`, `\,`, "\n", "\\\n").Replace(text)
	case quote == "minimal" && !special, quote == "nonnumeric" && number:
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `""`).Replace(text) + `"`
}
