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
	"github.com/taprouter/taprouter/tap"
)

// A networkChange is what a change of the State means for one network.
type networkChange struct {
	network     *network
	isNew, gone bool
	after       *config.Network // nil: gone, hidden, or nothing but its stations changes

	stationsCome, stationsLeft []*station
	routers, services          []*station // that the network has afterwards
	table                      *stationTable

	ports   map[config.Device]*port // of devices of the State, up to now
	unplug  []config.Device
	plug    []*newDevice
	plugged bool // a device has come: there may be others on the network than before
	// devices that nobody has any more: of the State, which another network may take over, and in memory
	released map[config.Device]tap.Device
	closing  []tap.Device
}

// A newDevice is a device of the State that comes.
type newDevice struct {
	spec    config.Device
	network *networkChange
	link    *link
	dev     tap.Device
	from    *networkChange // the network that has had the device; nil: it is opened
	missing error          // why it is not there yet
}

// list finds the stations that the network has afterwards.
func (c *networkChange) list() {
	c.routers = c.remaining(c.network.routers, isInterface)
	c.services = c.remaining(c.network.services, isService)
	c.table = newStationTable(c.network.table.seed, slices.Concat(c.routers, c.services))
}

func isInterface(s *station) bool { _, ok := s.owner.(*iface); return ok }
func isService(s *station) bool   { return !isInterface(s) }

func (c *networkChange) remaining(were []*station, kind func(*station) bool) []*station {
	all := make([]*station, 0, len(were)+len(c.stationsCome))
	left := map[*station]bool{}
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

func (c *networkChange) come(s *station) { c.stationsCome = append(c.stationsCome, s) }
func (c *networkChange) left(s *station) { c.stationsLeft = append(c.stationsLeft, s) }

// networkOf is a network that is there afterwards.
func (p *Prepared) networkOf(of id) *network {
	if c := p.byID[of]; c != nil {
		return c.network
	}
	return p.e.networks[of]
}

// networkChange is the change of a network.
func (p *Prepared) networkChange(n *network) *networkChange {
	if c := p.byNetwork[n]; c != nil {
		return c
	}
	c := &networkChange{network: n, isNew: n.home == nil, ports: p.e.devices[n]}
	if c.ports == nil {
		c.ports = map[config.Device]*port{}
	}
	p.networks = append(p.networks, c)
	p.byNetwork[n] = c
	return c
}

// planNetworks works out which networks and devices come, change and go.
func (p *Prepared) planNetworks() {
	for _, o := range inOrder(p.touched.networks, p.to.Network) {
		n := p.e.networks[id(o.ID)]
		if n == nil {
			n = newNetwork(id(o.ID), o.Name, o.MTU, p.e.random.of("network", id(o.ID)))
			n.external = o.External
		}
		c := p.networkChange(n)
		c.after = o
		p.byID[n.id] = c
	}
	for of := range p.touched.networks {
		if n := p.e.networks[id(of)]; n != nil && p.to.Network(of) == nil {
			c := p.networkChange(n)
			c.gone = true
			p.byID[n.id] = c
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
		for _, d := range p.to.DevicesOf(c.after.ID) {
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
		dev, err := p.e.opt.Open(o.spec)
		if errors.Is(err, tap.ErrMissing) && !p.e.opt.RequireDevices {
			o.missing = err
			continue
		}
		if err == nil {
			o.dev = dev
			mtu := o.network.after.MTU
			setMTU(dev, mtu, p.e.log)
			err = checkMTU(dev, mtu)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("network %q: %w", o.network.after.Name, err))
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
		home := p.e.shardOf(n.home)
		_ = home.call(func() { c.take(&home.turn, home) }) // after Close there is nothing to change
	}
	for _, c := range p.networks {
		n := c.network
		if c.gone {
			continue
		}
		for _, o := range c.plug {
			o.handOver(p)
			if n.home.call(func() { o.plug(&n.home.turn) }) != nil && o.dev != nil {
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

// take makes the change, but for devices that come. It is called by the network's worker.
func (c *networkChange) take(t *turn, home *shard) {
	n := c.network
	c.released = map[config.Device]tap.Device{}
	n.routers, n.services = c.routers, c.services
	n.publish(c.table)
	for _, d := range c.unplug {
		port := c.ports[d]
		delete(c.ports, d)
		if dev := port.unplug(t); dev != nil {
			c.released[d] = dev
		}
	}
	if n.gone = c.gone; c.gone {
		for _, port := range n.ports { // attached in memory
			if dev := port.unplug(t); dev != nil {
				c.closing = append(c.closing, dev)
			}
		}
		home.networks = without(home.networks, n)
		return
	}
	if c.isNew {
		home.networks = append(home.networks, n)
	}
	for _, s := range c.stationsCome {
		mtu := n.linkMTU
		s.worker.post(func() { s.owner.setMTU(mtu) })
	}
	if c.after == nil {
		return
	}
	n.rename(c.after.Name)
	n.external, n.down = c.after.External, !c.after.AdminStateUp
	n.mtu = c.after.MTU
	for _, port := range n.ports {
		l := port.link
		l.network, l.exempt, l.wantMTU = c.after.Name, n.external, n.mtu
		if l.dev != nil && !l.memory {
			setMTU(l.dev, n.mtu, t.log)
			l.mtu = mtuOf(l.dev)
		}
	}
	if !c.isNew {
		n.obeyMTU(t)
	}
}

// handOver takes the device from the network that has had it.
func (o *newDevice) handOver(p *Prepared) {
	if o.from == nil {
		return
	}
	dev := o.from.released[o.spec]
	if dev == nil {
		o.missing = tap.ErrMissing // it had been lost
		return
	}
	delete(o.from.released, o.spec)
	o.dev = dev
	setMTU(dev, o.network.after.MTU, p.e.log)
}

// plug connects the device, or waits for it. It is called by the network's worker.
func (o *newDevice) plug(t *turn) {
	n, ports := o.network.network, o.network.ports
	if o.dev != nil {
		ports[o.spec] = n.plugIn(o.link, o.dev)
		return
	}
	ports[o.spec] = n.addPort(o.link)
	o.link.await(t, o.missing)
}

// closeDevices closes what nobody has any more. The kernel takes its time to remove a device, but removes many at once.
func (p *Prepared) closeDevices() {
	var closed sync.WaitGroup
	for _, c := range p.networks {
		for _, dev := range slices.Concat(c.closing, slices.Collect(maps.Values(c.released))) {
			closed.Go(func() {
				if err := dev.Close(); err != nil {
					p.e.log.Warn("closing a device", "device", dev.Name(), "err", err)
				}
			})
		}
	}
	closed.Wait()
}
