package virtio_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/tap/virtio"
)

func TestHeader(t *testing.T) {
	wire := []byte{
		virtio.NeedsChecksum | virtio.DataValid, virtio.GSOTCPv4 | virtio.GSOECN,
		0x36, 0, 0xb4, 5, 0x22, 0, 0x10, 1,
	}
	want := virtio.Header{Flags: 3, GSOType: 0x81, HdrLen: 54, GSOSize: 1460, CsumStart: 34, CsumOffset: 272}
	var got virtio.Header
	got.Parse(wire)
	if got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
	back := make([]byte, virtio.HeaderLen)
	got.Put(back)
	if !bytes.Equal(back, wire) {
		t.Errorf("put % x, want % x", back, wire)
	}
	if n := testing.AllocsPerRun(100, func() { got.Parse(wire); got.Put(back) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// sum is the ones' complement sum of b (RFC 1071), word by word.
func sum(b []byte) uint16 {
	s := uint32(0)
	for i, x := range b {
		s += uint32(x) << (8 * uint(1-i%2))
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// A receiver adds up the pseudo header and all bytes from CsumStart on. The sum is 0xffff if
// the checksum is right. The bytes before CsumStart stay as they are.
func TestComplete(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		eth := make([]byte, 40+rng.IntN(1500))
		for i := range eth {
			eth[i] = byte(rng.Uint32())
		}
		h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: uint16(rng.IntN(36))}
		h.CsumOffset = uint16(rng.IntN(len(eth)-int(h.CsumStart)-1)) &^ 1 // a field begins at a word
		pseudo := binary.BigEndian.Uint16(eth[h.ChecksumField():])
		before := bytes.Clone(eth)
		if !h.Complete(eth) {
			t.Fatalf("%+v: not done", h)
		}
		all := binary.BigEndian.AppendUint16(nil, pseudo)
		if got := sum(append(all, eth[h.CsumStart:]...)); got != 0xffff {
			t.Fatalf("%+v, %d bytes: the receiver's sum is %#x", h, len(eth), got)
		}
		at := h.ChecksumField()
		if !bytes.Equal(eth[:at], before[:at]) || !bytes.Equal(eth[at+2:], before[at+2:]) {
			t.Fatalf("%+v: more than the field has changed", h)
		}
	}
}

// Zero is written as 0xffff: Linux's skb_checksum_help does it for every protocol.
func TestCompleteWritesNoZero(t *testing.T) {
	eth := make([]byte, 22)
	copy(eth[14:], "\xff\xf0\x00\x0f\x00\x00\x00\x00") // sums to 0xffff
	h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: 14, CsumOffset: 6}
	if !h.Complete(eth) || eth[20] != 0xff || eth[21] != 0xff {
		t.Errorf("% x", eth[14:])
	}
}

func TestCompleteRefuses(t *testing.T) {
	for name, h := range map[string]virtio.Header{
		"not asked for":          {CsumStart: 14, CsumOffset: 6},
		"verified already":       {Flags: virtio.DataValid, CsumStart: 14, CsumOffset: 6},
		"half a field":           {Flags: virtio.NeedsChecksum, CsumStart: 14, CsumOffset: 5},
		"a field behind the end": {Flags: virtio.NeedsChecksum, CsumStart: 14, CsumOffset: 8},
		"a start behind the end": {Flags: virtio.NeedsChecksum, CsumStart: 0xffff, CsumOffset: 0xffff},
	} {
		eth := bytes.Repeat([]byte{1}, 20)
		if h.Complete(eth) || !bytes.Equal(eth, bytes.Repeat([]byte{1}, 20)) {
			t.Errorf("%s: changed to % x", name, eth)
		}
	}
}
