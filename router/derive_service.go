package router

import (
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dhcp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/service"
)

// serviceOf says what the local services of a network do, nil if nothing is served there. Ports are looked up in the
// State that is served when they ask, so that a change of one of ten thousand ports costs nothing here. Without DHCP,
// only a router's addresses, and by way of it the metadata's, lead to the services.
func serviceOf(s *config.State, n *config.Network, u *upstreams) *service.Config {
	d := dhcpOf(s, n, u.e.State)
	if d == nil && !hasGatewayRouter(s, n) {
		return nil
	}
	c := &service.Config{
		DHCP: d, Routers: map[packet.Addr]packet.MAC{}, MTU: n.MTU,
		Names: &nameServer{network: n.ID, upstreams: u}, Metadata: u.metadata(n.ID),
	}
	if d != nil {
		c.Addrs = []packet.Addr{service.Metadata}
	}
	if p := s.DHCPPort(n.ID); p != nil {
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				c.Addrs = append(c.Addrs, packet.AddrFrom(f.Address))
			}
		}
	}
	for p := range s.InterfacesOn(n.ID) {
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				c.Routers[packet.AddrFrom(f.Address)] = packet.MAC(p.MAC)
			}
		}
	}
	return c
}

// hasGatewayRouter says whether a router has the gateway's address of an IPv4 subnet of a tenant network.
func hasGatewayRouter(s *config.State, n *config.Network) bool {
	return gatewayRouter(s, n) != nil
}

// gatewayRouter is the interface of the first router that has the gateway's address of an IPv4 subnet of a tenant
// network, nil if there is none.
func gatewayRouter(s *config.State, n *config.Network) *config.Port {
	if n.External {
		return nil
	}
	for sub := range s.SubnetsOf(n.ID) {
		if p := s.RouterAt(sub); p != nil && sub.Gateway.Is4() {
			return p
		}
	}
	return nil
}

// dhcpOf is what DHCP says on a network, nil if it is not served.
func dhcpOf(s *config.State, n *config.Network, now func() *config.State) *dhcp.Config {
	c := &dhcp.Config{
		MTU: n.MTU,
		// Of a network that an API made, only ports have addresses, as in Neutron.
		Unknown: n.Source.Request == "",
		Port: func(mac dhcp.MAC, device string) *dhcp.Port {
			return clientOf(now(), n.ID, config.MAC(mac), device)
		},
		Taken: func(a netip.Addr) bool {
			s := now()
			return s.Owner(n.ID, a) != nil || s.IsGatewayAddress(n.ID, a)
		},
		TakenIn: func(first, last netip.Addr) int { return now().CountAddresses(n.ID, first, last) },
	}
	server := map[config.ID]netip.Addr{}
	if p := s.DHCPPort(n.ID); p != nil {
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				server[f.Subnet] = f.Address
				c.Servers = append(c.Servers, f.Address)
			}
		}
	}
	for sub := range s.SubnetsOf(n.ID) {
		if !sub.ServesDHCP() {
			continue
		}
		at := server[sub.ID]
		if s.RouterAt(sub) != nil {
			at = sub.Gateway
		}
		if !at.IsValid() {
			continue
		}
		c.Servers = append(c.Servers, at)
		c.Subnets = append(c.Subnets, subnetOf(n, sub, at))
	}
	if len(c.Subnets) == 0 {
		return nil
	}
	return c
}

// subnetOf is what DHCP says of a subnet. server is the server's address there.
func subnetOf(n *config.Network, s *config.Subnet, server netip.Addr) dhcp.Subnet {
	d := dhcp.Subnet{
		CIDR: s.CIDR, Server: server, Gateway: s.Gateway, LeaseTime: s.LeaseTime, Domain: domainOf(n),
	}
	for _, r := range s.AllocationPools {
		d.Pools = append(d.Pools, dhcp.Range{First: r.First, Last: r.Last})
	}
	if s.Extra != nil {
		d.Search = s.Extra.DNSSearch
	}
	for _, a := range s.DNSNameservers {
		if a.Is4() {
			d.DNS = append(d.DNS, a)
		}
	}
	if len(s.DNSNameservers) == 0 {
		d.DNS = append(d.DNS, server)
	}
	if server != s.Gateway { // no router leads there, so the server's own address does (RFC 3442)
		d.Routes = append(d.Routes, dhcp.Route{
			Destination: netip.PrefixFrom(service.Metadata.Netip(), 32), NextHop: server,
		})
	}
	for _, r := range s.HostRoutes {
		if r.NextHop.Is4() {
			d.Routes = append(d.Routes, dhcp.Route{Destination: r.Destination, NextHop: r.NextHop})
		}
	}
	return d
}

// clientOf finds the port that asks on a network: by its MAC address, or else by the device that it is tied to. A port
// that is tied to another device is not there.
func clientOf(s *config.State, network config.ID, mac config.MAC, device string) *dhcp.Port {
	p := s.MACOwner(network, mac)
	if p == nil && device != "" {
		p = s.PortAt(network, device)
	}
	if p == nil || p.Device != "" && device != "" && p.Device != device || isServicePort(p) {
		return nil
	}
	d := &dhcp.Port{Hostname: hostnameOf(p), Options: optionsOf(p.Extra)}
	for _, f := range p.FixedIPs {
		if f.Address.Is4() {
			d.Addresses = append(d.Addresses, f.Address)
		}
	}
	return d
}

// optionsOf are the options of DHCPv4 of a port, which config has checked.
func optionsOf(x *config.PortExtra) (all []dhcp.Option) {
	if x == nil {
		return nil
	}
	for _, o := range x.DHCPOptions {
		if o.IPVersion == 6 {
			continue
		}
		if code, value, err := o.Encode(); err == nil {
			all = append(all, dhcp.Option{Code: code, Value: value})
		}
	}
	return all
}

// madeName begins the names that are made of addresses.
const madeName = "host-"

// hostnameOf is the name that a port is told: its own for DNS, or that of its host, or else its name where that can be
// one, or else one that is made of its address, as Neutron does.
func hostnameOf(p *config.Port) string {
	switch {
	case p.Extra != nil && p.Extra.DNSName != "":
		return p.Extra.DNSName
	case p.Extra != nil && p.Extra.Hostname != "":
		return p.Extra.Hostname
	case dhcp.IsHostname(p.Name):
		return p.Name
	}
	for _, f := range p.FixedIPs {
		if f.Address.Is4() {
			return madeName + strings.ReplaceAll(f.Address.String(), ".", "-")
		}
	}
	return ""
}
