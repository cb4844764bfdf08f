package router

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
	leaves  []*portChange
	joins   []*portChange
	plugged bool         // a device has come: there may be other hosts on the network than before
	closing []tap.Device // in memory, which the network gives up
}

// A portChange is a network that gets a device of the State, or gives it up. A network whose VLAN changes gives its
// devices up, and gets them back: there are other hosts behind the new tag.
type portChange struct {
	network *networkChange
	device  *deviceChange
	vlan    uint16
}

// A deviceChange is a device of the State that some networks get or give up, while others may go on with it.
type deviceChange struct {
	spec    config.Device
	was     *deviceUse // nil: no network has had it
	users   int        // how many networks have it afterwards
	joins   []*portChange
	link    *loop.Link // that it has afterwards; nil: none
	dev     tap.Device // of a new link; nil: it is away
	missing error      // why it is away
	freed   tap.Device // of a link that has ended
}

// A deviceUse is a device of the State that is in use.
type deviceUse struct {
	link  *loop.Link
	users int // networks that have it
}

// joinsSegments reports whether all networks of a new device want segments joined.
func (d *deviceChange) joinsSegments() bool {
	return !slices.ContainsFunc(d.joins, func(o *portChange) bool { return o.network.after.GRO == config.GROOff })
}

// isNew reports whether the device gets another link: it has had none, or one of another worker.
func (d *deviceChange) isNew() bool { return d.link != nil && (d.was == nil || d.was.link != d.link) }

// moves reports whether the device goes on with another link.
func (d *deviceChange) moves() bool { return d.was != nil && d.isNew() }

// ends reports whether the link ends that the device has had.
func (d *deviceChange) ends() bool { return d.was != nil && d.was.link != d.link }

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

// planDevices finds the devices that a network gets and gives up.
func (p *Prepared) planDevices(c *networkChange) {
	wanted := map[config.Device]bool{}
	if !c.gone && p.e.opt.Open != nil {
		vlan := uint16(c.after.VLAN)
		for _, d := range p.to.DevicesOf(config.ID(c.network.ID)) {
			d.HostOpen = d.Kind == config.DeviceRaw && c.after.Host == config.HostOpen
			if wanted[d] {
				continue
			}
			wanted[d] = true
			if port := c.ports[d]; port != nil {
				if port.VLAN == vlan {
					continue
				}
				c.leave(p, d)
			}
			o := &portChange{network: c, device: deviceChangeOf(p, d), vlan: vlan}
			c.joins = append(c.joins, o)
			o.device.joins = append(o.device.joins, o)
			o.device.users++
		}
	}
	for d := range c.ports {
		if !wanted[d] {
			c.leave(p, d)
		}
	}
}

// leave notes that the network gives a device up.
func (c *networkChange) leave(p *Prepared, d config.Device) {
	o := deviceChangeOf(p, d)
	c.leaves = append(c.leaves, &portChange{network: c, device: o})
	o.users--
}

// deviceChangeOf is the change of a device, which begins here if there is none yet.
func deviceChangeOf(p *Prepared, spec config.Device) *deviceChange {
	d := p.byDevice[spec]
	if d == nil {
		d = &deviceChange{spec: spec}
		if use, ok := p.e.links[spec]; ok {
			d.was, d.users = &use, use.users
		}
		p.byDevice[spec] = d
		p.devices = append(p.devices, d)
	}
	return d
}

// planLinks finds the links that devices have afterwards, when each network has its worker. A device goes on with its
// link, as long as its networks have the worker that reads the link.
func planLinks(p *Prepared) {
	for _, d := range p.devices {
		switch {
		case d.users == 0:
		case d.was != nil && (len(d.joins) == 0 || d.joins[0].network.network.Home == d.was.link.Home()):
			d.link = d.was.link
		default:
			d.link = linkOf(d.spec, p.e.opt.Open)
		}
	}
}

// open opens the devices that come, and reports all that fail. A device that goes on with another link is handed over.
// The kernel has one lock for all interfaces: several goroutines would take as long, and more processor time.
func (p *Prepared) open() error {
	closing := map[string]bool{}
	for _, d := range p.devices {
		if d.link == nil {
			closing[d.spec.Name] = true
		}
	}
	var errs []error
	for _, d := range p.devices {
		if len(d.joins) == 0 || d.moves() {
			continue
		}
		if of, err := openNew(p, d, closing); err != nil {
			errs = append(errs, &DeviceError{Network: of.Name, Device: d.spec, Err: err})
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EMFILE) {
				break // a missing right or tun module, or too many files: once is enough
			}
		}
	}
	return errors.Join(errs...)
}

// openNew opens a device that comes, and checks that its networks can have one that is there. closing are the names of
// devices that end. It returns the network whose needs decide.
func openNew(p *Prepared, d *deviceChange, closing map[string]bool) (of *config.Network, err error) {
	of = d.joins[0].network.after
	for _, o := range d.joins {
		if o.network.after.MTU > of.MTU {
			of = o.network.after
		}
	}
	switch {
	case !d.isNew():
		if dev := d.link.Device(); dev != nil {
			return of, loop.CheckMTU(dev, of.MTU)
		}
		return of, nil
	case d.spec.Name != "" && closing[d.spec.Name]:
		d.missing = fmt.Errorf("%v has the name of a device that is closed first", d.spec)
		return of, nil
	}
	dev, err := openDevice(p.e, d.spec)
	if errors.Is(err, tap.ErrMissing) && !p.e.opt.RequireDevices {
		d.missing = err
		return of, nil
	} else if err != nil {
		return of, err
	}
	d.dev = dev
	loop.SetMTU(dev, of.MTU, p.e.log)
	loop.SetGRO(dev, d.joinsSegments())
	return of, loop.CheckMTU(dev, of.MTU)
}

// changeNetworks has the workers of the networks make their changes: those of links that go on first, as the device of
// a link that ends may go on with a new one.
func (p *Prepared) changeNetworks() {
	for _, c := range p.networks {
		home := p.e.shardOf(c.network.Home)
		_ = home.Call(func() { c.take(&home.Turn, home) }) // after Close there is nothing to change
	}
	for _, d := range p.devices {
		if !d.isNew() {
			continue
		}
		if d.moves() {
			if d.dev = d.freed; d.dev == nil {
				d.missing = tap.ErrMissing // it had been lost
			}
			d.freed = nil
		}
		home := d.joins[0].network.network.Home
		if home.Call(func() { d.plug(&home.Turn) }) != nil && d.dev != nil {
			_ = d.dev.Close() // the worker has ended
		}
	}
	switchGRO(p)
	for _, c := range p.networks {
		for _, o := range c.joins {
			c.plugged = c.plugged || !o.device.isNew() || o.device.dev != nil
		}
		if p.e.sim != nil && c.isNew && !c.gone {
			p.e.sim.plugIn(c.network)
			c.plugged = true
		}
	}
}

// switchGRO tells raw devices that go on whether their networks want segments joined now. Those that are new have been
// told when they were opened. The kernel may take its time, so no worker does it.
func switchGRO(p *Prepared) {
	links := map[*loop.Link]bool{}
	for _, c := range p.networks {
		for d, port := range c.ports {
			change := p.byDevice[d]
			goesOn := change == nil || change.dev == nil || change.moves()
			if goesOn && d.Kind == config.DeviceRaw {
				links[port.Link] = true
			}
		}
		for _, o := range c.leaves {
			if d := o.device; d.spec.Kind == config.DeviceRaw && d.link != nil && !d.isNew() {
				links[d.link] = true
			}
		}
	}
	for l := range links {
		var dev tap.Device
		on := false
		_ = l.Home().Call(func() { dev, on = l.Dev, l.Joins }) // after Close there is nothing to change
		if dev != nil {
			loop.SetGRO(dev, on)
		}
	}
}

// take makes the change, without the links that come: plug does that. It is called by the network's worker.
func (c *networkChange) take(t *loop.Turn, home *shard) {
	n := c.network
	n.Routers, n.Services = c.routers, c.services
	n.Publish(c.table)
	for _, o := range c.leaves {
		d := o.device
		port := c.ports[d.spec]
		delete(c.ports, d.spec)
		if port.Leave() && d.ends() {
			d.freed = port.Link.Withdraw(t)
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
	n.AsRead = c.after.GRO == config.GROOff
	n.Describe(t)
	if !c.isNew {
		n.ObeyMTU(t)
	}
	for _, o := range c.joins {
		if !o.device.isNew() {
			c.ports[o.device.spec] = n.AddPort(t, o.device.link, o.vlan)
		}
	}
}

// plug connects the device to its new link, or waits for it. It is called by the worker of its networks.
func (d *deviceChange) plug(t *loop.Turn) {
	d.joins[0].network.network.Home.AddLink(d.link)
	for _, o := range d.joins {
		o.network.ports[d.spec] = o.network.network.AddPort(t, d.link, o.vlan)
	}
	if d.dev == nil {
		d.link.Await(t, d.missing)
		return
	}
	if d.moves() {
		loop.SetMTU(d.dev, d.link.WantMTU, t.Log)
	}
	d.link.Plug(t, d.dev)
}

// closeDevices closes the devices that no network has any more.
func (p *Prepared) closeDevices() {
	var devices []tap.Device
	for _, c := range p.networks {
		devices = append(devices, c.closing...)
	}
	for _, d := range p.devices {
		if d.freed != nil {
			devices = append(devices, d.freed)
		}
	}
	loop.CloseAll(devices, func(dev tap.Device, err error) {
		p.e.log.Warn("closing a device", "device", dev.Name(), "err", err)
	})
}
