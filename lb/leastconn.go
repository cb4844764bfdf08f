package lb

import (
	"cmp"
	"slices"
)

// leastConn chooses the member that would have the fewest connections for its weight with one more.
// Of several it is the one that was chosen longest ago, so one connection at a time goes round. The
// members are in a binary heap of places, and know where they are in it: a connection moves one of
// them a few steps.
type leastConn struct{ heap []int }

// compare orders by (active+1)/weight, without division.
func (l *leastConn) compare(p *Pool, a, b int) int {
	x, y := &p.members[a], &p.members[b]
	if d := cmp.Compare(int64(x.active+1)*y.weight(), int64(y.active+1)*x.weight()); d != 0 {
		return d
	}
	if d := cmp.Compare(x.chosen, y.chosen); d != 0 {
		return d
	}
	return cmp.Compare(a, b) // never chosen: in order
}

func (l *leastConn) before(*Pool) {}

func (l *leastConn) after(p *Pool, _ bool) {
	l.heap = append(l.heap[:0], p.eligible...)
	for at, i := range l.heap {
		p.members[i].heapAt = at
	}
	for at := len(l.heap)/2 - 1; at >= 0; at-- {
		l.sink(p, at)
	}
}

func (l *leastConn) first(*Pool, Client) int { return l.heap[0] }

func (l *leastConn) ranking(p *Pool, _ Client, order []int) []int {
	order = append(order, p.eligible...)
	slices.SortFunc(order, func(a, b int) int { return l.compare(p, a, b) })
	return order
}

func (l *leastConn) took(*Pool, int) {}

func (l *leastConn) loaded(p *Pool, place int) {
	at := p.members[place].heapAt
	for at > 0 && l.compare(p, l.heap[at], l.heap[(at-1)/2]) < 0 {
		l.swap(p, at, (at-1)/2)
		at = (at - 1) / 2
	}
	l.sink(p, at)
}

// sink moves the member at a position below all members that come before it.
func (l *leastConn) sink(p *Pool, at int) {
	for {
		least := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(l.heap); child++ {
			if l.compare(p, l.heap[child], l.heap[least]) < 0 {
				least = child
			}
		}
		if least == at {
			return
		}
		l.swap(p, at, least)
		at = least
	}
}

func (l *leastConn) swap(p *Pool, a, b int) {
	l.heap[a], l.heap[b] = l.heap[b], l.heap[a]
	p.members[l.heap[a]].heapAt, p.members[l.heap[b]].heapAt = a, b
}
