package nat

import (
	"math/bits"
	"unsafe"
)

// A pool holds records by number, in chunks that never move, so that it grows
// without copying. Numbers are given out from the bottom, and the memory of a chunk
// that has become empty is given back, as in a slab. T must have no pointers.
type pool[T any] struct {
	chunks  []*poolChunk[T] // nil: not allocated
	partial []uint64        // bit k: chunks[k] has a free place
	low     int             // no word of partial below this has a bit set
	empty   int             // chunks that are allocated, with nothing in use
}

type poolChunk[T any] struct {
	records [chunkLen]T
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
		p.chunks = append(p.chunks, nil)
		if p.low = k >> 6; p.low == len(p.partial) {
			p.partial = append(p.partial, 0)
		}
		p.partial[p.low] |= 1 << (k & 63)
	}
	k := p.low<<6 + bits.TrailingZeros64(p.partial[p.low])
	c := p.chunks[k]
	switch {
	case c == nil:
		c = new(poolChunk[T])
		p.chunks[k] = c
	case c.used == 0:
		p.empty--
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
	c := p.chunks[k]
	c.taken[i%chunkLen>>6] &^= 1 << (i & 63)
	p.partial[k>>6] |= 1 << (k & 63)
	p.low = min(p.low, k>>6)
	if c.used--; c.used > 0 {
		return
	}
	if p.empty++; p.empty == 1 {
		return
	}
	p.empty--
	p.chunks[k] = nil
	for n := len(p.chunks); n > 0 && p.chunks[n-1] == nil; n-- {
		p.chunks = p.chunks[:n-1]
		p.partial[(n-1)>>6] &^= 1 << ((n - 1) & 63)
	}
	p.partial = p.partial[:(len(p.chunks)+63)>>6]
	p.low = min(p.low, len(p.partial))
}

// bytes is the memory the pool takes.
func (p *pool[T]) bytes() int {
	n := 8 * (cap(p.chunks) + cap(p.partial))
	for _, c := range p.chunks {
		if c != nil {
			n += int(unsafe.Sizeof(*c))
		}
	}
	return n
}
