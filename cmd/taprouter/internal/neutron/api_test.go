package neutron_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

func TestRoot(t *testing.T) {
	c := newCloud(t)
	host := strings.TrimPrefix(c.server.URL, "http://")
	for _, path := range []string{"/", "//"} {
		a := c.ask("GET", path, "")
		if want := `{"versions":[{"id":"v2.0","links":[{"rel":"self","href":"http://` + host +
			`/v2.0/"}],"status":"CURRENT"}]}`; a.status != 200 || strings.TrimSpace(a.text) != want {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	for _, path := range []string{"/v2.0", "/v2.0/"} {
		o := c.do(200, "GET", path, "")
		c.equals(o["resources"].([]any)[0].(map[string]any), `{"name":"network","collection":"networks",
			"links":[{"rel":"self","href":"http://`+host+`/v2.0/networks"}]}`)
	}
	for _, path := range []string{"//v2.0//networks", "/v2.0/networks/", "/./v2.0/x/../networks"} {
		c.list(path)
	}
	req, _ := http.NewRequest("GET", c.server.URL+"/", nil)
	req.Host = "cloud.example:1234"
	if a := c.send(req); !strings.Contains(a.text, `"http://cloud.example:1234/v2.0/"`) {
		t.Errorf("another Host: %s", a.text)
	}
	w := httptest.NewRecorder()
	c.server.Config.Handler.ServeHTTP(w, httptest.NewRequest("GET", "https://cloud.example/", nil))
	if !strings.Contains(w.Body.String(), `"https://cloud.example/v2.0/"`) {
		t.Errorf("over TLS: %s", w.Body)
	}
}

func TestPathsAndMethods(t *testing.T) {
	c := newCloud(t)
	c.build()
	for _, path := range []string{"/x", "/v3", "/v2.0/x", "/v2.0/networks/{net}/x", "/identity",
		"/v2.0/subnetpools/{net}", "/v2.0/qos/policies"} {
		c.refuse(404, "HTTPNotFound", "GET", path, "")
	}
	c.refuse(405, "HTTPMethodNotAllowed", "PUT", "/v2.0/networks", "")
	c.refuse(405, "HTTPMethodNotAllowed", "PATCH", "/v2.0/networks/{net}", "")
	c.refuse(405, "HTTPMethodNotAllowed", "POST", "/v2.0/networks/{net}", "")
	c.refuse(404, "HTTPNotFound", "POST", "/v2.0/rbac-policies", "{}")
	c.refuse(405, "HTTPMethodNotAllowed", "PUT", "/v2.0/subnetpools", "{}")
	if a := c.ask("PUT", "/v2.0/networks", ""); a.header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow is %q", a.header.Get("Allow"))
	}
	if a := c.ask("HEAD", "/v2.0/networks", ""); a.status != 200 || a.text != "" ||
		a.header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	for _, unknown := range []string{"NAME", "10.10.10.5", "with%20blank", "a%2Fb"} {
		for path, typ := range map[string]string{"networks": "Network", "subnets": "Subnet", "ports": "Port",
			"routers": "Router", "floatingips": "FloatingIP"} {
			c.refuse(404, typ+"NotFound", "GET", "/v2.0/"+path+"/"+unknown, "")
		}
	}
}

func TestExtensions(t *testing.T) {
	c := newCloud(t)
	list := c.do(200, "GET", "/v2.0/extensions", "")["extensions"].([]any)
	if len(list) < 20 {
		t.Errorf("%d extensions", len(list))
	}
	for _, x := range list {
		alias := x.(map[string]any)["alias"].(string)
		if o := c.do(200, "GET", "/v2.0/extensions/"+alias, ""); o["alias"] != alias || o["name"] == "" {
			t.Errorf("%v", o)
		}
	}
	for _, alias := range []string{"tag-ports-during-bulk-creation", "external-gateway-multihoming", "a%20blank"} {
		c.refuse(404, "ExtensionNotFound", "GET", "/v2.0/extensions/"+alias, "")
	}
	for _, path := range []string{"subnetpools", "address-scopes", "rbac-policies", "service-providers", "trunks"} {
		o := c.do(200, "GET", "/v2.0/"+path, "")
		if list, ok := o[strings.ReplaceAll(path, "-", "_")].([]any); !ok || len(list) != 0 {
			t.Errorf("%s: %v", path, o)
		}
	}
	zones := c.do(200, "GET", "/v2.0/availability_zones", "")["availability_zones"].([]any)
	if len(zones) != 2 {
		t.Errorf("zones: %v", zones)
	}
	c.equals(zones[0].(map[string]any), `{"name":"nova","resource":"network","state":"available"}`)
}

func TestBodies(t *testing.T) {
	c := newCloud(t)
	const path = "/v2.0/networks"
	for body, want := range map[string]string{
		``:                                       "Resource body required",
		`{`:                                      "Malformed",
		`[]`:                                     "Malformed",
		`null`:                                   "Malformed",
		`{"network":{}} {}`:                      "behind the object",
		`{"network":{}} x`:                       "invalid character",
		`{}`:                                     "Unable to find 'network'",
		`{"network":null}`:                       "Unable to find 'network'",
		`{"network":[]}`:                         "Unable to find 'network'",
		`{"networks":[]}`:                        "Resources required",
		`{"networks":[{},3]}`:                    "Unable to find 'network'",
		`{"network":{},"other":1}`:               "Unrecognized attribute(s) 'other'",
		`{"network":{"b":1,"a":2,"name":"n"}}`:   "Unrecognized attribute(s) 'a, b'",
		`{"network":{"value_specs":{}}}`:         "Unrecognized attribute(s) 'value_specs'",
		`{"network":{"id":"x"}}`:                 "Attribute 'id' not allowed in POST",
		`{"network":{"status":"DOWN"}}`:          "Attribute 'status' not allowed in POST",
		`{"network":{"tags":["a"]}}`:             "Attribute 'tags' not allowed in POST",
		`{"network":{"name":3}}`:                 "Invalid input for name. Reason: 3 is not a valid string",
		`{"network":{"name":"` + long + `"}}`:    "more than 255",
		`{"network":{"mtu":"x"}}`:                "'x' is not an integer",
		`{"network":{"mtu":1.5}}`:                "1.5 is not an integer",
		`{"network":{"mtu":99999999999}}`:        "is not an integer",
		`{"network":{"mtu":5}}`:                  "5 is not from 576",
		`{"network":{"admin_state_up":"maybe"}}`: "'maybe' cannot be converted to boolean",
		`{"network":{"admin_state_up":[]}}`:      "cannot be converted to boolean",
		`{"network":{"project_id":"other"}}`:     "the only project",
	} {
		if got := c.refuse(400, "HTTPBadRequest", "POST", path, body); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	c.refuse(400, "HTTPBadRequest", "POST", "/v2.0/subnets", `{"subnet":{"ip_version":4,"cidr":"10.0.0.0/24"}}`)
	c.refuse(400, "HTTPBadRequest", "POST", "/v2.0/ports", `{"port":{"network_id":null}}`)
	c.refuse(413, "HTTPRequestEntityTooLarge", "POST", path, `{"network":{"name":"`+strings.Repeat("x", 1<<20)+`"}}`)
	c.list(path)
	o := c.make("net", path, `{"network":{"name":"n","mtu":"1400","admin_state_up":"False","shared":"false",
		"tenant_id":"`+neutron.DefaultProject+`","description":null,"port_security_enabled":0}}`)
	if o["mtu"] != 1400. || o["admin_state_up"] != false || o["shared"] != false || o["description"] != "" ||
		o["port_security_enabled"] != false {
		t.Errorf("%v", o)
	}
	c.do(201, "POST", path, `{"network":{"name":"`+strings.Repeat("é", 255)+`"}}`) // characters, not bytes
	for body, want := range map[string]string{
		`{"network":{"status":"x"}}`:                  "read-only attribute status",
		`{"network":{"provider:segmentation_id":1}}`:  "read-only attribute provider:segmentation_id",
		`{"network":{"project_id":"x"}}`:              "read-only attribute project_id",
		`{"network":{"x":1}}`:                         "Unrecognized attribute(s) 'x'",
		`{"network":{"mtu":null}}`:                    "it cannot be null",
		`{"network":{"name":"x","mtu":"9999999"}}`:    "9999999 is not from",
		`{"port":{"name":"x"}}`:                       "Unable to find 'network'",
		`{"network":{"name":"x"},"port":{"name":""}}`: "Unrecognized attribute(s) 'port'",
	} {
		if got := c.refuse(400, "HTTPBadRequest", "PUT", path+"/{net}", body); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if o := c.do(200, "GET", path+"/{net}", ""); o["name"] != "n" || o["revision_number"] != 1. {
		t.Errorf("after refusals: %v", o)
	}
	c.refuse(400, "NotSupported", "POST", path, `{"network":{"vlan_transparent":true}}`)
	c.refuse(404, "AvailabilityZoneNotFound", "POST", path, `{"network":{"availability_zone_hints":["x"]}}`)
	c.do(201, "POST", path, `{"network":{"availability_zone_hints":["nova"],"qos_policy_id":null,"dns_domain":""}}`)
}

var long = strings.Repeat("x", 256)

// All of a bulk is made, or nothing.
func TestBulk(t *testing.T) {
	c := newCloud(t)
	c.refuse(400, "HTTPBadRequest", "POST", "/v2.0/networks", `{"networks":[{"name":"a"},{"name":"b","x":1}]}`)
	c.list("/v2.0/networks")
	body := c.do(201, "POST", "/v2.0/networks", `{"networks":[{"name":"a"},{"name":"b"},{"name":"c"}]}`)
	if got := namesIn(t, body, "bulk"); strings.Join(got, "") != "abc" {
		t.Errorf("%v", body)
	}
	c.list("/v2.0/networks", "a", "b", "c")
	c.build()
	c.refuse(409, "IpAddressAlreadyAllocated", "POST", "/v2.0/ports", `{"ports":[
		{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.77"}]},
		{"network_id":"{net}","fixed_ips":[{"ip_address":"172.16.101.77"}]}]}`)
	if n := c.control.State().Count(config.KindPort); n != 3 {
		t.Errorf("%d ports", n)
	}
	list := c.do(201, "POST", "/v2.0/ports", `{"ports":[{"network_id":"{net}","name":"a"},
		{"network_id":"{net}","name":"b"}]}`)["ports"].([]any)
	seen := map[any]bool{}
	for _, x := range list {
		p := x.(map[string]any)
		seen[p["mac_address"]], seen[p["fixed_ips"].([]any)[0].(map[string]any)["ip_address"]] = true, true
	}
	if len(seen) != 4 {
		t.Errorf("two ports share an address: %v", list)
	}
}

func TestTags(t *testing.T) {
	c := newCloud(t)
	c.build()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}"}}`)
	for _, path := range []string{"/v2.0/networks/{net}", "/v2.0/subnets/{sub}", "/v2.0/ports/{port}",
		"/v2.0/routers/{router}", "/v2.0/floatingips/{fip}"} {
		revision := c.do(200, "GET", path, "")["revision_number"].(float64)
		c.equals(c.do(200, "PUT", path+"/tags", `{"tags":["a","b","a"]}`), `{"tags":["a","b"]}`)
		c.do(201, "PUT", path+"/tags/c", "")
		c.do(201, "PUT", path+"/tags/c", "")
		c.equals(c.do(200, "GET", path+"/tags", ""), `{"tags":["a","b","c"]}`)
		before := slices.Collect(c.control.State().All())
		c.do(204, "DELETE", path+"/tags/b", "")
		for _, o := range before { // the former State is as it was
			if tags := o.About().Tags; len(tags) > 0 && strings.Join(tags, "") != "abc" {
				t.Errorf("%v had %q", o.Ref(), tags)
			}
		}
		c.refuse(404, "TagNotFound", "DELETE", path+"/tags/b", "")
		c.refuse(404, "TagNotFound", "GET", path+"/tags/b", "")
		c.do(204, "GET", path+"/tags/a", "")
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags", `{}`)
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags", `{"tags":"a"}`)
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags", `{"tags":[1]}`)
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags", `{"tags":[],"x":1}`)
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags", `{"tags":["t`+numbered()+`"]}`)
		c.refuse(400, "HTTPBadRequest", "PUT", path+"/tags/"+long, "")
		o := c.do(200, "GET", path, "")
		if o["revision_number"] != revision+3 { // a second c was no change
			t.Errorf("%s: revision %v after %v", path, o["revision_number"], revision)
		}
		c.do(204, "DELETE", path+"/tags", "")
		c.equals(c.do(200, "GET", path+"/tags", ""), `{"tags":[]}`)
	}
	c.refuse(404, "NetworkNotFound", "PUT", "/v2.0/networks/x/tags", `{"tags":[]}`)
	c.refuse(404, "NetworkNotFound", "GET", "/v2.0/networks/x/tags", "")
}

// numbered are more tags than an object can have.
func numbered() string {
	var s strings.Builder
	for i := range 60 {
		s.WriteString(`","t` + strings.Repeat("i", i))
	}
	return s.String()
}

func TestRevisions(t *testing.T) {
	c := newCloud(t)
	c.build()
	put := func(match, body string) answer {
		req, _ := http.NewRequest("PUT", c.server.URL+c.fill("/v2.0/networks/{net}"), strings.NewReader(body))
		req.Header.Set("If-Match", match)
		return c.send(req)
	}
	for _, other := range []string{"0", "2", "3", "x", ""} {
		if a := put("revision_number="+other, `{"network":{"name":"x"}}`); a.status != 412 {
			t.Errorf("another revision: %d %s", a.status, a.text)
		}
	}
	if a := put("revision_number=1", `{"network":{"name":"x"}}`); a.status != 200 {
		t.Errorf("the revision: %d %s", a.status, a.text)
	}
	o := c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"name":"x"}}`) // no change
	if o["revision_number"] != 2. {
		t.Errorf("%v", o)
	}
}

// What a file states is the file's, and the rest is the API's.
func TestFileOwnsWhatItStates(t *testing.T) {
	f, err := file.Read("lab.toml", strings.NewReader(`
[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"

[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"

[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
mac = "02:00:00:00:00:05"

[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext_net" }
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]

[[floating_ip]]
network = "ext_net"
address = "10.10.10.5"
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, stated := range []bool{true, false} {
		e, err := router.Start(f.State(), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		opt := neutron.Options{}
		if stated {
			opt.Stated = f.Source
		}
		c := cloudOn(t, e, opt)
		first := func(name, path string) {
			for _, v := range c.do(200, "GET", path, "") {
				c.ids[name] = v.([]any)[0].(map[string]any)["id"].(string)
			}
		}
		first("net", "/v2.0/networks?name=blue")
		first("port", "/v2.0/ports?name=vm")
		first("router", "/v2.0/routers")
		first("fip", "/v2.0/floatingips")
		first("sub", "/v2.0/subnets?cidr=10.1.0.0/24")
		owned := func(method, path, body string) {
			t.Helper()
			got := c.refuse(409, "DeclaredInFile", method, path, body)
			if !strings.Contains(got, "declared in lab.toml:") || !strings.Contains(got, "change the file and reload") {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
		owned("PUT", "/v2.0/networks/{net}", `{"network":{"name":"red"}}`)
		owned("DELETE", "/v2.0/networks/{net}", "")
		owned("DELETE", "/v2.0/ports/{port}", "")
		owned("PUT", "/v2.0/ports/{port}", `{"port":{"fixed_ips":[{"ip_address":"10.1.0.6"}]}}`)
		owned("PUT", "/v2.0/routers/{router}", `{"router":{"external_gateway_info":{}}}`)
		owned("PUT", "/v2.0/routers/{router}", `{"router":{"routes":[]}}`)
		owned("PUT", "/v2.0/routers/{router}/remove_extraroutes",
			`{"router":{"routes":[{"destination":"10.9.0.0/16","nexthop":"10.1.0.9"}]}}`)
		owned("PUT", "/v2.0/routers/{router}/remove_router_interface", `{"subnet_id":"{sub}"}`)
		c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"name":"blue","description":"d"}}`)
		c.do(200, "PUT", "/v2.0/networks/{net}/tags", `{"tags":["t"]}`)
		o := c.do(200, "PUT", "/v2.0/routers/{router}", `{"router":{"routes":[
			{"destination":"10.9.0.0/16","nexthop":"10.1.0.9"},{"destination":"10.8.0.0/16","nexthop":"10.1.0.9"}]}}`)
		if len(o["routes"].([]any)) != 2 {
			t.Errorf("routes %v", o["routes"])
		}
		c.ids["ext"] = o["external_gateway_info"].(map[string]any)["network_id"].(string)
		owned("PUT", "/v2.0/routers/{router}", `{"router":{"routes":[
			{"destination":"10.8.0.0/16","nexthop":"10.1.0.9"}]}}`)
		gateway := func(a string) string {
			return `{"router":{"external_gateway_info":{"network_id":"{ext}",
				"external_fixed_ips":[{"ip_address":"` + a + `"}]}}}`
		}
		c.do(200, "PUT", "/v2.0/routers/{router}", gateway("10.10.10.1")) // which it has
		associate := `{"floatingip":{"port_id":"{port}"}}`
		if stated { // the file does not say where the floating IP leads
			c.do(200, "PUT", "/v2.0/floatingips/{fip}", associate)
			c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"mtu":1400}}`)
			c.do(200, "PUT", "/v2.0/routers/{router}", gateway("10.10.10.8"))
		} else {
			owned("PUT", "/v2.0/routers/{router}", gateway("10.10.10.8"))
			owned("PUT", "/v2.0/floatingips/{fip}", associate)
		}
	}
}

func TestClosed(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := cloudOn(t, e, neutron.Options{})
	e.Close()
	c.refuse(503, "HTTPServiceUnavailable", "POST", "/v2.0/networks", `{"network":{}}`)
	if a := c.ask("PUT", lbQuotasPath, `{"quota":{"pool":1}}`); a.status != 503 || a.body["faultcode"] != "Server" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// What cannot be written down is refused, and the answer says why.
func TestNotKept(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	api := neutron.New(control.New(e, control.Options{Store: func(context.Context, []*control.Report) error {
		return fmt.Errorf("%w: no space left on device", control.ErrNotKept)
	}}), neutron.Options{})
	server := httptest.NewServer(api)
	defer server.Close()
	c := &cloud{t: t, server: server, ids: map[string]string{}}
	if got := c.refuse(503, "HTTPServiceUnavailable", "POST", "/v2.0/networks", `{"network":{}}`); !strings.Contains(
		got, "no space left on device") {
		t.Errorf("%q", got)
	}
	c.list("/v2.0/networks")
}

// A request's id is in the answer, in the log and in the object that it makes. Objects show when they changed.
func TestRequestsLeaveTheirMark(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var log bytes.Buffer
	c := cloudOn(t, e, neutron.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	a := c.ask("POST", "/v2.0/networks", `{"network":{"name":"n"}}`)
	id := a.header.Get("X-Openstack-Request-Id")
	for n := range c.control.State().Networks() {
		if n.Source.Request != id {
			t.Errorf("the network is of %q, not %q", n.Source.Request, id)
		}
		c.ids["net"] = string(n.ID)
	}
	c.now = c.now.Add(time.Hour)
	o := c.do(200, "PUT", "/v2.0/networks/{net}", `{"network":{"name":"m"}}`)
	if o["created_at"] != "2026-01-02T03:04:05Z" || o["updated_at"] != "2026-01-02T04:04:05Z" {
		t.Errorf("%v", o)
	}
	c.do(200, "GET", "/v2.0/networks", "") // which changes nothing
	c.refuse(404, "NetworkNotFound", "DELETE", "/v2.0/networks/x", "")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "request="+id+" method=POST path=/v2.0/networks status=201") ||
		!strings.Contains(lines[2], "status=404") || !strings.Contains(lines[2], "could not be found") {
		t.Errorf("log:\n%s", &log)
	}
}

// A bug in one request is no end of the others.
func TestPanic(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := cloudOn(t, e, neutron.Options{Stated: func(config.Ref, string) (config.Source, bool) { panic("a bug") }})
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	got := c.refuse(500, "HTTPInternalServerError", "DELETE", "/v2.0/networks/{net}", "")
	if strings.Contains(got, "bug") {
		t.Errorf("the client is told %q", got)
	}
	c.make("net2", "/v2.0/networks", `{"network":{}}`)
}
