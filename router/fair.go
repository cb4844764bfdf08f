package router

import "time"

const (
	// restPause is how long a port rests: with the budget of a turn in between, it
	// still begins some 30 000 connections a second.
	restPause = 2 * time.Millisecond
	// starvedPause is how long where the worker lacks a processor: 10 000 a second.
	starvedPause = 6 * time.Millisecond
	// busyFor and busyFrames are what makes a port busy: so many frames in such a
	// time, or in the one before. A ping now and then makes nobody else rest.
	busyFor    = 10 * time.Millisecond
	busyFrames = 64
)

const (
	// floodBacklog is how many frames in a row are a flood: more than a device's queue holds at
	// once, so who waits for answers before sending more does not get there.
	floodBacklog = 1024
	// smallFrame bounds the mean size of what floods, in bytes: bulk transfers are something else.
	smallFrame = 256
)

// pace is how much a port has been read lately, and whether it rests.
type pace struct {
	paused       bool
	since        time.Duration // when frames began to count
	frames, last int           // that came since then, and in the time before
	backlog      int           // frames read since it was last dry
}

// count notes that a port has been read.
func (p *pace) count(n int, now time.Duration) {
	switch d := now - p.since; {
	case d >= 2*busyFor:
		p.since, p.last, p.frames = now, 0, 0
	case d >= busyFor:
		p.since, p.last, p.frames = now, p.frames, 0
	}
	p.frames += n
}

func (p *pace) busy(now time.Duration) bool {
	return now-p.since < 2*busyFor && max(p.frames, p.last) >= busyFrames
}

// shouldPause reports whether a port that has used up its turn has to rest, as somebody else is
// busy: most of its frames, so many of them strangers, belonged to no known connection, which
// makes them several times as dear as others', or they are a flood. A turn
// for a turn would be fair if the worker had its processor to itself; where it
// competes with the very hosts it serves, the time that a flood takes from it is
// missing there. The network outside never rests: everybody's packets come from it.
func (w *worker) shouldPause(l *link, frames, strangers, size int) bool {
	if l.exempt || 2*strangers <= frames && !w.floods(l, frames, size) {
		return false
	}
	for _, q := range w.links {
		if q != l && q.dev != nil && !q.exempt && q.busy(w.now) {
			return true
		}
	}
	return false
}

// floods reports whether a port has more small packets than the worker gets done, which
// lacks a processor itself. Who has been behind for a short time only, compared with another,
// is behind because of that one.
func (w *worker) floods(l *link, frames, size int) bool {
	if l.backlog < floodBacklog || size > smallFrame*frames || !w.wait.starved(w.now) {
		return false
	}
	for _, q := range w.links {
		if q.backlog > 8*l.backlog && !q.exempt {
			return false
		}
	}
	return true
}

// pause leaves a port alone for a while. What comes meanwhile waits in the device's
// queue, and beyond that is lost there, where it costs the router nothing.
func (l *link) pause(t *turn) {
	l.paused = true
	l.home.wait.pause(l, true)
	d := restPause
	if l.home.wait.starved(t.now) {
		d = starvedPause
	}
	l.lookAgain(t, d)
}

// resume has a port that may have rested read again.
func (l *link) resume() {
	if l.paused {
		l.paused = false
		l.home.wait.pause(l, false)
	}
	l.home.mark(l)
}
