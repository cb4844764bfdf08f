package wire

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A Network is one Ethernet segment: a switch between endpoints. It learns which hosts are behind which
// port, and knows the stations. It belongs to the worker that reads its links.
type Network struct {
	ID       ID
	label    atomic.Pointer[string] // its name; several workers write it into their logs
	MTU      int                    // the State's, in bytes, as LinkMTU
	AsRead   bool                   // segments from its devices stay as they are, and are not joined
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
	// The link of the only port, and the tag there, where there is only one router, too: what the router sends needs no
	// switch, but for frames to the local service beside it.
	Shortcut    *loop.Link
	shortcutTag uint16
	beside      uint64        // of macKey: the MAC address of the local service beside Shortcut; 0: there is none
	Down        bool          // it is to carry nothing
	Gone        bool          // no State has it any more
	lookedAt    time.Duration // when the full table was last searched for old addresses

	security
	stormLimit

	// The workers of other stations on this network may use the fields below.
	Directory directory // which routers a broadcast ARP message concerns
	watched
	ByMAC    atomic.Pointer[StationTable] // all stations
	OnlyPort atomic.Pointer[Port]         // nil where there is another number of ports
	Local    atomic.Pointer[Station]      // of the local service that serves at the routers' addresses, too; nil: none
}

// A Port is the membership of a link in a network. It is called by the worker of the network.
type Port struct {
	network *Network
	Link    *loop.Link
	VLAN    uint16 // the tag that the network's frames have on the link; 0: none. It never changes
	storm   stormMeter

	deviceKey uint64    // of its link's name
	verified  *verified // never nil
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
	n.rulesVersion++ // nobody else may have the MAC address of a station
	n.setPorts(n.Ports)
}

// PlugIn adds a port for a link that has no other, and the link's device. The link owns the device. The network's
// worker reads the link from now on. PlugIn is called by the worker of the network, as are the other methods, unless
// their comments say otherwise.
func (n *Network) PlugIn(l *loop.Link, dev tap.Device) *Port {
	n.Home.AddLink(l)
	p := n.AddPort(&n.Home.Turn, l, 0)
	l.Plug(&n.Home.Turn, dev)
	return p
}

// setPorts notes and publishes whether there is only one port.
func (n *Network) setPorts(ports []*Port) {
	n.Ports, n.Shortcut, n.beside = ports, nil, 0
	if len(ports) != 1 {
		n.OnlyPort.Store(nil)
		return
	}
	only := ports[0]
	n.OnlyPort.Store(only)
	if len(n.Routers) == 1 && len(n.Services) <= 1 {
		n.Shortcut, n.shortcutTag = only.Link, only.VLAN
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
		p.Link.SendOrLose(t, f, nil, p.tag(t, how))
	} else if !p.Link.Send(t, f, nil, p.tag(t, how)) {
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
	if p.expect(t, frames) {
		for i := range frames {
			p.Take(t, &frames[i])
		}
	}
}

// expect gets ready for the frames of a batch. It reports false if the port takes none of them, and has counted them.
func (p *Port) expect(t *loop.Turn, frames []tap.Frame) bool {
	if p.network.Down {
		t.Stats.Received += uint64(len(frames))
		t.Stats.Drop(verdict.DropDetached, verdict.StageSwitch, uint64(len(frames)))
		return false
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
	return true
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
	traced := seen
	if t.Tracer != nil {
		if traces = t.Tracer.Traced(); !watched {
			traced = t.Copy(f) // the frame itself may go out with a tag
		}
	}
	v := p.judge(t, f)
	t.Count(v)
	if t.Tracer != nil && t.Tracer.Traced() == traces {
		t.Tracer.Switched(t, p.network.Name(), &traced, v, p.network.whyDropped(v))
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
	if eth[12]&tagMask == tagFirst && tagged(eth) {
		return p.judgeTagged(t, f)
	}
	if eth[6]&1 != 0 {
		return verdict.Drop(verdict.DropSourceMAC)
	}
	if n.guarded && !p.verified.has(n.rulesVersion, eth) {
		if v := p.check(t, eth); v != verdict.Next {
			return v
		}
	}
	if len(n.Ports) > 1 {
		n.learn(packet.MAC(eth[6:12]), p, t.Now)
	}
	return n.switchFrame(t, source{port: p, how: Received}, f)
}

// switchFrame gives a frame to the endpoint that its destination address names, but not back to the endpoint that it
// comes from.
func (n *Network) switchFrame(t *loop.Turn, from source, f *tap.Frame) verdict.Verdict {
	dst := f.Ethernet()[:6]
	if dst[0]&1 != 0 {
		if reserved := [5]byte{1, 0x80, 0xc2}; [5]byte(dst) == reserved && dst[5] < 16 {
			return verdict.Drop(verdict.DropReserved)
		}
		if from.port != nil && from.port.storms(t) {
			return verdict.Drop(verdict.DropStorm)
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
	if from.port != nil && from.port.storms(t) {
		return verdict.Drop(verdict.DropStorm)
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
	sent := 0
	for _, p := range n.Ports {
		switch {
		case p == from.port:
			continue
		case p.Link.Dev == nil:
			p.Link.Stats.Lost++
			continue
		}
		c := t.Copy(f)
		p.Link.SendOrLose(t, &c, nil, p.tag(t, from.how))
		sent++
	}
	if sent > 1 {
		t.Copies += (sent - 1) * loop.CopyCost(f)
		t.Stats.Made += uint64(sent - 1)
	}
	return sent > 0
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
		n.Shortcut.SendOrLose(t, f, p, n.shortcutTag)
	default:
		n.switchFrame(t, source{station: from, how: Made}, f)
	}
}

// transmitAbroad sends a frame to a network of another worker. If the network has only one device, and the frame is
// for a host behind it, the frame goes straight to the device. Otherwise the other worker gets the frame, because
// its switch has to find the receiver.
func (s *Station) transmitAbroad(t *loop.Turn, f *tap.Frame, p *packet.Packet) {
	if dst := f.Ethernet()[:6]; dst[0]&1 == 0 && s.Network.StationAt(dst) == nil {
		if only := s.Network.OnlyPort.Load(); only != nil {
			if dev := only.Link.Open.Load(); dev != nil {
				if s.Outbox.Seen != dev {
					s.Outbox.Refresh(t, dev)
				}
				s.Outbox.SendOrLose(t, f, p, only.VLAN)
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

// fitMTU has the routers on a network use the MTU of its devices. Of several devices the
// smallest counts for all. Only the switch knows which host is behind which device, and it
// cannot send an ICMP error.
func (n *Network) fitMTU(t *loop.Turn) {
	mtu, narrow, any := n.MTU, (*loop.Link)(nil), false
	for _, p := range n.Ports {
		l := p.Link
		any = any || l.Dev != nil
		if m := p.mtu(); l.Dev != nil && m > 0 && m < mtu {
			mtu, narrow = max(m, loop.LeastMTU), l
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
