//go:build !linux

package client

import (
	"errors"
	"os"
)

// terminalWidth is the number of columns of a terminal, which only Linux tells.
func terminalWidth(*os.File) (int, error) { return 0, errors.ErrUnsupported }
