package nat

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A testMemory is a Memory that a test can copy at any time.
type testMemory struct {
	sizes   conntrack.Sizes
	records map[int][]byte
	columns map[int][]byte
}

func newTestMemory(sizes conntrack.Sizes) *testMemory {
	return &testMemory{sizes, map[int][]byte{}, map[int][]byte{}}
}

func (m *testMemory) Take(k int) (records, column []byte) {
	m.records[k], m.columns[k] = alignedBytes(m.sizes.Records), alignedBytes(m.sizes.Column)
	return m.records[k], m.columns[k]
}

func (m *testMemory) Give(k int) {
	delete(m.records, k)
	delete(m.columns, k)
}

// alignedBytes returns zero bytes that are aligned as records must be.
func alignedBytes(n int) []byte {
	all := make([][64]byte, n/64+1)
	b := make([]byte, 0, len(all)*64)
	return b[:n:n]
}

// sameNumbers implements conntrack.Renumbering, conntrack.Names and Numbers where numbers mean what they meant.
type sameNumbers struct{}

func (sameNumbers) Interface(i uint16) (uint16, bool) { return i, true }

func (sameNumbers) Backend(c *conntrack.Conn) (conntrack.Backend, conntrack.Class, bool) {
	return c.Backend, 0, true
}

type testNames struct{}

func (testNames) InterfaceID(i uint16) string            { return fmt.Sprint(i) }
func (testNames) BackendID(b conntrack.Backend) string   { return fmt.Sprint(b) }
func (testNames) ClassID(*conntrack.Conn) (class string) { return class }

// A restoreTest is a disorder whose tables lie in memory that is copied.
type restoreTest struct {
	*disorder
	conns, mappings *testMemory
	restored        int
	moment          string
}

func newRestoreTest(t *testing.T, seed uint64) *restoreTest {
	x := &restoreTest{conns: newTestMemory(conntrack.ConnSizes()), mappings: newTestMemory(MappingSizes())}
	x.disorder = newDisorderIn(t, seed, x.conns, x.mappings, func(c *conntrack.Table) {
		c.Observe(midway{x, "before the mappings hear of it"})
	})
	x.disorder.conns.Observe(midway{x, "after the mappings have heard of it"})
	return x
}

// midway looks at the memory in the middle of what a table does.
type midway struct {
	*restoreTest
	when string
}

func (m midway) Began(c *conntrack.Conn) { m.maybe(c, "a connection begins, "+m.when) }

func (m midway) Moved(*conntrack.Conn, conntrack.Rank, conntrack.Rank) {}

func (m midway) Ended(c *conntrack.Conn, _ conntrack.Ending) {
	m.maybe(c, "a connection ends, "+m.when)
}

func (m midway) maybe(c *conntrack.Conn, moment string) {
	if m.r.IntN(60) == 0 {
		m.moment = moment
		m.compare(c)
	}
}

// compare restores the tables as they lie in memory, and looks whether it is all there but one connection, which is
// about to begin or to end.
func (m *restoreTest) compare(but *conntrack.Conn) {
	m.t.Helper()
	var want []Record
	for c := range m.live {
		if c != but {
			if r := m.table.Export(c, testNames{}, m.now); r.Remaining > 0 && r.Remaining < math.MaxUint32/2*1e6 {
				for d := range r.Streams {
					r.Streams[d].Later = conntrack.LaterSYN{} // those are not kept
				}
				want = append(want, r)
			}
		}
	}
	for i := range want { // without the other connection, because that has expired, it is no successor any more
		if r := &want[i]; r.Succeeds {
			first := func(o Record) bool { return !o.Succeeds && o.Original == r.Original }
			r.Succeeds = slices.ContainsFunc(want, first)
		}
	}
	got := m.restore()
	var all []Record
	got.conns.Walk(0, math.MaxInt, m.now, func(c *conntrack.Conn) bool {
		all = append(all, got.table.Export(c, testNames{}, m.now))
		got.live[c] = disorderConn{c.Tuple(conntrack.Original), c.Tuple(conntrack.Reply), c.Marks()}
		return true
	})
	order := func(a, b Record) int { return cmp.Compare(fmt.Sprint(a.Reply), fmt.Sprint(b.Reply)) }
	slices.SortFunc(want, order)
	slices.SortFunc(all, order)
	for i := range max(len(all), len(want)) {
		switch {
		case i >= len(all):
			m.t.Fatalf("%s: missing %+v", m.moment, want[i])
		case i >= len(want):
			m.t.Fatalf("%s: unexpected %+v", m.moment, all[i])
		case all[i] != want[i]:
			m.t.Fatalf("%s:\n got %+v\nwant %+v", m.moment, all[i], want[i])
		}
	}
	got.check()
	got.checkFree()
	m.restored += len(all)
}

// restore makes tables of a copy of the memory.
func (m *restoreTest) restore() *disorder {
	rng := rand.New(rand.NewPCG(7, 7))
	got := &disorder{t: m.t, now: m.now, live: map[*conntrack.Conn]disorderConn{}}
	got.conns = conntrack.NewTable(conntrack.Config{
		MaxConnections: 6000, HostShare: 0.6, UDP: m.cfg.UDP, TCPEstablished: m.cfg.TCPEstablished,
		TCPOpening: m.cfg.TCPOpening, TCPClosing: m.cfg.TCPClosing,
	}, rng)
	got.table = NewTable(m.table.cfg, got.conns, rng)
	got.table.mappings.list.Memory = nil
	for _, k := range keys(m.mappings) {
		chunk := new(MappingChunk)
		records, column := chunk.Bytes()
		copy(records, m.mappings.records[k])
		copy(column, m.mappings.columns[k])
		got.table.RestoreMappings(chunk)
	}
	r := &conntrack.Restoration{Numbers: sameNumbers{}, Former: m.now}
	got.conns.Reserve(m.disorder.conns.Len())
	for _, k := range keys(m.conns) {
		chunk := new(conntrack.ConnChunk)
		records, column := chunk.Bytes()
		copy(records, m.conns.records[k])
		copy(column, m.conns.columns[k])
		got.table.Restore(chunk, r, m.now)
	}
	got.table.EndRestore(r)
	if r.Refused > 0 {
		m.t.Fatalf("%s: %d connections are refused", m.moment, r.Refused)
	}
	return got
}

func keys(m *testMemory) (all []int) {
	for k := range m.records {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// Whenever the process ends, also in the middle of what a table does, the next one finds every connection that is
// whole, and none that is not.
func TestRestore(t *testing.T) {
	restored, successors := 0, 0
	for seed := range uint64(27) {
		x := newRestoreTest(t, seed)
		for range 1200 {
			x.step()
			if x.r.IntN(20) == 0 {
				x.moment = "between two steps"
				x.compare(nil)
			}
			x.disorder.conns.Walk(0, math.MaxInt, x.now, func(c *conntrack.Conn) bool {
				if x.disorder.conns.Succeeds(c) {
					successors++
				}
				return true
			})
		}
		restored += x.restored
	}
	if restored == 0 || successors == 0 {
		t.Errorf("%d connections, %d successors: that is not what is meant", restored, successors)
	}
}

// A record that says nonsense is refused, or the connection is one that a table can have.
func FuzzRestore(f *testing.F) {
	x := newRestoreTest(&testing.T{}, 1)
	for range 300 {
		x.step()
	}
	for _, k := range keys(x.conns) {
		f.Add(slices.Clone(x.conns.records[k][64:64*8]), slices.Clone(x.mappings.records[k][48:48*8]))
	}
	f.Fuzz(func(t *testing.T, conns, mappings []byte) {
		rng := rand.New(rand.NewPCG(7, 7))
		got := &disorder{t: t, live: map[*conntrack.Conn]disorderConn{}}
		got.conns = conntrack.NewTable(conntrack.Config{}, rng)
		got.table = NewTable(Config{}, got.conns, rng)
		mc, cc := new(MappingChunk), new(conntrack.ConnChunk)
		records, _ := mc.Bytes()
		copy(records, mappings)
		got.table.RestoreMappings(mc)
		records, _ = cc.Bytes()
		copy(records, conns)
		r := &conntrack.Restoration{Numbers: sameNumbers{}}
		got.table.Restore(cc, r, 0)
		got.table.EndRestore(r)
		tuples := map[packet.Tuple]bool{}
		got.conns.Walk(0, math.MaxInt, 0, func(c *conntrack.Conn) bool {
			if reply := c.Tuple(conntrack.Reply); tuples[reply] {
				t.Fatalf("two connections answer to %v", reply)
			} else {
				tuples[reply] = true
			}
			got.table.Export(c, testNames{}, 0)
			return true
		})
		got.conns.Walk(0, math.MaxInt, 0, func(c *conntrack.Conn) bool { got.conns.Remove(c); return true })
		if n := got.conns.Len(); n > 0 {
			t.Fatalf("%d connections cannot be removed", n)
		}
	})
}
