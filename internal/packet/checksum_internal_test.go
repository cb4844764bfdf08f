package packet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// headerSum and the deltas take short cuts. The plain way gives the same answer to the bit: 0 and 0xffff, which are
// equal in ones-complement arithmetic, are told apart as well.
func TestSumsToTheBit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(b []byte) {
		for i := range b {
			b[i] = [...]byte{0, 0xff, 1, 0xfe, 0x7f, 0x80, byte(rng.Uint32()), byte(rng.Uint32())}[rng.IntN(8)]
		}
	}
	check := func(header [IPv4Len]byte) {
		t.Helper()
		if got, want := headerSum(&header), Sum(header[:]); got != want {
			t.Fatalf("headerSum of %x is %#x, want %#x", header, got, want)
		}
	}
	check([IPv4Len]byte{})
	check([IPv4Len]byte(bytes.Repeat([]byte{0xff}, IPv4Len)))
	for range 100_000 {
		var header [IPv4Len]byte
		fill(header[:])
		check(header)
	}
	plain := func(a, b uint16) uint16 {
		s := uint32(a) + uint32(b)
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
		return uint16(s)
	}
	words := []uint16{0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff}
	for range 50 {
		words = append(words, uint16(rng.Uint32()))
	}
	for _, a := range words {
		for _, b := range words {
			if got, want := add(a, b), plain(a, b); got != want {
				t.Fatalf("add(%#x, %#x) is %#x, want %#x", a, b, got, want)
			}
			for _, sum := range words {
				if got, want := update2(sum, a, b), ^plain(plain(^sum, a), b); got != want {
					t.Fatalf("update2(%#x, %#x, %#x) is %#x, want %#x", sum, a, b, got, want)
				}
			}
		}
	}
}
