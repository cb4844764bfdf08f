package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
)

// inside is two tenant networks, one with two subnets, and a router that has an interface in the first one only.
const inside = `
[[network]]
name = "vlan100"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "vlan101"
  [[network.subnet]]
  cidr = "172.16.101.0/24"
  [[network.subnet]]
  cidr = "172.16.111.0/24"
  [[network.subnet]]
  cidr = "172.16.112.0/24"
  gateway = "none"

[[network]]
name = "twin"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.1"
  allocation_pools = ["10.10.10.2-10.10.10.4"]

[[network]]
name = "ext2"
external = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"
  gateway = "203.0.113.1"

[[router]]
name = "r"
interfaces = ["vlan100"]

[[port]]
name = "taken"
network = "ext_net"
fixed_ip = "10.10.10.9"
`

func theRouter(t *testing.T, s *config.State) *config.Router {
	t.Helper()
	for r := range s.Routers() {
		if r.Name == "r" {
			return r
		}
	}
	t.Fatal("no router")
	return nil
}

// gateway is a router's gateway: the network, its address, and whether there is SNAT.
func gateway(t *testing.T, s *config.State) string {
	t.Helper()
	r := theRouter(t, s)
	p := s.GatewayPort(r.ID)
	if r.Gateway == nil {
		if p != nil {
			t.Errorf("no gateway, but port %v", p.FixedIPs)
		}
		return "none"
	}
	return fmt.Sprintf("%s %v %t", s.Network(r.Gateway.Network).Name, p.FixedIPs[0].Address, r.Gateway.SNAT)
}

func TestGateway(t *testing.T) {
	c, e := start(t, inside)
	on, off := true, false
	for _, k := range []struct {
		set  control.Gateway
		want string
	}{
		{control.Gateway{Network: "ext_net"}, "ext_net 10.10.10.2 true"},
		{control.Gateway{Network: "ext_net", SNAT: &off}, "ext_net 10.10.10.2 false"},
		{control.Gateway{Network: "ext_net"}, "ext_net 10.10.10.2 false"},
		{control.Gateway{Network: "ext_net", Address: addr("10.10.10.20")}, "ext_net 10.10.10.20 false"},
		{control.Gateway{Network: "ext_net", SNAT: &on}, "ext_net 10.10.10.20 true"},
		{control.Gateway{Network: "ext2"}, "ext2 203.0.113.2 true"},
		{control.Gateway{Network: "ext_net", Address: addr("10.10.10.4"), SNAT: &off}, "ext_net 10.10.10.4 false"},
		{control.Gateway{Network: "ext2"}, "ext2 203.0.113.2 false"},
	} {
		do(t, c.SetGateway("r", k.set))
		if got := gateway(t, e.state); got != k.want {
			t.Errorf("%+v: %s, want %s", k.set, got, k.want)
		}
	}
	for range 2 { // the second time there is nothing to clear
		do(t, c.ClearGateway("r"))
		if got := gateway(t, e.state); got != "none" {
			t.Error(got)
		}
	}
	id := string(theRouter(t, e.state).ID)
	do(t, c.SetGateway(id, control.Gateway{Network: "ext_net", Address: addr("10.10.10.3")}))
	if got := gateway(t, e.state); got != "ext_net 10.10.10.3 true" {
		t.Error(got)
	}
}

// On each network a router has a MAC address of its own, whether its address is chosen or asked for.
func TestGatewayMovesWithAnotherMAC(t *testing.T) {
	macOn := func(g ...control.Gateway) config.MAC {
		c, e := start(t, inside)
		for _, x := range g {
			do(t, c.SetGateway("r", x))
		}
		return e.state.GatewayPort(theRouter(t, e.state).ID).MAC
	}
	first, asked := control.Gateway{Network: "ext_net"}, control.Gateway{Network: "ext2", Address: addr("203.0.113.2")}
	want := macOn(control.Gateway{Network: "ext2"})
	if got := macOn(first, asked); got != want || got == macOn(first) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Without SNAT there are no addresses for it, and another network has others.
func TestGatewayAndSNATAddresses(t *testing.T) {
	text := inside + "[[router]]\nname = \"s\"\ninterfaces = [\"twin\"]\n" +
		"gateway = { network = \"ext_net\", address = \"10.10.10.2\"," +
		" snat_addresses = [\"10.10.10.30-10.10.10.31\"] }\n"
	shared := func(e *fake) (n int) {
		for r := range e.state.Routers() {
			if r.Name == "s" {
				n = len(r.Gateway.SNATAddresses)
			}
		}
		return n
	}
	off := false
	for _, k := range []struct {
		set  control.Gateway
		want int
	}{{control.Gateway{Network: "ext_net"}, 1}, {control.Gateway{Network: "ext_net", SNAT: &off}, 0},
		{control.Gateway{Network: "ext2"}, 0}} {
		c, e := start(t, text)
		do(t, c.SetGateway("s", k.set))
		if got := shared(e); got != k.want {
			t.Errorf("%+v: %d ranges", k.set, got)
		}
	}
}

// A floating IP needs its router's gateway, and the interface behind it.
func TestFloatingIPNeedsItsRouter(t *testing.T) {
	c, e := start(t, tutorial)
	before := e.state
	for _, err := range []error{c.ClearGateway("router_100_101"),
		c.RemoveInterface("router_100_101", "172.16.101.0/24"), // an address and a forwarded port
	} {
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "required by one or more floating IPs") {
			t.Errorf("%v", err)
		}
	}
	do(t, c.DeleteFloatingIP(addr("10.10.10.3")))
	if err := c.RemoveInterface("router_100_101", "172.16.101.0/24"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a forwarded port leads there: %v", err)
	}
	do(t, c.DeleteFloatingIP(addr("10.10.10.8")))
	do(t, c.RemoveInterface("router_100_101", "172.16.101.0/24"))
	if err := c.ClearGateway("router_100_101"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("10.10.10.7 is associated: %v", err)
	}
	do(t, c.UnsetFloatingIP(addr("10.10.10.7")))
	do(t, c.ClearGateway("router_100_101"))
	if before == e.state {
		t.Error("nothing has changed")
	}
}

// subnets lists the router's addresses inside.
func subnets(t *testing.T, s *config.State) string {
	t.Helper()
	var list []string
	for p := range s.InterfacesOf(theRouter(t, s).ID) {
		for _, f := range p.FixedIPs {
			list = append(list, f.Address.String())
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestInterfaces(t *testing.T) {
	c, e := start(t, inside)
	for _, k := range []struct {
		do   func(router, subnet string) error
		name string
		want string
	}{
		{c.AddInterface, "172.16.101.0/24", "172.16.100.1 172.16.101.1"},
		{c.AddInterface, "172.16.111.0/24", "172.16.100.1 172.16.101.1 172.16.111.1"},
		{c.RemoveInterface, "172.16.101.0/24", "172.16.100.1 172.16.111.1"},
		{c.AddInterface, "172.16.101.0/24", "172.16.100.1 172.16.101.1 172.16.111.1"},
		{c.RemoveInterface, string(subnetID(t, e.state, "vlan100")), "172.16.101.1 172.16.111.1"},
		{c.AddInterface, string(subnetID(t, e.state, "twin")), "172.16.100.1 172.16.101.1 172.16.111.1"},
	} {
		do(t, k.do("r", k.name))
		if got := subnets(t, e.state); got != k.want {
			t.Errorf("after %s: %s, want %s", k.name, got, k.want)
		}
	}
}

// subnetID is the ID of a network's first subnet.
func subnetID(t *testing.T, s *config.State, network string) config.ID {
	t.Helper()
	for n := range s.Networks() {
		for sub := range s.SubnetsOf(n.ID) {
			if n.Name == network {
				return sub.ID
			}
		}
	}
	t.Fatal(network)
	return ""
}

// A port with several addresses loses the one of the subnet only.
func TestRemoveOneOfTwoAddresses(t *testing.T) {
	c, e := start(t, inside)
	_, err := c.Edit(t.Context(), func(d *config.Draft) error {
		s := subnetID(t, e.state, "vlan101")
		d.Put(&config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, "both")}, AdminStateUp: true,
			Network: d.Subnet(s).Network, DeviceID: string(theRouter(t, e.state).ID),
			DeviceOwner: config.OwnerInterface,
			FixedIPs:    []config.FixedIP{{Address: addr("172.16.101.1")}, {Address: addr("172.16.111.1")}}})
		return nil
	})
	do(t, err)
	do(t, c.RemoveInterface("r", "172.16.101.0/24"))
	if got := subnets(t, e.state); got != "172.16.100.1 172.16.111.1" {
		t.Error(got)
	}
	do(t, c.RemoveInterface("r", "172.16.111.0/24"))
	if got := subnets(t, e.state); got != "172.16.100.1" {
		t.Error(got)
	}
}

func TestRoutes(t *testing.T) {
	c, e := start(t, inside)
	routes := func() string {
		var list []string
		for _, r := range theRouter(t, e.state).Routes {
			list = append(list, fmt.Sprintf("%v via %v", r.Destination, r.NextHop))
		}
		return strings.Join(list, ", ")
	}
	far, next := netip.MustParsePrefix("10.99.0.0/16"), addr("172.16.100.9")
	for range 2 {
		do(t, c.AddRoute("r", far, next))
		if got := routes(); got != "10.99.0.0/16 via 172.16.100.9" {
			t.Error(got)
		}
	}
	do(t, c.AddRoute("r", netip.MustParsePrefix("10.98.0.0/16"), next))
	if err := c.RemoveInterface("r", string(subnetID(t, e.state, "vlan100"))); !errors.Is(err, fs.ErrExist) ||
		!strings.Contains(err.Error(), "required by one or more routes") {
		t.Errorf("routes lead there: %v", err)
	}
	for range 2 {
		do(t, c.RemoveRoute("r", far, next))
		if got := routes(); got != "10.98.0.0/16 via 172.16.100.9" {
			t.Error(got)
		}
	}
	do(t, c.RemoveRoute("r", netip.MustParsePrefix("10.98.0.0/16"), addr("172.16.100.8"))) // another next hop
	if got := routes(); got != "10.98.0.0/16 via 172.16.100.9" {
		t.Error(got)
	}
}

func TestRouterErrors(t *testing.T) {
	c, e := start(t, inside)
	before := e.state
	first, twin := string(subnetID(t, before, "vlan100")), string(subnetID(t, before, "twin"))
	at := func(network, a string) error {
		return c.SetGateway("r", control.Gateway{Network: network, Address: addr(a)})
	}
	route := func(router, to, via string) error {
		return c.AddRoute(router, netip.MustParsePrefix(to), addr(via))
	}
	for name, k := range map[string]struct {
		got, want error
		text      string
	}{
		"gateway, no router": {c.SetGateway("x", control.Gateway{Network: "ext_net"}), fs.ErrNotExist,
			`no such router "x"`},
		"gateway, no network":      {at("x", ""), fs.ErrNotExist, `no such network "x"`},
		"gateway, not external":    {at("vlan101", ""), fs.ErrInvalid, "network vlan101 is not an external network"},
		"gateway, outside":         {at("ext_net", "10.10.11.5"), fs.ErrInvalid, "outside"},
		"gateway, taken":           {at("ext_net", "10.10.10.9"), fs.ErrExist, "already"},
		"gateway, upstream":        {at("ext_net", "10.10.10.1"), fs.ErrExist, "is the subnet's own gateway"},
		"clear, no router":         {c.ClearGateway("x"), fs.ErrNotExist, `no such router "x"`},
		"add, no router":           {c.AddInterface("x", "172.16.101.0/24"), fs.ErrNotExist, `no such router "x"`},
		"add, no subnet":           {c.AddInterface("r", "x"), fs.ErrNotExist, `no such subnet "x"`},
		"add, no such CIDR":        {c.AddInterface("r", "10.0.0.0/8"), fs.ErrNotExist, "no such subnet 10.0.0.0/8"},
		"add, two of them":         {c.AddInterface("r", "172.16.100.0/24"), fs.ErrNotExist, "vlan100 and twin"},
		"add, no gateway":          {c.AddInterface("r", "172.16.112.0/24"), fs.ErrInvalid, "must have a gateway IP"},
		"add, external":            {c.AddInterface("r", "10.10.10.0/24"), fs.ErrInvalid, "is external"},
		"add, again":               {c.AddInterface("r", first), fs.ErrExist, "already has a port"},
		"add, overlap":             {c.AddInterface("r", twin), fs.ErrInvalid, "overlaps"},
		"remove, no router":        {c.RemoveInterface("x", "172.16.101.0/24"), fs.ErrNotExist, `no such router "x"`},
		"remove, not there":        {c.RemoveInterface("r", "172.16.101.0/24"), fs.ErrNotExist, "r has no interface"},
		"add route, no router":     {route("x", "10.99.0.0/16", "172.16.100.9"), fs.ErrNotExist, `no such router "x"`},
		"add route, not connected": {route("r", "10.99.0.0/16", "172.16.101.9"), fs.ErrInvalid, "172.16.101.9"},
		"remove route, no router": {c.RemoveRoute("x", netip.MustParsePrefix("10.0.0.0/8"), addr("10.0.0.1")),
			fs.ErrNotExist, `no such router "x"`},
	} {
		for _, sentinel := range []error{fs.ErrInvalid, fs.ErrNotExist, fs.ErrExist} {
			if errors.Is(k.got, sentinel) != (sentinel == k.want) {
				t.Errorf("%s: %v", name, k.got)
				break
			}
		}
		if text := fmt.Sprint(k.got); !strings.HasPrefix(text, "control: ") || !strings.Contains(text, k.text) {
			t.Errorf("%s: %v", name, k.got)
		}
	}
	if e.state != before || e.prepared != 0 {
		t.Error("something has changed")
	}
	e.closed = true
	for _, err := range []error{at("ext_net", ""), c.AddInterface("r", "172.16.101.0/24"),
		c.RemoveInterface("r", first), route("r", "10.99.0.0/16", "172.16.100.9")} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// The pool's last address goes to the router; then no address is free.
func TestGatewayExhausted(t *testing.T) {
	c, _ := start(t, inside)
	for range 3 {
		_, err := c.CreateFloatingIP("ext_net", netip.Addr{})
		do(t, err)
	}
	if err := c.SetGateway("r", control.Gateway{Network: "ext_net"}); !errors.Is(err, fs.ErrExist) ||
		!strings.Contains(err.Error(), "no free address") {
		t.Errorf("%v", err)
	}
}
