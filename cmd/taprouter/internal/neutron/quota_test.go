package neutron_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// textOf writes a value as JSON.
func textOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func parsed(t *testing.T, text string) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err, text)
	}
	return o
}

const (
	quotasPath   = "/v2.0/quotas/" + neutron.DefaultProject
	lbQuotasPath = "/v2.0/lbaas/quotas/" + neutron.DefaultProject
)

func TestQuotas(t *testing.T) {
	c := newCloud(t)
	c.build()
	all := `"subnet":-1,"router":-1,"floatingip":-1,"security_group":-1,"security_group_rule":-1,"address_group":-1,
		"rbac_policy":-1,"trunk":-1,"loadbalancer":-1,"load_balancer":-1,"healthmonitor":-1,"health_monitor":-1,
		"listener":-1,"pool":-1,"member":-1,"l7policy":-1,"l7rule":-1,` + project
	c.equals(c.do(200, "GET", quotasPath, ""), `{"network":-1,"port":-1,"subnetpool":-1,`+all+`}`)
	c.equals(c.do(200, "PUT", quotasPath, `{"quota":{"network":"3","port":-1,"subnetpool":7}}`),
		`{"network":3,"port":-1,"subnetpool":7,`+all+`}`)
	c.equals(c.do(200, "GET", quotasPath, ""), `{"network":3,"port":-1,"subnetpool":7,`+all+`}`)
	c.equals(c.do(200, "GET", quotasPath+"/default", ""), `{"network":-1,"port":-1,"subnetpool":-1,`+all+`}`)
	for _, path := range []string{"/details", "/details.json"} {
		o := c.do(200, "GET", quotasPath+path, "")
		c.equals(o["network"].(map[string]any), `{"limit":3,"used":2,"reserved":0}`)
		c.equals(o["subnetpool"].(map[string]any), `{"limit":7,"used":0,"reserved":0}`)
	}
	c.make("third", "/v2.0/networks", `{"network":{}}`)
	if got := c.refuse(409, "OverQuota", "POST", "/v2.0/networks", `{"network":{}}`); got !=
		"Quota exceeded for resources: ['network']." {
		t.Errorf("%q", got)
	}
	c.do(200, "PUT", quotasPath, `{"quota":{"network":0}}`) // the networks stay, and can be changed
	c.do(200, "PUT", "/v2.0/networks/{third}", `{"network":{"name":"x"}}`)
	c.do(204, "DELETE", "/v2.0/networks/{third}", "")
	c.refuse(409, "OverQuota", "POST", "/v2.0/networks", `{"network":{}}`)
	if o := c.do(200, "GET", "/v2.0/quotas", ""); len(o["quotas"].([]any)) != 1 {
		t.Errorf("%v", o)
	}

	c.equals(c.do(202, "PUT", lbQuotasPath, `{"quota":{"loadbalancer":0,"health_monitor":4,"pool":null,"l7rule":5}}`),
		`{"loadbalancer":0,"load_balancer":0,"healthmonitor":4,"health_monitor":4,"listener":-1,"pool":-1,"member":-1,
		"l7policy":-1,"l7rule":5,`+project+`}`)
	a := c.ask("POST", "/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	if a.status != 403 || !strings.Contains(a.text, `"faultstring":"Quota has been met for resources: LoadBalancer"`) {
		t.Errorf("%d %s", a.status, a.text)
	}
	if o := c.do(200, "GET", "/v2.0/lbaas/quotas", ""); len(o["quotas"].([]any)) != 1 {
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", lbQuotasPath, "")
	if o := c.do(200, "GET", "/v2.0/lbaas/quotas", ""); len(o["quotas"].([]any)) != 0 { // the other API has one
		t.Errorf("%v", o)
	}
	// the other API's is as it was
	c.refuse(409, "OverQuota", "POST", "/v2.0/networks", `{"network":{}}`)
	if o := c.do(200, "PUT", quotasPath, `{"quota":{"loadbalancer":0}}`); o["loadbalancer"] != 0. { // as gophercloud
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", quotasPath, "")
	c.make("fourth", "/v2.0/networks", `{"network":{}}`)
	if c.control.State().Quota() != nil {
		t.Error("there is a quota without limits")
	}
	c.do(200, "PUT", quotasPath, `{"quota":{`+project+`}}`) // whose quota it is may stand in it
	for _, body := range []string{`{"quota":{"network":-2}}`, `{"quota":{"network":"x"}}`, `{"quota":{"x":1}}`, `{}`} {
		c.refuse(400, "HTTPBadRequest", "PUT", quotasPath, body)
	}
	c.refuse(404, "ProjectNotFound", "GET", "/v2.0/quotas/x", "")

	// Each resource of the load-balancing API has a limit of its own.
	b := newCloud(t)
	b.buildBalancer()
	for name, x := range map[string][3]string{
		"listener": {"listeners", `"loadbalancer_id":"{lb}","protocol":"TCP","protocol_port":81`, "Listener"},
		"pool":     {"pools", `"loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN"`, "Pool"},
		"member":   {"pools/{pool}/members", `"address":"172.16.101.9","protocol_port":81`, "Member"},
		"healthmonitor": {"healthmonitors", `"pool_id":"{empty}","type":"TCP","delay":5,"timeout":5,"max_retries":1`,
			"HealthMonitor"},
	} {
		if name == "healthmonitor" {
			b.make("empty", lb+"pools",
				`{"pool":{"loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"SOURCE_IP"}}`)
		}
		b.do(202, "PUT", lbQuotasPath, `{"quota":{"`+name+`":1}}`)
		a := b.ask("POST", lb+x[0], `{"`+name+`":{`+x[1]+`}}`)
		if a.status != 403 || !strings.Contains(a.text, `"Quota has been met for resources: `+x[2]+`"`) {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		b.do(204, "DELETE", lbQuotasPath, "")
	}

	// The group that the API makes by itself counts for nothing.
	d := newCloud(t)
	d.do(200, "PUT", quotasPath, `{"quota":{"security_group":0,"security_group_rule":0}}`)
	d.build()
	d.refuse(409, "OverQuota", "POST", groupsPath, `{"security_group":{"name":"g"}}`)
}

func TestInventory(t *testing.T) {
	c := newCloud(t)
	c.build()
	agents := c.do(200, "GET", "/v2.0/agents?agent_type=L3%20agent&alive=True", "")["agents"].([]any)
	agent := agents[0].(map[string]any)
	c.ids["agent"] = agent["id"].(string)
	for name, want := range map[string]any{"agent_type": "L3 agent", "alive": true, "admin_state_up": true,
		"availability_zone": "nova", "host": "here", "started_at": "2026-01-02 03:04:05"} {
		if agent[name] != want {
			t.Errorf("%s is %v", name, agent[name])
		}
	}
	c.equals(c.do(200, "GET", "/v2.0/agents/{agent}", ""), textOf(agent))
	c.refuse(404, "AgentNotFound", "GET", "/v2.0/agents/x", "")
	c.refuse(400, "HTTPBadRequest", "GET", "/v2.0/agents?x=1", "")
	for path, want := range map[string]int{"agents?agent_type=Metadata%20agent": 0, "routers/{router}/l3-agents": 1,
		"networks/{net}/dhcp-agents": 0} {
		if list := c.do(200, "GET", "/v2.0/"+path, "")["agents"].([]any); len(list) != want {
			t.Errorf("%s: %v", path, list)
		}
	}
	c.refuse(404, "RouterNotFound", "GET", "/v2.0/routers/x/l3-agents", "")
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks/x/dhcp-agents", "")
	if o := c.do(200, "GET", "/v2.0/agents?fields=id&fields=x&limit=1", ""); textOf(o["agents"]) !=
		`[{"id":"`+c.ids["agent"]+`"}]` {
		t.Errorf("%v", o)
	}
	zones := c.do(200, "GET", "/v2.0/availability_zones?resource=router", "")["availability_zones"].([]any)
	if len(zones) != 1 {
		t.Errorf("%v", zones)
	}

	c.make("six", "/v2.0/networks", `{"network":{"name":"six"}}`)
	one := `{"network_id":"{net}","network_name":"vlan101",` + project + `,"total_ips":253,"used_ips":2,
		"subnet_ip_availability":[{"subnet_id":"{sub}","subnet_name":"sub","cidr":"172.16.101.0/24","ip_version":4,
		"total_ips":253,"used_ips":2}]}`
	c.equals(c.do(200, "GET", "/v2.0/network-ip-availabilities/{net}", ""), one)
	for query, want := range map[string]int{"": 3, "?network_id={net}": 1, "?ip_version=4": 3, "?network_name=six": 1,
		"?network_id={net}&ip_version=6": 1} {
		list := c.do(200, "GET", "/v2.0/network-ip-availabilities"+query, "")["network_ip_availabilities"].([]any)
		if len(list) != want {
			t.Errorf("%s: %v", query, list)
		}
		if strings.HasSuffix(query, "=6") && len(list[0].(map[string]any)["subnet_ip_availability"].([]any)) != 0 {
			t.Errorf("%s: %v", query, list)
		}
	}
	c.refuse(400, "HTTPBadRequest", "GET", "/v2.0/network-ip-availabilities?ip_version=5", "")

	// An address of a port, of a floating IP or of a load balancer is used once, in its own subnet.
	used := func() (all []string) {
		o := c.do(200, "GET", "/v2.0/network-ip-availabilities/{net}", "")
		for _, x := range o["subnet_ip_availability"].([]any) {
			all = append(all, textOf(x.(map[string]any)["used_ips"]))
		}
		return append(all, textOf(o["used_ips"]))
	}
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"172.16.102.0/24",
		"enable_dhcp":false}}`)
	c.make("two", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"subnet_id":"{sub}"},
		{"subnet_id":"{sub2}"}]}}`)
	if got := used(); !slices.Equal(got, []string{"3", "1", "4"}) {
		t.Errorf("a port on two subnets: %q", got)
	}
	c.make("at", "/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_port_id":"{two}","vip_subnet_id":"{sub}"}}`)
	c.make("own", "/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub2}"}}`)
	if got := used(); !slices.Equal(got, []string{"3", "2", "5"}) {
		t.Errorf("two load balancers, one on a user's port: %q", got)
	}
	before := c.do(200, "GET", "/v2.0/network-ip-availabilities/{ext}", "")["used_ips"].(float64)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	if o := c.do(200, "GET", "/v2.0/network-ip-availabilities/{ext}", ""); o["used_ips"] != before+1 {
		t.Errorf("a floating IP: %v, %v before", o["used_ips"], before)
	}
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/network-ip-availabilities/x", "")
	provider := c.do(200, "GET", "/v2.0/lbaas/providers?name=taprouter&limit=1", "")
	c.equals(provider, `{"providers":[{"name":"taprouter","description":"The load balancers of this router."}],
		"providers_links":[]}`)
	for _, query := range []string{"name=other", "limit=1&marker=taprouter"} {
		c.equals(c.do(200, "GET", "/v2.0/lbaas/providers?"+query, ""), `{"providers":[],"providers_links":[]}`)
	}
	c.fault(400, "GET", "/v2.0/lbaas/providers?x=1", "")
	for _, path := range []string{"l7policies?listener_id=x", "flavors", "flavorprofiles", "availabilityzones",
		"providers/taprouter/flavor_capabilities"} {
		c.names("/v2.0/lbaas/" + path)
	}
	c.fault(404, "GET", "/v2.0/lbaas/l7policies/x", "")
	c.fault(405, "POST", "/v2.0/lbaas/l7policies", "{}")
}

// What is set aside is shown with the reason, cannot be changed, and can be deleted.
func TestAside(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	id := func(n byte) config.ID { return config.NewID([16]byte{9, n}) }
	asides := []neutron.Aside{
		{Object: &config.Network{Meta: config.Meta{ID: id(1), Name: "lost"}}, Reason: "its VLAN is another network's"},
		{Object: &config.Port{Meta: config.Meta{ID: id(2), Name: "alone"}, Network: id(1)},
			Reason: "its network is set aside"},
		{Object: &config.LoadBalancer{Meta: config.Meta{ID: id(3), Name: "lb"}, Network: id(1)}, Reason: "likewise"},
		{Object: &config.FloatingIP{Meta: config.Meta{ID: id(4)}, Network: id(1)}, Reason: "likewise"},
	}
	var c *cloud
	c = cloudOn(t, e, neutron.Options{
		Aside: func() []neutron.Aside {
			return append(slices.Clone(asides),
				neutron.Aside{Object: &config.Member{Meta: config.Meta{ID: id(5), Name: "a member"},
					Pool: config.ID(c.ids["pool"])}, Reason: "likewise"},
				neutron.Aside{Object: &config.PortForwarding{Meta: config.Meta{ID: id(6)}, FloatingIP: id(4)},
					Reason: "likewise"})
		},
		Forget: func(_ context.Context, r config.Ref) error {
			if r.ID != id(1) {
				return errors.New("the disk is full")
			}
			asides = asides[1:]
			return nil
		},
	})
	c.buildBalancer()
	c.make("p2", "/v2.0/lbaas/pools", `{"pool":{"loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"SOURCE_IP"}}`)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	c.list("/v2.0/networks", "ext_net", "vlan101", "lost")
	c.list("/v2.0/networks?status=ERROR", "lost")
	c.list("/v2.0/networks?status=ACTIVE", "ext_net", "vlan101")
	for path, n := range map[string]byte{"networks": 1, "ports": 2, "floatingips": 4} {
		o := c.do(200, "GET", "/v2.0/"+path+"/"+string(id(n)), "")
		if o["status"] != "ERROR" || o["status_reason"] != asides[n-1].Reason {
			t.Errorf("%s: %v", path, o)
		}
	}
	o := c.do(200, "GET", "/v2.0/lbaas/loadbalancers/"+string(id(3)), "")
	if o["provisioning_status"] != "ERROR" || o["operating_status"] != "ERROR" {
		t.Errorf("%v", o)
	}
	if o := c.do(200, "GET", "/v2.0/networks/{net}", ""); o["status"] != "ACTIVE" || o["status_reason"] != nil {
		t.Errorf("%v", o)
	}
	got := c.refuse(409, "SetAside", "PUT", "/v2.0/networks/"+string(id(1)), `{"network":{"name":"x"}}`)
	if !strings.Contains(got, "its VLAN is another network's") {
		t.Errorf("%q", got)
	}
	c.refuse(409, "SetAside", "PUT", "/v2.0/networks/"+string(id(1))+"/tags", `{"tags":["x"]}`)
	c.refuse(500, "HTTPInternalServerError", "DELETE", "/v2.0/ports/"+string(id(2)), "")
	c.list("/v2.0/lbaas/pools/{pool}/members", "m1", "m2", "a member")
	c.list("/v2.0/lbaas/pools/{p2}/members")
	c.fault(404, "GET", "/v2.0/lbaas/pools/{p2}/members/"+string(id(5)), "")
	if list := c.do(200, "GET", "/v2.0/floatingips/{fip}/port_forwardings", "")["port_forwardings"].([]any); len(
		list) != 0 {
		t.Errorf("the forwarded ports of another floating IP: %v", list)
	}
	c.do(204, "DELETE", "/v2.0/networks/"+string(id(1)), "")
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks/"+string(id(1)), "")
	d := cloudOn(t, e, neutron.Options{Aside: func() []neutron.Aside { return asides }}) // which nothing can forget
	d.refuse(409, "SetAside", "DELETE", "/v2.0/ports/"+string(id(2)), "")
}

// A load balancer on a user's port leaves the port when it goes.
func TestBalancerOnUsersPort(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("vip", "/v2.0/ports", `{"port":{"network_id":"{net}","name":"vip",
		"fixed_ips":[{"ip_address":"172.16.101.77"}]}}`)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{vip}"}}`)
	const lbs = "/v2.0/lbaas/loadbalancers"
	c.fault(400, "POST", lbs, `{"loadbalancer":{"vip_port_id":"{net}"}}`)
	c.fault(400, "POST", lbs, `{"loadbalancer":{"vip_port_id":"{iface}"}}`)
	c.fault(400, "POST", lbs, `{"loadbalancer":{"vip_port_id":"{vip}","vip_network_id":"{ext}"}}`)
	c.fault(400, "POST", lbs, `{"loadbalancer":{"vip_port_id":"{vip}","vip_address":"172.16.101.78"}}`)
	o := c.make("lb", lbs, `{"loadbalancer":{"vip_port_id":"{vip}"}}`)
	if o["vip_address"] != "172.16.101.77" || o["vip_port_id"] != c.ids["vip"] || o["vip_subnet_id"] != c.ids["sub"] {
		t.Errorf("%v", o)
	}
	c.fault(409, "POST", lbs, `{"loadbalancer":{"vip_port_id":"{vip}"}}`)
	c.list("/v2.0/ports?fixed_ips=ip_address%3D172.16.101.77", "vip")
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["port_id"] != c.ids["vip"] {
		t.Errorf("%v", o)
	}
	c.refuse(409, "PortInUse", "DELETE", "/v2.0/ports/{vip}", "")
	c.do(204, "DELETE", lbs+"/{lb}", "")
	c.do(200, "GET", "/v2.0/ports/{vip}", "")
	if o := c.do(200, "GET", "/v2.0/floatingips/{fip}", ""); o["port_id"] != c.ids["vip"] || o["status"] != "ACTIVE" {
		t.Errorf("%v", o)
	}
	c.do(204, "DELETE", "/v2.0/ports/{vip}", "")

	// Of its own port, only the security groups can be set.
	own := c.make("lb", lbs, `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	c.ids["own"] = own["vip_port_id"].(string)
	c.theDefault()
	p := c.do(200, "PUT", "/v2.0/ports/{own}", `{"port":{"security_groups":["{def}"]}}`)
	if p["device_owner"] != "Octavia" || textOf(p["security_groups"]) != `["`+c.ids["def"]+`"]` {
		t.Errorf("%v", p)
	}
	c.list("/v2.0/ports?security_groups={def}&device_owner=Octavia", "octavia-lb-"+c.ids["lb"])
	c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{own}", `{"port":{"name":"x"}}`)
	c.refuse(409, "ServicePortInUse", "PUT", "/v2.0/ports/{own}", `{"port":{"name":"x","security_groups":[]}}`)
	for revision, status := range map[string]int{"1": 412, "2": 200} { // the load balancer's
		req, _ := http.NewRequest("PUT", c.server.URL+c.fill("/v2.0/ports/{own}"), strings.NewReader(
			c.fill(`{"port":{"security_groups":["{def}"]}}`)))
		req.Header.Set("If-Match", "revision_number="+revision)
		if a := c.send(req); a.status != status {
			t.Errorf("revision %s: %d %s", revision, a.status, a.text)
		}
	}
	c.refuse(404, "SecurityGroupNotFound", "PUT", "/v2.0/ports/{own}", `{"port":{"security_groups":["{net}"]}}`)
	if p := c.do(200, "PUT", "/v2.0/ports/{own}",
		`{"port":{"security_groups":null}}`); len(p["security_groups"].([]any)) != 0 {
		t.Errorf("%v", p)
	}
}

// HTTP and HTTPS are shown as they were asked for, and served as TCP.
func TestApplications(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("lb", "/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	for i, protocol := range []string{"HTTP", "HTTPS", "TCP"} {
		o := c.make("l", "/v2.0/lbaas/listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"`+protocol+`",
			"protocol_port":`+textOf(80+i)+`,"default_pool":{"protocol":"`+protocol+`","lb_algorithm":"SOURCE_IP"}}}`)
		c.ids["p"] = o["default_pool_id"].(string)
		if p := c.do(200, "GET", "/v2.0/lbaas/pools/{p}", ""); o["protocol"] != protocol || p["protocol"] != protocol {
			t.Errorf("%v %v", o, p)
		}
		if l := c.control.State().Listener(config.ID(c.ids["l"])); l.Protocol != config.TCP {
			t.Errorf("%+v", l)
		}
	}
	c.list("/v2.0/lbaas/listeners?protocol=HTTPS", "")
}
