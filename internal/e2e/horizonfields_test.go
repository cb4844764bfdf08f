//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// omission is the variable that has the API's answers lack a field, such as ports.fixed_ips.
const omission = "TAPROUTER_OMIT"

// An omitter stands between the dashboard and the API, and takes a field out of the answers.
type omitter struct {
	plural, field string
	mu            sync.Mutex
	seen          map[string]bool // collections whose objects were in answers
}

// omits returns where the dashboard finds the API: the API itself, or an omitter if TAPROUTER_OMIT asks for one.
func (s *space) omits(api string) string {
	what, ok := os.LookupEnv(omission)
	if !ok {
		return api
	}
	to, err := url.Parse(api)
	s.w.check(err)
	o := &omitter{seen: map[string]bool{}}
	o.plural, o.field, _ = strings.Cut(what, ".")
	dial := func(_ context.Context, network, address string) (c net.Conn, err error) {
		err = s.within(func() error {
			c, err = net.DialTimeout(network, address, 5*time.Second)
			return err
		})
		return c, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // links in answers lead back here
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		Transport:      &http.Transport{DialContext: dial},
		ModifyResponse: o.omit,
	}
	l := s.listen("127.0.0.1:9697")
	go func() { _ = (&http.Server{Handler: proxy}).Serve(l) }() // until the test ends, and the listener with it
	t := s.w.t
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		t.Logf("collections: %s.", strings.Join(slices.Sorted(maps.Keys(o.seen)), " "))
	})
	return "http://" + l.Addr().String()
}

// omit takes the field out of an answer's objects. An answer has them by the name of their collection, or one by its
// singular.
func (o *omitter) omit(r *http.Response) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	var answer map[string]any
	if json.Unmarshal(body, &answer) == nil {
		for key, value := range answer {
			list, many := value.([]any)
			if !many {
				list, key = []any{value}, strings.TrimSuffix(key, "s")+"s"
			}
			for _, x := range list {
				object, ok := x.(map[string]any)
				if !ok {
					continue
				}
				o.mu.Lock()
				o.seen[key] = true
				o.mu.Unlock()
				if key == o.plural {
					delete(object, o.field)
				}
			}
		}
		if body, err = json.Marshal(answer); err != nil {
			return err
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Del("Content-Length")
	return nil
}

// A field that the API leaves out has TestHorizon fail: one of each collection that Horizon shows or needs. Without an
// omission the same way passes. It takes ten minutes (make horizon-fields).
func TestHorizonFields(t *testing.T) {
	if os.Getenv("TAPROUTER_FIELDS") == "" {
		t.Skip("make horizon-fields runs it")
	}
	needHorizon(t)
	journey := func(t *testing.T, omit string) (out string, failed bool) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.v", "-test.run=^TestHorizon$")
		cmd.Env = append(os.Environ(), omission+"="+omit)
		text, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Fatalf("it does not end:\n%s", text)
		}
		return string(text), err != nil
	}
	all, failed := journey(t, "")
	if failed {
		t.Fatalf("nothing is left out, and it fails:\n%s", all)
	}
	_, all, _ = strings.Cut(all, "collections: ")
	all, _, _ = strings.Cut(all, ".")
	t.Logf("Horizon asks for %s", all)
	fields := []string{
		"networks.subnets", "subnets.cidr", "ports.fixed_ips", "routers.external_gateway_info",
		"floatingips.floating_ip_address", "security_groups.name", "loadbalancers.vip_address",
		"listeners.protocol_port", "pools.name", "members.address", "healthmonitors.type", "servers.name",
		"projects.name", "tokens.catalog", "extensions.alias", "quotas.network",
		"limits.absolute", "versions.id", "availability_zones.state",
	}
	// Horizon asks for domains once, and uses no field of them. Links are where a list goes on.
	for _, collection := range strings.Fields(all) {
		if collection == "domains" || collection == "links" {
			continue
		}
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, collection+".") }) {
			t.Errorf("no field of %s is left out", collection)
		}
	}
	for _, field := range fields {
		t.Run(field, func(t *testing.T) {
			out, failed := journey(t, field)
			if !failed {
				t.Fatal("nobody misses it")
			}
			t.Log(complaint(out))
		})
	}
}

// complaint is what a test's output says about its first step that failed.
func complaint(out string) string {
	_, name, _ := strings.Cut(out, "--- FAIL: TestHorizon/")
	name, _, _ = strings.Cut(name, " ")
	_, said, _ := strings.Cut(out, "=== RUN   TestHorizon/"+name+"\n")
	said, _, _ = strings.Cut(said, "=== ")
	var lines []string
	for line := range strings.Lines(said) {
		if strings.Contains(line, "_test.go:") {
			lines = append(lines, strings.TrimSpace(line[:min(len(line), 300)]))
		}
	}
	return name + ": " + strings.Join(lines, "\n")
}
