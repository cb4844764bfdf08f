package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// few are bounds that a test reaches soon. A machine that is busy reaches none of the others.
func few() *bounds {
	b := usualBounds()
	b.body, b.wait = 50*time.Millisecond, 10*time.Millisecond
	return b
}

// What is too long, cut off, malformed or too slow is refused, and the handler does not see it.
func TestBodies(t *testing.T) {
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	impatient := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: few()})
	var seen atomic.Int64
	service := Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		echo(w, r)
	}), Routes: []Route{{Pattern: "/long", Body: 2 << 20}, {Pattern: "/stream", Stream: true, Body: 3 << 20}}}
	f.Serve(service)
	impatient.Serve(service)
	const head = " HTTP/1.1\r\nHost: localhost\r\n"
	chunked := func(n int) string {
		return head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n,
			strings.Repeat("x", n))
	}
	plain := func(n int) string {
		return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))
	}
	for _, c := range []struct {
		name, text string
		status     int
		want       string
	}{
		{"none", "PUT /" + head + "\r\n", 200, `"bytes":0`},
		{"the longest", "PUT /" + plain(1<<20), 200, `"bytes":1048576`},
		{"the longest, in chunks", "PUT /" + chunked(1<<20), 200, `"bytes":1048576`},
		{"of the length where long ones begin", "PUT /" + plain(64<<10), 200, `"bytes":65536`},
		{"too long", "PUT /" + head + "Content-Length: 1048577\r\n\r\n", 413, "1 MiB"},
		{"too long, in chunks", "PUT /v2.0/lbaas/x" + chunked(1<<20+1), 413, `"faultstring"`},
		{"longer, where that is allowed", "PUT /long" + plain(2<<20), 200, `"bytes":2097152`},
		{"too long even there", "PUT /long" + chunked(2<<20+1), 413, "2 MiB"},
		{"of a stream", "PUT /stream" + chunked(3<<20), 200, `"bytes":3145728`},
		{"too long for a stream", "PUT /stream" + chunked(3<<20+1), 400, "too large"},
		{"that does not come", "PUT /" + head + "Content-Length: 10\r\n\r\nabc", 408, "within 50ms"},
		{"whose long part does not come", "PUT /" + head + "Content-Length: 100000\r\n\r\n" +
			strings.Repeat("x", 70000), 408, "within 50ms"},
		{"that is malformed", "PUT /" + head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed"},
	} {
		before, at := seen.Load(), f
		if c.status == http.StatusRequestTimeout {
			at = impatient
		}
		status, header, body := at.raw(c.text)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("a body %s: %d %s, want %d with %s", c.name, status, body, c.status, c.want)
		}
		through := c.status == 200 || strings.Contains(c.name, "stream")
		if n := seen.Load() - before; (n == 1) != through {
			t.Errorf("a body %s: the handler was called %d times", c.name, n)
		}
		if !through && header.Get("Connection") != "close" {
			t.Errorf("a body %s: the rest of it is read: %v", c.name, header)
		}
	}
	for name, text := range map[string]string{
		"no HTTP": "hello\r\n\r\n", "two lengths": "PUT /" + head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
		"no length": "PUT /" + head + "Content-Length: x\r\n\r\n",
	} {
		if status, _, _ := f.raw(text); status != 400 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	before := seen.Load()
	c, err := net.Dial("tcp", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	text, _ := io.ReadAll(c) // the connection may be reset before the answer is read
	if seen.Load() != before || err == nil && len(text) > 0 && !strings.Contains(string(text), " 431 ") {
		t.Errorf("a header of 1 MiB: %v %s", err, text)
	}
}

// A connection on which a header does not come, or no further request, is closed.
func TestSlowConnections(t *testing.T) {
	impatient := few()
	impatient.header, impatient.idle = 50*time.Millisecond, 50*time.Millisecond
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: impatient})
	f.Serve(Service{Handler: http.HandlerFunc(echo)})
	for name, text := range map[string]string{"nothing": "", "half a header": "GET / HTTP/1.1\r\nHost: localhost\r\nX",
		"one request": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		c, err := net.Dial("tcp", f.tcp)
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
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: the connection is not closed: %v", name, err)
		}
	}
}

// So many requests are served at once, and others wait a while. Those that find no room are told to come back. A flood
// at one door is none at the other.
func TestFlood(t *testing.T) {
	impatient := usualBounds()
	impatient.wait = 10 * time.Millisecond
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: impatient})
	var now, most atomic.Int64
	flight := usualBounds().flight
	begun, enough := make(chan struct{}, flight), make(chan struct{})
	f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Local(r.Context()) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case begun <- struct{}{}:
			default: // one too many, which most tells
			}
			<-enough
			now.Add(-1)
		}
		echo(w, r)
	})})
	counts := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range flight + 20 {
		all.Go(func() {
			status, header, body := f.raw("POST /v2.0/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
			if status == 503 && (header.Get("Retry-After") == "" || !strings.Contains(body, "NeutronError")) {
				t.Errorf("%v %s", header, body)
			}
			mu.Lock()
			defer mu.Unlock()
			if counts[status]++; status == 503 && counts[503] == 20 {
				close(enough)
			}
		})
	}
	for range flight {
		select {
		case <-begun:
		case <-time.After(time.Minute):
			t.Fatalf("%d requests are served at once, want %d", now.Load(), flight)
		}
	}
	resp, err := f.client().Get("http://x/")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("by the other door: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	all.Wait()
	if most.Load() != int64(flight) || counts[200] != flight || counts[503] != 20 {
		t.Errorf("%d at once, answers %v, want %d", most.Load(), counts, flight)
	}
}

// So many connections are open at once. Another one is served when one of them ends.
func TestConnections(t *testing.T) {
	few := few()
	few.conns = 2
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: few})
	begun := make(chan struct{})
	f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			begun <- struct{}{}
			<-r.Context().Done()
			return
		}
		echo(w, r)
	})})
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", f.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-begun
		held = append(held, c)
	}
	third, err := net.Dial("tcp", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := io.WriteString(third, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served beside two")
	}
	held[0].Close()
	_ = third.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufioReader(third), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	if !resp.Close {
		t.Error("a connection is kept though others wait for one")
	}
}

// queued is a listener that has these connections, and then no more.
type queued struct {
	net.Listener
	conns []net.Conn
}

func (q *queued) Accept() (net.Conn, error) {
	if len(q.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := q.conns[0]
	q.conns = q.conns[1:]
	return c, nil
}

// from is a connection from an address.
type from struct {
	net.Conn
	at     net.Addr
	closed bool
}

func (f *from) RemoteAddr() net.Addr { return f.at }
func (f *from) Close() error         { f.closed = true; return nil }

// One host has a part of the connections only. What it has more is closed, and takes no place.
func TestConnectionsOfOneHost(t *testing.T) {
	comes := func(list ...string) (let string, open []net.Conn, b *bounded) {
		q := &queued{}
		for _, at := range list {
			q.conns = append(q.conns, &from{at: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at))})
		}
		all := append([]net.Conn(nil), q.conns...)
		b = &bounded{Listener: q, conns: make(chan struct{}, 16), done: make(chan struct{}),
			ofHosts: hostConns{most: 2, count: map[netip.Prefix]int{}}}
		for {
			c, err := b.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range all {
			let += map[bool]string{true: "-", false: "+"}[c.(*from).closed]
		}
		return let, open, b
	}
	for _, c := range []struct {
		name string
		from []string
		want string
	}{
		{"one host", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"}, "++-+"},
		{"the same in IPv6's form", []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:2", "[::ffff:192.0.2.1]:3"}, "++-"},
		{"one /64", []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8:0:1::1]:1"}, "++-+"},
		{"a link-local one", []string{"[fe80::1%eth0]:1", "[fe80::1%eth0]:2", "[fe80::1%eth0]:3"}, "++-"},
		{"programs of this host",
			[]string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::1]:1", "[::1]:2", "[::1]:3"}, "++++++"},
	} {
		let, open, b := comes(c.from...)
		if let != c.want {
			t.Errorf("%s: %s, want %s", c.name, let, c.want)
		}
		if len(b.conns) != len(open) {
			t.Errorf("%s: %d places are taken by %d connections", c.name, len(b.conns), len(open))
		}
		for _, c := range open {
			_, _ = c.Close(), c.Close()
		}
		if len(b.conns) != 0 || len(b.ofHosts.count) != 0 {
			t.Errorf("%s: after the end %d places are taken, by %v", c.name, len(b.conns), b.ofHosts.count)
		}
	}
}

// So many long bodies are on their way at once. Others are told to come back; short ones come beside them.
func TestLongBodies(t *testing.T) {
	one := usualBounds()
	one.bodies, one.wait = 1, time.Millisecond
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: one})
	f.Serve(Service{Handler: http.HandlerFunc(echo)})
	send := func(n int) (status int, body string) {
		status, _, body = f.raw(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", n,
			strings.Repeat("x", n)))
		return status, body
	}
	c, err := net.Dial("tcp", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"+
		strings.Repeat("x", bodySmall+1)); err != nil {
		t.Fatal(err)
	}
	await := func(want int) {
		t.Helper()
		for until := time.Now().Add(time.Minute); ; {
			status, body := send(bodySmall + 1)
			if status == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("a second long body: %d %s, want %d", status, body, want)
			}
		}
	}
	await(503) // when the first one is on its way
	if status, body := send(bodySmall - 1); status != 200 {
		t.Errorf("a short body: %d %s", status, body)
	}
	c.Close()
	await(200)
}

// A request that is over leaves its room to the next one.
func TestRoomIsGivenBack(t *testing.T) {
	one := usualBounds()
	one.flight, one.streams, one.wait = 1, 1, time.Millisecond
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: one})
	f.Serve(Service{Handler: http.HandlerFunc(echo), Routes: []Route{{Pattern: "/stream", Stream: true}}})
	for range 3 {
		for _, path := range []string{"/", "/stream"} {
			status, _, body := f.raw("PUT " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
			if status != 200 {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
}

// A client that takes nothing of its answer holds no place for ever.
func TestAnswersThatAreNotTaken(t *testing.T) {
	impatient := few()
	impatient.write = 50 * time.Millisecond
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}, bounds: impatient})
	patient := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	written := make(chan error, 1)
	service := Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		for block := make([]byte, 1<<20); err == nil; {
			if r.URL.Path == "/own" {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			}
			_, err = w.Write(block)
		}
		written <- err
	}), Routes: []Route{{Pattern: "/stream", Stream: true}, {Pattern: "/own", Stream: true}}}
	f.Serve(service)
	patient.Serve(service)
	for path, f := range map[string]*front{"/": f, "/stream": f, "/own": patient} {
		c, err := net.Dial("tcp", f.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-written:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(usualBounds().write * 9 / 10):
			t.Fatalf("%s: it is written for ever", path)
		}
	}
}

// The log has so many refusals, and the number of the others.
func TestRefusalsInTheLog(t *testing.T) {
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	f.Serve(Service{Handler: http.HandlerFunc(echo)})
	f.Server.refusals.SetLimit(0)
	c, err := net.Dial("tcp", f.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufioReader(c)
	ask := func() {
		if _, err := io.WriteString(c, "PUT / HTTP/1.1\r\nHost: evil\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 403 {
			t.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for range 80 {
		ask()
	}
	f.Server.refusals.SetLimit(rate.Inf)
	ask()
	f.Close()
	log := f.log.String()
	if n := strings.Count(log, "request refused"); n != 51 || !strings.Contains(log, "count=30") {
		t.Errorf("%d refusals in the log:\n%s", n, log)
	}
}

// What strangers choose takes little room in the log.
func TestLongTextsInTheLog(t *testing.T) {
	f := open(t, Options{Listen: []string{"127.0.0.1:0"}})
	f.Serve(Service{Handler: http.HandlerFunc(echo)})
	long := strings.Repeat("é", 9000)
	for _, text := range []string{
		"GET /" + strings.Repeat("x", 50000) + " HTTP/1.1\r\nHost: evil\r\n\r\n",
		strings.Repeat("G", 50000) + " / HTTP/1.1\r\nHost: evil\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 50000) + "\r\n\r\n",
		"GET /" + long + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		if status, header, _ := f.raw(text); status != 403 && status != 200 {
			t.Errorf("%.20q: %d %v", text, status, header)
		}
	}
	f.Close()
	n := 0
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, "request=") {
			n++
			if len(line) > 4*textMost || !strings.Contains(line, "...") || strings.Contains(line, "�") {
				t.Errorf("%d bytes: %.300q", len(line), line)
			}
		}
	}
	if n != 4 {
		t.Errorf("%d lines:\n%.3000s", n, f.log.String())
	}
}

// A Server that ends waits for requests in flight, but not for ever. Then no client can connect.
func TestClose(t *testing.T) {
	for _, patient := range []bool{true, false} {
		b := usualBounds()
		if !patient {
			b.end = 10 * time.Millisecond
		}
		f := open(t, Options{bounds: b})
		begun, goOn := make(chan struct{}), make(chan struct{})
		f.Serve(Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-goOn
			echo(w, r)
		})})
		answered := make(chan error)
		go func() {
			resp, err := f.client().Get("http://x/")
			if err == nil {
				resp.Body.Close()
			}
			answered <- err
		}()
		<-begun
		closed := make(chan struct{})
		go func() { f.Close(); close(closed) }()
		if patient {
			close(goOn)
			<-closed
		} else {
			<-closed
			close(goOn)
		}
		if err := <-answered; (err == nil) != patient {
			t.Errorf("patient: %v; the request in flight: %v", patient, err)
		}
		if _, err := net.Dial("unix", f.socket); err == nil {
			t.Error("one can connect to a Server that has ended")
		}
	}
}
