package router

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
)

// A member that does not answer ARP costs the connections that wait for it a
// moment. After that, it costs no client any time until it answers again.
func TestVIPPassesOverUnreachableMembers(t *testing.T) {
	l := newLesson(t)
	l.web1.mute = true
	connect := func(port int) []sent {
		l.tcp(l.client, port, "10.10.10.7", 80, "S")
		return l.take("vlan100")
	}
	if got := connect(4000); len(got) != 0 {
		t.Fatalf("sent to nobody: %v", got)
	}
	l.advance(4 * time.Second)
	l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.10:80 S") // it waited for WEB1
	for i := range 30 {
		if got := connect(4001 + i); len(got) != 1 {
			t.Fatalf("connection %d: %v", i, got)
		} else {
			l.want(got[0], "tcp 10.10.10.4:"+itoa(4001+i)+" > 172.16.100.10:80 S")
		}
		l.advance(time.Second / 2)
	}
	l.web1.mute = false
	connect(5000)
	l.advance(5 * time.Second) // in which it is asked again
	l.take("vlan100")
	connect(5001)
	l.advance(time.Second)
	l.take("vlan100")
	seen := map[string]int{}
	for i := range 6 {
		for _, got := range connect(5002 + i) {
			seen[got.ip.DstIP.String()]++
		}
	}
	if seen["172.16.100.9"] != 3 || seen["172.16.100.10"] != 3 {
		t.Errorf("after WEB1 is back: %v", seen)
	}
}

func TestVIPWithoutReachableMember(t *testing.T) {
	l := newLesson(t)
	l.web1.mute, l.web2.mute = true, true
	l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
	l.advance(10 * time.Second)
	l.none("vlan100")
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 3 code 1 about tcp 10.10.10.4:4000 > 10.10.10.7:80")
}

// A connection whose first packet here is no plain SYN had a member that the router does not
// know. It is refused, and must not cost a turn.
func TestVIPOpensBySYNOnly(t *testing.T) {
	l := newLesson(t)
	for i, flags := range []string{"S.", "SR", "SF", ".", "F.", "R"} {
		l.tcp(l.client, 4000+i, "10.10.10.7", 80, flags)
		l.none("vlan100")
		l.dropped(DropNotSYN, uint64(i+1))
	}
	l.tcp(l.client, 5000, "10.10.10.7", 80, "S")
	l.want(l.one("vlan100"), "tcp 10.10.10.4:5000 > 172.16.100.9:80 S")
}

// Neither the header nor the end of a packet in pieces is known: no RST.
func TestVIPWithoutMembersAndFragments(t *testing.T) {
	topo := tutorial()
	for i := range topo.Pools[0].Members {
		topo.Pools[0].Members[i].AdminStateUp = false
	}
	l := newLessonOf(t, topo)
	l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4000 R.")
	more := func(ip *layers.IPv4) { ip.Flags |= layers.IPv4MoreFragments }
	l.put("ext_net", l.build(l.client, "10.10.10.7", layers.IPProtocolTCP, []ipOpt{more}, tcpLayer(), payload(4)))
	later := func(ip *layers.IPv4) { ip.FragOffset = 3 }
	l.put("ext_net", l.build(l.client, "10.10.10.7", layers.IPProtocolTCP, []ipOpt{later}, gopacket.Payload("x")))
	l.none("ext_net")
	l.dropped(DropNoMember, 3)
}

// A client of a VIP may also talk to its member directly, from the same port and
// in either order. The answers must not be mixed up.
func TestVIPAndItsMemberFromOnePort(t *testing.T) {
	for _, direct := range []bool{false, true} {
		topo := tutorial()
		topo.Pools[0].Protocol, topo.VIPs[0].Protocol = file.UDP, file.UDP
		l := newLessonOf(t, topo)
		destinations := []string{"172.16.100.11", "172.16.100.9"}
		if direct {
			destinations = []string{"172.16.100.9", "172.16.100.11"}
		}
		for _, dst := range destinations {
			l.udp(l.vm3, 4000, dst, 80, "hello")
			got := l.one("vlan100")
			l.udp(l.web1, 80, "172.16.101.3", int(got.udp.SrcPort), "answer")
			l.want(l.one("vlan101"), "udp "+dst+":80 > 172.16.101.3:4000")
		}
	}
}

// A message without ports cannot get another port. Where its answers would look like
// those of another connection, it is refused, because the answers might go to the wrong host.
func TestTwoWaysToOneHostWithoutPorts(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].Gateway.SNAT = false
	l := newLessonOf(t, topo)
	ask := func(dst string) {
		l.put("ext_net", l.build(l.client, dst, layers.IPProtocolICMPv4, nil,
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimestampRequest, 0), Id: 7},
			gopacket.Payload("0123456789ab")))
	}
	ask("10.10.10.3")
	if got := l.one("vlan101"); got.ip.DstIP.String() != "172.16.101.3" {
		t.Fatal(got)
	}
	ask("172.16.101.3")
	l.none("vlan101")
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 3 code 13 about icmp 10.10.10.4 > 172.16.101.3 id 7")
}

// Two external ports that lead to one endpoint, from one port of the client.
func TestForwardedPortsThatMeet(t *testing.T) {
	topo := tutorial()
	f := &topo.FloatingIPs[2]
	f.PortForwarding = append(f.PortForwarding,
		file.PortForward{Protocol: file.TCP, ExternalPort: 22, FixedIP: addr("172.16.101.4"), Port: 22})
	l := newLessonOf(t, topo)
	for _, from := range []*simHost{l.client, l.vm3} {
		for _, port := range []int{22, 2222} {
			l.tcp(from, 4000, "10.10.10.8", port, "S")
			got := l.one("vlan101")
			l.tcp(l.vm4, 22, got.ip.SrcIP.String(), int(got.tcp.SrcPort), "S.")
			l.want(l.one(from.net), "tcp 10.10.10.8:"+itoa(port)+" > "+from.addr.String()+":4000 S.")
		}
	}
}

// An internal router on the way to a member is shown to clients inside, and not
// to those outside.
func TestErrorsFromBehindAVIP(t *testing.T) {
	topo := tutorial()
	topo.Pools[0].Members[0].Address = addr("192.168.10.5")
	topo.Pools[0].Members[1].AdminStateUp = false
	l := newLessonOf(t, topo)
	gw := l.host("vlan100", "172.16.100.254")
	l.tcp(l.vm4, 4000, "172.16.100.11", 80, "S")
	l.icmpError(gw, "172.16.101.4", 11, 0, l.one("vlan100"))
	l.want(l.one("vlan101"), "icmp 172.16.100.254 > 172.16.101.4 type 11 code 0 about tcp 172.16.101.4:4000 > "+
		"172.16.100.11:80")
	l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
	l.icmpError(gw, "10.10.10.4", 11, 0, l.one("vlan100"))
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 11 code 0 about tcp 10.10.10.4:4000 > 10.10.10.7:80")
}

// A flood of half-open connections to one host takes neither its own connections
// away nor other strangers' to it.
func TestSYNFloodToAFloatingIP(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections = 100
	l := newLessonOf(t, topo)
	for i := range 200 {
		l.tcp(l.client, 4000+i, "10.10.10.3", 22, "S")
	}
	if got := l.take("vlan101"); len(got) != 200 {
		t.Errorf("%d of 200 SYNs have arrived", len(got))
	}
	l.tcp(l.vm3, 5000, "10.10.10.1", 443, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.3:5000 > 10.10.10.1:443 S")
	l.tcp(l.upstream, 5000, "10.10.10.3", 22, "S")
	l.want(l.one("vlan101"), "tcp 10.10.10.1:5000 > 172.16.101.3:22 S")
}

// Nothing gets from outside into a connection between two inside hosts, also where
// one of them is behind another router.
func TestNothingGetsIntoInsideConnections(t *testing.T) {
	l := newLesson(t)
	l.host("vlan100", "172.16.100.254")
	far := &simHost{net: "vlan100", addr: addr("192.168.10.5"), mac: packet.MAC{2, 0, 0, 0, 0, 9}}
	l.udp(far, 53, "172.16.101.4", 4000, "hi")
	about := l.one("vlan101")
	l.udp(&simHost{net: "ext_net", addr: far.addr, mac: l.client.mac}, 53, "172.16.101.4", 4000, "evil")
	l.none("vlan101")
	l.dropped(DropMartianSource, 1)
	l.udp(&simHost{net: "vlan101", addr: far.addr, mac: l.vm3.mac}, 53, "172.16.101.4", 4000, "asymmetric")
	l.want(l.one("vlan101"), "udp 192.168.10.5:53 > 172.16.101.4:4000")

	l.icmpError(l.client, "192.168.10.5", 3, 3, about) // an error about it
	l.icmpError(l.client, "10.10.10.2", 3, 3, about)
	l.none("vlan100")
	l.dropped(DropICMPUnknown, 2)
	l.udp(l.vm4, 4001, "8.8.8.8", 53, "hi")
	about = l.one("ext_net")
	l.icmpError(l.web1, "10.10.10.2", 3, 3, about) // from inside, about one that went outside
	l.icmpError(l.client, "10.10.10.3", 3, 3, about)
	l.none("vlan101")
	l.dropped(DropICMPUnknown, 4)
	l.icmpError(l.client, "10.10.10.2", 3, 3, about)
	l.want(l.one("vlan101"), "icmp 10.10.10.4 > 172.16.101.4 type 3 code 3 about udp 172.16.101.4:4001 > 8.8.8.8:53")
}

// The router's floating IPs are its own: a packet from another host with such a source is dropped.
func TestFloatingIPAsSource(t *testing.T) {
	l := newLesson(t)
	for i, network := range []string{"ext_net", "vlan100"} {
		spoof := &simHost{net: network, addr: addr("10.10.10.7"), mac: l.client.mac}
		l.udp(spoof, 53, "10.10.10.3", 4000, "evil")
		l.none("vlan101")
		l.dropped(DropMartianSource, uint64(i+1))
	}
}

// An error about a connection that is forgotten passes a floating IP, addresses
// translated inside and out, and begins no connection.
func TestErrorsAboutForgottenConnections(t *testing.T) {
	l := newLesson(t)
	forget := func() {
		l.advance(6 * time.Minute)
		for _, n := range l.names {
			l.take(n)
		}
	}
	l.udp(l.vm3, 4000, "10.10.10.4", 9, "out")
	out := l.one("ext_net")
	l.udp(l.client, 4000, "10.10.10.3", 9, "in")
	in := l.one("vlan101")
	l.udp(l.vm4, 4000, "10.10.10.4", 9, "mapping")
	mapped := l.one("ext_net")
	l.udp(l.vm4, 4000, "10.10.10.3", 9, "mapping to floating IP")
	hairpin := l.one("vlan101")
	l.tcp(l.client, 4000, "10.10.10.8", 2222, "S")
	forwarded := l.one("vlan101")
	l.udp(l.vm3, 4000, "172.16.100.9", 9, "inside")
	inside := l.one("vlan100")
	forget()
	for range 2 {
		l.icmpError(l.client, "10.10.10.3", 3, 3, out)
		l.want(l.one("vlan101"), "icmp 10.10.10.4 > 172.16.101.3 type 3 code 3 about udp 172.16.101.3:4000 > "+
			"10.10.10.4:9")
		l.icmpError(l.vm3, "10.10.10.4", 3, 3, in)
		l.want(l.one("ext_net"), "icmp 10.10.10.3 > 10.10.10.4 type 3 code 3 about udp 10.10.10.4:4000 > 10.10.10.3:9")
	}
	l.icmpError(l.web1, "10.10.10.4", 11, 0, in) // from a router on the way inside
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 11 code 0 about udp 10.10.10.4:4000 > 10.10.10.3:9")
	l.icmpError(l.client, "10.10.10.2", 3, 3, mapped)
	l.none("vlan101")
	l.dropped(DropICMPUnknown, 1)
	l.icmpError(l.vm3, "10.10.10.2", 3, 3, hairpin)
	l.none("vlan101")
	l.dropped(DropICMPUnknown, 2)
	l.icmpError(l.vm4, "10.10.10.4", 3, 3, forwarded)
	l.none("ext_net")
	l.dropped(DropICMPUnknown, 3)
	l.icmpError(l.web1, "172.16.101.3", 3, 3, inside)
	l.want(l.one("vlan101"), "icmp 172.16.100.9 > 172.16.101.3 type 3 code 3 about udp 172.16.101.3:4000 > "+
		"172.16.100.9:9")
	if n := l.w.routers[0].Conns.Len(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A client repeats its SYN while the router waits for a member that is not there. The next member gets
// the SYN once.
func TestRepeatedSYNGoesOnOnce(t *testing.T) {
	l := newLesson(t)
	l.web1.mute, l.web2.mute = true, true
	syn := func(port int) { l.tcp(l.client, port, "10.10.10.7", 80, "S") }
	syn(4000)
	l.advance(time.Second)
	syn(4000)
	syn(4001) // another connection
	l.advance(2 * time.Second)
	syn(4000) // both are asked for by now
	l.advance(time.Second)
	syn(4000)
	l.web2.mute = false
	l.advance(2 * time.Second) // in which it is asked again
	seen := map[string]int{}
	for _, got := range l.take("vlan100") {
		seen[got.String()]++
	}
	if want := map[string]int{
		"tcp 10.10.10.4:4000 > 172.16.100.10:80 S": 1, "tcp 10.10.10.4:4001 > 172.16.100.10:80 S": 1,
	}; !maps.Equal(seen, want) {
		t.Errorf("members got %v, want %v", seen, want)
	}
	l.dropped(DropDuplicate, 3)
}

// So it is without a VIP, when the next hop answers at last, or does not; and with the answer to a SYN. Only
// the same segment counts, and datagrams that look alike are all sent.
func TestWhatWaitsTwice(t *testing.T) {
	l := newLesson(t)
	absent := l.host("vlan100", "172.16.100.50")
	segment := func(from *simHost, flags string, seq, port int) {
		f := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: 80, Seq: uint32(seq), Window: 1000}
		f.SYN, f.ACK = strings.Contains(flags, "S"), strings.Contains(flags, ".")
		l.put(from.net, l.build(from, "172.16.100.50", layers.IPProtocolTCP, nil, f))
	}
	count := func(want int, what string, send func()) {
		t.Helper()
		absent.mute = true
		before := l.w.Stats.Dropped[DropDuplicate]
		for range 3 {
			send()
		}
		waiting := l.w.Stats.Parked
		absent.mute = false
		l.take("vlan100")
		l.put("vlan100", packet.PutARP(make([]byte, packet.ARPLen), absent.mac, l.routerMAC("vlan100"),
			packet.ARP{SenderMAC: absent.mac, Sender: packet.AddrFrom(absent.addr),
				Target: packet.AddrFrom(addr("172.16.100.1"))}))
		got := l.take("vlan100")
		if len(got) != want || waiting != int64(want) || l.w.Stats.Dropped[DropDuplicate]-before != uint64(3-want) {
			t.Errorf("%s: %d have waited, %d have gone on: %v; want %d", what, waiting, len(got), got, want)
		}
		for _, r := range l.w.routers {
			r.Neighbors.Forget(r.Interfaces[2].ID)
			r.Neighbors.Forget(r.Interfaces[1].ID)
		}
	}
	count(1, "SYN", func() { segment(l.vm3, "S", 1000, 4000) })
	seq := 0
	count(3, "SYNs of different connections", func() { seq++; segment(l.vm3, "S", seq, 4100) })
	count(3, "SYNs from different ports", func() { seq++; segment(l.vm3, "S", 7, 4200+seq) })
	count(1, "SYN-ACK", func() { segment(l.vm3, "S.", 1000, 4300) })
	count(3, "acknowledgements", func() { segment(l.vm3, ".", 1000, 4400) })
	count(3, "datagrams", func() { l.udp(l.vm3, 4500, "172.16.100.50", 53, "the same") })
	count(3, "pings", func() { l.ping(l.vm3, "172.16.100.50", 5, 1) })
	from := []*simHost{l.vm3, l.vm4, l.host("vlan101", "172.16.101.5")}
	count(3, "SYNs of different hosts", func() { segment(from[0], "S", 7, 4600); from = from[1:] })

	absent.mute = true
	for range 3 {
		segment(l.vm4, "S", 1000, 4700)
	}
	l.take("vlan101")
	l.advance(3 * time.Second)
	l.want(l.one("vlan101"),
		"icmp 172.16.101.1 > 172.16.101.4 type 3 code 1 about tcp 172.16.101.4:4700 > 172.16.100.50:80")
}
