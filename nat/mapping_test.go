package nat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// bind opens a connection through the external address, as the router does, and
// returns it with its external port.
func bind(t *testing.T, table *tables, tuple packet.Tuple) (*conntrack.Conn, uint16) {
	t.Helper()
	c, port, r := tryBind(table, tuple, 0)
	if r != conntrack.None {
		t.Fatalf("%v: %v", tuple, r)
	}
	return c, port
}

func tryBind(table *tables, tuple packet.Tuple, now time.Duration) (*conntrack.Conn, uint16, conntrack.Refusal) {
	var b nat.Binding
	port, r := table.Bind(&b, external, tuple, tuple)
	if r != conntrack.None {
		return nil, 0, r
	}
	out := tuple
	out.Src, out.SrcPort = external, port
	c, r := table.commitBound(&conntrack.NewConn{Original: tuple, Reply: out.Reverse(),
		Segment: packet.Segment{Flags: packet.SYN}}, &b, now)
	return c, port, r
}

// inbound asks where a packet from outside to the external address goes.
func inbound(table *tables, from packet.Addr, fromPort, port uint16) (nat.Endpoint, conntrack.Refusal) {
	var b nat.Binding
	addr, p, r := table.Inbound(&b, udp(from, fromPort, external, port), true)
	return nat.Endpoint{Addr: addr, Port: p}, r
}

// RFC 4787, 4.1: which connections of an internal endpoint share a mapping.
func TestMappingBehavior(t *testing.T) {
	type same struct{ port, addr bool } // shared with another port, another address
	for behavior, want := range map[nat.Behavior]same{
		nat.EndpointIndependent:     {true, true},
		nat.AddressDependent:        {true, false},
		nat.AddressAndPortDependent: {false, false},
	} {
		table := newTable(config{Mapping: behavior})
		bind(t, table, udp(inside+9, 5000, remote, 53)) // takes the port that would be preserved
		_, first := bind(t, table, udp(inside, 5000, remote, 53))
		_, port := bind(t, table, udp(inside, 5000, remote, 54))
		_, addr := bind(t, table, udp(inside, 5000, remote+1, 53))
		if got := (same{port == first, addr == first}); got != want {
			t.Errorf("behavior %d: ports %d, %d, %d: shared %+v, want %+v", behavior, first, port, addr, got, want)
		}
		if first == 5000 {
			t.Errorf("behavior %d: two hosts share port 5000", behavior)
		}
	}
}

func TestPortPreservation(t *testing.T) {
	table := newTable(config{})
	for _, port := range []uint16{1, 80, 1023, 1024, 5001, 65535} {
		if _, got := bind(t, table, udp(inside, port, remote, 53)); got != port {
			t.Errorf("%d became %d, it was free", port, got)
		}
		// TCP and ICMP have port spaces of their own.
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoICMP} {
			tuple := udp(inside+1, port, remote, 53)
			tuple.Proto = proto
			if _, got := bind(t, table, tuple); got != port {
				t.Errorf("protocol %d: %d became %d, it was free", proto, port, got)
			}
		}
		for host := range packet.Addr(20) {
			_, got := bind(t, table, udp(inside+2+host, port, remote, 53))
			if got == port || got&1 != port&1 || (got < 1024) != (port < 1024) {
				t.Errorf("%d became %d: taken, other parity or other range", port, got)
			}
		}
	}
}

func TestPortRange(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2100, HostShare: 1})
	for host := range packet.Addr(40) {
		if _, got := bind(t, table, udp(inside+host, 40001, remote, 53)); got < 2000 || got > 2100 || got&1 == 0 {
			t.Errorf("40001 became %d", got)
		}
		tuple := udp(inside+host, 40001, remote, 0)
		if tuple.Proto = packet.ProtoICMP; host == 0 {
			if _, got := bind(t, table, tuple); got != 40001 {
				t.Errorf("identifier 40001 became %d; identifiers know no range", got)
			}
		}
	}
}

func TestBindUnknownProtocol(t *testing.T) {
	table := newTable(config{})
	tuple := packet.Tuple{Src: inside, Dst: remote, Proto: 47}
	var b nat.Binding
	if _, r := table.Bind(&b, external, tuple, tuple); r != nat.NoPort || b.Used() {
		t.Errorf("Bind of GRE: %v, used %t", r, b.Used())
	}
	if port, r := table.UniquePort(external, tuple, tuple); port != 0 || r != conntrack.None {
		t.Errorf("UniquePort of GRE: %d, %v", port, r)
	}
	plain(t, table, packet.Tuple{Src: remote, Dst: external, Proto: 47}, 0)
	if _, r := table.UniquePort(external, tuple, tuple); r != conntrack.TupleTaken {
		t.Errorf("UniquePort of a second GRE: %v", r)
	}
}

// Bind by itself changes nothing: a packet that is dropped on its way leaves no
// mapping.
func TestBindLeavesNothing(t *testing.T) {
	table := newTable(config{})
	for range 3 {
		var b nat.Binding
		if port, r := table.Bind(&b, external, udp(inside, 5000, remote, 53),
			udp(inside, 5000, remote, 53)); port != 5000 || r != conntrack.None || !b.Used() {
			t.Fatalf("Bind = %d, %v, used %t", port, r, b.Used())
		}
	}
	if _, r := inbound(table, remote, 53, 5000); r != nat.NoMapping {
		t.Errorf("inbound: %v", r)
	}
}

// RFC 4787, 5: which remote endpoints may send to a mapping.
func TestFilteringBehavior(t *testing.T) {
	f, ok := nat.Filtered, conntrack.None
	for behavior, want := range map[nat.Behavior][3]conntrack.Refusal{
		nat.EndpointIndependent:     {ok, ok, ok},
		nat.AddressDependent:        {ok, ok, f},
		nat.AddressAndPortDependent: {f, f, f}, // the peer's packets belong to its connection
	} {
		table := newTable(config{Filtering: behavior})
		c, port := bind(t, table, udp(inside, 5000, remote, 53))
		for k, from := range []nat.Endpoint{{remote, 53}, {remote, 99}, {remote + 1, 53}} {
			e, r := inbound(table, from.Addr, from.Port, port)
			if r != want[k] || r == ok && e != (nat.Endpoint{Addr: inside, Port: 5000}) {
				t.Errorf("behavior %d: sender %d: %v, %v, want %v", behavior, k, e, r, want[k])
			}
		}
		if !there(table, udp(remote, 53, external, port), 0) {
			t.Errorf("behavior %d: the peer's packet is not its connection's", behavior)
		}
		if _, r := inbound(table, remote, 53, port+1); r != nat.NoMapping {
			t.Errorf("behavior %d: a port without mapping: %v", behavior, r)
		}
		table.Remove(c)
		if _, r := inbound(table, remote, 53, port); r != nat.NoMapping {
			t.Errorf("behavior %d: after the end: %v", behavior, r)
		}
	}
}

// A permit lasts as long as one connection of the mapping with that address.
func TestPermits(t *testing.T) {
	table := newTable(config{Filtering: nat.AddressDependent})
	a1, port := bind(t, table, udp(inside, 5000, remote, 1))
	a2, _ := bind(t, table, udp(inside, 5000, remote, 2))
	bind(t, table, udp(inside, 5000, remote+1, 1))
	check := func(when string, addr packet.Addr, want conntrack.Refusal) {
		t.Helper()
		if _, r := inbound(table, addr, 7, port); r != want {
			t.Errorf("%s: %v, want %v", when, r, want)
		}
	}
	check("two connections", remote, conntrack.None)
	table.Remove(a1)
	check("one left", remote, conntrack.None)
	table.Remove(a2)
	check("none left", remote, nat.Filtered)
	check("the other address", remote+1, conntrack.None)

	// A connection from outside keeps the permit that let it in.
	var b nat.Binding
	tuple := udp(remote+1, 9, external, port)
	addr, p, _ := table.Inbound(&b, tuple, true)
	in, r := table.commitBound(&conntrack.NewConn{Original: tuple, Reply: udp(addr, p, tuple.Src, tuple.SrcPort)}, &b,
		0)
	if r != conntrack.None || !nat.Mapped(in.Marks()) {
		t.Fatalf("inbound connection: %v", r)
	}
	out, _ := table.Lookup(new(udp(inside, 5000, remote+1, 1)), 0)
	table.Remove(out)
	check("the inbound connection is left", remote+1, conntrack.None)
	in, _ = table.Lookup(&tuple, 0)
	table.Remove(in)
	check("nothing left", remote+1, nat.NoMapping)
}

// The mapping and its port end with the last connection.
func TestMappingEndsWithItsConnections(t *testing.T) {
	table := newTable(config{Filtering: nat.AddressDependent, UDP: time.Second})
	bind(t, table, udp(inside, 5000, remote, 1))
	bind(t, table, udp(inside, 5000, remote, 2))
	if _, got := bind(t, table, udp(inside+1, 5000, remote, 3)); got == 5000 {
		t.Fatal("port 5000 has two owners")
	}
	table.Tick(time.Second)
	if _, got := bind(t, table, udp(inside+1, 5000, remote, 4)); got != 5000 {
		t.Errorf("port 5000 is free again, but %d was chosen", got)
	}
}

// RFC 7857, 3: when the range is used up, ports are shared, but never towards
// the same endpoint.
func TestOverload(t *testing.T) {
	const ports = 8
	table := newTable(config{PortMin: 2000, PortMax: 2000 + ports - 1, HostShare: 1})
	replies := map[packet.Tuple]bool{}
	add := func(host packet.Addr, dst packet.Addr) conntrack.Refusal {
		c, port, r := tryBind(table, udp(inside+host, 2000, dst, 53), 0)
		if r != conntrack.None {
			return r
		}
		if reply := c.Tuple(conntrack.Reply); replies[reply] {
			t.Errorf("two connections answer to %v", reply)
		} else {
			replies[reply] = true
		}
		if port < 2000 || port >= 2000+ports {
			t.Errorf("port %d", port)
		}
		return conntrack.None
	}
	for host := range packet.Addr(ports) {
		if r := add(host, remote); r != conntrack.None {
			t.Fatalf("host %d: %v", host, r)
		}
	}
	if s := table.Stats(); s.Overloaded != 0 {
		t.Errorf("%d overloaded while there were ports", s.Overloaded)
	}
	if r := add(ports, remote); r != nat.NoPort {
		t.Errorf("a ninth connection to the same endpoint: %v", r)
	}
	for host := range packet.Addr(ports / 2) {
		if r := add(ports+host, remote+1); r != conntrack.None {
			t.Errorf("to another endpoint: %v", r)
		}
	}
	if s := table.Stats(); s.Overloaded != ports/2 {
		t.Errorf("%d overloaded, want %d", s.Overloaded, ports/2)
	}
	// A connection that overloads a port does not own it.
	for port := uint16(2000); port < 2000+ports; port++ {
		if e, r := inbound(table, remote, 1, port); r != conntrack.None || e.Addr >= inside+ports {
			t.Errorf("port %d leads to host %d, %v", port, e.Addr-inside, r)
		}
	}
}

// The range holds for overloaded ports too: ports outside of it may belong to another program or host.
func TestOverloadStaysInRange(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2003, HostShare: 1})
	for host := range packet.Addr(8) {
		if _, port := bind(t, table, udp(inside+host, 40000, remote+host, 53)); port < 2000 || port > 2003 {
			t.Errorf("host %d: 40000 became %d", host, port)
		}
	}
	// What shows the router's own address knows no such limit.
	if port, r := table.UniquePort(external, udp(inside, 40000, remote, 53),
		udp(inside, 40000, remote, 53)); port != 40000 || r != conntrack.None {
		t.Errorf("UniquePort = %d, %v", port, r)
	}
	plain(t, table, udp(remote, 53, external, 40000), 0)
	if port, r := table.UniquePort(external, udp(inside, 40000, remote, 53),
		udp(inside, 40000, remote, 53)); port > 2003 || r != conntrack.None {
		t.Errorf("UniquePort when its own is taken = %d, %v", port, r)
	}
}

// One host must not take all ports; what it opens beyond its share overloads.
func TestHostShareOfPorts(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2099, HostShare: 0.1})
	for k := range uint16(10) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	c, port := bind(t, table, udp(inside, 2050, remote, 53))
	if nat.Mapped(c.Marks()) || table.Stats().Overloaded != 1 || port != 2050 {
		t.Errorf("mapped %t, port %d, %+v", nat.Mapped(c.Marks()), port, table.Stats())
	}
	if c, _ := bind(t, table, udp(inside+1, 2051, remote, 53)); !nat.Mapped(c.Marks()) {
		t.Error("another host has no share left")
	}
	table.removeIf(0, func(c *conntrack.Conn) bool { return c.Tuple(conntrack.Original).SrcPort == 2001 })
	if c, _ := bind(t, table, udp(inside, 2060, remote, 53)); !nat.Mapped(c.Marks()) {
		t.Error("the share is not given back")
	}
}

// RFC 4787 REQ-9: between two hosts behind the same address, each sees the
// other's external endpoint.
func TestHairpin(t *testing.T) {
	table := newTable(config{Filtering: nat.AddressDependent})
	const a, b = inside, inside + 1
	bind(t, table, udp(b, 6000, remote, 1)) // b has never talked to the external address

	var binding nat.Binding
	tuple := udp(a, 5000, external, 6000)
	original := tuple
	if _, _, r := table.Inbound(&binding, tuple, true); r != nat.Filtered {
		t.Fatalf("Inbound from outside: %v", r)
	}
	addr, port, r := table.Inbound(&binding, tuple, false)
	if r != conntrack.None || addr != b || port != 6000 {
		t.Fatalf("Inbound = %#x, %d, %v", addr, port, r)
	}
	tuple.Dst, tuple.DstPort = addr, port
	ext, r := table.Bind(&binding, external, tuple, original)
	if r != conntrack.None || ext != 5000 {
		t.Fatalf("Bind = %d, %v", ext, r)
	}
	n := conntrack.NewConn{Original: udp(a, 5000, external, 6000), Reply: udp(b, 6000, external, ext)}
	c, r := table.commitBound(&n, &binding, 0)
	if r != conntrack.None {
		t.Fatal(r)
	}
	if got, want := c.Translated(conntrack.Original), udp(external, 5000, b, 6000); got != want {
		t.Errorf("b sees %v, want %v", got, want)
	}
	if got, want := c.Translated(conntrack.Reply), udp(external, 6000, a, 5000); got != want {
		t.Errorf("a sees %v, want %v", got, want)
	}

	// Both mappings live as long as this connection.
	old, _ := table.Lookup(new(udp(b, 6000, remote, 1)), 0)
	table.Remove(old)
	for _, port := range []uint16{5000, 6000} {
		if _, r := inbound(table, external, 1, port); r != conntrack.None {
			t.Errorf("mapping of port %d: %v", port, r)
		}
	}
	c, _ = table.Lookup(&n.Original, 0)
	table.Remove(c)
	for _, port := range []uint16{5000, 6000} {
		if _, r := inbound(table, external, 1, port); r != nat.NoMapping {
			t.Errorf("mapping of port %d after the end: %v", port, r)
		}
	}
}

// The connection that makes room may be the last one of the very mapping that
// the new one is about to use.
func TestEvictionDuringCommitKeepsMapping(t *testing.T) {
	for _, size := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			table := newTable(config{MaxConnections: size, HostShare: 1})
			bind(t, table, udp(inside, 5000, remote, 1))
			_, port := bind(t, table, udp(inside, 5000, remote, 2)) // evicts the first
			if e, r := inbound(table, remote, 9, port); r != conntrack.None || e.Port != 5000 {
				t.Fatalf("the mapping is gone: %v, %v", e, r)
			}
			if _, got := bind(t, table, udp(inside+1, port, remote, 3)); got == port {
				t.Errorf("port %d was given away though it was in use", port)
			}
		})
	}
}

// A refused commit leaves the mapping as it was.
func TestRefusedCommitKeepsMapping(t *testing.T) {
	table := newTable(config{MaxConnections: 1, HostShare: 1})
	c, port := bind(t, table, udp(inside, 5000, remote, 1))
	table.Touch(c, conntrack.Reply, 0, false, 0) // may not be evicted
	if _, _, r := tryBind(table, udp(inside, 5000, remote, 2), 0); r != conntrack.TableFull {
		t.Fatal(r)
	}
	table.Remove(c)
	if _, r := inbound(table, remote, 9, port); r != nat.NoMapping {
		t.Errorf("the mapping has outlived its connection: %v", r)
	}
}

// A host talks to itself by its own external endpoint. The answers that it gets must not look like the packets
// that it has sent.
func TestOwnEndpoint(t *testing.T) {
	table := newTable(config{})
	bind(t, table, udp(inside, 6000, remote, 1))
	original := udp(inside, 6000, external, 6000)
	var b nat.Binding
	addr, port, r := table.Inbound(&b, original, false)
	if r != conntrack.None || addr != inside || port != 6000 {
		t.Fatalf("Inbound = %#x, %d, %v", addr, port, r)
	}
	tuple := udp(inside, 6000, inside, 6000)
	if ext, r := table.Bind(&b, external, tuple, original); r != conntrack.None || ext == 6000 {
		t.Errorf("Bind = %d, %v", ext, r)
	}
	if ext, r := table.UniquePort(external, tuple, original); r != conntrack.None || ext == 6000 {
		t.Errorf("UniquePort = %d, %v", ext, r)
	}
}

// What strangers open to a host counts towards its share once the host has let
// them: a flood from outside must not take the host's own connections away.
func TestShareCountsEstablishedInboundOnly(t *testing.T) {
	table := newTable(config{MaxConnections: 8, HostShare: 0.5})
	commit := func(original packet.Tuple, o conntrack.Owner) (*conntrack.Conn, conntrack.Refusal) {
		return table.Commit(&conntrack.NewConn{Original: original, Reply: original.Reverse(), Owner: o,
			Segment: packet.Segment{Flags: packet.SYN}}, 0)
	}
	tcp := func(src packet.Addr, port uint16, dst packet.Addr) packet.Tuple {
		return packet.Tuple{Src: src, SrcPort: port, Dst: dst, DstPort: 80, Proto: packet.ProtoTCP}
	}
	for i := range uint16(20) {
		if _, r := commit(tcp(remote, 1000+i, inside), conntrack.OwnerDest); r != conntrack.None {
			t.Fatalf("half-open connection %d: %v", i, r)
		}
	}
	if _, r := commit(tcp(inside, 1, remote), conntrack.OwnerSource); r != conntrack.None {
		t.Fatalf("the host's own: %v", r)
	}
	for i := range uint16(4) {
		c, r := commit(tcp(remote, 2000+i, inside), conntrack.OwnerDest)
		if i == 3 {
			if r != conntrack.HostShareUsed {
				t.Errorf("one more than the share: %v", r)
			}
			break
		}
		if r != conntrack.None {
			t.Fatalf("%d: %v", i, r)
		}
		table.Touch(c, conntrack.Reply, packet.SYN|packet.ACK, false, 0)
		table.Touch(c, conntrack.Original, packet.ACK, false, 0)
	}
	table.removeIf(0, func(c *conntrack.Conn) bool { return c.State() == conntrack.Established })
	if _, r := commit(tcp(remote, 3000, inside), conntrack.OwnerDest); r != conntrack.None {
		t.Errorf("the share is not given back: %v", r)
	}
}

// A commit through a mapping first sweeps, which ends the mapping's only connection. Then it is refused. The mapping
// must end, too.
func TestRefusedCommitEndsUnusedMapping(t *testing.T) {
	const x, r, floating = inside, inside + 1, external + 50
	table := newTable(config{UDP: 5 * time.Second, MaxConnections: 40, HostShare: 1. / 40, PortMin: 1024,
		PortMax: 65535})
	open := func(original, to packet.Tuple, dnat bool, now time.Duration) (*conntrack.Conn, conntrack.Refusal) {
		var b nat.Binding
		if c, _ := table.Lookup(&original, now); c != nil {
			t.Fatalf("%v is known", original)
		}
		if dnat {
			addr, port, ref := table.Inbound(&b, to, false)
			if ref != conntrack.None {
				t.Fatalf("inbound %v", ref)
			}
			to.Dst, to.DstPort = addr, port
		}
		port, ref := table.Bind(&b, external, to, original)
		if ref != conntrack.None {
			t.Fatalf("bind %v", ref)
		}
		to.Src, to.SrcPort = external, port
		return table.commitBound(&conntrack.NewConn{Original: original, Reply: to.Reverse(),
			Owner: conntrack.OwnerSource}, &b, now)
	}
	// x opens its mapping 1500; r comes in through it (hairpin); x's own connection ends.
	f := udp(x, 1500, remote, 9)
	first, ref := open(f, f, false, 0)
	if ref != conntrack.None {
		t.Fatal(ref)
	}
	f = udp(r, 8080, external, 1500)
	if _, ref := open(f, f, true, 0); ref != conntrack.None {
		t.Fatal(ref)
	}
	table.Remove(first)
	// x uses up its share with something else.
	f = udp(x, 7000, remote, 7)
	if _, ref := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: conntrack.OwnerSource},
		4*time.Second); ref != conntrack.None {
		t.Fatal(ref)
	}
	// r's connection has expired, but no sweep has removed it yet. x goes to r by a forwarded port.
	now := 5 * time.Second
	if _, ref := open(udp(x, 1500, floating, 80), udp(x, 1500, r, 8080), false, now); ref != conntrack.HostShareUsed {
		t.Fatalf("want host share used, got %v", ref)
	}
	for at := now; at != 0; at = table.Tick(at) {
	}
	if table.Len() != 0 {
		t.Fatal(table.Len())
	}
	var b nat.Binding
	if addr, port, ref := table.Inbound(&b, udp(remote, 9, external, 1500), false); ref != nat.NoMapping {
		t.Errorf("an empty table still maps port 1500 to %#x:%d", addr, port)
	}
	if _, port := bind(t, table, udp(inside+7, 1500, remote, 9)); port != 1500 {
		t.Errorf("port 1500 is not free in an empty table: another host gets %d", port)
	}
}

// Well-known ports have a share of their own: ordinary traffic does not use it up,
// nor the other way round.
func TestShareOfWellKnownPorts(t *testing.T) {
	table := newTable(config{})
	for k := range uint16(511) {
		bind(t, table, udp(inside, 20000+k, remote, 53))
	}
	c, port := bind(t, table, udp(inside, 500, remote, 500))
	if !nat.Mapped(c.Marks()) {
		t.Errorf("port %d, not mapped, with all 1023 low ports free", port)
	}
	if _, r := inbound(table, remote, 4500, port); r != conntrack.None {
		t.Errorf("inbound to it: %v", r)
	}
}

// A host asks for a port that another host overloads towards the same endpoint. It gets a mapping with another
// port, as long as there are free ports.
func TestOverloadDoesNotSpread(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2099, HostShare: 0.1})
	for k := range uint16(10) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	bind(t, table, udp(inside, 2050, remote, 53)) // overloads its own port
	c, port := bind(t, table, udp(inside+1, 2050, remote, 53))
	if !nat.Mapped(c.Marks()) {
		t.Errorf("port %d, not mapped, with 90 ports free for mappings", port)
	}
}

func TestPortMinAlone(t *testing.T) {
	for _, cfg := range []config{{PortMin: 30000}, {PortMin: 30000, PortMax: 29999}, {PortMin: 1, PortMax: 2}} {
		_, port := bind(t, newTable(cfg), udp(inside, 5000, remote, 53))
		if lo := max(cfg.PortMin, 1024); port < lo && port != max(cfg.PortMax, 1024) {
			t.Errorf("%d-%d: port %d", cfg.PortMin, cfg.PortMax, port)
		}
	}
}

// The memory of what a host was allowed goes when that does, not with the last.
func TestPermitsGiveMemoryBack(t *testing.T) {
	table := newTable(config{HostShare: 1})
	empty := table.Bytes()
	keep, _ := bind(t, table, udp(inside, 5000, remote, 53))
	table.Touch(keep, conntrack.Reply, 0, false, 0)
	for k := range packet.Addr(200_000) {
		bind(t, table, udp(inside, 5000, remote+1+k, 53))
	}
	peak := table.Bytes()
	self := udp(inside, 5000, remote, 53)
	table.removeIf(0, func(c *conntrack.Conn) bool { return c.Tuple(conntrack.Original) != self })
	if n := table.Bytes(); table.Len() != 1 || n > empty+1<<20 {
		t.Errorf("empty %d, peak %d, with one connection left %d bytes", empty, peak, n)
	}
}

// What finds the mappings of ports is given back with them, but for what the next one
// needs: one that comes and goes allocates nothing.
func TestPortsGiveMemoryBack(t *testing.T) {
	table := newTable(config{Filtering: nat.AddressDependent, HostShare: 1})
	churn := func() {
		c, _ := bind(t, table, udp(inside, 5000, remote, 53))
		table.Remove(c)
	}
	churn()
	before := table.Bytes()
	for k := range uint16(60000) {
		bind(t, table, udp(inside, 1024+k, remote, 53))
	}
	if used := table.Bytes() - before; used < 4*60000 {
		t.Fatalf("%d bytes for 60000 connections", used)
	}
	table.clear()
	if left := table.Bytes() - before; left > 3<<10 { // lists of what there may be
		t.Errorf("%d bytes more than before", left)
	}
	if n := testing.AllocsPerRun(100, churn); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
