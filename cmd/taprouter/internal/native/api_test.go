package native_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/metrics"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/native"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// cloud is a tenant with a VIP, a floating IP, a forwarded port and a static route.
var cloud = strings.Replace(nettest.CloudOn("tap:tenant0", "tap:ext0"), `interfaces = ["tenant"]`,
	"interfaces = [\"tenant\"]\nroutes = [{ destination = \"192.168.7.0/24\", nexthop = \"172.16.100.9\" }]", 1) +
	nettest.FloatingIP("10.10.10.3", "172.16.100.9") + `
[[floating_ip]]
network = "ext_net"
address = "10.10.10.5"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 2222
  fixed_ip = "172.16.100.9"
  port = 22
` + nettest.Balanced("web", "TCP", 80, "", nettest.Member{Name: "one", Address: "172.16.100.9", Port: 7})

// A plain is a Topology without owners: a file is all that there is.
type plain struct {
	engine  *router.Engine
	control *control.Control

	mu   sync.Mutex
	text string // of the file
}

func (p *plain) Revision() uint64 { return p.engine.State().Version() }

func (p *plain) Plan(_ context.Context, f *file.File, opt native.ApplyOptions) (native.Applied, error) {
	from := p.engine.State()
	if opt.Revision != 0 && opt.Revision != from.Version() {
		return native.Applied{}, native.ErrRevision
	}
	d := from.Edit()
	if _, err := f.Edit(d, file.Over{}); err != nil {
		return native.Applied{}, err
	}
	to, faults := d.Check()
	if err := faults.Err(); err != nil {
		return native.Applied{}, err
	}
	return native.Applied{Revision: from.Version(), Lines: config.Describe(from, to, config.Diff(from, to)),
		Warnings: f.Warnings()}, nil
}

func (p *plain) Apply(ctx context.Context, f *file.File, opt native.ApplyOptions) (native.Applied, error) {
	r, err := p.control.Edit(ctx, func(d *config.Draft) error {
		if opt.Revision != 0 && opt.Revision != p.engine.State().Version() {
			return fmt.Errorf("%w: it is %d", native.ErrRevision, p.engine.State().Version())
		}
		_, err := f.Edit(d, file.Over{})
		return err
	})
	if err != nil {
		return native.Applied{}, err
	}
	notes := []string{}
	if opt.Cascade {
		notes = append(notes, "cascade")
	}
	return native.Applied{Revision: r.To.Version(), Lines: r.Lines(), Warnings: f.Warnings(), Notes: notes}, nil
}

func (p *plain) Export(w io.Writer) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(w, p.text)
	return p.Revision(), err
}

// A world is a router with its API behind a server.
type world struct {
	t      testing.TB
	engine *router.Engine
	opt    native.Options
	events *native.Events
	server *httptest.Server
	api    *native.API
	check  *jsonschema.Compiler
	local  bool
}

// newWorld starts a router of the cloud. change may change the options of the API.
func newWorld(t testing.TB, change func(*native.Options)) *world {
	t.Helper()
	f, err := file.Read("lab.toml", strings.NewReader(cloud))
	if err != nil {
		t.Fatal(err)
	}
	leased := router.Lease{Network: string(config.NameID(config.KindNetwork, "tenant")), Client: "02:00:00:00:00:77",
		Address: netip.MustParseAddr("172.16.100.77"), MAC: config.MAC{2, 0, 0, 0, 0, 0x77}, Hostname: "host77",
		ClientID: []byte{0, 0x61}, Device: "tap:t0", Began: time.Now(), Ends: time.Now().Add(time.Hour)}
	e, err := router.Start(f.State(), router.Options{Leases: []router.Lease{leased},
		Open: func(d config.Device) (tap.Device, error) {
			near, _ := tap.Pipe(d.String(), d.String()+"/far", tap.PipeOptions{})
			return near, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	w := &world{t: t, engine: e, events: native.NewEvents(e.State().Version()), local: true}
	c := control.New(e, control.Options{Event: func(r control.Report) { w.events.Changed(r.To.Version(), r) }})
	t.Cleanup(e.Events(w.events.Happened))
	top := &plain{engine: e, control: c, text: cloud}
	w.opt = native.Options{
		Engine: e, Control: c, Topology: top, Events: w.events, Version: "v1", Started: time.Now(),
		Metrics: metrics.New(e.Inspect(), metrics.Options{Revision: top.Revision}).Handler(),
		Level:   new(slog.LevelVar), Local: func(context.Context) bool { return w.local },
		Upgrade:   func(context.Context) error { return nil },
		RequestID: func(context.Context) string { return "req-1" },
	}
	if change != nil {
		change(&w.opt)
	}
	w.api = native.New(w.opt)
	w.server = httptest.NewServer(w.api)
	t.Cleanup(w.server.Close)
	return w
}

// An answer is what a request has got.
type answer struct {
	status int
	header http.Header
	body   string
}

// String is for messages.
func (a answer) String() string { return fmt.Sprint(a.status, " ", a.header, " ", a.body) }

// do sends a request. header has names and values in turn.
func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.server.URL+native.Base+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.fits(req, res, text)
	return answer{res.StatusCode, res.Header, string(text)}
}

// fits compares an answer with the OpenAPI document.
func (w *world) fits(req *http.Request, res *http.Response, text []byte) {
	w.t.Helper()
	if w.check == nil {
		doc, err := http.Get(w.server.URL + native.Base + "/openapi.json")
		if err != nil {
			w.t.Fatal(err)
		}
		defer doc.Body.Close()
		all, err := jsonschema.UnmarshalJSON(doc.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		w.check = jsonschema.NewCompiler() // the schemas of OpenAPI 3.1 are JSON Schema's of 2020-12
		w.check.DefaultDraft(jsonschema.Draft2020)
		if err := w.check.AddResource("openapi.json", all); err != nil {
			w.t.Fatal(err)
		}
	}
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
		return // the document does not know what is not there
	}
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if kind != "application/json" && kind != "application/problem+json" {
		return // the validator reads JSON
	}
	status := fmt.Sprint(res.StatusCode)
	if kind == "application/problem+json" {
		status = "default"
	}
	path := req.URL.Path
	if strings.HasPrefix(path, native.Base+"/debug/pprof/") {
		path = native.Base + "/debug/pprof/"
	}
	method := strings.ToLower(strings.Replace(req.Method, "HEAD", "GET", 1))
	at := "openapi.json#"
	for _, part := range []string{"paths", path, method, "responses", status, "content", kind, "schema"} {
		at += "/" + strings.ReplaceAll(part, "/", "~1")
	}
	schema, err := w.check.Compile(at)
	if err != nil {
		w.t.Errorf("%s %s: the document has no such answer: %v", req.Method, req.URL.Path, err)
		return
	}
	if len(text) == 0 && req.Method == http.MethodHead {
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		w.t.Errorf("%s %s: %v\n%s", req.Method, req.URL.Path, err, text)
	}
}

// get asks for JSON.
func (w *world) get(path string, into any) {
	w.t.Helper()
	a := w.do("GET", path, "")
	if a.status != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		w.t.Fatalf("GET %s: %v\n%s", path, err, a.body)
	}
}

// host attaches a host.
func (w *world) host(network, addr string) *host.Host {
	w.t.Helper()
	dev, err := w.engine.Attach(network, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	gateway := netip.MustParseAddr("172.16.100.1")
	if network == "ext_net" {
		gateway = netip.MustParseAddr("10.10.10.2")
	}
	h, err := host.New(dev, host.Config{Address: netip.MustParsePrefix(addr + "/24"), Gateway: gateway})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { h.Close() })
	return h
}

type object = map[string]any

// Every route answers, in the form that the OpenAPI document says.
func TestEveryRouteFitsItsDocument(t *testing.T) {
	w := newWorld(t, nil)
	inside, outside := w.host("tenant", "172.16.100.9"), w.host("ext_net", "10.10.10.4")
	l, err := outside.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := inside.Dial("tcp", "10.10.10.4:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]object
	}
	w.get("/openapi.json", &doc)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("the document is of OpenAPI %s", doc.OpenAPI)
	}
	n := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			n++
			path := strings.TrimPrefix(path, native.Base)
			body, query := "", ""
			switch {
			case path == "/events":
				continue // has no end: TestEvents
			case method == "put":
				body = `{"level":"warn"}`
			case path == "/plan", path == "/apply":
				body = cloud
			case path == "/leases" && method == "delete":
				query = "?address=172.16.100.77"
			case method == "delete":
				query = "?port=1"
			}
			if a := w.do(strings.ToUpper(method), path+query, body); a.status/100 != 2 {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if n < 22 {
		t.Errorf("%d operations", n)
	}
}

// A lease is listed, and ends by hand.
func TestLeases(t *testing.T) {
	w := newWorld(t, nil)
	var got struct{ Leases []map[string]string }
	w.get("/leases?network=tenant", &got)
	if len(got.Leases) != 1 {
		t.Fatalf("leases: %v", got)
	}
	for k, want := range map[string]string{"address": "172.16.100.77", "mac": "02:00:00:00:00:77", "hostname": "host77",
		"client_id": "0061", "network": "tenant", "device": "tap:t0"} {
		if got.Leases[0][k] != want {
			t.Errorf("%s is %q, want %q", k, got.Leases[0][k], want)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/leases?network=nowhere", 404},
		{"DELETE", "/leases", 400},
		{"DELETE", "/leases?address=172.16.100.78", 404},
		{"DELETE", "/leases?address=172.16.100.77&network=ext_net", 404},
		{"DELETE", "/leases?address=172.16.100.77&network=tenant", 200},
		{"DELETE", "/leases?address=172.16.100.77", 404},
	} {
		if a := w.do(c.method, c.path, ""); a.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, a.status, a.body, c.status)
		}
	}
	if w.get("/leases", &got); len(got.Leases) != 0 {
		t.Errorf("after the release there are %v", got)
	}
}

func TestConnections(t *testing.T) {
	w := newWorld(t, nil)
	inside, outside := w.host("tenant", "172.16.100.9"), w.host("ext_net", "10.10.10.4")
	l, err := outside.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns []io.ReadWriteCloser
	for range 3 {
		c, err := inside.Dial("tcp", "10.10.10.4:8080")
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		conns = append(conns, c)
	}
	var out struct {
		Connections []struct {
			Router, Protocol, State string
			Timeout                 float64
			Original, Reply         struct {
				Src, Dst     string
				Sport, Dport int
			}
		}
	}
	w.get("/connections?src=172.16.100.0/24&protocol=tcp&state=established&dport=8080&router=router", &out)
	if len(out.Connections) != 3 {
		t.Fatalf("%+v", out)
	}
	c := out.Connections[0]
	if c.Router != "router" || c.Original.Src != "172.16.100.9" || c.Reply.Dst != "10.10.10.3" ||
		c.Reply.Sport != 8080 ||
		c.Timeout < 7000 {
		t.Errorf("%+v", c)
	}
	a := w.do("GET", "/connections?limit=2", "", "Accept", "application/x-ndjson")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 2 {
		t.Errorf("%q", a)
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) || !strings.Contains(l, `"protocol":"tcp"`) {
			t.Errorf("%q", l)
		}
	}
	port := fmt.Sprint(c.Original.Sport)
	if a := w.do("DELETE", "/connections?sport="+port, ""); !strings.Contains(a.body, `"ended":1`) {
		t.Errorf("%q", a)
	}
	ended := 0
	for _, c := range conns {
		if _, err := c.Write([]byte("x")); err != nil {
			ended++
		}
	}
	w.get("/connections?protocol=6", &out)
	if len(out.Connections) != 2 {
		t.Errorf("%d are left, %d ends know", len(out.Connections), ended)
	}
	if _, err := inside.Ping(t.Context(), netip.MustParseAddr("10.10.10.4")); err != nil {
		t.Fatal(err)
	}
	w.get("/connections?protocol=icmp", &out)
	if len(out.Connections) != 1 {
		t.Fatalf("%+v", out)
	}
	o, r := out.Connections[0].Original, out.Connections[0].Reply
	if o.Sport == 0 || o.Dport != o.Sport || r.Sport == 0 || r.Dport != r.Sport {
		t.Errorf("query identifiers: %+v %+v", o, r)
	}
	if a := w.do("DELETE", "/connections?all=true", ""); !strings.Contains(a.body, `"ended":3`) {
		t.Errorf("%q", a)
	}
}

// What a client asks for by mistake is refused in words, and changes nothing.
func TestBadRequests(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/connections?src=10.0.0", "", 400, "10.0.0.0/24"},
		{"GET", "/connections?src=fe80::1%25eth0", "", 400, "an address such as"},
		{"GET", "/connections?source=10.0.0.1", "", 400, `no parameter "source"`},
		{"GET", "/connections?port=1&port=2", "", 400, "once"},
		{"GET", "/connections?port=0", "", 400, "65535"},
		{"GET", "/connections?sport=70000", "", 400, "65535"},
		{"GET", "/connections?protocol=sctpx", "", 400, "tcp, udp, icmp"},
		{"GET", "/connections?state=OPEN", "", 400, "SYN_SENT"},
		{"GET", "/connections?limit=-1", "", 400, "from 1"},
		{"DELETE", "/connections", "", 400, "all=true"},
		{"DELETE", "/connections?all=perhaps", "", 400, "true or false"},
		{"PUT", "/status", "", 405, "GET"},
		{"GET", "/nothing", "", 404, "openapi.json"},
		{"PUT", "/log-level", `{"level":"loud"}`, 400, "debug, info"},
		{"PUT", "/log-level", `{"level":"error+100"}`, 400, "debug, info"},
		{"PUT", "/log-level", `{"level":"info-0"}`, 400, "debug, info"},
		{"PUT", "/log-level", `{"level":"info"} {"level":"debug"}`, 400, "behind the level"},
		{"PUT", "/log-level", `{"niveau":"debug"}`, 400, "niveau"},
		{"PUT", "/log-level", `nonsense`, 400, `{"level": "debug"}`},
		{"PUT", "/log-level", `{"level":"` + strings.Repeat("x", 1<<17) + `"}`, 400, "too large"},
		{"POST", "/apply", "", 400, "empty"},
		{"POST", "/apply", "[[network]]\nnam = 1\n", 422, ""},
		{"POST", "/apply?name=" + strings.Repeat("x", 300), cloud, 400, "255"},
		{"POST", "/apply?name=a%0Ab", cloud, 400, "printed"},
		{"POST", "/plan?cascade=2", cloud, 400, "true or false"},
		{"GET", "/debug/pprof/profile?seconds=3600", "", 400, "60 seconds"},
	} {
		before := w.engine.State()
		a := w.do(c.method, c.path, c.body)
		var p struct {
			Title, Detail, Instance string
			Status                  int
		}
		if err := json.Unmarshal([]byte(a.body), &p); err != nil {
			t.Fatalf("%s %.60s: %v: %s", c.method, c.path, err, a.body)
		}
		if a.status != c.status || p.Status != c.status || !strings.Contains(p.Detail, c.says) ||
			p.Instance != "req-1" ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.60s: %q, want %d and %q", c.method, c.path, a, c.status, c.says)
		}
		if w.engine.State() != before {
			t.Errorf("%s %.60s has changed something", c.method, c.path)
		}
	}
}

func TestPlanAndApply(t *testing.T) {
	w := newWorld(t, nil)
	next := strings.Replace(cloud, "10.10.10.3", "10.10.10.33", 1)
	var plan struct {
		Revision uint64
		Changes  []struct{ Op, Kind, Name, File string }
	}
	a := w.do("POST", "/plan?name=lab.toml", next)
	if err := json.Unmarshal([]byte(a.body), &plan); err != nil || a.status != 200 || len(plan.Changes) == 0 {
		t.Fatalf("%v %q", err, a)
	}
	was := w.engine.State()
	stale := fmt.Sprintf("%q", fmt.Sprint(was.Version()+7))
	if a := w.do("POST", "/apply", next, "If-Match", stale); a.status != 412 || w.engine.State() != was {
		t.Errorf("a revision that is not served: %q", a)
	}
	if a := w.do("POST", "/apply", next, "If-Match", "17"); a.status != 400 {
		t.Errorf("a revision without quotation marks: %q", a)
	}
	now := fmt.Sprintf("%q", fmt.Sprint(was.Version()))
	a = w.do("POST", "/apply?name=lab.toml&cascade=true", next, "If-Match", now)
	if a.status != 200 || a.header.Get("ETag") == now || !strings.Contains(a.body, `"cascade"`) ||
		!strings.Contains(a.body, "lab.toml") {
		t.Errorf("%q", a)
	}
	if got := w.engine.State().Count(config.KindFloatingIP); got != 2 || w.engine.State() == was {
		t.Errorf("%d floating IPs", got)
	}
	if a := w.do("POST", "/apply?name=lab.toml", next, "If-Match", "*"); a.status != 200 ||
		!strings.Contains(a.body, `"changes":[]`) {
		t.Errorf("the same again: %q", a)
	}
	// A fault has its line: the address of the floating IP is the router's.
	wrong := strings.Replace(cloud, "10.10.10.3", "10.10.10.2", 1)
	line := strings.Count(wrong[:strings.Index(wrong, `address = "10.10.10.2"`)], "\n") + 1
	a = w.do("POST", "/apply?name=lab.toml", wrong)
	var p struct {
		Faults []struct {
			File, Message string
			Line          int
		}
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 422 || len(p.Faults) == 0 ||
		p.Faults[0].File != "lab.toml" || p.Faults[0].Line < line-3 {
		t.Errorf("%v %q", err, a)
	}
	if a := w.do("GET", "/export", ""); a.status != 200 || a.body != cloud || a.header.Get("ETag") == "" {
		t.Errorf("%q", a)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t, nil)
	var s struct {
		Version  string
		Revision uint64
		Objects  map[string]int
		Missing  []string `json:"missing_devices"`
		Unserved []object
		Down     []object `json:"members_down"`
		Full     []struct {
			Network, Subnet string
			Size            int
		} `json:"pools_full"`
		Workers []struct {
			Turns uint64
			Busy  float64 `json:"busy_seconds"`
		}
	}
	w.get("/status", &s)
	if s.Version != "v1" || s.Revision != w.engine.State().Version() || s.Objects["floating_ips"] != 2 ||
		s.Objects["networks"] != 2 || s.Objects["load_balancers"] != 1 || len(s.Workers) == 0 ||
		s.Workers[0].Turns == 0 ||
		s.Workers[0].Busy <= 0 || s.Down == nil || len(s.Down) > 0 {
		t.Errorf("%+v", s)
	}
	if s.Full == nil || len(s.Full) > 0 {
		t.Errorf("full pools: %+v", s.Full)
	}
	if a := w.do("HEAD", "/status", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %q", a)
	}
	_, err := w.opt.Control.Edit(t.Context(), func(d *config.Draft) error {
		n := &config.Network{Meta: config.Meta{ID: config.NameID(config.KindNetwork, "tiny"), Name: "tiny"}}
		d.Put(n, &config.Subnet{Meta: config.Meta{ID: config.NameID(config.KindSubnet, "tiny")}, Network: n.ID,
			CIDR: netip.MustParsePrefix("10.77.0.0/30"), Gateway: netip.MustParseAddr("10.77.0.1")},
			&config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, "tiny")}, Network: n.ID,
				FixedIPs: []config.FixedIP{{}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.get("/status", &s)
	if len(s.Full) != 1 || s.Full[0].Network != "tiny" || s.Full[0].Subnet != "10.77.0.0/30" || s.Full[0].Size != 1 {
		t.Errorf("full pools: %+v", s.Full)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t, nil)
	for path, wants := range map[string][]string{
		"/routes": {`"dst":"default","gateway":"10.10.10.4","dev":"ext_net"`, `"dst":"192.168.7.0/24"`,
			`"kind":"static"`,
			`"protocol":"kernel","scope":"link","prefsrc":"172.16.100.1"`, `"kind":"route of router"`,
			`"at":"lab.toml:`},
		"/nat": {`"router inbound DNAT to 10.10.10.3 -\u003e 172.16.100.9"`,
			`"router outbound SNAT from any other -\u003e 10.10.10.2"`,
			`"address":"10.10.10.2","ports_in_use":{"tcp":0,"udp":0,"icmp":0}`, `"fixed_ip":"172.16.100.9"`,
			`"external_port":2222`, `"in_force":true`, `"vips":[{`},
		"/floating-ips": {`"address":"10.10.10.5"`, `"status":"ACTIVE"`, `"network":"ext_net"`, `"external_port":2222`},
		"/vips": {`"name":"web"`, `"address":"172.16.100.11"`, `"operating_status":"NO_MONITOR"`,
			`"members":[{`},
		"/drops":     {`"drops":[`, `"lost":[`, `"ports":[`, `"recalled":[]`},
		"/devices":   {`"device":"tap:ext0","network":"ext_net","present":true`, `"configured":true`},
		"/neighbors": {`"neighbors":[`},
		"/metrics":   {"taprouter_config_generation"},
	} {
		a := w.do("GET", path, "")
		for _, want := range wants {
			if !strings.Contains(strings.ReplaceAll(a.body, "\n", ""), want) {
				t.Errorf("%s: no %s in\n%s", path, want, a.body)
			}
		}
	}
}

// Two routers may have the same name. What belongs to one of them is not shown at the other one, and not lost.
func TestRoutersOfTheSameName(t *testing.T) {
	w := newWorld(t, nil)
	twin := "\n[[router]]\nname = \"router\"\nid = \"%s\"\n" +
		"gateway = { network = \"ext_net\", address = \"10.10.10.9\" }\n"
	const id = "11111111-1111-4111-8111-111111111111"
	if a := w.do("POST", "/apply", cloud+fmt.Sprintf(twin, id)); a.status != 200 {
		t.Fatal(a)
	}
	var nat struct {
		Routers []struct {
			ID   string `json:"router_id"`
			Name string `json:"router"`
			VIPs []struct{ Name string }
		}
	}
	w.get("/nat", &nat)
	if len(nat.Routers) != 2 || nat.Routers[0].Name != nat.Routers[1].Name {
		t.Fatalf("%+v", nat)
	}
	for _, r := range nat.Routers {
		want := 1
		if r.ID == id {
			want = 0
		}
		if len(r.VIPs) != want {
			t.Errorf("router %s has the VIPs %v, want %d", r.ID, r.VIPs, want)
		}
	}
	text := w.do("GET", "/metrics", "").body
	for _, address := range []string{"10.10.10.2", "10.10.10.9"} {
		if !strings.Contains(text, `taprouter_nat_ports_in_use{address="`+address+`",protocol="tcp"`) {
			t.Errorf("no ports in use of %s are in the metrics", address)
		}
	}
}

func TestRoutesForTheServer(t *testing.T) {
	by := map[string]native.Route{}
	for _, r := range native.Routes() {
		by[r.Pattern] = r
	}
	if !by["GET /taprouter/v1/events"].Stream || !by["GET /taprouter/v1/debug/pprof/"].Local ||
		!by["GET /taprouter/v1/healthz"].Open || by["POST /taprouter/v1/apply"].Body != 16<<20 {
		t.Errorf("%v", by)
	}
}
