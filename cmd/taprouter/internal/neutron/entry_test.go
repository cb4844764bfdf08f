package neutron_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
)

// lists is a file with an entry in each list whose entries have owners one by one.
const lists = `[[network]]
name = "blue"
tags = ["ours"]
  [[network.subnet]]
  cidr = "10.1.0.0/24"
  dns_nameservers = [
    "10.1.0.2",
  ]
  host_routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]

[[port]]
name = "vm"
network = "blue"
mac = "02:00:00:00:00:05"
fixed_ips = ["10.1.0.5"]
allowed_address_pairs = [{ ip = "10.1.0.99" }]
port_security = true

[[router]]
name = "r"
interfaces = ["blue"]
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]

[[pool]]
name = "web"
protocol = "TCP"
  [[pool.member]]
  name = "w1"
  address = "10.1.0.5"
  port = 80
  tags = ["theirs"]

[[vip]]
name = "web-vip"
network = "blue"
address = "10.1.0.50"
protocol = "TCP"
port = 80
pool = "web"
allowed_cidrs = ["10.0.0.0/8"]
`

// filesCloud is a cloud on a file.
func filesCloud(t *testing.T, text string) *cloud {
	t.Helper()
	f, err := file.Read("lab.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(f.State(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := cloudOn(t, e, neutron.Options{Stated: f.Source, Entries: func(r config.Ref, field string) []neutron.Entry {
		var list []neutron.Entry
		for _, x := range f.Entries(r, field) {
			list = append(list, neutron.Entry(x))
		}
		return list
	}})
	for o := range c.control.State().All() {
		switch o := o.(type) {
		case *config.Subnet:
			c.ids["sub"] = string(o.ID)
		default:
			c.ids[o.About().Name] = string(o.About().ID)
		}
	}
	return c
}

// Of a list, the file's entries are the file's and the others are the API's: a list without one of the file's is
// refused with its line, and one that has them is taken. The same for the members of a pool.
func TestListEntriesHaveOwners(t *testing.T) {
	c := filesCloud(t, lists)
	li := c.do(200, "GET", lb+"listeners", "")["listeners"].([]any)[0].(map[string]any)["id"].(string)
	route := `{"destination":"%s","nexthop":"10.1.0.9"}`
	ours, others := fmt.Sprintf(route, "10.9.0.0/16"), fmt.Sprintf(route, "10.8.0.0/16")
	for _, x := range []struct {
		path, wrap, name, mine, more string
		entry                        string
		line                         int
	}{
		{"/v2.0/routers/{r}", "router", "routes", ours, others, "10.9.0.0/16 via 10.1.0.9", 22},
		{"/v2.0/subnets/{sub}", "subnet", "host_routes", ours, others, "10.9.0.0/16 via 10.1.0.9", 9},
		{"/v2.0/subnets/{sub}", "subnet", "dns_nameservers", `"10.1.0.2"`, `"10.1.0.3"`, "10.1.0.2", 7},
		{"/v2.0/ports/{vm}", "port", "fixed_ips", `{"ip_address":"10.1.0.5"}`, `{"ip_address":"10.1.0.6"}`,
			"10.1.0.5", 15},
		{"/v2.0/ports/{vm}", "port", "allowed_address_pairs", `{"ip_address":"10.1.0.99"}`,
			`{"ip_address":"10.1.0.98"}`, "10.1.0.99/32", 16},
		{lb + "listeners/" + li, "listener", "allowed_cidrs", `"10.0.0.0/8"`, `"192.0.2.0/24"`, "10.0.0.0/8", 40},
		{"/v2.0/networks/{blue}/tags", "", "tags", `"ours"`, `"theirs"`, "ours", 3},
	} {
		put := func(list string) answer {
			body := `{"` + x.name + `":[` + list + `]}`
			if x.wrap != "" {
				body = `{"` + x.wrap + `":` + body + `}`
			}
			return c.ask("PUT", x.path, body)
		}
		sized := func(want int, a answer) {
			t.Helper()
			o, _ := a.body[x.wrap].(map[string]any)
			if o == nil {
				o = a.body
			}
			list, _ := o[x.name].([]any)
			if a.status != 200 || len(list) != want {
				t.Errorf("%s: %d %s, want %d entries", x.name, a.status, a.text, want)
			}
		}
		sized(1, put(x.mine)) // as it is
		sized(2, put(x.more+","+x.mine))
		for _, list := range []string{"", x.more} {
			a := put(list)
			if a.status != 409 || !strings.Contains(a.text, x.entry+" in "+x.name) ||
				!strings.Contains(a.text, fmt.Sprintf("declared in lab.toml:%d;", x.line)) {
				t.Errorf("%s [%s]: %d %s", x.name, list, a.status, a.text)
			}
		}
		sized(1, put(x.mine))
	}
	c.refuse(409, "DeclaredInFile", "PUT", "/v2.0/ports/{vm}", `{"port":{"port_security_enabled":false}}`)
	c.make("r2", "/v2.0/routers", `{"router":{"name":"r2"}}`) // whose interface the port would be
	c.refuse(409, "DeclaredInFile", "PUT", "/v2.0/routers/{r2}/add_router_interface", `{"port_id":"{vm}"}`)
	c.refuse(409, "DeclaredInFile", "DELETE", "/v2.0/networks/{blue}/tags", "")
	c.refuse(409, "DeclaredInFile", "DELETE", "/v2.0/networks/{blue}/tags/ours", "")
	c.do(201, "PUT", "/v2.0/networks/{blue}/tags/more", "")
	c.do(204, "DELETE", "/v2.0/networks/{blue}/tags/more", "")
	c.refuse(409, "DeclaredInFile", "PUT", "/v2.0/ports/{vm}", // the pair would be another one
		`{"port":{"allowed_address_pairs":[{"ip_address":"10.1.0.99","mac_address":"02:00:00:00:00:09"}]}}`)

	c.ids["b"] = c.do(200, "GET", lb+"loadbalancers", "")["loadbalancers"].([]any)[0].(map[string]any)["id"].(string)
	tree := c.do(200, "GET", lb+"loadbalancers/{b}/status", "")["loadbalancer"].(map[string]any)
	if list := tree["pools"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != c.ids["web"] {
		t.Errorf("the pool is a file's, and the listener uses it: %v", tree)
	}
	members := lb + "pools/{web}/members"
	if got := c.fault(409, "PUT", members,
		`{"members":[{"address":"10.1.0.7","protocol_port":80}]}`); !strings.Contains(
		got, "(10.1.0.5:80) is declared in lab.toml:27;") {
		t.Errorf("%s", got)
	}
	c.do(202, "PUT", members, `{"members":[{"address":"10.1.0.5","protocol_port":80,"tags":["t","theirs"]},
		{"address":"10.1.0.7","protocol_port":80}]}`)
	c.fault(409, "PUT", members, `{"members":[{"address":"10.1.0.5","protocol_port":80,"tags":["t"]}]}`)
	c.do(202, "PUT", members, `{"members":[{"address":"10.1.0.5","protocol_port":80}]}`)
	c.list(members, "w1")
}

// A request with all of an object, as it is, changes nothing and is not refused, though a file states what is in it.
func TestPutOfAWholeObject(t *testing.T) {
	c := filesCloud(t, lists)
	li := c.do(200, "GET", lb+"listeners", "")["listeners"].([]any)[0].(map[string]any)["id"].(string)
	before := c.control.State()
	for _, x := range []struct {
		path, wrap string
		names      []string
	}{
		{"/v2.0/networks/{blue}", "network", []string{"name", "description", "admin_state_up", "shared", "mtu",
			"router:external", "port_security_enabled"}},
		{"/v2.0/subnets/{sub}", "subnet", []string{"name", "gateway_ip", "allocation_pools", "enable_dhcp",
			"dns_nameservers", "host_routes", "service_types"}},
		{"/v2.0/ports/{vm}", "port", []string{"name", "mac_address", "fixed_ips", "device_id", "device_owner",
			"allowed_address_pairs", "security_groups", "binding:host_id", "binding:vnic_type"}},
		{"/v2.0/routers/{r}", "router", []string{"name", "admin_state_up", "external_gateway_info", "routes"}},
		{lb + "listeners/" + li, "listener", []string{"name", "default_pool_id", "connection_limit", "allowed_cidrs",
			"timeout_client_data", "timeout_member_connect", "tags"}},
		{lb + "pools/{web}", "pool", []string{"name", "lb_algorithm", "session_persistence", "admin_state_up"}},
		{lb + "pools/{web}/members/{w1}", "member", []string{"name", "weight", "backup", "admin_state_up"}},
	} {
		is := c.do(200, "GET", x.path, "")
		var parts []string
		for _, name := range x.names {
			v, ok := is[name]
			if !ok {
				t.Fatalf("%s has no %s", x.path, name)
			}
			parts = append(parts, fmt.Sprintf("%q:%s", name, jsonOf(t, v)))
		}
		c.do(200, "PUT", x.path, `{"`+x.wrap+`":{`+strings.Join(parts, ",")+`}}`)
	}
	for _, change := range config.Diff(before, c.control.State()) {
		t.Errorf("%v is changed", change.Ref)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Pairs that are as they were are no change, though the port is not secured any more, and a request may leave the MAC
// address out.
func TestPairsAsTheyWere(t *testing.T) {
	c := filesCloud(t, strings.Replace(lists, "port_security = true\n", "", 1))
	for _, mac := range []string{"", `,"mac_address":"02:00:00:00:00:05"`} {
		c.do(200, "PUT", "/v2.0/ports/{vm}", `{"port":{"allowed_address_pairs":[{"ip_address":"10.1.0.99"`+mac+`}]}}`)
	}
	c.refuse(409, "AddressPairAndPortSecurityRequired", "PUT", "/v2.0/ports/{vm}",
		`{"port":{"allowed_address_pairs":[{"ip_address":"10.1.0.99"},{"ip_address":"10.1.0.98"}]}}`)
}

// The addresses of a file's address group are the file's, by whatever request.
func TestFilesAddressGroup(t *testing.T) {
	d := config.Empty().Edit()
	id := config.NameID(config.KindAddressGroup, "lan")
	d.Put(&config.AddressGroup{Meta: config.Meta{ID: id, Name: "lan",
		Source: config.Source{File: "lab.toml", Line: 7}}})
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults.Err())
	}
	e, err := router.Start(s, router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := cloudOn(t, e, neutron.Options{})
	c.ids["lan"] = string(id)
	for path, body := range map[string]string{"/add_addresses": `{"addresses":["10.0.0.0/8"]}`,
		"": `{"address_group":{"name":"wan"}}`} {
		if got := c.refuse(409, "DeclaredInFile", "PUT", "/v2.0/address-groups/{lan}"+path,
			body); !strings.Contains(got,
			"lab.toml:7") {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// A port of the API's stays while a file leads to its address, as a floating IP or by a forwarded port.
func TestPortThatAFileLeadsTo(t *testing.T) {
	c := filesCloud(t, `[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"

[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext_net" }

[[floating_ip]]
network = "ext_net"
address = "10.10.10.5"
fixed_ip = "10.1.0.5"

[[floating_ip]]
network = "ext_net"
address = "10.10.10.6"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 80
  fixed_ip = "10.1.0.6"
  port = 80
`)
	for _, address := range []string{"10.1.0.5", "10.1.0.6", "10.1.0.7"} {
		c.make(address, "/v2.0/ports", `{"port":{"network_id":"{blue}","fixed_ips":[{"ip_address":"`+address+`"}]}}`)
	}
	for address, line := range map[string]int{"10.1.0.5": 20, "10.1.0.6": 25} {
		for _, got := range []string{c.refuse(409, "DeclaredInFile", "DELETE", "/v2.0/ports/{"+address+"}", ""),
			c.refuse(409, "DeclaredInFile", "PUT", "/v2.0/ports/{"+address+"}", `{"port":{"fixed_ips":[]}}`)} {
			if want := fmt.Sprintf("lab.toml:%d;", line); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s", address, got, want)
			}
		}
	}
	c.do(204, "DELETE", "/v2.0/ports/{10.1.0.7}", "")
}
