package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// retryAfter is how long a lease that has ended waits if its end cannot be written down, such as on a full disk.
const retryAfter = time.Second

// A lease is a Lease of a table, whose mutex guards it.
type lease struct {
	table *table
	id    LeaseID
	ttl   time.Duration
	keys  map[string]bool
	ends  time.Time
	timer *time.Timer

	ending bool // its end is being written down
}

// Lease implements Store.
func (t *table) Lease(ctx context.Context, ttl time.Duration) (Lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("store: a lease of %v: %w", ttl, ErrInvalid)
	}
	if err := t.lock(ctx); err != nil {
		return nil, fmt.Errorf("store: lease: %w", err)
	}
	defer t.unlock()
	id := LeaseID(rand.Int64())
	for id == 0 || t.alive[id] != nil {
		id = LeaseID(rand.Int64())
	}
	err := t.make([]change{{rev: t.content.rev, grants: map[LeaseID]time.Duration{id: ttl}}})
	if err != nil {
		return nil, fmt.Errorf("store: lease: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.alive[id]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("store: lease of %v: %w", ttl, ErrLeaseEnded)
}

// begin lets a lease live from now on. The caller holds mu.
func (t *table) begin(id LeaseID, ttl time.Duration) {
	l := &lease{table: t, id: id, ttl: ttl, keys: map[string]bool{}, ends: time.Now().Add(ttl)}
	l.timer = time.AfterFunc(ttl, l.end)
	t.alive[id] = l
}

// ID implements Lease.
func (l *lease) ID() LeaseID { return l.id }

// Renew implements Lease.
func (l *lease) Renew(ctx context.Context) error {
	t := l.table
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("store: renew a lease: %w", ctx.Err())
	case t.closed:
		return fmt.Errorf("store: renew a lease: %w", ErrClosed)
	case t.alive[l.id] != l || l.ending:
		return fmt.Errorf("store: renew a lease: %w", ErrLeaseEnded)
	}
	l.ends = time.Now().Add(l.ttl)
	l.timer.Reset(l.ttl)
	return nil
}

// Revoke implements Lease.
func (l *lease) Revoke(ctx context.Context) error {
	if err := l.table.lock(ctx); err != nil {
		return fmt.Errorf("store: revoke a lease: %w", err)
	}
	defer l.table.unlock()
	if err := l.finish(true); err != nil {
		return fmt.Errorf("store: revoke a lease: %w", err)
	}
	return nil
}

// end is called when the time is over. The lease may have been renewed meanwhile.
func (l *lease) end() {
	if l.table.lock(context.Background()) != nil {
		return // the table has ended
	}
	defer l.table.unlock()
	if l.finish(false) != nil {
		l.table.mu.Lock()
		defer l.table.mu.Unlock()
		l.timer.Reset(retryAfter)
	}
}

// finish ends the lease, unless it has time left and may use it, and deletes its keys. The caller holds writing.
func (l *lease) finish(early bool) error {
	t := l.table
	t.mu.Lock()
	if t.alive[l.id] != l || !early && time.Now().Before(l.ends) {
		t.mu.Unlock()
		return nil
	}
	l.ending = true
	c := change{rev: t.content.rev, ends: []LeaseID{l.id}}
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		c.ops = append(c.ops, Op{Key: key, Delete: true})
	}
	t.mu.Unlock()
	if len(c.ops) > 0 {
		c.rev++
	}
	err := t.make([]change{c})
	t.mu.Lock()
	l.ending = err == nil
	t.mu.Unlock()
	return err
}
