package lb

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// maglev chooses by the hash of the client, in a table of slots that the members
// share (see table). The table depends only on the members' endpoints and weights, so every
// router with the same members makes the same choice. Where a member goes, few clients
// move but its own. The hash has no secret for the same reason. So a sender who knows the
// members can choose addresses that all go to one of them.
//
// Health does not change the table. A client whose member is not eligible is hashed again
// until the hash gives an eligible one. So the clients of a member that is down are spread
// over all other members, and no other clients move.
type maglev struct {
	ports  bool     // hash the client's port too
	made   *Tables  // made beforehand; nil: there are none for these members
	tables [2]table // else; primaries, backups; made when they are needed
	met    []bool   // ranking's, by slot of the pool
}

// tries is how often a client is hashed again before it goes through the members
// one by one. With half of them down one client in 2^64 gets there, with 9 of 10
// down one in 850.
const tries = 64

func (m *maglev) before(*Pool) {}

func (m *maglev) after(p *Pool, weights bool) {
	if !weights {
		return
	}
	m.tables[0].made, m.tables[1].made, m.made = false, false, nil
	if t := p.cfg.Tables; t != nil && t.Fit(p.plain()) {
		m.made = t
	}
}

func (m *maglev) table(p *Pool) *table {
	if m.made != nil {
		return &m.made.tables[p.class]
	}
	t := &m.tables[p.class]
	if !t.made {
		t.make(p.plain(), p.class)
	}
	return t
}

// plain are the members as they were given.
func (p *Pool) plain() []Member {
	all := make([]Member, len(p.members))
	for i := range p.members {
		all[i] = p.members[i].Member
	}
	return all
}

// Tables are the hash tables of SourceIP and SourceIPPort for a list of members, made before a pool needs them. They
// never change, so pools on several goroutines may have the same.
type Tables struct {
	members []Member
	tables  [2]table
}

// NewTables makes the tables for a pool with these members, in this order. It returns nil where that is not worthwhile:
// for other algorithms, and for members that are so few that the pool makes its table in less than a millisecond when
// the first client comes.
func NewTables(a Algorithm, members []Member) *Tables {
	if a != SourceIP && a != SourceIPPort || len(members) <= sizes[0].members {
		return nil
	}
	t := &Tables{members: slices.Clone(members)}
	for class := range t.tables {
		t.tables[class].make(members, class)
	}
	return t
}

// Fit reports whether the tables are right for a list of members: by endpoints, weights and what is a backup.
func (t *Tables) Fit(members []Member) bool {
	return slices.EqualFunc(t.members, members, func(a, b Member) bool {
		return a.Addr == b.Addr && a.Port == b.Port && a.weight() == b.weight() && a.Backup == b.Backup
	})
}

func (m *maglev) hash(c Client) uint64 {
	x := c.Addr.Number() << 16
	if m.ports {
		x |= uint64(c.Port)
	}
	return mix(x)
}

func (m *maglev) first(p *Pool, c Client) int {
	t, h := m.table(p), m.hash(c)
	for try := range uint64(tries) {
		if i := t.find(h, try); p.members[i].slot >= 0 {
			return i
		}
	}
	i := t.start(h)
	for p.members[t.of[i]].slot < 0 {
		i = (i + 1) % len(t.of)
	}
	return t.of[i]
}

// ranking is the order in which a client's hash gives the eligible members, each once.
func (m *maglev) ranking(p *Pool, c Client, order []int) []int {
	t, h := m.table(p), m.hash(c)
	if len(m.met) < len(p.eligible) {
		m.met = make([]bool, len(p.eligible))
	}
	clear(m.met)
	meet := func(i int) {
		if s := p.members[i].slot; s >= 0 && !m.met[s] {
			m.met[s] = true
			order = append(order, i)
		}
	}
	for try := range uint64(tries) {
		meet(t.find(h, try))
	}
	start := t.start(h)
	for i := range t.of {
		meet(t.of[(start+i)%len(t.of)])
	}
	return order
}

func (m *maglev) took(*Pool, int)   {}
func (m *maglev) loaded(*Pool, int) {}

// mix is the finalizer of SplitMix64 (Steele et al., OOPSLA 2014): every bit of x
// decides about every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// table is made as in Maglev (Eisenbud et al., NSDI 2016, section 3.4): each member
// has a permutation of all slots, and they take turns, as many as their weights say,
// at claiming the first slot of it that is free. Only the last slots are given away
// otherwise: see rest.
type table struct {
	made  bool
	of    []int    // places of the members, by endpoint
	slots []uint32 // index in of
}

// sizes are the sizes of a table, primes, by the number of members. At a step of
// the size all clients move, so there are few, and none before the 129th member.
//
// Measured with equal weights, 20 sets of neighboring addresses and up to 6 removals
// from each: how many of all clients move, beside the removed member's own; how far a
// member's slots are from its share; and how long the table takes to make, on a busy
// machine of 2 cores.
//
//	members          2     3    10    30   100   128    300   1000
//	slots        16361                               65519
//	moved, half   0.00  0.12  0.41  0.54  0.75  0.77   0.6    0.4  %
//	moved, worst  0.00  0.26  0.56  0.72  0.92  0.94   0.69   0.63 %
//	share, worst   0.5   0.5   1.3   3.4   3.9   3.8    1.3    3.8 %
//	make           0.3   0.4   0.6   0.7   0.9   0.9    3.6    5   ms
//
// With turns for all slots (see rest), the worst of 100 members moves 1.5 % in 16361
// slots, 0.97 % in twice as many, and 0.6 % in four times as many. A table of twice the
// slots takes twice as long to make.
var sizes = []struct {
	members int
	slots   uint64
}{{128, 16361}, {1024, 65519}, {8192, 1048571}, {math.MaxInt, 16777199}}

// rest is how many slots the members do not take turns at. With turns, the last slots
// would be most of the work of filling a table, as hardly any is free. They would also be
// most of the slots that move when a member comes or goes, as one claim earlier or later
// changes all that follow. So each of them goes to the member that comes to it first in its
// permutation, whatever the other members have. A member may then have a few slots more or
// less than its share. It gets no more than twice its share of the rest.
const rest = 512

// claim is a member on its way through its permutation: the cubes of offset,
// offset+skip, offset+2*skip ..., plus a shift. Modulo a prime that is 2 modulo 3
// each has one cube root. The paper has no cubes. Without them, members whose skips
// happen to be in a simple ratio keep following each other. Where one of 31 members went,
// 2 % of all others' clients were seen to move.
type claim struct {
	at, skip uint64 // the cube root's present value and its step
	shift    uint64
	first    uint64 // offset
	inverse  uint64 // of skip
	weight   uint64
	spare    int    // how many of the rest it may have
	turns    uint64 // due, in sums of weights
}

// make makes the table of the members of a class. Without such a member it is empty.
func (t *table) make(members []Member, class int) {
	t.made = true
	t.of = t.of[:0]
	for i := range members {
		if m := &members[i]; m.weight() > 0 && m.class() == class {
			t.of = append(t.of, i)
		}
	}
	if len(t.of) == 0 {
		return
	}
	slices.SortStableFunc(t.of, func(a, b int) int {
		x, y := &members[a], &members[b]
		return cmp.Or(cmp.Compare(x.Addr, y.Addr), cmp.Compare(x.Port, y.Port), cmp.Compare(x.weight(), y.weight()))
	})
	size := sizes[0].slots
	for k := 0; sizes[k].members < len(t.of); k++ {
		size = sizes[k+1].slots
	}
	if uint64(len(t.slots)) != size {
		t.slots = make([]uint32, size)
	}
	claims := make([]claim, len(t.of))
	for k, i := range t.of {
		m := &members[i]
		h := mix(m.Addr.Number()<<16 | uint64(m.Port))
		skip := mix(h+1)%(size-1) + 1
		claims[k] = claim{
			at: h % size, first: h % size, shift: mix(h+2) % size,
			skip: skip, inverse: inverse(skip, size),
			weight: uint64(m.weight()),
		}
	}
	t.fill(claims, newModulus(size))
	t.fillRest(claims, newModulus(size))
}

// free is a slot that no member has claimed.
const free = ^uint32(0)

// fill has the members claim all slots but the rest. A round has as many turns as
// there are members: one each, if all weigh the same.
func (t *table) fill(claims []claim, p modulus) {
	for s := range t.slots {
		t.slots[s] = free
	}
	sum := uint64(0)
	for k := range claims {
		sum += claims[k].weight
	}
	for left := len(t.slots) - rest; left > 0; {
		for k := range claims {
			c := &claims[k]
			for c.turns += c.weight * uint64(len(claims)); c.turns >= sum && left > 0; c.turns -= sum {
				s := c.next(p)
				for t.slots[s] != free {
					s = c.next(p)
				}
				t.slots[s] = uint32(k)
				left--
			}
		}
	}
	for k := range claims {
		claims[k].spare = int((2*rest*claims[k].weight + sum - 1) / sum)
	}
}

// next is the next slot of the member's permutation.
func (c *claim) next(p modulus) uint64 {
	x := c.at
	if c.at += c.skip; c.at >= p.n {
		c.at -= p.n
	}
	return p.mod(p.mod(x*x)*x + c.shift)
}

// fillRest gives away what fill has left.
func (t *table) fillRest(claims []claim, p modulus) {
	roots := make([]uint32, p.n)
	for x := range p.n {
		roots[p.mod(p.mod(x*x)*x)] = uint32(x)
	}
	for s := range t.slots {
		if t.slots[s] == free {
			k := nearest(claims, uint64(s), roots, p)
			t.slots[s] = uint32(k)
			claims[k].spare--
		}
	}
}

// nearest is the member that comes to a slot first, twice the weight being twice as
// fast.
func nearest(claims []claim, slot uint64, roots []uint32, p modulus) int {
	best, steps := -1, uint64(0)
	for k := range claims {
		c := &claims[k]
		if c.spare == 0 {
			continue
		}
		root := uint64(roots[p.mod(slot+p.n-c.shift)])
		n := p.mod((root+p.n-c.first)*c.inverse) + 1
		if best < 0 || n*claims[best].weight < steps*c.weight {
			best, steps = k, n
		}
	}
	return best
}

// modulus computes remainders without division (Barrett): most of the time goes
// into them.
type modulus struct{ n, reciprocal uint64 }

func newModulus(n uint64) modulus { return modulus{n, math.MaxUint64 / n} }

func (m modulus) mod(x uint64) uint64 {
	q, _ := bits.Mul64(x, m.reciprocal)
	if x -= q * m.n; x >= m.n {
		x -= m.n
	}
	return x
}

// inverse is 1/a modulo a prime: a^(prime-2), by Fermat.
func inverse(a, prime uint64) uint64 {
	r := uint64(1)
	for e := prime - 2; e > 0; e >>= 1 {
		if e&1 == 1 {
			r = r * a % prime
		}
		a = a * a % prime
	}
	return r
}

// find is the place of the member in the slot that the hash of a client gives at a try.
func (t *table) find(h, try uint64) int {
	if try > 0 {
		h = mix(h + try)
	}
	slot, _ := bits.Mul64(h, uint64(len(t.slots)))
	return t.of[t.slots[slot]]
}

// start is where a client begins to go through the members one by one.
func (t *table) start(h uint64) int {
	i, _ := bits.Mul64(mix(h+tries), uint64(len(t.of)))
	return int(i)
}
