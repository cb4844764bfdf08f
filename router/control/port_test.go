package control_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// portNamed is the port with a name.
func portNamed(t *testing.T, s *config.State, name string) *config.Port {
	t.Helper()
	for p := range s.Ports() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no port %q", name)
	return nil
}

func TestAllowedAddresses(t *testing.T) {
	c, e := start(t, tutorial)
	const port = "cirros-vm3"
	own := config.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 3}
	_, err := c.Edit(t.Context(), func(d *config.Draft) error {
		changed := *portNamed(t, e.state, port)
		changed.MAC = own
		d.Put(&changed)
		return nil
	})
	do(t, err)
	pair := config.AddressPair{IP: netip.MustParsePrefix("172.16.101.9/32")}
	named := config.AddressPair{IP: pair.IP, MAC: own}
	elsewhere := config.AddressPair{IP: pair.IP, MAC: config.MAC{2, 0, 0, 0, 0, 9}}
	count := func(want int) {
		t.Helper()
		if got := portNamed(t, e.state, port).AllowedAddressPairs; len(got) != want {
			t.Errorf("got %v", got)
		}
	}
	for range 2 { // the second time changes nothing
		do(t, c.AllowAddress(port, pair))
	}
	do(t, c.AllowAddress(port, named)) // which is the same
	count(1)
	do(t, c.AllowAddress(port, elsewhere))
	count(2)
	do(t, c.DisallowAddress(port, named))
	count(1)
	if got := portNamed(t, e.state, port).AllowedAddressPairs; got[0].MAC != elsewhere.MAC {
		t.Errorf("another one is left: %v", got)
	}
	for what, c := range map[string]struct{ err, want error }{
		"taken back twice": {c.DisallowAddress(port, pair), fs.ErrNotExist},
		"no such port":     {c.AllowAddress("vm9", pair), fs.ErrNotExist},
		"not of a port":    {c.DisallowAddress("vm9", pair), fs.ErrNotExist},
		"a group's MAC": {c.AllowAddress(port, config.AddressPair{IP: pair.IP, MAC: config.MAC{1}}),
			fs.ErrInvalid},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	count(1)
}

func TestPortSecurityOfAPort(t *testing.T) {
	c, e := start(t, tutorial)
	for _, on := range []bool{true, false, true} {
		do(t, c.SetPortSecurity("cirros-vm3", on))
		if got := portNamed(t, e.state, "cirros-vm3").PortSecurity; got == nil || *got != on {
			t.Errorf("got %v, want %v", got, on)
		}
	}
	if err := c.SetPortSecurity("vm9", true); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
