package nat

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A disorder does to a table whatever may be done to it, in any order, and looks at what the parts of
// the table say of each other.
type disorder struct {
	t     *testing.T
	r     *rand.Rand
	conns *conntrack.Table
	table *Table
	now   time.Duration
	cfg   conntrack.Config
	live  map[*conntrack.Conn]disorderConn

	recalled int // connections that have ended for another host
}

// A disorderConn is a connection that has begun and not ended.
type disorderConn struct {
	original, reply packet.Tuple
	marks           conntrack.Marks
}

const disorderExt = 0xc0000201

func newDisorder(t *testing.T, seed uint64) *disorder {
	return newDisorderIn(t, seed, nil, nil, func(*conntrack.Table) {})
}

// newDisorderIn is newDisorder with the memory of both tables. first is called before anything observes the table.
func newDisorderIn(t *testing.T, seed uint64, conns, mappings conntrack.Memory,
	first func(*conntrack.Table)) *disorder {
	d := &disorder{t: t, r: rand.New(rand.NewPCG(seed, 77)), live: map[*conntrack.Conn]disorderConn{}}
	rng := rand.New(rand.NewPCG(seed, 78))
	d.cfg = conntrack.Config{
		MaxConnections: []int{12, 40, 5000}[seed%3], HostShare: 0.6, Lend: seed%2 == 0, Memory: conns,
		UDP: 5 * time.Second, TCPEstablished: 20 * time.Second, TCPOpening: 4 * time.Second,
		TCPClosing: 3 * time.Second,
	}
	d.conns = conntrack.NewTable(d.cfg, rng)
	first(d.conns)
	d.table = NewTable(Config{
		Mapping: Behavior(seed / 3 % 3), Filtering: Behavior(seed / 9 % 3), HostShare: 0.6, Lend: seed%2 == 0,
		PortMin: 2000, PortMax: 2003, Memory: mappings,
	}, d.conns, rng)
	d.conns.Observe(d)
	return d
}

// The disorder observes the table. It hears of events after the mappings do.
func (d *disorder) Began(c *conntrack.Conn) {
	d.live[c] = disorderConn{c.Tuple(conntrack.Original), c.Tuple(conntrack.Reply), c.Marks()}
	reply := c.Tuple(conntrack.Reply)
	if c.Marks()&sourceMapped != 0 && d.table.behind(reply.Dst, reply.DstPort, reply.Proto) == 0 {
		d.t.Fatal("a connection begins without its mapping")
	}
}

func (d *disorder) Moved(*conntrack.Conn, conntrack.Rank, conntrack.Rank) {}

func (d *disorder) Ended(c *conntrack.Conn, e conntrack.Ending) {
	delete(d.live, c)
	if e.Reason == conntrack.Recalled {
		if d.recalled++; c.Protocol() == packet.ProtoTCP && c.Rank() == conntrack.Lasting {
			d.t.Fatalf("%v ends for another host, and is established", c.Tuple(conntrack.Original))
		}
	}
}

func (d *disorder) tuple() packet.Tuple {
	proto := []uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP}[d.r.IntN(4)]
	return packet.Tuple{
		Src: 0x0a000001 + packet.Addr(d.r.IntN(3)), SrcPort: 2000 + uint16(d.r.IntN(4)),
		Dst: 0x08080801 + packet.Addr(d.r.IntN(2)), DstPort: 80, Proto: proto,
	}
}

// begin makes a connection: translated by mappings or by a port of its own, to a backend or not, with the
// tuple of another one or not.
func (d *disorder) begin() {
	original := d.tuple()
	n := conntrack.NewConn{
		Original: original, Segment: packet.Segment{Flags: packet.SYN}, Owner: conntrack.Owner(d.r.IntN(3)),
		In: [2]uint16{uint16(d.r.IntN(3)), 1},
	}
	var b Binding
	var r conntrack.Refusal
	to := original
	switch d.r.IntN(5) {
	case 0, 1:
		to.Src = disorderExt
		to.SrcPort, r = d.table.Bind(&b, disorderExt, original, original)
	case 2:
		to.Src = disorderExt
		to.SrcPort, r = d.table.UniquePort(disorderExt, original, original)
	case 3: // from outside, or hairpinned
		outside := d.r.IntN(2) == 0
		if outside {
			original.Src = original.Dst
		}
		original.Dst, original.DstPort = disorderExt, original.SrcPort
		to = original
		if to.Dst, to.DstPort, r = d.table.Inbound(&b, original, outside); r == conntrack.None && !outside {
			to.SrcPort, r = d.table.Bind(&b, disorderExt, to, original)
			to.Src = disorderExt
		}
		n.Original = original
	default:
		n.Backend = 1 + conntrack.Backend(d.r.IntN(4))
		to.Dst, to.DstPort = 0x0a000100+packet.Addr(n.Backend), 8080
		n.Succeeds = original.Proto == packet.ProtoTCP && d.r.IntN(3) > 0
		if d.r.IntN(2) == 0 {
			port, refusal := d.table.UniquePort(disorderExt, to, original)
			to.Src, to.SrcPort, r = disorderExt, port, refusal
		}
	}
	if r == conntrack.None {
		n.Reply = to.Reverse()
		d.table.Commit(&n, &b, d.now)
	}
}

// some returns a live connection, as its packets are found.
func (d *disorder) some() (*conntrack.Conn, conntrack.Direction) {
	var tuple packet.Tuple
	for k := d.r.IntN(40); k >= 0; k-- {
		if t := d.tuple(); d.conns.Has(&t) {
			tuple = t
		}
	}
	return d.conns.Lookup(&tuple, d.now)
}

// configure gives the mappings other settings.
func (d *disorder) configure() {
	first := 1998 + uint16(d.r.IntN(4))
	d.table.Configure(Config{
		Mapping: Behavior(d.r.IntN(3)), Filtering: Behavior(d.r.IntN(3)),
		HostShare: []float64{0.3, 0.6, 1}[d.r.IntN(3)], Lend: d.r.IntN(2) == 0,
		PortMin: first, PortMax: first + uint16(d.r.IntN(5)),
	})
}

func (d *disorder) step() {
	switch d.r.IntN(17) {
	case 16:
		if d.r.IntN(4) == 0 {
			d.configure()
		}
	case 0, 1, 2, 3, 4, 5:
		d.begin()
	case 6, 7:
		d.now += time.Duration(d.r.IntN(900)) * time.Millisecond
	case 8:
		d.conns.Tick(d.now)
		d.table.Tick(d.now)
	case 9:
		d.conns.Settle(d.now)
	case 10:
		ch := conntrack.Change{Backends: []conntrack.Backend{1 + conntrack.Backend(d.r.IntN(4))}}
		if d.r.IntN(4) == 0 {
			ch.Addrs = []packet.Addr{d.tuple().Dst}
		}
		d.conns.Apply(ch)
	case 11:
		if c, _ := d.some(); c != nil {
			d.conns.Remove(c)
		}
	default:
		if c, dir := d.some(); c != nil {
			flags := []uint8{packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST}[d.r.IntN(4)]
			d.conns.Touch(c, dir^conntrack.Direction(d.r.IntN(2)), flags, true, d.now)
		}
	}
}

// check compares what the parts of the table say with the connections that there are.
func (d *disorder) check() {
	d.t.Helper()
	t := d.table
	if len(d.live) != d.conns.Len() {
		d.t.Fatalf("%d connections, the observers know %d", d.conns.Len(), len(d.live))
	}
	refs := map[uint32]uint32{}
	tuples := map[packet.Tuple]bool{}
	for _, c := range d.live {
		tuples[c.original], tuples[c.reply] = true, true
		if c.marks&sourceMapped != 0 {
			d.checkMapping(refs, &c.reply, &c.original)
		}
		if c.marks&destMapped != 0 {
			d.checkMapping(refs, &c.original, &c.reply)
		}
	}
	ports := map[packet.Addr]*[portGroups]int{}
	mappings := 0
	for _, e := range t.externals {
		for pi, s := range e.ports {
			if s == nil {
				continue
			}
			taken, inRange := 0, 0
			for port := 0; port < 1<<16; port++ {
				if s.mapped[port/rowLen] == nil {
					port += rowLen - 1
					continue
				}
				i := s.mapping(uint16(port))
				if i == 0 {
					continue
				}
				if taken++; pi == icmpIndex || port >= int(t.cfg.PortMin) && port <= int(t.cfg.PortMax) {
					inRange++
				}
				m := t.mappings.list.At(i)
				if m.extPort != uint16(port) || (m.first == 0) != (refs[i] == 0) || s.free(uint16(port)) {
					d.t.Fatalf("port %d: a mapping of port %d that begins with %d, there are %d connections", port,
						m.extPort, m.first, refs[i])
				}
				if ports[m.addr] == nil {
					ports[m.addr] = new([portGroups]int)
				}
				ports[m.addr][pi]++
			}
			if mappings += taken; s.taken != [2]int{inRange, 0} {
				d.t.Fatalf("%d ports of protocol %d are taken, not %v", inRange, pi, s.taken)
			}
			d.checkKept(s)
		}
	}
	if mappings != len(refs) {
		d.t.Fatalf("%d mappings, connections use %d", mappings, len(refs))
	}
	for a := range packet.Addr(5) {
		for group := range portGroups {
			want := 0
			if p := ports[0x0a000000+a]; p != nil {
				want = p[group]
			}
			if got := t.Held(0x0a000000+a, group); got != want {
				d.t.Fatalf("host %d has %d ports of group %d, not %d", a, want, group, got)
			}
		}
	}
	d.checkRemotes(tuples)
	d.checkHolders()
}

// checkKept: a port that is kept back is neither free nor mapped, and its entry is listed, so that it is freed
// in time.
func (d *disorder) checkKept(s *portSpace) {
	d.t.Helper()
	for k := range s.cooldowns {
		c := &s.cooldowns[k]
		for port, e := range c.by {
			if s.free(port) || s.mapping(port) != 0 || !slices.Contains(c.list, e) {
				d.t.Fatalf("port %d is kept back: free %t, mapping %d, %+v", port, s.free(port), s.mapping(port),
					c.list)
			}
			m := d.table.mappings.list.At(e.record)
			if m.form != kept || m.addr != e.host || m.extPort != port || m.Prev != e.since || m.first != 0 {
				d.t.Fatalf("port %d is kept back by %+v, its record is %+v", port, e, *m)
			}
		}
	}
}

// checkFree: every port that no mapping has, and that is not kept back, is free.
func (d *disorder) checkFree() {
	d.t.Helper()
	for _, e := range d.table.externals {
		for pi, s := range e.ports {
			for port := 0; s != nil && port < 1<<16; port++ {
				p := uint16(port)
				_, kept := s.cooldowns[groupOf([...]uint8{packet.ProtoTCP, packet.ProtoUDP,
					packet.ProtoICMP}[pi], p).wellKnown()].by[p]
				if s.free(p) == (s.mapping(p) != 0 || kept) {
					d.t.Fatalf("port %d of protocol %d: free %t, mapping %d, kept %t", port, pi, s.free(p),
						s.mapping(p),
						kept)
				}
			}
		}
	}
}

// checkMapping: the external endpoint that packets with tuple out are sent to is that of the internal endpoint
// that packets with tuple in come from.
func (d *disorder) checkMapping(refs map[uint32]uint32, out, in *packet.Tuple) {
	d.t.Helper()
	t := d.table
	i := t.behind(out.Dst, out.DstPort, out.Proto)
	if i == 0 {
		d.t.Fatalf("%v and %v have no mapping", out, in)
	}
	if m := t.mappings.list.At(i); m.addr != in.Src || m.port != in.SrcPort || !t.lets(i, in.Dst) {
		d.t.Fatalf("%v and %v have not the mapping that they should", out, in)
	}
	refs[i]++
}

func (d *disorder) checkRemotes(tuples map[packet.Tuple]bool) {
	for key, p := range d.table.remotes {
		taken := 0
		for port := p.lo; port < p.built; port++ {
			reply := packet.Tuple{Src: key.remote, SrcPort: key.remotePort, Dst: key.ext, DstPort: uint16(port),
				Proto: key.proto}
			if p.free(uint16(port)) {
				continue
			}
			if taken++; !tuples[reply] {
				d.t.Fatalf("port %d towards %v is taken by no connection", port, key)
			}
		}
		if taken != p.taken {
			d.t.Fatalf("%d ports towards %v are taken, not %d", taken, key, p.taken)
		}
	}
}

// Whatever happens in whichever order, the parts of a table agree, and nothing is left in the end.
func TestDisorder(t *testing.T) {
	var successors, remotes, mappings, inbound, recalled int
	for seed := range uint64(27) {
		d := newDisorder(t, seed)
		for range 1200 {
			d.step()
			if d.r.IntN(4) == 0 {
				d.check()
			}
			if d.r.IntN(400) == 0 {
				d.checkFree()
			}
			if d.conns.HasSuccessors() {
				successors++
			}
			remotes += len(d.table.remotes)
			for _, c := range d.live {
				mappings += int(c.marks & sourceMapped)
				inbound += int(c.marks & destMapped)
			}
		}
		for range 2 {
			d.now += time.Hour
			d.conns.Tick(d.now)
			d.conns.Settle(d.now)
			d.table.Tick(d.now)
		}
		d.check()
		d.checkFree()
		if recalled += d.recalled; d.conns.Len() != 0 || len(d.table.remotes) != 0 || len(d.table.remoteOrder) != 0 {
			t.Errorf("seed %d: %d connections and %d remote port sets are left", seed, d.conns.Len(),
				len(d.table.remotes))
		}
	}
	if successors == 0 || remotes == 0 || mappings == 0 || inbound == 0 || recalled == 0 {
		t.Errorf("%d successors, %d remote port sets, %d and %d mappings, %d recalled: that is not what is meant",
			successors, remotes, mappings, inbound, recalled)
	}
}
