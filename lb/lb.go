// Package lb chooses: which member of a VIP's pool takes a new connection. It
// keeps what the choice needs and nothing about connections, which nat
// remembers.
//
// Choosing and counting are two steps. Pick proposes a member; Commit says that
// the connection was really made. A packet that is dropped in between moves no
// round robin.
//
// The package has no goroutine, clock, lock or I/O. Callers serialize.
package lb

import "slices"

// A Member is one backend endpoint. ID names it towards the caller, which keeps
// it with the connection.
type Member struct {
	ID   uint32
	Addr uint32 // IPv4, host byte order
	Port uint16
	Up   bool // may take new connections
}

// A Pool is a set of members that share connections by round robin: exactly one
// after the other, in the order they were given, by connection, whatever the
// timing. Picking and committing take the same time for any number of members, up
// or down.
type Pool struct {
	members []Member
	at      map[uint32]int // by ID: place in members
	next    int            // the member whose turn it is
	total   uint64

	up    []int // places of the members that are up, in order
	first []int // by place: index in up of the first one from there on
}

// NewPool returns a pool that starts with the first member. IDs must differ.
func NewPool(members []Member) *Pool {
	p := &Pool{members: append([]Member(nil), members...), at: map[uint32]int{}}
	for i := range p.members {
		p.at[p.members[i].ID] = i
	}
	p.arrange()
	return p
}

// arrange notes which members are up.
func (p *Pool) arrange() {
	p.up, p.first = p.up[:0], make([]int, len(p.members))
	for i := range p.members {
		p.first[i] = len(p.up)
		if p.members[i].Up {
			p.up = append(p.up, i)
		}
	}
}

// Pick proposes the member for the next connection: the one whose turn it is,
// or the first after it that is up. Where the caller finds that this one cannot
// be reached, it asks for the next choice by a larger k, from 0. It reports
// false when no member is left.
func (p *Pool) Pick(k int) (Member, bool) {
	if k >= len(p.up) {
		return Member{}, false
	}
	return p.members[p.up[(p.first[p.next]+k)%len(p.up)]], true
}

// Commit records that the member that Pick proposed has got its connection: the
// turn passes to the one behind it.
func (p *Pool) Commit(id uint32) {
	if i, ok := p.at[id]; ok {
		p.next = (i + 1) % len(p.members)
		p.total++
	}
}

// SetUp says whether a member may take new connections. It reports whether the
// pool has the member.
func (p *Pool) SetUp(id uint32, up bool) bool {
	i, ok := p.at[id]
	if ok {
		p.members[i].Up = up
		p.arrange()
	}
	return ok
}

// Add puts a member at the end of the order. Its ID must be new to the pool.
func (p *Pool) Add(m Member) {
	p.at[m.ID] = len(p.members)
	p.members = append(p.members, m)
	p.arrange()
}

// Remove takes a member out. If it was its turn, it is the next one's. It reports
// whether the pool had the member.
func (p *Pool) Remove(id uint32) bool {
	i, ok := p.at[id]
	if !ok {
		return false
	}
	p.members = slices.Delete(p.members, i, i+1)
	delete(p.at, id)
	for k := i; k < len(p.members); k++ {
		p.at[p.members[k].ID] = k
	}
	if i < p.next {
		p.next--
	}
	if p.next >= len(p.members) {
		p.next = 0
	}
	p.arrange()
	return true
}

// Total is the number of connections that were committed.
func (p *Pool) Total() uint64 { return p.total }

// A VIP is where clients connect.
type VIP struct {
	Name  string
	Addr  uint32
	Proto uint8
	Port  uint16
	Pool  *Pool
}

// VIPs is a router's set of VIPs. The zero value is empty.
type VIPs struct {
	byKey  map[key]*VIP
	byAddr map[uint32]int
}

type key struct {
	addr  uint32
	port  uint16
	proto uint8
}

// Add adds a VIP, replacing one with the same address, protocol and port.
func (s *VIPs) Add(v *VIP) {
	if s.byKey == nil {
		s.byKey, s.byAddr = map[key]*VIP{}, map[uint32]int{}
	}
	k := key{v.Addr, v.Port, v.Proto}
	if s.byKey[k] == nil {
		s.byAddr[v.Addr]++
	}
	s.byKey[k] = v
}

// Find returns the VIP at an endpoint, or nil.
func (s *VIPs) Find(addr uint32, proto uint8, port uint16) *VIP {
	return s.byKey[key{addr, port, proto}]
}

// Owns reports whether any VIP has the address.
func (s *VIPs) Owns(addr uint32) bool { return s.byAddr[addr] > 0 }
