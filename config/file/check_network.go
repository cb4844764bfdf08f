package file

import (
	"net/netip"
	"slices"
	"time"
)

// Limits and defaults of networks.
const (
	defaultMTU = 1500
	minMTU     = 576  // RFC 791: what every IPv4 host must accept
	minMTU6    = 1280 // RFC 8200, section 5
	maxMTU     = 9216 // jumbo frames, as switches mean the word
	maxVLAN    = 4094 // IEEE 802.1Q, table 9-2: 0 and 4095 are reserved

	defaultLease = 24 * time.Hour
	minLease     = time.Second // the unit of DHCP's option 51

	// defaultLabel exists without being declared.
	defaultLabel = "default"
)

// An attachment is a device as the kernel tells it from others.
type attachment struct{ name, netns, path string }

func attachmentOf(d Device) attachment {
	return attachment{name: d.Name, netns: d.Netns, path: d.Path}
}

// checkPhysicalNetworks checks the labels. One device behind two of them would
// put two networks that know nothing of each other on one wire.
func (c *checker) checkPhysicalNetworks() {
	names := map[string]owner{}
	devices := map[attachment]owner{}
	for i := range c.PhysicalNetworks {
		p := &c.PhysicalNetworks[i]
		s := c.root.item("physical_network", "physical network", p.Name, i, len(c.PhysicalNetworks), p.Line)
		if s.checkName(p.Name, names) {
			c.labels[p.Name] = p
		}
		for j, d := range p.Devices {
			key := indexKey("devices", j)
			if !s.checkDevice(key, d) {
				continue
			}
			if first, ok := devices[attachmentOf(d)]; ok && first != s.owner() {
				s.fault(key, "device %v already belongs to %v; a device carries one physical network, "+
					"and its networks differ by vlan", d, first)
			} else if ok {
				s.fault(key, "device %v is listed twice", d)
			} else {
				devices[attachmentOf(d)] = s.owner()
			}
		}
	}
	if c.labels[defaultLabel] == nil {
		c.labels[defaultLabel] = &PhysicalNetwork{Name: defaultLabel}
	}
}

func isRaw(d Device) bool { return d.Kind == DeviceRaw }

// deviceProblem says what is wrong with a device, nil if nothing is.
func deviceProblem(d Device) error {
	_, err := d.MarshalText()
	return err
}

func (s scope) checkDevice(key string, d Device) bool {
	err := deviceProblem(d)
	if err != nil {
		s.fault(key, "%v", err)
	}
	return err == nil
}

// checkNetworks checks every network and its subnets, and makes its segment.
func (c *checker) checkNetworks() {
	names := map[string]owner{}
	users := deviceUsers{}
	for i := range c.Networks {
		n := &c.Networks[i]
		s := c.root.item("network", "network", n.Name, i, len(c.Networks), n.Line)
		g := newSegment(n, s)
		c.order = append(c.order, g)
		if s.checkName(n.Name, names) {
			c.segments[n.Name] = g
		}
		if n.VLAN != 0 || s.given("vlan") {
			between(s, "vlan", n.VLAN, 1, maxVLAN)
		}
		fallback(s, "mtu", &n.MTU, defaultMTU)
		between(s, "mtu", n.MTU, minMTU, maxMTU)
		oneOf(s, "host", &n.Host, HostClosed, HostClosed, HostOpen)
		c.takeLabel(g)
		if n.Host == HostOpen && !slices.ContainsFunc(n.Devices, isRaw) {
			s.warn("host", "host = %q is about raw devices, and the network has none", n.Host)
		}
		users.check(g)
		g.checkSubnets()
	}
}

// maxLabelled bounds what networks have from labels, each network counted: each opens its own port on
// each device.
const maxLabelled = 1 << 18

// takeLabel gives a network the devices of its physical network.
func (c *checker) takeLabel(g *segment) {
	n, s := g.Network, g.at
	if n.PhysicalNetwork == "" && !s.given("physical_network") {
		return
	}
	label, ok := refer(s, "physical_network", "physical network", "physical_network", n.PhysicalNetwork, c.labels)
	if !ok {
		return
	}
	if c.labelled += len(label.Devices); c.labelled > maxLabelled {
		s.fault("physical_network", "the networks have more than %d devices from physical networks", maxLabelled)
		return
	}
	// Validated before, the network has the label's devices already.
	if len(n.Devices) > 0 && (s.r.first || !slices.Equal(n.Devices, label.Devices)) {
		s.fault("physical_network", "physical_network and devices exclude each other: "+
			"the devices are those of [[physical_network]] %q", label.Name)
		return
	}
	n.Devices = slices.Clone(label.Devices)
}

// deviceUsers holds the networks on each device.
type deviceUsers map[attachment]*deviceUse

// A deviceUse is what one device is used for. All users write the device alike and differ in vlan.
type deviceUse struct {
	first  deviceUser
	byVLAN map[int]deviceUser // the others
}

// A deviceUser is a network on a device.
type deviceUser struct {
	device Device
	vlan   int
	host   string
	owner
}

// check checks a network's devices: several networks may share one when their
// frames can be told apart.
func (users deviceUsers) check(g *segment) {
	seen := map[Device]bool{}
	for i, d := range g.Devices {
		key := indexKey("devices", i)
		if g.PhysicalNetwork != "" {
			key = "physical_network"
			if deviceProblem(d) != nil || seen[d] {
				continue // reported where the label is declared
			}
			seen[d] = true
		} else if !g.at.checkDevice(key, d) {
			continue
		}
		me := deviceUser{device: d, vlan: g.VLAN, host: g.Host, owner: g.at.owner()}
		if users.conflict(g.at, key, me) {
			continue
		}
		users.add(me)
	}
}

func (users deviceUsers) add(me deviceUser) {
	at := attachmentOf(me.device)
	switch use := users[at]; {
	case use == nil:
		users[at] = &deviceUse{first: me}
	case use.byVLAN == nil:
		use.byVLAN = map[int]deviceUser{me.vlan: me}
	default:
		use.byVLAN[me.vlan] = me
	}
}

// conflict reports a device that its other users leave no room on.
func (users deviceUsers) conflict(s scope, key string, me deviceUser) bool {
	use := users[attachmentOf(me.device)]
	if use == nil {
		return false
	}
	others := []deviceUser{use.first}
	if u, ok := use.byVLAN[me.vlan]; ok {
		others = append(others, u)
	}
	for _, u := range others {
		switch {
		case u.owner == me.owner:
			s.fault(key, "device %v is listed twice", me.device)
		case u.device != me.device:
			s.fault(key, "device %v is the one that %v opens as %v", me.device, u.owner, u.device)
		case u.vlan != me.vlan && isRaw(me.device) && u.host != me.host:
			s.fault("host", "device %v is %s to the host in %v, and %s here; write the same in both",
				me.device, u.host, u.owner, me.host)
		case u.vlan != me.vlan:
			continue
		case u.vlan == 0:
			s.fault(key, "device %v already carries %v without a tag; give one of them a vlan", me.device, u.owner)
		default:
			s.fault(key, "device %v already carries %v with vlan %d; give one of them another vlan", me.device, u.owner,
				u.vlan)
		}
		return true
	}
	return false
}

// checkSubnets checks a network's subnets.
func (g *segment) checkSubnets() {
	g.unsure = g.at.spoiled("subnet")
	g.shaky = g.unsure
	prefixes := make([]netip.Prefix, len(g.Subnets))
	for i := range g.Subnets {
		prefixes[i] = g.Subnets[i].CIDR
	}
	finder := newOverlapFinder(prefixes)
	for i := range g.Subnets {
		sub := &g.Subnets[i]
		s := g.at.item("subnet", "subnet", "", i, len(g.Subnets), sub.Line)
		before := s.r.found
		g.checkSubnet(s, i, finder)
		finder.add(i)
		if s.r.found > before || s.spoiledIn("") {
			g.shaky = true
		}
	}
	isIPv6 := func(sub Subnet) bool { return sub.CIDR.Addr().Is6() }
	if g.MTU < minMTU6 && g.MTU >= minMTU && slices.ContainsFunc(g.Subnets, isIPv6) {
		g.at.fault("mtu", "mtu %d is less than the %d that IPv6 needs", g.MTU, minMTU6)
	}
}

// checkSubnet checks one subnet; the earlier ones are valid as far as they go, and are in the finder.
func (g *segment) checkSubnet(s scope, i int, finder *overlapFinder) {
	sub := &g.Subnets[i]
	fallback(s, "lease_time", &sub.LeaseTime, defaultLease)
	if sub.LeaseTime < minLease {
		s.fault("lease_time", "lease_time must be at least %v, not %v", minLease, sub.LeaseTime)
	}
	if !s.checkPrefix("cidr", &sub.CIDR) {
		g.unsure = true
		return
	}
	for _, p := range notHosts {
		if p.Overlaps(sub.CIDR) {
			s.fault("cidr", "cidr %v overlaps %v, where no host can be", sub.CIDR, p)
			g.unsure = true
			return
		}
	}
	if why := neverForwarded(sub.CIDR); why != "" && !sub.CIDR.Addr().IsLinkLocalUnicast() {
		s.fault("cidr", "cidr %v %s", sub.CIDR, why)
	}
	for _, k := range finder.reported(s.r, i) {
		s.fault("cidr", "cidr %v overlaps %v of the same network", sub.CIDR, g.Subnets[k].CIDR)
	}
	g.checkGateway(s, sub)
	g.checkPools(s, sub)
	s.checkServers(sub)
}

// checkGateway checks a subnet's gateway and fills it in.
func (g *segment) checkGateway(s scope, sub *Subnet) {
	switch {
	case s.spoiled("gateway"):
		return
	case sub.NoGateway && sub.Gateway.IsValid():
		s.fault("gateway", "gateway %v is set, yet so is NoGateway", sub.Gateway)
	case sub.NoGateway && sub.DHCP:
		s.fault("dhcp", "dhcp needs a gateway: its address is the one that answers")
	case !sub.Gateway.IsValid() && !sub.NoGateway:
		sub.Gateway = firstHost(sub.CIDR)
	}
	if sub.Gateway.IsValid() && s.checkHostIn("gateway", sub.Gateway, sub.CIDR) {
		g.gateways[sub.Gateway] = true
	}
}

// checkPools checks a subnet's allocation pools and fills them in.
func (g *segment) checkPools(s scope, sub *Subnet) {
	const key = "allocation_pools"
	if len(sub.AllocationPools) == 0 {
		if s.given(key) {
			s.fault(key, "%s is empty; leave it out for the whole subnet", key)
		} else if !s.spoiled(key) {
			sub.AllocationPools = poolsWithout(sub.CIDR, sub.Gateway)
		}
		return
	}
	good := newRangeFinder(sub.AllocationPools)
	for i, pool := range sub.AllocationPools {
		if at := indexKey(key, i); !s.spoiled(at) && s.checkPool(at, pool, sub, good) {
			good.add(i)
		}
	}
}

// checkPool checks one pool. It may hold the gateway, which is never given out.
func (s scope) checkPool(key string, pool AddressRange, sub *Subnet, earlier *rangeFinder) bool {
	for _, a := range []netip.Addr{pool.First, pool.Last} {
		if why := hostProblem(a, sub.CIDR); why != "" {
			s.fault(key, "allocation pool %v: %v %s", pool, a, why)
			return false
		}
	}
	switch {
	case pool.Last.Less(pool.First):
		s.fault(key, "allocation pool %v is reversed; write %v", pool, AddressRange{First: pool.Last, Last: pool.First})
		return false
	case pool.First == pool.Last && pool.First == sub.Gateway:
		s.fault(key, "allocation pool %v holds nothing but the gateway", pool)
		return false
	}
	other, ok := earlier.overlap(pool)
	if ok {
		s.fault(key, "allocation pool %v overlaps %v", pool, other)
	}
	return !ok
}

// checkServers checks what DHCP hands out besides addresses.
func (s scope) checkServers(sub *Subnet) {
	for i, a := range sub.DNSNameservers {
		key := indexKey("dns_nameservers", i)
		if !s.spoiled(key) && (a.Is4In6() || a.Zone() != "" || !isUnicast(a)) {
			s.fault(key, "dns_nameservers: %v cannot be the address of a host", a)
		}
	}
	seen := map[netip.Prefix]bool{}
	for i := range sub.HostRoutes {
		r := &sub.HostRoutes[i]
		at := s.item("host_routes", "host route", prefixText(r.Destination), i, len(sub.HostRoutes), r.Line)
		ok := at.checkPrefix("destination", &r.Destination)
		twice := seen[r.Destination]
		seen[r.Destination] = true
		if !ok || !at.checkUnicast("nexthop", r.NextHop) {
			continue
		}
		if r.NextHop.Is4() != r.Destination.Addr().Is4() || r.NextHop.Is4() != sub.CIDR.Addr().Is4() {
			at.fault("nexthop", "nexthop %v is %s; destination, nexthop and subnet must be of one family", r.NextHop,
				family(r.NextHop))
		}
		if twice {
			at.fault("destination", "destination %v is there already", r.Destination)
		}
	}
}

// prefixOf is a host's address with the length of the prefix that it is in.
func prefixOf(a netip.Addr, in netip.Prefix) netip.Prefix { return netip.PrefixFrom(a, in.Bits()) }

// prefixText and addrText are the ids of what is known by its address.
func prefixText(p netip.Prefix) string {
	if p.IsValid() {
		return p.String()
	}
	return ""
}

func addrText(a netip.Addr) string {
	if a.IsValid() {
		return a.String()
	}
	return ""
}
