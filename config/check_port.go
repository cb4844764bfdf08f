package config

import (
	"encoding/json"
	"net/netip"
)

// checkPort checks a port of a router or of a host.
func (c *checker) checkPort(p *Port) {
	w := at(p)
	if p.MAC.isGroup() {
		c.fault(w, "mac", Invalid, "mac %v is a group's, not a host's: the first byte is odd", p.MAC)
	}
	c.checkMACOf(w, p)
	c.checkPairs(w, p)
	c.checkPortDevice(w, p)
	c.checkPortGroups(w, p)
	c.checkProfile(w, p)
	c.checkDHCPOptions(w, p)
	c.checkInstanceData(w, p)
	switch p.DeviceOwner {
	case OwnerInterface:
		c.checkInterface(p)
	case OwnerGateway:
		c.checkGatewayPort(p)
	default:
		c.checkHostPort(w, p)
	}
}

// MaxProfile is the length of the longest binding profile, in bytes, as in Neutron.
const MaxProfile = 4095

// checkProfile checks that a binding profile is a JSON object: clients get it as such.
func (c *checker) checkProfile(w where, p *Port) {
	if p.Extra == nil || p.Extra.Profile == "" {
		return
	}
	const field = "binding_profile"
	var object map[string]any
	switch err := json.Unmarshal([]byte(p.Extra.Profile), &object); {
	case len(p.Extra.Profile) > MaxProfile:
		c.fault(w, field, Invalid, "binding_profile has %d bytes; it may have %d", len(p.Extra.Profile), MaxProfile)
	case err != nil:
		c.fault(w, field, Invalid, `binding_profile must be a JSON object, such as {"key": "value"}: %v`, err)
	case object == nil:
		c.fault(w, field, Invalid, `binding_profile must be a JSON object, such as {"key": "value"}, not null`)
	}
}

// checkHostPort checks the addresses of a host's port. There may be none.
func (c *checker) checkHostPort(w where, p *Port) {
	n, ok := refer[*Network](c, w, "network", KindNetwork, p.Network)
	if !ok {
		return
	}
	word := "fixed_ip"
	if p.isInstance() {
		word = "address"
	}
	seen := map[netip.Addr]bool{}
	for i, f := range p.FixedIPs {
		if !f.Address.IsValid() {
			continue // that none could be chosen has been said
		}
		field := indexed("fixed_ips", i)
		if seen[f.Address] {
			c.fault(w, field, Invalid, "%s %v is there already", word, f.Address)
			continue
		}
		seen[f.Address] = true
		if _, ok := c.checkFixedIP(w, field, word, n, f); ok {
			c.checkAddress(w, field, n.ID, f.Address)
		}
	}
}

// checkMACOf checks that no other host on the network has a port's MAC address, and that a router has one there.
func (c *checker) checkMACOf(w where, p *Port) {
	if p.MAC.IsZero() {
		return
	}
	first := c.first(claim{what: claimMAC, scope: string(p.Network), num: p.MAC.number()})
	if first != p.ID && c.group(first) != c.group(p.ID) {
		c.fault(w, "mac", Taken, "mac %v is already that of %s", p.MAC, c.owner(c.find(first)))
	}
	if !p.isRouters() {
		return
	}
	if first := c.first(claim{what: claimRouterPort, scope: p.DeviceID + string(p.Network)}); first != p.ID {
		if other := c.Port(first); other.MAC != p.MAC {
			c.fault(w, "mac", Invalid, "mac %v is another than the %v that the router has on the network", p.MAC,
				other.MAC)
		}
	}
}

// checkPairs checks the addresses a port may use besides its own.
func (c *checker) checkPairs(w where, p *Port) {
	for i, pair := range p.AllowedAddressPairs {
		field := indexed("allowed_address_pairs", i)
		at := w.in("allowed address pair "+prefixLabel(pair.IP, i), Source{})
		c.checkPrefix(at, field+".ip", "ip", pair.IP)
		if pair.MAC.isGroup() {
			c.fault(at, field+".mac", Invalid, "mac %v is a group's, not a host's: the first byte is odd", pair.MAC)
		}
	}
}

// checkPortDevice checks that the device of a port is one of the network's.
func (c *checker) checkPortDevice(w where, p *Port) {
	n := c.Network(p.Network)
	if p.Device == "" || n == nil {
		return
	}
	known, ok := c.devices[n.ID]
	if !ok {
		known = map[string]bool{}
		for _, d := range c.DevicesOf(n.ID) {
			known[d.String()] = true
			keep(&c.badDevice, n.ID, c.badDevice[n.ID] || d.check() != nil)
		}
		keep(&c.devices, n.ID, known)
	}
	if known[p.Device] || c.badDevice[n.ID] || c.Unsure != nil && c.Unsure(n.Ref()) {
		return // a device that is wrong may be the one that is meant
	}
	var words []string
	if c.mayCompare(p.Device, known) {
		for _, d := range c.DevicesOf(n.ID) {
			words = append(words, d.String())
		}
	}
	text := UnknownWord("device", p.Device, words)
	if text[len(text)-1] != '?' {
		text += "."
	}
	c.fault(w, "device", Unknown, "%s It must be one of the devices of network %s", text, c.networkName(n.ID))
}

// checkFloatingIP checks a floating IP's address and what it maps.
func (c *checker) checkFloatingIP(f *FloatingIP) {
	w := at(f)
	n, ok := c.externalNetwork(w, "network", f.Network, "a floating IP")
	if f.FixedIP.IsValid() && c.count(forwardingOf, f.ID) > 0 {
		c.fault(w, "port_forwarding", Invalid,
			"fixed_ip and port_forwarding exclude each other: all of the address is mapped, or some ports are")
	}
	if ok && f.Address.IsValid() {
		c.checkServiceAddress(w, n, f.Address)
	}
}

// checkServiceAddress checks the address of a floating IP or of a load balancer.
func (c *checker) checkServiceAddress(w where, n *Network, a netip.Addr) {
	if _, ok := c.checkHost(w, "address", "address", n, a); !ok || !c.checkForwarded(w, "address", "address", a) {
		return
	}
	if c.isGateway(n.ID, a) {
		c.fault(w, "address", Taken, "address %v is the gateway of its subnet", a)
		return
	}
	c.checkAddress(w, "address", n.ID, a)
}

// checkForwarding checks one forwarded port. TCP and UDP have the same port numbers independently.
func (c *checker) checkForwarding(p *PortForwarding) {
	w := at(p)
	oneOf(c, w, "protocol", p.Protocol, protocols)
	c.require(w, "external_port", p.ExternalPort != 0)
	c.require(w, "port", p.Port != 0)
	c.require(w, "fixed_ip", p.FixedIP.IsValid())
	if _, ok := refer[*FloatingIP](c, w, "floating_ip", KindFloatingIP, p.FloatingIP); !ok || p.ExternalPort == 0 {
		return
	}
	first := c.first(claim{what: claimForward, scope: string(p.FloatingIP), num: endpoint(p.Protocol, p.ExternalPort)})
	if first != p.ID {
		c.fault(w, "external_port", Taken, "%s port %d is already taken by %s", p.Protocol, p.ExternalPort,
			c.owner(c.find(first)))
	}
}

// checkFloatingRouter checks the router of a floating IP, and sees to it that a fixed address has one floating
// IP only.
func (c *checker) checkFloatingRouter(f *FloatingIP) {
	w := at(f)
	n := c.Network(f.Network)
	if n == nil || !n.External || f.FixedIP.IsValid() && c.count(forwardingOf, f.ID) > 0 {
		if f.Router != "" {
			refer[*Router](c, w, "router", KindRouter, f.Router)
		}
		return
	}
	targets := c.targets(f, true)
	if len(targets) == 0 {
		if f.Router != "" {
			c.checkRouterIs(w, f.Router, func() string { return c.gatewayOnText(f.Network) }, func(r *Router) bool {
				return r.Gateway != nil && r.Gateway.Network == f.Network
			})
		}
		return
	}
	if f.Router == "" {
		field := "port_forwarding"
		if len(targets) == 1 {
			w, field = targets[0].at, targets[0].field
		}
		c.noRouter(w, field, c.wanted(f, targets), c.leading(f.Network, targets), false)
		return
	}
	r := c.checkRouterIs(w, f.Router, func() string { return c.wanted(f, targets) }, func(r *Router) bool {
		return c.leads(r, f.Network, targets)
	})
	if r == nil {
		return
	}
	c.checkTargets(r, targets)
	if !f.FixedIP.IsValid() {
		return
	}
	if first := c.first(claim{what: claimFixed, scope: string(f.Router), addr: f.FixedIP}); first != f.ID {
		c.fault(w, "fixed_ip", Taken, "fixed_ip %v already has %s", f.FixedIP, c.owner(c.find(first)))
	}
}

// checkTargets checks that targets are hosts, and not the router itself.
func (c *checker) checkTargets(r *Router, targets []target) {
	for _, t := range targets {
		l, ok := c.tenantLink(r, t.ip)
		switch {
		case !ok:
		case t.ip == l.address:
			c.fault(t.at, t.field, Invalid, "fixed_ip %v is the router's own address on network %s", t.ip,
				c.networkName(l.network))
		default:
			if why := HostProblem(t.ip, l.prefix); why != "" {
				c.fault(t.at, t.field, Invalid, "fixed_ip %v %s", t.ip, why)
				continue
			}
			c.checkForwarded(t.at, t.field, "fixed_ip", t.ip)
		}
	}
}
