package conntrack

// An Observer hears of every connection of a table. Several may observe a table; each hears of an
// event before the next one does, in the order of their Observe calls.
//
// An Observer must not change the table, and must not keep the Conn. It may call Reset, Available,
// the Conn's methods, and set the Conn's exported fields.
type Observer interface {
	// Began is called when a connection is committed or imported.
	Began(c *Conn)
	// Moved is called when a connection's rank changes. c.Rank() is to already.
	Moved(c *Conn, from, to Rank)
	// Ended is called when a connection ends. No tuple finds it any more, but for its successor, and
	// Len does not count it. Everything that c says is still as before the end.
	Ended(c *Conn, e Ending)
}

// An Ending says how a connection ends.
type Ending struct {
	Reason Reason
	// Cut says that both sides of a TCP connection believe that it goes on, and are to be told that it
	// does not: see Table.Reset.
	Cut bool
}

// A Reason is why a connection ends.
type Reason uint8

// The reasons.
const (
	Removed   Reason = iota // by Remove
	TimedOut                // its deadline has passed
	Evicted                 // it has made room for another connection
	Succeeded               // its successor is established
	Overruled               // a Change has ended it
	Recalled                // its host held it beyond its share, and another host needs it
)

var reasons = [...]string{"removed", "timed out", "evicted", "succeeded", "overruled", "recalled"}

// String names the reason.
func (r Reason) String() string { return reasons[r] }

// A Move is how the rank of a connection has changed. From and To are equal if it has not.
type Move struct{ From, To Rank }

// then returns the move that this one and a later one make together.
func (m Move) then(next Move) Move {
	switch {
	case m == Move{}:
		return next
	case next == Move{}:
		return m
	}
	return Move{m.From, next.To}
}

// Observe has an Observer hear of every connection from here on.
func (t *Table) Observe(o Observer) {
	t.observers = append(t.observers, o)
	if u, ok := o.(UseObserver); ok {
		t.useObservers = append(t.useObservers, u)
	}
}

// A UseObserver is an Observer that also hears, now and then, of connections that are in use.
type UseObserver interface {
	Observer
	// Used is called for the first packet of a connection in each 16 seconds or so, but not of TCP.
	Used(c *Conn)
}
