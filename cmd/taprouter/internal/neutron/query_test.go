package neutron_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
)

func TestFilters(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("vm4", "/v2.0/ports", `{"port":{"network_id":"{net}","name":"vm4","admin_state_up":false,
		"description":"four","device_id":"i-4","fixed_ips":[{"ip_address":"172.16.101.4"}]}}`)
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","description":"f",
		"floating_ip_address":"10.10.10.9","port_id":"{vm4}"}}`)
	c.make("free", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","description":"g"}}`)
	for query, want := range map[string]string{
		"networks?name=vlan101":                                                     "vlan101",
		"networks?name=VLAN101":                                                     "",
		"networks?name=none":                                                        "",
		"networks?name=vlan101&name=ext_net":                                        "ext_net vlan101",
		"networks?id={net}":                                                         "vlan101",
		"networks?id={net}&id={ext}":                                                "ext_net vlan101",
		"networks?id={net}&name=ext_net":                                            "",
		"networks?router%3Aexternal=True":                                           "ext_net",
		"networks?router:external=true":                                             "ext_net",
		"networks?router:external=False&shared=False":                               "vlan101",
		"networks?shared=True":                                                      "",
		"networks?admin_state_up=true&status=ACTIVE&mtu=1500":                       "ext_net vlan101",
		"networks?project_id=" + neutron.DefaultProject:                             "ext_net vlan101",
		"networks?tenant_id=x":                                                      "",
		"networks?subnets={sub}":                                                    "vlan101",
		"networks?provider:network_type=local&vlan_transparent=":                    "ext_net vlan101",
		"networks?revision_number=1":                                                "ext_net vlan101",
		"subnets?network_id={net}":                                                  "sub",
		"subnets?name=sub&network_id={ext}":                                         "",
		"subnets?cidr=172.16.101.0/24&ip_version=4&enable_dhcp=False":               "sub",
		"subnets?ip_version=6":                                                      "",
		"subnets?gateway_ip=10.10.10.4":                                             "extsub",
		"subnets?ipv6_ra_mode=x":                                                    "",
		"ports?name=vm4&network_id={net}":                                           "vm4",
		"ports?device_id=i-4&device_id=i-5":                                         "vm4",
		"ports?admin_state_up=False":                                                "vm4",
		"ports?status=DOWN":                                                         "vm4",
		"ports?description=four":                                                    "vm4",
		"ports?mac_address=02:00:00:00:65:03":                                       "vm3",
		"ports?mac_address=02-00-00-00-65-03":                                       "vm3",
		"ports?security_groups=x":                                                   "",
		"ports?fixed_ips=ip_address%3D172.16.101.4":                                 "vm4",
		"ports?fixed_ips=ip_address=172.16.101.4":                                   "vm4",
		"ports?fixed_ips=subnet_id%3D{sub}&name=vm3":                                "vm3",
		"ports?fixed_ips=subnet_id%3D{extsub}&name=vm3":                             "",
		"ports?fixed_ips=ip_address_substr%3D.101.4":                                "vm4",
		"ports?fixed_ips=ip_address=172.16.101.4&fixed_ips=ip_address=172.16.101.3": "vm3 vm4",
		"ports?fixed_ips=ip_address=172.16.101.4&fixed_ips=subnet_id={sub}":         "vm4",
		"ports?fixed_ips=ip_address=172.16.101.4&fixed_ips=subnet_id={extsub}":      "",
		"ports?fixed_ips=ip_address_substr=172.16.101&fixed_ips=ip_address_substr=.4&name=vm3&name=vm4": "vm3 vm4",
		"routers?name=r1&distributed=false":                       "r1",
		"routers?ha=True":                                         "",
		"floatingips?floating_ip_address=10.10.10.9":              "f",
		"floatingips?fixed_ip_address=172.16.101.4&port_id={vm4}": "f",
		"floatingips?port_id={vm4}&port_id={port}":                "f",
		"floatingips?router_id={router}":                          "f",
		"floatingips?status=DOWN":                                 "g",
		"floatingips?port_id=":                                    "g",
		"floatingips?floating_network_id={ext}":                   "f g",
		"floatingips?floating_network_id={net}":                   "",
	} {
		if got := strings.Join(c.names("/v2.0/"+query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestUnknownQueriesAreRefused(t *testing.T) {
	c := newCloud(t) // also where the list is empty
	for _, query := range []string{"networks?x=1", "networks?network_type=flat", "networks?=1", "subnets?status=x",
		"ports?port_id=x", "routers?external_gateway_info=x", "routers?routes=x", "floatingips?name=x",
		"ports?fixed_ips=x", "ports?fixed_ips=x=y", "ports?allowed_address_pairs=x", "networks?limit=x",
		"networks?limit=-1", "networks?limit=99999999999999999999", "networks?sort_key=x", "networks?sort_dir=asc",
		"networks?sort_key=name&sort_dir=up", "networks?sort_key=name&sort_dir=asc&sort_dir=asc",
		"networks?sort_key=name&sort_key=id&sort_dir=asc", "networks?sort_key=tags", "networks?page_reverse=maybe",
		"networks?name=%zz", "networks?a;b"} {
		c.refuse(400, "HTTPBadRequest", "GET", "/v2.0/"+query, "")
	}
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks?marker=x", "")
	c.build() // what can be written and is not shown is no filter
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	for _, query := range []string{"subnet_id={extsub}", "sort_key=subnet_id"} {
		c.refuse(400, "HTTPBadRequest", "GET", "/v2.0/floatingips?"+query, "")
	}
}

// A query that says the same, or what nobody knows, thousands of times costs little for each object of a list.
func TestLongQueries(t *testing.T) {
	c := newCloud(t)
	c.build()
	for range 40 {
		c.do(201, "POST", "/v2.0/ports", `{"port":{"network_id":"{net}"}}`)
	}
	work := func(query string) float64 {
		return testing.AllocsPerRun(1, func() { c.do(200, "GET", "/v2.0/ports"+query, "") })
	}
	usual := work("?sort_key=status&fields=fixed_ips")
	for _, query := range []string{"?sort_key=status" + strings.Repeat("&sort_key=status", 3000),
		"?fields=fixed_ips" + strings.Repeat("&fields=fixed_ips", 3000)} {
		if n := work(query); n > 20*usual+10*3000 {
			t.Errorf("%.20s...: %.0f allocations, %.0f for one", query, n, usual)
		}
	}
	if got := c.names("/v2.0/networks?tags-any=" + strings.Repeat("x,", 3000) + "x"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestFields(t *testing.T) {
	c := newCloud(t)
	c.build()
	for query, want := range map[string]string{
		"?fields=name":                           `{"name":"vm3"}`,
		"?fields=name&fields=id":                 `{"name":"vm3","id":"{port}"}`,
		"?fields=name&fields=security_group_ids": `{"name":"vm3"}`,
		"?fields=security_group_ids":             `{}`,
		"?fields=status&fields=fixed_ips&fields=admin": `{"status":"ACTIVE",
			"fixed_ips":[{"subnet_id":"{sub}","ip_address":"172.16.101.3"}]}`,
	} {
		list := c.do(200, "GET", "/v2.0/ports"+query+"&name=vm3", "")["ports"].([]any)
		c.equals(list[0].(map[string]any), want)
		c.equals(c.do(200, "GET", "/v2.0/ports/{port}"+query+"&name=x", ""), want)
	}
	if o := c.do(200, "GET", "/v2.0/ports/{port}?fields=", ""); len(o) < 20 {
		t.Errorf("%v", o)
	}
}

func TestTagFilters(t *testing.T) {
	c := newCloud(t)
	for name, tags := range map[string]string{"a": `"x"`, "b": `"x","y"`, "c": `"y"`, "d": ``} {
		c.make(name, "/v2.0/networks", `{"network":{"name":"`+name+`"}}`)
		c.do(200, "PUT", "/v2.0/networks/{"+name+"}/tags", `{"tags":[`+tags+`]}`)
	}
	for query, want := range map[string]string{"tags=x": "a b", "tags=x,y": "b", "tags=x&tags=y": "b",
		"tags-any=x,y": "a b c", "not-tags=x": "c d", "not-tags=x,y": "a c d", "not-tags-any=x,y": "d", "tags=z": ""} {
		got := c.names("/v2.0/networks?sort_key=name&" + query)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if _, err := c.control.Edit(t.Context(), func(d *config.Draft) error { // as a file may say it
		n := *d.Network(config.ID(c.ids["a"]))
		n.Tags = []string{"x", "x"}
		d.Put(&n)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.list("/v2.0/networks?tags=x,y", "b")
}

func TestSort(t *testing.T) {
	c := newCloud(t)
	for _, x := range []struct {
		name string
		mtu  int
		up   bool
	}{{"b", 1400, true}, {"a", 9000, true}, {"d", 1400, false}, {"c", 600, true}} {
		c.do(201, "POST", "/v2.0/networks", fmt.Sprintf(`{"network":{"name":%q,"mtu":%d,"admin_state_up":%t}}`, x.name,
			x.mtu, x.up))
	}
	for query, want := range map[string]string{
		"":                             "badc", // as they were created
		"?sort_key=name":               "abcd",
		"?sort_key=name&sort_dir=desc": "dcba",
		"?sort_key=mtu":                "cbda", // numbers, not texts
		"?sort_key=mtu&sort_key=name&sort_dir=asc&sort_dir=desc": "cdba",
		"?sort_key=admin_state_up&sort_key=name":                 "dabc",
		"?sort_key=qos_policy_id":                                "badc",
		"?sort_key=subnets":                                      "badc",
		"?sort_key=mtu&limit=2":                                  "cb",
	} {
		if got := strings.Join(c.names("/v2.0/networks"+query), ""); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// follow reads a list page by page.
func (c *cloud) follow(path, rel string) (pages []string) {
	c.t.Helper()
	for path != "" && len(pages) < 20 {
		body := c.do(200, "GET", path, "")
		pages = append(pages, strings.Join(namesIn(c.t, body, path), ""))
		path = ""
		for k, v := range body {
			if !strings.HasSuffix(k, "_links") {
				continue
			}
			l := v.([]any)[0].(map[string]any)
			if l["rel"] != rel || len(v.([]any)) != 1 {
				c.t.Errorf("link %v", l)
			}
			u, err := url.Parse(l["href"].(string))
			if err != nil || u.Scheme+"://"+u.Host != c.server.URL {
				c.t.Fatalf("link %v", l)
			}
			path = u.RequestURI()
		}
	}
	return pages
}

func TestPages(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"c", "a", "e", "b", "d"} {
		c.make(name, "/v2.0/networks", `{"network":{"name":"`+name+`","mtu":`+fmt.Sprint(1400+len(c.ids)%2)+`}}`)
	}
	for path, want := range map[string][]string{
		"?limit=1":                             {"c", "a", "e", "b", "d"},
		"?limit=2":                             {"ca", "eb", "d"},
		"?limit=5":                             {"caebd"},
		"?limit=0":                             {"caebd"},
		"":                                     {"caebd"},
		"?limit=2&sort_key=name":               {"ab", "cd", "e"},
		"?limit=1&sort_key=name&sort_dir=desc": {"e", "d", "c", "b", "a"},
		"?limit=2&sort_key=mtu":                {"ce", "da", "b"},
		"?limit=2&name=a&name=b&name=d":        {"ab", "d"},
		"?limit=2&marker={a}":                  {"eb", "d"},
		"?marker={a}":                          {"ebd"},
		"?marker={d}":                          {""},
		"?limit=2&marker={e}&name=a&name=d":    {"d"}, // the marker need not match
		"?limit=2&sort_key=name&marker={c}&name=a&name=d&name=e": {"de"},
	} {
		if got := c.follow("/v2.0/networks"+path, "next"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string][]string{
		"?limit=2&page_reverse=True":                           {"bd", "ae", "c"},
		"?limit=2&page_reverse=True&marker={b}":                {"ae", "c"},
		"?limit=1&page_reverse=true&sort_key=name":             {"e", "d", "c", "b", "a"},
		"?page_reverse=True&marker={e}":                        {"ca"},
		"?limit=2&page_reverse=True&marker={c}":                {""},
		"?limit=2&page_reverse=False&sort_key=name&marker={c}": {"de"},
	} {
		if got := c.follow("/v2.0/networks"+path, "previous"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	// A marker that goes between two pages is an error, and not the first page again.
	c.do(204, "DELETE", "/v2.0/networks/{a}", "")
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks?limit=2&marker={a}", "")
	a := c.ask("GET", "/v2.0/networks?limit=1&fields=id&sort_key=id", "")
	want := fmt.Sprintf(`"networks_links":[{"rel":"next","href":"%s/v2.0/networks?fields=id&limit=1&marker=%s&`+
		`sort_key=id"}]`, c.server.URL, c.ids["c"])
	if !strings.Contains(a.text, want) {
		t.Errorf("%s, want %s", a.text, want)
	}
}

// fuzzed is a cloud to which a fuzz target sends requests without a network in between.
func fuzzed(f *testing.F) (*cloud, http.Handler) {
	c := newCloud(f)
	c.buildBalancer()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}","port_id":"{port}"}}`)
	return c, c.server.Config.Handler
}

// consistent fails unless a State is right when it is checked from scratch.
func consistent(t *testing.T, s *config.State) {
	t.Helper()
	d := config.Empty().Edit()
	for o := range s.All() {
		d.Put(o)
	}
	if _, faults := d.Check(); faults.Err() != nil {
		t.Errorf("the State is wrong: %v", faults)
	}
}
