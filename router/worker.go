package router

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/arp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/tap"
)

// A worker runs networks and routers to completion: it reads a batch of frames,
// reads the clock once, decides and rewrites, writes, and sleeps when every
// device is dry. Everything it owns is touched by its goroutine only; others
// send it functions to run. What its routers have to do with another worker's
// networks is in handover.go.
type worker struct {
	log      *slog.Logger
	clock    func() time.Duration // since the start
	now      time.Duration        // read once a batch
	day      func() time.Time     // the clock of the day; nil: there is none
	networks []*network
	routers  []*vrouter
	ifaces   []*iface // of the whole engine, by number
	ports    []*port
	memory   []*port // those of ports whose devices are in memory
	ready    []*port // may have frames to read
	spare    []*port
	shadows  []*port // of other workers' networks, by their number
	busyPoll time.Duration
	busyAt   time.Duration

	inbox, hidden []*handover

	excess    bool // a connection has just been established beyond its VIP's limit
	strangers int  // packets so far that belonged to no known connection

	frames []tap.Frame // the slots that devices read into
	tuples [nat.WarmMost]packet.Tuple
	arena  arena    // frames that the router makes
	queue  []queued // frames that go through forward again, or between routers
	dirty  []*port  // ports with frames to write
	timer  time.Duration
	timed  bool

	decoder   *packet.Decoder
	decodeAll bool // plain frames too: the reference that FuzzSequence compares with
	passage   passage
	errPath   errorPath
	newConn   nat.NewConn
	plain     packet.Packet
	pieces    []tap.Frame
	pieces2   []tap.Frame

	stats    counters
	reopener *reopener

	wait     waiter
	mu       sync.Mutex
	mail     []func()
	hasMail  atomic.Bool
	stopping bool
	direct   bool // nobody runs it: its turns, and what is sent to it, are the caller's
	done     chan struct{}
}

// A queued frame belongs to the worker until it has been forwarded.
type queued struct {
	in    *iface
	frame []byte // virtio-net header and Ethernet frame
	again bool   // it was parked

	// failed is the neighbor that it waited for in vain.
	failed arp.Key
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
		log: log, clock: func() time.Duration { return time.Since(start) },
		decoder: packet.NewDecoder(), done: make(chan struct{}),
	}
	slots := make([]byte, batchFrames*slotStride)
	for i := range batchFrames {
		w.frames = append(w.frames, tap.Frame{Buf: slots[i*slotStride : (i+1)*slotStride : (i+1)*slotStride]})
	}
	var err error
	w.wait, err = newWaiter(devices, w.mark, func(p *port) { w.lookAgain(p, downInterval) })
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
		more := w.turn()
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

// turn does everything that is there to do once: each port and each other worker
// has its share. It reports whether something is left.
func (w *worker) turn() bool {
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
			w.warm(p.network, w.frames[:n])
		}
		bytes := 0
		for i := range w.frames[:n] {
			f := &w.frames[i]
			bytes += f.Tail - f.Head
			w.receive(p, f)
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
			w.up(p)
		}
		switch {
		case err != nil:
			w.readTrouble(p, err)
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
		w.lookAgain(p, failPause) // one that does nothing but fail must not keep the worker busy
	case w.strains(p, frames, w.strangers-strangers, size):
		w.rest(p)
	default:
		w.mark(p)
	}
	return any
}

// warmBatch is how many frames make it worth while to look ahead.
const warmBatch = 4

// warm looks ahead at the frames of a batch that are for one router with a large
// table, and has their connections fetched into the cache at the same time.
func (w *worker) warm(n *network, frames []tap.Frame) {
	var r *vrouter
	tuples := w.tuples[:0]
	for i := range frames {
		eth := frames[i].Ethernet()
		if len(eth) < packet.EthernetLen {
			continue
		}
		if r == nil {
			if r = n.routerAt(eth[:6]); r == nil || r.worker != w || r.nat.Len() < nat.WarmFrom {
				return
			}
		}
		if t, ok := packet.Peek(eth); ok {
			tuples = append(tuples, t)
		}
	}
	if r != nil {
		r.nat.Warm(tuples)
	}
}

// routerAt returns the router that has a MAC address on the network, or nil.
func (n *network) routerAt(mac []byte) *vrouter {
	for _, i := range n.ifaces {
		if i.mac == packet.MAC(mac) {
			return i.router
		}
	}
	return nil
}

// runQueue forwards what was put aside; what that puts aside in turn waits for
// the next turn.
func (w *worker) runQueue() {
	queue := w.queue
	w.queue = nil
	for _, q := range queue {
		f := w.frame(q.frame)
		if q.again || f.Ethernet()[0]&1 != 0 || q.in.mac == packet.MAC(f.Ethernet()[:6]) {
			w.passage.failed = q.failed
			w.count(w.forward(q.in, &f, q.again), q.again)
		}
	}
	w.passage.failed = arp.Key{}
}

// requeue has a frame that was parked forwarded anew. failed names the neighbor that
// has not answered; zero: none.
func (w *worker) requeue(in *iface, frame []byte, failed arp.Key) {
	w.queue = append(w.queue, queued{in, frame, true, failed})
}

// flush writes what the ports have gathered.
func (w *worker) flush() {
	for _, p := range w.dirty {
		w.writePort(p)
	}
	w.dirty = w.dirty[:0]
	if len(w.hidden) > 0 {
		w.showAll()
	}
	w.arena.reset()
}

func (w *worker) writePort(p *port) {
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
		w.shadowWrote(p, err)
	case err != nil:
		w.writeTrouble(p, err)
	case p.isDown:
		w.up(p)
	}
}

// tick does what is due in every table.
func (w *worker) tick() {
	w.timed = false
	w.tickPorts()
	for _, r := range w.routers {
		w.tickNeighbors(r)
		w.tickFragments(r)
		w.tickGatherings(r)
		w.tickAnnouncements(r)
		w.settle(r)
		w.tickCut(r)
		if at := r.nat.Tick(w.now); at != 0 {
			w.wakeAt(at)
		}
	}
	if len(w.queue) > 0 {
		w.wakeAt(w.now)
	}
}

// wakeAt has tick called at a time, if not earlier.
func (w *worker) wakeAt(at time.Duration) {
	if !w.timed || at < w.timer {
		w.timer, w.timed = at, true
	}
}

// alloc returns a frame of n bytes, all zero, that lives until the next flush.
func (w *worker) alloc(n int) tap.Frame {
	buf := w.arena.alloc(tap.Headroom + tap.HeaderLen + n)
	return tap.Frame{Buf: buf, Head: tap.Headroom, Tail: len(buf)}
}

// copy returns a copy of a frame that lives until the next flush.
func (w *worker) copy(f *tap.Frame) tap.Frame {
	c := w.alloc(f.Tail - f.Head - tap.HeaderLen)
	copy(c.Buf[c.Head:], f.Buf[f.Head:f.Tail])
	return c
}

// frame makes a queued frame one in the arena, with headroom.
func (w *worker) frame(b []byte) tap.Frame {
	f := w.alloc(len(b) - tap.HeaderLen)
	copy(f.Buf[f.Head:], b)
	return f
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

// count enters a verdict into the books; again is for a frame that was parked,
// which has been received once only.
func (w *worker) count(v verdict, again bool) {
	s := &w.stats
	if again {
		s.Parked--
	}
	switch v {
	case next:
		panic("router: a frame without a verdict")
	case forwarded:
		s.Forwarded++
	case consumed:
		s.Consumed++
	case handedOver:
		// Whoever has it now says what becomes of it.
	case parked:
		s.Parked++
	default:
		r, _ := v.reason()
		s.Dropped[r]++
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
