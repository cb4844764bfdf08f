package file

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

// A declaration is an object of the topology with the table that declares it.
type declaration struct {
	object config.Object
	at     scope
	key    func(field string) string // the key in the table that a field of the object has; nil: the same one

	// whole says that the table stands for this object alone, and may come before what serves it: an object that a
	// program has made may be written so.
	whole bool
}

// A declarer makes objects of a topology's tables.
type declarer struct {
	*Topology
	root scope
	list []declaration

	networks map[string]*Network // by name; the first of a name. So are the others
	routers  map[string]config.ID
	pools    map[string]config.ID
	labels   map[string]config.ID
	ports    map[portKey]config.ID

	instances map[portKey]config.ID
	balancers map[string]config.ID
	groups    map[string]config.ID // security groups
	prefixes  map[string]config.ID // address groups
	portNames map[string]*Port
	gateways  map[config.ID]bool // routers whose gateway's port is a table of its own
	made      map[config.ID]int  // IDs of interfaces
}

// declare makes an object of every table that stands for one. A value that a table leaves open is also open in its
// object. Parents come before children. If two objects want the same address, the first has it. The topology has its
// IDs already.
func (t *Topology) declare(root scope) []declaration {
	d := &declarer{
		Topology: t, root: root,
		networks: map[string]*Network{}, routers: map[string]config.ID{}, pools: map[string]config.ID{},
		labels: map[string]config.ID{}, ports: map[portKey]config.ID{}, instances: map[portKey]config.ID{},
		balancers: map[string]config.ID{}, groups: map[string]config.ID{}, prefixes: map[string]config.ID{},
		portNames: map[string]*Port{}, gateways: t.gatewayPorts(), made: map[config.ID]int{},
	}
	d.settings()
	d.declareNetworks()
	d.declareRouters()
	d.declareAddressGroups()
	d.declareSecurityGroups()
	d.declarePorts()
	d.nameBalancers()
	d.declarePools()
	d.declareBalancers()
	d.declareVIPs()
	d.declareFloatingIPs()
	d.declareInstances()
	d.declareQuota()
	return d.list
}

func (d *declarer) add(o config.Object, at scope, key func(field string) string) {
	d.list = append(d.list, declaration{object: o, at: at, key: key})
}

// describe gives the newest object what a table says of it besides.
func (d *declarer) describe(a About) {
	m := d.list[len(d.list)-1].object.About()
	m.Description, m.Tags = a.Description, a.Tags
}

func (d *declarer) source(line int) config.Source { return config.Source{File: d.File, Line: line} }

func (d *declarer) meta(id config.ID, name string, line int) config.Meta {
	return config.Meta{ID: id, Name: name, Source: d.source(line)}
}

// network is the ID of a network, empty if there is none of that name.
func (d *declarer) network(name string) config.ID {
	if n := d.networks[name]; n != nil {
		return n.ID
	}
	return ""
}

// router is the ID of a router that a table may name. Of a name that no router has it makes an ID that no router has:
// the name was given, and no router is to be chosen.
func (d *declarer) router(name string) config.ID {
	id, ok := d.routers[name]
	if !ok && name != "" {
		return config.NameID(config.KindRouter, "unknown", name)
	}
	return id
}

func (d *declarer) settings() {
	line := 0 // the first one
	for _, l := range []int{d.NAT.Line, d.DNS.Line, d.Metadata.Line, d.Engine.Line} {
		if line == 0 || l > 0 && l < line {
			line = l
		}
	}
	o := &config.Settings{
		Meta:     d.meta(config.SettingsID, "", line),
		NAT:      d.NAT.object(),
		Engine:   config.Engine{Workers: d.Engine.Workers, BusyPoll: d.Engine.BusyPoll},
		DNS:      d.DNS.DNS,
		Metadata: d.Metadata.Metadata,
	}
	if d.NAT.MSSClamp {
		o.NAT.MSSClamp = new(true)
	}
	d.add(o, d.root, nil)
}

// object is the table as a State has it, apart from MSSClamp.
func (n *NAT) object() config.NAT {
	return config.NAT{
		Mapping: n.Mapping, Filtering: n.Filtering, MaxConnections: n.MaxConnections, HostShare: n.HostShare,
		Lend: n.Lend, PortMin: n.PortMin, PortMax: n.PortMax, NoSNAT: n.NoSNAT, Timeouts: n.Timeouts,
	}
}

// ownNAT is what a router's nat says that the settings of all routers do not. In a validated topology the
// others are filled in.
func (d *declarer) ownNAT(router scope, n *NAT) config.NAT {
	if n == nil {
		return config.NAT{}
	}
	own, all := n.object(), d.NAT.object()
	if router.given("nat") { // the table is as it was read
		if router.given("nat.mss_clamp") {
			own.MSSClamp = &n.MSSClamp
		}
		return own
	}
	inherit(&own.Mapping, all.Mapping)
	inherit(&own.Filtering, all.Filtering)
	inherit(&own.MaxConnections, all.MaxConnections)
	inherit(&own.HostShare, all.HostShare)
	if own.Lend != nil && all.Lend != nil && *own.Lend == *all.Lend {
		own.Lend = nil
	}
	if own.PortMin == all.PortMin && own.PortMax == all.PortMax {
		own.PortMin, own.PortMax = 0, 0
	}
	if slices.Equal(own.NoSNAT, all.NoSNAT) {
		own.NoSNAT = nil
	}
	if n.MSSClamp != d.NAT.MSSClamp {
		own.MSSClamp = &n.MSSClamp
	}
	transitory := own.Timeouts.TCPTransitory != all.Timeouts.TCPTransitory
	for _, t := range timeouts {
		if !t.part || !transitory {
			inherit(t.field(&own.Timeouts), *t.field(&all.Timeouts))
		} else if *t.field(&own.Timeouts) == own.Timeouts.TCPTransitory {
			*t.field(&own.Timeouts) = 0
		}
	}
	return own
}

// inherit makes a value zero that is the settings' anyway.
func inherit[T comparable](own *T, all T) {
	if *own == all {
		var zero T
		*own = zero
	}
}

func (d *declarer) declareNetworks() {
	for i := range d.PhysicalNetworks {
		p := &d.PhysicalNetworks[i]
		at := d.root.item("physical_network", "physical network", p.Name, i, len(d.PhysicalNetworks), p.Line)
		setFirst(d.labels, p.Name, p.ID)
		d.add(&config.PhysicalNetwork{Meta: d.meta(p.ID, p.Name, p.Line), Devices: p.Devices}, at, nil)
		d.describe(p.About)
	}
	delete(d.labels, "")
	for i := range d.PhysicalNetworks {
		setFirst(d.labels, string(d.PhysicalNetworks[i].ID), d.PhysicalNetworks[i].ID)
	}
	setFirst(d.labels, defaultLabel, config.NameID(config.KindPhysicalNetwork, defaultLabel))
	for i := range d.Networks {
		n := &d.Networks[i]
		at := d.root.item("network", "network", n.Name, i, len(d.Networks), n.Line)
		setFirst(d.networks, n.Name, n)
		o := &config.Network{
			Meta: d.meta(n.ID, n.Name, n.Line), AdminStateUp: !n.AdminStateDown, External: n.External,
			MTU: n.MTU, VLAN: n.VLAN,
			Devices: n.Devices, Host: n.Host, GRO: n.GRO, PortSecurity: n.PortSecurity, StormLimit: n.StormLimit,
			Extra: &n.Extra,
		}
		if n.PhysicalNetwork != "" {
			o.PhysicalNetwork = d.labels[n.PhysicalNetwork]
			if n.filled {
				o.Devices = nil // they are the label's
			}
		}
		d.add(o, at, nil)
		d.describe(n.About)
		for j := range n.Subnets {
			d.declareSubnet(n, at, j)
		}
	}
	delete(d.networks, "")
	for i := range d.Networks {
		setFirst(d.networks, string(d.Networks[i].ID), &d.Networks[i])
	}
}

func (d *declarer) declareSubnet(n *Network, at scope, j int) {
	sub := &n.Subnets[j]
	at = at.item("subnet", "subnet", "", j, len(n.Subnets), sub.Line)
	o := &config.Subnet{
		Meta: d.meta(sub.ID, sub.Name, sub.Line), Network: n.ID, CIDR: sub.CIDR, Gateway: sub.gateway(),
		AllocationPools: sub.AllocationPools, DHCP: sub.DHCP, LeaseTime: sub.LeaseTime,
		DNSNameservers: sub.DNSNameservers, Extra: &sub.Extra,
	}
	for _, r := range sub.HostRoutes {
		o.HostRoutes = append(o.HostRoutes, d.route(r))
	}
	if at.spoiled("gateway") {
		o.Gateway, o.DHCP = netip.Addr{}, false // nothing is known of it
	}
	d.add(o, at, nil)
	d.describe(sub.About)
	d.list[len(d.list)-1].whole = at.given("id")
}

// gateway is a subnet's gateway: the first host, unless the table says what else.
func (s *Subnet) gateway() netip.Addr {
	if !s.Gateway.IsValid() && !s.NoGateway && s.CIDR.IsValid() {
		return config.FirstHost(s.CIDR)
	}
	return s.Gateway
}

func (d *declarer) route(r Route) config.Route {
	return config.Route{Destination: r.Destination, NextHop: r.NextHop, Source: d.source(r.Line)}
}

func (d *declarer) declareRouters() {
	for i := range d.Routers {
		setFirst(d.routers, d.Routers[i].Name, d.Routers[i].ID)
	}
	delete(d.routers, "") // a name that is empty is no reference
	for i := range d.Routers {
		r := &d.Routers[i]
		setFirst(d.routers, string(r.ID), r.ID)
		at := d.root.item("router", "router", r.Name, i, len(d.Routers), r.Line)
		o := &config.Router{
			Meta: d.meta(r.ID, r.Name, r.Line), AdminStateUp: !r.AdminStateDown, RPFilter: r.RPFilter,
			NAT: d.ownNAT(at, r.NAT), Extra: &r.Extra,
		}
		for _, route := range r.Routes {
			o.Routes = append(o.Routes, d.route(route))
		}
		gw := r.Gateway
		if gw != nil {
			o.Gateway = &config.Gateway{
				Network: d.network(gw.Network), SNAT: gw.SNAT || at.spoiled("gateway.snat"),
				SNATAddresses: gw.SNATAddresses, Source: d.source(gw.Line),
			}
		}
		d.add(o, at, nil)
		d.describe(r.About)
		for j := range r.Interfaces {
			d.declareInterface(r, at, j)
		}
		if gw != nil && !d.gateways[r.ID] {
			p := routerPort(d.meta(gw.ID, "", gw.Line), r, config.OwnerGateway, o.Gateway.Network, gw.Address)
			p.MAC = gw.MAC
			d.add(p, at.child("gateway", gw.Line), addressKey)
		}
	}
}

// declareInterface makes a port for each address that a router has on a tenant network.
func (d *declarer) declareInterface(r *Router, at scope, j int) {
	iface := &r.Interfaces[j]
	at = at.item("interfaces", "interface", iface.Network, j, len(r.Interfaces), iface.Line)
	network := d.network(iface.Network)
	for _, a := range d.interfaceAddresses(iface) {
		id := iface.ID
		if id == "" {
			parts := []string{idInterface, string(r.ID), string(network), a.String()}
			id = config.NameID(config.KindPort, parts...)
			// An interface that is there twice is a fault, which config explains.
			if d.made[id]++; d.made[id] > 1 {
				id = config.NameID(config.KindPort, append(parts, strconv.Itoa(d.made[id]))...)
			}
		}
		p := routerPort(d.meta(id, "", iface.Line), r, config.OwnerInterface, network, a)
		p.MAC = iface.MAC
		d.add(p, at, addressKey)
	}
}

// interfaceAddresses are a router's addresses on a tenant network: the given one, or the gateway of every
// subnet that has one.
func (d *declarer) interfaceAddresses(iface *RouterInterface) []netip.Addr {
	n := d.networks[iface.Network]
	if iface.Address.IsValid() || n == nil {
		return []netip.Addr{iface.Address}
	}
	if all := n.gateways(); len(all) > 0 {
		return all
	}
	return []netip.Addr{{}} // config says that there is none
}

// gateways are the gateways of a network's subnets.
func (n *Network) gateways() []netip.Addr {
	var all []netip.Addr
	for i := range n.Subnets {
		if s := &n.Subnets[i]; s.CIDR.IsValid() && s.CIDR.Contains(s.gateway()) {
			all = append(all, s.gateway())
		}
	}
	return all
}

// routerPort is a router's port: its owner says of which sort.
func routerPort(m config.Meta, r *Router, owner string, network config.ID, a netip.Addr) *config.Port {
	return &config.Port{
		Meta: m, Network: network, AdminStateUp: true, FixedIPs: []config.FixedIP{{Address: a}},
		DeviceID: string(r.ID), DeviceOwner: owner,
	}
}

// addressKey is the key of a field in a table that has one address.
func addressKey(field string) string {
	if strings.HasPrefix(field, "fixed_ips") {
		return "address"
	}
	return field
}

// keyIn gives the keys of a port's fields in its table, which may have an address as fixed_ip, and name the file of the
// user data.
func (p *Port) keyIn(at scope) func(field string) string {
	return func(field string) string {
		switch {
		case p.FixedIPs == nil && strings.HasPrefix(field, "fixed_ips"):
			return "fixed_ip"
		case field == "user_data":
			if _, named := at.r.lineAt(joinPath(at.path, userDataFile)); named {
				return userDataFile
			}
		}
		return field
	}
}

func (d *declarer) declarePorts() {
	for i := range d.Instances {
		setFirst(d.instances, portKey{d.Instances[i].Network, d.Instances[i].Name}, d.Instances[i].ID)
	}
	for i := range d.Ports {
		p := &d.Ports[i]
		at := d.root.item("port", "port", p.Name, i, len(d.Ports), p.Line)
		o := &config.Port{
			Meta: d.meta(p.ID, p.Name, p.Line), Network: d.network(p.Network), AdminStateUp: !p.AdminStateDown,
			MAC: p.MAC, FixedIPs: p.fixedIPs(), Device: p.Device, DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner,
			PortSecurity: p.PortSecurity, SecurityGroups: d.groupIDs(p.SecurityGroups), Extra: &p.Extra,
		}
		for _, pair := range p.AllowedAddressPairs {
			if pair.MAC == p.MAC {
				pair.MAC = config.MAC{} // as if left out
			}
			o.AllowedAddressPairs = append(o.AllowedAddressPairs, pair)
		}
		key := portKey{p.Network, p.Name}
		if id, ok := d.instances[key]; ok && o.DeviceOwner == "" {
			o.DeviceID, o.DeviceOwner = string(id), config.OwnerCompute
		}
		setFirst(d.ports, key, p.ID)
		setFirst(d.portNames, p.Name, p)
		d.add(o, at, p.keyIn(at))
		d.describe(p.About)
	}
	delete(d.portNames, "")
	for i := range d.Ports {
		setFirst(d.portNames, string(d.Ports[i].ID), &d.Ports[i])
	}
}

// fixedIPs are the addresses of a port.
func (p *Port) fixedIPs() []config.FixedIP {
	if p.FixedIPs == nil {
		return []config.FixedIP{{Address: p.FixedIP}}
	}
	all := []config.FixedIP{}
	for _, a := range p.FixedIPs {
		all = append(all, config.FixedIP{Address: a})
	}
	return all
}

// declareInstances makes ports for the instances that have none.
func (d *declarer) declareInstances() {
	for i := range d.Instances {
		h := &d.Instances[i]
		if _, ok := d.ports[portKey{h.Network, h.Name}]; ok {
			continue
		}
		at := d.root.item("instance", "instance", h.Name, i, len(d.Instances), h.Line)
		o := &config.Port{
			Meta: d.meta(h.ID, h.Name, h.Line), Network: d.network(h.Network), AdminStateUp: true, MAC: h.MAC,
			FixedIPs: []config.FixedIP{{Address: h.Address}}, DeviceID: string(h.ID), DeviceOwner: config.OwnerCompute,
		}
		d.add(o, at, addressKey)
	}
}

func (d *declarer) declareFloatingIPs() {
	for i := range d.FloatingIPs {
		f := &d.FloatingIPs[i]
		at := d.root.item("floating_ip", "floating IP", addrText(f.Address), i, len(d.FloatingIPs), f.Line)
		o := &config.FloatingIP{
			Meta: d.meta(f.ID, f.Name, f.Line), Network: d.network(f.Network), Address: f.Address, FixedIP: f.FixedIP,
			Router: d.router(f.Router), Extra: &f.Extra,
		}
		d.add(o, at, nil)
		d.describe(f.About)
		for j := range f.PortForwarding {
			p := &f.PortForwarding[j]
			o := &config.PortForwarding{
				Meta: d.meta(p.ID, p.Name, p.Line), FloatingIP: f.ID, Protocol: p.Protocol,
				ExternalPort: p.ExternalPort,
				FixedIP:      p.FixedIP, Port: p.Port,
			}
			inner := at.item("port_forwarding", "port forwarding", "", j, len(f.PortForwarding), p.Line)
			d.add(o, inner, nil)
			d.describe(p.About)
		}
	}
}

func (d *declarer) declarePools() {
	for i := range d.Pools {
		setFirst(d.pools, d.Pools[i].Name, d.Pools[i].ID)
	}
	for i := range d.Pools {
		setFirst(d.pools, string(d.Pools[i].ID), d.Pools[i].ID)
	}
	delete(d.pools, "")
	for i := range d.Pools {
		p := &d.Pools[i]
		at := d.root.item("pool", "pool", p.Name, i, len(d.Pools), p.Line)
		o := &config.Pool{
			Meta: d.meta(p.ID, p.Name, p.Line), AdminStateUp: !p.AdminStateDown, Protocol: p.Protocol,
			Algorithm: p.Algorithm, OnMemberDown: p.OnMemberDown, OnMemberRemoved: p.OnMemberRemoved,
			LoadBalancer: d.balancers[p.LoadBalancer], Application: p.Application,
		}
		if s := p.SessionPersistence; s != nil {
			o.SessionPersistence = &config.SessionPersistence{Type: s.Type, Timeout: s.Timeout}
		}
		d.add(o, at, nil)
		d.describe(p.About)
		if m := p.Monitor; m != nil {
			d.add(&config.Monitor{
				Meta: d.meta(m.ID, m.Name, m.Line), Pool: p.ID, AdminStateUp: !m.AdminStateDown, Type: m.Type,
				Delay:   m.Delay,
				Timeout: m.Timeout, MaxRetries: m.MaxRetries, MaxRetriesDown: m.MaxRetriesDown,
				InitialState: m.InitialState,
				HTTPMethod:   m.HTTPMethod, URLPath: m.URLPath, ExpectedCodes: m.ExpectedCodes,
				HTTPVersion: m.HTTPVersion, DomainName: m.DomainName,
			}, at.child("monitor", m.Line), nil)
			d.describe(m.About)
		}
		for j := range p.Members {
			m := &p.Members[j]
			name := m.Name
			if name == "" && !m.NoName && m.Address.IsValid() {
				name = m.endpoint()
			}
			d.add(&config.Member{
				Meta: d.meta(m.ID, name, m.Line), Pool: p.ID, Address: m.Address, Port: m.Port, Weight: m.Weight,
				Backup: m.Backup, Subnet: m.Subnet, AdminStateUp: m.AdminStateUp,
				MonitorAddress: m.MonitorAddress, MonitorPort: m.MonitorPort,
			}, at.item("member", "member", name, j, len(p.Members), m.Line), nil)
			d.describe(m.About)
		}
	}
}

// nameBalancers gives the load balancers of tables their names, which pools before them use.
func (d *declarer) nameBalancers() {
	for i := range d.LoadBalancers {
		setFirst(d.balancers, d.LoadBalancers[i].Name, d.LoadBalancers[i].ID)
	}
	for i := range d.LoadBalancers {
		setFirst(d.balancers, string(d.LoadBalancers[i].ID), d.LoadBalancers[i].ID)
	}
	delete(d.balancers, "")
}

func (d *declarer) declareBalancers() {
	for i := range d.LoadBalancers {
		b := &d.LoadBalancers[i]
		at := d.root.item("loadbalancer", "load balancer", b.Name, i, len(d.LoadBalancers), b.Line)
		o := &config.LoadBalancer{
			Meta: d.meta(b.ID, b.Name, b.Line), Network: d.network(b.Network), Address: b.Address,
			Router: d.router(b.Router), AdminStateUp: !b.AdminStateDown, SecurityGroups: d.groupIDs(b.SecurityGroups),
		}
		if p := d.portNames[b.Port]; p != nil {
			o.Port = p.ID
			if ips := p.fixedIPs(); !o.Address.IsValid() && len(ips) > 0 {
				o.Address = ips[0].Address
			}
		}
		d.add(o, at, nil)
		d.describe(b.About)
		d.list[len(d.list)-1].whole = true
	}
}

// declareVIPs makes a listener for each VIP, and a load balancer for each address of VIPs that name none.
func (d *declarer) declareVIPs() {
	routers := map[networkAddress]config.ID{} // of the first VIP there that names one
	for i := range d.VIPs {
		if v := &d.VIPs[i]; v.Router != "" && v.LoadBalancer == "" {
			setFirst(routers, networkAddress{v.Network, v.Address}, d.router(v.Router))
		}
	}
	balancers := map[networkAddress]bool{}
	for i := range d.VIPs {
		v := &d.VIPs[i]
		at := d.root.item("vip", "VIP", v.Name, i, len(d.VIPs), v.Line)
		network, place := d.network(v.Network), networkAddress{v.Network, v.Address}
		balancer := config.NameID(config.KindLoadBalancer, string(network), addrText(v.Address))
		if v.LoadBalancer != "" {
			balancer = d.balancers[v.LoadBalancer]
		} else if !balancers[place] {
			balancers[place] = true
			d.add(&config.LoadBalancer{
				Meta: d.meta(balancer, v.Name, v.Line), Network: network, Address: v.Address, Router: routers[place],
				AdminStateUp: true,
			}, at, balancerKey)
		}
		d.add(&config.Listener{
			Meta: d.meta(v.ID, v.Name, v.Line), LoadBalancer: balancer, Protocol: v.Protocol, Port: v.Port,
			Pool: d.pools[v.Pool], ConnectionLimit: v.ConnectionLimit, IdleTimeout: v.IdleTimeout,
			AllowedCIDRs: v.AllowedCIDRs, AdminStateUp: !v.AdminStateDown, Application: v.Application,
			Extra: &v.Extra,
		}, at, nil)
		d.describe(v.About)
	}
}

// balancerKey is the key of a load balancer's field in the table of its first VIP, which has other keys for itself.
func balancerKey(field string) string {
	switch field {
	case "network", "address", "router", "name":
		return field
	}
	return "loadbalancer." + field
}

// A timeout is one of the timeouts of a nat table.
type timeout struct {
	key   string
	field func(*Timeouts) *time.Duration
	part  bool // of tcp_transitory, whose value it has if it is not given
}

var timeouts = []timeout{
	{"udp", func(t *Timeouts) *time.Duration { return &t.UDP }, false},
	{"icmp", func(t *Timeouts) *time.Duration { return &t.ICMP }, false},
	{"tcp_established", func(t *Timeouts) *time.Duration { return &t.TCPEstablished }, false},
	{"tcp_transitory", func(t *Timeouts) *time.Duration { return &t.TCPTransitory }, false},
	{"tcp_opening", func(t *Timeouts) *time.Duration { return &t.TCPOpening }, true},
	{"tcp_closing", func(t *Timeouts) *time.Duration { return &t.TCPClosing }, true},
	{"fragment", func(t *Timeouts) *time.Duration { return &t.Fragment }, false},
}
