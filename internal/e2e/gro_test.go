//go:build linux

package e2e_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
)

// A host that cuts its segments itself, as one with an emulated network card does, gets them joined on their way: the
// receiver's interface sees few packets for the many that were sent, and every byte. With gro = "off" it sees as many.
func TestJoinedSegments(t *testing.T) {
	need(t, "ethtool")
	for _, wires := range []struct {
		name string
		how  wiring
	}{{"tap", movedTAP}, {"raw", rawVeth}} {
		for _, off := range []bool{false, true} {
			name, topology := wires.name+" auto", pairTopology
			if off {
				name = wires.name + " off"
				topology = strings.ReplaceAll(topology, "[[network]]\n", "[[network]]\ngro = \"off\"\n")
			}
			t.Run(name, func(t *testing.T) {
				p := newWiredPair(t, wires.how, wires.how, topology)
				p.internal.run("ethtool", "-K", "tap100", "tso", "off", "gso", "off")
				count := func(s *space, name, what string) int {
					n, err := strconv.Atoi(strings.TrimSpace(s.run("cat", "/sys/class/net/"+name+"/statistics/"+what)))
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				sent, seen := count(p.internal, "tap100", "tx_packets"), count(p.external, "tap-ext", "rx_packets")
				client, server := p.join(p.internal, p.external, externalAddress+":0", externalAddress+":")
				f := begin("the segments", client, server)
				f.await(t, 64<<20)
				f.end(t)
				sent = count(p.internal, "tap100", "tx_packets") - sent
				seen = count(p.external, "tap-ext", "rx_packets") - seen
				t.Logf("%d packets were sent, the receiver saw %d", sent, seen)
				switch {
				case sent < 40_000:
					t.Errorf("only %d packets were sent: the sender does not cut its segments", sent)
				case !off && seen > sent/2:
					t.Errorf("%d packets were sent, the receiver saw %d: they were not joined", sent, seen)
				case off && seen < sent*9/10:
					t.Errorf("%d packets were sent, the receiver saw %d: they were joined", sent, seen)
				}
			})
		}
	}
}

// gro is whether the cable's end at the router joins segments.
func (g *guarded) gro(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(g.host.run("ethtool", "-k", "cable")) {
		if state, ok := strings.CutPrefix(line, "generic-receive-offload: "); ok {
			return strings.TrimSpace(state)
		}
	}
	t.Fatal("ethtool does not say it")
	return ""
}

// groIs checks it. The alias of the interface says that it was off, as long as it is to be switched off again.
func (g *guarded) groIs(t *testing.T, when, want string, noted bool) {
	t.Helper()
	got := g.gro(t)
	for range 20 { // a reload is said to be done at once
		if got == want {
			break
		}
		<-time.After(50 * time.Millisecond)
		got = g.gro(t)
	}
	if got != want {
		t.Errorf("%s: GRO is %s, want %s", when, got, want)
	}
	if alias := g.host.link("cable").Attrs().Alias; strings.Contains(alias, "gro was 0") != noted {
		t.Errorf("%s: the alias is %q, a note is wanted: %v", when, alias, noted)
	}
}

// A veth's end does not join segments by itself. It does while it is the router's, and not after that, however the
// router ends.
func TestGROIsSwitched(t *testing.T) {
	t.Parallel()
	need(t, "ethtool", "ping", "nft")
	g := newGuarded(t)
	g.host.run("ip", "link", "set", "cable", "alias", "an uplink")
	g.settled(t)
	before := g.settings()
	auto := g.file("auto.toml", cableTopology)
	off := g.file("off.toml", strings.Replace(cableTopology, "devices =", "gro = \"off\"\ndevices =", 1))
	g.groIs(t, "before", "off", false)

	p := g.host.serve(auto)
	g.tenant.pings(t, rawGateway)
	g.groIs(t, "while it runs", "on", true)
	if out := p.stop(); !strings.Contains(out, "GRO is on") {
		t.Errorf("it does not say so:\n%s", out)
	}
	g.groIs(t, "after SIGTERM", "off", false)
	g.settingsAre(t, "after SIGTERM", before)

	g.host.serve(auto).kill(t)
	g.groIs(t, "after kill -9", "on", true)
	p = g.host.serve(auto)
	g.groIs(t, "after kill -9 and start", "on", true)
	p.stop()
	g.groIs(t, "after kill -9, start and SIGTERM", "off", false)
	g.settingsAre(t, "after kill -9, start and SIGTERM", before)

	g.host.serve(auto).kill(t)
	p = g.host.serve(off)
	g.groIs(t, `after kill -9 and start with gro = "off"`, "off", false)
	p.stop()
	g.settingsAre(t, `after kill -9, start with gro = "off" and SIGTERM`, before)

	g.host.run("ethtool", "-K", "cable", "gro", "on")
	for name, file := range map[string]string{"auto": auto, "off": off} {
		p = g.host.serve(file)
		g.groIs(t, "on before, "+name, "on", false)
		p.stop()
		g.groIs(t, "on before, after SIGTERM, "+name, "on", false)
	}
}

// A change of the file switches it, without a frame that is lost; another program that goes on leaves it on.
func TestGROFollowsTheFile(t *testing.T) {
	t.Parallel()
	need(t, "ethtool", "ping", "nft", "env")
	g := newGuarded(t)
	g.settled(t)
	before := g.settings()
	auto, off := cableTopology, strings.Replace(cableTopology, "devices =", "gro = \"off\"\ndevices =", 1)
	file := g.file("cable.toml", off)
	socket := g.socketPath()
	p := g.host.serve(file, "--socket", socket)
	g.groIs(t, `gro = "off"`, "off", false)
	pinging := g.tenant.pinging(t, tenantAddress, rawGateway)
	for i, c := range []struct{ text, want string }{{auto, "on"}, {off, "off"}, {auto, "on"}} {
		g.check(os.WriteFile(file, []byte(c.text), 0o644))
		g.check(p.cmd.Process.Signal(syscall.SIGHUP))
		p.waitTimes(t, " reloaded", i+1)
		g.groIs(t, "reload "+strconv.Itoa(i), c.want, c.want == "on")
	}
	pinging(t)
	if out, err := g.host.try("env", "TAPROUTER_ENDPOINT=unix:"+socket, program, "upgrade"); err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	p.waitTimes(t, " ready ", 2)
	g.tenant.pings(t, rawGateway)
	g.groIs(t, "after an upgrade", "on", true)
	p.stop()
	g.groIs(t, "after an upgrade and SIGTERM", "off", false)
	g.settingsAre(t, "after an upgrade and SIGTERM", before)
}

// A router that may not switch it, or shares the interface with the host, works without, and does not complain of that.
func TestGROIsLeft(t *testing.T) {
	t.Parallel()
	need(t, "ethtool", "ping", "nft", "setpriv")
	g := newGuarded(t)
	open := g.file("open.toml", strings.Replace(cableTopology, `devices =`, "host = \"open\"\ndevices =", 1))
	p := g.host.serve(open)
	g.tenant.pings(t, rawGateway)
	g.groIs(t, `host = "open"`, "off", false)
	p.stop()
	p = g.host.start("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", program, "run", "--socket", "none",
		g.file("raw.toml", cableTopology))
	p.wait(t, " ready ")
	g.tenant.pings(t, rawGateway)
	g.groIs(t, "without CAP_NET_ADMIN", "off", false)
	if out := p.stop(); strings.Contains(out, "GRO") {
		t.Errorf("it complains:\n%s", out)
	}
}

// A tunnel of two hosts goes through raw devices at full speed, although the kernel hands over super-frames of the
// connection inside, and no device takes such a frame back.
func TestTunnelThroughRaw(t *testing.T) {
	t.Parallel()
	need(t, "ethtool")
	p := newWiredPair(t, rawVeth, rawVeth, pairTopology+nettest.FloatingIP(floatingIP, internalAddress))
	tunnel := func(s *space, to, address string) {
		s.run("ip", "link", "add", "vx", "type", "vxlan", "id", "5", "remote", to, "dstport", "4789")
		s.run("ip", "link", "set", "vx", "mtu", "1400")
		s.address("vx", address+"/24", "")
	}
	tunnel(p.internal, externalAddress, "192.0.2.1")
	tunnel(p.external, floatingIP, "192.0.2.2")
	client, server := p.join(p.internal, p.external, "192.0.2.2:0", "192.0.2.2:")
	f := begin("through the tunnel", client, server)
	f.await(t, 64<<20)
	f.end(t)
	if out := p.process.stop(); strings.Contains(out, "offload:") {
		t.Errorf("super-frames are dropped:\n%s", out)
	}
}
