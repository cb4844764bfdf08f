package nat

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
)

// An index finds connections by tuple: extendible hashing over small segments,
// each an open-addressing table of eight-byte slots, free of pointers, so that the
// garbage collector never looks inside. A slot holds the tuple's hash (the tag)
// and a reference: connection number and direction, plus one. The tag's upper bits
// choose the segment by way of a directory, its lower ones the place within.
//
// A segment that fills up splits in two, and two that have become nearly empty
// merge. Nothing else ever moves, so no operation takes longer than a segment is
// long, at any size (but for the directory, eight bytes a segment, which is copied
// when it doubles), and the memory of what has ended is given back.
type index struct {
	seed0, seed1 uint64

	dir   []*segment
	depth uint // log2(len(dir))
	count int  // segments
	at    [maxDepth + 1]int
	spare segment // what a split works in
}

// A segment is a table of slots. The first word is no slot: it holds the
// segment's depth (how many upper bits its tags have in common) and how many slots
// are in use. Probing passes over it, as no tag is 0.
type segment [segmentLen]uint64

const (
	segmentBits = 10
	segmentLen  = 1 << segmentBits

	splitAt = segmentLen * 7 / 8 // slots in use
	mergeAt = segmentLen / 8     // in each half; together they fill a quarter

	// maxDepth bounds the directory, maxSpread how many entries it may have for
	// each segment: tags that are alike in their upper bits do not come from this
	// hash, so their segment may fill up instead.
	maxDepth  = 32 - segmentBits
	maxSpread = 64
)

func newIndex(seed0, seed1 uint64) index {
	x := index{seed0: seed0, seed1: seed1 | 1, dir: []*segment{newSegment(0)}, count: 1}
	x.at[0] = 1
	return x
}

func newSegment(depth uint) *segment {
	s := new(segment)
	s[0] = 1<<31 | uint64(depth)
	return s
}

func (s *segment) depth() uint { return uint(s[0] & 0xff) }
func (s *segment) used() int   { return int(s[0] >> 8 & (1<<23 - 1)) }

// tag hashes a tuple.
func (x *index) tag(t *packet.Tuple) uint32 {
	return x.hash(uint64(t.Src)<<32|uint64(t.Dst), uint64(t.SrcPort)<<32|uint64(t.DstPort)<<16|uint64(t.Proto))
}

// hash makes a tag of two words; it is never 0. The seeds are secret, so that
// nobody outside can choose words that collide.
func (x *index) hash(a, b uint64) uint32 {
	hi, lo := bits.Mul64(a^x.seed0, b^x.seed1)
	hi, lo = bits.Mul64(hi^lo^x.seed1, 0x9e3779b97f4a7c15^x.seed0|1)
	return max(1, uint32((hi^lo)>>32))
}

// segment is where a tag belongs.
func (x *index) segment(tag uint32) *segment { return x.dir[tag>>(32-x.depth)] }

// lookup returns the reference with this tag that is the one.
func (x *index) lookup(tag uint32, is func(ref uint32) bool) (uint32, bool) {
	s := x.segment(tag)
	for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
		if uint32(s[i]>>32) == tag && is(uint32(s[i])-1) {
			return uint32(s[i]) - 1, true
		}
	}
	return 0, false
}

// insert adds a reference that is not there yet. It reports false if there is no
// room, which does not happen to tags that are spread at all.
func (x *index) insert(tag, ref uint32) bool {
	s := x.segment(tag)
	for s.used() >= splitAt {
		if !x.split(s, tag) {
			if s.used() >= segmentLen-2 { // one slot stays empty, to end the probing
				return false
			}
			break
		}
		s = x.segment(tag)
	}
	s.put(uint64(tag)<<32 | uint64(ref+1))
	return true
}

// put adds an entry.
func (s *segment) put(entry uint64) {
	i := uint(entry>>32) % segmentLen
	for s[i] != 0 {
		i = (i + 1) % segmentLen
	}
	s[i] = entry
	s[0] += 1 << 8
}

// split moves the entries whose next bit is set to a segment of their own.
func (x *index) split(s *segment, tag uint32) bool {
	d := s.depth()
	if d == x.depth {
		if d == maxDepth || 2*len(x.dir) > maxSpread*x.count {
			return false
		}
		x.double()
	}
	low, high := &x.spare, newSegment(d+1)
	clear(low[:])
	low[0] = high[0]
	for _, entry := range s[1:] {
		switch {
		case entry == 0:
		case uint32(entry>>32)>>(31-d)&1 == 0:
			low.put(entry)
		default:
			high.put(entry)
		}
	}
	*s = *low
	first, n := x.places(d, tag)
	for i := first + n/2; i < first+n; i++ {
		x.dir[i] = high
	}
	x.count++
	x.at[d]--
	x.at[d+1] += 2
	return true
}

// places are the directory's entries for the segment of a tag, at a depth.
func (x *index) places(depth uint, tag uint32) (first, n int) {
	return int(tag>>(32-depth)) << (x.depth - depth), 1 << (x.depth - depth)
}

// double makes room in the directory for one bit more.
func (x *index) double() {
	dir := make([]*segment, 2*len(x.dir))
	for i, s := range x.dir {
		dir[2*i], dir[2*i+1] = s, s
	}
	x.dir = dir
	x.depth++
}

// remove takes out a reference that is there.
func (x *index) remove(tag, ref uint32) {
	want := uint64(tag)<<32 | uint64(ref+1)
	s := x.segment(tag)
	for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
		if s[i] == want {
			s.close(i)
			if s.used() < mergeAt && s.depth() > 0 {
				x.merge(s, tag)
			}
			return
		}
	}
}

// replace puts one reference in the place of another one with the same tag.
func (x *index) replace(tag, ref, by uint32) {
	want := uint64(tag)<<32 | uint64(ref+1)
	s := x.segment(tag)
	for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
		if s[i] == want {
			s[i] = uint64(tag)<<32 | uint64(by+1)
			return
		}
	}
}

// close empties slot i and moves what probed past it back (Knuth, 6.4 R), so
// that no tombstones gather.
func (s *segment) close(i uint) {
	for j := (i + 1) % segmentLen; s[j] != 0; j = (j + 1) % segmentLen {
		if j == 0 {
			continue
		}
		home := uint(s[j]>>32) % segmentLen
		if (j-home)%segmentLen >= (j-i)%segmentLen {
			s[i] = s[j]
			i = j
		}
	}
	s[i] = 0
	s[0] -= 1 << 8
}

// merge puts a segment and the one that it once was split from together, if both
// are nearly empty.
func (x *index) merge(s *segment, tag uint32) {
	d := s.depth()
	twin := x.segment(tag ^ 1<<(32-d))
	if twin.depth() != d || twin.used() >= mergeAt {
		return
	}
	for _, entry := range twin[1:] {
		if entry != 0 {
			s.put(entry)
		}
	}
	s[0]-- // its depth
	first, n := x.places(d-1, tag)
	for i := first; i < first+n; i++ {
		x.dir[i] = s
	}
	x.count--
	x.at[d] -= 2
	x.at[d-1]++
	if d == x.depth && x.at[d] == 0 {
		x.halve()
	}
}

// halve takes a bit that no segment uses any more from the directory.
func (x *index) halve() {
	dir := make([]*segment, len(x.dir)/2)
	for i := range dir {
		dir[i] = x.dir[2*i]
	}
	x.dir = dir
	x.depth--
}

// bytes is the memory the index takes.
func (x *index) bytes() int { return 8*segmentLen*x.count + 8*len(x.dir) }
