// Package nat is how a router shares addresses: mappings and their external ports, and the static
// mappings that people configure, such as floating IPs. Connections themselves are in a
// conntrack.Table, which a Table observes.
//
// Shared source NAT goes through mappings: internal endpoint to external endpoint. All connections of
// that internal endpoint share the mapping as the mapping behavior says (RFC 4787, 4.1;
// endpoint-independent by default). The filtering behavior says which remote hosts may send to the
// mapping (RFC 4787, 5; address-dependent by default). Port numbers are preserved where possible, else
// their parity is. When an external address has no free port left, new connections overload its ports: two
// connections may then share a port as long as they go to different endpoints.
//
// The package has no goroutine, clock, lock or I/O. The time (since any fixed start) and randomness
// are arguments. Callers serialize.
package nat

import "github.com/taprouter/taprouter/internal/conntrack"

// A Behavior is how far a mapping or a filter looks at the remote endpoint
// (RFC 4787, sections 4.1 and 5).
type Behavior uint8

// The three behaviors.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

// A Config holds a table's settings. The zero value of every field but Filtering means its default.
type Config struct {
	Mapping   Behavior
	Filtering Behavior

	HostShare float64 // the most of an address's ports that one host may hold, between 0 and 1; see conntrack.Share
	Lend      bool    // a host may hold more while no other host needs it: see Table.Bind
	PortMin   uint16  // external ports for sources from 1024 up, themselves from 1024 up
	PortMax   uint16  // at least PortMin

	// Memory is where the mappings lie; nil: the heap. It is the table's own from NewTable on. Configure does not
	// change it.
	Memory conntrack.Memory
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.PortMax == 0 {
		c.PortMax = 65535
	}
	c.PortMax = max(c.PortMax, 1024)
	c.PortMin = min(max(c.PortMin, 1024), c.PortMax)
	return c
}

// The reasons why a connection cannot be translated, beside those of package conntrack.
const (
	NoPort    conntrack.Refusal = "no port"    // the external address has no port left, not even to overload
	NoMapping conntrack.Refusal = "no mapping" // nothing inside has opened that external endpoint
	Filtered  conntrack.Refusal = "filtered"   // the mapping exists, but the filtering behavior refuses the sender
)
