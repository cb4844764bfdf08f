// Package etcd keeps what taprouter has to know after a restart in an etcd cluster, so that several hosts can share it.
// It is a module of its own, because etcd's client brings many modules that a router without etcd has no use for.
//
// The revision of a store.Store is the revision of the whole cluster. So it grows by one with each change only if
// nothing else writes to the cluster. A cluster takes at most 128 changes in one Txn, unless its servers run with
// another --max-txn-ops.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/taprouter/taprouter/router/control/store"
)

// New returns a Store of a cluster. The client stays the caller's: it has to be there until the Store is closed, and
// Close leaves it open. Any number of goroutines may use the Store.
func New(client *clientv3.Client) store.Store {
	s := &etcd{client: client}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

type etcd struct {
	client *clientv3.Client
	ctx    context.Context // ends with the Store
	end    context.CancelCauseFunc

	mu    sync.Mutex
	calls sync.WaitGroup // under way; mu is held while one is added
}

// begin begins a call. It fails after the Store's end, or the end of the call's context. The caller calls done when the
// call is over. The context ends with the Store, too.
func (s *etcd) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, nil, store.ErrClosed
	}
	s.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(store.ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.calls.Done()
	}, nil
}

// explain says what an error of a call means to a store's users.
func explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return fmt.Errorf("%w: %w", store.ErrLeaseEnded, err)
	case errors.Is(err, rpctypes.ErrEmptyKey), errors.Is(err, rpctypes.ErrDuplicateKey),
		errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	return err
}

// Range implements store.Store.
func (s *etcd) Range(ctx context.Context, prefix string) ([]store.KV, int64, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("etcd: range %q: %w", prefix, err)
	}
	defer done()
	got, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("etcd: range %q: %w", prefix, explain(ctx, err))
	}
	var list []store.KV
	for _, kv := range got.Kvs {
		list = append(list, store.KV{Key: string(kv.Key), Value: kv.Value, ModRev: kv.ModRevision})
	}
	return list, got.Header.Revision, nil
}

// Txn implements store.Store.
func (s *etcd) Txn(ctx context.Context, cmps []store.Cmp, ops []store.Op) (int64, bool, error) {
	for _, c := range cmps {
		if c.Key == "" { // the server would compare a key that it cannot have
			return 0, false, fmt.Errorf("etcd: %w: an empty key is compared", store.ErrInvalid)
		}
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("etcd: %w", err)
	}
	defer done()
	conditions := make([]clientv3.Cmp, len(cmps))
	for i, c := range cmps {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.ModRev)
	}
	changes := make([]clientv3.Op, len(ops))
	seen := make(map[string]bool, len(ops))
	for i, o := range ops {
		switch { // the server has no name of its own for either: a deleted range may lie over a key that is put
		case o.Key == "":
			return 0, false, fmt.Errorf("etcd: %w: an empty key is changed", store.ErrInvalid)
		case seen[o.Key]:
			return 0, false, fmt.Errorf("etcd: %w: key %q is changed twice", store.ErrInvalid, o.Key)
		}
		seen[o.Key] = true
		if o.Delete {
			changes[i] = clientv3.OpDelete(o.Key)
		} else {
			changes[i] = clientv3.OpPut(o.Key, string(o.Value), clientv3.WithLease(clientv3.LeaseID(o.Lease)))
		}
	}
	got, err := s.client.Txn(ctx).If(conditions...).Then(changes...).Commit()
	if err != nil {
		return 0, false, fmt.Errorf("etcd: %w", explain(ctx, err))
	}
	return got.Header.Revision, got.Succeeded, nil
}

// Lease implements store.Store. The cluster counts in seconds, and has a shortest lease of its own.
func (s *etcd) Lease(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("etcd: a lease of %v: %w", ttl, store.ErrInvalid)
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("etcd: lease: %w", err)
	}
	defer done()
	got, err := s.client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("etcd: lease: %w", explain(ctx, err))
	}
	return &lease{s, got.ID}, nil
}

// Close implements store.Store.
func (s *etcd) Close() error {
	s.mu.Lock()
	closed := s.ctx.Err() != nil
	s.end(store.ErrClosed)
	s.mu.Unlock()
	if closed {
		return fmt.Errorf("etcd: %w", store.ErrClosed)
	}
	s.calls.Wait()
	return nil
}

type lease struct {
	store *etcd
	id    clientv3.LeaseID
}

// ID implements store.Lease.
func (l *lease) ID() store.LeaseID { return store.LeaseID(l.id) }

// Renew implements store.Lease.
func (l *lease) Renew(ctx context.Context) error {
	ctx, done, err := l.store.begin(ctx)
	if err != nil {
		return fmt.Errorf("etcd: renew a lease: %w", err)
	}
	defer done()
	if _, err := l.store.client.KeepAliveOnce(ctx, l.id); err != nil {
		return fmt.Errorf("etcd: renew a lease: %w", explain(ctx, err))
	}
	return nil
}

// Revoke implements store.Lease.
func (l *lease) Revoke(ctx context.Context) error {
	ctx, done, err := l.store.begin(ctx)
	if err != nil {
		return fmt.Errorf("etcd: revoke a lease: %w", err)
	}
	defer done()
	if _, err := l.store.client.Revoke(ctx, l.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("etcd: revoke a lease: %w", explain(ctx, err))
	}
	return nil
}
