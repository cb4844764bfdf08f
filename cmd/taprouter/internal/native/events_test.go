package native_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/native"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// A reader reads the events of a world.
type reader struct {
	t      *testing.T
	lines  *bufio.Scanner
	status int
	close  func()
}

func (w *world) read(t *testing.T, last string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+native.Base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t, bufio.NewScanner(res.Body), res.StatusCode, func() { cancel(); res.Body.Close() }}
	r.lines.Buffer(nil, 1<<20)
	t.Cleanup(r.close)
	return r
}

// next is the next event: id, kind and data.
func (r *reader) next() (id, kind, data string) {
	r.t.Helper()
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				return id, kind, data
			}
		}
	}
	r.t.Fatalf("the events end: %v", r.lines.Err())
	return "", "", ""
}

// rename gives the router another name, which is a change.
func (w *world) rename(name string) {
	w.t.Helper()
	if _, err := w.opt.Control.Edit(context.Background(), func(d *config.Draft) error {
		for o := range d.Of(config.KindRouter) {
			r := *o.(*config.Router)
			r.Name = name
			d.Put(&r)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t, nil)
	began := w.engine.State().Version()
	r := w.read(t, fmt.Sprint(began))
	w.rename("one")
	first, kind, data := r.next()
	if first != fmt.Sprint(w.engine.State().Version()) || kind != "applied" ||
		!strings.Contains(data, `router \"one\"`) {
		t.Errorf("%s %s %s", first, kind, data)
	}
	w.events.Happened(router.Event{Kind: router.DeviceLost, Network: "tenant", Device: "tap:tenant0"})
	w.events.Happened(router.Event{Kind: router.Applied}) // Changed has told of it
	second, kind, data := r.next()
	if second != first+".1" || kind != "device-lost" || !strings.Contains(data, `"device":"tap:tenant0"`) {
		t.Errorf("%s %s %s", second, kind, data)
	}
	w.rename("two")
	third, _, _ := r.next()
	// One that comes back goes on where it was: at an event, or at a revision.
	for last, want := range map[string]string{fmt.Sprint(began): first, first: second, second: third} {
		if id, kind, _ := w.read(t, last).next(); id != want || kind == "resync" {
			t.Errorf("after %s comes %s %s, want %s", last, id, kind, want)
		}
	}
	// One that was elsewhere, or is from before, begins anew.
	for _, last := range []string{"0", fmt.Sprint(began + 1000), third + ".7"} {
		if id, kind, _ := w.read(t, last).next(); id != third || kind != "resync" {
			t.Errorf("after %s comes %s %s, want a resync at %s", last, id, kind, third)
		}
	}
	for _, last := range []string{"x", "1.0", "1.2.3", "-1", "1."} {
		if a := w.do("GET", "/events?last_event_id="+last, ""); a.status != http.StatusBadRequest {
			t.Errorf("%s: %v", last, a)
		}
	}
}

// Events are kept for a while only.
func TestOldEventsAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	last := fmt.Sprint(w.engine.State().Version())
	for range 1100 {
		w.events.Happened(router.Event{Kind: router.DeviceUp, Reason: strings.Repeat("x", 100)})
	}
	if _, kind, _ := w.read(t, last).next(); kind != "resync" {
		t.Errorf("got %s", kind)
	}
	if _, kind, _ := w.read(t, last+".1000").next(); kind != "device-up" {
		t.Errorf("got %s", kind)
	}
	// Large ones are kept for a shorter while.
	for range 20 {
		w.events.Happened(router.Event{Kind: router.DeviceUp, Reason: strings.Repeat("x", 1<<20)})
	}
	if _, kind, _ := w.read(t, last+".1050").next(); kind != "resync" {
		t.Errorf("got %s", kind)
	}
}

// The number of readers is bounded, and one that goes makes room.
func TestThousandReaders(t *testing.T) {
	w := newWorld(t, nil)
	in, refused := 0, 0
	var last *reader
	for range 200 {
		switch r := w.read(t, ""); r.status {
		case http.StatusOK:
			in++
			last = r
		case http.StatusServiceUnavailable:
			refused++
			r.close()
		}
	}
	if in != 64 || refused != 136 {
		t.Errorf("%d have come in, and %d were refused", in, refused)
	}
	last.close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if r := w.read(t, ""); r.status == http.StatusOK {
			break
		} else if r.close(); time.Now().After(deadline) {
			t.Fatal("one that has gone makes no room")
		}
	}
}

// A stuckWriter takes no more than some writes until it is let go.
type stuckWriter struct {
	header http.Header
	got    strings.Builder
	free   chan struct{}
	after  int
}

func (s *stuckWriter) Header() http.Header { return s.header }
func (s *stuckWriter) WriteHeader(int)     {}
func (s *stuckWriter) Write(b []byte) (int, error) {
	if s.after--; s.after < 0 {
		<-s.free
	}
	return s.got.Write(b)
}

// A client that does not read holds up no other client. When it reads again, it is told that it has missed something,
// and cut.
func TestSlowReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := router.Start(config.Empty(), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		events := native.NewEvents(7)
		api := native.New(native.Options{Engine: e, Events: events})
		w := &stuckWriter{header: http.Header{}, free: make(chan struct{}), after: 2}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, native.Base+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); api.ServeHTTP(w, req) }()
		synctest.Wait()
		for range 3000 {
			events.Happened(router.Event{Kind: router.DeviceUp})
		}
		synctest.Wait()
		close(w.free)
		<-done // without the end of the request
		if got := w.got.String(); !strings.HasSuffix(got, "\n\n") || !strings.Contains(got, "event: resync\n") {
			t.Errorf("%.2000s", got[max(0, len(got)-500):])
		}
	})
}

// A client that hears nothing for long knows by comments that the connection stands.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := router.Start(config.Empty(), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		api := native.New(native.Options{Engine: e, Events: native.NewEvents(7)})
		w := &stuckWriter{header: http.Header{}, after: 1 << 20}
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, native.Base+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); api.ServeHTTP(w, req) }()
		time.Sleep(time.Minute) // of the bubble
		cancel()
		<-done
		if n := strings.Count(w.got.String(), ": still here"); n < 3 {
			t.Errorf("%d signs of life in a minute", n)
		}
	})
}

// Readers, changes and traffic at the same time: for the race detector.
func TestReadersDuringChanges(t *testing.T) {
	w := newWorld(t, nil)
	inside, outside := w.host("tenant", "172.16.100.9"), w.host("ext_net", "10.10.10.4")
	l, err := outside.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	conn, err := inside.Dial("tcp", "10.10.10.4:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := w.read(t, "")
	for k := range 20 {
		done := make(chan struct{})
		go func() { defer close(done); w.rename(fmt.Sprint("r", k)) }()
		for _, path := range []string{"/connections", "/neighbors", "/routes", "/nat", "/vips", "/status", "/drops",
			"/devices", "/metrics", "/floating-ips", "/healthz"} {
			if a := w.do("GET", path, ""); a.status != http.StatusOK {
				t.Errorf("%s: %v", path, a)
			}
		}
		<-done
		if _, kind, _ := r.next(); kind != "applied" {
			t.Errorf("got %s", kind)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// No query makes a filter panic, or is a filter for everything by mistake.
func FuzzFilter(f *testing.F) {
	f.Add("src=10.0.0.1&protocol=tcp&state=NEW&port=80")
	f.Add("dst=10.0.0.0/8&reply_src=::1&limit=3")
	f.Add("sport=0&%zz")
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, query string) {
		req, err := http.NewRequest(http.MethodGet, "http://localhost"+native.Base+"/connections", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.RawQuery = query
		out := &stuckWriter{header: http.Header{}, after: 1 << 20}
		w.api.ServeHTTP(out, req)
		if got := out.got.String(); !strings.HasPrefix(got, `{"connections":[`) &&
			!strings.Contains(got, `"status":400`) {
			t.Errorf("%q: %s", query, got)
		}
	})
}

// No body of apply makes the API panic, and one that is refused changes nothing.
func FuzzApply(f *testing.F) {
	f.Add([]byte(cloud), `"2"`)
	f.Add([]byte("[[network]]\nname = \"x\"\n"), "*")
	f.Add([]byte("\x00\xff"), `W/"1"`)
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, body []byte, match string) {
		req, err := http.NewRequest(http.MethodPost, "http://localhost"+native.Base+"/apply",
			strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["If-Match"] = []string{match}
		before := w.engine.State()
		out := &stuckWriter{header: http.Header{}, after: 1 << 20}
		w.api.ServeHTTP(out, req)
		if got := out.got.String(); !strings.HasPrefix(got, `{"revision":`) && w.engine.State() != before {
			t.Errorf("refused, and changed: %s", got)
		}
	})
}
