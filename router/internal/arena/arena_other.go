//go:build !linux

package arena

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
)

// An Arena cannot be made on this platform.
type Arena struct{}

// New fails: there is no such memory on this platform.
func New(Header, ...conntrack.Sizes) (*Arena, error) {
	return nil, fmt.Errorf("arena: memory that outlives the process: %w on this platform", errors.ErrUnsupported)
}

// Begin does nothing.
func (a *Arena) Begin(Header) {}

// File returns nil.
func (a *Arena) File() *os.File { return nil }

// NameInterface does nothing.
func (a *Arena) NameInterface(uint16, Name) {}

// NameBackend does nothing.
func (a *Arena) NameBackend(conntrack.Backend, Name, Name) {}

// Slab returns nil: the heap.
func (a *Arena) Slab(int) conntrack.Memory { return nil }

// Close does nothing.
func (a *Arena) Close() error { return nil }

// Clear does nothing.
func (a *Arena) Clear() {}

// Unmap does nothing.
func (a *Arena) Unmap() {}

// started is when the process began.
var started = time.Now()

// Monotonic is the time since the process began: other processes do not know it.
func Monotonic() time.Duration { return time.Since(started) }

// SinceBoot is the time since the process began.
func SinceBoot() time.Duration { return time.Since(started) }

// Boot is not known.
func Boot() (boot [16]byte) { return boot }

func isHole(*os.File, int64, int64) bool { return false }
