package neutron

import (
	"reflect"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
)

// An attribute is a property of a resource.
type attribute[T config.Object] struct {
	name   string
	format format
	may    access
	field  string // its key in a topology file, which may own it; empty: a file cannot state it

	// entries are the entries of a list whose entries have owners one by one, as Entry has them; nil: it is no such
	// list.
	entries func(o T) []string

	// get is its value, made of what JSON has: a string, a number, a boolean, a list, an object, nil.
	get func(r reader, o T) any

	// set writes a value that format has read; nil for null, if mayBeNull. The object is the request's own.
	set func(e *edit, o T, v any) error
}

// An access says when an attribute may be written, and how.
type access uint8

const (
	onCreate  access = 1 << iota
	onUpdate         // PUT
	required         // POST must have it
	mayBeNull        // null is a value of its own: set gets nil
	hidden           // another way to write other attributes: answers do not show it
	unserved         // it is kept, and nothing follows from it: the log names it
	always    = onCreate | onUpdate
	readOnly  = access(0)
)

func (a access) has(b access) bool { return a&b == b }

// field makes an attribute that is a field of the object as it is.
func field[T config.Object, V comparable](name string, f format, may access, key string,
	at func(o T) *V) attribute[T] {
	return attribute[T]{name: name, format: f, may: may, field: key,
		get: func(_ reader, o T) any { return plain(*at(o)) },
		set: func(_ *edit, o T, v any) error {
			*at(o) = v.(V)
			return nil
		}}
}

// plain writes the types of fields as JSON has them. An ID or address that is not there is null.
func plain(v any) any {
	switch v := v.(type) {
	case config.ID:
		return orNull(v)
	case config.MAC:
		return v.String()
	}
	return v
}

// orNull is an ID, or null if there is none.
func orNull(id config.ID) any {
	if id == "" {
		return nil
	}
	return string(id)
}

// shown makes an attribute that can only be read.
func shown[T config.Object](name string, f format, get func(r reader, o T) any) attribute[T] {
	return attribute[T]{name: name, format: f, get: get}
}

// constant makes an attribute that has one value for all objects. Clients send it, so that value may be written.
func constant[T config.Object](name string, f format, value any) attribute[T] {
	is := value
	return attribute[T]{name: name, format: f, may: always | mayBeNull,
		get: func(reader, T) any { return is },
		set: func(_ *edit, _ T, v any) error {
			if v == nil || reflect.DeepEqual(v, is) || isEmpty(v) && (is == nil || isEmpty(is)) {
				return nil
			}
			return failure(400, "NotSupported", "Invalid input for %s. Reason: %s is not supported, it must be %s.",
				name,
				show(v), show(is))
		}}
}

// isEmpty says whether a value of a body is an empty text, list or object.
func isEmpty(v any) bool {
	x := reflect.ValueOf(v)
	switch x.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return x.Len() == 0
	}
	return false
}

// isZero says whether a value of a body says nothing: an empty one, false or zero.
func isZero(v any) bool { return isEmpty(v) || reflect.ValueOf(v).IsZero() }

// anything reads any value, for constants.
var anything = format{parts: true, read: func(v any) (any, error) { return v, nil }}

// common are the attributes that all resources have.
func common[T config.Object](project string) []attribute[T] {
	owner := func(name string) attribute[T] {
		return attribute[T]{name: name, format: text, may: onCreate,
			get: func(reader, T) any { return project },
			set: func(_ *edit, _ T, v any) error {
				if v != project {
					return invalid(name, "the only project is %s", project)
				}
				return nil
			}}
	}
	stamp := func(name string, at func(m *config.Meta) time.Time) attribute[T] {
		return shown(name, text, func(_ reader, o T) any { return timeText(at(o.About())) })
	}
	return []attribute[T]{
		shown("id", identifier, func(_ reader, o T) any { return string(o.About().ID) }),
		field("description", text, always, "description", func(o T) *string { return &o.About().Description }),
		{name: "tags", format: format{parts: true}, field: "tags", // setTags writes them
			entries: func(o T) []string { return o.About().Tags },
			get:     func(_ reader, o T) any { return tagsOf(o) }},
		shown("revision_number", number, func(_ reader, o T) any { return int(o.About().Revision) }),
		stamp("created_at", func(m *config.Meta) time.Time { return m.Created }),
		stamp("updated_at", func(m *config.Meta) time.Time { return m.Updated }),
		owner("project_id"), owner("tenant_id"),
	}
}

// named is the attribute name, which floating IPs do not have.
func named[T config.Object]() attribute[T] {
	return field("name", text, always, "name", func(o T) *string { return &o.About().Name })
}

// timeText writes a time as Neutron does. What a file declared before there was a clock has none.
func timeText(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func tagsOf(o config.Object) []string {
	if tags := o.About().Tags; tags != nil {
		return tags
	}
	return []string{}
}

// find finds an attribute by its name.
func find[T config.Object](list []attribute[T], name string) (attribute[T], bool) {
	i := slices.IndexFunc(list, func(a attribute[T]) bool { return a.name == name })
	if i < 0 {
		return attribute[T]{}, false
	}
	return list[i], true
}

// fillCreate writes the attributes of a body to a new object, in the order of the table.
func fillCreate[T config.Object](e *edit, list []attribute[T], o T, body map[string]any) error {
	if err := known(list, body); err != nil {
		return err
	}
	for _, a := range list {
		v, there := body[a.name]
		switch {
		case there && !a.may.has(onCreate):
			return malformed("Attribute '%s' not allowed in POST", a.name)
		case a.may.has(required) && v == nil:
			return malformed("Failed to parse request. Required attribute '%s' not specified", a.name)
		case !there || v == nil && !a.may.has(mayBeNull):
			continue // the default
		}
		if err := a.write(e, o, v); err != nil {
			return err
		}
	}
	return nil
}

// fillUpdate writes the attributes of a body to a copy of an object. What a file states cannot be changed: keepEntries
// checks the lists whose entries have owners one by one, when the object is in the Draft.
func fillUpdate[T config.Object](e *edit, list []attribute[T], was, o T, body map[string]any) error {
	if err := known(list, body); err != nil {
		return err
	}
	for _, a := range list {
		v, there := body[a.name]
		switch {
		case !there:
			continue
		case !a.may.has(onUpdate):
			return malformed("Cannot update read-only attribute %s", a.name)
		case v == nil && !a.may.has(mayBeNull) && a.format.empty == nil:
			return invalid(a.name, "it cannot be null")
		}
		if err := a.write(e, o, v); err != nil {
			return err
		}
		if a.field == "" || a.entries != nil || reflect.DeepEqual(a.get(e, was), a.get(e, o)) {
			continue
		}
		if err := e.own(was, a.field); err != nil {
			return err
		}
	}
	return nil
}

func (a attribute[T]) write(e *edit, o T, v any) error {
	switch {
	case v == nil && a.may.has(mayBeNull):
	case v == nil:
		v = a.format.empty
	default:
		read, err := a.format.read(v)
		if err != nil {
			return invalid(a.name, "%v.", err)
		}
		v = read
		if a.may.has(unserved) && !isZero(v) {
			e.request.keeps(a.name)
		}
	}
	return a.set(e, o, v)
}

// known refuses a body with attributes that the resource does not have.
func known[T config.Object](list []attribute[T], body map[string]any) error {
	var unknown []string
	for _, name := range sortedKeys(body) {
		if _, ok := find(list, name); !ok {
			unknown = append(unknown, name)
		}
	}
	return unrecognized(unknown)
}
