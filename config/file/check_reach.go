package file

import (
	"math"
	"net/netip"
	"slices"
)

// A reachTable says which routers are where, when all links are known. Routers are
// places in the list of domains, in its order.
type reachTable struct {
	on       map[string]*prefixTable[[]int] // by network: the routers with a link of a prefix
	beyond   map[string]*prefixTable[[]int] // by the network of their gateway: those with a tenant network's link
	gateways map[string][]int               // by the network of their gateway
	unsure   bool                           // one of them is
}

func (c *checker) newReachTable() *reachTable {
	t := &reachTable{
		on: map[string]*prefixTable[[]int]{}, beyond: map[string]*prefixTable[[]int]{}, gateways: map[string][]int{},
	}
	add := func(to map[string]*prefixTable[[]int], network string, p netip.Prefix, router int) {
		if to[network] == nil {
			to[network] = &prefixTable[[]int]{}
		}
		routers := to[network].at[p.Masked()]
		if n := len(routers); n == 0 || routers[n-1] != router {
			to[network].add(p, append(routers, router))
		}
	}
	for i, d := range c.domains {
		t.unsure = t.unsure || d.unsure
		if d.Gateway != nil {
			t.gateways[d.Gateway.Network] = append(t.gateways[d.Gateway.Network], i)
		}
		for k := range d.links {
			l := &d.links[k]
			add(t.on, l.network, l.prefix, i)
			if d.Gateway != nil && !l.external {
				add(t.beyond, d.Gateway.Network, l.prefix, i)
			}
		}
	}
	return t
}

// around are the routers with a link around an address, but of each prefix no more than most.
func around(table *prefixTable[[]int], a netip.Addr, most int) []int {
	var all []int
	for routers := range table.around(a) {
		routers = routers[:min(len(routers), most)]
		if all == nil {
			all = routers
			continue
		}
		all = slices.Concat(all, routers)
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

// serving are the first routers with a link of a network around an address: as many as a message lists.
func (t *reachTable) serving(network string, a netip.Addr) []int {
	if t.on[network] == nil {
		return nil
	}
	return around(t.on[network], a, maxListed+1)
}

// behind are routers with a gateway on a network and a link around one of the targets: the
// one that the fewest have.
func (t *reachTable) behind(network string, targets []target) []int {
	table := t.beyond[network]
	switch {
	case table == nil:
		return nil
	case len(targets) == 1:
		return around(table, targets[0].ip, maxListed+1)
	}
	best, least := targets[0].ip, math.MaxInt
	for _, target := range targets {
		n := 0
		for routers := range table.around(target.ip) {
			n += len(routers)
		}
		if n < least {
			best, least = target.ip, n
		}
	}
	return around(table, best, math.MaxInt)
}
