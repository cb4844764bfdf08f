package loop

import (
	"log/slog"
	"time"

	"github.com/taprouter/taprouter/internal/gro"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A Turn is everything that a stage may do to its worker: read the time, make frames, put frames aside,
// count, log, ask to be woken. Each worker has one Turn, and goes on using it. It belongs to its
// worker's goroutine, so a function does not keep it beyond the call.
type Turn struct {
	Log *slog.Logger     // never nil
	Now time.Duration    // since the start; read once a batch
	Day func() time.Time // the clock of the day; nil: there is none

	Tracer Tracer     // nil: nothing is traced
	Tell   func(News) // tells the engine of what has happened; nil: there is no engine

	Stats     counters
	Strangers int // packets so far that belonged to no known connection
	Copies    int // what the second and further copies of frames have cost so far, by CopyCost

	// Priority is the upper four bits of the tag (priority and drop eligible, IEEE 802.1Q, 9.6) with which the frame
	// that is being judged came in. It goes with the frame to another port of its network. 0: without a tag.
	Priority uint16

	merger  *gro.Merger   // joins what links receive
	Arena   arena         // the buffers of frames that the engine makes, until the next flush
	Queue   []queued      // frames that were put aside (Requeue)
	dirty   []*Outbox     // outboxes with frames to write
	unshown []*Handover   // rings with frames that their readers do not know of yet
	Timer   time.Duration // when the worker wakes at the latest, if Timed
	Timed   bool          // something is due at a time

	Epoch   time.Time // when Now was 0
	Judging bool      // a frame that is watched has come in and has no verdict yet
	Held    []func()  // these show the frames that go out until it has one

	Parser   packet.Parser // the decoder of packets that a plain parse does not do
	switched packet.Packet // the parsed form of a frame that has none when it is sent
	segments []tap.Frame   // the segments that a super-frame is cut into for a device
}

// A Tracer is told of frames that no stage of a router shows. A router shows it the stages in a way of its own
// (stageTracer in package ip).
type Tracer interface {
	// Made: a router has made a frame, and sends it to a network.
	Made(network string, f *tap.Frame)
	// Traced is how many frames have been traced so far.
	Traced() uint64
	// Switched: a frame from a network has its verdict, and no router of the worker has got it. why says more of a
	// drop, in words; it may be empty.
	Switched(t *Turn, network string, f *tap.Frame, v verdict.Verdict, why string)
}

// A Resumer goes on with a frame that was put aside. It is called by the worker that put the frame aside.
type Resumer interface {
	// Resume goes on with a frame, and counts its verdict. The frame's buffer is the turn's, until the batch is
	// flushed.
	Resume(t *Turn, f *tap.Frame)
}

// A queued frame belongs to the turn until it has been resumed.
type queued struct {
	to    Resumer
	frame []byte // virtio-net header and Ethernet frame
}

// Requeue has a frame resumed after the batch. frame is a virtio-net header and an Ethernet frame. It belongs to the
// turn from now on.
func (t *Turn) Requeue(to Resumer, frame []byte) {
	t.Queue = append(t.Queue, queued{to, frame})
}

// WakeAt has the worker look at every table at a time, or earlier. Something may be due there then.
func (t *Turn) WakeAt(at time.Duration) {
	if !t.Timed || at < t.Timer {
		t.Timer, t.Timed = at, true
	}
}

// Alloc returns an Ethernet frame of n bytes, all zero, behind a virtio-net header and headroom. It lives until the
// next flush.
func (t *Turn) Alloc(n int) tap.Frame {
	buf := t.Arena.alloc(tap.Headroom + tap.HeaderLen + n)
	return tap.Frame{Buf: buf, Head: tap.Headroom, Tail: len(buf)}
}

// Copy returns a copy of a frame. The copy lives until the next flush.
func (t *Turn) Copy(f *tap.Frame) tap.Frame {
	c := t.Alloc(f.Tail - f.Head - tap.HeaderLen)
	copy(c.Buf[c.Head:], f.Buf[f.Head:f.Tail])
	return c
}

// frame copies a queued frame into the arena, with headroom before it.
func (t *Turn) frame(b []byte) tap.Frame {
	f := t.Alloc(len(b) - tap.HeaderLen)
	copy(f.Buf[f.Head:], b)
	return f
}

// Count counts the verdict about a frame that has been received. Each such frame is counted once.
func (t *Turn) Count(v verdict.Verdict) {
	s := &t.Stats
	switch v {
	case verdict.Next:
		panic("router: a frame without a verdict")
	case verdict.Forwarded:
		s.Forwarded++
	case verdict.Consumed:
		s.Consumed++
	case verdict.HandedOver:
		// The worker that has the frame now counts the verdict.
	case verdict.Parked:
		s.Parked++
	default:
		reason, stage, _ := v.Dropped()
		s.Drop(reason, stage, 1)
	}
}

// CountParked counts the verdict about a frame that was counted as parked before.
func (t *Turn) CountParked(v verdict.Verdict) {
	t.Stats.Parked--
	t.Count(v)
}

// Without returns a new slice without x. The old slice stays as it is, because another function may be walking over it.
func Without[T comparable](s []T, x T) []T {
	out := make([]T, 0, len(s))
	for _, y := range s {
		if y != x {
			out = append(out, y)
		}
	}
	return out
}
