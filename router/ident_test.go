package router

import (
	"fmt"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// together puts packets together again, as their receiver does: by source,
// destination, protocol and identification.
func together(t *testing.T, pieces []sent) map[string]string {
	t.Helper()
	type whole struct {
		body  []byte
		holes int
	}
	all := map[string]*whole{}
	for _, g := range pieces {
		k := fmt.Sprint(g.ip.SrcIP, g.ip.DstIP, g.ip.Protocol, g.ip.Id)
		w := all[k]
		if w == nil {
			w = &whole{body: make([]byte, 65536), holes: -1}
			all[k] = w
		}
		off := int(g.ip.FragOffset) * 8
		data := g.eth[packet.EthernetLen+int(g.ip.IHL)*4 : packet.EthernetLen+int(g.ip.Length)]
		for i, c := range data {
			if w.body[off+i] != 0 {
				t.Fatalf("two packets in one: %v", g)
			}
			w.body[off+i] = c
		}
		if g.ip.Flags&layers.IPv4MoreFragments == 0 {
			w.body = w.body[:off+len(data)]
		}
	}
	out := map[string]string{}
	for _, w := range all {
		out[fmt.Sprint(int(w.body[0])<<8|int(w.body[1]))] = string(w.body[packet.UDPLen:])
	}
	return out
}

// text is n bytes, none of them zero, that differ by their writer.
func text(who byte, n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = who + byte(i%61)
	}
	return b
}

// pieces cuts a frame for an MTU.
func (s *sim) pieces(frame []byte, mtu int) [][]byte {
	s.t.Helper()
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

// Two hosts behind one address send with the same identification, at the same time
// and to the same host. What arrives there can be put together.
func TestFragmentsOfTwoHostsDoNotMix(t *testing.T) {
	frames := func(l *lesson) [2][]byte {
		sum := func(port int) *layers.UDP {
			return &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 53}
		}
		return [2][]byte{
			l.build(l.vm4, "10.10.10.4", 17, nil, sum(4001), text(1, 3000)),
			l.build(l.web1, "10.10.10.4", 17, nil, sum(4002), text(100, 3000)),
		}
	}
	check := func(t *testing.T, l *lesson, pieces int) {
		t.Helper()
		got := l.take("ext_net")
		if len(got) != pieces {
			t.Errorf("%d fragments, want %d", len(got), pieces)
		}
		whole := together(t, got)
		if len(whole) != 2 || whole["4001"] != string(text(1, 3000)) || whole["4002"] != string(text(100, 3000)) {
			t.Errorf("%d packets, not as they were sent", len(whole))
		}
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		for name, flags := range map[string]byte{"": 0, " with DF": 0x40} {
			t.Run(fmt.Sprint("cut by the hosts ", order, name), func(t *testing.T) {
				l := newLesson(t)
				f := frames(l)
				a, b := l.pieces(f[0], 1200), l.pieces(f[1], 1400)
				for _, p := range append(a[:3:3], b...) {
					p[20] |= flags
					packet.SetIPv4Checksum(p[14:34])
				}
				for _, i := range order {
					l.put("vlan101", a[i])
					l.put("vlan100", b[i])
				}
				check(t, l, 6)
			})
		}
	}
	t.Run("cut by the router", func(t *testing.T) {
		topo := tutorial()
		topo.Networks[2].MTU = 1000
		l := newLessonOf(t, topo)
		f := frames(l)
		l.put("vlan101", f[0])
		l.put("vlan100", f[1])
		check(t, l, 8)
	})
	t.Run("cut by both", func(t *testing.T) {
		topo := tutorial()
		topo.Networks[2].MTU = 1000
		l := newLessonOf(t, topo)
		f := frames(l)
		a, b := l.pieces(f[0], 1400), l.pieces(f[1], 1200)
		for i := range 3 {
			l.put("vlan101", a[2-i])
			l.put("vlan100", b[i])
		}
		check(t, l, 10)
	})
	t.Run("while the next hop is asked for", func(t *testing.T) {
		l := newLesson(t)
		f := frames(l)
		for i := range 3 {
			for net, b := range map[string][]byte{"vlan101": l.pieces(f[0], 1200)[i],
				"vlan100": l.pieces(f[1], 1200)[i]} {
				b = append(make([]byte, tap.HeaderLen), b...)
				l.devs[net].in = append(l.devs[net].in, tap.Frame{Buf: b, Tail: len(b)})
			}
		}
		l.run()
		check(t, l, 6)
	})
}

// What leaves from an address that is not shared keeps its identification, and so
// does what is not in pieces and must not be cut.
func TestWhoKeepsItsIdent(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(l *lesson)
		via  string
		kept bool
	}{
		{"SNAT", func(l *lesson) { l.udp(l.vm4, 4000, "8.8.8.8", 53, "x") }, "ext_net", false},
		{"SNAT, atomic", func(l *lesson) { l.udp(l.vm4, 4000, "8.8.8.8", 53, "x", df) }, "ext_net", true},
		{"SNAT, inwards", func(l *lesson) {
			l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
			l.one("ext_net")
			l.udp(l.client, 53, "10.10.10.2", 4000, "x")
		}, "vlan101", true},
		{"floating IP, outwards", func(l *lesson) { l.udp(l.vm3, 4000, "8.8.8.8", 53, "x") }, "ext_net", true},
		{"floating IP, outwards, a fragment", func(l *lesson) {
			l.put("vlan101", fragmentsOf(l.sim, l.vm3, "8.8.8.8", 3000, 1200)[0])
		}, "ext_net", true},
		{"floating IP, inwards", func(l *lesson) { l.udp(l.client, 4000, "10.10.10.3", 53, "x") }, "vlan101", true},
		{"plain routing", func(l *lesson) { l.udp(l.vm4, 4000, "172.16.100.9", 53, "x") }, "vlan100", true},
		{"hairpin to a floating IP", func(l *lesson) { l.udp(l.vm4, 4000, "10.10.10.3", 53, "x") }, "vlan101", false},
		{"a VIP's client", func(l *lesson) { l.tcp(l.client, 4000, "10.10.10.7", 80, "S") }, "vlan100", true},
		{"a VIP's client in the member's subnet", func(l *lesson) { l.tcp(l.web2, 4000, "172.16.100.11", 80, "S") },
			"vlan100", false},
		{"a VIP's member", func(l *lesson) {
			l.tcp(l.vm3, 4000, "172.16.100.11", 80, "S")
			l.one("vlan100")
			l.tcp(l.web1, 80, "172.16.101.3", 4000, "S.")
		}, "vlan101", false},
		{"a member of a VIP with a floating IP", func(l *lesson) {
			l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
			l.one("vlan100")
			l.tcp(l.web1, 80, "10.10.10.4", 4000, "S.")
		}, "ext_net", false},
		{"an error from behind a VIP", func(l *lesson) {
			l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
			l.icmpError(l.host("vlan100", "172.16.100.77"), "10.10.10.4", 11, 0, l.one("vlan100"))
		}, "ext_net", false},
		{"an error from a router outside", func(l *lesson) {
			l.udp(l.vm4, 4000, "8.8.8.8", 53, "x")
			l.icmpError(l.upstream, "10.10.10.2", 11, 0, l.one("ext_net"))
		}, "vlan101", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLesson(t)
			c.send(l)
			if got := l.one(c.via); got.ip.Id == 7 != c.kept {
				t.Errorf("%v has identification %d", got, got.ip.Id)
			}
		})
	}
}

// The router numbers its own packets with those of the hosts behind it.
func TestRouterCountsAlong(t *testing.T) {
	l := newLesson(t)
	var ids []uint16
	for range 2 {
		l.ping(l.client, "10.10.10.2", 5, 1)
		ids = append(ids, l.one("ext_net").ip.Id)
		l.udp(l.client, 4000, "10.10.10.2", 33434, "refused")
		ids = append(ids, l.one("ext_net").ip.Id)
		for _, from := range []*simHost{l.vm4, l.web1} {
			l.ping(from, "10.10.10.4", 9, 1)
			ids = append(ids, l.one("ext_net").ip.Id)
		}
	}
	for i, id := range ids {
		if id != ids[0]+uint16(i) {
			t.Fatalf("identifications %v", ids)
		}
	}
	l.ping(l.client, "10.10.10.2", 5, 1, df)
	if got := l.one("ext_net"); got.ip.Id != 7 {
		t.Errorf("an atomic reply has identification %d", got.ip.Id)
	}
}

// A super-frame takes an identification for each of its segments, whether the router or the device cuts it.
func TestSuperFrameTakesIdents(t *testing.T) {
	for _, features := range []tap.Features{0, allFeatures} {
		l := newLesson(t)
		l.devs["ext_net"].features = features
		for _, p := range l.w.Links {
			p.Takes = p.Dev.Features()
		}
		l.tcp(l.vm4, 4000, "10.10.10.4", 80, "S")
		first := l.one("ext_net").ip.Id
		b := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "10.10.10.4", layers.IPProtocolTCP, nil,
			&layers.TCP{SrcPort: 4001, DstPort: 80, Seq: 1, SYN: true, Window: 65535}, payload(10000))...)
		unfinish(b, virtio.GSOTCPv4, 1460)
		l.putFrame("vlan101", b)
		for i, g := range l.take("ext_net") {
			if g.ip.Id != first+1+uint16(i) {
				t.Errorf("segment %d has identification %d after %d", i, g.ip.Id, first)
			}
			if features != 0 {
				checkPartial(t, g)
			}
		}
		l.tcp(l.vm4, 4002, "10.10.10.4", 80, "S")
		if got := l.one("ext_net").ip.Id; got != first+8 {
			t.Errorf("after seven segments comes %d, want %d", got, first+8)
		}
	}
}
