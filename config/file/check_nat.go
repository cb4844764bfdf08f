package file

import (
	"time"
)

// The behaviors of RFC 4787, sections 4.1 and 5, as the file calls them.
const (
	endpointIndependent     = "endpoint-independent"
	addressDependent        = "address-dependent"
	addressAndPortDependent = "address-and-port-dependent"
)

// Limits and defaults of the translation.
const (
	defaultMaxConnections = 1 << 20
	maxMaxConnections     = 1 << 28 // some 40 GB of table: a slip of the keyboard
	defaultHostShare      = 0.5

	// Sources below 1024 are mapped below 1024 whatever the range says
	// (RFC 4787, REQ-3a), so the range is about the others.
	minPort = 1024
	maxPort = 65535
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

// A timeout is one of the timeouts by name.
type timeout struct {
	key   string
	field func(*Timeouts) *time.Duration
	least time.Duration // the RFC's minimum
	rule  string        // where it stands
	part  bool          // its default is tcp_transitory; equal to that, it gets no warning of its own
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

// checkNAT checks the settings of all routers. Those of single routers take
// theirs from here.
func (c *checker) checkNAT() {
	s := c.root.child("nat", c.NAT.Line)
	s.fillNAT(&c.NAT, NAT{
		Mapping:        endpointIndependent,
		Filtering:      addressDependent,
		MaxConnections: defaultMaxConnections,
		HostShare:      defaultHostShare,
		PortMin:        minPort,
		PortMax:        maxPort,
		Timeouts:       defaultTimeouts,
	})
	s.checkNAT(&c.NAT, Timeouts{})
}

// checkRouterNAT checks one router's own settings.
func (c *checker) checkRouterNAT(d *domain) {
	oneOf(d.at, "rp_filter", &d.RPFilter, "off", "off", "loose", "strict")
	if d.NAT == nil {
		own := c.NAT
		d.NAT = &own
		return
	}
	s := d.at.child("nat", d.NAT.Line)
	s.fillNAT(d.NAT, c.NAT)
	s.checkNAT(d.NAT, c.NAT.Timeouts)
}

// fillNAT sets what is not given.
func (s scope) fillNAT(n *NAT, def NAT) {
	fallback(s, "mapping", &n.Mapping, def.Mapping)
	fallback(s, "filtering", &n.Filtering, def.Filtering)
	fallback(s, "max_connections", &n.MaxConnections, def.MaxConnections)
	fallback(s, "host_share", &n.HostShare, def.HostShare)
	if n.NoSNAT == nil && !s.given("no_snat") {
		n.NoSNAT = def.NoSNAT
	}
	fallback(s, "port_range", &n.PortMin, def.PortMin)
	fallback(s, "port_range", &n.PortMax, def.PortMax)
	if s.given("timeouts.tcp_transitory") {
		def.Timeouts.TCPOpening, def.Timeouts.TCPClosing = n.Timeouts.TCPTransitory, n.Timeouts.TCPTransitory
	}
	for _, t := range timeouts {
		fallback(s, "timeouts."+t.key, t.field(&n.Timeouts), *t.field(&def.Timeouts))
	}
}

// checkNAT checks settings. Timeouts equal to the known ones were warned of
// where those stand.
func (s scope) checkNAT(n *NAT, known Timeouts) {
	oneOf(s, "mapping", &n.Mapping, "", endpointIndependent, addressDependent, addressAndPortDependent)
	oneOf(s, "filtering", &n.Filtering, "", endpointIndependent, addressDependent, addressAndPortDependent)
	between(s, "max_connections", n.MaxConnections, 1, maxMaxConnections)
	// The comparison is turned round so that it refuses NaN.
	if !(n.HostShare > 0 && n.HostShare <= 1) {
		s.fault("host_share", "host_share %v is not above 0 and at most 1", n.HostShare)
	}
	if s.given("no_snat") { // else it is the list of all routers
		for i := range n.NoSNAT {
			if key := indexKey("no_snat", i); !s.spoiled(key) {
				s.checkPrefix(key, &n.NoSNAT[i])
			}
		}
	}
	switch ports := "port_range"; {
	case n.PortMin > n.PortMax:
		s.fault(ports, "port_range %d-%d is reversed; write %d-%d", n.PortMin, n.PortMax, n.PortMax, n.PortMin)
	case n.PortMin < minPort:
		s.fault(ports, "port_range %d-%d begins below %d; sources below that keep to ports below it anyway", n.PortMin,
			n.PortMax, minPort)
	}
	for _, t := range timeouts {
		key, d := "timeouts."+t.key, *t.field(&n.Timeouts)
		if t.part && d == n.Timeouts.TCPTransitory {
			continue
		}
		s.positive(key, d)
		if d > 0 && d < t.least && d != *t.field(&known) {
			s.warn(key, "%s %v is less than the %v of %s; live connections may be cut off", key, d, t.least, t.rule)
		}
	}
}

// maxWorkers bounds the worker threads: more is a slip of the keyboard.
const maxWorkers = 1024

// checkEngine checks the settings of the process.
func (c *checker) checkEngine() {
	s := c.root.child("engine", c.Engine.Line)
	between(s, "workers", c.Engine.Workers, 0, maxWorkers)
	if c.Engine.BusyPoll < 0 {
		s.fault("busy_poll", "busy_poll %v is negative", c.Engine.BusyPoll)
	}
}
