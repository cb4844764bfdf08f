package router

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// unsent fails unless this is all that has not been sent so far.
func (l *lesson) unsent(want map[UnsentReason]uint64) {
	l.t.Helper()
	if got := l.stats().Unsent; !maps.Equal(got, want) {
		l.t.Errorf("not sent: %v, want %v", got, want)
	}
}

// ICMP errors and RSTs beyond the limit are counted. Sent and unsent ones are as many as the packets that asked
// for one.
func TestUnsentBeyondTheRate(t *testing.T) {
	l := newLesson(t)
	const each = 50
	for i := range each {
		l.udp(l.vm4, 4000+i, "8.8.8.8", 53, "", ttl(1))
	}
	sent := len(l.take("vlan101"))
	l.unsent(map[UnsentReason]uint64{UnsentRate: uint64(each - sent)})
	for i := range each {
		l.tcp(l.vm3, 4000+i, "172.16.101.1", 80, "S")
	}
	sent += len(l.take("vlan101"))
	l.unsent(map[UnsentReason]uint64{UnsentRate: uint64(2*each - sent)})
	if sent == 0 || sent == 2*each {
		t.Fatalf("%d were sent; the test misses its point", sent)
	}
	// What a rule forbids is not missing.
	l.advance(time.Minute)
	before := l.stats().Unsent
	l.tcp(l.vm3, 9, "172.16.101.1", 80, "R")
	l.icmpError(l.vm3, "172.16.101.1", 3, 3, sent0(l))
	l.unsent(before)
}

// sent0 is a packet that the router has sent.
func sent0(l *lesson) sent {
	l.ping(l.vm3, "172.16.101.1", 1, 1)
	return l.one("vlan101")
}

// Where a connection ends by a change, a RST that cannot be sent to one side is counted by the reason, and the
// other side gets its own.
func TestUnsentResets(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  UnsentReason
		spoil func(l *lesson)
	}{
		{"nobody knows the next hop", UnsentNeighbor,
			func(l *lesson) { r := l.w.routers[0]; r.Neighbors.Forget(r.Gateway.Interface.ID) }},
		{"there is no route", UnsentRoute, func(l *lesson) {
			r := l.w.routers[0]
			r.Routes.Delete(prefix("10.10.10.0/24"))
			r.Routes.Delete(prefix("0.0.0.0/0"))
		}},
	} {
		l := newLesson(t)
		l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3)
		c.spoil(l)
		l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
		l.run()
		if got := l.take("ext_net"); len(got) != 0 {
			t.Errorf("%s: the client got %v", c.name, got)
		}
		if got := l.take("vlan101"); len(got) != 1 || !got[0].tcp.RST {
			t.Errorf("%s: the host got %v", c.name, got)
		}
		l.unsent(map[UnsentReason]uint64{c.want: 1})
	}
	// The router has seen no packet of the client, so it does not know the number that the host
	// expects.
	l := newLesson(t)
	l.tcp(l.vm3, 4000, "10.10.10.4", 80, "P")
	l.one("ext_net")
	l.do(l.DisassociateFloatingIP(addr("10.10.10.3")))
	l.run()
	l.none("vlan101")
	if got := l.take("ext_net"); len(got) != 1 || !got[0].tcp.RST {
		t.Errorf("the client got %v", got)
	}
	l.unsent(map[UnsentReason]uint64{UnsentSequence: 1})
}

// A RST in answer to a packet in pieces is missed once, not for each piece.
func TestUnsentToFragments(t *testing.T) {
	topo := tutorial()
	for i := range topo.Pools[0].Members {
		topo.Pools[0].Members[i].AdminStateUp = false
	}
	l := newLessonOf(t, topo)
	for _, f := range fragmentsOfTCP(l.sim, l.client, "10.10.10.7") {
		l.put("ext_net", f)
	}
	l.none("ext_net")
	l.unsent(map[UnsentReason]uint64{UnsentFragment: 1})
}

// fragmentsOfTCP is a SYN in three pieces.
func fragmentsOfTCP(s *sim, from *simHost, dst string) (all [][]byte) {
	whole := s.build(from, dst, layers.IPProtocolTCP, nil, tcpLayer(), payload(100))
	var p packet.Packet
	if p.Parse(whole, nil) != packet.FaultNone {
		s.t.Fatal("it is no packet")
	}
	p.Fragment(68, func(n int) []byte {
		all = append(all, make([]byte, n))
		return all[len(all)-1]
	})
	return all
}

// A super-frame without a payload is one packet on every device. None is lost.
func TestSuperFrameWithoutPayload(t *testing.T) {
	for _, features := range []tap.Features{0, allFeatures} {
		for _, kind := range []uint8{virtio.GSOTCPv4, virtio.GSOUDP} {
			l := newLesson(t)
			l.devs["ext_net"].features = features
			for _, p := range l.w.Links {
				p.Takes = p.Dev.Features()
			}
			frame := l.build(l.vm3, "10.10.10.4", layers.IPProtocolUDP, nil, udpLayer())[:42]
			if kind == virtio.GSOTCPv4 {
				frame = l.build(l.vm3, "10.10.10.4", layers.IPProtocolTCP, nil, tcpLayer())[:54]
			}
			b := append(make([]byte, tap.HeaderLen), frame...)
			unfinish(b, kind, 1000)
			l.putFrame("vlan101", b)
			got := l.one("ext_net")
			if features == 0 {
				if err := nettest.Verify(got.eth); err != nil || !bytes.Equal(got.vnet, make([]byte, len(got.vnet))) {
					t.Errorf("kind %d: %v, header %x", kind, err, got.vnet)
				}
			}
		}
	}
}

// A frame that the switch has for a device that is away is lost there.
func TestFloodToAnAbsentDevice(t *testing.T) {
	l := newLesson(t)
	l.addPort("vlan100", "second")
	away := l.nets["vlan100"].Ports[1].Link
	away.Dev = nil
	before := away.Stats.Lost
	l.nets["vlan100"].Announce() // two addresses are announced
	l.run()
	if got := away.Stats.Lost - before; got != 2 {
		t.Errorf("%d frames are lost at the device that is away, want 2", got)
	}
	frame := make([]byte, 60)
	copy(frame, []byte{2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 9, 0x86, 0xdd})
	before = away.Stats.Lost
	l.put("vlan100", frame)
	if got := away.Stats.Lost - before; got != 1 {
		t.Errorf("%d frames to nobody known are lost at the device that is away, want 1", got)
	}
}
