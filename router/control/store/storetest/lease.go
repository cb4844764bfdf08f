package storetest

import (
	"errors"
	"time"

	"github.com/taprouter/taprouter/router/control/store"
)

func (b *bench) lease() store.Lease {
	b.Helper()
	l, err := b.Lease(b.Context(), b.suite.TTL)
	if err != nil {
		b.Fatal(err)
	}
	if l.ID() == 0 {
		b.Error("a lease with ID 0")
	}
	return l
}

func leased(l store.Lease, key, value string) store.Op {
	return store.Op{Key: key, Value: []byte(value), Lease: l.ID()}
}

func leaseEnds(b *bench) {
	l := b.lease()
	other, err := b.Lease(b.Context(), 100*b.suite.TTL)
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	rev := b.must(leased(l, "a", "1"), leased(l, "b", "1"), put("c", "1"), leased(other, "d", "1"))
	events := b.Watch(b.Context(), "", rev+1)
	b.wantEvent(events, rev+1, del("a"), del("b")) // together
	if took := time.Since(begin); took < b.suite.TTL-time.Millisecond {
		b.Errorf("the lease of %v has lived for %v", b.suite.TTL, took)
	}
	b.expect("", "c=1", "d=1")
	if err := l.Renew(b.Context()); !errors.Is(err, store.ErrLeaseEnded) {
		b.Errorf("Renew of one that has ended: %v", err)
	}
	if err := l.Revoke(b.Context()); err != nil {
		b.Errorf("Revoke of one that has ended: %v", err)
	}
	_, _, err = b.Txn(b.Context(), nil, []store.Op{put("e", "1"), leased(l, "f", "1")})
	if !errors.Is(err, store.ErrLeaseEnded) {
		b.Errorf("a put with one that has ended: %v", err)
	}
	b.expect("", "c=1", "d=1")
}

func leaseRenewed(b *bench) {
	l := b.lease()
	rev := b.must(leased(l, "a", "1"))
	events := b.Watch(b.Context(), "", rev+1)
	for range 4 {
		time.Sleep(b.suite.TTL / 2)
		if err := l.Renew(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.expect("", "a=1")
	}
	b.wantEvent(events, rev+1, del("a"))
}

func leaseRevoked(b *bench) {
	l := b.lease()
	rev := b.must(leased(l, "a", "1"))
	events := b.Watch(b.Context(), "", rev+1)
	for range 2 {
		if err := l.Revoke(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.wantEvent(events, rev+1, del("a"))
	if err := l.Renew(b.Context()); !errors.Is(err, store.ErrLeaseEnded) {
		b.Errorf("Renew after Revoke: %v", err)
	}
	if after := b.expect(""); after != rev+1 {
		b.Errorf("revision %d, want %d", after, rev+1)
	}
}

func leaveLease(b *bench) {
	l := b.lease()
	b.must(leased(l, "a", "1"), leased(l, "b", "1"), leased(l, "c", "1"), leased(l, "d", "1"))
	other, err := b.Lease(b.Context(), 100*b.suite.TTL)
	if err != nil {
		b.Fatal(err)
	}
	b.must(put("a", "2"), del("b"), leased(other, "c", "2"))
	rev := b.must(put("b", "2"))
	b.wantEvent(b.Watch(b.Context(), "", rev+1), rev+1, del("d"))
	b.expect("", "a=2", "b=2", "c=2")
}

func leaseAfterOpening(b *bench) {
	l := b.lease()
	rev := b.must(leased(l, "a", "1"), put("b", "1"))
	b.reopen()
	b.expect("", "a=1", "b=1")
	b.wantEvent(b.Watch(b.Context(), "", rev+1), rev+1, del("a"))
	b.reopen()
	b.expect("", "b=1")
}
