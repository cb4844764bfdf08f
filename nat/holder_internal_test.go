package nat

import (
	"slices"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// checkHolders compares what the table says of holders with the mappings and connections that there are.
func (d *disorder) checkHolders() {
	d.t.Helper()
	t := d.table
	firmConns := map[uint32]uint32{}
	users := map[uint32][]*conntrack.Conn{}
	for c := range d.live {
		for side := range 2 {
			i := t.mappingOf(c, side)
			if i == 0 {
				continue
			}
			users[i] = append(users[i], c)
			if c.Protocol() == packet.ProtoTCP && c.Rank() == conntrack.Lasting {
				firmConns[i]++
			}
		}
	}
	type sum struct{ held, firm int32 }
	sums := map[uint32]sum{}
	for _, e := range t.externals {
		for _, s := range e.ports {
			if s == nil {
				continue
			}
			lent, borrowers := [2]int{}, 0
			seen := map[uint32]bool{}
			for port := range 1 << 16 {
				i := s.mapping(uint16(port))
				if i == 0 {
					continue
				}
				k, h := t.holderOf(t.mappings.list.At(i))
				if k == 0 {
					d.t.Fatalf("port %d has no holder", port)
				}
				at := sums[k]
				at.held++
				place := t.mappings.list.At(i)
				if place.Next == notQueued {
					at.firm++
					if place.Prev != firmConns[i] || place.Prev == 0 {
						d.t.Fatalf("port %d has %d established connections, not %d", port, firmConns[i], place.Prev)
					}
				} else if firmConns[i] != 0 {
					d.t.Fatalf("port %d is lent, with %d established connections", port, firmConns[i])
				}
				sums[k] = at
				d.checkRing(place.first, users[i])
				if !seen[k] {
					seen[k] = true
					if h.borrowed() > 0 {
						lent[h.group().wellKnown()] += int(h.borrowed())
						borrowers++
					}
				}
			}
			if lent != s.lent {
				d.t.Fatalf("%v ports are lent, not %v", lent, s.lent)
			}
			if (borrowers > 0) != (s.borrowers[0].First() != 0) {
				d.t.Fatalf("%d borrowers, and the first is %d", borrowers, s.borrowers[0].First())
			}
		}
	}
	for k, want := range sums {
		h := t.holderAt(k)
		queued := int32(0)
		for i := h.oldest(); i != 0; {
			queued++
			next := t.mappings.list.At(i).Next
			if t.mappings.list.At(next).Prev != i {
				d.t.Fatalf("mapping %d is not behind %d", next, i)
			}
			if i = next; i == h.oldest() {
				break
			}
		}
		if h.held() != want.held || h.firm() != want.firm || queued != h.held()-h.firm() ||
			h.own() > h.held() || h.own() < 1 {
			d.t.Fatalf("%+v with %d mappings in its queue, want %+v", *h, queued, want)
		}
	}
}

// checkRing: a mapping's ring is its connections.
func (d *disorder) checkRing(first conntrack.Member, want []*conntrack.Conn) {
	d.t.Helper()
	var got []*conntrack.Conn
	for m := first; m != 0; {
		got = append(got, d.conns.RingConn(m))
		if m = d.conns.NextInRing(m); m == first {
			break
		}
	}
	for _, c := range want {
		if !slices.Contains(got, c) {
			d.t.Fatalf("%v is not in the ring of its mapping", c.Tuple(conntrack.Original))
		}
	}
	if len(got) != len(want) {
		d.t.Fatalf("a ring of %d connections, want %d", len(got), len(want))
	}
}
