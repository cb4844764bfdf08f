package lb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

func members(up ...bool) []lb.Member {
	var m []lb.Member
	for i, u := range up {
		m = append(m, lb.Member{ID: uint32(10 + i), Addr: packet.Addr(i), Port: 80, Weight: 1, AdminStateUp: true,
			Healthy: u})
	}
	return m
}

// take picks and commits n times and returns the members' numbers.
func take(t *testing.T, p *lb.Pool, n int) string {
	t.Helper()
	out := ""
	for range n {
		m, ok := p.Pick(lb.Client{}, 0, nil)
		if !ok {
			return out + "-"
		}
		p.Commit(lb.Client{}, m.ID, 0)
		out += fmt.Sprint(m.ID - 10)
	}
	return out
}

func TestRoundRobinIsExact(t *testing.T) {
	for _, c := range []struct {
		up   []bool
		want string
	}{
		{[]bool{true}, "000000"},
		{[]bool{true, true}, "010101"},
		{[]bool{true, true, true}, "012012"},
		{[]bool{true, false, true}, "020202"},
		{[]bool{false, true, true}, "121212"},
		{[]bool{false, false}, "-"},
		{nil, "-"},
	} {
		if got := take(t, lb.NewPool(lb.Config{}, members(c.up...)), 6); got != c.want {
			t.Errorf("%v: %s, want %s", c.up, got, c.want)
		}
	}
}

// Each of n members gets exactly its part of ten thousand connections.
func TestDistribution(t *testing.T) {
	p := lb.NewPool(lb.Config{}, members(true, true, true, true))
	got := map[uint32]int{}
	for range 10000 {
		m, _ := p.Pick(lb.Client{}, 0, nil)
		p.Commit(lb.Client{}, m.ID, 0)
		got[m.ID]++
	}
	for id, n := range got {
		if n != 2500 {
			t.Errorf("member %d has %d connections", id, n)
		}
	}
	if p.Total() != 10000 {
		t.Errorf("total %d", p.Total())
	}
}

// A connection that does not come about moves nothing.
func TestPickAloneMovesNothing(t *testing.T) {
	p := lb.NewPool(lb.Config{}, members(true, true))
	for range 5 {
		if m, ok := p.Pick(lb.Client{}, 0, nil); !ok || m.ID != 10 {
			t.Fatalf("picked %v", m)
		}
	}
	if m, ok := p.Choice(lb.Client{}, 1, 0); !ok || m.ID != 11 {
		t.Errorf("second choice: %v", m)
	}
	if m, ok := p.Choice(lb.Client{}, 2, 0); ok {
		t.Errorf("a third choice of two: %v", m)
	}
	p.Commit(lb.Client{}, 99, 0) // not the ID of a member
	if got := take(t, p, 3); got != "010" {
		t.Errorf("got %s", got)
	}
	if p.Total() != 3 {
		t.Errorf("total %d", p.Total())
	}
}

func TestMembersComeAndGo(t *testing.T) {
	p := lb.NewPool(lb.Config{}, members(true, true, true))
	got := take(t, p, 2)
	if !p.SetHealthy(12, false) || p.SetHealthy(99, false) {
		t.Error("SetUp does not know its members")
	}
	got += take(t, p, 3)
	p.SetHealthy(12, true)
	got += take(t, p, 3)
	if want := "01" + "010" + "120"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Where a member is taken out, each other member keeps its turn: none is passed over, none has two. A new member
// is the last in the order.
func TestMembersAreAddedAndRemoved(t *testing.T) {
	for _, c := range []struct {
		turns  int
		remove int
		want   string
	}{
		{0, 0, "1212"}, {1, 0, "1212"}, {2, 0, "2121"}, {3, 0, "1212"},
		{0, 1, "0202"}, {1, 1, "2020"}, {2, 1, "2020"},
		{0, 2, "0101"}, {1, 2, "1010"}, {2, 2, "0101"},
	} {
		p := lb.NewPool(lb.Config{}, members(true, true, true))
		take(t, p, c.turns)
		if !p.Remove(uint32(10 + c.remove)) {
			t.Error("it is not there")
		}
		if got := take(t, p, 4); got != c.want {
			t.Errorf("after %d turns without %d: %s, want %s", c.turns, c.remove, got, c.want)
		}
	}
	p := lb.NewPool(lb.Config{}, nil)
	p.Add(lb.Member{ID: 10, Weight: 1, AdminStateUp: true, Healthy: true})
	p.Add(lb.Member{ID: 11, Weight: 1, AdminStateUp: true})
	p.Add(lb.Member{ID: 12, Weight: 1, AdminStateUp: true, Healthy: true})
	if got := take(t, p, 3); got != "020" {
		t.Errorf("got %s", got)
	}
	if !p.Remove(10) || p.Remove(10) || p.SetHealthy(10, true) {
		t.Error("it is there after its end")
	}
	p.Commit(lb.Client{}, 10, 0) // what it had proposed before
	p.SetHealthy(11, true)
	if got := take(t, p, 3); got != "121" {
		t.Errorf("got %s", got)
	}
	p.Remove(11)
	p.Remove(12)
	if got := take(t, p, 1); got != "-" {
		t.Errorf("an empty pool: %s", got)
	}
}

// The pool is the caller's copy.
func TestPoolKeepsItsOwnMembers(t *testing.T) {
	m := members(true, true)
	p := lb.NewPool(lb.Config{}, m)
	m[0].Healthy = false
	if got := take(t, p, 2); got != "01" {
		t.Errorf("got %s", got)
	}
}

// The pool says what a plain walk over its members would, whichever members are up.
func TestPickAgainstWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var list []lb.Member
		for i := range r.IntN(7) {
			list = append(list, lb.Member{ID: uint32(100 - i), Weight: 1, AdminStateUp: true, Healthy: r.IntN(2) == 0})
		}
		pool, turn := lb.NewPool(lb.Config{}, list), 0
		for range 100 {
			if n := len(list); n > 0 && r.IntN(4) == 0 {
				i := r.IntN(n)
				list[i].Healthy = !list[i].Healthy
				pool.SetHealthy(list[i].ID, list[i].Healthy)
			}
			var want []lb.Member
			for i := range list {
				if m := list[(turn+i)%len(list)]; m.Healthy {
					want = append(want, m)
				}
			}
			for k := range len(list) + 1 {
				got, ok := pool.Choice(lb.Client{}, k, 0)
				if ok != (k < len(want)) || ok && got != want[k] {
					t.Fatalf("choice %d of %v at turn %d: %v, %t", k, list, turn, got, ok)
				}
			}
			if len(want) > 0 {
				id := want[r.IntN(len(want))].ID
				pool.Commit(lb.Client{}, id, 0)
				turn = (100 - int(id) + 1) % len(list)
			}
		}
	}
}

// Pick asks about each member once, about the pinned one first, then in the order of choice, until one is
// usable.
func TestPickAsksInOrder(t *testing.T) {
	for alg := lb.RoundRobin; alg <= lb.SourceIPPort; alg++ {
		for _, weights := range []int{1, 3} {
			list := hosts(9, 2)
			for i := range list {
				list[i].Weight = 1 + i%weights
			}
			pool, c := lb.NewPool(lb.Config{Algorithm: alg, Persistence: time.Minute}, list), client(5)
			for i := range 4 {
				m, _ := pool.Pick(client(i), 0, nil)
				pool.Commit(client(i), m.ID, 0)
			}
			pool.Commit(c, 6, 0)
			pool.SetHealthy(2, false)
			var asked []uint32
			all := func(m *lb.Member) bool {
				asked = append(asked, m.ID)
				return false
			}
			if m, ok := pool.Pick(c, 0, all); ok {
				t.Errorf("algorithm %d: all were refused, and %v is chosen", alg, m)
			}
			order := asked
			seen := map[uint32]bool{}
			for _, id := range order {
				seen[id] = true
			}
			if len(order) != 8 || len(seen) != 8 || seen[2] || order[0] != 6 {
				t.Errorf("algorithm %d, weights to %d: asked %v", alg, weights, order)
			}
			for k, id := range order {
				asked = nil
				m, ok := pool.Pick(c, 0, func(m *lb.Member) bool { return all(m) || m.ID == id })
				if !ok || m.ID != id || !slices.Equal(asked, order[:k+1]) {
					t.Errorf("algorithm %d, weights to %d: %d is chosen after %v, want %d after %v",
						alg, weights, m.ID, asked, id, order)
				}
			}
		}
	}
}

// The operator and the checks have a say each: a member takes connections if both let it.
func TestAdminStateAndHealth(t *testing.T) {
	for _, alg := range []lb.Algorithm{lb.RoundRobin, lb.LeastConnections, lb.SourceIP, lb.SourceIPPort} {
		list := hosts(2, 1)
		pool := lb.NewPool(lb.Config{Algorithm: alg}, list)
		for _, step := range []struct{ admin, healthy bool }{{true, false}, {false, false}, {false, true},
			{true, true}} {
			list[0].AdminStateUp = step.admin
			list[0].Healthy = !step.healthy // what the checks say is the pool's to know
			pool.Update(lb.Config{Algorithm: alg}, list)
			pool.SetHealthy(0, step.healthy)
			want := step.admin && step.healthy
			got := false
			for i := range 50 {
				m, _ := pool.Pick(client(i), 0, nil)
				got = got || m.ID == 0
				pool.Commit(client(i), m.ID, 0)
			}
			if got != want || pool.Takes(0) != want || !pool.Takes(1) {
				t.Errorf("algorithm %d, %+v: takes connections: %t, says %t", alg, step, got, pool.Takes(0))
			}
		}
		if pool.SetHealthy(7, true) || pool.Takes(7) {
			t.Error("the pool knows a member that it has not")
		}
	}
}

// What an update keeps of the members that stay: see Pool.Update.
func TestUpdate(t *testing.T) {
	three := func() []lb.Member { return members(true, true, true) }
	pool := lb.NewPool(lb.Config{Persistence: time.Minute}, three())
	a, b := lb.Client{Addr: 'A'}, lb.Client{Addr: 'B'}
	pool.Commit(a, 10, 0)
	pool.Commit(b, 11, 0)
	turn := func(want uint32) {
		t.Helper()
		if m, ok := pool.Pick(lb.Client{Addr: 'Z'}, 0, nil); !ok || m.ID != want {
			t.Errorf("it is the turn of %d, want %d", m.ID, want)
		}
	}
	pinned := func(c lb.Client, id uint32, now time.Duration) {
		t.Helper()
		if m, ok := pool.Pick(c, now, nil); !ok || m.ID != id {
			t.Errorf("client %c goes to %d at %v, want %d", rune(c.Addr), m.ID, now, id)
		}
	}
	pool.SetHealthy(10, false)
	pool.SetHealthy(10, true) // A is forgotten
	pool.Commit(a, 10, 0)     // out of turn
	turn(11)
	pool.Commit(lb.Client{Addr: 'Y'}, 11, 0)

	cfg := lb.Config{Persistence: time.Hour}
	list := []lb.Member{{ID: 13, Weight: 1, AdminStateUp: true, Healthy: true}}
	for _, m := range []int{2, 0, 1} {
		list = append(list, three()[m])
	}
	pool.Update(cfg, list)
	turn(12)
	pinned(a, 10, time.Hour)
	pinned(b, 11, time.Hour)
	if got := pool.Members(); got[2].ID != 10 || got[2].Active != 2 || got[3].Active != 2 || got[0].Active != 0 {
		t.Errorf("%+v", got)
	}
	pool.Update(cfg, list[:1:1]) // whose turn it is goes, and so do all but one
	turn(13)
	pinned(a, 13, 0)
	pool.Update(cfg, list)
	pinned(a, 13, 0)
	if got := pool.Members(); got[2].Active != 0 {
		t.Errorf("a member that comes back begins anew: %+v", got)
	}

	// Another algorithm: the connections that there are count at once.
	for range 3 {
		pool.Commit(b, 13, 0)
		pool.Commit(b, 12, 0)
		pool.Commit(b, 10, 0)
	}
	cfg.Algorithm = lb.LeastConnections
	pool.Update(cfg, list)
	turn(11)
	pinned(b, 10, 0)
	cfg.Algorithm = lb.SourceIP
	pool.Update(cfg, list)
	other := lb.NewPool(lb.Config{Algorithm: lb.SourceIP}, list)
	for i := range 100 {
		x, _ := pool.Pick(client(i), 0, nil)
		if y, _ := other.Pick(client(i), 0, nil); x.ID != y.ID {
			t.Errorf("client %d goes to %d, in a new pool to %d", i, x.ID, y.ID)
		}
	}
	cfg.Algorithm = lb.RoundRobin
	pool.Update(cfg, list)
	turn(13)

	// Persistence ends, and begins anew.
	pinned(b, 10, 0)
	pool.Update(lb.Config{}, list)
	pinned(b, 13, 0)
	pool.Update(cfg, list)
	pinned(b, 13, 0)
	for i, c := range []lb.Client{a, b, {Addr: 'C'}} {
		pool.Commit(c, uint32(10+i), 0)
	}
	pool.End(b, 11, 0)
	cfg.Persistent = 2
	pool.Update(cfg, list)
	pinned(a, 10, 0)
	pinned(b, 10, 0) // the only one without connections is forgotten: it is the turn of 10
	pinned(lb.Client{Addr: 'C'}, 12, 0)
}

// An update that changes nothing moves no credit, and one that concerns only the operator's or the
// checks' say makes no hash table.
func TestUpdateOfNothing(t *testing.T) {
	a, b := lb.NewPool(lb.Config{}, weighted(5, 3, 1, 7)), lb.NewPool(lb.Config{}, weighted(5, 3, 1, 7))
	got, want := "", ""
	for range 100 {
		got += take(t, a, 1)
		a.Update(lb.Config{}, weighted(5, 3, 1, 7))
		want += take(t, b, 1)
	}
	if got != want {
		t.Errorf("turns are\n%s\nand without the updates\n%s", got, want)
	}
	list := hosts(10, 6)
	pool := hashed(list)
	cost := func(k int) float64 {
		return testing.AllocsPerRun(20, func() {
			list[k].AdminStateUp = !list[k].AdminStateUp
			pool.Update(lb.Config{Algorithm: lb.SourceIP}, list)
			pool.Pick(client(1), 0, nil)
		})
	}
	if n := cost(3); n > 10 {
		t.Errorf("%v allocations", n)
	}
}
