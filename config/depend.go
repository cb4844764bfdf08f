package config

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Check looks at the objects that have changed, and at objects that the changes may make invalid. This file finds the
// latter, kind by kind. Its test checks random edits, and compares with a check of the same content from scratch.

// A marking is what has been marked: all objects with a relation to an owner.
type marking struct {
	how   how
	owner ID
}

// Relations that are no relations of a content, but have been followed.
const (
	onDevice = 255 - how(iota) // networks and labels on a device
	loopsOf                    // the listeners of a pool
)

// A waiting is an object to be checked, with what its turn depends on.
type waiting struct {
	rank     int
	position int64
	id       ID
}

// inTurn lists the objects of a kind that are to be checked, in order.
func (c *checker) inTurn(k Kind) []waiting {
	list := c.todo[k]
	if c.sorted[k] < len(list) {
		slices.SortFunc(list, func(a, b waiting) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.position, b.position), cmp.Compare(a.id, b.id))
		})
		c.sorted[k] = len(list)
	}
	return list
}

// mark puts an object down to be checked.
func (c *checker) mark(id ID) {
	if id == "" || c.dirty[id] {
		return
	}
	if o := c.find(id); o != nil {
		c.dirty[id] = true
		k := o.Ref().Kind
		c.todo[k] = append(c.todo[k], waiting{c.rank[id], o.About().Position, id})
	}
}

// markAll marks the objects with a relation to an owner. It does so once: an object that gets the relation later has
// changed itself, so it is marked anyway.
func (c *checker) markAll(h how, owner ID) {
	if !c.once(h, owner) {
		return
	}
	for id := range c.ids(h, owner) {
		c.mark(id)
	}
}

// once says whether the objects related to an owner are gone over for the first time. Many objects may share an owner.
// Without once, the check of each of them would go over all the others.
func (c *checker) once(h how, owner ID) bool {
	k := marking{h, owner}
	if c.allMarked[k] {
		return false
	}
	c.allMarked[k] = true
	return true
}

func (c *checker) markClaimants(n claim) {
	for id := range c.claimants(n) {
		c.mark(id)
	}
}

// follow marks what depends on an object that has changed.
func (c *checker) follow(id ID) {
	if !c.changed[id] {
		return
	}
	c.mark(id)
	was, is := c.base.find(id), c.find(id)
	o := is
	if o == nil {
		o = was
	}
	switch o.(type) {
	case *Settings:
		c.markAll(ofKind+how(KindRouter), "")
	case *PhysicalNetwork:
		c.followLabel(id)
	case *Network:
		was, _ := was.(*Network)
		is, _ := is.(*Network)
		c.followNetwork(id, was, is)
	case *Subnet:
		was, _ := was.(*Subnet)
		is, _ := is.(*Subnet)
		c.followSubnet(was)
		if is != nil && (was == nil || is.Gateway != was.Gateway || is.Network != was.Network) {
			c.markClaimants(claim{what: claimAddress, scope: string(is.Network), addr: is.Gateway})
		}
		if was == nil || is == nil || is.CIDR != was.CIDR || is.Network != was.Network {
			c.followSubnet(is)
		}
	case *Router:
		was, _ := was.(*Router)
		is, _ := is.(*Router)
		c.followRouter(id, was, is)
	case *AddressGroup, *Quota:
	case *SecurityGroup:
		was, _ := was.(*SecurityGroup)
		is, _ := is.(*SecurityGroup)
		c.followGroup(id, was, is)
	case *SecurityGroupRule:
		was, _ := was.(*SecurityGroupRule)
		is, _ := is.(*SecurityGroupRule)
		c.followRule(was, is)
	case *Port:
		c.markAll(balancerAtPort, id)
		for _, o := range []Object{was, is} {
			if p, ok := o.(*Port); ok && p.isRouters() {
				c.followLinks(ID(p.DeviceID))
				c.followUnserved(p.Network)
			}
		}
	case *FloatingIP:
		c.followFloatingIP(was)
		c.followFloatingIP(is)
	case *PortForwarding:
		for _, o := range []Object{was, is} {
			if p, ok := o.(*PortForwarding); ok {
				c.mark(p.FloatingIP)
				if f := c.FloatingIP(p.FloatingIP); f != nil {
					c.followFloatingIP(f)
				}
			}
		}
	case *Pool:
		c.markAll(listenerUsing, id)
		c.markAll(monitorOf, id)
	case *Monitor:
	case *Member:
		c.followMember(was)
		c.followMember(is)
	case *LoadBalancer:
		c.followBalancer(was)
		c.followBalancer(is)
	case *Listener:
		c.followListener(was)
		c.followListener(is)
	}
}

// followLabel: the networks of a physical network have its devices.
func (c *checker) followLabel(id ID) {
	p := c.PhysicalNetwork(id)
	if p != nil {
		for _, d := range p.Devices {
			a := d.attachment()
			if !c.once(onDevice, ID(a)) {
				continue
			}
			for n := range c.onDevice(a) {
				c.mark(n)
			}
			c.markClaimants(claim{what: claimLabel, scope: a})
		}
	}
	for n := range c.NetworksOf(id) {
		c.mark(n.ID)
		c.followDevices(n.ID)
	}
}

// followDevices: a port may name one of its network's devices.
func (c *checker) followDevices(network ID) {
	for p := range c.PortsOf(network) {
		if p.Device != "" {
			c.mark(p.ID)
		}
	}
}

func (c *checker) followNetwork(id ID, was, is *Network) {
	if was != nil && is != nil && was.External == is.External {
		c.followDevices(id)
		return
	}
	c.markAll(portOn, id)
	c.markAll(subnetOf, id)
	c.markAll(floatingOn, id)
	c.markAll(balancerOn, id)
	c.followGateways(id)
	for p := range c.InterfacesOn(id) {
		c.followLinks(ID(p.DeviceID))
	}
}

// followSubnet: all addresses in it, and the routers that are connected to it.
func (c *checker) followSubnet(s *Subnet) {
	if s == nil {
		return
	}
	c.mark(s.Network)
	c.markAll(portIn, s.ID)
	c.markAll(floatingOn, s.Network)
	c.markAll(balancerOn, s.Network)
	for p := range each[*Port](&c.content, interfaceIn, s.ID) {
		c.followLinks(ID(p.DeviceID))
	}
	c.followGateways(s.Network)
}

// followGateways: the routers with their gateway on a network are connected to its subnets.
func (c *checker) followGateways(network ID) {
	if !c.once(gatewayOn, network) {
		return
	}
	for id := range c.ids(gatewayOn, network) {
		c.followLinks(id)
	}
}

func (c *checker) followRouter(id ID, was, is *Router) {
	if was == nil || is == nil || was.gatewayNetwork() != is.gatewayNetwork() {
		c.followLinks(id)
	}
	if is == nil || is.Gateway == nil {
		return
	}
	for a := range snatAddresses(is.Gateway) {
		c.followAddress(a)
	}
}

// followLinks marks the objects that a router leads to, because they depend on its links.
func (c *checker) followLinks(router ID) {
	if c.linked[router] {
		return
	}
	c.linked[router] = true
	c.mark(router)
	c.markAll(interfaceOf, router)
	c.markAll(gatewayPortOf, router)
	c.markAll(floatingOf, router)
	for b := range c.LoadBalancersOf(router) {
		c.followBalancer(b)
	}
}

// followUnserved: a load balancer without a router gets the first one that comes to its network.
func (c *checker) followUnserved(network ID) {
	c.markAll(unservedOn, network)
}

func (c *checker) followFloatingIP(o Object) {
	f, ok := o.(*FloatingIP)
	if !ok || f == nil {
		return
	}
	c.markAll(forwardingOf, f.ID)
	c.followAddress(f.Address)
}

// followAddress: members and next hops must not be addresses of their own router, and connections must
// not come back.
func (c *checker) followAddress(a netip.Addr) {
	if !a.IsValid() || c.addressed[a] {
		return
	}
	keep(&c.addressed, a, true)
	for id := range c.claimants(claim{what: claimTarget, addr: a}) {
		c.mark(id)
		if m := c.Member(id); m != nil {
			c.followLoops(m.Pool)
		}
	}
	for id := range c.claimants(claim{what: claimHop, addr: a}) {
		c.mark(id)
	}
}

// followLoops has the listeners checked that a pool serves, for whether their connections come back.
func (c *checker) followLoops(pool ID) {
	if !c.once(loopsOf, pool) {
		return
	}
	for id := range c.ids(listenerUsing, pool) {
		keep(&c.loops, id, true)
	}
}

func (c *checker) followMember(o Object) {
	m, ok := o.(*Member)
	if !ok || m == nil {
		return
	}
	if c.claimant(claim{what: claimShown, addr: m.Address}) != "" {
		c.markAll(listenerUsing, m.Pool)
		c.followLoops(m.Pool)
	}
	if c.familyOf(&c.content, m.Pool) != c.familyOf(&c.base.content, m.Pool) {
		c.markAll(memberOf, m.Pool)
		c.markAll(listenerUsing, m.Pool)
	}
}

// familyOf is the family of a pool's members: that of the first one.
func (c *checker) familyOf(of *content, pool ID) string {
	for m := range of.MembersOf(pool) {
		return family(m.Address)
	}
	return ""
}

func (c *checker) followBalancer(o Object) {
	b, ok := o.(*LoadBalancer)
	if !ok || b == nil {
		return
	}
	c.mark(b.ID)
	for l := range c.ListenersOf(b.ID) {
		c.mark(l.ID)
		c.markAll(memberOf, l.Pool)
		keep(&c.loops, l.ID, true)
	}
	c.followServed(b)
}

// A served is an address that a router has for its load balancers.
type served struct {
	router ID
	addr   netip.Addr
}

// followServed marks what depends on the address of a load balancer at its router: there it is no member and no next
// hop, and a forwarded port that ends at it ends at one of its listeners. Other routers may have the same address
// for something else. That connections do not come back is found from the listeners themselves.
func (c *checker) followServed(b *LoadBalancer) {
	at := served{b.Router, b.Address}
	if at.router == "" || !at.addr.IsValid() || c.served[at] {
		return
	}
	keep(&c.served, at, true)
	c.markClaimants(claim{what: claimInner, scope: string(at.router), addr: at.addr})
	hop := claim{what: claimHop, addr: at.addr, by: at.router}
	if _, ok := c.claims[claimHop].Get(hop); ok {
		c.mark(at.router)
	}
	c.followMembersAt(at)
}

// followMembersAt marks the members with an address in the pools that a router serves. Members of other pools do no
// harm if they are few; if they are more than the router's load balancers, these are less work.
func (c *checker) followMembersAt(at served) {
	most := c.count(balancerOf, at.router)
	var few []ID
	for id := range c.claimants(claim{what: claimTarget, addr: at.addr}) {
		if few = append(few, id); len(few) > most {
			c.followMembersOf(at)
			return
		}
	}
	for _, id := range few {
		c.mark(id)
	}
}

// followMembersOf is followMembersAt by way of the router's load balancers.
func (c *checker) followMembersOf(at served) {
	for b := range c.LoadBalancersOf(at.router) {
		for l := range c.ListenersOf(b.ID) {
			k := claim{what: claimMember, scope: string(l.Pool), addr: at.addr}
			c.claims[claimMember].Ascend(k, func(n claim) bool {
				if n.what != claimMember || n.scope != string(l.Pool) || n.addr != at.addr {
					return false
				}
				c.mark(n.by)
				return true
			})
		}
	}
}

func (c *checker) followListener(o Object) {
	l, ok := o.(*Listener)
	if !ok || l == nil {
		return
	}
	c.markAll(memberOf, l.Pool)
	keep(&c.loops, l.ID, true)
	if b := c.LoadBalancer(l.LoadBalancer); b != nil {
		c.followServed(b)
	}
}
