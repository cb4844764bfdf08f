package router

import (
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A service is a host in this process at a network: a local service. The switch knows its MAC address, and
// gives it every broadcast, so the host answers ARP and whatever else it serves. What the host sends goes
// through the switch as everything does. A link in memory leads to the host.
type service struct {
	station
	link *link
}

// newService makes a local service of a network, whose host comes with plugIn.
func newService(n *network, mac packet.MAC) *service {
	s := &service{station: station{network: n, mac: mac}}
	s.owner = s
	return s
}

// plugIn connects the service's host, whose frames come and go by dev. It is called by the worker of the
// network.
func (s *service) plugIn(name string, dev tap.Device) {
	s.link = &link{owner: s, network: s.network.name(), memory: true, name: name}
	s.worker.addLink(s.link)
	s.link.plug(&s.worker.turn, dev)
}

// deliver gives the host a frame. Nothing comes back before the frame has been sent, so the host can take
// a frame that a station has made at once.
func (s *service) deliver(t *turn, f *tap.Frame, how kind) verdict {
	switch {
	case !t.of(s.worker):
		return s.station.deliver(t, f, how)
	case s.link == nil:
		return drop(DropNotOurs) // its host is not there yet
	case how != received:
		s.link.sendOrLose(t, f, nil)
	case !s.link.send(t, f, nil):
		return drop(DropOffload)
	}
	return Forwarded
}

// resume gives the host a frame that was put aside.
func (s *service) resume(t *turn, f *tap.Frame) { t.count(s.deliver(t, f, received)) }

// receive takes what the host sends.
func (s *service) receive(t *turn, frames []tap.Frame) {
	for i := range frames {
		f := &frames[i]
		t.stats.Received++
		if len(f.Ethernet()) < packet.EthernetLen {
			t.count(drop(DropRunt))
			continue
		}
		seen, watched := s.network.lookAt(t, f)
		v := s.network.switchFrame(t, source{station: &s.station, how: received}, f)
		t.count(v)
		if watched {
			s.network.judged(t, seen, v, false)
		}
	}
}

// A host in the process asks its network when it has something to say, and takes what it is given.
func (s *service) networkUp(*turn) {}
func (s *service) setMTU(int)      {}

func (s *service) linkChanged(*turn) {}
func (s *service) linkUp(*turn)      {}

func (s *service) linkLost(*turn, bool) { s.link = nil }
