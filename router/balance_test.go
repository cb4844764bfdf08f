package router

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// pooled is the tutorial's network with a pool and a VIP that are not as usual.
func pooled(t *testing.T, change func(*file.Pool, *file.VIP)) *lesson {
	t.Helper()
	topo := tutorial()
	change(&topo.Pools[0], &topo.VIPs[0])
	topo.Pools[0].Protocol = topo.VIPs[0].Protocol
	return newLessonOf(t, topo)
}

// members opens TCP connections from one port after the other, and says which member each
// goes to, by the last digit of its address.
func (l *lesson) members(from *simHost, port, n int) string {
	l.t.Helper()
	out := ""
	for i := range n {
		l.tcp(from, port+i, "10.10.10.7", 80, "S")
		for _, got := range l.take("vlan100") {
			s := got.ip.DstIP.String()
			out += s[len(s)-1:]
		}
	}
	return out
}

// server is the host of a member, by the digit that members says.
func (l *lesson) server(digit byte) *simHost {
	if digit == '9' {
		return l.web1
	}
	return l.web2
}

// Weights are parts of the connections, evenly mixed; with 0 a member has no new ones, and what
// it has goes on.
func TestWeights(t *testing.T) {
	l := pooled(t, func(p *file.Pool, _ *file.VIP) { p.Members[0].Weight = 2 })
	if got := l.members(l.client, 4000, 6); got != "909"+"909" {
		t.Errorf("weights 2:1: %s", got)
	}
	f := l.tcpFlow(l.client, 5000, "10.10.10.7", 80, l.web1)
	if err := l.SetMemberWeight("web servers", "WEB1", 0); err != nil {
		t.Fatal(err)
	}
	if got := l.members(l.client, 6000, 4); got != "0000" {
		t.Errorf("while one drains: %s", got)
	}
	f.lives()
	if err := l.SetMemberWeight("web servers", "WEB1", 1); err != nil {
		t.Fatal(err)
	}
	if got := l.members(l.client, 7000, 6); strings.Count(got, "9") != 3 {
		t.Errorf("after it is back: %s", got)
	}
	f.lives()
	for _, bad := range []int{-1, 257} {
		if err := l.SetMemberWeight("web servers", "WEB1", bad); err == nil {
			t.Errorf("weight %d is accepted", bad)
		}
	}
}

// A backup has connections only while no other member may.
func TestBackup(t *testing.T) {
	l := pooled(t, func(p *file.Pool, _ *file.VIP) { p.Members[1].Backup = true })
	got := l.members(l.client, 4000, 3)
	l.check(l.SetMember("web servers", "WEB1", false))
	got += l.members(l.client, 4100, 3)
	l.check(l.SetMember("web servers", "WEB1", true))
	if got += l.members(l.client, 4200, 3); got != "999000999" {
		t.Error(got)
	}
}

// A member that no packet can reach costs no client a connection. If it had a turn, which is never taken, it would
// be the choice for every next client.
func TestMemberThatIsNoHost(t *testing.T) {
	l := newLesson(t)
	for a, want := range map[string]bool{"172.16.100.9": true, "172.16.100.255": false, "172.16.100.0": false} {
		if got := l.w.routers[0].Reachable(&l.w.Turn, packet.AddrFrom(addr(a))); got != want {
			t.Errorf("a member with the address %s is reachable: %t, want %t", a, got, want)
		}
	}
}

func (l *lesson) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// A connection counts from its first packet to its end: a FIN of both sides, a RST, or
// silence.
func TestLeastConnections(t *testing.T) {
	l := pooled(t, func(p *file.Pool, _ *file.VIP) { p.Algorithm = "LEAST_CONNECTIONS" })
	if got := l.members(l.client, 4000, 4); got != "9090" {
		t.Fatalf("a burst of SYNs: %s", got)
	}
	end := func(port int, server *simHost, how string) {
		for _, flags := range strings.Fields(how) {
			if strings.HasPrefix(flags, "<") {
				l.tcp(server, 80, "10.10.10.4", port, flags[1:])
			} else {
				l.tcp(l.client, port, "10.10.10.7", 80, flags)
			}
		}
		l.take("vlan100")
		l.take("ext_net")
	}
	end(4001, l.web2, "R") // given up
	if got := l.members(l.client, 5000, 2); got != "09" {
		t.Errorf("after one of WEB2's is given up: %s", got)
	}
	f := l.tcpFlow(l.client, 5100, "10.10.10.7", 80, l.web2) // three each
	_ = f
	if got := l.members(l.client, 5200, 1); got != "9" {
		t.Errorf("after another one of WEB2's: %s", got)
	}
	l.advance(5 * time.Minute) // the half-open ones have expired, f lives
	f.lives()
	if got := l.members(l.client, 6000, 1); got != "9" {
		t.Errorf("with one of WEB2's left: %s", got)
	}
	l.segment(l.client, 5100, "10.10.10.7", 80, packet.FIN|packet.ACK, f.seq, f.sseq, 0)
	l.segment(l.web2, 80, "10.10.10.4", 5100, packet.FIN|packet.ACK, f.sseq, f.seq+1, 0)
	l.take("vlan100")
	l.take("ext_net")
	if got := l.members(l.client, 6100, 2); got != "09" {
		t.Errorf("after both have said FIN: %s", got)
	}
}

// A client keeps its member as long as it comes back in time, and as long as that one is up.
func TestPersistence(t *testing.T) {
	l := pooled(t, func(p *file.Pool, _ *file.VIP) {
		p.SessionPersistence = &file.SessionPersistence{Type: "SOURCE_IP", Timeout: time.Minute}
	})
	other := l.host("ext_net", "10.10.10.5")
	if got := l.members(l.client, 4000, 3) + l.members(other, 4000, 3); got != "999000" {
		t.Errorf("two clients: %s", got)
	}
	l.advance(5 * time.Minute) // those were half-open
	for range 3 {
		l.advance(59 * time.Second)
		l.members(l.client, 4100, 1)
		l.tcp(l.client, 4100, "10.10.10.7", 80, "R")
		l.take("vlan100")
	}
	one := l.members(l.client, 4200, 1)
	l.check(l.SetMember("web servers", map[string]string{"9": "WEB1", "0": "WEB2"}[one], false))
	if got := l.members(l.client, 4300, 2); strings.Contains(got, one) {
		t.Errorf("its member is down, and it gets %s", got)
	}
}

// Sources choose members, the same ones in every router; with the port, each connection does.
func TestSourceHashing(t *testing.T) {
	for _, algorithm := range []string{"SOURCE_IP", "SOURCE_IP_PORT"} {
		seen := [2]string{}
		for k := range seen {
			l := pooled(t, func(p *file.Pool, _ *file.VIP) {
				p.Algorithm = algorithm
				if k == 1 {
					p.Members[0], p.Members[1] = p.Members[1], p.Members[0]
				}
			})
			for i := range 20 {
				seen[k] += l.members(l.host("ext_net", fmt.Sprintf("10.10.10.%d", 100+i)), 4000, 3) + " "
			}
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: two routers do not agree:\n%s\n%s", algorithm, seen[0], seen[1])
		}
		mixed := strings.Contains(seen[0], "90") || strings.Contains(seen[0], "09")
		if mixed != (algorithm == "SOURCE_IP_PORT") || !strings.Contains(seen[0], "9") ||
			!strings.Contains(seen[0], "0") {
			t.Errorf("%s: %s", algorithm, seen[0])
		}
	}
}

func TestAllowedClients(t *testing.T) {
	l := pooled(t, func(_ *file.Pool, v *file.VIP) {
		v.AllowedCIDRs = []netip.Prefix{prefix("10.10.10.4/32"), prefix("172.16.101.0/24")}
	})
	if got := l.members(l.client, 4000, 2); got != "90" {
		t.Errorf("who may: %s", got)
	}
	if got := l.members(l.host("ext_net", "10.10.10.5"), 4000, 2); got != "" {
		t.Errorf("who may not: %s", got)
	}
	l.none("ext_net") // not a word
	l.dropped(DropNotAllowed, 2)
	if got := l.members(l.vm3, 4000, 1); got != "9" {
		t.Errorf("from inside: %s", got)
	}
	if s := l.LoadBalancers()[0].Listeners[0]; s.Refused != 2 || s.Statistics.Total != 3 {
		t.Errorf("refused %d, total %d", s.Refused, s.Statistics.Total)
	}
}

// The connection beyond the limit is refused with a RST, and one may come when another has
// ended. SYNs alone shut no client out.
func TestConnectionLimit(t *testing.T) {
	l := pooled(t, func(_ *file.Pool, v *file.VIP) { v.ConnectionLimit = 2 })
	for i := range 5 {
		l.tcp(l.client, 3000+i, "10.10.10.7", 80, "S") // a flood
	}
	l.take("vlan100")
	a := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web2)
	b := l.tcpFlow(l.vm4, 4001, "10.10.10.7", 80, l.web1)
	l.tcp(l.client, 4002, "10.10.10.7", 80, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4002 R.")
	l.none("vlan100")
	l.dropped(DropConnectionLimit, 1)
	status := l.LoadBalancers()[0]
	if v := status.Listeners[0]; v.Refused != 1 || v.OperatingStatus != Degraded || status.OperatingStatus != Degraded {
		t.Errorf("at the limit: %+v", status)
	}
	a.lives()
	l.tcp(l.client, 4002, "10.10.10.7", 80, ".") // of no connection: refused, but nothing was asked for
	l.take("ext_net")
	if v := l.LoadBalancers()[0].Listeners[0]; v.Refused != 1 {
		t.Errorf("refused %d", v.Refused)
	}
	l.segment(l.vm4, 4001, "10.10.10.7", 80, packet.RST, b.seq, 0, 0)
	l.take("vlan100")
	c := l.tcpFlow(l.client, 4003, "10.10.10.7", 80, l.server(l.turn()))
	c.lives()
}

// turn is the member whose turn it is, by its digit.
func (l *lesson) turn() byte {
	m, _ := l.w.routers[0].Listeners[0].Pool.Pick(lb.Client{}, 0, nil)
	s := m.Addr.Netip().String()
	return s[len(s)-1]
}

// Of several that begin at the same time, those are reset that are established beyond the limit.
func TestConnectionLimitInABurst(t *testing.T) {
	l := pooled(t, func(_ *file.Pool, v *file.VIP) { v.ConnectionLimit = 1 })
	var flows []*flow
	for i := range 2 {
		flows = append(flows, l.syn(l.client, 4000+i, "10.10.10.7", 80, l.server("90"[i])))
	}
	for _, f := range flows {
		l.segment(f.server, f.sport, f.from, f.fromPort, packet.SYN|packet.ACK, f.sseq, f.seq, 0)
		f.sseq++
		l.one("ext_net")
	}
	ack := func(f *flow) { l.segment(f.client, f.port, f.to, f.toPort, packet.ACK, f.seq, f.sseq, 0) }
	ack(flows[0])
	l.one("vlan100")
	ack(flows[1])
	l.wantResets(resets(flows[1]))
	l.dropped(DropConnectionLimit, 1)
	flows[0].lives()
	if s := l.LoadBalancers()[0].Listeners[0]; s.Refused != 1 || s.Statistics.Active != 1 {
		t.Errorf("%+v", s)
	}
}

// A VIP's connections that are idle for longer than it says end, and both sides hear of it;
// others live as long as ever.
func TestIdleTimeout(t *testing.T) {
	l := pooled(t, func(_ *file.Pool, v *file.VIP) { v.IdleTimeout = 50 * time.Second })
	f := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	other := l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3)
	for range 3 {
		l.advance(49 * time.Second)
		f.lives()
	}
	l.advance(49 * time.Second)
	l.wantResets(nil)
	l.advance(2 * time.Second)
	l.wantResets(resets(f))
	other.lives()
	if s := l.LoadBalancers()[0].Listeners[0].Statistics; s.Active != 0 || s.Total != 1 {
		t.Errorf("%+v", s)
	}
}

// A UDP VIP's idle timeout: the next datagram is balanced anew.
func TestIdleTimeoutOfUDP(t *testing.T) {
	l := pooled(t, func(_ *file.Pool, v *file.VIP) { v.IdleTimeout, v.Protocol = 10*time.Second, file.UDP })
	ask := func() string {
		l.udp(l.client, 4000, "10.10.10.7", 80, "?")
		return l.one("vlan100").ip.DstIP.String()
	}
	first := ask()
	l.advance(9 * time.Second)
	if again := ask(); again != first {
		t.Errorf("from %s to %s in the middle", first, again)
	}
	l.advance(11 * time.Second)
	if next := ask(); next == first {
		t.Error("it is still the same one")
	}
}

// The router's counts for a VIP are those of a capture on the member's network. They never become smaller, even
// if members come and go.
func TestStatisticsAreWhatACaptureShows(t *testing.T) {
	l := newLesson(t)
	var in, out, bytesIn, bytesOut, before uint64
	capture := func() {
		for _, f := range l.take("vlan100") { // to members
			in++
			bytesIn += uint64(f.ip.Length)
		}
		for _, f := range l.take("ext_net") { // to the client
			out++
			bytesOut += uint64(f.ip.Length)
		}
	}
	check := func(what string, active int, total uint64) {
		t.Helper()
		capture()
		all := l.LoadBalancers()
		if len(all) != 1 || len(all[0].Listeners) != 1 {
			t.Fatalf("%+v", all)
		}
		s := all[0].Listeners[0].Statistics
		want := Statistics{Active: active, Total: total, PacketsIn: in, PacketsOut: out, BytesIn: bytesIn,
			BytesOut: bytesOut}
		if s != want || s.Total < before {
			t.Errorf("%s:\n got %+v\nwant %+v", what, s, want)
		}
		before = s.Total
		var sum Statistics
		for _, m := range all[0].Listeners[0].Pool.Members {
			sum.Active += m.Statistics.Active
			sum.Total += m.Statistics.Total
			sum.BytesIn += m.Statistics.BytesIn
		}
		if p := all[0].Listeners[0].Pool.Statistics; sum.Total != p.Total || sum.Active != p.Active ||
			sum.BytesIn != p.BytesIn {
			t.Errorf("%s: the pool has %+v, its members %+v", what, p, sum)
		}
	}
	for i := range 10 {
		l.tcp(l.client, 4000+i, "10.10.10.7", 80, "S")
		l.tcp(l.server("90"[i%2]), 80, "10.10.10.4", 4000+i, "S.")
		l.tcp(l.client, 4000+i, "10.10.10.7", 80, ".")
	}
	check("ten connections", 10, 10)
	for i := range 5 {
		l.segment(l.client, 4000+i, "10.10.10.7", 80, packet.RST, 1001, 0, 0)
	}
	check("five of them reset", 5, 10)
	l.check(l.RemoveMember("web servers", "WEB1"))
	check("a member removed, which drains", 5, 10)
	for i := range 5 {
		l.segment(l.client, 4005+i, "10.10.10.7", 80, packet.RST, 1001, 0, 0)
	}
	check("all reset", 0, 10)
	l.advance(10 * time.Minute) // and forgotten
	check("forgotten", 0, 10)
	for i := range 50 {
		name := fmt.Sprint("m", i)
		l.check(l.AddMember("web servers", file.Member{Name: name, Address: addr("172.16.100.9"), Port: 80, Weight: 1,
			AdminStateUp: true}))
		l.members(l.client, 5000+2*i, 2)
		in += 2
		bytesIn += 80
		l.check(l.RemoveMember("web servers", name))
		l.advance(10 * time.Minute)
	}
	check("members that came and went", 0, 110)
	if n := len(l.w.routers[0].Backends) - 1; n > 3 {
		t.Errorf("%d backends after as many members", n)
	}
}

// The statuses are Octavia's.
func TestOperatingStatus(t *testing.T) {
	l := newLesson(t)
	status := func() string {
		b := l.LoadBalancers()[0]
		s := fmt.Sprint(b.OperatingStatus, " ", b.Listeners[0].OperatingStatus, " ",
			b.Listeners[0].Pool.OperatingStatus)
		for _, m := range b.Listeners[0].Pool.Members {
			s += " " + string(m.OperatingStatus)
		}
		return s
	}
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "ONLINE ONLINE ONLINE NO_MONITOR NO_MONITOR"},
		{func() error { return l.SetMember("web servers", "WEB1", false) }, "ONLINE ONLINE ONLINE OFFLINE NO_MONITOR"},
		{func() error { return l.SetMemberWeight("web servers", "WEB2", 0) }, "ERROR ONLINE ERROR OFFLINE DRAINING"},
		{func() error { return l.SetMember("web servers", "WEB1", true) }, "ONLINE ONLINE ONLINE NO_MONITOR DRAINING"},
	} {
		l.check(c.do())
		if got := status(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// refuse has a member answer a SYN as a host does that has no listener.
func (l *lesson) refuse(f *flow) {
	l.segment(f.server, f.sport, f.from, f.fromPort, packet.RST|packet.ACK, 0, f.seq, 0)
}

// A member that refuses a connection costs its client the time until the client asks again, and
// other clients nothing for a while. The client does not get the member's RST if there is another member.
func TestRefusedByAMember(t *testing.T) {
	l := monitored(t)
	f := l.syn(l.client, 4000, "10.10.10.7", 80, l.web1)
	forged := *f
	forged.seq += 5
	l.refuse(&forged) // about another SYN: it is the client's to judge
	l.one("ext_net")
	l.refuse(f)
	l.none("ext_net")
	l.dropped(DropMemberRefused, 1)
	l.advance(time.Second)
	l.tcp(l.client, 4000, "10.10.10.7", 80, "S") // again
	l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > 172.16.100.10:80 S")
	if got := l.members(l.client, 5000, 6); got != "000000" {
		t.Errorf("shortly after: %s", got)
	}
	l.advance(3 * time.Second)
	if got := l.members(l.client, 6000, 2); !strings.Contains(got, "9") {
		t.Errorf("it is not tried any more: %s", got)
	}
	l.check(l.SetMember("web servers", "WEB2", false))
	last := l.syn(l.client, 7000, "10.10.10.7", 80, l.web1)
	l.refuse(last)
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:7000 R.")
}

// Where all refuse, the client hears it, and not later than from the last of them.
func TestRefusedByAllMembers(t *testing.T) {
	l := monitored(t)
	l.refuse(l.syn(l.client, 4000, "10.10.10.7", 80, l.web1))
	l.none("ext_net")
	l.advance(time.Second)
	l.refuse(l.syn(l.client, 4000, "10.10.10.7", 80, l.web2))
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4000 R.")
	f := l.tcpFlow(l.client, 5000, "10.10.10.7", 80, l.server(l.turn())) // the member is back, and serves
	f.lives()
	l.segment(f.server, f.sport, f.from, f.fromPort, packet.RST|packet.ACK, f.sseq, f.seq, 0)
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:5000 R.") // of a connection: no refusal
}

// A member that has refused a connection is still better than one that cannot be reached.
func TestRefusedIsBetterThanUnreachable(t *testing.T) {
	l := monitored(t)
	l.web2.mute = true
	l.refuse(l.syn(l.client, 4000, "10.10.10.7", 80, l.web1)) // WEB2 might do better
	l.tcp(l.client, 4001, "10.10.10.7", 80, "S")              // and is asked for
	l.advance(2900 * time.Millisecond)
	l.take("vlan100")
	l.advance(200 * time.Millisecond) // it has not answered
	l.take("vlan100")
	l.take("ext_net")
	l.w.routers[0].Backends[1].Avoid = l.now + ip.RefusedFor
	if got := l.members(l.client, 5000, 3); got != "999" {
		t.Errorf("one refuses, the other does not answer: %q", got)
	}
}

// monitored is the tutorial's network with checks, by which all members are up.
func monitored(t *testing.T) *lesson {
	return pooled(t, func(p *file.Pool, _ *file.VIP) { p.Monitor = &file.Monitor{Type: "TCP", InitialState: "up"} })
}

// Without checks nothing says that the member should be up: the client gets its refusal.
func TestRefusedWithoutMonitor(t *testing.T) {
	l := newLesson(t)
	l.refuse(l.syn(l.client, 4000, "10.10.10.7", 80, l.web1))
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4000 R.")
	if got := l.members(l.client, 5000, 4); got != "0909" {
		t.Errorf("afterwards: %s", got)
	}
}

// A tenant of another router reaches a VIP through its floating IP, both in one process: the
// member sees what that tenant shows outside, and errors, path MTU and pieces find their way.
func TestVIPFromAnotherRoutersTenant(t *testing.T) {
	for _, workers := range []int{1, 2} {
		topo := twoRouters()
		topo.Engine.Workers = workers
		topo.Pools = []file.Pool{{Name: "web", Protocol: file.TCP, Algorithm: "ROUND_ROBIN", OnMemberDown: "keep",
			OnMemberRemoved: "drain",
			Members: []file.Member{{Name: "one", Address: addr("192.168.1.9"), Port: 80, Weight: 1,
				AdminStateUp: true}}}}
		topo.VIPs = []file.VIP{{Name: "web", Network: "blue", Address: addr("192.168.1.80"), Protocol: file.TCP,
			Port: 80, Pool: "web", Router: "blue"}}
		topo.FloatingIPs = append(topo.FloatingIPs,
			file.FloatingIP{Network: "ext_net", Address: addr("10.10.10.7"), FixedIP: addr("192.168.1.80"),
				Router: "blue"})
		topo.Networks[1].MTU = 1000
		s := newSim(t, topo)
		red, member := s.host("red", "192.168.1.9"), s.host("blue", "192.168.1.9")
		l := &lesson{sim: s}
		f := l.tcpFlow(red, 4000, "10.10.10.7", 80, member)
		if f.from != "10.10.10.2" {
			t.Errorf("%d workers: the member sees %s", workers, f.from)
		}
		f.lives()
		l.put("red", l.build(red, "10.10.10.7", layers.IPProtocolTCP, []ipOpt{df},
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: f.seq, Ack: f.sseq, ACK: true, Window: 65535}, payload(1200)))
		s.want(s.one("red"), "icmp 10.10.10.5 > 192.168.1.9 type 3 code 4 about tcp 192.168.1.9:4000 > 10.10.10.7:80")
		f.lives()
		if all := s.LoadBalancers(); len(all) != 1 || all[0].Router != "blue" ||
			all[0].Listeners[0].Statistics.Active != 1 {
			t.Errorf("%d workers: %+v", workers, all)
		} else if v := all[0].Listeners[0]; s.State().Listener(v.ID) == nil ||
			s.State().Member(v.Pool.Members[0].ID) == nil {
			t.Errorf("%d workers: these are no ids: %+v", workers, all)
		}
	}
}

// A route to half of all addresses does not say that the addresses of the checks are used, as a default route does not.
func TestChecksBesideADefaultRouteInHalves(t *testing.T) {
	topo := tutorial()
	topo.Pools[0].Monitor = &file.Monitor{Type: "TCP", InitialState: "up"}
	for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1"} {
		topo.Routers[0].Routes = append(topo.Routers[0].Routes,
			file.Route{Destination: prefix(half), NextHop: addr("172.16.100.254")})
	}
	e, err := Start(stateOf(t, topo), Options{})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
}

// memberLines is the members of a pool as LoadBalancers shows them.
func (l *lesson) memberLines() string {
	p := l.LoadBalancers()[0].Listeners[0].Pool
	s := string(p.OperatingStatus)
	for _, m := range p.Members {
		s += fmt.Sprintf("; %s %v %s", m.Name, m.Address, m.OperatingStatus)
		if m.Removed {
			s += " removed"
		}
		s += fmt.Sprintf(" %d of %d", m.Statistics.Active, m.Statistics.Total)
	}
	return s
}

// A removed member is shown as long as it drains, so an operator sees when it is idle. It is told
// from another member of its name, and does not count for the pool's status.
func TestRemovedMembersAreShownWhileTheyDrain(t *testing.T) {
	l := newLesson(t)
	want := func(what, want string) {
		t.Helper()
		if got := l.memberLines(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
		ls := l.LoadBalancers()[0].Listeners[0]
		var sum Statistics
		for _, m := range ls.Pool.Members {
			sum.Active += m.Statistics.Active
		}
		if ls.Statistics.Active != sum.Active || ls.Pool.Statistics.Active != sum.Active {
			t.Errorf("%s: %d active, the pool has %d, its members %d",
				what, ls.Statistics.Active, ls.Pool.Statistics.Active, sum.Active)
		}
	}
	end := func(f *flow) {
		l.segment(f.client, f.port, f.to, f.toPort, packet.RST, f.seq, 0, 0)
	}
	one := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	two := l.tcpFlow(l.client, 4001, "10.10.10.7", 80, l.web2)
	three := l.tcpFlow(l.client, 4002, "10.10.10.7", 80, l.web1)
	const web1, web2 = "WEB1 172.16.100.9:80 ", "WEB2 172.16.100.10:80 "
	want("before", "ONLINE; "+web1+"NO_MONITOR 2 of 2; "+web2+"NO_MONITOR 1 of 1")
	l.do(l.SetMember("web servers", "WEB1", false))
	want("down, and its connections are kept", "ONLINE; "+web1+"OFFLINE 2 of 2; "+web2+"NO_MONITOR 1 of 1")
	l.do(l.RemoveMember("web servers", "WEB1"))
	want("removed", "ONLINE; "+web2+"NO_MONITOR 1 of 1; "+web1+"DRAINING removed 2 of 2")
	l.do(l.AddMember("web servers", file.Member{Name: "WEB1", Address: addr("172.16.100.12"), Port: 80, Weight: 1,
		AdminStateUp: true}))
	want("another of its name",
		"ONLINE; "+web2+"NO_MONITOR 1 of 1; WEB1 172.16.100.12:80 NO_MONITOR 0 of 0; "+web1+"DRAINING removed 2 of 2")
	l.do(l.RemoveMember("web servers", "WEB1"))
	one.lives()
	end(one)
	want("one ended", "ONLINE; "+web2+"NO_MONITOR 1 of 1; "+web1+"DRAINING removed 1 of 2")
	l.do(l.RemoveMember("web servers", "WEB2"))
	want("all removed", "ONLINE; "+web1+"DRAINING removed 1 of 2; "+web2+"DRAINING removed 1 of 1")
	end(three)
	want("the last ended", "ONLINE; "+web2+"DRAINING removed 1 of 1")
	l.do(l.AddMember("web servers", file.Member{Name: "WEB3", Address: addr("172.16.100.12"), Port: 80,
		AdminStateUp: true}))
	want("a member with weight 0", "ERROR; WEB3 172.16.100.12:80 DRAINING 0 of 0; "+web2+"DRAINING removed 1 of 1")
	end(two)
	want("nobody's left", "ERROR; WEB3 172.16.100.12:80 DRAINING 0 of 0")
}

// Where removing resets, or what goes is UDP, nothing is left to show.
func TestRemovedMembersThatDoNotDrain(t *testing.T) {
	l := pooled(t, func(p *file.Pool, _ *file.VIP) { p.OnMemberRemoved = "reset" })
	l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	l.do(l.RemoveMember("web servers", "WEB1"))
	if got := l.memberLines(); got != "ONLINE; WEB2 172.16.100.10:80 NO_MONITOR 0 of 0" {
		t.Error(got)
	}
	l = pooled(t, func(_ *file.Pool, v *file.VIP) { v.Protocol = file.UDP })
	l.udp(l.client, 4000, "10.10.10.7", 80, "?")
	l.do(l.RemoveMember("web servers", "WEB1"))
	if got := l.memberLines(); got != "ONLINE; WEB2 172.16.100.10:80 NO_MONITOR 0 of 0" {
		t.Error(got)
	}
}
