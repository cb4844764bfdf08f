package router

import (
	"slices"
	"sync"

	"github.com/taprouter/taprouter/internal/arp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A directory says which routers on a network an ARP message concerns that is sent to everybody: the
// router that has the target, the one that has the sender's address, and those that know the sender by
// another MAC address, or wait for it. The others could do nothing with it. So what a
// broadcast costs does not grow with the number of routers.
//
// The worker that reads the network asks it. The workers of the routers tell it what changes, at once,
// so that a router hears the answer to a request that it is about to send. This is seldom, and
// never on the way of a packet whose next hop is known. The zero value is empty.
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
func (d *directory) know(i *iface, n *arp.Neighbor, gone bool) {
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
	if n.State == arp.Reachable {
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

// concerns appends to a list the interfaces that a message for everybody concerns, each once, but not
// the one that sends it.
func (d *directory) concerns(list []*iface, m *packet.ARP, sender *iface) []*iface {
	d.mu.Lock()
	defer d.mu.Unlock()
	add := func(i *iface) {
		if i != sender && !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	if m.Request {
		for _, i := range d.owners[m.Target] {
			add(i)
		}
	}
	for _, i := range d.owners[m.Sender] {
		add(i)
	}
	for _, k := range d.knowers[m.Sender] {
		if k.mac != m.SenderMAC {
			add(k.iface)
		}
	}
	return list
}

// shared reports whether several routers are on a network.
func (n *network) shared() bool { return len(n.ifaces) > 1 }

// toRouters gives a frame that is for everybody to the routers that it concerns. Of all that is sent so,
// routers want ARP only: what else there is gets the verdict here that each of them would give it.
func (w *worker) toRouters(n *network, self *iface, f *tap.Frame) verdict {
	if !n.shared() {
		if len(n.ifaces) == 0 || n.ifaces[0] == self {
			return drop(DropBroadcast)
		}
		return w.hear(n.ifaces[0], self, f)
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
	all := consumed // if it is for nobody here
	for k, i := range n.directory.concerns(room[:0], &m, self) {
		v := w.hear(i, self, f)
		if k == 0 || v == consumed || all >= dropped && v < dropped {
			all = v
		}
	}
	return all
}

// hear gives a copy of a frame for everybody to a router.
func (w *worker) hear(i, self *iface, f *tap.Frame) verdict {
	switch {
	case self != nil:
		w.between(i, f)
	case i.router.worker == w:
		return w.forward(i, f, false)
	case w.inward(i, recordCopy, f) != handedOver:
		w.stats.Received++ // the copy, by the other worker
		w.stats.Dropped[DropHandover]++
	}
	return forwarded // another worker's router is as good as a port
}
