package conntrack

import "github.com/taprouter/taprouter/internal/packet"

// In this file hosts borrow connections beyond their shares, and lose them when others need them.
//
// Of the connections of a host so many are its own: they were within its share when it got them, or have come to be so
// later. The others are borrowed. Which ones these are is not said of any connection: a host that must give one back
// loses the one that has been idle for the longest. Established TCP is always among its own. So are connections of
// other protocols than UDP and ICMP, once they are answered.

// loans is the part of a host's record that says how much it borrows.
type loans struct {
	own  int32 // of its connections; the others are borrowed
	firm int32 // of its connections that are listed: they never end for other hosts
	idle queue // the others that are Lasting, longest idle first
	Borrower
}

// A debt is how much a host has borrowed.
type debt struct {
	rank    int32 // as a borrower: how many connections it has, 0 if it has borrowed none
	lasting int32 // connections that it has borrowed, without the ones that make room anyway
}

func (h *host) debt() (d debt) {
	within := max(h.own, h.firm)
	if h.conns > within {
		d.rank = h.conns
	}
	d.lasting = max(0, h.firm+int32(h.idle.len)-within)
	return d
}

// owes notes how much host k has borrowed; until now it was another amount.
func (t *Table) owes(k uint32, h *host, was debt) {
	is := h.debt()
	t.hosts.lent += int(is.lasting - was.lasting)
	if is.rank != was.rank {
		t.hosts.borrowers.Move(k, was.rank, is.rank, t.hosts.borrower)
	}
}

func (h *hosts) borrower(k uint32) *Borrower { return &h.list.At(k).Borrower }

// free is how many connections others may still have, as shares see it. Connections that would make room for others
// are as good as free: a flood takes no share from other hosts, nor do lent connections.
func (t *Table) free() int {
	n := t.cfg.MaxConnections - t.live + t.half.len + int(t.closing.len)
	if t.cfg.Lend {
		n += t.hosts.lent
	}
	return max(0, n) // the table may have become smaller
}

// usesShare reports whether a host has as many connections of its own as it may.
func (t *Table) usesShare(addr packet.Addr) bool {
	k, _ := t.hosts.find(addr)
	if k == 0 {
		return false
	}
	h := t.hosts.list.At(k)
	if !t.cfg.Lend {
		return t.share.Exceeds(int(h.conns), t.cfg.MaxConnections, t.free())
	}
	t.repay(k, h)
	return h.own < h.conns || t.share.Exceeds(int(h.own), t.cfg.MaxConnections, t.free())
}

// repay makes as many connections that host k has borrowed its own as its share allows by now.
func (t *Table) repay(k uint32, h *host) {
	for h.own < h.conns {
		// What is firm is not free already.
		free := t.free() + int(max(0, h.firm-h.own))
		more := min(int(h.conns-h.own), t.share.More(int(h.own), t.cfg.MaxConnections, free))
		if more == 0 {
			return
		}
		was := h.debt()
		h.own += int32(more)
		t.owes(k, h, was)
	}
}

// withinShare refuses a new connection whose owner has its share, unless the owner may borrow.
func (t *Table) withinShare(n *NewConn) Refusal {
	host, ok := n.owner()
	if !ok || !t.usesShare(host) {
		return None
	}
	if t.reclaim(); t.usesShare(host) && !t.mayBorrow(host, n.Original.Proto) {
		return HostShareUsed
	}
	return None
}

// mayBorrow reports whether a host that has its share may have one more connection: there is room, or another host
// must give it one. Of TCP it must be able to become the host's own.
func (t *Table) mayBorrow(addr packet.Addr, proto uint8) bool {
	if !t.cfg.Lend || t.halfFull() || t.live > t.cfg.MaxConnections {
		return false
	}
	switch proto {
	case packet.ProtoUDP, packet.ProtoICMP:
	case packet.ProtoTCP:
		if k, _ := t.hosts.find(addr); k != 0 && t.hosts.list.At(k).firm >= t.hosts.list.At(k).own {
			return false
		}
	default:
		return false
	}
	return t.live < t.cfg.MaxConnections || t.closing.len > 0 || t.giver(addr) != 0
}

// OverShare reports whether a TCP connection that has just been established is one more than its owner may have: all
// connections of the share are established TCP already. A caller that finds this ends the connection. Otherwise a host
// could get any number that begin at the same time, which would never end for others.
func (t *Table) OverShare(c *Conn) bool {
	if !t.cfg.Lend || c.proto != packet.ProtoTCP || c.flags&connCounted == 0 || c.Rank() != Lasting {
		return false
	}
	k, _ := t.hosts.find(c.ownerAddr())
	if k == 0 {
		return false
	}
	h := t.hosts.list.At(k)
	if h.firm > h.own {
		t.repay(k, h)
	}
	return h.firm > h.own
}

// lendable reports whether a connection may end for another host once it is Lasting.
func (c *Conn) lendable() bool { return c.proto == packet.ProtoUDP || c.proto == packet.ProtoICMP }

// listLasting lists a connection that is Lasting with its owner.
func (t *Table) listLasting(i uint32, c *Conn) {
	k := t.lender(c)
	if k == 0 {
		return
	}
	h := t.hosts.list.At(k)
	was := h.debt()
	if c.lendable() {
		h.idle.push(t, i)
		t.conns.Column(i).end[0] = c.seen
	} else {
		h.firm++
	}
	t.owes(k, h, was)
}

// unlistLasting takes it out again.
func (t *Table) unlistLasting(i uint32, c *Conn) {
	k := t.lender(c)
	if k == 0 {
		return
	}
	h := t.hosts.list.At(k)
	was := h.debt()
	switch {
	case !c.lendable():
		h.firm--
	case t.listed(&h.idle, i):
		h.idle.unlink(t, i)
	}
	t.owes(k, h, was)
}

// lender is the number of the host whose share a connection counts towards, 0 if it counts towards none.
func (t *Table) lender(c *Conn) uint32 {
	if c.flags&connCounted == 0 {
		return 0
	}
	k, _ := t.hosts.find(c.ownerAddr())
	return k
}

// listed reports whether connection i is in a queue where it belongs. It is not if there was no room for its host.
func (t *Table) listed(q *queue, i uint32) bool {
	return q.first == i || q.len > 0 && t.conns.Column(i).prev != noConn
}

// The queue of a host is in the order of the connections' last packets, but for this much. The first packet in each
// step of time puts its connection last, and no other one does: a queue must not cost each packet something.
const (
	useStep   = 1 << 14 // milliseconds, a power of two
	recentUse = 1 << 12 // milliseconds: a connection that had packets since is passed over for some others
)

// used is called for the first packet of a connection in a step of time, but not of TCP.
func (t *Table) used(c *Conn) {
	switch {
	case !c.embryonic():
		if k := t.lender(c); k != 0 && c.lendable() {
			t.requeue(&t.hosts.list.At(k).idle, c)
		}
	case t.cfg.Lend: // else the order is that of their beginnings
		if k, _ := t.hosts.find(c.halfAddr()); k != 0 {
			t.requeue(&t.hosts.list.At(k).half, c)
		}
	}
	for _, o := range t.useObservers {
		o.Used(c)
	}
}

// requeue puts a connection last in a queue.
func (t *Table) requeue(q *queue, c *Conn) {
	if !t.listed(q, c.self) {
		return
	}
	q.unlink(t, c.self)
	q.push(t, c.self)
	t.conns.Column(c.self).end[0] = c.seen
}

// Recent reports whether a connection has had packets in the last seconds, beside the packets that put it into
// its queue. It is false for TCP.
func (t *Table) Recent(c *Conn) bool {
	return c.proto != packet.ProtoTCP && t.now-c.seen < recentUse && c.seen != t.conns.Column(c.self).end[0]
}

// borrower returns the number of a host that holds more than its share, as it is by now, 0 if no host does.
func (t *Table) borrower() uint32 {
	if !t.cfg.Lend {
		return 0
	}
	for {
		k := t.hosts.borrowers.First()
		if k == 0 {
			return 0
		}
		h := t.hosts.list.At(k)
		if t.repay(k, h); h.debt().rank > 0 {
			return k
		}
	}
}

// giver returns the number of the host that must give up a connection for another one, 0 if none must. For a host
// within its share, that is any borrower. A host that has its share, because others have left it less, gets what a host
// has beyond its part of the whole table, up to its own part.
func (t *Table) giver(addr packet.Addr) uint32 {
	k := t.borrower()
	if k == 0 || !t.usesShare(addr) {
		return k
	}
	if at, _ := t.hosts.find(addr); !t.share.Part(int(t.hosts.list.At(at).conns)+1, t.cfg.MaxConnections) {
		return 0
	}
	for range giverTries {
		if k == 0 || !t.share.Part(int(t.hosts.list.At(k).conns), t.cfg.MaxConnections) {
			return k
		}
		t.hosts.borrowers.Turn(t.hosts.borrower)
		k = t.borrower()
	}
	return 0
}

// giverTries is how many of the greatest borrowers are looked at to find one with more than its part. There are not
// more than that of at least half its size, if a part is an eighth or more.
const giverTries = 16

// recall ends a connection that host k has borrowed. It reports false if there is none, or none is listed.
func (t *Table) recall(k uint32) bool {
	if k == 0 {
		return false
	}
	h := t.hosts.list.At(k)
	i := t.longestIdle(h)
	if i == noConn {
		return false
	}
	t.hosts.borrowers.Turn(t.hosts.borrower)
	t.Recall(t.conn(i))
	return true
}

// longestIdle is the connection of a host that is to end first, noConn if there is none.
func (t *Table) longestIdle(h *host) uint32 {
	i, k := t.firstIdle(&h.idle), t.firstIdle(&h.half)
	switch {
	case i == noConn:
		return k
	case k == noConn:
		return i
	case before(t.conn(k).seen, t.conn(i).seen):
		return k
	}
	return i
}

// firstIdle is the connection of a queue that is to end first, noConn if the queue is empty. A few that had packets
// in the last seconds are put last.
func (t *Table) firstIdle(q *queue) uint32 {
	for range secondChances {
		if q.first == noConn || !t.Recent(t.conn(q.first)) {
			break
		}
		t.requeue(q, t.conn(q.first))
	}
	return q.first
}

// Recall ends a connection that its host holds beyond its share, because another host needs what it takes. The caller
// knows that this is so.
func (t *Table) Recall(c *Conn) {
	t.stats.Recalled++
	t.remove(c.self, Ending{Reason: Recalled})
}

// Admits says whether Commit has room for a connection, or why it has not. It makes no room, but for what has
// expired. Tuples are not looked at.
func (t *Table) Admits(n *NewConn) Refusal {
	if r := t.withinShare(n); r != None {
		return r
	}
	if t.live >= t.cfg.MaxConnections && t.free() == 0 {
		if t.reclaim(); t.live >= t.cfg.MaxConnections && t.free() == 0 {
			return TableFull
		}
	}
	return None
}
