package router

import (
	"runtime"
	"slices"

	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A shard is a worker with the routers and networks that belong to it. Its fields are the worker's.
type shard struct {
	*loop.Worker
	networks []*wire.Network
	routers  []*ip.Router
	scratch  ip.Scratch // of the routers
}

// shardOf is the shard of a worker.
func (e *Engine) shardOf(w *loop.Worker) *shard {
	for _, s := range e.workers {
		if s.Worker == w {
			return s
		}
	}
	return nil
}

// workersAsked is how many workers there may be: as many as were asked for, else one for two processors (the other
// processor is for the programs that send and receive).
func (p *Prepared) workersAsked() int {
	if asked := p.to.Settings().Engine.Workers; asked > 0 {
		return asked
	}
	if p.e.sim != nil {
		return 1
	}
	return max(1, runtime.NumCPU()/2)
}

// An assignment distributes the routers and networks that come over the workers. Routers on the same internal
// network should have the same worker. An external network of several routers is read by one worker for the others.
type assignment struct {
	*Prepared
	shards   []*shard
	routers  map[*shard]int              // how many each shard has, with those that come
	networks map[*shard]int              // how many each shard has, with those that come
	parent   map[*ip.Router]*ip.Router   // makes trees of the routers that come and share networks; see group and find
	bound    map[*ip.Router]*loop.Worker // by a router of a group: the worker that reads a network of it already
	shares   shares
}

// assign gives the routers and networks that come their workers.
func (p *Prepared) assign() error {
	isNew := func(c *routerPlan) bool { return c.IsNew }
	if len(p.e.workers) > 0 && len(p.networks) == 0 && !slices.ContainsFunc(p.routers, isNew) {
		return nil // nothing comes
	}
	a := &assignment{
		Prepared: p, shards: slices.Clone(p.e.workers), routers: map[*shard]int{}, networks: map[*shard]int{},
		parent: map[*ip.Router]*ip.Router{}, bound: map[*ip.Router]*loop.Worker{},
	}
	if err := a.share(); err != nil {
		return err
	}
	for _, w := range a.shards {
		a.routers[w], a.networks[w] = len(w.routers), len(w.networks)
	}
	if err := a.hire(a.group()); err != nil {
		return err
	}
	a.assignRouters()
	a.assignNetworks()
	p.connect()
	return nil
}

// group finds the routers that come and share internal networks, with each other or with routers that are there. It
// returns for how many more workers there is use: one for each group that has no worker, and for each network without
// a router.
func (a *assignment) group() int {
	first := map[*wire.Network]*ip.Router{}
	groups := map[*ip.Router]bool{}
	for _, c := range a.Prepared.routers {
		r := c.Router
		if !c.IsNew {
			continue
		}
		a.parent[r] = r
		for _, i := range c.Come {
			n := i.Network
			if n.External || i.Checks {
				continue
			}
			if other := first[n]; other != nil {
				a.parent[a.find(r)] = a.find(other)
			} else {
				first[n] = r
			}
			if w := n.PreferredWorker(); w != nil && a.bound[a.find(r)] == nil {
				a.bound[a.find(r)] = w
			}
		}
	}
	use := 0
	for r := range a.parent {
		if g := a.find(r); !groups[g] {
			groups[g] = true
			if a.worker(r) == nil {
				use++
			}
		}
	}
	more := map[carrier]bool{} // of networks without a router that share devices
	for _, c := range a.Prepared.networks {
		if c.isNew && !slices.ContainsFunc(c.stationsCome, isInterface) {
			switch k := a.shares.of(c); {
			case k == carrier{}:
				use++
			case a.shares.bound[k] == nil && !more[k]:
				more[k] = true
				use++
			}
		}
	}
	return use
}

// find is the router that stands for the group of a router.
func (a *assignment) find(r *ip.Router) *ip.Router {
	for a.parent[r] != r {
		a.parent[r] = a.parent[a.parent[r]]
		r = a.parent[r]
	}
	return r
}

// worker is the worker of a router's group, nil if the group has none yet.
func (a *assignment) worker(r *ip.Router) *loop.Worker {
	g := a.find(r)
	for m, w := range a.bound {
		if a.find(m) == g {
			return w
		}
	}
	return nil
}

// hire makes workers for so many groups, up to the number that was asked for.
func (a *assignment) hire(use int) error {
	for most := min(a.workersAsked(), len(a.shards)+use); len(a.shards) < max(1, most); {
		w, err := loop.NewWorker(a.e.log, a.e.waits)
		if err != nil {
			return err
		}
		a.e.equip(w)
		s := &shard{Worker: w}
		a.shards, a.workers = append(a.shards, s), append(a.workers, s)
	}
	return nil
}

// assignRouters gives the routers that come to workers: all routers of a group to one, the worker with the fewest
// routers.
func (a *assignment) assignRouters() {
	for _, c := range a.Prepared.routers {
		r := c.Router
		if !c.IsNew {
			continue
		}
		w := a.shard(a.bound[a.find(r)])
		if w == nil {
			w = slices.MinFunc(a.shards, func(x, y *shard) int { return a.routers[x] - a.routers[y] })
			a.bound[a.find(r)] = w.Worker
		}
		r.Worker, r.Scratch = w.Worker, &w.scratch
		a.routers[w]++
	}
}

// shard is the shard of a worker, those of workers that come included; nil: there is none.
func (a *assignment) shard(w *loop.Worker) *shard {
	for _, s := range a.shards {
		if s.Worker == w {
			return s
		}
	}
	return nil
}

// assignNetworks gives the networks that come to workers. A network that shares devices with others has their worker.
// Any other network is read by a worker of its routers. If these have several workers, it is the one with the fewest
// networks.
func (a *assignment) assignNetworks() {
	for _, c := range a.Prepared.networks {
		k := a.shares.of(c)
		if w := a.shares.bound[k]; c.isNew && w != nil {
			c.network.Home = w
			a.networks[a.shard(w)]++
		} else if n := c.network; c.isNew {
			may := a.shards
			for k, s := range c.stationsCome {
				if i, ok := s.Owner.(*ip.Interface); ok {
					if k == 0 {
						may = nil
					}
					may = append(may, a.shard(i.Router.Worker))
				}
			}
			home := slices.MinFunc(may, func(x, y *shard) int { return a.networks[x] - a.networks[y] })
			a.networks[home]++
			n.Home = home.Worker
			if k != (carrier{}) {
				a.shares.bound[k] = home.Worker
			}
		}
		for _, s := range c.stationsCome {
			if s.Worker = c.network.Home; isInterface(s) {
				s.Worker = s.Owner.(*ip.Interface).Router.Worker
			}
		}
	}
}

// A ringKey is the way from one worker to another.
type ringKey struct{ from, to *loop.Worker }

// A boxKey is a network together with another worker that sends to it.
type boxKey struct {
	network *wire.Network
	from    *loop.Worker
}

// connect gives the stations that come their rings and outboxes, if their worker is not the one that reads the network.
func (p *Prepared) connect() {
	e := p.e
	each := func(fn func(s *wire.Station, in, out ringKey)) {
		for _, c := range p.networks {
			for _, s := range c.stationsCome {
				if home := c.network.Home; s.Worker != home {
					fn(s, ringKey{home, s.Worker}, ringKey{s.Worker, home})
				}
			}
		}
	}
	wanted := map[ringKey]bool{}
	each(func(_ *wire.Station, in, out ringKey) {
		for _, k := range [...]ringKey{in, out} {
			if e.rings[k] == nil {
				wanted[k] = true
			}
		}
	})
	length := loop.HandoverLen(len(e.rings) + len(wanted))
	p.rings = make(map[ringKey]*loop.Handover, len(wanted))
	for k := range wanted {
		p.rings[k] = loop.NewHandover(k.to, length)
	}
	p.boxes = map[boxKey]*loop.Outbox{}
	each(func(s *wire.Station, in, out ringKey) {
		s.Inward, s.Outward = cmpOr(e.rings[in], p.rings[in]), cmpOr(e.rings[out], p.rings[out])
		k := boxKey{s.Network, s.Worker}
		if s.Outbox = cmpOr(e.boxes[k], p.boxes[k]); s.Outbox == nil {
			s.Outbox = &loop.Outbox{}
			p.boxes[k] = s.Outbox
		}
	})
}

func cmpOr[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// register lets the workers know the stations and rings that come, and takes the workers that come into service.
func (p *Prepared) register() {
	e := p.e
	come := len(p.workers) + len(p.rings)
	for _, c := range p.networks {
		for _, s := range c.stationsCome {
			s.Number = e.receivers.Add(s)
			come++
		}
	}
	for _, w := range p.workers {
		e.workers = append(e.workers[:len(e.workers):len(e.workers)], w)
		if e.running {
			w.Direct = false
			go w.Run()
		}
	}
	for k, ring := range p.rings {
		e.rings[k] = ring
	}
	if come == 0 && !p.touched.engine {
		return
	}
	all := e.receivers.List()
	poll := p.to.Settings().Engine.BusyPoll
	e.each(func(w *shard) {
		w.Receivers, w.BusyPoll = all, poll
		for k, ring := range p.rings {
			if k.to == w.Worker {
				w.Inbox = append(w.Inbox[:len(w.Inbox):len(w.Inbox)], ring)
			}
		}
		for k, box := range p.boxes {
			if k.from == w.Worker {
				w.Outboxes = append(w.Outboxes[:len(w.Outboxes):len(w.Outboxes)], box)
			}
		}
	})
	for k, box := range p.boxes {
		e.boxes[k] = box
	}
}

// unregister has the workers forget the stations that are gone.
func (p *Prepared) unregister() {
	e := p.e
	left := map[*wire.Network][]*wire.Station{}
	for _, c := range p.networks {
		for _, s := range c.stationsLeft {
			e.receivers.Remove(s.Number)
			left[c.network] = append(left[c.network], s)
		}
	}
	if len(left) == 0 {
		return
	}
	gone := map[boxKey]*loop.Outbox{}
	for n, stations := range left {
		for _, s := range stations {
			k := boxKey{n, s.Worker}
			others := slices.ContainsFunc(n.Stations(), func(o *wire.Station) bool { return o.Worker == s.Worker })
			if box := e.boxes[k]; box != nil && !others {
				gone[k] = box
				delete(e.boxes, k)
			}
		}
	}
	all := e.receivers.List()
	e.each(func(w *shard) {
		w.Receivers = all
		for k, box := range gone {
			if k.from == w.Worker {
				box.Write(&w.Turn)
				w.Outboxes = loop.Without(w.Outboxes, box)
			}
		}
	})
	for k, box := range gone { // what was sent stays in the count of the device
		home, link, sent := k.network.Home, box.Link, box.Stats
		if box.Seen != nil {
			home.Post(func() {
				link.Stats.TxFrames += sent.TxFrames
				link.Stats.TxBytes += sent.TxBytes
				link.Stats.Lost += sent.Lost
			})
		}
	}
}
