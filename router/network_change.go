package router

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"syscall"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A networkChange is what a change of the State means for one network.
type networkChange struct {
	network     *wire.Network
	isNew, gone bool
	after       *config.Network // nil: gone, a network of checks, or only its stations change

	stationsCome, stationsLeft []*wire.Station
	routers, services          []*wire.Station // that the network has afterwards
	table                      *wire.StationTable

	ports   map[config.Device]*wire.Port // of devices of the State, up to now
	unplug  []config.Device
	plug    []*newDevice
	plugged bool // a device has come: there may be other hosts on the network than before
	// Devices that the network gives up: those of the State, which another network may take over, and those in memory.
	freed   map[config.Device]tap.Device
	closing []tap.Device
}

// A newDevice is a device of the State that comes.
type newDevice struct {
	spec    config.Device
	network *networkChange
	link    *loop.Link
	dev     tap.Device
	from    *networkChange // the network that has had the device; nil: it is opened
	missing error          // why it is not there yet
}

// list finds the stations that the network has afterwards.
func (c *networkChange) list() {
	c.routers = c.remaining(c.network.Routers, isInterface)
	c.services = c.remaining(c.network.Services, isService)
	c.table = wire.NewStationTable(c.network.MACs.Seed, slices.Concat(c.routers, c.services))
}

func isInterface(s *wire.Station) bool { _, ok := s.Owner.(*ip.Interface); return ok }
func isService(s *wire.Station) bool   { return !isInterface(s) }

// remaining are the stations of a kind after the change: those that were there and stay, and those that come.
func (c *networkChange) remaining(were []*wire.Station, kind func(*wire.Station) bool) []*wire.Station {
	all := make([]*wire.Station, 0, len(were)+len(c.stationsCome))
	left := map[*wire.Station]bool{}
	for _, s := range c.stationsLeft {
		left[s] = true
	}
	for _, s := range were {
		if !left[s] {
			all = append(all, s)
		}
	}
	for _, s := range c.stationsCome {
		if kind(s) {
			all = append(all, s)
		}
	}
	return all
}

func (c *networkChange) come(s *wire.Station) { c.stationsCome = append(c.stationsCome, s) }
func (c *networkChange) left(s *wire.Station) { c.stationsLeft = append(c.stationsLeft, s) }

// networkOf is a network that is there after the change.
func (p *Prepared) networkOf(of wire.ID) *wire.Network {
	if c := p.byID[of]; c != nil {
		return c.network
	}
	return p.e.networks[of]
}

// networkChange is the change of a network, which begins here if there is none yet.
func (p *Prepared) networkChange(n *wire.Network) *networkChange {
	if c := p.byNetwork[n]; c != nil {
		return c
	}
	c := &networkChange{network: n, isNew: n.Home == nil, ports: p.e.devices[n]}
	if c.ports == nil {
		c.ports = map[config.Device]*wire.Port{}
	}
	p.networks = append(p.networks, c)
	p.byNetwork[n] = c
	return c
}

// planNetworks works out which networks and devices come, change and go.
func (p *Prepared) planNetworks() {
	for _, o := range inOrder(p.touched.networks, p.to.Network) {
		n := p.e.networks[wire.ID(o.ID)]
		if n == nil {
			n = wire.NewNetwork(wire.ID(o.ID), o.Name, o.MTU, p.e.random.of("network", wire.ID(o.ID)))
			n.External = o.External
		}
		c := p.networkChange(n)
		c.after = o
		p.byID[n.ID] = c
	}
	for of := range p.touched.networks {
		if n := p.e.networks[wire.ID(of)]; n != nil && p.to.Network(of) == nil {
			c := p.networkChange(n)
			c.gone = true
			p.byID[n.ID] = c
		}
	}
	for _, c := range p.networks {
		p.planDevices(c)
	}
}

// planDevices finds the devices of a network that come and go.
func (p *Prepared) planDevices(c *networkChange) {
	wanted := map[config.Device]bool{}
	if !c.gone && p.e.opt.Open != nil {
		for _, d := range devicesOf(p.to, c.after) {
			d.HostOpen = d.Kind == config.DeviceRaw && c.after.Host == config.HostOpen
			if wanted[d] {
				continue
			}
			wanted[d] = true
			if c.ports[d] == nil {
				o := &newDevice{spec: d, network: c, link: linkOf(d, p.e.opt.Open)}
				c.plug = append(c.plug, o)
				p.opened = append(p.opened, o)
			}
		}
	}
	for d := range c.ports {
		if !wanted[d] {
			c.unplug = append(c.unplug, d)
		}
	}
}

// open opens the devices that come, and reports all that fail. A device that another network has until now is handed
// over.
func (p *Prepared) open() error {
	leaving := map[config.Device]*networkChange{}
	names := map[string]bool{}
	for _, c := range p.networks {
		for _, d := range c.unplug {
			leaving[d] = c
			names[d.Name] = true
		}
	}
	var errs []error
	for _, o := range p.opened {
		if from := leaving[o.spec]; from != nil {
			o.from = from
			continue
		}
		if o.spec.Name != "" && names[o.spec.Name] {
			o.missing = fmt.Errorf("%v has the name of a device that is closed first", o.spec)
			continue
		}
		dev, err := openDevice(p.e, o.spec)
		if errors.Is(err, tap.ErrMissing) && !p.e.opt.RequireDevices {
			o.missing = err
			continue
		}
		if err == nil {
			o.dev = dev
			mtu := o.network.after.MTU
			loop.SetMTU(dev, mtu, p.e.log)
			err = loop.CheckMTU(dev, mtu)
		}
		if err != nil {
			errs = append(errs, &DeviceError{Network: o.network.after.Name, Device: o.spec, Err: err})
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EMFILE) {
				break // a missing right or tun module, or too many files: once is enough
			}
		}
	}
	return errors.Join(errs...)
}

// changeNetworks has the workers of the networks make their changes: devices that go first, as another network may get
// them.
func (p *Prepared) changeNetworks() {
	for _, c := range p.networks {
		n := c.network
		home := p.e.shardOf(n.Home)
		_ = home.Call(func() { c.take(&home.Turn, home) }) // after Close there is nothing to change
	}
	for _, c := range p.networks {
		n := c.network
		if c.gone {
			continue
		}
		for _, o := range c.plug {
			o.handOver(p)
			if n.Home.Call(func() { o.plug(&n.Home.Turn) }) != nil && o.dev != nil {
				_ = o.dev.Close() // the worker has ended
			}
			c.plugged = c.plugged || o.dev != nil
		}
		if p.e.sim != nil && c.isNew {
			p.e.sim.plugIn(n)
			c.plugged = true
		}
	}
}

// take makes the change, without the devices that come: plug does that. It is called by the network's worker.
func (c *networkChange) take(t *loop.Turn, home *shard) {
	n := c.network
	c.freed = map[config.Device]tap.Device{}
	n.Routers, n.Services = c.routers, c.services
	n.Publish(c.table)
	for _, d := range c.unplug {
		port := c.ports[d]
		delete(c.ports, d)
		if dev := port.Unplug(t); dev != nil {
			c.freed[d] = dev
		}
	}
	if n.Gone = c.gone; c.gone {
		for _, port := range n.Ports { // attached in memory
			if dev := port.Unplug(t); dev != nil {
				c.closing = append(c.closing, dev)
			}
		}
		home.networks = loop.Without(home.networks, n)
		return
	}
	if c.isNew {
		home.networks = append(home.networks, n)
	}
	for _, s := range c.stationsCome {
		mtu := n.LinkMTU
		s.Worker.Post(func() { s.Owner.SetMTU(mtu) })
	}
	if c.after == nil {
		return
	}
	n.Rename(c.after.Name)
	n.External, n.Down = c.after.External, !c.after.AdminStateUp
	n.MTU = c.after.MTU
	n.LimitStorms(c.after.Storm())
	for _, port := range n.Ports {
		l := port.Link
		l.Network, l.Exempt, l.WantMTU = c.after.Name, n.External, n.MTU
		if l.Dev != nil && !l.Memory {
			loop.SetMTU(l.Dev, n.MTU, t.Log)
			l.MTU = loop.MTUOf(l.Dev)
		}
	}
	if !c.isNew {
		n.ObeyMTU(t)
	}
}

// handOver takes the device from the network that has had it.
func (o *newDevice) handOver(p *Prepared) {
	if o.from == nil {
		return
	}
	dev := o.from.freed[o.spec]
	if dev == nil {
		o.missing = tap.ErrMissing // it had been lost
		return
	}
	delete(o.from.freed, o.spec)
	o.dev = dev
	loop.SetMTU(dev, o.network.after.MTU, p.e.log)
}

// plug connects the device, or waits for it. It is called by the network's worker.
func (o *newDevice) plug(t *loop.Turn) {
	n, ports := o.network.network, o.network.ports
	if o.dev != nil {
		ports[o.spec] = n.PlugIn(o.link, o.dev)
		return
	}
	ports[o.spec] = n.AddPort(o.link)
	o.link.Await(t, o.missing)
}

// closeDevices closes the devices that no network has any more. The kernel takes its time to remove a device, but
// removes many at once.
func (p *Prepared) closeDevices() {
	var closed sync.WaitGroup
	for _, c := range p.networks {
		for _, dev := range slices.Concat(c.closing, slices.Collect(maps.Values(c.freed))) {
			closed.Go(func() {
				if err := dev.Close(); err != nil {
					p.e.log.Warn("closing a device", "device", dev.Name(), "err", err)
				}
			})
		}
	}
	closed.Wait()
}
