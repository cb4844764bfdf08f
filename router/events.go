package router

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/loop"
)

// An EventKind says what has happened. The values are the words of documents and APIs.
type EventKind string

// The kinds of events.
const (
	Applied         EventKind = "applied"          // the engine serves another State
	DeviceDown      EventKind = "device-down"      // a device carries no frames
	DeviceUp        EventKind = "device-up"        // a device that was down carries frames again
	DeviceLost      EventKind = "device-lost"      // a device is gone, or not there yet; it is opened when it comes
	DeviceBack      EventKind = "device-back"      // a lost device is open
	MemberUp        EventKind = "member-up"        // the checks of a router have found a member to be up
	MemberDown      EventKind = "member-down"      // they have found it to be down
	AddressConflict EventKind = "address-conflict" // another host uses an address of a router (RFC 5227)
	EventsLost      EventKind = "events-lost"      // some events were not delivered, as the function was too slow
)

// An Event is something that has happened in an engine. Which fields are set depends on the kind.
type Event struct {
	Kind EventKind
	At   time.Time

	Network string     // the network's name: of a device, of a conflict
	Device  string     // the device's name, as in the State
	Router  string     // the router's name: of a conflict, of checks
	Pool    string     // the pool's name: of a member
	Member  string     // the member's name; empty if it has none
	Ref     config.Ref // the member
	Address string     // the router's address: of a conflict
	MAC     string     // the MAC address of the other host: of a conflict
	Reason  string     // why the member is up or down, in words

	State *config.State // of Applied: the State that is served now
	Lost  int           // of EventsLost: how many events
}

// maxEvents bounds the events that wait for one function.
const maxEvents = 1024

// events are the functions that hear of an engine's events.
type events struct {
	all atomic.Pointer[[]*listener] // nil: there are none
	mu  sync.Mutex                  // held while all changes
	sim *Simulation                 // nil: the engine is a real one
}

// A listener is one function with the events that wait for it.
type listener struct {
	fn func(Event)

	mu      sync.Mutex
	waiting []Event
	lost    int
	running bool // a goroutine calls fn
	ended   bool
	idle    sync.Cond // of running
}

// Events has fn called with everything that happens in the engine from now on, in order, one event at a time, from a
// goroutine of the engine's own. In a Simulation fn is called within the method that has the event happen, and must not
// call the Simulation. If fn is so slow that 1024 events wait for it, the
// next ones are not delivered, and an event of the kind EventsLost says how many they were. fn may call the engine,
// except Close. stop ends this, and returns once fn will not be called again; fn must not call it. Close does the
// same, after fn has got all events from before.
func (e *Engine) Events(fn func(Event)) (stop func()) {
	l := &listener{fn: fn}
	l.idle.L = &l.mu
	e.events.change(func(all []*listener) []*listener { return append(all, l) })
	return func() {
		e.events.change(func(all []*listener) []*listener {
			return slices.DeleteFunc(all, func(other *listener) bool { return other == l })
		})
		l.end(true)
	}
}

// change replaces the list of functions by the one that do makes of it.
func (ev *events) change(do func([]*listener) []*listener) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	var all []*listener
	if now := ev.all.Load(); now != nil {
		all = slices.Clone(*now)
	}
	if all = do(all); len(all) == 0 {
		ev.all.Store(nil)
		return
	}
	ev.all.Store(&all)
}

// tell tells of an event. Workers call it, so it does not wait for a function.
func (ev *events) tell(what Event) {
	all := ev.all.Load()
	if all == nil {
		return
	}
	if ev.sim != nil {
		what.At = simStart.Add(ev.sim.now).UTC()
		for _, l := range *all {
			l.fn(what)
		}
		return
	}
	what.At = time.Now()
	for _, l := range *all {
		l.add(what)
	}
}

// end ends the calls of all functions, after the calls for the events that wait.
func (ev *events) end() {
	if all := ev.all.Swap(nil); all != nil {
		for _, l := range *all {
			l.end(false)
		}
	}
}

// add has an event delivered.
func (l *listener) add(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		return
	case len(l.waiting) >= maxEvents:
		l.lost++
		return
	case l.lost > 0:
		l.waiting = append(l.waiting, Event{Kind: EventsLost, At: ev.At, Lost: l.lost})
		l.lost = 0
	}
	l.waiting = append(l.waiting, ev)
	if !l.running {
		l.running = true
		go l.run()
	}
}

// run calls the function until nothing waits.
func (l *listener) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 || l.lost > 0 {
		if len(l.waiting) == 0 {
			l.waiting = append(l.waiting, Event{Kind: EventsLost, At: time.Now(), Lost: l.lost})
			l.lost = 0
		}
		ev := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		l.fn(ev)
		l.mu.Lock()
	}
	l.waiting, l.running = nil, false
	l.idle.Broadcast()
}

// end waits until the function is not called any more. now drops the events that wait.
func (l *listener) end(now bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if now {
		l.waiting, l.lost = nil, 0
	}
	for l.running {
		l.idle.Wait()
	}
}

// news are the kinds of events for the kinds of news that workers tell.
var news = [...]EventKind{
	loop.DeviceDown: DeviceDown, loop.DeviceUp: DeviceUp, loop.DeviceLost: DeviceLost, loop.DeviceBack: DeviceBack,
	loop.Conflict: AddressConflict,
}

// hear takes the news of a worker.
func (ev *events) hear(n loop.News) {
	what := Event{Kind: news[n.Kind], Network: n.Network, Device: n.Device, Router: n.Router}
	if n.Kind == loop.Conflict {
		what.Address, what.MAC = n.Addr.Netip().String(), n.MAC.String()
	}
	ev.tell(what)
}
