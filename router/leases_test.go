package router_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

const leasedNetwork = `
[[network]]
name = "blue"
  [[network.subnet]]
  cidr = "10.0.0.0/24"
  dhcp = true
`

// leased starts an engine that has a lease of 10.0.0.77 from before, and one of a network that is no more.
func leased(t *testing.T) (*router.Engine, *control.Control, config.ID) {
	t.Helper()
	f, err := file.Read("lab.toml", strings.NewReader(leasedNetwork))
	if err != nil {
		t.Fatal(err)
	}
	blue := config.NameID(config.KindNetwork, "blue")
	lease := func(network config.ID, a string) router.Lease {
		return router.Lease{Network: string(network), Client: "02:00:00:00:00:77", MAC: config.MAC{2, 0, 0, 0, 0, 0x77},
			Address: netip.MustParseAddr(a), Began: time.Now(), Ends: time.Now().Add(time.Hour)}
	}
	e, err := router.Start(f.State(), router.Options{Leases: []router.Lease{lease(blue, "10.0.0.77"),
		lease("2f6cd1ab-0000-4000-8000-000000000001", "10.0.0.78")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := control.New(e, control.Options{Hold: e.HoldLeases, Holder: e.LeaseHolder,
		Claimed: func(n config.ID, a netip.Addr) bool {
			_, leased := e.LeaseHolder(n, a)
			return leased
		},
		Claim: func(r control.Report) func() { return e.ClaimAddresses(r.From, r.To, r.Changes) },
	})
	return e, c, blue
}

// A lease outlives the process if it was kept, and its address is its host's: an object gets the address only if it is
// the host's port, or when the lease has ended. Leases of a network that is gone are gone.
func TestLeasesAndObjects(t *testing.T) {
	e, c, blue := leased(t)
	if all := e.Leases(); len(all) != 1 || all[0].Address != netip.MustParseAddr("10.0.0.77") {
		t.Fatalf("leases: %v", all)
	}
	port := func(name string, last byte, mac byte) error {
		_, err := c.Edit(t.Context(), func(d *config.Draft) error {
			d.Put(&config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, name), Name: name}, Network: blue,
				AdminStateUp: true, MAC: config.MAC{2, 0, 0, 0, 0, mac},
				FixedIPs: []config.FixedIP{{Address: netip.AddrFrom4([4]byte{10, 0, 0, last})}}})
			return nil
		})
		return err
	}
	if err := port("other", 77, 1); err == nil || !strings.Contains(err.Error(), "02:00:00:00:00:77") {
		t.Errorf("another port: %v", err)
	}
	if err := port("host", 77, 0x77); err != nil {
		t.Errorf("the host's port: %v", err)
	}
	if _, found, err := e.ReleaseLease(blue, netip.MustParseAddr("10.0.0.77")); !found || err != nil {
		t.Errorf("release: %v, %v", found, err)
	}
	for _, s := range e.Inspect().LeaseStats() {
		if s.Name != "blue" || len(s.Pools) != 1 || s.Pools[0].Size != 253 || s.Pools[0].Used != 2 { // and DHCP's own
			t.Errorf("statistics: %+v", s)
		}
	}
	if _, err := c.Edit(t.Context(), func(d *config.Draft) error {
		for p := range d.PortsOf(blue) {
			d.Delete(p.Ref())
		}
		d.Delete(config.Ref{Kind: config.KindNetwork, ID: blue})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if all := e.Leases(); len(all) != 0 {
		t.Errorf("leases of no network: %v", all)
	}
}
