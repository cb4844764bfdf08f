package client

import (
	"slices"
	"strings"
)

// A column is one of a resource's attributes as it is printed.
type column struct {
	name string // as OpenStack's client calls it
	key  string // of the attribute in answers
	form form
}

// A form turns an attribute into what a table shows and into what the other formats print. Without one, both are the
// value itself.
type form struct {
	human   func(v any) any
	machine func(v any) any
}

// The forms of attributes.
var (
	asState    = form{human: func(v any) any { return either(v, "UP", "DOWN") }}
	asExternal = form{human: func(v any) any { return either(v, "External", "Internal") }}
	asList     = form{human: joined(", ", true)}
	asDict     = form{human: dictText, machine: func(v any) any {
		if v == nil {
			return newObject()
		}
		return v
	}}
	asDictText = form{human: dictText, machine: dictText}
	asDicts    = form{human: dictsText}
	asJSON     = form{human: func(v any) any { return jsonText(v, 0) }}
	asPools    = form{human: poolsText}
	asRoutes   = form{human: func(v any) any { return dictsText(renamed(v, "nexthop", "gateway")) }}
	// Python's text of a list, for a column that OpenStack's client leaves as it is.
	asValue = form{}
	asIDs   = both(func(v any) any { return lines(v, func(e any) string { return pythonText(idOf(e)) }) })
	asLines = both(func(v any) any { return lines(v, pythonText) })
	asHash  = both(hashText)
	asRules = form{human: rulesText}
	asBlank = both(func(any) any { return "" })
	asAlive = form{human: func(v any) any { return either(v, ":-)", "XXX") }}
)

func both(f func(any) any) form { return form{f, f} }

func either(v any, yes, no string) any {
	if v == true {
		return yes
	}
	return no
}

// joined is a list's entries in one text.
func joined(separator string, sorted bool) func(v any) any {
	return func(v any) any {
		list, ok := v.([]any)
		if !ok {
			return v
		}
		var all []string
		for _, e := range list {
			all = append(all, pythonText(e))
		}
		if sorted {
			slices.Sort(all)
		}
		return strings.Join(all, separator)
	}
}

func lines(v any, text func(any) string) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	var all []string
	for _, e := range list {
		all = append(all, text(e))
	}
	return strings.Join(all, "\n")
}

func idOf(v any) any {
	if o, ok := v.(*object); ok {
		return o.get("id")
	}
	return v
}

func dictText(v any) any {
	o, ok := v.(*object)
	if !ok {
		return v
	}
	return strings.Join(dictParts(o, ""), ", ")
}

func dictParts(o *object, prefix string) (parts []string) {
	for _, k := range o.sorted().keys {
		switch v := o.values[k].(type) {
		case nil:
			parts = append(parts, prefix+k+"=")
		case *object:
			parts = append(parts, strings.Join(dictParts(v, prefix+k+"."), ", "))
		default:
			parts = append(parts, prefix+k+"='"+pythonText(v)+"'")
		}
	}
	return parts
}

func dictsText(v any) any {
	return lines(v, func(e any) string { return pythonText(dictText(e)) })
}

func poolsText(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	var all []string
	for _, e := range list {
		o, _ := e.(*object)
		all = append(all, pythonText(o.get("start"))+"-"+pythonText(o.get("end")))
	}
	return strings.Join(all, ",")
}

// renamed is a list of objects with one key called otherwise.
func renamed(v any, from, to string) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	var all []any
	for _, e := range list {
		o, ok := e.(*object)
		if !ok {
			return v
		}
		n := newObject()
		for _, k := range o.keys {
			if k == from {
				n.set(to, o.values[k])
			} else {
				n.set(k, o.values[k])
			}
		}
		all = append(all, n)
	}
	return all
}

func hashText(v any) any {
	o, ok := v.(*object)
	if !ok || len(o.keys) == 0 {
		return nil
	}
	var all []string
	for _, k := range o.keys {
		all = append(all, k+"="+pythonText(o.values[k]))
	}
	return strings.Join(all, "\n")
}

// A cell is a value with its form.
type cell struct {
	value any
	form  form
}

func (c cell) human() any {
	if c.form.human != nil {
		return c.form.human(c.value)
	}
	return c.value
}

func (c cell) machine() any {
	if c.form.machine != nil {
		return c.form.machine(c.value)
	}
	return c.value
}

// formatted says whether a cell's value is not shown as it is; numbers that are go to the right.
func (c cell) formatted() bool { return c.form.human != nil }

// columns reads a list of columns: "ID=id Fixed_IP=fixed_ips:dicts". An underscore in a name that begins with a capital
// letter stands for a blank.
func columns(text string) (all []column) {
	for _, f := range strings.Fields(text) {
		name, key, ok := strings.Cut(f, "=")
		if !ok {
			key = name
		}
		key, kind, _ := strings.Cut(key, "!")
		name, _, _ = strings.Cut(name, "!")
		if name[0] >= 'A' && name[0] <= 'Z' {
			name = strings.ReplaceAll(name, "_", " ")
		}
		all = append(all, column{name, key, formOf(kind)})
	}
	return all
}

func formOf(kind string) form {
	switch kind {
	case "state":
		return asState
	case "external":
		return asExternal
	case "list":
		return asList
	case "dict":
		return asDict
	case "dicttext":
		return asDictText
	case "dicts":
		return asDicts
	case "json":
		return asJSON
	case "pools":
		return asPools
	case "routes":
		return asRoutes
	case "ids":
		return asIDs
	case "lines":
		return asLines
	case "hash":
		return asHash
	case "rules":
		return asRules
	case "blank":
		return asBlank
	case "alive":
		return asAlive
	}
	return asValue
}

// row is an object's cells.
func row(o *object, columns []column) []cell {
	cells := make([]cell, len(columns))
	for i, c := range columns {
		cells[i] = cell{o.get(c.key), c.form}
	}
	return cells
}
