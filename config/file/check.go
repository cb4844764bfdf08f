package file

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/taprouter/taprouter/config"
)

// A checker checks the rules of the file: that names are there and unique, that they refer to something, and
// that a lesson can be played. Package config checks the rules of the network.
type checker struct {
	*Topology
	root     scope
	networks map[string]*Network // by name; the first of a name
	routers  map[string]bool
	labels   map[string]bool
	pools    map[string]bool
	ports    map[portKey]*Port
	hosts    map[string]bool // instances' names
	balancer map[string]bool
	groups   map[string]bool    // security groups
	prefixes map[string]bool    // address groups
	portIs   map[string]bool    // ports' names
	given    map[config.ID]bool // IDs that tables state, set by identify
	devices  map[string]bool    // networks whose devices could not be read
	unsure   map[string]bool    // networks with a subnet whose prefix could not be read
}

// A portKey is how an instance finds its port.
type portKey struct{ network, name string }

// defaultLabel is a physical network that exists without being declared.
const defaultLabel = "default"

func newChecker(t *Topology, r *report) *checker {
	return &checker{
		Topology: t,
		root:     r.root(),
		networks: map[string]*Network{},
		routers:  map[string]bool{},
		labels:   map[string]bool{},
		pools:    map[string]bool{},
		balancer: map[string]bool{},
		groups:   map[string]bool{},
		prefixes: map[string]bool{},
		portIs:   map[string]bool{},
		ports:    map[portKey]*Port{},
		hosts:    map[string]bool{},
		devices:  map[string]bool{},
		unsure:   map[string]bool{},
	}
}

// run checks the tables.
func (c *checker) run() {
	c.checkSomething()
	c.checkLabels()
	c.checkNetworks()
	c.checkNAT(c.root.child("nat", c.NAT.Line), &c.NAT)
	c.checkForwards()
	c.checkRouters()
	c.checkGroups()
	c.checkPorts()
	c.checkBalancers()
	c.checkPools()
	c.checkVIPs()
	c.checkFloatingIPs()
	c.checkInstances()
	c.checkSteps()
}

// checkSomething: a file that serves nothing is a mistake, such as the wrong
// file. Devices alone are enough, for the networks may be made at run time.
func (c *checker) checkSomething() {
	if len(c.Networks) == 0 && len(c.PhysicalNetworks) == 0 && !c.root.spoiled("network") && c.NAT.Line == 0 {
		c.root.fault("", "nothing to serve: there is no [[network]]")
	}
}

func (c *checker) checkLabels() {
	names := map[string]owner{}
	for i := range c.PhysicalNetworks {
		p := &c.PhysicalNetworks[i]
		s := c.root.item("physical_network", "physical network", p.Name, i, len(c.PhysicalNetworks), p.Line)
		if c.checkName(s, p.Name, p.ID, names) {
			c.labels[p.Name] = true
		}
		setFirst(c.labels, string(p.ID), true)
	}
	c.labels[defaultLabel] = true
}

func (c *checker) checkNetworks() {
	names := map[string]owner{}
	for i := range c.Networks {
		n := &c.Networks[i]
		s := c.root.item("network", "network", n.Name, i, len(c.Networks), n.Line)
		if c.checkName(s, n.Name, n.ID, names) {
			c.networks[n.Name] = n
		}
		setFirst(c.networks, string(n.ID), n)
		c.devices[n.Name] = c.devices[n.Name] || s.spoiled("devices")
		c.unsure[n.Name] = c.unsure[n.Name] || s.spoiledIn("subnet")
		zeroBetween(s, "vlan", n.VLAN, 1, config.MaxVLAN)
		zeroBetween(s, "mtu", n.MTU, config.MinMTU, config.MaxMTU)
		s.notEmpty("host", n.Host)
		s.notEmpty("gro", n.GRO)
		if n.PhysicalNetwork != "" || s.given("physical_network") {
			refer(s, "physical_network", "physical network", "physical_network", n.PhysicalNetwork, c.labels)
		}
		for j := range n.Subnets {
			sub := &n.Subnets[j]
			at := s.item("subnet", "subnet", "", j, len(n.Subnets), sub.Line)
			if sub.LeaseTime == 0 && at.given("lease_time") {
				at.fault("lease_time", "lease_time must be at least %v, not %v", config.MinLease, sub.LeaseTime)
			}
			if sub.NoGateway && sub.Gateway.IsValid() {
				at.fault("gateway", "gateway %v is set, yet so is NoGateway", sub.Gateway)
			}
		}
	}
}

// checkNAT checks the values of a nat table that config would take for left out.
func (c *checker) checkNAT(s scope, n *NAT) {
	s.notEmpty("mapping", n.Mapping)
	s.notEmpty("filtering", n.Filtering)
	zeroBetween(s, "max_connections", n.MaxConnections, 1, config.MaxMaxConnections)
	if n.HostShare == 0 && s.given("host_share") {
		s.fault("host_share", "host_share %v is not above 0 and at most 1", n.HostShare)
	}
	for _, t := range timeouts {
		s.zeroPositive("timeouts."+t.key, *t.field(&n.Timeouts))
	}
}

func (c *checker) checkRouters() {
	names := map[string]owner{}
	for i := range c.Routers {
		r := &c.Routers[i]
		s := c.root.item("router", "router", r.Name, i, len(c.Routers), r.Line)
		if c.checkName(s, r.Name, r.ID, names) {
			c.routers[r.Name] = true
		}
		setFirst(c.routers, string(r.ID), true)
		s.notEmpty("rp_filter", r.RPFilter)
		for j := range r.Interfaces {
			c.checkInterface(s, r, j)
		}
		if gw := r.Gateway; gw != nil {
			at := s.child("gateway", gw.Line)
			c.network(at, gw.Network)
			if len(gw.SNATAddresses) == 0 && at.given("snat_addresses") && !at.spoiled("snat_addresses") {
				at.fault("snat_addresses", "snat_addresses is empty; leave it out for the gateway's own address")
			}
		}
		if r.NAT != nil {
			c.checkNAT(s.child("nat", r.NAT.Line), r.NAT)
		}
	}
}

func (c *checker) checkInterface(s scope, r *Router, j int) {
	iface := &r.Interfaces[j]
	at := s.item("interfaces", "interface", iface.Network, j, len(r.Interfaces), iface.Line)
	n, ok := c.network(at, iface.Network)
	if !ok || iface.Address.IsValid() || iface.ID == "" {
		return
	}
	if all := len(n.gateways()); all > 1 {
		at.fault("id", "id is for one port, and the interface has %d addresses; write { network, address, "+
			"id } for each", all)
	}
}

func (c *checker) checkPorts() {
	names := map[string]owner{}
	for i := range c.Ports {
		p := &c.Ports[i]
		s := c.root.item("port", "port", p.Name, i, len(c.Ports), p.Line)
		if c.checkName(s, p.Name, p.ID, names) {
			c.ports[portKey{p.Network, p.Name}] = p
			c.portIs[p.Name] = true
		}
		setFirst(c.portIs, string(p.ID), true)
		c.checkGroupsOf(s, p.SecurityGroups)
		n, ok := c.network(s, p.Network)
		switch {
		case p.FixedIPs != nil && p.FixedIP.IsValid():
			s.fault("fixed_ips", "fixed_ips is instead of fixed_ip; write all addresses there")
		case p.FixedIPs == nil && !s.require("fixed_ip", p.FixedIP.IsValid()):
			s.mute("fixed_ip")
		}
		c.checkUserData(s, p)
		switch {
		case ok && p.Device == "" && s.given("device"):
			s.fault("device", "%s It must be one of the devices of network %q",
				config.UnknownWord("device", "", nil)+".", n.Name)
		case ok && c.devices[n.Name]:
			s.mute("device")
		}
	}
}

func (c *checker) checkPools() {
	names := map[string]owner{}
	for i := range c.Pools {
		p := &c.Pools[i]
		s := c.root.item("pool", "pool", p.Name, i, len(c.Pools), p.Line)
		if c.checkName(s, p.Name, p.ID, names) {
			c.pools[p.Name] = true
		}
		setFirst(c.pools, string(p.ID), true)
		if p.LoadBalancer != "" || s.given("loadbalancer") {
			refer(s, "loadbalancer", "load balancer", "loadbalancer", p.LoadBalancer, c.balancer)
		}
		s.notEmpty("protocol", string(p.Protocol))
		s.notEmpty("application", p.Application)
		s.notEmpty("algorithm", p.Algorithm)
		s.notEmpty("on_member_down", p.OnMemberDown)
		s.notEmpty("on_member_removed", p.OnMemberRemoved)
		if x := p.SessionPersistence; x != nil {
			at := s.child("session_persistence", x.Line)
			at.notEmpty("type", x.Type)
			at.zeroPositive("timeout", x.Timeout)
		}
		if m := p.Monitor; m != nil {
			m.check(s.child("monitor", m.Line))
		}
		members := map[string]owner{}
		for j := range p.Members {
			m := &p.Members[j]
			at := s.item("member", "member", m.Name, j, len(p.Members), m.Line)
			if m.Name != "" && m.Name != m.endpoint() || at.given("name") && !m.NoName {
				c.checkName(at, m.Name, m.ID, members)
			}
		}
	}
}

// check checks the values that config would take for left out.
func (m *Monitor) check(s scope) {
	s.notEmpty("type", m.Type)
	s.notEmpty("initial_state", m.InitialState)
	s.notEmpty("http_method", m.HTTPMethod)
	s.notEmpty("url_path", m.URLPath)
	s.notEmpty("expected_codes", m.ExpectedCodes)
	s.notEmpty("http_version", m.HTTPVersion)
	s.notEmpty("domain_name", m.DomainName)
	s.zeroPositive("delay", m.Delay)
	if m.Delay > 0 || !s.given("delay") {
		s.zeroPositive("timeout", m.Timeout)
	}
	zeroBetween(s, "max_retries", m.MaxRetries, 1, config.MaxRetries)
	zeroBetween(s, "max_retries_down", m.MaxRetriesDown, 1, config.MaxRetries)
}

func (c *checker) checkVIPs() {
	names := map[string]owner{}
	routers := map[networkAddress]*VIP{} // the first that names one
	for i := range c.VIPs {
		v, s := &c.VIPs[i], c.vipScope(i)
		c.checkName(s, v.Name, v.ID, names)
		s.notEmpty("protocol", string(v.Protocol))
		s.notEmpty("application", v.Application)
		if v.ConnectionLimit == 0 && s.given("connection_limit") {
			s.fault("connection_limit", "connection_limit must be at least 1, not 0; leave it out for none")
		}
		s.zeroPositive("idle_timeout", v.IdleTimeout)
		if v.Pool != "" || v.LoadBalancer == "" || s.given("pool") {
			refer(s, "pool", "pool", "pool", v.Pool, c.pools)
		}
		if v.LoadBalancer != "" || s.given("loadbalancer") {
			c.checkBalancerOf(s)
			refer(s, "loadbalancer", "load balancer", "loadbalancer", v.LoadBalancer, c.balancer)
			continue
		}
		c.network(s, v.Network)
		if !s.require("address", v.Address.IsValid()) {
			s.mute("address")
		}
		c.router(s, v.Router)
		if v.Router == "" {
			continue
		}
		place := networkAddress{v.Network, v.Address}
		if first := routers[place]; first == nil {
			routers[place] = v
		} else if first.Router != v.Router {
			s.fault("router", "router %q is another than that of VIP %q at the same address, %q", v.Router, first.Name,
				first.Router)
		}
	}
}

// checkBalancerOf checks a VIP that names a load balancer, and so needs no place of its own.
func (c *checker) checkBalancerOf(s scope) {
	for _, key := range []string{"network", "address", "router"} {
		if s.given(key) {
			s.fault(key, "%s is that of the load balancer; leave it out, or leave out loadbalancer", key)
		}
	}
}

func (c *checker) checkBalancers() {
	names := map[string]owner{}
	for i := range c.LoadBalancers {
		b := &c.LoadBalancers[i]
		s := c.root.item("loadbalancer", "load balancer", b.Name, i, len(c.LoadBalancers), b.Line)
		if c.checkName(s, b.Name, b.ID, names) {
			c.balancer[b.Name] = true
		}
		setFirst(c.balancer, string(b.ID), true)
		c.network(s, b.Network)
		c.router(s, b.Router)
		c.checkGroupsOf(s, b.SecurityGroups)
		if b.Port != "" || s.given("port") {
			refer(s, "port", "port", "port", b.Port, c.portIs)
		}
	}
}

// A networkAddress is where a load balancer is.
type networkAddress struct {
	network string
	address netip.Addr
}

func (c *checker) vipScope(i int) scope {
	return c.root.item("vip", "VIP", c.VIPs[i].Name, i, len(c.VIPs), c.VIPs[i].Line)
}

func (c *checker) checkFloatingIPs() {
	for i := range c.FloatingIPs {
		f := &c.FloatingIPs[i]
		s := c.root.item("floating_ip", "floating IP", addrText(f.Address), i, len(c.FloatingIPs), f.Line)
		c.network(s, f.Network)
		c.router(s, f.Router)
		for j := range f.PortForwarding {
			p := &f.PortForwarding[j]
			at := s.item("port_forwarding", "port forwarding", "", j, len(f.PortForwarding), p.Line)
			at.notEmpty("protocol", string(p.Protocol))
		}
	}
}

// An owner is the table that has a name or an id.
type owner struct {
	what string // such as: router "r1"
	line int
}

func (o owner) String() string {
	if o.line == 0 {
		return o.what
	}
	return fmt.Sprintf("%s (line %d)", o.what, o.line)
}

// owner is the table itself as the owner of something.
func (s scope) owner() owner { return owner{what: s.subject, line: s.line} }

// checkName checks a name and puts it down as taken. It says whether no other table has it. A table with an id may
// have any name, or none: a program may have given it. Other tables refer to it by its id then.
func (c *checker) checkName(s scope, name string, id config.ID, taken map[string]owner) bool {
	if c.given[id] {
		if _, ok := taken[name]; ok || name == "" {
			s.r.repeated[[2]string{s.list(), name}] = ok
			return false
		}
		taken[name] = s.owner()
		return true
	}
	if !s.require("name", name != "") {
		return false
	}
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, isUnprintable) {
		s.fault("name", "name %q begins or ends with a blank or holds characters that cannot be printed", name)
	}
	if first, ok := taken[name]; ok {
		s.fault("name", "name is taken by %v", first)
		return false
	}
	taken[name] = s.owner()
	return true
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// require reports a key that must be there and is not.
func (s scope) require(key string, there bool) bool {
	if !there && s.given(key) {
		s.fault(key, "%s is empty", key)
	} else if !there {
		s.fault(key, "%s is missing", key)
	}
	return there
}

// notEmpty reports a text that is there and empty.
func (s scope) notEmpty(key, text string) {
	if text == "" && s.given(key) {
		s.fault(key, "%s is empty", key)
		s.mute(key)
	}
}

// zeroBetween reports a zero that is there, where zero is out of bounds.
func zeroBetween[T cmp.Ordered](s scope, key string, v, low, high T) {
	var zero T
	if v == zero && s.given(key) {
		s.fault(key, "%s %v is not from %v to %v", key, v, low, high)
	}
}

// positive checks a duration that cannot be nothing.
func (s scope) positive(key string, d time.Duration) {
	if d <= 0 {
		s.fault(key, "%s must be more than 0s, not %v", key, d)
	}
}

// zeroPositive is positive for a value whose zero stands for another one when it is not there.
func (s scope) zeroPositive(key string, d time.Duration) {
	if d == 0 && s.given(key) {
		s.positive(key, d)
	}
}

// fallback sets a value that is not there.
func fallback[T comparable](s scope, key string, v *T, def T) {
	var zero T
	if *v == zero && !s.given(key) && !s.spoiled(key) {
		*v = def
	}
}

// maxCompared bounds the search for what unknown names probably mean, in pairs of bytes compared and 64 for
// each name. One slip among a hundred thousand names is found; a file full of them costs a second.
const maxCompared = 1 << 25

// mayCompare says whether the search may go through as many names as all has, for one.
func mayCompare[T any](r *report, name string, all map[string]T) bool {
	if r.compared > maxCompared {
		return false
	}
	for known := range all {
		r.compared += 64 + len(known)*min(len(name), maxSuggested)
	}
	return r.compared <= maxCompared
}

// refer finds what a key refers to by name. If there is nothing of that name, it says so, and config's fault about
// the same key is not reported.
func refer[T any](s scope, key, kind, header, name string, all map[string]T) (T, bool) {
	found, ok := all[name]
	if s.r.repeated[[2]string{header, name}] {
		defer s.mute(key)
		s.fault(key, "several tables [[%s]] are called %q; write the id of the one that is meant", header, name)
		return found, false
	}
	if ok {
		return found, true
	}
	defer s.mute(key)
	switch {
	case !s.require(key, name != ""):
	case s.r.spoiled(header):
		// Nothing of that kind could be read.
	default:
		var known []string
		if mayCompare(s.r, name, all) {
			known = slices.Sorted(maps.Keys(all))
		}
		text := config.UnknownWord(kind, name, known)
		if config.Nearest(name, known) == "" {
			text += "; no [[" + header + "]] has that name"
		}
		s.fault(key, "%s", text)
	}
	return found, false
}

// network finds the network that a key names.
func (c *checker) network(s scope, name string) (*Network, bool) {
	return refer(s, "network", "network", "network", name, c.networks)
}

// router finds the router that a key may name.
func (c *checker) router(s scope, name string) {
	if name != "" || s.given("router") {
		refer(s, "router", "router", "router", name, c.routers)
	}
}

// setFirst sets a key that is not in the map yet.
func setFirst[K comparable, V any](m map[K]V, key K, v V) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}
