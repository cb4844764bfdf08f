package neutron_test

import (
	"regexp"
	"strings"
	"testing"
)

// Each mistake here was made on purpose once, and a client failed. The statuses of methods are in TestReplays.
func TestMistakesThatBreakAClient(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	if a := c.ask("GET", "/", ""); a.status != 200 || !strings.Contains(a.text, `"status":"CURRENT"`) {
		t.Errorf("no document at /: %d %s", a.status, a.text)
	}
	times := func(path, form string) {
		t.Helper()
		for _, name := range []string{"created_at", "updated_at"} {
			o := c.do(200, "GET", path, "")
			if s, ok := o[name].(string); ok && !regexp.MustCompile(form).MatchString(s) || !ok &&
				name == "created_at" {
				t.Errorf("%s of %s is %v", name, path, o[name])
			}
		}
	}
	const date = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`
	for _, path := range []string{"networks/{net}", "subnets/{sub}", "ports/{port}", "routers/{router}"} {
		times("/v2.0/"+path, date+"Z$")
	}
	for _, path := range []string{"loadbalancers/{lb}", "listeners/{li}", "pools/{pool}", "pools/{pool}/members/{m1}"} {
		times(lb+path, date+"$")
	}

	n := c.make("typed", "/v2.0/networks", `{"network":{"mtu":"1400","admin_state_up":"False","shared":"true"}}`)
	if n["mtu"] != 1400.0 || n["admin_state_up"] != false || n["shared"] != true {
		t.Errorf("text for a number or a boolean: %v %v %v", n["mtu"], n["admin_state_up"], n["shared"])
	}
	if o := c.do(200, "GET", "/v2.0/ports/{port}?fields=id&fields=security_group_ids", ""); len(o) != 1 {
		t.Errorf("an unknown name in fields: %v", o)
	}
	c.do(200, "GET", "/v2.0/ports?fields=id&fields=security_group_ids", "")
	for _, path := range []string{"/v2.0/ports/{port}?floatingip_id=x", lb + "pools/{pool}?pool_id=x"} {
		c.do(200, "GET", path, "") // an extra parameter for one object
	}
	if o := c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"external_gateway_info":{}}}`); o["status"] !=
		"ACTIVE" || o["external_gateway_info"] != nil {
		t.Errorf("an empty gateway is none: %v", o)
	}
	for _, path := range []string{"loadbalancers/{lb}", "listeners/{li}", "pools/{pool}"} {
		if o := c.do(200, "GET", lb+path, ""); o["provisioning_status"] != "ACTIVE" {
			t.Errorf("%s is %v", path, o["provisioning_status"])
		}
	}
	for _, path := range []string{"listeners/{li}", "pools/{pool}"} {
		if o := c.do(200, "GET", lb+path, ""); len(o["loadbalancers"].([]any)) != 1 {
			t.Errorf("loadbalancers of %s: %v", path, o["loadbalancers"])
		}
	}
	c.do(200, "PUT", lb+"pools/{pool}/members/{m1}", `{"member":{"weight":7}}`)
	if o := c.do(200, "PUT", lb+"pools/{pool}/members/{m1}", `{"member":{"weight":null}}`); o["weight"] != 1.0 {
		t.Errorf("null restores the default: %v", o["weight"])
	}
	o := c.make("pair", "/v2.0/ports", `{"port":{"network_id":"{net}","port_security_enabled":true,
		"allowed_address_pairs":[{"ip_address":"172.16.101.77"}]}}`)
	if pair := o["allowed_address_pairs"].([]any)[0].(map[string]any); pair["mac_address"] != o["mac_address"] {
		t.Errorf("a pair without its MAC address: %v", pair)
	}
}
