package router

import (
	"sync/atomic"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A linkWatch hears of the machine's interfaces, if any device of the State is on one that the kernel announces.
// Without it, lost devices are looked for at intervals.
type linkWatch struct {
	on    atomic.Pointer[map[string][]*wire.Network] // the networks that have a device on an interface
	tried bool
	stop  func() // ends it; nil: it has not begun
}

// watchDevices has the engine hear of the interfaces that its devices are on now.
func (e *Engine) watchDevices() {
	if e.reopen == nil {
		return
	}
	on := map[string][]*wire.Network{}
	for n, ports := range e.devices {
		for d := range ports {
			if announced(d) {
				on[d.Name] = append(on[d.Name], n)
			}
		}
	}
	e.links.on.Store(&on)
	if len(on) == 0 || e.links.tried {
		return
	}
	e.links.tried = true
	stop, err := tap.WatchLinks(func(l tap.Link) { linkTold(e, (*e.links.on.Load())[l.Name], l) })
	if err != nil {
		e.log.Warn("changes of interfaces are not told, they are looked at now and then", "err", err)
		return
	}
	e.links.stop = stop
	e.reopen.Mu.Lock()
	e.reopen.Watched = true
	e.reopen.Mu.Unlock()
}

// announced reports whether a device is on an interface that the kernel announces. It announces only
// interfaces of the engine's own network namespace.
func announced(d config.Device) bool { return d.Kind == config.DeviceRaw }

// linkOf is the link for a device of the State. open opens it.
func linkOf(d config.Device, open func(config.Device) (tap.Device, error)) *loop.Link {
	l := &loop.Link{Name: d.String(), Reopen: func() (tap.Device, error) { return open(d) }}
	if announced(d) {
		l.Ifname = d.Name
	}
	return l
}

// linkTold takes news of an interface. on are the networks that have a device on it.
func linkTold(e *Engine, on []*wire.Network, l tap.Link) {
	if len(on) == 0 || l.Gone {
		return
	}
	e.reopen.Call(l.Name)
	for _, n := range on {
		n.Home.Post(func() { n.Resize(&n.Home.Turn, l.Name, l.MTU) })
	}
}

// stopOpening ends the reopener, and the watch over interfaces.
func (e *Engine) stopOpening() {
	if e.links.stop != nil {
		e.links.stop()
	}
	if e.reopen != nil {
		e.reopen.Stop()
	}
}
