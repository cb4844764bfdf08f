package file

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

// defaultWithin is the time a step has.
const defaultWithin = 5 * time.Second

// Services an instance may offer.
const (
	serviceHTTP = "http"
	serviceEcho = "echo"
)

// checkInstances checks a lab's hosts, apart from their addresses.
func (c *checker) checkInstances() {
	names := map[string]owner{}
	for i := range c.Instances {
		h := &c.Instances[i]
		s := c.instanceScope(i)
		if c.checkName(s, h.Name, "", names) {
			c.hosts[h.Name] = true
		}
		s.checkServices(h)
		c.network(s, h.Network)
		if h.DHCP {
			c.checkClient(s, h)
		}
	}
}

// checkClient checks a host that has its address by DHCP, and gives it a MAC address, by which the server knows it.
func (c *checker) checkClient(s scope, h *Instance) {
	if s.given("gateway") {
		s.fault("gateway", "gateway: with dhcp the server says it; take the key out, or write dhcp = false")
	}
	port := c.ports[portKey{h.Network, h.Name}]
	switch {
	case port == nil && h.MAC.IsZero():
		h.MAC = config.NamedMAC(h.Name, h.Network)
	case port != nil && port.MAC.IsZero():
		s.fault("dhcp", "dhcp needs the MAC address of port %q: write mac = %q there", port.Name,
			config.NamedMAC(h.Name, h.Network))
	}
}

func (c *checker) instanceScope(i int) scope {
	return c.root.item("instance", "instance", c.Instances[i].Name, i, len(c.Instances), c.Instances[i].Line)
}

// checkServices: one port has one service, for an echo answers on TCP as well.
func (s scope) checkServices(h *Instance) {
	kinds := []string{serviceHTTP, serviceEcho}
	served := map[uint16]bool{}
	for i, svc := range h.Serve {
		key := indexKey("serve", i)
		switch {
		case s.spoiled(key):
		case !slices.Contains(kinds, svc.Kind):
			s.fault(key, "%s", config.UnknownOf("service", svc.Kind, kinds))
		case svc.Port == 0:
			s.fault(key, "service %v has no port", svc)
		case served[svc.Port]:
			s.fault(key, "port %d is served already", svc.Port)
		}
		served[svc.Port] = true
	}
}

// A content is what a State and a Draft have in common.
type content interface {
	Port(config.ID) *config.Port
	SubnetAt(config.ID, netip.Addr) *config.Subnet
	SubnetsOf(config.ID) iter.Seq[*config.Subnet]
	Owner(config.ID, netip.Addr) config.Object
	MACOwner(config.ID, config.MAC) *config.Port
}

// checkPlaces checks where instances are, and their next hops.
func (c *checker) checkPlaces(s content, ds *declarations) {
	for i := range c.Instances {
		h := c.Instances[i] // a copy, to be filled in
		n := c.networks[h.Network]
		if n == nil {
			continue
		}
		at, port := c.instanceScope(i), c.ports[portKey{h.Network, h.Name}]
		if port != nil {
			h.fill(s, s.Port(port.ID), n.ID)
			c.checkBeside(at, s, ds, &h, port, n)
		} else {
			h.fill(s, s.Port(h.ID), n.ID)
		}
		if sub := s.SubnetAt(n.ID, h.Address); sub != nil && h.Gateway.IsValid() && !at.spoiled("gateway") {
			if h.Gateway == h.Address {
				at.fault("gateway", "gateway %v is the instance itself", h.Gateway)
			} else {
				at.checkHostIn("gateway", h.Gateway, sub.CIDR)
			}
		}
	}
}

// checkBeside checks an instance that has another address, or another MAC address, than its port.
func (c *checker) checkBeside(at scope, s content, ds *declarations, h *Instance, port *Port, n *Network) {
	if h.MAC != port.MAC {
		at.checkMAC(h.MAC)
		if o := s.MACOwner(n.ID, h.MAC); o != nil && !h.MAC.IsZero() {
			at.fault("mac", "mac %v is already that of %v", h.MAC, ds.called(o))
		}
	}
	if h.Address == port.FixedIP || !h.Address.IsValid() {
		return
	}
	sub := s.SubnetAt(n.ID, h.Address)
	switch {
	case sub == nil && c.unsure[n.Name]:
	case sub == nil && len(n.Subnets) == 0:
		at.fault("address", "address %v outside network %q, which has no subnet", h.Address, n.Name)
	case sub == nil:
		at.fault("address", "address %v outside %s", h.Address,
			listed(n.Subnets, func(sub Subnet) string { return sub.CIDR.String() }))
	default:
		at.checkHostIn("address", h.Address, sub.CIDR)
		if o := s.Owner(n.ID, h.Address); o != nil {
			at.fault("address", "%v is already the address of %v", h.Address, ds.called(o))
		}
	}
}

// checkMAC checks an address set by hand; the parser lets no other kind in.
func (s scope) checkMAC(m MAC) {
	if m[0]&1 != 0 {
		s.fault("mac", "mac %v is a group's, not a host's: the first byte is odd", m)
	}
}

// called is what messages call the owner of something.
func (ds *declarations) called(o config.Object) owner {
	if p, ok := o.(*config.Port); ok && (p.DeviceOwner == config.OwnerInterface ||
		p.DeviceOwner == config.OwnerGateway) {
		if t := ds.by[config.Ref{Kind: config.KindRouter, ID: config.ID(p.DeviceID)}]; t != nil {
			return t.at.owner()
		}
	}
	if t := ds.by[o.Ref()]; t != nil {
		return t.at.owner()
	}
	return owner{what: fmt.Sprintf("%v %q", o.Ref().Kind, o.About().Name)}
}

// checkHostIn checks that an address is a host's in the prefix.
func (s scope) checkHostIn(key string, a netip.Addr, p netip.Prefix) {
	if why := config.HostProblem(a, p); why != "" {
		s.fault(key, "%s %v %s", key, a, why)
	}
}

// warnInstanceGateways warns of an instance whose next hop the topology does not know.
// The gateway of an external subnet is a machine outside, and a network without a
// router needs none: the instance speaks to its neighbors there.
func (c *checker) warnInstanceGateways(s *config.State) {
	for i := range c.Instances {
		h := &c.Instances[i]
		n := c.networks[h.Network]
		if !h.Gateway.IsValid() || s.Owner(n.ID, h.Gateway) != nil {
			continue
		}
		routers := routerAddresses(s, n.ID)
		sub := s.SubnetAt(n.ID, h.Address)
		if sub != nil && h.Gateway == sub.Gateway && (n.External || len(routers) == 0) {
			continue
		}
		text := fmt.Sprintf("gateway %v is no address on network %q: what the instance sends elsewhere is lost",
			h.Gateway, n.Name)
		if len(routers) > 0 {
			text += "; a router there has " + listed(routers, netip.Addr.String)
		}
		c.instanceScope(i).warn("gateway", "%s", text)
	}
}

// routerAddresses lists the first addresses that routers have on a network.
func routerAddresses(s *config.State, network config.ID) []netip.Addr {
	var all []netip.Addr
	for p := range s.InterfacesOn(network) {
		for _, f := range p.FixedIPs {
			all = append(all, f.Address)
		}
		if len(all) > maxListed {
			return all
		}
	}
	for r := range s.GatewaysOn(network) {
		for _, f := range s.GatewayPort(r.ID).FixedIPs {
			all = append(all, f.Address)
		}
		if len(all) > maxListed {
			break
		}
	}
	return all
}

// warnMembers warns, in a lab, of a pool none of whose members is an instance: nothing
// answers there. A member that is a floating IP or another VIP counts as an instance, which is behind it. A
// topology is a lab if it has steps, or instances that serve something.
func (c *checker) warnMembers() {
	serves := func(h Instance) bool { return len(h.Serve) > 0 }
	if len(c.Instances) == 0 || c.root.spoiled("instance") ||
		len(c.Steps) == 0 && !slices.ContainsFunc(c.Instances, serves) {
		return
	}
	known := map[netip.Addr]bool{}
	for i := range c.Instances {
		known[c.Instances[i].Address] = true
	}
	for i := range c.FloatingIPs {
		known[c.FloatingIPs[i].Address] = true
	}
	for i := range c.VIPs {
		known[c.VIPs[i].Address] = true
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		s := c.root.item("pool", "pool", p.Name, i, len(c.Pools), p.Line)
		var members []string
		for k := range p.Members {
			members = append(members, p.Members[k].Address.String())
		}
		isKnown := func(m Member) bool { return known[m.Address] }
		if len(members) > 0 && !s.spoiledIn("member") && !slices.ContainsFunc(p.Members, isKnown) {
			s.warn("member", "none of its members is an instance (%s): in a lab, nothing answers there",
				strings.Join(members, ", "))
		}
	}
}

// The first words of commands that a step can have on an instance. Without an instance a step can have wait, or a
// command of the router, which the lab knows.
var (
	hostVerbs = []string{"ping", "curl", "browse", "connect", "send", "traceroute", "start", "stop", "dhcp", "dig",
		"arping", "ip", "nc", "echo", waitVerb}
	waitVerb = "wait"
)

// checkSteps checks a lab's steps.
func (c *checker) checkSteps() {
	for i := range c.Steps {
		st := &c.Steps[i]
		s := c.root.item("step", "step", st.Title, i, len(c.Steps), st.Line)
		if st.On != "" || s.given("on") {
			refer(s, "on", "instance", "instance", st.On, c.hosts)
		}
		s.checkVerb(st)
		fallback(s, "times", &st.Times, 1)
		if st.Times < 1 {
			s.fault("times", "times must be at least 1, not %d", st.Times)
		}
		fallback(s, "within", &st.Within, defaultWithin)
		s.positive("within", st.Within)
		s.checkExpect(st)
		c.checkPatterns(s, "sees", st.Sees)
		c.checkPatterns(s, "never", st.Never)
	}
}

// checkVerb checks the first word of what a step does.
func (s scope) checkVerb(st *Step) {
	words := strings.Fields(st.Do)
	if !s.require("do", len(words) > 0) || s.spoiled("on") {
		return
	}
	verb := words[0]
	switch known := slices.Contains(hostVerbs, verb); {
	case st.On != "" && !known:
		s.fault("do", "%s", config.UnknownOf("verb", verb, hostVerbs))
	case st.On == "" && known && verb != waitVerb:
		s.fault("do", "%s needs an instance to run on; write on = NAME", verb)
	}
}

// checkExpect: one text for all times, or one for each.
func (s scope) checkExpect(st *Step) {
	if n := len(st.Expect); n > 1 && n != st.Times && st.Times >= 1 {
		s.fault("expect", "expect has %d texts for %d times; give one for all or one for each", n, st.Times)
	}
	for i, text := range st.Expect {
		if text == "" {
			key := "expect"
			if s.given(indexKey(key, i)) {
				key = indexKey(key, i)
			}
			s.fault(key, "expect is empty, which every output holds")
		}
	}
}

// checkPatterns checks the packets that a step looks for.
func (c *checker) checkPatterns(s scope, key string, patterns []PacketPattern) {
	for i := range patterns {
		p := &patterns[i]
		at := s.item(key, key, "", i, len(patterns), p.Line)
		switch {
		case p.Device == "" && !at.given("device"):
			c.network(at, p.Network)
			if p.VLAN != 0 || at.given("vlan") {
				at.fault("vlan", "vlan: packets of a network have no tags; name a device instead of the network")
			}
		case p.Network != "" || at.given("network"):
			at.fault("device", "it is network or device, not both")
		case (p.VLAN != 0 || at.given("vlan")) && (p.VLAN < 1 || p.VLAN > config.MaxVLAN):
			at.fault("vlan", "vlan %d is not from 1 to %d", p.VLAN, config.MaxVLAN)
		}
		if p.Protocol != "" || at.given("protocol") {
			p.Protocol = Protocol(strings.ToUpper(string(p.Protocol)))
			if known := []string{string(TCP), string(UDP), string(ICMP)}; !slices.Contains(known, string(p.Protocol)) {
				at.fault("protocol", "%s", config.UnknownOf("protocol", string(p.Protocol), known))
			}
		}
		if p.Src.IsValid() && p.Dst.IsValid() && p.Src.Is4() != p.Dst.Is4() {
			at.fault("dst", "dst %v is %s, src %v is %s", p.Dst, family(p.Dst), p.Src, family(p.Src))
		}
		if p.Protocol == ICMP && (p.SrcPort != 0 || p.DstPort != 0) {
			at.fault("protocol", "ICMP has no ports")
		}
	}
}
