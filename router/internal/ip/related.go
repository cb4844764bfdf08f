package ip

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// conntrackError finds the connection that an ICMP error is about, by the
// packet it quotes. The quoted packet has left the router as it is quoted, so an answer to it would
// arrive with the reverse tuple. The error goes where that answer would go (RFC 5508, REQ-4 and
// REQ-5). It neither refreshes nor ends the connection (REQ-6). An error about a TCP segment that
// its sender cannot have sent is dropped (RFC 5927, 4.1).
func conntrackError(t *loop.Turn, x *passage) verdict.Verdict {
	p, r := &x.p, x.r
	if p.Type == packet.ICMPRedirect || p.Type == packet.ICMPSourceQuench {
		return verdict.Drop(verdict.DropICMPType)
	}
	if v := beginNew(t, x, false); v != verdict.Next {
		return v
	}
	if p.Quote.Src != p.Dst {
		return verdict.Drop(verdict.DropICMPUnknown) // an error goes to the sender of the packet that it quotes
	}
	q := p.Quote.Reverse()
	c, d := r.Conns.Lookup(&q, t.Now)
	if c == nil || p.Quote.FragOff != 0 {
		if x.in.External && r.closed() && !x.in.Owns(p.Dst) || r.Gateway != nil && r.Gateway.shares(p.Dst) {
			return verdict.Drop(verdict.DropICMPUnknown)
		}
		return verdict.Next // about one-to-one NAT, or about a packet that is not translated
	}
	if r.Interfaces[c.In[d]].External != x.in.External {
		return verdict.Drop(verdict.DropICMPUnknown)
	}
	if quoted := p.Eth[p.Quote.L4:p.End]; q.Proto == packet.ProtoTCP && len(quoted) >= 8 &&
		!r.Conns.MaySend(c, 1-d, binary.BigEndian.Uint32(quoted[4:])) {
		return verdict.Drop(verdict.DropICMPSequence)
	}
	out := c.Translated(d)
	r.Scratch.errPath = errorPath{src: p.Src, dst: out.Dst, quoted: out.Reverse()}
	x.err = &r.Scratch.errPath
	x.fresh.to.Dst = out.Dst
	x.fresh.admitted = true
	switch {
	case p.Src == c.Tuple(d).Src:
		x.err.src = out.Src // the endpoint itself reports
	case x.in.External:
		// A router on the outside path keeps its address.
	case c.NATed() && r.Gateway != nil && r.Gateway.Interface.Owns(out.Src):
		x.err.src = r.externalAddr(p.Src) // an internal router is not shown outside
	}
	return verdict.Next
}

// translateUnknown translates an ICMP error about no known connection. Where only floating
// IPs stand between the two sides, the addresses alone say how the error, and the packet
// it quotes, are translated. An error about a forgotten mapping is dropped.
func translateUnknown(t *loop.Turn, x *passage) verdict.Verdict {
	p, r := &x.p, x.r
	src, q := p.Src, p.Quote.Tuple
	q.Src = x.fresh.to.Dst // the quoted source is the destination of the error: conntrackError has checked it
	if x.leaves() {
		floating, ok := r.Static.Floating(q.Dst)
		switch {
		case !ok && r.Gateway.SNAT:
			return verdict.Drop(verdict.DropICMPUnknown)
		case !ok:
		case src == q.Dst:
			src, q.Dst = floating, floating // the endpoint itself reports
		case r.Gateway.SNAT:
			src, q.Dst = r.externalAddr(src), floating
		default:
			q.Dst = floating
		}
	}
	if src != p.Src || q != p.Quote.Tuple {
		r.Scratch.errPath = errorPath{src: src, dst: x.fresh.to.Dst, quoted: q}
		x.err = &r.Scratch.errPath
	}
	return verdict.Next
}
