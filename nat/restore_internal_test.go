package nat

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

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
	restored, kept  int
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
	if but == nil {
		m.compareKept(got)
	}
	m.restored += len(all)
}

// compareKept wants ports that are kept back to stay so for the rest of their time. There may be more of them, of
// connections that have expired meanwhile.
func (m *restoreTest) compareKept(got *disorder) {
	m.t.Helper()
	for addr, e := range m.table.externals {
		for pi, s := range e.ports {
			for wellKnown := 0; s != nil && wellKnown < len(s.cooldowns); wellKnown++ {
				for port, want := range s.cooldowns[wellKnown].by {
					if uint32(m.now/time.Millisecond)-want.since >= cooldownTime {
						continue
					}
					kept := got.table.ports(addr, pi).cooldowns[wellKnown].by[port]
					if kept.host != want.host || kept.since != want.since {
						m.t.Fatalf("%s: port %d of protocol %d is kept back for %v since %d, not for %v since %d",
							m.moment, port, pi, kept.host, kept.since, want.host, want.since)
					}
					m.kept++
				}
			}
		}
	}
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
	got.table.EndRestore(r, m.now)
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
	restored, successors, kept := 0, 0, 0
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
		restored, kept = restored+x.restored, kept+x.kept
	}
	if restored == 0 || successors == 0 || kept == 0 {
		t.Errorf("%d connections, %d successors, %d ports: that is not what is meant", restored, successors, kept)
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
		got.table.EndRestore(r, 0)
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

// Ports that are kept back are freed in the order of their time, also after a restart, and each by its own.
func TestKeptPortsAreRestored(t *testing.T) {
	const ext, host = 0xc6336401, 0x0a000001
	rng := rand.New(rand.NewPCG(7, 7))
	newTable := func(m conntrack.Memory) *Table {
		return NewTable(Config{Filtering: EndpointIndependent, Memory: m},
			conntrack.NewTable(conntrack.Config{}, rng), rng)
	}
	memory := newTestMemory(MappingSizes())
	former := newTable(memory)
	begin := func(port uint16) uint32 {
		return former.newMapping(&mapKey{ext: ext, addr: host, port: port, proto: packet.ProtoUDP}, port)
	}
	later, earlier := begin(4001), begin(4000) // the order of the records is the other one
	former.conns.Tick(10 * time.Second)
	former.endMapping(earlier)
	former.conns.Tick(60 * time.Second)
	former.endMapping(later)

	chunk := new(MappingChunk)
	records, _ := chunk.Bytes()
	copy(records, memory.records[0])
	table, now := newTable(nil), 5*time.Second
	table.RestoreMappings(chunk)
	table.EndRestore(&conntrack.Restoration{Former: 100 * time.Second}, now)
	space := table.ports(ext, 1)
	for _, c := range []struct {
		after time.Duration // the restart
		free  [2]bool       // 4000 and 4001
	}{{0, [2]bool{}}, {29 * time.Second, [2]bool{}}, {31 * time.Second, [2]bool{true, false}},
		{79 * time.Second, [2]bool{true, false}}, {81 * time.Second, [2]bool{true, true}}} {
		table.Tick(now + c.after)
		if got := [2]bool{space.free(4000), space.free(4001)}; got != c.free {
			t.Errorf("%v after the restart, 4000 and 4001 are free: %v, want %v", c.after, got, c.free)
		}
	}
}

// The record of a port that is kept back is given back, when its time is over and when the host has the port again.
func TestKeptPortsGiveMemoryBack(t *testing.T) {
	conns := conntrack.NewTable(conntrack.Config{}, rand.New(rand.NewPCG(7, 7)))
	table := NewTable(Config{Filtering: EndpointIndependent}, conns, rand.New(rand.NewPCG(7, 7)))
	early := 0
	for k := range 5000 {
		key := mapKey{ext: 1, addr: 2, port: 4000, proto: packet.ProtoUDP}
		table.endMapping(table.newMapping(&key, key.port))
		if k%2 == 0 {
			now := time.Duration(k) * 3 * time.Minute
			conns.Tick(now)
			table.Tick(now)
		}
		switch n := table.mappings.list.Bytes(); {
		case k == 10:
			early = n
		case k > 10 && n > early:
			t.Fatalf("%d bytes of mappings after %d ports, %d at first", n, k, early)
		}
	}
}
