package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/lab"
)

// The exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // of the command line or the topology
)

// streams is where output goes.
type streams struct{ out, err io.Writer }

// cli is the command line.
type cli struct {
	LogLevel  slog.Level `help:"Least severe messages to log: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
	LogFormat string     `help:"How to log: text for people, json for programs." enum:"text,json" default:"text" placeholder:"FORMAT"`

	Run     runCmd     `cmd:"" help:"Serve a topology: open its devices and route until told to stop."`
	Check   checkCmd   `cmd:"" help:"Check a topology file: list every fault, or show what would be served."`
	Lab     labCmd     `cmd:"" help:"Play the steps of a lesson on in-process hosts; needs no device and no rights."`
	Conform conformCmd `cmd:"" help:"Test NAT and routing against the RFCs, frame by frame: in memory, on TAPs, beside Linux's own."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

const description = `A virtual router in one process: ARP, routing, SNAT, floating IPs and VIPs, without the kernel's NAT.

Examples:
  taprouter lab examples/126-vip-behind-floating-ip.toml   play a lesson, as any user
  taprouter check mine.toml                                find every fault of a file
  sudo taprouter run mine.toml                             serve it on TAP devices`

// run is the whole program but for the process: it returns the exit status.
func run(ctx context.Context, args []string, std streams) (status int) {
	var c cli
	// kong ends the process after --help; here that unwinds to the caller.
	defer func() {
		if code, ok := recover().(exitCode); ok {
			status = int(code)
		}
	}()
	parser, err := kong.New(&c, kong.Name("taprouter"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		fmt.Fprintln(std.err, "taprouter:", err)
		return exitError
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(std.err, "taprouter: %v\nTry `taprouter --help`.\n", err)
		return exitUsage
	}
	k.Bind(newLogger(std.err, c.LogLevel, c.LogFormat))
	return report(k.Run(), std)
}

// An exitCode is how kong's wish to end the process travels.
type exitCode int

// report prints an error and chooses the exit status.
func report(err error, std streams) int {
	var faults config.Faults
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, lab.ErrUnexpected), errors.Is(err, errNotConforming):
		return exitError // what was printed has told
	case errors.As(err, &faults):
		fmt.Fprintln(std.err, strings.TrimRight(faults.Error(), "\n"))
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(std.err, "taprouter: interrupted")
		return exitError
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(std.err, "taprouter:", strings.TrimRight(line, "\n"))
	}
	return exitError
}

// load reads a topology and prints its warnings.
func load(path string, std streams) (*config.Topology, error) {
	topo, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	for _, w := range topo.Warnings {
		fmt.Fprintf(std.err, "warning: %v\n", w)
	}
	return topo, nil
}

// isTerminal reports whether a stream is a terminal that wants colours
// (no-color.org).
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
