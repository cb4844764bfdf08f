package file_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

func readFile(t *testing.T, text string) *file.File {
	t.Helper()
	f, err := file.Read("f", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// editIn puts a file over a State.
func editIn(t *testing.T, s *config.State, f *file.File, over file.Over) (*config.State, string) {
	t.Helper()
	d := s.Edit()
	notices, err := f.Edit(d, over)
	if err != nil {
		t.Fatal(err)
	}
	next, faults := d.Check()
	if next == nil {
		t.Fatal(faults)
	}
	return next, fmt.Sprint(notices)
}

func byAPI(t *testing.T, s *config.State, f func(*config.Draft)) *config.State {
	t.Helper()
	d := s.Edit()
	f(d)
	next, faults := d.Check()
	if next == nil {
		t.Fatal(faults)
	}
	return next
}

const (
	unrouted = `
[[network]]
name = "ext"
external = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"
[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.1.0.0/24"
[[router]]
name = "r"
interfaces = ["blue"]
`
	withGateway = unrouted + "gateway = { network = \"ext\" }\n"
	withAddress = unrouted + "gateway = { network = \"ext\", address = \"203.0.113.77\" }\n"
)

// A gateway that the API has set stays beside a file without one, and becomes the file's with its address and MAC when
// the file has one. It goes when the file does not have it any more.
func TestGatewayIsTakenOver(t *testing.T) {
	plain := readFile(t, unrouted)
	id, ext := config.NameID(config.KindRouter, "r"), config.NameID(config.KindNetwork, "ext")
	set := byAPI(t, plain.State(), func(d *config.Draft) {
		r := *d.Router(id)
		r.Gateway = &config.Gateway{Network: ext}
		d.Put(&r, &config.Port{Meta: config.Meta{ID: config.NewID([16]byte{7})}, Network: ext, AdminStateUp: true,
			DeviceID: string(id), DeviceOwner: config.OwnerGateway,
			FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr("203.0.113.9")}}})
	})
	kept, _ := editIn(t, set, plain, file.Over{Previous: plain})
	if len(config.Diff(set, kept)) > 0 {
		t.Errorf("a file without a gateway changes %+v", config.Diff(set, kept))
	}
	taken, told := editIn(t, set, readFile(t, withGateway), file.Over{Previous: plain})
	p, was := taken.GatewayPort(id), set.GatewayPort(id)
	if p.ID == was.ID || p.FixedIPs[0] != was.FixedIPs[0] || p.MAC != was.MAC || taken.Router(id).Gateway.SNAT ||
		!strings.Contains(told, "is the file's from now on") || taken.Port(was.ID) != nil {
		t.Errorf("%+v, told %s", p, told)
	}
	other, told := editIn(t, set, readFile(t, withAddress), file.Over{Previous: plain})
	if a := other.GatewayPort(id).FixedIPs[0].Address; a.String() != "203.0.113.77" ||
		!strings.Contains(told, "203.0.113.9") {
		t.Errorf("%v, told %s", a, told)
	}
	gone, _ := editIn(t, other, plain, file.Over{Previous: readFile(t, withAddress)})
	if gone.Router(id).Gateway != nil || gone.GatewayPort(id) != nil {
		t.Error("a gateway is left that the file does not have any more")
	}
}

// Defaults that follow from other keys go with them, unless a program has set the value.
func TestDefaultsFollow(t *testing.T) {
	before, after := readFile(t, blue), readFile(t, strings.Replace(blue, "10.1.0.0/24", "10.1.0.0/25", 1)+
		"id = \""+string(config.NameID(config.KindSubnet, string(config.NameID(config.KindNetwork, "blue")),
		"10.1.0.0/24"))+"\"\n")
	s, _ := editIn(t, before.State(), after, file.Over{Previous: before})
	for u := range s.Subnets() {
		if u.CIDR.Bits() != 25 || len(u.AllocationPools) != 1 || u.AllocationPools[0].Last.String() != "10.1.0.126" {
			t.Errorf("%+v", u)
		}
	}
	pools := []config.AddressRange{{First: netip.MustParseAddr("10.1.0.20"), Last: netip.MustParseAddr("10.1.0.30")}}
	s = byAPI(t, before.State(), func(d *config.Draft) {
		for u := range d.Subnets() {
			c := *u
			c.AllocationPools = pools
			d.Put(&c)
		}
	})
	s, _ = editIn(t, s, after, file.Over{Previous: before})
	for u := range s.Subnets() {
		if len(u.AllocationPools) != 1 || u.AllocationPools[0] != pools[0] {
			t.Errorf("the API's: %+v", u)
		}
	}
}

// A route of the file goes before a program's to the same destination, which the notices name.
func TestRouteIsTakenOver(t *testing.T) {
	plain := readFile(t, unrouted)
	id := config.NameID(config.KindRouter, "r")
	route := func(destination, hop string) config.Route {
		return config.Route{Destination: netip.MustParsePrefix(destination), NextHop: netip.MustParseAddr(hop)}
	}
	set := byAPI(t, plain.State(), func(d *config.Draft) {
		r := *d.Router(id)
		r.Routes = []config.Route{route("10.8.0.0/16", "10.1.0.8"), route("10.9.0.0/16", "10.1.0.8")}
		d.Put(&r)
	})
	f := readFile(t, unrouted+"routes = [{ destination = \"10.9.0.0/16\", nexthop = \"10.1.0.9\" }]\n")
	s, told := editIn(t, set, f, file.Over{Previous: plain})
	r := s.Router(id).Routes
	if len(r) != 2 || r[0].NextHop.String() != "10.1.0.8" || r[1].NextHop.String() != "10.1.0.9" ||
		!strings.Contains(told, "10.9.0.0/16 via 10.1.0.8") || strings.Contains(told, "10.8.") {
		t.Errorf("%+v, told %s", r, told)
	}
}

// Source and Entries say what a file states, and where.
func TestStates(t *testing.T) {
	f := readFile(t, unrouted+`routes = [
  { destination = "10.9.0.0/16", nexthop = "10.1.0.9" },
]
[[floating_ip]]
network = "ext"
`)
	router := config.Ref{Kind: config.KindRouter, ID: config.NameID(config.KindRouter, "r")}
	list := f.Entries(router, "routes")
	if len(list) != 1 || list[0].Text != "10.9.0.0/16 via 10.1.0.9" || list[0].Source.Line != 15 {
		t.Errorf("%+v", list)
	}
	if list := f.Entries(router, "tags"); list != nil {
		t.Errorf("%+v", list)
	}
	stated := func(o config.Object, field string) int {
		at, ok := f.Source(o.Ref(), field)
		if ok != (at.Line > 0) {
			t.Errorf("%v %s: %v, %v", o.Ref(), field, at, ok)
		}
		return at.Line
	}
	s := f.State()
	for p := range s.InterfacesOf(router.ID) {
		if stated(p, "fixed_ips") != 13 || stated(p, "device_owner") != 13 || stated(p, "description") != 0 {
			t.Errorf("an interface: %d %d", stated(p, "fixed_ips"), stated(p, "device_owner"))
		}
	}
	for p := range s.FloatingIPs() {
		if stated(p, "network") != 18 || stated(p, "fixed_ip") != 0 || stated(p, "") != 17 {
			t.Errorf("a floating IP: %d %d", stated(p, "network"), stated(p, "fixed_ip"))
		}
	}
	if stated(s.Router(router.ID), "gateway") != 0 || stated(s.Router(router.ID), "name") != 12 {
		t.Error("a router")
	}
}

// Tables with an id may share a name, but no other table may refer to them by it.
func TestSharedNames(t *testing.T) {
	two := "[[network]]\nname = \"n\"\n" + one + "\n[[network]]\nname = \"n\"\n" + two + "\n[[network]]\n" +
		"id = \"00000000-0000-4000-8000-000000000003\"\n"
	f := readFile(t, two+"[[router]]\nname = \"r\"\n")
	if n := f.State().Count(config.KindNetwork); n != 3 {
		t.Errorf("%d networks", n)
	}
	_, err := file.Read("f", strings.NewReader(two+"[[port]]\nname = \"p\"\nnetwork = \"n\"\nfixed_ips = []\n"))
	if err == nil || !strings.Contains(err.Error(), "several tables [[network]] are called \"n\"") {
		t.Errorf("by name: %v", err)
	}
	f = readFile(t, two+"[[port]]\nname = \"p\"\nnetwork = \"00000000-0000-4000-8000-000000000002\"\nfixed_ips = []\n")
	for p := range f.State().Ports() {
		if p.Network != "00000000-0000-4000-8000-000000000002" || len(p.FixedIPs) != 0 {
			t.Errorf("%+v", p)
		}
	}
}
