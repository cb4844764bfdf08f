package wire

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/internal/addrmap"
	"github.com/taprouter/taprouter/internal/packet"
)

// A BoundPort is a port of the State on a network: a MAC address, and the addresses that belong to it. It never
// changes.
type BoundPort struct {
	ID      ID
	Name    string     // as messages call it
	MAC     packet.MAC // zero: any
	Device  string     // where its frames come from, by the name of the link; empty: any device
	Secured bool       // its frames are checked
	Down    bool       // it is out of use: all its frames are dropped
	Fixed   []netip.Addr
	Pairs   []AllowedPair // what it may use besides its own addresses
}

// An AllowedPair is a prefix that a port may use, with a MAC address.
type AllowedPair struct {
	IP  netip.Prefix
	MAC packet.MAC // zero: the port's
}

// A binding is what one port may send from one MAC address.
type binding struct {
	port *BoundPort
	mac  packet.MAC // zero: any
	v4   []span     // sorted by first; no two overlap
	v6   []netip.Prefix
	any  bool // the port has no addresses, so only its MAC address is checked
}

// A span is a range of IPv4 addresses with both ends.
type span struct{ first, last packet.Addr }

// bindingsOf are the bindings of a port, that of its own MAC address first.
func bindingsOf(p *BoundPort) []*binding {
	own := &binding{port: p, mac: p.MAC, any: len(p.Fixed) == 0 && len(p.Pairs) == 0}
	all := []*binding{own}
	for _, a := range p.Fixed {
		own.add(netip.PrefixFrom(a, a.BitLen()))
	}
	for _, pair := range p.Pairs {
		b := own
		if !pair.MAC.IsZero() && pair.MAC != p.MAC {
			k := slices.IndexFunc(all, func(b *binding) bool { return b.mac == pair.MAC })
			if k < 0 {
				k = len(all)
				all = append(all, &binding{port: p, mac: pair.MAC})
			}
			b = all[k]
		}
		b.add(pair.IP.Masked())
	}
	for _, b := range all {
		b.sort()
	}
	return all
}

func (b *binding) add(p netip.Prefix) {
	if !p.Addr().Is4() {
		b.v6 = append(b.v6, p)
		return
	}
	last := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		last[bit/8] |= 1 << (7 - bit%8)
	}
	b.v4 = append(b.v4, span{packet.AddrFrom(p.Addr()), packet.AddrFrom(netip.AddrFrom4(last))})
}

// sort sorts the spans, and leaves out those that are in others: of two prefixes that overlap one is in the other.
func (b *binding) sort() {
	slices.SortFunc(b.v4, func(x, y span) int {
		return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(y.last, x.last))
	})
	kept := b.v4[:0]
	for _, s := range b.v4 {
		if n := len(kept); n == 0 || s.first > kept[n-1].last {
			kept = append(kept, s)
		}
	}
	b.v4 = kept
}

// has4 reports whether an IPv4 address is among the binding's.
func (b *binding) has4(a packet.Addr) bool {
	low, high := 0, len(b.v4)
	for low < high {
		if mid := (low + high) / 2; b.v4[mid].last < a {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return b.any || low < len(b.v4) && b.v4[low].first <= a
}

// has6 reports whether an IPv6 address is among the binding's.
func (b *binding) has6(a netip.Addr) bool {
	return b.any || slices.ContainsFunc(b.v6, func(p netip.Prefix) bool { return p.Contains(a) })
}

// speaks reports whether frames of a device may be the port's, which is in use.
func (b *binding) speaks(device string) bool { return !b.port.Down && b.applies(device) }

// applies reports whether frames of a device may be the port's.
func (b *binding) applies(device string) bool { return b.port.Device == "" || b.port.Device == device }

// PortRules say what hosts behind the ports of a network may send: port security. They never change; With makes other
// rules, which share what stays. So any goroutine may read them. nil are the rules of a network without ports.
type PortRules struct {
	strict      bool // a MAC address that no port has is refused
	unknownDHCP bool // ... but may ask for an address by DHCP
	secured     int  // ports whose frames are checked
	down        int  // ports that are out of use

	byMAC   addrmap.Tree[uint64, []*binding]  // by macKey
	anyMAC  addrmap.Map[[]*binding]           // of ports without a MAC address: by fixed address
	anyNets []*binding                        // those among them that have other addresses than fixed ones, or none
	devices addrmap.Tree[uint64, []tiedPorts] // by the hash of their names
	loose   int                               // ports without MAC address and device
	own     addrmap.Map[struct{}]             // the engine's own addresses: of routers, floating IPs, VIPs
}

// tiedPorts counts the ports that are tied to one device.
type tiedPorts struct {
	device  string
	secured int
	open    int // not secured
	anyMAC  int // without a MAC address
	down    int // out of use, which are in none of the others
	shut    int // of these, those beside which nobody else may be there: without a MAC address, or with port security
}

// PortParams are what a change means for the rules of a network.
type PortParams struct {
	Anew        bool         // the rules begin from nothing; Were is empty
	Strict      bool         // a MAC address that no port has is refused
	UnknownDHCP bool         // the network leases addresses to hosts that have no port
	Were, Are   []*BoundPort // the ports that the change concerns, as they were and as they are
	Own         []OwnAddr
}

// An OwnAddr is an IPv4 address that the engine itself has on a network, or has no longer.
type OwnAddr struct {
	Addr packet.Addr
	Gone bool
}

// With returns the rules after a change.
func (r *PortRules) With(p *PortParams) *PortRules {
	n := PortRules{}
	if r != nil && !p.Anew {
		n = *r
	}
	n.strict, n.unknownDHCP = p.Strict, p.UnknownDHCP
	for _, port := range p.Were {
		n.count(port, -1)
		for _, b := range bindingsOf(port) {
			n.remove(b)
		}
	}
	for _, port := range p.Are {
		n.count(port, 1)
		for _, b := range bindingsOf(port) {
			n.insert(b)
		}
	}
	for _, o := range p.Own {
		if o.Gone {
			n.own = n.own.Without(o.Addr)
		} else {
			n.own = n.own.With(o.Addr, struct{}{})
		}
	}
	return &n
}

// active reports whether any frame has to be checked.
func (r *PortRules) active() bool { return r != nil && (r.secures() || r.down > 0) }

// secures reports whether there is port security. Otherwise only ports that are out of use are looked for.
func (r *PortRules) secures() bool { return r.strict || r.secured > 0 }

// count enters a port into the numbers, or takes it out (by is -1).
func (r *PortRules) count(p *BoundPort, by int) {
	switch {
	case p.Down:
		r.down += by
	case p.Secured:
		r.secured += by
	}
	if p.Device == "" {
		if p.MAC.IsZero() && !p.Down {
			r.loose += by
		}
		return
	}
	key := deviceKey(p.Device)
	var all []tiedPorts
	if found := r.devices.Find(key); found != nil {
		all = slices.Clone(*found)
	}
	k := slices.IndexFunc(all, func(t tiedPorts) bool { return t.device == p.Device })
	if k < 0 {
		k = len(all)
		all = append(all, tiedPorts{device: p.Device})
	}
	t := &all[k]
	if p.MAC.IsZero() && !p.Down {
		t.anyMAC += by
	}
	switch {
	case p.Down:
		t.down += by
		if p.MAC.IsZero() || p.Secured {
			t.shut += by
		}
	case p.Secured:
		t.secured += by
	default:
		t.open += by
	}
	if t.secured+t.open+t.down == 0 {
		all = slices.Delete(all, k, k+1)
	}
	if len(all) == 0 {
		r.devices = r.devices.Without(key)
	} else {
		r.devices = r.devices.With(key, all)
	}
}

// tied are the ports that are tied to a device. key is its deviceKey.
func (r *PortRules) tied(key uint64, device string) (t tiedPorts) {
	if found := r.devices.Find(key); found != nil {
		for _, t := range *found {
			if t.device == device {
				return t
			}
		}
	}
	return t
}

// deviceKey is a number for the name of a device. Two devices may have the same one.
func deviceKey(device string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(device))
	return h.Sum64()
}

// insert enters a binding.
func (r *PortRules) insert(b *binding) {
	if !b.mac.IsZero() {
		key := macKey(b.mac[:])
		r.byMAC = r.byMAC.With(key, inserted(r.byMAC.Find(key), b))
		return
	}
	for _, a := range b.singles() {
		r.anyMAC = r.anyMAC.With(a, inserted(r.anyMAC.Find(a), b))
	}
	if b.hasMore() {
		r.anyNets = inserted(&r.anyNets, b)
	}
}

// remove takes a binding out.
func (r *PortRules) remove(b *binding) {
	if !b.mac.IsZero() {
		key := macKey(b.mac[:])
		if rest := removed(r.byMAC.Find(key), b); rest != nil {
			r.byMAC = r.byMAC.With(key, rest)
		} else {
			r.byMAC = r.byMAC.Without(key)
		}
		return
	}
	for _, a := range b.singles() {
		if rest := removed(r.anyMAC.Find(a), b); rest != nil {
			r.anyMAC = r.anyMAC.With(a, rest)
		} else {
			r.anyMAC = r.anyMAC.Without(a)
		}
	}
	if b.hasMore() {
		r.anyNets = removed(&r.anyNets, b)
	}
}

// singles are the fixed IPv4 addresses of a binding's port.
func (b *binding) singles() (all []packet.Addr) {
	for _, a := range b.port.Fixed {
		if a.Is4() {
			all = append(all, packet.AddrFrom(a))
		}
	}
	return all
}

// hasMore reports whether a binding for any MAC address has to be asked besides its fixed addresses.
func (b *binding) hasMore() bool { return b.any || len(b.port.Pairs) > 0 || len(b.v6) > 0 }

func byPort(a, b *binding) int { return cmp.Compare(a.port.ID, b.port.ID) }

// inserted is a list, in the order of the ports' IDs, with one binding more.
func inserted(list *[]*binding, b *binding) []*binding {
	if list == nil {
		return []*binding{b}
	}
	k, _ := slices.BinarySearchFunc(*list, b, byPort)
	return slices.Insert(slices.Clone(*list), k, b)
}

// removed is a list without the binding of a port; nil if nothing is left.
func removed(list *[]*binding, b *binding) []*binding {
	if list == nil {
		return nil
	}
	k, found := slices.BinarySearchFunc(*list, b, byPort)
	if !found {
		return *list
	}
	if len(*list) == 1 {
		return nil
	}
	return slices.Delete(slices.Clone(*list), k, k+1)
}

// String writes the rules, a line for each part, in an order that does not depend on how they were made.
func (r *PortRules) String() string {
	if r == nil {
		return "no port rules\n"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "port rules: strict %t, DHCP for unknown %t, %d secured, %d down, %d for any MAC\n", r.strict,
		r.unknownDHCP, r.secured, r.down, r.loose)
	list := func(what any, all []*binding) {
		for _, b := range all {
			fmt.Fprintf(&s, "  %v: port %s secured %t down %t device %q %v %v any %t\n", what, b.port.ID,
				b.port.Secured, b.port.Down, b.port.Device, b.v4, b.v6, b.any)
		}
	}
	for _, all := range r.byMAC.All() {
		list(all[0].mac, all)
	}
	for a, all := range r.anyMAC.All() {
		list(a.Netip(), all)
	}
	list("any MAC", r.anyNets)
	var tied []string
	for _, all := range r.devices.All() {
		for _, t := range all {
			tied = append(tied, fmt.Sprintf("  device %s: %+v\n", t.device, t))
		}
	}
	slices.Sort(tied)
	s.WriteString(strings.Join(tied, ""))
	for a := range r.own.All() {
		fmt.Fprintf(&s, "  own %v\n", a.Netip())
	}
	return s.String()
}
