package neutron_test

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
)

const lb = "/v2.0/lbaas/"

// fault fails unless the answer is an error of the load-balancing API. It returns what the error says.
func (c *cloud) fault(status int, method, path, body string) string {
	c.t.Helper()
	a := c.ask(method, path, body)
	said, _ := a.body["faultstring"].(string)
	detail, there := a.body["debuginfo"]
	if a.status != status || a.body["faultcode"] != "Client" || said == "" || detail != nil || !there {
		c.t.Errorf("%s %s %.300s: %d %s, want %d", method, c.fill(path), c.fill(body), a.status, a.text, status)
	}
	return said
}

// faults is fault for each line of a table: a status, and what stands in the body.
func (c *cloud) faults(method, path, wrap, table string) {
	c.t.Helper()
	for line := range strings.Lines(strings.TrimSpace(table)) {
		code, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		status, err := strconv.Atoi(code)
		if err != nil {
			c.t.Fatal(err)
		}
		c.fault(status, method, path, `{"`+wrap+`":{`+body+`}}`)
	}
}

// balanced is what every object of the load-balancing API has.
const balanced = `"admin_state_up":true,"provisioning_status":"ACTIVE","tags":[],"created_at":"2026-01-02T03:04:05",
	"updated_at":null,` + project

// buildBalancer makes a load balancer with a listener, a pool, two members and a health monitor.
func (c *cloud) buildBalancer() {
	c.t.Helper()
	c.build()
	c.make("lb", lb+"loadbalancers", `{"loadbalancer":{"name":"lb1","vip_subnet_id":"{sub}",
		"vip_address":"172.16.101.50"}}`)
	c.make("li", lb+"listeners", `{"listener":{"name":"li","loadbalancer_id":"{lb}","protocol":"TCP",
		"protocol_port":"80"}}`)
	c.make("pool", lb+"pools", `{"pool":{"name":"p","listener_id":"{li}","protocol":"TCP",
		"lb_algorithm":"ROUND_ROBIN"}}`)
	c.make("m1", lb+"pools/{pool}/members", `{"member":{"name":"m1","address":"172.16.101.3","protocol_port":8080}}`)
	c.make("m2", lb+"pools/{pool}/members", `{"member":{"name":"m2","address":"172.16.101.4","protocol_port":8080,
		"weight":"2","subnet_id":"{sub}","backup":true,"tags":["a","a"]}}`)
	c.make("hm", lb+"healthmonitors", `{"healthmonitor":{"name":"h","pool_id":"{pool}","type":"HTTP","delay":"5",
		"timeout":4,"max_retries":2}}`)
}

func TestBalancerGolden(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	b := c.do(200, "GET", lb+"loadbalancers/{lb}", "")
	c.ids["vip"] = b["vip_port_id"].(string)
	c.equals(b, `{"id":"{lb}","name":"lb1","description":"","vip_address":"172.16.101.50","vip_subnet_id":"{sub}",
		"vip_network_id":"{net}","vip_port_id":"{vip}","vip_qos_policy_id":null,"additional_vips":[],
		"provider":"taprouter","flavor_id":null,"availability_zone":null,"listeners":[{"id":"{li}"}],
		"pools":[{"id":"{pool}"}],"operating_status":"ONLINE",`+balanced+`}`)
	port := c.do(200, "GET", "/v2.0/ports/{vip}", "")
	if port["device_owner"] != "Octavia" || port["name"] != c.fill("octavia-lb-{lb}") {
		t.Errorf("%v", port)
	}
	li := c.do(200, "GET", lb+"listeners/{li}", "")
	c.equals(li, `{"id":"{li}","name":"li","description":"","loadbalancers":[{"id":"{lb}"}],"protocol":"TCP",
		"protocol_port":80,"default_pool_id":"{pool}","connection_limit":-1,"timeout_client_data":50000,
		"timeout_member_connect":5000,"timeout_member_data":50000,"timeout_tcp_inspect":0,"allowed_cidrs":null,
		"insert_headers":{},"l7policies":[],"sni_container_refs":[],"client_authentication":"NONE","tls_versions":[],
		"alpn_protocols":[],"tls_ciphers":null,"default_tls_container_ref":null,"client_ca_tls_container_ref":null,
		"client_crl_container_ref":null,"operating_status":"ONLINE",`+
		strings.Replace(balanced, "null", `"2026-01-02T03:04:05"`, 1)+`}`)
	c.equals(c.do(200, "GET", lb+"pools/{pool}", ""), `{"id":"{pool}","name":"p","description":"",
		"loadbalancers":[{"id":"{lb}"}],"listeners":[{"id":"{li}"}],"protocol":"TCP","lb_algorithm":"ROUND_ROBIN",
		"session_persistence":null,"members":[{"id":"{m1}"},{"id":"{m2}"}],"healthmonitor_id":"{hm}",
		"tls_enabled":false,"tls_versions":[],"alpn_protocols":[],"tls_ciphers":null,"tls_container_ref":null,
		"ca_tls_container_ref":null,"crl_container_ref":null,"operating_status":"ONLINE",`+balanced+`}`)
	c.equals(c.do(200, "GET", lb+"pools/{pool}/members/{m1}", ""), `{"id":"{m1}","name":"m1",
		"address":"172.16.101.3","protocol_port":8080,"weight":1,"backup":false,"subnet_id":null,
		"monitor_address":null,"monitor_port":null,"operating_status":"ONLINE",`+balanced+`}`)
	c.equals(c.do(200, "GET", lb+"pools/{pool}/members/{m2}", ""), `{"id":"{m2}","name":"m2",
		"address":"172.16.101.4","protocol_port":8080,"weight":2,"backup":true,"subnet_id":"{sub}",
		"monitor_address":null,"monitor_port":null,"operating_status":"ONLINE",`+
		strings.Replace(balanced, `[]`, `["a"]`, 1)+`}`)
	c.equals(c.do(200, "GET", lb+"healthmonitors/{hm}", ""), `{"id":"{hm}","name":"h","description":"",
		"pools":[{"id":"{pool}"}],"type":"HTTP","delay":5,"timeout":4,"max_retries":2,"max_retries_down":3,
		"http_method":"GET","url_path":"/","expected_codes":"200","http_version":null,"domain_name":null,
		"operating_status":"ONLINE",`+balanced+`}`)
	c.equals(c.do(200, "GET", lb+"loadbalancers/{lb}/stats", ""), `{"active_connections":0,"bytes_in":0,"bytes_out":0,
		"request_errors":0,"total_connections":0}`)
	const pool = `{"id":"{pool}","name":"p","provisioning_status":"ACTIVE","operating_status":"ONLINE",
		"health_monitor":{"id":"{hm}","name":"h","type":"HTTP","provisioning_status":"ACTIVE",
		"operating_status":"ONLINE"},"members":[{"id":"{m1}","name":"m1","address":"172.16.101.3","protocol_port":8080,
		"provisioning_status":"ACTIVE","operating_status":"ONLINE"},{"id":"{m2}","name":"m2",
		"address":"172.16.101.4","protocol_port":8080,"provisioning_status":"ACTIVE","operating_status":"ONLINE"}]}`
	c.equals(c.do(200, "GET", lb+"loadbalancers/{lb}/status", ""), `{"loadbalancer":{"id":"{lb}","name":"lb1",
		"provisioning_status":"ACTIVE","operating_status":"ONLINE","listeners":[{"id":"{li}","name":"li",
		"provisioning_status":"ACTIVE","operating_status":"ONLINE","pools":[`+pool+`]}],"pools":[`+pool+`]}}`)
	c.do(202, "PUT", lb+"loadbalancers/{lb}/failover", "")
	c.fault(404, "PUT", lb+"loadbalancers/{li}/failover", "")
	c.fault(404, "GET", lb+"loadbalancers/{li}/status", "")
	c.fault(404, "GET", lb+"listeners/{lb}/stats", "")
	c.fault(404, "GET", lb+"loadbalancers/{li}/stats", "")
	c.now = c.now.Add(time.Hour)
	o := c.do(200, "PUT", lb+"loadbalancers/{lb}", `{"loadbalancer":{"name":"x","tags":["t"]}}`)
	if o["updated_at"] != "2026-01-02T04:04:05" || o["name"] != "x" || o["tags"].([]any)[0] != "t" {
		t.Errorf("%v", o)
	}
}

func TestBalancerLists(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"loadbalancers", "listeners", "pools", "healthmonitors", "flavors",
		"flavorprofiles", "l7policies", "availabilityzones"} {
		list := strings.Replace(name, "yz", "y_z", 1) // of availability zones, whose path has no underline
		c.equals(c.do(200, "GET", lb+name, ""), `{"`+list+`":[],"`+list+`_links":[]}`)
		c.fault(405, "DELETE", lb+name, "")
		c.fault(404, "GET", lb+name+"/x", "")
	}
	if o := c.do(200, "GET", lb+"providers", ""); o["providers"].([]any)[0].(map[string]any)["name"] != "taprouter" {
		t.Errorf("%v", o)
	}
	c.do(200, "GET", lb+"providers/taprouter/flavor_capabilities", "")
	c.fault(404, "GET", "/v2.0/lbaas", "")
	c.buildBalancer()
	c.make("lb2", lb+"loadbalancers", `{"loadbalancer":{"name":"lb2","vip_network_id":"{net}"}}`)
	c.make("p2", lb+"pools", `{"pool":{"name":"p2","loadbalancer_id":"{lb2}","protocol":"UDP",
		"lb_algorithm":"SOURCE_IP"}}`)
	c.make("li2", lb+"listeners", `{"listener":{"name":"li2","loadbalancer_id":"{lb2}","protocol":"UDP",
		"protocol_port":53,"default_pool_id":"{p2}"}}`)
	c.make("li3", lb+"listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81}}`)
	for query, want := range map[string]string{
		"loadbalancers?name=lb2": "lb2", "loadbalancers?vip_address=172.16.101.50": "lb1",
		"loadbalancers?vip_subnet_id={sub}": "lb1 lb2", "loadbalancers?id={pool}": "",
		"loadbalancers?provider=taprouter&provisioning_status=ACTIVE": "lb1 lb2",
		"loadbalancers?operating_status=ONLINE":                       "lb1 lb2",
		"loadbalancers?vip_port_id=x":                                 "", "loadbalancers?tags=a": "",
		"loadbalancers?project_id=" + neutron.DefaultProject: "lb1 lb2",
		"listeners?loadbalancer_id={lb2}":                    "li2", "listeners?protocol=TCP&protocol_port=80": "li",
		"pools?loadbalancer_id={lb}": "p", "pools?listener_id={li2}": "p2", "pools?listener_id={li3}": "",
		"pools?lb_algorithm=SOURCE_IP":              "p2",
		"pools/{pool}/members?address=172.16.101.3": "m1", "pools/{pool}/members?weight=2": "m2",
		"pools/{pool}/members?tags=a": "m2", "healthmonitors?pool_id={pool}": "h", "healthmonitors?pool_id={p2}": "",
		"healthmonitors?type=HTTP": "h", "loadbalancers?admin_state_up=False": "",
		"loadbalancers?limit=1&sort_key=name&sort_dir=desc": "lb2", "loadbalancers?limit=1&marker={lb}": "lb2",
	} {
		if got := strings.Join(c.names(lb+query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	c.fault(400, "GET", lb+"loadbalancers?x=1", "")
	c.fault(400, "GET", lb+"listeners?default_pool=1", "")
	links := c.do(200, "GET", lb+"loadbalancers?limit=1", "")["loadbalancers_links"].([]any)
	if len(links) != 1 || !strings.Contains(links[0].(map[string]any)["href"].(string), c.fill("marker={lb}")) {
		t.Errorf("links %v", links)
	}
	if o := c.do(200, "GET", lb+"loadbalancers/{lb}?fields=id&fields=nothing&pool_id=x", ""); len(o) != 1 {
		t.Errorf("%v", o)
	}
	if got := c.fault(404, "GET", lb+"loadbalancers/x", ""); got != "Load Balancer x not found." {
		t.Errorf("%q", got)
	}
	c.fault(404, "GET", lb+"pools/{p2}/members/{m1}", "")
	c.fault(404, "GET", lb+"pools/x/members", "")
}

func TestBalancerFaults(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.faults("POST", lb+"loadbalancers", "loadbalancer", `
400 "name":"x"
400 "vip_subnet_id":"{net}"
400 "vip_network_id":"{sub}"
400 "vip_network_id":"{net2}"
400 "vip_network_id":"{net2}","vip_subnet_id":"{sub}"
400 "vip_subnet_id":"{sub}","vip_address":"10.0.0.1"
400 "vip_port_id":"{port}"
400 "vip_subnet_id":"{sub}","provider":"amphora"
400 "vip_subnet_id":"{sub}","provider":""
400 "vip_subnet_id":"{sub}","x":1
409 "vip_subnet_id":"{sub}","vip_address":"172.16.101.50"
400 "vip_subnet_id":"{sub}","pools":{}
400 "vip_subnet_id":"{sub}","listeners":[1]
400 "vip_subnet_id":"{sub}","listeners":[{"protocol":"TCP"}]
400 "vip_subnet_id":"{sub}","listeners":[{"protocol":"TCP","protocol_port":1,"default_pool":{"name":"other"}}]`)
	c.faults("POST", lb+"listeners", "listener", `
400 "protocol":"TCP","protocol_port":81
400 "loadbalancer_id":"{lb}","protocol":"SCTP","protocol_port":81
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":0
400 "loadbalancer_id":"{lb}","protocol":"TCP"
404 "loadbalancer_id":"{li}","protocol":"TCP","protocol_port":81
404 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"default_pool_id":"{lb}"
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"default_pool_id":"{pool}","default_pool":{"protocol":"TCP","lb_algorithm":"ROUND_ROBIN"}
409 "loadbalancer_id":"{lb}","protocol":"HTTP","protocol_port":80
400 "loadbalancer_id":"{lb}","protocol":"UDP","protocol_port":80,"default_pool_id":"{pool}"
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"connection_limit":0
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"timeout_client_data":0
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"timeout_member_data":-1
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"timeout_member_data":2147483647
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"allowed_cidrs":["x"]
400 "loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,"default_tls_container_ref":"x"`)
	c.faults("POST", lb+"pools", "pool", `
400 "protocol":"TCP","lb_algorithm":"ROUND_ROBIN"
400 "loadbalancer_id":"{lb}","protocol":"TCP"
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"RANDOM"
400 "loadbalancer_id":"{lb}","protocol":"PROXY","lb_algorithm":"ROUND_ROBIN"
404 "loadbalancer_id":"{li}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN"
404 "listener_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN"
409 "listener_id":"{li}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN"
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","session_persistence":{"type":"HTTP_COOKIE"}
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","session_persistence":{"type":"SOURCE_IP","persistence_timeout":0}
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","session_persistence":{"type":"SOURCE_IP","cookie_name":"c"}
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","session_persistence":{"type":"SOURCE_IP","persistence_granularity":"255.255.0.0"}
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","tls_enabled":true
409 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","members":[{"address":"172.16.101.3","protocol_port":1},{"address":"172.16.101.3","protocol_port":1}],"healthmonitor":{"type":"TCP","delay":5,"timeout":5,"max_retries":1}
400 "loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN","members":[{}],"healthmonitor":{"type":"TCP","delay":5,"timeout":5,"max_retries":1}`)
	c.faults("POST", lb+"pools/{pool}/members", "member", `
400 "address":"172.16.101.5"
400 "address":"x","protocol_port":1
400 "address":"172.16.101.5","protocol_port":65536
400 "address":"172.16.101.5","protocol_port":1,"weight":257
400 "address":"172.16.101.5","protocol_port":1,"subnet_id":"{net}"
400 "address":"172.16.101.5","protocol_port":1,"monitor_port":0
400 "address":"172.16.101.5","protocol_port":1,"description":"d"
409 "address":"172.16.101.3","protocol_port":8080`)
	c.faults("POST", lb+"healthmonitors", "healthmonitor", `
400 "type":"TCP","delay":5,"timeout":5,"max_retries":1
404 "pool_id":"{lb}","type":"TCP","delay":5,"timeout":5,"max_retries":1
409 "pool_id":"{pool}","type":"TCP","delay":5,"timeout":5,"max_retries":1
400 "pool_id":"{pool}","type":"SSL","delay":5,"timeout":5,"max_retries":1
400 "pool_id":"{pool}","type":"HTTP","delay":5,"timeout":5,"max_retries":1,"http_version":2
400 "pool_id":"{pool}","type":"TCP","timeout":5,"max_retries":1`)
	c.faults("PUT", lb+"healthmonitors/{hm}", "healthmonitor", `
400 "type":"TCP"
400 "pool_id":"{pool}"
400 "delay":null
400 "delay":0
400 "delay":3
400 "max_retries":11
400 "url_path":"x"`)
	c.faults("PUT", lb+"pools/{pool}/members/{m1}", "member", `
400 "address":"172.16.101.3"
400 "protocol_port":1
400 "provisioning_status":"ACTIVE"`)
	c.faults("PUT", lb+"pools/{pool}", "pool", `
400 "protocol":"UDP"
400 "lb_algorithm":null`)
	c.faults("PUT", lb+"loadbalancers/{lb}", "loadbalancer", `
400 "vip_address":"172.16.101.51"
400 "tags":["t`+numbered()+`"]
400 "name":3`)
	for _, path := range []string{"listeners", "pools"} {
		got := c.fault(404, "POST", lb+path, `{"`+strings.TrimSuffix(path, "s")+`":{"loadbalancer_id":"{net}",
			"protocol":"TCP"`+map[string]string{"listeners": `,"protocol_port":1`,
			"pools": `,"lb_algorithm":"ROUND_ROBIN"`}[path]+`}}`)
		if got != c.fill("Load Balancer {net} not found.") {
			t.Errorf("%q", got)
		}
	}
	c.fault(400, "DELETE", lb+"loadbalancers/{lb}", "")
	c.fault(400, "DELETE", lb+"loadbalancers/{lb}?cascade=perhaps", "")
	c.fault(400, "PUT", lb+"pools/{pool}/members", `{"members":{}}`)
	c.fault(400, "PUT", lb+"pools/{pool}/members", `{"members":[],"x":1}`)
	c.fault(400, "PUT", lb+"pools/{pool}/members?additive_only=x", `{"members":[]}`)
	c.fault(400, "PUT", lb+"pools/{pool}/members", `{"members":[{"address":"172.16.101.3","protocol_port":8080},
		{"address":"172.16.101.3","protocol_port":8080}]}`)
	c.list(lb+"pools/{pool}/members", "m1", "m2")
	c.list(lb+"loadbalancers", "lb1")
	c.list(lb+"pools", "p")
	c.make("parent", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	for path, body := range map[string]string{"listeners": `"protocol_port":1`, "pools": `"lb_algorithm":"SOURCE_IP"`} {
		c.make("child", lb+path, `{"`+strings.TrimSuffix(path, "s")+`":{"loadbalancer_id":"{parent}","protocol":"TCP",`+
			body+`}}`)
		c.fault(400, "DELETE", lb+"loadbalancers/{parent}", "")
		c.do(204, "DELETE", lb+path+"/{child}", "")
	}
	c.do(204, "DELETE", lb+"loadbalancers/{parent}", "")

	// A pool is one load balancer's.
	c.make("lb2", lb+"loadbalancers", `{"loadbalancer":{"name":"lb2","vip_network_id":"{net}"}}`)
	c.make("li2", lb+"listeners", `{"listener":{"loadbalancer_id":"{lb2}","protocol":"HTTP","protocol_port":80}}`)
	c.fault(400, "PUT", lb+"listeners/{li2}", `{"listener":{"default_pool_id":"{pool}"}}`)
	c.fault(400, "POST", lb+"pools", `{"pool":{"listener_id":"{li2}","loadbalancer_id":"{lb}","protocol":"TCP",
		"lb_algorithm":"ROUND_ROBIN"}}`)
	c.make("p2", lb+"pools", `{"pool":{"listener_id":"{li2}","loadbalancer_id":"{lb2}","protocol":"HTTPS",
		"lb_algorithm":"ROUND_ROBIN","name":null,"description":null,"session_persistence":null,"tls_ciphers":null}}`)
	c.make("tcp", lb+"healthmonitors", `{"healthmonitor":{"pool_id":"{p2}","type":"TCP","delay":5,"timeout":5,
		"max_retries":1}}`)
	if o := c.do(200, "GET", lb+"healthmonitors/{tcp}", ""); o["http_method"] != nil || o["url_path"] != nil ||
		o["expected_codes"] != nil {
		t.Errorf("%v", o)
	}
	c.fault(400, "PUT", lb+"healthmonitors/{tcp}", `{"healthmonitor":{"url_path":"/x"}}`)
}

// null restores the default.
func TestBalancerNull(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	for _, x := range []struct{ path, wrap, set, null, want string }{
		{"loadbalancers/{lb}", "loadbalancer", `"name":"x","description":"d","admin_state_up":"false","tags":["t"]`,
			`"name":null,"description":null,"admin_state_up":null,"tags":null`,
			`"name":"","description":"","admin_state_up":true,"tags":[]`},
		{"listeners/{li}", "listener", `"connection_limit":"10","timeout_client_data":60000,
			"allowed_cidrs":["10.0.0.7/8"]`,
			`"connection_limit":null,"timeout_client_data":null,"allowed_cidrs":null`,
			`"connection_limit":-1,"timeout_client_data":50000,"allowed_cidrs":null`},
		{"pools/{pool}", "pool", `"lb_algorithm":"LEAST_CONNECTIONS","session_persistence":
			{"type":"SOURCE_IP","persistence_timeout":"60"}`, `"session_persistence":null`,
			`"lb_algorithm":"LEAST_CONNECTIONS","session_persistence":null`},
		{"pools/{pool}/members/{m2}", "member", `"weight":7,"backup":true,"monitor_address":"172.16.101.9",
			"monitor_port":8081`, `"weight":null,"backup":null,"monitor_address":null,"monitor_port":null`,
			`"weight":1,"backup":false,"monitor_address":null,"monitor_port":null`},
		{"healthmonitors/{hm}", "healthmonitor", `"http_method":"HEAD","url_path":"/x","expected_codes":"200,202",
			"max_retries_down":5,"delay":9`, `"http_method":null,"url_path":null,"expected_codes":null,
			"max_retries_down":null`, `"http_method":"GET","url_path":"/","expected_codes":"200",
			"max_retries_down":3,"delay":9`},
	} {
		some := func(o map[string]any, want string) {
			t.Helper()
			few := map[string]any{}
			for k, v := range o {
				if strings.Contains(want, `"`+k+`":`) {
					few[k] = v
				}
			}
			c.equals(few, "{"+want+"}")
		}
		o := c.do(200, "PUT", lb+x.path, `{"`+x.wrap+`":{`+x.set+`}}`)
		if x.wrap == "pool" {
			few := o["session_persistence"].(map[string]any)
			c.equals(few, `{"type":"SOURCE_IP","cookie_name":null,"persistence_timeout":60,
				"persistence_granularity":null}`)
		} else {
			some(o, strings.NewReplacer(`"10"`, "10", "10.0.0.7", "10.0.0.0", `"false"`, "false").Replace(x.set))
		}
		some(c.do(200, "PUT", lb+x.path, `{"`+x.wrap+`":{}}`), strings.NewReplacer(`"10"`, "10", "10.0.0.7", "10.0.0.0",
			`"false"`, "false", `"60"`, `60,"cookie_name":null,"persistence_granularity":null`).Replace(x.set))
		some(c.do(200, "PUT", lb+x.path, `{"`+x.wrap+`":{`+x.null+`}}`), x.want)
	}
	if l := c.control.State().Listener(config.ID(c.ids["li"])); l.IdleTimeout != 0 { // the connection table's
		t.Errorf("%v", l.IdleTimeout)
	}
	c.do(200, "PUT", lb+"listeners/{li}", `{"listener":{"default_pool_id":null}}`)
	if o := c.do(200, "GET", lb+"pools/{pool}", ""); len(o["listeners"].([]any)) != 0 ||
		len(o["loadbalancers"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	c.do(200, "PUT", lb+"listeners/{li}", `{"listener":{"default_pool_id":"{pool}"}}`)
	o := c.do(200, "PUT", lb+"pools/{pool}", `{"pool":{"session_persistence":{"type":"SOURCE_IP",
		"persistence_granularity":"255.255.255.255"}}}`)
	if o["session_persistence"].(map[string]any)["persistence_timeout"] != nil {
		t.Errorf("%v", o["session_persistence"])
	}
	c.do(204, "DELETE", lb+"pools/{pool}", "")
	if o := c.do(200, "GET", lb+"listeners/{li}", ""); o["default_pool_id"] != nil {
		t.Errorf("%v", o)
	}
	c.fault(404, "GET", lb+"healthmonitors/{hm}", "")
	c.do(204, "DELETE", lb+"listeners/{li}", "")
	c.do(204, "DELETE", lb+"loadbalancers/{lb}", "")
	c.fault(404, "GET", lb+"loadbalancers/{lb}", "")
}

// A populated body makes a whole tree, or nothing.
func TestPopulated(t *testing.T) {
	c := newCloud(t)
	c.build()
	const tree = `{"loadbalancer":{"name":"lb","vip_subnet_id":"{sub}",
		"pools":[{"name":"shared","protocol":"TCP","lb_algorithm":"SOURCE_IP","members":[
			{"name":"a","address":"172.16.101.3","protocol_port":80},
			{"name":"b","address":"172.16.101.4","protocol_port":80}],
			"healthmonitor":{"type":"PING","delay":5,"timeout":5,"max_retries":1}}],
		"listeners":[{"name":"one","protocol":"TCP","protocol_port":80,"default_pool":{"name":"shared"}},
			{"name":"two","protocol":"TCP","protocol_port":81,"default_pool":"shared"},
			{"name":"three","protocol":"TCP","protocol_port":82,"default_pool_id":"shared"},
			{"name":"four","protocol":"UDP","protocol_port":%,"default_pool":{"name":"own","protocol":"UDP",
				"lb_algorithm":"ROUND_ROBIN","members":[{"address":"172.16.101.5","protocol_port":53}]}},
			{"name":"five","protocol":"TCP","protocol_port":84},
			{"name":"six","protocol":"TCP","protocol_port":85,"default_pool":{"name":"shared","protocol":"TCP",
				"lb_algorithm":"ROUND_ROBIN"}}]}}`
	c.fault(409, "POST", lb+"loadbalancers", strings.Replace(strings.Replace(tree, "%", "80", 1), "UDP", "TCP", 2))
	for _, k := range []config.Kind{config.KindLoadBalancer, config.KindListener, config.KindPool, config.KindMember,
		config.KindMonitor} {
		if n := c.control.State().Count(k); n != 0 {
			t.Errorf("%d of kind %v are left", n, k)
		}
	}
	o := c.make("lb", lb+"loadbalancers", strings.Replace(tree, "%", "53", 1))
	listeners, pools := o["listeners"].([]any), o["pools"].([]any)
	if len(listeners) != 6 || len(pools) != 3 || o["vip_address"] != "172.16.101.2" {
		t.Fatalf("%v", o)
	}
	shared := pools[0].(map[string]any)
	if shared["name"] != "shared" || shared["healthmonitor"].(map[string]any)["type"] != "PING" ||
		shared["members"].([]any)[1].(map[string]any)["name"] != "b" {
		t.Errorf("%v", shared)
	}
	for i, want := range []any{shared["id"], shared["id"], shared["id"], pools[1].(map[string]any)["id"], nil,
		pools[2].(map[string]any)["id"]} {
		l := listeners[i].(map[string]any)
		if l["default_pool_id"] != want || l["provisioning_status"] != "ACTIVE" {
			t.Errorf("%v, want pool %v", l, want)
		}
	}
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"`+
		o["vip_port_id"].(string)+`"}}`)
	c.do(204, "DELETE", lb+"loadbalancers/{lb}?cascade=True", "")
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["port_id"] != nil || o["status"] != "DOWN" {
		t.Errorf("%v", o)
	}
	for _, k := range []config.Kind{config.KindLoadBalancer, config.KindListener, config.KindPool, config.KindMember} {
		if n := c.control.State().Count(k); n != 0 {
			t.Errorf("%d of kind %v are left", n, k)
		}
	}
}

// A load balancer that no router serves is offline until one does.
func TestStatuses(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	is := func(path, want string) {
		t.Helper()
		if o := c.do(200, "GET", lb+path, ""); o["operating_status"] != want {
			t.Errorf("%s: %v, want %s", c.fill(path), o["operating_status"], want)
		}
	}
	const m2 = "pools/{pool}/members/{m2}"
	c.do(200, "PUT", lb+m2, `{"member":{"weight":0}}`)
	is(m2, "DRAINING")
	c.do(200, "PUT", lb+m2, `{"member":{"admin_state_up":false}}`)
	is(m2, "OFFLINE")
	c.do(204, "DELETE", lb+"healthmonitors/{hm}", "")
	is("pools/{pool}/members/{m1}", "NO_MONITOR")
	c.make("hm", lb+"healthmonitors", `{"healthmonitor":{"pool_id":"{pool}","type":"TCP","delay":5,"timeout":5,
		"max_retries":1}}`)
	is("pools/{pool}/members/{m1}", "ONLINE")
	c.do(200, "PUT", lb+"healthmonitors/{hm}", `{"healthmonitor":{"admin_state_up":false}}`)
	is("healthmonitors/{hm}", "OFFLINE")
	is("pools/{pool}/members/{m1}", "NO_MONITOR")
	for name, path := range map[string]string{"listener": "listeners/{li}", "pool": "pools/{pool}"} {
		c.do(200, "PUT", lb+path, `{"`+name+`":{"admin_state_up":false}}`)
		is(path, "OFFLINE")
		c.do(200, "PUT", lb+path, `{"`+name+`":{"admin_state_up":null}}`)
		is(path, "ONLINE")
	}
	c.do(200, "PUT", lb+"loadbalancers/{lb}", `{"loadbalancer":{"admin_state_up":false}}`)
	is("loadbalancers/{lb}", "OFFLINE")
	is("listeners/{li}", "OFFLINE")
	is("pools/{pool}", "OFFLINE")

	c.make("net2", "/v2.0/networks", `{"network":{}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"172.16.102.0/24"}}`)
	c.make("lb2", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub2}"}}`)
	is("loadbalancers/{lb2}", "OFFLINE")
	c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	is("loadbalancers/{lb2}", "ONLINE")
	c.do(200, "PUT", "/v2.0/networks/{net2}", `{"network":{"admin_state_up":false}}`)
	is("loadbalancers/{lb2}", "OFFLINE")
	c.do(200, "PUT", "/v2.0/networks/{net2}", `{"network":{"admin_state_up":true}}`)
	c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"admin_state_up":false}}`)
	is("loadbalancers/{lb2}", "OFFLINE")
}

// What a file states is the file's; what the API adds to it is the API's.
func TestFileOwnsItsBalancers(t *testing.T) {
	f, err := file.Read("lab.toml", strings.NewReader(`
[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"

[[router]]
name = "r"
interfaces = ["blue"]

[[pool]]
name = "web"
protocol = "TCP"
  [[pool.member]]
  name = "w1"
  address = "10.1.0.5"
  port = 80

[[vip]]
name = "v1"
network = "blue"
address = "10.1.0.50"
protocol = "TCP"
port = 80
pool = "web"

[[vip]]
name = "v2"
network = "blue"
address = "10.1.0.51"
protocol = "TCP"
port = 80
pool = "web"
`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(f.State(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := cloudOn(t, e, neutron.Options{Stated: f.Source, Balancers: e.Inspect()})
	first := func(name, path string) map[string]any {
		for k, v := range c.do(200, "GET", path, "") {
			if !strings.HasSuffix(k, "_links") {
				o := v.([]any)[0].(map[string]any)
				c.ids[name] = o["id"].(string)
				return o
			}
		}
		return nil
	}
	first("lb", lb+"loadbalancers?vip_address=10.1.0.50")
	first("li", lb+"listeners?loadbalancer_id={lb}")
	p := first("pool", lb+"pools?loadbalancer_id={lb}")
	first("w1", lb+"pools/{pool}/members")
	first("lb2", lb+"loadbalancers?vip_address=10.1.0.51")
	if len(p["loadbalancers"].([]any)) != 2 {
		t.Errorf("%v", p)
	}
	owned := func(method, path, body string) {
		t.Helper()
		if got := c.fault(409, method, path, body); !strings.Contains(got, "declared in lab.toml:") {
			t.Errorf("%s %s: %s", method, path, got)
		}
	}
	owned("DELETE", lb+"loadbalancers/{lb}?cascade=true", "")
	owned("DELETE", lb+"listeners/{li}", "")
	owned("DELETE", lb+"pools/{pool}", "")
	owned("DELETE", lb+"pools/{pool}/members/{w1}", "")
	owned("PUT", lb+"listeners/{li}", `{"listener":{"default_pool_id":null}}`)
	owned("PUT", lb+"pools/{pool}/members", `{"members":[{"address":"10.1.0.6","protocol_port":80}]}`)
	c.do(202, "PUT", lb+"pools/{pool}/members", `{"members":[{"address":"10.1.0.6","protocol_port":80,"name":"w2"},
		{"address":"10.1.0.5","protocol_port":80,"weight":3}]}`)
	c.list(lb+"pools/{pool}/members", "w1", "w2")
	c.do(202, "PUT", lb+"pools/{pool}/members", `{"members":[{"address":"10.1.0.5","protocol_port":80}]}`)
	c.list(lb+"pools/{pool}/members", "w1")
	c.fault(409, "POST", lb+"listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,
		"default_pool_id":"{pool}"}}`)
	c.make("l2", lb+"listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81}}`)
	c.do(http.StatusNoContent, "DELETE", lb+"listeners/{l2}", "")
	if o := c.do(200, "GET", lb+"pools/{pool}/members/{w1}", ""); o["operating_status"] != "NO_MONITOR" {
		t.Errorf("%v", o)
	}
}

// A load balancer of the API leaves the file's pool that it uses, when it goes.
func TestBalancerLeavesAFilesPool(t *testing.T) {
	f, err := file.Read("lab.toml", strings.NewReader(`
[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"

[[pool]]
name = "web"
protocol = "TCP"
`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(f.State(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := cloudOn(t, e, neutron.Options{Stated: f.Source})
	for x := range c.control.State().Subnets() {
		c.ids["sub"] = string(x.ID)
	}
	for x := range c.control.State().Pools() {
		c.ids["pool"] = string(x.ID)
	}
	c.make("lb", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}","listeners":[{"protocol":"TCP",
		"protocol_port":80,"default_pool_id":"{pool}"}]}}`)
	if o := c.do(200, "GET", lb+"pools/{pool}", ""); len(o["loadbalancers"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", lb+"loadbalancers/{lb}?cascade=true", "")
	c.list(lb+"pools", "web")
}

// A fake says how load balancers are doing.
type fake []router.LoadBalancer

func (f fake) LoadBalancer(config.ID) (router.LoadBalancer, bool) { return f[0], true }

func TestLiveStatuses(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	says := make(fake, 1)
	c := cloudOn(t, e, neutron.Options{Balancers: says})
	c.buildBalancer()
	id := func(name string) config.ID { return config.ID(c.ids[name]) }
	at := netip.MustParseAddrPort("172.16.101.3:8080")
	says[0] = router.LoadBalancer{OperatingStatus: router.Degraded, Listeners: []router.Listener{{
		ID: id("li"), OperatingStatus: router.Degraded, Refused: 4,
		Statistics: router.Statistics{Active: 1, Total: 2, BytesIn: 30, BytesOut: 40},
		Pool: router.PoolStatus{OperatingStatus: router.Error, Members: []router.MemberStatus{
			{ID: id("m1"), Address: at, OperatingStatus: router.Error},
			{ID: id("m2"), OperatingStatus: router.Offline},
			{ID: id("m2"), OperatingStatus: router.Error, Removed: true}}}}, {ID: id("hm")}}}
	for path, want := range map[string]string{"loadbalancers/{lb}": "DEGRADED", "listeners/{li}": "DEGRADED",
		"pools/{pool}": "ERROR", "pools/{pool}/members/{m1}": "ERROR", "pools/{pool}/members/{m2}": "OFFLINE"} {
		if o := c.do(200, "GET", lb+path, ""); o["operating_status"] != want {
			t.Errorf("%s: %v, want %s", path, o["operating_status"], want)
		}
	}
	c.list(lb+"pools/{pool}/members?operating_status=ERROR", "m1")
	for _, path := range []string{"listeners/{li}/stats", "loadbalancers/{lb}/stats"} {
		c.equals(c.do(200, "GET", lb+path, ""), `{"active_connections":1,"bytes_in":30,"bytes_out":40,
			"request_errors":4,"total_connections":2}`)
	}
	c.make("li2", lb+"listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81,
		"default_pool_id":"{pool}"}}`)
	says[0].Listeners[1] = router.Listener{ID: id("li2"), OperatingStatus: router.Online,
		Pool: router.PoolStatus{OperatingStatus: router.Online}}
	if o := c.do(200, "GET", lb+"pools/{pool}", ""); o["operating_status"] != "ERROR" { // the worse of two
		t.Errorf("%v", o)
	}
	c.make("p2", lb+"pools", `{"pool":{"loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN",
		"members":[{"address":"172.16.101.3","protocol_port":1}],
		"healthmonitor":{"type":"TCP","delay":5,"timeout":5,"max_retries":1}}}`)
	members := c.do(200, "GET", lb+"pools/{p2}/members", "")["members"].([]any)
	if o := members[0].(map[string]any); o["operating_status"] != "OFFLINE" {
		t.Errorf("%v", o)
	}
	c.ids["m3"] = members[0].(map[string]any)["id"].(string)
	if o := c.do(200, "PUT", lb+"pools/{p2}/members/{m3}",
		`{"member":{"weight":0}}`); o["operating_status"] != "DRAINING" { // whether or not it is checked
		t.Errorf("%v", o)
	}
}
