package host_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

const addrC = "10.10.10.9"

// addresses are what a host has, as text.
func addresses(h *host.Host) (all []string) {
	for _, a := range h.Interface().Addresses() {
		all = append(all, a.String())
	}
	return all
}

func routes(h *host.Host) (all []string) {
	for _, r := range h.Interface().Routes() {
		all = append(all, r.Destination.String()+" "+r.NextHop.String())
	}
	return all
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echoSources are the addresses that the echo requests have come from.
func echoSources(seen *capture) (all []string) {
	seen.each(func(_ vnet, _ []byte, p gopacket.Packet) {
		icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if ok && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest {
			all = append(all, p.NetworkLayer().NetworkFlow().Src().String())
		}
	})
	return all
}

// A host with a further address answers for it, and sends from either; without the first one it is at the other.
func TestFurtherAddress(t *testing.T) {
	a, b, seen := watchedPair(t, false)
	at, bIP := a.Interface(), netip.MustParseAddr(addrB)
	other := netip.MustParsePrefix(addrC + "/24")
	must(t, at.AddAddress(other))
	check(t, "added", addresses(a), addrA+"/24", addrC+"/24")
	if _, err := b.Ping(within(t), other.Addr()); err != nil {
		t.Errorf("the further address: %v", err)
	}
	if r, err := a.Ping(within(t), other.Addr()); err != nil || r.From != other.Addr() {
		t.Errorf("its own further address: %v, %v", r, err)
	}
	must2 := func(_ host.Reply, err error) { t.Helper(); must(t, err) }
	must2(a.Ping(within(t), bIP))
	must2(a.PingWith(within(t), bIP, host.PingOptions{From: other.Addr(), Seq: 1}))
	if _, err := a.PingWith(within(t), bIP, host.PingOptions{From: bIP}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from another's address: %v", err)
	}
	if _, err := a.PingWith(within(t), bIP, host.PingOptions{From: netip.MustParseAddr("::1")}); err == nil {
		t.Error("from an IPv6 address")
	}
	seen.each(func(_ vnet, _ []byte, p gopacket.Packet) {
		arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if ok && net.IP(arp.DstProtAddress).String() == addrC && net.IP(arp.SourceProtAddress).String() == addrA {
			t.Error("the host asks for its own address")
		}
	})
	must(t, at.RemoveAddress(netip.MustParseAddr(addrA)))
	check(t, "the other is the first", addresses(a), addrC+"/24")
	if a.Address() != other.Addr() {
		t.Errorf("the host is at %v", a.Address())
	}
	must2(a.Ping(within(t), bIP))
	check(t, "sent from", echoSources(seen), addrB, addrA, addrC, addrC)
	must(t, at.RemoveAddress(other.Addr()))
	if _, err := a.Ping(within(t), bIP); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without an address: %v", err)
	}
}

// Of several addresses TCP and echoes use the one in the subnet of the next hop.
func TestSourceIsOfTheNextHopsSubnet(t *testing.T) {
	a, b, seen := watchedPair(t, false)
	must(t, a.Interface().AddAddress(netip.MustParsePrefix("192.0.2.1/24")))
	must(t, b.Interface().AddAddress(netip.MustParsePrefix("192.0.2.2/24")))
	must(t, b.ServeName(80))
	for to, want := range map[string]string{"192.0.2.2": "192.0.2.1", addrB: addrA} {
		c, err := a.DialContext(within(t), "tcp", to+":80")
		must(t, err)
		if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("to %s from %s, want %s", to, got, want)
		}
		must(t, c.Close())
	}
	must(t, b.Interface().AddAddress(netip.MustParsePrefix("198.51.100.1/32")))
	must(t, a.Interface().AddRoute(host.Route{Destination: netip.MustParsePrefix("198.51.100.0/24"),
		NextHop: netip.MustParseAddr("192.0.2.2")}))
	for _, to := range []string{"192.0.2.2", addrB, "198.51.100.1"} {
		_, err := a.Ping(within(t), netip.MustParseAddr(to))
		must(t, err)
	}
	check(t, "echoes from", echoSources(seen), "192.0.2.1", addrA, "192.0.2.1")
}

func TestRoutesOfAnInterface(t *testing.T) {
	a, b := pair(t, false)
	at := a.Interface()
	far := netip.MustParsePrefix("192.0.2.7/32")
	via := func(to, hop string) host.Route {
		return host.Route{Destination: netip.MustParsePrefix(to), NextHop: netip.MustParseAddr(hop)}
	}
	must(t, b.Interface().AddAddress(far))
	reaches := func(want bool) {
		t.Helper()
		_, err := a.Ping(within(t), far.Addr())
		if got := err == nil; got != want || !want && !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("reaches %v: %v", far.Addr(), err)
		}
	}
	reaches(false)
	must(t, at.AddRoute(via("0.0.0.0/0", addrB)))
	reaches(true)
	must(t, at.RemoveRoute(netip.MustParsePrefix("0.0.0.0/0")))
	reaches(false)
	must(t, at.AddRoute(via("192.0.2.0/24", addrB)))
	must(t, at.AddRoute(via("192.0.2.7/28", "0.0.0.0"))) // on the link; b does not answer there for others
	must(t, at.RemoveRoute(netip.MustParsePrefix("192.0.2.0/28")))
	reaches(true)
	must(t, at.AddRoute(via("198.51.100.0/25", addrB)))
	check(t, "the longest first", routes(a), "198.51.100.0/25 "+addrB, "192.0.2.0/24 "+addrB)
	must(t, at.AddRoute(via("0.0.0.0/0", addrB)))
	check(t, "the default first", routes(a), "0.0.0.0/0 "+addrB, "198.51.100.0/25 "+addrB, "192.0.2.0/24 "+addrB)
	must(t, at.AddAddress(netip.MustParsePrefix("203.0.113.1/24")))
	must(t, at.AddRoute(via("198.18.0.0/15", "203.0.113.2")))
	must(t, at.RemoveAddress(netip.MustParseAddr(addrA)))
	check(t, "those by the subnet's hops are gone", routes(a), "198.18.0.0/15 203.0.113.2")
}

func TestInterfaceRefuses(t *testing.T) {
	a, _ := pair(t, false)
	at := a.Interface()
	route := func(to, hop string) host.Route {
		return host.Route{Destination: netip.MustParsePrefix(to), NextHop: netip.MustParseAddr(hop)}
	}
	must(t, at.AddRoute(route("0.0.0.0/0", addrB)))
	must(t, at.AddRoute(route("192.0.2.0/24", addrB)))
	for what, c := range map[string]struct{ err, want error }{
		"an address twice":  {at.AddAddress(netip.MustParsePrefix(addrA + "/16")), fs.ErrExist},
		"a subnet's":        {at.AddAddress(netip.MustParsePrefix("10.0.0.0/24")), fs.ErrInvalid},
		"no address":        {at.AddAddress(netip.Prefix{}), fs.ErrInvalid},
		"of IPv6":           {at.AddAddress(netip.MustParsePrefix("2001:db8::1/64")), fs.ErrInvalid},
		"another's address": {at.RemoveAddress(netip.MustParseAddr(addrB)), fs.ErrNotExist},
		"a default twice":   {at.AddRoute(route("0.0.0.0/0", addrC)), fs.ErrExist},
		"a default on link": {at.AddRoute(route("0.0.0.0/0", "0.0.0.0")), fs.ErrInvalid},
		"a route twice":     {at.AddRoute(route("192.0.2.7/24", addrC)), fs.ErrExist},
		"a hop elsewhere":   {at.AddRoute(route("198.51.100.0/24", "192.0.2.1")), fs.ErrInvalid},
		"a route of IPv6":   {at.AddRoute(route("2001:db8::/64", "2001:db8::1")), fs.ErrInvalid},
		"no such route":     {at.RemoveRoute(netip.MustParsePrefix("198.51.100.0/24")), fs.ErrNotExist},
		"a group's MAC":     {at.SetMAC([6]byte{1}), fs.ErrInvalid},
		"no MAC":            {at.SetMAC([6]byte{}), fs.ErrInvalid},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	check(t, "as before", addresses(a), addrA+"/24")
	check(t, "as before", routes(a), "0.0.0.0/0 "+addrB, "192.0.2.0/24 "+addrB)
	_, err := at.ARP(within(t), netip.MustParseAddr("::1"), netip.Addr{})
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ARP for IPv6: %v", err)
	}
	must(t, a.Close())
	for what, err := range map[string]error{"an address": at.AddAddress(netip.MustParsePrefix(addrC + "/24")),
		"a MAC": at.SetMAC([6]byte{2}), "neighbors": at.ForgetNeighbors()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, err := at.ARP(within(t), netip.MustParseAddr(addrB), netip.Addr{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ARP after Close: %v", err)
	}
}

// A host with another MAC address sends from it, and answers ARP with it.
func TestMACOfAnInterface(t *testing.T) {
	a, b, seen := watchedPair(t, false)
	bIP := netip.MustParseAddr(addrB)
	if _, err := a.Ping(within(t), bIP); err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
	must(t, a.Interface().SetMAC([6]byte(mac)))
	r, err := b.Interface().ARP(within(t), netip.MustParseAddr(addrA), netip.Addr{})
	if err != nil || r.MAC.String() != mac.String() || a.MAC().String() != mac.String() {
		t.Errorf("ARP says %v, %v; the host has %v", r.MAC, err, a.MAC())
	}
	must(t, b.Interface().ForgetNeighbors())
	if _, err := a.Ping(within(t), bIP); err != nil {
		t.Error(err)
	}
	var last string
	seen.each(func(_ vnet, _ []byte, p gopacket.Packet) {
		if src := p.NetworkLayer(); src != nil && src.NetworkFlow().Src().String() == addrA {
			last = p.LinkLayer().LinkFlow().Src().String()
		}
	})
	if last != mac.String() {
		t.Errorf("packets come from %s", last)
	}
}

// ARP asks by what is said to be the sender, without a place in the table.
func TestARP(t *testing.T) {
	a, b, seen := watchedPair(t, false)
	at, bIP := a.Interface(), netip.MustParseAddr(addrB)
	zero := netip.IPv4Unspecified()
	for _, sender := range []netip.Addr{{}, zero, netip.MustParseAddr(addrC)} {
		ctx, cancel := context.WithCancel(within(t))
		if sender.IsValid() && sender != zero {
			cancel() // the answer goes to addrC, which is nobody's; the question is sent all the same
		}
		r, err := at.ARP(ctx, bIP, sender)
		cancel()
		if err == nil && r.MAC.String() != b.MAC().String() {
			t.Errorf("%v is told %v", sender, r.MAC)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", sender, err)
		}
	}
	if all, err := at.Neighbors(); err != nil || len(all) > 0 {
		t.Errorf("the table has %v, %v", all, err)
	}
	if _, err := a.Ping(within(t), bIP); err != nil {
		t.Fatal(err)
	}
	all, err := at.Neighbors()
	if err != nil || len(all) != 1 || all[0].Address != bIP || all[0].State != "REACHABLE" ||
		all[0].MAC.String() != b.MAC().String() {
		t.Errorf("the table has %+v, %v", all, err)
	}
	must(t, at.ForgetNeighbors())
	if all, err := at.Neighbors(); err != nil || len(all) > 0 {
		t.Errorf("emptied, the table has %v, %v", all, err)
	}
	var asked []string
	seen.each(func(_ vnet, _ []byte, p gopacket.Packet) {
		arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if ok && arp.Operation == layers.ARPRequest && net.IP(arp.DstProtAddress).String() == addrB {
			asked = append(asked, net.IP(arp.SourceProtAddress).String())
		}
	})
	asked = slices.DeleteFunc(asked, func(by string) bool { return by == addrB }) // b announces itself
	check(t, "asked by", asked, addrA, "0.0.0.0", addrC, addrA)
}

// Only a reply of the address that is asked for is the answer.
func TestARPTakesTheAnswerAlone(t *testing.T) {
	target, other := netip.MustParseAddr(addrB), netip.MustParseAddr(addrC)
	macs := map[string]net.HardwareAddr{"right": {2, 0, 0, 0, 0, 1}, "wrong": {2, 0, 0, 0, 0, 2}}
	devA, far := tap.Pipe("a", "far", tap.PipeOptions{})
	a := start(t, devA, host.Config{Name: "a", Address: netip.MustParsePrefix(addrA + "/24")})
	receive(t, far, func(_ vnet, frame []byte) {
		arp, ok := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).
			Layer(layers.LayerTypeARP).(*layers.ARP)
		if !ok || net.IP(arp.DstProtAddress).String() != addrB {
			return
		}
		write(t, far, vnet{}, arpPacket(t, layers.ARPRequest, macs["wrong"], target, a.MAC(), a.Address()))
		write(t, far, vnet{}, arpPacket(t, layers.ARPReply, macs["wrong"], other, a.MAC(), a.Address()))
		write(t, far, vnet{}, arpPacket(t, layers.ARPReply, macs["right"], target, a.MAC(), a.Address()))
	})
	r, err := a.Interface().ARP(within(t), target, netip.Addr{})
	if err != nil || r.MAC.String() != macs["right"].String() {
		t.Errorf("got %v, %v", r.MAC, err)
	}
}

// Without an answer, the caller learns of it by its context.
func TestARPWithoutAnAnswer(t *testing.T) {
	a, _ := pair(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err := a.Interface().ARP(ctx, netip.MustParseAddr(addrC), netip.Addr{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A TCP listener of all addresses is there for a further one as well.
func TestListenersOfFurtherAddresses(t *testing.T) {
	a, b := pair(t, false)
	must(t, b.ServeEcho(7))
	must(t, b.Interface().AddAddress(netip.MustParsePrefix(addrC+"/24")))
	c, err := a.DialContext(within(t), "tcp", addrC+":7")
	must(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "x")
	must(t, err)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
