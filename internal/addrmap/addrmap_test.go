package addrmap_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/internal/addrmap"
	"github.com/taprouter/taprouter/internal/packet"
)

// A map agrees with Go's after every change, and former maps stay what they were. The addresses are few, so that they
// come and go again and again, and they differ in bits that are asked for early, late and in between.
func TestMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var addrs []packet.Addr
	for _, base := range []packet.Addr{0, 0x0a000000, 0x0a000100, 0xffffffff, 0xf0000000} {
		for k := range packet.Addr(5) {
			addrs = append(addrs, base+k, base^k<<28, base^1<<(4*k))
		}
	}
	type version struct {
		m    addrmap.Map[int]
		want map[packet.Addr]int
	}
	check := func(v version) {
		t.Helper()
		if v.m.Len() != len(v.want) {
			t.Fatalf("%d addresses, want %d", v.m.Len(), len(v.want))
		}
		for _, a := range addrs {
			want, ok := v.want[a]
			if got := v.m.Find(a); (got != nil) != ok || ok && *got != want {
				t.Fatalf("%#x: found %v, want %d, %v", a, got, want, ok)
			}
		}
		var order []packet.Addr
		for a, got := range v.m.All() {
			if want, ok := v.want[a]; !ok || got != want {
				t.Fatalf("All has %#x: %d, want %d, %v", a, got, want, ok)
			}
			order = append(order, a)
		}
		if len(order) != len(v.want) || !slices.IsSorted(order) {
			t.Fatalf("All has %d addresses, want %d; sorted: %v", len(order), len(v.want), slices.IsSorted(order))
		}
	}
	versions := []version{{want: map[packet.Addr]int{}}}
	for i := range 5000 {
		last := versions[len(versions)-1]
		next := version{want: maps.Clone(last.want)}
		a := addrs[rng.IntN(len(addrs))]
		if rng.IntN(4) > i/500%2*2 { // it grows and shrinks in turn
			next.m, next.want[a] = last.m.With(a, i), i
		} else {
			next.m = last.m.Without(a)
			delete(next.want, a)
		}
		check(next)
		versions = append(versions, next)
	}
	for _, v := range versions[len(versions)-50:] {
		check(v)
	}
	last := versions[len(versions)-1].m
	for _, a := range addrs {
		last = last.Without(a)
	}
	if last != (addrmap.Map[int]{}) {
		t.Error("a map from which everything has gone is not the empty one")
	}
}

// A walk over the addresses may end early.
func TestAllEndsEarly(t *testing.T) {
	m := addrmap.Map[int]{}.With(3, 30).With(1, 10).With(2, 20)
	for a, v := range m.All() {
		if a != 1 || v != 10 {
			t.Errorf("%d: %d comes first", a, v)
		}
		break
	}
}

// What has gone leaves nothing behind: a map is the same whatever was in it before.
func TestMapForgets(t *testing.T) {
	var few, many addrmap.Map[int]
	for a := range packet.Addr(3) {
		few = few.With(a<<28|5, 1)
	}
	many = few
	for a := range packet.Addr(2000) {
		many = many.With(a*7919<<4, 1)
	}
	for a := range packet.Addr(2000) {
		many = many.Without(a * 7919 << 4)
	}
	if few.Nodes() != many.Nodes() || few.Len() != many.Len() {
		t.Errorf("%d nodes for %d addresses, want %d for %d", many.Nodes(), many.Len(), few.Nodes(), few.Len())
	}
}

// Numbers of 64 bits that differ in their highest bits only, as hashes may, are told apart as well.
func TestTreeOfLongNumbers(t *testing.T) {
	var m addrmap.Tree[uint64, int]
	for k := range uint64(64) {
		m = m.With(1<<63|k, int(k)).With(k<<58|1<<20, int(k)+1000)
	}
	if m.Len() != 128 {
		t.Fatalf("%d numbers, want 128", m.Len())
	}
	for k := range uint64(64) {
		low, high := m.Find(1<<63|k), m.Find(k<<58|1<<20)
		if low == nil || *low != int(k) || high == nil || *high != int(k)+1000 {
			t.Errorf("%d: found %v and %v", k, low, high)
		}
		m = m.Without(1<<63 | k).Without(k<<58 | 1<<20)
	}
	if m != (addrmap.Tree[uint64, int]{}) {
		t.Error("a tree from which everything has gone is not the empty one")
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []packet.Addr{0, 10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var m addrmap.Map[int]
			for a := range n {
				m = m.With(0x0a000000+a, 1)
			}
			b.ReportAllocs()
			for a := packet.Addr(0); b.Loop(); a++ {
				m.Find(0xac100000 + a&0xffff)
			}
		})
	}
}

func BenchmarkWith(b *testing.B) {
	for _, n := range []packet.Addr{0, 10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var m addrmap.Map[int]
			for a := range n {
				m = m.With(0x0a000000+a, 1)
			}
			b.ReportAllocs()
			for a := packet.Addr(0); b.Loop(); a++ {
				m.With(0xac100000+a&0xffff, 1)
			}
		})
	}
}
