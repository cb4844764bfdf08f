package tap

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/taprouter/taprouter/tap/virtio"
)

// FaultOptions are the probabilities, from 0 to 1, of each fault, for each frame in each
// direction.
type FaultOptions struct {
	Drop      float64 // the frame is lost
	Duplicate float64 // it arrives twice
	Reorder   float64 // it arrives after the next one, or reorderWait late
	Corrupt   float64 // one bit of it is wrong
	// Seed makes the faults the same each time for the same frames.
	Seed uint64
}

// reorderWait is how long a frame waits for another to overtake it, so that the
// last frame of a conversation is late and not lost.
const reorderWait = 5 * time.Millisecond

// Fault returns dev with faults in both directions, for tests. Offloads are
// gone from its Features, so that faults hit single packets on Write; a
// super-frame that dev reads meets its fault as one.
//
// A frame that is held back goes on after the next one, or after 5 ms. A device with a
// descriptor delivers it as soon as a Read finds no other frame, because nothing could
// wake a reader that polls the descriptor.
//
// A frame's checksum is finished before the frame is corrupted, so that a receiver can
// tell. A super-frame, whose segments have no checksums yet, is lost instead.
// The descriptor is dev's.
func Fault(dev Device, opt FaultOptions) Device {
	return &faulty{wrapped: wrapped{dev}, opt: opt,
		in:  faults{rng: rand.New(rand.NewPCG(opt.Seed, 1))},
		out: faults{rng: rand.New(rand.NewPCG(opt.Seed, 2))}}
}

type faulty struct {
	wrapped
	opt FaultOptions

	inMutex sync.Mutex // in, pending and err: the reader's, but for the timer and Notify
	in      faults
	pending [][]byte // read, and not delivered yet
	err     error    // came with the frames before it
	notify  func()

	outMutex sync.Mutex
	out      faults
}

// faults is the state of one direction.
type faults struct {
	rng   *rand.Rand
	held  []byte // waits for the next frame to pass
	late  bool   // it has waited long enough
	timer *time.Timer
}

// Features implements Device.
func (d *faulty) Features() Features { return 0 }

// Notify implements Device; a frame that is late is told like one that arrives.
func (d *faulty) Notify(fn func()) {
	d.inMutex.Lock()
	d.notify = fn
	d.inMutex.Unlock()
	d.Device.Notify(fn)
}

// apply decides what becomes of a frame, and appends the frames that are to be delivered now.
// expired is called once a frame has been held back for long enough.
func (s *faults) apply(opt *FaultOptions, frame []byte, to [][]byte, expired func()) [][]byte {
	// One draw for each kind, so that one fault does not move the others.
	drop, twice, later, wrong := s.rng.Float64(), s.rng.Float64(), s.rng.Float64(), s.rng.Float64()
	bit := s.rng.Uint32()
	if drop < opt.Drop {
		return to
	}
	frame = append([]byte(nil), frame...)
	if wrong < opt.Corrupt && !corrupt(frame, bit) {
		return to
	}
	if later < opt.Reorder && s.held == nil {
		s.held, s.late = frame, false
		s.timer = time.AfterFunc(reorderWait, expired)
		return to
	}
	to = append(to, frame)
	if twice < opt.Duplicate {
		to = append(to, frame)
	}
	return s.release(to)
}

// corrupt flips a bit of a frame. It reports false for one that cannot be
// corrupted in a way that its receiver sees.
func corrupt(frame []byte, bit uint32) bool {
	var h virtio.Header
	h.Parse(frame)
	if h.GSOType != virtio.GSONone {
		return false
	}
	eth := frame[HeaderLen:]
	h.Complete(eth)
	clear(frame[:HeaderLen])
	if len(eth) > 0 {
		eth[int(bit>>3)%len(eth)] ^= 1 << (bit & 7)
	}
	return true
}

// release delivers the frame that was held back.
func (s *faults) release(to [][]byte) [][]byte {
	if s.held != nil {
		to = append(to, s.held)
		s.held = nil
		s.timer.Stop()
	}
	return to
}

// Read implements Device.
func (d *faulty) Read(frames []Frame) (int, error) {
	d.inMutex.Lock()
	defer d.inMutex.Unlock()
	for len(d.pending) < len(frames) && d.err == nil { // some may be taken away
		n, err := d.Device.Read(frames)
		d.err = err
		for i := range frames[:n] {
			f := &frames[i]
			d.pending = d.in.apply(&d.opt, f.Buf[f.Head:f.Tail], d.pending, d.wakeReader)
		}
		if n == 0 && (err != nil || d.in.late || d.FD() >= 0) {
			d.pending = d.in.release(d.pending)
		}
		if n == 0 {
			break
		}
	}
	n, bytes := 0, 0
	for ; n < len(frames) && n < len(d.pending) && bytes < BatchBytes; n++ {
		f := &frames[n]
		f.Head = Headroom
		f.Tail = Headroom + copy(f.Buf[Headroom:], d.pending[n])
		bytes += f.Tail - f.Head
	}
	d.pending = d.pending[n:]
	if len(d.pending) > 0 {
		return n, nil // an error comes with the last frames before it
	}
	err := d.err
	d.err = nil
	return n, err
}

// wakeReader has the reader come for a frame that has waited for long enough.
func (d *faulty) wakeReader() {
	d.inMutex.Lock()
	d.in.late = true
	notify := d.notify
	d.inMutex.Unlock()
	if notify != nil {
		notify()
	}
}

// Write implements Device. A frame that a fault has taken counts as sent.
func (d *faulty) Write(frames []Frame) (int, error) {
	d.outMutex.Lock()
	defer d.outMutex.Unlock()
	var list [][]byte
	for i := range frames {
		f := &frames[i]
		list = d.out.apply(&d.opt, f.Buf[f.Head:f.Tail], list, d.writeLate)
	}
	n, err := d.send(list)
	return max(0, len(frames)-(len(list)-n)), err
}

// send writes the frames of a batch that are left to the device.
func (d *faulty) send(list [][]byte) (int, error) {
	out := make([]Frame, len(list))
	for i, b := range list {
		out[i] = Frame{Buf: b, Tail: len(b)}
	}
	return d.Device.Write(out)
}

// writeLate sends a frame that nothing has overtaken. Its Write has long
// returned, so no caller is left to get an error: the frame is lost, as on a wire.
func (d *faulty) writeLate() {
	d.outMutex.Lock()
	defer d.outMutex.Unlock()
	_, _ = d.send(d.out.release(nil))
}
