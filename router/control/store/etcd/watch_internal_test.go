package etcd

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/taprouter/taprouter/router/control/store"
)

func change(rev int64, key string) *clientv3.Event {
	return &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
}

// TestSlowReader: what waits for a reader is bounded, and a gap is an error.
func TestSlowReader(t *testing.T) {
	changes, events := make(chan clientv3.WatchResponse), make(chan store.Event)
	done := make(chan struct{})
	go func() {
		defer close(done)
		forward(t.Context(), "", 1, changes, events)
	}()
	for rev := range int64(maxWaiting + 1) {
		changes <- clientv3.WatchResponse{Events: []*clientv3.Event{change(rev+1, "a")}}
	}
	if e := <-events; !errors.Is(e.Err, store.ErrCompacted) {
		t.Errorf("%+v, want ErrCompacted", e)
	}
	<-done
}

// TestLastEvent: a Watch that ends first sends what it knows.
func TestLastEvent(t *testing.T) {
	for name, last := range map[string]clientv3.WatchResponse{
		"compacted": {CompactRevision: 7},
		"canceled":  {Canceled: true},
	} {
		changes, events := make(chan clientv3.WatchResponse, 2), make(chan store.Event)
		changes <- clientv3.WatchResponse{Events: []*clientv3.Event{change(1, "a"), change(1, "b"), change(2, "a")}}
		changes <- last
		go forward(t.Context(), "", 1, changes, events)
		got := ""
		for e := (store.Event{}); e.Err == nil; {
			e = <-events
			got += fmt.Sprint(e.Rev, len(e.Ops), " ")
			if e.Err != nil && errors.Is(e.Err, store.ErrCompacted) != (name == "compacted") {
				t.Errorf("%s: %v", name, e.Err)
			}
		}
		if want := "1 2 2 1 0 0 "; got != want {
			t.Errorf("%s: revisions and Ops %q, want %q", name, got, want)
		}
	}
}
