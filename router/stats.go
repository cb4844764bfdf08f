package router

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// counters is what a worker counts.
type counters struct {
	Received, Forwarded, Consumed, Made uint64
	Conflicts                           uint64
	Parked                              int64
	Dropped                             [numDropReasons]uint64
}

// Stats is a copy of an engine's counters. Every frame received is exactly one
// of forwarded, consumed, dropped, or still parked; frames that the engine makes
// itself (answers, floods, fragments, segments) are counted apart.
type Stats struct {
	Received  uint64 // from devices, and from one router to another
	Forwarded uint64
	Consumed  uint64 // answered, learned from, or for nobody else
	Parked    uint64 // waiting for a neighbor or a first fragment at this moment
	Made      uint64
	Conflicts uint64 // ARP messages that claim an address of a router

	Drops   map[DropReason]uint64 // reasons that have occurred
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
	Overloaded  uint64 // connections that share an external port
	Neighbors   int
	TableBytes  int
}

// snapshotStats copies the counters, on the worker.
func (w *worker) snapshotStats() Stats {
	c := &w.stats
	s := Stats{
		Received: c.Received, Forwarded: c.Forwarded, Consumed: c.Consumed,
		Made: c.Made, Conflicts: c.Conflicts, Drops: map[DropReason]uint64{},
	}
	lost := int64(0)
	for _, r := range w.routers {
		lost += int64(r.arp.Lost())
		t := r.nat.Stats()
		s.Routers = append(s.Routers, RouterStats{
			Router: r.name, Connections: r.nat.Len(), Created: t.Created, Expired: t.Expired,
			Evicted: t.Evicted, Overloaded: t.Overloaded, Neighbors: r.arp.Len(), TableBytes: r.nat.Bytes(),
		})
	}
	s.Parked = uint64(c.Parked - lost)
	for r, n := range c.Dropped {
		if DropReason(r) == DropNeighborFull {
			n += uint64(lost) // what waited for a neighbor that had to make room
		}
		if n > 0 {
			s.Drops[DropReason(r)] = n
		}
	}
	for _, p := range w.ports {
		d := p.stats
		d.Device, d.Network, d.Present = p.name(), p.network.name, p.dev != nil
		s.Devices = append(s.Devices, d)
	}
	return s
}

// A Connection is a copy of one entry of a router's connection table.
type Connection struct {
	Router string
	nat.Connection
}

// String writes the connection as one line: protocol, state, and both tuples as
// they arrive at the router.
func (c Connection) String() string {
	return packet.ProtoName(c.Original.Proto) + " " + c.State.String() + " " +
		c.Remaining.Truncate(time.Second).String() + " " + c.Original.String() + " | " + c.Reply.String()
}
