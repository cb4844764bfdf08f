package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// In this file connections are written to the state directory, for the time after the machine has been down.

const (
	snapshotName  = "connections" // of the file in the state directory
	snapshotAside = ".new"        // behind the name of one that is being written
	snapshotBad   = ".broken"     // behind the name of one that cannot be read

	snapshotEvery = time.Minute
)

// snapshots are the snapshots of one engine. Nil ones do nothing. Only one goroutine may call the methods.
type snapshots struct {
	path string
	log  *slog.Logger
	file *os.File // the one of the process before, while it is read; nil: there is none

	quit, done chan struct{}
	once       sync.Once
	failed     bool // the log has said that one cannot be written
}

// snapshots opens the file that the process before has left. Without a state directory it returns nil.
func (s *stateFlags) snapshots(log *slog.Logger) *snapshots {
	if s.StateDir == "" {
		return nil
	}
	n := &snapshots{path: filepath.Join(s.StateDir, snapshotName), log: log, quit: make(chan struct{}),
		done: make(chan struct{})}
	f, err := os.Open(n.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("saved connections cannot be read, and do not go on", "err", err)
	} else if err == nil {
		n.file = f
	}
	return n
}

// setAside keeps a file that cannot be read, and out of the way.
func (n *snapshots) setAside(error) { // the engine logs the error
	if err := os.Rename(n.path, n.path+snapshotBad); err != nil {
		n.log.Warn("a snapshot of connections cannot be set aside", "err", err)
		return
	}
	n.log.Warn("the snapshot of connections is broken, or of another program: it is kept aside",
		"file", n.path+snapshotBad)
}

// serve saves connections every minute until stop. save writes them.
func (n *snapshots) serve(save func(io.Writer) error, every time.Duration) {
	if n == nil {
		return
	}
	n.close()
	go func() {
		defer close(n.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-n.quit:
				return
			case <-tick.C:
				n.save(save)
			}
		}
	}()
}

// stop ends what serve began.
func (n *snapshots) stop() {
	if n == nil {
		return
	}
	n.once.Do(func() {
		close(n.quit)
		<-n.done
	})
}

// close closes the file of the process before.
func (n *snapshots) close() {
	if n != nil && n.file != nil {
		_ = n.file.Close() // it was only read
		n.file = nil
	}
}

// save takes one snapshot. If that fails, the one of before stays, and the log says so once.
func (n *snapshots) save(save func(io.Writer) error) {
	if n == nil {
		return
	}
	began := time.Now()
	err := n.write(save)
	switch {
	case err == nil:
		n.log.Debug("connections saved", "file", n.path, "took", time.Since(began))
	case !n.failed:
		n.log.Error("connections are not saved: after a reboot they do not go on, or older ones do", "err", err)
	}
	n.failed = err != nil
}

// write writes the file aside, and then gives it its name, so that there is a whole one at any instant.
func (n *snapshots) write(save func(io.Writer) error) error {
	f, err := os.OpenFile(n.path+snapshotAside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = save(f); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(n.path+snapshotAside, n.path)
	}
	if err != nil {
		_ = os.Remove(n.path + snapshotAside) // a full disk needs the room
		return fmt.Errorf("%s: %w", n.path, err)
	}
	if d, err := os.Open(filepath.Dir(n.path)); err == nil {
		_ = d.Sync() // where directories cannot be synced, the name comes to the disk later
		_ = d.Close()
	}
	return nil
}
