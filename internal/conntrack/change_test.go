package conntrack_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// cutTable is a table that notes the RSTs of the connections that are cut.
type cutTable struct {
	*conntrack.Table
	resets map[packet.Tuple]packet.Segment
}

func newCutTable() *cutTable {
	k := &cutTable{newTable(conntrack.Config{}), map[packet.Tuple]packet.Segment{}}
	k.Observe(hooks{ended: func(c *conntrack.Conn, e conntrack.Ending) {
		if !e.Cut {
			return
		}
		for d := range conntrack.Direction(2) {
			if tuple, s, ok := k.Reset(c, d); ok {
				k.resets[tuple] = s
			}
		}
	}})
	return k
}

// through is a connection to an external address of an inside host's.
func through(ext packet.Addr, proto uint8, port uint16) conntrack.NewConn {
	t := packet.Tuple{Src: remote, Dst: ext, SrcPort: port, DstPort: 80, Proto: proto}
	to := t
	to.Dst = inside
	return conntrack.NewConn{Original: t, Reply: to.Reverse(), Segment: tcpSeg(packet.SYN, 1000, 0, 0)}
}

func (k *cutTable) commit(t *testing.T, n conntrack.NewConn) *conntrack.Conn {
	t.Helper()
	c, r := k.Commit(&n, 0)
	if c == nil {
		t.Fatal(r)
	}
	return c
}

func (k *cutTable) send(c *conntrack.Conn, d conntrack.Direction, s packet.Segment) {
	k.TouchTCP(c, d, &s, 0)
}

// established opens a TCP connection from 1000 and 5000.
func (k *cutTable) established(t *testing.T, n conntrack.NewConn) {
	t.Helper()
	c := k.commit(t, n)
	k.send(c, conntrack.Reply, tcpSeg(packet.SYN|packet.ACK, 5000, 1001, 0))
	k.send(c, conntrack.Original, tcpSeg(packet.ACK, 1001, 5001, 0))
}

// A connection that a change names is not found from then on, although it has not been removed yet. A connection
// that the change does not name is found.
func TestChangeEndsAtOnce(t *testing.T) {
	for _, asked := range []bool{true, false} { // a lookup comes across it, or the walk does
		k := newCutTable()
		k.established(t, through(external, packet.ProtoTCP, 1))
		k.established(t, through(external+1, packet.ProtoTCP, 2))
		k.commit(t, through(external, packet.ProtoUDP, 1))
		k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
		mine, other := through(external, packet.ProtoTCP, 1), through(external+1, packet.ProtoTCP, 2)
		if !k.Overruled(&mine.Original) || k.Overruled(&other.Original) {
			t.Error("Overruled does not know what the change names")
		}
		n := 0
		shown(k.Table, 0, func(conntrack.Connection) { n++ })
		if n != 1 {
			t.Errorf("%d connections are shown", n)
		}
		if asked && (there(k.Table, mine.Original, 0) || there(k.Table, mine.Reply, 0) ||
			there(k.Table, through(external, packet.ProtoUDP, 1).Reply, 0)) {
			t.Error("what is over is found")
		}
		if !k.Settle(0) || k.Len() != 1 || !there(k.Table, other.Original, 0) {
			t.Errorf("%d connections are left", k.Len())
		}
		if got := k.Stats().Settled; got != 2 {
			t.Errorf("%d connections are counted as settled", got)
		}
		if len(k.resets) != 2 {
			t.Errorf("resets %v", k.resets)
		}
		k.established(t, mine) // by the new rule
		if !k.Settle(0) || !there(k.Table, mine.Original, 0) {
			t.Error("a new connection ends with the former ones")
		}
	}
}

// The tuple of a connection that a change has ended is free for another connection.
func TestOverruledTupleIsFree(t *testing.T) {
	k := newCutTable()
	before := through(external, packet.ProtoUDP, 1)
	k.commit(t, before)
	k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
	after := packet.Tuple{Src: inside + 1, Dst: remote, SrcPort: 80, DstPort: 1, Proto: packet.ProtoUDP}
	if !k.Available(&before.Original) || !k.Has(&before.Original) {
		t.Errorf("available %t, there %t", k.Available(&before.Original), k.Has(&before.Original))
	}
	k.commit(t, conntrack.NewConn{Original: after, Reply: before.Original})
}

// A RST reaches the other side only if its numbers are what that side expects next,
// however far the connection has come.
func TestResetNumbers(t *testing.T) {
	const (
		client = conntrack.Original
		server = conntrack.Reply
	)
	synAck := tcpSeg(packet.SYN|packet.ACK, 5000, 1001, 0)
	type numbers struct {
		seq, ack uint32
		flags    uint8
	}
	none := numbers{}
	for name, c := range map[string]struct {
		first packet.Segment
		play  func(k *cutTable, c *conntrack.Conn)
		want  [2]numbers // towards the side that opened it, and towards the other side
	}{
		"only a SYN": {tcpSeg(packet.SYN, 1000, 0, 0), func(*cutTable, *conntrack.Conn) {},
			[2]numbers{{0, 1001, rst | ack}, {1001, 0, rst}}},
		"answered": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) { k.send(c, server, synAck) },
			[2]numbers{{5001, 1001, rst | ack}, {1001, 5001, rst | ack}}},
		"with data": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) {
			k.send(c, server, synAck)
			k.send(c, client, tcpSeg(ack, 1001, 5001, 100))
			k.send(c, server, tcpSeg(ack, 5001, 1101, 1000))
			k.send(c, server, tcpSeg(ack, 5001, 1101, 10)) // once more, in part
		}, [2]numbers{{6001, 1101, rst | ack}, {1101, 6001, rst | ack}}},
		"half closed": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) {
			k.send(c, server, synAck)
			k.send(c, client, tcpSeg(packet.FIN|ack, 1001, 5001, 0))
		}, [2]numbers{{5001, 1002, rst | ack}, {1002, 5001, rst | ack}}},
		"picked up in the middle": {tcpSeg(ack, 7000, 9000, 50), func(*cutTable, *conntrack.Conn) {},
			[2]numbers{{9000, 7050, rst | ack}, {7050, 9000, rst | ack}}},
		"over": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) {
			k.send(c, server, synAck)
			k.send(c, client, tcpSeg(packet.FIN|ack, 1001, 5001, 0))
			k.send(c, server, tcpSeg(packet.FIN|ack, 5001, 1002, 0))
		}, [2]numbers{none, none}},
		"open again from the other side": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) {
			k.send(c, server, synAck)
			k.send(c, client, tcpSeg(packet.FIN|ack, 1001, 5001, 0))
			k.send(c, server, tcpSeg(packet.FIN|ack, 5001, 1002, 0))
			k.send(c, server, tcpSeg(packet.SYN, 9000, 0, 0))
		}, [2]numbers{{9001, 0, rst}, {0, 9001, rst | ack}}},
		"reset": {tcpSeg(packet.SYN, 1000, 0, 0), func(k *cutTable, c *conntrack.Conn) {
			k.send(c, server, synAck)
			k.send(c, server, tcpSeg(rst, 5001, 0, 0))
		}, [2]numbers{none, none}},
	} {
		k := newCutTable()
		n := through(external, packet.ProtoTCP, 1)
		n.Segment = c.first
		c.play(k, k.commit(t, n))
		k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
		k.Settle(0)
		for d, tuple := range []packet.Tuple{n.Original.Reverse(), n.Reply.Reverse()} {
			s, ok := k.resets[tuple]
			if got := (numbers{s.Seq, s.Ack, s.Flags}); got != c.want[d] || ok != (c.want[d] != none) {
				t.Errorf("%s: to side %d %+v (%t), want %+v", name, d, got, ok, c.want[d])
			}
		}
	}
}

// A member's connections go with it, but for TCP that it has answered, if that is
// to be kept. What has only been asked for, or has no connections, tries another one
// without noise.
func TestMemberChange(t *testing.T) {
	for _, keep := range []bool{true, false} {
		k := newCutTable()
		of := func(member uint32, proto uint8, port uint16) conntrack.NewConn {
			n := through(external, proto, port)
			n.Backend = conntrack.Backend(member)
			return n
		}
		for member := range uint32(3) { // 0: none
			k.established(t, of(member, packet.ProtoTCP, uint16(100+member)))
			k.commit(t, of(member, packet.ProtoTCP, uint16(200+member))) // a SYN
			k.commit(t, of(member, packet.ProtoUDP, uint16(300+member)))
		}
		k.Apply(conntrack.Change{Backends: []conntrack.Backend{2}, KeepTCP: keep})
		if !k.Settle(0) {
			t.Error("a small table takes more than one step")
		}
		for member := range uint32(3) {
			for i, n := range []conntrack.NewConn{of(member, packet.ProtoTCP, uint16(100+member)),
				of(member, packet.ProtoTCP, uint16(200+member)), of(member, packet.ProtoUDP, uint16(300+member))} {
				want := member != 2 || i == 0 && keep
				if got := there(k.Table, n.Original, 0); got != want {
					t.Errorf("keep %t: %v of member %d: %t", keep, n.Original, member, got)
				}
			}
		}
		if want := map[bool]int{true: 0, false: 2}[keep]; len(k.resets) != want {
			t.Errorf("keep %t: resets %v", keep, k.resets)
		}
	}
}

// A large table is settled in steps, each of which ends a bounded number of
// connections. A change that comes meanwhile is settled, too, also for connections that
// the walk has passed. A connection that its own packets have found to be right stays.
func TestSettleInSteps(t *testing.T) {
	const n = 100_000
	k := newCutTable()
	for i := range packet.Addr(n) {
		c := udp(remote+i, 1, external+i%2, 2)
		k.commit(t, conntrack.NewConn{Original: c, Reply: udp(inside, 2, remote+i, 1)})
	}
	k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
	steps, before := 0, k.Len()
	for done := false; !done; steps++ {
		done = k.Settle(0)
		if ended := before - k.Len(); ended > 1000 {
			t.Fatalf("step %d ended %d connections", steps, ended)
		}
		before = k.Len()
		if steps == 100 {
			if k.Len() == n/2 {
				t.Fatal("the first walk is over")
			}
			k.Apply(conntrack.Change{Addrs: []packet.Addr{remote + 1}}) // the walk has passed it
		}
		if steps == 101 && there(k.Table, udp(remote+1, 1, external+1, 2), 0) {
			t.Error("a connection that the walk has passed is found")
		}
	}
	if k.Len() != n/2-1 || steps < 10 {
		t.Errorf("%d connections left after %d steps", k.Len(), steps)
	}
	if !k.Settle(0) {
		t.Error("there is more to settle")
	}
}

// An idle connection that the walk has passed ends with the change after that walk began as well.
func TestChangeBehindTheWalk(t *testing.T) {
	for name, ch := range map[string]conntrack.Change{
		"address":  {Addrs: []packet.Addr{external + 7}},
		"backend":  {Backends: []conntrack.Backend{7}},
		"function": {Concerns: func(c *conntrack.Conn) bool { return c.Backend == 7 }},
	} {
		k := newCutTable()
		first := udp(remote, 1, external+7, 2)
		k.commit(t, conntrack.NewConn{Original: first, Reply: udp(inside, 2, remote, 1), Backend: 7})
		for i := range packet.Addr(40_000) {
			k.commit(t, conntrack.NewConn{Original: udp(remote+1+i, 1, external, 2),
				Reply: udp(inside, 2, remote+1+i, 1)})
		}
		k.Apply(conntrack.Change{Addrs: []packet.Addr{external + 1}})
		if k.Settle(0) {
			t.Fatal("done in one step")
		}
		k.Apply(ch)
		for !k.Settle(0) {
		}
		if k.Len() != 40_000 {
			t.Errorf("%s: %d connections left", name, k.Len())
		}
	}
}

// What is known of the way out is of one snapshot.
func TestLeave(t *testing.T) {
	table := newTable(conntrack.Config{})
	c := plain(t, table, udp(1, 1, 2, 2), 0)
	table.Leave(c, conntrack.Original, 3, 30)
	table.Leave(c, conntrack.Reply, 4, 40)
	if !table.Current(c) || c.Out != [2]uint16{3, 4} || c.Hop != [2]uint32{30, 40} {
		t.Errorf("out %v, hop %v", c.Out, c.Hop)
	}
	table.Apply(conntrack.Change{})
	if table.Current(c) {
		t.Error("a connection from before is current")
	}
	if !table.Settle(0) || table.Current(c) || !there(table, udp(1, 1, 2, 2), 0) {
		t.Error("a change that names nothing ends something")
	}
	table.Leave(c, conntrack.Reply, 5, 50)
	if !table.Current(c) || c.Out != [2]uint16{0, 5} || c.Hop != [2]uint32{0, 50} {
		t.Errorf("after a change: out %v, hop %v", c.Out, c.Hop)
	}
}

// A connection that has expired is not reset, even if a change names it.
func TestExpiredIsNotCut(t *testing.T) {
	k := newCutTable()
	k.established(t, through(external, packet.ProtoTCP, 1))
	k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
	if !k.Settle(3*time.Hour) || len(k.resets) != 0 || k.Stats().Settled != 0 {
		t.Errorf("resets %v", k.resets)
	}
	k.Tick(3 * time.Hour)
	if k.Len() != 0 || k.Stats().Expired != 1 {
		t.Errorf("%d connections", k.Len())
	}
}

// A change may judge by a function. It is asked about connections from before the change only, and what
// becomes of TCP is the change's own matter.
func TestChangeByFunction(t *testing.T) {
	for _, keep := range []bool{true, false} {
		k := newCutTable()
		for iface := range uint16(3) {
			for port, proto := range map[uint16]uint8{100: packet.ProtoTCP, 300: packet.ProtoUDP} {
				n := through(external, proto, port+iface)
				n.In[0] = iface
				k.established(t, n)
			}
			n := through(external, packet.ProtoTCP, 200+iface) // no more than a SYN
			n.In[0] = iface
			k.commit(t, n)
		}
		asked := 0
		k.Apply(conntrack.Change{KeepTCP: keep, Concerns: func(c *conntrack.Conn) bool {
			asked++
			return c.In[0] == 2
		}})
		after := through(external, packet.ProtoUDP, 999)
		after.In[0] = 2
		k.commit(t, after) // by the new rules
		for iface := range uint16(3) {
			for _, port := range []uint16{100, 200, 300} {
				proto := uint8(packet.ProtoTCP)
				if port == 300 {
					proto = packet.ProtoUDP
				}
				want := iface != 2 || keep && port == 100
				if got := there(k.Table, through(external, proto, port+iface).Original, 0); got != want {
					t.Errorf("keep %t: %d of interface %d: %t", keep, port, iface, got)
				}
			}
		}
		if !k.Settle(0) || asked == 0 || !there(k.Table, after.Original, 0) {
			t.Errorf("keep %t: asked %d times, or a new connection has ended", keep, asked)
		}
		if want := map[bool]int{true: 2, false: 4}[keep]; len(k.resets) != want { // of the SYN; also of the open one
			t.Errorf("keep %t: resets %v", keep, k.resets)
		}
		asked = 0
		k.Apply(conntrack.Change{Addrs: []packet.Addr{1}})
		if k.Settle(0); asked > 0 {
			t.Errorf("keep %t: a change is asked %d times after it has settled", keep, asked)
		}
	}
}

// Several changes are pending at once. Each connection is judged by the changes that are newer than it, each
// change with its own KeepTCP.
func TestPendingChanges(t *testing.T) {
	k := newCutTable()
	var changes []conntrack.Change
	of := func(i int) conntrack.NewConn {
		return through(external+packet.Addr(i%4), packet.ProtoTCP, uint16(1000+i))
	}
	type made struct {
		n     conntrack.NewConn
		after int // so many changes
	}
	var all []made
	for i := range 24 {
		n := of(i)
		n.Backend = conntrack.Backend(1 + i%3)
		k.established(t, n)
		all = append(all, made{n, len(changes)})
		port := uint16(1000 + i/2)
		ch := []conntrack.Change{
			{Addrs: []packet.Addr{external + packet.Addr(i%5), external + 2}, KeepTCP: i != 4},
			{Backends: []conntrack.Backend{conntrack.Backend(1 + i%4)}, KeepTCP: i%2 == 0},
			{Concerns: func(c *conntrack.Conn) bool { return c.Tuple(conntrack.Original).SrcPort == port },
				KeepTCP: i%3 == 0},
			{},
		}[i%4]
		k.Apply(ch)
		changes = append(changes, ch)
	}
	left := 0
	for _, m := range all {
		want := true
		for _, ch := range changes[m.after:] {
			if ch.KeepTCP {
				continue
			}
			tuple := m.n.Original
			want = want && !slices.Contains(ch.Addrs, tuple.Dst) && !slices.Contains(ch.Backends, m.n.Backend)
			if ch.Concerns != nil {
				c := conntrack.NewTable(conntrack.Config{}, rand.New(rand.NewPCG(1, 1)))
				want = want && !ch.Concerns(plain(t, c, tuple, 0))
			}
		}
		if want {
			left++
		}
		if k.Overruled(&m.n.Original) == want {
			t.Errorf("%v, made after %d changes, is overruled: %t", m.n.Original, m.after, want)
		}
	}
	if !k.Settle(0) || k.Len() != left || left < 4 || left > 20 {
		t.Errorf("%d connections are left, want %d", k.Len(), left)
	}
}

// The pending changes are bounded. The change that is one too many has the others settled first, so that
// none is forgotten before every connection has been judged.
func TestPendingChangesAreBounded(t *testing.T) {
	const n = 40_000
	for name, apply := range map[string]func(k *cutTable, i packet.Addr){
		"functions": func(k *cutTable, i packet.Addr) {
			k.Apply(
				conntrack.Change{Concerns: func(
					c *conntrack.Conn) bool {
					return c.Tuple(conntrack.Original).Src == remote+n-1-i
				}})
		},
		"addresses": func(k *cutTable, i packet.Addr) {
			k.Apply(conntrack.Change{Addrs: []packet.Addr{remote + n - 1 - i, 1 + 2*i, 2 + 2*i},
				Backends: []conntrack.Backend{conntrack.Backend(i)}})
		},
	} {
		k := newCutTable()
		for i := range packet.Addr(n) {
			c := udp(remote+i, 1, external, 2)
			k.commit(t, conntrack.NewConn{Original: c, Reply: udp(inside, 2, remote+i, 1)})
		}
		bound, i := map[string]int{"functions": 32, "addresses": 1 << 12}[name], packet.Addr(0)
		for ; !k.Backlogged(); i++ {
			if int(i) > bound {
				t.Fatalf("%s: %d changes are pending", name, i)
			}
			apply(k, i)
		}
		if int(i) < bound/2 || k.Len() != n {
			t.Errorf("%s: only %d changes may be pending, or they have ended something: %d", name, i, k.Len())
		}
		if apply(k, i); k.Backlogged() || k.Len() != n-int(i) {
			t.Errorf("%s: backlogged %t, %d connections are left, want %d", name, k.Backlogged(), k.Len(), n-int(i))
		}
		steps := 0
		for ; !k.Settle(0); steps++ {
		}
		if k.Len() != n-int(i)-1 || steps == 0 {
			t.Errorf("%s: %d connections are left in the end", name, k.Len())
		}
	}
}
