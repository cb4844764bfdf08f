// Package lab plays lessons: the instances and steps of a topology file, on
// in-process hosts around a router that opens no device. It prints what each
// step does and sees, and says whether that is what the file expects, so that a
// lesson is also a test.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// Options are the settings of a run.
type Options struct {
	Out    io.Writer    // where the lesson is told
	Color  bool         // use terminal colours
	Logger *slog.Logger // what the router and the hosts log; nil discards it
}

// Check finds the faults of a lab that config cannot know: commands, their options
// and what they name. It returns nil for a topology without steps.
func Check(topo *config.Topology) config.Faults {
	var faults config.Faults
	for i := range topo.Steps {
		s := &topo.Steps[i]
		c, err := parseCommand(s.Do, s.On != "")
		if err == nil {
			err = c.check(topo, s)
		}
		if err != nil {
			faults = append(faults, config.Fault{File: topo.File, Line: s.Line, Message: fmt.Sprintf("step %q: %v", s.Title, err)})
		}
	}
	return faults
}

// ErrUnexpected says that the lesson went otherwise than its file expects.
var ErrUnexpected = errors.New("the lesson did not go as expected")

// Run plays a lesson. It returns ErrUnexpected if an expectation failed,
// config.Faults for what is wrong with the file, and the context's error when
// it was interrupted.
func Run(ctx context.Context, topo *config.Topology, opt Options) error {
	if faults := Check(topo); len(faults) > 0 {
		return faults
	}
	if len(topo.Steps) == 0 {
		return config.Faults{{File: topo.File, Message: "no [[step]]: there is nothing to play; `run` serves a topology"}}
	}
	engine, err := router.Start(topo, router.Options{Logger: opt.Logger, Clock: time.Now})
	if err != nil {
		return err
	}
	l := &lab{topo: topo, engine: engine, hosts: map[string]*host.Host{}, browsers: map[string]*http.Client{}, recorder: newRecorder(), printer: printer{opt.Out, opt.Color}}
	defer l.close()
	if err := l.start(opt.Logger); err != nil {
		return err
	}
	return l.play(ctx)
}

// A lab is a lesson that is being played.
type lab struct {
	topo     *config.Topology
	engine   *router.Engine
	hosts    map[string]*host.Host
	browsers map[string]*http.Client // of instances that have one
	recorder *recorder
	printer  printer
}

// start makes the instances and starts to look at the networks.
func (l *lab) start(log *slog.Logger) error {
	for i := range l.topo.Instances {
		c := &l.topo.Instances[i]
		h, err := l.instance(c, log)
		if err != nil {
			return fmt.Errorf("instance %q: %w", c.Name, err)
		}
		l.hosts[c.Name] = h
	}
	for _, name := range l.watched() {
		if _, err := l.engine.Observe(name, func(f tap.Frame) { l.recorder.observe(name, f) }); err != nil {
			return err
		}
	}
	return nil
}

// instance makes one host and its services.
func (l *lab) instance(c *config.Instance, log *slog.Logger) (*host.Host, error) {
	mtu := 0
	for i := range l.topo.Networks {
		if l.topo.Networks[i].Name == c.Network {
			mtu = l.topo.Networks[i].MTU
		}
	}
	dev, err := l.engine.Attach(c.Network, 0)
	if err != nil {
		return nil, err
	}
	h, err := host.New(dev, host.Config{Name: c.Name, MAC: c.MAC, Address: c.Prefix, Gateway: c.Gateway, MTU: mtu, Logger: log})
	if err != nil {
		return nil, err
	}
	for _, s := range c.Serve {
		if err := serve(h, s); err != nil {
			_ = h.Close() // the first error is the one to tell
			return nil, fmt.Errorf("serve %s: %w", serviceName(s), err)
		}
	}
	return h, nil
}

// watched is the networks that some step asks about, each once.
func (l *lab) watched() []string {
	var names []string
	known := map[string]bool{}
	for i := range l.topo.Steps {
		s := &l.topo.Steps[i]
		for _, p := range append(append([]config.PacketPattern(nil), s.Sees...), s.Never...) {
			if !known[p.Network] {
				known[p.Network] = true
				names = append(names, p.Network)
			}
		}
	}
	return names
}

func (l *lab) close() {
	for _, b := range l.browsers {
		b.CloseIdleConnections()
	}
	for _, h := range l.hosts {
		_ = h.Close() // nothing depends on it any more
	}
	_ = l.engine.Close()
}

// play goes through the steps.
func (l *lab) play(ctx context.Context) error {
	failed := 0
	for i := range l.topo.Steps {
		ok := l.step(ctx, i)
		if err := ctx.Err(); err != nil {
			return err
		}
		if !ok {
			failed++
		}
	}
	l.printer.summary(len(l.topo.Steps), failed)
	if failed > 0 {
		return ErrUnexpected
	}
	return nil
}

// step plays one step and reports whether everything was as expected.
func (l *lab) step(ctx context.Context, i int) bool {
	s := &l.topo.Steps[i]
	c, err := parseCommand(s.Do, s.On != "")
	if err != nil {
		return false // Check has found this before
	}
	l.printer.title(i+1, s)
	l.settle()
	l.recorder.reset()
	ok := true
	for k := range s.Times {
		l.printer.prompt(s)
		var out bytes.Buffer
		succeeded := l.perform(ctx, s, c, expected(s, k), &out)
		if ctx.Err() != nil {
			return false
		}
		l.printer.output(out.String())
		ok = l.judge(s, k, out.String(), succeeded) && ok
	}
	l.settle()
	return l.packets(s) && ok
}

// perform does what a step says once. What shows a state that changes by itself is
// looked at until it is as expected, or the step's time is over.
func (l *lab) perform(ctx context.Context, s *config.Step, c *command, want string, out *bytes.Buffer) bool {
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	for {
		out.Reset()
		succeeded := l.run(ctx, s, c, out)
		if !c.repeats() || strings.Contains(out.String(), want) {
			return succeeded
		}
		select {
		case <-ctx.Done():
			return succeeded
		case <-time.After(lookAgain):
		}
	}
}

// lookAgain is how long a step that waits for something does before it looks again.
const lookAgain = 20 * time.Millisecond

func (l *lab) run(ctx context.Context, s *config.Step, c *command, out io.Writer) bool {
	switch c.name {
	case balancer:
		return l.balance(c, out)
	case "browse":
		return l.browse(ctx, c, s.On, out)
	}
	return c.run(ctx, l.hosts[s.On], out)
}

// expected is what the output of one time must hold, "" if it may be anything.
func expected(s *config.Step, k int) string {
	switch {
	case len(s.Expect) == 1:
		return s.Expect[0]
	case k < len(s.Expect):
		return s.Expect[k]
	}
	return ""
}

// settle waits until the router has done with what was sent before: a call to
// it is answered between two batches.
func (l *lab) settle() { l.engine.Stats() }

// judge compares the output of one time with what the step expects.
func (l *lab) judge(s *config.Step, k int, output string, succeeded bool) bool {
	ok := true
	if s.Fails && succeeded {
		l.printer.failed("expected to fail, but it succeeded")
		ok = false
	} else if !s.Fails && !succeeded {
		l.printer.failed("it failed")
		ok = false
	} else if s.Fails {
		l.printer.passed("it fails, as expected")
	}
	want := expected(s, k)
	if want == "" {
		return ok
	}
	if !strings.Contains(output, want) {
		l.printer.failed(fmt.Sprintf("expected %q, which is not in the output", want))
		return false
	}
	l.printer.passed(fmt.Sprintf("found %q", want))
	return ok
}

// packets compares what the networks saw with what the step expects.
func (l *lab) packets(s *config.Step) bool {
	ok := true
	for i := range s.Sees {
		p := &s.Sees[i]
		first, n := l.find(p)
		if n > 0 {
			l.printer.passed(fmt.Sprintf("on %s: %v%s", p.Network, first, times(n)))
			continue
		}
		ok = false
		l.printer.failed(fmt.Sprintf("on %s: nothing was seen %s; seen instead:", p.Network, patternString(p)))
		l.printer.list(l.recorder.on(p.Network, 5))
	}
	for i := range s.Never {
		p := &s.Never[i]
		if first, n := l.recorder.find(p); n > 0 {
			ok = false
			l.printer.failed(fmt.Sprintf("on %s, but must not be: %v%s", p.Network, first, times(n)))
			continue
		}
		l.printer.passed(fmt.Sprintf("on %s: nothing %s", p.Network, patternString(p)))
	}
	return ok
}

// find looks for a packet that a step must see, which may still be under way.
func (l *lab) find(p *config.PacketPattern) (seen, int) {
	for deadline := time.Now().Add(time.Second); ; {
		first, n := l.recorder.find(p)
		if n > 0 || time.Now().After(deadline) {
			return first, n
		}
		time.Sleep(5 * time.Millisecond)
		l.settle()
	}
}

// times says how often, where that is worth saying.
func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d such packets)", n)
}
