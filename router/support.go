package router

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// Unsupported lists what a State asks for that the engine cannot do yet, in plain words, in the order of the lines of
// its file. Start and Prepare refuse such a State: nothing that somebody wrote into a file is silently ignored.
func Unsupported(s *config.State) config.Faults {
	u := &unsupported{}
	for n := range s.Networks() {
		u.add(n.VLAN != 0, n, "vlan", "network %q: vlan", n.Name)
		u.add(n.PortSecurity, n, "port_security", "network %q: port_security", n.Name)
		u.devices(n, n.Devices)
	}
	for p := range s.PhysicalNetworks() {
		u.devices(p, p.Devices)
	}
	for sub := range s.Subnets() {
		u.add(sub.DHCP, sub, "dhcp", "subnet %v: dhcp", sub.CIDR)
		u.add(sub.CIDR.Addr().Is6(), sub, "cidr", "subnet %v: IPv6", sub.CIDR)
	}
	for p := range s.Pools() {
		for m := range s.MembersOf(p.ID) {
			if m.Address.Is6() {
				u.add(true, p, "", "pool %q: IPv6", p.Name)
				break
			}
		}
	}
	for p := range s.Ports() {
		u.add(p.Device != "", p, "device", "port %q: tying a port to a device", p.Name)
	}
	slices.SortStableFunc(u.faults, func(a, b config.Fault) int { return cmp.Compare(a.Source.Line, b.Source.Line) })
	return u.faults
}

type unsupported struct{ faults config.Faults }

// add notes that what the words name is not supported, if it is asked for.
func (u *unsupported) add(asked bool, o config.Object, field, format string, args ...any) {
	if asked {
		u.faults = append(u.faults, config.Fault{
			Ref: o.Ref(), Field: field, Code: config.Unsupported, Source: o.About().Source,
			Message: fmt.Sprintf(format, args...) + " is not supported yet",
		})
	}
}

func (u *unsupported) devices(of config.Object, devices []config.Device) {
	for i, d := range devices {
		u.add(d.Kind == config.DeviceUnix, of, fmt.Sprintf("devices[%d]", i), "device %s: unix", d)
	}
}
