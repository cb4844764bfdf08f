package router

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// A Simulation is an engine in simulated time: frames go in and come out of its
// networks when its methods are called, and its clock stands still between them. It
// is the same router on the same path of a packet, without devices, goroutines and
// waiting, so a test of a timeout of hours takes microseconds, and the same frames
// with the same seed give the same answers to the byte.
//
// The Engine's methods work as well, on the caller's goroutine; what they have the
// router send comes out with the next Put, Run or Step. One goroutine at a time may
// use a Simulation. It needs no Close. Members are not checked: those of a pool with a
// monitor are up until SetMember says otherwise.
type Simulation struct {
	*Engine
	now  time.Duration
	devs map[string]*simDevice
}

// Simulate makes a simulation of a topology, whose devices are not opened. See
// Options about the seed. The clock starts at zero, which is midnight UT.
func Simulate(topo *file.Topology, seed uint64) (*Simulation, error) {
	s, err := simulate(topo, newRand(seed))
	if err != nil {
		return nil, err
	}
	for _, n := range s.networks {
		meet(n)
	}
	return s, nil
}

// simulate is Simulate without the announcements of a start.
func simulate(topo *file.Topology, rng *rand.Rand) (*Simulation, error) {
	if faults := Unsupported(topo); len(faults) > 0 {
		return nil, faults
	}
	e, p, err := newEngine(topo, slog.New(slog.DiscardHandler), rng, max(1, topo.Engine.Workers), false, false)
	if err != nil {
		return nil, err
	}
	s := &Simulation{Engine: e, devs: map[string]*simDevice{}}
	for _, w := range e.workers {
		w.direct = true
		w.clock = func() time.Duration { return s.now }
		w.day = func() time.Time { return time.Unix(0, 0).Add(s.now) }
	}
	for _, n := range p.networks {
		d := &simDevice{}
		s.devs[n.name] = d
		n.home.addPort(&port{network: n, memory: true, spec: file.Device{Name: n.name}}, d)
	}
	return s, nil
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

// simTurns bounds the turns in which what has been put in must come to rest. A
// packet passes each router once a turn, and its TTL bounds the routers.
const simTurns = 1000

// Run lets the router work until nothing moves. An error says that it does not come
// to rest.
func (s *Simulation) Run() error {
	for range simTurns {
		for _, w := range s.workers {
			for _, p := range w.ports {
				p.pending.Store(true)
			}
			w.runTurn()
		}
		more := false
		for _, w := range s.workers {
			if w.runTurn() {
				more = true
			}
		}
		for _, w := range s.workers { // the last one may have handed something to the first
			if slices.ContainsFunc(w.inbox, (*handover).waiting) {
				more = true
			}
		}
		if !more {
			return nil
		}
	}
	return fmt.Errorf("router: the simulation does not come to rest")
}

// Step moves the clock to the next time at which the router has something to do, but
// not past end, and lets it work. It reports whether the clock is still short of
// end: to let time pass is to call it until it says no, and to look at what has come
// out in between.
func (s *Simulation) Step(end time.Duration) (bool, error) {
	if s.now >= end {
		return false, nil
	}
	step := end
	for _, w := range s.workers {
		if w.timed && w.timer < step {
			step = max(w.timer, s.now+time.Millisecond)
		}
	}
	s.now = step
	return s.now < end, s.Run()
}

// A simDevice is one network's device: what is put in is read by the router,
// what the router writes piles up.
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
