//go:build !unix || solaris || aix || android

package serve

import (
	"os"
	"syscall"
)

// lockFile makes a file. Here it is no lock: connecting to the socket tells whether a process serves it.
func lockFile(path string) (*os.File, string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, socketMode)
	return f, "", err
}

// closeToOthers does nothing: a socket that is not bound has no mode.
func closeToOthers(syscall.RawConn) error { return nil }
