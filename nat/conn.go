package nat

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Conn is one connection of a Table. It is valid until the table's next
// Commit, Remove, Lookup, Tick or Settle. Fields that the router sets describe how
// each direction leaves it, indexed by Direction; nat keeps them but does not look
// at them. It is one cache line of 64 bytes: all that an established connection's
// packets need.
type Conn struct {
	src, dst         [2]uint32
	srcPort, dstPort [2]uint16
	proto            uint8
	state            State
	class            Class
	flags            connFlags

	seen                 uint32 // last packet, in milliseconds
	addrDelta, portDelta uint16 // of the original direction; the reply's are the complements

	In     [2]uint16 // interface its packets arrive on
	Out    [2]uint16 // interface they leave by, 0: not known yet
	Hop    [2]uint32 // neighbor they leave to, 0: not known
	Member uint32    // load balancer's number + 1, 0: none

	snapshot uint32 // of the rules by which it is right, and which Out and Hop come from
	self     uint32 // its number
}

type connFlags uint8

const (
	connLive         connFlags = 1 << iota
	connReplied                // a reply has been seen
	connOwned                  // counts towards the share of its owner ...
	connOwnerDest              // ... which is the destination of the translated packet, not the original source
	connNAT                    // the translation changes something
	connRuled                  // made by a floating IP, a forwarded port or a VIP (not: by a mapping)
	connSourceMapped           // its source goes through a mapping
	connDestMapped             // its destination does
)

// Tuple returns the tuple of direction d as it arrives at the router.
func (c *Conn) Tuple(d Direction) packet.Tuple {
	return packet.Tuple{Src: c.src[d&1], Dst: c.dst[d&1], SrcPort: c.srcPort[d&1], DstPort: c.dstPort[d&1], Proto: c.proto}
}

func (c *Conn) setTuple(d Direction, t packet.Tuple) {
	c.src[d], c.dst[d], c.srcPort[d], c.dstPort[d], c.proto = t.Src, t.Dst, t.SrcPort, t.DstPort, t.Proto
}

// matches reports whether direction d has this tuple.
func (c *Conn) matches(d Direction, t *packet.Tuple) bool {
	d &= 1
	return c.src[d] == t.Src && c.dst[d] == t.Dst && c.srcPort[d] == t.SrcPort &&
		c.dstPort[d] == t.DstPort && c.proto == t.Proto
}

// Translated returns what packets of direction d look like when they leave: the
// other direction's tuple, reversed.
func (c *Conn) Translated(d Direction) packet.Tuple { return c.Tuple(1 - d).Reverse() }

// Rewrite returns the translation of direction d.
func (c *Conn) Rewrite(d Direction) packet.Rewrite {
	o := (1 - d) & 1
	r := packet.Rewrite{
		Src: c.dst[o], Dst: c.src[o], SrcPort: c.dstPort[o], DstPort: c.srcPort[o],
		AddrDelta: c.addrDelta, PortDelta: c.portDelta,
	}
	if d == Reply {
		r.AddrDelta, r.PortDelta = ^r.AddrDelta, ^r.PortDelta
	}
	return r
}

// NATed reports whether the connection changes addresses or ports.
func (c *Conn) NATed() bool { return c.flags&connNAT != 0 }

// Mapped reports whether the connection goes through a mapping.
func (c *Conn) Mapped() bool { return c.flags&(connSourceMapped|connDestMapped) != 0 }

// Protocol returns the IP protocol.
func (c *Conn) Protocol() uint8 { return c.proto }

// State returns how far the connection has come.
func (c *Conn) State() State { return c.state }

// Ended reports whether both sides of a TCP connection have finished, or one
// has reset it.
func (c *Conn) Ended() bool { return c.closing() }

// Replied reports whether the other side has answered.
func (c *Conn) Replied() bool { return c.flags&connReplied != 0 }

// A Rank is how much of a connection is left, and when it makes room for others.
type Rank uint8

// The ranks.
const (
	Absent   Rank = iota // not in the table
	HalfOpen             // makes room when there are too many of them, or when nothing is over
	Lasting              // never makes room
	Over                 // closed: makes room when the table is full
)

func (c *Conn) rank() Rank {
	switch {
	case c.embryonic():
		return HalfOpen
	case c.closing():
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

// closing reports whether a TCP connection is over.
func (c *Conn) closing() bool {
	return c.proto == packet.ProtoTCP && (c.state == Closed || c.state == Reset)
}

// expired reports whether the connection's deadline has been reached.
func (t *Table) expired(c *Conn, now uint32) bool { return now-c.seen >= t.timeout(c) }

// millis is the clock that connections are stamped with. It wraps after 49
// days; only differences are used, and the longest timeout is cut to half that.
func millis(now time.Duration) uint32 { return uint32(now / time.Millisecond) }

// timeoutMillis rounds up: nothing is to end before its time, and 0 would be at once.
func timeoutMillis(d time.Duration) uint32 {
	return uint32((min(d, 24*24*time.Hour) + time.Millisecond - 1) / time.Millisecond)
}
