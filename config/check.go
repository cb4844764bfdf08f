package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// Check chooses what the edits leave open, checks what they touch, and returns the State with the edits. If there are
// faults that are no warnings, the State is nil, and the Draft is as it was: it may be edited further. Else the Draft
// goes on as an edit of the new State.
//
// If two objects exclude each other, the object that was put later has the fault. Objects of the State count as put
// before all others.
func (d *Draft) Check() (*State, Faults) {
	if len(d.order) == 0 && len(d.bad) == 0 {
		return d.base, nil
	}
	c := newChecker(d)
	c.run()
	if c.reported || c.faults.Err() != nil {
		return nil, c.bounded()
	}
	s := d.base.next(c.content, c.finish())
	d.base, d.content = s, s.fork()
	d.edits, d.order = map[ID]*edit{}, nil
	return s, c.bounded()
}

// A checker checks a Draft. Its content is the Draft's, with the addresses and routers that the check has chosen.
type checker struct {
	*Draft
	content
	order []Ref // the Draft's edits, and then the objects that Check has changed
	made  []ID  // objects that Check has changed
	// rank has the objects that were put or deleted, and differ from the base State: their places in the edits, from 1.
	rank map[ID]int

	changed map[ID]bool // objects that differ from the base State

	faults   Faults
	reported bool // the Draft's caller has reported a fault, see Draft.Reported
	known    map[key]bool
	done     map[ID]bool // subnets that have been checked
	faulty   map[ID]bool // objects with a fault
	found    int         // faults, also the ones beyond maxFaults
	warned   int         // warnings, likewise

	cursors map[ID]*cursor // of subnets in which addresses are chosen
	free    map[familyOf][]*Subnet
	tried   map[familyOf][]*Subnet // the first ones of free, as many as a message lists
	usual   map[ID]FixedIP         // of a network: the gateway of its first subnet that has one

	dirty  map[ID]bool         // the objects to check
	todo   [NumKinds][]waiting // the same, by kind
	sorted [NumKinds]int       // how many of todo are in order
	linked map[ID]bool         // routers whose links have changed

	// The objects that depend on these are in dirty already.
	allMarked map[marking]bool
	addressed map[netip.Addr]bool
	served    map[served]bool

	loops map[ID]bool // listeners whose connections may come back

	firsts    map[claim]ID
	subnets   map[claim]*Subnet      // the first one with a prefix
	devices   map[ID]map[string]bool // of networks, as written
	attached  map[ID]map[string]Device
	routersOf map[ID][]serving
	unsure    map[ID]bool // networks: see isUnsure; shaky and doubtful: see isShaky and isDoubtful
	shaky     map[ID]bool
	doubtful  map[ID]bool
	numbers   map[ID]int // of subnets in their networks, from 1
	compared  int        // see mayCompare

	badDevice     map[ID]bool // networks with a device that is none
	beside        map[ID]bool // networks with a router that has a gateway
	external      *Network    // the first external one
	externalKnown bool
}

func newChecker(d *Draft) *checker {
	c := &checker{
		Draft: d, content: d.fork(), rank: map[ID]int{}, changed: map[ID]bool{}, dirty: map[ID]bool{},
		linked: map[ID]bool{}, allMarked: map[marking]bool{}, firsts: map[claim]ID{},
	}
	for i, id := range d.order {
		e := d.edits[id]
		c.order = append(c.order, e.ref)
		if !e.same {
			c.rank[id] = i + 1
			c.changed[id] = true
		}
	}
	for _, f := range d.bad {
		c.found++
		c.faults = append(c.faults, f)
	}
	return c
}

// keep puts something into a map. Most checks need few of the checker's maps, so the others are made here.
func keep[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// run does the steps in the order in which they need each other. Addresses that are named are claimed before other
// addresses are chosen. Routers are found when all addresses are known. Faults are reported last.
func (c *checker) run() {
	c.makeGatewayPorts()
	c.findSubnets()
	c.reopen()
	c.checkSubnets()
	c.choose()
	c.makeDHCPPorts()
	c.chooseMACs()
	for _, r := range c.order {
		c.follow(r.ID)
	}
	made := len(c.made)
	c.findRouters()
	for _, id := range c.made[made:] {
		c.follow(id)
	}
	c.checkAll()
}

// edit notes that Check itself changes an object. The object keeps its rank.
func (c *checker) edit(o Object) {
	id := o.About().ID
	if c.changed[id] {
		return
	}
	if !c.isPut(id) {
		c.order = append(c.order, o.Ref())
	}
	c.made = append(c.made, id)
	c.changed[id] = true
}

// precedes says whether an object comes before another one where the two exclude each other.
func (c *checker) precedes(a, b ID) bool {
	if x, y := c.rank[a], c.rank[b]; x != y {
		return x < y
	}
	o, p := c.find(a), c.find(b)
	if o == nil || p == nil {
		return o != nil
	}
	if k, l := o.Ref().Kind, p.Ref().Kind; k != l {
		return k < l
	}
	return before(o, p)
}

// group is the object that a claim counts for: claims of a router and claims of its ports never exclude each other, nor
// do those of a load balancer and of the port that was made for it.
func (c *checker) group(id ID) ID {
	switch o := c.find(id).(type) {
	case *Port:
		if o.isRouters() {
			return ID(o.DeviceID)
		}
	case *LoadBalancer:
		if o.Port != "" {
			return o.Port
		}
	}
	return id
}

// first is the first that has a claim.
func (c *checker) first(n claim) ID {
	n.by = ""
	id, ok := c.firsts[n]
	if !ok {
		for other := range c.claimants(n) {
			if id == "" || c.precedes(other, id) {
				id = other
			}
		}
		c.firsts[n] = id
	}
	return id
}

// finish writes down what has become of the objects, when all is well, and lists the ones that have changed.
func (c *checker) finish() []Ref {
	var touched []Ref
	for _, r := range c.order {
		o, was := c.find(r.ID), c.base.find(r.ID)
		switch {
		case o == was:
		case o == nil:
			touched = append(touched, was.Ref())
		case was != nil && equal(was, o):
		default:
			touched = append(touched, o.Ref())
			c.content.put(c.dated(o, was))
		}
	}
	return touched
}

// dated is an object with its revision and times. A new object may have brought its own.
func (c *checker) dated(o, was Object) Object {
	m := o.About()
	if was == nil && m.Revision != 0 {
		return o
	}
	o = clone(o)
	m = o.About()
	m.Revision, m.Created, m.Updated = 1, c.Now, c.Now
	if was != nil {
		m.Revision, m.Created = was.About().Revision+1, was.About().Created
	}
	return o
}

// bounded says how many faults there are that are not listed.
func (c *checker) bounded() Faults {
	fs := c.faults
	if more := c.found - maxFaults; more > 0 {
		fs = append(fs, Fault{Message: fmt.Sprintf("and %d more faults", more), More: more})
	}
	if more := c.warned - maxFaults; more > 0 {
		fs = append(fs, Fault{Message: fmt.Sprintf("and %d more warnings", more), Warning: true, More: more})
	}
	return fs
}

// require reports an attribute that must be there and is not.
func (c *checker) require(w where, field string, there bool) bool {
	if !there {
		c.fault(w, field, Invalid, "%s is missing", baseKey(field))
	}
	return there
}

// refer finds the object that an attribute refers to. If that object was deleted in this Draft, it gets a fault of code
// InUse, and the object with the attribute gets none.
func refer[T Object](c *checker, w where, field string, k Kind, id ID) (T, bool) {
	o, ok := c.find(id).(T)
	switch {
	case ok && o.Ref().Kind == k:
		return o, true
	case id == "":
		c.require(w, field, false)
	case c.rank[w.o.About().ID] == 0 && c.base.find(id) != nil:
		keep(&c.faulty, w.o.About().ID, true)
	default:
		c.fault(w, field, Unknown, "unknown %v %q", k, id)
	}
	var none T
	return none, false
}

// oneOf checks a word of a fixed set.
func oneOf[T ~string](c *checker, w where, field string, v T, words []T) {
	if v == "" {
		c.require(w, field, false)
		return
	}
	if slices.Contains(words, v) {
		return
	}
	known := make([]string, len(words))
	for i, s := range words {
		known[i] = string(s)
	}
	c.fault(w, field, Invalid, "%s", UnknownOf(baseKey(field), string(v), known))
}

// between checks a number.
func (c *checker) between(w where, field string, v, low, high int) {
	if v < low || v > high {
		c.fault(w, field, Invalid, "%s %v is not from %v to %v", baseKey(field), v, low, high)
	}
}

// checkPrefix checks a prefix whose host bits must be zero.
func (c *checker) checkPrefix(w where, field, word string, p netip.Prefix) bool {
	switch {
	case !c.require(w, field, p.IsValid()):
		return false
	case p.Addr().Is4In6():
		c.fault(w, field, Invalid, "%s %v is IPv4 in IPv6 notation", word, p)
		return false
	case p != p.Masked():
		c.fault(w, field, Invalid, "%s %v has host bits set; write %v", word, p, p.Masked())
	}
	return true
}

// checkUnicast checks an address that a host can have, wherever it is.
func (c *checker) checkUnicast(w where, field string, a netip.Addr) bool {
	if !c.require(w, field, a.IsValid()) {
		return false
	}
	if a.Zone() != "" || a.Is4In6() || !isUnicast(a) {
		c.fault(w, field, Invalid, "%s %v cannot be the address of a host", baseKey(field), a)
		return false
	}
	return true
}

// checkForwarded checks an address that a router is to lead to.
func (c *checker) checkForwarded(w where, field, word string, a netip.Addr) bool {
	why := neverForwarded(netip.PrefixFrom(a, a.BitLen()))
	if why != "" {
		c.fault(w, field, Invalid, "%s %v %s", word, a, why)
	}
	return why == ""
}

// checkHostIn checks that an address is a host's in the prefix.
func (c *checker) checkHostIn(w where, field, word string, a netip.Addr, p netip.Prefix) bool {
	why := HostProblem(a, p)
	if why != "" {
		c.fault(w, field, Invalid, "%s %v %s", word, a, why)
	}
	return why == ""
}

// checkHost checks that a host on the network can have the address, and finds its subnet.
func (c *checker) checkHost(w where, field, word string, n *Network, a netip.Addr) (*Subnet, bool) {
	s := c.SubnetAt(n.ID, a)
	if s == nil {
		if !c.isUnsure(n.ID) {
			c.fault(w, field, Invalid, "%s %v outside %s", word, a, c.prefixes(n))
		}
		return nil, false
	}
	return s, c.checkHostIn(w, field, word, a, s.CIDR)
}

// prefixes lists a network's subnets for a message.
func (c *checker) prefixes(n *Network) string {
	var list []*Subnet
	for s := range c.SubnetsOf(n.ID) {
		if list = append(list, s); len(list) > maxListed {
			break
		}
	}
	if len(list) == 0 {
		return "network " + c.networkName(n.ID) + ", which has no subnet"
	}
	return listed(list, func(s *Subnet) string { return s.CIDR.String() })
}

// SubnetAt finds the subnet of a network that an address is in, nil if there is none. The first subnet of each prefix
// is found once: there may be many, as long as nothing is checked.
func (c *checker) SubnetAt(network ID, a netip.Addr) *Subnet {
	var first *Subnet
	for n := range c.around(claimPrefix, network, a) {
		s, ok := c.subnets[n]
		if !ok {
			s = c.firstSubnet(n)
			keep(&c.subnets, n, s)
		}
		if first == nil || before(s, first) {
			first = s
		}
	}
	return first
}

// checkAddress checks that nothing else has an address of an object.
func (c *checker) checkAddress(w where, field string, network ID, a netip.Addr) bool {
	id := w.o.About().ID
	first := c.first(claim{what: claimAddress, scope: string(network), addr: a})
	if first == id || c.group(first) == c.group(id) {
		return c.checkLease(w, field, network, a)
	}
	c.fault(w, field, Taken, "%v is already the address of %s", a, c.owner(c.find(first)))
	return false
}

// checkLease checks that an address which no object has had so far is not leased to a host, unless the host is the
// port that gets it.
func (c *checker) checkLease(w where, field string, network ID, a netip.Addr) bool {
	if c.Holder == nil || c.base.Owner(network, a) != nil {
		return true
	}
	m, leased := c.Holder(network, a)
	if p, ok := w.o.(*Port); !leased || ok && p.MAC == m {
		return true
	}
	c.fault(w, field, Taken,
		"%v is leased to the host with MAC address %v; the lease ends with: taprouter lease release %v",
		a, m, a)
	return false
}

// isGateway says whether an address is the gateway of a subnet.
func (c *checker) isGateway(network ID, a netip.Addr) bool {
	return c.IsGatewayAddress(network, a)
}

// isUnsure says whether a network may have subnets that are not known: then no address is outside.
func (c *checker) isUnsure(network ID) bool {
	v, ok := c.unsure[network]
	if !ok {
		v = c.Unsure != nil && c.Unsure(Ref{KindNetwork, network})
		for s := range c.SubnetsOf(network) {
			if v = v || prefixProblem(s.CIDR); v {
				break
			}
		}
		keep(&c.unsure, network, v)
	}
	return v
}

// prefixProblem says whether a subnet's prefix leaves open where the subnet is.
func prefixProblem(p netip.Prefix) bool {
	return !p.IsValid() || p.Addr().Is4In6() ||
		slices.ContainsFunc(notHosts, func(q netip.Prefix) bool { return q.Overlaps(p) })
}

// isShaky says whether something in a network's subnets is wrong: then no gateway and no pool is missed.
func (c *checker) isShaky(network ID) bool {
	v, ok := c.shaky[network]
	if !ok {
		v = c.isUnsure(network)
		for s := range c.SubnetsOf(network) {
			if v = v || c.faulty[s.ID] || c.Unsure != nil && c.Unsure(s.Ref()); v {
				break
			}
		}
		keep(&c.shaky, network, v)
	}
	return v
}

// isDoubtful says whether an interface of a router, its gateway or a network there has a fault: then no link is missed.
func (c *checker) isDoubtful(r *Router) bool {
	v, ok := c.doubtful[r.ID]
	if ok {
		return v
	}
	v = c.Unsure != nil && c.Unsure(r.Ref())
	if r.Gateway != nil && !v {
		n, p := c.Network(r.Gateway.Network), c.GatewayPort(r.ID)
		v = n == nil || !n.External || p == nil || c.faulty[p.ID]
	}
	for p := range c.InterfacesOf(r.ID) {
		if v = v || c.faulty[p.ID] || c.isShaky(p.Network); v {
			break
		}
	}
	keep(&c.doubtful, r.ID, v)
	return v
}

// maxCompared bounds the search for what unknown names probably mean, in pairs of bytes compared and 64 for
// each name. One slip among a hundred thousand names is found; a file full of them costs a second.
const maxCompared = 1 << 25

// mayCompare says whether the search may go through as many names as all has, for one.
func (c *checker) mayCompare(name string, all map[string]bool) bool {
	if c.compared > maxCompared {
		return false
	}
	for known := range all {
		c.compared += 64 + len(known)*min(len(name), maxSuggested)
	}
	return c.compared <= maxCompared
}
