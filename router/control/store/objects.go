package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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
	store Store
	saved map[config.Ref]saved
}

// A saved is what the store has of an object.
type saved struct {
	object config.Object // as it was saved; nil: it was only loaded
	value  []byte        // as it was loaded; nil: it was saved since
	modRev int64
}

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
	found := make(map[config.Ref]saved, len(kvs))
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
			found[r] = saved{nil, kv.Value, kv.ModRev}
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
	s.saved = found
	return objects, rev, nil
}

// Save makes the store say what a State says, in one Txn: it puts what has been added or changed, Sources included, and
// deletes what has been removed. Nothing is written if nothing differs. If another writer has changed one of these
// objects since they were loaded or saved, the error wraps ErrConflict, and nothing is written.
//
// It compares the State with what it has saved, not with the State before. So a change that was saved and then not made
// is taken back by the next one.
func (s *Objects) Save(ctx context.Context, to *config.State) error {
	if s.saved == nil {
		return errors.New("store: objects are saved before they were loaded")
	}
	next, err := s.differing(to)
	if err != nil {
		return err
	}
	var cmps []Cmp
	var ops []Op
	for r, n := range next {
		key, was := keyOf(r), s.saved[r]
		if n.object != nil && was.value != nil && bytes.Equal(n.value, was.value) {
			n.modRev = was.modRev
			next[r] = n
			continue
		}
		cmps = append(cmps, Cmp{key, was.modRev})
		ops = append(ops, Op{Key: key, Value: n.value, Delete: n.object == nil})
	}
	slices.SortFunc(ops, func(a, b Op) int { return strings.Compare(a.Key, b.Key) })
	rev := int64(0)
	if len(ops) > 0 {
		var ok bool
		if rev, ok, err = s.store.Txn(ctx, cmps, ops); err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("store: save: %w", ErrConflict)
		}
	}
	for r, n := range next {
		if n.object == nil {
			delete(s.saved, r)
			continue
		}
		if n.modRev == 0 {
			n.modRev = rev
		}
		s.saved[r] = saved{n.object, nil, n.modRev}
	}
	return nil
}

// differing finds the objects that are not the ones that were saved. One that has been removed has no object.
func (s *Objects) differing(to *config.State) (map[config.Ref]saved, error) {
	next := map[config.Ref]saved{}
	known := 0
	for o := range to.All() {
		was, there := s.saved[o.Ref()]
		if there {
			known++
		}
		if was.object == o { // versions of a State share what has not changed
			continue
		}
		value, err := encode(o)
		if err != nil {
			return nil, err
		}
		next[o.Ref()] = saved{object: o, value: value}
	}
	if known == len(s.saved) {
		return next, nil
	}
	for r := range s.saved {
		if _, ok := to.Get(r); !ok {
			next[r] = saved{}
		}
	}
	return next, nil
}
