package store

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A disk is a journal that keeps nothing. It may be slow or full.
type disk struct {
	wait atomic.Pointer[chan struct{}] // closed when it has written; nil: at once
	full atomic.Bool

	writes int
}

var errFull = errors.New("full")

func (d *disk) write(*content, []change) error {
	d.writes++
	if wait := d.wait.Load(); wait != nil {
		<-*wait
	}
	if d.full.Load() {
		return errFull
	}
	return nil
}

func (d *disk) close() error { return nil }

// leased makes a store with a key that a lease of a second has.
func leased(t *testing.T, d *disk) (Store, Lease) {
	t.Helper()
	s := newTable(&content{}, d)
	t.Cleanup(func() { _ = s.Close() })
	l, err := s.Lease(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Txn(t.Context(), nil, []Op{{Key: "a", Lease: l.ID()}}); err != nil {
		t.Fatal(err)
	}
	return s, l
}

func has(t *testing.T, s Store, key string) bool {
	t.Helper()
	synctest.Wait()
	kvs, _, err := s.Range(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return len(kvs) > 0
}

// A lease that is over while the disk is busy may still be renewed, as long as its end is not being written down. A
// busy disk stops no reader.
func TestLeaseAndSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		s, l := leased(t, d)
		time.Sleep(time.Second / 2)
		wait := make(chan struct{})
		d.wait.Store(&wait)
		go s.Txn(t.Context(), nil, []Op{{Key: "b"}}) //nolint:errcheck // seen below
		time.Sleep(time.Second)
		if has(t, s, "b") || !has(t, s, "a") {
			t.Error("what is not on the disk is there")
		}
		if err := l.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		close(wait)
		if !has(t, s, "b") || !has(t, s, "a") {
			t.Error("a lease has ended though it was renewed")
		}
		again := make(chan struct{})
		d.wait.Store(&again)
		time.Sleep(time.Second + time.Millisecond)
		if err := l.Renew(t.Context()); !errors.Is(err, ErrLeaseEnded) {
			t.Errorf("Renew while the end is written down: %v", err)
		}
		close(again)
		if has(t, s, "a") {
			t.Error("the lease does not end")
		}
	})
}

// Several Txns are written down at once. If they cannot be, none of them is there.
func TestBatchIsOneWrite(t *testing.T) {
	d := &disk{}
	s := newTable(&content{}, d)
	defer s.Close() //nolint:errcheck // it keeps nothing
	steps := []Step{{Ops: []Op{{Key: "a"}}}, {Ops: []Op{{Key: "b"}}}, {Ops: []Op{{Key: "a", Delete: true}}}}
	d.full.Store(true)
	if _, ok, err := s.Batch(t.Context(), steps); !errors.Is(err, errFull) || ok || s.content.rev != 0 {
		t.Errorf("a full disk: %t, %v, revision %d", ok, err, s.content.rev)
	}
	d.full.Store(false)
	if revs, ok, err := s.Batch(t.Context(), steps); err != nil || !ok || revs[2] != 3 || d.writes != 2 {
		t.Errorf("%v, %t, %v; %d writes", revs, ok, err, d.writes)
	}
}

// A lease whose end cannot be written down lives on, may be renewed, and ends when there is room.
func TestLeaseAndFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		s, l := leased(t, d)
		d.full.Store(true)
		time.Sleep(time.Second + time.Millisecond)
		if !has(t, s, "a") {
			t.Error("a change was made that is not on the disk")
		}
		if err := l.Revoke(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("Revoke: %v", err)
		}
		if err := l.Renew(t.Context()); err != nil {
			t.Errorf("Renew: %v", err)
		}
		time.Sleep(time.Second + time.Millisecond)
		d.full.Store(false)
		time.Sleep(retryAfter)
		if has(t, s, "a") {
			t.Error("the lease does not end")
		}
	})
}

// A record that stands in another's place is found, though it is whole.
func TestRecordOfAnother(t *testing.T) {
	data := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 'v'}
	key := []byte("a")
	binary.BigEndian.PutUint32(data, sum(keysBucket, key, data[4:]))
	rev, lease, value, err := parse(keysBucket, key, data)
	if err != nil || rev != 1 || lease != 0 || string(value) != "v" {
		t.Errorf("the record: %d, %d, %q, %v", rev, lease, value, err)
	}
	for _, err := range []error{
		last(parse(keysBucket, []byte("b"), data)), last(parse(leasesBucket, key, data)),
	} {
		if err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("another's record: %v", err)
		}
	}
}

func last(_, _ int64, _ []byte, err error) error { return err }

// Records that are whole, but do not go together, are no content.
func TestRecordsGoTogether(t *testing.T) {
	for name, c := range map[string]struct {
		lease LeaseID
		rev   int64
		says  string
	}{
		"good":             {0, 1, ""},
		"a lease":          {7, 1, "has a lease that is not there"},
		"a later revision": {0, 3, "is of revision 3, the file of 2"},
		"no revision":      {0, 0, "is of revision 0"},
	} {
		r := reader{headed: true, content: content{rev: 2}}
		r.keys.Set("a", record{c.rev, c.lease, nil})
		if _, err := r.done(); c.says == "" && err != nil || c.says != "" && (err == nil ||
			!strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (&reader{}).done(); err == nil {
		t.Error("a content without its revision")
	}
}

// A file of a newer format is refused, and stays where it is.
func TestNewerFormat(t *testing.T) {
	path := t.TempDir() + "/state.db"
	s, err := Bolt(path, BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.(*table).journal.(*boltFile).db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(tx, headBucket, headKey, format+1, 0, nil), tx.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Bolt(path, BoltOptions{}); !errors.Is(err, errNewer) || errors.Is(err, ErrBroken) {
			t.Errorf("error %v", err)
		}
	}
}

// A page that leads back to itself has no end.
func TestInspectLoop(t *testing.T) {
	path := t.TempDir() + "/state.db"
	s, err := Bolt(path, BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ops := make([]Op, 100)
	for i := range ops {
		ops[i] = Op{Key: string(rune('a' + i)), Value: make([]byte, 200)}
	}
	if _, _, err := s.Txn(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	f, err := openLocked(path, 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	m, err := findMeta(data)
	if err != nil {
		t.Fatal(err)
	}
	loops := 0
	for id := uint64(2); id < m.high; id++ {
		if page := data[id*m.size:]; order.Uint16(page[8:]) == branchPage {
			was := slices.Clone(page[pageHeader+8 : pageHeader+16])
			order.PutUint64(page[pageHeader+8:], id)
			if _, err := inspect(data); err != nil && strings.Contains(err.Error(), "used twice") {
				loops++
			}
			copy(page[pageHeader+8:], was)
		}
	}
	if loops == 0 {
		t.Error("no loop was found")
	}
}
