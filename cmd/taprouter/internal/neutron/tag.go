package neutron

import (
	"net/http"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// maxTags bounds the tags of one object.
const maxTags = 50 // as in Neutron

var tagList = listOf[string](text)

func (m *mounted[T]) tags(r *request) (reply, error) {
	o, err := m.sight(m.api.control.State(), config.ID(r.PathValue("id")))
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: map[string]any{"tags": tagsOf(o)}}, nil
}

// putTags replaces the tags.
func (m *mounted[T]) putTags(r *request) (reply, error) {
	body, err := readBody(r)
	if err != nil {
		return reply{}, err
	}
	given, ok := body["tags"]
	if !ok {
		return reply{}, malformed("Invalid tags body")
	}
	if err := onlyKey(body, "tags"); err != nil {
		return reply{}, err
	}
	v, err := tagList.read(given)
	if err != nil {
		return reply{}, invalid("tags", "%v.", err)
	}
	var tags []string
	for _, t := range v.([]string) {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return m.setTags(r, func([]string) ([]string, error) { return tags, nil },
		func(o T) reply { return reply{status: http.StatusOK, body: map[string]any{"tags": tagsOf(o)}} })
}

func (m *mounted[T]) deleteTags(r *request) (reply, error) {
	return m.setTags(r, func([]string) ([]string, error) { return nil, nil },
		func(T) reply { return reply{status: http.StatusNoContent} })
}

func (m *mounted[T]) tag(r *request) (reply, error) {
	o, err := m.sight(m.api.control.State(), config.ID(r.PathValue("id")))
	if err != nil {
		return reply{}, err
	}
	if tag := r.PathValue("tag"); !slices.Contains(o.About().Tags, tag) {
		return reply{}, noTag(tag)
	}
	return reply{status: http.StatusNoContent}, nil
}

func (m *mounted[T]) putTag(r *request) (reply, error) {
	tag := r.PathValue("tag")
	if _, err := text.read(tag); err != nil {
		return reply{}, invalid("tag", "%v.", err)
	}
	return m.setTags(r, func(tags []string) ([]string, error) {
		if slices.Contains(tags, tag) {
			return tags, nil
		}
		return append(slices.Clone(tags), tag), nil
	}, func(T) reply { return reply{status: http.StatusCreated} })
}

func (m *mounted[T]) deleteTag(r *request) (reply, error) {
	tag := r.PathValue("tag")
	return m.setTags(r, func(tags []string) ([]string, error) {
		i := slices.Index(tags, tag)
		if i < 0 {
			return nil, noTag(tag)
		}
		if len(tags) == 1 {
			return nil, nil
		}
		return slices.Delete(slices.Clone(tags), i, i+1), nil
	}, func(T) reply { return reply{status: http.StatusNoContent} })
}

func noTag(tag string) error {
	return failure(http.StatusNotFound, "TagNotFound", "Tag %s could not be found.", tag)
}

// setTags changes the tags of an object.
func (m *mounted[T]) setTags(r *request, fn func(tags []string) ([]string, error),
	answer func(o T) reply) (reply, error) {
	return m.edit(r, func(e *edit, was T) error {
		tags, err := fn(was.About().Tags)
		if err != nil {
			return err
		}
		if len(tags) > maxTags {
			return invalid("tags", "there are more than %d.", maxTags)
		}
		o := m.copied(was)
		o.About().Tags = tags
		e.Put(o)
		return m.keepEntries(e, was, func(name string) bool { return name == "tags" })
	}, func(_ *config.State, o T) reply { return answer(o) })
}
