//go:build !linux

package loop

import "errors"

// newWaiter returns the waiter for devices in memory, the only ones there are
// outside Linux.
func newWaiter(devices bool, _, _ func(*Link)) (Waiter, error) {
	if devices {
		return nil, errors.New("router: TAP and raw devices need Linux")
	}
	return newChanWaiter(), nil
}
