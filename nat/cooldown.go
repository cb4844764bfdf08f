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
	host  packet.Addr
	since uint32
	port  uint16
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

// keepBack keeps a port back that host has had.
func (s *portSpace) keepBack(port uint16, wellKnown int, host packet.Addr, now uint32) {
	c := &s.cooldowns[wellKnown]
	if c.by == nil {
		c.by = map[uint16]keptPort{}
	}
	if len(c.list) > 2*len(c.by)+1024 { // most of it is out of date: hosts have had their own ports again
		c.list = slices.DeleteFunc(c.list, func(e keptPort) bool { return c.by[e.port] != e })
	}
	e := keptPort{host, now, port}
	c.by[port] = e
	c.list = append(c.list, e)
}

// freeCooled frees the ports whose cooldown is over, and returns when the next one's is; false if there is
// none.
func (s *portSpace) freeCooled(wellKnown int, now uint32) (uint32, bool) {
	c := &s.cooldowns[wellKnown]
	for len(c.by) > 0 {
		if oldest := c.list[0]; now-oldest.since < cooldownTime {
			return oldest.since + cooldownTime, true
		}
		s.freeOldest(wellKnown)
	}
	c.list, c.by = nil, nil
	return 0, false
}

// freeOldest frees the port that has been kept back for the longest, and reports whether there may be
// another.
func (s *portSpace) freeOldest(wellKnown int) bool {
	c := &s.cooldowns[wellKnown]
	if len(c.by) == 0 {
		return false
	}
	e := c.list[0]
	c.list = c.list[1:]
	if c.by[e.port] == e {
		delete(c.by, e.port)
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
				if due, ok := s.freeCooled(wellKnown, ms); ok && (next == 0 || due-ms < next) {
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
