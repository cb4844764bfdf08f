package router_test

import (
	"fmt"
	"io"
	"log"
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
)

// A topology made in Go: a tenant network behind an external one, and a
// floating IP for a web server. No device, no root.
func Example() {
	topo := &config.Topology{
		Networks: []config.Network{
			{Name: "tenant", Subnets: []config.Subnet{{CIDR: netip.MustParsePrefix("172.16.101.0/24")}}},
			{Name: "outside", External: true, Subnets: []config.Subnet{{CIDR: netip.MustParsePrefix("10.10.10.0/24")}}},
		},
		Routers: []config.Router{{
			Name:       "router",
			Interfaces: []config.RouterInterface{{Network: "tenant"}},
			Gateway:    &config.RouterGateway{Network: "outside", Address: netip.MustParseAddr("10.10.10.2"), SNAT: true},
		}},
		FloatingIPs: []config.FloatingIP{{
			Network: "outside", Address: netip.MustParseAddr("10.10.10.3"), FixedIP: netip.MustParseAddr("172.16.101.3"),
		}},
	}
	if err := topo.Validate(); err != nil {
		log.Fatal(err)
	}
	engine, err := router.Start(topo, router.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	web := newHost(engine, "tenant", host.Config{
		Name: "web", Address: netip.MustParsePrefix("172.16.101.3/24"), Gateway: netip.MustParseAddr("172.16.101.1")})
	defer web.Close()
	if err := web.ServeName(80); err != nil {
		log.Fatal(err)
	}
	client := newHost(engine, "outside", host.Config{Name: "client", Address: netip.MustParsePrefix("10.10.10.4/24")})
	defer client.Close()

	res, err := client.HTTPClient().Get("http://10.10.10.3/")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	page, _ := io.ReadAll(res.Body)
	name, seen, _ := strings.Cut(string(page), "\n")
	fmt.Println(name)
	fmt.Println(seen[:strings.LastIndex(seen, ":")])
	// Output:
	// web
	// client 10.10.10.4
}

// newHost puts a host on a network.
func newHost(e *router.Engine, network string, c host.Config) *host.Host {
	dev, err := e.Attach(network, 0)
	if err != nil {
		log.Fatal(err)
	}
	h, err := host.New(dev, c)
	if err != nil {
		log.Fatal(err)
	}
	return h
}

// What a file asks for and the engine cannot do yet is refused, never ignored.
func ExampleUnsupported() {
	topo, err := config.Parse("blue.toml", strings.NewReader(`
[[network]]
name = "blue"

  [[network.subnet]]
  cidr = "192.0.2.0/24"
  dhcp = true
`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(router.Unsupported(topo))
	// Output:
	// blue.toml:5: subnet 192.0.2.0/24: dhcp is not supported yet
}
