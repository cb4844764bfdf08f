package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/routertest"
)

// checkedTopology is two web servers behind a VIP with a floating IP, with checks of a kind.
func checkedTopology(monitor string) string {
	return nettest.Cloud + nettest.FloatingIP("10.10.10.7", "172.16.100.11") +
		nettest.Balanced("web", "TCP", 80, "monitor = "+monitor,
			nettest.Member{Name: "one", Address: "172.16.100.9", Port: 80},
			nettest.Member{Name: "two", Address: "172.16.100.10", Port: 80})
}

// A checked is that topology, running in a bubble.
type checked struct {
	*routertest.Lab
	t      *testing.T
	client *host.Host
}

// inBubble plays a test in simulated time.
func inBubble(t *testing.T, monitor string, fn func(*testing.T, *checked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		lab := routertest.Parse(t, checkedTopology(monitor))
		fn(t, &checked{lab, t, lab.Host("ext_net", "10.10.10.4")})
	})
}

// status is what each member is said to be.
func (c *checked) status() string {
	var all []string
	for _, m := range c.Engine.LoadBalancers()[0].Listeners[0].Pool.Members {
		all = append(all, string(m.OperatingStatus))
	}
	return strings.Join(all, " ")
}

// wantStatus lets time pass until the members are so, at most so long.
func (c *checked) wantStatus(want string, within time.Duration) time.Duration {
	c.t.Helper()
	began := time.Now()
	for c.status() != want {
		if time.Since(began) > within {
			c.t.Fatalf("%s, want %s after %v: %+v", c.status(), want, within, c.Engine.LoadBalancers())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// pages gets so many pages, each on a connection of its own, and says which members answer.
func (c *checked) pages(n int) string {
	c.t.Helper()
	out := ""
	for range n {
		client := c.client.HTTPClient()
		res, err := client.Get("http://10.10.10.7/")
		if err != nil {
			out += "!"
			continue
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		client.CloseIdleConnections()
		out += strings.Fields(string(b))[0]
	}
	return out
}

// web puts a web server on the network that says its name.
func (c *checked) web(address, name string) *host.Host {
	c.t.Helper()
	h := c.Host("tenant", address)
	l, err := h.Listen("tcp", ":80")
	if err != nil {
		c.t.Fatal(err)
	}
	// it ends with the host
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) }))
	return h
}

// A new member gets no connection before its checks have found it to be up, and one that dies
// leaves within delay x max_retries_down + timeout. When it is back, so are its turns.
func TestChecksTakeMembersOutAndIn(t *testing.T) {
	for _, kind := range []string{
		`{ type = "HTTP", delay = "2s", timeout = "1s", max_retries = 2, max_retries_down = 3 }`,
		`{ type = "TCP", delay = "2s", timeout = "1s", max_retries = 2, max_retries_down = 3 }`,
		`{ type = "PING", delay = "2s", timeout = "1s", max_retries = 2, max_retries_down = 3 }`,
	} {
		inBubble(t, kind, func(t *testing.T, c *checked) {
			if _, err := c.client.Dial("tcp", "10.10.10.7:80"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: before anybody is checked: %v", kind, err)
			}
			one := c.web("172.16.100.9", "one")
			c.web("172.16.100.10", "two")
			c.wantStatus("ONLINE ONLINE", 5*time.Second)
			if got := c.pages(4); got != "onetwoonetwo" && got != "twoonetwoone" {
				t.Errorf("%s: both up: %s", kind, got)
			}
			time.Sleep(10 * time.Second)
			one.Close()
			if took := c.wantStatus("ERROR ONLINE", 7*time.Second+20*time.Millisecond); took < 4*time.Second {
				t.Errorf("%s: down after %v, which is no three checks", kind, took)
			}
			if got := c.pages(4); got != "twotwotwotwo" {
				t.Errorf("%s: one down: %s", kind, got)
			}
			b := c.Engine.LoadBalancers()[0]
			if b.OperatingStatus != router.Degraded || b.Listeners[0].Pool.OperatingStatus != router.Degraded {
				t.Errorf("%s: %s, pool %s", kind, b.OperatingStatus, b.Listeners[0].Pool.OperatingStatus)
			}
			last := b.Listeners[0].Pool.Members[0].Check
			if last == nil || last.OK || last.Sent == "" || last.Received == "" || last.Why == "" {
				t.Errorf("%s: the last check of who is down: %+v", kind, last)
			}
			c.web("172.16.100.9", "one")
			c.wantStatus("ONLINE ONLINE", 5*time.Second)
			if got := c.pages(4); strings.Count(got, "one") != 2 {
				t.Errorf("%s: both up again: %s", kind, got)
			}
		})
	}
}

// A member that answers, but not as expected, is as bad as none.
func TestCheckLooksAtTheAnswer(t *testing.T) {
	const health = `{ type = "HTTP", delay = "1s", timeout = "1s", max_retries = 1, max_retries_down = 1, ` +
		`url_path = "/health", expected_codes = "200,204" }`
	inBubble(t, health, func(t *testing.T, c *checked) {
		code := http.StatusNoContent
		var asked []string
		for _, at := range []string{"172.16.100.9", "172.16.100.10"} {
			h := c.Host("tenant", at)
			l, err := h.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				who, _, _ := net.SplitHostPort(r.RemoteAddr)
				asked = append(asked, r.Method+" "+r.URL.Path+" from "+who)
				w.WriteHeader(code)
			}))
		}
		c.wantStatus("ONLINE ONLINE", 3*time.Second)
		if got := asked[0]; got != "GET /health from 172.16.100.1" {
			t.Errorf("asked %q; it comes from the router's own address there", got)
		}
		code = http.StatusServiceUnavailable
		c.wantStatus("ERROR ERROR", 3*time.Second)
		if l := c.Engine.LoadBalancers()[0]; l.OperatingStatus != router.Error ||
			!strings.Contains(l.Listeners[0].Pool.Members[0].Check.Why, "503") {
			t.Errorf("%+v", l)
		}
		if _, err := c.client.Dial("tcp", "10.10.10.7:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody is up: %v", err)
		}
	})
}

// With initial_state = "up" a new member has connections until its checks say otherwise.
func TestInitiallyUp(t *testing.T) {
	inBubble(t, `{ type = "TCP", initial_state = "up" }`, func(t *testing.T, c *checked) {
		c.web("172.16.100.9", "one")
		c.web("172.16.100.10", "two")
		if got := c.pages(2); got != "onetwo" {
			t.Errorf("at once: %s", got)
		}
	})
	inBubble(t, `{ type = "TCP" }`, func(t *testing.T, c *checked) {
		c.web("172.16.100.10", "two")
		c.web("172.16.100.12", "three")
		c.wantStatus("ERROR ONLINE", 10*time.Second)
		m := someMember("three", "172.16.100.12")
		if err := c.Control.AddMember("web", m); err != nil {
			t.Fatal(err)
		}
		if got := c.status() + " " + c.pages(2); got != "ERROR ONLINE OFFLINE twotwo" {
			t.Errorf("a member that has just been added: %s", got)
		}
		c.wantStatus("ERROR ONLINE ONLINE", 5*time.Second)
		if got := c.pages(2); !strings.Contains(got, "three") {
			t.Errorf("after its checks: %s", got)
		}
		if err := c.Control.RemoveMember("web", "three"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := c.status(); got != "ERROR ONLINE" {
			t.Error(got)
		}
	})
}

// A member that is down by hand is checked all the same, and its checks do not put it back.
func TestChecksAndHands(t *testing.T) {
	inBubble(t, `{ type = "TCP", delay = "1s" }`, func(t *testing.T, c *checked) {
		c.web("172.16.100.9", "one")
		c.web("172.16.100.10", "two")
		c.wantStatus("ONLINE ONLINE", 5*time.Second)
		if err := c.Control.SetMember("web", "one", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := c.status() + " " + c.pages(2); got != "OFFLINE ONLINE twotwo" {
			t.Error(got)
		}
		if err := c.Control.SetMember("web", "one", true); err != nil {
			t.Fatal(err)
		}
		if got := c.status() + " " + c.pages(2); !strings.HasPrefix(got, "ONLINE ONLINE ") ||
			!strings.Contains(got, "one") {
			t.Errorf("%s: its checks have never failed", got)
		}
	})
}

// The connection of a check lives as long as the check may take, and not for long after: not all
// checks have an end that shows.
func TestChecksLeaveNoConnections(t *testing.T) {
	const slow = `{ type = "HTTP", delay = "100s", timeout = "90s", max_retries = 1, max_retries_down = 1 }`
	inBubble(t, slow, func(t *testing.T, c *checked) {
		for _, at := range []string{"172.16.100.9", "172.16.100.10"} {
			l, err := c.Host("tenant", at).Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			go http.Serve(l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { // it ends with the host
				select {
				case <-time.After(80 * time.Second):
				case <-r.Context().Done():
				}
			}))
		}
		c.wantStatus("ONLINE ONLINE", 91*time.Second)
	})
	inBubble(t, `{ type = "PING", delay = "1s", timeout = "1s" }`, func(t *testing.T, c *checked) {
		c.web("172.16.100.9", "one")
		c.web("172.16.100.10", "two")
		time.Sleep(time.Minute)
		if n := len(c.Engine.Connections()); n > 8 {
			t.Errorf("%d connections of two members that are asked once a second, and answer", n)
		}
	})
}

// A check hears ICMP errors of a member's host: that is all there is to a UDP service which
// is not there.
func TestCheckIsRefusedByICMP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		udp := strings.ReplaceAll(checkedTopology(`{ type = "UDP-CONNECT", delay = "5s" }`), `"TCP"`, `"UDP"`)
		c := &checked{Lab: routertest.Parse(t, udp), t: t}
		one := c.Host("tenant", "172.16.100.9")
		c.Host("tenant", "172.16.100.10")
		if err := one.ServeEcho(80); err != nil {
			t.Fatal(err)
		}
		c.wantStatus("ONLINE ERROR", 20*time.Second)
		last := c.Engine.LoadBalancers()[0].Listeners[0].Pool.Members[1].Check
		if last.Why != "refused by 172.16.100.10" {
			t.Errorf("%+v", last)
		}
	})
}

// Other hosts see nothing of the host that the router's checks come from: they cannot reach it, and on the
// member's network the checks have the router's address.
func TestChecksAreTheRoutersOwn(t *testing.T) {
	inBubble(t, `{ type = "TCP", delay = "1s" }`, func(t *testing.T, c *checked) {
		var wrong []string
		seen := 0
		var ends []func()
		for _, network := range []string{"tenant", "ext_net"} {
			stop, err := c.Engine.Observe(network, func(o router.Observation) {
				line := nettest.Describe(o.Frame.Ethernet())
				if strings.HasPrefix(line, "tcp 172.16.100.1:") {
					seen++
				}
				if strings.Contains(line, "192.0.0.") && !strings.Contains(line, "> 192.0.0.2") &&
					!strings.Contains(line, "about [") {
					wrong = append(wrong, network+": "+line)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, stop)
		}
		one := c.web("172.16.100.9", "one")
		c.web("172.16.100.10", "two")
		c.wantStatus("ONLINE ONLINE", 5*time.Second)
		time.Sleep(10 * time.Second)
		for _, end := range ends {
			end()
		}
		if seen < 20 || len(wrong) > 0 {
			t.Errorf("%d packets of checks, and these: %q", seen, wrong)
		}
		for _, h := range []*host.Host{one, c.client} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			for _, to := range []string{"192.0.0.1", "192.0.0.2"} {
				if _, err := h.Ping(ctx, netip.MustParseAddr(to)); err == nil {
					t.Errorf("%s answers to %v", to, h.Address())
				}
			}
			cancel()
		}
		if err := c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.9"),
			netip.MustParseAddr("192.0.0.2")); err == nil {
			t.Error("it can have a floating IP")
		}
		if n := len(c.Engine.Connections()); n > 8 {
			t.Errorf("%d connections are left of some forty checks", n)
		}
	})
}

// The first prefixes that the checks' network might have are in use: the checks work all the same.
func TestChecksOnAnotherPrefix(t *testing.T) {
	for _, taken := range [][]string{{"192.0.0.0/29"}, {"192.0.0.0/29", "198.18.0.0/15"}} {
		synctest.Test(t, func(t *testing.T) {
			text := checkedTopology(`{ type = "PING", delay = "1s" }`)
			for _, p := range taken {
				text = strings.Replace(text, "[[floating_ip]]",
					fmt.Sprintf("  [[router.routes]]\n  destination = %q\n  nexthop = \"172.16.100.254\"\n"+
						"[[floating_ip]]", p), 1)
			}
			lab := routertest.Parse(t, text)
			c := &checked{lab, t, lab.Host("ext_net", "10.10.10.4")}
			c.web("172.16.100.9", "one")
			c.web("172.16.100.10", "two")
			c.wantStatus("ONLINE ONLINE", 5*time.Second)
			if got := c.pages(2); got != "onetwo" {
				t.Errorf("%v in use: %s", taken, got)
			}
		})
	}
}

// A member may have its checks sent to another port or address than its clients'. They go through the router all the
// same, and the clients are led to the member as before. A change of either is obeyed at once.
func TestChecksOfAnotherEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := checkedTopology(`{ type = "TCP", delay = "1s", timeout = "500ms" }`)
		for name, more := range map[string]string{
			"one": "monitor_port = 8081", "two": `monitor_address = "172.16.200.9"`,
		} {
			text = strings.Replace(text, "name = \""+name+"\"\n", "name = \""+name+"\"\n  "+more+"\n", 1)
		}
		text = strings.Replace(text, "[[floating_ip]]", "  [[router.routes]]\n  destination = \"172.16.200.0/24\"\n"+
			"  nexthop = \"172.16.100.20\"\n[[floating_ip]]", 1)
		lab := routertest.Parse(t, text)
		c := &checked{lab, t, lab.Host("ext_net", "10.10.10.4")}
		one := c.web("172.16.100.9", "one")
		c.web("172.16.100.10", "two")
		time.Sleep(10 * time.Second)
		if got := c.status(); got != "ERROR ERROR" {
			t.Errorf("nothing listens where the checks go: %s", got)
		}
		l, err := one.Listen("tcp", ":8081")
		if err != nil {
			t.Fatal(err)
		}
		c.wantStatus("ONLINE ERROR", 10*time.Second)
		if got := c.pages(2); got != "oneone" {
			t.Errorf("the port that is checked is up: %s", got)
		}
		two := func(port uint16, address netip.Addr) {
			t.Helper()
			if _, err := c.Control.Edit(t.Context(), func(d *config.Draft) error {
				for o := range c.Engine.State().Members() {
					if m := *o; m.Name == "two" {
						m.MonitorAddress, m.MonitorPort = address, port
						d.Put(&m)
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		two(0, netip.Addr{})
		c.wantStatus("ONLINE ONLINE", 10*time.Second)
		two(8082, netip.Addr{})
		c.wantStatus("ONLINE ERROR", 10*time.Second)
		two(8081, netip.MustParseAddr("172.16.100.9"))
		c.wantStatus("ONLINE ONLINE", 10*time.Second)
		if got := c.pages(4); strings.Count(got, "one") != 2 || strings.Count(got, "two") != 2 {
			t.Errorf("another host is checked: %s", got)
		}
		l.Close()
		c.wantStatus("ERROR ERROR", 10*time.Second)
	})
}

// someMember is a member as a caller adds it, before the choices of a Draft.
func someMember(name, address string) config.Member {
	return config.Member{Meta: config.Meta{Name: name}, Address: netip.MustParseAddr(address), Port: 80, Weight: 1,
		AdminStateUp: true}
}
