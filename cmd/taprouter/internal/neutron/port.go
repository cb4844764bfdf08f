package neutron

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/taprouter/taprouter/config"
)

// serverOwners are the owners that users cannot give a port: the router has a meaning for them.
var serverOwners = []string{config.OwnerInterface, config.OwnerGateway, ownerFloatingIP, ownerBalancer}

var ports = resource[*config.Port]{
	singular: "port", plural: "ports", title: "Port",
	attributes: portAttributes,
	all:        allPorts,
	get:        findPort,
	stored:     portIsStored,
	special:    putServicePort,
	fresh:      func(m config.Meta) *config.Port { return &config.Port{Meta: m, AdminStateUp: true} },
	copied:     copied[config.Port],
	create:     createPort,
	update:     updatePort,
	remove:     removePort,
	filters: map[string]func(r reader, values []string) (func(p *config.Port) bool, error){
		"fixed_ips": fixedIPFilter,
	},
}

// allPorts gives the ports of a State, and the ports that follow from floating IPs and load balancers.
func allPorts(s *config.State) iter.Seq[*config.Port] {
	return func(yield func(*config.Port) bool) {
		for p := range s.Ports() {
			if !yield(p) {
				return
			}
		}
		for f := range s.FloatingIPs() {
			if !yield(floatingPort(s, f)) {
				return
			}
		}
		for b := range s.LoadBalancers() {
			if b.Port == "" && !yield(balancerPort(s, b)) {
				return
			}
		}
	}
}

func findPort(r reader, id config.ID) (*config.Port, bool) {
	if p := r.Port(id); p != nil {
		return p, true
	}
	if f := r.FloatingIP(floatingTwist.of(id)); f != nil {
		return floatingPort(r, f), true
	}
	b := balancerOfPort(r, id)
	if b == nil {
		return nil, false
	}
	return balancerPort(r, b), true
}

// servicePort is a port for an address that a router answers for. It has the router's MAC address on the network.
func servicePort(r reader, m config.Meta, network, router config.ID, a netip.Addr, device, owner string) *config.Port {
	p := &config.Port{Meta: m, Network: network, AdminStateUp: true, DeviceID: device, DeviceOwner: owner,
		FixedIPs: []config.FixedIP{{Address: a}}}
	if s := r.SubnetAt(network, a); s != nil {
		p.FixedIPs[0].Subnet = s.ID
	}
	if gateway := r.GatewayPort(router); gateway != nil && gateway.Network == network {
		p.MAC = gateway.MAC
	}
	for i := range r.InterfacesOf(router) {
		if i.Network == network {
			p.MAC = i.MAC
		}
	}
	return p
}

// portIsStored refuses changes of a port that follows from another object.
func portIsStored(r reader, p *config.Port) error {
	if r.Port(p.ID) != nil {
		return nil
	}
	return servicePortInUse(p)
}

func servicePortInUse(p *config.Port) error {
	return conflict("ServicePortInUse", "Port %s cannot be deleted or changed directly via the port API: has device "+
		"owner %s.", p.ID, p.DeviceOwner)
}

func portAttributes(project string) []attribute[*config.Port] {
	type port = *config.Port
	list := append(common[port](project),
		named[port](),
		field("network_id", identifier, onCreate|required, "network", func(p port) *config.ID { return &p.Network }),
		field("admin_state_up", flag, always, "admin_state_up", func(p port) *bool { return &p.AdminStateUp }),
		shown("status", text, func(_ reader, p port) any { return portStatus(p) }),
		field("mac_address", hardware, always, "mac", func(p port) *config.MAC { return &p.MAC }),
		attribute[port]{name: "fixed_ips", format: listOf[record](recordOf(part{"subnet_id", identifier},
			part{"ip_address", address})), may: always, field: "fixed_ips", entries: fixedTexts, get: fixedIPsOf,
			set: setFixedIPs},
		field("device_id", text, always, "device_id", func(p port) *string { return &p.DeviceID }),
		attribute[port]{name: "device_owner", format: text, may: always, field: "device_owner",
			get: func(_ reader, p port) any { return p.DeviceOwner },
			set: func(_ *edit, p port, v any) error {
				owner := v.(string)
				if owner != p.DeviceOwner && slices.Contains(serverOwners, owner) {
					return invalid("device_owner", "'%s' is for ports that the server makes.", owner)
				}
				p.DeviceOwner = owner
				return nil
			}},
		attribute[port]{name: "allowed_address_pairs", format: pairList, may: always, field: "allowed_address_pairs",
			entries: pairTexts, get: pairsOf, set: setPairs},
		attribute[port]{name: "port_security_enabled", format: flag, may: always, field: "port_security",
			get: func(r reader, p port) any { return isSecured(r, p) },
			set: func(_ *edit, p port, v any) error {
				p.PortSecurity = new(v.(bool))
				return nil
			}},
		attribute[port]{name: "security_groups", format: groupList, may: always, field: "security_groups",
			entries: func(p port) []string { return groupTexts(p.SecurityGroups) },
			get:     func(_ reader, p port) any { return groupsText(p.SecurityGroups) },
			set: func(e *edit, p port, v any) (err error) {
				p.SecurityGroups, err = chooseGroups(e, v.([]config.ID))
				return err
			}},
		constant[port]("qos_policy_id", identifier, nil),
		shown("ip_allocation", text, func(_ reader, p port) any {
			if len(p.FixedIPs) == 0 {
				return "none"
			}
			return "immediate"
		}),
		constant[port]("propagate_uplink_status", flag, false),
	)
	return append(list, extraPortAttributes()...)
}

// isSecured says whether frames of a port are checked: as it says itself, or else as its network does.
func isSecured(r reader, p *config.Port) bool {
	if p.PortSecurity != nil {
		return *p.PortSecurity
	}
	n := r.Network(p.Network)
	return n != nil && n.PortSecurity && !isTrusted(p)
}

// isTrusted says whether a port is the router's own, or a DHCP server's.
func isTrusted(p *config.Port) bool {
	return p.DeviceOwner == config.OwnerDHCP || slices.Contains(serverOwners, p.DeviceOwner)
}

// checkSecurity checks what needs port security.
func checkSecurity(e *edit, was, p *config.Port) error {
	switch {
	case isSecured(e, p):
		return nil
	case len(p.SecurityGroups) > 0 && was != nil:
		return conflict("PortSecurityPortHasSecurityGroup", "Port has security group associated. Cannot disable port "+
			"security or IP address until security group is removed")
	case len(p.SecurityGroups) > 0:
		return failure(400, "PortSecurityAndIPRequiredForSecurityGroups",
			"Port security must be enabled and port must have an IP address in order to use security groups.")
	case len(p.AllowedAddressPairs) > 0 && (was == nil || !slices.Equal(pairTexts(was), pairTexts(p)) ||
		isSecured(e, was)):
		return conflict("AddressPairAndPortSecurityRequired",
			"Port Security must be enabled in order to have allowed address pairs on a port.")
	}
	return nil
}

func portStatus(p *config.Port) string {
	if p.AdminStateUp {
		return "ACTIVE"
	}
	return "DOWN"
}

func fixedIPsOf(_ reader, p *config.Port) any {
	list := []any{}
	for _, f := range p.FixedIPs {
		list = append(list, map[string]any{"subnet_id": string(f.Subnet), "ip_address": f.Address.String()})
	}
	return list
}

func setFixedIPs(_ *edit, p *config.Port, v any) error {
	p.FixedIPs = nil
	for _, r := range v.([]record) {
		f := config.FixedIP{}
		f.Subnet, _ = r["subnet_id"].(config.ID)
		f.Address, _ = r["ip_address"].(netip.Addr)
		p.FixedIPs = append(p.FixedIPs, f)
	}
	return nil
}

// pairFormat reads the address of a pair, which may be that of a subnet.
var pairFormat = format{read: func(v any) (any, error) {
	s, _ := v.(string)
	if strings.Contains(s, "/") {
		p, err := prefix.read(v)
		if err != nil {
			return nil, err
		}
		return p.(netip.Prefix).Masked(), nil
	}
	a, err := address.read(v)
	if err != nil {
		return nil, err
	}
	return netip.PrefixFrom(a.(netip.Addr), a.(netip.Addr).BitLen()), nil
}}

var pairList = listOf[record](recordOf(part{"ip_address", pairFormat}, part{"mac_address", hardware}))

func pairsOf(_ reader, p *config.Port) any {
	list := []any{}
	for _, pair := range p.AllowedAddressPairs {
		text := pair.IP.String()
		if pair.IP.IsSingleIP() {
			text = pair.IP.Addr().String()
		}
		mac := pair.MAC
		if mac.IsZero() {
			mac = p.MAC
		}
		list = append(list, map[string]any{"ip_address": text, "mac_address": mac.String()})
	}
	return list
}

// setPairs: a pair without a MAC address gets the port's when the port is put.
func setPairs(_ *edit, p *config.Port, v any) error {
	p.AllowedAddressPairs = nil
	for _, r := range v.([]record) {
		ip, err := has[netip.Prefix](r, "ip_address")
		if err != nil {
			return invalid("allowed_address_pairs", "%v.", err)
		}
		pair := config.AddressPair{IP: ip}
		pair.MAC, _ = r["mac_address"].(config.MAC)
		if slices.Contains(p.AllowedAddressPairs, pair) {
			return invalid("allowed_address_pairs", "Request contains duplicate address pair: %v.", ip)
		}
		p.AllowedAddressPairs = append(p.AllowedAddressPairs, pair)
	}
	return nil
}

func createPort(e *edit, p *config.Port, body map[string]any) error {
	if e.Network(p.Network) == nil {
		return notFound("Network", p.Network)
	}
	if p.MAC.IsZero() {
		var ok bool
		if p.MAC, ok = freeMAC(e, p.Network); !ok {
			return failure(503, "MacAddressGenerationFailure", "Unable to generate unique mac on network %s.",
				p.Network)
		}
	}
	if body["fixed_ips"] == nil {
		for range e.SubnetsOf(p.Network) {
			p.FixedIPs = make([]config.FixedIP, 1)
			break
		}
	}
	if err := checkFixedIPs(e, p); err != nil {
		return err
	}
	if body["security_groups"] == nil && isSecured(e, p) && !strings.HasPrefix(p.DeviceOwner, "network:") {
		needDefault(e)
		p.SecurityGroups = []config.ID{defaultGroupID}
	}
	if err := checkSecurity(e, nil, p); err != nil {
		return err
	}
	e.Put(p)
	return nil
}

// freeMAC makes a MAC address that no port of a network has. It begins as Neutron's do. The result is false if none of
// many was free, which does not happen by chance.
func freeMAC(e *edit, network config.ID) (config.MAC, bool) {
	const most = 64 // as in Neutron, with room to spare
	for range most {
		m := config.MAC{0xfa, 0x16, 0x3e}
		id := uuid.MustParse(string(e.newID()))
		n := binary.BigEndian.Uint32(id[12:])
		m[3], m[4], m[5] = byte(n>>16), byte(n>>8), byte(n)
		if e.MACOwner(network, m) == nil {
			return m, true
		}
	}
	return config.MAC{}, false
}

// checkFixedIPs checks what a port asks for against the subnets of its network.
func checkFixedIPs(e *edit, p *config.Port) error {
	for _, f := range p.FixedIPs {
		s := e.Subnet(f.Subnet)
		switch {
		case f.Subnet == "" && !f.Address.IsValid():
			continue
		case f.Subnet != "" && s == nil:
			return notFound("Subnet", f.Subnet)
		case s != nil && s.Network != p.Network:
			return failure(400, "InvalidInput", "Invalid input for operation: subnet %s is not one of network %s.",
				s.ID, p.Network)
		case s != nil && f.Address.IsValid() && config.HostProblem(f.Address, s.CIDR) != "":
			return failure(400, "InvalidIpForSubnet", "IP address %v is not a valid IP for the specified subnet.",
				f.Address)
		case s == nil && invalidOn(e, p.Network, f.Address):
			return failure(400, "InvalidIpForNetwork",
				"IP address %v is not a valid IP for any of the subnets on the specified network.", f.Address)
		}
	}
	return nil
}

func invalidOn(e *edit, network config.ID, a netip.Addr) bool {
	s := e.SubnetAt(network, a)
	return s == nil || config.HostProblem(a, s.CIDR) != ""
}

// updatePort: a router's port stays that router's, and a floating IP goes with the address that it maps to.
func updatePort(e *edit, was, p *config.Port, _ map[string]any) error {
	ofRouter := was.DeviceOwner == config.OwnerInterface || was.DeviceOwner == config.OwnerGateway
	ofServer := ofRouter || was.DeviceOwner == config.OwnerDHCP
	if ofServer && (p.DeviceOwner != was.DeviceOwner || p.DeviceID != was.DeviceID || p.MAC != was.MAC) {
		return servicePortInUse(was)
	}
	if err := checkFixedIPs(e, p); err != nil {
		return err
	}
	if err := checkSecurity(e, was, p); err != nil {
		return err
	}
	e.Put(p)
	keeps := map[netip.Addr]bool{}
	for _, f := range e.Port(p.ID).FixedIPs { // with the addresses that it takes over
		keeps[f.Address] = true
	}
	for _, f := range was.FixedIPs {
		if !keeps[f.Address] && !ofRouter {
			if err := release(e, was.Network, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func removePort(e *edit, p *config.Port) error {
	if slices.Contains(serverOwners, p.DeviceOwner) {
		return servicePortInUse(p)
	}
	if b := e.LoadBalancerAt(p.ID); b != nil {
		return conflict("PortInUse", "Port %s has the address of load balancer %s; delete that first.", p.ID, b.ID)
	}
	for _, f := range p.FixedIPs {
		if err := release(e, p.Network, f); err != nil {
			return err
		}
	}
	e.Delete(p.Ref())
	return nil
}

// release takes a fixed address that goes away from the floating IPs that map to it, and from forwarded ports.
func release(e *edit, network config.ID, fixed config.FixedIP) error {
	for _, r := range routersIn(e, network, fixed.Subnet) {
		for _, p := range slices.Collect(e.ForwardingsTo(r.ID, fixed.Address)) {
			if err := e.own(p, ""); err != nil {
				return err
			}
			e.Delete(p.Ref())
		}
		if f := e.FloatingIPTo(r.ID, fixed.Address); f != nil {
			if err := e.own(f, "fixed_ip"); err != nil {
				return err
			}
			disassociate(e, f)
		}
	}
	return nil
}

// routersIn lists the routers with an interface in a subnet, each once.
func routersIn(r reader, network, subnet config.ID) []*config.Router {
	var list []*config.Router
	for p := range r.InterfacesIn(subnet) {
		router := r.Router(config.ID(p.DeviceID))
		if p.Network == network && router != nil && !slices.Contains(list, router) {
			list = append(list, router)
		}
	}
	return list
}

// fixedIPFilter reads conditions such as ip_address=10.0.0.3. One and the same fixed IP must satisfy them all; of
// several values of one key, one is enough.
func fixedIPFilter(_ reader, values []string) (func(p *config.Port) bool, error) {
	wanted := map[string][]string{}
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key != "ip_address" && key != "subnet_id" && key != "ip_address_substr" {
			return nil, invalid("fixed_ips", "'%s' is no condition.", v)
		}
		if key == "ip_address" {
			value = address.filter(value)
		}
		wanted[key] = append(wanted[key], value)
	}
	fits := func(f config.FixedIP) bool {
		text := f.Address.String()
		for key, values := range wanted {
			if !slices.ContainsFunc(values, func(v string) bool {
				return key == "ip_address" && v == text || key == "subnet_id" && v == string(f.Subnet) ||
					key == "ip_address_substr" && strings.Contains(text, v)
			}) {
				return false
			}
		}
		return true
	}
	return func(p *config.Port) bool { return slices.ContainsFunc(p.FixedIPs, fits) }, nil
}
