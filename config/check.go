package config

import "slices"

// Check chooses what the edits leave open, checks what they touch, and returns the State with the edits. If
// there are faults that are no warnings, the State is nil, and the Draft is as it was: it may be edited further. Else the Draft
// goes on as an edit of the new State.
func (d *Draft) Check() (*State, Faults) {
	c := &checker{Draft: d, content: d.fork()}
	c.run()
	if c.faults.Err() != nil {
		return nil, c.faults
	}
	s := d.base.next(c.content, c.touched)
	d.base, d.content = s, s.fork()
	d.edits, d.order = map[ID]*edit{}, nil
	return s, c.faults
}

// A checker checks a Draft. Its content is the Draft's, with what is chosen.
type checker struct {
	*Draft
	content
	faults  Faults
	touched []Ref
}

func (c *checker) run() {
	c.faults = slices.Clone(c.bad)
	c.finish()
}

// finish writes down what has become of the objects, when all is chosen.
func (c *checker) finish() {
	for _, id := range c.order {
		e := c.edits[id]
		o := c.content.find(id)
		before := c.base.find(id)
		if o == before {
			continue
		}
		c.touched = append(c.touched, e.ref)
		if o == nil || before != nil && equal(before, o) {
			continue
		}
		o = clone(o)
		m := o.About()
		m.Revision, m.Created, m.Updated = 1, c.Now, c.Now
		if before != nil {
			m.Revision, m.Created = before.About().Revision+1, before.About().Created
		}
		c.content.put(o)
	}
}
