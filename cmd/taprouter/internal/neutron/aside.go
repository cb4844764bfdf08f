package neutron

import (
	"net/http"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// An Aside is an object that is not in the State, because something there is in its way, such as the address that a
// topology file gives to another object. Answers show it with the status ERROR and the reason. It can be deleted, but
// not changed.
type Aside struct {
	Object config.Object
	Reason string // in plain words
}

const statusError = "ERROR"

// statusNames are the attributes that say how an object is doing.
var statusNames = map[string]bool{"status": true, "provisioning_status": true, "operating_status": true}

// aside finds the object of a kind that is set aside.
func (s *seen) aside(r config.Ref) (Aside, bool) {
	if s.asides == nil {
		s.asides = map[config.Ref]Aside{}
		if s.api.opt.Aside != nil {
			for _, x := range s.api.opt.Aside() {
				s.asides[x.Object.Ref()] = x
			}
		}
	}
	x, ok := s.asides[r]
	return x, ok
}

// inError has the attributes that say how an object is doing say that it is set aside.
func inError[T config.Object](list []attribute[T]) []attribute[T] {
	for i := range list {
		if get := list[i].get; statusNames[list[i].name] {
			list[i].get = func(r reader, o T) any {
				if s, ok := r.(*seen); ok {
					if _, ok := s.aside(o.Ref()); ok {
						return statusError
					}
				}
				return get(r, o)
			}
		}
	}
	return list
}

// asides lists the objects of a resource that are set aside.
func (m *mounted[T]) asides() []T {
	if m.api.opt.Aside == nil {
		return nil
	}
	var list []T
	for _, x := range m.api.opt.Aside() {
		if o, ok := x.Object.(T); ok && (m.belongs == nil || m.belongs(o)) {
			list = append(list, o)
		}
	}
	return list
}

// asideOf finds the object of a request's path among those that are set aside.
func (m *mounted[T]) asideOf(r *request) (T, bool) {
	for _, o := range m.asides() {
		if string(o.About().ID) == r.PathValue("id") {
			return o, true
		}
	}
	var none T
	return none, false
}

// forget deletes an object that is set aside.
func (m *mounted[T]) forget(r *request, o T) (reply, error) {
	if m.api.opt.Forget == nil {
		return reply{}, setAside(r, o)
	}
	if err := m.api.opt.Forget(r.Context(), o.Ref()); err != nil {
		return reply{}, err
	}
	r.tells(o)
	return reply{status: http.StatusNoContent}, nil
}

// setAside refuses a change of an object that is set aside.
func setAside(r *request, o config.Object) error {
	reason := ""
	for _, x := range r.api.opt.Aside() {
		if x.Object.Ref() == o.Ref() {
			reason = strings.TrimSuffix(x.Reason, ".")
		}
	}
	return conflict("SetAside", "%v %s is set aside: %s. Delete it, or remove what is in its way and start again.",
		o.Ref().Kind, o.About().ID, reason)
}
