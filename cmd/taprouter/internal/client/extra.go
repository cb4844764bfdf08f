package client

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// The option for attributes that no other option is for.
type (
	extraProperty struct {
		ExtraProperty []string `sep:"none" placeholder:"type=<type>,name=<name>,value=<value>" help:"Any attribute, of the type str (as without it), int, bool, list (a;b) or dict (a:b;c:d); repeat it for more."`
	}
	extraUnset struct {
		ExtraProperty []string `sep:"none" placeholder:"name=<name>,value=" help:"Any attribute, which goes back to null; repeat it for more."`
	}
)

// An extender adds attributes to a request, after all other options.
type extender interface {
	extend(body map[string]any) error
}

// extend adds what an extender adds. Other commands add nothing. The text of an error is complete.
func extend(command any, body map[string]any) error {
	x, ok := command.(extender)
	if !ok {
		return nil
	}
	if err := x.extend(body); err != nil {
		return &said{safe(err.Error()), err}
	}
	return nil
}

var propertyKeys = map[string]string{"name": "name", "value": "value", "type": "type"}

// properties reads options such as type=int,name=mtu,value=1400.
func properties(options []string) ([]map[string]string, error) {
	var all []map[string]string
	for _, text := range options {
		p, err := pairs(text, propertyKeys, "name", "value")
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (c extraProperty) extend(body map[string]any) error {
	all, err := properties(c.ExtraProperty)
	for _, p := range all {
		if body[p["name"]], err = typed(p); err != nil {
			return err
		}
	}
	return err
}

func (c extraUnset) extend(body map[string]any) error {
	all, err := properties(c.ExtraProperty)
	for _, p := range all {
		body[p["name"]] = nil
	}
	return err
}

// typed is the value of a property, by its type.
func typed(p map[string]string) (any, error) {
	value := p["value"]
	kind, ok := p["type"]
	if !ok {
		kind = "str"
	}
	switch kind {
	case "str":
		return value, nil
	case "int":
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("--extra-property: %s=%s is no integer", p["name"], value)
		}
		return n, nil
	case "bool":
		return strings.EqualFold(value, "true"), nil
	case "list":
		if value == "" {
			return []any{}, nil
		}
		return anys(strings.Split(value, ";")), nil
	case "dict":
		return dictOf(value)
	}
	return nil, inItsWords("Type %s of property %s is not supported", kind, p["name"])
}

// dictOf reads "key:value;key:value". A part without a colon belongs to the value before it.
func dictOf(text string) (map[string]string, error) {
	got, last := map[string]string{}, ""
	if text == "" {
		return got, nil
	}
	for i, part := range strings.Split(text, ";") {
		key, value, ok := strings.Cut(part, ":")
		switch {
		case ok:
			got[key], last = value, key
		case i == 0:
			return nil, inItsWords("missing value for key '%s'", part)
		default:
			got[last] += ";" + part
		}
	}
	return got, nil
}

// profileOf reads options that are each key=value or a JSON object, the later ones over the earlier.
func profileOf(options []string) (map[string]any, error) {
	profile := map[string]any{}
	for _, text := range options {
		v, err := decode([]byte(text))
		o, isObject := v.(*object)
		key, value, isPair := strings.Cut(text, "=")
		switch {
		case err == nil && isObject:
			maps.Copy(profile, o.values)
		case err != nil && isPair:
			profile[key] = value
		default:
			return nil, &said{fmt.Sprintf("--binding-profile %s: want <key>=<value> or a JSON object", safe(text)),
				errUsage}
		}
	}
	return profile, nil
}

var dhcpOptionKeys = map[string]string{"name": "opt_name", "value": "opt_value", "ip-version": "ip_version"}
