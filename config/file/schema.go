package file

import (
	"net/netip"
	"regexp"

	"github.com/taprouter/taprouter/config"
)

// The tables of the file: every key it may have and where its value goes. A
// default stands here if a zero value cannot stand for it. The check applies all
// other defaults, because it applies them to topologies made by hand as well.

// indexes matches the list indexes in a path.
var indexes = regexp.MustCompile(`\[\d+\]`)

var topologyKeys = keys[Topology]{
	tables("network", "network", "name", networkKeys,
		func(line int) Network { return Network{Line: line} },
		func(t *Topology) *[]Network { return &t.Networks }),
	tables("physical_network", "physical network", "name", physicalNetworkKeys,
		func(line int) PhysicalNetwork { return PhysicalNetwork{Line: line} },
		func(t *Topology) *[]PhysicalNetwork { return &t.PhysicalNetworks }),
	table("nat", natKeys,
		func(line int) NAT { return NAT{Line: line} },
		func(t *Topology, n NAT) { t.NAT = n }),
	tables("router", "router", "name", routerKeys,
		func(line int) Router { return Router{Line: line} },
		func(t *Topology) *[]Router { return &t.Routers }),
	tables("address_group", "address group", "name", addressGroupKeys,
		func(line int) AddressGroup { return AddressGroup{Line: line} },
		func(t *Topology) *[]AddressGroup { return &t.AddressGroups }),
	tables("security_group", "security group", "name", securityGroupKeys,
		func(line int) SecurityGroup { return SecurityGroup{Line: line} },
		func(t *Topology) *[]SecurityGroup { return &t.SecurityGroups }),
	tables("port", "port", "name", portKeys,
		func(line int) Port { return Port{Line: line} },
		func(t *Topology) *[]Port { return &t.Ports }),
	tables("floating_ip", "floating IP", "address", floatingIPKeys,
		func(line int) FloatingIP { return FloatingIP{Line: line} },
		func(t *Topology) *[]FloatingIP { return &t.FloatingIPs }),
	tables("pool", "pool", "name", poolKeys,
		func(line int) Pool { return Pool{Line: line} },
		func(t *Topology) *[]Pool { return &t.Pools }),
	tables("loadbalancer", "load balancer", "name", loadBalancerKeys,
		func(line int) LoadBalancer { return LoadBalancer{Line: line} },
		func(t *Topology) *[]LoadBalancer { return &t.LoadBalancers }),
	tables("vip", "VIP", "name", vipKeys,
		func(line int) VIP { return VIP{Line: line} },
		func(t *Topology) *[]VIP { return &t.VIPs }),
	table("quota", quotaKeys,
		func(line int) Quota { return Quota{Line: line} },
		func(t *Topology, q Quota) { t.Quota = q }),
	table("dns", dnsKeys,
		func(line int) DNS { return DNS{Line: line} },
		func(t *Topology, d DNS) { t.DNS = d }),
	table("metadata", metadataKeys,
		func(line int) Metadata { return Metadata{Line: line} },
		func(t *Topology, m Metadata) { t.Metadata = m }),
	table("engine", engineKeys,
		func(line int) Engine { return Engine{Line: line} },
		func(t *Topology, e Engine) { t.Engine = e }),
	tables("instance", "instance", "name", instanceKeys,
		func(line int) Instance { return Instance{Line: line} },
		func(t *Topology) *[]Instance { return &t.Instances }),
	tables("step", "step", "title", stepKeys,
		func(line int) Step { return Step{Line: line} },
		func(t *Topology) *[]Step { return &t.Steps }),
}

// described are the keys of a table with a description and tags.
func described[T any](about func(*T) *About, ks ...key[T]) keys[T] {
	return append(ks,
		leaf("description", func(t *T, v value) { about(t).Description = v.text() }),
		leaf("tags", func(t *T, v value) { about(t).Tags = listOf(v, value.text) }))
}

// adminState is the key admin_state_up, which is true by default.
func adminState[T any](down func(*T) *bool) key[T] {
	return leaf("admin_state_up", func(t *T, v value) { *down(t) = !v.flag() })
}

var networkKeys = described(func(n *Network) *About { return &n.About },
	adminState(func(n *Network) *bool { return &n.AdminStateDown }),
	leaf("name", func(n *Network, v value) { n.Name = v.text() }),
	leaf("devices", func(n *Network, v value) { n.Devices = listOf(v, value.device) }),
	leaf("physical_network", func(n *Network, v value) { n.PhysicalNetwork = v.text() }),
	leaf("vlan", func(n *Network, v value) { n.VLAN = v.number() }),
	leaf("mtu", func(n *Network, v value) { n.MTU = v.number() }),
	leaf("external", func(n *Network, v value) { n.External = v.flag() }),
	leaf("host", func(n *Network, v value) { n.Host = v.text() }),
	leaf("gro", func(n *Network, v value) { n.GRO = v.text() }),
	leaf("port_security", func(n *Network, v value) { n.PortSecurity = v.flag() }),
	leaf("storm_limit", func(n *Network, v value) { n.StormLimit = new(v.number()) }),
	leaf("shared", func(n *Network, v value) { n.Extra.Shared = v.flag() }),
	leaf("is_default", func(n *Network, v value) { n.Extra.Default = v.flag() }),
	leaf("dns_domain", func(n *Network, v value) { n.Extra.DNSDomain = v.text() }),
	leaf("availability_zone_hints", func(n *Network, v value) { n.Extra.ZoneHints = listOf(v, value.text) }),
	tables("subnet", "subnet", "", subnetKeys,
		func(line int) Subnet { return Subnet{Line: line} },
		func(n *Network) *[]Subnet { return &n.Subnets }),
	leaf("id", func(n *Network, v value) { n.ID = v.id() }),
)

var subnetKeys = described(func(s *Subnet) *About { return &s.About },
	leaf("name", func(s *Subnet, v value) { s.Name = v.text() }),
	leaf("cidr", func(s *Subnet, v value) { s.CIDR = v.prefix() }),
	leaf("gateway", func(s *Subnet, v value) {
		if s.NoGateway = v.raw == "none"; !s.NoGateway {
			s.Gateway = v.addr()
		}
	}),
	leaf("allocation_pools", func(s *Subnet, v value) {
		s.AllocationPools = listOf(v, value.addressRange)
		s.Extra.NoPools = len(s.AllocationPools) == 0 && !v.at.spoiled(v.key) // an empty list is one, too
	}),
	leaf("dhcp", func(s *Subnet, v value) { s.DHCP = v.flag() }),
	leaf("lease_time", func(s *Subnet, v value) { s.LeaseTime = v.duration() }),
	leaf("dns_nameservers", func(s *Subnet, v value) { s.DNSNameservers = listOf(v, value.addr) }),
	leaf("dns_search", func(s *Subnet, v value) { s.Extra.DNSSearch = listOf(v, value.text) }),
	leaf("service_types", func(s *Subnet, v value) { s.Extra.ServiceTypes = listOf(v, value.text) }),
	leaf("dns_publish_fixed_ip", func(s *Subnet, v value) { s.Extra.DNSPublishFixedIP = v.flag() }),
	tables("host_routes", "host route", "destination", routeKeys, blankRoute,
		func(s *Subnet) *[]Route { return &s.HostRoutes }),
	leaf("id", func(s *Subnet, v value) { s.ID = v.id() }),
)

var routeKeys = keys[Route]{
	leaf("destination", func(r *Route, v value) { r.Destination = v.prefix() }),
	leaf("nexthop", func(r *Route, v value) { r.NextHop = v.addr() }),
}

func blankRoute(line int) Route { return Route{Line: line} }

var physicalNetworkKeys = described(func(p *PhysicalNetwork) *About { return &p.About },
	leaf("name", func(p *PhysicalNetwork, v value) { p.Name = v.text() }),
	leaf("devices", func(p *PhysicalNetwork, v value) { p.Devices = listOf(v, value.device) }),
	leaf("id", func(p *PhysicalNetwork, v value) { p.ID = v.id() }),
)

var routerKeys = described(func(r *Router) *About { return &r.About },
	adminState(func(r *Router) *bool { return &r.AdminStateDown }),
	leaf("name", func(r *Router, v value) { r.Name = v.text() }),
	key[Router]{name: "interfaces", set: decodeInterfaces, sub: interfaceKeys, many: true},
	table("gateway", gatewayKeys,
		func(line int) RouterGateway { return RouterGateway{Line: line, SNAT: true} },
		func(r *Router, g RouterGateway) { r.Gateway = &g }),
	tables("routes", "route", "destination", routeKeys, blankRoute,
		func(r *Router) *[]Route { return &r.Routes }),
	leaf("rp_filter", func(r *Router, v value) { r.RPFilter = v.text() }),
	leaf("availability_zone_hints", func(r *Router, v value) { r.Extra.ZoneHints = listOf(v, value.text) }),
	table("nat", natKeys,
		func(line int) NAT { return NAT{Line: line} },
		func(r *Router, n NAT) { r.NAT = &n }),
	leaf("id", func(r *Router, v value) { r.ID = v.id() }),
)

var interfaceKeys = keys[RouterInterface]{
	leaf("network", func(i *RouterInterface, v value) { i.Network = v.text() }),
	leaf("address", func(i *RouterInterface, v value) { i.Address = v.addr() }),
	leaf("mac", func(i *RouterInterface, v value) { i.MAC = v.mac() }),
	leaf("id", func(i *RouterInterface, v value) { i.ID = v.id() }),
}

// decodeInterfaces reads a list of network names or tables.
func decodeInterfaces(r *Router, v value) {
	elements := v.list()
	for i, element := range elements {
		iface := RouterInterface{Line: v.at.lineOf(element.key)}
		switch raw := element.raw.(type) {
		case string:
			iface.Network = raw
		case map[string]any:
			interfaceKeys.decode(element.item("interface", "network", i, len(elements)), raw, &iface)
		default:
			element.wrongType("a network's name or { network, address }")
		}
		r.Interfaces = append(r.Interfaces, iface)
	}
}

var gatewayKeys = keys[RouterGateway]{
	leaf("network", func(g *RouterGateway, v value) { g.Network = v.text() }),
	leaf("address", func(g *RouterGateway, v value) { g.Address = v.addr() }),
	leaf("mac", func(g *RouterGateway, v value) { g.MAC = v.mac() }),
	leaf("snat", func(g *RouterGateway, v value) { g.SNAT = v.flag() }),
	leaf("snat_addresses", func(g *RouterGateway, v value) { g.SNATAddresses = listOf(v, value.addressOrRange) }),
	leaf("id", func(g *RouterGateway, v value) { g.ID = v.id() }),
}

var portKeys = described(func(p *Port) *About { return &p.About },
	adminState(func(p *Port) *bool { return &p.AdminStateDown }),
	leaf("name", func(p *Port, v value) { p.Name = v.text() }),
	leaf("network", func(p *Port, v value) { p.Network = v.text() }),
	leaf("fixed_ip", func(p *Port, v value) { p.FixedIP = v.addr() }),
	leaf("fixed_ips", func(p *Port, v value) {
		p.FixedIPs = append([]netip.Addr{}, listOf(v, value.addr)...) // an empty list is one, too
	}),
	leaf("device_id", func(p *Port, v value) { p.DeviceID = v.text() }),
	leaf("device_owner", func(p *Port, v value) { p.DeviceOwner = v.text() }),
	leaf("port_security", func(p *Port, v value) { p.PortSecurity = new(v.flag()) }),
	leaf("mac", func(p *Port, v value) { p.MAC = v.mac() }),
	leaf("device", func(p *Port, v value) { p.Device = v.text() }),
	leaf("security_groups", func(p *Port, v value) {
		p.SecurityGroups = append([]string{}, listOf(v, value.text)...) // an empty list is one, too
	}),
	leaf("binding_host_id", func(p *Port, v value) { p.Extra.HostID = v.text() }),
	leaf("binding_vnic_type", func(p *Port, v value) { p.Extra.VNICType = v.text() }),
	leaf("binding_profile", func(p *Port, v value) { p.Extra.Profile = v.text() }),
	leaf("dns_name", func(p *Port, v value) { p.Extra.DNSName = v.text() }),
	leaf("dns_domain", func(p *Port, v value) { p.Extra.DNSDomain = v.text() }),
	leaf("hostname", func(p *Port, v value) { p.Extra.Hostname = v.text() }),
	leaf("ssh_keys", func(p *Port, v value) { p.Extra.SSHKeys = listOf(v, value.text) }),
	leaf("user_data_file", func(p *Port, v value) { p.Extra.UserData = v.userDataFile() }),
	leaf("user_data", func(p *Port, v value) { p.Extra.UserData = v.text() }),
	tables("extra_dhcp_opts", "DHCP option", "name", dhcpOptionKeys,
		func(int) DHCPOption { return DHCPOption{IPVersion: 4} },
		func(p *Port) *[]DHCPOption { return &p.Extra.DHCPOptions }),
	tables("allowed_address_pairs", "allowed address pair", "ip", pairKeys,
		func(int) AddressPair { return AddressPair{} },
		func(p *Port) *[]AddressPair { return &p.AllowedAddressPairs }),
	leaf("id", func(p *Port, v value) { p.ID = v.id() }),
)

var pairKeys = keys[AddressPair]{
	leaf("ip", func(p *AddressPair, v value) { p.IP = parsed(v, parseAddrOrPrefix) }),
	leaf("mac", func(p *AddressPair, v value) { p.MAC = v.mac() }),
}

var floatingIPKeys = described(func(f *FloatingIP) *About { return &f.About },
	leaf("name", func(f *FloatingIP, v value) { f.Name = v.text() }),
	leaf("network", func(f *FloatingIP, v value) { f.Network = v.text() }),
	leaf("address", func(f *FloatingIP, v value) { f.Address = v.addr() }),
	leaf("fixed_ip", func(f *FloatingIP, v value) { f.FixedIP = v.addr() }),
	leaf("router", func(f *FloatingIP, v value) { f.Router = v.text() }),
	leaf("dns_name", func(f *FloatingIP, v value) { f.Extra.DNSName = v.text() }),
	leaf("dns_domain", func(f *FloatingIP, v value) { f.Extra.DNSDomain = v.text() }),
	tables("port_forwarding", "port forwarding", "", portForwardKeys,
		func(line int) PortForward { return PortForward{Line: line} },
		func(f *FloatingIP) *[]PortForward { return &f.PortForwarding }),
	leaf("id", func(f *FloatingIP, v value) { f.ID = v.id() }),
)

var portForwardKeys = described(func(p *PortForward) *About { return &p.About },
	leaf("name", func(p *PortForward, v value) { p.Name = v.text() }),
	leaf("protocol", func(p *PortForward, v value) { p.Protocol = v.protocol() }),
	leaf("external_port", func(p *PortForward, v value) { p.ExternalPort = v.port() }),
	leaf("fixed_ip", func(p *PortForward, v value) { p.FixedIP = v.addr() }),
	leaf("port", func(p *PortForward, v value) { p.Port = v.port() }),
	leaf("id", func(p *PortForward, v value) { p.ID = v.id() }),
)

var poolKeys = described(func(p *Pool) *About { return &p.About },
	adminState(func(p *Pool) *bool { return &p.AdminStateDown }),
	leaf("loadbalancer", func(p *Pool, v value) { p.LoadBalancer = v.text() }),
	leaf("name", func(p *Pool, v value) { p.Name = v.text() }),
	leaf("protocol", func(p *Pool, v value) { p.Protocol = v.protocol() }),
	leaf("application", func(p *Pool, v value) { p.Application = v.text() }),
	leaf("algorithm", func(p *Pool, v value) { p.Algorithm = v.text() }),
	table("session_persistence", persistenceKeys,
		func(line int) SessionPersistence { return SessionPersistence{Line: line} },
		func(p *Pool, s SessionPersistence) { p.SessionPersistence = &s }),
	table("monitor", monitorKeys,
		func(line int) Monitor { return Monitor{Line: line} },
		func(p *Pool, m Monitor) { p.Monitor = &m }),
	leaf("on_member_down", func(p *Pool, v value) { p.OnMemberDown = v.text() }),
	leaf("on_member_removed", func(p *Pool, v value) { p.OnMemberRemoved = v.text() }),
	tables("member", "member", "name", memberKeys,
		func(line int) Member { return Member{Line: line, Weight: 1, AdminStateUp: true} },
		func(p *Pool) *[]Member { return &p.Members }),
	leaf("id", func(p *Pool, v value) { p.ID = v.id() }),
)

var persistenceKeys = keys[SessionPersistence]{
	leaf("type", func(s *SessionPersistence, v value) { s.Type = v.text() }),
	leaf("timeout", func(s *SessionPersistence, v value) { s.Timeout = v.duration() }),
}

var monitorKeys = described(func(m *Monitor) *About { return &m.About },
	leaf("name", func(m *Monitor, v value) { m.Name = v.text() }),
	adminState(func(m *Monitor) *bool { return &m.AdminStateDown }),
	leaf("type", func(m *Monitor, v value) { m.Type = v.text() }),
	leaf("delay", func(m *Monitor, v value) { m.Delay = v.duration() }),
	leaf("timeout", func(m *Monitor, v value) { m.Timeout = v.duration() }),
	leaf("max_retries", func(m *Monitor, v value) { m.MaxRetries = v.number() }),
	leaf("max_retries_down", func(m *Monitor, v value) { m.MaxRetriesDown = v.number() }),
	leaf("initial_state", func(m *Monitor, v value) { m.InitialState = v.text() }),
	leaf("http_method", func(m *Monitor, v value) { m.HTTPMethod = v.text() }),
	leaf("url_path", func(m *Monitor, v value) { m.URLPath = v.text() }),
	leaf("expected_codes", func(m *Monitor, v value) { m.ExpectedCodes = v.text() }),
	leaf("http_version", func(m *Monitor, v value) { m.HTTPVersion = v.text() }),
	leaf("domain_name", func(m *Monitor, v value) { m.DomainName = v.text() }),
	leaf("id", func(m *Monitor, v value) { m.ID = v.id() }),
)

var memberKeys = described(func(m *Member) *About { return &m.About },
	leaf("name", func(m *Member, v value) { m.NoName, m.Name = v.raw == "", v.text() }),
	leaf("subnet_id", func(m *Member, v value) { m.Subnet = v.id() }),
	leaf("address", func(m *Member, v value) { m.Address = v.addr() }),
	leaf("port", func(m *Member, v value) { m.Port = v.port() }),
	leaf("weight", func(m *Member, v value) { m.Weight = v.number() }),
	leaf("backup", func(m *Member, v value) { m.Backup = v.flag() }),
	leaf("monitor_address", func(m *Member, v value) { m.MonitorAddress = v.addr() }),
	leaf("monitor_port", func(m *Member, v value) { m.MonitorPort = v.port() }),
	leaf("admin_state_up", func(m *Member, v value) { m.AdminStateUp = v.flag() }),
	leaf("id", func(m *Member, v value) { m.ID = v.id() }),
)

var loadBalancerKeys = described(func(b *LoadBalancer) *About { return &b.About },
	leaf("name", func(b *LoadBalancer, v value) { b.Name = v.text() }),
	leaf("network", func(b *LoadBalancer, v value) { b.Network = v.text() }),
	leaf("address", func(b *LoadBalancer, v value) { b.Address = v.addr() }),
	leaf("router", func(b *LoadBalancer, v value) { b.Router = v.text() }),
	leaf("port", func(b *LoadBalancer, v value) { b.Port = v.text() }),
	leaf("security_groups", func(b *LoadBalancer, v value) { b.SecurityGroups = listOf(v, value.text) }),
	adminState(func(b *LoadBalancer) *bool { return &b.AdminStateDown }),
	leaf("id", func(b *LoadBalancer, v value) { b.ID = v.id() }),
)

var vipKeys = described(func(x *VIP) *About { return &x.About },
	leaf("loadbalancer", func(x *VIP, v value) { x.LoadBalancer = v.text() }),
	adminState(func(x *VIP) *bool { return &x.AdminStateDown }),
	leaf("name", func(x *VIP, v value) { x.Name = v.text() }),
	leaf("network", func(x *VIP, v value) { x.Network = v.text() }),
	leaf("address", func(x *VIP, v value) { x.Address = v.addr() }),
	leaf("protocol", func(x *VIP, v value) { x.Protocol = v.protocol() }),
	leaf("port", func(x *VIP, v value) { x.Port = v.port() }),
	leaf("application", func(x *VIP, v value) { x.Application = v.text() }),
	leaf("pool", func(x *VIP, v value) { x.Pool = v.text() }),
	leaf("connection_limit", func(x *VIP, v value) { x.ConnectionLimit = v.number() }),
	leaf("idle_timeout", func(x *VIP, v value) { x.IdleTimeout = v.duration() }),
	leaf("timeout_member_connect", func(x *VIP, v value) { x.Extra.MemberConnect = v.proxyTimeout() }),
	leaf("timeout_member_data", func(x *VIP, v value) { x.Extra.MemberData = v.proxyTimeout() }),
	leaf("timeout_tcp_inspect", func(x *VIP, v value) { x.Extra.TCPInspect = v.proxyTimeout() }),
	leaf("allowed_cidrs", func(x *VIP, v value) { x.AllowedCIDRs = listOf(v, value.prefix) }),
	leaf("router", func(x *VIP, v value) { x.Router = v.text() }),
	leaf("id", func(x *VIP, v value) { x.ID = v.id() }),
)

var natKeys = keys[NAT]{
	leaf("mapping", func(n *NAT, v value) { n.Mapping = v.text() }),
	leaf("filtering", func(n *NAT, v value) { n.Filtering = v.text() }),
	leaf("max_connections", func(n *NAT, v value) { n.MaxConnections = v.number() }),
	leaf("host_share", func(n *NAT, v value) { n.HostShare = v.fraction() }),
	leaf("lend", func(n *NAT, v value) { n.Lend = new(v.flag()) }),
	leaf("port_range", func(n *NAT, v value) {
		ports := parsed(v, parsePortRange)
		n.PortMin, n.PortMax = ports.first, ports.last
	}),
	leaf("no_snat", func(n *NAT, v value) {
		n.NoSNAT = append([]netip.Prefix{}, listOf(v, value.prefix)...) // an empty list is one, too
	}),
	leaf("mss_clamp", func(n *NAT, v value) { n.MSSClamp = v.flag() }),
	table("timeouts", timeoutKeys,
		func(int) Timeouts { return Timeouts{} },
		func(n *NAT, t Timeouts) { n.Timeouts = t }),
}

var timeoutKeys = keys[Timeouts]{
	leaf("udp", func(t *Timeouts, v value) { t.UDP = v.duration() }),
	leaf("icmp", func(t *Timeouts, v value) { t.ICMP = v.duration() }),
	leaf("tcp_established", func(t *Timeouts, v value) { t.TCPEstablished = v.duration() }),
	leaf("tcp_transitory", func(t *Timeouts, v value) { t.TCPTransitory = v.duration() }),
	leaf("tcp_opening", func(t *Timeouts, v value) { t.TCPOpening = v.duration() }),
	leaf("tcp_closing", func(t *Timeouts, v value) { t.TCPClosing = v.duration() }),
	leaf("fragment", func(t *Timeouts, v value) { t.Fragment = v.duration() }),
}

var dnsKeys = keys[DNS]{
	leaf("forward", func(d *DNS, v value) { d.Forward = listOf(v, value.nameServer) }),
	leaf("via", func(d *DNS, v value) { d.Via = v.text() }),
}

var metadataKeys = keys[Metadata]{
	leaf("forward", func(m *Metadata, v value) { m.Forward = v.text() }),
	leaf("secret", func(m *Metadata, v value) { m.Secret = v.secret() }),
	leaf("via", func(m *Metadata, v value) { m.Via = v.text() }),
}

var engineKeys = keys[Engine]{
	leaf("workers", func(e *Engine, v value) { e.Workers = v.number() }),
	leaf("busy_poll", func(e *Engine, v value) { e.BusyPoll = v.duration() }),
}

var instanceKeys = keys[Instance]{
	leaf("name", func(i *Instance, v value) { i.Name = v.text() }),
	leaf("network", func(i *Instance, v value) { i.Network = v.text() }),
	leaf("address", func(i *Instance, v value) { i.Address = v.addr() }),
	leaf("mac", func(i *Instance, v value) { i.MAC = v.mac() }),
	leaf("gateway", func(i *Instance, v value) { i.Gateway = v.addr() }),
	leaf("device", func(i *Instance, v value) { i.Device = v.text() }),
	leaf("dhcp", func(i *Instance, v value) { i.DHCP = v.flag() }),
	leaf("serve", func(i *Instance, v value) { i.Serve = listOf(v, value.service) }),
	leaf("id", func(i *Instance, v value) { i.ID = v.id() }),
}

var stepKeys = keys[Step]{
	leaf("title", func(s *Step, v value) { s.Title = v.text() }),
	leaf("explain", func(s *Step, v value) { s.Explain = v.text() }),
	leaf("on", func(s *Step, v value) { s.On = v.text() }),
	leaf("do", func(s *Step, v value) { s.Do = v.text() }),
	leaf("times", func(s *Step, v value) { s.Times = v.number() }),
	leaf("within", func(s *Step, v value) { s.Within = v.duration() }),
	leaf("expect", decodeExpect),
	leaf("fails", func(s *Step, v value) { s.Fails = v.flag() }),
	tables("sees", "sees", "", patternKeys, blankPattern,
		func(s *Step) *[]PacketPattern { return &s.Sees }),
	tables("never", "never", "", patternKeys, blankPattern,
		func(s *Step) *[]PacketPattern { return &s.Never }),
}

// decodeExpect reads one string, for all times, or a list of them.
func decodeExpect(s *Step, v value) {
	switch raw := v.raw.(type) {
	case string:
		s.Expect = []string{raw}
	case []any:
		s.Expect = listOf(v, value.text)
	default:
		v.wrongType("a string or a list of strings")
	}
}

var patternKeys = keys[PacketPattern]{
	leaf("network", func(p *PacketPattern, v value) { p.Network = v.text() }),
	leaf("device", func(p *PacketPattern, v value) { p.Device = v.text() }),
	leaf("vlan", func(p *PacketPattern, v value) { p.VLAN = v.number() }),
	leaf("src", func(p *PacketPattern, v value) { p.Src = v.addr() }),
	leaf("dst", func(p *PacketPattern, v value) { p.Dst = v.addr() }),
	leaf("protocol", func(p *PacketPattern, v value) { p.Protocol = v.protocol() }),
	leaf("src_port", func(p *PacketPattern, v value) { p.SrcPort = v.port() }),
	leaf("dst_port", func(p *PacketPattern, v value) { p.DstPort = v.port() }),
}

func blankPattern(line int) PacketPattern { return PacketPattern{Line: line} }

func (v value) id() config.ID              { return parsed(v, parseID) }
func (v value) device() Device             { return parsed(v, config.ParseDevice) }
func (v value) addressRange() AddressRange { return parsed(v, parseRange) }
func (v value) addressOrRange() AddressRange {
	return parsed(v, parseAddrOrRange)
}
func (v value) service() Service { return parsed(v, parseService) }
func (v value) nameServer() netip.AddrPort {
	return parsed(v, config.ParseNameServer)
}
func (v value) protocol() Protocol { return Protocol(v.text()) }
