package load

import (
	"net/netip"
	"testing"
)

// Every connection comes once in a round, and no two are alike.
func TestFlows(t *testing.T) {
	for _, n := range []int{1, 2, 64, 1000, 100_000} {
		step, i := stride(n), 0
		seen := map[int]bool{}
		for range n {
			seen[i] = true
			if i += step; i >= n {
				i -= n
			}
		}
		if len(seen) != n || i != 0 {
			t.Errorf("a round of %d visits %d, and ends at %d", n, len(seen), i)
		}
	}
	o := &options{src: netip.MustParseAddr("172.30.0.1"), dst: netip.MustParseAddr("10.99.0.0"), sources: 64, each: 500}
	seen := map[flow]bool{}
	for i := range 200_000 {
		f := o.flowAt(i)
		if seen[f] || f.port < firstPort || f.src&0xff > 64 {
			t.Fatalf("connection %d: %+v", i, f)
		}
		seen[f] = true
	}
}
