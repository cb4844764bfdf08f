package config_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// The order of prefixes finds the same as a search of all subnets: the subnet around an address, and the
// subnets that overlap.
func TestPrefixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Addr {
		if rng.IntN(3) == 0 {
			return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rng.IntN(64))})
		}
		return addr(10, 0, 0, rng.IntN(64))
	}
	clashes := 0
	for round := range 300 {
		d := config.Empty().Edit()
		d.Put(&config.Network{Meta: meta("a")})
		var subnets []*config.Subnet
		for i := range 1 + rng.IntN(8) {
			a := random()
			p := netip.PrefixFrom(a, a.BitLen()-rng.IntN(7)).Masked()
			subnets = append(subnets, &config.Subnet{Meta: meta(fmt.Sprint(round, "-", i)), Network: id("a"), CIDR: p})
			d.Put(subnets[i])
		}
		for range 20 {
			a := random()
			i := slices.IndexFunc(subnets, func(s *config.Subnet) bool { return s.CIDR.Contains(a) })
			if got := d.SubnetAt(id("a"), a); i < 0 && got != nil || i >= 0 && (got == nil || got.ID != subnets[i].ID) {
				t.Fatalf("round %d: %v is in %v, want number %d", round, a, got, i)
			}
		}
		var want []string
		for i, s := range subnets {
			overlaps := map[netip.Prefix]bool{} // the prefixes of earlier subnets
			for _, other := range subnets[:i] {
				if other.CIDR.Overlaps(s.CIDR) {
					overlaps[other.CIDR] = true
				}
			}
			if overlaps[s.CIDR] {
				overlaps = map[netip.Prefix]bool{s.CIDR: true}
			}
			for p := range overlaps {
				want = append(want, fmt.Sprintf("%s %v overlaps %v of the same network", s.ID, s.CIDR, p))
			}
		}
		var got []string
		_, faults := d.Check()
		for _, f := range faults.Errors() {
			_, text, _ := strings.Cut(f.Message, "cidr ")
			got = append(got, fmt.Sprintf("%s %s", f.Ref.ID, text))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: got\n%q\nwant\n%q", round, got, want)
		}
		clashes += len(want)
	}
	if clashes < 300 {
		t.Errorf("only %d subnets overlap", clashes)
	}
}
