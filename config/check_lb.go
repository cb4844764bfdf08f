package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// checkPool checks a pool apart from its members.
func (c *checker) checkPool(p *Pool) {
	w := at(p)
	oneOf(c, w, "protocol", p.Protocol, protocols)
	oneOf(c, w, "algorithm", p.Algorithm, algorithms)
	c.checkApplication(w, p.Protocol, p.Application)
	oneOf(c, w, "on_member_down", p.OnMemberDown, onMemberDown)
	oneOf(c, w, "on_member_removed", p.OnMemberRemoved, onMemberGone)
	if p.LoadBalancer != "" {
		refer[*LoadBalancer](c, w, "loadbalancer", KindLoadBalancer, p.LoadBalancer)
	}
	if s := p.SessionPersistence; s != nil {
		w = w.in("session_persistence", Source{})
		oneOf(c, w, "session_persistence.type", s.Type, persistences)
		c.positive(w, "session_persistence.timeout", "timeout", s.Timeout)
	}
}

// checkMember checks a member apart from the routers that serve it. It need not be on a network of ours.
func (c *checker) checkMember(m *Member) {
	w := at(m)
	if _, ok := refer[*Pool](c, w, "pool", KindPool, m.Pool); !ok {
		return
	}
	c.between(w, "weight", m.Weight, 0, maxWeight)
	c.checkMonitorAddress(w, m)
	okAddr, okPort := c.checkUnicast(w, "address", m.Address), c.require(w, "port", m.Port != 0)
	if !okAddr || !okPort || !c.checkForwarded(w, "address", "address", m.Address) {
		return
	}
	first := c.first(claim{what: claimMember, scope: string(m.Pool), addr: m.Address, num: uint64(m.Port)})
	if first != m.ID {
		c.fault(w, "address", Taken, "%v is already %s", netip.AddrPortFrom(m.Address, m.Port), c.owner(c.find(first)))
		return
	}
	if like := c.familyOf(&c.content, m.Pool); family(m.Address) != like {
		c.fault(w, "address", Invalid, "address %v is %s, the pool's first member is %s", m.Address, family(m.Address),
			like)
	}
}

// checkMonitorAddress checks the address that a member names for its checks. The router sends them, so the address is
// of the same family as the member's.
func (c *checker) checkMonitorAddress(w where, m *Member) {
	const field = "monitor_address"
	a := m.MonitorAddress
	if !a.IsValid() || !c.checkUnicast(w, field, a) || !c.checkForwarded(w, field, field, a) {
		return
	}
	if m.Address.IsValid() && family(a) != family(m.Address) {
		c.fault(w, field, Invalid, "monitor_address %v is %s, the member's address is %s", a, family(a),
			family(m.Address))
	}
}

// checkMonitor checks how a pool finds out which members are up.
func (c *checker) checkMonitor(m *Monitor) {
	w := at(m)
	p, ok := refer[*Pool](c, w, "pool", KindPool, m.Pool)
	if !ok {
		return
	}
	if c.count(monitorOf, m.Pool) > 1 {
		for other := range each[*Monitor](&c.content, monitorOf, m.Pool) {
			if other.ID != m.ID && c.precedes(other.ID, m.ID) {
				c.fault(w, "pool", Taken, "the pool has a monitor already")
				break
			}
		}
	}
	oneOf(c, w, "type", m.Type, monitorTypes)
	if m.Type == monitorUDPConnect && p.Protocol == TCP {
		c.fault(w, "type", Invalid, "type %s cannot tell whether a TCP service is up; use TCP, HTTP, HTTPS or PING",
			m.Type)
	}
	oneOf(c, w, "initial_state", m.InitialState, initialStates)
	c.positive(w, "delay", "delay", m.Delay)
	if m.Delay > 0 {
		c.positive(w, "timeout", "timeout", m.Timeout)
	}
	if m.Timeout > m.Delay && m.Delay > 0 {
		c.fault(w, "timeout", Invalid, "timeout %v is more than the delay of %v; "+
			"a check must end before the next begins", m.Timeout, m.Delay)
	}
	c.between(w, "max_retries", m.MaxRetries, 1, MaxRetries)
	c.between(w, "max_retries_down", m.MaxRetriesDown, 1, MaxRetries)
	c.checkHTTP(w, m)
}

// checkHTTP checks what only HTTP monitors have.
func (c *checker) checkHTTP(w where, m *Monitor) {
	if !m.isHTTP() {
		for _, x := range []struct{ key, value string }{
			{"http_method", m.HTTPMethod}, {"url_path", m.URLPath}, {"expected_codes", m.ExpectedCodes},
			{"http_version", m.HTTPVersion}, {"domain_name", m.DomainName},
		} {
			if x.value != "" && m.Type != "" {
				c.fault(w, x.key, Invalid, "%s is for HTTP and HTTPS, not for %s", x.key, m.Type)
			}
		}
		return
	}
	oneOf(c, w, "http_method", m.HTTPMethod, httpMethods)
	if !strings.HasPrefix(m.URLPath, "/") || strings.ContainsFunc(m.URLPath, isBlankOrControl) {
		c.fault(w, "url_path", Invalid, "url_path %q must begin with / and hold no blanks", m.URLPath)
	}
	if !validCodes(m.ExpectedCodes) {
		c.fault(w, "expected_codes", Invalid,
			`expected_codes %q is none of the forms "200", "200,202" and "200-204"`, m.ExpectedCodes)
	}
	if m.HTTPVersion != "" {
		oneOf(c, w, "http_version", m.HTTPVersion, httpVersions)
	}
	switch {
	case m.DomainName == "":
	case !isDomainName(m.DomainName):
		c.fault(w, "domain_name", Invalid, "domain_name %q is no name of a host, such as www.example.com", m.DomainName)
	case m.HTTPVersion == "1.0":
		c.fault(w, "domain_name", Invalid, "requests of HTTP 1.0 name no host; take http_version 1.1 for domain_name")
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

// checkBalancer checks a load balancer's address.
func (c *checker) checkBalancer(b *LoadBalancer) {
	w := at(b)
	n, ok := refer[*Network](c, w, "network", KindNetwork, b.Network)
	if ok && b.Address.IsValid() {
		c.checkServiceAddress(w, n, b.Address)
	}
	c.checkBalancerPort(w, b)
}

// checkBalancerRouter checks the router that serves a load balancer. It is one per address: only one MAC can answer for
// it. There need not be any.
func (c *checker) checkBalancerRouter(b *LoadBalancer) {
	w := at(b)
	n := c.Network(b.Network)
	if n == nil || !b.Address.IsValid() || c.SubnetAt(n.ID, b.Address) == nil {
		if b.Router != "" {
			refer[*Router](c, w, "router", KindRouter, b.Router)
		}
		return
	}
	want := func() string { return "serve " + b.Address.String() + " on network " + c.networkName(b.Network) }
	if b.Router == "" {
		c.noRouter(w, "network", want(), c.serving(b.Network, b.Address), true)
		return
	}
	c.checkRouterIs(w, b.Router, want, func(r *Router) bool { return c.serves(r, b.Network, b.Address) })
}

// checkListener checks a listener and that its pool's members can serve it.
func (c *checker) checkListener(l *Listener) {
	w := at(l)
	oneOf(c, w, "protocol", l.Protocol, protocols)
	c.checkApplication(w, l.Protocol, l.Application)
	c.require(w, "port", l.Port != 0)
	if l.ConnectionLimit < 0 {
		c.fault(w, "connection_limit", Invalid, "connection_limit must be at least 1, not %d; leave it out for none",
			l.ConnectionLimit)
	}
	if l.IdleTimeout != 0 {
		c.positive(w, "idle_timeout", "idle_timeout", l.IdleTimeout)
	}
	b, ok := refer[*LoadBalancer](c, w, "loadbalancer", KindLoadBalancer, l.LoadBalancer)
	if !ok {
		b = &LoadBalancer{}
	}
	for i, p := range l.AllowedCIDRs {
		field := indexed("allowed_cidrs", i)
		if c.checkPrefix(w, field, field, p) && b.Address.IsValid() && p.Addr().Is4() != b.Address.Is4() {
			c.fault(w, field, Invalid, "%s %v is %s, the VIP is %s", field, p.Masked(), family(p.Addr()),
				family(b.Address))
		}
	}
	if l.Pool != "" {
		if p, ok := refer[*Pool](c, w, "pool", KindPool, l.Pool); ok {
			c.checkPoolOf(w, l, b, p)
		}
	}
	if !ok || l.Port == 0 || l.Protocol == "" {
		return
	}
	first := c.first(claim{what: claimListener, scope: string(b.ID), num: endpoint(l.Protocol, l.Port)})
	if first != l.ID {
		c.fault(w, "port", Taken, "%s port %d of %v is already that of %s", l.Protocol, l.Port, b.Address,
			c.owner(c.find(first)))
	}
}

// checkPoolOf checks that a pool's members can serve a listener.
func (c *checker) checkPoolOf(w where, l *Listener, b *LoadBalancer, p *Pool) {
	if p.Protocol != l.Protocol && p.Protocol != "" && l.Protocol != "" {
		c.fault(w, "pool", Invalid, "pool %s is for %s, the VIP for %s", c.nameOf(p.ID, KindPool), p.Protocol,
			l.Protocol)
	}
	if !b.Address.IsValid() {
		return
	}
	for m := range c.MembersOf(p.ID) {
		if m.Address.IsValid() && m.Address.Is4() != b.Address.Is4() {
			c.fault(w, "pool", Invalid, "pool %s has %s members, the VIP is %s", c.nameOf(p.ID, KindPool),
				family(m.Address), family(b.Address))
		}
		break
	}
	if c.claimant(claim{what: claimMember, scope: string(p.ID), addr: b.Address, num: uint64(l.Port)}) != "" {
		c.fault(w, "pool", Invalid, "pool %s has the VIP itself as a member", c.nameOf(p.ID, KindPool))
	}
}

// checkApplication checks what TCP is said to carry.
func (c *checker) checkApplication(w where, p Protocol, application string) {
	if application == "" {
		return
	}
	oneOf(c, w, "application", application, applications)
	if p == UDP {
		c.fault(w, "application", Invalid, "application %s goes with TCP only", application)
	}
}
