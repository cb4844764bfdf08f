package loop

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A slow device takes its time to close, as the kernel does.
type slow struct {
	tap.Device
	open, most *atomic.Int32 // devices that are being closed
	closed     atomic.Int32
	err        error
}

func (s *slow) Close() error {
	for n := s.open.Add(1); ; {
		if most := s.most.Load(); n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	time.Sleep(time.Millisecond)
	s.open.Add(-1)
	s.closed.Add(1)
	return s.err
}

// Many devices are closed together, each one once, but not all at the same time. Errors are told.
func TestCloseAll(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		var open, most, failed atomic.Int32
		devices := make([]tap.Device, n)
		for i := range devices {
			s := &slow{open: &open, most: &most}
			if i%10 == 0 {
				s.err = errors.New("broken")
			}
			devices[i] = s
		}
		CloseAll(devices, func(dev tap.Device, err error) {
			if err != dev.(*slow).err {
				t.Errorf("another's error: %v", err)
			}
			failed.Add(1)
		})
		for i, dev := range devices {
			if got := dev.(*slow).closed.Load(); got != 1 {
				t.Errorf("device %d of %d is closed %d times", i, n, got)
			}
		}
		if got := failed.Load(); got != int32((n+9)/10) {
			t.Errorf("%d errors of %d devices are told", got, n)
		}
		if got := most.Load(); got > closersMost || n == 1000 && got < 2 {
			t.Errorf("%d devices are closed at the same time, of %d", got, n)
		}
		CloseAll(devices, nil) // errors do not matter
	}
}
