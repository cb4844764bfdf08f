package router_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// A topology made in Go: a tenant network behind an external one, and a
// floating IP for a web server. No device, no root.
func Example() {
	topo := &file.Topology{
		Networks: []file.Network{
			{Name: "tenant", Subnets: []file.Subnet{{CIDR: netip.MustParsePrefix("172.16.101.0/24")}}},
			{Name: "outside", External: true, Subnets: []file.Subnet{{CIDR: netip.MustParsePrefix("10.10.10.0/24")}}},
		},
		Routers: []file.Router{{
			Name:       "router",
			Interfaces: []file.RouterInterface{{Network: "tenant"}},
			Gateway:    &file.RouterGateway{Network: "outside", Address: netip.MustParseAddr("10.10.10.2"), SNAT: true},
		}},
		FloatingIPs: []file.FloatingIP{{
			Network: "outside", Address: netip.MustParseAddr("10.10.10.3"),
			FixedIP: netip.MustParseAddr("172.16.101.3"),
		}},
	}
	if err := topo.Validate(); err != nil {
		log.Fatal(err)
	}
	state, err := topo.State()
	if err != nil {
		log.Fatal(err)
	}
	engine, err := router.Start(state, router.Options{})
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

// A floating IP moves while a client is connected through it: the connection is reset,
// and the next one is the other server's. A Draft says what is to be; package control has methods for what people often
// do.
func ExampleEngine_Apply() {
	f, err := file.Read("cloud.toml", strings.NewReader(`
[[network]]
name = "tenant"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "outside"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "outside", address = "10.10.10.2" }
`))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := router.Start(f.State(), router.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	for _, address := range []string{"172.16.101.3/24", "172.16.101.4/24"} {
		p := netip.MustParsePrefix(address)
		h := newHost(engine, "tenant", host.Config{Name: p.Addr().String(), Address: p,
			Gateway: netip.MustParseAddr("172.16.101.1")})
		defer h.Close()
		if err := errors.Join(h.ServeName(80), h.ServeEcho(7)); err != nil {
			log.Fatal(err)
		}
	}
	client := newHost(engine, "outside", host.Config{Name: "client", Address: netip.MustParsePrefix("10.10.10.4/24")})
	defer client.Close()

	floating := netip.MustParseAddr("10.10.10.3")
	associate := func(fixed string) {
		draft := engine.State().Edit()
		network := slices.Collect(draft.Networks())[1].ID
		id := config.NameID(config.KindFloatingIP, "the one that moves")
		draft.Put(&config.FloatingIP{
			Meta: config.Meta{ID: id}, Network: network, Address: floating, FixedIP: netip.MustParseAddr(fixed),
		})
		state, faults := draft.Check()
		if err := faults.Err(); err != nil {
			log.Fatal(err)
		}
		if _, err := engine.Apply(context.Background(), state); err != nil {
			log.Fatal(err)
		}
	}
	associate("172.16.101.3")
	conn, err := client.Dial("tcp", "10.10.10.3:7")
	if err != nil {
		log.Fatal(err)
	}
	associate("172.16.101.4")
	_, err = conn.Read(make([]byte, 1))
	fmt.Println("reset:", errors.Is(err, syscall.ECONNRESET))
	res, err := client.HTTPClient().Get("http://10.10.10.3/")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	page, _ := io.ReadAll(res.Body)
	name, _, _ := strings.Cut(string(page), "\n")
	fmt.Println("answers:", name)
	// Output:
	// reset: true
	// answers: 172.16.101.4
}

// A capture of every network, with what became of each frame as its comment. Wireshark reads it.
func ExampleEngine_Capture() {
	f, err := file.Read("cloud.toml", strings.NewReader(`
[[network]]
name = "tenant"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "outside"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "outside", address = "10.10.10.2" }
`))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := router.Start(f.State(), router.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out, err := os.Create(filepath.Join(dir, "cloud.pcapng"))
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	buffered := bufio.NewWriter(out)
	w, err := tap.NewCaptureWriter(buffered, 0)
	if err != nil {
		log.Fatal(err)
	}
	stop, err := engine.Capture(w)
	if err != nil {
		log.Fatal(err)
	}

	// The same for a program: what is dropped on its way in from outside.
	verdicts := make(chan router.Verdict, 10)
	if _, err := engine.Observe("outside", func(o router.Observation) {
		if _, _, dropped := o.Verdict.Dropped(); dropped {
			verdicts <- o.Verdict
		}
	}); err != nil {
		log.Fatal(err)
	}
	client := newHost(engine, "outside", host.Config{Name: "client",
		Address: netip.MustParsePrefix("10.10.10.4/24"), Gateway: netip.MustParseAddr("10.10.10.2")})
	defer client.Close()
	conn, err := client.Dial("udp", "172.16.101.3:53") // an internal address, without a floating IP
	if err != nil {
		log.Fatal(err)
	}
	if _, err := conn.Write([]byte("who is there?")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-verdicts)

	stop()
	if err := errors.Join(w.Err(), buffered.Flush()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// dropped at route: policy
}

// What a file asks for and the engine cannot do yet is refused, never ignored.
func ExampleUnsupported() {
	f, err := file.Read("blue.toml", strings.NewReader(`
[[network]]
name = "blue"
devices = ["unix:/run/vm.sock"]
`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(router.Unsupported(f.State()))
	// Output:
	// blue.toml:2: device unix:/run/vm.sock: unix is not supported yet
}
