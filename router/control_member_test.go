package router

import (
	"slices"
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
)

// balanced is the tutorial with a VIP for UDP, at the same address and for the same
// hosts, and what becomes of their connections.
func balanced(down, removed string) *file.Topology {
	topo := tutorial()
	p := topo.Pools[0]
	p.Name, p.Protocol = "name servers", file.UDP
	p.Members = slices.Clone(p.Members)
	topo.Pools = append(topo.Pools, p)
	for i := range topo.Pools {
		topo.Pools[i].OnMemberDown, topo.Pools[i].OnMemberRemoved = down, removed
	}
	v := topo.VIPs[0]
	v.Name, v.Protocol, v.Port, v.Pool = "dns-vip", file.UDP, 53, "name servers"
	topo.VIPs = append(topo.VIPs, v)
	return topo
}

// When a member is down or removed, its UDP and unanswered TCP connections go to
// another one with their next packet, by the VIP and by its floating IP; the policy
// says what becomes of the others. Other members' connections do not notice.
func TestMemberGoes(t *testing.T) {
	for name, c := range map[string]struct {
		down, removed string
		change        func(l *lesson, pool string) error
		reset         bool
	}{
		"down, keep": {"keep", "reset", func(l *lesson, p string) error { return l.SetMember(p, "WEB1", false) },
			false},
		"down, reset": {"reset", "drain", func(l *lesson, p string) error { return l.SetMember(p, "WEB1", false) },
			true},
		"removed, drain": {"reset", "drain", func(l *lesson, p string) error { return l.RemoveMember(p, "WEB1") },
			false},
		"removed, reset": {"keep", "reset", func(l *lesson, p string) error { return l.RemoveMember(p, "WEB1") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLessonOf(t, balanced(c.down, c.removed))
			mine := []*flow{l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)}
			other := l.tcpFlow(l.vm3, 4000, "172.16.100.11", 80, l.web2)
			mine = append(mine, l.tcpFlow(l.vm3, 4001, "172.16.100.11", 80, l.web1))
			l.tcpFlow(l.vm3, 4002, "172.16.100.11", 80, l.web2)
			l.syn(l.client, 4003, "10.10.10.7", 80, l.web1)
			l.exchange(l.client, 4000, "10.10.10.7", 53, l.web1, "10.10.10.4")
			l.exchange(l.vm3, 4000, "172.16.100.11", 53, l.web2, "172.16.101.3")
			l.exchange(l.vm3, 4001, "172.16.100.11", 53, l.web1, "172.16.101.3")

			for _, pool := range []string{"web servers", "name servers"} {
				l.do(c.change(l, pool))
			}
			if c.reset {
				l.wantResets(resets(mine...))
			} else {
				l.wantResets(nil)
				for _, f := range mine {
					f.lives()
				}
			}
			other.lives()
			l.exchange(l.client, 4000, "10.10.10.7", 53, l.web2, "10.10.10.4")
			l.exchange(l.vm3, 4000, "172.16.100.11", 53, l.web2, "172.16.101.3")
			l.exchange(l.vm3, 4001, "172.16.100.11", 53, l.web2, "172.16.101.3")
			l.segment(l.client, 4003, "10.10.10.7", 80, packet.SYN, 1000, 0, 0) // once more
			l.want(l.one("vlan100"), "tcp 10.10.10.4:4003 > 172.16.100.10:80 S")
			for i := range 3 {
				l.tcpFlow(l.client, 5000+i, "10.10.10.7", 80, l.web2)
			}
			if !c.reset {
				mine[0].lives()
			}
		})
	}
}

// A member that is down by hand comes back by hand, and a pool without any refuses.
func TestMemberComesBack(t *testing.T) {
	l := newLessonOf(t, balanced("keep", "drain"))
	for _, m := range []string{"WEB1", "WEB2"} {
		l.do(l.SetMember("web servers", m, false))
		l.do(l.SetMember("web servers", m, false)) // it is already
	}
	l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4000 R.")
	l.dropped(DropNoMember, 1)
	l.do(l.SetMember("web servers", "WEB2", true))
	f := l.tcpFlow(l.client, 4001, "10.10.10.7", 80, l.web2)
	l.do(l.SetMember("web servers", "WEB1", true))
	f.lives()
	l.tcpFlow(l.client, 4002, "10.10.10.7", 80, l.web1)
	l.tcpFlow(l.client, 4003, "10.10.10.7", 80, l.web2)
}

// New members get their turns; connections of one that is gone are never taken for
// those of one that came after it.
func TestMembersCome(t *testing.T) {
	l := newLessonOf(t, balanced("reset", "drain"))
	web3 := l.host("vlan100", "172.16.100.12")
	drains := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.RemoveMember("web servers", "WEB1"))
	l.do(l.AddMember("web servers", file.Member{Address: web3.addr, Port: 80, Weight: 1, AdminStateUp: true}))
	l.tcpFlow(l.client, 4001, "10.10.10.7", 80, l.web2)
	f := l.tcpFlow(l.client, 4002, "10.10.10.7", 80, web3)
	l.do(l.AddMember("web servers", file.Member{Name: "WEB1", Address: addr("172.16.100.9"), Port: 80, Weight: 1}))
	l.tcpFlow(l.client, 4003, "10.10.10.7", 80, l.web2) // it is not up yet
	l.do(l.SetMember("web servers", "WEB1", true))
	l.tcpFlow(l.client, 4004, "10.10.10.7", 80, web3)
	again := l.tcpFlow(l.client, 4005, "10.10.10.7", 80, l.web1)
	drains.lives()
	l.do(l.SetMember("web servers", "172.16.100.12:80", false)) // by the name that it has by default
	l.do(l.SetMember("web servers", "WEB1", false))
	l.run()
	for _, n := range l.names {
		l.take(n)
	}
	drains.lives()
	for _, g := range []*flow{f, again} {
		l.segment(g.client, g.port, g.to, g.toPort, packet.ACK, g.seq, g.sseq, 1)
		l.none("vlan100")
	}
}
