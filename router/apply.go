package router

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A State that the engine serves is followed by another one in these steps:
//
//	Prepare  the difference; what it means for each router and network; devices, hosts and tables that come
//	Commit   workers: what may be taken over, by number (stations, rings)
//	         addresses that go; routers, a few of a worker at a time: rules, interfaces, VIPs, pools, settling
//	         addresses that come; networks: stations, devices; announcements
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
	byID      map[id]*networkChange // of those that a State has
	byNetwork map[*network]*networkChange
	pools     map[config.ID]*pool   // that the change touches
	numbers   map[id]memberNumber   // of their members
	workers   []*shard              // that come
	rings     map[ringKey]*handover // likewise
	boxes     map[boxKey]*outbox    // likewise
	opened    []*newDevice
	quiet     bool // nothing is announced
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
		e: e, to: to, byID: map[id]*networkChange{},
		byNetwork: map[*network]*networkChange{}, pools: map[config.ID]*pool{}, numbers: map[id]memberNumber{},
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
	if len(faults) > 0 {
		return faults
	}
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.planNetworks()
	if err := p.planRouters(); err != nil {
		return err
	}
	p.planStations()
	return p.assign()
}

// planStations finds the stations of networks that come and go.
func (p *Prepared) planStations() {
	for _, c := range p.routers {
		for _, i := range c.come {
			p.networkChange(i.network).come(&i.station)
		}
		for _, i := range c.left {
			p.networkChange(i.network).left(&i.station)
		}
		if c.was != nil && (c.checks != nil || c.gone) {
			n := p.networkChange(c.was.network)
			n.left(&c.was.service.station)
			n.gone = true
		}
		if c.checks != nil && c.checks.checker != nil {
			p.networkChange(c.checks.network).come(&c.checks.service.station)
		}
	}
	for _, n := range p.networks {
		n.list()
	}
}

// planRouters works out the changes of routers: those that go first.
func (p *Prepared) planRouters() error {
	for _, ch := range p.changes {
		if r := p.e.routers[id(ch.Ref.ID)]; r != nil && ch.Ref.Kind == config.KindRouter && ch.After == nil {
			p.routers = append(p.routers, &routerPlan{routerChange: r.planEnd(), p: p, was: p.e.checkers[r]})
		}
	}
	for _, o := range inOrder(p.touched.routers, p.to.Router) {
		c, err := p.changeRouter(o, p.touched.routers[o.ID])
		if err != nil {
			return fmt.Errorf("router %q: %w", o.Name, err)
		}
		p.routers = append(p.routers, c)
	}
	return nil
}

// inOrder gives the objects of a set that are there, in the order of their positions.
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
func (p *Prepared) pool(of config.ID) *pool {
	if q := p.pools[of]; q != nil {
		return q
	}
	if q := p.e.pools[of]; q != nil && !p.touched.pools[of] {
		return q
	}
	q := poolOf(p.to, of, p.number)
	p.pools[of] = q
	return q
}

// number is the number of a member: that which it has, or one that no member has ever had.
func (p *Prepared) number(of id, at netip.AddrPort) uint32 {
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

// Discard gives back what was prepared.
func (p *Prepared) Discard() {
	for _, o := range p.opened {
		if o.dev != nil && o.from == nil {
			_ = o.dev.Close() // nobody has used it
		}
	}
	for _, c := range p.routers {
		if c.checks != nil && c.checks.checker != nil {
			_ = c.checks.host.Close() // its device is in memory
		}
	}
	for _, w := range p.workers {
		w.stop()
		w.wait.close()
	}
	<-p.e.applying
}

// Commit has the engine serve the State. It cannot fail. When it returns, new connections obey, and what was taken away
// is gone.
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
	p.changeNetworks()
	p.announce()
	p.endRouters()
	p.unregister()
	p.closeDevices()
	p.remember()
}

// each has every worker run fn, one after the other.
func (e *Engine) each(fn func(w *shard)) {
	for _, w := range e.workers {
		_ = w.call(func() { fn(w) }) // after Close there is nothing to change
	}
}

// disown has the networks forget who has addresses that go.
func (p *Prepared) disown() {
	for _, c := range p.routers {
		for _, a := range c.moved.lost {
			a.at.network.directory.disown(a.addr, &a.at.station)
		}
	}
}

// own tells the networks who has addresses that come.
func (p *Prepared) own() {
	for _, c := range p.routers {
		for _, a := range c.moved.gained {
			a.at.network.directory.own(a.addr, &a.at.station)
		}
	}
}

// atOnce is how many routers change in one turn of their worker.
const atOnce = 16

// changeRouters has the workers make the changes of their routers.
func (p *Prepared) changeRouters() {
	byWorker := map[*shard][]*routerPlan{}
	for _, c := range p.routers {
		w := p.e.shardOf(c.router.worker)
		byWorker[w] = append(byWorker[w], c)
	}
	for _, w := range p.e.workers {
		for todo := byWorker[w]; len(todo) > 0; {
			if w.call(func() {
				for range atOnce {
					if len(todo) == 0 || !todo[0].adopt(&w.turn) {
						return
					}
					if c := todo[0]; c.isNew {
						w.tables = append(w.tables, c.router)
						w.routers = append(w.routers, c.router)
					}
					todo = todo[1:]
				}
			}) != nil {
				break
			}
		}
	}
}

// endRouters waits until the routers that go have told the ends of their connections.
func (p *Prepared) endRouters() {
	for _, c := range p.routers {
		if !c.gone {
			continue
		}
		w := p.e.shardOf(c.router.worker)
		for done := false; !done; {
			if w.call(func() {
				if done = c.router.settled(&w.turn); done {
					w.removeTable(c.router)
					w.routers = without(w.routers, c.router)
				}
			}) != nil {
				break
			}
		}
	}
}

// announce tells the networks of what has come.
func (p *Prepared) announce() {
	if p.quiet {
		return
	}
	for _, n := range p.networks {
		if n.plugged && !n.gone {
			n.network.announce()
			continue
		}
		for _, s := range n.stationsCome {
			s.worker.post(func() { s.owner.networkUp(&s.worker.turn) })
		}
	}
	for _, c := range p.routers {
		fresh := c.fresh()
		if w := c.router.worker; len(fresh) > 0 {
			w.post(func() {
				for _, a := range fresh {
					a.at.announceFresh(&w.turn, a.addr)
				}
			})
		}
	}
}

// remember makes the State the one that is served.
func (p *Prepared) remember() {
	e := p.e
	for _, c := range p.routers {
		switch {
		case c.gone:
			delete(e.routers, c.router.id)
		case c.isNew:
			e.routers[c.router.id] = c.router
		}
	}
	for _, n := range p.networks {
		switch {
		case n.network.id == checksNetwork:
		case n.gone:
			delete(e.networks, n.network.id)
			delete(e.devices, n.network)
		case n.isNew:
			e.networks[n.network.id] = n.network
			e.devices[n.network] = n.ports
		}
	}
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
			delete(e.numbers, id(ch.Ref.ID))
		}
	}
	e.watchDevices()
	e.state.Store(p.to)
	if othersSee(p) {
		e.show()
		if e.sim != nil {
			e.sim.find()
		}
	} else if v := *e.view.Load(); len(p.workers) > 0 {
		v.workers = e.workers
		e.view.Store(&v)
	}
}

// othersSee reports whether others see anything of a change: networks or routers come, go, or have other names.
func othersSee(p *Prepared) bool {
	for _, c := range p.networks {
		if c.after != nil || c.gone {
			return true
		}
	}
	return slices.ContainsFunc(p.routers, func(c *routerPlan) bool { return c.isNew || c.gone })
}

// monitor has members checked as the State says.
func (p *Prepared) monitor() {
	e := p.e
	for _, c := range p.routers {
		r := c.router
		if c.checks != nil {
			if k := c.checks.checker; k != nil {
				e.checkers[r] = k
				_ = k.service.worker.call(func() { k.service.plugIn(k.network.name(), k.near) }) // Close ends the host
			}
		}
		for of, s := range r.shares {
			switch {
			case c.gone || len(s.vips) == 0:
				e.endMonitor(s)
				delete(r.shares, of)
			case c.checks != nil:
				e.monitorShare(s, true)
			case c.updates[s] != nil || c.shares[of] == s:
				e.monitorShare(s, false)
			}
		}
		if c.was != nil && (c.gone || c.checks != nil) {
			_ = c.was.host.Close() // its device is in memory
			if e.checkers[r] == c.was {
				delete(e.checkers, r)
			}
		}
	}
}

// Report counts the connections of the changed routers that the change concerns, as they are at this moment. The
// workers go on with their packets meanwhile.
func (p *Prepared) Report() Report {
	report := p.report()
	counts := map[config.Ref]*Count{}
	for _, c := range p.routers {
		if !c.isNew {
			c.count(counts)
		}
	}
	for ref, n := range counts {
		if ref.ID == "" {
			continue // of the engine's own: the checks of members
		}
		n.Ref = ref
		report.Counts = append(report.Counts, *n)
	}
	slices.SortFunc(report.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Ref.Kind, b.Ref.Kind), cmp.Compare(a.Ref.ID, b.Ref.ID))
	})
	return report
}

// subjects are the kinds of objects that endings are about.
var subjects = [...]config.Kind{
	aboutRouter: config.KindRouter, aboutPort: config.KindPort, aboutFloatingIP: config.KindFloatingIP,
	aboutListener: config.KindListener, aboutMember: config.KindMember,
}

// count counts the connections of a router that a change concerns.
func (c *routerPlan) count(counts map[config.Ref]*Count) {
	r, w := c.router, c.router.worker
	var changes []ending
	if w.call(func() { changes = c.changes() }) != nil || len(changes) == 0 {
		return
	}
	judges := make([]func(*conntrack.Conn) (bool, bool), len(changes))
	for i := range changes {
		judges[i] = changes[i].Judge()
	}
	for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
		if w.call(func() {
			at = r.conns.Walk(at, walkStep, w.now, func(k *conntrack.Conn) bool {
				for i, judge := range judges {
					concerned, goesOn := judge(k)
					if !concerned {
						continue
					}
					ref := config.Ref{Kind: subjects[changes[i].about], ID: config.ID(changes[i].id)}
					n := counts[ref]
					if n == nil {
						n = &Count{}
						counts[ref] = n
					}
					n.add(k, goesOn, changes[i].repins)
					return true
				}
				return true
			})
		}) != nil {
			return
		}
	}
}

// A Report says what a change of the State is.
type Report struct {
	From, To *config.State
	Changes  []config.Change // none: nothing differs
	Counts   []Count         // of connections that the change concerns; only Plan and Prepared.Report count
}

// A Count is how many connections a change concerns because of one object, which may have changed itself or not.
type Count struct {
	Ref      config.Ref
	Ended    int // they end
	Kept     int // they go on until they end, as what they go to is gone or down
	Repinned int // their next packet goes to another member
}

// lasts reports whether a change that lets TCP connections go on lets this one.
func lasts(c *conntrack.Conn) bool {
	return c.Protocol() == packet.ProtoTCP && c.State() != conntrack.SynSent
}

func (n *Count) add(c *conntrack.Conn, goesOn, repins bool) {
	switch {
	case goesOn:
		n.Kept++
	case repins && !lasts(c):
		n.Repinned++
	default:
		n.Ended++
	}
}
