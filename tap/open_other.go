//go:build !linux

package tap

import (
	"errors"
	"fmt"
	"log/slog"
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
