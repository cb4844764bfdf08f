package config

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// HostProblem says why no host in the prefix can have the address, if so: such as "outside 10.1.0.0/24".
func HostProblem(a netip.Addr, p netip.Prefix) string {
	switch {
	case a.BitLen() != p.Addr().BitLen():
		return fmt.Sprintf("is %s, but %v is %s", family(a), p, family(p.Addr()))
	case !p.Contains(a):
		return fmt.Sprintf("outside %v", p)
	case a == p.Masked().Addr() && hasNetworkAddress(p):
		return fmt.Sprintf("is the %s address of %v", networkAddressName(p), p)
	case a == lastAddr(p) && a.Is4() && hasNetworkAddress(p):
		return fmt.Sprintf("is the broadcast address of %v", p)
	}
	return ""
}

// hasNetworkAddress says whether the first address of a prefix is not a host's.
// On links of two addresses both are hosts': RFC 3021 and RFC 6164.
func hasNetworkAddress(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() > 1 }

// networkAddressName: IPv6 has an anycast address there (RFC 4291, 2.6.1).
func networkAddressName(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "network"
	}
	return "subnet-router anycast"
}

// lastHost is the highest address of a prefix that a host can have. IPv6 has no broadcast address.
func lastHost(p netip.Prefix) netip.Addr {
	last := lastAddr(p)
	if last.Is4() && hasNetworkAddress(p) {
		return last.Prev()
	}
	return last
}

// lastAddr is the address of a prefix with all host bits set.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// notHosts are the prefixes besides multicast that hold no host's address
// (RFC 6890): this network, loopback, reserved and limited broadcast.
var notHosts = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/127"),
	netip.MustParsePrefix("ff00::/8"),
}

// protocolNet holds addresses that are for protocols alone, but for the parts that hosts may have
// (RFC 6890, RFC 7335, RFC 7723, RFC 8155).
var (
	protocolNet   = netip.MustParsePrefix("192.0.0.0/24")
	protocolHosts = []netip.Prefix{
		netip.MustParsePrefix("192.0.0.0/29"), netip.MustParsePrefix("192.0.0.9/32"),
		netip.MustParsePrefix("192.0.0.10/32"),
	}
)

// The prefixes of link-local addresses (RFC 3927, RFC 4291).
var (
	linkLocal  = netip.MustParsePrefix("169.254.0.0/16")
	linkLocal6 = netip.MustParsePrefix("fe80::/10")
)

// unforwarded are the prefixes that neverForwarded is about.
var unforwarded = []netip.Prefix{linkLocal, linkLocal6, protocolNet}

// neverForwarded says why no router forwards from or to the addresses of a prefix, if so. There
// may be hosts all the same. The documentation prefixes are left to labs.
func neverForwarded(p netip.Prefix) string {
	within := func(outer netip.Prefix) bool { return outer.Bits() <= p.Bits() && outer.Contains(p.Addr()) }
	switch {
	case within(linkLocal):
		return "is link-local: no router forwards from or to it (RFC 3927, 2.7)"
	case within(linkLocal6):
		return "is link-local: no router forwards from or to it (RFC 4291, 2.5.6)"
	case within(protocolNet) && !slices.ContainsFunc(protocolHosts, within):
		return fmt.Sprintf("is in %v, which is for protocols: no router forwards from or to it (RFC 6890)", protocolNet)
	}
	return ""
}

func isUnicast(a netip.Addr) bool {
	return a.IsValid() && !slices.ContainsFunc(notHosts, func(p netip.Prefix) bool { return p.Contains(a) })
}

// family names an address's protocol.
func family(a netip.Addr) string {
	switch {
	case a.Is4():
		return "IPv4"
	case a.Is6():
		return "IPv6"
	}
	return "no address"
}

// maxSNATAddresses bounds the addresses that one router shares out: each may take a few
// hundred KB, and a range is quickly written too wide.
const maxSNATAddresses = 256

// snatAddresses gives the addresses that a router's hosts show outside, up to the bound.
func snatAddresses(g *Gateway) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		n := 0
		for _, r := range g.SNATAddresses {
			if !r.First.Is4() || !r.Last.Is4() {
				continue
			}
			for a := r.First; a.IsValid() && r.Contains(a); a = a.Next() {
				if n++; n > maxSNATAddresses || !yield(a) {
					return
				}
			}
		}
	}
}
