package lab

import (
	"bytes"
	"fmt"
	"io"

	"github.com/taprouter/taprouter/config/file"
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
func (p printer) title(n int, s *file.Step) {
	fmt.Fprintf(p.out, "%s\n", p.paint(bold, fmt.Sprintf("%d. %s", n, heading(s))))
	for _, line := range wrap(s.Explain, width-len(indent)) {
		fmt.Fprintf(p.out, "%s%s\n", indent, line)
	}
}

// heading is what a step is called.
func heading(s *file.Step) string {
	if s.Title == "" {
		return s.Do
	}
	return s.Title
}

// prompt prints the instance and its command, as a shell's prompt does.
func (p printer) prompt(s *file.Step) {
	on := s.On
	if on == "" {
		on = "taprouter"
	}
	fmt.Fprintf(p.out, "%s%s\n", indent, p.paint(cyan, on+"$ "+s.Do))
}

// A told output is printed line by line, as it comes, and kept.
type told struct {
	printer
	text    bytes.Buffer
	printed int // so many bytes of it
}

// Write implements io.Writer.
func (t *told) Write(b []byte) (int, error) {
	t.text.Write(b)
	for {
		rest := t.text.Bytes()[t.printed:]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			return len(b), nil
		}
		t.list([]string{string(rest[:n])})
		t.printed += n + 1
	}
}

// end prints what has no end of line.
func (t *told) end() {
	t.list([]string{string(t.text.Bytes()[t.printed:])})
	t.printed = t.text.Len()
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
