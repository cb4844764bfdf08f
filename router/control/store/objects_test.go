package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/router/control/store"
)

// load makes a State of what a store has.
func load(t *testing.T, s store.Store) (*store.Objects, *config.State) {
	t.Helper()
	objects := store.NewObjects(s)
	list, _, err := objects.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := config.Empty().Edit()
	d.Put(list...)
	state, faults := d.Check()
	if state == nil {
		t.Fatalf("what was saved is no State: %v", faults)
	}
	return objects, state
}

// same fails unless two States have the same objects, in all fields and in the same order.
func same(t *testing.T, where string, got, want *config.State) {
	t.Helper()
	for k := range config.NumKinds {
		var a, b []config.Object
		for o := range got.Of(k) {
			a = append(a, o)
		}
		for o := range want.Of(k) {
			b = append(b, o)
		}
		if len(a) != len(b) {
			t.Fatalf("%s: %d objects of kind %v, want %d", where, len(a), k, len(b))
		}
		for i := range a {
			if !reflect.DeepEqual(a[i], b[i]) {
				t.Fatalf("%s: %v\n got %+v\nwant %+v", where, k, a[i], b[i])
			}
		}
	}
}

// annotate gives some objects another Source, tags or description. A Source alone is no change for a Diff.
func annotate(rng *rand.Rand, d *config.Draft, step int) {
	var some []config.Object
	for o := range d.All() {
		if rng.IntN(4) > 0 {
			continue
		}
		v := reflect.New(reflect.TypeOf(o).Elem())
		v.Elem().Set(reflect.ValueOf(o).Elem())
		o = v.Interface().(config.Object)
		m := o.About()
		switch rng.IntN(3) {
		case 0:
			m.Source = config.Source{File: "lab.toml", Line: step + 1}
		case 1:
			m.Source = config.Source{Request: fmt.Sprint("request ", step)}
			m.Description = fmt.Sprint("step ", step)
		case 2:
			m.Tags = []string{fmt.Sprint(step), "x"}
		}
		some = append(some, o)
	}
	d.Put(some...)
}

// What was saved is what is loaded, after any edits, by the one who saved it and by others.
func TestObjectsSurvive(t *testing.T) {
	seeds, steps := uint64(12), 25
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := configtest.New(seed)
		g.Devices, g.Wrong = true, 0
		kv := store.Memory()
		objects, _ := load(t, kv)
		s := g.State()
		saved := 0
		for step := range steps {
			where := fmt.Sprintf("seed %d, step %d", seed, step)
			if step > 0 {
				d := s.Edit()
				d.Now = time.Date(2026, 11, 29, 10, step, 0, 0, time.UTC)
				for range 1 + rng.IntN(3) {
					g.Edit(d)
				}
				annotate(rng, d, step)
				next, _ := d.Check()
				if next == nil {
					continue
				}
				s = next
			}
			_, before, _ := kv.Range(t.Context(), "")
			if err := objects.Save(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			_, after, _ := kv.Range(t.Context(), "")
			if after > before+1 {
				t.Fatalf("%s: %d revisions", where, after-before)
			}
			saved++
			again, state := load(t, kv)
			same(t, where, state, s)

			// What was loaded is what is there: nothing is written.
			if err := again.Save(t.Context(), state); err != nil {
				t.Fatal(err)
			}
			if _, rev, _ := kv.Range(t.Context(), ""); rev != after {
				t.Fatalf("%s: saved again, revision %d, want %d", where, rev, after)
			}
			if rng.IntN(3) == 0 {
				objects, s = again, state // as after a restart
			}
		}
		if saved < steps/3 {
			t.Errorf("seed %d: %d States of %d steps: the test tests little", seed, saved, steps)
		}
	}
}

// Changes that are saved at once are there one after the other, with the revisions that SaveEach returns, also where
// objects are in several of them, only Sources differ, or nothing. A store that does one Txn at a time has them in one.
func TestSaveEach(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 2))
		g := configtest.New(seed)
		g.Wrong = 0
		kv := store.Memory()
		var one struct{ store.Store }
		if one.Store = kv; seed%3 == 0 {
			kv = one
		}
		objects, _ := load(t, kv)
		s := g.State()
		if err := objects.Save(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		objects, s = load(t, kv) // it knows the values
		for step := range 10 {
			where := fmt.Sprintf("seed %d, step %d", seed, step)
			var list []store.Transition
			for range 1 + rng.IntN(5) {
				d := s.Edit()
				if rng.IntN(2) == 0 {
					g.Edit(d)
				}
				annotate(rng, d, step)
				next, _ := d.Check()
				if next == nil {
					continue
				}
				if rng.IntN(6) > 0 { // else that it was made is not said, as of one that only Sources differ by
					list = append(list, store.Transition{From: s, To: next, Changes: config.Diff(s, next)})
				}
				s = next
			}
			if len(list) == 0 {
				continue
			}
			s = list[len(list)-1].To
			_, before, _ := kv.Range(t.Context(), "")
			revs, err := objects.SaveEach(t.Context(), list)
			if err != nil || len(revs) != len(list) || revs[len(revs)-1] != objects.Revision() {
				t.Fatalf("%s: %v, %v", where, revs, err)
			}
			_, after, _ := kv.Range(t.Context(), "")
			if _, batches := kv.(store.Batcher); after != objects.Revision() || !batches && after > before+1 {
				t.Fatalf("%s: revision %d, want %d, from %d", where, after, objects.Revision(), before)
			}
			_, state := load(t, kv)
			if diff := config.Diff(state, s); len(diff) > 0 { // which leaves out Sources that alone differ
				t.Fatalf("%s: %+v", where, diff)
			}
		}
	}
}

func network(name string) *config.Network {
	return &config.Network{Meta: config.Meta{ID: config.NameID(config.KindNetwork, name), Name: name}}
}

func state(t *testing.T, from *config.State, objects ...config.Object) *config.State {
	t.Helper()
	d := from.Edit()
	d.Put(objects...)
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	return s
}

// A change is written with what it changes, and nothing else.
func TestSaveWritesWhatDiffers(t *testing.T) {
	kv := store.Memory()
	objects, _ := load(t, kv)
	first := state(t, config.Empty(), network("blue"))
	a := state(t, first, network("green"))
	blue, green := a.Network(network("blue").ID), a.Network(network("green").ID)
	events := kv.Watch(t.Context(), store.Root, 0)
	save := func(s *config.State, want ...string) {
		t.Helper()
		if err := objects.Save(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range (<-events).Ops {
			got = append(got, fmt.Sprintf("%s %t", strings.TrimPrefix(o.Key, store.Root), o.Delete))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	inKey := func(o config.Object) string { return "network/" + string(o.About().ID) }
	save(first, inKey(blue)+" false")
	save(a, inKey(green)+" false")
	wide := *green
	wide.MTU = 9000
	b := state(t, a, &wide)
	save(b, inKey(green)+" false")
	d := b.Edit()
	d.Delete(blue.Ref())
	c, _ := d.Check()
	save(c, inKey(blue)+" true")
	// Back: what was saved and not made.
	save(a, min(inKey(blue), inKey(green))+" false", max(inKey(blue), inKey(green))+" false")
}

func TestAnotherWriter(t *testing.T) {
	kv := store.Memory()
	mine, _ := load(t, kv)
	s := state(t, config.Empty(), network("blue"), network("green"))
	if err := mine.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	other, theirs := load(t, kv)
	wide := *theirs.Network(network("blue").ID)
	wide.MTU = 9000
	theirs = state(t, theirs, &wide)
	if err := other.Save(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	wide.MTU = 1400
	err := mine.Save(t.Context(), state(t, s, &wide, network("red")))
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("error %v", err)
	}
	_, got := load(t, kv)
	same(t, "after the conflict", got, theirs)
}

func TestLoadNamesWhatIsBroken(t *testing.T) {
	kv := store.Memory()
	objects, _ := load(t, kv)
	if err := objects.Save(t.Context(), state(t, config.Empty(), network("blue"))); err != nil {
		t.Fatal(err)
	}
	put(t, kv, "/taprouter/v1/lease/x", "of no concern")
	put(t, kv, "/taprouter/v1/meta/x", "likewise")
	load(t, kv)
	put(t, kv, "/taprouter/v1/port/p", "1 00000000 {}")
	put(t, kv, "/taprouter/v1/router/r", "")
	put(t, kv, "/taprouter/v1/trunk/t", "")
	_, _, err := store.NewObjects(kv).Load(t.Context())
	wants(t, err, store.ErrBrokenValue, `"/taprouter/v1/port/p"`, `"/taprouter/v1/router/r"`, `"/taprouter/v1/trunk/t"`)
	wants(t, err, store.ErrNewerValue)
}
