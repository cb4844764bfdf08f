package router

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/packet"
)

// conntrackError finds the connection that an ICMP error is about, by the
// packet it quotes: one that left here, so its reverse is how an answer would
// arrive. The error goes where that answer would go (RFC 5508, REQ-4 and
// REQ-5). It neither refreshes nor ends the connection (REQ-6). One about a TCP segment that
// its sender cannot have sent is dropped.
func conntrackError(t *turn, x *passage) verdict {
	p, r := &x.p, x.r
	if p.Type == packet.ICMPRedirect || p.Type == packet.ICMPSourceQuench {
		return drop(DropICMPType)
	}
	if v := beginNew(t, x, false); v != next {
		return v
	}
	if p.Quote.Src != p.Dst {
		return drop(DropICMPUnknown) // errors go to whom they are about
	}
	q := p.Quote.Reverse()
	c, d := r.conns.Lookup(&q, t.now)
	if c == nil || p.Quote.FragOff != 0 {
		if x.in.external && r.closed() && !x.in.owns(p.Dst) || r.gateway != nil && r.gateway.shares(p.Dst) {
			return drop(DropICMPUnknown)
		}
		return next // one-to-one, or a plain packet to a plain address
	}
	if r.ifaces[c.In[d]].external != x.in.external {
		return drop(DropICMPUnknown)
	}
	if quoted := p.Eth[p.Quote.L4:p.End]; q.Proto == packet.ProtoTCP && len(quoted) >= 8 &&
		!r.conns.MaySend(c, 1-d, binary.BigEndian.Uint32(quoted[4:])) {
		return drop(DropICMPSequence)
	}
	out := c.Translated(d)
	r.scratch.errPath = errorPath{src: p.Src, dst: out.Dst, quoted: out.Reverse()}
	x.err = &r.scratch.errPath
	x.fresh.to.Dst = out.Dst
	x.fresh.admitted = true
	switch {
	case p.Src == c.Tuple(d).Src:
		x.err.src = out.Src // the endpoint itself reports
	case x.in.external:
		// A router on the outside path keeps its address.
	case c.NATed() && r.gateway != nil && r.gateway.iface.owns(out.Src):
		x.err.src = r.externalAddr(p.Src) // an internal router is not shown outside
	}
	return next
}

// translateUnknown sees to an ICMP error about no known connection. Where floating
// IPs alone stand between the two sides, addresses are enough to translate it, and
// what it quotes. What a forgotten mapping was, the router does not know.
func translateUnknown(t *turn, x *passage) verdict {
	p, r := &x.p, x.r
	src, q := p.Src, p.Quote.Tuple
	q.Src = x.fresh.to.Dst // they were the same
	if x.leaves() {
		floating, ok := r.static.Floating(q.Dst)
		switch {
		case !ok && r.gateway.snat:
			return drop(DropICMPUnknown)
		case !ok:
		case src == q.Dst:
			src, q.Dst = floating, floating // the endpoint itself reports
		case r.gateway.snat:
			src, q.Dst = r.externalAddr(src), floating
		default:
			q.Dst = floating
		}
	}
	if src != p.Src || q != p.Quote.Tuple {
		r.scratch.errPath = errorPath{src: src, dst: x.fresh.to.Dst, quoted: q}
		x.err = &r.scratch.errPath
	}
	return next
}
