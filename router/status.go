package router

import (
	"context"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/monitor"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// An OperatingStatus is the state of a part of a load balancer, in Octavia's words.
type OperatingStatus string

// The operating statuses.
const (
	Online    OperatingStatus = "ONLINE"
	Degraded  OperatingStatus = "DEGRADED"   // a pool with members that are down; a listener at its connection limit
	Error     OperatingStatus = "ERROR"      // a member: its checks fail; a pool: no member takes connections
	Draining  OperatingStatus = "DRAINING"   // a member with weight 0, or a removed one that still has connections
	Offline   OperatingStatus = "OFFLINE"    // a member that is down by hand, or until its checks have decided
	NoMonitor OperatingStatus = "NO_MONITOR" // a member of a pool without a monitor
)

// A LoadBalancer is the VIPs of one router that share an address, as in Octavia.
type LoadBalancer struct {
	Router          string
	RouterID        config.ID // names may be there twice
	Address         netip.Addr
	OperatingStatus OperatingStatus
	Listeners       []Listener
}

// A Listener is one VIP, with its pool. Statistics of the pool and its members are those of
// this VIP's connections.
type Listener struct {
	ID              config.ID // of the State's listener
	Name            string
	Protocol        string // TCP, UDP
	Port            uint16
	OperatingStatus OperatingStatus
	Statistics      Statistics // of all connections so far, also those to members that are gone
	Refused         uint64     // connections without a member, beyond the limit, or from clients that are not allowed
	Pool            PoolStatus
}

// A PoolStatus is a pool as a VIP uses it.
type PoolStatus struct {
	Name            string
	Algorithm       string // in the topology's words
	OperatingStatus OperatingStatus
	Statistics      Statistics // of the members listed
	Members         []MemberStatus
}

// A MemberStatus is a member of a pool, with the result of its checks. A removed member is listed
// after the present ones until the last of its connections is over. Another member may have the
// removed one's name or address by then.
type MemberStatus struct {
	ID              config.ID // of the State's member
	Name            string
	Address         netip.AddrPort
	Weight          int
	Backup          bool
	AdminStateUp    bool
	Removed         bool // it was a member; these are its last settings
	OperatingStatus OperatingStatus
	Statistics      Statistics
	Check           *Check // the last check; nil: there was none
}

// Statistics count a VIP's connections and packets. While the engine runs, a listener's numbers
// never become smaller, except Active. A pool's are the sums of the members listed. In is the
// direction from clients to members. A super-frame counts as one packet with all its bytes, as a
// capture on its device shows it. Bytes are counted from the IP header on.
type Statistics struct {
	Active                int    // connections that have begun and are not over, half-open ones too
	Total                 uint64 // connections so far
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64
}

// A Check is the result of the last check of a member.
type Check struct {
	At       time.Time     // when it began
	Took     time.Duration // until the result was there
	OK       bool          // it counts as good
	Sent     string        // the request, in words
	Received string        // the answer, in words
	Why      string        // why it counts as good or bad, in words
}

func statisticsOf(u *ip.Usage) Statistics {
	return Statistics{
		Active: u.Active, Total: u.Total,
		PacketsIn: u.Packets[conntrack.Original], PacketsOut: u.Packets[conntrack.Reply],
		BytesIn: u.Bytes[conntrack.Original], BytesOut: u.Bytes[conntrack.Reply],
	}
}

// LoadBalancers returns a copy of what every VIP, its pool and members are doing, in the order
// of the topology; nothing after Close. Each VIP is copied at one moment, between two batches of
// packets, and others a moment later.
func (e *Engine) LoadBalancers() []LoadBalancer {
	all, _ := e.Inspect().LoadBalancers(context.Background()) // the only error is that the engine has ended
	return all
}

// LoadBalancers is Engine.LoadBalancers with a context.
func (i *Inspector) LoadBalancers(ctx context.Context) ([]LoadBalancer, error) {
	e := i.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.State()
	var all []LoadBalancer
	for _, r := range e.view.Load().routers {
		first := len(all)
		at := map[packet.Addr]int{}
		vips := vipsOf(s, r)
		copies, err := copyVIPs(ctx, r.Worker, vips)
		if err != nil {
			return nil, err
		}
		for k, v := range vips {
			i, ok := at[v.Addr]
			if !ok {
				i = len(all)
				at[v.Addr] = i
				all = append(all, LoadBalancer{Router: r.Name, RouterID: config.ID(r.ID), Address: v.Addr.Netip()})
			}
			all[i].Listeners = append(all[i].Listeners, listenerOf(v, &copies[k], e.monitors[v.Share]))
		}
		for i := range all[first:] {
			all[first+i].OperatingStatus = all[first+i].status()
		}
	}
	return all, nil
}

// copyVIPs copies the counts of VIPs, some of them in a step of their worker.
func copyVIPs(ctx context.Context, w *loop.Worker, vips []*ip.VIP) ([]ip.VIPCopy, error) {
	all := make([]ip.VIPCopy, 0, len(vips))
	for todo := vips; len(todo) > 0; todo = vips[len(all):] {
		if err := w.Look(ctx, func() {
			for k, cost := 0, 0; k < len(todo) && cost < lookStep; k++ {
				all = append(all, todo[k].Copy())
				cost += 8 + len(all[len(all)-1].Members)
			}
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// vipsOf are the VIPs of a router, in the order of the State.
func vipsOf(s *config.State, r *ip.Router) (all []*ip.VIP) {
	for b := range s.LoadBalancersOf(config.ID(r.ID)) {
		all = append(all, listenersOf(s, r, b)...)
	}
	return all
}

// listenersOf are the VIPs of a load balancer of a router. A listener that is down is not among them.
func listenersOf(s *config.State, r *ip.Router, b *config.LoadBalancer) (all []*ip.VIP) {
	for l := range s.ListenersOf(b.ID) {
		if v := r.ByListener[wire.ID(l.ID)]; v != nil {
			all = append(all, v)
		}
	}
	return all
}

// LoadBalancer is LoadBalancers for one load balancer of the State. It takes as long as that one has members. It
// reports false if there is none with the ID, if no router serves it or it has no listener that is up, and after Close.
func (i *Inspector) LoadBalancer(id config.ID) (LoadBalancer, bool) {
	e := i.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.State()
	b := s.LoadBalancer(id)
	if b == nil {
		return LoadBalancer{}, false
	}
	r := e.routers[wire.ID(b.Router)]
	if r == nil {
		return LoadBalancer{}, false
	}
	vips := listenersOf(s, r, b)
	copies, err := copyVIPs(context.Background(), r.Worker, vips)
	if err != nil || len(vips) == 0 {
		return LoadBalancer{}, false
	}
	one := LoadBalancer{Router: r.Name, RouterID: config.ID(r.ID), Address: b.Address}
	for k, v := range vips {
		one.Listeners = append(one.Listeners, listenerOf(v, &copies[k], e.monitors[v.Share]))
	}
	one.OperatingStatus = one.status()
	return one, true
}

// listenerOf is a VIP with what its worker has copied. checks are its members', nil if there are none.
func listenerOf(v *ip.VIP, c *ip.VIPCopy, checks *monitor.Monitor) Listener {
	l := Listener{
		ID: config.ID(v.ListenerID), Name: v.Name, Protocol: protocols[v.Proto], Port: v.Port,
		OperatingStatus: Online, Refused: c.Refused,
		Statistics: statisticsOf(&c.All),
		Pool:       PoolStatus{Name: v.Share.Of.Name, Algorithm: v.Share.Of.Algorithm},
	}
	if c.Full {
		l.OperatingStatus = Degraded
	}
	var pool ip.Usage
	for i := range c.Members {
		pool.Add(&c.Members[i])
		l.Pool.Members = append(l.Pool.Members,
			memberStatus(&v.Share.Of.Members[i], &c.Members[i], c.Healthy[i], checks))
	}
	l.Pool.OperatingStatus = l.Pool.status(c.Serves)
	for i := range c.Leaving {
		d := &c.Leaving[i]
		pool.Add(&d.Usage)
		l.Pool.Members = append(l.Pool.Members, removedStatus(d))
	}
	l.Pool.Statistics = statisticsOf(&pool)
	return l
}

// removedStatus is the status of a member that has been removed.
func removedStatus(d *ip.RemovedMember) MemberStatus {
	st := statusOf(&d.Member, &d.Usage)
	st.Removed, st.OperatingStatus = true, Draining
	return st
}

// statusOf is the part of a member's status that is the same at every router.
func statusOf(m *ip.Member, u *ip.Usage) MemberStatus {
	return MemberStatus{
		ID: config.ID(m.ObjectID), Name: m.Name, Address: netip.AddrPortFrom(m.Addr.Netip(), m.Port),
		Weight: m.Weight, Backup: m.Backup, AdminStateUp: m.AdminStateUp, OperatingStatus: Online,
		Statistics: statisticsOf(u),
	}
}

var protocols = map[uint8]string{packet.ProtoTCP: "TCP", packet.ProtoUDP: "UDP"}

// memberStatus is the status of a member at one router. healthy says whether its checks there have found it to be up.
func memberStatus(m *ip.Member, u *ip.Usage, healthy bool, checks *monitor.Monitor) MemberStatus {
	st := statusOf(m, u)
	decided := true
	if checks != nil {
		_, decided = checks.Up(m.ID)
		if last, ok := checks.Last(m.ID); ok {
			st.Check = &Check{last.At, last.Took, last.OK, last.Sent, last.Received, last.Why}
		}
	}
	switch {
	case !m.AdminStateUp || !healthy && !decided:
		st.OperatingStatus = Offline
	case !healthy:
		st.OperatingStatus = Error
	case m.Weight == 0:
		st.OperatingStatus = Draining
	case checks == nil:
		st.OperatingStatus = NoMonitor
	}
	return st
}

// status is the status of a pool, by those of its members. serves: at least one member takes connections.
func (p *PoolStatus) status(serves bool) OperatingStatus {
	down := false
	for i := range p.Members {
		down = down || p.Members[i].OperatingStatus == Error
	}
	switch {
	case !serves && len(p.Members) > 0:
		return Error
	case down:
		return Degraded
	}
	return Online
}

// status is the status of a load balancer: ERROR if the pools of all listeners have ERROR. Otherwise it is DEGRADED
// if any listener or pool is DEGRADED, or any pool has ERROR.
func (b *LoadBalancer) status() OperatingStatus {
	failed, impaired := 0, 0
	for i := range b.Listeners {
		l := &b.Listeners[i]
		switch {
		case l.Pool.OperatingStatus == Error:
			failed++
		case l.Pool.OperatingStatus == Degraded || l.OperatingStatus == Degraded:
			impaired++
		}
	}
	switch {
	case failed == len(b.Listeners):
		return Error
	case failed+impaired > 0:
		return Degraded
	}
	return Online
}
