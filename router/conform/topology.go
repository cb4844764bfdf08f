package conform

import (
	"fmt"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// Topology is the network of every check, as a topology file:
//
//	blue  172.16.101.0/24   vm2 .2, vm4 .4 behind SNAT; vm3 .3 and vm5 .5 with floating IPs;
//	                        .254 leads to 192.168.10.0/24
//	green 172.16.100.0/24   web1 .9 and web2 .10 behind the VIP .11 (TCP 80, UDP 53)
//	small 172.16.102.0/24   vm6 .6, with an MTU of 1000; and 172.16.103.0/31, vm7 .1
//	ext   10.10.10.0/24     the router .2, its upstream .1; hosts x1 .4 and x2 .5;
//	                        floating IPs .3 (vm3), .15 (vm5), .7 (the VIP), .9 (unused),
//	                        .8 (ports: TCP 2222 is vm4's 22, UDP 5353 its 53,
//	                        TCP 8000 its 80, and UDP 8000 vm2's 53)
//
// Behind the upstream there is the rest of the world, and inside there is a network in
// a network in a network: 192.168.20.0/22 behind 172.16.101.254, 192.168.21.0/24 behind
// 172.16.100.20, and 192.168.21.7 behind vm6.
//
// It has little in common with the Cloud of internal/nettest: the lines of the checks name
// its networks and hosts.
const Topology = `
[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "green"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "small"
mtu = 1000
  [[network.subnet]]
  cidr = "172.16.102.0/24"
  [[network.subnet]]
  cidr = "172.16.103.0/31"

[[network]]
name = "ext"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "dut"
interfaces = ["blue", "green", "small"]
gateway = { network = "ext", address = "10.10.10.2", snat = SNAT }
routes = [
  { destination = "192.168.10.0/24", nexthop = "172.16.101.254" },
  { destination = "192.168.20.0/22", nexthop = "172.16.101.254" },
  { destination = "192.168.21.0/24", nexthop = "172.16.100.20" },
  { destination = "192.168.21.7/32", nexthop = "172.16.102.6" },
]

[[floating_ip]]
network = "ext"
address = "10.10.10.3"
fixed_ip = "172.16.101.3"

[[floating_ip]]
network = "ext"
address = "10.10.10.15"
fixed_ip = "172.16.101.5"

[[floating_ip]]
network = "ext"
address = "10.10.10.7"
fixed_ip = "172.16.100.11"

[[floating_ip]]
network = "ext"
address = "10.10.10.9"

[[floating_ip]]
network = "ext"
address = "10.10.10.8"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 2222
  fixed_ip = "172.16.101.4"
  port = 22
  [[floating_ip.port_forwarding]]
  protocol = "UDP"
  external_port = 5353
  fixed_ip = "172.16.101.4"
  port = 53
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 8000
  fixed_ip = "172.16.101.4"
  port = 80
  [[floating_ip.port_forwarding]]
  protocol = "UDP"
  external_port = 8000
  fixed_ip = "172.16.101.2"
  port = 53

[[pool]]
name = "web"
protocol = "TCP"
  [[pool.member]]
  name = "web1"
  address = "172.16.100.9"
  port = 80
  [[pool.member]]
  name = "web2"
  address = "172.16.100.10"
  port = 80

[[pool]]
name = "dns"
protocol = "UDP"
  [[pool.member]]
  name = "dns1"
  address = "172.16.100.9"
  port = 53
  [[pool.member]]
  name = "dns2"
  address = "172.16.100.10"
  port = 53

[[vip]]
name = "web"
network = "green"
address = "172.16.100.11"
protocol = "TCP"
port = 80
pool = "web"

[[vip]]
name = "dns"
network = "green"
address = "172.16.100.11"
protocol = "UDP"
port = 53
pool = "dns"
`

// networks is the topology's networks.
var networks = []string{"blue", "green", "small", "ext"}

// narrow is the MTU of networks whose MTU is not 1500.
const narrow = 1000

// mtu is a network's MTU.
func (p *Profile) mtu(network string) int {
	if network == "small" || network == p.Narrow {
		return narrow
	}
	return 1500
}

// stateOf is the topology of a profile. device, which may be nil, names the
// device of each network.
func stateOf(p *Profile, timeouts Timeouts, device func(network string) string) (*config.State, error) {
	snat := fmt.Sprint(!p.NoSNAT)
	if len(p.SNATAddresses) > 0 {
		snat += fmt.Sprintf(`, snat_addresses = ["%s"]`, strings.Join(p.SNATAddresses, `", "`))
	}
	text := strings.Replace(Topology, "SNAT", snat, 1)
	if p.NoDefault {
		const ext = "cidr = \"10.10.10.0/24\"\n"
		text = strings.Replace(text, ext, ext+"gateway = \"none\"\n", 1)
	}
	if p.Narrow != "" {
		name := fmt.Sprintf("name = %q\n", p.Narrow)
		text = strings.Replace(text, name, name+fmt.Sprintf("mtu = %d\n", narrow), 1)
	}
	if device != nil {
		for _, n := range networks {
			name := fmt.Sprintf("name = %q\n", n)
			text = strings.Replace(text, name, name+fmt.Sprintf("devices = [%q]\n", device(n)), 1)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n[nat]\n", text)
	set := func(key string, value any, given bool) {
		if given {
			fmt.Fprintf(&b, "%s = %#v\n", key, value)
		}
	}
	set("mapping", p.Mapping, p.Mapping != "")
	set("filtering", p.Filtering, p.Filtering != "")
	set("mss_clamp", p.MSSClamp, p.MSSClamp)
	set("max_connections", p.MaxConnections, p.MaxConnections != 0)
	set("host_share", p.HostShare, p.HostShare != 0)
	set("port_range", p.PortRange, p.PortRange != "")
	fmt.Fprintf(&b, "[nat.timeouts]\nudp = %q\nicmp = %q\ntcp_established = %q\ntcp_transitory = %q\n%s\n",
		timeouts.UDP, timeouts.ICMP, timeouts.TCPEstablished, timeouts.TCPTransitory, p.More)
	f, err := file.Read("the suite's topology", strings.NewReader(b.String()))
	if err != nil {
		return nil, err
	}
	return f.State(), nil
}
