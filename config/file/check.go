package file

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/taprouter/taprouter/config"
)

// A checker goes over a topology once, filling in defaults and reporting what
// is wrong. What it learns on the way about networks and routers is in here.
type checker struct {
	*Topology
	root     scope
	segments map[string]*segment // by name; the first of a name
	order    []*segment          // as Networks
	routers  map[string]*domain  // by name; the first of a name
	domains  []*domain           // as Routers
	labels   map[string]*PhysicalNetwork
	pools    map[string]*Pool
	ports    map[portKey]*Port
	hosts    map[string]bool // instances' names
	floating []scope         // as FloatingIPs, called as in the file

	endpoints map[*Pool]map[netip.AddrPort]bool // of the members, when a VIP has asked
	linked    map[linkID]bool
	reach     *reachTable // when all links are known
	at        *addressTable

	labelled int // devices that networks have from labels
	links    int // of all routers
	backends int // members of all VIPs
}

func newChecker(t *Topology, r *report) *checker {
	return &checker{
		Topology: t,
		root:     r.root(),
		segments: map[string]*segment{},
		routers:  map[string]*domain{},
		labels:   map[string]*PhysicalNetwork{},
		pools:    map[string]*Pool{},
		ports:    map[portKey]*Port{},
		hosts:    map[string]bool{},

		endpoints: map[*Pool]map[netip.AddrPort]bool{},
		linked:    map[linkID]bool{},
	}
}

// run checks everything. Addresses that the topology names are claimed before
// any is chosen, so that a choice never takes what somebody asked for further
// down; and what depends on addresses comes after the choices.
func (c *checker) run() {
	c.checkSomething()
	c.checkPhysicalNetworks()
	c.checkNetworks()
	c.checkNAT()
	c.checkEngine()

	c.checkRouters()
	c.checkPorts()
	c.checkPools()
	c.checkVIPs()
	c.checkFloatingIPs()
	c.checkInstances()

	c.chooseGateways()
	c.chooseFloatingIPs()
	c.chooseInstances()

	c.reach = c.newReachTable()
	c.checkOverlaps()
	c.checkRoutes()
	c.findVIPRouters()
	c.findFloatingRouters()
	c.checkOwn()
	c.checkSteps()

	c.warnNoGateway()
	c.warnInstanceGateways()
	c.warnMembers()
}

// checkSomething: a file that serves nothing is a mistake, such as the wrong
// file. Devices alone are enough, for the networks may be made at run time.
func (c *checker) checkSomething() {
	if len(c.Networks) == 0 && len(c.PhysicalNetworks) == 0 && !c.root.spoiled("network") {
		c.root.fault("", "nothing to serve: there is no [[network]]")
	}
}

// An owner is who has a name or an address.
type owner struct {
	what string // such as: router "r1"
	line int
}

func (o owner) String() string {
	if o.line == 0 {
		return o.what
	}
	return fmt.Sprintf("%s (line %d)", o.what, o.line)
}

// checkName checks a name and puts it down as taken. It says whether it is
// nobody else's.
func (s scope) checkName(name string, taken map[string]owner) bool {
	if !s.require("name", name != "") {
		return false
	}
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, isUnprintable) {
		s.fault("name", "name %q begins or ends with a blank or holds characters that cannot be printed", name)
	}
	if first, ok := taken[name]; ok {
		s.fault("name", "name is taken by %v", first)
		return false
	}
	taken[name] = owner{what: s.subject, line: s.line}
	return true
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// require reports a key that must be there and is not.
func (s scope) require(key string, there bool) bool {
	if !there && s.given(key) {
		s.fault(key, "%s is empty", key)
	} else if !there {
		s.fault(key, "%s is missing", key)
	}
	return there
}

// fallback sets a value that nobody gave.
func fallback[T comparable](s scope, key string, v *T, def T) {
	var zero T
	if *v == zero && !s.given(key) && !s.spoiled(key) {
		*v = def
	}
}

// between checks a number.
func between[T cmp.Ordered](s scope, key string, v, low, high T) {
	if v < low || v > high {
		s.fault(key, "%s %v is not from %v to %v", key, v, low, high)
	}
}

// positive checks a duration that cannot be nothing.
func (s scope) positive(key string, d time.Duration) {
	if d <= 0 {
		s.fault(key, "%s must be more than 0s, not %v", key, d)
	}
}

// oneOf checks a word of a fixed set, in upper or lower case, and writes it as the
// set does. An empty default makes it required.
func oneOf[T ~string](s scope, key string, v *T, def T, words ...T) {
	same := func(w T) bool { return strings.EqualFold(string(w), string(*v)) }
	if i := slices.IndexFunc(words, same); i >= 0 {
		*v = words[i]
	}
	oneOfExactly(s, key, v, def, words...)
}

// oneOfExactly is oneOf for words in which upper and lower case differ.
func oneOfExactly[T ~string](s scope, key string, v *T, def T, words ...T) {
	fallback(s, key, v, def)
	if *v == "" && !s.given(key) {
		s.require(key, false)
		return
	}
	if slices.Contains(words, *v) {
		return
	}
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = string(w)
	}
	s.fault(key, "%s", config.UnknownOf(key, string(*v), known))
}

// maxCompared bounds the search for what unknown names probably mean, in pairs of bytes compared and 64 for
// each name. One slip among a hundred thousand names is found; a file full of them costs a second.
const maxCompared = 1 << 25

// mayCompare says whether the search may go through as many names as all has, for one.
func mayCompare[T any](r *report, name string, all map[string]T) bool {
	if r.compared > maxCompared {
		return false
	}
	for known := range all {
		r.compared += 64 + len(known)*min(len(name), maxSuggested)
	}
	return r.compared <= maxCompared
}

// refer finds what a key refers to by name.
func refer[T any](s scope, key, kind, header, name string, all map[string]T) (T, bool) {
	found, ok := all[name]
	switch {
	case ok || !s.require(key, name != ""):
	case s.r.spoiled(header):
		// Nothing of that kind could be read.
	default:
		var known []string
		if mayCompare(s.r, name, all) {
			known = slices.Sorted(maps.Keys(all))
		}
		text := config.UnknownWord(kind, name, known)
		if config.Nearest(name, known) == "" {
			text += "; no [[" + header + "]] has that name"
		}
		s.fault(key, "%s", text)
	}
	return found, ok
}

// network finds the network that a key names.
func (c *checker) network(s scope, name string) (*segment, bool) {
	return refer(s, "network", "network", "network", name, c.segments)
}

// externalNetwork is network for what lives on external ones only.
func (c *checker) externalNetwork(s scope, name, what string) (*segment, bool) {
	g, ok := c.network(s, name)
	if ok && !g.External {
		s.fault("network", "network %q is not external; %s needs one with external = true", name, what)
		return nil, false
	}
	return g, ok
}

// checkPrefix checks a prefix whose host bits must be zero. With host bits, it
// goes on without them.
func (s scope) checkPrefix(key string, p *netip.Prefix) bool {
	switch {
	case !s.require(key, p.IsValid()):
		return false
	case p.Addr().Is4In6():
		s.fault(key, "%s %v is IPv4 in IPv6 notation", key, p)
		return false
	case *p != p.Masked():
		s.fault(key, "%s %v has host bits set; write %v", key, p, p.Masked())
		*p = p.Masked()
	}
	return true
}

// checkUnicast checks an address that a host can have, wherever it is.
func (s scope) checkUnicast(key string, a netip.Addr) bool {
	if !s.require(key, a.IsValid()) {
		return false
	}
	if a.Zone() != "" || a.Is4In6() || !isUnicast(a) {
		s.fault(key, "%s %v cannot be the address of a host", key, a)
		return false
	}
	return true
}

// notHosts are the prefixes besides multicast that hold no host's address
// (RFC 6890): this network, loopback, reserved and limited broadcast.
var notHosts = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/127"),
	netip.MustParsePrefix("ff00::/8"),
}

// protocolNet holds addresses that are for protocols alone, but for the parts that hosts may have
// (RFC 6890, RFC 7335, RFC 7723, RFC 8155).
var (
	protocolNet   = netip.MustParsePrefix("192.0.0.0/24")
	protocolHosts = []netip.Prefix{
		netip.MustParsePrefix("192.0.0.0/29"), netip.MustParsePrefix("192.0.0.9/32"),
		netip.MustParsePrefix("192.0.0.10/32"),
	}
)

// neverForwarded says why no router forwards from or to the addresses of a prefix, if so. There
// may be hosts all the same. The documentation prefixes are left to labs.
func neverForwarded(p netip.Prefix) string {
	within := func(outer netip.Prefix) bool { return outer.Bits() <= p.Bits() && outer.Contains(p.Addr()) }
	switch {
	case p.Addr().Is4() && p.Bits() >= 16 && p.Addr().IsLinkLocalUnicast():
		return "is link-local: no router forwards from or to it (RFC 3927, 2.7)"
	case p.Addr().Is6() && p.Bits() >= 10 && p.Addr().IsLinkLocalUnicast():
		return "is link-local: no router forwards from or to it (RFC 4291, 2.5.6)"
	case within(protocolNet) && !slices.ContainsFunc(protocolHosts, within):
		return fmt.Sprintf("is in %v, which is for protocols: no router forwards from or to it (RFC 6890)", protocolNet)
	}
	return ""
}

// checkForwarded is checkUnicast for what a router is to lead to.
func (s scope) checkForwarded(key string, a netip.Addr) bool {
	why := neverForwarded(netip.PrefixFrom(a, a.BitLen()))
	if why != "" {
		s.fault(key, "%s %v %s", baseKey(key), a, why)
	}
	return why == ""
}

// baseKey is the last part of a key, without an index.
func baseKey(key string) string {
	key = key[strings.LastIndex(key, ".")+1:]
	key, _, _ = strings.Cut(key, "[")
	return key
}

func isUnicast(a netip.Addr) bool {
	return a.IsValid() && !slices.ContainsFunc(notHosts, func(p netip.Prefix) bool { return p.Contains(a) })
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
