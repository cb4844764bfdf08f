package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// An Engine is what serves a State: a router.Engine, or something like it (see NewFor). Its methods are called by one
// goroutine at a time.
type Engine interface {
	// State returns the served State.
	State() *config.State

	// Prepare gets everything ready for another State, and changes nothing that is served. An error wraps os.ErrClosed
	// after the engine's end.
	Prepare(ctx context.Context, to *config.State) (Prepared, error)
}

// A Prepared is a change that can be made at once. One of Commit and Discard is called, once, and Counts before it.
type Prepared interface {
	Counts() []router.Count // the connections that the change concerns, as they are at this moment
	Commit()                // makes the change, which cannot fail: when it returns, new connections obey
	Discard()               // gives back what was prepared
}

// ErrNotKept says that a change was not made, because Options.Store has not written it down.
var ErrNotKept = errors.New("the change is not made, because it cannot be kept")

// Options are the settings of a Control. All may be left out.
type Options struct {
	// Store writes changes down before they are made: all of them, or none. Each begins with the State that the one
	// before leads to, and no object is in two of them. Store may set their Revisions. If it returns an error, none of
	// the changes is made, and the error of each method wraps it and ErrNotKept. It is not called where nothing
	// changes.
	Store func(ctx context.Context, changes []*Report) error

	// Event is told of each change that was made, in their order, before the method returns. It may not call the
	// Control.
	Event func(r Report)

	// Ended is told how each Edit has ended, whether it has changed anything, and how long it took with the wait for
	// other changes. It may not call the Control.
	Ended func(changed bool, took time.Duration, err error)

	// Claimed reports whether an address of a network is taken by something outside of the State, such as a lease.
	// No address is chosen that is.
	Claimed func(network config.ID, a netip.Addr) bool

	// Holder finds the host that an address of a network is leased to. An object that asks for the address is refused,
	// unless it is a port with the MAC address of the host.
	Holder func(network config.ID, a netip.Addr) (config.MAC, bool)

	// Hold keeps addresses from being leased until release is called: what Claimed and Holder say is so until then. It
	// is held while a change is checked, and no longer.
	Hold func() (release func())

	// Claim keeps the addresses that a change gives to objects from being leased until done is called, when the change
	// is made or is not. It is called while Hold is held.
	Claim func(r Report) (done func())

	Now   func() time.Time // the time that objects are marked with; time.Now
	NewID func() config.ID // of new objects; random ones
}

// A Report says what a change has been.
type Report struct {
	From, To *config.State
	Changes  []config.Change // none: nothing differs
	Warnings config.Faults   // about what was changed
	Counts   []router.Count  // of connections that the change concerns; only EditTold counts
	Revision int64           // that Options.Store has given it
}

// Lines describes the changes.
func (r *Report) Lines() []config.Line { return config.Describe(r.From, r.To, r.Changes) }

// A Control makes the changes of one Engine. Any number of goroutines may use it. Their changes come one after the
// other. Changes that wait for another one may be stored and made together: see Edit.
type Control struct {
	engine  Engine
	opt     Options
	writing chan struct{} // holds a value while a change is drafted, or is made alone

	groups
}

// New returns the Control of a router's engine. An engine has one.
func New(e *router.Engine, opt Options) *Control { return NewFor(served{e}, opt) }

// A served is a router's engine.
type served struct{ *router.Engine }

// Prepare implements Engine.
func (s served) Prepare(ctx context.Context, to *config.State) (Prepared, error) {
	p, err := s.Engine.Prepare(ctx, to)
	if err != nil {
		return nil, err
	}
	return prepared{p}, nil
}

type prepared struct{ *router.Prepared }

// Counts implements Prepared.
func (p prepared) Counts() []router.Count { return p.Report().Counts }

// Commit implements Prepared.
func (p prepared) Commit() { p.Prepared.Commit() }

// NewFor is New for anything that serves a State.
func NewFor(e Engine, opt Options) *Control {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.NewID == nil {
		opt.NewID = randomID
	}
	return &Control{engine: e, opt: opt, writing: make(chan struct{}, 1), groups: groups{engine: e}}
}

func randomID() config.ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never returns an error
	return config.NewID(b)
}

// State returns the served State. It does not wait for a change that is being made.
func (c *Control) State() *config.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.making != nil {
		return c.served
	}
	return c.engine.State()
}

// Edit makes a change: the function edits a Draft of the served State. All or nothing is changed. If the function
// returns an error, Edit returns it, and nothing is changed. The function may not call the Control, nor keep the Draft.
// It is called again, with another Draft, if the change before was not made and its own has to begin anew.
//
// Changes that come while another one is being made are stored at once, and the engine serves the State after the last
// of them next. Each is checked by itself, refers to the State that the one before leads to, and has an Event of its
// own. If they cannot be stored, each of them fails. Two changes of the same object are not made at once.
//
// An error is a *Refusal if the Draft is wrong. It wraps os.ErrClosed after the engine's end, and the context's error
// if that ends first.
func (c *Control) Edit(ctx context.Context, edit func(*config.Draft) error) (Report, error) {
	return c.EditTold(ctx, edit, nil)
}

// EditTold is Edit for a caller that announces a change before it is made. When the change is prepared, the connections
// that it concerns are counted, which takes a while for large tables. When the change is stored, and nothing can fail
// any more, tell gets the Report. Then the change is made. If nothing differs, tell is called, too. It may not call the
// Control. The change is made alone: no other one is drafted, stored or made during edit and tell.
func (c *Control) EditTold(ctx context.Context, edit func(*config.Draft) error, tell func(Report)) (Report, error) {
	began := time.Now()
	var r Report
	var err error
	if tell == nil {
		r, err = c.edit(ctx, edit)
	} else {
		r, err = c.editAlone(ctx, edit, tell)
	}
	if c.opt.Ended == nil {
		return r, err
	}
	c.opt.Ended(err == nil && len(r.Changes) > 0, time.Since(began), err)
	return r, err
}

func (c *Control) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Idle waits until no change is being made, at most until the context ends: then it returns the context's error. It is
// how a watchdog finds out that a change does not come to its end.
func (c *Control) Idle(ctx context.Context) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return c.settled(ctx)
}

func (c *Control) unlock() { <-c.writing }

// A Refusal says why a change was refused. errors.Is finds one of these in it: fs.ErrInvalid; fs.ErrExist, if another
// object has the value asked for, or needs the object that is to go; fs.ErrNotExist, if an object that is needed is
// not there; fs.ErrPermission.
type Refusal struct {
	Faults config.Faults // without warnings

	inTheWay func(config.Fault) bool // says of which faults another object is the reason
}

// Error lists the faults, one a line.
func (r *Refusal) Error() string { return r.Faults.Error() }

// Unwrap is for errors.Is.
func (r *Refusal) Unwrap() []error {
	var list []error
	for _, f := range r.Faults {
		if r.inTheWay != nil && r.inTheWay(f) {
			list = append(list, fs.ErrExist)
		} else {
			list = append(list, sentinel(f.Code))
		}
	}
	return list
}

// sentinel is the error that stands for a code.
func sentinel(code config.Code) error {
	switch code {
	case config.Unknown, config.Unreached:
		return fs.ErrNotExist
	case config.Taken, config.InUse, config.Exhausted:
		return fs.ErrExist
	case config.ReadOnly:
		return fs.ErrPermission
	}
	return fs.ErrInvalid
}

// verb makes an edit that is a method of its own. An error begins with what was to be done.
func (c *Control) verb(what string, args []any, edit func(*config.Draft) error) error {
	_, err := c.Edit(context.Background(), edit)
	if err != nil {
		return fmt.Errorf("control: %s: %w", fmt.Sprintf(what, args...), err)
	}
	return nil
}

// named finds the one object of a kind with a name or an ID.
func named[T config.Object](d *config.Draft, k config.Kind, name string) (T, error) {
	var none T
	if o, ok := d.Get(config.Ref{Kind: k, ID: config.ID(name)}); ok {
		return o.(T), nil
	}
	found := none
	n := 0
	for o := range d.Of(k) {
		if o.About().Name == name {
			found, n = o.(T), n+1
		}
	}
	switch n {
	case 0:
		return none, fmt.Errorf("no such %v %q: %w", k, name, fs.ErrNotExist)
	case 1:
		return found, nil
	}
	return none, fmt.Errorf("%d %vs are called %q, say which by its id: %w", n, k, name, fs.ErrNotExist)
}
