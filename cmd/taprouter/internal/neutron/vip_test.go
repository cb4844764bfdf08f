package neutron_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// A VIP is in the subnet that was named. Of several routers, the one that is the subnet's gateway serves it.
func TestPlaceOfAVIP(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("r2", "/v2.0/routers", `{"router":{"name":"r2"}}`)
	c.make("sub2", "/v2.0/subnets",
		`{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.109.0/24","enable_dhcp":false}}`)
	for _, subnet := range []string{"sub", "sub2"} {
		c.make("i-"+subnet, "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"subnet_id":"{`+subnet+`}"}]}}`)
		c.do(200, "PUT", "/v2.0/routers/{r2}/add_router_interface", `{"port_id":"{i-`+subnet+`}"}`)
	}
	c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	for i, x := range []struct{ body, address, subnet string }{
		{`"vip_subnet_id":"{sub2}"`, "172.16.109.3", "sub2"},
		{`"vip_subnet_id":"{sub2}","vip_network_id":"{net}","vip_address":"172.16.109.77"`, "172.16.109.77", "sub2"},
		{`"vip_network_id":"{net}","vip_address":"172.16.109.78"`, "172.16.109.78", "sub2"},
		{`"vip_network_id":"{net}"`, "172.16.101.4", "sub"},
	} {
		name := "lb" + strconv.Itoa(i)
		o := c.make(name, lb+"loadbalancers", `{"loadbalancer":{`+x.body+`}}`)
		if o["vip_address"] != x.address || o["vip_subnet_id"] != c.ids[x.subnet] {
			t.Errorf("%s: %v %v", x.body, o["vip_address"], o["vip_subnet_id"])
		}
		if b := c.control.State().LoadBalancer(config.ID(c.ids[name])); string(b.Router) != c.ids["router"] {
			t.Errorf("%s is served by %s", x.body, b.Router)
		}
	}
	for i, x := range []struct{ body, address string }{ // at a user's port
		{`"vip_subnet_id":"{sub2}"`, "172.16.109.90"}, {`"vip_address":"172.16.109.91"`, "172.16.109.91"},
		{`"vip_network_id":"{net}"`, "172.16.101.92"},
	} {
		c.make("p", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":"{net}","fixed_ips":[
			{"ip_address":"172.16.101.9%d"},{"ip_address":"172.16.109.9%[1]d"}]}}`, i))
		o := c.make("at", lb+"loadbalancers", `{"loadbalancer":{"vip_port_id":"{p}",`+x.body+`}}`)
		if o["vip_address"] != x.address {
			t.Errorf("%s: %v", x.body, o["vip_address"])
		}
		if b := c.control.State().LoadBalancer(config.ID(c.ids["at"])); string(b.Router) != c.ids["router"] {
			t.Errorf("%s is served by %s", x.body, b.Router)
		}
	}
}
