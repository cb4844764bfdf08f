package config

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A link is one prefix that a router is connected to.
type link struct {
	network  ID
	prefix   netip.Prefix
	address  netip.Addr // the router's own; zero on the external network's other subnets
	external bool
}

// tenantLink finds the tenant network's prefix around an address.
func (c *checker) tenantLink(r *Router, a netip.Addr) (link, bool) {
	for n := range c.around(claimLink, r.ID, a) {
		p := c.Port(c.claimant(n))
		l := link{network: p.Network, prefix: n.prefix()}
		for _, f := range p.FixedIPs {
			if l.prefix.Contains(f.Address) {
				l.address = f.Address
				break
			}
		}
		return l, true
	}
	return link{}, false
}

// linkOf finds a router's link around an address: a tenant network's, or else the external one's.
func (c *checker) linkOf(r *Router, a netip.Addr) (link, bool) {
	if l, ok := c.tenantLink(r, a); ok {
		return l, true
	}
	if r.Gateway == nil {
		return link{}, false
	}
	n := c.Network(r.Gateway.Network)
	if n == nil || !n.External {
		return link{}, false
	}
	s := c.SubnetAt(n.ID, a)
	if s == nil {
		return link{}, false
	}
	return link{network: n.ID, prefix: s.CIDR.Masked(), address: c.gatewayAddress(r, s.CIDR), external: true}, true
}

// gatewayAddress is a router's address in a prefix of its external network, zero if it has none there.
func (c *checker) gatewayAddress(r *Router, in netip.Prefix) netip.Addr {
	if p := c.GatewayPort(r.ID); p != nil {
		for _, f := range p.FixedIPs {
			if in.Contains(f.Address) {
				return f.Address
			}
		}
	}
	return netip.Addr{}
}

// serves says whether a router is on the subnet of an address.
func (c *checker) serves(r *Router, network ID, a netip.Addr) bool {
	if r.Gateway != nil && r.Gateway.Network == network && c.SubnetAt(network, a) != nil {
		return true
	}
	for n := range c.around(claimLink, r.ID, a) {
		if c.firstLink(n, network) != "" {
			return true
		}
	}
	return false
}

// serving lists the routers that are on the subnet of an address: as many as a message lists, and one more.
func (c *checker) serving(network ID, a netip.Addr) []*Router {
	s := c.SubnetAt(network, a)
	if s == nil {
		return nil
	}
	var list []*Router
	for p := range each[*Port](&c.content, interfaceIn, s.ID) {
		if r := c.Router(ID(p.DeviceID)); r != nil && p.Network == network {
			list = append(list, r)
		}
		if len(list) > maxListed {
			break
		}
	}
	n := 0
	for r := range c.GatewaysOn(network) {
		list = append(list, r)
		if n++; n > maxListed {
			break
		}
	}
	return inOrder(list)
}

// inOrder sorts routers, each once.
func inOrder(list []*Router) []*Router {
	slices.SortFunc(list, func(a, b *Router) int {
		switch {
		case a == b:
			return 0
		case before(a, b):
			return -1
		}
		return 1
	})
	return slices.Compact(list)
}

// A target is one fixed address that a floating IP maps to.
type target struct {
	at    where
	field string
	ip    netip.Addr
}

// targets lists a floating IP's fixed addresses of its own family, and reports others if told to.
func (c *checker) targets(f *FloatingIP, report bool) []target {
	var list []target
	add := func(t target) {
		switch {
		case !t.ip.IsValid():
		case f.Address.IsValid() && t.ip.Is4() != f.Address.Is4():
			if report {
				c.fault(t.at, t.field, Invalid, "fixed_ip %v is %s, but %v is %s", t.ip, family(t.ip), f.Address,
					family(f.Address))
			}
		default:
			list = append(list, t)
		}
	}
	add(target{at(f), "fixed_ip", f.FixedIP})
	for p := range c.ForwardingsOf(f.ID) {
		w := at(p)
		w.instead = f
		add(target{w, "fixed_ip", p.FixedIP})
	}
	return list
}

// leads says whether a router leads from a network to all targets.
func (c *checker) leads(r *Router, network ID, targets []target) bool {
	if r.Gateway == nil || r.Gateway.Network != network {
		return false
	}
	for _, t := range targets {
		if _, ok := c.tenantLink(r, t.ip); !ok {
			return false
		}
	}
	return true
}

// leading lists the routers that lead from a network to all targets: as many as a message lists, and one more.
func (c *checker) leading(network ID, targets []target) []*Router {
	best := targets[0].ip
	if len(targets) > 1 {
		least := maxCounted
		for _, t := range targets {
			n := 0
			for range c.portsTowards(network, t.ip) {
				if n++; n >= least {
					break
				}
			}
			if n < least {
				best, least = t.ip, n
			}
		}
	}
	var list []*Router
	for p := range c.portsTowards(network, best) {
		if r := c.Router(ID(p.DeviceID)); r != nil && c.leads(r, network, targets) {
			list = append(list, r)
		}
		if len(list) > maxListed {
			break
		}
	}
	return inOrder(list)
}

// maxCounted bounds the search for the target that the fewest routers lead to.
const maxCounted = 256

// portsTowards gives the interfaces of routers with their gateway on a network whose prefix is around an address.
func (c *checker) portsTowards(network ID, a netip.Addr) iter.Seq[*Port] {
	return func(yield func(*Port) bool) {
		for n := range c.around(claimBeyond, network, a) {
			for id := range c.claimants(n) {
				if !yield(c.Port(id)) {
					return
				}
			}
		}
	}
}

func (c *checker) gatewayOnText(network ID) string {
	return "have a gateway on network " + c.networkName(network)
}

// wanted says what the router of a floating IP has to do.
func (c *checker) wanted(f *FloatingIP, targets []target) string {
	var ips []string
	seen := map[netip.Addr]bool{}
	for _, t := range targets {
		if !seen[t.ip] {
			ips = append(ips, t.ip.String())
		}
		seen[t.ip] = true
	}
	return "reach " + strings.Join(ips, ", ") + " and " + c.gatewayOnText(f.Network)
}

// findRouters finds the routers of load balancers and floating IPs that have none, or one that was chosen and
// no longer does.
func (c *checker) findRouters() {
	for _, x := range c.inTurn(KindLoadBalancer) {
		b := c.LoadBalancer(x.id)
		if !c.mayChoose(b.ID, b.Router, true) || !b.Address.IsValid() {
			continue
		}
		if r := c.Router(b.Router); r != nil && c.serves(r, b.Network, b.Address) {
			continue
		}
		router := only(c.serving(b.Network, b.Address))
		if router != b.Router {
			b = copyOf(b)
			b.Router = router
			c.change(b)
			c.followServed(b)
		}
	}
	for _, x := range c.inTurn(KindFloatingIP) {
		f := c.FloatingIP(x.id)
		if router := c.routerOf(f); router != f.Router {
			f = copyOf(f)
			f.Router = router
			c.change(f)
		}
	}
}

// mayChoose says whether Check may choose an object's router. It was left open, or it is none; a load balancer that has
// not been changed in this Draft may lose its router, and get another one. A Put that changes nothing is no change.
func (c *checker) mayChoose(id, router ID, mayLose bool) bool {
	if e := c.edits[id]; e != nil && e.put != nil && (e.open&openRouter != 0 || !e.same) {
		return e.open&openRouter != 0
	}
	return router == "" || mayLose
}

// only is the one router that was found, if it is one.
func only(list []*Router) ID {
	if len(list) == 1 {
		return list[0].ID
	}
	return ""
}

// routerOf finds the router of a floating IP. A floating IP that maps nothing has only a router that it names.
func (c *checker) routerOf(f *FloatingIP) ID {
	targets := c.targets(f, false)
	if len(targets) == 0 {
		was := c.base.FloatingIP(f.ID)
		if f.FixedIP.IsValid() || c.count(forwardingOf, f.ID) > 0 {
			return f.Router
		}
		if c.isPut(f.ID) {
			if c.mayChoose(f.ID, f.Router, false) {
				return ""
			}
			return f.Router
		}
		if was != nil && (was.FixedIP.IsValid() || c.base.count(forwardingOf, f.ID) > 0) {
			return ""
		}
		return f.Router
	}
	n := c.Network(f.Network)
	if !c.mayChoose(f.ID, f.Router, false) || n == nil || !n.External {
		return f.Router
	}
	if r := c.Router(f.Router); r != nil && c.leads(r, f.Network, targets) {
		return f.Router
	}
	return only(c.leading(f.Network, targets))
}

// checkRouterIs reports a router that was named and is not what the object needs.
func (c *checker) checkRouterIs(w where, router ID, want func() string, ok func(*Router) bool) *Router {
	r, known := refer[*Router](c, w, "router", KindRouter, router)
	if known && !ok(r) {
		code := Unreached
		if c.rank[w.o.About().ID] == 0 {
			code = InUse // another object has changed, and this one keeps it from doing so
		}
		if !c.isDoubtful(r) {
			c.fault(w, "router", code, "router %s does not %s", c.nameOf(router, KindRouter), want())
		}
		return nil
	}
	return r
}

// noRouter reports that there is no router to choose, or more than one.
func (c *checker) noRouter(w where, field, want string, found []*Router, warn bool) {
	switch {
	case len(found) > 1:
		c.fault(w, field, Unreached, "routers %s all %s; say which with router = %s",
			listed(found, func(r *Router) string { return strconv.Quote(clip(r.Name, maxName)) }), want,
			strconv.Quote(clip(found[0].Name, maxName)))
	case len(found) == 1 || c.anyDoubtful():
	case warn:
		c.warn(w, field, Unreached, "there is no router to %s", want)
	default:
		c.fault(w, field, Unreached, "there is no router to %s", want)
	}
}

// anyDoubtful says whether there may be a router, or a link of one, that is not known.
func (c *checker) anyDoubtful() bool {
	v, ok := c.doubtful[""]
	if !ok {
		v = c.Unsure != nil && c.Unsure(Ref{Kind: KindRouter})
		for r := range c.Routers() {
			if v = v || c.isDoubtful(r); v {
				break
			}
		}
		keep(&c.doubtful, "", v)
	}
	return v
}
