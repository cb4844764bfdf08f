package configtest

import (
	"net/netip"

	"github.com/taprouter/taprouter/config"
)

// editTenant adds a router with its gateway and all that is behind it, or takes one away with what it has. Tenants
// have the same private addresses.
func (g *Maker) editTenant(d *config.Draft) {
	r := pick(g, d.Routers())
	if r != nil && (d.Count(config.KindRouter) > 4 || g.chance(2)) {
		g.deleteTenant(d, r)
		return
	}
	var out *config.Network
	for n := range d.Networks() {
		if n.External {
			out = n
		}
	}
	if out == nil {
		return
	}
	host := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, i}) }
	n := g.network(false)
	r = &config.Router{Meta: g.meta("r"), AdminStateUp: true, Gateway: &config.Gateway{Network: out.ID, SNAT: true}}
	p := &config.Pool{Meta: g.meta("p"), AdminStateUp: true, Protocol: config.TCP}
	b := &config.LoadBalancer{Meta: g.meta("b"), Network: n.ID, Address: host(8), AdminStateUp: true}
	f := &config.FloatingIP{Meta: g.meta(""), Network: out.ID}
	if g.chance(2) {
		b.Router, f.Router = r.ID, r.ID
	}
	if g.chance(4) {
		r.Routes = []config.Route{{Destination: netip.MustParsePrefix("172.16.0.0/24"), NextHop: host(7 + g.byte(2))}}
	}
	d.Put(n, g.subnet(n, 0, false), r,
		&config.Port{Meta: g.meta("i"), Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(r.ID), FixedIPs: make([]config.FixedIP, 1)},
		p, &config.Member{Meta: g.meta("m"), Pool: p.ID, Address: host(8 + g.byte(4)), Port: 80, Weight: 1,
			AdminStateUp: true},
		b, &config.Listener{Meta: g.meta("v"), LoadBalancer: b.ID, Protocol: config.TCP, Port: 80, Pool: p.ID,
			AdminStateUp: true})
	if g.chance(2) {
		f.FixedIP = host(8)
		d.Put(f)
		return
	}
	d.Put(f, &config.PortForwarding{Meta: g.meta(""), FloatingIP: f.ID, Protocol: config.TCP, ExternalPort: 8000,
		FixedIP: host(8), Port: 80 + uint16(g.byte(8)/7)})
}

// byte is a number below another one.
func (g *Maker) byte(below int) byte { return byte(g.rng.IntN(below)) }

// deleteTenant takes a router away, and most of what needs it.
func (g *Maker) deleteTenant(d *config.Draft, r *config.Router) {
	var refs []config.Ref
	add := func(o config.Object) {
		if !g.chance(40) {
			refs = append(refs, o.Ref())
		}
	}
	for b := range d.LoadBalancersOf(r.ID) {
		add(b)
	}
	for f := range d.FloatingIPsOf(r.ID) {
		add(f)
	}
	for p := range d.InterfacesOf(r.ID) {
		add(p)
	}
	d.Delete(append(refs, r.Ref())...)
}
