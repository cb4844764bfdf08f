package dhcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// UDP ports.
const (
	serverPort = 67
	clientPort = 68
)

// Places of fields in a message (RFC 2131, 2).
const (
	snameStart  = 44
	fileStart   = 108
	cookieStart = 236
)

// A message is what a client has sent. An address that it does not give is the zero Addr.
type message struct {
	kind      dhcpv4.MessageType
	packet    *dhcpv4.DHCPv4
	mac       MAC
	id        []byte // option 61; nil: none
	current   netip.Addr
	requested netip.Addr // option 50
	server    netip.Addr // option 54
	relay     netip.Addr // giaddr
	link      netip.Addr // an address of the client's subnet, if a relay tells: option 82.5 (RFC 3527), or giaddr
	override  netip.Addr // option 82.11 (RFC 5107): what the client is to know the server by
	hostname  string
}

// relayed says whether a relay has handed the message on.
func (m *message) relayed() bool { return m.relay.IsValid() }

// address is the one that the message is about: option 50, or else ciaddr.
func (m *message) address() netip.Addr {
	if m.requested.IsValid() {
		return m.requested
	}
	return m.current
}

// decode reads a client's message. The Reason says what is wrong with it, if ok is false.
func decode(payload []byte) (m message, why Reason, ok bool) {
	p, err := dhcpv4.FromBytes(payload)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// Some clients leave out the end option.
		whole := append(append(make([]byte, 0, len(payload)+1), payload...), dhcpv4.OptionEnd.Code())
		p, err = dhcpv4.FromBytes(whole)
	}
	if err != nil || addOverloaded(p, payload) != nil {
		return m, Malformed, false
	}
	if p.OpCode != dhcpv4.OpcodeBootRequest {
		return m, NotRequest, false
	}
	if p.HWType != iana.HWTypeEthernet || len(p.ClientHWAddr) != len(m.mac) {
		return m, NotEthernet, false
	}
	copy(m.mac[:], p.ClientHWAddr)
	if m.mac == (MAC{}) || m.mac[0]&1 != 0 {
		return m, NotEthernet, false
	}
	m.packet, m.kind = p, p.MessageType()
	good := true
	option := func(o dhcpv4.Options, code dhcpv4.OptionCode) netip.Addr {
		v := o.Get(code)
		if v == nil {
			return netip.Addr{}
		}
		a, is4 := netip.AddrFromSlice(v)
		if !is4 || !a.Is4() {
			good = false
			return netip.Addr{}
		}
		return given(a)
	}
	m.requested = option(p.Options, dhcpv4.OptionRequestedIPAddress)
	m.server = option(p.Options, dhcpv4.OptionServerIdentifier)
	m.current, m.relay = field(p.ClientIPAddr), field(p.GatewayIPAddr)
	m.link = m.relay
	if relay := p.RelayAgentInfo(); relay != nil && m.relayed() {
		if a := option(relay.Options, dhcpv4.LinkSelectionSubOption); a.IsValid() {
			m.link = a
		}
		m.override = option(relay.Options, dhcpv4.ServerIdentifierOverrideSubOption)
	}
	if id := p.Options.Get(dhcpv4.OptionClientIdentifier); len(id) >= 2 { // RFC 2132, 9.14
		m.id = id
	}
	m.hostname = hostname(p)
	if !good || len(m.id) > 255 || m.relayed() && !isHost(m.relay) {
		return m, Malformed, false
	}
	return m, 0, true
}

// addOverloaded adds the options that a client has put into the fields of names (RFC 2131, 4.1).
func addOverloaded(p *dhcpv4.DHCPv4, payload []byte) error {
	v := p.Options.Get(dhcpv4.OptionOptionOverload)
	if len(v) != 1 {
		return nil
	}
	if v[0]&1 != 0 {
		if err := p.Options.FromBytes(payload[fileStart:cookieStart]); err != nil {
			return err
		}
	}
	if v[0]&2 != 0 {
		return p.Options.FromBytes(payload[snameStart:fileStart])
	}
	return nil
}

// field reads an address field of a message.
func field(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return given(a)
}

// given makes the address that stands for none the zero Addr.
func given(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// isHost says whether an address may be a host's.
func isHost(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4()[0] < 240
}

// hostname is the name that a client says it has, empty if that is no host name. A fully qualified name (option 81,
// RFC 4702) goes before one that may be.
func hostname(p *dhcpv4.DHCPv4) string {
	name := p.HostName()
	if v := p.Options.Get(dhcpv4.OptionFQDN); len(v) > 3 {
		if v[0]&4 != 0 {
			if labels := names(v[3:]); labels != "" {
				name = labels
			}
		} else {
			name = string(v[3:])
		}
	}
	name = strings.ToLower(strings.TrimRight(name, ".\x00"))
	if !IsHostname(name) {
		return ""
	}
	return name
}

// names reads one domain name in the format of RFC 1035, 3.1, without compression. The end may be missing.
func names(b []byte) string {
	var labels []string
	for len(b) > 0 && b[0] > 0 {
		n := int(b[0])
		if n > 63 || len(b) < 1+n {
			return ""
		}
		labels, b = append(labels, string(b[1:1+n])), b[1+n:]
	}
	return strings.Join(labels, ".")
}

// IsHostname says whether a text is a host name, possibly with a domain: labels of letters, digits and inner hyphens,
// with dots between them (RFC 1123, 2.1).
func IsHostname(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}
