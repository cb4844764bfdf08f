package router

import (
	"container/list"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A fragment other than the first has no ports. It borrows those of its first
// fragment, which most often has just passed; when it has not, the fragment is
// held for a moment. Nothing is reassembled: fragments are translated one by one
// (RFC 4787 REQ-14), and a flood of them can only ever fill these tables, its sender's
// share of them before others'. Fragments that overlap are forwarded as they are. The
// host that puts them together judges them (RFC 5722, RFC 8900).

// A fragmentKey tells the packets apart that fragments belong to (RFC 791, 3.2).
type fragmentKey struct {
	fragmentSource
	dst   packet.Addr
	id    uint16
	proto uint8
}

// A fragmentSource is a sender of fragments: an address behind an interface.
type fragmentSource struct {
	in  uint16
	src packet.Addr
}

func keyOf(x *passage) fragmentKey {
	p := &x.p
	return fragmentKey{fragmentSource{x.in.id, p.Src}, p.Dst, p.ID, p.Proto}
}

// A fragmentEntry is what the fragments of one packet share.
type fragmentEntry struct {
	key fragmentKey

	known            bool // the first fragment has passed
	srcPort, dstPort uint16
	typ              uint8 // of an ICMP query
	foreign          bool  // its TCP segment has nothing to do with its connection
	renumbered       bool  // its fragments leave with id
	id               uint16

	seen, total  int // payload bytes that have come, and that there are: 0, not known yet
	since, until time.Duration
	held         [][]byte

	list       *fragmentList
	share      *fragmentShare
	place, own *list.Element // in the list, and in its source's share
}

// fragments is a router's table of packets under way in pieces.
type fragments struct {
	entries map[fragmentKey]*fragmentEntry
	known   fragmentList // the first fragment has passed
	waiting fragmentList // it has not
	held    int          // bytes
}

// A fragmentList holds packets by age, the oldest first, of all and of each source.
// They have the same time, so the oldest is also the first that is due.
type fragmentList struct {
	list.List
	sources    map[fragmentSource]*fragmentShare
	most, each int // entries
	life       time.Duration
}

// A fragmentShare is what one source has in a list.
type fragmentShare struct {
	list.List
	held int // bytes
}

const (
	maxFragmented     = 4096              // packets whose first fragment has passed
	maxFragmentedEach = maxFragmented / 4 // of one source
	maxWaiting        = maxFragmented / 2 // without it
	maxWaitingEach    = 64
	maxHeldPieces     = 64      // fragments held for one packet: 64 KB in pieces of 1 KB
	maxHeldBytes      = 1 << 20 // in all
	maxHeldEach       = 1 << 17 // of one source
	holdFragmentFor   = 2 * time.Second
)

func newFragments(timeout time.Duration) fragments {
	return fragments{
		entries: map[fragmentKey]*fragmentEntry{},
		known:   newFragmentList(maxFragmented, maxFragmentedEach, timeout),
		waiting: newFragmentList(maxWaiting, maxWaitingEach, min(holdFragmentFor, timeout)),
	}
}

func newFragmentList(most, each int, life time.Duration) fragmentList {
	return fragmentList{sources: map[fragmentSource]*fragmentShare{}, most: most, each: each, life: life}
}

// joinFragments gives a fragment the ports of its packet, or holds it.
func joinFragments(t *turn, x *passage) verdict {
	p, fs := &x.p, &x.r.fragments
	k := keyOf(x)
	e := fs.entries[k]
	if e != nil && t.now >= e.until {
		fs.forget(t, e, DropFragmentWait)
		e = nil
	}
	switch {
	case p.FragOff == 0:
		if e = fs.first(t, x, k, e); e == nil {
			return drop(DropFragmentChanged)
		}
	case e == nil || !e.known:
		return fs.hold(t, x, k, e)
	case e.foreign:
		return drop(DropTCPWindow) // as the first one was
	}
	e.count(x)
	p.SrcPort, p.DstPort, p.Type = e.srcPort, e.dstPort, e.typ
	x.fragments = e
	return next
}

// first takes the ports from a first fragment. It is nil for one that says
// otherwise than the one before: that would lead what follows elsewhere. But when
// all of a packet has come, or the rest would have by now, its sender may use the
// identification again.
func (fs *fragments) first(t *turn, x *passage, k fragmentKey, e *fragmentEntry) *fragmentEntry {
	p := &x.p
	if e != nil && e.known && !x.again && (e.complete() || t.now-e.since >= holdFragmentFor) {
		fs.forget(t, e, DropFragmentWait)
		e = nil
	}
	switch {
	case e == nil:
		e = &fragmentEntry{key: k}
		fs.entries[k] = e
	case e.known:
		if e.srcPort != p.SrcPort || e.dstPort != p.DstPort || e.typ != p.Type {
			return nil
		}
		return e
	default:
		fs.releaseHeld(t, x, e)
	}
	e.known, e.srcPort, e.dstPort, e.typ = true, p.SrcPort, p.DstPort, p.Type
	fs.enlist(t, &fs.known, e)
	return e
}

// releaseHeld has what was held forwarded, after the first fragment, which is on its way.
func (fs *fragments) releaseHeld(t *turn, x *passage, e *fragmentEntry) {
	for _, frame := range e.held {
		t.requeue(&retry{in: x.in}, frame)
	}
	fs.free(e)
	e.delist()
}

// count notes what has come of a packet. One that was parked has been counted.
func (e *fragmentEntry) count(x *passage) {
	if x.again {
		return
	}
	p := &x.p
	e.seen += p.End - p.L4
	if !p.More {
		e.total = int(p.FragOff) + p.End - p.L4
	}
}

// complete reports whether all of the packet has come.
func (e *fragmentEntry) complete() bool { return e.total > 0 && e.seen >= e.total }

// hold keeps a fragment until its first one comes.
func (fs *fragments) hold(t *turn, x *passage, k fragmentKey, e *fragmentEntry) verdict {
	frame := x.frame.Buf[x.frame.Head:x.frame.Tail]
	if e == nil {
		e = &fragmentEntry{key: k}
		fs.entries[k] = e
		fs.enlist(t, &fs.waiting, e)
	}
	if len(e.held) >= maxHeldPieces || !fs.makeRoom(t, e, len(frame)) {
		return drop(DropFragmentFull)
	}
	e.held = append(e.held, append([]byte(nil), frame...))
	e.share.held += len(frame)
	fs.held += len(frame)
	e.count(x)
	return Parked
}

// makeRoom lets older packets of the same source make room for n bytes more of e, and
// those of anybody if need be. It reports false if e itself is the oldest.
func (fs *fragments) makeRoom(t *turn, e *fragmentEntry, n int) bool {
	for {
		var oldest *list.Element
		switch {
		case e.share.held+n > maxHeldEach:
			oldest = e.share.Front()
		case fs.held+n > maxHeldBytes:
			oldest = fs.waiting.Front()
		default:
			return true
		}
		victim := oldest.Value.(*fragmentEntry)
		if victim == e {
			return false
		}
		fs.forget(t, victim, DropFragmentFull)
	}
}

// enlist gives an entry a place in a list. Where its source has its share of that,
// the source's oldest makes room, where the list is full the oldest of all.
func (fs *fragments) enlist(t *turn, l *fragmentList, e *fragmentEntry) {
	s := l.sources[e.key.fragmentSource]
	if s == nil {
		s = new(fragmentShare)
	}
	var oldest *list.Element
	switch {
	case s.Len() >= l.each:
		oldest = s.Front()
	case l.Len() >= l.most:
		oldest = l.Front()
	}
	if oldest != nil {
		fs.forget(t, oldest.Value.(*fragmentEntry), DropFragmentFull)
	}
	l.sources[e.key.fragmentSource] = s
	e.list, e.share = l, s
	e.place, e.own = l.PushBack(e), s.PushBack(e)
	e.since, e.until = t.now, t.now+l.life
	t.wakeAt(e.until)
}

// delist takes an entry out of its list.
func (e *fragmentEntry) delist() {
	e.list.Remove(e.place)
	e.share.Remove(e.own)
	if e.share.Len() == 0 {
		delete(e.list.sources, e.key.fragmentSource)
	}
}

// free forgets what an entry holds.
func (fs *fragments) free(e *fragmentEntry) {
	for _, frame := range e.held {
		fs.held -= len(frame)
		e.share.held -= len(frame)
	}
	e.held = nil
}

// forget ends the wait for a packet; what was held is dropped.
func (fs *fragments) forget(t *turn, e *fragmentEntry, reason DropReason) {
	t.stats.Parked -= int64(len(e.held))
	t.stats.drop(reason, StageFragment, uint64(len(e.held)))
	fs.free(e)
	e.delist()
	delete(fs.entries, e.key)
}

// settleFragments forgets the packets that are under way in pieces to or from one of the
// addresses, which have another meaning now, or in a connection that a change has ended:
// their other pieces must not go where the first ones did not.
func (r *vrouter) settleFragments(t *turn, addrs []packet.Addr) {
	fs := &r.fragments
	var next *list.Element
	for place := fs.known.Front(); place != nil; place = next {
		next = place.Next()
		e := place.Value.(*fragmentEntry)
		k := &e.key
		tuple := packet.Tuple{Src: k.src, Dst: k.dst, SrcPort: e.srcPort, DstPort: e.dstPort, Proto: k.proto}
		if slices.Contains(addrs, k.src) || slices.Contains(addrs, k.dst) || r.conns.Overruled(&tuple) {
			fs.forget(t, e, DropFragmentWait)
		}
	}
}

// forgetAll forgets every packet that is under way in pieces.
func (fs *fragments) forgetAll(t *turn, reason DropReason) {
	for _, e := range fs.entries {
		fs.forget(t, e, reason)
	}
}

// configure sets how long packets may be under way from now on.
func (fs *fragments) configure(timeout time.Duration) {
	fs.known.life, fs.waiting.life = timeout, min(holdFragmentFor, timeout)
}

// tick drops what has waited long enough.
func (fs *fragments) tick(t *turn) {
	for _, l := range []*fragmentList{&fs.waiting, &fs.known} {
		for l.Len() > 0 {
			e := l.Front().Value.(*fragmentEntry)
			if t.now < e.until {
				t.wakeAt(e.until)
				break
			}
			fs.forget(t, e, DropFragmentWait)
		}
	}
}

// sendFragments sends a packet that is larger than the egress MTU, in pieces. A
// super-frame is cut into its segments first.
func sendFragments(t *turn, x *passage) {
	p, own := &x.p, x.r.scratch
	into := func(list *[]tap.Frame) func(int) []byte {
		*list = (*list)[:0]
		return func(n int) []byte {
			f := t.alloc(n)
			*list = append(*list, f)
			return f.Ethernet()
		}
	}
	if p.GSOSize == 0 {
		p.CompleteChecksum()
		p.Fragment(x.out.mtu, into(&own.pieces))
		x.out.sendPieces(t, own.pieces)
		return
	}
	p.Segment(into(&own.segments))
	for i := range own.segments {
		var s packet.Packet
		if t.parser.Parse(&s, own.segments[i].Ethernet(), own.segments[i].Header()) != packet.FaultNone {
			t.stats.Unsent[UnsentPieces]++
			continue // cut from a packet that has been parsed: it cannot be
		}
		if s.End-packet.EthernetLen <= x.out.mtu {
			x.out.sendPieces(t, own.segments[i:i+1])
			continue
		}
		s.Fragment(x.out.mtu, into(&own.pieces))
		x.out.sendPieces(t, own.pieces)
	}
}

func (out *iface) sendPieces(t *turn, pieces []tap.Frame) {
	for i := range pieces {
		out.sendMade(t, pieces[i])
	}
}
