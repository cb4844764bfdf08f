package metadata_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/internal/metadata"
)

var vm3 = metadata.Instance{
	ID: "3f2a1b4c-0d5e-4f60-8a7b-9c8d7e6f5a4b", Project: "6a1c", Name: "cirros-vm3",
	Hostname: "cirros-vm3.openstacklocal", Zone: "nova",
	Address: netip.MustParseAddr("172.16.101.3"), PublicAddress: netip.MustParseAddr("10.10.10.3"),
	Keys: []metadata.Key{
		{Name: "lab", Data: "ssh-ed25519 AAAA lab"},
		{Name: "other", Data: "ssh-rsa BBBB other"},
	},
	UserData:       []byte("#!/bin/sh\necho <&>\n"),
	SecurityGroups: []string{"default", "web"},
	NICs: []metadata.NIC{{
		ID: "e17162c5-0011-4000-8000-000000000001", MAC: "fa:16:3e:aa:bb:03", MTU: 1500,
		Servers: []netip.Addr{netip.MustParseAddr("172.16.101.1")},
		Addresses: []metadata.Address{
			{Network: "n101", Prefix: netip.MustParsePrefix("172.16.101.3/24"), DHCP: true},
			{
				Network: "n101", Prefix: netip.MustParsePrefix("172.16.102.3/23"),
				Gateway: netip.MustParseAddr("172.16.102.1"),
				Routes: []metadata.Route{{
					Destination: netip.MustParsePrefix("192.168.10.0/24"),
					Gateway:     netip.MustParseAddr("172.16.102.254"),
				}},
			},
		},
	}},
}

func find(in metadata.Instance) metadata.Find {
	return func(from netip.Addr) (metadata.Instance, bool) { return in, from == in.Address }
}

// get is what an instance reads: the status, the type and the body.
func get(h http.Handler, method, path, from string) (int, string, string) {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

const asks = "172.16.101.3:41000"

// The requests of cloud-init's EC2 and OpenStack sources and of cirros-init, and what they read.
func TestPaths(t *testing.T) {
	h := metadata.Handler(find(vm3))
	for _, c := range []struct {
		path string
		want string // empty: not there
	}{
		{"/", "1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01 2009-04-04 latest"},
		{"/2009-04-04/", "meta-data user-data"},
		{"/latest", "meta-data user-data"},
		{"/2009-04-04/meta-data/", "ami-id ami-launch-index ami-manifest-path hostname instance-action instance-id " +
			"instance-type local-hostname local-ipv4 placement/ public-hostname public-ipv4 public-keys/ " +
			"reservation-id security-groups"},
		{"/2009-04-04/meta-data/instance-id", "i-3f2a1b4c"},
		{"/2009-04-04/meta-data/local-hostname", "cirros-vm3.openstacklocal"},
		{"/latest/meta-data/local-ipv4", "172.16.101.3"},
		{"/latest/meta-data/public-ipv4", "10.10.10.3"},
		{"/latest/meta-data/placement/availability-zone", "nova"},
		{"/latest/meta-data/public-keys/", "0=lab 1=other"},
		{"/latest/meta-data/public-keys/0/", "openssh-key"},
		{"/latest/meta-data/public-keys/1/openssh-key", "ssh-rsa BBBB other"},
		{"/latest/meta-data/public-keys/0//", "openssh-key"},
		{"/latest/meta-data/security-groups", "default web"},
		{"/2009-04-04/user-data", "#!/bin/sh echo <&> "},
		{"/openstack", "2012-08-10 2013-04-04 2013-10-17 2015-10-15 2016-06-30 2016-10-06 2017-02-22 2018-08-27 " +
			"2020-10-14 latest"},
		{"/openstack/2012-08-10/", "meta_data.json user_data"},
		{"/openstack/2013-10-17", "meta_data.json user_data vendor_data.json"},
		{"/openstack/latest/", "meta_data.json user_data vendor_data.json network_data.json vendor_data2.json"},
		{"/openstack/latest/user_data", "#!/bin/sh echo <&> "},
		{"/openstack/2018-08-27/vendor_data.json", "{}"},
		{"/openstack/latest/vendor_data2.json", "{}"},
		{"/openstack/2012-08-10/network_data.json", ""},
		{"/openstack/2099-01-01/meta_data.json", ""},
		{"/openstack/latest/meta_data.json/x", ""},
		{"/openstack/latest/password", ""},
		{"/latest/dynamic/instance-identity/document", ""},
		{"/latest/meta-data/hostname/x", ""},
		{"/latest/meta-data/public-keys/2/openssh-key", ""},
		{"/2020-01-01/meta-data/", ""},
		{"/other", ""},
	} {
		code, _, body := get(h, "GET", c.path, asks)
		if got := strings.ReplaceAll(body, "\n", " "); c.want != "" && (code != 200 || got != c.want) ||
			c.want == "" && code != 404 {
			t.Errorf("%s: %d %q, want %q", c.path, code, got, c.want)
		}
	}
}

// What an instance does not have is not listed.
func TestSmall(t *testing.T) {
	in := metadata.Instance{ID: "abc", Address: vm3.Address}
	h := metadata.Handler(find(in))
	for _, c := range []struct{ path, want string }{
		{"/latest/", "meta-data"},
		{"/openstack/2012-08-10", "meta_data.json"},
		{"/latest/meta-data/instance-id", "i-abc"},
		{"/latest/meta-data/public-ipv4", ""},
		{"/openstack/latest/network_data.json", `{"links":[],"networks":[],"services":[]}`},
	} {
		if code, _, body := get(h, "GET", c.path, asks); code != 200 || body != c.want {
			t.Errorf("%s: %d %q, want %q", c.path, code, body, c.want)
		}
	}
	for _, path := range []string{"/latest/user-data", "/openstack/latest/user_data", "/latest/meta-data/public-keys",
		"/latest/meta-data/security-groups"} {
		if code, _, _ := get(h, "GET", path, asks); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// The files in JSON, as cloud-init reads them.
func TestJSON(t *testing.T) {
	h := metadata.Handler(find(vm3))
	read := func(path string) (m map[string]any) {
		code, typ, body := get(h, "GET", path, asks)
		if err := json.Unmarshal([]byte(body), &m); code != 200 || typ != "application/json" || err != nil {
			t.Fatalf("%s: %d %s %v", path, code, typ, err)
		}
		return m
	}
	m := read("/openstack/latest/meta_data.json")
	seed, err := base64.StdEncoding.DecodeString(m["random_seed"].(string))
	other := read("/openstack/latest/meta_data.json")["random_seed"]
	if err != nil || len(seed) != 512 || other == m["random_seed"] {
		t.Errorf("random_seed: %d bytes, %v", len(seed), err)
	}
	delete(m, "random_seed")
	want := map[string]any{
		"uuid": vm3.ID, "name": "cirros-vm3", "hostname": "cirros-vm3.openstacklocal", "launch_index": 0.0,
		"availability_zone": "nova", "project_id": "6a1c", "meta": map[string]any{}, "devices": []any{},
		"public_keys": map[string]any{"lab": "ssh-ed25519 AAAA lab", "other": "ssh-rsa BBBB other"},
		"keys": []any{
			map[string]any{"name": "lab", "type": "ssh", "data": "ssh-ed25519 AAAA lab"},
			map[string]any{"name": "other", "type": "ssh", "data": "ssh-rsa BBBB other"},
		},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("meta_data.json: %v, want %v", m, want)
	}
	dns := []any{map[string]any{"type": "dns", "address": "172.16.101.1"}}
	want = map[string]any{
		"links": []any{map[string]any{"id": "tape17162c5-00", "vif_id": vm3.NICs[0].ID, "type": "tap", "mtu": 1500.0,
			"ethernet_mac_address": "fa:16:3e:aa:bb:03"}},
		"networks": []any{
			map[string]any{"id": "network0", "type": "ipv4_dhcp", "link": "tape17162c5-00", "network_id": "n101"},
			map[string]any{"id": "network1", "type": "ipv4", "link": "tape17162c5-00", "network_id": "n101",
				"ip_address": "172.16.102.3", "netmask": "255.255.254.0", "services": dns, "routes": []any{
					map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "172.16.102.1"},
					map[string]any{"network": "192.168.10.0", "netmask": "255.255.255.0", "gateway": "172.16.102.254"},
				}},
		},
		"services": dns,
	}
	if m := read("/openstack/latest/network_data.json"); !reflect.DeepEqual(m, want) {
		t.Errorf("network_data.json: %v, want %v", m, want)
	}
}

// Only an address of an instance is answered, and metadata is only read.
func TestWhoAsks(t *testing.T) {
	h := metadata.Handler(find(vm3))
	const id, token = "/latest/meta-data/instance-id", "/latest/api/token"
	for _, c := range []struct {
		method, path, from string
		code               int
		text               string
	}{
		{"GET", id, "172.16.101.4:1000", 404, "no port of this network has the address 172.16.101.4"},
		{"GET", id, "[::ffff:172.16.101.3]:1000", 200, "i-3f2a1b4c"},
		{"GET", id, "pipe", 404, "no port of this network"},
		{"HEAD", id, asks, 200, ""},
		{"PUT", token, asks, 405, "only read"},
		{"POST", id, asks, 405, "only read"},
	} {
		code, _, body := get(h, c.method, c.path, c.from)
		if code != c.code || !strings.Contains(body, c.text) {
			t.Errorf("%s %s from %s: %d %q, want %d %q", c.method, c.path, c.from, code, body, c.code, c.text)
		}
	}
}

// trip is a way to a metadata service.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A request that is passed on has the agent's headers, whatever the instance has sent.
func TestForward(t *testing.T) {
	var seen *http.Request
	var body string
	target, _ := url.Parse("http://nova.example:8775/base")
	f := &metadata.Forward{URL: target, Secret: "s3cret", Log: slog.New(slog.DiscardHandler),
		Transport: trip(func(r *http.Request) (*http.Response, error) {
			seen = r
			b, err := io.ReadAll(r.Body)
			if body = string(b); err != nil {
				return nil, err
			}
			w := httptest.NewRecorder()
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.WriteString("not here")
			return w.Result(), nil
		})}
	r := httptest.NewRequest("POST", "/openstack/latest/password?x=1", strings.NewReader("secret"))
	r.RemoteAddr = asks
	for _, name := range []string{"X-Forwarded-For", "X-Instance-ID", "X-Tenant-ID", "X-Instance-ID-Signature",
		"X-Project-ID", "X-Metadata-Provider", "X-Metadata-Provider-Signature", "Forwarded"} {
		r.Header.Set(name, "forged")
	}
	r.Header.Set("User-Agent", "Cloud-Init/24.1")
	w := httptest.NewRecorder()
	f.Handler(find(vm3)).ServeHTTP(w, r)
	if w.Code != 404 || w.Body.String() != "not here" || body != "secret" {
		t.Errorf("answer: %d %q, body %q", w.Code, w.Body, body)
	}
	if got := seen.URL.String(); got != "http://nova.example:8775/base/openstack/latest/password?x=1" {
		t.Errorf("asked %s", got)
	}
	want := http.Header{
		"X-Forwarded-For": {"172.16.101.3"}, "X-Instance-Id": {vm3.ID}, "X-Tenant-Id": {"6a1c"},
		"X-Project-Id": {"6a1c"},
		// printf 3f2a1b4c-0d5e-4f60-8a7b-9c8d7e6f5a4b | openssl dgst -sha256 -hmac s3cret
		"X-Instance-Id-Signature": {"4762e01eef11fcb6b9734dc2efd2cd9c7dc06fce27cc65b22aca09695f44abd5"},
		"User-Agent":              {"Cloud-Init/24.1"},
	}
	if !reflect.DeepEqual(seen.Header, want) {
		t.Errorf("headers: %v, want %v", seen.Header, want)
	}

	f.Transport = trip(func(*http.Request) (*http.Response, error) { return nil, errors.New("10.1.2.3 refuses") })
	if code, _, body := get(f.Handler(find(vm3)), "GET", "/", asks); code != 502 || strings.Contains(body, "10.1.2.3") {
		t.Errorf("a service that is away: %d %q", code, body)
	}
	if code, _, _ := get(f.Handler(find(vm3)), "GET", "/", "172.16.101.4:1"); code != 404 {
		t.Errorf("a stranger is passed on: %d", code)
	}
	f.Secret = ""
	f.Transport = trip(func(r *http.Request) (*http.Response, error) {
		seen = r
		return httptest.NewRecorder().Result(), nil
	})
	get(f.Handler(find(vm3)), "GET", "/", asks)
	if s, ok := seen.Header["X-Instance-Id-Signature"]; ok {
		t.Errorf("signed without a secret: %v", s)
	}
}

// A large body is not passed on.
func TestForwardLarge(t *testing.T) {
	read := 0
	target, _ := url.Parse("http://nova.example")
	f := &metadata.Forward{URL: target, Log: slog.New(slog.DiscardHandler),
		Transport: trip(func(r *http.Request) (*http.Response, error) {
			n, err := io.Copy(io.Discard, r.Body)
			read = int(n)
			return nil, err
		})}
	r := httptest.NewRequest("POST", "/openstack/latest/password", strings.NewReader(strings.Repeat("x", 1<<20)))
	r.RemoteAddr = asks
	w := httptest.NewRecorder()
	f.Handler(find(vm3)).ServeHTTP(w, r)
	if w.Code != 502 || read > 64<<10 {
		t.Errorf("%d, %d bytes were read", w.Code, read)
	}
}
