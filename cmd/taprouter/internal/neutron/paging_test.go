package neutron_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// Clients that name a limit ask for pages until one is empty, also of lists that are no objects of a State.
func TestPagesOfInventory(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"b", "a", "c"} {
		c.make(name, "/v2.0/networks", `{"network":{"name":"`+name+`"}}`)
	}
	c.ids["agent"] = c.do(200, "GET", "/v2.0/agents", "")["agents"].([]any)[0].(map[string]any)["id"].(string)
	for path, want := range map[string]string{
		"network-ip-availabilities":                                        "b a c",
		"network-ip-availabilities?limit=2":                                "b a | c",
		"network-ip-availabilities?limit=2&ip_version=4":                   "b a | c",
		"network-ip-availabilities?limit=0":                                "b a c",
		"network-ip-availabilities?marker={a}":                             "c",
		"network-ip-availabilities?marker={a}&network_name=c":              "c",
		"network-ip-availabilities?limit=1&marker={c}":                     "",
		"network-ip-availabilities?sort_key=network_name&limit=2":          "a b | c",
		"network-ip-availabilities?sort_key=network_name&sort_dir=desc":    "c b a",
		"network-ip-availabilities?limit=2&page_reverse=True":              "a c | b",
		"network-ip-availabilities?page_reverse=true&marker={a}":           "b",
		"network-ip-availabilities?fields=network_name&limit=2":            "b a | c",
		"agents?limit=1&marker={agent}&agent_type=L3%20agent":              "",
		"availability_zones?limit=1&sort_key=resource&marker=nova":         "",
		"availability_zones?limit=1&sort_key=resource&resource=router":     "router",
		"availability_zones?page_reverse=True&marker=nova&resource=router": "",
		"availability_zones?page_reverse=True&marker=nova":                 "network",
		"availability_zones?sort_key=resource&sort_dir=desc":               "router network",
		"availability_zones?sort_key=name&sort_key=resource&fields=state":  "<nil> <nil>",
	} {
		var pages []string
		for next := "/v2.0/" + path; next != "" && len(pages) < 9; {
			a := c.ask("GET", next, "")
			if a.status != 200 {
				t.Fatalf("%s: %d %s", next, a.status, a.text)
			}
			var names []string
			next = ""
			for key, list := range a.body {
				for _, x := range list.([]any) {
					o := x.(map[string]any)
					switch href, isLink := o["href"].(string); {
					case strings.HasSuffix(key, "_links") && isLink:
						next = strings.TrimPrefix(href, c.server.URL)
					case o["network_name"] != nil:
						names = append(names, o["network_name"].(string))
					default:
						names = append(names, fmt.Sprint(o["resource"]))
					}
				}
			}
			pages = append(pages, strings.Join(names, " "))
		}
		if got := strings.Join(pages, " | "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, query := range []string{"limit=x", "page_reverse=x", "sort_key=x", "sort_key=total_ips", "sort_dir=asc",
		"sort_key=network_name&sort_dir=up"} {
		c.refuse(400, "HTTPBadRequest", "GET", "/v2.0/network-ip-availabilities?"+query, "")
	}
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/network-ip-availabilities?marker=x", "")
	c.refuse(404, "AgentNotFound", "GET", "/v2.0/agents?marker=x", "")
}

// What is set aside has its place among the pages of a list, and its tags can be read.
func TestPagesWithAsides(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var asides []neutron.Aside
	for i, name := range []string{"d", "b"} {
		asides = append(asides, neutron.Aside{Reason: "lost", Object: &config.Network{
			Meta: config.Meta{ID: config.NewID([16]byte{9, byte(i)}), Name: name, Tags: []string{"t"}}}})
	}
	c := cloudOn(t, e, neutron.Options{Aside: func() []neutron.Aside { return asides }})
	for _, name := range []string{"c", "a"} {
		c.make(name, "/v2.0/networks", `{"network":{"name":"`+name+`"}}`)
	}
	c.ids["d"], c.ids["b"] = string(asides[0].Object.About().ID), string(asides[1].Object.About().ID)
	for path, want := range map[string][]string{
		"?limit=1":                                   {"c", "a", "d", "b"},
		"?limit=3&sort_key=name":                     {"abc", "d"},
		"?marker={b}":                                {""}, // as Horizon asks for what follows the last one
		"?marker={a}&name=b&name=c":                  {"b"},
		"?marker={d}&name=b&name=c":                  {"b"},
		"?limit=1&sort_key=name&marker={b}&status=x": {""},
		"?sort_key=name&marker={b}&name=d&name=a":    {"d"},
	} {
		if got := c.follow("/v2.0/networks"+path, "next"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	c.equals(c.do(200, "GET", "/v2.0/networks/{d}/tags", ""), `{"tags":["t"]}`)
	c.do(204, "GET", "/v2.0/networks/{d}/tags/t", "")
	c.refuse(404, "TagNotFound", "GET", "/v2.0/networks/{d}/tags/x", "")
}

// A query has booleans as bodies have them.
func TestBooleansOfQueries(t *testing.T) {
	c := newCloud(t)
	c.make("up", "/v2.0/networks", `{"network":{"name":"up"}}`)
	c.make("down", "/v2.0/networks", `{"network":{"name":"down","admin_state_up":false}}`)
	for value, want := range map[string][]string{"1": {"up"}, "0": {"down"}, "TRUE": {"up"}, "False": {"down"},
		"x": {}} {
		if got := c.names("/v2.0/networks?admin_state_up=" + value); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}
