package conntrack

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// More is how often one more is not too many, and each one takes a free one.
func TestShareMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := 1 + r.IntN(2000)
		held := r.IntN(n + 1)
		free := r.IntN(n - held + 1)
		s := NewShare([]float64{0.5, 0.1, 0.9, 0.0005, 1, r.Float64()}[r.IntN(6)])
		want := 0
		for want < free && !s.Exceeds(held+want, n, free-want) {
			want++
		}
		got := s.More(held, n, free)
		// It may be one less where the sum is at a boundary, but never none instead of some.
		if min(got, free) > want || got < want-1 || (got == 0) != s.Exceeds(held, n, free) {
			t.Fatalf("%+v: of %d with %d held and %d free: %d more, want %d", s, n, held, free, got, want)
		}
	}
}

// The borrower that is first has at least half as much as any other, and all of its size have their turns.
func TestBorrowers(t *testing.T) {
	var b Borrowers
	r := rand.New(rand.NewPCG(3, 4))
	places, amounts := make([]Borrower, 20), make([]int32, 20)
	at := func(k uint32) *Borrower { return &places[k] }
	for range 20_000 {
		k := uint32(1 + r.IntN(19))
		to := max(0, amounts[k]+int32(r.IntN(3)-1))
		switch r.IntN(10) {
		case 0:
			to = 0
		case 1:
			to = int32(r.IntN(1000))
		}
		b.Move(k, amounts[k], to, at)
		amounts[k] = to
		most, alike := int32(0), map[uint32]bool{}
		for _, n := range amounts {
			most = max(most, n)
		}
		for k, n := range amounts {
			if n > 0 && bits.Len32(uint32(n)) == bits.Len32(uint32(most)) {
				alike[uint32(k)] = true
			}
		}
		if len(alike) == 0 {
			if b.First() != 0 {
				t.Fatalf("nobody has borrowed anything, and %d is first", b.First())
			}
			continue
		}
		for n := len(alike); n > 0; n-- {
			if first := b.First(); !alike[first] {
				t.Fatalf("%d is first, with %d of %v", first, amounts[first], amounts)
			} else {
				delete(alike, first)
			}
			b.Turn(at)
		}
	}
}

// Rings have the members that joined and have not left, of any protocol, once or twice.
func TestRings(t *testing.T) {
	d := newDisorder(t, 2)
	for range 40 {
		d.begin()
	}
	var all []*Conn
	each(d.table, func(_ uint32, c *Conn) { all = append(all, c) })
	if len(all) < 10 {
		t.Fatalf("%d connections", len(all))
	}
	r := rand.New(rand.NewPCG(5, 6))
	rings, want := make([]Member, 3), make([]map[Member]bool, 3)
	in := map[Member]int{}
	for k := range want {
		want[k] = map[Member]bool{}
	}
	for range 20_000 {
		c, second := all[r.IntN(len(all))], r.IntN(2) == 0
		m := MemberOf(c, second)
		if k, ok := in[m]; ok {
			d.table.LeaveRing(&rings[k], c, second)
			delete(in, m)
			delete(want[k], m)
		} else {
			k := r.IntN(3)
			d.table.JoinRing(&rings[k], c, second)
			in[m], want[k][m] = k, true
		}
		for k, first := range rings {
			n := 0
			for m := first; m != 0; {
				if n++; !want[k][m] || d.table.RingConn(m).self != uint32(m>>1) {
					t.Fatalf("ring %d has %d, which has not joined", k, m)
				}
				if m = d.table.NextInRing(m); m == first {
					break
				}
			}
			if n != len(want[k]) {
				t.Fatalf("ring %d has %d members, want %d", k, n, len(want[k]))
			}
		}
	}
	for m, k := range in {
		d.table.LeaveRing(&rings[k], d.table.RingConn(m), m&1 != 0)
	}
	if d.table.rings != nil || d.table.ringBytes() != 0 {
		t.Errorf("%d links are left", len(d.table.rings))
	}
}
