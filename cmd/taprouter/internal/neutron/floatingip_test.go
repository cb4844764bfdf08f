package neutron_test

import (
	"testing"

	"github.com/taprouter/taprouter/config"
)

func TestFloatingIP(t *testing.T) {
	c := newCloud(t)
	c.build()
	const path = "/v2.0/floatingips"
	f := c.make("fip", path, `{"floatingip":{"floating_network_id":"{ext}","floating_ip_address":"10.10.10.150",
		"port_id":"{port}"}}`)
	c.equals(f, `{"id":"{fip}","floating_network_id":"{ext}","floating_ip_address":"10.10.10.150","port_id":"{port}",
 "fixed_ip_address":"172.16.101.3","router_id":"{router}","status":"ACTIVE",
 "port_details":{"name":"vm3","network_id":"{net}","mac_address":"02:00:00:00:65:03","admin_state_up":true,
  "status":"ACTIVE","device_id":"","device_owner":""},
 "port_forwardings":[],"dns_name":"","dns_domain":"","qos_policy_id":null,"qos_network_policy_id":null,`+
		standard(1)+`}`)
	state := func(body string) string {
		t.Helper()
		o := c.do(200, "PUT", path+"/{fip}", `{"floatingip":{`+body+`}}`)
		return mustJSON(t, []any{o["port_id"], o["fixed_ip_address"], o["router_id"], o["status"],
			o["port_details"] == nil})
	}
	is := func(body, want string) {
		t.Helper()
		if got := state(body); got != c.fill(want) {
			t.Errorf("%s: %s, want %s", body, got, c.fill(want))
		}
	}
	const at3, free = `["{port}","172.16.101.3","{router}","ACTIVE",false]`, `[null,null,null,"DOWN",true]`
	is(`"description":"d"`, at3)
	is(`"port_id":null`, free)
	is(`"port_id":null`, free)
	is(`"port_id":"{port}"`, at3)
	is(`"port_id":"{port}"`, at3)
	c.make("p2", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.7"},
		{"ip_address":"172.16.101.8"}]}}`)
	is(`"port_id":"{p2}","fixed_ip_address":"172.16.101.8"`, `["{p2}","172.16.101.8","{router}","ACTIVE",false]`)
	is(`"fixed_ip_address":"172.16.101.7"`, `["{p2}","172.16.101.7","{router}","ACTIVE",false]`)
	is(`"port_id":"{port}","fixed_ip_address":null`, at3)
	is(`"port_id":null,"fixed_ip_address":null`, free)

	chosen := c.make("chosen", path, `{"floatingip":{"floating_network_id":"{ext}","port_id":null,
		"fixed_ip_address":null,"subnet_id":null,"floating_ip_address":null}}`)
	if chosen["floating_ip_address"] != "10.10.10.1" || chosen["status"] != "DOWN" || chosen["port_id"] != nil {
		t.Errorf("%v", chosen)
	}
	c.make("extsub2", "/v2.0/subnets",
		`{"subnet":{"network_id":"{ext}","ip_version":4,"cidr":"10.10.11.0/29","enable_dhcp":false}}`)
	for _, want := range []string{"10.10.11.2", "10.10.11.3"} {
		o := c.do(201, "POST", path, `{"floatingip":{"floating_network_id":"{ext}","subnet_id":"{extsub2}"}}`)
		if o["floating_ip_address"] != want {
			t.Errorf("of the second subnet: %v, want %s", o, want)
		}
	}
	c.do(200, "PUT", path+"/{fip}", `{"floatingip":{"port_id":"{port}"}}`)
	c.do(204, "DELETE", path+"/{fip}", "") // an associated one
	c.refuse(404, "FloatingIPNotFound", "GET", path+"/{fip}", "")
	c.refuse(404, "FloatingIPNotFound", "DELETE", path+"/{fip}", "")
}

// A floating IP shows the port on the subnet that its router is on, not one with the same address beside that subnet.
func TestFloatingIPBesideASubnet(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("beside", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.2.0.0/24"}}`)
	c.make("p1", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"10.2.0.5"}]}}`)
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"10.2.0.0/24"}}`)
	c.make("p2", "/v2.0/ports", `{"port":{"network_id":"{net2}","fixed_ips":[{"ip_address":"10.2.0.5"}]}}`)
	c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	o := c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{p2}"}}`)
	if o["port_id"] != c.ids["p2"] {
		t.Errorf("%v, want %s", o["port_id"], c.ids["p2"])
	}
}

func TestFloatingIPErrors(t *testing.T) {
	c := newCloud(t)
	c.build()
	const path = "/v2.0/floatingips"
	c.make("fip", path, `{"floatingip":{"floating_network_id":"{ext}","floating_ip_address":"10.10.10.9"}}`)
	c.make("lonely", "/v2.0/networks", `{"network":{}}`)
	c.make("lonelysub", "/v2.0/subnets", `{"subnet":{"network_id":"{lonely}","ip_version":4,"cidr":"10.5.0.0/24"}}`)
	c.make("far", "/v2.0/ports", `{"port":{"network_id":"{lonely}"}}`)
	c.make("two", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.7"},
		{"ip_address":"172.16.101.8"}]}}`)
	c.make("bare", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[]}}`)
	c.make("small", "/v2.0/subnets",
		`{"subnet":{"network_id":"{ext}","ip_version":4,"cidr":"10.6.0.0/30","enable_dhcp":false}}`)
	c.do(201, "POST", path, `{"floatingip":{"floating_network_id":"{ext}","subnet_id":"{small}"}}`)
	c.refuseEach("POST", path, "floatingip", `
400 BadRequest "floating_network_id":"{net}"
404 NetworkNotFound "floating_network_id":"{sub}"
400 HTTPBadRequest "port_id":"{port}"
409 IpAddressAlreadyAllocated "floating_network_id":"{ext}","floating_ip_address":"10.10.10.9"
409 IpAddressAlreadyAllocated "floating_network_id":"{ext}","floating_ip_address":"10.10.10.2"
409 IpAddressAlreadyAllocated "floating_network_id":"{ext}","floating_ip_address":"10.10.10.4"
400 InvalidIpForNetwork "floating_network_id":"{ext}","floating_ip_address":"192.0.2.1"
409 IpAddressGenerationFailure "floating_network_id":"{ext}","subnet_id":"{small}"
400 BadRequest "floating_network_id":"{ext}","subnet_id":"{sub}"
404 SubnetNotFound "floating_network_id":"{ext}","subnet_id":"{net}"
400 InvalidIpForSubnet "floating_network_id":"{ext}","subnet_id":"{extsub}","floating_ip_address":"10.6.0.1"
404 PortNotFound "floating_network_id":"{ext}","port_id":"{net}"
404 ExternalGatewayForFloatingIPNotFound "floating_network_id":"{ext}","port_id":"{far}"
400 BadRequest "floating_network_id":"{ext}","port_id":"{two}"
400 BadRequest "floating_network_id":"{ext}","port_id":"{bare}"
400 BadRequest "floating_network_id":"{ext}","port_id":"{two}","fixed_ip_address":"172.16.101.3"
400 BadRequest "floating_network_id":"{ext}","fixed_ip_address":"172.16.101.3"
400 InvalidInput "floating_network_id":"{ext}","port_id":"{iface}"`)
	put := func(status int, typ, body string) {
		t.Helper()
		c.refuse(status, typ, "PUT", path+"/{fip}", `{"floatingip":{`+body+`}}`)
	}
	put(400, "BadRequest", `"fixed_ip_address":"172.16.101.3"`)
	put(400, "BadRequest", `"port_id":null,"fixed_ip_address":"172.16.101.3"`)
	put(400, "HTTPBadRequest", `"floating_ip_address":"10.10.10.10"`)
	put(400, "HTTPBadRequest", `"floating_network_id":"{ext}"`)
	put(400, "HTTPBadRequest", `"port_id":3`)
	c.do(201, "POST", path, `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	put(409, "FloatingIPPortAlreadyAssociated", `"port_id":"{port}"`)
	c.make("full", "/v2.0/networks", `{"network":{"router:external":true}}`)
	c.refuse(409, "IpAddressGenerationFailure", "POST", path, `{"floatingip":{"floating_network_id":"{full}"}}`)
}

// Where two tenants have the same addresses, a floating IP leads to the port that it was given.
func TestSameAddressesOfTwoTenants(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"172.16.101.0/24"}}`)
	c.make("port2", "/v2.0/ports", `{"port":{"network_id":"{net2}","fixed_ips":[{"ip_address":"172.16.101.3"}]}}`)
	c.make("r2", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"{ext}"}}}`)
	c.do(200, "PUT", "/v2.0/routers/{r2}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	for port, router := range map[string]string{"port": "router", "port2": "r2"} {
		o := c.do(201, "POST", "/v2.0/floatingips",
			`{"floatingip":{"floating_network_id":"{ext}","port_id":"{`+port+`}"}}`)
		if o["router_id"] != c.ids[router] || o["port_id"] != c.ids[port] || o["fixed_ip_address"] != "172.16.101.3" {
			t.Errorf("%s: %v", port, o)
		}
	}
	// A second router on the subnet: the one that is the subnet's gateway is chosen.
	c.make("r3", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"{ext}"}}}`)
	c.make("p3", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.254"}]}}`)
	c.do(200, "PUT", "/v2.0/routers/{r3}/add_router_interface", `{"port_id":"{p3}"}`)
	c.make("p4", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	o := c.do(201, "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{p4}"}}`)
	if o["router_id"] != c.ids["router"] {
		t.Errorf("%v", o)
	}
}

// Of several routers on a subnet, a floating IP keeps its own, and takes the subnet's gateway otherwise. Through all of
// them, an address has one floating IP on a network outside.
func TestSeveralRoutersOnASubnet(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"10.2.0.0/24"}}`)
	c.make("side", "/v2.0/ports", `{"port":{"network_id":"{net2}","fixed_ips":[{"ip_address":"10.2.0.254"}]}}`)
	c.make("r2", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"{ext}"}}}`)
	c.do(200, "PUT", "/v2.0/routers/{r2}/add_router_interface", `{"port_id":"{side}"}`) // the first one there
	c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	c.make("a", "/v2.0/ports", `{"port":{"network_id":"{net2}"}}`)
	c.make("b", "/v2.0/ports", `{"port":{"network_id":"{net2}"}}`)
	const path = "/v2.0/floatingips"
	f := c.make("f", path, `{"floatingip":{"floating_network_id":"{ext}","port_id":"{a}"}}`)
	if f["router_id"] != c.ids["router"] {
		t.Errorf("not by the subnet's gateway: %v", f)
	}
	c.make("g", path, `{"floatingip":{"floating_network_id":"{ext}","port_id":"{b}"}}`)
	if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
		g := *d.FloatingIP(config.ID(c.ids["g"]))
		g.Router = config.ID(c.ids["r2"])
		d.Put(&g)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.refuse(409, "FloatingIPPortAlreadyAssociated", "PUT", path+"/{g}", `{"floatingip":{"port_id":"{a}"}}`)
	c.do(204, "DELETE", path+"/{f}", "")
	if g := c.do(200, "PUT", path+"/{g}", `{"floatingip":{"port_id":"{a}"}}`); g["router_id"] != c.ids["r2"] {
		t.Errorf("not by its own router: %v", g)
	}
}
