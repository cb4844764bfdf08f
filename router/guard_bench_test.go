package router

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// manyPorts is a network with port security and so many ports, and a second State, in which one of them has changed.
func manyPorts(tb testing.TB, n int) (from, to *config.State) {
	tb.Helper()
	meta := func(what string, k int) config.Meta {
		return config.Meta{ID: config.NameID(config.KindPort, what, fmt.Sprint(k)), Name: fmt.Sprint(what, k)}
	}
	d := config.Empty().Edit()
	net := &config.Network{Meta: meta("net", 0), AdminStateUp: true, PortSecurity: true}
	d.Put(net, &config.Subnet{Meta: meta("subnet", 0), Network: net.ID, CIDR: prefix("10.0.0.0/8")})
	for k := range n {
		a := netip.AddrFrom4([4]byte{10, 1, byte(k >> 8), byte(k)})
		d.Put(&config.Port{Meta: meta("port", k), Network: net.ID, AdminStateUp: true,
			MAC:      config.MAC{2, 0, 0, 0, byte(k >> 8), byte(k)},
			FixedIPs: []config.FixedIP{{Address: a}}})
	}
	check := func(d *config.Draft) *config.State {
		s, faults := d.Check()
		if err := faults.Err(); err != nil {
			tb.Fatal(err)
		}
		return s
	}
	from = check(d)
	d = from.Edit()
	p := *from.Port(meta("port", n/2).ID)
	p.AllowedAddressPairs = []config.AddressPair{{IP: prefix("10.200.0.0/16")}}
	d.Put(&p)
	return from, check(d)
}

// planned are the rules of the only network after a change, by the way of Prepare.
func planned(from, to *config.State, rules *wire.PortRules) *wire.PortRules {
	changes := config.Diff(from, to)
	c := touchedBy(from, to, changes)
	for n := range to.Networks() {
		if c.rules[n.ID] != nil {
			rules = rules.With(c.portParams(n, true))
		}
	}
	return rules
}

// A change of one port among ten thousand costs no more than the same change among ten.
func TestPortChangeCostsTheSizeOfTheChange(t *testing.T) {
	effort := func(n int) func() float64 {
		from, to := manyPorts(t, n)
		before := planned(config.Empty(), from, nil)
		return func() float64 { return testing.AllocsPerRun(20, func() { planned(from, to, before) }) }
	}
	few, many := effort(10)(), effort(10_000)()
	if many > 3*few+50 {
		t.Errorf("%v allocations with ten ports, %v with ten thousand", few, many)
	}
}

// BenchmarkPortChange changes one port of so many, from the edit that is checked to the worker that obeys.
func BenchmarkPortChange(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			from, to := manyPorts(b, n)
			s, err := Simulate(from, 1)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for k := 0; b.Loop(); k++ {
				if _, err := s.Apply(b.Context(), []*config.State{to, from}[k&1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSwitch is one small frame from one device of a network to another one, whose host is known, with port
// security and without.
func BenchmarkSwitch(b *testing.B) {
	for _, secured := range []bool{false, true} {
		b.Run(fmt.Sprint("port security ", secured), func(b *testing.B) {
			l, second := twoDevices(b, secured)
			benchmarkFrame(b, l, l.udpTo(l.vm4.mac), second)
		})
	}
}

// BenchmarkSpoof is a frame that port security drops.
func BenchmarkSpoof(b *testing.B) {
	l, _ := twoDevices(b, true)
	benchmarkFrame(b, l, l.udpFrom(l.vm3.mac, "172.16.101.9", 1, 2), nil)
}

// BenchmarkStorm is a broadcast beyond what a device may send.
func BenchmarkStorm(b *testing.B) {
	l, _ := twoDevices(b, false)
	l.putMany("vlan101", slices.Repeat([][]byte{bare(packet.Broadcast, l.vm3.mac)}, config.DefaultStormLimit+1)...)
	benchmarkFrame(b, l, bare(packet.Broadcast, l.vm3.mac), nil)
}

// udpTo is a packet of vm3 to another host of its network.
func (l *lesson) udpTo(mac packet.MAC) []byte {
	eth := l.udpFrom(l.vm3.mac, "172.16.101.3", 1, 2)
	copy(eth, mac[:])
	return eth
}

// twoDevices is a lesson with a second device on vlan101, behind which vm4 is.
func twoDevices(tb testing.TB, secured bool) (*lesson, *nullDevice) {
	l, _ := guarded(tb)
	n := l.nets["vlan101"]
	if !secured {
		n.Obey(nil)
	}
	l.put("second", bare(l.vm3.mac, l.vm4.mac))
	out := &nullDevice{}
	n.Ports[1].Link.Dev = out
	return l, out
}

func benchmarkFrame(b *testing.B, l *lesson, eth []byte, out *nullDevice) {
	in, w := l.nets["vlan101"].Ports[0], l.w
	frame := append(make([]byte, tap.HeaderLen), eth...)
	f := &w.Frames[0]
	f.Head, f.Tail = tap.Headroom, tap.Headroom+len(frame)
	b.ReportAllocs()
	for b.Loop() {
		copy(f.Buf[f.Head:], frame)
		in.Take(&w.Turn, f)
		w.Flush()
	}
	if out != nil && out.taken == 0 {
		b.Fatal("nothing was switched")
	}
}

// What port security and the limit for storms drop costs no memory: a flood is cheap.
func TestDropsDoNotAllocate(t *testing.T) {
	l, out := twoDevices(t, true)
	in, w := l.nets["vlan101"].Ports[0], l.w
	l.putMany("vlan101",
		slices.Repeat([][]byte{toAll(bare(packet.Broadcast, l.vm3.mac))}, config.DefaultStormLimit+1)...)
	for name, eth := range map[string][]byte{
		"switched": l.udpTo(l.vm4.mac), "spoofed IP": l.udpFrom(l.vm3.mac, "172.16.101.9", 1, 2),
		"spoofed MAC": l.udpFrom(packet.MAC{2, 9}, "172.16.101.9", 1, 2), "storm": bare(packet.Broadcast, l.vm3.mac),
		"spoofed ARP": arpOf(l.vm3.mac, packet.ARP{SenderMAC: l.vm3.mac, Sender: ip4("172.16.101.9")}),
	} {
		frame := append(make([]byte, tap.HeaderLen), eth...)
		f := &w.Frames[0]
		f.Head, f.Tail = tap.Headroom, tap.Headroom+len(frame)
		if n := testing.AllocsPerRun(200, func() {
			copy(f.Buf[f.Head:], frame)
			in.Take(&w.Turn, f)
			w.Flush()
		}); n != 0 {
			t.Errorf("%s: %v allocations a frame", name, n)
		}
	}
	if out.taken == 0 {
		t.Error("nothing was switched")
	}
}

// For random States, port rules that a series of changes has made are those that the last State has by itself.
func TestPortRulesAreLikeNew(t *testing.T) {
	for seed := range uint64(60) {
		g := configtest.New(seed)
		g.Wrong, g.Allow = 0, func(s *config.State) bool { return Unsupported(s).Err() == nil }
		last := map[config.ID]*wire.PortRules{}
		from := config.Empty()
		for step, to := 0, g.State(); step < 12; step, to = step+1, g.Next(to, 4) {
			c := touchedBy(from, to, config.Diff(from, to))
			for n := range to.Networks() {
				if c.rules[n.ID] != nil {
					last[n.ID] = last[n.ID].With(c.portParams(n, true))
				}
				anew := touchedAtFirst(config.Empty(), to)
				want := (*wire.PortRules)(nil).With(anew.portParams(n, true)).String()
				if where := firstDifference(last[n.ID].String(), want); where != "" {
					t.Fatalf("seed %d, step %d, network %s: %s\n%s", seed, step, n.Name, where, changesText(from, to))
				}
			}
			for id := range last {
				if to.Network(id) == nil {
					delete(last, id)
				}
			}
			from = to
		}
	}
}
