package nat

import (
	"math/rand/v2"
	"testing"
)

// Numbers are given out once, records stay what they are, and memory follows what is
// in use.
func TestPool(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var p pool[[3]uint32]
	used := map[uint32]uint32{}
	var list []uint32
	for round, most := range []int{3000, 10, 100_000, 0, 70_000, 1} {
		for steps := 0; len(list) != most; steps++ {
			grow := len(list) < most
			if r.IntN(4) == 0 {
				grow = !grow
			}
			if grow {
				i, v := p.add([3]uint32{}), r.Uint32()
				if _, ok := used[i]; ok {
					t.Fatalf("number %d is given out twice", i)
				}
				p.at(i)[0] = v
				used[i], list = v, append(list, i)
			} else if n := len(list); n > 0 {
				k := r.IntN(n)
				i := list[k]
				if got := p.at(i)[0]; got != used[i] {
					t.Fatalf("record %d is %d, not %d", i, got, used[i])
				}
				p.remove(i)
				delete(used, i)
				list[k], list = list[n-1], list[:n-1]
			}
		}
		if most < 100 && p.bytes() > (most+2)*chunkLen*13+4096 {
			t.Errorf("round %d: %d records take %d bytes", round, most, p.bytes())
		}
	}
}
