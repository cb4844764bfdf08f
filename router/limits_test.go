package router

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Without SNAT a router routes both ways; floating IPs work all the same.
func TestWithoutSNAT(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].Gateway.SNAT = false
	l := newLessonOf(t, topo)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "out")
	l.want(l.one("ext_net"), "udp 172.16.101.4:4000 > 10.10.10.4:53")
	l.udp(l.client, 4000, "172.16.101.4", 53, "in")
	l.want(l.one("vlan101"), "udp 10.10.10.4:4000 > 172.16.101.4:53")
	l.tcp(l.client, 4000, "172.16.100.11", 80, "S")
	l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.9:80 S")
	l.udp(l.vm3, 4000, "10.10.10.4", 53, "floating IP out")
	l.want(l.one("ext_net"), "udp 10.10.10.3:4000 > 10.10.10.4:53")
	l.udp(l.client, 4000, "10.10.10.3", 53, "floating IP in")
	l.want(l.one("vlan101"), "udp 10.10.10.4:4000 > 172.16.101.3:53")
	l.tcp(l.vm4, 4000, "10.10.10.7", 80, "S") // no address of its own outside to show
	l.want(l.one("vlan100"), "tcp 172.16.101.4:4000 > 172.16.100.10:80 S")
}

// RFC 6888, REQ-6: some destinations see internal addresses, with every protocol; what
// begins there is still refused, and all else is translated as ever.
func TestDestinationsWithoutNAT(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].NAT.NoSNAT = []netip.Prefix{prefix("10.20.0.0/16"), prefix("10.10.10.4/32"),
		prefix("172.16.101.3/32")}
	l := newLessonOf(t, topo)
	for _, from := range []*simHost{l.vm4, l.vm3} { // by SNAT, by a floating IP
		l.udp(from, 4000, "10.10.10.4", 53, "out")
		l.want(l.one("ext_net"), fmt.Sprintf("udp %v:4000 > 10.10.10.4:53", from.addr))
		l.udp(l.client, 53, from.addr.String(), 4000, "answer")
		l.want(l.one("vlan101"), fmt.Sprintf("udp 10.10.10.4:53 > %v:4000", from.addr))
	}
	l.put("vlan101", l.build(l.vm4, "10.20.7.7", 47, nil, payload(20)))
	if out := l.one("ext_net"); out.ip.SrcIP.String() != "172.16.101.4" {
		t.Errorf("GRE from %v", out.ip.SrcIP)
	}
	l.udp(l.vm4, 4000, "10.21.0.1", 53, "elsewhere")
	l.want(l.one("ext_net"), "udp 10.10.10.2:4000 > 10.21.0.1:53")
	l.udp(l.client, 4001, "172.16.101.4", 53, "begins outside")
	l.none("vlan101")
	l.dropped(DropPolicy, 1)
	l.udp(l.vm4, 4000, "10.10.10.3", 53, "hairpin")
	l.want(l.one("vlan101"), "udp 10.10.10.2:4000 > 172.16.101.3:53")
}

// RFC 3704: what may come from where.
func TestReversePath(t *testing.T) {
	for _, c := range []struct {
		filter string
		// passes: from behind another interface, from where no route leads, from behind this one
		other, nowhere, back bool
	}{{"", true, true, true}, {"off", true, true, true}, {"loose", true, false, true}, {"strict", false, false, true}} {
		topo := tutorial()
		r := &topo.Routers[0]
		r.RPFilter = c.filter
		withoutUpstream(topo)
		r.Routes = []file.Route{
			{Destination: prefix("192.168.10.0/24"), NextHop: netip.MustParseAddr("172.16.100.10")},
			{Destination: prefix("192.168.11.0/24"), NextHop: netip.MustParseAddr("172.16.101.4")},
		}
		l := newLessonOf(t, topo)
		for src, passes := range map[string]bool{"192.168.10.5": c.other, "198.51.100.1": c.nowhere,
			"192.168.11.5": c.back} {
			before := l.w.Stats.Dropped[DropReversePath]
			from := *l.vm4
			from.addr = netip.MustParseAddr(src)
			l.udp(&from, 4000, "172.16.100.9", 53, "in")
			got := len(l.take("vlan100"))
			if drops := l.w.Stats.Dropped[DropReversePath] - before; got == 1 != passes || drops == 0 != passes {
				t.Errorf("%q: %s: %d forwarded, %d dropped", c.filter, src, got, drops)
			}
		}
	}
}

// A full table refuses what it would have to translate, tells the sender so, and
// lets everything else go on.
func TestFullTable(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections, topo.Routers[0].NAT.HostShare = 8, 1
	l := newLessonOf(t, topo)
	for i := range 8 {
		from := []*simHost{l.vm4, l.web1}[i%2]
		l.udp(from, 4000+i, "10.10.10.4", 53, "new")
		out := l.one("ext_net")
		l.udp(l.client, 53, "10.10.10.2", int(out.udp.SrcPort), "answered, so not the first to make room")
		l.one(from.net)
	}
	l.udp(l.web2, 4000, "10.10.10.4", 53, "one too many")
	l.want(l.one("vlan100"), "icmp 172.16.100.1 > 172.16.100.10 type 3 code 13 about udp 172.16.100.10:4000 > "+
		"10.10.10.4:53")
	l.none("ext_net")
	l.dropped(DropTableFull, 1)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "known")
	l.want(l.one("ext_net"), "udp 10.10.10.2:4000 > 10.10.10.4:53")
	l.udp(l.vm3, 4000, "172.16.100.9", 53, "not translated")
	l.want(l.one("vlan100"), "udp 172.16.101.3:4000 > 172.16.100.9:53")
	if n := l.w.routers[0].Conns.Len(); n != 8 {
		t.Errorf("%d connections", n)
	}
}

// When every port has its mapping, ports are shared by connections to different
// endpoints; towards one endpoint, there are no more than ports.
func TestPortExhaustion(t *testing.T) {
	topo := tutorial()
	c := topo.Routers[0].NAT
	c.PortMin, c.PortMax, c.HostShare = 2000, 2003, 1
	l := newLessonOf(t, topo)
	seen := map[uint16]bool{}
	for i := range 4 {
		l.udp(l.vm4, 4000+i, "10.10.10.4", 53, "mapping")
		seen[uint16(l.one("ext_net").udp.SrcPort)] = true
	}
	if len(seen) != 4 {
		t.Errorf("ports %v", seen)
	}
	l.udp(l.vm4, 5000, "10.10.10.4", 53, "none left here")
	l.want(l.one("vlan101"), "icmp 172.16.101.1 > 172.16.101.4 type 3 code 13 about udp 172.16.101.4:5000 > "+
		"10.10.10.4:53")
	l.dropped(DropNoPort, 1)
	l.udp(l.vm4, 5000, "10.10.10.1", 53, "overloaded")
	out := l.one("ext_net")
	if !seen[uint16(out.udp.SrcPort)] {
		t.Errorf("port %d", out.udp.SrcPort)
	}
	l.udp(l.upstream, 53, "10.10.10.2", int(out.udp.SrcPort), "answer")
	l.want(l.one("vlan101"), "udp 10.10.10.1:53 > 172.16.101.4:5000")
	r := l.w.routers[0]
	if got, mapped := r.Conns.Stats(), r.NAT.Stats(); got != (conntrack.Stats{Created: 5}) ||
		mapped != (nat.Stats{Overloaded: 1}) {
		t.Errorf("%+v, %+v", got, mapped)
	}
}

// A seed gives the same again; without one nothing comes again.
func TestRandomness(t *testing.T) {
	of := func(seed uint64, use string, object wire.ID) uint64 {
		return newRandomness(seed).of(use, object).Uint64()
	}
	if first, again := of(5, "router", "a"), of(5, "router", "a"); first != again || first == of(6, "router", "a") {
		t.Error("a seed does not say what comes")
	}
	if of(5, "router", "a") == of(5, "router", "b") || of(5, "router", "a") == of(5, "network", "a") {
		t.Error("two objects, or two uses of one, have the same")
	}
	if first, again := of(0, "router", "a"), of(0, "router", "a"); first == again {
		t.Error("without a seed the same comes again")
	}
	r := newRandomness(5).of("router", "a")
	if ip.Split(r).Uint64() == ip.Split(r).Uint64() {
		t.Error("two who split one generator have the same")
	}
}

// RFC 6888, REQ-11: the administrator is told, and not a thousand times.
func TestExhaustionIsLogged(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections, topo.Routers[0].NAT.HostShare = 4, 0.5
	l := newLessonOf(t, topo)
	var log bytes.Buffer
	l.w.Log = slog.New(slog.NewTextHandler(&log, nil))
	flood := func() {
		for i := range 20 {
			l.udp(l.vm4, 4000+i, "10.10.10.4", 53, "new")
		}
	}
	lines := func(want int) {
		t.Helper()
		if n := strings.Count(log.String(), "reason=host-share"); n != want ||
			!strings.Contains(log.String(), "sender=172.16.101.4") {
			t.Errorf("%d lines, want %d:\n%s", n, want, &log)
		}
	}
	flood()
	lines(1)
	l.advance(59 * time.Second)
	flood()
	lines(1)
	l.advance(time.Second)
	flood()
	lines(2)
}

// Each address is defended, though another one is claimed all the time.
func TestConflictsOfSeveralAddresses(t *testing.T) {
	l := newLesson(t)
	var log bytes.Buffer
	l.w.Log = slog.New(slog.NewTextHandler(&log, nil))
	claim := func(addr string, warned, defended int) {
		t.Helper()
		log.Reset()
		l.takeARP("ext_net")
		a := netip.MustParseAddr(addr)
		l.put("ext_net", packet.PutARP(make([]byte, packet.ARPLen), l.client.mac, packet.Broadcast,
			packet.ARP{Request: true, SenderMAC: l.client.mac, Sender: packet.AddrFrom(a), Target: packet.AddrFrom(a)}))
		if n := strings.Count(log.String(), "address="+addr); n != warned {
			t.Errorf("%s: %d warnings:\n%s", addr, n, &log)
		}
		if n := len(l.takeARP("ext_net")); n != defended {
			t.Errorf("%s: defended %d times", addr, n)
		}
	}
	claim("10.10.10.3", 1, 1)
	claim("10.10.10.3", 0, 0)
	claim("10.10.10.2", 1, 1)
	l.advance(10 * time.Second)
	claim("10.10.10.3", 1, 1)
}
