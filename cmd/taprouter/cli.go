package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/client"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/lab"
)

// The exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // of the command line or the topology
)

// streams is where output goes, and where input comes from.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// cli is the command line.
type cli struct {
	LogLevel  slog.Level `help:"Least severe messages to log: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
	LogFormat string     `help:"How to log: text for people, json for programs." enum:"text,json" default:"text" placeholder:"FORMAT"`

	ShowVersion versionFlag `name:"version" help:"Print the version, as the command does."`

	Run     runCmd     `cmd:"" group:"Serving and learning:" help:"Serve a topology: open its devices and route until told to stop."`
	Check   checkCmd   `cmd:"" group:"Serving and learning:" help:"Check a topology file: list every fault, or show what it serves, or what another one changes."`
	Lab     labCmd     `cmd:"" group:"Serving and learning:" help:"Play the steps of a lesson on in-process hosts; needs no device and no rights."`
	Conform conformCmd `cmd:"" group:"Serving and learning:" help:"${conform}"`
	Version versionCmd `cmd:"" group:"Serving and learning:" help:"Print the version."`

	client.Commands
	Completion client.CompletionCommand `cmd:"" group:"Serving and learning:" help:"Print a shell's script for completion."`
	Man        client.ManCommand        `cmd:"" hidden:"" help:"Write the manual pages to a directory."`
	Complete   client.CompleteCommand   `cmd:"" name:"__complete" hidden:"" help:"What a word can become."`
	Successor  successorCmd             `cmd:"" name:"__successor" hidden:"" help:"Whether a router can go on in this program."`
}

// longHelp is what the struct tags have no room for.
var longHelp = map[string]string{
	"conform": "Test NAT and routing against the RFCs, frame by frame: in memory, on TAPs, beside Linux's own.",
	"targets": "Further columns beside taprouter in memory: tap (on TAP devices), kernel (Linux with nftables NAT). " +
		"Both need root.",
}

const description = "A virtual router in one process: ARP, routing, SNAT, floating IPs and VIPs, " +
	`without the kernel's NAT.

Examples:
  taprouter lab examples/126-vip-behind-floating-ip.toml   play a lesson, as any user
  taprouter check mine.toml                                find every fault of a file
  taprouter check --diff mine.toml new.toml                what new.toml would change, and for which connections
  sudo taprouter run mine.toml                             serve it on TAP devices
  sudo taprouter network list                              ask the router that runs, as the openstack client does
  sudo taprouter show conntrack -p tcp                     see its connections`

// run is the whole program but for the process: it returns the exit status.
func run(ctx context.Context, args []string, std streams) (status int) {
	var c cli
	// kong ends the process after --help; here that unwinds to the caller.
	defer func() {
		if code, ok := recover().(exitCode); ok {
			status = int(code)
		}
	}()
	parser, err := newParser(ctx, &c, std)
	if err != nil {
		fmt.Fprintln(std.err, "taprouter:", err)
		return exitError
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		if c.LogFormat == "json" {
			newLogger(std.err, slog.LevelInfo, c.LogFormat).Error(err.Error())
		} else {
			fmt.Fprintf(std.err, "taprouter: %v\nTry `%s --help`.\n", err, commandOf(err))
		}
		return exitUsage
	}
	c.Run.args = args
	level := new(slog.LevelVar) // which `run` changes when it is asked to
	level.Set(c.LogLevel)
	log := newLogger(std.err, level, c.LogFormat)
	session, err := client.NewSession(ctx, k, std.in, std.out, std.err)
	if err != nil {
		return report(err, std)
	}
	k.Bind(log, level, session, &client.Output{Out: std.out})
	err = withWayOut(k.Run())
	if c.LogFormat == "json" {
		return reportTo(log, err)
	}
	return report(err, std)
}

// commandOf is the command whose words are wrong, as far as they lead to one.
func commandOf(err error) string {
	name := "taprouter"
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
		for _, p := range wrong.Context.Path {
			if p.Command != nil {
				name += " " + p.Command.Name
			}
		}
	}
	return name
}

// newParser makes the parser of a command line.
func newParser(ctx context.Context, c *cli, std streams) (*kong.Kong, error) {
	return kong.New(c, kong.Name("taprouter"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.UsageOnError(), client.Placeholders(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ValueFormatter(withDefault), kong.Vars(longHelp),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
}

// withDefault is the help for a flag, with what holds without it.
func withDefault(value *kong.Value) string {
	if !value.HasDefault {
		return value.Help
	}
	return fmt.Sprintf("%s Default: %s.", value.Help, value.Default)
}

// An exitCode is how kong's wish to end the process travels.
type exitCode int

// withWayOut adds what to do about an error that anything that opens a file may have.
func withWayOut(err error) error {
	if errors.Is(err, syscall.EMFILE) {
		return fmt.Errorf("%w: this process may not open more: "+
			"raise LimitNOFILE= in its systemd unit, or `ulimit -n` in its shell", err)
	}
	return err
}

// statusOf chooses the exit status.
func statusOf(err error) int {
	switch _, wrong := errors.AsType[file.Faults](err); {
	case err == nil:
		return exitOK
	case wrong, client.HasFaults(err):
		return exitUsage
	}
	return exitError
}

// hasTold reports whether the output has said already why the status is not 0.
func hasTold(err error) bool {
	return err == nil || errors.Is(err, lab.ErrUnexpected) || errors.Is(err, errNotConforming)
}

// report prints an error for people, and returns the exit status.
func report(err error, std streams) int {
	faults, wrong := errors.AsType[file.Faults](err)
	switch {
	case hasTold(err):
	case wrong:
		fmt.Fprintln(std.err, strings.TrimRight(faults.Error(), "\n"))
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(std.err, "taprouter: interrupted")
	case client.IsComplete(err):
		fmt.Fprintln(std.err, err)
	default:
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(std.err, "taprouter:", strings.TrimRight(line, "\n"))
		}
	}
	return statusOf(err)
}

// reportTo logs an error, for programs that read the log, and returns the exit status.
func reportTo(log *slog.Logger, err error) int {
	faults, wrong := errors.AsType[file.Faults](err)
	switch {
	case hasTold(err):
	case wrong:
		for _, f := range faults {
			log.Error(f.Message, "file", f.File, "line", f.Line)
		}
	case errors.Is(err, context.Canceled):
		log.Error("interrupted")
	default:
		for line := range strings.Lines(err.Error()) {
			log.Error(strings.TrimRight(line, "\n"))
		}
	}
	return statusOf(err)
}

// warn logs the warnings about a topology.
func warn(warnings file.Faults, log *slog.Logger) {
	h, human := log.Handler().(*humanHandler)
	for _, w := range warnings {
		if human {
			fmt.Fprintf(h.w, "warning: %v\n", w) // as faults are: FILE:LINE first
		} else {
			log.Warn(w.Message, "file", w.File, "line", w.Line)
		}
	}
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
