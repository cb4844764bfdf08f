package wire

import (
	"encoding/binary"
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// This file is what the switch does for local services: it lets them hear broadcasts, and sends their answers to where
// a request came from.

// A Hearer is the owner of a station that only looks at broadcasts.
type Hearer interface {
	// Hear looks at a broadcast or multicast, and does not change it. from is the port where the frame came in, nil if
	// a station has made it. The result is verdict.Consumed if the frame was for the owner, a drop if it was and there
	// was no room, otherwise verdict.Next. It is called by the worker of the network.
	Hear(t *loop.Turn, f *tap.Frame, from *Port) verdict.Verdict
}

// A Local is the owner of the station of local services that are at the addresses of routers, too (Network.Local).
type Local interface {
	// Take looks at a packet that a host of the network has sent to a router's address there, or by a router to an
	// address that is never forwarded to. It does not change the packet. The result is verdict.Next if the service has
	// no use for the packet; otherwise it is the packet's verdict. It is called by the worker of the router.
	Take(t *loop.Turn, f *tap.Frame, p *packet.Packet) verdict.Verdict
}

func isIPv4(eth []byte) bool { return binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeIPv4 }

// toServices gives a broadcast to every local service but its sender. The result is what a Hearer says that the frame
// was for, verdict.Forwarded if another service has got a copy, otherwise verdict.Next.
func (n *Network) toServices(t *loop.Turn, from source, f *tap.Frame) verdict.Verdict {
	all := verdict.Next
	for _, s := range n.Services {
		if s == from.station {
			continue
		}
		if h, ok := s.Owner.(Hearer); ok {
			if v := h.Hear(t, f, from.port); v != verdict.Next {
				all = v
			}
			continue
		}
		c := t.Copy(f)
		if s.Owner.Deliver(t, &c, from.how); all == verdict.Next {
			all = verdict.Forwarded
		}
	}
	return all
}

// isBeside reports whether a frame that the only router sends concerns the local service beside the shortcut.
func (n *Network) isBeside(f *tap.Frame) bool {
	if n.beside == 0 {
		return false
	}
	dst := f.Ethernet()[:6]
	return dst[0]&1 != 0 || macKey(dst) == n.beside
}

// PortOf is the port behind which a host is, nil if it is not known, or the address is a station's. It is called by the
// worker of the network.
func (n *Network) PortOf(mac packet.MAC) *Port {
	switch {
	case n.StationAt(mac[:]) != nil:
		return nil
	case len(n.Ports) == 1:
		return n.Ports[0]
	}
	if seen := n.MACs.lookup(mac[:]); seen != nil {
		return seen.port
	}
	return nil
}

// AnswerAt transmits a frame that the station has made to the hosts behind one port, and nobody else. If the port is
// nil, the frame goes to whoever has its destination address, which is not a group's. A port that is gone loses the
// frame. AnswerAt is called by the worker of the network. The frame's buffer must stay as it is until the next flush.
func (s *Station) AnswerAt(t *loop.Turn, f *tap.Frame, at *Port) {
	n := s.Network
	t.Stats.Made++
	if t.Tracer != nil {
		t.Tracer.Made(n.Name(), f)
	}
	n.observeOut(t, f, true)
	if at == nil {
		n.switchFrame(t, source{station: s, how: Made}, f)
	} else if slices.Contains(n.Ports, at) {
		at.Deliver(t, f, Made)
	}
}
