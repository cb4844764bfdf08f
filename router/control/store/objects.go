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
	store  Store
	stored map[config.Ref]stored
	last   *config.State // that was saved; nil: none since Load
}

// A stored is what the store has of an object.
type stored struct {
	value  []byte // as it was loaded; nil: it was saved since
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
	s.stored, s.last = found, nil
	return objects, rev, nil
}

// Save makes the store say what a State says, in one Txn: it puts what has been added or changed, Sources included, and
// deletes what has been removed. Nothing is written if nothing differs. If another writer has changed one of these
// objects since they were loaded or saved, the error wraps ErrConflict, and nothing is written. So it does if a store
// behind a network has made a change of which it has only reported an error. Then the caller has to Load again.
//
// It compares the State with what it has saved, not with the State before. So a change that was saved and then not made
// is taken back by the next one.
func (s *Objects) Save(ctx context.Context, to *config.State) error {
	if s.stored == nil {
		return errors.New("store: objects are saved before they were loaded")
	}
	ops, err := s.differing(to)
	if err != nil {
		return err
	}
	var cmps []Cmp
	list := make([]Op, 0, len(ops))
	for r, o := range ops {
		cmps = append(cmps, Cmp{o.Key, s.stored[r].modRev})
		list = append(list, o)
	}
	if len(list) > 0 {
		slices.SortFunc(list, func(a, b Op) int { return strings.Compare(a.Key, b.Key) })
		rev, ok, err := s.store.Txn(ctx, cmps, list)
		if err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("store: save: %w", ErrConflict)
		}
		for r, o := range ops {
			if s.stored[r] = (stored{modRev: rev}); o.Delete {
				delete(s.stored, r)
			}
		}
	}
	s.last = to
	return nil
}

// differing lists what makes the store say what a State says.
func (s *Objects) differing(to *config.State) (map[config.Ref]Op, error) {
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
		} else if was == nil || !bytes.Equal(was, value) {
			ops[r] = Op{Key: keyOf(r), Value: value}
		}
	}
	if s.last != nil {
		config.Versions(s.last, to, differ)
		return ops, fault
	}
	for o := range to.All() {
		differ(nil, o)
	}
	for r := range s.stored {
		if _, there := to.Get(r); !there {
			ops[r] = Op{Key: keyOf(r), Delete: true}
		}
	}
	return ops, fault
}
