package control_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
)

func TestAssociate(t *testing.T) {
	c, e := start(t, tutorial)
	for range 2 { // the second time changes nothing
		do(t, c.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4"))) // it was not created before
		do(t, c.AssociateFloatingIP(addr("10.10.10.9"), addr("172.16.100.9"))) // reserved
		do(t, c.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.5"))) // moves
		for a, want := range map[string]string{"10.10.10.5": "172.16.101.4", "10.10.10.9": "172.16.100.9",
			"10.10.10.3": "172.16.101.5"} {
			if got := floating(t, c, a); got != want+" by router_100_101" {
				t.Errorf("%s is %s", a, got)
			}
		}
	}
	if e.state.Version() != parse(t, tutorial).Version()+3 {
		t.Errorf("version %d", e.state.Version())
	}
	do(t, c.AssociateFloatingIP(addr("10.10.10.7"), addr("172.16.100.10"))) // away from the VIP
	do(t, c.AssociateFloatingIP(addr("10.10.10.6"), addr("172.16.100.11"))) // to the VIP
	if got := floating(t, c, "10.10.10.6"); got != "172.16.100.11 by router_100_101" {
		t.Error(got)
	}
}

func TestDisassociate(t *testing.T) {
	c, _ := start(t, tutorial)
	do(t, c.DisassociateFloatingIP(addr("10.10.10.3")))
	if got := floating(t, c, "10.10.10.3"); got != "free" {
		t.Error(got)
	}
	do(t, c.AssociateFloatingIP(addr("10.10.10.9"), addr("172.16.101.3"))) // which has none now
	do(t, c.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.4"))) // still there
}

// A floating IP may move to another router.
func TestMoveToAnotherRouter(t *testing.T) {
	stated := strings.NewReplacer(`fixed_ip = "172.16.101.3"
`, `fixed_ip = "172.16.101.3"
router = "router_100_101"
`, `address = "10.10.10.8"
`, `address = "10.10.10.8"
router = "router_100_101"
`).Replace(tutorial[strings.Index(tutorial, "[[floating_ip]]"):])
	c, _ := start(t, tutorial[:strings.Index(tutorial, "[[floating_ip]]")]+stated+second)
	if err := c.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("either of two routers: %v", err)
	}
	do(t, c.AssociateFloatingIPAt("second", addr("10.10.10.3"), addr("172.16.101.4")))
	if got := floating(t, c, "10.10.10.3"); got != "172.16.101.4 by second" {
		t.Error(got)
	}
	do(t, c.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.101.5"))) // where it is, it may stay
	if got := floating(t, c, "10.10.10.3"); got != "172.16.101.5 by second" {
		t.Error(got)
	}
	do(t, c.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.100.9"))) // that only the first router reaches
	if got := floating(t, c, "10.10.10.3"); got != "172.16.100.9 by router_100_101" {
		t.Error(got)
	}
	do(t, c.AssociateFloatingIPAt("second", addr("10.10.10.3"), addr("172.16.101.4")))
	if err := c.DisassociateFloatingIPAt("router_100_101", addr("10.10.10.3")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where it is not: %v", err)
	}
	do(t, c.DisassociateFloatingIPAt("second", addr("10.10.10.3")))
	do(t, c.AssociateFloatingIP(addr("10.10.10.3"), addr("172.16.100.9")))
}

// Two external networks may have the same addresses. The one is meant from where the fixed address is reached.
func TestSameAddressesOutside(t *testing.T) {
	c, _ := start(t, tutorial+strings.ReplaceAll(`
[[network]]
name = "ext2"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "172.16.102.0/24"

[[router]]
name = "r2"
interfaces = ["blue"]
gateway = { network = "ext2", address = "10.10.10.2" }

[[floating_ip]]
network = "ext2"
address = "10.10.10.9"
`, "\t", ""))
	do(t, c.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.102.4")))
	if got := floating(t, c, "10.10.10.5"); got != "172.16.102.4 by r2" {
		t.Error(got)
	}
	do(t, c.AssociateFloatingIP(addr("10.10.10.9"), addr("172.16.102.5"))) // of two, one
	do(t, c.AssociateFloatingIPAt("router_100_101", addr("10.10.10.9"), addr("172.16.101.5")))
	err := c.DisassociateFloatingIP(addr("10.10.10.9"))
	if want := `it is at router "router_100_101" and at router "r2", say which`; !errors.Is(err,
		fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	do(t, c.DisassociateFloatingIPAt("r2", addr("10.10.10.9")))
	do(t, c.DisassociateFloatingIP(addr("10.10.10.9")))
}

func TestAssociationErrors(t *testing.T) {
	c, e := start(t, tutorial)
	before := e.state
	for _, k := range []struct {
		floating, fixed string
		want            error
	}{
		{"10.10.10.3", "2001:db8::1", fs.ErrInvalid},
		{"10.10.10.255", "172.16.101.4", fs.ErrInvalid},
		{"10.10.10.5", "172.16.101.0", fs.ErrInvalid},
		{"10.10.10.5", "172.16.101.1", fs.ErrInvalid}, // the router
		{"10.10.11.5", "172.16.101.4", fs.ErrNotExist},
		{"10.10.10.5", "192.168.1.1", fs.ErrNotExist},
		{"10.10.10.5", "10.10.10.4", fs.ErrNotExist},
		{"10.10.10.1", "172.16.101.4", fs.ErrExist},  // the upstream gateway
		{"10.10.10.2", "172.16.101.4", fs.ErrExist},  // the router
		{"10.10.10.8", "172.16.101.4", fs.ErrExist},  // forwards ports
		{"10.10.10.30", "172.16.101.4", fs.ErrExist}, // another port has it
		{"10.10.10.5", "172.16.101.3", fs.ErrExist},  // has another one
		{"10.10.10.12", "172.16.101.4", fs.ErrExist}, // a member
	} {
		err := c.AssociateFloatingIP(addr(k.floating), addr(k.fixed))
		for _, sentinel := range []error{fs.ErrInvalid, fs.ErrNotExist, fs.ErrExist} {
			if errors.Is(err, sentinel) != (sentinel == k.want) {
				t.Errorf("%s with %s: %v", k.floating, k.fixed, err)
				break
			}
		}
		if err != nil && !strings.HasPrefix(err.Error(),
			"control: associate floating IP "+k.floating+" with "+k.fixed+": ") {
			t.Errorf("%v", err)
		}
	}
	for _, r := range []string{"nobody", "router"} {
		if err := c.AssociateFloatingIPAt(r, addr("10.10.10.5"), addr("172.16.101.4")); !errors.Is(err,
			fs.ErrNotExist) {
			t.Errorf("at a router that is not there: %v", err)
		}
	}
	for _, a := range []string{"10.10.10.5", "10.10.10.8", "10.10.10.9", "10.10.10.2", "2001:db8::1"} {
		if err := c.DisassociateFloatingIP(addr(a)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("disassociate %s: %v", a, err)
		}
	}
	if e.state != before || e.prepared != 0 {
		t.Errorf("something has changed, %d times", e.prepared)
	}
	e.closed = true
	for _, err := range []error{c.AssociateFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")),
		c.DisassociateFloatingIP(addr("10.10.10.3")), c.SetMember("web servers", "WEB1", false),
		c.DeleteFloatingIP(addr("10.10.10.3")), c.UnsetFloatingIP(addr("10.10.10.3"))} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// The life of a floating IP, in the words of OpenStack's client.
func TestFloatingIPVerbs(t *testing.T) {
	c, _ := start(t, tutorial)
	a, err := c.CreateFloatingIP("ext_net", netip.Addr{})
	do(t, err)
	if a != addr("10.10.10.4") {
		t.Errorf("chosen: %v", a) // the lowest free one
	}
	b, err := c.CreateFloatingIP("ext_net", addr("10.10.10.200"))
	do(t, err)
	if b != addr("10.10.10.200") {
		t.Errorf("asked for .200: %v", b)
	}
	do(t, c.SetFloatingIP(a, addr("172.16.101.4")))
	do(t, c.SetFloatingIP(a, addr("172.16.101.4")))
	list := c.FloatingIPs()
	i := slices.IndexFunc(list, func(f control.FloatingIP) bool { return f.Address == a })
	if f := list[i]; f.Network != "ext_net" || f.FixedIP != addr("172.16.101.4") ||
		f.Router != "router_100_101" || f.Port != "" {
		t.Errorf("%+v", f)
	}
	if f := list[0]; f.Address != addr("10.10.10.3") || f.Port != config.NameID(config.KindPort, "cirros-vm3") {
		t.Errorf("%+v", f)
	}
	for range 2 { // a floating IP that is not associated may be unset, too
		do(t, c.UnsetFloatingIP(a))
		if got := floating(t, c, a.String()); got != "free" {
			t.Error(got)
		}
	}
	do(t, c.DeleteFloatingIP(a))
	if got := floating(t, c, a.String()); got != "none" {
		t.Error(got)
	}
	if again, err := c.CreateFloatingIP("ext_net", netip.Addr{}); err != nil || again != a {
		t.Errorf("%v, %v: the address is free again", again, err)
	}
	do(t, c.DeleteFloatingIP(addr("10.10.10.3"))) // though it is associated
	do(t, c.DeleteFloatingIP(addr("10.10.10.8"))) // with its forwarded port
	do(t, c.AssociateFloatingIP(addr("10.10.10.8"), addr("172.16.101.3")))
}

func TestFloatingIPErrors(t *testing.T) {
	c, e := start(t, tutorial)
	before := e.state
	create := func(network, a string) error {
		_, err := c.CreateFloatingIP(network, addr(a))
		return err
	}
	for name, k := range map[string]struct{ got, want error }{
		"no network":      {create("nowhere", ""), fs.ErrNotExist},
		"not external":    {create("vlan100", ""), fs.ErrInvalid},
		"outside":         {create("ext_net", "10.10.11.5"), fs.ErrInvalid},
		"broadcast":       {create("ext_net", "10.10.10.255"), fs.ErrInvalid},
		"taken":           {create("ext_net", "10.10.10.3"), fs.ErrExist},
		"the router's":    {create("ext_net", "10.10.10.2"), fs.ErrExist},
		"the gateway":     {create("ext_net", "10.10.10.1"), fs.ErrExist},
		"set, not there":  {c.SetFloatingIP(addr("10.10.10.5"), addr("172.16.101.4")), fs.ErrNotExist},
		"set, taken":      {c.SetFloatingIP(addr("10.10.10.9"), addr("172.16.101.3")), fs.ErrExist},
		"set, nowhere":    {c.SetFloatingIP(addr("10.10.10.9"), addr("192.168.7.7")), fs.ErrNotExist},
		"unset":           {c.UnsetFloatingIP(addr("10.10.10.5")), fs.ErrNotExist},
		"delete":          {c.DeleteFloatingIP(addr("10.10.10.5")), fs.ErrNotExist},
		"delete a router": {c.DeleteFloatingIP(addr("10.10.10.2")), fs.ErrNotExist},
	} {
		if !errors.Is(k.got, k.want) {
			t.Errorf("%s: %v", name, k.got)
		}
	}
	if e.state != before {
		t.Error("something has changed")
	}
	for range 15 { // of 20 addresses in the pools 5 are taken
		do(t, create("ext_net", ""))
	}
	if err := create("ext_net", ""); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(),
		"no free address") {
		t.Errorf("when all are taken: %v", err)
	}
}
