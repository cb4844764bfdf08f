package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// A Decoder reads the frames for which Packet.Parse answers NeedsDecoder
// (fragments, IP options, ICMP messages other than echoes) with gopacket's
// layers. The zero value is ready. It is reused for every frame and not safe for
// concurrent use.
type Decoder struct {
	ip     layers.IPv4
	icmp   layers.ICMPv4
	quoted layers.IPv4
	plain  [IPv4Len]byte
}

// Decode fills p from any IPv4 frame, as Parse does for plain ones.
//
// Layer by layer, not by gopacket's DecodingLayerParser: that one decodes the
// inner header of an IP-in-IP packet over the outer one. TCP and UDP are left to
// the fields that Parse reads: gopacket refuses a segment for an option that a
// router has no business with.
func (d *Decoder) Decode(p *Packet, eth, vnet []byte) Fault {
	*p = Packet{Eth: eth, VNet: vnet}
	if len(eth) < EthernetLen+IPv4Len {
		return FaultShort
	}
	if eth[EthernetLen]>>4 != 4 {
		return FaultVersion
	}
	if !d.decodeIP(&d.ip, eth[EthernetLen:]) {
		return FaultHeader
	}
	if f := d.takeIP(p); f != FaultNone {
		return f
	}
	if vnet != nil && binary.LittleEndian.Uint16(vnet) != 0 {
		if f := p.readOffload(); f != FaultNone {
			return f
		}
		if p.Fragmented() && (p.GSOSize != 0 || p.Partial) {
			return FaultOffload
		}
	}
	if p.FragOff != 0 {
		return FaultNone
	}
	if p.More {
		return d.takeFirstFragment(p)
	}
	if fault := p.parseTransport(p.Eth[p.L4:p.End]); fault != NeedsDecoder {
		return fault
	}
	if !decode(&d.icmp, eth[p.L4:p.End]) {
		return FaultTransport
	}
	return d.takeICMP(p)
}

// takeIP copies the IP header's fields.
func (d *Decoder) takeIP(p *Packet) Fault {
	ip := &d.ip
	words := p.Eth[EthernetLen] & 15
	p.L4 = EthernetLen + int(words)*4
	// Not ip.Length: gopacket replaces a length of zero.
	p.End = EthernetLen + int(binary.BigEndian.Uint16(p.Eth[EthernetLen+2:]))
	if words < 5 || p.End > len(p.Eth) || p.L4 > p.End {
		return FaultHeader
	}
	if Sum(p.Eth[EthernetLen:p.L4]) != 0xffff {
		return FaultChecksum
	}
	p.Options = words > 5
	p.ID, p.TOS, p.TTL, p.Proto = ip.Id, ip.TOS, ip.TTL, uint8(ip.Protocol)
	p.DF = ip.Flags&layers.IPv4DontFragment != 0
	p.More = ip.Flags&layers.IPv4MoreFragments != 0
	p.FragOff = ip.FragOffset * 8
	p.Src = ReadAddr(ip.SrcIP)
	p.Dst = ReadAddr(ip.DstIP)
	if int(p.FragOff)+p.End-p.L4 > 65535 {
		return FaultHeader // reassembles to more than a packet can be
	}
	if p.More && (p.End-p.L4)%8 != 0 {
		return FaultHeader
	}
	if p.Proto == ProtoTCP && p.FragOff == 8 {
		return FaultTransport // it would replace the flags of the first one (RFC 1858, RFC 3128)
	}
	return FaultNone
}

// takeFirstFragment reads the ports, which gopacket leaves alone in a fragment.
// One too short to hold them is refused (RFC 1858, the tiny fragment attack).
func (d *Decoder) takeFirstFragment(p *Packet) Fault {
	l4 := p.Eth[p.L4:p.End]
	switch p.Proto {
	case ProtoTCP:
		if len(l4) < TCPLen || l4[12]>>4 < 5 {
			return FaultTransport
		}
		p.Flags = l4[13]
	case ProtoUDP, ProtoICMP:
		if len(l4) < UDPLen {
			return FaultTransport
		}
	default:
		return FaultNone
	}
	if p.Proto == ProtoICMP {
		return p.takeQueryFragment(l4)
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	return FaultNone
}

// takeQueryFragment takes a fragmented echo. Its checksum covers bytes that are
// not here; no other ICMP message is ever so long.
func (p *Packet) takeQueryFragment(l4 []byte) Fault {
	p.Type, p.Code = l4[0], l4[1]
	switch p.Type {
	case ICMPEcho:
		p.SrcPort = binary.BigEndian.Uint16(l4[4:])
	case ICMPEchoReply:
		p.DstPort = binary.BigEndian.Uint16(l4[4:])
	default:
		return FaultTransport
	}
	return FaultNone
}

// takeICMP takes the ICMP messages that are no echoes.
func (d *Decoder) takeICMP(p *Packet) Fault {
	p.Type, p.Code = d.icmp.TypeCode.Type(), d.icmp.TypeCode.Code()
	if !p.Partial && Sum(p.Eth[p.L4:p.End]) != 0xffff {
		return FaultICMPSum
	}
	if p.IsICMPError() {
		return d.takeQuote(p)
	}
	return FaultNone
}

// takeQuote reads the packet that an ICMP error quotes: at least its header and
// the first eight bytes behind it (RFC 792). The quote's total length is that
// of the whole packet. Its transport checksum is not looked at (RFC 5508, REQ-3c).
func (d *Decoder) takeQuote(p *Packet) Fault {
	off := p.L4 + ICMPLen
	quote := p.Eth[off:p.End]
	if len(quote) < IPv4Len || quote[0]>>4 != 4 {
		return FaultQuote
	}
	if !d.decodeIP(&d.quoted, quote) {
		return FaultQuote
	}
	n := int(quote[0]&15) * 4
	if n < IPv4Len || n > len(quote) || Sum(quote[:n]) != 0xffff {
		return FaultQuote // RFC 5508 REQ-3a
	}
	q := &p.Quote
	q.Off, q.L4 = off, off+n
	q.FragOff = d.quoted.FragOffset * 8
	q.Proto = uint8(d.quoted.Protocol)
	q.Src = ReadAddr(d.quoted.SrcIP)
	q.Dst = ReadAddr(d.quoted.DstIP)
	if q.FragOff == 0 {
		q.takePorts(quote[n:])
	}
	return FaultNone
}

// takePorts reads the quoted ports if the quote reaches that far.
func (q *Quote) takePorts(l4 []byte) {
	if len(l4) < 8 {
		return
	}
	switch q.Proto {
	case ProtoTCP, ProtoUDP:
		q.SrcPort, q.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case ProtoICMP:
		switch l4[0] {
		case ICMPEcho:
			q.SrcPort = binary.BigEndian.Uint16(l4[4:])
		case ICMPEchoReply:
			q.DstPort = binary.BigEndian.Uint16(l4[4:])
		default:
			return
		}
	default:
		return
	}
	q.HasPort = true
}

// decodeIP decodes the fixed part of an IPv4 header, which must be there. gopacket does
// not decode the options: it refuses options of two bytes, and a router must answer malformed ones
// (ReadOptions).
func (d *Decoder) decodeIP(ip *layers.IPv4, header []byte) bool {
	copy(d.plain[:], header)
	d.plain[0] = d.plain[0]&0xf0 | IPv4Len/4
	return decode(ip, d.plain[:])
}

// decode runs one of gopacket's decoders. Some panic on lengths that reach past
// the frame (layers.ARP of v1.1.19 does), and frames come from anybody.
func decode(l gopacket.DecodingLayer, data []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return l.DecodeFromBytes(data, gopacket.NilDecodeFeedback) == nil
}

// An ARP is a decoded ARP message for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Request              bool
	SenderMAC, TargetMAC MAC
	Sender, Target       Addr
}

// DecodeARP reads an ARP frame. It reports false for other hardware or protocol
// types, wrong lengths and other operations.
func DecodeARP(eth []byte) (ARP, bool) {
	if len(eth) < ARPLen || binary.BigEndian.Uint16(eth[12:]) != EtherTypeARP {
		return ARP{}, false
	}
	var m layers.ARP
	if !decode(&m, eth[EthernetLen:]) {
		return ARP{}, false
	}
	// gopacket keeps the lower half of the hardware type only.
	if eth[EthernetLen] != 0 || m.AddrType != layers.LinkTypeEthernet || m.Protocol != layers.EthernetTypeIPv4 ||
		m.HwAddressSize != 6 || m.ProtAddressSize != 4 ||
		m.Operation != layers.ARPRequest && m.Operation != layers.ARPReply {
		return ARP{}, false
	}
	return ARP{
		Request:   m.Operation == layers.ARPRequest,
		SenderMAC: MAC(m.SourceHwAddress), TargetMAC: MAC(m.DstHwAddress),
		Sender: ReadAddr(m.SourceProtAddress), Target: ReadAddr(m.DstProtAddress),
	}, true
}

// PutARP writes the ARP frame m from src to dst into b, which must be 42 bytes
// long, and returns it.
func PutARP(b []byte, src, dst MAC, m ARP) []byte {
	copy(b[0:], dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], EtherTypeARP)
	copy(b[14:], []byte{0, 1, 8, 0, 6, 4, 0, 2})
	if m.Request {
		b[21] = 1
	}
	copy(b[22:], m.SenderMAC[:])
	m.Sender.Put(b[28:])
	copy(b[32:], m.TargetMAC[:])
	m.Target.Put(b[38:])
	return b[:ARPLen]
}

// ARPLen is the length of an ARP frame without padding.
const ARPLen = EthernetLen + 28
