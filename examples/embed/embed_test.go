// Package embed is what a project of its own does to test against floating IPs
// and VIPs: no root, no devices, a router for every test.
package embed

import (
	"io"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/routertest"
)

func TestWebServersBehindAFloatingIP(t *testing.T) {
	for _, name := range []string{"one", "two", "three", "four"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a router with the same addresses
			lab := routertest.Load(t, "topology.toml")
			lab.Instance("WEB1")
			lab.Instance("WEB2")
			client := lab.Host("ext_net", "10.10.10.4").HTTPClient()
			for _, want := range []string{"WEB1", "WEB2", "WEB1", "WEB2"} {
				res, err := client.Get("http://10.10.10.7/")
				if err != nil {
					t.Fatal(err)
				}
				page, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || !strings.HasPrefix(string(page), want+"\nclient 10.10.10.4:") {
					t.Fatalf("got %q, error %v; want %s", page, err, want)
				}
			}
		})
	}
}

// A test does to a running cloud what its users do: here a member goes, and comes back.
func TestMemberGoesAndComesBack(t *testing.T) {
	lab := routertest.Load(t, "topology.toml")
	lab.Instance("WEB1")
	lab.Instance("WEB2")
	client := lab.Host("ext_net", "10.10.10.4").HTTPClient()
	get := func(want string) {
		t.Helper()
		res, err := client.Get("http://10.10.10.7/")
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.HasPrefix(string(page), want+"\n") {
			t.Fatalf("got %q, error %v; want %s", page, err, want)
		}
	}
	set := func(up bool) {
		t.Helper()
		if err := lab.Control.SetMember("web servers", "WEB1", up); err != nil {
			t.Fatal(err)
		}
	}
	get("WEB1")
	set(false)
	get("WEB2")
	get("WEB2")
	set(true)
	get("WEB1")
	get("WEB2")
}

// Nothing is left of a router and its hosts once a test has ended.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Run("lab", func(t *testing.T) {
		lab := routertest.Load(t, "topology.toml")
		lab.Instance("WEB1")
		res, err := lab.Host("ext_net", "10.10.10.4").HTTPClient().Get("http://10.10.10.7/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	})
	// What has been told to end may need a moment for its last instructions.
	for deadline := time.Now().Add(10 * time.Second); ; {
		left := stacks()
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", left)
		}
	}
}

// stacks returns the goroutines that belong to a router or a host.
func stacks() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	var left []string
	for _, s := range strings.Split(b.String(), "\n\n") {
		if strings.Contains(s, "github.com/taprouter/") || strings.Contains(s, "gvisor.dev/") {
			left = append(left, s)
		}
	}
	return strings.Join(left, "\n\n")
}
