package router_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
)

// Names of the ports of a router's networks are answered at its own address.
func TestNamesAtTheRoutersAddress(t *testing.T) {
	s := simulateServed(t, served)
	gateway := gatewayMAC(t, s.State(), "blue")
	ask := func(name string) *dns.Msg {
		t.Helper()
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		s.Take("blue")
		put(t, s, "blue", datagram{webMAC, gateway, netip.MustParseAddrPort("10.1.0.11:4000"),
			netip.MustParseAddrPort("10.1.0.1:53"), b}.frame(false))
		for _, f := range s.Take("blue") {
			if p := (packet.Packet{}); p.Parse(f.Ethernet(), nil) != packet.FaultNone || p.Proto != packet.ProtoUDP {
				continue
			}
			d := datagramOf(t, f)
			if d.from != gateway || d.dst != netip.MustParseAddrPort("10.1.0.11:4000") {
				t.Errorf("the answer is from %v to %v", d.from, d.dst)
			}
			out := new(dns.Msg)
			if err := out.Unpack(d.payload); err != nil {
				t.Fatal(err)
			}
			return out
		}
		t.Fatal("no answer")
		return nil
	}
	for _, name := range []string{"web-1.", "WEB-1.openstacklocal."} {
		if m := ask(name); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "10.1.0.11" {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := ask("nobody.openstacklocal."); m.Rcode != dns.RcodeNameError {
		t.Errorf("a name that nobody has: %v", m)
	}
	if m := ask("example.com."); m.Rcode != dns.RcodeRefused {
		t.Errorf("another name: %v", m)
	}
}

// An instance reads its metadata by TCP, through its router or without one. The stacks end with the engine.
func TestMetadataOfAnInstance(t *testing.T) {
	e, err := router.Start(servedState(t, served), router.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	web := joinByDHCP(t, e, "blue", webMAC)
	defer web.Close()
	stranger := joinByDHCP(t, e, "lone", packet.MAC{2, 0, 0, 0, 0, 0x33})
	defer stranger.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, h := range []*host.Host{web, stranger} {
		if _, err := h.DHCP(ctx); err != nil {
			t.Fatal(err)
		}
	}
	get := func(h *host.Host, path string) (int, string) {
		t.Helper()
		tr := &http.Transport{DialContext: h.DialContext}
		defer tr.CloseIdleConnections()
		rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://169.254.169.254"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := tr.RoundTrip(rq)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(b)
	}
	if code, text := get(web, "/latest/meta-data/hostname"); code != 200 || !strings.HasPrefix(text, "web-1") {
		t.Errorf("%d %q", code, text)
	}
	if code, _ := get(web, "/openstack/latest/network_data.json"); code != 200 {
		t.Errorf("network data: %d", code)
	}
	if code, _ := get(stranger, "/latest/meta-data/hostname"); code != 404 {
		t.Errorf("a host that is no port: %d", code)
	}
}
