package file

import (
	"reflect"

	"github.com/taprouter/taprouter/config"
)

// Edit puts a topology's objects into a Draft. It takes away objects that a file has declared before and this topology
// does not, with all that depends on them. A choice that was made for an object in the Draft, such as an address,
// stays.
// What the topology does not say of an object goes back to its default, apart from descriptions and tags.
//
// The topology stays as it is. It need not have been validated: the Draft's Check finds its faults. But the Draft has
// IDs, not names. If a name refers to nothing, Check only says that the reference is missing; State and Validate also
// say the name.
func (t *Topology) Edit(d *config.Draft) {
	t = t.clone()
	t.lines = nil // it states all that it has, wherever it comes from
	rep := newReport(t)
	newChecker(t, rep).identify()
	_, _ = t.declarations(rep).edit(d, nil, nil, Over{Cascade: true}) // which leaves nothing to refuse
}

// State returns the State that the topology makes alone. The topology stays as it is. It need not have been validated:
// State finds the same faults, and the error is [Faults].
func (t *Topology) State() (*config.State, error) {
	t = t.clone()
	rep := newReport(t)
	_, _, s := t.check(rep)
	if err := rep.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// clone copies a topology with all that its slices and pointers lead to.
func (t *Topology) clone() *Topology {
	c := *t
	deepen(reflect.ValueOf(&c).Elem(), func(uintptr) bool { return true })
	return &c
}

// unshare sees to it that no two tables of a topology share a part, such as the members of a pool that is a copy of
// another one. Each part gets an ID of its own.
func (t *Topology) unshare() {
	seen := map[uintptr]bool{}
	deepen(reflect.ValueOf(t).Elem(), func(p uintptr) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
}

// deepen copies what the slices and pointers of a value lead to, if it is told to for the address. Unexported fields
// keep theirs: addresses have some, and the index of lines is only read.
func deepen(v reflect.Value, copies func(p uintptr) bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				deepen(f, copies)
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if copies(v.Pointer()) {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			v.Set(c)
		}
		deepen(v.Elem(), copies)
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		if copies(v.Pointer()) {
			c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(c, v)
			v.Set(c)
		}
		for i := range v.Len() {
			deepen(v.Index(i), copies)
		}
	}
}

// Faults places what Draft.Check or the router has found at lines of the topology's file, sorted by line.
func (t *Topology) Faults(found config.Faults) Faults {
	rep := newReport(t)
	t.declarations(rep).place(found, rep)
	return bounded(rep.faults, rep.found, "faults")
}

// declarations are the objects of a file.
type declarations struct {
	list []declaration
	by   map[config.Ref]*declaration
}

func (t *Topology) declarations(r *report) *declarations {
	ds := &declarations{list: t.declare(r.root())}
	ds.by = make(map[config.Ref]*declaration, len(ds.list))
	for i := range ds.list {
		ds.by[ds.list[i].object.Ref()] = &ds.list[i]
	}
	return ds
}

// tell has the Draft call the objects as the file does.
func (ds *declarations) tell(d *config.Draft) {
	d.Name = func(r config.Ref) string {
		if t := ds.by[r]; t != nil {
			return t.at.subject
		}
		return ""
	}
	d.Reported = func(r config.Ref, field string) bool {
		t := ds.by[r]
		return t != nil && t.at.reported(t.keyOf(field))
	}
	d.Unsure = ds.unsure
}

// unsure says whether a part of an object is unknown on which others depend.
func (ds *declarations) unsure(r config.Ref) bool {
	t := ds.by[r]
	switch {
	case t == nil:
		return r.Kind == config.KindRouter && r.ID == "" && len(ds.list) > 0 && ds.list[0].at.root().spoiled("router")
	case r.Kind == config.KindRouter:
		return t.at.doubtful("interfaces") || t.at.doubtful("gateway")
	case r.Kind == config.KindNetwork:
		return t.at.spoiled("subnet")
	}
	return t.at.spoiledIn("")
}

// keyOf is the key of a field in the table.
func (t *declaration) keyOf(field string) string {
	if t.key == nil {
		return field
	}
	return t.key(field)
}

// check edits and checks a Draft, and reports the faults at the lines of their tables. The State is nil if
// there are faults.
func (ds *declarations) check(d *config.Draft, r *report) *config.State {
	_, _ = ds.edit(d, nil, nil, Over{}) // of an empty State there is nothing to refuse
	s, faults := d.Check()
	ds.place(faults, r)
	return s
}

// place reports the faults of objects at the lines of their tables. A program may make a load balancer before the
// router that is to serve it, and a subnet before its gateway. A file has both.
func (ds *declarations) place(faults config.Faults, r *report) {
	for _, f := range faults {
		t := ds.by[f.Ref]
		isWarning := f.Warning && !(f.Code == config.Unreached && t != nil && !t.whole &&
			(f.Ref.Kind == config.KindLoadBalancer || f.Ref.Kind == config.KindSubnet))
		if f.More > 0 && isWarning {
			r.warned += f.More
			continue
		} else if f.More > 0 {
			r.found += f.More
			continue
		}
		at, key := scope{r: r}, ""
		if t != nil {
			at, key = t.at, t.keyOf(f.Field)
			at.r = r
		}
		message := func() string { return clip(f.Message, maxText) }
		if isWarning {
			at.warnIn(key, message)
		} else {
			at.faultIn(key, message)
		}
	}
}

// clone copies an object, without what its slices and pointers lead to.
func clone(o config.Object) config.Object {
	c := reflect.New(reflect.TypeOf(o).Elem())
	c.Elem().Set(reflect.ValueOf(o).Elem())
	return c.Interface().(config.Object)
}
