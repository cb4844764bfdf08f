package conntrack

import (
	"math/bits"
	"slices"
	"unsafe"
)

// A Slab holds records by number. A record has two parts: T, and beside it C, which most readers do not
// look at. A slab whose records have one part has struct{} for C. T and C must have no pointers, so that
// the garbage collector does not look inside.
//
// The records lie in chunks that never move, so that a slab grows without copying. Numbers are given out
// from the lowest chunk that has a free record. So chunks at the top become empty when there are fewer
// records, and their memory is given back. Number 0 is never given out: it stands for none.
//
// The zero value is an empty slab on the heap.
type Slab[T, C any, P Linked[T]] struct {
	Memory Memory // of the chunks; nil: the heap. It is set before the first Take

	chunks  []chunk[T, C]
	usage   []usage  // parallel to chunks; apart, so that the chunks that every packet looks at lie close together
	partial []uint64 // bit k: chunk k has a free record
	low     int      // no word of partial below this has a bit set
	spare   int      // a chunk that is allocated and has no record in use, if spared
	spared  bool
}

// A Linked is a pointer to a record, which lends one of its fields while the record is free.
type Linked[T any] interface {
	*T
	Link() *uint32
}

type chunk[T, C any] struct {
	records *[chunkLen]T // nil: not allocated. It is apart from column, because a cache line then holds one Conn
	column  *[chunkLen]C
}

// usage says which records of a chunk are in use.
type usage struct {
	used  uint32
	fresh uint32 // records from here on have never been in use
	free  uint32 // the first one that is free again; they are linked. chunkLen: none
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
)

// At returns record i.
func (s *Slab[T, C, P]) At(i uint32) *T { return &s.chunks[i>>chunkBits].records[i%chunkLen] }

// Column returns the other part of record i.
func (s *Slab[T, C, P]) Column(i uint32) *C { return &s.chunks[i>>chunkBits].column[i%chunkLen] }

// top is one more than the highest number that may be in use.
func (s *Slab[T, C, P]) top() uint32 { return uint32(len(s.chunks)) << chunkBits }

// unused reports whether no record of the chunk of number i is in use.
func (s *Slab[T, C, P]) unused(i uint32) bool { return s.usage[i>>chunkBits].used == 0 }

// Take gives out a free number. Both parts of its record are zero.
func (s *Slab[T, C, P]) Take() uint32 {
	for s.low < len(s.partial) && s.partial[s.low] == 0 {
		s.low++
	}
	if s.low == len(s.partial) { // every chunk that exists is full
		s.grow()
	}
	k := s.low<<6 + bits.TrailingZeros64(s.partial[s.low])
	c, u := &s.chunks[k], &s.usage[k]
	switch {
	case c.records == nil:
		s.allocate(k)
		*u = usage{fresh: firstOf(k), free: chunkLen}
	case u.used == 0:
		s.spared = false
	}
	i := u.free
	if i == chunkLen {
		i = u.fresh
		u.fresh++
	} else {
		link := P(&c.records[i]).Link()
		u.free, *link = *link, 0
	}
	if u.used++; u.used == chunkLen-firstOf(k) {
		s.partial[k>>6] &^= 1 << (k & 63)
	}
	return uint32(k)<<chunkBits | i
}

// allocate gives chunk k memory.
func (s *Slab[T, C, P]) allocate(k int) {
	c := &s.chunks[k]
	if s.Memory != nil {
		records, column := s.Memory.Take(k)
		if len(records) >= int(unsafe.Sizeof(*c.records)) && len(column) >= int(unsafe.Sizeof(*c.column)) {
			c.records = (*[chunkLen]T)(unsafe.Pointer(unsafe.SliceData(records)))
			c.column = (*[chunkLen]C)(unsafe.Pointer(unsafe.SliceData(column)))
			return
		}
	}
	c.records, c.column = new([chunkLen]T), new([chunkLen]C)
}

// firstOf is the first record of chunk k that may be given out: number 0 is none.
func firstOf(k int) uint32 {
	if k == 0 {
		return 1
	}
	return 0
}

// grow makes room for one more chunk.
func (s *Slab[T, C, P]) grow() {
	k := len(s.chunks)
	s.chunks, s.usage = append(s.chunks, chunk[T, C]{}), append(s.usage, usage{})
	if s.low = k >> 6; s.low == len(s.partial) {
		s.partial = append(s.partial, 0)
	}
	s.partial[s.low] |= 1 << (k & 63)
}

// Free takes number i back. Of the chunks that have become empty one is kept, so that a slab that comes and
// goes by a few records does not allocate.
func (s *Slab[T, C, P]) Free(i uint32) {
	k := int(i >> chunkBits)
	c, u := &s.chunks[k], &s.usage[k]
	record := &c.records[i%chunkLen]
	*record, c.column[i%chunkLen] = *new(T), *new(C)
	*P(record).Link() = u.free
	u.free = i % chunkLen
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
func (s *Slab[T, C, P]) discard(k int) {
	s.chunks[k] = chunk[T, C]{}
	if s.Memory != nil {
		s.Memory.Give(k)
	}
	n := len(s.chunks)
	for n > 0 && s.chunks[n-1].records == nil {
		n--
		s.partial[n>>6] &^= 1 << (n & 63)
	}
	s.chunks, s.usage = s.chunks[:n], s.usage[:n]
	if cap(s.chunks) > 4*n+16 {
		s.chunks, s.usage = slices.Clone(s.chunks), slices.Clone(s.usage)
	}
	s.partial = s.partial[:(n+63)>>6]
	s.low = min(s.low, len(s.partial))
}

// Bytes is the memory that the slab takes.
func (s *Slab[T, C, P]) Bytes() int {
	n := cap(s.chunks)*int(unsafe.Sizeof(chunk[T, C]{})) + cap(s.usage)*int(unsafe.Sizeof(usage{})) + 8*cap(s.partial)
	for i := range s.chunks {
		if c := &s.chunks[i]; c.records != nil {
			n += int(unsafe.Sizeof(*c.records) + unsafe.Sizeof(*c.column))
		}
	}
	return n
}
