package router

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// Unsupported lists what a topology asks for that the engine cannot do yet, in
// plain words. Start refuses such a topology: nothing that somebody wrote into a
// file is silently ignored.
func Unsupported(topo *config.Topology) config.Faults {
	u := &unsupported{topo: topo}
	for i := range topo.Networks {
		u.network(&topo.Networks[i])
	}
	for i := range topo.PhysicalNetworks {
		u.devices(topo.PhysicalNetworks[i].Line, topo.PhysicalNetworks[i].Devices)
	}
	for i := range topo.Ports {
		p := &topo.Ports[i]
		u.add(p.Device != "", p.Line, "port %q: tying a port to a device", p.Name)
	}
	for i := range topo.Pools {
		u.pool(&topo.Pools[i])
	}
	for i := range topo.VIPs {
		u.vip(&topo.VIPs[i])
	}
	slices.SortStableFunc(u.faults, func(a, b config.Fault) int { return cmp.Compare(a.Line, b.Line) })
	return u.faults
}

type unsupported struct {
	topo   *config.Topology
	faults config.Faults
}

// add notes that what the words name is not supported, if it is asked for.
func (u *unsupported) add(asked bool, line int, format string, args ...any) {
	if asked {
		u.faults = append(u.faults, config.Fault{
			File: u.topo.File, Line: line,
			Message: fmt.Sprintf(format, args...) + " is not supported yet",
		})
	}
}

func (u *unsupported) network(n *config.Network) {
	u.add(n.VLAN != 0, n.Line, "network %q: vlan", n.Name)
	u.add(n.PortSecurity, n.Line, "network %q: port_security", n.Name)
	u.devices(n.Line, n.Devices)
	for i := range n.Subnets {
		s := &n.Subnets[i]
		u.add(s.DHCP, s.Line, "subnet %v: dhcp", s.CIDR)
		u.add(s.CIDR.Addr().Is6(), s.Line, "subnet %v: IPv6", s.CIDR)
	}
}

func (u *unsupported) devices(line int, devices []config.Device) {
	for _, d := range devices {
		u.add(d.Kind == config.DeviceUnix, line, "device %s: unix", d)
	}
}

func (u *unsupported) pool(p *config.Pool) {
	u.add(p.Algorithm != "ROUND_ROBIN", p.Line, "pool %q: algorithm %s", p.Name, p.Algorithm)
	u.add(p.SessionPersistence != nil, p.Line, "pool %q: session_persistence", p.Name)
	u.add(p.Monitor != nil, p.Line, "pool %q: monitor", p.Name)
	for i := range p.Members {
		u.member(&p.Members[i])
	}
}

func (u *unsupported) member(m *config.Member) {
	u.add(m.Weight != 1, m.Line, "member %q: a weight other than 1", m.Name)
	u.add(m.Backup, m.Line, "member %q: backup", m.Name)
}

func (u *unsupported) vip(v *config.VIP) {
	u.add(v.ConnectionLimit != 0, v.Line, "vip %q: connection_limit", v.Name)
	u.add(v.IdleTimeout != 0, v.Line, "vip %q: idle_timeout", v.Name)
	u.add(len(v.AllowedCIDRs) > 0, v.Line, "vip %q: allowed_cidrs", v.Name)
}
