package ownership_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control/store"
)

// A cloud plays an API client with the ids of what it has made.
type cloud struct {
	t       *testing.T
	handler http.Handler
	rng     *rand.Rand
	ids     map[string][]string // by plural
	done    map[string]int      // answers of each request that are no refusals
}

// call makes a request. It reports whether the API has done it; a server's error ends the test.
func (c *cloud) call(method, path string, body any) (map[string]any, bool) {
	c.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(c.t.Context(), method, path, bytes.NewReader(b))
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, req)
	text, _ := io.ReadAll(w.Result().Body)
	if w.Code >= 500 {
		c.t.Fatalf("%s %s %s: %d %s", method, path, b, w.Code, text)
	}
	var answer map[string]any
	_ = json.Unmarshal(text, &answer)
	return answer, w.Code < 300
}

func (c *cloud) pick(plural string, others ...string) string {
	list := append(c.ids[plural], others...)
	if len(list) == 0 {
		return "00000000-0000-4000-8000-00000000ffff"
	}
	return list[c.rng.IntN(len(list))]
}

// make creates a resource, and keeps its id.
func (c *cloud) make(base, singular, plural string, body map[string]any) {
	answer, ok := c.call("POST", base+"/"+strings.ReplaceAll(plural, "_", "-"), map[string]any{singular: body})
	if o, isMap := answer[singular].(map[string]any); ok && isMap {
		c.ids[plural] = append(c.ids[plural], o["id"].(string))
		c.done[plural]++
	}
}

type body = map[string]any

// step does one thing that a client does, or tries to.
func (c *cloud) step() {
	const net, lb = "/v2.0", "/v2.0/lbaas"
	n := c.rng.IntN(1000)
	name := []string{"", "a", "web", "two words"}[n%4]
	switch c.rng.IntN(22) {
	case 0:
		c.make(net, "network", "networks", body{"name": name, "shared": n%2 == 0, "port_security_enabled": n%3 > 0,
			"dns_domain": "lab.", "availability_zone_hints": []string{"nova"}, "is_default": false})
	case 1:
		c.make(net, "subnet", "subnets", body{"network_id": c.pick("networks"), "ip_version": 4, "enable_dhcp": false,
			"cidr": fmt.Sprintf("10.%d.0.0/24", 2+n%200), "service_types": []string{"compute:nova"},
			"dns_publish_fixed_ip": n%2 == 0})
	case 2:
		c.make(net, "router", "routers", body{"name": name, "availability_zone_hints": []string{"nova"}})
	case 3:
		if _, ok := c.call("PUT", net+"/routers/"+c.pick("routers", string(theR))+"/add_router_interface",
			body{"subnet_id": c.pick("subnets")}); ok {
			c.done["interfaces"]++
		}
	case 4, 5:
		c.make(net, "port", "ports", body{"network_id": c.pick("networks", string(blue.ID)), "name": name,
			"security_groups": [][]string{{}, {c.pick("security_groups")}}[n%2], "dns_name": "vm",
			"binding:host_id": "host1", "binding:vnic_type": "direct", "binding:profile": body{"a": n},
			"extra_dhcp_opts": []body{{"opt_name": "mtu", "opt_value": "1400"},
				{"opt_name": "23", "opt_value": "x", "ip_version": 6}},
			"allowed_address_pairs": []body{{"ip_address": "10.99.0.0/16"}}})
	case 6:
		c.make(net, "port", "ports", body{"network_id": string(blue.ID), "name": name})
	case 7:
		c.make(net, "security_group", "security_groups", body{"name": name + "x", "stateful": n%4 > 0})
	case 8, 9:
		rule := body{"security_group_id": c.pick("security_groups"), "direction": []string{"ingress", "egress"}[n%2]}
		switch n % 5 {
		case 0:
			rule["protocol"], rule["port_range_min"], rule["port_range_max"] = "tcp", n, n+5
		case 1:
			rule["protocol"], rule["port_range_min"], rule["port_range_max"] = "icmp", 8, 0
		case 2:
			rule["remote_group_id"] = c.pick("security_groups")
		case 3:
			rule["remote_address_group_id"] = c.pick("address_groups")
		case 4:
			rule["ethertype"], rule["remote_ip_prefix"], rule["protocol"] = "IPv6", "2001:db8::1/32", "icmp"
		}
		c.make(net, "security_group_rule", "security_group_rules", rule)
	case 10:
		c.make(net, "address_group", "address_groups", body{"name": name, "addresses": []string{
			fmt.Sprintf("10.%d.0.0/16", n%200), "2001:db8::1/128"}})
	case 11:
		if _, ok := c.call("PUT", net+"/quotas/"+neutron.DefaultProject, body{"quota": body{"port": 500 + n, "trunk": 0,
			"network": -1}}); ok {
			c.done["quotas"]++
		}
	case 12:
		c.make(net, "floatingip", "floatingips", body{"floating_network_id": string(ext), "dns_name": "f",
			"dns_domain": "lab.", "description": name})
	case 13:
		if _, ok := c.call("PUT", net+"/routers/"+string(theR), body{"router": body{"external_gateway_info": body{
			"network_id": string(ext)}}}); ok {
			c.done["gateways"]++
		}
	case 14:
		if _, ok := c.call("PUT", net+"/floatingips/"+c.pick("floatingips", string(fip)), body{"floatingip": body{
			"port_id": c.pick("ports")}}); ok {
			c.done["associations"]++
		}
	case 15:
		c.make(lb, "loadbalancer", "loadbalancers", body{"vip_port_id": c.pick("ports"), "name": name})
	case 16:
		c.make(lb, "loadbalancer", "loadbalancers", body{"vip_subnet_id": string(subnet), "name": name})
	case 17:
		c.make(lb, "listener", "listeners", body{"loadbalancer_id": c.pick("loadbalancers"), "protocol_port": 80 + n%9,
			"protocol": []string{"HTTP", "TCP"}[n%2], "allowed_cidrs": []string{"198.51.100.0/24"}})
	case 18:
		c.make(lb, "pool", "pools", body{"listener_id": c.pick("listeners"), "protocol": []string{"HTTP", "TCP"}[n%2],
			"lb_algorithm": "ROUND_ROBIN"})
	case 19:
		plural := []string{"ports", "security_groups", "floatingips", "subnets", "networks"}[n%5]
		if _, ok := c.call("DELETE", net+"/"+strings.ReplaceAll(plural, "_", "-")+"/"+c.pick(plural), nil); ok {
			c.done["deletes"]++
		}
	case 20:
		pools := []any{[]body{}, nil}[n%2]
		if _, ok := c.call("PUT", net+"/subnets/"+c.pick("subnets", string(subnet)), body{"subnet": body{
			"allocation_pools": pools}}); ok {
			c.done["pools of addresses"]++
		}
	case 21:
		if _, ok := c.call("PUT", lb+"/listeners/"+c.pick("listeners"), body{"listener": body{
			"timeout_client_data": 1 + n, "timeout_member_connect": n, "timeout_member_data": 2 * n,
			"timeout_tcp_inspect": n % 2}}); ok {
			c.done["timeouts"]++
		}
	}
}

// Any history of the API is the same State after a restart. Its export gives the same State again, ids included, and
// applied to the router that has it, it is an empty plan.
func TestRandomHistories(t *testing.T) {
	total := map[string]int{}
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		kv := store.Memory()
		d := start(t, read(t, "lab.toml", lab), kv)
		c := &cloud{t: t, rng: rand.New(rand.NewPCG(seed, 3)), ids: map[string][]string{}, done: total,
			handler: neutron.New(d.control, neutron.Options{Stated: d.own.Stated})}
		for range 150 {
			c.step()
		}
		want := d.control.State()
		for b := range want.LoadBalancers() {
			if b.Port != "" {
				total["load balancers on users' ports"]++
			}
		}
		for l := range want.Listeners() {
			if l.Application != "" {
				total["HTTP listeners"]++
			}
		}
		d = start(t, read(t, "lab.toml", lab), kv)
		for _, l := range config.Describe(want, d.control.State(), config.Diff(want, d.control.State())) {
			t.Errorf("seed %d: the restart changes %v", seed, &l)
		}
		var b bytes.Buffer
		if err := d.own.Export(&b); err != nil {
			t.Fatal(err)
		}
		f := read(t, "export.toml", b.String())
		for _, l := range config.Describe(want, f.State(), config.Diff(want, f.State())) {
			for _, a := range l.Attributes {
				if a.Name != "position" || len(l.Attributes) > 1 {
					t.Errorf("seed %d: the file says %v", seed, &l)
				}
			}
			if l.Op != config.Changed {
				t.Errorf("seed %d: the file says %v", seed, &l)
			}
		}
		r := d.apply(f, ownership.ApplyOptions{DryRun: true})
		for _, l := range r.Lines() {
			t.Errorf("seed %d: the export changes %v", seed, &l)
		}
		if t.Failed() {
			t.Fatal(b.String())
		}
	}
	for _, what := range []string{"networks", "subnets", "routers", "interfaces", "ports", "security_groups",
		"security_group_rules", "address_groups", "quotas", "floatingips", "gateways", "associations", "loadbalancers",
		"listeners", "pools", "deletes", "pools of addresses", "timeouts", "load balancers on users' ports",
		"HTTP listeners"} {
		if total[what] == 0 {
			t.Errorf("no history has %s", what)
		}
	}
}
