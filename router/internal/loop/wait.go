package loop

import "time"

// A Waiter is how a worker sleeps: until a device has frames, somebody wakes it,
// or time has passed. All but wake is the worker's.
type Waiter interface {
	// Add watches a port's device from now on; remove ends that, and comes
	// before the device is closed. Devices in memory are not watched: they call.
	Add(p *Link) error
	Remove(p *Link)
	// Pause says that a port's frames need not wake the worker, or that they need to
	// again. It may be told of some all the same.
	Pause(p *Link, on bool)
	// Look tells the worker which devices have got frames, without waiting.
	Look()
	// Wait is look, and sleeps if there is nothing: for at most d, forever if d
	// is negative.
	Wait(d time.Duration)
	// Wake ends a wait, or the next one; any goroutine may call it.
	Wake()
	// Starved reports whether the worker has had to wait for a processor lately, because
	// others want more of them than there are.
	Starved(now time.Duration) bool
	// Locked reports whether the worker needs a thread of its own.
	Locked() bool
	// Close comes when the worker has ended.
	Close()
}

// A chanWaiter serves devices in memory. It uses nothing but a channel, so it
// runs anywhere, and testing/synctest can follow it.
type chanWaiter struct {
	ch chan struct{}
}

func newChanWaiter() *chanWaiter { return &chanWaiter{make(chan struct{}, 1)} }

func (c *chanWaiter) Wake() {
	select {
	case c.ch <- struct{}{}:
	default:
	}
}

func (c *chanWaiter) Wait(d time.Duration) {
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

func (c *chanWaiter) Add(*Link) error            { return nil }
func (c *chanWaiter) Remove(*Link)               {}
func (c *chanWaiter) Pause(*Link, bool)          {}
func (c *chanWaiter) Look()                      {}
func (c *chanWaiter) Starved(time.Duration) bool { return false }
func (c *chanWaiter) Locked() bool               { return false }
func (c *chanWaiter) Close()                     {}
