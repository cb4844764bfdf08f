package nat_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A chooser decides what the model does next: a random generator, or the bytes
// of the fuzzer.
type chooser interface{ IntN(n int) int }

type script struct{ data []byte }

func (s *script) IntN(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

var modelConfig = config{
	MaxConnections: 24, HostShare: 0.5, PortMin: 2000, PortMax: 2007,
	UDP: 5 * time.Second, ICMP: 3 * time.Second, Other: 4 * time.Second,
	TCPEstablished: 20 * time.Second, TCPOpening: 4 * time.Second, TCPClosing: 3 * time.Second,
}

// model is the slow and obvious table: a list of connections. Mappings are what
// the connections say they are.
type model struct {
	t     *testing.T
	ch    chooser
	cfg   config
	table *tables
	now   time.Duration
	conns []*modelConn
	young []*modelConn // half open, oldest first
	old   []*modelConn // closed, oldest first
	ended []*modelConn // since the last operation

	stamps map[packet.Addr]int // when each host got as many half-open connections as it has
	stamp  int

	cooling map[[2]uint16]modelCooldown // by protocol and port

	ranks map[packet.Tuple]conntrack.Rank // of connections, as the table has told
	own   conntrack.Class

	excess bool // the table has become smaller, and half-open connections fill more than their part

	either bool // the last Bind may have made a mapping or not
	quota  bool // it overloads because the host has its share of the ports

	refused int // by Bind, because of the host's share of the ports
}

type modelConn struct {
	tuple    [2]packet.Tuple
	seen     time.Duration
	state    conntrack.State
	owner    packet.Addr
	counted  bool          // towards its owner's share
	half     packet.Addr   // the host that it is listed with while it is half open
	queued   time.Duration // the time of its last packet when it was listed as half open
	backend  conntrack.Backend
	over     bool // a change has ended it
	swept    bool // it has ended because it had expired
	src, dst *modelMapping
}

type modelMapping struct {
	addr, remote     packet.Addr
	port, remotePort uint16
	proto            uint8
	form             nat.Behavior // that it was made by
	ext              uint16
}

func newModel(t *testing.T, ch chooser, cfg config, now time.Duration) *model {
	m := &model{t: t, ch: ch, cfg: cfg, now: now, stamps: map[packet.Addr]int{}, cooling: map[[2]uint16]modelCooldown{},
		ranks: map[packet.Tuple]conntrack.Rank{}}
	m.table = newTables(cfg, rand.New(rand.NewPCG(5, 6)))
	m.table.Observe(m)
	m.own = m.table.Class(ownLifetime)
	return m
}

// A modelCooldown is a port whose mapping has ended.
type modelCooldown struct {
	host packet.Addr
	at   time.Duration
	free bool // it may be free, because a search of ports in another range has freed it
}

// cooled says whether a port without a mapping is kept for another host than this one: 0 it is not, 1 it may be,
// 2 it is.
func (m *model) cooled(proto uint8, port uint16, host packet.Addr) int {
	r, ok := m.cooling[[2]uint16{uint16(proto), port}]
	switch age := m.now - r.at; {
	case !ok || r.host == host || proto == packet.ProtoTCP || age > 3*time.Minute:
		return 0
	case age < time.Minute && !r.free:
		return 2
	}
	return 1 // the table's clock has been behind when the mapping ended
}

// ownLifetimes is the backend whose connections have a class of their own.
const ownLifetimes = 2

var ownLifetime = conntrack.Lifetime{Idle: 11 * time.Second, Closing: 2 * time.Second}

// modelRank is the rank of a connection by its state.
func modelRank(c *modelConn) conntrack.Rank {
	switch c.state {
	case conntrack.New, conntrack.SynSent, conntrack.SynReceived:
		return conntrack.HalfOpen
	case conntrack.Closed, conntrack.Reset:
		return conntrack.Over
	}
	return conntrack.Lasting
}

// The model observes the table. Each move begins where the one before has ended.
func (m *model) Began(c *conntrack.Conn) { m.Moved(c, conntrack.Absent, c.Rank()) }

// Moved follows the ranks of connections.
func (m *model) Moved(c *conntrack.Conn, from, to conntrack.Rank) {
	id := c.Tuple(conntrack.Original)
	if m.ranks[id] != from || from == to {
		m.t.Fatalf("%v of backend %d goes from %d to %d, and was at %d", id, c.Backend, from, to, m.ranks[id])
	}
	if m.ranks[id] = to; to == conntrack.Absent {
		delete(m.ranks, id)
	}
}

// Ended forgets a connection that must be there.
func (m *model) Ended(c *conntrack.Conn, e conntrack.Ending) {
	m.Moved(c, c.Rank(), conntrack.Absent)
	i := slices.IndexFunc(m.conns, func(k *modelConn) bool { return k.tuple[0] == c.Tuple(conntrack.Original) })
	if i < 0 {
		m.t.Fatalf("%v ended, nobody knows it", c.Tuple(conntrack.Original))
	}
	k := m.conns[i]
	if e.Reason == conntrack.Overruled && !k.over {
		m.t.Fatalf("%v is overruled, and no change has named it", k.tuple[0])
	}
	k.swept = e.Reason == conntrack.TimedOut
	m.conns = slices.Delete(m.conns, i, i+1)
	if slices.Contains(m.young, k) {
		m.restamp(k)
	}
	m.young, m.old = without(m.young, k), without(m.old, k)
	m.ended = append(m.ended, k)
	for _, old := range []*modelMapping{k.src, k.dst} {
		if old != nil && !slices.Contains(m.mappings(), old) {
			delete(m.cooling, [2]uint16{uint16(old.proto), old.ext})
		}
		if old != nil && !slices.Contains(m.mappings(), old) && m.cfg.Filtering == nat.EndpointIndependent {
			m.cooling[[2]uint16{uint16(old.proto), old.ext}] = modelCooldown{host: old.addr, at: m.now}
		}
	}
}

// restamp notes that a half-open connection of a host has come or gone.
func (m *model) restamp(c *modelConn) {
	m.stamp++
	m.stamps[c.half] = m.stamp
}

func (m *model) expired(c *modelConn) bool {
	if c.backend == ownLifetimes {
		switch {
		case c.tuple[0].Proto == packet.ProtoTCP && modelRank(c) == conntrack.Over:
			return m.now-c.seen >= ownLifetime.Closing
		case c.tuple[0].Proto != packet.ProtoTCP || modelRank(c) == conntrack.Lasting:
			return m.now-c.seen >= ownLifetime.Idle
		} // opening is the table's
	}
	timeout := m.cfg.Other
	switch c.tuple[0].Proto {
	case packet.ProtoUDP:
		timeout = m.cfg.UDP
	case packet.ProtoICMP:
		timeout = m.cfg.ICMP
	case packet.ProtoTCP:
		timeout = m.cfg.TCPOpening
		if c.state == conntrack.Closed || c.state == conntrack.Reset {
			timeout = m.cfg.TCPClosing
		}
		if c.state >= conntrack.Established && c.state <= conntrack.FinReply {
			timeout = m.cfg.TCPEstablished
		}
	}
	return m.now-c.seen >= timeout
}

// past reports whether a connection is not there any more, noticed or not.
func (m *model) past(c *modelConn) bool { return c.over || m.expired(c) }

// find also returns a connection that is past, if the table has not noticed that yet.
func (m *model) find(tuple packet.Tuple) (*modelConn, conntrack.Direction) {
	for _, c := range m.conns {
		for d := range c.tuple {
			if c.tuple[d] == tuple {
				return c, conntrack.Direction(d)
			}
		}
	}
	return nil, 0
}

// requeue puts a connection where its state belongs.
func (m *model) requeue(c *modelConn) {
	young := c.state == conntrack.New || c.state == conntrack.SynSent || c.state == conntrack.SynReceived
	closed := c.state == conntrack.Closed || c.state == conntrack.Reset
	open := c.owner != 0
	for _, q := range []struct {
		list *[]*modelConn
		in   bool
	}{{&m.young, young}, {&m.old, closed}} {
		if q.in {
			open = false
		}
		has := slices.Contains(*q.list, c)
		if has && !q.in {
			*q.list = without(*q.list, c)
		} else if !has && q.in {
			*q.list = append(*q.list, c)
			c.queued = c.seen
		}
		if has != q.in && q.list == &m.young {
			m.restamp(c)
		}
	}
	c.counted = c.counted || open
}

// expectEnded checks which connections the last operation has ended.
func (m *model) expectEnded(what string, want ...*modelConn) {
	m.t.Helper()
	if !slices.Equal(m.ended, want) {
		m.t.Fatalf("%s ended %d connections, want %d, or others", what, len(m.ended), len(want))
	}
	m.ended = nil
}

func (m *model) lookup(tuple packet.Tuple) (*conntrack.Conn, *modelConn, conntrack.Direction) {
	m.t.Helper()
	want, wantDir := m.find(tuple)
	gone := want != nil && m.past(want)
	c, d := m.table.Lookup(&tuple, m.now)
	if gone {
		m.expectEnded("lookup", want)
		want = nil
	} else {
		m.expectEnded("lookup")
	}
	if (c == nil) != (want == nil) || c != nil &&
		(d != wantDir || c.Tuple(0) != want.tuple[0] || c.Tuple(1) != want.tuple[1]) {
		m.t.Fatalf("%v at %v: found %t, want %t (or in the other direction)", tuple, m.now, c != nil, want != nil)
	}
	return c, want, d
}

// step does one operation.
func (m *model) step() {
	switch op := m.ch.IntN(24); {
	case op < 5:
		m.outbound()
	case op < 7:
		m.inbound()
	case op < 8:
		m.plain()
	case op < 14:
		m.packet()
	case op < 15:
		m.lookup(m.tuple())
	case op < 17:
		m.now += time.Duration(m.ch.IntN(12)) * 250 * time.Millisecond
	case op < 18:
		m.tick()
	case op < 19:
		m.removeOne()
	case op < 21:
		m.apply()
	case op < 22:
		m.settle()
	case op < 23:
		m.configure()
	default:
		m.check()
	}
}

func (m *model) tuple() packet.Tuple {
	ports := []uint16{2000, 2001, 2002, 80, 81, 40000}
	protos := []uint8{packet.ProtoUDP, packet.ProtoTCP, packet.ProtoTCP, packet.ProtoICMP}
	return packet.Tuple{
		Src: inside + packet.Addr(m.ch.IntN(4)), Dst: remote + packet.Addr(m.ch.IntN(3)),
		SrcPort: ports[m.ch.IntN(len(ports))], DstPort: 53 + uint16(m.ch.IntN(2)),
		Proto: protos[m.ch.IntN(len(protos))],
	}
}

func (m *model) flags() uint8 {
	all := []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST}
	return all[m.ch.IntN(len(all))]
}

// outbound is a packet from inside; a new connection binds an external port.
func (m *model) outbound() { m.open(m.tuple()) }

func (m *model) open(tuple packet.Tuple) {
	if c, _, _ := m.lookup(tuple); c != nil {
		return
	}
	var b nat.Binding
	m.either = false
	port, r := m.table.Bind(&b, external, tuple, tuple)
	mapping := m.judgeBind(tuple, port, r)
	if r != conntrack.None {
		return
	}
	out := tuple
	out.Src, out.SrcPort = external, port
	c := &modelConn{tuple: [2]packet.Tuple{tuple, out.Reverse()}, owner: tuple.Src, counted: true, src: mapping}
	before := m.table.Stats()
	n := conntrack.NewConn{Original: tuple, Reply: out.Reverse(), Owner: conntrack.OwnerSource}
	if m.commit(n, b, c) {
		after := m.table.Stats()
		if got := after.Overloaded != before.Overloaded; got != (c.src == nil) {
			m.t.Fatalf("%v: overloaded %t", tuple, got)
		}
		if got := after.OverShare != before.OverShare; got != m.quota {
			m.t.Fatalf("%v: overloaded because of the host's share: %t", tuple, got)
		}
	}
}

// buildStep is how many ports a search that chance does not help looks at.
const buildStep = 512

// inbound is a packet from outside, or from inside to the external address.
func (m *model) inbound() {
	tuple := m.tuple()
	tuple.Src, tuple.Dst = tuple.Dst, external
	tuple.DstPort = []uint16{2000, 2001, 2002, 2003, 80, 81}[m.ch.IntN(6)]
	if c, _, _ := m.lookup(tuple); c != nil {
		return
	}
	var target *modelMapping
	permitted := false
	for _, k := range m.mappings() {
		if k.ext == tuple.DstPort && k.proto == tuple.Proto {
			target = k
		}
	}
	for _, c := range m.conns {
		if target != nil && (c.src == target && c.tuple[0].Dst == tuple.Src || c.dst == target &&
			c.tuple[1].Dst == tuple.Src) {
			permitted = true
		}
	}
	want := conntrack.None
	switch {
	case target == nil:
		want = nat.NoMapping
	case m.cfg.Filtering == nat.AddressAndPortDependent, m.cfg.Filtering == nat.AddressDependent && !permitted:
		want = nat.Filtered
	}
	var b nat.Binding
	addr, port, r := m.table.Inbound(&b, tuple, true)
	if r != want || r == conntrack.None && (addr != target.addr || port != target.port) {
		m.t.Fatalf("%v: %v, want %v (or elsewhere)", tuple, r, want)
	}
	if r != conntrack.None {
		return
	}
	reply := packet.Tuple{Src: addr, SrcPort: port, Dst: tuple.Src, DstPort: tuple.SrcPort, Proto: tuple.Proto}
	c := &modelConn{tuple: [2]packet.Tuple{tuple, reply}, owner: addr, dst: target}
	m.either = false
	m.commit(conntrack.NewConn{Original: tuple, Reply: reply, Owner: conntrack.OwnerDest}, b, c)
}

// plain is a connection without a translation and without an owner.
func (m *model) plain() {
	tuple := m.tuple()
	tuple.Proto = 47 + uint8(m.ch.IntN(2))
	tuple.SrcPort, tuple.DstPort = 0, 0
	if c, _, _ := m.lookup(tuple); c == nil {
		m.either = false
		m.commit(conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, nat.Binding{},
			&modelConn{tuple: [2]packet.Tuple{tuple, tuple.Reverse()}})
	}
}

// commit predicts what Commit answers and which connections it evicts.
func (m *model) commit(n conntrack.NewConn, b nat.Binding, c *modelConn) bool {
	conns, young, old, stamps := slices.Clone(m.conns), slices.Clone(m.young), slices.Clone(m.old), maps.Clone(m.stamps)
	if c.half = n.Original.Dst; n.Owner == conntrack.OwnerSource {
		c.half = n.Original.Src
	}
	n.In[conntrack.Original] = c.group()
	want := m.predict(c, conns, young, old, stamps)
	n.Segment.Flags = m.flags()
	if n.Backend = conntrack.Backend(m.ch.IntN(3)); n.Backend == ownLifetimes {
		n.Class = m.own
	}
	got, r := m.table.commitBound(&n, &b, m.now)
	if !want.room {
		// Then it may sweep, and all is as if that had been before.
		swept := m.swept(c)
		gone := func(k *modelConn) bool { return slices.Contains(swept, k) }
		for i, k := range swept {
			if slices.Contains(young, k) {
				stamps[k.half] = m.stamp + 100 + i
			}
		}
		want = m.predict(c, slices.DeleteFunc(conns, gone), slices.DeleteFunc(young, gone),
			slices.DeleteFunc(old, gone), stamps)
		m.ended = slices.DeleteFunc(m.ended, gone)
	}
	if r != want.r || (got == nil) != (want.r != conntrack.None) {
		m.t.Fatalf("Commit(%v) = %v, want %v", n.Original, r, want.r)
	}
	m.expectEnded("commit", want.ended...)
	m.excess = m.excess && !want.trimmed
	for _, s := range want.moved {
		if m.restamp(s); slices.Contains(m.young, s) { // or it was its turn again
			m.young = append(without(m.young, s), s)
			s.queued = s.seen
		}
	}
	if r != conntrack.None {
		return false
	}
	if m.either && !nat.Mapped(got.Marks()) {
		c.src = nil
	}
	if nat.Mapped(got.Marks()) != (c.src != nil || c.dst != nil) {
		m.t.Fatalf("%v: mapped %t", n.Original, nat.Mapped(got.Marks()))
	}
	c.seen, c.state, c.backend = m.now, got.State(), n.Backend
	m.conns = append(m.conns, c)
	m.requeue(c)
	return true
}

// packet belongs to a connection that is there, unless that has expired.
func (m *model) packet() {
	if len(m.conns) == 0 {
		return
	}
	k := m.conns[m.ch.IntN(len(m.conns))]
	c, want, d := m.lookup(k.tuple[m.ch.IntN(2)])
	if c == nil {
		return
	}
	flags := m.flags()
	m.table.Touch(c, d, flags, m.ch.IntN(2) == 0, m.now)
	m.table.Leave(c, d, 1, 2)
	if c.Tuple(0) != want.tuple[0] || c.Tuple(1) != want.tuple[1] {
		m.t.Fatalf("the translation of %v has changed", want.tuple[0])
	}
	if want.tuple[0].Proto != packet.ProtoTCP && d == conntrack.Reply && c.State() != conntrack.Established {
		m.t.Fatalf("%v: %v after a reply", want.tuple[0], c.State())
	}
	if over := want.state == conntrack.Closed ||
		want.state == conntrack.Reset; want.tuple[0].Proto != packet.ProtoTCP || !over || c.State() != want.state {
		want.seen = m.now
	}
	want.state = c.State()
	m.requeue(want)
}

func (m *model) tick() {
	wake := m.table.Tick(m.now)
	for _, c := range m.ended {
		if !m.expired(c) {
			m.t.Fatalf("Tick ended %v before its deadline", c.tuple[0])
		}
	}
	m.ended = nil
	for _, c := range m.conns {
		if m.expired(c) {
			m.t.Fatalf("Tick left %v, which has expired", c.tuple[0])
		}
	}
	if (wake == 0) != (len(m.conns) == 0) && len(m.cooling) == 0 || wake != 0 && wake < m.now {
		m.t.Fatalf("Tick = %v at %v with %d connections", wake, m.now, len(m.conns))
	}
}

// apply changes a rule: what the change names is over at once. The model judges every connection when the
// change comes.
func (m *model) apply() {
	ch := conntrack.Change{KeepTCP: m.ch.IntN(2) == 0}
	port := uint16(53 + m.ch.IntN(2))
	switch m.ch.IntN(4) {
	case 0:
		addrs := []packet.Addr{inside, inside + 3, remote, external}
		ch.Addrs = [][]packet.Addr{addrs[:1], addrs[1:3], addrs[2:3], addrs[3:]}[m.ch.IntN(4)]
	case 1:
		ch.Concerns = func(c *conntrack.Conn) bool { return c.Tuple(conntrack.Original).DstPort == port }
	default:
		ch.Backends = [][]conntrack.Backend{{1}, {2}, {1, 2}}[m.ch.IntN(3)]
	}
	m.table.Apply(ch)
	m.expectEnded("apply")
	for _, c := range m.conns {
		named := slices.Contains(ch.Backends, c.backend)
		for _, t := range c.tuple {
			named = named || slices.Contains(ch.Addrs, t.Src) || slices.Contains(ch.Addrs, t.Dst)
		}
		if ch.Concerns != nil {
			named = named || c.tuple[0].DstPort == port
		}
		keep := ch.KeepTCP && c.tuple[0].Proto == packet.ProtoTCP && c.state != conntrack.SynSent
		c.over = c.over || named && !keep
	}
}

// settle ends the connections that are over, and no others.
func (m *model) settle() {
	for !m.table.Settle(m.now) {
	}
	for _, c := range m.ended {
		if !c.over {
			m.t.Fatalf("Settle ended %v, which no change has named", c.tuple[0])
		}
	}
	m.ended = nil
	for _, c := range m.conns {
		if c.over && !m.expired(c) {
			m.t.Fatalf("Settle left %v", c.tuple[0])
		}
	}
}

// configure gives both tables other settings. Nothing ends by that.
func (m *model) configure() {
	pick := func(all ...int) int { return all[m.ch.IntN(len(all))] }
	seconds := func(all ...int) time.Duration { return time.Duration(pick(all...)) * time.Second }
	m.cfg.MaxConnections, m.cfg.HostShare = pick(6, 12, 24, 24, 30), []float64{0.2, 0.5, 0.5, 1}[m.ch.IntN(4)]
	m.cfg.UDP, m.cfg.ICMP, m.cfg.Other = seconds(2, 5, 9), seconds(3, 6), seconds(4, 7)
	m.cfg.TCPEstablished = seconds(8, 20)
	m.cfg.TCPOpening, m.cfg.TCPClosing = seconds(2, 4, 6), seconds(1, 3, 5)
	m.cfg.Mapping, m.cfg.Filtering = nat.Behavior(m.ch.IntN(3)), nat.Behavior(m.ch.IntN(3))
	m.cfg.PortMin = uint16(pick(1999, 2000, 2000, 2002))
	m.cfg.PortMax = m.cfg.PortMin + uint16(pick(0, 3, 7))
	for k, r := range m.cooling {
		r.free = true
		m.cooling[k] = r
	}
	m.useConfig()
}

func (m *model) useConfig() {
	m.table.configure(m.cfg)
	m.excess = len(m.young) > 0 && len(m.young) >= m.cfg.MaxConnections/2
	m.expectEnded("configure")
}

func (m *model) removeOne() {
	if len(m.conns) == 0 {
		return
	}
	k := m.conns[m.ch.IntN(len(m.conns))]
	if c, _, _ := m.lookup(k.tuple[0]); c != nil {
		m.table.Remove(c)
		m.expectEnded("Remove", k)
	}
}

func (m *model) check() {
	want := map[packet.Tuple]*modelConn{}
	for _, c := range m.conns {
		if !m.past(c) {
			want[c.tuple[0]] = c
		}
	}
	m.table.Walk(0, math.MaxInt, m.now, func(conn *conntrack.Conn) bool {
		c := m.table.Show(conn, m.now)
		k := want[c.Original]
		if k == nil || k.tuple[1] != c.Reply || k.state != c.State ||
			m.now.Truncate(time.Millisecond)-k.seen != c.Idle {
			m.t.Fatalf("%+v: not as the model has it", c)
		}
		delete(want, c.Original)
		return true
	})
	for _, c := range m.conns {
		if got := m.ranks[c.tuple[0]]; got != modelRank(c) {
			m.t.Fatalf("%v of backend %d: rank %d in state %v", c.tuple[0], c.backend, got, c.state)
		}
	}
	if len(want) != 0 || m.table.Len() != len(m.conns) {
		m.t.Fatalf("%d connections are missing, %d of %d", len(want), m.table.Len(), len(m.conns))
	}
}

// finish ends everything: nothing may remain, no port and no share.
func (m *model) finish() {
	m.check()
	m.now += time.Hour
	m.tick()
	m.now += 2 * time.Minute // and all cooldowns are over
	m.tick()
	if m.table.Len() != 0 {
		m.t.Fatalf("%d connections left", m.table.Len())
	}
	m.cfg = modelConfig
	m.useConfig()
	for port := uint16(2000); port <= 2003; port++ {
		if _, got := bind(m.t, m.table, udp(inside, port, remote, 53)); got != port {
			m.t.Fatalf("port %d is not free after the end of everything", port)
		}
		m.conns = append(m.conns, &modelConn{tuple: [2]packet.Tuple{udp(inside, port, remote, 53)}})
	}
	m.table.removeIf(m.now, func(*conntrack.Conn) bool { return true })
}

func TestModel(t *testing.T) {
	starts := []time.Duration{0, time.Hour, (1<<32 - 60_000) * time.Millisecond}
	for seed := range uint64(18) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			cfg := modelConfig
			cfg.Mapping, cfg.Filtering = nat.Behavior(seed%3), nat.Behavior(seed/3%3)
			m := newModel(t, r, cfg, starts[seed%uint64(len(starts))])
			for range 2000 {
				m.step()
			}
			m.finish()
		})
	}
}

// Hosts that all go to one server come to their shares of the ports towards it, which
// chance hardly ever does.
func TestModelCrowded(t *testing.T) {
	refused := 0
	for seed := range uint64(9) {
		cfg := modelConfig
		cfg.Mapping, cfg.Filtering = nat.Behavior(seed%3), nat.Behavior(seed/3%3)
		m := newModel(t, rand.New(rand.NewPCG(seed, 12)), cfg, 0)
		for range 100 {
			for to := m.tuple(); m.ch.IntN(20) > 0; {
				tuple := m.tuple()
				tuple.Dst, tuple.DstPort, tuple.Proto = to.Dst, to.DstPort, to.Proto
				m.open(tuple)
			}
			for range 5 {
				m.step()
			}
		}
		m.finish()
		refused += m.refused
	}
	if refused < 100 {
		t.Errorf("%d refused, the test misses its point", refused)
	}
}

func FuzzTable(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for k := range 6 {
		b := make([]byte, 150)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(uint8(k), b)
	}
	f.Fuzz(func(t *testing.T, behaviors uint8, data []byte) {
		cfg := modelConfig
		cfg.Mapping, cfg.Filtering = nat.Behavior(behaviors%3), nat.Behavior(behaviors/3%3)
		s := &script{data}
		m := newModel(t, s, cfg, 0)
		for len(s.data) > 0 {
			m.step()
		}
		m.finish()
	})
}
