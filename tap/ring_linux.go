package tap

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// ringSlots bounds the burst that a device takes while the worker is busy
	// with other work. Twice as many, and a quarter, measured no better.
	ringSlots = 2048
	// ringSlot holds a frame of an ordinary MTU behind the kernel's description
	// of it, in bytes.
	ringSlot = 2048
	// ringBlock is what the kernel allocates at once, in bytes: whole pages,
	// also where they are large, and whole slots, so that these lie side by side.
	ringBlock = 64 << 10
	// ringWatch is how often a ring is looked at for a jam while frames come.
	ringWatch = 200 * time.Millisecond
	// ringWatchIdle is how often at least. An idle device costs a timer at each look,
	// and the first frame after a silence may jam the ring.
	ringWatchIdle = 8 * ringWatch
)

// A ring is memory in which the kernel puts received frames, so that reading
// one costs no system call (PACKET_RX_RING in its second version: the third
// hands over blocks of frames, and delays them until a block is full or its
// time is over). A frame that is too large for its slot waits in the socket's
// queue; the slot keeps its place in the order.
type ring struct {
	memory []byte
	next   int // offset of the slot that the kernel fills next
}

// openRing gives a socket that is not bound yet a ring. The virtio-net header
// must have been agreed before.
func openRing(fd, slots int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	// Any value means that frames larger than a slot are queued.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
		return nil, fmt.Errorf("queue for large frames: %w", err)
	}
	size := slots * ringSlot
	req := unix.TpacketReq{Block_size: ringBlock, Block_nr: uint32(size / ringBlock), Frame_size: ringSlot,
		Frame_nr: uint32(slots)}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("allocate: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		r := ring{}
		r.close(fd)
		return nil, fmt.Errorf("map: %w", err)
	}
	return &ring{memory: memory}, nil
}

// close unmaps the ring. The socket, if it is still open, queues every frame
// from then on.
func (r *ring) close(fd int) {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
	}
	if fd >= 0 {
		_ = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{})
	}
}

// filled returns the slot that is the next to read, or nil while it is the
// kernel's. The atomic load comes before all reads of the slot.
func (r *ring) filled() *unix.Tpacket2Hdr {
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.memory[r.next]))
	if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
		return nil
	}
	return h
}

// copyTo copies a slot's frame behind at, from skip bytes into its virtio-net
// header on: the kernel puts that directly before the frame.
func (r *ring) copyTo(f *Frame, h *unix.Tpacket2Hdr, skip int) {
	from := r.next + int(h.Mac)
	f.Head = rawHead
	f.Tail = rawHead + skip + copy(f.Buf[rawHead+skip:], r.memory[from-(HeaderLen-skip):from+int(h.Snaplen)])
	clear(f.Buf[rawHead : rawHead+skip])
}

// release gives a slot back to the kernel, after everything that was read from it.
func (r *ring) release(h *unix.Tpacket2Hdr) {
	atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	if r.next += ringSlot; r.next == len(r.memory) {
		r.next = 0
	}
}

// fromRing is receive from the ring: EAGAIN means that it is empty, and says
// nothing of errors.
func (d *rawDevice) fromRing(f *Frame) unix.Errno {
	for h := d.ring.filled(); h != nil; h = d.ring.filled() {
		if h.Status&unix.TP_STATUS_COPY != 0 {
			errno := d.receive(f)
			if errno == unix.ENETDOWN {
				return errno // instead of the frame, which is still there
			}
			d.ring.release(h)
			if errno == unix.EAGAIN {
				continue
			}
			return errno
		}
		// Too large for the slot, and there was no room in the queue.
		lost := h.Snaplen < h.Len
		if !lost {
			d.ring.copyTo(f, h, d.skip())
			if tpid, tci, ok := vlanTag(h.Status, h.Vlan_tpid, h.Vlan_tci); ok {
				f.insertTag(tpid, tci)
			}
		}
		d.ring.release(h)
		if !lost {
			return 0
		}
	}
	return unix.EAGAIN
}

// A ringWatcher finds out that a ring is jammed. The kernel (seen in 6.18) never
// gives a slot back whose frame has no virtio-net header, such as an SCTP or a
// UDP fragmentation super-frame: it drops that and every later frame, and wakes
// no reader. A guest behind a TAP could silence its network with one frame. Such an
// interface is served without a ring for a while, each time for longer than the time
// before: a guest that goes on jamming the ring gains little.
type ringWatcher struct {
	timer *time.Timer
	wait  time.Duration // until the next look; ringWatch while there is no ring
	empty bool          // the ring was, at the last look, and nothing has come since

	slots  int           // of the ring
	since  time.Time     // when there was a ring again
	pause  time.Duration // the pause after the last jam
	passed int           // looks at which frames waited that a ring would lose
}

const (
	// ringPause is how long an interface is served without a ring after the first jam.
	// Each jam doubles that, up to ringPauseMost; a ring that has worked for
	// ringPauseMost starts anew.
	ringPause     = time.Second
	ringPauseMost = 256 * time.Second
	// ringPassMost is how many looks in a row put a ring off because frames wait in
	// the socket's queue.
	ringPassMost = 20
)

// watch looks at the ring now and then, as long as the device is open.
func (d *rawDevice) watch() {
	d.reading.Lock()
	defer d.reading.Unlock()
	switch {
	case d.closed:
	case d.ring != nil:
		d.watcher.timer.Reset(d.lookAtRing())
	default:
		d.watcher.timer.Reset(d.takeRing())
	}
}

// lookAtRing looks whether the kernel has dropped frames, and stored none, since the
// ring was last seen empty. A burst that the ring had no room for does not look
// like that: its first frame was stored. It returns the time until the next look.
func (d *rawDevice) lookAtRing() time.Duration {
	w := &d.watcher
	// The kernel counts since the last call.
	st, err := unix.GetsockoptTpacketStats(d.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return ringWatch
	}
	w.empty = w.empty && st.Packets == st.Drops
	wait := w.pace(st.Packets > 0)
	if st.Drops == 0 {
		return wait
	}
	suspect := w.empty
	if w.empty = d.ring.filled() == nil; !suspect || !w.empty {
		return wait
	}
	return d.giveUpRing()
}

// pace returns the time until the next look at a ring: twice as long each time that no
// frames have come since the last one.
func (w *ringWatcher) pace(came bool) time.Duration {
	w.wait = min(2*w.wait, ringWatchIdle)
	if came {
		w.wait = ringWatch
	}
	return w.wait
}

// wake has a ring looked at soon, as frames come again.
func (w *ringWatcher) wake() {
	if w.wait > ringWatch {
		w.wait = ringWatch
		w.timer.Reset(ringWatch)
	}
}

// change runs what takes the kernel long, without having Read wait.
func (d *rawDevice) change(fn func()) {
	d.changing.Store(true)
	defer d.changing.Store(false)
	fn()
}

// giveUpRing has frames queued from now on. It returns the time until the next look.
func (d *rawDevice) giveUpRing() time.Duration {
	w := &d.watcher
	d.change(func() { d.ring.close(d.fd) })
	d.ring = nil
	w.jammed(time.Now())
	d.log.Warn("receive ring jammed by a frame that it cannot describe", "device", d.name, "rx", d.rx(),
		"again_in", w.pause)
	return w.pause
}

// jammed works out what a jam costs.
func (w *ringWatcher) jammed(now time.Time) {
	if now.Sub(w.since) >= ringPauseMost {
		w.pause = 0
	}
	w.lengthen()
}

func (w *ringWatcher) lengthen() { w.pause = min(max(2*w.pause, ringPause), ringPauseMost) }

// takeRing gives the device a ring again. It returns the time until the next look.
func (d *rawDevice) takeRing() time.Duration {
	w := &d.watcher
	if w.passed < ringPassMost && d.waiting() {
		w.passed++
		return ringWatch
	}
	w.passed = 0
	var err error
	d.change(func() { d.ring, err = openRing(d.fd, w.slots) })
	if err != nil {
		w.lengthen()
		d.log.Debug("no receive ring", "device", d.name, "err", err, "again_in", w.pause)
		return w.pause
	}
	w.since, w.empty = time.Now(), false
	// Frames that were dropped meanwhile say nothing of the ring. Reading the count clears it.
	_, _ = unix.GetsockoptTpacketStats(d.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	d.log.Info("receive ring is used again", "device", d.name, "rx", d.rx())
	return ringWatch
}

// waiting reports whether frames are in the socket's queue.
func (d *rawDevice) waiting() bool {
	poll := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1 && poll[0].Revents&unix.POLLIN != 0
}

// socketError asks for the error that recvmsg would return, and clears it as
// that does.
func (d *rawDevice) socketError() unix.Errno {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(d.fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return unix.Errno(value)
}
