// Package lab plays lessons: the instances and steps of a topology file, on
// in-process hosts around a router that opens no device. It prints what each
// step does and sees, and says whether that is what the file expects, so that a
// lesson is also a test.
package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// Options are the settings of a run.
type Options struct {
	Out    io.Writer    // where the lesson is told
	Color  bool         // use terminal colours
	Logger *slog.Logger // gets the logs of the router and the hosts; nil discards them

	FailFast bool // end at the first step that fails
}

// Check finds the faults of a lab that config cannot know: commands, their options
// and what they name, and the devices of instances.
func Check(topo *file.Topology) file.Faults {
	faults := checkDevices(topo)
	for i := range topo.Steps {
		s := &topo.Steps[i]
		c, err := parseCommand(s.Do, s.On != "")
		if err == nil {
			err = c.check(topo, s)
		}
		if err != nil {
			faults = append(faults, file.Fault{File: topo.File, Line: s.Line,
				Message: fmt.Sprintf("step %q: %v", s.Title, err)})
		}
	}
	return faults
}

// CheckLesson is Check for a topology that is to be played: it has steps, and the
// router can do what it asks for.
func CheckLesson(topo *file.Topology) file.Faults {
	if len(topo.Steps) == 0 {
		return file.Faults{{File: topo.File, Message: "no [[step]]: there is nothing to play; `run` serves a topology"}}
	}
	faults := Check(topo)
	if s, err := topo.State(); err == nil {
		if refused := Unsupported(s); len(refused) > 0 {
			faults = append(faults, topo.Faults(refused)...)
		}
	}
	slices.SortStableFunc(faults, func(a, b file.Fault) int { return cmp.Compare(a.Line, b.Line) })
	return faults
}

// Unsupported is router.Unsupported for a lesson: what the engine keeps and does not obey is a fault, because the
// lesson may be about just that.
func Unsupported(s *config.State) config.Faults {
	faults := router.Unsupported(s)
	for i := range faults {
		faults[i].Warning = false
	}
	return faults
}

// ErrUnexpected says that the lesson went otherwise than its file expects.
var ErrUnexpected = errors.New("the lesson did not go as expected")

// Run plays a lesson. It returns ErrUnexpected if an expectation failed,
// file.Faults if the file has faults, and the context's error when
// it was interrupted.
func Run(ctx context.Context, topo *file.Topology, opt Options) error {
	if faults := CheckLesson(topo); len(faults) > 0 {
		return faults
	}
	state, err := topo.State()
	if err != nil {
		return err
	}
	l := &lab{
		topo:     topo,
		hosts:    map[string]*host.Host{},
		browsers: map[string]*http.Client{},
		recorder: newRecorder(),
		printer:  printer{opt.Out, opt.Color},
		failFast: opt.FailFast,
	}
	options := router.Options{Logger: opt.Logger, Clock: time.Now, InMemory: true}
	if anyBehind(topo) {
		options.Open = func(d config.Device) (tap.Device, error) { return l.uplinks.open(d, l.recorder.observeTagged) }
	}
	if l.engine, err = router.Start(state, options); err != nil {
		return err
	}
	l.control = control.New(l.engine, control.Options{})
	defer l.close()
	if err := l.start(opt.Logger); err != nil {
		return err
	}
	if err := l.boot(ctx); err != nil {
		return err
	}
	return l.play(ctx)
}

// A lab is a lesson that is being played.
type lab struct {
	topo     *file.Topology
	engine   *router.Engine
	control  *control.Control
	hosts    map[string]*host.Host
	browsers map[string]*http.Client // of instances that have one
	uplinks  uplinks
	recorder *recorder
	printer  printer
	asides   asides // what goes on beside the steps' commands
	failFast bool
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
	for i := range l.topo.Networks {
		name := l.topo.Networks[i].Name
		if _, err := l.engine.Observe(name, func(o router.Observation) {
			if !o.Later { // it has been seen as it crossed
				l.recorder.observe(name, o.Frame)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// instance makes one host and its services.
func (l *lab) instance(c *file.Instance, log *slog.Logger) (*host.Host, error) {
	var network file.Network
	for i := range l.topo.Networks {
		if l.topo.Networks[i].Name == c.Network {
			network = l.topo.Networks[i]
		}
	}
	dev, err := l.attach(c, network.VLAN)
	if err != nil {
		return nil, err
	}
	of := host.Config{Name: c.Name, MAC: c.MAC, Address: c.Prefix, Gateway: c.Gateway, MTU: network.MTU, Logger: log}
	if c.DHCP {
		of.Address, of.Gateway = netip.Prefix{}, netip.Addr{}
	}
	h, err := host.New(dev, of)
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

// attach gives an instance its end of a cable: to a port of its own on its network, or to what is behind a device.
func (l *lab) attach(c *file.Instance, vlan int) (tap.Device, error) {
	if device := deviceOf(l.topo, c); device != "" {
		return l.uplinks.plug(device, vlan)
	}
	return l.engine.Attach(c.Network, 0)
}

func (l *lab) close() {
	for _, b := range l.browsers {
		b.CloseIdleConnections()
	}
	for _, h := range l.hosts {
		_ = h.Close() // nothing depends on it any more
	}
	_ = l.engine.Close()
	l.uplinks.wait()
	l.asides.wait()
}

// play goes through the steps.
func (l *lab) play(ctx context.Context) error {
	var failed []string
	played := 0
	for i := range l.topo.Steps {
		ok := l.step(ctx, i)
		if err := ctx.Err(); err != nil {
			return err
		}
		played++
		if ok {
			continue
		}
		s := &l.topo.Steps[i]
		name := fmt.Sprintf("%d. %s", i+1, heading(s))
		if at := l.place(l.line(i, "")); at != "" {
			name += " (" + at + ")"
		}
		failed = append(failed, name)
		if l.failFast {
			break
		}
	}
	l.printer.summary(played, len(failed))
	l.printer.list(failed)
	if rest := len(l.topo.Steps) - played; rest > 0 {
		l.printer.list([]string{fmt.Sprintf("not played: %d more, as the first failure ends it", rest)})
	}
	if len(failed) > 0 {
		return ErrUnexpected
	}
	return nil
}

// line is the line in the file of one of a step's keys, or of the step; 0 if it is
// unknown.
func (l *lab) line(i int, key string) int {
	path := fmt.Sprintf("step[%d]", i)
	own := l.topo.Steps[i].Line
	if l.topo.LineOf(path) != own {
		return own // the steps differ from the file
	}
	return l.topo.LineOf(strings.TrimSuffix(path+"."+key, "."))
}

// place is a line of the file as FILE:LINE, without the part that is unknown.
func (l *lab) place(line int) string {
	return strings.TrimSuffix(file.Fault{File: l.topo.File, Line: line}.String(), ": ")
}

// failed prints how a step differs from its expectation, with details, and the line of the
// file that has the expectation.
func (l *lab) failed(line int, text string, details ...string) {
	l.printer.failed(text)
	l.printer.list(details)
	if at := l.place(line); at != "" {
		l.printer.list([]string{"at " + at})
	}
}

// step plays one step and reports whether everything was as expected.
func (l *lab) step(ctx context.Context, i int) bool {
	s := &l.topo.Steps[i]
	c, err := parseCommand(s.Do, s.On != "")
	if err != nil {
		return false // Check has found this before
	}
	l.printer.title(i+1, s)
	before := l.stats()
	l.recorder.reset()
	ok := true
	for k := range s.Times {
		l.printer.prompt(s)
		out := &told{printer: l.printer}
		res := l.perform(ctx, s, c, expected(s, k), out)
		l.asides.tell(out, expected(s, k))
		out.end()
		if ctx.Err() != nil {
			return false
		}
		ok = l.judge(i, k, out.text.String(), res) && ok
	}
	l.stats()
	if ok = l.packets(i) && ok; !ok {
		l.explain(before, l.stats())
	}
	return ok
}

// explain prints possible causes of a failure: the packets that the router has dropped
// during the step, and the ARP requests without an answer.
func (l *lab) explain(before, after router.Stats) {
	var drops []string
	for _, r := range router.DropReasons() {
		if n := after.Drops[r] - before.Drops[r]; n > 0 {
			drops = append(drops, fmt.Sprintf("%v %d", r, n))
		}
	}
	text := "dropped in this step: " + strings.Join(drops, ", ")
	if len(drops) == 0 {
		text = "dropped in this step: nothing"
	}
	l.printer.list([]string{text})
	const most = 10
	unanswered := l.recorder.unanswered()
	l.printer.list(unanswered[:min(most, len(unanswered))])
	if more := len(unanswered) - most; more > 0 {
		l.printer.list([]string{fmt.Sprintf("and %d more ARP requests without an answer", more)})
	}
}

// perform does a step's command once. A command that shows a state which changes by itself is
// repeated until its output is as expected, or the step's time is over.
func (l *lab) perform(ctx context.Context, s *file.Step, c *command, want string, out io.Writer) result {
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	if !c.repeats() {
		return l.run(ctx, s, c, out)
	}
	for {
		var look bytes.Buffer
		res := l.run(ctx, s, c, &look)
		last := strings.Contains(look.String(), want)
		if !last {
			select {
			case <-ctx.Done():
				last = true
			case <-time.After(lookAgain):
			}
		}
		if last {
			_, _ = out.Write(look.Bytes()) // the last look is the one that counts
			return res
		}
	}
}

// lookAgain is how long a step that waits for something does before it looks again.
const lookAgain = 20 * time.Millisecond

func (l *lab) run(ctx context.Context, s *file.Step, c *command, out io.Writer) result {
	switch c.name {
	case balancer:
		return done(l.balance(c, out))
	case floatingIP:
		return done(l.float(c, out))
	case routers:
		return done(l.route(c, out))
	case ports:
		return done(l.changePort(c, out))
	case show:
		l.show(c, out)
		return done(true)
	case "browse":
		return l.browse(ctx, c, s.On, out)
	case "nc":
		if c.nc.listens {
			return done(l.listen(c, s.On, out))
		}
	}
	return c.run(ctx, l.hosts[s.On], out)
}

// expected is what the output of one time must hold, "" if it may be anything.
func expected(s *file.Step, k int) string {
	switch {
	case len(s.Expect) == 1:
		return s.Expect[0]
	case k < len(s.Expect):
		return s.Expect[k]
	}
	return ""
}

// stats returns the router's counters. When it returns, the router has handled everything that was
// sent before: a call is answered between two batches.
func (l *lab) stats() router.Stats { return l.engine.Stats() }

// judge compares the output of one time with what the step expects.
func (l *lab) judge(i, k int, output string, res result) bool {
	s, ok := &l.topo.Steps[i], true
	cut := ""
	if res.cut != "" {
		cut = fmt.Sprintf("cut short after %v: %s", s.Within, res.cut)
	}
	switch {
	case s.Fails && res.ok:
		l.failed(l.line(i, "fails"), "expected to fail, but it succeeded")
		ok = false
	case s.Fails && cut != "":
		l.printer.passed("it fails, as expected, " + cut)
	case s.Fails:
		l.printer.passed("it fails, as expected")
	case cut != "":
		l.failed(l.line(i, "do"), cut+"; `within` says how much time it has")
		ok = false
	case !res.ok:
		l.failed(l.line(i, "do"), "it failed")
		ok = false
	}
	want := expected(s, k)
	if want == "" {
		return ok
	}
	if !strings.Contains(output, want) {
		key := "expect"
		if len(s.Expect) > 1 {
			key = fmt.Sprintf("expect[%d]", k)
		}
		l.failed(l.line(i, key), fmt.Sprintf("expected %q, which is not in the output", want))
		return false
	}
	l.printer.passed(fmt.Sprintf("found %q", want))
	return ok
}

// packets compares what the networks saw with what the step expects.
func (l *lab) packets(i int) bool {
	s, ok := &l.topo.Steps[i], true
	for k := range s.Sees {
		p := &s.Sees[k]
		first, n := l.find(p)
		if n > 0 {
			l.printer.passed(fmt.Sprintf("on %s: %v%s", placeOf(p), first, times(n)))
			continue
		}
		ok = false
		l.failed(p.Line, fmt.Sprintf("on %s: nothing was seen %s; seen instead:", placeOf(p), patternString(p)),
			l.recorder.on(placeOf(p), 5)...)
	}
	for k := range s.Never {
		p := &s.Never[k]
		if first, n := l.recorder.find(p); n > 0 {
			ok = false
			l.failed(p.Line, fmt.Sprintf("on %s, but must not be: %v%s", placeOf(p), first, times(n)))
			continue
		}
		l.printer.passed(fmt.Sprintf("on %s: nothing %s", placeOf(p), patternString(p)))
	}
	return ok
}

// find looks for a packet that a step must see, which may still be under way.
func (l *lab) find(p *file.PacketPattern) (seen, int) {
	for deadline := time.Now().Add(time.Second); ; {
		first, n := l.recorder.find(p)
		if n > 0 || time.Now().After(deadline) {
			return first, n
		}
		time.Sleep(5 * time.Millisecond)
		l.stats()
	}
}

// times says of how many that fit this one is the first, where that is worth saying.
func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (the first of %d)", n)
}
