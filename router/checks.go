package router

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/monitor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// The checks of members come from a host of the router's own: an in-process host, on a hidden network
// that only this host and the router are on. Its packets take the way of all others, so a check finds
// what a client would find. They leave with the router's own address on the member's network. The
// answers find their way back like those of any other connection.

// checkNets are prefixes for that network, in the order of preference. No host on the Internet
// has an address of them (RFC 7335, RFC 2544, RFC 5737), and a router forwards from and to them.
var checkNets = []netip.Prefix{
	netip.MustParsePrefix("192.0.0.0/30"), netip.MustParsePrefix("198.19.255.252/30"),
	netip.MustParsePrefix("192.0.2.252/30"),
}

// widest is the length of the widest prefix that counts as used. A route to a wider one says nothing
// about who is there: 0.0.0.0/1 and 128.0.0.0/1 together are a default route.
const widest = 8

// checkQueue is how many frames may wait for the host of the checks: thousands of them may
// begin in the same moment.
const checkQueue = 8192

// checkLifetime is how long the connection of a check with this timeout lives: until the check is over,
// and a moment more. There may be thousands a second, so they must not stay in the table for minutes.
// TCP's are reset, but other connections have no end that shows.
func checkLifetime(timeout time.Duration) conntrack.Lifetime {
	const moment = time.Second
	return conntrack.Lifetime{Idle: timeout + moment, Opening: timeout + moment, Closing: moment}
}

// checks gives a router the network that its checks come from, if it has a pool with a monitor.
func (b *builder) checks(r *vrouter, p *routerParams) error {
	wanted, longest := false, time.Duration(0)
	for _, v := range r.listeners {
		if m := v.share.of.monitor; m != nil {
			wanted, longest = true, max(longest, m.Timeout)
		}
	}
	if !wanted {
		return nil
	}
	at, err := p.place.freeNet()
	if err != nil {
		return err
	}
	name := p.settings.name
	n := &network{
		name:    "checks of " + name,
		mtu:     host.DefaultMTU,
		linkMTU: host.DefaultMTU,
		table:   macTable{seed: b.rng.Uint64()},
	}
	b.internal = append(b.internal, n)
	i := ifaceParams{
		network: checksNetwork, checks: true, mac: internalMAC(name, n.name),
		addrs: []netip.Prefix{netip.PrefixFrom(at.Addr().Next(), at.Bits())},
	}
	p.place.ifaces = append(p.place.ifaces, i)
	r.addIface(n, i.network, i.mac).checks = true
	r.checkClass = r.conns.Class(checkLifetime(longest))
	r.checker = n.addService(internalMAC("the checks of "+name, n.name))
	return nil
}

// checksNetwork stands for the id of the network of a router's checks, which is no object.
const checksNetwork id = "checks"

// freeNet is a prefix for the checks that is not in use.
func (p *placeParams) freeNet() (netip.Prefix, error) {
	for _, free := range checkNets {
		if !p.uses(free) {
			return free, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("the checks of members need one of the prefixes %v, and all are in use",
		checkNets)
}

// uses reports whether hosts with an address of a prefix are elsewhere.
func (p *placeParams) uses(free netip.Prefix) bool {
	taken := func(other netip.Prefix) bool { return other.Bits() >= widest && other.Overlaps(free) }
	for i := range p.ifaces {
		if slices.ContainsFunc(p.ifaces[i].addrs, taken) || slices.ContainsFunc(p.ifaces[i].onLink, taken) {
			return true
		}
	}
	return slices.ContainsFunc(p.routes, func(r routeParams) bool { return taken(r.to) })
}

// startChecks starts the monitors of every pool that has one.
func (e *Engine) startChecks() error {
	probers := map[*vrouter]monitor.Prober{}
	e.checkWorkers = monitor.NewWorkers()
	for _, s := range e.control.monitored() {
		p := probers[s.router]
		if p == nil {
			h, err := e.checkHost(s.router)
			if err != nil {
				return fmt.Errorf("router %q: the host of its checks: %w", s.router.name, err)
			}
			p = monitor.FromHost(h)
			probers[s.router] = p
			e.checkHosts = append(e.checkHosts, h)
		}
		e.startMonitor(s, e.checkWorkers, p)
	}
	return nil
}

// monitored is the pools with a monitor, at each router.
func (p *plan) monitored() (all []*poolShare) {
	for _, q := range p.pools {
		if q.monitor != nil {
			all = append(all, q.shares...)
		}
	}
	return all
}

// checkHost brings the host of a router's checks to its network.
func (e *Engine) checkHost(r *vrouter) (*host.Host, error) {
	n, s := r.checks.network, r.checker
	near, far := tap.Pipe(n.name, n.name+"/far", tap.PipeOptions{A: allFeatures, B: host.Accepts, Frames: checkQueue})
	if err := s.worker.call(func() { s.plugIn(n.name, near) }); err != nil {
		return nil, err
	}
	at := packet.ToAddr(r.checks.addrs[0].addr)
	return host.New(far, host.Config{
		Name: n.name, MAC: s.mac, Address: netip.PrefixFrom(at.Next(), checkNets[0].Bits()), Gateway: at,
		Logger: r.worker.log,
	})
}

// startMonitor has the members of a pool checked for one router.
func (e *Engine) startMonitor(s *poolShare, schedule monitor.Schedule, p monitor.Prober) {
	m := s.of.monitor
	s.monitor = monitor.New(monitor.Options{
		Spec: monitor.Spec{
			Type: m.Type, Delay: m.Delay, Timeout: m.Timeout, Rise: m.MaxRetries, Fall: m.MaxRetriesDown,
			Method: m.HTTPMethod, Path: m.URLPath, ExpectedCodes: m.ExpectedCodes,
		},
		Prober: p, Schedule: schedule, Rand: e.checkRand(s),
		Changed: func(id uint32, up bool, last monitor.Result) { e.checked(s, id, up, last) },
	})
	for i := range s.of.members {
		s.monitor.Add(s.of.members[i].target())
	}
}

// checkRand is the generator that spreads out the checks of a pool at a router. It depends on nothing but
// the engine's seed and the names of both, so other pools change no time of this one's checks.
func (e *Engine) checkRand(s *poolShare) *rand.Rand {
	key := sha256.Sum256(fmt.Appendf(nil, "%x\x00%s\x00%s", e.checkKey, s.router.name, s.of.name))
	return rand.New(rand.NewChaCha8(key))
}

// target is a member as its checks know it.
func (m *member) target() monitor.Target {
	return monitor.Target{ID: m.ID, Addr: netip.AddrPortFrom(packet.ToAddr(m.Addr), m.Port), Up: m.Healthy}
}

// checked acts on what a member's checks have found at a router.
func (e *Engine) checked(s *poolShare, id uint32, up bool, last monitor.Result) {
	e.control.mu.Lock()
	defer e.control.mu.Unlock()
	i := slices.IndexFunc(s.of.members, func(m member) bool { return m.ID == id })
	if i < 0 {
		return // it has been removed meanwhile
	}
	m := &s.of.members[i]
	words := "member is up"
	if !up {
		words = "member is down"
	}
	s.router.worker.log.Info(words, "router", s.router.name, "pool", s.of.name, "member", m.name,
		"check", last.Sent, "answer", last.Received, "reason", last.Why)
	_ = s.setHealthy(m, up) // after Close there is nothing to change
}

// stopChecks ends all checks, and their hosts.
func (e *Engine) stopChecks() {
	for _, s := range e.control.monitored() {
		if s.monitor != nil { // the start may have failed before
			s.monitor.Close()
		}
	}
	if e.checkWorkers != nil {
		e.checkWorkers.Close()
	}
	for _, h := range e.checkHosts {
		_ = h.Close() // its device is in memory
	}
}
