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

// tenants is a State of many routers with their gateways on one network. Behind them, all have the same addresses.
func tenants(t testing.TB, n int) *config.State {
	t.Helper()
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("out"), External: true},
		&config.Subnet{Meta: meta("out1"), Network: id("out"), CIDR: netip.MustParsePrefix("20.0.0.0/8"),
			Gateway: addr(20, 255, 255, 1)})
	for i := range n {
		putTenant(d, i)
	}
	return mustOK(t, d)
}

// putTenant puts a router with a gateway and an interface, and its network with a load balancer. One floating IP has a
// forwarded port of the load balancer, and one is another host's.
func putTenant(d *config.Draft, i int) {
	of := func(what string) config.Meta { return meta(fmt.Sprint(what, i)) }
	network, router, balancer, pool := of("tn").ID, of("tr").ID, of("tb").ID, of("tp").ID
	d.Put(&config.Network{Meta: of("tn")},
		&config.Subnet{Meta: of("ts"), Network: network, CIDR: netip.MustParsePrefix("10.0.0.0/24"),
			Gateway: addr(10, 0, 0, 1)},
		&config.Router{Meta: of("tr"), Gateway: &config.Gateway{Network: id("out"), SNAT: true},
			Routes: []config.Route{{Destination: netip.MustParsePrefix("30.0.0.0/8"), NextHop: addr(10, 0, 0, 7)}}},
		&config.Port{Meta: of("ti"), Network: network, DeviceOwner: config.OwnerInterface, DeviceID: string(router),
			FixedIPs: []config.FixedIP{{}}},
		&config.Port{Meta: of("tg"), Network: id("out"), DeviceOwner: config.OwnerGateway, DeviceID: string(router),
			FixedIPs: []config.FixedIP{{Address: nth(20, 1, i)}}},
		&config.FloatingIP{Meta: of("tf"), Network: id("out"), Address: nth(20, 2, i), FixedIP: addr(10, 0, 0, 80),
			Router: router},
		&config.FloatingIP{Meta: of("th"), Network: id("out"), Address: nth(20, 3, i), Router: router},
		&config.PortForwarding{Meta: of("tw"), FloatingIP: of("th").ID, Protocol: config.TCP, ExternalPort: 80,
			FixedIP: addr(10, 0, 0, 80), Port: 80},
		&config.Pool{Meta: of("tp"), Protocol: config.TCP},
		&config.Member{Meta: of("tm"), Pool: pool, Address: addr(10, 0, 0, 9), Port: 80},
		&config.LoadBalancer{Meta: of("tb"), Network: network, Address: addr(10, 0, 0, 80), Router: router},
		&config.Listener{Meta: of("tl"), LoadBalancer: balancer, Protocol: config.TCP, Port: 80, Pool: pool})
}

// deleteTenant deletes what putTenant has put.
func deleteTenant(d *config.Draft, i int) {
	of := func(k config.Kind, what string) config.Ref { return config.Ref{Kind: k, ID: id(fmt.Sprint(what, i))} }
	d.Delete(of(config.KindLoadBalancer, "tb"), of(config.KindPool, "tp"), of(config.KindFloatingIP, "tf"),
		of(config.KindFloatingIP, "th"), of(config.KindPort, "ti"), of(config.KindRouter, "tr"),
		of(config.KindNetwork, "tn"))
}

// BenchmarkTenant is the way of one router with all that it has: it comes, and goes.
func BenchmarkTenant(b *testing.B) {
	const n = 1000
	without := tenants(b, n)
	d := without.Edit()
	putTenant(d, n)
	with := mustOK(b, d)
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := without.Edit()
			putTenant(d, n)
			mustOK(b, d)
		}
	})
	b.Run("remove", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := with.Edit()
			deleteTenant(d, n)
			mustOK(b, d)
		}
	})
}
