package host

import (
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A place is where a host is on its network. It is never changed, only replaced.
type place struct {
	address netip.Prefix // with the length of the subnet; the zero value: the host has none
	gateway netip.Addr   // of the default route; the zero value: there is none
	routes  []Route      // others, the longest prefixes first
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

// nextHop is the neighbor that packets to an address are sent to, or false if there is no route.
func (p *place) nextHop(to netip.Addr) (netip.Addr, bool) {
	if to == limitedBroadcast || p.address.IsValid() && p.address.Masked().Contains(to) {
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

// move gives the stack the address and the routes of a place, and takes the former ones away.
func (h *Host) move(to *place) error {
	was := h.place.Load()
	h.place.Store(to)
	if was != to && was.address.IsValid() && was.address != to.address {
		if err := h.stack.RemoveAddress(nicID, fromAddr(was.addr())); err != nil {
			return fmt.Errorf("address %s: %w", was.address, errno(err))
		}
	}
	everyone := tcpip.AddressWithPrefix{Address: header.IPv4Broadcast, PrefixLen: 32}.Subnet()
	routes := []tcpip.Route{h.inside}
	if to.address.IsValid() {
		own := tcpip.AddressWithPrefix{Address: fromAddr(to.addr()), PrefixLen: to.address.Bits()}
		if was == to || was.address != to.address {
			address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: own}
			if err := h.stack.AddProtocolAddress(nicID, address, stack.AddressProperties{}); err != nil {
				return fmt.Errorf("address %s: %w", to.address, errno(err))
			}
		}
		routes = append(routes, tcpip.Route{Destination: own.Subnet(), NIC: nicID})
	}
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
