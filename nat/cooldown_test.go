package nat_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// RFC 6888, REQ-8: where strangers may send to a port, it is kept back before another host has it.
func TestPortsCoolDown(t *testing.T) {
	const a, b = 0x0a000001, 0x0a000002
	for _, c := range []struct {
		name      string
		filtering nat.Behavior
		proto     uint8
		cools     bool
	}{
		{"UDP", nat.EndpointIndependent, packet.ProtoUDP, true},
		{"identifiers", nat.EndpointIndependent, packet.ProtoICMP, true},
		{"TCP is tracked", nat.EndpointIndependent, packet.ProtoTCP, false},
		{"strangers are kept out", nat.AddressDependent, packet.ProtoUDP, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tuple := func(host packet.Addr) packet.Tuple {
				return packet.Tuple{Src: host, Dst: 0x08080808, SrcPort: 4000, DstPort: 53, Proto: c.proto}
			}
			table := newTable(config{Filtering: c.filtering, HostShare: 1, UDP: time.Second, ICMP: time.Second,
				TCPOpening: time.Second})
			get := func(host packet.Addr, now time.Duration) uint16 {
				t.Helper()
				table.Tick(now)
				conn, port, r := tryBind(table, tuple(host), now)
				if r != conntrack.None {
					t.Fatal(r)
				}
				table.Remove(conn)
				return port
			}
			if port := get(a, 0); port != 4000 {
				t.Fatalf("port %d", port)
			}
			if got := get(b, time.Minute); got == 4000 == c.cools {
				t.Errorf("another host gets port %d after a minute", got)
			}
			if c.cools {
				if got := get(a, 90*time.Second); got != 4000 {
					t.Errorf("the same host gets port %d", got)
				}
			}
			if got := get(b, 90*time.Second+2*time.Minute-time.Millisecond); got == 4000 == c.cools {
				t.Errorf("another host gets port %d just before two minutes are over", got)
			}
			if got := get(b, 4*time.Minute); got != 4000 {
				t.Errorf("another host gets port %d after two minutes", got)
			}
			if wake := table.Tick(5 * time.Minute); (wake > 5*time.Minute && wake <= 6*time.Minute) != c.cools {
				t.Errorf("wants to be woken at %v", wake)
			}
			if wake := table.Tick(10 * time.Minute); wake != 0 {
				t.Errorf("wants to be woken at %v", wake)
			}
		})
	}
}

// The table wants to be woken for the first of all cooldowns.
func TestCooldownsOfAllSpaces(t *testing.T) {
	table := newTable(config{Filtering: nat.EndpointIndependent})
	for i, port := range []uint16{5000, 80, 6000} {
		tuple := packet.Tuple{Src: 1, Dst: 0x08080808, SrcPort: port, DstPort: 53, Proto: packet.ProtoUDP}
		conn, _, _ := tryBind(table, tuple, time.Duration(10-i)*time.Second)
		table.Remove(conn)
		tuple.Proto = packet.ProtoICMP
		conn, _, _ = tryBind(table, tuple, time.Duration(20-i)*time.Second)
		table.Remove(conn)
	}
	if wake := table.Tick(21 * time.Second); wake != 129*time.Second {
		t.Errorf("wants to be woken at %v", wake)
	}
}

// Rather than overloading one that is in use, the port that has rested longest is taken;
// and kept ports take no more memory than there are ports.
func TestKeptPortsMakeRoom(t *testing.T) {
	table := newTable(config{Filtering: nat.EndpointIndependent, HostShare: 1, PortMin: 2000, PortMax: 2003})
	tuple := packet.Tuple{Src: 1, Dst: 0x08080808, DstPort: 53, Proto: packet.ProtoUDP}
	for i, want := range []uint16{2000, 2001, 2002, 2003, 2000, 2001} {
		tuple.Src, tuple.SrcPort = packet.Addr(1+i), uint16(2000+i%4)
		if i >= 4 {
			tuple.SrcPort = 9000 + tuple.SrcPort%2 // no port of its own to have
		}
		conn, port, r := tryBind(table, tuple, time.Duration(i)*time.Second)
		if r != conntrack.None || port != want {
			t.Errorf("%d: port %d, %v, want %d", i, port, r, want)
			continue
		}
		table.Remove(conn)
	}
	if n := table.Stats().Overloaded; n != 0 {
		t.Errorf("%d overloaded", n)
	}
	tuple.SrcPort = 2001
	before := table.Bytes()
	for range 100000 { // the same host, the same port
		conn, _, _ := tryBind(table, tuple, 10*time.Second)
		table.Remove(conn)
	}
	if after := table.Bytes(); after > before+1<<16 {
		t.Errorf("%d bytes, then %d", before, after)
	}
}
