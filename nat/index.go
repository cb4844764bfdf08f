package nat

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
)

// An index finds connections by tuple: open addressing with linear probing over
// eight-byte slots, free of pointers, so that the garbage collector never looks
// inside. A slot holds the upper half of the tuple's hash (the tag, which also
// gives its place) and a reference: connection number and direction, plus one.
// It doubles at four fifths; the entries move over a few at a time with every
// insertion, so no operation ever stalls.
type index struct {
	seed0, seed1 uint64

	slots []uint64
	shift uint8 // 32 - log2(len(slots))
	used  int   // entries in slots

	// While it grows: the former slots, of which those before moved are done.
	// What is done or removed there becomes a tombstone, so that probing goes on.
	old      []uint64
	oldShift uint8
	moved    int
}

const (
	tombstone    = uint64(0xffffffff)
	minSlots     = 256
	moveAtATime  = 32 // slots; at twice the size the old ones are done long before the new ones fill
	maxLoadFifth = 4
)

func newIndex(seed0, seed1 uint64) index {
	x := index{seed0: seed0, seed1: seed1 | 1}
	x.slots, x.shift = makeSlots(minSlots)
	return x
}

func makeSlots(n int) ([]uint64, uint8) {
	return make([]uint64, n), uint8(32 - bits.TrailingZeros(uint(n)))
}

// tag hashes a tuple. The seeds are secret, so that nobody outside can choose
// tuples that collide.
func (x *index) tag(t *packet.Tuple) uint32 {
	a := uint64(t.Src)<<32 | uint64(t.Dst)
	b := uint64(t.SrcPort)<<32 | uint64(t.DstPort)<<16 | uint64(t.Proto)
	hi, lo := bits.Mul64(a^x.seed0, b^x.seed1)
	hi, lo = bits.Mul64(hi^lo^x.seed1, 0x9e3779b97f4a7c15^x.seed0|1)
	return uint32((hi ^ lo) >> 32)
}

// place is where the probing for a tag starts.
func place(tag uint32, shift uint8) int { return int(tag >> shift) }

// insert adds a reference that is not there yet.
func (x *index) insert(tag, ref uint32) {
	if (x.used+1)*5 > len(x.slots)*maxLoadFifth {
		x.grow()
	}
	x.move(moveAtATime)
	x.put(tag, ref)
}

func (x *index) put(tag, ref uint32) {
	mask := len(x.slots) - 1
	i := place(tag, x.shift)
	for x.slots[i] != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = uint64(tag)<<32 | uint64(ref+1)
	x.used++
}

// grow starts to double the index, finishing an earlier growth first (which
// only a burst of removals and insertions could have left undone).
func (x *index) grow() {
	x.move(len(x.old))
	x.old, x.oldShift, x.moved = x.slots, x.shift, 0
	x.slots, x.shift = makeSlots(2 * len(x.old))
	x.used = 0
}

// move takes up to n slots over from the former index.
func (x *index) move(n int) {
	if x.old == nil {
		return
	}
	end := min(x.moved+n, len(x.old))
	for ; x.moved < end; x.moved++ {
		s := x.old[x.moved]
		if s != 0 && s != tombstone {
			x.put(uint32(s>>32), uint32(s)-1)
			x.old[x.moved] = tombstone
		}
	}
	if x.moved == len(x.old) {
		x.old = nil
	}
}

// remove takes out a reference that is there.
func (x *index) remove(tag, ref uint32) {
	want := uint64(tag)<<32 | uint64(ref+1)
	mask := len(x.slots) - 1
	for i := place(tag, x.shift); x.slots[i] != 0; i = (i + 1) & mask {
		if x.slots[i] == want {
			x.close(i)
			return
		}
	}
	if x.old == nil {
		return
	}
	mask = len(x.old) - 1
	for i := place(tag, x.oldShift); x.old[i] != 0; i = (i + 1) & mask {
		if x.old[i] == want {
			x.old[i] = tombstone
			return
		}
	}
}

// close empties slot i and moves what probed past it back (Knuth, 6.4 R), so
// that no tombstones gather.
func (x *index) close(i int) {
	mask := len(x.slots) - 1
	for j := (i + 1) & mask; x.slots[j] != 0; j = (j + 1) & mask {
		home := place(uint32(x.slots[j]>>32), x.shift)
		if (j-home)&mask >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = 0
	x.used--
}

// bytes is the memory the index takes.
func (x *index) bytes() int { return 8 * (len(x.slots) + len(x.old)) }
