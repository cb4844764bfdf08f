package file

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// What is in here finds prefixes and ranges in a time that hardly grows with how many there are.
// A file may have hundreds of thousands, and the check asks for each of them.

// A prefixTable holds something for each of many prefixes.
type prefixTable[T any] struct {
	at      map[netip.Prefix]T
	lengths [2][]int // that prefixes have, of IPv4 and of IPv6
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// add holds v for a valid prefix, in place of what was there.
func (t *prefixTable[T]) add(p netip.Prefix, v T) {
	if t.at == nil {
		t.at = map[netip.Prefix]T{}
	}
	p = p.Masked()
	if f := familyIndex(p.Addr()); !slices.Contains(t.lengths[f], p.Bits()) {
		t.lengths[f] = append(t.lengths[f], p.Bits())
	}
	t.at[p] = v
}

// addFirst is add, unless there is something already.
func (t *prefixTable[T]) addFirst(p netip.Prefix, v T) {
	if _, ok := t.at[p.Masked()]; !ok {
		t.add(p, v)
	}
}

// around gives what the prefixes hold that contain an address.
func (t *prefixTable[T]) around(a netip.Addr) iter.Seq[T] {
	return func(yield func(T) bool) {
		if !a.IsValid() || a.Zone() != "" {
			return
		}
		for _, n := range t.lengths[familyIndex(a)] {
			p, err := a.Prefix(n)
			if err != nil {
				continue
			}
			if v, ok := t.at[p]; ok && !yield(v) {
				return
			}
		}
	}
}

// A numbered is a row of places, each of which is empty or has a number. It is a tree in an
// array: a node knows the lowest number below it.
type numbered struct {
	size   int // of the lowest level, a power of two
	lowest []int
}

const empty = math.MaxInt

func newNumbered(n int) numbered {
	size := 1 << bits.Len(uint(n))
	r := numbered{size: size, lowest: make([]int, 2*size)}
	for i := range r.lowest {
		r.lowest[i] = empty
	}
	return r
}

// set gives a place its number.
func (r *numbered) set(at, number int) {
	for i := r.size + at; i > 0; i /= 2 {
		r.lowest[i] = min(r.lowest[i], number)
	}
}

// parts are the nodes that together are the places from one up to another.
func (r *numbered) parts(from, to int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, j := r.size+from, r.size+to; i < j; i, j = i/2, j/2 {
			if i&1 == 1 {
				if !yield(i) {
					return
				}
				i++
			}
			if j&1 == 1 {
				j--
				if !yield(j) {
					return
				}
			}
		}
	}
}

// least is the lowest number in a part of the row, or empty.
func (r *numbered) least(from, to int) int {
	low := empty
	for i := range r.parts(from, to) {
		low = min(low, r.lowest[i])
	}
	return low
}

// all appends the numbers in a part of the row, in no order.
func (r *numbered) all(list []int, from, to int) []int {
	var walk func(i int)
	walk = func(i int) {
		switch {
		case r.lowest[i] == empty:
		case i >= r.size:
			list = append(list, r.lowest[i])
		default:
			walk(2 * i)
			walk(2*i + 1)
		}
	}
	for i := range r.parts(from, to) {
		walk(i)
	}
	return list
}

// last is the number of the last place before another that is not empty, or empty.
func (r *numbered) last(before int) int {
	i := r.size + before
	for ; i > 1; i /= 2 {
		if i&1 == 1 && r.lowest[i-1] != empty {
			i--
			break
		}
	}
	if i <= 1 {
		return empty
	}
	for i < r.size {
		if i = 2*i + 1; r.lowest[i] == empty {
			i--
		}
	}
	return r.lowest[i]
}

// An overlapFinder says which prefixes of a list overlap one that is further down. Two prefixes
// overlap when one is in the other; sorted, those in a prefix follow it.
type overlapFinder struct {
	sorted []netip.Prefix
	place  []int            // in sorted, by place in the list
	equals prefixTable[int] // where those that are the same begin in sorted
	added  numbered
}

// newOverlapFinder is for a list of prefixes, whose host bits do not count; invalid ones overlap nothing.
func newOverlapFinder(list []netip.Prefix) *overlapFinder {
	o := &overlapFinder{place: make([]int, len(list)), added: newNumbered(len(list))}
	order := inOrder(len(list))
	slices.SortStableFunc(order, func(i, j int) int { return comparePrefixes(list[i].Masked(), list[j].Masked()) })
	for k, i := range order {
		o.sorted = append(o.sorted, list[i].Masked())
		o.place[i] = k
		if list[i].IsValid() {
			o.equals.addFirst(list[i], k)
		}
	}
	return o
}

// inOrder are the numbers from 0 to n-1.
func inOrder(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func comparePrefixes(p, q netip.Prefix) int {
	return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
}

// add has the i-th prefix of the list found from now on.
func (o *overlapFinder) add(i int) {
	if o.sorted[o.place[i]].IsValid() {
		o.added.set(o.place[i], i)
	}
}

// spans gives the parts of sorted that overlap a prefix: itself and what is in it, and what it is in.
func (o *overlapFinder) spans(p netip.Prefix) iter.Seq2[int, int] {
	search := func(from int, after func(q netip.Prefix) bool) int {
		return from + sort.Search(len(o.sorted)-from, func(k int) bool { return after(o.sorted[from+k]) })
	}
	return func(yield func(from, to int) bool) {
		from, last := o.equals.at[p], lastAddr(p)
		if !yield(from, search(from, func(q netip.Prefix) bool { return q.Addr().Compare(last) > 0 })) {
			return
		}
		for _, n := range o.equals.lengths[familyIndex(p.Addr())] {
			outer, err := p.Addr().Prefix(n)
			if err != nil || n >= p.Bits() {
				continue
			}
			if from, ok := o.equals.at[outer]; ok {
				if !yield(from, search(from, func(q netip.Prefix) bool { return q != outer })) {
					return
				}
			}
		}
	}
}

// earlier lists what was added and overlaps the i-th prefix, in the order of the list.
func (o *overlapFinder) earlier(i int) []int {
	var found []int
	if p := o.sorted[o.place[i]]; p.IsValid() {
		for from, to := range o.spans(p) {
			found = o.added.all(found, from, to)
		}
	}
	slices.Sort(found)
	return found
}

// reported is earlier while a report has room for all of it, then first: how much overlaps may
// grow with the square of the list.
func (o *overlapFinder) reported(r *report, i int) []int {
	if !r.full() {
		return o.earlier(i)
	}
	if k, ok := o.first(i); ok {
		return []int{k}
	}
	return nil
}

// first is the first of earlier.
func (o *overlapFinder) first(i int) (int, bool) {
	low := empty
	if p := o.sorted[o.place[i]]; p.IsValid() {
		for from, to := range o.spans(p) {
			low = min(low, o.added.least(from, to))
		}
	}
	return low, low != empty
}

// A rangeFinder holds ranges of a list that do not overlap each other.
type rangeFinder struct {
	list   []AddressRange
	sorted []netip.Addr // where they begin
	place  []int        // in sorted, by place in the list
	added  numbered
}

func newRangeFinder(list []AddressRange) *rangeFinder {
	f := &rangeFinder{list: list, place: make([]int, len(list)), added: newNumbered(len(list))}
	order := inOrder(len(list))
	slices.SortStableFunc(order, func(i, j int) int { return list[i].First.Compare(list[j].First) })
	for k, i := range order {
		f.sorted = append(f.sorted, list[i].First)
		f.place[i] = k
	}
	return f
}

// add has the i-th range of the list found from now on. It overlaps none that was added.
func (f *rangeFinder) add(i int) { f.added.set(f.place[i], i) }

// overlap is the first range of the list that was added and overlaps another one.
func (f *rangeFinder) overlap(r AddressRange) (AddressRange, bool) {
	from, _ := slices.BinarySearchFunc(f.sorted, r.First, netip.Addr.Compare)
	to := from + sort.Search(len(f.sorted)-from, func(k int) bool { return f.sorted[from+k].Compare(r.Last) > 0 })
	low := f.added.least(from, to)
	if before := f.added.last(from); before != empty && f.list[before].Contains(r.First) {
		low = min(low, before)
	}
	if low == empty {
		return AddressRange{}, false
	}
	return f.list[low], true
}
