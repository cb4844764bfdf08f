package loop

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/gro"
	"github.com/taprouter/taprouter/tap"
)

// A Worker runs frames to completion: it reads a batch of them from a link, reads the clock once, has
// the link's owner decide and rewrite, writes, and sleeps when every device is dry. Only its own goroutine
// touches what it owns; other goroutines send it functions to run (Post, Call). Workers hand frames to each
// other by rings (handover.go).
type Worker struct {
	Turn
	Clock     func() time.Duration // since the start
	Links     []*Link              // the links that it reads; AddLink adds one
	memory    []*Link              // links whose devices are in memory
	Ready     []*Link              // links that may have frames to read
	spare     []*Link              // the former list of ready links, for its memory
	Outboxes  []*Outbox            // for the links of other workers
	Receivers ReceiverList         // all receivers of the engine
	Tables    []Ticker             // these have something to do at times
	ticking   bool                 // some of the tables have had their tick, and the others are to have it,
	ticked    int                  // from the one with this index on
	BusyPoll  time.Duration        // how long it looks for frames in any case before it sleeps
	busyAt    time.Duration        // when it last had something to do
	spin      spin                 // how long it looks for frames otherwise
	Inbox     []*Handover          // rings from other workers
	Frames    []tap.Frame          // the slots that devices read into

	Reopener *Reopener // nil: a lost device is not opened again

	Waiter   Waiter
	mu       sync.Mutex // guards mail
	mail     []func()   // functions that others have sent
	hasMail  atomic.Bool
	Stopping bool          // Run is to end
	Turns    uint64        // how many rounds of the loop there have been
	looking  chan struct{} // holds a value while a reader has a step to do (Look)
	looks    Looks
	halted   bool          // it runs functions only: see Halt
	Direct   bool          // it has no goroutine: RunTurn, and functions sent to it, run on the caller's
	Done     chan struct{} // closed when it has ended
}

// A Ticker is a table in which things are due at times. It is called by its worker.
type Ticker interface {
	// Tick does what is due now, and asks by Turn.WakeAt to be called again when something else is due.
	Tick(t *Turn)
}

const (
	// BatchFrames is how many frames one read takes. Few, large slots that are
	// used again and again stay in the cache.
	BatchFrames = 16
	// slotStride keeps the heads of the slots in different cache sets.
	slotStride = tap.SlotLen + 5*64
	// ReadBudget is how many batches one link may have in a turn.
	ReadBudget = 4
	// MaxQueue bounds the frames from one router to another that wait in Turn.Queue.
	MaxQueue = 4096
	// tableTick is the longest time between traffic and the next look for
	// expired entries of tables.
	tableTick = 250 * time.Millisecond
)

// NewWorker makes a worker that does not run yet. devices says whether it will read devices that have a descriptor. The
// caller closes the Waiter when the worker has ended, or will not run.
func NewWorker(log *slog.Logger, devices bool) (*Worker, error) {
	start := time.Now()
	w := &Worker{
		Turn: Turn{Log: log, Epoch: start, merger: gro.New(BatchFrames)},
		Done: make(chan struct{}), looking: make(chan struct{}, 1), spin: newSpin(),
		Clock: func() time.Duration { return time.Since(start) },
	}
	slots := make([]byte, BatchFrames*slotStride)
	for i := range BatchFrames {
		w.Frames = append(w.Frames, tap.Frame{Buf: slots[i*slotStride : (i+1)*slotStride : (i+1)*slotStride]})
	}
	var err error
	w.Waiter, err = newWaiter(devices, w.mark, func(l *Link) { l.lookAgain(&w.Turn, downInterval) })
	return w, err
}

// Run is the worker's loop, on a goroutine of its own. It ends when a function sent to the worker calls Stop, and
// closes Done.
func (w *Worker) Run() {
	defer close(w.Done)
	if w.Waiter.Locked() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		w.Waiter.Hold(holding.Add(1) < int32(runtime.GOMAXPROCS(0)))
		defer holding.Add(-1)
	}
	for !w.Stopping {
		more := w.RunTurn()
		if w.Stopping {
			return // nothing would end another wait before its time
		}
		if more {
			w.Waiter.Look() // devices that have got frames meanwhile are read in the next turn, too
			continue
		}
		if w.halted {
			w.Waiter.Wait(-1)
			continue
		}
		if w.looksAgain() {
			w.Waiter.Look()
			continue
		}
		d := time.Duration(-1)
		if w.Timed {
			d = max(0, w.Timer-w.Clock())
		}
		w.Waiter.Wait(d)
	}
}

// holding is how many workers have threads of their own in this process.
var holding atomic.Int32

// mark puts a link on the list of links to read.
func (w *Worker) mark(p *Link) {
	if !p.ready {
		p.ready = true
		w.Ready = append(w.Ready, p)
	}
}

// RunTurn is one round of the loop. Everything that waits gets a bounded part of it: functions, frames of other
// workers, each link, frames that were put aside, tables. It reports whether there is more to do at once. The worker's
// goroutine calls it; if the worker is Direct, the goroutine that owns the worker.
func (w *Worker) RunTurn() bool {
	w.Turns++
	w.Now = w.Clock()
	busy := w.runMail()
	if w.halted {
		return false
	}
	for _, p := range w.memory {
		if p.Pending.Load() && p.Pending.Swap(false) {
			w.mark(p)
		}
	}
	any, more := w.takeOver()
	if w.readLinks() || any {
		busy = true
	}
	if len(w.Queue) > 0 {
		w.runQueue()
		busy = true
	}
	if busy {
		w.busyAt = w.Now
		w.spin.arrived(w.Now)
		w.WakeAt(w.Now + tableTick)
	}
	if w.ticking || w.Timed && w.Now >= w.Timer {
		w.tick()
	}
	w.Flush()
	return more || w.ticking || len(w.Ready) > 0 || len(w.Queue) > 0
}

// readLinks gives every link that may have frames its turn.
func (w *Worker) readLinks() bool {
	any := false
	ready := w.Ready
	w.Ready = w.spare[:0]
	for _, p := range ready {
		p.ready = false
		if p.Dev != nil && !p.paused && !p.Held && p.Read(&w.Turn) {
			any = true
		}
	}
	w.spare = ready
	return any
}

// runMail runs the functions that others have sent.
func (w *Worker) runMail() bool {
	if !w.hasMail.Load() {
		return false
	}
	w.mu.Lock()
	mail := w.mail
	w.mail = nil
	w.hasMail.Store(false)
	w.mu.Unlock()
	for _, fn := range mail {
		if w.Stopping {
			break // call reports for the other functions that the worker has ended
		}
		fn()
	}
	return len(mail) > 0
}

// Post has fn run by the worker, between two batches, and does not wait for it. It reports false when the worker has
// ended. Any goroutine may call it. If the worker is Direct, fn runs at once.
func (w *Worker) Post(fn func()) bool {
	select {
	case <-w.Done:
		return false
	default:
	}
	if w.Direct {
		if fn(); w.Stopping {
			close(w.Done)
		}
		return true
	}
	w.mu.Lock()
	w.mail = append(w.mail, fn)
	w.hasMail.Store(true)
	w.mu.Unlock()
	w.Waiter.Wake()
	return true
}

// Call is Post, and waits until fn has run. It returns os.ErrClosed if the worker ends before. Any goroutine but the
// worker's own may call it.
func (w *Worker) Call(fn func()) error {
	ran := make(chan struct{})
	if !w.Post(func() { fn(); close(ran) }) {
		return os.ErrClosed
	}
	select {
	case <-ran:
		return nil
	case <-w.Done:
		select {
		case <-ran:
			return nil
		default:
			return os.ErrClosed
		}
	}
}

// runQueue goes on with the frames that were put aside. A frame that is put aside meanwhile waits for
// the next call.
func (w *Worker) runQueue() {
	queue := w.Queue
	w.Queue = nil
	for _, q := range queue {
		f := w.frame(q.frame)
		q.to.Resume(&w.Turn, &f)
	}
}

// Flush ends a batch: it writes the frames that the outboxes have gathered, and shows other workers the frames for
// them. The buffers of frames are the worker's again.
func (w *Worker) Flush() {
	for _, b := range w.dirty {
		b.Write(&w.Turn)
	}
	w.dirty = w.dirty[:0]
	if len(w.unshown) > 0 {
		w.showAll()
	}
	w.Arena.reset()
}

// ticksAtOnce is how many tables have their tick in one turn. There may be thousands, and packets wait meanwhile.
const ticksAtOnce = 64

// tick gives every link and table its tick: some of the tables in this turn, and the others in the next ones.
func (w *Worker) tick() {
	if !w.ticking {
		w.Timed, w.ticking, w.ticked = false, true, 0
		for _, l := range w.Links {
			l.Tick(&w.Turn)
		}
	}
	for n := 0; n < ticksAtOnce && w.ticked < len(w.Tables); n++ {
		w.ticked++
		w.Tables[w.ticked-1].Tick(&w.Turn)
	}
	w.ticking = w.ticked < len(w.Tables)
	if len(w.Queue) > 0 {
		w.WakeAt(w.Now)
	}
}

// Halt says whether the worker leaves frames where they are, in devices and rings, and does nothing that is due. It
// still runs functions that are sent to it. It returns os.ErrClosed if the worker has ended. Any goroutine but the
// worker's own may call it.
func (w *Worker) Halt(on bool) error { return w.Call(func() { w.halted = on }) }

// Halted reports whether the worker is halted. It is called by the worker.
func (w *Worker) Halted() bool { return w.halted }

// RemoveTable ends the ticks of a table.
func (w *Worker) RemoveTable(table Ticker) {
	i := slices.Index(w.Tables, table)
	if i < 0 {
		return
	}
	w.Tables = slices.Delete(slices.Clone(w.Tables), i, i+1)
	if i < w.ticked {
		w.ticked--
	}
}

// Stop ends the loop and closes the devices. It is called by the worker, or before the worker runs.
func (w *Worker) Stop() {
	w.Stopping = true
	var devices []tap.Device
	for _, p := range w.Links {
		if p.Dev != nil {
			w.Waiter.Remove(p)
			devices = append(devices, p.Dev)
			p.Dev = nil
		}
	}
	CloseAll(devices, func(dev tap.Device, err error) {
		if !errors.Is(err, os.ErrClosed) {
			w.Log.Warn("closing a device", "device", dev.Name(), "err", err)
		}
	})
}

// AddLink has the worker read a link from now on. Its device may come later.
func (w *Worker) AddLink(l *Link) {
	l.home, l.Link = w, l
	w.Links = append(w.Links, l)
}

// RemoveLink ends what AddLink began. The link's device is not touched.
func (w *Worker) RemoveLink(l *Link) { w.Links = Without(w.Links, l) }

// IsOf reports whether the turn is a worker's.
func (t *Turn) IsOf(w *Worker) bool { return t == &w.Turn }
