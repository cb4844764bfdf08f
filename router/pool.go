package router

import (
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/lb"
)

// A pool is what a State says of a pool and its members. It never changes: with the State comes another one.
type pool struct {
	id           id
	name         string
	proto        uint8
	algorithm    string
	config       lb.Config
	monitored    bool     // the members are checked; else every member counts as up
	keepDown     bool     // TCP connections of a member that is down go on,
	drainRemoved bool     // of one that is removed
	members      []member // Healthy: what counts until checks have decided
}

// A member has a number, its ID, that no other member of the engine ever has: connections may name one that is gone.
// One that gets another address or port is another member.
type member struct {
	id   id
	name string
	lb.Member
}

// member finds a member by its number, nil if there is none.
func (p *pool) member(number uint32) *member {
	for i := range p.members {
		if p.members[i].ID == number {
			return &p.members[i]
		}
	}
	return nil
}

// nameOf is the name of a member, empty if there is none.
func (p *pool) nameOf(number uint32) string {
	if m := p.member(number); m != nil {
		return m.name
	}
	return ""
}

// balanced is the pool's members as lb knows them.
func (p *pool) balanced() []lb.Member {
	list := make([]lb.Member, len(p.members))
	for i := range p.members {
		list[i] = p.members[i].Member
	}
	return list
}

// A poolShare is a pool at one router. VIPs of one router take turns in common. Another router may know other hosts
// by the same addresses, so each has checks of its own.
type poolShare struct {
	of     *pool // swapped by the router's worker
	router *vrouter
	pool   *lb.Pool
	vips   []*vip
}

func newShare(r *vrouter, p *pool) *poolShare {
	return &poolShare{of: p, router: r, pool: lb.NewPool(p.config, p.balanced())}
}

// numbers are the backends that a member is: one for each VIP.
func (s *poolShare) numbers(member uint32) []conntrack.Backend {
	var all []conntrack.Backend
	for _, v := range s.vips {
		if k, ok := v.numbers[member]; ok {
			all = append(all, k)
		}
	}
	return all
}

// update gives the share the pool as it is now. It is called by the router's worker.
func (s *poolShare) update(to *pool) {
	was := s.of
	s.of = to
	s.pool.Update(to.config, to.balanced())
	for i := range was.members {
		if m := &was.members[i]; to.member(m.ID) == nil {
			for _, v := range s.vips {
				s.router.removeBackend(v, m)
			}
		}
	}
	for i := range to.members {
		for _, v := range s.vips {
			if _, ok := v.numbers[to.members[i].ID]; !ok {
				s.router.addBackend(v, to.members[i].ID)
			}
		}
	}
}

// setHealthy says what the checks have found a member to be at this router, and settles the
// connections of one that is down. Those of a member that is down by hand have been settled before.
func (s *poolShare) setHealthy(m *member, healthy bool) error {
	ch := conntrack.Change{}
	if !healthy && m.AdminStateUp {
		ch = s.down(m)
	}
	return s.router.change(ch, func(*turn) { s.pool.SetHealthy(m.ID, healthy) })
}

// down is what it means for connections that a member is down.
func (s *poolShare) down(m *member) conntrack.Change {
	return conntrack.Change{Backends: s.numbers(m.ID), KeepTCP: s.of.keepDown}
}
