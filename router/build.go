package router

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
)

// A vrouter is one virtual router with an address space of its own.
type vrouter struct {
	name    string
	worker  *worker
	scratch *scratch // its worker's
	ifaces  []*iface // by id; 0 is none
	gateway *gateway // nil: no external network
	routes  bart.Table[route]

	rpFilter  rpFilter
	exhausted map[DropReason]time.Duration // when it was last said that connections are refused for a reason

	conns *conntrack.Table
	nat   *nat.Table
	balancer
	static     *nat.Static     // never changed, but swapped for another one
	checks     *iface          // where the checks of members come from; nil: there are none
	checkClass conntrack.Class // of their connections
	checker    *service        // their host
	arp        *neighbor.Table
	owned      map[uint32]bool // every address that is the router's own, but no associated floating IP
	clamp      bool            // lower the TCP MSS to what the MTU allows

	idents       idents
	fragments    fragments
	reassemblies reassemblies // the oldest first
	errors       limiter
	echoes       limiter
	cut          cutTuples
}

// A gateway is a router's place on an external network.
type gateway struct {
	iface *iface
	addr  uint32
	snat  bool
	plain []prefixOf // where internal addresses are shown as they are

	shared []uint32        // what internal hosts show outside; mostly addr alone
	more   map[uint32]bool // those of shared that are not addr
}

// sharedBy is the address that an internal host shows outside: always the same, so that
// peers which know it by one protocol or port recognize it in the others (RFC 4787, REQ-2),
// also after a restart. Neighbors in a subnet get different ones.
func (g *gateway) sharedBy(host uint32) uint32 { return g.shared[host%uint32(len(g.shared))] }

// shares reports whether internal hosts share an address, or could: mappings may be
// behind it.
func (g *gateway) shares(addr uint32) bool { return addr == g.addr || g.more[addr] }

// A route leads to a next hop, or on link when via is 0.
type route struct {
	out *iface
	via uint32
}

// An iface is a router's interface on a network, with one MAC for all the
// addresses the router owns there.
type iface struct {
	station
	id       uint16
	router   *vrouter
	external bool
	checks   bool // the network of the router's own checks of members
	mtu      int  // the network's linkMTU, as its router's worker knows it
	addrs    []ifaceAddr
	prefixes []prefixOf // every subnet that is on link

	owned    []uint32 // addresses to answer and announce here, in order
	ownedSet map[uint32]bool

	announcements int // of all of them
	announceAt    time.Duration
	fresh         []freshAddr
	conflicts     map[uint32]time.Duration // when each address was last said to be another host's, too
}

// A freshAddr is an address that an interface has only just got.
type freshAddr struct {
	addr          uint32
	announcements int
	at            time.Duration
}

type ifaceAddr struct {
	addr   uint32
	prefix prefixOf
}

func (i *iface) owns(addr uint32) bool { return i.ownedSet[addr] }

func (i *iface) own(addr uint32) {
	if !i.ownedSet[addr] {
		i.ownedSet[addr] = true
		i.owned = append(i.owned, addr)
		i.network.directory.own(addr, &i.station)
	}
}

// disown is the reverse of own: the address is neither answered for nor announced.
func (i *iface) disown(addr uint32) {
	i.network.directory.disown(addr, &i.station)
	delete(i.ownedSet, addr)
	i.owned = slices.DeleteFunc(i.owned, func(a uint32) bool { return a == addr })
	i.fresh = slices.DeleteFunc(i.fresh, func(f freshAddr) bool { return f.addr == addr })
}

// onLink reports whether an address is in a subnet of the network.
func (i *iface) onLink(addr uint32) bool {
	for _, p := range i.prefixes {
		if p.contains(addr) {
			return true
		}
	}
	return false
}

// isBroadcast reports whether an address is the first or last of a subnet, which
// is no host's. Subnets of two addresses or one have none (RFC 3021).
func (i *iface) isBroadcast(addr uint32) bool {
	for _, p := range i.prefixes {
		if p.contains(addr) && p.mask < 0xfffffffe && (addr == p.addr || addr == p.addr|^p.mask) {
			return true
		}
	}
	return false
}

// bypasses reports whether b would answer a directly, past the router: both are
// in one subnet here.
func (i *iface) bypasses(a, b uint32) bool {
	for _, p := range i.prefixes {
		if p.contains(a) && p.contains(b) {
			return true
		}
	}
	return false
}

// addrFor is the interface's address in the subnet of addr, else its first.
func (i *iface) addrFor(addr uint32) uint32 {
	for _, a := range i.addrs {
		if a.prefix.contains(addr) {
			return a.addr
		}
	}
	return i.addrs[0].addr
}

// A plan is the networks and routers of a topology.
type plan struct {
	networks []*network
	routers  []*vrouter
	internal []*network // of the engine's own services
	pools    []*pool
	members  uint32 // how many have been made: the next one's ID
}

// build makes the networks and routers of a topology.
// checks: members whose pool has a monitor are checked, and down until then.
func build(topo *file.Topology, rng *rand.Rand, checks bool) (*plan, error) {
	b := &builder{topo: topo, checked: checks, byName: map[string]*network{}, rng: rng, macs: map[string]map[packet.MAC]bool{}}
	p := &b.plan
	for i := range topo.Networks {
		c := &topo.Networks[i]
		n := &network{
			name:     c.Name,
			mtu:      c.MTU,
			linkMTU:  c.MTU,
			external: c.External,
			table:    macTable{seed: rng.Uint64()},
		}
		b.byName[c.Name] = n
		p.networks = append(p.networks, n)
		b.reserve(n, c)
	}
	for i := range topo.Pools {
		p.pools = append(p.pools, b.pool(&topo.Pools[i]))
	}
	for i := range topo.Ports {
		b.taken(topo.Ports[i].Network, packet.MAC(topo.Ports[i].MAC))
	}
	for i := range topo.Routers {
		r, err := b.router(&topo.Routers[i])
		if err != nil {
			return nil, fmt.Errorf("router %q: %w", topo.Routers[i].Name, err)
		}
		p.routers = append(p.routers, r)
	}
	return p, nil
}

// A builder turns a topology into routers.
type builder struct {
	plan
	topo    *file.Topology
	byName  map[string]*network
	rng     *rand.Rand
	checked bool
	macs    map[string]map[packet.MAC]bool // in use, by network
}

// router makes one router.
func (b *builder) router(c *file.Router) (*vrouter, error) {
	rng := split(b.rng)
	conns := conntrack.NewTable(connConfig(c.NAT), rng)
	r := &vrouter{
		name: c.Name, ifaces: []*iface{nil},
		conns: conns, nat: nat.NewTable(natConfig(c.NAT), conns, rng), arp: neighbor.NewTable(),
		owned: map[uint32]bool{}, clamp: c.NAT.MSSClamp,
		rpFilter: rpFilters[c.RPFilter], exhausted: map[DropReason]time.Duration{},
		errors: limiter{limits: errorLimits, secret: b.rng.Uint64() | 1}, idents: newIdents(b.rng),
		fragments: newFragments(c.NAT.Timeouts.Fragment),
	}
	r.echoes = limiter{limits: echoLimits, secret: r.errors.secret}
	for i := range c.Interfaces {
		ci := &c.Interfaces[i]
		f, err := b.iface(r, ci.Network, ci.Addresses)
		if err != nil {
			return nil, err
		}
		for _, a := range f.addrs {
			f.own(a.addr)
			r.owned[a.addr] = true
		}
	}
	r.balancer = balancer{router: r, backends: make([]backend, 1)}
	r.conns.Observe(connObserver{r})
	r.arp.OnChange(r.neighborChanged)
	if c.Gateway != nil {
		if err := b.gateway(r, c.Gateway, c.NAT.NoSNAT); err != nil {
			return nil, err
		}
	}
	b.floatingIPs(r)
	if err := b.vips(r); err != nil {
		return nil, err
	}
	if err := b.routes(r, c); err != nil {
		return nil, err
	}
	if b.checked {
		return r, b.checks(r)
	}
	return r, nil
}

// iface adds an interface to a router.
func (b *builder) iface(r *vrouter, name string, addrs []netip.Prefix) (*iface, error) {
	n := b.byName[name]
	if n == nil || len(addrs) == 0 {
		return nil, fmt.Errorf("interface on network %q: no such network, or no address there; is the topology validated?", name)
	}
	return b.ifaceOn(r, n, addrs), nil
}

// ifaceOn is iface for a network that is known.
func (b *builder) ifaceOn(r *vrouter, n *network, addrs []netip.Prefix) *iface {
	i := &iface{
		station: station{network: n, mac: b.mac(r.name, n.name)},
		id:      uint16(len(r.ifaces)), router: r, external: n.external, mtu: n.mtu, ownedSet: map[uint32]bool{},
	}
	i.owner = i
	for _, a := range addrs {
		p := newPrefix(a)
		i.addrs = append(i.addrs, ifaceAddr{packet.FromAddr(a.Addr()), p})
		i.prefixes = append(i.prefixes, p)
		r.routes.Insert(a.Masked(), route{out: i})
	}
	r.ifaces = append(r.ifaces, i)
	n.routers = append(n.routers, &i.station)
	return i
}

// gateway joins a router to its external network. All of that network's subnets
// are on link, as floating IPs may come from any.
func (b *builder) gateway(r *vrouter, c *file.RouterGateway, plain []netip.Prefix) error {
	i, err := b.iface(r, c.Network, []netip.Prefix{c.Prefix})
	if err != nil {
		return err
	}
	r.gateway = &gateway{iface: i, addr: packet.FromAddr(c.Address), snat: c.SNAT}
	for _, p := range plain {
		if p.Addr().Is4() {
			r.gateway.plain = append(r.gateway.plain, newPrefix(p))
		}
	}
	i.own(r.gateway.addr)
	r.owned[r.gateway.addr] = true
	r.gateway.shareOut(c.SNATAddresses)
	for a := range r.gateway.more {
		r.owned[a] = true
	}
	for k := range b.topo.Networks {
		n := &b.topo.Networks[k]
		if n.Name != c.Network {
			continue
		}
		for _, s := range n.Subnets {
			if s.CIDR.Addr().Is4() && s.CIDR.Masked() != c.Prefix.Masked() {
				i.prefixes = append(i.prefixes, newPrefix(s.CIDR))
				r.routes.Insert(s.CIDR.Masked(), route{out: i})
			}
		}
	}
	if c.NextHop.IsValid() {
		r.routes.Insert(netip.PrefixFrom(netip.IPv4Unspecified(), 0), route{i, packet.FromAddr(c.NextHop)})
	}
	return nil
}

// shareOut says which addresses internal hosts show outside, and owns them.
func (g *gateway) shareOut(ranges []file.AddressRange) {
	g.shared, g.more = []uint32{g.addr}, map[uint32]bool{}
	if len(ranges) > 0 {
		g.shared = nil
	}
	for _, r := range ranges {
		for a := r.First; a.Compare(r.Last) <= 0; a = a.Next() {
			addr := packet.FromAddr(a)
			g.shared = append(g.shared, addr)
			if addr != g.addr {
				g.more[addr] = true
				g.iface.own(addr)
			}
		}
	}
}

// routes adds the static routes: to next hops that are on link.
func (b *builder) routes(r *vrouter, c *file.Router) error {
	for _, rt := range c.Routes {
		via := packet.FromAddr(rt.NextHop)
		var out *iface
		for _, i := range r.ifaces[1:] {
			if i.onLink(via) {
				out = i
			}
		}
		if out == nil {
			return fmt.Errorf("route to %v: next hop %v is on none of the router's networks", rt.Destination, rt.NextHop)
		}
		r.routes.Insert(rt.Destination.Masked(), route{out, via})
	}
	return nil
}

// floatingIPs gives a router its floating IPs and forwarded ports. Those that
// lead nowhere are not owned by anybody.
func (b *builder) floatingIPs(r *vrouter) {
	for k := range b.topo.FloatingIPs {
		f := &b.topo.FloatingIPs[k]
		if f.Router != r.name || r.gateway == nil {
			continue
		}
		addr := packet.FromAddr(f.Address)
		var to nat.Floating
		if f.FixedIP.IsValid() {
			to.Fixed = packet.FromAddr(f.FixedIP)
		}
		for _, p := range f.PortForwarding {
			to.Forwards = append(to.Forwards, nat.Forward{
				Proto: protoNumber(p.Protocol), Port: p.ExternalPort,
				To: nat.Endpoint{Addr: packet.FromAddr(p.FixedIP), Port: p.Port},
			})
		}
		r.static = r.static.With(addr, to)
		if r.static.Owns(addr) {
			r.gateway.iface.own(addr)
			if !f.FixedIP.IsValid() {
				r.owned[addr] = true // what is not forwarded is for the router
			}
		}
	}
}

// vips gives a router its VIPs. Those that name the same pool share its turns.
func (b *builder) vips(r *vrouter) error {
	for k := range b.topo.VIPs {
		v := &b.topo.VIPs[k]
		if v.Router != r.name {
			continue
		}
		pool := b.plan.pool(v.Pool)
		if pool == nil {
			return fmt.Errorf("VIP %q: no pool %q; is the topology validated?", v.Name, v.Pool)
		}
		addr, share := packet.FromAddr(v.Address), pool.share(r)
		own := &vip{
			VIP:   lb.VIP{Name: v.Name, Addr: addr, Proto: protoNumber(v.Protocol), Port: v.Port, Pool: share.pool},
			share: share, limit: v.ConnectionLimit, class: r.idleClass(v.IdleTimeout),
		}
		if len(v.AllowedCIDRs) > 0 {
			own.allowed = new(bart.Lite)
			for _, p := range v.AllowedCIDRs {
				own.allowed.Insert(p)
			}
		}
		r.addVIP(own)
		r.owned[addr] = true
		for _, i := range r.ifaces[1:] {
			if i.network.name == v.Network {
				i.own(addr)
			}
		}
	}
	return nil
}

func (b *builder) pool(c *file.Pool) *pool {
	p := &pool{
		name: c.Name, proto: protoNumber(c.Protocol), monitor: c.Monitor, algorithm: c.Algorithm,
		config:   lb.Config{Algorithm: algorithms[c.Algorithm]},
		keepDown: c.OnMemberDown != "reset", drainRemoved: c.OnMemberRemoved != "reset",
	}
	if s := c.SessionPersistence; s != nil {
		p.config.Persistence = s.Timeout
	}
	for i := range c.Members {
		p.members = append(p.members, b.member(p, &c.Members[i]))
	}
	return p
}

var algorithms = map[string]lb.Algorithm{
	"ROUND_ROBIN": lb.RoundRobin, "LEAST_CONNECTIONS": lb.LeastConnections,
	"SOURCE_IP": lb.SourceIP, "SOURCE_IP_PORT": lb.SourceIPPort,
}

// mac chooses the router's address on a network, the same one each time, and
// one that nobody else on the network is known to have.
func (b *builder) mac(router, network string) packet.MAC {
	for k := 0; ; k++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", router, network, k))
		m := packet.MAC{0xfa, 0x16, 0x3e, sum[0], sum[1], sum[2]} // the prefix Neutron uses, locally administered
		if b.taken(network, m) {
			return m
		}
	}
}

// taken marks an address as used on a network, and reports whether it was free.
func (b *builder) taken(network string, m packet.MAC) bool {
	if b.macs[network] == nil {
		b.macs[network] = map[packet.MAC]bool{}
	}
	if b.macs[network][m] {
		return false
	}
	b.macs[network][m] = true
	return true
}

func protoNumber(p file.Protocol) uint8 {
	if p == file.UDP {
		return packet.ProtoUDP
	}
	return packet.ProtoTCP
}

var behaviors = map[string]nat.Behavior{
	"endpoint-independent":       nat.EndpointIndependent,
	"address-dependent":          nat.AddressDependent,
	"address-and-port-dependent": nat.AddressAndPortDependent,
}

var rpFilters = map[string]rpFilter{"loose": rpLoose, "strict": rpStrict}

// natConfig and connConfig translate the file's settings.
func natConfig(c *file.NAT) nat.Config {
	return nat.Config{
		Mapping: behaviors[c.Mapping], Filtering: behaviors[c.Filtering],
		HostShare: c.HostShare, PortMin: c.PortMin, PortMax: c.PortMax,
	}
}

func connConfig(c *file.NAT) conntrack.Config {
	return conntrack.Config{
		MaxConnections: c.MaxConnections, HostShare: c.HostShare,
		UDP: c.Timeouts.UDP, ICMP: c.Timeouts.ICMP,
		TCPEstablished: c.Timeouts.TCPEstablished, TCPOpening: c.Timeouts.TCPOpening, TCPClosing: c.Timeouts.TCPClosing,
	}
}
