package router

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// shownBy are the connections that a filter means, each as its Original tuple.
func shownBy(t *testing.T, e *Engine, f ConnectionFilter) []string {
	t.Helper()
	var all []string
	if err := e.Inspect().Connections(t.Context(), f, func(v *ConnectionView) bool {
		all = append(all, v.Original.String())
		return true
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestConnectionFilters(t *testing.T) {
	l := newLesson(t)
	l.tcpFlow(l.vm4, 4001, "10.10.10.4", 80, l.client)
	l.udp(l.vm3, 4000, "172.16.100.9", 53, "hello")
	l.one("vlan100")
	l.udp(l.vm4, 4002, "10.10.10.4", 53, "hello")
	l.one("ext_net")
	all := shownBy(t, l.Engine, ConnectionFilter{})
	if len(all) != 3 {
		t.Fatalf("%q", all)
	}
	const tcp, inside, outside = "tcp 172.16.101.4", "udp 172.16.101.3", "udp 172.16.101.4"
	pre := netip.MustParsePrefix
	for _, c := range []struct {
		name string
		f    ConnectionFilter
		want []string
	}{
		{"protocol", ConnectionFilter{Protocol: packet.ProtoUDP}, []string{inside, outside}},
		{"state", ConnectionFilter{State: "established"}, []string{tcp}},
		{"router", ConnectionFilter{Router: "router_100_101", State: "NEW"}, []string{inside, outside}},
		{"another router", ConnectionFilter{Router: "none"}, nil},
		{"source", ConnectionFilter{Src: pre("172.16.101.3/32")}, []string{inside}},
		{"destination", ConnectionFilter{Dst: pre("10.10.10.0/24")}, []string{tcp, outside}},
		{"source of replies", ConnectionFilter{ReplySrc: pre("172.16.100.0/24")}, []string{inside}},
		{"destination of replies", ConnectionFilter{ReplyDst: pre("10.10.10.2/32")}, []string{tcp, outside}},
		{"source port", ConnectionFilter{SrcPort: 4002}, []string{outside}},
		{"destination port", ConnectionFilter{DstPort: 53}, []string{inside, outside}},
		{"port of replies", ConnectionFilter{ReplySrcPort: 80}, []string{tcp}},
		{"port that replies go to", ConnectionFilter{ReplyDstPort: 4000}, []string{inside}},
		{"any address", ConnectionFilter{Address: pre("172.16.100.9/32")}, []string{inside}},
		{"any port", ConnectionFilter{Port: 80}, []string{tcp}},
		{"IPv6", ConnectionFilter{Address: pre("::/0")}, nil},
		{"two fields", ConnectionFilter{Protocol: packet.ProtoUDP, Dst: pre("10.0.0.0/8")}, []string{outside}},
	} {
		got := shownBy(t, l.Engine, c.f)
		ok := len(got) == len(c.want)
		for k := range min(len(got), len(c.want)) {
			ok = ok && strings.HasPrefix(got[k], c.want[k])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	err := l.Engine.Inspect().Connections(t.Context(), ConnectionFilter{State: "GONE"}, nil)
	if err == nil || !strings.Contains(err.Error(), "SYN_SENT") {
		t.Errorf("a state that is none: %v", err)
	}
	n := 0
	_ = l.Engine.Inspect().Connections(t.Context(), ConnectionFilter{}, func(*ConnectionView) bool {
		n++
		return n < 2
	})
	if n != 2 {
		t.Errorf("%d connections are shown to one that has had enough at 2", n)
	}
}

// Both sides of a TCP connection that is ended get a RST, another connection goes on.
func TestEndConnections(t *testing.T) {
	l := newLesson(t)
	f := l.tcpFlow(l.vm4, 4001, "10.10.10.4", 80, l.client)
	other := l.tcpFlow(l.vm4, 4002, "10.10.10.4", 80, l.client)
	n, err := l.Engine.Inspect().EndConnections(t.Context(), ConnectionFilter{SrcPort: 4001})
	if n != 1 || err != nil {
		t.Fatalf("%d connections ended: %v", n, err)
	}
	l.run()
	for _, h := range []*simHost{f.client, f.server} {
		if got := l.one(h.net); got.tcp == nil || !got.tcp.RST {
			t.Errorf("%v gets %v", h.addr, got)
		}
	}
	other.lives()
	if all := shownBy(t, l.Engine, ConnectionFilter{}); len(all) != 1 {
		t.Errorf("%q are left", all)
	}
	if _, err := l.Engine.Inspect().EndConnections(t.Context(), ConnectionFilter{State: "none"}); err == nil {
		t.Error("a state that is none ends connections")
	}
}

// The steps of a walk that ends connections are short, too, and it misses none.
func TestEndConnectionsInSteps(t *testing.T) {
	e := newEngine(Options{Logger: slog.New(slog.DiscardHandler), Seed: 1})
	if _, err := e.Apply(t.Context(), stateOf(t, tutorial())); err != nil {
		t.Fatal(err)
	}
	w := e.workers[0]
	const n = 5000
	for k := range packet.Addr(n) {
		tuple := packet.Tuple{Src: k, Dst: 1, SrcPort: uint16(k.Number() % 2), DstPort: 3, Proto: packet.ProtoUDP}
		w.routers[0].Conns.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, w.Now)
	}
	before := w.Looks().Steps
	ended, err := e.Inspect().EndConnections(t.Context(), ConnectionFilter{SrcPort: 1})
	steps := w.Looks().Steps - before
	if left := w.routers[0].Conns.Len(); ended != n/2 || left != n/2 || err != nil || steps < n/2/32 {
		t.Errorf("%d ended and %d left in %d steps: %v", ended, left, steps, err)
	}
	if r := w.routers[0].Ranks; r[conntrack.HalfOpen] != n/2 || r[conntrack.Lasting] != 0 {
		t.Errorf("ranks %v", r)
	}
}

// What is counted by rank follows the connections.
func TestStatsCountRanks(t *testing.T) {
	l := newLesson(t)
	l.tcpFlow(l.vm4, 4001, "10.10.10.4", 80, l.client)
	l.udp(l.vm4, 4002, "10.10.10.4", 53, "hello")
	l.one("ext_net")
	closing := l.tcpFlow(l.vm4, 4003, "10.10.10.4", 80, l.client)
	l.segment(l.vm4, closing.port, closing.to, closing.toPort, packet.RST, closing.seq, 0, 0)
	s, err := l.Engine.Inspect().Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := s.Routers[0]
	if r.Connections != 3 || r.HalfOpen != 1 || r.Closed != 1 || r.ID == "" {
		t.Errorf("%+v", r)
	}
	whole := l.Engine.Stats()
	whole.Routers[0].TableBytes = 0
	if s.Received != whole.Received || s.Dropped() != whole.Dropped() || len(s.Devices) != len(whole.Devices) ||
		s.Routers[0] != whole.Routers[0] {
		t.Errorf("%+v\n%+v", s, whole)
	}
}

func TestNeighbors(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4002, "10.10.10.4", 53, "hello")
	l.put("vlan101", l.build(l.vm4, "172.16.100.77", layers.IPProtocolUDP, nil, udpLayer(), payload(1)))
	got := map[string]NeighborEntry{}
	if err := l.Engine.Inspect().Neighbors(t.Context(), "", func(n NeighborEntry) bool {
		got[n.Address.String()] = n
		return true
	}); err != nil {
		t.Fatal(err)
	}
	known, asked := got["10.10.10.4"], got["172.16.100.77"]
	if known.State != "REACHABLE" || known.MAC.IsZero() || known.Network != "ext_net" || known.NetworkID == "" {
		t.Errorf("%+v", known)
	}
	if asked.State != "INCOMPLETE" || !asked.MAC.IsZero() || asked.Waiting != 1 || asked.Network != "vlan100" ||
		asked.Router != "router_100_101" {
		t.Errorf("%+v", asked)
	}
}

func TestRoutes(t *testing.T) {
	l := newLesson(t)
	all, err := l.Engine.Inspect().Routes(t.Context(), "router_100_101")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, string(r.Kind)+" "+r.To.String()+" "+r.Via.String()+" "+r.Network+" "+r.From.String()+" "+
			r.Origin.Kind)
	}
	want := []string{
		"default 0.0.0.0/0 10.10.10.1 ext_net 10.10.10.2 gateway of router",
		"connected 10.10.10.0/24 invalid IP ext_net 10.10.10.2 interface of router",
		"connected 172.16.100.0/24 invalid IP vlan100 172.16.100.1 interface of router",
		"connected 172.16.101.0/24 invalid IP vlan101 172.16.101.1 interface of router",
		"static 192.168.10.0/24 172.16.100.254 vlan100 172.16.100.1 route of router",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if none, err := l.Engine.Inspect().Routes(t.Context(), "another"); len(none) != 0 || err != nil {
		t.Errorf("of no router: %v, %v", none, err)
	}
}

// A route whose next hop is on none of the router's networks is listed with those that are obeyed.
func TestRoutesIgnored(t *testing.T) {
	l := newLesson(t)
	for r := range l.Engine.State().Routers() {
		c := *r
		c.Routes = slices.Clone(c.Routes)
		c.Routes[0].NextHop = addr("10.99.0.1")
		if got := ignoredRoutes(&c, nil); len(got) != 1 || !got[0].Ignored || got[0].Via != addr("10.99.0.1") {
			t.Errorf("%+v", got)
		}
	}
}

func TestNATRules(t *testing.T) {
	l := newLesson(t)
	for port := range 3 {
		l.udp(l.vm4, 4000+port, "10.10.10.4", 53, "hello")
		l.one("ext_net")
	}
	l.tcpFlow(l.vm4, 4001, "10.10.10.4", 80, l.client)
	all, err := l.Engine.Inspect().NAT(t.Context(), "")
	if err != nil || len(all) != 1 || all[0].SNAT == nil {
		t.Fatalf("%+v, %v", all, err)
	}
	want := SNATAddress{Address: addr("10.10.10.2"), TCP: 1, UDP: 3}
	if s := all[0].SNAT; s.Network != "ext_net" || len(s.Addresses) != 1 || s.Addresses[0] != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	ports, err := l.Engine.Inspect().PortsInUse(t.Context())
	if err != nil || len(ports["router_100_101"]) != 1 || ports["router_100_101"][0] != want {
		t.Errorf("%v, %v", ports, err)
	}
	byAddr := map[string]FloatingRule{}
	for _, f := range all[0].FloatingIPs {
		byAddr[f.Address.String()] = f
	}
	f := byAddr["10.10.10.3"]
	if f.Fixed != addr("172.16.101.3") || !f.InForce || f.ID == "" || f.Origin.Kind != "floating_ip" {
		t.Errorf("%+v", f)
	}
	forwards := byAddr["10.10.10.8"].Forwards
	if len(forwards) == 0 || forwards[0].Protocol == "" || !forwards[0].To.IsValid() || forwards[0].ID == "" {
		t.Errorf("%+v", forwards)
	}
}

// A worker that hangs is noticed. One that has ended, too.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Start(stateOf(t, tutorial()), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.Inspect().Alive(t.Context()); err != nil {
			t.Error(err)
		}
		busy := make(chan struct{})
		e.workers[0].Post(func() { <-busy })
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		go func() { errs <- e.Inspect().Alive(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 of 1 workers") {
			t.Errorf("with a worker that hangs: %v", err)
		}
		close(busy)
		e.Close()
		if err := e.Inspect().Alive(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := e.Inspect().Stats(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Stats after Close: %v", err)
		}
	})
}

// BenchmarkInspectConnections lists a million connections while the worker has nothing else to do. The longest step
// must stay below a millisecond.
func BenchmarkInspectConnections(b *testing.B) {
	topo := tutorial()
	const n = 1_000_000
	topo.Routers[0].NAT.MaxConnections = 2*n + 1000
	e := newEngine(Options{Logger: slog.New(slog.DiscardHandler), Seed: 1})
	e.waits = true
	if _, err := e.Apply(b.Context(), stateOf(b, topo)); err != nil {
		b.Fatal(err)
	}
	w := e.workers[0]
	w.Direct = false
	go w.Run()
	defer e.Close()
	if err := w.Call(func() {
		for k := range packet.Addr(n) {
			tuple := packet.Tuple{Src: k, Dst: 1, SrcPort: 2, DstPort: 3, Proto: packet.ProtoUDP}
			w.routers[0].Conns.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, w.Now)
		}
	}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		got := 0
		if err := e.Inspect().Connections(b.Context(), ConnectionFilter{}, func(*ConnectionView) bool {
			got++
			return true
		}); err != nil || got < n/2 {
			b.Fatal(got, err)
		}
	}
	stats, err := e.Inspect().Workers(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(stats[0].Longest.Microseconds()), "us-longest-step")
}
