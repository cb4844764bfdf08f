package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// An object is a JSON object with its keys in the order of the answer, which is the order in which they are printed.
// The values are nil, bool, json.Number, string, []any and *object.
type object struct {
	keys   []string
	values map[string]any
}

func newObject() *object { return &object{values: map[string]any{}} }

// get is an attribute, or nil. A nil object has none.
func (o *object) get(key string) any {
	if o == nil {
		return nil
	}
	return o.values[key]
}

// text is an attribute that is a string, or "".
func (o *object) text(key string) string {
	s, _ := o.get(key).(string)
	return s
}

// list is an attribute that is a list, or nil.
func (o *object) list(key string) []any {
	l, _ := o.get(key).([]any)
	return l
}

func (o *object) set(key string, value any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// MarshalJSON implements json.Marshaler.
func (o *object) MarshalJSON() ([]byte, error) {
	return []byte(jsonText(o, 0)), nil
}

// sorted is a copy of an object with its keys in order.
func (o *object) sorted() *object {
	return &object{keys: slices.Sorted(slices.Values(o.keys)), values: o.values}
}

// maxDepth bounds how deep lists and objects of an answer may be nested.
const maxDepth = 32

// decode reads one JSON value.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	o := newObject()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		o.set(key.(string), v)
	}
	_, err = d.Token()
	return o, err
}

// jsonText is a value as Python's json module writes it: with blanks after commas and colons, or, with an indent, a
// line for each entry, and everything beyond ASCII escaped.
func jsonText(v any, indent int) string {
	var b strings.Builder
	writeJSON(&b, v, indent, 0)
	return b.String()
}

func writeJSON(b *strings.Builder, v any, indent, depth int) {
	newline := func(depth int, comma bool) {
		switch {
		case indent > 0:
			b.WriteString("\n" + strings.Repeat(" ", indent*depth))
		case comma:
			b.WriteByte(' ')
		}
	}
	switch v := v.(type) {
	case *object:
		if len(v.keys) == 0 {
			b.WriteString("{}")
			return
		}
		for i, k := range v.keys {
			b.WriteByte("{,"[min(i, 1)])
			newline(depth+1, i > 0)
			quoteJSON(b, k)
			b.WriteString(": ")
			writeJSON(b, v.values[k], indent, depth+1)
		}
		newline(depth, false)
		b.WriteByte('}')
	case []any:
		if len(v) == 0 {
			b.WriteString("[]")
			return
		}
		for i, e := range v {
			b.WriteByte("[,"[min(i, 1)])
			newline(depth+1, i > 0)
			writeJSON(b, e, indent, depth+1)
		}
		newline(depth, false)
		b.WriteByte(']')
	case string:
		quoteJSON(b, v)
	case nil:
		b.WriteString("null")
	default: // bool, json.Number, int
		fmt.Fprint(b, v)
	}
}

func quoteJSON(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}

// pythonText is a value as Python prints it: what the forms value and csv, and cells without a form of their own, show.
func pythonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	writePython(&b, v)
	return b.String()
}

func writePython(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case string:
		quotePython(b, v)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writePython(b, e)
		}
		b.WriteByte(']')
	case *object:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			quotePython(b, k)
			b.WriteString(": ")
			writePython(b, v.values[k])
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v)
	}
}

// quotePython writes a string as Python's repr does.
func quotePython(b *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		default:
			writeSafe(b, r)
		}
	}
	b.WriteRune(quote)
}

// safe is a text that may go to a terminal: a control character, and one that turns the direction of text, shows as
// its number. Line ends stay, as cells have them.
func safe(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r == '\n' {
			b.WriteByte('\n')
		} else {
			writeSafe(&b, r)
		}
	}
	return b.String()
}

func writeSafe(b *strings.Builder, r rune) {
	switch {
	case unicode.IsPrint(r):
		b.WriteRune(r)
	case r < 0x100:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// integer is a number of an answer as an int, or 0.
func integer(v any) int {
	n, _ := v.(json.Number)
	i, _ := strconv.Atoi(string(n)) // 0 is the answer then
	return i
}
