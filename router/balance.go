package router

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

// A balancer is the VIPs of one router, with the backends that their connections go to.
type balancer struct {
	router     *vrouter
	listeners  []*vip              // by number, the ID of a lb.VIP; nil: the number is free
	byListener map[id]*vip         // only changes look at it
	backends   []backend           // by number; 0 is none
	unused     []conntrack.Backend // numbers that no backend has
}

// A vip is a VIP at its router: where clients connect, which clients may, and how many.
type vip struct {
	*vipRules
	number uint32 // at the router
	share  *poolShare
	class  conntrack.Class // of its connections

	numbers map[uint32]conntrack.Backend // of its backends, by the member's ID
	leaving []conntrack.Backend          // of those whose member is gone, and which still have connections
	former  usage                        // of members that are gone
	refused uint64                       // new connections, for whichever reason of the VIP's own
	active  int                          // connections that are not over, half-open ones too
	lasting int                          // those among them that are established
}

// A backend is a member of a pool as the connections of one VIP use it. A connection's Backend is
// its number.
type backend struct {
	vip    *vip
	share  *poolShare    // whose member it is; the VIP may have got another pool since
	member uint32        // its ID
	gone   bool          // out of the pool; the number is free when the last connection has left the table
	was    *member       // the member, when it left
	conns  int           // in the table, over or not
	avoid  time.Duration // until when others are tried first: it has refused a connection
	usage
}

// usage is what went to a member and back.
type usage struct {
	active  int
	total   uint64    // connections so far
	packets [2]uint64 // by conntrack.Direction
	bytes   [2]uint64 // of IP packets
}

func (u *usage) add(v *usage) {
	u.active += v.active
	u.total += v.total
	for d := range u.packets {
		u.packets[d] += v.packets[d]
		u.bytes[d] += v.bytes[d]
	}
}

// joinPool has a VIP use a pool from now on.
func (bl *balancer) joinPool(v *vip, s *poolShare) {
	v.share = s
	s.vips = append(s.vips, v)
	for _, m := range s.pool.Members() {
		bl.addBackend(v, m.ID)
	}
}

// leavePool takes a VIP's members away from it, as those of another pool follow, or none.
func (bl *balancer) leavePool(v *vip) {
	s := v.share
	s.vips = without(s.vips, v)
	for i := range s.of.members {
		bl.removeBackend(v, &s.of.members[i])
	}
}

// addBackend gives a member a number for the connections of a VIP. The number of a backend that is
// gone is used again, as no connection has it any more.
func (bl *balancer) addBackend(v *vip, member uint32) {
	b := backend{vip: v, share: v.share, member: member}
	if n := len(bl.unused); n > 0 {
		v.numbers[member] = bl.unused[n-1]
		bl.unused = bl.unused[:n-1]
		bl.backends[v.numbers[member]] = b
		return
	}
	v.numbers[member] = conntrack.Backend(len(bl.backends))
	bl.backends = append(bl.backends, b)
}

// removeBackend takes a member from a VIP.
func (bl *balancer) removeBackend(v *vip, m *member) {
	k, ok := v.numbers[m.ID]
	if !ok {
		return
	}
	delete(v.numbers, m.ID)
	bl.backends[k].gone, bl.backends[k].was = true, m
	v.leaving = append(v.leaving, k)
	bl.release(k)
}

// release lets the number of a backend that is gone be used again, once no connection has it.
func (bl *balancer) release(k conntrack.Backend) {
	b := &bl.backends[k]
	if !b.gone || b.conns > 0 {
		return
	}
	b.vip.former.add(&b.usage)
	b.vip.leaving = without(b.vip.leaving, k)
	*b = backend{}
	bl.unused = append(bl.unused, k)
}

// clientOf is who has opened a connection to a VIP, as it arrived.
func clientOf(c *conntrack.Conn) lb.Client {
	t := c.Tuple(conntrack.Original)
	return lb.Client{Addr: t.Src, Port: t.SrcPort}
}

// A connObserver hears of a router's connections: it counts those of VIPs, and tells both sides of
// one that is cut.
type connObserver struct{ *vrouter }

// Began implements conntrack.Observer.
func (o connObserver) Began(c *conntrack.Conn) { o.Moved(c, conntrack.Absent, c.Rank()) }

// Moved implements conntrack.Observer.
func (o connObserver) Moved(c *conntrack.Conn, from, to conntrack.Rank) {
	if c.Backend != 0 {
		o.balanced(c, from, to)
	}
}

// Ended implements conntrack.Observer.
func (o connObserver) Ended(c *conntrack.Conn, e conntrack.Ending) {
	if e.Cut {
		o.resetBoth(&o.worker.turn, c)
	}
	o.Moved(c, c.Rank(), conntrack.Absent)
}

// balanced follows what becomes of a connection of a VIP.
func (bl *balancer) balanced(c *conntrack.Conn, from, to conntrack.Rank) {
	k := c.Backend
	b, now := &bl.backends[k], bl.router.worker.now
	v := b.vip
	open := func(rank conntrack.Rank) bool { return rank == conntrack.HalfOpen || rank == conntrack.Lasting }
	switch {
	case open(from) == open(to):
	case open(to):
		b.active++
		v.active++
		if from == conntrack.Absent {
			b.share.pool.Commit(clientOf(c), b.member, now)
		} else {
			b.share.pool.Resume(clientOf(c), b.member, now)
		}
	default:
		b.active--
		v.active--
		b.share.pool.End(clientOf(c), b.member, now)
	}
	if from == conntrack.Lasting {
		v.lasting--
	}
	if to == conntrack.Lasting {
		v.lasting++
	}
	if from == conntrack.Absent {
		b.conns++
		b.total++
	}
	if to == conntrack.Absent {
		b.conns--
		bl.release(k)
	}
}

// account counts a packet of a VIP's connection that is sent on.
func (bl *balancer) account(c *conntrack.Conn, d conntrack.Direction, p *packet.Packet) {
	u := &bl.backends[c.Backend].usage
	u.packets[d&1]++
	u.bytes[d&1] += uint64(p.End - packet.EthernetLen)
}

// pick chooses a member for a client's new connection. It passes over members that have just refused a
// connection, as long as another one can be reached, and over members that cannot be reached, as long as
// another one can.
func (bl *balancer) pick(t *turn, v *vip, c lb.Client) (lb.Member, bool) {
	avoided := false
	m, ok := v.Pool.Pick(c, t.now, func(m *lb.Member) bool {
		if t.now < bl.backends[v.numbers[m.ID]].avoid {
			avoided = true
			return false
		}
		return bl.router.reachable(t, m.Addr)
	})
	if !ok && avoided {
		m, ok = v.Pool.Pick(c, t.now, func(m *lb.Member) bool { return bl.router.reachable(t, m.Addr) })
	}
	if !ok {
		m, ok = v.Pool.Pick(c, t.now, nil) // no member, or none in reach: then the first says why
	}
	return m, ok
}

// connectionOf returns the connection that a TCP segment of c's Original tuple belongs to: c, its
// successor, or nil for a new one. A SYN begins a new connection where c is over. A client of a
// VIP may come back by the port of c. If c's member must not get new connections, or is out of
// reach, the client is balanced anew. But a SYN proves nothing. As long as the member may still
// serve c, the new connection is the successor of c, and c goes on until the client has answered
// the new member.
func connectionOf(t *turn, x *passage, c *conntrack.Conn) (known *conntrack.Conn, succeeds bool) {
	p, conns := &x.p, x.r.conns
	if p.FragOff != 0 {
		return c, false
	}
	p.ReadSegment(&x.segment)
	next := conns.Successor(c)
	if p.Flags&(packet.SYN|packet.ACK) != packet.SYN {
		if next != nil && next.State() == conntrack.SynReceived &&
			conns.Fit(next, conntrack.Original, &x.segment) == conntrack.Fits {
			return next, false
		}
		return c, false
	}
	if c.Ended() { // the sender uses its port again
		conns.Remove(c)
		c, next = next, nil // which has the tuple now
	}
	switch {
	case c == nil:
		return nil, false
	case c.Backend == 0:
		return c, false
	case p.More:
		return c, false // no host sends a SYN in fragments, and where segments end would not be known afterwards
	case next != nil && !next.Ended() && x.r.serves(t, next):
		return next, false
	case x.r.serves(t, c) || c.State() != conntrack.SynSent && conns.Repeats(c, conntrack.Original, &x.segment):
		return c, false
	case c.State() == conntrack.SynSent:
		conns.Remove(c) // there is nothing to keep
		return nil, false
	}
	return nil, true
}

// serves reports whether the member of a connection may have new ones, and is in reach if any
// other one is.
func (bl *balancer) serves(t *turn, c *conntrack.Conn) bool {
	b := &bl.backends[c.Backend]
	if b.gone || !b.vip.Pool.Takes(b.member) {
		return false
	}
	if bl.router.reachable(t, c.Tuple(conntrack.Reply).Src) {
		return true
	}
	m, ok := bl.pick(t, b.vip, clientOf(c))
	return !ok || m.ID == b.member
}

// refusedFor is how long a member that has refused a connection comes last. A client repeats
// its SYN after a second, and must not come to the same member. Thousands of other clients should not
// come to that member, either, until its checks have failed.
const refusedFor = 3 * time.Second

// retryElsewhere ends a connection that its member has refused, if another member can take it: the client's
// next SYN begins anew there. So a server that has died costs its own connections, and about a second
// for each client that comes before the checks have failed. Only a pool with a monitor does so, because
// its checks say that the member is up. Without a monitor, or without another member, the client gets
// the member's answer.
func retryElsewhere(t *turn, x *passage, c *conntrack.Conn) bool {
	b := &x.r.backends[c.Backend]
	v := b.vip
	if !v.share.of.monitored {
		return false
	}
	b.avoid = t.now + refusedFor
	m, ok := x.r.pick(t, v, clientOf(c))
	if !ok || x.r.backends[v.numbers[m.ID]].avoid > t.now {
		return false
	}
	x.r.conns.Remove(c)
	return true
}

// admits refuses a client that the VIP does not allow, and a connection beyond its limit.
// Only packets that would begin a connection count as refused.
func admits(t *turn, x *passage, v *vip) verdict {
	if v.allowed != nil && !v.allowed.Lookup(x.p.Src.Netip()) {
		v.count(&x.p)
		return drop(DropNotAllowed)
	}
	lasting := v.lasting
	if x.fresh.succeeds {
		lasting-- // whose place it takes
	}
	if v.limit > 0 && lasting >= v.limit {
		v.count(&x.p)
		return refuse(t, x, DropConnectionLimit)
	}
	return next
}

func (v *vip) count(p *packet.Packet) {
	if p.Proto != packet.ProtoTCP || p.Flags&opening == packet.SYN {
		v.refused++
	}
}

// exceeds ends a connection that has been established beyond its VIP's limit. That happens if several
// begin at the same time, because half-open connections do not count for the limit: a flood of SYNs,
// whose connections never get any further, must not shut other clients out.
func exceeds(t *turn, x *passage, c *conntrack.Conn) verdict {
	x.r.backends[c.Backend].vip.refused++
	if c.Protocol() == packet.ProtoTCP {
		x.r.resetBoth(t, c)
	}
	x.r.conns.Remove(c)
	return drop(DropConnectionLimit)
}

// overLimit reports whether a VIP's connection, whose rank has just moved, is one too many.
func (bl *balancer) overLimit(c *conntrack.Conn, m conntrack.Move) bool {
	if m.To != conntrack.Lasting || m.From == conntrack.Lasting {
		return false
	}
	v := bl.backends[c.Backend].vip
	return v.limit > 0 && v.lasting > v.limit
}

// idleClass is the class of the connections of a VIP with an idle timeout of its own.
func (r *vrouter) idleClass(idle time.Duration) conntrack.Class {
	if idle == 0 {
		return 0
	}
	return r.conns.Class(conntrack.Lifetime{Idle: idle, Reset: true})
}
