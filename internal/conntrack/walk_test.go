package conntrack_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A walk in steps looks at no more than it may in each. However the table changes in between, what
// stays is shown exactly once, and nothing is shown twice.
func TestWalk(t *testing.T) {
	for _, most := range []int{1, 7, 1000, 5000} {
		rng := rand.New(rand.NewPCG(5, uint64(most)))
		table := newTable(conntrack.Config{})
		const n = 5000
		for k := range packet.Addr(n) {
			plain(t, table, udp(k, 1, remote, 2), 0)
		}
		// a chunk is empty
		removeIf(table, func(c *conntrack.Conn) bool { return c.Tuple(conntrack.Original).Src/1024 == 2 })
		removed, comers := map[packet.Addr]bool{}, packet.Addr(n)
		seen := map[packet.Addr]int{}
		at, steps := conntrack.Cursor(0), 0
		for {
			shown := 0
			at = table.Walk(at, most, 0, func(c *conntrack.Conn) bool {
				shown++
				seen[c.Tuple(conntrack.Original).Src]++
				return true
			})
			if steps++; shown > most {
				t.Fatalf("%d in a step of %d", shown, most)
			}
			if at == 0 {
				break
			}
			for range min(most, 20) {
				k := packet.Addr(rng.Uint32N(n))
				if c, _ := table.Lookup(new(udp(k, 1, remote, 2)), 0); c != nil {
					table.Remove(c)
					removed[k] = true
				}
				plain(t, table, udp(comers, 1, remote, 2), 0)
				comers++
			}
		}
		if steps < (n-1024)/most {
			t.Errorf("%d steps of %d are too few for %d connections", steps, most, n-1024)
		}
		for k, times := range seen {
			if times > 1 {
				t.Errorf("steps of %d: connection %d is shown %d times", most, k, times)
			}
		}
		for k := range packet.Addr(n) {
			if k/1024 != 2 && !removed[k] && seen[k] != 1 {
				t.Errorf("steps of %d: connection %d stays, and is shown %d times", most, k, seen[k])
			}
		}
	}
}

// A table may lose its far end while a walk is on the way there. Expired and overruled connections
// are not shown.
func TestWalkOfWhatEnds(t *testing.T) {
	table := newTable(conntrack.Config{UDP: time.Minute})
	for k := range packet.Addr(4000) {
		plain(t, table, udp(k, 1, remote, 2), 0)
	}
	at := table.Walk(0, 3500, 0, func(*conntrack.Conn) bool { return true })
	removeIf(table, func(*conntrack.Conn) bool { return true })
	at = table.Walk(at, 100, 0, func(c *conntrack.Conn) bool {
		t.Errorf("%v is shown", c.Tuple(conntrack.Original))
		return true
	})
	if at != 0 {
		t.Errorf("the walk goes on at %d of an empty table", at)
	}
	plain(t, table, udp(1, 1, remote, 2), 0)
	plain(t, table, udp(2, 1, external, 2), 2*time.Minute)
	plain(t, table, udp(3, 1, remote, 2), 2*time.Minute)
	table.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
	var got []packet.Addr
	shown(table, 2*time.Minute, func(c conntrack.Connection) { got = append(got, c.Original.Src) })
	if len(got) != 1 || got[0] != 3 {
		t.Errorf("shown: %v, want 3 alone", got)
	}
}
