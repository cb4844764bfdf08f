package nat

import "unsafe"

// A pool holds records by number, in chunks that never move, so that it grows
// without copying. Numbers that are given back are used again first. T must have no
// pointers.
type pool[T any] struct {
	chunks []*[chunkLen]T
	free   []uint32
	top    uint32 // numbers ever given out
}

// at returns record i.
func (p *pool[T]) at(i uint32) *T { return &p.chunks[i>>chunkBits][i%chunkLen] }

// add stores a record and returns its number.
func (p *pool[T]) add(v T) uint32 {
	var i uint32
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		i = p.top
		if int(i>>chunkBits) == len(p.chunks) {
			p.chunks = append(p.chunks, new([chunkLen]T))
		}
		p.top++
	}
	*p.at(i) = v
	return i
}

// remove gives a record's number back. When the last one goes, so does the memory.
func (p *pool[T]) remove(i uint32) {
	p.free = append(p.free, i)
	if len(p.free) == int(p.top) {
		*p = pool[T]{}
	}
}

// bytes is the memory the pool takes.
func (p *pool[T]) bytes() int {
	var v T
	return len(p.chunks)*(chunkLen*int(unsafe.Sizeof(v))+8) + 4*cap(p.free)
}
