//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGTERM and SIGINT end the router in less than two seconds with status 0, busy
// or not; the TAPs that it made disappear, one that was there stays.
func TestStop(t *testing.T) {
	need(t, "ping")
	for _, c := range []struct {
		name   string
		signal os.Signal
		busy   bool
	}{
		{"SIGTERM, idle", syscall.SIGTERM, false},
		{"SIGTERM, busy", syscall.SIGTERM, true},
		{"SIGINT, idle", syscall.SIGINT, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s, host := w.space("router"), w.space("host")
			s.run("ip", "tuntap", "add", "tap-ext", "mode", "tap")
			host.run("ip", "tuntap", "add", "tap9", "mode", "tap")
			text := strings.Replace(pairTopology, `"tap:tap100"`, `"tap:tap100", "tap:tap9@`+host.name+`"`, 1)
			p := s.serve(w.file("pair.toml", text))
			if c.busy {
				host.adopt(s, "tap100")
				host.address("tap100", internalAddress+"/24", "172.16.100.1")
				flood := host.start("ping", "-n", "-f", "-w", "20", "172.16.100.1")
				host.pings(t, "172.16.100.1")
				defer flood.stop()
			} else {
				s.link("tap100")
			}
			start := time.Now()
			w.check(p.cmd.Process.Signal(c.signal))
			select {
			case <-p.ended:
			case <-time.After(5 * time.Second):
				t.Fatalf("it does not end; its log:\n%s", p.out.String())
			}
			took := time.Since(start)
			t.Logf("ended in %v", took.Round(time.Millisecond))
			if took >= 2*time.Second || p.err != nil {
				t.Errorf("it ended in %v with %v, want status 0 in less than 2s:\n%s", took, p.err, p.out.String())
			}
			for _, at := range []*space{s, host} {
				if _, err := at.LinkByName("tap100"); err == nil {
					t.Errorf("tap100 is still in %s", at.name)
				}
			}
			s.link("tap-ext") // fails the test if it is gone
			host.link("tap9")
		})
	}
}

// Killed while it runs, the router leaves nothing. Killed while it starts, at
// most its TAPs, which the next start takes over.
func TestKilled(t *testing.T) {
	need(t, "ping")
	for _, how := range []wiring{movedTAP, placedTAP} {
		t.Run(string(how), func(t *testing.T) {
			p := &pair{world: newWorld(t)}
			p.router, p.internal = p.space("router"), p.space("internal")
			file := p.file("pair.toml", p.prepare(p.internal, how, "tap100", pairTopology))
			kill := func(run *process) {
				p.check(run.cmd.Process.Kill())
				<-run.ended
			}
			for range 3 {
				kill(p.router.serve(file))
				if left := p.devices(); len(left) != 0 {
					t.Errorf("killed while running, it leaves %v", left)
				}
			}
			for i := range 10 { // at ten moments of the start
				run := p.router.start(program, "run", "--socket", "none", file)
				<-time.After(time.Duration(i) * 2 * time.Millisecond)
				kill(run)
			}
			t.Logf("killed while starting, it leaves %v", p.devices())
			run := p.router.serve(file)
			p.connect(p.internal, how, "tap100", internalAddress+"/24", "172.16.100.1")
			p.internal.pings(t, "172.16.100.1")
			for _, name := range p.devices() {
				if name != "tap100" && name != "tap-ext" {
					t.Errorf("the next start does not take over %s", name)
				}
			}
			run.stop()
		})
	}
}

// devices is every interface beside the loopback, with the router and inside.
func (p *pair) devices() []string {
	p.t.Helper()
	var names []string
	for _, s := range []*space{p.router, p.internal} {
		links, err := s.LinkList()
		p.check(err)
		for _, l := range links {
			if l.Attrs().Name != "lo" {
				names = append(names, l.Attrs().Name)
			}
		}
	}
	return names
}

// A service manager is told when every device is there.
func TestNotify(t *testing.T) {
	need(t, "env")
	w := newWorld(t)
	s := w.space("router")
	m := w.manager()
	p := s.start("env", "NOTIFY_SOCKET="+m.path, program, "run", "--socket", "none", w.file("pair.toml", pairTopology))
	if got := m.told(t); !strings.Contains(got, "READY=1") {
		t.Errorf("told %q", got)
	}
	for _, name := range []string{"tap100", "tap-ext"} {
		if s.link(name).Attrs().Flags&net.FlagUp == 0 {
			t.Errorf("%s is not up when the router says that it is ready", name)
		}
	}
	p.stop()
	if got := m.told(t); !strings.Contains(got, "STOPPING=1") {
		t.Errorf("told %q", got)
	}
}

// invoke runs a command as it is, and returns its output and exit status.
func invoke(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	return string(out), exitCode(err)
}

// A topology that cannot be served is refused before a device is opened.
func TestRefusedTopology(t *testing.T) {
	need(t)
	w := newWorld(t)
	s := w.space("router")
	change := func(pairs ...string) string {
		t.Helper()
		text := strings.NewReplacer(pairs...).Replace(pairTopology)
		if text == pairTopology {
			t.Fatalf("nothing changes: %q", pairs)
		}
		return text
	}
	for _, c := range []struct {
		name, text string
		status     int
		want       []string
	}{
		{"several faults", change(`gateway = "10.10.10.4"`, `gatewey = "10.10.11.4"`, `["tenant"]`, `["tenent"]`,
			"172.16.100.0/24", "172.16.100.9/24"), 2,
			[]string{"x.toml:6: ", "x.toml:14: ", "gatewey", `did you mean "gateway"`, "x.toml:18: ", "tenent"}},
		{"not TOML", change("[[router]]", "[[router]"), 2, []string{"x.toml:16"}},
		{"empty", " ", 2, []string{"x.toml"}},
		{"what comes later", change("tap:tap100", "unix:/run/vm"), 2,
			[]string{"x.toml:", "device unix:/run/vm: unix is not supported yet"}},
		{"no TAP", change("tap:tap-ext", "tap:lo"), 1, []string{"tap:lo", "no TAP device"}},
	} {
		out, err := s.try(program, "run", "--socket", "none", w.file("x.toml", c.text))
		if code := exitCode(err); code != c.status {
			t.Errorf("%s: exit status %d, want %d:\n%s", c.name, code, c.status, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in the output:\n%s", c.name, want, out)
			}
		}
		if c.status == 2 && strings.Contains(out, "device open") {
			t.Errorf("%s: a device has been opened:\n%s", c.name, out)
		}
		if _, err := s.LinkByName("tap100"); err == nil {
			t.Errorf("%s: a device is left", c.name)
		}
	}
	out, err := s.try(program, "run", "--socket", "none", "/nonexistent/x.toml")
	if exitCode(err) != 1 || !strings.Contains(out, "/nonexistent/x.toml") {
		t.Errorf("no file: %v\n%s", err, out)
	}
}

// What ends the router like a crash is no exit status, as a wrong topology is: a service manager starts it again.
func TestCrashIsASignal(t *testing.T) {
	need(t)
	w := newWorld(t)
	p := w.space("router").serve(w.file("x.toml", pairTopology))
	w.check(p.cmd.Process.Signal(syscall.SIGABRT)) // as systemd's watchdog
	<-p.ended
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Errorf("it ends with %v, want SIGABRT", p.err)
	}
	if out := p.out.String(); !strings.Contains(out, "goroutine ") {
		t.Errorf("it tells no stacks:\n%s", out)
	}
}

// Where files run out, one line says so and what to raise.
func TestTooManyFiles(t *testing.T) {
	need(t, "sh")
	w := newWorld(t)
	s := w.space("router")
	var devices []string
	for i := range 40 {
		devices = append(devices, fmt.Sprintf("%q", fmt.Sprintf("tap:tap%d", i)))
	}
	file := w.file("x.toml", strings.Replace(pairTopology, `"tap:tap100"`, strings.Join(devices, ", "), 1))
	out, err := s.try("sh", "-c", `ulimit -n 30 && exec "$@"`, "sh", program, "run", "--socket", "none", file)
	if exitCode(err) != 1 || strings.Count(out, "LimitNOFILE") != 1 || strings.Count(out, "\ntaprouter: ") != 1 {
		t.Errorf("%v, want status 1 and one line about files:\n%s", err, out)
	}
}

// nobody is how a command runs as an ordinary user.
var nobody = []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"}

// withoutTUN is how a command runs where /dev/net/tun does not exist.
var withoutTUN = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /dev/net && exec "$@"`, "sh"}

// with is a command run by others.
func with(wrappers [][]string, command ...string) []string {
	var all []string
	for _, w := range wrappers {
		all = append(all, w...)
	}
	return append(all, command...)
}

// Without a right or the TUN driver, one line says what is missing, and which command
// needs neither.
func TestWithoutRights(t *testing.T) {
	need(t, "setpriv", "unshare")
	w := newWorld(t)
	s := w.space("router")
	w.veth(s, "eth9", s, "eth8")
	file := w.file("pair.toml", pairTopology)
	rawFile := w.file("raw.toml", strings.NewReplacer("tap:tap100", "raw:eth9").Replace(pairTopology))
	without := func(capability string) []string {
		return []string{"setpriv", "--bounding-set=-" + capability, "--inh-caps=-all"}
	}
	for _, c := range []struct {
		name     string
		wrappers [][]string
		file     string
		want     string
	}{
		{"an ordinary user", [][]string{nobody}, file, "CAP_NET_ADMIN"},
		{"no CAP_NET_ADMIN", [][]string{without("net_admin")}, file, "CAP_NET_ADMIN"},
		{"no CAP_NET_RAW", [][]string{without("net_raw")}, rawFile, "CAP_NET_RAW"},
		{"no /dev/net/tun", [][]string{withoutTUN}, file, "/dev/net/tun"},
	} {
		out, err := s.try(with(c.wrappers, program, "run", "--socket", "none", c.file)...)
		if code := exitCode(err); code != 1 {
			t.Errorf("%s: exit status %d, want 1:\n%s", c.name, code, out)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 1 || !strings.Contains(out, c.want) ||
			!strings.Contains(out, "`taprouter lab`, which needs n") {
			t.Errorf("%s: want one line that names %s and the lab:\n%s", c.name, c.want, out)
		}
		t.Logf("%s: %s", c.name, lines[0])
	}
}

// The lesson plays as an ordinary user without /dev/net/tun, and fails when an
// expectation does.
func TestLabAsOrdinaryUser(t *testing.T) {
	need(t, "setpriv", "unshare")
	w := newWorld(t)
	text, err := os.ReadFile(lessonFile)
	w.check(err)
	lab := func(file string) (string, int) {
		return invoke(t, with([][]string{withoutTUN, nobody}, program, "lab", file)...)
	}
	start := time.Now()
	out, code := lab(w.file("126.toml", string(text)))
	took := time.Since(start)
	out = strings.TrimSpace(out)
	if code != 0 || took >= 10*time.Second {
		t.Errorf("status %d in %v, want 0 in less than 10s:\n%s", code, took, out)
	}
	if want := strings.Count(string(text), "\n[[step]]"); strings.Count(out, "WEB1") < 2 || want == 0 {
		t.Errorf("it does not show what was seen:\n%s", out)
	}
	t.Logf("the lesson took %v; its last line: %s", took.Round(10*time.Millisecond),
		out[strings.LastIndex(out, "\n")+1:])
	broken := strings.Replace(string(text), `["WEB1", "WEB2", "WEB1", "WEB2"]`, `["WEB1", "WEB1", "WEB1", "WEB2"]`, 1)
	if broken == string(text) {
		t.Fatal("the lesson has no such expectation")
	}
	if out, code = lab(w.file("broken.toml", broken)); code != 1 {
		t.Errorf("a broken expectation: status %d, want 1:\n%s", code, out)
	}
}
