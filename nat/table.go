package nat

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Table is the state of one router's translation. Callers serialize.
type Table struct {
	cfg Config
	rng *rand.Rand

	index index
	slab
	live int
	now  uint32 // of the last Lookup, in milliseconds

	warmed uint64 // means nothing

	half    halfOpen
	closing queue

	classes []lifetime // by Class

	externals  map[uint32]*external
	crowds     map[crowdKey]*crowd
	crowdOrder []crowdKey // of crowds, oldest first
	mappings   mappings
	hosts      hosts
	shareOdds  float64 // a host's share, divided by what it leaves

	sweep   sweep
	changes changes
	later   laterSYNs

	successors successors

	stats    Stats
	ended    func(*Conn)
	cut      func(*Conn)
	balanced func(c *Conn, from, to Rank)
}

// Stats counts what a table has done since it was made.
type Stats struct {
	Created, Expired, Evicted uint64
	Overloaded                uint64 // connections that share an external port,
	OverShare                 uint64 // of these because their host has its share of the ports, and not for want of free ones
	Settled                   uint64 // ended by a Change
}

// Half-open connections may fill this part of the table before the oldest
// makes room for the newest.
const embryonicShare = 0.5

// NewTable returns an empty table. rng chooses ports and the index's secret.
// ended, which may be nil, is called for every connection that ends, before it
// is forgotten; it must not call the table.
func NewTable(cfg Config, rng *rand.Rand, ended func(*Conn)) *Table {
	cfg = cfg.withDefaults()
	t := &Table{
		cfg: cfg, rng: rng, ended: ended,
		index: newIndex(rng.Uint64(), rng.Uint64()),

		closing:   newQueue(),
		externals: map[uint32]*external{},
		crowds:    map[crowdKey]*crowd{},
		mappings: mappings{
			byInternal: newIndex(rng.Uint64(), rng.Uint64()), byPermit: newIndex(rng.Uint64(), rng.Uint64()),
		},
		hosts:   hosts{byAddr: newIndex(rng.Uint64(), rng.Uint64())},
		changes: changes{snapshot: 1},
		classes: protocolClasses(cfg),
	}
	t.shareOdds = cfg.HostShare / (1 - cfg.HostShare)
	return t
}

// OnBalanced has fn called whenever the rank of a connection with a Member changes: when
// it is committed (from Absent), becomes established or is over, and when it ends (to
// Absent). fn must not call the table.
func (t *Table) OnBalanced(fn func(c *Conn, from, to Rank)) { t.balanced = fn }

// ranked tells about a change of rank.
func (t *Table) ranked(c *Conn, from, to Rank) {
	if c.Member != 0 && t.balanced != nil {
		t.balanced(c, from, to)
	}
}

// Len is the number of connections, including those whose deadline has passed
// since the last Tick, and those that a change has ended and Settle has not come to.
func (t *Table) Len() int { return t.live }

// Stats returns the table's counters.
func (t *Table) Stats() Stats { return t.stats }

// Bytes is the memory that the connections take, with what finds them, their
// mappings, external ports and hosts.
func (t *Table) Bytes() int {
	n := t.slab.bytes() + t.index.bytes() + t.mappings.bytes() + t.hosts.bytes() + t.half.bytes() + t.later.bytes()
	for _, e := range t.externals {
		n += e.bytes()
	}
	return n
}

// Lookup finds the connection that a packet with this tuple belongs to, and its
// direction. A connection whose deadline has passed, or that a change has ended, is
// removed and not found.
func (t *Table) Lookup(tuple *packet.Tuple, now time.Duration) (*Conn, Direction) {
	t.now = millis(now)
	i, d := t.find(tuple)
	if i == noConn {
		return nil, 0
	}
	c := t.conn(i)
	if t.expired(c, t.now) {
		t.lapse(i)
		return t.Lookup(tuple, now) // its successor, if there is one
	}
	if c.snapshot != t.changes.snapshot && t.overruled(c) {
		t.overrule(i)
		return t.Lookup(tuple, now)
	}
	return c, d
}

// find is Lookup without a clock.
func (t *Table) find(tuple *packet.Tuple) (uint32, Direction) {
	tag := t.index.tag(tuple)
	s := t.index.segment(tag)
	for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
		if uint32(s[i]>>32) == tag {
			ref := uint32(s[i]) - 1
			if t.conn(ref>>1).matches(Direction(ref&1), tuple) {
				return ref >> 1, Direction(ref & 1)
			}
		}
	}
	return noConn, 0
}

const (
	// WarmFrom is the number of connections from which on they do not fit the
	// processor's nearer caches.
	WarmFrom = 1 << 14
	// WarmMost is how many tuples Warm takes at a time.
	WarmMost = 16
)

// Warm has the processor fetch what Lookup will look at for each of up to WarmMost
// tuples. In a large table every lookup waits for memory twice, for the index and
// for the connection; here the waiting is done for all tuples at the same time. It
// changes nothing, and finds nothing that a lookup could rely on.
func (t *Table) Warm(tuples []packet.Tuple) {
	var tags [WarmMost]uint32
	x := &t.index
	sum := uint64(0) // uses what is loaded, so that the compiler keeps the loads
	for i := range tuples[:min(len(tuples), WarmMost)] {
		tags[i] = x.tag(&tuples[i])
		sum += x.segment(tags[i])[tags[i]%segmentLen]
	}
	for _, tag := range tags[:min(len(tuples), WarmMost)] {
		s := x.segment(tag)
		for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
			if uint32(s[i]>>32) == tag {
				sum += uint64(t.conn((uint32(s[i]) - 1) >> 1).seen)
				break
			}
		}
	}
	t.warmed = sum
}

// Touch records a packet of direction d: it refreshes the connection (packets of
// both directions do, RFC 4787 REQ-6) and moves its TCP state on. flags are the
// TCP flags, data says whether a payload follows. A TCP connection that is over
// is refreshed by nothing but what opens it again (RFC 7857, 8).
func (t *Table) Touch(c *Conn, d Direction, flags uint8, data bool, now time.Duration) {
	if c.proto == packet.ProtoTCP {
		next := c.state.step(flags, data, d)
		if next == c.state && c.closing() {
			return
		}
		c.seen = millis(now)
		if next != c.state {
			t.setState(c, next, d)
		}
		return
	}
	c.seen = millis(now)
	if d == Reply && c.state == New {
		t.setState(c, Established, d)
	}
}

// TouchTCP is Touch for a whole TCP segment, whose Fit is Fits: it also follows the
// sequence numbers, and begins anew a connection whose later SYN the segment answers.
func (t *Table) TouchTCP(c *Conn, d Direction, s *packet.Segment, now time.Duration) {
	if !c.closing() && t.answersLater(c, d, s) {
		t.restart(c, 1-d, now)
	}
	t.follow(c, d, s)
	t.Touch(c, d, s.Flags, s.Data(), now)
}

// setState moves the connection to the eviction queue of its new state.
func (t *Table) setState(c *Conn, s State, d Direction) {
	before := c.rank()
	c.state = s
	if d == Reply {
		c.flags |= connReplied
	}
	if after := c.rank(); after != before {
		if after == Lasting && t.Contested() {
			t.established(c)
		}
		t.unlist(c.self, c, before)
		t.list(c.self, c)
		if after == Lasting && c.flags&(connOwnerDest|connOwned) == connOwnerDest {
			t.count(c)
		}
		t.ranked(c, before, after)
	}
	t.sweep.hurry(c.seen + t.timeout(c))
}

// list puts a connection where those of its rank are evicted from.
func (t *Table) list(i uint32, c *Conn) {
	switch c.rank() {
	case HalfOpen:
		t.listHalf(i, c)
	case Over:
		t.closing.push(t, i)
	}
}

// unlist takes it out of there; r is its rank until now.
func (t *Table) unlist(i uint32, c *Conn, r Rank) {
	switch r {
	case HalfOpen:
		t.unlistHalf(i, c)
	case Over:
		t.closing.unlink(t, i)
	}
}

// A NewConn is a connection that is about to be committed.
type NewConn struct {
	Original packet.Tuple   // as the first packet arrived
	Reply    packet.Tuple   // as the answer will arrive
	Binding  Binding        // from Bind or Inbound; zero: none
	Owner    Owner          // whose share it counts towards
	Segment  packet.Segment // the first packet, of TCP
	Ruled    bool           // made by a floating IP, forwarded port or VIP
	Class    Class          // from Table.Class; zero: that of its protocol
	Succeeds bool           // of TCP: it may be the successor of a connection with the same Original tuple

	In, Out [2]uint16
	Hop     [2]uint32
	Member  uint32
}

// Owner says which host a connection counts towards.
type Owner uint8

// The owners: nobody, the sender of the first packet, or its receiver after
// translation.
const (
	OwnerNone Owner = iota
	OwnerSource
	OwnerDest
)

// Commit stores a connection under both tuples, once its first packet is really
// sent. It evicts a closed or half-open one when the table is full.
//
// A host may have HostShare of the table, if nobody else has much of it, and at most
// HostShare / (1 - HostShare) times what is free: the nearer the table is to being full,
// the less one host may have, so that there is room for the next. The same goes for the
// external ports that Bind gives out.
func (t *Table) Commit(n *NewConn, now time.Duration) (*Conn, Refusal) {
	t.now = millis(now)
	t.pin(&n.Binding)
	r := t.admit(n)
	i := noConn
	if r == None {
		i, r = t.enter(n)
	}
	t.unpin(&n.Binding, r == None)
	if r != None {
		return nil, r
	}
	c := t.conn(i)
	*c = Conn{
		state: New, class: n.Class, flags: connLive, seen: t.now,
		In: n.In, Out: n.Out, Hop: n.Hop, Member: n.Member, snapshot: t.changes.snapshot, self: i,
	}
	if c.class == byProtocol {
		c.class = classOf(n.Original.Proto)
	}
	c.setTuple(Original, n.Original)
	c.setTuple(Reply, n.Reply)
	t.setTranslation(c, n)
	if n.Original.Proto == packet.ProtoTCP {
		t.follow(c, Original, &n.Segment)
		c.state = New.step(n.Segment.Flags, false, Original)
	}
	t.own(c, n.Owner)
	if n.Binding.ok {
		t.hold(c, &n.Binding)
	}
	t.list(i, c)
	if len(t.crowds) > 0 {
		t.crowdIn(&n.Original)
		t.crowdIn(&n.Reply)
	}
	t.live++
	t.stats.Created++
	t.sweep.hurry(c.seen + t.timeout(c))
	t.ranked(c, Absent, c.rank())
	return c, None
}

// enter takes a place for a connection, and makes it found there.
func (t *Table) enter(n *NewConn) (uint32, Refusal) {
	i := t.alloc()
	tags := [2]uint32{t.index.tag(&n.Original), t.index.tag(&n.Reply)}
	if !t.index.insert(tags[Reply], i<<1|1) {
		t.slab.release(i)
		return 0, TableFull
	}
	if n.Succeeds {
		if old, d := t.find(&n.Original); old != noConn && d == Original {
			t.succeed(old, i)
			return i, None
		}
	}
	if !t.index.insert(tags[Original], i<<1) {
		t.index.remove(tags[Reply], i<<1|1)
		t.slab.release(i)
		return 0, TableFull
	}
	return i, None
}

// taking reports whether the Original tuple of a new connection is taken, by a connection that the new
// one must not succeed. An earlier successor of that connection makes room.
func (t *Table) taking(n *NewConn) bool {
	if !t.taken(&n.Original) {
		return false
	}
	old, d := t.find(&n.Original)
	if !n.Succeeds || d != Original {
		return true
	}
	if next, ok := t.successors.of[old]; ok {
		t.remove(next)
	}
	return false
}

// admit decides whether a connection may be made, and makes room for it. It
// evicts nothing unless the answer is None; what has expired goes in any case.
func (t *Table) admit(n *NewConn) Refusal {
	if n.Original == n.Reply || t.taking(n) || t.taken(&n.Reply) {
		return TupleTaken
	}
	if host, ok := n.owner(); ok && t.usesShare(host) {
		if t.reclaim(); t.usesShare(host) {
			return HostShareUsed
		}
	}
	if t.half.len >= int(embryonicShare*float64(t.cfg.MaxConnections)) && t.half.len > 0 {
		t.evictHalf(n.In[Original])
	}
	if t.live >= t.cfg.MaxConnections {
		t.reclaim()
	}
	if t.live >= t.cfg.MaxConnections {
		switch {
		case t.closing.len > 0: // what is over goes before what begins
			t.evict(&t.closing)
		case t.half.len > 0:
			t.evictHalf(n.In[Original])
		default:
			return TableFull
		}
	}
	return None
}

// usesShare reports whether a host has as many connections as it may. What would make
// room for others is as good as free: a flood takes no share from anybody.
func (t *Table) usesShare(host uint32) bool {
	all := t.cfg.MaxConnections
	free := all - t.live + t.half.len + int(t.closing.len)
	return t.overShare(int(t.hosts.use(host).conns), all, free)
}

// taken reports whether a connection has the tuple. One that has expired or been
// overruled, and that nobody has noticed, ends here.
func (t *Table) taken(tuple *packet.Tuple) bool {
	for {
		i, _ := t.find(tuple)
		if i == noConn {
			return false
		}
		switch c := t.conn(i); {
		case t.expired(c, t.now):
			t.lapse(i)
		case t.overruled(c):
			t.overrule(i)
		default:
			return true
		}
	}
}

// overShare reports whether one more than held would be more than a host may have of n,
// of which so many are free. It may have its share, and no more than as many times what
// is free as that share is of the rest: one greedy host ends at its share, the next at
// the same share of what the first has left, and there is always some left for another.
// One it may have in any case.
func (t *Table) overShare(held, n, free int) bool {
	more := float64(held + 1)
	return held > 0 && (more > t.cfg.HostShare*float64(n) || more > t.shareOdds*float64(free))
}

func (t *Table) setTranslation(c *Conn, n *NewConn) {
	if n.Ruled {
		c.flags |= connRuled
	}
	to := n.Reply.Reverse()
	if to == n.Original {
		return
	}
	c.flags |= connNAT
	r := packet.NewRewrite(n.Original, to)
	// 0xffff is zero as well; with 0 an unchanged field stays the same to the bit.
	c.addrDelta, c.portDelta = r.AddrDelta, r.PortDelta
	if c.addrDelta == 0xffff {
		c.addrDelta = 0
	}
	if c.portDelta == 0xffff {
		c.portDelta = 0
	}
}

// Remove ends a connection.
func (t *Table) Remove(c *Conn) { t.remove(c.self) }

func (t *Table) evict(q *queue) {
	t.stats.Evicted++
	t.remove(q.first)
}

func (t *Table) remove(i uint32) {
	c := t.conn(i)
	if t.ended != nil {
		t.ended(c)
	}
	t.unlist(i, c, c.rank())
	t.ranked(c, c.rank(), Absent)
	original, reply := c.Tuple(Original), c.Tuple(Reply)
	t.leaveOriginal(i, &original)
	t.index.remove(t.index.tag(&reply), i<<1|1)
	if len(t.crowds) > 0 {
		t.crowdOut(&reply)
	}
	t.disown(c)
	t.unmap(c)
	t.later.forget(i)
	t.slab.release(i)
	t.live--
}

// RemoveIf ends every connection that match says yes to, and returns how many.
func (t *Table) RemoveIf(match func(*Conn) bool) int {
	n := 0
	t.each(func(i uint32, c *Conn) {
		if match(c) {
			t.remove(i)
			n++
		}
	})
	return n
}

// each calls fn, which may remove the connection, for every one.
func (t *Table) each(fn func(i uint32, c *Conn)) {
	for i := uint32(0); i < t.top(); i++ {
		if t.chunks[i>>chunkBits].used == 0 {
			i |= chunkLen - 1
		} else if c := t.conn(i); c.flags&connLive != 0 {
			fn(i, c)
		}
	}
}

// A Connection is a copy of one connection, for people to look at.
type Connection struct {
	Original, Reply packet.Tuple
	State           State
	Replied         bool
	Mapped          bool
	Succeeds        bool          // it is to take the place of another one with this Original tuple
	Idle            time.Duration // since the last packet
	Remaining       time.Duration // until it expires, if no packet comes
}

// Connections calls yield for each live connection, in no meaningful order.
func (t *Table) Connections(now time.Duration, yield func(Connection)) {
	t.Walk(0, math.MaxInt, now, yield)
}

// A Cursor is a place in a table, where a Walk goes on. The zero value is the beginning.
type Cursor uint32

// Walk calls yield for live connections, in no meaningful order. It looks at no more than most
// places of the table, live or not, and returns where the next call goes on, or 0 at the end. The
// table may change between the calls. A connection that is there from the first call to the last
// is shown exactly once, one that comes or goes meanwhile at most once.
func (t *Table) Walk(from Cursor, most int, now time.Duration, yield func(Connection)) Cursor {
	ms, i := millis(now), uint32(from)
	for ; i < t.top(); i++ {
		if most--; most < 0 {
			return Cursor(i)
		}
		if t.chunks[i>>chunkBits].used == 0 {
			i |= chunkLen - 1
			continue
		}
		c := t.conn(i)
		if c.flags&connLive == 0 || t.expired(c, ms) || t.overruled(c) {
			continue
		}
		idle := ms - c.seen
		yield(Connection{
			Original: c.Tuple(Original), Reply: c.Tuple(Reply), State: c.state,
			Replied: c.Replied(), Mapped: c.Mapped(), Succeeds: t.succeeds(i),
			Idle:      time.Duration(idle) * time.Millisecond,
			Remaining: time.Duration(t.timeout(c)-idle) * time.Millisecond,
		})
	}
	return 0
}
