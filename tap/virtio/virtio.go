// Package virtio reads and writes the virtio-net header (virtio 1.2, 5.1.6)
// that stands before every frame of package tap. The header says which work on the frame is
// not done yet. The package also does the part that needs no protocol: it finishes a checksum.
//
// Devices, wrappers and the router's packets share it, so it imports neither
// of them. It does not cut super-frames, which needs to know TCP and UDP.
package virtio

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// HeaderLen is the length of the header, in bytes.
const HeaderLen = 10

// The bits of Header.Flags.
const (
	// NeedsChecksum says that a checksum is unfinished: its field holds the
	// folded sum of the pseudo header, not complemented.
	NeedsChecksum = 1
	// DataValid says that the checksum has been verified.
	DataValid = 2
)

// The values of Header.GSOType; GSOECN is a bit beside the others.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5 // UDP segments, not the fragments of old (3)
	GSOECN   = 0x80
)

// A Header is what the virtio-net header says. Offsets count from the first
// byte of the Ethernet frame. The zero value is a plain frame's.
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

// ChecksumField returns the offset of the checksum's field in the frame.
func (h *Header) ChecksumField() int { return int(h.CsumStart) + int(h.CsumOffset) }

// Complete finishes the checksum of the frame eth in place. It reports false,
// and changes nothing, if the header says that no checksum is unfinished, or if
// the field lies outside eth. The header itself still asks for the checksum
// afterwards: it is the caller's to clear.
//
// The field holds the sum of the pseudo header, which is not in the frame. To that
// sum is added everything from CsumStart to the end of eth. A result of zero is
// written as 0xffff for every protocol, as Linux does: it is the same number in
// ones' complement, and in UDP zero says that there is no checksum (RFC 768).
func (h *Header) Complete(eth []byte) bool {
	field := h.ChecksumField()
	if h.Flags&NeedsChecksum == 0 || field+2 > len(eth) {
		return false
	}
	sum := ^checksum.Checksum(eth[h.CsumStart:], 0)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(eth[field:], sum)
	return true
}
