package ip

import (
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// No identification comes again for 60 000 packets to one place, whatever goes to
// others meanwhile, and however many the segments of a packet.
func TestIdentsDoNotRepeat(t *testing.T) {
	s := newIdents(rand.New(rand.NewPCG(1, 2)))
	seen := map[uint16]bool{}
	for i := range packet.Addr(60000) {
		if i%1000 == 0 {
			first := s.take(1, 2, 17, 44)
			for k := range uint16(44) {
				seen[first+k] = true
			}
		}
		id := s.take(1, 2, 17, 1)
		if seen[id] {
			t.Fatalf("packet %d has the identification of an earlier one", i)
		}
		seen[id] = true
		s.take(1, i%100+10, 6, 1)
	}
}

// What one destination sees says nothing about another's, nor about another
// router's, and protocols count apart.
func TestIdentsAreSpread(t *testing.T) {
	a, b := newIdents(rand.New(rand.NewPCG(1, 2))), newIdents(rand.New(rand.NewPCG(1, 3)))
	ids, used, same := map[uint16]bool{}, map[uint16]int{}, 0
	const n = 8192
	for dst := range packet.Addr(n) {
		id := a.take(1, dst, 17, 1)
		ids[id] = true
		if id == b.take(1, dst, 17, 1) || id == a.take(1, dst, 6, 1) || id == a.take(2, dst, 17, 1) {
			same++
		}
	}
	if len(ids) < n*9/10 || same > 10 {
		t.Errorf("%d destinations have %d identifications, %d the same in another way", n, len(ids), same)
	}
	for _, u := range a.used {
		used[u]++
	}
	if len(used) > 40 || used[0] > 30 { // 3 n in 4096 counters: 6 each, and none much used
		t.Errorf("counters are used unevenly: %v", used)
	}
}
