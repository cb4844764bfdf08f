package wire

import (
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// The table finds every station that it was made of, and no other, whatever their addresses and their number.
func TestStationTableAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	address := func(spread int) packet.MAC {
		return packet.MAC{2, 0, 0, 0, byte(rng.IntN(spread)), byte(rng.IntN(256))}
	}
	for n := range 300 { // also none, and one
		want := map[packet.MAC]*Station{}
		var all []*Station
		for range n {
			s := &Station{MAC: address(1 + n/100)}
			all = append(all, s)
			if want[s.MAC] == nil {
				want[s.MAC] = s // the first of two counts
			}
		}
		table := NewStationTable(rng.Uint64(), all)
		for range 1000 {
			mac := address(4)
			if got := table.Lookup(mac[:]); got != want[mac] {
				t.Fatalf("%d stations: %v at %v, want %v", n, got, mac, want[mac])
			}
		}
	}
}
