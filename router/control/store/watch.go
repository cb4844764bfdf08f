package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Bounds of the history: a reader that has fallen further behind takes a new Range.
const (
	maxRevisions = 4096
	maxChanges   = 1 << 16 // of keys; a Txn may have many, and the last one is always kept
)

// A history is what the last revisions have changed.
type history struct {
	oldest int64 // revision that is known, which is the next one if none is
	events []Event
	ops    int // of all events
}

// add remembers a change, and forgets the oldest ones beyond the bounds.
func (h *history) add(c change) {
	h.events = append(h.events, Event{Rev: c.rev, Ops: withoutLease(c.ops)})
	h.ops += len(c.ops)
	drop := 0
	for n := len(h.events); n-drop > maxRevisions || h.ops > maxChanges && n-drop > 1; drop++ {
		h.ops -= len(h.events[drop].Ops)
	}
	clear(h.events[:drop])
	h.events = h.events[drop:]
	h.oldest = h.events[0].Rev
}

func withoutLease(ops []Op) []Op {
	list := slices.Clone(ops)
	for i := range list {
		list[i].Lease = 0
	}
	return list
}

// Watch implements Store.
func (t *table) Watch(ctx context.Context, prefix string, from int64) <-chan Event {
	events := make(chan Event)
	t.mu.Lock()
	if from <= 0 {
		from = t.content.rev + 1
	}
	t.mu.Unlock()
	go t.watch(ctx, prefix, from, events)
	return events
}

func (t *table) watch(ctx context.Context, prefix string, next int64, events chan<- Event) {
	defer close(events)
	for {
		e, changed := t.after(prefix, &next)
		if changed != nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			case <-t.done:
			}
			return
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		case <-t.done:
			return
		}
		if e.Err != nil {
			return
		}
	}
}

// after finds the first Event from a revision on, and moves the revision on. If there is none yet, it returns a channel
// that is closed at the next change.
func (t *table) after(prefix string, next *int64) (Event, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.history
	if *next < h.oldest {
		err := fmt.Errorf("store: watch %q from revision %d: %w: they are known from %d", prefix, *next, ErrCompacted,
			h.oldest)
		return Event{Rev: t.content.rev, Err: err}, nil
	}
	i, _ := slices.BinarySearchFunc(h.events, *next, func(e Event, rev int64) int { return int(e.Rev - rev) })
	for ; i < len(h.events); i++ {
		e := h.events[i]
		*next = e.Rev + 1
		if ops := below(prefix, e.Ops); len(ops) > 0 {
			return Event{Rev: e.Rev, Ops: ops}, nil
		}
	}
	return Event{}, t.changed
}

// below picks the Ops of keys with a prefix.
func below(prefix string, ops []Op) []Op {
	var list []Op
	for _, o := range ops {
		if strings.HasPrefix(o.Key, prefix) {
			list = append(list, o)
		}
	}
	return list
}
