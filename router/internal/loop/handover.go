package loop

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A Handover is a ring of bytes by which one worker hands frames to another. One worker
// writes and the other reads, without a lock. The reader forwards frames where they lie in
// the ring, and frees them once they have been written to their devices.
//
// Workers own different routers. Two kinds of frames go from one worker to another: those that the
// device of a worker's network has received for a router of the other worker, and those that a
// router sends to a network of another worker.
type Handover struct {
	buf  []byte
	to   *Worker
	head atomic.Uint64 // the reader has freed everything up to here; bytes since the start
	tail atomic.Uint64 // the writer has shown everything up to here

	// The writer's: up to where it has written, some of it not shown yet, and where the
	// reader's head was when the writer last looked.
	written, known uint64
	unshown        bool // written is ahead of tail
	// The reader's: up to where it has read, some of it not freed yet.
	taken uint64
}

const (
	// HandoverMost is how many bytes one ring holds, unless there are many rings: a hundred
	// super-frames, or tens of thousands of small ones. Frames that do not fit are dropped,
	// as by a device whose queue is full. handoverBudget bounds all rings together: each is
	// written from end to end again and again, and so stays in memory.
	HandoverMost   = 8 << 20
	handoverLeast  = 1 << 20
	handoverBudget = 128 << 20
	// recordHead is a record's length, kind and receiver, before the frame's headroom.
	recordHead  = 16
	recordAlign = 64
)

// The kinds of records. The receiver is the one that the record names.
const (
	recordSkip     = iota // there is nothing up to the end of the ring
	RecordReceived        // a frame from a device, for the receiver, which judges it
	RecordSent            // a frame for the receiver that a station has sent, and that observers have seen go out
	RecordFlooded         // a copy for the receiver; the frame itself is counted by the worker that read it
	RecordMade            // a frame that the receiver has made, for its network
)

// A handed frame has come from another worker.
type handed struct {
	kind  uint8
	to    uint32 // the number of its receiver
	frame tap.Frame
}

// NewHandover makes a ring that leads to a worker, of n bytes, a power of two.
func NewHandover(to *Worker, n int) *Handover { return &Handover{buf: make([]byte, n), to: to} }

// HandoverLen is how many bytes each ring has when there are so many: a power of two.
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

// Waiting reports whether there is a frame to read. It is called by the worker that reads.
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

// HandOver copies a frame into a ring, for another worker. kind is one of the kinds of records, to the number
// of the receiver that goes on with the frame. The other worker sees the frame after the next flush. HandOver
// reports false when there is no room.
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
