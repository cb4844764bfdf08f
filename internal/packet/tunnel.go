package packet

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/tap/virtio"
)

// The kernel also has super-frames of connections inside of tunnels: a sender that leaves segmentation to its device
// makes them, and generic receive offload does. A virtio-net header has no word for the tunnel. It tells such a frame
// from others only by the checksum, which is that of the inner packet. No device takes such a frame back, because its
// outer headers could not be cut. So it is cut when it comes in.

// IP protocols of tunnels.
const (
	protoIPIP = 4
	protoIPv6 = 41
	protoGRE  = 47

	etherTypeIPv6 = 0x86dd
	ipv6Len       = 40
	greChecksum   = 0x80 // in the first byte of a GRE header (RFC 2784): it has a checksum
	greNumbered   = 0x10 // it has sequence numbers (RFC 2890), so that its packets cannot be cut
)

// A tunnelled super-frame: where its parts are, counted from the first byte of the Ethernet frame.
type tunnelled struct {
	eth      []byte
	h        virtio.Header
	outer    int // the outer IP header, IPv4 or IPv6
	tunnel   int // what follows it
	proto    uint8
	inner    int // the inner IP header, IPv4 or IPv6
	l4       int // the inner TCP or UDP header
	payload  int
	innerTCP bool
}

// IsTunnelled reports whether a frame is a super-frame of a connection inside of a tunnel.
func IsTunnelled(eth []byte, h *virtio.Header) bool {
	if h.GSOType == virtio.GSONone || h.Flags&virtio.NeedsChecksum == 0 {
		return false
	}
	_, end, _ := outerHeader(eth)
	return end != 0 && int(h.CsumStart) > end
}

// outerHeader finds the first IP header of a frame, where it ends, and its protocol. end is 0 if there is none, or if
// it has what tunnels do not have: IPv6 extension headers, fragments.
func outerHeader(eth []byte) (start, end int, proto uint8) {
	at := 12
	for at+4 <= len(eth) && isTag(binary.BigEndian.Uint16(eth[at:])) {
		at += 4
	}
	start = at + 2
	if start+ipv6Len > len(eth) {
		return 0, 0, 0
	}
	ip := eth[start:]
	switch binary.BigEndian.Uint16(eth[at:]) {
	case EtherTypeIPv4:
		n := int(ip[0]&15) * 4
		if ip[0]>>4 == 4 && n >= IPv4Len && binary.BigEndian.Uint16(ip[6:])&0x3fff == 0 && n <= len(ip) {
			return start, start + n, ip[9]
		}
	case etherTypeIPv6:
		if ip[0]>>4 == 6 {
			return start, start + ipv6Len, ip[6]
		}
	}
	return 0, 0, 0
}

func isTag(etherType uint16) bool { return etherType == EtherTypeVLAN || etherType == EtherTypeQinQ }

// CutTunnelled cuts a super-frame of a connection inside of a tunnel (IP in IP, GRE, UDP) into the frames it stands
// for, with finished checksums and consecutive IPv4 identifiers. It asks next for a zeroed buffer of n bytes for each
// frame and fills it; the buffers must not overlap eth. It reports false, and asks for nothing, if it does not know
// the tunnel.
func CutTunnelled(eth []byte, h virtio.Header, next func(n int) []byte) bool {
	t := tunnelled{eth: eth, h: h}
	if !t.parse() {
		return false
	}
	eth = t.eth
	size := int(h.GSOSize)
	for i, at := 0, t.payload; at < len(eth); i, at = i+1, at+size {
		end := min(at+size, len(eth))
		out := next(t.payload + end - at)
		copy(out, eth[:t.payload])
		copy(out[t.payload:], eth[at:end])
		t.finish(out, i, end == len(eth))
	}
	return true
}

// parse finds the parts of the frame, and takes off what lies behind the outer packet.
func (t *tunnelled) parse() bool {
	h := &t.h
	t.outer, t.tunnel, t.proto = outerHeader(t.eth)
	t.l4 = int(h.CsumStart)
	switch h.GSOType &^ virtio.GSOECN {
	case virtio.GSOTCPv4:
		t.innerTCP, t.inner = true, t.l4-IPv4Len
	case virtio.GSOTCPv6:
		t.innerTCP, t.inner = true, t.l4-ipv6Len
	case virtio.GSOUDP:
		t.inner = t.innerOfUDP()
	default:
		return false
	}
	if t.tunnel == 0 || t.inner < t.tunnel || h.Flags&virtio.NeedsChecksum == 0 || !t.trim() ||
		t.l4+TCPLen > len(t.eth) {
		return false
	}
	inner := t.eth[t.inner:]
	proto, field := uint8(ProtoUDP), 6
	t.payload = t.l4 + UDPLen
	if t.innerTCP {
		proto, field = ProtoTCP, 16
		t.payload = t.l4 + int(t.eth[t.l4+12]>>4)*4
	}
	switch h.GSOType &^ virtio.GSOECN {
	case virtio.GSOTCPv6:
		return inner[0]>>4 == 6 && inner[6] == proto && t.fits(field)
	case virtio.GSOTCPv4:
		return inner[0] == 0x45 && inner[9] == proto && t.fits(field)
	}
	return t.fits(field)
}

// innerOfUDP is where the IP header is before a UDP header: its kind is not said.
func (t *tunnelled) innerOfUDP() int {
	if at := t.l4 - IPv4Len; at > 0 && t.l4 <= len(t.eth) && t.eth[at] == 0x45 && t.eth[at+9] == ProtoUDP {
		return at
	}
	if at := t.l4 - ipv6Len; at > 0 && t.l4 <= len(t.eth) && t.eth[at]>>4 == 6 && t.eth[at+6] == ProtoUDP {
		return at
	}
	return -1
}

// trim takes off what lies behind the outer packet.
func (t *tunnelled) trim() bool {
	ip := t.eth[t.outer:]
	n := int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 == 6 {
		n = ipv6Len + int(binary.BigEndian.Uint16(ip[4:]))
	}
	if n > len(ip) {
		return false
	}
	t.eth = t.eth[:t.outer+n]
	return true
}

// fits reports whether the rest of the frame is as the header says, and the tunnel one that can be cut.
func (t *tunnelled) fits(field int) bool {
	size := int(t.h.GSOSize)
	if int(t.h.CsumOffset) != field || t.payload < t.l4+UDPLen || t.innerTCP && t.payload < t.l4+TCPLen ||
		t.payload >= len(t.eth) || size < minTCPSegment || !t.innerTCP && len(t.eth)-t.payload > maxUDPSegments*size {
		return false
	}
	switch t.proto {
	case protoIPIP, protoIPv6:
		return t.inner == t.tunnel
	case protoGRE:
		flags := t.eth[t.tunnel]
		return flags&greNumbered == 0 && t.inner >= t.tunnel+4 && (flags&greChecksum == 0 || t.inner >= t.tunnel+8)
	case ProtoUDP:
		return t.inner >= t.tunnel+UDPLen
	}
	return false
}

// finish sets what differs between the segments, from the inside out, as outer checksums cover what is inside.
func (t *tunnelled) finish(out []byte, i int, last bool) {
	l4 := out[t.l4:]
	if t.innerTCP {
		seq := binary.BigEndian.Uint32(l4[4:])
		binary.BigEndian.PutUint32(l4[4:], seq+uint32(i)*uint32(t.h.GSOSize))
		if !last {
			l4[13] &^= FIN | PSH
		}
		if i > 0 {
			l4[13] &^= CWR // RFC 3168: said once
		}
	} else {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	// The field holds the sum of the pseudo header, with the length of the super-frame.
	field := l4[t.h.CsumOffset:]
	pseudo := add(binary.BigEndian.Uint16(field), delta16(uint16(len(t.eth)-t.l4), uint16(len(l4))))
	binary.BigEndian.PutUint16(field, pseudo)
	whole := t.h
	whole.Complete(out)
	setLength(out[t.inner:], i)
	t.finishTunnel(out)
	setLength(out[t.outer:], i)
}

// finishTunnel sets the header between the two IP headers.
func (t *tunnelled) finishTunnel(out []byte) {
	b := out[t.tunnel:]
	switch {
	case t.proto == protoGRE && b[0]&greChecksum != 0:
		b[4], b[5] = 0, 0
		binary.BigEndian.PutUint16(b[4:], ^Sum(b))
	case t.proto == ProtoUDP:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		if b[6]|b[7] == 0 {
			return // it has no checksum
		}
		ip := out[t.outer:]
		addresses := ip[12:20]
		if ip[0]>>4 == 6 {
			addresses = ip[8:40]
		}
		b[6], b[7] = 0, 0
		sum := ^add(add(Sum(addresses), fold(ProtoUDP+uint32(len(b)))), Sum(b))
		if sum == 0 {
			sum = 0xffff // RFC 768: zero means that there is none
		}
		binary.BigEndian.PutUint16(b[6:], sum)
	}
}

// setLength sets the length of the packet that begins at ip and ends with it, and for IPv4 the identifier of the
// segment with this number and the header's checksum.
func setLength(ip []byte, i int) {
	if ip[0]>>4 == 6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Len))
		return
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(i))
	SetIPv4Checksum(ip)
}
