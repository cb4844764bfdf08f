package nat_test

import (
	"maps"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// swept is what has ended because it had expired, and not because c takes its place.
func (m *model) swept(c *modelConn) []*modelConn {
	var all []*modelConn
	for _, k := range m.ended {
		if k.swept && !slices.ContainsFunc(c.tuple[:],
			func(t packet.Tuple) bool { return k.tuple[0] == t || k.tuple[1] == t }) {
			all = append(all, k)
		}
	}
	return all
}

// predict says what becomes of a new connection c among others.
func (m *model) predict(c *modelConn, conns, young, old []*modelConn, stamps map[packet.Addr]int) (o outcome) {
	o.room, stamps = true, maps.Clone(stamps)
	for _, t := range c.tuple { // in whose place it comes
		i := slices.IndexFunc(conns, func(k *modelConn) bool { return k.tuple[0] == t || k.tuple[1] == t })
		switch {
		case i < 0 || slices.Contains(o.ended, conns[i]):
		case !m.past(conns[i]):
			o.r = conntrack.TupleTaken
			return o
		default:
			if o.ended = append(o.ended, conns[i]); slices.Contains(young, conns[i]) {
				stamps[conns[i].half] = m.stamp + len(o.ended)
			}
		}
	}
	left := func(list []*modelConn) []*modelConn {
		return slices.DeleteFunc(slices.Clone(list), func(k *modelConn) bool { return slices.Contains(o.ended, k) })
	}
	conns, young, old = left(conns), left(young), left(old)
	evictHalf := func() {
		victim, skipped := halfVictim(c, young, stamps, o.moved)
		for _, k := range append(skipped, victim) {
			o.moved = append(o.moved, k)
			stamps[k.half] = 1<<20 + len(o.moved)
			young = append(without(young, k), k)
		}
		o.ended = append(o.ended, victim)
		conns, young = left(conns), left(young)
	}
	makeRoom := func() {
		if len(old) == 0 {
			evictHalf()
			return
		}
		o.ended = append(o.ended, old[0])
		conns, old = left(conns), left(old)
	}
	owned := 0
	for _, k := range conns {
		if k.owner == c.owner && k.counted {
			owned++
		}
	}
	size := m.cfg.MaxConnections
	lasting := len(conns) - len(young) - len(old)
	if c.owner != 0 && m.overShare(owned, size, max(0, size-lasting)) {
		o.r, o.room = conntrack.HostShareUsed, false
		return o
	}
	if len(conns) > size { // the table has become smaller
		o.room = false
		for lasting < size && len(conns) >= size {
			makeRoom()
		}
	}
	if lasting < size && len(young) > 0 && len(young) >= size/2 {
		for evictHalf(); m.excess && len(young) > 0 && len(young) >= size/2; evictHalf() {
		}
		o.trimmed = true
	}
	if len(conns) >= size {
		if o.room = false; lasting >= size {
			o.r = conntrack.TableFull
			return o
		}
		makeRoom()
	}
	return o
}

// group is the interface that a host is behind.
func (c *modelConn) group() uint16 { return uint16(c.half & 1) }

// halfVictim is the half-open connection that makes room for c. Its group is the one that has the most; c's own
// group, if no other has more. Its host is the one of that group that has the most, and of several the one that
// has had them for the longest. The oldest connection of that host makes room. So a host with less than a fair
// share loses none while another host has more.
//
// Up to eight connections are passed over: of other protocols than TCP, with packets since they were listed.
// The connections in moved have been listed anew, so they are not passed over.
func halfVictim(c *modelConn, young []*modelConn, stamps map[packet.Addr]int, moved []*modelConn) (victim *modelConn,
	skipped []*modelConn) {
	groups, hosts := map[uint16]int{}, map[packet.Addr][]*modelConn{}
	for _, k := range young {
		groups[k.group()]++
		hosts[k.half] = append(hosts[k.half], k)
	}
	group := c.group()
	for g := range uint16(2) {
		if groups[g] > groups[group] {
			group = g
		}
	}
	stamps = maps.Clone(stamps)
	for {
		var most []*modelConn
		for _, list := range hosts {
			if list[0].group() != group {
				continue
			}
			if n := len(list) - len(most); n > 0 || n == 0 && stamps[list[0].half] < stamps[most[0].half] {
				most = list
			}
		}
		k := most[0]
		used := k.tuple[0].Proto != packet.ProtoTCP &&
			k.seen.Truncate(time.Millisecond) != k.queued.Truncate(time.Millisecond)
		if len(skipped) == 8 || !used || slices.Contains(skipped, k) || slices.Contains(moved, k) {
			return k, skipped
		}
		skipped = append(skipped, k)
		hosts[k.half] = append(most[1:], k)
		stamps[k.half] = 1<<30 + len(skipped)
	}
}

// An outcome is what becomes of a new connection.
type outcome struct {
	r     conntrack.Refusal
	ended []*modelConn
	moved []*modelConn // half-open ones that have ended to make room or are listed anew, as it happens
	room  bool         // the table and the owner's share have room for it: no reason to sweep

	trimmed bool // half-open connections fill no more than their part from here on
}

func without(list []*modelConn, c *modelConn) []*modelConn {
	return slices.DeleteFunc(list, func(k *modelConn) bool { return k == c })
}
