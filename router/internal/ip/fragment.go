package ip

import (
	"container/list"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A fragment other than the first has no ports. It borrows those of the first
// fragment of its packet, which most often has just passed. If the first one has not passed, the fragment is
// held for a moment. Nothing is reassembled: fragments are translated one by one
// (RFC 4787 REQ-14). A flood of fragments can fill no more than these tables, and its sender's
// part of them is full before they are. Fragments that overlap are forwarded as they are. The
// host that puts them together judges them (RFC 5722, RFC 8900).

// A fragmentKey tells the packets apart that fragments belong to (RFC 791, 3.2).
type fragmentKey struct {
	FragmentSource
	dst   packet.Addr
	id    uint16
	proto uint8
}

// A FragmentSource is a sender of fragments: an address behind an interface.
type FragmentSource struct {
	in  uint16
	src packet.Addr
}

func keyOf(x *passage) fragmentKey {
	p := &x.p
	return fragmentKey{FragmentSource{x.in.ID, p.Src}, p.Dst, p.ID, p.Proto}
}

// A fragmentEntry is what the fragments of one packet share.
type fragmentEntry struct {
	key fragmentKey

	known            bool   // the first fragment has passed
	srcPort, dstPort uint16 // of the first fragment
	typ              uint8  // of an ICMP query
	foreign          bool   // its TCP segment has nothing to do with its connection
	renumbered       bool   // its fragments leave with id
	id               uint16

	seen, total  int // payload bytes that have come, and that the packet has; total is 0 until the last piece says it
	since, until time.Duration
	Held         [][]byte // fragments that wait for the first one: virtio-net header and Ethernet frame

	list       *FragmentList
	share      *fragmentShare
	place, own *list.Element // in the list, and among its source's entries
}

// fragments is a router's table of packets under way in pieces.
type fragments struct {
	Entries map[fragmentKey]*fragmentEntry
	Known   FragmentList // packets whose first fragment has passed
	Waiting FragmentList // packets whose first fragment has not passed
	Held    int          // bytes of all fragments that wait
}

// A FragmentList holds packets by age, the oldest first, those of all sources and those of each source.
// All have the same lifetime, so the oldest is also the first that is due.
type FragmentList struct {
	list.List
	Sources    map[FragmentSource]*fragmentShare
	Most, Each int           // how many entries there may be, and of each source
	Life       time.Duration // of an entry
}

// A fragmentShare is the entries of one source in a list.
type fragmentShare struct {
	list.List
	Held int // bytes of the source's fragments that wait
}

// The limits of a router's table of fragments.
const (
	MaxFragmented     = 4096              // packets whose first fragment has passed
	maxFragmentedEach = MaxFragmented / 4 // such packets of one source
	MaxWaiting        = MaxFragmented / 2 // packets whose first fragment has not passed
	MaxWaitingEach    = 64                // such packets of one source
	MaxHeldPieces     = 64                // fragments held for one packet: 64 KB in pieces of 1 KB
	MaxHeldBytes      = 1 << 20           // of all fragments held
	MaxHeldEach       = 1 << 17           // of the fragments of one source
	HoldFragmentFor   = 2 * time.Second   // how long a fragment waits for the first one
)

func newFragments(timeout time.Duration) fragments {
	return fragments{
		Entries: map[fragmentKey]*fragmentEntry{},
		Known:   newFragmentList(MaxFragmented, maxFragmentedEach, timeout),
		Waiting: newFragmentList(MaxWaiting, MaxWaitingEach, min(HoldFragmentFor, timeout)),
	}
}

func newFragmentList(most, each int, life time.Duration) FragmentList {
	return FragmentList{Sources: map[FragmentSource]*fragmentShare{}, Most: most, Each: each, Life: life}
}

// joinFragments gives a fragment the ports of its packet, or holds it.
func joinFragments(t *loop.Turn, x *passage) verdict.Verdict {
	p, fs := &x.p, &x.r.Fragments
	k := keyOf(x)
	e := fs.Entries[k]
	if e != nil && t.Now >= e.until {
		fs.forget(t, e, verdict.DropFragmentWait)
		e = nil
	}
	switch {
	case p.FragOff == 0:
		if e = fs.first(t, x, k, e); e == nil {
			return verdict.Drop(verdict.DropFragmentChanged)
		}
	case e == nil || !e.known:
		return fs.hold(t, x, k, e)
	case e.foreign:
		return verdict.Drop(verdict.DropTCPWindow) // as the first fragment was
	}
	e.count(x)
	p.SrcPort, p.DstPort, p.Type = e.srcPort, e.dstPort, e.typ
	x.fragments = e
	return verdict.Next
}

// first takes the ports from a first fragment. It returns nil if the packet has had a first fragment with other
// ports: the later fragments would go somewhere else then. But if all of that packet has come, or should have come
// by now, this is another packet: a sender may use an identification again.
func (fs *fragments) first(t *loop.Turn, x *passage, k fragmentKey, e *fragmentEntry) *fragmentEntry {
	p := &x.p
	if e != nil && e.known && !x.again && (e.complete() || t.Now-e.since >= HoldFragmentFor) {
		fs.forget(t, e, verdict.DropFragmentWait)
		e = nil
	}
	switch {
	case e == nil:
		e = &fragmentEntry{key: k}
		fs.Entries[k] = e
	case e.known:
		if e.srcPort != p.SrcPort || e.dstPort != p.DstPort || e.typ != p.Type {
			return nil
		}
		return e
	default:
		fs.resumeHeld(t, x, e)
	}
	e.known, e.srcPort, e.dstPort, e.typ = true, p.SrcPort, p.DstPort, p.Type
	fs.enlist(t, &fs.Known, e)
	return e
}

// resumeHeld has the fragments forwarded that were held, after the first fragment, which is on its way.
func (fs *fragments) resumeHeld(t *loop.Turn, x *passage, e *fragmentEntry) {
	for _, frame := range e.Held {
		t.Requeue(&retry{in: x.in}, frame)
	}
	fs.free(e)
	e.delist()
}

// count notes how much of a packet has come. A fragment that was parked has been counted before.
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
func (fs *fragments) hold(t *loop.Turn, x *passage, k fragmentKey, e *fragmentEntry) verdict.Verdict {
	frame := x.frame.Buf[x.frame.Head:x.frame.Tail]
	if e == nil {
		e = &fragmentEntry{key: k}
		fs.Entries[k] = e
		fs.enlist(t, &fs.Waiting, e)
	}
	if len(e.Held) >= MaxHeldPieces || !fs.makeRoom(t, e, len(frame)) {
		return verdict.Drop(verdict.DropFragmentFull)
	}
	e.Held = append(e.Held, append([]byte(nil), frame...))
	e.share.Held += len(frame)
	fs.Held += len(frame)
	e.count(x)
	return verdict.Parked
}

// makeRoom forgets older packets until there is room for n bytes more of e: packets of the same source if the source
// holds too much, else of any source. It reports false if e itself is the oldest.
func (fs *fragments) makeRoom(t *loop.Turn, e *fragmentEntry, n int) bool {
	for {
		var oldest *list.Element
		switch {
		case e.share.Held+n > MaxHeldEach:
			oldest = e.share.Front()
		case fs.Held+n > MaxHeldBytes:
			oldest = fs.Waiting.Front()
		default:
			return true
		}
		victim := oldest.Value.(*fragmentEntry)
		if victim == e {
			return false
		}
		fs.forget(t, victim, verdict.DropFragmentFull)
	}
}

// enlist gives an entry a place in a list. If its source has as many entries as it may, the source's oldest
// makes room; if the list is full, the oldest of all.
func (fs *fragments) enlist(t *loop.Turn, l *FragmentList, e *fragmentEntry) {
	s := l.Sources[e.key.FragmentSource]
	if s == nil {
		s = new(fragmentShare)
	}
	var oldest *list.Element
	switch {
	case s.Len() >= l.Each:
		oldest = s.Front()
	case l.Len() >= l.Most:
		oldest = l.Front()
	}
	if oldest != nil {
		fs.forget(t, oldest.Value.(*fragmentEntry), verdict.DropFragmentFull)
	}
	l.Sources[e.key.FragmentSource] = s
	e.list, e.share = l, s
	e.place, e.own = l.PushBack(e), s.PushBack(e)
	e.since, e.until = t.Now, t.Now+l.Life
	t.WakeAt(e.until)
}

// delist takes an entry out of its list.
func (e *fragmentEntry) delist() {
	e.list.Remove(e.place)
	e.share.Remove(e.own)
	if e.share.Len() == 0 {
		delete(e.list.Sources, e.key.FragmentSource)
	}
}

// free forgets the fragments that an entry holds.
func (fs *fragments) free(e *fragmentEntry) {
	for _, frame := range e.Held {
		fs.Held -= len(frame)
		e.share.Held -= len(frame)
	}
	e.Held = nil
}

// forget ends the wait for a packet. Its fragments that were held are dropped.
func (fs *fragments) forget(t *loop.Turn, e *fragmentEntry, reason verdict.DropReason) {
	t.Stats.Parked -= int64(len(e.Held))
	t.Stats.Drop(reason, verdict.StageFragment, uint64(len(e.Held)))
	fs.free(e)
	e.delist()
	delete(fs.Entries, e.key)
}

// settleFragments forgets packets that are under way in pieces: those to or from one of the
// addresses, which have another meaning now, and those of connections that a change has ended.
// Otherwise their later pieces could go to another host than the first ones.
func (r *Router) settleFragments(t *loop.Turn, addrs []packet.Addr) {
	fs := &r.Fragments
	var next *list.Element
	for place := fs.Known.Front(); place != nil; place = next {
		next = place.Next()
		e := place.Value.(*fragmentEntry)
		k := &e.key
		tuple := packet.Tuple{Src: k.src, Dst: k.dst, SrcPort: e.srcPort, DstPort: e.dstPort, Proto: k.proto}
		if slices.Contains(addrs, k.src) || slices.Contains(addrs, k.dst) || r.Conns.Overruled(&tuple) {
			fs.forget(t, e, verdict.DropFragmentWait)
		}
	}
}

// forgetAll forgets every packet that is under way in pieces.
func (fs *fragments) forgetAll(t *loop.Turn, reason verdict.DropReason) {
	for _, e := range fs.Entries {
		fs.forget(t, e, reason)
	}
}

// configure sets how long packets may be under way from now on.
func (fs *fragments) configure(timeout time.Duration) {
	fs.Known.Life, fs.Waiting.Life = timeout, min(HoldFragmentFor, timeout)
}

// Tick forgets the packets whose time is over.
func (fs *fragments) Tick(t *loop.Turn) {
	for _, l := range []*FragmentList{&fs.Waiting, &fs.Known} {
		for l.Len() > 0 {
			e := l.Front().Value.(*fragmentEntry)
			if t.Now < e.until {
				t.WakeAt(e.until)
				break
			}
			fs.forget(t, e, verdict.DropFragmentWait)
		}
	}
}

// sendFragments sends a packet that is larger than the egress MTU, in pieces. A
// super-frame is cut into its segments first.
func sendFragments(t *loop.Turn, x *passage) {
	p, own := &x.p, x.r.Scratch
	into := func(list *[]tap.Frame) func(int) []byte {
		*list = (*list)[:0]
		return func(n int) []byte {
			f := t.Alloc(n)
			*list = append(*list, f)
			return f.Ethernet()
		}
	}
	if p.GSOSize == 0 {
		p.CompleteChecksum()
		p.Fragment(x.out.MTU, into(&own.pieces))
		x.out.sendPieces(t, own.pieces)
		return
	}
	p.Segment(into(&own.segments))
	for i := range own.segments {
		var s packet.Packet
		if t.Parser.Parse(&s, own.segments[i].Ethernet(), own.segments[i].Header()) != packet.FaultNone {
			t.Stats.Unsent[verdict.UnsentPieces]++
			continue // it is cut from a packet that has been parsed, so this does not happen
		}
		if s.End-packet.EthernetLen <= x.out.MTU {
			x.out.sendPieces(t, own.segments[i:i+1])
			continue
		}
		s.Fragment(x.out.MTU, into(&own.pieces))
		x.out.sendPieces(t, own.pieces)
	}
}

func (out *Interface) sendPieces(t *loop.Turn, pieces []tap.Frame) {
	for i := range pieces {
		out.SendMade(t, pieces[i])
	}
}
