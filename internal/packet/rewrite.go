package packet

import "encoding/binary"

// A Rewrite is what a translation does to every packet of one direction of a
// connection. The deltas are what the checksums change by, so that applying it
// costs the same for every packet size.
type Rewrite struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	AddrDelta        uint16 // of both addresses: IP header and pseudo header
	PortDelta        uint16 // of both ports, or of an ICMP identifier
}

// NewRewrite returns the rewrite that gives packets of one tuple another: a packet
// with the tuple from has the tuple to afterwards.
func NewRewrite(from, to Tuple) Rewrite {
	return Rewrite{
		Src: to.Src, Dst: to.Dst, SrcPort: to.SrcPort, DstPort: to.DstPort,
		AddrDelta: add(deltaAddr(from.Src, to.Src), deltaAddr(from.Dst, to.Dst)),
		PortDelta: add(delta16(from.SrcPort, to.SrcPort), delta16(from.DstPort, to.DstPort)),
	}
}

// DecrementTTL takes one off the TTL, which must not be 0 (RFC 1812, 5.3.1; the
// checksum is adjusted after RFC 1624).
func (p *Packet) DecrementTTL() {
	ip := p.header()
	ip[8]--
	sum := binary.BigEndian.Uint16(ip[10:])
	binary.BigEndian.PutUint16(ip[10:], update(sum, ttlDelta))
}

// SetID changes the IPv4 identification.
func (p *Packet) SetID(id uint16) {
	ip := p.header()
	sum := binary.BigEndian.Uint16(ip[10:])
	binary.BigEndian.PutUint16(ip[10:], update2(sum, ^p.ID, id))
	binary.BigEndian.PutUint16(ip[4:], id)
	p.ID = id
}

// Translate applies r to the packet's bytes. A fragment other than the first
// has no transport header and changes its addresses only.
func (p *Packet) Translate(r *Rewrite) {
	ip := p.header()
	r.Src.Put(ip[12:])
	r.Dst.Put(ip[16:])
	sum := binary.BigEndian.Uint16(ip[10:])
	binary.BigEndian.PutUint16(ip[10:], update(sum, r.AddrDelta))
	if p.FragOff == 0 {
		p.translateTransport(r)
	}
}

func (p *Packet) translateTransport(r *Rewrite) {
	l4 := p.Eth[p.L4:p.End]
	switch p.Proto {
	case ProtoTCP:
		// A first fragment may end before the checksum.
		putPorts(l4, r)
		if len(l4) >= 18 {
			sum := binary.BigEndian.Uint16(l4[16:18])
			binary.BigEndian.PutUint16(l4[16:18], p.adjust(sum, r.AddrDelta, r.PortDelta))
		}
	case ProtoUDP:
		h := (*[UDPLen]byte)(l4)
		putPorts(h[:], r)
		if sum := binary.BigEndian.Uint16(h[6:]); sum != 0 || p.Partial { // RFC 768: 0 is no checksum
			sum = p.adjust(sum, r.AddrDelta, r.PortDelta)
			if sum == 0 && !p.Partial {
				sum = 0xffff
			}
			binary.BigEndian.PutUint16(h[6:], sum)
		}
	case ProtoICMP:
		p.translateQuery(l4, r)
	case ProtoDCCP, ProtoUDPLite:
		if len(l4) >= 8 {
			binary.BigEndian.PutUint16(l4[6:], p.adjust(binary.BigEndian.Uint16(l4[6:]), r.AddrDelta, 0))
		}
	}
}

// header is the fixed part of the IP header.
func (p *Packet) header() *[IPv4Len]byte {
	return (*[IPv4Len]byte)(p.Eth[EthernetLen : EthernetLen+IPv4Len])
}

func putPorts(l4 []byte, r *Rewrite) {
	h := (*[4]byte)(l4)
	binary.BigEndian.PutUint16(h[:], r.SrcPort)
	binary.BigEndian.PutUint16(h[2:], r.DstPort)
}

// adjust applies the deltas of addresses and ports to a transport checksum. An unfinished one holds the sum of
// the pseudo header, not complemented. Only the addresses are in that sum; the ports
// are added when the checksum is finished.
func (p *Packet) adjust(sum, addr, port uint16) uint16 {
	if p.Partial {
		return add(sum, addr)
	}
	return update2(sum, addr, port)
}

// translateQuery changes the identifier of an ICMP echo. ICMP has no pseudo header.
func (p *Packet) translateQuery(l4 []byte, r *Rewrite) {
	switch p.Type {
	case ICMPEcho:
		binary.BigEndian.PutUint16(l4[4:], r.SrcPort)
	case ICMPEchoReply:
		binary.BigEndian.PutUint16(l4[4:], r.DstPort)
	default:
		return
	}
	if !p.Partial {
		sum := binary.BigEndian.Uint16(l4[2:])
		binary.BigEndian.PutUint16(l4[2:], update(sum, r.PortDelta))
	}
}

// TranslateError rewrites an ICMP error: its own addresses become src and dst,
// and the packet it quotes gets the tuple quoted (RFC 5508, REQ-4 and REQ-5). The quoted
// transport checksum is adjusted where the quote reaches that far, so that the
// receiver sees the packet as it sent it. The ICMP checksum is computed anew.
func (p *Packet) TranslateError(src, dst Addr, quoted Tuple) {
	ip := p.Eth[EthernetLen:]
	delta := add(deltaAddr(p.Src, src), deltaAddr(p.Dst, dst))
	src.Put(ip[12:])
	dst.Put(ip[16:])
	binary.BigEndian.PutUint16(ip[10:], update(binary.BigEndian.Uint16(ip[10:]), delta))

	inner := Packet{
		Eth: p.Eth[p.Quote.Off-EthernetLen:], L4: p.Quote.L4 - p.Quote.Off + EthernetLen,
		End: p.End - p.Quote.Off + EthernetLen, FragOff: p.Quote.FragOff, Tuple: p.Quote.Tuple,
	}
	r := NewRewrite(p.Quote.Tuple, quoted)
	inner.translateQuoted(&r, p.Quote.HasPort)

	l4 := p.Eth[p.L4:p.End]
	l4[2], l4[3] = 0, 0
	binary.BigEndian.PutUint16(l4[2:], ^Sum(l4))
}

// translateQuoted is Translate for a packet that may be cut off anywhere.
func (p *Packet) translateQuoted(r *Rewrite, hasPort bool) {
	ip := p.header()
	r.Src.Put(ip[12:])
	r.Dst.Put(ip[16:])
	binary.BigEndian.PutUint16(ip[10:], update(binary.BigEndian.Uint16(ip[10:]), r.AddrDelta))
	if !hasPort {
		return
	}
	if p.Proto == ProtoICMP {
		p.Type = p.Eth[p.L4]
	}
	if p.Proto == ProtoUDP && p.End-p.L4 < UDPLen {
		putPorts(p.Eth[p.L4:], r)
		return
	}
	p.translateTransport(r)
}

// ClampMSS lowers the maximum segment size option of a TCP SYN to mss, never
// raises it, and reports whether it changed anything (RFC 9293, 3.7.1).
func (p *Packet) ClampMSS(mss uint16) bool {
	l4 := p.Eth[p.L4:p.End]
	if p.Proto != ProtoTCP || p.FragOff != 0 || len(l4) < TCPLen || l4[12]>>4 < 5 {
		return false
	}
	at, n := tcpOption(l4[TCPLen:min(len(l4), int(l4[12]>>4)*4)], 2)
	if n != 2 {
		return false
	}
	at += TCPLen
	return p.lowerMSS(l4, l4[at:at+2], at, mss)
}

func (p *Packet) lowerMSS(l4, field []byte, at int, mss uint16) bool {
	old := binary.BigEndian.Uint16(field)
	if old <= mss {
		return false
	}
	binary.BigEndian.PutUint16(field, mss)
	if p.Partial {
		return true // the checksum is finished later, over the new bytes
	}
	delta := delta16(old, mss)
	if at%2 != 0 { // the option may start at an odd offset
		delta = delta<<8 | delta>>8
	}
	binary.BigEndian.PutUint16(l4[16:], update(binary.BigEndian.Uint16(l4[16:]), delta))
	return true
}
