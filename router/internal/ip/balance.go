package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A balancer is the VIPs of one router, with the backends that their connections go to.
type balancer struct {
	router     *Router
	Listeners  []*VIP              // by number, the ID of a lb.VIP; nil: the number is free
	ByListener map[wire.ID]*VIP    // by the listener's id; only changes and readers of the status look at it
	Backends   []backend           // by number; 0 is none
	Unused     []conntrack.Backend // numbers that no backend has
	unnamed    []conntrack.Backend // backends that the arena does not know yet
}

// A VIP is one listener of a load balancer at its router, with the state that stays when its rules change.
type VIP struct {
	*VIPRules
	ObjectID wire.ID         // the listener's
	number   uint32          // at the router
	Share    *PoolShare      // its pool
	Class    conntrack.Class // of its connections

	Numbers map[uint32]conntrack.Backend // the numbers of its backends, by the member's ID
	Leaving []conntrack.Backend          // backends whose member is gone, and which still have connections
	former  Usage                        // of members that are gone, and have no connections any more
	refused uint64                       // new connections that the VIP refused, or had no member for
	Active  int                          // connections that are not over, half-open ones too
	Lasting int                          // connections among these that are established
}

// A backend is a member of a pool as the connections of one VIP use it. A connection's Backend is
// the number of a backend.
type backend struct {
	VIP    *VIP
	Share  *PoolShare    // the pool of the member; the VIP may have got another pool since
	Member uint32        // the member's ID
	gone   bool          // out of the pool; the number is free when the last connection has left the table
	was    *Member       // the member, when it left the pool
	Conns  int           // connections in the table, over or not
	Avoid  time.Duration // until this time other members come first: this one has refused a connection
	Usage
}

// Usage counts the connections and packets of a member: those to it and back.
type Usage struct {
	Active  int       // connections that are not over
	Total   uint64    // connections so far
	Packets [2]uint64 // by conntrack.Direction
	Bytes   [2]uint64 // of IP packets, by conntrack.Direction
}

// Add adds the numbers of v.
func (u *Usage) Add(v *Usage) {
	u.Active += v.Active
	u.Total += v.Total
	for d := range u.Packets {
		u.Packets[d] += v.Packets[d]
		u.Bytes[d] += v.Bytes[d]
	}
}

// joinPool has a VIP use a pool from now on.
func (bl *balancer) joinPool(v *VIP, s *PoolShare) {
	v.Share = s
	s.VIPs = append(s.VIPs, v)
	for _, m := range s.Pool.Members() {
		bl.addBackend(v, m.ID)
	}
}

// leavePool takes a VIP's members away from it. The members of another pool may follow.
func (bl *balancer) leavePool(v *VIP) {
	s := v.Share
	s.VIPs = loop.Without(s.VIPs, v)
	for i := range s.Of.Members {
		bl.removeBackend(v, &s.Of.Members[i])
	}
}

// addBackend gives a member a number for the connections of a VIP. The number of a backend that is
// gone is used again, as no connection has it any more.
func (bl *balancer) addBackend(v *VIP, member uint32) {
	b := backend{VIP: v, Share: v.Share, Member: member}
	if n := len(bl.Unused); n > 0 {
		v.Numbers[member] = bl.Unused[n-1]
		bl.Unused = bl.Unused[:n-1]
		bl.Backends[v.Numbers[member]] = b
	} else {
		v.Numbers[member] = conntrack.Backend(len(bl.Backends))
		bl.Backends = append(bl.Backends, b)
	}
	bl.unnamed = append(bl.unnamed, v.Numbers[member])
}

// removeBackend takes a member from a VIP. The member's connections stay.
func (bl *balancer) removeBackend(v *VIP, m *Member) {
	k, ok := v.Numbers[m.ID]
	if !ok {
		return
	}
	delete(v.Numbers, m.ID)
	bl.Backends[k].gone, bl.Backends[k].was = true, m
	v.Leaving = append(v.Leaving, k)
	bl.retire(k)
}

// retire lets the number of a backend that is gone be used again, once no connection has it.
func (bl *balancer) retire(k conntrack.Backend) {
	b := &bl.Backends[k]
	if !b.gone || b.Conns > 0 {
		return
	}
	b.VIP.former.Add(&b.Usage)
	b.VIP.Leaving = loop.Without(b.VIP.Leaving, k)
	*b = backend{}
	bl.Unused = append(bl.Unused, k)
}

// clientOf is the client of a VIP's connection: address and port before any translation.
func clientOf(c *conntrack.Conn) lb.Client {
	t := c.Tuple(conntrack.Original)
	return lb.Client{Addr: t.Src, Port: t.SrcPort}
}

// A connObserver hears of a router's connections. It counts them by rank, and those of VIPs, and tells both sides when
// a change cuts one.
type connObserver struct{ *Router }

// Began implements conntrack.Observer.
func (o connObserver) Began(c *conntrack.Conn) { o.Moved(c, conntrack.Absent, c.Rank()) }

// Moved implements conntrack.Observer.
func (o connObserver) Moved(c *conntrack.Conn, from, to conntrack.Rank) {
	o.Ranks[from]--
	o.Ranks[to]++
	if c.Backend != 0 {
		o.balanced(c, from, to)
	}
}

// Ended implements conntrack.Observer.
func (o connObserver) Ended(c *conntrack.Conn, e conntrack.Ending) {
	if e.Cut {
		o.resetBoth(&o.Worker.Turn, c)
	}
	if e.Reason == conntrack.Recalled {
		o.logRecalled(c)
	}
	o.Moved(c, c.Rank(), conntrack.Absent)
}

// balanced counts a connection of a VIP whose rank moves.
func (bl *balancer) balanced(c *conntrack.Conn, from, to conntrack.Rank) {
	k := c.Backend
	b, now := &bl.Backends[k], bl.router.Worker.Now
	v := b.VIP
	open := func(rank conntrack.Rank) bool { return rank == conntrack.HalfOpen || rank == conntrack.Lasting }
	switch {
	case open(from) == open(to):
	case open(to):
		b.Active++
		v.Active++
		if from == conntrack.Absent {
			b.Share.Pool.Commit(clientOf(c), b.Member, now)
		} else {
			b.Share.Pool.Resume(clientOf(c), b.Member, now)
		}
	default:
		b.Active--
		v.Active--
		b.Share.Pool.End(clientOf(c), b.Member, now)
	}
	if from == conntrack.Lasting {
		v.Lasting--
	}
	if to == conntrack.Lasting {
		v.Lasting++
	}
	if from == conntrack.Absent {
		b.Conns++
		b.Total++
	}
	if to == conntrack.Absent {
		b.Conns--
		bl.retire(k)
	}
}

// account counts a packet of a VIP's connection that goes on.
func (bl *balancer) account(c *conntrack.Conn, d conntrack.Direction, p *packet.Packet) {
	u := &bl.Backends[c.Backend].Usage
	u.Packets[d&1]++
	u.Bytes[d&1] += uint64(p.End - packet.EthernetLen)
}

// pick chooses a member for a client's new connection. It passes over members that have just refused a
// connection, as long as another one can be reached, and over members that cannot be reached, as long as
// another one can.
func (bl *balancer) pick(t *loop.Turn, v *VIP, c lb.Client) (lb.Member, bool) {
	avoided := false
	m, ok := v.Pool.Pick(c, t.Now, func(m *lb.Member) bool {
		if t.Now < bl.Backends[v.Numbers[m.ID]].Avoid {
			avoided = true
			return false
		}
		return bl.router.Reachable(t, m.Addr)
	})
	if !ok && avoided {
		m, ok = v.Pool.Pick(c, t.Now, func(m *lb.Member) bool { return bl.router.Reachable(t, m.Addr) })
	}
	if !ok {
		// None is in reach. The packet fails on its way to the first choice, and the client is told why.
		m, ok = v.Pool.Pick(c, t.Now, nil)
	}
	return m, ok
}

// connectionOf returns the connection that a TCP segment of c's Original tuple belongs to: c, its
// successor, or nil for a new one. A SYN begins a new connection where c is over. A client of a
// VIP may come back by the port of c. If c's member must not get new connections, or is out of
// reach, the client is balanced anew. But a SYN proves nothing. As long as the member may still
// serve c, the new connection is the successor of c, and c goes on until the client has answered
// the new member.
func connectionOf(t *loop.Turn, x *passage, c *conntrack.Conn) (known *conntrack.Conn, succeeds bool) {
	p, conns := &x.p, x.r.Conns
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
		c, next = next, nil // the successor has the tuple now
	}
	switch {
	case c == nil:
		return nil, false
	case c.Backend == 0:
		return c, false
	case p.More:
		return c, false // no host sends a SYN in fragments, and a new connection needs the segment's length
	case next != nil && !next.Ended() && x.r.serves(t, next):
		return next, false
	case x.r.serves(t, c) || c.State() != conntrack.SynSent && conns.Repeats(c, conntrack.Original, &x.segment):
		return c, false
	case c.State() == conntrack.SynSent:
		conns.Remove(c) // its member has not answered, so there is nothing to keep
		return nil, false
	}
	return nil, true
}

// serves reports whether the member of a connection may have new connections, and is in reach. It need not be in reach
// if no other member is.
func (bl *balancer) serves(t *loop.Turn, c *conntrack.Conn) bool {
	b := &bl.Backends[c.Backend]
	if b.gone || !b.VIP.Pool.Takes(b.Member) {
		return false
	}
	if bl.router.Reachable(t, c.Tuple(conntrack.Reply).Src) {
		return true
	}
	m, ok := bl.pick(t, b.VIP, clientOf(c))
	return !ok || m.ID == b.Member
}

// RefusedFor is how long a member that has refused a connection comes last: longer than the second after which a
// client repeats its SYN (RFC 6298, 2.1), so that it comes to another member. Thousands of other clients should not
// come to that member, either, until its checks have failed.
const RefusedFor = 3 * time.Second

// retryElsewhere ends a connection that its member has refused, if another member can take it: the client's
// next SYN begins anew there. So a server that has died costs its own connections, and about a second
// for each client that comes before the checks have failed. Only a pool with a monitor does so, because
// its checks say that the member is up. Without a monitor, or without another member, the client gets
// the member's answer.
func retryElsewhere(t *loop.Turn, x *passage, c *conntrack.Conn) bool {
	b := &x.r.Backends[c.Backend]
	v := b.VIP
	if !v.Share.Of.Monitored {
		return false
	}
	b.Avoid = t.Now + RefusedFor
	m, ok := x.r.pick(t, v, clientOf(c))
	if !ok || x.r.Backends[v.Numbers[m.ID]].Avoid > t.Now {
		return false
	}
	x.r.Conns.Remove(c)
	return true
}

// admits refuses a client that the VIP does not allow, and a connection beyond its limit.
// Only packets that would begin a connection count as refused.
func admits(t *loop.Turn, x *passage, v *VIP) verdict.Verdict {
	if v.Allowed != nil && !v.Allowed.Lookup(x.p.Src.Netip()) {
		v.count(&x.p)
		return verdict.Drop(verdict.DropNotAllowed)
	}
	lasting := v.Lasting
	if x.fresh.succeeds {
		lasting-- // it takes the place of the connection that it succeeds
	}
	if v.Limit > 0 && lasting >= v.Limit {
		v.count(&x.p)
		return refuse(t, x, verdict.DropConnectionLimit)
	}
	return verdict.Next
}

// count counts a refused packet, if it would begin a connection.
func (v *VIP) count(p *packet.Packet) {
	if p.Proto != packet.ProtoTCP || p.Flags&opening == packet.SYN {
		v.refused++
	}
}

// exceeds ends a connection that has been established beyond its VIP's limit. That happens if several
// begin at the same time, because half-open connections do not count for the limit: a flood of SYNs,
// whose connections never get any further, must not shut other clients out.
func exceeds(t *loop.Turn, x *passage, c *conntrack.Conn) verdict.Verdict {
	x.r.Backends[c.Backend].VIP.refused++
	if c.Protocol() == packet.ProtoTCP {
		x.r.resetBoth(t, c)
	}
	x.r.Conns.Remove(c)
	return verdict.Drop(verdict.DropConnectionLimit)
}

// overLimit reports whether a VIP's connection, whose rank has just moved, is one too many.
func (bl *balancer) overLimit(c *conntrack.Conn, m conntrack.Move) bool {
	if m.To != conntrack.Lasting || m.From == conntrack.Lasting {
		return false
	}
	v := bl.Backends[c.Backend].VIP
	return v.Limit > 0 && v.Lasting > v.Limit
}

// idleClass is the class of the connections of a VIP with such an idle timeout of its own; 0: it has none.
func (r *Router) idleClass(idle time.Duration) conntrack.Class {
	if idle == 0 {
		return 0
	}
	return r.Conns.Class(conntrack.Lifetime{Idle: idle, Reset: true})
}
