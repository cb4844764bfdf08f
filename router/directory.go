package router

import (
	"slices"
	"sync"

	"github.com/taprouter/taprouter/internal/neighbor"
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
	owners  map[uint32][]*iface
	knowers map[uint32][]knower
}

// A knower has a neighbor's address in its neighbor table.
type knower struct {
	iface *iface
	mac   packet.MAC // as it knows the neighbor; zero: it wants to hear more
}

// own notes that an interface has an address.
func (d *directory) own(addr uint32, i *iface) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners == nil {
		d.owners = map[uint32][]*iface{}
	}
	d.owners[addr] = append(d.owners[addr], i)
}

// disown is the reverse of own.
func (d *directory) disown(addr uint32, i *iface) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rest := without(d.owners[addr], i); len(rest) > 0 {
		d.owners[addr] = rest
	} else {
		delete(d.owners, addr)
	}
}

// know notes what the router at an interface knows of a neighbor there, or that it has forgotten it.
func (d *directory) know(i *iface, n *neighbor.Neighbor, gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.knowers[n.Addr]
	k := slices.IndexFunc(all, func(k knower) bool { return k.iface == i })
	if gone {
		last := len(all) - 1
		all[k] = all[last]
		if all = all[:last]; last == 0 {
			delete(d.knowers, n.Addr)
			return
		}
		d.knowers[n.Addr] = all
		return
	}
	now := knower{iface: i}
	if n.State == neighbor.Reachable {
		now.mac = n.MAC
	}
	if k >= 0 {
		all[k] = now
		return
	}
	if d.knowers == nil {
		d.knowers = map[uint32][]knower{}
	}
	d.knowers[n.Addr] = append(all, now)
}

// concerns appends to a list the interfaces that a broadcast message concerns, each once, without the
// sender.
func (d *directory) concerns(list []*iface, m *packet.ARP, sender *iface) []*iface {
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
		if k.mac != m.SenderMAC && !slices.Contains(list[:owners], k.iface) {
			list = append(list, k.iface)
		}
	}
	if owners > 1 { // the same router may have both addresses
		slices.SortFunc(list[:owners], func(a, b *iface) int { return int(a.number) - int(b.number) })
		list = slices.Compact(list)
	}
	return slices.DeleteFunc(list, func(i *iface) bool { return i == sender })
}

// shared reports whether several routers are on a network.
func (n *network) shared() bool { return len(n.ifaces) > 1 }

// toRouters gives a broadcast to the routers that it concerns. Routers have a use for ARP alone: any other
// broadcast gets here, once, the verdict that each router would give it.
func (n *network) toRouters(t *turn, self *iface, f *tap.Frame) verdict {
	if !n.shared() {
		if len(n.ifaces) == 0 || n.ifaces[0] == self {
			return drop(DropBroadcast)
		}
		return n.ifaces[0].hear(t, self, f)
	}
	eth := f.Ethernet()
	if v := judgeType(eth); v != next {
		return v
	}
	m, ok := packet.DecodeARP(eth)
	if v := judgeARP(&m, ok); v != next {
		return v
	}
	var room [8]*iface
	all := consumed // if it concerns no router here
	for k, i := range n.directory.concerns(room[:0], &m, self) {
		v := i.hear(t, self, f)
		if k == 0 || v == consumed || all >= dropped && v < dropped {
			all = v
		}
	}
	return all
}

// hear gives a copy of a broadcast to a router.
func (i *iface) hear(t *turn, self *iface, f *tap.Frame) verdict {
	switch {
	case self != nil:
		i.toRouter(t, f)
	case t.of(i.router.worker):
		return forward(t, i, f, false)
	case i.handInward(t, recordCopy, f) != handedOver:
		t.stats.Received++ // the copy, by the other worker
		t.stats.Dropped[DropHandover]++
	}
	return forwarded // another worker's router is as good as a port
}
