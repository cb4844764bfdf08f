package loop

import (
	"log/slog"
	"testing"
	"time"
)

// A worker looks again if frames have come soon lately, for twice as long as they took.
func TestSpin(t *testing.T) {
	const us = time.Microsecond
	s := newSpin()
	now := time.Second
	// looked returns how long the worker looks for frames, if none come.
	looked := func() time.Duration {
		c := s
		for d := time.Duration(0); ; d += us {
			if !c.worth(now + d) {
				return d
			}
		}
	}
	// frames are so many that come one by one, each so long after the last.
	frames := func(n int, gap time.Duration) {
		for range n {
			s.worth(now)
			now += gap
			s.arrived(now)
		}
	}
	if d := looked(); d != 0 {
		t.Errorf("without any frames it looks for %v", d)
	}
	frames(20, 10*us)
	if d := looked(); d < 19*us || d > 22*us {
		t.Errorf("after gaps of 10 us it looks for %v, want 20 us", d)
	}
	frames(20, 40*us)
	if d := looked(); d < 49*us || d > 51*us {
		t.Errorf("after gaps of 40 us it looks for %v, want no more than 50 us", d)
	}
	frames(1, time.Hour)
	if d := looked(); d != 0 {
		t.Errorf("after a pause it looks for %v", d)
	}
	frames(5, 10*us)
	if d := looked(); d == 0 {
		t.Error("after a pause and five answers it does not look")
	}
	frames(20, 60*us)
	if d := looked(); d != 0 {
		t.Errorf("after gaps of 60 us it looks for %v", d)
	}
	// Frames that came while the worker was busy say nothing about how long it would have to look.
	s = newSpin()
	for range 20 {
		now += us
		s.arrived(now)
	}
	if d := looked(); d != 0 {
		t.Errorf("after frames without a wait it looks for %v", d)
	}
}

// A playedWaiter is that of a worker whose devices have a frame each time that a gap has passed. Time passes
// only by its calls.
type playedWaiter struct {
	chanWaiter
	w            *Worker
	now          time.Duration
	gap, next    time.Duration
	frames       int // that are still to come
	starved      bool
	looks, waits int
}

func (p *playedWaiter) Locked() bool               { return true }
func (p *playedWaiter) Starved(time.Duration) bool { return p.starved }

// Look takes a microsecond.
func (p *playedWaiter) Look() {
	p.looks++
	p.now += time.Microsecond
	p.meet()
}

func (p *playedWaiter) Wait(time.Duration) {
	p.waits++
	p.now = max(p.now, p.next)
	p.meet()
}

// meet brings a frame if it is due: to the worker, a function to run is the same.
func (p *playedWaiter) meet() {
	if p.now < p.next {
		return
	}
	if p.frames--; p.frames == 0 {
		p.w.Post(p.w.Stop)
		return
	}
	p.w.Post(func() { p.next = p.now + p.gap })
}

// A worker whose frames come soon looks for them. If threads wait for a processor, or frames come seldom, it sleeps.
func TestWorkerLooksAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		gap     time.Duration
		starved bool
		poll    time.Duration
		sleeps  bool
	}{
		{"soon", 20 * time.Microsecond, false, 0, false},
		{"soon, without a processor", 20 * time.Microsecond, true, 0, true},
		{"seldom", 200 * time.Microsecond, false, 0, true},
		{"seldom, told to look", 200 * time.Microsecond, false, time.Millisecond, false},
		{"without a processor, told to look", 20 * time.Microsecond, true, time.Millisecond, false},
	} {
		w, err := NewWorker(slog.New(slog.DiscardHandler), false)
		if err != nil {
			t.Fatal(err)
		}
		p := &playedWaiter{w: w, now: time.Second, next: time.Second, gap: c.gap, frames: 1000, starved: c.starved}
		p.chanWaiter = *newChanWaiter()
		w.Waiter, w.BusyPoll, w.Clock = p, c.poll, func() time.Duration { return p.now }
		w.Run()
		if c.sleeps && (p.waits < 900 || p.looks > 100) || !c.sleeps && (p.waits > 100 || p.looks < 900) {
			t.Errorf("%s: %d waits, %d looks", c.name, p.waits, p.looks)
		}
	}
}
