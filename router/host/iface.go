package host

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// An Interface is a host's interface on its network, as a guest's administrator sees and changes it. A change is the
// host's alone: the network does not learn of it before the host sends. Methods may be called from any goroutine.
type Interface struct{ h *Host }

// Interface returns the host's interface on its network.
func (h *Host) Interface() Interface { return Interface{h} }

// MTU is the largest IP packet that the host sends, in bytes.
func (i Interface) MTU() int { return i.h.cfg.MTU }

// Addresses returns the host's addresses with the lengths of their subnets. Packets come from the first one whose
// subnet has the next hop. The caller owns the slice.
func (i Interface) Addresses() []netip.Prefix { return i.h.place.Load().all() }

// Lease returns the host's lease of DHCP, and false if it has none.
func (i Interface) Lease() (Lease, bool) {
	l := i.h.lease.current()
	return l, l.Address.IsValid()
}

// AddAddress gives the host a further address. The error wraps fs.ErrExist if it has the address, fs.ErrInvalid if no
// host can have it.
func (i Interface) AddAddress(a netip.Prefix) error {
	c := Config{Address: a}
	if err := c.checkAddress(); err != nil {
		return i.failed(fmt.Errorf("%w: %w", err, fs.ErrInvalid))
	}
	return i.failed(i.h.change(func(p place) (place, error) {
		if p.has(a.Addr()) {
			return p, fmt.Errorf("address %v: %w", a.Addr(), fs.ErrExist)
		}
		return p.with(a), nil
	}))
}

// RemoveAddress takes an address from the host, with the routes by next hops that only its subnet has. The next address
// takes the place of the first one. Connections of the address do not go on. The error wraps fs.ErrNotExist if the host
// does not have the address.
func (i Interface) RemoveAddress(a netip.Addr) error {
	return i.failed(i.h.change(func(p place) (place, error) {
		if !p.has(a) {
			return p, fmt.Errorf("address %v: %w", a, fs.ErrNotExist)
		}
		return p.without(a), nil
	}))
}

// Routes returns the routes by next hops. That of 0.0.0.0/0, the default route, is the first. The subnets of the
// addresses are reached without them. The caller owns the slice.
func (i Interface) Routes() []Route {
	p := i.h.place.Load()
	var all []Route
	if p.gateway.IsValid() {
		all = append(all, Route{defaultRoute, p.gateway})
	}
	return append(all, p.routes...)
}

// defaultRoute is the destination that every address is in.
var defaultRoute = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// AddRoute gives the host a route. The error wraps fs.ErrExist if it has one to the destination, fs.ErrInvalid if the
// next hop is on no subnet of the host, or one of the addresses is none of IPv4.
func (i Interface) AddRoute(r Route) error {
	r.Destination = r.Destination.Masked()
	return i.failed(i.h.change(func(p place) (place, error) {
		switch {
		case !r.Destination.Addr().Is4() || !r.NextHop.Is4():
			return p, fmt.Errorf("route to %v: not of IPv4: %w", r.Destination, fs.ErrInvalid)
		case !r.NextHop.IsUnspecified() && !p.onLink(r.NextHop) || !p.address.IsValid():
			return p, fmt.Errorf("route to %v: next hop %v is on no subnet of the host: %w", r.Destination, r.NextHop,
				fs.ErrInvalid)
		case r.Destination == defaultRoute && r.NextHop.IsUnspecified():
			return p, fmt.Errorf("route to %v: it needs a next hop: %w", r.Destination, fs.ErrInvalid)
		case p.routeTo(r.Destination) >= 0, r.Destination == defaultRoute && p.gateway.IsValid():
			return p, fmt.Errorf("route to %v: %w", r.Destination, fs.ErrExist)
		case r.Destination == defaultRoute:
			p.gateway = r.NextHop
			return p, nil
		}
		p.routes = append(slices.Clone(p.routes), r)
		slices.SortStableFunc(p.routes, func(a, b Route) int { return b.Destination.Bits() - a.Destination.Bits() })
		return p, nil
	}))
}

// RemoveRoute takes the route to a destination from the host. The error wraps fs.ErrNotExist if there is none.
func (i Interface) RemoveRoute(destination netip.Prefix) error {
	destination = destination.Masked()
	return i.failed(i.h.change(func(p place) (place, error) {
		at := p.routeTo(destination)
		switch {
		case destination == defaultRoute && p.gateway.IsValid():
			p.gateway = netip.Addr{}
		case at < 0:
			return p, fmt.Errorf("route to %v: %w", destination, fs.ErrNotExist)
		default:
			p.routes = slices.Delete(slices.Clone(p.routes), at, at+1)
		}
		return p, nil
	}))
}

// routeTo is the place of the route to a destination, -1 if there is none.
func (p *place) routeTo(destination netip.Prefix) int {
	return slices.IndexFunc(p.routes, func(r Route) bool { return r.Destination == destination })
}

// SetMAC gives the interface another MAC address. What a lease binds to the one before is the host's until it asks DHCP
// again. The error wraps fs.ErrInvalid if the address is a group's or zero.
func (i Interface) SetMAC(mac [6]byte) error {
	if mac[0]&1 != 0 || mac == ([6]byte{}) {
		return i.failed(fmt.Errorf("MAC address %v: %w", net.HardwareAddr(mac[:]), fs.ErrInvalid))
	}
	return i.failed(i.h.open(func() error {
		return errno(i.h.stack.SetNICAddress(nicID, tcpip.LinkAddress(mac[:])))
	}))
}

// A Neighbor is an entry of a host's ARP table.
type Neighbor struct {
	Address netip.Addr
	MAC     net.HardwareAddr // nil: it is not known
	State   string           // in the words of ip neigh, such as REACHABLE
}

// neighborStates are the names of the stack's states that ip neigh has for them.
var neighborStates = map[stack.NeighborState]string{
	stack.Unknown: "NONE", stack.Incomplete: "INCOMPLETE", stack.Reachable: "REACHABLE", stack.Stale: "STALE",
	stack.Delay: "DELAY", stack.Probe: "PROBE", stack.Static: "PERMANENT", stack.Unreachable: "FAILED",
}

// Neighbors returns the host's ARP table, by address. The caller owns the slice.
func (i Interface) Neighbors() ([]Neighbor, error) {
	known, err := i.h.stack.Neighbors(nicID, header.IPv4ProtocolNumber)
	if err != nil {
		return nil, i.failed(errno(err))
	}
	var all []Neighbor
	for _, n := range known {
		e := Neighbor{Address: toAddr(n.Addr), State: neighborStates[n.State]}
		if len(n.LinkAddr) > 0 {
			e.MAC = net.HardwareAddr(n.LinkAddr)
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Neighbor) int { return a.Address.Compare(b.Address) })
	return all, nil
}

// ForgetNeighbors empties the ARP table, so that the next packet to each neighbor asks for it.
func (i Interface) ForgetNeighbors() error {
	return i.failed(i.h.open(func() error {
		return errno(i.h.stack.ClearNeighbors(nicID, header.IPv4ProtocolNumber))
	}))
}

// An ARPReply is the answer to an ARP request.
type ARPReply struct {
	MAC net.HardwareAddr
	RTT time.Duration // from sending to receiving
}

// An arpAnswer is an ARP reply that has come.
type arpAnswer struct {
	sender netip.Addr
	mac    net.HardwareAddr
}

// ARP sends one ARP request for an address, and waits for the answer until ctx ends. sender is the address that asks:
// the zero value stands for the host's own, 0.0.0.0 for none, as in a probe of RFC 5227. To ask by an address that the
// host does not have is to claim it. The ARP table does not change. Calls of one host come one after the other.
func (i Interface) ARP(ctx context.Context, target, sender netip.Addr) (ARPReply, error) {
	h := i.h
	if err := h.checkBubble(); err != nil {
		return ARPReply{}, i.failed(err)
	}
	if !sender.IsValid() {
		sender = h.place.Load().sourceFor(target)
	}
	if !target.Is4() || !sender.Is4() {
		return ARPReply{}, i.failed(fmt.Errorf("ARP for %v from %v: not of IPv4: %w", target, sender, fs.ErrInvalid))
	}
	h.asking.Lock()
	defer h.asking.Unlock()
	in := make(chan arpAnswer, 16)
	h.link.arp.Store(&in)
	defer h.link.arp.Store(nil)
	began := time.Now()
	if err := h.open(func() error { h.link.askARP(sender, target); return nil }); err != nil {
		return ARPReply{}, i.failed(err)
	}
	for {
		select {
		case a := <-in:
			if a.sender == target {
				return ARPReply{a.mac, time.Since(began)}, nil
			}
		case <-ctx.Done():
			return ARPReply{}, i.failed(fmt.Errorf("ARP for %v: %w", target, ctx.Err()))
		case <-h.done:
			return ARPReply{}, i.failed(net.ErrClosed)
		}
	}
}

// tellARP gives an ARP reply to the call that waits for one.
func (l *link) tellARP(a header.ARP) {
	in := l.arp.Load()
	if in == nil || a.Op() != header.ARPReply {
		return
	}
	answer := arpAnswer{netip.AddrFrom4([4]byte(a.ProtocolAddressSender())), bytes.Clone(a.HardwareAddressSender())}
	select {
	case *in <- answer:
	default: // nobody answers so often
	}
}

// failed says of an error which host it is about.
func (i Interface) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("host: %s: %w", i.h.Name(), err)
}
