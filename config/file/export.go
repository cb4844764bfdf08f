package file

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/taprouter/taprouter/config"
)

// Export writes a State as a topology file, with the ids of its objects. The file gives the same State again, and
// applied to it, it is no change. It keeps the order of the objects that belong to one owner. What the objects' Metas
// say of when they were made, and how often they were changed, is not in the file. A State without Settings gets the
// default ones. An error is the writer's, or says which text is no UTF-8 and so cannot be written.
func Export(w io.Writer, s *config.State) error {
	x := &exporter{state: s, names: map[config.Ref]string{}}
	x.nameAll()
	for _, kind := range []func(){ // one for each kind of table; a further kind is one more
		x.settings, x.quota, x.physicalNetworks, x.networks, x.routers, x.addressGroups, x.securityGroups, x.ports,
		x.floatingIPs, x.loadBalancers, x.pools, x.listeners,
	} {
		kind()
	}
	if x.err != nil {
		return x.err
	}
	_, err := w.Write(x.text.Bytes())
	return err
}

// An exporter writes one State.
type exporter struct {
	writing
	state *config.State
	names map[config.Ref]string // how other tables name an object; see nameAll
}

// A writing is the text of a file that is being written.
type writing struct {
	text bytes.Buffer
	err  error // the first one
}

// nameAll finds the names by which tables are referred to. An object whose name is empty, or that of another one, or
// may be taken for an ID, is referred to by its ID.
func (x *exporter) nameAll() {
	for _, k := range []config.Kind{
		config.KindPhysicalNetwork, config.KindNetwork, config.KindRouter, config.KindAddressGroup,
		config.KindSecurityGroup, config.KindPort, config.KindPool, config.KindLoadBalancer,
	} {
		count := map[string]int{}
		for o := range x.state.Of(k) {
			count[o.About().Name]++
		}
		for o := range x.state.Of(k) {
			m := o.About()
			x.names[o.Ref()] = m.Name
			if _, err := config.ParseID(m.Name); m.Name == "" || count[m.Name] > 1 || err == nil {
				x.names[o.Ref()] = string(m.ID)
			}
		}
	}
}

// refer is how a table refers to an object; empty for no object.
func (x *exporter) refer(k config.Kind, id config.ID) string {
	if name, ok := x.names[config.Ref{Kind: k, ID: id}]; ok {
		return name
	}
	if id == config.NameID(config.KindPhysicalNetwork, defaultLabel) {
		return defaultLabel
	}
	return string(id)
}

// header begins a table.
func (x *writing) header(text string) {
	if x.text.Len() > 0 {
		x.text.WriteByte('\n')
	}
	x.text.WriteString(text)
	x.text.WriteByte('\n')
}

// raw writes a key with a value as TOML has it.
func (x *writing) raw(key, value string) { fmt.Fprintf(&x.text, "%s = %s\n", key, value) }

// str writes a text that is not empty.
func (x *writing) str(key, text string) {
	if text != "" {
		x.raw(key, x.quote(text))
	}
}

// number writes a number that is not 0.
func (x *writing) number(key string, n int) {
	if n != 0 {
		x.raw(key, strconv.Itoa(n))
	}
}

// span writes a duration that is not 0.
func (x *writing) span(key string, d time.Duration) {
	if d != 0 {
		x.str(key, d.String())
	}
}

// proxyTimeout writes a timeout that is not the default, which 0 stands for.
func (x *writing) proxyTimeout(key string, kept int) {
	if kept != 0 {
		x.str(key, proxyTimeoutText(kept))
	}
}

// addr writes an address that is valid.
func (x *writing) addr(key string, a netip.Addr) { x.str(key, addrText(a)) }

// mac writes a MAC address that is not zero.
func (x *writing) mac(key string, m MAC) {
	if !m.IsZero() {
		x.str(key, m.String())
	}
}

// flag writes a flag that is not as the file has it by default.
func (x *writing) flag(key string, v, byDefault bool) {
	if v != byDefault {
		x.raw(key, strconv.FormatBool(v))
	}
}

// listing writes a list that is not empty.
func listing[T any](x *writing, key string, all []T, text func(T) string) {
	x.list(key, quoted(x, all, text))
}

func quoted[T any](x *writing, all []T, text func(T) string) []string {
	list := make([]string, len(all))
	for i, v := range all {
		list[i] = x.quote(text(v))
	}
	return list
}

// routes writes routes that are not none.
func (x *writing) routes(key string, all []config.Route) {
	var list []string
	for _, r := range all {
		list = append(list, fmt.Sprintf("{ destination = %s, nexthop = %s }", x.quote(r.Destination.String()),
			x.quote(r.NextHop.String())))
	}
	x.list(key, list)
}

// list writes values as TOML has them, if there are any.
func (x *writing) list(key string, values []string) {
	if len(values) > 0 {
		x.raw(key, "["+strings.Join(values, ", ")+"]")
	}
}

// quote writes a text as a basic string of TOML.
func (x *writing) quote(text string) string {
	if !utf8.ValidString(text) && x.err == nil {
		x.err = fmt.Errorf("the text %q is no UTF-8, so a topology file cannot have it", clip(text, maxName))
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case isUnprintable(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// about writes what all tables have, but the name.
func (x *writing) about(m *config.Meta) {
	x.str("description", m.Description)
	listing(x, "tags", m.Tags, identity)
	x.str("id", string(m.ID))
}

func identity(text string) string { return text }

// named is about, with the name.
func (x *writing) named(m *config.Meta) {
	x.str("name", m.Name)
	x.about(m)
}

func (x *exporter) settings() {
	s := x.state.Settings()
	x.header("[nat]")
	x.nat(&s.NAT)
	x.forwards(s)
	if e := s.Engine; e != (config.Engine{}) {
		x.header("[engine]")
		x.number("workers", e.Workers)
		x.span("busy_poll", e.BusyPoll)
	}
}

// nat writes the settings that are set.
func (x *exporter) nat(n *config.NAT) {
	x.str("mapping", n.Mapping)
	x.str("filtering", n.Filtering)
	x.number("max_connections", n.MaxConnections)
	if n.HostShare != 0 {
		x.raw("host_share", tomlFloat(n.HostShare))
	}
	if n.Lend != nil {
		x.raw("lend", strconv.FormatBool(*n.Lend))
	}
	if n.PortMin != 0 {
		x.str("port_range", fmt.Sprintf("%d-%d", n.PortMin, n.PortMax))
	}
	if n.NoSNAT != nil {
		x.raw("no_snat", "["+strings.Join(quoted(&x.writing, n.NoSNAT, netip.Prefix.String), ", ")+"]")
	}
	if n.MSSClamp != nil {
		x.raw("mss_clamp", strconv.FormatBool(*n.MSSClamp))
	}
	for _, t := range timeouts {
		x.span("timeouts."+t.key, *t.field(&n.Timeouts))
	}
}

// tomlFloat writes a number as a float of TOML, which has digits on both sides of its point.
func tomlFloat(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func (x *exporter) physicalNetworks() {
	for p := range x.state.PhysicalNetworks() {
		x.header("[[physical_network]]")
		x.named(&p.Meta)
		listing(&x.writing, "devices", p.Devices, Device.String)
	}
}

func (x *exporter) networks() {
	for n := range x.state.Networks() {
		x.header("[[network]]")
		x.named(&n.Meta)
		x.flag("admin_state_up", n.AdminStateUp, true)
		x.flag("external", n.External, false)
		x.number("mtu", n.MTU)
		x.number("vlan", n.VLAN)
		listing(&x.writing, "devices", n.Devices, Device.String)
		x.str("physical_network", x.refer(config.KindPhysicalNetwork, n.PhysicalNetwork))
		x.str("host", n.Host)
		if n.GRO != config.GROAuto {
			x.str("gro", n.GRO)
		}
		x.flag("port_security", n.PortSecurity, false)
		if l := n.Storm(); l != config.DefaultStormLimit {
			x.raw("storm_limit", strconv.Itoa(l))
		}
		if e := n.Extra; e != nil {
			x.flag("shared", e.Shared, false)
			x.flag("is_default", e.Default, false)
			x.str("dns_domain", e.DNSDomain)
			listing(&x.writing, "availability_zone_hints", e.ZoneHints, identity)
		}
		for s := range x.state.SubnetsOf(n.ID) {
			x.subnet(s)
		}
	}
}

func (x *exporter) subnet(s *config.Subnet) {
	x.header("[[network.subnet]]")
	x.named(&s.Meta)
	x.str("cidr", s.CIDR.String())
	if s.Gateway.IsValid() {
		x.addr("gateway", s.Gateway)
	} else {
		x.str("gateway", "none")
	}
	if e := s.Extra; e != nil && e.NoPools {
		x.raw("allocation_pools", "[]")
	}
	listing(&x.writing, "allocation_pools", s.AllocationPools, AddressRange.String)
	x.flag("dhcp", s.DHCP, false)
	x.span("lease_time", s.LeaseTime)
	listing(&x.writing, "dns_nameservers", s.DNSNameservers, netip.Addr.String)
	x.routes("host_routes", s.HostRoutes)
	if e := s.Extra; e != nil {
		listing(&x.writing, "service_types", e.ServiceTypes, identity)
		x.flag("dns_publish_fixed_ip", e.DNSPublishFixedIP, false)
		listing(&x.writing, "dns_search", e.DNSSearch, identity)
	}
}

func (x *exporter) routers() {
	for r := range x.state.Routers() {
		x.header("[[router]]")
		x.named(&r.Meta)
		x.flag("admin_state_up", r.AdminStateUp, true)
		x.str("rp_filter", r.RPFilter)
		if r.Extra != nil {
			listing(&x.writing, "availability_zone_hints", r.Extra.ZoneHints, identity)
		}
		var list []string
		for p := range x.state.InterfacesOf(r.ID) {
			if isPlain(p) {
				list = append(list, fmt.Sprintf("{ network = %s, %s }",
					x.quote(x.refer(config.KindNetwork, p.Network)), x.place(p)))
			}
		}
		if len(list) > 0 {
			x.raw("interfaces", "[\n  "+strings.Join(list, ",\n  ")+",\n]")
		}
		if r.Gateway != nil {
			x.gateway(r)
		}
		x.routes("routes", r.Routes)
		if n := r.NAT; !isZero(&n) {
			x.header("[router.nat]")
			x.nat(&n)
		}
	}
}

// gateway writes a router's gateway, with its port if that has nothing of its own.
func (x *exporter) gateway(r *config.Router) {
	x.str("gateway.network", x.refer(config.KindNetwork, r.Gateway.Network))
	x.flag("gateway.snat", r.Gateway.SNAT, true)
	listing(&x.writing, "gateway.snat_addresses", r.Gateway.SNATAddresses, AddressRange.String)
	if p := x.state.GatewayPort(r.ID); p != nil && isPlain(p) {
		x.addr("gateway.address", p.FixedIPs[0].Address)
		x.mac("gateway.mac", p.MAC)
		x.str("gateway.id", string(p.ID))
	}
}

// isZero says whether a router has no settings of its own.
func isZero(n *config.NAT) bool {
	m := *n
	m.NoSNAT, m.MSSClamp = nil, nil
	return n.NoSNAT == nil && n.MSSClamp == nil && n.Lend == nil && m.Mapping == "" && m.Filtering == "" &&
		m.MaxConnections == 0 && m.HostShare == 0 && m.PortMin == 0 && m.PortMax == 0 &&
		m.Timeouts == (config.Timeouts{})
}

// isPlain says whether a router's port has nothing that the router's table cannot say.
func isPlain(p *config.Port) bool {
	return len(p.FixedIPs) == 1 && p.Name == "" && p.Description == "" && len(p.Tags) == 0 && p.AdminStateUp &&
		p.Device == "" && p.PortSecurity == nil && len(p.AllowedAddressPairs) == 0 && p.SecurityGroups == nil &&
		p.Extra == nil
}

// place writes the keys of a plain port in its router's table.
func (x *exporter) place(p *config.Port) string {
	return fmt.Sprintf("address = %s, mac = %s, id = %s", x.quote(p.FixedIPs[0].Address.String()),
		x.quote(p.MAC.String()), x.quote(string(p.ID)))
}

func (x *exporter) ports() {
	for p := range x.state.Ports() {
		if (p.DeviceOwner == config.OwnerInterface || p.DeviceOwner == config.OwnerGateway) && isPlain(p) {
			continue // the router's table has it
		}
		x.header("[[port]]")
		x.named(&p.Meta)
		x.str("network", x.refer(config.KindNetwork, p.Network))
		x.flag("admin_state_up", p.AdminStateUp, true)
		addresses := quoted(&x.writing, p.FixedIPs, func(f config.FixedIP) string { return f.Address.String() })
		x.raw("fixed_ips", "["+strings.Join(addresses, ", ")+"]")
		x.mac("mac", p.MAC)
		x.str("device", p.Device)
		x.str("device_id", p.DeviceID)
		x.str("device_owner", p.DeviceOwner)
		if s := p.PortSecurity; s != nil {
			x.raw("port_security", strconv.FormatBool(*s))
		}
		if p.SecurityGroups != nil { // an empty list is one, too
			x.raw("security_groups", "["+strings.Join(quoted(&x.writing, p.SecurityGroups, x.group), ", ")+"]")
		}
		if p.Extra != nil {
			x.portExtra(p.Extra)
		}
		for _, pair := range p.AllowedAddressPairs {
			x.header("[[port.allowed_address_pairs]]")
			x.str("ip", pair.IP.String())
			x.mac("mac", pair.MAC)
		}
	}
}

func (x *exporter) floatingIPs() {
	for f := range x.state.FloatingIPs() {
		x.header("[[floating_ip]]")
		x.named(&f.Meta)
		x.str("network", x.refer(config.KindNetwork, f.Network))
		x.addr("address", f.Address)
		x.addr("fixed_ip", f.FixedIP)
		x.str("router", x.refer(config.KindRouter, f.Router))
		if e := f.Extra; e != nil {
			x.str("dns_name", e.DNSName)
			x.str("dns_domain", e.DNSDomain)
		}
		for p := range x.state.ForwardingsOf(f.ID) {
			x.header("[[floating_ip.port_forwarding]]")
			x.named(&p.Meta)
			x.str("protocol", string(p.Protocol))
			x.number("external_port", int(p.ExternalPort))
			x.addr("fixed_ip", p.FixedIP)
			x.number("port", int(p.Port))
		}
	}
}

func (x *exporter) loadBalancers() {
	for b := range x.state.LoadBalancers() {
		x.header("[[loadbalancer]]")
		x.named(&b.Meta)
		x.str("network", x.refer(config.KindNetwork, b.Network))
		x.addr("address", b.Address)
		x.str("router", x.refer(config.KindRouter, b.Router))
		x.str("port", x.refer(config.KindPort, b.Port))
		listing(&x.writing, "security_groups", b.SecurityGroups, x.group)
		x.flag("admin_state_up", b.AdminStateUp, true)
	}
}

func (x *exporter) pools() {
	for p := range x.state.Pools() {
		x.header("[[pool]]")
		x.named(&p.Meta)
		x.flag("admin_state_up", p.AdminStateUp, true)
		x.str("protocol", string(p.Protocol))
		x.str("application", p.Application)
		x.str("algorithm", p.Algorithm)
		x.str("loadbalancer", x.refer(config.KindLoadBalancer, p.LoadBalancer))
		x.str("on_member_down", p.OnMemberDown)
		x.str("on_member_removed", p.OnMemberRemoved)
		if s := p.SessionPersistence; s != nil {
			x.header("[pool.session_persistence]")
			x.str("type", s.Type)
			x.span("timeout", s.Timeout)
		}
		if m := x.state.MonitorOf(p.ID); m != nil {
			x.monitor(m)
		}
		for m := range x.state.MembersOf(p.ID) {
			x.member(m)
		}
	}
}

func (x *exporter) monitor(m *config.Monitor) {
	x.header("[pool.monitor]")
	x.named(&m.Meta)
	x.flag("admin_state_up", m.AdminStateUp, true)
	x.str("type", m.Type)
	x.span("delay", m.Delay)
	x.span("timeout", m.Timeout)
	x.number("max_retries", m.MaxRetries)
	x.number("max_retries_down", m.MaxRetriesDown)
	x.str("initial_state", m.InitialState)
	x.str("http_method", m.HTTPMethod)
	x.str("url_path", m.URLPath)
	x.str("expected_codes", m.ExpectedCodes)
	x.str("http_version", m.HTTPVersion)
	x.str("domain_name", m.DomainName)
}

func (x *exporter) member(m *config.Member) {
	x.header("[[pool.member]]")
	x.raw("name", x.quote(m.Name)) // also an empty one: without the key it is the endpoint
	x.about(&m.Meta)
	x.addr("address", m.Address)
	x.number("port", int(m.Port))
	x.raw("weight", strconv.Itoa(m.Weight))
	x.flag("backup", m.Backup, false)
	x.addr("monitor_address", m.MonitorAddress)
	x.number("monitor_port", int(m.MonitorPort))
	x.str("subnet_id", string(m.Subnet))
	x.flag("admin_state_up", m.AdminStateUp, true)
}

func (x *exporter) listeners() {
	for l := range x.state.Listeners() {
		x.header("[[vip]]")
		x.named(&l.Meta)
		x.str("loadbalancer", x.refer(config.KindLoadBalancer, l.LoadBalancer))
		x.str("protocol", string(l.Protocol))
		x.number("port", int(l.Port))
		x.str("application", l.Application)
		x.str("pool", x.refer(config.KindPool, l.Pool))
		x.number("connection_limit", l.ConnectionLimit)
		x.span("idle_timeout", l.IdleTimeout)
		if e := l.Extra; e != nil {
			x.proxyTimeout("timeout_member_connect", e.MemberConnect)
			x.proxyTimeout("timeout_member_data", e.MemberData)
			x.proxyTimeout("timeout_tcp_inspect", e.TCPInspect)
		}
		listing(&x.writing, "allowed_cidrs", l.AllowedCIDRs, netip.Prefix.String)
		x.flag("admin_state_up", l.AdminStateUp, true)
	}
}
