package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A record is a log that tests read while it is written.
type record struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{} // closed by the next line; nil: nobody waits for it
}

// Write implements io.Writer.
func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
	return r.b.Write(p)
}

// wait waits for a line that has a text, and returns all of them.
func (r *record) wait(t *testing.T, text string) (lines []string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		r.mu.Lock()
		for line := range strings.Lines(r.b.String()) {
			if strings.Contains(line, text) {
				lines = append(lines, line)
			}
		}
		if r.news == nil {
			r.news = make(chan struct{})
		}
		news := r.news
		r.mu.Unlock()
		if len(lines) > 0 {
			return lines
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("the log has nothing of %q:\n%s", text, r.String())
		}
	}
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// A front is a Server under test, with a socket and a TCP door.
type front struct {
	*Server
	t      *testing.T
	log    *record
	socket string
	tcp    string // host and port, if there is a door
}

const testToken = "0123456789abcdef"

func open(t *testing.T, opt Options) *front {
	t.Helper()
	f := &front{t: t, log: &record{}}
	if opt.Socket == "" {
		opt.Socket = filepath.Join(short(t), "s")
	}
	f.socket = opt.Socket
	opt.Logger = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f.Server = s
	if len(opt.Listen) > 0 {
		f.tcp = s.Addresses()[0]
	}
	return f
}

// short is a folder whose path fits a socket's.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		Fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	Note(r.Context(), "noted", len(body))
	Answer(w, r, http.StatusOK, map[string]any{"path": r.URL.Path, "bytes": len(body), "id": RequestID(r.Context()),
		"local": Local(r.Context())})
}

// client asks by the socket.
func (f *front) client() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", f.socket)
	}}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// raw sends text over TCP, and reads the answer.
func (f *front) raw(text string) (status int, header http.Header, body string) {
	f.t.Helper()
	return exchange(f.t, "tcp", f.tcp, text)
}

func exchange(t *testing.T, network, at, text string) (int, http.Header, string) {
	t.Helper()
	c, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufioReader(c), nil)
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Close {
		resp.Header.Set("Connection", "close") // ReadResponse takes it out
	}
	return resp.StatusCode, resp.Header, string(b)
}

// Who may come in, by Host, Origin and token.
func TestGate(t *testing.T) {
	loopback := open(t, Options{Listen: []string{"127.0.0.1:0"}, AllowedHosts: []string{"lab.example."}})
	guarded := open(t, Options{Listen: []string{"127.0.0.1:0"}, TokenFile: write(t, "token", testToken+"\n")})
	for _, f := range []*front{loopback, guarded} {
		f.Serve(Service{Handler: http.HandlerFunc(echo),
			Routes: []Route{{Pattern: "GET /{$}", Open: true}, {Pattern: "/taprouter/v1/debug/", Local: true},
				{Pattern: "POST /identity/v3/auth/tokens", Open: true}, {Pattern: "GET /named/{name}", Open: true}},
			User: func(text string) (string, bool) { return "eve", text == "given-out" }})
	}
	basic := func(password string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth("bob", password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for _, c := range []struct {
		name    string
		front   *front
		method  string
		path    string
		headers string // a line each
		status  int
		want    string // in the body
	}{
		{"loopback", loopback, "GET", "/v2.0/networks", "Host: 127.0.0.1:9696", 200, `"local":false`},
		{"localhost", loopback, "POST", "/v2.0/networks", "Host: LocalHost.", 200, ""},
		{"IPv6 loopback", loopback, "GET", "/", "Host: [::1]:80", 200, ""},
		{"a configured name", loopback, "GET", "/", "Host: lab.EXAMPLE:1", 200, ""},
		{"DNS rebinding", loopback, "GET", "/v2.0/networks", "Host: evil.example", 403, "--allowed-host"},
		{"DNS rebinding to /", loopback, "GET", "/", "Host: evil.example:9696", 403, "evil.example"},
		{"another address", loopback, "GET", "/", "Host: 10.0.0.1", 403, `"NeutronError"`},
		{"a name that begins well", loopback, "GET", "/", "Host: localhost.evil.example", 403, ""},
		{"no Host", loopback, "GET", "/", "Host:", 403, ""},
		{"a page's form", loopback, "POST", "/v2.0/networks",
			"Host: localhost:9696\r\nOrigin: http://evil.example\r\nContent-Type: text/plain", 403, "another site"},
		{"a page that hides its name", loopback, "POST", "/v2.0/lbaas/pools", "Host: localhost\r\nOrigin: null", 403,
			`"faultstring"`},
		{"a page on another port", loopback, "DELETE", "/v2.0/networks/x",
			"Host: localhost:9696\r\nOrigin: http://localhost:3000", 403, ""},
		{"two pages", loopback, "GET", "/", "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://x", 403, ""},
		{"its own page", loopback, "POST", "/v2.0/networks",
			"Host: localhost:9696\r\nOrigin: http://localhost:9696", 200, ""},
		{"a browser that names no page", loopback, "POST", "/v2.0/networks",
			"Host: localhost\r\nSec-Fetch-Site: cross-site", 403, ""},
		{"only for the socket", loopback, "GET", "/taprouter/v1/debug/pprof/", "Host: localhost", 403, `"error"`},
		{"the same by detours", loopback, "GET", "/x/..//taprouter/v1/debug/pprof", "Host: localhost", 403, ""},
		{"the same with an encoded slash", loopback, "GET", "/taprouter/v1/debug%2Fpprof", "Host: localhost", 403, ""},

		{"of the server as a whole", loopback, "OPTIONS", "*", "Host: evil.example", 403, ""},
		{"of the server as a whole, without a token", guarded, "OPTIONS", "*", "Host: x", 401, ""},
		{"no token", guarded, "GET", "/v2.0/networks", "Host: any.example", 401, `"HTTPUnauthorized"`},
		{"a wrong token", guarded, "GET", "/v2.0/lbaas/pools", "Host: x\r\nX-Auth-Token: 0123456789abcdeX", 401,
			`"faultcode":"Client"`},
		{"the beginning of a token", guarded, "GET", "/compute/v2.1/servers", "Host: x\r\nX-Auth-Token: 0123456789",
			401,
			`"title":"Unauthorized"`},
		{"an empty token", guarded, "GET", "/identity/v3/projects", "Host: x\r\nX-Auth-Token:", 401, `"code":401`},
		{"the token", guarded, "POST", "/v2.0/networks", "Host: x\r\nX-Auth-Token: " + testToken, 200, ""},
		{"Bearer", guarded, "GET", "/v2.0/networks", "Host: x\r\nAuthorization: bearer " + testToken, 200, ""},
		{"Basic", guarded, "DELETE", "/v2.0/networks", "Host: x\r\n" + basic(testToken), 200, ""},
		{"a wrong Basic", guarded, "GET", "/v2.0/networks", "Host: x\r\n" + basic("x"), 401, ""},
		{"another scheme", guarded, "GET", "/v2.0/networks", "Host: x\r\nAuthorization: Digest " + testToken, 401, ""},
		{"a token of the handler", guarded, "PUT", "/v2.0/networks", "Host: x\r\nX-Auth-Token: given-out", 200, ""},
		{"a token and a page", guarded, "PUT", "/v2.0/networks",
			"Host: x\r\nOrigin: http://y\r\nX-Auth-Token: " + testToken, 403, ""},
		{"open", guarded, "GET", "/", "Host: x", 200, ""},
		{"open, for its method only", guarded, "POST", "/", "Host: x", 401, ""},
		{"a login", guarded, "POST", "//identity/v3/auth/tokens", "Host: x", 200, ""},
		{"an open name", guarded, "GET", "/named/a", "Host: x", 200, ""},
		{"an open name that is two segments to others", guarded, "GET", "/named/a%2Fb", "Host: x", 401, ""},
		{"what only looks like a login", guarded, "POST", "/identity/v3/auth%2Ftokens", "Host: x", 401, ""},
	} {
		status, header, body := c.front.raw(c.method + " " + c.path + " HTTP/1.1\r\n" + c.headers +
			"\r\nContent-Length: 2\r\n\r\n{}")
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", c.name, status, body, c.status, c.want)
		}
		if !strings.HasPrefix(header.Get("X-Openstack-Request-Id"), "req-") || !json.Valid([]byte(body)) ||
			header.Get("Content-Type") != "application/json" ||
			(status == 401) != (header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %v %s", c.name, header, body)
		}
	}
	guarded.Close()
	log := guarded.log.String()
	for _, user := range []string{"user=token noted=2", "user=basic:bob noted=2", "user=login:eve noted=2"} {
		if !strings.Contains(log, user) {
			t.Errorf("%q is not in the log:\n%s", user, log)
		}
	}
	if strings.Contains(log, testToken) {
		t.Error("the token is in the log")
	}
}

// A change leaves one line in the log, with who, what, and what the handler has noted. Reading leaves none.
func TestAudit(t *testing.T) {
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("on purpose")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		Note(r.Context(), "revision", 7)
		echo(w, r)
	}), Routes: []Route{{Pattern: "/open", Open: true}}})
	client := f.client()
	ask := func(method, path, body string) (int, string, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://any"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var o map[string]any
		_ = json.NewDecoder(resp.Body).Decode(&o) // an answer without a body is none
		return resp.StatusCode, resp.Header.Get("X-Openstack-Request-Id"), o
	}
	// logged waits for the line, which is written after the answer.
	logged := func(id string, want ...string) {
		t.Helper()
		got := f.log.wait(t, "request="+id+" ")
		if len(got) != 1 {
			t.Fatalf("the log has %q of %s", got, id)
		}
		for _, w := range want {
			if !strings.Contains(got[0], w) {
				t.Errorf("%q is not in %s", w, got[0])
			}
		}
	}
	status, id, o := ask("PUT", "/v2.0/x%0a%1b", `{}`)
	if status != 200 || o["id"] != id || o["local"] != true {
		t.Errorf("%d %s %v", status, id, o)
	}
	logged(id, append(whoAmI(), "level=INFO", "method=PUT", "path=/v2.0/x%0a%1b", "status=200", "revision=7",
		"noted=2")...)
	status, id, _ = ask("DELETE", "/nothing", "")
	if status != 204 {
		t.Error(status)
	}
	logged(id, "level=INFO", "status=204")
	_, id, _ = ask("GET", "/v2.0/x", "")
	logged(id, "level=DEBUG")
	_, id, _ = ask("POST", "/open", "")
	logged(id, "level=DEBUG")
	status, id, o = ask("POST", "/panic", "")
	if status != 500 || o["NeutronError"] == nil {
		t.Errorf("a panic: %d %v", status, o)
	}
	logged(id, "level=ERROR", "on purpose", "status=500")
}

// A client sees that an answer is cut off by a panic: it is not the whole.
func TestPanicInAnAnswer(t *testing.T) {
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "half of it")
		w.(http.Flusher).Flush()
		panic("on purpose")
	})})
	resp, err := http.Get("http://" + f.tcp + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil || string(text) != "half of it\n" {
		t.Errorf("%q, %v", text, err)
	}
	if line := f.log.wait(t, "on purpose")[0]; !strings.Contains(line, "level=ERROR") ||
		!strings.Contains(line, "status=500") {
		t.Error(line)
	}
}

// What a flag may not say is refused in words that say what to do.
func TestRefusedOptions(t *testing.T) {
	token := write(t, "token", testToken)
	dir := short(t)
	file := write(t, "file", "")
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"beyond loopback", Options{Listen: []string{"0.0.0.0:0"}}, "--token-file, --tls-cert and --tls-key"},
		{"every address", Options{Listen: []string{":0"}}, "other hosts reach this address"},
		{"with a token, without TLS", Options{Listen: []string{"[::]:0"}, TokenFile: token}, "--tls-cert"},
		{"no port", Options{Listen: []string{"127.0.0.1"}}, "ADDRESS:PORT"},
		{"half a certificate", Options{CertFile: file}, "go together"},
		{"no certificate", Options{CertFile: file, KeyFile: file}, file},
		{"no such certificate", Options{CertFile: file + "x", KeyFile: file}, file + "x"},
		{"a token for nobody", Options{TokenFile: token}, "--listen"},
		{"no token", Options{Listen: []string{"127.0.0.1:0"}, TokenFile: file}, "openssl rand"},
		{"a short token", Options{Listen: []string{"127.0.0.1:0"}, TokenFile: write(t, "t", "short\n")}, "16 or more"},
		{"a long token", Options{Listen: []string{"127.0.0.1:0"}, TokenFile: write(t, "t", strings.Repeat("x", 2000))},
			"1024 bytes"},
		{"two lines", Options{Listen: []string{"127.0.0.1:0"}, TokenFile: write(t, "t", testToken+"\n"+testToken)},
			"one line"},
		{"no such token", Options{Listen: []string{"127.0.0.1:0"}, TokenFile: file + "x"}, file + "x"},
		{"no folder for the socket", Options{Socket: filepath.Join(dir, "no", "s")}, "no such file"},
		{"a long path", Options{Socket: filepath.Join(dir, strings.Repeat("x", 200))}, "choose a shorter one"},
	} {
		if c.opt.Socket == "" {
			c.opt.Socket = "none"
		}
		s, err := Open(c.opt)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

// Streams have a bound of their own, may last, and end with the Server.
func TestStreams(t *testing.T) {
	f := open(t, Options{})
	begun := make(chan struct{}, usualBounds().streams)
	f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			echo(w, r)
			return
		}
		fmt.Fprintln(w, "hello")
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}), Routes: []Route{{Pattern: "GET /events", Stream: true}}})
	client := f.client()
	var streams []*http.Response
	for range usualBounds().streams {
		resp, err := client.Get("http://x/events")
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		defer resp.Body.Close()
		streams = append(streams, resp)
		<-begun
	}
	resp, err := client.Get("http://x/events")
	if err != nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one stream too many: %v %v", resp, err)
	}
	resp.Body.Close()
	if resp, err := client.Get("http://x/other"); err != nil || resp.StatusCode != 200 {
		t.Errorf("beside the streams: %v %v", resp, err)
	}
	f.Close()
	for _, s := range streams {
		text, err := io.ReadAll(s.Body)
		if err != nil || string(text) != "hello\n" {
			t.Errorf("a stream that the Server ends: %q %v", text, err)
		}
	}
}
