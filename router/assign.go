package router

import (
	"runtime"
	"slices"
)

// A shard is a worker with its share of the routers and networks.
type shard struct {
	*worker
	networks []*network
	routers  []*vrouter
	scratch  scratch // of the routers
}

// workersFor is how many workers serve a plan: as many as were asked for, else one
// for two processors (the other one is for those who send and receive), but never
// more than there is to share out.
func (p *plan) workersFor(asked int) int {
	if asked <= 0 {
		asked = max(1, runtime.NumCPU()/2)
	}
	return max(1, min(asked, len(p.groups())))
}

// groups are the routers that must have the same worker: those that share a
// network inside. What they share outside, one worker reads for the others. A
// network without routers is a group of its own.
func (p *plan) groups() [][]*vrouter {
	var groups [][]*vrouter
	for _, r := range p.routers {
		groups = append(groups, []*vrouter{r})
	}
	for _, n := range p.networks {
		if n.external {
			continue
		}
		var joined []*vrouter
		groups = slices.DeleteFunc(groups, func(g []*vrouter) bool {
			on := slices.ContainsFunc(g, func(r *vrouter) bool { return r.on(n) })
			if on {
				joined = append(joined, g...)
			}
			return on
		})
		if len(joined) > 0 {
			groups = append(groups, joined)
		}
	}
	for _, n := range p.networks {
		if len(n.routers) == 0 {
			groups = append(groups, nil)
		}
	}
	return groups
}

// on reports whether a router has an interface on a network.
func (r *vrouter) on(n *network) bool {
	return slices.ContainsFunc(r.ifaces[1:], func(i *iface) bool { return i.network == n })
}

// assign shares the routers and networks out among the workers. A network is read
// by the worker of its routers; where several have routers there, by the one with
// the fewest networks.
func (p *plan) assign(shards []*shard) {
	for _, g := range p.groups() {
		if len(g) == 0 {
			continue
		}
		w := slices.MinFunc(shards, func(a, b *shard) int { return len(a.routers) - len(b.routers) })
		for _, r := range g {
			r.worker, r.scratch = w.worker, &w.scratch
			w.tables = append(w.tables, r)
			w.routers = append(w.routers, r)
		}
	}
	fewest := func(a, b *shard) int { return len(a.networks) - len(b.networks) }
	networks := slices.Concat(p.networks, p.internal)
	var all stations
	for _, n := range networks {
		var may []*shard
		for _, i := range interfaces(n) {
			i.station.worker = i.router.worker
			may = append(may, shards[slices.IndexFunc(shards,
				func(s *shard) bool { return s.worker == i.station.worker })])
		}
		if len(may) == 0 {
			may = shards
		}
		reads := slices.MinFunc(may, fewest)
		reads.networks = append(reads.networks, n)
		n.home = reads.worker
		for _, s := range n.services {
			s.worker = n.home
		}
		for _, s := range n.stations() {
			s.number = uint32(len(all))
			all = append(all, s)
		}
		n.publishStations()
	}
	connect(networks)
	for _, w := range shards {
		w.accept = all.accept
	}
}
