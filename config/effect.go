package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Fate is what becomes of connections when a change is applied to a running router.
type Fate uint8

// The fates.
const (
	Keeps  Fate = iota // they go on until they end
	Repins             // the next packet is judged as a new connection's: it goes to another member
	Ends               // they end
)

// String returns the word that plans and counts use.
func (f Fate) String() string { return [...]string{"kept", "re-pinned", "ended"}[f] }

// MarshalText writes the word that String returns.
func (f Fate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// An Effect is what a change means for some of the connections of a running router.
type Effect struct {
	Fate Fate   `json:"fate"`
	Text string `json:"text"` // a whole sentence, without a full stop
}

// Effects says what a change from one State to another means for connections. It is empty if only new connections
// notice the change. If an object goes as a whole, its parts have no effects of their own: the object's effects
// cover them.
func Effects(from, to *State, c Change) []Effect {
	e := effects{from: from, to: to}
	c, ok := c.ofSettings(from, to)
	if !ok {
		return nil
	}
	switch o := firstOf(c.After, c.Before).(type) {
	case *Settings:
		was, is := both(c, o)
		e.nat(&was.NAT, &is.NAT, "")
	case *PhysicalNetwork:
		was, is := both(c, o)
		e.devices(was.Devices, is.Devices)
	case *Network:
		if c.Op == Changed {
			was, is := both(c, o)
			e.network(was, is)
		}
	case *Subnet:
		if c.Op == Changed {
			was, is := both(c, o)
			e.subnet(was, is)
		}
	case *Router:
		e.router(c, o)
	case *Port:
		e.port(c, o)
	case *FloatingIP:
		was, is := both(c, o)
		e.floatingIP(was, is)
	case *PortForwarding:
		was, is := both(c, o)
		e.forwarding(c.Op, was, is)
	case *Pool:
		if c.Op == Changed {
			was, is := both(c, o)
			e.pool(was, is)
		}
	case *Member:
		was, is := both(c, o)
		e.member(c.Op, was, is)
	case *LoadBalancer:
		if c.Op == Changed {
			was, is := both(c, o)
			e.balancer(was, is)
		}
	case *Listener:
		was, is := both(c, o)
		e.listener(c.Op, was, is)
	}
	return e.list
}

// firstOf is the first object that is there.
func firstOf(a, b Object) Object {
	if a != nil {
		return a
	}
	return b
}

// both gives the object before and after a change: an empty one where there is none.
func both[T any, P interface {
	*T
	Object
}](c Change, _ P) (was, is P) {
	was, _ = c.Before.(P)
	is, _ = c.After.(P)
	if was == nil {
		was = new(T)
	}
	if is == nil {
		is = new(T)
	}
	return was, is
}

// An effects collects what a change means.
type effects struct {
	from, to *State
	list     []Effect
}

func (e *effects) add(f Fate, format string, args ...any) {
	e.list = append(e.list, Effect{f, fmt.Sprintf(format, args...)})
}

// reset is how TCP connections end that a change cuts off.
const reset = "TCP with a RST to both sides"

func (e *effects) network(was, is *Network) {
	if was.MTU != is.MTU {
		e.add(Keeps, "connections go on; their packets obey the new MTU")
	}
	if was.VLAN != is.VLAN {
		e.add(Keeps, "connections go on; only frames with the new VLAN tag get in")
	}
	e.devices(was.Devices, is.Devices)
	if was.PhysicalNetwork != is.PhysicalNetwork {
		e.devices(e.from.DevicesOf(was.ID), e.to.DevicesOf(is.ID))
	}
}

func (e *effects) devices(was, is []Device) {
	gone := slices.ContainsFunc(was, func(d Device) bool { return !slices.Contains(is, d) })
	if gone {
		e.add(Keeps, "connections go on; what is behind a device that is gone is out of reach")
	}
}

func (e *effects) subnet(was, is *Subnet) {
	if was.CIDR != is.CIDR {
		e.route()
	}
	if n := e.to.Network(is.Network); was.Gateway != is.Gateway && n != nil && n.External {
		e.add(Keeps, "connections take the new next hop with their next packet")
	}
}

// route is the effect of another way.
func (e *effects) route() {
	e.add(Keeps, "connections take the new way with their next packet")
	e.add(Ends, "connections end whose translation does not fit the new way, %s", reset)
}

func (e *effects) router(c Change, o *Router) {
	was, is := both(c, o)
	switch {
	case c.Op == Added:
		return
	case c.Op == Removed, was.AdminStateUp && !is.AdminStateUp:
		e.add(Ends, "all connections of %s end", e.from.call(o))
		return
	}
	e.gateway(was.Gateway, is.Gateway)
	if !slices.EqualFunc(was.Routes, is.Routes, func(a, b Route) bool {
		return a.Destination == b.Destination && a.NextHop == b.NextHop
	}) {
		e.route()
	}
	if was.RPFilter != is.RPFilter {
		e.add(Keeps, "connections go on; their packets obey the new rp_filter")
	}
	e.nat(&was.NAT, &is.NAT, "of "+e.to.call(is)+" ")
}

func (e *effects) gateway(was, is *Gateway) {
	if was == nil {
		return
	}
	if is == nil || was.Network != is.Network {
		e.add(Ends, "connections with network %s end, %s", e.from.title(KindNetwork, was.Network), reset)
		return
	}
	if was.SNAT != is.SNAT {
		e.add(Keeps, "connections with the outside go on with the addresses that they show; new ones obey")
	}
	for a := range snatAddresses(was) {
		if !slices.ContainsFunc(is.SNATAddresses, func(r AddressRange) bool { return r.Contains(a) }) {
			e.add(Ends, "connections end that show %v or another address that is gone, %s", a, reset)
			break
		}
	}
}

// nat is the effect of settings of the translation. Of says whose connections they are about.
func (e *effects) nat(was, is *NAT, of string) {
	a, b := *was, *is
	a.Timeouts, b.Timeouts = Timeouts{}, Timeouts{}
	if !slices.EqualFunc(a.values("none"), b.values("none"), value.same) {
		e.add(Keeps, "connections %sgo on as they are; new ones obey", of)
	}
	if was.Timeouts != is.Timeouts {
		e.add(Keeps, "connections %shave the new timeouts from their next packet on", of)
	}
}

// port: only a router's ports matter to connections.
func (e *effects) port(c Change, o *Port) {
	if c.Op == Changed && !strings.HasPrefix(o.DeviceOwner, "network:") {
		if was, is := both(c, o); was.AdminStateUp && !is.AdminStateUp {
			e.add(Keeps, "connections stay in the tables; frames of %s are dropped", e.to.call(is))
		}
	}
	if !o.isRouters() || c.Op == Added {
		return
	}
	r := e.to.Router(ID(o.DeviceID))
	if r == nil {
		return // the router's end says it
	}
	was, is := both(c, o)
	if o.DeviceOwner == OwnerInterface {
		if c.Op == Removed || was.addresses() != is.addresses() {
			e.add(Ends, "connections over %s end, %s", e.from.call(was), reset)
		}
		return
	}
	if r.Gateway != nil && r.Gateway.Network == was.Network && was.addresses() != is.addresses() {
		e.add(Ends, "connections end that show %s, %s", was.addresses(), reset)
	}
}

func (e *effects) floatingIP(was, is *FloatingIP) {
	if was.Address == is.Address && was.FixedIP == is.FixedIP && was.Router == is.Router {
		return
	}
	if was.FixedIP.IsValid() {
		e.add(Ends, "connections through %v end, %s", was.Address, reset)
	}
	r := e.to.Router(is.Router)
	if is.FixedIP.IsValid() && r != nil && r.Gateway != nil && r.Gateway.SNAT && !e.isBalancer(r, is.FixedIP) {
		e.add(Keeps, "connections of %v go on with the shared address; new ones show %v", is.FixedIP, is.Address)
	}
}

// isBalancer says whether a load balancer of the router has the address. A load balancer begins no connections.
func (e *effects) isBalancer(r *Router, a netip.Addr) bool {
	for id := range e.to.claimants(claim{what: claimServed, scope: string(r.ID), addr: a}) {
		if e.to.LoadBalancer(id) != nil {
			return true
		}
	}
	return false
}

func (e *effects) forwarding(op Op, was, is *PortForwarding) {
	same := was.Protocol == is.Protocol && was.ExternalPort == is.ExternalPort && was.FixedIP == is.FixedIP &&
		was.Port == is.Port
	if op == Added || same {
		return
	}
	at := e.from.FloatingIP(was.FloatingIP)
	if at == nil {
		return
	}
	e.ends(was.Protocol, "through "+netip.AddrPortFrom(at.Address, was.ExternalPort).String())
}

// ends is the end of connections of a protocol.
func (e *effects) ends(p Protocol, which string) {
	if p == TCP {
		e.add(Ends, "TCP connections %s end, with a RST to both sides", which)
	} else {
		e.add(Ends, "%s connections %s end", p, which)
	}
}

func (e *effects) pool(was, is *Pool) {
	if was.Protocol != is.Protocol {
		e.ends(was.Protocol, "of "+e.from.call(was))
		return
	}
	if was.Algorithm != is.Algorithm || (was.SessionPersistence == nil) != (is.SessionPersistence == nil) {
		e.add(Keeps, "connections stay with their members; new ones obey")
	}
}

func (e *effects) member(op Op, was, is *Member) {
	if op == Added {
		return
	}
	pool := e.to.Pool(was.Pool)
	switch {
	case pool == nil:
		return // the effects of the VIP cover it
	case op == Removed || was.Address != is.Address || was.Port != is.Port:
		e.leaves(pool.Protocol, "of "+e.from.call(was), pool.OnMemberRemoved == "drain")
	case was.AdminStateUp && !is.AdminStateUp:
		e.leaves(pool.Protocol, "of "+e.to.call(is), pool.OnMemberDown == "keep")
	case was.Weight != 0 && is.Weight == 0:
		e.add(Keeps, "connections of %s go on until they end; it gets no new ones", e.to.call(is))
	}
}

// leaves is what becomes of the connections of a member that gets no new ones.
func (e *effects) leaves(p Protocol, which string, keep bool) {
	switch {
	case p == UDP:
		e.add(Repins, "UDP connections %s go to another member with their next packet", which)
		return
	case keep:
		e.add(Keeps, "TCP connections %s go on until they end", which)
	default:
		e.add(Ends, "TCP connections %s end, with a RST to both sides", which)
	}
	e.add(Repins, "TCP connections without an answer yet try another member with their next SYN")
}

func (e *effects) balancer(was, is *LoadBalancer) {
	same := was.Network == is.Network && was.Address == is.Address && was.Router == is.Router
	if !same || was.AdminStateUp && !is.AdminStateUp {
		e.add(Ends, "connections through %s end, %s", e.from.call(was), reset)
	}
}

func (e *effects) listener(op Op, was, is *Listener) {
	switch {
	case op == Added:
		return
	case op == Removed, was.LoadBalancer != is.LoadBalancer, was.Protocol != is.Protocol, was.Port != is.Port,
		was.AdminStateUp && !is.AdminStateUp:
		e.ends(was.Protocol, "through "+e.from.call(was))
		return
	}
	if p := e.from.Pool(was.Pool); was.Pool != is.Pool && p != nil {
		e.leaves(was.Protocol, "of "+e.from.call(p), p.OnMemberRemoved == "drain")
	}
	if was.IdleTimeout != is.IdleTimeout {
		e.add(Keeps, "connections go on with the idle_timeout that they have begun with; new ones obey")
	}
	if was.ConnectionLimit != is.ConnectionLimit || !slices.Equal(was.AllowedCIDRs, is.AllowedCIDRs) {
		e.add(Keeps, "connections go on; new ones obey")
	}
}
