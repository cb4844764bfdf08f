package file_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// state is the State of a topology, which must have one, and one only: edited in again it changes nothing.
func state(t *testing.T, topology *file.Topology) *config.State {
	t.Helper()
	s, err := topology.State()
	if err != nil {
		t.Fatalf("a valid topology has no State:\n%v", err)
	}
	d := s.Edit()
	topology.Edit(d)
	again, faults := d.Check()
	if faults.Err() != nil {
		t.Fatalf("refused the second time:\n%v", faults)
	}
	if c := config.Diff(s, again); len(c) > 0 {
		t.Fatalf("changed by the same topology: %+v", c)
	}
	return s
}

// examples are the names of all example files.
func examples(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("../../examples/*.toml")
	if err != nil || len(names) < 5 {
		t.Fatalf("%d examples, %v", len(names), err)
	}
	return append(names, "testdata/lab.toml", "testdata/vip.toml")
}

func TestStatesOfExamples(t *testing.T) {
	for _, name := range examples(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			topology, err := file.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			sameContent(t, topology, state(t, topology))
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := file.ReadIn(name, filepath.Dir(name), strings.NewReader("# a line\n\n"+string(text)), nil)
			if err != nil {
				t.Fatal(err)
			}
			moved := f.Topology()
			if c := config.Diff(state(t, topology), state(t, moved)); len(c) > 0 {
				t.Errorf("lines in front change %+v", c)
			}
		})
	}
}

// sameContent holds a State against the topology that it is of.
func sameContent(t *testing.T, want *file.Topology, s *config.State) {
	t.Helper()
	got := slices.Sorted(slices.Values(stateLines(s)))
	wanted := slices.Sorted(slices.Values(topologyLines(want)))
	if !slices.Equal(got, wanted) {
		t.Errorf("the State holds\n%s\nthe topology\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}
}

// topologyLines writes what a router has to know of a topology, a fact a line.
func topologyLines(t *file.Topology) []string {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, n := range t.Networks {
		line("network %s %v %d %d %v %s %v", n.Name, n.Devices, n.VLAN, n.MTU, n.External, n.Host, n.PortSecurity)
		for _, s := range n.Subnets {
			line("subnet %s %v %v %v %v %v %v", n.Name, s.CIDR, s.Gateway, s.AllocationPools, s.DHCP, s.LeaseTime,
				s.DNSNameservers)
			for _, r := range s.HostRoutes {
				line("host route %v %v %v", s.CIDR, r.Destination, r.NextHop)
			}
		}
	}
	for _, p := range t.PhysicalNetworks {
		line("physical network %s %v", p.Name, p.Devices)
	}
	nat := func(name string, n *file.NAT) {
		line("nat %s %s %s %d %v %v %d-%d %v %v %+v", name, n.Mapping, n.Filtering, n.MaxConnections, n.HostShare,
			*n.Lend, n.PortMin, n.PortMax, n.NoSNAT, n.MSSClamp, n.Timeouts)
	}
	nat("", &t.NAT)
	line("engine %d %v", t.Engine.Workers, t.Engine.BusyPoll)
	for _, r := range t.Routers {
		line("router %s %s", r.Name, r.RPFilter)
		nat(r.Name, r.NAT)
		for _, i := range r.Interfaces {
			for _, a := range i.Addresses {
				line("interface %s %s %v", r.Name, i.Network, a)
			}
		}
		for _, x := range r.Routes {
			line("route %s %v %v", r.Name, x.Destination, x.NextHop)
		}
		if g := r.Gateway; g != nil {
			line("gateway %s %s %v %v %v %v", r.Name, g.Network, g.Prefix, g.NextHop, g.SNAT, g.SNATAddresses)
		}
	}
	ports := map[string]bool{}
	for _, p := range t.Ports {
		ports[p.Network+" "+p.Name] = true
		if len(p.FixedIPs) > 0 {
			p.FixedIP = p.FixedIPs[0]
		}
		line("port %s %s %v %v %s %v", p.Name, p.Network, p.FixedIP, p.MAC, p.Device, p.AllowedAddressPairs)
	}
	for _, i := range t.Instances {
		if !ports[i.Network+" "+i.Name] {
			line("port %s %s %v %v  []", i.Name, i.Network, i.Address, i.MAC)
		}
	}
	for _, f := range t.FloatingIPs {
		line("floating IP %s %v %v %s", f.Network, f.Address, f.FixedIP, f.Router)
		for _, p := range f.PortForwarding {
			line("forward %v %s %d %v %d", f.Address, p.Protocol, p.ExternalPort, p.FixedIP, p.Port)
		}
	}
	for _, p := range t.Pools {
		line("pool %s %s %s %s %s", p.Name, p.Protocol, p.Algorithm, p.OnMemberDown, p.OnMemberRemoved)
		if x := p.SessionPersistence; x != nil {
			line("persistence %s %s %v", p.Name, x.Type, x.Timeout)
		}
		if m := p.Monitor; m != nil {
			line("monitor %s %s %v %v %d %d %s %s %s %s", p.Name, m.Type, m.Delay, m.Timeout, m.MaxRetries,
				m.MaxRetriesDown,
				m.InitialState, m.HTTPMethod, m.URLPath, m.ExpectedCodes)
		}
		for _, m := range p.Members {
			line("member %s %s %v %d %d %v %v", p.Name, m.Name, m.Address, m.Port, m.Weight, m.Backup, m.AdminStateUp)
		}
	}
	for _, v := range t.VIPs {
		line("VIP %s %s %v %s %s %d %s %d %v %v", v.Name, v.Network, v.Address, v.Router, v.Protocol, v.Port, v.Pool,
			v.ConnectionLimit, v.IdleTimeout, v.AllowedCIDRs)
	}
	return lines
}

// stateLines writes the same of a State.
func stateLines(s *config.State) []string {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	router := func(id config.ID) string {
		if r := s.Router(id); r != nil {
			return r.Name
		}
		return ""
	}
	for n := range s.Networks() {
		line("network %s %v %d %d %v %s %v", n.Name, s.DevicesOf(n.ID), n.VLAN, n.MTU, n.External, n.Host,
			n.PortSecurity)
		for u := range s.SubnetsOf(n.ID) {
			line("subnet %s %v %v %v %v %v %v", n.Name, u.CIDR, u.Gateway, u.AllocationPools, u.DHCP, u.LeaseTime,
				u.DNSNameservers)
			for _, r := range u.HostRoutes {
				line("host route %v %v %v", u.CIDR, r.Destination, r.NextHop)
			}
		}
	}
	for p := range s.PhysicalNetworks() {
		line("physical network %s %v", p.Name, p.Devices)
	}
	nat := func(name string, n config.NAT) {
		line("nat %s %s %s %d %v %v %d-%d %v %v %+v", name, n.Mapping, n.Filtering, n.MaxConnections, n.HostShare,
			*n.Lend, n.PortMin, n.PortMax, n.NoSNAT, n.MSSClamp != nil && *n.MSSClamp, n.Timeouts)
	}
	nat("", s.Settings().NAT)
	line("engine %d %v", s.Settings().Engine.Workers, s.Settings().Engine.BusyPoll)
	for r := range s.Routers() {
		line("router %s %s", r.Name, r.RPFilter)
		nat(r.Name, s.NATOf(r.ID))
		for _, x := range r.Routes {
			line("route %s %v %v", r.Name, x.Destination, x.NextHop)
		}
		if g := r.Gateway; g != nil {
			a := s.GatewayPort(r.ID).FixedIPs[0].Address
			sub := s.SubnetAt(g.Network, a)
			line("gateway %s %s %v %v %v %v", r.Name, s.Network(g.Network).Name, netip.PrefixFrom(a, sub.CIDR.Bits()),
				sub.Gateway, g.SNAT, g.SNATAddresses)
		}
	}
	for p := range s.Ports() {
		n := s.Network(p.Network)
		switch p.DeviceOwner {
		case config.OwnerGateway, config.OwnerDHCP: // the State has chosen the latter
		case config.OwnerInterface:
			for _, f := range p.FixedIPs {
				sub := s.SubnetAt(n.ID, f.Address)
				line("interface %s %s %v", router(config.ID(p.DeviceID)), n.Name,
					netip.PrefixFrom(f.Address, sub.CIDR.Bits()))
			}
		default:
			line("port %s %s %v %v %s %v", p.Name, n.Name, p.FixedIPs[0].Address, p.MAC, p.Device,
				p.AllowedAddressPairs)
		}
	}
	for f := range s.FloatingIPs() {
		line("floating IP %s %v %v %s", s.Network(f.Network).Name, f.Address, f.FixedIP, router(f.Router))
		for p := range s.ForwardingsOf(f.ID) {
			line("forward %v %s %d %v %d", f.Address, p.Protocol, p.ExternalPort, p.FixedIP, p.Port)
		}
	}
	for p := range s.Pools() {
		line("pool %s %s %s %s %s", p.Name, p.Protocol, p.Algorithm, p.OnMemberDown, p.OnMemberRemoved)
		if x := p.SessionPersistence; x != nil {
			line("persistence %s %s %v", p.Name, x.Type, x.Timeout)
		}
		if m := s.MonitorOf(p.ID); m != nil {
			line("monitor %s %s %v %v %d %d %s %s %s %s", p.Name, m.Type, m.Delay, m.Timeout, m.MaxRetries,
				m.MaxRetriesDown,
				m.InitialState, m.HTTPMethod, m.URLPath, m.ExpectedCodes)
		}
		for m := range s.MembersOf(p.ID) {
			line("member %s %s %v %d %d %v %v", p.Name, m.Name, m.Address, m.Port, m.Weight, m.Backup, m.AdminStateUp)
		}
	}
	for b := range s.LoadBalancers() {
		for l := range s.ListenersOf(b.ID) {
			line("VIP %s %s %v %s %s %d %s %d %v %v", l.Name, s.Network(b.Network).Name, b.Address, router(b.Router),
				l.Protocol, l.Port, s.Pool(l.Pool).Name, l.ConnectionLimit, l.IdleTimeout, l.AllowedCIDRs)
		}
	}
	return lines
}
