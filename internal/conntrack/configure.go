package conntrack

// Configure gives the table other settings, for the connections that it holds and for new ones. The zero value
// of every field means its default, as for NewTable.
//
// Timeouts hold at once: a connection's deadline is by its last packet and the timeout of now. A connection
// that is over by a shorter timeout ends like any other whose deadline has passed. A connection whose deadline has
// passed, and that nothing has come across since, goes on if a longer timeout lets it. The classes that
// Class has returned keep their lifetimes, but an Opening or Closing that was left to the table is the new
// one. Call Tick afterwards: it may want to be called earlier than it said.
//
// HostShare is about new connections: a host that holds more than its share keeps what it has. Lend as well: without
// it nothing is lent from here on, and a lent connection ends like any other.
//
// A larger MaxConnections gives room at once. With a smaller one, the connections that are there stay until
// they end or make room. A new connection begins only if the table then holds no more than MaxConnections.
// To that end, connections that are over or half-open make room as in a full table. There may be more of
// them than one call ends: then it refuses with TableFull, and the next call goes on. The half-open ones
// beyond their part of the table make room in the same way.
//
// The time that Configure takes does not depend on the number of connections.
func (t *Table) Configure(cfg Config) {
	cfg = cfg.withDefaults()
	t.cfg, t.share = cfg, NewShare(cfg.HostShare)
	copy(t.classes, protocolClasses(cfg))
	tcp := &t.classes[classTCP]
	for i := int(firstOwn); i < len(t.classes); i++ {
		k := &t.classes[i]
		if k.opensByTable {
			k.opening = tcp.opening
		}
		if k.closesByTable {
			k.closing = tcp.closing
		}
	}
	t.shortest = shortest(t.classes)
	t.half.excess = t.halfFull()
	t.sweep.hurry(t.now) // the earliest deadline is not known any more
}

// evictMost is how many connections one new connection has make room at most, in a table that has become
// smaller.
const evictMost = 32

// shrink makes room for a new connection that comes in at interface in, where the table has more connections
// than it may have now. It reports false if the table must still not have a new one. It ends no connection
// if too many do not make room.
func (t *Table) shrink(in uint16) bool {
	if t.reclaim(); t.live <= t.cfg.MaxConnections {
		return true // it may be full, like any other
	}
	if t.free() == 0 {
		return false
	}
	for range evictMost {
		switch {
		case t.live < t.cfg.MaxConnections:
			return true
		case t.closing.len > 0:
			t.evict(&t.closing)
		case t.recall(t.borrower()):
		case t.half.len > 0:
			t.evictHalf(in)
		default:
			return false
		}
	}
	return t.live < t.cfg.MaxConnections
}

// shrinkHalf goes on with ending half-open connections in a table that has become smaller, for a new one that
// comes in at interface in.
func (t *Table) shrinkHalf(in uint16) {
	for range evictMost - 1 { // one has ended already
		if !t.halfFull() {
			t.half.excess = false
			return
		}
		t.evictHalf(in)
	}
}
