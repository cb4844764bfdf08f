package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func port16(n uint16) *uint16 { return &n }

// grouped is a State with two groups, of which one is stateless, an address group, a port and a load balancer.
func grouped(t *testing.T) *config.State {
	t.Helper()
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("n")},
		&config.Subnet{Meta: meta("s"), Network: id("n"), CIDR: prefix("10.0.0.0/24"), Gateway: lineAddr("10.0.0.1")},
		&config.SecurityGroup{Meta: meta("web"), Stateful: true},
		&config.SecurityGroup{Meta: meta("bare")},
		&config.AddressGroup{Meta: meta("lan"), Addresses: []netip.Prefix{prefix("10.0.0.0/8")}},
		&config.SecurityGroupRule{Meta: meta("80"), Group: id("web"), Direction: "Ingress", Protocol: "TCP",
			PortMin: port16(80), PortMax: port16(80), RemoteAddressGroup: id("lan")},
		&config.SecurityGroupRule{Meta: meta("ping"), Group: id("bare"), Direction: config.Ingress, EtherType: "ipv6",
			Protocol: "icmp", PortMin: port16(128), PortMax: port16(0), RemoteGroup: id("web")},
		&config.Port{Meta: meta("p"), Network: id("n"), SecurityGroups: []config.ID{id("web")},
			FixedIPs: []config.FixedIP{{Address: lineAddr("10.0.0.9")}}},
		&config.LoadBalancer{Meta: meta("lb"), Network: id("n"), Address: lineAddr("10.0.0.9"), Port: id("p"),
			SecurityGroups: []config.ID{id("web")}})
	return mustCheck(t, d)
}

func TestRulesAreWrittenOneWay(t *testing.T) {
	s := grouped(t)
	if r := s.SecurityGroupRule(id("80")); r.Direction != "ingress" || r.EtherType != "IPv4" || r.Protocol != "tcp" {
		t.Errorf("%+v", r)
	}
	if r := s.SecurityGroupRule(id("ping")); r.EtherType != "IPv6" || r.Protocol != "ipv6-icmp" || *r.PortMax != 0 {
		t.Errorf("%+v", r)
	}
	d := s.Edit()
	d.Put(&config.SecurityGroupRule{Meta: meta("all"), Group: id("web"), Direction: "egress", Protocol: "17",
		PortMin: port16(1), PortMax: port16(65535)},
		&config.SecurityGroupRule{Meta: meta("58"), Group: id("web"), Direction: "egress", EtherType: "IPv6",
			Protocol: "1"})
	next := mustCheck(t, d)
	if r := next.SecurityGroupRule(id("all")); r.PortMin != nil || r.PortMax != nil || r.Protocol != "17" {
		t.Errorf("%+v", r)
	}
	if r := next.SecurityGroupRule(id("58")); r.Protocol != "58" {
		t.Errorf("%+v", r)
	}
	same := &config.SecurityGroupRule{Meta: meta("udp"), Group: id("web"), Direction: "egress", EtherType: "IPv4",
		Protocol: "udp", RemotePrefix: prefix("0.0.0.0/0")}
	if r := next.RuleLike(same); r == nil || r.ID != id("all") {
		t.Errorf("the rule like it: %+v", r)
	}
}

func TestFaultsOfGroups(t *testing.T) {
	rule := func(edit func(r *config.SecurityGroupRule)) func(d *config.Draft) {
		return func(d *config.Draft) {
			r := &config.SecurityGroupRule{Meta: meta("new"), Group: id("web"), Direction: config.Ingress,
				Protocol: "tcp", PortMin: port16(22), PortMax: port16(22)}
			edit(r)
			d.Put(r)
		}
	}
	gone := func(k config.Kind, name string) func(d *config.Draft) {
		return func(d *config.Draft) { d.Delete(config.Ref{Kind: k, ID: id(name)}) }
	}
	for name, c := range map[string]struct {
		edit  func(d *config.Draft)
		field string
		code  config.Code
		want  string
	}{
		"no group": {rule(func(r *config.SecurityGroupRule) { r.Group = "" }), "security_group", config.Invalid, ""},
		"a strange one": {rule(func(r *config.SecurityGroupRule) { r.Group = id("x") }), "security_group",
			config.Unknown,
			"unknown security group"},
		"direction": {rule(func(r *config.SecurityGroupRule) { r.Direction = "up" }), "direction", config.Invalid, ""},
		"protocol": {rule(func(r *config.SecurityGroupRule) { r.Protocol = "256" }), "protocol", config.Invalid,
			"from 0 to 255"},
		"a number as no one writes it": {rule(func(r *config.SecurityGroupRule) { r.Protocol = "006" }), "protocol",
			config.Invalid, "from 0 to 255"},
		"family": {rule(func(r *config.SecurityGroupRule) { r.Protocol, r.PortMin, r.PortMax = "ipv6-icmp", nil, nil }),
			"protocol", config.Invalid, "not one of IPv4"},
		"prefix": {rule(func(r *config.SecurityGroupRule) { r.RemotePrefix = prefix("fd00::/8") }), "remote_ip_prefix",
			config.Invalid, "not one of IPv4"},
		"no protocol": {rule(func(r *config.SecurityGroupRule) { r.Protocol = "" }), "protocol", config.Invalid,
			"ports need a protocol"},
		"no ports": {rule(func(r *config.SecurityGroupRule) { r.Protocol = "gre" }), "protocol", config.Invalid,
			"has no ports"},
		"one port": {rule(func(r *config.SecurityGroupRule) { r.PortMax = nil }), "ports", config.Invalid, "both"},
		"reversed": {rule(func(r *config.SecurityGroupRule) { r.PortMax = port16(1) }), "ports", config.Invalid,
			"both"},
		"port 0": {rule(func(r *config.SecurityGroupRule) { r.PortMin = port16(0) }), "ports", config.Invalid,
			"port 0"},
		"code": {rule(func(r *config.SecurityGroupRule) { r.Protocol, r.PortMin = "icmp", nil }), "ports",
			config.Invalid,
			"type"},
		"type": {rule(func(r *config.SecurityGroupRule) { r.Protocol, r.PortMin = "icmp", port16(256) }), "ports",
			config.Invalid, "255"},
		"two remotes": {rule(func(r *config.SecurityGroupRule) {
			r.RemoteGroup, r.RemoteAddressGroup = id("web"), id("lan")
		}),
			"remote_ip_prefix", config.Invalid, "exclude each other"},
		"a strange remote": {rule(func(r *config.SecurityGroupRule) { r.RemoteGroup = id("x") }), "remote_group",
			config.Unknown, ""},
		"a strange address group": {rule(func(r *config.SecurityGroupRule) { r.RemoteAddressGroup = id("x") }),
			"remote_address_group", config.Unknown, ""},
		"the same": {rule(func(r *config.SecurityGroupRule) {
			r.Protocol, r.PortMin, r.PortMax, r.RemoteAddressGroup = "6", port16(80), port16(80), id("lan")
		}), "rule", config.Taken, `rule ingress IPv4 tcp 80`},
		"addresses": {func(d *config.Draft) {
			d.Put(&config.AddressGroup{Meta: meta("a"),
				Addresses: []netip.Prefix{prefix("10.0.0.0/8"), prefix("10.0.0.0/8")}})
		}, "addresses[1]", config.Invalid, "there already"},
		"host bits": {func(d *config.Draft) {
			d.Put(&config.AddressGroup{Meta: meta("a"), Addresses: []netip.Prefix{prefix("10.0.0.1/8")}})
		}, "addresses[0]", config.Invalid, "host bits"},
		"group in use":         {gone(config.KindSecurityGroup, "web"), "", config.InUse, "rule"},
		"address group in use": {gone(config.KindAddressGroup, "lan"), "", config.InUse, "uses it"},
		"port in use":          {gone(config.KindPort, "p"), "", config.InUse, "load balancer"},
		"mixed": {func(d *config.Draft) {
			p := *d.Port(id("p"))
			p.SecurityGroups = []config.ID{id("web"), id("bare")}
			d.Put(&p)
		}, "security_groups", config.Taken, "one is stateful"},
		"mixed later": {func(d *config.Draft) {
			p := *d.Port(id("p"))
			d.Put(&config.SecurityGroup{Meta: meta("other"), Stateful: true})
			p.SecurityGroups = []config.ID{id("web"), id("other")}
			d.Put(&p, &config.SecurityGroup{Meta: meta("other")})
		}, "security_groups", config.Taken, "one is stateful"},
		"no port security": {func(d *config.Draft) {
			p, off := *d.Port(id("p")), false
			p.PortSecurity = &off
			d.Put(&p)
		}, "port_security", config.Invalid, "cannot be off"},
		"an address that the port has lost": {func(d *config.Draft) {
			p := *d.Port(id("p"))
			p.FixedIPs = []config.FixedIP{{Address: lineAddr("10.0.0.8")}}
			d.Put(&p)
		}, "port", config.Invalid, "does not have the address 10.0.0.9"},
		"a second load balancer": {func(d *config.Draft) {
			d.Put(&config.LoadBalancer{Meta: meta("lb2"), Network: id("n"), Address: lineAddr("10.0.0.9"),
				Port: id("p")})
		}, "port", config.Taken, "already that of"},
		"the address of a port": {func(d *config.Draft) {
			b := *d.LoadBalancer(id("lb"))
			b.Port = ""
			d.Put(&b)
		}, "address", config.Taken, "already the address of"},
		"HTTP over UDP": {func(d *config.Draft) {
			d.Put(&config.Pool{Meta: meta("pool"), Protocol: config.UDP, Application: "http"})
		}, "application", config.Invalid, "TCP only"},
		"a quota": {func(d *config.Draft) {
			d.Put(&config.Quota{Limits: []config.Limit{{Resource: "port", Most: -2}}})
		}, "limits[0]", config.Invalid, "less than -1"},
		"a second quota": {func(d *config.Draft) { d.Put(&config.Quota{Meta: meta("q")}) }, "id", config.Invalid,
			"there is one quota"},
	} {
		t.Run(name, func(t *testing.T) {
			d := grouped(t).Edit()
			c.edit(d)
			s, faults := d.Check()
			list := faults.Errors()
			if s != nil || len(list) == 0 {
				t.Fatal("no fault")
			}
			if f := list[0]; f.Field != c.field || f.Code != c.code || !strings.Contains(f.Message, c.want) {
				t.Errorf("%s %v %q", f.Field, f.Code, f.Message)
			}
		})
	}
}

// A group takes its own rules along, also those that name it. The port of a user stays without the load balancer.
func TestDeletionsOfGroups(t *testing.T) {
	d := grouped(t).Edit()
	d.Put(&config.SecurityGroup{Meta: meta("own")},
		&config.SecurityGroupRule{Meta: meta("r"), Group: id("own"), Direction: config.Ingress, RemoteGroup: id("own")})
	d = mustCheck(t, d).Edit()
	d.Delete(config.Ref{Kind: config.KindSecurityGroup, ID: id("own")},
		config.Ref{Kind: config.KindLoadBalancer, ID: id("lb")})
	s := mustCheck(t, d)
	if s.SecurityGroupRule(id("r")) != nil || s.Port(id("p")) == nil || s.Owner(id("n"), lineAddr("10.0.0.9")) !=
		config.Object(s.Port(id("p"))) {
		t.Error("the rule is there, or the port is not")
	}
	if o := grouped(t).Owner(id("n"), lineAddr("10.0.0.9")); o.Ref().Kind != config.KindLoadBalancer {
		t.Errorf("the owner is %v", o.Ref())
	}
}
