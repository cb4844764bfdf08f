package dhcp

// A Reason says what has become of a message. Messages are counted by it.
type Reason uint8

// The reasons.
const (
	Offered      Reason = iota // an address was offered
	Acknowledged               // an address was given, or given for longer
	Refused                    // a client may not use the address that it asks for (DHCPNAK)
	Informed                   // a client with an address of its own got its parameters
	Released                   // a client has given its address back
	Declined                   // a client has found its address in use by another host
	Malformed                  // it is no DHCP message, or says what its kind may not say
	NotEthernet                // its hardware address is none of Ethernet
	NotRequest                 // it is a server's message, or of a kind that servers do not answer
	OtherServer                // the client has chosen another server
	NoPort                     // the client is no port, and only ports get addresses
	NoAddress                  // the client's port has no address in a subnet with DHCP
	NoSubnet                   // no subnet with DHCP is where the client, or its relay, is
	NoLease                    // the client gives back an address that it does not have
	PoolEmpty                  // no address is free
	Full                       // the network, or the client's device or MAC address, has as many leases as it may
	TooMany                    // the client, or its device, asks too often
	NotKept                    // the lease could not be written down
	NumReasons
)

var reasonNames = [NumReasons]string{
	"offered", "acknowledged", "refused", "informed", "released", "declined", "malformed", "not-ethernet",
	"not-request", "other-server", "no-port", "no-address", "no-subnet", "no-lease", "pool-empty", "full", "too-many",
	"not-kept",
}

// String returns the reason's name, as metrics write it.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}
