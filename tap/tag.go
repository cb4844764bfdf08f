package tap

import (
	"encoding/binary"
	"math"

	"github.com/taprouter/taprouter/tap/virtio"
)

const (
	// TagLen is the length of an IEEE 802.1Q tag, in bytes.
	TagLen = 4
	// tagAt is where a tag is in an Ethernet frame: behind the two addresses.
	tagAt = 12
	// tagMoves is what a tag that is put in or taken out moves: the virtio-net header and the addresses.
	tagMoves = HeaderLen + tagAt
	// plainLen is the length of an Ethernet header without a tag.
	plainLen = tagAt + 2
)

// PushTag puts an 802.1Q tag behind the addresses of a frame, in its place: tpid is 0x8100 for the tag of a VLAN, and
// tci the tag's priority (3 bits), drop eligible bit and VLAN (12 bits). The tag stays outside of what the offloads
// are about, so the offsets of the virtio-net header move with the frame that they describe. PushTag needs TagLen bytes
// before f.Head, which it overwrites, and a frame that has both addresses.
func (f *Frame) PushTag(tpid, tci uint16) {
	start := f.Head - TagLen
	copy(f.Buf[start:start+tagMoves], f.Buf[f.Head:f.Head+tagMoves])
	f.Head = start
	tag := f.Buf[start+tagMoves : start+tagMoves+TagLen]
	binary.BigEndian.PutUint16(tag, tpid)
	binary.BigEndian.PutUint16(tag[2:], tci)
	h := f.Header()
	if h[0]&virtio.NeedsChecksum != 0 {
		moveOut(h[csumStartAt:])
	}
	moveOut(h[hdrLenAt:])
}

// PopTag takes away what PushTag has put in, and returns the tag's tci. The frame must be long enough to have a tag
// (TagLen bytes more than an Ethernet header).
//
// An offset that points into the Ethernet header is wrong. Both leave it as it is, and the frame as wrong as it was.
func (f *Frame) PopTag() (tci uint16) {
	tci = binary.BigEndian.Uint16(f.Buf[f.Head+tagMoves+2:])
	copy(f.Buf[f.Head+TagLen:], f.Buf[f.Head:f.Head+tagMoves])
	f.Head += TagLen
	h := f.Header()
	if h[0]&virtio.NeedsChecksum != 0 {
		moveIn(h[csumStartAt:])
	}
	moveIn(h[hdrLenAt:])
	return tci
}

// The offsets of fields in the virtio-net header.
const (
	hdrLenAt    = 2
	csumStartAt = 6
)

// moveOut has an offset of the virtio-net header that lies behind the Ethernet header follow a tag that is put in. An
// offset that has no room for this is far behind every frame, and stays so.
func moveOut(b []byte) {
	if n := uint32(binary.LittleEndian.Uint16(b)); n >= plainLen {
		binary.LittleEndian.PutUint16(b, uint16(min(n+TagLen, math.MaxUint16)))
	}
}

// moveIn undoes moveOut, for an offset behind the Ethernet header and its tag.
func moveIn(b []byte) {
	if n := binary.LittleEndian.Uint16(b); n >= plainLen+TagLen {
		binary.LittleEndian.PutUint16(b, n-TagLen)
	}
}
