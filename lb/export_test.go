package lb

import (
	"slices"
	"time"
)

// These are what tests do with a pool in one line. All changes are made by Update.

// Edit changes a pool's list of members.
func (p *Pool) Edit(edit func([]Member) []Member) {
	var list []Member
	for _, m := range p.Members() {
		m.Healthy = !m.Healthy // it counts for new members only
		list = append(list, m.Member)
	}
	p.Update(p.cfg, edit(list))
}

// Add adds a member at the end.
func (p *Pool) Add(m Member) { p.Edit(func(list []Member) []Member { return append(list, m) }) }

// Remove takes a member out, if it is there.
func (p *Pool) Remove(id uint32) bool {
	n := len(p.members)
	p.Edit(func(list []Member) []Member {
		return slices.DeleteFunc(list, func(m Member) bool { return m.ID == id })
	})
	return len(p.members) < n
}

// change changes a member, if it is there.
func (p *Pool) change(id uint32, do func(*Member)) bool {
	found := false
	p.Edit(func(list []Member) []Member {
		for i := range list {
			if list[i].ID == id {
				do(&list[i])
				found = true
			}
		}
		return list
	})
	return found
}

// SetWeight changes a member's weight, if it is there.
func (p *Pool) SetWeight(id uint32, weight int) bool {
	return p.change(id, func(m *Member) { m.Weight = weight })
}

// SetAdminState lets a member have new connections or not, if it is there.
func (p *Pool) SetAdminState(id uint32, up bool) bool {
	return p.change(id, func(m *Member) { m.AdminStateUp = up })
}

// Active is the number of connections that a member has.
func (p *Pool) Active(id uint32) int {
	for _, m := range p.Members() {
		if m.ID == id {
			return m.Active
		}
	}
	return 0
}

// Total is the number of connections that were committed.
func (p *Pool) Total() uint64 { return p.total }

// Choice is the k-th choice for a client, from 0.
func (p *Pool) Choice(c Client, k int, now time.Duration) (Member, bool) {
	return p.Pick(c, now, func(*Member) bool {
		k--
		return k < 0
	})
}
