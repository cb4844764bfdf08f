package ownership

import (
	"fmt"
	"reflect"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// fit gives the objects of a State what programs have set on them, as far as that goes together. Wanted are the objects
// with all that programs have set. It tries many objects at once, then fewer, at last one attribute, and one entry of a
// list. The notices say what has no place, with the values.
func fit(s *config.State, wanted []config.Object) (*config.State, []file.Notice) {
	return fitUnits(s, units(wanted))
}

func fitUnits(s *config.State, list [][]config.Object) (*config.State, []file.Notice) {
	if len(list) == 0 {
		return s, nil
	}
	d := s.Edit()
	for _, unit := range list {
		d.Put(unit...)
	}
	if next, _ := d.Check(); next != nil {
		return next, nil
	}
	if len(list) == 1 {
		return fitOne(s, list[0])
	}
	s, first := fitUnits(s, list[:len(list)/2])
	s, second := fitUnits(s, list[len(list)/2:])
	return s, append(first, second...)
}

// fitOne is fit for one object, field by field. The other objects of its unit are the port of its gateway.
func fitOne(s *config.State, unit []config.Object) (*config.State, []file.Notice) {
	want := unit[0]
	ref := want.Ref()
	if _, ok := s.Get(ref); !ok {
		return s, []file.Notice{{Ref: ref, Message: fmt.Sprintf("%s, which belongs to an object of the file, is "+
			"dropped: it does not go together with the file", s.Call(want))}}
	}
	var notices []file.Notice
	for _, at := range fields(reflect.TypeOf(want).Elem(), nil) {
		s, notices = fitField(s, unit, at, notices)
	}
	return s, notices
}

// fields are the indexes of an object's fields, with those of its Meta.
func fields(t reflect.Type, within []int) [][]int {
	var list [][]int
	for i := range t.NumField() {
		at := append(within[:len(within):len(within)], i)
		if f := t.Field(i); f.Anonymous {
			list = append(list, fields(f.Type, at)...)
		} else {
			list = append(list, at)
		}
	}
	return list
}

// fitField tries one field of an object, and if it is a list, its entries one by one.
func fitField(s *config.State, unit []config.Object, at []int, notices []file.Notice) (*config.State, []file.Notice) {
	want := reflect.ValueOf(unit[0]).Elem().FieldByIndex(at)
	is, _ := s.Get(unit[0].Ref())
	value := reflect.ValueOf(is).Elem().FieldByIndex(at)
	next, dropped := try(s, unit, at, want)
	if next != nil {
		return next, notices
	}
	if want.Kind() != reflect.Slice {
		return s, append(notices, *dropped)
	}
	for i := range want.Len() {
		if hasEntry(value, want.Index(i)) {
			continue
		}
		longer := reflect.MakeSlice(want.Type(), 0, value.Len()+1)
		longer = reflect.Append(reflect.AppendSlice(longer, value), want.Index(i))
		if next, dropped = try(s, unit, at, longer); next != nil {
			s, value = next, longer
		} else {
			notices = append(notices, *dropped)
		}
	}
	return s, notices
}

func hasEntry(list, entry reflect.Value) bool {
	for i := range list.Len() {
		if reflect.DeepEqual(list.Index(i).Interface(), entry.Interface()) {
			return true
		}
	}
	return false
}

// try gives a field of an object another value. If that is not valid, the State is nil, and the notice says why.
func try(s *config.State, unit []config.Object, at []int, v reflect.Value) (*config.State, *file.Notice) {
	is, _ := s.Get(unit[0].Ref())
	c := reflect.New(reflect.TypeOf(is).Elem())
	c.Elem().Set(reflect.ValueOf(is).Elem())
	if reflect.DeepEqual(c.Elem().FieldByIndex(at).Interface(), v.Interface()) {
		return s, nil
	}
	c.Elem().FieldByIndex(at).Set(v)
	o := c.Interface().(config.Object)
	d := s.Edit()
	d.Put(o)
	if r, ok := o.(*config.Router); ok && r.Gateway != nil {
		d.Put(unit[1:]...)
	}
	next, faults := d.Check()
	if next != nil {
		return next, nil
	}
	lines := config.Describe(s, s, []config.Change{{Op: config.Changed, Ref: o.Ref(), Before: is, After: o}})
	n := file.Notice{Ref: o.Ref(),
		Message: fmt.Sprintf("%s: the API had set %s; that is dropped, because it does not go "+
			"together with the file: %v", lines[0].Name, lines[0].Changes(), faults.Errors())}
	if list := lines[0].Attributes; len(list) > 0 {
		n.Field = list[0].Name
	}
	return nil, &n
}
