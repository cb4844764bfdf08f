package ip

import (
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
)

// renumber gives a packet a new identification, if it will leave from a shared address.
// All fragments of a packet get the same one. The segments of a super-frame count on from
// the super-frame's. An ICMP error about the packet will quote the new identification, which is not translated back:
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

// shared reports whether several hosts behind the router send from an address. These are the router's own addresses,
// which clients of a VIP may show, too; the addresses of VIPs, from which members answer; and those of
// forwarded ports. A floating IP is one host's, unless it leads to a VIP.
func (r *Router) shared(addr packet.Addr) bool {
	return r.Gateway != nil && addr == r.Gateway.Addr || r.sharedElse(addr)
}

// sharedElse is shared for an address other than the gateway's first.
func (r *Router) sharedElse(addr packet.Addr) bool {
	if r.Gateway != nil && r.Gateway.shares(addr) {
		return true
	}
	if fixed, ok := r.Static.Fixed(addr); ok {
		addr = fixed
	}
	return r.IsLocal(addr)
}
