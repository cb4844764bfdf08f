// Package lb chooses: which member of a VIP's pool takes a new connection. It
// keeps what the choice needs (turns, how many connections a member has, which
// client goes where) and nothing else about connections, which nat remembers. It
// sends no health checks either: its caller tells it their results.
//
// Choosing and counting are two steps. Pick proposes a member; Commit says that
// the connection was really made. A packet that is dropped in between moves no
// turn and pins no client.
//
// The package has no goroutine, clock, lock or I/O. Callers serialize, and pass
// the time, counted from any fixed moment, as an argument.
package lb

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// Addr is an IPv4 address as a number: 10.0.0.1 is 0x0a000001. Its method Netip returns it as a netip.Addr.
type Addr = packet.Addr

// Algorithm is how a pool chooses.
type Algorithm uint8

// The algorithms.
const (
	// RoundRobin is one member after the other, in their order. A member of more
	// weight has more turns, evenly spread.
	RoundRobin Algorithm = iota
	// LeastConnections is the member with the fewest connections for its weight.
	LeastConnections
	// SourceIP is the same member for the same client address, here and on every
	// router that has the same members.
	SourceIP
	// SourceIPPort is SourceIP by address and port.
	SourceIPPort
)

// Member is one backend endpoint.
type Member struct {
	ID           uint32 // the caller's name for it, which it keeps with the connection
	Addr         Addr
	Port         uint16
	Weight       int  // its part of the connections; 0 or less: no new ones; more than 65536 counts as 65536
	Backup       bool // takes new connections only while no other member does
	AdminStateUp bool // the operator lets it have new connections
	Healthy      bool // its checks have found it to be up; true without checks
}

// takes reports whether the member takes new connections, a backup while no other does.
func (m *Member) takes() bool { return m.AdminStateUp && m.Healthy && m.weight() > 0 }

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
	Addr Addr
	Port uint16
}

// Config is how a pool works. Its zero value is round robin that remembers no client.
type Config struct {
	Algorithm   Algorithm
	Persistence time.Duration // how long a client's address keeps its member, since the last use; 0: not at all
	Persistent  int           // how many clients are remembered at most; 0: DefaultPersistent
	Tables      *Tables       // for these members, by NewTables; nil: the pool makes its own
}

// Pool is a set of members that share the connections of its VIPs. A member takes new connections
// if the operator lets it, its checks have found it to be up, and it has weight. A backup takes
// new connections only while no other member does.
type Pool struct {
	cfg      Config
	members  []member
	at       map[uint32]int // by ID: place in members
	eligible []int          // places of the members that take new connections, in order
	class    int            // what the eligible members are: 0 primaries, 1 backups
	sched    scheduler
	clients  *clients // nil: no persistence
	total    uint64   // connections so far
	order    []int    // Pick's, kept so that it allocates nothing
}

// member is a member and what the schedulers keep with it, so that it follows the
// member when its place changes.
type member struct {
	Member
	slot   int // place in eligible, -1: not eligible
	active int
	chosen uint64 // the pool's total when it was chosen last
	heapAt int    // leastConn
	credit int64  // roundRobin, while the member is not in its arrays
}

// scheduler is an algorithm. Members are named by their place.
type scheduler interface {
	// before and after surround a change of the eligible members. weights says that more has
	// changed than which of the members are eligible.
	before(p *Pool)
	after(p *Pool, weights bool)
	// first is the first choice of the eligible members, of which there is at least one. ranking
	// appends all of them to order, in the order of choice.
	first(p *Pool, c Client) int
	ranking(p *Pool, c Client, order []int) []int
	// took: a connection was made to a member, in its turn. loaded: the number of a member's
	// connections has changed.
	took(p *Pool, place int)
	loaded(p *Pool, place int)
}

func newScheduler(a Algorithm) scheduler {
	switch a {
	case LeastConnections:
		return &leastConn{}
	case SourceIP:
		return &maglev{}
	case SourceIPPort:
		return &maglev{ports: true}
	}
	return &roundRobin{best: -1}
}

// NewPool returns a pool with its members in their order. IDs must differ. The pool copies the
// members.
func NewPool(cfg Config, members []Member) *Pool {
	p := &Pool{sched: newScheduler(cfg.Algorithm), cfg: Config{Algorithm: cfg.Algorithm}}
	p.Update(cfg, members)
	return p
}

// Update gives the pool other settings and other members, while connections go on. Members are
// told apart by their ID, whose endpoint never changes; IDs must differ. The new order is that
// of the list, which the pool copies.
//
// A member that stays keeps its connections, its turn, its clients and its health: Healthy
// counts for new members only. The turn of a member that is gone passes to the next one. The
// ID of a member that is gone should not come again for another one: its connections may not be
// over. With another algorithm turns begin anew, from the connections that there are.
//
// With another timeout of the persistence clients keep their members. With a smaller number of
// clients, the clients that have been unused longest are forgotten.
func (p *Pool) Update(cfg Config, members []Member) {
	p.setPersistence(cfg)
	anew := cfg.Algorithm != p.cfg.Algorithm
	p.cfg = cfg
	same, alike := p.compare(members)
	if same && !anew {
		return
	}
	old := p.members
	p.members = make([]member, 0, len(members))
	at := make(map[uint32]int, len(members))
	for _, m := range members {
		n := member{Member: m, slot: -1}
		if i, ok := p.at[m.ID]; ok {
			n = old[i]
			n.Member = m
			n.Healthy = old[i].Healthy
		}
		if anew {
			n.slot, n.credit = -1, 0
		}
		at[m.ID] = len(p.members)
		p.members = append(p.members, n)
	}
	p.at = at
	if anew {
		p.sched = newScheduler(cfg.Algorithm)
	} else if rr, ok := p.sched.(*roundRobin); ok {
		rr.moved(p, old)
	}
	p.arrange(anew || !alike)
	p.forget()
}

// compare reports whether a list has the pool's members as they are, and whether it has them but
// for what the operator lets them have.
func (p *Pool) compare(list []Member) (same, alike bool) {
	if len(list) != len(p.members) {
		return false, false
	}
	same, alike = true, true
	for i, m := range list {
		was := p.members[i].Member
		m.Healthy = was.Healthy
		same = same && m == was
		m.AdminStateUp = was.AdminStateUp
		alike = alike && m == was
	}
	return same, alike
}

func (p *Pool) setPersistence(cfg Config) {
	switch {
	case cfg.Persistence <= 0:
		p.clients = nil
	case p.clients == nil:
		p.clients = newClients(cfg.Persistence, cfg.Persistent)
	default:
		p.clients.setLimits(cfg.Persistence, cfg.Persistent)
	}
}

// arrange notes which members are eligible after a change. weights says that more has changed
// than that.
func (p *Pool) arrange(weights bool) {
	p.sched.before(p)
	p.class = 1
	for i := range p.members {
		if m := &p.members[i]; m.takes() && !m.Backup {
			p.class = 0
			break
		}
	}
	left := false
	p.eligible = p.eligible[:0]
	for i := range p.members {
		m := &p.members[i]
		was := m.slot >= 0
		m.slot = -1
		if m.takes() && m.class() == p.class {
			m.slot = len(p.eligible)
			p.eligible = append(p.eligible, i)
		}
		left = left || was && m.slot < 0
	}
	p.sched.after(p, weights)
	if left {
		p.forget()
	}
}

// forget unpins the clients of the members that are not eligible.
func (p *Pool) forget() {
	if p.clients != nil {
		p.clients.unpin(p.Takes)
	}
}

// Takes reports whether the pool has a member, and it takes new connections now.
func (p *Pool) Takes(id uint32) bool {
	i, ok := p.at[id]
	return ok && p.members[i].slot >= 0
}

// Pick proposes the member for a client's next connection: of the members that take new
// connections, the first choice that is usable for the caller. Without the function usable all
// are. The member that the client is pinned to comes before the choice of the algorithm. Pick
// reports false if there is no such member. It changes nothing that shows.
//
// usable is asked about each member at most once, in the order of choice, until one is usable. It
// must neither keep the pointer nor change the member. If it refuses the first choice, which should
// be rare, the pool puts all its members into their order, and that takes longer.
func (p *Pool) Pick(c Client, now time.Duration, usable func(*Member) bool) (Member, bool) {
	if len(p.eligible) == 0 {
		return Member{}, false
	}
	own, pinned := 0, false
	if p.clients != nil {
		own, pinned = p.own(c, now)
	}
	if pinned {
		if m := &p.members[own]; usable == nil || usable(&m.Member) {
			return m.Member, true
		}
	}
	first := p.sched.first(p, c)
	if !pinned || first != own {
		if m := &p.members[first]; usable == nil || usable(&m.Member) {
			return m.Member, true
		}
	}
	p.order = p.sched.ranking(p, c, p.order[:0])
	for _, i := range p.order {
		if i == first || pinned && i == own {
			continue
		}
		if m := &p.members[i]; usable(&m.Member) {
			return m.Member, true
		}
	}
	return Member{}, false
}

// own is the place of the member that a client is pinned to, in a pool with persistence.
func (p *Pool) own(c Client, now time.Duration) (int, bool) {
	id, ok := p.clients.member(c.Addr, now)
	if !ok {
		return 0, false
	}
	return p.at[id], true
}

// Commit records that a client has got its connection to a member: it counts as
// active, the turn passes on, and the client is pinned to the member. A pinned
// client's connection to its own member is no turn: else its connections would
// push others past theirs.
func (p *Pool) Commit(c Client, id uint32, now time.Duration) {
	i, ok := p.at[id]
	if ok {
		own, pinned := 0, false
		if p.clients != nil {
			own, pinned = p.own(c, now)
		}
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
// begins. It also ends connections of a member that is gone.
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
// active. It takes no turn, and pins no client to the member.
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
	}
}

// SetHealthy says what the checks have found a member to be. A member that is not healthy is
// forgotten by its clients. SetHealthy reports whether the pool has the member.
func (p *Pool) SetHealthy(id uint32, healthy bool) bool {
	i, ok := p.at[id]
	if ok && p.members[i].Healthy != healthy {
		p.members[i].Healthy = healthy
		p.arrange(false)
	}
	return ok
}

// MemberState is a member as it is now.
type MemberState struct {
	Member
	Active int // connections that are not over
}

// Members returns the members as they are, in order. The caller owns the slice.
func (p *Pool) Members() []MemberState {
	out := make([]MemberState, len(p.members))
	for i := range p.members {
		out[i] = MemberState{p.members[i].Member, p.members[i].active}
	}
	return out
}
