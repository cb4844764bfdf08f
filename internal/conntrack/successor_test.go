package conntrack_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A pairing plays connections and their successors on a table, and knows by a plain list what
// there must be.
type pairing struct {
	t     *testing.T
	r     *rand.Rand
	table *conntrack.Table
	now   time.Duration
	conns []*paired
}

type paired struct {
	original, reply packet.Tuple
	next            *paired // that is to take its place
	of              *paired // whose place it is to take
	open            bool
	seen            time.Duration
}

// member is the tuple by which member m answers client k.
func (p *pairing) tuples(k, m int) (original, reply packet.Tuple) {
	original = tcpTuple(uint16(1000 + k))
	reply = original.Reverse()
	reply.Src += packet.Addr(m) + 1
	return original, reply
}

func (p *pairing) find(original packet.Tuple) *paired {
	for _, c := range p.conns {
		if c.original == original && c.of == nil {
			return c
		}
	}
	return nil
}

func (p *pairing) drop(c *paired) {
	if c == nil {
		return
	}
	if c.of != nil {
		c.of.next = nil
	}
	if c.next != nil {
		c.next.of = nil
	}
	for i := range p.conns {
		if p.conns[i] == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			return
		}
	}
}

// begin has client k send a SYN that goes to member m.
func (p *pairing) begin(k, m int, succeeds bool) {
	original, reply := p.tuples(k, m)
	_, refusal := p.table.Commit(&conntrack.NewConn{Original: original, Reply: reply, Succeeds: succeeds,
		Segment: tcpSeg(syn, 1000, 0, 0)}, p.now)
	want := conntrack.None
	old := p.find(original)
	if old != nil && !succeeds {
		want = conntrack.TupleTaken
	} else if old != nil {
		p.drop(old.next)
	}
	for _, c := range p.conns {
		if c.reply == reply {
			want = conntrack.TupleTaken
		}
	}
	if refusal != want {
		p.t.Fatalf("client %d, member %d: %v, want %v", k, m, refusal, want)
	}
	if want != conntrack.None {
		return
	}
	c := &paired{original: original, reply: reply, of: old, seen: p.now}
	if old != nil {
		old.next = c
	}
	p.conns = append(p.conns, c)
}

// establish has a connection's handshake completed, after which the one before it is gone.
func (p *pairing) establish(c *paired) {
	conn, d := p.table.Lookup(&c.reply, p.now)
	if conn == nil || d != conntrack.Reply {
		p.t.Fatalf("%v is not found", c.reply)
	}
	if c.open {
		return
	}
	for _, s := range []traced{{1, tcpSeg(syn|ack, 5000, 1001, 0)}, {0, tcpSeg(ack, 1001, 5001, 0)}} {
		if fit := p.table.Fit(conn, conntrack.Direction(s.i), &s.s); fit != conntrack.Fits {
			p.t.Fatal(fit)
		}
		p.table.TouchTCP(conn, conntrack.Direction(s.i), &s.s, p.now)
	}
	c.open, c.seen = true, p.now
	p.drop(c.of)
}

func (p *pairing) pass(d time.Duration) {
	p.now += d
	p.table.Tick(p.now)
	for i := len(p.conns) - 1; i >= 0; i-- {
		life := 4 * time.Second
		if p.conns[i].open {
			life = 20 * time.Second
		}
		if p.now-p.conns[i].seen >= life {
			p.drop(p.conns[i])
		}
	}
}

func (p *pairing) check() {
	p.t.Helper()
	for _, c := range p.conns {
		conn, d := p.table.Lookup(&c.reply, p.now)
		if conn == nil || d != conntrack.Reply || conn.Tuple(conntrack.Original) != c.original {
			p.t.Fatalf("%v is not found by its answer", c.original)
		}
		if c.of != nil {
			continue
		}
		conn, d = p.table.Lookup(&c.original, p.now)
		if conn == nil || d != conntrack.Original || conn.Tuple(conntrack.Reply) != c.reply {
			p.t.Fatalf("%v finds another one", c.original)
		}
		next := p.table.Successor(conn)
		if (next != nil) != (c.next != nil) || next != nil && next.Tuple(conntrack.Reply) != c.next.reply {
			p.t.Fatalf("%v has another successor", c.original)
		}
	}
	if n := p.table.Len(); n != len(p.conns) {
		p.t.Fatalf("%d connections, want %d", n, len(p.conns))
	}
	pending := 0
	shown(p.table, p.now, func(c conntrack.Connection) {
		if c.Succeeds {
			pending++
		}
	})
	for _, c := range p.conns {
		if c.of != nil {
			pending--
		}
	}
	if pending != 0 {
		p.t.Fatalf("%d more connections are listed as successors than there are", pending)
	}
}

// Whatever begins, is established, ends and expires in whichever order: a tuple finds the
// connection that has it, and all of it is gone in the end.
func TestSuccessors(t *testing.T) {
	for seed := range uint64(40) {
		p := &pairing{t: t, r: rand.New(rand.NewPCG(seed, 9))}
		p.table = conntrack.NewTable(conntrack.Config{TCPEstablished: 20 * time.Second, TCPOpening: 4 * time.Second},
			rand.New(rand.NewPCG(5, seed)))
		for range 2000 {
			switch p.r.IntN(6) {
			case 0, 1:
				p.begin(p.r.IntN(8), p.r.IntN(4), p.r.IntN(4) > 0)
			case 2, 3:
				if len(p.conns) > 0 {
					p.establish(p.conns[p.r.IntN(len(p.conns))])
				}
			case 4:
				if len(p.conns) > 0 {
					c := p.conns[p.r.IntN(len(p.conns))]
					conn, _ := p.table.Lookup(&c.reply, p.now)
					p.table.Remove(conn)
					p.drop(c)
				}
			case 5:
				p.pass(time.Duration(p.r.IntN(3000)) * time.Millisecond)
			}
			p.check()
		}
		p.pass(time.Minute)
		if p.check(); p.table.Len() != 0 || p.table.HasSuccessors() {
			t.Fatalf("seed %d: something is left", seed)
		}
	}
}

// A successor whose deadline has passed, or that a change has ended, is not returned any more, also before
// the table has removed it.
func TestSuccessorThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		then func(table *conntrack.Table)
		now  time.Duration
	}{
		"expired": {func(*conntrack.Table) {}, 4 * time.Second},
		"overruled": {func(table *conntrack.Table) { table.Apply(conntrack.Change{Backends: []conntrack.Backend{2}}) },
			time.Second},
	} {
		p := &pairing{t: t, table: newTable(conntrack.Config{TCPOpening: 4 * time.Second})}
		ended := 0
		p.table.Observe(hooks{ended: func(*conntrack.Conn, conntrack.Ending) { ended++ }})
		original, _ := p.tuples(0, 0)
		for m, succeeds := range []bool{false, true} {
			_, reply := p.tuples(0, m)
			n := conntrack.NewConn{Original: original, Reply: reply, Succeeds: succeeds,
				Backend: conntrack.Backend(m) + 1, Segment: tcpSeg(syn, 1000, 0, 0)}
			if _, refusal := p.table.Commit(&n, 0); refusal != conntrack.None {
				t.Fatal(refusal)
			}
			if m == 0 {
				conn, _ := p.table.Lookup(&original, 0)
				for _, s := range []traced{{1, tcpSeg(syn|ack, 5000, 1001, 0)}, {0, tcpSeg(ack, 1001, 5001, 0)}} {
					p.table.TouchTCP(conn, conntrack.Direction(s.i), &s.s, 0)
				}
			}
		}
		c.then(p.table)
		old, _ := p.table.Lookup(&original, c.now)
		if next := p.table.Successor(old); next != nil {
			t.Errorf("%s: still the successor, in state %v", name, next.State())
		}
		if p.table.Len() != 1 || ended != 1 || p.table.HasSuccessors() {
			t.Errorf("%s: %d connections are left, %d have ended", name, p.table.Len(), ended)
		}
	}
}
