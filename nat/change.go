package nat

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Change is a rule that has come, gone or moved. It ends the connections that were
// made before it and that it names.
type Change struct {
	Addr    uint32   // those with this address in one of their tuples; 0: none
	Members []uint32 // those whose Member is one of these
	KeepTCP bool     // but not the members' TCP connections, once they have answered them
}

// Empty reports whether a change names no connections.
func (ch *Change) Empty() bool { return ch.Addr == 0 && len(ch.Members) == 0 }

// changes is what has changed while there are connections from before. A large
// table is not walked at once: a connection from before that somebody comes across
// is judged there and then, and a walk in steps comes to those that nobody asks for.
// The snapshot numbers the states of the rules; each connection has that of the last
// time it was found to be right.
type changes struct {
	snapshot uint32                  // of now; never 0
	addrs    map[uint32]uint32       // the snapshot since which an address has another meaning
	members  map[uint32]memberChange // by Member
	pos      uint32                  // the next connection of the walk
	until    uint32                  // the snapshot when the walk began, 0: there is none
}

// A memberChange is the snapshot since which a member's connections of either kind
// are over, 0: they go on.
type memberChange struct{ tcp, others uint32 }

const (
	settleStep    = 1 << 14 // connections looked at in one Settle at most
	settleRemoval = 64      // what ending one costs, compared with looking at one
)

// Apply begins a new snapshot, by which the connections that a change names are
// over: nobody finds them from here on, and they are in nobody's way. Each ends
// when somebody comes across it, and all have when Settle says so.
func (t *Table) Apply(ch Change) {
	s := &t.changes
	if s.snapshot++; s.snapshot == 0 {
		s.snapshot = 1
	}
	if s.addrs == nil {
		s.addrs, s.members = map[uint32]uint32{}, map[uint32]memberChange{}
	}
	if ch.Addr != 0 {
		s.addrs[ch.Addr] = s.snapshot
	}
	for _, id := range ch.Members {
		m := s.members[id]
		if m.others = s.snapshot; !ch.KeepTCP {
			m.tcp = s.snapshot
		}
		s.members[id] = m
	}
	if s.until == 0 {
		s.pos, s.until = 0, s.snapshot
	}
}

// OnCut has fn called for each TCP connection that a change ends and whose two sides
// do not know yet, before it is forgotten. fn may call Reset, but nothing else of
// the table.
func (t *Table) OnCut(fn func(*Conn)) { t.cut = fn }

// Settle goes on with ending what changes have left behind, and reports whether
// nothing is left.
func (t *Table) Settle(now time.Duration) (done bool) {
	s, ms := &t.changes, millis(now)
	for budget := settleStep; s.until != 0; {
		switch {
		case s.pos >= t.top():
			s.walked()
		case budget <= 0:
			return false
		case t.chunks[s.pos>>chunkBits].used == 0:
			s.pos |= chunkLen - 1
			s.pos++
			budget--
		default:
			budget -= t.settleOne(s.pos, ms)
			s.pos++
		}
	}
	return true
}

// settleOne ends connection i if it is over. It returns what that cost.
func (t *Table) settleOne(i, ms uint32) int {
	c := t.conn(i)
	if c.flags&connLive == 0 || t.expired(c, ms) || !t.overruled(c) {
		return 1
	}
	t.overrule(i)
	return settleRemoval
}

// walked forgets the changes that the walk has been about. If there are others
// since, the next walk is about those.
func (s *changes) walked() {
	past := func(since uint32) bool { return !before(s.until, since) }
	for addr, since := range s.addrs {
		if past(since) {
			delete(s.addrs, addr)
		}
	}
	for id, m := range s.members {
		if m.tcp != 0 && past(m.tcp) {
			m.tcp = 0
		}
		if m.others != 0 && past(m.others) {
			m.others = 0
		}
		if s.members[id] = m; m == (memberChange{}) {
			delete(s.members, id)
		}
	}
	s.pos, s.until = 0, s.snapshot
	if len(s.addrs)+len(s.members) == 0 {
		s.addrs, s.members, s.until = nil, nil, 0
	}
}

// overruled reports whether a change has ended a connection, which nobody has done
// yet.
func (t *Table) overruled(c *Conn) bool {
	s := &t.changes
	if c.snapshot == s.snapshot || s.until == 0 {
		return false
	}
	return t.readdressed(c) || t.repinned(c)
}

// readdressed reports whether a connection goes by an address that has another meaning now.
func (t *Table) readdressed(c *Conn) bool {
	for _, addr := range [4]uint32{c.src[0], c.dst[0], c.src[1], c.dst[1]} {
		if since, ok := t.changes.addrs[addr]; ok && before(c.snapshot, since) {
			return true
		}
	}
	return false
}

// repinned reports whether a connection is over because of its member.
func (t *Table) repinned(c *Conn) bool {
	if c.Member == 0 {
		return false
	}
	m := t.changes.members[c.Member]
	since := m.others
	if c.proto == packet.ProtoTCP && !c.unanswered() {
		since = m.tcp
	}
	return since != 0 && before(c.snapshot, since)
}

// unanswered reports whether a TCP connection is no more than a SYN: there is
// nothing to keep, and the next SYN may try another member.
func (c *Conn) unanswered() bool { return c.state == SynSent }

// overrule ends a connection that is overruled. Nobody needs to be told of one that
// is over anyway, or that begins anew with its next packet.
func (t *Table) overrule(i uint32) {
	c := t.conn(i)
	t.stats.Settled++
	if t.cut != nil && c.proto == packet.ProtoTCP && !c.closing() && (!c.unanswered() || t.readdressed(c)) {
		t.cut(c)
	}
	t.remove(i)
}

// Overruled reports whether a connection with this tuple is still in the table that
// a change has ended.
func (t *Table) Overruled(tuple *packet.Tuple) bool {
	i, _ := t.find(tuple)
	return i != noConn && t.overruled(t.conn(i))
}

// Current reports whether Out and Hop of a connection are from the present snapshot.
func (t *Table) Current(c *Conn) bool { return c.snapshot == t.changes.snapshot }

// Leave notes how packets of direction d leave by the present snapshot. What was
// known of the other direction by an earlier one is forgotten.
func (t *Table) Leave(c *Conn, d Direction, out uint16, hop uint32) {
	if c.snapshot != t.changes.snapshot {
		c.snapshot = t.changes.snapshot
		c.Out, c.Hop = [2]uint16{}, [2]uint32{}
	}
	c.Out[d&1], c.Hop[d&1] = out, hop
}

// Reset returns the RST that ends a TCP connection for the side that sends direction
// d: the tuple that it has there, and sequence numbers which that side accepts
// (RFC 5961, 3.2). It reports false if those are not known.
func (t *Table) Reset(c *Conn, d Direction) (packet.Tuple, packet.Segment, bool) {
	k, o := &t.links(c.self).stream, 1-d
	s := packet.Segment{Seq: k.end[o], Flags: packet.RST}
	if k.knows(d) {
		s.Ack, s.Flags = k.end[d], packet.RST|packet.ACK
	}
	// Who has only sent a SYN looks at the acknowledgement (RFC 9293, 3.10.7.3).
	ok := k.knows(o) || k.marks[d]&streamOpened != 0
	return c.Tuple(d).Reverse(), s, ok
}
