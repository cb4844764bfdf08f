package loop

import (
	"testing"
	"time"
)

// A waiter that may hold its processor of the Go scheduler keeps the times of a wait, and is woken, as any other is.
func TestHeldWait(t *testing.T) {
	for _, hold := range []bool{false, true} {
		w, err := newWaiter(true, func(*Link) {}, func(*Link) {})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		w.Hold(hold)
		for _, d := range []time.Duration{0, time.Millisecond, holdFor * time.Millisecond, 20 * time.Millisecond} {
			// A signal may end a wait before its time, so the longest of some counts.
			longest := time.Duration(0)
			for range 5 {
				start := time.Now()
				w.Wait(d)
				longest = max(longest, time.Since(start))
			}
			if longest < d {
				t.Errorf("hold %t: a wait of %v took %v", hold, d, longest)
			}
		}
		for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			time.AfterFunc(after, w.Wake)
			for start := time.Now(); ; {
				w.Wait(-1) // without a wake-up this lasts for ever
				if time.Since(start) >= after {
					break
				}
			}
		}
	}
}
