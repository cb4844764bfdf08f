package native

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// Base is the path that all paths of the API begin with.
const Base = "/taprouter/v1"

// Options are the settings of an API. Engine, Control and Topology are required.
type Options struct {
	Engine   *router.Engine
	Control  *control.Control
	Topology Topology     // plans, applies and exports
	Events   *Events      // nil: there are none to read
	Metrics  http.Handler // serves scrapes; nil: 501
	Logger   *slog.Logger // nil: no log

	Version string
	Started time.Time

	Level   *slog.LevelVar              // of the log; nil: 501
	Upgrade func(context.Context) error // begins to replace the program by a new one, and returns; nil: 501
	Ready   func() error                // says why the router is not ready yet; nil: it is

	Local     func(context.Context) bool           // whether a request came by the unix socket; nil: none did
	RequestID func(context.Context) string         // nil: requests have none
	Note      func(ctx context.Context, kv ...any) // adds to the line that the log has of a request; nil: nothing does
}

// An API is the handler of all requests below Base. Any number of goroutines may use it.
type API struct {
	opt     Options
	inspect *router.Inspector
	mux     *http.ServeMux
	openapi []byte
}

// New returns the API.
func New(opt Options) *API {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Local == nil {
		opt.Local = func(context.Context) bool { return false }
	}
	if opt.RequestID == nil {
		opt.RequestID = func(context.Context) string { return "" }
	}
	if opt.Note == nil {
		opt.Note = func(context.Context, ...any) {}
	}
	a := &API{opt: opt, inspect: opt.Engine.Inspect(), mux: http.NewServeMux()}
	a.openapi = document(opt.Version)
	byPath := map[string][]*route{}
	for i := range routes {
		byPath[routes[i].path] = append(byPath[routes[i].path], &routes[i])
	}
	for p, all := range byPath {
		a.mux.Handle(Base+p, a.methods(all))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, notFound("There is nothing at %s: %s/openapi.json lists the paths.", r.URL.Path, Base))
	})
	return a
}

// methods serves the routes of one path.
func (a *API) methods(all []*route) http.Handler {
	by, allow := map[string]*route{}, ""
	for _, rt := range all {
		by[rt.method] = rt
		if allow != "" {
			allow += ", "
		}
		allow += rt.method
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		rt := by[method]
		switch {
		case rt == nil:
			w.Header().Set("Allow", allow)
			a.fail(w, r, problemf(http.StatusMethodNotAllowed, "%s is not served here: try %s.", r.Method, allow))
		case rt.local && !a.opt.Local(r.Context()):
			a.fail(w, r, problemf(http.StatusForbidden, "%s is served by the unix socket only.", r.URL.Path))
		default:
			if r.Body != nil {
				r.Body = http.MaxBytesReader(w, r.Body, max(rt.longest, smallBody))
			}
			if err := rt.checkQuery(r); err != nil {
				a.fail(w, r, err)
				return
			}
			if err := rt.serve(a, w, r); err != nil {
				a.fail(w, r, err)
			}
		}
	})
}

// smallBody bounds the bodies of most requests, in bytes.
const smallBody = 64 << 10

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if p := path.Clean("/" + r.URL.Path); p != r.URL.Path && p+"/" != r.URL.Path {
		u := *r.URL
		u.Path, u.RawPath = p, ""
		r = r.Clone(r.Context())
		r.URL = &u
	}
	a.mux.ServeHTTP(w, r)
}

// answer writes a value as JSON.
func (a *API) answer(w http.ResponseWriter, r *http.Request, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(text, '\n')) // a client that has gone needs no answer
	}
	return nil
}

// writeTime is how long a client may take for a part of a stream.
const writeTime = 30 * time.Second

// A stream is an answer that is written in parts. Each part has to be taken within writeTime.
type stream struct {
	*bufio.Writer
	encode *json.Encoder
	begun  bool // some of it has been sent
}

// A slowWriter gives each write its time.
type slowWriter struct {
	http.ResponseWriter
	of *stream
}

func (w slowWriter) Write(b []byte) (int, error) {
	w.of.begun = true
	control := http.NewResponseController(w.ResponseWriter)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // a test's writer has no deadlines
	n, err := w.ResponseWriter.Write(b)
	if err == nil {
		err = ignoreUnsupported(control.Flush())
	}
	return n, err
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{}
	s.Writer = bufio.NewWriterSize(slowWriter{w, s}, 32<<10)
	s.encode = json.NewEncoder(s.Writer)
	return s
}

// end ends a stream. An error after a part has been sent can only be told by breaking the connection: what the client
// has is not the whole.
func (s *stream) end(err error) error {
	if err == nil {
		err = s.Flush()
	}
	if err != nil && s.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}
