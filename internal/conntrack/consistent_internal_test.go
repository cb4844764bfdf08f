package conntrack

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A disorder does to a table whatever may be done to it, in any order, and looks at what the
// parts of the table say of each other.
type disorder struct {
	t     *testing.T
	r     *rand.Rand
	table *Table
	now   time.Duration
	ranks map[uint32]Rank // by number of the connection
	seqs  []uint32

	cfg       Config
	held      []heldClass
	next      *Lifetime           // of the connection that begins
	lifetimes map[uint32]Lifetime // of connections with a class of their own, by number
}

// A heldClass is a class that the disorder has got and not released.
type heldClass struct {
	class Class
	Lifetime
}

const disorderExt = 0xc0000201

func newDisorder(t *testing.T, seed uint64) *disorder {
	d := &disorder{t: t, r: rand.New(rand.NewPCG(seed, 77)), ranks: map[uint32]Rank{},
		lifetimes: map[uint32]Lifetime{}}
	d.cfg = Config{
		MaxConnections: []int{12, 40, 5000}[seed%3], HostShare: 0.6, Lend: seed/3%2 == 0,
		UDP: 5 * time.Second, TCPEstablished: 20 * time.Second, TCPOpening: 4 * time.Second,
		TCPClosing: 3 * time.Second,
	}
	d.table = NewTable(d.cfg, rand.New(rand.NewPCG(seed, 78)))
	d.table.Observe(d)
	return d
}

// The disorder observes its table: each move begins where the one before has ended.
func (d *disorder) Began(c *Conn) {
	d.Moved(c, Absent, c.Rank())
	if d.next != nil {
		d.lifetimes[c.self] = *d.next
	}
}

func (d *disorder) Moved(c *Conn, from, to Rank) {
	if d.ranks[c.self] != from || from == to {
		d.t.Fatalf("connection %d goes from %d to %d, and was at %d", c.self, from, to, d.ranks[c.self])
	}
	if d.ranks[c.self] = to; to == Absent {
		delete(d.ranks, c.self)
	}
}

func (d *disorder) Ended(c *Conn, e Ending) {
	if c.flags&connLive != 0 {
		d.t.Fatal("it ends, and its record counts as whole")
	}
	if late := millis(d.now) - c.seen; e.Reason == TimedOut && late < d.timeout(c) ||
		(e.Reason == Evicted || e.Reason == Recalled && !c.lendable()) && c.Rank() == Lasting {
		d.t.Fatalf("%v after %d ms in state %v", e.Reason, late, c.state)
	}
	delete(d.lifetimes, c.self)
	d.Moved(c, c.Rank(), Absent)
	if e.Cut {
		for dir := range Direction(2) {
			d.table.Reset(c, dir)
		}
	}
}

func (d *disorder) seq() uint32 {
	if len(d.seqs) > 0 && d.r.IntN(8) > 0 {
		return d.seqs[d.r.IntN(len(d.seqs))] + uint32(d.r.IntN(3))
	}
	s := d.r.Uint32()
	if d.seqs = append(d.seqs, s); len(d.seqs) > 4 {
		d.seqs = d.seqs[1:]
	}
	return s
}

func (d *disorder) segment() packet.Segment {
	all := []uint8{
		packet.SYN, packet.SYN, packet.SYN | packet.ACK, packet.SYN | packet.ACK, packet.ACK, packet.ACK, packet.ACK,
		packet.FIN | packet.ACK, packet.RST, packet.RST | packet.ACK,
	}
	s := packet.Segment{Flags: all[d.r.IntN(len(all))], Seq: d.seq(), Ack: d.seq(),
		Window: uint16(d.r.IntN(3) * 30_000)}
	s.Len, s.Cut, s.Scaled = uint32(d.r.IntN(2)*d.r.IntN(100)), d.r.IntN(20) == 0, d.r.IntN(2) == 0
	if s.Flags&(packet.SYN|packet.FIN) != 0 {
		s.Len++
	}
	return s
}

func (d *disorder) tuple() packet.Tuple {
	proto := []uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP}[d.r.IntN(4)]
	return packet.Tuple{
		Src: 0x0a000001 + packet.Addr(d.r.IntN(3)), SrcPort: 2000 + uint16(d.r.IntN(4)),
		Dst: 0x08080801 + packet.Addr(d.r.IntN(2)), DstPort: 80, Proto: proto,
	}
}

// begin makes a connection: translated to another source or not, to a backend or not, with the tuple of
// another one or not.
func (d *disorder) begin() {
	original := d.tuple()
	n := NewConn{Original: original, Segment: d.segment(), Owner: Owner(d.r.IntN(3)),
		In: [2]uint16{uint16(d.r.IntN(3)), 1}}
	to := original
	if d.r.IntN(2) == 0 {
		n.Backend = 1 + Backend(d.r.IntN(4))
		to.Dst, to.DstPort = 0x0a000100+packet.Addr(n.Backend), 8080
		n.Succeeds = original.Proto == packet.ProtoTCP && d.r.IntN(3) > 0
	}
	d.next = nil
	if len(d.held) > 0 && d.r.IntN(2) == 0 {
		k := &d.held[d.r.IntN(len(d.held))]
		n.Class, d.next = k.class, &k.Lifetime
	}
	if d.r.IntN(2) == 0 {
		to.Src, to.SrcPort = disorderExt, 2000+uint16(d.r.IntN(4))
	}
	n.Reply = to.Reverse()
	before := d.table.Len()
	c, r := d.table.Commit(&n, d.now)
	if d.table.Len() > before && r != None {
		d.t.Fatalf("%v, and there is one more", r)
	}
	if r != None {
		return
	}
	if n := d.table.Len(); n > d.cfg.MaxConnections {
		d.t.Fatalf("one has begun, and there are %d", n)
	}
	if succeeds := d.table.Succeeds(c); succeeds && !n.Succeeds {
		d.t.Fatal("a successor that is to be none")
	}
}

// some returns a live connection, as its packets are found.
func (d *disorder) some() (*Conn, Direction) {
	var all []uint32
	each(d.table, func(i uint32, _ *Conn) { all = append(all, i) })
	if len(all) == 0 {
		return nil, 0
	}
	dir := Direction(d.r.IntN(2))
	tuple := d.table.conn(all[d.r.IntN(len(all))]).Tuple(dir)
	c, got := d.table.Lookup(&tuple, d.now)
	if c != nil && got == Original && d.r.IntN(2) == 0 {
		if next := d.table.Successor(c); next != nil {
			c = next
		}
	}
	return c, got
}

func (d *disorder) packet() {
	c, dir := d.some()
	if c == nil {
		return
	}
	if c.proto != packet.ProtoTCP {
		d.table.Touch(c, dir, 0, true, d.now)
		return
	}
	s := d.segment()
	if d.r.IntN(2) == 0 { // one that goes on with what there is
		k := &d.table.conns.Column(c.self).stream
		s.Seq, s.Ack = k.end[dir], k.end[1-dir]
		if p, ok := d.table.later.conns[c.self]; ok && d.r.IntN(2) == 0 {
			s.Ack = p.syn[1-dir].next
		}
	}
	switch d.table.Fit(c, dir, &s) {
	case Fits:
		d.table.TouchTCP(c, dir, &s, d.now)
	case Suspicious:
		d.table.NoteSYN(c, dir, &s)
	}
	d.table.Leave(c, dir, 1, 1)
}

// configure gives the table other settings.
func (d *disorder) configure() {
	seconds := func(n int) time.Duration { return time.Duration(1+d.r.IntN(n)) * time.Second }
	d.cfg = Config{
		MaxConnections: []int{3, 12, 40, 5000}[d.r.IntN(4)], HostShare: []float64{0.3, 0.6, 1}[d.r.IntN(3)],
		Lend: d.r.IntN(2) == 0,
		UDP:  seconds(10), TCPEstablished: seconds(40), TCPOpening: seconds(8), TCPClosing: seconds(6),
	}
	d.table.Configure(d.cfg)
}

// holdOrRelease gets a class, or releases one.
func (d *disorder) holdOrRelease() {
	if n := len(d.held); n > d.r.IntN(6) {
		k := d.r.IntN(n)
		d.table.ReleaseClass(d.held[k].class)
		d.held = slices.Delete(d.held, k, k+1)
		return
	}
	l := Lifetime{Idle: time.Duration(1+d.r.IntN(30)) * time.Second, Reset: d.r.IntN(2) == 0}
	l.Opening, l.Closing = time.Duration(d.r.IntN(4))*time.Second, time.Duration(d.r.IntN(3))*time.Second
	d.held = append(d.held, heldClass{d.table.Class(l), l})
}

// timeout says how long a connection may be idle by its lifetime, and by the settings where that says nothing.
func (d *disorder) timeout(c *Conn) uint32 {
	l, cfg := d.lifetimes[c.self], d.cfg.withDefaults()
	of := func(own, table time.Duration) uint32 {
		if own == 0 {
			own = table
		}
		return uint32(own / time.Millisecond)
	}
	switch {
	case c.proto == packet.ProtoUDP:
		return of(l.Idle, cfg.UDP)
	case c.Ended():
		return of(l.Closing, cfg.TCPClosing)
	case c.state.transitory():
		return of(l.Opening, cfg.TCPOpening)
	}
	return of(l.Idle, cfg.TCPEstablished)
}

func (d *disorder) step() {
	switch d.r.IntN(26) {
	case 0, 1, 2, 3, 4, 5:
		d.begin()
	case 6, 7, 8:
		d.now += time.Duration(d.r.IntN(900)) * time.Millisecond
	case 9:
		d.table.Tick(d.now)
	case 10:
		d.table.Settle(d.now)
	case 11:
		ch := Change{KeepTCP: d.r.IntN(2) == 0, Backends: []Backend{1 + Backend(d.r.IntN(4))}}
		if d.r.IntN(4) == 0 {
			ch.Addrs = []packet.Addr{d.tuple().Dst}
		}
		if in := uint16(d.r.IntN(3)); d.r.IntN(4) == 0 {
			ch.Concerns = func(c *Conn) bool { return c.In[Original] == in }
		}
		d.table.Apply(ch)
	case 12:
		if c, _ := d.some(); c != nil {
			d.table.Remove(c)
		}
	case 13:
		if d.r.IntN(20) == 0 {
			d.table.Walk(0, math.MaxInt, d.now, func(c *Conn) bool {
				if d.r.IntN(3) == 0 {
					d.table.Remove(c)
				}
				return true
			})
		}
	case 24:
		d.holdOrRelease()
	case 25:
		if d.r.IntN(4) == 0 {
			d.configure()
		}
	default:
		d.packet()
	}
}

// check compares what the parts of the table say.
func (d *disorder) check() {
	d.t.Helper()
	t := d.table
	live, half, over := 0, 0, 0
	owned := map[packet.Addr]int{}
	uses := make([]classUse, len(t.uses))
	each(t, func(i uint32, c *Conn) {
		live++
		if c.self != i {
			d.t.Fatalf("connection %d thinks that it is %d", i, c.self)
		}
		original, reply := c.Tuple(Original), c.Tuple(Reply)
		if at, dir := t.find(&reply); at != i || dir != Reply {
			d.t.Fatalf("the answer of %d finds %d", i, at)
		}
		want := i
		if old := t.successors.before[i]; old != noConn {
			if want = old; t.successors.of[old] != i || t.conn(old).flags&connLive == 0 ||
				t.conn(old).Tuple(Original) != original {
				d.t.Fatalf("%d is not the successor of %d", i, old)
			}
			if c.Rank() == Lasting {
				d.t.Fatalf("%d is established, and %d is there still", i, old)
			}
		}
		if at, dir := t.find(&original); at != want || dir != Original {
			d.t.Fatalf("the tuple of %d finds %d, want %d", i, at, want)
		}
		switch c.Rank() {
		case HalfOpen:
			half++
		case Over:
			over++
		}
		if d.ranks[i] != c.Rank() {
			d.t.Fatalf("%d is at rank %d, not %d", i, c.Rank(), d.ranks[i])
		}
		if c.flags&connCounted != 0 {
			owned[c.ownerAddr()]++
		}
		if c.class >= firstOwn {
			uses[c.class].conns++
		}
		d.checkDeadline(i, c)
	})
	for _, k := range d.held {
		uses[k.class].holders++
	}
	if !slices.Equal(uses, t.uses) || len(t.uses) != len(t.classes) {
		d.t.Fatalf("the classes are used %v, the table says %v", uses, t.uses)
	}
	if live != t.live || half != t.half.len || over != int(t.closing.len) ||
		len(t.successors.of) != len(t.successors.before) {
		d.t.Fatalf("%d live, %d half open, %d over; the table says %d, %d, %d", live, half, over, t.live, t.half.len,
			t.closing.len)
	}
	if n, want := t.index.entries(d.t), 2*live-len(t.successors.before); n != want {
		d.t.Fatalf("%d entries in the index, want %d", n, want)
	}
	for i := range t.later.conns {
		if i >= t.conns.top() || t.conns.unused(i) || t.conn(i).flags&connLive == 0 {
			d.t.Fatalf("a SYN is left of %d", i)
		}
	}
	checkLoans(d.t, t)
	for a := range packet.Addr(6) {
		for _, addr := range []packet.Addr{0x0a000000 + a, 0x0a000100 + a, 0x08080800 + a} {
			if got := t.hosts.connections(addr); got != owned[addr] {
				d.t.Fatalf("host %x has %d connections, want %d", addr, got, owned[addr])
			}
		}
	}
}

// checkDeadline: a connection is given its time, and the sweep comes to it by then.
func (d *disorder) checkDeadline(i uint32, c *Conn) {
	d.t.Helper()
	t, s := d.table, &d.table.sweep
	want := d.timeout(c)
	if got := t.timeout(c); got != want {
		d.t.Fatalf("%d has %d ms in state %v, want %d", i, got, c.state, want)
	}
	by, ok := s.due, s.set
	if i < s.pos {
		by, ok = s.next, s.found
	}
	if !ok || before(c.seen+want, by) && before(t.now, by) {
		d.t.Fatalf("%d is due at %d, the sweep (at %d) comes at %d (%t)", i, c.seen+want, s.pos, by, ok)
	}
}

// each calls fn for every connection, over or not.
func each(t *Table, fn func(i uint32, c *Conn)) {
	for i := range t.conns.top() {
		if t.conns.unused(i) {
			continue
		}
		if c := t.conn(i); c.flags&connLive != 0 {
			fn(i, c)
		}
	}
}

// Whatever happens in whichever order, the parts of a table agree, and nothing is left in the end.
func TestDisorder(t *testing.T) {
	var succeeded, later int
	for seed := range uint64(24) {
		d := newDisorder(t, seed)
		for range 2500 {
			d.step()
			d.check()
			succeeded += len(d.table.successors.of)
			later += len(d.table.later.conns)
		}
		d.now += time.Hour
		d.table.Tick(d.now)
		d.table.Settle(d.now)
		d.now += time.Hour
		d.table.Tick(d.now)
		d.check()
		x := d.table
		for _, k := range d.held {
			x.ReleaseClass(k.class)
		}
		if slices.ContainsFunc(x.uses, func(u classUse) bool { return u != classUse{} }) {
			t.Errorf("seed %d: classes are used by nothing: %v", seed, x.uses)
		}
		if x.live != 0 || x.HasSuccessors() || x.successors.of != nil || x.later.conns != nil || x.later.ring != nil ||
			len(d.ranks) != 0 || x.hosts.byAddr.entries(t) != 0 {
			t.Errorf("seed %d: something is left: %d live, %d ranks", seed, x.live, len(d.ranks))
		}
	}
	if succeeded == 0 || later == 0 {
		t.Errorf("%d successors, %d later SYNs: that is not what is meant", succeeded, later)
	}
}
