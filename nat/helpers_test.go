package nat_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

const (
	inside   = 0x0a000001 // 10.0.0.1
	external = 0xc6336401 // 198.51.100.1
	remote   = 0xcb007101 // 203.0.113.1
)

// config is the settings of both tables.
type config struct {
	Mapping, Filtering nat.Behavior

	MaxConnections   int
	HostShare        float64 // of connections and ports
	ConnShare        float64 // of connections, if it is another
	Lend             bool
	PortMin, PortMax uint16

	UDP, ICMP, TCPEstablished, Other, TCPOpening, TCPClosing, TCPTransitory time.Duration
}

// tables are a connection table and the mappings of its connections.
type tables struct {
	*conntrack.Table
	nat *nat.Table
}

// parts returns the settings of the connection table and of the mappings.
func (cfg config) parts() (conntrack.Config, nat.Config) {
	connShare := cfg.ConnShare
	if connShare == 0 {
		connShare = cfg.HostShare
	}
	return conntrack.Config{
			MaxConnections: cfg.MaxConnections, HostShare: connShare, Lend: cfg.Lend,
			UDP: cfg.UDP, ICMP: cfg.ICMP, TCPEstablished: cfg.TCPEstablished, Other: cfg.Other,
			TCPOpening: cfg.TCPOpening, TCPClosing: cfg.TCPClosing, TCPTransitory: cfg.TCPTransitory,
		}, nat.Config{
			Mapping: cfg.Mapping, Filtering: cfg.Filtering, HostShare: cfg.HostShare, Lend: cfg.Lend,
			PortMin: cfg.PortMin, PortMax: cfg.PortMax,
		}
}

func newTables(cfg config, rng *rand.Rand) *tables {
	ofConns, ofNAT := cfg.parts()
	conns := conntrack.NewTable(ofConns, rng)
	return &tables{conns, nat.NewTable(ofNAT, conns, rng)}
}

// configure gives both tables other settings.
func (t *tables) configure(cfg config) {
	ofConns, ofNAT := cfg.parts()
	t.Table.Configure(ofConns)
	t.nat.Configure(ofNAT)
}

func newTable(cfg config) *tables { return newTables(cfg, rand.New(rand.NewPCG(1, 2))) }

func (t *tables) Bind(b *nat.Binding, ext packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	return t.nat.Bind(b, ext, tuple, original)
}

func (t *tables) UniquePort(src packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	return t.nat.UniquePort(src, tuple, original)
}

func (t *tables) Inbound(b *nat.Binding, tuple packet.Tuple, filter bool) (packet.Addr, uint16, conntrack.Refusal) {
	return t.nat.Inbound(b, tuple, filter)
}

// Commit is for a connection without a binding.
func (t *tables) Commit(n *conntrack.NewConn, now time.Duration) (*conntrack.Conn, conntrack.Refusal) {
	return t.nat.Commit(n, &nat.Binding{}, now)
}

func (t *tables) commitBound(n *conntrack.NewConn, b *nat.Binding, now time.Duration) (*conntrack.Conn,
	conntrack.Refusal) {
	return t.nat.Commit(n, b, now)
}

func (t *tables) Stats() nat.Stats { return t.nat.Stats() }

func (t *tables) Bytes() int { return t.Table.Bytes() + t.nat.Bytes() }

// Tick is that of both tables.
func (t *tables) Tick(now time.Duration) time.Duration {
	a, b := t.Table.Tick(now), t.nat.Tick(now)
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// removeIf removes every connection that match says yes to.
func (t *tables) removeIf(now time.Duration, match func(*conntrack.Conn) bool) {
	t.Walk(0, math.MaxInt, now, func(c *conntrack.Conn) bool {
		if match(c) {
			t.Remove(c)
		}
		return true
	})
}

func (t *tables) clear() { t.removeIf(0, func(*conntrack.Conn) bool { return true }) }

func udp(src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) packet.Tuple {
	return packet.Tuple{Src: src, Dst: dst, SrcPort: srcPort, DstPort: dstPort, Proto: packet.ProtoUDP}
}

// plain commits a connection that nothing translates.
func plain(t *testing.T, table *tables, tuple packet.Tuple, now time.Duration) *conntrack.Conn {
	t.Helper()
	c, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(),
		Segment: packet.Segment{Flags: packet.SYN}}, now)
	if c == nil {
		t.Fatalf("Commit(%v): %v", tuple, r)
	}
	return c
}

func there(table *tables, tuple packet.Tuple, now time.Duration) bool {
	c, _ := table.Lookup(&tuple, now)
	return c != nil
}

func tcpTuple(k uint16) packet.Tuple {
	return packet.Tuple{Src: inside, Dst: remote, SrcPort: 1000 + k, DstPort: 80, Proto: packet.ProtoTCP}
}
