package config

import (
	"fmt"
	"reflect"
	"time"
)

// This file has attributes that few objects have: those that API clients set and read, and that the router has no use
// for, and what local services tell hosts. Each type is behind a pointer of its object, which is nil if all of them
// have their zero values.

// A NetworkExtra has what few networks have.
type NetworkExtra struct {
	Shared    bool
	Default   bool // the external network that clients take if they are not told which
	DNSDomain string
	ZoneHints []string // availability zones
}

// A SubnetExtra has what few subnets have.
type SubnetExtra struct {
	ServiceTypes      []string // owners of ports that the subnet is for; empty: all
	DNSPublishFixedIP bool
	NoPools           bool     // no address is given out: an empty list of pools is meant as it is
	DNSSearch         []string // domains in which hosts look for a name (DHCP option 119)
}

// A RouterExtra has what few routers have.
type RouterExtra struct {
	ZoneHints []string // availability zones
}

// A PortExtra has what few ports have.
type PortExtra struct {
	HostID      string // where the port is bound
	VNICType    string // empty: normal
	Profile     string // a JSON object of at most MaxProfile bytes; empty: none
	DNSName     string
	DNSDomain   string
	DHCPOptions []DHCPOption

	// What the metadata service tells the port's instance.
	Hostname string   // empty: its name
	SSHKeys  []string // lines as in authorized_keys, at most MaxSSHKeys
	UserData string   // at most MaxUserData bytes, in base64 as Nova has them; empty: none
}

// A DHCPOption is an option of DHCP for one port.
type DHCPOption struct {
	Name      string
	Value     string
	IPVersion int // 4 or 6
}

// A FloatingIPExtra has what few floating IPs have.
type FloatingIPExtra struct {
	DNSName   string
	DNSDomain string
}

// A ListenerExtra has what few listeners have: timeouts that a proxy obeys. A router hands packets on. Each is 0 for
// Octavia's default, and one more than it is otherwise.
type ListenerExtra struct {
	MemberConnect int // ms, plus 1
	MemberData    int // ms, plus 1
	TCPInspect    int // ms, plus 1
}

// orNil is a pointer to attributes, or nil if they are all zero.
func orNil[T any](p *T) *T {
	if p != nil && reflect.ValueOf(p).Elem().IsZero() {
		return nil
	}
	return p
}

// dhcpText writes an option with its version of IP.
func dhcpText(o DHCPOption) string {
	return fmt.Sprintf("%s=%s (IPv%d)", o.Name, o.Value, o.IPVersion)
}

func (x *NetworkExtra) values() []value {
	if x == nil {
		x = new(NetworkExtra)
	}
	return []value{
		yesNo("shared", x.Shared),
		yesNo("is_default", x.Default),
		free("dns_domain", x.DNSDomain),
		several("availability_zone_hints", x.ZoneHints, plainText),
	}
}

func (x *SubnetExtra) values() []value {
	if x == nil {
		x = new(SubnetExtra)
	}
	return []value{
		several("service_types", x.ServiceTypes, plainText),
		yesNo("dns_publish_fixed_ip", x.DNSPublishFixedIP),
		several("dns_search", x.DNSSearch, plainText),
	}
}

func (x *RouterExtra) values() []value {
	if x == nil {
		x = new(RouterExtra)
	}
	return []value{several("availability_zone_hints", x.ZoneHints, plainText)}
}

func (x *PortExtra) values() []value {
	if x == nil {
		x = new(PortExtra)
	}
	return []value{
		free("binding_host_id", x.HostID),
		free("binding_vnic_type", x.VNICType),
		free("binding_profile", x.Profile),
		free("dns_name", x.DNSName),
		free("dns_domain", x.DNSDomain),
		several("extra_dhcp_opts", x.DHCPOptions, dhcpText),
		one("hostname", x.Hostname),
		several("ssh_keys", x.SSHKeys, plainText),
		userDataValue(x.UserData),
	}
}

func (x *FloatingIPExtra) values() []value {
	if x == nil {
		x = new(FloatingIPExtra)
	}
	return []value{free("dns_name", x.DNSName), free("dns_domain", x.DNSDomain)}
}

func (x *ListenerExtra) values() []value {
	if x == nil {
		x = new(ListenerExtra)
	}
	return []value{
		proxyTimeout("timeout_member_connect", x.MemberConnect),
		proxyTimeout("timeout_member_data", x.MemberData),
		proxyTimeout("timeout_tcp_inspect", x.TCPInspect),
	}
}

// proxyTimeout reads as in the topology file. 0 is a default that the file leaves out; a timeout of 0 s is written.
func proxyTimeout(key string, plusOne int) value {
	if plusOne == 0 {
		return value{key: key}
	}
	return one(key, (time.Duration(plusOne-1) * time.Millisecond).String())
}

func plainText(s string) string { return s }
