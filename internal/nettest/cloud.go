package nettest

import (
	"fmt"
	"strings"
)

// Cloud is the topology that tests with hosts have in common: a tenant's network, the outside, and a
// router between them. A test adds what it is about behind it (FloatingIP, Balanced), and replaces
// lines where it differs.
//
//	172.16.100.9, .10 ── tenant ── .1 router 10.10.10.2 ── ext_net ── 10.10.10.4
const Cloud = `
[[network]]
name = "tenant"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"

[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "ext_net", address = "10.10.10.2" }
`

// CloudOn is Cloud with a device for each of the two networks.
func CloudOn(tenant, external string) string {
	return strings.NewReplacer(
		`name = "tenant"`, fmt.Sprintf("name = \"tenant\"\ndevices = [%q]", tenant),
		`name = "ext_net"`, fmt.Sprintf("name = \"ext_net\"\ndevices = [%q]", external),
	).Replace(Cloud)
}

// FloatingIP is a floating IP for a host or a VIP of the Cloud.
func FloatingIP(address, fixed string) string {
	return fmt.Sprintf("\n[[floating_ip]]\nnetwork = \"ext_net\"\naddress = %q\nfixed_ip = %q\n", address, fixed)
}

// A Member is one of a pool: "name", "address" and port.
type Member struct {
	Name, Address string
	Port          int
}

// Balanced is a pool and its VIP, 172.16.100.11 of the Cloud's tenant, both of one name. The settings
// are further lines of the pool.
func Balanced(name, protocol string, port int, settings string, members ...Member) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n[[pool]]\nname = %q\nprotocol = %q\n%s\n", name, protocol, settings)
	for _, m := range members {
		fmt.Fprintf(&s, "  [[pool.member]]\n  name = %q\n  address = %q\n  port = %d\n", m.Name, m.Address, m.Port)
	}
	fmt.Fprintf(&s, "\n[[vip]]\nname = %q\nnetwork = \"tenant\"\naddress = \"172.16.100.11\"\n", name)
	fmt.Fprintf(&s, "protocol = %q\nport = %d\npool = %q\n", protocol, port, name)
	return s.String()
}
