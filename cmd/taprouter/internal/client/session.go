package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A Session is one command's exchange with a router.
type Session struct {
	ctx      context.Context
	router   *transport
	in       io.Reader
	out, err io.Writer

	framed bool // errors are told as those of OpenStack's commands that more than one of its services may serve
}

// NewSession prepares the session of a parsed command. It returns nil if the command speaks to no router.
func NewSession(ctx context.Context, k *kong.Context, in io.Reader, out, err io.Writer) (*Session, error) {
	c := connectionOf(k)
	if c == nil {
		return nil, nil
	}
	t, e := c.open()
	if e != nil {
		return nil, e
	}
	return &Session{ctx: ctx, router: t, in: in, out: out, err: err}, nil
}

// connectionOf finds the Connection of a command, which is in one of the structs on its path.
func connectionOf(k *kong.Context) *Connection {
	for _, p := range k.Path {
		if p.Command == nil || !p.Command.Target.IsValid() || p.Command.Target.Kind() != reflect.Struct {
			continue
		}
		if f := p.Command.Target.FieldByName("Connection"); f.IsValid() && f.CanAddr() {
			if c, ok := f.Addr().Interface().(*Connection); ok {
				return c
			}
		}
	}
	return nil
}

// encode writes JSON as it is sent.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// say prints a line for people about what went wrong.
func (s *Session) say(format string, args ...any) {
	fmt.Fprintln(s.err, safe(fmt.Sprintf(format, args...)))
}

// failed is an error in a frame, if the command has one.
func (s *Session) failed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || IsComplete(err) {
		return err
	}
	text := err.Error()
	if s.framed {
		var answer *answerError
		if errors.As(err, &answer) {
			text = answer.short()
		}
		text = "Error while executing command: " + text
	}
	return &said{safe(text), err}
}

// A said is an error whose text is complete.
type said struct {
	text string
	err  error
}

func (e *said) Error() string { return e.text }
func (e *said) Unwrap() error { return e.err }

// IsComplete reports whether an error's text is to be printed as it is.
func IsComplete(err error) bool {
	var s *said
	return errors.As(err, &s)
}

// wrapped is what stands in a JSON object under a key.
func wrapped(v any, key string) (*object, error) {
	o, _ := v.(*object)
	inner, ok := o.get(key).(*object)
	if !ok {
		return nil, fmt.Errorf("the answer has no %q: is a taprouter listening there?", key)
	}
	return inner, nil
}

// maxPages bounds the pages of a list.
const maxPages = 1000

// list reads all objects of a collection that a filter lets through.
func (s *Session) list(path, plural string, filter url.Values) ([]*object, error) {
	var all []*object
	next := path
	if len(filter) > 0 {
		next += "?" + filter.Encode()
	}
	for range maxPages {
		v, err := s.router.call(s.ctx, http.MethodGet, next, nil)
		if err != nil {
			return nil, err
		}
		o, _ := v.(*object)
		list, ok := o.get(plural).([]any)
		if !ok {
			return nil, fmt.Errorf("the answer has no %q: is a taprouter listening there?", plural)
		}
		for _, e := range list {
			if x, ok := e.(*object); ok {
				all = append(all, x)
			}
		}
		if next = nextPage(o.list(plural+"_links"), path); next == "" {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages", path, maxPages)
}

// nextPage is the path of the next page, or "". Only the query of a link is followed, so that it leads nowhere else.
func nextPage(links []any, path string) string {
	for _, l := range links {
		o, _ := l.(*object)
		if o.text("rel") != "next" {
			continue
		}
		if u, err := url.Parse(o.text("href")); err == nil {
			return path + "?" + u.RawQuery
		}
	}
	return ""
}

// A kind is a resource of the API.
type kind struct {
	path     string // of the collection
	singular string // as bodies are wrapped
	plural   string
	title    string // in messages of OpenStack's client; none for what its load balancers' client finds
	noun     string // in messages about deleting; the singular without it
	list     []column
	long     []column // of --long; nil: as list
	show     []column
	made     []column // of create; nil: as show
	named    string   // the attribute that names it; name
	tagged   bool     // tags are set by requests of their own
	framed   bool     // see Session
}

func (k *kind) balancing() bool { return strings.HasPrefix(k.path, "/v2.0/lbaas") }

// missing is the error for a name that nothing has.
func (k *kind) missing(name string) error {
	if k.title == "" {
		return inItsWords("Unable to locate %s in %s", name, k.plural)
	}
	return inItsWords("No %s found for %s", k.title, name)
}

// find finds an object by its name or id, the way OpenStack's client does: by id, then by name, and one only.
func (s *Session) find(k *kind, name string) (*object, error) {
	if k.title == "" {
		return s.findBalancing(k, name)
	}
	if name != "" && name != "." && name != ".." { // which lead to another place
		v, err := s.router.call(s.ctx, http.MethodGet, k.path+"/"+url.PathEscape(name), nil)
		var answer *answerError
		switch {
		case err == nil:
			return wrapped(v, k.singular)
		case !errors.As(err, &answer) || answer.status != http.StatusNotFound && answer.status != http.StatusBadRequest:
			return nil, err
		}
	}
	var filter url.Values
	key := k.named
	if key == "" {
		key, filter = "name", url.Values{"name": {name}}
	}
	all, err := s.list(k.path, k.plural, filter)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o *object) bool { return o.text(key) != name && o.text("id") != name })
	switch len(all) {
	case 0:
		return nil, k.missing(name)
	case 1:
		return all[0], nil
	}
	return nil, inItsWords("More than one %s exists with the name '%s'.", k.title, name)
}

func (s *Session) findBalancing(k *kind, name string) (*object, error) {
	keys := []string{"name", "id"}
	if isID(name) {
		keys = []string{"id", "name"}
	}
	for _, key := range keys {
		all, err := s.list(k.path, k.plural, url.Values{key: {name}})
		switch {
		case err != nil:
			return nil, err
		case len(all) == 1:
			return all[0], nil
		case len(all) > 1:
			return nil, inItsWords("Multiple %s found with the name '%s': use an id", k.plural, name)
		}
	}
	return nil, k.missing(name)
}

// isID reports whether a text has the form of an id.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') ||
			!dash && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

// get reads one object by its id.
func (s *Session) get(k *kind, id string) (*object, error) {
	v, err := s.router.call(s.ctx, http.MethodGet, k.path+"/"+id, nil)
	if err != nil {
		return nil, err
	}
	return wrapped(v, k.singular)
}

// post makes an object.
func (s *Session) post(k *kind, body map[string]any) (*object, error) {
	v, err := s.router.call(s.ctx, http.MethodPost, k.path, map[string]any{k.singular: body})
	if err != nil {
		return nil, err
	}
	return wrapped(v, k.singular)
}

// put changes an object.
func (s *Session) put(k *kind, id string, body map[string]any) error {
	_, err := s.router.call(s.ctx, http.MethodPut, k.path+"/"+id, map[string]any{k.singular: body})
	return err
}

// inItsWords is an error in the words of OpenStack's client, which are not as Go's are.
func inItsWords(format string, args ...any) error { return clientError(fmt.Sprintf(format, args...)) }

type clientError string

func (e clientError) Error() string { return string(e) }
