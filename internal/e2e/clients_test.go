//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// quickLeases has the network of the DHCP world give short leases, and its port an MTU of its own: a client renews
// after six seconds, rebinds after ten and a half.
var quickLeases = []string{`lease_time = "40s"`, `lease_time = "12s"`, `fixed_ip = "10.1.0.11"`, `fixed_ip = "10.1.0.11"
extra_dhcp_opts = [{ name = "mtu", value = "1400" }]`}

// matches waits until a text matches a pattern, and returns the match.
func matches(t *testing.T, text func() string, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m := re.FindStringSubmatch(text()); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing like %q in:\n%s", pattern, text())
		}
	}
}

// fileText is what a file has, empty without the file.
func fileText(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// dhcpcdScript notes what dhcpcd has done. dhcpcd itself gives the interface its address and routes.
const dhcpcdScript = `#!/bin/sh
echo "$reason ip=$new_ip_address was=$old_ip_address lease=$new_dhcp_lease_time server=$new_dhcp_server_identifier` +
	` dns=$new_domain_name_servers host=$new_host_name" >> %s
`

// A dhcpcd is one that runs in a namespace, with files of its own.
type dhcpcd struct {
	*process
	log string
}

// dhcpcd starts one. Its folders are the namespace's own: other mounts than those of the machine.
func (s *space) dhcpcd(device, settings string) *dhcpcd {
	s.w.t.Helper()
	dir := filepath.Dir(s.w.file("dhcpcd.conf", "nodev\nnoipv4ll\nnoipv6\n"+
		"option domain_name_servers, host_name, interface_mtu, classless_static_routes\n"+settings))
	d := &dhcpcd{log: filepath.Join(dir, "log")}
	s.w.check(os.WriteFile(filepath.Join(dir, "script"), fmt.Appendf(nil, dhcpcdScript, d.log), 0o755))
	d.process = s.start("sh", "-c", `mount -t tmpfs none /run && mkdir /run/dhcpcd &&
		mount -t tmpfs none /var/lib/dhcpcd &&
		exec dhcpcd -4 -B -d -f "$1/dhcpcd.conf" -c "$1/script" "$2"`, "sh", dir, device)
	return d
}

// did waits until dhcpcd has done something, and returns the match.
func (d *dhcpcd) did(t *testing.T, pattern string) []string {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dhcpcd says:\n%s", d.out.String())
		}
	})
	return matches(t, func() string { return fileText(d.log) }, pattern)
}

// dhcpcd gets the address of a port and a dynamic one, renews by a packet to the server, rebinds by a broadcast where
// the server does not answer, and gives its address back.
func TestDHCPCD(t *testing.T) {
	t.Parallel()
	need(t, "dhcpcd", "ping")
	w := newDHCPWorld(t, quickLeases...)
	static, dynamic := w.static.dhcpcd("dhs", ""), w.any.dhcpcd("dha", "noarp\n")
	w.step("a dynamic lease", func(t *testing.T) {
		got := dynamic.did(t, `(?m)^BOUND ip=(10\.1\.0\.1\d\d) was= lease=12 server=10\.1\.0\.1 dns=10\.1\.0\.53 `)[1]
		w.any.run("ping", "-c", "1", "-W", "5", "10.1.0.1")
		// Its renewals go nowhere from now on.
		w.any.run("ip", "neigh", "replace", "10.1.0.1", "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "dha")
		if a := w.any.address4("dha"); a != got {
			t.Errorf("the interface has %q, dhcpcd %s", a, got)
		}
	})
	w.step("a static lease", func(t *testing.T) {
		static.did(t, `(?m)^BOUND ip=10\.1\.0\.11 was= lease=12 server=10\.1\.0\.1 dns=10\.1\.0\.53 host=static$`)
		w.static.run("ping", "-c", "1", "-W", "5", "10.1.0.1")
		routes := w.static.run("ip", "route")
		for _, want := range []string{"default via 10.1.0.1 ", "10.9.0.0/16 via 10.1.0.254 ", " mtu 1400"} {
			if !strings.Contains(routes, want) {
				t.Errorf("%q is not among the routes:\n%s", want, routes)
			}
		}
	})
	w.step("renewed", func(t *testing.T) {
		static.did(t, `(?m)^RENEW ip=10\.1\.0\.11 was=10\.1\.0\.11 `)
	})
	w.step("rebound", func(t *testing.T) {
		dynamic.did(t, `(?m)^REBIND ip=10\.1\.0\.1\d\d was=10\.1\.0\.1\d\d `)
		if n := len(leases(t, w.socket)); n != 1 {
			t.Errorf("the router has %d leases", n)
		}
	})
	w.step("released", func(t *testing.T) {
		w.any.run("ip", "neigh", "del", "10.1.0.1", "dev", "dha")
		w.any.run("ping", "-c", "1", "-W", "5", "10.1.0.1") // dhcpcd takes its address away before the kernel could ask
		for _, d := range []*dhcpcd{static, dynamic} {
			w.check(d.cmd.Process.Signal(syscall.SIGALRM)) // as dhcpcd -k
			d.did(t, `(?m)^STOPPED `)
			if !strings.Contains(d.out.String(), "sending RELEASE") {
				t.Errorf("no release:\n%s", d.out.String())
			}
		}
		if a := w.static.address4("dhs") + w.any.address4("dha"); a != "" {
			t.Errorf("the interfaces have %q", a)
		}
		if !eventually(func() error {
			if list := leases(t, w.socket); len(list) > 0 {
				return fmt.Errorf("%v", list)
			}
			return nil
		}) {
			t.Error("the router has the lease still")
		}
	})
}

// networkdSettings is a configuration of systemd-networkd for an interface.
const networkdSettings = `[Match]
Name=%s
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
UseMTU=yes
UseRoutes=yes
`

// networkd starts systemd-networkd in the namespace. /sys cannot be written there, as in a container: else it would
// wait for udev. Its folder in /run is its own.
func (s *space) networkd(device string) *process {
	s.w.t.Helper()
	return s.start("env", "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=debug", "sh", "-c", `
		mount -o remount,ro /sys && mount -t tmpfs none /run && mkdir -p /run/systemd/network /run/systemd/netif &&
		chown systemd-network /run/systemd/netif && cp "$1" /run/systemd/network/10-test.network &&
		exec "$2"`, "sh", s.w.file("test.network", fmt.Sprintf(networkdSettings, device)), networkd)
}

const networkd = "/lib/systemd/systemd-networkd"

// systemd-networkd gets the address of a port and a dynamic one, with DNS, MTU and routes, and renews both.
func TestNetworkd(t *testing.T) {
	t.Parallel()
	need(t, "ping", networkd)
	w := newDHCPWorld(t, quickLeases...)
	for _, c := range []struct {
		at            *space
		device, wants string
		mtu           int
	}{{w.static, "dhs", `^10\.1\.0\.11$`, 1400}, {w.any, "dha", `^10\.1\.0\.1\d\d$`, 1500}} {
		p := c.at.networkd(c.device)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("networkd at %s says:\n%s", c.device, p.out.String())
			}
		})
		matches(t, func() string { return c.at.address4(c.device) }, c.wants)
		c.at.run("ping", "-c", "1", "-W", "5", "10.1.0.1")
		link := c.at.link(c.device).Attrs()
		lease := matches(t, func() string {
			return fileText(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "root/run/systemd/netif/leases",
				strconv.Itoa(link.Index)))
		}, `(?s).+`)[0]
		for _, want := range []string{"\nDNS=10.1.0.53\n", "\nSERVER_ADDRESS=10.1.0.1\n", "\nLIFETIME=12\n",
			fmt.Sprintf("\nMTU=%d\n", c.mtu)} {
			if !strings.Contains(lease, want) {
				t.Errorf("%s: %q is not in its lease:\n%s", c.device, want, lease)
			}
		}
		if got := c.at.link(c.device).Attrs().MTU; got != c.mtu {
			t.Errorf("%s: the MTU is %d, want %d", c.device, got, c.mtu)
		}
		matches(t, func() string { return c.at.run("ip", "route") }, `default via 10\.1\.0\.1 `)
		matches(t, func() string { return c.at.run("ip", "route") }, `10\.9\.0\.0/16 via 10\.1\.0\.254 `)
	}
	left := func(s *space, device string) int {
		all, err := s.AddrList(s.link(device), netlink.FAMILY_V4)
		w.check(err)
		if len(all) == 0 {
			t.Fatalf("%s has lost its address", device)
		}
		return all[0].ValidLft
	}
	for s, device := range map[*space]string{w.static: "dhs", w.any: "dha"} {
		for last, deadline := left(s, device), time.Now().Add(30*time.Second); ; time.Sleep(100 * time.Millisecond) {
			now := left(s, device)
			if now > last {
				break // what is left has grown: the lease is a new one
			}
			if last = now; time.Now().After(deadline) {
				t.Fatalf("%s: no renewal; %d s are left", device, now)
			}
		}
	}
}

// relayTopology is a network with DHCP for links behind relays, and a network beside it:
//
//	near .2 ─── tap:rl-c ── core 10.1.0.0/24 ── router .9 ── far 10.7.0.0/24 ── tap:rl-f ── .2 beyond
//	   └ 10.5.0.0/24, near-host                                     beyond-host, 10.6.0.0/24 ┘
//
// The router of core's hosts is elsewhere, so the DHCP server has addresses of its own.
const relayTopology = `
[[network]]
name = "core"
devices = ["tap:rl-c"]
[[network.subnet]]
cidr = "10.1.0.0/24"
gateway = "10.1.0.254"
dhcp = true
[[network.subnet]]
cidr = "10.5.0.0/24"
dhcp = true
lease_time = "12s"
[[network.subnet]]
cidr = "10.6.0.0/24"
dhcp = true
lease_time = "12s"
[[network]]
name = "far"
devices = ["tap:rl-f"]
[[network.subnet]]
cidr = "10.7.0.0/24"
[[router]]
name = "router"
interfaces = [{ network = "core", address = "10.1.0.9" }, "far"]
routes = [{ destination = "10.6.0.0/24", nexthop = "10.7.0.2" }]
`

// Clients behind a relay get addresses of their own link from isc-dhcp-relay, where the relay is on the network with
// DHCP, and where a router is in between. They renew their leases past the relay.
func TestDHCPRelay(t *testing.T) {
	t.Parallel()
	need(t, "dhcrelay", "busybox", "ping", "sysctl")
	w := newWorld(t)
	router, socket := w.space("router"), w.socketPath()
	router.serve(w.file("relay.toml", relayTopology), "--socket", socket)
	script := filepath.Join(t.TempDir(), "script")
	w.check(os.WriteFile(script, []byte(udhcpcScript), 0o755))
	type link struct{ name, device, up, gateway, down, server string }
	clients := map[link]*process{}
	for _, c := range []link{
		{"near", "rl-c", "10.1.0.2", "10.1.0.9", "10.5.0.1", "10.1.0.1"},
		{"beyond", "rl-f", "10.7.0.2", "10.7.0.1", "10.6.0.1", "10.1.0.1"},
	} {
		relay, host := w.space(c.name), w.space(c.name+"-host")
		relay.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
		relay.adopt(router, c.device)
		relay.address(c.device, c.up+"/24", c.gateway)
		w.veth(relay, "down", host, "eth0")
		relay.address("down", c.down+"/24", "")
		dhcrelay := relay.start("dhcrelay", "-4", "-d", "-a", "-iu", c.device, "-id", "down", c.server)
		dhcrelay.wait(t, "Sending on   Socket/fallback")
		p := host.start("busybox", "udhcpc", "-f", "-i", "eth0", "-s", script, "-t", "10", "-T", "1", "-R")
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s: the relay says:\n%s\nthe client says:\n%s", c.name, dhcrelay.out.String(), p.out.String())
			}
		})
		clients[c] = p
	}
	for c, p := range clients {
		prefix := regexp.QuoteMeta(strings.TrimSuffix(c.down, "1"))
		matches(t, p.out.String, `event bound ip=`+prefix+`\d+ subnet=\S+ router=`+regexp.QuoteMeta(c.down)+` dns=`+
			regexp.QuoteMeta(c.server)+` .*serverid=`+regexp.QuoteMeta(c.server))
		// The server's own answer comes before that to the copy which this relay makes of the packet.
		matches(t, p.out.String, `event renew ip=`+prefix+`\d+ .*serverid=`+regexp.QuoteMeta(c.server))
	}
	if list := leases(t, socket); len(list) != 2 {
		t.Errorf("the router has the leases %v", list)
	}
}

// cloudInitScript has cloud-init's own crawlers read the metadata, and prints what they have found as JSON.
const cloudInitScript = `
import json
from cloudinit.sources.helpers import ec2, openstack
from cloudinit.sources.DataSourceOpenStack import read_metadata_service
found = read_metadata_service("http://169.254.169.254", timeout=10, retries=1)
found["amazon"] = ec2.get_instance_metadata("2009-04-04", timeout=10, retries=1)
found["config"] = openstack.convert_net_json(found["networkdata"], known_macs={
    "02:00:00:00:00:11": "dhs", "02:00:00:00:00:12": "dhl"})
print(json.dumps(found, default=lambda b: b.decode("latin-1")))
`

// cloud-init's crawlers of OpenStack's and EC2's metadata find an instance that has its address by DHCP: id, names and
// network configuration. The way there is that of the lease: through the router, or where there is none, by the route
// that the lease has.
func TestCloudInit(t *testing.T) {
	need(t, "busybox")
	const python = "/usr/bin/python3" // Debian's, which has the package
	if err := exec.Command(python, "-c", "import cloudinit.sources.DataSourceOpenStack").Run(); err != nil {
		missing(t, "cloud-init (make test-deps installs it)")
	}
	w := newDHCPWorld(t, `fixed_ip = "10.1.0.11"`, `fixed_ip = "10.1.0.11"
id = "00000000-0000-4000-8000-000000000011"
[[port]]
name = "alone"
network = "lone"
mac = "02:00:00:00:00:12"
fixed_ip = "10.2.0.12"
id = "00000000-0000-4000-8000-000000000012"`)
	script := filepath.Join(t.TempDir(), "script")
	w.check(os.WriteFile(script, []byte(udhcpcScript), 0o755))
	w.check(w.lone.LinkSetHardwareAddr(w.lone.link("dhl"), net.HardwareAddr{2, 0, 0, 0, 0, 0x12}))
	for _, c := range []struct {
		at                                 *space
		device, id, name, address, network string
	}{{w.static, "dhs", "00000000-0000-4000-8000-000000000011", "static", "10.1.0.11", "10.1.0."},
		{w.lone, "dhl", "00000000-0000-4000-8000-000000000012", "alone", "10.2.0.12", "10.2.0."}} {
		p := c.at.start("busybox", "udhcpc", "-f", "-i", c.device, "-s", script, "-t", "10", "-T", "1", "-O",
			"staticroutes")
		matches(t, p.out.String, `event bound ip=`+regexp.QuoteMeta(c.address)+` `)
		if c.at == w.lone {
			m := matches(t, p.out.String, `routes=169\.254\.169\.254/32 (\S+)`)
			c.at.run("ip", "route", "add", "169.254.169.254", "via", m[1])
		}
		out := c.at.run(python, "-c", cloudInitScript)
		var found struct {
			Metadata struct {
				ID       string `json:"instance-id"`
				UUID     string
				Hostname string
				Name     string
			}
			Amazon map[string]any
			Config struct{ Config []map[string]any }
		}
		if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &found); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		m := found.Metadata
		if m.UUID != c.id || m.ID != c.id || m.Name != c.name || m.Hostname != c.name+".openstacklocal" {
			t.Errorf("%s: cloud-init finds %+v", c.name, m)
		}
		if a := found.Amazon; a["local-ipv4"] != c.address || a["hostname"] != c.name+".openstacklocal" {
			t.Errorf("%s: of EC2's metadata it finds %v", c.name, a)
		}
		if len(found.Config.Config) == 0 || !strings.Contains(out, `"dhcp4"`) {
			t.Errorf("%s: it makes no network configuration of\n%s", c.name, out)
		}
	}
}
