package ip

import (
	"net/netip"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// This file is for readers of a router that runs. Any goroutine may call the methods of Rules, as these never change;
// the router's worker calls the others.

// Ranks counts a router's connections by their rank. The count of conntrack.Absent has no meaning.
type Ranks [conntrack.Over + 1]int

// End ends a connection as a change does. Both sides of a TCP connection that is not over are told.
func (r *Router) End(t *loop.Turn, c *conntrack.Conn) {
	if c.Protocol() == packet.ProtoTCP && !c.Ended() {
		r.resetBoth(t, c)
	}
	r.Conns.Remove(c)
}

// A BackendView says where the connection of a VIP goes.
type BackendView struct {
	Listener wire.ID
	Pool     *Pool   // never changes, so any goroutine may look for Number in it
	Number   uint32  // the member's
	Was      *Member // the member, if it has left the pool; else nil
}

// Backend returns where the connection of a VIP goes; zero for another connection.
func (r *Router) Backend(c *conntrack.Conn) BackendView {
	if c.Backend == 0 {
		return BackendView{}
	}
	b := &r.Backends[c.Backend]
	return BackendView{b.VIP.ListenerID, b.Share.Of, b.Member, b.was}
}

// Networks are the networks of a router's interfaces, by the interface's number; nil where there is none.
func (r *Router) Networks() []*wire.Network {
	all := make([]*wire.Network, len(r.Interfaces))
	for k, i := range r.Interfaces {
		if i != nil && i != NoInterface && !i.Checks {
			all[k] = i.Network
		}
	}
	return all
}

// A RouteView is a route for people to look at.
type RouteView struct {
	To      netip.Prefix
	Via     packet.Addr   // 0: on link
	Network *wire.Network // that it leads to
	From    packet.Addr   // the router's own address there, 0 if it has none
	Static  bool          // stated as a route; else it comes from an interface or from the gateway
	Origin  Origin
}

// EachRoute calls fn for every route, in the order of their destinations.
func (r *Rules) EachRoute(fn func(RouteView)) {
	for to, rt := range r.Routes.AllSorted4() {
		if rt.Out.Checks {
			continue // leads to a network inside of the router
		}
		v := RouteView{To: to, Via: rt.Via, Network: rt.Out.Network}
		for _, f := range r.Attached {
			if f.Of == rt.Out {
				v.Origin, v.From = f.origin, f.source(rt.Via, to)
			}
		}
		if rt.origin != nil {
			v.Origin, v.Static = *rt.origin, r.Gateway == nil || rt.origin != &r.Gateway.origin
		}
		fn(v)
	}
}

// source is the address that an interface has in the subnet of a next hop, or of destinations on link.
func (i *InterfaceRules) source(via packet.Addr, to netip.Prefix) packet.Addr {
	if via == 0 {
		via = packet.AddrFrom(to.Addr())
	}
	for _, a := range i.Addrs {
		if a.prefix.contains(via) {
			return a.Addr
		}
	}
	return 0
}

// A GatewayView is a router's gateway for people to look at.
type GatewayView struct {
	Network *wire.Network
	SNAT    bool           // internal hosts without a floating IP share the addresses
	Shared  []packet.Addr  // the addresses; the slice may not be changed
	Plain   []netip.Prefix // destinations towards which nothing is translated
	Origin  Origin
}

// GatewayView returns the gateway. It reports false if there is none.
func (r *Rules) GatewayView() (GatewayView, bool) {
	g := r.Gateway
	if g == nil {
		return GatewayView{}, false
	}
	v := GatewayView{Network: g.Interface.Network, SNAT: g.SNAT, Shared: g.Shared, Origin: g.origin}
	for _, p := range g.Plain {
		v.Plain = append(v.Plain, p.prefix())
	}
	return v, true
}

// EachFloating calls fn for every floating address, in ascending order, with where it came from, and where its ports
// did. inForce is false where the router has no gateway.
func (r *Rules) EachFloating(fn func(addr packet.Addr, to nat.Floating, from FloatingOrigin, inForce bool)) {
	r.floating.Each(func(addr packet.Addr, to nat.Floating) {
		var from FloatingOrigin
		if o := r.Origins.Floating.Find(addr); o != nil {
			from = *o
		}
		fn(addr, to, from, r.Static != nil)
	})
}

// From is where a VIP came from.
func (v *VIPRules) From() Origin { return v.origin }
