package config

import (
	"iter"
	"net/netip"
)

// FloatingIPsAt gives the floating IPs with an address: one for each external network that has it.
func (c *content) FloatingIPsAt(a netip.Addr) iter.Seq[*FloatingIP] {
	return func(yield func(*FloatingIP) bool) {
		for id := range c.claimants(claim{what: claimShown, addr: a}) {
			if f := c.FloatingIP(id); f != nil && !yield(f) {
				return
			}
		}
	}
}
