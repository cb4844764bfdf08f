//go:build !linux

package store_test

import (
	"errors"
	"syscall"
)

func ownFileSystem() *syscall.SysProcAttr { return nil }

func mountSmall(string) error { return errors.ErrUnsupported }
