package wire

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// An Observation is a frame that has crossed a network, and its verdict.
type Observation struct {
	// Network is the network's name.
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
	// Verdict says what has become of a frame that came in. It is zero for a frame that goes out.
	Verdict verdict.Verdict
	// Why says, in words, which port of the State a frame was of that port security has dropped, and what would let
	// it pass. It is empty for other frames.
	Why string
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
	case o.Why != "":
		return o.Verdict.String() + ": " + o.Why
	}
	return o.Verdict.String()
}

// A Watcher is a function that sees every frame that crosses a network, one at a time.
type Watcher struct {
	mu sync.Mutex        // two workers may send to the network
	Fn func(Observation) // runs on the path of the packets; see Engine.Observe
}

// Of a network that is watched, other workers look at the watchers, too.
type watched struct {
	Watchers atomic.Pointer[[]*Watcher] // nil: there are none
}

// show shows a frame to the network's watchers.
func (n *watched) show(o Observation) {
	all := n.Watchers.Load()
	if all == nil {
		return
	}
	for _, watch := range *all {
		watch.mu.Lock()
		watch.Fn(o)
		watch.mu.Unlock()
	}
}

// observeOut shows a frame that goes out. While a frame that came in has no verdict, it is shown after that frame.
func (n *Network) observeOut(t *loop.Turn, f *tap.Frame, made bool) {
	if n.Watchers.Load() == nil {
		return
	}
	o := Observation{Network: n.Name(), Frame: *f, At: t.Epoch.Add(t.Now), Out: true, Made: made}
	if !t.Judging {
		n.show(o)
		return
	}
	o.Frame = t.Copy(f) // the frame may be finished, or cut, before it is shown
	t.Held = append(t.Held, func() { n.show(o) })
}

// LookAt keeps a copy of a frame that has come in, if the network is watched: the router changes the frame in its
// place, and the verdict comes after that. The caller then calls Judged. The copy lives until the next flush.
func (n *Network) LookAt(t *loop.Turn, f *tap.Frame) (seen tap.Frame, watched bool) {
	if n.Watchers.Load() == nil {
		return tap.Frame{}, false
	}
	t.Judging = true
	return t.Copy(f), true
}

// Judged shows a frame that LookAt has kept, with its verdict, and then the frames that went out meanwhile. A frame
// that another worker judges is shown by that worker. later is set for a frame that was parked and goes on. Such a
// frame is not shown if it waits again, or if it came from another station: then it was shown when it went out.
func (n *Network) Judged(t *loop.Turn, seen tap.Frame, v verdict.Verdict, later bool) {
	if v != verdict.HandedOver && !(later && (v == verdict.Parked || n.StationAt(seen.Ethernet()[6:12]) != nil)) {
		n.show(Observation{
			Network: n.Name(), Frame: seen, At: t.Epoch.Add(t.Now), Verdict: v, Later: later, Why: n.whyDropped(v),
		})
	}
	t.Judging = false
	for _, show := range t.Held {
		show()
	}
	clear(t.Held)
	t.Held = t.Held[:0]
}

// Watch has fn called with every frame that crosses the network, one at a time, from now on. It is called by the worker
// of the network.
func (n *watched) Watch(fn func(Observation)) *Watcher {
	watch := &Watcher{Fn: fn}
	all := []*Watcher{watch}
	if others := n.Watchers.Load(); others != nil {
		all = append(all, *others...)
	}
	n.Watchers.Store(&all)
	return watch
}

// Unwatch ends an observation that Watch began. Other workers may be in the middle of a frame, and call the function
// once more. Unwatch is called by the worker of the network.
func (n *watched) Unwatch(watch *Watcher) {
	all := loop.Without(*n.Watchers.Load(), watch)
	if n.Watchers.Store(&all); len(all) == 0 {
		n.Watchers.Store(nil)
	}
}
