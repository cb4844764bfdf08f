package ip

import (
	"math/bits"
	"math/rand/v2"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
)

// The fragments of a packet are told from another's by source, destination,
// protocol and identification (RFC 791, 3.2). Hosts that share a source address do not
// know of each other's identifications: where their packets take it on, they get new
// ones, as if the router were the sender (RFC 6864, 5.3.1; RFC 7857, 11). A packet that
// is not a fragment and must not become one (atomic, RFC 6864, 4) needs none.

// idents hands out IPv4 identifications: for one source, destination and protocol
// none comes again before 65535 others have been used. They are counted, but from a
// secret start in a secret counter, so that a host which sees those of one destination cannot
// tell those of another (RFC 7739, 5.3). The zero value hands out what every host can foretell.
type idents struct {
	secret [2]uint64
	used   *[4096]uint16 // shared by the destinations that fall on the same; nil: none has been used
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

// shared reports whether hosts of ours share an external address: the router's own,
// also for clients of a VIP, a VIP's, which its members answer from, and that of
// forwarded ports. A floating IP is one host's, unless it is a VIP's.
func (r *Router) shared(addr packet.Addr) bool {
	return r.Gateway != nil && addr == r.Gateway.Addr || r.sharedElse(addr)
}

// sharedElse is shared for any other address than the gateway's first.
func (r *Router) sharedElse(addr packet.Addr) bool {
	if r.Gateway != nil && r.Gateway.shares(addr) {
		return true
	}
	if fixed, ok := r.Static.Fixed(addr); ok {
		addr = fixed
	}
	return r.IsLocal(addr)
}

// renumber gives a packet a new identification, if it will leave from a shared address;
// all fragments of a packet the same one. A super-frame's segments count on from its
// own. An ICMP error about the packet will quote the new one, which is not turned back:
// the receiver of the error goes by the ports.
func renumber(t *loop.Turn, x *passage, src, dst packet.Addr) {
	p := &x.p
	if src == p.Src || !x.r.shared(src) {
		return
	}
	if !p.Fragmented() {
		p.SetID(x.r.idents.take(src, dst, p.Proto, p.Segments()))
		return
	}
	e := x.fragments
	if !e.renumbered {
		e.id, e.renumbered = x.r.idents.take(src, dst, p.Proto, 1), true
	}
	p.SetID(e.id)
}
