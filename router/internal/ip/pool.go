package ip

import (
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A Pool is what a State says of a pool and its members. It never changes: with the State comes another one.
type Pool struct {
	ID           wire.ID
	Name         string
	Proto        uint8
	Algorithm    string
	Config       lb.Config
	Monitored    bool     // the members are checked; else every member counts as up
	KeepDown     bool     // TCP connections of a member that is down go on,
	DrainRemoved bool     // of one that is removed
	Members      []Member // Healthy: what counts until checks have decided
}

// A Member has a number, its ID, that no other member of the engine ever has: connections may name one that is gone.
// One that gets another address or port is another member.
type Member struct {
	ObjectID wire.ID
	Name     string
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

// Balanced is the pool's members as lb knows them.
func (p *Pool) Balanced() []lb.Member {
	list := make([]lb.Member, len(p.Members))
	for i := range p.Members {
		list[i] = p.Members[i].Member
	}
	return list
}

// A PoolShare is a pool at one router. VIPs of one router take turns in common. Another router may know other hosts
// by the same addresses, so each has checks of its own.
type PoolShare struct {
	Of     *Pool // swapped by the router's worker
	Router *Router
	Pool   *lb.Pool
	VIPs   []*VIP
}

func newShare(r *Router, p *Pool) *PoolShare {
	return &PoolShare{Of: p, Router: r, Pool: lb.NewPool(p.Config, p.Balanced())}
}

// numbers are the backends that a member is: one for each VIP.
func (s *PoolShare) numbers(member uint32) []conntrack.Backend {
	var all []conntrack.Backend
	for _, v := range s.VIPs {
		if k, ok := v.Numbers[member]; ok {
			all = append(all, k)
		}
	}
	return all
}

// update gives the share the pool as it is now. It is called by the router's worker.
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

// SetHealthy says what the checks have found a member to be at this router, and settles the
// connections of one that is down. Those of a member that is down by hand have been settled before.
func (s *PoolShare) SetHealthy(m *Member, healthy bool) error {
	ch := conntrack.Change{}
	if !healthy && m.AdminStateUp {
		ch = s.down(m)
	}
	return s.Router.change(ch, func(*loop.Turn) { s.Pool.SetHealthy(m.ID, healthy) })
}

// down is what it means for connections that a member is down.
func (s *PoolShare) down(m *Member) conntrack.Change {
	return conntrack.Change{Backends: s.numbers(m.ID), KeepTCP: s.Of.KeepDown}
}
