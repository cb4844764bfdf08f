package router

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

func TestEchoToEveryRouterAddress(t *testing.T) {
	l := newLesson(t)
	for _, a := range []string{"172.16.101.1", "172.16.100.1", "10.10.10.2", "172.16.100.11", "10.10.10.7"} {
		l.ping(l.vm4, a, 5, 6)
		got := l.one("vlan101")
		l.want(got, "icmp "+a+" > 172.16.101.4 type 0 id 5 seq 6")
		if got.ip.TTL != 64 || string(got.icmp.Payload) != "0123456789" {
			t.Errorf("TTL %d, payload %q", got.ip.TTL, got.icmp.Payload)
		}
	}
	l.ping(l.client, "10.10.10.7", 5, 6)
	l.want(l.one("ext_net"), "icmp 10.10.10.7 > 10.10.10.4 type 0 id 5 seq 6")
	l.ping(l.client, "172.16.101.1", 5, 6) // an internal address
	l.none("ext_net")
	l.ping(l.client, "10.10.10.8", 5, 6)
	l.one("ext_net")
}

func TestTimeExceededComesFromTheNearSide(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm3, 4000, "172.16.100.9", 33434, "probe", ttl(1))
	l.want(l.one("vlan101"), "icmp 172.16.101.1 > 172.16.101.3 type 11 code 0 about udp 172.16.101.3:4000 > "+
		"172.16.100.9:33434")
	l.none("vlan100")
	l.udp(l.client, 4000, "10.10.10.3", 33434, "probe", ttl(1))
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 11 code 0 about udp 10.10.10.4:4000 > 10.10.10.3:33434")
	if n := l.w.routers[0].Conns.Len(); n != 0 {
		t.Errorf("%d connections after dropped packets, want none", n)
	}
}

func TestErrorsThroughEveryTranslation(t *testing.T) {
	for _, c := range []struct {
		name, reporter string
		send           func(l *lesson)
		via            string // where the packet leaves
		back, want     string // where the error arrives
	}{
		{"SNAT, a router on the path", "10.10.10.1", func(l *lesson) { l.udp(l.vm4, 4000, "8.8.8.8", 33434, "x") },
			"ext_net",
			"vlan101", "icmp 10.10.10.1 > 172.16.101.4 type 11 code 0 about udp 172.16.101.4:4000 > 8.8.8.8:33434"},
		{"SNAT, an echo", "10.10.10.1", func(l *lesson) { l.ping(l.vm4, "8.8.8.8", 9, 1) }, "ext_net",
			"vlan101", "icmp 10.10.10.1 > 172.16.101.4 type 11 code 0 about icmp 172.16.101.4 > 8.8.8.8 id 9"},
		{"floating IP, outwards", "10.10.10.1", func(l *lesson) { l.tcp(l.vm3, 4000, "8.8.8.8", 80, "S") }, "ext_net",
			"vlan101", "icmp 10.10.10.1 > 172.16.101.3 type 11 code 0 about tcp 172.16.101.3:4000 > 8.8.8.8:80"},
		{"floating IP, inwards, the instance itself", "172.16.101.3",
			func(l *lesson) { l.udp(l.client, 4000, "10.10.10.3", 33434, "x") }, "vlan101",
			"ext_net", "icmp 10.10.10.3 > 10.10.10.4 type 11 code 0 about udp 10.10.10.4:4000 > 10.10.10.3:33434"},
		{"VIP behind a floating IP, the member itself", "172.16.100.9",
			func(l *lesson) { l.tcp(l.client, 4000, "10.10.10.7", 80, "S") }, "vlan100",
			"ext_net", "icmp 10.10.10.7 > 10.10.10.4 type 11 code 0 about tcp 10.10.10.4:4000 > 10.10.10.7:80"},
		{"VIP behind a floating IP, another internal router", "172.16.100.77",
			func(l *lesson) { l.tcp(l.client, 4000, "10.10.10.7", 80, "S") }, "vlan100",
			"ext_net", "icmp 10.10.10.2 > 10.10.10.4 type 11 code 0 about tcp 10.10.10.4:4000 > 10.10.10.7:80"},
		{"hairpin", "172.16.100.9", func(l *lesson) { l.tcp(l.vm4, 4000, "10.10.10.7", 80, "S") }, "vlan100",
			"vlan101", "icmp 10.10.10.7 > 172.16.101.4 type 11 code 0 about tcp 172.16.101.4:4000 > 10.10.10.7:80"},
		{"plain routing", "172.16.100.9", func(l *lesson) { l.udp(l.vm3, 4000, "172.16.100.9", 33434, "x") }, "vlan100",
			"vlan101", "icmp 172.16.100.9 > 172.16.101.3 type 11 code 0 about udp 172.16.101.3:4000 > " +
				"172.16.100.9:33434"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLesson(t)
			c.send(l)
			out := l.one(c.via)
			reporter := l.host(c.via, c.reporter)
			l.icmpError(reporter, out.ip.SrcIP.String(), 11, 0, out)
			got := l.one(c.back)
			l.want(got, c.want)
			checkQuoted(t, got, out)
		})
	}
}

// checkQuoted: the quoted packet has right checksums again, so that its sender
// recognizes it.
func checkQuoted(t *testing.T, got, out sent) {
	t.Helper()
	q := append([]byte(nil), got.icmp.Payload...)
	q = q[:min(len(q), int(out.ip.Length))] // the router passes Ethernet padding on
	if packet.Sum(q[:20]) != 0xffff {
		t.Error("the quoted IP header's checksum is wrong")
	}
	again := append([]byte(nil), q...)
	packet.SetTransportChecksum(again)
	if string(again) != string(q) {
		t.Errorf("the quoted transport checksum is wrong\n got %x\nwant %x", q, again)
	}
}

func TestUnknownErrorsFromOutsideAreDropped(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "x")
	out := l.one("ext_net")
	binary.BigEndian.PutUint16(out.eth[34:], 4001) // not our port
	l.icmpError(l.upstream, "10.10.10.2", 3, 1, out)
	l.none("vlan101")
	l.dropped(DropICMPUnknown, 1)
}

// A redirect is for the link it is sent on (RFC 1812, 5.2.7.2), and source quench is
// obsolete (RFC 6633): neither crosses the router, nor changes anything.
func TestRedirectsDoNotCross(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	out := l.one("ext_net")
	for i, typ := range []uint8{4, 5} {
		l.icmpError(l.upstream, "10.10.10.2", typ, 1, out)
		l.none("vlan101")
		l.dropped(DropICMPType, uint64(i+1))
	}
	l.udp(l.client, 53, "10.10.10.2", 4000, "x")
	l.want(l.one("vlan101"), "udp 10.10.10.4:53 > 172.16.101.4:4000")
}

func TestFragmentationNeeded(t *testing.T) {
	topo := tutorial()
	topo.Networks[2].MTU = 1000
	s := newSim(t, topo)
	vm4 := s.host("vlan101", "172.16.101.4")
	s.host("ext_net", "10.10.10.1")
	s.udp(vm4, 4000, "8.8.8.8", 53, strings.Repeat("x", 1200), df)
	got := s.one("vlan101")
	s.want(got, "icmp 172.16.101.1 > 172.16.101.4 type 3 code 4 about udp 172.16.101.4:4000 > 8.8.8.8:53")
	if mtu := binary.BigEndian.Uint16(got.icmp.Contents[6:]); mtu != 1000 {
		t.Errorf("MTU %d, want 1000", mtu)
	}
	if got.ip.Length != 576 {
		t.Errorf("the error is %d bytes long, want 576", got.ip.Length)
	}
	s.udp(vm4, 4000, "8.8.8.8", 53, strings.Repeat("x", 2200))
	pieces := s.take("ext_net")
	if len(pieces) != 3 {
		t.Fatalf("%d fragments, want 3: %v", len(pieces), pieces)
	}
	off := uint16(0)
	for i, p := range pieces {
		if p.ip.FragOffset*8 != off || p.ip.Id != pieces[0].ip.Id || p.ip.Length > 1000 ||
			p.ip.SrcIP.String() != "10.10.10.2" {
			t.Errorf("fragment %d: offset %d id %d length %d from %v", i, p.ip.FragOffset*8, p.ip.Id, p.ip.Length,
				p.ip.SrcIP)
		}
		off += p.ip.Length - 20
	}
	if off != 2208 {
		t.Errorf("the fragments hold %d bytes, want 2208", off)
	}
}

// fragmentsOf cuts a UDP packet from h into pieces.
func fragmentsOf(s *sim, h *simHost, dst string, n, mtu int) [][]byte {
	frame := s.build(h, dst, layers.IPProtocolUDP, nil, &layers.UDP{SrcPort: 4000, DstPort: 53}, payload(n))
	var p packet.Packet
	if f := p.Parse(frame, nil); f != packet.FaultNone {
		s.t.Fatal(f)
	}
	var out [][]byte
	p.Fragment(mtu, func(n int) []byte {
		out = append(out, make([]byte, n))
		return out[len(out)-1]
	})
	return out
}

type payload int

func TestFragmentsInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			l := newLesson(t)
			pieces := fragmentsOf(l.sim, l.vm4, "8.8.8.8", 3000, 1200)
			for _, i := range order {
				l.put("vlan101", pieces[i])
			}
			got := l.take("ext_net")
			if len(got) != 3 {
				t.Fatalf("got %d fragments: %v", len(got), got)
			}
			for _, g := range got {
				if g.ip.SrcIP.String() != "10.10.10.2" {
					t.Errorf("untranslated: %v", g)
				}
			}
		})
	}
}

func TestFragmentWithoutFirstIsDropped(t *testing.T) {
	l := newLesson(t)
	pieces := fragmentsOf(l.sim, l.vm4, "8.8.8.8", 3000, 1200)
	l.put("vlan101", pieces[1])
	l.put("vlan101", pieces[2])
	l.none("ext_net")
	l.advance(3 * time.Second)
	l.dropped(DropFragmentWait, 2)
}

func TestNobodyAnswersARP(t *testing.T) {
	l := newLesson(t)
	l.take("vlan100")
	l.udp(l.vm3, 4000, "172.16.100.50", 53, "one")
	l.udp(l.vm3, 4001, "172.16.100.50", 53, "two")
	asked := len(l.takeARP("vlan100"))
	for range 2 {
		l.advance(time.Second)
		asked += len(l.takeARP("vlan100"))
	}
	l.none("vlan101")
	l.advance(time.Second)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
	got := l.take("vlan101")
	if len(got) != 2 {
		t.Fatalf("got %v, want two errors", got)
	}
	l.want(got[0], "icmp 172.16.101.1 > 172.16.101.3 type 3 code 1 about udp 172.16.101.3:4000 > 172.16.100.50:53")
	l.want(got[1], "icmp 172.16.101.1 > 172.16.101.3 type 3 code 1 about udp 172.16.101.3:4001 > 172.16.100.50:53")
	l.dropped(DropNeighborFailed, 2)
	if n := l.w.routers[0].Conns.Len(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

// A neighbor that has just failed to answer is asked for again by the next packet, which waits, and
// goes on when the neighbor is there by now.
func TestFailedNeighborComesBack(t *testing.T) {
	l := newLesson(t)
	absent := l.host("vlan100", "172.16.100.50")
	absent.mute = true
	l.udp(l.vm3, 4000, "172.16.100.50", 53, "one")
	l.advance(3 * time.Second)
	l.want(l.one("vlan101"),
		"icmp 172.16.101.1 > 172.16.101.3 type 3 code 1 about udp 172.16.101.3:4000 > 172.16.100.50:53")
	absent.mute = false
	l.take("vlan100")
	l.udp(l.vm3, 4001, "172.16.100.50", 53, "two")
	l.want(l.one("vlan100"), "udp 172.16.101.3:4001 > 172.16.100.50:53")
	l.none("vlan101")
	l.dropped(DropNeighborFailed, 1)
}

// A host's burst waits for its neighbor, and arrives in order.
func TestBurstWaitsForNeighbor(t *testing.T) {
	l := newLesson(t)
	late := l.host("vlan100", "172.16.100.50")
	late.mute = true
	const burst = 200
	for i := range burst {
		l.udp(l.vm3, 4000+i, "172.16.100.50", 53, "burst")
	}
	l.none("vlan100")
	late.mute = false
	l.advance(time.Second) // it is asked again
	got := l.take("vlan100")
	if len(got) != burst {
		t.Fatalf("%d packets of %d arrive", len(got), burst)
	}
	for i, p := range got {
		l.want(p, fmt.Sprintf("udp 172.16.101.3:%d > 172.16.100.50:53", 4000+i))
	}
}

// However many packets come for an absent neighbor, it is asked for once a second, and no packet waits
// for longer than three requests take.
func TestAbsentNeighborUnderTraffic(t *testing.T) {
	l := newLesson(t)
	const seconds, step = 20, 10 * time.Millisecond
	asked, told := 0, 0
	for i := range int(seconds * time.Second / step) {
		l.udp(l.vm3, 4000+i, "172.16.100.50", 53, "anybody?")
		l.advance(step)
		asked += len(l.takeARP("vlan100"))
		told += len(l.take("vlan101"))
	}
	if asked < seconds-1 || asked > seconds+1 {
		t.Errorf("asked %d times in %d seconds", asked, seconds)
	}
	failed, full := l.w.Stats.Dropped[DropNeighborFailed], l.w.Stats.Dropped[DropNeighborFull]
	if want := uint64(seconds / neighbor.Tries * neighbor.MaxParked); failed != want || full == 0 ||
		failed+full+uint64(l.w.Stats.Parked) != uint64(seconds*time.Second/step) || told < 60 {
		t.Errorf("%d packets have failed, want %d; %d found no room, %d wait; %d errors", failed, want, full,
			l.w.Stats.Parked, told)
	}
	l.advance(3 * time.Second)
	if l.w.Stats.Parked != 0 {
		t.Errorf("%d packets still wait", l.w.Stats.Parked)
	}
}

func TestARPAnswersForOwnedAddressesOnly(t *testing.T) {
	l := newLesson(t)
	ask := func(h *simHost, target string) int {
		b := make([]byte, packet.ARPLen)
		packet.PutARP(b, h.mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: h.mac,
			Sender: packet.AddrFrom(h.addr), Target: packet.AddrFrom(addr(target))})
		l.takeARP(h.net)
		l.put(h.net, b)
		n := 0
		for _, m := range l.takeARP(h.net) {
			if !m.Request && m.Sender.Netip() == addr(target) && m.SenderMAC == l.routerMAC(h.net) {
				n++
			}
		}
		return n
	}
	for _, a := range []string{"10.10.10.2", "10.10.10.3", "10.10.10.7", "10.10.10.8"} {
		if ask(l.client, a) != 1 {
			t.Errorf("%s: no answer outside", a)
		}
	}
	for _, a := range []string{"10.10.10.9", "10.10.10.4", "172.16.101.1"} {
		if ask(l.client, a) != 0 {
			t.Errorf("%s: answered outside", a)
		}
	}
	for a, want := range map[string]int{"172.16.100.1": 1, "172.16.100.11": 1, "172.16.100.9": 0, "10.10.10.3": 0} {
		if ask(l.web2, a) != want {
			t.Errorf("%s: %d answers inside, want %d", a, 1-want, want)
		}
	}
}

func TestAnnouncementsAtStart(t *testing.T) {
	l := newLesson(t)
	l.nets["ext_net"].Announce()
	l.run()
	var got []string
	for _, m := range l.takeARP("ext_net") {
		if m.Sender == m.Target {
			got = append(got, m.Sender.Netip().String())
		}
	}
	if want := "[10.10.10.2 10.10.10.3 10.10.10.7 10.10.10.8]"; fmt.Sprint(got) != want {
		t.Errorf("announced %v, want %v", got, want)
	}
	l.advance(10 * time.Second)
	if n := len(l.takeARP("ext_net")); n != 8 {
		t.Errorf("%d further announcements, want 8", n)
	}
}

func TestMartians(t *testing.T) {
	l := newLesson(t)
	for i, src := range []string{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "172.16.100.9", "172.16.101.1",
		"172.16.101.255", "10.10.10.7"} {
		spoof := *l.vm3
		spoof.addr = addr(src)
		l.udp(&spoof, 1, "10.10.10.4", 2, "x")
		l.none("ext_net")
		l.none("vlan101")
		l.dropped(DropMartianSource, uint64(i+1))
	}
	// An established connection is no way in for the spoofer either.
	l.udp(l.web1, 1, "10.10.10.4", 2, "x")
	l.one("ext_net")
	spoof := *l.vm3
	spoof.addr = l.web1.addr
	l.udp(&spoof, 1, "10.10.10.4", 2, "x")
	l.none("ext_net")
}

func TestSuperFrameCrossesWholeOrInSegments(t *testing.T) {
	for _, features := range []tap.Features{0, allFeatures} {
		l := newLesson(t)
		l.devs["ext_net"].features = features
		for _, p := range l.w.Links {
			p.Takes = p.Dev.Features()
		}
		frame := l.build(l.vm4, "8.8.8.8", layers.IPProtocolTCP, []ipOpt{df},
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, SYN: true, Window: 65535}, payload(10000))
		b := append(make([]byte, tap.HeaderLen), frame...)
		unfinish(b, virtio.GSOTCPv4, 1460)
		l.putFrame("vlan101", b)
		got := l.take("ext_net")
		want := 7
		if features != 0 {
			want = 1
		}
		if len(got) != want {
			t.Fatalf("features %b: %d frames, want %d", features, len(got), want)
		}
		seq, total := uint32(1), 0
		for i, g := range got {
			if g.ip.SrcIP.String() != "10.10.10.2" || g.tcp.Seq != seq {
				t.Errorf("frame %d: %v seq %d, want %d", i, g, g.tcp.Seq, seq)
			}
			n := int(g.ip.Length) - 40
			seq, total = seq+uint32(n), total+n
		}
		if total != 10000 {
			t.Errorf("%d bytes arrived", total)
		}
		if features != 0 {
			checkPartial(t, got[0])
		}
	}
}

// An error about a super-frame shows the first packet that it stands for, finished.
func TestErrorsAboutSuperFrames(t *testing.T) {
	for _, c := range []struct{ payload, quoted int }{{1, 1}, {500, 100}, {3000, 100}} {
		l := newLesson(t)
		b := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "8.8.8.8", layers.IPProtocolTCP, []ipOpt{ttl(1)},
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, ACK: true, Window: 65535}, payload(c.payload))...)
		b = b[:tap.HeaderLen+54+c.payload] // without padding
		unfinish(b, virtio.GSOTCPv4, 100)
		l.putFrame("vlan101", b)
		got := l.one("vlan101")
		if err := nettest.Verify(got.eth); err != nil {
			t.Errorf("%d bytes: %v", c.payload, err)
		}
		if q := got.icmp.Payload; int(binary.BigEndian.Uint16(q[2:])) != 40+c.quoted || len(q) != 40+c.quoted {
			t.Errorf("%d bytes: it quotes a packet of %d bytes", c.payload, binary.BigEndian.Uint16(q[2:]))
		}
	}
}

// unfinish makes a frame's TCP or UDP checksum one that the device is to finish.
func unfinish(b []byte, gso uint8, size uint16) {
	eth := b[tap.HeaderLen:]
	l4 := transportOf(eth)
	field, header := 16, l4+packet.TCPLen
	if eth[23] == packet.ProtoUDP {
		field, header = 6, l4+packet.UDPLen
	}
	b[0], b[1] = virtio.NeedsChecksum, gso
	binary.LittleEndian.PutUint16(b[2:], uint16(header))
	binary.LittleEndian.PutUint16(b[4:], size)
	binary.LittleEndian.PutUint16(b[6:], uint16(l4))
	binary.LittleEndian.PutUint16(b[8:], uint16(field))
	binary.BigEndian.PutUint16(eth[l4+field:], pseudo(eth))
}

// transportOf is where a packet's transport header begins.
func transportOf(eth []byte) int { return packet.EthernetLen + int(eth[14]&15)*4 }

// pseudo is the sum of a packet's pseudo header.
func pseudo(eth []byte) uint16 {
	n := uint16(len(eth) - transportOf(eth))
	b := append([]byte(nil), eth[26:34]...)
	b = append(b, 0, eth[23], byte(n>>8), byte(n))
	return packet.Sum(b)
}

// checkPartial: an unfinished checksum is the sum of the new pseudo header.
func checkPartial(t *testing.T, g sent) {
	t.Helper()
	if got, want := binary.BigEndian.Uint16(g.eth[50:]), pseudo(g.eth); got != want {
		t.Errorf("unfinished checksum %04x, want %04x", got, want)
	}
}

func TestLargePingToTheRouterItself(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {0, 0, 1, 2}} {
		l := newLesson(t)
		frame := l.build(l.vm4, "172.16.101.1", 1, nil, pingLayer(), payload(4000))
		var p packet.Packet
		if f := p.Parse(frame, nil); f != packet.FaultNone {
			t.Fatal(f)
		}
		var pieces [][]byte
		p.Fragment(1500, func(n int) []byte {
			pieces = append(pieces, make([]byte, n))
			return pieces[len(pieces)-1]
		})
		l.take("vlan101")
		for _, i := range order {
			l.put("vlan101", pieces[i])
		}
		got := l.take("vlan101")
		n := 0
		for _, g := range got {
			n += int(g.ip.Length) - 20
		}
		if len(got) != 3 || n != 4008 || got[0].ip.SrcIP.String() != "172.16.101.1" {
			t.Errorf("order %v: %d fragments with %d bytes came back: %v", order, len(got), n, got)
		}
	}
}

func TestOverlappingFragmentsForTheRouter(t *testing.T) {
	l := newLesson(t)
	frame := l.build(l.vm4, "172.16.101.1", 1, nil, pingLayer(), payload(4000))
	var p packet.Packet
	p.Parse(frame, nil)
	var pieces [][]byte
	for _, mtu := range []int{1500, 1000} {
		p.Fragment(mtu, func(n int) []byte {
			pieces = append(pieces, make([]byte, n))
			return pieces[len(pieces)-1]
		})
	}
	l.take("vlan101")
	l.put("vlan101", pieces[0])
	l.put("vlan101", pieces[4]) // of the other cut
	l.put("vlan101", pieces[1])
	l.put("vlan101", pieces[2])
	l.none("vlan101")
	l.dropped(DropFragmentLocal, 4) // with the one that was there
}

func TestARPFromStrangersAndConflicts(t *testing.T) {
	l := newLesson(t)
	tell := func(sender string, target string, mac packet.MAC) {
		b := make([]byte, packet.ARPLen)
		packet.PutARP(b, mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: mac,
			Sender: packet.AddrFrom(addr(sender)), Target: packet.AddrFrom(addr(target))})
		l.takeARP("vlan101")
		l.put("vlan101", b)
	}
	for i, elsewhere := range []string{"10.9.9.9", "172.16.100.50", "10.10.10.4", "172.16.100.1"} {
		tell(elsewhere, "172.16.101.1", l.vm4.mac)
		got := l.takeARP("vlan101")
		if len(got) != 1 || got[0].Request || got[0].TargetMAC != l.vm4.mac ||
			got[0].Target.Netip().String() != elsewhere {
			t.Errorf("a host that asks with %s got %v", elsewhere, got)
		}
		tell(elsewhere, "172.16.101.50", l.vm4.mac)
		if got := l.takeARP("vlan101"); len(got) != 0 || l.w.Stats.Consumed != uint64(2*i+2) {
			t.Errorf("asking for another with %s: %v", elsewhere, got)
		}
	}
	for i, nobody := range []string{"127.0.0.1", "224.0.0.1", "240.1.2.3", "255.255.255.255", "0.1.2.3",
		"172.16.101.255"} {
		tell(nobody, "172.16.101.1", l.vm4.mac)
		if got := l.takeARP("vlan101"); len(got) != 0 {
			t.Errorf("answered to %s: %v", nobody, got)
		}
		l.dropped(DropARPSender, uint64(i+1))
	}
	if n := l.w.routers[0].Neighbors.Len(); n != 0 {
		t.Errorf("%d neighbors are learned from addresses of elsewhere", n)
	}
	tell("0.0.0.0", "172.16.101.1", l.vm4.mac) // a probe (RFC 5227)
	if got := l.takeARP("vlan101"); len(got) != 1 {
		t.Errorf("a probe got %v", got)
	}
	tell("172.16.101.1", "172.16.101.1", l.vm4.mac) // another host claims the gateway's address
	got := l.takeARP("vlan101")
	if len(got) != 1 || got[0].SenderMAC != l.routerMAC("vlan101") || l.w.Stats.Conflicts != 1 {
		t.Errorf("after a conflict: %v, %d conflicts", got, l.w.Stats.Conflicts)
	}
	l.dropped(DropARPSender, 7)
	tell("172.16.101.99", "172.16.101.50", l.vm4.mac) // not for us: no entry
	if n := l.w.routers[0].Neighbors.Len(); n != 0 {
		t.Errorf("%d neighbors, want none", n)
	}
}

// No host can choose addresses that use up the packets that another host is allowed.
func TestRateLimitIsKeyed(t *testing.T) {
	var a, b ip.Limiter
	a.Secret, b.Secret = 0x9e3779b97f4a7c15, 0xd1342543de82ef95
	inOne, inBoth := 0, 0
	for addr := packet.Addr(1); addr < 20_000; addr++ {
		if a.Bucket(addr) == a.Bucket(0) {
			inOne++
			if b.Bucket(addr) == b.Bucket(0) {
				inBoth++
			}
		}
	}
	if inOne < 20 || inBoth > inOne/4 {
		t.Errorf("%d addresses share a bucket with one secret, %d of them with another", inOne, inBoth)
	}
	for _, l := range []*lesson{newLesson(t), newLesson(t)} {
		if l.w.routers[0].Errors.Secret == 0 {
			t.Error("a router without secret")
		}
	}
}

func TestErrorsAreRateLimited(t *testing.T) {
	l := newLesson(t)
	errors := func(n int) int {
		for range n {
			l.udp(l.vm4, 4000, "172.16.101.1", 9, "x")
		}
		return len(l.take("vlan101"))
	}
	if got := errors(200); got != int(ip.ErrorLimits.BurstEach) {
		t.Errorf("%d errors in a burst, want %d", got, int(ip.ErrorLimits.BurstEach))
	}
	l.advance(time.Second)
	if got := errors(200); got != int(ip.ErrorLimits.RateEach) {
		t.Errorf("%d errors after a second, want %d", got, int(ip.ErrorLimits.RateEach))
	}
}

// A flood of pings is answered up to a limit, and leaves the others theirs.
func TestEchoRepliesAreRateLimited(t *testing.T) {
	l := newLesson(t)
	replies := func(h *simHost, n int) int {
		for i := range n {
			l.ping(h, "172.16.101.1", 5, i)
		}
		return len(l.take("vlan101"))
	}
	each := int(ip.EchoLimits.BurstEach)
	if got := replies(l.vm4, 3*each); got != each {
		t.Errorf("%d replies in a burst, want %d", got, each)
	}
	l.dropped(DropEchoRate, uint64(2*each))
	if got := replies(l.vm3, 10); got != 10 {
		t.Errorf("%d replies to somebody else, want 10", got)
	}
	l.advance(time.Second / 20)
	if got, want := replies(l.vm4, 3*each), int(ip.EchoLimits.RateEach)/20; got != want {
		t.Errorf("%d replies after a twentieth of a second, want %d", got, want)
	}
}
