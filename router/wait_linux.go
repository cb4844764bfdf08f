package router

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// newWaiter returns the waiter for a worker that reads descriptors, if devices
// says that it will.
func newWaiter(devices bool) (waiter, error) {
	if !devices {
		return newChanWaiter(), nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &pollWaiter{event: fd}, nil
}

// A pollWaiter sleeps in poll(2), which tells the Go scheduler that the thread
// blocks, on all descriptors and an eventfd that others wake it by.
type pollWaiter struct {
	sleeping atomic.Bool
	woken    atomic.Bool
	fds      []unix.PollFd
	polled   []*port // of fds[1:]

	mu    sync.Mutex // of event towards those who wake
	event int        // -1 once closed: the number may be somebody else's then
}

func (p *pollWaiter) wake() {
	p.woken.Store(true)
	if !p.sleeping.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.event >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(p.event, one[:]) // full means that a wake-up is pending
	}
}

func (p *pollWaiter) wait(d time.Duration, ports []*port) {
	p.sleeping.Store(true)
	defer p.sleeping.Store(false)
	if p.woken.Swap(false) {
		return
	}
	p.fds = append(p.fds[:0], unix.PollFd{Fd: int32(p.event), Events: unix.POLLIN})
	p.polled = p.polled[:0]
	for _, q := range ports {
		if q.dev != nil && q.dev.FD() >= 0 {
			p.fds = append(p.fds, unix.PollFd{Fd: int32(q.dev.FD()), Events: unix.POLLIN})
			p.polled = append(p.polled, q)
		}
	}
	ms := -1
	if d >= 0 {
		ms = int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	if n, err := unix.Poll(p.fds, ms); err != nil || n == 0 {
		return
	}
	if p.fds[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(p.event, b[:])
		p.woken.Store(false)
	}
	for i, q := range p.polled {
		if p.fds[i+1].Revents != 0 {
			q.ready = true
		}
	}
}

func (p *pollWaiter) ready(q *port) bool {
	if q.dev.FD() < 0 {
		return q.pending.Swap(false)
	}
	return q.ready
}

func (p *pollWaiter) dry(q *port) { q.ready = false }

func (p *pollWaiter) locked() bool { return true }

func (p *pollWaiter) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Close(p.event)
	p.event = -1
}
