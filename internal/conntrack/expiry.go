package conntrack

import "time"

// A queue lists the connections of one state, oldest first, through their own
// links.
type queue struct {
	first, last uint32
	len         uint32
}

func (q *queue) push(t *Table, i uint32) {
	l := t.conns.Column(i)
	l.prev, l.next = q.last, noConn
	if q.last != noConn {
		t.conns.Column(q.last).next = i
	} else {
		q.first = i
	}
	q.last = i
	q.len++
}

func (q *queue) unlink(t *Table, i uint32) {
	l := t.conns.Column(i)
	if l.prev != noConn {
		t.conns.Column(l.prev).next = l.next
	} else {
		q.first = l.next
	}
	if l.next != noConn {
		t.conns.Column(l.next).prev = l.prev
	} else {
		q.last = l.prev
	}
	l.prev, l.next = noConn, noConn
	q.len--
}

// A sweep walks over the connections, and reclaims the ones whose deadline has passed. Lookup is exact
// about deadlines; the sweep is about memory. A small table is walked as a whole whenever a
// connection is due. A large one is walked in steps, so that no walk stalls the packets.
type sweep struct {
	pos   uint32 // next connection to look at
	due   uint32 // earliest deadline seen, valid if set
	set   bool
	next  uint32 // earliest deadline among the connections passed in the present walk
	found bool   // next is valid
}

const (
	sweepStep    = 1 << 14 // connections looked at in one Tick at most
	sweepRemoval = 8       // what removing one costs, compared with looking at one
	sweepPause   = 50      // milliseconds between the steps of one walk
	sweepHaste   = 5       // milliseconds between the steps where many connections have expired
	sweepMany    = sweepStep / sweepRemoval / 8
	sweepWait    = 250 // milliseconds between one walk and the next
)

// before compares two times of the wrapping clock.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// hurry makes sure that a walk starts by the deadline.
func (s *sweep) hurry(deadline uint32) {
	if !s.set || before(deadline, s.due) {
		s.due, s.set = deadline, true
	}
	if s.pos > 0 && (!s.found || before(deadline, s.next)) {
		s.next, s.found = deadline, true
	}
}

// Tick removes connections whose deadline has passed, and returns when it wants to be called again; 0
// if there is nothing to wait for.
func (t *Table) Tick(now time.Duration) time.Duration {
	t.now = millis(now)
	s := &t.sweep
	if t.live == 0 {
		*s = sweep{}
		return 0
	}
	if s.pos == 0 && s.set && before(t.now, s.due) {
		return now + time.Duration(s.due-t.now)*time.Millisecond
	}
	expired, start := t.stats.Expired, s.pos
	done := t.sweepOn(sweepStep, t.now)
	if done && start > 0 && s.set && !before(t.now, s.due) {
		done = t.sweepOn(sweepStep, t.now) // the walk, begun earlier, has passed connections that are due since
	}
	if !done {
		if t.stats.Expired-expired >= sweepMany {
			return now + sweepHaste*time.Millisecond
		}
		return now + sweepPause*time.Millisecond
	}
	if !s.set {
		return 0
	}
	// Where connections end all the time, the next one is always about to.
	return now + time.Duration(max(int32(s.due-t.now), sweepWait))*time.Millisecond
}

// reclaimStep is how many connections are looked at to make room for a new one.
const reclaimStep = 64

// reclaim goes on with the walk, if one is due, for a connection that is about to be refused.
// Expired connections must not keep it out when so many expire that Tick does not keep up.
func (t *Table) reclaim() {
	if s := &t.sweep; s.pos > 0 || s.set && !before(t.now, s.due) {
		t.sweepOn(reclaimStep, t.now)
	}
}

// sweepOn goes on with the walk until the budget is spent. It reports whether the
// walk has come to its end.
func (t *Table) sweepOn(budget int, ms uint32) bool {
	s := &t.sweep
	for ; budget > 0 && s.pos < t.conns.top(); s.pos++ {
		if t.conns.unused(s.pos) {
			s.pos |= chunkLen - 1
			budget--
			continue
		}
		budget -= t.sweepOne(s.pos, ms)
	}
	if s.pos < t.conns.top() {
		return false
	}
	s.due, s.set = s.next, s.found
	s.pos, s.found = 0, false
	return true
}

// sweepOne removes connection i if it is due, else notes its deadline. It
// returns the cost: 1 is that of looking at a connection.
func (t *Table) sweepOne(i, ms uint32) int {
	c := t.conn(i)
	if c.flags&connLive == 0 {
		return 1
	}
	if t.expired(c, ms) {
		t.expire(i)
		return sweepRemoval
	}
	s := &t.sweep
	if deadline := c.seen + t.timeout(c); !s.found || before(deadline, s.next) {
		s.next, s.found = deadline, true
	}
	return 1
}
