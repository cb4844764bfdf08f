package router

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

// A countingWaiter counts the waits of a worker.
type countingWaiter struct {
	waiter
	waits atomic.Int64
}

func (c *countingWaiter) wait(d time.Duration) {
	c.waits.Add(1)
	c.waiter.wait(d)
}

// A worker that is told to stop does not go to sleep once more: there is nobody left to wake it,
// and it would lie there until the next look at its tables.
func TestStopIsTheLastTurn(t *testing.T) {
	for _, devices := range []bool{false, true} { // by a channel, by epoll
		w, err := newWorker(slog.New(slog.DiscardHandler), devices)
		if err != nil {
			t.Fatal(err)
		}
		c := &countingWaiter{waiter: w.wait}
		w.wait = c
		go w.run()
		if err := w.call(func() {}); err != nil { // what it has just done has it wake up again soon
			t.Fatal(err)
		}
		before := int64(-1)
		w.post(func() { w.stop(); before = c.waits.Load() })
		<-w.done
		if n := c.waits.Load() - before; n != 0 {
			t.Errorf("devices %t: %d waits after the end", devices, n)
		}
		w.wait.close()
	}
}
