package neutron

import (
	"cmp"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// A query is what a list was asked for.
type query[T config.Object] struct {
	filters []func(o T) bool
	fields  []string
	order   []order[T]
	paging
}

// An order is one key of a sort.
type order[T config.Object] struct {
	by   attribute[T]
	desc bool
}

// index answers GET of a collection.
func (m *mounted[T]) index(r *request) (reply, error) {
	s := m.api.control.State()
	v := m.view(s)
	q, err := m.query(r, v)
	if err != nil {
		return reply{}, err
	}
	var list []T
	for o := range m.each(s) {
		if q.match(o) {
			list = append(list, o)
		}
	}
	list, more, err := m.page(s, v, q, list)
	if err != nil {
		return reply{}, err
	}
	out := make([]any, 0, len(list))
	for _, o := range list {
		out = append(out, m.render(v, o, q.fields))
	}
	body := map[string]any{m.plural: out}
	switch {
	case more:
		body[m.plural+"_links"] = []link{q.link(r, string(list[0].About().ID), string(list[len(list)-1].About().ID))}
	case m.linked:
		body[m.plural+"_links"] = []link{}
	}
	return reply{status: http.StatusOK, body: body}, nil
}

// each gives the objects of a resource: those of a State, and behind them those that are set aside.
func (m *mounted[T]) each(s *config.State) iter.Seq[T] {
	return func(yield func(o T) bool) {
		for o := range m.all(s) {
			if !yield(o) {
				return
			}
		}
		for _, o := range m.asides() {
			if !yield(o) {
				return
			}
		}
	}
}

func (q *query[T]) match(o T) bool {
	for _, f := range q.filters {
		if !f(o) {
			return false
		}
	}
	return true
}

// query reads a query. A key that the resource does not have is refused, also where no object is there.
func (m *mounted[T]) query(r *request, s reader) (*query[T], error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("Malformed query: %v", err)
	}
	q := &query[T]{fields: m.known(fieldsOf(values))}
	if q.paging, err = readPaging(values); err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(values) {
		list := values[key]
		switch key {
		case "fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse":
		case "tags", "tags-any", "not-tags", "not-tags-any":
			q.filters = append(q.filters, tagFilter[T](key, list))
		default:
			f, err := m.filter(s, key, list)
			if err != nil {
				return nil, err
			}
			q.filters = append(q.filters, f)
		}
	}
	q.order, err = m.orders(values["sort_key"], values["sort_dir"])
	return q, err
}

// fieldsOf lists the attributes that the answer is to have, each of them once. None: all.
func fieldsOf(values url.Values) []string {
	list := slices.DeleteFunc(slices.Clone(values["fields"]), func(f string) bool { return f == "" })
	slices.Sort(list)
	return slices.Compact(list)
}

// known leaves out fields that the resource does not have: a query may name thousands, and each object of a list would
// be asked for them. If it has none of them, one is left, as no fields are all.
func (m *mounted[T]) known(fields []string) []string {
	if len(fields) == 0 {
		return nil
	}
	first := fields[0]
	fields = slices.DeleteFunc(fields, func(f string) bool {
		_, ok := find(m.list, f)
		return !ok
	})
	if len(fields) == 0 {
		return []string{first}
	}
	return fields
}

// filter makes a filter of a key: the attribute, or an element of its list, is one of the values.
func (m *mounted[T]) filter(s reader, key string, values []string) (func(o T) bool, error) {
	if f := m.filters[key]; f != nil {
		return f(s, values)
	}
	a, ok := find(m.list, key)
	if !ok || a.format.parts || a.may.has(hidden) {
		return nil, malformed("'%s' is invalid attribute for filtering", key)
	}
	wanted := map[string]bool{}
	for _, v := range values {
		if a.format.filter != nil {
			v = a.format.filter(v)
		}
		wanted[v] = true
	}
	return func(o T) bool {
		v := a.get(s, o)
		if list, ok := v.([]string); ok {
			return slices.ContainsFunc(list, func(x string) bool { return wanted[x] })
		}
		return wanted[queryText(v)]
	}, nil
}

// queryText writes a value as a query does.
func queryText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	}
	return ""
}

// tagFilter makes a filter of tags: with all of them or any of them, or not.
func tagFilter[T config.Object](key string, values []string) func(o T) bool {
	wanted := map[string]bool{} // a query may name thousands
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			wanted[t] = true
		}
	}
	return func(o T) bool {
		n := 0
		tags := o.About().Tags
		for i, t := range tags {
			if wanted[t] && !slices.Contains(tags[:i], t) { // a file may say one twice
				n++
			}
		}
		switch key {
		case "tags":
			return n == len(wanted)
		case "tags-any":
			return n > 0
		case "not-tags":
			return n < len(wanted)
		}
		return n == 0
	}
}

// orders reads the keys of a sort. Without directions, all go up.
func (m *mounted[T]) orders(keys, dirs []string) ([]order[T], error) {
	down, err := directions(keys, dirs)
	if err != nil {
		return nil, err
	}
	var list []order[T]
	for i, key := range keys {
		a, ok := find(m.list, key)
		if !ok || a.format.parts || a.may.has(hidden) {
			return nil, malformed("'%s' is invalid attribute for sort keys", key)
		}
		if slices.ContainsFunc(list, func(x order[T]) bool { return x.by.name == key }) {
			continue // it has decided already
		}
		list = append(list, order[T]{by: a, desc: down[i]})
	}
	return list, nil
}

// page sorts a list, and takes the page out of it that was asked for. It says whether the list goes on. Objects that
// are equal in the order of a query are in the order in which they were created.
func (m *mounted[T]) page(s *config.State, v reader, q *query[T], list []T) (page []T, more bool, err error) {
	var marker T
	hasMarker := q.marker != ""
	if hasMarker {
		if marker, err = m.sight(s, config.ID(q.marker)); err != nil {
			return nil, false, err
		}
		if !q.match(marker) { // it still has its place among the others
			list = m.insert(s, list, marker)
		}
	}
	if len(q.order) > 0 {
		slices.SortStableFunc(list, func(a, b T) int {
			for _, o := range q.order {
				n := compare(o.by.get(v, a), o.by.get(v, b))
				if o.desc {
					n = -n
				}
				if n != 0 {
					return n
				}
			}
			return 0
		})
	}
	at := -1
	if hasMarker {
		at = slices.IndexFunc(list, func(o T) bool { return o.About().ID == marker.About().ID })
	}
	page, more = window(q.paging, list, at)
	return page, more, nil
}

// insert puts an object into a list, at the place that it has among all objects.
func (m *mounted[T]) insert(s *config.State, list []T, o T) []T {
	in := map[config.ID]bool{o.About().ID: true}
	for _, x := range list {
		in[x.About().ID] = true
	}
	list = list[:0]
	for x := range m.each(s) {
		if in[x.About().ID] {
			list = append(list, x)
		}
	}
	return list
}

// compare orders values of an attribute: null comes first, lists are compared by their elements.
func compare(a, b any) int {
	switch x := a.(type) {
	case int:
		if y, ok := b.(int); ok {
			return cmp.Compare(x, y)
		}
	case []string:
		if y, ok := b.([]string); ok {
			return slices.Compare(x, y)
		}
	}
	return cmp.Compare(queryText(a), queryText(b))
}
