package lb

import (
	"cmp"
	"math"
	"slices"
)

// roundRobin gives turns. Where all who may have the same weight, the turn is a
// place in the order, and goes round: a choice takes the same time for any number
// of members. Else it is nginx's smooth weighted round robin: at each turn
// everybody's credit grows by their weight, who has most is chosen (the first of
// several) and pays the sum of the weights. A connection looks at all of them
// then, a few nanoseconds for each.
//
// Going round is what equal credits do, so each turns into the other without
// giving anybody a turn too many: places into credits evenly apart, credits into
// the place of who has most. What a member has above or below the average stays
// with it while it is away; it neither catches up on what it has missed nor
// escapes what it had too much.
type roundRobin struct {
	next   [2]int // by class: the place whose turn it is. A backup's turn leaves the primaries' alone
	class  int    // of those that have turns
	first  []int  // by place: slot of the first one that may from there on
	smooth bool   // weights differ

	sum    int64 // of the weights of those who may, or could last
	weight []int64
	credit []int64 // by slot, as weight is
	best   int     // slot of the first choice, -1: to be found
}

// unit is a weight of 1 in credits. They are scaled with the sum of the weights,
// and the fraction keeps who was ahead of whom.
const unit = 1 << 16

// removed: the member at a place was taken out.
func (t *roundRobin) removed(p *Pool, i int) {
	for class := range t.next {
		if i < t.next[class] {
			t.next[class]--
		}
		if t.next[class] >= len(p.members) {
			t.next[class] = 0
		}
	}
}

// settle gives the members back what they have above or below the average.
func (t *roundRobin) settle(p *Pool) {
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

func (t *roundRobin) arrange(p *Pool, _ bool) {
	t.first = t.first[:0]
	k := 0
	for i := range p.members {
		t.first = append(t.first, k)
		if p.members[i].slot >= 0 {
			k++
		}
	}
	t.rescale(p)
	was := t.smooth
	t.class, t.best, t.smooth = p.class, -1, false
	t.weight, t.credit = t.weight[:0], t.credit[:0]
	for _, i := range p.may {
		t.weight = append(t.weight, p.members[i].weight()*unit)
		t.credit = append(t.credit, p.members[i].credit)
		t.smooth = t.smooth || t.weight[0] != t.weight[len(t.weight)-1]
	}
	if was && !t.smooth && len(p.may) > 0 {
		t.enter(p)
	}
}

// rescale makes the credits the same part of a round in the new weights: what was
// a moment's wait between large weights would be many turns between small ones.
func (t *roundRobin) rescale(p *Pool) {
	sum := int64(0)
	for _, i := range p.may {
		sum += p.members[i].weight() * unit
	}
	if sum == 0 || sum == t.sum && p.total > 0 {
		return
	}
	f := 0.0 // nobody has had a turn yet
	if p.total > 0 && t.sum > 0 {
		f = float64(sum) / float64(t.sum)
	}
	for i := range p.members {
		p.members[i].credit = int64(math.Round(float64(p.members[i].credit) * f))
	}
	t.sum = sum
}

// enter starts going round at the one with most credit.
func (t *roundRobin) enter(p *Pool) {
	best := t.first[t.next[t.class]] % len(p.may)
	for k := range p.may {
		if s := (best + k) % len(p.may); t.credit[s] > t.credit[best] {
			best = s
		}
	}
	t.next[t.class] = p.may[best]
}

func (t *roundRobin) choose(p *Pool, c Client, k int) int {
	switch {
	case !t.smooth:
		return p.may[(t.first[t.next[t.class]]+k)%len(p.may)]
	case k > 0:
		return p.ranking(t, Client{})[k]
	case t.best < 0:
		t.best = 0
		for s := range t.credit {
			if t.credit[s]+t.weight[s] > t.credit[t.best]+t.weight[t.best] {
				t.best = s
			}
		}
	}
	return p.may[t.best]
}

func (t *roundRobin) rank(p *Pool, c Client, place int) int {
	if t.smooth {
		return slices.Index(p.ranking(t, Client{}), place)
	}
	n := len(p.may)
	return (p.members[place].slot + n - t.first[t.next[t.class]]%n) % n
}

// sort orders by what they would have at the next turn.
func (t *roundRobin) sort(p *Pool, _ Client, order []int) []int {
	order = append(order, p.may...)
	slices.SortFunc(order, func(a, b int) int { return t.compare(p.members[a].slot, p.members[b].slot) })
	return order
}

func (t *roundRobin) compare(a, b int) int {
	if d := cmp.Compare(t.credit[b]+t.weight[b], t.credit[a]+t.weight[a]); d != 0 {
		return d
	}
	return cmp.Compare(a, b)
}

// took passes the turn on. Those before the one that took it were passed over, as
// they could not be reached: they are as if they were not there, and save up
// nothing.
func (t *roundRobin) took(p *Pool, place int) {
	t.next[t.class] = (place + 1) % len(p.members)
	if !t.smooth {
		return
	}
	took := p.members[place].slot
	at, sum := t.credit[took]+t.weight[took], int64(0)
	for s, w := range t.weight {
		if c := t.credit[s] + w; c < at || c == at && s >= took {
			t.credit[s] = c
			sum += w
		}
	}
	t.credit[took] -= sum
	t.best = -1
}

func (t *roundRobin) loaded(*Pool, int) {}
