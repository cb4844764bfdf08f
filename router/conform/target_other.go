//go:build !linux

package conform

import "errors"

// TAPs is taprouter on TAP devices; it needs Linux.
func TAPs() Target { return elsewhere("on TAPs") }

// Kernel is Linux's own routing and NAT; it needs Linux.
func Kernel() Target { return elsewhere("Linux") }

type elsewhere string

// Name implements Target.
func (e elsewhere) Name() string { return string(e) }

// Start implements Target.
func (elsewhere) Start(Profile) (Wire, error) { return nil, errors.New("needs Linux") }
