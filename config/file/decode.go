package file

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

// keys are the keys of one table of the file, in the order of the reference.
type keys[T any] []key[T]

// A key is one key of a table: how its value gets into a T, and the keys of the
// table or tables it holds, if it does.
type key[T any] struct {
	name string
	set  func(*T, value)
	sub  keyNames
	many bool // a list of tables, not one table
}

// keyNames is a table's keys without the type they belong to.
type keyNames interface {
	// each calls f with every key and, for a table, the keys in it.
	each(f func(name string, sub keyNames, many bool))
}

func (ks keys[T]) each(f func(name string, sub keyNames, many bool)) {
	for _, k := range ks {
		f(k.name, k.sub, k.many)
	}
}

// A value is one value of the file, not yet read.
type value struct {
	at  scope  // the table it stands in
	key string // its key there, with an index if it is an element of a list
	raw any    // as the toml module decodes it
}

// leaf is a key that holds a value, or a list of values.
func leaf[T any](name string, set func(*T, value)) key[T] {
	return key[T]{name: name, set: set}
}

// table is a key that holds one table. Blank makes it with the defaults that
// are not zero; store puts it in its place.
func table[T, E any](name string, sub keys[E], blank func(line int) E, store func(*T, E)) key[T] {
	set := func(t *T, v value) {
		raw, ok := v.table()
		if !ok {
			return
		}
		s := v.at.child(v.key, v.at.lineOf(v.key))
		e := blank(s.line)
		sub.decode(s, raw, &e)
		store(t, e)
	}
	return key[T]{name: name, set: set, sub: sub}
}

// tables is a key that holds any number of tables. Kind is the word for one of
// them in messages, id the key that tells them apart.
func tables[T, E any](name, kind, id string, sub keys[E], blank func(line int) E, field func(*T) *[]E) key[T] {
	set := func(t *T, v value) {
		elements := v.tables()
		for i, element := range elements {
			s := element.item(kind, id, i, len(elements))
			e := blank(s.line)
			if raw, ok := element.table(); ok {
				sub.decode(s, raw, &e)
			}
			// A table that cannot be read keeps its place, so that the tables behind
			// it keep their lines.
			*field(t) = append(*field(t), e)
		}
	}
	return key[T]{name: name, set: set, sub: sub, many: true}
}

// decode reads a table's keys, and reports the keys that do not belong there.
func (ks keys[T]) decode(s scope, raw map[string]any, t *T) {
	known := make([]string, len(ks))
	for i, k := range ks {
		known[i] = k.name
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if !slices.Contains(known, name) {
			s.unknownKey(name, known)
		}
	}
	for _, k := range ks {
		if v, ok := raw[k.name]; ok {
			k.set(t, value{at: s, key: k.name, raw: v})
		}
	}
}

// unknownKey reports a key with the nearest known one, or where it belongs.
func (s scope) unknownKey(name string, known []string) {
	if s.r.full() {
		s.fault(pathKey(name), "")
		return
	}
	text := config.UnknownWord("key", name, known)
	if config.Nearest(name, known) == "" {
		if homes := homesOf(name, "", false, s.r.schema); len(homes) > 0 {
			text += "; it belongs to " + strings.Join(homes, " or ")
		} else {
			text += "; known here: " + strings.Join(known, ", ")
		}
	}
	s.fault(pathKey(name), "%s", text)
}

// homesOf lists the tables that have the key, out of the given table and the tables in
// it.
func homesOf(key, table string, many bool, ks keyNames) []string {
	var found []string
	ks.each(func(name string, sub keyNames, list bool) {
		if name == key {
			found = append(found, tableName(table, many))
		}
		if sub != nil && name != "quota" { // whose keys are the names of what it limits
			found = append(found, homesOf(key, joinPath(table, name), list, sub)...)
		}
	})
	return found
}

// tableName writes a table as the header of it in a file would.
func tableName(path string, many bool) string {
	switch {
	case path == "":
		return "the top of the file"
	case many:
		return "[[" + path + "]]"
	}
	return "[" + path + "]"
}

// fault reports the value and makes sure that nothing more is said about it.
func (v value) fault(format string, args ...any) {
	v.at.fault(v.key, format, args...)
	v.at.r.spoil(joinPath(v.at.path, v.key))
}

// wrongType reports a value of another type than the key wants.
func (v value) wrongType(want string) {
	v.fault("%s must be %s, not %s", v.key, want, describe(v.raw))
}

// describe names a value of the wrong type.
func describe(raw any) string {
	switch x := raw.(type) {
	case string:
		return fmt.Sprintf("%q", x)
	case bool, int64, float64:
		return fmt.Sprintf("%v", x)
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a date"
	}
	return "that"
}

func (v value) text() string {
	s, ok := v.raw.(string)
	if !ok {
		v.wrongType("a string")
	}
	return s
}

func (v value) flag() bool {
	b, ok := v.raw.(bool)
	if !ok {
		v.wrongType("true or false")
	}
	return b
}

// number reads an integer that fits any platform's int.
func (v value) number() int {
	const limit = 1 << 30
	n, ok := v.raw.(int64)
	if !ok {
		v.wrongType("an integer")
	} else if n < -limit || n > limit {
		v.fault("%s %d is out of all bounds", v.key, n)
		n = 0
	}
	return int(n)
}

// port reads an L4 port.
func (v value) port() uint16 {
	n := v.number()
	if n < 1 || n > 65535 {
		v.fault("%s must be a port from 1 to 65535, not %d", v.key, n)
		return 0
	}
	return uint16(n)
}

func (v value) fraction() float64 {
	switch x := v.raw.(type) {
	case float64:
		return x
	case int64:
		return float64(x)
	}
	v.wrongType("a number")
	return 0
}

func (v value) duration() time.Duration {
	if _, ok := v.raw.(int64); ok {
		v.fault(`%s must be a duration with its unit, such as "5s" or "10m", not %v`, v.key, v.raw)
		return 0
	}
	return parsed(v, parseDuration)
}

func (v value) addr() netip.Addr     { return parsed(v, parseAddr) }
func (v value) prefix() netip.Prefix { return parsed(v, parsePrefix) }
func (v value) mac() MAC             { return parsed(v, config.ParseMAC) }

// parsed reads a string and what it means.
func parsed[T any](v value, parse func(string) (T, error)) T {
	var zero T
	s := v.text()
	if v.at.spoiled(v.key) {
		return zero
	}
	x, err := parse(s)
	if err != nil {
		v.fault("%s: %v", v.key, err)
		return zero
	}
	return x
}

// list reads a list of values, each with its own line.
func (v value) list() []value {
	var raws []any
	switch x := v.raw.(type) {
	case []any:
		raws = x
	case []map[string]any:
		for _, t := range x {
			raws = append(raws, t)
		}
	default:
		v.wrongType("a list")
	}
	values := make([]value, len(raws))
	for i, raw := range raws {
		values[i] = value{at: v.at, key: indexKey(v.key, i), raw: raw}
	}
	return values
}

// listOf reads a list whose elements get reads.
func listOf[T any](v value, get func(value) T) []T {
	var list []T
	for _, element := range v.list() {
		list = append(list, get(element))
	}
	return list
}

// tables reads a list of tables. A single table in its place is the usual slip
// of writing [x] for [[x]]. It is reported and read, so that it does not hide
// other faults.
func (v value) tables() []value {
	if _, single := v.raw.(map[string]any); !single {
		return v.list()
	}
	path := joinPath(v.at.path, v.key)
	header := indexes.ReplaceAllString(path, "")
	v.at.fault(v.key, "%s is a list of tables; write %s, not %s", v.key, tableName(header, true),
		tableName(header, false))
	v.at.r.single[v.at.r.asWritten(path)] = true
	return []value{{at: v.at, key: indexKey(v.key, 0), raw: v.raw}}
}

// table reads one table.
func (v value) table() (map[string]any, bool) {
	t, ok := v.raw.(map[string]any)
	if _, list := v.raw.([]map[string]any); list && !ok {
		header := indexes.ReplaceAllString(joinPath(v.at.path, v.key), "")
		v.fault("%s is one table; write %s, not %s", v.key, tableName(header, false), tableName(header, true))
	} else if !ok {
		v.wrongType("a table")
	}
	return t, ok
}

// item is the scope of a table in a list.
func (v value) item(kind, id string, i, n int) scope {
	name := ""
	if raw, ok := v.raw.(map[string]any); ok {
		name, _ = raw[id].(string)
	}
	list, _, _ := strings.Cut(v.key, "[")
	return v.at.item(list, kind, name, i, n, v.at.lineOf(v.key))
}
