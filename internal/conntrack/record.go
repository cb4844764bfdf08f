package conntrack

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Record is a connection as a file or another process holds it. What the numbers of one table mean, it
// names by id.
//
// It does not hold by which way packets leave (Conn.Out and Conn.Hop): the first packet of each direction
// finds that out, by the rules that hold then.
type Record struct {
	Original, Reply packet.Tuple

	State     State
	Replied   bool          // the other side has answered
	Remaining time.Duration // until it expires, if no packet comes
	Streams   [2]Stream     // of TCP, by Direction

	Owner    Owner
	Counted  bool // it counts towards the share of its owner
	Succeeds bool // it is the successor of another connection with this Original tuple
	Marks    Marks

	In      [2]string // interface that its packets arrive on, by Direction; "": number 0
	Backend string    // "": none
	Class   string    // "": that of its protocol
}

// A Stream is what a Record says about the segments of one direction of a TCP connection.
type Stream struct {
	End    uint32 // one more than the highest sequence number sent; 0: unknown
	Window uint8  // 2 to the power of this is more than any window offered
	Scale  uint8  // of its windows, if Scaled
	Scaled bool   // its SYN had a window scale option
	Seen   bool   // a segment has been seen
	Opened bool   // its SYN has been seen
	Loose  bool   // there were fragments: End is not known for sure
	Raised bool   // End is what the other side has acknowledged
	Later  LaterSYN
}

// A LaterSYN is a SYN that its receiver has still to judge: see Table.NoteSYN. The zero value is none.
type LaterSYN struct {
	Set    bool
	Next   uint32 // one more than its sequence number
	Data   uint16 // bytes of data in it
	Scale  uint8  // of its window, if Scaled
	Scaled bool
}

// Names turns the numbers that the table's user has given to things into ids, for Export.
type Names interface {
	InterfaceID(number uint16) string
	BackendID(b Backend) string
	ClassID(c *Conn) string // of the object that the lifetime of c comes from
}

// Numbers turns ids into numbers, for Import. It reports false for an id that it does not know.
type Numbers interface {
	Interface(id string) (uint16, bool)
	Backend(id string) (Backend, bool)
	Class(id string) (Class, bool)
}

// Loosen is for a Record of a snapshot, after which more packets of the connection may have passed: it is taken up in
// the middle. The next segment of each direction says where that direction is. Windows and their scales are still
// known. A TCP connection that was half-open may be established now, or anew at its beginning.
func (r *Record) Loosen() {
	if r.Original.Proto != packet.ProtoTCP {
		return
	}
	switch r.State {
	case New, SynSent, SynReceived:
		r.State, r.Replied, r.Streams = New, false, [2]Stream{}
		return
	}
	for d := range r.Streams {
		r.Streams[d].Seen, r.Streams[d].Raised = false, false
		r.Streams[d].Later = LaterSYN{}
	}
}

// Export returns a Record of a connection that is there.
func (t *Table) Export(c *Conn, names Names, now time.Duration) Record {
	r := Record{
		Original: c.Tuple(Original), Reply: c.Tuple(Reply),
		State: c.state, Replied: c.replied(),
		Remaining: time.Duration(t.timeout(c)-(millis(now)-c.seen)) * time.Millisecond,
		Owner:     c.owner(), Counted: c.flags&connCounted != 0, Succeeds: t.Succeeds(c), Marks: c.Marks(),
	}
	for d, number := range c.In {
		if number != 0 {
			r.In[d] = names.InterfaceID(number)
		}
	}
	if c.Backend != 0 {
		r.Backend = names.BackendID(c.Backend)
	}
	if c.class >= firstOwn {
		r.Class = names.ClassID(c)
	}
	if c.proto == packet.ProtoTCP {
		for d := range r.Streams {
			r.Streams[d] = t.conns.Column(c.self).stream.record(Direction(d))
			r.Streams[d].Later = t.laterRecord(c.self, Direction(d))
		}
	}
	return r
}

// Import makes the connection of a Record, or says why not: TableFull, TupleTaken, Expired, Malformed or
// UnknownName. It ends no live connection to make room, and does not apply the owner's share, which the
// connection has had already. It is right by the rules of now: no pending Change concerns it.
//
// A Record that Succeeds must come after the Record of the connection whose place it is to take.
// Connections make room in the order that they are imported.
func (t *Table) Import(r *Record, numbers Numbers, now time.Duration) (*Conn, Refusal) {
	t.now = millis(now)
	c, refusal := t.restore(r, numbers)
	if refusal != None {
		return nil, refusal
	}
	if r.Remaining <= 0 {
		return nil, Expired
	}
	// A timeout may have become shorter since.
	timeout := t.timeout(&c)
	c.seen = t.now - (timeout - min(timeout, timeoutMillis(r.Remaining)))
	tags := [2]uint32{t.index.tag(&r.Original), t.index.tag(&r.Reply)}
	if refusal = t.hasRoom(r, &c, tags); refusal != None {
		return nil, refusal
	}
	i, ok := t.enter(tags, &r.Original, r.Succeeds)
	if !ok {
		return nil, TableFull
	}
	c.self = i
	c.flags |= t.succeeding(i)
	*t.conn(i) = c
	if c.proto == packet.ProtoTCP {
		t.restoreStreams(i, r)
	}
	if c.flags&connCounted != 0 {
		t.count(t.conn(i))
	}
	t.begin(t.conn(i))
	return t.conn(i), None
}

// restore makes the connection of a Record, apart from the table.
func (t *Table) restore(r *Record, numbers Numbers) (c Conn, refusal Refusal) {
	if !r.wellFormed() {
		return c, Malformed
	}
	c = Conn{
		state: r.State, class: classOf(r.Original.Proto), flags: connFlags(r.Marks&allMarks) << markShift,
		snapshot: t.changes.snapshot,
	}
	c.setTuple(Original, r.Original)
	c.setTuple(Reply, r.Reply)
	c.setTranslation(r.Original, r.Reply.Reverse())
	if r.Replied {
		c.flags |= connReplied
	}
	if r.Owner == OwnerDest {
		c.flags |= connOwnerDest
	}
	if r.Counted {
		c.flags |= connCounted
	}
	known := true
	for d, id := range r.In {
		if id != "" && known {
			c.In[d], known = numbers.Interface(id)
		}
	}
	if r.Backend != "" && known {
		c.Backend, known = numbers.Backend(r.Backend)
	}
	if r.Class != "" && known {
		c.class, known = numbers.Class(r.Class)
	}
	if !known || c.class >= firstOwn && !t.holds(c.class) {
		return c, UnknownName
	}
	if c.class == byProtocol {
		c.class = classOf(c.proto)
	}
	return c, None
}

// wellFormed reports whether a table may have such a connection at all.
func (r *Record) wellFormed() bool {
	if r.Original.Proto != r.Reply.Proto || r.Original == r.Reply || r.Owner > OwnerDest || r.Marks > allMarks ||
		r.Counted && r.Owner == OwnerNone || !r.Counted && r.Owner == OwnerSource {
		return false
	}
	if r.Original.Proto != packet.ProtoTCP {
		return r.State == New && !r.Replied && !r.Succeeds || r.State == Established && r.Replied && !r.Succeeds
	}
	for d := range r.Streams {
		if s := &r.Streams[d]; s.Window > 16+maxScale || s.Scale > maxScale || s.Later.Scale > maxScale {
			return false
		}
	}
	// A successor that is established has taken the other connection's place.
	return r.State <= Reset && !(r.Succeeds &&
		(r.State == Established || r.State == FinOriginal || r.State == FinReply))
}

// hasRoom says why there is no room for an imported connection beside the ones in the table, or None.
func (t *Table) hasRoom(r *Record, c *Conn, tags [2]uint32) Refusal {
	if t.taken(tags[Reply], &r.Reply) {
		return TupleTaken
	}
	if t.taken(tags[Original], &r.Original) {
		old, d := t.find(&r.Original)
		if !r.Succeeds || d != Original || t.successors.of[old] != noConn {
			return TupleTaken
		}
	}
	full := func() bool { return t.live >= t.cfg.MaxConnections || c.Rank() == HalfOpen && t.halfFull() }
	if full() {
		if t.reclaim(); full() {
			return TableFull
		}
	}
	return None
}

// restoreStreams gives connection i the sequence numbers of a Record.
func (t *Table) restoreStreams(i uint32, r *Record) {
	k := &t.conns.Column(i).stream
	for d := range r.Streams {
		s := &r.Streams[d]
		k.end[d], k.window[d], k.marks[d] = s.End, s.Window, s.marks()
		if l := &s.Later; l.Set {
			t.later.note(i, Direction(d), laterSYN{next: l.Next, data: l.Data, scale: scaleMarks(l.Scale, l.Scaled)})
		}
	}
}

// owner is the host whose share the connection counts towards.
func (c *Conn) owner() Owner {
	switch {
	case c.flags&connOwnerDest != 0:
		return OwnerDest
	case c.flags&connCounted != 0:
		return OwnerSource
	}
	return OwnerNone
}

func (k *stream) record(d Direction) Stream {
	m := k.marks[d]
	s := Stream{
		End: k.end[d], Window: k.window[d],
		Seen: m&streamSeen != 0, Opened: m&streamOpened != 0, Loose: m&streamLoose != 0, Raised: m&streamRaised != 0,
	}
	s.Scale, s.Scaled = scaleOfMarks(m)
	return s
}

// marks is the reverse of record.
func (s *Stream) marks() streamMarks {
	m := scaleMarks(s.Scale, s.Scaled)
	for _, k := range [...]struct {
		set  bool
		mark streamMarks
	}{{s.Seen, streamSeen}, {s.Opened, streamOpened}, {s.Loose, streamLoose}, {s.Raised, streamRaised}} {
		if k.set {
			m |= k.mark
		}
	}
	return m
}

func (l *laterSYN) record() LaterSYN {
	if !l.set {
		return LaterSYN{}
	}
	r := LaterSYN{Set: true, Next: l.next, Data: l.data}
	r.Scale, r.Scaled = scaleOfMarks(l.scale)
	return r
}

// scaleMarks is the part of a stream's marks that a window scale is.
func scaleMarks(scale uint8, scaled bool) streamMarks {
	if !scaled {
		return noScale
	}
	return streamMarks(min(scale, maxScale))
}

func scaleOfMarks(m streamMarks) (scale uint8, scaled bool) {
	if m &= scaleMask; m == noScale {
		return 0, false
	}
	return uint8(m), true
}

func (t *Table) laterRecord(i uint32, d Direction) LaterSYN {
	p := t.later.conns[i]
	return p.syn[d].record()
}
