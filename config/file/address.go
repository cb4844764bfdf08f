package file

import (
	"fmt"
	"net/netip"
	"slices"
)

// A segment is a network with what the check knows of its addresses.
type segment struct {
	*Network
	at       scope
	unsure   bool // a subnet's prefix is unknown: call no address outside
	shaky    bool // something in a subnet is wrong: miss no gateway or pool
	owners   map[netip.Addr]owner
	gateways map[netip.Addr]bool // of the subnets, whoever has them
	macs     map[MAC]owner
	subnets  *prefixTable[int] // the first with a prefix; made when it is asked for
	free     map[int][]*source // by the bits of their addresses; made when an address is to be chosen

	devices   map[string]bool // as written; made when a port names one
	badDevice bool            // one of them is none
}

// A source is a subnet as a place to take addresses from.
type source struct {
	subnet *Subnet
	pools  []AddressRange // by address; without those that are used up
	next   netip.Addr     // the first address not tried yet of the first pool
}

func newSegment(n *Network, at scope) *segment {
	return &segment{
		Network:  n,
		at:       at,
		owners:   map[netip.Addr]owner{},
		gateways: map[netip.Addr]bool{},
		macs:     map[MAC]owner{},
	}
}

// subnetOf finds the first subnet an address is in, nil if there is none. It is for when the
// subnets have been checked.
func (g *segment) subnetOf(a netip.Addr) *Subnet {
	if g.subnets == nil {
		g.subnets = &prefixTable[int]{}
		for i := range g.Subnets {
			if p := g.Subnets[i].CIDR; p.IsValid() {
				g.subnets.addFirst(p, i)
			}
		}
	}
	first := empty
	for i := range g.subnets.around(a) {
		first = min(first, i)
	}
	if first == empty {
		return nil
	}
	return &g.Subnets[first]
}

// checkHost checks that a host on the network can have the address, and finds
// its subnet.
func (g *segment) checkHost(s scope, key string, a netip.Addr) (*Subnet, bool) {
	sub := g.subnetOf(a)
	if sub == nil {
		if !g.unsure {
			s.fault(key, "%s %v outside %s", key, a, g.prefixes())
		}
		return nil, false
	}
	return sub, s.checkHostIn(key, a, sub.CIDR)
}

// prefixes lists the subnets for a message.
func (g *segment) prefixes() string {
	if len(g.Subnets) == 0 {
		return fmt.Sprintf("network %q, which has no subnet", g.Name)
	}
	return listed(g.Subnets, func(sub Subnet) string { return sub.CIDR.String() })
}

// checkHostIn checks that an address is a host's in the prefix.
func (s scope) checkHostIn(key string, a netip.Addr, p netip.Prefix) bool {
	why := hostProblem(a, p)
	if why != "" {
		s.fault(key, "%s %v %s", key, a, why)
	}
	return why == ""
}

// hostProblem says why no host in the prefix can have the address, if so.
func hostProblem(a netip.Addr, p netip.Prefix) string {
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

// firstHost is the lowest address of a prefix that a host can have.
func firstHost(p netip.Prefix) netip.Addr {
	first := p.Masked().Addr()
	if hasNetworkAddress(p) {
		return first.Next()
	}
	return first
}

// lastHost is the highest. IPv6 has no broadcast address.
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

// poolsWithout is the whole prefix less one address, which may be the zero one.
func poolsWithout(p netip.Prefix, gateway netip.Addr) []AddressRange {
	whole := AddressRange{First: firstHost(p), Last: lastHost(p)}
	if !whole.Contains(gateway) {
		return []AddressRange{whole}
	}
	var pools []AddressRange
	if gateway != whole.First {
		pools = append(pools, AddressRange{First: whole.First, Last: gateway.Prev()})
	}
	if gateway != whole.Last {
		pools = append(pools, AddressRange{First: gateway.Next(), Last: whole.Last})
	}
	return pools
}

// claim puts an address down as somebody's, unless it is somebody else's.
func (g *segment) claim(s scope, key string, a netip.Addr, by owner) bool {
	if first, ok := g.owners[a]; ok {
		s.fault(key, "%v is already the address of %v", a, first)
		return false
	}
	g.owners[a] = by
	return true
}

// claimMAC does the same for a MAC address, if there is one.
func (g *segment) claimMAC(s scope, m MAC, by owner) {
	if m.IsZero() {
		return
	}
	if first, ok := g.macs[m]; ok {
		s.fault("mac", "mac %v is already that of %v", m, first)
		return
	}
	g.macs[m] = by
}

// owner is the table itself as the owner of something.
func (s scope) owner() owner { return owner{what: s.subject, line: s.line} }

// choose takes the lowest free address of the allocation pools, subnet by
// subnet, those of IPv4 first. Like says which family is wanted, if any.
func (g *segment) choose(s scope, key string, like netip.Addr, by owner) (netip.Addr, bool) {
	if g.free == nil {
		g.findSources()
	}
	families := []int{0, 32, 128} // a subnet whose prefix is unknown has 0
	if like.Is4() {
		families = []int{32}
	} else if like.IsValid() {
		families = []int{0, 128}
	}
	for _, bits := range families {
		for len(g.free[bits]) > 0 {
			if a, ok := g.lowestFree(g.free[bits][0]); ok {
				g.owners[a] = by
				return a, true
			}
			g.free[bits] = g.free[bits][1:]
		}
	}
	if g.shaky {
		return netip.Addr{}, false
	}
	var tried []Subnet
	for _, bits := range families {
		for i := 0; i < len(g.Subnets) && len(tried) <= maxListed; i++ {
			if sub := g.Subnets[i]; sub.CIDR.Addr().BitLen() == bits {
				tried = append(tried, sub)
			}
		}
	}
	if len(tried) == 0 {
		s.fault(key, "network %q has no subnet to take an address from", g.Name)
	} else {
		s.fault(key, "no free address is left in the allocation pools of network %q (%s)", g.Name,
			listed(tried, func(sub Subnet) string { return sub.CIDR.String() }))
	}
	return netip.Addr{}, false
}

// findSources lists where addresses can be taken from, by family.
func (g *segment) findSources() {
	g.free = map[int][]*source{}
	for i := range g.Subnets {
		sub := &g.Subnets[i]
		pools := slices.Clone(sub.AllocationPools)
		slices.SortStableFunc(pools, func(a, b AddressRange) int { return a.First.Compare(b.First) })
		bits := sub.CIDR.Addr().BitLen()
		g.free[bits] = append(g.free[bits], &source{subnet: sub, pools: pools})
	}
}

// lowestFree finds the lowest address of a subnet's pools that is nobody's.
func (g *segment) lowestFree(from *source) (netip.Addr, bool) {
	for len(from.pools) > 0 {
		pool := from.pools[0]
		if !from.next.IsValid() {
			from.next = pool.First
		}
		for from.next.IsValid() && pool.Contains(from.next) && g.taken(from.next) {
			from.next = from.next.Next()
		}
		if from.next.IsValid() && pool.Contains(from.next) {
			return from.next, true
		}
		from.pools, from.next = from.pools[1:], netip.Addr{}
	}
	return netip.Addr{}, false
}

func (g *segment) taken(a netip.Addr) bool {
	_, owned := g.owners[a]
	return owned || g.gateways[a]
}
