package router

import (
	"context"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// A NeighborEntry is a copy of one entry of a router's neighbor table.
type NeighborEntry struct {
	Router, Network     string
	RouterID, NetworkID config.ID
	Address             netip.Addr
	MAC                 config.MAC    // zero: not known
	State               string        // as iproute2 calls it: INCOMPLETE, REACHABLE, PROBE, FAILED
	Age                 time.Duration // since the last answer; of a FAILED one since it failed
	Waiting             int           // packets that wait for the answer
}

// Neighbors calls fn for the neighbors of the routers with a name or an id, or of all routers if it is empty, until fn
// returns false. The order has no meaning.
func (i *Inspector) Neighbors(ctx context.Context, router string, fn func(NeighborEntry) bool) error {
	buf := make([]NeighborEntry, 0, lookStep)
	for _, r := range i.routersOf(router) {
		for at, more := 0, true; more; more = at != 0 {
			step := buf
			if err := r.Worker.Look(ctx, func() {
				now, networks := r.Worker.Now, r.Networks()
				at = r.Neighbors.Walk(at, lookStep, func(n *neighbor.Neighbor) {
					e := NeighborEntry{
						Router: r.Name, RouterID: config.ID(r.ID), Address: n.Addr.Netip(), State: n.State.String(),
						Age: n.Confirmed(now), Waiting: n.Parked(),
					}
					if n.Usable() {
						e.MAC = config.MAC(n.MAC)
					}
					if int(n.Iface) < len(networks) && networks[n.Iface] != nil {
						on := networks[n.Iface]
						e.Network, e.NetworkID = on.Name(), config.ID(on.ID)
						step = append(step, e)
					}
				})
			}); err != nil {
				return closed(err)
			}
			for _, e := range step {
				if !fn(e) {
					return nil
				}
			}
		}
	}
	return nil
}

// A RouteKind says where a route comes from.
type RouteKind string

// The kinds of routes.
const (
	Connected RouteKind = "connected" // a subnet that the router has an interface on
	Static    RouteKind = "static"    // stated as a route
	Default   RouteKind = "default"   // to the next hop of the gateway's subnet
)

// A RouteEntry is a route of a router.
type RouteEntry struct {
	Router, Network     string
	RouterID, NetworkID config.ID // the network is the one that the route leads to
	Kind                RouteKind
	To                  netip.Prefix
	Via                 netip.Addr // the next hop; zero: on link
	From                netip.Addr // the router's own address there; zero if it has none in that subnet
	Origin              Provenance
	Ignored             bool // stated, and not obeyed: its next hop is on none of the router's networks
}

// A Provenance says where a rule came from.
type Provenance struct {
	Kind string    // what it is, in words
	Name string    // of the object, may be empty
	ID   config.ID // of the object
	At   string    // lab.toml:12, or a request; empty if unknown
}

func provenance(o ip.Origin) Provenance { return Provenance{o.Kind, o.Name, config.ID(o.ID), o.At} }

// Routes returns the routes of the routers with a name or an id, or of all routers if it is empty. The routers are in
// the order of the State, and the routes of each in the order of their destinations.
func (i *Inspector) Routes(ctx context.Context, router string) ([]RouteEntry, error) {
	s := i.engine.State()
	routers, err := i.ruled(ctx, s, router)
	if err != nil {
		return nil, err
	}
	var all []RouteEntry
	for _, r := range routers {
		in := map[netip.Prefix]netip.Addr{}
		r.rules.EachRoute(func(v ip.RouteView) {
			e := RouteEntry{
				Router: r.rules.SettingsParams.Name, RouterID: config.ID(r.ID),
				Network: v.Network.Name(), NetworkID: config.ID(v.Network.ID),
				Kind: Connected, To: v.To, Via: addrOrNone(v.Via), From: addrOrNone(v.From),
				Origin: provenance(v.Origin),
			}
			switch {
			case v.Static:
				e.Kind = Static
				in[v.To] = e.Via
			case e.Via.IsValid():
				e.Kind = Default
			}
			all = append(all, e)
		})
		all = append(all, ignoredRoutes(s.Router(config.ID(r.ID)), in)...)
	}
	return all, nil
}

// ignoredRoutes are the routes of a router that lead nowhere. in are those that it obeys.
func ignoredRoutes(r *config.Router, in map[netip.Prefix]netip.Addr) (all []RouteEntry) {
	if r == nil {
		return nil
	}
	for _, rt := range r.Routes {
		if to := rt.Destination.Masked(); in[to] != rt.NextHop {
			origin := partOf(r, "route", r)
			origin.At = placeText(rt.Source)
			all = append(all, RouteEntry{Router: r.Name, RouterID: r.ID, Kind: Static, To: to, Via: rt.NextHop,
				Origin: provenance(origin), Ignored: true})
		}
	}
	return all
}

func addrOrNone(a packet.Addr) netip.Addr {
	if a == 0 {
		return netip.Addr{}
	}
	return a.Netip()
}

// NATRules are the rules by which a router translates, as people think of them. Load balancers are apart:
// Inspector.LoadBalancers.
type NATRules struct {
	Router      string
	RouterID    config.ID
	SNAT        *SNATRule // nil: internal hosts share no address
	FloatingIPs []FloatingRule
}

// A SNATRule says what internal hosts without a floating IP show outside.
type SNATRule struct {
	Network   string // the external one
	NetworkID config.ID
	Addresses []SNATAddress  // each host has one of them, always the same
	Plain     []netip.Prefix // destinations towards which nothing is translated
	Origin    Provenance
}

// A SNATAddress is an address that internal hosts share, with how many of its ports are in use.
type SNATAddress struct {
	Address        netip.Addr
	TCP, UDP, ICMP int // of ICMP it is query identifiers
}

// A FloatingRule is a floating IP as its router has it.
type FloatingRule struct {
	ID       config.ID
	Address  netip.Addr
	Fixed    netip.Addr // zero: none, only its ports lead somewhere
	Forwards []ForwardRule
	InForce  bool // the router has a gateway
	Origin   Provenance
}

// A ForwardRule is one port of a floating IP.
type ForwardRule struct {
	ID       config.ID
	Protocol string // TCP, UDP
	Port     uint16
	To       netip.AddrPort
	Origin   Provenance
}

// NAT returns the rules of the routers with a name or an id, or of all routers if it is empty, in the order of the
// State.
func (i *Inspector) NAT(ctx context.Context, router string) ([]NATRules, error) {
	routers, err := i.ruled(ctx, i.engine.State(), router)
	if err != nil {
		return nil, err
	}
	all := make([]NATRules, 0, len(routers))
	for _, r := range routers {
		n := NATRules{Router: r.rules.SettingsParams.Name, RouterID: config.ID(r.ID)}
		if g, ok := r.rules.GatewayView(); ok && g.SNAT {
			if n.SNAT, err = snatRule(ctx, r, &g); err != nil {
				return nil, err
			}
		}
		r.rules.EachFloating(func(addr packet.Addr, to nat.Floating, from ip.FloatingOrigin, inForce bool) {
			n.FloatingIPs = append(n.FloatingIPs, floatingRule(addr, &to, &from, inForce))
		})
		all = append(all, n)
	}
	return all, nil
}

// PortsInUse returns the addresses that the internal hosts of each router share, by the router's name. Routers of the
// same name are one. It is the part of NAT that changes with every connection.
func (i *Inspector) PortsInUse(ctx context.Context) (map[string][]SNATAddress, error) {
	routers, err := i.ruled(ctx, i.engine.State(), "")
	if err != nil {
		return nil, err
	}
	all := make(map[string][]SNATAddress, len(routers))
	for _, r := range routers {
		if g, ok := r.rules.GatewayView(); ok && g.SNAT {
			ports, err := portsInUse(ctx, r, g.Shared)
			if err != nil {
				return nil, err
			}
			name := r.rules.SettingsParams.Name
			all[name] = append(all[name], ports...)
		}
	}
	return all, nil
}

func snatRule(ctx context.Context, r ruled, g *ip.GatewayView) (*SNATRule, error) {
	ports, err := portsInUse(ctx, r, g.Shared)
	return &SNATRule{
		Network: g.Network.Name(), NetworkID: config.ID(g.Network.ID), Plain: g.Plain, Addresses: ports,
		Origin: provenance(g.Origin),
	}, err
}

// portsInUse says of addresses how many of their ports are in use.
func portsInUse(ctx context.Context, r ruled, shared []packet.Addr) ([]SNATAddress, error) {
	all := make([]SNATAddress, 0, len(shared))
	err := inSteps(ctx, r.Worker, shared, func(a packet.Addr) {
		n := r.NAT.InUse(a)
		all = append(all, SNATAddress{a.Netip(), n.TCP, n.UDP, n.ICMP})
	})
	if err != nil {
		return nil, closed(err)
	}
	return all, nil
}

func floatingRule(addr packet.Addr, to *nat.Floating, from *ip.FloatingOrigin, inForce bool) FloatingRule {
	f := FloatingRule{
		ID: config.ID(from.ID), Address: addr.Netip(), Fixed: addrOrNone(to.Fixed), InForce: inForce,
		Origin: provenance(from.Origin),
	}
	for k, p := range to.Forwards {
		w := ForwardRule{
			Protocol: protocols[p.Proto], Port: p.Port, To: netip.AddrPortFrom(p.To.Addr.Netip(), p.To.Port),
		}
		if k < len(from.Forwards) {
			w.ID, w.Origin = config.ID(from.Forwards[k].ID), provenance(from.Forwards[k])
		}
		f.Forwards = append(f.Forwards, w)
	}
	return f
}
