//go:build linux

package e2e_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// lateTopology is a pair with two networks more, whose devices come after the start:
//
//	internal 172.16.100.9 ── tap100 ────┐
//	third 192.0.2.9 ──────── raw:cable ─┤
//	late 198.51.100.9 ── tap4@late ─────┴ router ── tap-ext ── external 10.10.10.4
func lateTopology(netns string) string {
	const three, four = `interfaces = ["tenant", "third"]`, `interfaces = ["tenant", "third", "fourth"]`
	return strings.Replace(troubleTopology, three, four, 1) + `
[[network]]
name = "fourth"
devices = ["tap:tap4@` + netns + `"]
  [[network.subnet]]
  cidr = "198.51.100.0/24"
`
}

// A service manager that a test stands for.
type manager struct {
	*net.UnixConn
	path string
}

func (w *world) manager() *manager {
	w.t.Helper()
	path := filepath.Join(filepath.Dir(w.file("x", "")), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	w.check(err)
	w.t.Cleanup(func() { c.Close() })
	return &manager{c, path}
}

// told returns the next message.
func (m *manager) told(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4096)
	_ = m.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		n, err := m.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(b[:n]); !strings.HasPrefix(text, "FDSTORE") { // descriptors to keep: see TestRestart
			return text
		}
	}
}

// The router starts without an interface and a namespace that do not exist, says so, and
// serves the others. What comes is taken into use.
func TestStartsWithoutWhatDoesNotExistYet(t *testing.T) {
	t.Parallel()
	need(t, "ping", "env")
	w := newWorld(t)
	p := &pair{world: w, router: w.space("router"), internal: w.space("internal"), external: w.space("external")}
	third := w.space("third")
	late := w.prefix + "-late"
	m := w.manager()
	p.process = p.router.start("env", "NOTIFY_SOCKET="+m.path, program, "run", "--socket", "none",
		w.file("late.toml", lateTopology(late)))
	p.process.wait(t, " ready ")
	ready := p.process.out.String()
	ready = ready[strings.LastIndex(ready[:strings.Index(ready, " ready ")], "\n")+1:]
	ready = ready[:strings.IndexByte(ready, '\n')]
	for _, name := range []string{"raw:cable", "tap:tap4@" + late} {
		if _, after, ok := strings.Cut(ready, "missing="); !ok || !strings.Contains(after, name) {
			t.Errorf("%s is not named as missing by %s", name, ready)
		}
	}
	if s := m.told(t); !strings.Contains(s, "READY=1") || !strings.Contains(s, "raw:cable") ||
		!strings.Contains(s, "tap:tap4@"+late) {
		t.Errorf("told %q", s)
	}
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	p.internal.pings(t, externalAddress)

	w.veth(p.router, "cable", third, "eth0")
	third.address("eth0", thirdAddress+"/24", "192.0.2.1")
	p.settles(t, p.internal, thirdAddress)
	if s := m.told(t); strings.Contains(s, "raw:cable") || !strings.Contains(s, "tap:tap4@"+late) {
		t.Errorf("told %q after raw:cable has come", s)
	}

	there := w.space("late")
	p.process.waitTimes(t, "device is there", 2)
	there.address("tap4", "198.51.100.9/24", "198.51.100.1")
	p.settles(t, p.internal, "198.51.100.9")
	if s := m.told(t); strings.Contains(s, "missing") {
		t.Errorf("told %q after all have come", s)
	}
	p.logged(t, 1, "device is missing, it is opened when it comes device=raw:cable")
}

// With --require-devices, the start fails in words. What waiting does not cure ends the
// start in any case.
func TestWhatEndsTheStart(t *testing.T) {
	t.Parallel()
	need(t, "setpriv")
	w := newWorld(t)
	s := w.space("router")
	w.check(s.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "narrow", MTU: 1400}, PeerName: "narrow2"}))
	holder := s.start(program, "run", "--socket", "none", w.file("holder.toml",
		strings.NewReplacer("tap:tap100", "tap:taken", "tap:tap-ext", "tap:other").Replace(pairTopology)))
	holder.wait(t, " ready ")
	nowhere := w.prefix + "-nowhere"
	without := func(capability string) []string {
		return []string{"setpriv", "--bounding-set=-" + capability, "--inh-caps=-all"}
	}
	for _, c := range []struct {
		name, device string
		require      bool
		wrappers     [][]string
		want         []string
	}{
		{"required, no interface", "raw:nothere", true, nil, []string{"raw:nothere", "no such interface"}},
		{"required, no namespace", "tap:tap4@" + nowhere, true, nil, []string{nowhere, "ip netns add"}},
		{"not Ethernet", "raw:lo", false, nil, []string{"raw:lo", "not an Ethernet interface"}},
		{"taken", "tap:taken", false, nil, []string{"tap:taken", "another process"}},
		{"no TAP", "tap:lo", false, nil, []string{"tap:lo", "no TAP device"}},
		{"a narrow interface", "raw:narrow", false, nil, []string{"raw:narrow", "MTU of 1400"}},
		{"no right to an interface that is missing, too", "raw:nothere", false, [][]string{without("net_raw")},
			[]string{"raw:nothere", "CAP_NET_RAW"}},
		{"no right to a namespace that is missing, too", "tap:tap4@" + nowhere, false, [][]string{without("sys_admin")},
			[]string{nowhere, "CAP_SYS_ADMIN"}},
	} {
		args := []string{program, "run", "--socket", "none",
			w.file("x.toml", strings.Replace(pairTopology, "tap:tap100", c.device, 1))}
		if c.require {
			args = append(args, "--require-devices")
		}
		run := s.start(with(c.wrappers, args...)...)
		select {
		case <-run.ended:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it does not end:\n%s", c.name, run.stop())
			continue
		}
		out := run.out.String()
		if exitCode(run.err) != 1 {
			t.Errorf("%s: exit status %d, want 1:\n%s", c.name, exitCode(run.err), out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in the output:\n%s", c.name, want, out)
			}
		}
	}
}
