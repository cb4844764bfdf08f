package router

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// This file turns a State into the plain parameters by which routers are built. It is the only one that knows both
// sides.

// A routerTouch says which parts of a router a change of the State touches.
type routerTouch struct {
	all       bool // the router is new, or was down or is
	settings  bool
	place     bool
	floating  []config.ID // floating IPs. Here and below, an object may be there several times
	listeners []config.ID
	pools     []config.ID
}

// touched says what a change of the State touches.
type touched struct {
	from, to *config.State
	routers  map[config.ID]*routerTouch // without those that are gone
	networks map[config.ID]bool         // that have come, gone or changed
	rules    map[config.ID]*portTouch   // by network
	pools    map[config.ID]bool
	services map[config.ID]bool // networks whose local services may be others
	engine   bool               // the settings of the process
	checks   bool               // whether and how routers check members may be another thing
}

// touchedBy finds out what the difference of two States touches.
func touchedBy(from, to *config.State, changes []config.Change) *touched {
	c := &touched{
		from: from, to: to, routers: map[config.ID]*routerTouch{}, networks: map[config.ID]bool{},
		rules: map[config.ID]*portTouch{}, pools: map[config.ID]bool{}, services: map[config.ID]bool{},
	}
	for _, ch := range changes {
		c.checks = c.checks || mayChangeChecks(ch)
		if ch.Before != nil {
			c.touch(from, ch.Before)
		}
		if ch.After != nil {
			c.touch(to, ch.After)
		}
	}
	return c
}

// touchedAtFirst is touchedBy for a State that follows the empty one: everything is touched.
func touchedAtFirst(from, to *config.State) *touched {
	c := touchedBy(from, to, nil)
	c.engine, c.checks = true, true
	for n := range to.Networks() {
		c.networks[n.ID], c.services[n.ID] = true, true
		c.rulesOf(n.ID)
	}
	for r := range to.Routers() {
		c.router(r.ID)
	}
	return c
}

// router is the routerTouch of a router, nil if the router is not there any more.
func (c *touched) router(id config.ID) *routerTouch {
	if id == "" {
		return nil
	}
	t := c.routers[id]
	if t == nil {
		is := c.to.Router(id)
		if is == nil {
			return nil
		}
		was := c.from.Router(id)
		t = &routerTouch{all: was == nil || was.AdminStateUp != is.AdminStateUp}
		c.routers[id] = t
	}
	return t
}

// touch notes which parts depend on an object. s is the State that has the object.
func (c *touched) touch(s *config.State, o config.Object) {
	c.touchRules(o)
	switch o := o.(type) {
	case *config.Settings:
		c.engine = true
		for r := range c.to.Routers() {
			c.settings(r.ID)
		}
	case *config.PhysicalNetwork:
		for n := range s.NetworksOf(o.ID) {
			c.networks[n.ID] = true
		}
	case *config.Network:
		c.networks[o.ID], c.services[o.ID] = true, true
		c.places(s, o.ID)
	case *config.Subnet:
		c.services[o.Network] = true
		c.places(s, o.Network)
	case *config.Router:
		c.settings(o.ID)
		c.place(o.ID)
	case *config.Port:
		if o.DeviceOwner == config.OwnerInterface || o.DeviceOwner == config.OwnerGateway {
			c.place(config.ID(o.DeviceID))
			c.balanced(s, config.ID(o.DeviceID), o.Network)
		}
		if o.DeviceOwner == config.OwnerInterface || o.DeviceOwner == config.OwnerDHCP {
			c.services[o.Network] = true // other ports are looked up when they ask
		}
	case *config.FloatingIP:
		c.floats(o)
	case *config.PortForwarding:
		if f := s.FloatingIP(o.FloatingIP); f != nil {
			c.floats(f)
		}
	case *config.Pool:
		c.pool(s, o.ID)
	case *config.Monitor:
		c.pool(s, o.Pool)
	case *config.Member:
		c.pool(s, o.Pool)
	case *config.LoadBalancer:
		for l := range s.ListenersOf(o.ID) {
			c.listener(o.Router, l)
		}
	case *config.Listener:
		if b := s.LoadBalancer(o.LoadBalancer); b != nil {
			c.listener(b.Router, o)
		}
	}
}

func (c *touched) settings(id config.ID) {
	if r := c.router(id); r != nil {
		r.settings = true
	}
}

func (c *touched) place(id config.ID) {
	if r := c.router(id); r != nil {
		r.place = true
	}
}

// places touches the routers on a network.
func (c *touched) places(s *config.State, network config.ID) {
	for _, r := range s.RoutersOn(network) {
		c.place(r.ID)
		c.balanced(s, r.ID, network)
	}
}

// balanced touches the VIPs that a router has on a network.
func (c *touched) balanced(s *config.State, router, network config.ID) {
	for b := range s.LoadBalancersOn(network) {
		if b.Router == router {
			for l := range s.ListenersOf(b.ID) {
				c.listener(router, l)
			}
		}
	}
}

func (c *touched) floats(f *config.FloatingIP) {
	if r := c.router(f.Router); r != nil {
		r.floating = append(r.floating, f.ID)
	}
}

func (c *touched) listener(router config.ID, l *config.Listener) {
	if r := c.router(router); r != nil {
		r.listener(l)
	}
}

func (t *routerTouch) listener(l *config.Listener) {
	t.listeners = append(t.listeners, l.ID)
	t.pools = append(t.pools, l.Pool)
}

// pool touches a pool at the routers that use it.
func (c *touched) pool(s *config.State, pool config.ID) {
	c.pools[pool] = true
	for l := range s.ListenersUsing(pool) {
		if b := s.LoadBalancer(l.LoadBalancer); b != nil {
			if r := c.router(b.Router); r != nil {
				r.pools = append(r.pools, pool)
			}
		}
	}
}

// params makes the parameters of a router that is touched: of a new router, all of them.
func (c *touched) params(r *config.Router, t *routerTouch) *ip.Params {
	p := &ip.Params{ID: wire.ID(r.ID)}
	if t.all || t.settings {
		p.Settings = settingsOf(c.to, r)
	}
	if t.all {
		for _, s := range []*config.State{c.from, c.to} {
			for f := range s.FloatingIPsOf(r.ID) {
				t.floating = append(t.floating, f.ID)
			}
			for b := range s.LoadBalancersOf(r.ID) {
				for l := range s.ListenersOf(b.ID) {
					t.listener(l)
				}
			}
		}
	}
	p.Floating = c.floatingParams(r, t)
	for _, of := range sorted(t.pools) {
		p.Pools = append(p.Pools, wire.ID(of))
	}
	for _, l := range sorted(t.listeners) {
		p.VIPs = append(p.VIPs, c.vipParams(r, l))
	}
	place := t.all || t.place
	if !c.checks && !place {
		p.KeepsChecks = true // all load balancers of a router need not be looked at for a member or a floating IP
		return p
	}
	checked, longest := checksOf(c.to, r)
	if asks(c.to, r) {
		checked, longest = true, max(longest, namesTime)
		p.AskLife = askLifetime()
	}
	p.CheckLife = checkLifetime(longest)
	if !place {
		former := c.from.Router(r.ID)
		was, _ := checksOf(c.from, former)
		place = checked != (was || asks(c.from, former))
	}
	if place {
		p.Place = placeOf(c.to, r)
		p.Place.Checked = checked
	}
	return p
}

// mayChangeChecks says whether checksOf may find another thing after a change.
func mayChangeChecks(ch config.Change) bool {
	switch ch.Ref.Kind {
	case config.KindSubnet, config.KindFloatingIP, config.KindPortForwarding, config.KindMember,
		config.KindAddressGroup, config.KindSecurityGroup, config.KindSecurityGroupRule, config.KindQuota:
		return false
	case config.KindPort:
		for _, o := range []config.Object{ch.Before, ch.After} {
			if p, ok := o.(*config.Port); ok &&
				(p.DeviceOwner == config.OwnerInterface || p.DeviceOwner == config.OwnerGateway) {
				return true
			}
		}
		return false
	}
	return true
}

// sorted sorts a list and leaves each ID once, so that no choice depends on the order of the changes.
func sorted(list []config.ID) []config.ID {
	slices.Sort(list)
	return slices.Compact(list)
}

// checksOf reports whether a router checks members: a VIP of it has a pool with a monitor. longest is the longest
// timeout of the checks of its load balancers' members, members that are down included.
func checksOf(s *config.State, r *config.Router) (checked bool, longest time.Duration) {
	if r == nil {
		return false, 0
	}
	for b := range s.LoadBalancersOf(r.ID) {
		for l := range s.ListenersOf(b.ID) {
			if m := monitorOf(s, l.Pool); m != nil {
				checked = checked || isServed(s, r, b, l)
				longest = max(longest, m.Timeout)
			}
		}
	}
	return checked, longest
}

// monitorOf is the monitor that checks the members of a pool, nil if there is none.
func monitorOf(s *config.State, pool config.ID) *config.Monitor {
	if m := s.MonitorOf(pool); m != nil && m.AdminStateUp {
		return m
	}
	return nil
}

// originOf says where an object came from. kind is the word for what it is to a router.
func originOf(kind string, o config.Object) ip.Origin {
	m := o.About()
	return ip.Origin{Kind: kind, ID: wire.ID(m.ID), Name: m.Name, At: placeText(m.Source)}
}

// partOf is originOf for an object that is a part of a router, and is called by the router's name.
func partOf(r *config.Router, kind string, o config.Object) ip.Origin {
	origin := originOf(kind+" of router", o)
	origin.Name = r.Name
	return origin
}

// natOrigin is where a setting of [nat] came from: the router has its own, or else it is that of all routers.
func natOrigin(s *config.State, r *config.Router, own bool, key string) ip.Origin {
	if own {
		return partOf(r, key, r)
	}
	origin := originOf(key, s.Settings())
	origin.Name = ""
	return origin
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

var rpFilters = map[string]ip.RPFilter{"loose": ip.RPLoose, "strict": ip.RPStrict}

func settingsOf(s *config.State, r *config.Router) *ip.SettingsParams {
	c := s.NATOf(r.ID)
	lend := c.Lend == nil || *c.Lend
	return &ip.SettingsParams{
		Name: r.Name, RPFilter: rpFilters[r.RPFilter], Clamp: c.MSSClamp != nil && *c.MSSClamp,
		Fragment: c.Timeouts.Fragment, Origin: originOf("router", r),
		Timeouts: natOrigin(s, r, r.NAT.Timeouts != (config.Timeouts{}), "nat.timeouts"),
		Tables: ip.TableParams{
			NAT: nat.Config{
				Mapping: behaviors[c.Mapping], Filtering: behaviors[c.Filtering],
				HostShare: c.HostShare, Lend: lend, PortMin: c.PortMin, PortMax: c.PortMax,
			},
			Conns: conntrack.Config{
				MaxConnections: c.MaxConnections, HostShare: c.HostShare, Lend: lend,
				UDP: c.Timeouts.UDP, ICMP: c.Timeouts.ICMP, TCPEstablished: c.Timeouts.TCPEstablished,
				TCPOpening: c.Timeouts.TCPOpening, TCPClosing: c.Timeouts.TCPClosing,
			},
		},
	}
}

// placeOf says where a router is. Its ports on one network are one interface.
func placeOf(s *config.State, r *config.Router) *ip.PlaceParams {
	p := &ip.PlaceParams{}
	if !r.AdminStateUp {
		return p
	}
	at := map[config.ID]int{} // indices of p.Interfaces
	for port := range s.InterfacesOf(r.ID) {
		n := s.Network(port.Network)
		if n == nil || !n.AdminStateUp {
			continue
		}
		k, ok := at[n.ID]
		if !ok {
			k = len(p.Interfaces)
			at[n.ID] = k
			p.Interfaces = append(p.Interfaces, ip.InterfaceParams{
				Network: wire.ID(n.ID), MAC: packet.MAC(port.MAC), Origin: partOf(r, "interface", port),
			})
		}
		i := &p.Interfaces[k]
		for _, f := range port.FixedIPs {
			if sub := s.Subnet(f.Subnet); sub != nil && f.Address.Is4() {
				i.Addrs = append(i.Addrs, netip.PrefixFrom(f.Address, sub.CIDR.Bits()))
			}
		}
	}
	if r.Gateway != nil {
		placeGateway(s, r, p)
	}
	for _, rt := range r.Routes {
		if rt.NextHop.Is4() {
			o := partOf(r, "route", r)
			if at := placeText(rt.Source); at != "" {
				o.At = at
			}
			p.Routes = append(p.Routes, ip.RouteParams{
				To: rt.Destination, Via: packet.AddrFrom(rt.NextHop), Origin: o,
			})
		}
	}
	return p
}

// placeGateway adds the interface on the external network. All of that network's subnets are on link, as floating IPs
// may come from any.
func placeGateway(s *config.State, r *config.Router, p *ip.PlaceParams) {
	port, n := s.GatewayPort(r.ID), s.Network(r.Gateway.Network)
	if port == nil || n == nil || !n.AdminStateUp {
		return
	}
	i := ip.InterfaceParams{
		Network: wire.ID(n.ID), External: true, MAC: packet.MAC(port.MAC), Origin: partOf(r, "interface", port),
	}
	g := &ip.GatewayParams{
		Network: i.Network, SNAT: r.Gateway.SNAT, Origin: partOf(r, "gateway", port),
		Plain: s.NATOf(r.ID).NoSNAT, NoSNAT: natOrigin(s, r, r.NAT.NoSNAT != nil, "no_snat"),
	}
	has := map[config.ID]bool{}
	for _, f := range port.FixedIPs {
		sub := s.Subnet(f.Subnet)
		if sub == nil || !f.Address.Is4() {
			continue
		}
		has[sub.ID] = true
		i.Addrs = append(i.Addrs, netip.PrefixFrom(f.Address, sub.CIDR.Bits()))
		if g.Addr == 0 {
			g.Addr = packet.AddrFrom(f.Address)
			if sub.Gateway.Is4() {
				g.NextHop = packet.AddrFrom(sub.Gateway)
			}
		}
	}
	if g.Addr == 0 {
		return
	}
	for sub := range s.SubnetsOf(n.ID) {
		if !has[sub.ID] && sub.CIDR.Addr().Is4() {
			i.OnLink = append(i.OnLink, sub.CIDR)
		}
	}
	for _, a := range r.Gateway.SNATAddresses {
		g.Shared = append(g.Shared, [2]packet.Addr{packet.AddrFrom(a.First), packet.AddrFrom(a.Last)})
	}
	p.Interfaces = append(p.Interfaces, i)
	p.Gateway = g
}

// floatingParams are the floating addresses of a router that are touched. An address may be another floating IP's now.
func (c *touched) floatingParams(r *config.Router, t *routerTouch) (all []ip.FloatingParams) {
	here := map[packet.Addr]bool{}
	t.floating = sorted(t.floating)
	for _, f := range t.floating {
		if is := c.to.FloatingIP(f); is != nil && is.Router == r.ID && is.Address.Is4() && r.AdminStateUp {
			p := ip.FloatingParams{Addr: packet.AddrFrom(is.Address), Origin: floatingOrigin(is)}
			p.To, p.Forwards = floatingTo(c.to, is)
			here[p.Addr] = true
			all = append(all, p)
		}
	}
	for _, f := range t.floating {
		if was := c.from.FloatingIP(f); was != nil && was.Router == r.ID && was.Address.Is4() {
			if addr := packet.AddrFrom(was.Address); !here[addr] {
				here[addr] = true
				all = append(all, ip.FloatingParams{Addr: addr, Gone: true, Origin: floatingOrigin(was)})
			}
		}
	}
	return all
}

// floatingTo is what a floating IP leads to, with the origin of each of its forwarded ports.
func floatingTo(s *config.State, f *config.FloatingIP) (to nat.Floating, forwards []ip.Origin) {
	if f.FixedIP.Is4() {
		return nat.Floating{Fixed: packet.AddrFrom(f.FixedIP)}, nil
	}
	for p := range s.ForwardingsOf(f.ID) {
		to.Forwards = append(to.Forwards, nat.Forward{
			Proto: protoNumber(p.Protocol), Port: p.ExternalPort,
			To: nat.Endpoint{Addr: packet.AddrFrom(p.FixedIP), Port: p.Port},
		})
		origin := originOf("port_forwarding", p)
		origin.Name = netip.AddrPortFrom(f.Address, p.ExternalPort).String()
		forwards = append(forwards, origin)
	}
	return to, forwards
}

// floatingOrigin is the origin of a floating IP, which is called by its address.
func floatingOrigin(f *config.FloatingIP) ip.Origin {
	origin := originOf("floating_ip", f)
	origin.Name = f.Address.String()
	return origin
}

func protoNumber(p config.Protocol) uint8 {
	if p == config.UDP {
		return packet.ProtoUDP
	}
	return packet.ProtoTCP
}

// vipParams is a listener of a router. A listener is gone if it is not there, not up, or at another router now.
func (c *touched) vipParams(r *config.Router, listener config.ID) ip.VIPParams {
	l := c.to.Listener(listener)
	if l == nil {
		return ip.VIPParams{ID: wire.ID(listener), Gone: true}
	}
	b := c.to.LoadBalancer(l.LoadBalancer)
	if b == nil || !isServed(c.to, r, b, l) {
		return ip.VIPParams{ID: wire.ID(listener), Gone: true}
	}
	return ip.VIPParams{
		ID: wire.ID(l.ID), Name: l.Name, Network: wire.ID(b.Network), Addr: packet.AddrFrom(b.Address),
		Proto: protoNumber(l.Protocol), Port: l.Port, Pool: wire.ID(l.Pool), Limit: l.ConnectionLimit,
		Idle:    l.IdleTimeout,
		Allowed: l.AllowedCIDRs, Origin: originOf("vip", l),
	}
}

// isServed reports whether a router has a VIP for a listener, l, of a load balancer, b.
func isServed(s *config.State, r *config.Router, b *config.LoadBalancer, l *config.Listener) bool {
	if !r.AdminStateUp || !b.AdminStateUp || !l.AdminStateUp || b.Router != r.ID || !b.Address.Is4() {
		return false
	}
	n := s.Network(b.Network)
	return n != nil && n.AdminStateUp && s.IsOn(r.ID, n.ID)
}

var algorithms = map[string]lb.Algorithm{
	"ROUND_ROBIN": lb.RoundRobin, "LEAST_CONNECTIONS": lb.LeastConnections,
	"SOURCE_IP": lb.SourceIP, "SOURCE_IP_PORT": lb.SourceIPPort,
}

// poolOf is a pool with its members, the same for every router that uses it. If a listener has no pool (of is empty),
// it is one without members. number gives each member its number. former is the pool as it was, nil if there was none.
func poolOf(
	s *config.State, of config.ID, former *ip.Pool, number func(wire.ID, netip.AddrPort) uint32,
) *ip.Pool {
	o := s.Pool(of)
	if o == nil {
		return &ip.Pool{ID: wire.ID(of), DrainRemoved: true, KeepDown: true}
	}
	q := &ip.Pool{
		ID: wire.ID(o.ID), Name: o.Name, Proto: protoNumber(o.Protocol), Algorithm: o.Algorithm,
		Config:   lb.Config{Algorithm: algorithms[o.Algorithm]},
		KeepDown: o.OnMemberDown != "reset", DrainRemoved: o.OnMemberRemoved != "reset",
	}
	if o.SessionPersistence != nil {
		q.Config.Persistence = o.SessionPersistence.Timeout
	}
	check := monitorOf(s, o.ID)
	q.Monitored = check != nil
	healthy := check == nil || check.InitialState == "up" // until checks have decided
	for m := range s.MembersOf(o.ID) {
		q.Members = append(q.Members, ip.Member{
			ObjectID: wire.ID(m.ID), Name: m.Name, Origin: originOf("pool.member", m), Checked: m.Checked(),
			Member: lb.Member{
				ID:   number(wire.ID(m.ID), netip.AddrPortFrom(m.Address, m.Port)),
				Addr: packet.AddrFrom(m.Address), Port: m.Port, Weight: m.Weight, Backup: m.Backup,
				AdminStateUp: m.AdminStateUp && o.AdminStateUp, Healthy: healthy,
			},
		})
	}
	if list := q.Balanced(); former != nil && former.Config.Tables != nil && former.Config.Tables.Fit(list) {
		q.Config.Tables = former.Config.Tables
	} else {
		q.Config.Tables = lb.NewTables(q.Config.Algorithm, list)
	}
	return q
}
