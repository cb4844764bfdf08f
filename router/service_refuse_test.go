package router_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// lonely is a host on the network of served that has a DHCP server of its own, and that server.
type lonely struct {
	*testing.T
	s          *router.Simulation
	mac        packet.MAC
	own        netip.Addr
	server     netip.Addr
	serverMAC  packet.MAC
	sawDropped map[router.DropReason]uint64
}

func newLonely(t *testing.T) *lonely {
	t.Helper()
	s := simulateServed(t, served)
	p := serverPort(s.State(), "lone")
	h := &lonely{T: t, s: s, mac: packet.MAC{2, 0, 0, 0, 0, 9}, own: netip.MustParseAddr("10.2.0.9"),
		server: p.FixedIPs[0].Address, serverMAC: packet.MAC(p.MAC)}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	s.Take("lone")
	h.dropped()
	return h
}

// dropped are the reasons for which frames were dropped since the last call, each as often as it was one.
func (h *lonely) dropped() (list []router.DropReason) {
	now := h.s.Stats().Drops
	for r, n := range now {
		for range n - h.sawDropped[r] {
			list = append(list, r)
		}
	}
	h.sawDropped = now
	return list
}

// say sends a frame to the network, and returns what the host got and why frames were dropped.
func (h *lonely) say(frame []byte) (got []tap.Frame, why []router.DropReason) {
	h.Helper()
	put(h.T, h.s, "lone", frame)
	return h.s.Take("lone"), h.dropped()
}

// ip is a packet of the host to the server.
func (h *lonely) ip(dst netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, tap.HeaderLen+packet.EthernetLen+packet.IPv4Len+len(body))
	eth := b[tap.HeaderLen:]
	copy(eth, h.serverMAC[:])
	copy(eth[6:], h.mac[:])
	eth[12] = 8
	ip := eth[packet.EthernetLen:]
	ip[0], ip[8], ip[9] = 0x45, 33, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	packet.AddrFrom(h.own).Put(ip[12:])
	packet.AddrFrom(dst).Put(ip[16:])
	copy(ip[packet.IPv4Len:], body)
	packet.SetIPv4Checksum(ip)
	return b
}

// icmp is a message with its checksum.
func icmp(kind, code byte) []byte {
	b := []byte{kind, code, 0, 0, 0, 7, 0, 1, 'd', 'a', 't', 'a', '!'}
	binary.BigEndian.PutUint16(b[2:], ^packet.Sum(b))
	return b
}

// The server of a network answers pings of its address, and nothing else that is no service of it.
func TestDHCPServerAnswersPings(t *testing.T) {
	h := newLonely(t)
	got, why := h.say(h.ip(h.server, packet.ProtoICMP, icmp(8, 0)))
	if len(got) != 1 || len(why) > 0 {
		t.Fatalf("%d frames, dropped %v", len(got), why)
	}
	var p packet.Packet
	eth := got[0].Ethernet()
	if fault := p.Parse(eth, got[0].Header()); fault != packet.FaultNone || p.Src.Netip() != h.server ||
		p.Dst.Netip() != h.own || p.Type != 0 || p.SourceMAC() != h.serverMAC || packet.MAC(eth[:6]) != h.mac {
		t.Errorf("the answer is %s", packet.Summary(eth))
	}
	ip := eth[packet.EthernetLen:]
	message := ip[packet.IPv4Len : p.End-packet.EthernetLen]
	if ip[8] != 64 || packet.Sum(ip[:packet.IPv4Len]) != 0xffff || packet.Sum(message) != 0xffff ||
		string(message[8:]) != "data!" {
		t.Errorf("the answer is % x", ip)
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  router.DropReason
	}{
		{"a ping of another address", h.ip(netip.MustParseAddr("10.2.0.200"), packet.ProtoICMP, icmp(8, 0)),
			router.DropRefused},
		{"an answer to no ping", h.ip(h.server, packet.ProtoICMP, icmp(0, 0)), router.DropICMPType},
		{"a ping with a code", h.ip(h.server, packet.ProtoICMP, icmp(8, 1)), router.DropICMPType},
		{"a protocol that it does not know", h.ip(h.server, 99, make([]byte, 20)), router.DropRefused},
	} {
		if got, why := h.say(c.frame); len(got) > 0 || len(why) != 1 || why[0] != c.want {
			t.Errorf("%s: %d frames, dropped %v, want %v", c.name, len(got), why, c.want)
		}
	}
	wrong := h.ip(h.server, packet.ProtoICMP, icmp(8, 0))
	wrong[tap.HeaderLen+12], wrong[tap.HeaderLen+13] = 0x88, 0xcc // LLDP's type
	if got, why := h.say(wrong); len(got) > 0 || len(why) != 1 || why[0] == router.DropRefused {
		t.Errorf("a frame of another type: %d frames, dropped %v", len(got), why)
	}
}

// A flood of pings gets a thousand answers at once, and no more in the same moment.
func TestDHCPServerAnswersSoManyPings(t *testing.T) {
	h := newLonely(t)
	answers := 0
	ping := h.ip(h.server, packet.ProtoICMP, icmp(8, 0))
	var last []router.DropReason
	for range 1001 {
		var got []tap.Frame
		got, last = h.say(append([]byte(nil), ping...))
		answers += len(got)
	}
	if answers != 1000 || len(last) != 1 || last[0] != router.DropEchoRate {
		t.Errorf("%d answers, then %v", answers, last)
	}
}

// Only requests for the server's address are answered: no announcement, no answer, nothing malformed.
func TestDHCPServerAnswersARP(t *testing.T) {
	h := newLonely(t)
	for _, c := range []struct {
		name   string
		change func(m *packet.ARP, eth []byte)
		want   int
	}{
		{"a request", func(*packet.ARP, []byte) {}, 1},
		{"a probe of a host without an address", func(m *packet.ARP, _ []byte) { m.Sender = 0 }, 1},
		{"an announcement of the same address", func(m *packet.ARP, _ []byte) { m.Sender = m.Target }, 0},
		{"an answer", func(m *packet.ARP, _ []byte) { m.Request = false }, 0},
		{"a request for another address", func(m *packet.ARP, _ []byte) {
			m.Target = packet.AddrFrom(netip.MustParseAddr("10.2.0.200"))
		}, 0},
		{"another kind of hardware", func(_ *packet.ARP, eth []byte) { eth[packet.EthernetLen+1] = 9 }, 0},
		{"a sender that is a group", func(m *packet.ARP, _ []byte) { m.SenderMAC[0] = 3 }, 0},
	} {
		m := packet.ARP{Request: true, SenderMAC: h.mac, Sender: packet.AddrFrom(h.own),
			Target: packet.AddrFrom(h.server)}
		b := make([]byte, tap.HeaderLen+packet.EthernetLen+packet.ARPLen)
		c.change(&m, b[tap.HeaderLen:])
		packet.PutARP(b[tap.HeaderLen:], h.mac, everyone, m)
		c.change(&m, b[tap.HeaderLen:])
		if got, _ := h.say(b); len(got) != c.want {
			t.Errorf("%s: %d answers, want %d", c.name, len(got), c.want)
		}
	}
}

// A DHCP message in a packet that is not whole, or broken, is not answered. Without a UDP checksum it is (RFC 768).
func TestDHCPOfBrokenPackets(t *testing.T) {
	const ip, udp = tap.HeaderLen + packet.EthernetLen, tap.HeaderLen + packet.EthernetLen + packet.IPv4Len
	h := newLonely(t)
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   int
	}{
		{"whole", func([]byte) {}, 1},
		{"without a checksum", func(b []byte) { b[udp+6], b[udp+7] = 0, 0 }, 1},
		{"a first fragment", func(b []byte) { b[ip+6] |= 0x20 }, 0},
		{"longer than its packet", func(b []byte) {
			b[udp+6], b[udp+7] = 0, 0
			binary.BigEndian.PutUint16(b[udp+4:], uint16(len(b)-udp+1))
		}, 0},
		{"shorter than a header", func(b []byte) {
			b[udp+6], b[udp+7] = 0, 0
			binary.BigEndian.PutUint16(b[udp+4:], 7)
		}, 0},
		{"to another port", func(b []byte) { b[udp+3]++ }, 0},
	} {
		b := discover(t, h.mac).frame(false)
		c.change(b)
		packet.SetIPv4Checksum(b[ip:])
		put(t, h.s, "lone", b)
		if _, got := answers(t, h.s, "lone"); len(got) != c.want {
			t.Errorf("%s: %d answers, want %d", c.name, len(got), c.want)
		}
	}
}
