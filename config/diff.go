package config

import (
	"cmp"
	"slices"
)

// An Op says what has happened to an object.
type Op uint8

// The kinds of changes.
const (
	Added Op = iota
	Changed
	Removed
)

// String returns the word that plans and logs use.
func (o Op) String() string { return [...]string{"added", "changed", "removed"}[o] }

// A Change is the difference that one object makes between two States.
type Change struct {
	Op     Op
	Ref    Ref
	Before Object // nil if it was added
	After  Object // nil if it was removed
}

// Diff lists the changes from one State to another. Objects that were added or changed come first, parents before
// their children. Objects that were removed follow, children before their parents. An object that differs in its Source
// only has not changed.
//
// It takes as long as the edits are many if one State was made from the other in a few steps, else as long as the
// States are large.
func Diff(from, to *State) []Change {
	var list []Change
	add := func(before, after Object) {
		switch {
		case before == after:
		case before == nil:
			list = append(list, Change{Added, after.Ref(), nil, after})
		case after == nil:
			list = append(list, Change{Removed, before.Ref(), before, nil})
		case before.Ref() != after.Ref():
			list = append(list, Change{Removed, before.Ref(), before, nil}, Change{Added, after.Ref(), nil, after})
		case !equal(before, after):
			list = append(list, Change{Changed, after.Ref(), before, after})
		}
	}
	if refs, ok := between(from, to); ok {
		for _, r := range refs {
			add(from.find(r.ID), to.find(r.ID))
		}
	} else {
		bothOf(from, to, add)
	}
	slices.SortFunc(list, compareChanges)
	return list
}

// Versions calls a function for each object of which two States have other versions, in the order of IDs. A version
// that is not there is nil. Unlike Diff, it also gives objects that differ in their Source only. It takes as long as
// the States are large, but looks into no object.
func Versions(from, to *State, f func(before, after Object)) {
	bothOf(from, to, func(before, after Object) {
		if before != after {
			f(before, after)
		}
	})
}

// compareChanges is the order in which changes are made.
func compareChanges(a, b Change) int {
	if r := boolOrder(a.Op == Removed, b.Op == Removed); r != 0 {
		return r
	}
	key := func(c Change) (Kind, int64, ID) {
		o := c.After
		if c.Op == Removed {
			o = c.Before
		}
		return c.Ref.Kind, o.About().Position, c.Ref.ID
	}
	k, p, id := key(a)
	l, q, jd := key(b)
	r := cmp.Or(cmp.Compare(k, l), cmp.Compare(p, q), cmp.Compare(id, jd))
	if a.Op == Removed {
		return -r
	}
	return r
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// between lists what the edits have touched that lie between two States, each object once.
func between(from, to *State) ([]Ref, bool) {
	if from.history.self == to.history.self {
		return nil, true
	}
	steps, ok := stepsSince(to, from.history.self)
	if !ok {
		steps, ok = stepsSince(from, to.history.self)
	}
	if !ok || len(steps) == 1 {
		if ok {
			return steps[0].touched, true
		}
		return nil, false
	}
	seen := map[Ref]bool{}
	var refs []Ref
	for _, s := range steps {
		for _, r := range s.touched {
			if !seen[r] {
				seen[r] = true
				refs = append(refs, r)
			}
		}
	}
	return refs, true
}

// stepsSince lists the steps from an earlier State to s, if s remembers it.
func stepsSince(s *State, m *mark) ([]step, bool) {
	for i := len(s.history.steps) - 1; i >= 0; i-- {
		if s.history.steps[i].from == m {
			return s.history.steps[i:], true
		}
	}
	return nil, false
}

// bothOf goes through the objects of two States side by side, in the order of their IDs.
func bothOf(from, to *State, f func(before, after Object)) {
	x, y := from.objects.Iter(), to.objects.Iter()
	defer x.Release()
	defer y.Release()
	moreX, moreY := x.First(), y.First()
	for moreX || moreY {
		switch {
		case !moreY || moreX && x.Item().id < y.Item().id:
			f(x.Item().o, nil)
			moreX = x.Next()
		case !moreX || y.Item().id < x.Item().id:
			f(nil, y.Item().o)
			moreY = y.Next()
		default:
			f(x.Item().o, y.Item().o)
			moreX, moreY = x.Next(), y.Next()
		}
	}
}
