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

// What a new UDP connection of a host costs that holds up to 60 000 ports, where the oldest one has ended before it.
func BenchmarkNewUDPOfOneHost(b *testing.B) {
	const ports = 60_000
	for name, cfg := range map[string]config{"lent": {Lend: true}, "within": {HostShare: 1}, "refused": {}} {
		b.Run(name, func(b *testing.B) {
			table := newTable(cfg)
			held, refused, k := make([]*conntrack.Conn, ports), 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if c := held[k]; c != nil {
					table.Remove(c)
				}
				c, _, r := open(table, udp(inside, uint16(1024+k), remote, 53), 0)
				if held[k] = c; r != conntrack.None {
					refused++
				} else {
					table.Touch(c, conntrack.Reply, 0, true, 0)
				}
				if k++; k == ports {
					k = 0
				}
			}
			b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
		})
	}
}

// What a port costs that is taken back from another host, which borrows it again.
func BenchmarkRecall(b *testing.B) {
	table := newTable(config{Lend: true, Filtering: nat.AddressDependent}) // else ports are kept back after use
	for k := range 65536 - 1024 {
		c, _, _ := open(table, udp(inside, uint16(1024+k), remote, 53), 0)
		table.Touch(c, conntrack.Reply, 0, true, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, port, r := open(table, udp(inside+1, 5000, remote, 53), 0)
		if r != conntrack.None {
			b.Fatal(r)
		}
		table.Remove(c)
		if c, _, r = open(table, udp(inside, port, remote, 53), 0); r != conntrack.None {
			b.Fatal(r)
		}
		table.Touch(c, conntrack.Reply, 0, true, 0)
	}
}
