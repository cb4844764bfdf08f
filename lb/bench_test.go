package lb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taprouter/taprouter/lb"
)

var steady = []struct {
	name    string
	cfg     lb.Config
	weights int // 1, 2 ... that many, and again
}{
	{"RoundRobin", lb.Config{}, 1},
	{"Weighted", lb.Config{}, 5},
	{"LeastConnections", lb.Config{Algorithm: lb.LeastConnections}, 5},
	{"SourceIP", lb.Config{Algorithm: lb.SourceIP}, 5},
	{"SourceIPPort", lb.Config{Algorithm: lb.SourceIPPort}, 5},
	{"Persistence", lb.Config{Persistence: time.Minute}, 1},
	{"PersistenceFull", lb.Config{Persistence: time.Hour, Persistent: 1000}, 1},
}

// steadily returns a pool of n members and what a connection does to it: clients keep
// coming and 100 connections are open.
func steadily(k, n int) func() {
	list := hosts(n, 1)
	for i := range list {
		list[i].Weight = 1 + i%steady[k].weights
	}
	pool, i := lb.NewPool(steady[k].cfg, list), 0
	type conn struct {
		c  lb.Client
		id uint32
	}
	var open [100]conn
	return func() {
		now, old := time.Duration(i)*time.Millisecond, &open[i%len(open)]
		if i >= len(open) {
			pool.End(old.c, old.id, now)
		}
		c := client(i * 7919 % 5003)
		m, _ := pool.Pick(c, now, func(m *lb.Member) bool { return m.Addr != c.Addr })
		pool.Commit(c, m.ID, now)
		*old = conn{c, m.ID}
		i++
	}
}

func BenchmarkConnection(b *testing.B) {
	for k := range steady {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", steady[k].name, n), func(b *testing.B) {
				do := steadily(k, n)
				for range 20000 {
					do()
				}
				b.ReportAllocs()
				for b.Loop() {
					do()
				}
			})
		}
	}
}

// A change of the members, and the first choice after it.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pool, w := hashed(hosts(n, 1)), 1
			b.ReportAllocs()
			for b.Loop() {
				w = 3 - w
				pool.SetWeight(0, w)
				pool.Pick(client(1), 0, nil)
			}
		})
	}
}

// A caller that finds all of 1000 members unreachable is asked about each of them.
func BenchmarkAllChoices(b *testing.B) {
	for k := range steady {
		b.Run(steady[k].name, func(b *testing.B) {
			pool := lb.NewPool(steady[k].cfg, hosts(1000, 1))
			pool.Commit(client(0), 500, 0)
			b.ReportAllocs()
			for b.Loop() {
				m, _ := pool.Pick(client(0), 0, nil)
				pool.Pick(client(0), 0, func(*lb.Member) bool { return false })
				pool.Commit(client(0), m.ID, 0)
			}
		})
	}
}

// One of the members is unreachable, and is the first choice now and then.
func BenchmarkOneUnreachable(b *testing.B) {
	for k := range steady {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", steady[k].name, n), func(b *testing.B) {
				pool, i := lb.NewPool(steady[k].cfg, hosts(n, 1)), 0
				b.ReportAllocs()
				for b.Loop() {
					c := client(i * 7919 % 5003)
					m, _ := pool.Pick(c, 0, func(m *lb.Member) bool { return m.ID != 3 })
					pool.Commit(c, m.ID, 0)
					i++
				}
			})
		}
	}
}

func TestNoAllocations(t *testing.T) {
	for k := range steady {
		for _, n := range []int{10, 1000} {
			do := steadily(k, n)
			for range 6000 { // each client once
				do()
			}
			if got := testing.AllocsPerRun(5000, do); got != 0 {
				t.Errorf("%s, %d members: %v allocations for a connection", steady[k].name, n, got)
			}
			pool := lb.NewPool(steady[k].cfg, hosts(n, 1))
			last := func() { pool.Pick(client(0), 0, func(m *lb.Member) bool { return m.ID == 7 }) }
			last()
			if got := testing.AllocsPerRun(20, last); got != 0 {
				t.Errorf("%s, %d members: %v allocations for the choice of one in reach", steady[k].name, n, got)
			}
		}
	}
}
