package router

import (
	"fmt"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Networks that share a device, and differ there by their VLANs, have one worker: the one that reads the device. As a
// network may have several devices, such networks are found in groups. Networks of one physical network belong
// together before it has a device, so that a device that comes later finds them with one worker.

// A carrier is a device, or a physical network.
type carrier struct {
	device config.Device
	label  config.ID
}

// shares are the groups of carriers that networks join, and their workers.
type shares struct {
	parent map[carrier]carrier
	bound  map[carrier]*loop.Worker // by the carrier that stands for its group
	first  map[*networkChange]carrier
}

// share finds the carriers of the networks that come or change, and the workers that these have already.
func (a *assignment) share() error {
	s := shares{map[carrier]carrier{}, map[carrier]*loop.Worker{}, map[*networkChange]carrier{}}
	a.shares = s
	for _, c := range a.Prepared.networks {
		var all []carrier
		for d := range c.devicesAfter {
			all = append(all, carrier{device: d})
		}
		if len(all) == 0 && c.isNew && c.after != nil && c.after.PhysicalNetwork != "" {
			all = []carrier{{label: c.after.PhysicalNetwork}}
		}
		if len(all) == 0 {
			continue
		}
		s.first[c] = all[0]
		for _, k := range all[1:] {
			s.parent[s.find(k)] = s.find(all[0])
		}
	}
	for _, c := range a.Prepared.networks {
		k, ok := s.first[c]
		if !ok {
			continue
		}
		workers := []*loop.Worker{c.network.Home}
		for _, o := range c.joins {
			if o.device.stays() {
				workers = append(workers, o.device.was.link.Home())
			}
		}
		if k.label != "" {
			workers = append(workers, a.labelled(k.label))
		}
		root := s.find(k)
		for _, w := range workers {
			switch s.bound[root] {
			case nil:
				if w != nil {
					s.bound[root] = w
				}
			case w:
			default:
				if w != nil {
					return &apartError{c.after}
				}
			}
		}
	}
	return nil
}

// devicesAfter gives the devices that a network has after the change.
func (c *networkChange) devicesAfter(yield func(config.Device) bool) {
	if c.after == nil || c.gone {
		return
	}
	left := map[config.Device]bool{}
	for _, o := range c.leaves {
		left[o.device.spec] = true
	}
	for d := range c.ports {
		if !left[d] && !yield(d) {
			return
		}
	}
	for _, o := range c.joins {
		if !yield(o.device.spec) {
			return
		}
	}
}

// stays reports whether a network has the device now and afterwards.
func (d *deviceChange) stays() bool { return d.users > len(d.joins) }

// labelled is the worker of the networks of a physical network, nil if there are none yet.
func (a *assignment) labelled(label config.ID) *loop.Worker {
	if label == "" {
		return nil
	}
	for n := range a.to.NetworksOf(label) {
		if n := a.e.networks[wire.ID(n.ID)]; n != nil {
			return n.Home
		}
	}
	return nil
}

// of is the carrier that stands for a network's group, the zero one if the network has none.
func (s *shares) of(c *networkChange) carrier {
	if k, ok := s.first[c]; ok {
		return s.find(k)
	}
	return carrier{}
}

func (s *shares) find(k carrier) carrier {
	for {
		up, ok := s.parent[k]
		if !ok || up == k {
			return k
		}
		k = up
	}
}

// An apartError says that a running engine cannot bring networks together.
type apartError struct{ network *config.Network }

// Error says what to do.
func (e *apartError) Error() string {
	return fmt.Sprintf("network %q: it is to share a device with networks of another worker, which a running engine "+
		"cannot do: start anew, or set workers = 1", e.network.Name)
}
