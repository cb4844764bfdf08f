package file_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

func TestWarnings(t *testing.T) {
	topology := parse(t, blue+`
[[router]]
name = "plain"
[[router]]
name = "own"
nat = { timeouts = { udp = "1s", icmp = "10s" } }
[nat.timeouts]
udp = "1m59s"
icmp = "59s"
tcp_established = "2h"
tcp_transitory = "3m"
tcp_opening = "30s"
fragment = "1s"
`)
	want := []string{
		`f:12: router "own": nat: timeouts.udp 1s is less than the 2m0s of RFC 4787, REQ-5; live connections may be ` +
			`cut off`,
		`f:12: router "own": nat: timeouts.icmp 10s is less than the 1m0s of RFC 5508, REQ-2; live connections may ` +
			`be cut off`,
		`f:14: nat: timeouts.udp 1m59s is less than the 2m0s of RFC 4787, REQ-5; live connections may be cut off`,
		`f:15: nat: timeouts.icmp 59s is less than the 1m0s of RFC 5508, REQ-2; live connections may be cut off`,
		`f:16: nat: timeouts.tcp_established 2h0m0s is less than the 2h4m0s of RFC 5382, REQ-5; live connections may ` +
			`be cut off`,
		`f:17: nat: timeouts.tcp_transitory 3m0s is less than the 4m0s of RFC 5382, REQ-5; live connections may be ` +
			`cut off`,
		`f:18: nat: timeouts.tcp_opening 30s is less than the 4m0s of RFC 5382, REQ-5; live connections may be cut off`,
	}
	var got []string
	for _, w := range topology.Warnings {
		got = append(got, w.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A lab's file gets a warning where its author can hardly have meant what it says.
func TestLabWarnings(t *testing.T) {
	const lab = `
[[network]]
name = "in"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "flat"
[[network.subnet]]
cidr = "10.2.0.0/24"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
`
	const router = "[[router]]\nname = \"r\"\ninterfaces = [{ network = \"in\", address = \"10.1.0.254\" }]\n"
	const outside = "gateway = { network = \"ext\", address = \"203.0.113.2\" }\n"
	pool := func(members ...string) string {
		text := "[[pool]]\nname = \"p\"\nprotocol = \"TCP\"\n"
		for _, m := range members {
			text += "[[pool.member]]\naddress = \"" + m + "\"\nport = 80\n"
		}
		return text + "[[floating_ip]]\nnetwork = \"ext\"\naddress = \"203.0.113.7\"\n"
	}
	const web = "[[instance]]\nname = \"web\"\nnetwork = \"in\"\naddress = \"10.1.0.9\"\ngateway = \"10.1.0.254\"\n"
	host := func(network, address, gateway string) string {
		text := "[[instance]]\nname = \"h\"\nnetwork = \"" + network + "\"\naddress = \"" + address + "\"\n"
		if gateway != "" {
			text += "gateway = \"" + gateway + "\"\n"
		}
		return text
	}
	const second = "[[router]]\nname = \"r2\"\ninterfaces = [{ network = \"in\", address = \"10.1.0.253\" }]\n"
	for name, c := range map[string]struct{ text, want string }{
		"no gateway beside an external network": {router, `router "r": no gateway, though network "ext" is external`},
		"a default route is a way out": {
			router + "routes = [{ destination = \"0.0.0.0/0\", nexthop = \"10.1.0.7\" }]\n", ""},
		"another router is a way out": {router + outside + second, ""},
		"a gateway":                   {router + outside, ""},
		"the subnet's gateway, which the router does not have": {router + outside + host("in", "10.1.0.5", ""),
			`instance "h": gateway 10.1.0.1 is no address on network "in": ` +
				`what the instance sends elsewhere is lost; a router there has 10.1.0.254`},
		"a gateway that nobody has": {router + outside + host("ext", "203.0.113.5", "203.0.113.9"),
			`instance "h": gateway 203.0.113.9 is no address on network "ext"`},
		"no router to be the gateway": {router + outside + host("flat", "10.2.0.5", ""), ""},
		"a gateway where no router is": {router + outside + host("flat", "10.2.0.5", "10.2.0.7"),
			`gateway 10.2.0.7 is no address on network "flat"`},
		"the router":                 {router + outside + host("ext", "203.0.113.5", "203.0.113.2"), ""},
		"an instance is the gateway": {router + outside + web + host("in", "10.1.0.5", "10.1.0.9"), ""},
		"what is upstream":           {router + outside + host("ext", "203.0.113.5", ""), ""},
		"members that are no instances": {router + outside + pool("10.1.0.10",
			"10.1.0.11") + web + "serve = [\"http:80\"]\n",
			`pool "p": none of its members is an instance (10.1.0.10, 10.1.0.11)`},
		"one of them is": {
			router + outside + pool("10.1.0.10", "10.1.0.9") + web + "serve = [\"http:80\"]\n", ""},
		"one of them is a floating IP": {
			router + outside + pool("203.0.113.7", "10.1.0.11") + web + "serve = [\"http:80\"]\n", ""},
		"a pool without members": {router + outside + pool() + web + "serve = [\"http:80\"]\n", ""},
		"a lesson without a server": {router + outside + pool("10.1.0.10") + web + "[[step]]\ndo = \"wait 1s\"\n",
			`pool "p": none of its members is an instance`},
		"members are elsewhere, no lab": {router + outside + pool("10.1.0.10") + web, ""},
	} {
		t.Run(name, func(t *testing.T) {
			topology := parse(t, lab+c.text)
			for range 2 { // validated again, it is the same
				var got []string
				for _, w := range topology.Warnings {
					got = append(got, w.String())
				}
				if c.want == "" && len(got) > 0 || c.want != "" &&
					(len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], "f:")) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if err := topology.Validate(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Words of a fixed set may be written in lower case.
func TestLowerCase(t *testing.T) {
	topology := parse(t, blue+`
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext" }
[[floating_ip]]
network = "ext"
port_forwarding = [{ protocol = "udp", external_port = 53, fixed_ip = "10.1.0.5", port = 53 }]
[[pool]]
name = "p"
protocol = "tcp"
algorithm = "least_connections"
session_persistence = { type = "source_ip" }
monitor = { type = "http" }
[[vip]]
name = "v"
network = "blue"
address = "10.1.0.11"
protocol = "Tcp"
port = 80
pool = "p"
[[step]]
do = "wait 1s"
sees = [{ network = "blue", protocol = "icmp" }]
never = [{ network = "blue", protocol = "udp" }]
`)
	p, step := topology.Pools[0], topology.Steps[0]
	got := []string{string(topology.FloatingIPs[0].PortForwarding[0].Protocol), string(p.Protocol), p.Algorithm,
		p.SessionPersistence.Type,
		p.Monitor.Type, string(topology.VIPs[0].Protocol), string(step.Sees[0].Protocol),
		string(step.Never[0].Protocol)}
	want := []string{"UDP", "TCP", "LEAST_CONNECTIONS", "SOURCE_IP", "HTTP", "TCP", "ICMP", "UDP"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A link-local subnet serves next hops: its router says what it does not do. A network without a router has
// nothing to be warned of.
func TestLinkLocalWarnings(t *testing.T) {
	topology := parse(t, blue+`
[[network]]
name = "near"
[[network.subnet]]
cidr = "169.254.9.0/24"
[[network]]
name = "alone"
[[network.subnet]]
cidr = "169.254.10.0/24"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "169.254.7.0/30"
[[network.subnet]]
cidr = "203.0.113.0/24"
[[router]]
name = "r"
interfaces = ["blue", "near"]
gateway = { network = "ext", address = "169.254.7.2", snat_addresses = ["203.0.113.5"] }
routes = [{ destination = "192.0.2.0/24", nexthop = "169.254.9.9" }]
`)
	const words = " is link-local: nothing is forwarded from or to its hosts (RFC 3927, 2.7); it serves next hops only"
	want := []string{
		`f:25: router "r": interface "near": 169.254.9.0/24 of network "near"` + words,
		`f:26: router "r": gateway: 169.254.7.0/30 of network "ext"` + words,
	}
	var got []string
	for _, w := range topology.Warnings {
		got = append(got, w.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// byHand is a topology without a file.
func byHand() *file.Topology {
	return &file.Topology{
		Networks: []file.Network{
			{Name: "blue", Subnets: []file.Subnet{{CIDR: prefix("10.1.0.0/24")}}},
			{Name: "ext", External: true, Subnets: []file.Subnet{{CIDR: prefix("203.0.113.0/24")}}},
		},
		Routers: []file.Router{{
			Name:       "r",
			Interfaces: []file.RouterInterface{{Network: "blue"}},
			Gateway:    &file.RouterGateway{Network: "ext", SNAT: true},
		}},
		FloatingIPs: []file.FloatingIP{{Network: "ext", FixedIP: ip("10.1.0.11")}},
		Pools: []file.Pool{{Name: "p", Protocol: file.TCP,
			Members: []file.Member{{Address: ip("10.1.0.9"), Port: 80, Weight: 1, AdminStateUp: true}}}},
		VIPs: []file.VIP{{Name: "v", Network: "blue", Address: ip("10.1.0.11"), Protocol: file.TCP, Port: 80,
			Pool: "p"}},
		Steps: []file.Step{{Do: "wait"}},
	}
}

// TestByHand fills a topology in without a file.
func TestByHand(t *testing.T) {
	topology := byHand()
	if err := topology.Validate(); err != nil {
		t.Fatal(err)
	}
	first := dump(t, topology)
	if gw := topology.Routers[0].Gateway; gw.Prefix != prefix("203.0.113.2/24") || gw.NextHop != ip("203.0.113.1") {
		t.Errorf("gateway %+v", gw)
	}
	if f := topology.FloatingIPs[0]; f.Address != ip("203.0.113.3") || f.Router != "r" {
		t.Errorf("floating IP %+v", f)
	}
	if topology.Networks[0].MTU != 1500 || topology.NAT.HostShare != 0.5 || topology.Steps[0].Within != 5*time.Second ||
		topology.VIPs[0].Router != "r" {
		t.Errorf("defaults are not filled in: %s", first)
	}
	if err := topology.Validate(); err != nil {
		t.Fatal(err)
	}
	if second := dump(t, topology); second != first {
		t.Errorf("changed by validating again:\n%s\n%s", first, second)
	}
}

// A topology made by hand has the same State before Validate has written its choices into it, and after.
func TestByHandState(t *testing.T) {
	topology, empty := byHand(), dump(t, byHand())
	valid := byHand()
	if err := valid.Validate(); err != nil {
		t.Fatal(err)
	}
	sameContent(t, valid, state(t, topology))
	d := config.Empty().Edit()
	topology.Edit(d)
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	sameContent(t, valid, s)
	if got := dump(t, topology); got != empty {
		t.Errorf("changed by State or Edit:\n%s\n%s", got, empty)
	}
	topology.FloatingIPs[0].Network = "exit"
	const want = `floating IP #1: unknown network "exit"; did you mean "ext"?`
	if s, err := topology.State(); s != nil || err == nil || err.Error() != want {
		t.Errorf("%v, %v", s, err)
	}
}

// A table may be a copy of another one that shares its parts. Each part is an object of its own.
func TestByHandShared(t *testing.T) {
	topology := byHand()
	p := topology.Pools[0]
	p.Name = "q"
	topology.Pools = append(topology.Pools, p)
	for _, validate := range []bool{false, true} {
		if validate {
			if err := topology.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		if n := state(t, topology).Count(config.KindMember); n != 2 {
			t.Errorf("validated %t: %d members", validate, n)
		}
	}
}

// TestByHandFaults: without a file there are no lines, and zero values are
// defaults, not values.
func TestByHandFaults(t *testing.T) {
	topology := &file.Topology{
		File: "harness",
		Networks: []file.Network{
			{Name: "blue", VLAN: -1, Subnets: []file.Subnet{{CIDR: prefix("10.1.0.0/24"), Gateway: ip("10.1.0.1"),
				NoGateway: true}}},
			{Name: "green", Subnets: []file.Subnet{{CIDR: netip.PrefixFrom(ip("::ffff:10.2.0.0"), 120)}}},
			{Name: "white", PhysicalNetwork: "default", Devices: []file.Device{device("x")}},
			{Name: "four", Subnets: []file.Subnet{{CIDR: prefix("10.4.0.0/24"), DNSNameservers: []netip.Addr{{}}}}},
		},
		Ports: []file.Port{{Name: "p", Network: "blue", FixedIP: ip("::ffff:10.1.0.3"), MAC: file.MAC{1},
			AllowedAddressPairs: []file.AddressPair{{IP: prefix("10.9.0.0/24"), MAC: file.MAC{3}}}}},
		Instances: []file.Instance{{Name: "i", Network: "blue", Serve: []file.Service{{Kind: "http"}}}},
		Routers:   []file.Router{{Name: "r"}, {Name: "r"}},
		Engine:    file.Engine{Workers: 5000},
	}
	want := []string{
		`harness: subnet "blue": gateway 10.1.0.1 is set, yet so is NoGateway`,
		`harness: router "r": name is taken by router "r"`,
		`harness: instance "i": service http:0 has no port`,
		`harness: subnet "green": cidr ::ffff:10.2.0.0/120 is IPv4 in IPv6 notation`,
		`harness: subnet "four": dns_nameservers: invalid IP cannot be the address of a host`,
		`harness: engine: workers 5000 is not from 0 to 1024`,
		`harness: network "blue": vlan -1 is not from 1 to 4094`,
		`harness: network "white": physical_network and devices exclude each other: the devices are those of ` +
			`[[physical_network]] "default"`,
		`harness: port "p": mac 01:00:00:00:00:00 is a group's, not a host's: the first byte is odd`,
		`harness: port "p": allowed address pair 10.9.0.0/24: mac 03:00:00:00:00:00 is a group's, not a host's: the ` +
			`first byte is odd`,
		`harness: port "p": fixed_ip ::ffff:10.1.0.3 outside 10.1.0.0/24`,
	}
	err := topology.Validate()
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// TestChangedAfterParse: faults have the lines of their objects, also when a harness
// has moved or added objects.
func TestChangedAfterParse(t *testing.T) {
	topology := parse(t, routed)
	topology.Networks = append(topology.Networks[1:], file.Network{Name: "new", MTU: 1})
	err := topology.Validate()
	want := `f: network "new": mtu 1 is not from 576 to 9216
f:21: router "r1": interface "blue": unknown network "blue"; no [[network]] has that name`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}

	topology = parse(t, routed)
	topology.Networks[0].MTU = 0 // the default again
	topology.Networks[0].VLAN = 0
	if err := topology.Validate(); err != nil || topology.Networks[0].MTU != 1500 {
		t.Errorf("mtu %d, %v", topology.Networks[0].MTU, err)
	}
	topology.Networks[1].Subnets[0].Gateway = ip("10.9.0.1")
	err = topology.Validate()
	want = `f:10: subnet "green": gateway 10.9.0.1 outside 10.2.0.0/24`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// large is a topology with n floating IPs, VIPs and pools.
func large(n int) string {
	var b strings.Builder
	b.WriteString(`
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.0.0.0/8"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "100.64.0.0/10"
[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext" }
`)
	for i := range n {
		fmt.Fprintf(&b, "[[floating_ip]]\nnetwork = \"ext\"\nfixed_ip = \"10.1.%d.%d\"\n", i/256, i%256)
		fmt.Fprintf(&b, "[[pool]]\nname = \"p%d\"\nprotocol = \"TCP\"\n"+
			"member = [{ address = \"10.2.%d.%d\", port = 80 }]\n", i, i/256, i%256)
		fmt.Fprintf(&b, "[[vip]]\nname = \"v%d\"\nnetwork = \"blue\"\naddress = \"10.3.%d.%d\"\nprotocol = \"TCP\"\n"+
			"port = 80\npool = \"p%d\"\n", i, i/256, i%256, i)
	}
	return b.String()
}

func TestLarge(t *testing.T) {
	topology := parse(t, large(300))
	last := topology.FloatingIPs[299]
	if last.Address != ip("100.64.1.46") || last.Router != "r" {
		t.Errorf("last floating IP is %+v", last)
	}
}

func BenchmarkParse(b *testing.B) {
	text := large(1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := file.Parse("f", strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

// The parts of tcp_transitory are what it is, where they are not given: of the same
// table first, then of all routers.
func TestTCPTimeoutsInParts(t *testing.T) {
	topology := parse(t, blue+`
[nat.timeouts]
tcp_closing = "7m"
[[router]]
name = "as all"
[[router]]
name = "own"
nat = { timeouts = { tcp_transitory = "6m" } }
[[router]]
name = "part"
nat = { timeouts = { tcp_opening = "9m" } }
`)
	for i, want := range [][3]time.Duration{{4, 4, 7}, {6, 6, 6}, {4, 9, 7}} {
		r := topology.Routers[i]
		got := [3]time.Duration{r.NAT.Timeouts.TCPTransitory / time.Minute, r.NAT.Timeouts.TCPOpening / time.Minute,
			r.NAT.Timeouts.TCPClosing / time.Minute}
		if got != want {
			t.Errorf("%s: %d minutes, want %d", r.Name, got, want)
		}
	}
	if len(topology.Warnings) > 0 {
		t.Error(topology.Warnings)
	}
}
