//go:build !linux

package main

import "time"

// monotonic: there is no systemd.
func monotonic() (time.Duration, bool) { return 0, false }
