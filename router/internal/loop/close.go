package loop

import (
	"sync"

	"github.com/taprouter/taprouter/tap"
)

// closersMost is how many devices are closed at the same time. The kernel takes its time to remove one, but removes
// many at once. If it has too many to remove, most of them only wait for each other.
const closersMost = 64

// CloseAll closes devices, and returns when all are closed. failed is told of errors, by several goroutines; nil: they
// do not matter.
func CloseAll(devices []tap.Device, failed func(dev tap.Device, err error)) {
	next := make(chan tap.Device)
	var all sync.WaitGroup
	for range min(len(devices), closersMost) {
		all.Go(func() {
			for dev := range next {
				if err := dev.Close(); err != nil && failed != nil {
					failed(dev, err)
				}
			}
		})
	}
	for _, dev := range devices {
		next <- dev
	}
	close(next)
	all.Wait()
}
