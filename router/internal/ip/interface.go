package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// An Interface is a router's interface on a network, with one MAC for all the
// addresses the router owns there. Its rules are swapped with the router's.
type Interface struct {
	wire.Station
	*InterfaceRules
	ID     uint16  // its number at the router; connections name it
	On     wire.ID // its network's
	Router *Router
	Checks bool // it leads to the router's own host, which checks members
	Gone   bool // the router has no such interface any more
	MTU    int  // the network's LinkMTU, as its router's worker knows it

	announcements int           // how many times all its addresses are to be announced yet
	announceAt    time.Duration // when the next time is
	fresh         []freshAddr
	conflicts     map[packet.Addr]time.Duration // when a conflict about each address was last reported
}

// A freshAddr is an address that an interface has only just got. It is announced by itself.
type freshAddr struct {
	addr          packet.Addr
	announcements int           // how many times it is to be announced yet
	at            time.Duration // when the next time is
}

// An ifaceAddr is an address of an interface, with its subnet.
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

// isBroadcast reports whether an address is the first or last of a subnet, so that
// no host has it. Subnets of two addresses or one have no such address (RFC 3021).
func (i *InterfaceRules) isBroadcast(addr packet.Addr) bool {
	for _, p := range i.Prefixes {
		if p.contains(addr) && p.Mask < 0xfffffffe && (addr == p.Addr || addr == p.Addr|^p.Mask) {
			return true
		}
	}
	return false
}

// bypasses reports whether b would answer a directly, past the router, because both are
// in one subnet of the interface.
func (i *InterfaceRules) bypasses(a, b packet.Addr) bool {
	for _, p := range i.Prefixes {
		if p.contains(a) && p.contains(b) {
			return true
		}
	}
	return false
}

// addrFor is the interface's address in the subnet of addr, else its first address.
func (i *InterfaceRules) addrFor(addr packet.Addr) packet.Addr {
	for _, a := range i.Addrs {
		if a.prefix.contains(addr) {
			return a.Addr
		}
	}
	return i.Addrs[0].Addr
}

// Shows is the source address of a packet that the router sends to addr by the interface. hop is the next hop to addr,
// or addr itself. The source is the interface's address. Where that is link-local, and no other router would forward
// packets to it, the source is another address of the router.
func (i *Interface) Shows(hop, addr packet.Addr) packet.Addr {
	own := i.addrFor(hop)
	if Forwardable(own) || !Forwardable(addr) {
		return own
	}
	r := i.Router
	if i.External && Forwardable(r.Gateway.Shared[0]) {
		return r.Gateway.Shared[0]
	}
	for _, other := range r.Interfaces[1:] {
		for _, a := range other.Addrs {
			if !other.Checks && Forwardable(a.Addr) {
				return a.Addr
			}
		}
	}
	return own
}

// Deliver implements wire.Endpoint: it takes a frame that the switch has found to be for the router at the interface,
// or a broadcast. A frame that another station has made waits for the next turn, because that station may be a router
// in the middle of a frame, and the routers of one worker share a passage.
func (i *Interface) Deliver(t *loop.Turn, f *tap.Frame, how wire.Kind) verdict.Verdict {
	if how == wire.Made || !t.IsOf(i.Router.Worker) {
		return i.Station.Deliver(t, f, how)
	}
	return forward(t, i, f, false)
}

// LookAhead looks at the frames of a batch, if the router's connection table is large, and has the connections of all
// of them fetched into the processor's cache at the same time.
func (i *Interface) LookAhead(_ *loop.Turn, frames []tap.Frame) {
	r := i.Router
	if r.Conns.Len() < conntrack.WarmFrom {
		return
	}
	tuples := r.Scratch.ahead[:0]
	for k := range frames {
		if tuple, ok := packet.Peek(frames[k].Ethernet()); ok {
			tuples = append(tuples, tuple)
		}
	}
	r.Conns.Warm(tuples)
}

// SetMTU implements wire.StationOwner.
func (i *Interface) SetMTU(mtu int) { i.MTU = mtu }

// Resume implements loop.Resumer: it takes a frame that was put aside for the router at the interface.
func (i *Interface) Resume(t *loop.Turn, f *tap.Frame) {
	if i.Gone {
		t.Count(verdict.Drop(verdict.DropDetached).At(verdict.StageIngress))
		return
	}
	t.Count(forward(t, i, f, false))
}

// NetworkUp implements wire.StationOwner: the router announces its addresses on a network that has come up, and
// forgets its neighbors there. Behind a device that was away there may be other hosts now.
func (i *Interface) NetworkUp(t *loop.Turn) {
	i.Router.Neighbors.Forget(i.ID)
	i.announcements = announceTimes
	i.announceAt = t.Now
	t.WakeAt(t.Now)
}

// martian refuses a packet whose source address cannot be behind the interface (RFC 1812, 5.3.7; RFC 3704, 2.2
// for addresses on link). No host sends from a loopback, multicast or broadcast address, or from an
// address of the router. An address of a network of the router is on that network only. An address that
// no router forwards may be a neighbor's, on link.
func (i *Interface) martian(src packet.Addr) verdict.Verdict {
	if src>>24 == 0 || src>>24 == 127 || src >= 0xe0000000 || i.isBroadcast(src) ||
		i.Router.claims(src) || !Forwardable(src) && !i.onLink(src) && src != dummyAddr {
		return verdict.Drop(verdict.DropMartianSource)
	}
	for _, other := range i.Router.Interfaces[1:] {
		if other != i && other.onLink(src) {
			return verdict.Drop(verdict.DropMartianSource)
		}
	}
	if r := i.Router; r.RPFilter != RPOff {
		if rt, ok := r.Routes.Lookup(src.Netip()); !ok || r.RPFilter == RPStrict && rt.Out != i {
			return verdict.Drop(verdict.DropReversePath)
		}
	}
	return verdict.Next
}
