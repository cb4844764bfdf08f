package router

import (
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// pingPieces is a ping of n bytes to the router in fragments of at most mtu.
func (l *lesson) pingPieces(h *simHost, id uint16, n, mtu int) [][]byte {
	l.t.Helper()
	frame := l.build(h, "172.16.101.1", 1, []ipOpt{func(ip *layers.IPv4) { ip.Id = id }}, pingLayer(),
		gopacket.Payload(make([]byte, n)))
	var p packet.Packet
	if f := p.Parse(frame, nil); f != packet.FaultNone {
		l.t.Fatal(f)
	}
	var out [][]byte
	p.Fragment(mtu, func(n int) []byte {
		out = append(out, make([]byte, n))
		return out[len(out)-1]
	})
	return out
}

// A sender whose packet for the router never gets its last fragments is told so, once.
func TestReassemblyTimeExceeded(t *testing.T) {
	l := newLesson(t)
	l.ping(l.vm4, "172.16.101.1", 1, 1) // the router knows the host
	pieces := l.pingPieces(l.vm4, 1, 4000, 1500)
	l.take("vlan101")
	l.put("vlan101", pieces[0])
	l.put("vlan101", pieces[1])
	if n := l.stats().Parked; n != 2 {
		t.Errorf("%d fragments wait, want 2", n)
	}
	l.advance(ip.ReassemblyTime - time.Millisecond)
	l.none("vlan101")
	l.advance(time.Millisecond)
	got := l.one("vlan101")
	l.want(got, "icmp 172.16.101.1 > 172.16.101.4 type 11 code 1 about icmp 172.16.101.4 > 172.16.101.1 id 1")
	l.dropped(DropFragmentWait, 2)
	l.advance(time.Minute)
	l.none("vlan101")
	if n := len(l.w.routers[0].Reassemblies); n != 0 {
		t.Errorf("%d packets are still waited for", n)
	}

	// No error tells of a packet that was spoilt.
	l.put("vlan101", pieces[0])
	l.put("vlan101", l.pingPieces(l.vm4, 1, 4000, 1000)[1])
	l.advance(time.Minute)
	l.none("vlan101")
	l.dropped(DropFragmentLocal, 2)
}

// One source, or many, cannot keep others' packets from being put together.
func TestReassemblyFlood(t *testing.T) {
	l := newLesson(t)
	l.ping(l.vm3, "172.16.101.1", 1, 1)
	l.take("vlan101")
	mine := l.pingPieces(l.vm3, 1, 4000, 1500)
	l.put("vlan101", mine[0])
	for id := range uint16(5 * ip.MaxReassemblies) {
		l.put("vlan101", l.pingPieces(l.vm4, id, 4000, 1500)[0])
	}
	if n := len(l.w.routers[0].Reassemblies); n != 1+ip.MaxReassembliesEach {
		t.Errorf("%d packets are waited for, want %d", n, 1+ip.MaxReassembliesEach)
	}
	l.dropped(DropFragmentFull, 5*ip.MaxReassemblies-ip.MaxReassembliesEach)
	l.put("vlan101", mine[1])
	l.put("vlan101", mine[2])
	if got := l.take("vlan101"); len(got) != 3 {
		t.Errorf("%d fragments of the answer, want 3", len(got))
	}
	// Under many names there is still room for the latest.
	for i := range 5 * ip.MaxReassemblies {
		frame := l.pingPieces(l.vm4, 1, 4000, 1500)[0]
		frame[packet.EthernetLen+15] = byte(10 + i%200)
		packet.SetIPv4Checksum(frame[packet.EthernetLen : packet.EthernetLen+20])
		l.put("vlan101", frame)
		if n := len(l.w.routers[0].Reassemblies); n > ip.MaxReassemblies {
			t.Fatalf("%d packets are waited for", n)
		}
	}
	for _, piece := range mine {
		l.put("vlan101", piece)
	}
	if got := l.take("vlan101"); len(got) != 3 {
		t.Errorf("%d fragments of the answer, want 3", len(got))
	}
}

// A packet in more pieces than any usual MTU makes is given up.
func TestReassemblyOfManyPieces(t *testing.T) {
	l := newLesson(t)
	l.ping(l.vm4, "172.16.101.1", 1, 1)
	l.take("vlan101")
	for _, piece := range l.pingPieces(l.vm4, 1, 16*(ip.MaxPieces+2), 36) {
		l.put("vlan101", piece)
	}
	l.none("vlan101")
	if n := l.stats().Parked; n != 0 {
		t.Errorf("%d fragments wait", n)
	}
	pieces := l.pingPieces(l.vm4, 2, 65000, 576)
	for _, piece := range pieces {
		l.put("vlan101", piece)
	}
	if got := l.take("vlan101"); len(got) == 0 {
		t.Errorf("no answer to the largest ping through the smallest MTU, in %d pieces", len(pieces))
	}
}

// A last fragment before one that is there already belongs to another packet.
func TestReassemblyBehindTheEnd(t *testing.T) {
	l := newLesson(t)
	pieces := l.pingPieces(l.vm4, 1, 5000, 1500)
	l.put("vlan101", pieces[0])
	l.put("vlan101", pieces[2])
	ip := pieces[1][packet.EthernetLen:]
	ip[6] &^= 0x20
	packet.SetIPv4Checksum(ip[:20])
	l.put("vlan101", pieces[1])
	l.dropped(DropFragmentLocal, 3)
}
