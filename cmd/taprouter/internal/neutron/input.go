package neutron

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taprouter/taprouter/config"
)

// A format is how the values of an attribute are read.
type format struct {
	// read makes a value of what the body has, which is not nil. The error says what is wrong with it.
	read func(v any) (any, error)

	// empty is what null stands for in an update; nil: null is refused, unless the attribute says what it means.
	empty any

	// filter makes the text of a query comparable; nil: the text is as it is.
	filter func(text string) string

	parts bool // the values have parts, so that there is no filter for them
}

const maxText = 255 // characters, as in Neutron

var text = format{empty: "", read: func(v any) (any, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s is not a valid string", show(v))
	case utf8.RuneCountInString(s) > maxText:
		return nil, fmt.Errorf("it has more than %d characters", maxText)
	}
	return s, nil
}}

// flag reads booleans as Neutron does. They may have a capital letter, as Python writes them.
var flag = format{read: readFlag, filter: func(text string) string {
	if v, err := readFlag(text); err == nil {
		return queryText(v)
	}
	return text
}}

func readFlag(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case json.Number:
		if v == "0" || v == "1" {
			return v == "1", nil
		}
	case string:
		switch strings.ToLower(v) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
	}
	return nil, fmt.Errorf("%s cannot be converted to boolean", show(v))
}

// number reads integers, which the command line sends as strings.
var number = format{read: func(v any) (any, error) {
	s := ""
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = strings.TrimSpace(v)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < math.MinInt32 || n > math.MaxInt32 {
		return nil, fmt.Errorf("%s is not an integer", show(v))
	}
	return int(n), nil
}}

var identifier = format{filter: strings.ToLower, read: func(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s is not a valid UUID", show(v))
	}
	id, err := config.ParseID(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid UUID", show(v))
	}
	return id, nil
}}

var address = format{read: func(v any) (any, error) {
	s, ok := v.(string)
	a, err := netip.ParseAddr(s)
	if !ok || err != nil || a.Zone() != "" || a.Is4In6() {
		return nil, fmt.Errorf("%s is not a valid IP address", show(v))
	}
	return a, nil
}, filter: func(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	return s
}}

var prefix = format{read: func(v any) (any, error) {
	s, ok := v.(string)
	p, err := netip.ParsePrefix(s)
	if !ok || err != nil {
		return nil, fmt.Errorf("%s is not a valid IP subnet", show(v))
	}
	return p, nil
}}

var hardware = format{read: func(v any) (any, error) {
	s, ok := v.(string)
	m, err := config.ParseMAC(s)
	if !ok || err != nil {
		return nil, fmt.Errorf("%s is not a valid MAC address", show(v))
	}
	return m, nil
}, filter: func(s string) string {
	if m, err := config.ParseMAC(s); err == nil {
		return m.String()
	}
	return s
}}

// listOf reads a list, which is empty for null.
func listOf[T any](of format) format {
	return format{empty: []T{}, filter: of.filter, parts: of.parts, read: func(v any) (any, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("%s is not a list", show(v))
		}
		values := make([]T, 0, len(list))
		for _, x := range list {
			y, err := of.read(x)
			if err != nil {
				return nil, err
			}
			values = append(values, y.(T))
		}
		return values, nil
	}}
}

// A part is one of the values that an attribute with parts has.
type part struct {
	name   string
	format format
}

// A record has the values of an attribute with parts. Those that are absent, and those that are null, are not there.
type record map[string]any

// recordOf reads an object with parts. An unknown part is refused.
func recordOf(parts ...part) format {
	return format{parts: true, read: func(v any) (any, error) {
		given, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not a dictionary", show(v))
		}
		r := record{}
		for _, p := range parts {
			x, there := given[p.name]
			if !there || x == nil {
				continue
			}
			y, err := p.format.read(x)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			r[p.name] = y
		}
		for _, name := range sortedKeys(given) {
			if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
				return nil, fmt.Errorf("unexpected key '%s'", name)
			}
		}
		return r, nil
	}}
}

// has reads a part that must be there.
func has[T any](r record, name string) (T, error) {
	v, ok := r[name].(T)
	if !ok {
		return v, fmt.Errorf("'%s' is missing", name)
	}
	return v, nil
}

// show writes a value of a body for a message.
func show(v any) string {
	b, err := encode(v)
	if err != nil {
		return "the value"
	}
	s := strings.TrimSpace(string(b))
	if len(s) > 2 && s[0] == '"' {
		s = "'" + s[1:len(s)-1] + "'"
	}
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// readBody reads a body that is one object.
func readBody(r *request) (map[string]any, error) {
	d := json.NewDecoder(r.Body)
	d.UseNumber()
	var body map[string]any
	err := d.Decode(&body)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the object")
			if more != nil {
				err = more
			}
		}
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, failure(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge",
			"The body is longer than %d bytes.", maxBody)
	case errors.Is(err, io.EOF):
		return nil, malformed("Resource body required")
	case err != nil:
		return nil, malformed("Malformed request body: %v", err)
	case body == nil:
		return nil, malformed("Malformed request body: it is no object")
	}
	return body, nil
}

// readOne reads a body that wraps one object in a name.
func readOne(r *request, name string) (map[string]any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	v, ok := body[name].(map[string]any)
	if !ok {
		return nil, malformed("Unable to find '%s' in request body", name)
	}
	return v, onlyKey(body, name)
}

// onlyKey refuses what stands beside the name that wraps everything.
func onlyKey(body map[string]any, name string) error {
	delete(body, name)
	return unrecognized(sortedKeys(body))
}

func unrecognized(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return malformed("Unrecognized attribute(s) '%s'", strings.Join(names, ", "))
}
