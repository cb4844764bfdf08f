package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// Port security reads ARP as the rest of the router does, whatever is in a message.
func TestARPSender(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for range 20_000 {
		eth := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC{2}, packet.Broadcast, packet.ARP{
			Request: rng.IntN(2) == 0, SenderMAC: packet.MAC{2, byte(rng.Uint32())},
			Sender: packet.ReadAddr(binary.BigEndian.AppendUint32(nil, rng.Uint32()))})
		for range rng.IntN(3) {
			eth[14+rng.IntN(8)] = byte(rng.IntN(9))
		}
		eth = eth[:packet.ARPLen-rng.IntN(8)/7]
		want, ok := packet.DecodeARP(eth)
		request, mac, sender, got := arpSender(eth)
		if got != ok || ok && (request != want.Request || mac != want.SenderMAC || sender != want.Sender) {
			t.Fatalf("%x: %t %v %v %t, want %+v %t", eth, request, mac, sender, got, want, ok)
		}
		if ok {
			taken++
		}
	}
	if taken < 1000 {
		t.Errorf("only %d messages were right", taken)
	}
}

// A binding finds the same addresses as its prefixes, however they lie in each other.
func TestBindingFindsAddresses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(4)), byte(rng.IntN(256))})
	}
	for range 300 {
		p := &BoundPort{MAC: packet.MAC{2}}
		for range rng.IntN(4) {
			p.Fixed = append(p.Fixed, random())
		}
		for range rng.IntN(8) {
			p.Pairs = append(p.Pairs, AllowedPair{IP: netip.PrefixFrom(random(), 8+rng.IntN(25))})
		}
		b := bindingsOf(p)[0]
		for range 200 {
			a := random()
			want := len(p.Fixed)+len(p.Pairs) == 0
			for _, f := range p.Fixed {
				want = want || f == a
			}
			for _, pair := range p.Pairs {
				want = want || pair.IP.Contains(a)
			}
			if got := b.has4(packet.AddrFrom(a)); got != want {
				t.Fatalf("%v of %v and %v: %t", a, p.Fixed, p.Pairs, got)
			}
		}
	}
}
