package lb_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/lb"
)

// weighted are members that are up, with these weights.
func weighted(weights ...int) []lb.Member {
	list := members(make([]bool, len(weights))...)
	for i := range list {
		list[i].Healthy, list[i].Weight = true, weights[i]
	}
	return list
}

func TestWeightedSequences(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{5, 1, 1}, "0010200" + "0010200"}, // nginx's own example
		{[]int{2, 1}, "010010"},
		{[]int{1, 2}, "101101"},
		{[]int{4, 3, 2, 1}, "0120130210" + "0120130210"},
		{[]int{50, 10, 10}, "0010200"},
		{[]int{3, 3, 3}, "012012"},
		{[]int{0, 2, 1, 0}, "121121"},
		{[]int{-1, 1}, "111"},
		{[]int{1 << 30, 1 << 16}, "0101"}, // as much as counts
		{[]int{0, 0}, "-"},
	} {
		if got := take(t, lb.NewPool(lb.Config{}, weighted(c.weights...)), len(c.want)); got != c.want {
			t.Errorf("%v: %s, want %s", c.weights, got, c.want)
		}
	}
}

// nginx's algorithm, as it is written down: the credits start at 0.
type nginx struct{ weight, credit []int }

func (n *nginx) next() int {
	best, sum := -1, 0
	for i, w := range n.weight {
		n.credit[i] += w
		sum += w
		if w > 0 && (best < 0 || n.credit[i] > n.credit[best]) {
			best = i
		}
	}
	n.credit[best] -= sum
	return best
}

func TestWeightedIsNginx(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		w := make([]int, 1+r.IntN(8))
		for i := range w {
			w[i] = 1 + r.IntN(1+r.IntN(256))
		}
		pool, ref := lb.NewPool(lb.Config{}, weighted(w...)), nginx{w, make([]int, len(w))}
		for k := range 500 {
			m, _ := pool.Pick(lb.Client{}, 0, nil)
			if want := ref.next(); int(m.ID-10) != want {
				t.Fatalf("%v, turn %d: %d, want %d", w, k, m.ID-10, want)
			}
			pool.Commit(lb.Client{}, m.ID, 0)
		}
	}
}

// With weights 3 and 5, of eight turns the members have three and five. In general: in each round of as many turns
// as the weights add up to, each member has as many as its weight.
func TestWeightedDistribution(t *testing.T) {
	for _, w := range [][]int{{1, 1, 1, 1}, {2, 1, 1}, {10, 20, 30, 40}, {3, 5}, {256, 1, 1, 242}, {1, 0, 4}} {
		pool, count, sum := lb.NewPool(lb.Config{}, weighted(w...)), make([]int, len(w)), 0
		for _, v := range w {
			sum += v
		}
		rounds := 10000 / sum
		for range rounds * sum {
			m, _ := pool.Pick(lb.Client{}, 0, nil)
			pool.Commit(lb.Client{}, m.ID, 0)
			count[m.ID-10]++
		}
		for i, v := range w {
			if count[i] != rounds*v {
				t.Errorf("%v: member %d has %d of %d", w, i, count[i], rounds*sum)
			}
		}
	}
}

// What a change of the members does to the order. Members are numbers. A change is written down between the turns:
// -n and +n down and up, n=w the weight, xn removed, a a new member of weight 1 (a2: of weight 2).
func TestTurnsAcrossChanges(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int
		script  string
	}{
		{"down and back in its turn's place", []int{1, 1, 1}, "01 -2 010 +2 120"},
		{"down and back weighted, others go on", []int{2, 1, 1}, "01 -2 0010 +2 20"},
		{"drained and back", []int{1, 1, 1}, "01 2=0 0101 2=1 201"},
		{"heavier, where the turn is", []int{1, 1}, "0 0=2 100100"},
		{"lighter, the same", []int{2, 1}, "01 0=1 010"},
		{"the last one is not next", []int{2, 2, 1}, "0 -2 101 +2 0"},
		{"before the first turn", []int{1, 1}, "0=2 010010"},
		{"to equal ones, who is due is next", []int{5, 1, 1}, "0010 0=1 201201"},
		{"of several, who comes next", []int{1, 2, 1}, "1 1=1 201201"},
		{"a heavy one goes, the light ones take turns", []int{256, 1, 1}, "00000 -0 121212"},
		{"and unequal ones", []int{256, 2, 1}, "00000 -0 121121"},
		{"backups have their own turns", []int{1, 1, 1}, "01 -0 -1 -2 34 3 +0 +1 +2 20 -0 -1 -2 43"},
		{"removed in its turn", []int{2, 1, 1}, "0 x1 200"},
		{"new ones come last", []int{1, 1}, "0 a 1201"},
		{"made of one, made of many", []int{5}, "a a 0010200"},
	} {
		list := weighted(c.weights...)
		if strings.Contains(c.name, "backups") {
			list = append(list, lb.Member{ID: 13, Weight: 1, Backup: true, AdminStateUp: true, Healthy: true},
				lb.Member{ID: 14, Weight: 1, Backup: true, AdminStateUp: true, Healthy: true})
		}
		pool, got := lb.NewPool(lb.Config{}, list), []string{}
		ids := uint32(10 + len(list))
		for _, w := range strings.Fields(c.script) {
			id := uint32(10)
			if len(w) > 1 {
				id += uint32(strings.TrimLeft(w, "+-x")[0] - '0')
			}
			switch {
			case w[0] == '+', w[0] == '-':
				pool.SetHealthy(id, w[0] == '+')
			case w[0] == 'x':
				pool.Remove(id)
			case w[0] == 'a':
				pool.Add(lb.Member{ID: ids, Weight: 1, AdminStateUp: true, Healthy: true})
				ids++
			case len(w) > 1 && w[1] == '=':
				pool.SetWeight(id, int(w[2]-'0'))
			default:
				w = take(t, pool, len(w))
			}
			got = append(got, w)
		}
		if g := strings.Join(got, " "); g != c.script {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, c.weights, g, c.script)
		}
	}
}

// Members come, go and change at any moment. While none does, the turns of each member differ from its share by
// less than two. So no member gets a turn twice, or is passed over, because another one has come or gone.
func TestTurnsStayFair(t *testing.T) {
	worst := 0.0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		n, most := 2+r.IntN(9), []int{1, 2, 5, 256}[r.IntN(4)]
		w := make([]int, n)
		for i := range w {
			w[i] = 1 + r.IntN(most)
		}
		list := weighted(w...)
		pool, due := lb.NewPool(lb.Config{}, list), make([]float64, n)
		for range 2000 {
			if r.IntN(10) == 0 {
				i := r.IntN(n)
				if r.IntN(2) == 0 {
					list[i].Healthy = !list[i].Healthy
					pool.SetHealthy(list[i].ID, list[i].Healthy)
				} else {
					list[i].Weight = r.IntN(most + 1)
					pool.SetWeight(list[i].ID, list[i].Weight)
				}
				clear(due)
			}
			m, ok := pool.Pick(lb.Client{}, 0, nil)
			if !ok {
				continue
			}
			pool.Commit(lb.Client{}, m.ID, 0)
			sum := 0
			for _, m := range list {
				if m.Healthy {
					sum += m.Weight
				}
			}
			for i := range list {
				if list[i].Healthy {
					due[i] += float64(list[i].Weight) / float64(sum)
				}
			}
			due[m.ID-10]--
			for i, d := range due {
				worst = max(worst, math.Abs(d))
				if math.Abs(d) >= 2 {
					t.Fatalf("seed %d: member %d of %v is %+.2f turns behind", seed, i, list, d)
				}
			}
		}
	}
	t.Logf("at most %.2f turns", worst)
}

// A member that is passed over for long, as it cannot be reached, leaves the others
// their shares, and has no more than its own afterwards.
func TestPassedOverSavesNothing(t *testing.T) {
	for _, w := range [][]int{{1, 1, 1}, {2, 1, 1}, {5, 3, 1}, {1, 3, 1}} {
		pool, count := lb.NewPool(lb.Config{}, weighted(w...)), [3]int{}
		for range 100 * (w[1] + w[2]) {
			m, _ := pool.Pick(lb.Client{}, 0, nil)
			if m.ID == 10 {
				m, _ = pool.Choice(lb.Client{}, 1, 0)
			}
			pool.Commit(lb.Client{}, m.ID, 0)
			count[m.ID-10]++
		}
		if off := count[1] - 100*w[1]; off < -1 || off > 1 {
			t.Errorf("%v: without the first %v", w, count)
		}
		sum := w[0] + w[1] + w[2]
		count = [3]int{}
		for _, c := range take(t, pool, 10*sum) {
			count[c-'0']++
		}
		if off := count[0] - 10*w[0]; off < -1 || off > 1 {
			t.Errorf("%v: with it again %v", w, count)
		}
	}
}

// Each member leaves just after its turn, when the others are still to have theirs. When all are back, it is as if
// they had not left. The first to have left has the first turn among them, and not the last one, which has just
// had its turn.
func TestLeavingInTurn(t *testing.T) {
	pool, order := lb.NewPool(lb.Config{}, weighted(20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)), []uint32{}
	turn := func() uint32 {
		m, _ := pool.Pick(lb.Client{}, 0, nil)
		pool.Commit(lb.Client{}, m.ID, 0)
		return m.ID
	}
	for len(order) < 9 {
		if id := turn(); id > 11 {
			pool.SetHealthy(id, false)
			order = append(order, id)
		}
	}
	for _, id := range order {
		pool.SetHealthy(id, true)
	}
	id := turn()
	for id <= 11 {
		id = turn()
	}
	if id != order[0] {
		t.Errorf("they left in the order %v, and %d has the first turn", order, id)
	}
}
