package loop

import (
	"time"

	"github.com/taprouter/taprouter/tap"
)

const (
	// FloodPause is how long a link pauses: with the budget of a turn between two pauses, its
	// hosts still begin some 30 000 connections a second.
	FloodPause = 2 * time.Millisecond
	// StarvedPause is how long a link pauses if the worker lacks a processor: 10 000 a second.
	StarvedPause = 6 * time.Millisecond
	// CopiesAhead is how many copies of its frames a link may be ahead of the pace of a flood that pauses. The
	// broadcasts of honest hosts have fewer.
	CopiesAhead = 4096
	// LongestPause bounds a pause for copies.
	LongestPause = 250 * time.Millisecond
	// BusyFor and BusyFrames say when a link is busy: when it has had BusyFrames frames in the
	// present period of BusyFor, or in the one before. A ping now and then makes no other link pause.
	BusyFor    = 10 * time.Millisecond
	BusyFrames = 64 // see BusyFor
)

const (
	// FloodBacklog is how many frames in a row are a flood: more than a device's queue holds at
	// once. A host that waits for answers before it sends more does not get there.
	FloodBacklog = 1024
	// smallFrame bounds the mean size of a flood's frames, in bytes. Larger ones are a bulk transfer.
	smallFrame = 256
)

// pace is how much a link has been read lately, and whether it pauses.
type pace struct {
	paused       bool
	since        time.Duration // when the present period of BusyFor began
	frames, last int           // frames in this period, and in the one before
	Backlog      int           // frames read since the link was last dry
	paid         time.Duration // when its copies so far are paid for
	spread       int           // what the copies of a frame cost, in the last batch
}

// CopyCost is how much work a copy of a frame is. The copy of a small frame is 1, as much as a frame that is received.
func CopyCost(f *tap.Frame) int { return 1 + (f.Tail-f.Head)/(tap.BatchBytes/BatchFrames) }

// copied notes what the copies of a batch have cost. They are paid for at the pace of a flood that pauses: a turn's
// frames in StarvedPause.
func (p *pace) copied(cost int, now time.Duration) {
	p.paid = max(p.paid, now) + time.Duration(cost)*StarvedPause/(ReadBudget*BatchFrames)
	p.paid = min(p.paid, now+copiesAhead+LongestPause) // it owes for no more, however long it has flooded
}

// owes is how long it takes until a link has paid for its copies beyond CopiesAhead. It is 0 or less if the link has
// not had so many.
func (p *pace) owes(now time.Duration) time.Duration {
	return p.paid - now - copiesAhead
}

const copiesAhead = CopiesAhead * StarvedPause / (ReadBudget * BatchFrames)

// room is how many frames a batch may have, so that the copies of a storm are no more work than another flood's turn.
func (p *pace) room() int { return max(1, min(BatchFrames, ReadBudget*BatchFrames/max(1, p.spread))) }

// count notes that so many frames of a link have been read.
func (p *pace) count(n int, now time.Duration) {
	switch d := now - p.since; {
	case d >= 2*BusyFor:
		p.since, p.last, p.frames = now, 0, 0
	case d >= BusyFor:
		p.since, p.last, p.frames = now, p.frames, 0
	}
	p.frames += n
}

func (p *pace) busy(now time.Duration) bool {
	return now-p.since < 2*BusyFor && max(p.frames, p.last) >= BusyFrames
}

// shouldPause reports whether a link that has used up its turn has to pause, because another tenant's link
// is busy. A link pauses in three cases. Most of its frames were strangers: they belonged to no known
// connection, so each cost several times as much as another link's. Or the frames are a flood of small
// ones. Or the worker lacks a processor, and the link owes for the copies of frames that were flooded.
//
// A turn for a turn would be fair if the worker had its processor to itself. Where the worker competes with
// the hosts that it serves, these hosts lack the time that a flood takes. The links of an external network
// never pause, because the packets of all tenants come from there.
func (w *Worker) shouldPause(l *Link, frames, strangers, size int) bool {
	if l.Exempt || 2*strangers <= frames && !w.owing(l) && !w.floods(l, frames, size) {
		return false
	}
	for _, q := range w.Links {
		if q != l && q.Dev != nil && !q.Exempt && q.busy(w.Now) {
			return true
		}
	}
	return false
}

// owing reports whether a link owes for copies, while the worker lacks a processor.
func (w *Worker) owing(l *Link) bool { return l.owes(w.Now) > 0 && w.Waiter.Starved(w.Now) }

// floods reports whether a link has more small packets than the worker gets done, while the worker
// lacks a processor. If the backlog of another link is many times as long, that one is the cause, and
// this link does not pause.
func (w *Worker) floods(l *Link, frames, size int) bool {
	if l.Backlog < FloodBacklog || size > smallFrame*frames || !w.Waiter.Starved(w.Now) {
		return false
	}
	for _, q := range w.Links {
		if q.Backlog > 8*l.Backlog && !q.Exempt {
			return false
		}
	}
	return true
}

// pause leaves a link alone for a while. Frames that come meanwhile wait in the device's queue. Frames that do not
// fit into the queue are lost there, where they cost the router nothing.
func (l *Link) pause(t *Turn) {
	l.paused = true
	l.home.Waiter.Pause(l, true)
	d := FloodPause
	if l.home.Waiter.Starved(t.Now) {
		d = max(StarvedPause, l.owes(t.Now))
	}
	l.lookAgain(t, d)
}

// resume has a link that may have paused read again.
func (l *Link) resume() {
	if l.paused {
		l.paused = false
		l.home.Waiter.Pause(l, false)
	}
	l.home.mark(l)
}
