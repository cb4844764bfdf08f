//go:build unix && !solaris && !aix && !android

package serve

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile makes a file, and locks it. If another process has it, the file is nil, and the text says which one. The
// file stays: taking it away would let two processes lock two files of its name.
func lockFile(path string) (*os.File, string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, socketMode)
	if err != nil {
		return nil, "", err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close()
		return nil, ownerOf(path), nil
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, "", fmt.Errorf("lock %s: %w", path, err)
	}
	return f, "", nil
}

// closeToOthers sets the mode that Linux gives the socket's file, so that no other user can connect at any moment.
func closeToOthers(c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), socketMode) }); err != nil {
		return err
	}
	if errors.Is(failed, syscall.EINVAL) { // elsewhere a socket that is not bound has no mode
		failed = nil
	}
	return failed
}
