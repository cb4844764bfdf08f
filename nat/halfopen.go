package nat

import (
	"math/bits"
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// halfOpen lists the half-open connections, of TCP those whose handshake is not
// over, of others those that nobody has answered. They are what a flood is made of,
// so they are the first to make room; and it is the flood's that do: first the interface
// that has the most of them makes room, on that the host that has the most, and of
// that the oldest. So nobody loses one while somebody else has more: neither who shares
// a network with a flooding host, nor, whatever addresses that host makes up, who is on
// another network.
type halfOpen struct {
	len    int
	groups []halfGroup // by the interface that their first packets came in at
}

// A halfGroup is the hosts with half-open connections of one interface on a ladder: up to
// 63 connections there is a rung for each number, above that one for every 3 %. Numbers
// change by one at a time, so a host moves by a rung at most, and the top is never far.
type halfGroup struct {
	len   int
	rungs [rungCount]uint32 // the number of the host that has been there for the longest, + 1; 0: none
	top   int               // no rung above this has any
}

const (
	rungBits  = 5 // rungs for each power of two, as a power of two
	rungCount = 864
)

// rungOf is the rung for a number of connections. 0 is no rung: that of none.
func rungOf(n uint32) int {
	if n < 2<<rungBits {
		return int(n)
	}
	e := bits.Len32(n) - rungBits - 1
	return e<<rungBits + int(n>>e)
}

// bytes is the memory that the groups take.
func (h *halfOpen) bytes() int { return cap(h.groups) * int(unsafe.Sizeof(halfGroup{})) }

// secondChances is how many connections that have had packets since they were listed
// are listed anew, their hosts last among those with as many, instead of one that makes
// room: a stream that nobody answers is not what a flood is made of. More in a row are.
const secondChances = 8

// halfHost is what a host's record says about its half-open connections.
type halfHost struct {
	half       queue
	group      uint16
	prev, next uint32 // in a ring with the others on its rung
}

// listHalf lists a half-open connection.
func (t *Table) listHalf(i uint32, c *Conn) {
	l := t.links(i)
	l.prev, l.next = noConn, noConn
	k, ok := t.hosts.get(c.halfAddr())
	if !ok {
		return
	}
	if c.proto != packet.ProtoTCP {
		l.end[0] = c.seen
	}
	h := t.hosts.list.at(k)
	if h.half.len == 0 {
		h.half, h.group = newQueue(), c.In[Original]
	}
	h.half.push(t, i)
	t.climb(k, h, h.half.len-1)
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
	h.half.unlink(t, i)
	t.climb(k, h, h.half.len+1)
	t.half.len--
	t.half.groups[h.group].len--
	if h.half.len == 0 {
		h.halfHost = halfHost{}
		t.hosts.settle(k)
	}
}

// climb puts host k, which had one connection more or less until now, on its rung.
func (t *Table) climb(k uint32, h *host, before uint32) {
	if more := int(h.group) + 1 - len(t.half.groups); more > 0 {
		t.half.groups = append(t.half.groups, make([]halfGroup, more)...)
	}
	g, from, to := &t.half.groups[h.group], rungOf(before), rungOf(h.half.len)
	if from == to {
		return
	}
	if from > 0 {
		t.stepOff(&g.rungs[from], k, h)
	}
	if to > 0 {
		t.stepOn(&g.rungs[to], k, h)
	}
	if g.top < to || g.rungs[g.top] == 0 { // in the second case its only host has come down
		g.top = to
	}
}

// stepOn puts a host at the end of a rung: among equals, who has had that many for the
// longest makes room first. If it were the other way round, everybody's first would be
// lost to the next made-up host's.
func (t *Table) stepOn(rung *uint32, k uint32, h *host) {
	if *rung == 0 {
		*rung, h.prev, h.next = k+1, k, k
		return
	}
	first := t.hosts.list.at(*rung - 1)
	h.prev, h.next = first.prev, *rung-1
	t.hosts.list.at(first.prev).next = k
	first.prev = k
}

func (t *Table) stepOff(rung *uint32, k uint32, h *host) {
	if h.next == k {
		*rung = 0
		return
	}
	t.hosts.list.at(h.prev).next, t.hosts.list.at(h.next).prev = h.next, h.prev
	if *rung == k+1 {
		*rung = h.next + 1
	}
}

// halfMost is the rung of the host whose half-open connection is to make room for one that
// comes in at interface in: where others have no more than that, it makes room itself.
func (t *Table) halfMost(in uint16) *uint32 {
	most := &t.half.groups[0]
	if int(in) < len(t.half.groups) {
		most = &t.half.groups[in]
	}
	for i := range t.half.groups {
		if g := &t.half.groups[i]; g.len > most.len {
			most = g
		}
	}
	return &most.rungs[most.top]
}

// evictHalf removes a half-open connection for one that comes in at interface in; there
// must be one.
func (t *Table) evictHalf(in uint16) {
	rung := t.halfMost(in)
	h := t.hosts.list.at(*rung - 1)
	for range secondChances {
		i := h.half.first
		c, l := t.conn(i), t.links(i)
		if c.proto == packet.ProtoTCP || c.seen == l.end[0] {
			break
		}
		l.end[0] = c.seen
		h.half.unlink(t, i)
		h.half.push(t, i)
		*rung = h.next + 1 // others with as many come first now
		h = t.hosts.list.at(h.next)
	}
	t.evict(&h.half)
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
