package conntrack

import (
	"math/bits"
	"slices"
	"unsafe"
)

// A Slab holds records by number. A record has two parts: T, and beside it C, which most readers
// do not look at. A slab whose records have one part has struct{} for C. T and C must have no
// pointers, so that the garbage collector does not look inside.
//
// The records lie in chunks that never move, so that a slab grows without copying. Numbers are
// given out from the bottom. So chunks at the top become empty when there are fewer records, and
// their memory is given back. Number 0 is never given out: it stands for none.
//
// The zero value is an empty slab.
type Slab[T, C any] struct {
	chunks  []chunk[T, C]
	slots   []slots  // parallel to chunks; apart, so that the chunks that every packet looks at lie close together
	partial []uint64 // bit k: chunk k has a free slot
	low     int      // no word of partial below this has a bit set
	spare   int      // a chunk that is allocated and has no record, if spared
	spared  bool
}

type chunk[T, C any] struct {
	records *[chunkLen]T // nil: not allocated. It is apart from column, because a cache line then holds one Conn
	column  *[chunkLen]C
}

// slots says which records of a chunk are in use.
type slots struct {
	taken [chunkLen / 64]uint64
	used  int
	low   int // every word of taken below this is full
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
)

// At returns record i.
func (s *Slab[T, C]) At(i uint32) *T { return &s.chunks[i>>chunkBits].records[i%chunkLen] }

// Column returns the other part of record i.
func (s *Slab[T, C]) Column(i uint32) *C { return &s.chunks[i>>chunkBits].column[i%chunkLen] }

// top is one more than the highest number that may be in use.
func (s *Slab[T, C]) top() uint32 { return uint32(len(s.chunks)) << chunkBits }

// unused reports whether no record of the chunk of number i is in use.
func (s *Slab[T, C]) unused(i uint32) bool { return s.slots[i>>chunkBits].used == 0 }

// Take gives out the lowest free number. Both parts of its record are zero.
func (s *Slab[T, C]) Take() uint32 {
	for s.low < len(s.partial) && s.partial[s.low] == 0 {
		s.low++
	}
	if s.low == len(s.partial) { // every chunk that exists is full
		s.grow()
	}
	k := s.low<<6 + bits.TrailingZeros64(s.partial[s.low])
	c, u := &s.chunks[k], &s.slots[k]
	switch {
	case c.records == nil:
		c.records, c.column = new([chunkLen]T), new([chunkLen]C)
	case u.used == 0:
		s.spared = false
	}
	for u.taken[u.low] == ^uint64(0) {
		u.low++
	}
	bit := bits.TrailingZeros64(^u.taken[u.low])
	u.taken[u.low] |= 1 << bit
	if u.used++; u.used == slotsOf(k) {
		s.partial[k>>6] &^= 1 << (k & 63)
	}
	return uint32(k<<chunkBits | u.low<<6 | bit)
}

// slotsOf is how many records chunk k has room for: number 0 is none.
func slotsOf(k int) int {
	if k == 0 {
		return chunkLen - 1
	}
	return chunkLen
}

// grow makes room for one more chunk.
func (s *Slab[T, C]) grow() {
	k := len(s.chunks)
	s.chunks, s.slots = append(s.chunks, chunk[T, C]{}), append(s.slots, slots{})
	if k == 0 {
		s.slots[0].taken[0] = 1
	}
	if s.low = k >> 6; s.low == len(s.partial) {
		s.partial = append(s.partial, 0)
	}
	s.partial[s.low] |= 1 << (k & 63)
}

// Free takes number i back. Of the chunks that have become empty one is kept, so that a slab that
// comes and goes by a few records does not allocate.
func (s *Slab[T, C]) Free(i uint32) {
	k := int(i >> chunkBits)
	c, u := &s.chunks[k], &s.slots[k]
	var noRecord T
	var noColumn C
	c.records[i%chunkLen], c.column[i%chunkLen] = noRecord, noColumn
	w := int(i % chunkLen >> 6)
	u.taken[w] &^= 1 << (i & 63)
	u.low = min(u.low, w)
	s.partial[k>>6] |= 1 << (k & 63)
	s.low = min(s.low, k>>6)
	if u.used--; u.used > 0 {
		return
	}
	if !s.spared {
		s.spare, s.spared = k, true
		return
	}
	s.discard(max(k, s.spare))
	s.spare = min(k, s.spare)
}

// discard gives the memory of chunk k back, and forgets the chunks at the top that have none.
func (s *Slab[T, C]) discard(k int) {
	s.chunks[k] = chunk[T, C]{}
	n := len(s.chunks)
	for n > 0 && s.chunks[n-1].records == nil {
		n--
		s.partial[n>>6] &^= 1 << (n & 63)
	}
	s.chunks, s.slots = s.chunks[:n], s.slots[:n]
	if cap(s.chunks) > 4*n+16 {
		s.chunks, s.slots = slices.Clone(s.chunks), slices.Clone(s.slots)
	}
	s.partial = s.partial[:(n+63)>>6]
	s.low = min(s.low, len(s.partial))
}

// Bytes is the memory that the slab takes.
func (s *Slab[T, C]) Bytes() int {
	n := cap(s.chunks)*int(unsafe.Sizeof(chunk[T, C]{})) + cap(s.slots)*int(unsafe.Sizeof(slots{})) + 8*cap(s.partial)
	for i := range s.chunks {
		if c := &s.chunks[i]; c.records != nil {
			n += int(unsafe.Sizeof(*c.records) + unsafe.Sizeof(*c.column))
		}
	}
	return n
}
