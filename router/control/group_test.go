package control_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
)

// A gate is a store that holds up what it writes until it is told what becomes of it.
type gate struct {
	wrote  chan []*control.Report
	answer chan error
}

func newGate() *gate { return &gate{make(chan []*control.Report), make(chan error)} }

func (g *gate) store(_ context.Context, changes []*control.Report) error {
	g.wrote <- changes
	return <-g.answer
}

// add makes a network.
func add(name string) func(*config.Draft) error {
	return func(d *config.Draft) error {
		d.Put(&config.Network{Meta: config.Meta{ID: config.NameID(config.KindNetwork, name), Name: name}})
		return nil
	}
}

func has(s *config.State, name string) bool {
	return s.Network(config.NameID(config.KindNetwork, name)) != nil
}

// names are the objects that changes are about.
func names(changes []*control.Report) []string {
	var list []string
	for _, r := range changes {
		for _, ch := range r.Changes {
			o := ch.After
			if o == nil {
				o = ch.Before
			}
			list = append(list, o.About().Name)
		}
	}
	return list
}

// An asked is an Edit on another goroutine.
type asked struct {
	r   control.Report
	err error
	end bool
}

func ask(ctx context.Context, c *control.Control, edit func(*config.Draft) error) *asked {
	a := &asked{}
	go func() {
		a.r, a.err = c.Edit(ctx, edit)
		a.end = true
	}()
	synctest.Wait() // so the next one comes after it
	return a
}

// grouped runs a test of changes that come while the first one is being written down.
func grouped(t *testing.T, test func(t *testing.T, e *fake, g *gate, c *control.Control, events *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, g := &fake{state: parse(t, tutorial)}, newGate()
		var events []string
		c := control.NewFor(e, control.Options{Store: g.store, Event: func(r control.Report) {
			events = append(events, names([]*control.Report{&r})...)
		}})
		first := ask(t.Context(), c, add("first"))
		if wrote := <-g.wrote; len(wrote) != 1 {
			t.Fatalf("%d changes", len(wrote))
		}
		test(t, e, g, c, &events)
		synctest.Wait()
		if !first.end {
			t.Error("the first change does not end")
		}
	})
}

// Changes that come while another one is written down are written and made at once. Each has its own Report, event and
// answer. One that is refused, or changes nothing, is alone in that. Readers do not wait.
func TestGroup(t *testing.T) {
	grouped(t, func(t *testing.T, e *fake, g *gate, c *control.Control, events *[]string) {
		a, b := ask(t.Context(), c, add("a")), ask(t.Context(), c, add("b"))
		wrong := ask(t.Context(), c, func(*config.Draft) error { return errNo })
		same := ask(t.Context(), c, add("a"))
		if has(c.State(), "first") || a.end || b.end || wrong.end || same.end {
			t.Error("something is there before it is written down")
		}
		g.answer <- nil
		if wrote := names(<-g.wrote); !slices.Equal(wrote, []string{"a", "b"}) {
			t.Errorf("written at once: %v", wrote)
		}
		if !has(c.State(), "first") || has(c.State(), "a") {
			t.Error("a State that is not the served one")
		}
		g.answer <- nil
		synctest.Wait()
		if a.err != nil || b.err != nil || same.err != nil || !errors.Is(wrong.err, errNo) || e.committed != 2 {
			t.Errorf("%v, %v, %v, %v; %d made", a.err, b.err, same.err, wrong.err, e.committed)
		}
		if !has(a.r.To, "a") || has(a.r.To, "b") || b.r.From != a.r.To || b.r.To.Version() != a.r.To.Version()+1 ||
			len(same.r.Changes) != 0 {
			t.Error("a Report is not that of its change")
		}
		if !slices.Equal(*events, []string{"first", "a", "b"}) {
			t.Errorf("events %v", *events)
		}
	})
}

// What cannot be written down is made for nobody, and each caller hears so. A change that came later begins anew, as
// does one that was refused by what is not there.
func TestGroupIsNotKept(t *testing.T) {
	grouped(t, func(t *testing.T, e *fake, g *gate, c *control.Control, events *[]string) {
		a, b := ask(t.Context(), c, add("a")), ask(t.Context(), c, add("b"))
		g.answer <- nil
		<-g.wrote
		late := ask(t.Context(), c, add("late"))
		depends := ask(t.Context(), c, func(d *config.Draft) error {
			if d.Network(config.NameID(config.KindNetwork, "a")) != nil {
				return fs.ErrExist
			}
			return add("depends")(d)
		})
		g.answer <- errNo
		for range 2 { // they come in any order, at once or one after the other
			for _, name := range names(<-g.wrote) {
				if name == "a" || name == "b" {
					t.Errorf("%s is written although it was refused", name)
				}
			}
			g.answer <- nil
			if synctest.Wait(); late.end && depends.end {
				break
			}
		}
		for _, x := range []*asked{a, b} {
			if !errors.Is(x.err, errNo) || !errors.Is(x.err, control.ErrNotKept) {
				t.Error(x.err)
			}
		}
		if late.err != nil || depends.err != nil {
			t.Errorf("%v, %v", late.err, depends.err)
		}
		if s := c.State(); has(s, "a") || has(s, "b") || !has(s, "late") || !has(s, "depends") {
			t.Error("the wrong State")
		}
		if len(*events) != 3 || e.discarded != 1 {
			t.Errorf("events %v, %d discarded", *events, e.discarded)
		}
	})
}

// Two changes of the same object, and floating IPs that have an address one after the other, are not made at once:
// connections see each change.
func TestGroupsOfOneObject(t *testing.T) {
	grouped(t, func(t *testing.T, _ *fake, g *gate, c *control.Control, _ *[]string) {
		floating := func(name string) config.FloatingIP {
			return config.FloatingIP{Meta: config.Meta{ID: config.NameID(config.KindFloatingIP, name), Name: name},
				Network: config.NameID(config.KindNetwork, "ext_net"), Address: addr("10.10.10.20")}
		}
		f := floating("one")
		ask(t.Context(), c, func(d *config.Draft) error {
			d.Put(&f)
			return nil
		})
		ask(t.Context(), c, add("a"))
		ask(t.Context(), c, func(d *config.Draft) error {
			d.Delete(f.Ref())
			return nil
		})
		ask(t.Context(), c, add("b"))
		ask(t.Context(), c, func(d *config.Draft) error {
			two := floating("two")
			d.Put(&two)
			return nil
		})
		for _, want := range [][]string{{"one", "a"}, {"one", "b"}, {"two"}} {
			g.answer <- nil
			if got := names(<-g.wrote); !slices.Equal(got, want) {
				t.Errorf("written at once: %v, want %v", got, want)
			}
		}
		g.answer <- nil
	})
}

// Where the engine cannot take changes together, each is tried by itself, and only the one that is at fault fails.
func TestGroupThatCannotBe(t *testing.T) {
	grouped(t, func(t *testing.T, e *fake, g *gate, c *control.Control, _ *[]string) {
		e.refuses = func(s *config.State) bool { return has(s, "bad") }
		a, bad, b := ask(t.Context(), c, add("a")), ask(t.Context(), c, add("bad")), ask(t.Context(), c, add("b"))
		g.answer <- nil
		for range 2 {
			<-g.wrote
			g.answer <- nil
		}
		synctest.Wait()
		if a.err != nil || b.err != nil || !errors.Is(bad.err, errNo) {
			t.Errorf("%v, %v, %v", a.err, bad.err, b.err)
		}
		if s := c.State(); !has(s, "a") || has(s, "bad") || !has(s, "b") {
			t.Error("the wrong State")
		}
	})
}

// A caller that goes before its group begins takes its change along, and no other one.
func TestGroupIsLeft(t *testing.T) {
	for goes := range 2 { // the one that leads, or another one
		grouped(t, func(t *testing.T, _ *fake, g *gate, c *control.Control, _ *[]string) {
			var all []*asked
			ctx, cancel := context.WithCancel(t.Context())
			for i := range 3 {
				of := t.Context()
				if i == goes {
					of = ctx
				}
				all = append(all, ask(of, c, add(fmt.Sprint(i))))
			}
			after := ask(t.Context(), c, add("0")) // another group, or no change if 0 is there
			cancel()
			synctest.Wait()
			if a := all[goes]; !a.end || !errors.Is(a.err, context.Canceled) {
				t.Errorf("%d has not left: %v", goes, a.err)
			}
			g.answer <- nil
			for !all[0].end || !all[1].end || !all[2].end || !after.end {
				<-g.wrote
				g.answer <- nil
				synctest.Wait()
			}
			for i, a := range all {
				if i != goes && a.err != nil || has(c.State(), fmt.Sprint(i)) != (i != goes || i == 0) {
					t.Errorf("%d leaves: %d: %v", goes, i, a.err)
				}
			}
		})
	}
}

// A panic of a store that a group leads to reaches the caller that leads. The others begin anew.
func TestGroupPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, hold := &fake{state: parse(t, tutorial)}, make(chan bool)
		calls := 0
		c := control.NewFor(e, control.Options{Store: func(_ context.Context, changes []*control.Report) error {
			if calls++; calls == 1 {
				<-hold
			} else if len(changes) == 2 {
				panic("store")
			}
			return nil
		}})
		first := ask(t.Context(), c, add("first"))
		panicked := false
		go func() {
			defer func() { panicked = recover() != nil }()
			_, _ = c.Edit(t.Context(), add("a"))
		}()
		synctest.Wait()
		b := ask(t.Context(), c, add("b"))
		close(hold)
		synctest.Wait()
		if !panicked || first.err != nil || !b.end || b.err != nil || !has(e.state, "b") || has(e.state, "a") {
			t.Errorf("panicked %t; %v, %v", panicked, first.err, b.err)
		}
	})
}

// EditTold has the Control to itself: groups that there are end first, and nothing else is drafted.
func TestAloneAmongGroups(t *testing.T) {
	e := &fake{state: parse(t, tutorial)}
	var writing sync.Mutex // not held when something is stored: the changes of groups come one after the other
	c := control.NewFor(e, control.Options{Store: func(context.Context, []*control.Report) error {
		if !writing.TryLock() {
			t.Error("two at a time")
			return nil
		}
		defer writing.Unlock()
		return nil
	}})
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if k > 1 {
					_, err := c.Edit(t.Context(), add(fmt.Sprint(k, i)))
					if err != nil {
						t.Error(err)
					}
					continue
				}
				_, err := c.EditTold(t.Context(), func(d *config.Draft) error {
					if !writing.TryLock() {
						t.Error("something is stored during an edit that is alone")
						return nil
					}
					defer writing.Unlock()
					return add(fmt.Sprint(k, i))(d)
				}, func(control.Report) {})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := e.state.Count(config.KindNetwork); n != 3+8*50 {
		t.Errorf("%d networks", n)
	}
}
