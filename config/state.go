package config

import (
	"iter"
	"net/netip"
	"slices"
)

// A State is one consistent set of objects. It never changes, and any number of goroutines may use it. A caller
// may not change the objects that it returns: versions of a State share them.
//
// The lists are in the order of the objects' positions: an object that was put earlier comes first.
type State struct {
	content
	version uint64
	history history
}

// A history says how a State came from the ones before it, so that Diff need not look at all objects.
type history struct {
	self  *mark
	steps []step // the last ones, the oldest first
}

// A mark stands for a State without keeping it in memory.
type mark struct{ _ byte }

// A step is the way from one State to the next one.
type step struct {
	from    *mark
	touched []Ref
}

// Bounds of what a State remembers of the States before it.
const (
	maxSteps   = 16
	maxTouched = 4096
)

// Empty returns a State without objects.
func Empty() *State {
	return &State{content: emptyContent(), history: history{self: new(mark)}}
}

// Version is 0 for the State that Empty returns. The State that Draft.Check returns has a Version one higher than the
// State that was edited.
func (s *State) Version() uint64 { return s.version }

// Edit returns a Draft with the content of the State.
func (s *State) Edit() *Draft {
	return &Draft{content: s.fork(), base: s, edits: map[ID]*edit{}}
}

// next makes the State that comes after s.
func (s *State) next(c content, touched []Ref) *State {
	steps := append(slices.Clone(s.history.steps), step{s.history.self, touched})
	total := 0
	for i := len(steps) - 1; i >= 0; i-- {
		if total += len(steps[i].touched); total > maxTouched || len(steps)-i > maxSteps {
			steps = steps[i+1:]
			break
		}
	}
	if 2*len(touched) >= c.objects.Len() {
		c.quicken()
	}
	return &State{content: c, version: s.version + 1, history: history{self: new(mark), steps: steps}}
}

// Get finds an object.
func (c *content) Get(r Ref) (Object, bool) {
	o := c.find(r.ID)
	if o == nil || o.Ref().Kind != r.Kind {
		return nil, false
	}
	return o, true
}

// All gives all objects, kind by kind.
func (c *content) All() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for k := range NumKinds {
			for o := range c.Of(k) {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Of gives all objects of a kind.
func (c *content) Of(k Kind) iter.Seq[Object] { return each[Object](c, ofKind+how(k), "") }

// Count says how many objects of a kind there are.
func (c *content) Count(k Kind) int { return c.count(ofKind+how(k), "") }

// AddressGroup finds an address group, nil if there is none.
func (c *content) AddressGroup(id ID) *AddressGroup { return lookup[*AddressGroup](c, id) }

// SecurityGroup finds a security group, nil if there is none.
func (c *content) SecurityGroup(id ID) *SecurityGroup { return lookup[*SecurityGroup](c, id) }

// SecurityGroupRule finds a rule of a security group, nil if there is none.
func (c *content) SecurityGroupRule(id ID) *SecurityGroupRule {
	return lookup[*SecurityGroupRule](c, id)
}

// Quota is the one quota, nil if there is none.
func (c *content) Quota() *Quota { return lookup[*Quota](c, QuotaID) }

// AddressGroups gives all address groups.
func (c *content) AddressGroups() iter.Seq[*AddressGroup] {
	return all[*AddressGroup](c, KindAddressGroup)
}

// SecurityGroups gives all security groups.
func (c *content) SecurityGroups() iter.Seq[*SecurityGroup] {
	return all[*SecurityGroup](c, KindSecurityGroup)
}

// SecurityGroupRules gives the rules of all security groups.
func (c *content) SecurityGroupRules() iter.Seq[*SecurityGroupRule] {
	return all[*SecurityGroupRule](c, KindSecurityGroupRule)
}

// RulesOf gives the rules of a security group.
func (c *content) RulesOf(group ID) iter.Seq[*SecurityGroupRule] {
	return each[*SecurityGroupRule](c, ruleOf, group)
}

// RuleLike finds another rule of the same group that says the same, nil if there is none. The rule is as a State has
// it.
func (c *content) RuleLike(r *SecurityGroupRule) *SecurityGroupRule {
	for id := range c.claimants(ruleClaim(r)) {
		if id != r.ID {
			return c.SecurityGroupRule(id)
		}
	}
	return nil
}

// RulesFrom gives the rules that have a security group as their remote.
func (c *content) RulesFrom(group ID) iter.Seq[*SecurityGroupRule] {
	return each[*SecurityGroupRule](c, ruleFrom, group)
}

// RulesFromAddresses gives the rules that have an address group as their remote.
func (c *content) RulesFromAddresses(group ID) iter.Seq[*SecurityGroupRule] {
	return each[*SecurityGroupRule](c, ruleFromAddresses, group)
}

// PortsInGroup gives the ports that are in a security group.
func (c *content) PortsInGroup(group ID) iter.Seq[*Port] { return each[*Port](c, portInGroup, group) }

// LoadBalancersInGroup gives the load balancers whose addresses are in a security group.
func (c *content) LoadBalancersInGroup(group ID) iter.Seq[*LoadBalancer] {
	return each[*LoadBalancer](c, balancerInGroup, group)
}

// LoadBalancerAt finds the load balancer that a user has made a port for, nil if there is none.
func (c *content) LoadBalancerAt(port ID) *LoadBalancer {
	for b := range each[*LoadBalancer](c, balancerAtPort, port) {
		return b
	}
	return nil
}

// ForwardingsTo gives the port forwardings of a router that end at an address.
func (c *content) ForwardingsTo(router ID, fixed netip.Addr) iter.Seq[*PortForwarding] {
	return func(yield func(*PortForwarding) bool) {
		for id := range c.claimants(claim{what: claimInner, scope: string(router), addr: fixed}) {
			if p := c.PortForwarding(id); p != nil && !yield(p) {
				return
			}
		}
	}
}

// Settings returns the settings: the defaults if none have been put.
func (c *content) Settings() *Settings {
	if s := lookup[*Settings](c, SettingsID); s != nil {
		return s
	}
	return DefaultSettings()
}

// PhysicalNetwork finds a physical network, nil if there is none. The one called default is there also when
// it has not been put; it has no devices then.
func (c *content) PhysicalNetwork(id ID) *PhysicalNetwork {
	p := lookup[*PhysicalNetwork](c, id)
	if p == nil && id == defaultLabel.ID {
		return defaultLabel
	}
	return p
}

// defaultLabel exists without being declared.
var defaultLabel = &PhysicalNetwork{Meta: Meta{ID: NameID(KindPhysicalNetwork, "default"), Name: "default"}}

// Network finds a network, nil if there is none.
func (c *content) Network(id ID) *Network { return lookup[*Network](c, id) }

// Subnet finds a subnet, nil if there is none.
func (c *content) Subnet(id ID) *Subnet { return lookup[*Subnet](c, id) }

// Router finds a router, nil if there is none.
func (c *content) Router(id ID) *Router { return lookup[*Router](c, id) }

// Port finds a port, nil if there is none.
func (c *content) Port(id ID) *Port { return lookup[*Port](c, id) }

// FloatingIP finds a floating IP, nil if there is none.
func (c *content) FloatingIP(id ID) *FloatingIP { return lookup[*FloatingIP](c, id) }

// PortForwarding finds a port forwarding, nil if there is none.
func (c *content) PortForwarding(id ID) *PortForwarding { return lookup[*PortForwarding](c, id) }

// Pool finds a pool, nil if there is none.
func (c *content) Pool(id ID) *Pool { return lookup[*Pool](c, id) }

// Monitor finds a monitor, nil if there is none.
func (c *content) Monitor(id ID) *Monitor { return lookup[*Monitor](c, id) }

// Member finds a member, nil if there is none.
func (c *content) Member(id ID) *Member { return lookup[*Member](c, id) }

// LoadBalancer finds a load balancer, nil if there is none.
func (c *content) LoadBalancer(id ID) *LoadBalancer { return lookup[*LoadBalancer](c, id) }

// Listener finds a listener, nil if there is none.
func (c *content) Listener(id ID) *Listener { return lookup[*Listener](c, id) }

// PhysicalNetworks gives all physical networks that have been put.
func (c *content) PhysicalNetworks() iter.Seq[*PhysicalNetwork] {
	return all[*PhysicalNetwork](c, KindPhysicalNetwork)
}

// Networks gives all networks.
func (c *content) Networks() iter.Seq[*Network] { return all[*Network](c, KindNetwork) }

// Subnets gives all subnets.
func (c *content) Subnets() iter.Seq[*Subnet] { return all[*Subnet](c, KindSubnet) }

// Routers gives all routers.
func (c *content) Routers() iter.Seq[*Router] { return all[*Router](c, KindRouter) }

// Ports gives all ports.
func (c *content) Ports() iter.Seq[*Port] { return all[*Port](c, KindPort) }

// FloatingIPs gives all floating IPs.
func (c *content) FloatingIPs() iter.Seq[*FloatingIP] { return all[*FloatingIP](c, KindFloatingIP) }

// PortForwardings gives all port forwardings.
func (c *content) PortForwardings() iter.Seq[*PortForwarding] {
	return all[*PortForwarding](c, KindPortForwarding)
}

// Pools gives all pools.
func (c *content) Pools() iter.Seq[*Pool] { return all[*Pool](c, KindPool) }

// Monitors gives all monitors.
func (c *content) Monitors() iter.Seq[*Monitor] { return all[*Monitor](c, KindMonitor) }

// Members gives all members.
func (c *content) Members() iter.Seq[*Member] { return all[*Member](c, KindMember) }

// LoadBalancers gives all load balancers.
func (c *content) LoadBalancers() iter.Seq[*LoadBalancer] {
	return all[*LoadBalancer](c, KindLoadBalancer)
}

// Listeners gives all listeners.
func (c *content) Listeners() iter.Seq[*Listener] { return all[*Listener](c, KindListener) }

func all[T Object](c *content, k Kind) iter.Seq[T] { return each[T](c, ofKind+how(k), "") }

// NetworksOf gives the networks that have a physical network's devices.
func (c *content) NetworksOf(physical ID) iter.Seq[*Network] {
	return each[*Network](c, networkOf, physical)
}

// DevicesOf lists a network's devices: its own, or the devices of its physical network.
func (c *content) DevicesOf(network ID) []Device {
	n := c.Network(network)
	if n == nil {
		return nil
	}
	if p := c.PhysicalNetwork(n.PhysicalNetwork); p != nil {
		return p.Devices
	}
	return n.Devices
}

// SubnetsOf gives a network's subnets.
func (c *content) SubnetsOf(network ID) iter.Seq[*Subnet] { return each[*Subnet](c, subnetOf, network) }

// SubnetAt finds the subnet of a network that an address is in, nil if there is none.
func (c *content) SubnetAt(network ID, a netip.Addr) *Subnet {
	var first *Subnet
	for n := range c.around(claimPrefix, network, a) {
		if s := c.firstSubnet(n); first == nil || before(s, first) {
			first = s
		}
	}
	return first
}

// firstSubnet finds the first subnet that claims a prefix.
func (c *content) firstSubnet(n claim) *Subnet {
	var first *Subnet
	for id := range c.claimants(n) {
		if s := c.Subnet(id); first == nil || before(s, first) {
			first = s
		}
	}
	return first
}

// before says whether an object comes before another one of its kind.
func before(a, b Object) bool {
	x, y := a.About(), b.About()
	if x.Position != y.Position {
		return x.Position < y.Position
	}
	return x.ID < y.ID
}

// PortsOf gives a network's ports.
func (c *content) PortsOf(network ID) iter.Seq[*Port] { return each[*Port](c, portOn, network) }

// PortsIn gives the ports that have an address of a subnet.
func (c *content) PortsIn(subnet ID) iter.Seq[*Port] { return each[*Port](c, portIn, subnet) }

// PortsOfDevice gives the ports with a DeviceID.
func (c *content) PortsOfDevice(device string) iter.Seq[*Port] {
	return each[*Port](c, portOfDevice, ID(device))
}

// PortAt finds the first port of a network that is tied to a device, and whose MAC address may be any, nil if there is
// none. device is as Device.String writes it.
func (c *content) PortAt(network ID, device string) *Port {
	for p := range each[*Port](c, portAtDevice, network+ID(device)) {
		return p
	}
	return nil
}

// InterfacesOf gives a router's ports on tenant networks.
func (c *content) InterfacesOf(router ID) iter.Seq[*Port] { return each[*Port](c, interfaceOf, router) }

// InterfacesOn gives the ports that routers have on a tenant network.
func (c *content) InterfacesOn(network ID) iter.Seq[*Port] {
	return each[*Port](c, interfaceOn, network)
}

// InterfacesIn gives the interfaces of routers that have an address in a subnet.
func (c *content) InterfacesIn(subnet ID) iter.Seq[*Port] { return each[*Port](c, interfaceIn, subnet) }

// GatewayPort finds the port that a router has on its external network, nil if there is none.
func (c *content) GatewayPort(router ID) *Port {
	for p := range each[*Port](c, gatewayPortOf, router) {
		return p
	}
	return nil
}

// RoutersOn lists the routers with an interface or their gateway on a network.
func (c *content) RoutersOn(network ID) []*Router {
	var list []*Router
	for p := range c.InterfacesOn(network) {
		if r := c.Router(ID(p.DeviceID)); r != nil {
			list = append(list, r)
		}
	}
	for r := range c.GatewaysOn(network) {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *Router) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return slices.Compact(list)
}

// IsOn says whether a router has an interface or its gateway on a network, as RoutersOn does.
func (c *content) IsOn(router, network ID) bool {
	r := c.Router(router)
	if r == nil || r.Gateway != nil && r.Gateway.Network == network {
		return r != nil
	}
	for id := range c.claimants(claim{what: claimRouterPort, scope: string(router) + string(network)}) {
		p := c.Port(id)
		if p.DeviceOwner == OwnerInterface && p.DeviceID == string(router) && p.Network == network {
			return true
		}
	}
	return false
}

// GatewaysOn gives the routers with their gateway on a network.
func (c *content) GatewaysOn(network ID) iter.Seq[*Router] {
	return each[*Router](c, gatewayOn, network)
}

// FloatingIPsOn gives the floating IPs of an external network.
func (c *content) FloatingIPsOn(network ID) iter.Seq[*FloatingIP] {
	return each[*FloatingIP](c, floatingOn, network)
}

// FloatingIPsOf gives a router's floating IPs.
func (c *content) FloatingIPsOf(router ID) iter.Seq[*FloatingIP] {
	return each[*FloatingIP](c, floatingOf, router)
}

// FloatingIPTo finds the floating IP that a router maps to a fixed address, nil if there is none.
func (c *content) FloatingIPTo(router ID, fixed netip.Addr) *FloatingIP {
	return c.FloatingIP(c.claimant(claim{what: claimFixed, scope: string(router), addr: fixed}))
}

// ForwardingsOf gives a floating IP's forwarded ports.
func (c *content) ForwardingsOf(floatingIP ID) iter.Seq[*PortForwarding] {
	return each[*PortForwarding](c, forwardingOf, floatingIP)
}

// MembersOf gives a pool's members.
func (c *content) MembersOf(pool ID) iter.Seq[*Member] { return each[*Member](c, memberOf, pool) }

// MonitorOf finds a pool's monitor, nil if there is none.
func (c *content) MonitorOf(pool ID) *Monitor {
	for m := range each[*Monitor](c, monitorOf, pool) {
		return m
	}
	return nil
}

// PoolsOf gives the pools that were made for a load balancer.
func (c *content) PoolsOf(balancer ID) iter.Seq[*Pool] { return each[*Pool](c, poolOf, balancer) }

// ListenersOf gives a load balancer's listeners.
func (c *content) ListenersOf(balancer ID) iter.Seq[*Listener] {
	return each[*Listener](c, listenerOf, balancer)
}

// ListenersUsing gives the listeners that a pool serves.
func (c *content) ListenersUsing(pool ID) iter.Seq[*Listener] {
	return each[*Listener](c, listenerUsing, pool)
}

// LoadBalancersOf gives the load balancers that a router serves.
func (c *content) LoadBalancersOf(router ID) iter.Seq[*LoadBalancer] {
	return each[*LoadBalancer](c, balancerOf, router)
}

// LoadBalancersOn gives the load balancers with their address on a network.
func (c *content) LoadBalancersOn(network ID) iter.Seq[*LoadBalancer] {
	return each[*LoadBalancer](c, balancerOn, network)
}

// Owner finds the object that has an address on a network: a Port, a FloatingIP, a LoadBalancer, or
// a Router for one of its SNAT addresses. It is nil if no object has it. A load balancer goes before the port that was
// made for it.
func (c *content) Owner(network ID, a netip.Addr) Object {
	o := c.find(c.claimant(claim{what: claimAddress, scope: string(network), addr: a}))
	if p, ok := o.(*Port); ok {
		if b := c.LoadBalancerAt(p.ID); b != nil && b.Address == a {
			return b
		}
	}
	return o
}

// OwnersIn gives the objects that have an address of a prefix on a network, by address: Ports, FloatingIPs,
// LoadBalancers, and Routers for their SNAT addresses. An object comes once for each of its addresses there.
func (c *content) OwnersIn(network ID, p netip.Prefix) iter.Seq[Object] {
	return c.having(claimAddress, network, p)
}

// EndingIn gives the floating IPs and the port forwardings of a router that lead to an address of a prefix, by address.
// Floating IPs come first.
func (c *content) EndingIn(router ID, p netip.Prefix) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for _, what := range []claimed{claimFixed, claimInner} {
			for o := range c.having(what, router, p) {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Addresses gives the addresses that an object has, each with its network.
func (c *content) Addresses(o Object) iter.Seq2[ID, netip.Addr] {
	return func(yield func(ID, netip.Addr) bool) {
		var buffer [maxClaims]claim
		for _, n := range c.appendClaims(buffer[:0], o) {
			if n.what == claimAddress && !yield(ID(n.scope), n.addr) {
				return
			}
		}
	}
}

// CountAddresses counts the addresses from first to last on a network that objects have.
func (c *content) CountAddresses(network ID, first, last netip.Addr) (count int) {
	before := netip.Addr{}
	c.claims[claimAddress].Ascend(claim{what: claimAddress, scope: string(network), addr: first}, func(n claim) bool {
		if n.what != claimAddress || n.scope != string(network) || last.Less(n.addr) {
			return false
		}
		if n.addr != before {
			count++
		}
		before = n.addr
		return true
	})
	return count
}

// MACOwner finds the first port that has a MAC address on a network, nil if there is none.
func (c *content) MACOwner(network ID, m MAC) *Port {
	return c.Port(c.claimant(claim{what: claimMAC, scope: string(network), num: m.number()}))
}

// MACs gives the MAC addresses of a network's ports, each once, from the lowest up.
func (c *content) MACs(network ID) iter.Seq[MAC] {
	return func(yield func(MAC) bool) {
		last := uint64(0)
		c.claims[claimMAC].Ascend(claim{what: claimMAC, scope: string(network)}, func(n claim) bool {
			if n.what != claimMAC || n.scope != string(network) {
				return false
			}
			if n.num == last {
				return true
			}
			last = n.num
			var m MAC
			for i := range m {
				m[i] = byte(n.num >> (40 - 8*i))
			}
			return yield(m)
		})
	}
}
