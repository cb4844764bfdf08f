package conntrack

import (
	"time"
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// In this file a connection that one end has forgotten begins anew. After a power cut, a client may
// come back by the same port with another sequence number. The router still has the connection, but
// must let the new one begin. A SYN alone proves nothing, because any host can send one. So the
// router sends the SYN on and notes it. An answer that acknowledges exactly its number comes from
// a host that has seen it (RFC 9293, 3.5.1 and 3.10.7.4; RFC 6146, 3.5.2.2).

// A laterSYN is a SYN that its receiver has still to judge: one into a connection that is
// open, or one of two different SYNs, or a SYN with data and without, before there is an answer.
type laterSYN struct {
	next  uint32      // one more than its sequence number: what an answer acknowledges
	data  uint16      // bytes of data in it (RFC 7413)
	scale streamMarks // of its window
	set   bool        // there is one
}

func newLaterSYN(s *packet.Segment) laterSYN {
	return laterSYN{next: s.Seq + 1, data: uint16(min(s.Len-1, 1<<16-1)), scale: scaleOf(s)}
}

// end is one more than the last sequence number that the SYN takes.
func (l *laterSYN) end() uint32 { return l.next + uint32(l.data) }

// maxLater is how many connections may have a later SYN. Each is of interest until it is
// answered, which takes a round trip.
const maxLater = 1 << 14

// laterSYNs are the connections with a later SYN. When there is one too many, the first one is
// forgotten.
type laterSYNs struct {
	conns map[uint32]laterPair // by the connection's number
	ring  []uint32             // connections in the order that they came, from first on
	first int
}

// A laterPair is the latest SYN of each side.
type laterPair struct {
	syn  [2]laterSYN // by direction
	slot int         // where it is in the ring
}

// note remembers a SYN of direction d of connection i.
func (l *laterSYNs) note(i uint32, d Direction, syn laterSYN) {
	syn.set = true
	p, ok := l.conns[i]
	if !ok {
		p.slot = l.place(i)
	}
	p.syn[d&1] = syn
	l.conns[i] = p
}

// place finds a place in the ring for connection i.
func (l *laterSYNs) place(i uint32) int {
	if l.conns == nil {
		l.conns = map[uint32]laterPair{}
	}
	if len(l.ring) < maxLater {
		l.ring = append(l.ring, i)
		return len(l.ring) - 1
	}
	slot := l.first
	if old := l.ring[slot]; l.conns[old].slot == slot { // else it has been forgotten since
		delete(l.conns, old)
	}
	l.ring[slot] = i
	l.first = (slot + 1) % maxLater
	return slot
}

// forget forgets the SYNs of connection i.
func (l *laterSYNs) forget(i uint32) {
	if len(l.conns) == 0 {
		return
	}
	if delete(l.conns, i); len(l.conns) == 0 {
		*l = laterSYNs{}
	}
}

// answeredBy reports whether an acknowledgement is one of the later SYN of direction d of
// connection i, without the data in it or with it.
func (l *laterSYNs) answeredBy(i uint32, d Direction, ack uint32) bool {
	if len(l.conns) == 0 {
		return false
	}
	p := l.conns[i]
	syn := &p.syn[d&1]
	return syn.set && (ack == syn.next || ack == syn.end())
}

// bytes is about the memory that is taken.
func (l *laterSYNs) bytes() int {
	const slot = int(unsafe.Sizeof(laterPair{})) + 5 // of a map: key, value, and a byte of its own
	return 2*slot*len(l.conns) + 4*cap(l.ring)
}

// answersLater reports whether a segment of direction d answers the later SYN of the other
// side: accepts it, or refuses it.
func (t *Table) answersLater(c *Conn, d Direction, s *packet.Segment) bool {
	return s.Flags&packet.ACK != 0 && s.Flags&(packet.SYN|packet.RST) != 0 && t.later.answeredBy(c.self, 1-d, s.Ack)
}

// NoteSYN remembers a SYN that is Suspicious and has been sent on. Its answer may begin the
// connection anew. Of each side, the latest SYN is remembered. A segment of another kind is
// ignored. Beyond 16384 connections, the one that came first is forgotten.
func (t *Table) NoteSYN(c *Conn, d Direction, s *packet.Segment) {
	if s.Flags&(packet.SYN|packet.ACK) == packet.SYN {
		t.later.note(c.self, d, newLaterSYN(s))
	}
}

// restart has a connection begin anew with the later SYN of direction d, which the other side
// has answered at this time. It returns how the rank moves.
func (t *Table) restart(c *Conn, d Direction, now time.Duration) Move {
	k, syn := &t.conns.Column(c.self).stream, t.later.conns[c.self].syn[d&1]
	t.later.forget(c.self)
	*k = stream{}
	// Without a scale, 2^16 is more than any window.
	k.end[d], k.window[d], k.marks[d] = syn.end(), 16, streamSeen|streamOpened|syn.scale
	c.seen = millis(now)
	return t.setState(c, New.stepSYN(packet.SYN, d), d)
}
