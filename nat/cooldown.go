package nat

import (
	"slices"
	"time"
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// cooldownTime is how long a port number is kept back after use, in milliseconds (RFC 6888, REQ-8).
const cooldownTime = uint32(2 * time.Minute / time.Millisecond)

// A keptPort is a port whose mapping has ended, and that strangers may still send to. Where filtering keeps
// no sender out, they would reach the next host that has the port. So another host gets it after its
// cooldown only; the host that had it may have it again. This is so for endpoint-independent filtering
// alone, and not for TCP, which is tracked: the exceptions A and C of RFC 6888, REQ-8.
type keptPort struct {
	host   packet.Addr
	since  uint32
	record uint32 // among the mappings, where the next process finds it: see mapping.keep
	port   uint16
}

// cooldowns are the kept ports of a port space, well-known or not.
type cooldowns struct {
	list []keptPort          // oldest first; an entry that by does not have is out of date
	by   map[uint16]keptPort // by port
}

const keptBytes = int(unsafe.Sizeof(keptPort{})) * 3 // with its place in the map, about

func (c *cooldowns) bytes() int { return len(c.list) * keptBytes }

// coolsDown reports whether the ports of a protocol, by its index, are kept back after use.
func (t *Table) coolsDown(proto int) bool {
	return t.cfg.Filtering == EndpointIndependent && proto != 0
}

// kept is the form of a mapping that has ended, and whose port is kept back. Its addr is the host that has had the
// port, its Prev is since when.
const kept = AddressAndPortDependent + 1

// keep has a mapping that no connection uses stand for its port, which is kept back. The form says so, and is written
// last: a process that is killed before that does not tell the next one of the port. For this it is not put in line.
//
//go:noinline
func (m *mapping) keep() { m.form = kept }

// keepBack keeps the port of mapping i back, which has ended, from a time on. The record of the mapping stays in use.
func (s *portSpace) keepBack(i uint32, m *mapping, since uint32) {
	m.Prev = since
	m.keep()
	c := &s.cooldowns[groupOf(m.proto, m.extPort).wellKnown()]
	if c.by == nil {
		c.by = map[uint16]keptPort{}
	}
	if len(c.list) > 2*len(c.by)+1024 { // most of it is out of date: hosts have had their own ports again
		c.list = slices.DeleteFunc(c.list, func(e keptPort) bool { return c.by[e.port] != e })
	}
	e := keptPort{m.addr, since, i, m.extPort}
	c.by[e.port] = e
	c.list = append(c.list, e)
}

// keepNoMore ends the keeping of a port, if it is kept back, and frees its record.
func (t *Table) keepNoMore(s *portSpace, wellKnown int, port uint16) {
	by := s.cooldowns[wellKnown].by
	if e, ok := by[port]; ok {
		delete(by, port)
		t.mappings.list.Free(e.record)
	}
}

// freeCooled frees the ports whose cooldown is over, and returns when the next one's is; false if there is
// none.
func (t *Table) freeCooled(s *portSpace, wellKnown int, now uint32) (uint32, bool) {
	c := &s.cooldowns[wellKnown]
	for len(c.by) > 0 {
		if oldest := c.list[0]; now-oldest.since < cooldownTime {
			return oldest.since + cooldownTime, true
		}
		t.freeOldest(s, wellKnown)
	}
	c.list, c.by = nil, nil
	return 0, false
}

// freeOldest frees the port that has been kept back for the longest, and reports whether there may be
// another.
func (t *Table) freeOldest(s *portSpace, wellKnown int) bool {
	c := &s.cooldowns[wellKnown]
	if len(c.by) == 0 {
		return false
	}
	e := c.list[0]
	c.list = c.list[1:]
	if c.by[e.port] == e {
		t.keepNoMore(s, wellKnown, e.port)
		s.put(e.port)
	}
	return true
}

// keptFor reports whether a port is kept back that host has had, and may have again.
func (s *portSpace) keptFor(port uint16, wellKnown int, host packet.Addr) bool {
	e, ok := s.cooldowns[wellKnown].by[port]
	return ok && e.host == host
}

// Tick frees the ports whose cooldown is over, and returns when it wants to be called again; 0 if there is
// nothing to wait for. Call it after the connection table's Tick.
func (t *Table) Tick(now time.Duration) time.Duration {
	ms, next := uint32(now/time.Millisecond), uint32(0)
	for _, e := range t.externals {
		for _, s := range e.ports {
			if s == nil {
				continue
			}
			for wellKnown := range s.cooldowns {
				if due, ok := t.freeCooled(s, wellKnown, ms); ok && (next == 0 || due-ms < next) {
					next = due - ms
				}
			}
		}
	}
	if next == 0 {
		return 0
	}
	return now + time.Duration(next)*time.Millisecond
}
