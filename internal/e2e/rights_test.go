//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Sets of capabilities as /proc shows them: CAP_NET_ADMIN and CAP_NET_RAW, and with CAP_SYS_ADMIN.
const (
	netRights   = "0000000000003000"
	netnsRights = "0000000000203000"
)

// threadsHave wants every thread of a process to have these capabilities and no others.
// bound is the bounding set, "" for any.
func (p *process) threadsHave(t *testing.T, want, bound string) {
	t.Helper()
	threadsHave(t, fmt.Sprintf("/proc/%d", p.cmd.Process.Pid), want, bound)
}

// threadsHave is that method for a directory of /proc.
func threadsHave(t *testing.T, process, want, bound string) {
	t.Helper()
	files, err := filepath.Glob(process + "/task/*/status")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d threads, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		status := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			status[key] = strings.TrimSpace(value)
		}
		const none = "0000000000000000"
		for key, value := range map[string]string{"CapEff": want, "CapPrm": want, "CapBnd": bound, "CapInh": none,
			"CapAmb": none, "NoNewPrivs": "1"} {
			if value != "" && status[key] != value {
				t.Errorf("%s: %s is %s, want %s", file, key, status[key], value)
			}
		}
	}
}

// When it is ready, the router has given up the rights that it does not need any more. The other
// rights are enough for devices that go and come back.
func TestRightsGivenUp(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, movedTAP)
	p.process.threadsHave(t, netRights, netRights)
	p.settles(t, p.internal, thirdAddress)
	p.check(p.internal.LinkDel(p.internal.link("tap100")))
	p.process.wait(t, "device is back")
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.check(p.router.LinkDel(p.router.link("cable")))
	p.process.waitTimes(t, "device is gone, trying", 2)
	p.veth(p.router, "cable", p.third, "eth0")
	p.third.address("eth0", thirdAddress+"/24", "192.0.2.1")
	p.settles(t, p.internal, thirdAddress)
	p.process.threadsHave(t, netRights, netRights)
	if n := strings.Count(p.process.out.String(), "rx=ring host=closed"); n != 2 {
		t.Errorf("the raw device was opened with its ring and closed to the host %d times, want 2:\n%s", n,
			p.process.out.String())
	}
}

// The right to enter namespaces stays where a device names one, or on request.
func TestRightsKept(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, placedTAP)
	p.process.threadsHave(t, netnsRights, netnsRights)
	p.settles(t, p.internal, thirdAddress)
	p.internal.remove()
	p.process.wait(t, "device is gone, trying")
	p.internal = p.space("internal") // the same name
	p.process.wait(t, "device is back")
	p.connect(p.internal, placedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.settles(t, p.internal, thirdAddress)
	p.process.threadsHave(t, netnsRights, netnsRights)

	other := p.space("other")
	other.serve(p.file("pair.toml", pairTopology), "--allow-netns").threadsHave(t, netnsRights, netnsRights)
}

// An ordinary user with two capabilities serves TAPs and raw devices, closed to the host.
func TestRightsOfOrdinaryUser(t *testing.T) {
	t.Parallel()
	need(t, "ping", "setpriv", "unshare", "arping", "nft")
	g := newGuarded(t)
	before := g.settings()
	topology := cableTopology + "[[network]]\nname = \"other\"\ndevices = [\"tap:tap9\"]\n"
	// As most systems have it: a file that every user may open.
	tun := []string{"unshare", "--mount", "sh", "-c",
		`mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec "$@"`, "sh"}
	user := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		"--inh-caps=-all,+net_admin,+net_raw", "--ambient-caps=-all,+net_admin,+net_raw"}
	p := g.host.start(with([][]string{tun, user}, program, "run", "--socket", "none", g.file("user.toml", topology))...)
	p.wait(t, " ready ")
	p.threadsHave(t, netRights, "")
	g.tenant.pings(t, rawGateway)
	g.answers(t, "run by an ordinary user", false)
	g.host.link("tap9")
	p.stop()
	g.settingsAre(t, "after SIGTERM", before)
}

// An ordinary user with two capabilities, which no program that it executes could add to, upgrades the router. It goes
// on with the same rights and connections, and can be upgraded again.
func TestUpgradeOfOrdinaryUser(t *testing.T) {
	t.Parallel()
	need(t, "ping", "setpriv", "unshare", "sh", "install")
	p := &pair{world: newWorld(t)}
	p.router, p.internal, p.external = p.space("router"), p.space("internal"), p.space("external")
	file := p.file("user.toml", pairTopology)
	dir := filepath.Join(filepath.Dir(file), "user")
	p.router.run("install", "-d", "-m", "0700", "-o", "65534", dir)
	socket := filepath.Join(dir, "s")
	tun := []string{"unshare", "--mount", "sh", "-c",
		`mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec "$@"`, "sh"}
	user := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs",
		"--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all,+net_admin,+net_raw",
		"--ambient-caps=-all,+net_admin,+net_raw"}
	p.process = p.router.start(with([][]string{tun, user}, program, "run", "--socket", socket, file)...)
	p.process.wait(t, " ready ")
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	client, server := p.join(p.internal, p.external, externalAddress+":0", externalAddress+":")
	for again := 1; again <= 2; again++ {
		p.process.threadsHave(t, netRights, netRights)
		out, err := p.router.try("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
			"env", "TAPROUTER_ENDPOINT=unix:"+socket, program, "upgrade")
		if err != nil {
			t.Fatalf("upgrade: %v\n%s\n%s", err, out, p.process.out.String())
		}
		p.process.waitTimes(t, "the program was replaced", again)
		p.says(client, server, "from inside")
		p.says(server, client, "from outside")
	}
	p.process.threadsHave(t, netRights, netRights)
	p.check(p.internal.LinkDel(p.internal.link("tap100"))) // a right that is needed later
	p.process.wait(t, "device is back")
	p.router.link("tap100")
	p.process.stop()
}
