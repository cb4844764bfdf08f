package router

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// crowd is the lesson's topology with so many floating IPs, and so many routers more.
func crowd(tb testing.TB, floating, routers int) *config.State {
	tb.Helper()
	topo := tutorial()
	topo.FloatingIPs, topo.Pools, topo.VIPs = nil, nil, nil
	topo.Networks[1].Subnets[0].CIDR, topo.Networks[1].Subnets[0].Gateway = prefix("172.20.0.0/16"), addr("172.20.0.1")
	topo.Routers[0].Interfaces[1].Addresses = []netip.Prefix{prefix("172.20.0.1/16")}
	topo.Networks[2].Subnets[0].CIDR, topo.Networks[2].Subnets[0].Gateway = prefix("10.0.0.0/8"), addr("10.0.0.1")
	g := topo.Routers[0].Gateway
	g.Address, g.Prefix, g.NextHop = addr("10.0.0.2"), prefix("10.0.0.2/8"), addr("10.0.0.1")
	d := stateOf(tb, topo).Edit()
	ext := named[*config.Network](d, config.KindNetwork, "ext_net")
	r := theRouter(d)
	for k := range floating {
		d.Put(&config.FloatingIP{
			Meta: config.Meta{ID: tenantID(k, "floating IP")}, Network: ext.ID, Router: r.ID,
			Address: netip.AddrFrom4([4]byte{10, 5, byte(k >> 8), byte(k)}),
			FixedIP: netip.AddrFrom4([4]byte{172, 20, 1 + byte(k>>8), byte(k)}),
		})
	}
	for k := range routers {
		addTenant(d, k)
	}
	s, faults := d.Check()
	if err := faults.Err(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkAssociation associates a floating IP with another address, from the edit to the worker that obeys.
func BenchmarkAssociation(b *testing.B) {
	for _, n := range []int{1, 100, 6000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Simulate(crowd(b, n, 0), 1)
			if err != nil {
				b.Fatal(err)
			}
			f := *s.State().FloatingIP(tenantID(0, "floating IP"))
			for k := 0; b.Loop(); k++ {
				d := s.State().Edit()
				c := f
				c.FixedIP = netip.AddrFrom4([4]byte{172, 20, 200, byte(1 + k&1)})
				d.Put(&c)
				to, faults := d.Check()
				if err := faults.Err(); err != nil {
					b.Fatal(err)
				}
				if _, err := s.Apply(b.Context(), to); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStart starts an engine of so many routers, each with a network, a gateway, a floating IP and a VIP.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{100, 1000, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state := crowd(b, 0, n)
			for b.Loop() {
				e, err := Start(state, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				e.Close()
				b.StartTimer()
			}
		})
	}
}

func tenantID(k int, what string) config.ID {
	return config.NameID(config.KindNetwork, "tenant", fmt.Sprint(k), what)
}

// addTenant adds a router with a network, a gateway, a floating IP and a VIP.
func addTenant(d *config.Draft, k int) {
	meta := func(what string) config.Meta {
		return config.Meta{ID: tenantID(k, what), Name: fmt.Sprint(what, k)}
	}
	ext := named[*config.Network](d, config.KindNetwork, "ext_net")
	n := &config.Network{Meta: meta("net"), AdminStateUp: true}
	r := &config.Router{Meta: meta("router"), AdminStateUp: true, Gateway: &config.Gateway{Network: ext.ID, SNAT: true}}
	b := &config.LoadBalancer{
		Meta: meta("balancer"), Network: n.ID, Address: addr("192.168.1.80"), AdminStateUp: true, Router: r.ID,
	}
	p := &config.Pool{Meta: meta("pool"), AdminStateUp: true, Protocol: config.TCP, Algorithm: "ROUND_ROBIN"}
	outside := func(third byte) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 10, third + byte(k/200), byte(1 + k%200)})
	}
	d.Put(n,
		&config.Subnet{
			Meta: meta("subnet"), Network: n.ID, CIDR: prefix("192.168.1.0/24"), Gateway: addr("192.168.1.1"),
		},
		r,
		&config.Port{
			Meta: meta("interface"), Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(r.ID), FixedIPs: []config.FixedIP{{Address: addr("192.168.1.1")}},
		},
		&config.Port{
			Meta: meta("gateway"), Network: ext.ID, AdminStateUp: true, DeviceOwner: config.OwnerGateway,
			DeviceID: string(r.ID), FixedIPs: []config.FixedIP{{Address: outside(100)}},
		},
		&config.FloatingIP{
			Meta: meta("floating"), Network: ext.ID, Address: outside(200), FixedIP: addr("192.168.1.80"), Router: r.ID,
		},
		p,
		&config.Member{Meta: meta("member"), Pool: p.ID, Address: addr("192.168.1.9"), Port: 80, Weight: 1,
			AdminStateUp: true},
		b,
		&config.Listener{
			Meta: meta("listener"), LoadBalancer: b.ID, Protocol: config.TCP, Port: 80, Pool: p.ID, AdminStateUp: true,
		},
	)
}
