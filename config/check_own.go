package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// hostInstead is what to name instead of an address that leads nowhere.
const hostInstead = "name the host that has the service"

// An own is what a router has an address for. A packet that the router sends to such an
// address is lost: the router translates once, and does not ask itself by ARP.
type own struct {
	what     func() string // such as: VIP "a" (line 12)
	instead  func() string // what to name in its place
	link     bool          // an interface's or gateway's
	balancer *LoadBalancer // the one that is there, or behind the floating IP that is there
}

// ownAddress says what a router has an address for.
func (c *checker) ownAddress(r *Router, a netip.Addr) (own, bool) {
	hosts := func() string { return hostInstead }
	if l, ok := c.linkOf(r, a); ok && l.address == a {
		what := func() string { return "the router's address on network " + c.networkName(l.network) }
		return own{what: what, instead: hosts, link: true}, true
	}
	if r.Gateway != nil {
		for b := range snatAddresses(r.Gateway) {
			if a == b {
				return own{what: func() string { return "one of its snat_addresses" }, instead: hosts}, true
			}
		}
	}
	if b := c.balancerAt(r, a); b != nil {
		return own{what: func() string { return c.owner(b) }, instead: func() string { return c.membersOf(b) },
			balancer: b}, true
	}
	for id := range c.claimants(claim{what: claimShown, addr: a}) {
		f := c.FloatingIP(id)
		if f == nil || f.Router != r.ID || !f.FixedIP.IsValid() && c.count(forwardingOf, f.ID) == 0 {
			continue
		}
		o := own{what: func() string { return c.owner(f) },
			instead: func() string { return "name the host behind the port" }}
		if f.FixedIP.IsValid() {
			o.instead = func() string { return fmt.Sprintf("name the host behind it, %v", f.FixedIP) }
		}
		if b := c.balancerAt(r, f.FixedIP); b != nil {
			o.balancer = b
			o.what = func() string { return c.owner(f) + " of " + c.owner(b) }
			o.instead = func() string { return c.membersOf(b) }
		}
		return o, true
	}
	return own{}, false
}

// balancerAt finds the load balancer that a router serves at an address, nil if there is none.
func (c *checker) balancerAt(r *Router, a netip.Addr) *LoadBalancer {
	if !a.IsValid() {
		return nil
	}
	var first *LoadBalancer
	for id := range c.claimants(claim{what: claimShown, addr: a}) {
		if b := c.LoadBalancer(id); b != nil && b.Router == r.ID && (first == nil || before(b, first)) {
			first = b
		}
	}
	return first
}

func (c *checker) membersOf(b *LoadBalancer) string {
	for l := range c.ListenersOf(b.ID) {
		if l.Pool == "" {
			break
		}
		return "name the members of its pool " + c.nameOf(l.Pool, KindPool)
	}
	return hostInstead
}

// checkOwn refuses members that are addresses of their own router, forwarded ports that end at one of its VIPs
// where the VIP has no port, and VIPs whose connections come back. It comes when all addresses and routers are known.
func (c *checker) checkOwn() {
	if c.backends > maxBackends {
		return
	}
	for _, x := range c.inTurn(KindMember) {
		c.checkOwnMember(c.Member(x.id))
	}
	for _, x := range c.inTurn(KindPortForwarding) {
		c.checkOwnForward(c.PortForwarding(x.id))
	}
	c.checkLoops()
}

// A serving is a router that serves a pool, with the first listener by which it does.
type serving struct {
	router   *Router
	listener *Listener
}

// servingPool lists the routers that serve a pool.
func (c *checker) servingPool(pool ID) []serving {
	list, ok := c.routersOf[pool]
	if !ok {
		seen := map[ID]bool{}
		for l := range c.ListenersUsing(pool) {
			b := c.LoadBalancer(l.LoadBalancer)
			if b == nil || seen[b.Router] {
				continue
			}
			seen[b.Router] = true
			if r := c.Router(b.Router); r != nil {
				list = append(list, serving{r, l})
			}
		}
		c.routersOf[pool] = list
	}
	return list
}

// checkOwnMember checks that a member can be a host to the routers that serve it. That it is a VIP of its own pool
// is said of the VIP.
func (c *checker) checkOwnMember(m *Member) {
	if !m.Address.IsValid() || c.isItself(m) {
		return
	}
	w := at(m)
	for _, s := range c.servingPool(m.Pool) {
		if o, ok := c.ownAddress(s.router, m.Address); ok {
			instead := o.instead()
			if o.balancer != nil && c.uses(o.balancer, m.Pool) {
				instead = hostInstead
			}
			c.fault(w, "address", Invalid, "address %v belongs to router %s itself, which serves VIP %s: it is %s; %s",
				m.Address, c.nameOf(s.router.ID, KindRouter), c.nameOf(s.listener.ID, KindListener), o.what(), instead)
			return
		}
		if l, ok := c.linkOf(s.router, m.Address); ok && !c.checkHostIn(w, "address", "address", m.Address, l.prefix) {
			return
		}
	}
}

// isItself says whether a member is a listener that its pool serves.
func (c *checker) isItself(m *Member) bool {
	for id := range c.claimants(claim{what: claimShown, addr: m.Address}) {
		for _, p := range protocols {
			l := c.Listener(c.claimant(claim{what: claimListener, scope: string(id), num: endpoint(p, m.Port)}))
			if l != nil && l.Pool == m.Pool {
				return true
			}
		}
	}
	return false
}

// uses says whether the first listener of a load balancer is served by a pool.
func (c *checker) uses(b *LoadBalancer, pool ID) bool {
	for l := range c.ListenersOf(b.ID) {
		return l.Pool == pool
	}
	return false
}

// checkOwnForward: a VIP has its own ports and no others.
func (c *checker) checkOwnForward(p *PortForwarding) {
	f := c.FloatingIP(p.FloatingIP)
	if f == nil || f.FixedIP.IsValid() || p.Port == 0 {
		return
	}
	r := c.Router(f.Router)
	if r == nil {
		return
	}
	o, ok := c.ownAddress(r, p.FixedIP)
	if !ok || o.balancer == nil || c.listenerAt(r, p.FixedIP, p.Protocol, p.Port) != nil {
		return
	}
	c.fault(at(p), "port", Invalid, "fixed_ip %v is %s, where no VIP has %s port %d", p.FixedIP, o.what(), p.Protocol,
		p.Port)
}

// listenerAt finds the listener that a router has at an endpoint, nil if there is none.
func (c *checker) listenerAt(r *Router, a netip.Addr, proto Protocol, port uint16) *Listener {
	for id := range c.claimants(claim{what: claimShown, addr: a}) {
		if b := c.LoadBalancer(id); b == nil || b.Router != r.ID {
			continue
		}
		if l := c.Listener(c.claimant(claim{what: claimListener, scope: string(id),
			num: endpoint(proto, port)})); l != nil {
			return l
		}
	}
	return nil
}

// A tour looks for listeners whose connections come back to them by way of other routers. It finds the strongly
// connected parts of the graph of listeners (Tarjan), as far as it is reached from where something has changed.
type tour struct {
	index, low map[ID]int
	on         map[ID]bool
	stack      []ID
	parts      [][]ID
}

// checkLoops refuses listeners whose connections would come back to them.
func (c *checker) checkLoops() {
	if len(c.loops) == 0 {
		return
	}
	t := &tour{index: map[ID]int{}, low: map[ID]int{}, on: map[ID]bool{}}
	var starts []ID
	for id := range c.loops {
		if c.Listener(id) != nil {
			starts = append(starts, id)
		}
	}
	slices.Sort(starts)
	for _, id := range starts {
		if t.index[id] == 0 {
			c.tour(t, id)
		}
	}
	for _, part := range t.parts {
		c.reportLoop(part)
	}
}

func (c *checker) tour(t *tour, id ID) {
	t.index[id] = len(t.index) + 1
	t.low[id] = t.index[id]
	t.stack, t.on[id] = append(t.stack, id), true
	comesBack := false
	for next := range c.beyond(c.Listener(id)) {
		switch {
		case t.index[next] == 0:
			c.tour(t, next)
			t.low[id] = min(t.low[id], t.low[next])
		case t.on[next]:
			t.low[id] = min(t.low[id], t.index[next])
		}
		comesBack = comesBack || next == id
	}
	if t.low[id] != t.index[id] {
		return
	}
	i := slices.Index(t.stack, id)
	part := slices.Clone(t.stack[i:])
	t.stack = t.stack[:i]
	for _, x := range part {
		t.on[x] = false
	}
	if len(part) > 1 || comesBack {
		t.parts = append(t.parts, part)
	}
}

// reportLoop reports a shortest way from the first listener of a part back to it, at the last one on the way.
func (c *checker) reportLoop(part []ID) {
	first := part[0]
	in := map[ID]bool{}
	for _, id := range part {
		in[id] = true
		if before(c.Listener(id), c.Listener(first)) {
			first = id
		}
	}
	from := map[ID]ID{}
	for queue := []ID{first}; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		for next := range c.beyond(c.Listener(id)) {
			if next == first {
				c.loop(first, id, from)
				return
			}
			if _, seen := from[next]; in[next] && !seen {
				from[next] = id
				queue = append(queue, next)
			}
		}
	}
}

// loop reports the way that from leads back from last to first.
func (c *checker) loop(first, last ID, from map[ID]ID) {
	var names []string
	for id := last; ; id = from[id] {
		names = append(names, c.nameOf(id, KindListener))
		if id == first {
			break
		}
	}
	slices.Reverse(names)
	names = append(names[:min(len(names), maxListed)], names[0])
	l := c.Listener(last)
	c.fault(at(l), "pool", Invalid, "pool %s leads back to the VIP that its connections come from: %s",
		c.nameOf(l.Pool, KindPool),
		listed(names, func(s string) string { return s }))
}

// beyond gives the listeners of other routers that a listener's members are.
func (c *checker) beyond(l *Listener) func(yield func(ID) bool) {
	return func(yield func(ID) bool) {
		b := c.LoadBalancer(l.LoadBalancer)
		if b == nil {
			return
		}
		r := c.Router(b.Router)
		if r == nil {
			return
		}
		for m := range c.MembersOf(l.Pool) {
			if c.claimant(claim{what: claimShown, addr: m.Address}) == "" {
				continue
			}
			if next := c.listenerBehind(r, m, l.Protocol); next != nil && !yield(next.ID) {
				return
			}
		}
	}
}

// listenerBehind finds the listener of another router that a member is, or that a floating IP which it is leads
// to; nil if there is none.
func (c *checker) listenerBehind(r *Router, m *Member, proto Protocol) *Listener {
	l, ok := c.linkOf(r, m.Address)
	if !ok {
		return nil
	}
	owner := c.Owner(l.network, m.Address)
	switch o := owner.(type) {
	case *LoadBalancer:
		if o.Router != r.ID {
			return c.Listener(c.claimant(claim{what: claimListener, scope: string(o.ID), num: endpoint(proto, m.Port)}))
		}
	case *FloatingIP:
		other := c.Router(o.Router)
		if other == nil || other == r {
			return nil
		}
		if o.FixedIP.IsValid() {
			return c.listenerAt(other, o.FixedIP, proto, m.Port)
		}
		p := c.PortForwarding(c.claimant(claim{what: claimForward, scope: string(o.ID), num: endpoint(proto, m.Port)}))
		if p != nil {
			return c.listenerAt(other, p.FixedIP, proto, p.Port)
		}
	}
	return nil
}
