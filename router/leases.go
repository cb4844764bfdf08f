package router

import (
	"net/netip"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dhcp"
)

// In this file others see, end and keep the dynamic leases of DHCP. A lease is no part of the State: it is an entry of
// a table of its network, and is kept by Options.LeaseKeeper before its client is told.

// A Lease is a dynamic lease of DHCP: an address of a pool that a host has for a while.
type Lease = dhcp.Lease

// A LeaseChange is a lease that a LeaseKeeper has to write down, or that is gone.
type LeaseChange = dhcp.Change

// A LeaseKeeper writes leases down. One that is made for a store is in package router/control/store.
type LeaseKeeper = dhcp.Keeper

// newLeases makes the table of leases of an engine.
func newLeases(e *Engine) *dhcp.Leases {
	changed := func(c []dhcp.Change) { bindLeases(e, c) }
	l := dhcp.New(dhcp.Options{Keeper: e.opt.LeaseKeeper, Changed: changed, Say: func(network, text string) {
		name := network
		if n := e.State().Network(config.ID(network)); n != nil && n.Name != "" {
			name = n.Name
		}
		e.log.Warn("DHCP: "+text, "network", name)
	}})
	l.Load(e.opt.Leases)
	return l
}

// forgetLeases ends the leases of networks that a State does not have.
func forgetLeases(e *Engine, s *config.State) {
	for _, network := range e.leases.Networks() {
		if s.Network(config.ID(network)) != nil {
			continue
		}
		if err := e.leases.Forget(e.runner.Now(), network); err != nil {
			e.log.Warn("leases of a network that is gone are kept until they end", "network", network, "err", err)
		}
	}
}

// Leases lists the dynamic leases of all networks, by network and address.
func (e *Engine) Leases() []Lease { return e.leases.List(e.runner.Now()) }

// LeaseHolder finds the host that an address of a network is leased to, by its MAC address.
func (e *Engine) LeaseHolder(network config.ID, a netip.Addr) (config.MAC, bool) {
	l, found := e.leases.Holder(e.runner.Now(), string(network), a)
	return config.MAC(l.MAC), found
}

// ReleaseLease ends the lease of an address of a network, and returns it. The host learns of it when it renews the
// lease; until then it goes on to use the address. It reports false if there is no such lease.
func (e *Engine) ReleaseLease(network config.ID, a netip.Addr) (Lease, bool, error) {
	return e.leases.Release(e.runner.Now(), string(network), a)
}

// HoldLeases keeps addresses from being leased until release is called. It waits for leases that are being written
// down.
func (e *Engine) HoldLeases() (release func()) { return e.leases.Hold() }

// ClaimAddresses keeps the addresses that changes of the State give to objects from being leased, until done is called.
// An address that is leased to another host by then stays so until its host renews the lease.
func (e *Engine) ClaimAddresses(from, to *config.State, changes []config.Change) (done func()) {
	var claims []dhcp.Claim
	leases := map[config.ID]bool{} // whether a network has DHCP
	for _, c := range changes {
		if c.After == nil {
			continue
		}
		var mac config.MAC
		if p, isPort := c.After.(*config.Port); isPort {
			mac = p.MAC
		}
		for network, a := range to.Addresses(c.After) {
			if _, known := leases[network]; !known {
				leases[network] = hasDHCP(to, network)
			}
			if leases[network] && a.Is4() && from.Owner(network, a) == nil {
				claims = append(claims, dhcp.Claim{Network: string(network), Address: a, MAC: mac})
			}
		}
	}
	return e.leases.ClaimAll(e.runner.Now(), claims)
}

// hasDHCP says whether a subnet of a network has DHCP.
func hasDHCP(s *config.State, network config.ID) bool {
	for sub := range s.SubnetsOf(network) {
		if sub.DHCP {
			return true
		}
	}
	return false
}

// LeaseStats are the statistics of DHCP on a network.
type LeaseStats struct {
	Network  config.ID
	Name     string            // of the network; may be empty
	Leases   int               // dynamic ones
	Messages map[string]uint64 // by what has become of them: offered, acknowledged, refused ...
	Pools    []LeasePoolStats  // of the IPv4 subnets with DHCP
}

// LeasePoolStats are the allocation pools of one subnet.
type LeasePoolStats struct {
	Subnet config.ID
	CIDR   netip.Prefix
	Size   uint64 // addresses
	Used   uint64 // of them by objects, and by hosts with a lease or an offer, or in quarantine
}

// LeaseStats returns the statistics of DHCP, of the networks that have it.
func (i *Inspector) LeaseStats() []LeaseStats {
	e := i.engine
	s := e.State()
	var list []LeaseStats
	for n := range s.Networks() {
		if !hasDHCP(s, n.ID) {
			continue
		}
		c, subnets := poolsOf(s, n.ID, func(sub *config.Subnet) bool { return sub.DHCP })
		st := e.leases.Server(string(n.ID)).Stats(c)
		l := LeaseStats{Network: n.ID, Name: n.Name, Leases: st.Leases, Messages: map[string]uint64{}}
		for r, count := range st.Counts {
			l.Messages[dhcp.Reason(r).String()] = count
		}
		for k, p := range st.Pools {
			l.Pools = append(l.Pools, LeasePoolStats{subnets[k], p.CIDR, p.Size, p.Used})
		}
		list = append(list, l)
	}
	return list
}

// A FullPool is a subnet whose allocation pools have no free address: what needs one has to wait, or is refused.
type FullPool struct {
	Network config.ID
	Name    string // of the network; may be empty
	Subnet  config.ID
	CIDR    netip.Prefix
	Size    uint64 // addresses of the pools
}

// FullPools lists the IPv4 subnets whose allocation pools are full: objects have the addresses, or hosts with a lease
// of DHCP.
func (i *Inspector) FullPools() []FullPool {
	e := i.engine
	s := e.State()
	var list []FullPool
	for n := range s.Networks() {
		c, subnets := poolsOf(s, n.ID, func(*config.Subnet) bool { return true })
		var pools []dhcp.PoolStats
		if hasDHCP(s, n.ID) {
			pools = e.leases.Server(string(n.ID)).Stats(c).Pools
		} else {
			pools = dhcp.PoolsOf(c)
		}
		for k, p := range pools {
			if p.Size > 0 && p.Used >= p.Size {
				list = append(list, FullPool{n.ID, n.Name, subnets[k], p.CIDR, p.Size})
			}
		}
	}
	return list
}

// poolsOf is as much of a network's Config as statistics need, and its IPv4 subnets, as far as they are asked for. A
// gateway is given to nobody, whether an object has its address or not.
func poolsOf(s *config.State, network config.ID, asked func(*config.Subnet) bool) (*dhcp.Config, []config.ID) {
	c := &dhcp.Config{
		Taken: func(a netip.Addr) bool { return s.Owner(network, a) != nil || s.IsGatewayAddress(network, a) },
		TakenIn: func(first, last netip.Addr) int {
			taken := s.CountAddresses(network, first, last)
			for sub := range s.SubnetsOf(network) {
				g := sub.Gateway
				if g.Is4() && !g.Less(first) && !last.Less(g) && s.Owner(network, g) == nil {
					taken++
				}
			}
			return taken
		},
	}
	var ids []config.ID
	for sub := range s.SubnetsOf(network) {
		if !asked(sub) || !sub.CIDR.Addr().Is4() {
			continue
		}
		d := dhcp.Subnet{CIDR: sub.CIDR}
		for _, r := range sub.AllocationPools {
			d.Pools = append(d.Pools, dhcp.Range{First: r.First, Last: r.Last})
		}
		c.Subnets, ids = append(c.Subnets, d), append(ids, sub.ID)
	}
	return c, ids
}
