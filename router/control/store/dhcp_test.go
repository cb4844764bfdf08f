package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/internal/dhcp"
	"github.com/taprouter/taprouter/router/control/store"
)

// lease is the lease of a client's number of an address.
func lease(n int, a string) dhcp.Change {
	m := dhcp.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}
	began := time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	return dhcp.Change{Lease: dhcp.Lease{Network: "net", Address: netip.MustParseAddr(a), Client: dhcp.Key(m, nil),
		MAC:      m,
		Hostname: fmt.Sprint("host", n), Device: "tap0", Began: began, Ends: began.Add(time.Hour)}}
}

func gone(c dhcp.Change) dhcp.Change {
	c.Gone = true
	return c
}

// keep makes changes, which must all be kept.
func keep(t *testing.T, l *store.DHCPLeases, changes ...dhcp.Change) {
	t.Helper()
	for i, err := range l.Keep(t.Context(), changes) {
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
}

// loaded are the leases of a store, read anew.
func loaded(t *testing.T, s store.Store) []dhcp.Lease {
	t.Helper()
	list, err := store.NewDHCPLeases(s).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// dhcpKeys lists the keys of leases and addresses.
func dhcpKeys(t *testing.T, s store.Store) (keys []string) {
	t.Helper()
	for _, prefix := range []string{"/taprouter/v1/alloc/", "/taprouter/v1/lease/"} {
		kvs, _, err := s.Range(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range kvs {
			keys = append(keys, strings.TrimPrefix(kv.Key, "/taprouter/v1/"))
		}
	}
	return keys
}

// A lease is read as it was kept. Its key and that of its address come, move and go together.
func TestDHCPLeases(t *testing.T) {
	s := store.Memory()
	l := store.NewDHCPLeases(s)
	if list, err := l.Load(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("an empty store has %v, %v", list, err)
	}
	first := lease(1, "10.0.0.5")
	first.ClientID, first.Client = []byte("\x00one"), dhcp.Key(first.MAC, []byte("\x00one"))
	keep(t, l, first, lease(2, "10.0.0.6"))
	if got := loaded(t, s); len(got) != 2 || fmt.Sprint(got[1]) != fmt.Sprint(first.Lease) {
		t.Errorf("%+v\nwas kept as\n%+v", first.Lease, got)
	}
	keys := func(want ...string) {
		t.Helper()
		if got := dhcpKeys(t, s); !slices.Equal(got, want) {
			t.Errorf("keys %q, want %q", got, want)
		}
	}
	keys("alloc/net/10.0.0.5", "alloc/net/10.0.0.6", "lease/net/02:00:00:00:00:02", "lease/net/id-006f6e65")
	moved := first
	moved.Address = netip.MustParseAddr("10.0.0.7")
	keep(t, l, moved)
	keys("alloc/net/10.0.0.6", "alloc/net/10.0.0.7", "lease/net/02:00:00:00:00:02", "lease/net/id-006f6e65")
	keep(t, l, gone(first)) // it has another address by now
	keep(t, l, gone(lease(2, "10.0.0.6")), lease(3, "10.0.0.6"))
	keep(t, l, gone(lease(2, "10.0.0.6"))) // which is another client's
	keys("alloc/net/10.0.0.6", "alloc/net/10.0.0.7", "lease/net/02:00:00:00:00:03", "lease/net/id-006f6e65")
	again := store.NewDHCPLeases(s)
	if _, err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(t, again, gone(moved), gone(lease(3, "10.0.0.6")))
	keys()
	found := lease(4, "10.0.0.8")
	quarantined := found
	quarantined.Client, quarantined.Declined = "declined-10.0.0.8", true
	keep(t, again, found)
	keep(t, again, gone(found), quarantined)
	if got := loaded(t, s); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(quarantined.Lease) {
		t.Errorf("%+v\nwas kept as\n%+v", quarantined.Lease, got)
	}
	keep(t, again, gone(quarantined), lease(5, "10.0.0.8"))
	keys("alloc/net/10.0.0.8", "lease/net/02:00:00:00:00:05")
}

// An address that another program has given out is not given, and what is kept beside it is.
func TestDHCPConflict(t *testing.T) {
	s := store.Memory()
	a, b := store.NewDHCPLeases(s), store.NewDHCPLeases(s)
	for _, l := range []*store.DHCPLeases{a, b} {
		if _, err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, a, lease(1, "10.0.0.5"))
	errs := b.Keep(t.Context(), []dhcp.Change{lease(2, "10.0.0.5"), lease(3, "10.0.0.6")})
	if !errors.Is(errs[0], store.ErrConflict) || errs[1] != nil {
		t.Errorf("kept with %v", errs)
	}
	if errs := b.Keep(t.Context(), []dhcp.Change{lease(2, "10.0.0.5")}); !errors.Is(errs[0], store.ErrConflict) {
		t.Errorf("the second time: %v", errs)
	}
	keep(t, a, gone(lease(1, "10.0.0.5")))
	keep(t, b, lease(2, "10.0.0.5"))
	if got := loaded(t, s); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

// A flaky store reports errors of changes that it has made, and of some that it has not.
type flaky struct {
	store.Store
	fail, make bool
}

func (f *flaky) Txn(ctx context.Context, cmps []store.Cmp, ops []store.Op) (int64, bool, error) {
	if !f.fail {
		return f.Store.Txn(ctx, cmps, ops)
	}
	if f.make {
		_, _, _ = f.Store.Txn(ctx, cmps, ops)
	}
	return 0, false, errors.New("the connection was lost")
}

// After an error the store is read again, because it may have made the change.
func TestDHCPDoubtful(t *testing.T) {
	for _, made := range []bool{false, true} {
		f := &flaky{Store: store.Memory(), make: made}
		l := store.NewDHCPLeases(f)
		if _, err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.fail = true
		if errs := l.Keep(t.Context(), []dhcp.Change{lease(1, "10.0.0.5")}); errs[0] == nil {
			t.Error("no error")
		}
		f.fail = false
		keep(t, l, lease(1, "10.0.0.5"))
		keep(t, l, gone(lease(1, "10.0.0.5")))
		if keys := dhcpKeys(t, f); len(keys) != 0 {
			t.Errorf("left are %q", keys)
		}
	}
}

// Values that cannot be read cost nobody else's lease, and their addresses are free.
func TestDHCPBroken(t *testing.T) {
	s := store.Memory()
	l := store.NewDHCPLeases(s)
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(t, l, lease(1, "10.0.0.5"), lease(2, "10.0.0.6"))
	broken := "/taprouter/v1/lease/net/02:00:00:00:00:01"
	if _, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: broken, Value: []byte("1 00000000 {}")}}); err != nil {
		t.Fatal(err)
	}
	l = store.NewDHCPLeases(s)
	list, err := l.Load(t.Context())
	if len(list) != 1 || !errors.Is(err, store.ErrBrokenValue) || !strings.Contains(err.Error(), broken) {
		t.Errorf("read %v, %v", list, err)
	}
	keep(t, l, lease(3, "10.0.0.5"), lease(1, "10.0.0.7"))
	if got := loaded(t, s); len(got) != 3 {
		t.Errorf("there are %v", got)
	}
}

// A counting store counts transactions.
type counting struct {
	store.Store
	mu   sync.Mutex
	txns int
	hold chan struct{} // unless nil: the first waits for it
}

func (c *counting) Txn(ctx context.Context, cmps []store.Cmp, ops []store.Op) (int64, bool, error) {
	c.mu.Lock()
	c.txns++
	first := c.txns == 1
	c.mu.Unlock()
	if first && c.hold != nil {
		<-c.hold
	}
	return c.Store.Txn(ctx, cmps, ops)
}

// Changes that come while others are being written down are written down together.
func TestDHCPTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{Store: store.Memory(), hold: make(chan struct{})}
		l := store.NewDHCPLeases(c)
		if _, err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() { keep(t, l, lease(n, fmt.Sprintf("10.0.0.%d", n))) })
		}
		synctest.Wait()
		close(c.hold)
		all.Wait()
		if c.txns != 2 {
			t.Errorf("%d transactions", c.txns)
		}
		if got := loaded(t, c); len(got) != 100 {
			t.Errorf("%d leases are kept", len(got))
		}
	})
}

// TestDHCPRate prints how long 10 000 leases take that are asked for in small batches, on the disk of the folder in
// TAPROUTER_DISK.
func TestDHCPRate(t *testing.T) {
	folder := os.Getenv("TAPROUTER_DISK")
	if folder == "" {
		t.Skip("TAPROUTER_DISK names no folder")
	}
	s, err := store.Bolt(filepath.Join(folder, "leases.db"), store.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	l := store.NewDHCPLeases(s)
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 16, 64} {
		began := time.Now()
		for n := 0; n < 10_000; n += size {
			var changes []dhcp.Change
			for i := range size {
				changes = append(changes, lease(n+i, fmt.Sprintf("10.%d.%d.%d", size, (n+i)/250, (n+i)%250)))
			}
			keep(t, l, changes...)
		}
		t.Logf("10 000 leases, %d at a time: %v", size, time.Since(began))
	}
}
