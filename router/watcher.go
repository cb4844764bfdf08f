package router

import (
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
	t.held = append(t.held, func() { n.show(o) })
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
	for _, show := range t.held {
		show()
	}
	clear(t.held)
	t.held = t.held[:0]
}

// watch has fn called with every frame that crosses the network, one at a time, from now on. It is called by the worker
// of the network.
func (n *network) watch(fn func(Observation)) *watcher {
	watch := &watcher{fn: fn}
	all := []*watcher{watch}
	if others := n.watchers.Load(); others != nil {
		all = append(all, *others...)
	}
	n.watchers.Store(&all)
	return watch
}

// unwatch ends what watch began. Other workers may be in the middle of a frame still. It is called by the worker of the
// network.
func (n *network) unwatch(watch *watcher) {
	all := without(*n.watchers.Load(), watch)
	if n.watchers.Store(&all); len(all) == 0 {
		n.watchers.Store(nil)
	}
}
