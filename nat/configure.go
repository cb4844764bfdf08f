package nat

import "github.com/taprouter/taprouter/internal/conntrack"

// Configure gives the table other settings. The zero value of every field but Filtering means its default,
// as for NewTable. No connection that is there ends, and no translation changes: what RFC 4787 says of a
// behavior holds for what begins from here on. A Binding from before is not valid any more. The connection
// table has settings of its own: where both get new ones, it comes first.
//
// Mapping: a mapping lives on with its connections, and packets to its external endpoint find the host behind
// it, as before. New connections use the mappings of the behavior of now alone. A mapping of another behavior
// would give them its external port for remote endpoints that it was not made for (REQ-1). Or connections would
// share it that are to be kept apart. So a host may have two external ports for one internal endpoint until
// the connections of the former mapping have ended. If the former behavior comes back before, its mappings
// serve again.
//
// Filtering: it holds at once for packets that belong to no connection (REQ-8). It also holds for mappings from
// before, since each mapping remembers its remote addresses. Packets of connections go on. Ports that are kept
// back after use stay so until their time is over.
//
// PortMin and PortMax: new mappings, and new connections that overload ports, get ports from the range of
// now. A mapping with a port outside of it lives on, and new connections of its internal endpoint use it
// (REQ-1).
//
// HostShare: a host that holds more than its share keeps what it has. Ports outside the range count as held.
//
// Lend: without it nothing is lent from here on, and a lent mapping ends like any other.
//
// The time that Configure takes depends on the number of external addresses, not on that of mappings.
func (t *Table) Configure(cfg Config) {
	cfg = cfg.withDefaults()
	former := t.cfg
	t.cfg, t.share = cfg, conntrack.NewShare(cfg.HostShare)
	// What is known of ports towards remote endpoints may be of another range, or take for free what longer
	// timeouts have brought back. It can be built again.
	clear(t.remotes)
	t.remoteOrder = nil
	if cfg.PortMin == former.PortMin && cfg.PortMax == former.PortMax {
		return
	}
	for _, e := range t.externals {
		for _, s := range e.ports[:icmpIndex] { // query identifiers know no ranges
			if s != nil {
				s.taken[0] = s.mappedBetween(int(cfg.PortMin), int(cfg.PortMax))
			}
		}
	}
}

// counts reports whether a mapping with this external port takes one of the ports that hosts have shares of.
// One from a former range does not.
func (t *Table) counts(proto uint8, port uint16) bool {
	lo, hi := t.portRange(proto, port)
	return int(port) >= lo && int(port) <= hi
}

// mappedBetween is how many ports from lo to hi have a mapping.
func (s *portSpace) mappedBetween(lo, hi int) (n int) {
	for port := lo; port <= hi; {
		row, end := port/rowLen, (port/rowLen+1)*rowLen
		switch {
		case s.used[row] == 0:
		case port%rowLen == 0 && end-1 <= hi:
			n += int(s.used[row])
		default:
			for p := port; p < end && p <= hi; p++ {
				if s.mapped[row][p%rowLen] != 0 {
					n++
				}
			}
		}
		port = end
	}
	return n
}
