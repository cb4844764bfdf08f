//go:build !linux

package conform

import "errors"

// TAPs is taprouter on TAP devices; it needs Linux.
func TAPs() Target { return needsLinux("on TAPs") }

// Kernel is Linux's own routing and NAT; it needs Linux.
func Kernel() Target { return needsLinux("Linux") }

type needsLinux string

// Name implements Target.
func (e needsLinux) Name() string { return string(e) }

// Start implements Target.
func (needsLinux) Start(Profile) (Wire, error) { return nil, errors.New("needs Linux") }
