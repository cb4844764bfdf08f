package neutron

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

var balancers = resource[*config.LoadBalancer]{
	singular: "loadbalancer", plural: "loadbalancers", title: "Load Balancer", linked: true,
	attributes: balancerAttributes,
	all:        func(s *config.State) iter.Seq[*config.LoadBalancer] { return s.LoadBalancers() },
	get: func(r reader, id config.ID) (*config.LoadBalancer, bool) {
		b := r.LoadBalancer(id)
		return b, b != nil
	},
	fresh: func(m config.Meta) *config.LoadBalancer {
		return &config.LoadBalancer{Meta: m, AdminStateUp: true}
	},
	copied: copied[config.LoadBalancer],
	create: createBalancer,
	update: func(e *edit, _, b *config.LoadBalancer, _ map[string]any) error {
		e.Put(b)
		return nil
	},
	remove: removeBalancer,
	shows:  showTree,
}

func balancerAttributes(project string) []attribute[*config.LoadBalancer] {
	type balancer = *config.LoadBalancer
	return append(balanced[balancer](project, func(b balancer) *bool { return &b.AdminStateUp },
		func(r reader, b balancer) any { return balancerStatus(r, b) }),
		// Where the address is, is checked when all is known: see placeBalancer.
		attribute[balancer]{name: "vip_subnet_id", format: identifier, may: onCreate, set: noSet[balancer],
			get: func(r reader, b balancer) any {
				if s := r.SubnetAt(b.Network, b.Address); s != nil {
					return string(s.ID)
				}
				return nil
			}},
		attribute[balancer]{name: "vip_network_id", format: identifier, may: onCreate, set: noSet[balancer],
			get: func(_ reader, b balancer) any { return string(b.Network) }},
		attribute[balancer]{name: "vip_port_id", format: identifier, may: onCreate,
			get: func(_ reader, b balancer) any { return string(balancerPortID(b)) },
			set: func(_ *edit, b balancer, v any) error {
				b.Port = v.(config.ID)
				return nil
			}},
		attribute[balancer]{name: "vip_address", format: address, may: onCreate,
			get: func(_ reader, b balancer) any { return addressText(b.Address) },
			set: func(_ *edit, b balancer, v any) error {
				b.Address = v.(netip.Addr)
				return nil
			}},
		attribute[balancer]{name: "listeners", format: anything, may: onCreate, set: noSet[balancer],
			get: func(r reader, b balancer) any { return idList(slices.Collect(r.ListenersOf(b.ID))...) }},
		attribute[balancer]{name: "pools", format: anything, may: onCreate, set: noSet[balancer],
			get: func(r reader, b balancer) any { return idList(poolsUnder(r, b)...) }},
		constant[balancer]("provider", text, provider),
		constant[balancer]("vip_qos_policy_id", identifier, nil),
		constant[balancer]("additional_vips", anything, []any{}),
		constant[balancer]("flavor_id", identifier, nil),
		constant[balancer]("availability_zone", text, nil),
	)
}

// poolsUnder lists the pools that a load balancer has, or its listeners use.
func poolsUnder(r reader, b *config.LoadBalancer) []*config.Pool {
	list := slices.Collect(r.PoolsOf(b.ID))
	for l := range r.ListenersOf(b.ID) {
		if p := r.Pool(l.Pool); p != nil && !slices.ContainsFunc(list,
			func(x *config.Pool) bool { return x.ID == p.ID }) {
			list = append(list, p)
		}
	}
	return list
}

// createBalancer makes a load balancer and, if the body is populated, all that is to be below it.
func createBalancer(e *edit, b *config.LoadBalancer, body map[string]any) error {
	if err := placeBalancer(e, b, body); err != nil {
		return err
	}
	e.Put(b)
	of := &e.request.api.balancing
	named := map[any]any{}
	err := eachOf("pools", body["pools"], func(x any) error {
		p, err := makeOf(e, of.pools, x, func(p *config.Pool) { p.LoadBalancer = b.ID })
		if p.Name != "" {
			named[p.Name] = string(p.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return eachOf("listeners", body["listeners"], func(x any) error {
		_, err := makeOf(e, of.listeners, withPool(x, named), func(l *config.Listener) { l.LoadBalancer = b.ID })
		return err
	})
}

// withPool is the body of a listener with the id of its pool in place of the pool's name.
func withPool(x any, named map[any]any) any {
	body, ok := x.(map[string]any)
	if !ok {
		return x
	}
	name := body["default_pool"]
	if p, ok := name.(map[string]any); ok && len(p) == 1 {
		name = p["name"]
	}
	key := "default_pool"
	if name == nil {
		name, key = body["default_pool_id"], "default_pool_id"
	}
	if text, ok := name.(string); !ok || named[text] == nil {
		return x
	}
	with := map[string]any{}
	for k, v := range body {
		if k != key {
			with[k] = v
		}
	}
	with["default_pool_id"] = named[name]
	return with
}

// placeBalancer finds the network of a load balancer's address, and chooses the address if the body names none.
func placeBalancer(e *edit, b *config.LoadBalancer, body map[string]any) error {
	id := func(name string) config.ID {
		v, err := identifier.read(body[name]) // which fillCreate has read once
		if err != nil {
			return ""
		}
		return v.(config.ID)
	}
	if b.Port != "" {
		return placeAtPort(e, b, id("vip_network_id"), id("vip_subnet_id"))
	}
	b.Network = id("vip_network_id")
	subnet := id("vip_subnet_id")
	s := e.Subnet(subnet)
	switch {
	case b.Network == "" && subnet == "":
		return malformed("Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.")
	case subnet != "" && s == nil:
		return malformed("Subnet %s not found.", subnet)
	case b.Network != "" && e.Network(b.Network) == nil:
		return malformed("Network %s not found.", b.Network)
	case s != nil && b.Network != "" && b.Network != s.Network:
		return malformed("Subnet %s is not one of network %s.", subnet, b.Network)
	}
	if s == nil && b.Address.IsValid() {
		s = e.SubnetAt(b.Network, b.Address)
	} else if s == nil {
		for first := range e.SubnetsOf(b.Network) {
			s = first
			break
		}
	}
	if s == nil {
		return malformed("Supplied network does not contain a subnet for the VIP.")
	}
	b.Network = s.Network
	if !b.Address.IsValid() {
		a, err := freeIn(e, s)
		if err != nil {
			return err
		}
		b.Address = a
	} else if !s.CIDR.Contains(b.Address) {
		return malformed("Supplied VIP address %v does not belong to subnet %s.", b.Address, s.ID)
	}
	chooseServer(e, b, s.ID)
	return nil
}

// chooseServer chooses the router that serves a load balancer where several could.
func chooseServer(e *edit, b *config.LoadBalancer, subnet config.ID) {
	if leading := routersIn(e, b.Network, subnet); len(leading) > 1 { // or else the Draft finds the one
		b.Router = chooseRouter(e, leading, &config.FloatingIP{}, subnet)
	}
}

// placeAtPort gives a load balancer an address of the port that a user has made for it.
func placeAtPort(e *edit, b *config.LoadBalancer, network, subnet config.ID) error {
	p := e.Port(b.Port)
	switch {
	case p == nil:
		return malformed("Port %s not found.", b.Port)
	case slices.Contains(serverOwners, p.DeviceOwner):
		return malformed("Port %s has device owner %s, so it cannot have the VIP.", p.ID, p.DeviceOwner)
	case e.LoadBalancerAt(p.ID) != nil:
		return conflict("Conflict", "Port %s is already used by load balancer %s.", p.ID, e.LoadBalancerAt(p.ID).ID)
	case network != "" && network != p.Network:
		return malformed("Port %s is not one of network %s.", p.ID, network)
	}
	for _, f := range p.FixedIPs {
		if (subnet == "" || f.Subnet == subnet) && (!b.Address.IsValid() || f.Address == b.Address) {
			b.Network, b.Address = p.Network, f.Address
			chooseServer(e, b, f.Subnet)
			return nil
		}
	}
	return malformed("Port %s has no address that the VIP could have.", p.ID)
}

// showTree is a new load balancer with all that was made below it.
func showTree(m *mounted[*config.LoadBalancer], r reader, b *config.LoadBalancer, _ map[string]any) map[string]any {
	of := &m.api.balancing
	pool := func(p *config.Pool) map[string]any {
		out := of.pools.render(r, p, nil)
		members := []any{}
		for m := range r.MembersOf(p.ID) {
			members = append(members, of.members.render(r, m, nil))
		}
		out["members"] = members
		if m := r.MonitorOf(p.ID); m != nil {
			out["healthmonitor"] = of.monitors.render(r, m, nil)
		}
		return out
	}
	out := m.render(r, b, nil)
	listeners, pools := []any{}, []any{}
	for l := range r.ListenersOf(b.ID) {
		one := of.listeners.render(r, l, nil)
		if p := r.Pool(l.Pool); p != nil {
			one["default_pool"] = pool(p)
		}
		listeners = append(listeners, one)
	}
	for _, p := range poolsUnder(r, b) {
		pools = append(pools, pool(p))
	}
	out["listeners"], out["pools"] = listeners, pools
	return out
}

// removeBalancer takes away a load balancer and its port, and with cascade all that is below it.
func removeBalancer(e *edit, b *config.LoadBalancer) error {
	cascade := false
	if text := e.request.URL.Query().Get("cascade"); text != "" {
		v, err := flag.read(text)
		if err != nil {
			return invalid("cascade", "%v.", err)
		}
		cascade = v.(bool)
	}
	listeners, pools := slices.Collect(e.ListenersOf(b.ID)), slices.Collect(e.PoolsOf(b.ID))
	if len(listeners)+len(pools) > 0 && !cascade {
		return malformed("Cannot delete Load Balancer %s - it has children", b.ID)
	}
	for _, l := range listeners {
		if err := e.own(l, ""); err != nil {
			return err
		}
		e.Delete(l.Ref())
	}
	for _, p := range pools {
		if err := e.own(p, ""); err != nil {
			return err
		}
		e.Delete(p.Ref())
	}
	fixed := config.FixedIP{Address: b.Address}
	if s := e.SubnetAt(b.Network, b.Address); s != nil {
		fixed.Subnet = s.ID
	}
	if b.Port == "" { // or else the address stays, and what leads to it
		if err := release(e, b.Network, fixed); err != nil {
			return err
		}
	}
	e.Delete(b.Ref())
	return nil
}
