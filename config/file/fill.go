package file

import (
	"cmp"
	"net/netip"

	"github.com/taprouter/taprouter/config"
)

// fill writes into a topology what the State that was made of it has chosen.
func (t *Topology) fill(s *config.State) {
	names := map[config.ID]string{}
	for r := range s.Routers() {
		names[r.ID] = r.Name
	}
	for i := range t.Networks {
		t.Networks[i].take(s)
	}
	fillNAT(&t.NAT, s.Settings().NAT)
	t.DNS.DNS, t.Metadata.Metadata = s.Settings().DNS, s.Settings().Metadata
	networks := map[string]config.ID{}
	for i := range t.Networks {
		setFirst(networks, t.Networks[i].Name, t.Networks[i].ID)
	}
	for i := range t.Networks {
		setFirst(networks, string(t.Networks[i].ID), t.Networks[i].ID)
	}
	for i := range t.Routers {
		if t.Routers[i].NAT == nil {
			t.Routers[i].NAT = &NAT{Line: t.NAT.Line}
		}
		t.Routers[i].take(s, networks)
	}
	for i := range t.Ports {
		p := &t.Ports[i]
		for k := range p.AllowedAddressPairs {
			p.AllowedAddressPairs[k].MAC = s.Port(p.ID).AllowedAddressPairs[k].MAC
		}
	}
	for i := range t.FloatingIPs {
		f := &t.FloatingIPs[i]
		o := s.FloatingIP(f.ID)
		f.Address, f.Router = o.Address, cmp.Or(names[o.Router], string(o.Router))
		for k := range f.PortForwarding {
			f.PortForwarding[k].Protocol = s.PortForwarding(f.PortForwarding[k].ID).Protocol
		}
	}
	for i := range t.Pools {
		t.Pools[i].take(s)
	}
	for i := range t.LoadBalancers {
		b := &t.LoadBalancers[i]
		o := s.LoadBalancer(b.ID)
		b.Address, b.Router = o.Address, cmp.Or(names[o.Router], string(o.Router))
	}
	for i := range t.VIPs {
		v := &t.VIPs[i]
		l := s.Listener(v.ID)
		b := s.LoadBalancer(l.LoadBalancer)
		v.Protocol, v.Router = l.Protocol, cmp.Or(names[b.Router], string(b.Router))
		if v.LoadBalancer != "" {
			v.Network, v.Address = cmp.Or(s.Network(b.Network).Name, string(b.Network)), b.Address
		}
	}
	ports := t.portIDs()
	for i := range t.Instances {
		h := &t.Instances[i]
		h.fill(s, s.Port(cmp.Or(ports[portKey{h.Network, h.Name}], h.ID)), networks[h.Network])
	}
}

// portIDs are the IDs of the ports by their networks and names.
func (t *Topology) portIDs() map[portKey]config.ID {
	ports := map[portKey]config.ID{}
	for i := range t.Ports {
		setFirst(ports, portKey{t.Ports[i].Network, t.Ports[i].Name}, t.Ports[i].ID)
	}
	return ports
}

// take takes what a State has chosen for a network.
func (n *Network) take(s *config.State) {
	o := s.Network(n.ID)
	n.MTU, n.Host, n.GRO, n.StormLimit = o.MTU, o.Host, o.GRO, o.StormLimit
	if o.PhysicalNetwork != "" {
		n.Devices, n.filled = append([]Device(nil), s.DevicesOf(n.ID)...), true
	}
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		u := s.Subnet(sub.ID)
		sub.Gateway, sub.LeaseTime, sub.AllocationPools = u.Gateway, u.LeaseTime, u.AllocationPools
	}
}

func (r *Router) take(s *config.State, networks map[string]config.ID) {
	o := s.Router(r.ID)
	r.RPFilter = o.RPFilter
	fillNAT(r.NAT, s.NATOf(r.ID))
	for i := range r.Interfaces {
		r.Interfaces[i].Addresses = nil
	}
	for i := range r.Interfaces {
		iface := &r.Interfaces[i]
		id := networks[iface.Network]
		if iface.Address.IsValid() {
			iface.Addresses = append(iface.Addresses,
				netip.PrefixFrom(iface.Address, s.SubnetAt(id, iface.Address).CIDR.Bits()))
			continue
		}
		for sub := range s.SubnetsOf(id) {
			if sub.Gateway.IsValid() {
				iface.Addresses = append(iface.Addresses, netip.PrefixFrom(sub.Gateway, sub.CIDR.Bits()))
			}
		}
	}
	if gw := r.Gateway; gw != nil {
		gw.Address = s.GatewayPort(r.ID).FixedIPs[0].Address
		sub := s.SubnetAt(o.Gateway.Network, gw.Address)
		gw.Prefix, gw.NextHop = netip.PrefixFrom(gw.Address, sub.CIDR.Bits()), sub.Gateway
	}
}

func (p *Pool) take(s *config.State) {
	o := s.Pool(p.ID)
	p.Protocol, p.Algorithm, p.OnMemberDown, p.OnMemberRemoved = o.Protocol, o.Algorithm, o.OnMemberDown,
		o.OnMemberRemoved
	if x := p.SessionPersistence; x != nil {
		x.Type, x.Timeout = o.SessionPersistence.Type, o.SessionPersistence.Timeout
	}
	if m := p.Monitor; m != nil {
		o := s.Monitor(m.ID)
		m.Type, m.Delay, m.Timeout, m.MaxRetries, m.MaxRetriesDown = o.Type, o.Delay, o.Timeout, o.MaxRetries,
			o.MaxRetriesDown
		m.InitialState, m.HTTPMethod, m.URLPath, m.ExpectedCodes = o.InitialState, o.HTTPMethod, o.URLPath,
			o.ExpectedCodes
		m.HTTPVersion, m.DomainName = o.HTTPVersion, o.DomainName
	}
	for i := range p.Members {
		if m := &p.Members[i]; m.Name == "" && !m.NoName {
			m.Name = m.endpoint()
		}
	}
}

// fillNAT writes settings into a table, and leaves the table's line.
func fillNAT(n *NAT, o config.NAT) {
	line := n.Line
	*n = NAT{
		Line: line, Mapping: o.Mapping, Filtering: o.Filtering, MaxConnections: o.MaxConnections,
		HostShare: o.HostShare, Lend: o.Lend,
		PortMin: o.PortMin, PortMax: o.PortMax, NoSNAT: o.NoSNAT, MSSClamp: o.MSSClamp != nil && *o.MSSClamp,
		Timeouts: o.Timeouts,
	}
}
