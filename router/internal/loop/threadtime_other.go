//go:build !linux

package loop

import "time"

// threadTime is for Linux, where workers have threads of their own.
func threadTime() (time.Duration, bool) { return 0, false }
