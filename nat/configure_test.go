package nat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// outbound makes a connection that goes through a mapping or overloads a port, and returns its external port.
func outbound(t *testing.T, table *tables, tuple packet.Tuple) uint16 {
	t.Helper()
	_, port := bind(t, table, tuple)
	return port
}

// end removes a connection.
func end(t *testing.T, table *tables, tuple packet.Tuple) {
	t.Helper()
	c, _ := table.Lookup(&tuple, 0)
	if c == nil {
		t.Fatalf("%v is not there", tuple)
	}
	table.Remove(c)
}

// With another mapping behavior, mappings live on with their connections, for packets from inside and outside,
// and serve no new ones, also where their keys look alike. They serve again when the former behavior comes
// back. No port is lost in the end.
func TestConfigureMapping(t *testing.T) {
	behaviors := []nat.Behavior{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent}
	for _, from := range behaviors {
		for _, to := range behaviors {
			t.Run(fmt.Sprint(from, " to ", to), func(t *testing.T) {
				cfg := config{Mapping: from, PortMin: 2000, PortMax: 2003, HostShare: 1}
				table := newTable(cfg)
				// Port 0 is what an address-dependent mapping has, too.
				tuple := udp(inside, 2001, remote, 0)
				if port := outbound(t, table, tuple); port != 2001 {
					t.Fatalf("port %d", port)
				}
				cfg.Mapping = to
				table.configure(cfg)

				reply := udp(remote, 0, external, 2001)
				if !there(table, tuple, 0) || !there(table, reply, 0) {
					t.Error("a connection has ended")
				}
				var b nat.Binding
				addr, port, r := table.Inbound(&b, udp(remote, 9, external, 2001), true)
				if r != conntrack.None || addr != inside || port != 2001 {
					t.Errorf("from outside: %v, host %x, port %d", r, addr, port)
				}
				end(t, table, tuple)
				second := udp(inside, 2001, remote, 1)
				if port := outbound(t, table, second); port != 2001 {
					t.Errorf("port %d is given out, and not the one that is free again", port)
				}
				end(t, table, second)

				// A mapping that is in use by a connection from outside alone.
				cfg.Mapping = from
				table.configure(cfg)
				outbound(t, table, tuple)
				fromOutside(t, table, udp(remote+5, 9, external, 2001))
				end(t, table, tuple)
				for _, now := range []nat.Behavior{to, from, to} {
					cfg.Mapping = now
					table.configure(cfg)
					if port := bindOnly(t, table, tuple); (port == 2001) != (now == from) {
						t.Errorf("port %d with behavior %d", port, now)
					}
				}
				table.clear()
				for k := range uint16(4) {
					if port := outbound(t, table, udp(inside, 2000+k, remote, 1)); port != 2000+k {
						t.Errorf("port %d is not free in the end", 2000+k)
					}
				}
			})
		}
	}
}

// fromOutside makes a connection from outside.
func fromOutside(t *testing.T, table *tables, tuple packet.Tuple) {
	t.Helper()
	var b nat.Binding
	addr, port, r := table.Inbound(&b, tuple, false)
	if r != conntrack.None {
		t.Fatalf("%v: %v", tuple, r)
	}
	to := tuple
	to.Dst, to.DstPort = addr, port
	n := conntrack.NewConn{Original: tuple, Reply: to.Reverse()}
	if _, r := table.commitBound(&n, &b, 0); r != conntrack.None {
		t.Fatalf("%v: %v", tuple, r)
	}
}

// bindOnly returns the port that a new connection would get.
func bindOnly(t *testing.T, table *tables, tuple packet.Tuple) uint16 {
	t.Helper()
	var b nat.Binding
	port, r := table.Bind(&b, external, tuple, tuple)
	if r != conntrack.None {
		t.Fatalf("%v: %v", tuple, r)
	}
	return port
}

// An imported mapping is one of the behavior of now: new connections of its endpoint use it.
func TestImportedMappingServes(t *testing.T) {
	for _, behavior := range []nat.Behavior{nat.EndpointIndependent, nat.AddressDependent} {
		cfg := config{Mapping: behavior, PortMin: 2000, PortMax: 2009, HostShare: 1}
		from, to := newTable(cfg), newTable(config{Mapping: nat.AddressAndPortDependent})
		c, _ := bind(t, from, udp(inside+1, 2001, remote, 53))
		r := from.nat.Export(c, ids{}, 0)
		to.configure(cfg)
		if _, refusal := to.nat.Import(&r, ids{owned: []packet.Addr{external}}, 0); refusal != conntrack.None {
			t.Fatal(refusal)
		}
		if port := outbound(t, to, udp(inside+1, 2001, remote, 54)); port != 2001 || to.Stats().Overloaded != 0 {
			t.Errorf("behavior %d: port %d", behavior, port)
		}
		end(t, to, udp(inside+1, 2001, remote, 53))
		if port := bindOnly(t, to, udp(inside+1, 2001, remote, 55)); port != 2001 {
			t.Errorf("behavior %d: port %d", behavior, port)
		}
		if port := bindOnly(t, to, udp(inside+2, 2001, remote, 53)); port == 2001 {
			t.Errorf("behavior %d: another host gets the port", behavior)
		}
	}
}

// Another filtering behavior holds at once for packets that belong to no connection, and for no others.
func TestConfigureFiltering(t *testing.T) {
	cfg := config{Filtering: nat.EndpointIndependent}
	table := newTable(cfg)
	tuple := udp(inside, 2001, remote, 53)
	outbound(t, table, tuple)
	known, stranger := udp(remote, 9, external, 2001), udp(remote+1, 9, external, 2001)
	for _, k := range []struct {
		behavior        nat.Behavior
		known, stranger conntrack.Refusal
	}{
		{nat.EndpointIndependent, conntrack.None, conntrack.None},
		{nat.AddressDependent, conntrack.None, nat.Filtered},
		{nat.AddressAndPortDependent, nat.Filtered, nat.Filtered},
		{nat.AddressDependent, conntrack.None, nat.Filtered},
		{nat.EndpointIndependent, conntrack.None, conntrack.None},
	} {
		cfg.Filtering = k.behavior
		table.configure(cfg)
		var b nat.Binding
		if _, _, r := table.Inbound(&b, known, true); r != k.known {
			t.Errorf("behavior %d: the remote address hears %v, want %v", k.behavior, r, k.known)
		}
		if _, _, r := table.Inbound(&b, stranger, true); r != k.stranger {
			t.Errorf("behavior %d: a stranger hears %v, want %v", k.behavior, r, k.stranger)
		}
		if !there(table, udp(remote, 53, external, 2001), 0) {
			t.Error("a reply is not let in")
		}
	}
}

// With another range, new mappings get its ports, as many as there are, whatever mappings have ports elsewhere.
// Those live on, and serve new connections of their internal endpoints.
func TestConfigurePorts(t *testing.T) {
	cfg := config{PortMin: 2000, PortMax: 2003, HostShare: 1}
	table := newTable(cfg)
	host := func(k int) packet.Tuple { return udp(inside+packet.Addr(k), 5000, remote+packet.Addr(k), 53) }
	for k := range 4 {
		outbound(t, table, host(k))
	}
	cfg.PortMin, cfg.PortMax = 2002, 2009 // two of them are taken
	table.configure(cfg)
	for k := range 6 {
		port := outbound(t, table, host(10+k))
		if port < 2004 || port > 2009 || table.Stats().Overloaded != 0 {
			t.Errorf("port %d for one more of six, %d are overloaded", port, table.Stats().Overloaded)
		}
	}
	if port := outbound(t, table, host(20)); table.Stats().Overloaded != 1 && port >= 2002 && port <= 2009 {
		t.Errorf("port %d of a range without a free one", port)
	}
	seen := map[uint16]bool{}
	for k := range 4 {
		other := host(k)
		other.Dst++
		port := outbound(t, table, other)
		if port < 2000 || port > 2003 || seen[port] {
			t.Errorf("host %d gets port %d, and not that of its mapping", k, port)
		}
		seen[port] = true
		end(t, table, other)
		end(t, table, host(k))
	}
	for k := range 2 { // two ports of the range are free, two are not of it
		outbound(t, table, host(30+k))
	}
	if table.Stats().Overloaded != 1 {
		t.Errorf("%d are overloaded with two ports that are free", table.Stats().Overloaded)
	}
	if outbound(t, table, host(40)); table.Stats().Overloaded != 2 {
		t.Error("there is one port more than the range has")
	}
	cfg.PortMin, cfg.PortMax = 2000, 2003
	table.configure(cfg)
	for k := range 2 {
		if port := outbound(t, table, host(50+k)); port > 2001 || table.Stats().Overloaded != 2 {
			t.Errorf("port %d in the former range", port)
		}
	}
}

// A port that is kept back for the host that has had it is not for that host if it is not of the range. With
// another filtering behavior, ports that are kept back come free when their time is over.
func TestConfigureKeptPorts(t *testing.T) {
	cfg := config{Filtering: nat.EndpointIndependent, PortMin: 2000, PortMax: 2003, HostShare: 1, UDP: time.Hour}
	table := newTable(cfg)
	own, other := udp(inside, 2001, remote, 53), udp(inside+1, 2001, remote, 53)
	outbound(t, table, own)
	end(t, table, own)
	outside := cfg
	outside.PortMin, outside.PortMax = 3000, 3003
	table.configure(outside)
	if port := bindOnly(t, table, own); port < 3000 || port > 3003 {
		t.Errorf("port %d, which is not of the range", port)
	}
	table.configure(cfg)
	if port := bindOnly(t, table, own); port != 2001 {
		t.Errorf("port %d, and not the one that is kept for this host", port)
	}
	cfg.Filtering = nat.AddressDependent
	table.configure(cfg)
	if port := bindOnly(t, table, other); port == 2001 {
		t.Error("a port that is kept back is given out")
	}
	if wake := table.nat.Tick(0); wake != 2*time.Minute {
		t.Errorf("Tick wants to be called at %v", wake)
	}
	if wake := table.nat.Tick(2 * time.Minute); wake != 0 {
		t.Errorf("Tick wants to be called at %v", wake)
	}
	if port := bindOnly(t, table, other); port != 2001 {
		t.Errorf("port %d, and not the one that is free again", port)
	}
	// Without Tick, too.
	cfg.Filtering = nat.EndpointIndependent
	table.configure(cfg)
	outbound(t, table, own)
	end(t, table, own)
	cfg.Filtering = nat.AddressDependent
	table.configure(cfg)
	table.Table.Tick(2 * time.Minute)
	if port := bindOnly(t, table, other); port != 2001 {
		t.Errorf("port %d, and not the one whose time is over", port)
	}
}

// Another share of the ports is about new mappings. What a host has outside of the range counts.
func TestConfigurePortShare(t *testing.T) {
	cfg := config{PortMin: 2000, PortMax: 2009, HostShare: 0.5, ConnShare: 1}
	table := newTable(cfg)
	port := func(k int) packet.Tuple { return udp(inside, uint16(2000+k), remote, 53) }
	for k := range 5 {
		outbound(t, table, port(k))
	}
	for _, c := range []struct {
		share    float64
		min, max uint16
		over     bool
	}{{0.5, 2000, 2009, true}, {0.8, 2000, 2009, false}, {0.5, 3000, 3009, true}, {0.8, 3000, 3009, false}} {
		cfg.HostShare, cfg.PortMin, cfg.PortMax = c.share, c.min, c.max
		table.configure(cfg)
		tuple, before := udp(inside, 7000, remote+1, 53), table.Stats().OverShare
		outbound(t, table, tuple)
		if got := table.Stats().OverShare != before; got != c.over {
			t.Errorf("%+v: over its share %t", c, got)
		}
		end(t, table, tuple)
	}
}

// A search for a port that others overload keeps to the range of now.
func TestConfigureSearch(t *testing.T) {
	cfg := config{PortMin: 2000, PortMax: 2063, HostShare: 1}
	table := newTable(cfg)
	unique := func(k int) uint16 {
		t.Helper()
		tuple := udp(inside+packet.Addr(k), 1999, remote, 53)
		port, r := table.UniquePort(external, tuple, tuple)
		if r != conntrack.None {
			t.Fatalf("%d: %v", k, r)
		}
		out := tuple
		out.Src, out.SrcPort = external, port
		if _, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: out.Reverse()}, 0); r != conntrack.None {
			t.Fatal(r)
		}
		return port
	}
	for k := range 65 { // its own port, and all of the range
		unique(k)
	}
	for first := range uint16(4) { // upwards, and then downwards
		cfg.PortMin = 3000 - 100*first
		cfg.PortMax = cfg.PortMin + 63
		table.configure(cfg)
		for k := range 64 {
			if port := unique(100 + 100*int(first) + k); port < cfg.PortMin || port > cfg.PortMax {
				t.Fatalf("port %d is not in %d-%d", port, cfg.PortMin, cfg.PortMax)
			}
		}
	}
}

// What is not set is the default, as for NewTable.
func TestConfigureDefaults(t *testing.T) {
	table := newTable(config{PortMin: 2000, PortMax: 2000, Mapping: nat.AddressDependent})
	table.configure(config{})
	for k := range uint16(3) {
		if port := outbound(t, table, udp(inside, 40000+k, remote, 53)); port != 40000+k {
			t.Errorf("port %d for %d", port, 40000+k)
		}
	}
}
