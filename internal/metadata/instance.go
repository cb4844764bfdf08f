package metadata

import "net/netip"

// An Instance is what the metadata says. The handler does not change it.
type Instance struct {
	ID             string // a UUID
	Project        string // its ID
	Name           string
	Hostname       string     // the whole name, such as web1.openstacklocal
	Zone           string     // availability zone
	Address        netip.Addr // the one that asks
	PublicAddress  netip.Addr // its floating IP; zero: none
	Keys           []Key
	UserData       []byte // nil: none
	SecurityGroups []string
	NICs           []NIC
}

// A Key is an SSH key that may log in.
type Key struct {
	Name string
	Data string // a line as in authorized_keys, without its end
}

// A NIC is a port of an instance.
type NIC struct {
	ID        string // the port's UUID
	MAC       string // with colons
	MTU       int    // bytes
	Addresses []Address
	Servers   []netip.Addr // name servers
}

// An Address is one address of a NIC.
type Address struct {
	Network string       // the network's UUID
	Prefix  netip.Prefix // the address, with the length of its subnet's prefix
	Gateway netip.Addr   // zero: none
	Routes  []Route
	DHCP    bool // the instance gets the address by DHCP
}

// A Route is a route of a subnet's hosts.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
}
