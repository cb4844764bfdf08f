package file

import (
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// A portKey is how an instance finds its port.
type portKey struct{ network, name string }

// checkPorts checks the static ports and claims their addresses.
func (c *checker) checkPorts() {
	names := map[string]owner{}
	for i := range c.Ports {
		p := &c.Ports[i]
		s := c.root.item("port", "port", p.Name, i, len(c.Ports), p.Line)
		if s.checkName(p.Name, names) {
			c.ports[portKey{p.Network, p.Name}] = p
		}
		g, ok := c.network(s, p.Network)
		s.checkMAC(p.MAC)
		s.checkPairs(p)
		if !s.require("fixed_ip", p.FixedIP.IsValid()) || !ok {
			continue
		}
		if _, ok := g.checkHost(s, "fixed_ip", p.FixedIP); ok {
			g.claim(s, "fixed_ip", p.FixedIP, s.owner())
		}
		g.claimMAC(s, p.MAC, s.owner())
		g.checkPortDevice(s, p)
	}
}

// checkMAC checks an address set by hand; the parser lets no other kind in.
func (s scope) checkMAC(m MAC) {
	if m[0]&1 != 0 {
		s.fault("mac", "mac %v is a group's, not a host's: the first byte is odd", m)
	}
}

// checkPairs checks the addresses a port may use besides its own. A pair
// without a MAC has the port's.
func (s scope) checkPairs(p *Port) {
	for i := range p.AllowedAddressPairs {
		pair := &p.AllowedAddressPairs[i]
		key := indexKey("allowed_address_pairs", i)
		at := s.enter(key, s.subject+": allowed address pair "+label(prefixText(pair.IP), i), s.lineOf(key))
		at.checkPrefix("ip", &pair.IP)
		at.checkMAC(pair.MAC)
		fallback(at, "mac", &pair.MAC, p.MAC)
	}
}

// checkPortDevice checks that the device of a port is one of the network's.
func (g *segment) checkPortDevice(s scope, p *Port) {
	if p.Device == "" && !s.given("device") || g.at.spoiled("devices") {
		return
	}
	if g.devices == nil {
		g.devices = map[string]bool{}
		for _, d := range g.Devices {
			g.devices[d.String()] = true
			g.badDevice = g.badDevice || deviceProblem(d) != nil
		}
	}
	if g.devices[p.Device] || g.badDevice {
		return // a device that is wrong may be the one that is meant
	}
	var known []string
	if mayCompare(s.r, p.Device, g.devices) {
		for _, d := range g.Devices {
			known = append(known, d.String())
		}
	}
	text := config.UnknownWord("device", p.Device, known)
	if !strings.HasSuffix(text, "?") {
		text += "."
	}
	s.fault("device", "%s It must be one of the devices of network %q", text, g.Name)
}

// checkFloatingIPs checks the floating IPs and claims the addresses given.
func (c *checker) checkFloatingIPs() {
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		s := c.root.item("floating_ip", "floating IP", addrText(f.Address), i, len(c.FloatingIPs), f.Line)
		c.floating = append(c.floating, s)
		g, ok := c.externalNetwork(s, f.Network, "a floating IP")
		if f.FixedIP.IsValid() && len(f.PortForwarding) > 0 {
			s.fault("port_forwarding", "fixed_ip and port_forwarding exclude each other: "+
				"all of the address is mapped, or some ports are")
		}
		s.checkForwards(f)
		if !ok || !f.Address.IsValid() {
			continue
		}
		if _, ok := g.checkHost(s, "address", f.Address); !ok || !s.checkForwarded("address", f.Address) {
			continue
		}
		if g.gateways[f.Address] {
			s.fault("address", "address %v is the gateway of its subnet", f.Address)
			continue
		}
		g.claim(s, "address", f.Address, s.owner())
	}
}

// checkForwards checks the ports of one floating IP. TCP and UDP have the same
// port numbers independently.
func (s scope) checkForwards(f *FloatingIP) {
	type external struct {
		protocol Protocol
		port     uint16
	}
	seen := map[external]owner{}
	for i := range f.PortForwarding {
		p := &f.PortForwarding[i]
		at := s.item("port_forwarding", "port forwarding", "", i, len(f.PortForwarding), p.Line)
		oneOf(at, "protocol", &p.Protocol, "", TCP, UDP)
		at.require("external_port", p.ExternalPort != 0)
		at.require("port", p.Port != 0)
		at.require("fixed_ip", p.FixedIP.IsValid())
		id := external{p.Protocol, p.ExternalPort}
		if first, ok := seen[id]; ok {
			at.fault("external_port", "%s port %d is already taken by %v", p.Protocol, p.ExternalPort, first)
		} else if p.ExternalPort != 0 {
			seen[id] = at.owner()
		}
	}
}

// chooseFloatingIPs chooses the addresses that are not given.
func (c *checker) chooseFloatingIPs() {
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		s := c.floating[i]
		g, ok := c.segments[f.Network]
		if !ok || !g.External || f.Address.IsValid() || s.spoiled("address") {
			continue
		}
		like := f.FixedIP
		if len(f.PortForwarding) > 0 {
			like = f.PortForwarding[0].FixedIP
		}
		if f.Address, ok = g.choose(s, "address", like, s.owner()); ok {
			s.checkForwarded("address", f.Address)
		}
	}
}

// findFloatingRouters finds the router of every floating IP that has a target,
// and sees to it that a fixed address has one floating IP only.
func (c *checker) findFloatingRouters() {
	type fixed struct {
		router string
		ip     netip.Addr
	}
	taken := map[fixed]owner{}
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		s := c.floating[i]
		g, ok := c.segments[f.Network]
		if !ok || !g.External || f.FixedIP.IsValid() && len(f.PortForwarding) > 0 {
			c.checkRouterName(s, f.Router)
			continue
		}
		targets := c.floatingTargets(s, f)
		if targets == nil {
			c.checkIdleRouter(s, f)
			continue
		}
		f.Router = c.findTargetsRouter(s, f, targets)
		if f.Router == "" || !f.FixedIP.IsValid() {
			continue
		}
		id := fixed{f.Router, f.FixedIP}
		if first, ok := taken[id]; ok {
			s.fault("fixed_ip", "fixed_ip %v already has %v", f.FixedIP, first)
		} else {
			taken[id] = s.owner()
		}
	}
}

// A target is one fixed address that a floating IP maps to.
type target struct {
	key string
	ip  netip.Addr
}

// floatingTargets lists a floating IP's fixed addresses of its own family.
func (c *checker) floatingTargets(s scope, f *FloatingIP) []target {
	var targets []target
	add := func(key string, a netip.Addr) {
		switch {
		case !a.IsValid():
		case f.Address.IsValid() && a.Is4() != f.Address.Is4():
			s.fault(key, "fixed_ip %v is %s, but %v is %s", a, family(a), f.Address, family(f.Address))
		default:
			targets = append(targets, target{key: key, ip: a})
		}
	}
	add("fixed_ip", f.FixedIP)
	for i, p := range f.PortForwarding {
		add(indexKey("port_forwarding", i)+".fixed_ip", p.FixedIP)
	}
	return targets
}

// checkIdleRouter checks the router of a floating IP that maps nothing yet.
func (c *checker) checkIdleRouter(s scope, f *FloatingIP) {
	if f.Router != "" || s.given("router") {
		c.findRouter(s, "router", f.Router, gatewayOn(f.Network), c.reach.gateways[f.Network], func(d *domain) bool {
			return d.Gateway != nil && d.Gateway.Network == f.Network
		})
	}
}

// findTargetsRouter finds the router that reaches all targets from the floating
// IP's network.
func (c *checker) findTargetsRouter(s scope, f *FloatingIP, targets []target) string {
	key := targets[0].key
	if len(targets) > 1 {
		key = "port_forwarding"
	}
	var ips []string
	seen := map[netip.Addr]bool{}
	for _, t := range targets {
		if !seen[t.ip] {
			ips = append(ips, t.ip.String())
		}
		seen[t.ip] = true
	}
	want := "reach " + strings.Join(ips, ", ") + " and " + gatewayOn(f.Network)
	name := c.findRouter(s, key, f.Router, want, c.reach.behind(f.Network, targets), func(d *domain) bool {
		return d.Gateway != nil && d.Gateway.Network == f.Network && d.reachesAll(targets)
	})
	if d, ok := c.routers[name]; ok {
		d.checkTargets(s, targets)
	}
	return name
}

func gatewayOn(network string) string { return "have a gateway on network \"" + network + "\"" }

// tenantLink finds the tenant network's prefix that an address is in.
func (d *domain) tenantLink(a netip.Addr) (link, bool) {
	return d.linkOf(a, func(l *link) bool { return !l.external })
}

func (d *domain) reachesAll(targets []target) bool {
	for _, t := range targets {
		if _, ok := d.tenantLink(t.ip); !ok {
			return false
		}
	}
	return true
}

// checkTargets checks that targets are hosts, and not the router itself.
func (d *domain) checkTargets(s scope, targets []target) {
	for _, t := range targets {
		l, ok := d.tenantLink(t.ip)
		switch {
		case !ok:
		case t.ip == l.address:
			s.fault(t.key, "fixed_ip %v is the router's own address on network %q", t.ip, l.network)
		default:
			if why := hostProblem(t.ip, l.prefix); why != "" {
				s.fault(t.key, "fixed_ip %v %s", t.ip, why)
				continue
			}
			s.checkForwarded(t.key, t.ip)
		}
	}
}
