package router

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// The types in this file are what derive makes of a State: plain values, by which a router's rules are built and
// changed. They know nothing of config. Objects name each other by id, as they do in a State.

// An origin is where a rule came from: the object, and the line that stated it. Only readers, such as traces, look
// at it.
type origin struct {
	kind string // in the words of config.Kind, or of the topology file
	name string
	id   id
	at   string // such as lab.toml:12; empty if unknown
}

func (o origin) String() string { return o.kind + " " + o.name }

// A routerParams says what a router is to obey. What is nil stays as it is.
type routerParams struct {
	id       id
	settings *settingsParams
	place    *placeParams
	floating []floatingParams // floating addresses whose meaning may have changed
	vips     []vipParams      // VIPs that have come or changed
	pools    []id             // pools that may have changed

	// checkLife is the lifetime of the connections of checks. It is set in any case; zero: there are none.
	checkLife conntrack.Lifetime
}

// settingsParams are a router's scalar settings.
type settingsParams struct {
	name     string
	rpFilter rpFilter
	clamp    bool          // lower the TCP MSS to what the MTU allows
	fragment time.Duration // how long a packet may be on its way in fragments
	tables   tableParams
	origin   origin
}

// tableParams are the settings of a router's tables.
type tableParams struct {
	conns conntrack.Config
	nat   nat.Config
}

// placeParams say where a router is: its interfaces, its gateway and its routes.
type placeParams struct {
	ifaces  []ifaceParams // the gateway's, too; at most one on a network
	gateway *gatewayParams
	routes  []routeParams
	checked bool // the router checks members
}

// An ifaceParams is one interface of a router.
type ifaceParams struct {
	network  id
	external bool
	checks   bool // the network of the router's own checks of members
	mac      packet.MAC
	addrs    []netip.Prefix // the router's, with the lengths of their subnets
	onLink   []netip.Prefix // subnets of the network without an address of the router
	origin   origin
}

// A gatewayParams says how a router reaches the outside, through its interface on an external network.
type gatewayParams struct {
	network id
	addr    packet.Addr
	nextHop packet.Addr // 0: none
	snat    bool
	plain   []netip.Prefix   // destinations towards which nothing is translated
	shared  [][2]packet.Addr // first and last address of the ranges that internal hosts share; none: addr
	origin  origin
}

// A routeParams is a static route.
type routeParams struct {
	to     netip.Prefix
	via    packet.Addr
	origin origin
}

// A floatingParams says what a floating address of a router's external network stands for.
type floatingParams struct {
	addr   packet.Addr
	to     nat.Floating // zero: nothing any more
	origin origin
}

// A vipParams is a VIP of a router: one listener of a load balancer.
type vipParams struct {
	id      id
	gone    bool // the router has no such VIP any more; nothing else is set
	name    string
	network id
	addr    packet.Addr
	proto   uint8
	port    uint16
	pool    id
	limit   int           // established connections at most, 0: any number
	idle    time.Duration // 0: as the connection table has it
	allowed []netip.Prefix
	origin  origin
}
