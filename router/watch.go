package router

import (
	"sync/atomic"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
)

// A linkWatch hears of the machine's interfaces, if any device of the State is on one that the kernel announces.
// Without it, lost devices are looked for at intervals.
type linkWatch struct {
	on    atomic.Pointer[map[string]*loop.Link] // the links on interfaces, by the interface's name
	tried bool
	stop  func() // ends it; nil: it has not begun
}

// watchDevices has the engine hear of the interfaces that its devices are on now.
func (e *Engine) watchDevices() {
	if e.reopen == nil || e.opt.InMemory {
		return
	}
	on := map[string]*loop.Link{}
	for d, use := range e.links {
		if announced(d) {
			on[d.Name] = use.link
		}
	}
	e.linkWatch.on.Store(&on)
	if len(on) == 0 || e.linkWatch.tried {
		return
	}
	e.linkWatch.tried = true
	stop, err := tap.WatchLinks(func(l tap.Link) { linkTold(e, (*e.linkWatch.on.Load())[l.Name], l) })
	if err != nil {
		e.log.Warn("changes of interfaces are not told, they are looked at now and then", "err", err)
		return
	}
	e.linkWatch.stop = stop
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

// linkTold takes news of an interface. on is the link on it, nil if there is none.
func linkTold(e *Engine, on *loop.Link, l tap.Link) {
	if on == nil || l.Gone {
		return
	}
	e.reopen.Call(l.Name)
	home := on.Home()
	home.Post(func() { on.Resize(&home.Turn, l.MTU) })
}

// stopOpening ends the reopener, and the watch over interfaces.
func stopOpening(e *Engine) {
	if e.linkWatch.stop != nil {
		e.linkWatch.stop()
	}
	if e.reopen != nil {
		e.reopen.Stop()
	}
}
