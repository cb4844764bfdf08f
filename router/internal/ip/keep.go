package ip

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/arena"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// In this file the tables of a router lie in an arena, where the next process finds them, and the arena is told what
// the numbers in their records mean.

// The slabs of an arena, in the order of its file.
const (
	connSlab = iota
	mappingSlab
)

// slabs are the sizes of their chunks.
func slabs() []conntrack.Sizes {
	return []conntrack.Sizes{connSlab: conntrack.ConnSizes(), mappingSlab: nat.MappingSizes()}
}

// layoutSalt makes another Layout of the same records, for tests of what happens then: the linker sets it.
var layoutSalt string

// Layout is a hash of how the records of tables lie in memory. A process with another Layout cannot read them, except
// as Records.
func Layout() [32]byte {
	return sha256.Sum256([]byte(strings.Join([]string{conntrack.Layout(), nat.Layout(), layoutSalt}, "\n")))
}

// NewArena makes an arena for the tables of a router.
func NewArena(of wire.ID) (*arena.Arena, error) {
	return arena.New(arena.Header{Router: string(of)}, slabs()...)
}

// BeginArena says that the router's arena holds all of its connections. started is what the machine's monotonic clock
// said when the clock of the router's worker was at zero.
func BeginArena(r *Router, started time.Duration) {
	if r.Arena != nil {
		r.Arena.Begin(arena.Header{
			Layout: Layout(), Router: string(r.ID), Boot: arena.Boot(), Started: started,
		})
	}
}

// keepIn has the tables of settings lie in an arena.
func (p *TableParams) keepIn(a *arena.Arena) TableParams {
	tables := *p
	tables.Conns.Memory, tables.NAT.Memory = a.Slab(connSlab), a.Slab(mappingSlab)
	return tables
}

// nameInterface tells the arena what the number of an interface means. Connections of the checks of members end with
// the process.
func nameInterface(r *Router, i *Interface) {
	switch {
	case r.Arena == nil:
	case i.Checks:
		r.Arena.NameInterface(i.ID, arena.Name{})
	default:
		r.Arena.NameInterface(i.ID, arena.NameOf(string(i.On)))
	}
}

// nameBackends tells the arena what the numbers of new backends mean. The rules of their VIPs are in force.
func nameBackends(r *Router) {
	for _, k := range r.unnamed {
		if b := &r.Backends[k]; r.Arena != nil && b.VIP != nil {
			vip, member := b.ids()
			r.Arena.NameBackend(k, arena.NameOf(string(vip)), arena.NameOf(string(member)))
		}
	}
	r.unnamed = nil
}

// ids are the ids of a backend's listener and member.
func (b *backend) ids() (vip, member wire.ID) {
	m := b.was
	if m == nil {
		m = b.Share.Of.Member(b.Member)
	}
	if m != nil {
		member = m.ObjectID
	}
	return b.VIP.ObjectID, member
}
