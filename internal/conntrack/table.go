package conntrack

import (
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Table holds connections. Callers serialize.
type Table struct {
	cfg   Config
	share Share // of one host

	index Index
	conns Slab[Conn, links, *Conn]
	live  int
	now   uint32 // of the last Lookup, Commit, Import or Tick, in milliseconds

	warmed uint64 // uses what Warm loads, so that the compiler keeps the loads

	hosts   hosts
	half    halfOpen
	closing queue

	classes  []lifetime // by Class
	uses     []classUse // by Class
	shortest uint32     // of all their times: a connection that was seen since then has not expired

	sweep   sweep
	changes changes
	later   laterSYNs

	successors successors

	rings map[Member]ringLinks // of connections that have no room for them

	stats        Stats
	observers    []Observer
	useObservers []UseObserver
}

// links is the part of a connection that few packets look at.
type links struct {
	prev, next uint32 // in the queue that its rank belongs to
	// stream is of TCP. Of others, end[0] is the time of the last packet when it was put where it is in its queue. The
	// rest are its neighbors in a ring: see ringLinks.
	stream
}

// noConn is no connection's number.
const noConn = 0

// Stats counts what a table has done since it was made.
type Stats struct {
	Created uint64 // committed or imported
	Expired uint64 // ended because their deadline had passed
	Evicted uint64 // ended to make room
	Settled uint64 // ended by a Change
	// Recalled is how many have ended because their host held them beyond its share, and another host needed them.
	Recalled uint64
}

// halfOpenShare is the part of the table that half-open connections may fill before the oldest makes
// room for the newest.
const halfOpenShare = 0.5

// NewTable returns an empty table. rng chooses the secret of the index.
func NewTable(cfg Config, rng *rand.Rand) *Table {
	cfg = cfg.withDefaults()
	t := &Table{
		cfg: cfg, share: NewShare(cfg.HostShare),
		index:   NewIndex(rng.Uint64(), rng.Uint64()),
		hosts:   hosts{byAddr: NewIndex(rng.Uint64(), rng.Uint64())},
		changes: changes{snapshot: 1},
		classes: protocolClasses(cfg), uses: make([]classUse, firstOwn),
	}
	t.conns.Memory = cfg.Memory
	t.shortest = shortest(t.classes)
	return t
}

// Len is the number of connections. It includes connections whose deadline has passed since the last
// Tick, and connections that a change has ended and Settle has not come to.
func (t *Table) Len() int { return t.live }

// Stats returns the table's counters.
func (t *Table) Stats() Stats { return t.stats }

// Millis is the time of the last Lookup, Commit, Import or Tick in milliseconds. It wraps after 49 days.
func (t *Table) Millis() uint32 { return t.now }

// Bytes is the memory that the connections take, with what finds them and their hosts.
func (t *Table) Bytes() int {
	return t.conns.Bytes() + t.index.Bytes() + t.hosts.bytes() + t.half.bytes() + t.later.bytes() +
		t.ringBytes()
}

// conn returns connection i.
func (t *Table) conn(i uint32) *Conn { return t.conns.At(i) }

// Lookup finds the connection that a packet with this tuple belongs to, and its direction. A
// connection whose deadline has passed, or that a change has ended, is removed and not found.
func (t *Table) Lookup(tuple *packet.Tuple, now time.Duration) (*Conn, Direction) {
	t.now = millis(now)
	c, d := t.lookup(t.index.tag(tuple), tuple)
	if c == nil || t.now-c.seen < t.shortest && c.snapshot == t.changes.snapshot {
		return c, d
	}
	if t.expired(c, t.now) {
		t.expire(c.self)
		return t.Lookup(tuple, now) // its successor, if there is one
	}
	if t.overruled(c) {
		t.overrule(c.self)
		return t.Lookup(tuple, now)
	}
	return c, d
}

// lookup is Lookup by a tuple and its tag, without a clock: it also finds a connection that is over.
func (t *Table) lookup(tag uint32, tuple *packet.Tuple) (*Conn, Direction) {
	s := t.index.segment(tag)
	for i := uint(tag); ; i++ { // as Index.Lookup, for speed
		e := s[i%segmentLen]
		if e == 0 {
			return nil, 0
		}
		if uint32(e>>32) != tag {
			continue
		}
		ref := uint32(e)
		if c := t.conn(ref >> 1); c.matches(Direction(ref&1), tuple) {
			return c, Direction(ref & 1)
		}
	}
}

// find is lookup for the connection's number, noConn if there is none.
func (t *Table) find(tuple *packet.Tuple) (uint32, Direction) {
	if c, d := t.lookup(t.index.tag(tuple), tuple); c != nil {
		return c.self, d
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

// Warm has the processor fetch what Lookup will look at for each of up to WarmMost tuples. In a large
// table every lookup waits for memory twice, for the index and for the connection. Here the waiting
// is done for all tuples at the same time. It changes nothing, and finds nothing that a lookup could
// rely on.
func (t *Table) Warm(tuples []packet.Tuple) {
	var tags [WarmMost]uint32
	x := &t.index
	sum := uint64(0)
	for i := range tuples[:min(len(tuples), WarmMost)] {
		tags[i] = x.tag(&tuples[i])
		sum += x.segment(tags[i])[tags[i]%segmentLen]
	}
	for _, tag := range tags[:min(len(tuples), WarmMost)] {
		if _, e := x.segment(tag).seek(uint(tag), tag); e != 0 {
			sum += uint64(t.conn(uint32(e) >> 1).seen)
		}
	}
	t.warmed = sum
}

// Available reports whether a new connection may have a tuple: no connection has it, or only one
// that has expired or that a change has ended. Commit ends such a connection.
func (t *Table) Available(tuple *packet.Tuple) bool {
	c, _ := t.lookup(t.index.tag(tuple), tuple)
	return c == nil || t.expired(c, t.now) || t.overruled(c)
}

// Has reports whether a connection is found by a tuple, over or not.
func (t *Table) Has(tuple *packet.Tuple) bool {
	c, _ := t.Peek(tuple)
	return c != nil
}

// Peek is Lookup for a caller that wants to know what there is, over or not. It changes nothing.
func (t *Table) Peek(tuple *packet.Tuple) (*Conn, Direction) {
	return t.lookup(t.index.tag(tuple), tuple)
}

// Touch records a packet of direction d. It refreshes the connection (packets of both directions do,
// RFC 4787 REQ-6), moves its TCP state on, and returns how its rank moves. flags are the TCP flags,
// data says whether a payload follows. A TCP connection that is over is refreshed only by a segment
// that opens it again (RFC 7857, 8).
func (t *Table) Touch(c *Conn, d Direction, flags uint8, data bool, now time.Duration) Move {
	if c.proto == packet.ProtoTCP {
		next := c.state.step(flags, data, d)
		if next == c.state && c.Ended() {
			return Move{}
		}
		c.seen = millis(now)
		if next != c.state {
			return t.setState(c, next, d)
		}
		return Move{}
	}
	was := c.seen
	if c.seen = millis(now); was^c.seen >= useStep {
		t.used(c)
	}
	if d == Reply && c.state == New {
		return t.setState(c, Established, d)
	}
	return Move{}
}

// TouchTCP is Touch for a whole TCP segment, whose Fit is Fits: it also follows the sequence numbers,
// and begins anew a connection whose later SYN the segment answers.
func (t *Table) TouchTCP(c *Conn, d Direction, s *packet.Segment, now time.Duration) Move {
	if !c.Ended() && t.answersLater(c, d, s) {
		first := t.restart(c, 1-d, now)
		t.follow(c, d, s)
		return first.then(t.Touch(c, d, s.Flags, s.Data(), now))
	}
	t.follow(c, d, s)
	return t.Touch(c, d, s.Flags, s.Data(), now)
}

// setState gives the connection a state. It moves to the eviction queue of its new rank.
func (t *Table) setState(c *Conn, s State, d Direction) Move {
	from := c.Rank()
	c.state = s
	if d == Reply {
		c.flags |= connReplied
	}
	to := c.Rank()
	if to == from {
		t.sweep.hurry(c.seen + t.timeout(c))
		return Move{}
	}
	if to == Lasting && t.HasSuccessors() {
		t.established(c)
	}
	if to == Lasting && c.flags&(connOwnerDest|connCounted) == connOwnerDest {
		t.count(c)
	}
	t.unlist(c.self, c, from)
	t.list(c.self, c)
	for _, o := range t.observers {
		o.Moved(c, from, to)
	}
	t.sweep.hurry(c.seen + t.timeout(c))
	return Move{from, to}
}

// list puts a connection into the list that connections of its rank make room from.
func (t *Table) list(i uint32, c *Conn) {
	switch c.Rank() {
	case HalfOpen:
		t.listHalf(i, c)
	case Lasting:
		t.listLasting(i, c)
	case Over:
		t.closing.push(t, i)
	}
}

// unlist takes it out of there; r is its rank until now.
func (t *Table) unlist(i uint32, c *Conn, r Rank) {
	switch r {
	case HalfOpen:
		t.unlistHalf(i, c)
	case Lasting:
		t.unlistLasting(i, c)
	case Over:
		t.closing.unlink(t, i)
	}
}

// A NewConn is a connection that is about to be committed.
type NewConn struct {
	Original packet.Tuple   // as the first packet arrived
	Reply    packet.Tuple   // as the answer will arrive
	Owner    Owner          // whose share it counts towards
	Segment  packet.Segment // the first packet, of TCP
	Class    Class          // from Table.Class; zero: that of its protocol
	Succeeds bool           // of TCP: it may be the successor of a connection with the same Original tuple
	Marks    Marks

	In, Out [2]uint16 // see Conn
	Hop     [2]uint32
	Backend Backend
}

// Owner says which host a connection counts towards.
type Owner uint8

// The owners.
const (
	OwnerNone   Owner = iota
	OwnerSource       // the sender of the first packet
	OwnerDest         // the receiver of the first packet, after translation
)

// Commit stores a connection under both tuples, once its first packet is really sent. It evicts a
// closed or half-open one when the table is full.
//
// A host may have its Share of the table. The nearer the table is to being full, the less one host may
// have, so that there is room for the next host.
//
// Where the settings say Lend, a host may borrow more for UDP, ICMP, and TCP that is not established, as long as there
// is room. What is lent counts as free for others. A host within its share that finds the table full gets the
// place of a connection that another host has borrowed: of the longest idle one of the borrower that has about the
// most. Established TCP counts within the share, and does not end for others: see OverShare.
func (t *Table) Commit(n *NewConn, now time.Duration) (*Conn, Refusal) {
	t.now = millis(now)
	tags := [2]uint32{t.index.tag(&n.Original), t.index.tag(&n.Reply)}
	if r := t.admit(n, tags); r != None {
		return nil, r
	}
	i, ok := t.enter(tags, &n.Original, n.Succeeds)
	if !ok {
		return nil, TableFull
	}
	c := t.conn(i)
	*c = Conn{
		state: New, class: n.Class, flags: t.succeeding(i) | connFlags(n.Marks&allMarks)<<markShift, seen: t.now,
		In: n.In, Out: n.Out, Hop: n.Hop, Backend: n.Backend, snapshot: t.changes.snapshot, self: i,
	}
	if c.class == byProtocol {
		c.class = classOf(n.Original.Proto)
	}
	c.setTuple(Original, n.Original)
	c.setTuple(Reply, n.Reply)
	c.setTranslation(n.Original, n.Reply.Reverse())
	if n.Original.Proto == packet.ProtoTCP {
		t.follow(c, Original, &n.Segment)
		c.state = New.step(n.Segment.Flags, false, Original)
	}
	t.own(c, n.Owner)
	t.begin(c)
	return c, None
}

// begin lists a connection that is complete, and tells the observers.
func (t *Table) begin(c *Conn) {
	t.list(c.self, c)
	t.countClass(c.class, 1)
	t.live++
	t.stats.Created++
	t.sweep.hurry(c.seen + t.timeout(c))
	for _, o := range t.observers {
		o.Began(c)
	}
	c.publish()
}

// enter takes a place for a connection, and has it found there by its tuples' tags. It reports false if
// there is no room.
func (t *Table) enter(tags [2]uint32, original *packet.Tuple, succeeds bool) (uint32, bool) {
	i := t.conns.Take()
	if !t.index.Insert(tags[Reply], i<<1|1) {
		t.conns.Free(i)
		return 0, false
	}
	if succeeds {
		if old, d := t.find(original); old != noConn && d == Original {
			t.succeed(old, i)
			return i, true
		}
	}
	if !t.index.Insert(tags[Original], i<<1) {
		t.index.Remove(tags[Reply], i<<1|1)
		t.conns.Free(i)
		return 0, false
	}
	return i, true
}

// originalTaken reports whether the Original tuple of a new connection is taken, by a connection that
// the new one must not succeed. An earlier successor of that connection makes room.
func (t *Table) originalTaken(tag uint32, original *packet.Tuple, succeeds bool) bool {
	if !t.taken(tag, original) {
		return false
	}
	old, d := t.find(original)
	if !succeeds || d != Original {
		return true
	}
	if next := t.successors.of[old]; next != noConn {
		t.remove(next, Ending{Reason: Evicted})
	}
	return false
}

// admit decides whether a connection may be made, and makes room for it. It evicts nothing unless the
// answer is None, but for a table that has become smaller: see Configure. What has expired goes in any case.
func (t *Table) admit(n *NewConn, tags [2]uint32) Refusal {
	if n.Original == n.Reply || t.originalTaken(tags[Original], &n.Original, n.Succeeds) ||
		t.taken(tags[Reply], &n.Reply) {
		return TupleTaken
	}
	if r := t.withinShare(n); r != None {
		return r
	}
	if t.live > t.cfg.MaxConnections && !t.shrink(n.In[Original]) {
		return TableFull
	}
	if t.halfFull() {
		t.evictHalf(n.In[Original])
		if t.half.excess {
			t.shrinkHalf(n.In[Original])
		}
	}
	if t.live >= t.cfg.MaxConnections {
		t.reclaim()
	}
	if t.live >= t.cfg.MaxConnections {
		return t.makeRoom(n)
	}
	return None
}

// makeRoom ends a connection of a full table for a new one. Closed connections go first, then borrowed ones, then
// half-open ones.
func (t *Table) makeRoom(n *NewConn) Refusal {
	if t.closing.len > 0 {
		t.evict(&t.closing)
		return None
	}
	host, _ := n.owner()
	switch {
	case t.cfg.Lend && t.recall(t.giver(host)):
	case t.cfg.Lend && t.usesShare(host):
		return HostShareUsed // what others had borrowed has become their own: there is less than there seemed to be
	case t.half.len > 0:
		t.evictHalf(n.In[Original])
	default:
		return TableFull
	}
	return None
}

// halfFull reports whether a further half-open connection takes the place of another one.
func (t *Table) halfFull() bool {
	return t.half.len > 0 && t.half.len >= int(halfOpenShare*float64(t.cfg.MaxConnections))
}

// taken reports whether a connection has the tuple with this tag. One that has expired, or that a change has ended,
// ends here.
func (t *Table) taken(tag uint32, tuple *packet.Tuple) bool {
	for {
		c, _ := t.lookup(tag, tuple)
		switch {
		case c == nil:
			return false
		case t.expired(c, t.now):
			t.expire(c.self)
		case t.overruled(c):
			t.overrule(c.self)
		default:
			return true
		}
	}
}

// Remove ends a connection.
func (t *Table) Remove(c *Conn) { t.remove(c.self, Ending{Reason: Removed}) }

func (t *Table) evict(q *queue) {
	t.stats.Evicted++
	t.remove(q.first, Ending{Reason: Evicted})
}

func (t *Table) remove(i uint32, e Ending) {
	c := t.conn(i)
	c.unpublish()
	t.unlist(i, c, c.Rank())
	original, reply := c.Tuple(Original), c.Tuple(Reply)
	t.leaveOriginal(i, &original)
	t.index.Remove(t.index.tag(&reply), i<<1|1)
	t.uncount(c)
	t.countClass(c.class, -1)
	t.live--
	for _, o := range t.observers {
		o.Ended(c, e)
	}
	t.later.forget(i)
	t.conns.Free(i)
}
