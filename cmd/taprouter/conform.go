package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/router/conform"
)

type conformCmd struct {
	Checks string   `arg:"" optional:"" help:"Only the checks whose name matches a regular expression." placeholder:"REGEXP"`
	Target []string `help:"${targets}" enum:"tap,kernel" placeholder:"TARGET"`
	Format string   `short:"f" help:"How to print the results: text, markdown or json." enum:"text,markdown,json" default:"text" placeholder:"FORMAT"`
	List   bool     `help:"List the checks, and play none."`

	selected []conform.Check
}

// Help tells what the exit status means.
func (*conformCmd) Help() string {
	return "The exit status is 1 if taprouter fails a check. What Linux does with it is for comparison."
}

// Validate finds the checks.
func (c *conformCmd) Validate() (err error) {
	c.selected, err = conform.Select(c.Checks)
	if err == nil && len(c.selected) == 0 {
		err = fmt.Errorf("no check is called like %q: `taprouter conform --list` has them all", c.Checks)
	}
	return err
}

// errNotConforming ends the program when the table has told why.
var errNotConforming = errors.New("taprouter fails a check")

// Run plays the suite and prints its table.
func (c *conformCmd) Run(ctx context.Context, std streams) error {
	if c.List {
		for i := range c.selected {
			fmt.Fprintf(std.out, "%s\t%s\t%s\n", c.selected[i].ID(), c.selected[i].Level, c.selected[i].Source)
		}
		return nil
	}
	targets := []conform.Target{conform.Memory()}
	own := 1
	if slices.Contains(c.Target, "tap") {
		targets = append(targets, conform.TAPs())
		own++
	}
	if slices.Contains(c.Target, "kernel") {
		targets = append(targets, conform.Kernel())
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	report, err := conform.RunAll(ctx, targets, c.selected)
	if err != nil {
		return err
	}
	write := map[string]func() error{
		"text":     func() error { return report.WriteText(std.out) },
		"markdown": func() error { return report.WriteMarkdown(std.out) },
		"json":     func() error { return report.WriteJSON(std.out) },
	}[c.Format]
	if err := write(); err != nil {
		return err
	}
	for i := range own {
		if report.Count(i, conform.Failed) > 0 {
			return errNotConforming
		}
	}
	return nil
}
