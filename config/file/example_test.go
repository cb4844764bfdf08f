package file_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/config/file"
)

// A topology file becomes plain data, with the defaults filled in.
func ExampleParse() {
	topology, err := file.Parse("lab.toml", strings.NewReader(`
[[network]]
name    = "blue"
devices = ["tap:blue0"]
  [[network.subnet]]
  cidr = "10.1.0.0/24"

[[network]]
name     = "ext"
external = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"

[[router]]
name       = "r1"
interfaces = ["blue"]
gateway    = { network = "ext" }

[[floating_ip]]
network  = "ext"
fixed_ip = "10.1.0.3"
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := topology.Routers[0]
	fmt.Println(r.Name, r.Interfaces[0].Addresses[0], r.Gateway.Prefix, "via", r.Gateway.NextHop)
	f := topology.FloatingIPs[0]
	fmt.Println(f.Address, "is", f.FixedIP, "of", f.Router)
	// Output:
	// r1 10.1.0.1/24 203.0.113.2/24 via 203.0.113.1
	// 203.0.113.3 is 10.1.0.3 of r1
}

// All faults come at once, each with its line.
func ExampleParse_faults() {
	_, err := file.Parse("lab.toml", strings.NewReader(`
[[network]]
name = "blue"
mtu  = "large"
  [[network.subnet]]
  cidr   = "10.1.0.0/24"
  gatway = "10.1.0.254"

[[router]]
name       = "r1"
interfaces = ["bleu"]
`))
	fmt.Println(err)

	var faults file.Faults
	if errors.As(err, &faults) {
		fmt.Println(len(faults), "faults, the first at", faults[0].Path)
	}
	// Output:
	// lab.toml:4: network "blue": mtu must be an integer, not "large"
	// lab.toml:7: subnet "blue": unknown key "gatway"; did you mean "gateway"?
	// lab.toml:11: router "r1": interface "bleu": unknown network "bleu"; did you mean "blue"?
	// 3 faults, the first at network[0].mtu
}

// A harness may do without a file.
func ExampleTopology_Validate() {
	topology := &file.Topology{
		Networks: []file.Network{{
			Name:    "blue",
			Subnets: []file.Subnet{{CIDR: netip.MustParsePrefix("10.1.0.0/24")}},
		}},
		Instances: []file.Instance{{Name: "vm1", Network: "blue"}},
	}
	if err := topology.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	vm := topology.Instances[0]
	fmt.Println(vm.Name, vm.Prefix, "via", vm.Gateway)
	// Output:
	// vm1 10.1.0.2/24 via 10.1.0.1
}
