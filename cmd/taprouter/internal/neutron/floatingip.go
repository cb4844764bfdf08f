package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

var floatingIPs = resource[*config.FloatingIP]{
	singular: "floatingip", plural: "floatingips", title: "Floating IP",
	attributes: floatingAttributes,
	all:        func(s *config.State) iter.Seq[*config.FloatingIP] { return s.FloatingIPs() },
	get: func(r reader, id config.ID) (*config.FloatingIP, bool) {
		f := r.FloatingIP(id)
		return f, f != nil
	},
	fresh:  func(m config.Meta) *config.FloatingIP { return &config.FloatingIP{Meta: m} },
	copied: copied[config.FloatingIP],
	create: createFloatingIP,
	update: updateFloatingIP,
	remove: func(e *edit, f *config.FloatingIP) error {
		e.Delete(f.Ref())
		return nil
	},
}

func floatingAttributes(project string) []attribute[*config.FloatingIP] {
	type floating = *config.FloatingIP
	return append(common[floating](project),
		field("floating_network_id", identifier, onCreate|required, "network",
			func(f floating) *config.ID { return &f.Network }),
		attribute[floating]{name: "floating_ip_address", format: address, may: onCreate, field: "address",
			get: func(_ reader, f floating) any { return addressText(f.Address) },
			set: func(_ *edit, f floating, v any) error {
				f.Address = v.(netip.Addr)
				return nil
			}},
		attribute[floating]{name: "subnet_id", format: identifier, may: onCreate | hidden, set: noSet[floating]},
		// Where a floating IP leads is written by associate, which looks at both attributes.
		attribute[floating]{name: "port_id", format: identifier, may: always | mayBeNull, get: func(r reader,
			f floating) any {
			if p := portOf(r, f); p != nil {
				return string(p.ID)
			}
			return nil
		}, set: noSet[floating]},
		attribute[floating]{name: "fixed_ip_address", format: address, may: always | mayBeNull,
			get: func(_ reader, f floating) any { return addressText(f.FixedIP) }, set: noSet[floating]},
		shown("router_id", identifier, func(_ reader, f floating) any { return orNull(f.Router) }),
		shown("status", text, func(_ reader, f floating) any {
			if f.FixedIP.IsValid() {
				return "ACTIVE"
			}
			return "DOWN"
		}),
		shown("port_details", anything, portDetails),
		shown("port_forwardings", anything, func(r reader, f floating) any {
			list := []any{}
			for p := range r.ForwardingsOf(f.ID) {
				list = append(list, map[string]any{"id": string(p.ID), "protocol": strings.ToLower(string(p.Protocol)),
					"external_port": int(p.ExternalPort), "internal_ip_address": p.FixedIP.String(),
					"internal_port": int(p.Port), "internal_port_id": forwardedPort(r, p)})
			}
			return list
		}),
		extraText("dns_name", onCreate|unserved, func(f floating) string { return extraOf(f.Extra).DNSName },
			func(f floating, v string) { changeExtra(&f.Extra, func(x *config.FloatingIPExtra) { x.DNSName = v }) }),
		extraText("dns_domain", onCreate|unserved, func(f floating) string { return extraOf(f.Extra).DNSDomain },
			func(f floating, v string) { changeExtra(&f.Extra, func(x *config.FloatingIPExtra) { x.DNSDomain = v }) }),
		constant[floating]("qos_policy_id", identifier, nil),
		shown("qos_network_policy_id", identifier, func(reader, floating) any { return nil }),
	)
}

// portOf finds the port that a floating IP leads to, nil if there is none.
func portOf(r reader, f *config.FloatingIP) *config.Port {
	if !f.FixedIP.IsValid() {
		return nil
	}
	for i := range r.InterfacesOf(f.Router) {
		if s := r.SubnetAt(i.Network, f.FixedIP); s == nil || !slices.ContainsFunc(i.FixedIPs,
			func(x config.FixedIP) bool { return x.Subnet == s.ID }) {
			continue
		}
		switch o := r.Owner(i.Network, f.FixedIP).(type) {
		case *config.Port:
			return o
		case *config.LoadBalancer:
			return balancerPort(r, o)
		}
	}
	return nil
}

func portDetails(r reader, f *config.FloatingIP) any {
	p := portOf(r, f)
	if p == nil {
		return nil
	}
	return map[string]any{"name": p.Name, "network_id": string(p.Network), "mac_address": p.MAC.String(),
		"admin_state_up": p.AdminStateUp, "status": portStatus(p), "device_id": p.DeviceID,
		"device_owner": p.DeviceOwner}
}

func createFloatingIP(e *edit, f *config.FloatingIP, body map[string]any) error {
	n := e.Network(f.Network)
	switch {
	case n == nil:
		return notFound("Network", f.Network)
	case !n.External:
		return badRequest("Bad floatingip request: Network %s is not a valid external network.", f.Network)
	}
	if body["subnet_id"] != nil {
		id, err := identifier.read(body["subnet_id"])
		if err != nil {
			return invalid("subnet_id", "%v.", err)
		}
		if err := takeFrom(e, f, id.(config.ID)); err != nil {
			return err
		}
	}
	if body["port_id"] != nil || body["fixed_ip_address"] != nil {
		if err := associate(e, f, body); err != nil {
			return err
		}
	}
	e.Put(f)
	return nil
}

// takeFrom gives a floating IP an address of one subnet of its network, unless it has named one.
func takeFrom(e *edit, f *config.FloatingIP, id config.ID) error {
	s := e.Subnet(id)
	switch {
	case s == nil:
		return notFound("Subnet", id)
	case s.Network != f.Network:
		return badRequest("Bad floatingip request: subnet %s is not one of network %s.", id, f.Network)
	case f.Address.IsValid() && !s.CIDR.Contains(f.Address):
		return failure(http.StatusBadRequest, "InvalidIpForSubnet",
			"IP address %v is not a valid IP for the specified subnet.", f.Address)
	case f.Address.IsValid():
		return nil
	}
	a, err := freeIn(e, s)
	f.Address = a
	return err
}

// freeIn finds the first free address of a subnet's pools.
func freeIn(e *edit, s *config.Subnet) (netip.Addr, error) {
	if a, ok := e.FreeAddress(s.ID); ok {
		return a, nil
	}
	return netip.Addr{}, conflict("IpAddressGenerationFailure", "No more IP addresses available on subnet %s.", s.ID)
}

func updateFloatingIP(e *edit, was, f *config.FloatingIP, body map[string]any) error {
	port, given := body["port_id"]
	_, fixed := body["fixed_ip_address"]
	if !given && !fixed {
		e.Put(f)
		return nil
	}
	if given && port == nil {
		if v := body["fixed_ip_address"]; v != nil {
			return badRequest("Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
		}
		f.FixedIP, f.Router = netip.Addr{}, ""
	} else if err := associate(e, f, body); err != nil {
		return err
	}
	if was.FixedIP != f.FixedIP || was.Router != f.Router {
		if err := e.own(was, "fixed_ip"); err != nil {
			return err
		}
	}
	e.Put(f)
	return nil
}

// disassociate takes a floating IP away from the address that it leads to.
func disassociate(e *edit, f *config.FloatingIP) {
	f = copied(f)
	f.FixedIP, f.Router = netip.Addr{}, ""
	e.Put(f)
}

// associate has a floating IP lead to the port and address of a body. A floating IP that has a port keeps that, if the
// body names only the address.
func associate(e *edit, f *config.FloatingIP, body map[string]any) error {
	p, err := portFor(e, f, body["port_id"])
	if err != nil {
		return err
	}
	for x := range e.ForwardingsOf(f.ID) {
		return conflict("FipInUseByPortForwarding", "Floating IP %s in use by port forwarding resources: %s.", f.ID,
			x.ID)
	}
	fixed, err := fixedIPFor(p, body["fixed_ip_address"])
	if err != nil {
		return err
	}
	leading := leadingTo(e, p.Network, fixed.Subnet, f.Network)
	if len(leading) == 0 {
		return unreachable(f, p, fixed.Subnet)
	}
	for _, r := range leading {
		if other := e.FloatingIPTo(r.ID, fixed.Address); other != nil && other.ID != f.ID {
			return conflict("FloatingIPPortAlreadyAssociated",
				"Cannot associate floating IP %v (%s) with port %s using fixed IP %v, as that fixed IP already has a "+
					"floating IP on external network %s.", f.Address, f.ID, p.ID, fixed.Address, f.Network)
		}
	}
	f.FixedIP, f.Router = fixed.Address, chooseRouter(e, leading, f, fixed.Subnet)
	return nil
}

// leadingTo lists the routers that lead from a network outside to a subnet.
func leadingTo(e *edit, network, subnet, outside config.ID) []*config.Router {
	return slices.DeleteFunc(routersIn(e, network, subnet), func(r *config.Router) bool {
		return r.Gateway == nil || r.Gateway.Network != outside
	})
}

func unreachable(f *config.FloatingIP, p *config.Port, subnet config.ID) error {
	return failure(http.StatusNotFound, "ExternalGatewayForFloatingIPNotFound",
		"External network %s is not reachable from subnet %s. Therefore, cannot associate Port %s with a Floating IP.",
		f.Network, subnet, p.ID)
}

// chooseRouter prefers the router that a floating IP has, then the one that is the subnet's gateway, to the first.
func chooseRouter(e *edit, leading []*config.Router, f *config.FloatingIP, subnet config.ID) config.ID {
	s := e.Subnet(subnet)
	best := leading[0].ID
	for _, r := range leading {
		if r.ID == f.Router {
			return r.ID
		}
		for p := range e.InterfacesOf(r.ID) {
			if slices.Contains(p.FixedIPs, config.FixedIP{Subnet: subnet, Address: s.Gateway}) {
				best = r.ID
			}
		}
	}
	return best
}

// portFor finds the port that a floating IP is to lead to.
func portFor(e *edit, f *config.FloatingIP, given any) (*config.Port, error) {
	if given == nil {
		if p := portOf(e, f); p != nil {
			return p, nil
		}
		return nil, badRequest("Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
	}
	id, err := identifier.read(given)
	if err != nil {
		return nil, invalid("port_id", "%v.", err)
	}
	if p := e.Port(id.(config.ID)); p != nil {
		return p, nil
	}
	if b := balancerOfPort(e, id.(config.ID)); b != nil {
		return balancerPort(e, b), nil
	}
	return nil, notFound("Port", id.(config.ID))
}

// fixedIPFor finds the address of a port that a floating IP is to lead to. It may be left out if the port has one IPv4
// address.
func fixedIPFor(p *config.Port, given any) (config.FixedIP, error) {
	var none config.FixedIP
	if given == nil {
		var list []config.FixedIP
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				list = append(list, f)
			}
		}
		switch len(list) {
		case 0:
			return none, badRequest("Bad floatingip request: Cannot add floating IP to port %s that has no fixed IPv4 "+
				"addresses.", p.ID)
		case 1:
			return list[0], nil
		}
		return none, badRequest("Bad floatingip request: Port %s has multiple fixed IPv4 addresses. Must provide a "+
			"specific IPv4 address when assigning a floating IP.", p.ID)
	}
	v, err := address.read(given)
	if err != nil {
		return none, invalid("fixed_ip_address", "%v.", err)
	}
	i := slices.IndexFunc(p.FixedIPs, func(f config.FixedIP) bool { return f.Address == v })
	if i < 0 {
		return none, badRequest("Bad floatingip request: Port %s does not have fixed ip %v.", p.ID, v)
	}
	return p.FixedIPs[i], nil
}
