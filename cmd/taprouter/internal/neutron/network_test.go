package neutron_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func TestNetwork(t *testing.T) {
	c := newCloud(t)
	n := c.make("net", "/v2.0/networks", `{"network":{"name":"vlan100","provider:network_type":"vlan",
		"provider:physical_network":"default","provider:segmentation_id":"100"}}`)
	want := func(revision int, subnets string) string {
		return `{"id":"{net}","name":"vlan100","status":"ACTIVE","admin_state_up":true,"shared":false,"mtu":1500,
 "subnets":` + subnets + `,"router:external":false,"is_default":false,"provider:network_type":"vlan",
 "provider:physical_network":"default","provider:segmentation_id":100,"port_security_enabled":true,
 "availability_zone_hints":[],"availability_zones":["nova"],"ipv4_address_scope":null,"ipv6_address_scope":null,
 "qos_policy_id":null,"dns_domain":"","vlan_transparent":null,` + standard(revision) + `}`
	}
	c.equals(n, want(1, "[]"))
	c.make("sub", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.100.0/24"}}`)
	c.equals(c.do(200, "GET", "/v2.0/networks/{net}?floatingip_id=x&pool_id=y", ""), want(1, `["{sub}"]`))
	got := c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"name":"n","description":"d","admin_state_up":false,
		"mtu":1400,"router:external":true,"port_security_enabled":"False"}}`)
	for k, v := range map[string]any{"name": "n", "description": "d", "admin_state_up": false, "mtu": 1400.,
		"router:external": true, "port_security_enabled": false, "revision_number": 2.} {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"router:external":false}}`)
	c.do(204, "DELETE", "/v2.0/networks/{net}", "")
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks/{net}", "")
	c.refuse(404, "SubnetNotFound", "GET", "/v2.0/subnets/{sub}", "")
	c.refuse(404, "NetworkNotFound", "DELETE", "/v2.0/networks/{net}", "")
	c.refuse(404, "NetworkNotFound", "PUT", "/v2.0/networks/{net}", `{"network":{}}`)
}

func TestProvider(t *testing.T) {
	c := newCloud(t)
	const path = "/v2.0/networks"
	segments := func(s string) string { return `{"network":{"segments":[` + s + `]}}` }
	segment := func(typ, label string, id int) string {
		return fmt.Sprintf(`{"provider:network_type":%q,"provider:physical_network":%q,"provider:segmentation_id":%d}`,
			typ, label, id)
	}
	local := c.make("local", path, `{"network":{"provider:network_type":"local"}}`)
	flat := c.make("flat", path, segments(segment("flat", "default", 0)))
	tagged := c.make("tagged", path, segments(segment("vlan", "default", 7)))
	for _, x := range []struct {
		o               map[string]any
		typ, label, tag any
	}{{local, "local", nil, nil}, {flat, "flat", "default", nil}, {tagged, "vlan", "default", 7.}} {
		if x.o["provider:network_type"] != x.typ || x.o["provider:physical_network"] != x.label ||
			x.o["provider:segmentation_id"] != x.tag {
			t.Errorf("%v", x.o)
		}
		if _, ok := x.o["segments"]; ok {
			t.Errorf("segments: %v", x.o)
		}
	}
	c.refuse(409, "FlatNetworkInUse", "POST", path, segments(segment("flat", "default", 0)))
	c.refuse(409, "VlanIdInUse", "POST", path, segments(segment("vlan", "default", 7)))
	for _, body := range []string{segments(segment("vlan", "default", 0)), segments(segment("vlan", "default", 4095)),
		segments(segment("flat", "default", 3)), segments(segment("vxlan", "default", 8)),
		segments(segment("vlan", "other", 8)), segments(segment("vlan", "", 8)), segments(segment("local",
			"default", 0)),
		`{"network":{"provider:segmentation_id":8}}`} {
		c.refuse(400, "InvalidInput", "POST", path, body)
	}
	two := segment("vlan", "default", 8) + "," + segment("vlan", "default", 9)
	c.refuse(400, "HTTPBadRequest", "POST", path, segments(two))
	c.refuse(400, "HTTPBadRequest", "POST", path, segments(`{"x":1}`))
	c.refuse(400, "HTTPBadRequest", "POST", path, `{"network":{"segments":{}}}`)
	c.refuse(400, "BadRequest", "POST", path, `{"network":{"provider:network_type":"vlan",
		"segments":[`+segment("vlan", "default", 8)+`]}}`)
	c.refuse(400, "HTTPBadRequest", "GET", path+"?segments=x", "")
}

func TestNetworkInUse(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.refuse(409, "NetworkInUse", "DELETE", "/v2.0/networks/{net}", "")
	c.refuse(409, "NetworkInUse", "DELETE", "/v2.0/networks/{ext}", "")
	c.refuse(409, "ExternalNetworkInUse", "PUT", "/v2.0/networks/{ext}", `{"network":{"router:external":false}}`)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"external_gateway_info":null}}`)
	c.refuse(409, "ExternalNetworkInUse", "PUT", "/v2.0/networks/{ext}", `{"network":{"router:external":false}}`)
	c.refuse(409, "NetworkInUse", "DELETE", "/v2.0/networks/{ext}", "")
	c.do(204, "DELETE", "/v2.0/floatingips/{fip}", "")
	c.do(204, "DELETE", "/v2.0/networks/{ext}", "")
	c.do(200, "PUT", "/v2.0/routers/{router}/remove_router_interface", `{"subnet_id":"{sub}"}`)
	c.refuse(409, "NetworkInUse", "DELETE", "/v2.0/networks/{net}", "")
	c.do(204, "DELETE", "/v2.0/ports/{port}", "")
	c.make("dhcp", "/v2.0/ports", `{"port":{"network_id":"{net}","device_owner":"network:dhcp"}}`)
	c.do(204, "DELETE", "/v2.0/networks/{net}", "") // ports of DHCP go with it
	if s := c.control.State(); s.Count(config.KindPort)+s.Count(config.KindSubnet)+s.Count(config.KindNetwork) != 0 {
		t.Error("something is left")
	}
}

func TestSubnet(t *testing.T) {
	c := newCloud(t)
	c.make("net", "/v2.0/networks", `{"network":{"name":"n"}}`)
	s := c.make("sub", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.100.0/24",
		"name":"s"}}`)
	c.equals(s, `{"id":"{sub}","network_id":"{net}","name":"s","ip_version":4,"cidr":"172.16.100.0/24",
 "gateway_ip":"172.16.100.1","allocation_pools":[{"start":"172.16.100.2","end":"172.16.100.254"}],"enable_dhcp":true,
 "dns_nameservers":[],"host_routes":[],"ipv6_ra_mode":null,"ipv6_address_mode":null,"subnetpool_id":null,
 "segment_id":null,"service_types":[],"dns_publish_fixed_ip":false,`+standard(1)+`}`)

	none := c.make("none", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.101.7/24",
		"gateway_ip":null}}`)
	if none["gateway_ip"] != nil || none["cidr"] != "172.16.101.0/24" || none["enable_dhcp"] != true {
		t.Errorf("%v", none)
	}
	c.equals(map[string]any{"p": none["allocation_pools"]}, `{"p":[{"start":"172.16.101.1","end":"172.16.101.254"}]}`)
	last := c.make("last", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.102.0/24",
		"gateway_ip":"172.16.102.254","allocation_pools":[{"start":"172.16.102.9","end":"172.16.102.20"}],
		"enable_dhcp":false,"dns_nameservers":["9.9.9.9"],
		"host_routes":[{"destination":"10.0.0.0/8","nexthop":"172.16.102.7"}]}}`)
	c.equals(map[string]any{"g": last["gateway_ip"], "p": last["allocation_pools"], "d": last["enable_dhcp"],
		"n": last["dns_nameservers"], "h": last["host_routes"]}, `{"g":"172.16.102.254","d":false,"n":["9.9.9.9"],
		"p":[{"start":"172.16.102.9","end":"172.16.102.20"}],
		"h":[{"destination":"10.0.0.0/8","nexthop":"172.16.102.7"}]}`)

	changed := c.do(200, "PUT", "/v2.0/subnets/{last}", `{"subnet":{"gateway_ip":null,"dns_nameservers":null,
		"host_routes":[],"name":"x","allocation_pools":[]}}`)
	c.equals(map[string]any{"g": changed["gateway_ip"], "n": changed["dns_nameservers"], "h": changed["host_routes"],
		"p": changed["allocation_pools"], "m": changed["name"]}, `{"g":null,"n":[],"h":[],"m":"x",
		"p":[]}`)
	// Without a pool no address is given out; then a client gives another pool, or null for the whole subnet.
	c.refuse(409, "IpAddressGenerationFailure", "POST", "/v2.0/ports", `{"port":{"network_id":"{net}",
		"fixed_ips":[{"subnet_id":"{last}"}]}}`)
	for _, pools := range []string{`[{"end":"172.16.102.31","start":"172.16.102.30"}]`, `[]`} {
		if o := c.do(200, "PUT", "/v2.0/subnets/{last}", `{"subnet":{"allocation_pools":`+pools+`}}`); jsonOf(t,
			o["allocation_pools"]) != pools {
			t.Errorf("%s: %v", pools, o["allocation_pools"])
		}
	}
	all := c.do(200, "PUT", "/v2.0/subnets/{last}", `{"subnet":{"allocation_pools":null}}`)
	c.equals(map[string]any{"p": all["allocation_pools"]}, `{"p":[{"start":"172.16.102.1","end":"172.16.102.254"}]}`)
	c.do(204, "DELETE", "/v2.0/subnets/{last}", "")
	c.refuse(404, "SubnetNotFound", "DELETE", "/v2.0/subnets/{last}", "")
}

func TestSubnetErrors(t *testing.T) {
	c := newCloud(t)
	c.build()
	const path = "/v2.0/subnets"
	c.refuseEach("POST", path, "subnet", `
400 InvalidInput "network_id":"{net}","ip_version":4,"cidr":"172.16.101.128/25"
400 InvalidInput "network_id":"{net}","ip_version":6,"cidr":"10.0.0.0/24"
400 HTTPBadRequest "network_id":"{net}","ip_version":5,"cidr":"10.0.0.0/24"
400 HTTPBadRequest "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0"
400 InvalidInput "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","gateway_ip":"10.0.1.1"
400 HTTPBadRequest "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","gateway_ip":"x"
400 HTTPBadRequest "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","allocation_pools":[{}]
400 HTTPBadRequest "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","allocation_pools":[3]
400 HTTPBadRequest "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","host_routes":[{"nexthop":"1.1.1.1"}]
400 NotSupported "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","subnetpool_id":"{net}"
400 HTTPBadRequest "network_id":"x","ip_version":4,"cidr":"10.0.0.0/24"
400 InvalidInput "network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.9", "end":"10.0.0.3"}]
400 InvalidInput "network_id":"{net}","ip_version":4,"cidr":"127.0.0.0/24"
400 NotSupported "network_id":"{net}","ip_version":6,"cidr":"fd00::/64"`)
	c.refuse(404, "NetworkNotFound", "POST", path,
		`{"subnet":{"network_id":"{sub}","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{sub}", `{"subnet":{"cidr":"10.0.0.0/24"}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", path+"/{sub}", `{"subnet":{"network_id":"{ext}"}}`)
	c.refuse(409, "GatewayIpInUse", "PUT", path+"/{sub}", `{"subnet":{"gateway_ip":"172.16.101.9"}}`)
	c.refuse(409, "SubnetInUse", "DELETE", path+"/{sub}", "")
	c.make("free", path, `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","enable_dhcp":false}}`)
	c.make("there", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"10.0.0.1"}]}}`)
	c.do(200, "PUT", path+"/{free}", `{"subnet":{"gateway_ip":"10.0.0.9"}}`) // no router has the address
	c.do(204, "DELETE", "/v2.0/ports/{there}", "")
	c.do(204, "DELETE", path+"/{free}", "")
	c.make("snat", path, `{"subnet":{"network_id":"{ext}","ip_version":4,"cidr":"10.30.0.0/24","enable_dhcp":false}}`)
	if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
		r := *d.Router(config.ID(c.ids["router"]))
		g := *r.Gateway
		g.SNATAddresses = []config.AddressRange{{First: netip.MustParseAddr("10.30.0.8"),
			Last: netip.MustParseAddr("10.30.0.9")}}
		r.Gateway = &g
		d.Put(&r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.refuse(409, "SubnetInUse", "DELETE", path+"/{snat}", "")
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"external_gateway_info":{}}}`)
	c.do(204, "DELETE", path+"/{snat}", "")
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	c.refuse(409, "SubnetInUse", "DELETE", path+"/{extsub}", "")
	c.do(204, "DELETE", "/v2.0/floatingips/{fip}", "")
	c.do(204, "DELETE", path+"/{extsub}", "")
	c.list(path, "sub")
}

// A load balancer's address has its network and subnet in use. A physical network may be any that is declared.
func TestWhatTheAPIDidNotMake(t *testing.T) {
	c := newCloud(t)
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	c.make("sub", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	lb := config.Ref{Kind: config.KindLoadBalancer, ID: config.NewID([16]byte{9})}
	edit := func(fn func(d *config.Draft)) {
		t.Helper()
		if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
			fn(d)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(d *config.Draft) {
		d.Put(&config.LoadBalancer{Meta: config.Meta{ID: lb.ID}, Network: config.ID(c.ids["net"])},
			&config.PhysicalNetwork{Meta: config.Meta{ID: config.NewID([16]byte{8}), Name: "uplink"}})
	})
	c.refuse(409, "SubnetInUse", "DELETE", "/v2.0/subnets/{sub}", "")
	c.refuse(409, "NetworkInUse", "DELETE", "/v2.0/networks/{net}", "")
	edit(func(d *config.Draft) { d.Delete(lb) })
	c.do(204, "DELETE", "/v2.0/subnets/{sub}", "")
	c.do(204, "DELETE", "/v2.0/networks/{net}", "")
	n := c.make("flat", "/v2.0/networks", `{"network":{"provider:network_type":"flat",
		"provider:physical_network":"uplink"}}`)
	if n["provider:physical_network"] != "uplink" || n["provider:network_type"] != "flat" {
		t.Errorf("%v", n)
	}
}
