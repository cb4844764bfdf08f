package router

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/monitor"
	"github.com/taprouter/taprouter/internal/packet"
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
	Address         netip.Addr
	OperatingStatus OperatingStatus
	Listeners       []Listener
}

// A Listener is one VIP, with its pool. Statistics of the pool and its members are those of
// this VIP's connections.
type Listener struct {
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
	Name            string
	Address         netip.AddrPort
	Weight          int
	Backup          bool
	AdminStateUp    bool
	Removed         bool // it was a member; these are its last settings
	OperatingStatus OperatingStatus
	Statistics      Statistics
	Check           *Check // the last one; nil: there was none
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

// A Check is what the last check of a member has found.
type Check struct {
	At       time.Time // when it began
	Took     time.Duration
	OK       bool
	Sent     string // in words
	Received string // in words
	Why      string // it counts as good or bad
}

func statisticsOf(u *usage) Statistics {
	return Statistics{
		Active: u.active, Total: u.total,
		PacketsIn: u.packets[conntrack.Original], PacketsOut: u.packets[conntrack.Reply],
		BytesIn: u.bytes[conntrack.Original], BytesOut: u.bytes[conntrack.Reply],
	}
}

// LoadBalancers returns a copy of what every VIP, its pool and members are doing, in the order
// of the topology; nothing after Close. Each VIP is copied at one moment, between two batches of
// packets, and the next one a moment later.
func (e *Engine) LoadBalancers() []LoadBalancer {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.State()
	var all []LoadBalancer
	for _, r := range e.view.Load().routers {
		first := len(all)
		at := map[packet.Addr]int{}
		for _, v := range vipsOf(s, r) {
			var c vipCopy
			if r.worker.call(func() { c = v.copy() }) != nil {
				return nil
			}
			i, ok := at[v.Addr]
			if !ok {
				i = len(all)
				at[v.Addr] = i
				all = append(all, LoadBalancer{Router: r.name, Address: v.Addr.Netip()})
			}
			all[i].Listeners = append(all[i].Listeners, listenerOf(v, &c, e.monitors[v.share]))
		}
		for i := range all[first:] {
			all[first+i].OperatingStatus = all[first+i].status()
		}
	}
	return all
}

// vipsOf are the VIPs of a router, in the order of the State.
func vipsOf(s *config.State, r *vrouter) (all []*vip) {
	for b := range s.LoadBalancersOf(config.ID(r.id)) {
		for l := range s.ListenersOf(b.ID) {
			if v := r.byListener[id(l.ID)]; v != nil {
				all = append(all, v)
			}
		}
	}
	return all
}

// listenerOf is a VIP with what its worker has copied. checks are its members', nil if there are none.
func listenerOf(v *vip, c *vipCopy, checks *monitor.Monitor) Listener {
	l := Listener{
		Name: v.Name, Protocol: protocols[v.Proto], Port: v.Port, OperatingStatus: Online, Refused: c.refused,
		Statistics: statisticsOf(&c.all),
		Pool:       PoolStatus{Name: v.share.of.name, Algorithm: v.share.of.algorithm},
	}
	if c.full {
		l.OperatingStatus = Degraded
	}
	var pool usage
	for i := range c.members {
		pool.add(&c.members[i])
		l.Pool.Members = append(l.Pool.Members,
			memberStatus(&v.share.of.members[i], &c.members[i], c.healthy[i], checks))
	}
	l.Pool.OperatingStatus = l.Pool.status(c.serves)
	for i := range c.leaving {
		d := &c.leaving[i]
		pool.add(&d.usage)
		l.Pool.Members = append(l.Pool.Members, removedStatus(d))
	}
	l.Pool.Statistics = statisticsOf(&pool)
	return l
}

// removedStatus is that of a member that has been removed.
func removedStatus(d *departed) MemberStatus {
	st := statusOf(&d.member, &d.usage)
	st.Removed, st.OperatingStatus = true, Draining
	return st
}

// statusOf is the part of a member's status that is the same at every router.
func statusOf(m *member, u *usage) MemberStatus {
	return MemberStatus{
		Name: m.name, Address: netip.AddrPortFrom(m.Addr.Netip(), m.Port), Weight: m.Weight, Backup: m.Backup,
		AdminStateUp: m.AdminStateUp, OperatingStatus: Online, Statistics: statisticsOf(u),
	}
}

var protocols = map[uint8]string{packet.ProtoTCP: "TCP", packet.ProtoUDP: "UDP"}

// memberStatus is a member's at one router. healthy is what its checks there have found.
func memberStatus(m *member, u *usage, healthy bool, checks *monitor.Monitor) MemberStatus {
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

// status is a pool's, by those of its members. serves: at least one member takes connections.
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

// status is a load balancer's: ERROR if all its listeners' pools have that, else DEGRADED if any listener
// or pool has it, or ERROR.
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
