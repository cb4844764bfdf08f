package lab

import (
	"fmt"
	"io"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// A printer tells the lesson.
type printer struct {
	out   io.Writer
	color bool
}

const (
	bold   = "1"
	red    = "31"
	green  = "32"
	cyan   = "36"
	indent = "    "
	width  = 96 // of explanations, in columns
)

// paint puts text into a colour, on terminals.
func (p printer) paint(code, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title prints a step's heading.
func (p printer) title(n int, s *config.Step) {
	title := s.Title
	if title == "" {
		title = s.Do
	}
	fmt.Fprintf(p.out, "%s\n", p.paint(bold, fmt.Sprintf("%d. %s", n, title)))
	for _, line := range wrap(s.Explain, width-len(indent)) {
		fmt.Fprintf(p.out, "%s%s\n", indent, line)
	}
}

// wrap breaks a text into lines. East Asian text has no spaces to break at and
// stays as it is written.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// prompt prints who does what.
func (p printer) prompt(s *config.Step) {
	on := s.On
	if on == "" {
		on = "taprouter"
	}
	fmt.Fprintf(p.out, "%s%s\n", indent, p.paint(cyan, on+"$ "+s.Do))
}

// output prints what a command has printed.
func (p printer) output(text string) {
	p.list(strings.Split(strings.TrimRight(text, "\n"), "\n"))
}

func (p printer) list(lines []string) {
	for _, line := range lines {
		if line != "" {
			fmt.Fprintf(p.out, "%s%s\n", indent, line)
		}
	}
}

func (p printer) passed(text string) {
	fmt.Fprintf(p.out, "%s%s %s\n", indent, p.paint(green, "ok:"), text)
}

func (p printer) failed(text string) {
	fmt.Fprintf(p.out, "%s%s %s\n", indent, p.paint(red, "FAILED:"), text)
}

// summary is the last line.
func (p printer) summary(steps, failed int) {
	noun := "steps"
	if steps == 1 {
		noun = "step"
	}
	if failed == 0 {
		fmt.Fprintf(p.out, "\n%s\n", p.paint(green, fmt.Sprintf("%d %s, all as expected", steps, noun)))
		return
	}
	fmt.Fprintf(p.out, "\n%s\n", p.paint(red, fmt.Sprintf("%d of %d %s FAILED", failed, steps, noun)))
}
