package neutron_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRouter(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"routes":[{"destination":"10.99.0.0/16",
		"nexthop":"172.16.101.3"}]}}`)
	c.equals(c.do(200, "GET", "/v2.0/routers/{router}", ""), `{"id":"{router}","name":"r1","status":"ACTIVE",
 "admin_state_up":true,"distributed":false,"ha":false,"flavor_id":null,
 "external_gateway_info":{"network_id":"{ext}","enable_snat":true,
  "external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.2"}]},
 "routes":[{"destination":"10.99.0.0/16","nexthop":"172.16.101.3"}],"availability_zone_hints":[],
 "availability_zones":["nova"],"enable_ndp_proxy":null,`+standard(2)+`}`)
	gateway := func(body string) any {
		t.Helper()
		return c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{`+body+`}}`)["external_gateway_info"]
	}
	same := func(got any, want string) {
		t.Helper()
		c.equals(map[string]any{"g": got}, `{"g":`+want+`}`)
	}
	const at = `"external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.2"}]`
	same(gateway(`"external_gateway_info":{"network_id":"{ext}","enable_snat":"false"}`),
		`{"network_id":"{ext}","enable_snat":false,`+at+`}`)
	same(gateway(`"name":"r2","distributed":false,"ha":false`), `{"network_id":"{ext}","enable_snat":false,`+at+`}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext}"}`),
		`{"network_id":"{ext}","enable_snat":false,`+at+`}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext}","enable_snat":true,
		"external_fixed_ips":[{"ip_address":"10.10.10.77"}]}`), `{"network_id":"{ext}","enable_snat":true,
		"external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.77"}]}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext}","external_fixed_ips":[{"subnet_id":"{extsub}"}]}`),
		`{"network_id":"{ext}","enable_snat":true,
		"external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.77"}]}`)
	for _, clear := range []string{"{}", "null"} {
		same(gateway(`"external_gateway_info":`+clear), `null`)
		same(gateway(`"external_gateway_info":{"network_id":"{ext}"}`), `{"network_id":"{ext}","enable_snat":true,
			"external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.1"}]}`)
	}
	// Another external network: another address, and none of the former one's addresses for SNAT.
	if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
		r := *d.Router(config.ID(c.ids["router"]))
		g := *r.Gateway
		g.SNATAddresses = []config.AddressRange{{First: netip.MustParseAddr("10.10.10.80"),
			Last: netip.MustParseAddr("10.10.10.81")}}
		r.Gateway = &g
		d.Put(&r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.make("ext2", "/v2.0/networks", `{"network":{"router:external":true}}`)
	c.make("ext2sub", "/v2.0/subnets",
		`{"subnet":{"network_id":"{ext2}","ip_version":4,"cidr":"10.20.0.0/24","enable_dhcp":false}}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext2}"}`), `{"network_id":"{ext2}","enable_snat":true,
		"external_fixed_ips":[{"subnet_id":"{ext2sub}","ip_address":"10.20.0.2"}]}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext}","external_fixed_ips":[{"ip_address":"10.10.10.3"}]}`),
		`{"network_id":"{ext}","enable_snat":true,
		"external_fixed_ips":[{"subnet_id":"{extsub}","ip_address":"10.10.10.3"}]}`)

	// With the address the router's MAC address goes, too: another port may have it on the other network.
	ports := c.do(200, "GET", "/v2.0/ports?device_owner=network:router_gateway", "")["ports"].([]any)
	c.make("rival", "/v2.0/ports", `{"port":{"network_id":"{ext2}","mac_address":"`+
		ports[0].(map[string]any)["mac_address"].(string)+`"}}`)
	same(gateway(`"external_gateway_info":{"network_id":"{ext2}","external_fixed_ips":[{"ip_address":"10.20.0.9"}]}`),
		`{"network_id":"{ext2}","enable_snat":true,
		"external_fixed_ips":[{"subnet_id":"{ext2sub}","ip_address":"10.20.0.9"}]}`)
	c.do(204, "DELETE", "/v2.0/ports/{rival}", "")

	bare := c.make("bare", "/v2.0/routers", `{"router":{}}`)
	if bare["external_gateway_info"] != nil || len(bare["routes"].([]any)) != 0 || bare["status"] != "ACTIVE" {
		t.Errorf("%v", bare)
	}
	down := c.do(200, "PUT", "/v2.0/routers/{bare}", `{"router":{"admin_state_up":false}}`)
	if down["status"] != "ACTIVE" || down["admin_state_up"] != false {
		t.Errorf("%v", down)
	}
	c.do(204, "DELETE", "/v2.0/routers/{bare}", "")
	c.refuse(409, "RouterInUse", "DELETE", "/v2.0/routers/{router}", "")
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"routes":[]}}`)
	c.do(200, "PUT", "/v2.0/routers/{router}/remove_router_interface", `{"subnet_id":"{sub}"}`)
	c.do(204, "DELETE", "/v2.0/routers/{router}", "")
	c.list("/v2.0/ports", "vm3") // the gateway's port is gone
}

func TestRouterErrors(t *testing.T) {
	c := newCloud(t)
	c.build()
	const path = "/v2.0/routers"
	gateway := func(body string) string { return `{"router":{"external_gateway_info":` + body + `}}` }
	c.refuse(400, "BadRequest", "POST", path, gateway(`{"network_id":"{net}"}`))
	c.refuse(404, "NetworkNotFound", "POST", path, gateway(`{"network_id":"{sub}"}`))
	c.refuse(400, "HTTPBadRequest", "POST", path, gateway(`{"enable_snat":true}`))
	c.refuse(400, "HTTPBadRequest", "POST", path, gateway(`{"network_id":"{ext}","x":1}`))
	c.refuse(400, "HTTPBadRequest", "POST", path, gateway(`{"network_id":"{ext}","qos_policy_id":"{net}"}`))
	c.refuse(400, "HTTPBadRequest", "POST", path, gateway(`"x"`))
	c.refuse(400, "HTTPBadRequest", "POST", path, `{"router":{"routes":[]}}`)
	c.refuse(400, "NotSupported", "POST", path, `{"router":{"distributed":true}}`)
	c.refuse(400, "NotSupported", "POST", path, `{"router":{"flavor_id":"x"}}`)
	fixed := func(ip string) string {
		return gateway(`{"network_id":"{ext}","external_fixed_ips":[` + ip + `]}`)
	}
	c.refuse(400, "InvalidIpForNetwork", "POST", path, fixed(`{"ip_address":"192.0.2.1"}`))
	c.refuse(409, "IpAddressAlreadyAllocated", "POST", path, fixed(`{"ip_address":"10.10.10.2"}`))
	c.refuse(409, "IpAddressAlreadyAllocated", "POST", path, fixed(`{"ip_address":"10.10.10.4"}`))
	c.refuse(404, "SubnetNotFound", "POST", path, fixed(`{"subnet_id":"{net}"}`))
	c.list(path, "r1")
	put := path + "/{router}"
	c.refuse(400, "InvalidRoutes", "PUT", put, `{"router":{"routes":[{"destination":"10.0.0.0/8",
		"nexthop":"192.0.2.1"}]}}`)
	c.refuse(400, "InvalidRoutes", "PUT", put, `{"router":{"routes":[{"destination":"10.0.0.0/8",
		"nexthop":"172.16.101.3"},{"destination":"10.0.0.0/8","nexthop":"172.16.101.4"}]}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", put, `{"router":{"routes":[{"destination":"10.0.0.0/8"}]}}`)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	const inUse = "RouterExternalGatewayInUseByFloatingIp"
	c.refuse(409, inUse, "PUT", put, gateway(`{}`))
	c.refuse(409, inUse, "PUT", put, gateway(`null`))
	c.make("ext2", "/v2.0/networks", `{"network":{"router:external":true}}`)
	c.refuse(409, inUse, "PUT", put, gateway(`{"network_id":"{ext2}"}`))
	c.refuse(404, "RouterNotFound", "DELETE", path+"/{net}", "")
	c.refuse(404, "RouterNotFound", "PUT", path+"/{net}/add_router_interface", `{"subnet_id":"{sub}"}`)
	c.refuse(404, "RouterNotFound", "PUT", path+"/{net}/add_extraroutes", `{"router":{"routes":[]}}`)
}

func TestExtraRoutes(t *testing.T) {
	c := newCloud(t)
	c.build()
	routes := func(action, body string) any {
		t.Helper()
		return c.do(200, "PUT", "/v2.0/routers/{router}/"+action, `{"router":{"routes":[`+body+`]}}`)["routes"]
	}
	const a, b = `{"destination":"10.1.0.0/16","nexthop":"172.16.101.3"}`,
		`{"destination":"10.2.0.0/16","nexthop":"172.16.101.3"}`
	for _, x := range []struct{ action, body, want string }{
		{"add_extraroutes", a, a}, {"add_extraroutes", a + "," + b, a + "," + b}, {"remove_extraroutes", a, b},
		{"remove_extraroutes", a, b}, {"remove_extraroutes", b, ""},
	} {
		c.equals(map[string]any{"r": routes(x.action, x.body)}, `{"r":[`+x.want+`]}`)
	}
	routes("add_extraroutes", a)
	if left := routes("remove_extraroutes", `{"destination":"10.1.2.3/16","nexthop":"172.16.101.3"}`).([]any); len(
		left) != 0 { // the same with host bits
		t.Errorf("%v", left)
	}
	const path = "/v2.0/routers/{router}/add_extraroutes"
	c.refuse(400, "HTTPBadRequest", "PUT", path, `{"router":{"routes":[],"name":"x"}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path, `{"router":{}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path, `{"routes":[]}`)
	c.refuse(400, "InvalidRoutes", "PUT", path,
		`{"router":{"routes":[{"destination":"10.1.0.0/16","nexthop":"9.9.9.9"}]}}`)
}

func TestInterfaces(t *testing.T) {
	c := newCloud(t)
	c.build()
	const path = "/v2.0/routers/{router}/"
	want := func(port, subnet string) string {
		return `{"id":"{router}","port_id":"` + port + `","subnet_id":"` + subnet + `","subnet_ids":["` + subnet +
			`"],"network_id":"{net}","tags":[],` + project + `}`
	}
	c.equals(c.do(200, "PUT", path+"remove_router_interface", `{"subnet_id":"{sub}"}`), want("{iface}", "{sub}"))
	c.refuse(404, "RouterInterfaceNotFoundForSubnet", "PUT", path+"remove_router_interface", `{"subnet_id":"{sub}"}`)
	c.refuse(404, "PortNotFound", "GET", "/v2.0/ports/{iface}", "")
	c.refuse(404, "RouterInterfaceNotFound", "PUT", path+"remove_router_interface", `{"port_id":"{iface}"}`)
	added := c.do(200, "PUT", path+"add_router_interface", `{"subnet_id":"{sub}"}`)
	c.ids["iface"] = added["port_id"].(string)
	c.equals(added, want("{iface}", "{sub}"))
	iface := c.do(200, "GET", "/v2.0/ports/{iface}", "")
	c.equals(map[string]any{"f": iface["fixed_ips"]}, `{"f":[{"subnet_id":"{sub}","ip_address":"172.16.101.1"}]}`)
	c.refuse(400, "BadRequest", "PUT", path+"add_router_interface", `{"subnet_id":"{sub}"}`)

	// By a port, on a second subnet of the network: the router has one MAC address there.
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.102.0/24"}}`)
	c.make("p2", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.102.9"}]}}`)
	c.equals(c.do(200, "PUT", path+"add_router_interface", `{"port_id":"{p2}"}`), want("{p2}", "{sub2}"))
	p2 := c.do(200, "GET", "/v2.0/ports/{p2}", "")
	if p2["mac_address"] != iface["mac_address"] || p2["device_id"] != c.ids["router"] {
		t.Errorf("%v", p2)
	}
	c.refuse(409, "SubnetMismatchForPort", "PUT", path+"remove_router_interface",
		`{"port_id":"{p2}","subnet_id":"{sub}"}`)
	c.equals(c.do(200, "PUT", path+"remove_router_interface", `{"port_id":"{p2}"}`), want("{p2}", "{sub2}"))
	c.refuse(404, "PortNotFound", "GET", "/v2.0/ports/{p2}", "")

	if got := c.refuse(400, "BadRequest", "PUT", path+"add_router_interface",
		`{"subnet_id":"{sub2}","port_id":"{port}"}`); !strings.Contains(got, "both") {
		t.Errorf("%s", got)
	}
	for body, typ := range map[string]string{`{}`: "BadRequest", `{"subnet_id":null}`: "BadRequest",
		`{"subnet_id":"x"}`: "HTTPBadRequest", `{"subnet_id":"{sub2}","x":1}`: "HTTPBadRequest"} {
		c.refuse(400, typ, "PUT", path+"add_router_interface", body)
	}
	c.refuse(404, "SubnetNotFound", "PUT", path+"add_router_interface", `{"subnet_id":"{net}"}`)
	c.refuse(404, "PortNotFound", "PUT", path+"add_router_interface", `{"port_id":"{net}"}`)
	c.refuse(409, "PortInUse", "PUT", path+"add_router_interface", `{"port_id":"{iface}"}`)
	c.make("bare", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[]}}`)
	c.refuse(400, "BadRequest", "PUT", path+"add_router_interface", `{"port_id":"{bare}"}`)
	c.make("nogw", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.103.0/24",
		"gateway_ip":null}}`)
	c.refuse(400, "BadRequest", "PUT", path+"add_router_interface", `{"subnet_id":"{nogw}"}`)
	c.refuse(400, "BadRequest", "PUT", path+"add_router_interface", `{"subnet_id":"{extsub}"}`)
	c.make("other", "/v2.0/networks", `{"network":{}}`)
	c.make("overlap", "/v2.0/subnets", `{"subnet":{"network_id":"{other}","ip_version":4,"cidr":"172.16.101.128/25"}}`)
	c.refuse(400, "BadRequest", "PUT", path+"add_router_interface", `{"subnet_id":"{overlap}"}`)
	c.refuse(409, "IpAddressAlreadyAllocated", "PUT", "/v2.0/routers/"+c.make("r2", "/v2.0/routers",
		`{"router":{}}`)["id"].(string)+"/add_router_interface", `{"subnet_id":"{sub}"}`)

	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	c.refuse(409, "RouterInterfaceInUseByFloatingIP", "PUT", path+"remove_router_interface", `{"subnet_id":"{sub}"}`)
	c.refuse(409, "RouterInterfaceInUseByFloatingIP", "PUT", path+"remove_router_interface", `{"port_id":"{iface}"}`)
	c.refuse(409, "RouterInterfaceInUseByFloatingIP", "PUT", "/v2.0/ports/{iface}",
		`{"port":{"fixed_ips":[{"ip_address":"172.16.102.1"}]}}`)
	c.do(204, "DELETE", "/v2.0/floatingips/{fip}", "")
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"routes":[{"destination":"10.0.0.0/8",
		"nexthop":"172.16.101.3"}]}}`)
	c.refuse(409, "RouterInterfaceInUseByRoute", "PUT", path+"remove_router_interface", `{"subnet_id":"{sub}"}`)
}

// A port with addresses of two subnets loses the one whose subnet goes.
func TestInterfaceInTwoSubnets(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.102.0/24"}}`)
	c.make("sub3", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.103.0/24"}}`)
	c.make("p", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.102.1"},
		{"ip_address":"172.16.103.1"}]}}`)
	o := c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"port_id":"{p}"}`)
	c.equals(map[string]any{"s": o["subnet_ids"]}, `{"s":["{sub2}","{sub3}"]}`)
	c.do(200, "PUT", "/v2.0/routers/{router}/remove_router_interface", `{"subnet_id":"{sub2}"}`)
	p := c.do(200, "GET", "/v2.0/ports/{p}", "")
	c.equals(map[string]any{"f": p["fixed_ips"]}, `{"f":[{"subnet_id":"{sub3}","ip_address":"172.16.103.1"}]}`)
}
