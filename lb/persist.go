package lb

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// DefaultPersistent is how many clients a pool remembers unless its Config says otherwise. One
// takes about 50 bytes, when it comes.
const DefaultPersistent = 65536

// clients remembers which member a client's address is pinned to, and how many connections the
// client has, with any member: while there is one, the client does not time out.
//
// It is bounded. When it is full, the client that has been unused longest is
// forgotten, one without connections if there is one. The connections of a
// forgotten client are not known any more: if it comes back before they have
// ended, its timeout may begin early.
type clients struct {
	timeout time.Duration
	max     int
	at      map[packet.Addr]int32 // by address: index in list
	list    []client
	free    []int32
	idle    line // without connections
	busy    line
}

type client struct {
	addr       packet.Addr
	id         uint32 // the member's
	pinned     bool   // else only its connections are counted
	active     int32
	last       time.Duration // when a connection ended last
	prev, next int32         // in its line
}

// line is a list of clients, the one unused longest first. -1 is none.
type line struct{ head, tail int32 }

func newClients(timeout time.Duration, limit int) *clients {
	s := &clients{at: map[packet.Addr]int32{}, idle: line{-1, -1}, busy: line{-1, -1}}
	s.setLimits(timeout, limit)
	return s
}

// setLimits sets the timeout, and how many clients are remembered at most.
func (s *clients) setLimits(timeout time.Duration, limit int) {
	if limit <= 0 {
		limit = DefaultPersistent
	}
	s.timeout, s.max = timeout, limit
	for len(s.at) > limit {
		s.evict()
	}
}

// evict forgets the client that has been unused longest, one without connections if there is one.
func (s *clients) evict() {
	i := s.idle.head
	if i < 0 {
		i = s.busy.head
	}
	s.remove(i)
}

// member is the member that a client is pinned to.
func (s *clients) member(addr packet.Addr, now time.Duration) (uint32, bool) {
	i, ok := s.at[addr]
	if !ok || !s.list[i].pinned || s.expired(i, now) {
		return 0, false
	}
	return s.list[i].id, true
}

func (s *clients) expired(i int32, now time.Duration) bool {
	return s.list[i].active == 0 && now-s.list[i].last >= s.timeout
}

// commit counts a connection, and pins the client if the member takes new connections.
func (s *clients) commit(addr packet.Addr, id uint32, takes bool, now time.Duration) {
	i := s.open(addr, now)
	if takes {
		s.list[i].id, s.list[i].pinned = id, true
	}
}

// resume counts a connection and does not pin its client: the client may have been forgotten
// since, because its member was down.
func (s *clients) resume(addr packet.Addr, now time.Duration) { s.open(addr, now) }

// open counts a connection of a client.
func (s *clients) open(addr packet.Addr, now time.Duration) int32 {
	i, ok := s.at[addr]
	if !ok {
		i = s.insert(addr, now)
	} else {
		if s.expired(i, now) {
			s.list[i].pinned = false
		}
		s.unlink(i)
	}
	s.list[i].active++
	s.link(i)
	return i
}

// end takes a connection off a client's count.
func (s *clients) end(addr packet.Addr, now time.Duration) {
	i, ok := s.at[addr]
	if !ok || s.list[i].active == 0 {
		return
	}
	s.unlink(i)
	c := &s.list[i]
	c.active--
	c.last = now
	s.link(i)
	if c.active == 0 && !c.pinned {
		s.remove(i)
	}
}

// unpin unpins the clients of the members that do not take new connections.
func (s *clients) unpin(takes func(id uint32) bool) {
	for i := range s.list {
		c := &s.list[i]
		if !c.pinned || takes(c.id) {
			continue
		}
		if c.pinned = false; c.active == 0 {
			s.remove(int32(i))
		}
	}
}

// insert makes an entry, not in a line yet. Each clears up to two that have timed
// out, so they go faster than new ones come.
func (s *clients) insert(addr packet.Addr, now time.Duration) int32 {
	for range 2 {
		if i := s.idle.head; i >= 0 && s.expired(i, now) {
			s.remove(i)
		}
	}
	if len(s.at) >= s.max {
		s.evict()
	}
	i := int32(len(s.list))
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		s.list = append(s.list, client{})
	}
	s.list[i] = client{addr: addr}
	s.at[addr] = i
	return i
}

func (s *clients) remove(i int32) {
	s.unlink(i)
	delete(s.at, s.list[i].addr)
	s.list[i] = client{}
	s.free = append(s.free, i)
}

func (s *clients) line(i int32) *line {
	if s.list[i].active > 0 {
		return &s.busy
	}
	return &s.idle
}

// link puts a client at the end of its line: it was used just now.
func (s *clients) link(i int32) {
	l, c := s.line(i), &s.list[i]
	c.prev, c.next = l.tail, -1
	if l.tail >= 0 {
		s.list[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (s *clients) unlink(i int32) {
	l, c := s.line(i), &s.list[i]
	if c.prev >= 0 {
		s.list[c.prev].next = c.next
	} else {
		l.head = c.next
	}
	if c.next >= 0 {
		s.list[c.next].prev = c.prev
	} else {
		l.tail = c.prev
	}
}
