package nat

import (
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

func flowTo(k, dst uint32, port uint16) packet.Tuple {
	return packet.Tuple{Src: 0x0a000000 + k, SrcPort: port, Dst: dst, DstPort: 53, Proto: packet.ProtoUDP}
}

// openUnique makes a connection by an external port of its own.
func openUnique(table *Table, flow packet.Tuple) (*Conn, Refusal) {
	const ext = 0xc0000201
	port, r := table.UniquePort(ext, flow, flow)
	if r != None {
		return nil, r
	}
	out := flow
	out.Src, out.SrcPort = ext, port
	return table.Commit(&NewConn{Original: flow, Reply: out.Reverse()}, 0)
}

// Crowds end with their connections, also those that are known in part only, and
// when there are as many as there may be, a new one takes the place of the oldest.
func TestCrowdsEnd(t *testing.T) {
	table := NewTable(Config{}, rand.New(rand.NewPCG(1, 2)), nil)
	for dst := uint32(1); dst <= maxCrowds; dst++ {
		had := len(table.crowds)
		for k := uint32(0); len(table.crowds) == had && k < 1023; k++ {
			openUnique(table, flowTo(k, dst, 500))
		}
		table.RemoveIf(func(*Conn) bool { return true })
	}
	if table.Len() != 0 || len(table.crowds) != 0 {
		t.Errorf("%d connections, %d crowds", table.Len(), len(table.crowds))
	}
	// All ports but one are taken towards a remote endpoint.
	for port := 1; port < 1023; port++ {
		f := flowTo(0, 1<<24, uint16(port))
		if _, r := openUnique(table, f); r != None {
			t.Fatal(r)
		}
	}
	for range 20 {
		c, r := openUnique(table, flowTo(5, 1<<24, 500))
		if r == None {
			if c.dstPort[Reply] != 1023 {
				t.Fatal(c.dstPort[Reply])
			}
			return
		}
	}
	t.Error("port 1023 is free, but not found in 20 searches")
}

// With one port, half of them is none.
func TestCrowdOfOnePort(t *testing.T) {
	table := NewTable(Config{PortMin: 4000, PortMax: 4000}, rand.New(rand.NewPCG(1, 2)), nil)
	for dst := uint32(1); dst <= 300; dst++ {
		openUnique(table, flowTo(0, dst, 4000))
		openUnique(table, flowTo(1, dst, 4000)) // finds none
	}
	table.RemoveIf(func(*Conn) bool { return true })
	if len(table.crowds) != 0 {
		t.Errorf("an empty table has %d crowds", len(table.crowds))
	}
}

func TestOldestCrowdMakesRoom(t *testing.T) {
	table := NewTable(Config{PortMin: 4000, PortMax: 4000}, rand.New(rand.NewPCG(1, 2)), nil)
	for dst := uint32(1); dst <= maxCrowds+10; dst++ {
		openUnique(table, flowTo(0, dst, 4000))
		openUnique(table, flowTo(1, dst, 4000))
		if n := len(table.crowds); n != min(int(dst), maxCrowds) || n != len(table.crowdOrder) {
			t.Fatalf("%d crowds of %d, %d in order", n, dst, len(table.crowdOrder))
		}
	}
	for key := range table.crowds {
		if key.remote <= 10 {
			t.Errorf("crowd %d is one of the oldest", key.remote)
		}
	}
}
