package lb_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

type endpoint struct {
	addr  packet.Addr
	proto uint8
	port  uint16
}

func TestVIPs(t *testing.T) {
	var none lb.VIPs
	if none.Find(1, 6, 80) != nil || none.Without(1, 6, 80) != none {
		t.Error("an empty set has VIPs")
	}
	web, dns := &lb.VIP{Name: "web", Addr: 1, Proto: 6, Port: 80}, &lb.VIP{Name: "dns", Addr: 1, Proto: 17, Port: 53}
	s := none.With(web).With(dns)
	again := s.With(&lb.VIP{Name: "again", Addr: 1, Proto: 17, Port: 53})
	if s.Find(1, 6, 80) != web || s.Find(1, 17, 53) != dns ||
		again.Find(1, 6, 80) != web || again.Find(1, 17, 53).Name != "again" {
		t.Error("a VIP is not found")
	}
	for _, k := range []endpoint{{2, 6, 80}, {1, 17, 80}, {1, 6, 53}} {
		if v := s.Find(k.addr, k.proto, k.port); v != nil {
			t.Errorf("%+v: %s", k, v.Name)
		}
	}
}

// Sets that are made from each other, in any order, against maps. No set changes afterwards.
func TestVIPsAgainstMaps(t *testing.T) {
	type version struct {
		set  lb.VIPs
		want map[endpoint]*lb.VIP
	}
	r := rand.New(rand.NewPCG(1, 10))
	all := []version{{}}
	for range 1000 {
		from := all[r.IntN(len(all))]
		k := endpoint{0x0a000000 + packet.Addr(r.Uint32N(8)<<r.IntN(20)), []uint8{6, 17}[r.IntN(2)], uint16(r.IntN(3))}
		next := version{want: map[endpoint]*lb.VIP{}}
		for k, v := range from.want {
			next.want[k] = v
		}
		if r.IntN(3) == 0 {
			next.set = from.set.Without(k.addr, k.proto, k.port)
			delete(next.want, k)
		} else {
			v := &lb.VIP{Addr: k.addr, Proto: k.proto, Port: k.port}
			next.set, next.want[k] = from.set.With(v), v
		}
		if all = append(all, next); len(all) > 50 {
			all = append(all[:0], all[1+r.IntN(2):]...)
		}
		for _, v := range all[max(0, len(all)-10):] {
			for range 10 {
				k := endpoint{0x0a000000 + packet.Addr(r.Uint32N(8)<<r.IntN(20)), []uint8{6, 17}[r.IntN(2)],
					uint16(r.IntN(3))}
				if v.set.Find(k.addr, k.proto, k.port) != v.want[k] {
					t.Fatalf("%+v: found %v, want %v", k, v.set.Find(k.addr, k.proto, k.port), v.want[k])
				}
			}
			for k, want := range v.want {
				if v.set.Find(k.addr, k.proto, k.port) != want {
					t.Fatalf("%+v: not found", k)
				}
			}
		}
	}
}

func manyVIPs(addresses, each int) (s lb.VIPs) {
	for i := range addresses * each {
		s = s.With(&lb.VIP{Addr: 0x0a000000 + packet.Addr(i/each), Proto: 6, Port: uint16(1 + i%each)})
	}
	return s
}

// A change copies a few nodes, however many VIPs there are.
func TestVIPsAreShared(t *testing.T) {
	s := manyVIPs(20000, 1)
	if n := testing.AllocsPerRun(100, func() { s.With(&lb.VIP{Addr: 0x0a000005, Proto: 17, Port: 53}) }); n > 10 {
		t.Errorf("%v allocations to add one to 20000", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Without(0x0a000005, 6, 1) }); n > 10 {
		t.Errorf("%v allocations to take one from 20000", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Find(0x0a000005, 6, 1) }); n != 0 {
		t.Errorf("%v allocations to find one", n)
	}
	for i := range packet.Addr(20000) {
		if s = s.Without(0x0a000000+i*7919%20000, 6, 1); (s == lb.VIPs{}) != (i == 19999) {
			t.Fatalf("empty after %d of 20000 have been taken out", i+1)
		}
	}
}

func BenchmarkVIPs(b *testing.B) {
	for _, c := range []struct{ addresses, each int }{{10, 1}, {1000, 1}, {6000, 1}, {6, 1000}} {
		s, n := manyVIPs(c.addresses, c.each), c.addresses*c.each
		b.Run(fmt.Sprintf("Find/%dx%d", c.addresses, c.each), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				k := i * 7919 % n
				if s.Find(0x0a000000+packet.Addr(k/c.each), 6, uint16(1+k%c.each)) == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("With/%dx%d", c.addresses, c.each), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.With(&lb.VIP{Addr: 0x0a000000 + packet.Addr(i*7919%n/c.each), Proto: 17, Port: 53})
			}
		})
	}
}
