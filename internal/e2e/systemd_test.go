//go:build linux

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A booted is a systemd that is process 1 of namespaces of its own, with the machine's programs. The Debian package is
// installed there. Its network is the space of the router of a pair.
type booted struct {
	*pair
	pid string // of systemd
}

// boot boots systemd, and installs the package as an administrator does.
func boot(t *testing.T) *booted {
	t.Helper()
	need(t, "make", "git", "dpkg", "systemd", "systemctl", "journalctl", "setpriv", "unshare", "nsenter", "pivot_root",
		"ping")
	if text, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(text), "\toverlay\n") ||
		!strings.Contains(string(text), "\tcgroup2\n") {
		missing(t, "overlay and cgroup2 among the kernel's file systems (modprobe overlay)")
	}
	w := newWorld(t)
	deb, err := madePackage()
	w.check(err)
	b := &booted{pair: &pair{world: w}}
	b.router, b.internal, b.external = w.space("router"), w.space("internal"), w.space("external")
	m := w.unitManager(0) // what systemd itself tells when it has booted
	script, err := filepath.Abs("testdata/boot.sh")
	w.check(err)
	dir := filepath.Join(filepath.Dir(w.file("x", "")), "machine")
	w.check(os.Mkdir(dir, 0o755))
	p := b.router.start("unshare", "--mount", "sh", script, dir, w.prefix, m.path)
	t.Cleanup(func() {
		if p.stop(); t.Failed() {
			t.Logf("what systemd printed:\n%s", p.out.String())
		}
	})
	m.hears(t, "READY=1")
	_, b.pid, _ = strings.Cut(p.out.String(), "process ")
	b.pid, _, _ = strings.Cut(b.pid, "\n")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := b.try("journalctl", "--no-pager", "--output=short-monotonic", "--lines=300")
			t.Logf("the journal:\n%s", out)
		}
	})
	// The machine has a /tmp of its own, and the package may be in this one's.
	text, err := os.ReadFile(deb)
	w.check(err)
	b.write("/var/cache/"+filepath.Base(deb), string(text))
	b.do("dpkg", "--no-triggers", "--install", "/var/cache/"+filepath.Base(deb)) // triggers of other packages take long
	return b
}

// try runs a command on the booted machine.
func (b *booted) try(args ...string) (string, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"--all", "--target", b.pid}, args...)...).
		CombinedOutput()
	return string(out), exitCode(err)
}

// do is try for a command that must succeed. It returns what the command prints, without the last line's end.
func (b *booted) do(args ...string) string {
	b.t.Helper()
	out, code := b.try(args...)
	if code != 0 {
		b.t.Fatalf("%v: status %d\n%s", args, code, out)
	}
	return strings.TrimSpace(out)
}

// path is a path of the booted machine.
func (b *booted) path(name string) string { return filepath.Join("/proc", b.pid, "root", name) }

// write writes a file there.
func (b *booted) write(name, text string) {
	b.t.Helper()
	b.check(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.check(os.WriteFile(b.path(name), []byte(text), 0o644))
}

// property is what systemd says of the service.
func (b *booted) property(name string) string {
	b.t.Helper()
	return b.do("systemctl", "show", "--value", "--property", name, "taprouter")
}

// becomes waits until a property of the service has a value.
func (b *booted) becomes(name, want string) {
	b.t.Helper()
	got := ""
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if got = b.property(name); got == want {
			return
		}
	}
	b.t.Fatalf("%s of the service is %q, want %q", name, got, want)
}

// as is a command by another user of the booted machine.
func as(user, group string, args ...string) []string {
	return append([]string{"setpriv", "--reuid", user, "--regid", group, "--clear-groups"}, args...)
}

// strictDropIn has the kernel end a process that makes a system call beside the unit's filter. The filter alone has
// such a call fail, and a program may go on in another way without a word.
const strictDropIn = "[Service]\nSystemCallErrorNumber=kill\n"

// The service does all that it does in the unit's sandbox, under systemd itself. Connections go on over every way of a
// restart, and no byte is lost.
func TestSystemd(t *testing.T) {
	b := boot(t)
	if got := b.property("ActiveState"); got != "active" {
		t.Fatalf("the installed service is %s", got)
	}
	b.write("/etc/systemd/system/taprouter.service.d/strict.conf", strictDropIn)
	b.write(packageFile, restartTopology)
	b.do("systemctl", "daemon-reload")
	b.do("systemctl", "restart", "taprouter")
	b.connect(b.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	b.connect(b.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	b.internal.pings(t, externalAddress)
	const descriptors = "3" // two TAPs and a table
	b.becomes("NFileDescriptorStore", descriptors)
	b.sandboxed()
	b.step("users", func(t *testing.T) { b.answersUsers() })

	idle, atIdle := b.join(b.internal, b.external, externalAddress+":0", externalAddress+":")
	for _, way := range []struct {
		name string
		do   func()
	}{
		{"reload", func() {
			b.write(packageFile, restartTopology+"[[network]]\nname = \"more\"\ndevices = [\"tap:tap-more\"]\n")
			b.do("systemctl", "reload", "taprouter")
			b.router.link("tap-more")
			b.write(packageFile, restartTopology)
			b.do("systemctl", "reload", "taprouter")
		}},
		{"restart", func() { b.do("systemctl", "restart", "taprouter") }},
		{"kill -9", func() {
			before := b.property("MainPID")
			b.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "taprouter")
			b.becomes("NRestarts", "1")
			b.do("systemctl", "start", "taprouter") // waits until it is there
			if b.property("MainPID") == before {
				t.Error("it was not killed")
			}
		}},
		{"upgrade", func() {
			before := b.property("MainPID")
			b.do(as("taprouter", "taprouter", "taprouter", "upgrade")...)
			b.becomes("ActiveState", "active")
			if now := b.property("MainPID"); now != before || b.property("NRestarts") != "1" {
				t.Errorf("process %s was replaced by process %s, %s restarts", before, now, b.property("NRestarts"))
			}
		}},
		{"watchdog", func() {
			b.write("/etc/systemd/system/taprouter.service.d/watchdog.conf", "[Service]\nWatchdogSec=5\n")
			b.do("systemctl", "daemon-reload")
			b.do("systemctl", "restart", "taprouter")
			b.becomes("NFileDescriptorStore", descriptors)
			b.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "taprouter")
			b.becomes("NRestarts", "1")
			b.do("systemctl", "start", "taprouter")
			if out := b.do("journalctl", "--no-pager"); !strings.Contains(out, "Watchdog timeout") {
				t.Error("systemd does not say that the watchdog ended it")
			}
		}},
	} {
		b.step(way.name, func(t *testing.T) {
			client, server := b.join(b.internal, b.external, externalAddress+":0", externalAddress+":")
			vip, atVIP := b.join(b.external, b.internal, ":8000", vipBehind+":80")
			flows := []*flow{begin("SNAT", client, server), begin("VIP", vip, atVIP)}
			for _, f := range flows {
				f.await(t, 8<<20)
			}
			way.do()
			b.becomes("NFileDescriptorStore", descriptors)
			for _, f := range flows {
				f.await(t, 8<<20)
				f.end(t)
			}
			b.says(atIdle, idle, "from outside")
			b.says(idle, atIdle, "from inside")
			b.sandboxed()
		})
	}
	for _, fault := range []string{"status=31/SYS", "Operation not permitted", "cannot be"} {
		if out := b.do("journalctl", "--no-pager", "--unit=taprouter"); strings.Contains(out, fault) {
			t.Errorf("the journal says %q", fault)
		}
	}
	b.internal.link("tap100")
	b.do("systemctl", "stop", "taprouter")
	if _, err := b.internal.LinkByName("tap100"); err == nil {
		t.Error("after a stop there is a TAP")
	}
	if got := b.property("Result"); got != "success" {
		t.Errorf("the service ended with %s", got)
	}
}

// sandboxed wants the unit's rights and filter to hold for every thread of the service.
func (b *booted) sandboxed() {
	b.t.Helper()
	process := b.path("/proc/" + b.property("MainPID"))
	threadsHave(b.t, process, netRights, netRights)
	text, err := os.ReadFile(process + "/status")
	b.check(err)
	if !strings.Contains(string(text), "\nSeccomp:\t2\n") {
		b.t.Errorf("system calls are not filtered:\n%s", text)
	}
}

// answersUsers wants the socket to be for root and for the service's user alone.
func (b *booted) answersUsers() {
	b.t.Helper()
	for _, command := range [][]string{{"taprouter", "status"}, as("taprouter", "taprouter", "taprouter", "status")} {
		if out := b.do(command...); !strings.Contains(out, " 2 networks, ") {
			b.t.Errorf("%v: %s", command, out)
		}
	}
	command := as("nobody", "taprouter", "taprouter", "status")
	out, code := b.try(command...)
	if code == 0 || !strings.Contains(out, "permission denied") {
		b.t.Errorf("%v: status %d, %s", command, code, out)
	}
}
