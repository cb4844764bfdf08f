package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
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
	for i, svc := range h.Serve {
		key := indexKey("serve", i)
		switch {
		case s.spoiled(key):
		case !slices.Contains(kinds, svc.Kind):
			s.fault(key, "%s", unknownOf("service", svc.Kind, kinds))
		case svc.Port == 0:
			s.fault(key, "service %v has no port", svc)
		case slices.ContainsFunc(h.Serve[:i], func(other Service) bool { return other.Port == svc.Port }):
			s.fault(key, "port %d is served already", svc.Port)
		}
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
		s.fault("do", "%s", unknownOf("verb", verb, hostVerbs))
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
