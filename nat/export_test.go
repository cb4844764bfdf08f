package nat

import "github.com/taprouter/taprouter/internal/packet"

// PortGroups is how many groups of ports there are.
const PortGroups = portGroups

// Held is how many ports of a group a host has, of all external addresses.
func (t *Table) Held(host packet.Addr, group int) (n int) {
	for ext := range t.externals {
		if k := t.findHolder(ext, host, portGroup(group)); k != 0 {
			n += int(t.holderAt(k).held())
		}
	}
	return n
}
