package ip

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// The types in this file are plain values by which a router's rules are built and changed. Package router makes them
// of a State (derive.go). They know nothing of config. Objects name each other by id, as they do in a State.

// A Params says what a router is to obey. A part that is nil stays as it is. A Params is not changed once it is made,
// except that package router adds the interface of checks.
type Params struct {
	ID       wire.ID          // the router's
	Settings *SettingsParams  // never nil for a new router
	Place    *PlaceParams     // never nil for a new router
	Floating []FloatingParams // floating addresses whose meaning may have changed
	VIPs     []VIPParams      // VIPs that have come or changed
	Pools    []wire.ID        // pools that may have changed

	// CheckLife is the lifetime of the connections of the router's own host, which checks members; zero: there is
	// none. AskLife is that of its TCP connections, if it asks servers for local services, too; zero: it does not.
	// KeepsChecks says that they are as they were, and are not set.
	CheckLife, AskLife conntrack.Lifetime
	KeepsChecks        bool
}

// SettingsParams are a router's scalar settings.
type SettingsParams struct {
	Name     string        // the router's, for messages
	RPFilter RPFilter      // which source addresses are refused
	Clamp    bool          // lower the TCP MSS to what the MTU allows
	Fragment time.Duration // how long a packet may be on its way in fragments
	Tables   TableParams
	Origin   Origin
	Timeouts Origin // of the timeouts and limits in Tables: the router, or the settings for all routers
}

// TableParams are the settings of a router's tables.
type TableParams struct {
	Conns conntrack.Config
	NAT   nat.Config
}

// PlaceParams say where a router is: its interfaces, its gateway and its routes.
type PlaceParams struct {
	Interfaces []InterfaceParams // the gateway's, too; at most one on a network
	Gateway    *GatewayParams    // nil: the router has none
	Routes     []RouteParams     // static routes
	Checked    bool              // the router has a host of its own, which checks members, or asks servers
}

// An InterfaceParams is one interface of a router.
type InterfaceParams struct {
	Network  wire.ID
	External bool           // it leads to the gateway's network
	Checks   bool           // it leads to the router's own host, which checks members
	MAC      packet.MAC     // for all addresses of the interface
	Addrs    []netip.Prefix // the router's addresses, with the lengths of their subnets
	OnLink   []netip.Prefix // subnets of the network without an address of the router
	Origin   Origin
}

// A GatewayParams says how a router reaches the outside, through its interface on an external network.
type GatewayParams struct {
	Network wire.ID
	Addr    packet.Addr      // the router's first address there
	NextHop packet.Addr      // of the default route; 0: there is none
	SNAT    bool             // shared SNAT; without it, only floating IPs translate
	Plain   []netip.Prefix   // destinations towards which nothing is translated
	Shared  [][2]packet.Addr // first and last address of the ranges that internal hosts share; none: Addr
	Origin  Origin
	NoSNAT  Origin // of Plain
}

// A RouteParams is a static route.
type RouteParams struct {
	To     netip.Prefix // destinations
	Via    packet.Addr  // the next hop. A route to a next hop on none of the router's networks is ignored
	Origin Origin
}

// A FloatingParams says what a floating address of a router's external network stands for.
type FloatingParams struct {
	Addr   packet.Addr
	To     nat.Floating // zero: the address stands for nothing
	Gone   bool         // the router has no such address any more; To is zero
	Origin Origin

	Forwards []Origin // of To.Forwards, in their order
}

// A VIPParams is a VIP of a router: one listener of a load balancer.
type VIPParams struct {
	ID      wire.ID // the listener's
	Gone    bool    // the router has no such VIP any more; of the other fields only ID is set
	Name    string
	Network wire.ID // the network on which the address is
	Addr    packet.Addr
	Proto   uint8 // packet.ProtoTCP or packet.ProtoUDP
	Port    uint16
	Pool    wire.ID        // empty: the VIP has no members
	Limit   int            // established connections at most, 0: any number
	Idle    time.Duration  // idle timeout of connections, 0: that of the connection table
	Allowed []netip.Prefix // clients that may connect; none: all
	Origin  Origin
}

// An RPFilter says which source addresses are refused because of the routes back to them (reverse-path filtering,
// RFC 3704). It is about packets that belong to no known connection.
type RPFilter uint8

// The reverse-path filters.
const (
	RPOff    RPFilter = iota // routes back do not matter
	RPLoose                  // there must be a route to the source address
	RPStrict                 // that route must lead out of the interface that the packet came in by
)
