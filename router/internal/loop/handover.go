package loop

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/taprouter/taprouter/router/internal/verdict"
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
type Handover struct {
	buf  []byte
	to   *Worker
	head atomic.Uint64 // read up to here
	tail atomic.Uint64 // written up to here

	// The writer's: what it has written but not yet shown, and where the
	// reader was when it last looked.
	written, known uint64
	unshown        bool
	// The reader's: what it has read but not yet freed.
	taken uint64
}

const (
	// HandoverMost is what one ring holds, unless there are many: a hundred
	// super-frames, or tens of thousands of small ones. What does not fit is dropped,
	// as a device's queue would. All of them share handoverBudget, as they are
	// written through from end to end, and so stay in memory.
	HandoverMost   = 8 << 20
	handoverLeast  = 1 << 20
	handoverBudget = 128 << 20
	// recordHead is a record's length, kind and receiver, before the frame's headroom.
	recordHead  = 16
	recordAlign = 64
)

// The kinds of records.
const (
	recordSkip     = iota // nothing up to the end of the ring
	RecordReceived        // for the receiver, which judges it
	RecordSent            // likewise, from another receiver's place, and observers have seen it go out
	RecordFlooded         // likewise, a copy of a frame that is counted elsewhere
	RecordMade            // from the receiver, to its network
)

// A handed frame has come from another worker.
type handed struct {
	kind  uint8
	to    uint32 // the number of its receiver
	frame tap.Frame
}

// NewHandover makes a ring of n bytes, a power of two.
func NewHandover(to *Worker, n int) *Handover { return &Handover{buf: make([]byte, n), to: to} }

// HandoverLen is the length of each of so many rings.
func HandoverLen(rings int) int {
	n := HandoverMost
	for n > handoverLeast && n*rings > handoverBudget {
		n /= 2
	}
	return n
}

// push copies a frame into the ring. It reports false when there is no room. The
// reader does not see it before show.
func (h *Handover) push(kind uint8, to uint32, f *tap.Frame) bool {
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
	h.record(at, size, kind, to, uint32(n))
	copy(h.buf[at+recordHead+tap.Headroom:], f.Buf[f.Head:f.Tail])
	h.written += size
	return true
}

func (h *Handover) record(at, size uint64, kind uint8, to, n uint32) {
	b := h.buf[at:]
	binary.NativeEndian.PutUint32(b, uint32(size))
	binary.NativeEndian.PutUint32(b[4:], n)
	binary.NativeEndian.PutUint32(b[8:], to)
	b[12] = kind
}

// show lets the reader see what has been written, and wakes it.
func (h *Handover) show() {
	h.tail.Store(h.written)
	h.to.Waiter.Wake()
}

// Waiting reports whether there is anything to pop.
func (h *Handover) Waiting() bool { return h.taken != h.tail.Load() }

// pop takes the next frame. It stays where it is until free.
func (h *Handover) pop() (handed, bool) {
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
func (h *Handover) free() { h.head.Store(h.taken) }

// HandOver gives a frame to another worker, with the number of the receiver that is to go on with
// it. It reports false when there is no room.
func (t *Turn) HandOver(h *Handover, kind uint8, to uint32, f *tap.Frame) bool {
	if !h.push(kind, to, f) {
		return false
	}
	if !h.unshown {
		h.unshown = true
		t.unshown = append(t.unshown, h)
	}
	return true
}

// showAll lets the others see what has been handed over.
func (t *Turn) showAll() {
	for _, h := range t.unshown {
		h.unshown = false
		h.show()
	}
	t.unshown = t.unshown[:0]
}

// takeOver forwards what other workers have handed over, within a budget. It
// reports whether there was anything, and whether there is more.
func (w *Worker) takeOver() (any, more bool) {
	for _, h := range w.Inbox {
		bytes := 0
		for k := 0; k < ReadBudget*BatchFrames && bytes < ReadBudget*tap.BatchBytes; k++ {
			got, ok := h.pop()
			if !ok {
				break
			}
			any = true
			bytes += got.frame.Tail - got.frame.Head
			w.accept(&got)
		}
		if w.Flush(); h.taken != h.head.Load() {
			h.free()
		}
		more = more || h.Waiting()
	}
	return any, more
}

// accept has a receiver go on with a frame where the other worker has stopped. The receiver may be gone by now.
func (w *Worker) accept(got *handed) {
	switch r := w.Receivers.find(got.to); {
	case r != nil:
		r.Accept(&w.Turn, got.kind, &got.frame)
	case got.kind == RecordReceived, got.kind == RecordSent:
		w.Count(verdict.Drop(verdict.DropDetached).At(verdict.StageSwitch))
	}
}
