package nat

import (
	"math/bits"
	"slices"
	"unsafe"
)

// A pool holds records by number, in chunks that never move, so that it grows
// without copying. Numbers are given out from the bottom, and the memory of a chunk
// that has become empty is given back, as in a slab. T must have no pointers.
type pool[T any] struct {
	chunks  []poolChunk[T]
	partial []uint64 // bit k: chunks[k] has a free place
	low     int      // no word of partial below this has a bit set
	spare   int      // a chunk that is allocated, with nothing in use, + 1; 0: none
}

type poolChunk[T any] struct {
	records *[chunkLen]T // nil: not allocated; apart, for the allocator has that size
	taken   [chunkLen / 64]uint64
	used    int
}

// at returns record i.
func (p *pool[T]) at(i uint32) *T { return &p.chunks[i>>chunkBits].records[i%chunkLen] }

// add stores a record and returns its number.
func (p *pool[T]) add(v T) uint32 {
	for p.low < len(p.partial) && p.partial[p.low] == 0 {
		p.low++
	}
	if p.low == len(p.partial) { // every chunk there is, is full
		k := len(p.chunks)
		p.chunks = append(p.chunks, poolChunk[T]{})
		if p.low = k >> 6; p.low == len(p.partial) {
			p.partial = append(p.partial, 0)
		}
		p.partial[p.low] |= 1 << (k & 63)
	}
	k := p.low<<6 + bits.TrailingZeros64(p.partial[p.low])
	c := &p.chunks[k]
	switch {
	case c.records == nil:
		c.records = new([chunkLen]T)
	case c.used == 0:
		p.spare = 0
	}
	w := 0
	for c.taken[w] == ^uint64(0) {
		w++
	}
	bit := bits.TrailingZeros64(^c.taken[w])
	c.taken[w] |= 1 << bit
	if c.used++; c.used == chunkLen {
		p.partial[k>>6] &^= 1 << (k & 63)
	}
	i := w<<6 | bit
	c.records[i] = v
	return uint32(k<<chunkBits | i)
}

// remove gives a record's number back. One empty chunk is kept: what comes and goes
// by a few records should not allocate.
func (p *pool[T]) remove(i uint32) {
	k := int(i >> chunkBits)
	c := &p.chunks[k]
	c.taken[i%chunkLen>>6] &^= 1 << (i & 63)
	p.partial[k>>6] |= 1 << (k & 63)
	p.low = min(p.low, k>>6)
	if c.used--; c.used > 0 {
		return
	}
	if p.spare == 0 {
		p.spare = k + 1
		return
	}
	p.chunks[max(k, p.spare-1)].records = nil
	p.spare = min(k, p.spare-1) + 1
	for n := len(p.chunks); n > 0 && p.chunks[n-1].records == nil; n-- {
		p.chunks = p.chunks[:n-1]
		p.partial[(n-1)>>6] &^= 1 << ((n - 1) & 63)
	}
	if cap(p.chunks) > 4*len(p.chunks)+16 {
		p.chunks = slices.Clone(p.chunks)
	}
	p.partial = p.partial[:(len(p.chunks)+63)>>6]
	p.low = min(p.low, len(p.partial))
}

// bytes is the memory the pool takes.
func (p *pool[T]) bytes() int {
	n := cap(p.chunks)*int(unsafe.Sizeof(poolChunk[T]{})) + 8*cap(p.partial)
	for i := range p.chunks {
		if r := p.chunks[i].records; r != nil {
			n += int(unsafe.Sizeof(*r))
		}
	}
	return n
}
