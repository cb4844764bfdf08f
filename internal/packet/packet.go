// Package packet is the parsed view of one IPv4 frame and everything that
// changes its bytes: tuples, in-place translation, checksums, segmentation and
// fragmentation.
//
// A Parser fills a Packet in one of two ways. Packet.Parse reads plain frames
// (unfragmented TCP, UDP and ICMP queries without IP options) by fixed offsets,
// in a few nanoseconds. All other frames go through a Decoder, which uses
// gopacket's layers. A differential fuzz test holds the two to the same answer.
//
// Nothing here allocates per packet, keeps state or knows the time.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and numbers from RFC 791, 768, 9293, 792 and 826.
const (
	EthernetLen = 14
	IPv4Len     = 20
	TCPLen      = 20
	UDPLen      = 8
	ICMPLen     = 8

	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100
	EtherTypeQinQ = 0x88a8

	ProtoICMP    = 1
	ProtoTCP     = 6
	ProtoUDP     = 17
	ProtoDCCP    = 33
	ProtoUDPLite = 136
)

// TCP flag bits.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// ICMP types (RFC 792).
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPSourceQuench = 4
	ICMPRedirect     = 5
	ICMPEcho         = 8
	ICMPTimeExceeded = 11
	ICMPParamProblem = 12
)

// A MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsGroup reports whether m is a multicast or the broadcast address.
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsZero reports whether m is all zeros.
func (m MAC) IsZero() bool { return m == MAC{} }

// String writes m as six hexadecimal pairs.
func (m MAC) String() string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, x := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hex[x>>4], hex[x&15])
	}
	return string(b)
}

// A Tuple is what identifies one direction of a connection: protocol, source
// and destination endpoint, in host byte order. The identifier of an ICMP query
// stands for a port: of the source in a request, of the destination in a reply,
// so that reversing the tuple of a request gives that of its reply. Protocols
// without ports leave both zero. The zero Tuple matches no packet.
type Tuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Proto            uint8
}

// Reverse returns the tuple of the opposite direction.
func (t Tuple) Reverse() Tuple {
	return Tuple{t.Dst, t.Src, t.DstPort, t.SrcPort, t.Proto}
}

// String writes t as "tcp 10.0.0.1:1 > 10.0.0.2:80".
func (t Tuple) String() string {
	return ProtoName(t.Proto) + " " + netip.AddrPortFrom(t.Src.Netip(), t.SrcPort).String() +
		" > " + netip.AddrPortFrom(t.Dst.Netip(), t.DstPort).String()
}

// ProtoName is the lower-case name of an IP protocol, or its number.
func ProtoName(proto uint8) string {
	switch proto {
	case ProtoICMP:
		return "icmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	}
	digits := []byte{'0' + proto/100, '0' + proto/10%10, '0' + proto%10}
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return "proto-" + string(digits)
}

// A Packet is a view of one frame. It refers to the caller's buffer and is
// valid as long as that is. Offsets count from the start of the Ethernet header.
type Packet struct {
	Eth  []byte // the Ethernet frame
	VNet []byte // its virtio-net header, HeaderLen bytes right before it; nil: none

	L4  int // start of the transport header
	End int // end of the IP packet; Ethernet padding follows

	// These are zero in most packets. They lie together, so that the compiler clears them at once.
	FragOff uint16 // in bytes
	More    bool   // more fragments
	Options bool   // the IP header carries options
	Flags   uint8  // TCP flags
	Type    uint8  // ICMP type
	Code    uint8  // ICMP code
	Partial bool   // the transport checksum is unfinished (virtio NEEDS_CSUM)

	ID      uint16
	GSOSize uint16 // payload bytes of each segment of a super-frame, 0: not one
	DF      bool
	TTL     uint8
	TOS     uint8

	Tuple

	// Quote is set for an ICMP error: the packet it quotes.
	Quote Quote
}

// A Quote is the packet inside an ICMP error, as far as it is there.
type Quote struct {
	Off     int // offset of the quoted IP header in Eth; 0: no quote
	L4      int // offset of the quoted transport header
	HasPort bool
	FragOff uint16
	Tuple
}

// A Fault says why a frame cannot be handled as IPv4. FaultNone says that it can, and
// NeedsDecoder that the fast parser cannot tell.
type Fault uint8

// The faults of a frame.
const (
	FaultNone      Fault = iota
	NeedsDecoder         // not a fault: ask a Decoder
	FaultShort           // shorter than its headers say
	FaultVersion         // not IP version 4
	FaultHeader          // header length or total length impossible
	FaultChecksum        // IP header checksum wrong
	FaultTransport       // transport header impossible
	FaultQuote           // an ICMP error that quotes nothing usable
	FaultICMPSum         // ICMP checksum wrong
	FaultOffload         // offload metadata that contradicts the frame
)

// Parse fills p from the frame in eth, whose virtio-net header is vnet (nil:
// none). Fields of an earlier frame are overwritten. It answers NeedsDecoder, with p
// only partly filled, for what a Decoder must look at, and a fault for what must
// be dropped. The Ethernet type must have been checked to be IPv4.
func (p *Packet) Parse(eth, vnet []byte) Fault {
	if len(eth) < EthernetLen+IPv4Len {
		return FaultShort
	}
	ip := (*[IPv4Len]byte)(eth[EthernetLen:])
	if ip[0] != 0x45 {
		return parseFirstByte(ip[0])
	}
	if headerSum(ip) != 0xffff {
		return FaultChecksum
	}
	total := int(binary.BigEndian.Uint16(ip[2:]))
	end := EthernetLen + total
	if total < IPv4Len || end > len(eth) {
		return FaultHeader
	}
	frag := binary.BigEndian.Uint16(ip[6:])
	if frag&0x3fff != 0 { // an offset, or more fragments
		return NeedsDecoder
	}
	p.Eth, p.VNet = eth, vnet
	p.L4, p.End = EthernetLen+IPv4Len, end
	p.FragOff, p.More, p.Options, p.Flags, p.Type, p.Code, p.Partial = 0, false, false, 0, 0, 0, false
	p.ID, p.GSOSize = binary.BigEndian.Uint16(ip[4:]), 0
	p.DF = frag&0x4000 != 0
	p.TOS, p.TTL, p.Proto = ip[1], ip[8], ip[9]
	p.Src = ReadAddr(ip[12:])
	p.Dst = ReadAddr(ip[16:])
	p.Quote.Off = 0
	if vnet != nil && binary.LittleEndian.Uint16(vnet) != 0 {
		if f := p.readOffload(); f != FaultNone {
			return f
		}
	}
	return p.parseTransport(eth[EthernetLen+IPv4Len : end])
}

// parseFirstByte judges a version and header length other than the usual.
func parseFirstByte(b byte) Fault {
	switch {
	case b>>4 != 4:
		return FaultVersion
	case b&15 < 5:
		return FaultHeader
	}
	return NeedsDecoder
}

// parseTransport reads the ports of an unfragmented packet, whose transport header is at the start of l4.
func (p *Packet) parseTransport(l4 []byte) Fault {
	p.SrcPort, p.DstPort = 0, 0
	switch p.Proto {
	case ProtoTCP:
		if len(l4) < TCPLen || l4[12]>>4 < 5 || int(l4[12]>>4)*4 > len(l4) {
			return FaultTransport
		}
		p.Flags = l4[13]
		if p.GSOSize != 0 && int(l4[12]>>4)*4 == len(l4) {
			p.GSOSize = 0 // without a payload there is nothing to cut
		}
	case ProtoUDP:
		if len(l4) < UDPLen {
			return FaultTransport
		}
		if len(l4) == UDPLen {
			p.GSOSize = 0 // without a payload there is nothing to cut
		}
		// A super-frame's length field may describe the whole or one segment.
		n := int(binary.BigEndian.Uint16(l4[4:]))
		if p.GSOSize == 0 && (n < UDPLen || n > len(l4)) {
			return FaultTransport
		}
	case ProtoICMP:
		return p.parseICMPQuery(l4)
	default:
		return FaultNone
	}
	p.SrcPort = binary.BigEndian.Uint16(l4)
	p.DstPort = binary.BigEndian.Uint16(l4[2:])
	return FaultNone
}

// parseICMPQuery takes echoes; every other message needs a Decoder.
func (p *Packet) parseICMPQuery(l4 []byte) Fault {
	if len(l4) < ICMPLen {
		return FaultTransport
	}
	p.Type, p.Code = l4[0], l4[1]
	switch p.Type {
	case ICMPEcho:
		p.SrcPort = binary.BigEndian.Uint16(l4[4:])
	case ICMPEchoReply:
		p.DstPort = binary.BigEndian.Uint16(l4[4:])
	default:
		return NeedsDecoder
	}
	if !p.Partial && Sum(l4) != 0xffff {
		return FaultICMPSum // RFC 5508 REQ-3
	}
	return FaultNone
}

// Peek returns the tuple of a plain TCP or UDP packet without looking at anything
// else. It is a guess at what Parse will say, for a caller that prepares a lookup.
func Peek(eth []byte) (Tuple, bool) {
	const l4 = EthernetLen + IPv4Len
	if len(eth) < l4+4 || eth[12] != EtherTypeIPv4>>8 || eth[13] != EtherTypeIPv4&0xff || eth[14] != 0x45 ||
		eth[23] != ProtoTCP && eth[23] != ProtoUDP {
		return Tuple{}, false
	}
	return Tuple{
		Src: ReadAddr(eth[26:]), Dst: ReadAddr(eth[30:]),
		SrcPort: binary.BigEndian.Uint16(eth[l4:]), DstPort: binary.BigEndian.Uint16(eth[l4+2:]), Proto: eth[23],
	}, true
}

// A Segment is what a TCP packet says about its place in the connection. It has no
// references into the frame.
type Segment struct {
	Seq, Ack uint32
	Len      uint32 // sequence numbers it takes: its payload, SYN and FIN
	Window   uint16 // as it stands, not scaled
	Flags    uint8
	Scale    uint8 // of a SYN with a window scale option
	Scaled   bool  // it has one
	Cut      bool  // a first fragment: there is more to Len
}

// Data reports whether a segment has a payload.
func (s *Segment) Data() bool {
	n := s.Len
	if s.Flags&SYN != 0 {
		n--
	}
	if s.Flags&FIN != 0 {
		n--
	}
	return n > 0
}

// ReadSegment fills s from the TCP header of a packet, which Parse has found to be
// there. Later fragments have none.
func (p *Packet) ReadSegment(s *Segment) {
	l4 := p.Eth[p.L4:p.End]
	if p.FragOff != 0 || len(l4) < TCPLen {
		*s = Segment{Cut: true}
		return
	}
	header := min(int(l4[12]>>4)*4, len(l4))
	s.Seq, s.Ack = binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint32(l4[8:])
	s.Window, s.Len = binary.BigEndian.Uint16(l4[14:]), uint32(len(l4)-header)
	s.Flags, s.Scale, s.Scaled, s.Cut = l4[13], 0, false, p.More
	if s.Flags&(SYN|FIN) == 0 {
		return
	}
	if s.Flags&FIN != 0 {
		s.Len++
	}
	if s.Flags&SYN != 0 {
		s.Len++
		if at, n := tcpOption(l4[TCPLen:header], 3); n == 1 {
			s.Scale, s.Scaled = l4[TCPLen+at], true
		}
	}
}

// tcpOption returns where a TCP option's value is, from the end of the fixed header
// on, and how long that is; a length of -1 if the option is not there.
func tcpOption(opts []byte, kind uint8) (at, n int) {
	for at < len(opts)-1 && opts[at] != 0 {
		if opts[at] == 1 {
			at++
			continue
		}
		n := int(opts[at+1])
		if n < 2 || at+n > len(opts) {
			break
		}
		if opts[at] == kind {
			return at + 2, n - 2
		}
		at += n
	}
	return 0, -1
}

// IsICMPError reports whether the packet is an ICMP message about another packet.
func (p *Packet) IsICMPError() bool {
	if p.Proto != ProtoICMP || p.FragOff != 0 {
		return false
	}
	switch p.Type {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPParamProblem:
		return true
	}
	return false
}

// IsQuery reports whether the packet is an ICMP echo or its reply.
func (p *Packet) IsQuery() bool {
	return p.Proto == ProtoICMP && (p.Type == ICMPEcho || p.Type == ICMPEchoReply)
}

// Fragmented reports whether the packet is a fragment.
func (p *Packet) Fragmented() bool { return p.FragOff != 0 || p.More }

// Atomic reports whether the packet is not a fragment and will not be made into any:
// its identification means nothing (RFC 6864, 4).
func (p *Packet) Atomic() bool { return p.DF && p.FragOff == 0 && !p.More }

// SourceMAC returns the sender's Ethernet address.
func (p *Packet) SourceMAC() MAC { return MAC(p.Eth[6:12]) }

// HeaderLen is the length of Ethernet's payload up to the transport payload:
// IP and transport headers, in bytes.
func (p *Packet) HeaderLen() int {
	n := p.L4 - EthernetLen
	switch p.Proto {
	case ProtoTCP:
		n += int(p.Eth[p.L4+12]>>4) * 4
	case ProtoUDP:
		n += UDPLen
	}
	return n
}

// IPLen is the size of the largest IP packet that this frame stands for: the
// whole, or one segment of a super-frame. MTU decisions use it.
func (p *Packet) IPLen() int {
	n := p.End - EthernetLen
	if p.GSOSize == 0 {
		return n
	}
	return min(n, p.HeaderLen()+int(p.GSOSize))
}

// Segments is the number of packets that this frame stands for, at least one.
func (p *Packet) Segments() int {
	if p.GSOSize == 0 {
		return 1
	}
	size := int(p.GSOSize)
	return max(1, (p.End-EthernetLen-p.HeaderLen()+size-1)/size)
}
