package config

import (
	"net/netip"
	"reflect"
)

// checkSettings checks the settings of all routers and of the process.
func (c *checker) checkSettings(s *Settings) {
	w := at(s)
	if s.ID != SettingsID {
		c.fault(w.in("settings", Source{}), "id", Invalid, "the settings have the id %s, not %s", SettingsID, s.ID)
	}
	c.checkNAT(w.in("nat", Source{}), "nat", s.NAT, s.NAT.NoSNAT, Timeouts{})
	w = w.in("engine", Source{})
	c.between(w, "engine.workers", s.Engine.Workers, 0, maxWorkers)
	if s.Engine.BusyPoll < 0 {
		c.fault(w, "engine.busy_poll", Invalid, "busy_poll %v is negative", s.Engine.BusyPoll)
	}
	c.checkForwards(s)
}

// isZero says whether nothing is set.
func (n *NAT) isZero() bool { return reflect.ValueOf(n).Elem().IsZero() }

// checkNAT checks settings. A timeout that equals the known one gets no warning here: there was one where the known
// timeout is set. Destinations is the part of no_snat that is set here; only that part is checked.
func (c *checker) checkNAT(w where, field string, n NAT, destinations []netip.Prefix, known Timeouts) {
	field += "."
	oneOf(c, w, field+"mapping", n.Mapping, behaviors)
	oneOf(c, w, field+"filtering", n.Filtering, behaviors)
	c.between(w, field+"max_connections", n.MaxConnections, 1, MaxMaxConnections)
	// The comparison is turned round so that it refuses NaN.
	if !(n.HostShare > 0 && n.HostShare <= 1) {
		c.fault(w, field+"host_share", Invalid, "host_share %v is not above 0 and at most 1", n.HostShare)
	}
	for i, p := range destinations {
		c.checkPrefix(w, indexed(field+"no_snat", i), indexed("no_snat", i), p)
	}
	switch ports := field + "port_range"; {
	case n.PortMin > n.PortMax:
		c.fault(w, ports, Invalid, "port_range %d-%d is reversed; write %d-%d", n.PortMin, n.PortMax, n.PortMax,
			n.PortMin)
	case n.PortMin < minPort:
		c.fault(w, ports, Invalid, "port_range %d-%d begins below %d; sources below that keep to ports below it anyway",
			n.PortMin, n.PortMax, minPort)
	}
	for _, t := range timeouts {
		key, d := "timeouts."+t.key, *t.field(&n.Timeouts)
		if t.part && d == n.Timeouts.TCPTransitory {
			continue
		}
		c.positive(w, field+key, key, d)
		if d > 0 && d < t.least && d != *t.field(&known) {
			c.warn(w, field+key, Invalid, "%s %v is less than the %v of %s; live connections may be cut off", key, d,
				t.least, t.rule)
		}
	}
}
