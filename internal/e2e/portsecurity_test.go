//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A guardedLAN is a network with port security and two hosts, which have ports:
//
//	a 172.16.101.3 ── tap-a ── lan ── tap-b ── b 172.16.101.4
type guardedLAN struct {
	*world
	router, a, b *space
	process      *process
	file, socket string
	reloads      int
}

const (
	macA, macB = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

	guardedTopology = `
[[network]]
name = "lan"
devices = ["tap:tap-a", "tap:tap-b"]
port_security = true
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[router]]
name = "router"
interfaces = ["lan"]

[[port]]
name = "b"
network = "lan"
fixed_ip = "172.16.101.4"
mac = "` + macB + `"
device = "tap:tap-b"

[[port]]
name = "a"
network = "lan"
fixed_ip = "172.16.101.3"
mac = "` + macA + `"
device = "tap:tap-a"
`
)

func newGuardedLAN(t *testing.T) *guardedLAN {
	t.Helper()
	return newGuardedLANWith(t, guardedTopology)
}

func newGuardedLANWith(t *testing.T, topology string) *guardedLAN {
	t.Helper()
	need(t, "ping", "tcpdump", "sysctl")
	g := &guardedLAN{world: newWorld(t)}
	g.router, g.a, g.b, g.socket = g.space("router"), g.space("a"), g.space("b"), shortSocket(t)
	g.file = g.world.file("guarded.toml", topology)
	g.process = g.router.serve(g.file, "--socket", g.socket)
	for _, h := range []struct {
		at                 *space
		name, mac, address string
	}{{g.a, "tap-a", macA, "172.16.101.3/24"}, {g.b, "tap-b", macB, "172.16.101.4/24"}} {
		h.at.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1") // the hosts say nothing by themselves
		h.at.adopt(g.router, h.name)
		h.at.run("ip", "link", "set", h.name, "address", h.mac)
		h.at.address(h.name, h.address, "172.16.101.1")
	}
	return g
}

// drops is what show drops prints.
func (g *guardedLAN) drops() string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, "show", "drops")
	c.Env = append(os.Environ(), "TAPROUTER_ENDPOINT=unix:"+g.socket)
	out, err := c.CombinedOutput()
	if err != nil {
		g.t.Fatalf("show drops: %v\n%s", err, out)
	}
	return string(out)
}

// reload gives the file another text, and waits until the router serves it.
func (g *guardedLAN) reload(text string) {
	g.t.Helper()
	g.check(os.WriteFile(g.file, []byte(text), 0o644))
	g.check(g.process.cmd.Process.Signal(syscall.SIGHUP))
	g.reloads++
	g.process.waitTimes(g.t, " reloaded", g.reloads)
}

// cutOff checks that an address of the host a reaches nobody, and that show drops says what it wants.
func (g *guardedLAN) cutOff(source string, wants ...string) {
	g.t.Helper()
	for _, to := range []string{"172.16.101.4", "172.16.101.1"} {
		if out, err := g.a.try("ping", "-n", "-c", "1", "-W", "1", "-I", source, to); err == nil {
			g.t.Errorf("%s reaches %s:\n%s", source, to, out)
		}
	}
	out := g.drops()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			g.t.Errorf("show drops does not say %q:\n%s", want, out)
		}
	}
}

// atOnce checks that the first packet of an address of the host a reaches the other host.
func (g *guardedLAN) atOnce(source string) {
	g.t.Helper()
	if out, err := g.a.try("ping", "-n", "-c", "1", "-W", "5", "-I", source, "172.16.101.4"); err != nil {
		g.t.Errorf("%s is cut off:\n%s\n%s", source, out, g.drops())
	}
}

// A host that takes another address is cut off, until an allowed pair lifts that at once: one of the API, and one of
// the file. A host that takes another MAC address is cut off, too.
func TestPortSecurity(t *testing.T) {
	g := newGuardedLAN(t)
	g.step("its own address", func(t *testing.T) {
		g.a.pings(t, "172.16.101.4")
		g.a.pings(t, "172.16.101.1")
	})
	g.a.address("tap-a", "172.16.101.50/24", "")
	g.a.address("tap-a", "172.16.101.70/24", "")
	g.step("another address", func(*testing.T) {
		g.cutOff("172.16.101.50", "spoofed-ip of network lan, device tap:tap-a, ", `port "a" sends from 172.16.101.50`,
			`would pass with allowed_address_pairs = [{ ip = "172.16.101.50" }] of port "a"`)
	})
	g.step("a pair by the API", func(t *testing.T) {
		api := apiAt(t, g.socket)
		list, _ := api.do(200, "GET", "ports?name=a&fields=id", "")["ports"].([]any)
		if len(list) != 1 {
			t.Fatalf("%d ports", len(list))
		}
		id := list[0].(map[string]any)["id"].(string)
		api.do(200, "PUT", "ports/"+id, `{"port":{"allowed_address_pairs":[{"ip_address":"172.16.101.50"}]}}`)
		g.atOnce("172.16.101.50")
		g.cutOff("172.16.101.70")
	})
	g.step("a pair by a reload", func(*testing.T) {
		g.reload(guardedTopology + `allowed_address_pairs = [{ ip = "172.16.101.64/28" }]` + "\n")
		g.atOnce("172.16.101.70")
		g.reload(guardedTopology)
		g.cutOff("172.16.101.70")
	})
	g.step("another MAC address", func(t *testing.T) {
		g.a.run("ip", "link", "set", "tap-a", "address", "02:00:00:00:00:99")
		g.cutOff("172.16.101.3", "spoofed-mac of network lan, device tap:tap-a, ",
			`no port of network "lan" has the MAC address 02:00:00:00:00:99`)
		g.a.run("ip", "link", "set", "tap-a", "address", macB)
		g.cutOff("172.16.101.3", `port "b" is tied to tap:tap-b, and its MAC address `+macB+` comes from tap:tap-a`,
			`would pass with device = "tap:tap-a" of port "b"`)
		g.a.run("ip", "link", "set", "tap-a", "address", macA)
		g.a.pings(t, "172.16.101.4")
	})
}

// What scapy forges reaches nobody: no other address, no ARP for one, no DHCP server, no IPv6 router.
func TestForgedFrames(t *testing.T) {
	g := newGuardedLAN(t)
	const python = "/usr/bin/python3" // Debian's, which has the package
	if err := exec.Command(python, "-c", "import scapy.all").Run(); err != nil {
		missing(t, "scapy (make test-deps installs python3-scapy)")
	}
	g.b.run("ip", "neigh", "replace", "172.16.101.3", "lladdr", macA, "dev", "tap-b") // it need not ask
	out := g.b.captureOn(t, "tap-b", "inbound", func() {
		g.a.run(python, "-c", `
import logging
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import *
me, other, gw, all = "`+macA+`", "`+macB+`", "172.16.101.1", "ff:ff:ff:ff:ff:ff"
def udp(src, **ports): return IP(src=src, dst="172.16.101.4") / UDP(**ports) / b"forged"
offer = BOOTP(op=2, yiaddr="172.16.101.66", siaddr="172.16.101.3", chaddr=b"\x02") / \
    DHCP(options=[("message-type", "offer"), ("server_id", "172.16.101.3"), "end"])
six = lambda **k: IPv6(src="fe80::a", dst="ff02::1") / ICMPv6ND_RA(**k)
forged = [
    Ether(src=me, dst=other) / udp("172.16.101.9", sport=1, dport=2),
    Ether(src=me, dst=other) / udp(gw, sport=1, dport=2),
    Ether(src="02:00:00:00:00:77", dst=other) / udp("172.16.101.3", sport=1, dport=2),
    Ether(src=other, dst=all) / udp("172.16.101.4", sport=1, dport=2),
    Ether(src=me, dst=other) / Dot1Q(vlan=0) / Dot1Q(vlan=0) / udp("172.16.101.9", sport=1, dport=2),
    Ether(src=me, dst=other) / udp("0.0.0.0", sport=1, dport=2),
    Ether(src=me, dst=all) / ARP(op=2, hwsrc=me, psrc=gw, hwdst=other, pdst="172.16.101.4"),
    Ether(src=me, dst=all) / ARP(op=1, hwsrc=me, psrc="172.16.101.9", pdst="172.16.101.4"),
    Ether(src=me, dst=other) / ARP(op=2, hwsrc=other, psrc="172.16.101.4", hwdst=other, pdst="172.16.101.4"),
    Ether(src=me, dst=all) / IP(src="172.16.101.3", dst="255.255.255.255") / UDP(sport=67, dport=68) / offer,
    Ether(src=me, dst=all) / IP(src="172.16.101.3", dst="255.255.255.255") / UDP(sport=1067, dport=68) / offer,
    Ether(src=me, dst="33:33:00:00:00:01") / six(routerlifetime=1800) / ICMPv6NDOptPrefixInfo(prefix="2001:db8::"),
    Ether(src=me, dst="33:33:00:00:00:01") / IPv6(src="fe80::a", dst="ff02::1") / IPv6ExtHdrDestOpt() /
        ICMPv6ND_RA(routerlifetime=1800),
    Ether(src=me, dst="33:33:00:00:00:01") / IPv6(src="fe80::a", dst="ff02::1") / UDP(sport=547, dport=546) / b"\x02abc",
    Ether(src=me, dst="33:33:00:00:00:01") / IPv6(src="2001:db8::a", dst="ff02::1") / UDP(sport=1, dport=2) / b"x",
]
sendp(forged, iface="tap-a", verbose=False)
sendp(Ether(src=me, dst=other) / udp("172.16.101.3", sport=7, dport=7777), iface="tap-a", verbose=False)
`)
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(g.drops(), "dhcp-server") &&
			time.Now().Before(deadline); {
		}
		g.a.run("ping", "-n", "-c", "1", "-W", "5", "172.16.101.4") // it comes behind all of them
	})
	var seen []string
	for line := range strings.Lines(out) {
		_, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(what, "IP") || strings.HasPrefix(what, "ARP") || strings.HasPrefix(what, "vlan") {
			seen = append(seen, what)
		}
	}
	honest := false
	for _, s := range seen {
		switch {
		case strings.HasPrefix(s, "IP 172.16.101.3 > 172.16.101.4: ICMP echo request"):
			honest = true
		case strings.Contains(s, "172.16.101.3.7 > 172.16.101.4.7777"),
			strings.HasPrefix(s, "ARP, Request who-has 172.16.101.4 tell 172.16.101.3"),
			strings.HasPrefix(s, "ARP, Request who-has 172.16.101.4 (02:00:00:00:00:0b) tell 172.16.101.3"),
			strings.HasPrefix(s, "ARP, Reply 172.16.101.3 is-at "+macA),
			strings.HasPrefix(s, "ARP, Request who-has 172.16.101.1 tell 172.16.101.1"): // the router announces itself
		default:
			t.Errorf("b sees %q", s)
		}
	}
	if !honest {
		t.Errorf("the honest packet did not arrive: %q", seen)
	}
	drops := g.drops()
	for reason, frames := range map[string]int{"spoofed-ip": 4, "spoofed-mac": 2, "spoofed-arp": 3, "dhcp-server": 3,
		"router-advertisement": 2, "double-tag": 1} {
		row := regexp.MustCompile(`\| switch +\| ` + reason + ` +\| +(\d+) \|`).FindStringSubmatch(drops)
		if row == nil {
			t.Errorf("%d frames were %s, and show drops does not say so:\n%s", frames, reason, drops)
		} else if n, _ := strconv.Atoi(row[1]); n < frames { // the pattern has digits only
			t.Errorf("%d frames of %d were %s:\n%s", n, frames, reason, drops)
		}
	}
	if !strings.Contains(drops, `port "a" answers as a DHCP server`) ||
		!strings.Contains(drops, `port "a" speaks as a router, from fe80::a`) {
		t.Errorf("show drops does not name the port:\n%s", drops)
	}
}

// A guest's own DHCP server reaches nobody: its offers are dropped and counted, show drops names its port, and clients
// get the router's lease.
func TestDHCPServerOfAGuest(t *testing.T) {
	need(t, "busybox")
	g := newGuardedLANWith(t, strings.Replace(guardedTopology, `cidr = "172.16.101.0/24"`,
		`cidr = "172.16.101.0/24"`+"\ndhcp = true", 1))
	dir := filepath.Dir(g.world.file("udhcpd.conf", ""))
	g.check(os.WriteFile(filepath.Join(dir, "udhcpd.conf"), []byte(`
start 172.16.101.200
end 172.16.101.210
interface tap-a
lease_file `+dir+`/leases
pidfile `+dir+`/pid
option router 172.16.101.3
option dns 172.16.101.3
`), 0o644))
	g.check(os.WriteFile(filepath.Join(dir, "leases"), nil, 0o644))
	rogue := g.a.start("busybox", "udhcpd", "-f", filepath.Join(dir, "udhcpd.conf"))
	rogue.wait(t, "started")
	g.b.run("ip", "addr", "flush", "dev", "tap-b")
	script := filepath.Join(dir, "script")
	g.check(os.WriteFile(script, []byte(udhcpcScript), 0o755))
	out := g.b.captureOn(t, "tap-b", "udp port 68 and inbound", func() {
		for range 3 {
			p := g.b.start("busybox", "udhcpc", "-f", "-n", "-q", "-i", "tap-b", "-s", script, "-t", "10", "-T", "1")
			matches(t, p.out.String, `event bound ip=172\.16\.101\.4 .*serverid=172\.16\.101\.1 `)
			p.stop()
		}
		rogue.wait(t, "sending OFFER")
		if !eventually(func() error {
			if drops := g.drops(); !strings.Contains(drops, `port "a" answers as a DHCP server`) {
				return errors.New(drops)
			}
			return nil
		}) {
			t.Errorf("the drops do not name the port:\n%s", g.drops())
		}
	})
	if strings.Contains(out, "172.16.101.3.67") || !strings.Contains(out, "172.16.101.1.67") {
		t.Errorf("the client sees\n%s", out)
	}
	if !regexp.MustCompile(`\| switch +\| dhcp-server +\| +[1-9]`).MatchString(g.drops()) {
		t.Errorf("no drop is counted as dhcp-server:\n%s", g.drops())
	}
	g.b.pings(t, "172.16.101.3")
}
