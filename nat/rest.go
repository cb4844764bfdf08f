package nat

import (
	"slices"
	"time"
	"unsafe"
)

// portRest is how long a freed port belongs to nobody else (RFC 6888, REQ-8).
const portRest = uint32(2 * time.Minute / time.Millisecond)

// A resting port is one whose mapping has ended, and that strangers may still send to:
// where filtering keeps nobody out, they would reach the next host that has it. That is
// so for endpoint-independent filtering alone, and not for TCP, which is tracked: the
// exceptions A and C of RFC 6888, REQ-8. The host that had it may have it again.
type resting struct {
	host, since uint32
	port        uint16
}

// rests are the resting ports of a port space, well-known or not.
type rests struct {
	list []resting          // oldest first; what by has not, or otherwise, is over
	by   map[uint16]resting // by port
}

const restBytes = int(unsafe.Sizeof(resting{})) * 3 // with its place in the map, about

func (r *rests) bytes() int { return len(r.list) * restBytes }

// restsAfterUse reports whether the ports of a protocol, by its index, rest.
func (t *Table) restsAfterUse(proto int) bool {
	return t.cfg.Filtering == EndpointIndependent && proto != 0
}

// rest has a port rest that host has had.
func (s *portSpace) rest(port uint16, wellKnown int, host, now uint32) {
	r := &s.rests[wellKnown]
	if r.by == nil {
		r.by = map[uint16]resting{}
	}
	if len(r.list) > 2*len(r.by)+chunkLen { // most of it is over: hosts have had their own again
		r.list = slices.DeleteFunc(r.list, func(e resting) bool { return r.by[e.port] != e })
	}
	e := resting{host, now, port}
	r.by[port] = e
	r.list = append(r.list, e)
}

// wake frees the ports that have rested, and returns when the next one has; false if
// there is none.
func (s *portSpace) wake(wellKnown int, now uint32) (uint32, bool) {
	r := &s.rests[wellKnown]
	for len(r.by) > 0 {
		if oldest := r.list[0]; now-oldest.since < portRest {
			return oldest.since + portRest, true
		}
		s.wakeOldest(wellKnown)
	}
	r.list, r.by = nil, nil
	return 0, false
}

// wakeOldest frees the port that has rested longest, and reports whether there may be
// another.
func (s *portSpace) wakeOldest(wellKnown int) bool {
	r := &s.rests[wellKnown]
	if len(r.by) == 0 {
		return false
	}
	e := r.list[0]
	r.list = r.list[1:]
	if r.by[e.port] == e {
		delete(r.by, e.port)
		s.put(e.port)
	}
	return true
}

// again reports whether a port rests that host has had, and may have again.
func (s *portSpace) again(port uint16, wellKnown int, host uint32) bool {
	e, ok := s.rests[wellKnown].by[port]
	return ok && e.host == host
}

// wakePorts frees the ports that have rested, and returns in how many milliseconds the
// next one has; 0 if there is none.
func (t *Table) wakePorts(now uint32) uint32 {
	next := uint32(0)
	for _, e := range t.externals {
		for proto, s := range e.ports {
			if s == nil || !t.restsAfterUse(proto) {
				continue
			}
			for wellKnown := range s.rests {
				if due, ok := s.wake(wellKnown, now); ok && (next == 0 || due-now < next) {
					next = due - now
				}
			}
		}
	}
	return next
}
