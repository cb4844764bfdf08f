package config_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func addr(a, b, c, d int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a), byte(b), byte(c), byte(d)})
}

// nth is the i-th host of a /16.
func nth(a, b, i int) netip.Addr { return addr(a, b, i/250, 1+i%250) }

// large is a State of 20 000 objects and more: one router, a network outside and one inside, floating IPs, ports,
// members, and load balancers; and many small routers.
func large(t testing.TB) *config.State {
	t.Helper()
	const floating, balancers, members, routers = 6000, 500, 8, 500
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("out"), External: true}, &config.Network{Meta: meta("in")},
		&config.Subnet{Meta: meta("out1"), Network: id("out"), CIDR: netip.MustParsePrefix("20.0.0.0/16"),
			Gateway: addr(20, 0, 255, 1)},
		&config.Subnet{Meta: meta("in1"), Network: id("in"), CIDR: netip.MustParsePrefix("10.0.0.0/16"),
			Gateway: addr(10, 0, 255, 1)},
		&config.Router{Meta: meta("r"), Gateway: &config.Gateway{Network: id("out"), SNAT: true}},
		&config.Port{Meta: meta("r-in"), Network: id("in"), DeviceOwner: config.OwnerInterface,
			DeviceID: string(id("r")),
			FixedIPs: []config.FixedIP{{Subnet: id("in1")}}})
	for i := range floating {
		d.Put(&config.FloatingIP{Meta: meta(fmt.Sprint("f", i)), Network: id("out"), Address: nth(20, 0, i),
			FixedIP: nth(10, 0, i)},
			&config.Port{Meta: meta(fmt.Sprint("p", i)), Network: id("in"),
				FixedIPs: []config.FixedIP{{Address: nth(10, 0, i)}}})
	}
	for i := range balancers {
		d.Put(&config.Pool{Meta: meta(fmt.Sprint("pool", i)), Protocol: config.TCP})
		for k := range members {
			d.Put(&config.Member{Meta: meta(fmt.Sprint("m", i, "-", k)), Pool: id(fmt.Sprint("pool", i)),
				Address: nth(10, 0, 8*i+k), Port: 80})
		}
		d.Put(&config.LoadBalancer{Meta: meta(fmt.Sprint("lb", i)), Network: id("in"), Address: nth(10, 0, 7000+i)},
			&config.Listener{Meta: meta(fmt.Sprint("l", i)), LoadBalancer: id(fmt.Sprint("lb", i)),
				Protocol: config.TCP, Port: 80,
				Pool: id(fmt.Sprint("pool", i))})
	}
	for i := range routers {
		n := fmt.Sprint("small", i)
		d.Put(&config.Network{Meta: meta(n)},
			&config.Subnet{Meta: meta(n + "s"), Network: id(n), CIDR: netip.MustParsePrefix("10.0.0.0/24"),
				Gateway: addr(10, 0, 0, 1)},
			&config.Router{Meta: meta(n + "r")},
			&config.Port{Meta: meta(n + "i"), Network: id(n), DeviceOwner: config.OwnerInterface,
				DeviceID: string(id(n + "r")),
				FixedIPs: []config.FixedIP{{Subnet: id(n + "s")}}})
	}
	return mustOK(t, d)
}

func mustOK(t testing.TB, d *config.Draft) *config.State {
	t.Helper()
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults.Err())
	}
	return s
}

func BenchmarkScratch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		large(b)
	}
}

// BenchmarkEdit is the way of one change: draft, check, diff.
func BenchmarkEdit(b *testing.B) {
	s := large(b)
	for _, bench := range []struct {
		name string
		edit func(d *config.Draft, i int)
	}{
		{"associate", func(d *config.Draft, i int) {
			f := *d.FloatingIP(id("f77"))
			f.FixedIP = nth(10, 0, 6001+i%2)
			d.Put(&f)
		}},
		{"create floating IP", func(d *config.Draft, i int) {
			d.Put(&config.FloatingIP{Meta: meta(fmt.Sprint("new", i)), Network: id("out")})
		}},
		{"member", func(d *config.Draft, i int) {
			m := *d.Member(id("m3-3"))
			m.Weight = 1 + i%2
			d.Put(&m)
		}},
		{"port", func(d *config.Draft, i int) {
			p := *d.Port(id("p77"))
			p.FixedIPs = []config.FixedIP{{Address: nth(10, 0, 8001+i%2)}}
			d.Put(&p)
		}},
		{"route", func(d *config.Draft, i int) {
			r := *d.Router(id("r"))
			r.Routes = []config.Route{{Destination: netip.MustParsePrefix("30.0.0.0/8"), NextHop: nth(10, 0, 9000+i%2)}}
			d.Put(&r)
		}},
		{"interface", func(d *config.Draft, i int) {
			p := *d.Port(id("r-in"))
			p.Description = fmt.Sprint(i)
			d.Put(&p)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				d := s.Edit()
				bench.edit(d, i)
				next := mustOK(b, d)
				if len(config.Diff(s, next)) == 0 {
					b.Fatal("no change")
				}
			}
		})
	}
}
