package file

import (
	"github.com/taprouter/taprouter/config"
)

// Edit puts a validated topology's objects into a Draft, and takes away those that a file has declared before and
// this one no longer does. What has been chosen for an object that the Draft has already, such as an address, stays
// chosen.
func (t *Topology) Edit(d *config.Draft) {
	edit(d, t.declare(newReport(t).root()))
}

// State returns the objects of a validated topology. The error is [Faults].
func (t *Topology) State() (*config.State, error) {
	rep := newReport(t)
	s := check(config.Empty().Edit(), t.declare(rep.root()))
	return s, rep.err()
}

func edit(d *config.Draft, declared []declaration) {
	kept := make(map[config.Ref]bool, len(declared))
	for i := range declared {
		o := declared[i].object
		kept[o.Ref()] = true
	}
	var gone []config.Ref
	for o := range d.All() {
		if isFiles(o.About().Source) && !kept[o.Ref()] {
			gone = append(gone, o.Ref())
		}
	}
	d.Delete(gone...)
	for i := range declared {
		d.Put(withOthers(d, declared[i].object))
	}
}

// isFiles says whether an object comes from a file, and not from a request.
func isFiles(s config.Source) bool { return s.File != "" || s.Line > 0 }

// withOthers adds to an object what a file cannot say of it and the Draft has.
func withOthers(d *config.Draft, o config.Object) config.Object {
	m := o.About()
	m.Description, m.Tags = "", nil
	if was, ok := d.Get(o.Ref()); ok {
		m.Description, m.Tags = was.About().Description, was.About().Tags
	}
	return o
}

// check puts objects into a Draft and checks it. What it finds is reported at the lines of the tables. The State is
// nil if there are faults.
func check(d *config.Draft, declared []declaration) *config.State {
	by := make(map[config.Ref]*declaration, len(declared))
	for i := range declared {
		by[declared[i].object.Ref()] = &declared[i]
	}
	d.Name = func(r config.Ref) string {
		if t := by[r]; t != nil {
			return t.label
		}
		return ""
	}
	d.Unsure = func(r config.Ref) bool {
		t := by[r]
		return t != nil && t.at.spoiledIn("")
	}
	edit(d, declared)
	s, faults := d.Check()
	root := declared[0].at
	for _, f := range faults {
		t := by[f.Ref]
		if t == nil {
			t = &declaration{at: scope{r: root.r}}
		}
		t.place(f)
	}
	return s
}

// place reports a fault of an object at the line of its table.
func (t *declaration) place(f config.Fault) {
	key, message := f.Field, func() string { return f.Message }
	if t.key != nil {
		key = t.key(key)
	}
	if f.Warning {
		t.at.warnIn(key, message)
	} else {
		t.at.faultIn(key, message)
	}
}
