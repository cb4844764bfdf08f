package router

import (
	"sync/atomic"
	"time"
)

// A waiter is how a worker sleeps: until a device has frames, somebody wakes it,
// or time has passed. All but wake is the worker's.
type waiter interface {
	// add watches a port's device from now on; remove ends that, and comes
	// before the device is closed. Devices in memory are not watched: they call.
	add(p *link) error
	remove(p *link)
	// pause says that a port's frames need not wake the worker, or that they need to
	// again. It may be told of some all the same.
	pause(p *link, on bool)
	// look tells the worker which devices have got frames, without waiting.
	look()
	// wait is look, and sleeps if there is nothing: for at most d, forever if d
	// is negative.
	wait(d time.Duration)
	// wake ends a wait, or the next one; any goroutine may call it.
	wake()
	// starved reports whether the worker has had to wait for a processor lately, because
	// others want more of them than there are.
	starved(now time.Duration) bool
	// locked reports whether the worker needs a thread of its own.
	locked() bool
	// close comes when the worker has ended.
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

func (c *chanWaiter) wait(d time.Duration) {
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

func (c *chanWaiter) add(*link) error            { return nil }
func (c *chanWaiter) remove(*link)               {}
func (c *chanWaiter) pause(*link, bool)          {}
func (c *chanWaiter) look()                      {}
func (c *chanWaiter) starved(time.Duration) bool { return false }
func (c *chanWaiter) locked() bool               { return false }
func (c *chanWaiter) close()                     {}

// pending is set by a device in memory when it has frames; see Device.Notify.
type pending = atomic.Bool
