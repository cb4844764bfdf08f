package conntrack

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

// HasSuccessors reports whether any connection has a successor.
func (t *Table) HasSuccessors() bool { return len(t.successors.of) > 0 }

// Successor returns the connection that is to take the place of c, which Lookup has found, nil if
// there is none. One whose deadline has passed, or that a change has ended, is removed.
func (t *Table) Successor(c *Conn) *Conn {
	i := t.successors.of[c.self]
	if i == noConn {
		return nil
	}
	switch next := t.conn(i); {
	case t.expired(next, t.now):
		t.expire(i)
	case t.overruled(next):
		t.overrule(i)
	default:
		return next
	}
	return nil
}

// Succeeds reports whether c is to take the place of another connection with the same Original tuple.
func (t *Table) Succeeds(c *Conn) bool { return t.successors.before[c.self] != noConn }

// succeed notes that next is to take the place of old, instead of any before it.
func (t *Table) succeed(old, next uint32) {
	s := &t.successors
	if s.of == nil {
		s.of, s.before = map[uint32]uint32{}, map[uint32]uint32{}
	}
	s.of[old], s.before[next] = next, old
}

// succeeding is the flag of a connection that is to take the place of another one, 0 for any other.
func (t *Table) succeeding(i uint32) connFlags {
	if t.HasSuccessors() && t.successors.before[i] != noConn {
		return connSucceeds
	}
	return 0
}

// part forgets a pair.
func (s *successors) part(old, next uint32) {
	delete(s.of, old)
	if delete(s.before, next); len(s.before) == 0 {
		*s = successors{}
	}
}

// leaveOriginal takes the Original tuple from connection i: no packet finds the connection by it any
// more. From here on a successor is found by that tuple.
func (t *Table) leaveOriginal(i uint32, tuple *packet.Tuple) {
	if t.HasSuccessors() && t.partWith(i, tuple) {
		return
	}
	t.index.Remove(t.index.tag(tuple), i<<1)
}

// partWith forgets the pair that connection i belongs to, if there is one, and reports whether there is. Then
// the other connection of the pair is found by the tuple.
func (t *Table) partWith(i uint32, tuple *packet.Tuple) bool {
	s := &t.successors
	if old := s.before[i]; old != noConn {
		s.part(old, i)
		t.conn(i).flags &^= connSucceeds
		return true // i was not found by the tuple
	}
	next := s.of[i]
	if next != noConn {
		s.part(i, next)
		t.conn(next).flags &^= connSucceeds
		t.index.replace(t.index.tag(tuple), i<<1, next<<1)
	}
	return next != noConn
}

// established ends the connection that c is the successor of, as c is established.
func (t *Table) established(c *Conn) {
	if old := t.successors.before[c.self]; old != noConn {
		t.remove(old, Ending{Reason: Succeeded})
	}
}

// Repeats reports whether a SYN may be a repetition of the one that its side of the connection has
// begun with. It then lies at most two windows behind the last byte of that side.
func (t *Table) Repeats(c *Conn, d Direction, s *packet.Segment) bool {
	k := &t.conns.Column(c.self).stream
	ahead := int64(int32(s.Seq + s.Len - k.end[d&1]))
	return k.knows(d) && ahead <= 0 && ahead >= -2*k.offered(1-d)
}
