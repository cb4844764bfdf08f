package main

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/google/gopacket/layers"
)

// A tuple is what a packet of a connection shows in one direction.
type tuple struct {
	src, dst         addr
	srcPort, dstPort uint16
	proto            layers.IPProtocol
}

func (t tuple) reverse() tuple {
	return tuple{src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort, proto: t.proto}
}

// A connection has a key for each direction: the tuple that its packets arrive
// with. They leave with the other key, reversed.
type connection struct {
	original, reply tuple
	used            time.Time
	closing         bool
	list            *list.List
	place           *list.Element
}

// A table holds the connections. Each is on one of two lists, in the order of last
// use, so that connections that are too old are always at the end and nothing is swept.
type table struct {
	mu          sync.Mutex
	conns       map[tuple]*connection
	brief, long *list.List
	nextPort    uint16
	turn        int
}

const (
	maxConnections = 1 << 21
	briefTimeout   = 120 * time.Second // UDP, and TCP that opens or closes
	longTimeout    = 2 * time.Hour     // established TCP
	maxPortTries   = 4096
)

func newTable() *table {
	return &table{conns: map[tuple]*connection{}, brief: list.New(), long: list.New(), nextPort: 1024}
}

// translate finds the tuple that a packet leaves with. For a new connection it
// calls create, if there is one; without a connection it reports false.
func (tb *table) translate(t tuple, tcp *layers.TCP, create func(*table, tuple) (tuple, bool)) (tuple, bool) {
	now := time.Now()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	c := tb.conns[t]
	if c == nil {
		if create == nil {
			return t, false
		}
		tb.expire(now)
		u, ok := create(tb, t)
		if !ok {
			return t, false
		}
		c = &connection{original: t, reply: u.reverse(), list: tb.brief}
		c.place = c.list.PushFront(c)
		tb.conns[c.original], tb.conns[c.reply] = c, c
	}
	tb.refresh(c, now, tcp, t == c.reply)
	if t == c.original {
		return c.reply.reverse(), true
	}
	return c.original.reverse(), true
}

// refresh puts a connection at the head of the list that it now belongs to.
func (tb *table) refresh(c *connection, now time.Time, tcp *layers.TCP, replied bool) {
	c.used = now
	to := c.list
	switch {
	case tcp == nil:
	case tcp.FIN || tcp.RST:
		c.closing, to = true, tb.brief
	case tcp.SYN && !tcp.ACK:
		c.closing, to = false, tb.brief
	case replied && !c.closing:
		to = tb.long
	}
	if to == c.list {
		c.list.MoveToFront(c.place)
		return
	}
	c.list.Remove(c.place)
	c.list, c.place = to, to.PushFront(c)
}

// expire removes connections that have been idle for too long, and in a full table
// the one that has been idle for longest.
func (tb *table) expire(now time.Time) {
	for _, l := range []struct {
		*list.List
		timeout time.Duration
	}{{tb.brief, briefTimeout}, {tb.long, longTimeout}} {
		for e := l.Back(); e != nil; e = l.Back() {
			c := e.Value.(*connection)
			if now.Sub(c.used) < l.timeout && len(tb.conns) < 2*maxConnections {
				break
			}
			l.Remove(e)
			delete(tb.conns, c.original)
			delete(tb.conns, c.reply)
		}
	}
}

// masquerade gives a new connection the router's address, and a port of its own if
// the sender's is taken towards that destination.
func masquerade(tb *table, t tuple) (tuple, bool) {
	t.src = outAddr
	for range maxPortTries {
		if tb.conns[t.reverse()] == nil {
			return t, true
		}
		t.srcPort, tb.nextPort = tb.nextPort, max(1024, tb.nextPort+1)
	}
	return t, false
}

// balance takes the members of the VIP in turn.
func balance(tb *table, t tuple) (tuple, bool) {
	if !slices.Contains(vipPorts, t.dstPort) {
		return t, false
	}
	t.dst = members[tb.turn%len(members)]
	tb.turn++
	return t, true
}
