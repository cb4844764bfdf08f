package router_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
)

// fullPools are the pools that have no free address, in words.
func fullPools(s *router.Simulation) (all []string) {
	for _, p := range s.Inspect().FullPools() {
		all = append(all, fmt.Sprintf("%s %v %d", p.Name, p.CIDR, p.Size))
	}
	return all
}

// A subnet is named as long as no address of its pools is free: whether leases have them, or objects.
func TestPoolsWithoutAFreeAddress(t *testing.T) {
	text := strings.Replace(served, `"10.1.0.100-10.1.0.110"`, `"10.1.0.100-10.1.0.101"`, 1) + `
[[network]]
name = "small"
[[network.subnet]]
cidr = "10.4.0.0/24"
gateway = "10.4.0.9"
allocation_pools = ["10.4.0.8-10.4.0.9"]
[[port]]
name = "last"
network = "small"
fixed_ip = "10.4.0.8"
`
	s := simulateServed(t, text)
	want := func(what string, list ...string) {
		t.Helper()
		if got := fullPools(s); !slices.Equal(got, list) {
			t.Errorf("%s: %q, want %q", what, got, list)
		}
	}
	const blue, small = "blue 10.1.0.0/24 2", "small 10.4.0.0/24 2"
	want("at first", small) // the other one of its addresses is the gateway's
	first, second := packet.MAC{2, 0, 0, 0, 0, 0x77}, packet.MAC{2, 0, 0, 0, 0, 0x78}
	lease(t, s, "blue", first)
	want("one lease", small)
	_, ack := lease(t, s, "blue", second)
	want("two leases", blue, small)
	a, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if _, ok, err := s.ReleaseLease(portNamed(t, s.State(), "web-1").Network, a); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want("one is released", small)
	larger := servedState(t, strings.Replace(text, "10.4.0.8-10.4.0.9", "10.4.0.7-10.4.0.9", 1))
	if _, err := s.Apply(t.Context(), larger); err != nil {
		t.Fatal(err)
	}
	want("the pool is larger")
}

// The domains of dns_search are told by DHCP (option 119).
func TestDHCPTellsTheSearchList(t *testing.T) {
	const key = "dns_search = [\"lab.example\", \"example.\"]\n"
	s := simulateServed(t, strings.Replace(served, "dns_nameservers", key+"dns_nameservers", 1))
	put(t, s, "blue", discover(t, webMAC, dhcpv4.WithRequestedOptions(dhcpv4.OptionDNSDomainSearchList)).frame(false))
	_, offers := answers(t, s, "blue")
	if len(offers) != 1 || offers[0].DomainSearch() == nil ||
		!slices.Equal(offers[0].DomainSearch().Labels, []string{"lab.example", "example"}) {
		t.Errorf("%v", offers)
	}
}
