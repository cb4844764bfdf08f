package ip

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
	"github.com/taprouter/taprouter/internal/addrmap"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Rules is everything that a packet at one router obeys. It is derived from one State and never changes. The router's
// worker swaps it for the next one between two batches of packets. The next one shares with the former one
// the parts that did not change (with). Any goroutine may read it.
type Rules struct {
	SettingsParams
	Attached []*InterfaceRules  // of the interfaces, in the order of the params
	Gateway  *gateway           // nil: no external network
	checks   *Interface         // leads to the host of the checks of members; nil: there is none
	Routes   *bart.Table[route] // by destination
	floating *nat.Static        // all floating IPs
	Origins  Origins
	Static   *nat.Static            // the floating IPs that are in force: without a gateway none is
	VIPs     lb.VIPs                // the ID of a lb.VIP is the number of its VIP at the router
	Listed   []*VIPRules            // of all VIPs, in the order of address, protocol and port
	Owned    addrmap.Map[ownership] // every address that the router answers for by ARP
}

// noRules are the rules of a router that does nothing yet.
var noRules = &Rules{Routes: new(bart.Table[route])}

// An ownership says where a router has an address, and counts the reasons. An address may have several, as the
// address of several VIPs has.
type ownership struct {
	At  *Interface // where the address is answered for and announced
	ARP uint16     // reasons to answer for it
	// Local counts the reasons why the address is the router's own, so that pings are answered. An associated floating
	// IP is its host's.
	Local uint16
}

// InterfaceRules is what an interface obeys. The interface itself stays when its rules change.
type InterfaceRules struct {
	Of       *Interface
	External bool        // it leads to the gateway's network
	Addrs    []ifaceAddr // the router's
	Prefixes []prefixOf  // every subnet that is on link
	origin   Origin
}

// VIPRules is what a VIP obeys. The VIP itself, with its connections and counts, stays when its rules change.
type VIPRules struct {
	lb.VIP
	Of         *VIP
	ListenerID wire.ID // of the State's listener
	network    wire.ID
	At         *Interface    // the interface on the network of its address
	PoolID     wire.ID       // of the State's pool
	Limit      int           // established connections at most, 0: any number
	Idle       time.Duration // idle timeout of connections, 0: that of the connection table
	Allowed    *bart.Lite    // clients that may connect; nil: all
	origin     Origin
}

// standing finds the parts of a router that stay when its rules change, by the ids that params have. Each method
// returns nil if there is no such part.
type standing interface {
	InterfaceOn(network wire.ID) *Interface
	VIPOf(listener wire.ID) *VIP
	ShareOf(pool wire.ID) *PoolShare
}

// with makes the rules that follow from a change. They share with r the parts that the params do not touch. moved are
// the addresses that the router gets and loses at its interfaces.
func (r *Rules) with(p *Params, parts standing) (next *Rules, moved moves) {
	n := *r
	if p.Settings != nil {
		n.SettingsParams = *p.Settings
	}
	anew := false // the interfaces of all addresses are found anew
	if p.Place != nil {
		n.setPlace(p.Place, parts)
		n.enforce()
		anew = n.rehoused(r)
	}
	edits := ownEdits{skip: anew}
	if p.Place != nil {
		edits.placed(r, true)
		edits.placed(&n, false)
	}
	for i := range p.Floating {
		f := &p.Floating[i]
		edits.floats(r, f.Addr, true)
		n.floating = n.floating.With(f.Addr, f.To)
		n.Origins = n.Origins.with(f)
		n.enforce()
		edits.floats(&n, f.Addr, false)
	}
	if len(p.VIPs) > 0 {
		n.setVIPs(p.VIPs, parts, &edits)
	}
	if !anew {
		n.Owned = edits.apply(r.Owned)
		return &n, movesBetween(r.Owned, n.Owned, edits.addresses())
	}
	n.houseVIPs(parts)
	edits = n.everything()
	n.Owned = edits.apply(addrmap.Map[ownership]{})
	addrs := edits.addresses()
	for a := range r.Owned.All() {
		addrs = append(addrs, a)
	}
	return &n, movesBetween(r.Owned, n.Owned, addrs)
}

// setPlace makes the rules of interfaces, gateway and routes anew: a router has few of them.
func (r *Rules) setPlace(p *PlaceParams, parts standing) {
	r.Attached, r.Gateway, r.checks, r.Routes = nil, nil, nil, new(bart.Table[route])
	for i := range p.Interfaces {
		pi := &p.Interfaces[i]
		f := &InterfaceRules{Of: parts.InterfaceOn(pi.Network), External: pi.External, origin: pi.Origin}
		for _, a := range pi.Addrs {
			f.Addrs = append(f.Addrs, ifaceAddr{packet.AddrFrom(a.Addr()), newPrefix(a)})
			f.Prefixes = append(f.Prefixes, newPrefix(a))
			r.Routes.Insert(a.Masked(), route{Out: f.Of})
		}
		for _, l := range pi.OnLink {
			f.Prefixes = append(f.Prefixes, newPrefix(l))
			r.Routes.Insert(l.Masked(), route{Out: f.Of})
		}
		r.Attached = append(r.Attached, f)
		if pi.Checks {
			r.checks = f.Of
		}
	}
	if g := p.Gateway; g != nil {
		r.Gateway = newGateway(g, parts.InterfaceOn(g.Network))
		if g.NextHop != 0 {
			r.Routes.Insert(netip.PrefixFrom(netip.IPv4Unspecified(), 0),
				route{r.Gateway.Interface, g.NextHop, &r.Gateway.origin})
		}
	}
	for i := range p.Routes {
		rt := &p.Routes[i]
		if f := r.towards(rt.Via); f != nil {
			r.Routes.Insert(rt.To.Masked(), route{f.Of, rt.Via, &rt.Origin})
		}
	}
}

// enforce puts the floating IPs in force, if there is a gateway.
func (r *Rules) enforce() {
	if r.Static = r.floating; r.Gateway == nil {
		r.Static = nil
	}
}

// towards is the interface on whose network a next hop is, nil if there is none.
func (r *Rules) towards(via packet.Addr) *InterfaceRules {
	for _, f := range slices.Backward(r.Attached) {
		if f.onLink(via) {
			return f
		}
	}
	return nil
}

func newGateway(p *GatewayParams, at *Interface) *gateway {
	g := &gateway{
		Interface: at, Addr: p.Addr, SNAT: p.SNAT, Shared: []packet.Addr{p.Addr}, more: map[packet.Addr]bool{},
		origin: p.Origin, noSNAT: p.NoSNAT,
	}
	for _, plain := range p.Plain {
		if plain.Addr().Is4() {
			g.Plain = append(g.Plain, newPrefix(plain))
		}
	}
	if len(p.Shared) > 0 {
		g.Shared = nil
	}
	for _, s := range p.Shared {
		for a, more := s[0], true; more; a++ {
			if g.Shared = append(g.Shared, a); a != g.Addr {
				g.more[a] = true
			}
			more = a != s[1]
		}
	}
	return g
}

// rehoused reports whether floating IPs or VIPs may be at other interfaces than before.
func (r *Rules) rehoused(before *Rules) bool {
	at := func(g *gateway) *Interface {
		if g == nil {
			return nil
		}
		return g.Interface
	}
	same := func(a, b *InterfaceRules) bool { return a.Of == b.Of }
	return at(r.Gateway) != at(before.Gateway) || !slices.EqualFunc(r.Attached, before.Attached, same)
}

// setVIPs sets the rules of VIPs that have come or changed, and takes away the VIPs that are gone.
func (r *Rules) setVIPs(params []VIPParams, parts standing, edits *ownEdits) {
	changed := map[wire.ID]bool{}
	set := make([]*VIPRules, 0, len(params))
	for i := range params {
		p := &params[i]
		if changed[p.ID] = true; !p.Gone {
			if v := newVIPRules(p, parts); v.At != nil {
				set = append(set, v)
			}
		}
	}
	listed := make([]*VIPRules, 0, len(r.Listed)+len(set))
	for _, v := range r.Listed {
		if !changed[v.ListenerID] {
			listed = append(listed, v)
			continue
		}
		edits.add(addrAt{v.Addr, v.At}, true, true)
		r.VIPs = r.VIPs.Without(v.Addr, v.Proto, v.Port)
	}
	for _, v := range set {
		edits.add(addrAt{v.Addr, v.At}, true, false)
		r.VIPs = r.VIPs.With(&v.VIP)
		listed = append(listed, v)
	}
	slices.SortFunc(listed, func(a, b *VIPRules) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	r.Listed = listed
}

func newVIPRules(p *VIPParams, parts standing) *VIPRules {
	of := parts.VIPOf(p.ID)
	v := &VIPRules{
		VIP: lb.VIP{ID: of.number, Name: p.Name, Addr: p.Addr, Proto: p.Proto, Port: p.Port,
			Pool: parts.ShareOf(p.Pool).Pool},
		Of: of, ListenerID: p.ID, network: p.Network, At: parts.InterfaceOn(p.Network), PoolID: p.Pool,
		Limit: p.Limit, Idle: p.Idle,
		origin: p.Origin,
	}
	if len(p.Allowed) > 0 {
		v.Allowed = new(bart.Lite)
		for _, a := range p.Allowed {
			v.Allowed.Insert(a)
		}
	}
	return v
}

// houseVIPs finds the interfaces of the VIPs anew. It copies the VIPRules, because the former rules have them, too.
func (r *Rules) houseVIPs(parts standing) {
	listed := make([]*VIPRules, 0, len(r.Listed))
	for _, v := range r.Listed {
		moved := *v
		if moved.At = parts.InterfaceOn(v.network); moved.At == nil {
			r.VIPs = r.VIPs.Without(v.Addr, v.Proto, v.Port) // the router is not there any more
			continue
		}
		listed = append(listed, &moved)
		r.VIPs = r.VIPs.With(&moved.VIP)
	}
	r.Listed = listed
}

// owner returns the interface at which the router has an address, nil if it has not.
func (r *Rules) owner(addr packet.Addr) *Interface {
	if o := r.Owned.Find(addr); o != nil {
		return o.At
	}
	return nil
}

// IsLocal reports whether an address is the router's own, and not an associated floating IP.
func (r *Rules) IsLocal(addr packet.Addr) bool {
	o := r.Owned.Find(addr)
	return o != nil && o.Local > 0
}

// claims reports whether an address is the router's own or an associated floating IP, so that it cannot be the
// address of a host.
func (r *Rules) claims(addr packet.Addr) bool {
	o := r.Owned.Find(addr)
	return o != nil && (o.Local > 0 || o.At != r.checks)
}

// An addrAt is an address that a router has at an interface.
type addrAt struct {
	Addr packet.Addr
	At   *Interface
}

// moves are the addresses that a router gets and loses. An address that moves to another interface is in both lists.
type moves struct{ Gained, Lost []addrAt }

// ownEdits are the reasons to own addresses that have come and gone.
type ownEdits struct {
	skip bool // the edits are not needed
	all  []ownEdit
}

// An ownEdit is one reason to own an address. local: the reason makes the address the router's own. gone: it has gone.
type ownEdit struct {
	addrAt
	local, gone bool
}

func (e *ownEdits) add(a addrAt, local, gone bool) {
	if !e.skip {
		e.all = append(e.all, ownEdit{a, local, gone})
	}
}

// placed adds the reasons that interfaces and gateway give.
func (e *ownEdits) placed(r *Rules, gone bool) {
	for _, f := range r.Attached {
		for _, a := range f.Addrs {
			e.add(addrAt{a.Addr, f.Of}, f.Of != r.checks, gone)
		}
	}
	if r.Gateway != nil {
		for _, a := range r.Gateway.Shared {
			if a != r.Gateway.Addr {
				e.add(addrAt{a, r.Gateway.Interface}, true, gone)
			}
		}
	}
}

// floats adds the reason that a floating IP gives.
func (e *ownEdits) floats(r *Rules, addr packet.Addr, gone bool) {
	if r.Gateway != nil && r.Static.Owns(addr) {
		_, associated := r.Static.Fixed(addr)
		// If the address has forwarded ports, packets to its other ports are for the router.
		e.add(addrAt{addr, r.Gateway.Interface}, !associated, gone)
	}
}

// everything are all reasons to own an address that the rules give.
func (r *Rules) everything() ownEdits {
	var e ownEdits
	e.placed(r, false)
	r.Static.Each(func(addr packet.Addr, _ nat.Floating) { e.floats(r, addr, false) })
	for _, v := range r.Listed {
		e.add(addrAt{v.Addr, v.At}, true, false)
	}
	return e
}

// apply makes the table that follows from reasons that have come and gone.
func (e *ownEdits) apply(table addrmap.Map[ownership]) addrmap.Map[ownership] {
	for _, edit := range e.all {
		var o ownership
		if had := table.Find(edit.Addr); had != nil {
			o = *had
		}
		if edit.count(&o); o.ARP == 0 {
			table = table.Without(edit.Addr)
		} else {
			table = table.With(edit.Addr, o)
		}
	}
	return table
}

// count counts one reason more or less.
func (e *ownEdit) count(o *ownership) {
	one := uint16(1)
	if e.gone {
		one = ^uint16(0)
	} else {
		o.At = e.At
	}
	if o.ARP += one; e.local {
		o.Local += one
	}
}

// addresses are the addresses that the edits are about. Some may be there several times.
func (e *ownEdits) addresses() []packet.Addr {
	all := make([]packet.Addr, 0, len(e.all))
	for _, edit := range e.all {
		all = append(all, edit.Addr)
	}
	return all
}

// movesBetween compares where addresses were and are.
func movesBetween(before, after addrmap.Map[ownership], addrs []packet.Addr) moves {
	var m moves
	slices.Sort(addrs)
	for _, a := range slices.Compact(addrs) {
		var was, is ownership
		if o := before.Find(a); o != nil {
			was = *o
		}
		if o := after.Find(a); o != nil {
			is = *o
		}
		if was.At == is.At {
			continue
		}
		if was.At != nil {
			m.Lost = append(m.Lost, addrAt{a, was.At})
		}
		if is.At != nil {
			m.Gained = append(m.Gained, addrAt{a, is.At})
		}
	}
	return m
}
