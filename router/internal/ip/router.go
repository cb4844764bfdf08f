package ip

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/arena"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A Router is one virtual router with an address space of its own. Its packets obey its rules,
// which its worker swaps, and change its tables, which stay when the rules are swapped.
type Router struct {
	*Rules
	ID         wire.ID
	Worker     *loop.Worker // owns the router
	Scratch    *Scratch     // its worker's
	Interfaces []*Interface // by number; 0 is none
	Departed   []*Interface // interfaces that are gone, and whose numbers connections may still name
	unnumbered []uint16     // numbers that no interface has, and no connection names
	Quiet      bool         // no change is being settled
	leaving    bool         // the router ends

	recalled  time.Duration                        // when the log last said that connections end for other hosts, or 0
	exhausted map[verdict.DropReason]time.Duration // when the log last said that connections are refused for a reason

	Arena *arena.Arena     // where the tables below lie; nil: on the heap
	Conns *conntrack.Table // all connections
	Ranks Ranks            // how many of them there are
	NAT   *nat.Table       // mappings and their ports
	balancer
	checkClass conntrack.Class // of the connections of checks
	askClass   conntrack.Class // of TCP connections of the router's own host that are no checks; 0: of checks

	Shares    map[wire.ID]*PoolShare // by pool; only changes look at them
	Neighbors *neighbor.Table

	idents       idents
	Fragments    fragments    // of packets that are forwarded
	Reassemblies reassemblies // of packets for the router itself; the oldest first
	Errors       Limiter      // of ICMP errors and RSTs
	echoes       Limiter      // of echo replies
	Cut          cutTuples    // of connections that changes have cut off
}

// NewRouter makes a router that has no rules yet. p are its first settings. rng gives its secrets; it is not kept.
// Its connections lie in the arena a; nil: on the heap.
// Before the first packet the caller sets Worker and Scratch, and the worker adopts a Change.
func NewRouter(of wire.ID, p *SettingsParams, rng *rand.Rand, a *arena.Arena) *Router {
	own, tables := Split(rng), p.Tables
	if a != nil {
		tables = tables.keepIn(a)
	}
	conns := conntrack.NewTable(tables.Conns, own)
	r := &Router{
		ID: of, Arena: a, Rules: noRules, Quiet: true, Shares: map[wire.ID]*PoolShare{}, Interfaces: []*Interface{nil},
		exhausted: map[verdict.DropReason]time.Duration{},
		Conns:     conns, NAT: nat.NewTable(tables.NAT, conns, own), Neighbors: neighbor.NewTable(),
		Errors: Limiter{limits: ErrorLimits, Secret: rng.Uint64() | 1}, idents: newIdents(rng),
		Fragments: newFragments(p.Fragment),
	}
	r.balancer = balancer{router: r, Backends: make([]backend, 1), ByListener: map[wire.ID]*VIP{}}
	r.echoes = Limiter{limits: EchoLimits, Secret: r.Errors.Secret}
	r.Conns.Observe(connObserver{r})
	r.Neighbors.OnChange(r.NeighborChanged)
	return r
}

// Split returns a generator that is seeded by another one, and does not share its state.
func Split(rng *rand.Rand) *rand.Rand {
	var key [32]byte
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], rng.Uint64())
	}
	return rand.New(rand.NewChaCha8(key))
}

// adopt makes rules the router's. While packets flow, it is called by the router's worker.
func (r *Router) adopt(next *Rules) {
	r.Rules = next
	for _, f := range next.Attached {
		f.Of.InterfaceRules = f
	}
	for _, v := range next.Listed {
		v.Of.VIPRules = v
	}
}

// change has the router's worker call do, and settle the connections that ch concerns, if there are any. It waits
// for the worker.
func (r *Router) change(ch conntrack.Change, do func(*loop.Turn)) error {
	w := r.Worker
	return w.Call(func() {
		do(&w.Turn)
		if !ch.Empty() {
			r.Conns.Apply(ch)
			r.settleFragments(&w.Turn, ch.Addrs)
			r.settle(&w.Turn)
		}
	})
}

// settle judges the connections that changes concern: some of them now, and others in the next turn. When
// all are settled, no connection names a departed interface, and its number is free.
func (r *Router) settle(t *loop.Turn) {
	if r.Quiet = r.Conns.Settle(t.Now); !r.Quiet {
		t.WakeAt(t.Now)
		return
	}
	for _, i := range r.Departed {
		r.Interfaces[i.ID] = NoInterface
		r.unnumbered = append(r.unnumbered, i.ID)
	}
	r.Departed = nil
}

// NoInterface stands in Router.Interfaces for a number that is free. It owns no address.
var NoInterface = &Interface{InterfaceRules: &InterfaceRules{}}

// A gateway is a router's place on an external network.
type gateway struct {
	Interface *Interface
	Addr      packet.Addr // the router's first address there
	SNAT      bool        // internal hosts without a floating IP share addresses
	Plain     []prefixOf  // destinations that see internal addresses untranslated

	Shared []packet.Addr        // the addresses that internal hosts share; mostly Addr alone
	more   map[packet.Addr]bool // addresses of Shared that are not Addr
	origin Origin
	noSNAT Origin // of Plain
}

// sharedBy is the address that an internal host shows outside. It is always the same, also after a restart, so that
// a peer that knows the host by one protocol or port recognizes it in others (RFC 4787, REQ-2).
// Hosts with consecutive addresses get different ones.
func (g *gateway) sharedBy(host packet.Addr) packet.Addr {
	return g.Shared[host.Number()%uint64(len(g.Shared))]
}

// shares reports whether internal hosts share an address, or could with other settings: mappings may be
// behind it.
func (g *gateway) shares(addr packet.Addr) bool { return addr == g.Addr || g.more[addr] }

// A route leads to a next hop, or on link when Via is 0.
type route struct {
	Out    *Interface
	Via    packet.Addr // the next hop
	origin *Origin     // of a static route or the gateway's; nil: a subnet that is on link
}

// Tick implements loop.Ticker: it does what is due in every table of the router.
func (r *Router) Tick(t *loop.Turn) {
	r.tickNeighbors(t)
	r.Fragments.Tick(t)
	r.Reassemblies.Tick(t)
	r.tickAnnouncements(t)
	r.settle(t)
	r.Cut.Tick(t)
	for _, at := range [...]time.Duration{r.Conns.Tick(t.Now), r.NAT.Tick(t.Now)} {
		if at != 0 {
			t.WakeAt(at)
		}
	}
}
