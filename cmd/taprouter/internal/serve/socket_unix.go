//go:build unix && !solaris && !aix && !android

package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lockFile makes a file, and locks it. If another process has it, the file is nil, and the text says which one. The
// file stays: taking it away would let two processes lock two files of its name.
//
// In a directory that others can write to, the path may lead to their trap: a file of this user under a second name,
// which would lose its text, or a pipe, which would never be read to its end.
func lockFile(path string) (*os.File, string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, socketMode)
	if err != nil {
		return nil, "", err
	}
	info, err := f.Stat()
	if err == nil && !isOneFile(info) {
		err = errors.New("it is no file, or one with other names, too: " +
			"move it away, or choose another path by --socket")
	}
	if err != nil {
		_ = f.Close()
		return nil, "", fmt.Errorf("lock %s: %w", path, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner := ownerOf(f)
		_ = f.Close()
		return nil, owner, nil
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

// ownerOf reads which process has a lock, for a message. Anyone may have made the file, so only a number is taken.
func ownerOf(lock io.Reader) string {
	const longest = 10 // digits
	text, err := io.ReadAll(io.LimitReader(lock, longest+2))
	pid, errNumber := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil || errNumber != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

// isOneFile says whether something is a regular file with one name.
func isOneFile(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && ok && stat.Nlink == 1
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
