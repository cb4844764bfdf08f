package file

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/taprouter/taprouter/config"
)

func (x *exporter) addressGroups() {
	for g := range x.state.AddressGroups() {
		x.header("[[address_group]]")
		x.named(&g.Meta)
		listing(&x.writing, "addresses", g.Addresses, netip.Prefix.String)
	}
}

// securityGroups writes groups with all their rules, also those that the file would make of a group by itself: a
// program may have taken some of them away.
func (x *exporter) securityGroups() {
	for g := range x.state.SecurityGroups() {
		x.header("[[security_group]]")
		x.named(&g.Meta)
		x.flag("stateful", g.Stateful, true)
		x.str("egress", noEgress)
		for r := range x.state.RulesOf(g.ID) {
			x.rule(r)
		}
	}
}

func (x *exporter) rule(r *config.SecurityGroupRule) {
	x.header("[[security_group.rule]]")
	x.named(&r.Meta)
	x.str("direction", r.Direction)
	x.str("ethertype", r.EtherType)
	x.str("protocol", r.Protocol)
	switch n, _ := r.ProtocolNumber(); {
	case isICMP(n):
		x.octet("icmp_type", r.PortMin)
		x.octet("icmp_code", r.PortMax)
	case r.PortMin != nil && r.PortMax != nil:
		x.str("ports", fmt.Sprintf("%d-%d", *r.PortMin, *r.PortMax))
	}
	if r.RemotePrefix.IsValid() {
		x.str("remote", r.RemotePrefix.String())
	}
	x.str("remote_group", x.refer(config.KindSecurityGroup, r.RemoteGroup))
	x.str("remote_address_group", x.refer(config.KindAddressGroup, r.RemoteAddressGroup))
}

// isICMP says whether a protocol is ICMP or ICMPv6.
func isICMP(protocol int) bool { return protocol == 1 || protocol == 58 }

// octet writes a number that may be 0, or nothing.
func (x *writing) octet(key string, n *uint16) {
	if n != nil {
		x.raw(key, strconv.Itoa(int(*n)))
	}
}

// group is how a table names a security group.
func (x *exporter) group(id config.ID) string { return x.refer(config.KindSecurityGroup, id) }

func (x *exporter) quota() {
	q := x.state.Quota()
	if q == nil {
		return
	}
	x.header("[quota]")
	for _, l := range q.Limits {
		if !slices.Contains(resources, l.Resource) && x.err == nil {
			x.err = fmt.Errorf("the quota has a limit of %q, which a topology file cannot have",
				clip(l.Resource, maxName))
		}
		x.raw(l.Resource, strconv.Itoa(l.Most))
	}
}

func (x *exporter) portExtra(e *config.PortExtra) {
	x.str("binding_host_id", e.HostID)
	x.str("binding_vnic_type", e.VNICType)
	x.str("binding_profile", e.Profile)
	x.str("dns_name", e.DNSName)
	x.str("dns_domain", e.DNSDomain)
	x.str("hostname", e.Hostname)
	listing(&x.writing, "ssh_keys", e.SSHKeys, identity)
	x.str("user_data", e.UserData) // the file that it came from may be elsewhere, or another one
	var list []string
	for _, o := range e.DHCPOptions {
		list = append(list, fmt.Sprintf("{ name = %s, value = %s, ip_version = %d }", x.quote(o.Name), x.quote(o.Value),
			o.IPVersion))
	}
	x.list("extra_dhcp_opts", list)
}
