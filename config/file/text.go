package file

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parseRange reads FIRST-LAST. Their order is the check's business.
func parseRange(text string) (AddressRange, error) {
	first, last, _ := strings.Cut(text, "-")
	a, errFirst := parseAddr(strings.TrimSpace(first))
	b, errLast := parseAddr(strings.TrimSpace(last))
	if errFirst != nil || errLast != nil {
		return AddressRange{}, fmt.Errorf("%q is not a range such as 10.10.10.2-10.10.10.21", text)
	}
	return AddressRange{First: a, Last: b}, nil
}

// parseAddrOrRange reads one address as a range of one.
func parseAddrOrRange(text string) (AddressRange, error) {
	if a, err := parseAddr(strings.TrimSpace(text)); err == nil {
		return AddressRange{First: a, Last: a}, nil
	}
	r, err := parseRange(text)
	if err != nil {
		return r, fmt.Errorf("%q is neither an address nor a range such as 10.10.10.2-10.10.10.21", text)
	}
	return r, nil
}

// parseAddr reads an IPv4 or IPv6 address, without a zone: a subnet says where
// an address is. IPv4 in IPv6's clothes is refused because it would never equal
// the plain form.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	}
	if a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%v is an IPv4 address in IPv6 notation; write %v", a, a.Unmap())
	}
	return a, nil
}

// parsePrefix reads ADDRESS/LENGTH. Host bits are the check's business.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err == nil && !p.Addr().Is4In6() {
		return p, nil
	}
	if a, err := parseAddr(text); err == nil {
		return netip.Prefix{}, fmt.Errorf("%v has no prefix length; write %v for this one address", a,
			netip.PrefixFrom(a, a.BitLen()))
	}
	return netip.Prefix{}, fmt.Errorf("%q is not a prefix such as 10.1.0.0/24", text)
}

// parseAddrOrPrefix reads a prefix or one address, which is the prefix of its
// full length.
func parseAddrOrPrefix(text string) (netip.Prefix, error) {
	if a, err := parseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return parsePrefix(text)
}

func isAddress(text string) bool {
	_, err := parseAddrOrPrefix(text)
	return err == nil
}

// parseDuration reads Go's durations.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 5s, 10m or 2h4m", text)
	}
	return d, nil
}

// proxyTimeout reads a timeout that a proxy obeys, as config.ListenerExtra has it: milliseconds, plus 1.
func (v value) proxyTimeout() int {
	d := v.duration()
	switch {
	case v.at.spoiled(v.key):
		return 0
	case d < 0 || d%time.Millisecond != 0 || d/time.Millisecond >= math.MaxInt32:
		v.fault("%s must be whole milliseconds from 0s to %v, not %v", v.key, (math.MaxInt32-1)*time.Millisecond, d)
		return 0
	}
	return int(d/time.Millisecond) + 1
}

// proxyTimeoutText writes such a timeout, which is not 0, as the topology file does.
func proxyTimeoutText(kept int) string { return (time.Duration(kept-1) * time.Millisecond).String() }

// String writes the service as the topology file does: KIND:PORT.
func (s Service) String() string { return s.Kind + ":" + strconv.Itoa(int(s.Port)) }

// parseService reads KIND:PORT. The kind is the check's business.
func parseService(text string) (Service, error) {
	kind, port, _ := strings.Cut(text, ":")
	n, err := parsePort(port)
	if err != nil || kind == "" {
		return Service{}, fmt.Errorf("%q is not a service such as http:80 or echo:7", text)
	}
	return Service{Kind: kind, Port: n}, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(n), nil
}

// A portRange is an inclusive range of L4 ports.
type portRange struct{ first, last uint16 }

func parsePortRange(text string) (portRange, error) {
	first, last, _ := strings.Cut(text, "-")
	a, errFirst := parsePort(strings.TrimSpace(first))
	b, errLast := parsePort(strings.TrimSpace(last))
	if errFirst != nil || errLast != nil {
		return portRange{}, fmt.Errorf("%q is not a range of ports such as 1024-65535", text)
	}
	return portRange{first: a, last: b}, nil
}

// prefixText and addrText are the ids of objects that are known by their address.
func prefixText(p netip.Prefix) string {
	if p.IsValid() {
		return p.String()
	}
	return ""
}

func addrText(a netip.Addr) string {
	if a.IsValid() {
		return a.String()
	}
	return ""
}

// family names an address's protocol.
func family(a netip.Addr) string {
	switch {
	case a.Is4():
		return "IPv4"
	case a.Is6():
		return "IPv6"
	}
	return "no address"
}
