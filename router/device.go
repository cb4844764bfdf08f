package router

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// OpenDevice returns a function that opens the devices of a topology file on
// this machine, for Options.Open. It needs Linux and, mostly, root. A tap.Guard
// closes the interfaces of raw devices to the host's own network stack, unless their
// network says host = "open".
func OpenDevice(log *slog.Logger) func(file.Device) (tap.Device, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	guard := tap.NewGuard(log)
	return func(d file.Device) (tap.Device, error) {
		switch d.Kind {
		case file.DeviceTAP:
			return tap.OpenTAP(d.Name, d.Netns, tap.Options{Logger: log})
		case file.DeviceRaw:
			opt := tap.Options{Logger: log, Guard: guard}
			if d.HostOpen {
				opt.Guard = nil
			}
			return tap.OpenRaw(d.Name, opt)
		}
		return nil, fmt.Errorf("router: open %s: %s devices are not supported yet", d, d.Kind)
	}
}

// trouble is what a port has been found to suffer from, so that it is logged
// once and not for every frame.
type trouble struct {
	isDown  bool
	downAt  time.Duration // when it was last found to be
	other   bool          // an error that is neither down nor gone
	again   bool          // to be read at lookAt, whatever it says until then
	lookAt  time.Duration
	pending pending
}

// name is what messages call the port's device.
func (p *port) name() string {
	if p.memory {
		return p.spec.Name
	}
	return p.spec.String()
}

// readTrouble deals with a device that cannot be read.
func (w *worker) readTrouble(p *port, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		w.lose(p, err)
	case errors.Is(err, tap.ErrDown):
		w.down(p)
	case errors.Is(err, tap.ErrBusy):
		// It is read again in a moment.
	default:
		w.odd(p, "reading", err)
	}
}

// writeTrouble deals with a device that did not take a frame.
func (w *worker) writeTrouble(p *port, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		w.lose(p, err)
	case errors.Is(err, tap.ErrDown):
		w.down(p)
	case errors.Is(err, tap.ErrFull):
		// Counted as lost; a slow reader is no trouble of the device.
	case errors.Is(err, syscall.EMSGSIZE) && w.measure(p):
		// The interface has been told to take less, which has just been noticed.
	default:
		w.odd(p, "writing", err)
	}
}

func (w *worker) down(p *port) {
	p.downAt = w.now
	w.lookAgain(p, downInterval)
	if !p.isDown {
		p.isDown = true
		p.network.publish()
		w.log.Warn("device is down, its frames are lost until it is up again", "device", p.name(), "network", p.network.name)
	}
}

const (
	// downInterval is how often a device that is down is looked at: nothing tells
	// when it disappears meanwhile.
	downInterval = time.Second
	// downPause is how long a device must not have failed for a frame from it to
	// mean that it is up: it may still hold some from before.
	downPause = 100 * time.Millisecond
	// failPause is the time between attempts to read a device that only fails.
	failPause = 10 * time.Millisecond
)

// lookAgain has a port read in a while, though nobody may tell of frames.
func (w *worker) lookAgain(p *port, d time.Duration) {
	if !p.again || w.now+d < p.lookAt {
		p.again, p.lookAt = true, w.now+d
	}
	w.wakeAt(p.lookAt)
}

// tickPorts has those read whose time has come.
func (w *worker) tickPorts() {
	for _, p := range w.ports {
		if !p.again {
			continue
		}
		if w.now < p.lookAt {
			w.wakeAt(p.lookAt)
			continue
		}
		p.again = false
		if p.dev == nil {
			continue
		}
		w.resume(p)
		if p.isDown {
			w.lookAgain(p, downInterval)
		}
	}
}

func (w *worker) up(p *port) {
	p.isDown = false
	p.network.publish()
	w.log.Info("device is up again", "device", p.name(), "network", p.network.name)
	meet(p.network)
}

func (w *worker) odd(p *port, doing string, err error) {
	if !p.other {
		p.other = true
		w.log.Error("device trouble, logged once", "device", p.name(), "network", p.network.name, "doing", doing, "err", err)
	}
}

// lose lets go of a device that is gone. One in memory is gone for good, any
// other is reopened when it can be.
func (w *worker) lose(p *port, err error) {
	if p.dev == nil {
		return
	}
	w.wait.remove(p)
	p.resting = false
	gone := p.dev
	p.dev = nil
	w.memory = without(w.memory, p)
	p.network.publish()
	p.network.forgetPort(p)
	w.fit(p.network)
	if p.memory || w.reopener == nil {
		_ = gone.Close() // what could be wrong has been said by err
	}
	if p.memory {
		w.removePort(p)
		return
	}
	w.log.Warn("device is gone, trying to open it again", "device", p.name(), "network", p.network.name, "err", err)
	if w.reopener != nil {
		w.wantBack(p, gone) // closing it takes the kernel some time
	}
}

// await is for a port whose device does not exist yet.
func (w *worker) await(p *port, err error) {
	p.awaited = true
	w.log.Warn("device is missing, it is opened when it comes", "device", p.name(), "network", p.network.name, "err", err)
	w.wantBack(p, nil, err.Error())
}

// wantBack has a port's device opened when that can be done. gone is what to close
// before, nil if there was nothing. said is why it cannot be opened, as far as that has
// been logged.
func (w *worker) wantBack(p *port, gone tap.Device, said ...string) {
	w.reopener.add(&lostDevice{
		spec: p.spec, network: p.network.name, mtu: p.network.mtu, gone: gone, said: said,
		post: w.post, back: func(dev tap.Device) { w.regain(p, dev) },
	})
}

// regain takes a reopened device into use.
func (w *worker) regain(p *port, dev tap.Device) {
	p.trouble.isDown, p.trouble.other = false, false
	w.plug(p, dev)
	news := "device is back"
	if p.awaited {
		p.awaited, news = false, "device is there"
	}
	w.log.Info(news, "device", p.name(), "network", p.network.name)
	meet(p.network)
}

// plug connects a device to its port.
func (w *worker) plug(p *port, dev tap.Device) {
	p.dev, p.takes, p.mtu = dev, dev.Features(), mtuOf(dev)
	p.network.publish()
	w.fit(p.network)
	p.inMemory = dev.FD() < 0
	if p.inMemory {
		w.memory = append(w.memory, p)
	} else if err := w.wait.add(p); err != nil {
		w.odd(p, "waiting for", err)
	}
	dev.Notify(func() {
		p.pending.Store(true)
		w.wait.wake()
	})
	w.mark(p) // it may have frames already
	w.wait.wake()
}

// addPort adds a port with its device to a network.
func (w *worker) addPort(p *port, dev tap.Device) {
	w.admit(p)
	w.plug(p, dev)
}

// admit adds a port without its device.
func (w *worker) admit(p *port) {
	w.ports = append(w.ports, p)
	p.network.ports = append(p.network.ports, p)
	p.network.publish()
}

func (w *worker) removePort(p *port) {
	w.ports = without(w.ports, p)
	p.network.ports = without(p.network.ports, p)
	p.network.publish()
}

// without returns a new slice, as somebody may be walking over the old one.
func without[T comparable](s []T, x T) []T {
	out := make([]T, 0, len(s))
	for _, y := range s {
		if y != x {
			out = append(out, y)
		}
	}
	return out
}
