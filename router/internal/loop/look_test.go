package loop

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
)

// running is a worker that runs until the test ends.
func running(t *testing.T, devices bool) *Worker {
	t.Helper()
	w, err := NewWorker(slog.New(slog.DiscardHandler), devices)
	if err != nil {
		t.Fatal(err)
	}
	go w.Run()
	t.Cleanup(func() {
		w.Post(w.Stop)
		<-w.Done
		w.Waiter.Close()
	})
	return w
}

// Many readers have one step a turn, and all get theirs.
func TestLookIsOneStepATurn(t *testing.T) {
	w := running(t, false)
	steps := map[uint64]int{} // by turn
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() {
			for range 20 {
				if err := w.Look(t.Context(), func() { steps[w.Turns]++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
	all := 0
	for turn, n := range steps {
		if all += n; n > 1 {
			t.Errorf("turn %d has had %d steps", turn, n)
		}
	}
	if all != 1000 || w.Looks().Steps != 1000 {
		t.Errorf("%d steps, %d counted, want 1000", all, w.Looks().Steps)
	}
}

// A reader whose context ends does not wait for a worker that is busy, and leaves the way open for the next reader.
func TestLookEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t, false)
		busy := make(chan struct{})
		w.Post(func() { <-busy })
		ctx, cancel := context.WithCancel(t.Context())
		ran := false
		errs := make(chan error, 2)
		for range 2 { // one with its step in the mailbox, and one that waits for its turn
			go func() { errs <- w.Look(ctx, func() { ran = true }) }()
		}
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("Look returns %v", err)
			}
		}
		close(busy)
		if err := w.Look(t.Context(), func() {}); err != nil {
			t.Error(err)
		}
		if ran {
			t.Error("a step whose reader had gone has run")
		}
	})
}

func TestLookAfterTheEnd(t *testing.T) {
	w := running(t, false)
	w.Post(w.Stop)
	<-w.Done
	for range 2 { // the first one does not stand in the way of the second one
		if err := w.Look(t.Context(), func() {}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Look returns %v", err)
		}
	}
}

// The time of a worker's thread goes on while it works.
func TestBusyIsTheTimeOfTheThread(t *testing.T) {
	w := running(t, true)
	var first, second, third int64
	counted := false
	if err := w.Call(func() {
		b, ok := w.Busy()
		first, counted = int64(b), ok
	}); err != nil {
		t.Fatal(err)
	}
	if !counted {
		t.Skip("the system does not count the time of threads")
	}
	spin := 0
	err := w.Look(t.Context(), func() {
		b, _ := w.Busy()
		second = int64(b)
		for third = second; third < second+1e6; spin++ {
			b, _ := w.Busy()
			third = int64(b)
		}
	})
	if err != nil || second < first || third <= second {
		t.Errorf("%d, then %d, then %d: %v", first, second, third, err)
	}
	if err := w.Call(func() { first = int64(w.Looks().Longest) }); err != nil || first < third-second {
		t.Errorf("the longest step has taken %d, want at least %d: %v", first, third-second, err)
	}
}
