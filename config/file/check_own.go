package file

import (
	"fmt"
	"net/netip"
)

// hostInstead is what to name instead of an address that leads nowhere.
const hostInstead = "name the host that has the service"

// An own is what a router has an address for. A packet that the router sends to such an
// address is lost: the router translates once, and does not ask itself by ARP.
type own struct {
	what    string // such as: VIP "a" (line 12)
	instead string // what to name in its place
	link    bool   // an interface's or gateway's, which other checks know
	vip     *VIP   // the first one there
}

// An addressTable says what has an address, when everything has one and its router. Indexes
// are of the first that is there.
type addressTable struct {
	served   map[string][]int         // VIPs, by router
	floating map[string][]int         // floating IPs, by router
	itself   map[poolAddress]bool     // VIPs, by their pool
	listener map[routerListener]int   // VIPs
	onWire   map[listener][]int       // VIPs, at most two: the first, and the first of another router
	external map[networkAddress][]int // floating IPs, likewise
	forward  map[floatingPort]int     // port forwardings of a floating IP
}

type (
	poolAddress struct {
		pool string
		at   netip.AddrPort
	}
	routerListener struct {
		router   string
		address  netip.Addr
		protocol Protocol
		port     uint16
	}
	networkAddress struct {
		network string
		address netip.Addr
	}
	floatingPort struct {
		floating int
		protocol Protocol
		port     uint16
	}
)

// newAddressTable is for when every VIP and floating IP has its router.
func (c *checker) newAddressTable() *addressTable {
	t := &addressTable{
		served: map[string][]int{}, floating: map[string][]int{}, itself: map[poolAddress]bool{},
		listener: map[routerListener]int{},
		onWire:   map[listener][]int{}, external: map[networkAddress][]int{}, forward: map[floatingPort]int{},
	}
	for i := range c.VIPs {
		v := &c.VIPs[i]
		t.served[v.Router] = append(t.served[v.Router], i)
		t.itself[poolAddress{v.Pool, netip.AddrPortFrom(v.Address, v.Port)}] = true
		setFirst(t.listener, routerListener{v.Router, v.Address, v.Protocol, v.Port}, i)
		at := listener{v.Network, v.Address, v.Protocol, v.Port}
		if there := t.onWire[at]; len(there) == 0 || len(there) == 1 && c.VIPs[there[0]].Router != v.Router {
			t.onWire[at] = append(there, i)
		}
	}
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		t.floating[f.Router] = append(t.floating[f.Router], i)
		at := networkAddress{f.Network, f.Address}
		if there := t.external[at]; len(there) == 0 || len(there) == 1 && c.FloatingIPs[there[0]].Router != f.Router {
			t.external[at] = append(there, i)
		}
		for k, p := range f.PortForwarding {
			setFirst(t.forward, floatingPort{i, p.Protocol, p.ExternalPort}, k)
		}
	}
	return t
}

// setFirst sets what is not in a map yet.
func setFirst[K comparable, V any](m map[K]V, key K, v V) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}

// checkOwn refuses members and next hops that are addresses of their own router, and
// forwarded ports that end at one of its VIPs. It comes when all addresses and routers are known.
func (c *checker) checkOwn() {
	c.at = c.newAddressTable()
	for _, d := range c.domains {
		d.own = map[netip.Addr]own{}
		if c.routers[d.Name] == d {
			c.gatherOwn(d)
		}
	}
	if c.backends <= maxBackends {
		c.checkOwnMembers()
	}
	c.checkOwnNextHops()
	c.checkOwnForwards()
	if c.backends <= maxBackends {
		c.checkLoops()
	}
}

// gatherOwn lists the addresses that a router answers for. The first to have one keeps it.
func (c *checker) gatherOwn(d *domain) {
	add := func(a netip.Addr, o own) {
		if _, ok := d.own[a]; !ok && a.IsValid() {
			d.own[a] = o
		}
	}
	for _, l := range d.links {
		what := fmt.Sprintf("the router's address on network %q", clip(l.network, maxName))
		add(l.address, own{what: what, instead: hostInstead, link: true})
	}
	if d.Gateway != nil {
		n := 0
		for _, r := range d.Gateway.SNATAddresses {
			for a := r.First; a.IsValid() && r.Contains(a) && n < maxSNATAddresses; a, n = a.Next(), n+1 {
				add(a, own{what: "one of its snat_addresses", instead: hostInstead})
			}
		}
	}
	for _, i := range c.at.served[d.Name] {
		v := &c.VIPs[i]
		add(v.Address, own{
			what: c.vipScope(i).owner().String(), instead: fmt.Sprintf("name the members of its pool %q", v.Pool),
			vip: v,
		})
	}
	for _, i := range c.at.floating[d.Name] {
		f := &c.FloatingIPs[i]
		if !f.FixedIP.IsValid() && len(f.PortForwarding) == 0 {
			continue
		}
		o := own{what: c.floating[i].owner().String(), instead: "name the host behind the port"}
		if f.FixedIP.IsValid() {
			o.instead = fmt.Sprintf("name the host behind it, %v", f.FixedIP)
		}
		if behind, ok := d.own[f.FixedIP]; ok && behind.vip != nil {
			o.what, o.instead, o.vip = o.what+" of "+behind.what, behind.instead, behind.vip
		}
		add(f.Address, o)
	}
}

// checkOwnMembers goes through the members of every VIP's pool as its router sees them.
func (c *checker) checkOwnMembers() {
	type share struct{ pool, router string }
	seen, wrong, index := map[share]bool{}, map[*Member]bool{}, map[string]int{}
	for k := range c.Pools {
		if c.pools[c.Pools[k].Name] == &c.Pools[k] {
			index[c.Pools[k].Name] = k
		}
	}
	for i := range c.VIPs {
		v := &c.VIPs[i]
		d, k, ok := c.routers[v.Router], 0, !seen[share{v.Pool, v.Router}]
		if ok {
			k, ok = index[v.Pool]
		}
		if d == nil || !ok {
			continue
		}
		seen[share{v.Pool, v.Router}] = true
		p := &c.Pools[k]
		s := c.root.item("pool", "pool", p.Name, k, len(c.Pools), p.Line)
		for j := range p.Members {
			m := &p.Members[j]
			if !wrong[m] && m.Address.IsValid() && !c.isItself(m, p) {
				wrong[m] = !d.checkMember(s.item("member", "member", m.Name, j, len(p.Members), m.Line), m, v)
			}
		}
	}
}

// isItself reports whether a member is a VIP of its own pool: that is said of the VIP.
func (c *checker) isItself(m *Member, p *Pool) bool {
	return c.at.itself[poolAddress{p.Name, netip.AddrPortFrom(m.Address, m.Port)}]
}

// checkMember checks that a member of a VIP can be a host to its router.
func (d *domain) checkMember(s scope, m *Member, v *VIP) bool {
	if o, ok := d.own[m.Address]; ok {
		if o.vip != nil && o.vip.Pool == v.Pool {
			o.instead = hostInstead
		}
		s.fault("address", "address %v belongs to router %q itself, which serves VIP %q: it is %s; %s",
			m.Address, d.Name, v.Name, o.what, o.instead)
		return false
	}
	if l, ok := d.linkOf(m.Address, func(*link) bool { return true }); ok {
		return s.checkHostIn("address", m.Address, l.prefix)
	}
	return true
}

// checkOwnNextHops: a next hop is another router.
func (c *checker) checkOwnNextHops() {
	for _, d := range c.domains {
		for i := range d.Routes {
			r := &d.Routes[i]
			if o, ok := d.own[r.NextHop]; ok && !o.link {
				s := d.at.item("routes", "route", prefixText(r.Destination), i, len(d.Routes), r.Line)
				s.fault("nexthop", "nexthop %v is the router itself: it is %s", r.NextHop, o.what)
			}
		}
	}
}

// checkOwnForwards: a VIP has its own ports and no others.
func (c *checker) checkOwnForwards() {
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		d := c.routers[f.Router]
		if d == nil || f.FixedIP.IsValid() {
			continue
		}
		for j := range f.PortForwarding {
			p := &f.PortForwarding[j]
			o := d.own[p.FixedIP]
			if o.vip == nil || p.Port == 0 || c.listening(d.Name, p.FixedIP, p.Protocol, p.Port) >= 0 {
				continue
			}
			s := c.floating[i].item("port_forwarding", "port forwarding", "", j, len(f.PortForwarding), p.Line)
			s.fault("port", "fixed_ip %v is %s, where no VIP has %s port %d", p.FixedIP, o.what, p.Protocol, p.Port)
		}
	}
}

// listening is the index of the VIP that a router has at an endpoint, or -1.
func (c *checker) listening(router string, a netip.Addr, proto Protocol, port uint16) int {
	if i, ok := c.at.listener[routerListener{router, a, proto, port}]; ok {
		return i
	}
	return -1
}

// checkLoops refuses VIPs whose connections would come back to them by way of other routers.
func (c *checker) checkLoops() {
	const unseen, done = 0, -1
	state := make([]int, len(c.VIPs)) // else the place on the way, from 1
	var way []int
	var walk func(i int)
	walk = func(i int) {
		way = append(way, i)
		state[i] = len(way)
		for _, next := range c.beyond(&c.VIPs[i]) {
			switch at := state[next]; at {
			case unseen:
				walk(next)
			case done:
			default:
				var names []string
				for _, k := range way[at-1 : min(len(way), at+maxListed)] {
					names = append(names, c.VIPs[k].Name)
				}
				c.vipScope(i).fault("pool", "pool %q leads back to the VIP that its connections come from: %s",
					c.VIPs[i].Pool,
					quoteList(append(names, c.VIPs[next].Name)))
			}
		}
		way = way[:len(way)-1]
		state[i] = done
	}
	for i := range c.VIPs {
		if state[i] == unseen {
			walk(i)
		}
	}
}

// beyond lists the VIPs of other routers that a VIP's members are.
func (c *checker) beyond(v *VIP) []int {
	d, p := c.routers[v.Router], c.pools[v.Pool]
	if d == nil || p == nil {
		return nil
	}
	var all []int
	for i := range p.Members {
		if k := c.vipBehind(d, &p.Members[i], v.Protocol); k >= 0 {
			all = append(all, k)
		}
	}
	return all
}

// vipBehind is the index of the VIP of another router that a member is, or that a floating IP which it
// is leads to; else -1.
func (c *checker) vipBehind(d *domain, m *Member, proto Protocol) int {
	l, ok := d.linkOf(m.Address, func(*link) bool { return true })
	if !ok {
		return -1
	}
	for _, i := range c.at.onWire[listener{l.network, m.Address, proto, m.Port}] {
		if c.VIPs[i].Router != d.Name {
			return i
		}
	}
	for _, i := range c.at.external[networkAddress{l.network, m.Address}] {
		f := &c.FloatingIPs[i]
		if f.Router == d.Name {
			continue
		}
		if f.FixedIP.IsValid() {
			return c.listening(f.Router, f.FixedIP, proto, m.Port)
		}
		if k, ok := c.at.forward[floatingPort{i, proto, m.Port}]; ok {
			p := &f.PortForwarding[k]
			return c.listening(f.Router, p.FixedIP, proto, p.Port)
		}
	}
	return -1
}
