package neighbor

import "slices"

// Drop removes every neighbor of an interface that goes away, also neighbors that are being asked for at this
// moment, and tells OnChange of each. It returns how many parked frames are lost: the frames that wait for these
// neighbors, and frames that came in at the interface and wait for neighbors elsewhere. Lost does not count
// them. How many requests the interface's packets have had is forgotten, too, so another interface may have
// its number. The time is bounded by MaxNeighbors.
func (t *Table) Drop(iface uint16) (parked int) {
	for i, n := range t.slots {
		switch {
		case !n.live:
		case n.Iface == iface:
			parked += len(t.unpark(n))
			t.remove(uint16(i))
		default:
			parked += t.unparkFrom(n, iface)
		}
	}
	if int(iface) < len(t.asked) {
		t.asked[iface] = 0
	}
	return parked
}

// unparkFrom forgets the frames that wait for a neighbor and came in at an interface. It returns how many.
func (t *Table) unparkFrom(n *Neighbor, iface uint16) int {
	before := len(n.parked)
	n.parked = slices.DeleteFunc(n.parked, func(p Parked) bool {
		if p.Iface != iface {
			return false
		}
		n.bytes -= len(p.Frame)
		t.bytes -= len(p.Frame)
		t.waits[iface] -= len(p.Frame)
		return true
	})
	return before - len(n.parked)
}
