package neutron

import (
	"fmt"
	"iter"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// The types of networks. A network that no physical network carries is local:
// it has nothing but the TAP that was made for it.
const (
	flat  = "flat"
	vlan  = "vlan"
	local = "local"
)

var networks = resource[*config.Network]{
	singular: "network", plural: "networks", title: "Network",
	attributes: networkAttributes,
	all:        func(s *config.State) iter.Seq[*config.Network] { return s.Networks() },
	get: func(r reader, id config.ID) (*config.Network, bool) {
		n := r.Network(id)
		return n, n != nil
	},
	fresh: func(m config.Meta) *config.Network {
		return &config.Network{Meta: m, AdminStateUp: true, MTU: config.DefaultMTU, PortSecurity: true}
	},
	copied: copied[config.Network],
	create: createNetwork,
	update: updateNetwork,
	remove: removeNetwork,
}

func copied[V any](o *V) *V {
	v := *o
	return &v
}

func networkAttributes(project string) []attribute[*config.Network] {
	type network = *config.Network
	list := append(common[network](project),
		named[network](),
		field("admin_state_up", flag, always, "admin_state_up", func(n network) *bool { return &n.AdminStateUp }),
		shown("status", text, func(_ reader, n network) any { return "ACTIVE" }),
		extraFlag("shared", func(n network) bool { return extraOf(n.Extra).Shared },
			func(n network, v bool) { changeExtra(&n.Extra, func(x *config.NetworkExtra) { x.Shared = v }) }),
		attribute[network]{name: "mtu", format: number, may: always, field: "mtu",
			get: func(_ reader, n network) any { return n.MTU },
			set: func(_ *edit, n network, v any) error {
				n.MTU = v.(int)
				if n.MTU < config.MinMTU || n.MTU > config.MaxMTU {
					return invalid("mtu", "%d is not from %d to %d.", n.MTU, config.MinMTU, config.MaxMTU)
				}
				return nil
			}},
		shown("subnets", listOf[config.ID](identifier), func(r reader, n network) any {
			ids := []string{}
			for s := range r.SubnetsOf(n.ID) {
				ids = append(ids, string(s.ID))
			}
			return ids
		}),
		field("router:external", flag, always, "external", func(n network) *bool { return &n.External }),
		extraFlag("is_default", func(n network) bool { return extraOf(n.Extra).Default },
			func(n network, v bool) { changeExtra(&n.Extra, func(x *config.NetworkExtra) { x.Default = v }) }),
		field("port_security_enabled", flag, always, "port_security",
			func(n network) *bool { return &n.PortSecurity }),
		constant[network]("qos_policy_id", identifier, nil),
		extraText("dns_domain", always, func(n network) string { return extraOf(n.Extra).DNSDomain },
			func(n network, v string) { changeExtra(&n.Extra, func(x *config.NetworkExtra) { x.DNSDomain = v }) }),
		constant[network]("vlan_transparent", flag, nil),
		constant[network]("ipv4_address_scope", identifier, nil),
		constant[network]("ipv6_address_scope", identifier, nil),
	)
	list = append(list, providerAttributes()...)
	return append(list, zones(func(n network) []string { return extraOf(n.Extra).ZoneHints },
		func(n network, v []string) { changeExtra(&n.Extra, func(x *config.NetworkExtra) { x.ZoneHints = v }) })...)
}

// providerAttributes say what carries a network. A file names devices or a physical network.
func providerAttributes() []attribute[*config.Network] {
	type network = *config.Network
	return []attribute[network]{
		// The body's words are checked against each other when all are known: see provide.
		{name: "provider:network_type", format: text, may: onCreate,
			get: func(_ reader, n network) any { return networkType(n) }, set: noSet[network]},
		{name: "provider:physical_network", format: text, may: onCreate,
			get: func(r reader, n network) any {
				if p := r.PhysicalNetwork(n.PhysicalNetwork); p != nil {
					return p.Name
				}
				return nil
			}, set: noSet[network]},
		{name: "provider:segmentation_id", format: number, may: onCreate,
			get: func(_ reader, n network) any {
				if n.VLAN == 0 {
					return nil
				}
				return n.VLAN
			}, set: noSet[network]},
		{name: "segments", format: segmentList, may: onCreate | hidden, set: noSet[network]},
	}
}

func noSet[T config.Object](*edit, T, any) error { return nil }

func networkType(n *config.Network) string {
	switch {
	case n.VLAN != 0:
		return vlan
	case n.PhysicalNetwork != "", len(n.Devices) > 0 && !slices.Equal(n.Devices, []config.Device{TAP(n.ID)}):
		return flat
	}
	return local
}

// zones are the attributes of availability zones. There is one zone.
func zones[T config.Object](hints func(o T) []string, hint func(o T, v []string)) []attribute[T] {
	return []attribute[T]{
		{name: "availability_zone_hints", format: listOf[string](text), may: onCreate, field: "availability_zone_hints",
			get: func(_ reader, o T) any { return append([]string{}, hints(o)...) },
			set: func(_ *edit, o T, v any) error {
				for _, name := range v.([]string) {
					if name != zone {
						return failure(404, "AvailabilityZoneNotFound", "AvailabilityZone %s could not be found.", name)
					}
				}
				hint(o, orNone(v.([]string)))
				return nil
			}},
		shown("availability_zones", listOf[string](text), func(reader, T) any { return []string{zone} }),
	}
}

const zone = "nova"

// providerParts are what a network may say of what carries it.
var providerParts = []part{{"provider:network_type", text}, {"provider:physical_network", text},
	{"provider:segmentation_id", number}}

// segmentList is how Terraform writes the same.
var segmentList = listOf[record](recordOf(providerParts...))

func createNetwork(e *edit, n *config.Network, body map[string]any) error {
	carrier, err := carrierOf(body)
	if err != nil {
		return err
	}
	if err := provide(e, n, carrier); err != nil {
		return err
	}
	switch {
	case n.PhysicalNetwork == "" && e.request.api.opt.TAPs:
		n.Devices = []config.Device{TAP(n.ID)}
	case n.PhysicalNetwork != "" && len(e.PhysicalNetwork(n.PhysicalNetwork).Devices) == 0:
		e.request.keeps("provider:physical_network") // nothing carries the network until a file gives it devices
	}
	e.Put(n)
	return nil
}

// TAP is the device of a network that the API makes and that no physical network carries. It is named as Neutron names
// TAPs.
func TAP(network config.ID) config.Device {
	const most = 11 // characters of an id
	return config.Device{Kind: config.DeviceTAP, Name: "tap" + string(network[:min(most, len(network))])}
}

// carrierOf reads what carries a network: three attributes, or a list of one segment.
func carrierOf(body map[string]any) (record, error) {
	own := map[string]any{}
	for _, p := range providerParts {
		if v := body[p.name]; v != nil {
			own[p.name] = v
		}
	}
	if v := body["segments"]; v != nil {
		segments, err := segmentList.read(v)
		if err != nil {
			return nil, invalid("segments", "%v.", err)
		}
		switch list := segments.([]record); {
		case len(own) > 0 && len(list) > 0:
			return nil, badRequest("Invalid input for operation: Segments and provider values cannot both be set.")
		case len(list) > 1:
			return nil, invalid("segments", "a network has one segment here.")
		case len(list) == 1:
			return list[0], nil
		}
	}
	r, err := recordOf(providerParts...).read(own)
	if err != nil {
		return nil, invalid("provider attributes", "%v.", err)
	}
	return r.(record), nil
}

// provide has a physical network carry a network.
func provide(e *edit, n *config.Network, carrier record) error {
	typ, _ := carrier["provider:network_type"].(string)
	label, _ := carrier["provider:physical_network"].(string)
	tag, _ := carrier["provider:segmentation_id"].(int)
	refuse := func(format string, args ...any) error {
		return failure(400, "InvalidInput", "Invalid input for operation: %s", fmt.Sprintf(format, args...))
	}
	switch {
	case typ == "" && label == "" && tag == 0:
		return nil
	case typ == "":
		return refuse("network_type required.")
	case typ == local && (label != "" || tag != 0):
		return refuse("a local network has no physical_network and no segmentation_id.")
	case typ == local:
		return nil
	case typ != flat && typ != vlan:
		return refuse("network_type value '%s' not supported.", typ)
	case label == "":
		return refuse("physical_network required for a %s network.", typ)
	case typ == flat && tag != 0:
		return refuse("segmentation_id specified for a flat network.")
	case typ == vlan && (tag < 1 || tag > config.MaxVLAN):
		return refuse("segmentation_id out of range (1 through %d).", config.MaxVLAN)
	}
	p := physicalNetwork(e, label)
	if p == nil {
		return refuse("physical_network '%s' unknown for a %s network.", label, typ)
	}
	for other := range e.NetworksOf(p.ID) {
		if other.VLAN != tag {
			continue
		}
		if tag == 0 {
			return conflict("FlatNetworkInUse",
				"Unable to create the flat network. Physical network %s is in use by network %s.", label, other.ID)
		}
		return conflict("VlanIdInUse",
			"Unable to create the network. The VLAN %d on physical network %s is in use by network %s.", tag, label,
			other.ID)
	}
	n.PhysicalNetwork, n.VLAN = p.ID, tag
	return nil
}

// physicalNetwork finds a physical network by its name. The one called default need not be declared.
func physicalNetwork(e *edit, name string) *config.PhysicalNetwork {
	for p := range e.PhysicalNetworks() {
		if p.Name == name {
			return p
		}
	}
	if p := e.PhysicalNetwork(config.NameID(config.KindPhysicalNetwork, "default")); p != nil && p.Name == name {
		return p
	}
	return nil
}

func updateNetwork(e *edit, was, n *config.Network, _ map[string]any) error {
	if was.External && !n.External {
		for range e.GatewaysOn(n.ID) {
			return externalInUse(n)
		}
		for range e.FloatingIPsOn(n.ID) {
			return externalInUse(n)
		}
	}
	if was.PortSecurity != n.PortSecurity {
		keepSecurity(e, was)
	}
	e.Put(n)
	return nil
}

// keepSecurity has the ports of a network say for themselves whether they have port security: as in Neutron, that of
// the network is for new ports. A file's port follows its network, as the file's format says.
func keepSecurity(e *edit, was *config.Network) {
	for _, p := range slices.Collect(e.PortsOf(was.ID)) {
		if p.PortSecurity != nil || p.Source.File != "" || isTrusted(p) {
			continue
		}
		p = copied(p)
		p.PortSecurity = new(was.PortSecurity)
		e.Put(p)
	}
}

func externalInUse(n *config.Network) error {
	return conflict("ExternalNetworkInUse",
		"External network %s cannot be updated to be made non-external, since it has existing gateway ports.", n.ID)
}

// removeNetwork takes a network away with its subnets and the ports of DHCP.
func removeNetwork(e *edit, n *config.Network) error {
	var dhcp []config.Ref
	for p := range e.PortsOf(n.ID) {
		if p.DeviceOwner != config.OwnerDHCP {
			return networkInUse(n)
		}
		dhcp = append(dhcp, p.Ref())
	}
	for range e.FloatingIPsOn(n.ID) {
		return networkInUse(n)
	}
	for range e.LoadBalancersOn(n.ID) {
		return networkInUse(n)
	}
	e.Delete(dhcp...)
	e.Delete(n.Ref())
	return nil
}

func networkInUse(n *config.Network) error {
	return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in "+
		"use on the network.", n.ID)
}
