package neutron_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

const (
	groupsPath = "/v2.0/security-groups"
	rulesPath  = "/v2.0/security-group-rules"
)

// theDefault finds the default group and names it def.
func (c *cloud) theDefault() map[string]any {
	c.t.Helper()
	list := c.do(200, "GET", groupsPath+"?name=default", "")["security_groups"].([]any)
	if len(list) != 1 {
		c.t.Fatalf("%v", list)
	}
	o := list[0].(map[string]any)
	c.ids["def"] = o["id"].(string)
	return o
}

func TestSecurityGroup(t *testing.T) {
	c := newCloud(t)
	c.build()
	o := c.make("web", groupsPath, `{"security_group":{"name":"web","description":"web"}}`)
	rules := o["security_group_rules"].([]any)
	if len(rules) != 2 || o["stateful"] != true || o["shared"] != false {
		t.Fatalf("%v", o)
	}
	rule := rules[0].(map[string]any)
	c.ids["r0"] = rule["id"].(string)
	c.equals(rule, `{"id":"{r0}","security_group_id":"{web}","direction":"egress","ethertype":"IPv4","protocol":null,
		"port_range_min":null,"port_range_max":null,"remote_ip_prefix":null,"normalized_cidr":null,
		"remote_group_id":null,"remote_address_group_id":null,"belongs_to_default_sg":false,`+standard(1)+`}`)
	c.equals(c.do(200, "GET", rulesPath+"/{r0}", ""), textOf(rule))
	c.refuse(405, "HTTPMethodNotAllowed", "PUT", rulesPath+"/{r0}", `{"security_group_rule":{}}`)
	c.do(204, "DELETE", rulesPath+"/{r0}", "") // as delete_default_rules does
	c.refuse(404, "SecurityGroupRuleNotFound", "GET", rulesPath+"/{r0}", "")
	c.refuse(404, "SecurityGroupNotFound", "GET", groupsPath+"/x", "")

	// The group cannot go while a port has it, or a rule of another group names it.
	c.make("p", "/v2.0/ports", `{"port":{"network_id":"{net}","security_groups":["{web}","{web}"]}}`)
	c.refuse(409, "SecurityGroupInUse", "DELETE", groupsPath+"/{web}", "")
	c.refuse(409, "SecurityGroupInUse", "PUT", groupsPath+"/{web}", `{"security_group":{"stateful":false}}`)
	c.list("/v2.0/ports?security_groups={web}", "")
	if o := c.do(200, "PUT", "/v2.0/ports/{p}",
		`{"port":{"security_groups":[]}}`); len(o["security_groups"].([]any)) != 0 {
		t.Errorf("%v", o)
	}
	c.make("lb", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	c.ids["vip"] = c.do(200, "GET", lb+"loadbalancers/{lb}", "")["vip_port_id"].(string)
	groups := func(list string) string { return `{"port":{"security_groups":[` + list + `]}}` }
	c.do(200, "PUT", "/v2.0/ports/{vip}", groups(`"{web}"`))
	c.refuse(409, "SecurityGroupInUse", "PUT", groupsPath+"/{web}", `{"security_group":{"stateful":false}}`)
	c.refuse(409, "SecurityGroupInUse", "DELETE", groupsPath+"/{web}", "")
	c.do(200, "PUT", "/v2.0/ports/{vip}", groups(``))
	c.make("other", groupsPath, `{"security_group":{"name":"other","stateful":false}}`)
	c.make("from", rulesPath, `{"security_group_rule":{"security_group_id":"{other}","direction":"ingress",
		"remote_group_id":"{web}"}}`)
	if got := c.refuse(409, "SecurityGroupInUse", "DELETE", groupsPath+"/{web}", ""); got !=
		c.fill("Security Group {web} in use.") {
		t.Errorf("%s", got)
	}
	c.refuse(409, "SecurityGroupConflict", "PUT", "/v2.0/ports/{p}", `{"port":{"security_groups":["{web}","{other}"]}}`)
	c.do(204, "DELETE", rulesPath+"/{from}", "")
	c.make("self", rulesPath, `{"security_group_rule":{"security_group_id":"{web}","direction":"ingress",
		"remote_group_id":"{web}"}}`)
	c.make("rest", groupsPath, `{"security_group":{"name":"rest"}}`)
	c.refuse(409, "SecurityGroupConflict", "PUT", "/v2.0/ports/{vip}", groups(`"{rest}","{other}"`))
	c.do(200, "PUT", groupsPath+"/{web}", `{"security_group":{"stateful":false,"name":"w"}}`)
	c.do(204, "DELETE", groupsPath+"/{web}", "")
	c.list(rulesPath + "?security_group_id={web}")
	c.list(groupsPath+"?stateful=False", "other")
	c.do(200, "PUT", groupsPath+"/{other}/tags", `{"tags":["t"]}`)
	c.list(groupsPath+"?tags=t&fields=name", "other")
}

// The default group is there from the start, and in the State when a port needs it.
func TestDefaultGroup(t *testing.T) {
	c := newCloud(t)
	o := c.theDefault()
	if o["stateful"] != true || len(o["security_group_rules"].([]any)) != 4 ||
		c.control.State().Count(config.KindSecurityGroup) != 0 {
		t.Errorf("%v", o)
	}
	for _, x := range o["security_group_rules"].([]any) {
		r := x.(map[string]any)
		want := map[any]any{"egress": nil, "ingress": c.ids["def"]}[r["direction"]]
		if r["remote_group_id"] != want {
			t.Errorf("%v, want the remote group %v", r, want)
		}
	}
	c.refuse(409, "SecurityGroupRuleExists", "POST", rulesPath, // none of this request's, although it makes the group
		`{"security_group_rule":{"security_group_id":"{def}","direction":"egress","ethertype":"IPv6"}}`)
	c.build()
	if n := c.control.State().Count(config.KindSecurityGroupRule); n != 4 {
		t.Errorf("%d rules", n)
	}
	p := c.do(200, "GET", "/v2.0/ports/{port}", "")
	if groups := p["security_groups"].([]any); len(groups) != 1 || groups[0] != c.ids["def"] {
		t.Errorf("groups of a new port: %v", groups)
	}
	if o := c.theDefault(); len(o["security_group_rules"].([]any)) != 4 || o["revision_number"] != 1. {
		t.Errorf("%v", o)
	}
	for _, x := range []struct{ what, body string }{
		{"no security on the port", `"network_id":"{net}","port_security_enabled":false`},
		{"a server's own port", `"network_id":"{net}","device_owner":"network:dhcp"`},
		{"another port of the cloud", `"network_id":"{net}","device_owner":"network:distributed"`},
		{"no groups", `"network_id":"{net}","security_groups":[]`},
	} {
		o := c.make("x", "/v2.0/ports", `{"port":{`+x.body+`}}`)
		if len(o["security_groups"].([]any)) != 0 {
			t.Errorf("%s: %v", x.what, o["security_groups"])
		}
	}
	c.refuse(409, "SecurityGroupDefaultAlreadyExists", "POST", groupsPath, `{"security_group":{"name":"default"}}`)
	c.refuse(409, "SecurityGroupCannotRemoveDefault", "DELETE", groupsPath+"/{def}", "")
	c.refuse(409, "SecurityGroupCannotUpdateDefault", "PUT", groupsPath+"/{def}", `{"security_group":{"name":"x"}}`)
	c.do(200, "PUT", groupsPath+"/{def}", `{"security_group":{"description":"x","name":"default"}}`)
	c.make("other", groupsPath, `{"security_group":{"name":"other"}}`)
	c.refuse(409, "SecurityGroupDefaultAlreadyExists", "PUT", groupsPath+"/{other}",
		`{"security_group":{"name":"default"}}`)
	c.list(rulesPath+"?security_group_id={def}&direction=ingress", "", "")

	// A rule of the default group can go and come before any port is there.
	c = newCloud(t)
	c.theDefault()
	list := c.do(200, "GET", rulesPath+"?direction=ingress&ethertype=IPv4", "")["security_group_rules"].([]any)
	c.ids["r"] = list[0].(map[string]any)["id"].(string)
	c.do(204, "DELETE", rulesPath+"/{r}", "")
	c.list(rulesPath, "", "", "")
	c.make("r", rulesPath, `{"security_group_rule":{"security_group_id":"{def}","direction":"ingress","protocol":"tcp",
		"port_range_min":"80","port_range_max":80,"remote_ip_prefix":"0.0.0.0/0"}}`)
	if o := c.do(200, "GET", rulesPath+"/{r}", ""); o["belongs_to_default_sg"] != true || o["port_range_min"] != 80. {
		t.Errorf("%v", o)
	}
}

func TestRules(t *testing.T) {
	c := newCloud(t)
	c.make("g", groupsPath, `{"security_group":{"name":"g"}}`)
	c.make("a", "/v2.0/address-groups", `{"address_group":{"name":"a","addresses":["10.1.0.0/16"]}}`)
	const in = `"security_group_id":"{g}","direction":"ingress",`
	for _, x := range []struct{ body, protocol, more string }{
		{`"ethertype":"IPv4","protocol":null,"remote_ip_prefix":"0.0.0.0/0"`, "null", `"remote_ip_prefix":"0.0.0.0/0"`},
		{`"ethertype":"IPv6","protocol":"icmp"`, `"ipv6-icmp"`, `"ethertype":"IPv6"`},
		{`"ethertype":"IPv6","protocol":"1","port_range_min":8`, `"58"`, `"port_range_min":8`},
		{`"protocol":"icmp","port_range_min":8,"port_range_max":0`, `"icmp"`, `"port_range_max":0`},
		{`"protocol":"47"`, `"47"`, ``},
		{`"ethertype":"IPv6","protocol":"Any"`, `null`, ``},
		{`"protocol":"VRRP"`, `"vrrp"`, ``},
		{`"protocol":"udp","port_range_min":1,"port_range_max":65535`, `"udp"`, `"port_range_min":null`},
		{`"protocol":17,"port_range_min":5,"port_range_max":6`, `"17"`, ``},
		{`"protocol":"tcp","remote_ip_prefix":"10.0.0.9"`, `"tcp"`, `"remote_ip_prefix":"10.0.0.9/32"`},
		{`"protocol":"tcp","remote_ip_prefix":"10.0.1.9/24"`, `"tcp"`, `"normalized_cidr":"10.0.1.0/24"`},
		{`"remote_address_group_id":"{a}","remote_group_id":null`, "null", `"remote_address_group_id":"{a}"`},
	} {
		o := c.make("r", rulesPath, `{"security_group_rule":{`+in+x.body+`}}`)
		if got := textOf(o); !strings.Contains(got, `"protocol":`+x.protocol) ||
			!strings.Contains(got, c.fill(x.more)) {
			t.Errorf("%s: %s", x.body, got)
		}
	}
	c.refuseEach("POST", rulesPath, "security_group_rule", `
400 HTTPBadRequest "direction":"ingress"
400 HTTPBadRequest "security_group_id":"{g}"
400 HTTPBadRequest "security_group_id":"{g}","direction":"up"
404 SecurityGroupNotFound "security_group_id":"{a}","direction":"ingress"
404 SecurityGroupNotFound "security_group_id":"{g}","direction":"ingress","remote_group_id":"{a}"
404 AddressGroupNotFound "security_group_id":"{g}","direction":"ingress","remote_address_group_id":"{g}"
400 SecurityGroupRuleInvalidEtherType "security_group_id":"{g}","direction":"ingress","ethertype":"IPX"
400 SecurityGroupRuleInvalidProtocol "security_group_id":"{g}","direction":"ingress","protocol":"256"
400 SecurityGroupRuleInvalidProtocol "security_group_id":"{g}","direction":"ingress","protocol":"tpc"
400 SecurityGroupEthertypeConflictWithProtocol "security_group_id":"{g}","direction":"ingress","protocol":"icmpv6"
400 SecurityGroupRuleParameterConflict "security_group_id":"{g}","direction":"ingress","ethertype":"IPv4","remote_ip_prefix":"2001:db8::/32"
400 SecurityGroupMultipleRemoteEntites "security_group_id":"{g}","direction":"ingress","remote_group_id":"{g}","remote_ip_prefix":"10.0.0.0/8"
400 SecurityGroupProtocolRequiredWithPorts "security_group_id":"{g}","direction":"ingress","port_range_min":80,"port_range_max":80
400 SecurityGroupInvalidProtocolForPort "security_group_id":"{g}","direction":"ingress","protocol":"gre","port_range_min":80,"port_range_max":80
400 SecurityGroupInvalidPortValue "security_group_id":"{g}","direction":"ingress","protocol":"tcp","port_range_min":0,"port_range_max":80
400 SecurityGroupInvalidPortValue "security_group_id":"{g}","direction":"ingress","protocol":"tcp","port_range_min":1,"port_range_max":65536
400 SecurityGroupInvalidPortRange "security_group_id":"{g}","direction":"ingress","protocol":"tcp","port_range_min":81,"port_range_max":80
400 SecurityGroupInvalidPortRange "security_group_id":"{g}","direction":"ingress","protocol":"tcp","port_range_min":81
400 SecurityGroupMissingIcmpType "security_group_id":"{g}","direction":"ingress","protocol":"icmp","port_range_max":0
400 SecurityGroupInvalidIcmpValue "security_group_id":"{g}","direction":"ingress","protocol":"icmp","port_range_min":256
409 SecurityGroupRuleExists "security_group_id":"{g}","direction":"ingress","protocol":"gre"
409 SecurityGroupRuleExists "security_group_id":"{g}","direction":"ingress"`)
	bulk := func(ports ...string) string {
		var list []string
		for _, p := range ports {
			list = append(list, `{`+in+`"protocol":"tcp","port_range_min":`+p+`,"port_range_max":`+p+`}`)
		}
		return `{"security_group_rules":[` + strings.Join(list, ",") + `]}`
	}
	before := c.control.State().Count(config.KindSecurityGroupRule)
	c.refuse(409, "DuplicateSecurityGroupRuleInPost", "POST", rulesPath, bulk("90", "91", "90"))
	if n := c.control.State().Count(config.KindSecurityGroupRule); n != before {
		t.Errorf("%d rules after a bulk that was refused, %d before", n, before)
	}
	if list := c.do(201, "POST", rulesPath, bulk("90", "91"))["security_group_rules"].([]any); len(list) != 2 {
		t.Errorf("%v", list)
	}
	if got := c.refuse(409, "AddressGroupInUse", "DELETE", "/v2.0/address-groups/{a}", ""); got !=
		c.fill("Address group {a} is in use on one or more security group rules.") {
		t.Errorf("%s", got)
	}
}

func TestAddressGroups(t *testing.T) {
	c := newCloud(t)
	const path = "/v2.0/address-groups"
	o := c.make("a", path,
		`{"address_group":{"name":"a","addresses":["10.1.0.0/16","2001:db8:9::1/128","10.1.2.3/16"]}}`)
	c.equals(o,
		`{"id":"{a}","name":"a","shared":false,"addresses":["10.1.0.0/16","2001:db8:9::1/128"],`+standard(1)+`}`)
	o = c.do(200, "PUT", path+"/{a}/add_addresses", `{"addresses":["10.2.0.1","10.2.0.1/32"]}`)
	if got := textOf(o["addresses"]); got != `["10.1.0.0/16","2001:db8:9::1/128","10.2.0.1/32"]` {
		t.Errorf("%s", got)
	}
	c.refuse(400, "AddressesAlreadyExist", "PUT", path+"/{a}/add_addresses", `{"addresses":["10.2.0.1"]}`)
	c.do(200, "PUT", path+"/{a}/remove_addresses", `{"address_group":{"addresses":["10.1.0.0/16","10.2.0.1/32"]}}`)
	c.refuse(404, "AddressesNotFound", "PUT", path+"/{a}/remove_addresses", `{"addresses":["10.2.0.1"]}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{a}/add_addresses", `{"addresses":["x"]}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{a}/add_addresses", `{}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{a}/add_addresses", `{"addresses":[],"x":1}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{a}/add_addresses", `{"address_group":{"addresses":[]},"x":1}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{a}", `{"address_group":{"addresses":[]}}`)
	c.refuse(404, "AddressGroupNotFound", "PUT", path+"/x/add_addresses", `{"addresses":[]}`)
	o = c.do(200, "PUT", path+"/{a}", `{"address_group":{"name":"b","description":"d"}}`)
	if got := textOf(o["addresses"]); got != `["2001:db8:9::1/128"]` || o["name"] != "b" {
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", path+"/{a}", "")
	c.list(path)
}

func TestPortSecurity(t *testing.T) {
	c := newCloud(t)
	c.build()
	const port = "/v2.0/ports/{port}"
	c.refuse(409, "PortSecurityPortHasSecurityGroup", "PUT", port, `{"port":{"port_security_enabled":false}}`)
	c.do(200, "PUT", port, `{"port":{"security_groups":null,"port_security_enabled":false}}`)
	c.refuse(409, "AddressPairAndPortSecurityRequired", "PUT", port,
		`{"port":{"allowed_address_pairs":[{"ip_address":"10.0.0.1"}]}}`)
	c.theDefault()
	c.refuse(409, "PortSecurityPortHasSecurityGroup", "PUT", port, `{"port":{"security_groups":["{def}"]}}`)
	c.refuse(400, "PortSecurityAndIPRequiredForSecurityGroups", "POST", "/v2.0/ports",
		`{"port":{"network_id":"{net}","port_security_enabled":false,"security_groups":["{def}"]}}`)
	c.refuse(409, "AddressPairAndPortSecurityRequired", "POST", "/v2.0/ports",
		`{"port":{"network_id":"{net}","port_security_enabled":false,`+
			`"allowed_address_pairs":[{"ip_address":"10.0.0.1"}]}}`)
	c.make("open", "/v2.0/networks", `{"network":{"port_security_enabled":false}}`)
	if o := c.make("q", "/v2.0/ports", `{"port":{"network_id":"{open}"}}`); o["port_security_enabled"] != false ||
		len(o["security_groups"].([]any)) != 0 {
		t.Errorf("%v", o)
	}
}

// As in Neutron, the port security of a network is for its new ports. The ports that are there keep theirs, and can be
// changed as before. A file's port follows the network, as the file's format says.
func TestPortSecurityOfANetworkIsForNewPorts(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("lb", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	c.make("own", "/v2.0/ports", `{"port":{"network_id":"{net}","port_security_enabled":false}}`)
	is := func(port string, want bool) {
		t.Helper()
		o := c.do(200, "PUT", "/v2.0/ports/{"+port+"}", `{"port":{"name":"`+port+`"}}`)
		if o["port_security_enabled"] != want {
			t.Errorf("%s: %v, want %v", port, o["port_security_enabled"], want)
		}
	}
	set := func(enabled string) {
		t.Helper()
		c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"port_security_enabled":`+enabled+`}}`)
	}
	is("port", true)
	set("false")
	is("port", true)
	is("own", false)
	c.make("later", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	is("later", false)
	set("true")
	is("port", true)
	is("own", false)
	is("later", false)
	is("iface", false) // the ports of the router are trusted
	for _, p := range c.do(200, "GET", "/v2.0/ports?device_owner=Octavia&device_owner=network:router_gateway",
		"")["ports"].([]any) {
		if o := p.(map[string]any); o["port_security_enabled"] != false {
			t.Errorf("%v", o)
		}
	}

	c = filesCloud(t, strings.Replace(lists, "port_security = true\n", "", 1))
	for _, enabled := range []bool{true, false} {
		c.do(200, "PUT", "/v2.0/networks/{blue}", `{"network":{"port_security_enabled":`+textOf(enabled)+`}}`)
		if o := c.do(200, "GET", "/v2.0/ports/{vm}", ""); o["port_security_enabled"] != enabled {
			t.Errorf("a file's port: %v, its network %v", o["port_security_enabled"], enabled)
		}
	}
}

// What nothing follows from is kept and shown, and the log names it.
func TestKeptAttributes(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var log bytes.Buffer
	c := cloudOn(t, e, neutron.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c.build()
	for _, x := range []struct{ path, wrap, create, kept, cleared string }{
		{"networks", "network", `"name":"n"`, `"shared":true,"is_default":true,"dns_domain":"example.org."`,
			`"shared":false,"is_default":false,"dns_domain":""`},
		{"subnets", "subnet", `"network_id":"{net}","ip_version":4,"cidr":"10.9.0.0/24"`,
			`"service_types":["compute:nova"],"dns_publish_fixed_ip":true`,
			`"service_types":[],"dns_publish_fixed_ip":false`},
		{"ports", "port", `"network_id":"{net}"`, `"binding:host_id":"h","binding:vnic_type":"direct",
			"binding:profile":{"a":[1,"b"]},"dns_name":"vm","dns_domain":"example.org.",
			"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400","ip_version":4}]`,
			`"binding:host_id":"","binding:vnic_type":"normal","binding:profile":{},"dns_name":"","dns_domain":""`},
	} {
		log.Reset()
		c.make("new", "/v2.0/"+x.path, `{"`+x.wrap+`":{`+x.create+`,`+x.kept+`}}`)
		_, line, _ := strings.Cut(log.String(), "unserved=")
		for _, set := range []string{x.kept, x.cleared, x.kept} {
			o := c.do(200, "PUT", "/v2.0/"+x.path+"/{new}", `{"`+x.wrap+`":{`+set+`}}`)
			for name, want := range parsed(t, `{`+set+`}`) {
				if got := textOf(o[name]); got != textOf(want) {
					t.Errorf("%s %s: %s, want %s", x.path, name, got, textOf(want))
				}
				served := name == "extra_dhcp_opts" || name == "dns_name" ||
					name == "dns_domain" && x.path == "networks"
				if strings.Contains(line, name) == served {
					t.Errorf("%s: %s is served: %v; the log has %s", x.path, name, served, line)
				}
			}
		}
	}
	o := c.do(200, "PUT", "/v2.0/ports/{new}", `{"port":{"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":null},
		{"opt_name":"x","opt_value":"y","ip_version":6}]}}`)
	c.equals(map[string]any{"o": o["extra_dhcp_opts"]}, `{"o":[{"opt_name":"x","opt_value":"y","ip_version":6}]}`)
	o = c.do(200, "PUT", "/v2.0/ports/{new}", `{"port":{"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"},
		{"opt_name":"mtu","opt_value":"1300","ip_version":6}]}}`)
	if list := o["extra_dhcp_opts"].([]any); len(list) != 3 {
		t.Errorf("one for each version of IP: %v", list)
	}
	c.refuse(400, "HTTPBadRequest", "PUT", "/v2.0/ports/{new}",
		`{"port":{"binding:profile":{"a":"`+strings.Repeat("x", config.MaxProfile)+`"}}}`)
	f := c.make("f", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","dns_name":"w",
		"dns_domain":"x."}}`)
	if f["dns_name"] != "w" || f["dns_domain"] != "x." {
		t.Errorf("%v", f)
	}
	r := c.make("r", "/v2.0/routers", `{"router":{"availability_zone_hints":["nova"],"distributed":false,"ha":false}}`)
	if got := textOf(r["availability_zone_hints"]); got != `["nova"]` {
		t.Errorf("%s", got)
	}
	log.Reset()
	c.do(201, "POST", "/v2.0/ports", `{"ports":[{"network_id":"{net}","binding:vnic_type":"direct"},
		{"network_id":"{net}","binding:vnic_type":"direct"}]}`)
	if !strings.Contains(log.String(), "unserved=[binding:vnic_type] ") {
		t.Errorf("the log does not name it once: %s", &log)
	}
	log.Reset()
	c.make("plain", "/v2.0/networks", `{"network":{"shared":false,"dns_domain":"","is_default":false}}`)
	if strings.Contains(log.String(), "unserved=") {
		t.Errorf("nothing was asked for: %s", &log)
	}
	before := slices.Collect(c.control.State().Ports())
	c.do(200, "PUT", "/v2.0/ports/{new}", `{"port":{"dns_name":"other"}}`)
	for _, p := range before { // the former State is as it was
		if string(p.ID) == c.ids["new"] && p.Extra.DNSName != "vm" {
			t.Errorf("%+v", p.Extra)
		}
	}
}

// The default group has a revision before anything has changed in it, and a change may name that.
func TestRevisionOfDefaultGroup(t *testing.T) {
	for _, path := range []string{"security-groups", "security-group-rules"} {
		c := newCloud(t)
		list := c.do(200, "GET", "/v2.0/"+path, "")[strings.ReplaceAll(path, "-", "_")].([]any)
		o := list[0].(map[string]any)
		method, body := "PUT", `{"security_group":{"description":"d"}}`
		if path == "security-group-rules" {
			method, body = "DELETE", ""
		}
		ask := func(revision float64) answer {
			req, _ := http.NewRequest(method, c.server.URL+"/v2.0/"+path+"/"+o["id"].(string), strings.NewReader(body))
			req.Header.Set("If-Match", fmt.Sprint("revision_number=", revision))
			return c.send(req)
		}
		is := o["revision_number"].(float64)
		if a := ask(is + 1); a.status != 412 {
			t.Errorf("%s: another revision: %d %s", path, a.status, a.text)
		}
		a := ask(is)
		if a.status >= 300 {
			t.Fatalf("%s: its revision: %d %s", path, a.status, a.text)
		}
		if method == "PUT" && a.body["security_group"].(map[string]any)["revision_number"] != is+1 {
			t.Errorf("after a change: %s, want %v", a.text, is+1)
		}
	}
}
