package router

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// Workers own different routers. What one of them has to give to another on the
// way of a packet goes through a handover: frames that its network's device
// received for a router of the other, and what a router sends to a network that is
// not its worker's.
//
// A handover is a ring of bytes between two workers, one of which writes and the
// other reads, without a lock. The reader forwards frames where they lie, and
// frees them once they are written.
type handover struct {
	buf  []byte
	to   *worker
	head atomic.Uint64 // read up to here
	tail atomic.Uint64 // written up to here

	// The writer's: what it has written but not yet shown, and where the
	// reader was when it last looked.
	written, known uint64
	hidden         bool
	// The reader's: what it has read but not yet freed.
	taken uint64
}

const (
	// handoverMost is what one ring holds, unless there are many: a hundred
	// super-frames, or tens of thousands of small ones. What does not fit is dropped,
	// as a device's queue would. All of them share handoverBudget, as they are
	// written through from end to end, and so stay in memory.
	handoverMost   = 8 << 20
	handoverLeast  = 1 << 20
	handoverBudget = 128 << 20
	// recordHead is a record's length, kind and interface, before the frame's headroom.
	recordHead  = 16
	recordAlign = 64
)

// The kinds of records.
const (
	recordSkip     = iota // nothing up to the end of the ring
	recordForward         // for the router at the interface
	recordCopy            // likewise, a copy of a frame that is counted elsewhere
	recordTransmit        // from the router, to the interface's network
)

// A handed frame has come from another worker.
type handed struct {
	kind  uint8
	iface uint32 // its number in the engine
	frame tap.Frame
}

// newHandover makes a ring of n bytes, a power of two.
func newHandover(to *worker, n int) *handover { return &handover{buf: make([]byte, n), to: to} }

// handoverLen is the length of each of so many rings.
func handoverLen(rings int) int {
	n := handoverMost
	for n > handoverLeast && n*rings > handoverBudget {
		n /= 2
	}
	return n
}

// push copies a frame into the ring. It reports false when there is no room. The
// reader does not see it before show.
func (h *handover) push(kind uint8, iface uint32, f *tap.Frame) bool {
	n := f.Tail - f.Head
	size := uint64(recordHead+tap.Headroom+n+recordAlign-1) &^ (recordAlign - 1)
	length := uint64(len(h.buf))
	at := h.written & (length - 1)
	skip := uint64(0)
	if at+size > length {
		skip = length - at
	}
	if h.written+skip+size-h.known > length {
		h.known = h.head.Load()
		if h.written+skip+size-h.known > length {
			return false
		}
	}
	if skip > 0 {
		h.record(at, skip, recordSkip, 0, 0)
		h.written += skip
		at = 0
	}
	h.record(at, size, kind, iface, uint32(n))
	copy(h.buf[at+recordHead+tap.Headroom:], f.Buf[f.Head:f.Tail])
	h.written += size
	return true
}

func (h *handover) record(at, size uint64, kind uint8, iface, n uint32) {
	b := h.buf[at:]
	binary.NativeEndian.PutUint32(b, uint32(size))
	binary.NativeEndian.PutUint32(b[4:], n)
	binary.NativeEndian.PutUint32(b[8:], iface)
	b[12] = kind
}

// show lets the reader see what has been written, and wakes it.
func (h *handover) show() {
	h.tail.Store(h.written)
	h.to.wait.wake()
}

// waiting reports whether there is anything to pop.
func (h *handover) waiting() bool { return h.taken != h.tail.Load() }

// pop takes the next frame. It stays where it is until free.
func (h *handover) pop() (handed, bool) {
	for h.taken != h.tail.Load() {
		at := h.taken & uint64(len(h.buf)-1)
		b := h.buf[at:]
		size := uint64(binary.NativeEndian.Uint32(b))
		h.taken += size
		if b[12] == recordSkip {
			continue
		}
		n := int(binary.NativeEndian.Uint32(b[4:]))
		room := b[recordHead:size:size]
		return handed{b[12], binary.NativeEndian.Uint32(b[8:]),
			tap.Frame{Buf: room, Head: tap.Headroom, Tail: tap.Headroom + n}}, true
	}
	return handed{}, false
}

// free gives the writer the room of all that was popped.
func (h *handover) free() { h.head.Store(h.taken) }

// connect makes the rings between the workers that read networks and those of the
// routers on them.
func connect(networks []*network) {
	type pair struct{ from, to *worker }
	rings := map[pair]*handover{}
	each := func(fn func(i *iface, in, out pair)) {
		for _, n := range networks {
			for _, i := range n.ifaces {
				if other := i.router.worker; other != n.home {
					fn(i, pair{n.home, other}, pair{other, n.home})
				}
			}
		}
	}
	each(func(_ *iface, in, out pair) { rings[in], rings[out] = nil, nil })
	length := handoverLen(len(rings))
	ring := func(p pair) *handover {
		if rings[p] == nil {
			rings[p] = newHandover(p.to, length)
			p.to.inbox = append(p.to.inbox, rings[p])
		}
		return rings[p]
	}
	each(func(i *iface, in, out pair) { i.inward, i.outward = ring(in), ring(out) })
}

// handOver gives a frame to another worker, with the interface that it is for or
// from. It reports false when there is no room.
func (t *turn) handOver(h *handover, kind uint8, i *iface, f *tap.Frame) bool {
	if !h.push(kind, i.number, f) {
		return false
	}
	if !h.hidden {
		h.hidden = true
		t.unshown = append(t.unshown, h)
	}
	return true
}

// showAll lets the others see what has been handed over.
func (t *turn) showAll() {
	for _, h := range t.unshown {
		h.hidden = false
		h.show()
	}
	t.unshown = t.unshown[:0]
}

// takeOver forwards what other workers have handed over, within a budget. It
// reports whether there was anything, and whether there is more.
func (w *worker) takeOver() (any, more bool) {
	for _, h := range w.inbox {
		bytes := 0
		for k := 0; k < readBudget*batchFrames && bytes < readBudget*tap.BatchBytes; k++ {
			got, ok := h.pop()
			if !ok {
				break
			}
			any = true
			bytes += got.frame.Tail - got.frame.Head
			w.accept(&got)
		}
		if w.flush(); h.taken != h.head.Load() {
			h.free()
		}
		more = more || h.waiting()
	}
	return any, more
}

// accept goes on with a frame where the other worker has stopped.
func (w *worker) accept(got *handed) {
	i := w.ifaces[got.iface]
	switch got.kind {
	case recordForward:
		w.count(forward(&w.turn, i, &got.frame, false))
	case recordCopy:
		forward(&w.turn, i, &got.frame, false)
	case recordTransmit:
		i.network.switchFrame(&w.turn, nil, i, &got.frame)
	}
}

// handInward hands a frame to the worker of the router that it is for.
func (i *iface) handInward(t *turn, kind uint8, f *tap.Frame) verdict {
	if !t.handOver(i.inward, kind, i, f) {
		return drop(DropHandover)
	}
	return handedOver
}

// An outlet is what other workers need to send to a network that has one device.
type outlet struct {
	port *port
	dev  tap.Device
	down bool // the network's own worker has found it to be
}

// publish tells other workers how to send to a network.
func (n *network) publish() {
	if len(n.ports) == 1 && n.ports[0].dev != nil {
		n.outlet.Store(&outlet{n.ports[0], n.ports[0].dev, n.ports[0].isDown})
	} else {
		n.outlet.Store(nil)
	}
}

// transmitAbroad sends a frame to a network of another worker: straight to the
// device if there is only that one, by way of the other worker if a switch has to
// look where it goes.
func (n *network) transmitAbroad(t *turn, self *iface, f *tap.Frame, p *packet.Packet) {
	out := n.outlet.Load()
	if out == nil || !n.leadsOut(f.Ethernet()[:6]) {
		if !t.handOver(self.outward, recordTransmit, self, f) {
			t.stats.Received++ // by the switch, if you like
			t.stats.Dropped[DropHandover]++
		}
		return
	}
	shadow := t.shadows[n.number]
	if shadow.shadowOf != out {
		shadow.cast(t, out)
	}
	shadow.sendOrLose(t, f, p)
}

// cast makes a shadow that of another port, or of one that has changed.
func (shadow *port) cast(t *turn, out *outlet) {
	shadow.write(t) // what waits is in the form that the former device takes
	if shadow.shadowOf == nil || shadow.shadowOf.port != out.port {
		shadow.stats = DeviceStats{}
	}
	if shadow.dev != out.dev {
		shadow.wrote = wroteWell
	}
	shadow.shadowOf, shadow.dev, shadow.takes = out, out.dev, out.dev.Features()
}

// leadsOut reports whether an address is none of the network's routers', nor everybody's.
func (n *network) leadsOut(mac []byte) bool {
	if mac[0]&1 != 0 {
		return false
	}
	for _, i := range n.ifaces {
		if i.mac == packet.MAC(mac) {
			return false
		}
	}
	return true
}

// A writeClass is what a write to another worker's device has shown.
type writeClass uint8

const (
	wroteWell writeClass = iota
	wroteDown
	wroteGone
	wroteOdd
)

func classify(err error) writeClass {
	switch {
	case err == nil, errors.Is(err, tap.ErrFull):
		return wroteWell
	case errors.Is(err, tap.ErrDown):
		return wroteDown
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		return wroteGone
	}
	return wroteOdd
}

// shadowWrote tells the worker that a device belongs to what a write to it has
// shown, when that is news.
func (shadow *port) shadowWrote(t *turn, err error) {
	class, out := classify(err), shadow.shadowOf
	if class == shadow.wrote && !(class == wroteWell && out.down) {
		return
	}
	odd := class == wroteOdd || class == wroteWell && shadow.wrote == wroteOdd && !out.down
	shadow.wrote = class
	if odd && class == wroteWell {
		return // it is said once that some frames are refused
	}
	home := shadow.network.home
	home.post(func() {
		switch {
		case out.port.dev != out.dev: // it has been noticed
		case class != wroteWell:
			out.port.writeTrouble(&home.turn, err)
		case out.port.isDown:
			out.port.up(&home.turn)
		}
	})
}
