package ownership

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

// ErrRevision says that something was changed since the caller has looked.
var ErrRevision = errors.New("the State was changed meanwhile: look again")

// An Aside is an object of a program that cannot be served beside the file. The store keeps it. It comes back when a
// later version of the file has room for it.
type Aside struct {
	Object config.Object
	Reason string
}

// Options are the settings of Start.
type Options struct {
	Store store.Store  // nil: nothing is kept
	Log   *slog.Logger // nil: no log

	// Claimed reports whether an address of a network is taken by something outside of the State, such as a lease. None
	// is chosen for an object that the file has new. It may be nil.
	Claimed func(network config.ID, a netip.Addr) bool
}

// An Ownership is the ownership of the objects of one State. Any number of goroutines may use it.
type Ownership struct {
	log     *slog.Logger
	objects *store.Objects // nil: nothing is kept. Used where Control makes one thing at a time
	control *control.Control
	start   *config.State

	file     atomic.Pointer[file.File] // that was applied last
	revision atomic.Int64
	mu       sync.Mutex // guards aside
	aside    []Aside
}

// Start makes the State to serve from what a store has and a file. What programs have made and cannot be served beside
// the file is set aside. The store is not changed: see Serve. An error says what of the store cannot be read.
func Start(ctx context.Context, f *file.File, opt Options) (*Ownership, error) {
	o := &Ownership{log: opt.Log, start: f.State()}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	o.file.Store(f)
	if opt.Store == nil {
		o.revision.Store(1)
		return o, nil
	}
	o.objects = store.NewObjects(opt.Store)
	loaded, rev, err := o.objects.Load(ctx)
	if err != nil {
		return nil, err
	}
	o.revision.Store(rev)
	previous, err := o.previous(ctx, opt.Store)
	if err != nil {
		return nil, err
	}
	m := merge(f, previous, loaded, opt.Claimed)
	o.start = m.state
	for _, n := range m.notices {
		o.log.Warn("the file and the API", "what", n.Message)
	}
	for _, a := range m.aside {
		o.log.Error("set aside: the API has made it, and it cannot be served beside the file",
			"object", o.start.Call(a.Object), "id", a.Object.About().ID, "reason", a.Reason)
	}
	o.setAside(m.aside)
	return o, nil
}

// previous reads the file that was applied last, nil if there is none.
func (o *Ownership) previous(ctx context.Context, kv store.Store) (*file.File, error) {
	found, _, err := kv.Range(ctx, fileKey)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	f, err := unpack(found[0].Value)
	if err != nil { // of another version of taprouter, for example
		o.log.Warn("the file that was applied last cannot be read; what it had stated and the new one does not stays",
			"err", err)
	}
	return f, nil
}

// Keeps says whether a store keeps the State.
func (o *Ownership) Keeps() bool { return o.objects != nil }

// State returns the State to start the engine with.
func (o *Ownership) State() *config.State { return o.start }

// File returns the file that was applied last.
func (o *Ownership) File() *file.File { return o.file.Load() }

// Stated says where the file states an attribute of an object, or the object itself if the field is empty. The result
// is false if it does not: then the attribute is the programs'. It is for neutron.Options.
func (o *Ownership) Stated(r config.Ref, field string) (config.Source, bool) {
	return o.file.Load().Source(r, field)
}

// Entries lists the entries of a list that the file states. Programs may have others in the list.
func (o *Ownership) Entries(r config.Ref, field string) []file.Entry {
	return o.file.Load().Entries(r, field)
}

// Revision is a number that gets higher with each change. With a store it is the store's revision.
func (o *Ownership) Revision() int64 { return o.revision.Load() }

// Aside lists what programs have made and is not served, in the order in which it was found.
func (o *Ownership) Aside() []Aside {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Aside(nil), o.aside...)
}

func (o *Ownership) setAside(list []Aside) {
	o.mu.Lock()
	o.aside = list
	o.mu.Unlock()
	refs := make([]config.Ref, 0, len(list))
	for _, a := range list {
		refs = append(refs, a.Object.Ref())
	}
	if o.objects != nil {
		o.objects.Keep(refs)
	}
}

// Store writes changes down before they are made, and gives them revisions: it is for control.Options. The Control
// calls it for one group of changes at a time.
func (o *Ownership) Store(ctx context.Context, changes []*control.Report) error {
	if o.objects == nil {
		for _, r := range changes {
			r.Revision = o.revision.Add(1)
		}
		return nil
	}
	if op, ok := ctx.Value(fileOp{}).(store.Op); ok { // of an Apply, which is made alone
		if err := o.objects.Save(ctx, changes[0].To, op); err != nil {
			return err
		}
		changes[0].Revision = o.objects.Revision()
	} else if err := o.storeEach(ctx, changes); err != nil {
		return err
	}
	o.revision.Store(o.objects.Revision())
	return nil
}

func (o *Ownership) storeEach(ctx context.Context, changes []*control.Report) error {
	list := make([]store.Transition, len(changes))
	for i, r := range changes {
		list[i] = store.Transition{From: r.From, To: r.To, Changes: r.Changes}
	}
	revs, err := o.objects.SaveEach(ctx, list)
	for i, rev := range revs {
		changes[i].Revision = rev
	}
	return err
}

// Serve takes the Control of the engine that serves the State, and has the store keep the State and the file. The
// Control's options have Store. Serve comes before all other changes.
func (o *Ownership) Serve(ctx context.Context, c *control.Control) error {
	o.control = c
	if o.objects == nil {
		return nil
	}
	op, err := pack(o.file.Load())
	if err != nil {
		return err
	}
	if err := o.objects.Save(ctx, c.State(), op); err != nil {
		return err
	}
	o.revision.Store(o.objects.Revision())
	return nil
}

// Forget deletes an object that was set aside. It reports whether there was one.
func (o *Ownership) Forget(ctx context.Context, r config.Ref) (bool, error) {
	found := false
	// EditTold, as nothing may be stored meanwhile.
	_, err := o.control.EditTold(ctx, func(*config.Draft) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		for i, a := range o.aside {
			if a.Object.Ref() != r {
				continue
			}
			if err := o.objects.Drop(ctx, r); err != nil {
				return err
			}
			o.revision.Store(o.objects.Revision())
			o.aside = append(o.aside[:i:i], o.aside[i+1:]...)
			found = true
			return nil
		}
		return nil
	}, func(control.Report) {})
	return found, err
}

// Export writes the served State as a topology file.
func (o *Ownership) Export(w io.Writer) error { return file.Export(w, o.control.State()) }
