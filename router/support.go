package router

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/config/file"
)

// Unsupported lists what a topology asks for that the engine cannot do yet, in
// plain words. Start refuses such a topology: nothing that somebody wrote into a
// file is silently ignored.
func Unsupported(topo *file.Topology) file.Faults {
	u := &unsupported{topo: topo}
	for i := range topo.Networks {
		u.network(&topo.Networks[i])
	}
	for i := range topo.PhysicalNetworks {
		u.devices(topo.PhysicalNetworks[i].Line, topo.PhysicalNetworks[i].Devices)
	}
	for i := range topo.Pools {
		p := &topo.Pools[i]
		u.add(len(p.Members) > 0 && p.Members[0].Address.Is6(), p.Line, "pool %q: IPv6", p.Name)
	}
	for i := range topo.Ports {
		p := &topo.Ports[i]
		u.add(p.Device != "", p.Line, "port %q: tying a port to a device", p.Name)
	}
	slices.SortStableFunc(u.faults, func(a, b file.Fault) int { return cmp.Compare(a.Line, b.Line) })
	return u.faults
}

type unsupported struct {
	topo   *file.Topology
	faults file.Faults
}

// add notes that what the words name is not supported, if it is asked for.
func (u *unsupported) add(asked bool, line int, format string, args ...any) {
	if asked {
		u.faults = append(u.faults, file.Fault{
			File: u.topo.File, Line: line,
			Message: fmt.Sprintf(format, args...) + " is not supported yet",
		})
	}
}

func (u *unsupported) network(n *file.Network) {
	u.add(n.VLAN != 0, n.Line, "network %q: vlan", n.Name)
	u.add(n.PortSecurity, n.Line, "network %q: port_security", n.Name)
	u.devices(n.Line, n.Devices)
	for i := range n.Subnets {
		s := &n.Subnets[i]
		u.add(s.DHCP, s.Line, "subnet %v: dhcp", s.CIDR)
		u.add(s.CIDR.Addr().Is6(), s.Line, "subnet %v: IPv6", s.CIDR)
	}
}

func (u *unsupported) devices(line int, devices []file.Device) {
	for _, d := range devices {
		u.add(d.Kind == file.DeviceUnix, line, "device %s: unix", d)
	}
}
