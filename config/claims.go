package config

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// A claim is something that an object has and that few or no others may have, or by which it is found. A
// State holds no two claims that exclude each other; the content of a Draft may.
type claim struct {
	what  claimed
	scope string // mostly an ID: where there is only one
	addr  netip.Addr
	num   uint64
	by    ID
}

// A claimed is the subject of a claim. Its comment names the scope, then the other fields that the claim has.
type claimed uint8

const (
	claimAddress    claimed = iota // a network; addr
	claimGateway                   // a network; addr: a subnet's gateway, also if no object has the address
	claimMAC                       // a network; num
	claimPrefix                    // a network; addr and num: a subnet's prefix
	claimLink                      // a router; addr and num: the prefix of a subnet that it has an interface in
	claimBeyond                    // the network of a router's gateway; addr and num: as for claimLink
	claimDevice                    // a device; num: the network's VLAN
	claimLabel                     // a device: a physical network has it
	claimListener                  // a load balancer; num: protocol and port
	claimForward                   // a floating IP; num: protocol and port
	claimMember                    // a pool; addr, and num: the port
	claimFixed                     // a router; addr: the fixed IP of a floating IP
	claimShown                     // addr: an address that a floating IP or a load balancer shows, on any network
	claimTarget                    // addr: the address of a member
	claimServed                    // a router; addr: an address that its floating IPs and load balancers show
	claimInner                     // the floating IP's router; addr: the fixed IP of a port forwarding
	claimHop                       // addr: the next hop of a router's route
	claimRouterPort                // a router and a network, one ID after the other
	claimRule                      // a security group and what its rule says
	claimName                      // a network, and the name of a port there, one after the other
	numClaims
)

func (c claim) less(d claim) bool { return c.compare(d) < 0 }

func (c claim) compare(d claim) int {
	if c.what != d.what {
		return cmp.Compare(c.what, d.what)
	}
	if n := strings.Compare(c.scope, d.scope); n != 0 {
		return n
	}
	if n := c.addr.Compare(d.addr); n != 0 {
		return n
	}
	if c.num != d.num {
		return cmp.Compare(c.num, d.num)
	}
	return strings.Compare(string(c.by), string(d.by))
}

// endpoint is the number of a protocol's port.
func endpoint(p Protocol, port uint16) uint64 {
	if p == UDP {
		return 1<<16 | uint64(port)
	}
	return uint64(port)
}

func (m MAC) number() uint64 {
	var n uint64
	for _, b := range m {
		n = n<<8 | uint64(b)
	}
	return n
}

// A file names few objects with many claims; most have up to this many.
const maxClaims = 8

// appendClaims appends what an object claims, without the object itself.
func (c *content) appendClaims(list []claim, o Object) []claim {
	add := func(n claim) { list = append(list, n) }
	addr := func(what claimed, scope ID, a netip.Addr) {
		if a.IsValid() {
			add(claim{what: what, scope: string(scope), addr: a})
		}
	}
	switch o := o.(type) {
	case *PhysicalNetwork:
		for _, d := range o.Devices {
			add(claim{what: claimLabel, scope: d.attachment()})
		}
	case *Network:
		for _, d := range o.Devices {
			add(claim{what: claimDevice, scope: d.attachment(), num: uint64(o.VLAN)})
		}
	case *Subnet:
		if o.CIDR.IsValid() {
			p := o.CIDR.Masked()
			add(claim{what: claimPrefix, scope: string(o.Network), addr: p.Addr(), num: uint64(p.Bits())})
			addr(claimGateway, o.Network, o.Gateway)
		}
	case *Router:
		if o.Gateway != nil {
			for a := range snatAddresses(o.Gateway) {
				addr(claimAddress, o.Gateway.Network, a)
			}
		}
		for i := range o.Routes {
			addr(claimHop, "", o.Routes[i].NextHop)
		}
	case *Port:
		for _, f := range o.FixedIPs {
			addr(claimAddress, o.Network, f.Address)
			list = c.appendLinks(list, o, f)
		}
		if o.isRouters() {
			add(claim{what: claimRouterPort, scope: o.DeviceID + string(o.Network)})
		}
		if name := o.hostName(); name != "" {
			add(claim{what: claimName, scope: string(o.Network) + name})
		}
		if !o.MAC.IsZero() {
			add(claim{what: claimMAC, scope: string(o.Network), num: o.MAC.number()})
		}
	case *SecurityGroupRule:
		add(ruleClaim(o))
	case *FloatingIP:
		addr(claimAddress, o.Network, o.Address)
		addr(claimShown, "", o.Address)
		if o.Router != "" {
			addr(claimServed, o.Router, o.Address)
			addr(claimFixed, o.Router, o.FixedIP)
		}
	case *PortForwarding:
		list = c.appendInner(list, o)
		if o.ExternalPort != 0 {
			add(claim{what: claimForward, scope: string(o.FloatingIP), num: endpoint(o.Protocol, o.ExternalPort)})
		}
	case *Member:
		if o.Address.IsValid() && o.Port != 0 {
			add(claim{what: claimMember, scope: string(o.Pool), addr: o.Address, num: uint64(o.Port)})
			addr(claimTarget, "", o.Address)
		}
	case *LoadBalancer:
		addr(claimAddress, o.Network, o.Address)
		addr(claimShown, "", o.Address)
		if o.Router != "" {
			addr(claimServed, o.Router, o.Address)
		}
	case *Listener:
		if o.Port != 0 {
			add(claim{what: claimListener, scope: string(o.LoadBalancer), num: endpoint(o.Protocol, o.Port)})
		}
	}
	return list
}

// appendLinks appends the claims of a router's port on the prefix that one of its addresses is in.
func (c *content) appendLinks(list []claim, p *Port, f FixedIP) []claim {
	if p.DeviceOwner != OwnerInterface {
		return list
	}
	sub := lookup[*Subnet](c, f.Subnet)
	if sub == nil || !sub.CIDR.IsValid() {
		return list
	}
	q := sub.CIDR.Masked()
	list = append(list, claim{what: claimLink, scope: p.DeviceID, addr: q.Addr(), num: uint64(q.Bits())})
	if r := c.Router(ID(p.DeviceID)); r != nil && r.Gateway != nil {
		list = append(list, claim{what: claimBeyond, scope: string(r.Gateway.Network), addr: q.Addr(),
			num: uint64(q.Bits())})
	}
	return list
}

// linkPorts adds or removes the links of router ports.
func (c *content) linkPorts(ports iter.Seq[*Port], add bool) {
	for p := range ports {
		for _, f := range p.FixedIPs {
			var buffer [2]claim
			for _, n := range c.appendLinks(buffer[:0], p, f) {
				n.by = p.ID
				c.setClaim(n, add)
			}
		}
	}
}

// appendInner appends the claim of a port forwarding on where it ends, if its floating IP has a router.
func (c *content) appendInner(list []claim, p *PortForwarding) []claim {
	f := c.FloatingIP(p.FloatingIP)
	if f == nil || f.Router == "" || !p.FixedIP.IsValid() {
		return list
	}
	return append(list, claim{what: claimInner, scope: string(f.Router), addr: p.FixedIP})
}

// innerForwardings adds or removes where the port forwardings of a floating IP end.
func (c *content) innerForwardings(floatingIP ID, add bool) {
	for p := range c.ForwardingsOf(floatingIP) {
		var buffer [1]claim
		for _, n := range c.appendInner(buffer[:0], p) {
			n.by = p.ID
			c.setClaim(n, add)
		}
	}
}

func (c *content) setClaim(n claim, add bool) {
	if add {
		c.claims[n.what].Set(n)
	} else {
		c.claims[n.what].Delete(n)
	}
}

// claimAll adds or removes an object's claims.
func (c *content) claimAll(o Object, add bool) {
	var buffer [maxClaims]claim
	for _, n := range c.appendClaims(buffer[:0], o) {
		n.by = o.About().ID
		c.setClaim(n, add)
	}
}

// replaceClaims takes back the claims of an object's old version, and makes the claims of the new one.
func (c *content) replaceClaims(old, o Object) {
	var x, y [maxClaims]claim
	before, after := c.appendClaims(x[:0], old), c.appendClaims(y[:0], o)
	if slices.Equal(before, after) {
		return
	}
	id := o.About().ID
	for _, n := range without(before, after) {
		n.by = id
		c.setClaim(n, false)
	}
	for _, n := range without(after, before) {
		n.by = id
		c.setClaim(n, true)
	}
}

// without lists the claims of a list that are not in another one.
func without(list, other []claim) []claim {
	has := func(n claim) bool { return slices.Contains(other, n) }
	if len(other) > 4*maxClaims {
		all := make(map[claim]bool, len(other))
		for _, n := range other {
			all[n] = true
		}
		has = func(n claim) bool { return all[n] }
	}
	var rest []claim
	for _, n := range list {
		if !has(n) {
			rest = append(rest, n)
		}
	}
	return rest
}

// claimants gives the IDs of the objects that have a claim.
func (c *content) claimants(n claim) iter.Seq[ID] {
	n.by = ""
	return func(yield func(ID) bool) {
		c.claims[n.what].Ascend(n, func(m claim) bool {
			by := m.by
			m.by = ""
			return m == n && yield(by)
		})
	}
}

// having gives the objects of a scope that claim an address of a prefix, by address.
func (c *content) having(what claimed, scope ID, p netip.Prefix) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		if !p.IsValid() {
			return
		}
		from := claim{what: what, scope: string(scope), addr: p.Masked().Addr()}
		c.claims[what].Ascend(from, func(n claim) bool {
			return n.what == what && n.scope == string(scope) && p.Contains(n.addr) && yield(c.find(n.by))
		})
	}
}

// claimant is the first that has a claim, empty if there is none.
func (c *content) claimant(n claim) ID {
	for id := range c.claimants(n) {
		return id
	}
	return ""
}

// around gives the prefixes around an address that objects of a scope claim, each once, the longest first. It looks for
// the last prefix P that begins at or before the address. If P does not contain the address, let C be the longest
// prefix that contains the address and the beginning of P. A claimed prefix around the address is not longer than C, so
// it begins at or before C. The search goes on from C.
func (c *content) around(what claimed, scope ID, a netip.Addr) iter.Seq[claim] {
	return func(yield func(claim) bool) {
		if !a.IsValid() || a.Zone() != "" {
			return
		}
		base, bits := a, a.BitLen()
		for {
			var found claim
			from := claim{what: what, scope: string(scope), addr: base, num: uint64(bits) + 1}
			c.claims[what].Descend(from, func(n claim) bool {
				found = n
				return false
			})
			if found.what != what || found.scope != string(scope) || found.addr.BitLen() != a.BitLen() {
				return
			}
			found.by = ""
			next := int(found.num)
			if p := netip.PrefixFrom(found.addr, next); p.Contains(a) {
				if !yield(found) {
					return
				}
			} else {
				next = commonBits(found.addr, a) + 1
			}
			if next == 0 {
				return
			}
			bits = next - 1
			base = netip.PrefixFrom(a, bits).Masked().Addr()
		}
	}
}

// commonBits is how many leading bits two addresses of one family have in common.
func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	n := 0
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			for d&0x80 == 0 {
				n++
				d <<= 1
			}
			break
		}
		n += 8
	}
	return n - (128 - a.BitLen())
}

// inside gives the prefixes in a prefix that objects of a scope claim, each once. The prefix itself comes first.
func (c *content) inside(what claimed, scope ID, p netip.Prefix) iter.Seq[claim] {
	return func(yield func(claim) bool) {
		from := claim{what: what, scope: string(scope), addr: p.Addr(), num: uint64(p.Bits())}
		for {
			var found claim
			c.claims[what].Ascend(from, func(n claim) bool {
				found = n
				return false
			})
			found.by = ""
			if found.what != what || found.scope != string(scope) || !p.Contains(found.addr) || !yield(found) {
				return
			}
			from = found
			from.num++
		}
	}
}

// overlapping gives the prefixes that overlap a prefix and that objects of a scope claim, each once: the ones in it,
// and the ones around it.
func (c *content) overlapping(what claimed, scope ID, p netip.Prefix) iter.Seq[claim] {
	return func(yield func(claim) bool) {
		for n := range c.inside(what, scope, p) {
			if !yield(n) {
				return
			}
		}
		for n := range c.around(what, scope, p.Addr()) {
			if int(n.num) < p.Bits() && !yield(n) {
				return
			}
		}
	}
}

// prefix is the prefix that a claim is about.
func (c claim) prefix() netip.Prefix { return netip.PrefixFrom(c.addr, int(c.num)) }
