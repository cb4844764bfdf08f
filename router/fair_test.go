package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

const (
	fairTable = 512            // connections
	fairFlood = 10 * fairTable // packets of a flood, ten in a millisecond,
	fairRTT   = 200 * 10       // of which so many pass in 200 ms
	fairNear  = fairTable / 4  // and so many while a handshake in the flooded network lasts
	fairLong  = 3 * time.Hour  // after which every connection has expired
	fairTCP   = packet.ProtoTCP
	fairUDP   = packet.ProtoUDP
)

// A bystander is a pair of hosts that have nothing to do with a flood.
type bystander struct {
	l        *lesson
	from, to *simHost
	dst      string // the address that from connects to,
	dport    int    // and the port
	server   int    // the port at which to answers
	phase    int    // when it begins, in packets of the flood
	rtt      int    // how long an answer takes, in packets of the flood
	begun    []handshake
	done     int
}

type handshake struct {
	at    int    // packet of the flood that it began before
	port  int    // of the client
	shown string // address and port that the server saw
	sport int
}

// step goes on with the handshakes, one more every 200 packets.
func (b *bystander) step(i int) {
	b.l.t.Helper()
	if i%200 == b.phase {
		h := handshake{at: i, port: 20000 + i}
		b.l.tcp(b.from, h.port, b.dst, b.dport, "S")
		got := b.l.only(b.to.net, fairTCP, b.server, "S")
		h.shown, h.sport = got.ip.SrcIP.String(), int(got.tcp.SrcPort)
		b.begun = append(b.begun, h)
	}
	for len(b.begun) > 0 && i >= b.begun[0].at+b.rtt {
		h := b.begun[0]
		b.begun = b.begun[1:]
		b.l.tcp(b.to, b.server, h.shown, h.sport, "S.")
		b.l.only(b.from.net, fairTCP, h.port, "S.")
		b.l.tcp(b.from, h.port, b.dst, b.dport, ".")
		b.l.only(b.to.net, fairTCP, b.server, ".")
		b.l.tcp(b.to, b.server, h.shown, h.sport, "R.")
		b.l.only(b.from.net, fairTCP, h.port, "R.")
		b.done++
	}
}

// only is the one frame to a port that has gone out to a network; the flood's are thrown
// away.
func (l *lesson) only(network string, proto uint8, port int, flags string) sent {
	l.t.Helper()
	var got []sent
	for _, f := range l.take(network) {
		if f.tcp != nil && proto == fairTCP && int(f.tcp.DstPort) == port && tcpFlags(f) == flags ||
			f.udp != nil && proto == fairUDP && int(f.udp.DstPort) == port {
			got = append(got, f)
		}
	}
	if len(got) != 1 {
		l.t.Fatalf("want one frame to port %d on %s, got %v; drops %v", port, network, got, l.stats().Drops)
	}
	return got[0]
}

// stream sends one more packet of a stream that gets no answers. It must have the same connection as the
// packets before.
func (l *lesson) stream(from *simHost, i int) {
	l.t.Helper()
	tuple := packet.Tuple{Src: packet.AddrFrom(from.addr), SrcPort: 6000, Dst: packet.AddrFrom(l.client.addr),
		DstPort: 514, Proto: fairUDP}
	if c, _ := l.w.routers[0].Conns.Lookup(&tuple, l.now); c == nil && i > 0 {
		l.t.Fatalf("the stream of %v is forgotten after %d packets of the flood", from.addr, i)
	}
	l.udp(from, 6000, "10.10.10.4", 514, "log")
	l.only("ext_net", fairUDP, 514, "")
}

func tcpFlags(f sent) string {
	var flags, s string
	fmt.Sscanf(f.String(), "tcp %s > %s %s", &s, &s, &flags)
	return flags
}

// One tenant's flood, of ten times the table, takes nothing from other tenants: neither
// from handshakes, nor from a stream that gets no answers, nor from established connections.
// Afterwards the memory is given back.
func TestFloodOfHalfOpenConnections(t *testing.T) {
	spoofed := func(l *lesson, network string, i int) *simHost {
		return &simHost{net: network, addr: addr(fmt.Sprintf("100.64.%d.%d", i>>8, i&255)), mac: l.vm4.mac}
	}
	far := func(i int) string { return fmt.Sprintf("198.51.%d.%d", i>>8&63, i&255) }
	for name, flood := range map[string]func(l *lesson, i int){
		"SYN of one host":      func(l *lesson, i int) { l.tcp(l.vm4, 1024+i, far(i), 80, "S") },
		"UDP of one host":      func(l *lesson, i int) { l.udp(l.vm4, 1024+i, far(i), 53, "") },
		"pings of one host":    func(l *lesson, i int) { l.ping(l.vm4, far(i), i, 1) },
		"SYN of made-up hosts": func(l *lesson, i int) { l.tcp(spoofed(l, "vlan101", i), 4000, far(i), 80, "S") },
		"UDP of made-up hosts": func(l *lesson, i int) { l.udp(spoofed(l, "vlan101", i), 4000, far(i), 53, "") },
		"SYN and RST of made-up hosts": func(l *lesson, i int) {
			from := spoofed(l, "vlan101", i)
			l.tcp(from, 4000, far(i), 80, "S")
			l.tcp(from, 4000, far(i), 80, "R")
		},
		"SYN from outside to a floating IP": func(l *lesson,
			i int) {
			l.tcp(spoofed(l, "ext_net", i), 4000, "10.10.10.3", 23, "S")
		},
		"UDP from outside to a floating IP": func(l *lesson,
			i int) {
			l.udp(spoofed(l, "ext_net", i), 4000, "10.10.10.3", 53, "")
		},
		"SYN from outside to a VIP": func(l *lesson,
			i int) {
			l.tcp(spoofed(l, "ext_net", i), 4000, "10.10.10.7", 80, "S")
		},
		"SYN from inside to a VIP": func(l *lesson,
			i int) {
			l.tcp(spoofed(l, "vlan101", i), 4000, "172.16.100.11", 80, "S")
		},
	} {
		t.Run(name, func(t *testing.T) { testFlood(t, flood) })
	}
}

func testFlood(t *testing.T, flood func(l *lesson, i int)) {
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections = fairTable
	topo.VIPs[0].Port, topo.Pools[0].Members[0].AdminStateUp = 80, false
	l := newLessonOf(t, topo)
	table := l.w.routers[0].Conns

	// Something of everything comes and goes.
	flood(l, 0)
	l.udp(l.web1, 5000, "10.10.10.4", 53, "")
	l.udp(l.web1, 5000, "10.10.10.1", 53, "")
	l.tcp(l.web1, 5000, "10.10.10.4", 80, "S")
	l.tcp(l.client, 5000, "10.10.10.8", 2222, "S")
	l.advance(fairLong)
	empty := table.Bytes()
	for _, n := range l.names {
		l.take(n)
	}

	l.tcp(l.web1, 5001, "10.10.10.4", 80, "S")
	l.only("ext_net", fairTCP, 80, "S")
	l.tcp(l.client, 80, "10.10.10.2", 5001, "S.")
	l.tcp(l.web1, 5001, "10.10.10.4", 80, ".")
	l.udp(l.web1, 5002, "10.10.10.4", 53, "")
	l.udp(l.client, 53, "10.10.10.2", 5002, "")
	l.take("vlan100")
	l.take("ext_net")

	out := &bystander{l: l, from: l.web1, to: l.client, dst: "10.10.10.4", dport: 443, server: 443, rtt: fairRTT}
	in := &bystander{l: l, from: l.upstream, to: l.vm4, dst: "10.10.10.8", dport: 2222, server: 22, rtt: fairRTT}
	near := &bystander{l: l, from: l.host("vlan101", "172.16.101.5"), to: l.client, dst: "10.10.10.4", dport: 8443,
		server: 8443, phase: 70, rtt: fairNear}
	for i := range fairFlood {
		flood(l, i)
		if i%10 == 0 {
			l.stream(l.web1, i)
			l.stream(l.vm4, i) // of a flooding host, too
			l.advance(time.Millisecond)
		}
		out.step(i)
		in.step(i)
		near.step(i)
		if n := table.Len(); n > fairTable {
			t.Fatalf("%d connections", n)
		}
	}
	for _, b := range []*bystander{out, in, near} {
		if want := (fairFlood-1-b.phase-b.rtt)/200 + 1; b.done != want {
			t.Errorf("%d handshakes from %v are done, want %d", b.done, b.from.addr, want)
		}
	}
	for _, n := range l.names {
		l.take(n)
	}
	l.tcp(l.client, 80, "10.10.10.2", 5001, ".")
	l.want(l.one("vlan100"), "tcp 10.10.10.4:80 > 172.16.100.9:5001 .")
	l.udp(l.client, 53, "10.10.10.2", 5002, "")
	l.want(l.one("vlan100"), "udp 10.10.10.4:53 > 172.16.100.9:5002")

	l.advance(fairLong)
	if got := table.Bytes(); got != empty || table.Len() != 0 {
		t.Errorf("afterwards %d connections and %d bytes, before %d bytes", table.Len(), got, empty)
	}
}
