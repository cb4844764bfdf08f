package control

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/taprouter/taprouter/config"
)

// Changes that are asked for while another one is made are made together, as a group: a store writes them down at once,
// which takes one wait for a disk, and the engine serves the State after the last of them next. A change goes these
// ways:
//
//	draft    one after the other. Each begins with the State after the one before, which need not be served yet
//	join     the group that has not begun, if it may; otherwise the change begins a group, and its goroutine leads it
//	lead     wait for the group before; prepare, store, commit, tell of each change
//	         the others of the group wait for its end
//
// If a group is given up, so are the groups after it: they begin with a State that is never served. Their changes are
// drafted anew. So is an Edit that was refused, or had nothing to change, by what such a State says.

// Bounds of a group. They bound how long its changes wait for one another, and how much an engine does at once.
const (
	groupEdits   = 64
	groupChanges = 1024 // of objects
)

// maxAnew is how often a change is drafted anew before it is made alone.
const maxAnew = 4

// A group is changes that are made at once.
type group struct {
	before  *group // is made before; nil: it was, or there was none
	to      *config.State
	reports []*Report // in the order of the changes
	unclaim []func()  // of Options.Claim, for each of the changes: called at the end
	changes int       // of objects
	touches map[any]bool

	ended   chan struct{} // closed when the group is made or given up; what follows is set then
	outcome outcome
	err     error // of outcome failed
}

// An outcome is what has become of a group.
type outcome int

const (
	anew   outcome = iota // it was given up: its changes have to be drafted again
	alone                 // it cannot be made: each of its changes has to be made by itself, or to fail
	failed                // all its changes have failed
	made
)

// The groups of a Control are made one after the other.
type groups struct {
	engine Engine

	mu     sync.Mutex    // guards what follows, and the fields of groups that have not begun
	last   *group        // of those that are not made yet; nil: all are
	making *group        // has begun; nil: the engine has nothing to do
	served *config.State // while there is making: what the engine serves
}

// An addressed is a floating address. Another floating IP may have it after a deletion.
type addressed struct {
	network config.ID
	address netip.Addr
}

// touched calls fn for what a change is about. Two changes about the same thing are not made at once: what the first
// one does has to be seen by connections.
func touched(changes []config.Change, fn func(any)) {
	for _, ch := range changes {
		fn(ch.Ref)
		for _, o := range []config.Object{ch.Before, ch.After} {
			if f, ok := o.(*config.FloatingIP); ok {
				fn(addressed{f.Network, f.Address})
			}
		}
	}
}

// takes says whether a change may join the group. The caller holds groups.mu.
func (g *group) takes(r *Report) bool {
	if len(g.reports) >= groupEdits || g.changes+len(r.Changes) > groupChanges {
		return false
	}
	free := true
	touched(r.Changes, func(what any) { free = free && !g.touches[what] })
	return free
}

// add puts a change into the group. The caller holds groups.mu.
func (g *group) add(r *Report, unclaim func()) {
	g.to, g.reports, g.changes = r.To, append(g.reports, r), g.changes+len(r.Changes)
	g.unclaim = append(g.unclaim, unclaim)
	touched(r.Changes, func(what any) { g.touches[what] = true })
}

// edit is Edit for changes that others may be made together with.
func (c *Control) edit(ctx context.Context, edit func(*config.Draft) error) (Report, error) {
	for range maxAnew {
		g, r, leads, err := draft(ctx, c, edit)
		if g == nil {
			return Report{}, err
		}
		if r == nil { // what the State says that it began with counts once that is served
			select {
			case <-g.ended:
			case <-ctx.Done():
				return Report{}, ctx.Err()
			}
			if g.outcome == made {
				return Report{}, err
			}
			continue
		}
		if leads {
			g.lead(ctx, c)
		} else if err := c.await(ctx, g); err != nil {
			return Report{}, err
		}
		switch g.outcome {
		case made, failed:
			return *r, g.err
		case alone:
			return c.editAlone(ctx, edit, nil)
		}
	}
	return c.editAlone(ctx, edit, nil)
}

// draft makes a change up to its Report, and has it join a group, or begin one to lead. If it fails, the error is right
// if the group is made, or there is none.
func draft(ctx context.Context, c *Control, edit func(*config.Draft) error) (on *group, r *Report, leads bool,
	err error) {
	if err := c.lock(ctx); err != nil {
		return nil, nil, false, err
	}
	defer c.unlock()
	for {
		on, from := c.latest()
		r, unclaim, err := c.opt.check(from, edit)
		if err != nil {
			return on, nil, false, err
		}
		if g, leads := c.join(on, r, unclaim); g != nil {
			return g, r, leads, nil
		}
		unclaim()
	}
}

// check drafts a change of a State, and claims the addresses of what it changes until unclaim is called.
func (o *Options) check(from *config.State, edit func(*config.Draft) error) (r *Report, unclaim func(), err error) {
	d := from.Edit()
	d.Now, d.Claimed, d.Holder = o.Now(), o.Claimed, o.Holder
	if err := edit(d); err != nil {
		return nil, nil, err
	}
	if o.Hold != nil {
		defer o.Hold()()
	}
	to, faults := d.Check()
	if faults.Err() != nil {
		return nil, nil, &Refusal{Faults: faults.Errors()}
	}
	r = &Report{From: from, To: to, Changes: config.Diff(from, to), Warnings: faults.Warnings()}
	if o.Claim == nil || len(r.Changes) == 0 {
		return r, func() {}, nil
	}
	return r, o.Claim(*r), nil
}

// latest returns the State to begin a draft with: the one after the last group, which is nil if there is none. The
// caller holds the lock.
func (q *groups) latest() (*group, *config.State) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last != nil {
		return q.last, q.last.to
	}
	return nil, q.engine.State() // which has nothing else to do now
}

// join puts a change, which was drafted on what latest has returned, into a group. It returns nil if that State is not
// going to be served. The caller holds the lock.
func (q *groups) join(on *group, r *Report, unclaim func()) (g *group, leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if on != nil && over(on) && on.outcome != made {
		return nil, false
	}
	if on != nil && q.last == on && on != q.making && on.takes(r) {
		on.add(r, unclaim)
		return on, false
	}
	g = &group{before: q.last, touches: map[any]bool{}, ended: make(chan struct{})}
	g.add(r, unclaim)
	q.last = g
	return g, true
}

func over(g *group) bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// await waits for the end of a group. If the context ends before the group begins, the group is given up.
func (q *groups) await(ctx context.Context, g *group) error {
	select {
	case <-g.ended:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	if !over(g) && g != q.making {
		q.end(g, anew, nil)
	}
	q.mu.Unlock()
	<-g.ended
	if g.outcome == made || g.outcome == failed {
		return nil
	}
	return ctx.Err()
}

// lead makes a group, when the one before is made.
func (g *group) lead(ctx context.Context, c *Control) {
	if b := g.before; b != nil {
		select {
		case <-b.ended:
		case <-g.ended:
		case <-ctx.Done():
		}
	}
	if !c.begin(ctx, g) {
		return
	}
	how, err := anew, error(nil)
	defer func() { // also when Store panics
		c.mu.Lock()
		defer c.mu.Unlock()
		c.making = nil
		c.end(g, how, err)
	}()
	if len(g.reports) > 1 { // the caller that leads may go, and the others stay
		ctx = context.WithoutCancel(ctx)
	}
	prepared, cause := g.make(ctx, c, nil)
	switch {
	case cause == nil:
		how = made
	case !prepared && len(g.reports) > 1:
		how = alone
	default:
		how, err = failed, cause
	}
}

// begin says that a group is made now. It returns false if the group is given up.
func (q *groups) begin(ctx context.Context, g *group) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case over(g):
		return false
	case ctx.Err() != nil:
		if len(g.reports) > 1 {
			q.end(g, anew, nil)
		} else {
			q.end(g, failed, ctx.Err())
		}
		return false
	}
	g.before = nil
	q.making, q.served = g, q.engine.State()
	return true
}

// end says what has become of a group. If it is not made, the groups after it are given up, too. The caller holds mu.
func (q *groups) end(g *group, how outcome, err error) {
	if how != made {
		for q.last != g {
			q.last.finish(anew, nil)
			q.last = q.last.before
		}
		if q.last = g.before; q.last != nil && over(q.last) {
			q.last = nil
		}
	} else if q.last == g {
		q.last = nil
	}
	g.finish(how, err)
}

// finish lets the callers of a group know what has become of it. The caller holds groups.mu.
func (g *group) finish(how outcome, err error) {
	for _, unclaim := range g.unclaim {
		unclaim()
	}
	g.outcome, g.err = how, err
	close(g.ended)
}

// editAlone is EditTold. Nothing else is drafted or made meanwhile.
func (c *Control) editAlone(ctx context.Context, edit func(*config.Draft) error, tell func(Report)) (Report, error) {
	if err := c.lock(ctx); err != nil {
		return Report{}, err
	}
	defer c.unlock()
	if err := c.settled(ctx); err != nil {
		return Report{}, err
	}
	r, unclaim, err := c.opt.check(c.engine.State(), edit)
	if err != nil {
		return Report{}, err
	}
	defer unclaim()
	g := &group{to: r.To, reports: []*Report{r}, ended: make(chan struct{})}
	c.mu.Lock()
	c.making, c.last, c.served = g, g, c.engine.State()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.making, c.last = nil, nil
		c.mu.Unlock()
		close(g.ended)
	}()
	_, err = g.make(ctx, c, tell)
	return *r, err
}

// settled waits for the end of all groups that there are.
func (q *groups) settled(ctx context.Context) error {
	for {
		q.mu.Lock()
		g := q.last
		q.mu.Unlock()
		if g == nil {
			return nil
		}
		select {
		case <-g.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// make has the engine serve the State that the last change of a group leads to. Before that it calls tell, unless
// tell is nil. prepared says that the engine could.
func (g *group) make(ctx context.Context, c *Control, tell func(Report)) (prepared bool, err error) {
	p, err := c.engine.Prepare(ctx, g.to)
	if err != nil {
		return false, err
	}
	done := false
	defer func() { // also when Store panics
		if !done {
			p.Discard()
		}
	}()
	changed := make([]*Report, 0, len(g.reports))
	for _, r := range g.reports {
		if len(r.Changes) > 0 {
			changed = append(changed, r)
		}
	}
	if tell != nil && len(changed) > 0 {
		changed[0].Counts = p.Counts()
	}
	if err := ctx.Err(); err != nil {
		return true, err
	}
	if c.opt.Store != nil && len(changed) > 0 {
		if err := c.opt.Store(ctx, changed); err != nil {
			return true, fmt.Errorf("%w: %w", ErrNotKept, err)
		}
	}
	if tell != nil {
		tell(*g.reports[0])
	}
	done = true
	p.Commit()
	c.mu.Lock()
	c.served = g.to
	c.mu.Unlock()
	if c.opt.Event != nil {
		for _, r := range changed {
			c.opt.Event(*r)
		}
	}
	return true, nil
}
