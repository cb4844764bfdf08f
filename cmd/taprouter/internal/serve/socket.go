package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DefaultSocket is where clients look for the router of a host.
const DefaultSocket = "/run/taprouter/api.sock"

// socketMode leaves the socket to its owner.
const socketMode = 0o600

// pathMost is the longest path of a unix socket on all systems, in bytes (unix(7): 107 on Linux).
const pathMost = 103

// openSocket listens on a unix socket. A socket that no process serves any more is replaced. A lock beside it, which
// ends with the process that has it, keeps two processes from doing that at once.
//
// If the process before has handed it over, it is taken out of former, with its lock.
func openSocket(path string, former map[string]*os.File) (l net.Listener, err error) {
	key := path
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("socket %s: %w", path, err)
		}
	}()
	if len(path) > pathMost {
		return nil, fmt.Errorf("the path has %d bytes, a socket's may have %d: choose a shorter one", len(path),
			pathMost)
	}
	if l, err := inheritedSocket(former, key); l != nil || err != nil {
		return l, err
	}
	if path == DefaultSocket {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	lock, owner, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, fmt.Errorf("%w%s: end it, or choose another path by --socket", errTaken, owner)
	}
	defer func() {
		if err != nil {
			_ = lock.Close() // gives up the lock
		}
	}()
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return closeToOthers(c) }}
	l, err = config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, reasonOf(err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close() // the first error is the one to tell
		return nil, err
	}
	return &socket{l, lock}, nil
}

// errTaken is for a socket that another process serves.
var errTaken = errors.New("a running process serves it")

// reasonOf takes what openSocket says itself out of an error of package net.
func reasonOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// makeRoom takes away a socket that no process serves. Anything else stays.
func makeRoom(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is something else at this path, which is no socket: move it away, " +
			"or choose another path by --socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%w: end it, or choose another path by --socket", errTaken)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("whether a process serves it is not known: %w", reasonOf(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A socket is a listener with the lock of its path. Closing it takes the socket away.
type socket struct {
	net.Listener
	lock *os.File
}

// Close implements net.Listener.
func (s *socket) Close() error {
	err := s.Listener.Close()
	_ = s.lock.Close() // after the socket: the next process may find no half of it
	return err
}
