package loop

import (
	"context"
	"os"
	"time"
)

// Look is Call for readers of what the worker owns. There may be any number of readers, and each may have any number
// of steps. So that packets do not wait for all of them, a turn has at most one such step, and packets come between two
// steps. fn must be a short one.
//
// Look returns os.ErrClosed after the worker's end, and the context's error if that ends before fn has begun or while
// it runs. In both cases fn may still run afterwards, so the caller may not look at what it writes. Any goroutine but
// the worker's own may call it.
func (w *Worker) Look(ctx context.Context, fn func()) error {
	select {
	case <-w.Done:
		return os.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case w.looking <- struct{}{}:
	}
	ran := make(chan error, 1)
	look := func() {
		err := ctx.Err()
		if err == nil {
			w.look(fn)
		}
		<-w.looking // here and not below: a reader that has gone leaves its step behind
		ran <- err
	}
	if !w.Post(look) {
		<-w.looking
		return os.ErrClosed
	}
	select {
	case err := <-ran:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.Done:
		select {
		case err := <-ran:
			return err
		default:
			return os.ErrClosed
		}
	}
}

// look runs a step, and notes how long it has taken.
func (w *Worker) look(fn func()) {
	before, ok := w.Busy()
	fn()
	w.looks.Steps++
	if after, _ := w.Busy(); ok {
		w.looks.Longest = max(w.looks.Longest, after-before)
	}
}

// Looks is what Look has cost a worker so far.
type Looks struct {
	Steps   uint64
	Longest time.Duration // processor time of the longest step; 0 where the worker has no thread of its own
}

// Looks returns what Look has cost so far. The worker calls it.
func (w *Worker) Looks() Looks { return w.looks }

// Busy is the processor time that the worker's thread has taken so far. The worker calls it. It reports false where the
// worker has no thread of its own, or the system does not count the time of threads.
func (w *Worker) Busy() (time.Duration, bool) {
	if w.Direct || !w.Waiter.Locked() {
		return 0, false
	}
	return threadTime()
}
