package serve

import (
	"os"

	"golang.org/x/sys/unix"
)

// duplicate duplicates a file. A lock on it stays until both are closed.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
