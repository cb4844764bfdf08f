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

	"github.com/taprouter/taprouter/tap"
)

// A Worker runs frames to completion: it reads a batch of them from a link, reads the clock once, has
// the link's owner decide and rewrite, writes, and sleeps when every device is dry. Everything it owns
// is touched by its goroutine only. Other goroutines send it functions to run. What it gets from other
// workers, and what they get from it, is in handover.go.
type Worker struct {
	Turn
	Clock     func() time.Duration // since the start
	Links     []*Link
	memory    []*Link // those whose devices are in memory
	Ready     []*Link // may have frames to read
	spare     []*Link
	Outboxes  []*Outbox    // for other workers' links
	Receivers ReceiverList // all of the engine's
	Tables    []Ticker     // with something to do at times
	ticking   bool         // some of the tables have had their tick, and the others are to have it,
	ticked    int          // from this one on
	BusyPoll  time.Duration
	busyAt    time.Duration
	Inbox     []*Handover
	Frames    []tap.Frame // the slots that devices read into

	Reopener *Reopener

	Waiter   Waiter
	mu       sync.Mutex
	mail     []func()
	hasMail  atomic.Bool
	Stopping bool
	Direct   bool // it has no goroutine: its turns, and what is sent to it, run on the caller's
	Done     chan struct{}
}

// A Ticker does what is due at a time, and asks to be woken for what is due later.
type Ticker interface {
	Tick(t *Turn)
}

const (
	// BatchFrames is how many frames one read takes. Few, large slots that are
	// used again and again stay in the cache.
	BatchFrames = 16
	// slotStride keeps the heads of the slots in different cache sets.
	slotStride = tap.SlotLen + 5*64
	// ReadBudget is how many batches one port may have in a turn.
	ReadBudget = 4
	// MaxQueue bounds the frames between routers, and those that wait to be
	// forwarded again.
	MaxQueue = 4096
	// tableTick is the longest time between traffic and the next look at what
	// has expired.
	tableTick = 250 * time.Millisecond
)

func NewWorker(log *slog.Logger, devices bool) (*Worker, error) {
	start := time.Now()
	w := &Worker{
		Turn: Turn{Log: log, Epoch: start}, Done: make(chan struct{}),
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

// Run is the worker's loop. It ends when a function sent to it sets stopping.
func (w *Worker) Run() {
	defer close(w.Done)
	if w.Waiter.Locked() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	for !w.Stopping {
		more := w.RunTurn()
		if w.Stopping {
			return // nothing would end another wait before its time
		}
		if more {
			w.Waiter.Look() // devices that have got frames meanwhile have their turn as well
			continue
		}
		if w.BusyPoll > 0 && w.Clock()-w.busyAt < w.BusyPoll {
			for _, p := range w.Links {
				w.mark(p)
			}
			continue
		}
		d := time.Duration(-1)
		if w.Timed {
			d = max(0, w.Timer-w.Clock())
		}
		w.Waiter.Wait(d)
	}
}

// mark puts a link on the list of those to read.
func (w *Worker) mark(p *Link) {
	if !p.ready {
		p.ready = true
		w.Ready = append(w.Ready, p)
	}
}

// RunTurn does everything that is there to do once: each link and each other worker
// has its share. It reports whether something is left.
func (w *Worker) RunTurn() bool {
	w.Now = w.Clock()
	busy := w.runMail()
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
		if p.Dev != nil && !p.paused && p.Read(&w.Turn) {
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

// Post has fn run by the worker. It reports false when the worker has ended.
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

// Call is post, and waits until fn has run.
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

// runQueue goes on with the frames that were put aside. What is put aside meanwhile waits for
// the next turn.
func (w *Worker) runQueue() {
	queue := w.Queue
	w.Queue = nil
	for _, q := range queue {
		f := w.frame(q.frame)
		q.to.Resume(&w.Turn, &f)
	}
}

// Flush writes what the outboxes have gathered.
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

// tick does what is due in every table: of some in this turn, and of the others in the next ones.
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

// Stop ends the loop and closes the devices.
func (w *Worker) Stop() {
	w.Stopping = true
	var closed sync.WaitGroup
	for _, p := range w.Links {
		if p.Dev == nil {
			continue
		}
		dev := p.Dev
		w.Waiter.Remove(p)
		p.Dev = nil
		// The kernel takes its time to remove a device, but removes many at once.
		closed.Go(func() {
			if err := dev.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				w.Log.Warn("closing a device", "device", p.Name, "err", err)
			}
		})
	}
	closed.Wait()
}

// AddLink has the worker read a link from now on. Its device may come later.
func (w *Worker) AddLink(l *Link) {
	l.home, l.Link = w, l
	w.Links = append(w.Links, l)
}

func (w *Worker) RemoveLink(l *Link) { w.Links = Without(w.Links, l) }
