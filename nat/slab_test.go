package nat

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestConnIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n != 64 {
		t.Errorf("a connection takes %d bytes", n)
	}
	var s slab
	s.alloc()
	if at := uintptr(unsafe.Pointer(s.chunks[0].conns)); at%64 != 0 {
		t.Errorf("the first connection is at %#x, in two cache lines", at)
	}
}

// Places are given out once, from the bottom, and chunks that have become empty
// are given back.
func TestSlab(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s slab
	used := map[uint32]bool{}
	var list []uint32
	add := func() {
		i := s.alloc()
		if used[i] || i >= s.top() {
			t.Fatalf("place %d is given out twice, or beyond the top %d", i, s.top())
		}
		if c := s.conn(i); *c != (Conn{}) {
			t.Fatalf("place %d is not clean", i)
		}
		s.conn(i).self, s.conn(i).flags = i, connLive
		used[i] = true
		list = append(list, i)
	}
	remove := func(k int) {
		i := list[k]
		if s.conn(i).self != i {
			t.Fatalf("place %d holds connection %d", i, s.conn(i).self)
		}
		delete(used, i)
		list[k] = list[len(list)-1]
		list = list[:len(list)-1]
		s.release(i)
	}
	for wave := range 6 {
		for range 150 * chunkLen {
			if (r.IntN(8) == 0) == (wave%2 == 1) || len(list) == 0 {
				add()
			} else {
				remove(r.IntN(len(list)))
			}
		}
		if wave%2 == 1 {
			for len(list) > 3*chunkLen {
				remove(len(list) - 1)
			}
		}
	}
	if s.top() < chunkLen {
		t.Error("nothing happened")
	}
	for len(list) > 0 {
		remove(r.IntN(len(list)))
	}
	if n := s.bytes(); n > 2*chunkLen*80 {
		t.Errorf("the empty slab takes %d bytes", n)
	}
	if s.alloc() >= chunkLen {
		t.Error("the first place after all is not at the bottom")
	}
}
