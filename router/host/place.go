package host

import (
	"fmt"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A place is where a host is on its network. It is never changed, only replaced.
type place struct {
	address netip.Prefix   // with the length of the subnet; the zero value: the host has none
	others  []netip.Prefix // further ones, in the order in which they came; without address there are none
	gateway netip.Addr     // of the default route; the zero value: there is none
	routes  []Route        // others, the longest prefixes first
}

// A Route is a route of a host beside the default route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr // 0.0.0.0: the destination is on the link
}

// addr is the host's address, 0.0.0.0 if it has none.
func (p *place) addr() netip.Addr {
	if !p.address.IsValid() {
		return netip.IPv4Unspecified()
	}
	return p.address.Addr()
}

// all are the addresses that the host has.
func (p *place) all() []netip.Prefix {
	if !p.address.IsValid() {
		return nil
	}
	return append([]netip.Prefix{p.address}, p.others...)
}

// has reports whether an address is the host's.
func (p *place) has(a netip.Addr) bool {
	return p.address.IsValid() && slices.ContainsFunc(p.all(), func(own netip.Prefix) bool { return own.Addr() == a })
}

// onLink reports whether a subnet of the host has an address.
func (p *place) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(p.all(), func(own netip.Prefix) bool { return own.Masked().Contains(a) })
}

// sourceFor is the address that packets to another one come from: the first in the subnet of the next hop, or else the
// first of all.
func (p *place) sourceFor(to netip.Addr) netip.Addr {
	if hop, ok := p.nextHop(to); ok {
		for _, own := range p.all() {
			if own.Masked().Contains(hop) {
				return own.Addr()
			}
		}
	}
	return p.addr()
}

// with is the place with a further address, which it does not have.
func (p place) with(a netip.Prefix) place {
	if !p.address.IsValid() {
		p.address = a
		return p
	}
	p.others = append(slices.Clone(p.others), a)
	return p
}

// without is the place without an address. The next one takes its place if it was the first. The default route goes
// with the last address whose subnet has the gateway, and so does each other route.
func (p place) without(a netip.Addr) place {
	all := slices.DeleteFunc(p.all(), func(own netip.Prefix) bool { return own.Addr() == a })
	p.address, p.others = netip.Prefix{}, nil
	if len(all) > 0 {
		p.address, p.others = all[0], all[1:]
	}
	if !p.onLink(p.gateway) {
		p.gateway = netip.Addr{}
	}
	p.routes = slices.DeleteFunc(slices.Clone(p.routes), func(r Route) bool {
		return !p.address.IsValid() || !r.NextHop.IsUnspecified() && !p.onLink(r.NextHop)
	})
	return p
}

// leased is the place with a lease, which takes the place of the one before, at the address was.
func (p place) leased(was netip.Addr, l Lease) place {
	others := slices.DeleteFunc(p.all(), func(own netip.Prefix) bool {
		return own.Addr() == was || own.Addr() == l.Address.Addr()
	})
	return place{address: l.Address, others: others, gateway: l.Gateway, routes: l.Routes}
}

// nextHop is the neighbor that packets to an address are sent to, or false if there is no route.
func (p *place) nextHop(to netip.Addr) (netip.Addr, bool) {
	if to == limitedBroadcast || p.onLink(to) {
		return to, true
	}
	for _, r := range p.routes {
		switch {
		case !r.Destination.Contains(to):
		case r.NextHop.IsUnspecified():
			return to, true
		default:
			return r.NextHop, true
		}
	}
	return p.gateway, p.gateway.IsValid()
}

// change has the host be at another place.
func (h *Host) change(to func(place) (place, error)) error {
	h.moving.Lock()
	defer h.moving.Unlock()
	return h.open(func() error {
		was := h.place.Load()
		p, err := to(*was)
		if err != nil {
			return err
		}
		return h.move(was, &p)
	})
}

// move gives the stack the addresses and the routes of a place, and takes those of the former one away, which is nil at
// first.
func (h *Host) move(was, to *place) error {
	h.place.Store(to)
	var had []netip.Prefix
	if was != nil {
		had = was.all()
	}
	for _, own := range had {
		if slices.Contains(to.all(), own) {
			continue
		}
		if err := h.stack.RemoveAddress(nicID, fromAddr(own.Addr())); err != nil {
			return fmt.Errorf("address %s: %w", own, errno(err))
		}
	}
	routes := []tcpip.Route{h.inside}
	for _, own := range to.all() {
		a := tcpip.AddressWithPrefix{Address: fromAddr(own.Addr()), PrefixLen: own.Bits()}
		if !slices.Contains(had, own) {
			address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: a}
			if err := h.stack.AddProtocolAddress(nicID, address, stack.AddressProperties{}); err != nil {
				return fmt.Errorf("address %s: %w", own, errno(err))
			}
		}
		routes = append(routes, tcpip.Route{Destination: a.Subnet(), NIC: nicID})
	}
	everyone := tcpip.AddressWithPrefix{Address: header.IPv4Broadcast, PrefixLen: 32}.Subnet()
	routes = append(routes, tcpip.Route{Destination: everyone, NIC: nicID})
	for _, r := range to.routes {
		d := tcpip.AddressWithPrefix{Address: fromAddr(r.Destination.Addr()), PrefixLen: r.Destination.Bits()}
		route := tcpip.Route{Destination: d.Subnet(), NIC: nicID}
		if !r.NextHop.IsUnspecified() {
			route.Gateway = fromAddr(r.NextHop)
		}
		routes = append(routes, route)
	}
	if to.gateway.IsValid() {
		all := tcpip.AddressWithPrefix{Address: fromAddr(netip.IPv4Unspecified())}.Subnet()
		routes = append(routes, tcpip.Route{Destination: all, Gateway: fromAddr(to.gateway), NIC: nicID})
	}
	h.stack.SetRouteTable(routes)
	return nil
}
