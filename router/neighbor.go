package router

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// neighborChanged keeps the directory of a network up to date with the neighbor table.
func (r *vrouter) neighborChanged(n *neighbor.Neighbor, gone bool) {
	i := r.ifaces[n.Iface]
	switch d := &i.network.directory; {
	case gone:
		d.forget(&i.station, n.Addr)
	case n.State == neighbor.Reachable:
		d.know(&i.station, n.Addr, n.MAC)
	default:
		d.know(&i.station, n.Addr, packet.MAC{})
	}
}

// learn records a neighbor and sends what waited for it.
func (r *vrouter) learn(t *turn, k neighbor.Key, mac packet.MAC, to bool) {
	waiting, former := r.arp.Learn(k, mac, to, t.now)
	if !former.IsZero() {
		t.log.Debug("neighbor has another MAC now", "router", r.name, "network", r.ifaces[k.Iface].network.name(),
			"neighbor", k.Addr.Netip(), "mac", mac, "before", former)
	}
	for _, p := range waiting {
		t.requeue(&retry{in: r.ifaces[p.Iface]}, p.Frame)
	}
}

// repeats reports whether the passage's packet is a SYN, or the answer to one, of which a copy waits for the
// neighbor already. A host repeats it because it gets no answer: one copy is all that the receiver
// needs, however this ends. Of other packets each counts: two datagrams may look alike and be two, and so
// may acknowledgements.
func (x *passage) repeats(n *neighbor.Neighbor) bool {
	p := &x.p
	if p.Proto != packet.ProtoTCP || p.Flags&packet.SYN == 0 || p.Fragmented() {
		return false
	}
	for q := range n.Waiting {
		if q.Iface == x.in.id && sameSegment(p, q.Frame[tap.HeaderLen:]) {
			return true
		}
	}
	return false
}

// sameSegment reports whether a frame has the same TCP segment as a packet: addresses, ports, numbers, and what it is.
func sameSegment(p *packet.Packet, eth []byte) bool {
	const proto, addresses, numbers, flags = packet.EthernetLen + 9, packet.EthernetLen + 12, 12, 13
	at := p.L4
	return len(eth) >= at+packet.TCPLen && eth[packet.EthernetLen] == p.Eth[packet.EthernetLen] &&
		binary.BigEndian.Uint16(eth[packet.EthernetLen+6:])&0x3fff == 0 && eth[proto] == packet.ProtoTCP &&
		bytes.Equal(eth[addresses:addresses+8], p.Eth[addresses:addresses+8]) &&
		bytes.Equal(eth[at:at+numbers], p.Eth[at:at+numbers]) && (eth[at+flags]^p.Flags)&opening == 0
}

// reachable reports whether a host is worth a new connection: there is a route to
// it, on which it is not dropped every time, and its next hop has not just failed to
// answer. One that has is asked again, so that it is back when it answers.
func (r *vrouter) reachable(t *turn, addr packet.Addr) bool {
	rt, ok := r.routes.Lookup(addr.Netip())
	switch {
	case !ok || rt.out.checks:
		return false
	case rt.via != 0:
		addr = rt.via
	case rt.out.isBroadcast(addr):
		return false
	}
	suspect, ask := r.arp.Suspect(neighbor.Key{Iface: rt.out.id, Addr: addr}, t.now)
	if ask {
		rt.out.askARP(t, addr, packet.MAC{})
	}
	return !suspect
}

// answerARP answers a request for one of the router's addresses (RFC 826).
func (in *iface) answerARP(t *turn, m packet.ARP) {
	in.sendARP(t, m.SenderMAC, packet.ARP{
		SenderMAC: in.mac, Sender: m.Target, TargetMAC: m.SenderMAC, Target: m.Sender,
	})
}

// askARP asks for a neighbor, by unicast if to is not zero.
func (out *iface) askARP(t *turn, addr packet.Addr, to packet.MAC) {
	if to.IsZero() {
		to = packet.Broadcast
	}
	out.sendARP(t, to, packet.ARP{Request: true, SenderMAC: out.mac, Sender: out.addrFor(addr), Target: addr})
}

func (out *iface) sendARP(t *turn, to packet.MAC, m packet.ARP) {
	f := t.alloc(packet.ARPLen)
	packet.PutARP(f.Ethernet(), out.mac, to, m)
	out.sendMade(t, f)
}

const (
	// An address that is new is announced so many times (RFC 5227, 2.3).
	announceTimes    = 3
	announceInterval = 2 * time.Second
)

// announceAll tells a network, by gratuitous ARP, which addresses the router owns there.
func (i *iface) announceAll(t *turn) {
	for addr, o := range i.router.owned.All() {
		if o.at == i {
			i.announceAddr(t, addr)
		}
	}
}

func (i *iface) announceAddr(t *turn, addr packet.Addr) {
	i.sendARP(t, packet.Broadcast, packet.ARP{Request: true, SenderMAC: i.mac, Sender: addr, Target: addr})
}

// networkUp has the router announce its addresses on a network that has come up, and ask anew who else is
// there: behind a device that was away there may be others now.
func (i *iface) networkUp(t *turn) {
	i.router.arp.Forget(i.id)
	i.announcements = announceTimes
	i.announceAt = t.now
	t.wakeAt(t.now)
}

// announceFresh tells a network of one address that the router owns there now, at
// once and a few times more.
func (i *iface) announceFresh(t *turn, addr packet.Addr) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.addr == addr })
	i.fresh = append(i.fresh, freshAddr{addr, announceTimes, t.now})
	i.tickFresh(t)
}

// tickFresh announces those that are due.
func (i *iface) tickFresh(t *turn) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.announcements == 0 })
	for k := range i.fresh {
		f := &i.fresh[k]
		if t.now >= f.at {
			f.announcements--
			f.at = t.now + announceInterval
			i.announceAddr(t, f.addr)
		}
		t.wakeAt(f.at)
	}
}

// tickAnnouncements sends the announcements that are due.
func (r *vrouter) tickAnnouncements(t *turn) {
	for _, i := range r.ifaces[1:] {
		i.tickFresh(t)
		if i.announcements == 0 {
			continue
		}
		if t.now >= i.announceAt {
			i.announcements--
			i.announceAt = t.now + announceInterval
			i.announceAll(t)
		}
		if i.announcements > 0 {
			t.wakeAt(i.announceAt)
		}
	}
}

// conflict reports that somebody else uses one of the router's addresses
// (RFC 5227, 2.4). The router keeps it, and says so to the network, at most
// every ten seconds for each address.
func (in *iface) conflict(t *turn, addr packet.Addr, mac packet.MAC) {
	t.stats.Conflicts++
	if at, ok := in.conflicts[addr]; ok && t.now-at < 10*time.Second {
		return
	}
	if in.conflicts == nil {
		in.conflicts = map[packet.Addr]time.Duration{}
	}
	in.conflicts[addr] = t.now
	t.log.Warn("address conflict: another host uses an address of the router", "router", in.router.name,
		"network", in.network.name(), "address", addr.Netip(), "mac", mac)
	in.announceAddr(t, addr)
}

// tickNeighbors does what is due in a router's neighbor table.
func (r *vrouter) tickNeighbors(t *turn) {
	at := r.arp.Tick(t.now, func(a neighbor.Action) {
		out := r.ifaces[a.Iface]
		if a.Ask {
			out.askARP(t, a.Addr, a.To)
			return
		}
		t.log.Debug("neighbor does not answer", "router", r.name, "network", out.network.name(),
			"neighbor", a.Addr.Netip(), slog.Int("waiting", len(a.Failed)))
		for _, p := range a.Failed {
			t.requeue(&retry{r.ifaces[p.Iface], a.Key}, p.Frame)
		}
	})
	if at != 0 {
		t.wakeAt(at)
	}
}
