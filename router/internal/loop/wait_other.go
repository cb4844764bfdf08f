//go:build !linux

package loop

import "errors"

// newWaiter returns a waiter for devices in memory. Outside Linux there are no others.
func newWaiter(devices bool, _, _ func(*Link)) (Waiter, error) {
	if devices {
		return nil, errors.New("router: TAP and raw devices need Linux")
	}
	return newChanWaiter(), nil
}
