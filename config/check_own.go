package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// hostInstead is the advice for an address that cannot be reached through the router.
const hostInstead = "name the host that has the service"

// An own is the thing that a router has an address for, such as a VIP. A packet that the router sends to such an
// address is lost: the router translates once, and does not ask itself by ARP.
type own struct {
	what     func() string // such as: VIP "a" (line 12)
	instead  func() string // advice: what to name in its place
	link     bool          // an interface's or gateway's
	balancer *LoadBalancer // the one with the address, or with the address that the floating IP maps to
}

// ownAddress finds the thing that a router has an address for.
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
	for id := range c.claimants(claim{what: claimServed, scope: string(r.ID), addr: a}) {
		f := c.FloatingIP(id)
		if f == nil || !f.FixedIP.IsValid() && c.count(forwardingOf, f.ID) == 0 {
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
	for id := range c.claimants(claim{what: claimServed, scope: string(r.ID), addr: a}) {
		if b := c.LoadBalancer(id); b != nil && (first == nil || before(b, first)) {
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
		keep(&c.routersOf, pool, list)
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
	// Many routers may have load balancers with the same address, and many listeners may use a pool.
	left := c.count(listenerUsing, m.Pool)
	for id := range c.claimants(claim{what: claimShown, addr: m.Address}) {
		if left--; left < 0 {
			return c.isAmong(m)
		}
		for _, p := range protocols {
			l := c.Listener(c.claimant(claim{what: claimListener, scope: string(id), num: endpoint(p, m.Port)}))
			if l != nil && l.Pool == m.Pool {
				return true
			}
		}
	}
	return false
}

// isAmong is isItself by way of the listeners that the member's pool serves.
func (c *checker) isAmong(m *Member) bool {
	for l := range c.ListenersUsing(m.Pool) {
		if b := c.LoadBalancer(l.LoadBalancer); l.Port == m.Port && b != nil && b.Address == m.Address {
			return true
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
	for id := range c.claimants(claim{what: claimServed, scope: string(r.ID), addr: a}) {
		if c.LoadBalancer(id) == nil {
			continue
		}
		if l := c.Listener(c.claimant(claim{what: claimListener, scope: string(id),
			num: endpoint(proto, port)})); l != nil {
			return l
		}
	}
	return nil
}

// A stop is a place on the way of connections: a listener, or where the connections of a router to a pool part. The
// listeners that one pool serves at one router lead to the same members, so a part stands for all these ways.
type stop struct {
	listener ID
	part     parting // if it is no listener
}

// A parting is where a router chooses a member of a pool.
type parting struct {
	router, pool ID
	protocol     Protocol
}

// A tour looks for listeners whose connections come back to them by way of other routers. It finds the strongly
// connected parts of the graph of stops (Tarjan), as far as it is reached from where something has changed.
type tour struct {
	seen  map[stop]*visited
	stack []stop
	parts [][]stop
}

// A visited is what the tour knows of a stop.
type visited struct {
	index, low int
	on         bool // the stack
}

// A leg is a stop on the way from the start, with where it leads and the tour has not been yet.
type leg struct {
	stop stop
	to   []stop
}

// checkLoops refuses listeners whose connections would come back to them.
func (c *checker) checkLoops() {
	if len(c.loops) == 0 {
		return
	}
	t := &tour{seen: map[stop]*visited{}}
	for _, id := range slices.Sorted(maps.Keys(c.loops)) {
		if start := (stop{listener: id}); c.Listener(id) != nil && t.seen[start] == nil {
			c.tour(t, start)
		}
	}
	for _, part := range t.parts {
		c.reportLoop(part)
	}
}

// tour goes from a start. The way may be as long as there are listeners, so it does not recurse.
func (c *checker) tour(t *tour, start stop) {
	way := []leg{c.visit(t, start)}
	for len(way) > 0 {
		at := &way[len(way)-1]
		v := t.seen[at.stop]
		if len(at.to) > 0 {
			next := at.to[0]
			at.to = at.to[1:]
			if w := t.seen[next]; w == nil {
				way = append(way, c.visit(t, next))
			} else if w.on {
				v.low = min(v.low, w.index)
			}
			continue
		}
		if v.low == v.index {
			t.take(at.stop)
		}
		if way = way[:len(way)-1]; len(way) > 0 {
			before := t.seen[way[len(way)-1].stop]
			before.low = min(before.low, v.low)
		}
	}
}

func (c *checker) visit(t *tour, s stop) leg {
	n := len(t.seen) + 1
	t.seen[s] = &visited{index: n, low: n, on: true}
	t.stack = append(t.stack, s)
	return leg{s, c.beyond(s)}
}

// take takes a part from the stack, as far as its first stop. A stop that is alone does not lead back to itself.
func (t *tour) take(first stop) {
	i := len(t.stack)
	for on := true; on; on = t.stack[i] != first {
		i--
		t.seen[t.stack[i]].on = false
	}
	if len(t.stack)-i > 1 {
		t.parts = append(t.parts, slices.Clone(t.stack[i:]))
	}
	t.stack = t.stack[:i]
}

// reportLoop reports a shortest way from the first listener of a part back to it, at the last one on the way.
func (c *checker) reportLoop(part []stop) {
	var first *Listener
	in := map[stop]bool{}
	for _, s := range part {
		in[s] = true
		if l := c.Listener(s.listener); l != nil && (first == nil || before(l, first)) {
			first = l
		}
	}
	start := stop{listener: first.ID}
	from := map[stop]stop{}
	for queue := []stop{start}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		for _, next := range c.beyond(s) {
			if next == start {
				c.loop(start, s, from)
				return
			}
			if _, seen := from[next]; in[next] && !seen {
				from[next] = s
				queue = append(queue, next)
			}
		}
	}
}

// loop reports the way that from leads back from last to first.
func (c *checker) loop(first, last stop, from map[stop]stop) {
	var way []ID
	for s := last; ; s = from[s] {
		if s.listener != "" {
			way = append(way, s.listener)
		}
		if s == first {
			break
		}
	}
	l := c.Listener(way[0])
	slices.Reverse(way)
	way = append(way[:min(len(way), maxListed)], first.listener)
	c.fault(at(l), "pool", Invalid, "pool %s leads back to the VIP that its connections come from: %s",
		c.nameOf(l.Pool, KindPool),
		listed(way, func(id ID) string { return c.nameOf(id, KindListener) }))
}

// beyond lists where connections go from a stop: from a listener to where its router chooses a member, and from there
// to the listeners of other routers that the members are.
func (c *checker) beyond(s stop) []stop {
	if s.listener != "" {
		l := c.Listener(s.listener)
		b := c.LoadBalancer(l.LoadBalancer)
		if b == nil || c.Router(b.Router) == nil || l.Pool == "" {
			return nil
		}
		return []stop{{part: parting{b.Router, l.Pool, l.Protocol}}}
	}
	var list []stop
	r := c.Router(s.part.router)
	for m := range c.MembersOf(s.part.pool) {
		if c.claimant(claim{what: claimShown, addr: m.Address}) == "" {
			continue
		}
		if next := c.listenerBehind(r, m, s.part.protocol); next != nil {
			list = append(list, stop{listener: next.ID})
		}
	}
	return list
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
