package loop

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newWaiter returns a waiter. devices says whether the worker will read devices that have a descriptor; without that,
// the waiter serves devices in memory only. mark is told which links have frames, doubt which of these links have
// trouble, too.
func newWaiter(devices bool, mark, doubt func(*Link)) (Waiter, error) {
	if !devices {
		return newChanWaiter(), nil
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot})
	}
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &epollWaiter{mark: mark, doubt: doubt, slotOf: map[*Link]int{}, epoll: epoll, event: event}, nil
}

// epollFrames is what devices are watched for. EPOLLET is the sign bit of a number
// that is declared to be positive.
const epollFrames = unix.EPOLLIN | 1<<31

// wakeSlot stands for the eventfd among the slots of the links.
const wakeSlot = -1

// An epollWaiter sleeps in epoll, which tells the Go scheduler that the thread
// blocks. It watches the devices edge-triggered: a link is read until it is dry
// anyway, and the kernel then does not look at the device for every frame. Other
// goroutines wake it by an eventfd.
type epollWaiter struct {
	mark     func(*Link)
	doubt    func(*Link)
	epoll    int
	slots    []*Link       // by the number in an event
	slotOf   map[*Link]int // the numbers of links
	free     []int         // numbers of links that were removed
	events   [64]unix.EpollEvent
	hold     bool // see Hold
	sleeping atomic.Bool
	woken    atomic.Bool

	delays runDelay

	mu    sync.Mutex // guards event, which other goroutines use in Wake
	event int        // -1 once closed: another file may have the number then
}

func (e *epollWaiter) Add(p *Link) error {
	fd := p.Dev.FD()
	if fd < 0 {
		return nil
	}
	slot := len(e.slots)
	if n := len(e.free); n > 0 {
		slot = e.free[n-1]
	}
	event := &unix.EpollEvent{Events: epollFrames, Fd: int32(slot)}
	if err := unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, fd, event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	if n := len(e.free); n > 0 {
		e.free = e.free[:n-1]
	} else {
		e.slots = append(e.slots, nil)
	}
	e.slots[slot], e.slotOf[p] = p, slot
	return nil
}

func (e *epollWaiter) Remove(p *Link) {
	if slot, ok := e.slotOf[p]; ok {
		delete(e.slotOf, p)
		e.slots[slot], e.free = nil, append(e.free, slot)
		_ = unix.EpollCtl(e.epoll, unix.EPOLL_CTL_DEL, p.Dev.FD(), nil) // closing it does the same
	}
}

// Pause changes what a device is watched for. epoll tells of errors in any case. When it begins to
// watch for frames again, it tells of those that are there already.
func (e *epollWaiter) Pause(p *Link, on bool) {
	if slot, ok := e.slotOf[p]; ok {
		event := &unix.EpollEvent{Fd: int32(slot)}
		if !on {
			event.Events = epollFrames
		}
		// an error does no harm: a link that pauses is read when its time comes
		_ = unix.EpollCtl(e.epoll, unix.EPOLL_CTL_MOD, p.Dev.FD(), event)
	}
}

func (e *epollWaiter) Wake() {
	e.woken.Store(true)
	if !e.sleeping.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.event >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(e.event, one[:]) // full means that a wake-up is pending
	}
}

func (e *epollWaiter) Look() { e.poll(0) }

// poll is an epoll_pwait of which the Go scheduler is not told. It reports whether it has met an event or a signal.
func (e *epollWaiter) poll(ms int) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.epoll), uintptr(unsafe.Pointer(&e.events[0])),
		uintptr(len(e.events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return true
	}
	e.collect(int(n))
	return n > 0
}

// holdFor is how long a worker that may hold its processor of the Go scheduler does so, in milliseconds. It is less
// than the 10 ms after which the scheduler asks a thread for its processor by a signal. That ends the wait, too.
const holdFor = 4

func (e *epollWaiter) Hold(may bool) { e.hold = may }

func (e *epollWaiter) Wait(d time.Duration) {
	e.sleeping.Store(true)
	if e.woken.Swap(false) {
		e.sleeping.Store(false)
		e.Look()
		return
	}
	ms := -1
	if d >= 0 {
		ms = int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	if e.hold {
		// Frames come soon most of the time. A wait of which the scheduler is told gives the processor back and takes
		// it again. It wakes the scheduler's monitor, which then interrupts every 20 us for a while. That costs one
		// connection after the other about an eighth of its rate.
		short := holdFor
		if ms >= 0 {
			short = min(short, ms)
		}
		if e.poll(short) || short == ms {
			e.sleeping.Store(false)
			return
		}
		if ms > 0 {
			ms -= short
		}
	}
	n, err := unix.EpollWait(e.epoll, e.events[:], ms)
	e.sleeping.Store(false)
	if err == nil {
		e.collect(n)
	}
}

// collect marks the links that the events are about.
func (e *epollWaiter) collect(n int) {
	for _, event := range e.events[:n] {
		if event.Fd == wakeSlot {
			var b [8]byte
			_, _ = unix.Read(e.event, b[:])
			e.woken.Store(false)
			continue
		}
		p := e.slots[event.Fd]
		if p == nil {
			continue
		}
		e.mark(p)
		if event.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			// The kernel tells of the error before a read does, and does not tell of it again.
			e.doubt(p)
		}
	}
}

func (e *epollWaiter) Locked() bool { return true }

func (e *epollWaiter) Starved(now time.Duration) bool { return e.delays.starved(now) }

func (e *epollWaiter) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = unix.Close(e.event)
	e.event = -1
	_ = unix.Close(e.epoll)
	e.delays.close()
}
