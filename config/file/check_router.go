package file

import (
	"net/netip"
	"strconv"
)

// A domain is a router with what the check knows of its address space.
type domain struct {
	*Router
	at     scope
	links  []link
	first  prefixTable[int]   // the first link with a prefix; tenant networks' come before the external one's
	own    map[netip.Addr]own // what the router answers for, when all is known
	unsure bool               // an interface, the gateway or a network there has a fault: miss no link
}

// A link is one prefix that a router is connected to.
type link struct {
	at       scope // the interface or gateway
	network  string
	prefix   netip.Prefix
	address  netip.Addr // the router's own; zero on the external network's other subnets
	external bool
}

// A linkID is a router's link among all.
type linkID struct {
	router  *domain
	network string
	prefix  netip.Prefix
}

// Bounds of what routers are connected to. The engine numbers a router's interfaces with 16 bits; one
// is the gateway, one leads to the members that are checked, and 0 is none. A link is in the memory of
// each router that has it: many routers on a network of many subnets would have their product.
const (
	maxInterfaces = 1<<16 - 1 - 2
	maxLinks      = 1 << 18
)

// addLink connects a router to a prefix.
func (c *checker) addLink(d *domain, l link) {
	if c.links++; c.links > maxLinks {
		d.unsure = true
		if c.links == maxLinks+1 {
			l.at.fault("network", "the routers are connected to more than %d subnets, each counted for each router",
				maxLinks)
		}
		return
	}
	d.first.addFirst(l.prefix, len(d.links))
	d.links = append(d.links, l)
	c.linked[linkID{d, l.network, l.prefix.Masked()}] = true
}

// linkOf finds the first link around an address for which ok holds. What ok looks at must be the
// same for a router's links of one prefix, unless they are of a tenant network and the external one.
func (d *domain) linkOf(a netip.Addr, ok func(*link) bool) (link, bool) {
	first := empty
	for i := range d.first.around(a) {
		if i < first && ok(&d.links[i]) {
			first = i
		}
	}
	if first == empty {
		return link{}, false
	}
	return d.links[first], true
}

// checkRouters checks the routers, gives them their interfaces' addresses and
// claims those and the gateways' given ones.
func (c *checker) checkRouters() {
	names := map[string]owner{}
	for i := range c.Routers {
		r := &c.Routers[i]
		s := c.root.item("router", "router", r.Name, i, len(c.Routers), r.Line)
		d := &domain{Router: r, at: s, unsure: s.spoiledIn("interfaces") || s.spoiledIn("gateway")}
		c.domains = append(c.domains, d)
		if s.checkName(r.Name, names) {
			c.routers[r.Name] = d
		}
		before := s.r.found
		if len(r.Interfaces) > maxInterfaces {
			s.fault(indexKey("interfaces", maxInterfaces), "a router has at most %d interfaces, this one has %d",
				maxInterfaces, len(r.Interfaces))
		}
		for j := range r.Interfaces {
			c.checkInterface(d, j)
		}
		c.checkRouterGateway(d)
		d.unsure = d.unsure || s.r.found > before
		c.checkRouterNAT(d)
	}
}

// checkInterface finds a router's addresses on a tenant network: the given one,
// or the gateway of every subnet that has one.
func (c *checker) checkInterface(d *domain, i int) {
	iface := &d.Interfaces[i]
	s := d.at.item("interfaces", "interface", iface.Network, i, len(d.Interfaces), iface.Line)
	g, ok := c.network(s, iface.Network)
	if !ok || s.spoiled("address") {
		return
	}
	if g.External {
		s.fault("network", "network %q is external; a router joins it with gateway = { network = %q }", g.Name, g.Name)
		return
	}
	d.unsure = d.unsure || g.shaky
	iface.Addresses = nil
	if iface.Address.IsValid() {
		if sub, ok := g.checkHost(s, "address", iface.Address); ok {
			c.connect(d, s, g, iface, netip.PrefixFrom(iface.Address, sub.CIDR.Bits()))
		}
		return
	}
	for _, sub := range g.Subnets {
		if sub.Gateway.IsValid() && sub.CIDR.Contains(sub.Gateway) {
			c.connect(d, s, g, iface, netip.PrefixFrom(sub.Gateway, sub.CIDR.Bits()))
		}
	}
	if n := len(iface.Addresses); n > 1 && iface.ID != "" {
		s.fault("id", "id is for one port, and the interface has %d addresses; write { network, address, id } for each",
			n)
	}
	if len(iface.Addresses) == 0 && !g.shaky {
		s.fault("network", "network %q has no gateway address for the router to take; write { network = %q, "+
			"address = ... }", g.Name, g.Name)
	}
}

// connect gives a router one address on a tenant network.
func (c *checker) connect(d *domain, s scope, g *segment, iface *RouterInterface, p netip.Prefix) {
	iface.Addresses = append(iface.Addresses, p)
	if c.linked[linkID{d, g.Name, p.Masked()}] {
		s.fault("", "the router has an interface in %v of network %q already", p.Masked(), g.Name)
		return
	}
	l := link{at: s, network: g.Name, prefix: p.Masked(), address: p.Addr()}
	c.addLink(d, l)
	l.warnLinkLocal()
	g.claim(s, "address", p.Addr(), d.at.owner())
}

// warnLinkLocal: next hops may be link-local, but the packets of hosts there go no further.
func (l *link) warnLinkLocal() {
	if l.prefix.Addr().Is4() && neverForwarded(l.prefix) != "" {
		l.at.warn("network", "%v of network %q is link-local: nothing is forwarded from or to its hosts (RFC 3927, "+
			"2.7); it serves next hops only",
			l.prefix, l.network)
	}
}

// checkRouterGateway checks a router's place on its external network. Its
// address may still be chosen later.
func (c *checker) checkRouterGateway(d *domain) {
	gw := d.Gateway
	if gw == nil {
		return
	}
	s := d.at.child("gateway", gw.Line)
	g, ok := c.externalNetwork(s, gw.Network, "a gateway")
	if !ok {
		return
	}
	defer c.checkSNATAddresses(d, s, g)
	if !gw.Address.IsValid() {
		return
	}
	sub, ok := g.checkHost(s, "address", gw.Address)
	switch {
	case !ok:
	case gw.Address == sub.Gateway:
		s.fault("address", "address %v is the subnet's own gateway, the router's next hop", gw.Address)
	default:
		g.claim(s, "address", gw.Address, d.at.owner())
	}
}

// maxSNATAddresses bounds the addresses that one router shares out: each may take a few
// hundred KB, and a range is quickly written too wide.
const maxSNATAddresses = 256

// checkSNATAddresses checks and claims the addresses that a router's hosts show outside.
func (c *checker) checkSNATAddresses(d *domain, s scope, g *segment) {
	gw, total := d.Gateway, 0
	if len(gw.SNATAddresses) == 0 {
		if s.given("snat_addresses") && !s.spoiled("snat_addresses") {
			s.fault("snat_addresses", "snat_addresses is empty; leave it out for the gateway's own address")
		}
		return
	}
	if !gw.SNAT && !s.spoiled("snat") {
		s.fault("snat_addresses", "snat_addresses are of no use with snat = false")
		return
	}
	for i, r := range gw.SNATAddresses {
		key := indexKey("snat_addresses", i)
		if s.spoiled(key) {
			continue
		}
		if !r.First.Is4() || !r.Last.Is4() {
			s.fault(key, "%v is not IPv4; there is no SNAT for IPv6", r)
			continue
		}
		if r.Last.Less(r.First) {
			s.fault(key, "range %v is reversed; write %v-%v", r, r.Last, r.First)
			continue
		}
		for a := r.First; a.Compare(r.Last) <= 0; a = a.Next() {
			if total++; total > maxSNATAddresses {
				s.fault(key, "more than %d addresses for SNAT", maxSNATAddresses)
				return
			}
			if !c.claimSNATAddress(d, s, g, key, a) {
				break
			}
		}
	}
}

// claimSNATAddress claims one address, which may be the router's own on that network.
func (c *checker) claimSNATAddress(d *domain, s scope, g *segment, key string, a netip.Addr) bool {
	if a == d.Gateway.Address {
		return true
	}
	if sub := g.subnetOf(a); sub == nil {
		if !g.unsure {
			s.fault(key, "%v outside %s", a, g.prefixes())
		}
		return false
	} else if why := hostProblem(a, sub.CIDR); why != "" {
		s.fault(key, "%v %s", a, why)
		return false
	}
	if g.gateways[a] {
		s.fault(key, "%v is the gateway of its subnet", a)
		return false
	}
	if !s.checkForwarded(key, a) {
		return false
	}
	return g.claim(s, key, a, d.at.owner())
}

// chooseGateways gives routers their external addresses, and makes the external
// networks' subnets links of theirs.
func (c *checker) chooseGateways() {
	for _, d := range c.domains {
		gw := d.Gateway
		if gw == nil {
			continue
		}
		g, ok := c.segments[gw.Network]
		if !ok || !g.External {
			continue
		}
		s := d.at.child("gateway", gw.Line)
		if !gw.Address.IsValid() && !s.spoiled("address") {
			gw.Address, ok = g.choose(s, "address", netip.Addr{}, d.at.owner())
		}
		if !ok || !gw.Address.IsValid() {
			d.unsure = true
		}
		c.placeGateway(d, s, g)
	}
}

// placeGateway fills in what follows from the address of a gateway.
func (c *checker) placeGateway(d *domain, s scope, g *segment) {
	gw := d.Gateway
	gw.Prefix, gw.NextHop = netip.Prefix{}, netip.Addr{}
	for _, sub := range g.Subnets {
		if !sub.CIDR.IsValid() {
			continue
		}
		l := link{at: s, network: g.Name, prefix: sub.CIDR, external: true}
		if sub.CIDR.Contains(gw.Address) {
			gw.Prefix = netip.PrefixFrom(gw.Address, sub.CIDR.Bits())
			gw.NextHop = sub.Gateway
			l.address = gw.Address
		}
		c.addLink(d, l)
		if neverForwarded(l.prefix) == "" {
			continue
		}
		l.warnLinkLocal()
		if l.address.IsValid() && gw.SNAT && len(gw.SNATAddresses) == 0 {
			s.fault("address", "address %v is link-local, so what shows it has no answer from beyond the link (RFC "+
				"3927, 2.7); "+
				"set snat_addresses of another subnet, or snat = false", gw.Address)
		}
	}
}

// checkOverlaps refuses routers whose networks overlap, the external one
// included: RFC 4787, REQ-7 wants both realms reachable or the configuration
// refused. Networks of different routers may overlap.
func (c *checker) checkOverlaps() {
	for _, d := range c.domains {
		prefixes := make([]netip.Prefix, len(d.links))
		for i := range d.links {
			prefixes[i] = d.links[i].prefix
		}
		finder := newOverlapFinder(prefixes)
		for i, l := range d.links {
			for _, k := range finder.reported(d.at.r, i) {
				if other := &d.links[k]; other.network != l.network {
					l.at.fault("network", "%v of network %q overlaps %v of network %q; "+
						"one router cannot tell them apart (RFC 4787, REQ-7)",
						l.prefix, l.network, other.prefix, other.network)
				}
			}
			finder.add(i)
		}
	}
}

// checkRoutes checks the static routes.
func (c *checker) checkRoutes() {
	for _, d := range c.domains {
		seen := map[netip.Prefix]owner{}
		for i := range d.Routes {
			r := &d.Routes[i]
			s := d.at.item("routes", "route", prefixText(r.Destination), i, len(d.Routes), r.Line)
			if s.checkPrefix("destination", &r.Destination) && d.checkDestination(s, r, seen) {
				d.checkNextHop(s, r)
			}
		}
	}
}

// checkDestination refuses routes that would never be or never be clearly used.
func (d *domain) checkDestination(s scope, r *Route, seen map[netip.Prefix]owner) bool {
	if first, ok := seen[r.Destination]; ok {
		s.fault("destination", "destination %v has a route already: %v", r.Destination, first)
		return false
	}
	seen[r.Destination] = s.owner()
	if why := neverForwarded(r.Destination); why != "" {
		s.fault("destination", "destination %v %s", r.Destination, why)
		return false
	}
	for _, p := range notHosts {
		if p.Bits() <= r.Destination.Bits() && p.Contains(r.Destination.Addr()) {
			s.fault("destination", "destination %v is in %v, where no host can be", r.Destination, p)
			return false
		}
	}
	i, connected := d.first.at[r.Destination]
	if connected {
		s.fault("destination", "destination %v is connected: it is a subnet of network %q", r.Destination,
			d.links[i].network)
	}
	return !connected
}

// checkNextHop: a next hop is a neighbor, so it must be on a link.
func (d *domain) checkNextHop(s scope, r *Route) {
	if !s.require("nexthop", r.NextHop.IsValid()) {
		return
	}
	if r.NextHop.Is4() != r.Destination.Addr().Is4() {
		s.fault("nexthop", "nexthop %v is %s, but %v is %s", r.NextHop, family(r.NextHop), r.Destination,
			family(r.Destination.Addr()))
		return
	}
	l, found := d.linkOf(r.NextHop, func(l *link) bool { return l.address.IsValid() })
	switch {
	case found && r.NextHop == l.address:
		s.fault("nexthop", "nexthop %v is the router itself", r.NextHop)
	case found:
		s.checkHostIn("nexthop", r.NextHop, l.prefix)
	case !d.unsure:
		s.fault("nexthop", "nexthop %v is in none of the router's subnets%s", r.NextHop, d.subnets())
	}
}

// subnets lists a router's subnets for a message.
func (d *domain) subnets() string {
	var list []link
	for _, l := range d.links {
		if l.address.IsValid() {
			list = append(list, l)
		}
		if len(list) > maxListed {
			break
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + listed(list, func(l link) string { return l.prefix.String() }) + ")"
}

// findRouter finds the one router for which ok holds, among the candidates (places in domains). Name is the one that
// was asked for, if any; it need not be a candidate. Want says in a message what the router has to do.
func (c *checker) findRouter(s scope, key, name, want string, candidates []int, ok func(*domain) bool) string {
	if name != "" || s.given("router") {
		d, known := refer(s, "router", "router", "router", name, c.routers)
		if known && !ok(d) && !d.unsure {
			s.fault("router", "router %q does not %s", name, want)
		}
		return name
	}
	var found []string
	unsure := s.spoiled("router") || c.root.spoiled("router") || c.reach.unsure
	for _, i := range candidates {
		if d := c.domains[i]; len(found) <= maxListed && ok(d) {
			found = append(found, d.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0]
	case len(found) == 0 && !unsure:
		s.fault(key, "there is no router to %s", want)
	case len(found) > 1:
		s.fault(key, "routers %s all %s; say which with router = %q", quoteList(found), want, found[0])
	}
	return ""
}

// checkRouterName is findRouter where nothing but the name can be checked.
func (c *checker) checkRouterName(s scope, name string) {
	if name != "" || s.given("router") {
		refer(s, "router", "router", "router", name, c.routers)
	}
}

func quoteList(names []string) string {
	return listed(names, func(name string) string { return strconv.Quote(clip(name, maxName)) })
}
