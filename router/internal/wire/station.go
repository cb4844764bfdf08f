package wire

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A network joins endpoints: ports, behind which there are other hosts, and stations, which are the
// engine's own: the interfaces of routers, and local services.

// An Endpoint takes the frames that the switch has for it.
type Endpoint interface {
	// Deliver gives a frame to the endpoint. It returns what became of the frame there. That is the frame's verdict
	// only if how is Received; otherwise the switch or the sender says what the verdict is. The frame's buffer is
	// the turn's, until the batch is flushed.
	Deliver(t *loop.Turn, f *tap.Frame, how Kind) verdict.Verdict
}

// A Kind says where a frame that is delivered comes from.
type Kind uint8

// The kinds of delivered frames.
const (
	Received Kind = iota // from a device, for this endpoint alone
	Flooded              // from a device, for other endpoints as well
	Made                 // from a station. It has its verdict already
)

// A Station is an endpoint of the engine's own at a network, with one MAC address. Its owner is run by
// one worker, which need not be the network's.
type Station struct {
	Owner   StationOwner
	Network *Network
	Number  uint32       // its number as a loop.Receiver
	MAC     packet.MAC   // its address on the network
	Worker  *loop.Worker // runs the owner

	// Of a station whose network belongs to another worker; nil otherwise.
	Inward, Outward *loop.Handover // from the network's worker, and to it
	Outbox          *loop.Outbox   // straight to the network's only device
}

// A source is the port or the station that a frame in the switch comes from. It does not get the frame back.
type source struct {
	port    *Port
	station *Station
	how     Kind // Received or Made
}

// A StationOwner is what is at a station: the interface of a router, or a local service. Its methods are
// called by the worker of the station, and Deliver by that of the network, too.
type StationOwner interface {
	Endpoint
	loop.Resumer
	// NetworkUp says that there may be other hosts on the network than before.
	NetworkUp(t *loop.Turn)
	// SetMTU says how large a packet the network carries now, in bytes.
	SetMTU(mtu int)
}

// A foresighted owner wants to see the frames of a batch before they are delivered one by one.
type foresighted interface {
	// LookAhead must not change the frames. Some may be for other stations.
	LookAhead(t *loop.Turn, frames []tap.Frame)
}

// Deliver hands a frame to the worker of the station. If that is the calling worker, it puts the frame aside for its
// next turn. The owner calls it where it cannot take a frame at once.
func (s *Station) Deliver(t *loop.Turn, f *tap.Frame, how Kind) verdict.Verdict {
	switch how {
	case Received:
		return s.handInward(t, loop.RecordReceived, f)
	case Flooded:
		if s.handInward(t, loop.RecordFlooded, f) != verdict.HandedOver {
			t.Stats.Received++ // the copy, by the other worker
			t.Stats.Drop(verdict.DropHandover, verdict.StageSwitch, 1)
		}
		return verdict.Forwarded // to another worker's station, as to a port
	}
	t.Stats.Received++
	switch {
	case !t.IsOf(s.Worker):
		if v := s.handInward(t, loop.RecordSent, f); v != verdict.HandedOver {
			t.Count(v)
		}
	case len(t.Queue) >= loop.MaxQueue:
		t.Stats.Drop(verdict.DropLoop, verdict.StageSwitch, 1)
	default:
		t.Requeue(s.Owner, append([]byte(nil), f.Buf[f.Head:f.Tail]...))
	}
	return verdict.Forwarded
}

// handInward hands a frame to the worker of the station that it is for.
func (s *Station) handInward(t *loop.Turn, kind uint8, f *tap.Frame) verdict.Verdict {
	if !t.HandOver(s.Inward, kind, s.Number, f) {
		return verdict.Drop(verdict.DropHandover)
	}
	return verdict.HandedOver
}

// Accept implements loop.Receiver: it goes on with a frame that another worker has handed over. The worker of the
// station gets frames for the station, and the worker of the network frames from the station.
func (s *Station) Accept(t *loop.Turn, kind uint8, f *tap.Frame) {
	switch kind {
	case loop.RecordReceived:
		seen, watched := s.Network.LookAt(t, f)
		v := s.Owner.Deliver(t, f, Received)
		t.Count(v)
		if watched {
			s.Network.Judged(t, seen, v, false)
		}
	case loop.RecordSent:
		t.Count(s.Owner.Deliver(t, f, Received))
	case loop.RecordFlooded:
		s.Owner.Deliver(t, f, Flooded)
	case loop.RecordMade:
		s.Network.switchFrame(t, source{station: s, how: Made}, f)
	}
}

// A StationTable finds the stations of a network by their MAC addresses: one probe, mostly, however
// many there are. It is never changed, so other workers may read it.
type StationTable struct {
	seed  uint64 // secret, so that no host can choose addresses that collide
	slots []stationAt
}

// stationAt is a slot of a StationTable.
type stationAt struct {
	mac     uint64 // of macKey; 0: the slot is free
	Station *Station
}

// NewStationTable makes a table of stations. Of two stations with one MAC address, the table has the first. seed is
// secret, such as the one of the network's MACs.
func NewStationTable(seed uint64, all []*Station) *StationTable {
	t := &StationTable{seed: seed, slots: make([]stationAt, 2<<bits.Len(uint(len(all))))}
	for _, s := range all {
		key := macKey(s.MAC[:])
		if at := t.find(key); at.mac == 0 {
			*at = stationAt{key, s}
		}
	}
	return t
}

func (t *StationTable) find(key uint64) *stationAt {
	mask := uint64(len(t.slots) - 1)
	for i := macHash(key, t.seed) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.mac == key || s.mac == 0 {
			return s
		}
	}
}

// Lookup returns the station with a MAC address, or nil.
func (t *StationTable) Lookup(mac []byte) *Station { return t.find(macKey(mac)).Station }
