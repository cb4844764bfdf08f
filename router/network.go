package router

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A network is one Ethernet segment: a switch between endpoints. It learns which hosts are behind which
// port, and knows the stations. It belongs to the worker that reads its links.
type network struct {
	id       id
	label    atomic.Pointer[string] // its name; several workers write it into their logs
	mtu      int                    // the State's
	linkMTU  int                    // what its devices take of that: its stations go by it
	external bool
	home     *worker
	ports    []*port
	attached int        // ports that have been attached while the engine runs: no two have one name
	routers  []*station // interfaces of routers, in the order of the topology
	services []*station // which hear every broadcast
	table    macTable
	only     stationAt // where there is only one station
	// of the only port, where there is only one station: what that sends needs no switch
	direct   *link
	down     bool          // it is to carry nothing
	gone     bool          // no State has it any more
	lookedAt time.Duration // when the full table was last searched for old addresses

	// The workers of other stations on this network may use the fields below.
	directory directory
	watchers  atomic.Pointer[[]*watcher]
	byMAC     atomic.Pointer[stationTable]
	sole      atomic.Pointer[link] // of the only port; nil where there is not exactly one
}

// A port is the membership of a link in a network.
type port struct {
	network *network
	link    *link
}

// newNetwork makes a network that has nothing on it yet.
func newNetwork(of id, name string, mtu int, rng *rand.Rand) *network {
	n := &network{id: of, mtu: mtu, linkMTU: mtu, table: macTable{seed: rng.Uint64()}}
	n.rename(name)
	n.byMAC.Store(newStationTable(n.table.seed, nil))
	return n
}

// rename gives the network another name.
func (n *network) rename(name string) { n.label.Store(&name) }

// name is what messages call the network.
func (n *network) name() string { return *n.label.Load() }

// stations are all of the network's.
func (n *network) stations() []*station { return slices.Concat(n.routers, n.services) }

// reads is the worker that routers of a network inside should have, nil for any.
func (n *network) reads() *worker {
	for _, s := range n.routers {
		return s.worker
	}
	return n.home
}

// publish lets the switch find the stations that there are now.
func (n *network) publish(table *stationTable) {
	n.only = stationAt{}
	if all := n.stations(); len(all) == 1 {
		n.only = stationAt{macKey(all[0].mac[:]), all[0]}
	}
	n.byMAC.Store(table)
	n.setPorts(n.ports)
}

// addPort makes a link a port of the network. Its device may come later.
func (n *network) addPort(l *link) *port {
	p := &port{n, l}
	l.owner, l.network, l.exempt, l.wantMTU = p, n.name(), n.external, n.mtu
	n.home.addLink(l)
	n.setPorts(append(n.ports[:len(n.ports):len(n.ports)], p))
	return p
}

// plugIn is addPort with the link's device.
func (n *network) plugIn(l *link, dev tap.Device) *port {
	p := n.addPort(l)
	l.plug(&n.home.turn, dev)
	return p
}

func (n *network) removePort(p *port) { n.setPorts(without(n.ports, p)) }

// unplug takes a port away. It returns the port's device, nil if that is away.
func (p *port) unplug(t *turn) tap.Device {
	p.network.forgetPort(p)
	p.network.removePort(p)
	return p.link.withdraw(t)
}

// setPorts notes and publishes whether there is only one port.
func (n *network) setPorts(ports []*port) {
	n.ports, n.direct = ports, nil
	if len(ports) != 1 {
		n.sole.Store(nil)
		return
	}
	n.sole.Store(ports[0].link)
	if len(n.routers) == 1 && len(n.services) == 0 {
		n.direct = ports[0].link
	}
}

// linkChanged, linkUp and linkLost are about the port's link; see linkOwner.
func (p *port) linkChanged(t *turn) { p.network.fitMTU(t) }

func (p *port) linkUp(*turn) { p.network.announce() }

func (p *port) linkLost(t *turn, forGood bool) {
	p.network.forgetPort(p)
	p.network.fitMTU(t)
	if forGood {
		p.network.removePort(p)
	}
}

// deliver sends a frame to the hosts behind the port.
func (p *port) deliver(t *turn, f *tap.Frame, how kind) verdict {
	if how != received {
		p.link.sendOrLose(t, f, nil)
	} else if !p.link.send(t, f, nil) {
		return drop(DropOffload)
	}
	return Forwarded
}

// announce has the stations of a network that has come up say so, as behind a device that was away
// there may be others now.
func (n *network) announce() {
	for _, s := range n.stations() {
		s.worker.post(func() { s.owner.networkUp(&s.worker.turn) })
	}
}

// receive takes the frames of a batch. If they are many, the station that the first one is for may look
// ahead.
func (p *port) receive(t *turn, frames []tap.Frame) {
	if p.network.down {
		t.stats.Received += uint64(len(frames))
		t.stats.drop(DropDetached, StageSwitch, uint64(len(frames)))
		return
	}
	if len(frames) >= warmBatch {
		if eth := frames[0].Ethernet(); len(eth) >= packet.EthernetLen {
			if s := p.network.stationAt(eth[:6]); s != nil && t.of(s.worker) {
				if o, ok := s.owner.(foresighted); ok {
					o.lookAhead(t, frames)
				}
			}
		}
	}
	for i := range frames {
		p.take(t, &frames[i])
	}
}

// stationAt returns the station that has a MAC address on the network, or nil.
func (n *network) stationAt(mac []byte) *station { return n.byMAC.Load().lookup(mac) }

// take takes one frame from a port. The frame's buffer is the worker's until the batch is flushed.
func (p *port) take(t *turn, f *tap.Frame) {
	t.stats.Received++
	if p.network.watchers.Load() == nil && t.tracer == nil {
		t.count(p.judge(t, f))
		return
	}
	p.takeSeen(t, f)
}

// takeSeen is take where somebody looks on.
func (p *port) takeSeen(t *turn, f *tap.Frame) {
	seen, watched := p.network.lookAt(t, f)
	traces := uint64(0)
	if t.tracer != nil {
		traces = t.tracer.traced()
	}
	v := p.judge(t, f)
	t.count(v)
	if t.tracer != nil && t.tracer.traced() == traces {
		t.tracer.switched(t, p.network.name(), f, v)
	}
	if watched {
		p.network.judged(t, seen, v, false)
	}
}

// judge finds out who a frame of the port is for: for a station, for another port, or for everybody.
func (p *port) judge(t *turn, f *tap.Frame) verdict {
	n := p.network
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen {
		return drop(DropRunt)
	}
	if eth[12] == packet.EtherTypeVLAN>>8 {
		untag(f)
		eth = f.Ethernet()
	}
	if eth[6]&1 != 0 {
		return drop(DropSourceMAC)
	}
	if len(n.ports) > 1 {
		n.learn(packet.MAC(eth[6:12]), p, t.now)
	}
	return n.switchFrame(t, source{port: p, how: received}, f)
}

// tagLen is the length of an IEEE 802.1Q tag.
const tagLen = 4

// untag takes away a tag that names no VLAN, only a priority (IEEE 802.1Q, 6.9):
// the frame is of the network that an untagged one would be of. A frame with another
// tag inside stays as it is.
func untag(f *tap.Frame) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen+tagLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeVLAN ||
		binary.BigEndian.Uint16(eth[14:])&0xfff != 0 || tagged(eth[tagLen:]) {
		return
	}
	var h virtio.Header
	if h.Parse(f.Header()); h.Flags&virtio.NeedsChecksum != 0 {
		h.CsumStart -= tagLen
	}
	if h.HdrLen >= packet.EthernetLen+tagLen {
		h.HdrLen -= tagLen
	}
	h.Put(f.Header())
	copy(f.Buf[f.Head+tagLen:], f.Buf[f.Head:f.Head+tap.HeaderLen+12])
	f.Head += tagLen
}

// tagged reports whether an Ethernet header has a tag instead of a type.
func tagged(eth []byte) bool {
	t := binary.BigEndian.Uint16(eth[12:])
	return t == packet.EtherTypeVLAN || t == packet.EtherTypeQinQ
}

// switchFrame sends a frame where its destination address says, but not back to where it comes from.
func (n *network) switchFrame(t *turn, from source, f *tap.Frame) verdict {
	dst := f.Ethernet()[:6]
	if dst[0]&1 != 0 {
		if reserved := [5]byte{1, 0x80, 0xc2}; [5]byte(dst) == reserved && dst[5] < 16 {
			return drop(DropReserved)
		}
		return n.flood(t, from, f)
	}
	s := n.only.station
	if key := macKey(dst); key != n.only.mac {
		s = n.byMAC.Load().find(key).station
	}
	if s != nil && s != from.station {
		return s.owner.deliver(t, f, from.how)
	}
	if len(n.ports) == 1 {
		if n.ports[0] == from.port {
			return drop(DropNotOurs)
		}
		return n.ports[0].deliver(t, f, from.how)
	}
	if seen := n.table.lookup(dst); seen != nil && t.now-seen.at < macAge {
		if seen.port == from.port {
			return drop(DropSamePort)
		}
		return seen.port.deliver(t, f, from.how)
	}
	n.toOthers(t, from, f)
	return Forwarded
}

// flood gives a broadcast or multicast to every other port, and to the stations that it concerns.
func (n *network) flood(t *turn, from source, f *tap.Frame) verdict {
	others := n.toOthers(t, from, f)
	if from.how == received {
		from.how = flooded
	}
	if n.toServices(t, from, f) {
		others = true
	}
	v := n.toRouters(t, from, f)
	if others && v.isDrop() {
		return Forwarded // the switch did its part
	}
	return v
}

// toOthers copies a frame to every port but the one it came from, and reports
// whether there was one.
func (n *network) toOthers(t *turn, from source, f *tap.Frame) bool {
	sent := false
	for _, p := range n.ports {
		switch {
		case p == from.port:
			continue
		case p.link.dev == nil:
			p.link.stats.Lost++
			continue
		}
		c := t.copy(f)
		if sent {
			t.stats.Made++
		}
		p.link.sendOrLose(t, &c, nil)
		sent = true
	}
	return sent
}

// toServices copies a broadcast to every local service but its sender, and reports whether there
// was one.
func (n *network) toServices(t *turn, from source, f *tap.Frame) bool {
	sent := false
	for _, s := range n.services {
		if s != from.station {
			c := t.copy(f)
			s.owner.deliver(t, &c, from.how)
			sent = true
		}
	}
	return sent
}

// transmit puts a frame onto a network that a station of it made or rewrote. p is its
// parsed form, if there is one. own is set for a frame that the station made.
func (n *network) transmit(t *turn, from *station, f *tap.Frame, p *packet.Packet, own bool) {
	n.observeOut(t, f, own)
	switch {
	case !t.of(n.home):
		from.transmitAbroad(t, f, p)
	case n.direct != nil:
		n.direct.sendOrLose(t, f, p)
	default:
		n.switchFrame(t, source{station: from, how: made}, f)
	}
}

// transmitAbroad sends a frame to a network of another worker: straight to the
// device if the frame is for a host behind the only one, by way of the other worker if a switch has to
// look where it goes.
func (s *station) transmitAbroad(t *turn, f *tap.Frame, p *packet.Packet) {
	if dst := f.Ethernet()[:6]; dst[0]&1 == 0 && s.network.stationAt(dst) == nil {
		if l := s.network.sole.Load(); l != nil {
			if dev := l.open.Load(); dev != nil {
				if s.away.seen != dev {
					s.away.refresh(t, dev)
				}
				s.away.sendOrLose(t, f, p)
				return
			}
		}
	}
	if !t.handOver(s.outward, recordMade, s.number, f) {
		t.stats.Received++ // by the other worker's switch, if there had been room
		t.stats.drop(DropHandover, StageSwitch, 1)
	}
}

// sendMade transmits a frame that the station made.
func (s *station) sendMade(t *turn, f tap.Frame) { s.transmitMade(t, &f, nil) }

// transmitMade is sendMade for a frame that may have a parsed form.
func (s *station) transmitMade(t *turn, f *tap.Frame, p *packet.Packet) {
	t.stats.Made++
	if t.tracer != nil {
		t.tracer.made(s.network.name(), f)
	}
	s.network.transmit(t, s, f, p, true)
}

// resize notes that the interface of a network's device has another MTU.
func (n *network) resize(t *turn, name string, mtu int) {
	for _, p := range n.ports {
		if p.link.ifname == name && p.link.dev != nil {
			p.link.mtu = mtu
		}
	}
	n.fitMTU(t)
}

// fitMTU has the routers on a network use the MTU of its devices. Of several devices the
// smallest counts for all. Only the switch knows which host is behind which device, and it
// cannot send an ICMP error.
func (n *network) fitMTU(t *turn) {
	mtu, narrow, any := n.mtu, (*link)(nil), false
	for _, p := range n.ports {
		l := p.link
		any = any || l.dev != nil
		if l.dev != nil && l.mtu > 0 && l.mtu < mtu {
			mtu, narrow = max(l.mtu, leastMTU), l
		}
	}
	if mtu == n.linkMTU || !any { // without a device there is nothing to say
		return
	}
	n.setLinkMTU(t, mtu)
	if narrow != nil {
		t.log.Warn("the network carries smaller packets only, as a device takes no larger ones", "network", n.name(),
			"mtu", mtu, "device", narrow.name, "configured", n.mtu)
	} else {
		t.log.Info("the network carries its largest packets again", "network", n.name(), "mtu", mtu)
	}
}

// obeyMTU has the network go by another MTU of its own.
func (n *network) obeyMTU(t *turn) {
	open := func(p *port) bool { return p.link.dev != nil }
	if slices.ContainsFunc(n.ports, open) {
		n.fitMTU(t)
	} else if n.linkMTU != n.mtu {
		n.setLinkMTU(t, n.mtu)
	}
}

// setLinkMTU tells the stations what the network carries.
func (n *network) setLinkMTU(t *turn, mtu int) {
	n.linkMTU = mtu
	for _, s := range n.stations() {
		if t.of(s.worker) {
			s.owner.setMTU(mtu)
		} else {
			s.worker.post(func() { s.owner.setMTU(mtu) })
		}
	}
}

// learn notes where a sender is.
func (n *network) learn(mac packet.MAC, p *port, now time.Duration) {
	if seen := n.table.lookup(mac[:]); seen != nil {
		seen.port, seen.at = p, now
		return
	}
	if n.table.used >= maxMACs {
		if now-n.lookedAt < macSearch {
			return // a flood of addresses must not make each frame search them all
		}
		n.lookedAt = now
		n.table.forget(func(s *seenAt) bool { return now-s.at >= macAge })
		if n.table.used >= maxMACs {
			return
		}
	}
	n.table.add(mac[:], p, now)
}

// forgetPort drops the addresses seen at a port that is going away.
func (n *network) forgetPort(p *port) {
	n.table.forget(func(s *seenAt) bool { return s.port == p })
}
