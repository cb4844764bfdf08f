package monitor

import (
	"context"
	"sync"
	"sync/atomic"
)

// Workers are goroutines that do checks, and wait for the next ones: a check needs a deep
// stack, which a new goroutine would have to grow each time. There are as many as checks are
// under way, so that those which wait for the dead keep no other from its time.
type Workers struct {
	jobs    chan job
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	idle    atomic.Int32
}

type job struct {
	m *Monitor
	e *member
}

// maxIdle is how many are kept for the checks to come.
const maxIdle = 64

// NewWorkers returns workers that several monitors may share.
func NewWorkers() *Workers {
	w := &Workers{jobs: make(chan job)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Close ends the workers, whose monitors must be closed, and returns when none is left.
func (w *Workers) Close() {
	w.cancel()
	w.running.Wait()
}

// do has an idle worker do a check; without one, the calling goroutine becomes one.
func (w *Workers) do(j job) {
	select {
	case w.jobs <- j:
		return
	default:
	}
	w.running.Add(1) // before the check is done: who closes waits for checks first
	defer w.running.Done()
	for ok := true; ok; j, ok = w.next() {
		j.m.run(j.e)
		j.m.checks.Done()
	}
}

// next waits for a worker's next check; false ends it.
func (w *Workers) next() (job, bool) {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return job{}, false
	}
	select {
	case j := <-w.jobs:
		return j, true
	case <-w.ctx.Done():
		return job{}, false
	}
}
