package file_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// parse reads a text that must be valid, and sees to it that validating it
// again changes nothing.
func parse(t *testing.T, text string) *file.Topology {
	t.Helper()
	topology, err := file.Parse("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("not valid:\n%v", err)
	}
	again, err := file.Parse("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("valid only once:\n%v", err)
	}
	if err := again.Validate(); err != nil {
		t.Fatalf("not valid a second time:\n%v", err)
	}
	if !reflect.DeepEqual(topology, again) {
		t.Fatalf("changed by validating again:\n%s\n%s", dump(t, topology), dump(t, again))
	}
	sameContent(t, topology, state(t, topology))
	f, err := file.Read("f", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	sameContent(t, topology, f.State())
	sameWhenEdited(t, f)
	return topology
}

func dump(t *testing.T, topology *file.Topology) string {
	t.Helper()
	text, err := json.MarshalIndent(topology, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func ip(text string) netip.Addr       { return netip.MustParseAddr(text) }
func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
func device(name string) file.Device  { return file.Device{Kind: file.DeviceTAP, Name: name} }
func pool(first, last string) file.AddressRange {
	return file.AddressRange{First: ip(first), Last: ip(last)}
}

// TestLab parses the example of the topology file's description and compares
// everything in it.
func TestLab(t *testing.T) {
	text, err := os.ReadFile("testdata/lab.toml")
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, string(text))

	nat := file.NAT{
		Mapping: "endpoint-independent", Filtering: "address-dependent",
		MaxConnections: 1048576, HostShare: 0.5, Lend: new(true), PortMin: 1024, PortMax: 65535,
		Timeouts: file.Timeouts{
			UDP: 5 * time.Minute, ICMP: time.Minute, Fragment: 30 * time.Second,
			TCPEstablished: 124 * time.Minute, TCPTransitory: 4 * time.Minute, TCPOpening: 4 * time.Minute,
			TCPClosing: 4 * time.Minute,
		},
	}
	subnet := func(line int, cidr, gateway, first, last string) []file.Subnet {
		return []file.Subnet{{
			Line: line, CIDR: prefix(cidr), Gateway: ip(gateway), LeaseTime: 24 * time.Hour,
			AllocationPools: []file.AddressRange{pool(first, last)},
		}}
	}
	mac := file.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 0x03}
	want := &file.Topology{
		File: "f",
		Networks: []file.Network{
			{Line: 2, Name: "vlan100", MTU: 1500, Host: "closed", GRO: "auto", StormLimit: new(10000),
				Devices: []file.Device{device("tap100")},
				Subnets: subnet(6, "172.16.100.0/24", "172.16.100.1", "172.16.100.2", "172.16.100.254")},
			{Line: 10, Name: "vlan101", MTU: 1500, Host: "closed", GRO: "auto", StormLimit: new(10000),
				Devices: []file.Device{device("tap101")},
				Subnets: subnet(14, "172.16.101.0/24", "172.16.101.1", "172.16.101.2", "172.16.101.254")},
			{Line: 17, Name: "ext_net", MTU: 1500, Host: "closed", GRO: "auto", StormLimit: new(10000),
				Devices:  []file.Device{device("tap-ext")},
				External: true,
				Subnets:  subnet(22, "10.10.10.0/24", "10.10.10.1", "10.10.10.2", "10.10.10.21")},
		},
		Routers: []file.Router{{
			Line: 27, Name: "router_100_101", RPFilter: "off", NAT: &nat,
			Interfaces: []file.RouterInterface{
				{Line: 29, Network: "vlan100", Addresses: []netip.Prefix{prefix("172.16.100.1/24")}},
				{Line: 29, Network: "vlan101", Addresses: []netip.Prefix{prefix("172.16.101.1/24")}},
			},
			Gateway: &file.RouterGateway{Line: 30, Network: "ext_net", Address: ip("10.10.10.2"),
				Prefix: prefix("10.10.10.2/24"), NextHop: ip("10.10.10.1"), SNAT: true},
			Routes: []file.Route{{Line: 31, Destination: prefix("192.168.10.0/24"), NextHop: ip("172.16.100.254")}},
		}},
		Ports: []file.Port{{Line: 33, Name: "cirros-vm3", Network: "vlan101", MAC: mac, FixedIP: ip("172.16.101.3")}},
		FloatingIPs: []file.FloatingIP{
			{Line: 39, Network: "ext_net", Address: ip("10.10.10.3"), FixedIP: ip("172.16.101.3"),
				Router: "router_100_101"},
			{Line: 67, Network: "ext_net", Address: ip("10.10.10.7"), FixedIP: ip("172.16.100.11"),
				Router: "router_100_101"},
		},
		Pools: []file.Pool{{
			Line: 44, Name: "web servers", Protocol: file.TCP, Algorithm: "ROUND_ROBIN",
			OnMemberDown: "keep", OnMemberRemoved: "drain",
			Members: []file.Member{
				{Line: 49, Name: "WEB1", Address: ip("172.16.100.9"), Port: 80, Weight: 1, AdminStateUp: true},
				{Line: 54, Name: "WEB2", Address: ip("172.16.100.10"), Port: 80, Weight: 1, AdminStateUp: true},
			},
		}},
		VIPs: []file.VIP{{
			Line: 59, Name: "web-vip", Network: "vlan100", Address: ip("172.16.100.11"),
			Protocol: file.TCP, Port: 80, Pool: "web servers", Router: "router_100_101",
		}},
		NAT:      nat,
		DNS:      file.DNS{DNS: config.DNS{Via: config.ViaRouter}},
		Metadata: file.Metadata{Metadata: config.Metadata{Via: config.ViaRouter}},
		Instances: []file.Instance{
			{Line: 71, Name: "WEB1", Network: "vlan100", Address: ip("172.16.100.9"), Prefix: prefix("172.16.100.9/24"),
				Gateway: ip("172.16.100.1"), Serve: []file.Service{{Kind: "http", Port: 80}}},
			{Line: 78, Name: "cirros-vm3", Network: "vlan101", Address: ip("172.16.101.3"),
				Prefix:  prefix("172.16.101.3/24"),
				Gateway: ip("172.16.101.1"), MAC: mac},
			{Line: 82, Name: "client", Network: "ext_net", Address: ip("10.10.10.4"), Prefix: prefix("10.10.10.4/24"),
				Gateway: ip("10.10.10.2")},
		},
		Steps: []file.Step{
			{Line: 88, Title: "Round robin through the floating IP", On: "client", Do: "curl http://10.10.10.7/",
				Times: 4, Within: 5 * time.Second, Expect: []string{"WEB1", "WEB2", "WEB1", "WEB2"}},
			{Line: 95, Title: "Nothing reaches the instance by its inside address", On: "client",
				Do:    "ping 172.16.101.3",
				Times: 1, Within: 5 * time.Second, Fails: true},
			{Line: 101, Title: "Outside, the instance is its floating IP", On: "cirros-vm3", Do: "ping 10.10.10.4",
				Times: 1, Within: 5 * time.Second, Expect: []string{"bytes from 10.10.10.4"},
				Sees: []file.PacketPattern{{Line: 106, Network: "ext_net", Src: ip("10.10.10.3"),
					Dst: ip("10.10.10.4"), Protocol: file.ICMP}},
				Never: []file.PacketPattern{{Line: 107, Network: "ext_net", Src: ip("172.16.101.3")}}},
		},
	}
	withoutIDs(reflect.ValueOf(got).Elem()) // they have a list of their own
	if got, want := dump(t, got), dump(t, want); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// withoutIDs empties all that is called ID.
func withoutIDs(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			withoutIDs(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			withoutIDs(v.Index(i))
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if f.Name == "ID" {
				field.SetZero()
			} else if f.IsExported() {
				withoutIDs(field)
			}
		}
	}
}

// TestVIPFile parses the example alone, which has no lab.
func TestVIPFile(t *testing.T) {
	topology, err := file.Load("testdata/vip.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(topology.Networks) != 3 || len(topology.Instances) != 0 || topology.File != "testdata/vip.toml" {
		t.Errorf("%d networks, %d instances, file %q", len(topology.Networks), len(topology.Instances), topology.File)
	}
}

// TestAccepted holds files that look odd and are right.
func TestAccepted(t *testing.T) {
	tests := []struct{ name, text string }{
		{"devices without networks", `
[[physical_network]]
name = "default"
devices = ["raw:eth1"]`},
		{"one device, several vlans", `
[[network]]
name = "flat"
devices = ["raw:eth1"]
[[network]]
name = "a"
vlan = 1
devices = ["raw:eth1"]
[[network]]
name = "b"
vlan = 4094
physical_network = "trunk"
[[physical_network]]
name = "trunk"
devices = ["raw:eth1"]
[[network]]
name = "nothing"
physical_network = "default"`},
		{"one name in two namespaces", `
[[network]]
name = "a"
devices = ["tap:eth0@red", "tap:eth0@blue"]`},
		{"tenants with the same addresses", routed + `
[[network]]
name = "blue2"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[router]]
name = "r2"
interfaces = ["blue2"]
gateway = { network = "ext" }
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
router = "r1"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
router = "r2"`},
		{"two routers on one network", routed + `
[[router]]
name = "r2"
interfaces = [{ network = "blue", address = "10.1.0.254" }]`},
		{"one load balancer, three listeners", web + `
[[pool]]
name = "dns"
protocol = "UDP"
[[vip]]
name = "http"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "https"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 443
pool = "web"
[[vip]]
name = "dns"
network = "blue"
address = "10.1.0.11"
protocol = "UDP"
port = 80
pool = "dns"`},
		{"VIP on the external network", web + `
[[vip]]
name = "http"
network = "ext"
address = "203.0.113.80"
protocol = "TCP"
port = 80
pool = "web"`},
		{"links of two addresses, and of one", `
[[network]]
name = "p2p"
[[network.subnet]]
cidr = "10.1.0.0/31"
[[network.subnet]]
cidr = "fd00::/127"
[[network]]
name = "loop"
[[network.subnet]]
cidr = "10.9.9.9/32"
[[network.subnet]]
cidr = "fd09::9/128"
[[router]]
name = "r"
interfaces = ["p2p", "loop"]
[[port]]
name = "a"
network = "p2p"
fixed_ip = "10.1.0.1"
[[port]]
name = "b"
network = "p2p"
fixed_ip = "fd00::1"`},
		{"an instance plays the upstream router", ext + `
[[instance]]
name = "switch"
network = "ext"
address = "203.0.113.1"`},
		{"an instance that lies about its address", blue + `
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.3"
mac = "fa:16:3e:aa:bb:03"
[[instance]]
name = "vm"
network = "blue"
address = "10.1.0.9"
mac = "fa:16:3e:aa:bb:09"`},
		{"pool with the gateway in it", blue + `allocation_pools = ["10.1.0.1-10.1.0.9"]`},
		{"routes by the external network", routed + `routes = [
  { destination = "0.0.0.0/0", nexthop = "203.0.113.254" },
  { destination = "10.1.0.128/25", nexthop = "10.2.0.254" },
]`},
		{"routers with a gateway to routes", `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
gateway = "none"
[[router]]
name = "r"
gateway = { network = "ext" }`},
		{"address pairs", blue + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.3"
device = "tap:blue"
allowed_address_pairs = [{ ip = "0.0.0.0/0" }, { ip = "fd00::5", mac = "fa:16:3e:aa:bb:04" }]`},
		{"steps without an instance", blue + `
[[step]]
do = "show conntrack"
[[step]]
do = "wait 1s"
times = 2
expect = ["a", "b"]`},
		{"TOML of other shapes", `
network = [{ name = "blue", subnet = [{ cidr = "10.1.0.0/24" }] }]
nat.timeouts.udp = "5m"
nat."mapping" = 'address-dependent'
router = [{ name = "r", interfaces = [
  "blue", # a comment
] }]`},
		{"status codes", blue + `
[[pool]]
name = "a"
protocol = "TCP"
monitor = { type = "HTTP", expected_codes = "100,599, 204" }
[[pool]]
name = "b"
protocol = "UDP"
monitor = { type = "UDP-CONNECT" }
[[pool]]
name = "c"
protocol = "UDP"
monitor = { type = "HTTP", expected_codes = "100-599" }`},
		{"several forwarding addresses", routed + `
[[floating_ip]]
network = "ext"
port_forwarding = [{ protocol = "TCP", external_port = 22, fixed_ip = "10.1.0.3", port = 22 }]
[[floating_ip]]
network = "ext"
port_forwarding = [{ protocol = "TCP", external_port = 22, fixed_ip = "10.1.0.3", port = 22 }]`},
		{"IPv6 throughout", `
[[network]]
name = "six"
mtu = 1280
[[network.subnet]]
cidr = "fd00::/64"
dhcp = true
dns_nameservers = ["2001:db8::53"]
host_routes = [{ destination = "2001:db8:1::/48", nexthop = "fd00::ff" }]
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "2001:db8::/64"
[[router]]
name = "r"
interfaces = ["six"]
gateway = { network = "ext", snat = false }
routes = [{ destination = "::/0", nexthop = "fd00::fe" }]
[[floating_ip]]
network = "ext"
fixed_ip = "fd00::3"
[[pool]]
name = "p"
protocol = "TCP"
member = [{ address = "fd00::9", port = 80 }]
[[vip]]
name = "v"
network = "six"
address = "fd00::11"
protocol = "TCP"
port = 80
pool = "p"
allowed_cidrs = ["::/0"]
[[instance]]
name = "i"
network = "six"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if topology := parse(t, tt.text); len(topology.Warnings) > 0 {
				t.Errorf("warnings: %v", topology.Warnings)
			}
		})
	}
}

func TestSubnetDefaults(t *testing.T) {
	tests := []struct {
		subnet  string
		gateway string
		pools   []file.AddressRange
	}{
		{`cidr = "10.0.0.0/24"`, "10.0.0.1", []file.AddressRange{pool("10.0.0.2", "10.0.0.254")}},
		{"cidr = \"10.0.0.0/24\"\ngateway = \"10.0.0.254\"", "10.0.0.254",
			[]file.AddressRange{pool("10.0.0.1", "10.0.0.253")}},
		{"cidr = \"10.0.0.0/24\"\ngateway = \"10.0.0.100\"", "10.0.0.100",
			[]file.AddressRange{pool("10.0.0.1", "10.0.0.99"), pool("10.0.0.101", "10.0.0.254")}},
		{"cidr = \"10.0.0.0/24\"\ngateway = \"none\"", "", []file.AddressRange{pool("10.0.0.1", "10.0.0.254")}},
		{"cidr = \"10.0.0.0/24\"\nallocation_pools = [\"10.0.0.7-10.0.0.8\"]", "10.0.0.1",
			[]file.AddressRange{pool("10.0.0.7", "10.0.0.8")}},
		{`cidr = "10.0.0.0/30"`, "10.0.0.1", []file.AddressRange{pool("10.0.0.2", "10.0.0.2")}},
		{`cidr = "10.0.0.0/31"`, "10.0.0.0", []file.AddressRange{pool("10.0.0.1", "10.0.0.1")}},
		{`cidr = "10.0.0.5/32"`, "10.0.0.5", nil},
		{`cidr = "fd00::/64"`, "fd00::1", []file.AddressRange{pool("fd00::2", "fd00::ffff:ffff:ffff:ffff")}},
		{`cidr = "fd00::/126"`, "fd00::1", []file.AddressRange{pool("fd00::2", "fd00::3")}},
		{`cidr = "fd00::/127"`, "fd00::", []file.AddressRange{pool("fd00::1", "fd00::1")}},
		{`cidr = "fd00::7/128"`, "fd00::7", nil},
	}
	for _, tt := range tests {
		t.Run(tt.subnet, func(t *testing.T) {
			s := parse(t, "[[network]]\nname = \"n\"\n[[network.subnet]]\n"+tt.subnet).Networks[0].Subnets[0]
			gateway := ""
			if s.Gateway.IsValid() {
				gateway = s.Gateway.String()
			}
			if gateway != tt.gateway || s.NoGateway != (tt.gateway == "") {
				t.Errorf("gateway %q, NoGateway %v; want %q", gateway, s.NoGateway, tt.gateway)
			}
			if !slices.Equal(s.AllocationPools, tt.pools) {
				t.Errorf("pools %v, want %v", s.AllocationPools, tt.pools)
			}
			if s.LeaseTime != 24*time.Hour {
				t.Errorf("lease time %v", s.LeaseTime)
			}
		})
	}
}

// TestServiceDefaults holds the defaults that TestLab does not show.
func TestServiceDefaults(t *testing.T) {
	topology := parse(t, web+`
[[pool]]
name = "p"
protocol = "TCP"
session_persistence = {}
monitor = { type = "HTTPS" }
member = [{ address = "10.1.0.9", port = 80, weight = 0, admin_state_up = false }, { address = "10.1.0.10", port = 81 }]
[[pool]]
name = "quick"
protocol = "UDP"
monitor = { type = "PING", delay = "2s" }
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.3"
mac = "fa:16:3e:aa:bb:03"
allowed_address_pairs = [{ ip = "10.1.0.4" }]
[[physical_network]]
name = "lab"
devices = ["raw:eth1", "raw:eth2"]
[[network]]
name = "labelled"
physical_network = "lab"
[[step]]
do = "wait"
expect = "x"
times = 3
`)
	p := topology.Pools[1]
	if got, want := *p.SessionPersistence, (file.SessionPersistence{Line: p.SessionPersistence.Line, Type: "SOURCE_IP",
		Timeout: 10 * time.Minute}); got != want {
		t.Errorf("persistence %+v, want %+v", got, want)
	}
	wantMonitor := file.Monitor{
		Line: p.Monitor.Line, Type: "HTTPS", Delay: 5 * time.Second, Timeout: 5 * time.Second,
		MaxRetries: 3, MaxRetriesDown: 3, InitialState: "down", HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200",
	}
	wantMonitor.ID = p.Monitor.ID
	if !reflect.DeepEqual(*p.Monitor, wantMonitor) {
		t.Errorf("monitor %+v, want %+v", *p.Monitor, wantMonitor)
	}
	if m := p.Members[0]; m.Name != "10.1.0.9:80" || m.Weight != 0 || m.AdminStateUp {
		t.Errorf("member %+v", m)
	}
	if m := p.Members[1]; m.Name != "10.1.0.10:81" || m.Weight != 1 || !m.AdminStateUp {
		t.Errorf("member %+v", m)
	}
	if m := topology.Pools[2].Monitor; m.Timeout != 2*time.Second || m.HTTPMethod != "" {
		t.Errorf("monitor %+v", m)
	}
	if pair := topology.Ports[0].AllowedAddressPairs[0]; pair.IP != prefix("10.1.0.4/32") ||
		pair.MAC != topology.Ports[0].MAC {
		t.Errorf("pair %+v", pair)
	}
	if got := fmt.Sprint(topology.Networks[3].Devices); got != "[raw:eth1 raw:eth2]" {
		t.Errorf("devices %v", got)
	}
	if st := topology.Steps[0]; st.Times != 3 || !slices.Equal(st.Expect, []string{"x"}) {
		t.Errorf("step %+v", st)
	}
}

// TestRouterNAT: what a router's own nat does not say is the global nat's.
func TestRouterNAT(t *testing.T) {
	topology := parse(t, blue+`
[[router]]
name = "plain"
[[router]]
name = "own"
nat = { filtering = "endpoint-independent", timeouts = { udp = "7m" } }
[[router]]
name = "unclamped"
nat = { mss_clamp = false, port_range = "2000-2999", lend = true }
[nat]
mapping = "address-dependent"
host_share = 1
lend = false
mss_clamp = true
[nat.timeouts]
udp = "6m"
`)
	plain, own, unclamped := topology.Routers[0].NAT, topology.Routers[1].NAT, topology.Routers[2].NAT
	if !reflect.DeepEqual(*plain, topology.NAT) || plain.HostShare != 1 || plain.PortMax != 65535 {
		t.Errorf("without its own: %+v, global: %+v", *plain, topology.NAT)
	}
	want := topology.NAT
	want.Line, want.Filtering, want.Timeouts.UDP = own.Line, "endpoint-independent", 7*time.Minute
	if !reflect.DeepEqual(*own, want) {
		t.Errorf("own %+v, want %+v", *own, want)
	}
	if unclamped.MSSClamp || !own.MSSClamp || unclamped.PortMin != 2000 || unclamped.PortMax != 2999 {
		t.Errorf("clamps %v, %v; ports %d-%d", own.MSSClamp, unclamped.MSSClamp, unclamped.PortMin, unclamped.PortMax)
	}
	if *plain.Lend || *own.Lend || !*unclamped.Lend {
		t.Errorf("lend %v, %v, %v", *plain.Lend, *own.Lend, *unclamped.Lend)
	}
	if plain == &topology.NAT {
		t.Error("a router shares the global nat")
	}
}

// TestChoice: given addresses first, wherever they stand; then routers,
// floating IPs and instances, each in the file's order.
func TestChoice(t *testing.T) {
	topology := parse(t, `
[[instance]]
name = "i1"
network = "ext"
[[floating_ip]]
network = "ext"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
[[router]]
name = "r1"
interfaces = ["blue"]
gateway = { network = "ext" }
[[router]]
name = "r2"
gateway = { network = "ext" }
[[instance]]
name = "i2"
network = "ext"
address = "203.0.113.12"
[[floating_ip]]
network = "ext"
address = "203.0.113.10"
[[port]]
name = "p"
network = "ext"
fixed_ip = "203.0.113.13"
[[instance]]
name = "p"
network = "ext"
[[instance]]
name = "i3"
network = "ext"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "2001:db8::/64"
[[network.subnet]]
cidr = "203.0.113.0/24"
gateway = "203.0.113.11"
allocation_pools = ["203.0.113.30-203.0.113.39", "203.0.113.10-203.0.113.16"]
`+blue)
	var got []string
	for _, r := range topology.Routers {
		got = append(got, r.Name, r.Gateway.Prefix.String(), r.Gateway.NextHop.String())
	}
	for _, f := range topology.FloatingIPs {
		got = append(got, f.Address.String(), f.Router)
	}
	for _, i := range topology.Instances {
		got = append(got, i.Name, i.Prefix.String(), i.Gateway.String())
	}
	want := []string{
		"r1", "203.0.113.14/24", "203.0.113.11", "r2", "203.0.113.15/24", "203.0.113.11",
		"203.0.113.16", "", "203.0.113.30", "r1", "203.0.113.10", "",
		"i1", "203.0.113.31/24", "203.0.113.11", "i2", "203.0.113.12/24", "203.0.113.11",
		"p", "203.0.113.13/24", "203.0.113.11", "i3", "203.0.113.32/24", "203.0.113.11",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestChoiceOfFamily: a floating IP is of its fixed address's family, and a
// pool that ends with the address space ends.
func TestChoiceOfFamily(t *testing.T) {
	topology := parse(t, `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[network.subnet]]
cidr = "2001:db8::/64"
[[network]]
name = "six"
[[network.subnet]]
cidr = "fd00::/64"
[[router]]
name = "r"
interfaces = ["six"]
gateway = { network = "ext", address = "2001:db8::5" }
[[floating_ip]]
network = "ext"
fixed_ip = "fd00::3"
[[floating_ip]]
network = "ext"
[[floating_ip.port_forwarding]]
protocol = "UDP"
external_port = 53
fixed_ip = "fd00::3"
port = 53
`)
	for i, want := range []string{"2001:db8::2", "2001:db8::3"} {
		if f := topology.FloatingIPs[i]; f.Address != ip(want) || f.Router != "r" {
			t.Errorf("floating IP %v of router %q, want %s of r", f.Address, f.Router, want)
		}
	}
	if next := topology.Routers[0].Gateway.NextHop; next != ip("2001:db8::1") {
		t.Errorf("next hop %v", next)
	}
}

// TestUpstream: an instance that plays the gateway of its subnet has none.
func TestUpstream(t *testing.T) {
	topology := parse(t, ext+`
[[instance]]
name = "upstream"
network = "ext"
address = "203.0.113.1"
[[instance]]
name = "client"
network = "ext"
[[network]]
name = "closed"
subnet = [{ cidr = "10.1.0.0/24", gateway = "none" }]
[[instance]]
name = "lonely"
network = "closed"
`)
	if gw := topology.Instances[0].Gateway; gw.IsValid() {
		t.Errorf("upstream has gateway %v", gw)
	}
	if gw := topology.Instances[1].Gateway; gw != ip("203.0.113.1") {
		t.Errorf("client has gateway %v", gw)
	}
	if h := topology.Instances[2]; h.Gateway.IsValid() || h.Address != ip("10.1.0.1") {
		t.Errorf("lonely has address %v, gateway %v", h.Address, h.Gateway)
	}
}
