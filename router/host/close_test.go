package host_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// TestNothingIsLeft is not parallel: it looks at all goroutines of the process.
func TestNothingIsLeft(t *testing.T) {
	for _, offload := range []bool{false, true} {
		a, b := pair(t, offload)
		busy(t, a, b)
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
	if left := leftovers(t); left != "" {
		t.Errorf("goroutines are left:\n%s", left)
	}
}

// busy leaves all kinds of things open.
func busy(t *testing.T, a, b *host.Host) {
	t.Helper()
	if err := errors.Join(b.ServeEcho(7), b.ServeName(80), a.ServeName(80)); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		c, err := a.Dial(network, addrB+":7")
		if err != nil {
			t.Fatal(err)
		}
		echo(t, c, random(50_000)) // and it stays open
	}
	closed, err := a.Dial("tcp", addrB+":7")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close() // this one is left in TIME-WAIT
	res, err := a.HTTPClient().Get("http://" + addrB + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() }) // long after the hosts are gone
	if _, err := a.Listen("tcp", ":1"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(within(t), b.Address()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	p := listenUDP(t, b, ":80")
	waiting := map[string]func() error{
		"read":     func() error { _, err := server.Read(make([]byte, 1)); return err },
		"write":    func() error { _, err := server.Write(make([]byte, 64<<20)); return err },
		"accept":   func() error { _, err := l.Accept(); return err },
		"readfrom": func() error { _, _, err := p.ReadFrom(make([]byte, 1)); return err },
		"dial":     func() error { _, err := b.Dial("tcp", "10.10.10.9:80"); return err },
		"ping":     func() error { _, err := b.Ping(t.Context(), mustAddr("10.10.10.9")); return err },
		"traceroute": func() error {
			_, err := b.Traceroute(t.Context(), mustAddr("10.10.10.9"), host.TracerouteOptions{})
			return err
		},
	}
	type result struct {
		name string
		err  error
	}
	results := make(chan result)
	for name, fn := range waiting {
		go func() { results <- result{name, fn()} }()
	}
	// Once a megabyte has come, the writer at least is at it.
	if _, err := io.CopyN(io.Discard, client, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for range waiting {
		if r := <-results; !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("%s: %v", r.name, r.err)
		}
	}
	// The peer learns of it at once.
	if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v", err)
	}
	afterwards(t, b, waiting)
}

// afterwards checks that nothing works on a closed host, and nothing hangs.
func afterwards(t *testing.T, b *host.Host, waiting map[string]func() error) {
	t.Helper()
	waiting["listen"] = func() error { _, err := b.Listen("tcp", ":81"); return err }
	waiting["listenpacket"] = func() error { _, err := b.ListenPacket("udp", ":81"); return err }
	waiting["dial udp"] = func() error { _, err := b.Dial("udp", addrA+":80"); return err }
	waiting["serve"] = func() error { return b.ServeName(82) }
	waiting["echo"] = func() error { return b.ServeEcho(82) }
	for name, fn := range waiting {
		if err := fn(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a closed host: %v", name, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// Close waits for handlers, which learn of it by their context.
func TestCloseWaitsForHandlers(t *testing.T) {
	a, b := pair(t, false)
	began, ended := make(chan struct{}), false
	err := b.ListenAndServe(":80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended = true // the race detector sees whether Close waits
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		res, err := a.HTTPClient().Get("http://" + addrB + "/")
		if err == nil {
			res.Body.Close()
		}
		got <- err
	}()
	<-began
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if !ended {
		t.Error("the handler is still running")
	}
	if err := <-got; err == nil {
		t.Error("the client got an answer")
	}
}

// Closing is no trouble, so nothing is said about it.
func TestCloseIsQuiet(t *testing.T) {
	for range 20 {
		var log lines
		dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
		h := start(t, dev, host.Config{
			Address: netip.MustParsePrefix(addrA + "/24"),
			Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err := errors.Join(h.ServeName(80), h.ServeEcho(7)); err != nil {
			t.Fatal(err)
		}
		c, err := h.Dial("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		c.Close()
		if log.String() != "" {
			t.Fatalf("log: %s", &log)
		}
	}
}

func TestCloseAtOnce(t *testing.T) {
	a, b := pair(t, false)
	if err := b.ServeName(80); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i%2 == 0 {
				if res, err := a.HTTPClient().Get("http://" + addrB + "/"); err == nil {
					res.Body.Close()
				}
				return
			}
			if err := errors.Join(a.Close(), b.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestManyInParallel(t *testing.T) {
	for i := range 50 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, i%2 == 0)
			talk(t, a, b)
			if err := b.ServeName(80); err != nil {
				t.Fatal(err)
			}
			get(t, a, "http://"+addrB+"/")
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
		h, err := host.New(dev, host.Config{Address: netip.MustParsePrefix(addrA + "/24")})
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
