package nat

import (
	"cmp"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
)

// meaning is counted up when a field of a mapping means something else than before, though its place is the same.
const meaning = 3

// Layout says in words how the mappings of this program lie in memory, as conntrack.Layout does for connections.
func Layout() string { return conntrack.LayoutOf[mapping, struct{}](meaning) }

// A MappingChunk is a copy of a chunk of a table's mappings.
type MappingChunk = conntrack.Chunk[mapping, struct{}]

// MappingSizes are the sizes of a chunk of mappings.
func MappingSizes() conntrack.Sizes {
	return (*conntrack.Slab[mapping, struct{}, *mapping])(nil).Sizes()
}

// RestoreMappings takes over the mappings of a chunk from a table whose process has ended. They are there when the
// connections that use them come, by Restore, and EndRestore ends the others. Ports that are kept back stay so, from
// EndRestore on.
func (t *Table) RestoreMappings(chunk *MappingChunk) {
	for k := range chunk.Records {
		m := &chunk.Records[k]
		pi, ok := protoIndex(m.proto)
		if ok && m.form == kept {
			t.formerKept = append(t.formerKept, *m)
		}
		if !ok || m.form&whole == 0 || m.form&^whole > AddressAndPortDependent {
			continue
		}
		if space := t.ports(m.ext, pi); space.mapping(m.extPort) == 0 {
			key := m.key()
			t.newMapping(&key, m.extPort)
		}
	}
}

// Restore takes over the connections of a chunk: see conntrack.Table.Restore. The mappings that they use must be there.
// It sets r.Accept.
func (t *Table) Restore(chunk *conntrack.ConnChunk, r *conntrack.Restoration, now time.Duration) {
	r.Accept = t.accept
	t.conns.Restore(chunk, r, now)
	t.planned = [2]planned{}
}

// EndRestore takes over what waits for all other connections to be there, and ends the mappings that none uses.
func (t *Table) EndRestore(r *conntrack.Restoration, now time.Duration) {
	t.conns.EndRestore(r)
	t.planned = [2]planned{}
	for _, e := range t.externals {
		for _, s := range e.ports {
			if s != nil {
				t.endUnused(s)
			}
		}
	}
	t.restoreKept(uint32(r.Former/time.Millisecond), uint32(now/time.Millisecond))
}

// restoreKept keeps ports back that the former process has kept back. former is what its clock says now, in
// milliseconds.
func (t *Table) restoreKept(former, now uint32) {
	all := t.formerKept
	t.formerKept = nil
	age := func(m *mapping) uint32 { return former - m.Prev }
	// The first is freed first.
	slices.SortFunc(all, func(a, b mapping) int { return cmp.Compare(age(&b), age(&a)) })
	for k := range all {
		m := &all[k]
		pi, _ := protoIndex(m.proto)
		space := t.ports(m.ext, pi)
		if !space.free(m.extPort) {
			continue
		}
		space.take(m.extPort)
		i := t.mappings.list.Take()
		*t.mappings.list.At(i) = mapping{ext: m.ext, addr: m.addr, port: m.port, extPort: m.extPort, proto: m.proto}
		space.keepBack(i, t.mappings.list.At(i), now-age(m))
	}
}

// accept finds the mappings of a connection that is taken over. It refuses a connection that has lost one.
func (t *Table) accept(c *conntrack.Conn) bool {
	t.planned = [2]planned{}
	for side, marks := range [...]conntrack.Marks{sourceMapped, destMapped} {
		if c.Marks()&marks == 0 {
			continue
		}
		// The mapping's external endpoint is where packets of the other direction are sent to, or those of this one.
		outside, inside := c.Tuple(conntrack.Reply), c.Tuple(conntrack.Original)
		if side == 1 {
			outside, inside = inside, outside
		}
		i := t.behind(outside.Dst, outside.DstPort, outside.Proto)
		if i == 0 {
			return false
		}
		m := t.mappings.list.At(i)
		if m.addr != inside.Src || m.port != inside.SrcPort {
			return false
		}
		t.planned[side] = planned{used: true, key: m.key(), ext: m.extPort}
	}
	return true
}

// endUnused ends the mappings of a port space that no connection uses.
func (t *Table) endUnused(s *portSpace) {
	for row := range s.mapped {
		for k := 0; s.mapped[row] != nil && k < rowLen; k++ {
			if i := s.mapped[row][k]; i != 0 && t.mappings.list.At(i).first == 0 {
				t.endMapping(i)
			}
		}
	}
}
