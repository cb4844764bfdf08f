package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tellTime bounds how long the service manager may take to hear one message.
const tellTime = 5 * time.Second

// toManager returns how to tell the service manager of a descriptor (FDSTORE=1 in sd_notify(3)), nil if there is no
// manager. go-systemd has no messages with descriptors.
func toManager() func(string, *os.File) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	return func(message string, file *os.File) error {
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(tellTime)); err != nil {
			return err
		}
		var rights []byte
		if file != nil {
			rights = unix.UnixRights(int(file.Fd()))
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		// WriteMsgUnix refuses sockets that are connected.
		var sent error
		err = raw.Write(func(fd uintptr) bool {
			sent = unix.Sendmsg(int(fd), []byte(message), rights, nil, unix.MSG_NOSIGNAL)
			return !errors.Is(sent, unix.EAGAIN)
		})
		if err = cmp.Or(err, sent); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
}

// sameFile says whether two descriptors are of the same open file. Where the kernel does not tell, they are taken for
// that if they are of the same inode, as all descriptors of TAPs are.
func sameFile(a, b *os.File) bool {
	pid := uintptr(os.Getpid())
	const kcmpFile = 0 // KCMP_FILE
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, a.Fd(), b.Fd(), 0)
	if errno == 0 {
		return order == 0
	}
	one, errA := a.Stat()
	other, errB := b.Stat()
	return errors.Join(errA, errB) == nil && os.SameFile(one, other)
}

// duplicate duplicates a file. The new one is closed in a program that is executed.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// monotonic is the clock that all processes share.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every kernel has it
	return time.Duration(t.Nano())
}
