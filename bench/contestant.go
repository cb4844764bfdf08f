package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// A contestant is something that routes between the two hosts of a world.
type contestant interface {
	name() string
	// start brings the devices "in" and "out" into the hosts' namespaces and
	// routes between them.
	start(w *world, m mode) error
}

// taprouterOn is taprouter on TAPs, or on one end of veths each (raw).
type taprouterOn struct {
	raw    bool
	groOff bool   // its networks leave segments as they are
	base   string // path of another build; empty: the one under test
}

func (c taprouterOn) name() string {
	name := "taprouter"
	if c.base != "" {
		name = "base"
	}
	if c.raw {
		name += ", raw on veth"
	}
	if c.groOff {
		name += ", gro off"
	}
	return name
}

// topology has the networks of internal/nettest's Cloud. They are typed again, because this module
// imports nothing of the router: it also measures other builds of it, by their files alone.
var topology = template.Must(template.New("topology").Parse(`
[[network]]
name = "tenant"
devices = ["{{.In}}"]
{{.InKeys}}
  [[network.subnet]]
  cidr = "172.16.100.0/24"

{{if .Flood}}
[[network]]
name = "second"
devices = ["{{.Flood}}"]
  [[network.subnet]]
  cidr = "172.16.200.0/24"
{{end}}
[[network]]
name = "ext_net"
external = true
devices = ["{{.Out}}"]
{{.OutKeys}}
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"

[[router]]
name = "router"
interfaces = ["tenant"{{if .Flood}}, "second"{{end}}]
gateway = { network = "ext_net", address = "10.10.10.2", snat = {{.SNAT}} }
routes = [
  { destination = "172.30.0.0/16", nexthop = "172.16.100.9" },
  { destination = "10.99.0.0/16", nexthop = "10.10.10.4" },
]

{{if .Large}}
[nat]
max_connections = 4000000
{{end}}{{if .Floating}}
[[floating_ip]]
network = "ext_net"
address = "10.10.10.3"
fixed_ip = "172.16.100.9"
{{end}}{{range .VIPs}}
[[pool]]
name = "pool {{.}}"
protocol = "{{.Protocol}}"
  [[pool.member]]
  name = "one"
  address = "172.16.100.9"
  port = {{.Port}}
  [[pool.member]]
  name = "two"
  address = "172.16.100.10"
  port = {{.Port}}
[[vip]]
name = "vip {{.}}"
network = "ext_net"
address = "10.10.10.7"
protocol = "{{.Protocol}}"
port = {{.Port}}
pool = "pool {{.}}"
{{end}}{{if .Web}}
[[pool]]
name = "web servers"
protocol = "TCP"
  [[pool.member]]
  name = "one"
  address = "172.16.100.9"
  port = 80
  [[pool.member]]
  name = "two"
  address = "172.16.100.10"
  port = 80
[[vip]]
name = "web"
network = "tenant"
address = "172.16.100.11"
protocol = "TCP"
port = 80
pool = "web servers"
[[floating_ip]]
network = "ext_net"
address = "10.10.10.7"
fixed_ip = "172.16.100.11"
{{end}}`))

type service struct {
	Protocol string
	Port     int
}

func (s service) String() string { return fmt.Sprint(s.Protocol, " ", s.Port) }

// services are the endpoints of the VIP: iperf3, small packets and pings,
// connect-request-close.
var services = []service{{"TCP", 5201}, {"UDP", 7000}, {"UDP", 7001}, {"TCP", 7000}, {"TCP", 7001}, {"TCP", 7002},
	{"TCP", 7003}}

func (c taprouterOn) start(w *world, m mode) error {
	data := struct {
		In, Out, Flood  string
		InKeys, OutKeys string // more of the networks
		SNAT, Floating  bool
		Large           bool
		VIPs            []service
		Web             bool
	}{In: "tap:in@" + w.internal, Out: "tap:out@" + w.external, SNAT: m != route, Floating: m == floating,
		Large: m != unchanged, Web: m == web}
	if m == vip {
		data.VIPs = services
	}
	if m == shared {
		data.Flood = "tap:flood@" + w.flooder
	}
	switch {
	case m.switched():
		var err error
		if data.In, data.Out, err = w.behindSwitch(m, c.raw); err != nil {
			return err
		}
	case c.raw:
		if err := w.veths(); err != nil {
			return err
		}
		data.In, data.Out = "raw:r-in", "raw:r-out"
		if m == shared {
			data.Flood = "raw:r-flood"
		}
	}
	if m == tagged {
		data.InKeys, data.OutKeys = fmt.Sprint("vlan = ", tenantVLAN), fmt.Sprint("vlan = ", externalVLAN)
	}
	if c.groOff {
		data.InKeys, data.OutKeys = data.InKeys+"\ngro = \"off\"", data.OutKeys+"\ngro = \"off\""
	}
	file := filepath.Join(w.bench.dir, w.router+".toml")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := topology.Execute(f, data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	program := w.bench.taprouter
	if c.base != "" {
		program = c.base
	}
	if err := w.serve("ready", program, "run", file); err != nil || !m.switched() {
		return err
	}
	return w.startSwitch(m)
}

// serve starts the contestant's program and waits for its word.
func (w *world) serve(word string, args ...string) error {
	p, err := w.start(w.router, args...)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, p)
	return p.wait(word)
}

// veths joins the hosts to the router's namespace by cables.
func (w *world) veths() error {
	far := map[string]string{"in": w.internal, "out": w.external}
	if w.flooder != "" {
		far["flood"] = w.flooder
	}
	for dev, ns := range far {
		if err := w.cable(w.router, "r-"+dev, ns, dev); err != nil {
			return err
		}
	}
	return nil
}

// kernel is Linux's own forwarding and nftables NAT between veths. Where the hosts send frames of the MTU's size, it
// has GRO on at its ends, as network cards have; on veths it is off by default.
type kernel struct {
	groOff bool // also there
}

func (k kernel) name() string {
	if k.groOff {
		return "kernel, GRO off"
	}
	return "kernel"
}

func (k kernel) start(w *world, m mode) error {
	if err := w.veths(); err != nil {
		return err
	}
	if m == mtu {
		gro := "on"
		if k.groOff {
			gro = "off"
		}
		for _, end := range []string{"r-in", "r-out"} {
			if err := in(w.router, "ethtool", "-K", end, "gro", gro); err != nil {
				return err
			}
		}
	}
	for _, step := range [][]string{
		{"addr", "add", internalGW + "/24", "dev", "r-in"},
		{"addr", "add", routerAddress + "/24", "dev", "r-out"},
		{"route", "add", behindInside + "/16", "via", internalHost},
		{"route", "add", behindOutside + "/16", "via", externalHost},
	} {
		if err := sh(append([]string{"ip", "-n", w.router}, step...)...); err != nil {
			return err
		}
	}
	for _, address := range []string{floatingIP, vipAddress} {
		if err := sh("ip", "-n", w.router, "addr", "add", address+"/32", "dev", "r-out"); err != nil {
			return err
		}
	}
	if m == shared {
		if err := sh("ip", "-n", w.router, "addr", "add", flooderGW+"/24", "dev", "r-flood"); err != nil {
			return err
		}
	}
	if err := in(w.router, "sysctl", "-qw", "net.ipv4.ip_forward=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.r-in.rp_filter=0",
		"net.ipv4.conf.r-out.rp_filter=0"); err != nil {
		return err
	}
	rules := "add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; }; " +
		"add chain ip nat post { type nat hook postrouting priority 100; }; "
	switch m {
	case route:
		return nil // plain forwarding, without connection tracking
	case snat, shared, mtu, unchanged:
		rules += "add rule ip nat post oifname r-out masquerade"
	case floating:
		rules += "add rule ip nat pre ip daddr 10.10.10.3 dnat to 172.16.100.9; " +
			"add rule ip nat post ip saddr 172.16.100.9 oifname r-out snat to 10.10.10.3"
	case web:
		rules += "add rule ip nat pre ip daddr 10.10.10.7 tcp dport 80 dnat to numgen inc mod 2 map { 0 : " +
			"172.16.100.9, 1 : 172.16.100.10 }"
	case vip:
		for _, s := range services {
			rules += fmt.Sprintf("add rule ip nat pre ip daddr 10.10.10.7 %s dport %d "+
				"dnat to numgen inc mod 2 map { 0 : 172.16.100.9, 1 : 172.16.100.10 }; ",
				strings.ToLower(s.Protocol), s.Port)
		}
	}
	return in(w.router, "nft", rules)
}

// peer is one of the programs under peer/.
type peer struct{ program, title string }

func (p peer) name() string { return p.title }

var peerModes = map[mode]string{route: "route", snat: "snat", unchanged: "snat", floating: "fip", vip: "vip"}

func (p peer) start(w *world, m mode) error {
	if err := w.serve("ready", filepath.Join(w.bench.dir, p.program), "-mode", peerModes[m]); err != nil {
		return err
	}
	return w.handTAPs()
}

// handTAPs gives the hosts the devices that the router has made.
func (w *world) handTAPs() error {
	for dev, ns := range map[string]string{"in": w.internal, "out": w.external} {
		if err := sh("ip", "-n", w.router, "link", "set", dev, "netns", ns); err != nil {
			return err
		}
	}
	return nil
}

// build compiles what runs: taprouter and the peers.
func (b *bench) build() error {
	for _, p := range []struct{ out, dir, pkg string }{
		{"taprouter", "..", "./cmd/taprouter"},
		{"plain", ".", "./peer/plain"},
		{"gvisor", ".", "./peer/gvisor"},
	} {
		cmd := exec.Command("go", "build", "-C", p.dir, "-buildvcs=false", "-o", filepath.Join(b.dir, p.out), p.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", p.pkg, err, text)
		}
	}
	b.taprouter = filepath.Join(b.dir, "taprouter")
	return nil
}
