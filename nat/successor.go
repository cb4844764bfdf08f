package nat

import "github.com/taprouter/taprouter/internal/packet"

// In this file a connection takes the place of another one with the same Original tuple. A client
// of a VIP comes back by the port of an old connection. The old member may still serve that
// connection, but must not get new ones. A SYN proves nothing, so the old connection stays. The new
// connection, to another member, is its successor. Packets of the Original tuple belong to the old
// connection, unless the caller knows that they belong to the successor. When the client has
// answered the new member, the successor is established, and the old connection ends. If the old
// connection ends before, its successor has the tuple at once.
//
// A connection has at most one successor, and both count in the table.

// successors are the pairs of connections that have the same Original tuple, by number, both
// ways. Of such a pair the index finds the old one.
type successors struct{ of, before map[uint32]uint32 }

// Contested reports whether any connection has a successor.
func (t *Table) Contested() bool { return len(t.successors.of) > 0 }

// Successor returns the connection that is to take the place of c, which Lookup has found, nil if
// there is none. One whose deadline has passed, or that a change has ended, is removed.
func (t *Table) Successor(c *Conn) *Conn {
	i, ok := t.successors.of[c.self]
	if !ok {
		return nil
	}
	switch next := t.conn(i); {
	case t.expired(next, t.now):
		t.lapse(i)
	case t.overruled(next):
		t.overrule(i)
	default:
		return next
	}
	return nil
}

// succeeds reports whether a connection is the successor of another one.
func (t *Table) succeeds(i uint32) bool {
	_, ok := t.successors.before[i]
	return ok
}

// succeed notes that next is to take the place of old, instead of any before it.
func (t *Table) succeed(old, next uint32) {
	s := &t.successors
	if s.of == nil {
		s.of, s.before = map[uint32]uint32{}, map[uint32]uint32{}
	}
	s.of[old], s.before[next] = next, old
}

// part forgets a pair.
func (s *successors) part(old, next uint32) {
	delete(s.of, old)
	if delete(s.before, next); len(s.before) == 0 {
		*s = successors{}
	}
}

// leaveOriginal has connection i found by its Original tuple no longer. A successor is
// found by that tuple from here on.
func (t *Table) leaveOriginal(i uint32, tuple *packet.Tuple) {
	if t.Contested() && t.partWith(i, tuple) {
		return
	}
	t.index.remove(t.index.tag(tuple), i<<1)
	if len(t.crowds) > 0 {
		t.crowdOut(tuple)
	}
}

// partWith has a pair come apart that connection i is of, and reports whether there is such a pair: then the
// tuple is the other connection's.
func (t *Table) partWith(i uint32, tuple *packet.Tuple) bool {
	s := &t.successors
	if old, ok := s.before[i]; ok {
		s.part(old, i)
		return true // i was not found by the tuple
	}
	next, ok := s.of[i]
	if ok {
		s.part(i, next)
		t.index.replace(t.index.tag(tuple), i<<1, next<<1)
	}
	return ok
}

// established ends the connection that c is the successor of, as c is established.
func (t *Table) established(c *Conn) {
	if old, ok := t.successors.before[c.self]; ok {
		t.remove(old)
	}
}

// Repeats reports whether a SYN may be a repetition of the one that its side of the connection has
// begun with. It then lies at most two windows behind the last byte of that side.
func (t *Table) Repeats(c *Conn, d Direction, s *packet.Segment) bool {
	k := &t.links(c.self).stream
	ahead := int64(int32(s.Seq + s.Len - k.end[d&1]))
	return k.knows(d) && ahead <= 0 && ahead >= -2*k.offered(1-d)
}
