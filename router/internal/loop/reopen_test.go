package loop

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// Interfaces are announced when they come: a thousand that are missing are looked at now and
// then only, and the one that is called at once. Opening it may change it, which calls
// it again: that must not go round and round.
func TestReopenerWaitsToBeCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 1000
		var mu sync.Mutex
		attempts := map[string]int{}
		tried := func() map[string]int {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(attempts)
		}
		var r *Reopener
		open := func(name string) func() (tap.Device, error) {
			return func() (tap.Device, error) {
				mu.Lock()
				attempts[name]++
				mu.Unlock()
				if name == "n7" {
					r.Call("n7")
				}
				return nil, tap.ErrMissing
			}
		}
		r = NewReopener(slog.New(slog.DiscardHandler), nil)
		defer r.Stop()
		r.Watched = true
		for i := range devices {
			name := fmt.Sprint("n", i)
			r.add(&lostDevice{name: name, ifname: name, open: open(name)})
		}
		r.add(&lostDevice{name: "t", open: open("t")})
		r.Call("n1")
		r.Call("t")
		synctest.Wait()
		if got := tried(); got["n1"] != 1 || len(got) != 1 {
			t.Errorf("called, and tried: %v", got)
		}
		time.Sleep(reopenInterval + reopenInterval/2)
		synctest.Wait()
		if got := tried(); got["n2"] != 1 { // it may have come before it was missed
			t.Errorf("%d attempts in the first interval, want 1", got["n2"])
		}
		time.Sleep(29 * reopenInterval)
		synctest.Wait()
		got := tried()
		if got["n2"] != 3 || got["t"] != 30 {
			t.Errorf("in 30 s %d attempts on an interface, %d in a namespace, want 3 and 30", got["n2"], got["t"])
		}
		if got["n7"] > 31*callsMost {
			t.Errorf("%d attempts for what each attempt changes", got["n7"])
		}
	})
}

// Without announcements every device is looked for in each interval.
func TestReopenerLooksForWhatNobodyAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		open := func() (tap.Device, error) {
			tries.Add(1)
			return nil, tap.ErrMissing
		}
		r := NewReopener(slog.New(slog.DiscardHandler), nil)
		defer r.Stop()
		r.add(&lostDevice{name: "n", ifname: "n", open: open})
		time.Sleep(30*reopenInterval + reopenInterval/2)
		if synctest.Wait(); tries.Load() != 30 {
			t.Errorf("%d attempts in 30 s, want 30", tries.Load())
		}
	})
}

// A device that is lost while the engine ends is closed all the same.
func TestReopenerClosesWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReopener(slog.New(slog.DiscardHandler), nil)
		var closed atomic.Int32
		lose := func() {
			near, far := tap.Pipe("near", "far", tap.PipeOptions{})
			far.Notify(func() { closed.Add(1) })
			r.add(&lostDevice{gone: near, open: func() (tap.Device, error) { return nil, tap.ErrMissing }})
		}
		lose()
		if synctest.Wait(); closed.Load() != 1 {
			t.Errorf("%d of 1 closed before the first attempt", closed.Load())
		}
		r.Stop()
		if lose(); closed.Load() != 2 || len(r.Missing()) != 0 {
			t.Errorf("%d of 2 closed, missing %v", closed.Load(), r.Missing())
		}
	})
}
