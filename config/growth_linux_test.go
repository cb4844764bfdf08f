//go:build !race

package config_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
)

// A growth is a kind of Draft that can have any number of objects of one sort.
type growth struct {
	name  string
	valid bool
	put   func(d *config.Draft, n int)
}

// growths are Drafts that no topology file makes. Package config/file tests the Drafts that files make.
func growths() []growth {
	prefix := netip.MustParsePrefix
	net24 := func(i int) netip.Prefix { return netip.PrefixFrom(addr(10, i>>8, i, 0), 24) }
	numbered := func(what string, i int) config.Meta { return meta(fmt.Sprint(what, i)) }
	wide := func(d *config.Draft) {
		d.Put(&config.Network{Meta: meta("a")}, &config.Subnet{Meta: meta("as"), Network: id("a"),
			CIDR: prefix("10.0.0.0/8"), Gateway: addr(10, 0, 0, 1)})
	}
	// many are subnets of a network, all in prefixes of their own.
	many := func(d *config.Draft, n int) {
		d.Put(&config.Network{Meta: meta("a")})
		for i := range n {
			d.Put(&config.Subnet{Meta: numbered("s", i), Network: id("a"), CIDR: net24(i),
				Gateway: config.FirstHost(net24(i))})
		}
	}
	return []growth{
		{"ports that name their subnets", true, func(d *config.Draft, n int) {
			many(d, n)
			for i := range n {
				d.Put(&config.Port{Meta: numbered("p", i), Network: id("a"),
					FixedIPs: []config.FixedIP{{Subnet: numbered("s", i).ID}}})
			}
		}},
		{"interfaces that name their subnets", true, func(d *config.Draft, n int) {
			many(d, n)
			for i := range n {
				d.Put(&config.Router{Meta: numbered("r", i)}, &config.Port{Meta: numbered("p", i), Network: id("a"),
					DeviceOwner: config.OwnerInterface, DeviceID: string(numbered("r", i).ID),
					FixedIPs: []config.FixedIP{{Subnet: numbered("s", i).ID}}})
			}
		}},
		{"ports where subnets are the same", false, func(d *config.Draft, n int) {
			d.Put(&config.Network{Meta: meta("a")})
			for i := range n {
				d.Put(&config.Subnet{Meta: numbered("s", i), Network: id("a"), CIDR: prefix("10.0.0.0/8")},
					&config.Port{Meta: numbered("p", i), Network: id("a"),
						FixedIPs: []config.FixedIP{{Address: nth(10, 0, i)}}})
			}
		}},
		{"load balancers where networks are the same", false, func(d *config.Draft, n int) {
			d.Put(&config.Router{Meta: meta("r")})
			for i := range n {
				a := numbered("n", i).ID
				d.Put(&config.Network{Meta: numbered("n", i)},
					&config.Subnet{Meta: numbered("s", i), Network: a, CIDR: prefix("10.0.0.0/8"),
						Gateway: addr(10, 0, 0, 1)},
					&config.Port{Meta: numbered("p", i), Network: a, DeviceOwner: config.OwnerInterface,
						DeviceID: string(id("r")), FixedIPs: []config.FixedIP{{}}},
					&config.LoadBalancer{Meta: numbered("l", i), Network: a, Address: addr(10, 0, 0, 9)})
			}
		}},
		{"routers without names", true, func(d *config.Draft, n int) {
			wide(d)
			for i := range n {
				r := numbered("r", i).ID
				d.Put(&config.Router{Meta: config.Meta{ID: r}}, &config.Port{Meta: numbered("p", i), Network: id("a"),
					DeviceOwner: config.OwnerInterface, DeviceID: string(r),
					FixedIPs: []config.FixedIP{{Address: nth(10, 1, i)}}})
			}
		}},
		{"load balancers of any router", false, func(d *config.Draft, n int) {
			wide(d)
			for i := range n {
				d.Put(&config.LoadBalancer{Meta: numbered("l", i), Network: id("a"), Address: nth(10, 1, i)},
					&config.Router{Meta: numbered("r", i)},
					&config.Port{Meta: numbered("p", i), Network: id("a"), DeviceOwner: config.OwnerInterface,
						DeviceID: string(numbered("r", i).ID), FixedIPs: []config.FixedIP{{Address: nth(10, 2, i)}}})
			}
		}},
		{"forwarded ports to a load balancer", true, func(d *config.Draft, n int) {
			wide(d)
			d.Put(&config.Network{Meta: meta("out"), External: true},
				&config.Subnet{Meta: meta("os"), Network: id("out"), CIDR: prefix("11.0.0.0/8")},
				&config.Router{Meta: meta("r"), Gateway: &config.Gateway{Network: id("out"), SNAT: true}},
				&config.Port{Meta: meta("p"), Network: id("a"), DeviceOwner: config.OwnerInterface,
					DeviceID: string(id("r")), FixedIPs: []config.FixedIP{{}}},
				&config.FloatingIP{Meta: meta("f"), Network: id("out")},
				&config.LoadBalancer{Meta: meta("l"), Network: id("a"), Address: addr(10, 0, 0, 9)})
			for i := range n {
				d.Put(&config.Listener{Meta: numbered("l", i), LoadBalancer: id("l"), Protocol: config.TCP,
					Port: uint16(1 + i)},
					&config.PortForwarding{Meta: numbered("f", i), FloatingIP: id("f"), Protocol: config.TCP,
						ExternalPort: uint16(1 + i), FixedIP: addr(10, 0, 0, 9), Port: uint16(1 + i)})
			}
		}},
	}
}

// effort is what the check of a Draft takes: processor time.
func (g growth) effort(t *testing.T, n int) time.Duration {
	d := config.Empty().Edit()
	g.put(d, n)
	var s *config.State
	var faults config.Faults
	took := configtest.Effort(func() { s, faults = d.Check() })
	if g.valid != (s != nil) {
		t.Fatalf("%d: %.300v", n, faults)
	}
	return took
}

// The effort of a check grows with the objects, not with their square: for four times as many it is less than ten times
// as high, where a square makes it sixteen times.
func TestGrowth(t *testing.T) {
	const n, times = 400, 10
	for _, g := range growths() {
		t.Run(g.name, func(t *testing.T) {
			few, many, grows := configtest.Grows(times, func() time.Duration { return g.effort(t, n) },
				func() time.Duration { return g.effort(t, 4*n) })
			if grows {
				t.Errorf("%d objects take %v, %d objects %v", n, few, 4*n, many)
			}
		})
	}
}

// tenantEffort is what it takes to add routers to others, one after the other, and to take them away again.
func tenantEffort(t *testing.T, s *config.State, n int) time.Duration {
	const edits = 20
	return configtest.Effort(func() {
		for i := n; i < n+edits; i++ {
			d := s.Edit()
			putTenant(d, i)
			s = mustOK(t, d)
		}
		for i := n; i < n+edits; i++ {
			d := s.Edit()
			deleteTenant(d, i)
			s = mustOK(t, d)
		}
	})
}

// The effort for a router that comes and goes does not grow with the number of other routers, although all have the
// same addresses: among sixteen times as many it is less than three times as high.
func TestTenantGrowth(t *testing.T) {
	const n, times = 200, 3
	few, many := tenants(t, n), tenants(t, 16*n)
	small, large, grows := configtest.Grows(times, func() time.Duration { return tenantEffort(t, few, n) },
		func() time.Duration { return tenantEffort(t, many, 16*n) })
	if grows {
		t.Errorf("among %d routers it takes %v, among %d routers %v", n, small, 16*n, large)
		return
	}
	t.Logf("among %d routers %v, among %d routers %v", n, small, 16*n, large)
}
