package file

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxInterfaceName is the longest interface name in bytes: Linux's IFNAMSIZ
// less the terminating zero.
const maxInterfaceName = 15

// maxUnixPath is the longest path of a unix socket in bytes: sun_path of
// unix(7) less the terminating zero.
const maxUnixPath = 107

// ParseDevice reads a device as the topology file writes it: tap:NAME,
// tap:NAME@NETNS, raw:NAME or unix:PATH. It checks the names, not whether
// anything of that name exists.
func ParseDevice(text string) (Device, error) {
	kind, rest, found := strings.Cut(text, ":")
	if !found {
		return Device{}, fmt.Errorf("device %q has no kind; write tap:NAME, tap:NAME@NETNS, raw:NAME or unix:PATH", text)
	}
	d := Device{Kind: DeviceKind(kind)}
	switch d.Kind {
	case DeviceTAP:
		var inNetns bool
		d.Name, d.Netns, inNetns = strings.Cut(rest, "@")
		if inNetns && d.Netns == "" {
			return Device{}, fmt.Errorf("device %q names no network namespace after the @", text)
		}
	case DeviceRaw:
		d.Name = rest
	case DeviceUnix:
		d.Path = rest
	}
	if err := d.check(); err != nil {
		return Device{}, err
	}
	return d, nil
}

// check says what is wrong with a device, nil if nothing is.
func (d Device) check() error {
	switch d.Kind {
	case DeviceTAP, DeviceRaw:
		if err := checkInterfaceName(d); err != nil {
			return err
		}
		return checkNetns(d)
	case DeviceUnix:
		return checkUnixPath(d)
	}
	kinds := []string{string(DeviceTAP), string(DeviceRaw), string(DeviceUnix)}
	return errors.New(unknownOf("device kind", string(d.Kind), kinds))
}

// checkInterfaceName applies the kernel's rule for names (dev_valid_name), and
// refuses %, which makes TUNSETIFF choose another name than the file's.
func checkInterfaceName(d Device) error {
	switch {
	case d.Name == "":
		return fmt.Errorf("device %q names no interface", d)
	case len(d.Name) > maxInterfaceName:
		return fmt.Errorf("device %q: an interface name has at most %d bytes, this one has %d", d, maxInterfaceName, len(d.Name))
	case d.Name == "." || d.Name == "..":
		return fmt.Errorf("device %q: an interface cannot be called that", d)
	case d.Path != "":
		return fmt.Errorf("device %q: only a unix device has a path", d)
	}
	if i := strings.IndexFunc(d.Name, notInInterfaceName); i >= 0 {
		return fmt.Errorf("device %q: an interface name cannot hold %q", d, []rune(d.Name[i:])[0])
	}
	return nil
}

func notInInterfaceName(r rune) bool {
	return strings.ContainsRune("/:%@", r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// checkNetns: a named network namespace is a file in one directory.
func checkNetns(d Device) error {
	switch {
	case d.Netns == "":
		return nil
	case d.Kind != DeviceTAP:
		return fmt.Errorf("device %q: only a tap device can be placed in a network namespace", d)
	case d.Netns == "." || d.Netns == ".." || strings.IndexFunc(d.Netns, notInNetns) >= 0:
		return fmt.Errorf("device %q: %q cannot be the name of a network namespace", d, d.Netns)
	}
	return nil
}

func notInNetns(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }

func checkUnixPath(d Device) error {
	switch {
	case d.Name != "" || d.Netns != "":
		return fmt.Errorf("device %q: a unix device has a path and nothing else", d)
	case d.Path == "":
		return fmt.Errorf("device %q names no path", d)
	case len(d.Path) > maxUnixPath:
		return fmt.Errorf("device %q: the path of a socket has at most %d bytes, this one has %d", d, maxUnixPath, len(d.Path))
	case strings.ContainsRune(d.Path, 0):
		return fmt.Errorf("device %q: a path cannot hold a zero byte", d)
	}
	return nil
}

// String writes the device as the topology file does.
func (d Device) String() string {
	switch {
	case d.Kind == DeviceUnix:
		return string(d.Kind) + ":" + d.Path
	case d.Netns != "":
		return string(d.Kind) + ":" + d.Name + "@" + d.Netns
	}
	return string(d.Kind) + ":" + d.Name
}

// MarshalText writes the device as String does. A device that ParseDevice
// would not take is an error.
func (d Device) MarshalText() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what ParseDevice reads.
func (d *Device) UnmarshalText(text []byte) error {
	parsed, err := ParseDevice(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// ParseMAC reads a 48-bit Ethernet address in any of the notations of
// net.ParseMAC. It must be one that a host can own: neither a group address
// nor all zeros.
func ParseMAC(text string) (MAC, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("%q is not a MAC address such as fa:16:3e:aa:bb:03", text)
	}
	m := MAC(hw)
	if m.IsZero() {
		return MAC{}, fmt.Errorf("MAC address %s is nobody's: it is all zeros", text)
	}
	if m.isGroup() {
		return MAC{}, fmt.Errorf("MAC address %v is a group's, not a host's: the first byte is odd", m)
	}
	return m, nil
}

// IsZero says whether there is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// isGroup tests the individual/group bit (IEEE 802, 8.2).
func (m MAC) isGroup() bool { return m[0]&1 != 0 }

// String writes the address as fa:16:3e:aa:bb:03, the zero value as "".
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return net.HardwareAddr(m[:]).String()
}

// MarshalText writes the address as String does.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads, and no text at all as the zero value.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	parsed, err := ParseMAC(string(text))
	if err == nil {
		*m = parsed
	}
	return err
}

// String writes the range as the topology file does: FIRST-LAST.
func (r AddressRange) String() string { return r.First.String() + "-" + r.Last.String() }

// Contains says whether a is in the range.
func (r AddressRange) Contains(a netip.Addr) bool {
	return r.First.BitLen() == a.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

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
		return netip.Prefix{}, fmt.Errorf("%v has no prefix length; write %v for this one address", a, netip.PrefixFrom(a, a.BitLen()))
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
