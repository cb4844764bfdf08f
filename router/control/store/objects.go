package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// ErrConflict says that another writer has changed what was to be saved.
var ErrConflict = errors.New("another program has changed the same objects")

// Objects keeps the objects of a State in a Store, each under a key of its own: Root, kind, ID. Load comes first.
// Callers serialize, as a control.Control does:
//
//	Store: func(ctx context.Context, r control.Report) error { return objects.Save(ctx, r.To) },
type Objects struct {
	store  Store
	stored map[config.Ref]stored
	last   *config.State // that was saved; nil: none since Load
	kept   map[config.Ref]bool
	rev    int64
}

// A stored is what the store has of an object.
type stored struct {
	value  []byte // as it was loaded; nil: it was saved since
	modRev int64
}

var errNotLoaded = errors.New("store: objects are saved before they were loaded")

// NewObjects returns the Objects of a Store.
func NewObjects(s Store) *Objects { return &Objects{store: s} }

// Load reads all objects, parents first and in the order of their positions, and the revision at which they are so. If
// some cannot be read, the error has a line for each, with its key.
//
// A Draft of an empty State that all are Put to gives the State that was saved. The caller makes the Draft, because not
// all that was saved need go together with what a file says by now.
func (s *Objects) Load(ctx context.Context) (objects []config.Object, rev int64, err error) {
	kvs, rev, err := s.store.Range(ctx, Root)
	if err != nil {
		return nil, 0, err
	}
	found := make(map[config.Ref]stored, len(kvs))
	var faults []error
	for _, kv := range kvs {
		r, ok, err := parseKey(kv.Key)
		var o config.Object
		if ok {
			o, err = decode(r, kv.Value)
		}
		if err != nil {
			faults = append(faults, err)
		} else if ok {
			objects = append(objects, o)
			found[r] = stored{kv.Value, kv.ModRev}
		}
	}
	if len(faults) > 0 {
		return nil, 0, errors.Join(faults...)
	}
	slices.SortFunc(objects, func(a, b config.Object) int {
		x, y := a.About(), b.About()
		return cmp.Or(cmp.Compare(a.Ref().Kind, b.Ref().Kind), cmp.Compare(x.Position, y.Position),
			strings.Compare(string(x.ID), string(y.ID)))
	})
	s.stored, s.last, s.rev = found, nil, rev
	return objects, rev, nil
}

// Keep has the store keep objects that it has and that the States to save lack. It replaces what Keep was told before.
func (s *Objects) Keep(refs []config.Ref) {
	s.kept = map[config.Ref]bool{}
	for _, r := range refs {
		s.kept[r] = true
	}
}

// Drop deletes an object that is kept. Nothing happens if the store does not have it.
func (s *Objects) Drop(ctx context.Context, r config.Ref) error {
	if _, ok := s.stored[r]; !ok {
		return nil
	}
	err := s.txn(ctx, map[config.Ref]Op{r: {Key: keyOf(r), Delete: true}}, nil)
	if err == nil {
		delete(s.kept, r)
	}
	return err
}

// Revision is the store's revision after the last Load or Save.
func (s *Objects) Revision() int64 { return s.rev }

// MetaKey is the key of something about a State that is not one of its objects.
func MetaKey(name string) string { return Root + "meta/" + name }

// Save makes the store say what a State says, in one Txn: it puts what has been added or changed, Sources included, and
// deletes what has been removed. Nothing is written if nothing differs. If another writer has changed one of these
// objects since they were loaded or saved, the error wraps ErrConflict, and nothing is written. So it does if a store
// behind a network has made a change of which it has only reported an error. Then the caller has to Load again.
//
// It compares the State with what it has saved, not with the State before. So a change that was saved and then not made
// is taken back by the next one.
//
// The same Txn makes other changes as well, of keys from MetaKey.
func (s *Objects) Save(ctx context.Context, to *config.State, others ...Op) error {
	if s.stored == nil {
		return errNotLoaded
	}
	ops, err := s.differing(s.last, to)
	if err != nil {
		return err
	}
	if err := s.txn(ctx, ops, others); err != nil {
		return err
	}
	s.last = to
	return nil
}

// SaveChanges is Save for a State whose changes from the saved one are known. It looks at no other object, so Sources
// that alone differ wait for the next Save. It is Save if another State than from was saved.
func (s *Objects) SaveChanges(ctx context.Context, from, to *config.State, changes []config.Change) error {
	_, err := s.SaveEach(ctx, []Transition{{from, to, changes}})
	return err
}

// A Transition is a change from one State to another.
type Transition struct {
	From, To *config.State
	Changes  []config.Change
}

// SaveEach is SaveChanges for several changes, each of the State that the one before leads to. All are saved, or none.
// It returns the revision after each: a Batcher has one for each, another Store has one for all of them.
func (s *Objects) SaveEach(ctx context.Context, list []Transition) (revs []int64, err error) {
	if s.stored == nil {
		return nil, errNotLoaded
	}
	steps := make([]map[config.Ref]Op, 0, len(list))
	last := s.last
	for _, t := range list {
		ops := map[config.Ref]Op{}
		if last == nil || last != t.From {
			ops, err = s.differing(last, t.To)
		} else {
			err = putAll(ops, t.Changes)
		}
		if err != nil {
			return nil, err
		}
		steps, last = append(steps, ops), t.To
	}
	if revs, err = s.batch(ctx, steps); err != nil {
		return nil, err
	}
	s.last = last
	return revs, nil
}

// putAll adds what changes do.
func putAll(ops map[config.Ref]Op, changes []config.Change) error {
	for _, c := range changes {
		if c.After == nil {
			ops[c.Ref] = Op{Key: keyOf(c.Ref), Delete: true}
			continue
		}
		value, err := encode(c.After)
		if err != nil {
			return err
		}
		ops[c.Ref] = Op{Key: keyOf(c.Ref), Value: value}
	}
	return nil
}

// batch writes the changes of objects of several steps.
func (s *Objects) batch(ctx context.Context, steps []map[config.Ref]Op) ([]int64, error) {
	revs := make([]int64, len(steps))
	b, ok := s.store.(Batcher)
	if !ok || len(steps) == 1 {
		all := steps[0]
		for _, ops := range steps[1:] {
			maps.Copy(all, ops)
		}
		err := s.txn(ctx, all, nil)
		for i := range revs {
			revs[i] = s.rev
		}
		return revs, err
	}
	list := make([]Step, len(steps))
	compared := map[config.Ref]bool{} // by an earlier step, which nobody else can come after
	for i, ops := range steps {
		list[i] = s.step(ops, nil, compared)
	}
	revs, ok, err := b.Batch(ctx, list)
	if err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("store: save: %w", ErrConflict)
	}
	for i, ops := range steps {
		s.wrote(ops, revs[i])
	}
	return revs, nil
}

// step is what changes objects and others, unless somebody else has changed the objects.
func (s *Objects) step(ops map[config.Ref]Op, others []Op, compared map[config.Ref]bool) Step {
	var step Step
	step.Ops = append(make([]Op, 0, len(ops)+len(others)), others...)
	for r, o := range ops {
		if !compared[r] {
			step.Cmps = append(step.Cmps, Cmp{o.Key, s.stored[r].modRev})
		}
		step.Ops = append(step.Ops, o)
	}
	for r := range ops {
		if compared != nil {
			compared[r] = true
		}
	}
	slices.SortFunc(step.Ops, func(a, b Op) int { return strings.Compare(a.Key, b.Key) })
	return step
}

// wrote notes what a revision has written.
func (s *Objects) wrote(ops map[config.Ref]Op, rev int64) {
	for r, o := range ops {
		if s.stored[r] = (stored{modRev: rev}); o.Delete {
			delete(s.stored, r)
		}
	}
	s.rev = rev
}

// txn writes changes of objects and others.
func (s *Objects) txn(ctx context.Context, ops map[config.Ref]Op, others []Op) error {
	step := s.step(ops, others, nil)
	if len(step.Ops) == 0 {
		return nil
	}
	rev, ok, err := s.store.Txn(ctx, step.Cmps, step.Ops)
	if err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("store: save: %w", ErrConflict)
	}
	s.wrote(ops, rev)
	return nil
}

// differing lists what makes the store say what a State says. It says what the last one says; nil: what was loaded.
func (s *Objects) differing(last, to *config.State) (map[config.Ref]Op, error) {
	ops := map[config.Ref]Op{}
	var fault error
	differ := func(before, after config.Object) {
		if before != nil && (after == nil || after.Ref() != before.Ref()) {
			ops[before.Ref()] = Op{Key: keyOf(before.Ref()), Delete: true}
		}
		if after == nil || fault != nil {
			return
		}
		r := after.Ref()
		value, err := encode(after)
		if was := s.stored[r].value; err != nil {
			fault = err
		} else if last != nil || was == nil || !bytes.Equal(was, value) {
			ops[r] = Op{Key: keyOf(r), Value: value}
		}
	}
	if last != nil {
		config.Versions(last, to, differ)
		return ops, fault
	}
	for o := range to.All() {
		differ(nil, o)
	}
	for r := range s.stored {
		if _, there := to.Get(r); !there && !s.kept[r] {
			ops[r] = Op{Key: keyOf(r), Delete: true}
		}
	}
	return ops, fault
}
