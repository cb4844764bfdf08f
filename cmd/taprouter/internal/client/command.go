package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// The tag api of a field of a command says what the field sets in a request:
//
//	api:"name"                the attribute name, to the field's value
//	api:"enable_dhcp=false"   the attribute, to this JSON value, if the field is true
//	api:"network_id,network"  the attribute, to the id of the network that the field names
//
// A field without a value, such as a pointer that is nil, sets nothing.

// body is the attributes that a command sets.
func (s *Session) body(command any) (map[string]any, error) {
	body := map[string]any{}
	return body, s.collect(reflect.Indirect(reflect.ValueOf(command)), body)
}

func (s *Session) collect(v reflect.Value, body map[string]any) error {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if err := s.collect(value, body); err != nil {
				return err
			}
			continue
		}
		tag := f.Tag.Get("api")
		if tag == "" || value.IsZero() {
			continue
		}
		got := reflect.Indirect(value).Interface()
		if key, text, ok := strings.Cut(tag, "="); ok {
			constant, err := decode([]byte(text))
			if err != nil {
				return fmt.Errorf("tag %s: %w", tag, err)
			}
			body[key] = constant
			continue
		}
		key, kind, ok := strings.Cut(tag, ",")
		if ok {
			id, err := s.resolve(kinds[kind], got)
			if err != nil {
				return err
			}
			got = id
		}
		body[key] = got
	}
	return nil
}

// resolve is the ids of one name or several.
func (s *Session) resolve(k *kind, names any) (any, error) {
	if list, ok := names.([]string); ok {
		ids := []string{}
		for _, name := range list {
			o, err := s.find(k, name)
			if err != nil {
				return nil, err
			}
			ids = append(ids, o.text("id"))
		}
		return ids, nil
	}
	o, err := s.find(k, names.(string))
	if err != nil {
		return nil, err
	}
	return o.text("id"), nil
}

// filter is the attributes that a list's command asks for.
func (s *Session) filter(command any) (url.Values, error) {
	body, err := s.body(command)
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	for k, v := range body {
		if list, ok := v.([]string); ok {
			values[k] = list
			continue
		}
		values.Set(k, pythonText(v))
	}
	return values, nil
}

// The options for tags.
type (
	tagsCreate struct {
		Tag   []string `sep:"none" xor:"tag" help:"Give it this tag; repeat it for more."`
		NoTag bool     `xor:"tag" help:"Give it no tag, as without this."`
	}
	tagsSet struct {
		Tag   []string `sep:"none" help:"Add this tag; repeat it for more."`
		NoTag bool     `help:"Take all tags away; with --tag only those stay."`
	}
	tagsUnset struct {
		Tag    []string `sep:"none" xor:"tag" help:"Take this tag away; repeat it for more."`
		AllTag bool     `xor:"tag" help:"Take all tags away."`
	}
	tagsList struct {
		Tags       string `placeholder:"<tag>[,<tag>...]" api:"tags" help:"Only those that have all these tags."`
		AnyTags    string `placeholder:"<tag>[,<tag>...]" api:"tags-any" help:"Only those that have one of these tags."`
		NotTags    string `placeholder:"<tag>[,<tag>...]" api:"not-tags" help:"Only those that have not all of these tags."`
		NotAnyTags string `placeholder:"<tag>[,<tag>...]" api:"not-tags-any" help:"Only those that have none of these tags."`
	}
)

// A tagger chooses an object's tags from what they were. The second result is false if they stay.
type tagger interface {
	tags(old []string) ([]string, bool)
}

func (t tagsCreate) tags([]string) ([]string, bool) { return t.Tag, len(t.Tag) > 0 }

func (t tagsSet) tags(old []string) ([]string, bool) {
	tags := slices.Clone(old)
	if t.NoTag {
		tags = nil
	}
	for _, tag := range t.Tag {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags, len(t.Tag) > 0 || t.NoTag
}

func (t tagsUnset) tags(old []string) ([]string, bool) {
	if t.AllTag {
		return nil, true
	}
	tags := slices.DeleteFunc(slices.Clone(old), func(tag string) bool { return slices.Contains(t.Tag, tag) })
	return tags, len(t.Tag) > 0
}

// tag changes the tags of an object, by a request of its own, if the command does so.
func (s *Session) tag(k *kind, o *object, command any) error {
	t, ok := command.(tagger)
	if !ok {
		return nil
	}
	old := texts(o.list("tags"))
	tags, ok := t.tags(old)
	slices.Sort(old)
	if !ok || slices.Equal(old, slices.Sorted(slices.Values(tags))) {
		return nil
	}
	if tags == nil {
		tags = []string{}
	}
	_, err := s.router.call(s.ctx, http.MethodPut, k.path+"/"+o.text("id")+"/tags", map[string]any{"tags": tags})
	if err != nil {
		return err
	}
	list := []any{}
	for _, t := range tags {
		list = append(list, t)
	}
	o.set("tags", list)
	return nil
}

// texts is a list's strings.
func texts(list []any) []string {
	var all []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// create makes an object and prints it. The last function may add to the request.
func (s *Session) create(k *kind, command any, out *showOptions, add func(body map[string]any) error) error {
	s.framed = k.framed
	body, err := s.body(command)
	if err == nil && add != nil {
		err = add(body)
	}
	if err == nil {
		err = extend(command, body)
	}
	if err != nil {
		return s.failed(err)
	}
	if t, ok := command.(tagger); ok && k.balancing() {
		if tags, ok := t.tags(nil); ok {
			body["tags"] = tags
		}
	}
	o, err := s.post(k, body)
	if err == nil && !k.balancing() {
		err = s.tag(k, o, command)
	}
	if err != nil {
		return s.failed(err)
	}
	for key, v := range body { // what was asked for and is not in the answer
		if _, ok := o.values[key]; !ok {
			o.set(key, v)
		}
	}
	columns := k.show
	if k.made != nil {
		columns = k.made
	}
	return s.print(o, columns, out)
}

// print prints one object.
func (s *Session) print(o *object, columns []column, out *showOptions) error {
	s.framed = false // what is wrong with the output is no fault of the router's
	return s.failed(printOne(s.out, &sheet{columns, [][]cell{row(o, columns)}}, out))
}

// change changes an object. The last function may add to the request.
func (s *Session) change(k *kind, name string, command any, add func(o *object, body map[string]any) error) error {
	o, err := s.find(k, name)
	if err != nil {
		return s.failed(err)
	}
	return s.failed(s.changeFound(k, o, command, add))
}

func (s *Session) changeFound(k *kind, o *object, command any, add func(o *object, body map[string]any) error) error {
	body, err := s.body(command)
	if err == nil && add != nil {
		err = add(o, body)
	}
	if err == nil {
		err = extend(command, body)
	}
	if err != nil {
		return err
	}
	if k.balancing() {
		if t, ok := command.(tagger); ok {
			if tags, ok := t.tags(texts(o.list("tags"))); ok {
				body["tags"] = append([]string{}, tags...)
			}
		}
		return s.put(k, o.text("id"), body)
	}
	for key, v := range body {
		if sameJSON(v, o.get(key)) {
			delete(body, key) // as it is already
		}
	}
	if len(body) > 0 {
		if err := s.put(k, o.text("id"), body); err != nil {
			return err
		}
	}
	if !k.tagged {
		return nil
	}
	return s.tag(k, o, command)
}

// sameJSON reports whether two values are the same to whom they are sent.
func sameJSON(a, b any) bool {
	var x, y any
	for v, to := range map[any]*any{&a: &x, &b: &y} {
		text, err := encode(*v.(*any))
		if err != nil || json.Unmarshal(text, to) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}

// show prints an object.
func (s *Session) show(k *kind, name string, out *showOptions) error {
	s.framed = k.framed
	o, err := s.find(k, name)
	if err != nil {
		return s.failed(err)
	}
	return s.print(o, k.show, out)
}

// listAll prints a collection. The last function may add to the filter.
func (s *Session) listAll(k *kind, command any, out *listOptions, long bool, add func(filter url.Values) error) error {
	s.framed = k.framed
	filter, err := s.filter(command)
	if err == nil && add != nil {
		err = add(filter)
	}
	var all []*object
	if err == nil {
		all, err = s.list(k.path, k.plural, filter)
	}
	if err != nil {
		return s.failed(err)
	}
	columns := k.list
	if long && k.long != nil {
		columns = k.long
	}
	s.framed = false
	return s.failed(printList(s.out, sheetOf(all, columns), out))
}

func sheetOf(all []*object, columns []column) *sheet {
	t := &sheet{columns: columns}
	for _, o := range all {
		t.rows = append(t.rows, row(o, columns))
	}
	return t
}

// remove deletes objects by their names or ids: each one, though others can't be deleted.
func (s *Session) remove(k *kind, names []string, find func(name string) (*object, error)) error {
	if find == nil {
		find = func(name string) (*object, error) { return s.find(k, name) }
	}
	noun := k.noun
	if noun == "" {
		noun = k.singular
	}
	failed := 0
	for _, name := range names {
		o, err := find(name)
		if err == nil {
			_, err = s.router.call(s.ctx, http.MethodDelete, k.path+"/"+o.text("id"), nil)
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err != nil {
			failed++
			s.say("Failed to delete %s with name or ID '%s': %v", noun, name, err)
		}
	}
	if failed > 0 {
		return s.failed(inItsWords("%d of %d %ss failed to delete.", failed, len(names), noun))
	}
	return nil
}

// pairs reads "subnet=a,ip-address=b" with the keys that an option takes. The map says what each one is called in
// requests.
func pairs(text string, keys map[string]string, required ...string) (map[string]string, error) {
	got, wrong := map[string]string{}, []string{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" {
			return nil, inItsWords("Expected comma separated 'key=value' pairs, but got: %s", part)
		}
		if keys[key] == "" {
			wrong = append(wrong, key)
			continue
		}
		got[keys[key]] = value
	}
	valid := slices.Clone(required)
	for _, k := range validKeys(keys) {
		if !slices.Contains(valid, k) {
			valid = append(valid, k)
		}
	}
	if len(wrong) > 0 {
		return nil, &said{fmt.Sprintf("Invalid keys %s specified.\nValid keys are: %s", safe(strings.Join(wrong, ", ")),
			strings.Join(valid, ", ")), errUsage}
	}
	for _, r := range required {
		if _, ok := got[keys[r]]; !ok {
			return nil, &said{fmt.Sprintf("Missing required keys %s.\nRequired keys are: %s", r,
				strings.Join(required, ", ")), errUsage}
		}
	}
	return got, nil
}

var errUsage = errors.New("wrong keys")

// validKeys are an option's keys, in the order in which help names them.
func validKeys(keys map[string]string) []string {
	order := []string{"subnet", "ip-address", "ip-substring", "mac-address", "destination", "gateway", "start", "end",
		"name", "value", "ip-version", "type"}
	return slices.DeleteFunc(order, func(k string) bool { return keys[k] == "" })
}
