//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A host with the router in it, and a service at an address of its own:
//
//	tenant 192.0.2.9 ── eth0 ── raw:cable ── taprouter
//	                               ┆
//	                   the host's own stack, 198.51.100.1:8080
type guarded struct {
	*world
	host, tenant *space
}

const (
	hostAddress   = "198.51.100.1"
	hostService   = hostAddress + ":8080"
	tenantAddress = "192.0.2.9"
	rawGateway    = "192.0.2.1"
	cableTopology = `
[[network]]
name = "tenant"
devices = ["raw:cable"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[router]]
name = "router"
interfaces = ["tenant"]
`
)

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{world: newWorld(t)}
	g.host, g.tenant = g.space("host"), g.space("tenant")
	g.veth(g.host, "cable", g.tenant, "eth0")
	g.host.address("lo", hostAddress+"/32", "")
	g.tenant.address("eth0", tenantAddress+"/24", "")
	g.tenant.run("ip", "route", "add", hostAddress, "dev", "eth0")
	g.host.run("ip", "route", "add", "192.0.2.0/24", "dev", "cable", "src", hostAddress)
	g.listenEverywhere()
	return g
}

// listenEverywhere has the host accept connections by IPv4 and IPv6.
func (g *guarded) listenEverywhere() {
	var l net.Listener
	g.check(g.host.within(func() (err error) {
		l, err = net.Listen("tcp", ":8080")
		return err
	}))
	g.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}

// linkLocal is the address that the kernel gives to the host's end of the cable.
func (g *guarded) linkLocal() string {
	mac := g.host.link("cable").Attrs().HardwareAddr
	return net.IP{0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4],
		15: mac[5]}.String()
}

// answers tries every way from the tenant to the host's own stack, several times if
// answers are wanted: an address may not be usable at once.
func (g *guarded) answers(t *testing.T, when string, want bool) {
	t.Helper()
	ways := map[string]func() error{
		"arping":      g.arping,
		"TCP by IPv4": func() error { return g.connects("tcp4", hostService) },
		"TCP by IPv6, link-local": func() error {
			return g.connects("tcp6", fmt.Sprintf("[%s%%%d]:8080", g.linkLocal(), g.tenant.link("eth0").Attrs().Index))
		},
	}
	var all sync.WaitGroup
	for name, try := range ways {
		all.Go(func() {
			var err error
			for i := range 10 {
				if err = try(); err == nil || !want {
					break
				}
				<-time.After(time.Duration(i) * 100 * time.Millisecond)
			}
			if (err == nil) != want {
				t.Errorf("%s, %s: the host answers: %v, want %v (%v)", when, name, err == nil, want, err)
			}
		})
	}
	all.Wait()
}

func (g *guarded) arping() error {
	_, err := g.tenant.try("arping", "-c", "1", "-w", "1", "-I", "eth0", hostAddress)
	return err
}

func (g *guarded) connects(network, address string) error {
	return g.tenant.within(func() error {
		c, err := net.DialTimeout(network, address, 700*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// settings is what there is to put back.
func (g *guarded) settings() string {
	g.t.Helper()
	all := g.host.run("sh", "-c", `cd /proc/sys/net
		for f in ipv6/conf/cable/* ipv4/conf/cable/*; do test -f $f && echo "$f $(cat $f 2>/dev/null)"; done`)
	all += g.host.run("nft", "list", "ruleset")
	l := g.host.link("cable").Attrs()
	all += fmt.Sprintf("alias %q, flags %v, promiscuous %d\n", l.Alias, l.Flags, l.Promisc)
	addresses, err := g.host.AddrList(g.host.link("cable"), netlink.FAMILY_ALL)
	g.check(err)
	var lines []string
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("address %v scope %d\n", a.IPNet, a.Scope))
	}
	slices.Sort(lines)
	return all + strings.Join(lines, "")
}

// settled waits until nothing changes any more, as addresses that are new do.
func (g *guarded) settled(t *testing.T) string {
	t.Helper()
	last := ""
	for same := 0; same < 3; {
		now := g.settings()
		if same++; now != last {
			same = 0
		}
		last = now
		<-time.After(50 * time.Millisecond)
	}
	return last
}

// settingsAre compares them, when they have settled.
func (g *guarded) settingsAre(t *testing.T, when, want string) {
	t.Helper()
	var got string
	for range 20 {
		if got = g.settings(); got == want {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Errorf("%s: the settings of the interface are\n%s\nwant\n%s", when, differing(got, want), differing(want, got))
}

// differing is the lines of a text that another has not.
func differing(text, other string) string {
	var all []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.Contains(other, line) {
			all = append(all, line)
		}
	}
	return strings.Join(all, "\n")
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// The host's own stack is out of a raw device's reach while the router runs, and back
// when it has ended, in whatever way.
func TestHostIsClosed(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping", "nft")
	g := newGuarded(t)
	file := g.file("raw.toml", cableTopology)
	g.host.run("ip", "link", "set", "cable", "alias", "an uplink")
	g.answers(t, "before", true)
	before := g.settings()

	p := g.host.serve(file)
	g.tenant.pings(t, rawGateway)
	g.answers(t, "while it runs", false)
	if out, err := g.host.try("nft", "flush", "ruleset"); err != nil {
		t.Errorf("flush: %v\n%s", err, out)
	}
	g.answers(t, "after a flush of all rules", false)
	if addresses := g.host.run("ip", "-6", "address", "show", "dev", "cable"); addresses != "" {
		t.Errorf("the host still speaks IPv6:\n%s", addresses)
	}
	p.stop()
	g.settingsAre(t, "after SIGTERM", before)
	g.answers(t, "after SIGTERM", true)

	g.host.serve(file).kill(t)
	if rules := g.host.run("nft", "list", "ruleset"); rules != "" {
		t.Errorf("killed, it leaves\n%s", rules)
	}
	p = g.host.serve(file)
	g.answers(t, "while it runs after kill -9", false)
	p.stop()
	g.settingsAre(t, "after kill -9, start and SIGTERM", before)
	g.answers(t, "after kill -9, start and SIGTERM", true)
}

// The next start puts back the settings that a killed process has left, even if the next start
// leaves the interface open.
func TestHostIsOpen(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping", "nft")
	g := newGuarded(t)
	before := g.settings()
	closed := g.file("raw.toml", cableTopology)
	open := g.file("open.toml", strings.Replace(cableTopology, `devices =`, "host = \"open\"\ndevices =", 1))
	g.host.serve(closed).kill(t)
	p := g.host.serve(open)
	g.tenant.pings(t, rawGateway)
	g.answers(t, `with host = "open"`, true)
	if out := p.stop(); strings.Contains(out, "warning") {
		t.Errorf("it warns of what was asked for:\n%s", out)
	}
	g.settingsAre(t, "after kill -9, start and SIGTERM", before)

	g.host.serve(closed).kill(t)
	g.host.run("ip", "address", "add", "192.0.2.5/24", "dev", "cable")
	p = g.host.serve(closed)
	g.answers(t, "with an address of the host", true)
	p.stop()
	g.host.run("ip", "address", "del", "192.0.2.5/24", "dev", "cable")
	g.settingsAre(t, "after kill -9, an address, start and SIGTERM", before)
}

// Settings that an administrator has made are left as they are: no IPv6 on the interface,
// no address of the kernel's making, one made by hand.
func TestHostSettings(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping", "nft")
	for _, c := range []struct {
		name, command string
	}{
		{"IPv6 is off", "echo 1 > /proc/sys/net/ipv6/conf/cable/disable_ipv6"},
		{"no address is made", "echo 1 > /proc/sys/net/ipv6/conf/cable/addr_gen_mode; ip -6 address flush dev cable"},
		{"one made by hand", "ip -6 address add fe80::77/64 dev cable nodad"},
		{"stable addresses", "echo 2001:db8::5 > /proc/sys/net/ipv6/conf/cable/stable_secret; " +
			"ip -6 address flush dev cable; ip link set cable down; ip link set cable up"},
		{"random addresses",
			"echo 3 > /proc/sys/net/ipv6/conf/cable/addr_gen_mode; ip -6 address flush dev cable; " +
				"ip link set cable down; ip link set cable up"},
		{"an alias without room", "ip link set cable alias " + strings.Repeat("x", 250)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			g.settled(t)
			g.host.run("sh", "-ec", c.command)
			before := g.settled(t)
			file := g.file("raw.toml", cableTopology)
			g.host.serve(file).kill(t)
			g.host.serve(file).stop()
			g.settingsAre(t, "after kill -9, start and SIGTERM", before)
		})
	}
}

// A host that needs the interface keeps it, and is told; this follows what happens.
func TestHostNeedsInterface(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping", "nft")
	for _, c := range []struct {
		name      string
		begin     [][]string
		end       [][]string
		because   string
		noAnswers bool // the host's own stack has not heard anything before either
	}{
		{name: "an address", begin: [][]string{{"ip", "address", "add", "192.0.2.5/24", "dev", "cable"}},
			end: [][]string{{"ip", "address", "del", "192.0.2.5/24", "dev", "cable"}}, because: "192.0.2.5/24"},
		{name: "an IPv6 address", begin: [][]string{{"ip", "address", "add", "2001:db8::5/64", "dev", "cable",
			"nodad"}},
			end: [][]string{{"ip", "address", "del", "2001:db8::5/64", "dev", "cable"}}, because: "2001:db8::5/64"},
		{name: "a default route", begin: [][]string{{"ip", "route", "add", "default", "dev", "cable"}},
			end: [][]string{{"ip", "route", "del", "default", "dev", "cable"}}, because: "default route"},
		{name: "a default route in another table",
			begin:   [][]string{{"ip", "route", "add", "default", "dev", "cable", "table", "77"}},
			end:     [][]string{{"ip", "route", "del", "default", "dev", "cable", "table", "77"}},
			because: "default route"},
		{name: "a bridge",
			begin: [][]string{{"ip", "link", "add", "br0", "type", "bridge"},
				{"ip", "link", "set", "cable", "master", "br0"}},
			end: [][]string{{"ip", "link", "set", "cable", "nomaster"}}, because: "a port of br0", noAnswers: true},
		{name: "a macvlan",
			begin: [][]string{{"ip", "link", "add", "link", "cable", "name", "mv0", "type", "macvlan", "mode",
				"bridge"}},
			end: [][]string{{"ip", "link", "del", "mv0"}}, because: "mv0 lies above it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			before := g.settings()
			run := func(commands [][]string) {
				for _, command := range commands {
					g.host.run(command...)
				}
			}
			run(c.begin)
			p := g.host.serve(g.file("raw.toml", cableTopology))
			p.wait(t, "stays open")
			if !strings.Contains(p.out.String(), c.because) {
				t.Errorf("it does not say %q:\n%s", c.because, p.out.String())
			}
			answers := func(when string, want bool) {
				if err := g.arping(); (err == nil) != want && !(want && c.noAnswers) {
					t.Errorf("%s: the host answers: %v, want %v", when, err == nil, want)
				}
			}
			answers("needed from the start", true)
			run(c.end)
			p.wait(t, "is closed to the host")
			answers("not needed any more", false)
			run(c.begin[len(c.begin)-1:])
			p.waitTimes(t, "stays open", 2)
			answers("needed again", true)
			run(c.end)
			p.waitTimes(t, "is closed to the host", 2)
			p.stop()
			g.settingsAre(t, "after SIGTERM", before)
		})
	}
}

// Frames go on up to what lies above the interface.
func TestHostAbove(t *testing.T) {
	t.Parallel()
	need(t, "ping", "nft")
	macvlan := func(g *guarded, other *space, words ...string) {
		g.host.run(append([]string{"ip", "link", "add", "link", "cable", "name", "mv0"}, words...)...)
		if l, err := g.host.LinkByName("mv0"); err == nil {
			g.check(g.host.LinkSetNsFd(l, int(other.handle)))
		}
		other.address("mv0", "192.0.2.77/24", "")
	}
	for _, c := range []struct {
		name  string
		build func(g *guarded, other *space)
	}{
		{"a bridge", func(g *guarded, other *space) {
			bridge := g.host.bridge("br0")
			g.veth(g.host, "port", other, "mv0")
			g.check(g.host.LinkSetMaster(g.host.link("port"), bridge))
			g.check(g.host.LinkSetMaster(g.host.link("cable"), bridge))
			other.address("mv0", "192.0.2.77/24", "")
		}},
		{"a macvlan here", func(g *guarded, other *space) {
			g.host.run("ip", "link", "add", "link", "cable", "name", "mv0", "type", "macvlan", "mode", "bridge")
			g.host.run("ip", "address", "add", "192.0.2.77/24", "dev", "mv0")
			g.host.run("ip", "link", "set", "mv0", "up")
		}},
		{"a macvlan moved to another namespace",
			func(g *guarded, other *space) { macvlan(g, other, "type", "macvlan", "mode", "bridge") }},
		{"a macvlan made in another namespace", func(g *guarded, other *space) {
			macvlan(g, other, "netns", other.name, "type", "macvlan", "mode", "bridge")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			other := g.space("other")
			c.build(g, other)
			p := g.host.serve(g.file("raw.toml", cableTopology))
			p.wait(t, "stays open")
			g.tenant.pings(t, "192.0.2.77")
			g.tenant.pings(t, rawGateway)
		})
	}
}

// An interface that disappears and comes back is closed again; one that was down
// never shows the host.
func TestHostClosedAgain(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping", "nft", "tcpdump")
	g := newGuarded(t)
	p := g.host.serve(g.file("raw.toml", cableTopology))
	g.answers(t, "at first", false)
	g.check(g.host.LinkDel(g.host.link("cable")))
	p.wait(t, "device is gone")
	g.check(netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "cable", Namespace: netlink.NsFd(int(g.host.handle))},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(g.tenant.handle))}))
	g.check(g.tenant.LinkSetUp(g.tenant.link("eth0")))
	dump := g.tenant.start("tcpdump", "-n", "-l", "-Z", "root", "--immediate-mode", "-i", "eth0", "-Q", "in", "ip6")
	dump.wait(t, "listening on")
	p.wait(t, "device is back")
	g.tenant.address("eth0", tenantAddress+"/24", "")
	g.tenant.run("ip", "route", "add", hostAddress, "dev", "eth0")
	g.tenant.pings(t, rawGateway)
	g.answers(t, "back", false)
	if out := dump.stop(); strings.Contains(out, "IP6 ") {
		t.Errorf("the host speaks:\n%s", out)
	}
	p.stop()
	g.host.run("ip", "route", "add", "192.0.2.0/24", "dev", "cable", "src", hostAddress) // went with the interface
	g.answers(t, "after SIGTERM", true)
}

// Without the right to close the interface, the start says so and goes on.
func TestHostWithoutRight(t *testing.T) {
	t.Parallel()
	need(t, "arping", "setpriv", "nft")
	g := newGuarded(t)
	p := g.host.start("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", program, "run", "--socket", "none",
		g.file("raw.toml", cableTopology))
	p.wait(t, " ready ")
	if out := p.out.String(); !strings.Contains(out, "stays open") || !strings.Contains(out, "CAP_NET_ADMIN") {
		t.Errorf("it does not say so:\n%s", out)
	}
	g.answers(t, "without CAP_NET_ADMIN", true)
}
