package router

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/monitor"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// The checks of members come from a host of the router's own: an in-process host, on a network that
// no State has, and that only this host and the router are on. Its packets take the same way as all others, so a
// check fails where a client would fail. They leave with the router's own address on the member's network. The
// answers find their way back like those of any other connection. The same host asks servers for local services.

// checkNets are prefixes for that network, in the order of preference. No host on the Internet
// has an address of them (RFC 7335, RFC 2544, RFC 5737), and a router forwards from and to them.
var checkNets = []netip.Prefix{
	netip.MustParsePrefix("192.0.0.0/30"), netip.MustParsePrefix("198.19.255.252/30"),
	netip.MustParsePrefix("192.0.2.252/30"),
}

// widest is the length of the widest prefix that counts as used. A route to a wider one does not say
// that the prefix of the checks is used: 0.0.0.0/1 and 128.0.0.0/1 together are a default route.
const widest = 8

// checkQueue is how many frames may wait for the host of the checks: thousands of checks may
// begin in the same moment.
const checkQueue = 8192

// checkLifetime is how long the connection of a check with this timeout lives: until the check is over,
// and a moment more. There may be thousands of checks in a second, so their connections must not stay in the table
// for minutes. TCP ends with a reset, but the packets of other protocols do not show that a connection is over.
// A timeout of 0 means that there are no checks: the lifetime is zero.
func checkLifetime(timeout time.Duration) conntrack.Lifetime {
	const moment = time.Second
	if timeout == 0 {
		return conntrack.Lifetime{}
	}
	return conntrack.Lifetime{Idle: timeout + moment, Opening: timeout + moment, Closing: moment}
}

// A checker is where the checks of a router's members come from.
type checker struct {
	prefix  netip.Prefix  // of the network
	network *wire.Network // with the router's interface and the host
	service *wire.Service
	near    tap.Device // leads to the host
	host    *host.Host
	prober  monitor.Prober
}

// A checksChange gives a router another host for its checks, or none.
type checksChange struct{ *checker }

// planChecks has a router get an interface for its checks, and the host that they come from. A present host stays as
// long as nothing else uses its prefix, and the router checks members or asks servers. A Simulation has no such host.
func (c *routerPlan) planChecks(p *ip.Params, name string) error {
	if !p.Place.Checked || c.p.e.sim != nil {
		if c.was != nil {
			c.checks = &checksChange{}
		}
		return nil
	}
	was := netip.Prefix{}
	if c.was != nil {
		was = c.was.prefix
	}
	at, err := freeNet(p.Place, was)
	if err != nil {
		return err
	}
	mac := internalMAC("router", p.ID)
	address := netip.PrefixFrom(at.Addr().Next(), at.Bits())
	p.Place.Interfaces = append(p.Place.Interfaces, ip.InterfaceParams{
		Network: checksNetwork, Checks: true, MAC: mac, Addrs: []netip.Prefix{address},
	})
	if at == was {
		return nil
	}
	n := wire.NewNetwork(checksNetwork, "checks of "+name, host.DefaultMTU, c.p.e.random.of("checks", p.ID))
	k := &checker{prefix: at, network: n, service: wire.NewService(n, internalMAC("checks", p.ID))}
	near, far := tap.Pipe(n.Name(), n.Name()+"/far",
		tap.PipeOptions{A: allFeatures, B: host.Accepts, Frames: checkQueue})
	k.near = near
	k.host, err = host.New(far, host.Config{
		Name: n.Name(), MAC: k.service.MAC, Address: netip.PrefixFrom(address.Addr().Next(), at.Bits()),
		Gateway: address.Addr(), Logger: c.p.e.log,
	})
	if err != nil {
		return fmt.Errorf("the host of the checks: %w", err)
	}
	k.prober = monitor.FromHost(k.host)
	c.checks = &checksChange{k}
	return nil
}

// checksNetwork stands for the id of the network of a router's checks, which is no object.
const checksNetwork wire.ID = "checks"

// freeNet is a prefix for the checks that is not in use: if possible, the present one.
func freeNet(p *ip.PlaceParams, was netip.Prefix) (netip.Prefix, error) {
	if was.IsValid() && !uses(p, was) {
		return was, nil
	}
	for _, free := range checkNets {
		if !uses(p, free) {
			return free, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("what the router itself asks comes from one of the prefixes %v, and all are in "+
		"use", checkNets)
}

// uses reports whether an interface or a route of a place leads to hosts with addresses of a prefix.
func uses(p *ip.PlaceParams, free netip.Prefix) bool {
	taken := func(other netip.Prefix) bool { return other.Bits() >= widest && other.Overlaps(free) }
	for i := range p.Interfaces {
		if slices.ContainsFunc(p.Interfaces[i].Addrs, taken) || slices.ContainsFunc(p.Interfaces[i].OnLink, taken) {
			return true
		}
	}
	return slices.ContainsFunc(p.Routes, func(r ip.RouteParams) bool { return taken(r.To) })
}

// startMonitor has the members of a pool checked for one router.
func startMonitor(e *Engine, s *ip.PoolShare, spec monitor.Spec) {
	var m *monitor.Monitor
	opt := monitor.Options{
		Spec: spec, Rand: e.random.of("monitor", s.Router.ID+"/"+s.Of.ID),
		Changed: func(number uint32, up bool, last monitor.Result) { e.checked(s, m, number, up, last) },
	}
	if e.sim != nil {
		opt.Schedule, opt.Prober = &e.sim.schedule, simProber{e.sim, s}
	} else {
		if e.checkWorkers == nil {
			e.checkWorkers = monitor.NewWorkers()
		}
		opt.Schedule, opt.Prober = e.checkWorkers, e.checkers[s.Router].prober
	}
	m = monitor.New(opt)
	e.monitors[s] = m
	m.Update(opt.Spec, targetsOf(s))
}

// endMonitor ends the checks of a share's members, if there are any.
func endMonitor(e *Engine, s *ip.PoolShare) {
	if m := e.monitors[s]; m != nil {
		m.Close()
		delete(e.monitors, s)
	}
}

func specOf(m *config.Monitor) monitor.Spec {
	return monitor.Spec{
		Type: m.Type, Delay: m.Delay, Timeout: m.Timeout, Rise: m.MaxRetries, Fall: m.MaxRetriesDown,
		Method: m.HTTPMethod, Path: m.URLPath, ExpectedCodes: m.ExpectedCodes,
		Version: m.HTTPVersion, Domain: m.DomainName,
	}
}

// targetsOf are the members as their checks know them. A member keeps its present state until the checks have decided.
func targetsOf(s *ip.PoolShare) []monitor.Target {
	var all []monitor.Target
	healthy := map[uint32]bool{}
	_ = s.Router.Worker.Call(func() { // after Close there is nothing to check
		for _, m := range s.Pool.Members() {
			healthy[m.ID] = m.Healthy
		}
	})
	for i := range s.Of.Members {
		m := &s.Of.Members[i]
		all = append(all, monitor.Target{ID: m.ID, Addr: m.Checked, Up: healthy[m.ID]})
	}
	return all
}

// monitorShare has a share's members checked as the State says of its pool now.
func monitorShare(e *Engine, s *ip.PoolShare, anew bool) {
	is := monitorOf(e.State(), config.ID(s.Of.ID))
	if e.monitors[s] != nil && (is == nil || anew) {
		endMonitor(e, s)
		if is == nil {
			_ = s.Router.Worker.Call(func() { // after Close there is nothing to change
				for _, m := range s.Pool.Members() {
					s.Pool.SetHealthy(m.ID, true)
				}
			})
		}
	}
	switch m := e.monitors[s]; {
	case is == nil:
	case m == nil:
		startMonitor(e, s, specOf(is))
	default:
		m.Update(specOf(is), targetsOf(s))
	}
}

// checked acts on what a member's checks have found at a router.
func (e *Engine) checked(s *ip.PoolShare, by *monitor.Monitor, number uint32, up bool, last monitor.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Load() {
		return
	}
	m := s.Of.Member(number)
	if m == nil || e.monitors[s] != by {
		return // the member has been removed meanwhile, or another monitor checks it
	}
	words, kind := "member is up", MemberUp
	if !up {
		words, kind = "member is down", MemberDown
	}
	s.Router.Worker.Log.Info(words, "router", s.Router.Name, "pool", s.Of.Name, "member", m.Name,
		"check", last.Sent, "answer", last.Received, "reason", last.Why)
	_ = s.SetHealthy(m, up) // after Close there is nothing to change
	e.events.tell(Event{
		Kind: kind, Router: s.Router.Name, Pool: s.Of.Name, Member: m.Name, Reason: last.Why,
		Ref: config.Ref{Kind: config.KindMember, ID: config.ID(m.ObjectID)},
	})
}

// stopChecks ends all checks, and their hosts. It waits for the results of checks that are on their way, which may wait
// for mu: so it does not hold that meanwhile. No change begins any more.
func stopChecks(e *Engine) {
	e.mu.Lock()
	e.closed.Store(true)
	for _, m := range e.monitors {
		m.Close()
	}
	workers := e.checkWorkers
	e.mu.Unlock()
	if workers != nil {
		workers.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.checkers {
		_ = k.host.Close() // its device is in memory
	}
}

// internalMAC chooses the address of a station of the engine's own: the same one each time.
func internalMAC(station string, of wire.ID) packet.MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", station, of))
	return packet.MAC{0xfa, 0x16, 0x3e, sum[0], sum[1], sum[2]} // the prefix Neutron uses, locally administered
}
