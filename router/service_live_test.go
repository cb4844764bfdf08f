package router_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// joinByDHCP puts a host without an address on a network.
func joinByDHCP(t *testing.T, e *router.Engine, network string, mac packet.MAC) *host.Host {
	t.Helper()
	dev, err := e.Attach(network, host.Accepts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(dev, host.Config{MAC: mac})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Hosts get their addresses from a running engine. The bubble fails if a goroutine is left when the engine is closed.
func TestHostsGetTheirAddressesByDHCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e, err := router.Start(servedState(t, served), router.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		web := joinByDHCP(t, e, "blue", webMAC)
		defer web.Close()
		other := joinByDHCP(t, e, "blue", packet.MAC{2, 0, 0, 0, 0, 0x22})
		defer other.Close()
		lone := joinByDHCP(t, e, "lone", packet.MAC{2, 0, 0, 0, 0, 0x33})
		defer lone.Close()

		l, err := web.DHCP(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if l.Address != netip.MustParsePrefix("10.1.0.11/24") || l.Gateway != netip.MustParseAddr("10.1.0.1") ||
			l.Server != l.Gateway || l.Hostname != "web-1" || l.MTU != 1500 || web.Address() != l.Address.Addr() {
			t.Errorf("%+v, and the host has %v", l, web.Address())
		}
		if l, err = other.DHCP(ctx); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"10.1.0.1", "10.1.0.11"} {
			if _, err := other.Ping(ctx, netip.MustParseAddr(to)); err != nil {
				t.Errorf("ping %s: %v", to, err)
			}
		}
		again, err := other.DHCP(ctx)
		if err != nil || again.Address != l.Address {
			t.Errorf("renewed: %+v, %v; it had %v", again, err, l.Address)
		}
		if err := other.ReleaseDHCP(ctx); err != nil || !other.Address().IsUnspecified() {
			t.Errorf("released: %v, and the host has %v", err, other.Address())
		}
		if l, err = lone.DHCP(ctx); err != nil {
			t.Fatal(err)
		}
		// What was added by hand stays, whatever becomes of the lease.
		hand, at := netip.PrefixFrom(l.Address.Addr().Next(), l.Address.Bits()), lone.Interface()
		if err := at.AddAddress(hand); err != nil {
			t.Fatal(err)
		}
		if again, err := lone.DHCP(ctx); err != nil || again.Address != l.Address ||
			!slices.Equal(at.Addresses(), []netip.Prefix{l.Address, hand}) {
			t.Errorf("renewed: %v, %v; the host has %v", again.Address, err, at.Addresses())
		}
		if has, ok := at.Lease(); !ok || has.Address != l.Address {
			t.Errorf("the lease is %+v", has)
		}
		if err := lone.ReleaseDHCP(ctx); err != nil || !slices.Equal(at.Addresses(), []netip.Prefix{hand}) ||
			len(at.Routes()) > 0 {
			t.Errorf("released: %v; the host has %v and the routes %v", err, at.Addresses(), at.Routes())
		}
		if _, ok := at.Lease(); ok {
			t.Error("a lease is left")
		}
		if l, err = lone.DHCP(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := lone.Ping(ctx, l.Server); err != nil {
			t.Errorf("ping of the server: %v", err)
		}
	})
}

// A network that another worker reads than its router's is served at the router's address, too.
func TestDHCPOfARouterOfAnotherWorker(t *testing.T) {
	text := "[engine]\nworkers = 2\n" + served
	e, err := router.Start(servedState(t, text), router.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dev, err := e.Attach("lone", 0)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{}, 1)
	dev.Notify(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	send := func(d datagram) {
		t.Helper()
		b := d.frame(false)
		if _, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
			t.Fatal(err)
		}
	}
	client := packet.MAC{2, 0, 0, 0, 0, 9}
	send(discover(t, client))
	_, offer := receive(t, dev, told)
	rq, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	send(broadcasts(client, rq))
	_, ack := receive(t, dev, told)
	own, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())

	both := servedState(t, strings.Replace(text, `interfaces = ["blue"]`, `interfaces = ["blue", "lone"]`, 1))
	if _, err := e.Apply(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	gateway := gatewayMAC(t, e.State(), "lone")
	send(datagram{client, gateway, netip.AddrPortFrom(own, 68), netip.MustParseAddrPort("10.2.0.1:67"),
		renewal(t, client, own).ToBytes()})
	for {
		d, m := receive(t, dev, told)
		if m.MessageType() == dhcpv4.MessageTypeAck {
			if d.from != gateway || d.src.Addr() != netip.MustParseAddr("10.2.0.1") {
				t.Errorf("the answer is from %v %v", d.from, d.src)
			}
			break
		}
	}
}
