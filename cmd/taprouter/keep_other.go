//go:build !linux

package main

import (
	"errors"
	"os"
	"time"
)

// toManager returns nil: there is no service manager that keeps descriptors.
func toManager() func(string, *os.File) error { return nil }

func sameFile(a, b *os.File) bool { return a == b }

func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

// monotonic is not needed without the service manager.
func monotonic() time.Duration { return 0 }
