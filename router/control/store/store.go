package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Store keeps values by key. It has one revision, which every Txn that changes something makes higher by one. Any
// number of goroutines may use a Store. Keys and values may be any bytes, but for an empty key.
//
// An error of Txn says that nothing was changed. If the process ends before the next Txn that succeeds, a store on a
// disk or behind a network may nevertheless have made the change: the error may have come after the write.
type Store interface {
	// Range lists the keys with a prefix, in their order, and the revision at which they are so. The caller may not
	// change the values.
	Range(ctx context.Context, prefix string) (kvs []KV, rev int64, err error)

	// Txn makes all changes or none. If a comparison fails, it makes none, and ok is false. When it returns without
	// an error, the change is kept: by a store on a disk, it is on the disk. A key occurs once among the changes.
	//
	// The revision is the one after the Txn. A Txn that changes nothing, because it has no Ops or deletes absent keys,
	// leaves the revision as it is.
	Txn(ctx context.Context, cmps []Cmp, ops []Op) (rev int64, ok bool, err error)

	// Watch sends what changes at keys with a prefix, in order, from a revision on; from the next one on if it is 0.
	// The last Event has an Err if the store no longer knows the changes from there, or the reader is too slow. Then
	// the reader has to take a new Range. The channel is closed after that, when the context ends, and when the store
	// is closed.
	Watch(ctx context.Context, prefix string, from int64) <-chan Event

	// Lease makes a lease. It ends after the time if it is not renewed, and its keys are deleted. The time is rounded
	// up to what the store can count. A store on a disk begins the time anew when it is opened.
	Lease(ctx context.Context, ttl time.Duration) (Lease, error)

	// Close ends the store, and waits for what is being written. All other methods return ErrClosed then.
	Close() error
}

// A Batcher is a Store that can do several Txns at once. Memory and Bolt return one.
type Batcher interface {
	Store

	// Batch does a Txn for each step: all of them, or none. A step sees what the steps before it have changed, and each
	// that changes something has a revision of its own, which Watch sends by itself. A store on a disk writes them down
	// at once, so they take one wait for the disk.
	//
	// It returns the revision after each step. If a comparison fails, nothing is changed, and ok is false.
	Batch(ctx context.Context, steps []Step) (revs []int64, ok bool, err error)
}

// A Step is what Txn takes.
type Step struct {
	Cmps []Cmp
	Ops  []Op
}

// A KV is a key with its value.
type KV struct {
	Key    string
	Value  []byte
	ModRev int64 // the revision that has put the value
}

// A Cmp is a condition of a Txn: the key was put last by this revision. 0: there is no such key.
type Cmp struct {
	Key    string
	ModRev int64
}

// An Op is a change of one key.
type Op struct {
	Key    string
	Value  []byte
	Delete bool    // else the value is put
	Lease  LeaseID // deletes the key when it ends; 0: none does, also if one did before
}

// An Event is what one revision has changed at the keys of a Watch, in the order of the Txn.
type Event struct {
	Rev int64
	Ops []Op  // without Lease
	Err error // the last Event of a Watch that cannot go on; errors.Is finds ErrCompacted
}

// A LeaseID names a lease.
type LeaseID int64

// A Lease bounds the life of keys.
type Lease interface {
	ID() LeaseID

	// Renew begins the time anew. An error wraps ErrLeaseEnded if the lease has ended.
	Renew(ctx context.Context) error

	// Revoke ends the lease now. It is no error if the lease has ended.
	Revoke(ctx context.Context) error
}

// Errors that callers tell apart.
var (
	ErrClosed     = errors.New("the store is closed")
	ErrCompacted  = errors.New("the store no longer knows the changes from there on")
	ErrLeaseEnded = errors.New("the lease has ended")
	ErrInvalid    = errors.New("no valid transaction")
)

// check returns the fault of a Txn.
func check(cmps []Cmp, ops []Op) error {
	for _, c := range cmps {
		if c.Key == "" {
			return fmt.Errorf("store: %w: an empty key is compared", ErrInvalid)
		}
	}
	seen := make(map[string]bool, len(ops))
	for _, o := range ops {
		switch {
		case o.Key == "":
			return fmt.Errorf("store: %w: an empty key is changed", ErrInvalid)
		case seen[o.Key]:
			return fmt.Errorf("store: %w: key %q is changed twice", ErrInvalid, o.Key)
		}
		seen[o.Key] = true
	}
	return nil
}
