package router

import (
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
)

// Some addresses are never forwarded from or to (RFC 6890 and the registry that it keeps, where
// "Forwardable" is "False"). Packets for the router itself may come from and go to such addresses:
// the router may have neighbors, and serve addresses, to which no other router leads.

// dummyAddr is what a router without an IPv4 address sends ICMP errors from (RFC 7600, RFC
// 9229).
const dummyAddr = 192<<24 | 8

// forwardable reports whether a router forwards from or to a unicast address. The documentation
// prefixes (RFC 5737) are forwarded, because labs use them.
func forwardable(addr packet.Addr) bool {
	switch {
	case addr>>24 == 0, addr>>24 == 127, addr>>28 == 15:
		return false // this network, loopback, reserved
	case addr>>16 == 169<<8|254:
		return false // link-local (RFC 3927, 2.7)
	case addr>>8 == 192<<16: // for protocols, except RFC 7335, RFC 7723 and RFC 8155
		last := addr & 0xff
		return last < 8 || last == 9 || last == 10
	}
	return true
}

// shows is the address that the router sends from, by an interface, to addr. hop is addr's next hop, or
// addr itself. It is the interface's address; where that is link-local and would not get as far as
// addr, it is another address of the router.
func (i *iface) shows(hop, addr packet.Addr) packet.Addr {
	own := i.addrFor(hop)
	if forwardable(own) || !forwardable(addr) {
		return own
	}
	r := i.router
	if i.external && forwardable(r.gateway.shared[0]) {
		return r.gateway.shared[0]
	}
	for _, other := range r.ifaces[1:] {
		for _, a := range other.addrs {
			if !other.checks && forwardable(a.addr) {
				return a.addr
			}
		}
	}
	return own
}

// An rpFilter says what a source address must have to do with the interface that it
// comes from (RFC 3704).
type rpFilter uint8

const (
	rpOff    rpFilter = iota // no more than martian asks
	rpLoose                  // a route to it
	rpStrict                 // the route to it, out of that interface
)

// martian checks where a packet may come from (RFC 1812, 5.3.7; RFC 3704, 2.2
// for addresses on link). No host sends from a loopback, multicast or broadcast address, or from an
// address of the router. An address of a network of the router is on that network only. An address that
// no router forwards is a neighbor's.
func (i *iface) martian(src packet.Addr) verdict {
	if src>>24 == 0 || src>>24 == 127 || src >= 0xe0000000 || i.isBroadcast(src) ||
		i.router.claims(src) || !forwardable(src) && !i.onLink(src) && src != dummyAddr {
		return drop(DropMartianSource)
	}
	for _, other := range i.router.ifaces[1:] {
		if other != i && other.onLink(src) {
			return drop(DropMartianSource)
		}
	}
	if r := i.router; r.rpFilter != rpOff {
		if rt, ok := r.routes.Lookup(src.Netip()); !ok || r.rpFilter == rpStrict && rt.out != i {
			return drop(DropReversePath)
		}
	}
	return next
}

// martianDest refuses destinations that no router forwards to (RFC 1812, 5.3.7).
func martianDest(dst packet.Addr) verdict {
	switch {
	case dst>>28 == 14, dst == 0xffffffff:
		return drop(DropBroadcast)
	case dst>>24 == 0, dst>>24 == 127, dst >= 0xf0000000:
		return drop(DropMartianDest)
	}
	return next
}

// prefixOf is the prefix of a network as a pair of address and mask.
type prefixOf struct{ addr, mask packet.Addr }

func newPrefix(p netip.Prefix) prefixOf {
	var mask packet.Addr = 0xffffffff << (32 - p.Bits())
	if p.Bits() == 0 {
		mask = 0
	}
	return prefixOf{packet.AddrFrom(p.Addr()) & mask, mask}
}

func (p prefixOf) contains(a packet.Addr) bool { return a&p.mask == p.addr }
