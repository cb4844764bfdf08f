package loop

import "time"

// A Waiter is how a worker sleeps: until a device has frames, another goroutine wakes it,
// or time has passed. The worker calls all methods but Wake.
type Waiter interface {
	// Add watches a link's device from now on. Remove ends that, and comes
	// before the device is closed. A device in memory is not watched: it calls (tap.Device.Notify).
	Add(p *Link) error
	// Remove ends what Add began.
	Remove(p *Link)
	// Pause says whether a link pauses. Its frames need not wake the worker as long as it does, but they may.
	Pause(p *Link, on bool)
	// Look marks the links whose devices have got frames, without waiting.
	Look()
	// Wait is Look, and sleeps if there are no frames: for at most d, without a limit if d
	// is negative.
	Wait(d time.Duration)
	// Hold says whether the worker may keep its processor of the Go scheduler for a moment of each wait. It may if
	// other goroutines have another processor.
	Hold(may bool)
	// Wake ends a wait, or the next one. Any goroutine may call it.
	Wake()
	// Starved reports whether the worker has had to wait for a processor lately, because
	// other threads had all of them.
	Starved(now time.Duration) bool
	// Locked reports whether the worker needs a thread of its own.
	Locked() bool
	// Close gives back what the waiter holds, after the worker has ended.
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
func (c *chanWaiter) Hold(bool)                  {}
func (c *chanWaiter) Starved(time.Duration) bool { return false }
func (c *chanWaiter) Locked() bool               { return false }
func (c *chanWaiter) Close()                     {}
