package nat

import "math/bits"

// halfOpen lists the half-open connections, of TCP those whose handshake is not
// over, of others those that nobody has answered. They are what a flood is made of,
// so they are the first to make room; and it is the flood's that do: first the interface
// that has the most of them makes room, on that the host that has the most, and of
// that the oldest. So nobody loses one while somebody else has twice as many: neither
// who shares a network with a flooding host, nor, whatever addresses that host makes up,
// who is on another network.
type halfOpen struct {
	len    int
	groups []halfGroup // by the interface that their first packets came in at
}

// A halfGroup is the hosts with half-open connections of one interface, by how many:
// list k has those with at least 2^k and less than twice that. The numbers of hosts
// are one more than their place, 0 is none.
type halfGroup struct {
	len    int
	first  [32]uint32
	filled uint32 // bit k: list k is not empty
}

// secondChances is how many connections that have had packets since they were listed
// are listed anew instead of one that makes room: a stream that nobody answers is not
// what a flood is made of. More in a row are.
const secondChances = 8

// halfHost is what a host's record says about its half-open connections.
type halfHost struct {
	half       queue
	group      uint16
	prev, next uint32 // in its group's list
}

func (h *halfHost) magnitude() int { return bits.Len(uint(h.half.len)) - 1 }

// listHalf lists a half-open connection.
func (t *Table) listHalf(i uint32, c *Conn) {
	l := t.links(i)
	l.prev, l.next = noConn, noConn
	k, ok := t.hosts.get(c.halfAddr())
	if !ok {
		return
	}
	if c.class != classTCP {
		l.end[0] = c.seen
	}
	h := t.hosts.list.at(k)
	if h.half.len == 0 {
		h.half, h.group = newQueue(), c.In[Original]
	} else {
		t.unrank(k, h)
	}
	h.half.push(t, i)
	t.rank(k, h)
	t.half.len++
	t.half.groups[h.group].len++
}

// unlistHalf takes it out again.
func (t *Table) unlistHalf(i uint32, c *Conn) {
	k, _, ok := t.hosts.find(c.halfAddr())
	if !ok {
		return
	}
	h := t.hosts.list.at(k)
	if l := t.links(i); h.half.len == 0 || l.prev == noConn && h.half.first != i {
		return // there was no room to list it
	}
	t.unrank(k, h)
	h.half.unlink(t, i)
	t.half.len--
	t.half.groups[h.group].len--
	if h.half.len > 0 {
		t.rank(k, h)
		return
	}
	h.halfHost = halfHost{}
	t.hosts.settle(k)
}

// rank puts host k into the list that its number of connections belongs to.
func (t *Table) rank(k uint32, h *host) {
	if more := int(h.group) + 1 - len(t.half.groups); more > 0 {
		t.half.groups = append(t.half.groups, make([]halfGroup, more)...)
	}
	g, m := &t.half.groups[h.group], h.magnitude()
	h.prev, h.next = 0, g.first[m]
	if h.next != 0 {
		t.hosts.list.at(h.next - 1).prev = k + 1
	}
	g.first[m] = k + 1
	g.filled |= 1 << m
}

// unrank takes it out of there.
func (t *Table) unrank(k uint32, h *host) {
	g, m := &t.half.groups[h.group], h.magnitude()
	if h.next != 0 {
		t.hosts.list.at(h.next - 1).prev = h.prev
	}
	if h.prev != 0 {
		t.hosts.list.at(h.prev - 1).next = h.next
		return
	}
	if g.first[m] = h.next; h.next == 0 {
		g.filled &^= 1 << m
	}
}

// halfMost is the host whose half-open connection is to make room.
func (t *Table) halfMost() *host {
	most := &t.half.groups[0]
	for i := range t.half.groups {
		if g := &t.half.groups[i]; g.len > most.len {
			most = g
		}
	}
	return t.hosts.list.at(most.first[bits.Len32(most.filled)-1] - 1)
}

// evictHalf removes a half-open connection; there must be one.
func (t *Table) evictHalf() {
	q := &t.halfMost().half
	for range secondChances {
		i := q.first
		c, l := t.conn(i), t.links(i)
		if c.class == classTCP || c.seen == l.end[0] {
			break
		}
		l.end[0] = c.seen
		q.unlink(t, i)
		q.push(t, i)
	}
	t.evict(q)
}

// halfAddr is the host that a half-open connection is listed with: who has opened it
// from inside, or what was called from outside. What strangers do in a host's name is
// not listed with what it does itself.
func (c *Conn) halfAddr() uint32 {
	if c.flags&(connOwned|connOwnerDest) == connOwned {
		return c.src[Original]
	}
	return c.dst[Original]
}
