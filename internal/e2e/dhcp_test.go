//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Real DHCP clients behind TAPs of a network whose router has the gateway's address, and of one without a router:
//
//	static ── tre-s ┐
//	any ───── tre-a ┼ blue 10.1.0.0/24 ── router .1
//	lone ──── tre-l ── lone 10.2.0.0/24, DHCP server .2
type dhcpWorld struct {
	*world
	socket            string
	process           *process
	static, any, lone *space
}

const dhcpTopology = `
[[network]]
name = "blue"
devices = ["tap:%[1]ss", "tap:%[1]sa"]
[[network.subnet]]
cidr = "10.1.0.0/24"
dhcp = true
lease_time = "40s"
allocation_pools = ["10.1.0.100-10.1.0.110"]
dns_nameservers = ["10.1.0.53"]
host_routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.254" }]
[[network]]
name = "lone"
devices = ["tap:%[1]sl"]
[[network.subnet]]
cidr = "10.2.0.0/24"
dhcp = true
[[router]]
name = "r1"
interfaces = ["blue"]
[[port]]
name = "static"
network = "blue"
mac = "02:00:00:00:00:11"
fixed_ip = "10.1.0.11"
`

// newDHCPWorld serves the topology, in which texts may be replaced by others, as strings.NewReplacer does.
func newDHCPWorld(t *testing.T, pairs ...string) *dhcpWorld {
	t.Helper()
	w := &dhcpWorld{world: newWorld(t)}
	router := w.space("router")
	w.socket = w.socketPath()
	topology := strings.NewReplacer(pairs...).Replace(fmt.Sprintf(dhcpTopology, "dh"))
	w.process = router.serve(w.file("dhcp.toml", topology), "--socket", w.socket)
	host := func(name, device string, mac net.HardwareAddr) *space {
		s := w.space(name)
		w.check(router.LinkSetNsFd(router.link(device), int(s.handle)))
		l := s.link(device)
		if mac != nil {
			w.check(s.LinkSetHardwareAddr(l, mac))
		}
		w.check(s.LinkSetUp(l))
		return s
	}
	w.static = host("static", "dhs", net.HardwareAddr{2, 0, 0, 0, 0, 0x11})
	w.any = host("any", "dha", nil)
	w.lone = host("lone", "dhl", nil)
	return w
}

// address4 is the IPv4 address of an interface, empty if it has none.
func (s *space) address4(name string) string {
	s.w.t.Helper()
	all, err := s.AddrList(s.link(name), netlink.FAMILY_V4)
	s.w.check(err)
	if len(all) == 0 {
		return ""
	}
	return all[0].IP.String()
}

// udhcpcScript applies what udhcpc has got, and prints it.
const udhcpcScript = `#!/bin/sh
case "$1" in
deconfig) ip addr flush dev "$interface" ;;
bound) ip addr add "$ip/$mask" dev "$interface"; [ -z "$router" ] || ip route replace default via "$router" ;;
esac
echo "event $1 ip=$ip subnet=$subnet router=$router dns=$dns hostname=$hostname lease=$lease serverid=$serverid mtu=$mtu routes=$staticroutes"
`

func TestDHCPClients(t *testing.T) {
	need(t, "busybox")
	w := newDHCPWorld(t)
	script := filepath.Join(t.TempDir(), "script")
	w.check(os.WriteFile(script, []byte(udhcpcScript), 0o755))
	udhcpc := func(s *space, device string, more ...string) *process {
		return s.start(append([]string{"busybox", "udhcpc", "-f", "-i", device, "-s", script, "-t", "10", "-T", "1",
			"-R", "-O", "mtu", "-O", "staticroutes"}, more...)...)
	}
	await := func(t *testing.T, p *process, pattern string) []string {
		t.Helper()
		re := regexp.MustCompile(pattern)
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if m := re.FindStringSubmatch(p.out.String()); m != nil {
				return m
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing like %q in:\n%s\nthe router says:\n%s", pattern, &p.out, &w.process.out)
			}
		}
	}
	w.step("a static lease, renewed and released", func(t *testing.T) {
		p := udhcpc(w.static, "dhs")
		await(t, p, `event bound ip=10\.1\.0\.11 subnet=255\.255\.255\.0 router=10\.1\.0\.1 dns=10\.1\.0\.53 `+
			`hostname=static lease=40 serverid=10\.1\.0\.1 mtu=1500`)
		if a := w.static.address4("dhs"); a != "10.1.0.11" {
			t.Fatalf("the interface has %q", a)
		}
		w.static.run("ping", "-c", "1", "-W", "5", "10.1.0.1")
		await(t, p, `event renew ip=10\.1\.0\.11 `) // after half of the lease, by a packet to the router's address
		p.stop()
		if !strings.Contains(p.out.String(), "unicasting a release of 10.1.0.11") {
			t.Errorf("no release:\n%s", &p.out)
		}
	})
	w.step("a dynamic lease, and the same one again", func(t *testing.T) {
		p := udhcpc(w.any, "dha")
		first := await(t, p, `event bound ip=(10\.1\.0\.1\d\d) `)[1]
		w.any.run("ping", "-c", "1", "-W", "5", "10.1.0.1")
		p.stop()
		p = udhcpc(w.any, "dha", "-r", first)
		if again := await(t, p, `event bound ip=(\S+) `)[1]; again != first {
			t.Errorf("the client had %s, and has got %s", first, again)
		}
	})
	w.step("a network without a router", func(t *testing.T) {
		p := udhcpc(w.lone, "dhl")
		await(t, p, `event bound ip=10\.2\.0\.\d+ .* serverid=10\.2\.0\.2 `)
		w.lone.run("ping", "-c", "1", "-W", "5", "10.2.0.2")
	})
}

func TestDHClient(t *testing.T) {
	need(t, "dhclient")
	w := newDHCPWorld(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	w.check(os.WriteFile(script, []byte(`#!/bin/sh
case "$reason" in
BOUND|REBOOT|RENEW|REBIND) ip addr replace "$new_ip_address/24" dev "$interface" ;;
RELEASE|EXPIRE|STOP) ip addr flush dev "$interface" ;;
esac
exit 0
`), 0o755))
	run := func(s *space, device string, more ...string) string {
		args := append([]string{"dhclient", "-4", "-v", "-1", "-sf", script,
			"-lf", filepath.Join(dir, device+".leases"), "-pf", filepath.Join(dir, device+".pid"),
			"-cf", "/dev/null"}, more...)
		return s.run(append(args, device)...)
	}
	out := run(w.static, "dhs")
	if !strings.Contains(out, "bound to 10.1.0.11") || w.static.address4("dhs") != "10.1.0.11" {
		t.Errorf("a static lease:\n%s", out)
	}
	out = run(w.any, "dha")
	if m := regexp.MustCompile(`bound to 10\.1\.0\.1\d\d `).FindString(out); m == "" {
		t.Errorf("a dynamic lease:\n%s", out)
	}
	if out = run(w.any, "dha", "-r"); !strings.Contains(out, "DHCPRELEASE") || w.any.address4("dha") != "" {
		t.Errorf("a release:\n%s", out)
	}
	run(w.static, "dhs", "-r")
}
