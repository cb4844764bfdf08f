package router

import (
	"log/slog"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// watchLinks has the engine hear of the machine's interfaces, if any of its devices is
// on one. Without that, devices are looked for at intervals.
func (e *Engine) watchLinks(s *config.State, log *slog.Logger) {
	on := map[string][]*network{}
	for n := range s.Networks() {
		for _, d := range s.DevicesOf(n.ID) {
			if announced(d) {
				on[d.Name] = append(on[d.Name], e.networks[n.Name])
			}
		}
	}
	if len(on) == 0 {
		return
	}
	stop, err := tap.WatchLinks(func(l tap.Link) { e.linkTold(on[l.Name], l) })
	if err != nil {
		log.Warn("changes of interfaces are not told, they are looked at now and then", "err", err)
		return
	}
	e.unwatchLinks = stop
	e.reopen.mu.Lock()
	e.reopen.watched = true
	e.reopen.mu.Unlock()
}

// announced reports whether a device is on an interface that the kernel tells of. Of
// namespaces it tells nothing.
func announced(d config.Device) bool { return d.Kind == config.DeviceRaw }

// linkOf is the link for a device of the topology. open opens it.
func linkOf(d config.Device, open func(config.Device) (tap.Device, error)) *link {
	l := &link{name: d.String(), reopen: func() (tap.Device, error) { return open(d) }}
	if announced(d) {
		l.ifname = d.Name
	}
	return l
}

// linkTold takes news of an interface. on are the networks that have a device on it.
func (e *Engine) linkTold(on []*network, l tap.Link) {
	if len(on) == 0 || l.Gone {
		return
	}
	e.reopen.call(l.Name)
	for _, n := range on {
		n.home.post(func() { n.resize(&n.home.turn, l.Name, l.MTU) })
	}
}

// stopOpening ends what opens devices while the engine runs.
func (e *Engine) stopOpening() {
	if e.unwatchLinks != nil {
		e.unwatchLinks()
	}
	if e.reopen != nil {
		e.reopen.stop()
	}
}
