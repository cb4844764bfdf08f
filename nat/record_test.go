package nat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// ids names what the tests' numbers mean, both ways. Class k is the lifetime of backend k.
type ids struct {
	classes map[string]conntrack.Class
	owned   []packet.Addr
}

func (ids) InterfaceID(n uint16) string          { return fmt.Sprint("interface-", n) }
func (ids) BackendID(b conntrack.Backend) string { return fmt.Sprint("backend-", b) }
func (ids) ClassID(c *conntrack.Conn) string     { return fmt.Sprint("class-", c.Backend) }
func (s ids) Owns(addr packet.Addr) bool         { return slices.Contains(s.owned, addr) }
func (ids) Interface(id string) (uint16, bool) {
	n, ok := number(id, "interface-")
	return uint16(n), ok
}
func (s ids) Class(id string) (conntrack.Class, bool) {
	c, ok := s.classes[id]
	return c, ok
}

func (ids) Backend(id string) (conntrack.Backend, bool) {
	n, ok := number(id, "backend-")
	return conntrack.Backend(n), ok
}

func number(id, prefix string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, prefix))
	return n, err == nil && strings.HasPrefix(id, prefix)
}

const vip = external + 1

// A copied is a pair of tables, the second of which was imported from the first.
type copied struct {
	t    *testing.T
	r    *rand.Rand
	cfg  config
	a, b *tables
	now  time.Duration
	seqs []uint32

	refused map[conntrack.Refusal]int
}

var recordConfig = config{
	MaxConnections: 400, HostShare: 0.7, ConnShare: 0.04, PortMin: 2000, PortMax: 2005,
	UDP: 50 * time.Second, TCPEstablished: 200 * time.Second, TCPOpening: 40 * time.Second,
	TCPClosing: 30 * time.Second,
}

func (k *copied) table(seed uint64) (*tables, ids) {
	table := newTables(k.cfg, rand.New(rand.NewPCG(seed, 9)))
	table.Class(conntrack.Lifetime{Idle: time.Duration(1+seed) * time.Hour}) // so that numbers differ
	own := table.Class(conntrack.Lifetime{Idle: 70 * time.Second, Reset: true})
	return table, ids{map[string]conntrack.Class{"class-2": own}, []packet.Addr{external, vip}}
}

func (k *copied) tuple() packet.Tuple {
	proto := []uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP}[k.r.IntN(4)]
	return packet.Tuple{
		Src: inside + packet.Addr(k.r.IntN(3)), SrcPort: 2000 + uint16(k.r.IntN(6)),
		Dst: remote + packet.Addr(k.r.IntN(3)), DstPort: 80 + uint16(k.r.IntN(2)), Proto: proto,
	}
}

func (k *copied) segment() packet.Segment {
	seq := func() uint32 {
		if len(k.seqs) > 0 && k.r.IntN(8) > 0 {
			return k.seqs[k.r.IntN(len(k.seqs))] + uint32(k.r.IntN(3))
		}
		s := k.r.Uint32()
		if k.seqs = append(k.seqs, s); len(k.seqs) > 3 {
			k.seqs = k.seqs[1:]
		}
		return s
	}
	all := []uint8{syn, syn, syn | ack, syn | ack, ack, ack, ack, ack, packet.FIN | ack, rst, rst | ack}
	s := packet.Segment{Flags: all[k.r.IntN(len(all))], Seq: seq(), Ack: seq(), Window: uint16(k.r.IntN(3) * 30_000)}
	s.Len, s.Cut, s.Scaled, s.Scale = uint32(k.r.IntN(2)*k.r.IntN(100)), k.r.IntN(30) == 0, k.r.IntN(2) == 0,
		uint8(k.r.IntN(15))
	if s.Flags&(packet.SYN|packet.FIN) != 0 {
		s.Len++
	}
	return s
}

const (
	syn = packet.SYN
	ack = packet.ACK
	rst = packet.RST
)

// open makes a connection in a, of any kind that there is.
func (k *copied) open(own conntrack.Class) {
	original := k.tuple()
	n := conntrack.NewConn{Segment: k.segment(), In: [2]uint16{uint16(k.r.IntN(3)), uint16(1 + k.r.IntN(3))},
		Hop: [2]uint32{5, 6}}
	var b nat.Binding
	var r conntrack.Refusal
	to := original
	switch k.r.IntN(5) {
	case 0, 1:
		n.Owner = conntrack.OwnerSource
		to.Src = external
		to.SrcPort, r = k.a.Bind(&b, external, original, original)
	case 2: // from outside, or hairpinned
		outside := k.r.IntN(2) == 0
		if outside {
			original.Src, n.Owner = original.Dst, conntrack.OwnerDest
		}
		original.Dst, original.DstPort = external, original.SrcPort
		to = original
		if to.Dst, to.DstPort, r = k.a.Inbound(&b, original, outside); r == conntrack.None && !outside {
			to.SrcPort, r = k.a.Bind(&b, external, to, original)
			to.Src = external
		}
	case 3:
		n.Owner = conntrack.OwnerSource // routed only
	default:
		original.Src, original.Dst = original.Dst, vip
		n.Backend = 1 + conntrack.Backend(k.r.IntN(3))
		if n.Backend == 2 {
			n.Class = own
		}
		to = original
		to.Dst, to.DstPort = inside+0x100+packet.Addr(n.Backend), 8080
		n.Succeeds = original.Proto == packet.ProtoTCP
		if k.r.IntN(2) == 0 {
			to.Src = external
			to.SrcPort, r = k.a.UniquePort(external, to, original)
		}
	}
	if r == conntrack.None {
		n.Original, n.Reply = original, to.Reverse()
		k.a.commitBound(&n, &b, k.now)
	}
}

// conns are copies of the connections of a table, by the tuple of their answers, which no two share.
func (k *copied) conns(table *tables) map[packet.Tuple]conntrack.Connection {
	all := map[packet.Tuple]conntrack.Connection{}
	table.Walk(0, math.MaxInt, k.now, func(c *conntrack.Conn) bool {
		all[c.Tuple(conntrack.Reply)] = table.Show(c, k.now)
		return true
	})
	return all
}

// pick returns a tuple by which a has a connection, if it has any.
func (k *copied) pick() (tuple packet.Tuple, ok bool) {
	n := 0
	k.a.Walk(0, math.MaxInt, k.now, func(c *conntrack.Conn) bool {
		if n++; k.r.IntN(n) == 0 {
			tuple, ok = c.Tuple(conntrack.Direction(k.r.IntN(2))), true
		}
		return true
	})
	return tuple, ok
}

// answer is what a table says about a packet, and does with it.
func (k *copied) answer(table *tables, tuple packet.Tuple, s *packet.Segment, next bool) string {
	c, d := table.Lookup(&tuple, k.now)
	if c == nil {
		return "none"
	}
	if successor := table.Successor(c); next && successor != nil {
		c = successor
	}
	said := fmt.Sprint(d, c.Tuple(0), c.Tuple(1), c.Rewrite(d), c.In, c.Backend, c.State(), c.Rank(), c.Marks(),
		table.Succeeds(c))
	if c.Protocol() != packet.ProtoTCP {
		return fmt.Sprint(said, table.Touch(c, d, 0, true, k.now))
	}
	fit := table.Fit(c, d, s)
	said = fmt.Sprint(said, fit, table.Refuses(c, d, s), table.MaySend(c, d, s.Seq), table.Repeats(c, d, s))
	for side := range conntrack.Direction(2) {
		to, reset, ok := table.Reset(c, side)
		said = fmt.Sprint(said, to, reset, ok)
	}
	switch {
	case fit == conntrack.Fits:
		said = fmt.Sprint(said, table.TouchTCP(c, d, s, k.now))
	case s.Flags&syn != 0:
		table.NoteSYN(c, d, s)
	}
	return said
}

// same has both tables answer the same.
func (k *copied) same() {
	k.t.Helper()
	switch k.r.IntN(9) {
	case 8: // the host may have used up its share
		tuple := k.tuple()
		tuple.DstPort = uint16(k.r.IntN(1 << 16))
		n := conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(), Owner: conntrack.OwnerSource,
			Segment: k.segment()}
		_, r := k.a.Commit(&n, k.now)
		if _, rB := k.b.Commit(&n, k.now); r != rB {
			k.t.Fatalf("%v: %v, in the copy %v", tuple, r, rB)
		}
		k.refused[r]++
	case 0:
		k.now += time.Duration(k.r.IntN(9000)) * time.Millisecond
		k.a.Tick(k.now)
		k.b.Tick(k.now)
	case 1:
		tuple := k.tuple()
		tuple.Src, tuple.Dst, tuple.DstPort = tuple.Dst, external, tuple.SrcPort
		var b nat.Binding
		addr, port, r := k.a.Inbound(&b, tuple, true)
		addrB, portB, rB := k.b.Inbound(&b, tuple, true)
		if addr != addrB || port != portB || r != rB {
			k.t.Fatalf("%v goes in to %x:%d, %v, and in the copy to %x:%d, %v", tuple, addr, port, r, addrB, portB, rB)
		}
	case 2:
		tuple, _ := k.pick()
		tuple.DstPort = 999 // the mapping that it has, towards another port
		back := packet.Tuple{Src: tuple.Dst, Dst: external, DstPort: tuple.SrcPort, Proto: tuple.Proto}
		_, _, mapped := k.a.Inbound(new(nat.Binding), back, false)
		var b nat.Binding
		port, r := k.a.Bind(&b, external, tuple, tuple)
		portB, rB := k.b.Bind(&b, external, tuple, tuple)
		same := k.cfg.Mapping == nat.EndpointIndependent && mapped == conntrack.None && port == tuple.SrcPort
		if same && portB != port || (r == conntrack.None) != (rB == conntrack.None) {
			k.t.Fatalf("%v gets port %d, %v, and in the copy %d, %v", tuple, port, r, portB, rB)
		}
	default:
		tuple, ok := k.pick()
		if !ok {
			return
		}
		s, next := k.segment(), k.r.IntN(2) == 0
		if got, want := k.answer(k.b, tuple, &s, next), k.answer(k.a, tuple, &s, next); got != want {
			k.t.Fatalf("%v %+v:\n%s, in the copy\n%s", tuple, s, want, got)
		}
	}
	if k.r.IntN(8) > 0 {
		return
	}
	if a, b := k.conns(k.a), k.conns(k.b); !maps.Equal(a, b) || k.a.Len() != k.b.Len() {
		k.t.Fatalf("%d connections, in the copy %d, or others:\n%v\n%v", k.a.Len(), k.b.Len(), a, b)
	}
	for host := range packet.Addr(3) {
		for counter := range nat.PortGroups {
			if a, b := k.a.nat.Held(inside+host, counter), k.b.nat.Held(inside+host, counter); a != b {
				k.t.Fatalf("host %d has %d ports of kind %d, in the copy %d", host, a, counter, b)
			}
		}
	}
}

// sameRecords compares what both tables export.
func (k *copied) sameRecords(names, numbers ids) {
	k.t.Helper()
	copies := map[packet.Tuple]nat.Record{}
	for _, r := range k.export(k.b, numbers) {
		copies[r.Reply] = r
	}
	for _, r := range k.export(k.a, names) {
		if copies[r.Reply] != r {
			k.t.Fatalf("%+v, from the copy %+v", r, copies[r.Reply])
		}
	}
}

// export returns the Records of a table, after a time in a file, in an order in which they can be imported.
func (k *copied) export(table *tables, names conntrack.Names) []nat.Record {
	var all, successors []nat.Record
	for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
		at = table.Walk(at, 7, k.now, func(c *conntrack.Conn) bool {
			text, err := json.Marshal(table.nat.Export(c, names, k.now))
			if err != nil {
				k.t.Fatal(err)
			}
			var r nat.Record
			if err := json.Unmarshal(text, &r); err != nil {
				k.t.Fatal(err)
			}
			if r.Succeeds {
				successors = append(successors, r)
			} else {
				all = append(all, r)
			}
			return true
		})
	}
	return append(all, successors...)
}

// What is exported and imported into another table with the same settings answers as the first one does.
func TestRecordsGoRound(t *testing.T) {
	kinds, refused := map[string]int{}, map[conntrack.Refusal]int{}
	for seed := range uint64(18) {
		k := &copied{t: t, r: rand.New(rand.NewPCG(seed, 21)), cfg: recordConfig, refused: refused}
		k.cfg.Mapping, k.cfg.Filtering = nat.Behavior(seed%3), nat.Behavior(seed/3%3)
		var names, numbers ids
		k.a, names = k.table(seed)
		k.b, numbers = k.table(seed + 1)
		for range 400 {
			if k.r.IntN(3) == 0 {
				k.now += time.Duration(k.r.IntN(300)) * time.Millisecond
				k.open(names.classes["class-2"])
				continue
			}
			if tuple, ok := k.pick(); ok {
				s := k.segment()
				k.answer(k.a, tuple, &s, k.r.IntN(2) == 0)
			}
		}
		k.a.Tick(k.now)
		for _, r := range k.export(k.a, names) {
			for kind, is := range map[string]bool{
				"source": r.Source.Used, "dest": r.Dest.Used, "both": r.Source.Used && r.Dest.Used,
				"successor": r.Succeeds,
				"class":     r.Class != "", "later SYN": r.Streams[0].Later.Set, "overloaded": !r.Source.Used &&
					r.Reply.Dst == external,
				"counted":          r.Owner == conntrack.OwnerDest && r.Counted,
				"mapping's remote": r.Dest.Remote != nat.Endpoint{},
			} {
				if is {
					kinds[kind]++
				}
			}
			if c, refusal := k.b.nat.Import(&r, numbers, k.now); c == nil {
				t.Fatalf("seed %d: %+v is refused: %v", seed, r, refusal)
			}
		}
		k.sameRecords(names, numbers)
		for range 300 {
			k.same()
		}
		for _, table := range []*tables{k.a, k.b} {
			table.Tick(k.now + 3*time.Hour)
			table.Tick(k.now + 4*time.Hour)
			if table.Len() != 0 || table.nat.Held(inside, 0) != 0 || table.nat.Held(inside, 1) != 0 {
				t.Errorf("seed %d: %d connections are left", seed, table.Len())
			}
			table.clear()
		}
	}
	if refused[conntrack.None] == 0 || refused[conntrack.HostShareUsed] == 0 {
		t.Errorf("connections that were tried: %v", refused)
	}
	for _, kind := range []string{"source", "dest", "both", "successor", "class", "later SYN", "overloaded", "counted",
		"mapping's remote"} {
		if kinds[kind] == 0 {
			t.Errorf("no record of kind %s: %v", kind, kinds)
		}
	}
}

// Each reason to refuse a Record has its case. What is refused leaves nothing behind.
func TestImportRefuses(t *testing.T) {
	const port = 2001
	names := ids{classes: map[string]conntrack.Class{}, owned: []packet.Addr{external, vip}}
	first := func(cfg config) (nat.Record, config) { // a UDP connection of inside by port 2001
		table := newTable(cfg)
		c, got := bind(t, table, udp(inside, port, remote, 53))
		if got != port {
			t.Fatal(got)
		}
		return table.nat.Export(c, names, 0), cfg
	}
	record, cfg := first(config{Filtering: nat.EndpointIndependent, PortMin: 2000, PortMax: 2009, MaxConnections: 4,
		HostShare: 1})
	inboundRecord := record
	inboundRecord.Original, inboundRecord.Reply = udp(remote, 53, external, port), udp(inside, port, remote, 53)
	inboundRecord.Source, inboundRecord.Dest = nat.Mapping{}, nat.Mapping{Used: true}
	inboundRecord.Owner, inboundRecord.Counted = conntrack.OwnerDest, false
	plainRecord := record
	plainRecord.Source, plainRecord.Reply = nat.Mapping{}, record.Original.Reverse()

	for name, c := range map[string]struct {
		prepare func(table *tables)
		change  func(r *nat.Record)
		from    *nat.Record
		want    conntrack.Refusal
	}{
		"nothing against it": {want: conntrack.None},
		"from outside":       {from: &inboundRecord, want: conntrack.None},
		"routed":             {from: &plainRecord, want: conntrack.None},
		"no time left":       {change: func(r *nat.Record) { r.Remaining = 0 }, want: conntrack.Expired},
		"source unknown":     {change: func(r *nat.Record) { r.Reply.Dst++; r.Reply.Dst++ }, want: nat.UnknownAddress},
		"destination unknown": {from: &inboundRecord, change: func(r *nat.Record) { r.Original.Dst += 2 },
			want: nat.UnknownAddress},
		"port of another host": {prepare: func(table *tables) {
			bind(t, table, udp(inside+1, port, remote, 99))
		}, want: nat.PortTaken},
		"port of another host, from outside": {prepare: func(table *tables) {
			bind(t, table, udp(inside+1, port, remote, 99))
		}, from: &inboundRecord, want: nat.PortTaken},
		"port kept back for another host": {prepare: func(table *tables) {
			c, _ := bind(t, table, udp(inside+1, port, remote, 99))
			table.Remove(c)
		}, want: nat.PortTaken},
		"port kept back for its own host": {prepare: func(table *tables) {
			c, _ := bind(t, table, udp(inside, port, remote, 99))
			table.Remove(c)
		}, want: conntrack.None},
		"its mapping is there": {prepare: func(table *tables) { bind(t, table, udp(inside, port, remote, 99)) },
			want: conntrack.None},
		"mapped to another port": {prepare: func(table *tables) {
			c, _ := bind(t, table, udp(inside+1, port, remote, 99))
			bind(t, table, udp(inside, port, remote, 98)) // gets another port
			table.Remove(c)
			table.nat.Tick(time.Hour)
		}, want: nat.MappedElsewhere},
		"port outside range": {change: func(r *nat.Record) { r.Reply.DstPort = 2010 }, want: nat.PortOutsideRange},
		"well-known port":    {change: func(r *nat.Record) { r.Reply.DstPort = 80 }, want: nat.PortOutsideRange},
		"tuple taken": {prepare: func(table *tables) {
			plain(t, table, record.Original, 0)
		}, want: conntrack.TupleTaken},
		"answer's tuple taken": {prepare: func(table *tables) {
			plain(t, table, record.Reply, 0)
		}, want: conntrack.TupleTaken},
		"table full": {prepare: func(table *tables) {
			for k := range packet.Addr(4) {
				c := plain(t, table, udp(77+k, 1, remote, 1), 0)
				table.Touch(c, conntrack.Reply, 0, false, 0)
			}
		}, want: conntrack.TableFull},
		"half-open ones have their part": {prepare: func(table *tables) {
			plain(t, table, udp(77, 1, remote, 1), 0)
			plain(t, table, udp(78, 1, remote, 1), 0)
		}, want: conntrack.TableFull},
		"full of what has expired": {prepare: func(table *tables) {
			for k := range packet.Addr(4) {
				c := plain(t, table, udp(77+k, 1, remote, 1), 0)
				table.Touch(c, conntrack.Reply, 0, false, 0)
			}
		}, want: conntrack.None},
		"interface unknown": {change: func(r *nat.Record) { r.In[1] = "eth0" }, want: conntrack.UnknownName},
		"backend unknown":   {change: func(r *nat.Record) { r.Backend = "web1" }, want: conntrack.UnknownName},
		"class unknown":     {change: func(r *nat.Record) { r.Class = "vip" }, want: conntrack.UnknownName},
		"another protocol": {change: func(r *nat.Record) { r.Reply.Proto = packet.ProtoTCP },
			want: conntrack.Malformed},
		"a mapping of GRE": {change: func(r *nat.Record) { r.Original.Proto, r.Reply.Proto = 47, 47 },
			want: conntrack.Malformed},
		"state unknown": {change: func(r *nat.Record) { r.State = 99 }, want: conntrack.Malformed},
		"owner unknown": {change: func(r *nat.Record) { r.Owner = 9 }, want: conntrack.Malformed},
		"counts for no owner": {change: func(r *nat.Record) { r.Owner, r.Counted = conntrack.OwnerNone, true },
			want: conntrack.Malformed},
		"two mappings of one endpoint": {change: func(r *nat.Record) {
			r.Original.Dst, r.Original.DstPort, r.Reply.SrcPort, r.Dest.Used = external, port, 2003, true
		}, want: conntrack.Malformed},
	} {
		table := newTable(cfg)
		r, now := record, 1000*time.Hour
		if c.from != nil {
			r = *c.from
		}
		if c.prepare != nil {
			c.prepare(table)
			now = 0
		}
		if name == "full of what has expired" {
			now = time.Hour
		}
		if c.change != nil {
			c.change(&r)
		}
		before, had := table.Len(), table.nat.Held(inside, 1)
		conn, got := table.nat.Import(&r, names, now)
		if got != c.want || (conn == nil) != (c.want != conntrack.None) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got != conntrack.None && (table.Len() != before || table.nat.Held(inside, 1) != had) {
			t.Errorf("%s: it is refused, and leaves something behind", name)
		}
		if got == conntrack.None && r.Source.Used && table.nat.Held(inside, 1) != 1 {
			t.Errorf("%s: %d ports are counted", name, table.nat.Held(inside, 1))
		}
	}
}

// Whatever a Record says, Import does not fail but refuses, and the table goes on.
func FuzzImport(f *testing.F) {
	for k := range uint8(8) {
		b := make([]byte, 60)
		for i := range b {
			b[i] = byte(i) * (2*k + 1)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &script{data}
		table := newTable(config{MaxConnections: 8})
		names := ids{map[string]conntrack.Class{"class-1": table.Class(conntrack.Lifetime{Idle: time.Second})},
			[]packet.Addr{0, 1, 2}}
		now := time.Duration(0)
		for len(s.data) > 0 {
			b := func(n int) uint8 { return uint8(s.IntN(n)) }
			var r nat.Record
			for _, tuple := range []*packet.Tuple{&r.Original, &r.Reply} {
				tuple.Src, tuple.Dst, tuple.Proto = packet.Addr(b(3)), packet.Addr(b(3)), []uint8{1, 6, 17, 47}[b(4)]
				tuple.SrcPort, tuple.DstPort = 1022+uint16(b(4)), 1022+uint16(b(4))
			}
			if b(4) > 0 {
				r.Reply.Proto = r.Original.Proto
			}
			r.State, r.Replied, r.Owner, r.Counted = conntrack.State(b(10)), b(2) == 0, conntrack.Owner(b(4)), b(2) == 0
			r.Remaining, r.Succeeds = time.Duration(b(40)-1)*time.Second, b(3) == 0
			for d := range r.Streams {
				r.Streams[d] = conntrack.Stream{
					End: uint32(b(200)), Window: b(40), Scale: b(20), Scaled: b(2) == 0, Seen: b(2) == 0,
					Opened: b(2) == 0,
					Loose:  b(8) == 0, Raised: b(2) == 0,
					Later: conntrack.LaterSYN{Set: b(2) == 0, Next: uint32(b(200)), Scale: b(20)},
				}
			}
			r.Source.Used, r.Dest.Used = b(2) == 0, b(3) == 0
			r.Class = []string{"", "class-1"}[b(2)]
			c, refusal := table.nat.Import(&r, names, now)
			if (c == nil) != (refusal != conntrack.None) {
				t.Fatalf("%p, %v", c, refusal)
			}
			now += time.Duration(b(3)) * time.Second
			if c, d := table.Lookup(&r.Reply, now); c != nil && c.Protocol() == packet.ProtoTCP {
				seg := packet.Segment{Flags: b(64), Seq: uint32(b(200)), Ack: uint32(b(200)), Len: 1,
					Window: uint16(b(200))}
				if table.Fit(c, d, &seg) == conntrack.Fits {
					table.TouchTCP(c, d, &seg, now)
				}
				table.Reset(c, d)
			}
			table.Tick(now)
		}
		for range 2 {
			now += 24 * time.Hour
			table.Tick(now)
		}
		if table.Len() != 0 || table.HasSuccessors() {
			t.Fatalf("%d connections are left", table.Len())
		}
		for addr := range packet.Addr(3) {
			for counter := range nat.PortGroups {
				if n := table.nat.Held(addr, counter); n != 0 {
					t.Fatalf("host %d has %d ports of kind %d", addr, n, counter)
				}
			}
		}
	})
}
