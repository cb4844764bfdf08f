package conntrack

import (
	"math/bits"
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// halfOpen lists the half-open connections: TCP connections whose handshake is not over, and
// connections of other protocols that have had no answer. A flood is made of them, so they are the
// first to make room, the flood's own before others. The interface that has the most makes room: on it
// the host that has the most, and of that host the oldest connection. So a host loses no connection
// while another host on its interface has more: a flooding host does not hurt the others on its
// network. The addresses that it makes up there hurt no host on another network.
type halfOpen struct {
	len    int
	excess bool        // the table has become smaller, and there may be more than one too many
	groups []halfGroup // by the interface that their first packets came in at
}

// A halfGroup is the hosts with half-open connections of one interface, sorted into buckets by how
// many they have. Up to 63 connections there is a bucket for each number, above that one for every
// 3 %. Numbers change by one at a time. So a host moves by one bucket at most, and the highest
// bucket that is not empty is never far from where it was.
type halfGroup struct {
	len     int
	buckets [bucketCount]uint32 // the number of the host that has been there for the longest, 0: none
	highest int                 // all buckets above this are empty
}

const (
	bucketBits  = 5 // buckets for each power of two, as a power of two
	bucketCount = 864
)

// bucketOf is the bucket for a number of connections. Hosts without any are in no bucket: 0.
func bucketOf(n uint32) int {
	if n < 2<<bucketBits {
		return int(n)
	}
	e := bits.Len32(n) - bucketBits - 1
	return e<<bucketBits + int(n>>e)
}

// bytes is the memory that the groups take.
func (h *halfOpen) bytes() int { return cap(h.groups) * int(unsafe.Sizeof(halfGroup{})) }

// secondChances is how many connections may be passed over in a search for one that makes room. A
// connection that has had packets since it was listed is listed anew, and its host comes last among
// the hosts of its bucket: a flood is hardly made of streams, even unanswered ones. More of them in
// a row do look like one.
const secondChances = 8

// halfHost is what a host's record says about its half-open connections.
type halfHost struct {
	half       queue
	group      uint16
	prev, next uint32 // in a ring with the other hosts of its bucket
}

// listHalf lists a half-open connection.
func (t *Table) listHalf(i uint32, c *Conn) {
	l := t.conns.Column(i)
	l.prev, l.next = noConn, noConn
	k := t.hosts.get(c.halfAddr())
	if k == 0 {
		return
	}
	if c.proto != packet.ProtoTCP {
		l.end[0] = c.seen
	}
	h := t.hosts.list.At(k)
	if h.half.len == 0 {
		h.group = c.In[Original]
	}
	h.half.push(t, i)
	t.rebucket(k, h, h.half.len-1)
	t.half.len++
	t.half.groups[h.group].len++
}

// unlistHalf takes it out again.
func (t *Table) unlistHalf(i uint32, c *Conn) {
	k, _ := t.hosts.find(c.halfAddr())
	if k == 0 {
		return
	}
	h := t.hosts.list.At(k)
	if l := t.conns.Column(i); h.half.len == 0 || l.prev == noConn && h.half.first != i {
		return // there was no room to list it
	}
	h.half.unlink(t, i)
	t.rebucket(k, h, h.half.len+1)
	t.half.len--
	t.half.groups[h.group].len--
	if h.half.len == 0 {
		h.halfHost = halfHost{}
		t.hosts.forgetIdle(k)
	}
}

// rebucket moves host k, which had one connection more or less until now, to its bucket.
func (t *Table) rebucket(k uint32, h *host, before uint32) {
	if more := int(h.group) + 1 - len(t.half.groups); more > 0 {
		t.half.groups = append(t.half.groups, make([]halfGroup, more)...)
	}
	g, from, to := &t.half.groups[h.group], bucketOf(before), bucketOf(h.half.len)
	if from == to {
		return
	}
	if from > 0 {
		t.leaveBucket(&g.buckets[from], k, h)
	}
	if to > 0 {
		t.enterBucket(&g.buckets[to], k, h)
	}
	if g.highest < to || g.buckets[g.highest] == 0 { // in the second case its only host has moved down
		g.highest = to
	}
}

// enterBucket puts a host last in a bucket. Among hosts with equally many, the host that has had
// that many for the longest makes room first. Otherwise every host's first connection would be lost
// to the next made-up host's.
func (t *Table) enterBucket(bucket *uint32, k uint32, h *host) {
	if *bucket == 0 {
		*bucket, h.prev, h.next = k, k, k
		return
	}
	first := t.hosts.list.At(*bucket)
	h.prev, h.next = first.prev, *bucket
	t.hosts.list.At(first.prev).next = k
	first.prev = k
}

// leaveBucket takes a host out of its bucket.
func (t *Table) leaveBucket(bucket *uint32, k uint32, h *host) {
	if h.next == k {
		*bucket = 0
		return
	}
	t.hosts.list.At(h.prev).next, t.hosts.list.At(h.next).prev = h.next, h.prev
	if *bucket == k {
		*bucket = h.next
	}
}

// fullestBucket is the bucket of the host whose half-open connection is to make room for one that
// comes in at interface in. Where other interfaces have no more than that one, it makes room itself.
func (t *Table) fullestBucket(in uint16) *uint32 {
	most := &t.half.groups[0]
	if int(in) < len(t.half.groups) {
		most = &t.half.groups[in]
	}
	for i := range t.half.groups {
		if g := &t.half.groups[i]; g.len > most.len {
			most = g
		}
	}
	return &most.buckets[most.highest]
}

// evictHalf removes a half-open connection for one that comes in at interface in. There must be one.
func (t *Table) evictHalf(in uint16) {
	bucket := t.fullestBucket(in)
	h := t.hosts.list.At(*bucket)
	for range secondChances {
		i := h.half.first
		c, l := t.conn(i), t.conns.Column(i)
		if c.proto == packet.ProtoTCP || c.seen == l.end[0] || t.cfg.Lend && t.now-c.seen >= useStep {
			break // the last: for the order in which lent connections end, see used
		}
		l.end[0] = c.seen
		h.half.unlink(t, i)
		h.half.push(t, i)
		*bucket = h.next // the other hosts of the bucket come first now
		h = t.hosts.list.At(h.next)
	}
	t.evict(&h.half)
}

// halfAddr is the host that a half-open connection is listed with: the host that has opened it from
// inside, or the destination that a packet from outside had. What strangers do in a host's name is
// not listed with what the host does itself.
func (c *Conn) halfAddr() packet.Addr {
	if c.flags&(connCounted|connOwnerDest) == connCounted {
		return c.ends[Original].src
	}
	return c.ends[Original].dst
}
