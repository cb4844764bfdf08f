package nat

import "time"

// A queue lists the connections of one state, oldest first, through their own
// links.
type queue struct {
	first, last uint32
	len         uint32
}

func newQueue() queue { return queue{first: noConn, last: noConn} }

func (q *queue) push(t *Table, i uint32) {
	l := t.links(i)
	l.prev, l.next = q.last, noConn
	if q.last != noConn {
		t.links(q.last).next = i
	} else {
		q.first = i
	}
	q.last = i
	q.len++
}

func (q *queue) unlink(t *Table, i uint32) {
	l := t.links(i)
	if l.prev != noConn {
		t.links(l.prev).next = l.next
	} else {
		q.first = l.next
	}
	if l.next != noConn {
		t.links(l.next).prev = l.prev
	} else {
		q.last = l.prev
	}
	l.prev, l.next = noConn, noConn
	q.len--
}

// A sweep walks over the connections to reclaim those whose deadline has
// passed. Lookup is exact about deadlines; this is about memory and ports. A
// small table is walked as a whole whenever something is due; a large one goes
// in steps, so that no walk stalls the packets.
type sweep struct {
	pos   uint32 // next connection to look at
	due   uint32 // earliest deadline seen, valid if set
	set   bool
	next  uint32 // earliest deadline among those passed in the present walk
	found bool
}

const (
	sweepStep    = 1 << 14 // connections looked at in one Tick at most
	sweepRemoval = 8       // what removing one costs, compared with looking at one
	sweepPause   = 50      // milliseconds between the steps of one walk,
	sweepHaste   = 5       // and where many have expired
	sweepMany    = sweepStep / sweepRemoval / 8
	sweepRest    = 250 // milliseconds between one walk and the next
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

// Tick removes connections whose deadline has passed, frees ports that have rested, and
// returns when it wants to be called again, 0 if there is nothing to wait for.
func (t *Table) Tick(now time.Duration) time.Duration {
	t.now = millis(now)
	next := t.expire(now)
	if due := t.wakePorts(t.now); due != 0 && (next == 0 || now+time.Duration(due)*time.Millisecond < next) {
		next = now + time.Duration(due)*time.Millisecond
	}
	return next
}

// expire is Tick for connections.
func (t *Table) expire(now time.Duration) time.Duration {
	s, ms := &t.sweep, millis(now)
	if t.live == 0 {
		*s = sweep{}
		return 0
	}
	if s.pos == 0 && s.set && before(ms, s.due) {
		return now + time.Duration(s.due-ms)*time.Millisecond
	}
	expired, start := t.stats.Expired, s.pos
	done := t.sweepOn(sweepStep, ms)
	if done && start > 0 && s.set && !before(ms, s.due) {
		done = t.sweepOn(sweepStep, ms) // what others have begun has passed by those due since
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
	return now + time.Duration(max(int32(s.due-ms), sweepRest))*time.Millisecond
}

// reclaimStep is how many connections are looked at on behalf of one that has no
// room.
const reclaimStep = 64

// reclaim goes on with the walk, if there is one to go, for a connection that is
// about to be refused: expired ones must not keep it out because so many expire
// that Tick does not keep up.
func (t *Table) reclaim() {
	if s := &t.sweep; s.pos > 0 || s.set && !before(t.now, s.due) {
		t.sweepOn(reclaimStep, t.now)
	}
}

// sweepOn goes on with the walk until the budget is spent. It reports whether the
// walk has come to its end.
func (t *Table) sweepOn(budget int, ms uint32) bool {
	s := &t.sweep
	for ; budget > 0 && s.pos < t.top(); s.pos++ {
		if t.chunks[s.pos>>chunkBits].used == 0 {
			s.pos |= chunkLen - 1
			budget--
			continue
		}
		budget -= t.sweepOne(s.pos, ms)
	}
	if s.pos < t.top() {
		return false
	}
	s.due, s.set = s.next, s.found
	s.pos, s.found = 0, false
	return true
}

// sweepOne removes connection i if it is due, else notes its deadline. It
// returns what that cost.
func (t *Table) sweepOne(i, ms uint32) int {
	c := t.conn(i)
	if c.flags&connLive == 0 {
		return 1
	}
	if t.expired(c, ms) {
		t.lapse(i)
		return sweepRemoval
	}
	s := &t.sweep
	if deadline := c.seen + t.timeout(c); !s.found || before(deadline, s.next) {
		s.next, s.found = deadline, true
	}
	return 1
}
