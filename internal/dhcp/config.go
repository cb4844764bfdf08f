package dhcp

import (
	"net/netip"
	"time"
)

// A MAC is an Ethernet address. The MAC types of other packages can be assigned to it.
type MAC = [6]byte

// A Config is what the messages of one network are answered from. It is never changed, and its functions may be called
// by any goroutine.
type Config struct {
	// Subnets have DHCP. The order is that in which they are tried for a client without a place of its own.
	Subnets []Subnet

	// Servers are all addresses at which the server is reached, those of Subnets or not: a client may know it by an
	// address that it has had.
	Servers []netip.Addr

	// Port finds the port that a client is: by its MAC address, or by the device that it asks from. Nil: none. The
	// device is empty where the client asks through a relay.
	Port func(mac MAC, device string) *Port

	// Taken says whether an object of the State, such as a port, has an address. Nil: none has.
	Taken func(a netip.Addr) bool

	// TakenIn counts the addresses of a range that objects of the State have, for statistics. Nil: it is not known.
	TakenIn func(first, last netip.Addr) int

	// Unknown says whether clients that are no port get addresses of the pools. Otherwise they are not answered.
	Unknown bool

	// MTU is the network's, in bytes, for option 26. 0: it is not told.
	MTU int

	// Limit is how many dynamic leases the network may have, DeviceLimit how many of them a client may have asked for
	// from one device. 0: DefaultLimit; as many as the network.
	Limit, DeviceLimit int
}

// A Subnet is one IPv4 subnet that has DHCP.
type Subnet struct {
	CIDR      netip.Prefix
	Server    netip.Addr    // the server's address in it: option 54, and where answers come from
	Gateway   netip.Addr    // option 3; zero: none
	Pools     []Range       // what is given to clients without a port
	LeaseTime time.Duration // whole seconds; 0: DefaultLeaseTime
	DNS       []netip.Addr  // option 6
	Domain    string        // option 15; empty: none
	Search    []string      // option 119
	Routes    []Route       // option 121, without the default route, which Gateway is
}

// A Range is an inclusive range of addresses.
type Range struct{ First, Last netip.Addr }

// A Route is a route of a client.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr // 0.0.0.0: on the link
}

// A Port is a client with addresses of its own.
type Port struct {
	Addresses []netip.Addr // the first that is in a subnet with DHCP is its address. None: it gets one as Unknown says
	Hostname  string       // option 12; empty: none
	Domain    string       // instead of the subnet's; empty: the subnet's
	Options   []Option     // instead of what the subnet says; codes occur once
}

// An Option is an option of a port (extra_dhcp_opts).
type Option struct {
	Code  uint8  // OptionNextServer stands for the field siaddr
	Value []byte // as in a message; nil: the option is not sent, not even that of the subnet
}

// OptionNextServer is the code of the server to boot from, four bytes, which is a field of a message and not an option.
const OptionNextServer = 255

// Lease times and limits that a Config may leave out.
const (
	DefaultLeaseTime = 24 * time.Hour
	DefaultLimit     = 65536
)
