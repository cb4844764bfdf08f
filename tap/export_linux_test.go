package tap

import "errors"

// OnThread is onThread.
var OnThread = onThread

// WithoutRing has raw devices opened without a ring until the result is called.
func WithoutRing() (restore func()) {
	useRing = func(int) (*packetRing, error) { return nil, errors.New("a test wants none") }
	return func() { useRing = newPacketRing }
}

// HasRing reports whether a raw device reads from a ring.
func HasRing(dev Device) bool { return dev.(*rawDevice).ring != nil }
