package configtest

import (
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// editGroup adds or changes what security groups are made of, or puts a port or a load balancer into groups.
func (g *Maker) editGroup(d *config.Draft) {
	switch g.rng.IntN(6) {
	case 0:
		s := some(g, d.SecurityGroups(), 3)
		if s == nil {
			s = &config.SecurityGroup{Meta: g.meta("sg"), Stateful: true}
		}
		s.Stateful = !g.chance(6)
		d.Put(s)
	case 1:
		a := some(g, d.AddressGroups(), 2)
		if a == nil {
			a = &config.AddressGroup{Meta: g.meta("ag")}
		}
		a.Addresses = []netip.Prefix{g.prefix(false, g.rng.IntN(3))}
		d.Put(a)
	case 2:
		g.editRule(d)
	case 3:
		if p := some(g, d.Ports(), 0); p != nil && p.DeviceOwner != config.OwnerGateway {
			p.SecurityGroups = g.groups(d)
			d.Put(p)
		}
	case 4:
		g.editBalancerPort(d)
	case 5:
		d.Put(&config.Quota{Limits: []config.Limit{{Resource: "port", Most: g.rng.IntN(3) - 1}}})
	}
}

func (g *Maker) groups(d *config.Draft) []config.ID {
	var ids []config.ID
	for range g.rng.IntN(3) {
		if s := pick(g, d.SecurityGroups()); s != nil && (g.chance(8) || !slices.Contains(ids, s.ID)) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (g *Maker) editRule(d *config.Draft) {
	s := pick(g, d.SecurityGroups())
	if s == nil {
		return
	}
	r := some(g, d.RulesOf(s.ID), 3)
	if r == nil {
		r = &config.SecurityGroupRule{Meta: g.meta(""), Group: s.ID}
	}
	low, high := uint16(80), uint16(80+g.rng.IntN(2))
	r.Direction = []string{config.Ingress, config.Egress}[g.rng.IntN(2)]
	r.Protocol, r.PortMin, r.PortMax = "tcp", &low, &high
	r.RemoteGroup, r.RemoteAddressGroup = "", ""
	switch g.rng.IntN(4) {
	case 0:
		r.Protocol, r.PortMin, r.PortMax = "", nil, nil
	case 1:
		r.RemoteGroup = pick(g, d.SecurityGroups()).ID
	case 2:
		if a := pick(g, d.AddressGroups()); a != nil {
			r.RemoteAddressGroup = a.ID
		}
	}
	d.Put(r)
}

// editBalancerPort gives a load balancer the port of a host, or takes it away.
func (g *Maker) editBalancerPort(d *config.Draft) {
	b := some(g, d.LoadBalancers(), 0)
	if b == nil {
		return
	}
	b.SecurityGroups, b.Port = g.groups(d), ""
	if p := pick(g, d.Ports()); p != nil && g.chance(2) {
		b.Port = p.ID
		if len(p.FixedIPs) > 0 && !g.chance(6) {
			b.Network, b.Address = p.Network, p.FixedIPs[0].Address
		}
	}
	d.Put(b)
}
