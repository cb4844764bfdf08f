package config

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// This file reads the options of DHCP that ports have. Their names are those of Neutron's reference driver, which are
// dnsmasq's, or numbers.

// DHCPNextServer is the code of server-ip-address: the server to boot from, which is a field of DHCP's messages. No
// option has this code.
const DHCPNextServer = 255

// A format is how the value of an option is written.
type format uint8

const (
	anyFormat   format = iota // an option that has no name here: what its value looks like
	addrFormat                // one IPv4 address
	addrsFormat               // some, with commas
	textFormat
	flagFormat // true or false, 1 or 0
	byteFormat
	shortFormat
	longFormat
	offsetFormat // seconds, which may be fewer than none
	pathFormat   // prefixes, each followed by its next hop, with commas
	domainFormat // domains, with commas
	hexFormat    // bytes in hexadecimal, possibly with colons
)

// A dhcpOption is what is known of an option.
type dhcpOption struct {
	code   uint8
	format format
	least  uint32 // the least number
}

// dhcpOptions are the options with names (RFC 2132, and what the IANA lists).
var dhcpOptions = map[string]dhcpOption{
	"netmask": {1, addrFormat, 0}, "time-offset": {2, offsetFormat, 0}, "router": {3, addrsFormat, 0},
	"time-server": {4, addrsFormat, 0}, "dns-server": {6, addrsFormat, 0}, "log-server": {7, addrsFormat, 0},
	"lpr-server": {9, addrsFormat, 0}, "hostname": {12, textFormat, 0}, "boot-file-size": {13, shortFormat, 0},
	"domain-name": {15, textFormat, 0}, "swap-server": {16, addrFormat, 0}, "root-path": {17, textFormat, 0},
	"extension-path": {18, textFormat, 0}, "ip-forward-enable": {19, flagFormat, 0},
	"non-local-source-routing": {20, flagFormat, 0}, "policy-filter": {21, addrsFormat, 0},
	"max-datagram-reassembly": {22, shortFormat, 576}, "default-ttl": {23, byteFormat, 1}, "mtu": {26, shortFormat, 68},
	"all-subnets-local": {27, flagFormat, 0}, "broadcast": {28, addrFormat, 0}, "router-discovery": {31, flagFormat, 0},
	"router-solicitation": {32, addrFormat, 0}, "static-route": {33, addrsFormat, 0},
	"trailer-encapsulation": {34, flagFormat, 0}, "arp-timeout": {35, longFormat, 0},
	"ethernet-encap": {36, flagFormat, 0}, "tcp-ttl": {37, byteFormat, 1}, "tcp-keepalive": {38, longFormat, 0},
	"nis-domain": {40, textFormat, 0}, "nis-server": {41, addrsFormat, 0}, "ntp-server": {42, addrsFormat, 0},
	"vendor-encap": {43, hexFormat, 0}, "netbios-ns": {44, addrsFormat, 0}, "netbios-dd": {45, addrsFormat, 0},
	"netbios-nodetype": {46, byteFormat, 1}, "netbios-scope": {47, textFormat, 0}, "x-windows-fs": {48, addrsFormat, 0},
	"x-windows-dm": {49, addrsFormat, 0}, "vendor-class": {60, textFormat, 0}, "nis+-domain": {64, textFormat, 0},
	"nis+-server": {65, addrsFormat, 0}, "tftp-server": {66, textFormat, 0}, "tftp-server-name": {66, textFormat, 0},
	"bootfile-name": {67, textFormat, 0}, "mobile-ip-home": {68, addrsFormat, 0}, "smtp-server": {69, addrsFormat, 0},
	"pop3-server": {70, addrsFormat, 0}, "nntp-server": {71, addrsFormat, 0}, "irc-server": {74, addrsFormat, 0},
	"posix-timezone": {100, textFormat, 0}, "tzdb-timezone": {101, textFormat, 0}, "ipv6-only": {108, longFormat, 0},
	"domain-search": {119, domainFormat, 0}, "classless-static-route": {121, pathFormat, 0},
	"tftp-server-address": {150, addrsFormat, 0}, "path-prefix": {210, textFormat, 0},
	"server-ip-address": {DHCPNextServer, addrFormat, 0},
}

// dhcpFormats are the formats by code.
var dhcpFormats = func() map[uint8]dhcpOption {
	by := map[uint8]dhcpOption{}
	for _, o := range dhcpOptions {
		if o.code != DHCPNextServer {
			by[o.code] = o
		}
	}
	return by
}()

// serversOwn are the options that the server decides on, or that are a client's or a relay's.
var serversOwn = []uint8{0, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 80, 81, 82, 90, 91, 116, 118, 255}

// mayBeEmpty are the options that a port may have without a value: then they are not sent, as in Neutron.
var mayBeEmpty = []uint8{3, 121}

// ErrDHCPOption says that an option's name is no option's.
var ErrDHCPOption = errors.New("no such DHCP option")

// Encode returns the code and the bytes of an option of DHCPv4, nil if it is not to be sent. Code DHCPNextServer is no
// option. The error wraps ErrDHCPOption if it is about the name and not about the value.
func (o DHCPOption) Encode() (code uint8, value []byte, err error) {
	known, ok := dhcpOptions[o.Name]
	if n, err := strconv.ParseUint(o.Name, 10, 16); err == nil {
		if n > 255 || slices.Contains(serversOwn, uint8(n)) {
			return 0, nil, fmt.Errorf("%w: the server itself decides on option %d, or it is no option", ErrDHCPOption,
				n)
		}
		if known, ok = dhcpFormats[uint8(n)]; !ok {
			known, ok = dhcpOption{code: uint8(n)}, true
		}
	}
	if !ok {
		return 0, nil, fmt.Errorf("%w; a number from 1 to 254 is one as well",
			errOf(UnknownWord("DHCP option", o.Name, slices.Sorted(maps.Keys(dhcpOptions)))))
	}
	if o.Value == "" {
		if slices.Contains(mayBeEmpty, known.code) {
			return known.code, nil, nil
		}
		return 0, nil, errors.New("it has no value")
	}
	value, err = known.encode(o.Value)
	if err == nil && len(value) > maxDHCPValue {
		err = fmt.Errorf("its value has %d bytes; the most is %d", len(value), maxDHCPValue)
	}
	return known.code, value, err
}

// maxDHCPValue is how long the value of an option may be: messages are not much longer.
const maxDHCPValue = 1024

// A wrongName is an error about the name of an option.
type wrongName string

func errOf(text string) error        { return wrongName(text) }
func (w wrongName) Error() string    { return string(w) }
func (w wrongName) Is(is error) bool { return is == ErrDHCPOption }

// encode writes a value.
func (d dhcpOption) encode(v string) ([]byte, error) {
	switch d.format {
	case addrFormat, addrsFormat:
		return encodeAddrs(v, d.format == addrFormat)
	case textFormat:
		if i := strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			return nil, errors.New("it is not plain text")
		}
		return []byte(v), nil
	case flagFormat:
		yes, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", v)
		}
		if yes {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case byteFormat:
		return encodeNumber(v, 1, d.least)
	case shortFormat:
		return encodeNumber(v, 2, d.least)
	case longFormat:
		return encodeNumber(v, 4, d.least)
	case offsetFormat:
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of seconds", v)
		}
		return binary.BigEndian.AppendUint32(nil, uint32(n)), nil
	case pathFormat:
		return encodePaths(v)
	case domainFormat:
		return encodeDomains(v)
	case hexFormat:
		return encodeHex(v)
	}
	if b, err := encodeAddrs(v, false); err == nil {
		return b, nil
	}
	for _, size := range []int{1, 2, 4} {
		if b, err := encodeNumber(v, size, 0); err == nil {
			return b, nil
		}
	}
	if strings.Contains(v, ":") {
		if b, err := encodeHex(v); err == nil {
			return b, nil
		}
	}
	return dhcpOption{format: textFormat}.encode(v)
}

func encodeAddrs(v string, one bool) (b []byte, err error) {
	for text := range strings.SplitSeq(v, ",") {
		a, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(text), "[]"))
		if err != nil || !a.Is4() {
			return nil, fmt.Errorf("%q is not an IPv4 address", text)
		}
		b = append(b, a.AsSlice()...)
	}
	if one && len(b) > 4 {
		return nil, errors.New("it has one address, not several")
	}
	return b, nil
}

func encodeNumber(v string, size int, least uint32) ([]byte, error) {
	n, err := strconv.ParseUint(v, 10, 8*size)
	if err != nil || n < uint64(least) {
		return nil, fmt.Errorf("%q is not a number from %d to %d", v, least, uint64(1)<<(8*size)-1)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n))[4-size:], nil
}

// encodePaths writes routes as RFC 3442 has them.
func encodePaths(v string) (b []byte, err error) {
	parts := strings.Split(v, ",")
	if len(parts)%2 != 0 {
		return nil, errors.New("after each prefix comes its next hop, with a comma between them")
	}
	for i := 0; i < len(parts); i += 2 {
		p, err := netip.ParsePrefix(strings.TrimSpace(parts[i]))
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("%q is not an IPv4 prefix", parts[i])
		}
		hop, err := netip.ParseAddr(strings.TrimSpace(parts[i+1]))
		if err != nil || !hop.Is4() {
			return nil, fmt.Errorf("%q is not an IPv4 address", parts[i+1])
		}
		b = append(b, byte(p.Bits()))
		b = append(b, p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]...)
		b = append(b, hop.AsSlice()...)
	}
	return b, nil
}

// encodeDomains writes domains as RFC 3397 has them.
func encodeDomains(v string) (b []byte, err error) {
	for d := range strings.SplitSeq(v, ",") {
		for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(d), "."), ".") {
			if label == "" || len(label) > 63 {
				return nil, fmt.Errorf("%q is not a domain", d)
			}
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	return b, nil
}

func encodeHex(v string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(v, "0x"), ":", ""))
	if err != nil {
		return nil, fmt.Errorf("%q is not bytes in hexadecimal", v)
	}
	return b, nil
}

// checkDHCPOptions checks the options of DHCP of a port. Those for IPv6 are kept as they are.
func (c *checker) checkDHCPOptions(w where, p *Port) {
	if p.Extra == nil {
		return
	}
	seen := map[uint8]string{}
	for i, o := range p.Extra.DHCPOptions {
		if o.IPVersion == 6 {
			continue
		}
		field := indexed("extra_dhcp_opts", i)
		code, _, err := o.Encode()
		switch {
		case errors.Is(err, ErrDHCPOption):
			c.fault(w, field+".name", Invalid, "extra_dhcp_opts: %v", err)
		case err != nil:
			c.fault(w, field+".value", Invalid, "extra_dhcp_opts: option %s: %v", o.Name, err)
		case seen[code] != "":
			c.fault(w, field+".name", Invalid, "extra_dhcp_opts: option %s is there already, as %s", o.Name, seen[code])
		default:
			seen[code] = o.Name
		}
	}
}
