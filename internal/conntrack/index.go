package conntrack

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
)

// An Index finds references by their hash: extendible hashing over small segments. Each segment is
// an open-addressing table of eight-byte slots without pointers, so that the garbage collector
// never looks inside. A slot holds the hash (the tag) and a reference. The reference is any number
// of the caller's, such as that of a record in a Slab. The tag's upper bits choose the segment by
// way of a directory, its lower bits the place within the segment.
//
// A segment that fills up splits in two, and two that have become nearly empty merge. Nothing else
// ever moves. So no operation takes longer than a segment is long, at any size. The directory is
// the exception: it has eight bytes for each segment, and is copied when it doubles. The memory of
// what has ended is given back.
type Index struct {
	seed0, seed1 uint64

	dir   []*segment
	depth uint // log2(len(dir))
	count int  // segments
	at    [maxDepth + 1]int
	spare *segment // what a split works in; nil until there is one
}

// A segment is a table of slots. The first word is no slot: it holds the segment's depth (how many
// upper bits its tags have in common) and how many slots are in use. Probing passes over it,
// because no tag is 0.
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

// NewIndex returns an empty index. The seeds must be secret: a sender who knows them can choose words that collide.
func NewIndex(seed0, seed1 uint64) Index {
	x := Index{seed0: seed0, seed1: seed1 | 1, dir: blank, count: 1}
	x.at[0] = 1
	return x
}

// blank is the directory of an index that has never had an entry: most routers leave some of their indexes so, and an
// index of its own takes 8 KB. Nobody writes to the segment, as Insert replaces it first.
var blank = []*segment{newSegment(0)}

func newSegment(depth uint) *segment {
	s := new(segment)
	s[0] = 1<<31 | uint64(depth)
	return s
}

func (s *segment) depth() uint { return uint(s[0] & 0xff) }
func (s *segment) used() int   { return int(s[0] >> 8 & (1<<23 - 1)) }

// tag hashes a tuple.
func (x *Index) tag(t *packet.Tuple) uint32 {
	return x.Hash(t.Src.Number()<<32|t.Dst.Number(), uint64(t.SrcPort)<<32|uint64(t.DstPort)<<16|uint64(t.Proto))
}

// Hash makes a tag of two words; it is never 0. The seeds are secret, so that a stranger cannot choose
// words that collide.
func (x *Index) Hash(a, b uint64) uint32 {
	hi, lo := bits.Mul64(a^x.seed0, b^x.seed1)
	hi, lo = bits.Mul64(hi^lo^x.seed1, 0x9e3779b97f4a7c15^x.seed0|1)
	return max(1, uint32((hi^lo)>>32))
}

// segment is where a tag belongs. The shift is masked for the compiler: it is 32 at most.
func (x *Index) segment(tag uint32) *segment { return x.dir[uint64(tag)>>((32-x.depth)&63)] }

// seek is the probe loop of every search by tag; the compiler puts it in line. It returns the first
// slot from i on that has the tag, with its entry. The entry is 0 if an empty slot comes before.
func (s *segment) seek(i uint, tag uint32) (uint, uint64) {
	for {
		if e := s[i%segmentLen]; e == 0 || uint32(e>>32) == tag {
			return i, e
		}
		i++
	}
}

// reserve makes an index that has never had an entry as large as that many entries need. Otherwise every segment would
// be split again and again on the way there.
func (x *Index) reserve(entries int) {
	if x.dir[0] != blank[0] {
		return
	}
	depth := uint(0)
	for depth < maxDepth && entries > splitAt*3/4<<depth {
		depth++
	}
	x.dir = make([]*segment, 1<<depth)
	for i := range x.dir {
		x.dir[i] = newSegment(depth)
	}
	x.depth, x.count = depth, len(x.dir)
	x.at[0] = 0
	x.at[depth] = len(x.dir)
}

// Lookup returns the reference with this tag that is says yes to.
func (x *Index) Lookup(tag uint32, is func(ref uint32) bool) (uint32, bool) {
	s := x.segment(tag)
	for i, e := s.seek(uint(tag), tag); e != 0; i, e = s.seek(i+1, tag) {
		if is(uint32(e)) {
			return uint32(e), true
		}
	}
	return 0, false
}

// Insert adds a reference that is not there yet. It reports false if there is no room. That does
// not happen in practice: far too many tags would have to be alike.
func (x *Index) Insert(tag, ref uint32) bool {
	s := x.segment(tag)
	if s == blank[0] { // the first entry
		s = newSegment(0)
		x.dir = []*segment{s}
	}
	for s.used() >= splitAt {
		if !x.split(s, tag) {
			if s.used() >= segmentLen-2 { // one slot stays empty, to end the probing
				return false
			}
			break
		}
		s = x.segment(tag)
	}
	s.put(entry(tag, ref))
	return true
}

// entry is the slot of a reference.
func entry(tag, ref uint32) uint64 { return uint64(tag)<<32 | uint64(ref) }

// put adds an entry.
func (s *segment) put(e uint64) {
	i := uint(e>>32) % segmentLen
	for s[i] != 0 {
		i = (i + 1) % segmentLen
	}
	s[i] = e
	s[0] += 1 << 8
}

// split moves the entries whose next bit is set to a segment of their own.
func (x *Index) split(s *segment, tag uint32) bool {
	d := s.depth()
	if d == x.depth {
		if d == maxDepth || 2*len(x.dir) > maxSpread*x.count {
			return false
		}
		x.double()
	}
	if x.spare == nil {
		x.spare = new(segment)
	}
	low, high := x.spare, newSegment(d+1)
	clear(low[:])
	low[0] = high[0]
	for _, e := range s[1:] {
		switch {
		case e == 0:
		case uint32(e>>32)>>(31-d)&1 == 0:
			low.put(e)
		default:
			high.put(e)
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
func (x *Index) places(depth uint, tag uint32) (first, n int) {
	return int(tag>>(32-depth)) << (x.depth - depth), 1 << (x.depth - depth)
}

// double makes room in the directory for one bit more.
func (x *Index) double() {
	dir := make([]*segment, 2*len(x.dir))
	for i, s := range x.dir {
		dir[2*i], dir[2*i+1] = s, s
	}
	x.dir = dir
	x.depth++
}

// slot returns the slot of an entry that is there, else an empty one. It is seek once more, for speed:
// an entry that is known whole takes one comparison.
func (s *segment) slot(want uint64) uint {
	i := uint(want>>32) % segmentLen
	for s[i] != want && s[i] != 0 {
		i = (i + 1) % segmentLen
	}
	return i
}

// Remove takes out a reference that is there.
func (x *Index) Remove(tag, ref uint32) {
	s := x.segment(tag)
	i := s.slot(entry(tag, ref))
	if s[i] == 0 {
		return
	}
	s.close(i)
	if s.used() < mergeAt && s.depth() > 0 {
		x.merge(s, tag)
	}
}

// replace puts one reference in the place of another one with the same tag, which is there.
func (x *Index) replace(tag, ref, by uint32) {
	s := x.segment(tag)
	if i := s.slot(entry(tag, ref)); s[i] != 0 {
		s[i] = entry(tag, by)
	}
}

// close empties slot i. Entries that were put behind it because it was full move back (Knuth,
// 6.4 R), so that no tombstones gather.
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

// merge joins a segment and the one that it was split from once, if both are nearly empty.
func (x *Index) merge(s *segment, tag uint32) {
	d := s.depth()
	twin := x.segment(tag ^ 1<<(32-d))
	if twin.depth() != d || twin.used() >= mergeAt {
		return
	}
	for _, e := range twin[1:] {
		if e != 0 {
			s.put(e)
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
func (x *Index) halve() {
	dir := make([]*segment, len(x.dir)/2)
	for i := range dir {
		dir[i] = x.dir[2*i]
	}
	x.dir = dir
	x.depth--
}

// Bytes is the memory that the index takes.
func (x *Index) Bytes() int {
	if x.dir[0] == blank[0] {
		return 0
	}
	return 8*segmentLen*x.count + 8*len(x.dir)
}
