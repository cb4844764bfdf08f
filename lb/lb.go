// Package lb chooses: which member of a VIP's pool takes a new connection. It
// keeps what the choice needs (turns, how many connections a member has, which
// client goes where) and nothing else about connections, which nat remembers. It
// sends no health checks either: it is told what they found.
//
// Choosing and counting are two steps. Pick proposes a member; Commit says that
// the connection was really made. A packet that is dropped in between moves no
// turn and pins no client.
//
// The package has no goroutine, clock, lock or I/O. Callers serialize, and pass
// the time, counted from any fixed moment, as an argument.
package lb

import (
	"slices"
	"time"
)

// Algorithm is how a pool chooses.
type Algorithm uint8

// The algorithms.
const (
	// RoundRobin is one after the other, in the order of the members; those of
	// more weight have more turns, evenly spread.
	RoundRobin Algorithm = iota
	// LeastConnections is the member with the fewest connections for its weight.
	LeastConnections
	// SourceIP is the same member for the same client address, here and on every
	// router that has the same members.
	SourceIP
	// SourceIPPort is SourceIP by address and port.
	SourceIPPort
)

// Member is one backend endpoint. ID names it towards the caller, which keeps it
// with the connection.
type Member struct {
	ID     uint32
	Addr   uint32 // IPv4, host byte order
	Port   uint16
	Weight int  // its share; 0 or less: no new connections; what is over 65536 counts as 65536
	Backup bool // takes new connections only while no other member may
	Up     bool // may take new connections
}

// maxWeight keeps sums and products of weights and counts within 64 bits.
const maxWeight = 1 << 16

func (m *Member) weight() int64 { return int64(max(0, min(m.Weight, maxWeight))) }

// class is 1 for a backup.
func (m *Member) class() int {
	if m.Backup {
		return 1
	}
	return 0
}

// Client is where a connection comes from.
type Client struct {
	Addr uint32 // IPv4, host byte order
	Port uint16
}

// Config is how a pool works. Its zero value is round robin that remembers nobody.
type Config struct {
	Algorithm   Algorithm
	Persistence time.Duration // how long a client's address keeps its member, since last use; 0: not at all
	Persistent  int           // how many clients are remembered at most; 0: DefaultPersistent
}

// Pool is a set of members that share the connections of its VIPs. A member may
// take new ones if it is up and has weight, and a backup only while no other may.
type Pool struct {
	members []member
	at      map[uint32]int // by ID: place in members
	may     []int          // places of those that may take new connections, in order
	class   int            // what those are: 0 primaries, 1 backups
	sched   scheduler
	clients *clients // nil: no persistence
	total   uint64

	ranked    bool // order holds, for the client rankedFor
	rankedFor Client
	order     []int // places of those that may, first choice first
}

// member is a member and what the schedulers keep with it, so that it follows the
// member when its place changes.
type member struct {
	Member
	slot   int // place in may, -1: may not
	active int
	chosen uint64 // the pool's total when it was chosen last
	heapAt int    // leastConn
	credit int64  // roundRobin, while the member is not in its arrays
}

// scheduler is an algorithm. Members are named by their place.
type scheduler interface {
	// settle comes before a change of places and slots takes effect, arrange after
	// it. weights says that more has changed than who is up.
	settle(p *Pool)
	arrange(p *Pool, weights bool)
	// choose is the k-th choice, k < len(p.may), and rank the k of a place.
	choose(p *Pool, c Client, k int) int
	rank(p *Pool, c Client, place int) int
	// took: a connection was made with the scheduler's choice. loaded: the number
	// of a member's connections has changed.
	took(p *Pool, place int)
	loaded(p *Pool, place int)
}

// ranker is a scheduler whose further choices are looked up in the pool's order.
type ranker interface {
	sort(p *Pool, c Client, order []int) []int
}

// NewPool returns a pool with its members in their order. IDs must differ.
func NewPool(cfg Config, members []Member) *Pool {
	p := &Pool{at: make(map[uint32]int, len(members))}
	switch cfg.Algorithm {
	case LeastConnections:
		p.sched = &leastConn{}
	case SourceIP:
		p.sched = &maglev{}
	case SourceIPPort:
		p.sched = &maglev{ports: true}
	default:
		p.sched = &roundRobin{best: -1}
	}
	if cfg.Persistence > 0 {
		p.clients = newClients(cfg.Persistence, cfg.Persistent)
	}
	for _, m := range members {
		p.append(m)
	}
	p.arrange(true)
	return p
}

func (p *Pool) append(m Member) {
	p.at[m.ID] = len(p.members)
	p.members = append(p.members, member{Member: m, slot: -1})
}

// arrange notes who may take new connections after a change. weights says that
// more has changed than who is up.
func (p *Pool) arrange(weights bool) {
	p.sched.settle(p)
	p.class = 1
	for i := range p.members {
		if m := &p.members[i]; m.Up && m.weight() > 0 && !m.Backup {
			p.class = 0
			break
		}
	}
	left := false
	p.may = p.may[:0]
	for i := range p.members {
		m := &p.members[i]
		was := m.slot >= 0
		m.slot = -1
		if m.Up && m.weight() > 0 && m.class() == p.class {
			m.slot = len(p.may)
			p.may = append(p.may, i)
		}
		left = left || was && m.slot < 0
	}
	p.sched.arrange(p, weights)
	p.ranked = false
	if left {
		p.forget()
	}
}

// forget drops the clients of those that may not take new connections.
func (p *Pool) forget() {
	if p.clients != nil {
		p.clients.drop(p.mayID)
	}
}

// mayID reports whether a member is there and may take new connections.
func (p *Pool) mayID(id uint32) bool {
	i, ok := p.at[id]
	return ok && p.members[i].slot >= 0
}

// Takes reports whether a member is there and may take new connections.
func (p *Pool) Takes(id uint32) bool { return p.mayID(id) }

// Pick proposes the member for a client's next connection. Where the caller finds
// that it cannot be reached, it asks for the next choice by a larger k, from 0. It
// reports false when there are no more. A remembered client's own member comes
// first, for 0. It changes nothing that shows.
func (p *Pool) Pick(c Client, k int, now time.Duration) (Member, bool) {
	if k >= len(p.may) {
		return Member{}, false
	}
	if own, ok := p.own(c, now); ok {
		if k == 0 {
			return p.members[own].Member, true
		}
		if k <= p.sched.rank(p, c, own) {
			k--
		}
	}
	return p.members[p.sched.choose(p, c, k)].Member, true
}

// own is the place of the member that a client is pinned to.
func (p *Pool) own(c Client, now time.Duration) (int, bool) {
	if p.clients == nil {
		return 0, false
	}
	id, ok := p.clients.member(c.Addr, now)
	if !ok {
		return 0, false
	}
	return p.at[id], true
}

// ranking is the pool's order for a client. It is kept until something changes: a
// caller that finds a thousand members unreachable asks for each of them.
func (p *Pool) ranking(r ranker, c Client) []int {
	if !p.ranked || p.rankedFor != c {
		p.order = r.sort(p, c, p.order[:0])
		p.ranked, p.rankedFor = true, c
	}
	return p.order
}

// Commit records that a client has got its connection to a member: it counts as
// active, the turn passes on, and the client is pinned to the member. A pinned
// client's connection to its own member is no turn: else its connections would
// push others past theirs.
func (p *Pool) Commit(c Client, id uint32, now time.Duration) {
	i, ok := p.at[id]
	if ok {
		own, pinned := p.own(c, now)
		p.total++
		m := &p.members[i]
		m.active++
		m.chosen = p.total
		if m.slot >= 0 && !(pinned && own == i) {
			p.sched.took(p, i)
		}
		p.load(i)
	}
	if p.clients != nil {
		p.clients.commit(c.Addr, id, ok && p.members[i].slot >= 0, now)
	}
}

// End records that a connection that was committed or resumed is over: it is
// active no longer, and when it was the client's last, the persistence timeout
// begins. It also ends those of a member that is gone.
func (p *Pool) End(c Client, id uint32, now time.Duration) {
	if i, ok := p.at[id]; ok && p.members[i].active > 0 {
		p.members[i].active--
		p.load(i)
	}
	if p.clients != nil {
		p.clients.end(c.Addr, now)
	}
}

// Resume records that a connection that was over is open again. It counts as
// active; it is no turn and pins nobody.
func (p *Pool) Resume(c Client, id uint32, now time.Duration) {
	if i, ok := p.at[id]; ok {
		p.members[i].active++
		p.load(i)
	}
	if p.clients != nil {
		p.clients.resume(c.Addr, now)
	}
}

func (p *Pool) load(i int) {
	if p.members[i].slot >= 0 {
		p.sched.loaded(p, i)
		p.ranked = false
	}
}

// SetUp says whether a member is up. Going down makes its clients forget it. It
// reports whether the pool has the member.
func (p *Pool) SetUp(id uint32, up bool) bool {
	i, ok := p.at[id]
	if ok && p.members[i].Up != up {
		p.members[i].Up = up
		p.arrange(false)
	}
	return ok
}

// SetWeight changes a member's share. 0 drains it: it gets no new connections, not
// even of clients that were pinned to it. It reports whether the pool has the
// member.
func (p *Pool) SetWeight(id uint32, weight int) bool {
	i, ok := p.at[id]
	if ok && p.members[i].Weight != weight {
		p.members[i].Weight = weight
		p.arrange(true)
	}
	return ok
}

// Add puts a member at the end of the order. Its ID must be new to the pool, and
// should not be that of a member that is gone: its connections may not be over.
func (p *Pool) Add(m Member) {
	p.append(m)
	p.arrange(true)
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
	if rr, ok := p.sched.(*roundRobin); ok {
		rr.removed(p, i)
	}
	p.arrange(true)
	p.forget()
	return true
}

// Active is the number of connections that a member has, 0 if it is unknown.
func (p *Pool) Active(id uint32) int {
	if i, ok := p.at[id]; ok {
		return p.members[i].active
	}
	return 0
}

// Total is the number of connections that were committed.
func (p *Pool) Total() uint64 { return p.total }

// Members returns the members as they are, in order.
func (p *Pool) Members() []Member {
	out := make([]Member, len(p.members))
	for i := range p.members {
		out[i] = p.members[i].Member
	}
	return out
}
