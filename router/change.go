package router

import (
	"slices"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A routerChange is what a change of the State means for one router. It is worked out while packets flow, and the
// router's worker makes it between two batches. What it looks at belongs to the worker, but only changes
// change it, and these come one after the other.
type routerChange struct {
	router  *vrouter
	isNew   bool
	gone    bool // the router is; only left and moved are set
	params  *routerParams
	next    *rules
	moved   moves
	endings []ending // but for those of VIPs and members

	come, left []*iface
	vips       map[id]*vip // that have come: new ones, or in place of one with another endpoint
	vipsGone   []*vip
	listeners  []*vip               // of all VIPs, by number
	repooled   map[*vip]*poolShare  // VIPs that get another pool
	shares     map[id]*poolShare    // that have come
	updates    map[*poolShare]*pool // that change
}

// surroundings are what there is around a router after a change.
type surroundings interface {
	networkOf(of id) *network
	poolOf(of id) *pool
}

// An ending is a change that ends connections, with the object that it is about.
type ending struct {
	conntrack.Change
	about  subject
	id     id
	repins bool // what has not been answered, or has no connection, goes to another member
}

// A subject is the kind of object that an ending is about.
type subject uint8

const (
	aboutRouter subject = iota
	aboutPort           // of an interface
	aboutFloatingIP
	aboutListener
	aboutMember
)

// ifaceOn implements standing.
func (c *routerChange) ifaceOn(network id) *iface {
	for _, i := range c.come {
		if i.on == network {
			return i
		}
	}
	if i := c.router.ifaceOn(network); i != nil && !slices.Contains(c.left, i) {
		return i
	}
	return nil
}

// vipOf implements standing.
func (c *routerChange) vipOf(listener id) *vip {
	if v := c.vips[listener]; v != nil {
		return v
	}
	return c.router.byListener[listener]
}

// shareOf implements standing.
func (c *routerChange) shareOf(pool id) *poolShare {
	if s := c.shares[pool]; s != nil {
		return s
	}
	return c.router.shares[pool]
}

// ifaceOn returns the router's interface on a network, nil if there is none.
func (r *vrouter) ifaceOn(network id) *iface {
	for _, f := range r.attached {
		if f.of.on == network {
			return f.of
		}
	}
	return nil
}

// plan works out the change of a router that is there afterwards.
func (r *vrouter) plan(p *routerParams, isNew bool, around surroundings) *routerChange {
	c := &routerChange{
		router: r, isNew: isNew, params: p, vips: map[id]*vip{}, shares: map[id]*poolShare{},
	}
	for _, of := range p.pools {
		if s := r.shares[of]; s != nil {
			if to := around.poolOf(of); to != s.of {
				if c.updates == nil {
					c.updates = map[*poolShare]*pool{}
				}
				c.updates[s] = to
			}
		}
	}
	c.planVIPs(around)
	if p.place != nil {
		c.planPlace(around)
	}
	c.next, c.moved = r.rules.with(p, c)
	if !isNew { // else there are no connections
		c.endings = r.rules.endings(c.next, p)
	}
	return c
}

// planEnd works out the change of a router that is not there any more.
func (r *vrouter) planEnd() *routerChange {
	c := &routerChange{router: r, gone: true}
	for _, f := range r.attached {
		c.left = append(c.left, f.of)
	}
	for addr, o := range r.owned.All() {
		c.moved.lost = append(c.moved.lost, addrAt{addr, o.at})
	}
	return c
}

// planVIPs finds out which VIPs come and go, and which pools they have.
func (c *routerChange) planVIPs(around surroundings) {
	r := c.router
	c.listeners = slices.Clone(r.listeners)
	for i := range c.params.vips {
		vp := &c.params.vips[i]
		old := r.byListener[vp.id]
		if old != nil && (vp.gone || old.Addr != vp.addr || old.Proto != vp.proto || old.Port != vp.port ||
			old.network != vp.network) {
			c.vipsGone = append(c.vipsGone, old)
			c.listeners[old.number] = nil
			old = nil
		}
		if vp.gone {
			continue
		}
		share := c.shareOf(vp.pool)
		if share == nil {
			share = newShare(r, around.poolOf(vp.pool))
			c.shares[vp.pool] = share
		}
		switch {
		case old == nil:
			v := &vip{vipRules: &vipRules{}, share: share, numbers: map[uint32]conntrack.Backend{}}
			v.number = c.freeNumber()
			c.listeners[v.number] = v
			c.vips[vp.id] = v
		case old.share != share:
			if c.repooled == nil {
				c.repooled = map[*vip]*poolShare{}
			}
			c.repooled[old] = share
		}
	}
}

// freeNumber is a number that no VIP has, nor had before the change.
func (c *routerChange) freeNumber() uint32 {
	for k := range c.listeners {
		if c.listeners[k] == nil && (k >= len(c.router.listeners) || c.router.listeners[k] == nil) {
			return uint32(k)
		}
	}
	c.listeners = append(c.listeners, nil)
	return uint32(len(c.listeners) - 1)
}

// planPlace finds out which interfaces come and go.
func (c *routerChange) planPlace(around surroundings) {
	place := c.params.place
	stays := map[*iface]bool{}
	for k := range place.ifaces {
		pi := &place.ifaces[k]
		was := c.router.ifaceOn(pi.network)
		n := around.networkOf(pi.network)
		if was != nil && was.mac == pi.mac && was.network == n {
			stays[was] = true
			continue
		}
		i := &iface{
			station: station{network: n, mac: pi.mac}, ifaceRules: &ifaceRules{}, on: pi.network, router: c.router,
			mtu: n.mtu, checks: pi.checks,
		}
		i.station.owner = i
		c.come = append(c.come, i)
	}
	for _, f := range c.router.attached {
		if !stays[f.of] {
			c.left = append(c.left, f.of)
		}
	}
}

// changes are the endings, with those of VIPs and members. It is called by the router's worker, before anything has
// changed.
func (c *routerChange) changes() []ending {
	r := c.router
	if c.gone {
		return []ending{{
			Change: conntrack.Change{Concerns: func(*conntrack.Conn) bool { return true }},
			about:  aboutRouter, id: r.id,
		}}
	}
	all := slices.Clone(c.endings)
	pooled := map[*vip]bool{}
	for _, v := range c.vipsGone {
		pooled[v] = true
		b := slices.Clone(v.leaving)
		for _, k := range v.numbers {
			b = append(b, k)
		}
		all = append(all, ends(aboutListener, v.vipRules.id, conntrack.Change{Backends: b}))
	}
	for v := range c.repooled {
		pooled[v] = true
		var b []conntrack.Backend
		for _, k := range v.numbers {
			b = append(b, k)
		}
		e := ends(aboutListener, v.vipRules.id, conntrack.Change{Backends: b, KeepTCP: v.share.of.drainRemoved})
		e.repins = true
		all = append(all, e)
	}
	for s, to := range c.updates {
		for k := range s.of.members {
			was := &s.of.members[k]
			is := to.member(was.ID)
			ch := conntrack.Change{KeepTCP: to.drainRemoved}
			if is != nil {
				if is.AdminStateUp || !was.AdminStateUp {
					continue
				}
				ch.KeepTCP = to.keepDown
			}
			for _, v := range s.vips {
				if b, ok := v.numbers[was.ID]; ok && !pooled[v] {
					ch.Backends = append(ch.Backends, b)
				}
			}
			e := ends(aboutMember, was.id, ch)
			e.repins = true
			all = append(all, e)
		}
	}
	return all
}

func ends(about subject, of id, ch conntrack.Change) ending {
	return ending{Change: ch, about: about, id: of}
}

// adopt makes the change. It is called by the router's worker. It reports false if too many earlier changes are
// pending, and has done nothing then but a step of settling those.
func (c *routerChange) adopt(t *turn) bool {
	r := c.router
	if r.conns.Backlogged() {
		if r.settle(t); r.conns.Backlogged() {
			return false
		}
	}
	changes := c.changes()
	if c.gone {
		r.leave(t)
	} else {
		c.configure(t)
		c.adoptIfaces(t)
		c.adoptVIPs()
		r.adopt(c.next)
		for _, a := range c.moved.lost {
			a.at.fresh = slices.DeleteFunc(a.at.fresh, func(f freshAddr) bool { return f.addr == a.addr })
		}
		c.classify()
	}
	var addrs []packet.Addr
	if !c.gone && c.params.place != nil && !c.isNew {
		r.conns.Apply(conntrack.Change{}) // connections look for their way anew
	}
	for _, ch := range changes {
		if !ch.Empty() {
			r.conns.Apply(ch.Change)
			addrs = append(addrs, ch.Addrs...)
		}
	}
	r.settleFragments(t, addrs)
	r.settle(t)
	return true
}

// configure gives the tables their settings.
func (c *routerChange) configure(t *turn) {
	s := c.params.settings
	if s == nil || c.isNew {
		return
	}
	c.router.conns.Configure(s.tables.conns)
	c.router.nat.Configure(s.tables.nat)
	c.router.fragments.configure(s.fragment)
	t.wakeAt(t.now) // something may be due earlier than by the former settings
}

// adoptIfaces numbers the interfaces that come and parts with those that go.
func (c *routerChange) adoptIfaces(t *turn) {
	for _, i := range c.come {
		c.router.number(i)
	}
	for _, i := range c.left {
		i.detach(t)
		c.router.departed = append(c.router.departed, i)
	}
}

// adoptVIPs gives VIPs and pools what they have now.
func (c *routerChange) adoptVIPs() {
	r := c.router
	for s, to := range c.updates {
		s.update(to)
	}
	for _, v := range c.vipsGone {
		r.leavePool(v)
		r.conns.ReleaseClass(v.class)
		delete(r.byListener, v.vipRules.id)
	}
	for v, s := range c.repooled {
		r.leavePool(v)
		r.joinPool(v, s)
	}
	for of, v := range c.vips {
		r.byListener[of] = v
		r.joinPool(v, v.share)
	}
	for of, s := range c.shares {
		r.shares[of] = s
	}
	r.listeners = c.listeners
}

// classify gives VIPs and checks the classes of their connections.
func (c *routerChange) classify() {
	r := c.router
	for i := range c.params.vips {
		if v := r.byListener[c.params.vips[i].id]; v != nil {
			former := v.class
			v.class = r.idleClass(v.idle)
			r.conns.ReleaseClass(former)
		}
	}
	former := r.checkClass
	if r.checkClass = 0; c.params.checkLife != (conntrack.Lifetime{}) {
		r.checkClass = r.conns.Class(c.params.checkLife)
	}
	r.conns.ReleaseClass(former)
}

// fresh are the addresses to announce at interfaces that were there before: those that come, and floating IPs that lead
// elsewhere.
func (c *routerChange) fresh() (all []addrAt) {
	for _, a := range c.moved.gained {
		if !slices.Contains(c.come, a.at) && !a.at.checks {
			all = append(all, a)
		}
	}
	if c.gone || c.isNew || c.next.gateway == nil {
		return all
	}
	for i := range c.params.floating {
		f := &c.params.floating[i]
		at := addrAt{f.addr, c.next.gateway.iface}
		if f.to.Fixed != 0 && c.next.owner(f.addr) == at.at && !slices.Contains(all, at) &&
			!slices.Contains(c.come, at.at) {
			all = append(all, at)
		}
	}
	return all
}

// number gives an interface a number, which no connection names.
func (r *vrouter) number(i *iface) {
	if n := len(r.unnumbered); n > 0 {
		i.id = r.unnumbered[n-1]
		r.unnumbered = r.unnumbered[:n-1]
		r.ifaces[i.id] = i
		return
	}
	i.id = uint16(len(r.ifaces))
	r.ifaces = append(r.ifaces, i)
}

// detach ends what an interface does. Connections may name its number until they are settled.
func (i *iface) detach(t *turn) {
	i.gone = true
	i.ifaceRules = &ifaceRules{}
	i.fresh, i.announcements = nil, 0
	lost := i.router.arp.Drop(i.id)
	t.stats.Parked -= int64(lost)
	t.stats.drop(DropDetached, StageNeighbor, uint64(lost))
	i.router.reassemblies.detach(t, i)
}

// leave has a router end. Its stations are no longer found, and its rules stay until the ends of its connections
// have been told.
func (r *vrouter) leave(t *turn) {
	r.leaving = true
	for _, f := range r.attached {
		f.of.gone, f.of.fresh, f.of.announcements = true, nil, 0
	}
}

// settled reports whether nothing of the router's earlier changes is left. A router that leaves gives back what it
// has then.
func (r *vrouter) settled(t *turn) bool {
	if r.settle(t); !r.quiet {
		return false
	}
	if r.leaving {
		for _, f := range r.attached {
			f.of.detach(t)
		}
		lost := r.arp.Lost()
		t.stats.Parked -= int64(lost)
		t.stats.drop(DropNeighborFull, StageNeighbor, lost)
		r.fragments.forgetAll(t, DropDetached)
	}
	return true
}

// endings says which connections from before end by the next rules.
// What becomes of members and VIPs is not here: see routerChange.changes.
//
//	floating IP gone or moved      what has its address in a tuple
//	forwarded port gone or moved   what began at that port of the floating address
//	interface gone                 what came or went by it
//	address of the router gone     what has it in a tuple: it was shown in place of a sender's
//	shared address gone            likewise
//	route or subnet                what leaves on the other side of the gateway than before
func (r *rules) endings(next *rules, p *routerParams) []ending {
	var all []ending
	for i := range p.floating {
		f := &p.floating[i]
		was, is := r.static.Get(f.addr), next.static.Get(f.addr)
		if was.Fixed != is.Fixed || len(was.Forwards) == 0 != (len(is.Forwards) == 0) {
			all = append(all, ends(aboutFloatingIP, f.origin.id, conntrack.Change{Addrs: []packet.Addr{f.addr}}))
			continue
		}
		for _, gone := range was.Forwards {
			if slices.Contains(is.Forwards, gone) {
				continue
			}
			all = append(all, ends(aboutFloatingIP, f.origin.id, conntrack.Change{
				Concerns: func(c *conntrack.Conn) bool {
					t := c.Tuple(conntrack.Original)
					return t.Dst == f.addr && t.Proto == gone.Proto && t.DstPort == gone.Port
				},
			}))
		}
	}
	if p.place == nil {
		return all
	}
	if addrs := r.addressesGone(next); len(addrs) > 0 {
		all = append(all, ends(aboutRouter, p.id, conntrack.Change{Addrs: addrs}))
	}
	return append(all, r.placeEndings(next, p.id)...)
}

// addressesGone are the addresses of interfaces and gateway that the router does not have any more.
func (r *rules) addressesGone(next *rules) []packet.Addr {
	var gone []packet.Addr
	for _, f := range r.attached {
		for _, a := range f.addrs {
			if !next.isLocal(a.addr) {
				gone = append(gone, a.addr)
			}
		}
	}
	if r.gateway != nil {
		for _, a := range r.gateway.shared {
			if next.gateway == nil || !next.gateway.shares(a) {
				gone = append(gone, a)
			}
		}
	}
	slices.Sort(gone)
	return slices.Compact(gone)
}

// placeEndings concerns what cannot go on where the router is now.
func (r *rules) placeEndings(next *rules, of id) []ending {
	var all []ending
	external := map[uint16]bool{}
	for _, f := range r.attached {
		number := f.of.id
		external[number] = f.external
		if slices.ContainsFunc(next.attached, func(g *ifaceRules) bool { return g.of == f.of }) {
			continue
		}
		all = append(all, ends(aboutPort, f.origin.id, conntrack.Change{
			Concerns: func(c *conntrack.Conn) bool { return slices.Contains(c.In[:], number) },
		}))
	}
	if len(external) == 0 || r.sameWays(next) {
		return all
	}
	return append(all, ends(aboutRouter, of, conntrack.Change{Concerns: func(c *conntrack.Conn) bool {
		for d := range conntrack.Direction(2) {
			was, ok := external[c.In[1-d]]
			if !ok {
				continue
			}
			rt, ok := next.routes.Lookup(c.Translated(d).Dst.Netip())
			if ok && rt.out.externalBy(next) != was {
				return true
			}
		}
		return false
	}}))
}

// externalBy reports whether an interface is external by rules that need not be in force.
func (i *iface) externalBy(r *rules) bool {
	for _, f := range r.attached {
		if f.of == i {
			return f.external
		}
	}
	return false
}

// sameWays reports whether two rules lead every packet to the same interface.
func (r *rules) sameWays(next *rules) bool {
	if r.routes.Size() != next.routes.Size() {
		return false
	}
	for p, was := range r.routes.All() {
		if is, ok := next.routes.Get(p); !ok || is.out != was.out {
			return false
		}
	}
	return slices.EqualFunc(r.attached, next.attached, func(a, b *ifaceRules) bool {
		return a.of == b.of && a.external == b.external
	})
}
