package router

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A directory says which routers on a network a broadcast ARP message concerns: the router that has the
// target, the router that has the sender's address, and the routers that know the sender by another MAC
// address or wait for it. Other routers have no use for the message. So the cost of a broadcast
// does not grow with the number of routers.
//
// The worker that reads the network looks into the directory. The workers of the routers write changes to
// it at once: a router must hear the answer to a request that it is about to send. They write seldom, and
// never on the way of a packet whose next hop is known. A mutex guards the directory. Its size is bounded by
// the addresses of the routers and by their neighbor tables. The zero value is empty.
type directory struct {
	mu      sync.Mutex
	owners  map[packet.Addr][]*station
	knowers map[packet.Addr][]knower
}

// A knower has a neighbor's address in its neighbor table.
type knower struct {
	station *station
	mac     packet.MAC // as it knows the neighbor; zero: it wants to hear more
}

// own notes that a station has an address.
func (d *directory) own(addr packet.Addr, s *station) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners == nil {
		d.owners = map[packet.Addr][]*station{}
	}
	d.owners[addr] = append(d.owners[addr], s)
}

// disown is the reverse of own.
func (d *directory) disown(addr packet.Addr, s *station) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rest := without(d.owners[addr], s); len(rest) > 0 {
		d.owners[addr] = rest
	} else {
		delete(d.owners, addr)
	}
}

// know notes that the router at a station has a neighbor in its table. mac is the neighbor's MAC address as the router
// knows it; zero: the router wants to hear more.
func (d *directory) know(s *station, addr packet.Addr, mac packet.MAC) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.knowers[addr]
	now := knower{station: s, mac: mac}
	if k := knowerAt(all, s); k >= 0 {
		all[k] = now
		return
	}
	if d.knowers == nil {
		d.knowers = map[packet.Addr][]knower{}
	}
	d.knowers[addr] = append(all, now)
}

// forget notes that the router at a station has forgotten a neighbor.
func (d *directory) forget(s *station, addr packet.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.knowers[addr]
	last := len(all) - 1
	all[knowerAt(all, s)] = all[last]
	if all = all[:last]; last == 0 {
		delete(d.knowers, addr)
		return
	}
	d.knowers[addr] = all
}

func knowerAt(all []knower, s *station) int {
	return slices.IndexFunc(all, func(k knower) bool { return k.station == s })
}

// concerns appends to a list the stations that a broadcast message concerns, each once.
func (d *directory) concerns(list []*station, m *packet.ARP) []*station {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.Request {
		list = append(list, d.owners[m.Target]...)
	}
	if !m.Request || m.Sender != m.Target {
		list = append(list, d.owners[m.Sender]...)
	}
	owners := len(list)
	for _, k := range d.knowers[m.Sender] { // each is there once
		if k.mac != m.SenderMAC && !slices.Contains(list[:owners], k.station) {
			list = append(list, k.station)
		}
	}
	if owners > 1 { // the same router may have both addresses
		slices.SortFunc(list[:owners], func(a, b *station) int { return int(a.number) - int(b.number) })
		list = slices.Compact(list)
	}
	return list
}

// toRouters gives a broadcast to the stations that it concerns. Routers have a use for ARP alone: any other
// broadcast gets here, once, the verdict that each router would give it.
func (n *network) toRouters(t *turn, from source, f *tap.Frame) verdict {
	switch {
	case len(n.routers) == 0, len(n.routers) == 1 && n.routers[0] == from.station:
		return drop(DropBroadcast)
	case len(n.routers) == 1:
		return n.routers[0].owner.deliver(t, f, from.how)
	}
	eth := f.Ethernet()
	if v := judgeType(eth); v != next {
		return v.at(StageIngress)
	}
	m, ok := packet.DecodeARP(eth)
	if v := judgeARP(&m, ok); v != next {
		return v.at(StageARP)
	}
	var room [8]*station
	all := Consumed // if it concerns no router here
	first := true
	for _, s := range n.directory.concerns(room[:0], &m) {
		if s == from.station {
			continue
		}
		v := s.owner.deliver(t, f, from.how)
		if first || v == Consumed || all.isDrop() && !v.isDrop() {
			all = v
		}
		first = false
	}
	return all
}

// judgeType refuses what a router has no use for, whichever router it is.
func judgeType(eth []byte) verdict {
	switch binary.BigEndian.Uint16(eth[12:]) {
	case packet.EtherTypeIPv4:
		if eth[0]&1 != 0 {
			return drop(DropLinkBroadcast)
		}
		return next
	case packet.EtherTypeARP:
		return next
	case packet.EtherTypeVLAN, packet.EtherTypeQinQ:
		if len(eth) >= packet.EthernetLen+tagLen && tagged(eth[tagLen:]) {
			return drop(DropDoubleTag)
		}
		return drop(DropVLANTag)
	}
	return drop(DropEtherType)
}

// judgeARP refuses a malformed ARP message, and a message whose sender has an address that no
// host can have. 0.0.0.0 is the sender of a probe (RFC 5227, 2.1.1).
func judgeARP(m *packet.ARP, ok bool) verdict {
	switch {
	case !ok, m.SenderMAC.IsGroup() || m.SenderMAC.IsZero():
		return drop(DropARP)
	case m.Sender == 0:
		return next
	case m.Sender>>24 == 0, m.Sender>>24 == 127, m.Sender >= 0xe0000000:
		return drop(DropARPSender)
	}
	return next
}
