package router

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A State that the engine serves is followed by another one in these steps:
//
//	Prepare  the difference; what it means for each router and network; devices, hosts and tables that come
//	Commit   workers learn the stations and rings by which they hand over frames
//	         addresses that go; routers, a few of a worker at a time: rules, interfaces, VIPs, pools, settling
//	         addresses that come; networks: port rules, stations, devices; announcements
//	         routers that end; devices that go; monitors
//
// Everything that can fail is in Prepare. Starting is the same, from the empty State.

// A Prepared is a State that the engine is ready to serve. One of Commit and Discard must be called, once.
type Prepared struct {
	e         *Engine
	to        *config.State
	changes   []config.Change
	touched   *touched
	routers   []*routerPlan
	networks  []*networkChange
	rules     []portRulesChange
	byID      map[wire.ID]*networkChange // of networks of a State, without those of checks
	byNetwork map[*wire.Network]*networkChange
	pools     map[config.ID]*ip.Pool     // pools that the change touches
	numbers   map[wire.ID]memberNumber   // of the members of these pools
	workers   []*shard                   // workers that come
	rings     map[ringKey]*loop.Handover // rings that come
	boxes     map[boxKey]*loop.Outbox    // outboxes that come
	devices   []*deviceChange
	byDevice  map[config.Device]*deviceChange
	services  []*serviceChange      // local services that come, change and go
	quiet     bool                  // nothing is announced
	spoke     map[*loop.Worker]bool // workers that have announcements, or send them on

	unserved config.Faults // warnings: what is kept, but not obeyed
}

// A memberNumber is the number that a member has for as long as its endpoint is the same.
type memberNumber struct {
	number uint32
	netip.AddrPort
}

// State returns the State that is served. Any goroutine may call it.
func (e *Engine) State() *config.State { return e.state.Load() }

// Apply has the engine serve another State: it is Prepare and Commit.
func (e *Engine) Apply(ctx context.Context, to *config.State) (Report, error) {
	p, err := e.Prepare(ctx, to)
	if err != nil {
		return Report{}, err
	}
	return p.Commit(), nil
}

// Prepare gets everything ready to serve another State, and changes nothing that is served: it opens devices, builds
// tables and rules. If anything fails, all that was opened is closed again, and the error tells of everything that
// failed. It is a config.Faults if the State asks for something that the engine cannot do, and wraps os.ErrClosed after
// Close. While another Prepared is neither committed nor discarded, Prepare waits, at most until ctx ends.
//
// A device that does not exist yet is no error unless Options.RequireDevices is set: it is opened when it comes.
func (e *Engine) Prepare(ctx context.Context, to *config.State) (*Prepared, error) {
	p, err := e.plan(ctx, to)
	if err != nil {
		return nil, err
	}
	if err := p.open(); err != nil {
		p.Discard()
		return nil, err
	}
	return p, nil
}

// Plan says what Apply would do, and how many connections it would end, without opening anything.
func (e *Engine) Plan(ctx context.Context, to *config.State) (Report, error) {
	p, err := e.plan(ctx, to)
	if err != nil {
		return Report{}, err
	}
	defer p.Discard()
	return p.Report(), nil
}

// plan works out what another State means. The engine is the plan's until that is committed or discarded.
func (e *Engine) plan(ctx context.Context, to *config.State) (*Prepared, error) {
	select {
	case e.applying <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	from := e.State()
	p := &Prepared{
		e: e, to: to, byID: map[wire.ID]*networkChange{},
		byNetwork: map[*wire.Network]*networkChange{}, pools: map[config.ID]*ip.Pool{},
		numbers: map[wire.ID]memberNumber{}, byDevice: map[config.Device]*deviceChange{},
	}
	if err := p.planAll(from); err != nil {
		p.Discard()
		return nil, err
	}
	return p, nil
}

// isEmpty reports whether a State is that of an engine that has just been made.
func isEmpty(s *config.State) bool { return s.Version() == 0 }

func (p *Prepared) planAll(from *config.State) error {
	if p.e.closed.Load() {
		return os.ErrClosed
	}
	var faults config.Faults
	if isEmpty(from) {
		faults, p.touched = Unsupported(p.to), touchedAtFirst(from, p.to)
	} else {
		p.changes = config.Diff(from, p.to)
		faults, p.touched = unsupportedBy(p.to, p.changes), touchedBy(from, p.to, p.changes)
	}
	if err := faults.Err(); err != nil {
		return err
	}
	p.unserved = faults
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.planNetworks()
	planRules(p)
	if err := p.planRouters(); err != nil {
		return err
	}
	p.planStations()
	if err := p.assign(); err != nil {
		return err
	}
	planLinks(p)
	return nil
}

// planStations finds the stations of networks that come and go.
func (p *Prepared) planStations() {
	for _, c := range p.routers {
		for _, i := range c.Come {
			p.networkChange(i.Network).come(&i.Station)
		}
		for _, i := range c.Left {
			p.networkChange(i.Network).left(&i.Station)
		}
		if c.was != nil && (c.checks != nil || c.Gone) {
			n := p.networkChange(c.was.network)
			n.left(&c.was.service.Station)
			n.gone = true
		}
		if c.checks != nil && c.checks.checker != nil {
			p.networkChange(c.checks.network).come(&c.checks.service.Station)
		}
	}
	planServices(p)
	for _, n := range p.networks {
		n.list()
	}
}

// planRouters works out the changes of routers: those that go first.
func (p *Prepared) planRouters() error {
	for _, ch := range p.changes {
		if r := p.e.routers[wire.ID(ch.Ref.ID)]; r != nil && ch.Ref.Kind == config.KindRouter && ch.After == nil {
			p.routers = append(p.routers, &routerPlan{Change: r.PlanEnd(), p: p, was: p.e.checkers[r]})
		}
	}
	gone := len(p.routers)
	all := inOrder(p.touched.routers, p.to.Router)
	p.routers = append(p.routers, make([]*routerPlan, len(all))...)
	changes := p.routers[gone:]
	spread(len(all), func(k int) { changes[k] = p.changeRouter(all[k], p.touched.routers[all[k].ID]) })
	for k, c := range changes { // one after the other, as pools and members are common to routers
		if err := c.planParts(all[k]); err != nil {
			p.routers = p.routers[:gone+k+1]
			return fmt.Errorf("router %q: %w", all[k].Name, err)
		}
	}
	spread(len(changes), func(k int) { changes[k].PlanRules() })
	return nil
}

// spreadFrom is how many things make it worthwhile to have several goroutines do them.
const spreadFrom = 128

// spread calls fn for the numbers below n. If they are many, several goroutines do it, in any order.
func spread(n int, fn func(k int)) {
	if n < spreadFrom {
		for k := range n {
			fn(k)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for k := int(next.Add(1)) - 1; k < n; k = int(next.Add(1)) - 1 {
				fn(k)
			}
		})
	}
	all.Wait()
}

// inOrder returns the objects with the IDs of a set, in the order of their positions. find returns nil for an ID whose
// object is gone.
func inOrder[V any, T config.Object](set map[config.ID]V, find func(config.ID) T) []T {
	var all []T
	for of := range set {
		if o := find(of); any(o) != any(*new(T)) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b T) int {
		return cmp.Or(cmp.Compare(a.About().Position, b.About().Position), cmp.Compare(a.About().ID, b.About().ID))
	})
	return all
}

// pool is a pool as the State has it.
func (p *Prepared) pool(of config.ID) *ip.Pool {
	if q := p.pools[of]; q != nil {
		return q
	}
	if q := p.e.pools[of]; q != nil && !p.touched.pools[of] {
		return q
	}
	q := poolOf(p.to, of, p.e.pools[of], p.number)
	p.pools[of] = q
	return q
}

// number is the number of a member at an endpoint: the number that it has there, or one that no member has ever had.
func (p *Prepared) number(of wire.ID, at netip.AddrPort) uint32 {
	n, ok := p.numbers[of]
	if !ok {
		n, ok = p.e.numbers[of]
	}
	if !ok || n.AddrPort != at {
		n = memberNumber{p.e.members, at}
		p.e.members++
	}
	p.numbers[of] = n
	return n.number
}

// Discard closes everything that was prepared. The engine goes on serving the State that it serves.
func (p *Prepared) Discard() {
	var unused []tap.Device
	for _, d := range p.devices {
		if d.dev != nil {
			unused = append(unused, d.dev)
		}
	}
	loop.CloseAll(unused, nil)
	for _, c := range p.routers {
		if c.checks != nil && c.checks.checker != nil {
			_ = c.checks.host.Close() // its device is in memory
		}
	}
	for _, c := range p.routers {
		if c.IsNew && c.Router.Arena != nil {
			_ = c.Router.Arena.Close() // the memory goes with the router
		}
	}
	for _, w := range p.workers {
		w.Stop()
		w.Waiter.Close()
	}
	<-p.e.applying
}

// Commit has the engine serve the State. It cannot fail. When it returns, new connections obey, and objects that were
// taken away are gone.
//
// After Close it changes nothing.
func (p *Prepared) Commit() Report {
	e := p.e
	report := p.report()
	e.mu.Lock()
	if e.closed.Load() {
		e.mu.Unlock()
		p.Discard()
		return report
	}
	p.commit()
	p.monitor()
	e.events.tell(Event{Kind: Applied, State: p.to})
	for _, f := range p.unserved {
		e.log.Warn("kept, but not obeyed", "err", f.String())
	}
	e.mu.Unlock()
	<-e.applying
	return report
}

// report is a Report without counts.
func (p *Prepared) report() Report {
	r := Report{From: p.e.State(), To: p.to, Changes: p.changes}
	if isEmpty(r.From) {
		r.Changes = config.Diff(r.From, r.To)
	}
	return r
}

// commit is Commit but for the checks of members.
func (p *Prepared) commit() {
	p.register()
	p.disown()
	p.changeRouters()
	p.own()
	changeServices(p)
	obeyRules(p)
	p.changeNetworks()
	p.announce()
	endServices(p)
	p.endRouters()
	p.unregister()
	p.closeDevices()
	p.remember()
	spoken(p.spoke)
}

// each has every worker run fn, one after the other.
func (e *Engine) each(fn func(w *shard)) {
	for _, w := range e.workers {
		_ = w.Call(func() { fn(w) }) // after Close there is nothing to change
	}
}

// disown takes the addresses that go out of the directories of networks.
func (p *Prepared) disown() {
	for _, c := range p.routers {
		for _, a := range c.Moved.Lost {
			a.At.Network.Directory.Disown(a.Addr, &a.At.Station)
		}
	}
}

// own enters the addresses that come into the directories of networks.
func (p *Prepared) own() {
	for _, c := range p.routers {
		for _, a := range c.Moved.Gained {
			a.At.Network.Directory.Own(a.Addr, &a.At.Station)
		}
	}
}

// atOnce is how many routers change in one turn of their worker.
const atOnce = 16

// changeRouters has the workers make the changes of their routers.
func (p *Prepared) changeRouters() {
	byWorker := map[*shard][]*routerPlan{}
	for _, c := range p.routers {
		w := p.e.shardOf(c.Router.Worker)
		byWorker[w] = append(byWorker[w], c)
	}
	for _, w := range p.e.workers {
		for todo := byWorker[w]; len(todo) > 0; {
			if w.Call(func() {
				for range atOnce {
					if len(todo) == 0 || !todo[0].Adopt(&w.Turn) {
						return
					}
					if c := todo[0]; c.IsNew {
						w.Tables = append(w.Tables, c.Router)
						w.routers = append(w.routers, c.Router)
						if p.e.running {
							beginArena(p.e, c.Router)
						}
					}
					todo = todo[1:]
				}
			}) != nil {
				break
			}
		}
	}
}

// endRouters waits until the routers that go have settled their connections: both sides of each have been told.
func (p *Prepared) endRouters() {
	for _, c := range p.routers {
		if !c.Gone {
			continue
		}
		w := p.e.shardOf(c.Router.Worker)
		for done := false; !done; {
			if w.Call(func() {
				if done = c.Router.Settled(&w.Turn); done {
					w.RemoveTable(c.Router)
					w.routers = loop.Without(w.routers, c.Router)
					if a := c.Router.Arena; a != nil {
						a.Clear()
						_ = a.Close() // the memory goes with the router
					}
				}
			}) != nil {
				break
			}
		}
	}
}

// announce has addresses that have come announced to their networks.
func (p *Prepared) announce() {
	if p.quiet {
		return
	}
	for _, n := range p.networks {
		if n.plugged && !n.gone {
			n.network.Announce()
			for _, s := range n.network.Stations() {
				speaks(p, s.Worker, n.network)
			}
			continue
		}
		for _, s := range n.stationsCome {
			s.Worker.Post(func() { s.Owner.NetworkUp(&s.Worker.Turn) })
			speaks(p, s.Worker, n.network)
		}
	}
	for _, c := range p.routers {
		fresh := c.Fresh()
		if w := c.Router.Worker; len(fresh) > 0 {
			for _, a := range fresh {
				speaks(p, w, a.At.Network)
			}
			w.Post(func() {
				for _, a := range fresh {
					a.At.AnnounceFresh(&w.Turn, a.Addr)
				}
			})
		}
	}
}

// speaks notes that a worker has something to announce on a network.
func speaks(p *Prepared, w *loop.Worker, on *wire.Network) {
	if p.spoke == nil {
		p.spoke = map[*loop.Worker]bool{}
	}
	p.spoke[w] = true
	if _, there := p.spoke[on.Home]; !there {
		p.spoke[on.Home] = false // it has nothing to say, but may have to send on what others say
	}
}

// spoken waits until the announcements are with the devices: the caller may tell others of the change next, and
// these may ask at once.
func spoken(spoke map[*loop.Worker]bool) {
	for w, has := range spoke {
		if has {
			written(w)
		}
	}
	if len(spoke) == 1 {
		return
	}
	for w := range spoke { // which send on what others have announced
		written(w)
	}
}

// written waits until a worker has written what it has been given so far. A function runs before the frames of its turn
// are written, so there are two.
func written(w *loop.Worker) {
	for range 2 {
		_ = w.Call(func() {}) // after Close there is nothing to wait for
	}
}

// remember makes the State the one that is served.
func (p *Prepared) remember() {
	e := p.e
	for _, c := range p.routers {
		switch {
		case c.Gone:
			delete(e.routers, c.Router.ID)
		case c.IsNew:
			e.routers[c.Router.ID] = c.Router
		}
	}
	for _, n := range p.networks {
		switch {
		case n.network.ID == checksNetwork:
		case n.gone:
			delete(e.networks, n.network.ID)
			delete(e.devices, n.network)
		case n.isNew:
			e.networks[n.network.ID] = n.network
			e.devices[n.network] = n.ports
		}
	}
	for _, d := range p.devices {
		if e.links[d.spec] = (deviceUse{d.link, d.users}); d.users == 0 {
			delete(e.links, d.spec)
		}
	}
	rememberServices(p)
	for of, q := range p.pools {
		if e.pools[of] = q; p.to.Pool(of) == nil {
			delete(e.pools, of)
		}
	}
	for of, n := range p.numbers {
		e.numbers[of] = n
	}
	for _, ch := range p.changes {
		if ch.Ref.Kind == config.KindMember && ch.After == nil {
			delete(e.numbers, wire.ID(ch.Ref.ID))
		}
	}
	e.watchDevices()
	e.state.Store(p.to)
	others := othersSee(p)
	if others || p.touched.engine {
		e.upstreams.keep(p.to)
	}
	if others {
		e.show()
		if e.sim != nil {
			e.sim.find()
		}
	} else if v := *e.view.Load(); len(p.workers) > 0 {
		v.workers = e.workers
		e.view.Store(&v)
	}
}

// othersSee reports whether the view of the engine changes: networks or routers come, go, or have other names.
func othersSee(p *Prepared) bool {
	for _, c := range p.networks {
		if c.after != nil || c.gone {
			return true
		}
	}
	return slices.ContainsFunc(p.routers, func(c *routerPlan) bool { return c.IsNew || c.Gone })
}

// monitor has members checked as the State says.
func (p *Prepared) monitor() {
	e := p.e
	for _, c := range p.routers {
		r := c.Router
		if c.checks != nil {
			e.upstreams.setHost(r, nil)
			if k := c.checks.checker; k != nil {
				e.checkers[r] = k
				_ = k.service.Worker.Call(func() { k.service.PlugIn(k.network.Name(), k.near) }) // Close ends the host
				e.upstreams.setHost(r, k.host)
			}
		}
		for s := range c.monitored() {
			switch {
			case r.Shares[s.Of.ID] != s: // it has been here before, and is gone
			case c.Gone || len(s.VIPs) == 0:
				endMonitor(e, s)
				delete(r.Shares, s.Of.ID)
			case c.checks != nil:
				monitorShare(e, s, true)
			case c.Updates[s] != nil || c.Shares[s.Of.ID] == s:
				monitorShare(e, s, false)
			}
		}
		if c.was != nil && (c.Gone || c.checks != nil) {
			_ = c.was.host.Close() // its device is in memory
			if e.checkers[r] == c.was {
				delete(e.checkers, r)
				e.upstreams.setHost(r, nil)
			}
		}
	}
}

// monitored are the pools of a router whose checks may change: not all that it has, but where it is new to them itself.
func (c *routerPlan) monitored() iter.Seq[*ip.PoolShare] {
	if c.Gone || c.checks != nil {
		return maps.Values(c.Router.Shares)
	}
	return func(yield func(*ip.PoolShare) bool) {
		for s := range c.Updates {
			if !yield(s) {
				return
			}
		}
		for _, s := range c.Shares {
			if !yield(s) {
				return
			}
		}
		for _, s := range c.Deserted {
			if c.Updates[s] == nil && !yield(s) {
				return
			}
		}
	}
}

// walkStep is how many connections a worker looks at for count before it goes on with its packets.
const walkStep = 1 << 10

// A Report says what a change of the State is.
type Report struct {
	From, To *config.State
	Changes  []config.Change // none: nothing differs
	Counts   []Count         // of connections that the change concerns; set by Plan and Prepared.Report only
}

// A Count is how many connections a change concerns because of one object. The object itself need not have changed.
type Count struct {
	Ref      config.Ref // the object
	Ended    int        // they end
	Kept     int        // they go on until they end, although their member is gone or down
	Repinned int        // their next packet goes to another member
}
