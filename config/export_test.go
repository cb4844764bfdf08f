package config

import (
	"fmt"
)

// Edited lists what has been edited, in order, and whether there is a change.
func (d *Draft) Edited() []Object {
	var list []Object
	for _, id := range d.order {
		if o := d.find(id); o != nil && !d.edits[id].same {
			list = append(list, o)
		}
	}
	return list
}

// IsEdited says whether an object has been put with another content.
func (d *Draft) IsEdited(id ID) bool { return d.edits[id] != nil && !d.edits[id].same }

// Indexes lists what a State knows to find its objects by.
func (s *State) Indexes() []string {
	var list []string
	s.relations.Scan(func(r relation) bool { list = append(list, fmt.Sprint("relation ", r)); return true })
	s.counts.Scan(func(n count) bool { list = append(list, fmt.Sprint("count ", n)); return true })
	for _, t := range s.claims {
		t.Scan(func(n claim) bool { list = append(list, fmt.Sprint("claim ", n)); return true })
	}
	return append(list, fmt.Sprint("sums ", s.sums))
}

// Forget takes away what the State knows of the States before it, so that Diff goes over all objects.
func (s *State) Forget() *State {
	t := *s
	t.history = history{self: new(mark)}
	return &t
}

// Same says whether two objects say the same.
func Same(a, b Object) bool { return equal(a, b) }

// LosesRouter says whether a load balancer that was not edited loses its router by what was. By edits, it gets another
// one, or none; from scratch, it has one that does not serve it.
func (d *Draft) LosesRouter() bool {
	c := newChecker(d)
	c.run()
	for _, id := range c.made {
		if b := c.base.LoadBalancer(id); b != nil && b.Router != "" && c.rank[id] == 0 {
			return true
		}
	}
	return false
}

// Marked says how many objects a Check of the Draft looks at.
func (d *Draft) Marked() int {
	c := newChecker(d)
	c.run()
	return len(c.dirty)
}
