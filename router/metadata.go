package router

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/metadata"
)

// instanceAt is the instance whose port has an address of a network.
func instanceAt(s *config.State, network config.ID, a netip.Addr) (metadata.Instance, bool) {
	n := s.Network(network)
	p, ok := s.Owner(network, a).(*config.Port)
	if n == nil || !ok || isServicePort(p) {
		return metadata.Instance{}, false
	}
	in := metadata.Instance{ID: p.DeviceID, Name: p.Name, Hostname: hostnameOf(p) + "." + domainOf(n), Address: a}
	if x := p.Extra; x != nil { // of the port that asks, and of no other one of the instance
		if x.Hostname != "" {
			in.Hostname = x.Hostname + "." + domainOf(n)
		}
		for k, line := range x.SSHKeys {
			in.Keys = append(in.Keys, metadata.Key{Name: fmt.Sprintf("key-%d", k+1), Data: line})
		}
		in.UserData = x.UserDataOf()
	}
	if in.ID == "" {
		in.ID = string(p.ID) // a port that no server is told of is an instance of its own
	}
	if in.Name == "" {
		in.Name = hostnameOf(p)
	}
	for i := range s.InterfacesOn(network) {
		if f := s.FloatingIPTo(config.ID(i.DeviceID), a); f != nil {
			in.PublicAddress = f.Address
		}
	}
	for _, g := range p.SecurityGroups {
		if o := s.SecurityGroup(g); o != nil {
			in.SecurityGroups = append(in.SecurityGroups, o.Name)
		}
	}
	if p.DeviceID == "" {
		in.NICs = append(in.NICs, nicOf(s, p))
		return in, true
	}
	for other := range s.PortsOfDevice(p.DeviceID) {
		if !isServicePort(other) {
			in.NICs = append(in.NICs, nicOf(s, other))
		}
	}
	return in, true
}

// nicOf is a port as an instance is told of it.
func nicOf(s *config.State, p *config.Port) metadata.NIC {
	nic := metadata.NIC{ID: string(p.ID), MAC: p.MAC.String()}
	if n := s.Network(p.Network); n != nil {
		nic.MTU = n.MTU
	}
	for _, f := range p.FixedIPs {
		sub := s.Subnet(f.Subnet)
		if sub == nil {
			continue
		}
		a := metadata.Address{Network: string(p.Network), Prefix: netip.PrefixFrom(f.Address, sub.CIDR.Bits()),
			Gateway: sub.Gateway, DHCP: sub.DHCP}
		for _, r := range sub.HostRoutes {
			a.Routes = append(a.Routes, metadata.Route{Destination: r.Destination, Gateway: r.NextHop})
		}
		nic.Addresses = append(nic.Addresses, a)
		nic.Servers = append(nic.Servers, sub.DNSNameservers...)
	}
	return nic
}

// isServicePort says whether a port is of a router or of a server of ours, and no instance's.
func isServicePort(p *config.Port) bool { return strings.HasPrefix(p.DeviceOwner, "network:") }
