package routertest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/taprouter/taprouter/router/routertest"
)

// A fatal is a test's stand-in that keeps what ends it.
type fatal struct {
	testing.TB
	said string
}

func (f *fatal) Helper() {}

func (f *fatal) Fatal(args ...any) {
	f.said = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fatal) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// refusal returns what ends a test that plays fn on a lab, empty for nothing.
func refusal(t *testing.T, text string, fn func(*routertest.Lab)) string {
	t.Helper()
	f := &fatal{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(routertest.Parse(f, text))
	}()
	<-done
	return f.said
}

const crowded = `
[[network]]
name = "in"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "in2"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[router]]
name = "r"
interfaces = ["in"]
gateway = { network = "ext", address = "203.0.113.2", snat_addresses = ["203.0.113.100-203.0.113.103"] }
[[router]]
name = "r2"
interfaces = ["in2"]
[[port]]
name = "p"
network = "in"
mac = "fa:16:3e:00:00:05"
fixed_ip = "10.1.0.5"
[[floating_ip]]
network = "ext"
address = "203.0.113.3"
[[pool]]
name = "web"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.9"
port = 80
[[vip]]
name = "v"
network = "in"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
[[instance]]
name = "WEB"
network = "in"
address = "10.1.0.9"
mac = "02:68:0a:01:00:14"
`

func TestRefusedHosts(t *testing.T) {
	for name, c := range map[string]struct {
		play func(*routertest.Lab)
		want string
	}{
		"twice": {func(l *routertest.Lab) { l.Host("in", "10.1.0.7"); l.Host("in", "10.1.0.7") },
			`10.1.0.7 on network "in" is the address of host "10.1.0.7", which is attached already`},
		"instance twice": {func(l *routertest.Lab) { l.Instance("WEB"); l.Instance("WEB") },
			`the address of host "WEB", which is attached already`},
		"an instance's": {func(l *routertest.Lab) { l.Host("in", "10.1.0.9"); l.Instance("WEB") },
			`10.1.0.9 on network "in" is the address of host "10.1.0.9", which is attached already`},
		"beside it": {func(l *routertest.Lab) { l.Instance("WEB"); l.Host("in", "10.1.0.9") },
			`10.1.0.9 on network "in" is the address of host "WEB", which is attached already`},
		"in its place": {func(l *routertest.Lab) {
			if h := l.Host("in", "10.1.0.9"); h.MAC().String() != "02:68:0a:01:00:14" {
				t.Errorf("in the instance's place is %v", h.MAC())
			}
		}, ""},
		"a router's":    {func(l *routertest.Lab) { l.Host("in", "10.1.0.1") }, `the address of router "r"`},
		"a gateway's":   {func(l *routertest.Lab) { l.Host("ext", "203.0.113.2") }, `the address of router "r"`},
		"SNAT's":        {func(l *routertest.Lab) { l.Host("ext", "203.0.113.102") }, `the address of router "r"`},
		"a floating IP": {func(l *routertest.Lab) { l.Host("ext", "203.0.113.3") }, "the address of a floating IP"},
		"a VIP":         {func(l *routertest.Lab) { l.Host("in", "10.1.0.11") }, `the address of VIP "v"`},
		"outside": {func(l *routertest.Lab) { l.Host("in", "10.2.0.7") },
			`no network "in" with a subnet that holds 10.2.0.7`},
		"no such one": {func(l *routertest.Lab) { l.Instance("DB") }, `no instance "DB"`},
		"a MAC twice": {func(l *routertest.Lab) { l.Host("in", "10.1.0.20"); l.Instance("WEB") },
			`MAC address 02:68:0a:01:00:14 on network "in" is that of host "10.1.0.20" already`},
		"overlapping": {func(l *routertest.Lab) {
			l.Host("in", "10.1.0.7")
			l.Host("in2", "10.1.0.7")
			l.Host("in2", "10.1.0.9")
		}, ""},
		"upstream":    {func(l *routertest.Lab) { l.Host("ext", "203.0.113.1") }, ""},
		"after Close": {func(l *routertest.Lab) { l.Host("in", "10.1.0.7").Close(); l.Host("in", "10.1.0.7") }, ""},
		"a port's": {func(l *routertest.Lab) {
			if h := l.Host("in", "10.1.0.5"); h.MAC().String() != "fa:16:3e:00:00:05" {
				t.Errorf("at the port's address is %v", h.MAC())
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refusal(t, crowded, c.play); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A lab and its hosts belong into one bubble.
func TestLabOutsideOfItsBubble(t *testing.T) {
	f := &fatal{TB: t}
	lab := routertest.Parse(f, crowded)
	h := lab.Host("in", "10.1.0.7")
	attach := func() string {
		done := make(chan struct{})
		go func() {
			defer close(done)
			lab.Host("in", "10.1.0.8")
		}()
		<-done
		return f.said
	}
	synctest.Test(t, func(t *testing.T) {
		if got := attach(); !strings.Contains(got, "on the other side of a synctest bubble") {
			t.Errorf("a host inside for a lab from outside: %q", got)
		}
		if _, err := h.Dial("tcp", "10.1.0.9:80"); err == nil ||
			!strings.Contains(err.Error(), "made outside of the bubble") {
			t.Errorf("a host from outside: %v", err)
		}
		if _, err := lab.Engine.Attach("in", 0); err == nil || !strings.Contains(err.Error(), "synctest") {
			t.Errorf("a host for a lab from outside: %v", err)
		}
	})
	f.said = ""
	if got := attach(); got != "" {
		t.Errorf("where the lab was made: %q", got)
	}
	inside, used := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(used)
		<-inside
		f.said = ""
		if got := attach(); !strings.Contains(got, "on the other side of a synctest bubble") {
			t.Errorf("a host outside for a lab from inside: %q", got)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		f = &fatal{TB: t}
		lab = routertest.Parse(f, crowded)
		lab.Host("in", "10.1.0.7")
		close(inside)
		<-used
	})
	synctest.Test(t, func(t *testing.T) {
		lab := routertest.Parse(t, crowded)
		web, h := lab.Instance("WEB"), lab.Host("in", "10.1.0.7")
		if err := web.ServeName(80); err != nil {
			t.Fatal(err)
		}
		if got := get(t, h, "http://10.1.0.11/"); !strings.HasPrefix(got, "WEB\n") {
			t.Errorf("inside: %q", got)
		}
	})
}
