package neutron_test

import (
	"testing"
)

// A DHCP agent is listed beside the one that serves routers, and for the networks where it serves.
func TestDHCPAgent(t *testing.T) {
	c := newCloud(t)
	c.build() // without DHCP
	c.make("served", "/v2.0/networks", `{"network":{}}`)
	c.make("s", "/v2.0/subnets", `{"subnet":{"network_id":"{served}","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	list := func(path string) []any { return c.do(200, "GET", "/v2.0/"+path, "")["agents"].([]any) }
	all := list("agents")
	if len(all) != 2 {
		t.Fatalf("%v", all)
	}
	dhcp := all[1].(map[string]any)
	c.ids["dhcp"] = dhcp["id"].(string)
	c.equals(dhcp, `{"id":"{dhcp}","agent_type":"DHCP agent","binary":"taprouter","host":"here",
		"availability_zone":"nova","admin_state_up":true,"alive":true,"topic":"dhcp_agent","configurations":{},
		"resources_synced":true,"description":null,"created_at":"2026-01-02 03:04:05",
		"started_at":"2026-01-02 03:04:05","heartbeat_timestamp":"2026-01-02 03:04:05"}`)
	c.equals(c.do(200, "GET", "/v2.0/agents/{dhcp}", ""), textOf(dhcp))
	if got := textOf(list("networks/{served}/dhcp-agents")); got != textOf([]any{dhcp}) {
		t.Errorf("where DHCP is served: %s", got)
	}
	for path, want := range map[string]int{"networks/{net}/dhcp-agents": 0, "networks/{ext}/dhcp-agents": 0,
		"agents?agent_type=DHCP%20agent": 1, "agents?agent_type=Metadata%20agent": 0} {
		if got := list(path); len(got) != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if got := list("routers/{router}/l3-agents"); len(got) != 1 || textOf(got[0]) != textOf(all[0]) {
		t.Errorf("of a router: %v", got)
	}
}
