package control_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

var errNo = errors.New("no")

// rename edits the name of a pool, which anything may be.
func rename(name string) func(*config.Draft) error {
	return func(d *config.Draft) error {
		p := *d.Pool(config.NameID(config.KindPool, "web servers"))
		p.Name = name
		d.Put(&p)
		return nil
	}
}

// Whatever fails before the commit leaves everything as it was, and gives back what was prepared.
func TestAllOrNothing(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	for name, k := range map[string]struct {
		ctx      context.Context
		edit     func(*config.Draft) error
		fails    error
		store    error
		want     error
		prepared int
	}{
		"the edit": {edit: func(d *config.Draft) error {
			_ = rename("x")(d)
			return errNo
		}, want: errNo},
		"the check": {edit: func(d *config.Draft) error {
			d.Put(&config.Pool{Meta: config.Meta{ID: config.NewID([16]byte{1})}, Protocol: "SCTP"})
			return nil
		}, want: fs.ErrInvalid},
		"the engine":  {edit: rename("x"), fails: errNo, want: errNo},
		"the store":   {edit: rename("x"), store: errNo, want: errNo, prepared: 1},
		"its context": {ctx: stop, edit: rename("x"), want: context.Canceled},
	} {
		e := &fake{state: parse(t, tutorial), fails: k.fails}
		before := e.state
		c := control.NewFor(e, control.Options{
			Store: func(context.Context, []*control.Report) error { return k.store },
			Event: func(control.Report) { t.Errorf("%s: an event", name) },
		})
		if k.ctx == nil {
			k.ctx = t.Context()
		}
		_, err := c.Edit(k.ctx, k.edit)
		if !errors.Is(err, k.want) {
			t.Errorf("%s: %v", name, err)
		}
		if e.state != before || e.prepared != k.prepared || e.discarded != k.prepared || e.committed != 0 {
			t.Errorf("%s: %d prepared, %d discarded, %d committed", name, e.prepared, e.discarded, e.committed)
		}
		if k.store != nil || k.ctx == stop {
			continue
		}
		e.fails = nil
		if c2 := control.NewFor(e, control.Options{}); c2.SetMember("web servers", "WEB1", false) != nil {
			t.Errorf("%s: nothing works any more", name)
		}
	}
}

// A context that ends while the engine prepares ends the change. A store that panics leaves the Control free.
func TestLateEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := &slow{fake: fake{state: parse(t, tutorial)}, meanwhile: cancel}
	stored := false
	c := control.NewFor(e, control.Options{Store: func(context.Context, []*control.Report) error {
		stored = true
		return nil
	}})
	if _, err := c.Edit(ctx, rename("x")); !errors.Is(err, context.Canceled) || stored || e.discarded != 1 ||
		e.committed != 0 {
		t.Errorf("%v; stored %t, discarded %d", err, stored, e.discarded)
	}
	f := &fake{state: parse(t, tutorial)}
	c = control.NewFor(f, control.Options{Store: func(context.Context, []*control.Report) error {
		if f.discarded == 0 {
			panic("store")
		}
		return nil
	}})
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Edit(t.Context(), rename("x"))
		t.Error("no panic")
	}()
	if f.discarded != 1 || c.SetMember("web servers", "WEB1", false) != nil {
		t.Error("the Control is stuck")
	}
}

// A slow engine has something happen while it prepares.
type slow struct {
	fake
	meanwhile func()
}

func (e *slow) Prepare(ctx context.Context, to *config.State) (control.Prepared, error) {
	e.meanwhile()
	return e.fake.Prepare(ctx, to)
}

// The same change is stored, made and told, in this order, and only if something has changed.
func TestOrder(t *testing.T) {
	e := &fake{state: parse(t, tutorial)}
	var said []string
	note := func(what string) func(control.Report) {
		return func(r control.Report) {
			for _, l := range r.Lines() {
				said = append(said, fmt.Sprintf("%s %d: %v", what, e.committed, &l))
			}
		}
	}
	store := note("store")
	c := control.NewFor(e, control.Options{
		Store: func(_ context.Context, changes []*control.Report) error {
			for _, r := range changes {
				store(*r)
			}
			return nil
		},
		Event: note("event"),
	})
	r, err := c.Edit(t.Context(), rename("web"))
	do(t, err)
	if r.To != e.state || len(r.Changes) != 1 {
		t.Errorf("%+v", r)
	}
	do(t, c.SetMember("web", "WEB1", true)) // it is
	do(t, c.SetMember("web", "WEB1", false))
	want := []string{
		`store 0: ~ pool "web": name "web servers" -> "web" (lab.toml:57)`,
		`event 1: ~ pool "web": name "web servers" -> "web" (lab.toml:57)`,
		`store 2: ~ member "WEB1" of pool "web": admin_state_up true -> false (lab.toml:60)`,
		`event 3: ~ member "WEB1" of pool "web": admin_state_up true -> false (lab.toml:60)`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("got:\n%s", strings.Join(said, "\n"))
	}
}

// A caller of EditTold is told of a change after it is stored and before it is made, with the connections that it
// concerns. It is told nothing of a change that is not made. Only EditTold has connections counted.
func TestTold(t *testing.T) {
	e := &fake{state: parse(t, tutorial), counts: []router.Count{{Ended: 3}}}
	stored := 0
	var store error
	c := control.NewFor(e, control.Options{Store: func(context.Context, []*control.Report) error {
		stored++
		return store
	}})
	var told []control.Report
	edit := func(name string) (control.Report, error) {
		return c.EditTold(t.Context(), rename(name), func(r control.Report) {
			if told = append(told, r); e.prepared != 1+e.committed+e.discarded || len(r.Changes) > 0 && stored != 1 {
				t.Errorf("told at the wrong time: %d prepared, %d stored", e.prepared, stored)
			}
		})
	}
	if r, err := edit("web"); err != nil || len(r.Counts) != 1 || len(told) != 1 || told[0].Counts[0].Ended != 3 ||
		len(told[0].Changes) != 1 || e.committed != 1 {
		t.Errorf("%v, %+v, told %+v", err, r.Counts, told)
	}
	if r, err := edit("web"); err != nil || len(r.Changes) != 0 || len(told) != 2 || e.counted != 1 {
		t.Errorf("nothing differs: %v, %+v, told %d times, counted %d times", err, r.Changes, len(told), e.counted)
	}
	store = errNo
	if _, err := edit("other"); !errors.Is(err, errNo) || len(told) != 2 || e.discarded != 1 {
		t.Errorf("a store that refuses: %v, told %d times", err, len(told))
	}
	store = nil
	_, err := c.Edit(t.Context(), rename("other"))
	if do(t, err); e.counted != 2 {
		t.Errorf("connections were counted %d times", e.counted)
	}
}

// Changes of many goroutines come one after the other, and none is lost.
func TestOneWriter(t *testing.T) {
	e := &fake{state: parse(t, tutorial)}
	from, events := e.state, 0
	c := control.NewFor(e, control.Options{Event: func(r control.Report) {
		if r.From != from || len(r.Changes) != 1 {
			t.Errorf("%d changes, or not from the State before", len(r.Changes))
		}
		from, events = r.To, events+1
	}})
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for k := range writers {
		wg.Go(func() {
			for i := range each {
				a := netip.AddrFrom4([4]byte{10, 10, 10, byte(100 + k)})
				if err := c.AssociateFloatingIP(a, netip.AddrFrom4([4]byte{172, 16, 101,
					byte(100 + k*2 + i%2)})); err != nil {
					t.Error(err)
				}
				c.FloatingIPs()
			}
		})
	}
	wg.Wait()
	if events != writers*each || from != e.state || e.state.Count(config.KindFloatingIP) != 4+writers {
		t.Errorf("%d changes, %d floating IPs", events, e.state.Count(config.KindFloatingIP))
	}
	t.Logf("%d changes in %d groups", events, e.committed)
}

// A caller that waits for another caller's change may give up.
func TestWaitingEnds(t *testing.T) {
	c, _ := start(t, tutorial)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Edit(t.Context(), func(*config.Draft) error {
		done := make(chan error)
		go func() {
			_, err := c.Edit(ctx, rename("x"))
			done <- err
		}()
		cancel()
		return <-done
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A Control is idle while no change is being made, and not before the end of one.
func TestIdle(t *testing.T) {
	c, _ := start(t, tutorial)
	_, err := c.Edit(t.Context(), func(*config.Draft) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return c.Idle(ctx)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("during a change: %v, want that it waits", err)
	}
	for range 2 { // it does not keep others from it
		if err := c.Idle(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Every code is an error of fs, and a refusal has the errors of all its faults.
func TestRefusal(t *testing.T) {
	want := map[config.Code]error{config.Invalid: fs.ErrInvalid, config.Unknown: fs.ErrNotExist,
		config.Taken: fs.ErrExist,
		config.InUse: fs.ErrExist, config.Exhausted: fs.ErrExist, config.Unreached: fs.ErrNotExist,
		config.ReadOnly: fs.ErrPermission}
	all := []error{fs.ErrInvalid, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission}
	for code := config.Invalid; code <= config.ReadOnly; code++ {
		r := &control.Refusal{Faults: config.Faults{{Code: code, Message: "one"}, {Code: code, Message: "two"}}}
		for _, e := range all {
			if errors.Is(r, e) != (e == want[code]) {
				t.Errorf("code %d is %v", code, e)
			}
		}
		if r.Error() != "one\ntwo" {
			t.Errorf("%q", r.Error())
		}
	}
	r := &control.Refusal{Faults: config.Faults{{Code: config.Taken}, {Code: config.Invalid}}}
	if !errors.Is(r, fs.ErrExist) || !errors.Is(r, fs.ErrInvalid) {
		t.Error("only one of two codes")
	}
}

// Addresses that are claimed outside of the State are not chosen.
func TestClaimed(t *testing.T) {
	e := &fake{state: parse(t, tutorial)}
	c := control.NewFor(e, control.Options{Claimed: func(n config.ID, a netip.Addr) bool {
		return n == config.NameID(config.KindNetwork, "ext_net") && a.Less(addr("10.10.10.15"))
	}})
	if a, err := c.CreateFloatingIP("ext_net", netip.Addr{}); err != nil || a != addr("10.10.10.15") {
		t.Errorf("%v, %v", a, err)
	}
	f := slices.Collect(e.state.FloatingIPsAt(addr("10.10.10.15")))
	if len(f) != 1 || len(f[0].ID) != 36 || f[0].ID[14] != '4' || time.Since(f[0].Created) > time.Hour {
		t.Errorf("%+v", f)
	}
}

// While a change is checked, no address is leased; from then on until its end its own addresses are not. One that is
// leased and asked for by name is refused.
func TestLeases(t *testing.T) {
	e := &fake{state: parse(t, tutorial)}
	leased := addr("10.10.10.5")
	held, claims := false, 0
	var claimed []netip.Addr
	during := func(what string, want bool) {
		t.Helper()
		if held != want {
			t.Errorf("%s: leases are held: %v", what, held)
		}
	}
	var stored error
	c := control.NewFor(e, control.Options{
		Claimed: func(_ config.ID, a netip.Addr) bool {
			during("choosing", true)
			return a == leased
		},
		Holder: func(_ config.ID, a netip.Addr) (config.MAC, bool) {
			during("checking", true)
			return config.MAC{2, 0, 0, 0, 0, 1}, a == leased
		},
		Hold: func() func() {
			held = true
			return func() { held = false }
		},
		Claim: func(r control.Report) func() {
			during("claiming", true)
			claims++
			claimed = append(claimed, r.Changes[0].After.(*config.FloatingIP).Address)
			return func() { claims-- }
		},
		Store: func(context.Context, []*control.Report) error {
			during("storing", false)
			if claims != 1 {
				t.Errorf("%d claims while the change is stored", claims)
			}
			return stored
		},
	})
	var chosen []netip.Addr
	for range 3 {
		a, err := c.CreateFloatingIP("ext_net", netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		chosen = append(chosen, a)
	}
	if slices.Contains(chosen, leased) || !slices.Equal(chosen, claimed) {
		t.Errorf("chose %v, claimed %v", chosen, claimed)
	}
	_, err := c.CreateFloatingIP("ext_net", leased)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "02:00:00:00:00:01") {
		t.Errorf("a leased address by name: %v", err)
	}
	stored = errors.New("full")
	if _, err = c.CreateFloatingIP("ext_net", netip.Addr{}); err == nil {
		t.Error("no error")
	}
	if held || claims != 0 {
		t.Errorf("at the end leases are held: %v, and there are %d claims", held, claims)
	}
}

// TestCost prints what a change costs beside the engine's part: the draft, the check and the difference.
func TestCost(t *testing.T) {
	c, e := start(t, `
[[network]]
name = "net"
  [[network.subnet]]
  cidr = "10.0.0.0/16"

[[network]]
name = "ext"
external = true
  [[network.subnet]]
  cidr = "10.1.0.0/16"

[[router]]
name = "r"
interfaces = ["net"]
gateway = { network = "ext" }
`)
	at := func(net, i int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(net), byte(1 + i/250), byte(1 + i%250)})
	}
	const n = 6000
	_, err := c.Edit(t.Context(), func(d *config.Draft) error {
		for i := range n {
			d.Put(&config.FloatingIP{Meta: config.Meta{ID: config.NameID(config.KindFloatingIP, fmt.Sprint(i))},
				Network: config.NameID(config.KindNetwork, "ext"), Address: at(1, i), FixedIP: at(0, i)})
		}
		return nil
	})
	do(t, err)
	for _, k := range []struct {
		what string
		do   func(i int) error
	}{
		{"associate a new one", func(i int) error { return c.AssociateFloatingIP(at(1, n+i), at(0, n+i)) }},
		{"move one", func(i int) error { return c.AssociateFloatingIP(at(1, n+i), at(0, 2*n+i)) }},
		{"disassociate one", func(i int) error { return c.DisassociateFloatingIP(at(1, n+i)) }},
		{"delete one", func(i int) error { return c.DeleteFloatingIP(at(1, n+i)) }},
	} {
		took := make([]time.Duration, 200)
		for i := range took {
			begun := time.Now()
			do(t, k.do(i))
			took[i] = time.Since(begun)
		}
		slices.Sort(took) // others may use the processor meanwhile: the lowest values are the ones that count
		t.Logf("%s among %d: %v at least, median %v", k.what, n, took[0], took[len(took)/2])
	}
	if got := e.state.Count(config.KindFloatingIP); got != n {
		t.Errorf("%d floating IPs", got)
	}
}
