package file

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// This file has the tables of security groups, of address groups and of the quota: what they are, their keys, and the
// objects that they stand for.

// An AddressGroup is a set of prefixes that rules name together.
type AddressGroup struct {
	Line      int
	ID        config.ID
	Name      string
	Addresses []netip.Prefix
	About
}

// A SecurityGroup is a set of rules about what the ports in it may send and receive.
type SecurityGroup struct {
	Line      int
	ID        config.ID
	Name      string
	Stateless bool // replies to what is allowed need a rule of their own
	NoEgress  bool // the group has no other rules than Rules: else two allow all that its ports send
	Rules     []Rule
	About
}

// A Rule allows some of the traffic of the ports in a group. Without an ether type it stands for one rule of each that
// it can have.
type Rule struct {
	Line      int
	ID        config.ID // as given, else empty: a table may stand for two rules
	Name      string    // may be empty
	Direction string    // config.Ingress, the default, or config.Egress
	EtherType string    // config.IPv4 or config.IPv6; empty: that of the remote, or else both
	Protocol  string    // a name, or a number from 0 to 255; empty: any

	// The lowest and highest destination port, both 0: any. Not for ICMP, which has a type and a code; nil: any.
	PortMin, PortMax   uint16
	ICMPType, ICMPCode *uint16

	// Who is on the other side: a prefix, or the name or ID of a group. At most one of them; none: anybody.
	Remote             netip.Prefix
	RemoteGroup        string
	RemoteAddressGroup string
	About
}

// A Quota says how many objects the API may make.
type Quota struct {
	Line   int
	Limits []config.Limit // one for each resource, in the order of their names
}

// Resources are what a quota may limit, as the API calls them.
var resources = []string{
	"address_group", "floatingip", "healthmonitor", "l7policy", "l7rule", "listener", "loadbalancer", "member",
	"network", "pool", "port", "rbac_policy", "router", "security_group", "security_group_rule", "subnet", "subnetpool",
	"trunk",
}

var addressGroupKeys = described(func(g *AddressGroup) *About { return &g.About },
	leaf("name", func(g *AddressGroup, v value) { g.Name = v.text() }),
	leaf("addresses", func(g *AddressGroup, v value) { g.Addresses = listOf(v, value.addrOrPrefix) }),
	leaf("id", func(g *AddressGroup, v value) { g.ID = v.id() }),
)

var securityGroupKeys = described(func(g *SecurityGroup) *About { return &g.About },
	leaf("name", func(g *SecurityGroup, v value) { g.Name = v.text() }),
	leaf("stateful", func(g *SecurityGroup, v value) { g.Stateless = !v.flag() }),
	leaf("egress", func(g *SecurityGroup, v value) {
		if g.NoEgress = v.text() == noEgress; !g.NoEgress && !v.at.spoiled(v.key) {
			v.fault("egress %q is not %q; without the key, the ports may send anything", v.raw, noEgress)
		}
	}),
	tables("rule", "rule", "", ruleKeys,
		func(line int) Rule { return Rule{Line: line, Direction: config.Ingress} },
		func(g *SecurityGroup) *[]Rule { return &g.Rules }),
	leaf("id", func(g *SecurityGroup, v value) { g.ID = v.id() }),
)

// noEgress is the value of egress.
const noEgress = "none"

var ruleKeys = described(func(r *Rule) *About { return &r.About },
	leaf("name", func(r *Rule, v value) { r.Name = v.text() }),
	leaf("direction", func(r *Rule, v value) { r.Direction = v.text() }),
	leaf("ethertype", func(r *Rule, v value) { r.EtherType = v.text() }),
	leaf("protocol", func(r *Rule, v value) { r.Protocol = v.text() }),
	leaf("ports", func(r *Rule, v value) {
		ports := parsed(v, parsePortOrRange)
		r.PortMin, r.PortMax = ports.first, ports.last
	}),
	leaf("icmp_type", func(r *Rule, v value) { r.ICMPType = v.octet() }),
	leaf("icmp_code", func(r *Rule, v value) { r.ICMPCode = v.octet() }),
	leaf("remote", func(r *Rule, v value) { r.Remote = v.addrOrPrefix() }),
	leaf("remote_group", func(r *Rule, v value) { r.RemoteGroup = v.text() }),
	leaf("remote_address_group", func(r *Rule, v value) { r.RemoteAddressGroup = v.text() }),
	leaf("id", func(r *Rule, v value) { r.ID = v.id() }),
)

var dhcpOptionKeys = keys[DHCPOption]{
	leaf("name", func(o *DHCPOption, v value) { o.Name = v.text() }),
	leaf("value", func(o *DHCPOption, v value) { o.Value = v.text() }),
	leaf("ip_version", func(o *DHCPOption, v value) {
		if o.IPVersion = v.number(); o.IPVersion != 4 && o.IPVersion != 6 && !v.at.spoiled(v.key) {
			v.fault("ip_version is 4 or 6, not %d", o.IPVersion)
		}
	}),
}

// quotaKeys has a key for each resource.
var quotaKeys = func() (ks keys[Quota]) {
	for _, name := range resources {
		ks = append(ks, leaf(name, func(q *Quota, v value) {
			q.Limits = append(q.Limits, config.Limit{Resource: name, Most: v.number()})
		}))
	}
	return ks
}()

func (v value) addrOrPrefix() netip.Prefix { return parsed(v, parseAddrOrPrefix) }

// octet reads a number of one byte. The result is nil if it is none.
func (v value) octet() *uint16 {
	n := v.number()
	if v.at.spoiled(v.key) {
		return nil
	}
	if n < 0 || n > 255 {
		v.fault("%s must be from 0 to 255, not %d", v.key, n)
		return nil
	}
	return new(uint16(n))
}

// parsePortOrRange reads one port as a range of one.
func parsePortOrRange(text string) (portRange, error) {
	if n, err := parsePort(strings.TrimSpace(text)); err == nil {
		return portRange{n, n}, nil
	}
	r, err := parsePortRange(text)
	if err != nil {
		return r, fmt.Errorf("%q is neither a port nor a range of ports such as 8000-8100", text)
	}
	return r, nil
}

func (d *declarer) declareAddressGroups() {
	for i := range d.AddressGroups {
		g := &d.AddressGroups[i]
		at := d.root.item("address_group", "address group", g.Name, i, len(d.AddressGroups), g.Line)
		setFirst(d.prefixes, g.Name, g.ID)
		d.add(&config.AddressGroup{Meta: d.meta(g.ID, g.Name, g.Line), Addresses: g.Addresses}, at, nil)
		d.describe(g.About)
	}
	delete(d.prefixes, "")
	for i := range d.AddressGroups {
		setFirst(d.prefixes, string(d.AddressGroups[i].ID), d.AddressGroups[i].ID)
	}
}

func (d *declarer) declareSecurityGroups() {
	for i := range d.SecurityGroups {
		setFirst(d.groups, d.SecurityGroups[i].Name, d.SecurityGroups[i].ID)
	}
	delete(d.groups, "")
	for i := range d.SecurityGroups {
		setFirst(d.groups, string(d.SecurityGroups[i].ID), d.SecurityGroups[i].ID)
	}
	for i := range d.SecurityGroups {
		g := &d.SecurityGroups[i]
		at := d.root.item("security_group", "security group", g.Name, i, len(d.SecurityGroups), g.Line)
		d.add(&config.SecurityGroup{Meta: d.meta(g.ID, g.Name, g.Line), Stateful: !g.Stateless}, at, nil)
		d.describe(g.About)
		if !g.NoEgress {
			for _, family := range []string{config.IPv4, config.IPv6} {
				d.declareRule(g, &Rule{Line: g.Line, Direction: config.Egress}, family, at,
					func(string) string { return "egress" })
			}
		}
		for j := range g.Rules {
			r := &g.Rules[j]
			inner := at.item("rule", "rule", "", j, len(g.Rules), r.Line)
			for _, family := range r.etherTypes() {
				d.declareRule(g, r, family, inner, r.key)
			}
		}
	}
}

// declareRule makes a rule of one ether type. Two rules of a group that say the same are a fault, which config
// explains.
func (d *declarer) declareRule(g *SecurityGroup, r *Rule, family string, at scope, key func(string) string) {
	o := &config.SecurityGroupRule{
		Meta: d.meta(r.ID, r.Name,
			r.Line), Group: g.ID, Direction: r.Direction, EtherType: family, Protocol: r.Protocol,
		PortMin: r.ICMPType, PortMax: r.ICMPCode, RemotePrefix: r.Remote,
	}
	if o.Direction == "" && !at.given("direction") {
		o.Direction = config.Ingress
	}
	if r.PortMin != 0 || r.PortMax != 0 {
		o.PortMin, o.PortMax = &r.PortMin, &r.PortMax
	}
	if r.RemoteGroup != "" {
		o.RemoteGroup = d.groups[r.RemoteGroup]
	}
	if r.RemoteAddressGroup != "" {
		o.RemoteAddressGroup = d.prefixes[r.RemoteAddressGroup]
	}
	if o.ID == "" {
		parts := []string{string(g.ID), strings.ToLower(o.Direction), strings.ToLower(family),
			strings.ToLower(r.Protocol), r.portText(), prefixText(r.Remote), r.RemoteGroup, r.RemoteAddressGroup}
		o.ID = config.NameID(config.KindSecurityGroupRule, parts...)
		if d.made[o.ID]++; d.made[o.ID] > 1 {
			o.ID = config.NameID(config.KindSecurityGroupRule, append(parts, strconv.Itoa(d.made[o.ID]))...)
		}
	}
	d.add(o, at, key)
	d.describe(r.About)
}

// etherTypes are those of the rules that a table stands for: the one that it says, that of the remote, that of the
// protocol, or else both. A type of ICMP means another thing in the other family, so ICMP with a type is one of IPv4.
func (r *Rule) etherTypes() []string {
	protocol := strings.ToLower(r.Protocol)
	switch {
	case r.EtherType != "":
		return []string{r.EtherType}
	case r.Remote.IsValid():
		return []string{family(r.Remote.Addr())}
	case strings.HasPrefix(protocol, "ipv6-") || protocol == "icmpv6":
		return []string{config.IPv6}
	case r.ICMPType != nil:
		return []string{config.IPv4}
	}
	return []string{config.IPv4, config.IPv6}
}

// portText is what the ID of a rule has of its ports, or of its type and code.
func (r *Rule) portText() string {
	if r.ICMPType == nil && r.ICMPCode == nil {
		return fmt.Sprintf("%d-%d", r.PortMin, r.PortMax)
	}
	number := func(p *uint16) string {
		if p == nil {
			return ""
		}
		return strconv.Itoa(int(*p))
	}
	return "icmp " + number(r.ICMPType) + " " + number(r.ICMPCode)
}

// key is the key of a field in a rule's table.
func (r *Rule) key(field string) string {
	switch {
	case field == "remote_ip_prefix":
		return "remote"
	case field != "ports":
	case r.ICMPType != nil:
		return "icmp_type"
	case r.ICMPCode != nil:
		return "icmp_code"
	}
	return field
}

// groupIDs are the IDs of security groups, nil for nil. Of a name that no group has the ID is empty.
func (d *declarer) groupIDs(names []string) []config.ID {
	if names == nil {
		return nil
	}
	ids := make([]config.ID, len(names))
	for i, name := range names {
		ids[i] = d.groups[name]
	}
	return ids
}

func (d *declarer) declareQuota() {
	if d.Quota.Line == 0 && len(d.Quota.Limits) == 0 {
		return
	}
	limits := slices.Clone(d.Quota.Limits)
	config.SortLimits(limits) // as they are in a State, so that a fault's index is that of its key
	d.add(&config.Quota{Meta: d.meta(config.QuotaID, "", d.Quota.Line), Limits: limits},
		d.root.child("quota", d.Quota.Line), func(field string) string { return limitKey(field, limits) })
}

// limitKey is the key of a limit, which a State has in a list.
func limitKey(field string, limits []config.Limit) string {
	var i int
	if _, err := fmt.Sscanf(field, "limits[%d]", &i); err != nil || i >= len(limits) {
		return field
	}
	return limits[i].Resource
}

func (c *checker) checkGroups() {
	names := map[string]owner{}
	for i := range c.AddressGroups {
		g := &c.AddressGroups[i]
		s := c.root.item("address_group", "address group", g.Name, i, len(c.AddressGroups), g.Line)
		if c.checkName(s, g.Name, g.ID, names) {
			c.prefixes[g.Name] = true
		}
		setFirst(c.prefixes, string(g.ID), true)
	}
	names = map[string]owner{}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		s := c.root.item("security_group", "security group", g.Name, i, len(c.SecurityGroups), g.Line)
		if c.checkName(s, g.Name, g.ID, names) {
			c.groups[g.Name] = true
		}
		setFirst(c.groups, string(g.ID), true)
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		s := c.root.item("security_group", "security group", g.Name, i, len(c.SecurityGroups), g.Line)
		for j := range g.Rules {
			r := &g.Rules[j]
			c.checkRule(s.item("rule", "rule", "", j, len(g.Rules), r.Line), r)
		}
	}
}

func (c *checker) checkRule(s scope, r *Rule) {
	s.notEmpty("direction", r.Direction)
	s.notEmpty("ethertype", r.EtherType)
	s.notEmpty("protocol", r.Protocol)
	hasType := r.ICMPType != nil || r.ICMPCode != nil
	switch isICMP := slices.Contains([]string{"icmp", "icmpv6", "ipv6-icmp", "1", "58"}, strings.ToLower(r.Protocol)); {
	case isICMP && (r.PortMin != 0 || r.PortMax != 0):
		s.fault("ports", "protocol %s has no ports; write icmp_type and icmp_code", r.Protocol)
	case !isICMP && hasType && !s.spoiled("protocol"):
		s.fault("", "icmp_type and icmp_code need protocol = \"icmp\"")
	}
	if r.RemoteGroup != "" || s.given("remote_group") {
		refer(s, "remote_group", "security group", "security_group", r.RemoteGroup, c.groups)
	}
	if r.RemoteAddressGroup != "" || s.given("remote_address_group") {
		refer(s, "remote_address_group", "address group", "address_group", r.RemoteAddressGroup, c.prefixes)
	}
	if r.ID != "" && len(r.etherTypes()) > 1 {
		s.fault("id",
			"id is for one rule, and the table stands for one of IPv4 and one of IPv6; say which with ethertype")
	}
}

// checkGroupsOf checks that the security groups of a table are there.
func (c *checker) checkGroupsOf(s scope, names []string) {
	for i, name := range names {
		refer(s, indexKey("security_groups", i), "security group", "security_group", name, c.groups)
	}
}
