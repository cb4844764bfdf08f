package nat_test

import (
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A slow table of floating addresses, to compare the shared one with.
type slowStatic map[packet.Addr]nat.Floating

func (m slowStatic) floating(fixed packet.Addr) (packet.Addr, bool) {
	for addr, f := range m {
		if f.Fixed == fixed {
			return addr, true
		}
	}
	return 0, false
}

// TestStatic compares a Static with the slow table, after every change, and looks whether former values still are
// what they were.
func TestStatic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type version struct {
		s     *nat.Static
		model slowStatic
	}
	versions := []version{{nil, slowStatic{}}}
	check := func(v version) {
		t.Helper()
		for addr := packet.Addr(0); addr < 24; addr++ {
			want, owned := v.model[addr]
			if v.s.Owns(addr) != owned {
				t.Fatalf("Owns(%d) is %v", addr, !owned)
			}
			if fixed, ok := v.s.Fixed(addr); fixed != want.Fixed || ok != (want.Fixed != 0) {
				t.Fatalf("Fixed(%d) = %d, %v, want %d", addr, fixed, ok, want.Fixed)
			}
			for port := uint16(1); port < 5; port++ {
				var to nat.Endpoint
				found := false
				for _, f := range want.Forwards {
					if f.Port == port && f.Proto == packet.ProtoTCP {
						to, found = f.To, true
					}
				}
				if got, ok := v.s.Forwarded(addr, packet.ProtoTCP, port); got != to || ok != found {
					t.Fatalf("Forwarded(%d, tcp, %d) = %v, %v, want %v", addr, port, got, ok, to)
				}
				if _, ok := v.s.Forwarded(addr, packet.ProtoUDP, port); ok {
					t.Fatalf("Forwarded(%d, udp, %d) is there", addr, port)
				}
			}
		}
		for fixed := packet.Addr(100); fixed < 112; fixed++ {
			want, ok := v.model.floating(fixed)
			if got, found := v.s.Floating(fixed); got != want || found != ok {
				t.Fatalf("Floating(%d) = %d, %v, want %d, %v", fixed, got, found, want, ok)
			}
		}
	}
	for range 2000 {
		last := versions[len(versions)-1]
		model := slowStatic{}
		for a, f := range last.model {
			model[a] = f
		}
		addr, f := packet.Addr(rng.Uint32N(24)), nat.Floating{}
		switch rng.IntN(3) {
		case 0:
			f.Fixed = 100 + packet.Addr(rng.Uint32N(12))
			if had, ok := model.floating(f.Fixed); ok && had != addr {
				continue // the rules of a State forbid it
			}
		case 1:
			for _, port := range rng.Perm(4)[:1+rng.IntN(3)] {
				f.Forwards = append(f.Forwards, nat.Forward{
					Proto: packet.ProtoTCP, Port: uint16(port + 1),
					To: nat.Endpoint{Addr: packet.Addr(rng.Uint32()), Port: 80},
				})
			}
		}
		if model[addr] = f; f.Fixed == 0 && f.Forwards == nil {
			delete(model, addr)
		}
		versions = append(versions, version{last.s.With(addr, f), model})
		check(versions[len(versions)-1])
	}
	for _, v := range versions[len(versions)-20:] {
		check(v)
	}
}

// TestStaticSwap: two floating addresses may exchange their fixed addresses, one after the other.
func TestStaticSwap(t *testing.T) {
	s := (*nat.Static)(nil).With(1, nat.Floating{Fixed: 10}).With(2, nat.Floating{Fixed: 20})
	s = s.With(1, nat.Floating{Fixed: 20}).With(2, nat.Floating{Fixed: 10})
	for floating, fixed := range map[packet.Addr]packet.Addr{1: 20, 2: 10} {
		if got, ok := s.Floating(fixed); !ok || got != floating {
			t.Errorf("Floating(%d) = %d, %v, want %d", fixed, got, ok, floating)
		}
	}
}

func BenchmarkStaticWith(b *testing.B) {
	var s *nat.Static
	for k := range packet.Addr(6000) {
		s = s.With(0x0a000000+k, nat.Floating{Fixed: 0xac100000 + k})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.With(0x0a010000, nat.Floating{Fixed: 0xac110000})
	}
}
