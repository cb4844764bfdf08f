package identity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
	"github.com/taprouter/taprouter/config"
)

const project = "00000000000000000000000000000001"

// A stub is an API under test, with its clock and the router's token.
type stub struct {
	*API
	t     testing.TB
	now   time.Time
	token string // of the router; empty: none
	state *config.State
}

func newStub(t testing.TB) *stub {
	s := &stub{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), state: config.Empty()}
	s.API = New(Options{State: func() *config.State { return s.state }, Project: project,
		Now:      func() time.Time { return s.now },
		Password: func(text string) bool { return s.token == "" || text == s.token },
		Salt:     func() []byte { return []byte(s.token) }})
	return s
}

// ask sends a request with headers, which are names and values in turn.
func (s *stub) ask(method, path, body string, headers ...string) (int, http.Header, map[string]any) {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://cloud:9696"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var o map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil && method != http.MethodHead {
		s.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
	}
	return w.Code, w.Result().Header, o
}

// is fails unless an answer has a status, and is the same as a JSON text.
func (s *stub) is(status int, path, want string) {
	s.t.Helper()
	got, header, o := s.ask("GET", path, "")
	if header.Get("Vary") != "X-Auth-Token" {
		s.t.Errorf("%s: caches are told %q", path, header)
	}
	var w map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		s.t.Fatal(err)
	}
	if got != status || !reflect.DeepEqual(o, w) || header.Get("Content-Type") != "application/json" {
		s.t.Errorf("%s: %d %v, want %d %v", path, got, o, status, w)
	}
}

const password = `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"anna","password":"x",
	"domain":{"id":"default"}}}}%s}}`

func (s *stub) login(body string) (string, map[string]any) {
	s.t.Helper()
	status, header, o := s.ask("POST", "/identity/v3/auth/tokens", body)
	text := header.Get("X-Subject-Token")
	t, ok := o["token"].(map[string]any)
	if status != http.StatusCreated || text == "" || !ok {
		s.t.Fatalf("%s: %d %v", body, status, o)
	}
	return text, t
}

// A login is answered with a token for what it asks for: the project, unless it says otherwise.
func TestLogin(t *testing.T) {
	s := newStub(t)
	for _, c := range []struct{ name, scope, is string }{
		{"none", ``, "project"}, {"null", `,"scope":null`, "project"},
		{"project by name", `,"scope":{"project":{"name":"admin","domain":{"name":"Default"}}}`, "project"},
		{"project by id", `,"scope":{"project":{"id":"` + project + `"}}`, "project"},
		{"domain", `,"scope":{"domain":{"id":"default"}}`, "domain"},
		{"domain by name", `,"scope":{"domain":{"name":"Default"}}`, "domain"},
		{"system", `,"scope":{"system":{"all":true}}`, "system"},
		{"the word of Horizon", `,"scope":"unscoped"`, "unscoped"}, {"as an object", `,"scope":{"unscoped":{}}`,
			"unscoped"},
	} {
		text, body := s.login(fmt.Sprintf(password, c.scope))
		for _, name := range []string{"project", "domain", "system"} {
			if _, has := body[name]; has != (c.is == name) {
				t.Errorf("%s: %s is %v", c.name, name, body[name])
			}
		}
		if _, has := body["catalog"]; has != (c.is != "unscoped") {
			t.Errorf("%s: the catalog is %v", c.name, body["catalog"])
		}
		user := body["user"].(map[string]any)
		if user["name"] != "anna" || user["id"] != userID || body["issued_at"] != "2026-01-02T03:04:05.000000Z" ||
			body["expires_at"] != "2026-01-03T03:04:05.000000Z" || !reflect.DeepEqual(body["methods"],
			[]any{"password"}) {
			t.Errorf("%s: %v", c.name, body)
		}
		if name, ok := s.User(text); !ok || name != "anna" {
			t.Errorf("%s: the token is %q's, %v", c.name, name, ok)
		}
		status, header, shown := s.ask("GET", "/identity/v3/auth/tokens", "", "X-Subject-Token", text)
		if status != 200 || header.Get("X-Subject-Token") != text || !reflect.DeepEqual(shown["token"], body) {
			t.Errorf("%s: shown as %d %v", c.name, status, shown)
		}
		if status, _, _ := s.ask("HEAD", "/identity/v3/auth/tokens", "", "X-Subject-Token", text); status != 200 {
			t.Errorf("%s: HEAD: %d", c.name, status)
		}
		again, body := s.login(`{"auth":{"identity":{"methods":["token"],"token":{"id":"` + text + `"}}}}`)
		if name, ok := s.User(again); !ok || name != "anna" || body["project"] == nil {
			t.Errorf("%s: a token by the token: %q, %v", c.name, name, body)
		}
	}
	_, body := s.login(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":
		{"name":"c","secret":"x","user":{"name":"bob"}}}}}`)
	if body["user"].(map[string]any)["name"] != "bob" {
		t.Errorf("an application credential: %v", body)
	}
	_, body = s.login(`{"auth":{"identity":{"methods":["password","password"],"password":
		{"user":{"id":"` + userID + `","password":"x"}}}}}`)
	if body["user"].(map[string]any)["name"] != "admin" || fmt.Sprint(body["methods"]) != "[password]" {
		t.Errorf("by the user's id: %v", body)
	}
	types := map[any]any{}
	for _, x := range body["catalog"].([]any) {
		e := x.(map[string]any)
		endpoints := e["endpoints"].([]any)
		if len(endpoints) != 3 {
			t.Errorf("%v", e)
		}
		for i, face := range []string{"public", "internal", "admin"} {
			p := endpoints[i].(map[string]any)
			types[e["type"]] = p["url"]
			if p["interface"] != face || p["region"] != "RegionOne" || p["region_id"] != "RegionOne" {
				t.Errorf("%v", p)
			}
		}
	}
	if want := map[any]any{"network": "http://cloud:9696", "load-balancer": "http://cloud:9696/load-balancer",
		"identity": "http://cloud:9696/identity/v3",
		"compute":  "http://cloud:9696/compute/v2.1"}; !reflect.DeepEqual(types,
		want) {
		t.Errorf("the catalog is %v", types)
	}
}

// Where the router has a token, that is the password. A new token of the router's ends all logins.
func TestPassword(t *testing.T) {
	s := newStub(t)
	s.token = "sesame"
	credential := `{"auth":{"identity":{"methods":["application_credential"],"application_credential":
		{"id":"c","secret":"%s"}}}}`
	for _, body := range []string{fmt.Sprintf(password, ""), fmt.Sprintf(credential, "x"), fmt.Sprintf(credential,
		"")} {
		if status, header, o := s.ask("POST", "/identity/v3/auth/tokens", body); status != 401 || o["error"] == nil ||
			header.Get("X-Subject-Token") != "" {
			t.Errorf("%s: %d %v", body, status, o)
		}
	}
	s.login(strings.Replace(fmt.Sprintf(password, ""), `"password":"x"`, `"password":"sesame"`, 1))
	text, _ := s.login(fmt.Sprintf(credential, "sesame"))
	if _, ok := s.User(text); !ok {
		t.Error("the token is not good")
	}
	s.token = "another"
	if _, ok := s.User(text); ok {
		t.Error("the token is good under another token of the router")
	}
}

// A token that is too old, changed or another process's is none.
func TestTokens(t *testing.T) {
	s := newStub(t)
	text, _ := s.login(fmt.Sprintf(password, ""))
	other, _ := newStub(t).login(fmt.Sprintf(password, ""))
	head, tail, _ := strings.Cut(text, ".")
	payload, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "anna", "eve ", 1)))
	for _, bad := range []string{"", ".", "x", text[:9] + "\n" + text[9:], text + "\r", head, head + ".", "." + tail,
		forged + "." + tail, text + "A", other,
		strings.Repeat("A", 5000), head + "." + strings.Repeat("A", len(tail))} {
		if name, ok := s.User(bad); ok {
			t.Errorf("%q is %s's token", bad, name)
		}
		if status, _, o := s.ask("GET", "/identity/v3/auth/tokens", "", "X-Subject-Token", bad); status != 404 {
			t.Errorf("%q: %d %v", bad, status, o)
		}
		if status, _, o := s.ask("POST", "/identity/v3/auth/tokens",
			`{"auth":{"identity":{"methods":["token"],"token":{"id":`+strconv.Quote(bad)+`}}}}`); status != 401 {
			t.Errorf("%q: %d %v", bad, status, o)
		}
	}
	s.now = s.now.Add(lifetime - time.Second)
	if _, ok := s.User(text); !ok {
		t.Error("the token has ended too soon")
	}
	s.now = s.now.Add(time.Second)
	if _, ok := s.User(text); ok {
		t.Error("the token does not end")
	}
}

// What is no login is refused, and the answer says why.
func TestRefusedLogins(t *testing.T) {
	s := newStub(t)
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{``, 400, "no login"}, {`{`, 400, "no login"}, {`[]`, 400, "no login"}, {`{}`, 400, "'auth'"},
		{`null`, 400, "'auth'"}, {`{"auth":null}`, 400, "'auth'"}, {`{"auth":{}}`, 400, "'methods'"},
		{`{"auth":{"identity":{"methods":"password"}}}`, 400, "no login"},
		{`{"auth":{"identity":{"methods":[]}}}`, 400, "'methods'"},
		{`{"auth":{"identity":{"methods":["password"]}}}`, 400, "'password'"},
		{`{"auth":{"identity":{"methods":["token"]}}}`, 400, "'token'"},
		{`{"auth":{"identity":{"methods":["application_credential"]}}}`, 400, "'application_credential'"},
		{`{"auth":{"identity":{"methods":["totp"]}}}`, 401, "unsupported method"},
		{`{"auth":{"identity":{"methods":["a","b","c","d"]}}}`, 400, "too many"},
		{fmt.Sprintf(password, "") + "{}", 400, "behind"},
		{strings.Replace(fmt.Sprintf(password, ""), "anna", strings.Repeat("a", 256), 1), 400, "255"},
		{fmt.Sprintf(password, `,"scope":"x"`), 400, "no scope"}, {fmt.Sprintf(password, `,"scope":{}`), 400,
			"none of"},
		{fmt.Sprintf(password, `,"scope":[]`), 400, "cannot be read"},
		{fmt.Sprintf(password, `,"scope":{"project":{"name":"demo"}}`), 401, project},
		{fmt.Sprintf(password, `,"scope":{"project":{"id":"2","name":"admin"}}`), 401, "one project"},
		{fmt.Sprintf(password, `,"scope":{"project":{}}`), 401, "one project"},
		{fmt.Sprintf(password, `,"scope":{"domain":{"id":"x"}}`), 401, "one domain"},
		{fmt.Sprintf(password, `,"scope":{"domain":{"id":"x","name":"Default"}}`), 401, "one domain"},
	} {
		status, header, o := s.ask("POST", "/identity/v3/auth/tokens", c.body)
		e, _ := o["error"].(map[string]any)
		message, _ := e["message"].(string)
		if status != c.status || e["code"] != float64(status) || e["title"] != http.StatusText(status) ||
			!strings.Contains(message, c.want) || header.Get("X-Subject-Token") != "" {
			t.Errorf("%s: %d %v, want %d with %q", c.body, status, o, c.status, c.want)
		}
	}
}

// The version documents, the project and the domain, as clients read them.
func TestDocuments(t *testing.T) {
	s := newStub(t)
	const version = `{"id":"v3.14","status":"stable","updated":"2020-04-07T00:00:00Z",
		"links":[{"rel":"self","href":"http://cloud:9696/identity/v3/"}],
		"media-types":[{"base":"application/json","type":"application/vnd.openstack.identity-v3+json"}]}`
	const one = `{"id":"` + project + `","name":"admin","domain_id":"default","parent_id":"default","enabled":true,
		"is_domain":false,"description":"Everything of this router.","tags":[],
		"links":{"self":"http://cloud:9696/identity/v3/projects/` + project + `"}}`
	for _, slash := range []string{"", "/"} {
		s.is(300, "/identity"+slash, `{"versions":{"values":[`+version+`]}}`)
		s.is(200, "/identity/v3"+slash, `{"version":`+version+`}`)
		s.is(200, "/compute/v2.1"+slash, `{"version":{"id":"v2.1","status":"CURRENT","version":"2.1","min_version":"2.1",
			"updated":"2013-07-23T11:33:21Z","links":[{"rel":"self","href":"http://cloud:9696/compute/v2.1/"}],
			"media-types":[{"base":"application/json","type":"application/vnd.openstack.compute+json;version=2.1"}]}}`)
		_, _, o := s.ask("GET", "/load-balancer"+slash, "")
		list, _ := o["versions"].([]any)
		if len(list) != 28 {
			t.Fatalf("%v", o)
		}
		for i, x := range list {
			v, want := x.(map[string]any), "SUPPORTED"
			if i == 27 {
				want = "CURRENT"
			}
			if v["id"] != fmt.Sprintf("v2.%d", i) || v["status"] != want || !reflect.DeepEqual(v["links"],
				[]any{map[string]any{"rel": "self", "href": "http://cloud:9696/load-balancer/v2.0"}}) {
				t.Errorf("%v", v)
			}
		}
	}
	list := func(path string, projects string) {
		t.Helper()
		at, _, _ := strings.Cut(path, "?")
		s.is(200, path, `{"projects":[`+projects+`],
			"links":{"self":"http://cloud:9696`+at+`","next":null,"previous":null}}`)
	}
	for _, path := range []string{"/identity/v3/users/" + userID + "/projects", "/identity/v3/projects",
		"/identity/v3/auth/projects", "/identity/v3/projects?name=admin&domain_id=default&enabled=True"} {
		list(path, one)
	}
	list("/identity/v3/projects?limit=1", one)
	for _, q := range []string{"name=x", "id=x", "domain_id=x", "enabled=False", "enabled=0",
		"limit=1&marker=" + project} {
		list("/identity/v3/projects?"+q, "")
	}
	s.is(200, "/identity/v3/projects/"+project, `{"project":`+one+`}`)
	s.is(200, "/identity/v3/domains/default", `{"domain":{"id":"default","name":"Default","enabled":true,
		"description":"","links":{"self":"http://cloud:9696/identity/v3/domains/default"}}}`)
	for _, path := range []string{"/identity/v3/projects/x", "/identity/v3/domains/x", "/identity/v3/users/x/projects",
		"/identity/v3/users", "/identity/v2.0"} {
		if status, _, o := s.ask("GET", path, ""); status != 404 || o["error"] == nil {
			t.Errorf("%s: %d %v", path, status, o)
		}
	}
	if status, _, o := s.ask("GET", "/load-balancer/v2.0/networks", ""); status != 404 || o["faultstring"] == nil {
		t.Errorf("%d %v", status, o)
	}
	if status, _, o := s.ask("DELETE", "/identity/v3/projects", ""); status != 405 || o["error"] == nil {
		t.Errorf("%d %v", status, o)
	}
	r := httptest.NewRequest("GET", "https://cloud/identity/v3", nil)
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); !strings.Contains(w.Body.String(), `"https://cloud/identity/v3/"`) {
		t.Errorf("over TLS: %s", w.Body)
	}
}

// A server is made of the ports with one device_id. Ports of the cloud itself are none.
func TestServers(t *testing.T) {
	s := newStub(t)
	d := s.state.Edit()
	d.Now = s.now
	id := func(n byte) config.ID { return config.NewID([16]byte{15: n}) }
	meta := func(n byte, name string) config.Meta { return config.Meta{ID: id(n), Name: name} }
	d.Put(&config.Network{Meta: meta(1, "ext"), AdminStateUp: true, External: true})
	d.Put(&config.Subnet{Meta: meta(2, ""), Network: id(1), CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	d.Put(&config.Network{Meta: meta(3, "tenant"), AdminStateUp: true})
	d.Put(&config.Subnet{Meta: meta(4, ""), Network: id(3), CIDR: netip.MustParsePrefix("172.16.0.0/24")})
	d.Put(&config.Network{Meta: meta(7, ""), AdminStateUp: true})
	d.Put(&config.Subnet{Meta: meta(8, ""), Network: id(7), CIDR: netip.MustParsePrefix("fd00::/64")})
	d.Put(&config.Router{Meta: meta(5, "r"), AdminStateUp: true, Gateway: &config.Gateway{Network: id(1)}})
	d.Put(&config.Port{Meta: meta(6, ""), Network: id(3), AdminStateUp: true, DeviceID: string(id(5)),
		DeviceOwner: config.OwnerInterface, FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr("172.16.0.1")}}})
	for i, p := range []struct{ name, address, device, owner string }{
		{"", "172.16.0.10", "a", "compute:nova"}, {"web", "172.16.0.11", "a", "compute:nova"},
		{"db", "172.16.0.12", "b", ""}, {"loose", "172.16.0.13", "", ""}, {"dhcp", "172.16.0.14", "c", "network:dhcp"},
		{"", "172.16.0.15", "d", "compute:nova"}, {"vip", "172.16.0.16", "e", "Octavia"},
	} {
		d.Put(&config.Port{Meta: meta(byte(10+i), p.name), Network: id(3), AdminStateUp: true,
			MAC:      config.MAC{2, 0, 0, 0, 0, byte(10 + i)},
			FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr(p.address)}}, DeviceID: p.device,
			DeviceOwner: p.owner})
	}
	d.Put(&config.Port{Meta: meta(29, ""), Network: id(7), AdminStateUp: true, DeviceID: "b",
		MAC: config.MAC{2, 0, 0, 0, 0, 9}, FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr("fd00::9")}}})
	d.Put(&config.FloatingIP{Meta: meta(30, ""), Network: id(1), Address: netip.MustParseAddr("10.0.0.50"),
		FixedIP: netip.MustParseAddr("172.16.0.11")})
	state, faults := d.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	s.state = state
	names := func(query string, want ...string) map[string]any {
		t.Helper()
		status, _, o := s.ask("GET", "/compute/v2.1/servers/detail"+query, "")
		got := []string{}
		list, _ := o["servers"].([]any)
		for _, x := range list {
			v := x.(map[string]any)
			got = append(got, fmt.Sprint(v["id"], "/", v["name"]))
		}
		if status != 200 || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %d %q, want %q", query, status, got, want)
		}
		return o
	}
	all := []string{"a/web", "b/db", "d/d"}
	o := names("", all...)
	first := o["servers"].([]any)[0].(map[string]any)
	if want := map[string]any{"tenant": []any{
		map[string]any{"version": 4., "addr": "172.16.0.10", "OS-EXT-IPS:type": "fixed",
			"OS-EXT-IPS-MAC:mac_addr": "02:00:00:00:00:0a"},
		map[string]any{"version": 4., "addr": "172.16.0.11", "OS-EXT-IPS:type": "fixed",
			"OS-EXT-IPS-MAC:mac_addr": "02:00:00:00:00:0b"},
		map[string]any{"version": 4., "addr": "10.0.0.50", "OS-EXT-IPS:type": "floating",
			"OS-EXT-IPS-MAC:mac_addr": "02:00:00:00:00:0b"},
	}}; !reflect.DeepEqual(first["addresses"], want) {
		t.Errorf("addresses: %v, want %v", first["addresses"], want)
	}
	for _, key := range []string{"id", "name", "status", "tenant_id", "user_id", "addresses", "flavor", "image",
		"created",
		"updated", "metadata", "links", "key_name", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state",
		"OS-EXT-STS:vm_state", "OS-EXT-AZ:availability_zone"} {
		if _, ok := first[key]; !ok {
			t.Errorf("a server has no %s", key)
		}
	}
	second := o["servers"].([]any)[1].(map[string]any)["addresses"].(map[string]any)
	if want := []any{map[string]any{"version": 6., "addr": "fd00::9", "OS-EXT-IPS:type": "fixed",
		"OS-EXT-IPS-MAC:mac_addr": "02:00:00:00:00:09"}}; !reflect.DeepEqual(second[string(id(7))], want) {
		t.Errorf("on a network without a name: %v, want %v", second, want)
	}
	if first["created"] != "2026-01-02T03:04:05Z" {
		t.Errorf("created at %v", first["created"])
	}
	names("?project_id="+project+"&unknown=x", all...)
	names("?project_id=x")
	names("?tenant_id=x")
	names("?name=we", "a/web")
	names("?uuid=b", "b/db")
	names("?status=error")
	o = names("?limit=2", "a/web", "b/db")
	next, _ := o["servers_links"].([]any)[0].(map[string]any)["href"].(string)
	if _, q, ok := strings.Cut(next, "http://cloud:9696/compute/v2.1/servers/detail"); ok {
		names(q, "d/d")
	} else {
		t.Errorf("the next page is at %q", next)
	}
	names("?limit=2&marker=d")
	for _, limit := range []string{"0", "3"} {
		if o := names("?limit="+limit, all...); o["servers_links"] != nil {
			t.Errorf("limit %s: %v", limit, o["servers_links"])
		}
	}
	for _, q := range []string{"?marker=x", "?limit=x", "?limit=-1"} {
		if status, _, o := s.ask("GET", "/compute/v2.1/servers"+q, ""); status != 400 || o["badRequest"] == nil {
			t.Errorf("%s: %d %v", q, status, o)
		}
	}
	s.is(200, "/compute/v2.1/servers?name=db", `{"servers":[{"id":"b","name":"db",
		"links":[{"rel":"self","href":"http://cloud:9696/compute/v2.1/servers/b"}]}]}`)
	_, _, o = s.ask("GET", "/compute/v2.1/limits", "")
	limits := o["limits"].(map[string]any)
	absolute := limits["absolute"].(map[string]any)
	if absolute["maxTotalInstances"] != -1. || absolute["totalInstancesUsed"] != 0. || limits["rate"] == nil {
		t.Errorf("%v", o)
	}
	for _, request := range []string{"GET /compute", "GET /compute/v2.1/servers/a", "GET /compute/v2.1/os-services",
		"POST /compute/v2.1/servers", "DELETE /compute/v2.1/servers/a", "PUT /compute/v2.1/limits"} {
		method, path, _ := strings.Cut(request, " ")
		status, _, o := s.ask(method, path, "")
		e, _ := o["itemNotFound"].(map[string]any)
		if status != 404 || e["code"] != 404. || e["message"] == "" {
			t.Errorf("%s: %d %v", request, status, o)
		}
	}
}

// What clients ask before they have a token is open, and nothing else is.
func TestRoutes(t *testing.T) {
	mux := http.NewServeMux()
	for _, r := range Routes() {
		mux.Handle(r.Pattern, &serve.Route{Open: r.Open})
	}
	for target, want := range map[string]bool{"GET /identity": true, "GET /identity/": true, "GET /identity/v3/": true,
		"POST /identity/v3/auth/tokens": true, "GET /load-balancer": true, "GET /compute/v2.1/": true,
		"GET /identity/v3/auth/tokens": false, "GET /identity/v3/projects": false, "GET /compute/v2.1/servers": false,
		"GET /load-balancer/v2.0/lbaas/pools": false, "DELETE /identity": false} {
		method, path, _ := strings.Cut(target, " ")
		h, _ := mux.Handler(httptest.NewRequest(method, path, nil))
		if r, ok := h.(*serve.Route); (ok && r.Open) != want {
			t.Errorf("%s: open is %v", target, !want)
		}
	}
}

// No login and no token has the stub panic, or answer as if it were its own fault. Who is let in has a good token.
func FuzzLogin(f *testing.F) {
	for _, scope := range []string{``, `,"scope":"unscoped"`, `,"scope":{"project":{"name":"admin"}}`,
		`,"scope":{"domain":{"id":"default"},"system":{}}`} {
		f.Add(fmt.Sprintf(password, scope))
	}
	f.Add(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"secret":"x"}}}}`)
	f.Add(`{"auth":{"identity":{"methods":["token"],"token":{"id":"e30.e30"}}}}`)
	s := newStub(f)
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", "/identity/v3/auth/tokens", strings.NewReader(body)))
		text := w.Header().Get("X-Subject-Token")
		switch w.Code {
		case 201:
			if _, ok := s.User(text); !ok || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%q: %q %s", body, text, w.Body)
			}
		case 400, 401:
			if text != "" || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%q: %q %s", body, text, w.Body)
			}
		default:
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

// No text but a token that was given out is one.
func FuzzToken(f *testing.F) {
	s := newStub(f)
	text, _ := s.login(fmt.Sprintf(password, ""))
	for _, seed := range []string{text, "", ".", "e30.e30", strings.ToUpper(text)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		if name, ok := s.User(given); ok != (given == text) {
			t.Fatalf("%q is %s's token: %v", given, name, ok)
		}
	})
}
