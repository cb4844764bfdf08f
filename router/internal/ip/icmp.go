package ip

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// answerEcho turns an echo request for the router into its reply, in place (RFC 792; RFC 1122, 3.2.2.6), where the
// rate limit allows.
func answerEcho(t *loop.Turn, x *passage) verdict.Verdict {
	p := &x.p
	if !x.r.echoes.allow(p.Src, t.Now) {
		return verdict.Drop(verdict.DropEchoRate)
	}
	p.CompleteChecksum()
	ip, icmp := p.Eth[packet.EthernetLen:p.End], p.Eth[p.L4:p.End]
	src, dst := p.Src, p.Dst
	dst.Put(ip[12:])
	src.Put(ip[16:])
	ip[8] = originTTL
	if p.Options {
		record(t, x, x.in, src) // the way here and back (RFC 1812, 4.3.3.6)
	}
	if !p.Atomic() {
		binary.BigEndian.PutUint16(ip[4:], x.r.idents.take(dst, src, p.Proto, 1))
	}
	packet.SetIPv4Checksum(ip)
	icmp[0] = packet.ICMPEchoReply
	packet.SetTransportChecksum(ip)
	eth := p.Eth
	copy(eth[0:6], eth[6:12])
	copy(eth[6:12], x.in.MAC[:])
	if len(ip) > x.in.MTU {
		x.out = x.in
		sendFragments(t, x)
		return verdict.Consumed
	}
	x.in.TransmitMade(t, x.frame, &x.p)
	return verdict.Consumed
}

// originTTL is the time to live of packets that the router makes (RFC 1700).
const originTTL = 64

// refuse answers a packet that reached the router itself, or a VIP without
// members, as a host with no listener does: RST, port or protocol unreachable
// (RFC 1122, 3.2.2.1; RFC 9293, 3.10.7.1).
func refuse(t *loop.Turn, x *passage, reason verdict.DropReason) verdict.Verdict {
	switch x.p.Proto {
	case packet.ProtoTCP:
		sendReset(t, x)
		return verdict.Drop(reason)
	case packet.ProtoICMP:
		return verdict.Drop(reason)
	case packet.ProtoUDP:
		return sendError(t, x, packet.ICMPUnreachable, 3, 0, reason)
	}
	return sendError(t, x, packet.ICMPUnreachable, 2, 0, reason)
}

// resetBoth tells the two sides of a TCP connection that it is over. A side that
// does not get it, or asks back because it has not got all that was sent before
// (RFC 5961, 3.2), is told again when it sends something.
func (r *Router) resetBoth(t *loop.Turn, c *conntrack.Conn) {
	for d := range conntrack.Direction(2) {
		r.Cut.add(c.Tuple(d), t.Now)
		to, segment, ok := r.Conns.Reset(c, d)
		switch rt, way := r.Routes.Lookup(to.Dst.Netip()); {
		case !ok:
			t.Stats.Unsent[verdict.UnsentSequence]++
		case !way || r.Interfaces[c.In[d]].Gone && !r.leaving || rt.Out.External != r.Interfaces[c.In[d]].External:
			t.Stats.Unsent[verdict.UnsentRoute]++ // no route to the side, or one out of the other side of the gateway
		default:
			r.sendSegment(t, to, &segment)
		}
	}
}

// sendSegment sends a TCP segment without data in the name of its source. It does so only if the neighbor
// on the way is known: a RST is not worth an ARP request.
func (r *Router) sendSegment(t *loop.Turn, tuple packet.Tuple, s *packet.Segment) {
	rt, ok := r.Routes.Lookup(tuple.Dst.Netip())
	if !ok {
		t.Stats.Unsent[verdict.UnsentRoute]++
		return
	}
	hop := rt.Via
	if hop == 0 {
		hop = tuple.Dst
	}
	n := r.Neighbors.Find(neighbor.Key{Iface: rt.Out.ID, Addr: hop})
	if n == nil || !n.Usable() {
		t.Stats.Unsent[verdict.UnsentNeighbor]++
		return
	}
	f := t.Alloc(packet.EthernetLen + packet.IPv4Len + packet.TCPLen)
	eth := f.Ethernet()
	r.putIPv4(eth, rt.Out.MAC, n.MAC, tuple, 0)
	tcp := eth[packet.EthernetLen+packet.IPv4Len:]
	binary.BigEndian.PutUint16(tcp, tuple.SrcPort)
	binary.BigEndian.PutUint16(tcp[2:], tuple.DstPort)
	binary.BigEndian.PutUint32(tcp[4:], s.Seq)
	binary.BigEndian.PutUint32(tcp[8:], s.Ack)
	tcp[12], tcp[13] = packet.TCPLen/4<<4, s.Flags
	packet.SetTransportChecksum(eth[packet.EthernetLen:])
	rt.Out.SendMade(t, f)
}

// sendReset answers a TCP segment with a RST that its sender will accept (RFC 9293, 3.10.7.1).
func sendReset(t *loop.Turn, x *passage) {
	p := &x.p
	switch {
	case p.FragOff != 0 || p.Flags&packet.RST != 0:
		return // only the first fragment has the TCP header, and nothing answers a RST
	case p.More: // neither the end of its header nor its length is known
		t.Stats.Unsent[verdict.UnsentFragment]++
		return
	case !x.r.Errors.allow(p.Src, t.Now):
		t.Stats.Unsent[verdict.UnsentRate]++
		return
	}
	f := t.Alloc(packet.EthernetLen + packet.IPv4Len + packet.TCPLen)
	eth := f.Ethernet()
	x.fillIPv4(eth, packet.ProtoTCP, p.Dst, p.TOS)
	in, out := p.Eth[p.L4:p.End], eth[packet.EthernetLen+packet.IPv4Len:]
	copy(out[0:2], in[2:4])
	copy(out[2:4], in[0:2])
	seq, ack := binary.BigEndian.Uint32(in[4:]), binary.BigEndian.Uint32(in[8:])
	out[12], out[13] = 5<<4, packet.RST
	if p.Flags&packet.ACK != 0 {
		binary.BigEndian.PutUint32(out[4:], ack)
	} else {
		n := uint32(p.End - packet.EthernetLen - p.HeaderLen())
		n += uint32(p.Flags&packet.SYN>>1) + uint32(p.Flags&packet.FIN)
		binary.BigEndian.PutUint32(out[8:], seq+n)
		out[13] |= packet.ACK
	}
	packet.SetTransportChecksum(eth[packet.EthernetLen:])
	x.in.SendMade(t, f)
}

// fillIPv4 writes the Ethernet and IP headers of an answer to the passage's packet, from src. The
// length of eth says how long the answer is.
func (x *passage) fillIPv4(eth []byte, proto uint8, src packet.Addr, tos uint8) {
	x.r.putIPv4(eth, x.in.MAC, x.p.SourceMAC(), packet.Tuple{Src: src, Dst: x.p.Src, Proto: proto}, tos)
}

// putIPv4 writes the Ethernet and IP headers of a packet that the router makes. t.SrcPort and t.DstPort are not used.
func (r *Router) putIPv4(eth []byte, from, to packet.MAC, t packet.Tuple, tos uint8) {
	copy(eth[0:6], to[:])
	copy(eth[6:12], from[:])
	binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeIPv4)
	ip := eth[packet.EthernetLen:]
	ip[0], ip[1] = 0x45, tos
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], r.idents.take(t.Src, t.Dst, t.Proto, 1))
	ip[8], ip[9] = originTTL, t.Proto
	t.Src.Put(ip[12:])
	t.Dst.Put(ip[16:])
	packet.SetIPv4Checksum(ip)
}

const (
	// errorLen is the size in bytes of the largest ICMP error, with its IP header (RFC 1812, 4.3.2.3).
	errorLen = 576
	// errorTOS is the type of service of ICMP errors, internetwork control (RFC 1812, 4.3.2.5).
	errorTOS = 0xc0
)

// sendError tells the sender of a packet, with an ICMP error of this type and
// code, why it was dropped, where an error may be sent (RFC 1812, 4.3.2.7) and
// the rate limit allows. mtu goes into fragmentation needed (RFC 1191).
func sendError(t *loop.Turn, x *passage, typ, code uint8, mtu int, reason verdict.DropReason) verdict.Verdict {
	return report(t, x, typ, code, uint32(mtu), reason)
}

// report is sendError for a type that has something else in the second word of its header (RFC 792).
func report(t *loop.Turn, x *passage, typ, code uint8, second uint32, reason verdict.DropReason) verdict.Verdict {
	p := &x.p
	if !errorAllowed(x) {
		return verdict.Drop(reason)
	}
	// The host of the router's own checks gets every error.
	if !x.in.Checks && !x.r.Errors.allow(p.Src, t.Now) {
		t.Stats.Unsent[verdict.UnsentRate]++
		return verdict.Drop(reason)
	}
	quote := quote(t, p, min(errorLen, x.in.MTU))
	f := t.Alloc(packet.EthernetLen + packet.IPv4Len + packet.ICMPLen + len(quote))
	eth := f.Ethernet()
	x.fillIPv4(eth, packet.ProtoICMP, x.errorSource(), errorTOS)
	icmp := eth[packet.EthernetLen+packet.IPv4Len:]
	icmp[0], icmp[1] = typ, code
	binary.BigEndian.PutUint32(icmp[4:], second)
	copy(icmp[packet.ICMPLen:], quote)
	packet.SetTransportChecksum(eth[packet.EthernetLen:])
	x.in.SendMade(t, f)
	return verdict.Drop(reason)
}

// quote is the beginning of a packet, as an ICMP error of at most so many bytes quotes it. Of a
// super-frame it is the first of its segments.
func quote(t *loop.Turn, p *packet.Packet, most int) []byte {
	p.CompleteChecksum()
	eth := p.Eth[:p.End]
	if p.GSOSize != 0 {
		if first := p.FirstSegment(func(n int) []byte { f := t.Alloc(n); return f.Ethernet() }); first != nil {
			eth = first
		}
	}
	ip := eth[packet.EthernetLen:]
	return ip[:min(len(ip), most-packet.IPv4Len-packet.ICMPLen)]
}

// errorSource is the address that an ICMP error comes from: the router's address on the interface the error leaves by
// (RFC 1812, 4.3.2.4). If the packet was refused at one of the router's own addresses,
// the error comes from that address, as a host's answer does.
func (x *passage) errorSource() packet.Addr {
	if x.out == nil && (x.r.IsLocal(x.p.Dst) || x.r.Static.Owns(x.p.Dst)) {
		return x.p.Dst
	}
	return x.in.Shows(x.p.Src, x.p.Src)
}

// errorAllowed applies the rules about when no ICMP error is sent (RFC 1812, 4.3.2.7).
func errorAllowed(x *passage) bool {
	p := &x.p
	switch {
	case p.IsICMPError(), p.FragOff != 0, p.Eth[0]&1 != 0:
		return false
	case p.Src == 0, p.Src>>24 == 127, p.Src >= 0xe0000000, p.Dst >= 0xe0000000:
		return false
	}
	for _, i := range x.r.Interfaces[1:] {
		if i.isBroadcast(p.Dst) {
			return false
		}
	}
	return !x.in.isBroadcast(p.Src) && (Forwardable(p.Src) || x.in.onLink(p.Src))
}

// ready reports whether the bucket has a token. rate is how many come back in a second, burst how many there are.
