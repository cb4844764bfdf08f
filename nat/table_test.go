package nat_test

import (
	"runtime"
	"testing"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// ARCHITECTURE.md and the README promise connections that are small, whatever they
// are and however many: the index is emptiest just after it has split.
func TestMemoryPerConnection(t *testing.T) {
	routed := func(t *testing.T, table *tables, k packet.Addr) {
		tuple := udp(k, 1, remote, 2)
		plain(t, table, tuple, 0)
	}
	// Each mapping has connections to many remote addresses, as a resolver's or a
	// peer-to-peer client's has.
	translated := func(t *testing.T, table *tables, k packet.Addr) {
		mapping := k % 6000
		bind(t, table, udp(inside+mapping%16, uint16(2000+mapping), remote+k/6000, 53))
	}
	// Each has a mapping of its own, as browsers' connections do.
	single := func(t *testing.T, table *tables, k packet.Addr) {
		const perAddress = 30_000
		ext := external + k/perAddress
		f := packet.Tuple{Src: inside + k/perAddress, SrcPort: uint16(2000 + 2*(k%perAddress)), Dst: remote + k,
			DstPort: 443, Proto: packet.ProtoTCP}
		var b nat.Binding
		port, r := table.Bind(&b, ext, f, f)
		out := f
		out.Src, out.SrcPort = ext, port
		if r == conntrack.None {
			_, r = table.commitBound(&conntrack.NewConn{Original: f, Reply: out.Reverse(), Owner: conntrack.OwnerSource,
				Segment: packet.Segment{Flags: packet.SYN}}, &b, 0)
		}
		if r != conntrack.None {
			t.Fatal(r)
		}
	}
	for name, add := range map[string]func(*testing.T, *tables, packet.Addr){"routed": routed, "translated": translated,
		"single": single} {
		t.Run(name, func(t *testing.T) {
			for n := packet.Addr(50_000); n < 112_000; n += 6_000 {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				table := newTable(config{HostShare: 1})
				for k := range n {
					add(t, table, k)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				heap := int(after.HeapAlloc-before.HeapAlloc) / int(n)
				if got := table.Bytes() / int(n); got > 160 || heap > 165 {
					t.Errorf("%d connections of %d bytes by the table's own account, %d on the heap; want at most 160",
						n, got, heap)
				} else {
					t.Logf("%d connections: %d bytes each", n, got)
				}
				runtime.KeepAlive(table)
			}
		})
	}
}
