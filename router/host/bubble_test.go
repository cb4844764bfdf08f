package host_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
)

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// inBubble runs a test with two hosts in a synctest bubble, which fails unless
// all their goroutines end.
func inBubble(t *testing.T, fn func(t *testing.T, a, b *host.Host)) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		fn(t, a, b)
	})
}

func TestBubbleHTTP(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if err := b.ServeName(80); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range 200 {
			if got := get(t, a, "http://"+addrB+"/"); !strings.HasPrefix(got, "b\nclient 10.10.10.4:") {
				t.Fatalf("request %d: %q", i, got)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("two hundred requests took %s of the bubble's time", took)
		}
	})
}

func TestBubbleParallelHTTP(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if err := b.ServeName(80); err != nil {
			t.Fatal(err)
		}
		pages := make(chan string)
		for range 50 {
			go func() { pages <- get(t, a, "http://"+addrB+"/") }()
		}
		for range 50 {
			if got := <-pages; !strings.HasPrefix(got, "b\n") {
				t.Errorf("got %q", got)
			}
		}
	})
}

func TestBubbleIdleConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if err := b.ServeEcho(7); err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"tcp", "udp"} {
			c, err := a.Dial(network, addrB+":7")
			if err != nil {
				t.Fatal(err)
			}
			echo(t, c, random(20_000))
			pass(2 * time.Hour)
			echo(t, c, random(20_000))
			c.Close()
		}
	})
}

func TestBubbleTransfer(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		client, server := connect(t, a, b)
		go func() {
			_, _ = client.Write(random(3 << 20))
			client.Close()
		}()
		got, err := io.ReadAll(server)
		if err != nil || string(got) != string(random(3<<20)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestBubblePing(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if _, err := a.Ping(t.Context(), b.Address()); err != nil {
			t.Error(err)
		}
		for range 2 { // the second time the neighbor is known to be absent
			began := time.Now()
			_, err := a.Ping(t.Context(), b.Address().Next())
			if e := (*host.ICMPError)(nil); !errors.As(err, &e) || e.From != a.Address() {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
				t.Errorf("gave up after %s", took)
			}
		}
	})
}

func TestBubbleDial(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if _, err := a.Dial("tcp", addrB+":9"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed port: %v", err)
		}
		began := time.Now()
		if _, err := a.Dial("tcp", "10.10.10.6:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("absent host: %v", err)
		}
		if took := time.Since(began).Round(time.Second); took != 3*time.Second {
			t.Errorf("gave up after %s", took)
		}
	})
}

// A destination that never answers: the neighbor takes every packet and says
// nothing.
func TestBubbleSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, host.Config{}, nil)
		to := netip.MustParseAddr("192.0.2.1")
		began := time.Now()
		_, err := s.h.Ping(t.Context(), to)
		if !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began).Round(time.Second) != host.DefaultPingTimeout {
			t.Errorf("ping: %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		_, err = s.h.PingWith(ctx, to, host.PingOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("ping with a deadline: %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if _, err = s.h.Dial("tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dial: %v", err)
		}
		if took := time.Since(began); took < time.Minute || took > 4*time.Minute {
			t.Errorf("TCP gave up after %s", took)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, seen := watchedPair(t, false)
		client, server := connect(t, a, b)
		go func() { _, _ = io.Copy(server, server) }()
		echo(t, client, []byte("hello"))
		pass(time.Hour)
		if n := probes(seen); n > 0 {
			t.Errorf("%d keepalive probes that nobody asked for", n)
		}
		c := client.(interface {
			SetKeepAlive(bool) error
			SetKeepAlivePeriod(time.Duration) error
			SetNoDelay(bool) error
		})
		if err := errors.Join(c.SetNoDelay(true), c.SetKeepAlivePeriod(time.Minute), c.SetKeepAlive(true)); err != nil {
			t.Fatal(err)
		}
		echo(t, client, []byte("hello"))
		pass(10*time.Minute + time.Second)
		if n := probes(seen); n < 9 || n > 11 {
			t.Errorf("%d keepalive probes in ten minutes", n)
		}
	})
}

// get fetches a page.
func get(t testing.TB, h *host.Host, url string) string {
	t.Helper()
	res, err := h.HTTPClient().Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, res.Status, err)
	}
	return string(b)
}

// probes counts empty segments of host a before the highest sequence number it
// has sent.
func probes(seen *capture) (n int) {
	var next uint32
	seen.each(func(_ vnet, _ []byte, p gopacket.Packet) {
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok || p.NetworkLayer().NetworkFlow().Src().String() != addrA {
			return
		}
		if tcp.Seq+1 == next && len(tcp.Payload) == 0 {
			n++
		}
		if end := tcp.Seq + uint32(len(tcp.Payload)); tcp.SYN {
			next = tcp.Seq + 1
		} else if end > next {
			next = end
		}
	})
	return n
}

// A host lives by the clock of the bubble that it is made in. If it is used outside
// that bubble its methods return an error, and the stack does not panic.
func TestBubbleOfAnother(t *testing.T) {
	use := func(t *testing.T, where string, a *host.Host, c net.Conn, l net.Listener) {
		t.Helper()
		to := netip.MustParseAddr(addrB)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for name, call := range map[string]func() error{
			"dial":       func() error { _, err := a.Dial("tcp", addrB+":7"); return err },
			"dial udp":   func() error { _, err := a.Dial("udp", addrB+":7"); return err },
			"http":       func() error { _, err := a.HTTPClient().Get("http://" + addrB + "/"); return err },
			"listen":     func() error { _, err := a.Listen("tcp", ":99"); return err },
			"packet":     func() error { _, err := a.ListenPacket("udp", ":99"); return err },
			"serve":      func() error { return a.ServeEcho(99) },
			"stop":       func() error { return a.StopServing(99) },
			"ping":       func() error { _, err := a.Ping(ctx, to); return err },
			"probe":      func() error { return a.ProbeUDP(ctx, netip.AddrPortFrom(to, 7), nil) },
			"traceroute": func() error { _, err := a.Traceroute(ctx, to, host.TracerouteOptions{}); return err },
			"write":      func() error { _, err := c.Write([]byte("x")); return err },
			"read":       func() error { _, err := c.Read(make([]byte, 1)); return err },
			"accept":     func() error { _, err := l.Accept(); return err },
			"deadline":   func() error { return c.SetDeadline(time.Now()) },
			"close conn": func() error { return c.Close() },
			"close":      func() error { return a.Close() },
		} {
			if err := call(); err == nil || !strings.Contains(err.Error(), where) ||
				!strings.Contains(err.Error(), "synctest") {
				t.Errorf("%s: %v; want %q", name, err, where)
			}
		}
	}
	prepare := func(t *testing.T) (*host.Host, net.Conn, net.Listener) {
		a, b := pair(t, false)
		if err := b.ServeEcho(7); err != nil {
			t.Fatal(err)
		}
		c, err := a.Dial("tcp", addrB+":7")
		if err != nil {
			t.Fatal(err)
		}
		l, err := a.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		return a, c, l
	}
	t.Run("made outside", func(t *testing.T) {
		a, c, l := prepare(t)
		synctest.Test(t, func(t *testing.T) { use(t, "made outside of the bubble", a, c, l) })
		echo(t, c, random(10)) // and it is still good where it belongs
	})
	t.Run("made inside", func(t *testing.T) {
		ready, done := make(chan struct{}), make(chan struct{})
		var a *host.Host
		var c net.Conn
		var l net.Listener
		go func() {
			defer close(done)
			<-ready
			use(t, "made inside a bubble", a, c, l)
		}()
		synctest.Test(t, func(t *testing.T) {
			a, c, l = prepare(t)
			close(ready)
			<-done
		})
	})
}
