package router

import "github.com/taprouter/taprouter/internal/packet"

// A router with shared SNAT is closed to the outside, and its hosts show addresses of the gateway there.

// closed reports whether new connections from outside need a rule.
func (r *vrouter) closed() bool { return r.gateway != nil && r.gateway.snat }

// externalAddr is the address an internal host shows outside.
func (r *vrouter) externalAddr(addr packet.Addr) packet.Addr {
	if floating, ok := r.static.Floating(addr); ok {
		return floating
	}
	return r.gateway.sharedBy(addr)
}

// showsItself reports whether a destination outside sees internal addresses.
func (g *gateway) showsItself(dst packet.Addr) bool {
	for _, p := range g.plain {
		if p.contains(dst) {
			return true
		}
	}
	return false
}
