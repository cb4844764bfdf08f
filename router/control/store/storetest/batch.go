package storetest

import (
	"errors"

	"github.com/taprouter/taprouter/router/control/store"
)

// batch does several Txns at once. The test ends if the store has no such thing.
func (b *bench) batch(steps ...store.Step) (revs []int64, ok bool, err error) {
	b.Helper()
	s, can := b.Store.(store.Batcher)
	if !can {
		b.Skip("it does one Txn at a time")
	}
	return s.Batch(b.Context(), steps)
}

func step(ops ...store.Op) store.Step { return store.Step{Ops: ops} }

func batches(b *bench) {
	rev := b.must(put("a", "0"), put("b", "0"))
	events := b.Watch(b.Context(), "", rev+1)
	revs, ok, err := b.batch(
		store.Step{Cmps: []store.Cmp{{Key: "a", ModRev: rev}}, Ops: []store.Op{put("a", "1"), put("c", "1")}},
		step(del("nothing")),
		store.Step{Cmps: []store.Cmp{{Key: "a", ModRev: rev + 1}, {Key: "d"}},
			Ops: []store.Op{put("a", "2"), del("b")}},
		step(del("c")),
	)
	if err != nil || !ok || len(revs) != 4 || revs[0] != rev+1 || revs[1] != rev+1 || revs[2] != rev+2 ||
		revs[3] != rev+3 {
		b.Fatalf("revisions %v after %d, %t, %v", revs, rev, ok, err)
	}
	b.wantEvent(events, rev+1, put("a", "1"), put("c", "1"))
	b.wantEvent(events, rev+2, put("a", "2"), del("b"))
	b.wantEvent(events, rev+3, del("c"))
	for range 2 {
		if got := b.expect("", "a=2"); got != rev+3 || b.modRev("a") != rev+2 {
			b.Errorf("revision %d, a of %d", got, b.modRev("a"))
		}
		b.reopen()
	}
}

func batchAllOrNothing(b *bench) {
	rev := b.must(put("a", "0"))
	for name, wrong := range map[string]store.Step{
		"a comparison":              {Cmps: []store.Cmp{{Key: "a", ModRev: rev}}, Ops: []store.Op{put("b", "1")}},
		"a comparison with no step": {Cmps: []store.Cmp{{Key: "b", ModRev: rev}}},
	} {
		revs, ok, err := b.batch(step(put("a", "1")), wrong, step(put("c", "1")))
		if err != nil || ok || len(revs) != 3 || revs[0] != rev || revs[1] != rev || revs[2] != rev {
			b.Errorf("%s: revisions %v, want %d, %t, %v", name, revs, rev, ok, err)
		}
	}
	for name, k := range map[string]struct {
		wrong store.Step
		want  error
	}{
		"an ended lease": {step(store.Op{Key: "b", Lease: 12345}), store.ErrLeaseEnded},
		"no key":         {step(put("", "1")), store.ErrInvalid},
		"a key twice":    {step(put("b", "1"), del("b")), store.ErrInvalid},
	} {
		if _, ok, err := b.batch(step(put("a", "1")), k.wrong); !errors.Is(err, k.want) || ok {
			b.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	if got := b.expect("", "a=0"); got != rev {
		b.Errorf("revision %d, want %d", got, rev)
	}
	if revs, ok, err := b.batch(); len(revs) != 0 || !ok || err != nil {
		b.Errorf("no steps: %v, %t, %v", revs, ok, err)
	}
}
