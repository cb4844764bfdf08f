package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// In this file a router that runs goes on in the program that is installed now. It asks that one first, with its own
// arguments, whether it can. Then requests in flight end, packets wait in their devices, and the program is executed:
// with the same process id, and with the descriptors of tables, devices and listeners.

// handOverVersion is of what one program hands over to the next. A program with another version is not executed.
const handOverVersion = "1"

// successorTime bounds how long the new program may take to say whether it can go on.
const successorTime = 20 * time.Second

// successorMost bounds what is read of its output, in bytes.
const successorMost = 8 << 10

// successorCmd is how a program is asked whether it can go on where another one stops. Its arguments are those of the
// other one. It reads and checks the file as `run` does, and prints the version of what it takes over and the layout of
// its tables.
type successorCmd struct {
	Args []string `arg:"" optional:"" passthrough:""`
}

// successorVerb is the name of the command.
const successorVerb = "__successor"

// Run implements the command.
func (s *successorCmd) Run(ctx context.Context, std streams) error {
	var c cli
	parser, err := newParser(ctx, &c, std)
	if err != nil {
		return err
	}
	args := s.Args
	if len(args) > 0 && args[0] == "--" { // kong leaves it there
		args = args[1:]
	}
	k, err := parser.Parse(args)
	if err != nil {
		return err
	}
	if k.Selected() == nil || k.Selected().Name != "run" {
		return errors.New("only `taprouter run` can go on in another program")
	}
	f, err := openWith(c.Run.File, physicalNetworks(c.Run.PhysicalNetwork), std)
	if err != nil {
		return err
	}
	if refused := router.Unsupported(f.State()).Errors(); len(refused) > 0 {
		faults, _ := f.Faults(refused)
		return faults
	}
	fmt.Fprintln(std.out, handOverVersion, router.Layout())
	return nil
}

// errUpgrade is why a context ends when the program is to be replaced.
var errUpgrade = errors.New("the program is replaced")

// An upgrade replaces the program of a router that runs. Its methods may be called by any goroutine.
type upgrade struct {
	program string   // path of the program, also when another one is there by now
	args    []string // of the process
	begin   context.CancelCauseFunc
	may     func() error // why a program could not go on with the rights of this process; nil: it can
	log     *slog.Logger

	mu     sync.Mutex
	layout string // of the new program's tables; empty: nothing is asked for yet
}

// programPath is where the program is that the process executes. It is called at the start: later there may be another
// one. A link stays a link, so that it can be made to show a new program.
func programPath(name string) string {
	own, err := os.Executable()
	if err != nil {
		return name
	}
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return own
	}
	a, errA := os.Stat(path)
	b, errB := os.Stat(own)
	if errors.Join(errA, errB) == nil && os.SameFile(a, b) {
		return path
	}
	return own
}

// Begin asks the program that is installed now whether it can go on, and begins to go over to it. An error says why the
// router goes on as before.
func (u *upgrade) Begin(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.layout != "" {
		return errors.New("the program is being replaced already")
	}
	err := u.may()
	layout := ""
	if err == nil {
		layout, err = u.ask(ctx)
	}
	if err != nil {
		u.log.Error("not upgraded: the router goes on as before", "program", u.program, "err", err)
		return fmt.Errorf("not upgraded, the router goes on as before: %w", err)
	}
	u.layout = layout
	u.log.Info("the program is being replaced", "program", u.program, "same_layout", layout == router.Layout())
	u.begin(errUpgrade)
	return nil
}

// ask has the program say whether it can go on. It returns the layout of its tables.
func (u *upgrade) ask(ctx context.Context) (layout string, err error) {
	ctx, cancel := context.WithTimeout(ctx, successorTime)
	defer cancel()
	var out, said bounded
	c := exec.CommandContext(ctx, u.program, append([]string{successorVerb, "--"}, u.args...)...)
	c.Stdout, c.Stderr, c.WaitDelay = &out, &said, time.Second
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !strings.HasPrefix(v, "WATCHDOG_") {
			c.Env = append(c.Env, v)
		}
	}
	err = c.Run()
	version, layout, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s has not said in %v whether it can go on: install one that can, or restart the router",
			u.program, successorTime)
	case err != nil:
		text := strings.TrimSpace(said.String())
		return "", fmt.Errorf("%s cannot go on (%w): %s: mend that and try again, or restart the router", u.program,
			err,
			text)
	case version != handOverVersion || layout == "":
		return "", fmt.Errorf("%s is of a version that cannot take over from this one: restart the router", u.program)
	}
	return layout, nil
}

// A bounded buffer keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), successorMost-b.Len())])
	return len(p), nil
}

// mayGoOn says why a program that reads the file anew could not serve what this process serves.
func (p *process) mayGoOn() error {
	if err := tryPassRights(); err != nil {
		return fmt.Errorf("the rights of this process cannot be passed on (%w): restart the router", err)
	}
	if _, err := p.reload.read(); err != nil {
		return err
	}
	if p.reload.also != nil {
		if err := p.reload.also(); err != nil {
			return fmt.Errorf("%w: after its start the process cannot read it any more: restart the router", err)
		}
	}
	if p.own.Keeps() {
		return nil
	}
	const wayOut = "run the router with --state-dir, or put what `taprouter export` prints into the file"
	f, served := p.own.File(), p.control.State()
	for _, c := range config.Diff(served, f.State()) {
		if c.Op == config.Removed && !f.Declares(c.Ref) {
			return fmt.Errorf("%s was made by a program and is kept nowhere, so it would be lost: %s",
				served.Call(c.Before), wayOut)
		}
	}
	if lines := restartLines(served, f.State()); len(lines) > 0 {
		l := lines[0]
		return fmt.Errorf("%s is not as the file has it (%s), and that is kept nowhere, so it would be lost: %s",
			l.Name,
			l.Changes(), wayOut)
	}
	return nil
}

// A handOver is what one program tells the next one. Numbers are those of open descriptors.
type handOver struct {
	Halted      int64 // when packets began to wait: nanoseconds of the monotonic clock
	Descriptors []handedOver
	Doors       []handedOver
	Records     int // neighbors, and connections if these are not in the tables; 0: there are none
}

// A handedOver is one descriptor.
type handedOver struct {
	FD     int
	Name   string
	Stored string `json:",omitempty"` // its name in the service manager's store
}

// rewind has a file read from its beginning.
func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}
