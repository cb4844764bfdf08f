package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A space is a network namespace of its own, by name.
type space struct {
	name   string
	handle netns.NsHandle
	link   *netlink.Handle
}

var spaces atomic.Int32

// forks is held while a process is started, and while TAPs are made: a child that is not yet
// the other program has all our descriptors, and a TAP that was closed to be opened
// anew would still be in use.
var forks sync.Mutex

// newSpace makes a namespace.
func newSpace(what string) (*space, error) {
	s := &space{name: fmt.Sprintf("taprouter-%s-%d-%d", what, os.Getpid(), spaces.Add(1)), handle: netns.None()}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the new namespace
		var err error
		s.handle, err = netns.NewNamed(s.name)
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	var err error
	if s.link, err = netlink.NewHandleAt(s.handle); err != nil {
		return nil, errors.Join(fmt.Errorf("network namespace %s: %w", s.name, err), s.close())
	}
	return s, nil
}

// close removes the namespace, with every interface in it.
func (s *space) close() error {
	if s.link != nil {
		s.link.Close()
	}
	return errors.Join(s.handle.Close(), netns.DeleteNamed(s.name))
}

// within runs fn on a thread in the namespace: sockets it opens are there.
func (s *space) within(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		if err := netns.Set(s.handle); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// set writes kernel settings, which hold in the namespace.
func (s *space) set(settings ...[2]string) error {
	return s.within(func() error {
		for _, x := range settings {
			if err := os.WriteFile("/proc/sys/"+x[0], []byte(x[1]), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// Ends are the far ends of a router's networks: raw sockets on interfaces that are
// named as the networks are.
type ends struct {
	devs   map[string]tap.Device
	mu     sync.Mutex
	got    map[string][][]byte
	more   chan struct{} // has room for one token: something has come
	answer func(string, []byte) []byte
	done   chan struct{}
	wait   sync.WaitGroup
}

const (
	patience = 2 * time.Second      // with a frame that is to be expected
	grace    = 5 * time.Millisecond // with one that is not
)

// openEnds opens the ends in a namespace.
func openEnds(s *space) (*ends, error) {
	e := &ends{devs: map[string]tap.Device{}, got: map[string][][]byte{}, more: make(chan struct{}, 1),
		done: make(chan struct{})}
	err := s.within(func() error {
		for _, n := range networks {
			dev, err := tap.OpenRaw(n, tap.Options{})
			if err != nil {
				return err
			}
			e.devs[n] = dev
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	for n, dev := range e.devs {
		e.wait.Go(func() { e.receive(n, dev) })
	}
	return e, nil
}

// receive reads an end until it is closed.
func (e *ends) receive(network string, dev tap.Device) {
	frame := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	for {
		n, err := dev.Read(frame)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if n > 0 {
			e.take(network, dev, &frame[0])
			continue
		}
		select {
		case <-e.done:
			return
		default:
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 20)
	}
}

// take answers a frame, or keeps it.
func (e *ends) take(network string, dev tap.Device, f *tap.Frame) {
	eth := complete(f)
	if typ := binary.BigEndian.Uint16(eth[12:]); typ != packet.EtherTypeIPv4 && typ != packet.EtherTypeARP {
		return // a kernel is chatty
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answer != nil {
		if reply := e.answer(network, eth); reply != nil {
			_, _ = dev.Write([]tap.Frame{frameOf(reply)}) // the router asks again for an answer that is lost
			return
		}
	}
	e.got[network] = append(e.got[network], eth)
	select {
	case e.more <- struct{}{}:
	default:
	}
}

// complete returns a copy of a frame's bytes, with a checksum that the kernel has left
// to the hardware.
func complete(f *tap.Frame) []byte {
	eth := append([]byte(nil), f.Ethernet()...)
	var h virtio.Header
	h.Parse(f.Header())
	h.Complete(eth)
	return eth
}

func frameOf(eth []byte) tap.Frame {
	buf := append(make([]byte, tap.HeaderLen), eth...)
	return tap.Frame{Buf: buf, Tail: len(buf)}
}

// Put implements Wire.
func (e *ends) Put(network string, eth []byte) error {
	if _, err := e.devs[network].Write([]tap.Frame{frameOf(eth)}); err != nil {
		if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL) && len(eth) < packet.EthernetLen {
			return NotPossible("a frame that the interface does not take")
		}
		return err
	}
	return nil
}

// Get implements Wire.
func (e *ends) Get(network string, expected bool) ([]byte, error) {
	for_ := grace
	if expected {
		for_ = patience
	}
	timeout := time.After(for_)
	for {
		e.mu.Lock()
		if got := e.got[network]; len(got) > 0 {
			e.got[network] = got[1:]
			e.mu.Unlock()
			return got[0], nil
		}
		e.mu.Unlock()
		select {
		case <-e.more:
		case <-timeout:
			return nil, nil
		}
	}
}

// Answer implements Wire.
func (e *ends) Answer(answer func(string, []byte) []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

// Wait implements Wire.
func (e *ends) Wait(d time.Duration) error { return waitReal(d) }

// Close closes the ends.
func (e *ends) Close() error {
	close(e.done)
	e.wait.Wait()
	var errs []error
	for _, dev := range e.devs {
		errs = append(errs, dev.Close())
	}
	return errors.Join(errs...)
}
