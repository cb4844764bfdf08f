package ip

import (
	"slices"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A Change is what a change of the State means for one router. It is planned while packets flow (PlanParts, PlanRules,
// PlanEnd), and the router's worker makes it between two batches (Adopt). Planning reads fields that belong to the
// worker. No packet changes these fields, only changes do, and one Change is planned and adopted before the next.
type Change struct {
	Router  *Router
	IsNew   bool // the router comes with this change
	Gone    bool // the router goes with this change; only Left and Moved are set
	params  *Params
	next    *Rules
	Moved   moves    // addresses that the router gets and loses
	endings []Ending // without those because of VIPs and members

	Come, Left []*Interface           // interfaces that come and go
	vips       map[wire.ID]*VIP       // VIPs that come: new ones, or in place of one with another endpoint
	vipsGone   []*VIP                 // VIPs that go
	listeners  []*VIP                 // all VIPs afterwards, by number
	repooled   map[*VIP]*PoolShare    // VIPs that get another pool
	Shares     map[wire.ID]*PoolShare // pools that come to this router, by id
	Updates    map[*PoolShare]*Pool   // pools that change, with the State's new ones
	Deserted   []*PoolShare           // pools that a VIP has left; known when the change is made
}

// Surroundings are the networks and pools around a router after a change. PlanParts calls them.
type Surroundings interface {
	// NetworkOf returns the network with an id. It is not nil for a network that Params name.
	NetworkOf(of wire.ID) *wire.Network
	// PoolOf returns the pool with an id. It is not nil: a pool that no State has is one without members.
	PoolOf(of wire.ID) *Pool
}

// An Ending is a change that ends connections, with the object that it is about.
type Ending struct {
	conntrack.Change
	About  subject // the kind of the object
	ID     wire.ID // the object's
	Repins bool    // TCP that the member has not answered, and other protocols, go to another member
}

// A subject is the kind of object that an ending is about.
type subject uint8

// The subjects.
const (
	AboutRouter     subject = iota
	AboutPort               // the port of an interface
	AboutFloatingIP         // with its forwarded ports
	AboutListener           // a VIP
	AboutMember             // of a pool
)

// InterfaceOn implements standing.
func (c *Change) InterfaceOn(network wire.ID) *Interface {
	for _, i := range c.Come {
		if i.On == network {
			return i
		}
	}
	if i := c.Router.ifaceOn(network); i != nil && !slices.Contains(c.Left, i) {
		return i
	}
	return nil
}

// VIPOf implements standing.
func (c *Change) VIPOf(listener wire.ID) *VIP {
	if v := c.vips[listener]; v != nil {
		return v
	}
	return c.Router.ByListener[listener]
}

// ShareOf implements standing.
func (c *Change) ShareOf(pool wire.ID) *PoolShare {
	if s := c.Shares[pool]; s != nil {
		return s
	}
	return c.Router.Shares[pool]
}

// ifaceOn returns the router's interface on a network, nil if there is none.
func (r *Router) ifaceOn(network wire.ID) *Interface {
	for _, f := range r.Attached {
		if f.Of.On == network {
			return f.Of
		}
	}
	return nil
}

// NewChange begins the change of a router that is there afterwards. PlanParts and then PlanRules plan it. isNew: the
// router comes with this change.
func NewChange(r *Router, p *Params, isNew bool) *Change {
	return &Change{Router: r, IsNew: isNew, params: p, vips: map[wire.ID]*VIP{}, Shares: map[wire.ID]*PoolShare{}}
}

// PlanParts finds out which parts of the router come and go. One goroutine plans the parts of all routers, because
// they share networks and pools.
func (c *Change) PlanParts(around Surroundings) {
	for _, of := range c.params.Pools {
		if s := c.Router.Shares[of]; s != nil {
			if to := around.PoolOf(of); to != s.Of {
				if c.Updates == nil {
					c.Updates = map[*PoolShare]*Pool{}
				}
				c.Updates[s] = to
			}
		}
	}
	c.planVIPs(around)
	if c.params.Place != nil {
		c.planPlace(around)
	}
}

// PlanRules makes the rules that the router has afterwards, after PlanParts. Several goroutines may plan the rules of
// different routers at the same time.
func (c *Change) PlanRules() {
	c.next, c.Moved = c.Router.Rules.with(c.params, c)
	if !c.IsNew { // else there are no connections
		c.endings = c.Router.Rules.endings(c.next, c.params)
	}
}

// PlanEnd plans the change of a router that is not there any more.
func (r *Router) PlanEnd() *Change {
	c := &Change{Router: r, Gone: true}
	for _, f := range r.Attached {
		c.Left = append(c.Left, f.Of)
	}
	for addr, o := range r.Owned.All() {
		c.Moved.Lost = append(c.Moved.Lost, addrAt{addr, o.At})
	}
	return c
}

// planVIPs finds out which VIPs come and go, and which pools they have.
func (c *Change) planVIPs(around Surroundings) {
	r := c.Router
	c.listeners = r.Listeners
	if len(c.params.VIPs) > 0 {
		c.listeners = slices.Clone(r.Listeners)
	}
	for i := range c.params.VIPs {
		vp := &c.params.VIPs[i]
		old := r.ByListener[vp.ID]
		if old != nil && (vp.Gone || old.Addr != vp.Addr || old.Proto != vp.Proto || old.Port != vp.Port ||
			old.network != vp.Network) {
			c.vipsGone = append(c.vipsGone, old)
			c.listeners[old.number] = nil
			old = nil
		}
		if vp.Gone {
			continue
		}
		share := c.ShareOf(vp.Pool)
		if share == nil {
			share = newShare(r, around.PoolOf(vp.Pool))
			c.Shares[vp.Pool] = share
		}
		switch {
		case old == nil:
			v := &VIP{VIPRules: &VIPRules{}, ObjectID: vp.ID, Share: share, Numbers: map[uint32]conntrack.Backend{}}
			v.number = c.freeNumber()
			c.listeners[v.number] = v
			c.vips[vp.ID] = v
		case old.Share != share:
			if c.repooled == nil {
				c.repooled = map[*VIP]*PoolShare{}
			}
			c.repooled[old] = share
		}
	}
}

// freeNumber is a number that no VIP has, nor had before the change.
func (c *Change) freeNumber() uint32 {
	for k := range c.listeners {
		if c.listeners[k] == nil && (k >= len(c.Router.Listeners) || c.Router.Listeners[k] == nil) {
			return uint32(k)
		}
	}
	c.listeners = append(c.listeners, nil)
	return uint32(len(c.listeners) - 1)
}

// planPlace finds out which interfaces come and go.
func (c *Change) planPlace(around Surroundings) {
	place := c.params.Place
	stays := map[*Interface]bool{}
	for k := range place.Interfaces {
		pi := &place.Interfaces[k]
		was := c.Router.ifaceOn(pi.Network)
		n := around.NetworkOf(pi.Network)
		if was != nil && was.MAC == pi.MAC && was.Network == n {
			stays[was] = true
			continue
		}
		i := &Interface{
			Station: wire.Station{Network: n, MAC: pi.MAC}, InterfaceRules: &InterfaceRules{}, On: pi.Network,
			Router: c.Router,
			MTU:    n.MTU, Checks: pi.Checks,
		}
		i.Station.Owner = i
		c.Come = append(c.Come, i)
	}
	for _, f := range c.Router.Attached {
		if !stays[f.Of] {
			c.Left = append(c.Left, f.Of)
		}
	}
}

// Endings are all endings of connections that the change brings, also those because of VIPs and members. The router's
// worker calls it, before anything has changed.
func (c *Change) Endings() []Ending {
	r := c.Router
	if c.Gone {
		return []Ending{{
			Change: conntrack.Change{Concerns: func(*conntrack.Conn) bool { return true }},
			About:  AboutRouter, ID: r.ID,
		}}
	}
	all := slices.Clone(c.endings)
	pooled := map[*VIP]bool{}
	for _, v := range c.vipsGone {
		pooled[v] = true
		b := slices.Clone(v.Leaving)
		for _, k := range v.Numbers {
			b = append(b, k)
		}
		all = append(all, ends(AboutListener, v.VIPRules.ListenerID, conntrack.Change{Backends: b}))
	}
	for v := range c.repooled {
		pooled[v] = true
		var b []conntrack.Backend
		for _, k := range v.Numbers {
			b = append(b, k)
		}
		e := ends(AboutListener, v.VIPRules.ListenerID, conntrack.Change{Backends: b, KeepTCP: v.Share.Of.DrainRemoved})
		e.Repins = true
		all = append(all, e)
	}
	for s, to := range c.Updates {
		for k := range s.Of.Members {
			was := &s.Of.Members[k]
			is := to.Member(was.ID)
			ch := conntrack.Change{KeepTCP: to.DrainRemoved}
			if is != nil {
				if is.AdminStateUp || !was.AdminStateUp {
					continue
				}
				ch.KeepTCP = to.KeepDown
			}
			for _, v := range s.VIPs {
				if b, ok := v.Numbers[was.ID]; ok && !pooled[v] {
					ch.Backends = append(ch.Backends, b)
				}
			}
			e := ends(AboutMember, was.ObjectID, ch)
			e.Repins = true
			all = append(all, e)
		}
	}
	return all
}

func ends(about subject, of wire.ID, ch conntrack.Change) Ending {
	return Ending{Change: ch, About: about, ID: of}
}

// Adopt makes the change. It is called by the router's worker. If too many earlier changes are pending, Adopt settles
// them one step further and reports false: the caller calls it again in another turn.
func (c *Change) Adopt(t *loop.Turn) bool {
	r := c.Router
	if r.Conns.Backlogged() {
		if r.settle(t); r.Conns.Backlogged() {
			return false
		}
	}
	changes := c.Endings()
	if c.Gone {
		r.leave(t)
	} else {
		c.configure(t)
		c.adoptIfaces(t)
		c.adoptVIPs()
		r.adopt(c.next)
		nameBackends(r)
		for _, a := range c.Moved.Lost {
			a.At.fresh = slices.DeleteFunc(a.At.fresh, func(f freshAddr) bool { return f.addr == a.Addr })
		}
		c.classify()
	}
	var addrs []packet.Addr
	if !c.Gone && c.params.Place != nil && !c.IsNew {
		r.Conns.Apply(conntrack.Change{}) // connections look for their way anew
	}
	for _, ch := range changes {
		if !ch.Empty() {
			r.Conns.Apply(ch.Change)
			addrs = append(addrs, ch.Addrs...)
		}
	}
	r.settleFragments(t, addrs)
	r.settle(t)
	return true
}

// configure gives the router's tables their settings, if these have changed.
func (c *Change) configure(t *loop.Turn) {
	s := c.params.Settings
	if s == nil || c.IsNew {
		return
	}
	c.Router.Conns.Configure(s.Tables.Conns)
	c.Router.NAT.Configure(s.Tables.NAT)
	c.Router.Fragments.configure(s.Fragment)
	t.WakeAt(t.Now) // something may be due earlier than by the former settings
}

// adoptIfaces numbers the interfaces that come, and detaches the interfaces that go.
func (c *Change) adoptIfaces(t *loop.Turn) {
	for _, i := range c.Come {
		c.Router.number(i)
	}
	for _, i := range c.Left {
		i.detach(t)
		c.Router.Departed = append(c.Router.Departed, i)
	}
}

// adoptVIPs updates VIPs and pools: pools get their members, VIPs their pools.
func (c *Change) adoptVIPs() {
	r := c.Router
	for s, to := range c.Updates {
		s.update(to)
	}
	for _, v := range c.vipsGone {
		c.Deserted = append(c.Deserted, v.Share)
		r.leavePool(v)
		r.Conns.ReleaseClass(v.Class)
		delete(r.ByListener, v.VIPRules.ListenerID)
	}
	for v, s := range c.repooled {
		c.Deserted = append(c.Deserted, v.Share)
		r.leavePool(v)
		r.joinPool(v, s)
	}
	for of, v := range c.vips {
		r.ByListener[of] = v
		r.joinPool(v, v.Share)
	}
	for of, s := range c.Shares {
		r.Shares[of] = s
	}
	r.Listeners = c.listeners
}

// classify gives VIPs and checks the classes of their connections.
func (c *Change) classify() {
	r := c.Router
	for i := range c.params.VIPs {
		if v := r.ByListener[c.params.VIPs[i].ID]; v != nil {
			former := v.Class
			v.Class = r.idleClass(v.Idle)
			r.Conns.ReleaseClass(former)
		}
	}
	if c.params.KeepsChecks {
		return
	}
	reclass := func(class *conntrack.Class, life conntrack.Lifetime) {
		former := *class
		if *class = 0; life != (conntrack.Lifetime{}) {
			*class = r.Conns.Class(life)
		}
		r.Conns.ReleaseClass(former)
	}
	reclass(&r.checkClass, c.params.CheckLife)
	reclass(&r.askClass, c.params.AskLife)
}

// ownClass is the class of a connection that a router's own host begins. TCP connections of checks end with a reset,
// so they may have the longer lifetime of other ones.
func ownClass(r *Router, proto uint8) conntrack.Class {
	if proto == packet.ProtoTCP && r.askClass != 0 {
		return r.askClass
	}
	return r.checkClass
}

// Fresh are the addresses to announce at interfaces that were there before: addresses that come, and floating IPs that
// lead elsewhere. Interfaces that come announce all of theirs (Interface.NetworkUp).
func (c *Change) Fresh() (all []addrAt) {
	for _, a := range c.Moved.Gained {
		if !slices.Contains(c.Come, a.At) && !a.At.Checks {
			all = append(all, a)
		}
	}
	if c.Gone || c.IsNew || c.next.Gateway == nil {
		return all
	}
	for i := range c.params.Floating {
		f := &c.params.Floating[i]
		at := addrAt{f.Addr, c.next.Gateway.Interface}
		if f.To.Fixed != 0 && c.next.owner(f.Addr) == at.At && !slices.Contains(all, at) &&
			!slices.Contains(c.Come, at.At) {
			all = append(all, at)
		}
	}
	return all
}

// number gives an interface a number that no connection names.
func (r *Router) number(i *Interface) {
	defer nameInterface(r, i)
	if n := len(r.unnumbered); n > 0 {
		i.ID = r.unnumbered[n-1]
		r.unnumbered = r.unnumbered[:n-1]
		r.Interfaces[i.ID] = i
		return
	}
	i.ID = uint16(len(r.Interfaces))
	r.Interfaces = append(r.Interfaces, i)
}

// detach ends an interface: it owns nothing, and packets that wait there are dropped. Connections may name its number
// until they are settled.
func (i *Interface) detach(t *loop.Turn) {
	i.Gone = true
	i.InterfaceRules = &InterfaceRules{}
	i.fresh, i.announcements = nil, 0
	lost := i.Router.Neighbors.Drop(i.ID)
	t.Stats.Parked -= int64(lost)
	t.Stats.Drop(verdict.DropDetached, verdict.StageNeighbor, uint64(lost))
	i.Router.Reassemblies.detach(t, i)
}

// leave has a router end. Its stations are no longer found, and its rules stay until the ends of its connections
// have been told.
func (r *Router) leave(t *loop.Turn) {
	r.leaving = true
	for _, f := range r.Attached {
		f.Of.Gone, f.Of.fresh, f.Of.announcements = true, nil, 0
	}
}

// Settled settles the connections that earlier changes concern one step further, and reports whether all are settled.
// A router that leaves then drops the packets that wait in its tables.
func (r *Router) Settled(t *loop.Turn) bool {
	if r.settle(t); !r.Quiet {
		return false
	}
	if r.leaving {
		for _, f := range r.Attached {
			f.Of.detach(t)
		}
		lost := r.Neighbors.Lost()
		t.Stats.Parked -= int64(lost)
		t.Stats.Drop(verdict.DropNeighborFull, verdict.StageNeighbor, lost)
		r.Fragments.forgetAll(t, verdict.DropDetached)
	}
	return true
}

// endings says which connections from before end by the next rules. Change.Endings adds those that end because of VIPs
// and members.
//
//	floating IP gone or moved      those with its address in a tuple
//	forwarded port gone or moved   those that began at that port of the floating address
//	interface gone                 those that came or went by it
//	address of the router gone     those with it in a tuple: it was shown in place of a sender's
//	shared address gone            those with it in a tuple
//	route or subnet                those that leave on the other side of the gateway than before
func (r *Rules) endings(next *Rules, p *Params) []Ending {
	var all []Ending
	for i := range p.Floating {
		f := &p.Floating[i]
		was, is := r.Static.Get(f.Addr), next.Static.Get(f.Addr)
		if was.Fixed != is.Fixed || len(was.Forwards) == 0 != (len(is.Forwards) == 0) {
			all = append(all, ends(AboutFloatingIP, f.Origin.ID, conntrack.Change{Addrs: []packet.Addr{f.Addr}}))
			continue
		}
		for _, gone := range was.Forwards {
			if slices.Contains(is.Forwards, gone) {
				continue
			}
			all = append(all, ends(AboutFloatingIP, f.Origin.ID, conntrack.Change{
				Concerns: func(c *conntrack.Conn) bool {
					t := c.Tuple(conntrack.Original)
					return t.Dst == f.Addr && t.Proto == gone.Proto && t.DstPort == gone.Port
				},
			}))
		}
	}
	if p.Place == nil {
		return all
	}
	if addrs := r.addressesGone(next); len(addrs) > 0 {
		all = append(all, ends(AboutRouter, p.ID, conntrack.Change{Addrs: addrs}))
	}
	return append(all, r.placeEndings(next, p.ID)...)
}

// addressesGone are the addresses of interfaces and gateway that the router does not have any more.
func (r *Rules) addressesGone(next *Rules) []packet.Addr {
	var gone []packet.Addr
	for _, f := range r.Attached {
		for _, a := range f.Addrs {
			if !next.IsLocal(a.Addr) {
				gone = append(gone, a.Addr)
			}
		}
	}
	if r.Gateway != nil {
		for _, a := range r.Gateway.Shared {
			if next.Gateway == nil || !next.Gateway.shares(a) {
				gone = append(gone, a)
			}
		}
	}
	slices.Sort(gone)
	return slices.Compact(gone)
}

// placeEndings are the endings because interfaces are gone, or routes lead to the other side of the gateway.
func (r *Rules) placeEndings(next *Rules, of wire.ID) []Ending {
	var all []Ending
	external := map[uint16]bool{}
	for _, f := range r.Attached {
		number := f.Of.ID
		external[number] = f.External
		if slices.ContainsFunc(next.Attached, func(g *InterfaceRules) bool { return g.Of == f.Of }) {
			continue
		}
		all = append(all, ends(AboutPort, f.origin.ID, conntrack.Change{
			Concerns: func(c *conntrack.Conn) bool { return slices.Contains(c.In[:], number) },
		}))
	}
	if len(external) == 0 || r.sameWays(next) {
		return all
	}
	return append(all, ends(AboutRouter, of, conntrack.Change{Concerns: func(c *conntrack.Conn) bool {
		for d := range conntrack.Direction(2) {
			was, ok := external[c.In[1-d]]
			if !ok {
				continue
			}
			rt, ok := next.Routes.Lookup(c.Translated(d).Dst.Netip())
			if ok && rt.Out.externalBy(next) != was {
				return true
			}
		}
		return false
	}}))
}

// externalBy reports whether an interface is external by these rules, in force or not.
func (i *Interface) externalBy(r *Rules) bool {
	for _, f := range r.Attached {
		if f.Of == i {
			return f.External
		}
	}
	return false
}

// sameWays reports whether the next rules lead every packet to the same interface.
func (r *Rules) sameWays(next *Rules) bool {
	if r.Routes.Size() != next.Routes.Size() {
		return false
	}
	for p, was := range r.Routes.All() {
		if is, ok := next.Routes.Get(p); !ok || is.Out != was.Out {
			return false
		}
	}
	return slices.EqualFunc(r.Attached, next.Attached, func(a, b *InterfaceRules) bool {
		return a.Of == b.Of && a.External == b.External
	})
}
