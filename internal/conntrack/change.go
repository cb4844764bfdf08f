package conntrack

import (
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Change says which rules have come, gone or changed. It ends the connections from before it that
// one of its fields names.
type Change struct {
	Addrs    []packet.Addr // connections with one of these addresses in a tuple
	Backends []Backend     // connections to one of these

	// Concerns says of any other connection whether the change ends it; nil: it does not. The table
	// calls it until Settle reports that nothing is left: when a packet or a search comes across a
	// connection from before the change, and when Settle does. It may be called several times for one
	// connection, must give the same answer for the same connection, and must change nothing.
	Concerns func(*Conn) bool

	// KeepTCP lets TCP connections go on, except for connections that are no more than a SYN.
	KeepTCP bool
}

// Empty reports whether a change names no connections.
func (ch *Change) Empty() bool {
	return len(ch.Addrs) == 0 && len(ch.Backends) == 0 && ch.Concerns == nil
}

// changes are the pending changes: connections from before them may still have to be judged by
// them. A large table is not walked at once. A connection from before that a packet or a search comes
// across is judged there and then, and a walk in steps comes to the others.
//
// A snapshot is the number of a state of the rules. Each connection has the snapshot by which it was
// last found to be right, and is judged by every change that is newer. Changes of addresses and
// backends are merged as they come: for each address and backend only the latest change of its kind
// counts, because it also concerns every connection that an earlier one does.
type changes struct {
	snapshot uint32                    // of now; never 0
	addrs    map[packet.Addr]overSince // by address
	backends map[Backend]overSince     // by backend
	rules    []ruleChange              // oldest first
	pos      uint32                    // the next connection of the walk
	until    uint32                    // the snapshot when the walk began, 0: there is none
}

// An overSince holds the snapshots since which connections from before are over: TCP connections
// that have been answered, and all others. 0: they go on.
type overSince struct{ tcp, others uint32 }

// A ruleChange is a pending change that a function judges by.
type ruleChange struct {
	concerns func(*Conn) bool
	since    overSince
}

const (
	settleStep    = 1 << 14 // connections looked at in one Settle at most
	settleRemoval = 64      // what ending one costs, compared with looking at one

	// maxRules bounds the pending changes that a function judges by.
	maxRules = 32
	// maxNamed bounds the addresses and backends that pending changes name.
	maxNamed = 1 << 14
)

// Apply begins a new snapshot. From here on, the connections that the change names are over: no
// packet finds them, and their tuples are free. Each ends when a packet or a search comes across it.
// All have ended when Settle says so.
//
// The pending changes are bounded: see Backlogged.
func (t *Table) Apply(ch Change) {
	if t.Backlogged() {
		for !t.settleFor(t.now) {
		}
	}
	s := &t.changes
	if s.snapshot++; s.snapshot == 0 {
		s.snapshot = 1
	}
	if s.addrs == nil {
		s.addrs, s.backends = map[packet.Addr]overSince{}, map[Backend]overSince{}
	}
	for _, addr := range ch.Addrs {
		s.addrs[addr] = s.addrs[addr].at(s.snapshot, ch.KeepTCP)
	}
	for _, b := range ch.Backends {
		s.backends[b] = s.backends[b].at(s.snapshot, ch.KeepTCP)
	}
	if ch.Concerns != nil {
		s.rules = append(s.rules, ruleChange{ch.Concerns, overSince{}.at(s.snapshot, ch.KeepTCP)})
	}
	if s.until == 0 {
		s.pos, s.until = 0, s.snapshot
	}
}

// Backlogged reports whether 32 changes with a function are pending, or changes that name 16384 addresses
// and backends. The next Apply then begins with all the steps of Settle that are left. In a large table
// that takes long. A caller that must not stop for so long calls Settle, with packets in between,
// until Backlogged reports false.
func (t *Table) Backlogged() bool {
	s := &t.changes
	return len(s.rules) >= maxRules || len(s.addrs)+len(s.backends) >= maxNamed
}

// at adds a change to what there is.
func (o overSince) at(snapshot uint32, keepTCP bool) overSince {
	if o.others = snapshot; !keepTCP {
		o.tcp = snapshot
	}
	return o
}

// concerns reports whether connection c is from before, and over.
func (o overSince) concerns(c *Conn) bool {
	since := o.others
	if c.proto == packet.ProtoTCP && !c.unanswered() {
		since = o.tcp
	}
	return since != 0 && before(c.snapshot, since)
}

// forget clears each snapshot that is not newer than until.
func (o overSince) forget(until uint32) overSince {
	if o.tcp != 0 && !before(until, o.tcp) {
		o.tcp = 0
	}
	if o.others != 0 && !before(until, o.others) {
		o.others = 0
	}
	return o
}

// Settle goes on with ending what changes have left behind, and reports whether nothing is left. One
// call takes a bounded time.
func (t *Table) Settle(now time.Duration) (done bool) { return t.settleFor(millis(now)) }

// settleFor is Settle at a time in milliseconds.
func (t *Table) settleFor(ms uint32) (done bool) {
	s := &t.changes
	for budget := settleStep; s.until != 0; {
		switch {
		case s.pos >= t.conns.top():
			s.walked()
		case budget <= 0:
			return false
		case t.conns.unused(s.pos):
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

// settleOne ends connection i if it is over. It returns the cost: 1 is that of looking at a connection.
func (t *Table) settleOne(i, ms uint32) int {
	c := t.conn(i)
	switch {
	case c.flags&connLive == 0:
		return 1
	case !t.overruled(c):
		return 1 + len(t.changes.rules)
	case t.expired(c, ms): // it ends here, so that a longer timeout does not bring it back
		t.expire(i)
	default:
		t.overrule(i)
	}
	return settleRemoval
}

// walked forgets the changes that the walk has been about. If other changes have come
// since, the next walk is about them.
func (s *changes) walked() {
	forget(s.addrs, s.until)
	forget(s.backends, s.until)
	s.rules = slices.DeleteFunc(s.rules, func(r ruleChange) bool { return r.since.forget(s.until) == overSince{} })
	s.pos, s.until = 0, s.snapshot
	if len(s.addrs)+len(s.backends)+len(s.rules) == 0 {
		s.addrs, s.backends, s.rules, s.until = nil, nil, nil, 0
	}
}

// forget does the same for every key, and deletes the keys without a snapshot.
func forget[K comparable](all map[K]overSince, until uint32) {
	for k, o := range all {
		if all[k] = o.forget(until); all[k] == (overSince{}) {
			delete(all, k)
		}
	}
}

// overruled reports whether a change has ended a connection that is still in the table.
func (t *Table) overruled(c *Conn) bool {
	s := &t.changes
	if c.snapshot == s.snapshot || s.until == 0 {
		return false
	}
	return s.readdressed(c) || s.repinned(c) || s.ruledOut(c)
}

// readdressed reports whether a connection is over because of an address.
func (s *changes) readdressed(c *Conn) bool {
	if len(s.addrs) == 0 {
		return false
	}
	for _, addr := range [4]packet.Addr{c.ends[0].src, c.ends[0].dst, c.ends[1].src, c.ends[1].dst} {
		if s.addrs[addr].concerns(c) {
			return true
		}
	}
	return false
}

// repinned reports whether a connection is over because of its backend.
func (s *changes) repinned(c *Conn) bool { return c.Backend != 0 && s.backends[c.Backend].concerns(c) }

// ruledOut reports whether a connection is over because a change's function says so.
func (s *changes) ruledOut(c *Conn) bool {
	for i := range s.rules {
		if r := &s.rules[i]; r.since.concerns(c) && r.concerns(c) {
			return true
		}
	}
	return false
}

// overrule ends a connection that is overruled. Its sides need not be told if it is over anyway. Nor
// need they if it is no more than a SYN to a backend, because the next SYN goes to another backend.
func (t *Table) overrule(i uint32) {
	c, s := t.conn(i), &t.changes
	t.stats.Settled++
	cut := c.proto == packet.ProtoTCP && !c.Ended() && (!c.unanswered() || s.readdressed(c) || s.ruledOut(c))
	t.remove(i, Ending{Overruled, cut})
}

// Overruled reports whether the table still has a connection with this tuple that a change has ended.
func (t *Table) Overruled(tuple *packet.Tuple) bool {
	c, _ := t.lookup(t.index.tag(tuple), tuple)
	return c != nil && t.overruled(c)
}

// Current reports whether Out and Hop of a connection are from the present snapshot.
func (t *Table) Current(c *Conn) bool { return c.snapshot == t.changes.snapshot }

// Leave notes how packets of direction d leave by the present snapshot. What was known of the other
// direction by an earlier one is forgotten.
func (t *Table) Leave(c *Conn, d Direction, out uint16, hop uint32) {
	if c.snapshot != t.changes.snapshot {
		c.snapshot = t.changes.snapshot
		c.Out, c.Hop = [2]uint16{}, [2]uint32{}
	}
	c.Out[d&1], c.Hop[d&1] = out, hop
}

// Reset returns the RST that ends a TCP connection for the side that sends direction d: the tuple that
// it has there, and sequence numbers which that side accepts (RFC 5961, 3.2). It reports false if
// the sequence numbers are not known.
func (t *Table) Reset(c *Conn, d Direction) (packet.Tuple, packet.Segment, bool) {
	k, o := &t.conns.Column(c.self).stream, 1-d
	s := packet.Segment{Seq: k.end[o], Flags: packet.RST}
	if k.knows(d) {
		s.Ack, s.Flags = k.end[d], packet.RST|packet.ACK
	}
	// A side that has only sent a SYN looks at the acknowledgement (RFC 9293, 3.10.7.3).
	ok := k.knows(o) || k.marks[d]&streamOpened != 0
	return c.Tuple(d).Reverse(), s, ok
}
