// Package configtest makes random States and random edits of them, for tests that compare what a State does
// after edits with what it does from scratch. It also measures how the effort of a job grows. It is a package of
// its own because the tests of several packages need the same.
package configtest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// A Maker makes States and edits. It is not safe for concurrent use.
type Maker struct {
	// Devices gives networks devices, which are named and need not exist.
	Devices bool

	// Wrong is how many edits in a hundred have a value that nothing may have, or refer to nothing. Other edits may
	// be invalid, too: because of an object that exists already.
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
		g.delete, g.editTenant, g.editGroup, g.editGroup,
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
		return netip.MustParsePrefix("10.0.0.0/24") // it holds some of the prefixes below
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

func (g *Maker) editSettings(d *config.Draft) {
	s := *d.Settings()
	s.NAT.MaxConnections = 1000 + g.rng.IntN(3)
	s.NAT.PortMax = []uint16{0, 40000}[g.rng.IntN(2)]
	s.DNS = config.DNS{Via: []string{"", config.ViaHost}[g.rng.IntN(2)]}
	for i := range g.rng.IntN(3) {
		server := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		s.DNS.Forward = append(s.DNS.Forward, netip.AddrPortFrom(server, uint16(53+g.rng.IntN(2))))
	}
	s.Metadata = config.Metadata{}
	if g.chance(2) {
		s.Metadata = config.Metadata{Forward: "http://198.51.100.9:8775", Via: s.DNS.Via,
			Secret: []string{"", "a \"key\""}[g.rng.IntN(2)]}
	}
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
	switch g.rng.IntN(11) {
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
	case 9:
		d.Put(&config.SecurityGroupRule{Meta: g.meta(""), Group: g.id(), Direction: "up", Protocol: "256"})
	case 10:
		if p := some(g, d.Ports(), 0); p != nil && p.DeviceOwner != config.OwnerGateway {
			p.SecurityGroups = []config.ID{g.id()}
			d.Put(p)
		}
	}
}
