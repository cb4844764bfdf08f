// Package configtest makes random States and random edits of them, for tests that compare what a State does
// after edits with what it does from scratch. It is a package of its own because the tests of several packages
// need the same States.
package configtest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
)

// A Maker makes States and edits. It is not safe for concurrent use.
type Maker struct {
	// Devices gives networks devices, which are named and need not exist.
	Devices bool

	// Wrong is how many edits in a hundred have a value that nothing may have, or refer to nothing. Others may
	// be invalid for what is there already.
	Wrong int

	// Allow says which States may be made; nil: all.
	Allow func(*config.State) bool

	// LeftOpen says whether an edit has left open what the object has had, since LeftOpen was last set to false.
	LeftOpen bool

	rng *rand.Rand
	n   int // objects made, for names
}

// New returns a Maker. The same seed gives the same States.
func New(seed uint64) *Maker {
	return &Maker{rng: rand.New(rand.NewPCG(seed, seed)), Wrong: 5}
}

// State makes a State of two to four networks, one to three routers, and a few of the other objects.
func (g *Maker) State() *config.State {
	for {
		if s := g.base(); s != nil {
			for range 30 {
				s = g.Next(s, 1)
			}
			return s
		}
	}
}

// base makes a State of routers that connect networks, nil if chance has given two networks one device.
func (g *Maker) base() *config.State {
	d := config.Empty().Edit()
	out := g.network(true)
	d.Put(out, g.subnet(out, 0, false))
	var routers []*config.Router
	for range 1 + g.rng.IntN(3) {
		r := &config.Router{Meta: g.meta("r"), AdminStateUp: true}
		if g.rng.IntN(4) > 0 {
			r.Gateway = &config.Gateway{Network: out.ID, SNAT: true}
		}
		routers = append(routers, r)
		d.Put(r)
	}
	for i := range 1 + g.rng.IntN(3) {
		n := g.network(false)
		s := g.subnet(n, i, false)
		d.Put(n, s, &config.Port{
			Meta: g.meta("i"), Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(routers[i%len(routers)].ID), FixedIPs: []config.FixedIP{{Subnet: s.ID}},
		})
	}
	s, _ := d.Check()
	if s != nil && g.Allow != nil && !g.Allow(s) {
		return nil
	}
	return s
}

// Next makes a State from another one by up to n edits. Edits that are invalid are left out.
func (g *Maker) Next(s *config.State, n int) *config.State {
	for range 100 {
		d := s.Edit()
		for range 1 + g.rng.IntN(n) {
			g.Edit(d)
		}
		if next, _ := d.Check(); next != nil && (g.Allow == nil || g.Allow(next)) {
			return next
		}
	}
	return s
}

// Scratch returns a Draft of the empty State with the content of another one: parents first, in the order of positions.
func Scratch(s *config.State) *config.Draft {
	d := config.Empty().Edit()
	for o := range s.All() {
		d.Put(o)
	}
	return d
}

// Edit makes one edit: it adds, changes or deletes an object of any kind.
func (g *Maker) Edit(d *config.Draft) {
	if g.rng.IntN(100) < g.Wrong {
		g.wrong(d)
		return
	}
	edits := []func(*config.Draft){
		g.editNetwork, g.editSubnet, g.editSubnet, g.editRouter, g.editRouter, g.editInterface, g.editInterface,
		g.editPort, g.editPort,
		g.editFloatingIP, g.editFloatingIP, g.editFloatingIP, g.editForwarding, g.editPool, g.editMonitor, g.editMember,
		g.editMember,
		g.editMember, g.editBalancer, g.editBalancer, g.editListener, g.editListener, g.editSettings, g.editLabel,
		g.delete, g.editTenant,
	}
	edits[g.rng.IntN(len(edits))](d)
}

func (g *Maker) id() config.ID {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return config.NewID(b)
}

func (g *Maker) meta(prefix string) config.Meta {
	g.n++
	m := config.Meta{ID: g.id(), Name: fmt.Sprintf("%s%d", prefix, g.n)}
	if g.rng.IntN(8) == 0 {
		m.Name = prefix // names repeat
	}
	return m
}

func (g *Maker) chance(oneIn int) bool { return g.rng.IntN(oneIn) == 0 }

// pick returns one of a sequence, or the zero value if there is none.
func pick[T any](g *Maker, seq func(yield func(T) bool)) T {
	list := slices.Collect(seq)
	var none T
	if len(list) == 0 {
		return none
	}
	return list[g.rng.IntN(len(list))]
}

// some returns an object to change, or nil: then a new one is to be made.
func some[T any](g *Maker, seq func(yield func(*T) bool), most int) *T {
	list := slices.Collect(seq)
	if len(list) == 0 || len(list) < most && g.chance(2) {
		return nil
	}
	o := *list[g.rng.IntN(len(list))]
	return &o
}

func (g *Maker) network(external bool) *config.Network {
	n := &config.Network{Meta: g.meta("n"), AdminStateUp: true, External: external}
	if g.Devices && g.chance(2) {
		n.Devices = g.devices()
	}
	return n
}

func (g *Maker) devices() []config.Device {
	all := []config.Device{
		{Kind: config.DeviceTAP, Name: "t0"}, {Kind: config.DeviceTAP, Name: "t1"},
		{Kind: config.DeviceTAP, Name: "t2"},
		{Kind: config.DeviceRaw, Name: "t1"}, {Kind: config.DeviceUnix, Path: "/run/u"},
	}
	g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+g.rng.IntN(2)]
}

// prefix is one of few prefixes, most of which do not overlap.
func (g *Maker) prefix(external bool, i int) netip.Prefix {
	switch {
	case g.chance(10):
		return netip.MustParsePrefix(fmt.Sprintf("fd00:0:0:%d::/120", i))
	case g.chance(12):
		return netip.MustParsePrefix("10.0.0.0/24") // around some of those below
	case g.chance(20):
		return netip.MustParsePrefix("169.254.1.0/28")
	case external:
		return netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/28", 16*i))
	}
	return netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/28", i%2, 16*i))
}

func (g *Maker) subnet(n *config.Network, i int, any bool) *config.Subnet {
	p := netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/28", i%2, 16*i))
	if n.External {
		p = netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/28", 16*i))
	}
	if any {
		p = g.prefix(n.External, i)
	}
	return &config.Subnet{Meta: g.meta("s"), Network: n.ID, CIDR: p, Gateway: config.FirstHost(p)}
}

// host is an address of a subnet, mostly one that a host may have.
func (g *Maker) host(s *config.Subnet) netip.Addr {
	if s == nil || !s.CIDR.IsValid() {
		return netip.MustParseAddr("203.0.113.7")
	}
	a := s.CIDR.Masked().Addr()
	n := 2 + g.rng.IntN(10)
	if g.chance(16) {
		n = g.rng.IntN(16)
	}
	for range n {
		a = a.Next()
	}
	return a
}

// address is an address of a network.
func (g *Maker) address(d *config.Draft, n *config.Network) netip.Addr {
	if n == nil {
		return netip.Addr{}
	}
	return g.host(pick(g, d.SubnetsOf(n.ID)))
}

// inner is an address that is of interest to a router: a host's, a load balancer's or a floating IP's.
func (g *Maker) inner(d *config.Draft) netip.Addr {
	switch g.rng.IntN(6) {
	case 0:
		if b := pick(g, d.LoadBalancers()); b != nil {
			return b.Address
		}
	case 1:
		if f := pick(g, d.FloatingIPs()); f != nil {
			return f.Address
		}
	case 2:
		if p := pick(g, d.Ports()); p != nil && len(p.FixedIPs) > 0 {
			return p.FixedIPs[0].Address
		}
	}
	return g.address(d, pick(g, d.Networks()))
}

func (g *Maker) editNetwork(d *config.Draft) {
	n := some(g, d.Networks(), 4)
	if n == nil {
		d.Put(g.network(g.chance(4)))
		return
	}
	switch g.rng.IntN(8) {
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
	switch g.rng.IntN(6) {
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
		r.NAT.MaxConnections = g.rng.IntN(3) * 1000
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
	case g.chance(2):
		p.MAC = config.MAC{2, 0, 0, 0, 0, byte(g.rng.IntN(4))}
		p.AllowedAddressPairs = []config.AddressPair{{IP: netip.PrefixFrom(g.inner(d), 32)}}
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

func (g *Maker) editFloatingIP(d *config.Draft) {
	f := some(g, d.FloatingIPs(), 5)
	if f == nil {
		for n := range d.Networks() {
			if n.External {
				f = &config.FloatingIP{Meta: g.meta(""), Network: n.ID}
				if g.chance(2) {
					f.Address = g.address(d, n)
				}
				break
			}
		}
		if f == nil {
			return
		}
	}
	switch g.rng.IntN(5) {
	case 0:
		f.FixedIP = netip.Addr{}
	case 1:
		if r := pick(g, d.Routers()); r != nil {
			f.Router = r.ID
		}
	case 2:
		f.Address, f.Router = netip.Addr{}, ""
		g.LeftOpen = true
	default:
		if d.FloatingIP(f.ID) != nil {
			g.LeftOpen = true
		}
		f.FixedIP, f.Router = g.inner(d), ""
	}
	d.Put(f)
}

func (g *Maker) editForwarding(d *config.Draft) {
	p := some(g, d.PortForwardings(), 3)
	if p == nil {
		f := pick(g, d.FloatingIPs())
		if f == nil {
			return
		}
		p = &config.PortForwarding{Meta: g.meta(""), FloatingIP: f.ID}
	}
	p.Protocol, p.ExternalPort, p.Port = g.protocol(), 8000+uint16(g.rng.IntN(3)), 80+uint16(g.rng.IntN(2))
	p.FixedIP = g.inner(d)
	d.Put(p)
}

func (g *Maker) protocol() config.Protocol {
	if g.chance(4) {
		return config.UDP
	}
	return config.TCP
}

func (g *Maker) editPool(d *config.Draft) {
	p := some(g, d.Pools(), 3)
	if p == nil {
		p = &config.Pool{Meta: g.meta("p"), AdminStateUp: true}
	}
	p.Protocol = g.protocol()
	p.Algorithm = []string{"", "LEAST_CONNECTIONS", "SOURCE_IP"}[g.rng.IntN(3)]
	p.SessionPersistence = nil
	if g.chance(4) {
		p.SessionPersistence = &config.SessionPersistence{Timeout: time.Duration(g.rng.IntN(3)) * time.Minute}
	}
	d.Put(p)
}

func (g *Maker) editMonitor(d *config.Draft) {
	p := pick(g, d.Pools())
	if p == nil {
		return
	}
	m := d.MonitorOf(p.ID)
	if m == nil || g.chance(10) {
		m = &config.Monitor{Meta: g.meta(""), Pool: p.ID, AdminStateUp: true}
	} else {
		n := *m
		m = &n
	}
	m.Type = []string{"TCP", "PING", "UDP-CONNECT", "HTTP"}[g.rng.IntN(4)]
	m.Delay = time.Duration(g.rng.IntN(10)) * time.Second
	d.Put(m)
}

func (g *Maker) editMember(d *config.Draft) {
	m := some(g, d.Members(), 8)
	if m == nil {
		p := pick(g, d.Pools())
		if p == nil {
			return
		}
		m = &config.Member{Meta: g.meta("m"), Pool: p.ID, Weight: 1, AdminStateUp: true}
	}
	switch g.rng.IntN(4) {
	case 0:
		m.Weight = g.rng.IntN(3)
	case 1:
		m.AdminStateUp = !m.AdminStateUp
	default:
		m.Address = g.inner(d)
	}
	if !m.Address.IsValid() {
		m.Address = netip.MustParseAddr("203.0.113.7")
	}
	m.Port = 80 + uint16(g.rng.IntN(2))
	d.Put(m)
}

func (g *Maker) editBalancer(d *config.Draft) {
	b := some(g, d.LoadBalancers(), 4)
	if b == nil {
		n := pick(g, d.Networks())
		if n == nil {
			return
		}
		b = &config.LoadBalancer{Meta: g.meta("b"), Network: n.ID, AdminStateUp: true}
		if g.chance(2) {
			b.Address = g.address(d, n)
		}
		d.Put(b, &config.Listener{Meta: g.meta("v"), LoadBalancer: b.ID, Protocol: config.TCP, Port: 80,
			AdminStateUp: true})
		return
	}
	switch g.rng.IntN(4) {
	case 0:
		b.AdminStateUp = !b.AdminStateUp
	case 1:
		b.Address = g.address(d, d.Network(b.Network))
	case 2:
		if r := pick(g, d.Routers()); r != nil {
			b.Router = r.ID
		}
	case 3:
		b.Router = ""
		g.LeftOpen = true
	}
	d.Put(b)
}

func (g *Maker) editListener(d *config.Draft) {
	l := some(g, d.Listeners(), 5)
	if l == nil {
		b := pick(g, d.LoadBalancers())
		if b == nil {
			return
		}
		l = &config.Listener{Meta: g.meta("v"), LoadBalancer: b.ID, AdminStateUp: true}
	}
	l.Protocol, l.Port, l.Pool = g.protocol(), 80+uint16(g.rng.IntN(2)), ""
	if p := pick(g, d.Pools()); p != nil && !g.chance(4) {
		l.Pool, l.Protocol = p.ID, p.Protocol
	}
	l.AllowedCIDRs = nil
	if g.chance(6) {
		l.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	}
	d.Put(l)
}

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

func (g *Maker) editSettings(d *config.Draft) {
	s := *d.Settings()
	s.NAT.MaxConnections = 1000 + g.rng.IntN(3)
	s.NAT.PortMax = []uint16{0, 40000}[g.rng.IntN(2)]
	d.Put(&s)
}

// delete takes any object away.
func (g *Maker) delete(d *config.Draft) {
	if o := pick(g, d.Of(config.Kind(g.rng.IntN(int(config.NumKinds))))); o != nil {
		d.Delete(o.Ref())
	}
}

// wrong puts an object with a value that it cannot have.
func (g *Maker) wrong(d *config.Draft) {
	switch g.rng.IntN(9) {
	case 0:
		d.Put(&config.Member{Meta: g.meta("m"), Pool: g.id(), Address: g.inner(d), Port: 80})
	case 1:
		d.Put(&config.Port{Meta: g.meta("p"), Network: g.id(), FixedIPs: make([]config.FixedIP, 1)})
	case 2:
		d.Put(&config.Listener{Meta: g.meta("v"), LoadBalancer: g.id(), Protocol: "ICMP", Port: 80, Pool: g.id()})
	case 3:
		if n := some(g, d.Networks(), 0); n != nil {
			n.MTU, n.VLAN = 100000, 4095
			d.Put(n)
		}
	case 4:
		if s := some(g, d.Subnets(), 0); s != nil {
			s.CIDR = netip.PrefixFrom(s.CIDR.Addr().Next(), s.CIDR.Bits())
			d.Put(s)
		}
	case 5:
		if m := some(g, d.Members(), 0); m != nil {
			m.Address, m.Weight = netip.MustParseAddr("127.0.0.1"), 257
			d.Put(m)
		}
	case 6:
		d.Put(&config.FloatingIP{Meta: g.meta(""), Network: g.id(), FixedIP: g.inner(d)})
	case 7:
		if r := some(g, d.Routers(), 0); r != nil {
			r.RPFilter, r.Gateway = "sometimes", &config.Gateway{Network: g.id()}
			d.Put(r)
		}
	case 8:
		d.Put(&config.PortForwarding{Meta: g.meta(""), FloatingIP: g.id()})
	}
}
