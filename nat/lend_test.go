package nat_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

func tcp(src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) packet.Tuple {
	t := udp(src, srcPort, dst, dstPort)
	t.Proto = packet.ProtoTCP
	return t
}

// establish lets a TCP connection be established.
func establish(table *tables, c *conntrack.Conn, now time.Duration) {
	table.Touch(c, conntrack.Reply, packet.SYN|packet.ACK, false, now)
	table.Touch(c, conntrack.Original, packet.ACK, false, now)
}

// open has a host open a connection that counts towards its share.
func open(table *tables, tuple packet.Tuple, now time.Duration) (*conntrack.Conn, uint16, conntrack.Refusal) {
	var b nat.Binding
	port, r := table.Bind(&b, external, tuple, tuple)
	if r != conntrack.None {
		return nil, 0, r
	}
	out := tuple
	out.Src, out.SrcPort = external, port
	c, r := table.commitBound(&conntrack.NewConn{Original: tuple, Reply: out.Reverse(), Owner: conntrack.OwnerSource,
		Segment: packet.Segment{Flags: packet.SYN}}, &b, now)
	return c, port, r
}

// One host holds every port, some of them live. Another one opens 20 000 connections. It gets them all, each by a
// port of its own; the first host keeps its share, its live connections, and all established TCP.
func TestEveryPortIsLent(t *testing.T) {
	const ports, wanted, live = 65536 - 1024, 20_000, 500
	table := newTable(config{Lend: true})
	now := time.Duration(0)
	protos := map[string]func(packet.Addr, uint16, packet.Addr, uint16) packet.Tuple{"UDP": udp, "TCP": tcp}
	kept := map[string][]packet.Tuple{}
	for name, tuple := range protos {
		for k := range ports {
			f := tuple(inside, uint16(1024+k), remote, 53)
			c, port, r := open(table, f, now)
			if r != conntrack.None || int(port) != 1024+k || !nat.Mapped(c.Marks()) {
				t.Fatalf("%s: the first host's connection %d: port %d, %v", name, k, port, r)
			}
			switch {
			case name == "UDP":
				table.Touch(c, conntrack.Reply, 0, true, now)
				if k%(ports/live) == 7 {
					kept[name] = append(kept[name], f)
				}
			case k%5 == 3:
				establish(table, c, now)
				kept[name] = append(kept[name], f)
			}
		}
	}
	// Some UDP goes on, all else is idle.
	now += 30 * time.Second
	for _, f := range kept["UDP"] {
		c, d := table.Lookup(&f, now)
		table.Touch(c, d, 0, true, now)
	}
	before := table.Len()
	for name, tuple := range protos {
		got := map[uint16]bool{}
		for k := range wanted {
			c, port, r := open(table, tuple(inside+1, uint16(1024+k), remote, 53), now)
			if r != conntrack.None || !nat.Mapped(c.Marks()) || got[port] {
				t.Fatalf("%s: the second host's connection %d: port %d, %v", name, k, port, r)
			}
			got[port] = true
		}
		for _, f := range kept[name] {
			if !there(table, f, now) {
				t.Fatalf("%s: %v has ended", name, f)
			}
		}
	}
	if s, n := table.Table.Stats(), table.Len(); s.Recalled != 2*wanted || n != before ||
		table.Stats().Overloaded != 0 {
		t.Errorf("%d connections of %d, %+v, %+v", n, before, s, table.Stats())
	}
	// What is beyond the first host's share is 32 256 ports. The second one's share is as many as it has not.
	for k := wanted; k < ports; k++ {
		c, _, r := open(table, udp(inside+1, uint16(1024+k), remote+1, 53), now)
		if r != conntrack.None || !nat.Mapped(c.Marks()) {
			if held := table.nat.Held(inside, 1); held < ports/2 || held > ports-wanted {
				t.Errorf("the first host has %d ports left of its share of %d", held, ports/2)
			}
			return
		}
	}
	t.Error("the second host has got every port")
}

// However many hosts come, each finds what it would if nothing were lent.
func TestLentIsFreeForOthers(t *testing.T) {
	for _, share := range []float64{0.5, 0.1, 0.9} {
		for _, lends := range []bool{false, true} {
			table := newTable(config{PortMin: 2000, PortMax: 2999, HostShare: share, Lend: lends})
			var held []int
			for host := range packet.Addr(5) {
				for k := range uint16(1000) {
					open(table, udp(inside+host, 2000+k, remote+host, 53), 0)
				}
			}
			for host := range packet.Addr(5) {
				held = append(held, table.nat.Held(inside+host, 1))
			}
			want := map[float64][]int{0.5: {500, 250, 125, 63, 31}, 0.1: {100, 90, 81, 73, 65}, 0.9: {900, 90, 9, 1, 0}}
			lent := 0
			for k, n := range held {
				if n < want[share][k] || !lends && n != want[share][k] {
					t.Errorf("share %v, lends %t: %v ports, want %v", share, lends, held, want[share])
				}
				lent += n - want[share][k]
			}
			if share == 0.1 && lends && lent != 1000-100-90-81-73-65 {
				t.Errorf("%d of what is left are lent: %v", lent, held)
			}
		}
	}
}

// The mapping that ends is the one that has been idle for the longest, with all its connections.
func TestLongestIdleMappingEnds(t *testing.T) {
	const ports = 40
	for name, tuple := range map[string]func(packet.Addr, uint16, packet.Addr, uint16) packet.Tuple{
		"UDP": udp, "half-open TCP": tcp} {
		table := newTable(config{PortMin: 2000, PortMax: 2000 + ports - 1, Lend: true, UDP: time.Hour,
			TCPTransitory: time.Hour})
		last := map[uint16]time.Duration{}
		now := time.Duration(0)
		r := rand.New(rand.NewPCG(1, 2))
		touch := func(port uint16) {
			last[port] = now
			for to := range packet.Addr(3) {
				f := tuple(inside, port, remote+to, 53)
				if c, _ := table.Lookup(&f, now); c != nil {
					table.Touch(c, conntrack.Reply, 0, true, now)
				} else if _, _, r := open(table, f, now); r != conntrack.None {
					t.Fatal(r)
				}
				now += time.Second
			}
		}
		for k := range uint16(ports) {
			touch(2000 + k)
			now += 25 * time.Second
		}
		if name == "UDP" {
			for range 60 {
				touch(2000 + uint16(r.IntN(ports)))
				now += 25 * time.Second
			}
		}
		for k := range uint16(ports / 4) {
			_, port, r := open(table, tuple(inside+1, 5000+k, remote, 53), now)
			if r != conntrack.None {
				t.Fatal(r)
			}
			longest := port
			for p, at := range last {
				if at < last[longest] {
					longest = p
				}
			}
			if longest != port {
				t.Fatalf("%s: port %d is taken, idle since %v; that of %d since %v", name, port, last[port], longest,
					last[longest])
			}
			delete(last, port)
			for to := range packet.Addr(3) {
				if there(table, tuple(inside, port, remote+to, 53), now) {
					t.Fatalf("%s: a connection of the first host's port %d is there", name, port)
				}
			}
		}
		if s := table.Table.Stats(); s.Recalled != 3*ports/4 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Hosts beyond their shares take nothing from each other, and nothing that another host has within its share.
func TestBorrowersTakeNothing(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2099, HostShare: 0.2, Lend: true})
	for k := range uint16(60) {
		for host := range packet.Addr(2) {
			open(table, udp(inside+host, 2000+k, remote, 53), 0)
		}
	}
	held := [2]int{table.nat.Held(inside, 1), table.nat.Held(inside+1, 1)}
	if held[0]+held[1] != 100 || table.Table.Stats().Recalled != 0 {
		t.Fatalf("they have %v ports, %+v", held, table.Table.Stats())
	}
	if _, _, r := open(table, udp(inside, 4000, remote, 53), 0); r != conntrack.HostShareUsed {
		t.Errorf("a borrower with no port left: %v", r)
	}
	for k := range uint16(10) {
		if c, _, r := open(table, udp(inside+2, 2000+k, remote, 53), 0); r != conntrack.None || !nat.Mapped(c.Marks()) {
			t.Fatalf("a host within its share: %v", r)
		}
	}
	// Each borrower has lost some.
	if a, b := table.nat.Held(inside, 1), table.nat.Held(inside+1, 1); a+b != 90 || a == held[0] || b == held[1] {
		t.Errorf("they have %d and %d ports", a, b)
	}
}

// The second host's share is a quarter. It gets a half, since the first one had more than that. The third host takes
// its share from what the second one has borrowed, and no more.
func TestBorrowersGetTheirPart(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2015, Lend: true})
	for host := range packet.Addr(3) {
		for k := range uint16(16) {
			open(table, udp(inside+host, 2000+k, remote+host, 53), 0)
		}
	}
	var held [3]int
	for host := range held {
		held[host] = table.nat.Held(inside+packet.Addr(host), 1)
	}
	if held != [3]int{8, 6, 2} {
		t.Errorf("they have %v ports", held)
	}
}

// Established TCP counts within the share. A host whose whole share is established gets no further port of its own for
// TCP, and none that it may keep for what it has begun before.
func TestEstablishedCountsWithinTheShare(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2009, HostShare: 0.5, Lend: true})
	var begun []*conntrack.Conn
	for k := range uint16(8) {
		c, _, r := open(table, tcp(inside, 2000+k, remote, 80), 0)
		if r != conntrack.None || !nat.Mapped(c.Marks()) {
			t.Fatalf("%d: %v", k, r)
		}
		begun = append(begun, c)
	}
	for k, c := range begun {
		establish(table, c, 0)
		if over := table.nat.OverShare(c); over != (k >= 5) {
			t.Fatalf("%d are established, one too many: %t", k+1, over)
		} else if over {
			table.Remove(c)
		}
	}
	if c, _, r := open(table, tcp(inside, 2008, remote, 80), 0); r != conntrack.HostShareUsed {
		t.Errorf("one more: %v, %v", c, r) // five of ten ports are taken towards there
	}
	if c, _, r := open(table, tcp(inside, 2008, remote+1, 80), 0); r != conntrack.None || nat.Mapped(c.Marks()) {
		t.Errorf("one more elsewhere: %v", r) // overloaded, as without lending
	}
	// One that ends makes room for another one.
	table.Touch(begun[0], conntrack.Original, packet.RST, false, 0)
	c, _, r := open(table, tcp(inside, 2009, remote, 80), 0)
	if r != conntrack.None || !nat.Mapped(c.Marks()) {
		t.Fatalf("after one has ended: %v", r)
	}
	if establish(table, c, 0); table.nat.OverShare(c) {
		t.Error("it is one too many")
	}
	// The other host needs all: closed connections make room, established ones do not.
	for k := range uint16(5) {
		if c, _, r := open(table, tcp(inside+1, 3000+k, remote+2, 80), 0); r != conntrack.None && k < 2 {
			t.Errorf("connection %d of the other host: %v, %v", k, c, r)
		}
	}
	for _, c := range begun[1:5] {
		if f := c.Tuple(conntrack.Original); !there(table, f, 0) {
			t.Errorf("%v has ended", f)
		}
	}
}

// In the table, too: an established connection takes the place of UDP within the share, and UDP ends for others.
func TestEstablishedTakesThePlaceOfUDP(t *testing.T) {
	table := newTable(config{MaxConnections: 40, HostShare: 0.5, Lend: true})
	for k := range uint16(20) {
		c, _, r := open(table, udp(inside, 2000+k, remote, 53), 0)
		if r != conntrack.None {
			t.Fatal(r)
		}
		table.Touch(c, conntrack.Reply, 0, true, 0)
	}
	var firm []packet.Tuple
	for k := range uint16(20) {
		f := tcp(inside, 2000+k, remote, 80)
		c, _, r := open(table, f, 0)
		if r != conntrack.None {
			t.Fatalf("SYN %d: %v", k, r)
		}
		if establish(table, c, 0); table.nat.OverShare(c) {
			t.Fatalf("connection %d is one too many", k)
		}
		firm = append(firm, f)
	}
	// All forty are the first host's. Its share is half of them: the established ones.
	for host := range packet.Addr(3) {
		for k, n := uint16(0), []uint16{10, 5, 3}[host]; k < n; k++ {
			c, _, r := open(table, udp(inside+1+host, 2000+k, remote+1, 53), 0)
			if r != conntrack.None {
				t.Fatalf("host %d, connection %d: %v", host, k, r)
			}
			table.Touch(c, conntrack.Reply, 0, true, 0)
		}
	}
	for _, f := range firm {
		if !there(table, f, 0) {
			t.Errorf("%v has ended", f)
		}
	}
	if s := table.Table.Stats(); s.Recalled != 18 || s.Evicted != 0 {
		t.Errorf("%+v", s)
	}
}

// A port that is lent is taken for a hairpinned connection as well, but never that of the mapping that it goes to.
func TestHairpinTakesAnotherPort(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2003, Lend: true})
	for k := range uint16(4) {
		if _, port, r := open(table, udp(inside, 2000+k, remote, 53), 0); r != conntrack.None || port != 2000+k {
			t.Fatal(port, r)
		}
	}
	original := udp(inside+1, 7000, external, 2000)
	var b nat.Binding
	addr, port, r := table.Inbound(&b, original, false)
	if r != conntrack.None || addr != inside {
		t.Fatal(addr, r)
	}
	to := udp(inside+1, 7000, addr, port)
	ext, r := table.Bind(&b, external, to, original)
	if r != conntrack.None || ext == 2000 {
		t.Fatalf("port %d, %v", ext, r)
	}
	to.Src, to.SrcPort = external, ext
	if _, r := table.commitBound(&conntrack.NewConn{Original: original, Reply: to.Reverse(),
		Owner: conntrack.OwnerSource}, &b, 0); r != conntrack.None {
		t.Fatal(r)
	}
	if !there(table, udp(inside, 2000, remote, 53), 0) || there(table, udp(inside, ext, remote, 53), 0) {
		t.Error("the wrong mapping has ended")
	}
}

// A connection that the table refuses takes no port from anybody.
func TestRefusedTakesNoPort(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2003, Lend: true, MaxConnections: 8, ConnShare: 0.5})
	for k := range uint16(4) {
		c, _, _ := open(table, udp(inside, 2000+k, remote, 53), 0)
		table.Touch(c, conntrack.Reply, 0, true, 0)
	}
	for k := range uint16(4) { // the other host has two of its own, and has borrowed two
		f := udp(inside+1, 5000+k, remote, 53)
		c, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: conntrack.OwnerSource}, 0)
		if r != conntrack.None {
			t.Fatal(k, r)
		}
		table.Touch(c, conntrack.Reply, 0, true, 0)
	}
	if _, _, r := open(table, udp(inside+1, 6000, remote, 53), 0); r != conntrack.HostShareUsed {
		t.Errorf("beyond its share of the table: %v", r)
	}
	if s := table.Table.Stats(); s.Recalled != 0 || table.Len() != 8 {
		t.Errorf("%+v, %d connections", s, table.Len())
	}
}

// Without lending, from now on: nothing more is lent, and nothing ends for others.
func TestLendingEnds(t *testing.T) {
	cfg := config{PortMin: 2000, PortMax: 2009, Lend: true}
	table := newTable(cfg)
	for k := range uint16(8) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	cfg.Lend = false
	table.configure(cfg)
	if _, _, r := open(table, udp(inside, 2008, remote, 53), 0); r != conntrack.HostShareUsed {
		t.Errorf("one more: %v", r)
	}
	bind(t, table, udp(inside+1, 2008, remote, 53)) // one of the two that are free
	for k := range uint16(5) {
		c, _, r := open(table, udp(inside+2+packet.Addr(k), 2100, remote+packet.Addr(k), 53), 0)
		if r != conntrack.None || nat.Mapped(c.Marks()) != (k == 0) {
			t.Errorf("host %d: %v", k, r)
		}
	}
	if s := table.Table.Stats(); s.Recalled != 0 {
		t.Errorf("%+v", s)
	}
	cfg.Lend = true
	table.configure(cfg)
	if c, _, r := open(table, udp(inside+9, 2100, remote+9, 53), 0); r != conntrack.None || !nat.Mapped(c.Marks()) {
		t.Errorf("as they are lent again: %v", r)
	}
}

// What is restored in another table counts there as it did.
func TestLoansAfterARestart(t *testing.T) {
	cfg := config{PortMin: 2000, PortMax: 2019, MaxConnections: 400, Lend: true}
	from, to := newTable(cfg), newTable(cfg)
	var all []nat.Record
	for k := range uint16(20) {
		tuple := udp
		if k%2 == 1 {
			tuple = tcp
		}
		c, _, r := open(from, tuple(inside, 2000+k, remote, 53), 0)
		if r != conntrack.None {
			t.Fatal(r)
		}
		if k%2 == 1 {
			establish(from, c, 0)
		}
		all = append(all, from.nat.Export(c, ids{}, 0))
	}
	for k := range all {
		if _, r := to.nat.Import(&all[k], ids{owned: []packet.Addr{external}}, 0); r != conntrack.None {
			t.Fatal(r)
		}
	}
	for name, table := range map[string]*tables{"before": from, "after": to} {
		// Ten ports of TCP are free, and ten of UDP. A second host gets its ten of each, and more of the free ones.
		got := map[bool]int{}
		for k := range uint16(20) {
			for _, f := range []packet.Tuple{udp(inside+1, 2000+k, remote+1, 53), tcp(inside+1, 2000+k, remote+1, 53)} {
				if c, _, r := open(table, f, 0); r == conntrack.None && nat.Mapped(c.Marks()) {
					got[f.Proto == packet.ProtoTCP]++
				}
			}
		}
		if got[true] != 10 || got[false] != 10 {
			t.Errorf("%s: another host gets %d ports of TCP and %d of UDP", name, got[true], got[false])
		}
	}
}
