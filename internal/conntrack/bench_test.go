package conntrack_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// fill makes n connections and returns their tuples in random order.
func fill(b *testing.B, n int) (*conntrack.Table, []packet.Tuple) {
	table := newTable(conntrack.Config{MaxConnections: 2*n + 2})
	tuples := make([]packet.Tuple, n)
	for i := range tuples {
		tuples[i] = udp(inside+packet.Addr(i>>10), uint16(1024+i&1023), remote, 53)
		if c, r := table.Commit(&conntrack.NewConn{Original: tuples[i], Reply: tuples[i].Reverse()}, 0); c == nil {
			b.Fatal(r)
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { tuples[i], tuples[j] = tuples[j], tuples[i] })
	return table, tuples
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, tuples := fill(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c, d := table.Lookup(&tuples[i], time.Second)
				table.Touch(c, d, 0, true, time.Second)
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

func BenchmarkCommitRemove(b *testing.B) {
	table, _ := fill(b, 1000)
	n := conntrack.NewConn{Original: udp(1, 1, 2, 2), Reply: udp(2, 2, 1, 1), Owner: conntrack.OwnerSource}
	b.ReportAllocs()
	for b.Loop() {
		c, _ := table.Commit(&n, 0)
		table.Remove(c)
	}
}
