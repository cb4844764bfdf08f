package router

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
)

// rules is everything that a packet at one router obeys. It is derived from one State and never changes. The router's
// worker swaps it for the next one between two batches of packets. The next one shares with the former one
// what did not change (with). Any goroutine may read it.
type rules struct {
	settingsParams
	attached []*ifaceRules // the interfaces, in the order of the params
	gateway  *gateway      // nil: no external network
	checks   *iface        // where the checks of members come from; nil: there are none
	routes   *bart.Table[route]
	floating *nat.Static            // all floating IPs
	static   *nat.Static            // those in force: without a gateway none is
	vips     lb.VIPs                // the ID of one is its vip's number at the router
	listed   []*vipRules            // those of vips, in the order of address, protocol and port
	owned    addrmap.Map[ownership] // every address that the router answers for by ARP
}

// noRules are those of a router that does nothing yet.
var noRules = &rules{routes: new(bart.Table[route])}

// An ownership says where a router has an address, and counts the reasons. An address may have several, as the
// address of several VIPs has.
type ownership struct {
	at  *iface // where the address is answered for and announced
	arp uint16 // reasons to answer for it
	// reasons why it is the router's own, so that pings are answered. An associated floating IP is its host's
	local uint16
}

// ifaceRules is what an interface obeys. The interface itself stays when its rules change.
type ifaceRules struct {
	of       *iface
	external bool
	addrs    []ifaceAddr
	prefixes []prefixOf // every subnet that is on link
	origin   origin
}

// vipRules is what a VIP obeys. The VIP itself, with its connections and counts, stays when its rules change.
type vipRules struct {
	lb.VIP
	of      *vip
	id      id
	network id
	at      *iface // where its address is, on the network
	pool    id
	limit   int           // established connections at most, 0: any number
	idle    time.Duration // 0: as the connection table has it
	allowed *bart.Lite    // clients that may connect; nil: all
	origin  origin
}

// standing finds the parts of a router that stay when its rules change, by the ids that params have.
type standing interface {
	ifaceOn(network id) *iface
	vipOf(listener id) *vip
	shareOf(pool id) *poolShare
}

// with makes the rules that follow from a change. It shares with r what the params do not touch. moved are the
// addresses that the router has in one of the two at an interface where it does not have them in the other.
func (r *rules) with(p *routerParams, parts standing) (next *rules, moved moves) {
	n := *r
	if p.settings != nil {
		n.settingsParams = *p.settings
	}
	anew := false // where the addresses are is found anew
	if p.place != nil {
		n.setPlace(p.place, parts)
		n.enforce()
		anew = n.rehoused(r)
	}
	edits := ownEdits{skip: anew}
	if p.place != nil {
		edits.placed(r, true)
		edits.placed(&n, false)
	}
	for i := range p.floating {
		f := &p.floating[i]
		edits.floats(r, f.addr, true)
		n.floating = n.floating.With(f.addr, f.to)
		n.enforce()
		edits.floats(&n, f.addr, false)
	}
	if len(p.vips) > 0 {
		n.setVIPs(p.vips, parts, &edits)
	}
	if !anew {
		n.owned = edits.apply(r.owned)
		return &n, movesBetween(r.owned, n.owned, edits.addresses())
	}
	n.houseVIPs(parts)
	edits = n.everything()
	n.owned = edits.apply(addrmap.Map[ownership]{})
	addrs := edits.addresses()
	for a := range r.owned.All() {
		addrs = append(addrs, a)
	}
	return &n, movesBetween(r.owned, n.owned, addrs)
}

// setPlace makes interfaces, gateway and routes anew: a router has few of them.
func (r *rules) setPlace(p *placeParams, parts standing) {
	r.attached, r.gateway, r.checks, r.routes = nil, nil, nil, new(bart.Table[route])
	for i := range p.ifaces {
		pi := &p.ifaces[i]
		f := &ifaceRules{of: parts.ifaceOn(pi.network), external: pi.external, origin: pi.origin}
		for _, a := range pi.addrs {
			f.addrs = append(f.addrs, ifaceAddr{packet.AddrFrom(a.Addr()), newPrefix(a)})
			f.prefixes = append(f.prefixes, newPrefix(a))
			r.routes.Insert(a.Masked(), route{out: f.of})
		}
		for _, l := range pi.onLink {
			f.prefixes = append(f.prefixes, newPrefix(l))
			r.routes.Insert(l.Masked(), route{out: f.of})
		}
		r.attached = append(r.attached, f)
		if pi.checks {
			r.checks = f.of
		}
	}
	if g := p.gateway; g != nil {
		r.gateway = newGateway(g, parts.ifaceOn(g.network))
		if g.nextHop != 0 {
			r.routes.Insert(netip.PrefixFrom(netip.IPv4Unspecified(), 0),
				route{r.gateway.iface, g.nextHop, &r.gateway.origin})
		}
	}
	for i := range p.routes {
		rt := &p.routes[i]
		if f := r.towards(rt.via); f != nil {
			r.routes.Insert(rt.to.Masked(), route{f.of, rt.via, &rt.origin})
		}
	}
}

// enforce has the floating IPs in force that may be.
func (r *rules) enforce() {
	if r.static = r.floating; r.gateway == nil {
		r.static = nil
	}
}

// towards is the interface on whose network a next hop is, nil if there is none.
func (r *rules) towards(via packet.Addr) *ifaceRules {
	for _, f := range slices.Backward(r.attached) {
		if f.onLink(via) {
			return f
		}
	}
	return nil
}

func newGateway(p *gatewayParams, at *iface) *gateway {
	g := &gateway{
		iface: at, addr: p.addr, snat: p.snat, shared: []packet.Addr{p.addr}, more: map[packet.Addr]bool{},
		origin: p.origin,
	}
	for _, plain := range p.plain {
		if plain.Addr().Is4() {
			g.plain = append(g.plain, newPrefix(plain))
		}
	}
	if len(p.shared) > 0 {
		g.shared = nil
	}
	for _, s := range p.shared {
		for a, more := s[0], true; more; a++ {
			if g.shared = append(g.shared, a); a != g.addr {
				g.more[a] = true
			}
			more = a != s[1]
		}
	}
	return g
}

// rehoused reports whether floating IPs or VIPs may be at other interfaces than before.
func (r *rules) rehoused(before *rules) bool {
	at := func(g *gateway) *iface {
		if g == nil {
			return nil
		}
		return g.iface
	}
	same := func(a, b *ifaceRules) bool { return a.of == b.of }
	return at(r.gateway) != at(before.gateway) || !slices.EqualFunc(r.attached, before.attached, same)
}

// setVIPs sets VIPs that have come or changed, and takes away those that are gone.
func (r *rules) setVIPs(params []vipParams, parts standing, edits *ownEdits) {
	changed := map[id]bool{}
	set := make([]*vipRules, 0, len(params))
	for i := range params {
		p := &params[i]
		if changed[p.id] = true; !p.gone {
			if v := newVIPRules(p, parts); v.at != nil {
				set = append(set, v)
			}
		}
	}
	listed := make([]*vipRules, 0, len(r.listed)+len(set))
	for _, v := range r.listed {
		if !changed[v.id] {
			listed = append(listed, v)
			continue
		}
		edits.add(addrAt{v.Addr, v.at}, true, true)
		r.vips = r.vips.Without(v.Addr, v.Proto, v.Port)
	}
	for _, v := range set {
		edits.add(addrAt{v.Addr, v.at}, true, false)
		r.vips = r.vips.With(&v.VIP)
		listed = append(listed, v)
	}
	slices.SortFunc(listed, func(a, b *vipRules) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	r.listed = listed
}

func newVIPRules(p *vipParams, parts standing) *vipRules {
	of := parts.vipOf(p.id)
	v := &vipRules{
		VIP: lb.VIP{ID: of.number, Name: p.name, Addr: p.addr, Proto: p.proto, Port: p.port,
			Pool: parts.shareOf(p.pool).pool},
		of: of, id: p.id, network: p.network, at: parts.ifaceOn(p.network), pool: p.pool, limit: p.limit, idle: p.idle,
		origin: p.origin,
	}
	if len(p.allowed) > 0 {
		v.allowed = new(bart.Lite)
		for _, a := range p.allowed {
			v.allowed.Insert(a)
		}
	}
	return v
}

// houseVIPs finds the interfaces of the VIPs anew. What is shared with former rules is not changed.
func (r *rules) houseVIPs(parts standing) {
	listed := make([]*vipRules, 0, len(r.listed))
	for _, v := range r.listed {
		moved := *v
		if moved.at = parts.ifaceOn(v.network); moved.at == nil {
			r.vips = r.vips.Without(v.Addr, v.Proto, v.Port) // the router is not there any more
			continue
		}
		listed = append(listed, &moved)
		r.vips = r.vips.With(&moved.VIP)
	}
	r.listed = listed
}

// owner returns the interface at which the router has an address, nil if it has not.
func (r *rules) owner(addr packet.Addr) *iface {
	if o := r.owned.Find(addr); o != nil {
		return o.at
	}
	return nil
}

// isLocal reports whether an address is the router's own, and not an associated floating IP.
func (r *rules) isLocal(addr packet.Addr) bool {
	o := r.owned.Find(addr)
	return o != nil && o.local > 0
}

// claims reports whether an address is the router's own or an associated floating IP, so that it cannot be the
// address of a host.
func (r *rules) claims(addr packet.Addr) bool {
	o := r.owned.Find(addr)
	return o != nil && (o.local > 0 || o.at != r.checks)
}

// An addrAt is an address that a router has at an interface.
type addrAt struct {
	addr packet.Addr
	at   *iface
}

// moves are the addresses that a router has got and lost. An address that is at another interface now is in both.
type moves struct{ gained, lost []addrAt }

// ownEdits are the reasons to own addresses that have come and gone.
type ownEdits struct {
	skip bool // nobody will ask
	all  []ownEdit
}

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
func (e *ownEdits) placed(r *rules, gone bool) {
	for _, f := range r.attached {
		for _, a := range f.addrs {
			e.add(addrAt{a.addr, f.of}, f.of != r.checks, gone)
		}
	}
	if r.gateway != nil {
		for _, a := range r.gateway.shared {
			if a != r.gateway.addr {
				e.add(addrAt{a, r.gateway.iface}, true, gone)
			}
		}
	}
}

// floats adds the reason that a floating IP gives.
func (e *ownEdits) floats(r *rules, addr packet.Addr, gone bool) {
	if r.gateway != nil && r.static.Owns(addr) {
		_, associated := r.static.Fixed(addr)
		// of one with forwarded ports, the rest is for the router
		e.add(addrAt{addr, r.gateway.iface}, !associated, gone)
	}
}

// everything is all reasons that there are.
func (r *rules) everything() ownEdits {
	var e ownEdits
	e.placed(r, false)
	r.static.Each(func(addr packet.Addr, _ nat.Floating) { e.floats(r, addr, false) })
	for _, v := range r.listed {
		e.add(addrAt{v.Addr, v.at}, true, false)
	}
	return e
}

// apply makes the table that follows from reasons that have come and gone.
func (e *ownEdits) apply(table addrmap.Map[ownership]) addrmap.Map[ownership] {
	for _, edit := range e.all {
		var o ownership
		if had := table.Find(edit.addr); had != nil {
			o = *had
		}
		if edit.count(&o); o.arp == 0 {
			table = table.Without(edit.addr)
		} else {
			table = table.With(edit.addr, o)
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
		o.at = e.at
	}
	if o.arp += one; e.local {
		o.local += one
	}
}

// addresses are those of the edits.
func (e *ownEdits) addresses() []packet.Addr {
	all := make([]packet.Addr, 0, len(e.all))
	for _, edit := range e.all {
		all = append(all, edit.addr)
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
		if was.at == is.at {
			continue
		}
		if was.at != nil {
			m.lost = append(m.lost, addrAt{a, was.at})
		}
		if is.at != nil {
			m.gained = append(m.gained, addrAt{a, is.at})
		}
	}
	return m
}
