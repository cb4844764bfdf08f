package file

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

// A Notice tells of a value or an object that programs have set, and that is the file's from now on.
type Notice struct {
	Ref     config.Ref
	Field   string // the attribute's key in the file; empty: the object itself
	Message string
}

// String returns the message.
func (n Notice) String() string { return n.Message }

// A merge puts a declared object over the one that a Draft has.
type merge struct {
	t, before *declaration  // of this file and of the previous one; before is nil if that does not have the object
	was       config.Object // in the Draft
	filled    config.Object // as this file alone gives it, with its defaults; nil: unknown
	usual     config.Object // as the previous file alone gives it; nil: unknown
	call      func() string // how people call the object
	notices   []Notice
}

// layers are the versions of an object, or of its Meta.
type layers[O any] struct {
	*merge
	o, was                *O // o is written to
	filled, usual, before *O // as in merge; nil where that is
}

// states says whether the file states an attribute. A topology made by hand states all of them, but for a description
// and tags that are empty.
func (t *declaration) states(field string) bool {
	if t == nil {
		return false
	}
	if !t.at.indexed {
		m := t.object.About()
		return !(field == "description" && m.Description == "" || field == "tags" && len(m.Tags) == 0)
	}
	_, ok := t.line(field)
	return ok
}

// line is the line of a field's key. What follows from the place of the table, such as the owner of an interface, is
// stated by the table itself.
func (t *declaration) line(field string) (int, bool) {
	if n, ok := t.at.r.lineAt(joinPath(t.at.path, t.keyOf(field))); ok {
		return n, true
	}
	return t.object.About().Source.Line, t.implies(field)
}

// implies says whether a table states a field without a key for it.
func (t *declaration) implies(field string) bool {
	switch o := t.object.(type) {
	case *config.Settings:
		return true
	case *config.Port:
		switch list, _, _ := strings.Cut(field, "["); list {
		case "fixed_ips":
			return len(o.FixedIPs) > 0 && o.FixedIPs[0].Address.IsValid()
		case "device_id", "device_owner":
			return o.DeviceOwner != ""
		}
	case *config.LoadBalancer:
		return field == "network" || field == "address"
	}
	return false
}

// scalar decides which side owns an attribute: the file if it states it. What the previous file stated goes back to its
// default. So does what no program has changed, because the default may follow from something else. The rest stays.
func scalar[O, V any](m layers[O], key string, at func(*O) *V) {
	scalarAs(m, key, at, func(v V) string { return fmt.Sprintf("%v", show(v)) })
}

// scalarAs is scalar for an attribute that is not written for people as it is.
func scalarAs[O, V any](m layers[O], key string, at func(*O) *V, text func(V) string) {
	is := *at(m.was)
	switch {
	case m.t.states(key):
		if m.merge.before.states(key) || m.filled == nil || sameIn(at, m.filled, m.was) ||
			m.usual != nil && sameIn(at, m.usual, m.was) || reflect.ValueOf(&is).Elem().IsZero() {
			return
		}
		m.drop(key, text(is), text(*at(m.filled)))
	case m.merge.before.states(key):
	case m.usual != nil && sameIn(at, m.usual, m.was):
	default:
		*at(m.o) = is
	}
}

func sameIn[O, V any](at func(*O) *V, a, b *O) bool { return reflect.DeepEqual(*at(a), *at(b)) }

// show writes a value for a notice.
func show(v any) any {
	x := reflect.ValueOf(v)
	switch {
	case x.Kind() == reflect.Pointer && x.IsNil():
		return "none"
	case x.Kind() == reflect.Pointer:
		return fmt.Sprintf("%+v", x.Elem().Interface())
	case x.Kind() == reflect.String:
		return fmt.Sprintf("%q", x.String())
	}
	return v
}

// drop notes that the file has taken an attribute over.
func (m *merge) drop(key, was, is string) {
	m.notices = append(m.notices, Notice{m.t.object.Ref(), key, fmt.Sprintf(
		"%s: %s was set to %s by the API; the file says %s now, and the other value is dropped",
		m.call(), key, was, is)})
}

// entries merges a list whose entries have owners one by one: the previous file's go, this file's come in their places,
// and the others stay where they are. A topology made by hand has all entries.
func entries[O, V any, K comparable](m layers[O], at func(*O) *[]V, name func(V) K) {
	if !m.t.at.indexed {
		return
	}
	mine, was := *at(m.o), *at(m.was)
	isMine, wasMine := map[K]bool{}, map[K]bool{}
	for _, v := range mine {
		isMine[name(v)] = true
	}
	if m.before != nil {
		for _, v := range *at(m.before) {
			wasMine[name(v)] = true
		}
	}
	all, next := was[:0:0], 0
	for _, v := range was {
		switch k := name(v); {
		case !isMine[k] && !wasMine[k]:
			all = append(all, v)
		case next < len(mine):
			all = append(all, mine[next])
			next++
		}
	}
	*at(m.o) = append(all, mine[next:]...)
}

// over makes the layers of a merge for an object.
func over[O any](m *merge, o *O) layers[O] {
	as := func(o config.Object) *O {
		p, _ := any(o).(*O)
		return p
	}
	l := layers[O]{merge: m, o: o, was: as(m.was), filled: as(m.filled), usual: as(m.usual)}
	if m.before != nil {
		l.before = as(m.before.object)
	}
	return l
}

// part makes the layers of a merge for rare attributes of an object, which are behind a pointer. The object gets a copy
// of its own; the other layers have none where theirs have none, or nothing in it.
func part[O, X any](l layers[O], at func(*O) **X) layers[X] {
	own := new(X)
	if p := at(l.o); *p != nil {
		*own = **p
	}
	*at(l.o) = own
	of := func(o *O) *X {
		switch {
		case o == nil:
			return nil
		case *at(o) == nil:
			return new(X)
		}
		return *at(o)
	}
	return layers[X]{
		merge: l.merge, o: own, was: of(l.was), filled: of(l.filled), usual: of(l.usual), before: of(l.before),
	}
}

func same[V any](v V) V { return v }

// do returns the object with what the Draft's has and the files do not state.
func (m *merge) do() config.Object {
	o := clone(m.t.object)
	m.was = clone(m.was)
	m.meta(o.About(), m.was.About())
	switch o := o.(type) {
	case *config.PhysicalNetwork:
		scalar(over(m, o), "devices", func(o *config.PhysicalNetwork) *[]Device { return &o.Devices })
	case *config.Network:
		m.network(over(m, o))
	case *config.Subnet:
		m.subnet(over(m, o))
	case *config.Router:
		m.router(over(m, o))
	case *config.Port:
		m.port(over(m, o))
	case *config.AddressGroup:
		entries(over(m, o), func(o *config.AddressGroup) *[]netip.Prefix { return &o.Addresses }, netip.Prefix.Masked)
	case *config.SecurityGroup:
		scalar(over(m, o), "stateful", func(o *config.SecurityGroup) *bool { return &o.Stateful })
	case *config.FloatingIP:
		m.floatingIP(over(m, o))
	case *config.Pool:
		m.pool(over(m, o))
	case *config.Monitor:
		m.monitor(over(m, o))
	case *config.Member:
		l := over(m, o)
		scalar(l, "weight", func(o *config.Member) *int { return &o.Weight })
		scalar(l, "backup", func(o *config.Member) *bool { return &o.Backup })
		scalar(l, "subnet_id", func(o *config.Member) *config.ID { return &o.Subnet })
		scalar(l, "monitor_address", func(o *config.Member) *netip.Addr { return &o.MonitorAddress })
		scalar(l, "monitor_port", func(o *config.Member) *uint16 { return &o.MonitorPort })
		scalar(l, "admin_state_up", func(o *config.Member) *bool { return &o.AdminStateUp })
	case *config.LoadBalancer:
		l := over(m, o)
		scalar(l, "admin_state_up", func(o *config.LoadBalancer) *bool { return &o.AdminStateUp })
		scalar(l, "port", func(o *config.LoadBalancer) *config.ID { return &o.Port })
		entries(l, func(o *config.LoadBalancer) *[]config.ID { return &o.SecurityGroups }, same)
	case *config.Listener:
		m.listener(over(m, o))
	case *config.Quota:
		m.quota(over(m, o))
	}
	return o
}

// meta merges what all objects have.
func (m *merge) meta(o, was *config.Meta) {
	about := func(o config.Object) *config.Meta {
		if o == nil {
			return nil
		}
		return o.About()
	}
	l := layers[config.Meta]{merge: m, o: o, was: was, filled: about(m.filled), usual: about(m.usual)}
	if m.before != nil {
		l.before = m.before.object.About()
	}
	scalar(l, "name", func(o *config.Meta) *string { return &o.Name })
	scalar(l, "description", func(o *config.Meta) *string { return &o.Description })
	entries(l, func(o *config.Meta) *[]string { return &o.Tags }, identity)
	if !m.t.at.indexed && len(o.Tags) == 0 {
		o.Tags = was.Tags
	}
}

func (m *merge) network(l layers[config.Network]) {
	scalar(l, "admin_state_up", func(o *config.Network) *bool { return &o.AdminStateUp })
	scalar(l, "external", func(o *config.Network) *bool { return &o.External })
	scalar(l, "mtu", func(o *config.Network) *int { return &o.MTU })
	scalar(l, "vlan", func(o *config.Network) *int { return &o.VLAN })
	scalar(l, "devices", func(o *config.Network) *[]Device { return &o.Devices })
	scalar(l, "physical_network", func(o *config.Network) *config.ID { return &o.PhysicalNetwork })
	scalar(l, "host", func(o *config.Network) *string { return &o.Host })
	scalar(l, "gro", func(o *config.Network) *string { return &o.GRO })
	scalar(l, "port_security", func(o *config.Network) *bool { return &o.PortSecurity })
	scalar(l, "storm_limit", func(o *config.Network) **int { return &o.StormLimit })
	extra := part(l, func(o *config.Network) **config.NetworkExtra { return &o.Extra })
	scalar(extra, "shared", func(x *config.NetworkExtra) *bool { return &x.Shared })
	scalar(extra, "is_default", func(x *config.NetworkExtra) *bool { return &x.Default })
	scalar(extra, "dns_domain", func(x *config.NetworkExtra) *string { return &x.DNSDomain })
	scalar(extra, "availability_zone_hints", func(x *config.NetworkExtra) *[]string { return &x.ZoneHints })
}

func (m *merge) subnet(l layers[config.Subnet]) {
	scalar(l, "gateway", func(o *config.Subnet) *netip.Addr { return &o.Gateway })
	if pools := config.DefaultPools(l.was.CIDR, l.was.Gateway); !slices.Equal(pools, l.was.AllocationPools) {
		// Others follow from the prefix and the gateway, and are left open.
		scalar(l, "allocation_pools", func(o *config.Subnet) *[]AddressRange { return &o.AllocationPools })
	}
	scalar(l, "dhcp", func(o *config.Subnet) *bool { return &o.DHCP })
	scalar(l, "lease_time", func(o *config.Subnet) *time.Duration { return &o.LeaseTime })
	entries(l, func(o *config.Subnet) *[]netip.Addr { return &o.DNSNameservers }, same)
	extra := part(l, func(o *config.Subnet) **config.SubnetExtra { return &o.Extra })
	scalar(extra, "service_types", func(x *config.SubnetExtra) *[]string { return &x.ServiceTypes })
	scalar(extra, "dns_publish_fixed_ip", func(x *config.SubnetExtra) *bool { return &x.DNSPublishFixedIP })
	scalar(extra, "dns_search", func(x *config.SubnetExtra) *[]string { return &x.DNSSearch })
	m.noPools(l, extra)
	m.routes("host_routes", &l.o.HostRoutes, &l.was.HostRoutes)
	entries(l, func(o *config.Subnet) *[]config.Route { return &o.HostRoutes }, routeOf)
}

// noPools merges that a subnet has no pools. It is the owner's of the pools to say.
func (m *merge) noPools(l layers[config.Subnet], extra layers[config.SubnetExtra]) {
	const key = "allocation_pools"
	switch {
	case !m.t.states(key):
		scalar(extra, key, func(x *config.SubnetExtra) *bool { return &x.NoPools })
	case extra.was.NoPools && !extra.o.NoPools && !m.before.states(key):
		m.drop(key, "[]", fmt.Sprint(l.o.AllocationPools))
	}
}

// routeOf is a route without its source.
func routeOf(r config.Route) config.Route {
	r.Source = config.Source{}
	return r
}

// routes takes the routes out of the Draft's list that lead where one of the file's leads, by another next hop.
func (m *merge) routes(key string, mine, was *[]config.Route) {
	hops := map[netip.Prefix]config.Route{}
	for _, r := range *mine {
		hops[r.Destination] = r
	}
	var rest []config.Route
	for _, r := range *was {
		other, ok := hops[r.Destination]
		if !ok || routeOf(other) == routeOf(r) {
			rest = append(rest, r)
			continue
		}
		if r.Source.File == "" {
			m.drop(key, fmt.Sprintf("%v via %v", r.Destination, r.NextHop), fmt.Sprintf("via %v", other.NextHop))
		}
	}
	if len(rest) < len(*was) {
		*was = rest
	}
}

func (m *merge) router(l layers[config.Router]) {
	scalar(l, "admin_state_up", func(o *config.Router) *bool { return &o.AdminStateUp })
	scalar(l, "rp_filter", func(o *config.Router) *string { return &o.RPFilter })
	extra := part(l, func(o *config.Router) **config.RouterExtra { return &o.Extra })
	scalar(extra, "availability_zone_hints", func(x *config.RouterExtra) *[]string { return &x.ZoneHints })
	m.routes("routes", &l.o.Routes, &l.was.Routes)
	entries(l, func(o *config.Router) *[]config.Route { return &o.Routes }, routeOf)
	is, was := l.o.Gateway, l.was.Gateway
	switch {
	case is == nil && !m.before.states("gateway"):
		l.o.Gateway = was
	case is == nil || was == nil || is.Network != was.Network:
		if is != nil && was != nil && !m.before.states("gateway") {
			m.drop("gateway", fmt.Sprintf("network %s", was.Network), fmt.Sprintf("network %s", is.Network))
		}
	default:
		g := *is
		l.o.Gateway = &g
		if l.usual != nil && l.usual.Gateway == nil {
			l.usual = nil // the gateway is a program's, with all that it has
		}
		scalar(l, "gateway.snat", func(o *config.Router) *bool {
			return gatewayOf(o, func(g *config.Gateway) *bool {
				return &g.SNAT
			})
		})
		scalar(l, "gateway.snat_addresses", func(o *config.Router) *[]AddressRange {
			return gatewayOf(o, func(g *config.Gateway) *[]AddressRange { return &g.SNATAddresses })
		})
	}
}

// gatewayOf is a part of a router's gateway, a zero value if the router has none.
func gatewayOf[V any](o *config.Router, at func(*config.Gateway) *V) *V {
	if o.Gateway == nil {
		return new(V)
	}
	return at(o.Gateway)
}

func (m *merge) port(l layers[config.Port]) {
	scalar(l, "admin_state_up", func(o *config.Port) *bool { return &o.AdminStateUp })
	if l.o.DeviceOwner != config.OwnerInterface && l.o.DeviceOwner != config.OwnerGateway {
		scalar(l, "mac", func(o *config.Port) *MAC { return &o.MAC }) // a router's is chosen, and stays
	}
	switch {
	case m.t.states("fixed_ips"):
		entries(l, func(o *config.Port) *[]config.FixedIP { return &o.FixedIPs },
			func(f config.FixedIP) netip.Addr { return f.Address })
	case !m.before.states("fixed_ips"):
		l.o.FixedIPs = l.was.FixedIPs
	}
	scalar(l, "device", func(o *config.Port) *string { return &o.Device })
	scalar(l, "device_id", func(o *config.Port) *string { return &o.DeviceID })
	scalar(l, "device_owner", func(o *config.Port) *string { return &o.DeviceOwner })
	scalar(l, "port_security", func(o *config.Port) **bool { return &o.PortSecurity })
	m.groups(l)
	m.portExtra(part(l, func(o *config.Port) **config.PortExtra { return &o.Extra }))
	entries(l, func(o *config.Port) *[]AddressPair { return &o.AllowedAddressPairs }, func(p AddressPair) AddressPair {
		if p.MAC == l.o.MAC || p.MAC == l.was.MAC {
			p.MAC = MAC{} // as if left out
		}
		return p
	})
}

// groups merges the security groups of a port. That it has none is another thing than that nothing is said of them.
func (m *merge) groups(l layers[config.Port]) {
	entries(l, func(o *config.Port) *[]config.ID { return &o.SecurityGroups }, same)
	switch {
	case len(l.o.SecurityGroups) > 0:
	case m.t.states("security_groups"):
		l.o.SecurityGroups = l.o.SecurityGroups[:0:0]
		if m.t.at.indexed {
			l.o.SecurityGroups = []config.ID{}
		}
	case m.before.states("security_groups"):
		l.o.SecurityGroups = nil
	}
}

func (m *merge) portExtra(l layers[config.PortExtra]) {
	scalar(l, "binding_host_id", func(x *config.PortExtra) *string { return &x.HostID })
	scalar(l, "binding_vnic_type", func(x *config.PortExtra) *string { return &x.VNICType })
	scalar(l, "binding_profile", func(x *config.PortExtra) *string { return &x.Profile })
	scalar(l, "dns_name", func(x *config.PortExtra) *string { return &x.DNSName })
	scalar(l, "dns_domain", func(x *config.PortExtra) *string { return &x.DNSDomain })
	scalar(l, "hostname", func(x *config.PortExtra) *string { return &x.Hostname })
	scalar(l, "ssh_keys", func(x *config.PortExtra) *[]string { return &x.SSHKeys })
	scalarAs(l, "user_data", func(x *config.PortExtra) *string { return &x.UserData }, userDataText)
	options := func(x *config.PortExtra) *[]DHCPOption { return &x.DHCPOptions }
	var before []DHCPOption
	if l.before != nil {
		before = l.before.DHCPOptions
	}
	m.replaced("extra_dhcp_opts", l.o.DHCPOptions, l.was.DHCPOptions, before)
	entries(l, options, optionName)
}

// optionName is what one port has one value of.
func optionName(o DHCPOption) DHCPOption {
	o.Value = ""
	return o
}

// replaced notes the options that programs have given another value than the file's.
func (m *merge) replaced(key string, mine, was, before []DHCPOption) {
	for _, w := range was {
		named := func(o DHCPOption) bool { return optionName(o) == optionName(w) }
		i := slices.IndexFunc(mine, named)
		if i < 0 || mine[i] == w || slices.ContainsFunc(before, named) {
			continue
		}
		m.drop(key, fmt.Sprintf("%s=%s", w.Name, w.Value), fmt.Sprintf("%s=%s", w.Name, mine[i].Value))
	}
}

func (m *merge) floatingIP(l layers[config.FloatingIP]) {
	scalar(l, "fixed_ip", func(o *config.FloatingIP) *netip.Addr { return &o.FixedIP })
	extra := part(l, func(o *config.FloatingIP) **config.FloatingIPExtra { return &o.Extra })
	scalar(extra, "dns_name", func(x *config.FloatingIPExtra) *string { return &x.DNSName })
	scalar(extra, "dns_domain", func(x *config.FloatingIPExtra) *string { return &x.DNSDomain })
}

// quota merges the limits one by one.
func (m *merge) quota(l layers[config.Quota]) {
	if !m.t.at.indexed {
		return
	}
	has := func(q *config.Quota, resource string) bool {
		return q != nil && slices.ContainsFunc(q.Limits, func(x config.Limit) bool { return x.Resource == resource })
	}
	for _, w := range l.was.Limits {
		switch {
		case has(l.before, w.Resource):
		case !has(l.o, w.Resource):
			l.o.Limits = append(l.o.Limits[:len(l.o.Limits):len(l.o.Limits)], w)
		case l.o.Limit(w.Resource) != w.Most:
			m.drop(w.Resource, fmt.Sprint(w.Most), fmt.Sprint(l.o.Limit(w.Resource)))
		}
	}
}

func (m *merge) pool(l layers[config.Pool]) {
	scalar(l, "admin_state_up", func(o *config.Pool) *bool { return &o.AdminStateUp })
	scalar(l, "application", func(o *config.Pool) *string { return &o.Application })
	scalar(l, "algorithm", func(o *config.Pool) *string { return &o.Algorithm })
	scalar(l, "session_persistence", func(o *config.Pool) **config.SessionPersistence { return &o.SessionPersistence })
	scalar(l, "on_member_down", func(o *config.Pool) *string { return &o.OnMemberDown })
	scalar(l, "on_member_removed", func(o *config.Pool) *string { return &o.OnMemberRemoved })
	scalar(l, "loadbalancer", func(o *config.Pool) *config.ID { return &o.LoadBalancer })
}

func (m *merge) monitor(l layers[config.Monitor]) {
	scalar(l, "admin_state_up", func(o *config.Monitor) *bool { return &o.AdminStateUp })
	scalar(l, "delay", func(o *config.Monitor) *time.Duration { return &o.Delay })
	scalar(l, "timeout", func(o *config.Monitor) *time.Duration { return &o.Timeout })
	scalar(l, "max_retries", func(o *config.Monitor) *int { return &o.MaxRetries })
	scalar(l, "max_retries_down", func(o *config.Monitor) *int { return &o.MaxRetriesDown })
	scalar(l, "initial_state", func(o *config.Monitor) *string { return &o.InitialState })
	scalar(l, "http_method", func(o *config.Monitor) *string { return &o.HTTPMethod })
	scalar(l, "url_path", func(o *config.Monitor) *string { return &o.URLPath })
	scalar(l, "expected_codes", func(o *config.Monitor) *string { return &o.ExpectedCodes })
	scalar(l, "http_version", func(o *config.Monitor) *string { return &o.HTTPVersion })
	scalar(l, "domain_name", func(o *config.Monitor) *string { return &o.DomainName })
}

func (m *merge) listener(l layers[config.Listener]) {
	scalar(l, "pool", func(o *config.Listener) *config.ID { return &o.Pool })
	scalar(l, "connection_limit", func(o *config.Listener) *int { return &o.ConnectionLimit })
	scalar(l, "idle_timeout", func(o *config.Listener) *time.Duration { return &o.IdleTimeout })
	entries(l, func(o *config.Listener) *[]netip.Prefix { return &o.AllowedCIDRs }, same)
	extra := part(l, func(o *config.Listener) **config.ListenerExtra { return &o.Extra })
	timeout := func(key string, at func(*config.ListenerExtra) *int) { scalarAs(extra, key, at, proxyTimeoutText) }
	timeout("timeout_member_connect", func(x *config.ListenerExtra) *int { return &x.MemberConnect })
	timeout("timeout_member_data", func(x *config.ListenerExtra) *int { return &x.MemberData })
	timeout("timeout_tcp_inspect", func(x *config.ListenerExtra) *int { return &x.TCPInspect })
	scalar(l, "application", func(o *config.Listener) *string { return &o.Application })
	scalar(l, "admin_state_up", func(o *config.Listener) *bool { return &o.AdminStateUp })
}
