package router

import (
	"log/slog"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// watchLinks has the engine hear of the machine's interfaces, if any of its devices is
// on one. Without that, devices are looked for at intervals.
func (e *Engine) watchLinks(topo *config.Topology, log *slog.Logger) {
	names := map[string]bool{}
	for i := range topo.Networks {
		for _, d := range devicesOf(topo, &topo.Networks[i]) {
			if announced(d) {
				names[d.Name] = true
			}
		}
	}
	if len(names) == 0 {
		return
	}
	stop, err := tap.WatchLinks(func(l tap.Link) {
		if names[l.Name] && !l.Gone {
			e.reopen.call(l.Name)
		}
	})
	if err != nil {
		log.Warn("changes of interfaces are not told, they are looked at now and then", "err", err)
		return
	}
	e.unwatchLinks = stop
	e.reopen.mu.Lock()
	e.reopen.watched = true
	e.reopen.mu.Unlock()
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
