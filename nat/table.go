package nat

import (
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A Table holds the mappings of one router's connections, and the external ports that they use. It
// observes the connection table: mappings end with the last connection that uses them. Callers
// serialize the two tables together.
type Table struct {
	cfg   Config
	conns *conntrack.Table
	rng   *rand.Rand
	share conntrack.Share // of one host

	externals   map[packet.Addr]*external
	remotes     map[remoteKey]*remotePorts
	remoteOrder []remoteKey // of remotes, oldest first
	mappings    mappings
	holders     holders

	pinned  [2]uint32  // mappings that do not end with their last connection: those of binding; 0: none
	binding Binding    // of the connection that is being committed
	planned [2]planned // of the connection that is being imported or restored: its source's and its destination's
	stats   Stats

	formerKept []mapping // records of ports that are to be kept back, until EndRestore
}

// Stats counts what a table has done since it was made.
type Stats struct {
	Overloaded uint64 // connections that share an external port
	// OverShare is how many of these share one because their host has its share of the ports. The others do
	// for want of free ports.
	OverShare uint64
}

// The marks by which a Conn tells that it goes through mappings.
const (
	sourceMapped = conntrack.Mark1 // its source does
	destMapped   = conntrack.Mark2 // its destination does
)

// NewTable returns an empty table for the connections of conns, which it observes. rng chooses ports
// and the secrets of the indexes.
func NewTable(cfg Config, conns *conntrack.Table, rng *rand.Rand) *Table {
	t := &Table{
		cfg: cfg.withDefaults(), conns: conns, rng: rng, share: conntrack.NewShare(cfg.HostShare),
		externals: map[packet.Addr]*external{},
		remotes:   map[remoteKey]*remotePorts{},
		mappings: mappings{
			byInternal: conntrack.NewIndex(rng.Uint64(), rng.Uint64()),
			byPermit:   conntrack.NewIndex(rng.Uint64(), rng.Uint64()),
		},
		holders: holders{by: conntrack.NewIndex(rng.Uint64(), rng.Uint64())},
	}
	t.mappings.list.Memory = cfg.Memory
	conns.Observe(t)
	return t
}

// Stats returns the table's counters.
func (t *Table) Stats() Stats { return t.stats }

// Bytes is the memory that mappings and external ports take.
func (t *Table) Bytes() int {
	n := t.mappings.bytes() + t.holders.by.Bytes()
	for _, e := range t.externals {
		n += e.bytes()
	}
	return n
}

// Mapped reports whether a connection with these marks goes through a mapping.
func Mapped(m conntrack.Marks) bool { return m&(sourceMapped|destMapped) != 0 }

// Commit stores a connection with its binding, from Bind or Inbound, once its first packet is really
// sent: see conntrack.Table.Commit. It sets n.Marks. The zero Binding is that of a connection without
// a mapping. If the binding is to a port that another host has borrowed, that host's mapping ends here.
func (t *Table) Commit(n *conntrack.NewConn, b *Binding, now time.Duration) (*conntrack.Conn, conntrack.Refusal) {
	if !b.ok {
		n.Marks = 0
		return t.conns.Commit(n, now)
	}
	t.pin(b)
	defer t.unpin()
	if b.recall != 0 {
		if r := t.conns.Admits(n); r != conntrack.None {
			return nil, r
		}
		t.recallMapping(b.recall)
	}
	n.Marks, t.binding = b.marks(), *b
	c, r := t.conns.Commit(n, now)
	t.binding = Binding{}
	return c, r
}

// Began has a new connection use its mappings. It implements conntrack.Observer.
func (t *Table) Began(c *conntrack.Conn) {
	if t.binding.ok {
		t.hold(c, &t.binding)
	} else if Mapped(c.Marks()) {
		t.restore(c)
	}
	if len(t.remotes) > 0 {
		original, reply := c.Tuple(conntrack.Original), c.Tuple(conntrack.Reply)
		t.noteTaken(&original)
		t.noteTaken(&reply)
	}
}

// Moved notes whether a mapping may end for another host. It implements conntrack.Observer.
func (t *Table) Moved(c *conntrack.Conn, from, to conntrack.Rank) {
	if c.Protocol() != packet.ProtoTCP || !Mapped(c.Marks()) {
		return
	}
	for side := range 2 {
		switch i := t.mappingOf(c, side); {
		case i == 0:
		case to == conntrack.Lasting:
			t.firmUp(i)
		case from == conntrack.Lasting:
			t.firmDown(i)
		}
	}
}

// Used notes that mappings are in use. It implements conntrack.UseObserver.
func (t *Table) Used(c *conntrack.Conn) {
	if !Mapped(c.Marks()) {
		return
	}
	for side := range 2 {
		if i := t.mappingOf(c, side); i != 0 {
			t.usedNow(i)
		}
	}
}

// Ended ends the mappings that no other connection uses. It implements conntrack.Observer.
func (t *Table) Ended(c *conntrack.Conn, _ conntrack.Ending) {
	if len(t.remotes) > 0 {
		for d := range conntrack.Direction(2) {
			if tuple := c.Tuple(d); !t.conns.Has(&tuple) { // else it is its successor's
				t.noteFree(&tuple)
			}
		}
	}
	if Mapped(c.Marks()) {
		t.unmap(c)
	}
}

// replyFree reports whether no connection answers to the replies that tuple would get if it were sent
// from the external endpoint. Nor may they look like the packets that they answer. Those of a host
// that talks to itself by its own external endpoint would.
func (t *Table) replyFree(tuple, original packet.Tuple, ext packet.Addr, port uint16) bool {
	tuple.Src, tuple.SrcPort = ext, port
	reply := tuple.Reverse()
	return reply != original && t.conns.Available(&reply)
}
