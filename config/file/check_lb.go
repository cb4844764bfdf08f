package file

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Limits and defaults of load balancing; those of monitors and weights are
// Octavia's.
const (
	roundRobin = "ROUND_ROBIN"
	maxWeight  = 256
	maxRetries = 10

	defaultPersistence   = 10 * time.Minute
	defaultMonitorDelay  = 5 * time.Second
	defaultRetries       = 3
	defaultURLPath       = "/"
	defaultExpectedCodes = "200"
)

// Monitor types that depend on more than their name.
const (
	monitorHTTP       = "HTTP"
	monitorHTTPS      = "HTTPS"
	monitorUDPConnect = "UDP-CONNECT"
)

// checkPools checks the pools with their members and monitors.
func (c *checker) checkPools() {
	names := map[string]owner{}
	for i := range c.Pools {
		p := &c.Pools[i]
		s := c.root.item("pool", "pool", p.Name, i, len(c.Pools), p.Line)
		if s.checkName(p.Name, names) {
			c.pools[p.Name] = p
		}
		oneOf(s, "protocol", &p.Protocol, "", TCP, UDP)
		oneOf(s, "algorithm", &p.Algorithm, roundRobin, roundRobin, "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT")
		oneOf(s, "on_member_down", &p.OnMemberDown, "keep", "keep", "reset")
		oneOf(s, "on_member_removed", &p.OnMemberRemoved, "drain", "drain", "reset")
		s.checkPersistence(p.SessionPersistence)
		s.checkMonitor(p)
		s.checkMembers(p)
	}
}

func (s scope) checkPersistence(p *SessionPersistence) {
	if p == nil {
		return
	}
	at := s.child("session_persistence", p.Line)
	oneOf(at, "type", &p.Type, "SOURCE_IP", "SOURCE_IP")
	fallback(at, "timeout", &p.Timeout, defaultPersistence)
	at.positive("timeout", p.Timeout)
}

// checkMembers checks a pool's members. They need not be on a network of ours.
func (s scope) checkMembers(p *Pool) {
	names := map[string]owner{}
	endpoints := map[netip.AddrPort]owner{}
	for i := range p.Members {
		m := &p.Members[i]
		at := s.item("member", "member", m.Name, i, len(p.Members), m.Line)
		between(at, "weight", m.Weight, 0, maxWeight)
		okAddr, okPort := at.checkUnicast("address", m.Address), at.require("port", m.Port != 0)
		if !okAddr || !okPort || !at.checkForwarded("address", m.Address) {
			continue
		}
		endpoint := netip.AddrPortFrom(m.Address, m.Port)
		fallback(at, "name", &m.Name, endpoint.String())
		at.checkName(m.Name, names)
		if first, ok := endpoints[endpoint]; ok {
			at.fault("address", "%v is already %v", endpoint, first)
			continue
		}
		endpoints[endpoint] = at.owner()
		if family(m.Address) != family(p.Members[0].Address) {
			at.fault("address", "address %v is %s, the pool's first member is %s", m.Address, family(m.Address),
				family(p.Members[0].Address))
		}
	}
}

// checkMonitor checks how a pool finds out which members are up.
func (s scope) checkMonitor(p *Pool) {
	m := p.Monitor
	if m == nil {
		return
	}
	at := s.child("monitor", m.Line)
	oneOf(at, "type", &m.Type, "", "TCP", monitorHTTP, monitorHTTPS, "PING", monitorUDPConnect)
	if m.Type == monitorUDPConnect && p.Protocol == TCP {
		at.fault("type", "type %s cannot tell whether a TCP service is up; use TCP, HTTP, HTTPS or PING", m.Type)
	}
	fallback(at, "delay", &m.Delay, defaultMonitorDelay)
	fallback(at, "timeout", &m.Timeout, min(defaultMonitorDelay, max(m.Delay, 0)))
	fallback(at, "max_retries", &m.MaxRetries, defaultRetries)
	fallback(at, "max_retries_down", &m.MaxRetriesDown, defaultRetries)
	oneOf(at, "initial_state", &m.InitialState, "down", "down", "up")
	at.positive("delay", m.Delay)
	if m.Delay > 0 {
		at.positive("timeout", m.Timeout)
	}
	if m.Timeout > m.Delay && m.Delay > 0 {
		at.fault("timeout", "timeout %v is more than the delay of %v; a check must end before the next begins",
			m.Timeout, m.Delay)
	}
	between(at, "max_retries", m.MaxRetries, 1, maxRetries)
	between(at, "max_retries_down", m.MaxRetriesDown, 1, maxRetries)
	at.checkHTTP(m)
}

// httpMethods are those of Octavia's monitors.
var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "CONNECT"}

// checkHTTP checks what only HTTP monitors have.
func (s scope) checkHTTP(m *Monitor) {
	if m.Type != monitorHTTP && m.Type != monitorHTTPS {
		s.refuseHTTP(m, "http_method", m.HTTPMethod)
		s.refuseHTTP(m, "url_path", m.URLPath)
		s.refuseHTTP(m, "expected_codes", m.ExpectedCodes)
		return
	}
	oneOfExactly(s, "http_method", &m.HTTPMethod, httpMethods[0], httpMethods...)
	fallback(s, "url_path", &m.URLPath, defaultURLPath)
	fallback(s, "expected_codes", &m.ExpectedCodes, defaultExpectedCodes)
	if !strings.HasPrefix(m.URLPath, "/") || strings.ContainsFunc(m.URLPath, isBlankOrControl) {
		s.fault("url_path", "url_path %q must begin with / and hold no blanks", m.URLPath)
	}
	if !validCodes(m.ExpectedCodes) {
		s.fault("expected_codes", `expected_codes %q is none of the forms "200", "200,202" and "200-204"`, m.ExpectedCodes)
	}
}

func (s scope) refuseHTTP(m *Monitor, key, value string) {
	if value != "" && m.Type != "" {
		s.fault(key, "%s is for HTTP and HTTPS, not for %s", key, m.Type)
	}
}

func isBlankOrControl(r rune) bool { return r <= ' ' || r == 0x7f }

// validCodes checks Octavia's forms: one status, a list, or a range.
func validCodes(text string) bool {
	if first, last, isRange := strings.Cut(text, "-"); isRange {
		return validCode(first) && validCode(last) && first <= last
	}
	for code := range strings.SplitSeq(text, ",") {
		if !validCode(strings.TrimSpace(code)) {
			return false
		}
	}
	return true
}

// validCode: a status has three digits, the first from 1 to 5 (RFC 9110,
// section 15).
func validCode(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && len(text) == 3 && n >= 100 && n <= 599
}

// checkVIPs checks the VIPs and claims their addresses. VIPs that share one are
// one load balancer with several listeners.
func (c *checker) checkVIPs() {
	names := map[string]owner{}
	listeners := map[listener]owner{}
	addresses := map[*segment]map[netip.Addr]bool{}
	for i := range c.VIPs {
		v := &c.VIPs[i]
		s := c.vipScope(i)
		s.checkName(v.Name, names)
		oneOf(s, "protocol", &v.Protocol, "", TCP, UDP)
		s.require("port", v.Port != 0)
		c.checkListener(s, v)
		g, ok := c.network(s, v.Network)
		if !s.require("address", v.Address.IsValid()) || !ok {
			continue
		}
		if _, ok := g.checkHost(s, "address", v.Address); !ok || !s.checkForwarded("address", v.Address) {
			continue
		}
		if g.gateways[v.Address] {
			s.fault("address", "address %v is the gateway of its subnet", v.Address)
			continue
		}
		if addresses[g] == nil {
			addresses[g] = map[netip.Addr]bool{}
		}
		if !addresses[g][v.Address] {
			addresses[g][v.Address] = g.claim(s, "address", v.Address, s.owner())
		}
		id := listener{v.Network, v.Address, v.Protocol, v.Port}
		if first, ok := listeners[id]; ok {
			s.fault("port", "%s port %d of %v is already that of %v", v.Protocol, v.Port, v.Address, first)
		} else if v.Port != 0 && v.Protocol != "" {
			listeners[id] = s.owner()
		}
	}
}

// A listener is what only one VIP can be.
type listener struct {
	network  string
	address  netip.Addr
	protocol Protocol
	port     uint16
}

func (c *checker) vipScope(i int) scope {
	return c.root.item("vip", "VIP", c.VIPs[i].Name, i, len(c.VIPs), c.VIPs[i].Line)
}

// checkListener checks a VIP apart from where it is.
func (c *checker) checkListener(s scope, v *VIP) {
	if v.ConnectionLimit < 0 || v.ConnectionLimit == 0 && s.given("connection_limit") {
		s.fault("connection_limit", "connection_limit must be at least 1, not %d; leave it out for none",
			v.ConnectionLimit)
	}
	if v.IdleTimeout != 0 || s.given("idle_timeout") {
		s.positive("idle_timeout", v.IdleTimeout)
	}
	for i := range v.AllowedCIDRs {
		key, p := indexKey("allowed_cidrs", i), &v.AllowedCIDRs[i]
		if s.spoiled(key) || !s.checkPrefix(key, p) {
			continue
		}
		if v.Address.IsValid() && p.Addr().Is4() != v.Address.Is4() {
			s.fault(key, "%s %v is %s, the VIP is %s", key, p, family(p.Addr()), family(v.Address))
		}
	}
	if p, ok := refer(s, "pool", "pool", "pool", v.Pool, c.pools); ok {
		c.checkVIPPool(s, v, p)
	}
}

// maxBackends bounds the members of all VIPs, with the members of a pool counted for each of its VIPs:
// each has a place in memory, for the connections that the VIP has given it.
const maxBackends = 1 << 20

// endpointsOf is the set of a pool's members.
func (c *checker) endpointsOf(p *Pool) map[netip.AddrPort]bool {
	set, ok := c.endpoints[p]
	if !ok {
		set = make(map[netip.AddrPort]bool, len(p.Members))
		for i := range p.Members {
			set[netip.AddrPortFrom(p.Members[i].Address, p.Members[i].Port)] = true
		}
		c.endpoints[p] = set
	}
	return set
}

// checkVIPPool checks that a pool's members can serve the VIP.
func (c *checker) checkVIPPool(s scope, v *VIP, p *Pool) {
	before := c.backends
	if c.backends += len(p.Members); c.backends > maxBackends && before <= maxBackends {
		s.fault("pool", "the VIPs have more than %d members, with those of a pool counted for each of its VIPs",
			maxBackends)
	}
	if p.Protocol != v.Protocol && p.Protocol != "" && v.Protocol != "" && !s.spoiled("protocol") {
		s.fault("pool", "pool %q is for %s, the VIP for %s", p.Name, p.Protocol, v.Protocol)
	}
	if len(p.Members) == 0 || !v.Address.IsValid() {
		return
	}
	if first := p.Members[0].Address; first.IsValid() && first.Is4() != v.Address.Is4() {
		s.fault("pool", "pool %q has %s members, the VIP is %s", p.Name, family(first), family(v.Address))
	}
	if c.endpointsOf(p)[netip.AddrPortFrom(v.Address, v.Port)] {
		s.fault("pool", "pool %q has the VIP itself as a member", p.Name)
	}
}

// findVIPRouters finds the router that serves each VIP. It is one per address:
// only one MAC can answer for it.
func (c *checker) findVIPRouters() {
	type place struct {
		network string
		address netip.Addr
	}
	routers := map[place]*VIP{}
	for i := range c.VIPs {
		v, s := &c.VIPs[i], c.vipScope(i)
		g, ok := c.segments[v.Network]
		if !ok || !v.Address.IsValid() || g.subnetOf(v.Address) == nil {
			c.checkRouterName(s, v.Router)
			continue
		}
		want := "serve " + v.Address.String() + " on network " + strconv.Quote(v.Network)
		v.Router = c.findRouter(s, "network", v.Router, want, c.reach.serving(v.Network, v.Address),
			func(d *domain) bool {
				return c.serves(d, v.Network, v.Address)
			})
		at := place{v.Network, v.Address}
		if first, ok := routers[at]; !ok {
			routers[at] = v
		} else if first.Router != v.Router && first.Router != "" && v.Router != "" {
			s.fault("router", "router %q is another than that of VIP %q at the same address, %q", v.Router, first.Name,
				first.Router)
		}
	}
}

// serves says whether the router has an address in the prefix around a.
func (c *checker) serves(d *domain, network string, a netip.Addr) bool {
	if t := c.reach.on[network]; t != nil && a.Zone() == "" {
		for _, n := range t.lengths[familyIndex(a)] {
			if p, err := a.Prefix(n); err == nil && c.linked[linkID{d, network, p}] {
				return true
			}
		}
	}
	return false
}
