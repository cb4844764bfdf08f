//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The numbers of the rates' router.
const (
	rateFloating  = 1000
	rateBalancers = 1000
	ratePorts     = 14000 // with them it has about 20 000 objects
	rateMost      = 32    // clients
	rateClients   = 8     // but where a test says otherwise
	rateAim       = 1000  // changes a second
	ratePhase     = 3 * time.Second
	ratePhases    = 5
)

// rateTopology has a large router, which programs change, and a quiet one between two hosts:
//
//	a 192.0.2.9 ── tap-a ── quiet ── tap-b ── b 198.51.100.9
func rateTopology() string {
	var s strings.Builder
	s.WriteString(`
[[network]]
name = "a"
devices = ["tap:tap-a"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[network]]
name = "b"
devices = ["tap:tap-b"]
  [[network.subnet]]
  cidr = "198.51.100.0/24"

[[network]]
name = "in"
id = "00000000-0000-4000-8000-0000000000a1"
  [[network.subnet]]
  cidr = "10.0.0.0/12"
  gateway = "10.15.255.1"

[[network]]
name = "out"
external = true
  [[network.subnet]]
  cidr = "20.0.0.0/12"
  gateway = "20.15.255.1"

[[router]]
name = "quiet"
interfaces = ["a", "b"]

[[router]]
name = "large"
interfaces = ["in"]
gateway = { network = "out" }
`)
	for i := range ratePorts {
		fmt.Fprintf(&s, "[[port]]\nname = \"p%d\"\nnetwork = \"in\"\nfixed_ip = \"10.1.%d.%d\"\n", i, i>>8, i&255)
	}
	for i := range rateFloating {
		fmt.Fprintf(&s, "[[floating_ip]]\nnetwork = \"out\"\naddress = \"20.1.%d.%d\"\n", i>>8, i&255)
		if i >= rateMost { // those before are for programs
			fmt.Fprintf(&s, "fixed_ip = \"10.1.%d.%d\"\n", i>>8, i&255)
		}
	}
	for i := range rateBalancers {
		fmt.Fprintf(&s, "[[pool]]\nname = \"pool%d\"\nprotocol = \"TCP\"\n", i)
		for k := range 2 {
			n := 2*i + k
			fmt.Fprintf(&s, "  [[pool.member]]\n  address = \"10.1.%d.%d\"\n  port = 80\n", n>>8, n&255)
		}
		fmt.Fprintf(&s, "[[vip]]\nname = \"vip%d\"\nnetwork = \"in\"\naddress = \"10.2.%d.%d\"\nprotocol = \"TCP\"\n"+
			"port = 80\npool = \"pool%[1]d\"\n", i, i>>8, i&255)
	}
	return s.String()
}

// A rated router is one whose changes are counted.
type rated struct {
	*world
	router, a, b *space
	socket       string
	floating     []string // ids of the floating IPs for programs
	ports        []string // ids of ports for them
	pools        []string
}

func newRated(t *testing.T, flags ...string) *rated { return newRatedBy(t, program, flags...) }

// newRatedBy is newRated of another program, such as an earlier version.
func newRatedBy(t *testing.T, by string, flags ...string) *rated {
	t.Helper()
	r := &rated{world: newWorld(t)}
	r.router, r.a, r.b, r.socket = r.space("router"), r.space("a"), r.space("b"), r.socketPath()
	p := r.router.start(append([]string{by, "run", r.file("rates.toml", rateTopology()), "--socket", r.socket},
		flags...)...)
	if !p.out.wait(" ready ", 1, time.Minute) { // the router is large, and others may use the machine
		t.Fatalf("the router is not ready:\n%s", p.stop())
	}
	r.a.adopt(r.router, "tap-a")
	r.a.address("tap-a", "192.0.2.9/24", "192.0.2.1")
	r.b.adopt(r.router, "tap-b")
	r.b.address("tap-b", "198.51.100.9/24", "198.51.100.1")
	c := newAPIClient(r.socket)
	defer c.close()
	for i := range rateMost {
		address := fmt.Sprintf("/v2.0/floatingips?floating_ip_address=20.1.0.%d", i)
		r.floating = append(r.floating, r.only(c.list(address, "floatingips")))
		r.ports = append(r.ports, r.only(c.list(fmt.Sprintf("/v2.0/ports?name=p%d", 5000+i), "ports")))
		r.pools = append(r.pools, r.only(c.list(fmt.Sprintf("/v2.0/lbaas/pools?name=pool%d", i), "pools")))
	}
	return r
}

// only is the id of the one object of a list.
func (r *rated) only(list map[string]apiObject, err error) string {
	r.t.Helper()
	r.check(err)
	if len(list) != 1 {
		r.t.Fatalf("%d objects, want 1", len(list))
	}
	for id := range list {
		return id
	}
	return ""
}

// round makes the changes of one client, one after the other: associate, member and port. wait comes before each one.
func (r *rated) round(c *apiClient, client int, wait func()) (done int, err error) {
	floating, members := "/v2.0/floatingips/"+r.floating[client], "/v2.0/lbaas/pools/"+r.pools[client]+"/members"
	var member, port string
	for _, do := range []func() error{
		func() (err error) {
			_, err = c.done("PUT", floating, fmt.Sprintf(`{"floatingip":{"port_id":%q}}`, r.ports[client]))
			return err
		},
		func() error {
			o, err := c.done("POST", members, `{"member":{"address":"10.1.40.1","protocol_port":8080}}`)
			member = o.text("id")
			return err
		},
		func() error {
			o, err := c.done("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, keptTenant))
			port = o.text("id")
			return err
		},
		func() (err error) {
			_, err = c.done("PUT", "/v2.0/ports/"+port, `{"port":{"name":"changed"}}`)
			return err
		},
		func() (err error) {
			_, err = c.done("PUT", floating, `{"floatingip":{"port_id":null}}`)
			return err
		},
		func() (err error) {
			_, err = c.done("DELETE", members+"/"+member, "")
			return err
		},
		func() (err error) {
			_, err = c.done("DELETE", "/v2.0/ports/"+port, "")
			return err
		},
	} {
		wait()
		if err := do(); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// changes has some clients change things for a while, and returns how many changes a second there were. perSecond
// bounds them; 0: as many as can be.
func (r *rated) changes(t *testing.T, clients int, d time.Duration, perSecond int) (rate float64) {
	t.Helper()
	return r.requests(t, clients, d, perSecond, r.round)
}

// look is a round that only reads: it takes what changes take of the machine, besides the changes.
func (r *rated) look(c *apiClient, client int, wait func()) (done int, err error) {
	wait()
	_, err = c.done("GET", "/v2.0/ports/"+r.ports[client], "")
	return 1, err
}

func (r *rated) requests(t *testing.T, clients int, d time.Duration, perSecond int,
	round func(c *apiClient, client int, wait func()) (int, error)) (rate float64) {
	t.Helper()
	var made atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	var turn atomic.Int64
	for i := range clients {
		all.Go(func() {
			c := newAPIClient(r.socket)
			defer c.close()
			for time.Since(began) < d {
				n, err := round(c, i, func() {
					if perSecond > 0 {
						due := began.Add(time.Duration(turn.Add(1)) * time.Second / time.Duration(perSecond))
						<-time.After(time.Until(due))
					}
				})
				made.Add(int64(n))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(made.Load()) / time.Since(began).Seconds()
}

// asks sends small questions through the quiet router, some hundred a second, until end is closed, and returns how long
// the answers took.
func (r *rated) asks(t *testing.T, c net.Conn, end <-chan struct{}) (took []time.Duration) {
	t.Helper()
	b := make([]byte, 1)
	for tick := time.NewTicker(3 * time.Millisecond); ; {
		select {
		case <-tick.C:
		case <-end:
			tick.Stop()
			return took
		}
		began := time.Now()
		_ = c.SetDeadline(began.Add(10 * time.Second))
		if _, err := c.Write(b); err != nil {
			t.Error(err)
			return took
		}
		if _, err := c.Read(b); err != nil {
			t.Error(err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

// during asks while fn runs.
func (r *rated) during(t *testing.T, c net.Conn, fn func()) []time.Duration {
	t.Helper()
	end, took := make(chan struct{}), make(chan []time.Duration)
	go func() { took <- r.asks(t, c, end) }()
	fn()
	close(end)
	return <-took
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))].Round(time.Microsecond)
}

// wantsRates skips the test unless TAPROUTER_RATES is set: it measures, and asserts no speed.
func wantsRates(t *testing.T) {
	t.Helper()
	if os.Getenv("TAPROUTER_RATES") == "" {
		t.Skip("it measures for a minute; TAPROUTER_RATES=1 has it do so")
	}
	need(t)
}

// TestChangeRate measures how many changes a second a large router makes, and how long the round trips of another
// tenant take: without requests, with reads, with changes, and with the same changes of a second router, which another
// process serves. The last takes as much of the machine, and nothing of the first router. TAPROUTER_RATES=PATH writes a
// processor profile there.
func TestChangeRate(t *testing.T) {
	wantsRates(t)
	r, other := newRated(t), newRated(t)
	client, server := r.join(r.a, r.b, "198.51.100.9:0", "198.51.100.9:")
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := server.Read(b); err != nil {
				return
			}
			if _, err := server.Write(b); err != nil {
				return
			}
		}
	}()
	out, err := invoke(t, program, "status", "--endpoint", "unix:"+r.socket)
	t.Logf("%s%v", out, err)
	t.Logf("as many as can be: %.0f changes a second by %d clients",
		r.changes(t, rateClients, ratePhase, 0), rateClients)
	type phase struct {
		name string
		fn   func()
		took []time.Duration
	}
	var rates []string
	changing := func(by *rated) func() {
		return func() {
			rates = append(rates, fmt.Sprintf("%.0f", by.changes(t, rateClients, ratePhase, rateAim)))
		}
	}
	phases := []*phase{
		{name: "without requests", fn: func() { <-time.After(ratePhase) }},
		{name: fmt.Sprintf("with %d reads a second", rateAim),
			fn: func() { r.requests(t, rateClients, ratePhase, rateAim, r.look) }},
		{name: "with changes", fn: changing(r)},
		{name: "with changes of another process", fn: changing(other)},
	}
	show := func(name string, took []time.Duration) {
		t.Logf("another tenant's round trips %s: %d, p50 %v, p90 %v, p99 %v", name, len(took), quantile(took, 0.5),
			quantile(took, 0.9), quantile(took, 0.99))
	}
	for range ratePhases {
		for _, p := range phases {
			took := r.during(t, client, p.fn)
			show(p.name, took)
			p.took = append(p.took, took...)
		}
	}
	t.Logf("changes a second meanwhile, in turn of this and the other process: %s", strings.Join(rates, " "))
	for _, p := range phases {
		show("in all "+p.name, p.took)
	}
	if path := os.Getenv("TAPROUTER_RATES"); path != "1" {
		var profile sync.WaitGroup
		profile.Go(func() {
			_, text, err := newAPIClient(r.socket).do("GET", "/taprouter/v1/debug/pprof/profile?seconds=2", "")
			r.check(err)
			r.check(os.WriteFile(path, text, 0o644))
		})
		r.changes(t, rateClients, ratePhase, 0)
		profile.Wait()
	}
}

// What the process of a large router says to Prometheus has no fault, and costs the worker no long step.
func TestMetrics(t *testing.T) {
	need(t, "promtool", "curl")
	r := newRated(t)
	const url = "http://taprouter/taprouter/v1/metrics"
	out, code := invoke(t, "sh", "-c", `curl -sS --fail --unix-socket "$0" "$1" | promtool check metrics`, r.socket,
		url)
	if code != 0 || out != "" {
		t.Errorf("promtool: status %d\n%s", code, out)
	}
	var took []time.Duration
	var size int
	c := newAPIClient(r.socket)
	defer c.close()
	for range 20 {
		began := time.Now()
		status, text, err := c.do("GET", "/taprouter/v1/metrics", "")
		r.check(err)
		if took, size = append(took, time.Since(began)), len(text); status != 200 ||
			strings.Count(string(text), "\ntaprouter_lb_connections_total{") != rateBalancers {
			t.Fatalf("%d %.200s", status, text)
		}
	}
	o, err := c.done("GET", "/taprouter/v1/status", "")
	r.check(err)
	workers, _ := o["workers"].([]any)
	longest := 0.0
	for _, w := range workers {
		one, _ := w.(map[string]any)
		read, _ := one["longest_read"].(float64)
		longest = max(longest, read)
	}
	t.Logf("a scrape of %d bytes, %d floating IPs, %d VIPs: p50 %v, slowest %v; longest step of a worker %.3f ms", size,
		rateFloating, rateBalancers, quantile(took, 0.5), quantile(took, 1), longest*1000)
	if longest > 0.1 { // a bound for a machine with other work
		t.Errorf("a worker was held for %v s", longest)
	}
}

// TestKeptRate measures how many changes a second are kept on a disk, and how many are made without one, beside how
// often the disk syncs. TAPROUTER_RATES_BASE names another taprouter, such as an earlier one, which takes turns.
func TestKeptRate(t *testing.T) {
	wantsRates(t)
	type rival struct {
		name        string
		kept, quick *rated
	}
	dir := t.TempDir()
	rivals := []rival{{"this", newRated(t, "--state-dir", filepath.Join(dir, "state")), newRated(t)}}
	if base := os.Getenv("TAPROUTER_RATES_BASE"); base != "" {
		rivals = append(rivals, rival{"the other", newRatedBy(t, base, "--state-dir", filepath.Join(dir, "base")),
			newRatedBy(t, base)})
	}
	for range 3 {
		for _, clients := range []int{rateClients, rateMost} {
			for _, x := range rivals {
				t.Logf("%d clients, %s: %.0f changes a second with --state-dir, %.0f without; "+
					"%.0f syncs a second of the disk", clients, x.name, x.kept.changes(t, clients, ratePhase, 0),
					x.quick.changes(t, clients, ratePhase, 0), syncs(t, dir))
			}
		}
	}
}

// syncs writes a page and syncs it, again and again, and returns how often a second.
func syncs(t *testing.T, dir string) float64 {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "syncs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, n, began := make([]byte, 4096), 0, time.Now()
	for ; time.Since(began) < time.Second; n++ {
		if _, err := f.WriteAt(page, int64(n%64)*4096); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}
