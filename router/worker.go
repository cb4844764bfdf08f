package router

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A worker runs frames to completion: it reads a batch of them from a link, reads the clock once, has
// the link's owner decide and rewrite, writes, and sleeps when every device is dry. Everything it owns
// is touched by its goroutine only. Other goroutines send it functions to run. What it gets from other
// workers, and what they get from it, is in handover.go.
type worker struct {
	turn
	clock     func() time.Duration // since the start
	links     []*link
	memory    []*link // those whose devices are in memory
	ready     []*link // may have frames to read
	spare     []*link
	away      []*outbox    // for other workers' links
	receivers receiverList // all of the engine's
	tables    []ticker     // with something to do at times
	ticking   bool         // some of the tables have had their tick, and the others are to have it,
	ticked    int          // from this one on
	busyPoll  time.Duration
	busyAt    time.Duration
	inbox     []*handover
	frames    []tap.Frame // the slots that devices read into

	reopener *reopener

	wait     waiter
	mu       sync.Mutex
	mail     []func()
	hasMail  atomic.Bool
	stopping bool
	direct   bool // it has no goroutine: its turns, and what is sent to it, run on the caller's
	done     chan struct{}
}

// A ticker does what is due at a time, and asks to be woken for what is due later.
type ticker interface {
	tick(t *turn)
}

const (
	// batchFrames is how many frames one read takes. Few, large slots that are
	// used again and again stay in the cache.
	batchFrames = 16
	// slotStride keeps the heads of the slots in different cache sets.
	slotStride = tap.SlotLen + 5*64
	// readBudget is how many batches one port may have in a turn.
	readBudget = 4
	// maxQueue bounds the frames between routers, and those that wait to be
	// forwarded again.
	maxQueue = 4096
	// tableTick is the longest time between traffic and the next look at what
	// has expired.
	tableTick = 250 * time.Millisecond
)

func newWorker(log *slog.Logger, devices bool) (*worker, error) {
	start := time.Now()
	w := &worker{
		turn: turn{log: log, epoch: start}, done: make(chan struct{}),
		clock: func() time.Duration { return time.Since(start) },
	}
	slots := make([]byte, batchFrames*slotStride)
	for i := range batchFrames {
		w.frames = append(w.frames, tap.Frame{Buf: slots[i*slotStride : (i+1)*slotStride : (i+1)*slotStride]})
	}
	var err error
	w.wait, err = newWaiter(devices, w.mark, func(l *link) { l.lookAgain(&w.turn, downInterval) })
	return w, err
}

// run is the worker's loop. It ends when a function sent to it sets stopping.
func (w *worker) run() {
	defer close(w.done)
	if w.wait.locked() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	for !w.stopping {
		more := w.runTurn()
		if w.stopping {
			return // nothing would end another wait before its time
		}
		if more {
			w.wait.look() // devices that have got frames meanwhile have their turn as well
			continue
		}
		if w.busyPoll > 0 && w.clock()-w.busyAt < w.busyPoll {
			for _, p := range w.links {
				w.mark(p)
			}
			continue
		}
		d := time.Duration(-1)
		if w.timed {
			d = max(0, w.timer-w.clock())
		}
		w.wait.wait(d)
	}
}

// mark puts a link on the list of those to read.
func (w *worker) mark(p *link) {
	if !p.ready {
		p.ready = true
		w.ready = append(w.ready, p)
	}
}

// runTurn does everything that is there to do once: each link and each other worker
// has its share. It reports whether something is left.
func (w *worker) runTurn() bool {
	w.now = w.clock()
	busy := w.runMail()
	for _, p := range w.memory {
		if p.pending.Load() && p.pending.Swap(false) {
			w.mark(p)
		}
	}
	any, more := w.takeOver()
	if w.readLinks() || any {
		busy = true
	}
	if len(w.queue) > 0 {
		w.runQueue()
		busy = true
	}
	if busy {
		w.busyAt = w.now
		w.wakeAt(w.now + tableTick)
	}
	if w.ticking || w.timed && w.now >= w.timer {
		w.tick()
	}
	w.flush()
	return more || w.ticking || len(w.ready) > 0 || len(w.queue) > 0
}

// readLinks gives every link that may have frames its turn.
func (w *worker) readLinks() bool {
	any := false
	ready := w.ready
	w.ready = w.spare[:0]
	for _, p := range ready {
		p.ready = false
		if p.dev != nil && !p.paused && p.read(&w.turn) {
			any = true
		}
	}
	w.spare = ready
	return any
}

// runMail runs the functions that others have sent.
func (w *worker) runMail() bool {
	if !w.hasMail.Load() {
		return false
	}
	w.mu.Lock()
	mail := w.mail
	w.mail = nil
	w.hasMail.Store(false)
	w.mu.Unlock()
	for _, fn := range mail {
		if w.stopping {
			break // call reports for the other functions that the worker has ended
		}
		fn()
	}
	return len(mail) > 0
}

// post has fn run by the worker. It reports false when the worker has ended.
func (w *worker) post(fn func()) bool {
	select {
	case <-w.done:
		return false
	default:
	}
	if w.direct {
		if fn(); w.stopping {
			close(w.done)
		}
		return true
	}
	w.mu.Lock()
	w.mail = append(w.mail, fn)
	w.hasMail.Store(true)
	w.mu.Unlock()
	w.wait.wake()
	return true
}

// call is post, and waits until fn has run.
func (w *worker) call(fn func()) error {
	ran := make(chan struct{})
	if !w.post(func() { fn(); close(ran) }) {
		return os.ErrClosed
	}
	select {
	case <-ran:
		return nil
	case <-w.done:
		select {
		case <-ran:
			return nil
		default:
			return os.ErrClosed
		}
	}
}

// runQueue goes on with the frames that were put aside. What is put aside meanwhile waits for
// the next turn.
func (w *worker) runQueue() {
	queue := w.queue
	w.queue = nil
	for _, q := range queue {
		f := w.frame(q.frame)
		q.to.resume(&w.turn, &f)
	}
}

// flush writes what the outboxes have gathered.
func (w *worker) flush() {
	for _, b := range w.dirty {
		b.write(&w.turn)
	}
	w.dirty = w.dirty[:0]
	if len(w.unshown) > 0 {
		w.showAll()
	}
	w.arena.reset()
}

// ticksAtOnce is how many tables have their tick in one turn. There may be thousands, and packets wait meanwhile.
const ticksAtOnce = 64

// tick does what is due in every table: of some in this turn, and of the others in the next ones.
func (w *worker) tick() {
	if !w.ticking {
		w.timed, w.ticking, w.ticked = false, true, 0
		for _, l := range w.links {
			l.tick(&w.turn)
		}
	}
	for n := 0; n < ticksAtOnce && w.ticked < len(w.tables); n++ {
		w.ticked++
		w.tables[w.ticked-1].tick(&w.turn)
	}
	w.ticking = w.ticked < len(w.tables)
	if len(w.queue) > 0 {
		w.wakeAt(w.now)
	}
}

// removeTable ends the ticks of a table.
func (w *worker) removeTable(table ticker) {
	i := slices.Index(w.tables, table)
	if i < 0 {
		return
	}
	w.tables = slices.Delete(slices.Clone(w.tables), i, i+1)
	if i < w.ticked {
		w.ticked--
	}
}

// stop ends the loop and closes the devices.
func (w *worker) stop() {
	w.stopping = true
	var closed sync.WaitGroup
	for _, p := range w.links {
		if p.dev == nil {
			continue
		}
		dev := p.dev
		w.wait.remove(p)
		p.dev = nil
		// The kernel takes its time to remove a device, but removes many at once.
		closed.Go(func() {
			if err := dev.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				w.log.Warn("closing a device", "device", p.name, "err", err)
			}
		})
	}
	closed.Wait()
}

// addLink has the worker read a link from now on. Its device may come later.
func (w *worker) addLink(l *link) {
	l.home, l.link = w, l
	w.links = append(w.links, l)
}

func (w *worker) removeLink(l *link) { w.links = without(w.links, l) }
