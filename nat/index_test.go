package nat

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// holds reports whether the index has the reference, probing as Table.find does.
func (x *index) holds(tag, ref uint32) bool {
	want := uint64(tag)<<32 | uint64(ref+1)
	for _, part := range []struct {
		slots []uint64
		shift uint8
	}{{x.slots, x.shift}, {x.old, x.oldShift}} {
		if part.slots == nil {
			continue
		}
		mask := len(part.slots) - 1
		for i := place(tag, part.shift); part.slots[i] != 0; i = (i + 1) & mask {
			if part.slots[i] == want {
				return true
			}
		}
	}
	return false
}

// entries counts the references in the index, wherever they lie.
func (x *index) entries() int {
	n := 0
	for _, s := range x.slots {
		if s != 0 {
			n++
		}
	}
	for _, s := range x.old {
		if s != 0 && s != tombstone {
			n++
		}
	}
	return n
}

// indexModel is an index beside the map that it must agree with.
type indexModel struct {
	t    *testing.T
	x    index
	want map[uint32]uint32 // reference to tag
	refs []uint32
	next uint32
}

func newIndexModel(t *testing.T) *indexModel {
	return &indexModel{t: t, x: newIndex(1, 2), want: map[uint32]uint32{}}
}

func (m *indexModel) insert(tag uint32) {
	m.x.insert(tag, m.next)
	m.want[m.next] = tag
	m.refs = append(m.refs, m.next)
	m.next++
}

func (m *indexModel) remove(k int) {
	ref := m.refs[k]
	tag := m.want[ref]
	m.x.remove(tag, ref)
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
	if n := m.x.entries(); n != len(m.want) {
		m.t.Fatalf("%d entries in the index, %d in the map", n, len(m.want))
	}
	if used := len(m.x.slots); m.x.used > used*maxLoadFifth/5+1 {
		m.t.Fatalf("%d of %d slots in use", m.x.used, used)
	}
}

func TestIndexAgainstMap(t *testing.T) {
	tags := map[string]func(*rand.Rand) uint32{
		"spread":    func(r *rand.Rand) uint32 { return r.Uint32() },
		"few":       func(r *rand.Rand) uint32 { return uint32(r.IntN(40)) << 26 },
		"at end":    func(r *rand.Rand) uint32 { return ^uint32(0) - uint32(r.IntN(1<<22)) },
		"all alike": func(*rand.Rand) uint32 { return 0xfffffff0 },
		"tag zero":  func(*rand.Rand) uint32 { return 0 },
	}
	for name, tag := range tags {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 7))
				m := newIndexModel(t)
				grew := false
				for k := range 2500 {
					// It grows in waves, so that removals meet every phase.
					if bias := 3 + k/500%2*4; len(m.refs) == 0 || r.IntN(10) >= bias-1 {
						m.insert(tag(r))
					} else {
						m.remove(r.IntN(len(m.refs)))
					}
					grew = grew || m.x.old != nil
					if k%50 == 0 {
						m.check()
					}
				}
				m.check()
				if !grew {
					t.Error("the index never grew; the test misses its point")
				}
			})
		}
	}
}

// A growth that removals interrupt must not forget what has not moved yet, nor
// bring back what is gone.
func TestIndexRemovalDuringGrowth(t *testing.T) {
	for moved := range 8 {
		m := newIndexModel(t)
		r := rand.New(rand.NewPCG(uint64(moved), 1))
		for m.x.old == nil {
			m.insert(r.Uint32())
		}
		for range moved {
			m.insert(r.Uint32())
		}
		if moved == 0 && (m.x.moved != moveAtATime || m.x.old == nil) {
			t.Fatalf("after the first insertion of a growth %d slots have moved", m.x.moved)
		}
		for len(m.refs) > 0 {
			m.remove(r.IntN(len(m.refs)))
			m.check()
		}
		for range 4 * minSlots {
			m.insert(r.Uint32())
		}
		m.check()
	}
}

// Two growths that follow each other at once must not lose the first one's rest.
func TestIndexGrowthFinishesFormer(t *testing.T) {
	m := newIndexModel(t)
	for m.x.old == nil {
		m.insert(m.next * 0x9e3779b9)
	}
	m.x.grow()
	m.check()
}

func TestIndexMovesAFewAtATime(t *testing.T) {
	m := newIndexModel(t)
	r := rand.New(rand.NewPCG(3, 4))
	before, growths := 0, 0
	for range 20000 {
		m.insert(r.Uint32())
		switch {
		case m.x.old == nil:
			before = 0
			continue
		case m.x.moved < before:
			before = 0
		}
		if before == 0 {
			growths++
		}
		if m.x.moved-before > moveAtATime {
			t.Fatalf("one insertion moved %d slots", m.x.moved-before)
		}
		before = m.x.moved
	}
	if growths < 5 {
		t.Errorf("%d growths seen, want several", growths)
	}
}

// The hash must use every field of the tuple, tell the directions apart and
// depend on both secrets.
func TestIndexTag(t *testing.T) {
	base := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000002, SrcPort: 1000, DstPort: 80, Proto: 6}
	x := newIndex(0x1234567890abcdef, 0xfedcba0987654321)
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
	for name, y := range map[string]index{
		"first secret":  newIndex(1, 0xfedcba0987654321),
		"second secret": newIndex(0x1234567890abcdef, 1),
	} {
		if y.tag(&base) == x.tag(&base) {
			t.Errorf("%s: another one gives the same tag", name)
		}
	}
}

// Tuples as a port scan makes them must spread over the slots.
func TestIndexTagSpreads(t *testing.T) {
	x := newIndex(rand.Uint64(), rand.Uint64())
	const n = 1 << 14
	var buckets [256]int
	for i := range uint32(n) {
		p := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000100 + i>>8, SrcPort: 4000, DstPort: uint16(i & 255), Proto: 6}
		buckets[x.tag(&p)>>24]++
	}
	for i, k := range buckets {
		if k > 3*n/256 {
			t.Errorf("bucket %d has %d entries, %d on average", i, k, n/256)
		}
	}
}
