package config_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/config"
)

const (
	dhcpNetwork = config.ID("10000000-0000-4000-8000-000000000001")
	dhcpSubnet  = config.ID("10000000-0000-4000-8000-000000000002")
	dhcpOther   = config.ID("10000000-0000-4000-8000-000000000003")
	dhcpRouter  = config.ID("10000000-0000-4000-8000-000000000004")
	dhcpIface   = config.ID("10000000-0000-4000-8000-000000000005")
)

func withDHCP(id config.ID, cidr string) *config.Subnet {
	p := netip.MustParsePrefix(cidr)
	return &config.Subnet{
		Meta: config.Meta{ID: id}, Network: dhcpNetwork, CIDR: p, Gateway: p.Addr().Next(), DHCP: true,
	}
}

// dhcpEdit edits a State, and returns the next one with the addresses of the DHCP server.
func dhcpEdit(t *testing.T, s *config.State, edit func(d *config.Draft)) (*config.State, []string) {
	t.Helper()
	d := s.Edit()
	edit(d)
	to, faults := d.Check()
	if to == nil {
		t.Fatal(faults)
	}
	var all []string
	if p := to.DHCPPort(dhcpNetwork); p != nil {
		for _, f := range p.FixedIPs {
			all = append(all, f.Address.String())
		}
		if p.MAC.IsZero() || p.DeviceOwner != config.OwnerDHCP {
			t.Errorf("port %+v", p)
		}
	}
	return to, all
}

// The port of a DHCP server is there as long as a subnet needs it, and keeps its address meanwhile.
func TestDHCPPort(t *testing.T) {
	s := config.Empty()
	step := func(what string, want []string, edit func(d *config.Draft)) {
		t.Helper()
		var got []string
		if s, got = dhcpEdit(t, s, edit); !slices.Equal(got, want) {
			t.Errorf("%s: the server has %v, want %v", what, got, want)
		}
	}
	port := func(id byte, a string) *config.Port {
		p := &config.Port{Meta: config.Meta{ID: config.NewID([16]byte{id})}, Network: dhcpNetwork, AdminStateUp: true,
			FixedIPs: make([]config.FixedIP, 1)}
		if a != "" {
			p.FixedIPs[0].Address = netip.MustParseAddr(a)
		}
		return p
	}
	step("an open address goes first", []string{"10.1.0.3"}, func(d *config.Draft) {
		d.Put(&config.Network{Meta: config.Meta{ID: dhcpNetwork, Name: "blue"}, AdminStateUp: true},
			withDHCP(dhcpSubnet, "10.1.0.0/24"), port(1, ""))
	})
	mac := s.DHCPPort(dhcpNetwork).MAC
	step("a lower address is free", []string{"10.1.0.3"}, func(d *config.Draft) {
		d.Delete(config.Ref{Kind: config.KindPort, ID: port(1, "").ID})
	})
	step("another subnet comes", []string{"10.1.0.3", "10.2.0.2"}, func(d *config.Draft) {
		d.Put(withDHCP(dhcpOther, "10.2.0.0/24"))
	})
	step("a router comes", []string{"10.1.0.3", "10.2.0.2"}, func(d *config.Draft) {
		d.Put(&config.Router{Meta: config.Meta{ID: dhcpRouter, Name: "r"}, AdminStateUp: true},
			&config.Port{Meta: config.Meta{ID: dhcpIface}, Network: dhcpNetwork, AdminStateUp: true,
				FixedIPs: []config.FixedIP{{Subnet: dhcpSubnet}}, DeviceID: string(dhcpRouter),
				DeviceOwner: config.OwnerInterface})
	})
	step("DHCP of a subnet goes", []string{"10.2.0.2"}, func(d *config.Draft) {
		sub := withDHCP(dhcpSubnet, "10.1.0.0/24")
		sub.DHCP = false
		d.Put(sub)
	})
	step("DHCP is back, and the router answers", []string{"10.2.0.2"}, func(d *config.Draft) {
		d.Put(withDHCP(dhcpSubnet, "10.1.0.0/24"))
	})
	step("a subnet goes", nil, func(d *config.Draft) {
		d.Delete(config.Ref{Kind: config.KindSubnet, ID: dhcpOther})
	})
	step("the router goes", []string{"10.1.0.2"}, func(d *config.Draft) {
		d.Delete(config.Ref{Kind: config.KindPort, ID: dhcpIface})
	})
	if got := s.DHCPPort(dhcpNetwork).MAC; got != mac {
		t.Errorf("the server has MAC %v, and had %v", got, mac)
	}
	step("a user deletes the port", []string{"10.1.0.2"}, func(d *config.Draft) {
		d.Delete(s.DHCPPort(dhcpNetwork).Ref())
	})
	step("a user moves it", []string{"10.1.0.77"}, func(d *config.Draft) {
		p := *s.DHCPPort(dhcpNetwork)
		p.FixedIPs = []config.FixedIP{{Address: netip.MustParseAddr("10.1.0.77")}}
		d.Put(&p)
	})
	step("the network goes", nil, func(d *config.Draft) {
		d.Delete(config.Ref{Kind: config.KindNetwork, ID: dhcpNetwork})
	})
	if n := s.Count(config.KindPort); n != 0 {
		t.Errorf("%d ports are left", n)
	}
}

// A subnet that is used up has no server, and says so.
func TestDHCPPortWithoutAnAddress(t *testing.T) {
	d := config.Empty().Edit()
	sub := withDHCP(dhcpSubnet, "10.1.0.0/30")
	d.Put(&config.Network{Meta: config.Meta{ID: dhcpNetwork, Name: "blue"}, AdminStateUp: true}, sub,
		&config.Port{Meta: config.Meta{ID: dhcpIface}, Network: dhcpNetwork, AdminStateUp: true,
			FixedIPs: []config.FixedIP{{Address: netip.MustParseAddr("10.1.0.2")}}})
	s, faults := d.Check()
	if s == nil || len(faults) != 1 || !faults[0].Warning || faults[0].Code != config.Exhausted {
		t.Fatalf("faults: %v", faults)
	}
	if p := s.DHCPPort(dhcpNetwork); p != nil {
		t.Errorf("port %+v", p)
	}
}
