package neutron_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A cloud is an API on an engine without devices, and a client of it. Texts of requests may have names of objects in
// braces, such as {net}: their ids stand there.
type cloud struct {
	t       testing.TB
	server  *httptest.Server
	control *control.Control
	now     time.Time
	ids     map[string]string
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return cloudOn(t, e, neutron.Options{})
}

func cloudOn(t testing.TB, e *router.Engine, opt neutron.Options) *cloud {
	c := &cloud{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ids: map[string]string{}}
	c.control = control.New(e, control.Options{Now: func() time.Time { return c.now }})
	if opt.NewID == nil {
		opt.NewID = counted()
	}
	opt.Now, opt.Host = func() time.Time { return c.now }, "here"
	c.server = httptest.NewServer(neutron.New(c.control, opt))
	t.Cleanup(c.server.Close)
	return c
}

// counted makes IDs by counting, so that a test has the same ones each time.
func counted() func() config.ID {
	var n atomic.Uint64
	return func() config.ID {
		var b [16]byte
		binary.BigEndian.PutUint64(b[8:], n.Add(1))
		return config.NewID(b)
	}
}

func (c *cloud) fill(text string) string {
	for name, id := range c.ids {
		text = strings.ReplaceAll(text, "{"+name+"}", id)
	}
	return text
}

// An answer is what the API has said.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (c *cloud) ask(method, path, body string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+c.fill(path),
		strings.NewReader(c.fill(body)))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.send(req)
}

func (c *cloud) send(req *http.Request) answer {
	c.t.Helper()
	resp, err := c.server.Client().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a.body); err != nil {
			c.t.Fatalf("%s %s: %v in %s", req.Method, req.URL, err, text)
		}
	}
	if !strings.HasPrefix(resp.Header.Get("X-Openstack-Request-Id"), "req-") ||
		len(text) > 0 && resp.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("%s %s: headers %v", req.Method, req.URL, resp.Header)
	}
	return a
}

// do fails unless the answer has a status. It returns what the answer's one key wraps, if that is an object, or else
// the whole body.
func (c *cloud) do(status int, method, path, body string) map[string]any {
	c.t.Helper()
	a := c.ask(method, path, body)
	if a.status != status {
		c.t.Fatalf("%s %s %s: status %d, want %d: %s", method, c.fill(path), c.fill(body), a.status, status, a.text)
	}
	if len(a.body) == 1 {
		for _, v := range a.body {
			if o, ok := v.(map[string]any); ok {
				return o
			}
		}
	}
	return a.body
}

// make creates an object, and gives it a name for later requests.
func (c *cloud) make(name, path, body string) map[string]any {
	c.t.Helper()
	o := c.do(http.StatusCreated, "POST", path, body)
	c.ids[name] = o["id"].(string)
	return o
}

// refuse fails unless the answer is an error of a type.
func (c *cloud) refuse(status int, typ, method, path, body string) string {
	c.t.Helper()
	a := c.ask(method, path, body)
	e, _ := a.body["NeutronError"].(map[string]any)
	if a.status != status || e["type"] != typ || e["message"] == "" || e["detail"] != "" {
		c.t.Errorf("%s %s %.300s: %d %s, want %d %s", method, c.fill(path), c.fill(body), a.status, a.text, status, typ)
	}
	message, _ := e["message"].(string)
	return message
}

// refuseEach is refuse for each line of a table: a status, a type, and what stands in the body.
func (c *cloud) refuseEach(method, path, wrap, table string) {
	c.t.Helper()
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		status, err := strconv.Atoi(f[0])
		if err != nil {
			c.t.Fatal(err)
		}
		c.refuse(status, f[1], method, path, `{"`+wrap+`":{`+f[2]+`}}`)
	}
}

// equals fails unless an object is the same as a JSON text, which may name objects in braces.
func (c *cloud) equals(got map[string]any, want string) {
	c.t.Helper()
	var w map[string]any
	if err := json.Unmarshal([]byte(c.fill(want)), &w); err != nil {
		c.t.Fatal(err, c.fill(want))
	}
	for k, v := range w {
		if !reflect.DeepEqual(got[k], v) {
			c.t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	for k, v := range got {
		if _, ok := w[k]; !ok {
			c.t.Errorf("%s is %v, want none", k, v)
		}
	}
}

// names lists what a list has, by name, description or id.
func (c *cloud) names(path string) []string {
	c.t.Helper()
	return namesIn(c.t, c.do(http.StatusOK, "GET", path, ""), path)
}

func namesIn(t testing.TB, body map[string]any, path string) []string {
	t.Helper()
	names := []string{}
	for k, v := range body {
		if strings.HasSuffix(k, "_links") {
			continue
		}
		list, ok := v.([]any)
		if !ok {
			t.Fatalf("%s: %v", path, body)
		}
		for _, x := range list {
			o := x.(map[string]any)
			name, _ := o["name"].(string)
			if name == "" {
				name, _ = o["description"].(string)
			}
			names = append(names, name)
		}
	}
	return names
}

func (c *cloud) list(path string, want ...string) {
	c.t.Helper()
	if got := c.names(path); !slices.Equal(got, want) {
		c.t.Errorf("%s: %q, want %q", c.fill(path), got, want)
	}
}

// A tenant's network with a port, an external network, and a router between them.
func (c *cloud) build() {
	c.t.Helper()
	c.make("ext", "/v2.0/networks", `{"network":{"name":"ext_net","router:external":true}}`)
	c.make("extsub", "/v2.0/subnets", `{"subnet":{"network_id":"{ext}","ip_version":4,"cidr":"10.10.10.0/24",
		"gateway_ip":"10.10.10.4","enable_dhcp":false,"name":"extsub"}}`)
	c.make("net", "/v2.0/networks", `{"network":{"name":"vlan101"}}`)
	c.make("sub", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":"4","cidr":"172.16.101.0/24",
		"enable_dhcp":false,"name":"sub"}}`)
	c.make("port", "/v2.0/ports", `{"port":{"network_id":"{net}","name":"vm3","mac_address":"02:00:00:00:65:03",
		"fixed_ips":[{"ip_address":"172.16.101.3"}]}}`)
	r := c.make("router", "/v2.0/routers", `{"router":{"name":"r1","external_gateway_info":{"network_id":"{ext}",
		"external_fixed_ips":[{"ip_address":"10.10.10.2"}]}}}`)
	if r["status"] != "ACTIVE" {
		c.t.Errorf("router %v", r)
	}
	o := c.do(http.StatusOK, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub}"}`)
	c.ids["iface"] = o["port_id"].(string)
}

const project = `"project_id":"` + neutron.DefaultProject + `","tenant_id":"` + neutron.DefaultProject + `"`

// standard is what every object has, as it is after so many changes.
func standard(revision int) string {
	return fmt.Sprintf(`"description":"","tags":[],"revision_number":%d,"created_at":"2026-01-02T03:04:05Z",
		"updated_at":"2026-01-02T03:04:05Z",`, revision) + project
}
