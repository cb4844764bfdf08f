package nat

import (
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A holder is a host with ports of one external address, and one group of these. So many of its mappings are its own:
// they were within its share when it got them, or have come to be so later. The others are borrowed. Which ones these
// are is not said of any mapping. Mappings with established TCP are always among its own.
//
// Its record is one of a mapping, whose fields mean other things: a table with few holders takes no memory for them.
type holder mapping

// holds is the form of a holder's record, which is no mapping.
const holds = kept + 1

func (h *holder) group() portGroup { return portGroup(h.proto) }

// held is how many mappings the holder has. There is one at least.
func (h *holder) held() int32 { return int32(h.port) + 1 }

// own is how many of these are its own. One at least is.
func (h *holder) own() int32 { return int32(h.remotePort) + 1 }

// firm is how many of these have established TCP. They are fewer than 65536, as TCP has no port 0.
func (h *holder) firm() int32 { return int32(h.extPort) }

func (h *holder) setHeld(n int32) { h.port = uint16(n - 1) }
func (h *holder) setOwn(n int32)  { h.remotePort = uint16(n - 1) }

// oldest is the first in the queue of the mappings without established TCP, which are in the order of their last use;
// 0: there is none. The queue is a ring: the one before the oldest is the newest.
func (h *holder) oldest() uint32     { return uint32(h.first) }
func (h *holder) setOldest(i uint32) { h.first = conntrack.Member(i) }

// borrowed is how many mappings the holder has beyond its share.
func (h *holder) borrowed() int32 { return max(0, h.held()-max(h.own(), h.firm())) }

// A debt is what a holder has borrowed.
type debt struct {
	rank int32 // as a borrower: how many mappings it has, 0 if it has borrowed none
	all  int32
}

func (h *holder) debt() debt {
	if n := h.borrowed(); n > 0 {
		return debt{h.held(), n}
	}
	return debt{}
}

// firm reports whether a connection keeps its mapping from ending for another host.
func firm(c *conntrack.Conn) bool {
	return c.Protocol() == packet.ProtoTCP && c.Rank() == conntrack.Lasting
}

// holders find the holders of a table, which are among the mappings. A holder without a port is not there.
type holders struct {
	by   conntrack.Index
	last uint32 // the holder found last, 0: none. One connection asks for the same several times
}

func (t *Table) holderAt(k uint32) *holder { return (*holder)(t.mappings.list.At(k)) }

func (t *Table) borrowerAt(k uint32) *conntrack.Borrower { return &t.mappings.list.At(k).Borrower }

func (hs *holders) tag(ext, addr packet.Addr, group portGroup) uint32 {
	return hs.by.Hash(ext.Number()<<32|addr.Number(), uint64(group))
}

// is reports whether a holder is this one.
func (h *holder) is(ext, addr packet.Addr, group portGroup) bool {
	return h.addr == addr && h.ext == ext && h.group() == group
}

// findHolder returns the number of a holder, 0 if it is not there.
func (t *Table) findHolder(ext, addr packet.Addr, group portGroup) uint32 {
	hs := &t.holders
	if hs.last != 0 && t.holderAt(hs.last).is(ext, addr, group) {
		return hs.last
	}
	k, ok := hs.by.Lookup(hs.tag(ext, addr, group), func(k uint32) bool { return t.holderAt(k).is(ext, addr, group) })
	if ok {
		hs.last = k
	}
	return k
}

// newHolder returns the number of a holder that has one mapping. It is 0 when the index has no room, which does not
// happen in practice. Then the host's mappings are not counted, and do not end for others.
func (t *Table) newHolder(ext, addr packet.Addr, group portGroup) uint32 {
	k := t.mappings.list.Take()
	if !t.holders.by.Insert(t.holders.tag(ext, addr, group), k) {
		t.mappings.list.Free(k)
		return 0
	}
	*t.mappings.list.At(k) = mapping{ext: ext, addr: addr, proto: uint8(group), form: holds}
	t.holders.last = k
	return k
}

// forgetHolder forgets holder k.
func (t *Table) forgetHolder(k uint32) {
	h := t.holderAt(k)
	t.holders.by.Remove(t.holders.tag(h.ext, h.addr, h.group()), k)
	t.mappings.list.Free(k)
	t.holders.last = 0
}

// holderOf returns the number of a mapping's holder, 0 if it has none, and the holder.
func (t *Table) holderOf(m *mapping) (uint32, *holder) {
	k := t.findHolder(m.ext, m.addr, groupOf(m.proto, m.extPort))
	if k == 0 {
		return 0, nil
	}
	return k, t.holderAt(k)
}

// owes notes what holder k has borrowed, which was another amount until now.
func (t *Table) owes(space *portSpace, k uint32, h *holder, was debt) {
	if is := h.debt(); is != was {
		wellKnown := h.group().wellKnown()
		space.lent[wellKnown] += int(is.all - was.all)
		space.borrowers[wellKnown].Move(k, was.rank, is.rank, t.borrowerAt)
	}
}

// freePorts is how many ports of a group there are, and how many of them others may still have, as shares see it:
// a lent port is as good as free.
func (t *Table) freePorts(space *portSpace, group portGroup) (n, free int) {
	lo, hi := t.rangeOf(group)
	n = hi - lo + 1
	free = n - space.taken[group.wellKnown()]
	if t.cfg.Lend {
		free = min(n, free+space.lent[group.wellKnown()]) // some that are lent may be outside the range of now
	}
	return n, free
}

// repay makes as many mappings that holder k has borrowed its own as its share allows by now.
func (t *Table) repay(space *portSpace, k uint32, h *holder) {
	for h.own() < h.held() {
		n, free := t.freePorts(space, h.group())
		free += int(max(0, h.firm()-h.own())) // firm ones are not free already
		more := min(int(h.held()-h.own()), t.share.More(int(h.own()), n, free))
		if more == 0 {
			return
		}
		was := h.debt()
		h.setOwn(h.own() + int32(more))
		t.owes(space, k, h, was)
	}
}

// usesPorts reports whether the sender of tuple has as many ports of an external address of its own as it may, and
// how many are free.
func (t *Table) usesPorts(ext packet.Addr, space *portSpace, tuple packet.Tuple) (over bool, free int) {
	group := groupOf(tuple.Proto, tuple.SrcPort)
	n, free := t.freePorts(space, group)
	k := t.findHolder(ext, tuple.Src, group)
	if k == 0 {
		return false, free
	}
	h := t.holderAt(k)
	if !t.cfg.Lend {
		return t.share.Exceeds(int(h.held()), n, free), free
	}
	t.repay(space, k, h)
	n, free = t.freePorts(space, group)
	return h.own() < h.held() || t.share.Exceeds(int(h.own()), n, free), free
}

// mayBorrow reports whether a host that has its share of the ports may have one more for a connection: of TCP it must
// be able to become the host's own.
func (t *Table) mayBorrow(ext packet.Addr, tuple packet.Tuple) bool {
	if !t.cfg.Lend || tuple.Proto != packet.ProtoTCP {
		return t.cfg.Lend
	}
	k := t.findHolder(ext, tuple.Src, groupOf(tuple.Proto, tuple.SrcPort))
	return k == 0 || t.holderAt(k).firm() < t.holderAt(k).own()
}

// OverShare reports whether a TCP connection that has just been established is one more than its host may have, in the
// connection table or of the ports. See conntrack.Table.OverShare.
func (t *Table) OverShare(c *conntrack.Conn) bool {
	if t.conns.OverShare(c) {
		return true
	}
	if !t.cfg.Lend || !firm(c) || !Mapped(c.Marks()) {
		return false
	}
	for side := range 2 {
		i := t.mappingOf(c, side)
		if i == 0 || t.mappings.list.At(i).Prev != 1 {
			continue // none, or the port is firm by another connection as well
		}
		m := t.mappings.list.At(i)
		k, h := t.holderOf(m)
		if k == 0 || h.firm() <= h.own() {
			continue
		}
		pi, _ := protoIndex(m.proto)
		if t.repay(t.ports(m.ext, pi), k, h); h.firm() > h.own() {
			return true
		}
	}
	return false
}

// gain gives mapping i, which is new, to its holder. It is not taken yet.
func (t *Table) gain(space *portSpace, i uint32, group portGroup) {
	m := t.mappings.list.At(i)
	k := t.findHolder(m.ext, m.addr, group)
	if k == 0 {
		if k = t.newHolder(m.ext, m.addr, group); k != 0 {
			t.push(t.holderAt(k), i)
		}
		return
	}
	h := t.holderAt(k)
	was := h.debt()
	if n, free := t.freePorts(space, group); h.own() == h.held() && !t.share.Exceeds(int(h.own()), n, free) {
		h.setOwn(h.own() + 1)
	}
	h.setHeld(h.held() + 1)
	t.owes(space, k, h, was)
	t.push(h, i)
}

// lose takes mapping i from its holder.
func (t *Table) lose(space *portSpace, i uint32, group portGroup) {
	m := t.mappings.list.At(i)
	k := t.findHolder(m.ext, m.addr, group)
	if k == 0 {
		return
	}
	h := t.holderAt(k)
	was := h.debt()
	if t.mappings.list.At(i).Next == notQueued {
		h.extPort--
	} else {
		t.unlink(h, i)
	}
	if h.held() == 1 {
		t.forgetHolder(k)
		return
	}
	h.setHeld(h.held() - 1)
	h.setOwn(min(h.own(), h.held()))
	t.owes(space, k, h, was)
}

// push puts mapping i last in its holder's queue.
func (t *Table) push(h *holder, i uint32) {
	m, k := t.mappings.list.At(i), h.oldest()
	if k == 0 {
		m.Prev, m.Next = i, i
		h.setOldest(i)
		return
	}
	oldest := t.mappings.list.At(k)
	m.Prev, m.Next = oldest.Prev, k
	t.mappings.list.At(oldest.Prev).Next = i
	oldest.Prev = i
}

// unlink takes it out of there, if it is in it.
func (t *Table) unlink(h *holder, i uint32) {
	m := t.mappings.list.At(i)
	switch {
	case m.Next == 0:
		return
	case m.Next == i:
		h.setOldest(0)
	case h.oldest() == i:
		h.setOldest(m.Next)
	}
	t.mappings.list.At(m.Prev).Next, t.mappings.list.At(m.Next).Prev = m.Next, m.Prev
	m.Prev, m.Next = 0, 0
}

// usedNow puts mapping i last in its holder's queue, if it is in it.
func (t *Table) usedNow(i uint32) {
	m := t.mappings.list.At(i)
	if m.Next == notQueued {
		return
	}
	if k, h := t.holderOf(m); k != 0 && m.Next != h.oldest() { // else it is the last already
		t.unlink(h, i)
		t.push(h, i)
	}
}

// firmUp counts an established TCP connection of mapping i.
func (t *Table) firmUp(i uint32) {
	p := t.mappings.list.At(i)
	if p.Next == notQueued {
		p.Prev++
		return
	}
	m := t.mappings.list.At(i)
	k, h := t.holderOf(m)
	if k == 0 {
		return
	}
	t.unlink(h, i)
	p.Prev, p.Next = 1, notQueued
	was := h.debt()
	h.extPort++
	t.owesOf(m, k, h, was)
}

// firmDown takes back what firmUp has counted.
func (t *Table) firmDown(i uint32) {
	p := t.mappings.list.At(i)
	if p.Next != notQueued {
		return
	}
	if p.Prev--; p.Prev > 0 {
		return
	}
	m := t.mappings.list.At(i)
	k, h := t.holderOf(m)
	if k == 0 {
		return
	}
	was := h.debt()
	h.extPort--
	t.owesOf(m, k, h, was)
	t.push(h, i)
}

// owesOf is owes for the holder of a mapping.
func (t *Table) owesOf(m *mapping, k uint32, h *holder, was debt) {
	if pi, ok := protoIndex(m.proto); ok {
		t.owes(t.ports(m.ext, pi), k, h, was)
	}
}

const (
	// recallTries is how many mappings of a borrower are looked at to find one that may end.
	recallTries = 8
	// giverTries is how many of the greatest borrowers are looked at to find one with more than its part. There are
	// not more than that of at least half its size, if a part is an eighth or more.
	giverTries = 16
)

// recall finds a port for a new mapping among the ports that another host has borrowed. The mapping that has it ends
// when the connection is committed.
func (t *Table) recall(b *Binding, space *portSpace, ext packet.Addr, tuple, original packet.Tuple) (uint16, bool) {
	k := t.giver(space, ext, tuple)
	if k == 0 {
		return 0, false
	}
	h := t.holderAt(k)
	i := t.longestIdle(h, func(i uint32) bool { return i != b.dst && t.recallable(i, tuple, original) })
	if i == 0 {
		return 0, false
	}
	space.borrowers[h.group().wellKnown()].Turn(t.borrowerAt)
	b.recall = i
	return t.mappings.list.At(i).extPort, true
}

// giver returns the number of the holder that must give up a port for another host, 0 if none must. For a host within
// its share, that is any borrower. A host that has its share, because others have left it less, gets what a host has
// beyond its part of all ports, up to its own part.
func (t *Table) giver(space *portSpace, ext packet.Addr, tuple packet.Tuple) uint32 {
	group := groupOf(tuple.Proto, tuple.SrcPort)
	k := t.borrower(space, group)
	if k == 0 {
		return 0
	}
	if over, _ := t.usesPorts(ext, space, tuple); !over {
		return k
	}
	n, _ := t.freePorts(space, group)
	if at := t.findHolder(ext, tuple.Src, group); !t.share.Part(int(t.holderAt(at).held())+1, n) {
		return 0
	}
	for range giverTries {
		if k == 0 || !t.share.Part(int(t.holderAt(k).held()), n) {
			return k
		}
		space.borrowers[group.wellKnown()].Turn(t.borrowerAt)
		k = t.borrower(space, group)
	}
	return 0
}

// borrower returns the number of a holder with more than its share, as it is by now, 0 if there is none.
func (t *Table) borrower(space *portSpace, group portGroup) uint32 {
	if !t.cfg.Lend {
		return 0
	}
	for {
		k := space.borrowers[group.wellKnown()].First()
		if k == 0 {
			return 0
		}
		h := t.holderAt(k)
		if t.repay(space, k, h); h.borrowed() > 0 {
			return k
		}
	}
}

// longestIdle is the mapping of a holder that serves and is to end first; 0 if there is none. A few with
// packets in the last seconds are put last.
func (t *Table) longestIdle(h *holder, serves func(i uint32) bool) uint32 {
	i, busy := h.oldest(), uint32(0)
	for range recallTries {
		if i == 0 {
			break
		}
		next := t.mappings.list.At(i).Next
		switch {
		case !serves(i):
		case !t.recent(i):
			return i
		case busy == 0:
			busy = i
			fallthrough
		default:
			t.unlink(h, i)
			t.push(h, i)
		}
		i = next
	}
	return busy
}

// recent reports whether a mapping has had packets in the last seconds, as far as a look at a few of its connections
// shows it.
func (t *Table) recent(i uint32) bool {
	first := t.mappings.list.At(i).first
	for m, n := first, 0; m != 0 && n < recallTries; n++ {
		if t.conns.Recent(t.conns.RingConn(m)) {
			return true
		}
		if m = t.conns.NextInRing(m); m == first {
			break
		}
	}
	return false
}

// recallable reports whether a mapping's port would serve tuple once the mapping has ended.
func (t *Table) recallable(i uint32, tuple, original packet.Tuple) bool {
	m := t.mappings.list.At(i)
	if lo, hi := t.portRange(tuple.Proto, tuple.SrcPort); int(m.extPort) < lo || int(m.extPort) > hi {
		return false
	}
	tuple.Src, tuple.SrcPort = m.ext, m.extPort
	reply := tuple.Reverse()
	switch {
	case reply == original:
		return false
	case t.conns.Available(&reply):
		return true
	}
	// It is taken. If that is by a connection of the mapping, it ends.
	c, d := t.conns.Peek(&reply)
	return t.mappingOf(c, int(1-d)) == i
}

// recallMapping ends a mapping with all its connections.
func (t *Table) recallMapping(i uint32) {
	m := t.mappings.list.At(i)
	if m.first == 0 {
		t.endMapping(i)
		return
	}
	for last := false; !last; { // m is another one's when the last has ended
		c := t.conns.RingConn(m.first)
		last = t.conns.NextInRing(m.first) == m.first
		t.conns.Recall(c)
	}
}
