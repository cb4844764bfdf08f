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
