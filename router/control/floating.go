package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// AssociateFloatingIP gives an internal host, or a VIP, a floating IP. floating is an address of a subnet of an
// external network. If there is no such floating IP yet, it is created. fixed is an address on a network of a router
// that has its gateway on that external network. A floating IP that is associated with another address moves, if need
// be to another router, and is announced.
//
// When the method returns, all new connections follow the change. Connections that the host has through shared SNAT
// keep their translation until they end, so that they do not break. The connections of a floating IP that moves end at
// once: both sides of a TCP connection get a RST, while UDP and ICMP begin anew with their next packet. In a
// large table the last RSTs may follow a moment later.
//
// If the two are associated already, nothing changes. An error wraps fs.ErrInvalid if an address cannot be that,
// fs.ErrNotExist if no router, or more than one, reaches both, fs.ErrExist if the floating IP is taken, is a member of
// a VIP of the same router, or the fixed address has another one there, and os.ErrClosed after the engine's end.
func (c *Control) AssociateFloatingIP(floating, fixed netip.Addr) error {
	return c.AssociateFloatingIPAt("", floating, fixed)
}

// AssociateFloatingIPAt is AssociateFloatingIP at a router, by its name or ID, for where several have the same
// addresses.
func (c *Control) AssociateFloatingIPAt(router string, floating, fixed netip.Addr) error {
	return memberInTheWay(c.verb("associate floating IP %v with %v", []any{floating, fixed},
		func(d *config.Draft) error {
			return c.associate(d, router, floating, fixed, true)
		}))
}

// SetFloatingIP is AssociateFloatingIP for a floating IP that must be there: an error wraps fs.ErrNotExist if it is
// not.
func (c *Control) SetFloatingIP(floating, fixed netip.Addr) error {
	return memberInTheWay(c.verb("set floating IP %v to %v", []any{floating, fixed}, func(d *config.Draft) error {
		return c.associate(d, "", floating, fixed, false)
	}))
}

// memberInTheWay has a fault of a member say that the floating IP is taken: the member is what has its address.
func memberInTheWay(err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		r.inTheWay = func(f config.Fault) bool { return f.Ref.Kind == config.KindMember }
	}
	return err
}

// DisassociateFloatingIP takes a floating IP away from the address that has it. Its connections end at once, as when a
// floating IP moves, and no router answers for the address any more. The floating IP stays reserved. An error wraps
// fs.ErrNotExist if the address is not associated, or by more than one router, and os.ErrClosed after the engine's end.
func (c *Control) DisassociateFloatingIP(floating netip.Addr) error {
	return c.DisassociateFloatingIPAt("", floating)
}

// DisassociateFloatingIPAt is DisassociateFloatingIP at a router, by its name or ID, for where several have the same
// address.
func (c *Control) DisassociateFloatingIPAt(router string, floating netip.Addr) error {
	return c.verb("disassociate floating IP %v", []any{floating}, func(d *config.Draft) error {
		f, err := theFloatingIP(d, floating, "it is not associated", func(f *config.FloatingIP) bool {
			return f.FixedIP.IsValid() && (router == "" || isCalled(d.Router(f.Router), router))
		})
		if err != nil {
			return err
		}
		disassociate(d, f)
		return nil
	})
}

// UnsetFloatingIP is DisassociateFloatingIP for a floating IP that need not be associated. An error wraps
// fs.ErrNotExist if there is no such floating IP, or more than one.
func (c *Control) UnsetFloatingIP(floating netip.Addr) error {
	return c.verb("unset floating IP %v", []any{floating}, func(d *config.Draft) error {
		f, err := theFloatingIP(d, floating, noSuchFloatingIP, nil)
		if err == nil && f.FixedIP.IsValid() {
			disassociate(d, f)
		}
		return err
	})
}

// CreateFloatingIP reserves an address of an external network, which is called by its name or ID. Without an address
// it is the next free one of the network's allocation pools. It returns the address. No router answers for it until it
// is associated.
//
// An error wraps fs.ErrNotExist if there is no such network, fs.ErrInvalid if it is not external or cannot have the
// address, fs.ErrExist if the address is taken or no address is free, and os.ErrClosed after the engine's end.
func (c *Control) CreateFloatingIP(network string, address netip.Addr) (netip.Addr, error) {
	id := c.opt.NewID()
	what := "create a floating IP on network " + network
	if address.IsValid() {
		what = fmt.Sprintf("create floating IP %v on network %s", address, network)
	}
	r, err := c.Edit(context.Background(), func(d *config.Draft) error {
		n, err := named[*config.Network](d, config.KindNetwork, network)
		if err != nil {
			return err
		}
		d.Put(&config.FloatingIP{Meta: config.Meta{ID: id}, Network: n.ID, Address: address})
		return nil
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("control: %s: %w", what, err)
	}
	return r.To.FloatingIP(id).Address, nil
}

// DeleteFloatingIP takes a floating IP away for good, with its forwarded ports. It is disassociated first if need be.
// The address is free then. An error wraps fs.ErrNotExist if there is no such floating IP, or more than one, and
// os.ErrClosed after the engine's end.
func (c *Control) DeleteFloatingIP(floating netip.Addr) error {
	return c.verb("delete floating IP %v", []any{floating}, func(d *config.Draft) error {
		f, err := theFloatingIP(d, floating, noSuchFloatingIP, nil)
		if err == nil {
			d.Delete(f.Ref())
		}
		return err
	})
}

const noSuchFloatingIP = "there is no such floating IP"

// A FloatingIP is one line of FloatingIPs.
type FloatingIP struct {
	ID        config.ID
	Address   netip.Addr
	Network   string     // the external network's name, or its ID if it has none
	FixedIP   netip.Addr // zero: not associated
	Port      config.ID  // that has FixedIP; empty: none that is known
	Router    string     // that maps it; empty: none does
	Forwarded int        // ports that are forwarded
}

// FloatingIPs lists all floating IPs, in the order in which they were created.
func (c *Control) FloatingIPs() []FloatingIP {
	s := c.State()
	list := make([]FloatingIP, 0, s.Count(config.KindFloatingIP))
	for f := range s.FloatingIPs() {
		l := FloatingIP{ID: f.ID, Address: f.Address, FixedIP: f.FixedIP}
		if n := s.Network(f.Network); n != nil {
			l.Network = nameOf(n)
		}
		if r := s.Router(f.Router); r != nil {
			l.Router = nameOf(r)
			if p := portOf(s, r, f.FixedIP); p != nil {
				l.Port = p.ID
			}
		}
		for range s.ForwardingsOf(f.ID) {
			l.Forwarded++
		}
		list = append(list, l)
	}
	return list
}

// portOf finds the port on a router's networks that has an address, nil if none is known.
func portOf(s *config.State, r *config.Router, a netip.Addr) *config.Port {
	for i := range s.InterfacesOf(r.ID) {
		if p, ok := s.Owner(i.Network, a).(*config.Port); ok {
			return p
		}
	}
	return nil
}

// nameOf is what people call an object with a name.
func nameOf(o config.Object) string {
	if m := o.About(); m.Name != "" {
		return m.Name
	}
	return string(o.About().ID)
}

// isCalled says whether a router has a name, or an ID.
func isCalled(r *config.Router, name string) bool {
	return r != nil && (r.Name == name || string(r.ID) == name)
}

func disassociate(d *config.Draft, f *config.FloatingIP) {
	g := *f
	g.FixedIP, g.Router = netip.Addr{}, ""
	d.Put(&g)
}

// theFloatingIP finds the one floating IP with an address, among the floating IPs that may be meant.
func theFloatingIP(d *config.Draft, a netip.Addr, none string,
	may func(*config.FloatingIP) bool) (*config.FloatingIP, error) {
	list := slices.Collect(d.FloatingIPsAt(a))
	if may != nil {
		list = slices.DeleteFunc(list, func(f *config.FloatingIP) bool { return !may(f) })
	}
	switch len(list) {
	case 0:
		return nil, fmt.Errorf("%s: %w", none, fs.ErrNotExist)
	case 1:
		return list[0], nil
	}
	var where []string
	for _, f := range list {
		text := fmt.Sprintf("network %q", nameOf(d.Network(f.Network)))
		if r := d.Router(f.Router); r != nil {
			text = fmt.Sprintf("router %q", nameOf(r))
		}
		where = append(where, text)
	}
	return nil, fmt.Errorf("it is at %s, say which: %w", strings.Join(where, " and at "), fs.ErrNotExist)
}

// associate associates a floating IP, which is created if it may be.
func (c *Control) associate(d *config.Draft, router string, floating, fixed netip.Addr, create bool) error {
	if !floating.Is4() || !fixed.Is4() {
		return fmt.Errorf("not two IPv4 addresses: %w", fs.ErrInvalid)
	}
	var at *config.Router
	if router != "" {
		r, err := named[*config.Router](d, config.KindRouter, router)
		if err != nil {
			return err
		}
		if r.Gateway == nil {
			return fmt.Errorf("router %q has no gateway: %w", router, fs.ErrNotExist)
		}
		at = r
	}
	f, err := floatingFor(d, at, floating, fixed)
	switch {
	case err != nil:
		return err
	case f.ID == "" && !create:
		return fmt.Errorf("%s: %w", noSuchFloatingIP, fs.ErrNotExist)
	case f.ID == "":
		f.ID = c.opt.NewID()
	case f.FixedIP == fixed && (at == nil || f.Router == at.ID):
		return nil
	}
	for p := range d.ForwardingsOf(f.ID) {
		return fmt.Errorf("port %d of it is forwarded to %v: %w", p.ExternalPort, p.FixedIP, fs.ErrExist)
	}
	f.FixedIP, f.Router = fixed, ""
	if at != nil {
		f.Router = at.ID
	}
	d.Put(&f)
	return nil
}

// floatingFor is the floating IP of an address that is to be associated: the one that is there, or a new one without an
// ID.
func floatingFor(d *config.Draft, at *config.Router, floating, fixed netip.Addr) (config.FloatingIP, error) {
	var list []*config.FloatingIP
	for f := range d.FloatingIPsAt(floating) {
		if at == nil || f.Network == at.Gateway.Network {
			list = append(list, f)
		}
	}
	if len(list) == 1 {
		return *list[0], nil
	}
	var networks []config.ID
	for n := range d.Networks() {
		if n.External && d.SubnetAt(n.ID, floating) != nil && (at == nil || n.ID == at.Gateway.Network) {
			networks = append(networks, n.ID)
		}
	}
	if len(networks) > 1 { // the same addresses outside: the one from where fixed is reached
		networks = slices.DeleteFunc(networks, func(n config.ID) bool { return !leadsInside(d, n, fixed) })
	}
	switch {
	case len(networks) == 0:
		return config.FloatingIP{}, fmt.Errorf("no router reaches both: %w", fs.ErrNotExist)
	case len(networks) > 1:
		return config.FloatingIP{}, fmt.Errorf("routers of %d external networks reach both, say which: %w",
			len(networks), fs.ErrNotExist)
	}
	for _, f := range list {
		if f.Network == networks[0] {
			return *f, nil
		}
	}
	return config.FloatingIP{Network: networks[0], Address: floating}, nil
}

// leadsInside says whether a router with its gateway on a network has an interface where an address is.
func leadsInside(d *config.Draft, network config.ID, a netip.Addr) bool {
	for r := range d.GatewaysOn(network) {
		for i := range d.InterfacesOf(r.ID) {
			if s := d.SubnetAt(i.Network, a); s != nil && slices.ContainsFunc(i.FixedIPs,
				func(f config.FixedIP) bool { return f.Subnet == s.ID }) {
				return true
			}
		}
	}
	return false
}
