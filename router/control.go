package router

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/monitor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
)

// This file is what may be changed while the engine runs. A method looks at what
// there is on its caller's goroutine, makes what is to be, and has the worker swap
// the one for the other between two batches. The connections that the change
// concerns are settled from there on: see conntrack.Change, and "State changes settle
// connections" in ARCHITECTURE.md.

// control is the state of the control methods, which come one after the other.
// What it looks at belongs to workers, but only control methods change it, and those
// wait for the workers, so that it may be read between them.
type control struct {
	mu sync.Mutex
	*plan
}

// AssociateFloatingIP gives an internal host, or a VIP, a floating IP. floating is an
// address of a subnet of an external network that nobody else has, whether the
// topology declares it or not; fixed is an address on a network of a router that has
// its gateway on that external network. A floating IP that is associated with
// another address moves, if need be to another router, and is announced.
//
// When the method returns, all new connections obey. What the host has going on
// through shared SNAT keeps its translation until it ends, so that nothing breaks that
// works. The connections of a floating IP that moves end at once: both sides of a TCP
// connection get a RST, while those of UDP and ICMP begin anew with their next packet.
// In a large table the last RSTs may follow a moment later.
//
// Associating what is associated already changes nothing. An error wraps
// fs.ErrInvalid if an address cannot be that, fs.ErrNotExist if no router, or more
// than one, reaches both, fs.ErrExist if the floating IP is taken, is a member of a VIP of
// the same router, or the fixed address has another one there, and os.ErrClosed after Close.
func (e *Engine) AssociateFloatingIP(floating, fixed netip.Addr) error {
	return e.AssociateFloatingIPAt("", floating, fixed)
}

// AssociateFloatingIPAt is AssociateFloatingIP at a router, for where several have
// the same addresses.
func (e *Engine) AssociateFloatingIPAt(router string, floating, fixed netip.Addr) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if err := e.control.associate(router, floating, fixed); err != nil {
		return fmt.Errorf("router: associate floating IP %v with %v: %w", floating, fixed, err)
	}
	return nil
}

// DisassociateFloatingIP takes a floating IP away from whoever has it. Its
// connections end at once, as those of one that moves do, and nobody answers for the
// address any more. An error wraps fs.ErrNotExist if the address is not associated, or
// by more than one router, and os.ErrClosed after Close.
func (e *Engine) DisassociateFloatingIP(floating netip.Addr) error {
	return e.DisassociateFloatingIPAt("", floating)
}

// DisassociateFloatingIPAt is DisassociateFloatingIP at a router, for where several
// have the same address.
func (e *Engine) DisassociateFloatingIPAt(router string, floating netip.Addr) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if err := e.control.disassociate(router, floating); err != nil {
		return fmt.Errorf("router: disassociate floating IP %v: %w", floating, err)
	}
	return nil
}

func (c *control) associate(router string, floating, fixed netip.Addr) error {
	if !floating.Is4() || !fixed.Is4() {
		return fmt.Errorf("not two IPv4 addresses: %w", fs.ErrInvalid)
	}
	ext, to := packet.FromAddr(floating), packet.FromAddr(fixed)
	r, err := c.routerBetween(router, ext, to)
	if err != nil {
		return err
	}
	if had, ok := r.static.Fixed(ext); ok && had == to {
		return nil
	}
	if err := r.mayFloat(ext, to); err != nil {
		return err
	}
	if err := c.isMember(r, ext); err != nil {
		return err
	}
	static := r.static.With(ext, nat.Floating{Fixed: to})
	if r.vipOn(to) != nil {
		if err := c.mayLead(trial{router: r, static: static, floating: ext}); err != nil {
			return err
		}
	}
	for _, i := range interfaces(r.gateway.iface.network) {
		if i.router != r && i.floats(ext) {
			if err := i.router.unfloat(ext); err != nil {
				return err
			}
		}
	}
	return r.float(floatingParams{addr: ext, to: nat.Floating{Fixed: to}}, func(t *turn) {
		r.gateway.iface.announceFresh(t, ext)
		t.log.Info("floating IP associated", "router", r.name, "floating_ip", floating, "fixed_ip", fixed)
	})
}

func (c *control) disassociate(router string, floating netip.Addr) error {
	var at []*vrouter
	for _, r := range c.routers {
		if r.gateway != nil && (router == "" || r.name == router) && floating.Is4() &&
			r.gateway.iface.floats(packet.FromAddr(floating)) {
			at = append(at, r)
		}
	}
	if len(at) == 0 {
		return fmt.Errorf("it is not associated: %w", fs.ErrNotExist)
	}
	r, err := theOnly(at, "have it")
	if err != nil {
		return err
	}
	return r.unfloat(packet.FromAddr(floating))
}

// unfloat takes a floating IP from a router that has it.
func (r *vrouter) unfloat(ext uint32) error {
	return r.float(floatingParams{addr: ext}, func(t *turn) {
		t.log.Info("floating IP disassociated", "router", r.name, "floating_ip", packet.ToAddr(ext))
	})
}

// float changes what a floating address stands for. done is called by the worker, with the new rules.
func (r *vrouter) float(p floatingParams, done func(*turn)) error {
	next, moved := r.rules.with(&routerParams{floating: []floatingParams{p}}, parts{r})
	return r.change(conntrack.Change{Addrs: []uint32{p.addr}}, func(t *turn) {
		r.adopt(next, moved)
		done(t)
	})
}

// routerBetween finds the router with a gateway on the floating IP's network and an
// interface on the fixed address's. Where there are several, it is the one that has
// the floating IP already.
func (c *control) routerBetween(name string, ext, to uint32) (*vrouter, error) {
	var at, has []*vrouter
	for _, r := range c.routers {
		if name != "" && r.name != name || r.gateway == nil || !r.gateway.iface.onLink(ext) || !r.inside(to) {
			continue
		}
		at = append(at, r)
		if r.gateway.iface.floats(ext) {
			has = append(has, r)
		}
	}
	if len(has) == 1 {
		return has[0], nil
	}
	if len(at) == 0 {
		if name != "" {
			return nil, fmt.Errorf("router %q does not reach both: %w", name, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("no router reaches both: %w", fs.ErrNotExist)
	}
	return theOnly(at, "reach both")
}

// theOnly is the router of a list, of which there should be one.
func theOnly(at []*vrouter, what string) (*vrouter, error) {
	if len(at) == 1 {
		return at[0], nil
	}
	var names []string
	for _, r := range at {
		names = append(names, fmt.Sprintf("%q", r.name))
	}
	return nil, fmt.Errorf("routers %s %s, say which: %w", strings.Join(names, ", "), what, fs.ErrNotExist)
}

// inside reports whether an address is on link on one of a router's tenant networks.
func (r *vrouter) inside(addr uint32) bool {
	return slices.ContainsFunc(r.ifaces[1:], func(i *iface) bool { return !i.external && !i.checks && i.onLink(addr) })
}

// floats reports whether an address of the interface is an associated floating IP.
func (i *iface) floats(addr uint32) bool {
	if i.router.gateway == nil || i.router.gateway.iface != i {
		return false
	}
	_, ok := i.router.static.Fixed(addr)
	return ok
}

// mayFloat says why a router may not map the one address to the other.
func (r *vrouter) mayFloat(ext, to uint32) error {
	gw := r.gateway.iface
	if gw.isBroadcast(ext) || !forwardable(ext) {
		return fmt.Errorf("%v is no host's address: %w", packet.ToAddr(ext), fs.ErrInvalid)
	}
	if whose, ok := gw.network.reserved[ext]; ok {
		return fmt.Errorf("%v is the address of %s: %w", packet.ToAddr(ext), whose, fs.ErrExist)
	}
	for _, i := range interfaces(gw.network) {
		if i.owns(ext) && !i.floats(ext) {
			return fmt.Errorf("%v is in use by router %q: %w", packet.ToAddr(ext), i.router.name, fs.ErrExist)
		}
	}
	for _, i := range r.ifaces[1:] {
		own := slices.ContainsFunc(i.addrs, func(a ifaceAddr) bool { return a.addr == to })
		if own || i.isBroadcast(to) {
			return fmt.Errorf("%v is the router's own, or no host's address: %w", packet.ToAddr(to), fs.ErrInvalid)
		}
	}
	if !forwardable(to) {
		return fmt.Errorf("%v is an address that no router forwards to (RFC 6890): %w", packet.ToAddr(to),
			fs.ErrInvalid)
	}
	if other, ok := r.static.Floating(to); ok && other != ext {
		return fmt.Errorf("%v has %v already: %w", packet.ToAddr(to), packet.ToAddr(other), fs.ErrExist)
	}
	return nil
}

// isMember says which member of a VIP of the router has an address: as a floating IP of the same
// router it would lead nowhere.
func (c *control) isMember(r *vrouter, addr uint32) error {
	for _, p := range c.pools {
		if !slices.ContainsFunc(p.shares, func(s *poolShare) bool { return s.router == r }) {
			continue
		}
		for i := range p.members {
			if m := &p.members[i]; m.Addr == addr {
				return fmt.Errorf("%v is member %q of pool %q, which router %q balances; "+
					"name the host behind it there: %w",
					packet.ToAddr(addr), m.name, p.name, r.name, fs.ErrExist)
			}
		}
	}
	return nil
}

// reserve notes what can be no floating IP on an external network.
func (b *builder) reserve(n *network, c *config.Network) {
	if !n.external {
		return
	}
	n.reserved = map[uint32]string{}
	for s := range b.state.SubnetsOf(c.ID) {
		if s.Gateway.Is4() {
			n.reserved[packet.FromAddr(s.Gateway)] = "the gateway of its subnet"
		}
	}
	for p := range b.state.PortsOf(c.ID) {
		if p.DeviceOwner == config.OwnerInterface || p.DeviceOwner == config.OwnerGateway {
			continue // the router knows its own addresses
		}
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				n.reserved[packet.FromAddr(f.Address)] = fmt.Sprintf("port %q", p.Name)
			}
		}
	}
}

// change has the router's worker make a change, and settle the connections that it
// concerns, if there are any.
func (r *vrouter) change(ch conntrack.Change, do func(*turn)) error {
	w := r.worker
	return w.call(func() {
		do(&w.turn)
		if !ch.Empty() {
			r.conns.Apply(ch)
			r.settleFragments(&w.turn, ch.Addrs)
			r.settle(&w.turn)
		}
	})
}

// settle goes on with ending the connections that changes have left behind: a step
// now, the next one in the next turn.
func (r *vrouter) settle(t *turn) {
	if !r.conns.Settle(t.now) {
		t.wakeAt(t.now)
	}
}

// A pool is a topology's, with its share at each router that has a VIP of it.
type pool struct {
	id           id
	name         string
	proto        uint8
	algorithm    string
	config       lb.Config
	monitor      *config.Monitor // nil: every member counts as up
	keepDown     bool            // TCP connections of a member that is down go on,
	drainRemoved bool            // of one that is removed
	members      []member        // Healthy: what counts until checks have decided
	shares       []*poolShare
}

type member struct {
	name string
	lb.Member
}

// A poolShare is a pool at one router. Another router may know other hosts by the same
// addresses, so each has checks of its own.
type poolShare struct {
	of      *pool
	router  *vrouter
	pool    *lb.Pool
	vips    []*vip
	monitor *monitor.Monitor
}

// share is the pool's at a router. VIPs of one router take turns in common.
func (p *pool) share(r *vrouter) *poolShare {
	for _, s := range p.shares {
		if s.router == r {
			return s
		}
	}
	s := &poolShare{of: p, router: r, pool: lb.NewPool(p.config, p.balanced())}
	p.shares = append(p.shares, s)
	return s
}

// nameOf is the name of a member, empty if there is none.
func (p *pool) nameOf(id uint32) string {
	for i := range p.members {
		if p.members[i].ID == id {
			return p.members[i].name
		}
	}
	return ""
}

// balanced is the pool's members as lb knows them.
func (p *pool) balanced() []lb.Member {
	list := make([]lb.Member, len(p.members))
	for i := range p.members {
		list[i] = p.members[i].Member
	}
	return list
}

// failsClosed reports whether a new member gets connections only when its checks have
// found it to be up.
func (p *pool) failsClosed() bool { return p.monitor != nil && p.monitor.InitialState != "up" }

// numbers are the backends that a member is: one for each VIP.
func (s *poolShare) numbers(id uint32) []conntrack.Backend {
	var all []conntrack.Backend
	for _, v := range s.vips {
		if k, ok := v.numbers[id]; ok {
			all = append(all, k)
		}
	}
	return all
}

// update gives the pool at this router the members that it has now, and settles the connections that
// a change concerns. also, unless nil, is done on the worker in the same moment.
func (s *poolShare) update(ch conntrack.Change, also func()) error {
	list := s.of.balanced()
	return s.router.change(ch, func(*turn) {
		s.pool.Update(s.of.config, list)
		if also != nil {
			also()
		}
	})
}

// setHealthy says what the checks have found a member to be at this router, and settles the
// connections of one that is down. Those of a member that is down by hand have been settled before.
func (s *poolShare) setHealthy(m *member, healthy bool) error {
	ch := conntrack.Change{}
	if !healthy && m.AdminStateUp {
		ch = s.down(m)
	}
	return s.router.change(ch, func(*turn) { s.pool.SetHealthy(m.ID, healthy) })
}

// down is what it means for connections that a member is down.
func (s *poolShare) down(m *member) conntrack.Change {
	return conntrack.Change{Backends: s.numbers(m.ID), KeepTCP: s.of.keepDown}
}

// pool finds a pool, nil if there is none.
func (p *plan) pool(name string) *pool {
	for _, q := range p.pools {
		if q.name == name {
			return q
		}
	}
	return nil
}

// member makes a member of a pool, with a number that no other has ever had: connections
// may name one that is gone.
func (p *plan) member(q *pool, c *config.Member) member {
	m := member{c.Name, lb.Member{
		ID: p.members, Addr: packet.FromAddr(c.Address), Port: c.Port, Weight: c.Weight, Backup: c.Backup,
		AdminStateUp: c.AdminStateUp, Healthy: !q.failsClosed(),
	}}
	p.members++
	return m
}

// SetMember says by hand whether a pool's member is up. One that comes up has its
// turns from now on. One that is down gets no new connections; its UDP connections, and
// the TCP ones that it has not answered, go to another member with their next packet,
// and the pool's on_member_down says whether the other TCP connections go on (keep) or
// end with a RST to both sides (reset). An error wraps fs.ErrNotExist if there is no
// such pool or member, and os.ErrClosed after Close.
func (e *Engine) SetMember(pool, member string, up bool) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if err := e.control.setMember(pool, member, up); err != nil {
		return fmt.Errorf("router: set member %q of pool %q: %w", member, pool, err)
	}
	return nil
}

// SetMemberWeight changes a member's part of the connections, from 0 to 256. With 0 the member
// drains: it gets no new connections, and what it has goes on until it ends; LoadBalancers
// tells how many there are. Errors are those of SetMember, and one that wraps fs.ErrInvalid for
// another weight.
func (e *Engine) SetMemberWeight(pool, member string, weight int) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if err := e.control.setWeight(pool, member, weight); err != nil {
		return fmt.Errorf("router: set the weight of member %q of pool %q: %w", member, pool, err)
	}
	return nil
}

// AddMember adds a member to a pool, as the last in the order. m is as in a topology
// made by hand: its address must be one that the router can route to, and none of its
// own. Its name is ADDRESS:PORT if it has none. It takes connections if it has a Weight and
// AdminStateUp, and if the pool's monitor finds it to be up. An error wraps fs.ErrNotExist
// if there is no such pool, fs.ErrExist if it has a member of that name or endpoint,
// fs.ErrInvalid if the member can be none, and os.ErrClosed after Close.
func (e *Engine) AddMember(pool string, m file.Member) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if m.Name == "" {
		m.Name = netip.AddrPortFrom(m.Address, m.Port).String()
	}
	if err := e.control.addMember(pool, &m); err != nil {
		return fmt.Errorf("router: add member %q to pool %q: %w", m.Name, pool, err)
	}
	return nil
}

// RemoveMember takes a member out of a pool. It gets no new connections; its UDP
// connections, and the TCP ones that it has not answered, go to another member with
// their next packet, and the pool's on_member_removed says whether the other TCP
// connections go on until they end (drain) or end with a RST to both sides (reset).
// LoadBalancers lists the member until then. It returns the same errors as SetMember.
func (e *Engine) RemoveMember(pool, member string) error {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	if err := e.control.removeMember(pool, member); err != nil {
		return fmt.Errorf("router: remove member %q of pool %q: %w", member, pool, err)
	}
	return nil
}

// find finds a member of a pool.
func (c *control) find(pool, name string) (*pool, int, error) {
	p := c.pool(pool)
	if p == nil {
		return nil, 0, fmt.Errorf("no such pool: %w", fs.ErrNotExist)
	}
	i := slices.IndexFunc(p.members, func(m member) bool { return m.name == name })
	if i < 0 {
		return nil, 0, fmt.Errorf("no such member: %w", fs.ErrNotExist)
	}
	return p, i, nil
}

func (c *control) setMember(pool, name string, up bool) error {
	p, i, err := c.find(pool, name)
	if err != nil || p.members[i].AdminStateUp == up {
		return err
	}
	m := &p.members[i]
	m.AdminStateUp = up
	return p.each(func(s *poolShare) error {
		ch := conntrack.Change{}
		if !up {
			ch = s.down(m)
		}
		return s.update(ch, nil)
	})
}

func (c *control) setWeight(pool, name string, weight int) error {
	p, i, err := c.find(pool, name)
	if err != nil {
		return err
	}
	if weight < 0 || weight > maxWeight {
		return fmt.Errorf("a weight is from 0 to %d: %w", maxWeight, fs.ErrInvalid)
	}
	p.members[i].Weight = weight
	return p.each(func(s *poolShare) error { return s.update(conntrack.Change{}, nil) })
}

func (c *control) removeMember(pool, name string) error {
	p, i, err := c.find(pool, name)
	if err != nil {
		return err
	}
	m := p.members[i]
	id := m.ID
	p.members = slices.Delete(p.members, i, i+1)
	return p.each(func(s *poolShare) error {
		if s.monitor != nil {
			s.monitor.Remove(id)
		}
		return s.update(conntrack.Change{Backends: s.numbers(id), KeepTCP: p.drainRemoved}, func() {
			for _, v := range s.vips {
				s.router.removeBackend(v, &m)
			}
		})
	})
}

func (c *control) addMember(pool string, cm *file.Member) error {
	p := c.pool(pool)
	if p == nil {
		return fmt.Errorf("no such pool: %w", fs.ErrNotExist)
	}
	if err := p.mayAdd(cm); err != nil {
		return err
	}
	added := c.member(p, &config.Member{
		Meta: config.Meta{Name: cm.Name}, Address: cm.Address, Port: cm.Port, Weight: cm.Weight, Backup: cm.Backup,
		AdminStateUp: cm.AdminStateUp,
	})
	if err := c.mayLead(trial{pool: p, member: &added}); err != nil {
		return err
	}
	p.members = append(p.members, added)
	m := &p.members[len(p.members)-1]
	return p.each(func(s *poolShare) error {
		err := s.update(conntrack.Change{}, func() {
			for _, v := range s.vips {
				s.router.addBackend(v, m.ID)
			}
		})
		if s.monitor != nil && err == nil {
			s.monitor.Add(m.target())
		}
		return err
	})
}

// maxWeight is Octavia's.
const maxWeight = 256

// mayAdd says why a pool may not have a member.
func (p *pool) mayAdd(m *file.Member) error {
	if !m.Address.Is4() || m.Port == 0 || martianDest(packet.FromAddr(m.Address)) != next ||
		!forwardable(packet.FromAddr(m.Address)) {
		return fmt.Errorf("no IPv4 address and port of a host: %w", fs.ErrInvalid)
	}
	if m.Weight < 0 || m.Weight > maxWeight {
		return fmt.Errorf("a weight is from 0 to %d: %w", maxWeight, fs.ErrInvalid)
	}
	addr := packet.FromAddr(m.Address)
	for _, other := range p.members {
		if other.name == m.Name || other.Addr == addr && other.Port == m.Port {
			return fmt.Errorf("member %q has that name or endpoint: %w", other.name, fs.ErrExist)
		}
	}
	for _, s := range p.shares {
		if v := s.router.vips.Find(addr, p.proto, m.Port); v != nil && v.Pool == s.pool {
			return fmt.Errorf("it is VIP %q of the pool itself: %w", v.Name, fs.ErrInvalid)
		}
		if err := s.router.mayHave(addr); err != nil {
			return err
		}
	}
	return nil
}

// each has every router that has a share of the pool change it.
func (p *pool) each(change func(*poolShare) error) error {
	for _, s := range p.shares {
		if err := change(s); err != nil {
			return err
		}
	}
	return nil
}
