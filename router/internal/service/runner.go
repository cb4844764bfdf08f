package service

import (
	"context"
	"sync"
	"time"
)

// A Runner has the requests of all stations answered, a batch of each in turn: the requests of one network wait for a
// store at most, and not for those of another network. It has a few goroutines, and none while there is nothing to do.
// Its methods may be called by any goroutine.
type Runner struct {
	now    func() time.Time
	direct bool
	ctx    context.Context // ends when the Runner does
	end    context.CancelFunc

	mu      sync.Mutex
	ready   []*Station // in their order
	running int
	closed  bool
	stacks  int // that there are
	all     sync.WaitGroup
}

// maxRunning is how many networks are served at the same time. Most of the time goes to waiting for a disk.
const maxRunning = 8

// NewRunner makes a Runner. now is its clock. A direct one has no goroutines: its owner calls Step.
func NewRunner(now func() time.Time, direct bool) *Runner {
	r := &Runner{now: now, direct: direct}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// Now is the time of the Runner's clock.
func (r *Runner) Now() time.Time { return r.now() }

// reserve takes the room of a stack, and reports whether there is any. release gives it back.
func (r *Runner) reserve() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.stacks >= maxStacks {
		return false
	}
	r.stacks++
	return true
}

func (r *Runner) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stacks--
}

// start runs a function on a goroutine that Close waits for. It reports false if the Runner is closed.
func (r *Runner) start(fn func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.all.Go(fn)
	}
	return !r.closed
}

// add notes that a station has something to do. A station is there once at a time.
func (r *Runner) add(s *Station) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.ready = append(r.ready, s)
	if !r.direct && r.running < maxRunning {
		r.running++
		r.all.Go(r.run)
	}
}

// next takes the station that has waited longest.
func (r *Runner) next() *Station {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 {
		r.ready = nil
		if !r.direct {
			r.running--
		}
		return nil
	}
	s := r.ready[0]
	r.ready = r.ready[1:]
	return s
}

func (r *Runner) run() {
	for s := r.next(); s != nil; s = r.next() {
		s.run(r.now())
	}
}

// Step has one batch answered, and reports whether there was one. It is for a direct Runner.
func (r *Runner) Step() bool {
	s := r.next()
	if s != nil {
		s.run(r.now())
	}
	return s != nil
}

// Close ends the Runner, and waits for what is being answered.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed, r.ready = true, nil
	r.mu.Unlock()
	r.end()
	r.all.Wait()
}
