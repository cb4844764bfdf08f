package router

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// piecesOf is a datagram of n bytes in fragments of at most 1200.
func (l *lesson) piecesOf(h *simHost, sport uint16, id uint16, n int) [][]byte {
	l.t.Helper()
	eth := l.build(h, "8.8.8.8", layers.IPProtocolUDP, []ipOpt{func(ip *layers.IPv4) { ip.Id = id }},
		&layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: 53}, gopacket.Payload(make([]byte, n)))
	var p packet.Packet
	if f := p.Parse(eth, nil); f != packet.FaultNone {
		l.t.Fatal(f)
	}
	var out [][]byte
	p.Fragment(1200, func(n int) []byte {
		out = append(out, make([]byte, n))
		return out[len(out)-1]
	})
	return out
}

// checkFragments fails unless the table of fragments is consistent and within its bounds.
func (l *lesson) checkFragments() {
	l.t.Helper()
	fs := &l.w.routers[0].Fragments
	if n := fs.Known.Len() + fs.Waiting.Len(); n != len(fs.Entries) {
		l.t.Fatalf("%d known, %d waiting, of %d", fs.Known.Len(), fs.Waiting.Len(), len(fs.Entries))
	}
	held := 0
	for _, list := range []*ip.FragmentList{&fs.Known, &fs.Waiting} {
		if list.Len() > list.Most {
			l.t.Fatalf("%d entries, at most %d", list.Len(), list.Most)
		}
		all := 0
		for s, share := range list.Sources {
			if all += share.Len(); share.Len() == 0 || share.Len() > list.Each || share.Held > ip.MaxHeldEach {
				l.t.Fatalf("%d entries, %d bytes of %v", share.Len(), share.Held, s)
			}
			held += share.Held
		}
		if all != list.Len() {
			l.t.Fatalf("%d entries of all sources, %d in the list", all, list.Len())
		}
	}
	if held != fs.Held || held > ip.MaxHeldBytes {
		l.t.Fatalf("%d bytes held by sources, %d in all", held, fs.Held)
	}
}

// A flood of fragments that will never have a first one, from one host or in many
// names, does no harm to others' fragments, in order or not, and leaves nothing behind
// (RFC 4787 REQ-14).
func TestFragmentFlood(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources int
		size    int
	}{
		{"one source", 1, 1000},
		{"one source, tiny", 1, 8},
		{"many sources", 200, 1000},
		{"many sources, tiny", 200, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLesson(t)
			l.udp(l.vm4, 4000, "8.8.8.8", 53, "asks for neighbors")
			l.udp(l.web1, 4000, "8.8.8.8", 53, "asks for neighbors")
			l.take("ext_net")
			whole := l.build(l.vm4, "8.8.8.8", layers.IPProtocolUDP, nil, gopacket.Payload(make([]byte, c.size)))
			ip := whole[packet.EthernetLen:]
			binary.BigEndian.PutUint16(ip[6:], 0x2000|1000>>3)
			orders := [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}}
			const floods = 20000
			for i := range floods {
				binary.BigEndian.PutUint16(ip[4:], uint16(i))
				ip[15] = byte(10 + i%c.sources)
				packet.SetIPv4Checksum(ip)
				l.put("vlan101", slices.Clone(whole))
				if i%50 == 0 {
					l.now += time.Millisecond
				}
				if i%500 != 0 {
					continue
				}
				l.none("ext_net")
				pieces := l.piecesOf(l.web1, 5000, uint16(i/500), 3000)
				order := orders[i/500%len(orders)]
				for _, k := range order[:2] {
					l.put("vlan100", pieces[k])
				}
				for range 20 { // the flood goes on in between
					binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+30000)
					packet.SetIPv4Checksum(ip)
					l.put("vlan101", slices.Clone(whole))
				}
				l.put("vlan100", pieces[order[2]])
				if got := l.take("ext_net"); len(got) != 3 {
					t.Fatalf("%d of three fragments in the order %v arrive during the flood", len(got), order)
				}
				l.checkFragments()
			}
			l.advance(31 * time.Second)
			l.checkFragments()
			fs := &l.w.routers[0].Fragments
			if len(fs.Entries) != 0 || fs.Held != 0 || len(fs.Known.Sources) != 0 || len(fs.Waiting.Sources) != 0 {
				t.Errorf("left: %d entries, %d bytes", len(fs.Entries), fs.Held)
			}
		})
	}
}

// One source has a share of the packets whose first fragment has passed, too.
func TestFragmentedShare(t *testing.T) {
	l := newLesson(t)
	first := l.piecesOf(l.web1, 5000, 1, 3000)
	l.put("vlan100", first[0])
	l.take("ext_net")
	for i := range 2 * ip.MaxFragmented {
		l.put("vlan101", l.piecesOf(l.vm4, 5000, uint16(i), 3000)[0])
		l.take("ext_net")
	}
	l.checkFragments()
	l.put("vlan100", first[1])
	if got := l.take("ext_net"); len(got) != 1 {
		t.Error("another host's fragments have displaced a packet that was under way")
	}
}

// A first fragment with other ports than the one before would lead the rest of the
// packet elsewhere. It is dropped; the identification may be used again when all of
// the packet has come, or when the rest would have long.
func TestFirstFragmentThatContradicts(t *testing.T) {
	l := newLesson(t)
	a, b := l.piecesOf(l.vm4, 4000, 9, 3000), l.piecesOf(l.vm4, 4002, 9, 3000)
	port := func(want layers.UDPPort, frame []byte) {
		t.Helper()
		l.put("vlan101", frame)
		if got := l.one("ext_net"); got.udp != nil && got.udp.SrcPort != want {
			t.Errorf("port %d, want %d", got.udp.SrcPort, want)
		}
	}
	port(4000, a[0])
	l.put("vlan101", b[0])
	l.none("ext_net")
	l.dropped(DropFragmentChanged, 1)
	port(4000, a[0]) // the same again is none
	port(4000, a[1])
	port(4000, a[2])
	port(4002, b[0]) // complete: used again
	port(4002, b[1])
	l.put("vlan101", a[0])
	l.none("ext_net")
	l.dropped(DropFragmentChanged, 2)
	l.advance(ip.HoldFragmentFor)
	port(4000, a[0])

	// One that waited for its next hop is not counted twice.
	l = newLesson(t)
	port(4000, a[0])
	port(4000, a[2])
	l.put("vlan101", b[0])
	l.dropped(DropFragmentChanged, 1)
}

// Where a packet's pieces are held, its first one finds them in any case; a source that
// has more waiting than it may loses its oldest.
func TestHeldFragmentsOfOneSource(t *testing.T) {
	l := newLesson(t)
	for i := range ip.MaxWaitingEach + 1 {
		l.put("vlan101", l.piecesOf(l.vm4, 5000, uint16(i), 3000)[1])
	}
	l.checkFragments()
	l.dropped(DropFragmentFull, 1)
	for i, want := range map[int]int{0: 1, 1: 2, ip.MaxWaitingEach: 2} {
		l.put("vlan101", l.piecesOf(l.vm4, 5000, uint16(i), 3000)[0])
		if got := l.take("ext_net"); len(got) != want {
			t.Errorf("packet %d: %d fragments, want %d", i, len(got), want)
		}
	}
	// Its bytes are bounded, too: older ones make room.
	l = newLesson(t)
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "asks for the neighbor")
	l.one("ext_net")
	for id := range uint16(4) {
		for i := range ip.MaxHeldPieces {
			l.put("vlan101", l.build(l.vm4, "8.8.8.8", layers.IPProtocolUDP, []ipOpt{func(ip *layers.IPv4) {
				ip.Id, ip.Flags, ip.FragOffset = id, layers.IPv4MoreFragments, uint16(100*(i+1))
			}}, gopacket.Payload(make([]byte, 800))))
			l.checkFragments()
		}
	}
	if held := l.w.routers[0].Fragments.Held; held < ip.MaxHeldEach/2 {
		t.Errorf("%d bytes held", held)
	}
	l.put("vlan101", l.piecesOf(l.vm4, 5000, 3, 3000)[0])
	if got := l.take("ext_net"); len(got) != 1+ip.MaxHeldPieces {
		t.Errorf("%d fragments of the latest packet, want all %d", len(got), 1+ip.MaxHeldPieces)
	}
	// More pieces than are held of any packet.
	l = newLesson(t)
	for i := range 200 {
		eth := l.build(l.vm4, "8.8.8.8", layers.IPProtocolUDP, []ipOpt{func(ip *layers.IPv4) {
			ip.Id, ip.Flags, ip.FragOffset = 77, layers.IPv4MoreFragments, uint16(100+i)
		}}, gopacket.Payload(make([]byte, 8)))
		l.put("vlan101", eth)
	}
	l.dropped(DropFragmentFull, 200-ip.MaxHeldPieces)
	l.checkFragments()
}

// A super-frame with IP options is cut twice: into segments, and the segments into fragments. All
// its bytes come out. Every segment's first fragment has the record.
func TestSuperFrameWithOptionsInFragments(t *testing.T) {
	l := newLesson(t)
	for _, i := range interfaces(l.nets["ext_net"]) {
		i.MTU = 600
	}
	eth := l.build(l.vm3, "10.10.10.4", 6, nil, tcpLayer())
	l.put(l.vm3.net, eth)
	l.take("ext_net")
	record := []byte{7, 7, 4, 0, 0, 0, 0, 0}
	eth = append(append(bytes.Clone(eth[:34]), record...), eth[34:54]...)
	eth = append(eth, make([]byte, 3000)...)
	ip := eth[14:]
	ip[0] = 0x47
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	packet.SetIPv4Checksum(ip)
	binary.BigEndian.PutUint32(ip[28+4:], 1)
	ip[28+13] = packet.ACK
	b := append(make([]byte, tap.HeaderLen), eth...)
	unfinish(b, virtio.GSOTCPv4, 1000)
	l.putFrame(l.vm3.net, b)
	want := []byte{7, 7, 8, 10, 10, 10, 2, 0}
	got, firsts := 0, 0
	for _, f := range l.take("ext_net") {
		if len(f.eth) > 14+600 {
			t.Errorf("%d bytes", len(f.eth))
		}
		got += len(f.ip.Payload)
		if f.ip.FragOffset == 0 {
			firsts++
			got -= packet.TCPLen
			if !bytes.Equal(f.eth[34:42], want) {
				t.Errorf("options %x, want %x", f.eth[34:42], want)
			}
		} else if f.ip.IHL != 5 {
			t.Errorf("a later fragment has options: %x", f.eth[34:])
		}
	}
	if got != 3000 || firsts != 3 {
		t.Errorf("%d bytes in %d segments, want 3000 in 3; drops %v", got, firsts, l.stats().Drops)
	}
}
