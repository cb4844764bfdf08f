package nat

import (
	"math/rand/v2"
	"testing"
)

// smallestFrom is halfSet.next, the slow way.
func smallestFrom(free *[65536]bool, parity, k int) int {
	for ; k < 1<<15; k++ {
		if free[k<<1|parity] {
			return k
		}
	}
	return -1
}

func newBoolSet() *[65536]bool {
	free := new([65536]bool)
	for i := range free {
		free[i] = true
	}
	return free
}

func TestPortSetAgainstArray(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, free := newPortSet(), newBoolSet()
		for round := range 12 {
			// Runs of ports, so that words and summaries become empty and full.
			for range 40 {
				lo, take := r.IntN(65536), r.IntN(12) > round/2
				for p := lo; p < min(65536, lo+r.IntN(6000)); p++ {
					if free[p] == take { // take only free ports, and put back only taken ones
						free[p] = !take
						if take {
							s.take(uint16(p))
						} else {
							s.put(uint16(p))
						}
					}
				}
			}
			checkPortSet(t, &s, free, r)
		}
	}
}

func checkPortSet(t *testing.T, s *portSet, free *[65536]bool, r *rand.Rand) {
	t.Helper()
	for p := range free {
		if s.free(uint16(p)) != free[p] {
			t.Fatalf("free(%d) = %t", p, !free[p])
		}
	}
	for range 400 {
		parity, k := r.IntN(2), r.IntN(1<<15)
		if got, want := s.half[parity].next(k), smallestFrom(free, parity, k); got != want {
			t.Fatalf("next(%d) of parity %d = %d, want %d", k, parity, got, want)
		}
	}
}

// The borders of words and summaries are where next goes wrong, if it does.
func TestPortSetNextAtBorders(t *testing.T) {
	borders := []int{0, 1, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 8192, 32703, 32704, 32766, 32767}
	for _, only := range borders {
		s, free := newPortSet(), new([65536]bool)
		for p := range 65536 {
			if p == only<<1 {
				free[p] = true
			} else {
				s.take(uint16(p))
			}
		}
		for _, from := range append(borders, 1<<15) {
			if got, want := s.half[0].next(from), smallestFrom(free, 0, from); got != want {
				t.Errorf("only %d free: next(%d) = %d, want %d", only, from, got, want)
			}
		}
		if got := s.half[1].next(0); got != -1 {
			t.Errorf("the other parity is full, next = %d", got)
		}
	}
}

func TestPortSetFind(t *testing.T) {
	for _, c := range []struct {
		name   string
		lo, hi int
	}{
		{"even to even", 10, 20}, {"odd to odd", 11, 21}, {"even to odd", 10, 21}, {"odd to even", 11, 20},
		{"two", 100, 101}, {"all", 0, 65535}, {"well-known", 1, 1023}, {"end", 65530, 65535},
	} {
		t.Run(c.name, func(t *testing.T) {
			for parity := range 2 {
				testFind(t, parity, c.lo, c.hi)
			}
		})
	}
}

// testFind takes every port of a parity and a range, one by one.
func testFind(t *testing.T, parity, lo, hi int) {
	r := rand.New(rand.NewPCG(uint64(parity), 9))
	s := newPortSet()
	want := 0
	for p := lo; p <= hi; p++ {
		if p&1 == parity {
			want++
		}
	}
	for k := range want {
		p, ok := s.find(parity, lo, hi, r)
		if !ok {
			t.Fatalf("none found, %d of %d are taken", k, want)
		}
		if int(p) < lo || int(p) > hi || int(p&1) != parity || !s.free(p) {
			t.Fatalf("find gave %d: outside of %d-%d, parity not %d, or taken", p, lo, hi, parity)
		}
		s.take(p)
	}
	if p, ok := s.find(parity, lo, hi, r); ok {
		t.Errorf("find gave %d in a full range", p)
	}
}

func TestPortSetFindOneNumber(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := newPortSet()
	for parity, want := range []bool{true, false} {
		if p, ok := s.find(parity, 8, 8, r); ok != want || ok && p != 8 {
			t.Errorf("find of parity %d in 8-8 = %d, %t", parity, p, ok)
		}
	}
}

func TestPortSetChoose(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	all := func(int) bool { return true }
	cases := []struct {
		name  string
		taken func(int) bool
		port  uint16
		want  func(uint16) bool
		ok    bool
	}{
		{"same", func(p int) bool { return p != 2000 }, 2000, func(p uint16) bool { return p == 2000 }, true},
		{"even stays even", func(p int) bool { return p == 2000 }, 2000, func(p uint16) bool { return p&1 == 0 }, true},
		{"odd stays odd", func(p int) bool { return p == 2001 }, 2001, func(p uint16) bool { return p&1 == 1 }, true},
		{"parity given up last", func(p int) bool { return p&1 == 0 }, 2000, func(p uint16) bool { return p&1 == 1 },
			true},
		{"the last one", func(p int) bool { return p != 2047 }, 2001, func(p uint16) bool { return p == 2047 }, true},
		{"the first one", func(p int) bool { return p != 1990 }, 2001, func(p uint16) bool { return p == 1990 }, true},
		{"below the range", func(int) bool { return false }, 80, func(p uint16) bool { return p >= 1990 && p&1 == 0 },
			true},
		{"above the range", func(int) bool { return false }, 3001, func(p uint16) bool { return p <= 2047 && p&1 == 1 },
			true},
		{"full", all, 2000, nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newPortSet()
			for p := 1990; p <= 2047; p++ {
				if c.taken(p) {
					s.take(uint16(p))
				}
			}
			for range 200 {
				p, ok := s.choose(c.port, 1990, 2047, r)
				if ok != c.ok || ok && (!c.want(p) || p < 1990 || p > 2047 || !s.free(p)) {
					t.Fatalf("choose(%d) = %d, %t", c.port, p, ok)
				}
			}
		})
	}
}

// RFC 6056: a host that sees one port must not know the next.
func TestPortSetChoiceIsSpread(t *testing.T) {
	s := newPortSet()
	s.take(5000)
	r := rand.New(rand.NewPCG(8, 8))
	seen := map[uint16]bool{}
	for range 200 {
		p, _ := s.choose(5000, 1024, 65535, r)
		seen[p] = true
	}
	if len(seen) < 190 {
		t.Errorf("200 choices gave %d ports", len(seen))
	}
}
