package config_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
)

// unseen are the fields whose changes no line shows, with the reason.
var unseen = map[string]string{
	"ID":       "it never changes: another ID is another object",
	"Revision": "it counts changes", "Created": "the store's affair", "Updated": "the store's affair",
	"Source": "where a thing comes from does not change it", "Routes[0].Source": "likewise",
	"HostRoutes[0].Source": "likewise", "Gateway.Source": "likewise",
	"Settings.Position":               "there is one object of the kind",
	"Devices[0].HostOpen":             "the engine sets it; the devices of a State do not have it",
	"PhysicalNetwork.Devices[0].Path": "only a unix device has one",
	"Network.Devices[0].Name":         "a unix device has none", "Network.Devices[0].Netns": "likewise",
}

// A change of any field of any object shows in its line.
func TestNoAttributeIsForgotten(t *testing.T) {
	state := cloudState(t)
	used := map[string]bool{}
	seen := map[config.Kind]bool{}
	for o := range state.All() {
		kind := o.Ref().Kind
		seen[kind] = true
		eachChange(o, func(path string, changed config.Object) {
			key := path
			if _, ok := unseen[key]; !ok {
				key = reflect.TypeOf(o).Elem().Name() + "." + path
			}
			lines := config.Describe(state, state, []config.Change{{Op: config.Changed, Ref: o.Ref(), Before: o,
				After: changed}})
			shows := len(lines) == 1 && len(lines[0].Attributes) > 0
			_, hidden := unseen[key]
			used[key] = true
			switch {
			case hidden && len(lines[0].Attributes) > 0:
				t.Errorf("%v %s shows, though it is on the list: %v", kind, path, &lines[0])
			case !hidden && !shows:
				t.Errorf("%v %s: %+v", kind, path, lines)
			}
		})
	}
	if len(seen) != int(config.NumKinds) {
		t.Errorf("%d kinds of %d", len(seen), config.NumKinds)
	}
	for key := range unseen {
		if !used[key] {
			t.Errorf("there is no field %s", key)
		}
	}
}

// eachChange calls f with a copy of an object for each of its fields, which is changed in it.
func eachChange(o config.Object, f func(path string, changed config.Object)) {
	whole := reflect.ValueOf(o).Elem()
	var walk func(path string, t reflect.Type, at func(reflect.Value) reflect.Value)
	try := func(path string, at func(reflect.Value) reflect.Value, set func(reflect.Value)) {
		c := reflect.New(whole.Type())
		c.Elem().Set(deepCopy(whole))
		set(at(c.Elem()))
		f(path, c.Interface().(config.Object))
	}
	walk = func(path string, t reflect.Type, at func(reflect.Value) reflect.Value) {
		switch v := at(whole); t.Kind() {
		case reflect.Struct:
			if t.NumField() > 0 && !t.Field(0).IsExported() || t == reflect.TypeFor[config.Source]() {
				try(path, at, func(v reflect.Value) { v.Set(other(v)) })
				return
			}
			for i := range t.NumField() {
				name := t.Field(i).Name
				if path != "" && !t.Field(i).Anonymous {
					name = path + "." + name
				}
				if t.Field(i).Anonymous {
					name = path
				}
				walk(name, t.Field(i).Type, func(v reflect.Value) reflect.Value { return at(v).Field(i) })
			}
		case reflect.Pointer:
			if v.IsNil() {
				try(path, at, func(v reflect.Value) { v.Set(other(v)) })
				return
			}
			try(path, at, func(v reflect.Value) { v.SetZero() })
			walk(path, t.Elem(), func(v reflect.Value) reflect.Value { return at(v).Elem() })
		case reflect.Slice:
			try(path, at, func(v reflect.Value) { v.Set(reflect.Append(v, other(reflect.New(t.Elem()).Elem()))) })
			if v.Len() > 0 {
				try(path, at, func(v reflect.Value) { v.Set(v.Slice(1, v.Len())) })
				walk(path+"[0]", t.Elem(), func(v reflect.Value) reflect.Value { return at(v).Index(0) })
			}
			if v.Len() > 1 {
				try(path, at, func(v reflect.Value) { reflect.Swapper(v.Interface())(0, v.Len()-1) })
			}
		default:
			try(path, at, func(v reflect.Value) { v.Set(other(v)) })
		}
	}
	walk("", whole.Type(), func(v reflect.Value) reflect.Value { return v })
}

// deepCopy copies a value with what its slices and pointers lead to.
func deepCopy(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				c.Index(i).Set(deepCopy(v.Index(i)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	}
	return c
}

// other is another value of the same type.
func other(v reflect.Value) reflect.Value {
	switch x := v.Interface().(type) {
	case netip.Addr:
		return reflect.ValueOf(lineAddr("192.0.2.77"))
	case netip.Prefix:
		return reflect.ValueOf(prefix("192.0.2.64/26"))
	case netip.AddrPort:
		return reflect.ValueOf(netip.AddrPortFrom(lineAddr("192.0.2.77"), 53))
	case time.Time:
		return reflect.ValueOf(x.Add(time.Hour))
	case config.Source:
		return reflect.ValueOf(config.Source{File: "other.toml", Line: 99})
	}
	n := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Bool:
		n.SetBool(!v.Bool())
	case reflect.String:
		n.SetString(v.String() + "2")
	case reflect.Float64:
		n.SetFloat(v.Float() + 0.25)
	case reflect.Int, reflect.Int64:
		n.SetInt(v.Int() + 1)
	case reflect.Uint16, reflect.Uint8:
		n.SetUint(v.Uint() + 1)
	case reflect.Pointer:
		n.Set(reflect.New(v.Type().Elem()))
		n.Elem().Set(other(n.Elem()))
	case reflect.Slice:
		n.Set(reflect.Append(v, other(reflect.New(v.Type().Elem()).Elem())))
	case reflect.Array:
		n.Set(v)
		n.Index(0).Set(other(v.Index(0)))
	case reflect.Struct:
		for i := range v.NumField() {
			n.Field(i).Set(other(v.Field(i)))
		}
	default:
		panic("no other value of " + v.Type().String())
	}
	return n
}
