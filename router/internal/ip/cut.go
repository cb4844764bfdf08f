package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
)

// cutTuples remembers for a while the tuples of the segments of TCP connections
// that have been cut off. The zero value is empty.
type cutTuples struct {
	Until map[packet.Tuple]time.Duration
	Order []cutTuple // oldest first; a tuple that was cut off again is there twice
}

// A cutTuple is a tuple with the time at which it is forgotten.
type cutTuple struct {
	packet.Tuple
	until time.Duration
}

const (
	maxCut = 8192                           // tuples, two for a connection
	cutFor = conntrack.TCPTransitoryTimeout // as long as a connection that is over by itself stays
)

func (c *cutTuples) add(tuple packet.Tuple, now time.Duration) {
	if c.Until == nil {
		c.Until = map[packet.Tuple]time.Duration{}
	}
	if len(c.Order) >= maxCut {
		c.forgetFirst()
	}
	c.Until[tuple] = now + cutFor
	c.Order = append(c.Order, cutTuple{tuple, now + cutFor})
}

func (c *cutTuples) forgetFirst() {
	if first := c.Order[0]; c.Until[first.Tuple] == first.until { // else it has been cut off again
		delete(c.Until, first.Tuple)
	}
	if c.Order = c.Order[1:]; len(c.Order) == 0 {
		*c = cutTuples{}
	}
}

// has reports whether a segment with this tuple is of a connection that was cut off.
func (c *cutTuples) has(tuple *packet.Tuple) bool {
	_, ok := c.Until[*tuple]
	return ok
}

// Tick forgets the tuples whose time is over.
func (c *cutTuples) Tick(t *loop.Turn) {
	for len(c.Order) > 0 && t.Now >= c.Order[0].until {
		c.forgetFirst()
	}
	if len(c.Order) > 0 {
		t.WakeAt(c.Order[0].until)
	}
}
