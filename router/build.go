package router

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
)

// A plan is the networks and routers of a State.
type plan struct {
	networks []*network
	routers  []*vrouter
	internal []*network // of the engine's own services
	pools    []*pool
	members  uint32 // how many have been made: the next one's ID
}

// build makes the networks and routers of a State. With checks, routers get what the checks of their members
// come from.
func build(s *config.State, rng *rand.Rand, checks bool) (*plan, error) {
	b := &builder{state: s, checked: checks, rng: rng, byID: map[id]*network{}, poolByID: map[id]*pool{}}
	for c := range s.Networks() {
		n := &network{
			name: c.Name, mtu: c.MTU, linkMTU: c.MTU, external: c.External, table: macTable{seed: rng.Uint64()},
		}
		b.byID[id(c.ID)] = n
		b.networks = append(b.networks, n)
		b.reserve(n, c)
	}
	for c := range s.Pools() {
		p := b.poolOf(s, c)
		b.poolByID[p.id] = p
		b.pools = append(b.pools, p)
	}
	for c := range s.Routers() {
		r, err := b.router(derive(s, c))
		if err != nil {
			return nil, fmt.Errorf("router %q: %w", c.Name, err)
		}
		b.routers = append(b.routers, r)
	}
	return &b.plan, nil
}

// A builder makes the parts of an engine that stay when rules change.
type builder struct {
	plan
	state    *config.State
	byID     map[id]*network
	poolByID map[id]*pool
	rng      *rand.Rand
	checked  bool
}

// router makes one router, with its first rules.
func (b *builder) router(p *routerParams) (*vrouter, error) {
	r := newRouter(p.settings, b.rng)
	parts := parts{r}
	for i := range p.place.ifaces {
		pi := &p.place.ifaces[i]
		r.addIface(b.byID[pi.network], pi.network, pi.mac)
	}
	for i := range p.vips {
		r.addVIP(&p.vips[i], b.poolByID[p.vips[i].pool])
	}
	if b.checked {
		if err := b.checks(r, p); err != nil {
			return nil, err
		}
	}
	next, moved := r.rules.with(p, parts)
	r.adopt(next, moved)
	for _, v := range next.listed {
		v.of.class = r.idleClass(v.idle)
	}
	return r, nil
}

// addIface gives a router an interface, which has no rules yet.
func (r *vrouter) addIface(n *network, network id, mac packet.MAC) *iface {
	i := &iface{
		station: station{network: n, mac: mac}, ifaceRules: &ifaceRules{}, id: uint16(len(r.ifaces)), on: network,
		router: r, mtu: n.mtu,
	}
	i.station.owner = i
	r.ifaces = append(r.ifaces, i)
	n.routers = append(n.routers, &i.station)
	return i
}

// parts finds what a router's rules are about.
type parts struct{ *vrouter }

// ifaceOn returns the router's interface on a network.
func (p parts) ifaceOn(network id) *iface {
	for _, i := range p.ifaces[1:] {
		if i.on == network {
			return i
		}
	}
	return nil
}

// vipOf returns the VIP of a listener.
func (p parts) vipOf(listener id) *vip { return p.byListener[listener] }

// internalMAC chooses the address of a station of the engine's own: the same one each time.
func internalMAC(station, network string) packet.MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", station, network, 0))
	return packet.MAC{0xfa, 0x16, 0x3e, sum[0], sum[1], sum[2]} // the prefix Neutron uses, locally administered
}
