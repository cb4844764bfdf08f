package host_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"

	"github.com/taprouter/taprouter/router/host"
)

// reachSelf has a host reach itself at an address in every way it has.
func reachSelf(t *testing.T, h *host.Host, address string) {
	t.Helper()
	source := mustAddr(address)
	if source.IsLoopback() {
		source = mustAddr("127.0.0.1")
	}
	for _, network := range []string{"tcp", "udp"} {
		c, err := h.Dial(network, address+":7")
		if err != nil {
			t.Errorf("%s to %s: %v", network, address, err)
			continue
		}
		if got := netip.MustParseAddrPort(c.LocalAddr().String()).Addr(); got != source &&
			(network == "tcp" || !got.IsLoopback()) {
			t.Errorf("%s to %s comes from %s", network, address, got)
		}
		echo(t, c, random(5000))
		c.Close()
	}
	if _, err := h.Dial("tcp", address+":81"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed port of %s: %v", address, err)
	}
	if c, err := h.Dial("udp", address+":81"); err != nil {
		t.Error(err)
	} else {
		_, _ = c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a closed UDP port of %s: %v", address, err)
		}
		c.Close()
	}
	to := netip.MustParseAddr(address)
	if r, err := h.Ping(within(t), to); err != nil || r.From != to || r.TTL != 64 {
		t.Errorf("ping %s: %v, %v", address, r, err)
	}
	if err := h.ProbeUDP(within(t), netip.AddrPortFrom(to, 7), []byte("x")); err != nil {
		t.Errorf("probe %s: %v", address, err)
	}
	for _, mode := range []host.TracerouteMode{host.TracerouteUDP, host.TracerouteICMP, host.TracerouteTCP} {
		hops, err := h.Traceroute(within(t), to, host.TracerouteOptions{Mode: mode})
		if err != nil || len(hops) != 1 || hops[0].From != to {
			t.Errorf("traceroute mode %d to %s: %v, %v", mode, address, hops, err)
		}
	}
	if got, want := get(t, h, "http://"+address+"/"), "a\nclient "+source.String()+":"; len(got) < len(want) ||
		got[:len(want)] != want {
		t.Errorf("the page at %s: %q", address, got)
	}
}

// A host reaches itself by its loopback addresses and by its own, at once, and
// nothing of it appears on the wire.
func TestHostReachesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		h := newSegment(t, host.Config{Name: "a", Address: netip.MustParsePrefix(addrA + "/24")},
			func(_ *segment, p gopacket.Packet) { sent = append(sent, p.String()) }).h
		for _, serve := range []func() error{
			func() error { return h.ServeEcho(7) },
			func() error { return h.ServeName(80) },
		} {
			if err := serve(); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		for _, address := range []string{"127.0.0.1", "127.1.2.3", addrA} {
			reachSelf(t, h, address)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if len(sent) > 0 {
			t.Errorf("on the wire: %q", sent)
		}
	})
	t.Run("outside a bubble", func(t *testing.T) {
		a, _ := pair(t, false)
		if err := errors.Join(a.ServeEcho(7), a.ServeName(80)); err != nil {
			t.Fatal(err)
		}
		reachSelf(t, a, "127.0.0.1")
		reachSelf(t, a, addrA)
	})
}

// The network cannot reach a listener at a loopback address, and the
// network's packets to and from loopback addresses are dropped (RFC 1122, 3.2.1.3).
func TestLoopbackStaysInside(t *testing.T) {
	a, b := pair(t, false)
	l, err := a.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := b.Dial("tcp", addrA+":80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from outside: %v", err)
	}
	if _, err := a.Dial("tcp", addrA+":80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at the other address: %v", err)
	}
	c, err := a.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	p, err := b.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addrA+":53"))); err == nil {
		t.Error("a datagram left from a loopback address")
	}
}
