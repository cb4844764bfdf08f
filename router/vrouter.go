package router

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A vrouter is one virtual router with an address space of its own. What its packets obey is in its rules,
// which its worker swaps; what its packets change is in its tables, which live on.
type vrouter struct {
	*rules
	id      id
	worker  *worker
	scratch *scratch // its worker's
	ifaces  []*iface // by number; 0 is none
	// Numbers that connections from before a change may still name, and numbers that none names.
	departed   []*iface
	unnumbered []uint16
	quiet      bool // no change is being settled
	leaving    bool // the router ends

	exhausted map[DropReason]time.Duration // when it was last said that connections are refused for a reason

	conns *conntrack.Table
	nat   *nat.Table
	balancer
	checkClass conntrack.Class // of the connections of checks

	shares map[id]*poolShare // by pool; only changes look at them
	arp    *neighbor.Table

	idents       idents
	fragments    fragments
	reassemblies reassemblies // the oldest first
	errors       limiter
	echoes       limiter
	cut          cutTuples
}

// newRouter makes a router that has no rules yet.
func newRouter(of id, p *settingsParams, rng *rand.Rand) *vrouter {
	own := split(rng)
	conns := conntrack.NewTable(p.tables.conns, own)
	r := &vrouter{
		id: of, rules: noRules, quiet: true, shares: map[id]*poolShare{}, ifaces: []*iface{nil},
		exhausted: map[DropReason]time.Duration{},
		conns:     conns, nat: nat.NewTable(p.tables.nat, conns, own), arp: neighbor.NewTable(),
		errors: limiter{limits: errorLimits, secret: rng.Uint64() | 1}, idents: newIdents(rng),
		fragments: newFragments(p.fragment),
	}
	r.balancer = balancer{router: r, backends: make([]backend, 1), byListener: map[id]*vip{}}
	r.echoes = limiter{limits: echoLimits, secret: r.errors.secret}
	r.conns.Observe(connObserver{r})
	r.arp.OnChange(r.neighborChanged)
	return r
}

// split returns a generator of its own for somebody else.
func split(rng *rand.Rand) *rand.Rand {
	var key [32]byte
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], rng.Uint64())
	}
	return rand.New(rand.NewChaCha8(key))
}

// adopt makes rules the router's. While packets flow, it is called by the router's worker.
func (r *vrouter) adopt(next *rules) {
	r.rules = next
	for _, f := range next.attached {
		f.of.ifaceRules = f
	}
	for _, v := range next.listed {
		v.of.vipRules = v
	}
}

// change has the router's worker make a change, and settle the connections that it
// concerns, if there are any.
func (r *vrouter) change(ch conntrack.Change, do func(*turn)) error {
	w := r.worker
	return w.call(func() {
		do(&w.turn)
		if !ch.Empty() {
			r.conns.Apply(ch)
			r.settleFragments(&w.turn, ch.Addrs)
			r.settle(&w.turn)
		}
	})
}

// settle goes on with ending the connections that changes have left behind: a step
// now, the next one in the next turn.
func (r *vrouter) settle(t *turn) {
	if r.quiet = r.conns.Settle(t.now); !r.quiet {
		t.wakeAt(t.now)
		return
	}
	for _, i := range r.departed {
		r.ifaces[i.id] = nobody
		r.unnumbered = append(r.unnumbered, i.id)
	}
	r.departed = nil
}

// nobody stands for the interface of a number that is free.
var nobody = &iface{ifaceRules: &ifaceRules{}}

// A gateway is a router's place on an external network.
type gateway struct {
	iface *iface
	addr  packet.Addr
	snat  bool
	plain []prefixOf // where internal addresses are shown as they are

	shared []packet.Addr        // what internal hosts show outside; mostly addr alone
	more   map[packet.Addr]bool // those of shared that are not addr
	origin origin
}

// sharedBy is the address that an internal host shows outside: always the same, so that
// peers which know it by one protocol or port recognize it in the others (RFC 4787, REQ-2),
// also after a restart. Neighbors in a subnet get different ones.
func (g *gateway) sharedBy(host packet.Addr) packet.Addr {
	return g.shared[host.Number()%uint64(len(g.shared))]
}

// shares reports whether internal hosts share an address, or could: mappings may be
// behind it.
func (g *gateway) shares(addr packet.Addr) bool { return addr == g.addr || g.more[addr] }

// A route leads to a next hop, or on link when via is 0.
type route struct {
	out    *iface
	via    packet.Addr
	origin *origin // of a static route or the gateway's; nil: a subnet that is on link
}

// An iface is a router's interface on a network, with one MAC for all the
// addresses the router owns there. Its rules are swapped with the router's.
type iface struct {
	station
	*ifaceRules
	id     uint16 // its number at the router; connections name it
	on     id     // its network
	router *vrouter
	checks bool // the network of the router's own checks of members
	gone   bool // the router has no such interface any more
	mtu    int  // the network's linkMTU, as its router's worker knows it

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
	addr   packet.Addr
	prefix prefixOf
}

// owns reports whether the router has an address at this interface.
func (i *iface) owns(addr packet.Addr) bool { return i.router.owner(addr) == i }

// onLink reports whether an address is in a subnet of the network.
func (i *ifaceRules) onLink(addr packet.Addr) bool {
	for _, p := range i.prefixes {
		if p.contains(addr) {
			return true
		}
	}
	return false
}

// isBroadcast reports whether an address is the first or last of a subnet, which
// is no host's. Subnets of two addresses or one have none (RFC 3021).
func (i *ifaceRules) isBroadcast(addr packet.Addr) bool {
	for _, p := range i.prefixes {
		if p.contains(addr) && p.mask < 0xfffffffe && (addr == p.addr || addr == p.addr|^p.mask) {
			return true
		}
	}
	return false
}

// bypasses reports whether b would answer a directly, past the router: both are
// in one subnet here.
func (i *ifaceRules) bypasses(a, b packet.Addr) bool {
	for _, p := range i.prefixes {
		if p.contains(a) && p.contains(b) {
			return true
		}
	}
	return false
}

// addrFor is the interface's address in the subnet of addr, else its first.
func (i *ifaceRules) addrFor(addr packet.Addr) packet.Addr {
	for _, a := range i.addrs {
		if a.prefix.contains(addr) {
			return a.addr
		}
	}
	return i.addrs[0].addr
}
