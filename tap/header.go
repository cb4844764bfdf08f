package tap

import "encoding/binary"

// The bits of Header.Flags (virtio 1.2, 5.1.6).
const (
	// FlagNeedsChecksum says that a checksum is unfinished: its field holds the
	// folded sum of the pseudo header, not complemented.
	FlagNeedsChecksum = 1
	// FlagDataValid says that the checksum has been verified.
	FlagDataValid = 2
)

// The values of Header.GSOType; GSOECN is a bit beside the others.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5 // UDP segments, not the fragments of old (3)
	GSOECN   = 0x80
)

// A Header is the virtio-net header before a frame: what is left to do to it.
// Offsets count from the first byte of the Ethernet frame. The zero value is a
// plain frame's.
type Header struct {
	Flags, GSOType byte
	HdrLen         uint16 // bytes of the headers that every segment repeats
	GSOSize        uint16 // payload of a segment, in bytes
	CsumStart      uint16 // where the unfinished checksum begins to sum
	CsumOffset     uint16 // of its field, from CsumStart
}

// Parse reads the first HeaderLen bytes of b, which must be that long.
func (h *Header) Parse(b []byte) {
	_ = b[HeaderLen-1]
	h.Flags, h.GSOType = b[0], b[1]
	h.HdrLen = binary.LittleEndian.Uint16(b[2:])
	h.GSOSize = binary.LittleEndian.Uint16(b[4:])
	h.CsumStart = binary.LittleEndian.Uint16(b[6:])
	h.CsumOffset = binary.LittleEndian.Uint16(b[8:])
}

// Put writes the first HeaderLen bytes of b, which must be that long.
func (h *Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	b[0], b[1] = h.Flags, h.GSOType
	binary.LittleEndian.PutUint16(b[2:], h.HdrLen)
	binary.LittleEndian.PutUint16(b[4:], h.GSOSize)
	binary.LittleEndian.PutUint16(b[6:], h.CsumStart)
	binary.LittleEndian.PutUint16(b[8:], h.CsumOffset)
}

// complete finishes the checksum of a frame in place, if the header says that
// it is unfinished and has room for it, and reports whether it did. It knows
// nothing of protocols: the field holds the sum of what is not in the frame
// (a pseudo header), to which everything from CsumStart on is added.
func (h *Header) complete(eth []byte) bool {
	start := int(h.CsumStart)
	field := start + int(h.CsumOffset)
	if h.Flags&FlagNeedsChecksum == 0 || field+2 > len(eth) {
		return false
	}
	sum := uint64(0)
	rest := eth[start:]
	for ; len(rest) >= 2; rest = rest[2:] {
		sum += uint64(binary.BigEndian.Uint16(rest))
	}
	if len(rest) == 1 {
		sum += uint64(rest[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	done := ^uint16(sum)
	if done == 0 {
		// The same number in ones' complement, and in UDP 0 would say that there
		// is no checksum (RFC 768).
		done = 0xffff
	}
	binary.BigEndian.PutUint16(eth[field:], done)
	return true
}
