package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A Network is one Ethernet segment: a switch between endpoints. It learns which hosts are behind which
// port, and knows the stations. It belongs to the worker that reads its links.
type Network struct {
	ID       ID
	label    atomic.Pointer[string] // its name; several workers write it into their logs
	MTU      int                    // the State's, in bytes, as LinkMTU
	LinkMTU  int                    // the smallest of MTU and those of its devices: its stations go by it
	External bool                   // it is the outside of routers
	Home     *loop.Worker           // reads its links
	Ports    []*Port
	Attached int        // ports that have been attached while the engine runs: no two have one name
	Routers  []*Station // interfaces of routers, in the order of the topology
	Services []*Station // local services. They hear every broadcast
	MACs     macTable   // which port each MAC address was seen at
	// The station that most frames are for, where that is clear: the only router's, or the only one. Zero: it is not.
	OnlyStation stationAt
	// The link of the only port, where there is only one router, too: what the router sends needs no switch, but for
	// frames to the local service beside it.
	Shortcut *loop.Link
	beside   uint64        // of macKey: the MAC address of the local service beside Shortcut; 0: there is none
	Down     bool          // it is to carry nothing
	Gone     bool          // no State has it any more
	lookedAt time.Duration // when the full table was last searched for old addresses

	// The workers of other stations on this network may use the fields below.
	Directory directory                    // which routers a broadcast ARP message concerns
	Watchers  atomic.Pointer[[]*Watcher]   // nil: there are none
	ByMAC     atomic.Pointer[StationTable] // all stations
	OnlyLink  atomic.Pointer[loop.Link]    // of the only port; nil where there is another number of ports
	Local     atomic.Pointer[Station]      // of the local service that serves at the routers' addresses, too; nil: none
}

// A Port is the membership of a link in a network. It is called by the worker of the network.
type Port struct {
	network *Network
	Link    *loop.Link
}

// NewNetwork makes a network that has nothing on it yet. rng gives the secret of its tables.
func NewNetwork(of ID, name string, mtu int, rng *rand.Rand) *Network {
	n := &Network{ID: of, MTU: mtu, LinkMTU: mtu, MACs: macTable{Seed: rng.Uint64()}}
	n.Rename(name)
	n.ByMAC.Store(NewStationTable(n.MACs.Seed, nil))
	return n
}

// Rename gives the network another name. Any goroutine may call Rename and Name.
func (n *Network) Rename(name string) { n.label.Store(&name) }

// Name is what messages call the network.
func (n *Network) Name() string { return *n.label.Load() }

// Stations are all stations of the network, in a slice of the caller's.
func (n *Network) Stations() []*Station { return slices.Concat(n.Routers, n.Services) }

// PreferredWorker is the worker that another router on an internal network should have, so that frames need not be
// handed over: that of the routers there, else the one that reads the network. nil: the network has none yet.
func (n *Network) PreferredWorker() *loop.Worker {
	for _, s := range n.Routers {
		return s.Worker
	}
	return n.Home
}

// Publish lets the switch find the stations that there are now. table has all of them.
func (n *Network) Publish(table *StationTable) {
	n.OnlyStation = stationAt{}
	if all := n.Stations(); len(all) == 1 || len(n.Routers) == 1 {
		n.OnlyStation = stationAt{macKey(all[0].MAC[:]), all[0]} // routers come first
	}
	n.ByMAC.Store(table)
	n.setPorts(n.Ports)
}

// AddPort makes a link a port of the network, which the network's worker reads from now on. Its device may come later.
// It is called by the worker of the network, as are the other methods, unless their comments say otherwise.
func (n *Network) AddPort(l *loop.Link) *Port {
	p := &Port{n, l}
	l.Owner, l.Network, l.Exempt, l.WantMTU = p, n.Name(), n.External, n.MTU
	n.Home.AddLink(l)
	n.setPorts(append(n.Ports[:len(n.Ports):len(n.Ports)], p))
	return p
}

// PlugIn is AddPort with the link's device. The link owns the device.
func (n *Network) PlugIn(l *loop.Link, dev tap.Device) *Port {
	p := n.AddPort(l)
	l.Plug(&n.Home.Turn, dev)
	return p
}

// RemovePort takes a port away. Its link and the addresses seen at it stay.
func (n *Network) RemovePort(p *Port) { n.setPorts(loop.Without(n.Ports, p)) }

// Unplug takes a port away, with its link. It returns the port's device, which is the caller's, nil if the device is
// away.
func (p *Port) Unplug(t *loop.Turn) tap.Device {
	p.network.forgetPort(p)
	p.network.RemovePort(p)
	return p.Link.Withdraw(t)
}

// setPorts notes and publishes whether there is only one port.
func (n *Network) setPorts(ports []*Port) {
	n.Ports, n.Shortcut, n.beside = ports, nil, 0
	if len(ports) != 1 {
		n.OnlyLink.Store(nil)
		return
	}
	n.OnlyLink.Store(ports[0].Link)
	if len(n.Routers) == 1 && len(n.Services) <= 1 {
		n.Shortcut = ports[0].Link
		for _, s := range n.Services {
			n.beside = macKey(s.MAC[:])
		}
	}
}

// LinkChanged implements loop.LinkOwner.
func (p *Port) LinkChanged(t *loop.Turn) { p.network.fitMTU(t) }

// LinkUp implements loop.LinkOwner.
func (p *Port) LinkUp(*loop.Turn) { p.network.Announce() }

// LinkLost implements loop.LinkOwner.
func (p *Port) LinkLost(t *loop.Turn, forGood bool) {
	p.network.forgetPort(p)
	p.network.fitMTU(t)
	if forGood {
		p.network.RemovePort(p)
	}
}

// Deliver implements Endpoint: it sends a frame to the hosts behind the port.
func (p *Port) Deliver(t *loop.Turn, f *tap.Frame, how Kind) verdict.Verdict {
	if how != Received {
		p.Link.SendOrLose(t, f, nil)
	} else if !p.Link.Send(t, f, nil) {
		return verdict.Drop(verdict.DropOffload)
	}
	return verdict.Forwarded
}

// Announce has the stations of a network announce themselves, and ask anew who is there. It is for a network that
// has come up: behind a device that was away there may be other hosts now.
func (n *Network) Announce() {
	for _, s := range n.Stations() {
		s.Worker.Post(func() { s.Owner.NetworkUp(&s.Worker.Turn) })
	}
}

// Receive implements loop.LinkOwner: it takes the frames of a batch, one after the other. If they are many
// (loop.WarmBatch), the station that the first frame is for may look ahead at all of them.
func (p *Port) Receive(t *loop.Turn, frames []tap.Frame) {
	if p.network.Down {
		t.Stats.Received += uint64(len(frames))
		t.Stats.Drop(verdict.DropDetached, verdict.StageSwitch, uint64(len(frames)))
		return
	}
	if len(frames) >= loop.WarmBatch {
		if eth := frames[0].Ethernet(); len(eth) >= packet.EthernetLen {
			if s := p.network.StationAt(eth[:6]); s != nil && t.IsOf(s.Worker) {
				if o, ok := s.Owner.(foresighted); ok {
					o.LookAhead(t, frames)
				}
			}
		}
	}
	for i := range frames {
		p.Take(t, &frames[i])
	}
}

// StationAt returns the station that has a MAC address on the network, or nil. Any worker may call it.
func (n *Network) StationAt(mac []byte) *Station { return n.ByMAC.Load().Lookup(mac) }

// Take takes one frame from a port. The frame's buffer is the worker's until the batch is flushed.
func (p *Port) Take(t *loop.Turn, f *tap.Frame) {
	t.Stats.Received++
	if p.network.Watchers.Load() == nil && t.Tracer == nil {
		t.Count(p.judge(t, f))
		return
	}
	p.takeSeen(t, f)
}

// takeSeen is Take for a network that is watched, or a worker that traces.
func (p *Port) takeSeen(t *loop.Turn, f *tap.Frame) {
	seen, watched := p.network.LookAt(t, f)
	traces := uint64(0)
	if t.Tracer != nil {
		traces = t.Tracer.Traced()
	}
	v := p.judge(t, f)
	t.Count(v)
	if t.Tracer != nil && t.Tracer.Traced() == traces {
		t.Tracer.Switched(t, p.network.Name(), f, v)
	}
	if watched {
		p.network.Judged(t, seen, v, false)
	}
}

// judge gives a frame of the port to its receiver: a station, another port, or all of them.
func (p *Port) judge(t *loop.Turn, f *tap.Frame) verdict.Verdict {
	n := p.network
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen {
		return verdict.Drop(verdict.DropRunt)
	}
	if eth[12] == packet.EtherTypeVLAN>>8 {
		Untag(f)
		eth = f.Ethernet()
	}
	if eth[6]&1 != 0 {
		return verdict.Drop(verdict.DropSourceMAC)
	}
	if len(n.Ports) > 1 {
		n.learn(packet.MAC(eth[6:12]), p, t.Now)
	}
	return n.switchFrame(t, source{port: p, how: Received}, f)
}

// TagLen is the length of an IEEE 802.1Q tag.
const TagLen = 4

// Untag takes away a tag that names no VLAN, only a priority (IEEE 802.1Q, 6.9): such a
// frame belongs to the same network as an untagged frame. A frame with another
// tag inside stays as it is.
func Untag(f *tap.Frame) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen+TagLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeVLAN ||
		binary.BigEndian.Uint16(eth[14:])&0xfff != 0 || tagged(eth[TagLen:]) {
		return
	}
	var h virtio.Header
	if h.Parse(f.Header()); h.Flags&virtio.NeedsChecksum != 0 {
		h.CsumStart -= TagLen
	}
	if h.HdrLen >= packet.EthernetLen+TagLen {
		h.HdrLen -= TagLen
	}
	h.Put(f.Header())
	copy(f.Buf[f.Head+TagLen:], f.Buf[f.Head:f.Head+tap.HeaderLen+12])
	f.Head += TagLen
}

// tagged reports whether an Ethernet header has a tag instead of a type.
func tagged(eth []byte) bool {
	t := binary.BigEndian.Uint16(eth[12:])
	return t == packet.EtherTypeVLAN || t == packet.EtherTypeQinQ
}

// switchFrame gives a frame to the endpoint that its destination address names, but not back to the endpoint that it
// comes from.
func (n *Network) switchFrame(t *loop.Turn, from source, f *tap.Frame) verdict.Verdict {
	dst := f.Ethernet()[:6]
	if dst[0]&1 != 0 {
		if reserved := [5]byte{1, 0x80, 0xc2}; [5]byte(dst) == reserved && dst[5] < 16 {
			return verdict.Drop(verdict.DropReserved)
		}
		return n.flood(t, from, f)
	}
	s := n.OnlyStation.Station
	if key := macKey(dst); key != n.OnlyStation.mac {
		s = n.ByMAC.Load().find(key).Station
	}
	if s != nil && s != from.station {
		return s.Owner.Deliver(t, f, from.how)
	}
	if len(n.Ports) == 1 {
		if n.Ports[0] == from.port {
			return verdict.Drop(verdict.DropNotOurs)
		}
		return n.Ports[0].Deliver(t, f, from.how)
	}
	if seen := n.MACs.lookup(dst); seen != nil && t.Now-seen.at < MACAge {
		if seen.port == from.port {
			return verdict.Drop(verdict.DropSamePort)
		}
		return seen.port.Deliver(t, f, from.how)
	}
	n.toOthers(t, from, f)
	return verdict.Forwarded
}

// flood gives a broadcast or multicast to every other port, and to the stations that it concerns.
func (n *Network) flood(t *loop.Turn, from source, f *tap.Frame) verdict.Verdict {
	others := n.toOthers(t, from, f)
	if from.how == Received {
		from.how = Flooded
	}
	served := n.toServices(t, from, f)
	if served == verdict.Consumed && isIPv4(f.Ethernet()) {
		return verdict.Consumed // no router has a use for it
	}
	v := n.toRouters(t, from, f)
	switch {
	case !v.IsDrop():
		return v
	case served == verdict.Consumed:
		return verdict.Consumed
	case others, served == verdict.Forwarded:
		return verdict.Forwarded // the switch did its part
	case served != verdict.Next:
		return served
	}
	return v
}

// toOthers copies a frame to every port but the one it came from, and reports
// whether there was one.
func (n *Network) toOthers(t *loop.Turn, from source, f *tap.Frame) bool {
	sent := false
	for _, p := range n.Ports {
		switch {
		case p == from.port:
			continue
		case p.Link.Dev == nil:
			p.Link.Stats.Lost++
			continue
		}
		c := t.Copy(f)
		if sent {
			t.Stats.Made++
		}
		p.Link.SendOrLose(t, &c, nil)
		sent = true
	}
	return sent
}

// Transmit puts a frame onto a network. A station of the network, from, has made or rewritten the frame. p is its
// parsed form, if there is one. own is set for a frame that the station made. The frame's buffer must stay as it is
// until the next flush. Transmit is called by the worker of the station.
func (n *Network) Transmit(t *loop.Turn, from *Station, f *tap.Frame, p *packet.Packet, own bool) {
	n.observeOut(t, f, own)
	switch {
	case !t.IsOf(n.Home):
		from.transmitAbroad(t, f, p)
	case n.Shortcut != nil && !n.isBeside(f):
		n.Shortcut.SendOrLose(t, f, p)
	default:
		n.switchFrame(t, source{station: from, how: Made}, f)
	}
}

// transmitAbroad sends a frame to a network of another worker. If the network has only one device, and the frame is
// for a host behind it, the frame goes straight to the device. Otherwise the other worker gets the frame, because
// its switch has to find the receiver.
func (s *Station) transmitAbroad(t *loop.Turn, f *tap.Frame, p *packet.Packet) {
	if dst := f.Ethernet()[:6]; dst[0]&1 == 0 && s.Network.StationAt(dst) == nil {
		if l := s.Network.OnlyLink.Load(); l != nil {
			if dev := l.Open.Load(); dev != nil {
				if s.Outbox.Seen != dev {
					s.Outbox.Refresh(t, dev)
				}
				s.Outbox.SendOrLose(t, f, p)
				return
			}
		}
	}
	if !t.HandOver(s.Outward, loop.RecordMade, s.Number, f) {
		t.Stats.Received++ // by the other worker's switch, if there had been room
		t.Stats.Drop(verdict.DropHandover, verdict.StageSwitch, 1)
	}
}

// SendMade transmits a frame that the station made. It is called by the worker of the station.
func (s *Station) SendMade(t *loop.Turn, f tap.Frame) { s.TransmitMade(t, &f, nil) }

// TransmitMade is SendMade for a frame that may have a parsed form, p.
func (s *Station) TransmitMade(t *loop.Turn, f *tap.Frame, p *packet.Packet) {
	t.Stats.Made++
	if t.Tracer != nil {
		t.Tracer.Made(s.Network.Name(), f)
	}
	s.Network.Transmit(t, s, f, p, true)
}

// Resize notes that the operating system's interface of this name has another MTU, in bytes. A device of the network
// may be on it.
func (n *Network) Resize(t *loop.Turn, name string, mtu int) {
	for _, p := range n.Ports {
		if p.Link.Ifname == name && p.Link.Dev != nil {
			p.Link.MTU = mtu
		}
	}
	n.fitMTU(t)
}

// fitMTU has the routers on a network use the MTU of its devices. Of several devices the
// smallest counts for all. Only the switch knows which host is behind which device, and it
// cannot send an ICMP error.
func (n *Network) fitMTU(t *loop.Turn) {
	mtu, narrow, any := n.MTU, (*loop.Link)(nil), false
	for _, p := range n.Ports {
		l := p.Link
		any = any || l.Dev != nil
		if l.Dev != nil && l.MTU > 0 && l.MTU < mtu {
			mtu, narrow = max(l.MTU, loop.LeastMTU), l
		}
	}
	if mtu == n.LinkMTU || !any { // without a device the former MTU stays
		return
	}
	n.setLinkMTU(t, mtu)
	if narrow != nil {
		t.Log.Warn("the network carries smaller packets only, as a device takes no larger ones", "network", n.Name(),
			"mtu", mtu, "device", narrow.Name, "configured", n.MTU)
	} else {
		t.Log.Info("the network carries its largest packets again", "network", n.Name(), "mtu", mtu)
	}
}

// ObeyMTU has the network go by its own MTU, n.MTU, which a change of the State has set.
func (n *Network) ObeyMTU(t *loop.Turn) {
	open := func(p *Port) bool { return p.Link.Dev != nil }
	if slices.ContainsFunc(n.Ports, open) {
		n.fitMTU(t)
	} else if n.LinkMTU != n.MTU {
		n.setLinkMTU(t, n.MTU)
	}
}

// setLinkMTU tells the stations what the network carries.
func (n *Network) setLinkMTU(t *loop.Turn, mtu int) {
	n.LinkMTU = mtu
	for _, s := range n.Stations() {
		if t.IsOf(s.Worker) {
			s.Owner.SetMTU(mtu)
		} else {
			s.Worker.Post(func() { s.Owner.SetMTU(mtu) })
		}
	}
}

// learn notes where a sender is.
func (n *Network) learn(mac packet.MAC, p *Port, now time.Duration) {
	if seen := n.MACs.lookup(mac[:]); seen != nil {
		seen.port, seen.at = p, now
		return
	}
	if n.MACs.used >= maxMACs {
		if now-n.lookedAt < macSearch {
			return // a flood of addresses must not make each frame search them all
		}
		n.lookedAt = now
		n.MACs.forget(func(s *seenAt) bool { return now-s.at >= MACAge })
		if n.MACs.used >= maxMACs {
			return
		}
	}
	n.MACs.add(mac[:], p, now)
}

// forgetPort drops the addresses seen at a port that is going away.
func (n *Network) forgetPort(p *Port) {
	n.MACs.forget(func(s *seenAt) bool { return s.port == p })
}
