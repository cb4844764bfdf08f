package conntrack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// holds reports whether the index has the reference, probing as Table.find does.
func (x *Index) holds(tag, ref uint32) bool {
	want := entry(tag, ref)
	s := x.segment(tag)
	for i := uint(tag) % segmentLen; s[i] != 0; i = (i + 1) % segmentLen {
		if s[i] == want {
			return true
		}
	}
	return false
}

// entries counts the references in the index, and looks whether its parts agree.
func (x *Index) entries(t *testing.T) int {
	t.Helper()
	n, segments := 0, 0
	var at [maxDepth + 1]int
	for i, s := range x.dir {
		if d := s.depth(); d > x.depth || s != x.dir[i>>(x.depth-d)<<(x.depth-d)] {
			t.Fatalf("entry %d of the directory: a segment of depth %d, which others share", i, d)
		}
		if i > 0 && x.dir[i-1] == s {
			continue
		}
		segments++
		at[s.depth()]++
		used := 0
		for _, entry := range s[1:] {
			if entry == 0 {
				continue
			}
			used++
			if x.segment(uint32(entry>>32)) != s {
				t.Fatalf("an entry with tag %#x is in another segment", entry>>32)
			}
		}
		if used != s.used() {
			t.Fatalf("%d entries in a segment that counts %d", used, s.used())
		}
		n += used
	}
	if segments != x.count || at != x.at || len(x.dir) != 1<<x.depth {
		t.Fatalf("%d segments, counted %d; by depth %v, counted %v; a directory of %d at depth %d", segments, x.count,
			at, x.at, len(x.dir), x.depth)
	}
	return n
}

// indexModel is an index beside the map that it must agree with.
type indexModel struct {
	t    *testing.T
	x    Index
	want map[uint32]uint32 // reference to tag
	refs []uint32
	next uint32

	refused int
}

func newIndexModel(t *testing.T) *indexModel {
	return &indexModel{t: t, x: NewIndex(1, 2), want: map[uint32]uint32{}}
}

func (m *indexModel) insert(tag uint32) {
	tag = max(1, tag)
	if !m.x.Insert(tag, m.next) {
		if s := m.x.segment(tag); s.used() < segmentLen-2 {
			m.t.Fatalf("no room for tag %#x with %d of %d slots in use", tag, s.used(), segmentLen)
		}
		m.refused++
		return
	}
	m.want[m.next] = tag
	m.refs = append(m.refs, m.next)
	m.next++
}

func (m *indexModel) remove(k int) {
	ref := m.refs[k]
	tag := m.want[ref]
	m.x.Remove(tag, ref)
	delete(m.want, ref)
	m.refs[k] = m.refs[len(m.refs)-1]
	m.refs = m.refs[:len(m.refs)-1]
	if m.x.holds(tag, ref) {
		m.t.Fatalf("reference %d is still there after its removal", ref)
	}
}

func (m *indexModel) check() {
	m.t.Helper()
	for ref, tag := range m.want {
		if !m.x.holds(tag, ref) {
			m.t.Fatalf("reference %d with tag %#x is lost among %d", ref, tag, len(m.want))
		}
	}
	if n := m.x.entries(m.t); n != len(m.want) {
		m.t.Fatalf("%d entries in the index, %d in the map", n, len(m.want))
	}
}

func TestIndexAgainstMap(t *testing.T) {
	tags := map[string]func(*rand.Rand) uint32{
		"spread":    func(r *rand.Rand) uint32 { return r.Uint32() },
		"few":       func(r *rand.Rand) uint32 { return uint32(r.IntN(40)) << 26 },
		"alike":     func(r *rand.Rand) uint32 { return ^uint32(0) - uint32(r.IntN(1<<12)) },
		"at end":    func(r *rand.Rand) uint32 { return ^uint32(0) - uint32(r.IntN(1<<22)) },
		"same":      func(*rand.Rand) uint32 { return 0xfffffff0 },
		"same home": func(r *rand.Rand) uint32 { return r.Uint32() | segmentLen - 1 },
		"tag zero":  func(*rand.Rand) uint32 { return 0 },
	}
	for name, tag := range tags {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 7))
				m := newIndexModel(t)
				most := 0
				// It grows and shrinks in waves, so that there are removals in every phase.
				for wave := range 4 {
					for k := range 6000 {
						insert := r.IntN(10) < 9
						if wave%2 == 1 {
							insert = !insert
						}
						if insert || len(m.refs) == 0 {
							m.insert(tag(r))
						} else {
							m.remove(r.IntN(len(m.refs)))
						}
						most = max(most, m.x.count)
						if k%500 == 0 {
							m.check()
						}
					}
				}
				for len(m.refs) > 0 {
					m.remove(r.IntN(len(m.refs)))
				}
				m.check()
				if spread := name == "spread" || name == "same home"; spread && (most < 5 || m.refused > 0) {
					t.Errorf("at most %d segments, %d refused; the test misses its point", most, m.refused)
				}
				if len(m.x.dir) > 1 {
					t.Errorf("the empty index has a directory of %d", len(m.x.dir))
				}
			})
		}
	}
}

// However many entries there are, an insertion or removal touches few of them.
func TestIndexSplitsASegmentAtATime(t *testing.T) {
	m := newIndexModel(t)
	r := rand.New(rand.NewPCG(3, 4))
	before := 1
	for range 30000 {
		m.insert(r.Uint32())
		if m.x.count > before+1 {
			t.Fatalf("one insertion made %d segments", m.x.count-before)
		}
		before = m.x.count
	}
	if before < 32 {
		t.Errorf("only %d segments in the end", before)
	}
	if load := float64(len(m.refs)) / float64(before*segmentLen); load < 0.35 {
		t.Errorf("the slots are used to %.2f only", load)
	}
}

// The hash must use every field of the tuple, tell the directions apart and
// depend on both secrets.
func TestIndexTag(t *testing.T) {
	base := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000002, SrcPort: 1000, DstPort: 80, Proto: 6}
	x := NewIndex(0x1234567890abcdef, 0xfedcba0987654321)
	seen := map[uint32]string{x.tag(&base): "base"}
	vary := map[string]packet.Tuple{"reverse": base.Reverse()}
	for name, change := range map[string]func(*packet.Tuple){
		"src":      func(p *packet.Tuple) { p.Src++ },
		"dst":      func(p *packet.Tuple) { p.Dst++ },
		"src port": func(p *packet.Tuple) { p.SrcPort++ },
		"dst port": func(p *packet.Tuple) { p.DstPort++ },
		"proto":    func(p *packet.Tuple) { p.Proto = 17 },
	} {
		p := base
		change(&p)
		vary[name] = p
	}
	for name, p := range vary {
		tag := x.tag(&p)
		if other, taken := seen[tag]; taken {
			t.Errorf("%s has the tag of %s", name, other)
		}
		seen[tag] = name
	}
	for name, y := range map[string]Index{
		"first secret":  NewIndex(1, 0xfedcba0987654321),
		"second secret": NewIndex(0x1234567890abcdef, 1),
	} {
		if y.tag(&base) == x.tag(&base) {
			t.Errorf("%s: another one gives the same tag", name)
		}
	}
}

// Tuples as a port scan makes them must spread over the slots.
func TestIndexTagSpreads(t *testing.T) {
	x := NewIndex(rand.Uint64(), rand.Uint64())
	const n = 1 << 14
	var buckets [256]int
	for i := range uint32(n) {
		p := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000100 + packet.Addr(i>>8), SrcPort: 4000,
			DstPort: uint16(i & 255), Proto: 6}
		buckets[x.tag(&p)>>24]++
	}
	for i, k := range buckets {
		if k > 3*n/256 {
			t.Errorf("bucket %d has %d entries, %d on average", i, k, n/256)
		}
	}
}

// Indexes that are empty share a segment, and an index that gets an entry has one of its own from then on.
func TestIndexesAreEmptyAtNoCost(t *testing.T) {
	x, y := NewIndex(1, 2), NewIndex(3, 4)
	y.Remove(5, 6)
	if n := testing.AllocsPerRun(10, func() { NewIndex(1, 2) }); n != 0 || x.Bytes() != 0 {
		t.Errorf("an empty index takes %v allocations and %d bytes", n, x.Bytes())
	}
	x.Insert(5, 6)
	if !x.holds(5, 6) || x.Bytes() == 0 || y.holds(5, 6) || y.Bytes() != 0 || y.entries(t) != 0 {
		t.Errorf("one index has %d entries, another one %d", x.entries(t), y.entries(t))
	}
}
