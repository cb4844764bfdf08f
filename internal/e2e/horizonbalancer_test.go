//go:build linux

package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The load balancer's pages are scripts. This is what they ask, in their order.

// one is the item that has a value, of a list that a page's scripts ask for.
func (f *forms) one(path, key, value string) map[string]any {
	f.t.Helper()
	all := f.items(path)
	for _, o := range all {
		if o[key] == value {
			return o
		}
	}
	f.t.Fatalf("%s: none has the %s %q: %v", path, key, value, all)
	return nil
}

// has wants values in an object of a page.
func (f *forms) has(what string, o map[string]any, want map[string]any) {
	f.t.Helper()
	for key, value := range want {
		if o[key] != value {
			f.t.Errorf("%s: %s is %v, want %v: %v", what, key, o[key], value, o)
		}
	}
}

// balance is the wizard. It makes the load balancer at once, and the rest step by step from then on.
func (f *forms) balance(b balancer) {
	f.t.Helper()
	f.get("/project/load_balancer/")
	for _, path := range []string{"lbaas/flavors/", "lbaas/availabilityzones/", "neutron/networks/"} {
		f.items("/api/" + path)
	}
	subnet := f.one("/api/neutron/subnets/", "cidr", b.subnet)
	ports := f.items("/api/neutron/ports/")
	var members []any
	for _, name := range b.instances {
		server := f.one("/api/nova/servers/", "name", name)
		for _, p := range ports {
			fixed, _ := p["fixed_ips"].([]any)
			if p["device_id"] != server["id"] || len(fixed) == 0 {
				continue
			}
			at, _ := fixed[0].(map[string]any)
			members = append(members, map[string]any{"id": server["id"], "name": name, "weight": 1, "backup": false,
				"admin_state_up": true, "protocol_port": 80, "address": at["ip_address"], "subnet_id": at["subnet_id"]})
		}
	}
	if len(members) != len(b.instances) {
		f.t.Fatalf("the wizard offers %v for %v", members, b.instances)
	}
	f.call(http.MethodPost, "/api/lbaas/loadbalancers/", map[string]any{
		"loadbalancer": map[string]any{"name": b.name, "vip_address": b.address, "vip_subnet_id": subnet["id"],
			"admin_state_up": true},
		"listener": map[string]any{"name": "web", "protocol": "HTTP", "protocol_port": 80, "connection_limit": -1,
			"admin_state_up": true, "insert_headers": map[string]any{}, "timeout_client_data": 50000,
			"timeout_member_connect": 5000, "timeout_member_data": 50000, "timeout_tcp_inspect": 0},
		"pool": map[string]any{"name": b.pool, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
			"admin_state_up": true, "tls_enabled": false},
		"members": members,
		"monitor": map[string]any{"name": "monitor", "type": "HTTP", "delay": 1, "timeout": 1, "max_retries": 1,
			"max_retries_down": 1, "http_method": "GET", "expected_codes": "200", "url_path": "/",
			"admin_state_up": true},
	})
	f.t.Logf("the wizard has asked")
	f.finished(b)
}

// finished waits until the last thing that the wizard makes is there, and looks at all of them.
func (f *forms) finished(b balancer) {
	f.t.Helper()
	lb := f.balancer(b)
	f.has("load balancer", lb, map[string]any{"vip_address": b.address, "provisioning_status": "ACTIVE",
		"operating_status": "ONLINE", "admin_state_up": true})
	id, _ := lb["id"].(string)
	deadline := time.Now().Add(30 * time.Second)
	for {
		pools := f.items("/api/lbaas/pools/?loadbalancerId=" + id)
		if len(pools) == 1 {
			pool, _ := pools[0]["id"].(string)
			if monitors := f.items("/api/lbaas/healthmonitors/?poolId=" + pool); len(monitors) == 1 {
				f.has("monitor", monitors[0], map[string]any{"type": "HTTP", "delay": 1.0, "timeout": 1.0,
					"max_retries": 1.0, "url_path": "/", "expected_codes": "200", "http_method": "GET"})
				break
			}
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("the wizard has not made everything: pools %v", pools)
		}
	}
	listener := f.one("/api/lbaas/listeners/?loadbalancerId="+id, "name", "web")
	f.has("listener", listener, map[string]any{"protocol": "HTTP", "protocol_port": 80.0, "connection_limit": -1.0,
		"provisioning_status": "ACTIVE", "admin_state_up": true})
	pool := f.pool(b)
	f.has("pool", pool, map[string]any{"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
		"provisioning_status": "ACTIVE", "admin_state_up": true})
	f.has("the listener's pool", listener, map[string]any{"default_pool_id": pool["id"]})
	member := f.one("/api/lbaas/pools/"+pool["id"].(string)+"/members/", "name", "WEB1")
	f.has("member", member, map[string]any{"address": "172.16.100.9", "protocol_port": 80.0, "weight": 1.0})
}

func (f *forms) balancer(b balancer) map[string]any {
	f.t.Helper()
	return f.one("/api/lbaas/loadbalancers/?full=true", "name", b.name)
}

func (f *forms) pool(b balancer) map[string]any {
	f.t.Helper()
	id, _ := f.balancer(b)["id"].(string)
	return f.one("/api/lbaas/pools/?loadbalancerId="+url.QueryEscape(id), "name", b.pool)
}

// members are the operating statuses by name.
func (f *forms) members(b balancer) map[string]string {
	f.t.Helper()
	pool, _ := f.pool(b)["id"].(string)
	all := map[string]string{}
	for _, m := range f.items("/api/lbaas/pools/" + pool + "/members/") {
		name, _ := m["name"].(string)
		all[name], _ = m["operating_status"].(string)
	}
	return all
}

// front is the menu's Associate Floating IP, with a network in place of an address that is there.
func (f *forms) front(b balancer, network, address string) {
	f.t.Helper()
	f.items("/api/network/floatingips/")
	pool := f.one("/api/network/floatingippools/", "name", network)
	made, _ := f.call(http.MethodPost, "/api/network/floatingip/",
		map[string]any{"pool_id": pool["id"]}).(map[string]any)
	lb := f.balancer(b)
	port, _ := lb["vip_port_id"].(string)
	f.call(http.MethodPatch, "/api/network/floatingip/", map[string]any{"address_id": made["id"],
		"port_id": strings.Join([]string{port, b.address}, "_")})
	shown, _ := f.balancer(b)["floating_ip"].(map[string]any)
	f.has("the floating IP of the load balancer", shown, map[string]any{"ip": address})
}

// unbalance is Delete Load Balancer.
func (f *forms) unbalance(b balancer) {
	f.t.Helper()
	id, _ := f.balancer(b)["id"].(string)
	f.call(http.MethodDelete, "/api/lbaas/loadbalancers/"+id+"/", nil)
	if left := f.items("/api/lbaas/loadbalancers/?full=true"); len(left) != 0 {
		f.t.Errorf("still there: %v", left)
	}
}
