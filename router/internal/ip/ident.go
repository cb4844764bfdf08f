package ip

import (
	"math/bits"
	"math/rand/v2"

	"github.com/taprouter/taprouter/internal/packet"
)

// The fragments of a packet are told from those of another packet by source, destination,
// protocol and identification (RFC 791, 3.2). Hosts that share a source address do not
// know of each other's identifications. So a packet gets a new identification when its source becomes
// a shared address, as if the router were the sender (RFC 6864, 5.3.1; RFC 7857, 11). A packet that
// is not a fragment and must not become one (atomic, RFC 6864, 4) needs none.

// idents hands out IPv4 identifications: for one source, destination and protocol
// none comes again before 65535 others have been used. They are counted, but from a
// secret start in a secret counter. So a host that sees the identifications for one destination cannot
// tell those for another (RFC 7739, 5.3). The zero value has no secrets: every host can foretell its identifications.
type idents struct {
	secret [2]uint64
	used   *[4096]uint16 // counters; some destinations have the same one. nil: none has been used
}

func newIdents(rng *rand.Rand) idents {
	return idents{secret: [2]uint64{rng.Uint64(), rng.Uint64() | 1}}
}

// take returns the first of n consecutive identifications.
func (s *idents) take(src, dst packet.Addr, proto uint8, n int) uint16 {
	hi, lo := bits.Mul64((src.Number()<<32|dst.Number())^s.secret[0], uint64(proto)<<32^s.secret[1])
	hi, lo = bits.Mul64(hi^lo^s.secret[1], 0x9e3779b97f4a7c15^s.secret[0]|1)
	h := hi ^ lo
	if s.used == nil {
		s.used = new([4096]uint16)
	}
	used := &s.used[h%uint64(len(s.used))]
	id := uint16(h>>48) + *used
	*used += uint16(n)
	return id
}
