package nat_test

import (
	"testing"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

func BenchmarkCommitRemove(b *testing.B) {
	table := newTable(config{})
	for i := range packet.Addr(1000) {
		tuple := udp(inside+i, 1024, remote, 53)
		if c, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, 0); c == nil {
			b.Fatal(r)
		}
	}
	n := conntrack.NewConn{Original: udp(1, 1, 2, 2), Reply: udp(2, 2, 1, 1), Owner: conntrack.OwnerSource}
	b.ReportAllocs()
	for b.Loop() {
		c, _ := table.Commit(&n, 0)
		table.Remove(c)
	}
}

// What a connection with a mapping of its own costs from its beginning to its end.
func BenchmarkCommitRemoveMapped(b *testing.B) {
	table := newTable(config{})
	for i := range uint16(1000) {
		if _, _, r := tryBind(table, udp(inside, 2000+i, remote, 53), 0); r != conntrack.None {
			b.Fatal(r)
		}
	}
	tuple := udp(inside+1, 1024, remote, 53)
	b.ReportAllocs()
	for b.Loop() {
		c, _, _ := tryBind(table, tuple, 0)
		table.Remove(c)
	}
}

// What a new connection's port costs, with 0, half, and 99.9 % of them taken.
func BenchmarkBind(b *testing.B) {
	const ports = 65536 - 1024
	for name, taken := range map[string]int{"0": 0, "50": ports / 2, "99.9": ports * 999 / 1000} {
		b.Run(name, func(b *testing.B) {
			table := newTable(config{HostShare: 1})
			for k := range taken {
				tuple := udp(inside, uint16(1024+k), remote, 53)
				if _, _, r := tryBind(table, tuple, 0); r != conntrack.None {
					b.Fatal(r)
				}
			}
			tuple := udp(inside+1, 1024, remote, 53) // taken, so that one is searched
			b.ReportAllocs()
			for b.Loop() {
				var binding nat.Binding
				if _, r := table.Bind(&binding, external, tuple, tuple); r != conntrack.None {
					b.Fatal(r)
				}
			}
		})
	}
}
