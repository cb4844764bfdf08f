// Package nat is everything a router remembers about the traffic it
// translates: the connection table, mappings, floating IPs, TCP states and
// their expiry.
//
// A connection is kept under two tuples, that of the packets of the side that
// opened it (Original) and that of the other side's (Reply), both as they
// arrive at the router. One is found by the other's reverse, so a connection
// holds its whole translation, however many rules it was made of.
//
// Shared source NAT goes through mappings: internal endpoint to external
// endpoint, shared by all connections of that internal endpoint as the mapping
// behavior says (RFC 4787, 4.1; endpoint-independent by default), filtered as
// the filtering behavior says (RFC 4787, 5; address-dependent by default). Port
// numbers are preserved where possible, else their parity is. When an external
// address has no free port left, new connections overload its ports: two
// connections may then share one as long as they go to different endpoints.
//
// The package has no goroutine, clock, lock or I/O: now (since any fixed start)
// and randomness are arguments. Callers serialize.
package nat

import "time"

// Timeouts of idle connections. Topology files may change them.
const (
	UDPTimeout            = 5 * time.Minute             // RFC 4787 REQ-5c
	ICMPTimeout           = 60 * time.Second            // RFC 5508 REQ-2
	TCPEstablishedTimeout = 2*time.Hour + 4*time.Minute // RFC 5382 REQ-5
	TCPTransitoryTimeout  = 4 * time.Minute             // RFC 5382 REQ-5
	OtherTimeout          = 10 * time.Minute            // GRE, ESP ...: as Linux conntrack
	DefaultMaxConnections = 1 << 20
	DefaultHostShare      = 0.5
)

// A Behavior is how far a mapping or a filter looks at the remote endpoint
// (RFC 4787, sections 4.1 and 5).
type Behavior uint8

// The three behaviors.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

// A Config holds a table's settings. The zero value of every field but
// Filtering means its default.
type Config struct {
	Mapping   Behavior
	Filtering Behavior

	MaxConnections int     // connections at most
	HostShare      float64 // the most of the table, and of an address's ports, that one host may hold; see Table.Commit
	PortMin        uint16  // external ports for sources from 1024 up, themselves from 1024 up
	PortMax        uint16  // at least PortMin

	UDP, ICMP, TCPEstablished, Other time.Duration
	TCPOpening, TCPClosing           time.Duration // 0: TCPTransitory
	TCPTransitory                    time.Duration
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.HostShare <= 0 || c.HostShare > 1 {
		c.HostShare = DefaultHostShare
	}
	if c.PortMax == 0 {
		c.PortMax = 65535
	}
	c.PortMax = max(c.PortMax, 1024)
	c.PortMin = min(max(c.PortMin, 1024), c.PortMax)
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orElse(&c.UDP, UDPTimeout)
	orElse(&c.ICMP, ICMPTimeout)
	orElse(&c.TCPEstablished, TCPEstablishedTimeout)
	orElse(&c.TCPTransitory, TCPTransitoryTimeout)
	orElse(&c.TCPOpening, c.TCPTransitory)
	orElse(&c.TCPClosing, c.TCPTransitory)
	orElse(&c.Other, OtherTimeout)
	return c
}

// A Refusal says why a connection cannot be made; None that it can.
type Refusal uint8

// The refusals.
const (
	None          Refusal = iota
	TableFull             // the connection table is full of connections that may not be evicted
	HostShareUsed         // the host holds its share of the table, or of the ports where the remote endpoint is crowded
	NoPort                // the external address has no port left, not even to overload
	NoMapping             // nothing inside has opened that external endpoint
	Filtered              // the mapping exists, but the filtering behavior refuses the sender
	TupleTaken            // another connection answers to the same tuple
)

var refusals = [...]string{"none", "table full", "host share used", "no port",
	"no mapping", "filtered", "tuple taken"}

// String names the refusal.
func (r Refusal) String() string { return refusals[r] }
