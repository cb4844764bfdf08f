package ip

import "github.com/taprouter/taprouter/internal/packet"

// A router with shared SNAT is closed to connections from the outside. Its hosts show addresses of the gateway there.

// closed reports whether new connections from outside need a rule.
func (r *Router) closed() bool { return r.Gateway != nil && r.Gateway.SNAT }

// externalAddr is the address that an internal host shows outside: its floating IP, else a shared one. The router has
// a gateway.
func (r *Router) externalAddr(addr packet.Addr) packet.Addr {
	if floating, ok := r.Static.Floating(addr); ok {
		return floating
	}
	return r.Gateway.sharedBy(addr)
}

// showsItself reports whether a destination outside sees internal addresses untranslated (no_snat).
func (g *gateway) showsItself(dst packet.Addr) bool {
	for _, p := range g.Plain {
		if p.contains(dst) {
			return true
		}
	}
	return false
}
