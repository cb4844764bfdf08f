package nat_test

import (
	"testing"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// One greedy host ends at its share, the next at the same share of what the first has
// left: however many come, there is something left for another.
func TestShareLeavesRoom(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  []int // of 1000, host by host
	}{
		{0.5, []int{500, 250, 125, 63, 31}},
		{0.1, []int{100, 90, 81, 73, 65}},
		{0.0005, []int{1, 1, 1, 1, 1}},
		{0.9, []int{900, 90, 9, 1, 0}}, // down to the last
	} {
		conns := config{MaxConnections: 1000, HostShare: c.share}
		ports := config{PortMin: 2000, PortMax: 2999, HostShare: c.share}
		for name, table := range map[string]*tables{"connections": newTable(conns), "ports": newTable(ports)} {
			for host, want := range c.want {
				got := 0
				for ; got <= 1000; got++ {
					f := udp(inside+packet.Addr(host), uint16(2000+got), remote+packet.Addr(host), 53)
					if name == "ports" {
						if c, _, r := tryBind(table, f, 0); r != conntrack.None || !nat.Mapped(c.Marks()) {
							break
						}
						continue
					}
					k, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(),
						Owner: conntrack.OwnerSource}, 0)
					if r != conntrack.None {
						if r != conntrack.HostShareUsed && want > 0 {
							t.Errorf("share %v, host %d: %v", c.share, host, r)
						}
						break
					}
					table.Touch(k, conntrack.Reply, 0, false, 0)
				}
				if got != want {
					t.Errorf("share %v: host %d has %d %s, want %d", c.share, host, got, name, want)
				}
			}
		}
	}
}

// Half-open and closed connections make room for others. So the share of another host does not get smaller by them.
func TestFloodTakesNoShare(t *testing.T) {
	for name, flags := range map[string]uint8{"half open": packet.SYN, "closed": packet.RST} {
		table := newTable(config{MaxConnections: 100})
		for k := range packet.Addr(300) {
			tuple := tcpTuple(uint16(k))
			tuple.Src = remote + k
			table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(),
				Segment: packet.Segment{Flags: flags}}, 0)
		}
		for k := range uint16(50) {
			f := udp(inside, 1000+k, remote, 53)
			c, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: conntrack.OwnerSource}, 0)
			if r != conntrack.None {
				t.Fatalf("%s: connection %d: %v", name, k, r)
			}
			table.Touch(c, conntrack.Reply, 0, false, 0)
		}
	}
}

// Two reasons to overload a port are counted apart: the host has its share of the ports, or no port is left.
func TestOverShareIsCounted(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2009, HostShare: 0.5})
	for k := range uint16(6) {
		bind(t, table, udp(inside, 2000+k, remote+packet.Addr(k), 53))
	}
	if s := table.Stats(); s.Overloaded != 1 || s.OverShare != 1 {
		t.Errorf("one beyond the share: %+v", s)
	}
	for host := packet.Addr(1); host < 10; host++ {
		bind(t, table, udp(inside+host, 2000, remote+host, 53))
	}
	if s := table.Stats(); s.Overloaded != 5 || s.OverShare != 1 {
		t.Errorf("with no port left: %+v", s)
	}
}

// A host with its share of the ports overloads ports only towards a remote endpoint where more than half of them
// are free. Where it has been refused, another endpoint may still let it.
func TestOverShareWhereHalfTaken(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2009, HostShare: 0.5})
	for k := range uint16(5) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	if _, port, r := tryBind(table, udp(inside, 2005, remote, 53), 0); r != conntrack.HostShareUsed {
		t.Errorf("with half of the ports taken: %d, %v", port, r)
	}
	for k := range uint16(5) {
		bind(t, table, udp(inside, 2005+k, remote+1, 53))
	}
	if _, port, r := tryBind(table, udp(inside, 2010, remote+1, 53), 0); r != conntrack.HostShareUsed {
		t.Errorf("with as many overloaded: %d, %v", port, r)
	}
	// What it does not have its share of is another host's, up to the last.
	for k := range uint16(2) {
		bind(t, table, udp(inside+1, 2005+k, remote, 53))
		bind(t, table, udp(inside+1, 2005+k, remote+1, 53))
	}
	if s := table.Stats(); s.OverShare != 5 {
		t.Errorf("%+v", s)
	}
	// With no port left for mappings, the hosts' shares of them no longer count.
	for host := packet.Addr(2); host < 5; host++ {
		bind(t, table, udp(inside+host, 2000, remote+2, 53))
	}
	for k := range uint16(3) {
		bind(t, table, udp(inside+1, 3000+k, remote, 53))
	}
	if s := table.Stats(); s.OverShare != 5 || s.Overloaded != 10 {
		t.Errorf("with no port left: %+v", s)
	}
}

// Where in the range the ports are taken makes no difference.
func TestHalfTakenAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		lo, n uint16
		want  conntrack.Refusal
	}{
		"a few at the bottom": {2000, 100, conntrack.None}, "a few at the top": {2900, 100, conntrack.None},
		"most at the bottom": {2000, 900, conntrack.HostShareUsed},
		"most at the top":    {2100, 900, conntrack.HostShareUsed},
	} {
		table := newTable(config{PortMin: 2000, PortMax: 2999})
		for k := range uint16(500) {
			bind(t, table, udp(inside, 2000+k, remote+1, 53))
		}
		for port := c.lo; port < c.lo+c.n; port++ {
			plain(t, table, udp(remote, 53, external, port), 0)
		}
		if _, _, r := tryBind(table, udp(inside, 5000, remote, 53), 0); r != c.want {
			t.Errorf("%s: %v, want %v", name, r, c.want)
		}
	}
}

// One that its own mapping does not serve, since the port is taken towards the endpoint, is
// no way round: a host has many such to a server that it reaches by several addresses.
func TestOverShareBySeveralAddresses(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2009, HostShare: 0.5})
	for k := range uint16(5) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	tuple := udp(inside, 2000, remote, 53)
	var b nat.Binding
	if _, r := table.Bind(&b, external, tuple, udp(inside, 2000, external+1, 53)); r != conntrack.HostShareUsed {
		t.Error(r)
	}
}

// However often a host tries, another finds a port towards the same endpoint.
func TestMillionTriesLeaveRoom(t *testing.T) {
	const ports = 8192
	table := newTable(config{PortMin: 10000, PortMax: 10000 + ports - 1})
	held := 0
	for k := range 1_000_000 {
		f := udp(inside, uint16(1024+k%64512), remote, 53)
		if c, _ := table.Lookup(&f, 0); c != nil {
			continue
		}
		switch _, _, r := tryBind(table, f, 0); r {
		case conntrack.None:
			held++
		case conntrack.HostShareUsed:
		default:
			t.Fatal(k, r)
		}
	}
	if held < ports/2 || held > ports*85/100 {
		t.Errorf("it has %d of %d ports", held, ports)
	}
	refused := 0
	for k := range 1000 {
		f := udp(inside+1+packet.Addr(k%10), uint16(20000+k), remote, 53)
		if _, _, r := tryBind(table, f, 0); r != conntrack.None {
			refused++
			tryUntil(t, table, f)
		}
	}
	t.Logf("it has %d of %d ports, and of 1000 connections of others %d were refused at first", held, ports, refused)
	if refused > 20 {
		t.Errorf("%d of 1000 connections of others were refused at first", refused)
	}
}

// Whether a host may overload a port, and that it may not, costs no memory.
func TestOverShareAllocatesNothing(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2999})
	for k := range uint16(500) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	var b nat.Binding
	here, there := udp(inside, 5000, remote, 53), udp(inside, 5000, remote+1, 53)
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range []*packet.Tuple{&here, &there} {
			b = nat.Binding{}
			table.Bind(&b, external, *f, *f)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
