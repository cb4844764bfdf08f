package dhcp

import (
	"context"
	"net/netip"
	"time"
)

// A Lease is a dynamic lease: an address of a pool that a client has for a while.
type Lease struct {
	Network  string // the ID of the network
	Address  netip.Addr
	Client   string // what the client is known by among those of the network, see Key
	MAC      MAC
	ClientID []byte // option 61; nil: the client has sent none. Never changed
	Hostname string // that the client says; it may be anything that a host name may be. Empty: none
	Device   string // where the client has asked; empty: through a relay
	Began    time.Time
	Ends     time.Time
	Declined bool // no client has the address: MAC has found it in use by another host (DHCPDECLINE)
}

// A Change is one change of a lease: a client got it or has it for longer, or it is gone.
type Change struct {
	Lease
	Gone bool
}

// A Keeper writes leases down.
type Keeper interface {
	// Keep writes changes down and returns an error for each, nil where it is written. A change for which it returns
	// an error is not made. A lease takes the place of the one that its client had. One that is Gone may be unknown
	// to the Keeper, and its client and its address may have other leases by then, which stay.
	//
	// It may block, but not for ever. Any number of goroutines may call it, for different networks.
	Keep(ctx context.Context, changes []Change) []error
}

// Options are settings of Leases. All may be left out.
type Options struct {
	Keeper Keeper // nil: leases are kept in memory only

	// Changed is told of the changes of leases that clients have, after they are kept and before they are answered. For
	// a network its calls come one after the other, in order. It may not call the Leases.
	Changed func(changes []Change)

	// Say is told what an operator should know, in a sentence: a pool is empty, say. Each kind of thing is said once
	// until it is over.
	Say func(network, text string)
}
