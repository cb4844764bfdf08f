package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A visit is a request with what is known about it.
type visit struct {
	id   string
	door *door

	mu   sync.Mutex
	user string // who the client says, and has shown, that it is
	said []any  // keys and values of Note
}

// visitKey is the key of a visit in the context of its request.
type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// RequestID is the id of a request, by its context: what X-Openstack-Request-Id has in the answer. It is empty for a
// request that did not come through a Server.
func RequestID(ctx context.Context) string {
	if v := visitOf(ctx); v != nil {
		return v.id
	}
	return ""
}

// Local says whether a request came by the unix socket.
func Local(ctx context.Context) bool {
	v := visitOf(ctx)
	return v != nil && v.door.local
}

// noteMost bounds what Note keeps of a request.
const noteMost = 32

// Note adds keys and values to the line that the log gets for a request. It does nothing for a request that did not
// come through a Server.
func Note(ctx context.Context, keysAndValues ...any) {
	v := visitOf(ctx)
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.said)+len(keysAndValues) <= noteMost {
		v.said = append(v.said, keysAndValues...)
	}
}

// logged is the line of a request in the log. A change always gets one, at Info. What was refused before it reached
// the API gets one as well, but not so many that they hide the rest. The others have one at Debug.
func (s *Server) logged(v *visit, r *http.Request, rt *Route, w *recorder, refused bool) {
	level := slog.LevelDebug
	switch {
	case w.status >= http.StatusInternalServerError && !refused:
		level = slog.LevelError
	case refused || rt.Open && w.status >= http.StatusBadRequest:
		level = slog.LevelInfo
		if !s.log.Enabled(r.Context(), level) {
			return
		}
		if !s.refusals.Allow() {
			s.unlogged.Add(1)
			return
		}
		if n := s.unlogged.Swap(0); n > 0 {
			s.log.Info("requests were refused that the log does not have", "count", n)
		}
	case changes(r) && !rt.Open:
		level = slog.LevelInfo
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	what := "request served"
	if w.status >= http.StatusBadRequest {
		what = "request refused"
	}
	line := []any{"request", v.id, "method", r.Method, "path", r.URL.EscapedPath(), "status", w.status}
	line = append(line, v.who(r)...)
	v.mu.Lock()
	line = append(line, v.said...)
	v.mu.Unlock()
	for i, x := range line {
		if text, ok := x.(string); ok && len(text) > textMost {
			line[i] = strings.ToValidUTF8(text[:textMost], "") + "..."
		}
	}
	s.log.Log(r.Context(), level, what, line...)
}

// textMost bounds a text in the line of a request, in bytes: strangers choose paths, methods and names, and may fill
// the disk with them.
const textMost = 1024

// changes says whether a request may change something.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// who is the client, for the log.
func (v *visit) who(r *http.Request) []any {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []any
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		list = append(list, "uid", p.uid, "pid", p.pid)
	} else if !v.door.local {
		list = append(list, "remote", r.RemoteAddr)
	}
	if v.user != "" {
		list = append(list, "user", v.user)
	}
	return list
}

// A peer is the process at the other end of a unix socket, as it was when it connected.
type peer struct{ uid, pid int }

// peerKey is the key of a connection's peer in the context of its requests.
type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = u.NetConn()
	}
	if p, ok := peerOf(c); ok {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}

// A recorder remembers an answer's status, and bounds the time for which a client may take nothing of it.
type recorder struct {
	http.ResponseWriter
	status   int
	stream   bool          // the time counts for each write by itself
	patience time.Duration // that time
	own      bool          // the handler has set another time
}

// SetWriteDeadline is for http.ResponseController. A handler that sets a time has to set all of them.
func (w *recorder) SetWriteDeadline(t time.Time) error {
	w.own = true
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // others come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (w *recorder) Flush() { _ = w.FlushError() }

// FlushError is for http.ResponseController.
func (w *recorder) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *recorder) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.stream && !w.own {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience))
	}
}

// serveSafely has a handler answer. A panic is an error of this request, and of no other.
func (s *Server) serveSafely(h http.Handler, w *recorder, r *http.Request) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			Note(r.Context(), "panic", fmt.Sprint(v))
			if w.status != 0 {
				w.status = http.StatusInternalServerError // as the log has it
				panic(http.ErrAbortHandler)
			}
			Fail(w, r, http.StatusInternalServerError, "Internal server error while processing your request.")
		}
	}()
	h.ServeHTTP(w, r)
	w.begin()
}

// newRefusals is how many refusals the log gets: ten a second, fifty at once.
func newRefusals() *rate.Limiter { return rate.NewLimiter(10, 50) }
