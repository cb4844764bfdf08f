package router

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// An Observation is a frame that has crossed a network, and what has become of it.
type Observation struct {
	Network string
	// Frame is the frame as it crossed, whole, with its virtio-net header. A super-frame is one frame, and its
	// checksum may be unfinished.
	Frame tap.Frame
	// At is when the frame was read or made. All frames of a batch have the same time. It counts from the start
	// of the engine: a clock that is set later does not change it. In a Simulation it counts from the beginning
	// of 1970.
	At time.Time
	// Out is set for a frame that a router has sent to the network. Other frames came from a device.
	Out bool
	// Made is set for a frame that a router has made: an answer, an error, a fragment, an ARP message. Other
	// frames that go out have been forwarded.
	Made bool
	// Verdict is what has become of a frame that came in. It is zero for a frame that goes out.
	Verdict Verdict
	// Later is set when a frame that was parked goes on and gets another verdict. The frame has been observed
	// before, when it crossed the network.
	Later bool
}

// Comment says in words what the frame is or what has become of it, such as "dropped at route: no-route".
func (o *Observation) Comment() string {
	switch {
	case o.Made:
		return "made by a router"
	case o.Out:
		return "sent by a router"
	case o.Later:
		return "waited, then " + o.Verdict.String()
	}
	return o.Verdict.String()
}

// A watcher sees every frame that crosses a network, one at a time.
type watcher struct {
	mu sync.Mutex // two workers may send to the network
	fn func(Observation)
}

// A heldObservation waits until the frame that came in before it has its verdict.
type heldObservation struct {
	network *network
	Observation
}

// show tells those who watch of a frame.
func (n *network) show(o Observation) {
	all := n.watchers.Load()
	if all == nil {
		return
	}
	for _, watch := range *all {
		watch.mu.Lock()
		watch.fn(o)
		watch.mu.Unlock()
	}
}

// observeOut shows a frame that goes out, after the frame that came in before, if that has no verdict yet.
func (n *network) observeOut(t *turn, f *tap.Frame, made bool) {
	if n.watchers.Load() == nil {
		return
	}
	o := Observation{Network: n.name(), Frame: *f, At: t.epoch.Add(t.now), Out: true, Made: made}
	if !t.judging {
		n.show(o)
		return
	}
	o.Frame = t.copy(f) // the frame may be finished, or cut, before it is shown
	t.held = append(t.held, heldObservation{n, o})
}

// lookAt keeps a copy of a frame that has come in, if anybody watches. The router changes the frame in its place, and
// the verdict comes after that.
func (n *network) lookAt(t *turn, f *tap.Frame) (seen tap.Frame, watched bool) {
	if n.watchers.Load() == nil {
		return tap.Frame{}, false
	}
	t.judging = true
	return t.copy(f), true
}

// judged shows a frame that lookAt has kept, with its verdict, and then what went out meanwhile. What another worker
// judges is shown by that worker. A frame that goes on is not shown if it waits again, or if it came from another
// station, as it went out then.
func (n *network) judged(t *turn, seen tap.Frame, v verdict, later bool) {
	if v != handedOver && !(later && (v == Parked || n.stationAt(seen.Ethernet()[6:12]) != nil)) {
		n.show(Observation{Network: n.name(), Frame: seen, At: t.epoch.Add(t.now), Verdict: v, Later: later})
	}
	t.judging = false
	for _, h := range t.held {
		h.network.show(h.Observation)
	}
	clear(t.held)
	t.held = t.held[:0]
}

// Observe has fn called with every frame that crosses a network's wire, once, in whichever direction, in the order in
// which they cross. The network is called by its name or id. A frame that came in is shown when
// it has its verdict. If the verdict is Parked, the frame is shown again when it goes on (Later). A frame that is
// dropped while it waits is only counted.
//
// A frame from one router to another on the network is shown once, as it goes out. A priority tag (IEEE 802.1Q, 6.9)
// is not shown if the router belongs to another worker than the network.
//
// fn runs on the path of the packets: it must not block, call the engine or keep the frame. stop
// ends the observation and returns once fn will not be called again. Nothing is paid while nobody observes;
// with an observer each frame that comes in is copied.
func (e *Engine) Observe(network string, fn func(Observation)) (stop func(), err error) {
	n := e.network(network)
	if n == nil {
		return nil, fmt.Errorf("router: observe network %q: no such network", network)
	}
	watch := &watcher{fn: fn}
	err = n.home.call(func() {
		all := []*watcher{watch}
		if others := n.watchers.Load(); others != nil {
			all = append(all, *others...)
		}
		n.watchers.Store(&all)
	})
	if err != nil {
		return nil, fmt.Errorf("router: observe network %q: %w", network, err)
	}
	var once sync.Once
	return func() { once.Do(func() { e.unwatch(n, watch) }) }, nil
}

// unwatch ends an observation. After Close nobody calls it anyway.
func (e *Engine) unwatch(n *network, watch *watcher) {
	_ = n.home.call(func() {
		all := without(*n.watchers.Load(), watch)
		if n.watchers.Store(&all); len(all) == 0 {
			n.watchers.Store(nil)
		}
	})
	for _, w := range e.view.Load().workers {
		_ = w.call(func() {}) // it may have been in the middle of a frame
	}
}

// Capture writes every frame that crosses the networks to a capture file (pcapng), each with its direction, and
// with a comment that says what has become of it (Observation.Comment). Without names it is every network of the
// topology. A packet that is parked and then dropped is written a second time, with that verdict. Wireshark finds
// what was dropped by the filter
//
//	frame.comment contains "dropped"
//
// w is written on the path of the packets, so its writer must be fast: give it a bufio.Writer, and flush that
// after stop. stop ends the capture, and returns once nothing more is written; w.Err then tells of errors.
func (e *Engine) Capture(w *tap.CaptureWriter, networks ...string) (stop func(), err error) {
	if len(networks) == 0 {
		networks = e.networkNames()
	}
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, name := range networks {
		if e.network(name) == nil {
			stop()
			return nil, fmt.Errorf("router: capture network %q: no such network", name)
		}
		iface := w.Interface(name)
		s, err := e.Observe(name, func(o Observation) {
			if _, _, dropped := o.Verdict.Dropped(); !o.Later || dropped {
				w.Frame(iface, o.At, o.Out, &o.Frame, o.Comment())
			}
		})
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, s)
	}
	return stop, nil
}

// networkNames are the names of all networks, sorted: the id of one that cannot be told by its name.
func (e *Engine) networkNames() []string {
	v := e.view.Load()
	var names []string
	for n := range e.State().Networks() {
		if at := v.networks[n.Name]; at != nil && at.id == id(n.ID) {
			names = append(names, n.Name)
		} else {
			names = append(names, string(n.ID))
		}
	}
	slices.Sort(names)
	return names
}
