package nat_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A host opens a connection through shared source NAT, and the answer finds back.
func Example() {
	addr := func(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }
	rng := rand.New(rand.NewPCG(1, 2))
	conns := conntrack.NewTable(conntrack.Config{}, rng)
	table := nat.NewTable(nat.Config{}, conns, rng)

	tuple := packet.Tuple{
		Src: addr("10.0.0.5"), SrcPort: 5353, Dst: addr("203.0.113.9"), DstPort: 53, Proto: packet.ProtoUDP,
	}
	var binding nat.Binding
	port, _ := table.Bind(&binding, addr("198.51.100.1"), tuple, tuple)

	out := tuple
	out.Src, out.SrcPort = addr("198.51.100.1"), port
	table.Commit(&conntrack.NewConn{Original: tuple, Reply: out.Reverse()}, &binding, 0)

	answer := out.Reverse()
	conn, dir := conns.Lookup(&answer, time.Second)
	fmt.Println("sent:     ", conn.Translated(conntrack.Original))
	fmt.Println("answer:   ", answer)
	fmt.Println("delivered:", conn.Translated(dir))
	// Output:
	// sent:      udp 198.51.100.1:5353 > 203.0.113.9:53
	// answer:    udp 203.0.113.9:53 > 198.51.100.1:5353
	// delivered: udp 203.0.113.9:53 > 10.0.0.5:5353
}

func ExampleStatic() {
	var s *nat.Static // empty
	floating, fixed := packet.Addr(0xc6336407), packet.Addr(0x0a000007)
	s = s.With(floating, nat.Floating{Fixed: fixed})
	got, ok := s.Fixed(floating)
	fmt.Println(got.Netip(), ok)
	got, ok = s.Floating(fixed)
	fmt.Println(got.Netip(), ok)
	s = s.With(floating+1, nat.Floating{Forwards: []nat.Forward{
		{Proto: packet.ProtoTCP, Port: 2222, To: nat.Endpoint{Addr: fixed, Port: 22}},
	}})
	e, ok := s.Forwarded(floating+1, packet.ProtoTCP, 2222)
	fmt.Println(e.Addr.Netip(), e.Port, ok, s.Owns(floating+1), s.Owns(fixed))
	_, ok = s.Forwarded(floating+1, packet.ProtoUDP, 2222)
	fmt.Println(ok)
	// Output:
	// 10.0.0.7 true
	// 198.51.100.7 true
	// 10.0.0.7 22 true true false
	// false
}
