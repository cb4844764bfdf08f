package neighbor_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
)

// With an interface all its neighbors go, in whatever state, and each is told of. The frames that wait for
// them are lost, and so are the interface's own frames that wait elsewhere. Everything else stays.
func TestDrop(t *testing.T) {
	table := neighbor.NewTable()
	told := map[neighbor.Key]int{}
	table.OnChange(func(n *neighbor.Neighbor, gone bool) {
		if gone {
			told[n.Key]++
		}
	})
	reachable, failed, asked := key(1), key(2), key(3)
	other := neighbor.Key{Iface: 2, Addr: 3}
	table.Resolve(failed, 0, 0)
	tick(t, table, 0, 3*time.Second)
	const now = 3 * time.Second
	table.Learn(reachable, mac, true, now)
	ref, _, _ := table.Resolve(reachable, 0, now)
	_, n, _ := table.Resolve(asked, 0, now)
	table.Park(n, []byte{1}, 1)
	table.Park(n, []byte{2}, 2)
	table.Park(n, []byte{3}, 3)
	_, n, _ = table.Resolve(other, 0, now)
	table.Park(n, []byte{4}, 3)
	table.Park(n, []byte{5}, 1)
	table.Park(n, []byte{6}, 2)
	table.Park(n, []byte{7}, 1)

	if got := table.Drop(1); got != 5 {
		t.Errorf("%d frames are lost, want 5", got)
	}
	if table.Len() != 1 || table.Lost() != 0 || table.Get(ref) != nil {
		t.Errorf("%d neighbors are left, %d frames are counted elsewhere", table.Len(), table.Lost())
	}
	if told[reachable] != 1 || told[failed] != 1 || told[asked] != 1 || len(told) != 3 {
		t.Errorf("told of %v", told)
	}
	got, _ := table.Learn(other, mac, false, now)
	if len(got) != 2 || got[0].Frame[0] != 4 || got[1].Frame[0] != 6 {
		t.Errorf("%v wait elsewhere, want the fourth and the sixth", got)
	}
	if table.Drop(1) != 0 || table.Drop(9) != 0 {
		t.Error("frames are lost by an interface that has none")
	}
	want(t, tick(t, table, now, now+neighbor.ProbeAfter-1)) // no neighbor is asked for any more
}

// The room that dropped frames have taken is free again, that of the interface and that of all.
func TestDropFreesRoom(t *testing.T) {
	table := neighbor.NewTable()
	park := func(k neighbor.Key, size int, iface uint16) bool {
		_, n, _ := table.Resolve(k, 0, 0)
		return table.Park(n, make([]byte, size), iface)
	}
	elsewhere := neighbor.Key{Iface: 2, Addr: 1}
	if !park(key(1), neighbor.MaxParkedBytes/8, 3) || !park(key(1), neighbor.MaxParkedBytes/8, 1) ||
		!park(elsewhere, neighbor.MaxParkedBytes/4, 1) {
		t.Fatal("no room in an empty table")
	}
	if got := table.Drop(1); got != 3 {
		t.Fatalf("%d frames are lost, want 3", got)
	}
	for _, iface := range []uint16{1, 3} {
		if !park(elsewhere, neighbor.MaxParkedBytes/2, iface) || park(elsewhere, 1, iface) {
			t.Errorf("interface %d has not the half of the room", iface)
		}
		if table.Drop(2) != 1 {
			t.Error("not the one frame is lost")
		}
	}
}

// An interface that comes later with the same number is not held to what the former one has asked for.
func TestDropForgetsTheAskRate(t *testing.T) {
	table := neighbor.NewTable()
	ask := func() (asked int) {
		for i := range 2 * neighbor.AskBurst {
			if _, _, ask := table.Resolve(neighbor.Key{Iface: 2, Addr: packet.Addr(i)}, 1, 0); ask {
				asked++
			}
		}
		return asked
	}
	ask()
	table.Drop(2)
	if got := ask(); got != 0 {
		t.Errorf("%d are asked for beyond the rate", got)
	}
	table.Drop(1)
	if got := ask(); got != neighbor.AskBurst {
		t.Errorf("%d are asked for, want %d", got, neighbor.AskBurst)
	}
}

// Interfaces come and go among random operations: every parked frame comes back, has made room or is
// counted by Drop.
func TestRandomDrops(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		table := neighbor.NewTable()
		known := map[neighbor.Key]bool{}
		table.OnChange(func(n *neighbor.Neighbor, gone bool) {
			if known[n.Key] = true; gone {
				delete(known, n.Key)
			}
		})
		now, parked, back, dropped := time.Duration(0), 0, 0, 0
		do := func(a neighbor.Action) { back += len(a.Failed) }
		for range 3000 {
			now += time.Duration(rng.IntN(int(200 * time.Millisecond)))
			table.Tick(now, do)
			iface := uint16(1 + rng.IntN(4))
			k := neighbor.Key{Iface: iface, Addr: packet.Addr(rng.IntN(6))}
			switch rng.IntN(12) {
			case 0:
				dropped += table.Drop(iface)
				table.Each(func(n *neighbor.Neighbor) {
					for p := range n.Waiting {
						if n.Iface == iface || p.Iface == iface {
							t.Fatalf("seed %d: a frame of interface %d waits still", seed, iface)
						}
					}
				})
			case 1, 2:
				p, _ := table.Learn(k, packet.MAC{2}, true, now)
				back += len(p)
			default:
				_, n, _ := table.Resolve(k, 0, now)
				if !n.Usable() && n.State != neighbor.Failed && table.Park(n, []byte{1}, uint16(rng.IntN(5))) {
					parked++
				}
			}
			if len(known) != table.Len() {
				t.Fatalf("seed %d: %d neighbors, OnChange has told of %d", seed, table.Len(), len(known))
			}
		}
		for iface := range uint16(5) {
			dropped += table.Drop(iface)
		}
		if table.Len() != 0 || len(known) != 0 || parked != back+dropped || dropped == 0 || back == 0 {
			t.Errorf("seed %d: %d neighbors are left; parked %d, back %d, dropped %d", seed, table.Len(), parked, back,
				dropped)
		}
	}
}
