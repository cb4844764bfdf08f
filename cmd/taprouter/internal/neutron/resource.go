package neutron

import (
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// A resource is one collection of the API, with the objects of one type.
type resource[T config.Object] struct {
	singular, plural string // as the body is wrapped
	path             string // of the collection; empty: the plural
	title            string // as in messages
	fixed            bool   // there is no PUT
	attributes       func(project string) []attribute[T]

	// all gives the objects, in order.
	all func(s *config.State) iter.Seq[T]

	// get finds an object. The second result is false if there is none.
	get func(r reader, id config.ID) (T, bool)

	// prepare puts an object into the Draft that answers show without its being in the State; nil: there is none.
	prepare func(e *edit, id config.ID)

	// special answers a PUT of an object that is not in the State. The result is false for any other; nil: there is
	// none.
	special func(m *mounted[T], r *request) (reply, bool, error)

	// belongs says whether an object that is set aside is one of the collection; nil: all are.
	belongs func(o T) bool

	// stored says whether an object is in the State, rather than made of another one; nil: all are.
	stored func(r reader, o T) error

	// fresh makes a new object with the defaults that its zero value does not have.
	fresh func(m config.Meta) T

	// copied is a copy of an object for an update.
	copied func(o T) T

	// create checks a new object, chooses what the body left out, and puts it into the Draft.
	create func(e *edit, o T, body map[string]any) error

	// update checks a changed object against the former one, and puts it into the Draft.
	update func(e *edit, was, o T, body map[string]any) error

	// remove takes an object out of the Draft, unless it is needed.
	remove func(e *edit, o T) error

	// shows is what POST answers for a new object; nil: the same as GET.
	shows func(m *mounted[T], r reader, o T, body map[string]any) map[string]any

	linked bool // lists have their links also where there are none

	// filters are further keys of queries, by name.
	filters map[string]func(r reader, values []string) (func(o T) bool, error)
}

// A mounted is a resource of an API.
type mounted[T config.Object] struct {
	resource[T]
	api  *API
	list []attribute[T]
}

func mount[T config.Object](a *API, r resource[T]) *mounted[T] {
	m := newMounted(a, r)
	a.collections = append(a.collections, [2]string{r.singular, r.plural})
	at := "/v2.0/" + r.plural
	if r.path != "" {
		at = "/v2.0/" + r.path
	}
	a.handle(at, methods{http.MethodGet: m.index, http.MethodPost: m.post})
	one := methods{http.MethodGet: m.show, http.MethodPut: m.put, http.MethodDelete: m.delete}
	if r.fixed {
		delete(one, http.MethodPut)
	}
	a.handle(at+"/{id}", one)
	a.handle(at+"/{id}/tags", methods{http.MethodGet: m.tags, http.MethodPut: m.putTags,
		http.MethodDelete: m.deleteTags})
	a.handle(at+"/{id}/tags/{tag}", methods{http.MethodGet: m.tag, http.MethodPut: m.putTag,
		http.MethodDelete: m.deleteTag})
	return m
}

func newMounted[T config.Object](a *API, r resource[T]) *mounted[T] {
	return &mounted[T]{resource: r, api: a, list: inError(r.attributes(a.opt.Project))}
}

// render is an object as the answer shows it: all attributes, or the ones asked for.
func (m *mounted[T]) render(s reader, o T, fields []string) map[string]any {
	if len(fields) == 0 {
		out := renderAll(m.list, s, o)
		if v, ok := s.(*seen); ok {
			if x, ok := v.aside(o.Ref()); ok {
				out["status_reason"] = x.Reason
			}
		}
		return out
	}
	out := make(map[string]any, len(fields))
	for _, name := range fields {
		if a, ok := find(m.list, name); ok && !a.may.has(hidden) {
			out[name] = a.get(s, o)
		}
	}
	return out
}

// renderAll is an object with all attributes that answers show.
func renderAll[T config.Object](list []attribute[T], s reader, o T) map[string]any {
	out := make(map[string]any, len(list))
	for _, a := range list {
		if !a.may.has(hidden) {
			out[a.name] = a.get(s, o)
		}
	}
	return out
}

// look finds the object of a request's path.
func (m *mounted[T]) look(r *request, in reader) (T, error) {
	id := config.ID(r.PathValue("id"))
	o, ok := m.get(in, id)
	if !ok {
		return o, notFound(m.title, id)
	}
	return o, nil
}

// sight finds an object that answers show: one of a State, or one that is set aside.
func (m *mounted[T]) sight(s *config.State, id config.ID) (T, error) {
	o, ok := m.get(s, id)
	if ok {
		return o, nil
	}
	for _, o := range m.asides() {
		if o.About().ID == id {
			return o, nil
		}
	}
	return o, notFound(m.title, id)
}

func (m *mounted[T]) one(s *config.State, o T, status int) reply {
	return reply{status: status, body: map[string]any{m.singular: m.render(m.view(s), o, nil)}}
}

// show answers GET of one object. Clients send further parameters, which mean nothing here.
func (m *mounted[T]) show(r *request) (reply, error) {
	s := m.api.control.State()
	o, err := m.sight(s, config.ID(r.PathValue("id")))
	if err != nil {
		return reply{}, err
	}
	r.tells(o)
	return reply{status: http.StatusOK, body: map[string]any{
		m.singular: m.render(m.view(s), o, fieldsOf(r.URL.Query()))}}, nil
}

// post creates one object, or several: all of them, or none.
func (m *mounted[T]) post(r *request) (reply, error) {
	body, err := readBody(r)
	if err != nil {
		return reply{}, err
	}
	items, many := body[m.plural].([]any)
	name := m.singular
	if many {
		name = m.plural
	} else {
		items = []any{body[m.singular]}
	}
	for _, x := range items {
		if _, ok := x.(map[string]any); !ok {
			return reply{}, malformed("Unable to find '%s' in request body", m.singular)
		}
	}
	if len(items) == 0 {
		return reply{}, malformed("Resources required")
	}
	if err := onlyKey(body, name); err != nil {
		return reply{}, err
	}
	var made []config.ID
	s, err := r.change(func(e *edit) error {
		made = nil
		for _, x := range items {
			o := m.fresh(e.meta())
			given := x.(map[string]any)
			if err := fillCreate(e, m.list, o, given); err != nil {
				return err
			}
			if err := m.create(e, o, given); err != nil {
				return err
			}
			made = append(made, o.About().ID)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	list := make([]any, 0, len(made))
	v := m.view(s)
	for i, id := range made {
		o, _ := m.get(s, id)
		r.tells(o)
		if m.shows != nil {
			list = append(list, m.shows(m, v, o, items[i].(map[string]any)))
		} else {
			list = append(list, m.render(v, o, nil))
		}
	}
	if many {
		return reply{status: http.StatusCreated, body: map[string]any{m.plural: list}}, nil
	}
	return reply{status: http.StatusCreated, body: map[string]any{m.singular: list[0]}}, nil
}

func (m *mounted[T]) put(r *request) (reply, error) {
	if m.special != nil {
		if answer, ok, err := m.special(m, r); ok {
			return answer, err
		}
	}
	body, err := readOne(r, m.singular)
	if err != nil {
		return reply{}, err
	}
	return m.edit(r, func(e *edit, was T) error {
		o := m.copied(was)
		if err := fillUpdate(e, m.list, was, o, body); err != nil {
			return err
		}
		if err := m.update(e, was, o, body); err != nil {
			return err
		}
		return m.keepEntries(e, was, in(body))
	}, func(s *config.State, o T) reply { return m.one(s, o, http.StatusOK) })
}

// edit changes the object of a request's path.
func (m *mounted[T]) edit(r *request, fn func(e *edit, o T) error,
	answer func(s *config.State, o T) reply) (reply, error) {
	var id config.ID
	s, err := r.change(func(e *edit) error {
		if m.prepare != nil {
			m.prepare(e, config.ID(r.PathValue("id")))
		}
		o, err := m.look(r, e)
		if err != nil {
			if x, ok := m.asideOf(r); ok {
				return setAside(r, x)
			}
			return err
		}
		if err := m.mayChange(r, e, o); err != nil {
			return err
		}
		id = o.About().ID
		return fn(e, o)
	})
	if err != nil {
		return reply{}, err
	}
	o, _ := m.get(s, id)
	r.tells(o)
	return answer(s, o), nil
}

// mayChange checks that an object is in the State, and has the revision that the client wants to change.
func (m *mounted[T]) mayChange(r *request, e *edit, o T) error {
	if m.stored != nil {
		if err := m.stored(e, o); err != nil {
			return err
		}
	}
	return m.mayMatch(r, o)
}

// mayMatch checks that an object has the revision that the client wants to change.
func (m *mounted[T]) mayMatch(r *request, o config.Object) error {
	want, ok := strings.CutPrefix(r.Header.Get("If-Match"), "revision_number=")
	if ok && want != strconv.FormatInt(o.About().Revision, 10) {
		return failure(http.StatusPreconditionFailed, "RevisionNumberConstraintFailed",
			"Constrained to %s, but current revision is %d", want, o.About().Revision)
	}
	return nil
}

func (m *mounted[T]) delete(r *request) (reply, error) {
	if _, ok := m.get(m.api.control.State(), config.ID(r.PathValue("id"))); !ok {
		if o, ok := m.asideOf(r); ok {
			return m.forget(r, o)
		}
	}
	var gone T
	_, err := r.change(func(e *edit) error {
		if m.prepare != nil {
			m.prepare(e, config.ID(r.PathValue("id")))
		}
		o, err := m.look(r, e)
		if err != nil {
			return err
		}
		if err := m.mayChange(r, e, o); err != nil {
			return err
		}
		if err := e.own(o, ""); err != nil {
			return err
		}
		gone = o
		return m.remove(e, o)
	})
	if err != nil {
		return reply{}, err
	}
	r.tells(gone)
	return reply{status: http.StatusNoContent}, nil
}
