package ownership_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

const lab = `
[[network]]
name = "ext"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"

[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"
  dns_nameservers = ["192.0.2.53"]

[[router]]
name = "r"
interfaces = ["blue"]
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]

[[floating_ip]]
network = "ext"
address = "10.10.10.5"
`

var (
	blue   = config.Ref{Kind: config.KindNetwork, ID: config.NameID(config.KindNetwork, "blue")}
	ext    = config.NameID(config.KindNetwork, "ext")
	theR   = config.NameID(config.KindRouter, "r")
	fip    = config.NameID(config.KindFloatingIP, "address", string(ext), "10.10.10.5")
	subnet = config.NameID(config.KindSubnet, string(blue.ID), "10.1.0.0/24")
)

func read(t testing.TB, name, text string) *file.File {
	t.Helper()
	f, err := file.Read(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A daemon is what runs between a start and an end.
type daemon struct {
	t       testing.TB
	engine  *router.Engine
	own     *ownership.Ownership
	control *control.Control
}

// start starts a daemon on a store, nil for none.
func start(t testing.TB, f *file.File, kv store.Store) *daemon {
	t.Helper()
	own, err := ownership.Start(t.Context(), f, ownership.Options{Store: kv})
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(own.State(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := control.New(e, control.Options{Store: own.Store})
	if err := own.Serve(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return &daemon{t, e, own, c}
}

// edit changes something as the API does.
func (d *daemon) edit(f func(*config.Draft)) {
	d.t.Helper()
	_, err := d.control.Edit(d.t.Context(), func(draft *config.Draft) error {
		f(draft)
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) put(objects ...config.Object) {
	d.t.Helper()
	d.edit(func(draft *config.Draft) { draft.Put(objects...) })
}

func (d *daemon) apply(f *file.File, opt ownership.ApplyOptions) ownership.Result {
	d.t.Helper()
	r, err := d.own.Apply(d.t.Context(), f, opt)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func meta(name string) config.Meta {
	return config.Meta{ID: config.NameID(config.KindPort, "api", name), Name: name,
		Source: config.Source{Request: "req-1"}}
}

func vm(name, address string) *config.Port {
	return &config.Port{Meta: meta(name), Network: blue.ID, AdminStateUp: true,
		FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr(address)}}}
}

// attributes sets what the file leaves open.
func (d *daemon) attributes() {
	d.t.Helper()
	d.put(vm("vm", "10.1.0.5"))
	d.edit(func(draft *config.Draft) {
		r := *draft.Router(theR)
		r.Tags, r.Description = []string{"api"}, "set"
		r.Gateway = &config.Gateway{Network: ext, SNAT: true}
		r.Routes = append(r.Routes[:1:1], config.Route{Destination: netip.MustParsePrefix("10.8.0.0/16"),
			NextHop: netip.MustParseAddr("10.1.0.8")})
		draft.Put(&r)
		f := *draft.FloatingIP(fip)
		f.FixedIP = netip.MustParseAddr("10.1.0.5")
		draft.Put(&f)
		s := *draft.Subnet(subnet)
		s.DNSNameservers = append(s.DNSNameservers[:1:1], netip.MustParseAddr("192.0.2.54"))
		draft.Put(&s)
	})
}

// holds fails unless the API's attributes are there.
func (d *daemon) holds() {
	d.t.Helper()
	s := d.control.State()
	r, f, u := s.Router(theR), s.FloatingIP(fip), s.Subnet(subnet)
	if r.Gateway == nil || r.Description != "set" || len(r.Tags) != 1 || len(r.Routes) != 2 ||
		f.FixedIP != netip.MustParseAddr("10.1.0.5") || f.Router != theR || len(u.DNSNameservers) != 2 {
		d.t.Errorf("the API's attributes: %+v %+v %+v", r, f, u)
	}
}

// What the API sets beside a file stays over a reload of another version, and over a restart.
func TestAttributesStay(t *testing.T) {
	kv := store.Memory()
	d := start(t, read(t, "lab.toml", lab), kv)
	d.attributes()
	d.holds()
	d.apply(read(t, "lab.toml", "# moved\n"+lab), ownership.ApplyOptions{})
	d.holds()
	for range 2 {
		d = start(t, read(t, "lab.toml", lab), kv)
		d.holds()
		if list := d.own.Aside(); len(list) > 0 {
			t.Errorf("aside: %+v", list)
		}
	}
	// A route of the file goes, and the API's stays.
	changed := strings.Replace(lab, "10.9.0.0/16", "10.7.0.0/16", 1)
	d.apply(read(t, "lab.toml", changed), ownership.ApplyOptions{})
	routes := d.control.State().Router(theR).Routes
	if len(routes) != 2 || routes[0].Destination.String() != "10.7.0.0/16" ||
		routes[1].Destination.String() != "10.8.0.0/16" {
		t.Errorf("routes %+v", routes)
	}
	// The same after a restart in which the file was changed.
	d = start(t, read(t, "lab.toml", lab), kv)
	routes = d.control.State().Router(theR).Routes
	if len(routes) != 2 || routes[0].Destination.String() != "10.9.0.0/16" ||
		routes[1].Destination.String() != "10.8.0.0/16" {
		t.Errorf("routes after a restart %+v", routes)
	}
	d.holds()
}

// What a file has stated and does not state any more goes back to its default, also over a restart. What the API has
// set and the file states now is dropped, and the result says so.
func TestTheFileWins(t *testing.T) {
	kv := store.Memory()
	with := strings.Replace(lab, `name = "blue"`, `name = "blue"`+"\nmtu = 1400\ndescription = \"file's\"", 1)
	start(t, read(t, "lab.toml", with), kv)
	d := start(t, read(t, "lab.toml", lab), kv)
	if n := d.control.State().Network(blue.ID); n.MTU != 1500 || n.Description != "" {
		t.Errorf("not stated any more: %+v", n)
	}
	d.edit(func(draft *config.Draft) {
		n := *draft.Network(blue.ID)
		n.MTU, n.Description = 1300, "mine"
		draft.Put(&n)
	})
	d.apply(read(t, "lab.toml", lab), ownership.ApplyOptions{})
	if n := d.control.State().Network(blue.ID); n.MTU != 1300 || n.Description != "mine" {
		t.Errorf("the API's: %+v", n)
	}
	r := d.apply(read(t, "lab.toml", with), ownership.ApplyOptions{DryRun: true})
	if n := d.control.State().Network(blue.ID); n.MTU != 1300 || len(r.Changes) != 1 || len(r.Notices) != 2 {
		t.Errorf("a plan: %+v, %+v", n, r)
	}
	r = d.apply(read(t, "lab.toml", with), ownership.ApplyOptions{})
	n := d.control.State().Network(blue.ID)
	text := fmt.Sprint(r.Notices)
	if n.MTU != 1400 || n.Description != "file's" || !strings.Contains(text, "1300") ||
		!strings.Contains(text, `"mine"`) {
		t.Errorf("%+v, told %s", n, text)
	}
}

// What the API has made on an object that goes is refused with a list, and goes with it if that is asked for.
func TestVanishedObjects(t *testing.T) {
	without := lab[:strings.Index(lab, "[[network]]\nname = \"blue\"")] + "[[network]]\nname = \"green\"\n"
	d := start(t, read(t, "lab.toml", lab), store.Memory())
	d.attributes()
	before := d.control.State()
	_, err := d.own.Apply(t.Context(), read(t, "lab.toml", without), ownership.ApplyOptions{})
	for _, want := range []string{`port "vm"`, `network "blue"`, "--cascade", `gateway of router "r"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
	if d.control.State() != before {
		t.Error("changed by what was refused")
	}
	r := d.apply(read(t, "lab.toml", without), ownership.ApplyOptions{Cascade: true})
	s := d.control.State()
	if s.Network(blue.ID) != nil || s.Port(meta("vm").ID) != nil || !strings.Contains(fmt.Sprint(r.Notices), `"vm"`) {
		t.Errorf("left: %v, told %v", s.Network(blue.ID), r.Notices)
	}
}

// A file's object does not take the address or the name of a program's without a word.
func TestConflictsWhileRunning(t *testing.T) {
	d := start(t, read(t, "lab.toml", lab), nil)
	d.put(vm("vm", "10.1.0.5"))
	for _, c := range []struct{ table, want string }{
		{"[[port]]\nname = \"x\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.5\"\n",
			`port "x": 10.1.0.5 is already the address of port "vm"`},
		{"[[port]]\nname = \"vm\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.6\"\n", `name "vm" is that of port "vm"`},
	} {
		f := read(t, "lab.toml", lab+c.table)
		_, err := d.own.Apply(t.Context(), f, ownership.ApplyOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "port") {
			t.Errorf("%s: %v", c.table, err)
		}
	}
	// A plan says which devices it does not try.
	r := d.apply(read(t, "lab.toml", strings.Replace(lab, `name = "blue"`, `name = "blue"`+"\ndevices = [\"tap:t0\"]",
		1)),
		ownership.ApplyOptions{DryRun: true})
	if fmt.Sprint(r.Untried) != "[tap:t0]" {
		t.Errorf("untried %v", r.Untried)
	}
	// With the object's id, it is the file's.
	moved := lab + "[[port]]\nname = \"vm\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.5\"\nid = \"" +
		string(meta("vm").ID) + "\"\n"
	ref := config.Ref{Kind: config.KindPort, ID: meta("vm").ID}
	if _, ok := d.own.Stated(ref, ""); ok {
		t.Error("a program's port is stated")
	}
	r = d.apply(read(t, "lab.toml", moved), ownership.ApplyOptions{})
	at, ok := d.own.Stated(ref, "fixed_ips")
	if !ok || at.File != "lab.toml" || !strings.Contains(fmt.Sprint(r.Notices), "is the file's from now on") {
		t.Errorf("moved: %v %v, told %v", at, ok, r.Notices)
	}
	if _, ok := d.own.Stated(ref, "description"); ok {
		t.Error("a description is stated")
	}
	d.apply(read(t, "lab.toml", lab), ownership.ApplyOptions{})
	if d.control.State().Port(ref.ID) != nil {
		t.Error("a port that was the file's is left")
	}
}

// At a start, a conflict keeps both records: the file's object is served, and the program's comes back when it can.
func TestAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open := func() store.Store {
		t.Helper()
		kv, err := store.Bolt(path, store.BoltOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	kv := open()
	d := start(t, read(t, "lab.toml", lab), kv)
	d.put(vm("a", "10.1.0.5"), vm("b", "10.1.0.6"), vm("c", "10.1.0.7"))
	taken := lab + "[[port]]\nname = \"x\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.6\"\n"
	for range 2 { // the second start finds what the first one has left
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
		kv = open()
		d = start(t, read(t, "lab.toml", taken), kv)
		aside := d.own.Aside()
		if len(aside) != 1 || aside[0].Object.About().Name != "b" || !strings.Contains(aside[0].Reason, "10.1.0.6") {
			t.Fatalf("aside: %+v", aside)
		}
		s := d.control.State()
		if s.Port(meta("a").ID) == nil || s.Port(meta("c").ID) == nil || s.Port(meta("b").ID) != nil {
			t.Error("others are not served as they were")
		}
		d.put(vm("c", "10.1.0.8")) // another change does not delete what is aside
		d.put(vm("c", "10.1.0.7"))
	}
	r := d.apply(read(t, "lab.toml", lab), ownership.ApplyOptions{})
	if len(r.Returned) != 1 || d.control.State().Port(meta("b").ID) == nil || len(d.own.Aside()) != 0 {
		t.Errorf("returned %v, aside %v", r.Returned, d.own.Aside())
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	kv = open()
	defer kv.Close()
	d = start(t, read(t, "lab.toml", taken), kv)
	ref := config.Ref{Kind: config.KindPort, ID: meta("b").ID}
	if ok, err := d.own.Forget(t.Context(), ref); !ok || err != nil {
		t.Errorf("forget: %v %v", ok, err)
	}
	if ok, err := d.own.Forget(t.Context(), ref); ok || err != nil {
		t.Errorf("forget again: %v %v", ok, err)
	}
	d = start(t, read(t, "lab.toml", lab), kv)
	if d.control.State().Port(ref.ID) != nil || len(d.own.Aside()) != 0 {
		t.Error("what was forgotten is back")
	}
}

// An API's history in the store is the same State after a restart, and its export applied is no change.
func TestHistory(t *testing.T) {
	kv := store.Memory()
	d := start(t, read(t, "lab.toml", lab), kv)
	server := httptest.NewServer(neutron.New(d.control, neutron.Options{Stated: d.own.Stated}))
	defer server.Close()
	do := func(method, path, body string, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b.String())
		}
	}
	do("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":"%s","name":"vm",
		"fixed_ips":[{"ip_address":"10.1.0.5"}]}}`, blue.ID), 201)
	do("PUT", "/v2.0/routers/"+string(theR), fmt.Sprintf(`{"router":{"external_gateway_info":
		{"network_id":"%s"}}}`, ext), 200)
	do("PUT", "/v2.0/routers/"+string(theR), `{"router":{"name":"x"}}`, 409)
	do("DELETE", "/v2.0/networks/"+string(blue.ID), "", 409)
	do("POST", "/v2.0/networks", `{"network":{"name":"more","admin_state_up":false}}`, 201)
	do("POST", "/v2.0/lbaas/loadbalancers", fmt.Sprintf(`{"loadbalancer":{"vip_subnet_id":"%s","name":"lb",
		"listeners":[{"protocol":"TCP","protocol_port":80,"default_pool":{"protocol":"TCP","lb_algorithm":"ROUND_ROBIN",
		"members":[{"address":"10.1.0.5","protocol_port":80}]}}]}}`, subnet), 201)
	want := d.control.State()
	d = start(t, read(t, "lab.toml", lab), kv)
	if diff := config.Diff(want, d.control.State()); len(diff) > 0 {
		t.Errorf("after a restart: %+v", diff)
	}
	var b bytes.Buffer
	if err := d.own.Export(&b); err != nil {
		t.Fatal(err)
	}
	r := d.apply(read(t, "export.toml", b.String()), ownership.ApplyOptions{})
	for _, l := range r.Lines() {
		t.Errorf("the export changes %v", &l)
	}
	if len(r.Notices) == 0 {
		t.Error("nothing is said of the objects that are the file's now")
	}
	// That was no change of the State, but the store knows whose the objects are.
	d = start(t, read(t, "lab.toml", lab), kv)
	if n := d.control.State().Count(config.KindLoadBalancer); n != 0 || len(d.own.Aside()) > 0 {
		t.Errorf("%d load balancers of a file that is not applied any more", n)
	}
}

// A change that cannot be kept is not made, and nothing is lost.
func TestStoreFails(t *testing.T) {
	kv := store.Memory()
	d := start(t, read(t, "lab.toml", lab), kv)
	revision := d.own.Revision()
	d.put(vm("a", "10.1.0.5"))
	if d.own.Revision() != revision+1 {
		t.Errorf("revision %d after %d", d.own.Revision(), revision)
	}
	_, err := d.own.Apply(t.Context(), read(t, "lab.toml", lab), ownership.ApplyOptions{Revision: revision})
	if !errors.Is(err, ownership.ErrRevision) {
		t.Errorf("another revision: %v", err)
	}
	before := d.control.State()
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = d.control.Edit(t.Context(), func(draft *config.Draft) error {
		draft.Put(vm("b", "10.1.0.6"))
		return nil
	})
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("a change: %v", err)
	}
	_, err = d.own.Apply(context.Background(), read(t, "lab.toml", strings.Replace(lab, "10.9.", "10.7.", 1)),
		ownership.ApplyOptions{})
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("another file: %v", err)
	}
	if d.control.State() != before || d.own.File().Text() != lab {
		t.Error("made though it cannot be kept")
	}
}

// At a start, of what the API has set on the file's objects only that is dropped which does not go together with the
// file, and each value is named.
func TestOnlyWhatConflictsIsDropped(t *testing.T) {
	kv := store.Memory()
	d := start(t, read(t, "lab.toml", lab), kv)
	d.attributes()
	var kept *config.Port
	for p := range d.control.State().Ports() {
		if p.DeviceOwner == config.OwnerGateway {
			kept = p
		}
	}
	// The subnet moves: two next hops are out of it. So is the fixed address of the floating IP.
	moved := strings.NewReplacer("10.1.0.0/24", "10.2.0.0/24", "10.1.0.9", "10.2.0.9").Replace(lab)
	var log bytes.Buffer
	own, err := ownership.Start(t.Context(), read(t, "lab.toml", moved), ownership.Options{
		Store: kv, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := own.State()
	r := s.Router(theR)
	if r.Description != "set" || len(r.Tags) != 1 || r.Gateway == nil || s.GatewayPort(theR).ID != kept.ID ||
		s.GatewayPort(theR).MAC != kept.MAC {
		t.Errorf("what has a place is dropped: %+v, %+v", r, s.GatewayPort(theR))
	}
	if len(r.Routes) != 1 || r.Routes[0].Destination.String() != "10.9.0.0/16" || s.FloatingIP(fip).FixedIP.IsValid() {
		t.Errorf("left: %+v %+v", r.Routes, s.FloatingIP(fip))
	}
	for _, want := range []string{"10.8.0.0/16 via 10.1.0.8", "floating IP 10.10.10.5", "fixed_ip", "10.1.0.5"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "description") {
		t.Errorf("more is said to be dropped:\n%s", log.String())
	}
}
