package wire

import (
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A Service is a host in this process at a network: a local service. The switch knows its MAC address, and
// gives it every broadcast, so the host answers ARP and whatever else it serves. The frames that the host sends go
// through the switch as all others do. A link in memory leads to the host. The worker of a service is that of its
// network.
type Service struct {
	Station
	Link *loop.Link // nil: the host is not there
}

// NewService makes a local service of a network. Its host comes with PlugIn.
func NewService(n *Network, mac packet.MAC) *Service {
	s := &Service{Station: Station{Network: n, MAC: mac}}
	s.Owner = s
	return s
}

// PlugIn connects the service's host, whose frames come and go by dev, a device in memory. The service owns the device
// from now on. PlugIn is called by the worker of the network.
func (s *Service) PlugIn(name string, dev tap.Device) {
	s.Link = &loop.Link{Owner: s, Memory: true, Name: name}
	s.Worker.AddLink(s.Link)
	s.Link.Plug(&s.Worker.Turn, dev)
}

// Deliver implements Endpoint: it gives the host a frame. The host's answer comes by the link later, so, other than a
// router, a service can take a frame that a station has made at once.
func (s *Service) Deliver(t *loop.Turn, f *tap.Frame, how Kind) verdict.Verdict {
	switch {
	case !t.IsOf(s.Worker):
		return s.Station.Deliver(t, f, how)
	case s.Link == nil:
		return verdict.Drop(verdict.DropNotOurs) // its host is not there yet
	case how != Received:
		s.Link.SendOrLose(t, f, nil, 0)
	case !s.Link.Send(t, f, nil, 0):
		return verdict.Drop(verdict.DropOffload)
	}
	return verdict.Forwarded
}

// Resume implements loop.Resumer: it gives the host a frame that was put aside.
func (s *Service) Resume(t *loop.Turn, f *tap.Frame) { t.Count(s.Deliver(t, f, Received)) }

// Networks implements loop.LinkOwner.
func (s *Service) Networks() []string { return []string{s.Network.Name()} }

// Receive implements loop.LinkOwner: it takes the frames that the host sends.
func (s *Service) Receive(t *loop.Turn, frames []tap.Frame) {
	for i := range frames {
		f := &frames[i]
		t.Stats.Received++
		if len(f.Ethernet()) < packet.EthernetLen {
			t.Count(verdict.Drop(verdict.DropRunt))
			continue
		}
		seen, watched := s.Network.LookAt(t, f)
		v := s.Network.switchFrame(t, source{station: &s.Station, how: Received}, f)
		t.Count(v)
		if watched {
			s.Network.Judged(t, seen, v, false)
		}
	}
}

// NetworkUp implements StationOwner. The host has nothing to announce: it asks by ARP when it has a packet to send.
func (s *Service) NetworkUp(*loop.Turn) {}

// SetMTU implements StationOwner. The host has an MTU of its own.
func (s *Service) SetMTU(int) {}

// LinkChanged implements loop.LinkOwner.
func (s *Service) LinkChanged(*loop.Turn) {}

// LinkUp implements loop.LinkOwner.
func (s *Service) LinkUp(*loop.Turn) {}

// LinkLost implements loop.LinkOwner.
func (s *Service) LinkLost(*loop.Turn, bool) { s.Link = nil }
