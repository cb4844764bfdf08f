//go:build linux

package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A debian is the Debian package, and a root directory that it is installed in.
type debian struct {
	*world
	deb, root string
}

// source is the repository's own directory.
const source = "../.."

// makePackage runs `make deb`, and returns the path of the package.
func makePackage() (string, error) {
	// The tests may run below another make, whose flags would have this one tell where it works.
	out, err := exec.Command("make", "-s", "--no-print-directory", "-C", source, "deb").CombinedOutput()
	_, path, found := strings.Cut(strings.TrimSpace(string(out)), "created package: ")
	if err != nil || !found {
		return "", fmt.Errorf("make deb: %w\n%s", err, out)
	}
	path, _, _ = strings.Cut(path, "\n")
	return filepath.Abs(filepath.Join(source, path))
}

// madePackage is the package, made once.
var madePackage = sync.OnceValues(makePackage)

// dpkg works on the root directory, without a chroot: the package's scripts get DPKG_ROOT. What the package depends on
// is not there.
func (d *debian) dpkg(args ...string) {
	d.t.Helper()
	args = append([]string{"dpkg", "--root=" + d.root, "--force-script-chrootless,depends", "--log=/dev/null"}, args...)
	if out, code := invoke(d.t, args...); code != 0 {
		d.t.Fatalf("%v: status %d\n%s", args, code, out)
	}
}

// path is a path below the root directory.
func (d *debian) path(name string) string { return filepath.Join(d.root, name) }

// read returns a file's text.
func (d *debian) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(d.path(name))
	d.check(err)
	return string(text)
}

const (
	unitFile    = "/usr/lib/systemd/system/taprouter.service"
	packageFile = "/etc/taprouter/taprouter.toml"
	wantsUnit   = "/etc/systemd/system/multi-user.target.wants/taprouter.service"
)

// newPackage makes the package, and installs it in a directory of the test.
func newPackage(t *testing.T) *debian {
	t.Helper()
	need(t, "make", "git", "dpkg", "systemd-sysusers", "deb-systemd-helper")
	w := newWorld(t)
	deb, err := madePackage()
	w.check(err)
	d := &debian{w, deb, filepath.Dir(w.file("x", ""))}
	for _, dir := range []string{"/etc", "/run", "/var/lib/dpkg/info", "/var/lib/dpkg/updates"} {
		w.check(os.MkdirAll(d.path(dir), 0o755))
	}
	w.check(os.WriteFile(d.path("/var/lib/dpkg/status"), nil, 0o644))
	d.dpkg("--install", d.deb)
	return d
}

// unit is what the installed unit says, last words first in effect. Settings of several lines are joined.
func (d *debian) unit() map[string]string {
	d.t.Helper()
	unit := map[string]string{}
	for line := range strings.Lines(d.read(unitFile)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			unit[key] = strings.TrimSpace(unit[key] + " " + value)
		}
	}
	return unit
}

// The package is made of the same bytes each time, and lintian finds nothing in it.
func TestPackageIsClean(t *testing.T) {
	need(t, "make", "git", "dpkg", "lintian")
	w := newWorld(t)
	var sums [2][32]byte
	var deb string
	for i, make := range []func() (string, error){madePackage, makePackage} {
		var err error
		deb, err = make()
		w.check(err)
		b, err := os.ReadFile(deb)
		w.check(err)
		sums[i] = sha256.Sum256(b)
	}
	if sums[0] != sums[1] {
		t.Errorf("two runs on one commit make %x and %x", sums[0], sums[1])
	}
	if out, code := invoke(t, "lintian", "--allow-root", "--tag-display-limit", "0", deb); code != 0 ||
		strings.TrimSpace(out) != "" {
		t.Errorf("lintian: status %d\n%s", code, out)
	}
}

// systemd finds nothing wrong with the unit, and little that the service could do to the machine.
func TestPackageUnit(t *testing.T) {
	need(t, "systemd-analyze")
	d := newPackage(t)
	// What the unit speaks of: targets, and what ExecReload runs.
	targets, err := filepath.Glob("/usr/lib/systemd/system/*.target")
	d.check(err)
	for _, name := range append(targets, "/bin/kill") {
		text, err := os.ReadFile(name)
		d.check(err)
		d.check(os.MkdirAll(filepath.Dir(d.path(name)), 0o755))
		d.check(os.WriteFile(d.path(name), text, 0o755))
	}
	for _, name := range targets {
		d.check(os.Chmod(d.path(name), 0o644))
	}
	verify := func() (string, int) {
		return invoke(t, "systemd-analyze", "verify", "--man=no", "--root="+d.root, filepath.Base(unitFile))
	}
	if out, code := verify(); code != 0 || strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: status %d\n%s", code, out)
	}
	out, code := invoke(t, "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=30",
		d.path(unitFile))
	if code != 0 {
		t.Errorf("systemd-analyze security: status %d\n%s", code, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.Log(lines[len(lines)-1])

	// The drop-ins are examples that work, if this systemd knows them.
	example := "/usr/share/doc/taprouter/examples/systemd/netns.conf"
	d.check(os.MkdirAll(d.path(unitFile+".d"), 0o755))
	d.check(os.WriteFile(d.path(unitFile+".d/netns.conf"), []byte(d.read(example)), 0o644))
	if out, code := verify(); code != 0 || strings.TrimSpace(out) != "" {
		t.Errorf("with %s: status %d\n%s", example, code, out)
	}
	d.check(os.WriteFile(d.path(unitFile+".d/netns.conf"), []byte("[Service]\nWatchDogSec=1\n"), 0o644))
	if out, _ := verify(); !strings.Contains(out, "WatchDogSec") {
		t.Errorf("a wrong drop-in is not found: %q", out)
	}
}

// The package is enabled once, keeps what the administrator writes and disables, and leaves nothing after a purge.
func TestPackageComesAndGoes(t *testing.T) {
	d := newPackage(t)
	there := func(name string, want bool) {
		t.Helper()
		if _, err := os.Lstat(d.path(name)); (err == nil) != want {
			t.Errorf("%s: %v, want that it is there: %t", name, err, want)
		}
	}
	there(wantsUnit, true)
	if !strings.Contains(d.read("/etc/passwd"), "\ntaprouter:") &&
		!strings.HasPrefix(d.read("/etc/passwd"), "taprouter:") {
		t.Errorf("no user taprouter:\n%s", d.read("/etc/passwd"))
	}
	const mine = "# mine\n[nat]\n"
	d.check(os.WriteFile(d.path(packageFile), []byte(mine), 0o644))
	d.check(os.Remove(d.path(wantsUnit)))
	d.dpkg("--install", d.deb) // again, as an upgrade
	if got := d.read(packageFile); got != mine {
		t.Errorf("an upgrade has written over the topology: %q", got)
	}
	there(wantsUnit, false)
	d.check(os.MkdirAll(d.path("/var/lib/taprouter/store"), 0o700))
	d.dpkg("--remove", "taprouter")
	there("/usr/bin/taprouter", false)
	there(packageFile, true)
	there("/var/lib/taprouter/store", true)
	d.dpkg("--purge", "taprouter")
	there("/etc/taprouter", false)
	there("/var/lib/taprouter", false)
	there("/etc/systemd/system/taprouter.service", false)
}

// The manual and the completion of three shells are where their readers look for them.
func TestPackageManual(t *testing.T) {
	need(t, "man")
	d := newPackage(t)
	out, code := invoke(t, "man", "--warnings", "-M", d.path("/usr/share/man"), "taprouter")
	if code != 0 || !strings.Contains(out, "NAME") || !strings.Contains(out, "taprouter") {
		t.Errorf("man taprouter: status %d\n%.500s", code, out)
	}
	for _, name := range []string{"bash-completion/completions/taprouter", "zsh/vendor-completions/_taprouter",
		"fish/vendor_completions.d/taprouter.fish"} {
		if !strings.Contains(d.read("/usr/share/"+name), "taprouter") {
			t.Errorf("%s does not speak of taprouter", name)
		}
	}
}

// service starts what the unit starts, as the unit's user, with the unit's capabilities and no others, where the
// package is installed over the machine's own files.
func (d *debian) service(s *space) *process {
	d.t.Helper()
	unit := d.unit()
	var uid, gid string
	for line := range strings.Lines(d.read("/etc/passwd")) {
		if f := strings.Split(line, ":"); f[0] == unit["User"] {
			uid, gid = f[2], f[3]
		}
	}
	if uid == "" || unit["Group"] != unit["User"] {
		d.t.Fatalf("no user %q:\n%s", unit["User"], d.read("/etc/passwd"))
	}
	set := func(capabilities string) string {
		return "-all,+" + strings.Join(strings.Fields(strings.ToLower(strings.ReplaceAll(capabilities, "CAP_", ""))),
			",+")
	}
	var dirs []string
	for _, dir := range [][2]string{{"/run/", unit["RuntimeDirectory"]}, {"/var/lib/", unit["StateDirectory"]}} {
		if dir[1] == "" {
			d.t.Fatalf("the unit has no directory below %s", dir[0])
		}
		dirs = append(dirs, d.path(dir[0]+dir[1]))
	}
	d.check(exec.Command("install", append([]string{"-d", "-m", "0700", "-o", uid, "-g", gid}, dirs...)...).Run())
	mounts := strings.NewReplacer("ROOT", d.root).Replace(`
		mount -t overlay -o lowerdir=ROOT/usr:/usr none /usr && mount -t overlay -o lowerdir=ROOT/etc:/etc none /etc &&
		mount --bind ROOT/etc/taprouter /etc/taprouter && mount --bind ROOT/run /run &&
		mount --bind ROOT/var/lib /var/lib &&
		mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && cd / && exec "$@"`) // as udev has it
	start := strings.Fields(strings.ReplaceAll(unit["ExecStart"], "${STATE_DIRECTORY}",
		"/var/lib/"+unit["StateDirectory"]))
	user := []string{"setpriv", "--reuid", uid, "--regid", gid, "--clear-groups",
		"--inh-caps=" + set(unit["AmbientCapabilities"]), "--ambient-caps=" + set(unit["AmbientCapabilities"]),
		"--bounding-set=" + set(unit["CapabilityBoundingSet"])}
	if unit["NoNewPrivileges"] == "yes" {
		user = append(user, "--no-new-privs")
	}
	return s.start(with([][]string{{"unshare", "--mount", "sh", "-c", mounts, "sh"}, user}, start...)...)
}

// What the package installs runs with exactly the unit's capabilities: it starts with the package's own topology,
// serves another one by a reload, and forwards.
func TestPackageRuns(t *testing.T) {
	need(t, "ping", "setpriv", "unshare", "nsenter", "install")
	d := newPackage(t)
	s, inside, outside := d.space("router"), d.space("internal"), d.space("external")
	p := d.service(s)
	p.wait(t, " ready networks=0 ")
	p.threadsHave(t, netRights, netRights)
	d.check(os.WriteFile(d.path(packageFile), []byte(pairTopology), 0o644))
	d.check(p.cmd.Process.Signal(syscall.SIGHUP))
	p.wait(t, "reloaded file="+packageFile)
	pair := &pair{world: d.world, router: s, internal: inside, external: outside, process: p}
	pair.connect(inside, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	pair.connect(outside, movedTAP, "tap-ext", externalAddress+"/24", "")
	inside.pings(t, externalAddress)
	p.threadsHave(t, netRights, netRights)
	status := []string{"nsenter", "--mount", "--target", fmt.Sprint(p.cmd.Process.Pid), "taprouter", "status"}
	if out, code := invoke(t, status...); code != 0 || strings.TrimSpace(out) == "" {
		t.Errorf("taprouter status: status %d\n%s", code, out)
	}
	if out := p.stop(); exitCode(p.err) != 0 {
		t.Errorf("it ended with %v:\n%s", p.err, out)
	}
	if left := pair.devices(); len(left) > 0 {
		t.Errorf("left after the end: %v", left)
	}
}

// The container's build copies files that there are, and its commands run on them alone.
func TestContainerFile(t *testing.T) {
	need(t, "make", "sh", "cp")
	t.Chdir(source)
	w := newWorld(t)
	context := filepath.Join(filepath.Dir(w.file("x", "")), "src")
	w.check(os.Mkdir(context, 0o755))
	read := func(name string) []string {
		t.Helper()
		text, err := os.ReadFile(name)
		w.check(err)
		return strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n")
	}
	var sent []string
	for _, line := range read(".dockerignore") {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			sent = append(sent, name)
		}
	}
	if out, code := invoke(t, append(append([]string{"cp", "-r"}, sent...), context)...); code != 0 {
		t.Fatalf("a file of .dockerignore is not there:\n%s", out)
	}
	built := false
	for _, line := range read("Dockerfile") {
		words := strings.Fields(line)
		switch {
		case len(words) < 2:
		case words[0] == "RUN":
			built = true
			command := "cd " + context + " && " + strings.TrimPrefix(line, "RUN ")
			if out, code := invoke(t, "env", "VERSION=v1", "sh", "-c", command); code != 0 {
				t.Fatalf("%s: status %d\n%s", line, code, out)
			}
		case words[0] == "COPY" && !slices.Contains(words, "."):
			for _, name := range words[1 : len(words)-1] {
				if strings.HasPrefix(name, "--") {
					continue
				}
				name = strings.TrimPrefix(name, "/src/")
				if _, err := os.Stat(filepath.Join(context, name)); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
	}
	if out, code := invoke(t, filepath.Join(context, "taprouter"), "version"); !built || code != 0 ||
		!strings.HasPrefix(out, "taprouter v1 ") {
		t.Errorf("what was built: status %d, %q", code, out)
	}
}
