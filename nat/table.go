package nat

import (
	"math/rand/v2"
	"time"
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Table is the state of one router's translation. Callers serialize.
type Table struct {
	cfg Config
	rng *rand.Rand

	index  index
	chunks []*[chunkLen]Conn
	free   uint32 // first free connection, none: noConn
	top    uint32 // connections ever used
	live   int

	embryonic, closing queue

	timeouts                      [4]uint32 // by class, milliseconds
	tcpTransitory, tcpEstablished uint32

	externals map[uint32]*external
	mappings  mappings
	hosts     map[uint32]hostUse

	sweep sweep

	stats Stats
	ended func(*Conn)
}

// Stats counts what a table has done since it was made.
type Stats struct {
	Created, Expired, Evicted, Overloaded uint64
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
	noConn    = ^uint32(0)

	// Half-open connections may fill this part of the table before the oldest
	// makes room for the newest.
	embryonicShare = 0.5
)

// NewTable returns an empty table. rng chooses ports and the index's secret.
// ended, which may be nil, is called for every connection that ends, before it
// is forgotten; it must not call the table.
func NewTable(cfg Config, rng *rand.Rand, ended func(*Conn)) *Table {
	cfg = cfg.withDefaults()
	t := &Table{
		cfg: cfg, rng: rng, ended: ended,
		index: newIndex(rng.Uint64(), rng.Uint64()),
		free:  noConn,

		embryonic: newQueue(), closing: newQueue(),
		externals: map[uint32]*external{},
		mappings:  newMappings(),
		hosts:     map[uint32]hostUse{},
	}
	t.timeouts = [4]uint32{
		classUDP: timeoutMillis(cfg.UDP), classICMP: timeoutMillis(cfg.ICMP),
		classOther: timeoutMillis(cfg.Other),
	}
	t.tcpTransitory, t.tcpEstablished = timeoutMillis(cfg.TCPTransitory), timeoutMillis(cfg.TCPEstablished)
	return t
}

// Len is the number of connections, including those whose deadline has passed
// since the last Tick.
func (t *Table) Len() int { return t.live }

// Stats returns the table's counters.
func (t *Table) Stats() Stats { return t.stats }

// Bytes is the memory that the connections and their index take.
func (t *Table) Bytes() int {
	return len(t.chunks)*int(unsafe.Sizeof([chunkLen]Conn{})) + t.index.bytes()
}

// conn returns connection i.
func (t *Table) conn(i uint32) *Conn { return &t.chunks[i>>chunkBits][i&(chunkLen-1)] }

// Lookup finds the connection that a packet with this tuple belongs to, and its
// direction. A connection whose deadline has passed is removed and not found.
func (t *Table) Lookup(tuple *packet.Tuple, now time.Duration) (*Conn, Direction) {
	i, d := t.find(tuple)
	if i == noConn {
		return nil, 0
	}
	c := t.conn(i)
	if t.expired(c, millis(now)) {
		t.stats.Expired++
		t.remove(i)
		return nil, 0
	}
	return c, d
}

// find is Lookup without a clock.
func (t *Table) find(tuple *packet.Tuple) (uint32, Direction) {
	x := &t.index
	tag := x.tag(tuple)
	mask := len(x.slots) - 1
	for i := place(tag, x.shift); ; i = (i + 1) & mask {
		s := x.slots[i&mask]
		if s == 0 {
			break
		}
		if uint32(s>>32) == tag {
			ref := uint32(s) - 1
			if t.conn(ref>>1).matches(Direction(ref&1), tuple) {
				return ref >> 1, Direction(ref & 1)
			}
		}
	}
	if x.old == nil {
		return noConn, 0
	}
	mask = len(x.old) - 1
	for i := place(tag, x.oldShift); x.old[i] != 0; i = (i + 1) & mask {
		s := x.old[i]
		if uint32(s>>32) == tag && s != tombstone {
			ref := uint32(s) - 1
			if t.conn(ref>>1).matches(Direction(ref&1), tuple) {
				return ref >> 1, Direction(ref & 1)
			}
		}
	}
	return noConn, 0
}

// Touch records a packet of direction d: it refreshes the connection (packets of
// both directions do, RFC 4787 REQ-6) and moves its TCP state on. flags are the
// TCP flags, data says whether a payload follows.
func (t *Table) Touch(c *Conn, d Direction, flags uint8, data bool, now time.Duration) {
	c.seen = millis(now)
	if c.proto == packet.ProtoTCP {
		next := c.state.step(flags, data, d)
		if next != c.state {
			t.setState(c, next, d)
		}
	} else if d == Reply && c.state == New {
		t.setState(c, Established, d)
	}
}

// setState moves the connection to the eviction queue of its new state.
func (t *Table) setState(c *Conn, s State, d Direction) {
	before := t.queueOf(c)
	c.state = s
	if d == Reply {
		c.flags |= connReplied
	}
	if after := t.queueOf(c); after != before {
		i := c.self
		if before != nil {
			before.unlink(t, i)
		}
		if after != nil {
			after.push(t, i)
		} else if c.flags&(connOwnerDest|connOwned) == connOwnerDest {
			t.count(c)
		}
	}
	t.sweep.hurry(c.seen + t.timeout(c))
}

func (t *Table) queueOf(c *Conn) *queue {
	switch {
	case c.embryonic():
		return &t.embryonic
	case c.closing():
		return &t.closing
	}
	return nil
}

// A NewConn is a connection that is about to be committed.
type NewConn struct {
	Original packet.Tuple // as the first packet arrived
	Reply    packet.Tuple // as the answer will arrive
	Binding  Binding      // from Bind or Inbound; zero: none
	Owner    Owner        // whose share it counts towards
	Flags    uint8        // TCP flags of the first packet
	Ruled    bool         // made by a floating IP, forwarded port or VIP

	In, Out  [2]uint16
	Hop      [2]uint32
	Snapshot uint32
	Member   uint32
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
// sent. It evicts a half-open or closed one when the table is full.
func (t *Table) Commit(n *NewConn, now time.Duration) (*Conn, Refusal) {
	t.pin(&n.Binding, 1) // what is evicted may be the last user of these mappings
	r := t.admit(n)
	t.pin(&n.Binding, -1)
	if r != None {
		return nil, r
	}
	i := t.alloc()
	c := t.conn(i)
	*c = Conn{
		state: New, class: classOf(n.Original.Proto), flags: connLive, seen: millis(now),
		In: n.In, Out: n.Out, Hop: n.Hop, Snapshot: n.Snapshot, Member: n.Member, self: i,
	}
	c.setTuple(Original, n.Original)
	c.setTuple(Reply, n.Reply)
	t.setTranslation(c, n)
	if n.Original.Proto == packet.ProtoTCP {
		c.state = New.step(n.Flags, false, Original)
	}
	t.own(c, n.Owner)
	if n.Binding.ok {
		t.hold(c, &n.Binding)
	}
	t.index.insert(t.index.tag(&n.Original), i<<1)
	t.index.insert(t.index.tag(&n.Reply), i<<1|1)
	if q := t.queueOf(c); q != nil {
		q.push(t, i)
	}
	t.live++
	t.stats.Created++
	t.sweep.hurry(c.seen + t.timeout(c))
	return c, None
}

// admit decides whether a connection may be made, and makes room for it. It
// evicts nothing unless the answer is None.
func (t *Table) admit(n *NewConn) Refusal {
	if i, _ := t.find(&n.Original); i != noConn {
		return TupleTaken
	}
	if i, _ := t.find(&n.Reply); i != noConn || n.Original == n.Reply {
		return TupleTaken
	}
	if host, ok := n.owner(); ok && t.hosts[host].conns >= t.hostLimit(t.cfg.MaxConnections) {
		return HostShareUsed
	}
	if t.embryonic.len >= int(embryonicShare*float64(t.cfg.MaxConnections)) && t.embryonic.len > 0 {
		t.evict(&t.embryonic)
	}
	if t.live >= t.cfg.MaxConnections {
		switch {
		case t.embryonic.len > 0:
			t.evict(&t.embryonic)
		case t.closing.len > 0:
			t.evict(&t.closing)
		default:
			return TableFull
		}
	}
	return None
}

// hostLimit is one host's share of n, at least one.
func (t *Table) hostLimit(n int) int { return max(1, int(t.cfg.HostShare*float64(n))) }

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

// alloc takes a free connection, from a new chunk if need be.
func (t *Table) alloc() uint32 {
	if t.free != noConn {
		i := t.free
		t.free = t.conn(i).next
		return i
	}
	i := t.top
	if int(i>>chunkBits) == len(t.chunks) {
		t.chunks = append(t.chunks, new([chunkLen]Conn))
	}
	t.top++
	return i
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
	if q := t.queueOf(c); q != nil {
		q.unlink(t, i)
	}
	for d := range Direction(2) {
		tuple := c.Tuple(d)
		t.index.remove(t.index.tag(&tuple), i<<1|uint32(d))
	}
	t.disown(c)
	t.release(c)
	*c = Conn{next: t.free}
	t.free = i
	t.live--
}

// RemoveIf ends every connection that match says yes to, and returns how many.
func (t *Table) RemoveIf(match func(*Conn) bool) int {
	n := 0
	for i := range t.top {
		if c := t.conn(i); c.flags&connLive != 0 && match(c) {
			t.remove(i)
			n++
		}
	}
	return n
}

// A Connection is a copy of one connection, for people to look at.
type Connection struct {
	Original, Reply packet.Tuple
	State           State
	Replied         bool
	Mapped          bool
	Idle            time.Duration // since the last packet
	Remaining       time.Duration // until it expires, if no packet comes
}

// Connections calls yield for each live connection, in no meaningful order.
func (t *Table) Connections(now time.Duration, yield func(Connection)) {
	ms := millis(now)
	for i := range t.top {
		c := t.conn(i)
		if c.flags&connLive == 0 || t.expired(c, ms) {
			continue
		}
		idle := ms - c.seen
		yield(Connection{
			Original: c.Tuple(Original), Reply: c.Tuple(Reply), State: c.state,
			Replied: c.Replied(), Mapped: c.Mapped(),
			Idle:      time.Duration(idle) * time.Millisecond,
			Remaining: time.Duration(t.timeout(c)-idle) * time.Millisecond,
		})
	}
}
