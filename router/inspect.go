package router

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// An Inspector looks at an engine that runs, and does not disturb it. What it reads, it reads in steps. A turn of a
// worker has at most one of them, and a step looks at some hundred entries. So packets wait less than a millisecond for
// it, however large the tables are and however many readers there are.
//
// What is read in several steps is not of one moment. An error is the context's, or wraps os.ErrClosed after Close. Any
// goroutine may call the methods, but not from a function that the engine calls for a packet.
type Inspector struct{ engine *Engine }

// Inspect returns the Inspector of the engine.
func (e *Engine) Inspect() *Inspector { return &Inspector{e} }

// lookStep is how many entries of a table a worker looks at before it goes on with its packets.
const lookStep = 256

// Alive returns nil when every worker has answered: it has come to the end of its turn, and looks at its mailbox. If
// ctx ends first, the error says how many workers have not.
func (i *Inspector) Alive(ctx context.Context) error {
	workers := i.engine.view.Load().workers
	answers := make(chan struct{}, len(workers))
	for k, w := range workers {
		if !w.Post(func() { answers <- struct{}{} }) {
			return fmt.Errorf("router: worker %d has ended: %w", k, errClosed)
		}
	}
	for n := range workers {
		select {
		case <-answers:
		case <-ctx.Done():
			return fmt.Errorf("router: %d of %d workers do not answer: %w", len(workers)-n, len(workers), ctx.Err())
		}
	}
	return nil
}

// WorkerStats is what a worker has done.
type WorkerStats struct {
	Worker   int
	Turns    uint64        // rounds of its loop: each may have packets of every device
	Busy     time.Duration // processor time of its thread; 0 where it has none of its own, as in a test without devices
	Networks int           // that it reads
	Routers  int           // that it runs
	Steps    uint64        // steps of readers
	Longest  time.Duration // the longest of these steps, in processor time
}

// Workers returns what every worker has done.
func (i *Inspector) Workers(ctx context.Context) ([]WorkerStats, error) {
	workers := i.engine.view.Load().workers
	all := make([]WorkerStats, len(workers))
	for k, w := range workers {
		if err := w.Look(ctx, func() {
			busy, _ := w.Busy()
			looks := w.Looks()
			all[k] = WorkerStats{k, w.Turns, busy, len(w.networks), len(w.routers), looks.Steps, looks.Longest}
		}); err != nil {
			return nil, closed(err)
		}
	}
	return all, nil
}

// Stats is Engine.Stats in steps. RouterStats.TableBytes is 0, as its cost has no bound.
func (i *Inspector) Stats(ctx context.Context) (Stats, error) {
	t := tally{Stats: Stats{Drops: map[DropReason]uint64{}}}
	for _, w := range i.engine.view.Load().workers {
		var networks []*wire.Network
		var routers []*ip.Router
		var links []*loop.Link
		var boxes []*loop.Outbox
		err := w.Look(ctx, func() {
			t.addFrames(w)
			for _, n := range w.networks {
				if n.AnyDenied() {
					networks = append(networks, n)
				}
			}
			routers, links, boxes = slices.Clone(w.routers), slices.Clone(w.Links), slices.Clone(w.Outboxes)
		})
		for k := 0; err == nil && k < len(networks); k++ { // one in a step: it may have a thousand entries
			err = w.Look(ctx, func() { t.addNetwork(w, networks[k]) })
		}
		if err == nil {
			err = inSteps(ctx, w.Worker, routers, func(r *ip.Router) { t.addRouter(r, 0) })
		}
		if err == nil {
			err = inSteps(ctx, w.Worker, links, func(l *loop.Link) { t.addLinks([]*loop.Link{l}) })
		}
		if err == nil {
			err = inSteps(ctx, w.Worker, boxes, func(b *loop.Outbox) { t.addOutboxes([]*loop.Outbox{b}) })
		}
		if err != nil {
			return Stats{}, closed(err)
		}
	}
	return t.stats(), nil
}

// inSteps has a worker call fn for each of a list, some of them in a step.
func inSteps[T any](ctx context.Context, w *loop.Worker, all []T, fn func(T)) error {
	for some := range slices.Chunk(all, lookStep) {
		if err := w.Look(ctx, func() {
			for _, one := range some {
				fn(one)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// A ruled is a router with its rules at one moment.
type ruled struct {
	*ip.Router
	rules *ip.Rules
}

// ruled returns the routers with their rules. Rules never change, so that the caller may read them.
func (i *Inspector) ruled(ctx context.Context, s *config.State, router string) ([]ruled, error) {
	var all []ruled
	byWorker := map[*loop.Worker][]*ruled{}
	routers := i.engine.view.Load().routers
	for _, r := range routers {
		if o := s.Router(config.ID(r.ID)); router == "" || router == string(r.ID) || o != nil && o.Name == router {
			all = append(all, ruled{Router: r})
		}
	}
	for k := range all {
		w := all[k].Worker
		byWorker[w] = append(byWorker[w], &all[k])
	}
	for w, some := range byWorker {
		if err := inSteps(ctx, w, some, func(r *ruled) { r.rules = r.Router.Rules }); err != nil {
			return nil, closed(err)
		}
	}
	return all, nil
}
