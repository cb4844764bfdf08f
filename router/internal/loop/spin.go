package loop

import "time"

const (
	// spinLongest is the longest time that a worker looks for frames before it sleeps. To be woken costs it about
	// as much processor time.
	spinLongest = 50 * time.Microsecond
	// spinPause is what any longer gap counts as: how long the hosts have been silent says little about the answers
	// after that.
	spinPause = 4 * spinLongest
)

// A spin decides how long a worker that has run out of frames looks for others before it sleeps. The next frame often
// comes soon, as it is the answer to the last one. A worker that still looks has it at once. A worker that sleeps must
// be woken first, which takes longer than all that it does with the frame.
//
// So the worker looks for twice as long as frames have been coming lately. If that is longer than spinLongest, it does
// not look at all. A worker without traffic therefore takes no processor time.
type spin struct {
	gap   time.Duration // how long the next frame took lately: a moving mean
	since time.Duration // when the worker ran out of frames, if it is dry
	dry   bool
}

func newSpin() spin { return spin{gap: spinPause} }

// arrived notes that there are frames.
func (s *spin) arrived(now time.Duration) {
	if s.dry {
		s.dry = false
		s.gap += (min(now-s.since, spinPause) - s.gap) / 4
	}
}

// worth reports whether a worker without frames is to look again rather than to sleep.
func (s *spin) worth(now time.Duration) bool {
	if !s.dry {
		s.dry, s.since = true, now
	}
	return s.gap <= spinLongest && now-s.since < min(2*s.gap, spinLongest)
}

// looksAgain reports whether the worker, which has nothing to do, is to look for frames rather than to sleep. It sleeps
// while threads wait for a processor (run delay): looking would take from the hosts the time in which they answer.
func (w *Worker) looksAgain() bool {
	if !w.Waiter.Locked() {
		return false // a device in memory tells of its frames, which takes no system call
	}
	now := w.Clock()
	if w.BusyPoll > 0 && now-w.busyAt < w.BusyPoll {
		return true
	}
	return w.spin.worth(now) && !w.Waiter.Starved(now)
}
