package router

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// Interfaces are announced when they come: a thousand that are missing are looked at now and
// then only, and the one that is called at once. Opening it may change it, which calls
// it again: that must not go round and round.
func TestReopenerWaitsToBeCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 1000
		tries := map[string]int{}
		var r *reopener
		r = newReopener(func(d config.Device) (tap.Device, error) {
			if tries[d.Name]++; d.Name == "n7" {
				r.call("n7")
			}
			return nil, tap.ErrMissing
		}, slog.New(slog.DiscardHandler), nil)
		defer r.stop()
		r.watched = true
		for i := range devices {
			r.add(&lostDevice{spec: config.Device{Kind: config.DeviceRaw, Name: fmt.Sprint("n", i)}})
		}
		r.add(&lostDevice{spec: config.Device{Kind: config.DeviceTAP, Name: "t", Netns: "late"}})
		sum := func() (n int) {
			for _, k := range tries {
				n += k
			}
			return n
		}
		r.call("n1")
		r.call("t")
		synctest.Wait()
		if tries["n1"] != 1 || sum() != 1 {
			t.Errorf("called: %d attempts, %d of them with the others", tries["n1"], sum()-tries["n1"])
		}
		time.Sleep(30*reopenInterval + reopenInterval/2)
		synctest.Wait()
		if tries["n2"] != 3 || tries["t"] != 30 {
			t.Errorf("in 30 s %d attempts on an interface, %d in a namespace, want 3 and 30", tries["n2"], tries["t"])
		}
		if tries["n7"] > 31*callsMost {
			t.Errorf("%d attempts for what each attempt changes", tries["n7"])
		}
	})
}

// Without announcements every device is looked for in each interval.
func TestReopenerLooksForWhatNobodyAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		r := newReopener(func(config.Device) (tap.Device, error) {
			tries++
			return nil, tap.ErrMissing
		}, slog.New(slog.DiscardHandler), nil)
		defer r.stop()
		r.add(&lostDevice{spec: config.Device{Kind: config.DeviceRaw, Name: "n"}})
		time.Sleep(30*reopenInterval + reopenInterval/2)
		if synctest.Wait(); tries != 30 {
			t.Errorf("%d attempts in 30 s, want 30", tries)
		}
	})
}

// What is lost while the engine ends is closed all the same.
func TestReopenerClosesWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopener(func(config.Device) (tap.Device, error) { return nil, tap.ErrMissing }, slog.New(slog.DiscardHandler), nil)
		closed := 0
		lose := func() {
			near, far := tap.Pipe("near", "far", tap.PipeOptions{})
			far.Notify(func() { closed++ })
			r.add(&lostDevice{gone: near})
		}
		lose()
		if synctest.Wait(); closed != 1 {
			t.Errorf("%d of 1 closed before the first attempt", closed)
		}
		r.stop()
		if lose(); closed != 2 || len(r.missing()) != 0 {
			t.Errorf("%d of 2 closed, missing %v", closed, r.missing())
		}
	})
}
