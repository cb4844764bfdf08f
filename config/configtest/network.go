package configtest

import (
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

func (g *Maker) editNetwork(d *config.Draft) {
	n := some(g, d.Networks(), 4)
	if n == nil {
		d.Put(g.network(g.chance(4)))
		return
	}
	switch g.rng.IntN(9) {
	case 8:
		n.StormLimit = []*int{nil, new(0), new(500)}[g.rng.IntN(3)]
	case 0:
		n.MTU = []int{0, 1280, 1400, 9000, 600}[g.rng.IntN(5)]
	case 1:
		n.AdminStateUp = !n.AdminStateUp
	case 2:
		n.PortSecurity = !n.PortSecurity
	case 3:
		n.Description += "x"
	case 4:
		n.External = !n.External
	case 5:
		n.VLAN = g.rng.IntN(3)
	case 6:
		n.GRO = []string{config.GROAuto, config.GROOff}[g.rng.IntN(2)]
		n.Host = []string{config.HostClosed, config.HostOpen}[g.rng.IntN(2)]
	case 7:
		n.Devices, n.PhysicalNetwork = nil, ""
		switch p := pick(g, d.PhysicalNetworks()); {
		case !g.Devices:
		case p != nil && g.chance(2):
			n.PhysicalNetwork = p.ID
		default:
			n.Devices = g.devices()
		}
	}
	d.Put(n)
}

func (g *Maker) editLabel(d *config.Draft) {
	if !g.Devices {
		return
	}
	p := some(g, d.PhysicalNetworks(), 2)
	if p == nil {
		p = &config.PhysicalNetwork{Meta: g.meta("l")}
	}
	p.Devices = g.devices()
	d.Put(p)
}

func (g *Maker) editSubnet(d *config.Draft) {
	n := pick(g, d.Networks())
	if n == nil {
		return
	}
	s := some(g, d.SubnetsOf(n.ID), 2)
	if s == nil {
		d.Put(g.subnet(n, g.rng.IntN(6), true))
		return
	}
	switch g.rng.IntN(7) {
	case 6:
		s.Extra = nil
		if g.chance(2) {
			s.Extra = &config.SubnetExtra{DNSSearch: []string{"lab.example", "example"}[:1+g.rng.IntN(2)]}
		}
	case 0:
		s.Gateway = netip.Addr{}
	case 1:
		s.Gateway = g.host(s)
	case 2:
		s.AllocationPools = nil
	case 3:
		a, b := g.host(s), g.host(s)
		s.AllocationPools = []config.AddressRange{{First: a, Last: b}}
	case 4:
		s.DHCP = !s.DHCP
	case 5:
		s.CIDR = g.prefix(n.External, g.rng.IntN(6))
		s.Gateway, s.AllocationPools = config.FirstHost(s.CIDR), nil
	}
	d.Put(s)
}

func (g *Maker) editRouter(d *config.Draft) {
	r := some(g, d.Routers(), 3)
	if r == nil {
		r = &config.Router{Meta: g.meta("r"), AdminStateUp: true}
	}
	external := func() *config.Network {
		for n := range d.Networks() {
			if n.External && g.chance(2) || g.chance(20) {
				return n
			}
		}
		return nil
	}
	switch g.rng.IntN(8) {
	case 0:
		r.Gateway = nil
	case 1, 2:
		if n := external(); n != nil {
			r.Gateway = &config.Gateway{Network: n.ID, SNAT: g.chance(2)}
		}
	case 3:
		if r.Gateway != nil {
			gw := *r.Gateway
			a := g.address(d, d.Network(gw.Network))
			gw.SNAT, gw.SNATAddresses = true, []config.AddressRange{{First: a, Last: a}}
			r.Gateway = &gw
		}
	case 4, 5:
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(g.rng.IntN(3)), 0}), 24)
		if g.chance(4) {
			p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		r.Routes = append(slices.Clone(r.Routes), config.Route{Destination: p, NextHop: g.inner(d)})
	case 6:
		r.Routes = nil
	case 7:
		r.RPFilter = []string{"off", "loose", "strict"}[g.rng.IntN(3)]
		k := g.rng.IntN(3)
		r.NAT.MaxConnections, r.NAT.Lend = k*1000, []*bool{nil, new(false), new(true)}[k]
		r.NAT.PortMin = uint16(g.rng.IntN(2) * 50000)
	}
	d.Put(r)
}

func (g *Maker) editInterface(d *config.Draft) {
	r, n := pick(g, d.Routers()), pick(g, d.Networks())
	if r == nil || n == nil {
		return
	}
	if p := pick(g, d.InterfacesOf(r.ID)); p != nil && g.chance(2) {
		if g.chance(2) {
			d.Delete(p.Ref())
			return
		}
		q := *p
		q.FixedIPs = []config.FixedIP{{Address: g.address(d, d.Network(p.Network))}}
		if g.chance(4) {
			q.FixedIPs[0].Address = netip.Addr{}
			g.LeftOpen = true
		}
		d.Put(&q)
		return
	}
	p := &config.Port{
		Meta: g.meta("i"), Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
		DeviceID: string(r.ID),
		FixedIPs: make([]config.FixedIP, 1),
	}
	if s := pick(g, d.SubnetsOf(n.ID)); s != nil && g.chance(2) {
		p.FixedIPs[0] = config.FixedIP{Subnet: s.ID, Address: g.host(s)}
	}
	d.Put(p)
}

// instance is what the metadata service tells an instance; nil in some.
func (g *Maker) instance() *config.PortExtra {
	x := &config.PortExtra{}
	if g.chance(2) {
		x.Hostname = "vm"
	}
	if g.chance(2) {
		x.SSHKeys = []string{
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1bnUyLuaF0yF0LpFzZ5rX5o1K6n9qE2lW0K8bX0Z3a me@example",
		}
	}
	if g.chance(2) {
		x.UserData = []string{"I2Nsb3VkLWNvbmZpZwo=", "AP8="}[g.rng.IntN(2)] // text, and two bytes that are none
	}
	return x
}

func (g *Maker) editPort(d *config.Draft) {
	n := pick(g, d.Networks())
	hosts := func(yield func(*config.Port) bool) {
		for p := range d.Ports() {
			if p.DeviceOwner == "" && !yield(p) {
				return
			}
		}
	}
	p := some(g, hosts, 4)
	switch {
	case n == nil:
		return
	case p == nil:
		p = &config.Port{Meta: g.meta("p"), Network: n.ID, AdminStateUp: true,
			FixedIPs: make([]config.FixedIP, g.rng.IntN(3))}
	case g.chance(4):
		p.FixedIPs = []config.FixedIP{{}}
		g.LeftOpen = true
	case g.chance(5):
		p.PortSecurity = []*bool{nil, new(true), new(false)}[g.rng.IntN(3)]
	case g.chance(5):
		p.AdminStateUp = !p.AdminStateUp
	case g.chance(5):
		p.Extra = g.instance()
	case g.chance(2):
		p.MAC = config.MAC{2, 0, 0, 0, 0, byte(g.rng.IntN(4))}
		p.AllowedAddressPairs = []config.AddressPair{{IP: netip.PrefixFrom(g.inner(d), 32-g.rng.IntN(2)*4).Masked()}}
		if g.chance(3) {
			p.AllowedAddressPairs[0].MAC = config.MAC{2, 0, 0, 0, 1, byte(g.rng.IntN(3))}
		}
		if !p.AllowedAddressPairs[0].IP.IsValid() {
			p.AllowedAddressPairs = nil
		}
	default:
		p.FixedIPs = []config.FixedIP{{Address: g.address(d, d.Network(p.Network))}}
	}
	if ds := d.DevicesOf(p.Network); len(ds) > 0 && g.chance(3) {
		p.Device = ds[0].String()
	}
	d.Put(p)
}
