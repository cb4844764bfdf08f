package config

import (
	"reflect"
	"time"
)

var (
	sourceType = reflect.TypeFor[Source]()
	timeType   = reflect.TypeFor[time.Time]()
)

// equal says whether two versions of an object say the same. Sources do not count, nor do Revision, Created and
// Updated.
func equal(a, b Object) bool {
	return a == b || reflect.TypeOf(a) == reflect.TypeOf(b) &&
		sameValue(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), true)
}

// sameSources says whether two versions of an object that are equal come from the same places.
func sameSources(a, b Object) bool {
	return a == b || sameValue(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), false)
}

// sameValue compares the exported fields of two values of one type, with or without an eye for what equal passes
// over.
func sameValue(a, b reflect.Value, passOver bool) bool {
	switch t := a.Type(); {
	case t == timeType:
		return a.Interface().(time.Time).Equal(b.Interface().(time.Time))
	case passOver && t == sourceType:
		return true
	case t == sourceType:
		return a.Interface() == b.Interface()
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameValue(a.Elem(), b.Elem(), passOver)
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i), passOver) {
				return false
			}
		}
		return true
	case reflect.Struct:
		return sameFields(a, b, passOver)
	}
	return a.Equal(b)
}

func sameFields(a, b reflect.Value, passOver bool) bool {
	t := a.Type()
	if t.NumField() > 0 && !t.Field(0).IsExported() {
		return a.Equal(b) // of another package, such as an address
	}
	for i := range t.NumField() {
		if passOver && t == metaType && ownFields[t.Field(i).Name] {
			continue
		}
		if !sameValue(a.Field(i), b.Field(i), passOver) {
			return false
		}
	}
	return true
}

var metaType = reflect.TypeFor[Meta]()

// ownFields are the fields of Meta that Draft.Check sets with each change.
var ownFields = map[string]bool{"Revision": true, "Created": true, "Updated": true}
