package nat_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// Towards one remote endpoint every port can be had, up to the last, by overloading
// too; and one that is given back is found at once.
func TestEveryPortTowardsOneEndpoint(t *testing.T) {
	const lo, hi = 2000, 5999
	table := newTable(config{PortMin: lo, PortMax: hi, HostShare: 1})
	for k := range uint16((hi - lo) / 2) { // others have half of the mappings
		bind(t, table, udp(inside+8, lo+2*k, remote+2, 53))
	}
	have := map[uint16]*conntrack.Conn{}
	tuple := func(k int) packet.Tuple { return udp(inside+packet.Addr(k%4), uint16(10000+k/4), remote, 53) }
	for k := range hi - lo + 1 {
		c, port := tryUntil(t, table, tuple(k))
		if have[port] != nil || port < lo || port > hi {
			t.Fatalf("connection %d has port %d: taken, or out of range", k, port)
		}
		have[port] = c
	}
	if table.Stats().Overloaded == 0 {
		t.Error("nothing is overloaded; the test misses its point")
	}
	one := udp(inside+9, 10000, remote, 53)
	for range (hi - lo) / 512 * 2 {
		if _, port, r := tryBind(table, one, 0); r != nat.NoPort {
			t.Fatalf("with every port taken: port %d, %v", port, r)
		}
	}
	for _, port := range []uint16{lo, 3333, hi} {
		table.Remove(have[port])
		c, got, r := tryBind(table, one, 0)
		if r != conntrack.None || got != port {
			t.Fatalf("port %d is free, got %d, %v", port, got, r)
		}
		table.Remove(c)
		have[port], _ = tryUntil(t, table, one)
		one.SrcPort++
	}
	// Another endpoint has all of them, and so has another protocol.
	if _, _, r := tryBind(table, udp(inside+10, 10000, remote+1, 53), 0); r != conntrack.None {
		t.Errorf("towards another endpoint: %v", r)
	}
	// When most are free again, chance does.
	table.clear()
	if _, _, r := tryBind(table, one, 0); r != conntrack.None || table.Len() != 1 {
		t.Errorf("afterwards: %v, %d connections", r, table.Len())
	}
}

// A port whose connection has expired is free, also before a sweep has removed the connection. That holds where
// the ports get known only then, and where all ports were known to be taken.
func TestExpiredPortTowardsOneEndpoint(t *testing.T) {
	const lo, hi, timeout = 2000, 2999, 10 * time.Second
	for known, searches := range map[int]int{0: 1, 14: 10} { // one looks at 64 known ports again, all round
		table := newTable(config{PortMin: lo, PortMax: hi, HostShare: 1, UDP: timeout})
		for k := range uint16(hi - lo + 1) {
			now := time.Second
			if k == 450 {
				now = 0
			}
			if _, _, r := tryBind(table, udp(inside, lo+k, remote, 53), now); r != conntrack.None {
				t.Fatal(k, r)
			}
		}
		one := udp(inside+1, 10000, remote, 53)
		for range known {
			if _, port, r := tryBind(table, one, timeout-1); r != nat.NoPort {
				t.Fatalf("with every port taken: port %d, %v", port, r)
			}
		}
		table.Lookup(&one, timeout)
		var r conntrack.Refusal
		for range searches {
			if _, _, r = tryBind(table, one, timeout); r == conntrack.None {
				break
			}
		}
		if r != conntrack.None {
			t.Errorf("after %d searches: %v, though a connection has expired", known, r)
		}
		if _, _, r := tryBind(table, udp(inside+2, 10000, remote, 53), timeout); r != nat.NoPort {
			t.Errorf("after %d searches: the other ports: %v", known, r)
		}
	}
}

// tryUntil binds a tuple, within the searches that it takes to know every port.
func tryUntil(t *testing.T, table *tables, tuple packet.Tuple) (*conntrack.Conn, uint16) {
	t.Helper()
	for range 9 {
		if c, port, r := tryBind(table, tuple, 0); r == conntrack.None {
			return c, port
		}
	}
	t.Fatalf("%v finds no port of %d taken", tuple, table.Len())
	return nil, 0
}
