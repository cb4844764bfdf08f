package router

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/arp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// learn records a neighbor and sends what waited for it.
func (w *worker) learn(r *vrouter, k arp.Key, mac packet.MAC, to bool) {
	waiting, former := r.arp.Learn(k, mac, to, w.now)
	if !former.IsZero() {
		w.log.Debug("neighbor has another MAC now", "router", r.name, "network", r.ifaces[k.Iface].network.name,
			"neighbor", packet.ToAddr(k.Addr), "mac", mac, "before", former)
	}
	for _, p := range waiting {
		w.requeue(r.ifaces[p.Iface], p.Frame, arp.Key{})
	}
}

// repeats reports whether the passage's packet is a SYN, or the answer to one, of which a copy waits for the
// neighbor already. A host repeats it because it gets no answer: one copy is all that the receiver
// needs, however this ends. Of other packets each counts: two datagrams may look alike and be two, and so
// may acknowledgements.
func (x *passage) repeats(n *arp.Neighbor) bool {
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
func (w *worker) reachable(r *vrouter, addr uint32) bool {
	rt, ok := r.routes.Lookup(packet.ToAddr(addr))
	switch {
	case !ok || rt.out.checks:
		return false
	case rt.via != 0:
		addr = rt.via
	case rt.out.isBroadcast(addr):
		return false
	}
	suspect, ask := r.arp.Suspect(arp.Key{Iface: rt.out.id, Addr: addr}, w.now)
	if ask {
		w.askARP(rt.out, addr, packet.MAC{})
	}
	return !suspect
}

// answerARP answers a request for one of the router's addresses (RFC 826).
func (w *worker) answerARP(in *iface, m packet.ARP) {
	w.sendARP(in, m.SenderMAC, packet.ARP{
		SenderMAC: in.mac, Sender: m.Target, TargetMAC: m.SenderMAC, Target: m.Sender,
	})
}

// askARP asks for a neighbor, by unicast if to is not zero.
func (w *worker) askARP(out *iface, addr uint32, to packet.MAC) {
	if to.IsZero() {
		to = packet.Broadcast
	}
	w.sendARP(out, to, packet.ARP{Request: true, SenderMAC: out.mac, Sender: out.addrFor(addr), Target: addr})
}

func (w *worker) sendARP(out *iface, to packet.MAC, m packet.ARP) {
	f := w.alloc(packet.ARPLen)
	packet.PutARP(f.Ethernet(), out.mac, to, m)
	w.sendMade(out, f)
}

const (
	// Announcements are sent this often for a new address (RFC 5227, 2.3).
	announceTimes    = 3
	announceInterval = 2 * time.Second
)

// announce tells a network, by gratuitous ARP, which addresses the router owns there.
func (w *worker) announce(i *iface) {
	for _, a := range i.owned {
		w.announceAddr(i, a)
	}
}

func (w *worker) announceAddr(i *iface, addr uint32) {
	w.sendARP(i, packet.Broadcast, packet.ARP{Request: true, SenderMAC: i.mac, Sender: addr, Target: addr})
}

// meet has the routers on a network that has come up announce their addresses
// there, and ask anew who else is there: behind a device that was away there may be
// others now.
func meet(n *network) {
	for _, i := range n.ifaces {
		w := i.router.worker
		w.post(func() {
			i.router.arp.Forget(i.id)
			i.announcements = announceTimes
			i.announceAt = w.now
			w.wakeAt(w.now)
		})
	}
}

// announceFresh tells a network of one address that the router owns there now, at
// once and a few times more.
func (w *worker) announceFresh(i *iface, addr uint32) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.addr == addr })
	i.fresh = append(i.fresh, freshAddr{addr, announceTimes, w.now})
	w.tickFresh(i)
}

// tickFresh announces those that are due.
func (w *worker) tickFresh(i *iface) {
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.announcements == 0 })
	for k := range i.fresh {
		f := &i.fresh[k]
		if w.now >= f.at {
			f.announcements--
			f.at = w.now + announceInterval
			w.announceAddr(i, f.addr)
		}
		w.wakeAt(f.at)
	}
}

// tickAnnouncements sends the announcements that are due.
func (w *worker) tickAnnouncements(r *vrouter) {
	for _, i := range r.ifaces[1:] {
		w.tickFresh(i)
		if i.announcements == 0 {
			continue
		}
		if w.now >= i.announceAt {
			i.announcements--
			i.announceAt = w.now + announceInterval
			w.announce(i)
		}
		if i.announcements > 0 {
			w.wakeAt(i.announceAt)
		}
	}
}

// conflict reports that somebody else uses one of the router's addresses
// (RFC 5227, 2.4). The router keeps it, and says so to the network, at most
// every ten seconds for each address.
func (w *worker) conflict(in *iface, addr uint32, mac packet.MAC) {
	w.stats.Conflicts++
	if at, ok := in.conflicts[addr]; ok && w.now-at < 10*time.Second {
		return
	}
	if in.conflicts == nil {
		in.conflicts = map[uint32]time.Duration{}
	}
	in.conflicts[addr] = w.now
	w.log.Warn("address conflict: another host uses an address of the router", "router", in.router.name,
		"network", in.network.name, "address", packet.ToAddr(addr), "mac", mac)
	w.announceAddr(in, addr)
}

// tickNeighbors does what is due in a router's neighbor table.
func (w *worker) tickNeighbors(r *vrouter) {
	at := r.arp.Tick(w.now, func(a arp.Action) {
		out := r.ifaces[a.Iface]
		if a.Ask {
			w.askARP(out, a.Addr, a.To)
			return
		}
		w.log.Debug("neighbor does not answer", "router", r.name, "network", out.network.name,
			"neighbor", packet.ToAddr(a.Addr), slog.Int("waiting", len(a.Failed)))
		for _, p := range a.Failed {
			w.requeue(r.ifaces[p.Iface], p.Frame, a.Key)
		}
	})
	if at != 0 {
		w.wakeAt(at)
	}
}
