package monitor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/monitor"
)

// once returns the result of a member's first check.
func once(t *testing.T, h *host.Host, spec monitor.Spec, to netip.AddrPort) monitor.Result {
	t.Helper()
	m, _ := watch(t, h, spec)
	defer m.Close()
	m.Add(monitor.Target{ID: 1, Addr: to})
	for range 100 {
		<-time.After(100 * time.Millisecond)
		if r, ok := m.Last(1); ok {
			return r
		}
	}
	t.Fatal("no check in ten seconds")
	return monitor.Result{}
}

// expect compares a result's words; Why by how it begins.
func expect(t *testing.T, got monitor.Result, ok bool, sent, received, why string) {
	t.Helper()
	if got.OK != ok || got.Sent != sent || !strings.HasPrefix(got.Received, received) ||
		!strings.HasPrefix(got.Why, why) {
		t.Errorf("got %v, sent %q, received %q: %q\nwant %v, sent %q, received %q: %q", got.OK, got.Sent, got.Received,
			got.Why, ok, sent, received, why)
	}
	if got.Took < 0 || got.Took > 5*time.Second+time.Millisecond || time.Since(got.At) > 11*time.Second {
		t.Errorf("took %v at %v", got.Took, got.At)
	}
}

// each runs a test in a bubble of its own.
func each(t *testing.T, name string, fn func(t *testing.T, a, b *host.Host)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t)
			fn(t, a, b)
		})
	})
}

func TestTCP(t *testing.T) {
	spec := monitor.Spec{Type: "TCP"}
	each(t, "alive", func(t *testing.T, a, b *host.Host) {
		l, err := b.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB, 80)), true, "SYN", "SYN ACK", "connected")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the connection ended with %v, not with RST", err)
		}
	})
	each(t, "refused", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB, 80)), false, "SYN", "RST", "connection refused")
	})
	each(t, "absent", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB.Next(), 80)), false, "SYN", "ICMP host unreachable", "")
	})
	each(t, "IPv6", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.MustParseAddrPort("[2001:db8::1]:80")), false, "SYN", "nothing", "dial tcp")
	})
	each(t, "no such type", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, monitor.Spec{Type: "SCTP"}, netip.AddrPortFrom(addrB, 80)),
			false, "nothing", "nothing", `there are no checks of type "SCTP"`)
	})
	for mode, want := range map[int32][2]string{
		accepts: {"SYN ACK", "connected"}, refuses: {"RST", "connection refused"},
		isSilent: {"nothing", "no answer within 5s"}, isUnreachable: {"ICMP host unreachable", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, w := newWorld(t)
			w.mode.Store(mode)
			expect(t, once(t, h, spec, netip.MustParseAddrPort("192.0.2.1:80")), mode == accepts, "SYN", want[0],
				want[1])
		})
	}
}

func TestPing(t *testing.T) {
	spec := monitor.Spec{Type: "PING"}
	each(t, "alive", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB, 80)), true, "echo request", "echo reply", "answered")
	})
	each(t, "absent", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB.Next(), 80)), false, "echo request", "nothing",
			"no answer to ARP")
	})
	synctest.Test(t, func(t *testing.T) {
		h, _ := newWorld(t)
		expect(t, once(t, h, spec, netip.MustParseAddrPort("192.0.2.1:80")), false, "echo request", "nothing",
			"no answer within 5s")
	})
}

func TestUDPConnect(t *testing.T) {
	spec := monitor.Spec{Type: "UDP-CONNECT"}
	to := netip.AddrPortFrom(addrB, 53)
	each(t, "answers", func(t *testing.T, a, b *host.Host) {
		if err := b.ServeEcho(53); err != nil {
			t.Fatal(err)
		}
		expect(t, once(t, a, spec, to), true, "datagram", "datagram", "answered")
	})
	each(t, "silent", func(t *testing.T, a, b *host.Host) {
		p, err := b.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		expect(t, once(t, a, spec, to), true, "datagram", "nothing", "nobody refused it within 4s")
	})
	each(t, "closed", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, to), false, "datagram", "ICMP port unreachable", "refused by 10.10.10.5")
	})
	each(t, "absent", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, spec, netip.AddrPortFrom(addrB.Next(), 53)), false, "datagram", "nothing",
			"no answer to ARP")
	})
}

// serve answers each connection to port 80 with fn, which may leave it open.
func serve(t *testing.T, b *host.Host, fn func(net.Conn)) {
	t.Helper()
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fn(c)
			}()
		}
	}()
}

// says is a member that reads a request, and writes what it always writes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

// resets reads a request and resets the connection.
func resets(c net.Conn) {
	_, _ = c.Read(make([]byte, 4096))
	_ = c.(interface{ SetLinger(int) error }).SetLinger(0)
}

// forEver writes a text again and again, as long as the peer takes it.
func forEver(first, text string) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, first)
		for err == nil {
			_, err = io.WriteString(c, text)
		}
	}
}

// holds reads until the far end goes.
func holds(first string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, first)
		_, _ = io.Copy(io.Discard, c)
	}
}

func TestHTTP(t *testing.T) {
	const sent = "GET / HTTP/1.1"
	for _, tt := range []struct {
		name, codes   string
		member        func(net.Conn)
		ok            bool
		received, why string
	}{
		{"as expected", "", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), true, "HTTP/1.1 200 OK",
			"200 as expected"},
		{"old", "", says("HTTP/1.0 200 OK\r\n\r\nok"), true, "HTTP/1.0 200 OK", "200 as expected"},
		{"down", "", says("HTTP/1.1 503 Service Unavailable\r\n\r\n"), false, "HTTP/1.1 503 Service Unavailable",
			"503 is none of 200"},
		{"in a range", "200,204-206", says("HTTP/1.1 204 No Content\r\n\r\n"), true, "HTTP/1.1 204 No Content",
			"204 as expected"},
		{"outside", "200, 204-206", says("HTTP/1.1 203 Hm\r\n\r\n"), false, "HTTP/1.1 203 Hm",
			"203 is none of 200, 204-206"},
		{"redirect", "", says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), false, "HTTP/1.1 302 Found",
			"302 is none of 200"},
		{"expected redirect", "302", says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), true, "HTTP/1.1 302 Found",
			"302 as expected"},
		{"codes that mean nothing", "fine", says("HTTP/1.1 200 OK\r\n\r\n"), false, "HTTP/1.1 200 OK",
			"200 is none of fine"},
		{"informational first", "", says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), true,
			"HTTP/1.1 200 OK", "200 as expected"},
		{"another protocol", "101", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n" +
			"\r\n"), true, "HTTP/1.1 101", "101 as expected"},
		{"endless body", "", forEver("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 1000)), true, "HTTP/1.1 200 OK",
			"200 as expected"},
		{"slow body", "", holds("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nslow"), true, "HTTP/1.1 200 OK",
			"200 as expected"},
		{"silent", "", holds(""), false, "nothing", "no answer within 5s"},
		{"half an answer", "", holds("HTTP/1.1 200 OK\r\nServer:"), false, "nothing", "no answer within 5s"},
		{"closes", "", says(""), false, "FIN", "closed without a complete answer"},
		{"closes early", "", says("HTTP/1.1 200 OK\r\nServer: x"), false, "FIN", "closed without a complete answer"},
		{"resets", "", resets, false, "RST", "connection reset"},
		{"garbage", "", says(strings.Repeat("SSH-2.0 \xff", 300) + "\r\n"), false, "garbage", "malformed HTTP"},
		{"endless line", "", forEver("HTTP/1.1 200 ", strings.Repeat("x", 1000)), false, "headers",
			"more than 16 KB of headers"},
		{"endless headers", "", forEver("HTTP/1.1 200 OK\r\n", strings.Repeat("X-More: x\r\n", 100)), false, "headers",
			"more than 16 KB of headers"},
		{"endless information", "", forEver("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 40)), false, "headers",
			"more than 16 KB of headers"},
	} {
		each(t, tt.name, func(t *testing.T, a, b *host.Host) {
			serve(t, b, tt.member)
			r := once(t, a, monitor.Spec{Type: "HTTP", ExpectedCodes: tt.codes}, netip.AddrPortFrom(addrB, 80))
			expect(t, r, tt.ok, sent, tt.received, tt.why)
			if len(r.Received)+len(r.Why) > 250 {
				t.Errorf("a result of %d bytes", len(r.Received)+len(r.Why))
			}
		})
	}
	each(t, "refused", func(t *testing.T, a, b *host.Host) {
		expect(t, once(t, a, monitor.Spec{Type: "HTTP"}, netip.AddrPortFrom(addrB, 80)), false, "SYN", "RST",
			"connection refused")
	})
}

// The requests that members get.
func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		port         uint16
		want, host   string
	}{
		{"", "", 80, "GET / HTTP/1.1", "10.10.10.5"},
		{"HEAD", "/health?deep=1&x=%2F#y", 8080, "HEAD /health?deep=1&x=%2F#y HTTP/1.1", "10.10.10.5:8080"},
		{"POST", "/%zz", 443, "POST /%zz HTTP/1.1", "10.10.10.5:443"},
		{"GET", "//x?y", 80, "GET //x?y HTTP/1.1", "10.10.10.5"},
		{"PUT", "/", 80, "PUT / HTTP/1.1", "10.10.10.5"},
		{"DELETE", "/", 80, "DELETE / HTTP/1.1", "10.10.10.5"},
		{"TRACE", "/", 80, "TRACE / HTTP/1.1", "10.10.10.5"},
		{"OPTIONS", "/", 80, "OPTIONS / HTTP/1.1", "10.10.10.5"},
		{"PATCH", "/", 80, "PATCH / HTTP/1.1", "10.10.10.5"},
		{"CONNECT", "/", 80, "CONNECT / HTTP/1.1", "10.10.10.5"},
	} {
		each(t, tt.method+tt.path, func(t *testing.T, a, b *host.Host) {
			l, err := b.Listen("tcp", netip.AddrPortFrom(addrB, tt.port).String())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			asked := make(chan string, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				buf := make([]byte, 4096)
				n, _ := c.Read(buf)
				asked <- string(buf[:n])
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
			}()
			spec := monitor.Spec{Type: "HTTP", Method: tt.method, Path: tt.path}
			expect(t, once(t, a, spec, netip.AddrPortFrom(addrB, tt.port)), true, tt.want, "HTTP/1.1 200 OK",
				"200 as expected")
			lines := strings.Split(strings.TrimSuffix(<-asked, "\r\n\r\n"), "\r\n")
			got := map[string]bool{}
			for _, l := range lines[1:] {
				got[l] = true
			}
			if lines[0] != tt.want || !got["Host: "+tt.host] || !got["User-Agent: taprouter-monitor"] ||
				!got["Connection: close"] {
				t.Errorf("asked %q", lines)
			}
			delete(got, "Content-Length: 0") // of methods that may have a body
			if len(got) != 3 {
				t.Errorf("asked more than is needed: %q", lines)
			}
		})
	}
}

// certificate makes a certificate that no authority has signed.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestHTTPS(t *testing.T) {
	spec := monitor.Spec{Type: "HTTPS", ExpectedCodes: "418"}
	to := netip.AddrPortFrom(addrB, 80)
	for _, tt := range []struct {
		name          string
		version       uint16
		ok            bool
		sent          string
		received, why string
	}{
		{"TLS 1.3", tls.VersionTLS13, true, "GET / HTTP/1.1", "HTTP/1.1 418 I'm a teapot", "418 as expected"},
		{"TLS 1.2", tls.VersionTLS12, true, "GET / HTTP/1.1", "HTTP/1.1 418 I'm a teapot", "418 as expected"},
		{"TLS 1.1", tls.VersionTLS11, true, "GET / HTTP/1.1", "HTTP/1.1 418 I'm a teapot", "418 as expected"},
	} {
		each(t, tt.name, func(t *testing.T, a, b *host.Host) {
			cfg := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS10,
				MaxVersion: tt.version}
			serve(t, b, func(c net.Conn) {
				s := tls.Server(c, cfg)
				says("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")(s)
				_, _ = io.Copy(io.Discard, c)
			})
			expect(t, once(t, a, spec, to), tt.ok, tt.sent, tt.received, tt.why)
		})
	}
	for _, tt := range []struct {
		name          string
		member        func(net.Conn)
		received, why string
		attempts      int // two if the first offer is refused; 0: the next check may have begun
	}{
		{"plain HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), "garbage",
			"tls: first record does not look like a TLS handshake", 1},
		{"silent", holds(""), "nothing", "no answer within 5s", 0},
		{"closes", says(""), "FIN", "closed without", 2},
		{"resets", resets, "RST", "connection reset", 2},
		{"alert", says("\x15\x03\x03\x00\x02\x02\x28"), "garbage", "remote error: tls: handshake failure", 2},
	} {
		each(t, tt.name, func(t *testing.T, a, b *host.Host) {
			var attempts atomic.Int64
			serve(t, b, func(c net.Conn) {
				attempts.Add(1)
				tt.member(c)
			})
			expect(t, once(t, a, spec, to), false, "TLS handshake", tt.received, tt.why)
			if n := attempts.Load(); tt.attempts > 0 && n != int64(tt.attempts) {
				t.Errorf("%d attempts, want %d", n, tt.attempts)
			}
		})
	}
}

// A whole server of net/http, asked for a quarter of an hour.
func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		served := 0
		err := b.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if served++; r.UserAgent() != "taprouter-monitor" {
				t.Errorf("asked by %q", r.UserAgent())
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		m, changes := watch(t, a, monitor.Spec{Type: "HTTP"})
		m.Add(monitor.Target{ID: 1, Addr: netip.AddrPortFrom(addrB, 80)})
		<-time.After(15 * time.Minute)
		m.Close()
		if c := <-changes; !c.up || len(changes) > 0 || served < 180 || served > 185 {
			t.Errorf("%d requests, %+v and %d more changes", served, c, len(changes))
		}
	})
}
