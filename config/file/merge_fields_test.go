package file_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// least has a table of every kind with only the keys that it needs.
const least = `
[[physical_network]]
name = "lab"
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "10.10.10.0/24"
[[router]]
name = "r"
interfaces = ["blue"]
[[network]]
name = "spare"
[[network]]
name = "green"
[[network.subnet]]
cidr = "10.2.0.0/24"
[[router]]
name = "other"
interfaces = ["green"]
gateway = { network = "ext" }
[[address_group]]
name = "offices"
[[security_group]]
name = "web"
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
[[floating_ip]]
network = "ext"
address = "10.10.10.5"
[[floating_ip]]
network = "ext"
address = "10.10.10.6"
port_forwarding = [{ protocol = "TCP", external_port = 22, fixed_ip = "10.2.0.5", port = 22 }]
[[pool]]
name = "p"
protocol = "TCP"
monitor = { type = "HTTP" }
member = [{ address = "10.1.0.9", port = 80 }]
[[loadbalancer]]
name = "lb"
network = "blue"
address = "10.1.0.7"
[[vip]]
name = "v"
loadbalancer = "lb"
protocol = "TCP"
port = 80
[quota]
port = 9
`

// What programs set and the file does not state stays when the file is applied again: every field of every kind.
func TestProgramsFieldsStay(t *testing.T) {
	f := read(t, least)
	changed := map[string]bool{}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := f.State()
		for o := range s.All() {
			c := reflect.New(reflect.TypeOf(o).Elem())
			c.Elem().Set(reflect.ValueOf(o).Elem())
			x := c.Interface().(config.Object)
			adorn(rng, s, x)
			byProgram(rng, s, x)
			for _, field := range []string{"name", "type"} { // which the file states
				if _, ok := f.Source(o.Ref(), field); ok {
					name := strings.ToUpper(field[:1]) + field[1:]
					if v := c.Elem().FieldByName(name); v.IsValid() {
						v.Set(reflect.ValueOf(o).Elem().FieldByName(name))
					}
				}
			}
			if k := o.Ref().Kind; k == config.KindSettings || k == config.KindSecurityGroupRule {
				continue // no API changes these
			}
			d := s.Edit()
			d.Put(x)
			next, _ := d.Check()
			if next == nil {
				continue
			}
			s = next
			after, _ := s.Get(x.Ref())
			was, is := values(o), values(after)
			for path := range is {
				changed[path] = changed[path] || was[path] != is[path]
			}
		}
		d := s.Edit()
		notices, err := f.Edit(d, file.Over{Previous: f})
		if err != nil || len(notices) > 0 {
			t.Fatal(err, notices)
		}
		next, faults := d.Check()
		if next == nil {
			t.Fatal(faults)
		}
		for _, l := range config.Describe(s, next, config.Diff(s, next)) {
			t.Errorf("seed %d: the same file again: %v", seed, &l)
		}
		if t.Failed() {
			return
		}
	}
	for o := range f.State().All() {
		if o.Ref().Kind == config.KindSettings || o.Ref().Kind == config.KindSecurityGroupRule {
			continue
		}
		typeLeaves(reflect.TypeOf(o).Elem(), o.Ref().Kind.String(), func(path string, _ reflect.Type) {
			_, kept := notExported[path]
			if _, any := notExported[anyKind(path)]; !kept && !any && stated[path] == "" &&
				stated[anyKind(path)] == "" &&
				!changed[path] && !strings.HasPrefix(path, "router.NAT.") {
				t.Errorf("%s was never changed beside the file: does merge keep it?", path)
			}
		})
	}
}

// values are an object's fields as texts.
func values(o config.Object) map[string]string {
	list := map[string]string{}
	eachLeaf(o, func(path string, v reflect.Value) { list[path] += fmt.Sprintf(" %#v", v.Interface()) })
	return list
}

// stated are the fields that every file states, or that no API changes, with the reasons.
var stated = map[string]string{
	"*.ID":                         "it is the object's identity",
	"physical network.Name":        "required",
	"network.Name":                 "required",
	"router.Name":                  "required",
	"address group.Name":           "required",
	"security group.Name":          "required",
	"pool.Name":                    "required",
	"load balancer.Name":           "required",
	"listener.Name":                "required",
	"port.Name":                    "required",
	"subnet.Network":               "by its place",
	"subnet.CIDR":                  "required",
	"port.Network":                 "required",
	"floating IP.Network":          "required",
	"floating IP.Address":          "it never changes",
	"floating IP.Router":           "it follows from the fixed IP",
	"port forwarding.FloatingIP":   "by its place",
	"port forwarding.Protocol":     "required",
	"port forwarding.ExternalPort": "required",
	"port forwarding.FixedIP":      "required",
	"port forwarding.Port":         "required",
	"pool.Protocol":                "required",
	"monitor.Pool":                 "by its place",
	"monitor.Type":                 "required",
	"member.Pool":                  "by its place",
	"member.Address":               "required",
	"member.Port":                  "required",
	"load balancer.Network":        "required",
	"load balancer.Address":        "it never changes",
	"load balancer.Port":           "no API changes it",
	"load balancer.Router":         "it follows from the address",
	"listener.LoadBalancer":        "required",
	"listener.Protocol":            "required",
	"listener.Port":                "required",
}

// byProgram changes what adorn leaves: attributes that depend on other objects.
func byProgram(rng *rand.Rand, s *config.State, x config.Object) {
	group := []config.ID{config.NameID(config.KindSecurityGroup, "web")}
	ext := config.NameID(config.KindNetwork, "ext")
	switch x := x.(type) {
	case *config.PhysicalNetwork:
		x.Devices = []config.Device{{Kind: config.DeviceTAP, Name: "t0", Netns: "ns"},
			{Kind: config.DeviceUnix, Path: "/u"}}
	case *config.Network:
		x.MTU, x.VLAN, x.Host, x.GRO, x.PortSecurity = 1400, 7, config.HostOpen, config.GROOff, true
		if x.Devices = []config.Device{{Kind: config.DeviceTAP, Name: "t" + string(x.ID[:8]), Netns: "ns"},
			{Kind: config.DeviceUnix, Path: "/" + string(x.ID)}}; x.External {
			x.Devices, x.PhysicalNetwork = nil, config.NameID(config.KindPhysicalNetwork, "lab")
		}
		x.External = x.External || rng.IntN(2) == 0
	case *config.Subnet:
		x.DHCP = rng.IntN(2) == 0
		a := x.CIDR.Addr().Next().Next().Next()
		if x.AllocationPools = []config.AddressRange{{First: a, Last: a}}; x.Extra.NoPools {
			x.AllocationPools = nil
		}
		if rng.IntN(2) == 0 {
			x.Gateway = netip.Addr{}
		}
	case *config.Router:
		a := netip.MustParseAddr("10.10.10.30")
		x.Gateway = &config.Gateway{Network: ext, SNAT: true, SNATAddresses: []config.AddressRange{{First: a, Last: a}}}
		if rng.IntN(2) == 0 {
			x.Gateway.SNAT, x.Gateway.SNATAddresses = false, nil
		}
		x.RPFilter, x.NAT = "loose", s.Router(x.ID).NAT // which no API sets
		x.Routes = []config.Route{{Destination: netip.MustParsePrefix("172.22.0.0/16"),
			NextHop: netip.MustParseAddr("10.1.0.77")}}
	case *config.SecurityGroup:
		x.Stateful = rng.IntN(2) == 0
	case *config.Port:
		if x.DeviceOwner == "" || x.DeviceOwner == config.OwnerCompute {
			x.MAC = config.MAC{2, 0, 0, 0, 0, 7}
			x.FixedIPs = append(x.FixedIPs[:1:1], config.FixedIP{Address: netip.MustParseAddr("10.1.0.66")})
			x.PortSecurity, x.SecurityGroups = nil, group
			if ds := s.DevicesOf(x.Network); len(ds) > 0 {
				x.Device = ds[0].String()
			}
		}
	case *config.FloatingIP:
		if x.Address == netip.MustParseAddr("10.10.10.5") {
			x.FixedIP = netip.MustParseAddr("10.1.0.55")
		}
	case *config.Pool:
		x.Algorithm = "SOURCE_IP"
	case *config.Monitor:
		x.InitialState, x.HTTPVersion, x.DomainName = "up", "1.1", "www.example.com"
	case *config.LoadBalancer:
		x.SecurityGroups = group
	case *config.Listener:
		x.Pool = config.NameID(config.KindPool, "p")
	}
}
