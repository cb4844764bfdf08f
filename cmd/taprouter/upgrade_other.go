//go:build !linux

package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/taprouter/taprouter/router"
)

// newFormer finds nothing: only Linux hands descriptors over.
func newFormer(*slog.Logger) (*former, error) { return &former{}, nil }

// A leaving is a process that another program goes on in.
type leaving struct {
	*upgrade
	engine *router.Engine
	keeper *keeper
	doors  map[string]*os.File
	close  func()
}

func (l *leaving) leave() error { return errNotReplaced }

// tryPassRights refuses every upgrade.
func tryPassRights() error { return errNotReplaced }

var errNotReplaced = errors.New("on this system a program that runs cannot be replaced")
