package conntrack

// A ring is connections that the table's user keeps together. A connection may be in two rings: by its first
// membership, and by its second one.
//
// The links of most first memberships lie in the connection, where a TCP connection has its sequence numbers. All
// others are in a map, unless they are alone in their ring.

// A Member is a connection in a ring. 0 is none.
type Member uint32

// MemberOf returns the first, or the second, membership of a connection.
func MemberOf(c *Conn, second bool) Member {
	m := Member(c.self) << 1
	if second {
		m |= 1
	}
	return m
}

// Second reports whether it is a second membership.
func (m Member) Second() bool { return m&1 != 0 }

// ringLinks are the neighbors of a member.
type ringLinks struct{ prev, next Member }

// JoinRing adds a connection to a ring, before the member that ring is. That is 0 if there is none yet.
func (t *Table) JoinRing(ring *Member, c *Conn, second bool) {
	m := MemberOf(c, second)
	if *ring == 0 {
		*ring = m
		return
	}
	at := t.ringLinks(*ring)
	t.setRingLinks(m, ringLinks{at.prev, *ring})
	last := t.ringLinks(at.prev)
	last.next = m
	t.setRingLinks(at.prev, last)
	at = t.ringLinks(*ring) // it may be last itself
	at.prev = m
	t.setRingLinks(*ring, at)
}

// LeaveRing takes a connection out of a ring that it is in.
func (t *Table) LeaveRing(ring *Member, c *Conn, second bool) {
	m := MemberOf(c, second)
	at := t.ringLinks(m)
	t.setRingLinks(m, ringLinks{m, m})
	if at.next == m {
		*ring = 0
		return
	}
	prev := t.ringLinks(at.prev)
	prev.next = at.next
	t.setRingLinks(at.prev, prev)
	next := t.ringLinks(at.next)
	next.prev = at.prev
	t.setRingLinks(at.next, next)
	if *ring == m {
		*ring = at.next
	}
}

// RingConn returns the connection that a member is, and NextInRing the member after it.
func (t *Table) RingConn(m Member) *Conn { return t.conn(uint32(m >> 1)) }

// NextInRing returns the member after m. In a ring of one it is m.
func (t *Table) NextInRing(m Member) Member { return t.ringLinks(m).next }

// ringBytes is about the memory that the map takes.
func (t *Table) ringBytes() int { return 2 * 13 * len(t.rings) } // key, value, and a byte of its own

// ringWithin reports whether the links of a member lie in the connection.
func (t *Table) ringWithin(m Member) bool { return m&1 == 0 && t.conn(uint32(m>>1)).lendable() }

// ringLinks returns the links of a member. One that has none is alone.
func (t *Table) ringLinks(m Member) ringLinks {
	var r ringLinks
	if t.ringWithin(m) {
		r = t.conns.Column(uint32(m >> 1)).ring()
	} else {
		r = t.rings[m]
	}
	if r.next == 0 {
		return ringLinks{m, m}
	}
	return r
}

func (t *Table) setRingLinks(m Member, r ringLinks) {
	alone := r.next == m
	if alone {
		r = ringLinks{}
	}
	switch {
	case t.ringWithin(m):
		t.conns.Column(uint32(m >> 1)).setRing(r)
	case !alone:
		if t.rings == nil {
			t.rings = map[Member]ringLinks{}
		}
		t.rings[m] = r
	case t.rings != nil:
		if delete(t.rings, m); len(t.rings) == 0 {
			t.rings = nil
		}
	}
}

// ring and setRing use what a connection that is not of TCP has in place of sequence numbers. See links.
func (l *links) ring() ringLinks {
	next := uint32(l.window[0]) | uint32(l.window[1])<<8 | uint32(l.marks[0])<<16 | uint32(l.marks[1])<<24
	return ringLinks{prev: Member(l.end[1]), next: Member(next)}
}

func (l *links) setRing(r ringLinks) {
	l.end[1] = uint32(r.prev)
	l.window = [2]uint8{uint8(r.next), uint8(r.next >> 8)}
	l.marks = [2]streamMarks{streamMarks(r.next >> 16), streamMarks(r.next >> 24)}
}
