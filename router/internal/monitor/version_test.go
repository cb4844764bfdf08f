package monitor_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/monitor"
)

// A request has the version of HTTP, and the name of a host, that the monitor says.
func TestVersionAndDomain(t *testing.T) {
	to := netip.AddrPortFrom(addrB, 80)
	for _, c := range []struct {
		name               string
		spec               monitor.Spec
		sent, proto, named string
	}{
		{"neither", monitor.Spec{Type: "HTTP"}, "GET / HTTP/1.1", "HTTP/1.1", addrB.String()},
		{"1.0", monitor.Spec{Type: "HTTP", Version: "1.0"}, "GET / HTTP/1.0", "HTTP/1.0", addrB.String()},
		{"1.1 and a host", monitor.Spec{Type: "HTTP", Version: "1.1", Domain: "www.example.com"}, "GET / HTTP/1.1",
			"HTTP/1.1", "www.example.com"},
	} {
		each(t, c.name, func(t *testing.T, a, b *host.Host) {
			got := make(chan *http.Request, 10)
			serve(t, b, func(conn net.Conn) {
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					got <- r
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // else the check says so
			})
			expect(t, once(t, a, c.spec, to), true, c.sent, "HTTP/1.1 200 OK", "200 as expected")
			if r := <-got; r.Proto != c.proto || r.Host != c.named {
				t.Errorf("%s for %q, want %s for %q", r.Proto, r.Host, c.proto, c.named)
			}
		})
	}
}

// TLS-HELLO is a handshake, with the name of a host if there is one, and no request. What refuses it is down.
func TestTLSHello(t *testing.T) {
	to := netip.AddrPortFrom(addrB, 80)
	for _, named := range []string{"", "www.example.com"} {
		each(t, "named "+named, func(t *testing.T, a, b *host.Host) {
			type hello struct {
				name string
				more int64
			}
			got := make(chan hello, 10)
			cert := certificate(t)
			serve(t, b, func(conn net.Conn) {
				h := hello{}
				named := func(i *tls.ClientHelloInfo) (*tls.Certificate, error) {
					h.name = i.ServerName
					return &cert, nil
				}
				s := tls.Server(conn, &tls.Config{GetCertificate: named})
				if s.Handshake() == nil {
					h.more, _ = io.Copy(io.Discard, s)
					got <- h
				}
			})
			expect(t, once(t, a, monitor.Spec{Type: "TLS-HELLO", Domain: named}, to), true, "TLS handshake",
				"TLS handshake", "completed")
			if h := <-got; h.name != named || h.more != 0 {
				t.Errorf("the handshake names %q, and %d bytes follow", h.name, h.more)
			}
		})
	}
	each(t, "plain HTTP", func(t *testing.T, a, b *host.Host) {
		serve(t, b, says("HTTP/1.1 400 Bad Request\r\n\r\n"))
		expect(t, once(t, a, monitor.Spec{Type: "TLS-HELLO"}, to), false, "TLS handshake", "garbage",
			"tls: first record does not look like a TLS handshake")
	})
}
