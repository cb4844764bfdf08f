package router

import (
	"sync/atomic"
	"time"
)

// A waiter is how a worker sleeps: until a device has frames, somebody wakes it,
// or time has passed.
type waiter interface {
	// wait sleeps for at most d, forever if d is negative.
	wait(d time.Duration, ports []*port)
	// wake ends a wait, or the next one; any goroutine may call it.
	wake()
	// ready reports whether a port may have frames; dry says that it had none.
	ready(p *port) bool
	dry(p *port)
	// locked reports whether the worker needs a thread of its own.
	locked() bool
	close()
}

// A chanWaiter serves devices in memory. It uses nothing but a channel, so it
// runs anywhere, and testing/synctest can follow it.
type chanWaiter struct {
	ch chan struct{}
}

func newChanWaiter() *chanWaiter { return &chanWaiter{make(chan struct{}, 1)} }

func (c *chanWaiter) wake() {
	select {
	case c.ch <- struct{}{}:
	default:
	}
}

func (c *chanWaiter) wait(d time.Duration, _ []*port) {
	if d < 0 {
		<-c.ch
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.ch:
	case <-t.C:
	}
}

func (c *chanWaiter) ready(p *port) bool { return p.pending.Swap(false) }
func (c *chanWaiter) dry(*port)          {}
func (c *chanWaiter) locked() bool       { return false }
func (c *chanWaiter) close()             {}

// pending is set by a device in memory when it has frames; see Device.Notify.
type pending = atomic.Bool
