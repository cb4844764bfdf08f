package router

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// counters is what a worker counts.
type counters struct {
	Received, Forwarded, Consumed, Made uint64
	Conflicts                           uint64
	Parked                              int64
	Dropped                             [numDropReasons]uint64
	Unsent                              [numUnsentReasons]uint64
}

// An UnsentReason says why a router has not sent a frame of its own: an ICMP error, a RST, or a piece of a
// packet. The names are the words of the counters.
type UnsentReason uint8

// The reasons. An answer that a rule forbids, such as an ICMP error about an ICMP error (RFC 1812, 4.3.2.7) or a
// RST in answer to a RST, is not counted. Frames that a device does not take are in DeviceStats.Lost.
const (
	UnsentRate     UnsentReason = iota // an ICMP error or a RST beyond what the router sends in a second
	UnsentRoute                        // the RST for one side of a connection that ends, to which there is no route
	UnsentNeighbor                     // likewise, where the next hop is not known: a RST is not worth an ARP request
	UnsentSequence                     // likewise, where it is not known which sequence number that side expects
	UnsentFragment                     // a RST in answer to a TCP segment in fragments, whose length is not known
	UnsentPieces                       // a part of a super-frame that cannot be cut any further
	numUnsentReasons
)

var unsentNames = [numUnsentReasons]string{"rate", "no-route", "no-neighbor", "no-sequence", "fragment", "pieces"}

// String returns the reason's name.
func (r UnsentReason) String() string {
	if r < numUnsentReasons {
		return unsentNames[r]
	}
	return "unknown"
}

// Stats is a copy of an engine's counters. Every frame received is exactly one
// of forwarded, consumed, dropped, or still parked; frames that the engine makes
// itself (answers, floods, fragments, segments) are counted apart. Unsent counts the frames of its
// own that it did not send, by reason.
type Stats struct {
	Received  uint64 // from devices, and from one router to another
	Forwarded uint64
	Consumed  uint64 // answered, learned from, or for nobody else
	Parked    uint64 // waiting for a neighbor or other fragments at this moment
	Made      uint64
	Conflicts uint64 // ARP messages that claim an address of a router

	Drops   map[DropReason]uint64   // reasons that have occurred
	Unsent  map[UnsentReason]uint64 // likewise; these frames are in no other count
	Devices []DeviceStats
	Routers []RouterStats
}

// Dropped is the sum of all drops.
func (s *Stats) Dropped() uint64 {
	var n uint64
	for _, c := range s.Drops {
		n += c
	}
	return n
}

// DeviceStats counts what went through one device. Bytes are those of Ethernet
// frames; a super-frame counts once. Those of a batch that the device took in
// part only are not in TxBytes.
type DeviceStats struct {
	Device, Network   string
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	Lost              uint64 // frames that the device did not take
	Present           bool   // open at this moment
}

// RouterStats describes one router's tables.
type RouterStats struct {
	Router      string
	Connections int
	Created     uint64
	Expired     uint64
	Evicted     uint64
	Settled     uint64 // ended because a floating IP or a member has gone or moved
	Overloaded  uint64 // connections that share an external port,
	OverShare   uint64 // of these because their host has its share of the ports
	Neighbors   int
	TableBytes  int
}

// A tally adds up what the workers of an engine have counted.
type tally struct {
	Stats
	parked  int64
	devices map[*link]int // index in Stats.Devices
	away    []awayStats
}

// awayStats is what one worker has sent to another's device.
type awayStats struct {
	link *link
	DeviceStats
}

// add adds one worker's counters, on that worker.
func (t *tally) add(w *worker) {
	c := &w.stats
	t.Received += c.Received
	t.Forwarded += c.Forwarded
	t.Consumed += c.Consumed
	t.Made += c.Made
	t.Conflicts += c.Conflicts
	t.parked += c.Parked
	for r, n := range c.Dropped {
		if n > 0 {
			t.Drops[DropReason(r)] += n
		}
	}
	if t.Unsent == nil {
		t.Unsent = map[UnsentReason]uint64{}
	}
	for r, n := range c.Unsent {
		if n > 0 {
			t.Unsent[UnsentReason(r)] += n
		}
	}
	for _, r := range w.routers {
		if lost := r.arp.Lost(); lost > 0 { // what waited for a neighbor that had to make room
			t.parked -= int64(lost)
			t.Drops[DropNeighborFull] += lost
		}
		n, mapped := r.conns.Stats(), r.nat.Stats()
		t.Routers = append(t.Routers, RouterStats{
			Router: r.name, Connections: r.conns.Len(), Created: n.Created, Expired: n.Expired,
			Evicted: n.Evicted, Settled: n.Settled, Overloaded: mapped.Overloaded, OverShare: mapped.OverShare,
			Neighbors: r.arp.Len(), TableBytes: r.conns.Bytes() + r.nat.Bytes(),
		})
	}
	if t.devices == nil {
		t.devices = map[*link]int{}
	}
	for _, l := range w.links {
		d := l.stats
		d.Device, d.Network, d.Present = l.name(), l.network, l.dev != nil
		t.devices[l] = len(t.Devices)
		t.Devices = append(t.Devices, d)
	}
	for _, b := range w.away {
		if b.seen != nil {
			t.away = append(t.away, awayStats{b.link, b.stats})
		}
	}
}

// stats is the sum.
func (t *tally) stats() Stats {
	t.Parked = uint64(max(0, t.parked))
	for _, s := range t.away {
		if i, ok := t.devices[s.link]; ok {
			d := &t.Devices[i]
			d.TxFrames += s.TxFrames
			d.TxBytes += s.TxBytes
			d.Lost += s.Lost
		}
	}
	return t.Stats
}

// A Connection is a copy of one entry of a router's connection table.
type Connection struct {
	Router string
	conntrack.Connection
	Mapped bool // it goes through a mapping
}

// String writes the connection as one line: protocol, state, and both tuples as
// they arrive at the router.
func (c Connection) String() string {
	return packet.ProtoName(c.Original.Proto) + " " + c.State.String() + " " +
		c.Remaining.Truncate(time.Second).String() + " " + c.Original.String() + " | " + c.Reply.String()
}
