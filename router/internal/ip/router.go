package ip

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A Router is one virtual router with an address space of its own. What its packets obey is in its rules,
// which its worker swaps; what its packets change is in its tables, which live on.
type Router struct {
	*Rules
	ID         wire.ID
	Worker     *loop.Worker
	Scratch    *Scratch     // its worker's
	Interfaces []*Interface // by number; 0 is none
	// Numbers that connections from before a change may still name, and numbers that none names.
	Departed   []*Interface
	unnumbered []uint16
	Quiet      bool // no change is being settled
	leaving    bool // the router ends

	exhausted map[verdict.DropReason]time.Duration // when it was last said that connections are refused for a reason

	Conns *conntrack.Table
	NAT   *nat.Table
	balancer
	checkClass conntrack.Class // of the connections of checks

	Shares    map[wire.ID]*PoolShare // by pool; only changes look at them
	Neighbors *neighbor.Table

	idents       idents
	Fragments    fragments
	Reassemblies reassemblies // the oldest first
	Errors       Limiter
	echoes       Limiter
	Cut          cutTuples
}

// NewRouter makes a router that has no rules yet.
func NewRouter(of wire.ID, p *SettingsParams, rng *rand.Rand) *Router {
	own := Split(rng)
	conns := conntrack.NewTable(p.Tables.Conns, own)
	r := &Router{
		ID: of, Rules: noRules, Quiet: true, Shares: map[wire.ID]*PoolShare{}, Interfaces: []*Interface{nil},
		exhausted: map[verdict.DropReason]time.Duration{},
		Conns:     conns, NAT: nat.NewTable(p.Tables.NAT, conns, own), Neighbors: neighbor.NewTable(),
		Errors: Limiter{limits: ErrorLimits, Secret: rng.Uint64() | 1}, idents: newIdents(rng),
		Fragments: newFragments(p.Fragment),
	}
	r.balancer = balancer{router: r, Backends: make([]backend, 1), ByListener: map[wire.ID]*VIP{}}
	r.echoes = Limiter{limits: EchoLimits, Secret: r.Errors.Secret}
	r.Conns.Observe(connObserver{r})
	r.Neighbors.OnChange(r.NeighborChanged)
	return r
}

// Split returns a generator of its own for somebody else.
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

// change has the router's worker make a change, and settle the connections that it
// concerns, if there are any.
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

// settle goes on with ending the connections that changes have left behind: a step
// now, the next one in the next turn.
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

// NoInterface stands for the interface of a number that is free.
var NoInterface = &Interface{InterfaceRules: &InterfaceRules{}}

// A gateway is a router's place on an external network.
type gateway struct {
	Interface *Interface
	Addr      packet.Addr
	SNAT      bool
	Plain     []prefixOf // where internal addresses are shown as they are

	Shared []packet.Addr        // what internal hosts show outside; mostly addr alone
	more   map[packet.Addr]bool // those of shared that are not addr
	origin Origin
}

// sharedBy is the address that an internal host shows outside: always the same, so that
// peers which know it by one protocol or port recognize it in the others (RFC 4787, REQ-2),
// also after a restart. Neighbors in a subnet get different ones.
func (g *gateway) sharedBy(host packet.Addr) packet.Addr {
	return g.Shared[host.Number()%uint64(len(g.Shared))]
}

// shares reports whether internal hosts share an address, or could: mappings may be
// behind it.
func (g *gateway) shares(addr packet.Addr) bool { return addr == g.Addr || g.more[addr] }

// A route leads to a next hop, or on link when via is 0.
type route struct {
	Out    *Interface
	Via    packet.Addr
	origin *Origin // of a static route or the gateway's; nil: a subnet that is on link
}

// An Interface is a router's interface on a network, with one MAC for all the
// addresses the router owns there. Its rules are swapped with the router's.
type Interface struct {
	wire.Station
	*InterfaceRules
	ID     uint16  // its number at the router; connections name it
	On     wire.ID // its network
	Router *Router
	Checks bool // the network of the router's own checks of members
	Gone   bool // the router has no such interface any more
	MTU    int  // the network's LinkMTU, as its router's worker knows it

	announcements int // of all its addresses
	announceAt    time.Duration
	fresh         []freshAddr
	conflicts     map[packet.Addr]time.Duration // when each address was last said to be another host's, too
}

// A freshAddr is an address that an interface has only just got.
type freshAddr struct {
	addr          packet.Addr
	announcements int
	at            time.Duration
}

type ifaceAddr struct {
	Addr   packet.Addr
	prefix prefixOf
}

// Owns reports whether the router has an address at this interface.
func (i *Interface) Owns(addr packet.Addr) bool { return i.Router.owner(addr) == i }

// onLink reports whether an address is in a subnet of the network.
func (i *InterfaceRules) onLink(addr packet.Addr) bool {
	for _, p := range i.Prefixes {
		if p.contains(addr) {
			return true
		}
	}
	return false
}

// isBroadcast reports whether an address is the first or last of a subnet, which
// is no host's. Subnets of two addresses or one have none (RFC 3021).
func (i *InterfaceRules) isBroadcast(addr packet.Addr) bool {
	for _, p := range i.Prefixes {
		if p.contains(addr) && p.Mask < 0xfffffffe && (addr == p.Addr || addr == p.Addr|^p.Mask) {
			return true
		}
	}
	return false
}

// bypasses reports whether b would answer a directly, past the router: both are
// in one subnet here.
func (i *InterfaceRules) bypasses(a, b packet.Addr) bool {
	for _, p := range i.Prefixes {
		if p.contains(a) && p.contains(b) {
			return true
		}
	}
	return false
}

// addrFor is the interface's address in the subnet of addr, else its first.
func (i *InterfaceRules) addrFor(addr packet.Addr) packet.Addr {
	for _, a := range i.Addrs {
		if a.prefix.contains(addr) {
			return a.Addr
		}
	}
	return i.Addrs[0].Addr
}
