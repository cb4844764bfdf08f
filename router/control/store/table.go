package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"
)

// Memory returns a Store that keeps nothing after its end.
func Memory() Store { return newTable(&content{}, nil) }

// A content is what a store has kept.
type content struct {
	rev    int64
	keys   btree.Map[string, record]
	leases btree.Map[LeaseID, time.Duration] // how long they live without being renewed
}

// A record is what belongs to a key.
type record struct {
	rev   int64 // that has put it
	lease LeaseID
	value []byte
}

// copy returns a content that later changes of c leave alone. It shares what stays the same.
func (c *content) copy() *content {
	return &content{c.rev, *c.keys.Copy(), *c.leases.Copy()}
}

// A change is one step from a content to the next one.
type change struct {
	rev    int64 // after it
	ops    []Op  // without those that change nothing
	grants map[LeaseID]time.Duration
	ends   []LeaseID
}

// A journal writes changes down.
type journal interface {
	// write returns when the changes will be there after a crash: all, or after an error none. It gets a copy of the
	// content before. On an error the changes are as if they had never been, but for a crash before the next write.
	write(before *content, changes []change) error

	close() error
}

// A table is a Store whose content is in memory. It has a change written down before it makes it, so what it
// acknowledges is kept, and a disk that is slow or full stops no reader.
type table struct {
	journal journal       // nil: nothing is kept
	writing chan struct{} // holds a value while a change is made

	mu      sync.Mutex // guards what follows, and is never held while something is written down
	content *content
	history history
	alive   map[LeaseID]*lease
	changed chan struct{} // closed at the next change
	closed  bool
	done    chan struct{} // closed with the table
}

// newTable makes a table of what was kept. Its leases begin anew.
func newTable(c *content, j journal) *table {
	t := &table{
		journal: j, writing: make(chan struct{}, 1), content: c, history: history{oldest: c.rev + 1},
		alive: map[LeaseID]*lease{}, changed: make(chan struct{}), done: make(chan struct{}),
	}
	t.mu.Lock() // a lease may end at once
	defer t.mu.Unlock()
	c.leases.Scan(func(id LeaseID, ttl time.Duration) bool {
		t.begin(id, ttl)
		return true
	})
	c.keys.Scan(func(key string, r record) bool {
		if l := t.alive[r.lease]; l != nil {
			l.keys[key] = true
		}
		return true
	})
	return t
}

// Range implements Store.
func (t *table) Range(ctx context.Context, prefix string) ([]KV, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("store: range %q: %w", prefix, err)
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, 0, fmt.Errorf("store: range %q: %w", prefix, ErrClosed)
	}
	rev, keys := t.content.rev, t.content.keys.Copy()
	t.mu.Unlock()
	var list []KV
	keys.Ascend(prefix, func(key string, r record) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		list = append(list, KV{key, r.value, r.rev})
		return true
	})
	return list, rev, nil
}

// Txn implements Store.
func (t *table) Txn(ctx context.Context, cmps []Cmp, ops []Op) (int64, bool, error) {
	revs, ok, err := t.Batch(ctx, []Step{{cmps, ops}})
	if err != nil {
		return 0, false, err
	}
	return revs[0], ok, nil
}

// Batch implements Batcher.
func (t *table) Batch(ctx context.Context, steps []Step) ([]int64, bool, error) {
	for _, s := range steps {
		if err := check(s.Cmps, s.Ops); err != nil {
			return nil, false, err
		}
	}
	if err := t.lock(ctx); err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	defer t.unlock()
	revs := make([]int64, len(steps))
	changes, ok, err := t.judge(steps, revs)
	if err == nil && len(changes) > 0 {
		err = t.make(changes)
	}
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	return revs, ok, nil
}

// judge says whether the comparisons hold, what the steps change, and the revision after each. If they do not hold,
// nothing changes, and the revisions are the one before.
func (t *table) judge(steps []Step, revs []int64) (changes []change, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.content
	if len(steps) > 1 {
		now = now.copy() // a step sees what the ones before it have changed
	}
	for i := range revs {
		revs[i] = t.content.rev
	}
	for i, s := range steps {
		c, ok, err := t.judgeStep(now, s)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			for k := range i {
				revs[k] = t.content.rev
			}
			return nil, false, nil
		}
		if len(c.ops) > 0 {
			if c.rev++; len(steps) > 1 {
				now.apply(c)
			}
			changes = append(changes, c)
		}
		revs[i] = c.rev
	}
	return changes, true, nil
}

// judgeStep is judge for one step after a content. The revision is the one before. The caller holds mu.
func (t *table) judgeStep(now *content, s Step) (change, bool, error) {
	c := change{rev: now.rev}
	for _, cmp := range s.Cmps {
		if r, _ := now.keys.Get(cmp.Key); r.rev != cmp.ModRev {
			return c, false, nil
		}
	}
	for _, o := range s.Ops {
		switch _, there := now.keys.Get(o.Key); {
		case !o.Delete && o.Lease != 0 && t.alive[o.Lease] == nil:
			return c, false, fmt.Errorf("put %q with lease %x: %w", o.Key, o.Lease, ErrLeaseEnded)
		case !o.Delete:
			o.Value = bytes.Clone(o.Value) // the caller may use its bytes again
			c.ops = append(c.ops, o)
		case there:
			c.ops = append(c.ops, Op{Key: o.Key, Delete: true})
		}
	}
	return c, true, nil
}

// make writes changes down and then makes them. The caller holds writing.
func (t *table) make(changes []change) error {
	if t.journal != nil {
		t.mu.Lock()
		before := t.content.copy()
		t.mu.Unlock()
		if err := t.journal.write(before, changes); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		t.take(c)
	}
	return nil
}

// take makes a change that is written down. The caller holds mu.
func (t *table) take(c change) {
	for id, ttl := range c.grants {
		t.begin(id, ttl)
	}
	for _, o := range c.ops {
		if old, there := t.content.keys.Get(o.Key); there && t.alive[old.lease] != nil {
			delete(t.alive[old.lease].keys, o.Key)
		}
		if l := t.alive[o.Lease]; l != nil {
			l.keys[o.Key] = true
		}
	}
	t.content.apply(c)
	for _, id := range c.ends {
		t.alive[id].timer.Stop()
		delete(t.alive, id)
	}
	if len(c.ops) > 0 {
		t.history.add(c)
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// apply makes a change of the content.
func (c *content) apply(ch change) {
	c.rev = ch.rev
	for id, ttl := range ch.grants {
		c.leases.Set(id, ttl)
	}
	for _, o := range ch.ops {
		if o.Delete {
			c.keys.Delete(o.Key)
		} else {
			c.keys.Set(o.Key, record{ch.rev, o.Lease, o.Value})
		}
	}
	for _, id := range ch.ends {
		c.leases.Delete(id)
	}
}

// lock waits until no other change is made. It fails after the table's end.
func (t *table) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.unlock()
		return ErrClosed
	}
	return nil
}

func (t *table) unlock() { <-t.writing }

// Close implements Store.
func (t *table) Close() error {
	if err := t.lock(context.Background()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer t.unlock()
	t.mu.Lock()
	t.closed = true
	close(t.done)
	for _, l := range t.alive {
		l.timer.Stop()
	}
	t.mu.Unlock()
	if t.journal == nil {
		return nil
	}
	if err := t.journal.close(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}
