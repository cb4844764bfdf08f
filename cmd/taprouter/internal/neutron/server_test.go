package neutron_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A server gives requests their ids, and logs what the API tells about them. The id is the answer's and the new
// object's, too. The API then logs nothing itself.
func TestServersID(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := control.New(e, control.Options{})
	var log bytes.Buffer
	var notes []string
	type key struct{}
	h := neutron.New(c, neutron.Options{
		Logger:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		NewID:     counted(),
		RequestID: func(ctx context.Context) string { id, _ := ctx.Value(key{}).(string); return id },
		Note: func(_ context.Context, keysAndValues ...any) {
			notes = append(notes, strings.Trim(fmt.Sprint(keysAndValues), "[]"))
		},
	})
	send := func(id, method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, id)))
		return w
	}
	w := send("req-mine", "POST", "/v2.0/networks", `{"network":{}}`)
	if got := w.Header().Get("X-Openstack-Request-Id"); got != "req-mine" {
		t.Errorf("the answer's id is %q", got)
	}
	var made *config.Network
	for n := range c.State().Networks() {
		made = n
	}
	if made == nil || made.Source.Request != "req-mine" {
		t.Fatalf("made %+v", made)
	}
	send("req-other", "GET", "/v2.0/networks/x", "")
	if want := []string{"id " + string(made.ID) + " revision 1",
		"err NetworkNotFound: Network x could not be found."}; strings.Join(notes, "\n") != strings.Join(want, "\n") {
		t.Errorf("noted %q, want %q", notes, want)
	}
	if log.Len() > 0 {
		t.Errorf("logged as well: %s", log.String())
	}
	if got := send("", "GET", "/", "").Header().Get("X-Openstack-Request-Id"); !strings.HasPrefix(got, "req-0") {
		t.Errorf("without an id of the server's: %q", got)
	}
}

// The log says of each change which object it was about, and the revision of that object: after the change, or the last
// one if the object is gone. A request about several objects lists them.
func TestChangesAreLoggedWithTheirObjects(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var notes []string
	lost := &config.FloatingIP{Meta: config.Meta{ID: "00000000-0000-4000-8000-00000000000f", Revision: 4}}
	api := neutron.New(control.New(e, control.Options{}), neutron.Options{
		Note: func(_ context.Context, keysAndValues ...any) {
			notes = append(notes, strings.Trim(fmt.Sprint(keysAndValues), "[]"))
		},
		Aside:  func() []neutron.Aside { return []neutron.Aside{{Object: lost}} },
		Forget: func(context.Context, config.Ref) error { return nil },
	})
	server := httptest.NewServer(api)
	defer server.Close()
	c := &cloud{t: t, server: server, ids: map[string]string{}}
	const lb = "/v2.0/lbaas/"
	// want is what the last request has noted, with names in place of ids.
	want := func(step, want string) {
		t.Helper()
		got := strings.Join(notes, "; ")
		for name, id := range c.ids {
			got = strings.ReplaceAll(got, id, name)
		}
		if got != want {
			t.Errorf("%s: noted %q, want %q", step, got, want)
		}
		notes = nil
	}
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	want("a network", "id net revision 1")
	c.make("sub", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	c.make("r", "/v2.0/routers", `{"router":{}}`)
	notes = nil
	o := c.do(http.StatusOK, "PUT", "/v2.0/routers/{r}/add_router_interface", `{"subnet_id":"{sub}"}`)
	c.ids["if"] = o["port_id"].(string)
	want("an interface", "objects 2 ids [r@1 if@1")
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.1.0/24",
		"enable_dhcp":false}}`)
	c.make("p", "/v2.0/ports", `{"port":{"network_id":"{net}","fixed_ips":[{"subnet_id":"{sub2}"}]}}`)
	notes = nil
	c.do(http.StatusOK, "PUT", "/v2.0/routers/{r}/add_router_interface", `{"port_id":"{p}"}`)
	want("an interface by a port", "objects 2 ids [r@1 p@2")
	c.do(http.StatusOK, "PUT", "/v2.0/routers/{r}/remove_router_interface", `{"subnet_id":"{sub2}"}`)
	want("an interface goes", "objects 2 ids [r@1 p@2")
	c.do(http.StatusOK, "PUT", "/v2.0/networks/{net}/tags", `{"tags":["a"]}`)
	want("tags", "id net revision 2")
	c.do(http.StatusNoContent, "DELETE", "/v2.0/networks/{net}/tags/a", "")
	want("a tag goes", "id net revision 3")
	c.make("lb", lb+"loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	want("a load balancer", "id lb revision 1")
	c.do(http.StatusOK, "PUT", lb+"loadbalancers/{lb}", `{"loadbalancer":{"name":"b"}}`)
	want("a name", "id lb revision 2")
	c.ids["vip"] = c.do(http.StatusOK, "GET", lb+"loadbalancers/{lb}", "")["vip_port_id"].(string)
	want("it is shown", "id lb revision 2")
	c.do(http.StatusOK, "PUT", "/v2.0/ports/{vip}", `{"port":{"security_groups":[]}}`)
	want("groups of its port", "id vip revision 2")
	c.make("pool", lb+"pools", `{"pool":{"loadbalancer_id":"{lb}","protocol":"TCP","lb_algorithm":"ROUND_ROBIN"}}`)
	want("a pool", "id pool revision 1")
	c.make("m", lb+"pools/{pool}/members", `{"member":{"address":"10.0.0.7","protocol_port":80}}`)
	want("a member", "id m revision 1")
	c.do(http.StatusAccepted, "PUT", lb+"pools/{pool}/members",
		`{"members":[{"address":"10.0.0.7","protocol_port":80,"weight":3}]}`)
	want("a batch of one", "id m revision 2")
	c.do(http.StatusAccepted, "PUT", lb+"pools/{pool}/members",
		`{"members":[{"address":"10.0.0.8","protocol_port":80}]}`)
	left := c.do(http.StatusOK, "GET", lb+"pools/{pool}/members", "")["members"].([]any)
	c.ids["n"] = left[0].(map[string]any)["id"].(string)
	want("a batch of two", "objects 2 ids [n@1 m@2")
	c.do(http.StatusNoContent, "DELETE", lb+"pools/{pool}/members/{n}", "")
	want("the member goes", "id n revision 1")
	c.do(http.StatusNoContent, "DELETE", lb+"pools/{pool}", "")
	want("the pool goes", "id pool revision 1")
	c.do(http.StatusNoContent, "DELETE", lb+"loadbalancers/{lb}", "")
	want("the load balancer goes", "id lb revision 2")
	c.do(http.StatusAccepted, "PUT", lb+"quotas/"+neutron.DefaultProject, `{"quota":{"pool":3}}`)
	c.do(http.StatusNoContent, "DELETE", lb+"quotas/"+neutron.DefaultProject, "")
	c.ids["quota"] = string(config.QuotaID)
	want("a quota, and none", "id quota revision 1; id quota revision 1")
	c.do(http.StatusNoContent, "DELETE", "/v2.0/floatingips/"+string(lost.ID), "")
	c.ids["lost"] = string(lost.ID)
	want("one that is set aside goes", "id lost revision 4")
	list := c.do(http.StatusCreated, "POST", "/v2.0/networks", `{"networks":[`+strings.Repeat(`{},`, 24)+`{}]}`)
	for i, n := range list["networks"].([]any) {
		c.ids[fmt.Sprint("n", i)] = n.(map[string]any)["id"].(string)
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "objects 25 ids [") || strings.Count(notes[0], "@1") != 20 {
		t.Errorf("many: %q", notes)
	}
	notes = nil
	c.do(http.StatusConflict, "DELETE", "/v2.0/networks/{net}", "")
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "err NetworkInUse") {
		t.Errorf("a delete that is refused: %q", notes)
	}
}

// Below a path the API is the same. The path comes before its links.
func TestBelowAPath(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	api := neutron.New(control.New(e, control.Options{}), neutron.Options{})
	server := httptest.NewServer(api.Below("/load-balancer"))
	defer server.Close()
	c := &cloud{t: t, server: server, ids: map[string]string{}}
	for _, name := range []string{"a", "b"} {
		c.make("net", "/load-balancer/v2.0/networks", `{"network":{"name":"`+name+`"}}`)
		c.make("sub", "/load-balancer/v2.0/subnets",
			`{"subnet":{"network_id":"{net}","ip_version":4,"cidr":"10.0.0.0/24"}}`)
		c.make("lb", "/load-balancer/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}"}}`)
	}
	body := c.do(http.StatusOK, "GET", "/load-balancer/v2.0/lbaas/loadbalancers?limit=1", "")
	next := body["loadbalancers_links"].([]any)[0].(map[string]any)["href"].(string)
	if !strings.HasPrefix(next, server.URL+"/load-balancer/v2.0/lbaas/loadbalancers?") {
		t.Fatalf("the next page is at %s", next)
	}
	list := c.do(http.StatusOK, "GET", strings.TrimPrefix(next, server.URL), "")["loadbalancers"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != c.ids["lb"] {
		t.Errorf("the next page has %v", list)
	}
	a := c.ask("GET", "/load-balancer/v2.0/lbaas/loadbalancers/x", "")
	if a.status != http.StatusNotFound || a.body["faultstring"] == nil {
		t.Errorf("an error: %d %s", a.status, a.text)
	}
}
