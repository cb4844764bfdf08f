// Package storetest holds what every store.Store has to do. It is a package of its own because stores that need a
// server are tested in a module of their own.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router/control/store"
)

// A Suite says how the stores to test are made.
type Suite struct {
	// Open opens the store of a folder, a new one in a folder without one. A folder is open at most once.
	Open func(t *testing.T, folder string) store.Store

	// Keeps says that a store that is opened again has what it had when it was closed.
	Keeps bool

	// Real says that the store needs the time of the world, such as that of a server. Else simulated time will do.
	Real bool

	// TTL is the shortest lease that makes sense; a second.
	TTL time.Duration
}

// Run tests the stores.
func (s Suite) Run(t *testing.T) {
	if s.TTL == 0 {
		s.TTL = time.Second
	}
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"an empty store", emptyStore},
		{"a Txn puts and deletes", putAndDelete},
		{"comparisons", comparisons},
		{"a Txn is all or nothing", allOrNothing},
		{"several Txns at once", batches},
		{"several Txns are all or nothing", batchAllOrNothing},
		{"a Txn that changes nothing", noChange},
		{"a Txn that is none", invalid},
		{"any bytes", anyBytes},
		{"Range by prefix", ranges},
		{"values are the store's own", ownValues},
		{"a Watch from now", watchFromNow},
		{"a Watch of the past", watchFromPast},
		{"a Watch of the future", watchFromFuture},
		{"a Watch from too old a revision", watchTooOld},
		{"a Watch after a Range misses nothing", watchAfterRange},
		{"a Watch ends", watchEnds},
		{"a lease ends", leaseEnds},
		{"a lease is renewed", leaseRenewed},
		{"a lease is revoked", leaseRevoked},
		{"a key leaves its lease", leaveLease},
		{"contexts", contexts},
		{"after Close", afterClose},
		{"opened again", openedAgain},
		{"a Watch after it was opened again", watchAfterOpening},
		{"a lease after it was opened again", leaseAfterOpening},
		{"many at once", manyAtOnce},
		{"a counter", counter},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(t *testing.T) {
				b := &bench{T: t, suite: s, folder: t.TempDir()}
				b.open()
				t.Cleanup(b.close)
				c.test(b)
			}
			if s.Real {
				t.Parallel() // most of the time is spent waiting for servers and leases
				run(t)
			} else {
				synctest.Test(t, run)
			}
		})
	}
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// A bench is a store under test.
type bench struct {
	*testing.T
	store.Store
	suite  Suite
	folder string
}

func (b *bench) open() {
	b.Helper()
	b.Store = b.suite.Open(b.T, b.folder)
}

// close ends the store, which may have ended already.
func (b *bench) close() {
	if err := b.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		b.Errorf("Close: %v", err)
	}
}

// reopen closes the store and opens it again.
func (b *bench) reopen() {
	b.Helper()
	if !b.suite.Keeps {
		b.Skip("the store keeps nothing")
	}
	b.close()
	b.open()
}

// must makes a Txn that succeeds.
func (b *bench) must(ops ...store.Op) int64 {
	b.Helper()
	rev, ok, err := b.Txn(b.Context(), nil, ops)
	if err != nil || !ok {
		b.Fatalf("Txn of %s: ok %t, %v", show(ops), ok, err)
	}
	return rev
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

// show writes Ops as key=value, and -key for one that is deleted.
func show(ops []store.Op) string {
	var list []string
	for _, o := range ops {
		if o.Delete {
			list = append(list, "-"+o.Key)
		} else {
			list = append(list, fmt.Sprintf("%s=%s", o.Key, o.Value))
		}
	}
	return fmt.Sprint(list)
}

// expect compares what is below a prefix with key=value, in order. It returns the revision.
func (b *bench) expect(prefix string, want ...string) int64 {
	b.Helper()
	kvs, rev, err := b.Range(b.Context(), prefix)
	if err != nil {
		b.Fatalf("Range %q: %v", prefix, err)
	}
	var got []string
	for _, kv := range kvs {
		if kv.ModRev <= 0 || kv.ModRev > rev {
			b.Errorf("%q has ModRev %d at revision %d", kv.Key, kv.ModRev, rev)
		}
		got = append(got, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	if !slices.Equal(got, want) {
		b.Fatalf("Range %q: %q, want %q", prefix, got, want)
	}
	return rev
}

// modRev is the revision that has put a key, 0 if it is not there.
func (b *bench) modRev(key string) int64 {
	b.Helper()
	kvs, _, err := b.Range(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	if len(kvs) == 0 || kvs[0].Key != key {
		return 0
	}
	return kvs[0].ModRev
}

// next is the next Event.
func (b *bench) next(events <-chan store.Event) store.Event {
	b.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			b.Fatal("the Watch has ended")
		}
		return e
	case <-time.After(patience):
		b.Fatal("no Event has come")
	}
	panic("not reached")
}

// wantEvent reads an Event and compares it with what show writes.
func (b *bench) wantEvent(events <-chan store.Event, rev int64, ops ...store.Op) {
	b.Helper()
	e := b.next(events)
	if e.Err != nil || e.Rev != rev || show(e.Ops) != show(ops) {
		b.Fatalf("Event of revision %d, %s, %v, want revision %d, %s", e.Rev, show(e.Ops), e.Err, rev, show(ops))
	}
}

// wantEnd reads on until the channel is closed.
func (b *bench) wantEnd(events <-chan store.Event) {
	b.Helper()
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-time.After(patience):
			b.Fatal("the Watch does not end")
		}
	}
}

func emptyStore(b *bench) {
	b.expect("")
	if got := b.modRev("a"); got != 0 {
		b.Errorf("ModRev of an absent key: %d", got)
	}
}

func putAndDelete(b *bench) {
	before := b.expect("")
	first := b.must(put("a", "1"), put("b", "2"))
	if first != before+1 {
		b.Errorf("revision %d after %d", first, before)
	}
	if rev := b.expect("", "a=1", "b=2"); rev != first {
		b.Errorf("Range says revision %d, the Txn %d", rev, first)
	}
	second := b.must(put("a", "3"), del("b"), put("c", ""))
	if second != first+1 {
		b.Errorf("revision %d after %d", second, first)
	}
	b.expect("", "a=3", "c=")
	if got := b.modRev("a"); got != second {
		b.Errorf("ModRev %d of a, want %d", got, second)
	}
}

func comparisons(b *bench) {
	rev := b.must(put("a", "1"))
	for _, c := range []struct {
		cmps []store.Cmp
		ok   bool
	}{
		{nil, true},
		{[]store.Cmp{{Key: "a", ModRev: rev}}, true},
		{[]store.Cmp{{Key: "a", ModRev: rev}, {Key: "none"}}, true},
		{[]store.Cmp{{Key: "a"}}, false},
		{[]store.Cmp{{Key: "a", ModRev: rev + 1}}, false},
		{[]store.Cmp{{Key: "a", ModRev: rev - 1}}, false},
		{[]store.Cmp{{Key: "none", ModRev: rev}}, false},
		{[]store.Cmp{{Key: "none"}, {Key: "a"}}, false},
	} {
		before := b.expect("a", "a=1")
		got, ok, err := b.Txn(b.Context(), c.cmps, []store.Op{put("b", "1")})
		if err != nil || ok != c.ok {
			b.Errorf("%v: ok %t, %v, want %t", c.cmps, ok, err, c.ok)
		}
		if want := before + map[bool]int64{true: 1}[c.ok]; got != want {
			b.Errorf("%v: revision %d, want %d", c.cmps, got, want)
		}
	}
}

func allOrNothing(b *bench) {
	rev := b.must(put("a", "1"), put("b", "1"))
	got, ok, err := b.Txn(b.Context(), []store.Cmp{{Key: "a", ModRev: rev}, {Key: "b", ModRev: rev - 1}},
		[]store.Op{put("a", "2"), del("b"), put("c", "2")})
	if err != nil || ok || got != rev {
		b.Errorf("a false comparison: revision %d, ok %t, %v", got, ok, err)
	}
	if after := b.expect("", "a=1", "b=1"); after != rev {
		b.Errorf("revision %d, want %d", after, rev)
	}
}

func noChange(b *bench) {
	rev := b.must(put("a", "1"))
	events := b.Watch(b.Context(), "", 0)
	for _, ops := range [][]store.Op{nil, {del("none")}, {del("none"), del("no other")}} {
		if got := b.must(ops...); got != rev {
			b.Errorf("revision %d after %s, want %d", got, show(ops), rev)
		}
	}
	next := b.must(del("none"), put("a", "1")) // the same value again is a change
	if next != rev+1 {
		b.Errorf("revision %d, want %d", next, rev+1)
	}
	b.wantEvent(events, next, put("a", "1"))
}

func invalid(b *bench) {
	rev := b.must(put("a", "1"))
	for _, c := range []struct {
		cmps []store.Cmp
		ops  []store.Op
	}{
		{nil, []store.Op{put("", "1")}},
		{nil, []store.Op{del("")}},
		{nil, []store.Op{put("b", "1"), put("b", "2")}},
		{nil, []store.Op{put("b", "1"), del("b")}},
		{[]store.Cmp{{}}, []store.Op{put("b", "1")}},
	} {
		if _, ok, err := b.Txn(b.Context(), c.cmps, c.ops); !errors.Is(err, store.ErrInvalid) || ok {
			b.Errorf("%v %s: ok %t, %v", c.cmps, show(c.ops), ok, err)
		}
	}
	if _, _, err := b.Txn(b.Context(), nil, []store.Op{{Key: "b", Lease: 1}}); !errors.Is(err, store.ErrLeaseEnded) {
		b.Errorf("a lease that is none: %v", err)
	}
	if after := b.expect("", "a=1"); after != rev {
		b.Errorf("revision %d, want %d", after, rev)
	}
}

func anyBytes(b *bench) {
	key, value := "\x00\xff/\n", "\xff\x00"
	long := string(make([]byte, 300<<10))
	b.must(put(key, value), put("long", long))
	b.expect("", key+"="+value, "long="+long)
	b.must(del(key), del("long"))
	b.expect("")
}

func ranges(b *bench) {
	b.must(put("/b", "4"), put("/a/2", "2"), put("/a/1", "1"), put("/a", "0"), put("/a0", "3"), put("/a/\xff", "x"))
	b.expect("", "/a=0", "/a/1=1", "/a/2=2", "/a/\xff=x", "/a0=3", "/b=4")
	b.expect("/a/", "/a/1=1", "/a/2=2", "/a/\xff=x")
	b.expect("/a", "/a=0", "/a/1=1", "/a/2=2", "/a/\xff=x", "/a0=3")
	b.expect("/c")
	b.expect("/a/\xff", "/a/\xff=x")
}

func ownValues(b *bench) {
	value := []byte("1")
	b.must(store.Op{Key: "a", Value: value})
	value[0] = '2'
	b.expect("a", "a=1")
}

func watchFromNow(b *bench) {
	b.must(put("/a/0", "1"))
	events, all := b.Watch(b.Context(), "/a/", 0), b.Watch(b.Context(), "", 0)
	// A store behind a network knows of the Watch a little later than the caller, who can tell by the revision.
	one := b.must(put("/a/1", "1"), put("/b/1", "1"), del("/a/0"))
	two := b.must(put("/b/1", "2"))
	three := b.must(del("/a/1"), put("/a/2", "1"))
	b.wantEvent(events, one, put("/a/1", "1"), del("/a/0"))
	b.wantEvent(events, three, del("/a/1"), put("/a/2", "1"))
	b.wantEvent(all, one, put("/a/1", "1"), put("/b/1", "1"), del("/a/0"))
	b.wantEvent(all, two, put("/b/1", "2"))
	b.wantEvent(all, three, del("/a/1"), put("/a/2", "1"))
}

func watchFromPast(b *bench) {
	first := b.must(put("a", "1"))
	b.must(put("a", "2"))
	b.must(put("b", "1"))
	for skip := range int64(3) {
		events := b.Watch(b.Context(), "", first+skip)
		for i, o := range []store.Op{put("a", "1"), put("a", "2"), put("b", "1")}[skip:] {
			b.wantEvent(events, first+skip+int64(i), o)
		}
	}
}

func watchFromFuture(b *bench) {
	rev := b.must(put("a", "1"))
	events := b.Watch(b.Context(), "", rev+3)
	for i := range 4 {
		b.must(put("a", fmt.Sprint(i)))
	}
	b.wantEvent(events, rev+3, put("a", "2"))
	b.wantEvent(events, rev+4, put("a", "3"))
}

// watchTooOld: what a store no longer knows is an error, and never a gap.
func watchTooOld(b *bench) {
	first := b.must(put("a", "0"))
	last := first
	for i := range 5000 {
		if b.suite.Keeps && i == 50 {
			break // a disk is slow, and the history of one that was opened again is tested below
		}
		last = b.must(put("a", fmt.Sprint(i)))
	}
	b.readToEnd(b.Watch(b.Context(), "", first), first, last)
}

// readToEnd reads the Events of a Watch until the last revision. They are complete, or an error that they are not.
func (b *bench) readToEnd(events <-chan store.Event, from, last int64) {
	b.Helper()
	for rev := from; rev <= last; rev++ {
		e := b.next(events)
		if errors.Is(e.Err, store.ErrCompacted) && rev == from {
			b.wantEnd(events)
			return
		}
		if e.Err != nil || e.Rev != rev {
			b.Fatalf("revision %d, %v, want %d", e.Rev, e.Err, rev)
		}
	}
}

func watchAfterRange(b *bench) {
	const n = 30
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			b.must(put("a", fmt.Sprint(i)))
		}
	})
	for range 10 {
		wg.Go(func() {
			kvs, rev, err := b.Range(b.Context(), "a")
			if err != nil {
				b.Error(err)
				return
			}
			seen := -1
			if len(kvs) == 1 {
				_, _ = fmt.Sscan(string(kvs[0].Value), &seen)
			}
			ctx, cancel := context.WithTimeout(b.Context(), patience)
			defer cancel()
			for events := b.Watch(ctx, "a", rev+1); seen < n-1; seen++ {
				if e := <-events; e.Err != nil || len(e.Ops) != 1 || string(e.Ops[0].Value) != fmt.Sprint(seen+1) {
					b.Errorf("after %d: %s, %v", seen, show(e.Ops), e.Err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func watchEnds(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	idle, unread := b.Watch(ctx, "", 0), b.Watch(ctx, "", 0)
	b.must(put("a", "1"))
	b.must(put("a", "2"))
	b.next(idle)
	cancel()
	b.wantEnd(idle)
	b.wantEnd(unread)
	other := b.Watch(b.Context(), "", 0)
	b.close()
	b.wantEnd(other)
	b.wantEnd(b.Watch(b.Context(), "", 0))
}

func contexts(b *bench) {
	rev := b.must(put("a", "1"))
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if _, _, err := b.Range(ctx, ""); !errors.Is(err, context.Canceled) {
		b.Errorf("Range: %v", err)
	}
	if _, _, err := b.Txn(ctx, nil, []store.Op{put("a", "2")}); !errors.Is(err, context.Canceled) {
		b.Errorf("Txn: %v", err)
	}
	if _, err := b.Lease(ctx, b.suite.TTL); !errors.Is(err, context.Canceled) {
		b.Errorf("Lease: %v", err)
	}
	b.wantEnd(b.Watch(ctx, "", 0))
	if after := b.expect("", "a=1"); after != rev {
		b.Errorf("revision %d, want %d", after, rev)
	}
}

func afterClose(b *bench) {
	l := b.lease()
	b.close()
	if _, _, err := b.Range(b.Context(), ""); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Range: %v", err)
	}
	if _, _, err := b.Txn(b.Context(), nil, []store.Op{put("a", "2")}); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Txn: %v", err)
	}
	if _, err := b.Lease(b.Context(), b.suite.TTL); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Lease: %v", err)
	}
	if err := l.Renew(b.Context()); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Renew: %v", err)
	}
	if err := l.Revoke(b.Context()); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Revoke: %v", err)
	}
	if err := b.Close(); !errors.Is(err, store.ErrClosed) {
		b.Errorf("Close: %v", err)
	}
}

func openedAgain(b *bench) {
	b.must(put("a", "1"), put("b", "1"))
	b.must(del("b"), put("c", "1"))
	rev := b.must(put("a", "2"))
	modRev := b.modRev("c")
	b.reopen()
	if got := b.expect("", "a=2", "c=1"); got != rev {
		b.Errorf("revision %d, want %d", got, rev)
	}
	if got := b.modRev("c"); got != modRev {
		b.Errorf("ModRev %d, want %d", got, modRev)
	}
	if got := b.must(del("a")); got != rev+1 {
		b.Errorf("revision %d, want %d", got, rev+1)
	}
	b.reopen()
	if got := b.expect("", "c=1"); got != rev+1 { // a delete leaves no key with its revision
		b.Errorf("revision %d, want %d", got, rev+1)
	}
}

func watchAfterOpening(b *bench) {
	first := b.must(put("a", "1"))
	last := b.must(put("a", "2"))
	b.reopen()
	next, past := b.Watch(b.Context(), "", last+1), b.Watch(b.Context(), "", first)
	rev := b.must(put("a", "3"))
	b.wantEvent(next, rev, put("a", "3"))
	b.readToEnd(past, first, rev)
}

// manyAtOnce: a Range never sees half of a Txn, and a Watch sees each one, whole and in order.
func manyAtOnce(b *bench) {
	const writers, rounds = 4, 25
	start := b.expect("")
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 {
		events := b.Watch(ctx, "", start+1)
		wg.Go(func() {
			for rev := start + 1; rev <= start+writers*rounds; rev++ {
				e := <-events
				if e.Err != nil || e.Rev != rev || len(e.Ops) != 3 {
					b.Errorf("revision %d with %d Ops, %v, want %d with 3", e.Rev, len(e.Ops), e.Err, rev)
					return
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				v := fmt.Sprintf("%d.%d", w, i)
				b.must(put("x", v), put("y", v), put(fmt.Sprint("z", w), v))
			}
		})
		wg.Go(func() {
			last := int64(0)
			for range rounds {
				kvs, rev, err := b.Range(b.Context(), "")
				if err != nil || rev < last {
					b.Errorf("revision %d after %d, %v", rev, last, err)
					return
				}
				last = rev
				if len(kvs) > 1 && (string(kvs[0].Value) != string(kvs[1].Value) || kvs[0].ModRev != rev) {
					b.Errorf("half of a Txn: %q and %q", kvs[0].Value, kvs[1].Value)
				}
			}
		})
	}
	wg.Wait()
	if got, _, _ := b.Range(b.Context(), "z"); len(got) != writers {
		b.Errorf("%d keys of %d", len(got), writers)
	}
}

// counter: with comparisons no change of others is lost.
func counter(b *bench) {
	const writers, rounds = 4, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < rounds; {
				n, modRev := 0, int64(0)
				kvs, _, err := b.Range(b.Context(), "n")
				if err != nil {
					b.Error(err)
					return
				}
				if len(kvs) > 0 {
					modRev = kvs[0].ModRev
					_, _ = fmt.Sscan(string(kvs[0].Value), &n)
				}
				_, ok, err := b.Txn(b.Context(), []store.Cmp{{Key: "n", ModRev: modRev}},
					[]store.Op{put("n", fmt.Sprint(n+1))})
				if err != nil {
					b.Error(err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wg.Wait()
	b.expect("", fmt.Sprintf("n=%d", writers*rounds))
}
