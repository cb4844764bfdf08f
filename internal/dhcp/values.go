package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// values are the options that a client of a subnet may ask for, by code. A value that is nil is not sent.
func (c *Config) values(s *Subnet, p *Port) map[uint8][]byte {
	v := map[uint8][]byte{}
	set := func(code dhcpv4.OptionCode, b []byte) {
		if len(b) > 0 {
			v[code.Code()] = b
		}
	}
	set(dhcpv4.OptionSubnetMask, net.CIDRMask(s.CIDR.Bits(), 32))
	set(dhcpv4.OptionBroadcastAddress, broadcastOf(s.CIDR))
	set(dhcpv4.OptionRouter, s.Gateway.AsSlice())
	set(dhcpv4.OptionDomainNameServer, addresses(s.DNS))
	set(dhcpv4.OptionDomainName, []byte(s.Domain))
	set(dhcpv4.OptionDNSDomainSearchList, searchList(s.Search))
	if c.MTU > 0 {
		set(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, uint16(min(c.MTU, 65535))))
	}
	if p != nil {
		set(dhcpv4.OptionHostName, []byte(p.Hostname))
		set(dhcpv4.OptionDomainName, []byte(p.Domain))
		for _, o := range p.Options {
			v[o.Code] = o.Value
		}
	}
	routes := dhcpv4.OptionClasslessStaticRoute.Code()
	if _, own := v[routes]; !own && len(s.Routes) > 0 {
		router := v[dhcpv4.OptionRouter.Code()]
		v[routes] = routesOf(s.Routes, router[:len(router)&^3])
	}
	return v
}

// broadcastOf is the address that all hosts of a prefix hear, which prefixes of 31 and 32 bits lack (RFC 3021).
func broadcastOf(p netip.Prefix) []byte {
	if p.Bits() > 30 {
		return nil
	}
	a := p.Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(a[:])|host)
}

// addresses writes the IPv4 addresses of a list.
func addresses(list []netip.Addr) []byte {
	var b []byte
	for _, a := range list {
		if a.Is4() {
			b = append(b, a.AsSlice()...)
		}
	}
	return b
}

// routesOf writes routes and, because clients that read them do not read option 3 (RFC 3442), the default route by the
// first of the routers.
func routesOf(routes []Route, routers []byte) []byte {
	var list dhcpv4.Routes
	hasDefault := len(routers) < net.IPv4len
	for _, r := range routes {
		if !r.Destination.Addr().Is4() || !r.NextHop.Is4() {
			continue
		}
		p := r.Destination.Masked()
		hasDefault = hasDefault || p.Bits() == 0
		list = append(list, &dhcpv4.Route{
			Dest:   &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)},
			Router: r.NextHop.AsSlice(),
		})
	}
	if !hasDefault {
		list = append(list, &dhcpv4.Route{
			Dest:   &net.IPNet{IP: make(net.IP, net.IPv4len), Mask: net.CIDRMask(0, 32)},
			Router: net.IP(routers[:net.IPv4len]),
		})
	}
	return list.ToBytes()
}

// searchList writes domains as one option, in which an ending that was there before is a pointer (RFC 3397, 2). A
// domain that is none is left out.
func searchList(domains []string) []byte {
	var b []byte
	at := map[string]int{} // where a domain, or an ending of one, begins
	for _, d := range domains {
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		if !isDomain(d) {
			continue
		}
		for d != "" {
			if n, ok := at[d]; ok {
				b = append(b, 0xc0|byte(n>>8), byte(n))
				break
			}
			if len(b) < 1<<14 {
				at[d] = len(b)
			}
			label, rest, _ := strings.Cut(d, ".")
			b = append(append(b, byte(len(label))), label...)
			if d = rest; d == "" {
				b = append(b, 0)
			}
		}
	}
	return b
}

// isDomain says whether a text can be written as a domain.
func isDomain(d string) bool {
	if d == "" || len(d) > 253 {
		return false
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}
