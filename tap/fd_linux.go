package tap

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A fdDevice moves frames through a descriptor, one system call each. The calls
// never block and skip the scheduler's bookkeeping, which would cost a quarter
// of the packet rate (RawSyscall must not be used for anything that can block).
type fdDevice struct {
	name     string
	fd       int
	vnet     bool // frames carry a virtio-net header
	restore  bool // Close switches the offloads off again
	features Features
	ours     bool // a TAP that the process has made
	mtu      int  // when it was opened, in bytes

	// Close waits for calls under way. Without that, a call could read another file that has
	// got the same descriptor number.
	mu     sync.RWMutex
	closed bool
}

// Name implements Device.
func (d *fdDevice) Name() string { return d.name }

// Features implements Device.
func (d *fdDevice) Features() Features { return d.features }

// FD implements Device.
func (d *fdDevice) FD() int { return d.fd }

// Notify implements Device: a descriptor is polled.
func (d *fdDevice) Notify(func()) {}

// Close implements Device.
func (d *fdDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if d.restore {
		// The next program that opens the device may know nothing of offloads.
		_ = unix.IoctlSetInt(d.fd, unix.TUNSETOFFLOAD, 0)
	}
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("tap: close %s: %w", d.name, err)
	}
	return nil
}

// skip is how much of the virtio-net header the kernel does not read or write.
func (d *fdDevice) skip() int {
	if d.vnet {
		return 0
	}
	return HeaderLen
}

// readOne reads one frame to Headroom, and returns its length with the header.
func (d *fdDevice) readOne(f *Frame) (int, unix.Errno) {
	at := Headroom + d.skip()
	b := f.Buf[at:SlotLen]
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(d.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		if d.vnet && n < HeaderLen {
			return 0, unix.EIO
		}
		if !d.vnet {
			clear(f.Buf[Headroom:at])
		}
		f.Head = Headroom
		f.Tail = at + int(n)
		return f.Tail - f.Head, 0
	}
}

// Read implements Device.
func (d *fdDevice) Read(frames []Frame) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	bytes := 0
	for i := range frames {
		n, errno := d.readOne(&frames[i])
		switch {
		case errno == unix.EAGAIN:
			return i, nil
		case errno != 0:
			return i, d.failed("read", errno)
		}
		if bytes += n; bytes >= BatchBytes {
			return i + 1, nil
		}
	}
	return len(frames), nil
}

// Write implements Device.
func (d *fdDevice) Write(frames []Frame) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	taken := 0
	var first error
	for i := range frames {
		f := &frames[i]
		b := f.Buf[f.Head+d.skip() : f.Tail]
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(d.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)))
		for errno == unix.EINTR {
			_, _, errno = unix.RawSyscall(unix.SYS_WRITE, uintptr(d.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
				uintptr(len(b)))
		}
		if errno == 0 {
			taken++
		} else if first == nil {
			first = d.failed("write", errno)
		}
	}
	return taken, first
}

// failed says what an error number of a read or write means.
func (d *fdDevice) failed(op string, errno unix.Errno) error {
	kind := error(errno)
	switch errno {
	case unix.EIO, unix.ENETDOWN: // a TAP that is down says EIO
		kind = ErrDown
	case unix.EBADFD, unix.ENODEV, unix.ENXIO:
		kind = ErrGone
	case unix.EAGAIN, unix.ENOBUFS:
		kind = ErrFull
	}
	if kind == error(errno) {
		return fmt.Errorf("tap: %s %s: %w", op, d.name, errno)
	}
	return fmt.Errorf("tap: %s %s: %w (%w)", op, d.name, kind, errno)
}

// ioctl calls ioctl(2) with a pointer argument.
func ioctl(fd int, req uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// holds reports whether the calling thread has a capability. A thread that cannot ask is
// told so by what it tries next.
func holds(capability uint) bool {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &sets[0]) != nil || sets[capability/32].Effective&(1<<(capability%32)) != 0
}

// isErrno reports whether err is one of the numbers.
func isErrno(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
