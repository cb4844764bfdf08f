package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// random returns n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// connect returns both ends of a TCP connection.
func connect(t testing.TB, a, b *host.Host) (client, server net.Conn) {
	t.Helper()
	l, err := b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = a.DialContext(within(t), "tcp",
		(&net.TCPAddr{IP: b.Address().AsSlice(), Port: l.Addr().(*net.TCPAddr).Port}).String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestTCPTransfer(t *testing.T) {
	for _, offload := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "offload"}[offload], func(t *testing.T) {
			a, b := pair(t, offload)
			client, server := connect(t, a, b)
			data := random(4 << 20)
			want := sha256.Sum256(data)
			sums := make(chan [32]byte, 2)
			for _, c := range []net.Conn{client, server} {
				go func() {
					if _, err := io.Copy(c, bytes.NewReader(data)); err != nil {
						t.Errorf("writing: %v", err)
					}
					if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
						t.Errorf("closing: %v", err)
					}
				}()
				go func() {
					got, err := io.ReadAll(c)
					if err != nil {
						t.Errorf("reading: %v", err)
					}
					sums <- sha256.Sum256(got)
				}()
			}
			for range 2 {
				if got := <-sums; got != want {
					t.Errorf("what arrived is not what was sent")
				}
			}
		})
	}
}

// echo sends data and expects it back.
func echo(t testing.TB, c net.Conn, data []byte) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("%s: reading: %v", c.LocalAddr().Network(), err)
	}
	if err := <-sent; err != nil {
		t.Fatalf("%s: writing: %v", c.LocalAddr().Network(), err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes came back changed", c.LocalAddr().Network(), len(data))
	}
}

// address is a host's address with a port.
func address(h *host.Host, port int) string {
	return netip.AddrPortFrom(h.Address(), uint16(port)).String()
}

func TestDialErrors(t *testing.T) {
	a, b := pair(t, false)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name             string
		ctx              context.Context
		network, address string
		is               error
		text             string
	}{
		{"closed port", within(t), "tcp", address(b, 9), syscall.ECONNREFUSED, "dial tcp 10.10.10.5:9: connect: "},
		{"own closed port", within(t), "tcp", ":9", syscall.ECONNREFUSED, "dial tcp 10.10.10.4:9: "},
		{"no route", within(t), "tcp", "192.0.2.1:80", syscall.ENETUNREACH, "dial tcp 192.0.2.1:80: connect: "},
		{"no route for UDP", within(t), "udp", "192.0.2.1:80", syscall.ENETUNREACH, "dial udp 192.0.2.1:80: connect: "},
		{"canceled", canceled, "tcp", address(b, 9), context.Canceled, ""},
		{"canceled UDP", canceled, "udp", address(b, 9), context.Canceled, ""},
		{"name", within(t), "tcp", "web1:80", nil, "web1:80: not an IPv4 address; an in-process host has no DNS"},
		{"IPv6", within(t), "udp", "[::1]:80", nil, "not an IPv4 address"},
		{"no port", within(t), "tcp", "10.10.10.5", nil, "missing port"},
		{"bad port", within(t), "tcp", "10.10.10.5:65536", nil, "not a port"},
		{"network", within(t), "unix", "10.10.10.5:80", net.UnknownNetworkError("unix"), "dial unix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := a.DialContext(tt.ctx, tt.network, tt.address)
			if err == nil {
				c.Close()
				t.Fatal("connected")
			}
			if op := (*net.OpError)(nil); !errors.As(err, &op) {
				t.Errorf("%T is no *net.OpError", err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v does not say %q", err, tt.text)
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	a, _ := pair(t, false)
	l, err := a.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := a.ListenPacket("udp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, tt := range []struct {
		network, address string
		is               error
	}{
		{"tcp", ":80", syscall.EADDRINUSE},
		{"udp", ":80", syscall.EADDRINUSE},
		{"tcp", "10.10.10.5:81", syscall.EADDRNOTAVAIL},
		{"udp", "10.10.10.5:81", syscall.EADDRNOTAVAIL},
		{"icmp", ":80", net.UnknownNetworkError("icmp")},
	} {
		var c io.Closer
		var err error
		if tt.network == "udp" {
			c, err = a.ListenPacket(tt.network, tt.address)
		} else {
			c, err = a.Listen(tt.network, tt.address)
		}
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, tt.is) {
			t.Errorf("listening on %s %s: %v, want %v", tt.network, tt.address, err, tt.is)
		}
	}
	if _, err := a.Listen("udp", ":82"); err == nil {
		t.Error("Listen takes udp")
	}
	if _, err := a.ListenPacket("tcp", ":82"); err == nil {
		t.Error("ListenPacket takes tcp")
	}
}

func TestDialAbsentNeighbor(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	began := time.Now()
	_, err := a.Dial("tcp", netip.AddrPortFrom(b.Address().Next(), 80).String())
	took := time.Since(began)
	if !errors.Is(err, syscall.EHOSTUNREACH) || took < 2*time.Second || took > 8*time.Second {
		t.Errorf("got %v after %s, want no route to host after three seconds", err, took)
	}
}

func TestDialGivesUpWithContext(t *testing.T) {
	a, b := pair(t, false)
	for _, network := range []string{"deadline", "cancel"} {
		ctx, cancel := context.WithCancel(t.Context())
		want := context.Canceled
		if network == "deadline" {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			want = context.DeadlineExceeded
		} else {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		_, err := a.DialContext(ctx, "tcp", netip.AddrPortFrom(b.Address().Next(), 80).String())
		// ARP would fail after three seconds, with another error.
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		cancel()
	}
}

func TestDialFrom(t *testing.T) {
	a, b := pair(t, false)
	if err := b.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		c, err := a.DialFrom(within(t), network, ":40001", address(b, 7))
		if err != nil {
			t.Fatal(err)
		}
		if c.LocalAddr().String() != address(a, 40001) || c.RemoteAddr().String() != address(b, 7) ||
			c.LocalAddr().Network() != network {
			t.Errorf("%s %s to %s", network, c.LocalAddr(), c.RemoteAddr())
		}
		echo(t, c, []byte("hello"))
		c.Close()
	}
	if _, err := a.DialFrom(within(t), "udp", address(b, 1), address(b, 7)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from another's address: %v", err)
	}
}

// Ports come one after the other, and ports that are taken are left out.
func TestEphemeralPorts(t *testing.T) {
	a, b := pair(t, false)
	port := func() int {
		client, _ := connect(t, a, b)
		return client.LocalAddr().(*net.TCPAddr).Port
	}
	const first, last = 32768, 60999
	next := func(p int) int { return first + (p+1-first)%(last-first+1) }
	prev := port()
	for i := range 20 {
		want := next(prev)
		if i%5 == 0 {
			l, err := a.Listen("tcp", address(a, want))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			want = next(want)
		}
		if prev = port(); prev != want {
			t.Errorf("port %d, want %d", prev, want)
		}
	}
}

func TestCrowdedPorts(t *testing.T) {
	a, b := pair(t, false)
	client, _ := connect(t, a, b)
	const first, last = 32768, 60999
	start := client.LocalAddr().(*net.TCPAddr).Port
	for i := range 100 {
		l, err := a.Listen("tcp", address(a, first+(start+1+i-first)%(last-first+1)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	connect(t, a, b)
}

func TestDialItself(t *testing.T) {
	a, _ := pair(t, true)
	if err := a.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	c, err := a.Dial("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c, random(100_000))
}

func TestTCPDeadlines(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	buf := make([]byte, 1)
	expect := func(what string, err error) {
		t.Helper()
		if ne := net.Error(nil); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v is no timeout", what, err)
		}
	}
	client.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := client.Read(buf)
	expect("past deadline", err)
	client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = client.Read(buf)
	expect("deadline while reading", err)
	_, err = client.Read(buf)
	expect("still expired", err)

	// A call that waits already hears of a new deadline.
	client.SetReadDeadline(time.Now().Add(time.Hour))
	reading := make(chan error)
	go func() {
		_, err := client.Read(buf)
		reading <- err
	}()
	client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	expect("earlier deadline", <-reading)

	// The other end does not read, so that writing stops at some point.
	long := make([]byte, 64<<20)
	type result struct {
		n   int
		err error
	}
	writing := make(chan result)
	go func() {
		n, err := client.Write(long)
		writing <- result{n, err}
	}()
	if _, err := server.Read(buf); err != nil {
		t.Fatal(err)
	}
	client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	wrote := <-writing
	expect("deadline while writing", wrote.err)
	if wrote.n == 0 || wrote.n == len(long) {
		t.Errorf("%d bytes written", wrote.n)
	}
	client.SetDeadline(time.Time{})
	if _, err := client.Write(nil); err != nil {
		t.Errorf("writing nothing: %v", err)
	}
}

func TestTCPDeadlineCleared(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	client.SetDeadline(time.Now().Add(-time.Second))
	client.SetDeadline(time.Time{})
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestTCPHalfClose(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("reading after the peer's FIN: %v", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing after CloseWrite: %v", err)
	}
	echoBack := []byte("still open")
	if _, err := server.Write(echoBack); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(echoBack))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, echoBack) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := client.(interface{ CloseRead() error }).CloseRead(); err != nil {
		t.Error(err)
	}
	if _, err := client.Read(got); err != io.EOF {
		t.Errorf("reading after CloseRead: %v", err)
	}
}

func TestTCPReset(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	if err := client.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading from a reset connection: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading a closed connection: %v", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing a closed connection: %v", err)
	}
	if err := client.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
}

// A port is free again when its connection is gone, however that came.
func TestTCPFreesPorts(t *testing.T) {
	a, b := pair(t, false)
	if err := b.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	free := func(port int) {
		t.Helper()
		l, err := a.Listen("tcp", address(a, port))
		if err != nil {
			t.Errorf("port %d: %v", port, err)
			return
		}
		l.Close()
		if l, err = a.Listen("tcp", ":"+strconv.Itoa(port)); err != nil {
			t.Errorf("port %d of any address: %v", port, err)
			return
		}
		l.Close()
	}
	c, err := a.DialContext(within(t), "tcp", address(b, 7))
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.TCPAddr).Port
	if err := c.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	free(port)
	if _, err := a.DialContext(within(t), "tcp", address(b, 9)); err == nil {
		t.Fatal("connected to a closed port")
	}
	free(port + 1) // ports are taken one after the other
}

func TestTCPCloseEndsCalls(t *testing.T) {
	a, b := pair(t, false)
	client, server := connect(t, a, b)
	errs := make(chan error, 2)
	go func() {
		_, err := client.Read(make([]byte, 1))
		errs <- err
	}()
	go func() {
		_, err := client.Write(make([]byte, 64<<20)) // the other end does not read
		errs <- err
	}()
	// Once a megabyte is here the writer has begun; the reader has nothing to
	// read, so it waits, or fails in the same way a moment later.
	if _, err := io.CopyN(io.Discard, server, 1<<20); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestListenerClose(t *testing.T) {
	a, b := pair(t, false)
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != "0.0.0.0:80" {
		t.Errorf("address %s", l.Addr())
	}
	accepting := make(chan error)
	go func() {
		_, err := l.Accept()
		accepting <- err
	}()
	l.Close()
	if err := <-accepting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting: %v", err)
	}
	if _, err := a.DialContext(within(t), "tcp", address(b, 80)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting afterwards: %v", err)
	}
	if l, err = b.Listen("tcp", ":80"); err != nil {
		t.Fatalf("listening again: %v", err)
	}
	l.Close()
}
