package lb_test

import (
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/lb"
)

var least = lb.Config{Algorithm: lb.LeastConnections}

// Ten thousand connections that all stay open.
func TestLeastConnectionsDistribution(t *testing.T) {
	for _, w := range [][]int{{1, 1, 1}, {1, 1, 1, 1, 1, 1, 1}, {3, 2, 1}, {100, 10, 1}, {1, 0, 1}} {
		pool := lb.NewPool(least, weighted(w...))
		take(t, pool, 10000)
		for i := range w {
			for k := range w {
				a, b := pool.Active(uint32(10+i)), pool.Active(uint32(10+k))
				// By the unit of weight they differ by one connection at most.
				if w[i] > 0 && w[k] > 0 && a*w[k] > (b+1)*w[i] || w[i] == 0 && a > 0 {
					t.Errorf("weights %v: %d has %d, %d has %d", w, i, a, k, b)
				}
			}
		}
	}
}

// Members that come, go and drain, and connections that end: after as many new ones
// as it takes, all are even again.
func TestLeastConnectionsLevelsOut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	list := weighted(1, 1, 1, 1, 1)
	pool, open := lb.NewPool(least, list), []uint32{}
	for range 50 {
		i := r.IntN(len(list))
		list[i].Healthy = !list[i].Healthy
		pool.SetHealthy(list[i].ID, list[i].Healthy)
		for range r.IntN(40) {
			if m, ok := pool.Pick(lb.Client{}, 0, nil); ok && r.IntN(3) > 0 {
				pool.Commit(lb.Client{}, m.ID, 0)
				open = append(open, m.ID)
			} else if len(open) > 0 {
				k := r.IntN(len(open))
				pool.End(lb.Client{}, open[k], 0)
				open = append(open[:k], open[k+1:]...)
			}
		}
	}
	for _, m := range list {
		pool.SetHealthy(m.ID, true)
	}
	take(t, pool, 5*len(open))
	low, high, sum := 1<<30, 0, 0
	for _, m := range list {
		n := pool.Active(m.ID)
		low, high, sum = min(low, n), max(high, n), sum+n
	}
	if high-low > 1 || sum != 6*len(open) {
		t.Errorf("%d connections: from %d to %d on a member", sum, low, high)
	}
}

func TestLeastConnectionsTakesTurns(t *testing.T) {
	pool := lb.NewPool(least, members(true, true, true))
	got := ""
	for range 7 { // one at a time
		m, _ := pool.Pick(lb.Client{}, 0, nil)
		pool.Commit(lb.Client{}, m.ID, 0)
		pool.End(lb.Client{}, m.ID, 0)
		got += string('0' + rune(m.ID-10))
	}
	if got != "0120120" {
		t.Errorf("got %s", got)
	}
	// A member that was away keeps its connections. A new member has none yet.
	pool = lb.NewPool(least, members(true, true))
	take(t, pool, 4)
	pool.SetHealthy(11, false)
	take(t, pool, 2)
	pool.SetHealthy(11, true)
	pool.Add(lb.Member{ID: 12, Weight: 1, AdminStateUp: true, Healthy: true})
	if got := take(t, pool, 6); got != "221212" {
		t.Errorf("got %s", got)
	}
}

func TestActive(t *testing.T) {
	for _, alg := range []lb.Algorithm{lb.RoundRobin, lb.LeastConnections, lb.SourceIP, lb.SourceIPPort} {
		pool, c := lb.NewPool(lb.Config{Algorithm: alg}, members(true, true)), lb.Client{Addr: 1}
		for _, step := range []struct {
			do   func(lb.Client, uint32)
			id   uint32
			want int // of 10
		}{
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 0}, // it has none
			{func(c lb.Client, id uint32) { pool.Commit(c, id, 0) }, 10, 1},
			{func(c lb.Client, id uint32) { pool.Commit(c, id, 0) }, 10, 2},
			{func(c lb.Client, id uint32) { pool.Commit(c, id, 0) }, 11, 2},
			{func(c lb.Client, id uint32) { pool.SetHealthy(id, false) }, 10, 2},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 1}, // its connections live on
			{func(c lb.Client, id uint32) { pool.Resume(c, id, 0) }, 10, 2},
			{func(c lb.Client, id uint32) { pool.SetHealthy(id, true) }, 10, 2},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 99, 2}, // not a member
			{func(c lb.Client, id uint32) { pool.Resume(c, id, 0) }, 99, 2},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 1},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 0},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 0},
			{func(c lb.Client, id uint32) { pool.Commit(c, id, 0); pool.Remove(id) }, 10, 0},
			{func(c lb.Client, id uint32) { pool.End(c, id, 0) }, 10, 0},
		} {
			if step.do(c, step.id); pool.Active(10) != step.want {
				t.Errorf("algorithm %d: %d connections, want %d", alg, pool.Active(10), step.want)
			}
		}
		if pool.Active(11) != 1 || pool.Active(99) != 0 || pool.Total() != 4 {
			t.Errorf("algorithm %d: %d, %d, %d", alg, pool.Active(11), pool.Active(99), pool.Total())
		}
	}
}
