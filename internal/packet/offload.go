package packet

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/tap/virtio"
)

// What is smaller, or in more pieces, no kernel sends: cut by software, one
// frame would become sixty thousand.
const (
	minTCPSegment  = 8   // Linux: TCP_MIN_SND_MSS less the longest options
	maxUDPSegments = 128 // Linux: UDP_MAX_SEGMENTS
)

// readOffload takes over what the virtio-net header says of the frame, and
// refuses what contradicts it: the kernel never sends that, a guest may.
func (p *Packet) readOffload() Fault {
	var h virtio.Header
	h.Parse(p.VNet)
	if h.Flags&virtio.NeedsChecksum != 0 {
		start, field := int(h.CsumStart), h.ChecksumField()
		if start < p.L4 || field+2 > p.End {
			return FaultOffload
		}
		// Further in, it is the checksum of a tunnelled packet: not ours to
		// touch, and as it stays where it is, the header stays right.
		p.Partial = start == p.L4
		if p.Partial && field != p.L4+checksumOffset(p.Proto) {
			return FaultOffload
		}
	}
	if h.GSOType == virtio.GSONone {
		return FaultNone
	}
	p.GSOSize = h.GSOSize
	switch kind := h.GSOType &^ virtio.GSOECN; {
	case p.GSOSize == 0 || !p.Partial,
		kind == virtio.GSOTCPv4 && (p.Proto != ProtoTCP || p.GSOSize < minTCPSegment),
		kind == virtio.GSOUDP && (p.Proto != ProtoUDP || p.End-p.L4-UDPLen > maxUDPSegments*int(p.GSOSize)),
		kind != virtio.GSOTCPv4 && kind != virtio.GSOUDP:
		return FaultOffload
	}
	return FaultNone
}

// checksumOffset is where a transport header has its checksum, -1 where it has none.
func checksumOffset(proto uint8) int {
	switch proto {
	case ProtoTCP:
		return 16
	case ProtoUDP, ProtoDCCP, ProtoUDPLite:
		return 6
	case ProtoICMP:
		return 2
	}
	return -1
}

// CompleteChecksum finishes an unfinished checksum in place, as the virtio-net
// header describes it, and takes the request out of the header. It does nothing
// for a super-frame, whose segments have a checksum each, nor where the
// checksum is finished.
func (p *Packet) CompleteChecksum() {
	if p.VNet == nil || p.GSOSize != 0 {
		return
	}
	var h virtio.Header
	if h.Parse(p.VNet); h.Complete(p.Eth[:p.End]) {
		clear(p.VNet)
		p.Partial = false
	}
}

// Segment cuts a super-frame into the frames it stands for, with finished
// checksums and consecutive IPv4 identifiers. It asks next for a buffer of n
// bytes for each frame and fills it; the buffers must not overlap p.
func (p *Packet) Segment(next func(n int) []byte) {
	for i := 0; p.segment(i, next); i++ {
	}
}

// FirstSegment is the first of the frames that Segment would cut, nil if there is none.
func (p *Packet) FirstSegment(next func(n int) []byte) (first []byte) {
	p.segment(0, func(n int) []byte {
		first = next(n)
		return first
	})
	return first
}

// segment cuts one segment, if there is one, and reports whether there are more.
func (p *Packet) segment(i int, next func(n int) []byte) (more bool) {
	header := EthernetLen + p.HeaderLen()
	at := header + i*int(p.GSOSize)
	end := min(at+int(p.GSOSize), p.End)
	if at >= end {
		return false
	}
	out := next(header + end - at)
	copy(out, p.Eth[:header])
	copy(out[header:], p.Eth[at:end])
	p.finishSegment(out, i, end == p.End)
	return end < p.End
}

// finishSegment sets what differs between the segments of a super-frame.
func (p *Packet) finishSegment(out []byte, i int, last bool) {
	ip := out[EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], p.ID+uint16(i))
	SetIPv4Checksum(ip)
	l4 := out[p.L4:]
	switch p.Proto {
	case ProtoTCP:
		seq := binary.BigEndian.Uint32(l4[4:])
		binary.BigEndian.PutUint32(l4[4:], seq+uint32(i)*uint32(p.GSOSize))
		if !last {
			l4[13] &^= FIN | PSH
		}
		if i > 0 {
			l4[13] &^= CWR // RFC 3168: said once
		}
	case ProtoUDP:
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	SetTransportChecksum(ip)
}

// Fragment cuts a packet that is larger than mtu into fragments (RFC 791,
// 3.2): offsets in units of 8 bytes, the identifier kept, options repeated
// where they ask for it. The packet may be a fragment itself; its checksum must
// be finished. next is as in Segment. mtu is at least 68.
func (p *Packet) Fragment(mtu int, next func(n int) []byte) {
	first := p.Eth[EthernetLen:p.L4]
	later := laterHeader(first)
	unused := binary.BigEndian.Uint16(first[6:]) & 0x8000 // no router's business (RFC 1812, 5.2.5)
	body := p.Eth[p.L4:p.End]
	off := int(p.FragOff)
	for header := first; len(body) > 0; header = later {
		n := len(body)
		if len(header)+n > mtu {
			n = (mtu - len(header)) &^ 7
		}
		out := next(EthernetLen + len(header) + n)
		copy(out, p.Eth[:EthernetLen])
		ip := out[EthernetLen:]
		copy(ip, header)
		copy(ip[len(header):], body[:n])
		body = body[n:]
		frag := uint16(off/8) | unused
		if len(body) > 0 || p.More {
			frag |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], frag)
		SetIPv4Checksum(ip)
		off += n
	}
}

// laterHeader is the header of every fragment but the first: only options with
// the copied flag stay (RFC 791, 3.1), padded to a multiple of four.
func laterHeader(first []byte) []byte {
	if len(first) == IPv4Len {
		return first
	}
	h := append(make([]byte, 0, 60), first[:IPv4Len]...)
	for opts := first[IPv4Len:]; len(opts) > 0 && opts[0] != 0; {
		n := 1
		if opts[0] != 1 {
			if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
				break
			}
			n = int(opts[1])
			if opts[0]&0x80 != 0 {
				h = append(h, opts[:n]...)
			}
		}
		opts = opts[n:]
	}
	for len(h)%4 != 0 {
		h = append(h, 0)
	}
	h[0] = 0x40 | uint8(len(h)/4)
	return h
}
