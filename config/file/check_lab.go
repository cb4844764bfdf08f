package file

import (
	"fmt"
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

// checkInstances checks a lab's hosts and claims the addresses that are given,
// by the instance itself or by its port.
func (c *checker) checkInstances() {
	names := map[string]owner{}
	for i := range c.Instances {
		h := &c.Instances[i]
		s := c.instanceScope(i)
		if s.checkName(h.Name, names) {
			c.hosts[h.Name] = true
		}
		s.checkMAC(h.MAC)
		s.checkServices(h)
		g, ok := c.network(s, h.Network)
		if !ok {
			continue
		}
		port := c.ports[portKey{h.Network, h.Name}]
		if port != nil && port.FixedIP.IsValid() {
			fallback(s, "address", &h.Address, port.FixedIP)
			fallback(s, "mac", &h.MAC, port.MAC)
		}
		if port == nil || port.MAC != h.MAC {
			g.claimMAC(s, h.MAC, s.owner())
		}
		if !h.Address.IsValid() || port != nil && port.FixedIP == h.Address {
			continue // claimed by the port, or still to be chosen
		}
		if _, ok := g.checkHost(s, "address", h.Address); ok {
			g.claim(s, "address", h.Address, s.owner())
		}
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

// chooseInstances gives instances the addresses that are not given, and fills
// in what follows from an address.
func (c *checker) chooseInstances() {
	for i := range c.Instances {
		h := &c.Instances[i]
		s := c.instanceScope(i)
		g, ok := c.segments[h.Network]
		if !ok || s.spoiled("address") {
			continue
		}
		if !h.Address.IsValid() {
			h.Address, _ = g.choose(s, "address", netip.Addr{}, s.owner())
		}
		if sub := g.subnetOf(h.Address); sub != nil {
			h.Prefix = netip.PrefixFrom(h.Address, sub.CIDR.Bits())
			s.checkInstanceGateway(h, sub)
		}
	}
}

// checkInstanceGateway checks an instance's next hop. One that plays the
// gateway of its subnet has none.
func (s scope) checkInstanceGateway(h *Instance, sub *Subnet) {
	switch {
	case s.spoiled("gateway"):
	case !h.Gateway.IsValid():
		if sub.Gateway != h.Address {
			h.Gateway = sub.Gateway
		}
	case h.Gateway == h.Address:
		s.fault("gateway", "gateway %v is the instance itself", h.Gateway)
	default:
		s.checkHostIn("gateway", h.Gateway, sub.CIDR)
	}
}

// warnNoGateway warns of a router that serves networks only, where the topology has
// an external network: hosts behind the router have no way out. A default route is
// a way, and so is another router on one of its networks, which has a gateway.
func (c *checker) warnNoGateway() {
	i := slices.IndexFunc(c.Networks, func(n Network) bool { return n.External })
	if i < 0 {
		return
	}
	beside := c.besideGateways()
	for _, d := range c.domains {
		isDefault := func(r Route) bool { return r.Destination.IsValid() && r.Destination.Bits() == 0 }
		if d.Gateway != nil || d.at.spoiledIn("gateway") || slices.ContainsFunc(d.Routes, isDefault) ||
			slices.ContainsFunc(d.Interfaces, func(i RouterInterface) bool { return beside[i.Network] }) {
			continue
		}
		name := c.Networks[i].Name
		d.at.warn("gateway", "no gateway, though network %q is external: nothing behind the router reaches it; "+
			"write gateway = { network = %q }", name, name)
	}
}

// besideGateways are the networks that have a router with a gateway.
func (c *checker) besideGateways() map[string]bool {
	networks := map[string]bool{}
	for _, d := range c.domains {
		for i := range d.Interfaces {
			if d.Gateway != nil {
				networks[d.Interfaces[i].Network] = true
			}
		}
	}
	return networks
}

// warnInstanceGateways warns of an instance whose next hop the topology does not know.
// The gateway of an external subnet is a machine outside, and a network without a
// router needs none: the instance speaks to its neighbors there.
func (c *checker) warnInstanceGateways() {
	addresses := c.routerAddresses()
	for i := range c.Instances {
		h := &c.Instances[i]
		s := c.instanceScope(i)
		g, ok := c.segments[h.Network]
		if !ok || g.unsure || !h.Gateway.IsValid() || s.spoiled("gateway") {
			continue
		}
		if _, owned := g.owners[h.Gateway]; owned {
			continue
		}
		routers := addresses[g.Name]
		sub := g.subnetOf(h.Address)
		if sub != nil && h.Gateway == sub.Gateway && (g.External || len(routers) == 0) {
			continue
		}
		text := fmt.Sprintf("gateway %v is no address on network %q: what the instance sends elsewhere is lost",
			h.Gateway, g.Name)
		if len(routers) > 0 {
			text += "; a router there has " + listed(routers, netip.Addr.String)
		}
		s.warn("gateway", "%s", text)
	}
}

// routerAddresses lists the addresses that routers have, by network.
func (c *checker) routerAddresses() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, d := range c.domains {
		for i := range d.Interfaces {
			iface := &d.Interfaces[i]
			for _, p := range iface.Addresses {
				all[iface.Network] = append(all[iface.Network], p.Addr())
			}
		}
		if gw := d.Gateway; gw != nil && gw.Address.IsValid() {
			all[gw.Network] = append(all[gw.Network], gw.Address)
		}
	}
	return all
}

// warnMembers warns, in a lab, of a pool none of whose members is an instance: nothing
// answers there. A floating IP or another VIP stands for an instance elsewhere. A
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

// The first words of what a step can do: on an instance, and without one. The
// rest of the latter are the command line's verbs, which the lab knows.
var (
	hostVerbs = []string{"ping", "curl", "browse", "connect", "send", "traceroute", "start", "stop", waitVerb}
	waitVerb  = "wait"
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
		c.network(at, p.Network)
		if p.Protocol != "" || at.given("protocol") {
			oneOf(at, "protocol", &p.Protocol, "", TCP, UDP, ICMP)
		}
		if p.Src.IsValid() && p.Dst.IsValid() && p.Src.Is4() != p.Dst.Is4() {
			at.fault("dst", "dst %v is %s, src %v is %s", p.Dst, family(p.Dst), p.Src, family(p.Src))
		}
		if p.Protocol == ICMP && (p.SrcPort != 0 || p.DstPort != 0) {
			at.fault("protocol", "ICMP has no ports")
		}
	}
}
