package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file says how the attributes of objects read: by their names in the topology file, with names and addresses
// where objects refer to others by ID.

// A value is what an object has for one attribute.
type value struct {
	key   string
	items []item // none: nothing is set
	trait trait
}

// An item is one value as people read it. The id tells apart what reads the same: two networks may have one name.
type item struct{ text, id string }

// A trait is a set of things to know about an attribute.
type trait uint16

const (
	isList  trait = 1 << iota // several items, shown as what was added and removed
	mayOpen                   // may be left open, and is chosen then: shown of a new object, too
	isUsual                   // the default: not shown where the attribute comes or goes as a whole
	atStart                   // a running process goes on with what it has; the next start obeys
	isName                    // the object's own name
	isOwner                   // the object that this one is a part of
	isOrder                   // the place among others
	isMade                    // made of the object's ID, or chosen
	isRef                     // refers to objects: another name of the same one is no difference
	hidden                    // must not be read: only that it differs is shown
)

func (v value) has(t trait) bool { return v.trait&t != 0 }

// with adds a trait.
func (v value) with(t trait) value {
	v.trait |= t
	return v
}

// when adds a trait if a condition holds.
func (v value) when(t trait, holds bool) value {
	if holds {
		v.trait |= t
	}
	return v
}

// same says whether two values of an attribute are the same.
func (v value) same(w value) bool {
	return slices.EqualFunc(v.items, w.items, func(x, y item) bool {
		return x == y || v.has(isRef) && w.has(isRef) && x.id == y.id
	})
}

// one makes a value of one item, or of none if the text is empty.
func one(key, text string) value {
	if text == "" {
		return value{key: key}
	}
	return value{key: key, items: []item{{text: text}}}
}

// free makes a value of a text that may be anything.
func free(key, text string) value {
	if text == "" {
		return value{key: key}
	}
	return one(key, strconv.Quote(text))
}

func yesNo(key string, b bool) value { return one(key, strconv.FormatBool(b)) }

func number[T ~int | ~int64 | ~uint16](key string, n T) value {
	if n == 0 {
		return value{key: key}
	}
	return one(key, strconv.FormatInt(int64(n), 10))
}

// span makes a value of a duration, which reads as in the topology file: 2h4m, not 2h4m0s.
func span(key string, d time.Duration) value {
	if d == 0 {
		return value{key: key}
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return one(key, text)
}

func address(key string, a netip.Addr) value {
	if !a.IsValid() {
		return value{key: key}
	}
	return one(key, a.String())
}

// several makes a list.
func several[T any](key string, list []T, text func(T) string) value {
	v := value{key: key, trait: isList}
	for _, x := range list {
		v.items = append(v.items, item{text: text(x)})
	}
	return v
}

// refer makes a value that refers to an object.
func (c *content) refer(key string, k Kind, id ID) value {
	if id == "" {
		return value{key: key}
	}
	return value{key: key, items: []item{{c.title(k, id), string(id)}}, trait: isRef}
}

// referAll makes a list that refers to objects.
func (c *content) referAll(key string, k Kind, ids []ID) value {
	v := value{key: key, trait: isRef | isList}
	for _, id := range ids {
		v.items = append(v.items, item{c.title(k, id), string(id)})
	}
	return v
}

// title is how people call an object of a known kind: by its name, or else by its address or ID.
func (c *content) title(k Kind, id ID) string {
	o, ok := c.Get(Ref{k, id})
	if !ok && id != "" && k == KindPhysicalNetwork && id == defaultLabel.ID {
		o, ok = defaultLabel, true
	}
	if !ok {
		return string(id)
	}
	if name := o.About().Name; name != "" {
		return strconv.Quote(name)
	}
	switch o := o.(type) {
	case *FloatingIP:
		return o.Address.String()
	case *LoadBalancer:
		return o.Address.String()
	}
	return string(id)
}

// Call is how people call an object of the State, with its kind: network "vlan102", floating IP 10.10.10.5. It is what
// Line.Name has.
func (s *State) Call(o Object) string { return s.call(o) }

// call is how people call an object, with its kind: network "vlan102", floating IP 10.10.10.5.
func (c *content) call(o Object) string {
	quoted := func() string { return c.title(o.Ref().Kind, o.About().ID) }
	switch o := o.(type) {
	case *Settings:
		return "settings"
	case *Quota:
		return "quota"
	case *SecurityGroupRule:
		return fmt.Sprintf("rule %s of security group %s", o.text(), c.title(KindSecurityGroup, o.Group))
	case *Subnet:
		return fmt.Sprintf("subnet %v of network %s", o.CIDR, c.title(KindNetwork, o.Network))
	case *Port:
		return c.callPort(o)
	case *FloatingIP:
		return "floating IP " + o.Address.String()
	case *PortForwarding:
		return fmt.Sprintf("port forwarding %s %d of floating IP %s", o.Protocol, o.ExternalPort,
			c.title(KindFloatingIP, o.FloatingIP))
	case *Monitor:
		return "monitor of pool " + c.title(KindPool, o.Pool)
	case *Member:
		name := netip.AddrPortFrom(o.Address, o.Port).String()
		if o.Name != "" && o.Name != name {
			name = strconv.Quote(o.Name)
		}
		return fmt.Sprintf("member %s of pool %s", name, c.title(KindPool, o.Pool))
	case *LoadBalancer:
		if o.Name == "" {
			return fmt.Sprintf("load balancer %v on network %s", o.Address, c.title(KindNetwork, o.Network))
		}
	case *Listener:
		if b := c.LoadBalancer(o.LoadBalancer); o.Name == "" && b != nil {
			return fmt.Sprintf("VIP %v %s %d", b.Address, o.Protocol, o.Port)
		}
		return "VIP " + quoted()
	}
	return o.Ref().Kind.String() + " " + quoted()
}

func (c *content) callPort(p *Port) string {
	router := func() string { return "router " + c.title(KindRouter, ID(p.DeviceID)) }
	switch {
	case p.DeviceOwner == OwnerGateway:
		return "gateway of " + router()
	case p.DeviceOwner == OwnerInterface:
		return fmt.Sprintf("interface %s of %s on network %s", p.addresses(), router(), c.title(KindNetwork, p.Network))
	case p.isDHCPServer():
		return "DHCP server of network " + c.title(KindNetwork, p.Network)
	case p.Name != "" && p.DeviceOwner == OwnerCompute && p.DeviceID == string(p.ID):
		return "instance " + strconv.Quote(p.Name)
	case p.Name != "":
		return "port " + strconv.Quote(p.Name)
	case len(p.FixedIPs) > 0:
		return fmt.Sprintf("port %s on network %s", p.addresses(), c.title(KindNetwork, p.Network))
	}
	return "port " + string(p.ID)
}

// addresses lists the addresses of a port.
func (p *Port) addresses() string {
	var all []string
	for _, f := range p.FixedIPs {
		all = append(all, f.Address.String())
	}
	return strings.Join(all, ", ")
}

// values lists the attributes of an object, first its Meta. An attribute that makes no sense for the object
// is left out.
func (c *content) values(o Object) []value {
	m := o.About()
	list := []value{
		free("name", m.Name).with(isName),
		free("description", m.Description),
		several("tags", m.Tags, strconv.Quote),
	}
	if o.Ref().Kind != KindSettings { // of which there is one
		list = append(list, number("position", m.Position).with(isOrder))
	}
	switch o := o.(type) {
	case *Settings:
		list = append(list, o.NAT.values("none")...)
		list = append(list, o.serviceValues()...)
		return append(list,
			one("engine.workers", strconv.Itoa(o.Engine.Workers)).with(atStart),
			span("engine.busy_poll", o.Engine.BusyPoll))
	case *PhysicalNetwork:
		return append(list, several("devices", o.Devices, Device.String))
	case *Network:
		storm := one("storm_limit", "")
		if o.StormLimit != nil {
			storm = one("storm_limit", strconv.Itoa(*o.StormLimit))
		}
		list = append(list,
			yesNo("admin_state_up", o.AdminStateUp),
			yesNo("external", o.External),
			number("mtu", o.MTU),
			number("vlan", o.VLAN),
			several("devices", o.Devices, Device.String),
			c.refer("physical_network", KindPhysicalNetwork, o.PhysicalNetwork),
			one("host", o.Host),
			one("gro", o.GRO),
			yesNo("port_security", o.PortSecurity),
			storm)
		return append(list, o.Extra.values()...)
	case *Subnet:
		list = append(list,
			c.refer("network", KindNetwork, o.Network).with(isOwner),
			one("cidr", o.CIDR.String()),
			address("gateway", o.Gateway),
			several("allocation_pools", o.AllocationPools, AddressRange.String),
			yesNo("dhcp", o.DHCP),
			span("lease_time", o.LeaseTime),
			several("dns_nameservers", o.DNSNameservers, netip.Addr.String),
			several("host_routes", o.HostRoutes, routeText))
		return append(list, o.Extra.values()...)
	case *Router:
		list = append(list, yesNo("admin_state_up", o.AdminStateUp))
		list = append(list, c.gatewayValues(o.Gateway)...)
		list = append(list, several("routes", o.Routes, routeText), one("rp_filter", o.RPFilter))
		list = append(list, o.Extra.values()...)
		return append(list, o.NAT.values("as in [nat]")...)
	case *AddressGroup:
		return append(list, several("addresses", o.Addresses, netip.Prefix.String))
	case *SecurityGroup:
		return append(list, yesNo("stateful", o.Stateful))
	case *SecurityGroupRule:
		return append(list, c.ruleValues(o)...)
	case *Port:
		return append(append(list, c.portValues(o)...), o.Extra.values()...)
	case *FloatingIP:
		list = append(list,
			c.refer("network", KindNetwork, o.Network).with(isOwner),
			address("address", o.Address),
			address("fixed_ip", o.FixedIP).with(mayOpen),
			c.refer("router", KindRouter, o.Router).with(mayOpen))
		return append(list, o.Extra.values()...)
	case *PortForwarding:
		return append(list,
			c.refer("floating_ip", KindFloatingIP, o.FloatingIP).with(isOwner),
			one("protocol", string(o.Protocol)),
			number("external_port", o.ExternalPort),
			address("fixed_ip", o.FixedIP),
			number("port", o.Port))
	case *Pool:
		list = append(list,
			yesNo("admin_state_up", o.AdminStateUp),
			one("protocol", string(o.Protocol)),
			one("algorithm", o.Algorithm))
		if p := o.SessionPersistence; p != nil {
			list = append(list, one("session_persistence.type", p.Type),
				span("session_persistence.timeout", p.Timeout).when(isUsual, p.Timeout == defaultPersistence))
		}
		return append(list,
			one("on_member_down", o.OnMemberDown),
			one("on_member_removed", o.OnMemberRemoved),
			c.refer("loadbalancer", KindLoadBalancer, o.LoadBalancer),
			one("application", o.Application))
	case *Monitor:
		return append(list,
			c.refer("pool", KindPool, o.Pool).with(isOwner),
			yesNo("admin_state_up", o.AdminStateUp),
			one("type", o.Type),
			span("delay", o.Delay),
			span("timeout", o.Timeout),
			number("max_retries", o.MaxRetries),
			number("max_retries_down", o.MaxRetriesDown),
			one("initial_state", o.InitialState),
			free("http_method", o.HTTPMethod),
			free("url_path", o.URLPath),
			free("expected_codes", o.ExpectedCodes),
			one("http_version", o.HTTPVersion),
			free("domain_name", o.DomainName))
	case *Member:
		return append(list,
			c.refer("pool", KindPool, o.Pool).with(isOwner),
			address("address", o.Address),
			number("port", o.Port),
			one("weight", strconv.Itoa(o.Weight)),
			yesNo("backup", o.Backup),
			c.refer("subnet", KindSubnet, o.Subnet),
			yesNo("admin_state_up", o.AdminStateUp),
			address("monitor_address", o.MonitorAddress),
			number("monitor_port", o.MonitorPort))
	case *LoadBalancer:
		return append(list,
			c.refer("network", KindNetwork, o.Network).with(isOwner),
			address("address", o.Address),
			c.refer("router", KindRouter, o.Router).with(mayOpen),
			yesNo("admin_state_up", o.AdminStateUp),
			c.refer("port", KindPort, o.Port),
			c.referAll("security_groups", KindSecurityGroup, o.SecurityGroups))
	case *Listener:
		list = append(list,
			c.refer("loadbalancer", KindLoadBalancer, o.LoadBalancer).with(isOwner),
			one("protocol", string(o.Protocol)),
			number("port", o.Port),
			c.refer("pool", KindPool, o.Pool),
			number("connection_limit", o.ConnectionLimit),
			span("idle_timeout", o.IdleTimeout),
			several("allowed_cidrs", o.AllowedCIDRs, netip.Prefix.String),
			yesNo("admin_state_up", o.AdminStateUp),
			one("application", o.Application))
		return append(list, o.Extra.values()...)
	case *Quota:
		return append(list, several("limits", o.Limits, func(l Limit) string {
			return l.Resource + "=" + strconv.Itoa(l.Most)
		}))
	}
	panic(fmt.Sprintf("config: an object of type %T", o))
}

// gatewayValues: a router without a gateway has the first of these attributes only.
func (c *content) gatewayValues(g *Gateway) []value {
	if g == nil {
		return []value{{key: "gateway.network"}}
	}
	return []value{
		c.refer("gateway.network", KindNetwork, g.Network),
		yesNo("gateway.snat", g.SNAT).when(isUsual, g.SNAT),
		several("gateway.snat_addresses", g.SNATAddresses, AddressRange.String),
	}
}

// values lists the settings of the translation. The text unset stands for a setting that is not set.
func (n *NAT) values(unset string) []value {
	ports := ""
	if n.PortMin != 0 || n.PortMax != 0 {
		ports = fmt.Sprintf("%d-%d", n.PortMin, n.PortMax)
	}
	share := ""
	if n.HostShare != 0 {
		share = strconv.FormatFloat(n.HostShare, 'g', -1, 64)
	}
	flag := func(b *bool) string {
		if b == nil {
			return ""
		}
		return strconv.FormatBool(*b)
	}
	prefixes := several("nat.no_snat", n.NoSNAT, netip.Prefix.String)
	if n.NoSNAT == nil && unset != "none" {
		prefixes = one("nat.no_snat", unset) // an empty list is another thing: none
	}
	list := []value{
		one("nat.mapping", n.Mapping),
		one("nat.filtering", n.Filtering),
		number("nat.max_connections", n.MaxConnections),
		one("nat.host_share", share),
		one("nat.lend", flag(n.Lend)),
		one("nat.port_range", ports),
		prefixes,
		one("nat.mss_clamp", flag(n.MSSClamp)),
	}
	for _, t := range timeouts {
		list = append(list, span("nat.timeouts."+t.key, *t.field(&n.Timeouts)))
	}
	for i := range list {
		if v := &list[i]; len(v.items) == 0 && !v.has(isList) && unset != "none" {
			v.items = []item{{text: unset}}
		}
	}
	return list
}

func (c *content) portValues(p *Port) []value {
	instance := p.DeviceOwner == OwnerCompute && p.DeviceID == string(p.ID)
	fixed := value{key: "fixed_ips", trait: isList}.when(mayOpen, p.Name != "") // else the port is called by them
	switch p.DeviceOwner {
	case OwnerInterface:
		fixed = value{key: "address", trait: isList} // which it is called by
	case OwnerGateway:
		fixed = value{key: "address", trait: isList | mayOpen | isMade}
	}
	for _, f := range p.FixedIPs {
		fixed.items = append(fixed.items, item{f.Address.String(), string(f.Subnet)})
	}
	if p.isRouters() && len(fixed.items) == 1 {
		fixed.trait &^= isList
	}
	mac := one("mac", p.MAC.String()).when(mayOpen|isMade, p.isRouters())
	security := one("port_security", "as its network")
	if p.PortSecurity != nil {
		security = yesNo("port_security", *p.PortSecurity)
	}
	device := free("device_id", p.DeviceID).when(isMade, instance)
	if p.isRouters() {
		device = c.refer("router", KindRouter, ID(p.DeviceID)).with(isOwner)
	}
	return []value{
		c.refer("network", KindNetwork, p.Network),
		yesNo("admin_state_up", p.AdminStateUp),
		mac,
		fixed,
		one("device", p.Device),
		device,
		free("device_owner", p.DeviceOwner),
		security,
		several("allowed_address_pairs", p.AllowedAddressPairs, pairText),
		c.referAll("security_groups", KindSecurityGroup, p.SecurityGroups),
	}
}

// routeText writes a route as `ip route` does.
func routeText(r Route) string { return fmt.Sprintf("%v via %v", r.Destination, r.NextHop) }

// pairText writes the prefix, and the MAC if there is one.
func pairText(p AddressPair) string {
	if p.MAC.IsZero() {
		return p.IP.String()
	}
	return fmt.Sprintf("%v %v", p.IP, p.MAC)
}
