//go:build !linux

package tap

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// OpenTAP opens a TAP device, which needs Linux.
func OpenTAP(name, netns string, opt Options) (Device, error) {
	return nil, fmt.Errorf("tap: open tap:%s: TAP devices need Linux: %w", name, errors.ErrUnsupported)
}

// WatchLinks tells of network interfaces, which needs Linux. The error wraps
// errors.ErrUnsupported.
func WatchLinks(fn func(Link)) (stop func(), err error) {
	return nil, fmt.Errorf("tap: watch interfaces: %w", errors.ErrUnsupported)
}

// OpenRaw attaches to an interface, which needs Linux.
func OpenRaw(name string, opt Options) (Device, error) {
	return nil, fmt.Errorf("tap: open raw:%s: raw devices need Linux: %w", name, errors.ErrUnsupported)
}

// A Guard keeps the host's own network stack off the interfaces of raw devices, which
// needs Linux.
type Guard struct{}

// NewGuard returns a Guard, which does nothing.
func NewGuard(*slog.Logger) *Guard { return &Guard{} }

// AdoptTAP works on Linux only.
func AdoptTAP(f *os.File, name, netns string, opt Options) (Device, error) {
	_ = f.Close() // it is of no use
	return nil, fmt.Errorf("tap: adopt tap:%s: TAP devices need Linux: %w", name, errors.ErrUnsupported)
}

// Duplicate works on Linux only.
func Duplicate(fd int, name string) (*os.File, error) {
	return nil, fmt.Errorf("tap: duplicate the descriptor of %s: %w", name, errors.ErrUnsupported)
}
