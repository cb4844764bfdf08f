package router

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A fragment other than the first has no ports. It borrows those of its first
// fragment, which most often has just passed; when it has not, the fragment is
// held for a moment. Nothing is reassembled: fragments are translated one by one
// (RFC 4787 REQ-14), and a flood of them can only ever fill these tables.

// A fragmentKey tells the packets apart that fragments belong to (RFC 791, 3.2).
type fragmentKey struct {
	in       uint16
	src, dst uint32
	id       uint16
	proto    uint8
}

// A fragmentEntry is what the fragments of one packet share.
type fragmentEntry struct {
	known            bool // the first fragment has passed
	srcPort, dstPort uint16
	typ              uint8 // of an ICMP query
	renumbered       bool  // its fragments leave with id
	id               uint16
	until            time.Duration
	held             [][]byte
}

// fragments is a router's table of packets under way in pieces.
type fragments struct {
	entries map[fragmentKey]*fragmentEntry
	order   []fragmentKey // oldest first; may name keys that are gone
	waiting []fragmentKey // of these, those without their first one, which have less time
	held    int           // bytes
	timeout time.Duration
}

const (
	maxFragmented   = 4096    // packets
	maxHeldPieces   = 64      // fragments held for one packet: 64 KB in pieces of 1 KB
	maxHeldBytes    = 1 << 20 // in all
	holdFragmentFor = 2 * time.Second
)

func newFragments(timeout time.Duration) fragments {
	return fragments{entries: map[fragmentKey]*fragmentEntry{}, timeout: timeout}
}

// fragment gives a fragment the ports of its packet, or holds it.
func (w *worker) fragment(x *passage) verdict {
	p, fs := &x.p, &x.r.fragments
	k := fragmentKey{in: x.in.id, src: p.Src, dst: p.Dst, id: p.ID, proto: p.Proto}
	e := fs.entries[k]
	if e != nil && w.now >= e.until {
		w.forgetFragments(fs, k, e)
		e = nil
	}
	if p.FragOff == 0 {
		if e == nil {
			e = w.newFragmentEntry(fs, k, fs.timeout)
		}
		e.known, e.srcPort, e.dstPort, e.typ = true, p.SrcPort, p.DstPort, p.Type
		e.until = w.now + fs.timeout
		for _, frame := range e.held {
			fs.held -= len(frame)
			w.requeue(x.in, frame) // after the first one, which is on its way
		}
		e.held = nil
		x.fragments = e
		return next
	}
	if e == nil || !e.known {
		return w.holdFragment(x, fs, k, e)
	}
	p.SrcPort, p.DstPort, p.Type = e.srcPort, e.dstPort, e.typ
	x.fragments = e
	return next
}

// holdFragment keeps a fragment until its first one comes.
func (w *worker) holdFragment(x *passage, fs *fragments, k fragmentKey, e *fragmentEntry) verdict {
	frame := x.frame.Buf[x.frame.Head:x.frame.Tail]
	if fs.held+len(frame) > maxHeldBytes || e != nil && len(e.held) >= maxHeldPieces {
		return drop(DropFragmentFull)
	}
	if e == nil {
		e = w.newFragmentEntry(fs, k, min(holdFragmentFor, fs.timeout))
		fs.waiting = append(fs.waiting, k)
	}
	e.held = append(e.held, append([]byte(nil), frame...))
	fs.held += len(frame)
	return parked
}

func (w *worker) newFragmentEntry(fs *fragments, k fragmentKey, d time.Duration) *fragmentEntry {
	for len(fs.entries) >= maxFragmented && len(fs.order) > 0 {
		oldest := fs.order[0]
		fs.order = fs.order[1:]
		if e := fs.entries[oldest]; e != nil {
			w.forgetFragments(fs, oldest, e)
		}
	}
	e := &fragmentEntry{until: w.now + d}
	fs.entries[k] = e
	fs.order = append(fs.order, k)
	w.wakeAt(e.until)
	return e
}

// forgetFragments ends the wait for a packet; what was held is dropped.
func (w *worker) forgetFragments(fs *fragments, k fragmentKey, e *fragmentEntry) {
	for _, frame := range e.held {
		fs.held -= len(frame)
		w.stats.Parked--
		w.stats.Dropped[DropFragmentWait]++
	}
	e.held = nil
	delete(fs.entries, k)
}

// tickFragments drops what has waited long enough.
func (w *worker) tickFragments(r *vrouter) {
	fs := &r.fragments
	fs.waiting = w.forgetOverdue(fs, fs.waiting, func(e *fragmentEntry) bool { return e.known })
	fs.order = w.forgetOverdue(fs, fs.order, func(*fragmentEntry) bool { return false })
	r.forgetGatherings(w.now)
	for _, g := range r.gatherings {
		w.wakeAt(g.until)
	}
}

// forgetOverdue takes off the front of a list what is overdue, gone, or to be
// passed over, and asks to be called again when the next is due.
func (w *worker) forgetOverdue(fs *fragments, list []fragmentKey, pass func(*fragmentEntry) bool) []fragmentKey {
	for len(list) > 0 {
		k := list[0]
		e := fs.entries[k]
		switch {
		case e == nil, pass(e):
		case w.now < e.until:
			w.wakeAt(e.until)
			return list
		default:
			w.forgetFragments(fs, k, e)
		}
		list = list[1:]
	}
	return list
}

// sendFragments sends a packet that is larger than the egress MTU, in pieces. A
// super-frame is cut into its segments first.
func (w *worker) sendFragments(x *passage) {
	p := &x.p
	send := func(n int) []byte {
		f := w.alloc(n)
		w.pieces = append(w.pieces, f)
		return f.Ethernet()
	}
	w.pieces = w.pieces[:0]
	if p.GSOSize != 0 {
		p.Segment(send)
	} else {
		p.CompleteChecksum()
		p.Fragment(x.out.mtu, send)
		w.sendPieces(x.out, w.pieces)
		return
	}
	segments := append([]tap.Frame(nil), w.pieces...)
	for i := range segments {
		var s packet.Packet
		w.pieces = w.pieces[:0]
		if s.Parse(segments[i].Ethernet(), nil) != packet.FaultNone {
			continue // an IP header with options: nobody sends super-frames with those
		}
		if s.End-packet.EthernetLen <= x.out.mtu {
			w.sendPieces(x.out, segments[i:i+1])
			continue
		}
		s.Fragment(x.out.mtu, send)
		w.sendPieces(x.out, w.pieces)
	}
}

func (w *worker) sendPieces(out *iface, pieces []tap.Frame) {
	for i := range pieces {
		w.sendMade(out, pieces[i])
	}
}
