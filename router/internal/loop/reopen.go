package loop

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A Reopener opens devices that have gone away, or have not been there yet, on a
// goroutine of its own: opening takes longer than a packet may wait. It tries at
// intervals, and at once when it hears of a new interface. Any goroutine may call its methods.
type Reopener struct {
	log     *slog.Logger
	changed func([]string) // Options.OnMissing of package router, or nil
	wake    chan struct{}  // the goroutine is to look for devices that are called, or given up
	close   chan struct{}
	done    chan struct{}

	// Mu guards the fields below. It is held for a few instructions only, because workers take it.
	Mu      sync.Mutex
	lost    []*lostDevice
	given   []*lostDevice // given up
	news    bool          // lost has changed since changed was called
	ended   bool
	Watched bool // Call is called for each interface that comes
}

// A lostDevice is a device to open. Unless a comment says otherwise, a field belongs to the
// reopener's goroutine.
type lostDevice struct {
	link    *Link  // which the reopener does not look into
	name    string // in messages
	ifname  string // the interface that it is on, if the kernel tells of that one; else empty
	network string // in messages
	mtu     int    // the network's
	joins   bool   // the device may join segments
	open    func() (tap.Device, error)
	post    func(func()) bool // to the worker that misses it
	back    func(tap.Device)
	gone    tap.Device // the former device, to be closed; nil: there is none
	called  bool       // its interface has come or changed; with the reopener's Mu
	calls   int        // attempts because of that since the last interval
	turn    int        // intervals so far, modulo unannouncedTurns
	said    []string   // reasons why it cannot be opened that have been logged
}

const (
	// reopenInterval is the time between two attempts.
	reopenInterval = time.Second
	// unannouncedTurns is how many intervals there are between attempts to open a device
	// whose interface is announced when it comes.
	unannouncedTurns = 10
	// callsMost bounds the attempts in one interval: to open an interface changes it, and
	// the kernel tells of this change, too.
	callsMost = 5
	// saidMost bounds the reasons that are logged why one device does not come.
	saidMost = 8
)

// NewReopener starts a reopener, which Stop ends. changed, unless nil, is called with the names of the missing devices
// each time that these change, one call at a time, on the reopener's goroutine.
func NewReopener(log *slog.Logger, changed func([]string)) *Reopener {
	r := &Reopener{
		log: log, changed: changed, wake: make(chan struct{}, 1),
		close: make(chan struct{}), done: make(chan struct{}),
	}
	go r.run()
	return r
}

// add hands over a device to open. It does not wait for the goroutine, which may be
// opening another one.
func (r *Reopener) add(l *lostDevice) {
	l.turn = -1 // so it is tried at the end of this interval: its interface may have come before add
	r.Mu.Lock()
	ended := r.ended
	if !ended {
		r.lost = append(r.lost, l)
		r.news = true
	}
	r.Mu.Unlock()
	if ended {
		finish([]*lostDevice{l})
	}
	r.rouse()
}

// finish closes the devices that are gone. Their errors have been logged.
func finish(lost []*lostDevice) {
	var devices []tap.Device
	for _, l := range lost {
		if l.gone != nil {
			devices = append(devices, l.gone)
			l.gone = nil
		}
	}
	CloseAll(devices, nil)
}

// forget gives up the device of a link, if it is lost.
func (r *Reopener) forget(l *Link) {
	r.Mu.Lock()
	i := slices.IndexFunc(r.lost, func(d *lostDevice) bool { return d.link == l })
	var lost *lostDevice
	if i >= 0 {
		lost = r.lost[i]
		r.given = append(r.given, lost)
		r.lost = slices.Delete(slices.Clone(r.lost), i, i+1)
		r.news = true
	}
	r.Mu.Unlock()
	if lost != nil {
		r.rouse()
	}
}

func (r *Reopener) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Call has the devices opened that need an interface of this name.
func (r *Reopener) Call(name string) {
	r.Mu.Lock()
	any := false
	for _, l := range r.lost {
		if l.ifname == name {
			l.called, any = true, true
		}
	}
	r.Mu.Unlock()
	if any {
		r.rouse()
	}
}

// Missing returns the names of the devices that are not open, in alphabetical order. The caller owns the slice.
func (r *Reopener) Missing() []string {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	var names []string
	for _, l := range r.lost {
		names = append(names, l.name)
	}
	slices.Sort(names)
	return names
}

func (r *Reopener) run() {
	defer close(r.done)
	timer := time.NewTimer(reopenInterval)
	defer timer.Stop()
	timed := true
	for {
		if r.tell(); r.idle() {
			timer.Stop() // nothing is lost: sleep
			timed = false
		} else if !timed {
			timer.Reset(reopenInterval)
			timed = true
		}
		select {
		case <-r.close:
			return
		case <-r.wake:
			r.try(false)
		case <-timer.C:
			timed = false
			r.try(true)
		}
	}
}

func (r *Reopener) idle() bool {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return len(r.lost) == 0
}

// tell says which devices are missing, if that has changed.
func (r *Reopener) tell() {
	r.Mu.Lock()
	news := r.news
	r.news = false
	r.Mu.Unlock()
	if news && r.changed != nil {
		r.changed(r.Missing())
	}
}

// due returns the devices to try now: the called ones, and at the end of an interval also
// the others whose turn it is.
func (r *Reopener) due(interval bool) []*lostDevice {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	var due []*lostDevice
	for _, l := range r.lost {
		if interval {
			l.calls = 0
		}
		now := l.called && l.calls < callsMost
		if interval {
			l.turn = (l.turn + 1) % unannouncedTurns
			now = now || l.turn == 0 || !r.Watched || l.ifname == ""
		}
		if now {
			l.called = false
			l.calls++
			due = append(due, l)
		}
	}
	return due
}

// try opens what can be opened.
func (r *Reopener) try(interval bool) {
	r.Mu.Lock()
	lost := slices.Concat(r.lost, r.given)
	r.given = nil
	r.Mu.Unlock()
	finish(lost)
	for _, l := range r.due(interval) {
		dev, err := l.open()
		if err != nil {
			r.explain(l, err)
			continue
		}
		SetMTU(dev, l.mtu, r.log)
		SetGRO(dev, l.joins)
		r.Mu.Lock()
		r.lost = Without(r.lost, l)
		r.news = true
		r.Mu.Unlock()
		if !l.post(func() { l.back(dev) }) {
			_ = dev.Close()
		}
	}
}

// explain logs each reason once why a device does not come.
func (r *Reopener) explain(l *lostDevice, err error) {
	if reason := err.Error(); len(l.said) < saidMost && !slices.Contains(l.said, reason) {
		l.said = append(l.said, reason)
		r.log.Warn("device cannot be opened yet", "device", l.name, "network", l.network, "err", err)
	}
}

// Stop ends the goroutine, waits for it, and closes the devices that are gone. It is called once.
func (r *Reopener) Stop() {
	close(r.close)
	<-r.done
	r.Mu.Lock()
	lost := slices.Concat(r.lost, r.given)
	r.lost, r.given, r.ended = nil, nil, true
	r.Mu.Unlock()
	finish(lost)
}
