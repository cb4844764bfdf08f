package router

import (
	"log/slog"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// watchLinks has the engine hear of the machine's interfaces, if any of its devices is
// on one. Without that, devices are looked for at intervals.
func (e *Engine) watchLinks(topo *file.Topology, log *slog.Logger) {
	on := map[string][]*network{}
	for i := range topo.Networks {
		for _, d := range devicesOf(topo, &topo.Networks[i]) {
			if announced(d) {
				on[d.Name] = append(on[d.Name], e.networks[topo.Networks[i].Name])
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
func announced(d file.Device) bool { return d.Kind == file.DeviceRaw }

// linkOf is the link for a device of the topology. open opens it.
func linkOf(d file.Device, open func(file.Device) (tap.Device, error)) *link {
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
