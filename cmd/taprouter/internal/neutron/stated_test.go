package neutron_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// rare states what few objects have. A comment names the attribute that its line is of.
const rare = `[quota]
network = 9 # network
pool = -1 # pool

[[security_group]]
name = "web"

[[security_group]]
name = "other"

[[network]]
name = "blue"
port_security = true # port_security_enabled
shared = true # shared
is_default = false # is_default
dns_domain = "lab." # net dns_domain
  [[network.subnet]]
  cidr = "10.1.0.0/24"
  allocation_pools = [] # allocation_pools
  service_types = ["compute:nova"] # service_types
  dns_publish_fixed_ip = true # dns_publish_fixed_ip

[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
security_groups = [
  "web", # security_groups
]
binding_host_id = "host" # binding:host_id
binding_vnic_type = "normal" # binding:vnic_type
binding_profile = '{ "a" : 1 }' # binding:profile
dns_name = "vm" # dns_name
dns_domain = "lab." # port dns_domain
  [[port.extra_dhcp_opts]] # extra_dhcp_opts
  name = "mtu"
  value = "1400"

[[loadbalancer]]
name = "lb"
network = "blue"
address = "10.1.0.7"
security_groups = ["web"] # lb security_groups

[[vip]]
name = "v"
loadbalancer = "lb"
protocol = "TCP"
port = 80
idle_timeout = "50s" # timeout_client_data
timeout_member_connect = "5s" # timeout_member_connect
timeout_member_data = "1500ms" # timeout_member_data
timeout_tcp_inspect = "0s" # timeout_tcp_inspect
`

// What a file states of an object is refused with its line when a request changes it, also where the object has the
// default. The same value is no change.
func TestStatedIsRefused(t *testing.T) {
	c := filesCloud(t, rare)
	before := c.control.State()
	for o := range before.All() {
		switch o := o.(type) {
		case *config.Listener:
			c.ids["li"] = string(o.ID)
		case *config.LoadBalancer:
			c.ids["vip"] = c.do(200, "GET", lb+"loadbalancers/"+string(o.ID), "")["vip_port_id"].(string)
		}
	}
	const (
		network, subnet, port = "/v2.0/networks/{blue}", "/v2.0/subnets/{sub}", "/v2.0/ports/{vm}"
		listener              = lb + "listeners/{li}"
		quota                 = quotasPath
	)
	for _, x := range []struct{ path, wrap, mark, same, other string }{
		{network, "network", "port_security_enabled", "true", "false"},
		{network, "network", "shared", "true", "false"},
		{network, "network", "is_default", "false", "true"},
		{network, "network", "net dns_domain", `"lab."`, `"other."`},
		{subnet, "subnet", "allocation_pools", "[]", `[{"start":"10.1.0.9","end":"10.1.0.10"}]`},
		{subnet, "subnet", "allocation_pools", "[]", "null"},
		{subnet, "subnet", "service_types", `["compute:nova"]`, "[]"},
		{subnet, "subnet", "dns_publish_fixed_ip", "true", "false"},
		{port, "port", "security_groups", `["{web}"]`, "[]"},
		{port, "port", "security_groups", `["{web}"]`, `["{other}"]`},
		{port, "port", "binding:host_id", `"host"`, `""`},
		{port, "port", "binding:vnic_type", `"normal"`, `"direct"`},
		{port, "port", "binding:profile", `{"a":1}`, `{"a":2}`},
		{port, "port", "binding:profile", `{"a":1}`, `""`},
		{port, "port", "dns_name", `"vm"`, `"web"`},
		{port, "port", "port dns_domain", `"lab."`, `""`},
		{port, "port", "extra_dhcp_opts", `[{"opt_name":"mtu","opt_value":"1400"}]`,
			`[{"opt_name":"mtu","opt_value":"1500"}]`},
		{port, "port", "extra_dhcp_opts", `[]`, `[{"opt_name":"mtu","opt_value":null}]`},
		{"/v2.0/ports/{vip}", "port", "lb security_groups", `["{web}"]`, `["{other}"]`},
		{listener, "listener", "timeout_client_data", "50000", "1"},
		{listener, "listener", "timeout_member_connect", "5000", "1"},
		{listener, "listener", "timeout_member_data", "1500", "null"},
		{listener, "listener", "timeout_tcp_inspect", "0", "1"},
		{quota, "quota", "network", "9", "8"},
		{quota, "quota", "network", "9", "-1"},
		{quota, "quota", "pool", "-1", "5"},
	} {
		line := 1 + strings.Count(rare[:strings.Index(rare, " # "+x.mark+"\n")], "\n")
		_, name, both := strings.Cut(x.mark, " ")
		if !both {
			name = x.mark
		}
		body := func(v string) string { return fmt.Sprintf(`{%q:{%q:%s}}`, x.wrap, name, v) }
		c.do(200, "PUT", x.path, body(x.same))
		got := c.ask("PUT", x.path, body(x.other))
		if want := fmt.Sprintf("is declared in lab.toml:%d; change the file and reload", line); got.status != 409 ||
			!strings.Contains(got.text, want) {
			t.Errorf("%s %s: %d %s, want %s", x.mark, x.other, got.status, got.text, want)
		}
		for _, change := range config.Diff(before, c.control.State()) {
			t.Fatalf("%s: %v is changed", x.mark, change.Ref)
		}
	}
	c.refuse(409, "DeclaredInFile", "DELETE", quota, "")

	// What the file does not state is the API's.
	c.do(200, "PUT", quota, `{"quota":{"network":9,"router":3,"pool":-1}}`)
	c.do(200, "PUT", port, `{"port":{"security_groups":["{web}","{other}"],
		"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"},{"opt_name":"tftp-server","opt_value":"a"}]}}`)
	c.do(200, "PUT", "/v2.0/ports/{vip}", `{"port":{"security_groups":["{other}","{web}"]}}`)
}
