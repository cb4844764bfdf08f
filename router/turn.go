package router

import (
	"log/slog"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A turn is all that a stage may do to its worker: read the time, make frames, put frames aside,
// count, log, ask to be woken. Each worker has one turn, and goes on using it. A turn belongs to its
// worker's goroutine, so a function does not keep it beyond the call.
type turn struct {
	log *slog.Logger
	now time.Duration    // since the start; read once a batch
	day func() time.Time // the clock of the day; nil: there is none

	tracer tracer // nil: nothing is traced

	stats     counters
	strangers int // packets so far that belonged to no known connection

	arena   arena       // frames that the router makes
	queue   []queued    // frames that were put aside
	dirty   []*outbox   // those with frames to write
	unshown []*handover // rings with frames that their readers do not know of yet
	timer   time.Duration
	timed   bool

	epoch   time.Time // when now was 0
	judging bool      // a frame that is watched has come in and has no verdict yet
	held    []func()  // what is shown of frames that go out meanwhile

	parser   packet.Parser
	switched packet.Packet // a frame that the switch has to parse
	segments []tap.Frame   // what a super-frame is cut into for a device
}

// A tracer is told of frames that no stage of a router shows. What it sees of the stages themselves is between it and
// the router.
type tracer interface {
	// made: a router has made a frame, and sends it to a network.
	made(network string, f *tap.Frame)
	// traced is how many frames have been traced so far.
	traced() uint64
	// switched: a frame from a network has its verdict, and no router of the worker has got it.
	switched(t *turn, network string, f *tap.Frame, v verdict)
}

// A resumer goes on with a frame that was put aside.
type resumer interface {
	resume(t *turn, f *tap.Frame)
}

// A queued frame belongs to the turn until it has been resumed.
type queued struct {
	to    resumer
	frame []byte // virtio-net header and Ethernet frame
}

// requeue has a frame resumed after the batch. The frame is the turn's from now on.
func (t *turn) requeue(to resumer, frame []byte) {
	t.queue = append(t.queue, queued{to, frame})
}

// of reports whether the turn is a worker's.
func (t *turn) of(w *worker) bool { return t == &w.turn }

// wakeAt has every table looked at for what is due at a time, if not earlier.
func (t *turn) wakeAt(at time.Duration) {
	if !t.timed || at < t.timer {
		t.timer, t.timed = at, true
	}
}

// alloc returns a frame of n bytes, all zero, that lives until the next flush.
func (t *turn) alloc(n int) tap.Frame {
	buf := t.arena.alloc(tap.Headroom + tap.HeaderLen + n)
	return tap.Frame{Buf: buf, Head: tap.Headroom, Tail: len(buf)}
}

// copy returns a copy of a frame that lives until the next flush.
func (t *turn) copy(f *tap.Frame) tap.Frame {
	c := t.alloc(f.Tail - f.Head - tap.HeaderLen)
	copy(c.Buf[c.Head:], f.Buf[f.Head:f.Tail])
	return c
}

// frame makes a queued frame one in the arena, with headroom.
func (t *turn) frame(b []byte) tap.Frame {
	f := t.alloc(len(b) - tap.HeaderLen)
	copy(f.Buf[f.Head:], b)
	return f
}

// count enters the verdict about a frame that has been received.
func (t *turn) count(v verdict) {
	s := &t.stats
	switch v {
	case next:
		panic("router: a frame without a verdict")
	case Forwarded:
		s.Forwarded++
	case Consumed:
		s.Consumed++
	case handedOver:
		// The worker that has the frame now counts the verdict.
	case Parked:
		s.Parked++
	default:
		reason, stage, _ := v.Dropped()
		s.drop(reason, stage, 1)
	}
}

// countParked enters the verdict about a frame that was parked. It has been received once only.
func (t *turn) countParked(v verdict) {
	t.stats.Parked--
	t.count(v)
}

// An arena hands out buffers that are all given back at once.
type arena struct {
	block []byte
	used  int
}

const arenaLen = 1 << 20

func (a *arena) alloc(n int) []byte {
	n8 := (n + 63) &^ 63
	if a.used+n8 > len(a.block) {
		// What was handed out keeps the former block alive.
		a.block, a.used = make([]byte, max(arenaLen, n8)), 0
	}
	b := a.block[a.used : a.used+n : a.used+n]
	a.used += n8
	clear(b)
	return b
}

func (a *arena) reset() { a.used = 0 }

// counters is what a worker counts.
type counters struct {
	Received, Forwarded, Consumed, Made uint64
	Conflicts                           uint64
	Parked                              int64
	Dropped                             [numDropReasons]uint64
	DroppedAt                           [numStages][numDropReasons]uint64 // the same drops, by stage
	Unsent                              [numUnsentReasons]uint64
}

// drop counts n drops for a reason at a stage.
func (c *counters) drop(reason DropReason, stage Stage, n uint64) {
	c.Dropped[reason] += n
	c.DroppedAt[stage][reason] += n
}

// without returns a new slice, as another function may be walking over the old one.
func without[T comparable](s []T, x T) []T {
	out := make([]T, 0, len(s))
	for _, y := range s {
		if y != x {
			out = append(out, y)
		}
	}
	return out
}
