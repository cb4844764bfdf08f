package host_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/taprouter/taprouter/router/host"
)

func TestServeName(t *testing.T) {
	a, b := pair(t, false)
	if err := b.ServeName(8080); err != nil {
		t.Fatal(err)
	}
	c, err := a.DialFrom(within(t), "tcp", ":40001", address(b, 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /any/page HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\r\n\r\nb\nclient 10.10.10.4:40001\n"; len(page) < len(want) ||
		string(page[len(page)-len(want):]) != want {
		t.Errorf("got %q", page)
	}
}

// Every request is a connection of its own, so that a load balancer sees it.
func TestHTTPClientKeepsNothing(t *testing.T) {
	a, b := pair(t, false)
	seen := map[string]bool{}
	if err := b.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	})); err != nil {
		t.Fatal(err)
	}
	client := a.HTTPClient()
	for range 5 {
		res, err := client.Get("http://" + addrB + "/")
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		seen[string(page)] = true
	}
	if len(seen) != 5 {
		t.Errorf("five requests came over %d connections", len(seen))
	}
}

func TestServePortInUse(t *testing.T) {
	a, _ := pair(t, false)
	if err := errors.Join(a.ServeName(80), a.ServeEcho(7)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"name": a.ServeName(80), "echo": a.ServeEcho(7),
		"http": a.ListenAndServe(":7", nil)} {
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The half that could be had is given back.
	l, err := a.ListenPacket("udp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ServeEcho(9); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("echo beside a UDP socket: %v", err)
	}
	l.Close()
	if err := a.ServeEcho(9); err != nil {
		t.Errorf("echo afterwards: %v", err)
	}
}

// The services of a benchmark's hosts.
func benchmarkTransfer(b *testing.B, offload bool) {
	h1, h2 := pair(b, offload)
	client, server := connect(b, h1, h2)
	done := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, server)
		done <- err
	}()
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkTCP(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkTransfer(b, false) })
	b.Run("offload", func(b *testing.B) { benchmarkTransfer(b, true) })
}

func BenchmarkPing(b *testing.B) {
	h1, h2 := pair(b, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h1.PingWith(b.Context(), h2.Address(), host.PingOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHTTP(b *testing.B) {
	h1, h2 := pair(b, false)
	if err := h2.ServeName(80); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		get(b, h1, "http://"+addrB+"/")
	}
}

// A service that has stopped is like a program that has ended: its connections are
// over, no client gets in, and it may start again.
func TestStopServing(t *testing.T) {
	a, b := pair(t, false)
	if err := errors.Join(b.ServeName(80), b.ServeEcho(7)); err != nil {
		t.Fatal(err)
	}
	open := map[uint16]net.Conn{}
	for _, port := range []uint16{80, 7} {
		c, err := a.Dial("tcp", address(b, int(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open[port] = c
	}
	echo(t, open[7], random(100))
	for port, c := range open {
		if err := b.StopServing(port); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("port %d: the connection goes on", port)
		}
		if c, err := a.Dial("tcp", address(b, int(port))); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d: %v, %v", port, c, err)
		}
		if err := b.StopServing(port); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("port %d, twice: %v", port, err)
		}
	}
	if err := errors.Join(b.ServeName(80), b.ServeEcho(7)); err != nil {
		t.Fatal(err)
	}
	get(t, a, "http://"+addrB+"/")
	b.Close()
	if err := b.StopServing(80); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
