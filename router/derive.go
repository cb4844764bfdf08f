package router

import (
	"net/netip"
	"strconv"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
)

// This file turns a State into the plain parameters by which routers are built. It is the only one that knows both
// sides.

// derive makes the parameters of a router.
func derive(s *config.State, r *config.Router) *routerParams {
	p := &routerParams{settings: settingsOf(s, r), place: placeOf(s, r)}
	for f := range s.FloatingIPsOf(r.ID) {
		if to := floatingTo(s, f); f.Address.Is4() && (to.Fixed != 0 || len(to.Forwards) > 0) {
			p.floating = append(p.floating, floatingParams{packet.FromAddr(f.Address), to, originOf(f)})
		}
	}
	for b := range s.LoadBalancersOf(r.ID) {
		for l := range s.ListenersOf(b.ID) {
			if l.Pool != "" && b.Address.Is4() {
				p.vips = append(p.vips, vipOf(b, l))
			}
		}
	}
	return p
}

// originOf says where an object came from.
func originOf(o config.Object) origin {
	m := o.About()
	return origin{kind: o.Ref().Kind.String(), id: id(m.ID), name: m.Name, at: placeText(m.Source)}
}

func placeText(s config.Source) string {
	switch {
	case s.File != "":
		return s.File + ":" + strconv.Itoa(s.Line)
	case s.Line != 0:
		return "line " + strconv.Itoa(s.Line)
	}
	return s.Request
}

var behaviors = map[string]nat.Behavior{
	"endpoint-independent":       nat.EndpointIndependent,
	"address-dependent":          nat.AddressDependent,
	"address-and-port-dependent": nat.AddressAndPortDependent,
}

var rpFilters = map[string]rpFilter{"loose": rpLoose, "strict": rpStrict}

func settingsOf(s *config.State, r *config.Router) *settingsParams {
	c := s.NATOf(r.ID)
	return &settingsParams{
		name: r.Name, rpFilter: rpFilters[r.RPFilter], clamp: c.MSSClamp != nil && *c.MSSClamp,
		fragment: c.Timeouts.Fragment, origin: originOf(r),
		tables: tableParams{
			nat: nat.Config{
				Mapping: behaviors[c.Mapping], Filtering: behaviors[c.Filtering],
				HostShare: c.HostShare, PortMin: c.PortMin, PortMax: c.PortMax,
			},
			conns: conntrack.Config{
				MaxConnections: c.MaxConnections, HostShare: c.HostShare,
				UDP: c.Timeouts.UDP, ICMP: c.Timeouts.ICMP, TCPEstablished: c.Timeouts.TCPEstablished,
				TCPOpening: c.Timeouts.TCPOpening, TCPClosing: c.Timeouts.TCPClosing,
			},
		},
	}
}

// placeOf says where a router is. Its ports on one network are one interface.
func placeOf(s *config.State, r *config.Router) *placeParams {
	p := &placeParams{}
	at := map[config.ID]int{} // index + 1
	for port := range s.InterfacesOf(r.ID) {
		n := s.Network(port.Network)
		k := at[n.ID]
		if k == 0 {
			p.ifaces = append(p.ifaces, ifaceParams{
				network: id(n.ID), external: n.External, mac: packet.MAC(port.MAC), origin: originOf(port),
			})
			k = len(p.ifaces)
			at[n.ID] = k
		}
		i := &p.ifaces[k-1]
		for _, f := range port.FixedIPs {
			if sub := s.Subnet(f.Subnet); sub != nil && f.Address.Is4() {
				i.addrs = append(i.addrs, netip.PrefixFrom(f.Address, sub.CIDR.Bits()))
			}
		}
	}
	if r.Gateway != nil {
		placeGateway(s, r, p)
	}
	for _, rt := range r.Routes {
		if rt.NextHop.Is4() {
			o := originOf(r)
			if at := placeText(rt.Source); at != "" {
				o.at = at
			}
			p.routes = append(p.routes, routeParams{rt.Destination, packet.FromAddr(rt.NextHop), o})
		}
	}
	return p
}

// placeGateway adds the interface on the external network. All of that network's subnets are on link, as floating IPs
// may come from any.
func placeGateway(s *config.State, r *config.Router, p *placeParams) {
	port, n := s.GatewayPort(r.ID), s.Network(r.Gateway.Network)
	if port == nil || n == nil {
		return
	}
	i := ifaceParams{network: id(n.ID), external: true, mac: packet.MAC(port.MAC), origin: originOf(port)}
	g := &gatewayParams{network: i.network, snat: r.Gateway.SNAT, plain: s.NATOf(r.ID).NoSNAT, origin: originOf(port)}
	has := map[config.ID]bool{}
	for _, f := range port.FixedIPs {
		sub := s.Subnet(f.Subnet)
		if sub == nil || !f.Address.Is4() {
			continue
		}
		has[sub.ID] = true
		i.addrs = append(i.addrs, netip.PrefixFrom(f.Address, sub.CIDR.Bits()))
		if g.addr == 0 {
			g.addr = packet.FromAddr(f.Address)
			if sub.Gateway.Is4() {
				g.nextHop = packet.FromAddr(sub.Gateway)
			}
		}
	}
	if g.addr == 0 {
		return
	}
	for sub := range s.SubnetsOf(n.ID) {
		if !has[sub.ID] && sub.CIDR.Addr().Is4() {
			i.onLink = append(i.onLink, sub.CIDR)
		}
	}
	for _, a := range r.Gateway.SNATAddresses {
		g.shared = append(g.shared, [2]uint32{packet.FromAddr(a.First), packet.FromAddr(a.Last)})
	}
	p.ifaces = append(p.ifaces, i)
	p.gateway = g
}

// floatingTo is what a floating IP leads to.
func floatingTo(s *config.State, f *config.FloatingIP) nat.Floating {
	if f.FixedIP.Is4() {
		return nat.Floating{Fixed: packet.FromAddr(f.FixedIP)}
	}
	var to nat.Floating
	for p := range s.ForwardingsOf(f.ID) {
		to.Forwards = append(to.Forwards, nat.Forward{
			Proto: protoNumber(p.Protocol), Port: p.ExternalPort,
			To: nat.Endpoint{Addr: packet.FromAddr(p.FixedIP), Port: p.Port},
		})
	}
	return to
}

func protoNumber(p config.Protocol) uint8 {
	if p == config.UDP {
		return packet.ProtoUDP
	}
	return packet.ProtoTCP
}

// vipOf is a listener.
func vipOf(b *config.LoadBalancer, l *config.Listener) vipParams {
	return vipParams{
		id: id(l.ID), name: l.Name, network: id(b.Network), addr: packet.FromAddr(b.Address),
		proto: protoNumber(l.Protocol), port: l.Port, pool: id(l.Pool), limit: l.ConnectionLimit, idle: l.IdleTimeout,
		allowed: l.AllowedCIDRs, origin: originOf(l),
	}
}

var algorithms = map[string]lb.Algorithm{
	"ROUND_ROBIN": lb.RoundRobin, "LEAST_CONNECTIONS": lb.LeastConnections,
	"SOURCE_IP": lb.SourceIP, "SOURCE_IP_PORT": lb.SourceIPPort,
}

// poolOf is a pool with its members, as every router that uses it has it.
func (p *plan) poolOf(s *config.State, o *config.Pool) *pool {
	q := &pool{
		id: id(o.ID), name: o.Name, proto: protoNumber(o.Protocol), monitor: s.MonitorOf(o.ID), algorithm: o.Algorithm,
		config:   lb.Config{Algorithm: algorithms[o.Algorithm]},
		keepDown: o.OnMemberDown != "reset", drainRemoved: o.OnMemberRemoved != "reset",
	}
	if o.SessionPersistence != nil {
		q.config.Persistence = o.SessionPersistence.Timeout
	}
	for m := range s.MembersOf(o.ID) {
		q.members = append(q.members, p.member(q, m))
	}
	return q
}
