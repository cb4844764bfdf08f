package config

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// DefaultDNSDomain is the domain of the names of a network's ports, unless the network says another one.
const DefaultDNSDomain = "openstacklocal"

// This file makes the ports of DHCP servers. A server has the gateway's address where a router has an interface with
// it. A network with another subnet that DHCP is served on has a port for the server, as in Neutron.

// dhcpPortID is the ID of the port that is made for the DHCP server of a network.
func dhcpPortID(network ID) ID { return NameID(KindPort, "dhcp", string(network)) }

// DHCPPort finds the port of a network's DHCP server, nil if there is none. A port that a user has made with the owner
// OwnerDHCP is none.
func (c *content) DHCPPort(network ID) *Port {
	if p := c.Port(dhcpPortID(network)); p != nil && p.isDHCPServer() {
		return p
	}
	return nil
}

// isDHCPServer says whether the port is that of its network's DHCP server.
func (p *Port) isDHCPServer() bool {
	return p.DeviceOwner == OwnerDHCP && p.ID == dhcpPortID(p.Network)
}

// ServesDHCP says whether DHCPv4 is served on a subnet.
func (s *Subnet) ServesDHCP() bool { return s.DHCP && s.isOf(32) }

// PortsNamed gives the ports of a network that have a name for DNS: the one that they are given for it, or else that of
// their host, or else their own where that can be one. name is in lower case.
func (c *content) PortsNamed(network ID, name string) iter.Seq[*Port] {
	return func(yield func(*Port) bool) {
		for id := range c.claimants(claim{what: claimName, scope: string(network) + name}) {
			if p := c.Port(id); p != nil && !yield(p) {
				return
			}
		}
	}
}

// hostName is the port's name for DNS in lower case, empty if it has none.
func (p *Port) hostName() string {
	name := p.Name
	if x := p.Extra; x != nil {
		name = cmp.Or(x.DNSName, x.Hostname, p.Name)
	}
	const most = 63 // bytes of a label (RFC 1035, 2.3.4)
	if name == "" || len(name) > most || strings.HasPrefix(p.DeviceOwner, "network:") ||
		strings.ContainsFunc(name, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
		return ""
	}
	return strings.ToLower(name)
}

// IsGatewayAddress says whether an address is the gateway of a subnet of a network, also if no object has it.
func (c *content) IsGatewayAddress(network ID, a netip.Addr) bool {
	return c.claimant(claim{what: claimGateway, scope: string(network), addr: a}) != ""
}

// RouterAt finds the interface with which a router has the gateway's address of a subnet, nil if no router has.
func (c *content) RouterAt(s *Subnet) *Port {
	if !s.hasGateway() {
		return nil
	}
	for id := range c.claimants(claim{what: claimAddress, scope: string(s.Network), addr: s.Gateway}) {
		if p := c.Port(id); p != nil && p.DeviceOwner == OwnerInterface {
			return p
		}
	}
	return nil
}

// makeDHCPPorts gives each network that a change concerns the port of its DHCP server, if it needs one. It comes when
// all other addresses have been chosen: the address of no instance depends on the server.
func (c *checker) makeDHCPPorts() {
	done := map[ID]bool{}
	for _, r := range slices.Clone(c.order) {
		for _, o := range []Object{c.base.find(r.ID), c.find(r.ID)} {
			var network ID
			switch o := o.(type) {
			case *Network:
				network = o.ID
			case *Subnet:
				network = o.Network
			case *Port:
				if o.DeviceOwner == OwnerInterface || o.DeviceOwner == OwnerDHCP {
					network = o.Network
				}
			}
			if network != "" && !done[network] {
				done[network] = true
				c.makeDHCPPort(network)
			}
		}
	}
}

// makeDHCPPort makes, changes or takes away the port of a network's DHCP server. The port keeps an address as long as
// DHCP is served on the address's subnet: clients renew their leases there, also when a router has come meanwhile.
func (c *checker) makeDHCPPort(network ID) {
	p := c.DHCPPort(network)
	fixed := c.dhcpAddresses(network, p)
	switch {
	case len(fixed) == 0 && p == nil:
	case len(fixed) == 0:
		c.edit(p)
		c.remove(p.ID)
	case p == nil:
		m := Meta{ID: dhcpPortID(network), Position: c.lastPosition(KindPort) + 1,
			Source: Source{Request: c.Subnet(fixed[0].Subnet).Source.Request}}
		if c.find(m.ID) != nil {
			return // it is another object's, whose user knows why
		}
		p = &Port{Meta: m, Network: network, AdminStateUp: true, FixedIPs: fixed, DeviceID: "dhcp-" + string(network),
			DeviceOwner: OwnerDHCP}
		c.change(p)
		c.comesLast(p.ID)
	case !slices.Equal(fixed, p.FixedIPs):
		isPut := c.isPut(p.ID)
		p = copyOf(p)
		p.FixedIPs = fixed
		c.change(p)
		if !isPut {
			c.comesLast(p.ID)
		}
	}
}

// dhcpAddresses are the addresses that a network's DHCP server has: those that its port, p, has and may keep, and new
// ones in subnets whose gateway's address no router has.
func (c *checker) dhcpAddresses(network ID, p *Port) []FixedIP {
	var fixed []FixedIP
	has := map[ID]bool{}
	if p != nil && c.Network(network) != nil {
		for _, f := range p.FixedIPs {
			s := c.Subnet(f.Subnet)
			switch {
			case f.Subnet == "" && f.Address.IsValid(): // its check says that it is outside
			case s == nil, s.Network != network, !s.ServesDHCP(), f.Address == s.Gateway,
				HostProblem(f.Address, s.CIDR) != "":
				continue
			}
			fixed = append(fixed, f)
			has[f.Subnet] = true
		}
	}
	if c.Network(network) == nil {
		return nil
	}
	for s := range c.SubnetsOf(network) {
		if has[s.ID] || !s.ServesDHCP() || c.RouterAt(s) != nil || c.isShaky(network) {
			continue
		}
		if a, ok := c.lowestFree(s); ok {
			fixed = append(fixed, FixedIP{Subnet: s.ID, Address: a})
		} else {
			c.warn(at(s), "dhcp", Exhausted,
				"no address of the allocation pools is free for a DHCP server, so nothing answers until a router has "+
					"the gateway's address")
		}
	}
	return fixed
}
