package nat_test

import (
	"slices"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// judgeBind says whether Bind's answer is one of the right ones. It returns the
// mapping, nil if the port is overloaded.
func (m *model) judgeBind(tuple packet.Tuple, port uint16, r conntrack.Refusal) *modelMapping {
	key := modelMapping{addr: tuple.Src, port: tuple.SrcPort, proto: tuple.Proto, form: m.cfg.Mapping}
	if m.cfg.Mapping != nat.EndpointIndependent {
		key.remote = tuple.Dst
	}
	if m.cfg.Mapping == nat.AddressAndPortDependent {
		key.remotePort = tuple.DstPort
	}
	lo, hi := int(m.cfg.PortMin), int(m.cfg.PortMax)
	if tuple.SrcPort < 1024 {
		lo, hi = 1, 1023
	}
	if tuple.Proto == packet.ProtoICMP {
		lo, hi = 0, 65535
	}
	if r == conntrack.None && !m.replyFree(tuple, port) {
		m.t.Fatalf("%v: port %d has this reply already", tuple, port)
	}
	m.quota = false
	taken, byHost, free := map[uint16]bool{}, 0, hi-lo+1
	var own *modelMapping
	for _, k := range m.mappings() {
		same := *k
		same.ext = 0
		if same == key {
			own = k
		}
		if k.proto == tuple.Proto {
			taken[k.ext] = true
			if int(k.ext) >= lo && int(k.ext) <= hi {
				free--
			}
			if k.addr == tuple.Src && (k.ext < 1024 == (tuple.SrcPort < 1024) || k.proto == packet.ProtoICMP) {
				byHost++
			}
		}
	}
	if own != nil && m.replyFree(tuple, own.ext) {
		m.want(tuple, port, r, own.ext)
		return own
	}
	if r == conntrack.None && (int(port) < lo || int(port) > hi) {
		m.t.Fatalf("%v: port %d is not in %d-%d", tuple, port, lo, hi)
	}
	over := m.overShare(byHost, hi-lo+1, free)
	if own != nil || over || free == 0 {
		m.quota = own == nil && over && free > 0
		if n := hi - lo + 1; over && free > 0 && 2*m.freeReplies(tuple, lo, hi) <= n {
			if m.refused++; r != conntrack.HostShareUsed {
				m.t.Fatalf("%v: port %d, %v, though its host has its share and there are few towards there", tuple,
					port, r)
			}
			return nil
		}
		m.judgeOverload(tuple, port, r, lo, hi)
		return nil
	}
	return m.judgeNewMapping(key, tuple, port, r, taken, lo, hi)
}

func (m *model) judgeNewMapping(key modelMapping, tuple packet.Tuple, port uint16, r conntrack.Refusal,
	taken map[uint16]bool, lo, hi int) *modelMapping {
	own := int(tuple.SrcPort)
	kept := m.cooled(tuple.Proto, tuple.SrcPort, tuple.Src)
	preserve := own >= lo && own <= hi && !taken[tuple.SrcPort] && kept != 2
	if preserve && kept == 1 && !m.overloadedTowards(tuple) {
		m.either = true
	} else if preserve && kept == 0 && m.replyFree(tuple, tuple.SrcPort) {
		m.want(tuple, port, r, tuple.SrcPort)
	} else if preserve || m.overloadedTowards(tuple) {
		// What choose took, or might have, is overloaded there: either is right.
		m.either = true
		key.ext = port
		return &key
	}
	if r != conntrack.None || taken[port] {
		m.t.Fatalf("%v: %v, port %d taken: %t", tuple, r, port, taken[port])
	}
	mayCool := m.cooled(tuple.Proto, port, tuple.Src) == 2
	for p := lo; p <= hi && (mayCool || port&1 != tuple.SrcPort&1); p++ {
		if !taken[uint16(p)] && m.cooled(tuple.Proto, uint16(p), 0) == 0 && (mayCool || p&1 == own&1) {
			m.t.Fatalf("%v: port %d, but %d is free", tuple, port, p)
		}
	}
	key.ext = port
	return &key
}

func (m *model) want(tuple packet.Tuple, port uint16, r conntrack.Refusal, want uint16) {
	if port != want || r != conntrack.None {
		m.t.Fatalf("%v: port %d, %v, want %d", tuple, port, r, want)
	}
}

func (m *model) judgeOverload(tuple packet.Tuple, port uint16, r conntrack.Refusal, lo, hi int) {
	own := int(tuple.SrcPort)
	switch {
	case own >= lo && own <= hi && m.replyFree(tuple, tuple.SrcPort):
		m.want(tuple, port, r, tuple.SrcPort)
	case r == conntrack.None:
	case r != nat.NoPort || m.freeReplies(tuple, lo, min(hi, lo+buildStep-1)) > 0:
		m.t.Fatalf("%v: %v with ports left to overload", tuple, r)
	}
}

// overShare reports whether a host with so many of n may not have one more.
func (m *model) overShare(held, n, free int) bool {
	more, share := float64(held+1), m.cfg.HostShare
	return held > 0 && (more > share*float64(n) || more > share/(1-share)*float64(free))
}

// freeReplies counts the ports that no live connection has.
func (m *model) freeReplies(tuple packet.Tuple, lo, hi int) int {
	n := 0
	for p := lo; p <= hi; p++ {
		if m.replyFree(tuple, uint16(p)) {
			n++
		}
	}
	return n
}

func (m *model) mappings() []*modelMapping {
	var all []*modelMapping
	for _, c := range m.conns {
		for _, k := range []*modelMapping{c.src, c.dst} {
			if k != nil && !slices.Contains(all, k) {
				all = append(all, k)
			}
		}
	}
	return all
}

func (m *model) replyFree(tuple packet.Tuple, port uint16) bool {
	tuple.Src, tuple.SrcPort = external, port
	c, _ := m.find(tuple.Reverse())
	return c == nil || m.past(c)
}

// overloadedTowards reports whether a connection without mapping has a reply
// from tuple's destination.
func (m *model) overloadedTowards(tuple packet.Tuple) bool {
	return slices.ContainsFunc(m.conns, func(c *modelConn) bool {
		for _, t := range c.tuple {
			if t.Src == tuple.Dst && t.SrcPort == tuple.DstPort && t.Proto == tuple.Proto && t.Dst == external {
				return c.src == nil
			}
		}
		return false
	})
}
