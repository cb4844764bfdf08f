package dns

import "net/netip"

// A View is what one asker may see of the names of tenant networks: those of the networks that its router joins,
// never those of another tenant. Names are in lower case, without the dot at the end. A View may be asked by
// several goroutines.
type View interface {
	// Addresses are the addresses that a name has. The name may have one label alone: that is a host of the asker's
	// own network first, then of the other networks.
	Addresses(name string) []netip.Addr
	// Domain is the domain that the View answers for and that a name is in, the longest one; empty: in none. Names
	// in it are never asked of other servers.
	Domain(name string) string
	// Name is the whole name of the host with an address; empty: no name is known.
	Name(addr netip.Addr) string
	// Inside reports whether an address belongs to the networks of the View, so that no other server is asked for
	// its name.
	Inside(addr netip.Addr) bool
}
