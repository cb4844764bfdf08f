package ip

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
)

// NeighborChanged keeps the directory of a network up to date with the neighbor table.
func (r *Router) NeighborChanged(n *neighbor.Neighbor, gone bool) {
	i := r.Interfaces[n.Iface]
	switch d := &i.Network.Directory; {
	case gone:
		d.Forget(&i.Station, n.Addr)
	case n.State == neighbor.Reachable:
		d.Know(&i.Station, n.Addr, n.MAC)
	default:
		d.Know(&i.Station, n.Addr, packet.MAC{})
	}
}

// learn records a neighbor, and resumes the packets that waited for it. to: the neighbor has asked for an address of
// the router.
func (r *Router) learn(t *loop.Turn, k neighbor.Key, mac packet.MAC, to bool) {
	waiting, former := r.Neighbors.Learn(k, mac, to, t.Now)
	if !former.IsZero() {
		t.Log.Debug("neighbor has another MAC now", "router", r.Name, "network", r.Interfaces[k.Iface].Network.Name(),
			"neighbor", k.Addr.Netip(), "mac", mac, "before", former)
	}
	for _, p := range waiting {
		t.Requeue(&retry{in: r.Interfaces[p.Iface]}, p.Frame)
	}
}

// repeats reports whether the passage's packet is a SYN, or the answer to one, and a copy of it is among the first
// packets that wait for the neighbor. A flood is not compared with all that waits. A host repeats such a segment
// because it gets no answer, and the receiver needs only one copy. Of other packets each counts: two datagrams may look
// alike and be two, and so may two acknowledgements.
func (x *passage) repeats(n *neighbor.Neighbor) bool {
	p := &x.p
	if p.Proto != packet.ProtoTCP || p.Flags&packet.SYN == 0 || p.Fragmented() {
		return false
	}
	compared := 0
	for q := range n.Waiting {
		if q.Iface == x.in.ID && sameSegment(p, q.Frame[tap.HeaderLen:]) {
			return true
		}
		if compared++; compared == neighbor.MinParked {
			break
		}
	}
	return false
}

// sameSegment reports whether a frame has the same TCP segment as a packet: the same addresses, ports, sequence
// numbers, and flags among opening.
func sameSegment(p *packet.Packet, eth []byte) bool {
	const proto, addresses, numbers, flags = packet.EthernetLen + 9, packet.EthernetLen + 12, 12, 13
	at := p.L4
	return len(eth) >= at+packet.TCPLen && eth[packet.EthernetLen] == p.Eth[packet.EthernetLen] &&
		binary.BigEndian.Uint16(eth[packet.EthernetLen+6:])&0x3fff == 0 && eth[proto] == packet.ProtoTCP &&
		bytes.Equal(eth[addresses:addresses+8], p.Eth[addresses:addresses+8]) &&
		bytes.Equal(eth[at:at+numbers], p.Eth[at:at+numbers]) && (eth[at+flags]^p.Flags)&opening == 0
}

// Reachable reports whether a host is worth a new connection: a route leads to it, its address is not
// a broadcast address, and its next hop has not just failed to answer. A next hop that has
// failed is asked for again, so that the host counts as reachable when it answers.
func (r *Router) Reachable(t *loop.Turn, addr packet.Addr) bool {
	rt, ok := r.Routes.Lookup(addr.Netip())
	switch {
	case !ok || rt.Out.Checks:
		return false
	case rt.Via != 0:
		addr = rt.Via
	case rt.Out.isBroadcast(addr):
		return false
	}
	suspect, ask := r.Neighbors.Suspect(neighbor.Key{Iface: rt.Out.ID, Addr: addr}, t.Now)
	if ask {
		rt.Out.askARP(t, addr, packet.MAC{})
	}
	return !suspect
}

// answerARP answers a request for one of the router's addresses (RFC 826).
func (in *Interface) answerARP(t *loop.Turn, m packet.ARP) {
	in.sendARP(t, m.SenderMAC, packet.ARP{
		SenderMAC: in.MAC, Sender: m.Target, TargetMAC: m.SenderMAC, Target: m.Sender,
	})
}

// askARP asks for a neighbor, by unicast if to is not zero.
func (out *Interface) askARP(t *loop.Turn, addr packet.Addr, to packet.MAC) {
	if to.IsZero() {
		to = packet.Broadcast
	}
	out.sendARP(t, to, packet.ARP{Request: true, SenderMAC: out.MAC, Sender: out.addrFor(addr), Target: addr})
}

func (out *Interface) sendARP(t *loop.Turn, to packet.MAC, m packet.ARP) {
	f := t.Alloc(packet.ARPLen)
	packet.PutARP(f.Ethernet(), out.MAC, to, m)
	out.SendMade(t, f)
}

const (
	// announceTimes is how many times a new address is announced (RFC 5227, 2.3).
	announceTimes    = 3
	announceInterval = 2 * time.Second
)

// announceAll tells a network, by gratuitous ARP, which addresses the router owns there.
func (i *Interface) announceAll(t *loop.Turn) {
	for addr, o := range i.Router.Owned.All() {
		if o.At == i {
			i.announceAddr(t, addr)
		}
	}
}

func (i *Interface) announceAddr(t *loop.Turn, addr packet.Addr) {
	i.sendARP(t, packet.Broadcast, packet.ARP{Request: true, SenderMAC: i.MAC, Sender: addr, Target: addr})
}

// AnnounceFresh tells a network of one address that the router owns there now, at
// once and a few times more.
func (i *Interface) AnnounceFresh(t *loop.Turn, addr packet.Addr) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.addr == addr })
	i.fresh = append(i.fresh, freshAddr{addr, announceTimes, t.Now})
	i.tickFresh(t)
}

// tickFresh announces the fresh addresses that are due.
func (i *Interface) tickFresh(t *loop.Turn) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.announcements == 0 })
	for k := range i.fresh {
		f := &i.fresh[k]
		if t.Now >= f.at {
			f.announcements--
			f.at = t.Now + announceInterval
			i.announceAddr(t, f.addr)
		}
		t.WakeAt(f.at)
	}
}

// tickAnnouncements sends the announcements that are due.
func (r *Router) tickAnnouncements(t *loop.Turn) {
	for _, i := range r.Interfaces[1:] {
		i.tickFresh(t)
		if i.announcements == 0 {
			continue
		}
		if t.Now >= i.announceAt {
			i.announcements--
			i.announceAt = t.Now + announceInterval
			i.announceAll(t)
		}
		if i.announcements > 0 {
			t.WakeAt(i.announceAt)
		}
	}
}

// conflict reports that another host uses one of the router's addresses
// (RFC 5227, 2.4). The router keeps the address, and announces it to the network, at most
// every ten seconds for each address.
func (in *Interface) conflict(t *loop.Turn, addr packet.Addr, mac packet.MAC) {
	t.Stats.Conflicts++
	if at, ok := in.conflicts[addr]; ok && t.Now-at < 10*time.Second {
		return
	}
	if in.conflicts == nil {
		in.conflicts = map[packet.Addr]time.Duration{}
	}
	in.conflicts[addr] = t.Now
	t.Log.Warn("address conflict: another host uses an address of the router", "router", in.Router.Name,
		"network", in.Network.Name(), "address", addr.Netip(), "mac", mac)
	if t.Tell != nil {
		t.Tell(loop.News{
			Kind: loop.Conflict, Network: in.Network.Name(), Router: in.Router.Name, Addr: addr, MAC: mac,
		})
	}
	in.announceAddr(t, addr)
}

// tickNeighbors does what is due in a router's neighbor table.
func (r *Router) tickNeighbors(t *loop.Turn) {
	at := r.Neighbors.Tick(t.Now, func(a neighbor.Action) {
		out := r.Interfaces[a.Iface]
		if a.Ask {
			out.askARP(t, a.Addr, a.To)
			return
		}
		t.Log.Debug("neighbor does not answer", "router", r.Name, "network", out.Network.Name(),
			"neighbor", a.Addr.Netip(), slog.Int("waiting", len(a.Failed)))
		for _, p := range a.Failed {
			t.Requeue(&retry{r.Interfaces[p.Iface], a.Key}, p.Frame)
		}
	})
	if at != 0 {
		t.WakeAt(at)
	}
}
