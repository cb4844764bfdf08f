package neutron

import (
	"iter"
	"net/netip"

	"github.com/taprouter/taprouter/config"
)

var subnets = resource[*config.Subnet]{
	singular: "subnet", plural: "subnets", title: "Subnet",
	attributes: subnetAttributes,
	all:        func(s *config.State) iter.Seq[*config.Subnet] { return s.Subnets() },
	get: func(r reader, id config.ID) (*config.Subnet, bool) {
		s := r.Subnet(id)
		return s, s != nil
	},
	fresh:  func(m config.Meta) *config.Subnet { return &config.Subnet{Meta: m, DHCP: true} },
	copied: copied[config.Subnet],
	create: createSubnet,
	update: updateSubnet,
	remove: removeSubnet,
}

func subnetAttributes(project string) []attribute[*config.Subnet] {
	type subnet = *config.Subnet
	return append(common[subnet](project),
		named[subnet](),
		field("network_id", identifier, onCreate|required, "network", func(s subnet) *config.ID { return &s.Network }),
		attribute[subnet]{name: "ip_version", format: number, may: onCreate | required,
			get: func(_ reader, s subnet) any { return versionOf(s.CIDR.Addr()) },
			set: func(_ *edit, _ subnet, v any) error {
				if v != 4 && v != 6 {
					return invalid("ip_version", "%v is not in [4, 6].", v)
				}
				return nil
			}},
		attribute[subnet]{name: "cidr", format: prefix, may: onCreate | required, field: "cidr",
			get: func(_ reader, s subnet) any { return s.CIDR.String() },
			set: func(_ *edit, s subnet, v any) error {
				s.CIDR = v.(netip.Prefix).Masked() // as Neutron takes it
				return nil
			}},
		attribute[subnet]{name: "gateway_ip", format: address, may: always | mayBeNull, field: "gateway",
			get: func(_ reader, s subnet) any { return addressText(s.Gateway) },
			set: func(_ *edit, s subnet, v any) error {
				s.Gateway, _ = v.(netip.Addr)
				return nil
			}},
		attribute[subnet]{name: "allocation_pools", format: listOf[record](recordOf(part{"start", address},
			part{"end", address})), may: always | mayBeNull, field: "allocation_pools", get: poolsOf, set: setPools},
		field("enable_dhcp", flag, always, "dhcp", func(s subnet) *bool { return &s.DHCP }),
		attribute[subnet]{name: "dns_nameservers", format: listOf[netip.Addr](address), may: always,
			field:   "dns_nameservers",
			entries: func(s subnet) []string { return textsOf(s.DNSNameservers, netip.Addr.String) },
			get: func(_ reader, s subnet) any {
				list := []string{}
				for _, a := range s.DNSNameservers {
					list = append(list, a.String())
				}
				return list
			},
			set: func(_ *edit, s subnet, v any) error {
				s.DNSNameservers = orNone(v.([]netip.Addr))
				return nil
			}},
		attribute[subnet]{name: "host_routes", format: routeList, may: always, field: "host_routes",
			entries: func(s subnet) []string { return routeTexts(s.HostRoutes) },
			get:     func(_ reader, s subnet) any { return routesOf(s.HostRoutes) },
			set: func(_ *edit, s subnet, v any) (err error) {
				s.HostRoutes, err = readRoutes("host_routes", v.([]record))
				return err
			}},
		constant[subnet]("ipv6_ra_mode", text, nil),
		constant[subnet]("ipv6_address_mode", text, nil),
		constant[subnet]("subnetpool_id", identifier, nil),
		constant[subnet]("segment_id", identifier, nil),
		attribute[subnet]{name: "service_types", format: listOf[string](text), may: always | unserved,
			field: "service_types",
			get:   func(_ reader, s subnet) any { return append([]string{}, extraOf(s.Extra).ServiceTypes...) },
			set: func(_ *edit, s subnet, v any) error {
				changeExtra(&s.Extra, func(x *config.SubnetExtra) { x.ServiceTypes = orNone(v.([]string)) })
				return nil
			}},
		extraFlag("dns_publish_fixed_ip", func(s subnet) bool { return extraOf(s.Extra).DNSPublishFixedIP },
			func(s subnet, v bool) {
				changeExtra(&s.Extra, func(x *config.SubnetExtra) { x.DNSPublishFixedIP = v })
			}),
	)
}

// orNone is a list, or nil if it is empty, as a State has it.
func orNone[V any](list []V) []V {
	if len(list) == 0 {
		return nil
	}
	return list
}

func versionOf(a netip.Addr) int {
	if a.Is6() {
		return 6
	}
	return 4
}

// addressText is an address, or null if there is none.
func addressText(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}

func poolsOf(_ reader, s *config.Subnet) any {
	list := []any{}
	for _, p := range s.AllocationPools {
		list = append(list, map[string]any{"start": p.First.String(), "end": p.Last.String()})
	}
	return list
}

// setPools: an empty list is meant, so that a client can take the only pool out and then give another one. Null stands
// for the whole subnet.
func setPools(e *edit, s *config.Subnet, v any) error {
	s.AllocationPools = nil
	given, _ := v.([]record)
	for _, r := range given {
		first, err := has[netip.Addr](r, "start")
		if err != nil {
			return invalid("allocation_pools", "%v.", err)
		}
		last, err := has[netip.Addr](r, "end")
		if err != nil {
			return invalid("allocation_pools", "%v.", err)
		}
		s.AllocationPools = append(s.AllocationPools, config.AddressRange{First: first, Last: last})
	}
	was := extraOf(s.Extra).NoPools
	if v == nil && was { // both are shown as no pools
		if err := e.own(s, "allocation_pools"); err != nil {
			return err
		}
	}
	if none := v != nil && len(given) == 0; none || was {
		changeExtra(&s.Extra, func(x *config.SubnetExtra) { x.NoPools = none })
	}
	return nil
}

var routeList = listOf[record](recordOf(part{"destination", prefix}, part{"nexthop", address}))

func routesOf(routes []config.Route) any {
	list := []any{}
	for _, r := range routes {
		list = append(list, map[string]any{"destination": r.Destination.String(), "nexthop": r.NextHop.String()})
	}
	return list
}

func readRoutes(name string, list []record) ([]config.Route, error) {
	var routes []config.Route
	for _, r := range list {
		to, err := has[netip.Prefix](r, "destination")
		if err != nil {
			return nil, invalid(name, "%v.", err)
		}
		via, err := has[netip.Addr](r, "nexthop")
		if err != nil {
			return nil, invalid(name, "%v.", err)
		}
		routes = append(routes, config.Route{Destination: to, NextHop: via})
	}
	return routes, nil
}

func createSubnet(e *edit, s *config.Subnet, body map[string]any) error {
	if e.Network(s.Network) == nil {
		return notFound("Network", s.Network)
	}
	version, err := number.read(body["ip_version"])
	if err != nil || version != versionOf(s.CIDR.Addr()) {
		return failure(400, "InvalidInput", "Invalid input for operation: cidr %v does not match the ip_version '%v'.",
			s.CIDR, version)
	}
	if _, given := body["gateway_ip"]; !given {
		s.Gateway = config.FirstHost(s.CIDR)
	}
	e.Put(s)
	return nil
}

func updateSubnet(e *edit, was, s *config.Subnet, _ map[string]any) error {
	if was.Gateway != s.Gateway {
		p, ok := e.Owner(s.Network, was.Gateway).(*config.Port)
		if ok && p.DeviceOwner == config.OwnerInterface {
			return conflict("GatewayIpInUse", "Current gateway ip %v already in use by port %s. Unable to update.",
				was.Gateway, p.ID)
		}
	}
	e.Put(s)
	return nil
}

func removeSubnet(e *edit, s *config.Subnet) error {
	inUse := func(by string) error {
		return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP "+
			"allocation from this subnet: %s.", s.ID, by)
	}
	for p := range e.PortsIn(s.ID) {
		if p.DeviceOwner != config.OwnerDHCP { // the server's goes, or loses the address
			return inUse(string(p.ID))
		}
	}
	for o := range e.OwnersIn(s.Network, s.CIDR) {
		switch o := o.(type) {
		case *config.FloatingIP:
			return inUse(string(floatingPortID(o)))
		case *config.LoadBalancer:
			return inUse(string(balancerPortID(o)))
		case *config.Router: // one of its SNAT addresses
			return inUse(string(config.NameID(config.KindPort, "gateway", string(o.ID))))
		}
	}
	e.Delete(s.Ref())
	return nil
}
