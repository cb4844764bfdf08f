// Package taptest drives the far end of a device by hand, in tests: put a frame
// in, take the next one out.
package taptest

import (
	"errors"
	"sync"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// A Port is one end of a cable, held by a test. Send and Receive may be called
// from different goroutines.
type Port struct {
	dev    tap.Device
	frames chan []byte
	end    chan struct{}
	once   sync.Once
}

// New takes a device in memory, which Close closes.
func New(dev tap.Device) *Port {
	p := &Port{dev: dev, frames: make(chan []byte), end: make(chan struct{})}
	wake := make(chan struct{}, 1)
	dev.Notify(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	go p.read(wake)
	return p
}

// Pipe returns a device to give to the code under test, and the port at its
// other end.
func Pipe(name string) (tap.Device, *Port) {
	near, far := tap.Pipe(name, name+"/test", tap.PipeOptions{})
	return near, New(far)
}

// read hands frames over one by one.
func (p *Port) read(wake <-chan struct{}) {
	defer close(p.frames)
	frame := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	for {
		n, err := p.dev.Read(frame)
		switch {
		case n > 0:
			select {
			case p.frames <- append([]byte(nil), frame[0].Ethernet()...):
			case <-p.end:
				return
			}
		case err != nil:
			return
		default:
			select {
			case <-wake:
			case <-p.end:
				return
			}
		}
	}
}

// Send puts an Ethernet frame in, without offload metadata.
func (p *Port) Send(eth []byte) error {
	b := append(make([]byte, tap.HeaderLen), eth...)
	_, err := p.dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}})
	return err
}

// ErrTimeout says that no frame came in time.
var ErrTimeout = errors.New("taptest: no frame came")

// Receive takes the next Ethernet frame out, waiting for at most d. After the
// device is closed it returns tap.ErrGone.
func (p *Port) Receive(d time.Duration) ([]byte, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case eth, ok := <-p.frames:
		if !ok {
			return nil, tap.ErrGone
		}
		return eth, nil
	case <-timer.C:
		return nil, ErrTimeout
	}
}

// Close closes the device.
func (p *Port) Close() error {
	p.once.Do(func() { close(p.end) })
	return p.dev.Close()
}
