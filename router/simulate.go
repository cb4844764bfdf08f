package router

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/monitor"
	"github.com/taprouter/taprouter/router/internal/service"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A Simulation is an engine in simulated time: frames go in and come out of its
// networks when its methods are called, and its clock stands still between them. It
// is the same router on the same path of a packet, without devices, goroutines and
// waiting, so a test of a timeout of hours takes microseconds, and the same frames
// with the same seed give the same answers to the byte.
//
// The Engine's methods work as well, on the caller's goroutine. Frames that they have the
// router send come out with the next Put, Run or Step. One goroutine at a time may
// use a Simulation. It needs no Close.
//
// The members of a pool with a monitor are checked at the times and by the numbers of results that
// the monitor has, on the clock of the simulation. But no packet is sent for it: all checks are good,
// unless Checks gives other results. So a new member is up after max_retries checks, a second or less
// apart, or at once with initial_state = "up".
type Simulation struct {
	*Engine
	now      time.Duration
	devs     map[string]*simDevice // by the names of networks, and by their ids
	byID     map[wire.ID]*simDevice
	schedule simSchedule
	checks   func(router, pool, member string, at time.Duration) CheckResult // nil: all are good
}

// Simulate makes a simulation of a State, whose devices are not opened. See
// Options about the seed. The clock starts at zero, which is midnight UT.
func Simulate(state *config.State, seed uint64) (*Simulation, error) {
	return simulate(state, seed, false, nil)
}

// simulate is Simulate without the announcements of a start, if it is to be quiet. With open, which a test may give,
// the devices of the State are opened, and networks have no others.
func simulate(state *config.State, seed uint64, quiet bool, open func(config.Device) (tap.Device, error)) (
	*Simulation, error) {
	s := &Simulation{
		Engine: newEngine(Options{Logger: slog.New(slog.DiscardHandler), Seed: seed, Open: open}),
		devs:   map[string]*simDevice{}, byID: map[wire.ID]*simDevice{},
	}
	s.sim, s.events.sim = s, s
	s.runner = service.NewRunner(func() time.Time { return time.Unix(0, 0).UTC().Add(s.now) }, true)
	s.schedule.now = func() time.Duration { return s.now }
	p, err := s.Prepare(context.Background(), state)
	if err != nil {
		return nil, err
	}
	p.quiet = quiet
	p.Commit()
	return s, nil
}

// equip gives a worker the clock of the simulation.
func (s *Simulation) equip(w *loop.Worker) {
	w.Clock = func() time.Duration { return s.now }
	w.Epoch = time.Unix(0, 0).UTC()
	w.Day = func() time.Time { return w.Epoch.Add(s.now) }
	w.Now = s.now
}

// plugIn gives a network its device.
func (s *Simulation) plugIn(n *wire.Network) {
	d := &simDevice{}
	s.byID[n.ID] = d
	if s.opt.Open != nil {
		return
	}
	n.PlugIn(&loop.Link{Memory: true, Name: n.Name()}, d)
}

// find brings devs and byID up to date with the networks that there are now.
func (s *Simulation) find() {
	clear(s.devs)
	known := map[wire.ID]*simDevice{}
	for name, n := range s.view.Load().networks {
		s.devs[name] = s.byID[n.ID]
		known[n.ID] = s.byID[n.ID]
	}
	s.byID = known
}

// A CheckResult is what a simulated check of a member finds.
type CheckResult struct {
	OK   bool          // the member has answered well
	Took time.Duration // until the answer came; a check that takes longer than its timeout is bad after the timeout
	Why  string        // why it counts as good or bad, in words, for LoadBalancers; may be empty
}

// Checks has fn give the results of all checks from now on. fn gets the names of the router, the pool and
// the member, and the time at which the check begins; the same arguments need not have the same result.
// fn runs within Put, Run and Step, which it must not call. With nil all checks are good, and answered at
// once.
func (s *Simulation) Checks(fn func(router, pool, member string, at time.Duration) CheckResult) {
	s.checks = fn
}

// Now is the time since the start.
func (s *Simulation) Now() time.Duration { return s.now }

// Put has the router receive an Ethernet frame from a network, with its virtio-net
// header in front (tap.HeaderLen bytes; zero: an ordinary frame), and runs until
// nothing moves. The frame is copied.
func (s *Simulation) Put(network string, frame []byte) error {
	d := s.devs[network]
	if d == nil {
		return fmt.Errorf("router: put to network %q: no such network", network)
	}
	d.in = append(d.in, tap.Frame{Buf: slices.Clone(frame), Tail: len(frame)})
	return s.Run()
}

// Take returns the frames that have gone out to a network since the last call,
// oldest first. They are the caller's.
func (s *Simulation) Take(network string) []tap.Frame {
	d := s.devs[network]
	if d == nil {
		return nil
	}
	out := d.out
	d.out = nil
	return out
}

// simTurns bounds the turns of Run. A packet passes one router in a turn, and its TTL bounds the routers, so
// frames come to rest long before.
const simTurns = 1000

// Trace has the way of every frame written to w, a line for each stage that decided something, until it is called
// with nil. A frame that no router gets has one line, with what the switch did. A packet that waits for a neighbor, or
// for other fragments, keeps its number when it goes on. Errors of w are ignored. The text is for people and
// may change.
func (s *Simulation) Trace(w io.Writer) {
	var tr loop.Tracer
	if w != nil {
		tr = ip.NewStageTracer(func(tr *ip.Trace) { _, _ = io.WriteString(w, tr.String()) })
	}
	for _, worker := range s.workers {
		worker.Tracer = tr
	}
}

// Run lets the router work until nothing moves. An error says that it does not come
// to rest.
func (s *Simulation) Run() error {
	for range simTurns {
		for _, w := range s.workers {
			for _, l := range w.Links {
				l.Pending.Store(true)
			}
			w.RunTurn()
		}
		more := false
		for _, w := range s.workers {
			if w.RunTurn() {
				more = true
			}
		}
		for _, w := range s.workers { // the last one may have handed something to the first
			if slices.ContainsFunc(w.Inbox, (*loop.Handover).Waiting) {
				more = true
			}
		}
		if s.schedule.run() || s.runner.Step() {
			more = true
		}
		if !more {
			return nil
		}
	}
	return fmt.Errorf("router: the simulation does not come to rest")
}

// Step moves the clock to the next time at which the router has something to do, but
// not past end, and lets it work. It reports whether the clock is still short of
// end. To let time pass, call it until it reports false, and Take the frames that have come
// out in between.
func (s *Simulation) Step(end time.Duration) (bool, error) {
	if s.now >= end {
		return false, nil
	}
	step := end
	for _, w := range s.workers {
		if w.Timed && w.Timer < step {
			step = max(w.Timer, s.now+time.Millisecond)
		}
	}
	if at, ok := s.schedule.next(); ok && at < step {
		step = max(at, s.now)
	}
	s.now = step
	return s.now < end, s.Run()
}

// A simSchedule is the calls that the checks of members have planned, the earliest first. It implements
// monitor.Schedule.
type simSchedule struct {
	now   func() time.Duration
	calls []*simCall
}

type simCall struct {
	at time.Duration
	fn func()
}

// simStart is the start on the clock of the day.
var simStart = time.Unix(0, 0)

func (q *simSchedule) Now() time.Time { return simStart.Add(q.now()) }

// At plans a call, after those of the same time.
func (q *simSchedule) At(t time.Time, fn func()) (stop func() bool) {
	c := &simCall{t.Sub(simStart), fn}
	i, _ := slices.BinarySearchFunc(q.calls, c.at, func(c *simCall, at time.Duration) int {
		if c.at <= at {
			return -1
		}
		return 1
	})
	q.calls = slices.Insert(q.calls, i, c)
	return func() bool {
		i := slices.Index(q.calls, c)
		if i < 0 {
			return false
		}
		q.calls = slices.Delete(q.calls, i, i+1)
		return true
	}
}

// next is the time of the first call.
func (q *simSchedule) next() (time.Duration, bool) {
	if len(q.calls) == 0 {
		return 0, false
	}
	return q.calls[0].at, true
}

// run makes the calls that are due, and reports whether there were any.
func (q *simSchedule) run() bool {
	any := false
	for at, ok := q.next(); ok && at <= q.now(); at, ok = q.next() {
		c := q.calls[0]
		q.calls = slices.Delete(q.calls, 0, 1)
		c.fn()
		any = true
	}
	return any
}

// A simProber makes the checks of a pool at one router, with the results that Simulation.Checks gives. It implements
// monitor.Prober.
type simProber struct {
	*Simulation
	of *ip.PoolShare
}

func (p simProber) Prepare(spec monitor.Spec) func(monitor.Target) monitor.Check {
	return func(t monitor.Target) monitor.Check {
		return func(_ context.Context, done func(monitor.Result)) { p.check(&spec, t.ID, done) }
	}
}

// check makes a check, and calls done with its result when the time that it takes has passed.
func (p simProber) check(spec *monitor.Spec, id uint32, done func(monitor.Result)) {
	c := CheckResult{OK: true}
	if p.checks != nil {
		c = p.checks(p.of.Router.Name, p.of.Of.Name, p.of.Of.NameOf(id), p.now)
	}
	r := monitor.Result{OK: c.OK, Took: max(c.Took, 0), Sent: "check", Received: "nothing", Why: c.Why}
	switch {
	case c.Took > spec.Timeout:
		r.OK, r.Took, r.Why = false, spec.Timeout, fmt.Sprintf("no answer within %v", spec.Timeout)
	case c.OK:
		r.Received = "answer"
	}
	if r.Took == 0 {
		done(r)
		return
	}
	p.schedule.At(p.schedule.Now().Add(r.Took), func() { done(r) })
}

// A simDevice is one network's device: the router reads the frames that are put in, and
// the frames that it writes are kept for Take.
type simDevice struct {
	features tap.Features
	in       []tap.Frame
	out      []tap.Frame
	err      error
}

func (d *simDevice) Name() string           { return "sim" }
func (d *simDevice) Features() tap.Features { return d.features }
func (d *simDevice) FD() int                { return -1 }
func (d *simDevice) Notify(func())          {}
func (d *simDevice) Close() error           { return nil }

func (d *simDevice) Read(frames []tap.Frame) (int, error) {
	n := 0
	for n < len(frames) && len(d.in) > 0 {
		f := d.in[0]
		d.in = d.in[1:]
		frames[n].Head = tap.Headroom
		frames[n].Tail = tap.Headroom + copy(frames[n].Buf[tap.Headroom:], f.Buf[f.Head:f.Tail])
		n++
	}
	return n, nil
}

func (d *simDevice) Write(frames []tap.Frame) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	for _, f := range frames {
		d.out = append(d.out, tap.Frame{Buf: append([]byte(nil), f.Buf[f.Head:f.Tail]...), Tail: f.Tail - f.Head})
	}
	return len(frames), nil
}
