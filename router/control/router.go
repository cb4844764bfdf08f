package control

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// A Gateway is what SetGateway gives a router.
type Gateway struct {
	Network string     // an external network, by its name or ID
	Address netip.Addr // the router's on it; zero: as it is on that network, else the next free one
	SNAT    *bool      // whether internal hosts share the router's address; nil: as it is, at first they do
}

// SetGateway connects a router, which is called by its name or ID, with an external network. Its default route leads to
// the gateway of the address's subnet from then on. A router that had another gateway, or another address, gives it up.
//
// When the method returns, new connections follow the change. Those whose translation has gone end at once.
// An error wraps fs.ErrNotExist if there is no such router or network; fs.ErrInvalid if the network is not external, or
// cannot have the address; fs.ErrExist if the address is taken, no address is free, or floating IPs need the network
// that the router would leave; and os.ErrClosed after the engine's end.
func (c *Control) SetGateway(router string, g Gateway) error {
	return c.verb("set the gateway of router %s", []any{router}, func(d *config.Draft) error {
		r, err := named[*config.Router](d, config.KindRouter, router)
		if err != nil {
			return err
		}
		n, err := named[*config.Network](d, config.KindNetwork, g.Network)
		if err != nil {
			return err
		}
		if !n.External {
			return refuse(fs.ErrInvalid, "network %s is not an external network", nameOf(n))
		}
		to := config.Gateway{Network: n.ID, SNAT: true}
		if r.Gateway != nil {
			if r.Gateway.Network == n.ID {
				to = *r.Gateway
			} else if err := gatewayIsFree(d, r); err != nil {
				return err
			} else {
				to.SNAT = r.Gateway.SNAT
			}
		}
		if g.SNAT != nil {
			to.SNAT = *g.SNAT
		}
		if !to.SNAT {
			to.SNATAddresses = nil // they are for SNAT only
		}
		changed := *r
		changed.Gateway = &to
		d.Put(&changed)
		if g.Address.IsValid() {
			putGatewayPort(d, &changed, g.Address)
		}
		return nil
	})
}

// putGatewayPort gives a router its address outside. Without it Check chooses the address.
func putGatewayPort(d *config.Draft, r *config.Router, a netip.Addr) {
	p := config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, "gateway", string(r.ID))},
		AdminStateUp: true, DeviceID: string(r.ID), DeviceOwner: config.OwnerGateway}
	if was := d.GatewayPort(r.ID); was != nil {
		p = *was
		if p.Network != r.Gateway.Network {
			p.MAC = config.MAC{}
		}
	}
	p.Network, p.FixedIPs = r.Gateway.Network, []config.FixedIP{{Address: a}}
	d.Put(&p)
}

// ClearGateway takes a router's gateway away, and its default route with it. Connections that went through it end. If
// the router has none, nothing changes. An error wraps fs.ErrNotExist if there is no such router, fs.ErrExist if
// floating IPs need the gateway, and os.ErrClosed after the engine's end.
func (c *Control) ClearGateway(router string) error {
	return c.verb("clear the gateway of router %s", []any{router}, func(d *config.Draft) error {
		r, err := named[*config.Router](d, config.KindRouter, router)
		if err != nil || r.Gateway == nil {
			return err
		}
		if err := gatewayIsFree(d, r); err != nil {
			return err
		}
		changed := *r
		changed.Gateway = nil
		d.Put(&changed)
		return nil
	})
}

// gatewayIsFree refuses to take a gateway away that floating IPs need.
func gatewayIsFree(d *config.Draft, r *config.Router) error {
	for range d.FloatingIPsOf(r.ID) {
		return refuse(fs.ErrExist, "a gateway to external network %s is required by one or more floating IPs",
			nameOf(d.Network(r.Gateway.Network)))
	}
	return nil
}

// AddInterface connects a router with a tenant network. The subnet is called by its name, its ID or its CIDR. The
// router takes the subnet's gateway address. Any host of the subnet can use it when the method returns. An error wraps
// fs.ErrNotExist if there is no such router or subnet, or more than one such subnet; fs.ErrInvalid if the subnet has
// no gateway address, is outside, or overlaps one that the router has; fs.ErrExist if the router has an interface
// on it, or the address is taken; and os.ErrClosed after the engine's end.
func (c *Control) AddInterface(router, subnet string) error {
	id := c.opt.NewID()
	return c.verb("add subnet %s to router %s", []any{subnet, router}, func(d *config.Draft) error {
		r, s, err := routerAndSubnet(d, router, subnet)
		if err != nil {
			return err
		}
		if !s.Gateway.IsValid() {
			return refuse(fs.ErrInvalid, "subnet for router interface must have a gateway IP")
		}
		if p, _ := interfaceOn(d, r, s); p != nil {
			return refuse(fs.ErrExist, "router already has a port on subnet %s", subnet)
		}
		d.Put(&config.Port{Meta: config.Meta{ID: id}, Network: s.Network, AdminStateUp: true,
			FixedIPs: []config.FixedIP{{Subnet: s.ID, Address: s.Gateway}},
			DeviceID: string(r.ID), DeviceOwner: config.OwnerInterface})
		return nil
	})
}

// RemoveInterface takes a router off a subnet, which is called as for AddInterface. Nobody answers for the router's
// address on it any more, and the connections of its hosts through the router end. An error wraps fs.ErrNotExist if
// there is no such router or subnet, or no interface on it; fs.ErrExist if the router's floating IPs or routes lead
// there; and os.ErrClosed after the engine's end.
func (c *Control) RemoveInterface(router, subnet string) error {
	return c.verb("remove subnet %s from router %s", []any{subnet, router}, func(d *config.Draft) error {
		r, s, err := routerAndSubnet(d, router, subnet)
		if err != nil {
			return err
		}
		p, at := interfaceOn(d, r, s)
		if p == nil {
			return refuse(fs.ErrNotExist, "router %s has no interface on subnet %s", nameOf(r), subnet)
		}
		if err := interfaceIsFree(d, r, s); err != nil {
			return err
		}
		if len(p.FixedIPs) == 1 {
			d.Delete(p.Ref())
			return nil
		}
		left := *p
		left.FixedIPs = slices.Delete(slices.Clone(p.FixedIPs), at, at+1)
		d.Put(&left)
		return nil
	})
}

// interfaceOn finds a router's port on a subnet, and its address there. It returns nil if there is none.
func interfaceOn(d *config.Draft, r *config.Router, s *config.Subnet) (*config.Port, int) {
	for p := range d.InterfacesOf(r.ID) {
		for i, f := range p.FixedIPs {
			if f.Subnet == s.ID {
				return p, i
			}
		}
	}
	return nil, 0
}

// interfaceIsFree refuses to take a router off a subnet that its floating IPs or routes need.
func interfaceIsFree(d *config.Draft, r *config.Router, s *config.Subnet) error {
	needs := func(a netip.Addr) bool { return a.IsValid() && s.CIDR.Contains(a) }
	needed := func(by string) error {
		return refuse(fs.ErrExist, "the interface cannot be deleted, as it is required by one or more %s", by)
	}
	for f := range d.FloatingIPsOf(r.ID) {
		if needs(f.FixedIP) {
			return needed("floating IPs")
		}
		for p := range d.ForwardingsOf(f.ID) {
			if needs(p.FixedIP) {
				return needed("floating IPs")
			}
		}
	}
	for _, x := range r.Routes {
		if needs(x.NextHop) {
			return needed("routes")
		}
	}
	return nil
}

// AddRoute gives a router a static route. If it has the route, nothing changes. An error wraps fs.ErrNotExist if
// there is no such router, fs.ErrInvalid if no subnet of the router has the next hop, or the destination is none, and
// os.ErrClosed after the engine's end.
func (c *Control) AddRoute(router string, destination netip.Prefix, nextHop netip.Addr) error {
	return c.verb("add route %v via %v to router %s", []any{destination, nextHop, router},
		func(d *config.Draft) error {
			return changeRoutes(d, router, func(list []config.Route) []config.Route {
				if slices.ContainsFunc(list, isRoute(destination, nextHop)) {
					return list
				}
				return append(list, config.Route{Destination: destination, NextHop: nextHop})
			})
		})
}

// RemoveRoute takes a static route from a router. If the router does not have the route, nothing changes. An error
// wraps fs.ErrNotExist if there is no such router, and os.ErrClosed after the engine's end.
func (c *Control) RemoveRoute(router string, destination netip.Prefix, nextHop netip.Addr) error {
	return c.verb("remove route %v via %v from router %s", []any{destination, nextHop, router},
		func(d *config.Draft) error {
			return changeRoutes(d, router, func(list []config.Route) []config.Route {
				return slices.DeleteFunc(list, isRoute(destination, nextHop))
			})
		})
}

func changeRoutes(d *config.Draft, router string, change func([]config.Route) []config.Route) error {
	r, err := named[*config.Router](d, config.KindRouter, router)
	if err != nil {
		return err
	}
	changed := *r
	changed.Routes = change(slices.Clone(r.Routes))
	d.Put(&changed)
	return nil
}

func isRoute(destination netip.Prefix, nextHop netip.Addr) func(config.Route) bool {
	return func(x config.Route) bool {
		return x.Destination.Masked() == destination.Masked() && x.NextHop == nextHop
	}
}

// routerAndSubnet finds a router, and the one subnet with a name, an ID or a CIDR.
func routerAndSubnet(d *config.Draft, router, subnet string) (*config.Router, *config.Subnet, error) {
	r, err := named[*config.Router](d, config.KindRouter, router)
	if err != nil {
		return nil, nil, err
	}
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		s, err := named[*config.Subnet](d, config.KindSubnet, subnet)
		return r, s, err
	}
	var found *config.Subnet
	for s := range d.Subnets() {
		if s.CIDR.Masked() != prefix {
			continue
		}
		if found != nil {
			return nil, nil, refuse(fs.ErrNotExist, "networks %s and %s have a subnet %v, say which by its id",
				nameOf(d.Network(found.Network)), nameOf(d.Network(s.Network)), prefix)
		}
		found = s
	}
	if found == nil {
		return nil, nil, refuse(fs.ErrNotExist, "no such subnet %v", prefix)
	}
	return r, found, nil
}

// A refused edit says why in people's words. errors.Is finds its sentinel, whose text would add nothing.
type refused struct {
	why      string
	sentinel error
}

// Error implements error.
func (r *refused) Error() string { return r.why }

// Unwrap is for errors.Is.
func (r *refused) Unwrap() error { return r.sentinel }

func refuse(sentinel error, why string, args ...any) error {
	return &refused{fmt.Sprintf(why, args...), sentinel}
}
