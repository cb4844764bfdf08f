package router

import (
	"math"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// checkTables: no two connections, nor both directions of one, are found by the same
// tuple. A mapping's external endpoint belongs to one internal endpoint, and the other
// way round where mappings do not depend on the destination.
func (q *sequence) checkTables() {
	type end struct {
		addr  packet.Addr
		port  uint16
		proto uint8
	}
	for _, r := range q.w.routers {
		tuples := map[packet.Tuple]bool{}
		internal, external := map[end]end{}, map[end]end{}
		independent := r.Tables.NAT.Mapping == nat.EndpointIndependent
		mapped := func(in, out end) {
			if was, ok := internal[out]; ok && was != in {
				q.t.Fatalf("%s: %+v and %+v share the external %+v", r.Name, was, in, out)
			}
			if was, ok := external[in]; ok && was != out && independent {
				q.t.Fatalf("%s: %+v is mapped to %+v and %+v", r.Name, in, was, out)
			}
			internal[out], external[in] = in, out
		}
		r.Conns.Walk(0, math.MaxInt, q.now, func(conn *conntrack.Conn) bool {
			c := r.Conns.Show(conn, q.now)
			o, p := c.Original, c.Reply
			if tuples[o] && !c.Succeeds || tuples[p] || o == p {
				q.t.Fatalf("%s: two connections are found by the same tuple: %v, %v", r.Name, o, p)
			}
			tuples[o], tuples[p] = tuples[o] || !c.Succeeds, true
			switch {
			case !nat.Mapped(c.Marks) || r.Gateway == nil:
			case o.Dst == r.Gateway.Addr: // its source may be overloaded: that says nothing
				mapped(end{p.Src, p.SrcPort, p.Proto}, end{o.Dst, o.DstPort, o.Proto})
			case p.Dst == r.Gateway.Addr:
				mapped(end{o.Src, o.SrcPort, o.Proto}, end{p.Dst, p.DstPort, p.Proto})
			}
			return true
		})
		q.checkBackends(r)
		for _, v := range r.Listeners {
			if v == nil {
				continue // a free number
			}
			if v.Limit > 0 && v.Lasting > v.Limit || v.Lasting > v.Active || v.Active > r.Conns.Len() {
				q.t.Fatalf("VIP %s: %d established connections, %d active, %d in the table, and at most %d may be",
					v.Name, v.Lasting, v.Active, r.Conns.Len(), v.Limit)
			}
		}
	}
}

// known is the connections of a router, over or not: what its table tells its observers.
type known map[*conntrack.Conn]bool

func (k known) Began(c *conntrack.Conn) { k[c] = true }

func (k known) Moved(*conntrack.Conn, conntrack.Rank, conntrack.Rank) {}

func (k known) Ended(c *conntrack.Conn, _ conntrack.Ending) { delete(k, c) }

// observe follows the connections of every router from here on.
func (q *sequence) observe() {
	q.conns = map[*ip.Router]known{}
	for _, w := range q.all {
		for _, r := range w.routers {
			q.conns[r] = known{}
			r.Conns.Observe(q.conns[r])
		}
	}
}

// observeNew follows the connections of routers that have come, and forgets routers that are gone.
func (q *sequence) observeNew() {
	now := map[*ip.Router]known{}
	q.all = q.workers
	for _, w := range q.all {
		for _, r := range w.routers {
			if now[r] = q.conns[r]; now[r] == nil {
				now[r] = known{}
				r.Conns.Observe(now[r])
			}
		}
	}
	q.conns = now
}

// checkBackends: what is counted of VIPs and members is what the table has.
func (q *sequence) checkBackends(r *ip.Router) {
	conns, active := make([]int, len(r.Backends)), make([]int, len(r.Backends))
	lasting := map[*ip.VIP]int{}
	for c := range q.conns[r] {
		k := c.Backend
		if k == 0 {
			continue
		}
		conns[k]++
		if !c.Ended() {
			active[k]++
			if c.State() >= conntrack.Established {
				lasting[r.Backends[k].VIP]++
			}
		}
	}
	type pooled struct {
		share  *ip.PoolShare
		member uint32
	}
	ofVIP, ofMember := map[*ip.VIP]int{}, map[pooled]int{}
	for k := range r.Backends {
		b := &r.Backends[k]
		if b.Conns != conns[k] || b.Active != active[k] {
			q.t.Fatalf("backend %d has %d connections, %d of them active, and counts %d and %d", k, conns[k], active[k],
				b.Conns, b.Active)
		}
		if b.VIP != nil {
			ofVIP[b.VIP] += active[k]
			ofMember[pooled{b.Share, b.Member}] += active[k]
		}
	}
	for _, v := range r.Listeners {
		if v == nil {
			continue // a free number
		}
		if v.Active != ofVIP[v] || v.Lasting != lasting[v] {
			q.t.Fatalf("VIP %s has %d connections, %d of them established, and counts %d and %d", v.Name, ofVIP[v],
				lasting[v], v.Active, v.Lasting)
		}
		for _, m := range v.Pool.Members() {
			if want := ofMember[pooled{v.Share, m.ID}]; m.Active != want {
				q.t.Fatalf("member %d has %d connections, and %d by the pool's account", m.ID, want, m.Active)
			}
		}
	}
}
