package nat

import (
	"math/bits"
	"unsafe"
)

// A slab holds connections by number, in chunks: what every packet looks at in
// one part, a cache line each, and the rest in another. Numbers are given out from
// the bottom, so that chunks at the top become empty and are given back when
// there are fewer connections.
type slab struct {
	chunks  []chunk
	partial []uint64 // bit i: chunks[i] has a free place
	low     int      // no word of partial below this has a bit set
	empty   int      // chunks that are allocated, with nothing in use
}

type chunk struct {
	conns *[chunkLen]Conn // nil: not allocated
	links *[chunkLen]links
	free  uint32 // first free place, none: chunkLen
	used  uint32
}

// links is the part of a connection that few packets look at.
type links struct {
	prev, next uint32 // in the eviction queue that its state belongs to; next also in a chunk's free list
	stream            // of TCP; of others end[0] is when it was listed as half-open
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
	noConn    = ^uint32(0)
)

// conn returns connection i.
func (s *slab) conn(i uint32) *Conn { return &s.chunks[i>>chunkBits].conns[i%chunkLen] }

// links returns the rest of connection i.
func (s *slab) links(i uint32) *links { return &s.chunks[i>>chunkBits].links[i%chunkLen] }

// top is one more than the highest number that may be in use.
func (s *slab) top() uint32 { return uint32(len(s.chunks)) << chunkBits }

// alloc takes the first free place.
func (s *slab) alloc() uint32 {
	for s.low < len(s.partial) && s.partial[s.low] == 0 {
		s.low++
	}
	var k int
	if s.low < len(s.partial) {
		k = s.low<<6 + bits.TrailingZeros64(s.partial[s.low])
	} else { // every chunk there is, is full
		k = len(s.chunks)
		s.chunks = append(s.chunks, chunk{})
		if s.low = k >> 6; s.low == len(s.partial) {
			s.partial = append(s.partial, 0)
		}
		s.partial[s.low] |= 1 << (k & 63)
	}
	c := &s.chunks[k]
	switch {
	case c.conns == nil:
		c.conns, c.links = new([chunkLen]Conn), new([chunkLen]links)
		for i := range c.links {
			c.links[i].next = uint32(i) + 1
		}
		c.free = 0
	case c.used == 0:
		s.empty--
	}
	i := c.free
	c.free = c.links[i].next
	if c.used++; c.used == chunkLen {
		s.partial[k>>6] &^= 1 << (k & 63)
	}
	return uint32(k)<<chunkBits | i
}

// release gives a place back. Of the chunks that have become empty, one is kept:
// a table that comes and goes by a few connections should not allocate.
func (s *slab) release(i uint32) {
	k := int(i >> chunkBits)
	c := &s.chunks[k]
	c.conns[i%chunkLen] = Conn{}
	c.links[i%chunkLen] = links{next: c.free}
	c.free = i % chunkLen
	s.partial[k>>6] |= 1 << (k & 63)
	s.low = min(s.low, k>>6)
	if c.used--; c.used > 0 {
		return
	}
	if s.empty++; s.empty == 1 {
		return
	}
	s.empty--
	c.conns, c.links = nil, nil
	for n := len(s.chunks); n > 0 && s.chunks[n-1].conns == nil; n-- {
		s.chunks = s.chunks[:n-1]
		s.partial[(n-1)>>6] &^= 1 << ((n - 1) & 63)
	}
	s.partial = s.partial[:(len(s.chunks)+63)>>6]
	s.low = min(s.low, len(s.partial))
}

// bytes is the memory the slab takes.
func (s *slab) bytes() int {
	n := 0
	for i := range s.chunks {
		if s.chunks[i].conns != nil {
			n += chunkLen * int(unsafe.Sizeof(Conn{})+unsafe.Sizeof(links{}))
		}
	}
	return n + cap(s.chunks)*int(unsafe.Sizeof(chunk{})) + 8*cap(s.partial)
}
