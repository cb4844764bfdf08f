package conntrack

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Connection is a copy of one connection, for people to look at.
type Connection struct {
	Original, Reply packet.Tuple
	State           State
	Replied         bool
	Marks           Marks
	Succeeds        bool          // it is to take the place of another one with this Original tuple
	Idle            time.Duration // since the last packet
	Remaining       time.Duration // until it expires, if no packet comes
}

// Show returns a copy of a connection that is there.
func (t *Table) Show(c *Conn, now time.Duration) Connection {
	idle := millis(now) - c.seen
	return Connection{
		Original: c.Tuple(Original), Reply: c.Tuple(Reply), State: c.state,
		Replied: c.replied(), Marks: c.Marks(), Succeeds: t.Succeeds(c),
		Idle:      time.Duration(idle) * time.Millisecond,
		Remaining: time.Duration(t.timeout(c)-idle) * time.Millisecond,
	}
}

// A Cursor is a place in a table, where a Walk goes on. The zero value is the beginning.
type Cursor uint32

// Walk calls fn for live connections, in no meaningful order, until fn returns false. It looks at no
// more than most places of the table, live or not, and returns where the next call goes on, or 0 at
// the end. fn may remove the connection that it gets, and no other.
//
// The table may change between the calls. A connection that is there from the first call to the last
// is shown exactly once. One that comes or goes meanwhile is shown at most once.
func (t *Table) Walk(from Cursor, most int, now time.Duration, fn func(*Conn) bool) Cursor {
	ms := millis(now)
	for i := uint32(from); i < t.conns.top(); i++ {
		if most--; most < 0 {
			return Cursor(i)
		}
		if t.conns.unused(i) {
			i |= chunkLen - 1
			continue
		}
		c := t.conn(i)
		if c.flags&connLive == 0 || t.expired(c, ms) || t.overruled(c) {
			continue
		}
		if !fn(c) {
			if i+1 < t.conns.top() {
				return Cursor(i + 1)
			}
			break
		}
	}
	return 0
}
