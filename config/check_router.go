package config

import "net/netip"

// Bounds of what routers are connected to. The engine numbers a router's interfaces with 16 bits; one
// is the gateway, one leads to the members that are checked, and 0 is none. A link is in the memory of
// each router that has it: many routers on a network of many subnets would have their product.
const (
	maxInterfaces = 1<<16 - 1 - 2
	maxLinks      = 1 << 18
)

// checkRouterItself checks a router apart from its ports, and its gateway.
func (c *checker) checkRouterItself(r *Router) {
	w := at(r)
	if n := c.count(interfaceOf, r.ID); n > maxInterfaces {
		c.fault(w, indexed("interfaces", maxInterfaces), Invalid, "a router has at most %d interfaces, this one has %d",
			maxInterfaces, n)
	}
	oneOf(c, w, "rp_filter", r.RPFilter, rpFilters)
	if !r.NAT.isZero() {
		all := c.Settings().NAT
		c.checkNAT(w.in("nat", Source{}), "nat", r.NAT.over(all), r.NAT.NoSNAT, all.Timeouts)
	}
	if r.Gateway == nil {
		return
	}
	w = w.in("gateway", r.Gateway.Source)
	n, ok := c.externalNetwork(w, "gateway.network", r.Gateway.Network, "a gateway")
	if !ok {
		return
	}
	if id := gatewayPortID(r.ID); c.GatewayPort(r.ID) == nil && c.find(id) != nil {
		c.fault(w, "gateway", Taken, "the gateway's port needs the id %s, which %s has", id, c.owner(c.find(id)))
	}
	c.checkSNATAddresses(w, r, n)
}

// externalNetwork finds a network for what lives on external ones only.
func (c *checker) externalNetwork(w where, field string, id ID, what string) (*Network, bool) {
	n, ok := refer[*Network](c, w, field, KindNetwork, id)
	if ok && !n.External {
		c.fault(w, field, Invalid, "network %s is not external; %s needs one with external = true", c.networkName(id),
			what)
		return nil, false
	}
	return n, ok
}

// checkSNATAddresses checks the addresses that a router's hosts show outside.
func (c *checker) checkSNATAddresses(w where, r *Router, n *Network) {
	g, total := r.Gateway, 0
	if len(g.SNATAddresses) == 0 {
		return
	}
	if !g.SNAT {
		c.fault(w, "gateway.snat_addresses", Invalid, "snat_addresses are of no use with snat = false")
		return
	}
	seen := map[netip.Addr]bool{}
	for i, x := range g.SNATAddresses {
		field := indexed("gateway.snat_addresses", i)
		if !x.First.Is4() || !x.Last.Is4() {
			c.fault(w, field, Invalid, "%v is not IPv4; there is no SNAT for IPv6", x)
			continue
		}
		if x.Last.Less(x.First) {
			c.fault(w, field, Invalid, "range %v is reversed; write %v-%v", x, x.Last, x.First)
			continue
		}
		for a := x.First; a.IsValid() && a.Compare(x.Last) <= 0; a = a.Next() {
			if total++; total > maxSNATAddresses {
				c.fault(w, field, Invalid, "more than %d addresses for SNAT", maxSNATAddresses)
				return
			}
			if !c.checkSNATAddress(w, field, r, n, a, seen) {
				break
			}
		}
	}
}

// checkSNATAddress checks one address, which may be the router's own on that network.
func (c *checker) checkSNATAddress(w where, field string, r *Router, n *Network, a netip.Addr,
	seen map[netip.Addr]bool) bool {
	s := c.SubnetAt(n.ID, a)
	if s == nil {
		if !c.isUnsure(n.ID) {
			c.fault(w, field, Invalid, "%v outside %s", a, c.prefixes(n))
		}
		return false
	}
	if a == c.gatewayAddress(r, s.CIDR) {
		return true
	}
	if why := HostProblem(a, s.CIDR); why != "" {
		c.fault(w, field, Invalid, "%v %s", a, why)
		return false
	}
	if c.isGateway(n.ID, a) {
		c.fault(w, field, Taken, "%v is the gateway of its subnet", a)
		return false
	}
	if !c.checkForwarded(w, field, baseKey(field), a) {
		return false
	}
	if seen[a] {
		c.fault(w, field, Taken, "%v is already the address of %s", a, c.owner(r))
		return false
	}
	seen[a] = true
	return c.checkAddress(w, field, n.ID, a)
}

// checkInterface checks a router's port on a tenant network.
func (c *checker) checkInterface(p *Port) {
	w := at(p)
	r, _ := refer[*Router](c, w, "device_id", KindRouter, ID(p.DeviceID))
	n, ok := refer[*Network](c, w, "network", KindNetwork, p.Network)
	if !ok {
		return
	}
	if n.External {
		c.fault(w, "network", Invalid, "network %s is external; a router joins it with gateway = { network = %s }",
			c.networkName(n.ID), c.networkName(n.ID))
		return
	}
	if r == nil {
		return
	}
	missing := len(p.FixedIPs) == 0
	for i, f := range p.FixedIPs {
		if !f.Address.IsValid() {
			missing = true
			continue
		}
		field := indexed("fixed_ips", i)
		s, ok := c.checkFixedIP(w, field, "address", n, f)
		if !ok {
			continue
		}
		if c.checkLink(w, r, p, i, s) {
			c.warnLinkLocal(w, p.Network, s.CIDR.Masked())
			c.checkAddress(w, field, n.ID, f.Address)
		}
	}
	if missing && !c.isShaky(n.ID) {
		c.fault(w, "network", Invalid, "network %s has no gateway address for the router to take; "+
			"write { network = %s, address = ... }",
			c.networkName(n.ID), c.networkName(n.ID))
	}
}

// checkFixedIP checks that a port can have an address, in the subnet that it names if it does, and finds the subnet.
func (c *checker) checkFixedIP(w where, field, word string, n *Network, f FixedIP) (*Subnet, bool) {
	if f.Subnet == "" {
		return c.checkHost(w, field, word, n, f.Address)
	}
	s, ok := refer[*Subnet](c, w, field, KindSubnet, f.Subnet)
	switch {
	case !ok:
		return nil, false
	case s.Network != n.ID:
		c.fault(w, field, Invalid, "subnet %v is not one of network %s", s.CIDR, c.networkName(n.ID))
		return nil, false
	case prefixProblem(s.CIDR):
		return nil, false
	case !s.CIDR.Contains(f.Address) && c.SubnetAt(n.ID, f.Address) == nil:
		return c.checkHost(w, field, word, n, f.Address)
	}
	return s, c.checkHostIn(w, field, word, f.Address, s.CIDR)
}

// checkLink checks that a router is connected to a prefix once, and to none that overlaps it: RFC 4787, REQ-7
// wants both realms reachable or the configuration refused. Networks of different routers may overlap.
func (c *checker) checkLink(w where, r *Router, p *Port, i int, s *Subnet) bool {
	prefix := s.CIDR.Masked()
	again := false
	for k, f := range p.FixedIPs[:i] {
		again = again || f.Subnet == p.FixedIPs[i].Subnet && p.FixedIPs[k].Address.IsValid()
	}
	same := claim{what: claimLink, scope: string(r.ID), addr: prefix.Addr(), num: uint64(prefix.Bits())}
	if first := c.firstLink(same, p.Network); again || first != p.ID {
		c.fault(w, "", Taken, "the router has an interface in %v of network %s already", prefix,
			c.networkName(p.Network))
		return false
	}
	for q := range c.overlapping(claimLink, r.ID, prefix) {
		for id := range c.claimants(q) {
			if other := c.Port(id); other.Network != p.Network {
				c.overlap(p, prefix, other, q.prefix())
			}
			if c.full() {
				return true
			}
		}
	}
	if g := c.GatewayPort(r.ID); g != nil && g.Network != p.Network && c.isExternal(g.Network) {
		for q := range c.overlapping(claimPrefix, g.Network, prefix) {
			c.overlap(p, prefix, g, q.prefix())
			if c.full() {
				break
			}
		}
	}
	return true
}

func (c *checker) isExternal(network ID) bool {
	n := c.Network(network)
	return n != nil && n.External
}

// firstLink is the first port of a router with a link of a network. That of each network is found once for each link.
func (c *checker) firstLink(n claim, network ID) ID {
	n.by = ""
	if _, ok := c.firsts[n]; !ok {
		c.firsts[n] = ""
		for id := range c.claimants(n) {
			of := n
			of.by = c.Port(id).Network
			if first, ok := c.firsts[of]; !ok || c.precedes(id, first) {
				c.firsts[of] = id
			}
		}
	}
	n.by = network
	return c.firsts[n]
}

// linksOf lists the prefixes that a router's port is in: as many as a message lists, and one more.
func (c *checker) linksOf(p *Port) []netip.Prefix {
	var list []netip.Prefix
	for _, f := range p.FixedIPs[:min(len(p.FixedIPs), maxListed+1)] {
		if s := c.Subnet(f.Subnet); s != nil && s.CIDR.IsValid() {
			list = append(list, s.CIDR.Masked())
		}
	}
	return list
}

// overlap reports two links at the port that came later.
func (c *checker) overlap(p *Port, prefix netip.Prefix, q *Port, other netip.Prefix) {
	if c.precedes(p.ID, q.ID) {
		p, prefix, q, other = q, other, p, prefix
	}
	w := at(p)
	c.fault(w, "network", Invalid, "%v of network %s overlaps %v of network %s; "+
		"one router cannot tell them apart (RFC 4787, REQ-7)",
		prefix, c.networkName(p.Network), other, c.networkName(q.Network))
}

// warnLinkLocal: next hops may be link-local, but the packets of hosts there go no further.
func (c *checker) warnLinkLocal(w where, network ID, p netip.Prefix) {
	if p.Addr().Is4() && neverForwarded(p) != "" {
		c.warn(w, "network", Invalid, "%v of network %s is link-local: nothing is forwarded from or to its hosts "+
			"(RFC 3927, 2.7); it serves next hops only",
			p, c.networkName(network))
	}
}

// checkGatewayPort checks a router's place on its external network.
func (c *checker) checkGatewayPort(p *Port) {
	w := at(p)
	r, ok := refer[*Router](c, w, "device_id", KindRouter, ID(p.DeviceID))
	if !ok {
		return
	}
	if r.Gateway == nil || r.Gateway.Network != p.Network {
		c.fault(w, "network", Invalid, "the port is on network %s, where the router has no gateway",
			c.networkName(p.Network))
		return
	}
	if first := c.GatewayPort(r.ID); first.ID != p.ID {
		c.fault(w, "", Taken, "the router has a gateway port already")
		return
	}
	n := c.Network(p.Network)
	if n == nil || !n.External {
		return // reported at the router
	}
	for i, f := range p.FixedIPs {
		field := indexed("fixed_ips", i)
		if !f.Address.IsValid() {
			continue
		}
		s, ok := c.checkFixedIP(w, field, "address", n, f)
		switch {
		case !ok:
		case f.Address == s.Gateway:
			c.fault(w, field, Taken, "address %v is the subnet's own gateway, the router's next hop", f.Address)
		default:
			c.checkAddress(w, field, n.ID, f.Address)
		}
	}
	c.checkUnforwarded(w, r, p)
}

// checkUnforwarded looks at the subnets of a router's external network that no router forwards from or to. That a
// subnet overlaps an interface's is said of the interface.
func (c *checker) checkUnforwarded(w where, r *Router, p *Port) {
	if c.links > maxLinks {
		return // a fault already
	}
	for _, never := range unforwarded {
		for n := range c.content.inside(claimPrefix, p.Network, never) {
			prefix := n.prefix()
			if neverForwarded(prefix) == "" {
				continue
			}
			c.warnLinkLocal(w, p.Network, prefix)
			a := c.gatewayAddress(r, prefix)
			if a.IsValid() && r.Gateway.SNAT && len(r.Gateway.SNATAddresses) == 0 {
				c.fault(w, "fixed_ips[0]", Invalid, "address %v is link-local, so what shows it has no answer from "+
					"beyond the link (RFC 3927, 2.7); set snat_addresses of another subnet, or snat = false", a)
			}
		}
	}
}

// checkRoutes checks the static routes.
func (c *checker) checkRoutes(r *Router) {
	seen := map[netip.Prefix]int{}
	for i, x := range r.Routes {
		field := indexed("routes", i)
		w := at(r).in("route "+prefixLabel(x.Destination, i), x.Source)
		if !c.checkPrefix(w, field+".destination", "destination", x.Destination) {
			continue
		}
		p := x.Destination.Masked()
		if first, ok := seen[p]; ok {
			y := r.Routes[first]
			c.fault(w, field+".destination", Invalid, "destination %v has a route already: %s: route %v%s", p,
				c.describe(r), y.Destination, place(y.Source))
			continue
		}
		seen[p] = i
		if c.checkDestination(w, field, r, p) {
			c.checkNextHop(w, field, r, x, p)
		}
	}
}

// checkDestination refuses routes that would never be or never be clearly used.
func (c *checker) checkDestination(w where, field string, r *Router, p netip.Prefix) bool {
	field += ".destination"
	if why := neverForwarded(p); why != "" {
		c.fault(w, field, Invalid, "destination %v %s", p, why)
		return false
	}
	for _, q := range notHosts {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			c.fault(w, field, Invalid, "destination %v is in %v, where no host can be", p, q)
			return false
		}
	}
	network, ok := c.connected(r, p)
	if ok {
		c.fault(w, field, Invalid, "destination %v is connected: it is a subnet of network %s", p,
			c.networkName(network))
	}
	return !ok
}

// connected finds the network of a router's link with exactly a prefix.
func (c *checker) connected(r *Router, p netip.Prefix) (ID, bool) {
	n := claim{what: claimLink, scope: string(r.ID), addr: p.Addr(), num: uint64(p.Bits())}
	if id := c.claimant(n); id != "" {
		return c.Port(id).Network, true
	}
	if r.Gateway == nil {
		return "", false
	}
	n.what, n.scope = claimPrefix, string(r.Gateway.Network)
	return r.Gateway.Network, c.claimant(n) != ""
}

// checkNextHop: a next hop is a neighbor, so it must be on a link, and it is another router.
func (c *checker) checkNextHop(w where, field string, r *Router, x Route, p netip.Prefix) {
	field += ".nexthop"
	if !c.require(w, field, x.NextHop.IsValid()) {
		return
	}
	if x.NextHop.Is4() != p.Addr().Is4() {
		c.fault(w, field, Invalid, "nexthop %v is %s, but %v is %s", x.NextHop, family(x.NextHop), p, family(p.Addr()))
		return
	}
	l, found := c.linkOf(r, x.NextHop)
	found = found && l.address.IsValid()
	switch {
	case found && x.NextHop == l.address:
		c.fault(w, field, Invalid, "nexthop %v is the router itself", x.NextHop)
		return
	case found:
		c.checkHostIn(w, field, "nexthop", x.NextHop, l.prefix)
	case !c.isDoubtful(r):
		c.fault(w, field, Invalid, "nexthop %v is in none of the router's subnets%s", x.NextHop, c.subnetsOf(r))
	}
	if o, ok := c.ownAddress(r, x.NextHop); ok && !o.link {
		c.fault(w, field, Invalid, "nexthop %v is the router itself: it is %s", x.NextHop, o.what())
	}
}

// subnetsOf lists a router's subnets for a message.
func (c *checker) subnetsOf(r *Router) string {
	var list []netip.Prefix
	for p := range c.InterfacesOf(r.ID) {
		if list = append(list, c.linksOf(p)...); len(list) > maxListed {
			break
		}
	}
	if p := c.GatewayPort(r.ID); p != nil {
		list = append(list, c.linksOf(p)...)
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + listed(list, netip.Prefix.String) + ")"
}

// warnNoGateway warns of a router that serves networks only, where there is
// an external network: hosts behind the router have no way out. A default route is
// a way, and so is another router on one of its networks, which has a gateway.
func (c *checker) warnNoGateway(r *Router) {
	if r.Gateway != nil || !c.changed[r.ID] || c.Unsure != nil && c.Unsure(r.Ref()) {
		return
	}
	n := c.firstExternal()
	if n == nil {
		return
	}
	for _, x := range r.Routes {
		if x.Destination.IsValid() && x.Destination.Bits() == 0 {
			return
		}
	}
	for p := range c.InterfacesOf(r.ID) {
		if c.isBesideGateway(p.Network) {
			return
		}
	}
	c.warn(at(r), "gateway", Unreached, "no gateway, though network %s is external: "+
		"nothing behind the router reaches it; "+
		"write gateway = { network = %s }", c.networkName(n.ID), c.networkName(n.ID))
}

// firstExternal finds the first external network.
func (c *checker) firstExternal() *Network {
	if !c.externalKnown {
		c.externalKnown = true
		for n := range c.Networks() {
			if n.External {
				c.external = n
				break
			}
		}
	}
	return c.external
}

// isBesideGateway says whether a router with a gateway is on a network.
func (c *checker) isBesideGateway(network ID) bool {
	v, ok := c.beside[network]
	if !ok {
		for p := range c.InterfacesOn(network) {
			if r := c.Router(ID(p.DeviceID)); r != nil && r.Gateway != nil {
				v = true
				break
			}
		}
		keep(&c.beside, network, v)
	}
	return v
}
