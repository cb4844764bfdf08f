package file

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// What is found in sorted rows and maps is what going through the whole list finds.
func TestLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr {
		if rng.IntN(3) == 0 {
			return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rng.IntN(32))})
		}
		return netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(64))})
	}
	for range 2000 {
		list := make([]netip.Prefix, rng.IntN(12))
		for i := range list {
			if a := addr(); rng.IntN(8) > 0 {
				list[i] = netip.PrefixFrom(a, a.BitLen()-rng.IntN(7)).Masked()
			}
		}
		finder, table := newOverlapFinder(list), prefixTable[int]{}
		for i, p := range list {
			var want []int
			for k, q := range list[:i] {
				if p.Overlaps(q) {
					want = append(want, k)
				}
			}
			first, ok := finder.first(i)
			if got := finder.earlier(i); !slices.Equal(got, want) || ok != (len(want) > 0) || ok && first != want[0] {
				t.Fatalf("%v: %d overlaps %v, first %d, want %v", list, i, got, first, want)
			}
			finder.add(i)
			if p.IsValid() {
				table.addFirst(p, i)
			}
		}
		a := addr()
		want := slices.IndexFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		if got := slices.Min(append(slices.Collect(table.around(a)), empty)); got != want &&
			(want >= 0 || got != empty) {
			t.Fatalf("%v: %v is in %d, want %d", list, a, got, want)
		}
	}
}

func TestRangeFinder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(64))}) }
	for range 2000 {
		list := make([]AddressRange, rng.IntN(20))
		for i := range list {
			list[i].First = addr()
			for list[i].Last = list[i].First; rng.IntN(3) > 0; {
				list[i].Last = list[i].Last.Next()
			}
		}
		finder := newRangeFinder(list)
		var good []AddressRange
		for i, r := range list {
			k := slices.IndexFunc(good, func(g AddressRange) bool { return g.Contains(r.First) || r.Contains(g.First) })
			got, ok := finder.overlap(r)
			if ok != (k >= 0) || ok && got != good[k] {
				t.Fatalf("%v: %v overlaps %v, %v", list, r, got, ok)
			}
			if !ok {
				good = append(good, r)
				finder.add(i)
			}
		}
	}
}
