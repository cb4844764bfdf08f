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

// home is the worker that reads the device.
func (p *port) home() *worker { return p.network.home }

// readTrouble deals with a device that cannot be read.
func (p *port) readTrouble(t *turn, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		p.lose(t, err)
	case errors.Is(err, tap.ErrDown):
		p.down(t)
	case errors.Is(err, tap.ErrBusy):
		// It is read again in a moment.
	default:
		p.complain(t, "reading", err)
	}
}

// writeTrouble deals with a device that did not take a frame.
func (p *port) writeTrouble(t *turn, err error) {
	switch {
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		p.lose(t, err)
	case errors.Is(err, tap.ErrDown):
		p.down(t)
	case errors.Is(err, tap.ErrFull):
		// Counted as lost; a slow reader is no trouble of the device.
	case errors.Is(err, syscall.EMSGSIZE) && p.measure(t):
		// The interface has been told to take less, which has just been noticed.
	default:
		p.complain(t, "writing", err)
	}
}

func (p *port) down(t *turn) {
	p.downAt = t.now
	p.lookAgain(t, downInterval)
	if !p.isDown {
		p.isDown = true
		p.network.publish()
		t.log.Warn("device is down, its frames are lost until it is up again", "device", p.name(), "network", p.network.name)
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
func (p *port) lookAgain(t *turn, d time.Duration) {
	if !p.again || t.now+d < p.lookAt {
		p.again, p.lookAt = true, t.now+d
	}
	t.wakeAt(p.lookAt)
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
		p.resume(&w.turn)
		if p.isDown {
			p.lookAgain(&w.turn, downInterval)
		}
	}
}

func (p *port) up(t *turn) {
	p.isDown = false
	p.network.publish()
	t.log.Info("device is up again", "device", p.name(), "network", p.network.name)
	meet(p.network)
}

func (p *port) complain(t *turn, doing string, err error) {
	if !p.other {
		p.other = true
		t.log.Error("device trouble, logged once", "device", p.name(), "network", p.network.name, "doing", doing, "err", err)
	}
}

// lose lets go of a device that is gone. One in memory is gone for good, any
// other is reopened when it can be.
func (p *port) lose(t *turn, err error) {
	if p.dev == nil {
		return
	}
	p.home().wait.remove(p)
	p.resting = false
	gone := p.dev
	p.dev = nil
	p.home().memory = without(p.home().memory, p)
	p.network.publish()
	p.network.forgetPort(p)
	p.network.fitMTU(t)
	if p.memory || p.home().reopener == nil {
		_ = gone.Close() // what could be wrong has been said by err
	}
	if p.memory {
		p.home().removePort(p)
		return
	}
	t.log.Warn("device is gone, trying to open it again", "device", p.name(), "network", p.network.name, "err", err)
	if p.home().reopener != nil {
		p.wantBack(t, gone) // closing it takes the kernel some time
	}
}

// await is for a port whose device does not exist yet.
func (p *port) await(t *turn, err error) {
	p.awaited = true
	t.log.Warn("device is missing, it is opened when it comes", "device", p.name(), "network", p.network.name, "err", err)
	p.wantBack(t, nil, err.Error())
}

// wantBack has a port's device opened when that can be done. gone is what to close
// before, nil if there was nothing. said is why it cannot be opened, as far as that has
// been logged.
func (p *port) wantBack(t *turn, gone tap.Device, said ...string) {
	p.home().reopener.add(&lostDevice{
		spec: p.spec, network: p.network.name, mtu: p.network.mtu, gone: gone, said: said,
		post: p.home().post, back: func(dev tap.Device) { p.regain(t, dev) },
	})
}

// regain takes a reopened device into use.
func (p *port) regain(t *turn, dev tap.Device) {
	p.trouble.isDown, p.trouble.other = false, false
	p.plug(t, dev)
	news := "device is back"
	if p.awaited {
		p.awaited, news = false, "device is there"
	}
	t.log.Info(news, "device", p.name(), "network", p.network.name)
	meet(p.network)
}

// plug connects a device to its port.
func (p *port) plug(t *turn, dev tap.Device) {
	p.dev, p.takes, p.mtu = dev, dev.Features(), mtuOf(dev)
	p.network.publish()
	p.network.fitMTU(t)
	p.inMemory = dev.FD() < 0
	if p.inMemory {
		p.home().memory = append(p.home().memory, p)
	} else if err := p.home().wait.add(p); err != nil {
		p.complain(t, "waiting for", err)
	}
	dev.Notify(func() {
		p.pending.Store(true)
		p.home().wait.wake()
	})
	p.home().mark(p) // it may have frames already
	p.home().wait.wake()
}

// addPort adds a port with its device to a network.
func (w *worker) addPort(p *port, dev tap.Device) {
	w.admit(p)
	p.plug(&w.turn, dev)
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
