package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Limits and defaults of networks.
const (
	DefaultMTU = 1500
	MinMTU     = 576  // RFC 791: every IPv4 host must accept a packet of this length
	minMTU6    = 1280 // RFC 8200, section 5
	MaxMTU     = 9216 // jumbo frames, as switches mean the word
	MaxVLAN    = 4094 // IEEE 802.1Q, table 9-2: 0 and 4095 are reserved

	DefaultStormLimit = 10000
	MaxStormLimit     = 10_000_000 // more than a device carries: a slip of the keyboard

	DefaultLeaseTime = 24 * time.Hour
	MinLease         = time.Second // the unit of DHCP's option 51
)

// The behaviors of RFC 4787, sections 4.1 and 5.
const (
	EndpointIndependent     = "endpoint-independent"
	AddressDependent        = "address-dependent"
	AddressAndPortDependent = "address-and-port-dependent"
)

// Limits and defaults of the translation.
const (
	defaultMaxConnections = 1 << 20
	MaxMaxConnections     = 1 << 28 // some 40 GB of table: a slip of the keyboard
	defaultHostShare      = 0.5

	// Source ports below 1024 are mapped to ports below 1024 in any case
	// (RFC 4787, REQ-3a), so the range is about the others.
	minPort = 1024
	maxPort = 65535

	maxWorkers = 1024 // more is a slip of the keyboard
)

// defaultTimeouts follow RFC 4787 REQ-5, RFC 5508 REQ-2 and RFC 5382 REQ-5. A fragment's is half of the low
// end of the time for reassembly in RFC 1122, 3.3.2: the router passes fragments on as they come.
var defaultTimeouts = Timeouts{
	UDP:            5 * time.Minute,
	ICMP:           60 * time.Second,
	TCPEstablished: 2*time.Hour + 4*time.Minute,
	TCPTransitory:  4 * time.Minute,
	TCPOpening:     4 * time.Minute,
	TCPClosing:     4 * time.Minute,
	Fragment:       30 * time.Second,
}

// Limits and defaults of load balancing. For monitors and weights they are the same as Octavia's.
const (
	roundRobin = "ROUND_ROBIN"
	maxWeight  = 256
	MaxRetries = 10

	defaultPersistence   = 10 * time.Minute
	defaultMonitorDelay  = 5 * time.Second
	defaultRetries       = 3
	defaultURLPath       = "/"
	defaultExpectedCodes = "200"
)

// fallback replaces a zero value.
func fallback[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// DefaultSettings returns the settings that hold when none are put.
func DefaultSettings() *Settings {
	s := &Settings{Meta: Meta{ID: SettingsID}}
	s.NAT.fillDefaults()
	s.fillVia()
	return s
}

func (n *NAT) words() {
	word(&n.Mapping, behaviors...)
	word(&n.Filtering, behaviors...)
}

func (n *NAT) fillDefaults() {
	t := &n.Timeouts
	if t.TCPTransitory != 0 {
		fallback(&t.TCPOpening, t.TCPTransitory)
		fallback(&t.TCPClosing, t.TCPTransitory)
	}
	off, on := false, true
	*n = n.over(NAT{
		Mapping:        EndpointIndependent,
		Filtering:      AddressDependent,
		MaxConnections: defaultMaxConnections,
		HostShare:      defaultHostShare,
		Lend:           &on,
		PortMin:        minPort,
		PortMax:        maxPort,
		MSSClamp:       &off,
		Timeouts:       defaultTimeouts,
	})
}

// over is m with the settings of n put over it: a setting that n leaves out stays as m has it. A transitory timeout
// of n stands for its two parts, too.
func (n NAT) over(m NAT) NAT {
	if n.Timeouts.TCPTransitory != 0 {
		fallback(&n.Timeouts.TCPOpening, n.Timeouts.TCPTransitory)
		fallback(&n.Timeouts.TCPClosing, n.Timeouts.TCPTransitory)
	}
	fallback(&n.Mapping, m.Mapping)
	fallback(&n.Filtering, m.Filtering)
	fallback(&n.MaxConnections, m.MaxConnections)
	fallback(&n.HostShare, m.HostShare)
	fallback(&n.Lend, m.Lend)
	fallback(&n.PortMin, m.PortMin)
	fallback(&n.PortMax, m.PortMax)
	fallback(&n.MSSClamp, m.MSSClamp)
	if n.NoSNAT == nil {
		n.NoSNAT = m.NoSNAT
	}
	for _, t := range timeouts {
		fallback(t.field(&n.Timeouts), *t.field(&m.Timeouts))
	}
	return n
}

// A timeout is one of the timeouts by name.
type timeout struct {
	key   string
	field func(*Timeouts) *time.Duration
	least time.Duration // the RFC's minimum
	rule  string        // where it stands
	part  bool          // of tcp_transitory, where an equal value has been judged
}

var timeouts = []timeout{
	{"udp", func(t *Timeouts) *time.Duration { return &t.UDP }, 2 * time.Minute, "RFC 4787, REQ-5", false},
	{"icmp", func(t *Timeouts) *time.Duration { return &t.ICMP }, 60 * time.Second, "RFC 5508, REQ-2", false},
	{"tcp_established", func(t *Timeouts) *time.Duration { return &t.TCPEstablished }, 2*time.Hour + 4*time.Minute,
		"RFC 5382, REQ-5", false},
	{"tcp_transitory", func(t *Timeouts) *time.Duration { return &t.TCPTransitory }, 4 * time.Minute, "RFC 5382, REQ-5",
		false},
	{"tcp_opening", func(t *Timeouts) *time.Duration { return &t.TCPOpening }, 4 * time.Minute, "RFC 5382, REQ-5",
		true},
	{"tcp_closing", func(t *Timeouts) *time.Duration { return &t.TCPClosing }, 4 * time.Minute, "RFC 5382, REQ-5",
		true},
	{"fragment", func(t *Timeouts) *time.Duration { return &t.Fragment }, 0, "", false},
}

// NATOf returns a router's settings: its own, and for a setting that it leaves out the one of Settings.
func (c *content) NATOf(router ID) NAT {
	all := c.Settings().NAT
	if r := c.Router(router); r != nil {
		return r.NAT.over(all)
	}
	return all
}

// word writes a word of a fixed set in the set's upper and lower case.
func word[T ~string](v *T, words ...T) {
	for _, w := range words {
		if strings.EqualFold(string(w), string(*v)) {
			*v = w
			return
		}
	}
}

// The words of the attributes that have a fixed set of them.
var (
	hosts         = []string{HostClosed, HostOpen}
	joins         = []string{GROAuto, GROOff}
	ways          = []string{ViaRouter, ViaHost}
	behaviors     = []string{EndpointIndependent, AddressDependent, AddressAndPortDependent}
	rpFilters     = []string{"off", "loose", "strict"}
	protocols     = []Protocol{TCP, UDP}
	applications  = []string{"HTTP", "HTTPS"}
	algorithms    = []string{roundRobin, "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"}
	onMemberDown  = []string{"keep", "reset"}
	onMemberGone  = []string{"drain", "reset"}
	persistences  = []string{"SOURCE_IP"}
	monitorTypes  = []string{monitorTCP, monitorHTTP, monitorHTTPS, "TLS-HELLO", "PING", monitorUDPConnect}
	initialStates = []string{"down", "up"}
	httpVersions  = []string{"1.0", "1.1"}
	httpMethods   = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "CONNECT"}
)

// Monitor types that depend on more than their name.
const (
	monitorTCP        = "TCP"
	monitorHTTP       = "HTTP"
	monitorHTTPS      = "HTTPS"
	monitorUDPConnect = "UDP-CONNECT"
)

func (m *Monitor) isHTTP() bool { return m.Type == monitorHTTP || m.Type == monitorHTTPS }

// fillDefaults replaces the zero values that stand for a default, and writes words as their sets do. It may
// write to o, but to no slice or pointer in it.
func fillDefaults(o Object) {
	switch o := o.(type) {
	case *Settings:
		o.NAT.words()
		o.NAT.fillDefaults()
		o.fillVia()
	case *Network:
		word(&o.Host, hosts...)
		word(&o.GRO, joins...)
		o.Extra = orNil(o.Extra)
		fallback(&o.MTU, DefaultMTU)
		fallback(&o.Host, HostClosed)
		fallback(&o.GRO, GROAuto)
		if o.StormLimit == nil {
			o.StormLimit = new(DefaultStormLimit)
		}
	case *Subnet:
		o.Extra = orNil(o.Extra)
		fallback(&o.LeaseTime, DefaultLeaseTime)
		if len(o.AllocationPools) == 0 && (o.Extra == nil || !o.Extra.NoPools) && o.CIDR.IsValid() &&
			!o.CIDR.Addr().Is4In6() {
			o.AllocationPools = DefaultPools(o.CIDR, o.Gateway)
		}
	case *Router:
		o.Extra = orNil(o.Extra)
		o.NAT.words()
		word(&o.RPFilter, rpFilters...)
		fallback(&o.RPFilter, "off")
	case *PortForwarding:
		word(&o.Protocol, protocols...)
	case *SecurityGroupRule:
		o.fillRule()
	case *FloatingIP:
		o.Extra = orNil(o.Extra)
	case *Listener:
		o.Extra = orNil(o.Extra)
		word(&o.Protocol, protocols...)
		word(&o.Application, applications...)
	case *Pool:
		word(&o.Protocol, protocols...)
		word(&o.Application, applications...)
		word(&o.Algorithm, algorithms...)
		word(&o.OnMemberDown, onMemberDown...)
		word(&o.OnMemberRemoved, onMemberGone...)
		fallback(&o.Algorithm, roundRobin)
		fallback(&o.OnMemberDown, "keep")
		fallback(&o.OnMemberRemoved, "drain")
		if p := o.SessionPersistence; p != nil {
			q := *p
			word(&q.Type, persistences...)
			fallback(&q.Type, "SOURCE_IP")
			fallback(&q.Timeout, defaultPersistence)
			o.SessionPersistence = &q
		}
	case *Monitor:
		word(&o.Type, monitorTypes...)
		word(&o.InitialState, initialStates...)
		fallback(&o.Delay, defaultMonitorDelay)
		fallback(&o.Timeout, min(defaultMonitorDelay, max(o.Delay, 0)))
		fallback(&o.MaxRetries, defaultRetries)
		fallback(&o.MaxRetriesDown, defaultRetries)
		fallback(&o.InitialState, "down")
		if o.isHTTP() {
			fallback(&o.HTTPMethod, httpMethods[0])
			fallback(&o.URLPath, defaultURLPath)
			fallback(&o.ExpectedCodes, defaultExpectedCodes)
		}
	case *Quota:
		o.Limits = slices.Clone(o.Limits)
		SortLimits(o.Limits)
	case *Port:
		o.Extra = orNil(o.Extra)
		o.AllowedAddressPairs = fillPairs(o)
	}
}

// fillPairs gives a port's pairs without a MAC address the port's.
func fillPairs(p *Port) []AddressPair {
	if p.MAC.IsZero() || len(p.AllowedAddressPairs) == 0 {
		return p.AllowedAddressPairs
	}
	pairs := make([]AddressPair, len(p.AllowedAddressPairs))
	for i, pair := range p.AllowedAddressPairs {
		fallback(&pair.MAC, p.MAC)
		pairs[i] = pair
	}
	return pairs
}

// FirstHost is the lowest address of a prefix that a host can have. It is usually the subnet's gateway.
func FirstHost(p netip.Prefix) netip.Addr {
	first := p.Masked().Addr()
	if hasNetworkAddress(p) {
		return first.Next()
	}
	return first
}

// DefaultPools is the whole prefix less the gateway, which may be the zero address.
func DefaultPools(p netip.Prefix, gateway netip.Addr) []AddressRange {
	whole := AddressRange{First: FirstHost(p), Last: lastHost(p)}
	if !whole.Contains(gateway) {
		return []AddressRange{whole}
	}
	var pools []AddressRange
	if gateway != whole.First {
		pools = append(pools, AddressRange{First: whole.First, Last: gateway.Prev()})
	}
	if gateway != whole.Last {
		pools = append(pools, AddressRange{First: gateway.Next(), Last: whole.Last})
	}
	return pools
}
