package router

import (
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// again has the client of a flow come back by its port with another sequence number, and
// returns the flow that is to be, at the server that gets the SYN.
func (f *flow) again(server *simHost, seq uint32) *flow {
	l := f.l
	l.t.Helper()
	g := &flow{l: l, client: f.client, server: server, port: f.port, to: f.to, toPort: f.toPort, seq: seq,
		sseq: 700_000_000}
	g.repeat()
	g.seq++
	return g
}

// repeat sends the SYN of a flow, and notes how it arrives.
func (f *flow) repeat() {
	l := f.l
	l.t.Helper()
	l.segment(f.client, f.port, f.to, f.toPort, packet.SYN, f.seq, 0, 0)
	got := l.one(f.server.net)
	if got.ip.DstIP.String() != f.server.addr.String() || got.tcp.Seq != f.seq {
		l.t.Fatalf("%v has arrived, not at %v", got, f.server.addr)
	}
	f.from, f.fromPort, f.sport = got.ip.SrcIP.String(), int(got.tcp.SrcPort), int(got.tcp.DstPort)
}

// answer has the server accept the SYN.
func (f *flow) answer() {
	f.l.t.Helper()
	f.l.segment(f.server, f.sport, f.from, f.fromPort, packet.SYN|packet.ACK, f.sseq, f.seq, 0)
	f.sseq++
	f.l.one(f.client.net)
}

// complete has the client answer the server, after which both talk.
func (f *flow) complete() {
	f.l.t.Helper()
	f.l.segment(f.client, f.port, f.to, f.toPort, packet.ACK, f.seq, f.sseq, 0)
	f.l.one(f.server.net)
	f.lives()
}

// connections is how many a lesson's router has.
func (l *lesson) connections() int { return l.w.routers[0].Conns.Len() }

// staleWays are how a member may come to have no new connections.
var staleWays = map[string]func(l *lesson) error{
	"down":     func(l *lesson) error { return l.SetMember("web servers", "WEB1", false) },
	"removed":  func(l *lesson) error { return l.RemoveMember("web servers", "WEB1") },
	"drains":   func(l *lesson) error { return l.SetMemberWeight("web servers", "WEB1", 0) },
	"no route": func(l *lesson) error { l.unreachable(l.web1); return nil },
	"replaced": func(l *lesson) error {
		if err := l.RemoveMember("web servers", "WEB1"); err != nil {
			return err
		}
		m := file.Member{Name: "WEB1", Address: l.web1.addr, Port: 8080, Weight: 1, AdminStateUp: true}
		if err := l.AddMember("web servers", m); err != nil {
			return err
		}
		return l.SetMember("web servers", "WEB1", false)
	},
}

// unreachable has a host vanish, and the router notice.
func (l *lesson) unreachable(h *simHost) {
	h.mute = true
	l.advance(6 * time.Minute) // its entry is forgotten, or has failed
	l.tcp(l.client, 9, "10.10.10.7", 80, "S")
	l.tcp(l.client, 10, "10.10.10.7", 80, "S")
	l.advance(4 * time.Second)
	for _, n := range l.names {
		l.take(n)
	}
}

// A client comes back by the port of a connection to a member that may have no new ones: the SYN
// goes to another member, and so does its repetition. The old connection goes on until the
// client has answered the new member.
func TestStaleTupleIsBalancedAnew(t *testing.T) {
	for name, away := range staleWays {
		for _, half := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", half closed"}[half], func(t *testing.T) {
				l := newLessonOf(t, balanced("keep", "drain"))
				old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
				if half {
					l.segment(old.client, old.port, old.to, old.toPort, packet.ACK|packet.FIN, old.seq, old.sseq, 0)
					old.seq++
					l.one("vlan100")
				}
				l.do(away(l))
				before := l.connections()
				g := old.again(l.web2, 3_000_000_000)
				g.seq--
				l.advance(time.Second)
				g.repeat()
				g.seq++
				if !half && name != "no route" {
					old.lives()
				}
				g.answer()
				if !half && name != "no route" {
					old.lives()
				}
				if n := l.connections(); n != before+1 {
					t.Errorf("%d connections, want the new one beside %d", n, before)
				}
				g.complete()
				if n := l.connections(); n != before {
					t.Errorf("%d connections when the new one is there, want %d", n, before)
				}
				l.advance(5 * time.Minute)
				g.lives()
			})
		}
	}
}

// As long as the member may have new connections, it is the one to judge the SYN, whether it still
// has the old connection or not.
func TestStaleTupleStaysOnItsMember(t *testing.T) {
	l := newLessonOf(t, balanced("keep", "drain"))
	old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	g := old.again(l.web1, 3_000_000_000)
	old.lives()
	g.answer()
	g.complete()
	if n := l.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A client that takes the place of its own connection needs no room beside it; others do.
func TestStaleTupleWithinTheLimit(t *testing.T) {
	topo := balanced("keep", "drain")
	topo.VIPs[0].ConnectionLimit = 1
	l := newLessonOf(t, topo)
	old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.SetMemberWeight("web servers", "WEB1", 0))
	g := old.again(l.web2, 3_000_000_000)
	l.tcp(l.client, 4001, "10.10.10.7", 80, "S")
	l.none("vlan100")
	l.dropped(DropConnectionLimit, 1)
	l.take("ext_net")
	g.answer()
	g.complete()
	if n := l.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A late copy of the SYN that a connection has begun with is no new beginning.
func TestLateCopyOfASYN(t *testing.T) {
	l := newLessonOf(t, balanced("keep", "drain"))
	old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.SetMemberWeight("web servers", "WEB1", 0))
	copied := *old
	copied.seq = 1000
	copied.repeat()
	old.lives()
	if n := l.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A stranger opens a connection in the client's name by a first fragment, and sends the SYN once more as a whole.
// The new member answers; what the client says to that is the old connection's.
func TestFragmentedSYNEndsNothing(t *testing.T) {
	l := newLessonOf(t, balanced("keep", "drain"))
	old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.SetMemberWeight("web servers", "WEB1", 0))
	syn := &layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 3_000_000_000, Window: 65535, SYN: true,
		Options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}
	first := l.build(old.client, old.to, layers.IPProtocolTCP,
		[]ipOpt{func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments; ip.Id = 7 }}, syn)
	l.put(old.client.net, first)
	l.take("vlan100")
	l.segment(old.client, old.port, old.to, old.toPort, packet.SYN, 3_000_000_000, 0, 0)
	got := l.take("vlan100")
	if len(got) == 1 && got[0].ip.DstIP.String() == l.web2.addr.String() {
		g := &flow{l: l, client: old.client, server: l.web2, port: old.port, to: old.to, toPort: old.toPort,
			seq: 3_000_000_001, sseq: 700_000_000}
		g.from, g.fromPort, g.sport = got[0].ip.SrcIP.String(), int(got[0].tcp.SrcPort), int(got[0].tcp.DstPort)
		g.answer()
	}
	l.segment(old.client, old.port, old.to, old.toPort, packet.ACK, old.seq, old.sseq, 0) // what it asks back
	l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.9:80 .")
	old.lives()
	l.advance(5 * time.Minute)
	old.lives()
}

// A successor may never be established, and the old connection may end first.
func TestSuccessorsAndWhatBecomesOfThem(t *testing.T) {
	for name, c := range map[string]struct {
		then func(l *lesson, old, g *flow)
		left int
	}{
		"the new member refuses": {func(l *lesson, old, g *flow) {
			l.segment(g.server, g.sport, g.from, g.fromPort, packet.RST|packet.ACK, 0, g.seq, 0)
			l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4000 R.")
			old.lives()
			h := old.again(l.web2, 2_000_000_000) // the next SYN begins once more
			h.answer()
			h.complete()
		}, 1},
		"the new member is silent": {func(l *lesson, old, _ *flow) {
			l.advance(5 * time.Minute)
			old.lives()
		}, 1},
		"the client is somebody else's invention": {func(l *lesson, old, g *flow) {
			g.answer()
			l.segment(old.client, old.port, old.to, old.toPort, packet.ACK, old.seq, old.sseq, 0) // what it asks back
			l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.9:80 .")
			old.lives()
			l.advance(5 * time.Minute)
			old.lives()
		}, 1},
		"the client resets the answer": {func(l *lesson, old, g *flow) {
			g.answer()
			l.segment(g.client, g.port, g.to, g.toPort, packet.RST, g.seq, 0, 0)
			l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.10:80 R")
			old.lives()
			l.advance(5 * time.Minute)
			old.lives()
		}, 1},
		"the old one is reset": {func(l *lesson, old, g *flow) {
			l.segment(old.server, old.sport, old.from, old.fromPort, packet.RST, old.sseq, 0, 0)
			l.one("ext_net")
			g.answer()
			g.complete()
		}, 1},
		"the old one has expired": {func(l *lesson, _, g *flow) {
			l.advance(conntrack.TCPEstablishedTimeout)
			h := g.again(l.web2, 5)
			h.answer()
			h.complete()
		}, 1},
		"the new member goes, too": {func(l *lesson, old, g *flow) {
			l.do(l.SetMember("web servers", "WEB2", false))
			l.do(l.SetMember("web servers", "WEB1", true))
			l.do(l.SetMemberWeight("web servers", "WEB1", 1))
			old.lives()
			h := old.again(l.web1, g.seq-1)
			h.answer()
			h.complete()
		}, 1},
		"another SYN": {func(l *lesson, old, g *flow) {
			h := old.again(l.web2, 77_000_000)
			h.answer()
			old.lives()
			h.complete()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLessonOf(t, balanced("keep", "drain"))
			old := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
			l.do(l.SetMemberWeight("web servers", "WEB1", 0))
			c.then(l, old, old.again(l.web2, 3_000_000_000))
			if n := l.connections(); n != c.left {
				t.Errorf("%d connections are left, want %d", n, c.left)
			}
			l.advance(3 * time.Hour)
			if n := l.connections(); n != 0 {
				t.Errorf("%d connections in the end", n)
			}
		})
	}
}

// A SYN that its member has not answered has nothing to keep: where the member is out of reach
// by now, it goes to another one.
func TestUnansweredSYNLeavesAMemberOutOfReach(t *testing.T) {
	l := newLessonOf(t, balanced("keep", "drain"))
	f := l.syn(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.unreachable(l.web1)
	g := f.again(l.web2, 1000)
	g.answer()
	g.complete()
}

// An internal host is told that its connection is gone: through SNAT, to a VIP, at once, and not
// more often than other errors are sent. An external host hears nothing (RFC 5382, REQ-4).
func TestResetForWhatIsForgotten(t *testing.T) {
	l := newLesson(t)
	l.segment(l.web1, 5000, "10.10.10.1", 80, packet.ACK, 77, 99, 10)
	l.want(l.one("vlan100"), "tcp 10.10.10.1:80 > 172.16.100.9:5000 R")
	l.none("ext_net")
	l.segment(l.web1, 5000, "10.10.10.1", 80, packet.RST, 77, 0, 0) // a RST is not answered
	l.none("vlan100")
	vm := l.host("vlan101", "172.16.101.30")
	l.segment(vm, 5000, "172.16.100.11", 80, packet.ACK|packet.FIN, 77, 99, 0)
	l.want(l.one("vlan101"), "tcp 172.16.100.11:80 > 172.16.101.30:5000 R")
	l.none("vlan100")
	l.segment(l.client, 5000, "10.10.10.7", 80, packet.ACK, 77, 99, 10)
	l.none("ext_net")
	l.segment(l.client, 5000, "10.10.10.2", 4242, packet.ACK, 77, 99, 10)
	l.none("ext_net")
	l.dropped(DropNotSYN, 4)
	for range 1000 {
		l.segment(l.web1, 5001, "10.10.10.1", 80, packet.ACK, 77, 99, 10)
	}
	if n := len(l.take("vlan100")); n == 0 || n > 30 {
		t.Errorf("%d of a thousand segments are answered, want some 29", n)
	}
}
