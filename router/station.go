package router

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A network joins endpoints: ports, behind which there are other hosts, and stations, which are the
// engine's own: the interfaces of routers, and local services.

// An endpoint takes the frames that the switch has for it.
type endpoint interface {
	// deliver gives a frame to the endpoint. The verdict is the frame's if how is received. The frame's
	// buffer is the turn's, until the batch is flushed.
	deliver(t *turn, f *tap.Frame, how kind) verdict
}

// A kind says where a frame comes from that is delivered.
type kind uint8

const (
	received kind = iota // from a device, for this endpoint alone
	flooded              // from a device, for others as well
	made                 // from a station. It has its verdict already
)

// A station is an endpoint of the engine's own at a network, with one MAC address. Its owner is run by
// one worker, which need not be the network's.
type station struct {
	owner   stationOwner
	network *network
	number  uint32 // as a receiver
	mac     packet.MAC
	worker  *worker

	// Where the network is another worker's: from there, to there, and straight to its device.
	inward, outward *handover
	away            *outbox
}

// A source is where a frame comes from that the switch is given: a port or a station, which do not get it back.
type source struct {
	port    *port
	station *station
	how     kind // received or made
}

// A stationOwner is what a station is: the interface of a router, or a local service. Its methods are
// called by the worker of the station.
type stationOwner interface {
	endpoint
	resumer
	// networkUp: there may be others on the network than before.
	networkUp(t *turn)
	// setMTU: the network carries packets of so many bytes.
	setMTU(mtu int)
}

// A foresighted owner wants to see the frames of a batch before they are delivered one by one.
type foresighted interface {
	lookAhead(t *turn, frames []tap.Frame)
}

// deliver hands a frame to the worker of the station, or puts it aside for this one's next turn. Only
// the owner knows whether it can take a frame at once.
func (s *station) deliver(t *turn, f *tap.Frame, how kind) verdict {
	switch how {
	case received:
		return s.handInward(t, recordReceived, f)
	case flooded:
		if s.handInward(t, recordFlooded, f) != handedOver {
			t.stats.Received++ // the copy, by the other worker
			t.stats.drop(DropHandover, StageSwitch, 1)
		}
		return Forwarded // another worker's station is as good as a port
	}
	t.stats.Received++
	switch {
	case !t.of(s.worker):
		if v := s.handInward(t, recordSent, f); v != handedOver {
			t.count(v)
		}
	case len(t.queue) >= maxQueue:
		t.stats.drop(DropLoop, StageSwitch, 1)
	default:
		t.requeue(s.owner, append([]byte(nil), f.Buf[f.Head:f.Tail]...))
	}
	return Forwarded
}

// handInward hands a frame to the worker of the station that it is for.
func (s *station) handInward(t *turn, kind uint8, f *tap.Frame) verdict {
	if !t.handOver(s.inward, kind, s.number, f) {
		return drop(DropHandover)
	}
	return handedOver
}

// accept goes on with a frame that another worker has handed over: one for the station, or one from the station for its
// network.
func (s *station) accept(t *turn, kind uint8, f *tap.Frame) {
	switch kind {
	case recordReceived:
		seen, watched := s.network.lookAt(t, f)
		v := s.owner.deliver(t, f, received)
		t.count(v)
		if watched {
			s.network.judged(t, seen, v, false)
		}
	case recordSent:
		t.count(s.owner.deliver(t, f, received))
	case recordFlooded:
		s.owner.deliver(t, f, flooded)
	case recordMade:
		s.network.switchFrame(t, source{station: s, how: made}, f)
	}
}

// A stationTable finds the stations of a network by their MAC addresses: one probe, mostly, however
// many there are. It is never changed, so other workers may read it.
type stationTable struct {
	seed  uint64 // secret, so that nobody can choose addresses that collide
	slots []stationAt
}

type stationAt struct {
	mac     uint64 // 0: nothing
	station *station
}

// newStationTable makes a table. Of two stations with one MAC address, the first counts.
func newStationTable(seed uint64, all []*station) *stationTable {
	t := &stationTable{seed: seed, slots: make([]stationAt, 2<<bits.Len(uint(len(all))))}
	for _, s := range all {
		key := macKey(s.mac[:])
		if at := t.find(key); at.mac == 0 {
			*at = stationAt{key, s}
		}
	}
	return t
}

func (t *stationTable) find(key uint64) *stationAt {
	mask := uint64(len(t.slots) - 1)
	for i := macHash(key, t.seed) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.mac == key || s.mac == 0 {
			return s
		}
	}
}

// lookup returns the station with a MAC address, or nil.
func (t *stationTable) lookup(mac []byte) *station { return t.find(macKey(mac)).station }
