package neutron_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// play sends a request, and checks what holds for all answers: a status that is meant, JSON, and an error that says
// what it is.
func play(t *testing.T, h http.Handler, method, target, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	switch w.Code {
	case 200, 201, 202, 204, 400, 403, 404, 405, 409, 413:
	default:
		t.Fatalf("%s %s %s: status %d: %s", method, target, body, w.Code, w.Body)
	}
	if w.Body.Len() == 0 {
		return
	}
	var answer map[string]map[string]any
	var any map[string]any
	text := w.Body.Bytes()
	if err := json.Unmarshal(text, &any); err != nil {
		t.Fatalf("%s %s: %v: %s", method, target, err, text)
	}
	if w.Code >= 400 && any["faultstring"] != nil {
		if any["faultcode"] != "Client" || any["faultstring"] == "" {
			t.Fatalf("%s %s: %s", method, target, text)
		}
	} else if w.Code >= 400 {
		if err := json.Unmarshal(text, &answer); err != nil || answer["NeutronError"]["message"] == "" {
			t.Fatalf("%s %s: %s", method, target, text)
		}
	}
}

// defaultGroup is the id of the default security group.
var defaultGroup = string(config.NameID(config.KindSecurityGroup, "default"))

// No body has the API panic, or answer with a status of 500, or leaves the State wrong.
func FuzzBody(f *testing.F) {
	for _, x := range [][3]string{
		{"POST", "networks", `{"network":{"name":"n","mtu":"1400","segments":[{"provider:network_type":"flat"}]}}`},
		{"POST", "networks", `{"networks":[{},{"router:external":true}]}`},
		{"PUT", "networks/{ext}", `{"network":{"router:external":false,"admin_state_up":"no"}}`},
		{"POST", "subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24","gateway_ip":null}}`},
		{"PUT", "subnets/{sub}", `{"subnet":{"allocation_pools":[{"start":"172.16.101.4","end":"172.16.101.9"}]}}`},
		{"POST", "ports", `{"port":{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.9"}]}}`},
		{"PUT", "ports/{port}", `{"port":{"fixed_ips":[],"allowed_address_pairs":[{"ip_address":"10.0.0.0/8"}]}}`},
		{"PUT", "routers/{router}", `{"router":{"external_gateway_info":{"network_id":"{ext}","enable_snat":0}}}`},
		{"PUT", "routers/{router}", `{"router":{"routes":[{"destination":"10.0.0.0/8","nexthop":"172.16.101.3"}]}}`},
		{"PUT", "routers/{router}/add_router_interface", `{"subnet_id":"{extsub}"}`},
		{"PUT", "routers/{router}/remove_router_interface", `{"port_id":"{iface}"}`},
		{"PUT", "routers/{router}/add_extraroutes", `{"router":{"routes":[]}}`},
		{"PUT", "floatingips/{fip}", `{"floatingip":{"port_id":null}}`},
		{"POST", "floatingips", `{"floatingip":{"floating_network_id":"{ext}","subnet_id":"{extsub}"}}`},
		{"PUT", "networks/{net}/tags", `{"tags":["a"]}`},
		{"DELETE", "ports/{port}", ``}, {"DELETE", "floatingips/{fip}", ``},
		{"POST", "lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}","pools":[{"name":"x","protocol":"TCP",
			"lb_algorithm":"SOURCE_IP","members":[{"address":"172.16.101.9","protocol_port":1}],"healthmonitor":
			{"type":"TCP","delay":5,"timeout":5,"max_retries":1}}],"listeners":[{"protocol":"TCP","protocol_port":1,
			"default_pool":{"name":"x"}}]}}`},
		{"PUT", "lbaas/loadbalancers/{lb}", `{"loadbalancer":{"name":null,"tags":["t"],"admin_state_up":"False"}}`},
		{"POST", "lbaas/loadbalancers", `{"loadbalancer":{"vip_network_id":"{net}","listeners":[],"pools":null}}`},
		{"POST", "lbaas/listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"UDP","protocol_port":"53",
			"default_pool":{"protocol":"UDP","lb_algorithm":"ROUND_ROBIN"},"allowed_cidrs":["10.0.0.0/8"]}}`},
		{"PUT", "lbaas/listeners/{li}", `{"listener":{"default_pool_id":null,"connection_limit":-1}}`},
		{"PUT", "lbaas/pools/{pool}", `{"pool":{"session_persistence":{"type":"SOURCE_IP"}}}`},
		{"PUT", "lbaas/pools/{pool}/members", `{"members":[{"address":"172.16.101.3","protocol_port":8080}]}`},
		{"PUT", "lbaas/pools/{pool}/members/{m1}", `{"member":{"weight":null}}`},
		{"POST", "lbaas/pools/{pool}/members", `{"member":{"address":"172.16.101.50","protocol_port":80}}`},
		{"POST", "lbaas/healthmonitors", `{"healthmonitor":{"pool_id":"{pool}","type":"HTTP","delay":5,"timeout":5,
			"max_retries":1,"expected_codes":"200-204"}}`},
		{"PUT", "lbaas/healthmonitors/{hm}", `{"healthmonitor":{"http_method":null,"delay":60}}`},
		{"POST", "security-groups", `{"security_group":{"name":"g","stateful":false}}`},
		{"POST", "security-group-rules", `{"security_group_rule":{"security_group_id":"` + defaultGroup + `",
			"direction":"ingress","protocol":"tcp","port_range_min":80,"port_range_max":"81","remote_ip_prefix":"::/0",
			"ethertype":"IPv6"}}`},
		{"POST", "security-group-rules", `{"security_group_rules":[{"security_group_id":"` + defaultGroup + `",
			"direction":"egress","protocol":"icmp","port_range_min":8,"remote_group_id":"` + defaultGroup + `"}]}`},
		{"PUT", "security-groups/" + defaultGroup, `{"security_group":{"description":"x"}}`},
		{"POST", "address-groups", `{"address_group":{"addresses":["10.0.0.0/8","::1"]}}`},
		{"PUT", "quotas/00000000000000000000000000000001", `{"quota":{"network":0,"loadbalancer":null,"trunk":"3"}}`},
		{"PUT", "lbaas/quotas/00000000000000000000000000000001", `{"quota":{"health_monitor":1}}`},
		{"PUT", "ports/{port}", `{"port":{"security_groups":[],"port_security_enabled":false,"dns_name":"x",
			"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"}],"binding:profile":{"a":1}}}`},
		{"POST", "lbaas/loadbalancers", `{"loadbalancer":{"vip_port_id":"{port}"}}`},
		{"DELETE", "lbaas/loadbalancers/{lb}", ``}, {"DELETE", "lbaas/pools/{pool}", ``},
		{"DELETE", "lbaas/listeners/{li}", ``}, {"PUT", "lbaas/loadbalancers/{lb}/failover", ``},
	} {
		f.Add(x[0], x[1], x[2])
	}
	c, h := fuzzed(f)
	base := c.control.State()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if method = strings.ToUpper(method); method != "POST" && method != "DELETE" {
			method = "PUT"
		}
		target := (&url.URL{Path: "/v2.0/" + c.fill(path)}).String()
		play(t, h, method, target, c.fill(body))
		consistent(t, c.control.State())
		if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error {
			for _, ch := range config.Diff(d.Base(), base) {
				if ch.After != nil {
					d.Put(ch.After)
				} else {
					d.Delete(ch.Ref)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err) // the next body would find something else
		}
	})
}

// No query has the API panic, or answer with a status of 500.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{"", "name=a&name=b", "fixed_ips=ip_address%3D172.16.101.3", "limit=1&marker={port}",
		"sort_key=mtu&sort_dir=desc", "fields=id&fields=x", "tags=a,b&not-tags-any=c", "page_reverse=True&limit=2",
		"limit=1&marker={net}&sort_key=name&page_reverse=1", "id={port}", "%zz", "port_id=", "mac_address=02-00",
		"loadbalancer_id={lb}&tags=a", "listener_id={li}&limit=1", "address=172.16.101.3",
		"operating_status=ONLINE&marker={m2}", "cascade=true"} {
		f.Add(query)
	}
	c, h := fuzzed(f)
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"networks", "subnets", "ports", "routers", "floatingips",
			"security-groups", "security-group-rules", "address-groups", "agents", "network-ip-availabilities",
			"lbaas/loadbalancers", "lbaas/listeners", "lbaas/pools", c.fill("lbaas/pools/{pool}/members"),
			"lbaas/healthmonitors", c.fill("lbaas/loadbalancers/{lb}/status")} {
			u := url.URL{Path: "/v2.0/" + path, RawQuery: strings.Map(func(r rune) rune {
				if r <= ' ' || r == 0x7f || r == '#' {
					return '+'
				}
				return r
			}, c.fill(query))}
			play(t, h, "GET", u.String(), "")
		}
	})
}
