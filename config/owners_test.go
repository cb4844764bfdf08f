package config_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// What has an address of a prefix, and what leads there, is found by address, at the edges of the prefix as well. What
// is on another network or router is left out.
func TestOwnersAndEndings(t *testing.T) {
	prefix := netip.MustParsePrefix("192.0.2.64/26")
	d := lab()
	r := *d.Router(id("r"))
	r.Gateway = &config.Gateway{Network: id("out"), SNAT: true,
		SNATAddresses: []config.AddressRange{{First: addr(192, 0, 2, 127), Last: addr(192, 0, 2, 127)}}}
	d.Put(&r,
		floating("below", addr(192, 0, 2, 63), addr(10, 0, 0, 63)),
		floating("first", addr(192, 0, 2, 64), addr(10, 0, 0, 64)),
		floating("above", addr(192, 0, 2, 128), addr(10, 0, 0, 128)), floating("forwards", addr(192, 0, 2, 9), none),
		&config.LoadBalancer{Meta: meta("lb"), Network: id("out"), Address: addr(192, 0, 2, 100)},
		&config.Port{Meta: meta("vm"), Network: id("out"), FixedIPs: []config.FixedIP{{Address: addr(192, 0, 2, 70)}}},
		&config.Network{Meta: meta("out2"), External: true},
		&config.Subnet{Meta: meta("out21"), Network: id("out2"), CIDR: netip.MustParsePrefix("192.0.2.0/24")},
		&config.FloatingIP{Meta: meta("elsewhere"), Network: id("out2"), Address: addr(192, 0, 2, 70)})
	for i, last := range []int{63, 65, 127, 128} {
		d.Put(&config.PortForwarding{Meta: meta(fmt.Sprint("to", last)), FloatingIP: id("forwards"),
			Protocol: config.TCP, ExternalPort: uint16(1 + i), FixedIP: addr(10, 0, 0, last), Port: 80})
	}
	s := mustCheck(t, d)
	var owners, endings []string
	for o := range s.OwnersIn(id("out"), prefix) {
		owners = append(owners, o.About().Name)
	}
	for o := range s.EndingIn(id("r"), netip.MustParsePrefix("10.0.0.64/26")) {
		endings = append(endings, o.About().Name)
	}
	if want := []string{"first", "vm", "lb", "r"}; !slices.Equal(owners, want) {
		t.Errorf("owners %q, want %q", owners, want)
	}
	if want := []string{"first", "to65", "to127"}; !slices.Equal(endings, want) {
		t.Errorf("endings %q, want %q", endings, want)
	}
	for range s.OwnersIn(id("out"), netip.Prefix{}) {
		t.Error("no prefix has an owner")
	}
	for range s.EndingIn(id("other"), netip.MustParsePrefix("10.0.0.0/8")) {
		t.Error("another router leads to it")
	}
	var in []config.ID
	for p := range s.InterfacesIn(id("in1")) {
		in = append(in, p.ID)
	}
	if !slices.Equal(in, []config.ID{id("r-in")}) {
		t.Errorf("interfaces %v", in)
	}
}
