//go:build linux

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// The balancer's network, on a router in this process: three nginx behind a VIP with a
// floating IP, checked every half second.
//
//	servers 172.16.100.9, .10, .12 ── tap100 ── router ── tap-ext ── clients 10.10.10.4
func balanceTopology(servers, clients *space) string {
	const monitor = `monitor = { type = "HTTP", delay = "500ms", timeout = "400ms", max_retries = 2, ` +
		`max_retries_down = 2, url_path = "/page" }`
	return nettest.CloudOn("tap:tap100@"+servers.name, "tap:tap-ext@"+clients.name) +
		nettest.FloatingIP("10.10.10.7", "172.16.100.11") +
		nettest.Balanced("web", "TCP", 80, monitor,
			nettest.Member{Name: "WEB1", Address: webServers["WEB1"], Port: 80},
			nettest.Member{Name: "WEB2", Address: webServers["WEB2"], Port: 80},
			nettest.Member{Name: "WEB3", Address: webServers["WEB3"], Port: 80})
}

// detection is how long a member that dies may stay in rotation: delay x max_retries_down +
// timeout.
const detection = 2*500*time.Millisecond + 400*time.Millisecond

const (
	balanceClients = 200
	// A page takes its time, so that some are always under way.
	pageLen = 24 << 10
	perPage = 150 * time.Millisecond
)

// A balance is that network at work.
type balance struct {
	*world
	servers, clients *space
	engine           *router.Engine
	nginx            map[string]*process
	dir              string
}

var webServers = map[string]string{"WEB1": "172.16.100.9", "WEB2": "172.16.100.10", "WEB3": "172.16.100.12"}

func newBalance(t *testing.T) *balance {
	t.Helper()
	b := &balance{world: newWorld(t), nginx: map[string]*process{}, dir: t.TempDir()}
	b.servers, b.clients = b.space("servers"), b.space("clients")
	f, err := file.Read("balance.toml", strings.NewReader(balanceTopology(b.servers, b.clients)))
	b.check(err)
	b.engine, err = router.Start(f.State(), router.Options{Logger: slog.New(slog.DiscardHandler),
		Open: router.OpenDevice(nil)})
	b.check(err)
	t.Cleanup(func() { b.check(b.engine.Close()) })
	for name, at := range webServers {
		b.servers.address("tap100", at+"/24", map[bool]string{true: "172.16.100.1"}[name == "WEB1"])
	}
	b.clients.address("tap-ext", "10.10.10.4/24", "")
	for name := range webServers {
		b.serveWeb(name)
	}
	b.await("everybody is up", func(m *router.MemberStatus) bool { return m.OperatingStatus == router.Online })
	return b
}

// serveWeb starts a member's nginx.
func (b *balance) serveWeb(name string) {
	b.t.Helper()
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, time.Now().UnixNano()))
	b.check(os.MkdirAll(dir, 0o755))
	page := bytes.Repeat([]byte(name+"\n"), pageLen/5)
	b.check(os.WriteFile(filepath.Join(dir, "page"), page, 0o644))
	conf := filepath.Join(dir, "nginx.conf")
	b.check(os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; user root;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c;
  uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen %[2]s:80 backlog=1024; root %[1]s; default_type text/plain; limit_rate %[3]d; }
}`, dir, webServers[name], int64(pageLen*time.Second/perPage)), 0o644))
	b.nginx[name] = b.servers.start("nginx", "-e", filepath.Join(dir, "error.log"), "-c", conf)
}

// await waits until every member is as it should be.
func (b *balance) await(what string, is func(*router.MemberStatus) bool) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		all := true
		for i := range webServers {
			all = all && is(b.member(i))
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not after half a minute: %+v", what, b.engine.LoadBalancers())
		}
	}
}

// member is what the engine says of a member.
func (b *balance) member(name string) *router.MemberStatus {
	for _, m := range b.engine.LoadBalancers()[0].Listeners[0].Pool.Members {
		if m.Name == name {
			return &m
		}
	}
	b.t.Fatalf("no member %s", name)
	return nil
}

// A visit is one request of a client's, on a connection of its own.
type visit struct {
	began, ended time.Time
	server       string
	err          error
}

// get asks for the page; it must come whole.
func get() (server string, err error) {
	c, err := net.DialTimeout("tcp4", "10.10.10.7:80", 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET /page HTTP/1.0\r\nHost: web\r\n\r\n"); err != nil {
		return "", err
	}
	res, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	head, body, ok := bytes.Cut(res, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || len(body) != pageLen/5*5 {
		return "", fmt.Errorf("%d bytes that begin with %.60q", len(res), res)
	}
	return string(body[:4]), nil
}

// visits has the clients ask for pages as long as fn takes.
func (b *balance) visits(fn func()) []visit {
	var all sync.Mutex
	var list []visit
	var end atomic.Bool
	var clients sync.WaitGroup
	for i := range balanceClients {
		clients.Go(func() {
			_ = b.clients.within(func() error {
				time.Sleep(perPage * time.Duration(i) / balanceClients)
				for !end.Load() {
					v := visit{began: time.Now()}
					v.server, v.err = get()
					v.ended = time.Now()
					all.Lock()
					list = append(list, v)
					all.Unlock()
				}
				return nil
			})
		})
	}
	time.Sleep(time.Second)
	fn()
	end.Store(true)
	clients.Wait()
	return list
}

// failures are the visits that went wrong.
func failures(all []visit) (bad []visit) {
	for _, v := range all {
		if v.err != nil {
			bad = append(bad, v)
		}
	}
	return bad
}

// TestMemberDies kills a member in the middle of everything: its own connections are lost and nothing
// else, and its checks take it out in the time that they have.
func TestMemberDies(t *testing.T) {
	need(t, "nginx")
	b := newBalance(t)
	var killed, out time.Time
	all := b.visits(func() {
		b.check(b.nginx["WEB2"].cmd.Process.Signal(syscall.SIGKILL))
		<-b.nginx["WEB2"].ended
		killed = time.Now()
		b.await("WEB2 is down", func(m *router.MemberStatus) bool {
			return m.Name != "WEB2" ||
				m.OperatingStatus == router.Error
		})
		out = time.Now()
		time.Sleep(time.Second)
	})
	bad := failures(all)
	for _, v := range bad {
		if v.began.After(killed) {
			t.Errorf("a request that began %v after its death: %v", v.began.Sub(killed), v.err)
		}
	}
	if len(bad) == 0 || len(bad) > balanceClients {
		t.Errorf("%d requests failed; of %d clients some were at the server that died", len(bad), balanceClients)
	}
	for _, v := range all {
		if v.began.After(killed) && v.server == "WEB2" {
			t.Errorf("a page from the server that is dead")
		}
	}
	if took := out.Sub(killed); took > 2*detection { // the machine may be busy
		t.Errorf("out of rotation after %v", took)
	}
	t.Logf("%d requests, %d failed, all begun before the server died; out of rotation after %v, at most %v",
		len(all), len(bad), out.Sub(killed).Round(time.Millisecond), detection)
}

// TestDrain drains a member, and restarts members one after the other: no client notices.
func TestDrain(t *testing.T) {
	need(t, "nginx")
	b := newBalance(t)
	drain := func(name string) time.Duration {
		began := time.Now()
		b.check(control.New(b.engine, control.Options{}).SetMemberWeight("web", name, 0))
		b.await(name+" has drained", func(m *router.MemberStatus) bool {
			return m.Name != name ||
				m.Statistics.Active == 0
		})
		return time.Since(began)
	}
	b.step("OneMember", func(t *testing.T) {
		var took time.Duration
		var before, after uint64
		all := b.visits(func() {
			took = drain("WEB1")
			before = b.member("WEB1").Statistics.Total
			time.Sleep(500 * time.Millisecond)
			after = b.member("WEB1").Statistics.Total
			b.check(control.New(b.engine, control.Options{}).SetMemberWeight("web", "WEB1", 1))
		})
		for _, v := range failures(all) {
			t.Errorf("a request failed: %v", v.err)
		}
		if before != after {
			t.Errorf("%d connections while it was drained", after-before)
		}
		t.Logf("%d requests, none failed; drained after %v", len(all), took.Round(time.Millisecond))
	})
	b.step("RollingRestart", func(t *testing.T) {
		all := b.visits(func() {
			for name := range webServers {
				drain(name)
				b.nginx[name].stop()
				b.await(name+" is down", func(m *router.MemberStatus) bool {
					return m.Name != name ||
						m.OperatingStatus == router.Error
				})
				b.serveWeb(name)
				b.await(name+" is back", func(m *router.MemberStatus) bool {
					return m.Name != name ||
						m.OperatingStatus == router.Draining
				})
				b.check(control.New(b.engine, control.Options{}).SetMemberWeight("web", name, 1))
				time.Sleep(300 * time.Millisecond)
			}
		})
		for _, v := range failures(all) {
			t.Errorf("a request failed: %v", v.err)
		}
		seen := map[string]int{}
		for _, v := range all {
			seen[v.server]++
		}
		t.Logf("%d requests, none failed: %v", len(all), seen)
	})
}
