package router

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// This file turns the ports of a State into the rules by which a network judges the frames of its devices. A change
// of one port costs the size of the change, however many ports a network has.

// A portTouch says which parts of a network's port rules a change of the State touches. An entry may be there several
// times.
type portTouch struct {
	ports []config.ID
	addrs []netip.Addr // that the engine itself may have, or have had
}

// rulesOf is the portTouch of a network.
func (c *touched) rulesOf(network config.ID) *portTouch {
	t := c.rules[network]
	if t == nil {
		t = &portTouch{}
		c.rules[network] = t
	}
	return t
}

// touchRules notes which port rules depend on an object.
func (c *touched) touchRules(o config.Object) {
	switch o := o.(type) {
	case *config.Network:
		c.rulesOf(o.ID)
	case *config.Subnet:
		c.rulesOf(o.Network)
	case *config.Port:
		t := c.rulesOf(o.Network)
		t.ports = append(t.ports, o.ID)
		for _, f := range o.FixedIPs {
			t.addrs = append(t.addrs, f.Address)
		}
	case *config.FloatingIP:
		t := c.rulesOf(o.Network)
		t.addrs = append(t.addrs, o.Address)
	case *config.LoadBalancer:
		t := c.rulesOf(o.Network)
		t.addrs = append(t.addrs, o.Address)
	}
}

// everyRule touches all that the rules of a network depend on.
func (c *touched) everyRule(network config.ID) {
	for p := range c.to.PortsOf(network) {
		c.touchRules(p)
	}
	for f := range c.to.FloatingIPsOn(network) {
		c.touchRules(f)
	}
	for b := range c.to.LoadBalancersOn(network) {
		c.touchRules(b)
	}
}

// portParams says what a change means for the rules of a network that is there afterwards. ties says whether ports
// are tied to their devices: where no devices are opened, hosts come in some other way.
func (c *touched) portParams(n *config.Network, ties bool) *wire.PortParams {
	was := c.from.Network(n.ID)
	p := &wire.PortParams{
		Anew: was == nil || was.PortSecurity != n.PortSecurity, Strict: n.PortSecurity && !n.External,
		UnknownDHCP: leasesToUnknown(c.to, n),
	}
	if p.Anew {
		c.everyRule(n.ID)
	}
	t := c.rulesOf(n.ID)
	for _, id := range sorted(t.ports) {
		if o := c.from.Port(id); o != nil && o.Network == n.ID && !p.Anew && isBound(o) {
			p.Were = append(p.Were, boundPort(was, o, ties))
		}
		if o := c.to.Port(id); o != nil && o.Network == n.ID && isBound(o) {
			p.Are = append(p.Are, boundPort(n, o, ties))
		}
	}
	slices.SortFunc(t.addrs, netip.Addr.Compare)
	for _, a := range slices.Compact(t.addrs) {
		if a.Is4() {
			p.Own = append(p.Own, wire.OwnAddr{Addr: packet.AddrFrom(a), Gone: !isEngines(c.to.Owner(n.ID, a))})
		}
	}
	return p
}

// leasesToUnknown reports whether a network gives addresses by DHCP to hosts that have no port: that of a file does,
// that of an API does not, as in Neutron.
func leasesToUnknown(s *config.State, n *config.Network) bool {
	if n.Source.Request != "" {
		return false
	}
	for sub := range s.SubnetsOf(n.ID) {
		if sub.DHCP && sub.CIDR.Addr().Is4() {
			return true
		}
	}
	return false
}

// isBound reports whether a port is a host's. The ports of routers and services are the engine's own.
func isBound(p *config.Port) bool { return !strings.HasPrefix(p.DeviceOwner, "network:") }

// isEngines reports whether an address of an object is the engine's own.
func isEngines(o config.Object) bool {
	switch o := o.(type) {
	case *config.Port:
		return !isBound(o)
	case *config.FloatingIP, *config.LoadBalancer, *config.Router:
		return true
	}
	return false
}

// boundPort is a port of a host, as its network's rules have it.
func boundPort(n *config.Network, p *config.Port, ties bool) *wire.BoundPort {
	b := &wire.BoundPort{ID: wire.ID(p.ID), Name: p.Name, MAC: packet.MAC(p.MAC), Secured: n.PortSecurity,
		Down: !p.AdminStateUp}
	if p.PortSecurity != nil {
		b.Secured = *p.PortSecurity
	}
	if ties {
		b.Device = p.Device
	}
	for _, f := range p.FixedIPs {
		if f.Address.IsValid() {
			b.Fixed = append(b.Fixed, f.Address)
		}
	}
	for _, pair := range p.AllowedAddressPairs {
		b.Pairs = append(b.Pairs, wire.AllowedPair{IP: pair.IP, MAC: packet.MAC(pair.MAC)})
	}
	return b
}

// A portRulesChange is the port rules that a network obeys after a change.
type portRulesChange struct {
	network *wire.Network
	rules   *wire.PortRules
}

// planRules works out the port rules of the networks that the change touches.
func planRules(p *Prepared) {
	for _, o := range inOrder(p.touched.rules, p.to.Network) {
		n := p.networkOf(wire.ID(o.ID))
		params := p.touched.portParams(o, p.e.opt.Open != nil)
		p.rules = append(p.rules, portRulesChange{n, n.Rules.With(params)})
	}
}

// obeyRules has the networks obey their port rules. The networks of a worker change in one of its turns: each takes
// as long as it takes to write a pointer.
func obeyRules(p *Prepared) {
	for _, w := range p.e.workers {
		var here []portRulesChange
		for _, c := range p.rules {
			if c.network.Home == w.Worker {
				here = append(here, c)
			}
		}
		if len(here) == 0 {
			continue
		}
		_ = w.Call(func() { // after Close there is nothing to change
			for _, c := range here {
				c.network.Obey(c.rules)
			}
		})
	}
}
