package conntrack_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

const (
	inside   = 0x0a000001 // 10.0.0.1
	external = 0xc6336401 // 198.51.100.1
	remote   = 0xcb007101 // 203.0.113.1
)

func udp(src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) packet.Tuple {
	return packet.Tuple{Src: src, Dst: dst, SrcPort: srcPort, DstPort: dstPort, Proto: packet.ProtoUDP}
}

// plain commits a connection that nothing translates.
func plain(t *testing.T, table *conntrack.Table, tuple packet.Tuple, now time.Duration) *conntrack.Conn {
	t.Helper()
	c, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(),
		Segment: packet.Segment{Flags: packet.SYN}}, now)
	if c == nil {
		t.Fatalf("Commit(%v): %v", tuple, r)
	}
	return c
}

func there(table *conntrack.Table, tuple packet.Tuple, now time.Duration) bool {
	c, _ := table.Lookup(&tuple, now)
	return c != nil
}

func TestLookupFindsBothDirections(t *testing.T) {
	table := newTable(conntrack.Config{})
	n := conntrack.NewConn{
		Original: udp(remote, 4000, external, 80), Reply: udp(inside, 8080, remote, 4000),
		In: [2]uint16{1, 2}, Out: [2]uint16{2, 1}, Hop: [2]uint32{7, 8}, Backend: 10, Marks: conntrack.Mark2,
	}
	c, _ := table.Commit(&n, 0)
	for d, tuple := range []packet.Tuple{n.Original, n.Reply} {
		got, dir := table.Lookup(&tuple, 0)
		if got != c || dir != conntrack.Direction(d) {
			t.Errorf("Lookup(%v) = %p, %d, want %p, %d", tuple, got, dir, c, d)
		}
		if c.Tuple(dir) != tuple {
			t.Errorf("Tuple(%d) = %v", d, c.Tuple(dir))
		}
	}
	for _, tuple := range []packet.Tuple{n.Original.Reverse(), n.Reply.Reverse(), {}} {
		if there(table, tuple, 0) {
			t.Errorf("%v is found", tuple)
		}
	}
	if c.Translated(conntrack.Original) != n.Reply.Reverse() || c.Translated(conntrack.Reply) != n.Original.Reverse() {
		t.Errorf("translations %v and %v", c.Translated(conntrack.Original), c.Translated(conntrack.Reply))
	}
	if c.In != n.In || c.Out != n.Out || c.Hop != n.Hop || !table.Current(c) || c.Backend != 10 {
		t.Error("a field of the router was not kept")
	}
	if !c.NATed() || c.Marks() != conntrack.Mark2 {
		t.Errorf("NATed %t, marks %b", c.NATed(), c.Marks())
	}
}

func TestRewriteIsThatOfTheTuples(t *testing.T) {
	table := newTable(conntrack.Config{})
	n := conntrack.NewConn{Original: udp(remote, 4000, external, 80), Reply: udp(inside, 8080, remote, 4001)}
	c, _ := table.Commit(&n, 0)
	if got, want := c.Rewrite(conntrack.Original), packet.NewRewrite(n.Original, n.Reply.Reverse()); got != want {
		t.Errorf("original: %+v, want %+v", got, want)
	}
	got, want := c.Rewrite(conntrack.Reply), packet.NewRewrite(n.Reply, n.Original.Reverse())
	if got != want {
		t.Errorf("reply: %+v, want %+v", got, want)
	}
	p := plain(t, table, udp(1, 1, 2, 2), 0)
	if p.NATed() || p.Rewrite(conntrack.Original).AddrDelta != 0 || p.Rewrite(conntrack.Original).PortDelta != 0 {
		t.Errorf("untranslated: NATed %t, %+v", p.NATed(), p.Rewrite(conntrack.Original))
	}
}

func TestTupleTaken(t *testing.T) {
	first := conntrack.NewConn{Original: udp(1, 1, 2, 2), Reply: udp(3, 3, 1, 1)}
	for name, n := range map[string]conntrack.NewConn{
		"same original":          {Original: first.Original, Reply: udp(9, 9, 1, 1)},
		"same reply":             {Original: udp(9, 9, 2, 2), Reply: first.Reply},
		"original is the reply":  {Original: first.Reply, Reply: udp(9, 9, 3, 3)},
		"reply is the original":  {Original: udp(9, 9, 2, 2), Reply: first.Original},
		"one tuple for both":     {Original: udp(5, 5, 5, 5), Reply: udp(5, 5, 5, 5)},
		"the same one once more": first,
	} {
		table := newTable(conntrack.Config{})
		table.Commit(&first, 0)
		if c, r := table.Commit(&n, 0); c != nil || r != conntrack.TupleTaken {
			t.Errorf("%s: %p, %v", name, c, r)
		}
		if table.Len() != 1 || table.Stats().Created != 1 {
			t.Errorf("%s: %d connections", name, table.Len())
		}
	}
}

func TestExpiry(t *testing.T) {
	cfg := conntrack.Config{UDP: 5 * time.Second, ICMP: 7 * time.Second, Other: 9 * time.Second,
		TCPTransitory: 11 * time.Second}
	for _, c := range []struct {
		proto uint8
		after time.Duration
	}{{packet.ProtoUDP, cfg.UDP}, {packet.ProtoICMP, cfg.ICMP}, {47, cfg.Other}, {packet.ProtoTCP, cfg.TCPTransitory}} {
		for name, start := range map[string]time.Duration{
			"at the start": 0, "later": time.Hour, "clock about to wrap": (1<<32 - 2000) * time.Millisecond,
		} {
			t.Run(packet.ProtoName(c.proto)+" "+name,
				func(t *testing.T) { testExpiry(t, cfg, c.proto, start, c.after) })
		}
	}
}

// testExpiry: exactly at the deadline, not a millisecond before, counted from
// the last packet of either direction.
func testExpiry(t *testing.T, cfg conntrack.Config, proto uint8, start, after time.Duration) {
	tuple := packet.Tuple{Src: 1, Dst: 2, Proto: proto}
	reverse := tuple.Reverse()
	table := newTable(cfg)
	plain(t, table, tuple, start)
	last := start
	for d, tp := range []*packet.Tuple{&tuple, &reverse, &tuple} {
		last += after - time.Millisecond
		c, dir := table.Lookup(tp, last)
		if c == nil {
			t.Fatalf("gone before its deadline (packet %d)", d)
		}
		// Flags 0: a TCP connection stays where it is, half open.
		table.Touch(c, dir, 0, false, last)
	}
	if wake := table.Tick(last + after - time.Millisecond); table.Len() != 1 {
		t.Fatal("Tick removed it before its deadline")
	} else if wake < last+after-time.Millisecond {
		t.Fatalf("Tick wants to be called at %v, that is gone", wake)
	}
	if there(table, tuple, last+after) {
		t.Error("found at its deadline")
	}
	if s := table.Stats(); s.Expired != 1 || table.Len() != 0 {
		t.Errorf("%+v, %d left", s, table.Len())
	}
}

// Tick on its own reclaims everything not long after it is due.
func TestTickReclaims(t *testing.T) {
	for _, start := range []time.Duration{0, (1<<32 - 3000) * time.Millisecond} {
		table := newTable(conntrack.Config{UDP: 10 * time.Second})
		for i := range packet.Addr(40000) { // several steps
			plain(t, table, udp(i, 1, remote, 2), start+time.Duration(i/8)*time.Millisecond)
		}
		last := start + 15*time.Second
		now, calls := start, 0
		for now = table.Tick(start); now != 0; now = table.Tick(now) {
			if calls++; calls > 1000 {
				t.Fatal("Tick is called over and over")
			}
			oldest := now - 10*time.Second - 500*time.Millisecond
			if k := uint32(max(0, oldest-start)/time.Millisecond) * 8; table.Len() > 40000-int(min(k, 40000))+1<<15 {
				t.Fatalf("at %v there are still %d", now-start, table.Len())
			}
			if now > last+2*time.Second {
				t.Fatalf("%d are left at %v", table.Len(), now-start)
			}
		}
		if table.Len() != 0 || table.Stats().Expired != 40000 {
			t.Errorf("%d left, %+v", table.Len(), table.Stats())
		}
	}
}

// A deadline that comes nearer (a reset) is not slept through.
func TestTickHurries(t *testing.T) {
	table := newTable(conntrack.Config{})
	c := play(t, table, "oS rSA oA")
	table.Tick(time.Hour) // from here on it waits for the established timeout
	table.Touch(c, conntrack.Original, packet.RST, false, time.Hour)
	due := time.Hour + conntrack.TCPTransitoryTimeout
	if wake := table.Tick(time.Hour); wake == 0 || wake > due {
		t.Fatalf("Tick wants to be called at %v, the deadline is %v", wake, due)
	}
	if table.Tick(due - time.Millisecond); table.Len() != 1 {
		t.Error("gone before the deadline")
	}
	if table.Tick(due); table.Len() != 0 {
		t.Error("still there at the deadline")
	}
	if wake := table.Tick(due); wake != 0 {
		t.Errorf("an empty table wants to be called at %v", wake)
	}
}

// Nor is one that comes nearer while a walk is on its way and past it.
func TestTickHurriesDuringWalk(t *testing.T) {
	const transitory = 20 * time.Second
	table := newTable(conntrack.Config{UDP: 10 * time.Second, Other: time.Hour, TCPTransitory: transitory})
	c := play(t, table, "oS rSA oA")
	plain(t, table, udp(1, 1, 2, 2), 0)
	for i := range packet.Addr(40000) {
		plain(t, table, packet.Tuple{Src: i, Dst: remote, Proto: 47}, 0)
	}
	now := 10 * time.Second
	if wake := table.Tick(now); wake != now+50*time.Millisecond {
		t.Fatalf("the walk is done in one step, or sleeps: next call at %v", wake)
	}
	table.Touch(c, conntrack.Original, packet.RST, false, now)
	due := now + transitory
	for now = table.Tick(now); now != 0 && now < due; now = table.Tick(now) {
	}
	if now > due+time.Second {
		t.Errorf("Tick wants to be called at %v, the deadline is %v", now, due)
	}
}

func TestEvictionOrder(t *testing.T) {
	const size = 8
	table := newTable(conntrack.Config{MaxConnections: size})
	tuple := func(k int) packet.Tuple { return udp(packet.Addr(k), 1, remote, 2) }
	open := func(k int) { // replied: may not be evicted
		c := plain(t, table, tuple(k), 0)
		table.Touch(c, conntrack.Reply, 0, false, 0)
	}
	closed := func(k uint16) *conntrack.Conn {
		c := plain(t, table, tcpTuple(k), 0)
		table.Touch(c, conntrack.Reply, packet.SYN|packet.ACK, false, 0)
		table.Touch(c, conntrack.Original, packet.ACK, false, 0)
		table.Touch(c, conntrack.Reply, packet.RST, false, 0)
		return c
	}
	for k := range 4 {
		open(k)
	}
	closed(1)
	closed(2)
	plain(t, table, tuple(10), 0)
	plain(t, table, tuple(11), 0)

	open(4) // closed connections go first
	if there(table, tcpTuple(1), 0) || !there(table, tcpTuple(2), 0) || !there(table, tuple(10), 0) {
		t.Fatal("the oldest closed connection should have made room")
	}
	open(5)
	if there(table, tcpTuple(2), 0) || !there(table, tuple(10), 0) {
		t.Fatal("the second closed connection should have made room")
	}
	open(6)
	if there(table, tuple(10), 0) || !there(table, tuple(11), 0) {
		t.Fatal("the oldest half-open connection should have made room")
	}
	open(7)
	n := conntrack.NewConn{Original: tuple(8), Reply: tuple(8).Reverse()}
	if c, r := table.Commit(&n, 0); c != nil || r != conntrack.TableFull {
		t.Fatalf("Commit into a table of open connections: %p, %v", c, r)
	}
	if s := table.Stats(); s.Evicted != 4 || table.Len() != size {
		t.Errorf("%+v, %d connections", s, table.Len())
	}
	for k := range 8 {
		if !there(table, tuple(k), 0) {
			t.Errorf("open connection %d was evicted", k)
		}
	}
}

// Half-open connections never fill more than half of the table, and one that is
// answered leaves the queue, wherever it stood there.
func TestHalfOpenShare(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 10})
	var first [5]*conntrack.Conn
	for k := range first {
		first[k] = plain(t, table, udp(packet.Addr(k), 1, remote, 2), 0)
	}
	table.Touch(first[2], conntrack.Reply, 0, false, 0) // from the middle
	table.Touch(first[4], conntrack.Reply, 0, false, 0) // the last
	table.Touch(first[0], conntrack.Reply, 0, false, 0) // the first
	for k := range 20 {
		plain(t, table, udp(packet.Addr(100+k), 1, remote, 2), 0)
	}
	for k, want := range []bool{true, false, true, false, true} {
		if there(table, udp(packet.Addr(k), 1, remote, 2), 0) != want {
			t.Errorf("connection %d: there %t", k, !want)
		}
	}
	for k := range 20 {
		if want := k >= 15; there(table, udp(packet.Addr(100+k), 1, remote, 2), 0) != want {
			t.Errorf("half-open connection %d: there %t", k, !want)
		}
	}
	if table.Len() != 8 {
		t.Errorf("%d connections, want 3 open and 5 half open", table.Len())
	}
}

func TestHostShare(t *testing.T) {
	for _, owner := range []conntrack.Owner{conntrack.OwnerSource, conntrack.OwnerDest, conntrack.OwnerNone} {
		table := newTable(conntrack.Config{MaxConnections: 100, HostShare: 0.05})
		conn := func(k int) conntrack.NewConn {
			out := udp(inside, uint16(1000+k), remote, 2)
			if owner == conntrack.OwnerDest {
				in := udp(remote, uint16(1000+k), external, 2)
				return conntrack.NewConn{Original: in, Reply: udp(inside, 2, remote, uint16(1000+k)), Owner: owner}
			}
			return conntrack.NewConn{Original: out, Reply: out.Reverse(), Owner: owner}
		}
		var conns []*conntrack.Conn
		for k := range 5 {
			n := conn(k)
			c, _ := table.Commit(&n, 0)
			table.Touch(c, conntrack.Reply, 0, false, 0)
			conns = append(conns, c)
		}
		want := conntrack.HostShareUsed
		if owner == conntrack.OwnerNone {
			want = conntrack.None
		}
		n := conn(5)
		if _, r := table.Commit(&n, 0); r != want {
			t.Errorf("owner %d: the sixth connection: %v, want %v", owner, r, want)
		}
		other := udp(inside+1, 1, remote, 2)
		if _, r := table.Commit(&conntrack.NewConn{Original: other, Reply: other.Reverse(), Owner: owner},
			0); r != conntrack.None {
			t.Errorf("owner %d: another host: %v", owner, r)
		}
		table.Remove(conns[0])
		n = conn(6)
		if _, r := table.Commit(&n, 0); r != conntrack.None {
			t.Errorf("owner %d: after one has ended: %v", owner, r)
		}
	}
}

func TestEndedIsCalledOnce(t *testing.T) {
	ended := map[packet.Tuple]conntrack.Reason{}
	table := conntrack.NewTable(conntrack.Config{MaxConnections: 4, UDP: time.Second}, rand.New(rand.NewPCG(1, 2)))
	table.Observe(hooks{ended: func(c *conntrack.Conn, e conntrack.Ending) {
		tuple := c.Tuple(conntrack.Original)
		if _, twice := ended[tuple]; twice || c.Backend != 42 || e.Cut {
			t.Errorf("%v of backend %d ended: %+v; before: %t", tuple, c.Backend, e, twice)
		}
		if table.Has(&tuple) {
			t.Errorf("%v is found when it has ended", tuple)
		}
		ended[tuple] = e.Reason
	}})
	add := func(k packet.Addr) *conntrack.Conn {
		tuple := udp(k, 1, remote, 2)
		c, _ := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(), Backend: 42}, 0)
		return c
	}
	for k := range packet.Addr(3) { // the first is evicted: two half-open ones at most
		add(k)
	}
	removed, _ := table.Lookup(new(udp(1, 1, remote, 2)), 0)
	table.Remove(removed)
	if there(table, udp(2, 1, remote, 2), time.Second) {
		t.Error("not expired")
	}
	add(3)
	table.Tick(time.Minute)
	add(4)
	removeIf(table, func(*conntrack.Conn) bool { return true })
	want := []conntrack.Reason{conntrack.Evicted, conntrack.Removed, conntrack.TimedOut, conntrack.TimedOut,
		conntrack.Removed}
	for k := range packet.Addr(5) {
		if got, ok := ended[udp(k, 1, remote, 2)]; !ok || got != want[k] {
			t.Errorf("connection %d ended: %t, %v, want %v", k, ok, got, want[k])
		}
	}
}

// Observers hear of an event one after the other, and of the ranks as they are at the time. They
// hear the same move that Touch returns.
func TestObservers(t *testing.T) {
	var got []string
	observer := func(name string) conntrack.Observer {
		return hooks{
			began: func(c *conntrack.Conn) { got = append(got, fmt.Sprint(name, " began ", c.Rank())) },
			moved: func(c *conntrack.Conn, from, to conntrack.Rank) {
				if c.Rank() != to {
					t.Errorf("rank %d in a move to %d", c.Rank(), to)
				}
				got = append(got, fmt.Sprint(name, " moved ", from, to))
			},
			ended: func(c *conntrack.Conn, e conntrack.Ending) {
				got = append(got, fmt.Sprint(name, " ended ", c.Rank(), " ", e.Reason))
			},
		}
	}
	table := newTable(conntrack.Config{})
	table.Observe(observer("a"))
	table.Observe(observer("b"))
	c := plain(t, table, tcpTuple(1), 0)
	var moves []conntrack.Move
	for _, s := range []struct {
		d     conntrack.Direction
		flags uint8
	}{{conntrack.Reply, syn | ack}, {conntrack.Original, ack}, {conntrack.Original, ack}, {conntrack.Reply, rst}} {
		moves = append(moves, table.Touch(c, s.d, s.flags, false, 0))
	}
	table.Remove(c)
	wantMoves := []conntrack.Move{
		{}, {From: conntrack.HalfOpen, To: conntrack.Lasting}, {}, {From: conntrack.Lasting, To: conntrack.Over},
	}
	if !slices.Equal(moves, wantMoves) {
		t.Errorf("moves %v, want %v", moves, wantMoves)
	}
	want := []string{
		"a began 1", "b began 1", "a moved 1 2", "b moved 1 2", "a moved 2 3", "b moved 2 3",
		"a ended 3 removed", "b ended 3 removed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestConnections(t *testing.T) {
	table := newTable(conntrack.Config{UDP: 10 * time.Second})
	plain(t, table, udp(1, 1, 2, 2), 0)
	c := plain(t, table, udp(3, 3, 4, 4), 2*time.Second)
	table.Touch(c, conntrack.Reply, 0, false, 4*time.Second)
	got := map[packet.Addr]conntrack.Connection{}
	shown(table, 9*time.Second, func(c conntrack.Connection) { got[c.Original.Src] = c })
	want := map[packet.Addr]conntrack.Connection{
		1: {Original: udp(1, 1, 2, 2), Reply: udp(2, 2, 1, 1), Idle: 9 * time.Second, Remaining: time.Second},
		3: {
			Original: udp(3, 3, 4, 4), Reply: udp(4, 4, 3, 3), State: conntrack.Established, Replied: true,
			Idle: 5 * time.Second, Remaining: 5 * time.Second,
		},
	}
	if len(got) != 2 || got[1] != want[1] || got[3] != want[3] {
		t.Errorf("%+v, want %+v", got, want)
	}
	n := 0
	shown(table, 10*time.Second, func(conntrack.Connection) { n++ })
	if n != 1 {
		t.Errorf("%d connections at the first one's deadline", n)
	}
}

// ARCHITECTURE.md and the README promise connections that are small, however many: the index is
// emptiest just after it has split.
func TestMemoryOfConnections(t *testing.T) {
	routed := func(t *testing.T, table *conntrack.Table, k packet.Addr) {
		tuple := udp(k, 1, remote, 2)
		plain(t, table, tuple, 0)
	}
	for n := packet.Addr(50_000); n < 112_000; n += 6_000 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := newTable(conntrack.Config{HostShare: 1})
		for k := range n {
			routed(t, table, k)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap := int(after.HeapAlloc-before.HeapAlloc) / int(n)
		if got := table.Bytes() / int(n); got > 160 || heap > 165 {
			t.Errorf("%d connections of %d bytes by the table's own account, %d on the heap; want at most 160", n, got,
				heap)
		} else {
			t.Logf("%d connections: %d bytes each", n, got)
		}
		runtime.KeepAlive(table)
	}
}

func TestNoAllocations(t *testing.T) {
	table := newTable(conntrack.Config{})
	tuple := udp(1, 1, 2, 2)
	plain(t, table, tuple, 0)
	table.Touch(play(t, table, "oS rSA"), conntrack.Original, packet.ACK, false, 0)
	reply := tuple.Reverse()
	got := testing.AllocsPerRun(1000, func() {
		for _, tp := range []*packet.Tuple{&tuple, &reply} {
			c, d := table.Lookup(tp, time.Second)
			table.Touch(c, d, 0, true, time.Second)
		}
		tcp := tcpTuple(1)
		c, d := table.Lookup(&tcp, time.Second)
		table.Touch(c, d, packet.ACK, true, time.Second)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
	churn := testing.AllocsPerRun(1000, func() {
		tuple := udp(9, 9, 8, 8)
		c, _ := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(), Owner: conntrack.OwnerSource},
			time.Second)
		table.Remove(c)
	})
	if churn != 0 {
		t.Errorf("%v allocations to commit and remove", churn)
	}
}

// Warm saves time only, and changes nothing: for tuples that are in the table and others, in a table of any size.
func TestWarmChangesNothing(t *testing.T) {
	table := newTable(conntrack.Config{})
	var tuples []packet.Tuple
	for k := range packet.Addr(conntrack.WarmFrom + 10) {
		tuple := udp(inside, uint16(k), remote+k, 53)
		if k%conntrack.WarmFrom >= 5 {
			tuples = append(tuples, tuple) // the first ones are not there
			plain(t, table, tuple, 0)
		} else {
			tuples = append([]packet.Tuple{tuple}, tuples...)
		}
	}
	before := table.Stats()
	for len(tuples) > 0 {
		n := min(len(tuples), 2*conntrack.WarmMost) // more than it takes
		if allocs := testing.AllocsPerRun(1, func() { table.Warm(tuples[:n]) }); allocs != 0 {
			t.Fatalf("%v allocations", allocs)
		}
		tuples = tuples[n:]
	}
	table.Warm(nil)
	if table.Stats() != before || table.Len() != conntrack.WarmFrom {
		t.Errorf("%+v, %d connections", table.Stats(), table.Len())
	}
}

// Where connections end faster than the sweep goes at its usual pace, it makes haste: expired connections do not
// keep new ones out.
func TestSweepKeepsUp(t *testing.T) {
	const rate, timeout, limit = 60, 2, 200_000 // a millisecond; seconds: 120 000 live at a time
	table := newTable(conntrack.Config{UDP: timeout * time.Second, MaxConnections: limit, HostShare: 1})
	wake := time.Duration(0)
	k := uint32(0)
	for ms := range 11_000 {
		now := time.Duration(ms) * time.Millisecond
		for range rate {
			k++
			tuple := packet.Tuple{Src: inside + packet.Addr(k>>14), SrcPort: uint16(k), Dst: remote, DstPort: 53,
				Proto: packet.ProtoUDP}
			c, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, now)
			if r != conntrack.None {
				n := 0
				shown(table, now, func(conntrack.Connection) { n++ })
				t.Fatalf("at %v: %v; %d of %d connections live, the others have expired", now, r, n, table.Len())
			}
			table.Touch(c, conntrack.Reply, 0, false, now)
		}
		if wake == 0 || now >= wake {
			if wake = table.Tick(now); wake == 0 {
				wake = now + 250*time.Millisecond
			}
		}
	}
}

// Before the sweep has come by, a table full of expired connections takes new ones.
func TestExpiredMakeRoom(t *testing.T) {
	table := newTable(conntrack.Config{UDP: time.Second, MaxConnections: 4, HostShare: .5})
	for i := range uint16(4) {
		f := udp(inside+packet.Addr(i/2), 5000+i, remote, 53)
		owner := conntrack.OwnerSource
		if i >= 2 { // a second host may not have all the rest
			owner = conntrack.OwnerNone
		}
		c, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: owner}, 0)
		if r != conntrack.None {
			t.Fatal(r)
		}
		table.Touch(c, conntrack.Reply, 0, false, 0)
	}
	f := udp(inside+9, 1, remote, 1)
	if _, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: conntrack.OwnerSource},
		time.Hour); r != conntrack.None {
		t.Errorf("a new host: %v, though every connection has expired", r)
	}
	f = udp(inside, 1, remote, 1)
	if _, r := table.Commit(&conntrack.NewConn{Original: f, Reply: f.Reverse(), Owner: conntrack.OwnerSource},
		time.Hour); r != conntrack.None {
		t.Errorf("an old host: %v, though every connection has expired", r)
	}
}

// Unanswered streams are passed over while they are used. A search for room passes over eight of them at most, so
// it ends.
func TestSecondChances(t *testing.T) {
	for _, streams := range []int{8, 9} {
		table := newTable(conntrack.Config{MaxConnections: 20})
		open := func(k int) *conntrack.Conn { return plain(t, table, udp(packet.Addr(k), 1, remote, 2), 0) }
		for k := range 10 {
			if c := open(k); k < streams {
				table.Touch(c, conntrack.Original, 0, false, time.Second)
			}
		}
		open(10)
		for k := range 10 {
			if there(table, udp(packet.Addr(k), 1, remote, 2), time.Second) != (k != 8) {
				t.Errorf("%d streams: connection %d is there %t", streams, k, k == 8)
			}
		}
		// They have had their chance, and go if they are not used again: 9, and then the first.
		open(11)
		open(12)
		for k := range 10 {
			if there(table, udp(packet.Addr(k), 1, remote, 2), time.Second) != (k > 0 && k < 8) {
				t.Errorf("%d streams: connection %d is there %t, after two more", streams, k, k == 0 || k > 7)
			}
		}
	}
}
