package ip

import (
	"net/netip"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A Pool is a pool and its members as a State has them. It never changes, so any goroutine may read it: a State that
// changes the pool brings another one.
type Pool struct {
	ID           wire.ID
	Name         string
	Proto        uint8     // packet.ProtoTCP or packet.ProtoUDP
	Algorithm    string    // in the words of the topology
	Config       lb.Config // the algorithm, and for how long clients are pinned to members
	Monitored    bool      // the members are checked; else every member counts as up
	KeepDown     bool      // TCP connections of a member that is down go on
	DrainRemoved bool      // TCP connections of a member that is removed go on
	Members      []Member  // in the State's order. Healthy is the state of a new member until checks have decided
}

// A Member is a member of a pool. Its number, lb.Member.ID, is no other member's as long as the engine runs:
// connections may name a member that is gone. An object that gets another address or port is another member from then
// on.
type Member struct {
	ObjectID wire.ID // of the State's object
	Name     string  // may be empty
	Origin   Origin
	Checked  netip.AddrPort // that the checks go to
	lb.Member
}

// Member finds a member by its number, nil if there is none.
func (p *Pool) Member(number uint32) *Member {
	for i := range p.Members {
		if p.Members[i].ID == number {
			return &p.Members[i]
		}
	}
	return nil
}

// NameOf is the name of a member, empty if there is none.
func (p *Pool) NameOf(number uint32) string {
	if m := p.Member(number); m != nil {
		return m.Name
	}
	return ""
}

// Balanced are the pool's members as lb knows them. The caller owns the slice.
func (p *Pool) Balanced() []lb.Member {
	list := make([]lb.Member, len(p.Members))
	for i := range p.Members {
		list[i] = p.Members[i].Member
	}
	return list
}

// A PoolShare is a pool at one router. The VIPs of that router take turns in the pool together. Another router may know
// other hosts by the same addresses, so each router has its own PoolShare, with its own checks.
type PoolShare struct {
	Of     *Pool    // the pool as the State has it; swapped by the router's worker
	Router *Router  // which uses the pool
	Pool   *lb.Pool // the members that are chosen from, with what the checks have found at this router
	VIPs   []*VIP   // of the router, that use the pool
}

func newShare(r *Router, p *Pool) *PoolShare {
	return &PoolShare{Of: p, Router: r, Pool: lb.NewPool(p.Config, p.Balanced())}
}

// numbers are the numbers of a member's backends: one for each VIP.
func (s *PoolShare) numbers(member uint32) []conntrack.Backend {
	var all []conntrack.Backend
	for _, v := range s.VIPs {
		if k, ok := v.Numbers[member]; ok {
			all = append(all, k)
		}
	}
	return all
}

// update gives the PoolShare the pool as the State has it now. It is called by the router's worker.
func (s *PoolShare) update(to *Pool) {
	was := s.Of
	s.Of = to
	s.Pool.Update(to.Config, to.Balanced())
	for i := range was.Members {
		if m := &was.Members[i]; to.Member(m.ID) == nil {
			for _, v := range s.VIPs {
				s.Router.removeBackend(v, m)
			}
		}
	}
	for i := range to.Members {
		for _, v := range s.VIPs {
			if _, ok := v.Numbers[to.Members[i].ID]; !ok {
				s.Router.addBackend(v, to.Members[i].ID)
			}
		}
	}
}

// SetHealthy says whether the checks have found a member to be up at this router, and settles the
// connections of a member that is down. The connections of a member that is down by hand have been settled before.
// Any goroutine but the router's worker may call it; it waits for that worker. The error is os.ErrClosed when the
// worker has ended.
func (s *PoolShare) SetHealthy(m *Member, healthy bool) error {
	ch := conntrack.Change{}
	if !healthy && m.AdminStateUp {
		ch = s.down(m)
	}
	return s.Router.change(ch, func(*loop.Turn) { s.Pool.SetHealthy(m.ID, healthy) })
}

// down is the change for the connections of a member that is down.
func (s *PoolShare) down(m *Member) conntrack.Change {
	return conntrack.Change{Backends: s.numbers(m.ID), KeepTCP: s.Of.KeepDown}
}
