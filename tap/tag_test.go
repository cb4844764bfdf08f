package tap_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// tagFrame is a frame of n bytes in a slot, with a virtio-net header.
func tagFrame(rng *rand.Rand, h virtio.Header, n int) tap.Frame {
	f := tap.Frame{Buf: make([]byte, tap.SlotLen), Head: tap.Headroom, Tail: tap.Headroom + tap.HeaderLen + n}
	for i := range f.Ethernet() {
		f.Ethernet()[i] = byte(rng.Uint32())
	}
	h.Put(f.Header())
	return f
}

// A tag that is pushed and popped again leaves the frame and its offload header as they were, for every kind of
// offload; in between, the offsets point to the same bytes, and the tag is where 802.1Q has it.
func TestPushAndPopAreInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := []byte{virtio.GSONone, virtio.GSOTCPv4, virtio.GSOTCPv6, virtio.GSOUDP, virtio.GSOTCPv4 | virtio.GSOECN, 3}
	for range 20_000 {
		n := 14 + rng.IntN(1600)
		if rng.IntN(50) == 0 {
			n = 65_000
		}
		h := virtio.Header{
			Flags: byte(rng.UintN(4)), GSOType: kinds[rng.IntN(len(kinds))], HdrLen: uint16(rng.UintN(65_532)),
			GSOSize: uint16(rng.Uint32()), CsumStart: uint16(rng.UintN(65_532)), CsumOffset: uint16(rng.Uint32()),
		}
		f := tagFrame(rng, h, n)
		before := bytes.Clone(f.Buf[f.Head:f.Tail])
		tci := uint16(rng.Uint32())
		f.PushTag(0x8100, tci)
		eth := f.Ethernet()
		if len(eth) != n+tap.TagLen || !bytes.Equal(eth[:12], before[tap.HeaderLen:][:12]) ||
			!bytes.Equal(eth[16:], before[tap.HeaderLen+12:]) ||
			binary.BigEndian.Uint16(eth[12:]) != 0x8100 || binary.BigEndian.Uint16(eth[14:]) != tci {
			t.Fatalf("%+v: a frame of %d bytes became % x", h, n, eth[:min(20, len(eth))])
		}
		var g virtio.Header
		g.Parse(f.Header())
		want := h
		if h.Flags&virtio.NeedsChecksum != 0 && h.CsumStart >= 14 {
			want.CsumStart += tap.TagLen
		}
		if h.HdrLen >= 14 {
			want.HdrLen += tap.TagLen
		}
		if g != want {
			t.Fatalf("header %+v became %+v, want %+v", h, g, want)
		}
		if got := f.PopTag(); got != tci || !bytes.Equal(f.Buf[f.Head:f.Tail], before) {
			t.Fatalf("tag %#x of %#x: %+v, the frame is another one", got, tci, h)
		}
	}
}

// A checksum that a tagged frame leaves open is the one of the same frame without the tag.
func TestChecksumBehindATag(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: 34, CsumOffset: 16}
		f := tagFrame(rng, h, 54+rng.IntN(1000))
		plain := tap.Frame{Buf: bytes.Clone(f.Buf), Head: f.Head, Tail: f.Tail}
		if !h.Complete(plain.Ethernet()) {
			t.Fatal("not complete")
		}
		f.PushTag(0x8100, 100)
		var g virtio.Header
		if g.Parse(f.Header()); !g.Complete(f.Ethernet()) {
			t.Fatal("not complete behind the tag")
		}
		if f.PopTag(); !bytes.Equal(f.Ethernet(), plain.Ethernet()) {
			t.Fatal("another checksum behind the tag")
		}
	}
}

// Offsets that cannot be right neither wrap round nor become right.
func TestTagAndImpossibleOffsets(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, start := range []uint16{0, 3, 13, 65_532, 65_535} {
		h := virtio.Header{Flags: virtio.NeedsChecksum, HdrLen: start, CsumStart: start, CsumOffset: 2}
		f := tagFrame(rng, h, 60)
		f.PushTag(0x8100, 7)
		var g virtio.Header
		if g.Parse(f.Header()); g.CsumStart < start || g.HdrLen < start || start < 14 && g.CsumStart != start {
			t.Errorf("offset %d became %+v when the tag was put in", start, g)
		}
		f = tagFrame(rng, h, 60)
		f.PopTag()
		if g.Parse(f.Header()); g.CsumStart > start || start < 18 && g.CsumStart != start {
			t.Errorf("offset %d became %+v when the tag was taken out", start, g)
		}
	}
}
