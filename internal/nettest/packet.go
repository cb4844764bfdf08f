package nettest

import (
	"encoding/binary"
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
)

// A field is a bit for each word of the language that a line has.
type field uint32

const (
	hasTTL field = 1 << iota
	hasID
	hasTOS
	hasLen
	hasSeq
	hasAck
	hasWin
	hasOptions
	hasIPOptions
	hasEchoID
	hasEchoSeq
	hasMTU
	hasData
	hasSum
	hasIPSum
	hasCut
	hasOf
	hasOff
	hasFlags
	hasPorts
	hasPad
	hasPointer
)

// An ipPacket is a parsed line about an IPv4 packet.
type ipPacket struct {
	given field

	proto            uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
	ttl, tos         uint8
	id               uint16
	df, more         bool
	off              int // in bytes
	ipOptions        []byte

	length int    // bytes after the transport header, in this packet
	of     int    // and in the whole
	data   []byte // instead of the pattern
	cut    int
	pad    int // zero bytes behind the packet, as short Ethernet frames have
	sum    uint16
	ipSum  uint16

	flags    uint8
	seq, ack uint32
	window   uint16
	options  []byte // of TCP

	typ, code       uint8
	echoID, echoSeq uint16 // echoes
	mtu             uint16 // fragmentation needed
	pointer         uint8  // parameter problem
	quote           *ipPacket
}

// newPacket has the defaults.
func newPacket(proto uint8) *ipPacket {
	return &ipPacket{proto: proto, ttl: 64, id: 7, window: 65535}
}

func (p *ipPacket) has(f field) bool { return p.given&f != 0 }

func (p *ipPacket) echo() bool {
	return p.typ == packet.ICMPEcho || p.typ == packet.ICMPEchoReply
}

// pattern is the payload: bytes that differ by their position in the IP payload.
func pattern(b []byte, at int) {
	for i := range b {
		b[i] = byte((at + i) * 7)
	}
}

// transportLen is the length of the transport header; a later fragment has none.
func (p *ipPacket) transportLen() int {
	if p.off > 0 {
		return 0
	}
	switch p.proto {
	case packet.ProtoTCP:
		return packet.TCPLen + len(p.options)
	case packet.ProtoUDP:
		return packet.UDPLen
	case packet.ProtoICMP:
		return packet.ICMPLen
	}
	return 0
}

// bytes builds the packet.
func (p *ipPacket) bytes() []byte {
	header := packet.IPv4Len + len(p.ipOptions)
	whole := p.payload()
	l4 := p.transport(whole)
	if p.off == 0 && p.has(hasOf) && len(l4) > p.transportLen()+p.length {
		l4 = l4[:p.transportLen()+p.length] // a first fragment
	}
	b := make([]byte, header, header+len(l4))
	b[0], b[1] = byte(4<<4|header/4), p.tos
	binary.BigEndian.PutUint16(b[2:], uint16(header+len(l4)))
	binary.BigEndian.PutUint16(b[4:], p.id)
	fragment := uint16(p.off / 8)
	if p.df {
		fragment |= 1 << 14
	}
	if p.more {
		fragment |= 1 << 13
	}
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = p.ttl, p.proto
	put4(b[12:], p.src)
	put4(b[16:], p.dst)
	copy(b[20:], p.ipOptions)
	binary.BigEndian.PutUint16(b[10:], checksum(packet.ProtoICMP, p.src, p.dst, b))
	if p.has(hasIPSum) {
		binary.BigEndian.PutUint16(b[10:], p.ipSum)
	}
	b = append(b, l4...)
	if p.has(hasCut) && p.cut < len(b) {
		b = b[:p.cut]
	}
	return append(b, make([]byte, p.pad)...)
}

func put4(b []byte, a netip.Addr) {
	a4 := a.As4()
	copy(b, a4[:])
}

// payload is what follows the transport header, of the whole where this is a
// first fragment.
func (p *ipPacket) payload() []byte {
	if p.quote != nil {
		return p.quote.bytes()
	}
	if p.has(hasData) {
		return p.data
	}
	n := p.length
	if p.off == 0 && p.has(hasOf) {
		n = p.of
	}
	b := make([]byte, n)
	pattern(b, p.off+p.transportLen())
	return b
}

// transport is the transport header, with its checksum, and the payload.
func (p *ipPacket) transport(payload []byte) []byte {
	n := p.transportLen()
	b := make([]byte, n+len(payload))
	copy(b[n:], payload)
	if n == 0 {
		return b
	}
	at := p.putTransport(b)
	sum := checksum(p.proto, p.src, p.dst, b)
	if p.has(hasSum) {
		sum = p.sum
	}
	binary.BigEndian.PutUint16(b[at:], sum)
	return b
}

// putTransport writes a header without its checksum, and says where that goes.
func (p *ipPacket) putTransport(b []byte) (sumAt int) {
	if p.proto == packet.ProtoICMP {
		b[0], b[1] = p.typ, p.code
		if p.echo() {
			binary.BigEndian.PutUint16(b[4:], p.echoID)
			binary.BigEndian.PutUint16(b[6:], p.echoSeq)
		} else {
			b[4] = p.pointer
			binary.BigEndian.PutUint16(b[6:], p.mtu)
		}
		return 2
	}
	binary.BigEndian.PutUint16(b[0:], p.srcPort)
	binary.BigEndian.PutUint16(b[2:], p.dstPort)
	if p.proto == packet.ProtoUDP {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		return 6
	}
	binary.BigEndian.PutUint32(b[4:], p.seq)
	binary.BigEndian.PutUint32(b[8:], p.ack)
	b[12], b[13] = byte((packet.TCPLen+len(p.options))/4<<4), p.flags
	binary.BigEndian.PutUint16(b[14:], p.window)
	copy(b[packet.TCPLen:], p.options)
	return 16
}

// checksum computes a transport checksum over a header whose field is zero. It
// does so apart from the code under test.
func checksum(proto uint8, src, dst netip.Addr, l4 []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for i := 0; i < len(b); i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < len(b) {
				w |= uint32(b[i+1])
			}
			sum += w
		}
	}
	if proto != packet.ProtoICMP {
		s, d := src.As4(), dst.As4()
		add(s[:])
		add(d[:])
		sum += uint32(proto) + uint32(len(l4))
	}
	add(l4)
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	if proto == packet.ProtoUDP && ^uint16(sum) == 0 {
		return 0xffff // RFC 768: zero says that there is none
	}
	return ^uint16(sum)
}
