package lb

import (
	"cmp"
	"math"
	"slices"
)

// roundRobin gives turns. Where all eligible members have the same weight, the turn is a place in
// the order, and goes round: a choice takes the same time for any number of members. Where weights
// differ, it is nginx's smooth weighted round robin. At each turn the credit of every member grows
// by its weight. The member with the most credit is chosen (the first of several), and pays the
// sum of the weights. So each connection looks at all members, a few nanoseconds for each.
//
// Going round is what equal credits do. So each form turns into the other, and no member gets a
// turn too many: places become credits evenly apart, and credits become the place of the member
// with the most. What a member has above or below the average stays with it while it is away. It
// neither catches up on the turns that it has missed, nor escapes the ones that it had too many.
type roundRobin struct {
	next    [2]int // by class: the place whose turn it is. A backup's turn leaves the primaries' alone
	class   int    // of the members that have turns
	firstAt []int  // by place: slot of the first eligible member from there on
	smooth  bool   // weights differ

	sum    int64 // of the weights of the eligible members, or of the last ones that there were
	weight []int64
	credit []int64 // by slot, as weight is
	best   int     // slot of the first choice, -1: to be found
}

// unit is a weight of 1 in credits. Credits are scaled with the sum of the weights, and the
// fraction keeps which member was ahead of which.
const unit = 1 << 16

// moved: the members have other places than before, when they were old. A turn stays with its
// member, or goes to the next one after it that has stayed.
func (t *roundRobin) moved(p *Pool, old []member) {
	for class, next := range t.next {
		t.next[class] = 0
		for k := range old {
			if i, ok := p.at[old[(next+k)%len(old)].ID]; ok {
				t.next[class] = i
				break
			}
		}
	}
}

// before gives the members back what they have above or below the average.
func (t *roundRobin) before(p *Pool) {
	n, total := int64(0), int64(0)
	for i := range p.members {
		if s := p.members[i].slot; s >= 0 {
			n++
			total += t.credit[s]
		}
	}
	d := int64(0)
	for k := range p.members {
		m := &p.members[(t.next[t.class]+k)%len(p.members)]
		switch {
		case m.slot < 0:
		case t.smooth:
			m.credit = t.credit[m.slot] - total/n
		default: // one turn apart from each other
			m.credit = t.sum * (n - 1 - 2*d) / (2 * n)
			d++
		}
	}
}

func (t *roundRobin) after(p *Pool, _ bool) {
	t.firstAt = t.firstAt[:0]
	k := 0
	for i := range p.members {
		t.firstAt = append(t.firstAt, k)
		if p.members[i].slot >= 0 {
			k++
		}
	}
	t.rescale(p)
	was := t.smooth
	t.class, t.best, t.smooth = p.class, -1, false
	t.weight, t.credit = t.weight[:0], t.credit[:0]
	for _, i := range p.eligible {
		t.weight = append(t.weight, p.members[i].weight()*unit)
		t.credit = append(t.credit, p.members[i].credit)
		t.smooth = t.smooth || t.weight[0] != t.weight[len(t.weight)-1]
	}
	if was && !t.smooth && len(p.eligible) > 0 {
		t.enter(p)
	}
}

// rescale makes the credits the same part of a round in the new weights. A short wait between
// large weights would be many turns between small ones.
func (t *roundRobin) rescale(p *Pool) {
	sum := int64(0)
	for _, i := range p.eligible {
		sum += p.members[i].weight() * unit
	}
	if sum == 0 || sum == t.sum {
		return
	}
	f := 0.0 // no member has had a turn yet
	if p.total > 0 && t.sum > 0 {
		f = float64(sum) / float64(t.sum)
	}
	for i := range p.members {
		p.members[i].credit = int64(math.Round(float64(p.members[i].credit) * f))
	}
	t.sum = sum
}

// enter starts going round at the member with the most credit.
func (t *roundRobin) enter(p *Pool) {
	best := t.turn(p)
	for k := range p.eligible {
		if s := (best + k) % len(p.eligible); t.credit[s] > t.credit[best] {
			best = s
		}
	}
	t.next[t.class] = p.eligible[best]
}

func (t *roundRobin) first(p *Pool, _ Client) int {
	if !t.smooth {
		return p.eligible[t.turn(p)]
	}
	if t.best < 0 {
		t.best = 0
		for s := range t.credit {
			if t.credit[s]+t.weight[s] > t.credit[t.best]+t.weight[t.best] {
				t.best = s
			}
		}
	}
	return p.eligible[t.best]
}

// turn is the slot whose turn it is, where weights are equal.
func (t *roundRobin) turn(p *Pool) int {
	return t.firstAt[t.next[t.class]] % len(p.eligible)
}

// ranking orders by the credit that each would have at the next turn.
func (t *roundRobin) ranking(p *Pool, _ Client, order []int) []int {
	if !t.smooth {
		s := t.turn(p)
		return append(append(order, p.eligible[s:]...), p.eligible[:s]...)
	}
	order = append(order, p.eligible...)
	slices.SortFunc(order, func(a, b int) int { return t.compare(p.members[a].slot, p.members[b].slot) })
	return order
}

func (t *roundRobin) compare(a, b int) int {
	if d := cmp.Compare(t.credit[b]+t.weight[b], t.credit[a]+t.weight[a]); d != 0 {
		return d
	}
	return cmp.Compare(a, b)
}

// took passes the turn on. The members before the one that took it were passed over, because they
// could not be reached. They save up nothing, as if they were not there.
func (t *roundRobin) took(p *Pool, place int) {
	t.next[t.class] = (place + 1) % len(p.members)
	if !t.smooth {
		return
	}
	took := p.members[place].slot
	at, sum := t.credit[took]+t.weight[took], int64(0)
	for s, w := range t.weight {
		if c := t.credit[s] + w; c <= at {
			t.credit[s] = c
			sum += w
		}
	}
	t.credit[took] -= sum
	t.best = -1
}

func (t *roundRobin) loaded(*Pool, int) {}
