package neutron_test

import (
	"strings"
	"testing"
)

func TestPortForwarding(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	const path = "/v2.0/floatingips/{fip}/port_forwardings"
	c.list(path)
	const ssh = `"protocol":"TCP","internal_ip_address":"172.16.101.3","internal_port":"22","internal_port_id":"{port}",
		"external_port":2222`
	p := c.make("pf", path, `{"port_forwarding":{`+ssh+`,"description":"ssh"}}`)
	c.equals(p, `{"id":"{pf}","protocol":"tcp","internal_ip_address":"172.16.101.3","internal_port":22,
		"internal_port_range":"22:22","internal_port_id":"{port}","external_port":2222,
		"external_port_range":"2222:2222","description":"ssh"}`)
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["router_id"] != c.ids["router"] || o["port_id"] != nil {
		t.Errorf("%v", o)
	}
	c.make("udp", path, `{"port_forwarding":{`+strings.Replace(ssh, "TCP", "udp", 1)+`,"description":"udp"}}`)
	c.make("vm4", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.4"}]}}`)
	o := c.do(200, "PUT", path+"/{udp}", `{"port_forwarding":{"internal_port_id":"{vm4}",
		"internal_ip_address":"172.16.101.4","external_port":53,"internal_port":53}}`)
	c.equals(o, `{"id":"{udp}","protocol":"udp","internal_ip_address":"172.16.101.4","internal_port":53,
		"internal_port_range":"53:53","internal_port_id":"{vm4}","external_port":53,"external_port_range":"53:53",
		"description":"udp"}`)
	c.do(200, "PUT", "/v2.0/ports/{vm4}", `{"port":{"fixed_ips":[{"ip_address":"172.16.101.4"},
		{"ip_address":"172.16.101.5"}]}}`)
	for _, address := range []string{"172.16.101.5", "172.16.101.4"} { // of the port that it has
		o := c.do(200, "PUT", path+"/{udp}", `{"port_forwarding":{"internal_ip_address":"`+address+`"}}`)
		if o["internal_ip_address"] != address || o["internal_port_id"] != c.ids["vm4"] {
			t.Errorf("%s: %v", address, o)
		}
	}
	for query, want := range map[string]string{"": "ssh udp", "?protocol=tcp": "ssh", "?external_port=53": "udp",
		"?internal_port_id={port}": "ssh", "?limit=1&sort_key=external_port": "udp", "?internal_port=1": ""} {
		if got := strings.Join(c.names(path+query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	c.refuseEach("POST", path, "port_forwarding", `
409 PortForwardingConflict `+strings.ReplaceAll(ssh, "\n", " ")+`
400 HTTPBadRequest "protocol":"tcp"
400 HTTPBadRequest "protocol":"sctp","internal_port_id":"{port}","internal_ip_address":"172.16.101.3","internal_port":1,"external_port":1
400 HTTPBadRequest "protocol":"tcp","internal_port_id":"{port}","internal_ip_address":"172.16.101.3","internal_port":1,"external_port":0
400 HTTPBadRequest "protocol":"tcp","internal_port_id":"{port}","internal_ip_address":"172.16.101.3","internal_port":70000,"external_port":1
400 BadRequest "protocol":"tcp","internal_port_id":"{port}","internal_ip_address":"172.16.101.4","internal_port":1,"external_port":1
404 PortNotFound "protocol":"tcp","internal_port_id":"{net}","internal_ip_address":"172.16.101.3","internal_port":1,"external_port":1`)
	c.refuse(409, "PortForwardingConflict", "PUT", path+"/{udp}",
		`{"port_forwarding":{"protocol":"tcp","external_port":2222}}`)
	c.refuse(400, "BadRequest", "PUT", path+"/{udp}", `{"port_forwarding":{"internal_port_id":"{port}"}}`)
	c.refuse(409, "FipInUseByPortForwarding", "PUT", "/v2.0/floatingips/{fip}", `{"floatingip":{"port_id":"{port}"}}`)
	c.refuse(409, "RouterInterfaceInUseByFloatingIP", "PUT", "/v2.0/routers/{router}/remove_router_interface",
		`{"subnet_id":"{sub}"}`)

	c.make("other", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	c.refuse(409, "FipPortForwardingConflict", "POST", "/v2.0/floatingips/{other}/port_forwardings",
		`{"port_forwarding":{`+ssh+`}}`)
	c.refuse(404, "PortForwardingNotFound", "GET", "/v2.0/floatingips/{other}/port_forwardings/{pf}", "")
	c.refuse(404, "FloatingIPNotFound", "GET", "/v2.0/floatingips/{net}/port_forwardings", "")
	c.refuse(404, "FloatingIPNotFound", "DELETE", "/v2.0/floatingips/{net}/port_forwardings/{pf}", "")

	// A port behind another router: not beside the others, but alone.
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"172.16.102.0/24"}}`)
	c.make("far", "/v2.0/ports", `{"port":{"network_id":"{net2}","fixed_ips":[{"ip_address":"172.16.102.3"}]}}`)
	const far = `{"port_forwarding":{"internal_port_id":"{far}","internal_ip_address":"172.16.102.3"}}`
	c.refuse(404, "ExternalGatewayForFloatingIPNotFound", "PUT", path+"/{udp}", far)
	c.make("r2", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"{ext}"}}}`)
	c.do(200, "PUT", "/v2.0/routers/{r2}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	c.refuse(400, "BadRequest", "PUT", path+"/{udp}", far)
	c.do(204, "DELETE", path+"/{pf}", "")
	c.refuse(404, "PortForwardingNotFound", "DELETE", path+"/{pf}", "")
	c.do(200, "PUT", path+"/{udp}", far)
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["router_id"] != c.ids["r2"] {
		t.Errorf("%v", o)
	}
	c.do(200, "PUT", path+"/{udp}", `{"port_forwarding":{"description":null}}`)
	c.do(204, "DELETE", path+"/{udp}", "")
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["router_id"] != nil {
		t.Errorf("%v", o)
	}
	c.do(200, "PUT", "/v2.0/floatingips/{fip}", `{"floatingip":{"port_id":"{far}"}}`)
}

// A forwarded port may be given as a range of one.
func TestPortForwardingRanges(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	const path = "/v2.0/floatingips/{fip}/port_forwardings"
	const to = `"protocol":"tcp","internal_port_id":"{port}","internal_ip_address":"172.16.101.3"`
	shows := func(o map[string]any, internal, external string) {
		t.Helper()
		c.equals(map[string]any{"i": o["internal_port"], "ir": o["internal_port_range"], "e": o["external_port"],
			"er": o["external_port_range"]}, `{"i":`+internal+`,"ir":"`+internal+`:`+internal+`","e":`+external+
			`,"er":"`+external+`:`+external+`"}`)
	}
	o := c.make("pf", path, `{"port_forwarding":{`+to+`,"internal_port_range":"22:22","external_port_range":"2222"}}`)
	shows(o, "22", "2222")
	shows(c.make("both", path, `{"port_forwarding":{`+to+`,"internal_port":23,"internal_port_range":"23:23",
		"external_port":"2323","external_port_range":"2323:2323"}}`), "23", "2323")
	shows(c.do(200, "PUT", path+"/{pf}", `{"port_forwarding":{"external_port_range":"2224:2224"}}`), "22", "2224")
	shows(c.do(200, "PUT", path+"/{pf}", `{"port_forwarding":{"external_port":2225}}`), "22", "2225")
	for _, ports := range []string{`"internal_port":22`, `"external_port":22`, `"internal_port_range":"22:22"`,
		`"internal_port":22,"external_port_range":"22:23"`, `"internal_port":22,"external_port_range":"0:0"`,
		`"internal_port":22,"external_port_range":"x"`, `"internal_port":22,"external_port_range":22`,
		`"internal_port":22,"external_port":22,"external_port_range":"23:23"`,
		`"internal_port":22,"internal_port_range":"23:23","external_port":22`,
		`"internal_port":22,"external_port":null,"external_port_range":null`,
		`"internal_port":22,"external_port_range":"65536:65536"`} {
		c.refuse(400, "HTTPBadRequest", "POST", path, `{"port_forwarding":{`+to+`,`+ports+`}}`)
	}
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{pf}",
		`{"port_forwarding":{"external_port":24,"external_port_range":"25:25"}}`)
	if list := c.do(200, "GET", path, "")["port_forwardings"].([]any); len(list) != 2 {
		t.Errorf("%v", list)
	}
}
