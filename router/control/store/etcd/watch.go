package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/taprouter/taprouter/router/control/store"
)

// maxWaiting bounds the Events that wait for the reader of a Watch. A reader that falls further behind takes a new
// Range. The client's own queue has no bound.
const maxWaiting = 4096

// Watch implements store.Store.
func (s *etcd) Watch(ctx context.Context, prefix string, from int64) <-chan store.Event {
	events := make(chan store.Event)
	ctx, done, err := s.begin(ctx)
	if err != nil {
		close(events)
		return events
	}
	if from <= 0 { // the caller's next change is the first one to send
		now, err := s.client.Get(ctx, prefix+"\x00", clientv3.WithCountOnly())
		if err != nil {
			go func() {
				defer done()
				defer close(events)
				deliver(ctx, events, broken(prefix, from, explain(ctx, err)))
			}()
			return events
		}
		from = now.Header.Revision + 1
	}
	changes := s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from))
	go func() {
		defer done()
		defer close(events)
		forward(ctx, prefix, from, changes, events)
	}()
	return events
}

// forward passes changes on until the context ends, or the Watch cannot go on.
func forward(ctx context.Context, prefix string, from int64, changes clientv3.WatchChan, events chan<- store.Event) {
	var waiting []store.Event
	for {
		var out chan<- store.Event
		var first store.Event
		if len(waiting) > 0 {
			out, first = events, waiting[0]
		}
		select {
		case <-ctx.Done():
			return
		case out <- first:
			if waiting = waiting[1:]; first.Err != nil {
				return
			}
		case got, ok := <-changes:
			more := eventsOf(got.Events)
			switch {
			case got.CompactRevision > 0:
				more = append(more, broken(prefix, from, fmt.Errorf("%w: they are known from %d", store.ErrCompacted,
					got.CompactRevision)))
			case !ok || got.Err() != nil:
				err := fmt.Errorf("the cluster ended it: %w", explain(ctx, got.Err()))
				more = append(more, broken(prefix, from, err))
			case len(waiting)+len(more) > maxWaiting:
				more = []store.Event{broken(prefix, from, fmt.Errorf("%w: the reader is %d changes behind",
					store.ErrCompacted, len(waiting)+len(more)))}
				waiting = nil
			}
			if waiting = append(waiting, more...); len(waiting) > 0 && waiting[len(waiting)-1].Err != nil {
				changes = nil // a nil channel has nothing more to say
			}
		}
	}
}

// deliver sends one Event, unless the context ends first.
func deliver(ctx context.Context, events chan<- store.Event, e store.Event) {
	select {
	case events <- e:
	case <-ctx.Done():
	}
}

// broken is the last Event of a Watch.
func broken(prefix string, from int64, err error) store.Event {
	return store.Event{Err: fmt.Errorf("etcd: watch %q from revision %d: %w", prefix, from, err)}
}

// eventsOf puts together what one revision has changed.
func eventsOf(changes []*clientv3.Event) []store.Event {
	var list []store.Event
	for _, c := range changes {
		if n := len(list); n == 0 || list[n-1].Rev != c.Kv.ModRevision {
			list = append(list, store.Event{Rev: c.Kv.ModRevision})
		}
		o := store.Op{Key: string(c.Kv.Key)}
		if c.Type == clientv3.EventTypeDelete {
			o.Delete = true
		} else {
			o.Value = c.Kv.Value
		}
		last := &list[len(list)-1]
		last.Ops = append(last.Ops, o)
	}
	return list
}
