package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/lab"
	"github.com/taprouter/taprouter/router"
)

type checkCmd struct {
	File string `arg:"" help:"Topology file (TOML); - is standard input."`
	New  string `arg:"" optional:"" help:"With --diff: the file that is to take the place of the first one."`
	Diff bool   `help:"Show what a router that serves the first file would change to serve the second one."`
}

// Validate is kong's hook for what arguments cannot say one by one.
func (c *checkCmd) Validate() error {
	switch {
	case c.Diff && c.New == "":
		return errors.New("--diff takes two files: OLD NEW")
	case !c.Diff && c.New != "":
		return fmt.Errorf("it takes one file; did you mean check --diff %s %s?", c.File, c.New)
	case c.File == stdin && c.New == stdin:
		return errors.New("only one of the two files can be standard input")
	}
	return nil
}

// stdin is the argument that stands for standard input, and what messages call that.
const (
	stdin     = "-"
	stdinName = "<stdin>"
)

// Run checks a file and prints what it describes, or checks two and prints the difference.
func (c *checkCmd) Run(std streams, log *slog.Logger) error {
	if c.Diff {
		return c.diff(std, log)
	}
	f, err := open(c.File, std)
	if err != nil {
		return err
	}
	topo := f.Topology()
	warn(topo.Warnings, log)
	if faults := lab.Check(topo); len(faults) > 0 {
		return faults
	}
	summarize(std.out, topo)
	faults, kept := unsupported(f) // as `run` and `lab` see them
	if len(faults) > 0 {
		return faults
	}
	warn(kept, log)
	fmt.Fprintf(std.out, "%s is valid\n", f.Name())
	return nil
}

// unsupported lists what the router cannot do of a file, and what it keeps and does not obey. A lesson is refused both.
func unsupported(f *file.File) (faults, kept file.Faults) {
	if len(f.Topology().Steps) > 0 {
		return f.Faults(lab.Unsupported(f.State()))
	}
	return f.Faults(router.Unsupported(f.State()))
}

// open reads a topology file, or standard input, which names files of the working directory.
func open(path string, std streams) (*file.File, error) { return openWith(path, nil, std) }

// openWith is open for a file that has further physical networks.
func openWith(path string, more []file.PhysicalNetwork, std streams) (*file.File, error) {
	if path == stdin {
		return file.ReadIn(stdinName, ".", std.in, more)
	}
	return file.OpenWith(path, more)
}

// diff prints what the second file changes for a router that serves the first one. All faults of both files
// are told before anything is printed.
func (c *checkCmd) diff(std streams, log *slog.Logger) error {
	var faults file.Faults
	var files [2]*file.File
	for i, path := range []string{c.File, c.New} {
		f, err := open(path, std)
		var wrong file.Faults
		switch {
		case errors.As(err, &wrong):
			faults = append(faults, wrong...)
		case err != nil:
			return err
		default:
			faults = append(faults, lab.Check(f.Topology())...)
			refused, kept := unsupported(f)
			faults = append(faults, refused...)
			warn(kept, log)
			files[i] = f
		}
	}
	if len(faults) > 0 {
		return faults
	}
	from, next := files[0].State(), files[1]
	warn(next.Warnings(), log)
	d := from.Edit()
	if _, err := next.Edit(d, file.Over{Previous: files[0]}); err != nil {
		return err
	}
	to, found := d.Check()
	wrong, warnings := next.Faults(found)
	if len(wrong) > 0 {
		return wrong
	}
	known := next.Warnings()
	warn(slices.DeleteFunc(warnings, func(w file.Fault) bool { return slices.Contains(known, w) }), log)
	printPlan(std.out, from, to)
	printRestart(std.out, to, next.State())
	fmt.Fprintf(std.out, "%s and %s are valid\n", files[0].Name(), next.Name())
	return nil
}

// printPlan prints what changes from one State to another, object by object, with what that means for connections.
func printPlan(w io.Writer, from, to *config.State) {
	var count [3]int
	for _, l := range config.Describe(from, to, config.Diff(from, to)) {
		count[l.Op]++
		fmt.Fprintln(w, &l)
		for _, e := range l.Effects {
			fmt.Fprintf(w, "    %s\n", e.Text)
		}
	}
	if count == [3]int{} {
		fmt.Fprintln(w, "nothing changes")
		return
	}
	fmt.Fprintf(w, "%d %v, %d %v, %d %v\n", count[config.Added], config.Added, count[config.Changed], config.Changed,
		count[config.Removed], config.Removed)
}

// printRestart prints what a restart with the new file alone would choose otherwise.
func printRestart(w io.Writer, to, restarted *config.State) {
	lines := restartLines(to, restarted)
	for _, l := range lines {
		fmt.Fprintf(w, "after a restart: %v\n", &l)
	}
	if len(lines) > 0 {
		fmt.Fprintln(w, "A restart chooses anew what the file leaves open. State it in the file to keep it.")
	}
}

// restartLines lists what a restart with the file alone would choose otherwise: a router that runs keeps what it has
// chosen.
func restartLines(to, restarted *config.State) []config.Line {
	var lines []config.Line
	for _, l := range config.Describe(to, restarted, config.Diff(to, restarted)) {
		l.Attributes = slices.DeleteFunc(l.Attributes, func(a config.Attribute) bool { return a.Name == "position" })
		if l.Effects = nil; len(l.Attributes) > 0 { // a restart ends all connections anyway
			lines = append(lines, l)
		}
	}
	return lines
}
