//go:build unix && !solaris && !aix && !android

package store

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file if no other process has it. bbolt locks a file in the same way, once more through the same
// descriptor.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// syncFolder makes new names in a folder stay after a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
