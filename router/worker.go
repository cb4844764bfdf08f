package router

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A worker runs networks and routers to completion: it reads a batch of frames,
// reads the clock once, decides and rewrites, writes, and sleeps when every
// device is dry. Everything it owns is touched by its goroutine only; others
// send it functions to run. What its routers have to do with another worker's
// networks is in handover.go.
type worker struct {
	turn
	clock    func() time.Duration // since the start
	networks []*network
	routers  []*vrouter
	ifaces   []*iface // of the whole engine, by number
	ports    []*port
	memory   []*port // those of ports whose devices are in memory
	ready    []*port // may have frames to read
	spare    []*port
	busyPoll time.Duration
	busyAt   time.Duration
	inbox    []*handover
	frames   []tap.Frame // the slots that devices read into
	scratch  scratch     // of the routers

	reopener *reopener

	wait     waiter
	mu       sync.Mutex
	mail     []func()
	hasMail  atomic.Bool
	stopping bool
	direct   bool // nobody runs it: its turns, and what is sent to it, are the caller's
	done     chan struct{}
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
		turn: turn{log: log}, done: make(chan struct{}),
		clock: func() time.Duration { return time.Since(start) },
	}
	slots := make([]byte, batchFrames*slotStride)
	for i := range batchFrames {
		w.frames = append(w.frames, tap.Frame{Buf: slots[i*slotStride : (i+1)*slotStride : (i+1)*slotStride]})
	}
	var err error
	w.wait, err = newWaiter(devices, w.mark, func(p *port) { p.lookAgain(&w.turn, downInterval) })
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
			w.wait.look() // who has frames meanwhile has its turn as well
			continue
		}
		if w.busyPoll > 0 && w.clock()-w.busyAt < w.busyPoll {
			for _, p := range w.ports {
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

// mark puts a port on the list of those to read.
func (w *worker) mark(p *port) {
	if !p.ready {
		p.ready = true
		w.ready = append(w.ready, p)
	}
}

// runTurn does everything that is there to do once: each port and each other worker
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
	if w.readPorts() || any {
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
	if w.timed && w.now >= w.timer {
		w.tick()
	}
	w.flush()
	return more || len(w.ready) > 0 || len(w.queue) > 0
}

// readPorts gives every port that may have frames its turn.
func (w *worker) readPorts() bool {
	any := false
	ready := w.ready
	w.ready = w.spare[:0]
	for _, p := range ready {
		p.ready = false
		if p.dev != nil && !p.resting && w.readPort(p) {
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
			break // who waits for the rest hears that the worker has ended
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

// readPort reads and forwards a port's frames until it is dry or its budget is
// spent; then it stays on the list. It reports whether there were any.
func (w *worker) readPort(p *port) bool {
	any, failed := false, false
	frames, strangers, size := 0, w.strangers, 0
	// Answering what was read may show that the device is gone.
	for i := 0; i < readBudget; i++ {
		n, err := p.dev.Read(w.frames)
		if n >= warmBatch {
			p.network.warm(&w.turn, w.frames[:n])
		}
		bytes := 0
		for i := range w.frames[:n] {
			f := &w.frames[i]
			bytes += f.Tail - f.Head
			p.receive(&w.turn, f)
		}
		p.stats.RxFrames += uint64(n)
		p.stats.RxBytes += uint64(bytes - n*tap.HeaderLen)
		if len(w.queue) > 0 {
			w.runQueue()
		}
		w.flush()
		any = any || n > 0
		frames += n
		size += bytes
		p.backlog += n
		p.count(n, w.now)
		if p.dev == nil {
			return any
		}
		if n > 0 && p.isDown && w.now-p.downAt >= downPause {
			p.up(&w.turn)
		}
		switch {
		case err != nil:
			p.readTrouble(&w.turn, err)
			if p.dev == nil {
				return any
			}
			failed = true // there may be frames behind the error
		case n == 0, n < len(w.frames) && bytes < tap.BatchBytes && !p.inMemory:
			p.backlog = 0
			return any // dry; one in memory says that it is gone only when it is empty
		}
	}
	switch {
	case !any && failed:
		p.lookAgain(&w.turn, failPause) // one that does nothing but fail must not keep the worker busy
	case w.shouldPause(p, frames, w.strangers-strangers, size):
		p.pause(&w.turn)
	default:
		w.mark(p)
	}
	return any
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

// flush writes what the ports have gathered.
func (w *worker) flush() {
	for _, p := range w.dirty {
		p.write(&w.turn)
	}
	w.dirty = w.dirty[:0]
	if len(w.unshown) > 0 {
		w.showAll()
	}
	w.arena.reset()
}

func (p *port) write(t *turn) {
	if len(p.out) == 0 {
		return
	}
	if p.dev == nil {
		p.stats.Lost += uint64(len(p.out))
		p.out = p.out[:0]
		return
	}
	n, err := p.dev.Write(p.out)
	p.stats.TxFrames += uint64(n)
	p.stats.Lost += uint64(len(p.out) - n)
	if n == len(p.out) {
		for i := range p.out {
			p.stats.TxBytes += uint64(p.out[i].Tail - p.out[i].Head - tap.HeaderLen)
		}
	}
	p.out = p.out[:0]
	switch {
	case p.shadow:
		p.shadowWrote(t, err)
	case err != nil:
		p.writeTrouble(t, err)
	case p.isDown:
		p.up(t)
	}
}

// tick does what is due in every table.
func (w *worker) tick() {
	w.timed = false
	w.tickPorts()
	for _, r := range w.routers {
		r.tick(&w.turn)
	}
	if len(w.queue) > 0 {
		w.wakeAt(w.now)
	}
}

// stop ends the loop and closes the devices.
func (w *worker) stop() {
	w.stopping = true
	var closed sync.WaitGroup
	for _, p := range w.ports {
		if p.dev == nil {
			continue
		}
		dev := p.dev
		w.wait.remove(p)
		p.dev = nil
		// The kernel takes its time to remove a device, but removes many at once.
		closed.Go(func() {
			if err := dev.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				w.log.Warn("closing a device", "device", p.name(), "err", err)
			}
		})
	}
	closed.Wait()
}
