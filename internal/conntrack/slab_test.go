package conntrack

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestConnIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n != 64 {
		t.Errorf("a connection takes %d bytes", n)
	}
	var s Slab[Conn, links, *Conn]
	s.Take()
	if at := uintptr(unsafe.Pointer(s.chunks[0].records)); at%64 != 0 {
		t.Errorf("the first connection is at %#x, in two cache lines", at)
	}
}

type slabRecord [3]uint32

func (r *slabRecord) Link() *uint32 { return &r[1] }

// A slabModel is a slab beside the map that it must agree with.
type slabModel struct {
	t    *testing.T
	r    *rand.Rand
	slab Slab[slabRecord, uint32, *slabRecord]
	want map[uint32]uint32
	list []uint32
}

func (m *slabModel) take() {
	s := &m.slab
	i, v := s.Take(), m.r.Uint32()
	if _, ok := m.want[i]; ok || i == 0 || i >= s.top() || s.unused(i) {
		m.t.Fatalf("number %d is given out twice, or is none, or beyond the top %d", i, s.top())
	}
	if *s.At(i) != (slabRecord{}) || *s.Column(i) != 0 {
		m.t.Fatalf("record %d is not clean", i)
	}
	s.At(i)[1], *s.Column(i) = v, ^v
	m.want[i] = v
	m.list = append(m.list, i)
}

func (m *slabModel) free(k int) {
	i := m.list[k]
	if v := m.want[i]; m.slab.At(i)[1] != v || *m.slab.Column(i) != ^v {
		m.t.Fatalf("record %d is %d and %d, not %d and its complement", i, m.slab.At(i)[1], *m.slab.Column(i), v)
	}
	m.slab.Free(i)
	delete(m.want, i)
	last := len(m.list) - 1
	m.list[k], m.list = m.list[last], m.list[:last]
}

// check compares what the slab knows of itself.
func (m *slabModel) check() {
	s := &m.slab
	used := make([]int, len(s.chunks))
	for i := range m.want {
		used[i>>chunkBits]++
	}
	spare := 0
	for k := range s.chunks {
		full := used[k] == chunkLen-int(firstOf(k))
		if int(s.usage[k].used) != used[k] || (s.chunks[k].records == nil) != (s.chunks[k].column == nil) ||
			full != (s.partial[k>>6]>>(k&63)&1 == 0) {
			m.t.Fatalf("chunk %d has %d records, and thinks %d (partial %x)", k, used[k], s.usage[k].used,
				s.partial[k>>6])
		}
		if used[k] == 0 && s.chunks[k].records != nil {
			spare++
		}
	}
	if spare > 1 || (spare == 1) != s.spared {
		m.t.Fatalf("%d chunks are empty", spare)
	}
}

// Numbers are given out once, from the lowest chunks, and never 0. Records keep their contents, and
// memory follows the number of records in use.
func TestSlab(t *testing.T) {
	m := slabModel{t: t, r: rand.New(rand.NewPCG(1, 2)), want: map[uint32]uint32{}}
	for round, most := range []int{3000, 10, 100_000, 0, 70_000, 1, 1023, 1024, 0} {
		for len(m.list) != most {
			grow := len(m.list) < most
			if m.r.IntN(4) == 0 {
				grow = !grow
			}
			if grow {
				m.take()
			} else if n := len(m.list); n > 0 {
				m.free(m.r.IntN(n))
			}
		}
		m.check()
		if got := m.slab.Bytes(); most < 100 && got > (most+2)*chunkLen*17+8192 {
			t.Errorf("round %d: %d records take %d bytes", round, most, got)
		}
	}
	if i := m.slab.Take(); i >= chunkLen {
		t.Errorf("the first number after all is %d, not at the bottom", i)
	}
}
