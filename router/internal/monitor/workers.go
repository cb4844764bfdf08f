package monitor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Workers are the real Schedule: its clock is the runtime's, and goroutines of its own make the calls. They
// stay for the next ones: a check needs a deep stack, which a new goroutine would have to grow each time.
// There are as many as checks are under way, so the checks that wait for the dead keep no other from its
// time. Several monitors may share them.
type Workers struct {
	jobs    chan func()
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // timers that are set, calls under way, and goroutines
	idle    atomic.Int32

	mu     sync.Mutex
	closed bool
	free   []*planned
}

// maxIdle is how many goroutines are kept for the calls to come.
const maxIdle = 64

// NewWorkers returns workers, which have no goroutine yet.
func NewWorkers() *Workers {
	w := &Workers{jobs: make(chan func())}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Now is the time.
func (w *Workers) Now() time.Time { return time.Now() }

// At has fn called at a time; see Schedule. fn may block. After Close it is not called.
func (w *Workers) At(t time.Time, fn func()) (stop func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return func() bool { return true }
	}
	w.running.Add(1)
	p := w.plan()
	p.fn = fn
	if d := time.Until(t); p.timer == nil {
		p.timer = time.AfterFunc(d, func() { w.due(p) })
	} else {
		p.timer.Reset(d)
	}
	use := p.use
	return func() bool { return w.stop(p, use) }
}

// A planned is a call to come. It has a timer, which is used again: otherwise a check a second of each of thousands of
// members would make as many timers.
type planned struct {
	timer *time.Timer
	fn    func()
	use   uint64 // counts the calls for which it was used
}

// plan is a planned call that is free. The caller holds the lock.
func (w *Workers) plan() *planned {
	n := len(w.free)
	if n == 0 {
		return &planned{}
	}
	p := w.free[n-1]
	w.free[n-1] = nil
	w.free = w.free[:n-1]
	return p
}

// release has a planned call used again. The caller holds the lock.
func (w *Workers) release(p *planned) func() {
	fn := p.fn
	p.fn = nil
	p.use++
	w.free = append(w.free, p)
	return fn
}

// stop prevents a planned call, if it has not begun and was not prevented before.
func (w *Workers) stop(p *planned, use uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.use != use || !p.timer.Stop() {
		return false
	}
	w.release(p)
	w.running.Done()
	return true
}

// due makes a planned call.
func (w *Workers) due(p *planned) {
	w.mu.Lock()
	fn := w.release(p)
	w.mu.Unlock()
	w.do(fn)
}

// Close ends the workers, whose monitors must be closed, and returns when no goroutine is left and no
// call is under way.
func (w *Workers) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.running.Wait()
}

// do has an idle worker make a call; without one, the calling goroutine becomes one.
func (w *Workers) do(fn func()) {
	select {
	case w.jobs <- fn:
		return
	default:
	}
	w.running.Add(1)
	defer w.running.Done()
	for ok := true; ok; fn, ok = w.next() {
		fn()
		w.running.Done()
	}
}

// next waits for a worker's next call; false ends it.
func (w *Workers) next() (func(), bool) {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return nil, false
	}
	select {
	case fn := <-w.jobs:
		return fn, true
	case <-w.ctx.Done():
		return nil, false
	}
}
