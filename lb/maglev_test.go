package lb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

// hosts are n members at neighboring addresses, as in real subnets.
func hosts(n, subnet int) []lb.Member {
	var list []lb.Member
	for i := range n {
		list = append(list, lb.Member{ID: uint32(i), Addr: packet.Addr(0x0a000002 + subnet<<16 + i), Port: 80,
			Weight: 1, AdminStateUp: true, Healthy: true})
	}
	return list
}

func hashed(list []lb.Member) *lb.Pool {
	return lb.NewPool(lb.Config{Algorithm: lb.SourceIP}, list)
}

func without(list []lb.Member, i int) []lb.Member {
	return slices.Delete(slices.Clone(list), i, i+1)
}

func client(i int) lb.Client { return lb.Client{Addr: 0xc0a80000 + packet.Addr(i), Port: uint16(i)} }

// where is which member each of n clients goes to.
func where(p *lb.Pool, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		m, _ := p.Pick(client(i), 0, nil)
		out[i] = m.ID
	}
	return out
}

// moved is the part of the clients that go to another member. Clients of the member but are not counted.
func moved(a, b []uint32, but uint32) float64 {
	n := 0
	for i := range a {
		if a[i] != b[i] && a[i] != but && b[i] != but {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

// A member that is removed, or added, moves 1 % of the clients of others at most, and
// has 1/n of them itself, give or take what TestHashShares allows.
func TestHashMovesFewClients(t *testing.T) {
	const clients = 20000
	worst := 0.0
	for n := 2; n <= 100; n++ {
		list := hosts(n, n)
		before := where(hashed(list), clients)
		for _, i := range []int{0, n / 2} {
			// Read backwards, it is one that is added.
			m := moved(before, where(hashed(without(list, i)), clients), uint32(i))
			worst = max(worst, m)
			if own := share(before, uint32(i)); m > 0.01 || math.Abs(own*float64(n)-1) > bound(n, clients) {
				t.Errorf("without %d of %d: its %.2f %% and %.2f %% of all others move", i, n, 100*own, 100*m)
			}
		}
	}
	t.Logf("at most %.2f %%", 100*worst)
}

func share(at []uint32, id uint32) float64 {
	n := 0
	for _, v := range at {
		if v == id {
			n++
		}
	}
	return float64(n) / float64(len(at))
}

// bound is how far from its share a member of n may be, as a part of the share. It may be 4 % for its
// slots, and 4.5 standard deviations for the sample of so many clients.
func bound(n, clients int) float64 { return 0.04 + 4.5*math.Sqrt(float64(n)/float64(clients)) }

func TestHashShares(t *testing.T) {
	const clients = 200000
	for _, n := range []int{1, 2, 3, 7, 10, 64, 128, 129, 500} {
		at := make([]int, n)
		for _, id := range where(hashed(hosts(n, 1)), clients) {
			at[id]++
		}
		for i, c := range at {
			if off := float64(c*n)/clients - 1; math.Abs(off) > bound(n, clients) {
				t.Errorf("%d of %d is %+.1f %% off its share", i, n, 100*off)
			}
		}
	}
	const many = 4000000 // for the share of slots alone
	at := make([]int, 128)
	for i, pool := 0, hashed(hosts(128, 1)); i < many; i++ {
		m, _ := pool.Pick(client(i), 0, nil)
		at[m.ID]++
	}
	for i, c := range at {
		if off := float64(c*128)/many - 1; math.Abs(off) > bound(128, many) {
			t.Errorf("%d of 128 is %+.1f %% off its share", i, 100*off)
		}
	}
	for _, w := range [][]int{{2, 1}, {5, 1, 1}, {10, 20, 30, 40}, {256, 100, 30}, {7, 0, 3}} {
		list, sum := hosts(len(w), 2), 0
		for i := range list {
			list[i].Weight = w[i]
			sum += w[i]
		}
		at := where(hashed(list), clients)
		for i, w := range w {
			want := float64(w) / float64(sum)
			if got := share(at, uint32(i)); math.Abs(got-want) > 0.04*want+4.5*math.Sqrt(want/clients) {
				t.Errorf("weight %d of %d: %.3f, want %.3f", w, sum, got, want)
			}
		}
	}
}

// Who goes where depends on endpoints, weights and backup flags alone: not on the
// order or the IDs, nor on how the pool came to its members.
func TestHashAgreesAcrossRouters(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	for _, alg := range []lb.Algorithm{lb.SourceIP, lb.SourceIPPort} {
		list := hosts(12, 3)
		for i := range list {
			list[i].Weight, list[i].Backup, list[i].Healthy = i%4, i%3 == 0, i != 5
		}
		other := slices.Clone(list)
		r.Shuffle(len(other), func(i, k int) { other[i], other[k] = other[k], other[i] })
		late := lb.NewPool(lb.Config{Algorithm: alg},
			[]lb.Member{{ID: 999, Addr: 1, Weight: 1, AdminStateUp: true, Healthy: true}})
		late.Pick(client(0), 0, nil)
		for i := range other {
			other[i].ID = 500 + other[i].ID*7
			m := other[i]
			m.Weight++
			late.Add(m)
			late.SetWeight(m.ID, m.Weight-1)
		}
		late.Remove(999)
		a, b := lb.NewPool(lb.Config{Algorithm: alg}, list), lb.NewPool(lb.Config{Algorithm: alg}, other)
		for i := range 2000 {
			for k := range 9 {
				x, okX := a.Choice(client(i), k, 0)
				for _, q := range []*lb.Pool{b, late} {
					if y, ok := q.Choice(client(i), k, 0); ok != okX || x.Addr != y.Addr {
						t.Fatalf("client %d, choice %d: %v, %v", i, k, x, y)
					}
				}
			}
		}
	}
}

// The choices of these members are the same in every release: routers of different
// ones may share a VIP.
func TestHashIsFixed(t *testing.T) {
	for alg, want := range map[lb.Algorithm]string{
		lb.SourceIP:     "214788183765668066585046",
		lb.SourceIPPort: "228049192703023561456125",
	} {
		pool, got := lb.NewPool(lb.Config{Algorithm: alg}, hosts(10, 0)), ""
		for i := range 24 {
			m, _ := pool.Pick(client(i), 0, nil)
			got += fmt.Sprint(m.ID)
		}
		if got != want {
			t.Errorf("algorithm %d: %s, want %s", alg, got, want)
		}
	}
}

// SourceIP knows no ports; SourceIPPort spreads one address over all members.
func TestHashOfPorts(t *testing.T) {
	for alg, want := range map[lb.Algorithm]int{lb.SourceIP: 1, lb.SourceIPPort: 10} {
		pool, met := lb.NewPool(lb.Config{Algorithm: alg}, hosts(10, 0)), map[uint32]bool{}
		for i := range 200 {
			m, _ := pool.Pick(lb.Client{Addr: 7, Port: uint16(i)}, 0, nil)
			met[m.ID] = true
		}
		if len(met) != want {
			t.Errorf("algorithm %d: %d members", alg, len(met))
		}
	}
}

// A member that is down moves its clients only, evenly over all others, and its
// return moves them back; so for several, and for almost all.
func TestHashOfTheLiving(t *testing.T) {
	const clients, n = 50000, 20
	for _, down := range []int{1, 3, 10, 17, 19} {
		pool := hashed(hosts(n, 4))
		before := where(pool, clients)
		for i := range down {
			pool.SetHealthy(uint32(i), false)
		}
		after, left := where(pool, clients), make([]int, n)
		for i, id := range after {
			if before[i] >= uint32(down) && before[i] != id {
				t.Fatalf("%d down: client %d moves from %d to %d", down, i, before[i], id)
			}
			if before[i] < uint32(down) {
				left[id]++
			}
		}
		sum := 0
		for _, c := range left {
			sum += c
		}
		for i, c := range left {
			want := 0.0
			if i >= down {
				want = float64(sum) / float64(n-down)
			}
			if math.Abs(float64(c)-want) > 0.06*want+4.5*math.Sqrt(want) {
				t.Errorf("%d down: %d gets %d more clients, want %.0f", down, i, c, want)
			}
		}
		for i := range down {
			pool.SetHealthy(uint32(i), true)
		}
		if !slices.Equal(before, where(pool, clients)) {
			t.Errorf("%d down and up: not as before", down)
		}
	}
}

// The second choice of a member's clients is spread like that, too. They get it when the first is down.
func TestHashSecondChoice(t *testing.T) {
	pool := hashed(hosts(5, 5))
	for i := range 1000 {
		var first, second [5]lb.Member
		for k := range first {
			first[k], _ = pool.Choice(client(i), k, 0)
		}
		pool.SetHealthy(first[0].ID, false)
		for k := range second {
			second[k], _ = pool.Choice(client(i), k, 0)
		}
		if !slices.Equal(first[1:], second[:4]) {
			t.Fatalf("client %d: %v, and without the first %v", i, first, second)
		}
		pool.SetHealthy(first[0].ID, true)
	}
}

// Backups have a table of their own. So the clients of primaries do not move because there are backups, nor the
// clients of backups because there are primaries.
func TestHashBackupsMoveNobody(t *testing.T) {
	list := hosts(9, 6)
	for i := 5; i < 9; i++ {
		list[i].Backup = true
	}
	if !slices.Equal(where(hashed(list), 5000), where(hashed(list[:5]), 5000)) {
		t.Error("the primaries' clients move")
	}
	for i := range 5 {
		list[i].Healthy = false
	}
	if !slices.Equal(where(hashed(list), 5000), where(hashed(list[5:]), 5000)) {
		t.Error("the backups' clients move")
	}
}

// A table costs too much to be made for each member that goes down or up.
func TestHashHealthMakesNoTable(t *testing.T) {
	pool, up := hashed(hosts(10, 6)), true
	pool.Pick(client(1), 0, nil)
	if n := testing.AllocsPerRun(20, func() {
		up = !up
		pool.SetHealthy(3, up)
		pool.Pick(client(1), 0, nil)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Tables that are made beforehand give each client the member that it gets without, also after changes: the pool uses
// them as long as they fit.
func TestTablesMadeBeforehand(t *testing.T) {
	members := hosts(150, 0)
	members[3].Weight, members[140].Backup = 5, true
	tables := lb.NewTables(lb.SourceIP, members)
	if tables == nil || lb.NewTables(lb.RoundRobin, members) != nil || lb.NewTables(lb.SourceIP, hosts(128, 0)) != nil {
		t.Fatal("tables are made where they should not be, or not where they should")
	}
	with := lb.NewPool(lb.Config{Algorithm: lb.SourceIP, Tables: tables}, members)
	without := lb.NewPool(lb.Config{Algorithm: lb.SourceIP}, members)
	same := func(when string) {
		t.Helper()
		for k := range 3000 {
			c := lb.Client{Addr: packet.Addr(k * 7919)}
			a, okA := with.Pick(c, 0, nil)
			b, okB := without.Pick(c, 0, nil)
			if a != b || okA != okB {
				t.Fatalf("%s: client %d gets %v, want %v", when, k, a, b)
			}
		}
	}
	same("at first")
	if n := testing.AllocsPerRun(10, func() { with.Pick(lb.Client{Addr: 1}, 0, nil) }); n != 0 {
		t.Errorf("a choice allocates %v times", n)
	}
	for _, m := range members[:149] { // only the backup is left in the end
		if m.ID != members[140].ID {
			with.SetHealthy(m.ID, m.ID%2 == 0)
			without.SetHealthy(m.ID, m.ID%2 == 0)
		}
	}
	same("with half of them")
	for _, m := range members {
		with.SetHealthy(m.ID, m.Backup)
		without.SetHealthy(m.ID, m.Backup)
	}
	same("with the backup alone")
	for _, m := range members {
		with.SetHealthy(m.ID, true)
		without.SetHealthy(m.ID, true)
	}
	other := slices.Clone(members)
	other[7].Port++
	other[7].ID = 9999
	if tables.Fit(other) || !tables.Fit(members) {
		t.Error("the tables fit other members, or not their own")
	}
	with.Update(lb.Config{Algorithm: lb.SourceIP, Tables: tables}, other) // of the former members
	without.Update(lb.Config{Algorithm: lb.SourceIP}, other)
	same("with another member, and former tables")
	with.Update(lb.Config{Algorithm: lb.SourceIP, Tables: lb.NewTables(lb.SourceIP, members)}, members)
	without.Update(lb.Config{Algorithm: lb.SourceIP}, members)
	same("with new tables")
}
