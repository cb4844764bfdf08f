package native_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// A frame with the tag of no network is among the drops, with its device and tag.
func TestDropsByTag(t *testing.T) {
	w := newWorld(t, nil)
	dev, err := w.engine.Attach("tenant", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := tap.Frame{Buf: make([]byte, tap.HeaderLen+64), Tail: tap.HeaderLen + 64}
	copy(f.Buf[tap.HeaderLen+6:], []byte{2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 77, 8, 0})
	if _, err := dev.Write([]tap.Frame{f}); err != nil {
		t.Fatal(err)
	}
	for w.engine.Stats().Drops[router.DropVLANTag] == 0 { // the frame is on its way
	}
	a := w.do("GET", "/drops", "")
	for _, want := range []string{`"reason":"vlan-tag"`, `"tags":[{"device":"pipe:tenant#`, `"vlan":77,"packets":1}`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in\n%s", want, a.body)
		}
	}
}

// What port security has dropped is listed with its port, and with what would let it pass.
func TestPortDrops(t *testing.T) {
	w := newWorld(t, nil)
	c := w.engine.State().Edit()
	var n config.Network
	for o := range c.Networks() {
		if o.Name == "tenant" {
			n = *o
		}
	}
	n.PortSecurity = true
	c.Put(&n, &config.Port{Meta: config.Meta{ID: config.NewID([16]byte{1}), Name: "vm"}, Network: n.ID,
		AdminStateUp: true, MAC: config.MAC{2, 0, 0, 0, 0, 1},
		FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr("172.16.100.77")}}})
	to, faults := c.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.Apply(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	dev, err := w.engine.Attach("tenant", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := tap.Frame{Buf: make([]byte, tap.HeaderLen+60), Tail: tap.HeaderLen + 60}
	eth := f.Buf[tap.HeaderLen:]
	copy(eth, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0, 0x45})
	copy(eth[26:], []byte{172, 16, 100, 78})
	if _, err := dev.Write([]tap.Frame{f}); err != nil {
		t.Fatal(err)
	}
	for w.engine.Stats().Drops[router.DropSpoofedIP] == 0 { // the frame is on its way
	}
	a := w.do("GET", "/drops", "")
	for _, want := range []string{`"network":"tenant"`, `"device":"pipe:tenant#`, `"port":"vm"`,
		`"reason":"spoofed-ip"`, `"packets":1`, `"mac_address":"02:00:00:00:00:01"`, `"ip_address":"172.16.100.78"`,
		`"remedy":"allowed_address_pairs = [{ ip = \"172.16.100.78\" }] of port \"vm\""`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in\n%s", want, a.body)
		}
	}
}
