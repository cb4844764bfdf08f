package router

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A link is one device with its I/O state, read by one worker. What it does not know is what its
// frames are for: they go up to its owner. Its device, dev, is nil while the device is away.
type link struct {
	outbox // what its own worker sends

	owner   linkOwner
	home    *worker
	closed  bool   // it is no link any more
	network string // of its owner, in messages and statistics
	name    string // what messages call the device
	ifname  string // the interface that it is on, if the kernel tells of that one; else empty
	reopen  func() (tap.Device, error)
	memory  bool // in memory: gone for good when its far end closes
	awaited bool // the device did not exist at the start and has not come yet
	wantMTU int  // what a device that has its MTU from the router is to get
	mtu     int  // the largest packet that the device takes, as far as it says
	exempt  bool // it never pauses

	inMemory bool // the device has no descriptor to wait for

	open atomic.Pointer[openDevice] // for other workers; nil: there is no device

	ready bool // is on the worker's list of links to read
	trouble
	pace
}

// A linkOwner takes the frames of a link, and hears what becomes of its device. Its methods are
// called by the worker of the link.
type linkOwner interface {
	// receive takes a batch of frames. Their buffers are the worker's again when the batch is flushed.
	receive(t *turn, frames []tap.Frame)
	// linkChanged: the device has come or gone, or takes packets of another size.
	linkChanged(t *turn)
	// linkUp: frames pass again. There may be other hosts behind the device than before.
	linkUp(t *turn)
	// linkLost: the device is gone, forGood if it will not be opened again.
	linkLost(t *turn, forGood bool)
}

// trouble is what a device has been found to suffer from, so that it is logged
// once and not for every frame.
type trouble struct {
	isDown  bool
	downAt  time.Duration // when it was last found to be
	other   bool          // an error that is neither down nor gone
	again   bool          // to be read at lookAt, whatever it says until then
	lookAt  time.Duration
	pending pending
}

// An openDevice is what other workers know of a link's device. It is made anew for each change.
type openDevice struct {
	link *link
	dev  tap.Device
	down bool // the link's own worker has found it to be
}

// publish tells other workers of the link's device.
func (l *link) publish() {
	if l.dev == nil {
		l.open.Store(nil)
		return
	}
	l.open.Store(&openDevice{l, l.dev, l.isDown})
}

// warmBatch is how many frames make it worth while to look ahead.
const warmBatch = 4

// read reads the link's frames and has them forwarded, until the device is dry or the budget of a turn
// is spent. With frames left, the link stays on the worker's list. It reports whether there were any.
func (l *link) read(t *turn) bool {
	w := l.home
	any, failed := false, false
	frames, strangers, size := 0, t.strangers, 0
	// Answering what was read may show that the device is gone.
	for range readBudget {
		n, err := l.dev.Read(w.frames)
		bytes := 0
		for i := range w.frames[:n] {
			bytes += w.frames[i].Tail - w.frames[i].Head
		}
		l.stats.RxFrames += uint64(n)
		l.stats.RxBytes += uint64(bytes - n*tap.HeaderLen)
		l.owner.receive(t, w.frames[:n])
		if len(t.queue) > 0 {
			w.runQueue()
		}
		w.flush()
		any = any || n > 0
		frames += n
		size += bytes
		l.backlog += n
		l.count(n, t.now)
		if l.dev == nil {
			return any
		}
		if n > 0 && l.isDown && t.now-l.downAt >= downPause {
			l.cameUp(t)
		}
		switch {
		case err != nil:
			l.readTrouble(t, err)
			if l.dev == nil {
				return any
			}
			failed = true // there may be frames behind the error
		case n == 0, n < len(w.frames) && bytes < tap.BatchBytes && !l.inMemory:
			l.backlog = 0
			return any // dry; a device in memory says that it is gone only when it is empty
		}
	}
	switch {
	case !any && failed:
		l.lookAgain(t, failPause) // a device that does nothing but fail must not keep the worker busy
	case w.shouldPause(l, frames, t.strangers-strangers, size):
		l.pause(t)
	default:
		w.mark(l)
	}
	return any
}

// readTrouble deals with a device that cannot be read.
func (l *link) readTrouble(t *turn, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		l.lose(t, err)
	case errors.Is(err, tap.ErrDown):
		l.wentDown(t)
	case errors.Is(err, tap.ErrBusy):
		// It is read again in a moment.
	default:
		l.complain(t, "reading", err)
	}
}

// writeTrouble deals with a device that did not take a frame.
func (l *link) writeTrouble(t *turn, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		l.lose(t, err)
	case errors.Is(err, tap.ErrDown):
		l.wentDown(t)
	case errors.Is(err, tap.ErrFull):
		// Counted as lost; a slow reader is no trouble of the device.
	case errors.Is(err, syscall.EMSGSIZE) && l.measure(t):
		// The interface has been told to take less, which has just been noticed.
	default:
		l.complain(t, "writing", err)
	}
}

func (l *link) wentDown(t *turn) {
	l.downAt = t.now
	l.lookAgain(t, downInterval)
	if !l.isDown {
		l.isDown = true
		l.publish()
		t.log.Warn("device is down, its frames are lost until it is up again", "device", l.name, "network", l.network)
	}
}

func (l *link) cameUp(t *turn) {
	l.isDown = false
	l.publish()
	t.log.Info("device is up again", "device", l.name, "network", l.network)
	l.owner.linkUp(t)
}

// complain logs other trouble with a device, once.
func (l *link) complain(t *turn, doing string, err error) {
	if !l.other {
		l.other = true
		t.log.Error("device trouble, logged once", "device", l.name, "network", l.network, "doing", doing, "err", err)
	}
}

const (
	// downInterval is how often a device that is down is looked at: nothing tells
	// when it disappears meanwhile.
	downInterval = time.Second
	// downPause is how long a device must not have failed for a frame from it to
	// mean that it is up: it may still hold some from before.
	downPause = 100 * time.Millisecond
	// failPause is the time between attempts to read a device that only fails.
	failPause = 10 * time.Millisecond
)

// lookAgain has a link read in a while, even if the device does not tell of frames.
func (l *link) lookAgain(t *turn, d time.Duration) {
	if !l.again || t.now+d < l.lookAt {
		l.again, l.lookAt = true, t.now+d
	}
	t.wakeAt(l.lookAt)
}

// tick has the link read if it is time to look again.
func (l *link) tick(t *turn) {
	if !l.again {
		return
	}
	if t.now < l.lookAt {
		t.wakeAt(l.lookAt)
		return
	}
	l.again = false
	if l.dev == nil {
		return
	}
	l.resume()
	if l.isDown {
		l.lookAgain(t, downInterval)
	}
}

// lose gives up a device that is gone. One in memory is gone for good, any
// other is reopened when it can be.
func (l *link) lose(t *turn, err error) {
	if l.dev == nil {
		return
	}
	w := l.home
	w.wait.remove(l)
	l.paused = false
	gone := l.dev
	l.dev = nil
	w.memory = without(w.memory, l)
	l.publish()
	l.owner.linkLost(t, l.memory)
	if l.memory || w.reopener == nil {
		_ = gone.Close() // what could be wrong has been said by err
	}
	if l.memory {
		w.removeLink(l)
		return
	}
	t.log.Warn("device is gone, trying to open it again", "device", l.name, "network", l.network, "err", err)
	if w.reopener != nil {
		l.wantBack(gone) // closing it takes the kernel some time
	}
}

// withdraw ends the link, and returns its device, nil if that is away. What is waiting to be sent goes out before.
func (l *link) withdraw(t *turn) tap.Device {
	w := l.home
	l.write(t)
	l.closed = true
	if w.reopener != nil {
		w.reopener.forget(l)
	}
	w.removeLink(l)
	dev := l.dev
	if dev == nil {
		return nil
	}
	w.wait.remove(l)
	w.memory = without(w.memory, l)
	l.dev, l.paused = nil, false
	l.publish()
	dev.Notify(func() {})
	return dev
}

// await is for a link whose device does not exist yet.
func (l *link) await(t *turn, err error) {
	l.awaited = true
	t.log.Warn("device is missing, it is opened when it comes", "device", l.name, "network", l.network, "err", err)
	l.wantBack(nil, err.Error())
}

// wantBack has a link's device opened when that can be done. gone is what to close
// before, nil if there was nothing. said is why it cannot be opened, as far as that has
// been logged.
func (l *link) wantBack(gone tap.Device, said ...string) {
	w := l.home
	w.reopener.add(&lostDevice{
		link: l, name: l.name, ifname: l.ifname, network: l.network, mtu: l.wantMTU, open: l.reopen, gone: gone,
		said: said,
		post: w.post, back: func(dev tap.Device) { l.regain(&w.turn, dev) },
	})
}

// regain takes a reopened device into use.
func (l *link) regain(t *turn, dev tap.Device) {
	if l.closed {
		_ = dev.Close() // nobody has used it
		return
	}
	l.isDown, l.other = false, false
	setMTU(dev, l.wantMTU, t.log) // the network may have got another one meanwhile
	l.plug(t, dev)
	news := "device is back"
	if l.awaited {
		l.awaited, news = false, "device is there"
	}
	t.log.Info(news, "device", l.name, "network", l.network)
	l.owner.linkUp(t)
}

// plug connects a device to its link.
func (l *link) plug(t *turn, dev tap.Device) {
	w := l.home
	l.dev, l.takes, l.mtu = dev, dev.Features(), mtuOf(dev)
	l.publish()
	l.owner.linkChanged(t)
	l.inMemory = dev.FD() < 0
	if l.inMemory {
		w.memory = append(w.memory, l)
	} else if err := w.wait.add(l); err != nil {
		l.complain(t, "waiting for", err)
	}
	dev.Notify(func() {
		l.pending.Store(true)
		w.wait.wake()
	})
	w.mark(l) // it may have frames already
	w.wait.wake()
}

// measure asks a device for its MTU, and reports whether that has changed.
func (l *link) measure(t *turn) bool {
	mtu := mtuOf(l.dev)
	if mtu == l.mtu {
		return false
	}
	l.mtu = mtu
	l.owner.linkChanged(t)
	return true
}
