package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const requestLen = 64

// The server and the client are loops over epoll with calls that never block,
// so that the result depends on the network between them, and not on the scheduling
// of many threads.

// raw is a system call that does not block.
func raw(call, a, b, c uintptr) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(call, a, b, c, 0, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

func readSome(fd int, b []byte) (int, unix.Errno) {
	return raw(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
}

func writeSome(fd int, b []byte) (int, unix.Errno) {
	return raw(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
}

func closeFD(fd int) { _, _ = raw(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// watch adds a descriptor to an epoll.
func watch(epoll, fd int, events uint32) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// crcServer accepts, reads a request, answers and closes, until it is ended.
// It closes first, so that connections in TIME_WAIT are on its side.
func crcServer(o *options, _ io.Writer) error {
	sa, err := sockaddr(o.at)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	listening := map[int32]bool{}
	for k := range o.ports {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		at := *sa
		at.Port += k
		if err := errors.Join(unix.Bind(fd, &at), unix.Listen(fd, 4096), watch(epoll, fd, unix.EPOLLIN)); err != nil {
			return err
		}
		listening[int32(fd)] = true
	}
	fmt.Fprintln(os.Stderr, "ready")
	events, b := make([]unix.EpollEvent, 256), make([]byte, requestLen)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if listening[e.Fd] {
				if err := acceptAll(epoll, int(e.Fd)); err != nil {
					return err
				}
				continue
			}
			n, errno := readSome(int(e.Fd), b)
			if errno == unix.EAGAIN {
				continue
			}
			if n == requestLen {
				_, _ = writeSome(int(e.Fd), b) // the client counts what it gets
			}
			closeFD(int(e.Fd))
		}
	}
}

// acceptAll takes every connection that waits.
func acceptAll(epoll, listener int) error {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0,
			unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
		switch errno {
		case 0:
			if err := watch(epoll, int(fd), unix.EPOLLIN); err != nil {
				return err
			}
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return errno
		}
	}
}

// A client is many connections at a time, one after the other on each place.
type client struct {
	epoll   int
	to      unix.SockaddrInet4
	ports   int
	b       []byte
	began   map[int]time.Time
	next    int
	done    int
	failed  int
	lastErr error
}

// open begins a connection.
func (c *client) open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	at := c.to
	at.Port += c.next % c.ports
	c.next++
	if err := unix.Connect(fd, &at); err != nil && err != unix.EINPROGRESS {
		return err
	}
	c.began[fd] = time.Now()
	return watch(c.epoll, fd, unix.EPOLLOUT)
}

// step goes on with a connection, and begins the next when it is over.
func (c *client) step(fd int, events uint32) error {
	if events&unix.EPOLLOUT != 0 && events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		if n, errno := writeSome(fd, c.b); n != requestLen {
			return c.end(fd, fmt.Errorf("write: %d bytes, %w", n, errno))
		}
		return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_MOD, fd,
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
	}
	n, errno := readSome(fd, c.b)
	if errno == 0 && n == requestLen {
		if events&unix.EPOLLRDHUP == 0 {
			return nil // the end of the stream is still to come
		}
		n, errno = readSome(fd, c.b)
	}
	if errno == unix.EAGAIN {
		return nil
	}
	if errno != 0 || n != 0 {
		return c.end(fd, fmt.Errorf("read: %d bytes, %w", n, errno))
	}
	return c.end(fd, nil)
}

// end closes a connection and begins another.
func (c *client) end(fd int, err error) error {
	if err == nil {
		c.done++
	} else {
		c.failed++
		c.lastErr = err
	}
	delete(c.began, fd)
	closeFD(fd)
	return c.open()
}

// crcClient prints the connections completed and the seconds.
func crcClient(o *options, out io.Writer) error {
	to, err := sockaddr(o.to)
	if err != nil {
		return err
	}
	c := &client{to: *to, ports: o.ports, b: make([]byte, requestLen), began: map[int]time.Time{}}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	start := time.Now()
	for range o.flows {
		if err := c.open(); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 256)
	for checked := start; time.Since(start) < o.d; {
		n, err := unix.EpollWait(c.epoll, events, 100)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if err := c.step(int(e.Fd), e.Events); err != nil {
				return err
			}
		}
		if now := time.Now(); now.Sub(checked) > 500*time.Millisecond {
			checked = now
			for fd, began := range c.began {
				if now.Sub(began) > 2*time.Second {
					if err := c.end(fd, errors.New("no answer for two seconds")); err != nil {
						return err
					}
				}
			}
		}
	}
	if c.failed > c.done/100+1 {
		return fmt.Errorf("%d of %d connections failed, the last one: %w", c.failed, c.failed+c.done, c.lastErr)
	}
	_, err = fmt.Fprintln(out, c.done, time.Since(start).Seconds())
	return err
}
