package conntrack

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// In this file a table takes over the connections of another one whose process has ended, from copies of its memory.
// That process may have been killed at any instant. Only records that are whole are believed, and of these only what a
// packet would go by. Index, lists, hosts and counts are made anew.

// A ConnChunk is a copy of a chunk of a table's connections.
type ConnChunk = Chunk[Conn, links]

// ConnSizes are the sizes of a chunk of connections.
func ConnSizes() Sizes { return (*Slab[Conn, links, *Conn])(nil).Sizes() }

// Renumbering turns the numbers that the former table's user had given to things into those of now.
type Renumbering interface {
	// Interface reports false for an interface that is gone.
	Interface(former uint16) (uint16, bool)
	// Backend returns the backend of a connection, and the class of its connections; 0: that of the protocol. c has
	// the former number. It reports false if the connection is not to go on.
	Backend(c *Conn) (Backend, Class, bool)
}

// A Restoration is the taking over of another table's connections.
type Restoration struct {
	Numbers Renumbering
	Former  time.Duration // what the clock of the former table says at the time of now
	// Accept is asked about each connection before it begins; nil: all of them may.
	Accept func(*Conn) bool

	Restored int // connections that are taken over
	Expired  int // connections whose time is over
	Refused  int // others that are not taken over

	tags       [chunkLen][2]uint32
	successors []successor
}

// A successor is a connection that waits for the one whose place it is to take.
type successor struct {
	conn   Conn
	stream stream
}

// Reserve gets ready for so many connections, if the table has never had any.
func (t *Table) Reserve(conns int) { t.index.reserve(2 * conns) }

// Restore takes over the connections of a chunk. Connections make room in the order that they are restored. The chunk
// is used up.
func (t *Table) Restore(chunk *ConnChunk, r *Restoration, now time.Duration) {
	t.now = millis(now)
	sum := uint64(0)
	for k := range chunk.Records { // all wait for memory at the same time: see Warm
		if c := &chunk.Records[k]; c.flags&connLive != 0 {
			original, reply := c.Tuple(Original), c.Tuple(Reply)
			r.tags[k] = [2]uint32{t.index.tag(&original), t.index.tag(&reply)}
			for _, tag := range r.tags[k] {
				sum += t.index.segment(tag)[tag%segmentLen]
			}
		}
	}
	t.warmed = sum
	for k := range chunk.Records {
		c := &chunk.Records[k]
		switch {
		case c.flags&connLive == 0:
		case !t.renew(c, r):
		case c.flags&connSucceeds != 0:
			r.successors = append(r.successors, successor{*c, chunk.Column[k].stream})
		default:
			t.takeOver(c, &chunk.Column[k].stream, r.tags[k], r)
		}
	}
}

// EndRestore takes over what waits for all other connections to be there.
func (t *Table) EndRestore(r *Restoration) {
	for i := range r.successors {
		s := &r.successors[i]
		original, reply := s.conn.Tuple(Original), s.conn.Tuple(Reply)
		t.takeOver(&s.conn, &s.stream, [2]uint32{t.index.tag(&original), t.index.tag(&reply)}, r)
	}
	r.successors = nil
}

// renew makes a former connection one of this table, but for its number. It reports false if there cannot be such a
// one.
func (t *Table) renew(c *Conn, r *Restoration) bool {
	former := *c
	c.flags = former.flags & (connReplied | connCounted | connOwnerDest | connSucceeds | allMarks.flags())
	c.addrDelta, c.portDelta, c.Out, c.Hop = 0, 0, [2]uint16{}, [2]uint32{}
	c.snapshot = t.changes.snapshot
	c.setTranslation(c.Tuple(Original), c.Tuple(Reply).Reverse())
	if !c.settleState() {
		r.Refused++
		return false
	}
	ok, class := true, byProtocol
	for d := range c.In {
		if c.In[d] != 0 && ok {
			c.In[d], ok = r.Numbers.Interface(former.In[d])
		}
	}
	if c.Backend != 0 && ok {
		c.Backend, class, ok = r.Numbers.Backend(&former)
	}
	if c.class = class; c.class == byProtocol || !t.holds(class) {
		c.class = classOf(c.proto)
	}
	if !ok {
		r.Refused++
		return false
	}
	idle := millis(r.Former) - former.seen
	if idle >= t.timeout(c) {
		r.Expired++
		return false
	}
	c.seen = t.now - idle
	return true
}

func (m Marks) flags() connFlags { return connFlags(m) << markShift }

// settleState makes state and flags agree: the process may have been killed between the one and the other. It reports
// false if no table has such a connection.
func (c *Conn) settleState() bool {
	if c.ends[Original] == c.ends[Reply] || c.state > Reset {
		return false
	}
	if c.proto == packet.ProtoTCP {
		return true
	}
	c.flags &^= connSucceeds
	if c.state = New; c.flags&connReplied != 0 {
		c.state = Established
	}
	return true
}

// takeOver has a connection begin in this table.
func (t *Table) takeOver(c *Conn, s *stream, tags [2]uint32, r *Restoration) {
	original, reply := c.Tuple(Original), c.Tuple(Reply)
	old, _ := t.lookup(tags[Original], &original)
	if old != nil && c.flags&connSucceeds != 0 && c.Rank() == Lasting { // it was about to take the place
		t.remove(old.self, Ending{Reason: Succeeded})
		old, _ = t.lookup(tags[Original], &original)
	}
	succeeds := c.flags&connSucceeds != 0 && old != nil && t.successors.of[old.self] == noConn
	other, _ := t.lookup(tags[Reply], &reply)
	if other != nil || old != nil && !succeeds || t.live >= t.cfg.MaxConnections || r.Accept != nil && !r.Accept(c) {
		r.Refused++
		return
	}
	i, ok := t.enter(tags, &original, succeeds)
	if !ok {
		r.Refused++
		return
	}
	c.self, c.flags = i, c.flags&^connSucceeds|t.succeeding(i)
	*t.conn(i) = *c
	if c.proto == packet.ProtoTCP {
		t.conns.Column(i).stream = *s
	}
	if c.flags&connCounted != 0 {
		t.count(t.conn(i))
	}
	t.begin(t.conn(i))
	r.Restored++
}
