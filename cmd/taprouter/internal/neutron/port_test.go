package neutron_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

func TestPort(t *testing.T) {
	c := newCloud(t)
	c.build()
	p := c.make("p", "/v2.0/ports", `{"port":{"network_id":"{net}","name":"vm4","mac_address":"02-00-00-00-65-04",
		"fixed_ips":[{"subnet_id":"{sub}","ip_address":"172.16.101.4"}],"device_id":"","device_owner":"",
		"allowed_address_pairs":[{"ip_address":"172.16.101.9"}],"security_groups":[],"binding:vnic_type":"normal",
		"binding:host_id":"","binding:profile":{}}}`)
	c.equals(p, `{"id":"{p}","network_id":"{net}","name":"vm4","status":"ACTIVE","admin_state_up":true,
 "mac_address":"02:00:00:00:65:04","fixed_ips":[{"subnet_id":"{sub}","ip_address":"172.16.101.4"}],"device_id":"",
 "device_owner":"","security_groups":[],
 "allowed_address_pairs":[{"ip_address":"172.16.101.9","mac_address":"02:00:00:00:65:04"}],
 "port_security_enabled":true,"binding:host_id":"","binding:vif_type":"unbound","binding:vif_details":{},
 "binding:vnic_type":"normal","binding:profile":{},"extra_dhcp_opts":[],"dns_name":"","dns_domain":"",
 "dns_assignment":[],"qos_policy_id":null,"ip_allocation":"immediate","propagate_uplink_status":false,`+
		standard(1)+`}`)

	chosen := c.make("chosen", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	c.equals(map[string]any{"f": chosen["fixed_ips"]}, `{"f":[{"subnet_id":"{sub}","ip_address":"172.16.101.2"}]}`)
	if m := chosen["mac_address"].(string); !strings.HasPrefix(m, "fa:16:3e:") {
		t.Errorf("MAC %s", m)
	}
	bare := c.make("bare", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[]}}`)
	c.equals(map[string]any{"f": bare["fixed_ips"], "i": bare["ip_allocation"]}, `{"f":[],"i":"none"}`)
	c.make("empty", "/v2.0/networks", `{"network":{}}`)
	null := c.make("null", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":null,"mac_address":null}}`)
	if len(null["fixed_ips"].([]any)) != 1 { // as if it was absent
		t.Errorf("%v", null)
	}
	c.do(204, "DELETE", "/v2.0/ports/{null}", "")
	if o := c.make("noip", "/v2.0/ports", `{"port":{"network_id":"{empty}"}}`); len(o["fixed_ips"].([]any)) != 0 {
		t.Errorf("a network without subnets: %v", o)
	}

	o := c.do(200, "PUT", "/v2.0/ports/{p}", `{"port":{"name":null,"admin_state_up":false,"device_id":"i-1",
		"device_owner":"compute:nova","allowed_address_pairs":[{"ip_address":"10.0.0.0/8",
		"mac_address":"02:00:00:00:00:99"}],"port_security_enabled":true,
		"fixed_ips":[{"ip_address":"172.16.101.4"},{"subnet_id":"{sub}"}]}}`)
	c.equals(map[string]any{"n": o["name"], "s": o["status"], "d": o["device_id"], "o": o["device_owner"],
		"f": o["fixed_ips"], "a": o["allowed_address_pairs"], "p": o["port_security_enabled"]}, `{"n":"","s":"DOWN",
		"d":"i-1","o":"compute:nova","p":true,
		"a":[{"ip_address":"10.0.0.0/8","mac_address":"02:00:00:00:00:99"}],
		"f":[{"subnet_id":"{sub}","ip_address":"172.16.101.4"},{"subnet_id":"{sub}","ip_address":"172.16.101.5"}]}`)
	o = c.do(200, "PUT", "/v2.0/ports/{p}", `{"port":{"allowed_address_pairs":[],"fixed_ips":[]}}`)
	if len(o["allowed_address_pairs"].([]any)) != 0 || len(o["fixed_ips"].([]any)) != 0 {
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", "/v2.0/ports/{p}", "")
	c.refuse(404, "PortNotFound", "GET", "/v2.0/ports/{p}", "")
}

func TestPortErrors(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("small", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/30"}}`)
	c.refuseEach("POST", "/v2.0/ports", "port", `
404 NetworkNotFound "network_id":"{sub}"
409 IpAddressAlreadyAllocated "network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.3"}]
409 IpAddressAlreadyAllocated "network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.1"}]
400 InvalidIpForNetwork "network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.9"},{"ip_address":"172.16.101.9"}]
409 MacAddressInUse "network_id":"{net}","mac_address":"02:00:00:00:65:03"
400 HTTPBadRequest "network_id":"{net}","mac_address":"03:00:00:00:65:03"
400 InvalidIpForNetwork "network_id":"{net}","fixed_ips":[{"ip_address":"192.0.2.1"}]
400 InvalidIpForNetwork "network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.255"}]
400 InvalidIpForSubnet "network_id":"{net}","fixed_ips":[{"subnet_id":"{sub}","ip_address":"192.0.2.1"}]
400 InvalidInput "network_id":"{net}","fixed_ips":[{"subnet_id":"{extsub}"}]
404 SubnetNotFound "network_id":"{net}","fixed_ips":[{"subnet_id":"{net}"}]
409 IpAddressGenerationFailure "network_id":"{net}","fixed_ips":[{"subnet_id":"{small}"},{"subnet_id":"{small}"}]
400 HTTPBadRequest "network_id":"{net}","fixed_ips":[{"x":1}]
400 HTTPBadRequest "network_id":"{net}","fixed_ips":[{"ip_address":"fe80::1%eth0"}]
400 HTTPBadRequest "network_id":"{net}","fixed_ips":[{"ip_address":"::ffff:172.16.101.9"}]
400 HTTPBadRequest "network_id":"{net}","fixed_ips":{}
400 HTTPBadRequest "network_id":"{net}","device_owner":"network:router_gateway"
400 HTTPBadRequest "network_id":"{net}","device_owner":"Octavia"
400 HTTPBadRequest "network_id":"{net}","allowed_address_pairs":[{}]
400 HTTPBadRequest "network_id":"{net}","allowed_address_pairs":[{"ip_address":3}]
400 HTTPBadRequest "network_id":"{net}","allowed_address_pairs":[{"ip_address":"x/y"}]
400 HTTPBadRequest "network_id":"{net}","allowed_address_pairs":[{"ip_address":"1.1.1.1"},{"ip_address":"1.1.1.1"}]
400 HTTPBadRequest "network_id":"{net}","security_groups":["x"]
404 SecurityGroupNotFound "network_id":"{net}","security_groups":["{net}"]
400 NotSupported "network_id":"{net}","qos_policy_id":"{net}"
400 HTTPBadRequest "network_id":"{net}","extra_dhcp_opts":[{"opt_value":"1400"}]
400 HTTPBadRequest "network_id":"{net}","extra_dhcp_opts":[{"opt_name":"mtu","ip_version":5}]
400 HTTPBadRequest "network_id":"{net}","binding:profile":[]
400 HTTPBadRequest "network_id":"{net}","binding:vnic_type":"x"`)
	c.refuse(400, "HTTPBadRequest", "PUT", "/v2.0/ports/{port}", `{"port":{"network_id":"{ext}"}}`)
	c.refuse(400, "HTTPBadRequest", "PUT", "/v2.0/ports/{port}", `{"port":{"mac_address":null}}`)
	c.refuse(409, "IpAddressAlreadyAllocated", "PUT", "/v2.0/ports/{port}",
		`{"port":{"fixed_ips":[{"ip_address":"172.16.101.1"}]}}`)
}

// The ports of routers, floating IPs and load balancers are theirs.
func TestServicePorts(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}",
		"floating_ip_address":"10.10.10.9"}}`)
	lb := config.NewID([16]byte{9})
	_, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
		d.Put(&config.LoadBalancer{Meta: config.Meta{ID: lb}, Network: config.ID(c.ids["net"]), AdminStateUp: true,
			Address: netip.MustParseAddr("172.16.101.50")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.ids["lb"] = string(lb)
	one := func(query string) map[string]any {
		t.Helper()
		list := c.do(200, "GET", "/v2.0/ports?"+query, "")["ports"].([]any)
		if len(list) != 1 {
			t.Fatalf("%s: %d ports", query, len(list))
		}
		p := list[0].(map[string]any)
		c.equals(c.do(200, "GET", "/v2.0/ports/"+p["id"].(string), ""), mustJSON(t, p))
		return p
	}
	gateway := one("device_owner=network:router_gateway")
	c.ids["gateway"], c.ids["fipport"] = gateway["id"].(string), one("device_owner=network%3Afloatingip")["id"].(string)
	vip := one("device_owner=Octavia&name=octavia-lb-{lb}")
	c.ids["vip"] = vip["id"].(string)
	iface := one("device_id={router}&network_id={net}")
	if iface["id"] != c.ids["iface"] || iface["device_owner"] != "network:router_interface" {
		t.Errorf("%v", iface)
	}
	c.equals(map[string]any{"f": vip["fixed_ips"], "n": vip["network_id"], "m": vip["mac_address"]}, `{"n":"{net}",
		"f":[{"subnet_id":"{sub}","ip_address":"172.16.101.50"}],"m":"`+iface["mac_address"].(string)+`"}`)
	f := one("device_id={fip}")
	c.equals(map[string]any{"f": f["fixed_ips"], "m": f["mac_address"]},
		`{"f":[{"subnet_id":"{extsub}","ip_address":"10.10.10.9"}],"m":""}`)
	for _, name := range []string{"gateway", "iface", "fipport", "vip"} {
		c.refuse(409, "ServicePortInUse", "DELETE", "/v2.0/ports/{"+name+"}", "")
		c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{"+name+"}", `{"port":{"device_id":"x"}}`)
	}
	c.do(200, "PUT", "/v2.0/ports/{iface}", `{"port":{"description":"of the router",
		"device_owner":"network:router_interface"}}`) // as it is
	c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{iface}", `{"port":{"mac_address":"02:00:00:00:00:77"}}`)
	c.make("dhcp", "/v2.0/ports", `{"port":{"network_id":"{net}","device_owner":"network:dhcp","device_id":"d"}}`)
	for _, body := range []string{`"device_owner":"compute:nova"`, `"device_id":"x"`,
		`"mac_address":"02:00:00:00:00:77"`} {
		c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{dhcp}", `{"port":{`+body+`}}`)
	}
	c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{fipport}/tags", `{"tags":["x"]}`)
	// A floating IP leads to the VIP, whose router has the address then.
	o := c.do(200, "PUT", "/v2.0/floatingips/{fip}", `{"floatingip":{"port_id":"{vip}"}}`)
	c.equals(map[string]any{"p": o["port_id"], "f": o["fixed_ip_address"], "d": o["port_details"]}, `{"p":"{vip}",
		"f":"172.16.101.50","d":{"name":"octavia-lb-{lb}","network_id":"{net}","admin_state_up":true,"status":"ACTIVE",
		"mac_address":"`+iface["mac_address"].(string)+`","device_id":"lb-{lb}","device_owner":"Octavia"}}`)
	if f := one("device_id={fip}"); f["mac_address"] != gateway["mac_address"] {
		t.Errorf("%v, gateway %v", f, gateway)
	}
}

// A MAC address that is chosen is none that a port has.
func TestChosenMAC(t *testing.T) {
	c := newCloud(t)
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	// IDs are counted here, and a MAC address is made of the next one.
	last, err := strconv.ParseUint(c.ids["net"][24:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	for k := range uint64(10) {
		taken = append(taken, fmt.Sprintf(`{"network_id":"{net}","mac_address":"fa:16:3e:00:00:%02x"}`, last+20+k))
	}
	c.do(201, "POST", "/v2.0/ports", `{"ports":[`+strings.Join(taken, ",")+`]}`)
	for range 10 {
		c.do(201, "POST", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	}
}

// A floating IP does not lead to where no port is.
func TestFloatingIPOfAPortThatGoes(t *testing.T) {
	c := newCloud(t)
	c.build()
	fip := func() any {
		o := c.do(200, "GET", "/v2.0/floatingips/{fip}", "")
		if (o["port_id"] == nil) != (o["status"] == "DOWN") {
			t.Errorf("%v", o)
		}
		return o["port_id"]
	}
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	c.do(200, "PUT", "/v2.0/ports/{port}", `{"port":{"fixed_ips":[{"ip_address":"172.16.101.3"},
		{"ip_address":"172.16.101.8"}],"name":"x"}}`)
	if fip() != c.ids["port"] {
		t.Error("a port that keeps the address loses the floating IP")
	}
	c.do(200, "PUT", "/v2.0/ports/{port}", `{"port":{"fixed_ips":[{"ip_address":"172.16.101.8"}]}}`)
	if fip() != nil {
		t.Error("the address is gone, and the floating IP leads to it")
	}
	c.do(200, "PUT", "/v2.0/floatingips/{fip}", `{"floatingip":{"port_id":"{port}"}}`)
	forwarded := &config.PortForwarding{Meta: config.Meta{ID: config.NewID([16]byte{8})}, Protocol: config.TCP,
		ExternalPort: 80, Port: 80, FixedIP: netip.MustParseAddr("172.16.101.8")}
	c.make("fip2", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	_, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
		forwarded.FloatingIP = config.ID(c.ids["fip2"])
		d.Put(forwarded)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o := c.do(200, "GET", "/v2.0/floatingips/{fip2}", "")
	c.equals(map[string]any{"p": o["port_forwardings"]}, `{"p":[{"id":"`+string(forwarded.ID)+`","protocol":"tcp",
		"external_port":80,"internal_port":80,"internal_ip_address":"172.16.101.8",
		"internal_port_id":"{port}"}]}`)
	c.refuse(409, "FipInUseByPortForwarding", "PUT", "/v2.0/floatingips/{fip2}", `{"floatingip":{"port_id":"{port}"}}`)
	c.do(204, "DELETE", "/v2.0/ports/{port}", "")
	if fip() != nil || c.control.State().PortForwarding(forwarded.ID) != nil {
		t.Error("the port is gone, and something leads to it")
	}
}

// A port for which no MAC address is free is refused: the search ends.
func TestNoFreeMAC(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	var n atomic.Uint64
	c := cloudOn(t, e, neutron.Options{NewID: func() config.ID {
		var b [16]byte // the last bytes, of which a MAC address is made, are always the same
		binary.BigEndian.PutUint64(b[:], n.Add(1)<<16)
		return config.NewID(b)
	}})
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	c.make("p", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	c.refuse(503, "MacAddressGenerationFailure", "POST", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
}

// The names of a port are those that the router's DNS answers to: in the domain of the network.
func TestNamesOfPorts(t *testing.T) {
	c := newCloud(t)
	c.build()
	assigned := func(domain string) string {
		return `{"a":[{"ip_address":"172.16.101.3","hostname":"web","fqdn":"web.` + domain + `"}]}`
	}
	o := c.do(200, "PUT", "/v2.0/ports/{port}", `{"port":{"dns_name":"web"}}`)
	c.equals(map[string]any{"a": o["dns_assignment"]}, assigned("openstacklocal."))
	for _, given := range []string{"lab.example.", "lab.example"} {
		c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"dns_domain":"`+given+`"}}`)
		o = c.do(200, "PUT", "/v2.0/ports/{port}", `{"port":{"dns_domain":"elsewhere."}}`)
		c.equals(map[string]any{"a": o["dns_assignment"]}, assigned("lab.example."))
	}
}
