//go:build !linux

package serve

import (
	"errors"
	"os"
)

// duplicate fails: programs replace themselves on Linux only.
func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
