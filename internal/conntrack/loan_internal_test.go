package conntrack

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// tolerance is how much longer than the one that ends another connection may have been idle, in milliseconds.
const tolerance = 2 * useStep

// A plainHost is what the slow and obvious way of counting says of a host.
type plainHost struct{ conns, firm, lasting int }

// plainHosts counts by looking at every connection.
func plainHosts(t *Table) (hosts map[packet.Addr]plainHost, lasting int) {
	hosts = map[packet.Addr]plainHost{}
	each(t, func(_ uint32, c *Conn) {
		if c.Rank() == Lasting {
			lasting++
		}
		if c.flags&connCounted == 0 {
			return
		}
		h := hosts[c.ownerAddr()]
		h.conns++
		if c.Rank() == Lasting {
			h.lasting++
			if c.proto == packet.ProtoTCP {
				h.firm++
			}
		}
		hosts[c.ownerAddr()] = h
	})
	return hosts, lasting
}

// checkLoans compares what the table says of loans with what there is.
func checkLoans(test *testing.T, t *Table) {
	test.Helper()
	hosts, lasting := plainHosts(t)
	lent, borrowed := 0, map[uint32]int{}
	for addr, want := range hosts {
		k, _ := t.hosts.find(addr)
		h := t.hosts.list.At(k)
		if int(h.conns) != want.conns || int(h.firm) != want.firm || int(h.idle.len) != want.lasting-want.firm {
			test.Fatalf("host %x has %d, %d firm, %d idle; want %+v", addr, h.conns, h.firm, h.idle.len, want)
		}
		if h.own > h.conns || h.own < 0 || h.own == 0 && h.conns > 0 && h.firm == 0 && t.cfg.Lend {
			test.Fatalf("host %x has %d of its own of %d", addr, h.own, h.conns)
		}
		within := max(int(h.own), want.firm)
		lent += max(0, want.lasting-within)
		if n := want.conns - within; n > 0 {
			borrowed[k] = n
		}
		for i := h.idle.first; i != noConn; i = t.conns.Column(i).next {
			if c := t.conn(i); c.Rank() != Lasting || !c.lendable() || c.ownerAddr() != addr {
				test.Fatalf("%v of rank %d is listed with host %x", c.Tuple(Original), c.Rank(), addr)
			}
		}
	}
	if lent != t.hosts.lent {
		test.Fatalf("%d are lent, the table says %d", lent, t.hosts.lent)
	}
	free := t.cfg.MaxConnections - lasting
	if t.cfg.Lend {
		free += lent
	}
	if got := t.free(); got != max(0, free) {
		test.Fatalf("%d are free, the table says %d", free, got)
	}
	listed := 0
	for _, first := range t.hosts.borrowers.buckets {
		for k := first; k != 0; {
			if listed++; borrowed[k] == 0 {
				test.Fatalf("host %d is a borrower", k)
			}
			if k = t.hosts.borrower(k).Next; k == first {
				break
			}
		}
	}
	if listed != len(borrowed) {
		test.Fatalf("%d borrowers, want %d", listed, len(borrowed))
	}
}

// A bank is a table that lends, with hosts that do at random what they may do.
type bank struct {
	t     *testing.T
	r     *rand.Rand
	table *Table
	now   time.Duration
	need  packet.Addr // the host that has a connection committed
	had   int32       // connections of the host that has given one up last, before it did
	count map[string]int
}

func (b *bank) Began(*Conn)             {}
func (b *bank) Moved(*Conn, Rank, Rank) {}

// Ended judges connections that end for others.
func (b *bank) Ended(c *Conn, e Ending) {
	if e.Reason != Recalled {
		return
	}
	b.count["recalled"]++
	t, owner := b.table, c.ownerAddr()
	if owner == b.need || b.need == 0 {
		b.t.Fatalf("a connection of %x ends for %x", owner, b.need)
	}
	if c.Rank() == Lasting && !c.lendable() {
		b.t.Fatalf("%v ends, which is established", c.Tuple(Original))
	}
	k, _ := t.hosts.find(owner)
	had := t.hosts.list.At(k).conns + 1 // it has given one back just now
	b.had = had
	each(t, func(_ uint32, o *Conn) {
		if o.flags&connCounted == 0 {
			return
		}
		if o.ownerAddr() != owner {
			k, _ := t.hosts.find(o.ownerAddr())
			if other := t.hosts.list.At(k).debt().rank; other >= 2*had {
				b.t.Fatalf("host %x has %d, and another borrower %d", owner, had, other)
			}
			return
		}
		if (o.Rank() == HalfOpen || o.Rank() == Lasting && o.lendable()) && before(o.seen+tolerance, c.seen) {
			b.t.Fatalf("%v ends, idle for %d ms, though %v has been for %d ms", c.Tuple(Original), t.now-c.seen,
				o.Tuple(Original), t.now-o.seen)
		}
	})
}

// own is what each host has of its own.
func (b *bank) own() map[packet.Addr]int32 {
	all := map[packet.Addr]int32{}
	hosts, _ := plainHosts(b.table)
	for addr := range hosts {
		k, _ := b.table.hosts.find(addr)
		all[addr] = b.table.hosts.list.At(k).own
	}
	return all
}

// open has a host open a connection, and judges what comes of it.
func (b *bank) open(host packet.Addr, proto uint8) {
	t := b.table
	tuple := packet.Tuple{Src: host, SrcPort: uint16(b.r.Uint32()), Dst: 0x08080808, DstPort: 53, Proto: proto}
	if t.Has(&tuple) {
		return
	}
	before, evicted, recalled := b.own(), t.stats.Evicted, t.stats.Recalled
	b.need = host
	_, r := t.Commit(&NewConn{Original: tuple, Reply: tuple.Reverse(), Owner: OwnerSource,
		Segment: packet.Segment{Flags: packet.SYN}}, b.now)
	b.need = 0
	b.count[r.String()]++
	var h struct{ own, conns, firm int32 }
	if k, _ := t.hosts.find(host); k != 0 {
		at := t.hosts.list.At(k)
		h.own, h.conns, h.firm = at.own, at.conns, at.firm
	}
	n := t.cfg.MaxConnections
	if t.live > n {
		b.t.Fatalf("%d connections of %d", t.live, n)
	}
	if t.stats.Evicted == evicted {
		for addr, own := range b.own() {
			if own < before[addr] {
				b.t.Fatalf("host %x had %d of its own, and has %d", addr, before[addr], own)
			}
		}
	}
	switch r {
	case None:
		if h.own < h.conns {
			b.count["borrowed"]++
			// A borrower gets from others what is beyond their parts of the whole, up to its own part.
			if t.stats.Recalled != recalled {
				b.count["taken by a borrower"]++
				if part := t.share.share * float64(n); float64(h.conns) > part || float64(b.had) <= part {
					b.t.Fatalf("host %x with %d connections has taken one from a host with %d", host, h.conns, b.had)
				}
			}
		}
	case HostShareUsed:
		if h.own == h.conns && !t.share.Exceeds(int(h.own), n, t.free()) {
			b.t.Fatalf("host %x is refused with %d connections, within its share", host, h.own)
		}
		room := t.live < n || t.closing.len > 0
		hosts, _ := plainHosts(t)
		for addr, o := range hosts {
			k, _ := t.hosts.find(addr)
			part := t.share.share * float64(n) // shares of an eighth or more: all great borrowers are looked at
			room = room || t.live == n && float64(o.conns) > part && float64(h.conns+1) <= part &&
				t.hosts.list.At(k).own < int32(o.conns)
		}
		if room && !t.halfFull() && (proto != packet.ProtoTCP || h.firm < h.own) {
			b.t.Fatalf("host %x is refused with %+v of %d, and might borrow: %+v", host, h, n, hosts)
		}
	case TableFull:
		if t.borrower() != 0 {
			b.t.Fatalf("host %x is refused, and others have borrowed", host)
		}
	}
}

// packet has some connection go on.
func (b *bank) packet() {
	var all []uint32
	each(b.table, func(i uint32, _ *Conn) { all = append(all, i) })
	if len(all) == 0 {
		return
	}
	c := b.table.conn(all[b.r.IntN(len(all))])
	if c.proto != packet.ProtoTCP {
		b.table.Touch(c, Direction(b.r.IntN(2)), 0, true, b.now)
		return
	}
	switch b.r.IntN(20) {
	case 0:
		b.table.Touch(c, Original, packet.RST, false, b.now)
	case 1, 2, 3, 4, 5, 6:
		b.table.Touch(c, Reply, packet.SYN|packet.ACK, false, b.now)
		b.table.Touch(c, Original, packet.ACK, false, b.now)
		if b.table.OverShare(c) {
			b.count["over share"]++
			b.table.Remove(c)
		}
	}
	if k, _ := b.table.hosts.find(c.ownerAddr()); k != 0 && c.proto == packet.ProtoTCP {
		if h := b.table.hosts.list.At(k); h.firm > h.own {
			b.t.Fatalf("%d are established of %d that the host has of its own", h.firm, h.own)
		}
	}
}

// Hosts that open, use and close connections at random: a host within its share always gets one, it costs nobody
// more than what is beyond his share, and what has been idle for the longest.
func TestLoansAtRandom(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(30) {
		b := &bank{t: t, r: rand.New(rand.NewPCG(seed, 7)), count: total}
		cfg := Config{MaxConnections: []int{16, 40, 200}[seed%3], HostShare: []float64{0.5, 0.25, 0.75}[seed/3%3],
			Lend: true, UDP: 24 * time.Hour, ICMP: 24 * time.Hour, TCPTransitory: 24 * time.Hour,
			TCPEstablished: 24 * time.Hour}
		b.table = NewTable(cfg, rand.New(rand.NewPCG(seed, 8)))
		b.table.Observe(b)
		hosts, protos := 1, []uint8(nil)
		for step := range 4000 {
			switch {
			case step%700 == 0:
				hosts = 1 + b.r.IntN(5) // so that some have nobody beside them for a while
				protos = [][]uint8{{packet.ProtoTCP}, {packet.ProtoUDP, packet.ProtoUDP, packet.ProtoICMP,
					packet.ProtoTCP}}[b.r.IntN(2)]
			case step%1000 == 999:
				cfg.MaxConnections = 10 + b.r.IntN(100)
				b.table.Configure(cfg)
				for b.table.live > cfg.MaxConnections {
					b.table.Remove(b.anyone())
				}
			}
			switch b.r.IntN(10) {
			case 0, 1, 2, 3:
				b.open(0x0a000001+packet.Addr(b.r.IntN(hosts)), protos[b.r.IntN(len(protos))])
			case 4:
				b.now += time.Duration(b.r.IntN(9000)) * time.Millisecond
			case 5:
				if b.r.IntN(6) == 0 && b.table.live > 0 {
					b.table.Remove(b.anyone())
				}
			default:
				b.packet()
			}
			checkLoans(t, b.table)
		}
		for b.table.live > 0 {
			b.table.Remove(b.anyone())
		}
		if checkLoans(t, b.table); b.table.hosts.byAddr.entries(t) != 0 || b.table.hosts.lent != 0 {
			t.Fatalf("seed %d: hosts are left", seed)
		}
	}
	t.Log(total)
	for _, what := range []string{"recalled", "borrowed", "taken by a borrower", "over share", HostShareUsed.String()} {
		if total[what] < 50 {
			t.Errorf("%q came %d times: that is not what is meant", what, total[what])
		}
	}
}

func (b *bank) anyone() *Conn {
	var all []*Conn
	each(b.table, func(_ uint32, c *Conn) { all = append(all, c) })
	return all[b.r.IntN(len(all))]
}

// What a host has borrowed becomes its own when others leave. It does not end for others then.
func TestBorrowedBecomesOwn(t *testing.T) {
	const a, b, c, d = packet.Addr(1), packet.Addr(2), packet.Addr(3), packet.Addr(4)
	table := NewTable(Config{MaxConnections: 8, Lend: true}, rand.New(rand.NewPCG(1, 2)))
	open := func(host packet.Addr, n int) (got []*Conn) {
		for k := range n {
			f := packet.Tuple{Src: host, SrcPort: uint16(k), Dst: 99, DstPort: 53, Proto: packet.ProtoUDP}
			if conn, r := table.Commit(&NewConn{Original: f, Reply: f.Reverse(), Owner: OwnerSource}, 0); r == None {
				table.Touch(conn, Reply, 0, true, 0)
				got = append(got, conn)
			}
		}
		return got
	}
	first := open(c, 4)
	if n := len(open(a, 4)); n != 4 {
		t.Fatalf("the second host has %d connections", n)
	}
	for _, conn := range first {
		table.Remove(conn)
	}
	if n := len(open(b, 4)); n != 4 {
		t.Fatalf("the third host has %d connections", n)
	}
	// Two of four are the second host's own. By now its share is three, and one is left for the fourth host.
	if n := len(open(d, 4)); n != 1 || table.hosts.connections(a) != 3 || table.hosts.connections(b) != 4 {
		t.Errorf("%d are taken, the others have %d and %d", n, table.hosts.connections(a), table.hosts.connections(b))
	}
}

// A host whose share is all established TCP may begin no more TCP, though there is room, and may borrow for UDP.
func TestShareFullOfEstablished(t *testing.T) {
	table := NewTable(Config{MaxConnections: 8, Lend: true}, rand.New(rand.NewPCG(1, 2)))
	open := func(k int, proto uint8) (*Conn, Refusal) {
		f := packet.Tuple{Src: 1, SrcPort: uint16(k), Dst: 99, DstPort: 53, Proto: proto}
		return table.Commit(&NewConn{Original: f, Reply: f.Reverse(), Owner: OwnerSource,
			Segment: packet.Segment{Flags: packet.SYN}}, 0)
	}
	for k := range 4 {
		c, r := open(k, packet.ProtoTCP)
		if r != None {
			t.Fatal(r)
		}
		table.Touch(c, Reply, packet.SYN|packet.ACK, false, 0)
		table.Touch(c, Original, packet.ACK, false, 0)
		if table.OverShare(c) {
			t.Fatalf("connection %d is one too many", k)
		}
	}
	if _, r := open(4, packet.ProtoTCP); r != HostShareUsed {
		t.Errorf("a SYN: %v", r)
	}
	if _, r := open(4, 47); r != HostShareUsed {
		t.Errorf("another protocol: %v", r)
	}
	if _, r := open(4, packet.ProtoUDP); r != None {
		t.Errorf("UDP: %v", r)
	}
}
