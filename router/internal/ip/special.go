package ip

import (
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// No router forwards packets from or to some addresses (RFC 6890 and its registry, where
// "Forwardable" is "False"). Packets for the router itself may come from and go to such addresses:
// the router may have neighbors, and serve addresses, to which no other router leads.

// dummyAddr is 192.0.0.8, from which a router without an IPv4 address sends ICMP errors (RFC 7600, RFC
// 9229).
const dummyAddr = 192<<24 | 8

// Forwardable reports whether a router forwards from or to a unicast address. The documentation
// prefixes (RFC 5737) are forwarded, because labs use them.
func Forwardable(addr packet.Addr) bool {
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

// An RPFilter says which source addresses are refused because of the routes back to them (reverse-path filtering,
// RFC 3704). It is about packets that belong to no known connection.
type RPFilter uint8

// The reverse-path filters.
const (
	RPOff    RPFilter = iota // routes back do not matter
	RPLoose                  // there must be a route to the source address
	RPStrict                 // that route must lead out of the interface that the packet came in by
)

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

// martianDest refuses destinations that no router forwards to (RFC 1812, 5.3.7).
func martianDest(dst packet.Addr) verdict.Verdict {
	switch {
	case dst>>28 == 14, dst == 0xffffffff:
		return verdict.Drop(verdict.DropBroadcast)
	case dst>>24 == 0, dst>>24 == 127, dst >= 0xf0000000:
		return verdict.Drop(verdict.DropMartianDest)
	}
	return verdict.Next
}

// prefixOf is the prefix of a subnet as a pair of address and mask.
type prefixOf struct{ Addr, Mask packet.Addr }

func newPrefix(p netip.Prefix) prefixOf {
	var mask packet.Addr = 0xffffffff << (32 - p.Bits())
	if p.Bits() == 0 {
		mask = 0
	}
	return prefixOf{packet.AddrFrom(p.Addr()) & mask, mask}
}

func (p prefixOf) contains(a packet.Addr) bool { return a&p.Mask == p.Addr }
