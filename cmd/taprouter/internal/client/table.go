package client

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// The narrowest columns that a table is made of.
const (
	narrowest     = 8
	narrowestShow = 16
)

// printTable prints a table as OpenStack's client does. An empty one prints an empty line, unless its head is asked
// for.
func printTable(w io.Writer, s *sheet, opt *tableOptions, printEmpty bool) error {
	if len(s.rows) == 0 && !printEmpty {
		_, err := fmt.Fprintln(w)
		return err
	}
	t := table.NewWriter()
	style := table.StyleDefault
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	head := make(table.Row, len(s.columns))
	configs := make([]table.ColumnConfig, len(s.columns))
	widths := make([]int, len(s.columns))
	for i, c := range s.columns {
		head[i] = c.name
		configs[i] = table.ColumnConfig{Number: i + 1}
		widths[i] = text.LongestLineLen(c.name)
		if len(s.rows) > 0 {
			if first := s.rows[0][i]; isNumber(first.value) && !first.formatted() {
				configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
			}
		}
	}
	t.AppendHeader(head)
	texts := make([][]string, len(s.rows))
	for r, cells := range s.rows {
		texts[r] = make([]string, len(cells))
		for i, c := range cells {
			texts[r][i] = safe(pythonText(c.human()))
			widths[i] = max(widths[i], text.LongestLineLen(texts[r][i]))
		}
	}
	least := narrowest
	if s.columns[0].name == "Field" {
		least = narrowestShow
	}
	most := shrink(widths, opt.width(w), least)
	for i, n := range most {
		configs[i].WidthMin = min(n, widths[i])
	}
	for _, cells := range texts {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = wrap(c, most[i])
		}
		t.AppendRow(r)
	}
	t.SetColumnConfigs(configs)
	_, err := fmt.Fprintln(w, strings.TrimRight(t.Render(), "\n"))
	return err
}

func isNumber(v any) bool {
	_, ok := v.(json.Number)
	return ok
}

// width is how wide a table may be; 0 is as wide as it needs.
func (o *tableOptions) width(w io.Writer) int {
	if o.MaxWidth > 0 || !o.FitWidth {
		return max(o.MaxWidth, 0)
	}
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := terminalWidth(f)
	if err != nil {
		return 0
	}
	return size
}

// shrink says how wide each column may be at most, 0 being no limit, so that a table fits. Columns that are narrower
// than their share stay as they are; the others get the rest in equal parts.
func shrink(widths []int, total, least int) []int {
	most := make([]int, len(widths))
	sum := 1
	for _, w := range widths {
		sum += w + 3
	}
	if total <= 0 || sum <= total {
		return most
	}
	usable := max(0, total-1-3*len(widths))
	share := usable / len(widths)
	rest := usable
	var wide []int
	for i, w := range widths {
		if w <= share {
			rest -= w
		} else {
			wide = append(wide, i)
		}
	}
	if len(wide) == 0 {
		return most
	}
	each := floorDiv(rest, len(wide))
	for _, i := range wide[:len(wide)-1] {
		most[i] = max(least, each)
		rest -= each
	}
	most[wide[len(wide)-1]] = max(least, rest)
	return most
}

// wrap breaks the lines of a text so that they have a width, at blanks and after hyphens if they can be, as Python's
// textwrap does. 0 is no limit.
func wrap(s string, width int) string {
	if width <= 0 {
		return s
	}
	var all []string
	for line := range strings.SplitSeq(s, "\n") {
		all = append(all, wrapLine(line, width)...)
	}
	return strings.Join(all, "\n")
}

// chunks are what a line may be broken between: blanks, words, and parts of words up to a hyphen between letters.
func chunks(line string) (all []string) {
	start, before := 0, ' '
	for i, r := range line {
		blank := unicode.IsSpace(r)
		if i > start && (blank != unicode.IsSpace(before) || before == '-' && unicode.IsLetter(r) && i > start+1 &&
			unicode.IsLetter(rune(line[i-2]))) {
			all = append(all, line[start:i])
			start = i
		}
		before = r
	}
	if start < len(line) {
		all = append(all, line[start:])
	}
	return all
}

func wrapLine(line string, width int) (lines []string) {
	current, used := "", 0
	end := func() {
		lines = append(lines, strings.TrimRight(current, " "))
		current, used = "", 0
	}
	for _, c := range chunks(line) {
		n := text.StringWidth(c)
		if used > 0 && used+n > width && (n <= width || used == width) {
			end()
		}
		if used == 0 && strings.TrimSpace(c) == "" && len(lines) > 0 {
			continue
		}
		for used+n > width { // longer than a line
			head := text.Trim(c, max(width-used, 1))
			if i := strings.LastIndexByte(head, '-'); i > 0 && strings.Trim(head[:i], "-") != "" {
				head = head[:i+1]
			}
			if head == "" {
				_, size := utf8.DecodeRuneInString(c) // wider than a line
				head = c[:size]
			}
			current += head
			c = c[len(head):]
			n = text.StringWidth(c)
			end()
		}
		current += c
		used += n
	}
	if used > 0 || len(lines) == 0 {
		end()
	}
	return lines
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
