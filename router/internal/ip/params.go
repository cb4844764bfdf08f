package ip

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// The types in this file are what derive makes of a State: plain values, by which a router's rules are built and
// changed. They know nothing of config. Objects name each other by id, as they do in a State.

// An Origin is where a rule came from: the object, and the line that stated it. Only readers, such as traces, look
// at it.
type Origin struct {
	Kind string // in the words of config.Kind, or of the topology file
	Name string
	ID   wire.ID
	At   string // such as lab.toml:12; empty if unknown
}

func (o Origin) String() string { return o.Kind + " " + o.Name }

// A Params says what a router is to obey. What is nil stays as it is.
type Params struct {
	ID       wire.ID
	Settings *SettingsParams
	Place    *PlaceParams
	Floating []FloatingParams // floating addresses whose meaning may have changed
	VIPs     []VIPParams      // VIPs that have come or changed
	Pools    []wire.ID        // pools that may have changed

	// CheckLife is the lifetime of the connections of checks. It is set in any case; zero: there are none.
	CheckLife conntrack.Lifetime
}

// SettingsParams are a router's scalar settings.
type SettingsParams struct {
	Name     string
	RPFilter RPFilter
	Clamp    bool          // lower the TCP MSS to what the MTU allows
	Fragment time.Duration // how long a packet may be on its way in fragments
	Tables   TableParams
	Origin   Origin
}

// TableParams are the settings of a router's tables.
type TableParams struct {
	Conns conntrack.Config
	NAT   nat.Config
}

// PlaceParams say where a router is: its interfaces, its gateway and its routes.
type PlaceParams struct {
	Interfaces []InterfaceParams // the gateway's, too; at most one on a network
	Gateway    *GatewayParams
	Routes     []RouteParams
	Checked    bool // the router checks members
}

// An InterfaceParams is one interface of a router.
type InterfaceParams struct {
	Network  wire.ID
	External bool
	Checks   bool // the network of the router's own checks of members
	MAC      packet.MAC
	Addrs    []netip.Prefix // the router's, with the lengths of their subnets
	OnLink   []netip.Prefix // subnets of the network without an address of the router
	Origin   Origin
}

// A GatewayParams says how a router reaches the outside, through its interface on an external network.
type GatewayParams struct {
	Network wire.ID
	Addr    packet.Addr
	NextHop packet.Addr // 0: none
	SNAT    bool
	Plain   []netip.Prefix   // destinations towards which nothing is translated
	Shared  [][2]packet.Addr // first and last address of the ranges that internal hosts share; none: addr
	Origin  Origin
}

// A RouteParams is a static route.
type RouteParams struct {
	To     netip.Prefix
	Via    packet.Addr
	Origin Origin
}

// A FloatingParams says what a floating address of a router's external network stands for.
type FloatingParams struct {
	Addr   packet.Addr
	To     nat.Floating // zero: nothing any more
	Origin Origin
}

// A VIPParams is a VIP of a router: one listener of a load balancer.
type VIPParams struct {
	ID      wire.ID
	Gone    bool // the router has no such VIP any more; nothing else is set
	Name    string
	Network wire.ID
	Addr    packet.Addr
	Proto   uint8
	Port    uint16
	Pool    wire.ID
	Limit   int           // established connections at most, 0: any number
	Idle    time.Duration // 0: as the connection table has it
	Allowed []netip.Prefix
	Origin  Origin
}
