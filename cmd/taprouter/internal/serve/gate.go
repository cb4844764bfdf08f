package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// serve takes a request through the door, in this order: may it come in, is there room for it, and is its body there.
// Only then the handler sees it.
func (s *Server) serve(d *door, w http.ResponseWriter, r *http.Request) {
	v := &visit{id: newRequestID(), door: d}
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
	rec := &recorder{ResponseWriter: w, patience: d.bounds.write}
	rec.Header().Set("X-Openstack-Request-Id", v.id)
	if 4*len(d.conns) > 3*cap(d.conns) {
		rec.Header().Set("Connection", "close") // others wait for a connection
	}
	r.URL = cleaned(r.URL)
	rt := s.route(r)
	rec.stream = rt.Stream
	refused := true
	defer func() { s.logged(v, r, rt, rec, refused) }()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d.bounds.body + d.bounds.wait + d.bounds.write))
	leave, reason := s.enter(d, v, rt, rec, r)
	if reason != nil {
		s.refuse(rec, r, reason)
		return
	}
	defer leave()
	refused = false
	if rt.Stream {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		r = r.WithContext(ctx)
	}
	s.serveSafely(s.service.Handler, rec, r)
}

// A reason is why a request is refused before it reaches the handler.
type reason struct {
	status  int
	message string
}

// refuse answers a request that may not come in. What is left of its body is not read.
func (s *Server) refuse(w *recorder, r *http.Request, why *reason) {
	switch why.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="taprouter"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	Fail(w, r, why.status, why.message)
}

// enter says why a request may not come in, or gets what it needs. leave gives the room back.
func (s *Server) enter(d *door, v *visit, rt *Route, w *recorder, r *http.Request) (leave func(), why *reason) {
	if why := s.admit(d, v, rt, r); why != nil {
		return nil, why
	}
	most := int64(bodyMost)
	if rt.Body > 0 {
		most = rt.Body
	}
	if rt.Stream {
		select {
		case d.streams <- struct{}{}:
		default:
			return nil, &reason{http.StatusTooManyRequests, "There are too many streams at once; end one of them."}
		}
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
		r.Body = http.MaxBytesReader(w, r.Body, most)
		return func() { <-d.streams }, nil
	}
	// The body comes first: while it is on its way, the request takes no place.
	if why := readBody(d, w, r, most); why != nil {
		return nil, why
	}
	if !d.acquire(r.Context(), d.flight) {
		return nil, &reason{http.StatusServiceUnavailable, "Too many requests are being served; try again."}
	}
	return func() { <-d.flight }, nil
}

// acquire waits a while for room.
func (d *door) acquire(ctx context.Context, room chan struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(d.bounds.wait)
	defer wait.Stop()
	select {
	case room <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

// readBody reads the whole body, within its bounds of length and time.
func readBody(d *door, w *recorder, r *http.Request, most int64) *reason {
	long := &reason{http.StatusRequestEntityTooLarge, "The body is longer than " + bytesText(most) + "."}
	switch {
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		return nil
	case r.ContentLength > most:
		return long
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(d.bounds.body)) // a recorder's connection has deadlines
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	body := http.MaxBytesReader(w, r.Body, most)
	var text bytes.Buffer
	_, err := io.CopyN(&text, body, bodySmall)
	if err == nil { // there may be more
		if !d.acquire(r.Context(), d.bodies) {
			return &reason{http.StatusServiceUnavailable, "Too many long bodies are on their way; try again."}
		}
		defer func() { <-d.bodies }()
		_, err = io.Copy(&text, body)
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return long
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &reason{http.StatusRequestTimeout, "The body has not come within " + d.bounds.body.String() + "."}
	case err != nil && !errors.Is(err, io.EOF):
		return &reason{http.StatusBadRequest, "The body cannot be read: it is cut off, or malformed."}
	}
	r.Body = io.NopCloser(&text)
	r.ContentLength = int64(text.Len())
	r.TransferEncoding = nil
	return nil
}

func bytesText(n int64) string {
	if n%(1<<20) == 0 {
		return strconv.FormatInt(n>>20, 10) + " MiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// cleaned takes out of a URL what users write too much in a base URL. A slash at the end stays: it may have a meaning.
func cleaned(u *url.URL) *url.URL {
	p := path.Clean("/" + u.Path)
	if p != "/" && strings.HasSuffix(u.Path, "/") {
		p += "/"
	}
	if p == u.Path {
		return u
	}
	v := *u
	v.Path, v.RawPath = p, ""
	return &v
}

// route finds what holds for a request. A path with encoded slashes is judged by both readings: it is as closed as the
// one, and as open as none.
func (s *Server) route(r *http.Request) *Route {
	find := func(r *http.Request) *Route {
		h, _ := s.routes.Handler(r)
		if rt, ok := h.(*Route); ok {
			return rt
		}
		return &Route{}
	}
	rt := find(r)
	if r.URL.RawPath == "" {
		return rt
	}
	u := *r.URL
	u.RawPath = ""
	other := find(&http.Request{Method: r.Method, Host: r.Host, URL: &u})
	both := *rt
	both.Open = rt.Open && other.Open
	both.Local = rt.Local || other.Local
	return &both
}

// admit says why a request may not come in.
func (s *Server) admit(d *door, v *visit, rt *Route, r *http.Request) *reason {
	if d.local {
		return nil
	}
	if rt.Local {
		return &reason{http.StatusForbidden, "This is only for clients of the socket."}
	}
	token := s.secrets.Load().token
	if token == nil && !s.meant(r.Host) {
		return &reason{http.StatusForbidden, "The name " + r.Host + " is none that this router may be called by: use " +
			"localhost or a loopback address, or start the router with --allowed-host."}
	}
	if foreign(r) {
		return &reason{http.StatusForbidden, "A page of another site has asked for this, which is not allowed."}
	}
	if token == nil || rt.Open {
		return nil
	}
	if v.user = s.userOf(r, token); v.user == "" {
		return &reason{http.StatusUnauthorized, "The request you have made requires authentication: the token of the " +
			"router, as X-Auth-Token, as Authorization: Bearer, or as the password of Authorization: Basic."}
	}
	return nil
}

// userOf names the user that has sent a request, by its token; empty: a user without the right.
func (s *Server) userOf(r *http.Request, token *secret) string {
	given, user := r.Header.Get("X-Auth-Token"), "token"
	if given == "" {
		if name, password, ok := r.BasicAuth(); ok {
			given, user = password, "basic:"+name
		} else if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok &&
			strings.EqualFold(scheme, "Bearer") {
			given = strings.TrimSpace(rest)
		}
	}
	if token.equals(given) {
		return user
	}
	if s.service.User != nil {
		if name, ok := s.service.User(given); ok {
			return "login:" + name
		}
	}
	return ""
}

// meant says whether a Host means this router. A web page can have its own name lead to a loopback address (DNS
// rebinding), and its requests say the name.
func (s *Server) meant(host string) bool {
	name := hostname(host)
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap().IsLoopback() || s.hosts[name]
	}
	return name == "localhost" || s.hosts[name]
}

// hostname is the name in a Host, in lower case, without port, brackets and the dot at its end.
func hostname(host string) string {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// foreign says whether a browser sends a request for the page of another site. Browsers say which page it is, and
// programs do not.
func foreign(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	return http.NewCrossOriginProtection().Check(r) != nil // by Sec-Fetch-Site
}
