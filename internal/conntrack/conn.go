package conntrack

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Conn is one connection of a Table. It is valid until the table's next Commit, Import, Remove,
// Lookup, Tick or Settle. It is one cache line of 64 bytes: all that an established connection's
// packets need.
//
// The exported fields belong to the table's user. They say how the packets of each direction come
// and leave, indexed by Direction. The table keeps them, and does not look at Out and Hop.
type Conn struct {
	ends  [2]ends // by Direction
	proto uint8
	state State
	class Class
	flags connFlags

	seen                 uint32 // last packet, in milliseconds
	addrDelta, portDelta uint16 // of the original direction; the reply's are the complements

	In      [2]uint16 // interface its packets arrive on
	Out     [2]uint16 // interface they leave by, 0: not known yet
	Hop     [2]uint32 // neighbor they leave to, 0: not known
	Backend Backend   // that a load balancer has chosen

	snapshot uint32 // of the rules by which it is right, and which Out and Hop come from
	self     uint32 // its number
}

// ends are the addresses and ports of one direction.
type ends struct {
	src, dst         packet.Addr
	srcPort, dstPort uint16
}

// Link implements Linked. It is not for callers.
func (c *Conn) Link() *uint32 { return &c.self }

// A Backend is the number by which the table's user knows where a load balancer has sent a
// connection. 0 is none.
type Backend uint32

// Marks are bits that the table's user keeps with a connection. The table does not look at them.
type Marks uint8

// The marks.
const (
	Mark1 Marks = 1 << iota
	Mark2

	allMarks = Mark1 | Mark2
)

type connFlags uint8

const (
	connLive      connFlags = 1 << iota // the record is whole: see Conn.publish
	connReplied                         // a reply has been seen
	connCounted                         // counts towards the share of its owner
	connOwnerDest                       // the owner is the translated packet's destination, not the original source
	connNAT                             // the translation changes something
	markShift               = iota      // two marks follow

	connSucceeds connFlags = 1 << 7 // it is the successor of another connection
)

// Tuple returns the tuple of direction d as it arrives.
func (c *Conn) Tuple(d Direction) packet.Tuple {
	e := &c.ends[d&1]
	return packet.Tuple{Src: e.src, Dst: e.dst, SrcPort: e.srcPort, DstPort: e.dstPort, Proto: c.proto}
}

func (c *Conn) setTuple(d Direction, t packet.Tuple) {
	c.ends[d&1], c.proto = ends{t.Src, t.Dst, t.SrcPort, t.DstPort}, t.Proto
}

// matches reports whether direction d has this tuple.
func (c *Conn) matches(d Direction, t *packet.Tuple) bool {
	e := &c.ends[d&1]
	// One comparison instead of five: where the tag is the same, hardly any tuple differs.
	addrs := (e.src ^ t.Src) | (e.dst ^ t.Dst)
	ports := (e.srcPort ^ t.SrcPort) | (e.dstPort ^ t.DstPort) | uint16(c.proto^t.Proto)
	return addrs.Number()|uint64(ports) == 0
}

// Translated returns what packets of direction d look like when they leave: the other direction's
// tuple, reversed.
func (c *Conn) Translated(d Direction) packet.Tuple { return c.Tuple(1 - d).Reverse() }

// Rewrite returns the translation of direction d.
func (c *Conn) Rewrite(d Direction) packet.Rewrite {
	o := &c.ends[(1-d)&1]
	r := packet.Rewrite{
		Src: o.dst, Dst: o.src, SrcPort: o.dstPort, DstPort: o.srcPort,
		AddrDelta: c.addrDelta, PortDelta: c.portDelta,
	}
	if d == Reply {
		r.AddrDelta, r.PortDelta = ^r.AddrDelta, ^r.PortDelta
	}
	return r
}

// setTranslation works out what Rewrite needs.
func (c *Conn) setTranslation(original, to packet.Tuple) {
	if to == original {
		return
	}
	c.flags |= connNAT
	r := packet.NewRewrite(original, to)
	// 0xffff is zero as well; with 0 an unchanged field stays the same to the bit.
	c.addrDelta, c.portDelta = r.AddrDelta, r.PortDelta
	if c.addrDelta == 0xffff {
		c.addrDelta = 0
	}
	if c.portDelta == 0xffff {
		c.portDelta = 0
	}
}

// NATed reports whether the connection changes addresses or ports.
func (c *Conn) NATed() bool { return c.flags&connNAT != 0 }

// Marks returns the marks that the connection has begun with.
func (c *Conn) Marks() Marks { return Marks(c.flags>>markShift) & allMarks }

// Protocol returns the IP protocol.
func (c *Conn) Protocol() uint8 { return c.proto }

// State returns how far the connection has come.
func (c *Conn) State() State { return c.state }

// Ended reports whether both sides of a TCP connection have finished, or one has reset it.
func (c *Conn) Ended() bool {
	return c.proto == packet.ProtoTCP && (c.state == Closed || c.state == Reset)
}

// replied reports whether the other side has answered.
func (c *Conn) replied() bool { return c.flags&connReplied != 0 }

// A Rank is how much of a connection is left, and when it makes room for others.
type Rank uint8

// The ranks.
const (
	Absent   Rank = iota // not in the table
	HalfOpen             // makes room when there are too many of them, or when no connection is over
	Lasting              // never makes room
	Over                 // closed: makes room when the table is full
)

// Rank returns the connection's rank. An Observer's Ended gets the last one before the end.
func (c *Conn) Rank() Rank {
	switch {
	case c.embryonic():
		return HalfOpen
	case c.Ended():
		return Over
	}
	return Lasting
}

// embryonic reports whether the connection is half-open.
func (c *Conn) embryonic() bool {
	if c.proto == packet.ProtoTCP {
		return c.state == New || c.state == SynSent || c.state == SynReceived
	}
	return c.flags&connReplied == 0
}

// unanswered reports whether a TCP connection is no more than a SYN. There is nothing to keep, and
// the next SYN may try another backend.
func (c *Conn) unanswered() bool { return c.state == SynSent }

// expired reports whether the connection's deadline has been reached.
func (t *Table) expired(c *Conn, now uint32) bool { return now-c.seen >= t.timeout(c) }

// millis is the clock that connections are stamped with. It wraps after 49 days; only differences
// are used, and the longest timeout is cut to half that.
func millis(now time.Duration) uint32 { return uint32(now / time.Millisecond) }

// timeoutMillis rounds up: no connection ends before its time, and 0 would be at once.
func timeoutMillis(d time.Duration) uint32 {
	return uint32((min(d, 24*24*time.Hour) + time.Millisecond - 1) / time.Millisecond)
}
