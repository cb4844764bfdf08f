package wire

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
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
	Owners  map[packet.Addr][]*Station // the stations that have an address
	Knowers map[packet.Addr][]knower   // the stations that have a neighbor with an address in their table
}

// A knower is a station whose router has a neighbor in its neighbor table.
type knower struct {
	Station *Station
	MAC     packet.MAC // the neighbor's, as the router knows it; zero: the router wants to hear more
}

// Own notes that a station has an address. Any goroutine may call the methods of a directory.
func (d *directory) Own(addr packet.Addr, s *Station) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Owners == nil {
		d.Owners = map[packet.Addr][]*Station{}
	}
	d.Owners[addr] = append(d.Owners[addr], s)
}

// Disown is the reverse of Own.
func (d *directory) Disown(addr packet.Addr, s *Station) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if others := loop.Without(d.Owners[addr], s); len(others) > 0 {
		d.Owners[addr] = others
	} else {
		delete(d.Owners, addr)
	}
}

// Know notes that the router at a station has a neighbor in its table. mac is the neighbor's MAC address as the router
// knows it; zero: the router wants to hear more.
func (d *directory) Know(s *Station, addr packet.Addr, mac packet.MAC) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.Knowers[addr]
	now := knower{Station: s, MAC: mac}
	if k := knowerAt(all, s); k >= 0 {
		all[k] = now
		return
	}
	if d.Knowers == nil {
		d.Knowers = map[packet.Addr][]knower{}
	}
	d.Knowers[addr] = append(all, now)
}

// Forget notes that the router at a station has forgotten a neighbor. It has known the neighbor before (Know).
func (d *directory) Forget(s *Station, addr packet.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.Knowers[addr]
	last := len(all) - 1
	all[knowerAt(all, s)] = all[last]
	if all = all[:last]; last == 0 {
		delete(d.Knowers, addr)
		return
	}
	d.Knowers[addr] = all
}

func knowerAt(all []knower, s *Station) int {
	return slices.IndexFunc(all, func(k knower) bool { return k.Station == s })
}

// Concerns appends to a list the stations that a broadcast message concerns, each once.
func (d *directory) Concerns(list []*Station, m *packet.ARP) []*Station {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.Request {
		list = append(list, d.Owners[m.Target]...)
	}
	if !m.Request || m.Sender != m.Target {
		list = append(list, d.Owners[m.Sender]...)
	}
	owners := len(list)
	for _, k := range d.Knowers[m.Sender] { // each is there once
		if k.MAC != m.SenderMAC && !slices.Contains(list[:owners], k.Station) {
			list = append(list, k.Station)
		}
	}
	if owners > 1 { // the same router may have both addresses
		slices.SortFunc(list[:owners], func(a, b *Station) int { return int(a.Number) - int(b.Number) })
		list = slices.Compact(list)
	}
	return list
}

// toRouters gives a broadcast to the stations that it concerns. Routers have a use for ARP alone: any other
// broadcast gets here, once, the verdict that each router would give it.
func (n *Network) toRouters(t *loop.Turn, from source, f *tap.Frame) verdict.Verdict {
	switch {
	case len(n.Routers) == 0, len(n.Routers) == 1 && n.Routers[0] == from.station:
		return verdict.Drop(verdict.DropBroadcast)
	case len(n.Routers) == 1:
		return n.Routers[0].Owner.Deliver(t, f, from.how)
	}
	eth := f.Ethernet()
	if v := JudgeType(eth); v != verdict.Next {
		return v.At(verdict.StageIngress)
	}
	m, ok := packet.DecodeARP(eth)
	if v := JudgeARP(&m, ok); v != verdict.Next {
		return v.At(verdict.StageARP)
	}
	var room [8]*Station
	all := verdict.Consumed // unless it concerns a router here
	first := true
	for _, s := range n.Directory.Concerns(room[:0], &m) {
		if s == from.station {
			continue
		}
		v := s.Owner.Deliver(t, f, from.how)
		if first || v == verdict.Consumed || all.IsDrop() && !v.IsDrop() {
			all = v
		}
		first = false
	}
	return all
}

// JudgeType refuses a frame of a type that no router has a use for. eth has an Ethernet header at least.
func JudgeType(eth []byte) verdict.Verdict {
	switch binary.BigEndian.Uint16(eth[12:]) {
	case packet.EtherTypeIPv4:
		if eth[0]&1 != 0 {
			return verdict.Drop(verdict.DropLinkBroadcast)
		}
		return verdict.Next
	case packet.EtherTypeARP:
		return verdict.Next
	}
	return verdict.Drop(verdict.DropEtherType)
}

// JudgeARP refuses a malformed ARP message (ok is false: it cannot be decoded), and a message whose
// sender has an address that no host can have. 0.0.0.0 is the sender of a probe (RFC 5227, 2.1.1).
func JudgeARP(m *packet.ARP, ok bool) verdict.Verdict {
	switch {
	case !ok, m.SenderMAC.IsGroup() || m.SenderMAC.IsZero():
		return verdict.Drop(verdict.DropARP)
	case m.Sender == 0:
		return verdict.Next
	case m.Sender>>24 == 0, m.Sender>>24 == 127, m.Sender >= 0xe0000000:
		return verdict.Drop(verdict.DropARPSender)
	}
	return verdict.Next
}
