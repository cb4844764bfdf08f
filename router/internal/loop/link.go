package loop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A Link is one device with its I/O state, read by one worker. It hands frames up to its owner, and
// does not know what they are for. Its device, Outbox.Dev, is nil while the device is away.
//
// The maker of a link sets Name and Memory, and Ifname and Reopen if the device has them. Then come
// Worker.AddLink, an Owner, and Plug or Await.
type Link struct {
	Outbox // the frames that its own worker sends

	Owner   LinkOwner
	home    *Worker
	closed  bool                       // it is no link any more
	Name    string                     // what messages call the device
	Ifname  string                     // the interface that it is on, if the kernel tells of that one; else empty
	Reopen  func() (tap.Device, error) // opens the device when it comes back; on the reopener's goroutine
	Memory  bool                       // the device is in memory: gone for good when its far end closes
	awaited bool                       // the device did not exist at the start and has not come yet
	WantMTU int                        // the MTU for a device that has its MTU from the router; bytes, as MTU
	MTU     int                        // the largest packet that the device takes; 0: it does not say
	Exempt  bool                       // it never pauses
	Held    bool                       // it is not read, as it has no network for a moment
	Joins   bool                       // segments that it receives are joined to super-frames
	Narrow  bool                       // with a tag, the device takes only frames that are no longer than without one
	Tags    TagCounts                  // frames with the tag of no network

	inMemory bool // the device has no descriptor to wait for

	Open atomic.Pointer[openDevice] // the device as other workers may use it; nil: there is none

	ready bool // is on the worker's list of links to read
	trouble
	pace
}

// A LinkOwner takes the frames of a link, and hears what becomes of its device. Its methods are
// called by the worker of the link.
type LinkOwner interface {
	// Networks are the names of the networks that the device is of, for messages and statistics. The caller owns the
	// slice.
	Networks() []string
	// Receive takes a batch of frames. Their buffers are the worker's again when the batch is flushed.
	Receive(t *Turn, frames []tap.Frame)
	// LinkChanged: the device has come or gone, or takes packets of another size.
	LinkChanged(t *Turn)
	// LinkUp: frames pass again. There may be other hosts behind the device than before.
	LinkUp(t *Turn)
	// LinkLost: the device is gone, forGood if it will not be opened again.
	LinkLost(t *Turn, forGood bool)
}

// trouble is what is wrong with a link's device. It is noted so that it is logged
// once and not for every frame.
type trouble struct {
	IsDown  bool          // the device exists and carries no frames
	downAt  time.Duration // when it was last found to be down
	other   bool          // it has had an error that means neither down nor gone
	again   bool          // the link is read at lookAt, even if the device tells of no frames until then
	lookAt  time.Duration
	Pending atomic.Bool // set by a device in memory when it has frames; see Device.Notify
}

// An openDevice is what other workers know of a link's device. It is made anew for each change.
type openDevice struct {
	link *Link
	dev  tap.Device
	down bool // the link's own worker has found the device to be down
}

// publish tells other workers of the link's device.
func (l *Link) publish() {
	if l.Dev == nil {
		l.Open.Store(nil)
		return
	}
	l.Open.Store(&openDevice{l, l.Dev, l.IsDown})
}

// WarmBatch is how many frames a batch must have for looking ahead at them to be worth its time.
const WarmBatch = 4

// Read reads the link's frames and has its owner take them, until the device is dry or the budget of a turn
// (ReadBudget) is spent. If frames may be left, the link stays on the worker's list of links to read. Read reports
// whether there were any frames.
func (l *Link) Read(t *Turn) bool {
	w := l.home
	any, failed := false, false
	frames, strangers, size := 0, 0, 0
	// To answer a frame may show that the device is gone, so Dev is looked at again after each batch.
	for left, cost := ReadBudget, 1; left >= cost; left -= cost {
		b := l.fill(w)
		n, bytes, err := b.read, b.bytes, b.err
		l.Stats.RxFrames += uint64(n)
		l.Stats.RxBytes += uint64(bytes - n*tap.HeaderLen)
		formerStrangers, formerCopies := t.Strangers, t.Copies
		l.receive(t, w.Frames[:b.kept])
		strangers += t.Strangers - formerStrangers
		copies := t.Copies - formerCopies
		if len(t.Queue) > 0 {
			w.runQueue() // the frames of other links may be among these
		}
		w.Flush()
		cost = 1 + copies/BatchFrames // so many are as much work as a batch
		any = any || n > 0
		frames += n
		size += bytes
		l.Backlog += n
		l.count(n, t.Now)
		if l.spread = copies / max(1, n); copies > 0 {
			l.copied(copies, t.Now)
		}
		if l.Dev == nil {
			return any
		}
		if n > 0 && l.IsDown && t.Now-l.downAt >= downPause {
			l.cameUp(t)
		}
		switch {
		case err != nil:
			l.readTrouble(t, err)
			if l.Dev == nil {
				return any
			}
			failed = true // there may be frames behind the error
		case n == 0, b.dry && !l.inMemory:
			l.Backlog = 0
			return any // dry; a device in memory says that it is gone only when it is empty
		}
	}
	switch {
	case !any && failed:
		l.lookAgain(t, failPause) // a device that does nothing but fail must not keep the worker busy
	case w.shouldPause(l, frames, strangers, size):
		l.pause(t)
	default:
		w.mark(l)
	}
	return any
}

// receive has the owner take frames, those whose tunnel no device could cut in pieces.
func (l *Link) receive(t *Turn, frames []tap.Frame) {
	from := 0
	for i := range frames {
		f := &frames[i]
		if h := f.Header(); h[1] == virtio.GSONone {
			continue
		}
		if pieces := t.cutTunnelled(f); pieces != nil {
			l.Owner.Receive(t, frames[from:i])
			l.Owner.Receive(t, pieces)
			from = i + 1
		}
	}
	l.Owner.Receive(t, frames[from:])
}

// cutTunnelled returns the frames that a super-frame of a connection inside of a tunnel stands for, nil if it is no
// such frame.
func (t *Turn) cutTunnelled(f *tap.Frame) (pieces []tap.Frame) {
	var h virtio.Header
	if h.Parse(f.Header()); !packet.IsTunnelled(f.Ethernet(), &h) {
		return nil
	}
	packet.CutTunnelled(f.Ethernet(), h, func(n int) []byte {
		pieces = append(pieces, t.Alloc(n))
		return pieces[len(pieces)-1].Ethernet()
	})
	return pieces
}

// A batch is what a device has given for one round of the worker, in the worker's slots.
type batch struct {
	read, bytes int   // what the device had; the virtio-net headers are among the bytes
	kept        int   // frames, after some of them have been joined to others
	dry         bool  // there was no more
	err         error // of the last read
}

// fill reads a batch. Where the link joins segments, it goes on reading into the slots that become free.
func (l *Link) fill(w *Worker) (b batch) {
	m := w.merger
	joins := l.Joins && !l.inMemory
	if joins {
		m.Begin()
	}
	room := l.room()
	for {
		slots := w.Frames[b.kept:room]
		var n int
		n, b.err = l.Dev.Read(slots)
		for i := range slots[:n] {
			b.bytes += slots[i].Tail - slots[i].Head
		}
		b.read += n
		b.dry = n < len(slots) && b.bytes < tap.BatchBytes
		if !joins {
			b.kept = n
			return b
		}
		before := b.kept + n
		b.kept = m.Join(w.Frames, b.kept, n)
		if b.kept == before || b.dry || b.err != nil || b.bytes >= tap.BatchBytes {
			m.End(w.Frames[:b.kept])
			return b
		}
	}
}

// readTrouble deals with a device that cannot be read.
func (l *Link) readTrouble(t *Turn, err error) {
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

// writeTrouble deals with a device that did not take a frame. narrow: the frame was too long by its tag.
func (l *Link) writeTrouble(t *Turn, err error, narrow bool) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		l.lose(t, err)
	case errors.Is(err, tap.ErrDown):
		l.wentDown(t)
	case errors.Is(err, tap.ErrFull):
		// Counted as lost; a slow reader is no trouble of the device.
	case errors.Is(err, syscall.EMSGSIZE) && l.measure(t):
		// The interface has been told to take less, which has just been noticed.
	case narrow:
		l.narrowTags(t)
	default:
		l.complain(t, "writing", err)
	}
}

func (l *Link) wentDown(t *Turn) {
	l.downAt = t.Now
	l.lookAgain(t, downInterval)
	if !l.IsDown {
		l.IsDown = true
		l.publish()
		t.Log.Warn("device is down, its frames are lost until it is up again", "device", l.Name,
			"network", l.networks())
		l.tell(t, DeviceDown)
	}
}

func (l *Link) cameUp(t *Turn) {
	l.IsDown = false
	l.publish()
	t.Log.Info("device is up again", "device", l.Name, "network", l.networks())
	l.tell(t, DeviceUp)
	l.Owner.LinkUp(t)
}

// complain logs other trouble with a device, once.
func (l *Link) complain(t *Turn, doing string, err error) {
	if !l.other {
		l.other = true
		t.Log.Error("device trouble, logged once", "device", l.Name, "network", l.networks(), "doing", doing,
			"err", err)
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
func (l *Link) lookAgain(t *Turn, d time.Duration) {
	if !l.again || t.Now+d < l.lookAt {
		l.again, l.lookAt = true, t.Now+d
	}
	t.WakeAt(l.lookAt)
}

// Tick has the link read if it is time to look again.
func (l *Link) Tick(t *Turn) {
	if !l.again {
		return
	}
	if t.Now < l.lookAt {
		t.WakeAt(l.lookAt)
		return
	}
	l.again = false
	if l.Dev == nil {
		return
	}
	l.resume()
	if l.IsDown {
		l.lookAgain(t, downInterval)
	}
}

// lose gives up a device that is gone. A device in memory is gone for good, any
// other device is opened again when that can be done.
func (l *Link) lose(t *Turn, err error) {
	if l.Dev == nil {
		return
	}
	w := l.home
	w.Waiter.Remove(l)
	l.paused = false
	gone := l.Dev
	l.Dev = nil
	w.memory = Without(w.memory, l)
	l.publish()
	l.Owner.LinkLost(t, l.Memory)
	if l.Memory || w.Reopener == nil {
		_ = gone.Close() // err has said already that something is wrong
	}
	if l.Memory {
		w.RemoveLink(l)
		return
	}
	t.Log.Warn("device is gone, trying to open it again", "device", l.Name, "network", l.networks(), "err", err)
	l.tell(t, DeviceLost)
	if w.Reopener != nil {
		l.wantBack(gone) // closing it takes the kernel some time
	}
}

// Withdraw ends the link, and returns its device, nil if the device is away. The device is the caller's. Frames that
// wait to be sent go out before.
func (l *Link) Withdraw(t *Turn) tap.Device {
	w := l.home
	l.Write(t)
	l.closed = true
	if w.Reopener != nil {
		w.Reopener.forget(l)
	}
	w.RemoveLink(l)
	dev := l.Dev
	if dev == nil {
		return nil
	}
	w.Waiter.Remove(l)
	w.memory = Without(w.memory, l)
	l.Dev, l.paused = nil, false
	l.publish()
	dev.Notify(func() {})
	return dev
}

// Await has the device of a link opened when it comes. It is for a device that does not exist yet; err says why it
// could not be opened.
func (l *Link) Await(t *Turn, err error) {
	l.awaited = true
	t.Log.Warn("device is missing, it is opened when it comes", "device", l.Name, "network", l.networks(), "err", err)
	l.tell(t, DeviceLost)
	l.wantBack(nil, err.Error())
}

// wantBack has a link's device opened when that can be done. gone is the former device, which is closed
// before, nil if there was none. said are the reasons why it cannot be opened that have been logged.
func (l *Link) wantBack(gone tap.Device, said ...string) {
	w := l.home
	w.Reopener.add(&lostDevice{
		link: l, name: l.Name, ifname: l.Ifname, network: l.networks(), mtu: l.WantMTU, joins: l.Joins,
		open: l.Reopen, gone: gone, said: said,
		post: w.Post, back: func(dev tap.Device) { l.regain(&w.Turn, dev) },
	})
}

// regain takes a reopened device into use.
func (l *Link) regain(t *Turn, dev tap.Device) {
	if l.closed {
		_ = dev.Close() // it has not been used, so an error does not matter
		return
	}
	l.IsDown, l.other = false, false
	SetMTU(dev, l.WantMTU, t.Log) // the network may have got another one meanwhile
	SetGRO(dev, l.Joins)
	l.Plug(t, dev)
	news := "device is back"
	if l.awaited {
		l.awaited, news = false, "device is there"
	}
	t.Log.Info(news, "device", l.Name, "network", l.networks())
	l.tell(t, DeviceBack)
	l.Owner.LinkUp(t)
}

// Plug connects a device to its link, which owns the device from now on. The link is one of the worker's (AddLink).
func (l *Link) Plug(t *Turn, dev tap.Device) {
	w := l.home
	l.Dev, l.Takes, l.MTU, l.Narrow = dev, dev.Features(), MTUOf(dev), false
	l.publish()
	l.Owner.LinkChanged(t)
	l.inMemory = dev.FD() < 0
	if l.inMemory {
		w.memory = append(w.memory, l)
	} else if err := w.Waiter.Add(l); err != nil {
		l.complain(t, "waiting for", err)
	}
	dev.Notify(func() {
		l.Pending.Store(true)
		w.Waiter.Wake()
	})
	w.mark(l) // it may have frames already
	w.Waiter.Wake()
}

// measure asks a device for its MTU, and reports whether that has changed.
func (l *Link) measure(t *Turn) bool { return l.Resize(t, MTUOf(l.Dev)) }

// Resize notes that the device has another MTU, in bytes, and reports whether that is so. It is called by the worker of
// the link.
func (l *Link) Resize(t *Turn, mtu int) bool {
	if l.Dev == nil || mtu == l.MTU {
		return false
	}
	l.MTU, l.Narrow = mtu, false
	l.Owner.LinkChanged(t)
	return true
}

// Home is the worker that reads the link. Any goroutine may call it.
func (l *Link) Home() *Worker { return l.home }

// Device is the link's device, nil while it is away. Any goroutine may call it.
func (l *Link) Device() tap.Device {
	if open := l.Open.Load(); open != nil {
		return open.dev
	}
	return nil
}

// namesShown is how many networks of a device its messages name.
const namesShown = 4

// networks names the networks of the link in messages.
func (l *Link) networks() string {
	names := l.Owner.Networks()
	slices.Sort(names)
	text := strings.Join(names[:min(len(names), namesShown)], ", ")
	if more := len(names) - namesShown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Release has a link read again that was held.
func (l *Link) Release() {
	l.Held = false
	if l.Dev != nil {
		l.home.mark(l)
		l.home.Waiter.Wake()
	}
}

// tell tells of a device, unless it is in memory: such a device comes and goes with the program that has the far end.
func (l *Link) tell(t *Turn, what NewsKind) {
	if t.Tell != nil && !l.Memory {
		t.Tell(News{Kind: what, Network: l.networks(), Device: l.Name})
	}
}
