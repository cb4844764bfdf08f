package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// dump writes down everything that packets obey: two engines with the same dump give the same answers, as long as
// nothing has happened on them.
func dump(e *Engine) string {
	b := &strings.Builder{}
	line := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	s := e.State()
	for o := range s.Networks() {
		n := e.networks[wire.ID(o.ID)]
		line("network %s mtu %d/%d external %t down %t", n.Name(), n.MTU, n.LinkMTU, n.External, n.Down)
		dumpStations(line, n)
		line("  storms %v\n%s", n.StormGap(), n.Rules)
		for _, p := range n.Ports {
			line("  port %s mtu %d network %v exempt %t", p.Link.Name, p.Link.WantMTU, p.Link.Owner.Networks(),
				p.Link.Exempt)
		}
	}
	for o := range s.Routers() {
		dumpRouter(line, s, e, e.routers[wire.ID(o.ID)])
	}
	routers, networks := 0, 0
	for _, w := range e.workers {
		routers, networks = routers+len(w.routers), networks+len(w.networks)
	}
	line("%d routers, %d networks, polls %v", routers, networks, e.workers[0].BusyPoll)
	return b.String()
}

func dumpStations(line func(string, ...any), n *wire.Network) {
	var stations []string
	for _, st := range n.Stations() {
		what := "service"
		if i, ok := st.Owner.(*ip.Interface); ok {
			what = fmt.Sprintf("router %s gone %t mtu %d", i.Router.Name, i.Gone, i.MTU)
		}
		if n.ByMAC.Load().Lookup(st.MAC[:]) != st {
			what += " not found"
		}
		stations = append(stations, fmt.Sprintf("  station %v %s", st.MAC, what))
	}
	slices.Sort(stations)
	line("%s", strings.Join(stations, "\n"))
	line("  only %v direct %t sole %t", n.OnlyStation.Station != nil, n.Shortcut != nil, n.OnlyPort.Load() != nil)
	var owners []string
	for addr, all := range n.Directory.Owners {
		for _, st := range all {
			owners = append(owners, fmt.Sprintf("  owner of %v: %v", addr.Netip(), st.MAC))
		}
	}
	slices.Sort(owners)
	line("%s", strings.Join(owners, "\n"))
}

func dumpRouter(line func(string, ...any), s *config.State, e *Engine, r *ip.Router) {
	line("router %s rpfilter %v clamp %t fragment %v/%v tables %+v quiet %t", r.Name, r.RPFilter, r.Clamp, r.Fragment,
		r.Fragments.Known.Life, r.Tables, r.Quiet)
	name := func(i *ip.Interface) string {
		if i == nil {
			return "none"
		}
		return fmt.Sprintf("%s (%v)", i.Network.Name(), i.MAC)
	}
	for _, f := range r.Attached {
		if r.Interfaces[f.Of.ID] != f.Of || f.Of.InterfaceRules != f {
			line("  interface %s is not in its place", name(f.Of))
		}
		line("  interface %s external %t addrs %v prefixes %v", name(f.Of), f.External, f.Addrs, f.Prefixes)
	}
	if g := r.Gateway; g != nil {
		line("  gateway %s %v snat %t plain %v shared %v", name(g.Interface), g.Addr.Netip(), g.SNAT, g.Plain,
			g.Shared)
	}
	for p, rt := range r.Routes.AllSorted4() {
		line("  route %v via %v %s", p, rt.Via.Netip(), name(rt.Out))
	}
	var owned []string
	for addr, o := range r.Owned.All() {
		owned = append(owned, fmt.Sprintf("  owns %v at %s: %d, local %d", addr.Netip(), name(o.At), o.ARP,
			o.Local))
	}
	slices.Sort(owned)
	line("%s", strings.Join(owned, "\n"))
	for f := range s.FloatingIPs() {
		if to := r.Static.Get(packet.AddrFrom(f.Address)); to.Fixed != 0 || len(to.Forwards) > 0 {
			shown, _ := r.Static.Floating(to.Fixed)
			line("  floating %v %+v shown %v", f.Address, to, shown.Netip())
		}
	}
	for addr, o := range r.Origins.Floating.All() {
		line("  origin of %v: %v, of forwarded ports %v", addr.Netip(), o.Origin, o.Forwards)
	}
	for _, v := range r.Listed {
		if r.VIPs.Find(v.Addr, v.Proto, v.Port) != &v.VIP || r.Listeners[v.VIP.ID] != v.Of || v.Of.VIPRules != v ||
			v.Pool != v.Of.Share.Pool || r.ByListener[v.ListenerID] != v.Of || r.Shares[v.PoolID] != v.Of.Share {
			line("  VIP %s is not in its place", v.Name)
		}
		line("  VIP %s %v %d:%d at %s limit %d idle %v allowed %v class %t", v.Name, v.Addr.Netip(), v.Proto,
			v.Port, name(v.At), v.Limit, v.Idle, allowedText(v), v.Of.Class != 0)
		dumpShare(line, e, v.Of.Share, v.Of)
	}
	line("  listeners %d shares %d", len(r.ByListener), len(r.Shares))
	line("  checks %t", e.checkers[r] != nil)
}

func allowedText(v *ip.VIPRules) string {
	if v.Allowed == nil {
		return "all"
	}
	var all []string
	for p := range v.Allowed.AllSorted4() {
		all = append(all, p.String())
	}
	return strings.Join(all, " ")
}

func dumpShare(line func(string, ...any), e *Engine, s *ip.PoolShare, v *ip.VIP) {
	c := s.Of.Config
	tables := c.Tables != nil
	c.Tables = nil
	line("    pool %s %+v tables %t keep %t drain %t monitored %t %t", s.Of.Name, c, tables, s.Of.KeepDown,
		s.Of.DrainRemoved,
		s.Of.Monitored, e.monitors[s] != nil)
	for k, m := range s.Pool.Members() {
		is := s.Of.Members[k]
		if is.ID != m.ID {
			line("    another order")
		}
		_, ok := v.Numbers[m.ID]
		line("    member %s %v:%d checked %v weight %d backup %t up %t number %t", is.Name, m.Addr.Netip(), m.Port,
			is.Checked, m.Weight, m.Backup, m.AdminStateUp, ok)
	}
	if len(v.Numbers) != len(s.Of.Members) {
		line("    %d numbers of %d members", len(v.Numbers), len(s.Of.Members))
	}
}

// firstDifference is where two texts differ.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, x, y)
		}
	}
	return ""
}

// supported makes random States that the engine can serve.
func supported(seed uint64) *configtest.Maker {
	g := configtest.New(seed)
	g.Wrong = 0
	g.Allow = func(s *config.State) bool { return len(Unsupported(s)) == 0 }
	return g
}

// applied starts a simulation with one State and has it serve another one.
func applied(t *testing.T, a *config.State, then ...*config.State) *Simulation {
	t.Helper()
	s, err := simulate(a, 1, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range then {
		p, err := s.Prepare(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		p.quiet = true // announcements would be all that differs
		p.Commit()
	}
	return s
}

// For random States, a router that has served one and serves another one now obeys the same as one that starts with the
// second: it has the same rules, and gives the same answers to the same packets. And back again.
func TestApplyIsLikeStart(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 6
	}
	for seed := range uint64(seeds) {
		g := supported(seed)
		a := withWorkers(t, g.State(), 1+int(seed%3))
		for step := range 8 {
			b := g.Next(a, 1+step)
			got, want := applied(t, a, b), applied(t, b)
			if where := firstDifference(dump(got.Engine), dump(want.Engine)); where != "" {
				t.Fatalf("seed %d, step %d: after Apply, %s\nchanges:\n%s", seed, step, where, changesText(a, b))
			}
			if where := compareAnswers(t, got, want, seed); where != "" {
				t.Fatalf("seed %d, step %d: after Apply, %s\nchanges:\n%s", seed, step, where, changesText(a, b))
			}
			back := applied(t, a, b, a)
			if where := firstDifference(dump(back.Engine), dump(applied(t, a).Engine)); where != "" {
				t.Fatalf("seed %d, step %d: back again, %s\nchanges:\n%s", seed, step, where, changesText(a, b))
			}
			a = b
		}
	}
}

// withWorkers is a State with so many workers.
func withWorkers(t *testing.T, s *config.State, workers int) *config.State {
	t.Helper()
	d, settings := s.Edit(), *s.Settings()
	settings.Engine.Workers = workers
	d.Put(&settings)
	to, faults := d.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return to
}

func changesText(a, b *config.State) string {
	var all []string
	for _, l := range config.Describe(a, b, config.Diff(a, b)) {
		all = append(all, fmt.Sprint(l))
	}
	return strings.Join(all, "\n")
}

// compareAnswers sends the same packets into two simulations and compares what comes out.
func compareAnswers(t *testing.T, got, want *Simulation, seed uint64) string {
	t.Helper()
	a, b := newPlayer(t, got), newPlayer(t, want)
	rng := rand.New(rand.NewPCG(seed, 7))
	for k := range 60 {
		choice := rng.Uint64()
		x, y := a.play(choice), b.play(choice)
		if where := firstDifference(x, y); where != "" {
			return fmt.Sprintf("packet %d, %s", k, where)
		}
	}
	return ""
}

// A player sends packets of hosts of a State.
type player struct {
	*sim
	hosts []*simHost
	dests []netip.Addr
}

func newPlayer(t *testing.T, s *Simulation) *player {
	p := &player{sim: &sim{Simulation: s, t: t, all: s.workers, w: s.workers[0], nets: map[string]*wire.Network{},
		hosts: map[hostKey]*simHost{}}}
	state := s.State()
	for n := range state.Networks() {
		if name := string(n.ID); p.nets[name] == nil {
			p.nets[name] = s.networks[wire.ID(n.ID)]
			p.names = append(p.names, name)
		}
		for sub := range state.SubnetsOf(n.ID) {
			for _, k := range []int{9, 11} {
				a := sub.CIDR.Masked().Addr()
				for range k {
					a = a.Next()
				}
				if state.Owner(n.ID, a) == nil {
					p.hosts = append(p.hosts, p.host(string(n.ID), a.String()))
				}
				p.dests = append(p.dests, a)
			}
		}
	}
	for o := range state.Ports() { // with the port's own MAC address, and with another one
		for _, f := range o.FixedIPs {
			if isBound(o) && f.Address.Is4() {
				own := p.host(string(o.Network), f.Address.String())
				other := p.host(string(o.Network), f.Address.String())
				own.mac = packet.MAC(o.MAC)
				p.hosts = append(p.hosts, own, other)
			}
		}
	}
	for f := range state.FloatingIPs() {
		p.dests = append(p.dests, f.Address)
	}
	for b := range state.LoadBalancers() {
		p.dests = append(p.dests, b.Address)
	}
	for r := range state.Routers() {
		for i := range state.InterfacesOf(r.ID) {
			for _, f := range i.FixedIPs {
				p.dests = append(p.dests, f.Address)
			}
		}
	}
	for m := range state.Members() {
		p.dests = append(p.dests, m.Address)
	}
	return p
}

// play sends a packet and returns what has come out.
func (p *player) play(choice uint64) string {
	if len(p.hosts) == 0 {
		return ""
	}
	rng := rand.New(rand.NewPCG(choice, 1))
	h, dst := p.hosts[rng.IntN(len(p.hosts))], p.dests[rng.IntN(len(p.dests))]
	n := p.nets[h.net]
	var mac packet.MAC
	routers := interfaces(n)
	if len(routers) == 0 {
		return ""
	}
	{
		slices.SortFunc(routers, func(a, b *ip.Interface) int {
			return strings.Compare(a.MAC.String(), b.MAC.String())
		})
		mac = routers[rng.IntN(len(routers))].MAC
	}
	port := []uint16{22, 53, 80, 2222, 8080}[rng.IntN(5)]
	var eth []byte
	switch rng.IntN(4) {
	case 0:
		eth = p.build(h, dst.String(), layers.IPProtocolUDP, nil,
			&layers.UDP{SrcPort: 4000, DstPort: layers.UDPPort(port)},
			payload(8))
	case 1:
		eth = p.build(h, dst.String(), layers.IPProtocolTCP, nil,
			&layers.TCP{SrcPort: 4000, DstPort: layers.TCPPort(port), Seq: 1, SYN: true, Window: 65535})
	case 2:
		eth = p.build(h, dst.String(), layers.IPProtocolICMPv4, nil, pingLayer(), payload(8))
	default:
		p.now += time.Duration(rng.IntN(3000)) * time.Millisecond
		eth = make([]byte, packet.ARPLen)
		packet.PutARP(eth, h.mac, packet.Broadcast,
			packet.ARP{Request: true, SenderMAC: h.mac, Sender: packet.AddrFrom(h.addr), Target: packet.AddrFrom(dst)})
	}
	if eth[0]&1 == 0 {
		copy(eth, mac[:])
	}
	p.put(h.net, eth)
	var out []string
	for _, name := range p.names {
		for _, f := range p.Take(name) {
			out = append(out, fmt.Sprintf("%s %x", p.nets[name].Name(), f.Buf[f.Head:f.Tail]))
		}
	}
	slices.Sort(out) // workers take turns
	return strings.Join(out, "\n")
}

// What several goroutines do is done once, and what is numbered is numbered in the order of the routers all the same.
func TestManyRoutersArePlannedInOrder(t *testing.T) {
	var done [3 * spreadFrom]atomic.Int32
	for _, n := range []int{0, 1, spreadFrom, len(done)} {
		spread(n, func(k int) { done[k].Add(1) })
	}
	for k := range done {
		want := int32(1)
		if k < spreadFrom {
			want++
		}
		if k == 0 {
			want++
		}
		if got := done[k].Load(); got != want {
			t.Fatalf("%d was done %d times, want %d", k, got, want)
		}
	}
	e, err := Start(crowd(t, 0, 2*spreadFrom), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	next := uint32(0)
	for k, r := range e.view.Load().routers {
		for _, s := range r.Shares {
			if got := s.Of.Members[0].ID; got != next || r.Worker == nil || len(r.Attached) != 2 {
				t.Fatalf("router %d has member %d, want %d, and %d interfaces", k, got, next, len(r.Attached))
			}
			next++
		}
	}
	if next != 2*spreadFrom {
		t.Errorf("%d members", next)
	}
}

// The hash table of a large pool is made before the change, once for all routers, and anew only with the members.
func TestTablesOfAPoolAreMadeOnce(t *testing.T) {
	d := stateOf(t, tutorial()).Edit()
	var pool *config.Pool
	for o := range d.All() {
		if p, ok := o.(*config.Pool); ok {
			changed := *p
			changed.Algorithm = "SOURCE_IP"
			pool = &changed
		}
	}
	d.Put(pool)
	member := func(k int) *config.Member {
		return &config.Member{
			Meta: config.Meta{ID: tenantID(k, "member"), Name: fmt.Sprint("m", k)}, Pool: pool.ID, Port: 80, Weight: 1,
			Address: netip.AddrFrom4([4]byte{172, 16, 100, byte(20 + k)}), AdminStateUp: true,
		}
	}
	for k := range 150 {
		d.Put(member(k))
	}
	s, faults := d.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	e, err := Start(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tables := func() *lb.Tables { return e.pools[pool.ID].Config.Tables }
	change := func(o config.Object) {
		t.Helper()
		d := e.State().Edit()
		d.Put(o)
		to, faults := d.Check()
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(t.Context(), to); err != nil {
			t.Fatal(err)
		}
	}
	first := tables()
	if first == nil {
		t.Fatal("there are none")
	}
	down := member(3)
	down.AdminStateUp = false
	change(down)
	if tables() != first {
		t.Error("they are made anew for a member that is down")
	}
	heavy := member(3)
	heavy.Weight = 7
	change(heavy)
	if tables() == first || tables() == nil {
		t.Error("they are not made anew for another weight")
	}
}
