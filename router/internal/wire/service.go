package wire

import (
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A Service is a host in this process at a network: a local service. The switch knows its MAC address, and
// gives it every broadcast, so the host answers ARP and whatever else it serves. What the host sends goes
// through the switch as everything does. A link in memory leads to the host.
type Service struct {
	Station
	Link *loop.Link
}

// NewService makes a local service of a network, whose host comes with plugIn.
func NewService(n *Network, mac packet.MAC) *Service {
	s := &Service{Station: Station{Network: n, MAC: mac}}
	s.Owner = s
	return s
}

// PlugIn connects the service's host, whose frames come and go by dev. It is called by the worker of the
// network.
func (s *Service) PlugIn(name string, dev tap.Device) {
	s.Link = &loop.Link{Owner: s, Network: s.Network.Name(), Memory: true, Name: name}
	s.Worker.AddLink(s.Link)
	s.Link.Plug(&s.Worker.Turn, dev)
}

// Deliver gives the host a frame. Nothing comes back before the frame has been sent, so the host can take
// a frame that a station has made at once.
func (s *Service) Deliver(t *loop.Turn, f *tap.Frame, how Kind) verdict.Verdict {
	switch {
	case !t.IsOf(s.Worker):
		return s.Station.Deliver(t, f, how)
	case s.Link == nil:
		return verdict.Drop(verdict.DropNotOurs) // its host is not there yet
	case how != Received:
		s.Link.SendOrLose(t, f, nil)
	case !s.Link.Send(t, f, nil):
		return verdict.Drop(verdict.DropOffload)
	}
	return verdict.Forwarded
}

// Resume gives the host a frame that was put aside.
func (s *Service) Resume(t *loop.Turn, f *tap.Frame) { t.Count(s.Deliver(t, f, Received)) }

// Receive takes what the host sends.
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

// A host in the process asks its network when it has something to say, and takes what it is given.
func (s *Service) NetworkUp(*loop.Turn) {}
func (s *Service) SetMTU(int)           {}

func (s *Service) LinkChanged(*loop.Turn) {}
func (s *Service) LinkUp(*loop.Turn)      {}

func (s *Service) LinkLost(*loop.Turn, bool) { s.Link = nil }
