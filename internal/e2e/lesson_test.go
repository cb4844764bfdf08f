//go:build linux

package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The lesson of examples/126-vip-behind-floating-ip.toml, on real devices:
//
//	WEB1 .9 ─┐
//	WEB2 .10 ┴─ br100 ── tap100 ┐                    ┌ tap-ext ── brext ─┬─ client 10.10.10.4
//	172.16.100.0/24             ├ taprouter (its own ┤                   └─ upstream 10.10.10.1
//	vm3 .3 ─┬─── br101 ── tap101┘       namespace)   │  10.10.10.0/24
//	vm4 .4 ─┘ 172.16.101.0/24                        └ .2 router, .3 vm3, .7 VIP
//
// The bridges are in a namespace called wires; every host has one of its own.
type lesson struct {
	*world
	router                                 *space
	web1, web2, vm3, vm4, client, upstream *space
	process                                *process
}

const lessonFile = "../../examples/126-vip-behind-floating-ip.toml"

func newLesson(t *testing.T) *lesson {
	t.Helper()
	l := &lesson{world: newWorld(t)}
	l.router = l.space("router")
	wires := l.space("wires")
	l.process = l.router.serve(lessonFile)
	for bridge, tapName := range map[string]string{"br100": "tap100", "br101": "tap101", "brext": "tap-ext"} {
		br := wires.bridge(bridge)
		l.check(wires.LinkSetMaster(wires.adopt(l.router, tapName), br))
	}
	host := func(name, bridge, cidr, gateway string) *space {
		s := l.space(name)
		l.veth(s, "eth0", wires, name)
		l.check(wires.LinkSetMaster(wires.link(name), wires.link(bridge)))
		s.address("eth0", cidr, gateway)
		return s
	}
	l.web1 = host("web1", "br100", "172.16.100.9/24", "172.16.100.1")
	l.web2 = host("web2", "br100", "172.16.100.10/24", "172.16.100.1")
	l.vm3 = host("vm3", "br101", "172.16.101.3/24", "172.16.101.1")
	l.vm4 = host("vm4", "br101", "172.16.101.4/24", "172.16.101.1")
	l.client = host("client", "brext", "10.10.10.4/24", "10.10.10.2")
	l.upstream = host("upstream", "brext", "10.10.10.1/24", "10.10.10.2")
	return l
}

// nginx serves a page with a name and the client's address.
func (w *world) nginx(s *space, name string) {
	w.t.Helper()
	dir := w.t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	w.check(os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { }
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c;
  uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen 80; default_type text/plain; return 200 "%[2]s client $remote_addr\n"; }
}`, dir, name), 0o644))
	p := s.start("nginx", "-e", filepath.Join(dir, "error.log"), "-c", conf)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if out, err := s.try("curl", "-s", "-m", "1", "http://127.0.0.1/"); err == nil && strings.Contains(out, name) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("nginx %s does not answer:\n%s", name, p.stop())
		}
	}
}

func (s *space) curl(url string) string {
	s.w.t.Helper()
	return strings.TrimSpace(s.run("curl", "-sS", "-m", "5", url))
}

func TestLesson(t *testing.T) {
	t.Parallel()
	need(t, "ping", "curl", "nginx", "traceroute", "arping", "tcpdump")
	l := newLesson(t)
	l.nginx(l.web1, "WEB1")
	l.nginx(l.web2, "WEB2")
	l.nginx(l.vm3, "vm3")
	l.nginx(l.client, "client")
	l.step("RoundRobin", l.roundRobin)
	l.step("FloatingIP", l.floatingIP)
	l.step("SNAT", l.snat)
	l.step("EastWest", l.eastWest)
	l.step("NothingReachesInside", l.fromOutside)
	l.step("ARP", l.arp)
	l.step("AbsentHost", l.absentHost)
	l.step("Hairpin", l.hairpin)
	if out := l.process.out.String(); strings.Contains(out, "panic") || strings.Contains(out, "error:") {
		t.Errorf("the router has logged:\n%s", out)
	}
}

func (l *lesson) roundRobin(t *testing.T) {
	var got []string
	for range 8 {
		got = append(got, l.client.curl("http://10.10.10.7/"))
	}
	t.Logf("curl http://10.10.10.7/ from 10.10.10.4: %q", got)
	for i, page := range got {
		if want := fmt.Sprintf("WEB%d client 10.10.10.4", 1+i%2); page != want {
			t.Errorf("request %d got %q, want %q", i, page, want)
		}
	}
}

func (l *lesson) absentHost(t *testing.T) {
	out, err := l.vm3.try("ping", "-n", "-c", "4", "-W", "4", "172.16.100.200")
	if err == nil || !strings.Contains(out, "From 172.16.101.1 icmp_seq=1 Destination Host Unreachable") {
		t.Errorf("ping to an absent host: %v\n%s", err, out)
	}
}

// hairpin: what leaves through the router and comes back.
func (l *lesson) hairpin(t *testing.T) {
	if got := l.vm3.curl("http://10.10.10.7/"); !strings.HasSuffix(got, "client 10.10.10.3") {
		t.Errorf("an instance with a floating IP, to another: %q", got)
	}
	if got := l.vm4.curl("http://10.10.10.3/"); got != "vm3 client 10.10.10.2" {
		t.Errorf("an instance without one: %q", got)
	}
	if got := l.vm3.curl("http://10.10.10.3/"); got != "vm3 client 10.10.10.3" {
		t.Errorf("an instance to its own: %q", got)
	}
	for range 2 { // one of them to itself
		if got := l.web1.curl("http://172.16.100.11/"); !strings.HasSuffix(got, "client 172.16.100.1") {
			t.Errorf("a member to its own VIP: %q", got)
		}
	}
}

// capture runs fn while tcpdump looks at eth0, and returns its lines.
func (s *space) capture(t *testing.T, filter string, fn func()) string {
	t.Helper()
	return s.captureOn(t, "eth0", filter, fn)
}

// captureOn is capture on any interface, promiscuous so that frames for others
// show as well.
func (s *space) captureOn(t *testing.T, name, filter string, fn func()) string {
	t.Helper()
	p := s.start("tcpdump", "-n", "-l", "-Z", "root", "--immediate-mode", "-i", name, filter)
	p.wait(t, "listening on")
	fn()
	time.Sleep(300 * time.Millisecond) // until tcpdump has read and printed the last frames
	return p.stop()
}

// floatingIP: outside, 172.16.101.3 is 10.10.10.3, both ways.
func (l *lesson) floatingIP(t *testing.T) {
	out := func() { l.vm3.pings(t, "10.10.10.4") }
	in := func() {
		if out := l.client.pings(t, "10.10.10.3"); !strings.Contains(out, "ttl=63") {
			t.Errorf("want one hop:\n%s", out)
		}
	}
	for _, c := range []struct {
		name    string
		do      func()
		at      *space
		request string
		never   string
	}{
		{"ping out, seen outside", out, l.client, "IP 10.10.10.3 > 10.10.10.4: ICMP echo request", "172.16."},
		{"ping in, seen outside", in, l.client, "IP 10.10.10.4 > 10.10.10.3: ICMP echo request", "172.16."},
		{"ping in, seen inside", in, l.vm3, "IP 10.10.10.4 > 172.16.101.3: ICMP echo request", "10.10.10.3"},
	} {
		seen := c.at.capture(t, "icmp", c.do)
		if !strings.Contains(seen, c.request) || strings.Contains(seen, c.never) {
			t.Errorf("%s: want %q and never %q:\n%s", c.name, c.request, c.never, seen)
		}
	}
	if got := l.client.curl("http://10.10.10.3/"); got != "vm3 client 10.10.10.4" {
		t.Errorf("curl in: %q", got)
	}
	if got := l.vm3.curl("http://10.10.10.4/"); got != "client client 10.10.10.3" {
		t.Errorf("curl out: %q", got)
	}
	for _, mode := range traceModes {
		if hops := l.client.hops(mode, "10.10.10.3"); hops != "10.10.10.2 10.10.10.3" {
			t.Errorf("traceroute %s into a floating IP: %q", mode, hops)
		}
		if hops := l.vm3.hops(mode, "10.10.10.4"); hops != "172.16.101.1 10.10.10.4" {
			t.Errorf("traceroute %s out of a floating IP: %q", mode, hops)
		}
	}
}

// snat: outside, an instance without a floating IP is the router.
func (l *lesson) snat(t *testing.T) {
	if got := l.web1.curl("http://10.10.10.4/"); got != "client client 10.10.10.2" {
		t.Errorf("172.16.100.9 appears outside as %q", got)
	}
	seen := l.client.capture(t, "icmp", func() { l.web1.pings(t, "10.10.10.4") })
	if !strings.Contains(seen, "IP 10.10.10.2 > 10.10.10.4: ICMP echo request") || strings.Contains(seen, "172.16.") {
		t.Errorf("the outside saw:\n%s", seen)
	}
	l.web1.pings(t, "10.10.10.1")
	for _, mode := range traceModes {
		if hops := l.web1.hops(mode, "10.10.10.4"); hops != "172.16.100.1 10.10.10.4" {
			t.Errorf("traceroute %s through SNAT: %q", mode, hops)
		}
	}
}

// traceModes are the probes that traceroute can send: ICMP, UDP and TCP.
var traceModes = []string{"-I", "-U", "-T"}

// hops is the addresses that traceroute shows, in order. It sends one probe after
// the other: when answers come at once, it misses all of them now and then.
func (s *space) hops(mode, to string) string {
	s.w.t.Helper()
	out := s.run("traceroute", "-n", mode, "-q", "1", "-N", "1", "-w", "2", "-m", "8", to)
	var hops []string
	for _, line := range strings.Split(out, "\n")[1:] {
		if f := strings.Fields(line); len(f) > 1 {
			hops = append(hops, f[1])
		}
	}
	return strings.Join(hops, " ")
}

// eastWest: between tenant networks there is one hop and no translation.
func (l *lesson) eastWest(t *testing.T) {
	for _, mode := range traceModes {
		if hops := l.vm3.hops(mode, "172.16.100.9"); hops != "172.16.101.1 172.16.100.9" {
			t.Errorf("traceroute %s: %q, want one hop before the host", mode, hops)
		}
	}
	seen := l.web1.capture(t, "icmp", func() { l.vm3.pings(t, "172.16.100.9") })
	if !strings.Contains(seen, "IP 172.16.101.3 > 172.16.100.9: ICMP echo request") {
		t.Errorf("the host saw:\n%s", seen)
	}
	if got := l.vm3.curl("http://172.16.100.9/"); got != "WEB1 client 172.16.101.3" {
		t.Errorf("east-west: %q", got)
	}
	if got := l.vm3.curl("http://172.16.100.11/"); !strings.HasSuffix(got, "client 172.16.101.3") {
		t.Errorf("VIP from another network: %q", got)
	}
}

// fromOutside: without a floating IP, nothing gets in.
func (l *lesson) fromOutside(t *testing.T) {
	seen := l.web1.capture(t, "net 10.10.10.0/24", func() {
		for _, args := range [][]string{
			{"ping", "-c", "2", "-i", "0.2", "-W", "1", "172.16.100.9"},
			{"curl", "-s", "-m", "1", "http://172.16.100.9/"},
			{"curl", "-s", "-m", "1", "http://172.16.100.11/"},
			{"curl", "-s", "-m", "1", "http://172.16.101.3/"}, // has a floating IP; this is not it
			{"curl", "-s", "-m", "1", "http://10.10.10.2/"},
			{"curl", "-s", "-m", "1", "http://10.10.10.7:81/"}, // the VIP serves port 80
		} {
			if out, err := l.client.try(args...); err == nil {
				t.Errorf("%v succeeded from outside:\n%s", args, out)
			}
		}
	})
	if strings.Contains(seen, "10.10.10.4") {
		t.Errorf("the inside saw:\n%s", seen)
	}
}

// arp: one MAC answers for the router's addresses outside, and for nothing else.
func (l *lesson) arp(t *testing.T) {
	macs := map[string]bool{}
	for _, a := range []string{"10.10.10.2", "10.10.10.3", "10.10.10.7"} {
		out := l.client.run("arping", "-c", "1", "-w", "2", "-I", "eth0", a)
		_, rest, ok := strings.Cut(out, "[")
		mac, _, _ := strings.Cut(rest, "]")
		if !ok {
			t.Errorf("arping %s:\n%s", a, out)
		}
		macs[mac] = true
	}
	if len(macs) != 1 {
		t.Errorf("answers from %v, want one MAC", macs)
	}
	t.Logf("10.10.10.2, .3 and .7 are at %v", slices.Collect(maps.Keys(macs)))
	// The rest of the pool, addresses of the inside, the whole world: all at once,
	// as silence takes a second to hear.
	silent := []string{"10.10.10.0", "172.16.100.1", "172.16.101.1", "172.16.101.3", "172.16.100.11", "192.168.10.1",
		"8.8.8.8"}
	for i := 5; i <= 22; i++ {
		if i != 7 {
			silent = append(silent, fmt.Sprintf("10.10.10.%d", i))
		}
	}
	script := `for a; do arping -c 1 -w 1 -I eth0 $a & done; wait`
	if out := l.client.run(append([]string{"sh", "-c", script, "sh"}, silent...)...); strings.Contains(out,
		"reply from") || strings.Count(out, "Received 0 response") != len(silent) {
		t.Errorf("want no answer:\n%s", out)
	}
}
