package nat

import (
	"math/rand/v2"
	"testing"
)

// The mappings of a range are counted right wherever it begins and ends.
func TestMappedBetween(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &portSpace{portSet: newPortSet()}
	edges := []int{1024, 1025, 2047, 2048, 2049, 3000, 4095, 4096, 9000, 65534, 65535}
	for range 3000 {
		port := uint16(1024 + rng.IntN(1<<16-1024))
		if rng.IntN(3) == 0 {
			port = uint16(edges[rng.IntN(len(edges))])
		}
		if s.mapping(port) == 0 {
			s.set(port, 1)
		}
	}
	for _, lo := range edges {
		for _, hi := range edges {
			want := 0
			for port := lo; port <= hi; port++ {
				if s.mapping(uint16(port)) != 0 {
					want++
				}
			}
			if got := s.mappedBetween(lo, hi); got != want {
				t.Errorf("%d-%d: %d, want %d", lo, hi, got, want)
			}
		}
	}
}
