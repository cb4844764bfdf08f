package router

import (
	"fmt"
	"slices"
	"sync"

	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// An Observation is a frame that has crossed a network, and its verdict.
type Observation = wire.Observation

// Observe has fn called with every frame that crosses a network's wire, once, in whichever direction, in the order in
// which they cross. The network is called by its name or id. A frame that came in is shown when
// it has its verdict. If the verdict is Parked, the frame is shown again when it goes on (Later). A frame that is
// dropped while it waits is only counted.
//
// A frame from one router to another on the network is shown once, as it goes out. A priority tag (IEEE 802.1Q, 6.9)
// is not shown if the router belongs to another worker than the network.
//
// fn runs on the path of the packets: it must not block, call the engine or keep the frame. stop
// ends the observation and returns once fn will not be called again. Without an observer a network costs
// nothing extra; with one, each frame that comes in is copied.
func (e *Engine) Observe(network string, fn func(Observation)) (stop func(), err error) {
	n := e.network(network)
	if n == nil {
		return nil, fmt.Errorf("router: observe network %q: no such network", network)
	}
	var watch *wire.Watcher
	if err := n.Home.Call(func() { watch = n.Watch(fn) }); err != nil {
		return nil, fmt.Errorf("router: observe network %q: %w", network, err)
	}
	var once sync.Once
	return func() { once.Do(func() { unwatch(e, n, watch) }) }, nil
}

// unwatch ends an observation. After Close fn is not called in any case.
func unwatch(e *Engine, n *wire.Network, watch *wire.Watcher) {
	_ = n.Home.Call(func() { n.Unwatch(watch) })
	for _, w := range e.view.Load().workers {
		_ = w.Call(func() {}) // it may have been in the middle of a frame
	}
}

// Capture writes every frame that crosses the networks to a capture file (pcapng), each with its direction, and
// with a comment that says what has become of it (Observation.Comment). Without names it is every network of the
// State. A packet that is parked and then dropped is written a second time, with that verdict. Wireshark finds
// dropped frames by the filter
//
//	frame.comment contains "dropped"
//
// w is written on the path of the packets, so its writer must be fast: give it a bufio.Writer, and flush that
// after stop. stop ends the capture, and returns once nothing more is written; w.Err then tells of errors.
func (e *Engine) Capture(w *tap.CaptureWriter, networks ...string) (stop func(), err error) {
	if len(networks) == 0 {
		networks = networkNames(e)
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
func networkNames(e *Engine) []string {
	v := e.view.Load()
	var names []string
	for n := range e.State().Networks() {
		if at := v.networks[n.Name]; at != nil && at.ID == wire.ID(n.ID) {
			names = append(names, n.Name)
		} else {
			names = append(names, string(n.ID))
		}
	}
	slices.Sort(names)
	return names
}
