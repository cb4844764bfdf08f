package config

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// This file chooses the values that objects leave open. An address that an object names is known before any other is
// chosen, because the content holds the claims of all objects.

// makeGatewayPorts gives each router with a gateway its port, and takes the port from one that has lost the gateway.
// The port chooses its address when it is the router's turn, also where the Draft has deleted the port that the router
// had.
func (c *checker) makeGatewayPorts() {
	behind, moved := map[ID]Ref{}, map[ID]bool{}
	for _, ref := range slices.Clone(c.order) {
		if ref.Kind != KindRouter {
			continue
		}
		if r := c.Router(ref.ID); r != nil {
			if p := c.makeGatewayPort(r); p != nil {
				behind[r.ID], moved[p.ID] = p.Ref(), true
			}
		}
	}
	if len(behind) == 0 {
		return
	}
	order := make([]Ref, 0, len(c.order))
	for _, ref := range c.order {
		if moved[ref.ID] {
			continue
		}
		order = append(order, ref)
		if p, ok := behind[ref.ID]; ok {
			order = append(order, p)
		}
	}
	c.order = order
}

// makeGatewayPort returns the port that it has made, changed or taken away, nil if there is nothing to do.
func (c *checker) makeGatewayPort(r *Router) *Port {
	p := c.GatewayPort(r.ID)
	switch {
	case r.Gateway == nil && p != nil && !c.isPut(p.ID):
		c.edit(p)
		c.remove(p.ID)
		return p
	case r.Gateway == nil:
	case p == nil:
		m := Meta{ID: gatewayPortID(r.ID), Source: r.Gateway.Source, Position: c.lastPosition(KindPort) + 1}
		if c.find(m.ID) != nil {
			return nil // it is another port's; the fault is found with the router
		}
		p = &Port{Meta: m, Network: r.Gateway.Network, AdminStateUp: true, FixedIPs: make([]FixedIP, 1),
			DeviceID: string(r.ID), DeviceOwner: OwnerGateway}
		c.change(p)
		c.comesLast(p.ID)
		return p
	case p.Network != r.Gateway.Network && !c.isPut(p.ID):
		p = copyOf(p)
		p.Network, p.MAC, p.FixedIPs = r.Gateway.Network, MAC{}, make([]FixedIP, 1)
		c.change(p)
		c.comesLast(p.ID)
		return p
	}
	return nil
}

// gatewayPortID is the ID of the port that is made for a router's gateway.
func gatewayPortID(router ID) ID { return NameID(KindPort, "gateway", string(router)) }

// comesLast ranks a port that Check has made or moved behind every object that the Draft puts.
func (c *checker) comesLast(id ID) { c.rank[id] = len(c.Draft.order) + len(c.made) }

// isPut says whether the object was put or deleted in this Draft.
func (c *checker) isPut(id ID) bool { return c.edits[id] != nil }

// change puts a version of an object that Check has made.
func (c *checker) change(o Object) {
	c.edit(o)
	c.content.put(o)
}

// findSubnets fills in the subnets of the addresses that ports name.
func (c *checker) findSubnets() {
	for _, r := range c.order {
		if r.Kind != KindPort {
			continue
		}
		p := c.Port(r.ID)
		if p == nil {
			continue
		}
		var fixed []FixedIP
		for i, f := range p.FixedIPs {
			if f.Subnet != "" || !f.Address.IsValid() {
				continue
			}
			if s := c.SubnetAt(p.Network, f.Address); s != nil {
				if fixed == nil {
					fixed = slices.Clone(p.FixedIPs)
				}
				fixed[i].Subnet = s.ID
			}
		}
		if fixed != nil {
			p = copyOf(p)
			p.FixedIPs = fixed
			c.change(p)
		}
	}
}

// reopen takes back what an object has taken over from its former version, where that may not be any more.
func (c *checker) reopen() {
	for _, r := range c.order {
		e := c.edits[r.ID]
		if e == nil || e.put == nil || e.open&openAddress == 0 {
			continue
		}
		switch o := c.find(r.ID).(type) {
		case *Port:
			var fixed []FixedIP
			for _, i := range e.ips {
				f := o.FixedIPs[i]
				if !f.Address.IsValid() || c.mayKeep(o, o.Network, f) {
					continue
				}
				if fixed == nil {
					fixed = slices.Clone(o.FixedIPs)
				}
				fixed[i] = e.given(i)
			}
			if fixed != nil {
				o = copyOf(o)
				o.FixedIPs = fixed
				c.change(o)
			}
		case *FloatingIP:
			if o.Address.IsValid() && !c.mayKeep(o, o.Network, FixedIP{Address: o.Address}) {
				o = copyOf(o)
				o.Address = netip.Addr{}
				c.change(o)
			}
		case *LoadBalancer:
			if o.Address.IsValid() && !c.mayKeep(o, o.Network, FixedIP{Address: o.Address}) {
				o = copyOf(o)
				o.Address = netip.Addr{}
				c.change(o)
			}
		}
	}
}

// mayKeep says whether an object may still have an address that it was given before.
func (c *checker) mayKeep(o Object, network ID, f FixedIP) bool {
	s := c.SubnetAt(network, f.Address)
	if s == nil || f.Subnet != "" && f.Subnet != s.ID || HostProblem(f.Address, s.CIDR) != "" {
		return false
	}
	p, isPort := o.(*Port)
	if f.Address == s.Gateway && !(isPort && p.DeviceOwner == OwnerInterface) {
		return false
	}
	for id := range c.claimants(claim{what: claimAddress, scope: string(network), addr: f.Address}) {
		if id != o.About().ID && c.group(id) != c.group(o.About().ID) {
			return false
		}
	}
	return true
}

// choose gives addresses to what still has none, in the order in which it was put.
func (c *checker) choose() {
	for _, r := range c.order {
		if r.Kind != KindPort && r.Kind != KindFloatingIP && r.Kind != KindLoadBalancer {
			continue
		}
		switch o := c.find(r.ID).(type) {
		case *Port:
			c.chooseFixedIPs(o)
		case *FloatingIP:
			n := c.Network(o.Network)
			if o.Address.IsValid() || n == nil || !n.External {
				continue
			}
			if a, _, ok := c.chooseAddress(at(o), "address", n, "", c.like(o)); ok {
				o = copyOf(o)
				o.Address = a
				c.change(o)
			}
		case *LoadBalancer:
			n := c.Network(o.Network)
			if o.Address.IsValid() || n == nil {
				continue
			}
			if a, _, ok := c.chooseAddress(at(o), "address", n, "", netip.Addr{}); ok {
				o = copyOf(o)
				o.Address = a
				c.change(o)
			}
		}
	}
}

// like is an address of the family that a floating IP must have: a fixed address that the floating IP maps to.
func (c *checker) like(f *FloatingIP) netip.Addr {
	for p := range c.ForwardingsOf(f.ID) {
		return p.FixedIP
	}
	return f.FixedIP
}

// chooseFixedIPs gives a port its addresses. A router takes the gateway of the subnet.
func (c *checker) chooseFixedIPs(p *Port) {
	n := c.Network(p.Network)
	if n == nil || !slices.ContainsFunc(p.FixedIPs, func(f FixedIP) bool { return !f.Address.IsValid() }) {
		return
	}
	if p.DeviceOwner == OwnerGateway && !n.External {
		return
	}
	fixed := slices.Clone(p.FixedIPs)
	for i := range fixed {
		if fixed[i].Address.IsValid() {
			continue
		}
		if p.DeviceOwner == OwnerInterface {
			fixed[i] = c.gatewayIn(n, fixed[i].Subnet)
			continue
		}
		field := indexed("fixed_ips", i)
		if a, s, ok := c.chooseAddress(at(p), field, n, fixed[i].Subnet, netip.Addr{}); ok {
			fixed[i] = FixedIP{Subnet: s, Address: a}
			// Further addresses of the same port must see this one.
			p = copyOf(p)
			p.FixedIPs = slices.Clone(fixed)
			c.change(p)
		}
	}
	p = copyOf(p)
	p.FixedIPs = fixed
	c.change(p)
}

// gatewayIn is the gateway of a subnet, or of the network's first that has one.
func (c *checker) gatewayIn(n *Network, subnet ID) FixedIP {
	if subnet != "" {
		if s := c.Subnet(subnet); s != nil && s.Network == n.ID && s.hasGateway() {
			return FixedIP{Subnet: s.ID, Address: s.Gateway}
		}
		return FixedIP{Subnet: subnet}
	}
	f, ok := c.usual[n.ID]
	if !ok {
		for s := range c.SubnetsOf(n.ID) {
			if s.hasGateway() {
				f = FixedIP{Subnet: s.ID, Address: s.Gateway}
				break
			}
		}
		keep(&c.usual, n.ID, f)
	}
	return f
}

// hasGateway says whether the subnet has a gateway that is in it.
func (s *Subnet) hasGateway() bool { return s.Gateway.IsValid() && s.CIDR.Contains(s.Gateway) }

// A cursor is a subnet's allocation pools as far as they have not been tried.
type cursor struct {
	pools []AddressRange // by address; pools without a free address are left out
	next  netip.Addr     // the first address not tried yet of the first pool
}

// chooseAddress finds the lowest free address of the allocation pools, subnet by subnet, IPv4 subnets first. If like is
// valid, the address is of its family. If subnet is not empty, the address is in that subnet.
func (c *checker) chooseAddress(w where, field string, n *Network, subnet ID, like netip.Addr) (netip.Addr, ID, bool) {
	families := []int{32, 128}
	if like.Is4() {
		families = []int{32}
	} else if like.IsValid() {
		families = []int{128}
	}
	for _, bits := range families {
		for _, s := range c.sources(n.ID, subnet, bits) {
			if a, ok := c.lowestFree(s); ok {
				return a, s.ID, true
			}
		}
	}
	if c.isShaky(n.ID) {
		return netip.Addr{}, "", false
	}
	var tried []*Subnet
	for _, bits := range families {
		tried = append(tried, c.listed(n.ID, subnet, bits)...)
	}
	if len(tried) == 0 {
		c.fault(w, field, Exhausted, "network %s has no subnet to take an address from", c.networkName(n.ID))
	} else {
		c.fault(w, field, Exhausted, "no free address is left in the allocation pools of network %s (%s)",
			c.networkName(n.ID), listed(tried, func(s *Subnet) string { return s.CIDR.String() }))
	}
	return netip.Addr{}, "", false
}

// A family is a network's subnets of one family.
type familyOf struct {
	network ID
	bits    int
}

// sources lists the subnets of a network that may have a free address. The list is made once; a subnet without free
// addresses at its head goes for good.
func (c *checker) sources(network, subnet ID, bits int) []*Subnet {
	if subnet != "" {
		return c.only(network, subnet, bits)
	}
	k := familyOf{network, bits}
	list, ok := c.free[k]
	if !ok {
		for s := range c.SubnetsOf(network) {
			if s.isOf(bits) {
				list = append(list, s)
			}
		}
		keep(&c.tried, k, slices.Clone(list[:min(len(list), maxListed+1)]))
	}
	for len(list) > 0 && c.cursors[list[0].ID] != nil && len(c.cursors[list[0].ID].pools) == 0 {
		list = list[1:]
	}
	keep(&c.free, k, list)
	return list
}

// listed lists the subnets that had an address to choose: as many as a message lists, and one more.
func (c *checker) listed(network, subnet ID, bits int) []*Subnet {
	if subnet != "" {
		return c.only(network, subnet, bits)
	}
	return c.tried[familyOf{network, bits}]
}

// only lists a subnet if it is one of the network and of the family.
func (c *checker) only(network, subnet ID, bits int) []*Subnet {
	if s := c.Subnet(subnet); s != nil && s.Network == network && s.isOf(bits) {
		return []*Subnet{s}
	}
	return nil
}

// isOf says whether the subnet is of a family, given as the bits of an address.
func (s *Subnet) isOf(bits int) bool { return s.CIDR.IsValid() && s.CIDR.Addr().BitLen() == bits }

// lowestFree finds the lowest address of a subnet's pools that no object has. It goes over the claims in the order of
// their addresses and looks for a gap.
func (c *checker) lowestFree(s *Subnet) (netip.Addr, bool) {
	from := c.cursors[s.ID]
	if from == nil {
		from = &cursor{pools: slices.Clone(s.AllocationPools)}
		slices.SortStableFunc(from.pools, func(a, b AddressRange) int { return a.First.Compare(b.First) })
		keep(&c.cursors, s.ID, from)
	}
	for len(from.pools) > 0 {
		pool := from.pools[0]
		if !from.next.IsValid() {
			from.next = pool.First
		}
		if c.toGap(s, from, pool) {
			return from.next, true
		}
		from.pools, from.next = from.pools[1:], netip.Addr{}
	}
	return netip.Addr{}, false
}

// toGap moves a cursor to the next free address of a pool, and says whether there is one.
func (c *checker) toGap(s *Subnet, from *cursor, pool AddressRange) bool {
	found := false
	// try goes up to an address that is taken; the zero address: to the end.
	try := func(taken netip.Addr) bool {
		for from.next.IsValid() && pool.Contains(from.next) && from.next != taken {
			if !c.isReserved(s.Network, from.next) {
				found = true
				return false
			}
			from.next = from.next.Next()
		}
		if from.next.IsValid() && from.next == taken {
			from.next = from.next.Next()
		}
		return from.next.IsValid() && pool.Contains(from.next)
	}
	start := claim{what: claimAddress, scope: string(s.Network), addr: from.next}
	more := true
	c.claims[claimAddress].Ascend(start, func(n claim) bool {
		if n.what != claimAddress || n.scope != string(s.Network) {
			return false
		}
		if n.addr.Less(from.next) {
			return true // a second claim on an address
		}
		more = try(n.addr)
		return more
	})
	if more {
		try(netip.Addr{})
	}
	return found
}

// isReserved says whether an address that no object has must not be chosen all the same.
func (c *checker) isReserved(network ID, a netip.Addr) bool {
	if c.claimant(claim{what: claimGateway, scope: string(network), addr: a}) != "" {
		return true
	}
	return c.Claimed != nil && c.Claimed(network, a)
}

// chooseMACs gives the ports of routers and of DHCP servers their MAC addresses.
func (c *checker) chooseMACs() {
	for _, ref := range c.order {
		if ref.Kind != KindPort {
			continue
		}
		p := c.Port(ref.ID)
		if p == nil {
			continue
		}
		if p.isDHCPServer() && p.MAC.IsZero() {
			p = copyOf(p)
			p.MAC = c.freeMAC(p, "dhcp", string(p.Network))
			c.change(p)
		}
		if !p.isRouters() {
			continue
		}
		r, n := c.Router(ID(p.DeviceID)), c.Network(p.Network)
		e := c.edits[ref.ID]
		isOpen := p.MAC.IsZero() || e != nil && e.open&openMAC != 0
		if r == nil || n == nil || !isOpen {
			continue
		}
		if m := c.routerMAC(p, r, n); m != p.MAC {
			p = copyOf(p)
			p.MAC = m
			c.change(p)
		}
	}
}

// routerMAC is the MAC address of a router on a network: the one that it has there, or else one that no port of the
// network has. It is made of the two names, so that it is the same whenever the same file is read. If that one is
// taken, the router's ID decides, too: there may be many routers of one name.
func (c *checker) routerMAC(p *Port, r *Router, n *Network) MAC {
	for other := range c.portsOfRouterOn(r.ID, n.ID) {
		if other.ID != p.ID && !other.MAC.IsZero() {
			return other.MAC
		}
	}
	if !p.MAC.IsZero() && c.isFreeMAC(p, p.MAC) {
		return p.MAC
	}
	if m := hashedMAC(r.Name, n.Name, 0); c.isFreeMAC(p, m) {
		return m
	}
	return c.freeMAC(p, string(r.ID), string(n.ID))
}

// freeMAC is the first MAC address made of two names that no other port of p's network has.
func (c *checker) freeMAC(p *Port, of, on string) MAC {
	for k := 1; ; k++ {
		if m := hashedMAC(of, on, k); c.isFreeMAC(p, m) {
			return m
		}
	}
}

// NamedMAC is a MAC address for a host, made of its name and that of its network, with the prefix that Neutron uses.
func NamedMAC(host, network string) MAC { return hashedMAC("host "+host, network, 0) }

// hashedMAC is the k-th MAC address made of two names.
func hashedMAC(of, on string, k int) MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", of, on, k))
	return MAC{0xfa, 0x16, 0x3e, sum[0], sum[1], sum[2]} // the prefix that Neutron uses, locally administered
}

func (c *checker) isFreeMAC(p *Port, m MAC) bool {
	for id := range c.claimants(claim{what: claimMAC, scope: string(p.Network), num: m.number()}) {
		if id != p.ID && c.group(id) != c.group(p.ID) {
			return false
		}
	}
	return true
}

// portsOfRouterOn gives the ports that a router has on a network.
func (c *checker) portsOfRouterOn(router, network ID) iter.Seq[*Port] {
	return func(yield func(*Port) bool) {
		for id := range c.claimants(claim{what: claimRouterPort, scope: string(router) + string(network)}) {
			if p := c.Port(id); p != nil && !yield(p) {
				return
			}
		}
	}
}
