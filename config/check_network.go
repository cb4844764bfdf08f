package config

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"
)

// checkAll checks everything that is marked, parents first.
func (c *checker) checkAll() {
	for k := range NumKinds {
		for _, x := range c.inTurn(k) {
			switch o := c.find(x.id).(type) {
			case *Settings:
				c.checkSettings(o)
			case *PhysicalNetwork:
				c.checkPhysicalNetwork(o)
			case *Network:
				c.checkNetwork(o)
			case *Subnet:
				c.checkSubnet(o)
			case *Router:
				c.checkRouterItself(o)
			case *AddressGroup:
				c.checkAddressGroup(o)
			case *SecurityGroupRule:
				c.checkRule(o)
			case *Port:
				c.checkPort(o)
			case *FloatingIP:
				c.checkFloatingIP(o)
			case *PortForwarding:
				c.checkForwarding(o)
			case *Pool:
				c.checkPool(o)
			case *Monitor:
				c.checkMonitor(o)
			case *Member:
				c.checkMember(o)
			case *LoadBalancer:
				c.checkBalancer(o)
			case *Listener:
				c.checkListener(o)
			case *Quota:
				c.checkQuota(o)
			}
		}
	}
	// The steps below need to know which ports and addresses are in order.
	for _, x := range c.inTurn(KindRouter) {
		c.checkRoutes(c.Router(x.id))
		c.warnNoGateway(c.Router(x.id))
	}
	for _, x := range c.inTurn(KindFloatingIP) {
		c.checkFloatingRouter(c.FloatingIP(x.id))
	}
	for _, x := range c.inTurn(KindLoadBalancer) {
		c.checkBalancerRouter(c.LoadBalancer(x.id))
	}
	c.checkOwn()
	c.checkLimits()
	c.checkDeleted()
}

// checkPhysicalNetwork checks a label. One device behind two of them would
// put two networks that know nothing of each other on one wire.
func (c *checker) checkPhysicalNetwork(p *PhysicalNetwork) {
	w := at(p)
	seen := map[string]bool{}
	for i, d := range p.Devices {
		field := indexed("devices", i)
		if !c.checkDevice(w, field, d) {
			continue
		}
		a := d.attachment()
		first := c.first(claim{what: claimLabel, scope: a})
		switch {
		case first != p.ID:
			c.fault(w, field, Taken, "device %v already belongs to %s; a device carries one physical network, "+
				"and its networks differ by vlan",
				d, c.owner(c.find(first)))
		case seen[a]:
			c.fault(w, field, Invalid, "device %v is listed twice", d)
		}
		seen[a] = true
	}
}

func (c *checker) checkDevice(w where, field string, d Device) bool {
	err := d.check()
	if err != nil {
		c.fault(w, field, Invalid, "%v", err)
	}
	return err == nil
}

// checkNetwork checks a network apart from its subnets.
func (c *checker) checkNetwork(n *Network) {
	w := at(n)
	if n.VLAN != 0 {
		c.between(w, "vlan", n.VLAN, 1, MaxVLAN)
	}
	c.between(w, "mtu", n.MTU, MinMTU, MaxMTU)
	if n.StormLimit != nil {
		c.between(w, "storm_limit", *n.StormLimit, 0, MaxStormLimit)
	}
	oneOf(c, w, "host", n.Host, hosts)
	oneOf(c, w, "gro", n.GRO, joins)
	c.checkDevices(w, n)
	if n.MTU < minMTU6 && n.MTU >= MinMTU {
		for s := range c.SubnetsOf(n.ID) {
			if s.CIDR.Addr().Is6() {
				c.fault(w, "mtu", Invalid, "mtu %d is less than the %d that IPv6 needs", n.MTU, minMTU6)
				break
			}
		}
	}
}

// checkDevices checks what a network is attached to.
func (c *checker) checkDevices(w where, n *Network) {
	devices := n.Devices
	if n.PhysicalNetwork != "" {
		p := c.PhysicalNetwork(n.PhysicalNetwork)
		if p == nil {
			refer[*PhysicalNetwork](c, w, "physical_network", KindPhysicalNetwork, n.PhysicalNetwork)
			return
		}
		if len(n.Devices) > 0 {
			c.fault(w, "physical_network", Invalid,
				"physical_network and devices exclude each other: the devices are those of [[physical_network]] %q",
				p.Name)
			return
		}
		devices = p.Devices
	}
	if n.Host == HostOpen && !slices.ContainsFunc(devices, Device.isRaw) {
		c.warn(w, "host", Invalid, "host = %q is about raw devices, and the network has none", n.Host)
	}
	seen := map[string]bool{}
	for i, d := range devices {
		a := d.attachment()
		if n.PhysicalNetwork != "" {
			// A fault of the device is reported where the label is declared.
			if d.check() == nil && !seen[a] {
				c.checkDeviceUse(w, "physical_network", n, d)
			}
		} else if field := indexed("devices", i); c.checkDevice(w, field, d) {
			if seen[a] {
				c.fault(w, field, Invalid, "device %v is listed twice", d)
			} else {
				c.checkDeviceUse(w, field, n, d)
			}
		}
		seen[a] = true
	}
}

// checkDeviceUse: several networks may share one device when their frames can be told apart.
func (c *checker) checkDeviceUse(w where, field string, n *Network, d Device) {
	a := d.attachment()
	for _, id := range []ID{c.firstOn(a, -1), c.firstOn(a, n.VLAN)} {
		u := c.Network(id)
		if u == nil || id == n.ID {
			continue
		}
		e := d
		if u.PhysicalNetwork == "" || u.PhysicalNetwork != n.PhysicalNetwork {
			e = c.deviceOf(u, a)
		}
		switch {
		case e != d:
			c.fault(w, field, Taken, "device %v is the one that %s opens as %v", d, c.owner(u), e)
		case u.VLAN != n.VLAN && d.isRaw() && u.Host != n.Host:
			c.fault(w, "host", Invalid, "device %v is %s to the host in %s, and %s here; write the same in both", d,
				u.Host, c.owner(u), n.Host)
		case u.VLAN != n.VLAN:
			continue
		case u.VLAN == 0:
			c.fault(w, field, Taken, "device %v already carries %s without a tag; give one of them a vlan", d,
				c.owner(u))
		default:
			c.fault(w, field, Taken, "device %v already carries %s with vlan %d; give one of them another vlan", d,
				c.owner(u), u.VLAN)
		}
		return
	}
}

// onDevice gives the networks on a device.
func (c *checker) onDevice(a string) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		more := true
		c.claims[claimDevice].Ascend(claim{what: claimDevice, scope: a}, func(n claim) bool {
			if n.what != claimDevice || n.scope != a {
				return false
			}
			more = yield(n.by)
			return more
		})
		for label := range c.claimants(claim{what: claimLabel, scope: a}) {
			for id := range c.ids(networkOf, label) {
				if more = more && yield(id); !more {
					return
				}
			}
		}
	}
}

// firstOn is the first network on a device with a VLAN; -1: with any. It is found once for each device.
func (c *checker) firstOn(a string, vlan int) ID {
	k := claim{what: claimDevice, scope: a, num: uint64(vlan)}
	any := claim{what: claimDevice, scope: a, num: 1 << 32}
	if vlan < 0 {
		k = any
	}
	if _, ok := c.firsts[any]; !ok {
		c.firsts[any] = ""
		for id := range c.onDevice(a) {
			n := c.Network(id)
			if n == nil || n.PhysicalNetwork != "" && len(n.Devices) > 0 {
				continue
			}
			for _, to := range []claim{any, {what: claimDevice, scope: a, num: uint64(n.VLAN)}} {
				if first, ok := c.firsts[to]; !ok || first == "" || c.precedes(id, first) {
					c.firsts[to] = id
				}
			}
		}
	}
	return c.firsts[k]
}

// deviceOf is a network's device with an attachment. The devices of each network and label are sorted once.
func (c *checker) deviceOf(n *Network, a string) Device {
	of := n.ID
	if n.PhysicalNetwork != "" {
		of = n.PhysicalNetwork
	}
	all, ok := c.attached[of]
	if !ok {
		all = map[string]Device{}
		for _, d := range c.DevicesOf(n.ID) {
			if _, ok := all[d.attachment()]; !ok {
				all[d.attachment()] = d
			}
		}
		keep(&c.attached, of, all)
	}
	return all[a]
}

// checkSubnets checks the subnets that have been put. It comes before addresses are chosen: of a subnet that is wrong,
// no address is missed.
func (c *checker) checkSubnets() {
	for _, r := range c.order {
		if r.Kind != KindSubnet || !c.changed[r.ID] {
			continue
		}
		if s := c.Subnet(r.ID); s != nil {
			c.checkSubnet(s)
		}
	}
}

// checkSubnet checks a subnet, once.
func (c *checker) checkSubnet(s *Subnet) {
	if c.done[s.ID] {
		return
	}
	keep(&c.done, s.ID, true)
	w := at(s)
	n, ok := refer[*Network](c, w, "network", KindNetwork, s.Network)
	if s.LeaseTime < MinLease {
		c.fault(w, "lease_time", Invalid, "lease_time must be at least %v, not %v", MinLease, s.LeaseTime)
	}
	if !c.checkPrefix(w, "cidr", "cidr", s.CIDR) {
		return
	}
	cidr := s.CIDR.Masked()
	for _, p := range notHosts {
		if p.Overlaps(cidr) {
			c.fault(w, "cidr", Invalid, "cidr %v overlaps %v, where no host can be", cidr, p)
			return
		}
	}
	if why := neverForwarded(cidr); why != "" && !cidr.Addr().IsLinkLocalUnicast() {
		c.fault(w, "cidr", Invalid, "cidr %v %s", cidr, why)
	}
	if ok {
		c.checkSubnetOverlaps(w, s, n)
	}
	if s.Gateway.IsValid() {
		c.checkHostIn(w, "gateway", "gateway", s.Gateway, cidr)
	}
	c.checkRanges(w, s, cidr)
	c.checkServers(w, s)
	c.checkSearch(w, s)
}

// checkSubnetOverlaps reports each pair of subnets that overlap at the later one. Of several subnets with one prefix,
// all others are compared with the first only. So the work grows with the pairs of prefixes that overlap, and a prefix
// lies in few others.
func (c *checker) checkSubnetOverlaps(w where, s *Subnet, n *Network) {
	prefix := s.CIDR.Masked()
	report := func(other ID) {
		c.fault(w, "cidr", Invalid, "cidr %v overlaps %v of the same network", prefix, c.Subnet(other).CIDR)
	}
	same := claim{what: claimPrefix, scope: string(n.ID), addr: prefix.Addr(), num: uint64(prefix.Bits())}
	if first := c.first(same); first != s.ID {
		report(first)
		return
	}
	for q := range c.overlapping(claimPrefix, n.ID, prefix) {
		if first := c.first(q); first != s.ID && c.precedes(first, s.ID) {
			report(first)
		}
	}
}

// checkRanges checks a subnet's allocation pools. They may hold the gateway, which is never given out.
func (c *checker) checkRanges(w where, s *Subnet, cidr netip.Prefix) {
	good := newTree(func(a, b AddressRange) bool { return a.Last.Less(b.Last) })
	for i, pool := range s.AllocationPools {
		field := indexed("allocation_pools", i)
		if !c.checkRange(w, field, pool, s, cidr) {
			continue
		}
		// The ranges so far do not overlap each other: the first that ends behind this one's begin is the one to look
		// at.
		clash := false
		good.Ascend(AddressRange{Last: pool.First}, func(other AddressRange) bool {
			if clash = !pool.Last.Less(other.First); clash {
				c.fault(w, field, Invalid, "allocation pool %v overlaps %v", pool, other)
			}
			return false
		})
		if !clash {
			good.Set(pool)
		}
	}
}

func (c *checker) checkRange(w where, field string, pool AddressRange, s *Subnet, cidr netip.Prefix) bool {
	for _, a := range []netip.Addr{pool.First, pool.Last} {
		if why := HostProblem(a, cidr); why != "" {
			c.fault(w, field, Invalid, "allocation pool %v: %v %s", pool, a, why)
			return false
		}
	}
	switch {
	case pool.Last.Less(pool.First):
		c.fault(w, field, Invalid, "allocation pool %v is reversed; write %v", pool,
			AddressRange{First: pool.Last, Last: pool.First})
		return false
	case pool.First == pool.Last && pool.First == s.Gateway:
		c.fault(w, field, Invalid, "allocation pool %v holds nothing but the gateway", pool)
		return false
	}
	return true
}

// checkServers checks what DHCP hands out besides addresses.
func (c *checker) checkServers(w where, s *Subnet) {
	for i, a := range s.DNSNameservers {
		if a.Is4In6() || a.Zone() != "" || !isUnicast(a) {
			c.fault(w, indexed("dns_nameservers", i), Invalid, "dns_nameservers: %v cannot be the address of a host", a)
		}
	}
	seen := map[netip.Prefix]bool{}
	for i, r := range s.HostRoutes {
		field := indexed("host_routes", i)
		at := w.in("host route "+prefixLabel(r.Destination, i), r.Source)
		ok := c.checkPrefix(at, field+".destination", "destination", r.Destination)
		p := r.Destination
		if p.IsValid() {
			p = p.Masked()
		}
		twice := seen[p]
		seen[p] = true
		if !ok || !c.checkUnicast(at, field+".nexthop", r.NextHop) {
			continue
		}
		if r.NextHop.Is4() != p.Addr().Is4() || r.NextHop.Is4() != s.CIDR.Addr().Is4() {
			c.fault(at, field+".nexthop", Invalid,
				"nexthop %v is %s; destination, nexthop and subnet must be of one family", r.NextHop, family(r.NextHop))
		}
		if twice {
			c.fault(at, field+".destination", Invalid, "destination %v is there already", p)
		}
	}
}

// prefixLabel names one of several prefixes.
func prefixLabel(p netip.Prefix, i int) string {
	if p.IsValid() {
		return p.String()
	}
	return fmt.Sprintf("#%d", i+1)
}

// positive checks a duration that cannot be nothing.
func (c *checker) positive(w where, field, word string, d time.Duration) {
	if d <= 0 {
		c.fault(w, field, Invalid, "%s must be more than 0s, not %v", word, d)
	}
}
