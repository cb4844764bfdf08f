package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// IPv6 is switched, not routed. A guest's packets must not make it a router or a DHCP server of the others.

const (
	ip6At  = packet.EthernetLen
	ip6Len = 40
)

// Headers of IPv6 (RFC 8200, 4) and messages of ICMPv6 (RFC 4861, 4).
const (
	hopByHop   = 0
	routing    = 43
	fragment   = 44
	authHeader = 51
	icmp6      = 58
	destOpts   = 60
	mobility   = 135
	hostID     = 139
	shim6      = 140

	routerAdvertisement = 134
	redirect            = 137
)

// check6 judges an IPv6 packet. A port may use link-local addresses, and those that it has been given.
func (p *Port) check6(t *loop.Turn, s *speaker, eth []byte) verdict.Verdict {
	if len(eth) < ip6At+ip6Len {
		return verdict.Drop(verdict.DropShort)
	}
	src := netip.AddrFrom16([16]byte(eth[ip6At+8 : ip6At+24]))
	proto, l4, first := upperLayer(eth[ip6At:])
	switch {
	case !first:
	case l4 == nil, proto == icmp6 && (l4[0] == routerAdvertisement || l4[0] == redirect):
		// With its header out of sight, the packet may be one (RFC 7113, 3).
		return p.deny(t, verdict.DropRouterAdvert, s, routerMessage, s.mac, src)
	case proto == packet.ProtoUDP && binary.BigEndian.Uint16(l4[2:]) == dhcp6Client:
		return p.deny(t, verdict.DropDHCPServer, s, dhcpAnswer, s.mac, src)
	}
	switch {
	case src.IsLinkLocalUnicast():
	case src.IsUnspecified() && proto == icmp6: // duplicate address detection, MLD, router solicitation
	case !p.network.mayUse6(s, src):
		return p.deny(t, verdict.DropSpoofedIP, s, foreignAddr, s.mac, src)
	}
	return verdict.Next
}

// mayUse6 reports whether an IPv6 address is the speaker's.
func (n *security) mayUse6(s *speaker, a netip.Addr) bool {
	for _, b := range s.bound {
		if b.speaks(s.device) && b.has6(a) {
			return true
		}
	}
	if s.anyMAC {
		for _, b := range n.Rules.anyNets {
			if b.speaks(s.device) && b.has6(a) {
				return true
			}
		}
	}
	return false
}

// maxHeaders bounds the extension headers that are looked at. A packet has at most one of each kind, and destination
// options twice (RFC 8200, 4.1).
const maxHeaders = 10

// upperLayer finds the protocol of an IPv6 packet behind its extension headers. first is false for a fragment other
// than the first one: then proto is what the fragment header says, and l4 is nil. l4 is the upper-layer header, at
// least four bytes of it, nil if it is not there, or behind too many headers.
func upperLayer(ip []byte) (proto uint8, l4 []byte, first bool) {
	proto, at := ip[6], ip6Len
	for range maxHeaders {
		n := 0 // bytes of the header
		switch proto {
		case hopByHop, routing, destOpts, mobility, hostID, shim6:
			if len(ip) >= at+2 {
				n = 8 * (1 + int(ip[at+1]))
			}
		case authHeader:
			if len(ip) >= at+2 {
				n = 4 * (2 + int(ip[at+1]))
			}
		case fragment:
			n = 8
			if len(ip) >= at+n && binary.BigEndian.Uint16(ip[at+2:])&^7 != 0 {
				return ip[at], nil, false
			}
		default:
			if len(ip) < at+4 {
				return proto, nil, proto != noNextHeader
			}
			return proto, ip[at:], true
		}
		if n == 0 || len(ip) < at+n {
			return proto, nil, true
		}
		proto, at = ip[at], at+n
	}
	return proto, nil, true
}

const noNextHeader = 59 // there is nothing behind the headers (RFC 8200, 4.7)
