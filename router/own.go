package router

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// What config refuses of a file, control methods refuse while the engine runs: members that are
// addresses of the router that balances, and VIPs that lead back to each other.

// ownAddress says what an address is to the router itself, and what to name instead: a
// connection is translated once, and a router does not ask itself by ARP. It is empty for
// others' addresses.
func (r *vrouter) ownAddress(addr uint32) string {
	if v := r.vipOn(addr); v != nil {
		return fmt.Sprintf("the address of VIP %q; name the members of its pool %q", v.Name, v.share.of.name)
	}
	if fixed, ok := r.static.Fixed(addr); ok {
		if v := r.vipOn(fixed); v != nil {
			return fmt.Sprintf("the floating IP of VIP %q; name the members of its pool %q", v.Name, v.share.of.name)
		}
		return fmt.Sprintf("a floating IP; name the host behind it, %v", packet.ToAddr(fixed))
	}
	switch {
	case r.static.Owns(addr):
		return "a floating IP with forwarded ports; name the host behind the port"
	case r.isLocal(addr), r.checks != nil && r.checks.onLink(addr):
		return "its own address; name the host that has the service"
	}
	return ""
}

// vipOn is the first VIP that has an address, nil if there is none.
func (r *vrouter) vipOn(addr uint32) *vip {
	if !r.isLocal(addr) {
		return nil
	}
	for _, v := range r.listeners {
		if v.Addr == addr {
			return v
		}
	}
	return nil
}

// mayHave says why a router may not have a member with this address.
func (r *vrouter) mayHave(addr uint32) error {
	if what := r.ownAddress(addr); what != "" {
		return fmt.Errorf("to router %q %v is %s: %w", r.name, packet.ToAddr(addr), what, fs.ErrInvalid)
	}
	for _, i := range r.ifaces[1:] {
		if i.isBroadcast(addr) {
			return fmt.Errorf("%v is no host's address: %w", packet.ToAddr(addr), fs.ErrInvalid)
		}
	}
	return nil
}

// A trial is a plan with one change more than has been made.
type trial struct {
	pool     *pool // has a member more
	member   *member
	router   *vrouter // has other floating IPs,
	static   *nat.Static
	floating uint32 // this one, too
}

// mayLead refuses a change by which the connections of a VIP would come back to it by way of other
// routers: they would go round until their TTL ends.
func (c *control) mayLead(t trial) error {
	if t.pool != nil && !slices.ContainsFunc(t.pool.shares, func(s *poolShare) bool {
		return t.vipBehind(s.router, t.member, t.pool.proto) != nil
	}) {
		return nil // it is a host, as most are
	}
	if v := c.loop(t); v != nil {
		return fmt.Errorf("the connections of VIP %q would come back to it: %w", v.Name, fs.ErrInvalid)
	}
	return nil
}

// loop finds a VIP that leads back to itself, nil if there is none.
func (c *control) loop(t trial) *vip {
	state := map[*vip]int{} // 1: on the way, 2: leads to no loop
	var walk func(*vip) *vip
	walk = func(v *vip) *vip {
		state[v] = 1
		members := v.share.of.members
		if v.share.of == t.pool {
			members = append(members[:len(members):len(members)], *t.member)
		}
		for i := range members {
			next := t.vipBehind(v.share.router, &members[i], v.Proto)
			if next == nil || state[next] == 2 {
				continue
			}
			if state[next] == 1 {
				return next
			}
			if found := walk(next); found != nil {
				return found
			}
		}
		state[v] = 2
		return nil
	}
	for _, r := range c.routers {
		for _, v := range r.listeners {
			if state[v] == 0 {
				if found := walk(v); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// vipBehind is the VIP of another router that a member is to a router, or that a floating IP which
// it is leads to.
func (t *trial) vipBehind(r *vrouter, m *member, proto uint8) *vip {
	for _, i := range r.ifaces[1:] {
		if !i.onLink(m.Addr) {
			continue
		}
		for _, j := range interfaces(i.network) {
			if j.router != r && (j.owns(m.Addr) || j.router == t.router && m.Addr == t.floating) {
				return t.vipAt(j.router, m.Addr, proto, m.Port)
			}
		}
	}
	return nil
}

// vipAt is the VIP that a router has at an endpoint, or behind the floating IP there.
func (t *trial) vipAt(r *vrouter, addr uint32, proto uint8, port uint16) *vip {
	static := r.static
	if r == t.router {
		static = t.static
	}
	if fixed, ok := static.Fixed(addr); ok {
		addr = fixed
	} else if e, ok := static.Forwarded(addr, proto, port); ok {
		addr, port = e.Addr, e.Port
	}
	if v := r.vips.Find(addr, proto, port); v != nil {
		return r.listeners[v.ID]
	}
	return nil
}
