package lb_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/lb"
)

func members(up ...bool) []lb.Member {
	var m []lb.Member
	for i, u := range up {
		m = append(m, lb.Member{ID: uint32(10 + i), Addr: uint32(i), Port: 80, Weight: 1, Up: u})
	}
	return m
}

// take picks and commits n times and returns the members' numbers.
func take(t *testing.T, p *lb.Pool, n int) string {
	t.Helper()
	out := ""
	for range n {
		m, ok := p.Pick(lb.Client{}, 0, 0)
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
		m, _ := p.Pick(lb.Client{}, 0, 0)
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
		if m, ok := p.Pick(lb.Client{}, 0, 0); !ok || m.ID != 10 {
			t.Fatalf("picked %v", m)
		}
	}
	if m, ok := p.Pick(lb.Client{}, 1, 0); !ok || m.ID != 11 {
		t.Errorf("second choice: %v", m)
	}
	if m, ok := p.Pick(lb.Client{}, 2, 0); ok {
		t.Errorf("a third choice of two: %v", m)
	}
	p.Commit(lb.Client{}, 99, 0) // nobody's
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
	if !p.SetUp(12, false) || p.SetUp(99, false) {
		t.Error("SetUp does not know its members")
	}
	got += take(t, p, 3)
	p.SetUp(12, true)
	got += take(t, p, 3)
	if want := "01" + "010" + "120"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Taking a member out passes over nobody and gives nobody two turns; a new one is the
// last in the order.
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
	p.Add(lb.Member{ID: 10, Weight: 1, Up: true})
	p.Add(lb.Member{ID: 11, Weight: 1})
	p.Add(lb.Member{ID: 12, Weight: 1, Up: true})
	if got := take(t, p, 3); got != "020" {
		t.Errorf("got %s", got)
	}
	if !p.Remove(10) || p.Remove(10) || p.SetUp(10, true) {
		t.Error("it is there after its end")
	}
	p.Commit(lb.Client{}, 10, 0) // what it had proposed before
	p.SetUp(11, true)
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
	m[0].Up = false
	if got := take(t, p, 2); got != "01" {
		t.Errorf("got %s", got)
	}
}

// The pool says what a plain walk over its members would, whoever is up.
func TestPickAgainstWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var list []lb.Member
		for i := range r.IntN(7) {
			list = append(list, lb.Member{ID: uint32(100 - i), Weight: 1, Up: r.IntN(2) == 0})
		}
		pool, turn := lb.NewPool(lb.Config{}, list), 0
		for range 100 {
			if n := len(list); n > 0 && r.IntN(4) == 0 {
				i := r.IntN(n)
				list[i].Up = !list[i].Up
				pool.SetUp(list[i].ID, list[i].Up)
			}
			var want []lb.Member
			for i := range list {
				if m := list[(turn+i)%len(list)]; m.Up {
					want = append(want, m)
				}
			}
			for k := range len(list) + 1 {
				got, ok := pool.Pick(lb.Client{}, k, 0)
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
