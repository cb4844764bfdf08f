package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

// stored opens the store in a file, and makes a State of what it has.
func stored(t *testing.T, path string) (store.Store, *store.Objects, *config.State) {
	t.Helper()
	kv, err := store.Bolt(path, store.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	objects := store.NewObjects(kv)
	list, _, err := objects.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := config.Empty().Edit()
	d.Put(list...)
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	return kv, objects, s
}

// What a Control has acknowledged is in the file, and a change that cannot be stored is not made.
func TestControlStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	kv, objects, s := stored(t, path)
	c := control.NewFor(&fake{state: s}, control.Options{
		Store: func(ctx context.Context, changes []*control.Report) error {
			return objects.Save(ctx, changes[len(changes)-1].To)
		},
	})
	add := func(name string) error {
		_, err := c.Edit(t.Context(), func(d *config.Draft) error {
			d.Put(&config.Network{Meta: config.Meta{ID: config.NameID(config.KindNetwork, name), Name: name}})
			return nil
		})
		return err
	}
	for i := range 5 {
		if err := add(fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		crashed := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(crashed, data, 0o600); err != nil {
			t.Fatal(err)
		}
		after, _, got := stored(t, crashed)
		if diff := config.Diff(c.State(), got); len(diff) > 0 || got.Count(config.KindNetwork) != i+1 {
			t.Fatalf("after a crash %d networks, and %+v", got.Count(config.KindNetwork), diff)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := c.State()
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := add("late"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a change without its store: %v", err)
	}
	if c.State() != before {
		t.Error("a change was made that is not stored")
	}
	kv, _, got := stored(t, path)
	if diff := config.Diff(before, got); len(diff) > 0 {
		t.Errorf("opened again: %+v", diff)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
}
