package tap

import (
	"fmt"
	"os"
	"sync"
)

// PipeOptions are the settings of a Pipe.
type PipeOptions struct {
	// A and B are what the owner of either end takes: frames that are written at
	// the other end may use it. Without any, only plain frames may be written.
	A, B Features
	// Frames and Bytes bound what waits in one direction, Bytes as the memory that
	// the frames take; 0 means 1024 frames and 8 MB.
	Frames, Bytes int
}

// Pipe returns the two ends of an Ethernet cable in memory, called a and b. Frames
// that are written at one end are read at the other, in order. When a queue is full,
// further frames are lost, and Write says ErrFull. After one end is closed, the other
// reads the frames that are left, then ErrGone.
//
// Notify is edge-triggered: it is called when a frame is written to an empty queue, or
// when the far end is closed. Read until there is nothing left after each call.
//
// It uses a mutex only, so it runs on every platform and in testing/synctest.
func Pipe(a, b string, opt PipeOptions) (Device, Device) {
	if opt.Frames <= 0 {
		opt.Frames = 1024
	}
	if opt.Bytes <= 0 {
		opt.Bytes = 8 << 20
	}
	ab := &pipeQueue{maxFrames: opt.Frames, maxBytes: opt.Bytes}
	ba := &pipeQueue{maxFrames: opt.Frames, maxBytes: opt.Bytes}
	return &pipeEnd{name: a, in: ba, out: ab, takes: opt.B}, &pipeEnd{name: b, in: ab, out: ba, takes: opt.A}
}

// A pipeEnd is one end of a Pipe.
type pipeEnd struct {
	name    string
	in, out *pipeQueue
	takes   Features // of the far end
}

// A pipeQueue is one direction of a Pipe: a ring of copied frames.
type pipeQueue struct {
	mu                  sync.Mutex
	ring                []pipeSlot
	head, len, bytes    int
	maxFrames, maxBytes int
	readerGone          bool
	writerGone          bool
	notify              func()
}

// A pipeSlot holds one frame with its virtio-net header. A short frame's buffer
// stays for the next time around; a longer one's comes from a pool, so that a
// ring that once was full of them does not keep them.
type pipeSlot struct {
	short []byte
	jumbo *[jumboFrame]byte
	long  *[SlotLen]byte // without jumbo and long, the frame is in short
	len   int
}

// cost is the memory that a frame of n bytes takes, in bytes.
func cost(n int) int {
	switch {
	case n <= shortFrame:
		return n
	case n <= jumboFrame:
		return jumboFrame
	}
	return SlotLen
}

const (
	shortFrame = 2048
	jumboFrame = 10 << 10
	// longestFrame is what a reader's slot has room for, header included.
	longestFrame = SlotLen - Headroom
)

var (
	jumboBuffers = sync.Pool{New: func() any { return new([jumboFrame]byte) }}
	longBuffers  = sync.Pool{New: func() any { return new([SlotLen]byte) }}
)

// Name returns the name given to Pipe.
func (p *pipeEnd) Name() string { return p.name }

// Features returns what the far end takes.
func (p *pipeEnd) Features() Features { return p.takes }

// FD returns -1.
func (p *pipeEnd) FD() int { return -1 }

// Notify implements Device.
func (p *pipeEnd) Notify(fn func()) {
	p.in.mu.Lock()
	p.in.notify = fn
	waiting := p.in.len > 0 || p.in.writerGone
	p.in.mu.Unlock()
	if waiting && fn != nil {
		fn()
	}
}

// Read implements Device.
func (p *pipeEnd) Read(frames []Frame) (int, error) {
	q := p.in
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.readerGone {
		return 0, os.ErrClosed
	}
	n, bytes := 0, 0
	for ; n < len(frames) && q.len > 0 && bytes < BatchBytes; n++ {
		f := &frames[n]
		f.Head = Headroom
		f.Tail = Headroom + q.pop(f.Buf[Headroom:])
		bytes += f.Tail - f.Head
	}
	if n == 0 && q.writerGone {
		return 0, fmt.Errorf("tap: read %s: the far end is closed: %w", p.name, ErrGone)
	}
	return n, nil
}

// pop copies the oldest frame into b.
func (q *pipeQueue) pop(b []byte) int {
	s := &q.ring[q.head]
	n := s.len
	switch {
	case s.long != nil:
		copy(b, s.long[:n])
		longBuffers.Put(s.long)
		s.long = nil
	case s.jumbo != nil:
		copy(b, s.jumbo[:n])
		jumboBuffers.Put(s.jumbo)
		s.jumbo = nil
	default:
		copy(b, s.short[:n])
	}
	q.head = (q.head + 1) % len(q.ring)
	q.len--
	q.bytes -= cost(n)
	return n
}

// push appends a copy of a frame.
func (q *pipeQueue) push(frame []byte) {
	if q.len == len(q.ring) {
		q.grow()
	}
	s := &q.ring[(q.head+q.len)%len(q.ring)]
	s.len = len(frame)
	switch n := len(frame); {
	case n > jumboFrame:
		s.long = longBuffers.Get().(*[SlotLen]byte)
		copy(s.long[:], frame)
	case n > shortFrame:
		s.jumbo = jumboBuffers.Get().(*[jumboFrame]byte)
		copy(s.jumbo[:], frame)
	default:
		if s.short == nil {
			s.short = make([]byte, shortFrame)
		}
		copy(s.short, frame)
	}
	q.len++
	q.bytes += cost(len(frame))
}

// grow doubles the ring, which starts small: most pipes never hold much.
func (q *pipeQueue) grow() {
	ring := make([]pipeSlot, max(16, min(2*len(q.ring), q.maxFrames)))
	for i := range q.len {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// Write implements Device.
func (p *pipeEnd) Write(frames []Frame) (int, error) {
	q := p.out
	q.mu.Lock()
	if q.writerGone {
		q.mu.Unlock()
		return 0, os.ErrClosed
	}
	if q.readerGone {
		q.mu.Unlock()
		return 0, fmt.Errorf("tap: write %s: the far end is closed: %w", p.name, ErrGone)
	}
	empty := q.len == 0
	n, err := 0, error(nil)
	for i := range frames {
		f := &frames[i]
		fault := q.refuse(f.Tail - f.Head)
		if fault == nil {
			q.push(f.Buf[f.Head:f.Tail])
			n++
		} else if err == nil {
			err = fault
		}
	}
	notify := q.notify
	q.mu.Unlock()
	if empty && n > 0 && notify != nil {
		notify()
	}
	return n, err
}

// refuse says why a frame of so many bytes, header included, cannot be taken.
func (q *pipeQueue) refuse(size int) error {
	switch {
	case size < HeaderLen || size > longestFrame:
		return fmt.Errorf("tap: a frame of %d bytes: want %d to %d, virtio-net header included", size, HeaderLen,
			longestFrame)
	case q.len >= q.maxFrames || q.bytes+cost(size) > q.maxBytes:
		return ErrFull
	}
	return nil
}

// Close implements Device.
func (p *pipeEnd) Close() error {
	p.in.close(func(q *pipeQueue) { q.readerGone = true })
	p.out.close(func(q *pipeQueue) { q.writerGone = true })
	return nil
}

// close marks a queue and wakes its reader.
func (q *pipeQueue) close(mark func(*pipeQueue)) {
	q.mu.Lock()
	mark(q)
	notify := q.notify
	if q.readerGone {
		q.ring, q.len, q.bytes, q.notify = nil, 0, 0, nil
	}
	q.mu.Unlock()
	if notify != nil {
		notify()
	}
}
