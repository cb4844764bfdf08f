package router

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
)

func (l *lesson) do(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// announced is the addresses that have been announced on a network.
func (l *lesson) announced(network string) []string {
	var out []string
	for _, m := range l.takeARP(network) {
		if m.Sender == m.Target {
			out = append(out, m.Sender.Netip().String())
		}
	}
	return out
}

// answers reports whether the router answers for an address on the external network.
func (l *lesson) answers(a string) bool {
	b := make([]byte, packet.ARPLen)
	packet.PutARP(b, l.client.mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: l.client.mac,
		Sender: packet.AddrFrom(l.client.addr), Target: packet.AddrFrom(addr(a))})
	l.put("ext_net", b)
	return len(l.takeARP("ext_net")) > 0
}

// A host that gets a floating IP shows it from then on, and is reached by it. What it
// had going on through shared SNAT goes on as it was.
func TestAssociate(t *testing.T) {
	l := newLesson(t)
	tcp := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream)
	l.exchange(l.vm4, 4000, "10.10.10.1", 53, l.upstream, "10.10.10.2")
	if l.answers("10.10.10.5") {
		t.Error("somebody answers for a floating IP that is not associated")
	}
	for range 2 { // the second time changes nothing
		l.do(l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")))
		tcp.lives()
		l.exchange(l.vm4, 4000, "10.10.10.1", 53, l.upstream, "10.10.10.2")
		if !l.answers("10.10.10.5") {
			t.Error("nobody answers for it")
		}
	}
	tcp2 := l.tcpFlow(l.vm4, 4001, "10.10.10.1", 80, l.upstream)
	if tcp2.from != "10.10.10.5" || tcp2.fromPort != 4001 {
		t.Errorf("a new connection shows %s:%d", tcp2.from, tcp2.fromPort)
	}
	l.exchange(l.vm4, 4001, "10.10.10.1", 53, l.upstream, "10.10.10.5")
	l.exchange(l.client, 4000, "10.10.10.5", 53, l.vm4, "10.10.10.4")
	l.tcpFlow(l.client, 4000, "10.10.10.5", 22, l.vm4)
	tcp.lives()
	l.wantResets(nil)
}

// A new floating IP is announced three times, and nothing else is; one that is gone
// again is not.
func TestAssociationIsAnnounced(t *testing.T) {
	l := newLesson(t)
	l.do(l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")))
	l.run()
	if got := l.announced("ext_net"); !slices.Equal(got, []string{"10.10.10.5"}) {
		t.Errorf("announced at once: %v", got)
	}
	l.advance(2 * time.Second)
	if got := l.announced("ext_net"); !slices.Equal(got, []string{"10.10.10.5"}) {
		t.Errorf("announced after two seconds: %v", got)
	}
	l.do(l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.100.9"))) // moves: from the beginning
	l.advance(time.Minute)
	if got := l.announced("ext_net"); len(got) != 3 {
		t.Errorf("announced after the move: %v", got)
	}
	l.do(l.AssociateFloatingIP(addr("10.10.10.6"), addr("172.16.101.4")))
	l.do(l.DisassociateFloatingIP(addr("10.10.10.6")))
	l.run()
	if got := l.announced("ext_net"); len(got) != 1 {
		t.Errorf("announced: %v", got)
	}
	l.advance(time.Minute)
	if got := append(l.announced("ext_net"), append(l.announced("vlan100"),
		l.announced("vlan101")...)...); len(got) != 0 {
		t.Errorf("announced: %v", got)
	}
}

// All that went through a floating IP ends when it is taken away, both ways, also what
// came from inside; the rest does not notice.
func TestDisassociate(t *testing.T) {
	l := newLesson(t)
	over := []*flow{
		l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3),
		l.tcpFlow(l.vm3, 4001, "10.10.10.1", 80, l.upstream),
		l.tcpFlow(l.vm4, 4002, "10.10.10.3", 22, l.vm3), // hairpin, by a mapping
	}
	if over[1].from != "10.10.10.3" || over[2].from != "10.10.10.2" {
		t.Fatalf("seen from %s and %s", over[1].from, over[2].from)
	}
	stay := []*flow{
		l.tcpFlow(l.vm4, 4003, "10.10.10.1", 80, l.upstream),
		l.tcpFlow(l.vm4, 4004, "172.16.101.3", 22, l.vm3)}
	l.exchange(l.client, 4000, "10.10.10.3", 53, l.vm3, "10.10.10.4")
	l.exchange(l.vm3, 4001, "10.10.10.1", 53, l.upstream, "10.10.10.3")
	l.ping(l.client, "10.10.10.3", 7, 1)
	l.one("vlan101")
	inside := l.Stats().Routers[0].Connections

	l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
	l.wantResets(resets(over...))
	if got := l.Stats().Routers[0]; got.Settled != 6 || got.Connections != inside-6 ||
		len(l.Connections()) != inside-6 {
		t.Errorf("%d settled, %d left of %d", got.Settled, got.Connections, inside)
	}
	if l.answers("10.10.10.3") || !l.answers("10.10.10.7") {
		t.Error("the router answers for the wrong floating IPs")
	}
	for _, f := range stay {
		f.lives()
	}
	l.udp(l.client, 4000, "10.10.10.3", 53, "late")
	l.ping(l.client, "10.10.10.3", 7, 2)
	l.segment(l.client, 4000, "10.10.10.3", 22, packet.ACK, over[0].seq, over[0].sseq, 10)
	l.none("vlan101")
	l.dropped(DropPolicy, 2)
	l.dropped(DropCut, 1)
	l.want(l.one("ext_net"), "tcp 10.10.10.3:22 > 10.10.10.4:4000 R")
	l.exchange(l.vm3, 4001, "10.10.10.1", 53, l.upstream, "10.10.10.2") // like hosts without a floating IP
	if f := l.tcpFlow(l.vm3, 4005, "10.10.10.1", 80, l.upstream); f.from != "10.10.10.2" {
		t.Errorf("shows %s", f.from)
	}
}

// A floating IP that moves is another host's from one packet to the next, and what
// the former one had going on through it is over. The new one keeps what it has.
func TestMove(t *testing.T) {
	for _, snat := range []bool{true, false} {
		topo := tutorial()
		topo.Routers[0].Gateway.SNAT = snat
		l := newLessonOf(t, topo)
		in, out := l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3),
			l.tcpFlow(l.vm3, 4001, "10.10.10.1", 80, l.upstream)
		own := l.tcpFlow(l.vm4, 4002, "10.10.10.1", 80, l.upstream)
		l.exchange(l.client, 4000, "10.10.10.3", 53, l.vm3, "10.10.10.4")
		l.exchange(l.vm3, 4001, "10.10.10.1", 53, l.upstream, "10.10.10.3")
		l.ping(l.client, "10.10.10.3", 7, 1)
		l.one("vlan101")

		l.do(l.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4")))
		l.wantResets(resets(in, out))
		l.exchange(l.client, 4000, "10.10.10.3", 53, l.vm4, "10.10.10.4")
		l.ping(l.client, "10.10.10.3", 7, 2)
		l.want(l.one("vlan101"), "icmp 10.10.10.4 > 172.16.101.4 type 8 id 7 seq 2")
		own.lives()
		// The same port to the same place as the former host had.
		if f := l.tcpFlow(l.vm4, 4001, "10.10.10.1", 80, l.upstream); f.from != "10.10.10.3" || f.fromPort != 4001 {
			t.Errorf("snat %t: the new host shows %s:%d", snat, f.from, f.fromPort)
		}
		want := map[bool]string{true: "10.10.10.2", false: "172.16.101.3"}[snat]
		l.udp(l.vm3, 4001, "10.10.10.1", 53, "goes on")
		if got := l.one("ext_net"); got.ip.SrcIP.String() != want {
			t.Errorf("snat %t: the former host shows %v", snat, got.ip.SrcIP)
		}
		l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm4) // from the same port as before
	}
}

// A connection through two floating IPs ends with either; a VIP's floating IP takes only
// those with it that came through it.
func TestHairpinsFollow(t *testing.T) {
	for _, gone := range []string{"10.10.10.3", "10.10.10.5"} {
		l := newLesson(t)
		l.do(l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")))
		f := l.tcpFlow(l.vm3, 4000, "10.10.10.5", 22, l.vm4)
		if f.from != "10.10.10.3" {
			t.Errorf("seen from %s", f.from)
		}
		l.exchange(l.vm3, 4000, "10.10.10.5", 53, l.vm4, "10.10.10.3")
		l.do(l.DisassociateFloatingIP(addr(gone)))
		l.wantResets(resets(f))
		if n := l.w.routers[0].Conns.Len(); n != 0 {
			t.Errorf("%d connections are left without %s", n, gone)
		}
	}
	l := newLesson(t)
	over := []*flow{l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1),
		l.tcpFlow(l.vm3, 4001, "10.10.10.7", 80, l.web2)}
	direct := l.tcpFlow(l.vm3, 4002, "172.16.100.11", 80, l.web1)
	l.do(l.AssociateFloatingIP(addr("10.10.10.7"), addr("172.16.100.9"))) // past the VIP
	l.wantResets(resets(over...))
	direct.lives()
	l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.AssociateFloatingIP(addr("10.10.10.9"), addr("172.16.100.11"))) // the VIP's other one
	l.tcpFlow(l.client, 4001, "10.10.10.9", 80, l.web2)
}

// A client that waits for the answer to its SYN is told, too, and so is the host that may have
// sent an answer.
func TestDisassociateHalfOpen(t *testing.T) {
	l := newLesson(t)
	l.syn(l.client, 4000, "10.10.10.3", 22, l.vm3)
	answered := l.syn(l.client, 4001, "10.10.10.3", 22, l.vm3)
	l.segment(l.vm3, 22, "10.10.10.4", 4001, packet.SYN|packet.ACK, 5000, 1001, 0)
	answered.sseq++
	l.one("ext_net")
	l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
	want := resets(answered)
	want["ext_net"] = append(want["ext_net"], "tcp 10.10.10.3:22 > 10.10.10.4:4000 R. seq 0 ack 1001")
	want["vlan101"] = append(want["vlan101"], "tcp 10.10.10.4:4000 > 172.16.101.3:22 R seq 1001 ack 0")
	l.wantResets(want)
}

// A RST is not worth an ARP request, nor a place in the queue.
func TestResetNeedsNeighbor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		l := newLesson(t)
		f := l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3)
		r := l.w.routers[0]
		r.Neighbors.Forget(r.Gateway.Interface.ID)
		l.client.mute = true
		var parked uint64
		if asked { // another host's packet has the router ask for the client already
			l.udp(l.vm4, 4000, "10.10.10.4", 53, "waits")
			parked = 1
		}
		l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
		want := resets(f)
		delete(want, "ext_net")
		l.wantResets(want)
		if r.Neighbors.Find(neighbor.Key{Iface: r.Gateway.Interface.ID,
			Addr: packet.AddrFrom(l.client.addr)}) != nil != asked ||
			l.Stats().Parked != parked {
			t.Error("it is asked for, or waited for")
		}
	}
}

// The address of a host that is away is still the router's, and says that the host is
// not there.
func TestFloatingIPOfAStoppedHost(t *testing.T) {
	l := newLesson(t)
	l.vm3.mute = true
	if !l.answers("10.10.10.3") {
		t.Error("nobody answers for the floating IP")
	}
	l.udp(l.client, 4000, "10.10.10.3", 53, "hello?")
	l.advance(4 * time.Second)
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 3 code 1 about udp 10.10.10.4:4000 > 10.10.10.3:53")
}

// A host may not have got its RST, or may ask back because a segment before the RST was lost. It gets
// a RST for the next segment that it sends, for as long as an unused port is remembered. A new
// connection from the same port gets none.
func TestLostResetIsRepeated(t *testing.T) {
	l := newLesson(t)
	in, out := l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3), l.tcpFlow(l.vm3, 4001, "10.10.10.1", 80, l.upstream)
	l.do(l.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4")))
	l.wantResets(resets(in, out))
	for _, f := range []*flow{in, out} {
		for range 2 {
			l.segment(f.client, f.port, f.to, f.toPort, packet.ACK, f.seq, 777, 0)
			l.wantResets(map[string][]string{f.client.net: {fmt.Sprintf("tcp %s:%d > %v:%d R seq 777 ack 0", f.to,
				f.toPort, f.client.addr, f.port)}})
			l.segment(f.server, f.sport, f.from, f.fromPort, packet.ACK, f.sseq, 888, 5)
			l.wantResets(map[string][]string{f.server.net: {fmt.Sprintf("tcp %s:%d > %v:%d R seq 888 ack 0", f.from,
				f.fromPort, f.server.addr, f.sport)}})
		}
		l.segment(f.client, f.port, f.to, f.toPort, packet.RST, f.seq, 0, 0)
		l.wantResets(nil)
	}
	l.dropped(DropCut, 10)
	l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm4).lives()
	r := l.w.routers[0]
	r.Conns.Walk(0, math.MaxInt, l.now, func(c *conntrack.Conn) bool {
		r.Conns.Remove(c)
		return true
	})
	r.Neighbors = neighbor.NewTable() // nothing else is due
	r.Neighbors.OnChange(r.NeighborChanged)
	for _, n := range l.nets {
		n.Directory.Knowers = nil
	}
	l.advance(5 * time.Minute)
	if r.Cut.Until != nil || r.Cut.Order != nil {
		t.Errorf("remembered for ever: %v", r.Cut)
	}
	l.segment(l.vm3, 4001, "10.10.10.1", 80, packet.ACK, out.seq, 777, 0)
	l.dropped(DropCut, 10)
	l.dropped(DropNotSYN, 1)
}

// A packet that waits for its next hop obeys the rules of when it goes on.
func TestParkedPacketsObey(t *testing.T) {
	l := newLesson(t)
	l.vm3.mute = true
	l.udp(l.client, 4000, "10.10.10.3", 53, "waits")
	l.tcp(l.client, 4000, "10.10.10.3", 22, "S")
	l.none("vlan101")
	l.do(l.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4")))
	l.advance(4 * time.Second)
	got := l.take("vlan101")
	if len(got) != 2 {
		t.Fatalf("got %v", got)
	}
	l.want(got[0], "udp 10.10.10.4:4000 > 172.16.101.4:53")
	l.want(got[1], "tcp 10.10.10.4:4000 > 172.16.101.4:22 S")
}

// The rest of a packet in pieces does not go where its beginning did not; other
// packets' pieces do not notice.
func TestFragmentsFollow(t *testing.T) {
	l := newLesson(t)
	first := func(id uint16) ipOpt {
		return func(ip *layers.IPv4) { ip.Id = id; ip.Flags |= layers.IPv4MoreFragments }
	}
	last := func(id uint16) ipOpt { return func(ip *layers.IPv4) { ip.Id = id; ip.FragOffset = 3 } }
	begin := func(h *simHost, dst string, id uint16) {
		l.put(h.net, l.build(h, dst, layers.IPProtocolUDP, []ipOpt{first(id)}, udpLayer(), payload(16)))
	}
	end := func(h *simHost, dst string, id uint16) {
		l.put(h.net, l.build(h, dst, layers.IPProtocolUDP, []ipOpt{last(id)}, gopacket.Payload("the rest")))
	}
	begin(l.client, "10.10.10.3", 1)
	begin(l.vm3, "10.10.10.1", 2)
	begin(l.vm4, "10.10.10.1", 3)
	begin(l.client, "10.10.10.5", 4) // the floating IP of no host yet
	l.take("vlan101")
	l.take("ext_net")
	l.do(l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.100.9")))
	end(l.client, "10.10.10.5", 4)
	l.none("vlan100")
	l.do(l.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4")))
	end(l.client, "10.10.10.3", 1)
	l.none("vlan101")
	end(l.vm3, "10.10.10.1", 2)
	l.none("ext_net")
	end(l.vm4, "10.10.10.1", 3)
	if got := l.one("ext_net"); got.ip.SrcIP.String() != "10.10.10.2" {
		t.Errorf("got %v", got)
	}
	l.advance(3 * time.Second)
	l.none("vlan101")
	l.none("ext_net")
	l.dropped(DropFragmentWait, 3)
}

// secondRouter has a second tenant with its own router on the same external network,
// and the same addresses inside.
func secondRouter() *file.Topology {
	topo := tutorial()
	topo.Networks = append(topo.Networks, file.Network{Name: "other", MTU: 1500,
		Subnets: []file.Subnet{{CIDR: prefix("172.16.101.0/24"), Gateway: addr("172.16.101.1")}}})
	nat := topo.NAT
	topo.Routers = append(topo.Routers, file.Router{Name: "second", NAT: &nat,
		Interfaces: []file.RouterInterface{{Network: "other", Addresses: []netip.Prefix{prefix("172.16.101.1/24")}}},
		Gateway: &file.RouterGateway{Network: "ext_net", Address: addr("10.10.10.20"), Prefix: prefix("10.10.10.20/24"),
			NextHop: addr("10.10.10.1"), SNAT: true}})
	return topo
}

// A floating IP may move to another router: another MAC address, another table, maybe
// another worker.
func TestMoveToAnotherRouter(t *testing.T) {
	for _, workers := range []int{1, 2} {
		topo := secondRouter()
		topo.Engine.Workers = workers
		l := newLessonOf(t, topo)
		if len(l.all) != workers {
			t.Fatalf("%d workers", len(l.all))
		}
		f := l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3)
		far := l.host("other", "172.16.101.4")
		if err := l.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("either of two routers: %v", err)
		}
		l.do(l.AssociateFloatingIPAt("second", addr("10.10.10.3"), addr("172.16.101.4")))
		l.run()
		macs := map[packet.MAC]int{}
		rest := l.devs["ext_net"].out
		for _, g := range rest {
			if m, ok := packet.DecodeARP(g.Ethernet()); ok && m.Request && m.Sender == m.Target {
				macs[m.SenderMAC]++
			}
		}
		second := interfaces(l.nets["ext_net"])[1].MAC
		if len(macs) != 1 || macs[second] != 1 {
			t.Errorf("announced by %v, want %v", macs, second)
		}
		l.wantResets(resets(f))
		eth := l.build(l.client, "10.10.10.3", layers.IPProtocolUDP, nil, udpLayer(), payload(8))
		copy(eth, second[:])
		l.put("ext_net", eth)
		l.want(l.one("other"), "udp 10.10.10.4:4000 > 172.16.101.4:53")
		l.do(l.AssociateFloatingIP(addr("10.10.10.3"), far.addr)) // where it is, it may stay
		if err := l.DisassociateFloatingIPAt("router_100_101", addr("10.10.10.3")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("where it is not: %v", err)
		}
		l.do(l.DisassociateFloatingIPAt("second", addr("10.10.10.3")))
	}
}

// A large table is settled in steps, between which packets have their turn, and obey:
// not one goes by the former rule.
func TestLargeTableSettlesInSteps(t *testing.T) {
	const n = 60_000
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections = 1 << 20
	l := newLessonOf(t, topo)
	l.exchange(l.client, 4000, "10.10.10.3", 53, l.vm3, "10.10.10.4")
	table := l.w.routers[0].Conns
	from := packet.AddrFrom(addr("11.0.0.0"))
	for i := range packet.Addr(n) {
		in := packet.Tuple{Src: from + i, SrcPort: 4000, Dst: packet.AddrFrom(addr("10.10.10.3")), DstPort: 53,
			Proto: packet.ProtoUDP}
		to := in
		to.Dst = packet.AddrFrom(l.vm3.addr)
		if _, r := table.Commit(&conntrack.NewConn{Original: in, Reply: to.Reverse(), In: [2]uint16{3, 2},
			Out: [2]uint16{2, 3}}, l.now); r != conntrack.None {
			t.Fatal(r)
		}
	}
	l.do(l.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4")))
	if got := table.Len(); got < n/2 {
		t.Fatalf("only %d connections left after the first step", got)
	}
	far := &simHost{net: "ext_net", addr: (from + n - 1).Netip(), mac: l.client.mac} // the walk has not come to it
	l.udp(far, 4000, "10.10.10.3", 53, "on the way")
	l.want(l.one("vlan101"), "udp "+far.addr.String()+":4000 > 172.16.101.4:53")
	l.udp(l.vm3, 53, (from + n - 2).Netip().String(), 4000, "answer")
	l.want(l.one("ext_net"), "udp 10.10.10.2:53 > "+(from+n-2).Netip().String()+":4000")
	steps := 0
	for ; table.Len() > 2 && steps < 10_000; steps++ {
		before := table.Len()
		l.advance(time.Millisecond)
		if ended := before - table.Len(); ended > 2000 {
			t.Fatalf("a step ended %d connections", ended)
		}
	}
	if table.Len() != 2 || steps < 20 {
		t.Errorf("%d connections left after %d steps", table.Len(), steps)
	}
}

// A change of the rules sends a known connection's next packet by the routes and to
// the neighbors of now, in both directions.
func TestChangeDropsCachedWays(t *testing.T) {
	l := newLesson(t)
	f := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream)
	r := l.w.routers[0]
	tuple := packet.Tuple{Src: packet.AddrFrom(l.vm4.addr), SrcPort: 4000, Dst: packet.AddrFrom(l.upstream.addr),
		DstPort: 80, Proto: packet.ProtoTCP}
	l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
	c, _ := r.Conns.Lookup(&tuple, l.now)
	if c == nil || r.Conns.Current(c) {
		t.Fatal("the connection is not judged again")
	}
	c.Out, c.Hop = [2]uint16{1, 1}, [2]uint32{} // what may have been right before
	f.lives()
	if c, _ = r.Conns.Lookup(&tuple, l.now); !r.Conns.Current(c) || c.Out != [2]uint16{3, 2} {
		t.Errorf("out %v", c.Out)
	}
}
