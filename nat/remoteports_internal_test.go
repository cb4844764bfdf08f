package nat

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

func tupleTo(k, dst packet.Addr, port uint16) packet.Tuple {
	return packet.Tuple{Src: 0x0a000000 + k, SrcPort: port, Dst: dst, DstPort: 53, Proto: packet.ProtoUDP}
}

func internalTable(cfg Config) *Table {
	rng := rand.New(rand.NewPCG(1, 2))
	return NewTable(cfg, conntrack.NewTable(conntrack.Config{}, rng), rng)
}

// clearConns removes every connection.
func clearConns(table *Table) {
	table.conns.Walk(0, math.MaxInt, 0, func(c *conntrack.Conn) bool {
		table.conns.Remove(c)
		return true
	})
}

// openUnique makes a connection by an external port of its own.
func openUnique(table *Table, tuple packet.Tuple) (*conntrack.Conn, conntrack.Refusal) {
	const ext = 0xc0000201
	port, r := table.UniquePort(ext, tuple, tuple)
	if r != conntrack.None {
		return nil, r
	}
	out := tuple
	out.Src, out.SrcPort = ext, port
	return table.Commit(&conntrack.NewConn{Original: tuple, Reply: out.Reverse()}, &Binding{}, 0)
}

// A remotePorts is forgotten with its connections, also one that is known in part only. When there are as many
// as there may be, a new one takes the place of the oldest.
func TestRemotePortsEnd(t *testing.T) {
	table := internalTable(Config{})
	for dst := packet.Addr(1); dst <= maxRemotes; dst++ {
		had := len(table.remotes)
		for k := packet.Addr(0); len(table.remotes) == had && k < 1023; k++ {
			openUnique(table, tupleTo(k, dst, 500))
		}
		clearConns(table)
	}
	if table.conns.Len() != 0 || len(table.remotes) != 0 {
		t.Errorf("%d connections, %d remote ports", table.conns.Len(), len(table.remotes))
	}
	// All ports but one are taken towards a remote endpoint.
	for port := 1; port < 1023; port++ {
		f := tupleTo(0, 1<<24, uint16(port))
		if _, r := openUnique(table, f); r != conntrack.None {
			t.Fatal(r)
		}
	}
	for range 20 {
		c, r := openUnique(table, tupleTo(5, 1<<24, 500))
		if r == conntrack.None {
			if c.Tuple(conntrack.Reply).DstPort != 1023 {
				t.Fatal(c.Tuple(conntrack.Reply).DstPort)
			}
			return
		}
	}
	t.Error("port 1023 is free, but not found in 20 searches")
}

// With one port, half of them is none.
func TestRemotePortsOfOnePort(t *testing.T) {
	table := internalTable(Config{PortMin: 4000, PortMax: 4000})
	for dst := packet.Addr(1); dst <= 300; dst++ {
		openUnique(table, tupleTo(0, dst, 4000))
		openUnique(table, tupleTo(1, dst, 4000)) // finds none
	}
	clearConns(table)
	if len(table.remotes) != 0 {
		t.Errorf("an empty table has %d remote ports", len(table.remotes))
	}
}

func TestOldestRemotePortsMakeRoom(t *testing.T) {
	table := internalTable(Config{PortMin: 4000, PortMax: 4000})
	for dst := packet.Addr(1); dst <= maxRemotes+10; dst++ {
		openUnique(table, tupleTo(0, dst, 4000))
		openUnique(table, tupleTo(1, dst, 4000))
		if n := len(table.remotes); n != min(int(dst), maxRemotes) || n != len(table.remoteOrder) {
			t.Fatalf("%d remote ports of %d, %d in order", n, dst, len(table.remoteOrder))
		}
	}
	for key := range table.remotes {
		if key.remote <= 10 {
			t.Errorf("remote port set %d is one of the oldest", key.remote)
		}
	}
}
