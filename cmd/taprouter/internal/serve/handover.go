package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// In this file a Server hands its listeners over to the program that is executed in place of this one. Clients that
// connect meanwhile wait until that one answers.

// The names of handed over files begin so; for TCP the address as it was given follows, for a lock the socket's path.
const (
	tcpKey  = "tcp:"
	lockKey = "lock:"
)

// A filer is a listener whose file can be duplicated.
type filer interface{ File() (*os.File, error) }

// HandOver returns duplicates of the listeners' files, and of the lock of the socket, by their names, for
// Options.Former of the next program. The caller closes them. Close then leaves the socket where it is.
func (s *Server) HandOver() (map[string]*os.File, error) {
	files := map[string]*os.File{}
	for _, d := range s.doors {
		inner, ok := d.inner.(filer)
		own, isSocket := d.inner.(*socket)
		if isSocket {
			inner, ok = own.Listener.(filer)
		}
		if !ok {
			continue // the next program opens it
		}
		f, err := inner.File()
		if err == nil {
			files[d.key] = f
			if isSocket {
				err = own.handOver(files, d.key)
			}
		}
		if err != nil {
			for _, f := range files {
				_ = f.Close() // the first error is the one to tell
			}
			return nil, fmt.Errorf("hand over %s: %w", d.name, err)
		}
	}
	return files, nil
}

// handOver adds the lock, and has Close leave the socket's name.
func (s *socket) handOver(files map[string]*os.File, key string) error {
	lock, err := duplicate(s.lock)
	if err != nil {
		return err
	}
	files[lockKey+key] = lock
	if u, ok := s.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return nil
}

// inherited takes a listener out of former, nil if it is not there.
func inherited(former map[string]*os.File, key string) (net.Listener, error) {
	f := former[key]
	if f == nil {
		return nil, nil
	}
	delete(former, key)
	l, err := net.FileListener(f) // a duplicate
	_ = f.Close()
	return l, err
}

// inheritedSocket does so for a unix socket with its lock.
func inheritedSocket(former map[string]*os.File, key string) (net.Listener, error) {
	lock := former[lockKey+key]
	if lock == nil {
		return nil, nil
	}
	l, err := inherited(former, key)
	if l == nil && err == nil {
		return nil, nil
	}
	delete(former, lockKey+key)
	u, ok := l.(*net.UnixListener)
	if err == nil && !ok {
		_ = l.Close()
		err = errors.New("what the process before has handed over is no socket")
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	u.SetUnlinkOnClose(true)
	return &socket{u, lock}, nil
}
